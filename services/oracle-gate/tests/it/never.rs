//! What must never happen to a pack that another program made, and what must never be closed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::cli::publish;
use crate::fixture::{Fixture, json_of, oracle_gate};
use crate::governance::{codes, of_pack};

/// A name that oracle-gate gives to a file that it is writing, where files need one.
const PART: &str = ".oracle-gate-0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f.part";

fn seal(fixture: &Fixture, arguments: &[&str]) -> Output {
    let seal = ["seal", "--profile", "dev", "--run-facts-ref", "view.json"];
    oracle_gate(fixture, &[&seal[..], arguments].concat())
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Every file below `folder` with its bytes; scratch folders of probes are empty and do not count.
fn content(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            found.push((path, b"link".to_vec()));
        } else if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

/// The seal is refused with `code`, and nothing of the store is other than it was.
fn refused(fixture: &Fixture, arguments: &[&str], code: &str) -> String {
    let before = content(fixture.dir.path());
    let output = seal(fixture, arguments);
    let said = text(&output);
    assert!(said.contains(code), "{code} is missing: {said}");
    assert_ne!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(content(fixture.dir.path()), before, "{said}");
    said
}

fn edit_view(fixture: &Fixture, change: impl FnOnce(&mut Value)) {
    let path = fixture.path("view.json");
    let mut view: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut view);
    fs::write(path, view.to_string()).unwrap();
}

#[test]
fn a_file_of_an_engine_is_never_hidden_or_removed() {
    for name in [
        "data/report.csv#2024",
        "data/one#1",
        "one#1",
        "_SEALED.json#2024",
        "_oracle_pack_manifest.json#1",
        PART,
        "data/_SEALED.json#1",
        "data/back\\slash",
        "data/line\nbreak",
    ] {
        let fixture = Fixture::new();
        publish(&fixture);
        fixture.write("run-5/data/report.csv", "a,b");
        fixture.write(&format!("run-5/{name}"), "year,rows\n2024,3\n");
        let said = refused(&fixture, &[], "NAME_REFUSED");
        assert!(!said.trim_end().contains('\n'), "{said}");
        // Also beside a seal that exists already.
        fs::rename(fixture.path(&format!("run-5/{name}")), fixture.path("aside")).unwrap();
        assert_eq!(seal(&fixture, &[]).status.code(), Some(0));
        fs::rename(fixture.path("aside"), fixture.path(&format!("run-5/{name}"))).unwrap();
        for arguments in [&[][..], &["--ensure"]] {
            refused(&fixture, arguments, "NAME_REFUSED");
        }
    }
}

#[test]
fn every_odd_thing_of_a_pack_is_named_at_once() {
    let fixture = Fixture::new();
    publish(&fixture);
    symlink("one", fixture.path("run-5/data/link")).unwrap();
    fixture.write("run-5/data/a#1", "");
    fixture.write("run-5/data/b#2", "");
    let said = refused(&fixture, &[], "NAME_REFUSED");
    for name in ["data/link", "data/a#1", "data/b#2"] {
        assert!(said.contains(name), "{name} is missing: {said}");
    }
    assert!(said.contains("LINK_REFUSED: \"data/link\""), "each by its own reason: {said}");
    for name in ["data/a#1", "data/b#2"] {
        fs::remove_file(fixture.path(&format!("run-5/{name}"))).unwrap();
    }
    let said = refused(&fixture, &[], "LINK_REFUSED");
    assert!(said.contains("replace it by the file itself") && !said.contains("rename"), "{said}");
    fs::remove_file(fixture.path("run-5/data/link")).unwrap();
    let socket = fixture.path("run-5/data/socket");
    let _listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    let output = seal(&fixture, &[]);
    assert!(output.status.code() == Some(1), "{}", text(&output));
    assert!(text(&output).contains("LINK_REFUSED"), "{}", text(&output));
}

/// Any program can make a file with the name and the beginning of an unfinished seal.
#[test]
fn a_file_with_the_name_of_an_unfinished_seal_is_kept_and_named() {
    for content in ["", "{", "{\"manifest_digest\":\"00", "{\"attempt\":1,"] {
        for name in ["_SEALED.json#2024", "_oracle_pack_manifest.json#1", PART] {
            let fixture = Fixture::new();
            publish(&fixture);
            fixture.write(&format!("run-5/{name}"), content);
            let said = refused(&fixture, &[], "NAME_REFUSED");
            assert!(said.contains(name), "{said}");
        }
    }
}

