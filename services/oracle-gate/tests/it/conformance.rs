//! The conformance directory: folders of good, warn, bad and usage cases, whose names say the codes
//! that `oracle-gate check` must raise: exactly those, `+` between them, `__` before the rest.
//!
//! The folders are written by `fixture` and the lists of cases, then judged by the program from
//! their names alone. `LUMIO_CONFORMANCE_DIR` names a folder to write them to and keep.

mod bad;
mod fine;
mod gates;
mod sealed;
pub mod fixture;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use oracle_gate::reasons::ALL;
use serde_json::Value;

use fixture::StoreFixture;

/// A folder's name, and what makes it differ from a case that passes.
pub type Case = (&'static str, fn(&mut StoreFixture));

pub const KINDS: [(&str, &[&[Case]]); 4] = [
    ("good", &[fine::GOOD]),
    ("warn", &[fine::WARN]),
    ("bad", &[bad::VIEW, bad::PATHS, bad::PACK, bad::BYTES, gates::GATES, gates::EVIDENCE]),
    ("usage", &[gates::USAGE]),
];

/// Codes that no folder can show, and the tests that show them: file and name.
const REFUSALS: &str = "refusals_are_distinguished_by_the_stores_code";

const ELSEWHERE: [(&str, &str, &str); 32] = [
    ("BUCKET_POSTURE_WEAK", "s3/moto.rs", "a_live_bucket_is_compared_with_the_documents"),
    ("PACK_TOMBSTONED", "governance.rs", "a_pack_with_a_tombstone_is_never_read_and_never_missing"),
    (
        "PACK_RECORD_INVALID",
        "governance.rs",
        "a_pack_with_a_tombstone_is_never_read_and_never_missing",
    ),
    ("PACK_ON_HOLD", "governance.rs", "a_pack_on_hold_gets_no_tombstone"),
    ("PACK_RECORD_REFUSED", "governance.rs", "a_pack_on_hold_gets_no_tombstone"),
    ("RETENTION_NOT_OVER", "governance.rs", "a_pack_expires_only_when_its_class_says_so"),
    ("PACK_FILE_ADDED", "governance.rs", "an_audit_names_every_drift"),
    ("PACK_RESEALED", "s3/moto.rs", "an_audit_finds_a_reseal_behind_a_delete_marker"),
    ("RETENTION_BELOW_CLASS", "s3/moto.rs", "an_audit_compares_the_stores_lock_with_the_class"),
    ("PACK_NOT_CLEAN", "never.rs", "a_pack_inside_or_above_another_is_refused"),
    ("CHANGED_DURING_READ", "denial.rs", "a_part_that_goes_away_while_it_is_read_is_reported"),
    ("STORE_CLOCK_SKEWED", "s3/open.rs", REFUSALS),
    ("OBJECT_ARCHIVED", "s3/open.rs", REFUSALS),
    ("STORE_SIGNATURE_REFUSED", "s3/open.rs", REFUSALS),
    ("STORE_KEY_UNKNOWN", "s3/open.rs", REFUSALS),
    ("STORE_TOKEN_EXPIRED", "s3/open.rs", REFUSALS),
    ("BUCKET_NOT_FOUND", "s3/open.rs", REFUSALS),
    ("STORE_REGION_WRONG", "s3/open.rs", REFUSALS),
    ("STORE_METHOD_REFUSED", "s3/open.rs", REFUSALS),
    ("STORE_REFUSED", "s3/open.rs", REFUSALS),
    ("ACCESS_DENIED", "denial.rs", "no_failing_call_lets_a_check_pass"),
    ("TIMEOUT", "denial.rs", "no_failing_call_lets_a_check_pass"),
    ("THROTTLED", "denial.rs", "no_failing_call_lets_a_check_pass"),
    ("STORE_UNAVAILABLE", "denial.rs", "no_failing_call_lets_a_check_pass"),
    ("PACK_ROOT_NOT_FOUND", "cli.rs", "what_cannot_be_sealed_says_why"),
    ("PACK_ROOT_UNDERIVED", "cli.rs", "what_cannot_be_sealed_says_why"),
    ("PACK_ROOT_AMBIGUOUS", "cli.rs", "what_cannot_be_sealed_says_why"),
    ("PACK_ALREADY_SEALED", "cli.rs", "a_pack_is_sealed_once_and_ensured_after_that"),
    ("MANIFEST_MISMATCH", "sealing.rs", "a_manifest_of_something_else_is_not_sealed_over"),
    ("SEAL_MISMATCH", "sealing.rs", "another_identity_does_not_replace_a_seal"),
    ("STORE_NOT_WRITE_ONCE", "sealing.rs", "a_store_that_overwrites_is_found_and_refused"),
    (
        "SEAL_UNCONFIRMED",
        "s3/conditions.rs",
        "a_seal_that_may_or_may_not_be_there_is_called_that_and_written_by_the_next_call",
    ),
];

/// Writes the whole directory; answers its folders with their kinds.
fn build(root: &Path) -> Vec<(&'static str, PathBuf)> {
    let mut folders = Vec::new();
    for (kind, lists) in KINDS {
        for (name, change) in lists.iter().copied().flatten() {
            let folder = root.join(kind).join(name);
            assert!(!folder.exists(), "{kind}/{name} occurs twice");
            let mut fixture = StoreFixture::good();
            change(&mut fixture);
            fixture.write(&folder);
            folders.push((kind, folder));
        }
    }
    folders
}

fn check(folder: &Path) -> Output {
    let arguments = fs::read_to_string(folder.join("arguments")).unwrap();
    let given = ["check", "--profile", "profile.yaml", "--run-facts-ref", "view.json"];
    Command::new(env!("CARGO_BIN_EXE_oracle-gate"))
        .args(given)
        .args(["--output", "json"])
        .args(arguments.lines())
        .env_clear()
        .current_dir(folder)
        .output()
        .unwrap()
}

/// The codes that a folder's name promises.
fn promised(kind: &str, folder: &Path) -> BTreeSet<String> {
    let name = folder.file_name().unwrap().to_str().unwrap();
    if kind == "good" {
        return BTreeSet::new();
    }
    let (codes, _) = name.split_once("__").unwrap();
    codes.split('+').map(str::to_owned).collect()
}

/// What the program says instead of what the folder's name promises.
fn difference(kind: &str, folder: &Path) -> Option<String> {
    let output = check(folder);
    let promised = promised(kind, folder);
    let exit = output.status.code();
    if kind == "usage" {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let reported = promised.iter().all(|code| error.contains(code.as_str()));
        // The same for programs, which is no report.
        let told = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
        let is_told = told["error"]["exitCode"] == 3 && told.get("reason_codes").is_none();
        let holds = exit == Some(3) && reported && is_told && error.lines().count() == 1;
        return (!holds).then(|| format!("exit {exit:?}: {error}"));
    }
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        return Some(format!("exit {exit:?}: {}", String::from_utf8_lossy(&output.stderr)));
    };
    let codes = report["reason_codes"].as_array().unwrap();
    let found: BTreeSet<String> =
        codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    let class =
        |code: &String| ALL.iter().find(|reason| reason.code() == code).unwrap().row().class.exit();
    let (status, expected) = match kind {
        "good" => ("OK", 0),
        "warn" => ("WARN", 0),
        _ => ("FAIL", promised.iter().map(class).min().unwrap()),
    };
    let holds = found == promised && report["status"] == status && exit == Some(expected.into());
    (!holds).then(|| format!("exit {exit:?}, {}: {:#}", report["status"], report["issues"]))
}

