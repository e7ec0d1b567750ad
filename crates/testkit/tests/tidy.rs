//! Rules of the workspace that the compiler cannot see.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names in the `[dependencies]` of the package in `folder`, without the optional ones.
fn dependencies(folder: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = lines
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.contains("optional = true"));
    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap().to_owned();
    lines.map(name).filter(|name| !name.is_empty()).collect()
}

fn folders(of: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(of)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.join("Cargo.toml").is_file()).collect()
}

#[test]
fn wire_does_no_io() {
    let found = dependencies(&root().join("crates/wire"));
    for banned in ["tokio", "sqlx", "async-nats", "object_store", "reqwest", "chassis"] {
        assert!(!found.iter().any(|name| name == banned), "wire does no I/O, so no {banned}");
    }
}

#[test]
fn a_service_never_depends_on_a_service() {
    let services = folders("services");
    let names: Vec<_> =
        services.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    for service in &services {
        let found = dependencies(service);
        let other = found.iter().find(|name| names.contains(&name.as_str()));
        assert_eq!(other, None, "in {}", service.display());
    }
}

/// Whether the source names the module `name` of its own crate, alone or in a list of imports.
fn imports(source: &str, name: &str) -> bool {
    let is_name = |word: &str| word == name;
    let not_in_a_word = |sign: char| !sign.is_alphanumeric() && sign != '_';
    source.split("crate::").skip(1).any(|after| {
        let listed = after.strip_prefix('{').and_then(|list| list.split_once(';'));
        match listed {
            // Of a list only what follows a bracket or a comma is a module of this crate.
            Some((list, _)) => list
                .split([',', '{', '}'])
                .map(str::trim)
                .any(|item| item.split(not_in_a_word).next().is_some_and(is_name)),
            None => after.split(not_in_a_word).next().is_some_and(is_name),
        }
    })
}

#[test]
fn a_folder_of_the_runner_imports_only_those_below_it() {
    // From the ways in down to the values.
    let folders = [
        "grpc",
        "gateway",
        "operations",
        "event_reader",
        "runs",
        "sight",
        "chain",
        "auth",
        "view",
        "rows",
        "metrics",
        "model",
        "error",
    ];
    let sources = root().join("services/runner/src");
    for (place, folder) in folders.iter().enumerate() {
        let files = WalkDir::new(sources.join(folder)).into_iter().filter_map(Result::ok);
        let files = files.filter(|entry| entry.file_type().is_file());
        let files =
            files.map(|entry| entry.into_path()).chain([sources.join(format!("{folder}.rs"))]);
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for above in &folders[..place] {
                assert!(!imports(&text, above), "{} imports {above}", file.display());
            }
        }
    }
}

#[test]
fn imports_are_found_in_lists_too() {
    assert!(imports("use crate::runs::store;", "runs"));
    assert!(imports("use crate::{crash, runs};", "runs"));
    assert!(imports("use crate::{error::Error, runs::store};", "runs"));
    assert!(imports("let done = crate::runs::of(1);", "runs"));
    assert!(!imports("use crate::runs_done;", "runs"));
    assert!(!imports("use crate::{gateway::Runs, model};", "runs"));
}

#[test]
fn what_is_publishable_knows_nothing_of_ours() {
    let ours =
        ["wire", "chassis", "seal", "stellar", "testkit", "runner", "oracle-gate", "module-gate"];
    for name in ["guard", "localnet"] {
        let found = dependencies(&root().join("crates").join(name));
        let known = found.iter().find(|name| ours.contains(&name.as_str()));
        assert_eq!(known, None, "in crates/{name}");
    }
}

#[test]
fn testkit_ships_with_nothing() {
    for folder in ["crates", "services"].into_iter().flat_map(folders) {
        let found = dependencies(&folder);
        assert!(!found.iter().any(|name| name == "testkit"), "{} ships testkit", folder.display());
    }
}

/// The pieces of a document between backquotes that could be paths: one word, no placeholder.
fn quoted(document: &str) -> impl Iterator<Item = &str> {
    // A backquote never pairs with one of another line there, so every second piece is quoted.
    let pieces = document.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    pieces.filter(|piece| !piece.starts_with(['.', '/']) && !piece.contains([' ', '<', '*', '…']))
}

#[test]
fn what_the_guides_name_exists() {
    let files: Vec<_> = ["cli", "contracts", "crates", "services"]
        .iter()
        .flat_map(|folder| WalkDir::new(root().join(folder)))
        .map(|entry| entry.unwrap().into_path())
        .collect();
    for guide in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(guide)).unwrap();
        for name in quoted(&text) {
            let exists = match name.split_once('/') {
                // A media type has a slash as well.
                Some((folder, _)) => !root().join(folder).is_dir() || root().join(name).exists(),
                // A file that is named alone is beside one that its row names before it.
                None => !name.ends_with(".rs") || files.iter().any(|path| path.ends_with(name)),
            };
            assert!(exists, "{guide} names `{name}`, which does not exist");
        }
    }
}

#[test]
fn the_oldest_compiler_is_the_same_wherever_it_is_named() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let manifest = read("Cargo.toml");
    let oldest = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let oldest = oldest.unwrap().trim_matches('"');
    for (file, before) in [("README.md", "Rust "), ("deploy/Dockerfile", "FROM rust:")] {
        let text = read(file);
        let is_end = |sign: char| !sign.is_ascii_digit() && sign != '.';
        let words = text.split(before).skip(1).filter_map(|rest| rest.split(is_end).next());
        let named: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        assert_eq!(named, [oldest], "{file}");
    }
}

#[test]
fn every_command_of_the_readme_is_run_or_marked() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let pieces: Vec<_> = text.split("```").collect();
    let blocks = pieces.iter().enumerate().filter_map(|(at, piece)| {
        let sentence = pieces.get(at.wrapping_sub(1))?.trim_end().rsplit("\n\n").next()?;
        Some((sentence, piece.strip_prefix("sh\n")?))
    });
    let mut count = 0;
    for (sentence, block) in blocks {
        count += 1;
        // The first block is what is run, and tests/deploy/readme.sh runs the one of `./dev up`.
        let is_run = block.starts_with("./dev ");
        assert!(is_run || sentence.contains("no test runs"), "neither run nor marked: {block}");
    }
    assert!(count >= 3);
}

/// The driver waits without an end for a server that has fallen silent.
#[test]
fn every_statement_of_a_service_is_waited_for_in_time() {
    let methods =
        [".fetch(", ".fetch_one(", ".fetch_optional(", ".fetch_all(", ".fetch_many(", ".execute("];
    let executors = ["db", "conn", "tx", "pool", "snapshot"];
    let is_executor = |argument: &str| {
        let argument = argument.split(['(', ')']).next().unwrap_or_default();
        let name = argument.trim_start_matches(['&', '*']).trim_start_matches("mut ");
        let name = name.trim_start_matches('*').rsplit('.').next().unwrap_or_default();
        executors.contains(&name)
    };
    let mut folders = folders("services");
    folders.push(root().join("crates/chassis"));
    for folder in folders {
        for file in WalkDir::new(folder.join("src")) {
            let path = file.unwrap().into_path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            for method in methods {
                let mut uses = source.split(method).skip(1);
                let wrong = uses.find(|argument| is_executor(argument.trim_start()));
                let place = path.display();
                assert!(wrong.is_none(), "{place}: {method}…) without chassis::postgres::in_time");
            }
            let has_commit = source.contains("tx.commit()") && !path.ends_with("in_time.rs");
            assert!(!has_commit, "{}: use chassis::postgres::commit", path.display());
        }
    }
}
