//! The local commands, which need no service; exit codes by decision C1.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::path::Path;
use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Command::new(env!("CARGO_BIN_EXE_module-gate"))
        .args(args)
        .current_dir(root)
        .env("MODULE_GATE_NODE", testkit::program("node").unwrap())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_good_module_ships() {
    let output = run(&["gates", "shipping", "--module", "../../examples/modules/csv-profile"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("PASS csv.profile"), "{}", text(&output));
}

#[test]
fn a_bad_module_is_exit_1_with_its_code() {
    let output = run(&[
        "gates",
        "shipping",
        "--module",
        "tests/modules/skips-and-writes",
        "--output",
        "json",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let reported: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reported[0]["code"], "E_SIDEEFFECTS_FORBIDDEN");
    let shown = run(&["gates", "shipping", "--module", "tests/modules/skips-and-writes"]);
    assert!(text(&shown).contains("  effect   test main.mjs: process "), "{}", text(&shown));
}

#[test]
fn oracles_of_a_folder_of_modules_run_and_nothing_to_run_is_fine() {
    let good =
        run(&["oracles", "run", "--modules-root", "../../examples/modules", "--strict-reads"]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    let specs = "tests/modules/nondeterministic/oracles/specs/*.json";
    let bad = run(&["oracles", "run", "--modules-root", "tests/modules", "--spec", specs]);
    assert_eq!(bad.status.code(), Some(1), "{}", text(&bad));
    assert!(text(&bad).contains("E_ORACLE_NONDETERMINISM"), "{}", text(&bad));
    let none =
        run(&["oracles", "run", "--modules-root", "tests/modules", "--spec", "tests/none/*.json"]);
    assert_eq!(none.status.code(), Some(0), "{}", text(&none));
    assert!(text(&none).contains("nothing was run"));
}

#[test]
fn wrong_usage_is_exit_3() {
    for args in [
        &["gates"][..],
        &["gates", "shipping", "--module", "no/such"],
        &["oracles", "run"],
        &["--nonsense"],
    ] {
        assert_eq!(run(args).status.code(), Some(3), "{args:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("bad.json");
    std::fs::write(&spec, r#"{"module":"fixture.slow","cases":[{"entry":"main.mjs","repeat":1}]}"#)
        .unwrap();
    let output = run(&[
        "oracles",
        "run",
        "--modules-root",
        "tests/modules",
        "--spec",
        spec.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("/cases/0/repeat"), "{}", text(&output));
}

#[test]
fn a_usage_lists_nothing_that_the_environment_gives() {
    let said = text(&run(&["oracles", "run"]));
    let usage = said.lines().find(|line| line.starts_with("Usage: ")).unwrap();
    assert!(usage.contains("--modules-root") && !usage.contains("--node"), "{usage}");
}

#[test]
fn a_failure_is_json_where_json_is_asked_for() {
    let module = ["gates", "shipping", "--module", "no/such", "--output", "json"];
    for args in [&module[..], &["oracles", "run", "--output", "json"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {}", text(&output));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&told["schemaVersion"], &told["error"]["kind"]), (&1.into(), &"usage".into()));
        assert!(told["error"]["message"].as_str().unwrap().contains("--module"), "{told}");
    }
    // Where standard output belongs to events, it has none that is no event.
    let plan = ["gates", "shipping", "--compose", "no/such", "--modules-root", "no/such"];
    let output = run(&[&plan[..], &["--emit-events", "--output", "json"]].concat());
    assert_ne!(output.status.code(), Some(0));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(!printed.contains("schemaVersion"), "{printed}");
}

/// The one document that a command prints.
fn answer(args: &[&str]) -> serde_json::Value {
    let output = run(args);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{args:?}: {}", text(&output)))
}

#[test]
fn every_answer_names_the_version_of_its_form_and_a_list_is_a_list() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, root) = guarded_folder();
    let root = root.to_str().unwrap();
    let home = tempfile::tempdir().unwrap();
    // As root, modules run as a user who must get there.
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (module, events) = (home.path().join("word.count"), home.path().join("events.ndjson"));
    let (module, events) = (module.to_str().unwrap(), events.to_str().unwrap());
    let home = home.path().to_str().unwrap();
    let made = run(&["new", "word.count", "--into", home]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));

    let plan = ["--compose", "../../examples/compose.json", "--events-out", events];
    let plan = [&plan[..], &["--modules-root", "../../examples/modules", "--output", "json"]];
    for args in [
        &[&["gates", "conceptual"][..], &plan.concat()].concat()[..],
        &["events", "summary", events],
        &["run", "--module", module, "--output", "json"],
        &["advise", "--module", module, "--output", "json"],
        &["guard", "run", "--root", root, "--output", "json", "--", "true"],
        &["doctor", "--no-self-tests", "--output", "json"],
    ] {
        let answer = answer(args);
        // A failure names the version as well, and is no answer.
        let is_answer = answer["schemaVersion"] == 1 && !answer["error"].is_object();
        assert!(is_answer, "{args:?}: {answer:#}");
    }
    for args in [
        &["oracles", "run", "--modules-root", home, "--output", "json"][..],
        &["gates", "shipping", "--module", module, "--output", "json"],
    ] {
        let answer = answer(args);
        assert!(answer.is_array(), "{args:?}: {answer:#}");
    }
}

/// A folder every user can reach, with a root that belongs to the user commands run as.
fn guarded_folder() -> (tempfile::TempDir, std::path::PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("x"), "x").unwrap();
    guard::prepare_ownership(&root, guard::Identity::Auto).unwrap();
    (folder, root)
}

#[test]
fn any_command_runs_under_the_guard_and_its_output_comes_through() {
    let (_folder, root) = guarded_folder();
    let root = root.to_str().unwrap();
    let good =
        run(&["guard", "run", "--root", root, "--", "/bin/sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    assert_eq!(good.stdout, b"out\n");
    assert!(String::from_utf8_lossy(&good.stderr).starts_with("err\nPASS\n"), "{}", text(&good));

    let write =
        ["guard", "run", "--root", root, "--", "sh", "-c", "{ echo 1 > a; } 2>/dev/null; :"];
    let bad = run(&write);
    assert_eq!(bad.status.code(), Some(1), "{}", text(&bad));
    assert!(text(&bad).contains("FAIL E_SIDEEFFECTS_DECLARATION"), "{}", text(&bad));
    assert!(text(&bad).contains("undeclared FS:write openat"), "{}", text(&bad));

    let out = run(&[
        "guard",
        "run",
        "--root",
        root,
        "--output",
        "json",
        "--",
        "sh",
        "-c",
        "echo 1 > ../a",
    ]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    let reported: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(reported["code"], "E_SIDEEFFECTS_FORBIDDEN");
    assert_eq!(reported["effects"][0]["allowed"], false);

    let code = run(&["guard", "run", "--root", root, "--", "sh", "-c", "exit 5"]);
    assert_eq!(code.status.code(), Some(1));
    assert!(text(&code).contains("FAIL E_ORACLE_EXEC"), "{}", text(&code));
}

#[test]
fn a_declared_write_lands_and_a_copy_leaves_the_root_alone() {
    let (_folder, root) = guarded_folder();
    let at = root.to_str().unwrap();
    let write = ["--declare", "FS:write", "--", "sh", "-c", "echo 1 > a"];
    let copied = run(&[&["guard", "run", "--root", at, "--copy"], &write[..]].concat());
    assert_eq!(copied.status.code(), Some(0), "{}", text(&copied));
    assert!(!root.join("a").exists());
    let written = run(&[&["guard", "run", "--root", at], &write[..]].concat());
    assert_eq!(written.status.code(), Some(0), "{}", text(&written));
    assert_eq!(std::fs::read_to_string(root.join("a")).unwrap(), "1\n");
}

#[test]
fn a_guarded_command_is_heard_while_it_runs() {
    use std::io::{BufRead, BufReader, Read, Write};
    let (_folder, root) = guarded_folder();
    let script = "echo ready; echo waits >&2; read word; echo $word";
    let mut child = Command::new(env!("CARGO_BIN_EXE_module-gate"))
        .args(["guard", "run", "--stdin", "--root"])
        .arg(&root)
        .args(["--", "/bin/sh", "-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut error = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut rest) = (String::new(), String::new());
    out.read_line(&mut line).unwrap();
    error.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\nwaits\n");
    // Only now the command gets what it waits for: it was still running.
    child.stdin.take().unwrap().write_all(b"word\n").unwrap();
    out.read_to_string(&mut rest).unwrap();
    error.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("word\nPASS\n"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_interrupted_guarded_command_ends_and_nothing_is_known() {
    use std::io::{BufRead, BufReader};

    use rustix::process::{Pid, Signal, kill_process};
    let (_folder, root) = guarded_folder();
    let mut child = Command::new(env!("CARGO_BIN_EXE_module-gate"))
        .args(["guard", "run", "--root"])
        .arg(&root)
        .args(["--declare", "Process:shell", "--", "/bin/sh", "-c", "echo ready; sleep 600"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("cancelled"), "{}", text(&output));
}

#[test]
fn a_closed_folder_is_named_with_what_helps() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, root) = guarded_folder();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let reported = text(&run(&["guard", "run", "--root", root.to_str().unwrap(), "--", "true"]));
    // An ordinary user's commands run as himself.
    if reported.contains("PASS") {
        return;
    }
    let closed = folder.path().canonicalize().unwrap();
    assert!(reported.contains(&format!("chmod o+x {}", closed.display())), "{reported}");
    assert!(reported.contains("--copy"), "{reported}");
}

#[test]
fn a_guarded_command_gets_what_it_was_given() {
    let (folder, root) = guarded_folder();
    let at = root.to_str().unwrap();
    let script = "echo $A $HOME_SECRET; read line < x; echo $line";
    let given = run(&[
        "guard",
        "run",
        "--root",
        at,
        "--env",
        "A=1 2",
        "--strict-reads",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(given.status.code(), Some(0), "{}", text(&given));
    assert_eq!(given.stdout, b"1 2\nx\n");
    std::fs::write(folder.path().join("secret"), "S0\n").unwrap();
    let read = ["sh", "-c", "{ read line < ../secret; } 2>/dev/null; echo $line"];
    let strict =
        run(&[&["guard", "run", "--root", at, "--strict-reads", "--"], &read[..]].concat());
    assert_eq!(strict.status.code(), Some(1), "{}", text(&strict));
    assert!(text(&strict).contains("E_SIDEEFFECTS_FORBIDDEN"), "{}", text(&strict));
    let listed = run(&[&["guard", "run", "--root", at, "--"], &read[..]].concat());
    assert_eq!(
        (listed.status.code(), &listed.stdout[..]),
        (Some(0), &b"S0\n"[..]),
        "{}",
        text(&listed)
    );
    let slow = run(&[
        "guard",
        "run",
        "--root",
        at,
        "--timeout-ms",
        "200",
        "--",
        "sh",
        "-c",
        "while :; do :; done",
    ]);
    assert!(text(&slow).contains("E_ORACLE_EXEC"), "{}", text(&slow));
}

#[test]
fn a_guarded_command_that_cannot_be_started_is_no_failed_one() {
    let (_folder, root) = guarded_folder();
    let at = root.to_str().unwrap();
    for args in [
        &["guard", "run", "--root", at][..],
        &["guard", "run", "--root", "/no/such", "--", "true"],
        &["guard", "run", "--root", at, "--cwd", "/", "--", "true"],
        &["guard", "run", "--root", at, "--declare", "FS:all", "--", "true"],
        &["guard", "run", "--root", at, "--env", "A", "--", "true"],
        &["guard", "run", "--root", at, "--", "no-such-program"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(3), "{args:?} {}", text(&output));
    }
    let program = root.join("x");
    let output = run(&["guard", "run", "--root", at, "--", program.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("INCONCLUSIVE E_GUARD_INCOMPLETE"), "{}", text(&output));
}

#[test]
fn the_doctor_finds_this_host_healthy() {
    let output = run(&["doctor", "--output", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let reported: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reported["healthy"], true);
    let tests = reported["self_tests"].as_array().unwrap();
    assert!(tests.len() >= 10 && tests.iter().all(|test| test["held"] == true));
    let shown = run(&["doctor", "--no-self-tests"]);
    assert!(text(&shown).contains("landlock"), "{}", text(&shown));
}

#[test]
fn an_answer_that_a_full_disk_does_not_take_is_no_success() {
    for command in [&["completions", "bash"][..], &["schema", "module"], &["--help"]] {
        let program = env!("CARGO_BIN_EXE_module-gate");
        testkit::assert_full_disk_is_no_success(program, command, 2);
    }
}
