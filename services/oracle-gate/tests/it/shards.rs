//! Very large files: their shards are sealed, checked on all processors, and named where one differs.

use std::fs::File;
use std::os::unix::fs::FileExt;

use seal::{MANIFEST_FILE, Manifest, Sharding};
use serde_json::{Value, json};
use wire::digest::Digest;

use crate::fixture::{Fixture, json_of, oracle_gate, publish_view};

/// The path of the one output.
const LARGE: &str = "run-5/data/large";

/// The details of the issues with this code.
fn said(answer: &Value, code: &str) -> Vec<String> {
    let issues = answer["issues"].as_array().unwrap().iter();
    let issues = issues.filter(|issue| issue["code"] == code);
    issues.map(|issue| issue["detail"].as_str().unwrap().to_owned()).collect()
}

/// The first length that has shards: the last one is of one byte.
#[test]
fn a_changed_byte_of_a_file_above_one_gib_is_named_by_check() {
    let pack = Pack::sealed((1 << 30) + 1);
    assert_eq!(pack.shards, 5);
    pack.is_whole();
    pack.names_shard(4);
}

#[test]
#[ignore = "reads some 50 GiB of holes, a minute; ./dev test long runs it"]
fn a_flipped_byte_in_each_shard_of_a_file_of_three_gib_is_named_by_check_and_audit() {
    let pack = Pack::sealed((3 << 30) + 12_345);
    assert_eq!(pack.shards, 13);
    pack.is_whole();
    (0..13).for_each(|number| pack.names_shard(number));

    pack.file.write_at(&[1], pack.length - 1).unwrap();
    let audit = ["audit", "--profile", "local", "--output", "json", "--pack-root", "run-5"];
    let found = json_of(&oracle_gate(&pack.fixture, &audit));
    let changed = said(&found, "PACK_FILE_CHANGED");
    assert!(changed.len() == 2 && changed[0].contains("bytes 3221225472 to"), "{found}");
}

/// A sealed pack of one file of holes, which cost no disk.
struct Pack {
    fixture: Fixture,
    file: File,
    length: u64,
    shards: usize,
}

impl Pack {
    fn sealed(length: u64) -> Self {
        let fixture = Fixture::new();
        fixture.write("run-5/data/large", "");
        let file = File::options().write(true).open(fixture.path("run-5/data/large")).unwrap();
        file.set_len(length).unwrap();
        publish_view(&fixture, LARGE, Digest::of(b"not known yet"));
        let seal = ["seal", "--profile", "dev", "--run-facts-ref", "view.json"];
        let sealed = oracle_gate(&fixture, &seal);
        assert_eq!(sealed.status.code(), Some(0), "{}", String::from_utf8_lossy(&sealed.stderr));
        let manifest = std::fs::read(fixture.path(&format!("run-5/{MANIFEST_FILE}"))).unwrap();
        let manifest = Manifest::parse(&manifest).unwrap();
        publish_view(
            &fixture,
            LARGE,
            manifest.inventory().unwrap().file("data/large").unwrap().sha256,
        );
        let shards = manifest.shards().unwrap().of("data/large").unwrap().len();
        let again = oracle_gate(&fixture, &[&seal[..], &["--ensure"]].concat());
        assert_eq!(json_of(&again)["existed"], json!(true));
        Self { fixture, file, length, shards }
    }

    fn check(&self) -> Value {
        let check = ["check", "--profile", "local", "--run-facts-ref", "view.json"];
        json_of(&oracle_gate(&self.fixture, &[&check[..], &["--output", "json"]].concat()))
    }

    fn is_whole(&self) {
        let whole = self.check();
        for code in ["PACK_FILE_CHANGED", "DIGEST_MISMATCH", "PACK_MANIFEST_INVALID"] {
            assert!(said(&whole, code).is_empty(), "{whole}");
        }
    }

    /// A flipped byte in the middle of the shard is found, and both reasons say where.
    fn names_shard(&self, number: usize) {
        let range = Sharding::PACK.range(number, self.length);
        let at = (range.start + range.end) / 2;
        self.file.write_at(&[1], at).unwrap();
        let found = self.check();
        for (code, path) in
            [("PACK_FILE_CHANGED", "data/large"), ("DIGEST_MISMATCH", "run-5/data/large")]
        {
            let bytes = format!("bytes {} to {} of {path}", range.start, range.end - 1);
            let details = said(&found, code);
            assert!(details.len() == 1 && details[0].contains(&bytes), "{found}");
        }
        self.file.write_at(&[0], at).unwrap();
    }
}
