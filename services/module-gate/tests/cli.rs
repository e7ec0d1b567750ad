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
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told[0]["code"], "E_SIDEEFFECTS_FORBIDDEN");
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