#[test]
fn sealing_a_sealed_pack_changes_nothing_and_an_audit_names_what_was_added() {
    let fixture = Fixture::new();
    publish(&fixture);
    assert_eq!(seal(&fixture, &[]).status.code(), Some(0));
    let of_ours = |name: &str| fs::read(fixture.path(&format!("run-5/{name}"))).unwrap();
    let (marker, manifest) = (of_ours("_SEALED.json"), of_ours("_oracle_pack_manifest.json"));
    for (name, content) in [
        (PART, &b"precious"[..]),
        (PART, &b""[..]),
        (PART, &marker[..]),
        (PART, &manifest[..]),
        (PART, &manifest[..40]),
        ("_SEALED.json#7", &marker[..]),
        ("_SEALED.json#7", &marker[..20]),
        ("_oracle_pack_manifest.json#1", &manifest[..]),
        ("data/one#1", &b"one"[..]),
    ] {
        let path = format!("run-5/{name}");
        fixture.write(&path, content);
        for arguments in [&[][..], &["--ensure"]] {
            refused(&fixture, arguments, "NAME_REFUSED");
        }
        let audited = of_pack(&fixture, "audit", &[]);
        assert_eq!(audited.status.code(), Some(1), "{name}");
        let report = json_of(&audited);
        assert!(codes(&report).contains(&"PACK_FILE_ADDED"), "{name}: {report:#}");
        let issues = report["issues"].as_array().unwrap();
        let added = issues.iter().find(|issue| issue["code"] == "PACK_FILE_ADDED").unwrap();
        assert!(added["detail"].as_str().unwrap().contains(name), "{name}: {added}");
        assert_eq!(fs::read(fixture.path(&path)).unwrap(), content, "{name}");
        fs::remove_file(fixture.path(&path)).unwrap();
    }
    assert!(of_pack(&fixture, "audit", &[]).status.success());
}

/// Touching the seal after a file was edited must not hide the edit.
#[test]
fn files_are_called_equal_only_after_they_were_read() {
    use std::os::unix::fs::PermissionsExt;

    let fixture = Fixture::new();
    publish(&fixture);
    let journal = ["--journal", "j"];
    assert_eq!(seal(&fixture, &journal).status.code(), Some(0));
    let said = text(&seal(&fixture, &journal));
    assert!(said.contains("files are equal"), "{said}");
    fixture.write("run-5/data/one", "two");
    let closed = fixture.path("run-5/_SEALED.json");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&fixture, &[], "PACK_ALREADY_SEALED");
    for arguments in [&[][..], &journal] {
        let said = text(&seal(&fixture, arguments));
        assert!(said.contains("PACK_ALREADY_SEALED") && said.contains("differ"), "{said}");
        assert!(!said.contains("files are equal"), "{said}");
    }
}

#[test]
fn a_file_that_is_no_journal_is_left_alone() {
    let fixture = Fixture::new();
    publish(&fixture);
    fixture.write("precious", b"\xff\xfe\nprecious\n");
    fixture.write("empty", b"");
    for arguments in [
        ["--journal", "precious"],
        ["--journal", "empty"],
        ["--journal", "/dev/null"],
        ["--journal", "run-5/journal"],
        ["--journal", "run-5/data/one"],
        ["--journal", "none/journal"],
    ] {
        refused(&fixture, &arguments, "CONFIG_INVALID");
    }
    assert!(fs::metadata("/dev/null").is_ok());
}

#[test]
fn names_that_some_disk_would_merge_are_refused() {
    for (one, other) in [
        ("README", "readme"),
        ("Straße", "STRASSE"),
        ("é", "e\u{301}"),
        ("x", "_sealed.json"),
        ("x", "_\u{17f}EALED.json"),
        ("x", "_ORACLE_PACK_MANIFEST.JSON"),
        ("x", "_SEALED.json/inner"),
    ] {
        let fixture = Fixture::new();
        publish(&fixture);
        fixture.write(&format!("run-5/{one}"), "1");
        fixture.write(&format!("run-5/{other}"), "2");
        refused(&fixture, &[], "NAME_REFUSED");
    }
}

#[test]
fn a_pack_inside_or_above_another_is_refused() {
    let fixture = Fixture::new();
    publish(&fixture);
    fixture.write("run-5/inner/_SEALED.json", "{}");
    refused(&fixture, &[], "PACK_NOT_CLEAN");
    fs::remove_dir_all(fixture.path("run-5/inner")).unwrap();
    assert_eq!(seal(&fixture, &[]).status.code(), Some(0));
    edit_view(&fixture, |view| view["locators"][0]["path"] = json!("data/one"));
    fixture.write("data/one", "one");
    refused(&fixture, &["--pack-root", "."], "PACK_NOT_CLEAN");
    fixture.write("_SEALED.json", "{}");
    edit_view(&fixture, |view| view["locators"][0]["path"] = json!("run-6/one"));
    fixture.write("run-6/one", "one");
    refused(&fixture, &[], "sealed pack");
}

