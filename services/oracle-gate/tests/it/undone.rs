//! What was decided about a pack is not undone by removing what records it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use crate::fixture::{Fixture, json_of, oracle_gate};
use crate::governance::{HOLD, TOMBSTONE, check, codes, of_pack, said, sealed};

/// A pack with a hold, its release and a tombstone.
fn buried() -> Fixture {
    let fixture = sealed();
    assert!(of_pack(&fixture, "hold", &HOLD).status.success());
    let release = ["--authority", "legal", "--hold", "1"];
    assert!(of_pack(&fixture, "release", &release).status.success());
    assert!(of_pack(&fixture, "tombstone", &TOMBSTONE).status.success());
    fixture
}

/// Nothing says that the pack may be read, and nothing is recorded about it.
fn assert_unknown(fixture: &Fixture, what: &str) {
    let report = check(fixture);
    assert!(codes(&report).contains(&"PACK_RECORD_INVALID"), "{what}: {report:#}");
    let audited = of_pack(fixture, "audit", &[]);
    assert_eq!(audited.status.code(), Some(1), "{what}");
    let audited = json_of(&audited);
    assert!(codes(&audited).contains(&"PACK_RECORD_INVALID"), "{what}: {audited:#}");
    let ensure = ["seal", "--profile", "dev", "--run-facts-ref", "view.json", "--ensure"];
    let ensured = oracle_gate(fixture, &ensure);
    let state = of_pack(fixture, "state", &[]);
    let held = of_pack(fixture, "hold", &HOLD);
    for output in [ensured, state, held] {
        assert_eq!(output.status.code(), Some(1), "{what}: {}", said(&output));
        assert!(said(&output).contains("PACK_RECORD_INVALID"), "{what}: {}", said(&output));
    }
    assert!(!fixture.path("run-5/_records/4.json").exists(), "{what}");
}

/// What it is called, and what it does to the folder of the records.
type Edit = (&'static str, fn(&Path));

#[test]
fn a_gap_or_anything_foreign_among_the_records_is_no_shorter_log() {
    let remove = |path: std::path::PathBuf| fs::remove_file(path).unwrap();
    let edits: [Edit; 10] = [
        ("the first is removed", |at| fs::remove_file(at.join("1.json")).unwrap()),
        ("one between is removed", |at| fs::remove_file(at.join("2.json")).unwrap()),
        ("only the last is there", |at| {
            fs::remove_file(at.join("1.json")).unwrap();
            fs::remove_file(at.join("2.json")).unwrap();
        }),
        ("the first is an empty folder", |at| {
            fs::remove_file(at.join("1.json")).unwrap();
            fs::create_dir(at.join("1.json")).unwrap();
        }),
        ("only an empty folder is there", |at| {
            fs::remove_dir_all(at).unwrap();
            fs::create_dir_all(at.join("1.json")).unwrap();
        }),
        ("the folder is a file", |at| {
            fs::remove_dir_all(at).unwrap();
            fs::write(at, "x").unwrap();
        }),
        ("the folder is a link", |at| {
            fs::rename(at, at.with_extension("moved")).unwrap();
            symlink("_records.moved", at).unwrap();
        }),
        ("the first has another spelling", |at| {
            fs::rename(at.join("1.json"), at.join("01.json")).unwrap();
        }),
        ("all have another spelling", |at| {
            for number in 1..=3 {
                let name = format!("{number}.json");
                fs::rename(at.join(&name), at.join(format!("{name}.bak"))).unwrap();
            }
        }),
        ("a number far behind", |at| {
            fs::rename(at.join("3.json"), at.join("77.json")).unwrap();
        }),
    ];
    for (what, edit) in edits {
        let fixture = buried();
        edit(&fixture.path("run-5/_records"));
        assert_unknown(&fixture, what);
    }
    // Beside a log without a tombstone as well.
    for name in ["notes.txt", "2.json", "1.json.bak", "sub/1.json"] {
        let fixture = sealed();
        assert!(of_pack(&fixture, "hold", &HOLD).status.success());
        fixture.write(&format!("run-5/_records/{name}"), "x");
        assert_unknown(&fixture, name);
        remove(fixture.path(&format!("run-5/_records/{name}")));
    }
    // What a crash left of a record that was being written is ours, and is not a record.
    let fixture = sealed();
    assert!(of_pack(&fixture, "hold", &HOLD).status.success());
    let part = format!("run-5/_records/.oracle-gate-{}.part", "0f".repeat(16));
    fixture.write(&part, "{");
    let state = json_of(&of_pack(&fixture, "state", &[]));
    assert_eq!(state["holds"], json!([1]), "{state:#}");
    assert!(of_pack(&fixture, "audit", &[]).status.success());
    assert!(seal::verify::pack(&fixture.path("run-5")).unwrap().is_whole());
}

#[test]
fn the_records_of_another_pack_are_none_of_this_one() {
    let (fixture, other) = (sealed(), sealed());
    assert!(of_pack(&other, "hold", &HOLD).status.success());
    let record = fs::read(other.path("run-5/_records/1.json")).unwrap();
    fixture.write("run-5/_records/1.json", record);
    let report = check(&fixture);
    assert!(codes(&report).contains(&"PACK_RECORD_INVALID"), "{report:#}");
    let audited = json_of(&of_pack(&fixture, "audit", &[]));
    assert!(codes(&audited).contains(&"PACK_RECORD_INVALID"), "{audited:#}");
    assert!(said(&of_pack(&fixture, "state", &[])).contains("PACK_RECORD_INVALID"));
}

/// From a folder nothing shows that the last records were removed: said in the documents, so that
/// no reader relies on it.
#[test]
fn the_end_of_a_log_in_a_folder_is_not_held_by_the_folder() {
    let fixture = buried();
    fs::remove_file(fixture.path("run-5/_records/3.json")).unwrap();
    let state = json_of(&of_pack(&fixture, "state", &[]));
    assert_eq!(state["state"], json!("SEALED_OK"));
}
