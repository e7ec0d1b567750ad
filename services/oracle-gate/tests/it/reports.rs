//! The three forms of a check's answer state the same facts, and the SARIF log is one.

use std::path::Path;
use std::process::{Command, Output};

use oracle_gate::reasons::ALL;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::conformance::fixture::{StoreFixture, sha256};

/// A case with two errors and a traffic output, under the lenient profile with a warning.
fn case() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut fixture = StoreFixture::good();
    fixture.lenient();
    fixture.locator(0)["content_digest"] = sha256(b"another");
    fixture.view["gate_receipts"].as_array_mut().unwrap().remove(2);
    fixture.after(|case| std::fs::remove_file(case.join("store/run-5/_SEALED.json")).unwrap());
    fixture.write(dir.path());
    dir
}

fn check(case: &Path, output: &str, more: &[&str]) -> Output {
    let arguments = std::fs::read_to_string(case.join("arguments")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_oracle-gate"))
        .args(["check", "--profile", "profile.yaml", "--run-facts-ref", "view.json"])
        .args(["--output", output])
        .args(arguments.lines())
        .args(more)
        .env_clear()
        .current_dir(case)
        .output()
        .unwrap()
}

fn parsed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn text_json_and_sarif_tell_the_same_facts_and_exit_alike() {
    let case = case();
    let outputs = ["text", "json", "sarif"].map(|output| check(case.path(), output, &[]));
    assert!(outputs.iter().all(|output| output.status.code() == Some(1)));
    let [text, report, log] = outputs;
    let (report, log) = (parsed(&report), parsed(&log));
    let text = String::from_utf8(text.stdout).unwrap();
    let issues = report["issues"].as_array().unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!((issues.len(), results.len()), (3, 3), "{report:#}");
    for (issue, result) in issues.iter().zip(results) {
        assert_eq!(
            (&issue["code"], &issue["detail"]),
            (&result["ruleId"], &result["message"]["text"])
        );
        let level = if issue["severity"] == "WARN" { "warning" } else { "error" };
        assert_eq!(result["level"], level);
        for fact in ["code", "detail", "action", "class"] {
            assert!(text.contains(issue[fact].as_str().unwrap()), "{fact} of {issue} in {text}");
        }
    }
    assert_eq!(log["runs"][0]["properties"]["details"], report["details"]);
    assert_eq!(log["runs"][0]["invocations"][0]["exitCode"], 1);
    assert!(text.contains("NO_GATE_REQUIRED free\n"), "{text}");
}

/// Promise 1.6 of the build plan: the allowlist is roles and locators, and nothing without a pass.
#[test]
fn traffic_is_reported_only_of_what_passed() {
    let reported = |case: &Path| {
        let output = check(case, "json", &[]);
        parsed(&output)["details"]["traffic_outputs"].clone()
    };
    assert_eq!(reported(case().path()), json!([]));
    let good = tempfile::tempdir().unwrap();
    StoreFixture::good().write(good.path());
    assert_eq!(reported(good.path()), json!(["parts"]));
    let text = check(good.path(), "text", &[]).stdout;
    assert!(String::from_utf8(text).unwrap().contains("\ntraffic parts\n"));
}

#[test]
fn the_sarif_log_has_the_shape_the_standard_demands() {
    let schema: Value = serde_json::from_str(include_str!("reports/sarif.json")).unwrap();
    let schema = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let good = tempfile::tempdir().unwrap();
    StoreFixture::good().write(good.path());
    let case = case();
    for folder in [case.path(), good.path()] {
        let log = parsed(&check(folder, "sarif", &[]));
        let wrong: Vec<String> = schema
            .iter_errors(&log)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert_eq!(rules.len(), ALL.len());
        for result in run["results"].as_array().unwrap() {
            let at = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[at]["id"], result["ruleId"]);
        }
    }
}

#[test]
fn a_result_keeps_its_fingerprint_from_run_to_run() {
    let case = case();
    let prints = || {
        let log = parsed(&check(case.path(), "sarif", &[]));
        let results = log["runs"][0]["results"].as_array().unwrap().clone();
        results.iter().map(|result| result["partialFingerprints"].clone()).collect::<Vec<_>>()
    };
    let first = prints();
    assert_eq!(first, prints());
    assert!(first.iter().all(|print| first.iter().filter(|other| *other == print).count() == 1));
}

#[test]
fn warnings_fail_only_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut fixture = StoreFixture::good();
    fixture.lenient();
    fixture.write(dir.path());
    let presence = ["--depth", "presence"];
    let output = check(dir.path(), "json", &presence);
    assert_eq!((output.status.code(), &parsed(&output)["status"]), (Some(0), &json!("WARN")));
    let evidence = &parsed(&output)["details"]["evidence"];
    // Only what the gates depend on is read.
    let [by_length, read] =
        ["size_only", "hashed_bytes"].map(|name| evidence[name].as_u64().unwrap());
    assert!(by_length > 2 && read < 16, "{evidence}");
    let strict = check(dir.path(), "json", &[&presence[..], &["--fail-on-warn"]].concat());
    assert_eq!(strict.status.code(), Some(1));
}

#[test]
fn the_table_is_there_for_programs() {
    let program = || Command::new(env!("CARGO_BIN_EXE_oracle-gate"));
    let output = program().args(["reasons", "--output", "json"]).output().unwrap();
    let table = parsed(&output);
    assert_eq!((output.status.code(), &table["version"]), (Some(0), &json!(1)));
    let rows = table["reasons"].as_array().unwrap();
    assert_eq!(rows.len(), ALL.len());
    for row in rows {
        for column in ["code", "severity", "class", "exit_code", "retryable", "meaning", "action"] {
            assert!(!row[column].is_null(), "{column} of {row}");
        }
    }
}