#[test]
fn every_folder_raises_exactly_the_codes_of_its_name() {
    let scratch = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("LUMIO_CONFORMANCE_DIR").map(PathBuf::from);
    let root = kept.unwrap_or_else(|| scratch.path().to_owned());
    assert!(!root.join("good").exists(), "{} holds cases already", root.display());
    let folders = build(&root);
    let wrong: Vec<String> = folders
        .iter()
        .filter_map(|(kind, folder)| {
            let name = folder.strip_prefix(&root).unwrap().display();
            difference(kind, folder).map(|text| format!("{name}: {text}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), folders.len(), wrong.join("\n"));
}

#[test]
fn every_code_is_raised_by_a_folder_or_by_a_named_test() {
    let mut shown = BTreeSet::new();
    for (kind, lists) in KINDS.into_iter().filter(|(kind, _)| *kind != "good") {
        for (name, _) in lists.iter().copied().flatten() {
            let (codes, what) = name.split_once("__").unwrap();
            assert!(!what.is_empty(), "{kind}/{name}");
            shown.extend(codes.split('+'));
        }
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for (code, file, test) in ELSEWHERE {
        assert!(shown.insert(code), "{code} is raised by a folder");
        let text = fs::read_to_string(tests.join(file)).unwrap();
        let (_, from) = text.split_once(&format!("fn {test}()")).unwrap();
        let body = from.split("\n}\n").next().unwrap();
        let reason = ALL.iter().find(|reason| reason.code() == code).unwrap();
        let named = body.contains(code) || body.contains(&format!("Reason::{reason:?}"));
        assert!(named, "{test} says nothing of {code}");
    }
    let all: BTreeSet<&str> = ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(shown, all);
}
