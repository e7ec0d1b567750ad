//! The promises of document 001, the runner's operations playbook.
//!
//! `docs/requirements-map.md` lists each of them with the tests that show it, wherever those are:
//! here for the service by itself, in `tests/e2e` for what takes executor and seal (`promises.rs`
//! there has the tests that are named after a promise), in `contracts` for the vault and in
//! `web/tests` for the pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Adds the names of the functions in all Rust sources below `folder`.
fn collect_functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !["target", "node_modules"].contains(&name) {
                collect_functions(&path, names);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            let heads = text.split("fn ").skip(1).filter_map(|rest| rest.split_once('('));
            names.extend(heads.map(|(name, _)| name.to_owned()));
        }
    }
}

/// The rows about the playbook: the promise, where it is kept, and what shows it.
fn rows() -> Vec<[String; 3]> {
    let page = fs::read_to_string(root().join("docs/requirements-map.md")).unwrap();
    let part = page.split("\n## 001 ").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = part.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        cells.try_into().map(|cells: [&str; 3]| cells.map(str::to_owned))
    });
    cells.collect::<Result<_, _>>().unwrap()
}

#[test]
fn every_promise_of_the_playbook_names_tests_and_every_named_test_is_there() {
    let mut functions = BTreeSet::new();
    for folder in ["cli", "contracts", "crates", "services", "tests"] {
        collect_functions(&root().join(folder), &mut functions);
    }
    let rows = rows();
    assert!(rows.len() > 40, "{}", rows.len());
    for [promise, kept, shown] in rows {
        assert!(!kept.is_empty() && shown.contains('`'), "nothing shows: {promise}");
        // A test of Rust is a name of several words; those of pages are sentences, or files.
        let quoted = shown.split('`').skip(1).step_by(2);
        let is_name = |text: &&str| {
            text.matches('_').count() > 1
                && text.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '_'))
        };
        for name in quoted.filter(is_name) {
            assert!(functions.contains(name), "{promise}: there is no test {name}");
        }
    }
}
