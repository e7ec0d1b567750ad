use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use seal::manifest::{ManifestV1, WorldKey};
use seal::records::{Decision, Record, Survives, TombstoneReason, Version, unfinished_name};
use seal::tree::File;
use seal::verify::{Broken, Found, Link, compare, pack};
use seal::{
    Limits, MANIFEST_FILE, Manifest, SEAL_FILE, SealMarker, SealStatus, SealV1, Sharding, Shards,
    StoreProbe, Tree, pack_id,
};
use tempfile::TempDir;
use time::OffsetDateTime;
use wire::digest::Digest;

fn sealed() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("outputs")).unwrap();
    fs::write(dir.path().join("outputs/report.json"), "{\"rows\":3}").unwrap();
    fs::write(dir.path().join("outputs/table.csv"), "a,b\n").unwrap();
    fs::write(dir.path().join("_execution.dsse"), "{}").unwrap();
    let mut manifest = ManifestV1 {
        oracle_pack_id: Digest::of(b""),
        world_key: WorldKey {
            manifest_fingerprint: Digest::of(b"module"),
            parameter_hash: Digest::of(b"input"),
            scenario_id: "profile".to_owned(),
            seed: 7,
        },
        run_id: "0123456789abcdef".repeat(2).parse().unwrap(),
        attempt: 1,
        engine_release: "engine".to_owned(),
        catalogue_digest: Digest::of(b"catalogue"),
        gate_map_digest: Digest::of(b"gates"),
        inventory: Tree::from_dir(dir.path(), &Limits::PACK).unwrap(),
        created_at_utc: OffsetDateTime::UNIX_EPOCH,
    };
    manifest.oracle_pack_id = pack_id::v1(&manifest);
    store(dir.path(), &manifest);
    dir
}

/// Writes the manifest and a seal bound to it.
fn store(root: &Path, manifest: &ManifestV1) {
    let bytes = Manifest::V1(manifest.clone()).to_bytes().unwrap();
    let seal = SealMarker::V1(SealV1 {
        oracle_pack_id: manifest.oracle_pack_id,
        seal_status: SealStatus::Ok,
        sealed_at_utc: OffsetDateTime::UNIX_EPOCH,
        manifest_digest: Digest::of(&bytes),
        nonce: "ab".repeat(16),
        store_probe: StoreProbe {
            second_create_refused: true,
            races: 20,
            writers: 16,
            races_with_one_winner: 20,
            wrong_checksum_refused: None,
            probed_at_utc: OffsetDateTime::UNIX_EPOCH,
        },
    });
    fs::write(root.join(MANIFEST_FILE), bytes).unwrap();
    fs::write(root.join(SEAL_FILE), seal.to_bytes().unwrap()).unwrap();
}

fn manifest_of(root: &Path) -> ManifestV1 {
    let bytes = fs::read(root.join(MANIFEST_FILE)).unwrap();
    let Manifest::V1(manifest) = Manifest::parse(&bytes).unwrap() else { panic!("not v1") };
    manifest
}

fn broken(root: &Path) -> Vec<Broken> {
    pack(root).unwrap().broken
}

#[test]
fn an_untouched_pack_is_whole() {
    let dir = sealed();
    let report = pack(dir.path()).unwrap();
    assert!(report.is_whole(), "{:?}", report.broken);
    assert_eq!(
        report.seal_digest,
        Some(Digest::of(&fs::read(dir.path().join(SEAL_FILE)).unwrap()))
    );
}

#[test]
fn a_changed_byte_names_the_file() {
    let dir = sealed();
    fs::write(dir.path().join("outputs/table.csv"), "a,c\n").unwrap();
    assert!(
        matches!(&broken(dir.path())[..], [Broken::FileChanged { path, .. }] if path == "outputs/table.csv")
    );
}

#[test]
fn an_added_and_a_missing_file_are_named() {
    let dir = sealed();
    fs::write(dir.path().join("outputs/more.csv"), "").unwrap();
    fs::remove_file(dir.path().join("_execution.dsse")).unwrap();
    let found = broken(dir.path());
    assert_eq!(
        found,
        [
            Broken::FileMissing { path: "_execution.dsse".to_owned() },
            Broken::FileAdded { path: "outputs/more.csv".to_owned() },
        ]
    );
    assert!(found.iter().all(|broken| broken.link() == Link::Files));
}

