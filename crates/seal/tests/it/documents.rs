//! Manifest, seal and tree document: whatever comes, reading never panics, and of a document of
//! today only the bytes that are written for it are taken.

use proptest::prelude::*;
use proptest::sample::Index;
use seal::tree::File;
use seal::{
    Limits, Manifest, ManifestV1, SealMarker, SealStatus, SealV1, Sharding, Shards, StoreProbe,
    Tree, WorldKey, pack_id,
};
use time::OffsetDateTime;
use wire::digest::Digest;

/// The first `large` files have shards.
fn manifest(scenario: &str, seed: u64, names: &[String], large: usize) -> Option<Manifest> {
    let file = |(number, name): (usize, &String)| File {
        path: name.clone(),
        executable: false,
        length: if number < large { (1 << 30) + (number as u64) * (1 << 28) + 1 } else { 1 },
        sha256: Digest::of(name.as_bytes()),
    };
    let mut manifest = ManifestV1 {
        oracle_pack_id: Digest::of(b"p"),
        world_key: WorldKey {
            manifest_fingerprint: Digest::of(b"f"),
            parameter_hash: Digest::of(b"h"),
            scenario_id: scenario.to_owned(),
            seed,
        },
        run_id: "ab".repeat(16).parse().unwrap(),
        attempt: 1,
        engine_release: "engine".to_owned(),
        catalogue_digest: Digest::of(b"c"),
        gate_map_digest: Digest::of(b"g"),
        inventory: Tree::new(names.iter().enumerate().map(file).collect(), &Limits::PACK).ok()?,
        created_at_utc: OffsetDateTime::UNIX_EPOCH,
    };
    manifest.oracle_pack_id = pack_id::v1(&manifest);
    let large = manifest.inventory.files().iter().map(|file| {
        let count = usize::try_from(Sharding::PACK.count(file.length)).unwrap();
        (file.path.clone(), vec![file.sha256; count])
    });
    let shards = Shards::new(Sharding::PACK, &manifest.inventory, large.collect()).unwrap();
    Some(Manifest::new(manifest, shards))
}

fn seal(nonce: [u8; 16], races: u32, wrong_checksum_refused: Option<bool>) -> SealMarker {
    SealMarker::V1(SealV1 {
        oracle_pack_id: Digest::of(b"p"),
        seal_status: SealStatus::Ok,
        sealed_at_utc: OffsetDateTime::UNIX_EPOCH,
        manifest_digest: Digest::of(b"m"),
        nonce: hex::encode(nonce),
        store_probe: StoreProbe {
            second_create_refused: true,
            races,
            writers: 16,
            races_with_one_winner: races,
            wrong_checksum_refused,
            probed_at_utc: OffsetDateTime::UNIX_EPOCH,
        },
    })
}

/// One change to a document's bytes.
#[derive(Debug, Clone)]
enum Damage {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (any::<Index>(), prop_oneof![Just(b' '), Just(b'\n'), any::<u8>()])
            .prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Remove),
        any::<Index>().prop_map(Damage::Cut),
    ]
}

fn damaged(mut bytes: Vec<u8>, damage: &Damage) -> Vec<u8> {
    match damage {
        Damage::Replace(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Damage::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
        Damage::Remove(at) => {
            bytes.remove(at.index(bytes.len()));
        }
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
    }
    bytes
}

/// The console reads the same file (`web/tests/unit/seal.test.ts`).
#[test]
fn manifests_whose_shards_contradict_them_are_refused_and_those_of_earlier_releases_are_read() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../vectors/shards.json")).unwrap();
    let texts = |kind: &str| {
        let all = vectors[kind].as_array().unwrap().clone();
        all.into_iter().map(|one| {
            let text = |member: &str| one[member].as_str().unwrap().to_owned();
            (text("what"), text("manifest"))
        })
    };
    for (what, text) in texts("accepted") {
        let manifest = Manifest::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(manifest.to_bytes().unwrap(), text.as_bytes(), "{what}");
        assert_eq!(manifest.derived_pack_id(), manifest.pack_id(), "{what}");
    }
    for (what, text) in texts("refused") {
        assert!(Manifest::parse(text.as_bytes()).is_err(), "{what} was read");
    }
}

proptest! {
    #[test]
    fn a_manifest_comes_back_from_its_bytes_and_from_no_others(
        scenario in "[a-z|\"\\\\ü]{1,12}",
        seed in 0_u64..1 << 53,
        names in prop::collection::vec("[a-z]{1,6}(/[a-z0-9 .]{1,6})?", 1..6),
        large in 0..3_usize,
        damage in damage(),
    ) {
        let Some(manifest) = manifest(&scenario, seed, &names, large) else { return Ok(()) };
        prop_assert_eq!(matches!(manifest, Manifest::V2(_)), large > 0);
        let bytes = manifest.to_bytes().unwrap();
        prop_assert_eq!(&Manifest::parse(&bytes).unwrap(), &manifest);
        let other = damaged(bytes, &damage);
        if let Ok(read) = Manifest::parse(&other) {
            prop_assert_eq!(read.to_bytes().unwrap(), other, "taken although it is not canonical");
        }
    }

    #[test]
    fn a_seal_comes_back_from_its_bytes_and_from_no_others(
        nonce in any::<[u8; 16]>(),
        races in any::<u32>(),
        checksum in any::<Option<bool>>(),
        damage in damage(),
    ) {
        let seal = seal(nonce, races, checksum);
        let bytes = seal.to_bytes().unwrap();
        prop_assert_eq!(&SealMarker::parse(&bytes).unwrap(), &seal);
        let other = damaged(bytes, &damage);
        if let Ok(read) = SealMarker::parse(&other) {
            prop_assert_eq!(read.to_bytes().unwrap(), other, "taken although it is not canonical");
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_document_of_a_pack(bytes in any::<Vec<u8>>()) {
        prop_assert!(Manifest::parse(&bytes).is_err());
        prop_assert!(SealMarker::parse(&bytes).is_err());
        prop_assert!(Tree::parse(&bytes, &Limits::PACK).is_err());
    }

    #[test]
    fn a_damaged_tree_document_is_refused_or_is_the_same_tree(damage in damage()) {
        let names = ["a/b".to_owned(), "c".to_owned()];
        let Some(Manifest::V1(manifest)) = manifest("s", 1, &names, 0) else { unreachable!() };
        let bytes = manifest.inventory.to_bytes().unwrap();
        let other = damaged(bytes, &damage);
        if let Ok(read) = Tree::parse(&other, &Limits::PACK) {
            prop_assert_eq!(read.digest(), Tree::new(read.files().to_vec(), &Limits::PACK).unwrap().digest());
        }
    }
}
