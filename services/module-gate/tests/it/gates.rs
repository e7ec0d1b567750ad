//! The document's commands, run as it writes them, and what it promises of them.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::command::Home;

/// Runs module-gate in the repository's top folder, as the document does.
fn run(args: &[&str]) -> Output {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    run_in(&top, args)
}

fn run_in(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_module-gate"))
        .args(args)
        .current_dir(folder)
        .env_remove("MODULE_GATE_SCRATCH")
        .env("MODULE_GATE_NODE", testkit::program("node").unwrap())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

/// A home with one module and a plan that names it.
pub fn planned(declares: &[&str], main: &str, cases: &Value) -> Home {
    let home = Home::new();
    home.module("a", declares, main, cases);
    let manifest = json!({
        "id": "fixture.a", "version": "1.0.0", "summary": "a fixture", "entry": "main.mjs",
        "provides": ["FixturePort@1"], "side_effects": declares, "tests": ["script:main.mjs"],
        "invariants": ["It is one."], "evidence": [{ "kind": "test", "file": "main.mjs" }],
    });
    home.put("modules/a/module.json", &manifest.to_string());
    let plan = json!({
        "run_id": "plan", "modules": [{ "id": "fixture.a", "version": "1.0.0" }],
            "constraints": ["one"],
    });
    home.put("compose.json", &plan.to_string());
    home
}

/// Runs the shipping gate over the plan, and answers exit code, summary and events.
pub fn ship(home: &Home, more: &[&str]) -> (Option<i32>, Value, Vec<Value>) {
    let events = home.path("events.ndjson");
    let mut args =
        vec!["gates", "shipping", "--compose", "compose.json", "--modules-root", "modules"];
    args.extend(["--with-oracles", "--strict-events", "--output", "json", "--events-truncate"]);
    args.extend(["--events-out", events.to_str().unwrap()]);
    args.extend(more);
    let output = run_in(&home.path("."), &args);
    let summary =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    let lines = std::fs::read_to_string(events).unwrap();
    let events = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code(), summary, events)
}

