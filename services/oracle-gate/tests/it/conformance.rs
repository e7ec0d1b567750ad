//! The conformance directory: folders of good, warn, bad and usage cases, whose names say the codes
//! that `oracle-gate check` must raise: exactly those, `+` between them, `__` before the rest.
//!
//! The folders are written by `world` and the lists of cases, then judged by the program from their
//! names alone. `LUMIO_CONFORMANCE_DIR` names a folder to write them to and keep.

mod bad;
mod fine;
mod gates;
mod sealed;
pub mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use oracle_gate::reasons::ALL;
use serde_json::Value;

use world::World;

/// A folder's name, and what makes it differ from a case that passes.
pub type Case = (&'static str, fn(&mut World));

pub const KINDS: [(&str, &[&[Case]]); 4] = [
    ("good", &[fine::GOOD]),
    ("warn", &[fine::WARN]),
    ("bad", &[bad::VIEW, bad::PATHS, bad::PACK, bad::BYTES, gates::GATES, gates::EVIDENCE]),
    ("usage", &[gates::USAGE]),
];

/// Codes that no folder can show, and the tests that show them.
const ELSEWHERE: [(&str, &str); 15] = [
    ("CHANGED_DURING_READ", "denial: a_file_that_changes_between_two_readings_is_told"),
    ("ACCESS_DENIED", "denial: no_failing_call_lets_a_check_pass"),
    ("TIMEOUT", "denial: no_failing_call_lets_a_check_pass"),
    ("THROTTLED", "denial: no_failing_call_lets_a_check_pass"),
    ("STORE_UNAVAILABLE", "denial: no_failing_call_lets_a_check_pass"),
    ("PACK_ROOT_NOT_FOUND", "cli: what_cannot_be_sealed_says_why"),
    ("PACK_ROOT_UNDERIVED", "cli"),
    ("PACK_ROOT_AMBIGUOUS", "cli"),
    ("PACK_ALREADY_SEALED", "cli: a_pack_is_sealed_once_and_ensured_after_that"),
    ("MANIFEST_MISMATCH", "sealing"),
    ("SEAL_MISMATCH", "sealing"),
    ("STORE_NOT_WRITE_ONCE", "sealing"),
    ("SEAL_UNCONFIRMED", "crash"),
    ("DIGEST_NOT_VERIFIED", "warn"),
    ("GATE_BUNDLE_UNLISTED", "warn and bad"),
];

/// Writes the whole directory; answers its folders with their kinds.
fn build(root: &Path) -> Vec<(&'static str, PathBuf)> {
    let mut folders = Vec::new();
    for (kind, lists) in KINDS {
        for (name, change) in lists.iter().copied().flatten() {
            let folder = root.join(kind).join(name);
            assert!(!folder.exists(), "{kind}/{name} stands twice");
            let mut world = World::good();
            change(&mut world);
            world.write(&folder);
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
        let told = promised.iter().all(|code| error.contains(code.as_str()));
        let holds =
            exit == Some(3) && told && output.stdout.is_empty() && error.lines().count() == 1;
        return (!holds).then(|| format!("exit {exit:?}: {error}"));
    }
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        return Some(format!("exit {exit:?}: {}", String::from_utf8_lossy(&output.stderr)));
    };
    let codes = report["reason_codes"].as_array().unwrap();
    let found: BTreeSet<String> =
        codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    let class = |code: &String| ALL.iter().find(|it| it.code() == code).unwrap().row().class.exit();
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
    let mut shown: BTreeSet<&str> = ELSEWHERE.iter().map(|(code, _)| *code).collect();
    for (kind, lists) in KINDS.into_iter().filter(|(kind, _)| *kind != "good") {
        for (name, _) in lists.iter().copied().flatten() {
            let (codes, what) = name.split_once("__").unwrap();
            assert!(!what.is_empty(), "{kind}/{name}");
            shown.extend(codes.split('+'));
        }
    }
    let all: BTreeSet<&str> = ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(shown, all);
}