#[test]
fn the_scratch_of_probes_is_never_sealed() {
    let fixture = Fixture::new();
    publish(&fixture);
    fixture.write("_probe/mine/one", "one");
    edit_view(&fixture, |view| view["locators"][0]["path"] = json!("_probe/mine/one"));
    refused(&fixture, &[], "PACK_NOT_CLEAN");
    edit_view(&fixture, |view| view["locators"][0]["path"] = json!("data/one"));
    fixture.write("data/one", "one");
    fs::remove_dir_all(fixture.path("run-5")).unwrap();
    let said = refused(&fixture, &[], "PACK_NOT_CLEAN");
    assert!(said.contains("remove it"), "{said}");
}

#[test]
fn a_view_whose_outputs_are_not_in_the_pack_is_not_sealed() {
    let fixture = Fixture::new();
    publish(&fixture);
    fixture.write("run-6/data/one", "one");
    refused(&fixture, &["--pack-root", "run-6"], "LOCATOR_NOT_IN_PACK");
    refused(&fixture, &["--pack-root", "run-5/data"], "LOCATOR_NOT_IN_PACK");
    edit_view(&fixture, |view| view["locators"][0]["path"] = json!("run-5/data/none"));
    refused(&fixture, &[], "LOCATOR_MISSING");
    edit_view(&fixture, |view| view["locators"][0]["path"] = json!("run-5/data/part-*"));
    refused(&fixture, &[], "PART_SET_EMPTY");
    edit_view(&fixture, |view| view["locators"][0]["path"] = json!("run-5/data"));
    assert_eq!(seal(&fixture, &[]).status.code(), Some(0));
}

#[test]
fn a_manifest_that_no_reader_takes_is_refused_before_anything_is_hashed() {
    let fixture = Fixture::new();
    publish(&fixture);
    // 62,000 names of 1,000 bytes and more give a manifest above 64 MiB.
    let deep = vec!["x".repeat(240); 4].join("/");
    let folder = fixture.path(&format!("run-5/{deep}"));
    fs::create_dir_all(&folder).unwrap();
    for number in 0..62_000 {
        fs::File::create(folder.join(format!("{number:036}"))).unwrap();
    }
    let said = refused(&fixture, &[], "OBJECT_TOO_LARGE");
    assert!(said.contains("fewer files"), "{said}");
}

#[test]
fn foreign_text_does_nothing_to_a_terminal() {
    let fixture = Fixture::new();
    publish(&fixture);
    let name = "run-5/data/\u{202e}gpj.exe\u{2066}";
    edit_view(&fixture, |view| {
        view["locators"][0]["path"] = json!(name);
    });
    let hidden = |text: &str| {
        text.chars().any(|char| {
            (char.is_control() && char != '\n')
                || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        })
    };
    let said = text(&seal(&fixture, &[]));
    assert!(said.contains("202e") && !hidden(&said), "{said:?}");
    for format in ["text", "json", "sarif"] {
        let output = Command::new(env!("CARGO_BIN_EXE_oracle-gate"))
            .args(["check", "--profile", "local", "--run-facts-ref", "view.json"])
            .args(["--output", format])
            .env_clear()
            .env("ORACLE_GATE_ROOT", fixture.dir.path())
            .current_dir(fixture.dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("202e") && !hidden(&said), "{format}: {said:?}");
    }
}

#[test]
fn an_unsealed_folder_is_a_warning_of_its_own() {
    let fixture = Fixture::new();
    publish(&fixture);
    edit_view(&fixture, |view| view["locators"][0]["path"] = json!("run-5/data"));
    let output = Command::new(env!("CARGO_BIN_EXE_oracle-gate"))
        .args(["check", "--profile", "local", "--run-facts-ref", "view.json"])
        .env_clear()
        .env("ORACLE_GATE_ROOT", fixture.dir.path())
        .current_dir(fixture.dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("WARN FOLDER_UNLISTED: run-5/data"), "{said}");
    assert!(!said.contains("LOCATOR_MISSING"), "{said}");
}

#[test]
fn a_root_that_is_a_file_is_a_matter_of_configuration() {
    let fixture = Fixture::new();
    fixture.write("file", "x");
    let output = Command::new(env!("CARGO_BIN_EXE_oracle-gate"))
        .args(["probe", "--profile", "dev"])
        .env_clear()
        .env("ORACLE_GATE_ROOT", fixture.path("file"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("not a folder"), "{}", text(&output));
}