/// Writes two records about the pack: a hold and its release.
fn record(root: &Path) {
    let report = pack(root).unwrap();
    let mut record = Record {
        version: Version::V1,
        number: 1,
        previous: None,
        oracle_pack_id: report.manifest.unwrap().pack_id(),
        seal_digest: report.seal_digest.unwrap(),
        authority: "legal".to_owned(),
        recorded_at_utc: OffsetDateTime::UNIX_EPOCH,
        decision: Decision::Hold { matter: "case 7".to_owned() },
    };
    fs::create_dir(root.join("_records")).unwrap();
    let first = record.to_bytes().unwrap();
    fs::write(root.join("_records/1.json"), &first).unwrap();
    record.number = 2;
    record.previous = Some(Digest::of(&first));
    record.decision = Decision::Release { hold: 1 };
    fs::write(root.join("_records/2.json"), record.to_bytes().unwrap()).unwrap();
}

#[test]
fn a_tombstone_is_told_and_breaks_nothing() {
    let dir = sealed();
    record(dir.path());
    let report = pack(dir.path()).unwrap();
    assert_eq!(report.tombstone, None);

    let second = fs::read(dir.path().join("_records/2.json")).unwrap();
    let tombstone = Record {
        number: 3,
        previous: Some(Digest::of(&second)),
        authority: "the court".to_owned(),
        decision: Decision::Tombstone {
            reason: TombstoneReason::LegalOrder,
            replacement: None,
            survives: Survives::Everything,
            manifest_digest: report.manifest_digest.unwrap(),
            note: None,
        },
        ..Record::parse(&second).unwrap()
    };
    let path = dir.path().join("_records/3.json");
    fs::write(&path, tombstone.to_bytes().unwrap()).unwrap();
    let report = pack(dir.path()).unwrap();
    assert_eq!(report.broken, []);
    let told = report.tombstone.and_then(|record| record.tombstone_text());
    assert_eq!(told.as_deref(), Some("LEGAL_ORDER, by the court, 1970-01-01"));

    // Of a log that is not whole nothing is told.
    fs::write(dir.path().join("_records/4.json"), "x").unwrap();
    let report = pack(dir.path()).unwrap();
    assert!(report.tombstone.is_none() && !report.is_whole());
}

/// What it is called, and what it does to the folder of the records.
type Edit = (&'static str, fn(&Path));

#[test]
fn records_are_a_whole_log_about_this_seal_and_nothing_else_lies_beside_them() {
    let dir = sealed();
    record(dir.path());
    assert_eq!(broken(dir.path()), []);
    let edits: [Edit; 8] = [
        ("a gap", |records| fs::remove_file(records.join("1.json")).unwrap()),
        ("a record far behind", |records| fs::write(records.join("77.json"), "{}").unwrap()),
        ("no record", |records| fs::write(records.join("3.json"), "x").unwrap()),
        ("another name", |records| fs::write(records.join("notes.txt"), "x").unwrap()),
        ("another spelling", |records| {
            fs::rename(records.join("2.json"), records.join("02.json")).unwrap();
        }),
        ("a folder", |records| {
            fs::remove_file(records.join("1.json")).unwrap();
            fs::create_dir(records.join("1.json")).unwrap();
        }),
        ("a file in place of the folder", |records| {
            fs::remove_dir_all(records).unwrap();
            fs::write(records, "x").unwrap();
        }),
        ("a link", |records| {
            fs::rename(records, records.with_extension("moved")).unwrap();
            symlink("_records.moved", records).unwrap();
        }),
    ];
    for (what, edit) in edits {
        let dir = sealed();
        record(dir.path());
        edit(&dir.path().join("_records"));
        let found = broken(dir.path());
        let records = |b: &Broken| matches!(b, Broken::RecordsInvalid { .. });
        assert!(found.iter().any(records), "{what}: {found:?}");
    }
    // The records of another seal say nothing about this one.
    let (one, other) = (sealed(), sealed());
    let seal = SealV1 { nonce: "cd".repeat(16), ..seal_of(other.path()) };
    fs::write(other.path().join(SEAL_FILE), SealMarker::V1(seal).to_bytes().unwrap()).unwrap();
    record(one.path());
    fs::rename(one.path().join("_records"), other.path().join("_records")).unwrap();
    assert!(matches!(&broken(other.path())[..], [Broken::RecordsInvalid { .. }]));
}

/// A crash may have left it: it is no record, and the log beside it is whole.
#[test]
fn a_record_that_is_being_written_breaks_nothing() {
    let dir = sealed();
    record(dir.path());
    let part = unfinished_name([0x0f; 16]);
    let path = format!("_records/{part}");
    fs::write(dir.path().join(&path), "{").unwrap();
    assert_eq!(broken(dir.path()), []);
    // Only there, and only a file.
    fs::write(dir.path().join(&part), "{").unwrap();
    assert_eq!(broken(dir.path()), [Broken::FileAdded { path: part.clone() }]);
    fs::remove_file(dir.path().join(&part)).unwrap();
    fs::remove_file(dir.path().join(&path)).unwrap();
    symlink("1.json", dir.path().join(&path)).unwrap();
    let found = broken(dir.path());
    assert!(found.contains(&Broken::NotRegular { path }), "{found:?}");
    assert!(found.iter().any(|b| matches!(b, Broken::RecordsInvalid { .. })), "{found:?}");
}

#[test]
fn a_file_replaced_by_a_link_is_found_even_with_equal_bytes() {
    let dir = sealed();
    let other = tempfile::NamedTempFile::new().unwrap();
    let path = dir.path().join("outputs/table.csv");
    fs::copy(&path, other.path()).unwrap();
    fs::remove_file(&path).unwrap();
    symlink(other.path(), &path).unwrap();
    assert!(broken(dir.path()).iter().any(|b| matches!(b, Broken::NotRegular { .. })));
}

#[test]
fn an_edited_manifest_is_found() {
    let dir = sealed();
    let path = dir.path().join(MANIFEST_FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"engine\"", "\"engine2\"")).unwrap();
    let found = broken(dir.path());
    assert!(matches!(found[0], Broken::ManifestEdited { .. }), "{found:?}");
    assert!(matches!(found[1], Broken::PackIdWrong { .. }), "{found:?}");
}