#[test]
fn the_documents_shipping_command_passes_on_the_example() {
    let output = run(&[
        "gates",
        "shipping",
        "--compose",
        "examples/compose.json",
        "--modules-root",
        "examples/modules",
        "--with-oracles",
        "--oracle-spec",
        "oracles/specs/**/*.json",
        "--output",
        "json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["verdict"], &summary["schemaVersion"]), (&json!("PASS"), &json!(1)));
    assert_eq!(
        (&summary["oracles"]["cases"], &summary["oracles"]["attempts"]),
        (&json!(2), &json!(6))
    );
    assert_eq!(summary["oracles"]["specs"].as_array().unwrap().len(), 1);
    let effects = &summary["side_effects"]["modules"]["git.diff.core"];
    assert_eq!(effects["observed_operations"], json!(["FS:write", "Process:git"]));
    assert_eq!(effects["fs_write"]["outside_module_root"], false);
    assert_eq!(summary["runtime"]["reads"], "deny");
}

#[test]
fn the_documents_oracle_command_fails_on_the_deliberately_nondeterministic_module_alone() {
    let output = run(&["oracles", "run", "--modules-root", "examples/modules", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let reports: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let failed: Vec<_> =
        reports.iter().filter(|one| one["verdict"] != "PASS").map(|one| &one["module"]).collect();
    assert_eq!(failed, ["git.diff.alt"], "{}", text(&output));
    assert!(text(&output).contains("E_ORACLE_NONDETERMINISM"));
}

#[test]
fn every_phase_and_event_stands_in_its_order_and_events_can_be_validated() {
    let home = planned(&[], "console.log('ok')", &json!([{ "entry": "main.mjs" }]));
    let (code, summary, events) = ship(&home, &[]);
    assert_eq!(code, Some(0), "{summary:#}");
    let phases: Vec<_> =
        summary["phases"].as_array().unwrap().iter().map(|phase| &phase["name"]).collect();
    assert_eq!(
        phases,
        ["manifest_validation", "lint", "tests", "typecheck", "oracles", "npm_pack"]
    );
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names[0], "GATES_START");
    assert_eq!(names[names.len() - 3..], ["SIDEEFFECTS_SUMMARY", "GATES_SUMMARY", "GATES_PASS"]);
    for name in ["TEST_PASS", "ORACLE_START", "ORACLE_PASS"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let file = home.path("events.ndjson");
    let valid = run(&["events", "validate", "--strict", file.to_str().unwrap()]);
    assert_eq!(valid.status.code(), Some(0), "{}", text(&valid));
    let lines = std::fs::read_to_string(&file).unwrap().replacen("\"seq\":2", "\"seq\":9", 1);
    std::fs::write(&file, lines).unwrap();
    let broken = run(&["events", "validate", "--strict", file.to_str().unwrap()]);
    assert_eq!(broken.status.code(), Some(1), "{}", text(&broken));
}

#[test]
fn a_failing_test_carries_its_side_effects_and_a_violation_keeps_its_code_under_strict_events() {
    let main =
        "import fs from 'node:fs'; try { fs.writeFileSync('x', '1'); } catch {} process.exit(64)";
    let home =
        planned(&[], &format!("console.log('SKIP'); {main}"), &json!([{ "entry": "main.mjs" }]));
    let (code, summary, events) = ship(&home, &[]);
    assert_eq!(
        (code, &summary["code"]),
        (Some(1), &json!("E_SIDEEFFECTS_DECLARATION")),
        "{summary:#}"
    );
    let failed = events.iter().find(|event| event["event"] == "TEST_FAIL").unwrap();
    assert_eq!(failed["detail"]["side_effects"]["undeclared_operations"], json!(["FS:write"]));
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["detail"]["code"]), (&json!("GATES_FAIL"), &summary["code"]));
    assert_eq!(summary["tests"], json!({ "total": 1, "passed": 0, "failed": 1, "skipped": 0 }));
}

#[test]
fn the_hook_gets_the_summary_after_a_failure_too() {
    let home = planned(&[], "console.log(Math.random())", &json!([{ "entry": "main.mjs" }]));
    let kept = home.path("kept.json");
    let hook = format!("cat > {}", kept.display());
    let (code, summary, _) = ship(&home, &["--hook-cmd", &hook]);
    assert_eq!(code, Some(1), "{summary:#}");
    let heard: Value = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
    assert_eq!(heard["code"], "E_ORACLE_NONDETERMINISM");
    assert_eq!(heard["schemaVersion"], summary["schemaVersion"]);
    assert_eq!(heard["oracles"]["specs"].as_array().unwrap().len(), 1);
}

#[test]
fn reads_that_were_let_through_make_no_verdict() {
    let home = planned(&[], "console.log('ok')", &json!([{ "entry": "main.mjs" }]));
    let (code, summary, _) = ship(&home, &["--lenient-reads"]);
    assert_eq!((code, &summary["verdict"]), (Some(2), &Value::Null), "{summary:#}");
}

#[test]
fn a_plan_or_spec_that_cannot_be_used_is_named_whole_and_ends_with_3() {
    let home = planned(&[], "", &json!([{ "entry": "main.mjs" }]));
    home.put("bad.json", r#"{ "run_id": "r", "module": [], "modules": [{ "id": "fixture.a" }] }"#);
    let args = ["gates", "shipping", "--compose", "bad.json", "--modules-root", "modules"];
    let output = run_in(&home.path("."), &args);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    for words in ["E_COMPOSE", "did you mean \"modules\"?", "\"version\" is missing"] {
        assert!(text(&output).contains(words), "{words}: {}", text(&output));
    }
    home.put(
        "modules/a/oracles/specs/main.json",
        r#"{"module":"fixture.a","cases":[{"entri":"x","repeat":1}]}"#,
    );
    // A module judged alone is no exception.
    let output = run_in(&home.path("."), &["gates", "shipping", "--module", "modules/a"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let output = run_in(&home.path("."), &["oracles", "run", "--modules-root", "modules"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    for words in ["E_ORACLE_SPEC", "/cases/0/entri", "did you mean \"entry\"?", "from 2 to 10000"] {
        assert!(text(&output).contains(words), "{words}: {}", text(&output));
    }
}

#[test]
fn one_broken_manifest_fails_its_module_and_no_other() {
    let home = Home::new();
    home.module("a", &[], "", &json!([{ "entry": "main.mjs" }]));
    home.module("fixture.b", &[], "", &json!([{ "entry": "main.mjs" }]));
    home.put("modules/fixture.b/module.json", "{ broken");
    // The folder's name is not the module's id, by which its spec calls it.
    home.put(
        "modules/fixture.b/oracles/specs/main.json",
        r#"{"module":"fixture.another","cases":[{"entry":"main.mjs"}]}"#,
    );
    let args = ["oracles", "run", "--modules-root", "modules", "--output", "json"];
    let output = run_in(&home.path("."), &args);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let reports: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let verdicts: Vec<_> = reports.iter().map(|one| (&one["module"], &one["verdict"])).collect();
    let expected =
        [(&json!("fixture.a"), &json!("PASS")), (&json!("fixture.another"), &json!("FAIL"))];
    assert_eq!(verdicts, expected, "{}", text(&output));
}

#[test]
fn a_new_module_runs_and_ships_and_advice_finds_the_smallest_declaration() {
    let home = Home::new();
    let made = run_in(&home.path("."), &["new", "word.count"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    let again = run_in(&home.path("."), &["new", "word.count"]);
    assert_eq!(again.status.code(), Some(3), "{}", text(&again));
    let ran = run_in(
        &home.path("."),
        &[
            "run",
            "--module",
            "word.count",
            "--input",
            "word.count/oracles/fixtures/ada.json",
            "--out",
            "left",
        ],
    );
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran));
    let left = std::fs::read_to_string(home.path("left/greeting.json")).unwrap();
    assert_eq!(left, "{\"greeting\":\"Hello, Ada!\"}\n");
    let ships = run_in(&home.path("."), &["gates", "shipping", "--module", "word.count"]);
    assert_eq!(ships.status.code(), Some(0), "{}", text(&ships));

    let manifest = std::fs::read_to_string(home.path("word.count/module.json")).unwrap();
    let more = manifest.replace("\"side_effects\": []", "\"side_effects\": [\"Network\"]");
    std::fs::write(home.path("word.count/module.json"), more).unwrap();
    let args = ["advise", "--module", "word.count", "--output", "json"];
    let advised = run_in(&home.path("."), &args);
    assert_eq!(advised.status.code(), Some(1), "{}", text(&advised));
    let advice: Value = serde_json::from_slice(&advised.stdout).unwrap();
    assert_eq!((&advice["smallest"], &advice["unused"]), (&json!([]), &json!(["Network"])));
}

#[test]
fn every_form_of_a_result_is_well_formed() {
    let home = planned(&[], "process.exit(3)", &json!([{ "entry": "main.mjs" }]));
    let form = |form: &str| {
        let args = [
            "gates",
            "shipping",
            "--compose",
            "compose.json",
            "--modules-root",
            "modules",
            "--form",
            form,
        ];
        let output = run_in(&home.path("."), &args);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let xml = form("junit");
    assert!(xml.starts_with("<?xml") && xml.contains("<failure type=\"E_TEST\""), "{xml}");
    let sarif: Value = serde_json::from_str(&form("sarif")).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "E_TEST");
    let tap = form("tap");
    assert!(tap.starts_with("TAP version 14\n1..1\nnot ok 1 - "), "{tap}");
    assert!(form("github").starts_with("::error title=E_TEST fixture.a::"));
}
