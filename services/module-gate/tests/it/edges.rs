//! What a command line, a folder or a spec can have at its edges: each is named or works, and
//! nothing is passed over in silence.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::command::{Home, program};

fn module_gate() -> Command {
    let mut command = Command::new(program());
    command.env_remove("MODULE_GATE_SCRATCH");
    command.env("MODULE_GATE_NODE", testkit::program("node").unwrap());
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

fn one_case() -> serde_json::Value {
    json!([{ "entry": "main.mjs" }])
}

#[test]
fn limits_stand_in_the_help_with_their_values() {
    for words in [&["oracles", "run"][..], &["gates", "shipping"], &["guard", "run"]] {
        let output = module_gate().args(words).arg("--help").output().unwrap();
        let help = text(&output);
        for limit in ["--max-output-mib", "--max-file-mib", "--max-growth-mib", "[default: 8]"] {
            assert!(help.contains(limit), "{words:?} lacks {limit}: {help}");
        }
    }
    let output = module_gate().args(["oracles", "run", "--help"]).output().unwrap();
    let help = text(&output);
    for limit in ["--max-files", "[default: 4096]", "--max-module-mib", "[default: 64]"] {
        assert!(help.contains(limit), "{limit}: {help}");
    }
}

#[test]
fn limits_can_be_raised_and_lowered() {
    let home = Home::new();
    home.module("a", &["FS:write"], "", &one_case());
    home.put("modules/a/main.mjs", "process.stdout.write('x'.repeat(2 << 20));");
    let low = home.oracles(&["--max-output-mib", "1"]);
    assert_eq!(low.report()["code"], "E_ORACLE_EXEC", "{}", low.text);
    assert!(low.text.contains("limit stdout_bytes"), "{}", low.text);
    assert!(low.text.contains("limits were changed"), "{}", low.text);
    let high = home.oracles(&["--max-output-mib", "4", "--variations", "none"]);
    assert_eq!(high.code, Some(0), "{}", high.text);

    let root = home.path("modules/a");
    fs::set_permissions(&root, Permissions::from_mode(0o777)).unwrap();
    let run = |limit: &[&str]| {
        let mut command = module_gate();
        command.args(["guard", "run", "--declare", "FS:write", "--root"]).arg(&root).args(limit);
        command.args(["--", "/bin/sh", "-c", "printf %2000000s x > f"]).output().unwrap()
    };
    assert_eq!(run(&["--max-file-mib", "1"]).status.code(), Some(1));
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn a_copy_into_the_root_itself_is_refused_before_anything_is_made() {
    let home = Home::new();
    home.put("root/file", "1");
    home.put("root/tmp/file", "1");
    let own = home.path("root/tmp");
    let before: Vec<_> = home.state().into_keys().collect();
    let mut command = module_gate();
    command.args(["guard", "run", "--copy", "--root"]).arg(home.path("root"));
    let output = command.args(["--", "/bin/true"]).env("TMPDIR", &own).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("inside"), "{}", text(&output));
    assert_eq!(home.state().into_keys().collect::<Vec<_>>(), before);
}

#[test]
fn a_module_with_ten_thousand_files_of_dependencies_can_be_checked() {
    let home = Home::new();
    let main = "import dep from 'dep0'; console.log(dep);";
    home.module("a", &[], main, &one_case());
    for package in 0..100 {
        let folder = home.path(&format!("modules/a/node_modules/dep{package}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("package.json"), r#"{"main":"f0.js"}"#).unwrap();
        for file in 0..100 {
            fs::write(folder.join(format!("f{file}.js")), "module.exports = 1;").unwrap();
        }
    }
    let refused = home.oracles(&["--variations", "none"]);
    assert_eq!(refused.code, Some(2), "{}", refused.text);
    assert!(refused.text.contains("at most 4096 files"), "{}", refused.text);
    let ended = home.oracles(&["--variations", "none", "--max-files", "20000"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
}

#[test]
fn a_pattern_that_means_something_elsewhere_or_nothing_here_is_named() {
    let home = Home::new();
    home.module("a", &[], "console.log(1)", &one_case());
    for sign in ["modules/a/oracles/specs/[a-z]*.json", "modules/{a,b}/*.json", "!x"] {
        let ended = home.oracles(&["--spec", sign]);
        assert_eq!(ended.code, Some(3), "{}", ended.text);
        assert!(ended.text.contains("expected **, * and ?"), "{}", ended.text);
    }
    let specs = ["--spec", "modules/*/oracles/specs/*.json", "--spec", "nothing/*.json"];
    let ended = home.oracles(&[&specs[..], &["--variations", "none"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("--spec nothing/*.json matches no file"), "{}", ended.text);
}

#[test]
fn two_modules_with_one_id_and_two_names_of_one_member_are_mistakes() {
    let home = Home::new();
    home.module("a", &[], "console.log(1)", &one_case());
    home.module("b", &[], "console.log(1)", &one_case());
    let manifest = fs::read_to_string(home.path("modules/a/module.json")).unwrap();
    home.put("modules/b/module.json", &manifest);
    let ended = home.oracles(&["--spec", "modules/a/oracles/specs/main.json"]);
    assert_eq!(ended.code, Some(3), "{}", ended.text);
    assert!(ended.text.contains("\"fixture.a\" is the id of two modules"), "{}", ended.text);

    let home = Home::new();
    let case = json!([{ "entry": "main.mjs", "repeat": 2, "runs": 3 }]);
    home.module("a", &[], "console.log(1)", &case);
    let ended = home.oracles(&[]);
    assert_eq!(ended.code, Some(3), "{}", ended.text);
    assert!(ended.text.contains("\"repeat\" and \"runs\" mean the same"), "{}", ended.text);
}

#[test]
fn one_broken_manifest_fails_that_module_alone_and_a_missing_root_is_usage() {
    let home = Home::new();
    home.module("a", &[], "console.log(1)", &one_case());
    home.put("modules/bad/module.json", "{ not json");
    // A spec finds a module whose manifest cannot be read by its folder's name.
    home.put("modules/bad/oracles/specs/main.json", r#"{"module":"bad","cases":[{"entry":"m"}]}"#);
    let ended = home.oracles(&["--variations", "none"]);
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert!(ended.text.contains("E_MODULE_INVALID"), "{}", ended.text);
    assert_eq!(ended.text.matches("\"verdict\": \"PASS\"").count(), 1, "{}", ended.text);

    let missing = module_gate().args(["oracles", "run", "--modules-root", "none"]).output();
    let missing = missing.unwrap();
    assert_eq!(missing.status.code(), Some(3), "{}", text(&missing));
    assert!(text(&missing).contains("expected a folder of modules"), "{}", text(&missing));
}

#[test]
fn a_root_of_a_user_and_the_group_of_root_is_that_users() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a folder away");
        return;
    }
    let home = Home::new();
    home.put("root/f", "1");
    chown(home.path("root"), Some(65_534), Some(0)).unwrap();
    let mut command = module_gate();
    command.args(["guard", "run", "--declare", "FS:write", "--root"]).arg(home.path("root"));
    let output = command.args(["--", "/bin/sh", "-c", "echo 2 > g"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn a_process_that_outlives_its_program_is_mentioned() {
    let home = Home::new();
    let main = "import { spawn } from 'node:child_process';
        spawn('/bin/sleep', ['60'], { detached: true, stdio: 'ignore' }).unref();";
    home.module("a", &["Process:shell"], main, &one_case());
    let ended = home.oracles(&["--variations", "none"]);
    assert_eq!(ended.report()["killed_at_end"], 2, "{}", ended.text);

    let mut command = module_gate();
    command.args(["guard", "run", "--declare", "Process:shell", "--root"]).arg(home.path("."));
    let output = command.args(["--", "/bin/sh", "-c", "sleep 60 >&- 2>&- &"]).output().unwrap();
    assert!(text(&output).contains("killed   1 process that was still alive"), "{}", text(&output));
}

#[test]
fn both_exit_codes_are_named_where_attempts_end_differently() {
    let home = Home::new();
    home.put("markers/none", "");
    let marker = home.path("markers/set");
    // The first attempt decides before it says that it runs; what is made then ends a later one.
    let main = format!(
        "import fs from 'node:fs';
        const code = Number(fs.existsSync('{}'));
        fs.writeFileSync(process.env.LUMIO_OUTPUT + '/started', '');
        process.exit(code);",
        marker.display()
    );
    home.module("a", &[], &main, &json!([{ "entry": "main.mjs", "repeat": 10000 }]));
    let scratch = home.path("scratch");
    let options = ["--variations", "none", "--scratch", scratch.to_str().unwrap()];
    let ended = std::thread::scope(|scope| {
        let running = scope.spawn(|| home.oracles(&options));
        let started = || {
            let mut files = walkdir::WalkDir::new(&scratch).into_iter().filter_map(Result::ok);
            files.any(|entry| entry.file_name() == "started")
        };
        while !started() && !running.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        fs::write(&marker, "").unwrap();
        running.join().unwrap()
    });
    assert_eq!(ended.report()["code"], "E_ORACLE_EXEC", "{}", ended.text);
    assert!(ended.text.contains("ended with code 1, attempt 1 with code 0"), "{}", ended.text);
}

#[test]
fn a_byte_order_mark_and_an_empty_argument_are_accepted() {
    let home = Home::new();
    let case = json!([{ "entry": "main.mjs", "args": [""] }]);
    let main = "if (process.argv[2] !== '') process.exit(1);";
    home.module("a", &[], main, &case);
    for path in ["modules/a/module.json", "modules/a/oracles/specs/main.json"] {
        let bare = fs::read_to_string(home.path(path)).unwrap();
        home.put(path, &format!("\u{feff}{bare}"));
    }
    let ended = home.oracles(&["--variations", "none"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
}

#[test]
fn a_reader_that_goes_away_changes_no_verdict() {
    let home = Home::new();
    home.module("a", &[], "console.log(1)", &one_case());
    let modules = home.path("modules");
    let oracles = ["oracles", "run", "--variations", "none", "--modules-root"];
    let guard = ["guard", "run", "--root"];
    for (words, rest) in [(&oracles[..], &[][..]), (&guard[..], &["--", "/bin/echo", "x"][..])] {
        let mut command = module_gate();
        command.args(words).arg(&modules).args(rest);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0), "{words:?}");
    }
    // One that reads a little and goes.
    let mut child = module_gate()
        .args(oracles)
        .arg(&modules)
        .args(["--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 1]).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