#[test]
fn a_seal_for_another_manifest_is_found() {
    let (dir, other) = (sealed(), sealed());
    let mut manifest = manifest_of(other.path());
    manifest.attempt = 2;
    manifest.oracle_pack_id = pack_id::v1(&manifest);
    store(other.path(), &manifest);
    fs::copy(other.path().join(SEAL_FILE), dir.path().join(SEAL_FILE)).unwrap();
    let found = broken(dir.path());
    assert!(matches!(found[0], Broken::ManifestEdited { .. }), "{found:?}");
    assert!(matches!(found[1], Broken::SealOfAnotherPack { .. }), "{found:?}");
}

#[test]
fn a_pack_id_that_does_not_follow_is_found_though_seal_and_manifest_agree() {
    let dir = sealed();
    let mut manifest = manifest_of(dir.path());
    manifest.oracle_pack_id = Digest::of(b"chosen");
    store(dir.path(), &manifest);
    assert!(matches!(&broken(dir.path())[..], [Broken::PackIdWrong { .. }]));
}

#[test]
fn a_missing_or_empty_seal_is_no_seal() {
    let dir = sealed();
    fs::write(dir.path().join(SEAL_FILE), "").unwrap();
    assert!(matches!(&broken(dir.path())[..], [Broken::SealUnreadable { .. }]));
    fs::remove_file(dir.path().join(SEAL_FILE)).unwrap();
    assert_eq!(broken(dir.path()), [Broken::SealMissing]);
    fs::remove_file(dir.path().join(MANIFEST_FILE)).unwrap();
    assert_eq!(broken(dir.path()), [Broken::SealMissing, Broken::ManifestMissing]);
}

#[test]
fn any_flipped_byte_of_any_file_is_found() {
    let dir = sealed();
    for name in [SEAL_FILE, MANIFEST_FILE, "outputs/report.json", "_execution.dsse"] {
        let path = dir.path().join(name);
        let good = fs::read(&path).unwrap();
        let digest = pack(dir.path()).unwrap().seal_digest;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            let report = pack(dir.path()).unwrap();
            // Bytes of the seal that say nothing about the pack are still held by its digest.
            assert!(!report.is_whole() || report.seal_digest != digest, "{name} byte {at}");
        }
        fs::write(&path, good).unwrap();
    }
}

/// A pack of one file of 1 GiB and one byte, which need not be there: what is found of it is said.
fn very_large() -> (Manifest, Vec<u8>, Found) {
    let sha256 = Digest::of(b"all");
    let (path, length) = ("data/big".to_owned(), (1 << 30) + 1);
    let file = File { path: path.clone(), executable: false, length, sha256 };
    let shards: Vec<Digest> = (0..5_u8).map(|number| Digest::of(&[number])).collect();
    let dir = sealed();
    let inventory = Tree::new(vec![file], &Limits::PACK).unwrap();
    let of = [(path.clone(), shards.clone())].into();
    let of = Shards::new(Sharding::PACK, &inventory, of).unwrap();
    let manifest = Manifest::new(ManifestV1 { inventory, ..manifest_of(dir.path()) }, of);
    let seal = SealMarker::V1(SealV1 {
        oracle_pack_id: manifest.pack_id(),
        manifest_digest: Digest::of(&manifest.to_bytes().unwrap()),
        ..seal_of(dir.path())
    });
    (manifest, seal.to_bytes().unwrap(), Found { path, length, sha256: Some(sha256), shards })
}

fn seal_of(root: &Path) -> SealV1 {
    let bytes = fs::read(root.join(SEAL_FILE)).unwrap();
    let SealMarker::V1(seal) = SealMarker::parse(&bytes).unwrap() else { panic!("not v1") };
    seal
}

#[test]
fn a_very_large_file_is_proven_by_its_digest_or_by_all_of_its_shards() {
    let (manifest, seal, whole) = very_large();
    let manifest = manifest.to_bytes().unwrap();
    let judge = |found: &Found| compare(Some(&seal), Some(&manifest), std::slice::from_ref(found));
    let broken = |found: &Found| judge(found).broken;
    let path = || whole.path.clone();
    let other = Digest::of(b"other");

    assert_eq!(broken(&whole), []);
    assert_eq!(broken(&Found { shards: Vec::new(), ..whole.clone() }), []);
    assert_eq!(broken(&Found { sha256: None, ..whole.clone() }), []);

    // One that lacks both, or the digest and one shard, has no proof.
    for few in [0, 4] {
        let shards = whole.shards[..few].to_vec();
        let found = Found { sha256: None, shards, ..whole.clone() };
        assert_eq!(broken(&found), [Broken::FileUnproven { path: path() }]);
    }
    for number in 0..5 {
        let mut found = whole.clone();
        found.shards[number] = other;
        let start = number as u64 * (1 << 28);
        let changed = Broken::ShardChanged {
            path: path(),
            start,
            end: (start + (1 << 28)).min(whole.length),
            sealed: whole.shards[number],
            found: other,
        };
        let text = changed.to_string();
        assert!(text.contains(&format!("bytes {start} to ")), "{text}");
        // Where the digest of the whole is the sealed one, the shards never were its own.
        assert_eq!(broken(&found), [Broken::ShardsContradict { path: path() }]);
        found.sha256 = None;
        assert_eq!(broken(&found), std::slice::from_ref(&changed));
        found.sha256 = Some(other);
        let whole_changed =
            Broken::FileChanged { path: path(), sealed: Digest::of(b"all"), found: other };
        assert_eq!(broken(&found), [changed, whole_changed]);
    }
    // Bytes of the sealed shards and not of the sealed digest.
    let found = Found { sha256: Some(other), ..whole.clone() };
    assert!(broken(&found).contains(&Broken::ShardsContradict { path: path() }));
    assert!(!judge(&found).holds(Link::Manifest));
    let found = Found { length: whole.length - 1, sha256: Some(other), ..whole.clone() };
    assert!(matches!(&broken(&found)[..], [Broken::FileChanged { .. }]));
}

#[test]
fn a_changed_module_is_found_against_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tree")).unwrap();
    fs::write(dir.path().join("tree/main.js"), "1").unwrap();
    let tree = Tree::from_dir(&dir.path().join("tree"), &Limits::MODULE).unwrap();
    fs::write(dir.path().join("_tree.json"), tree.to_bytes().unwrap()).unwrap();
    let check = |digest| seal::verify::module(dir.path(), digest).unwrap();

    assert_eq!(check(tree.digest()), []);
    assert!(matches!(&check(Digest::of(b"x"))[..], [Broken::ModuleDigest { .. }]));
    fs::write(dir.path().join("tree/main.js"), "2").unwrap();
    assert!(matches!(&check(tree.digest())[..], [Broken::FileChanged { .. }]));
}
