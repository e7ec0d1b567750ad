//! A pack is closed once, by one of however many try, on a store that can hold to it.

use std::sync::Arc;

use futures::future::join_all;
use oracle_gate::objects::Objects;
use oracle_gate::probe;
use oracle_gate::reasons::Reason;
use oracle_gate::sealing::{Order, close};
use seal::{Limits, Manifest, ManifestV1, SealStatus, StoreProbe, Tree, WorldKey, pack_id, verify};
use wire::digest::Digest;

use crate::faulty::Forgetful;
use crate::fixture::{Fixture, NOW, module};

pub fn manifest(fixture: &Fixture) -> ManifestV1 {
    fixture.write("run-5/data/part-0", "zero");
    fixture.write("run-5/data/part-1", "one");
    let mut manifest = ManifestV1 {
        oracle_pack_id: module(),
        world_key: WorldKey {
            manifest_fingerprint: module(),
            parameter_hash: Digest::of(b"{}"),
            scenario_id: "baseline".to_owned(),
            seed: 1,
        },
        run_id: "ab".repeat(16).parse().unwrap(),
        attempt: 1,
        engine_release: "engine".to_owned(),
        catalogue_digest: Digest::of(b"c"),
        gate_map_digest: Digest::of(b"g"),
        inventory: Tree::from_dir(&fixture.path("run-5"), &Limits::PACK).unwrap(),
        created_at_utc: NOW,
    };
    manifest.oracle_pack_id = pack_id::v1(&manifest);
    manifest
}

pub fn order<'a>(manifest: &ManifestV1, nonce: &'a str, probe: StoreProbe) -> Order<'a> {
    let manifest = Manifest::V1(manifest.clone());
    let status = SealStatus::Ok;
    Order { root: "run-5", manifest, status, nonce, probe, now: NOW, seen: None }
}

async fn probed(objects: &Objects) -> StoreProbe {
    probe::run(objects, "test", NOW).await.unwrap()
}

#[tokio::test]
async fn of_many_packers_one_seals_and_the_others_learn_it() {
    let fixture = Fixture::new();
    let (objects, manifest) = (fixture.objects(), manifest(&fixture));
    let probe = probed(&objects).await;
    let nonces: Vec<String> = (0..8).map(|n| format!("{n:032x}")).collect();
    let orders = nonces.iter().enumerate().map(|(n, nonce)| {
        let mut later = manifest.clone();
        later.created_at_utc = NOW + time::Duration::seconds(n as i64);
        order(&later, nonce, probe.clone())
    });
    let orders: Vec<_> = orders.collect();

    let closed = join_all(orders.iter().map(|order| close(&objects, order))).await;

    let closed: Vec<_> = closed.into_iter().map(Result::unwrap).collect();
    assert_eq!(closed.iter().filter(|closed| !closed.existed).count(), 1);
    assert!(closed.iter().all(|one| one.seal_digest == closed[0].seal_digest));
    assert!(verify::pack(&fixture.path("run-5")).unwrap().is_whole());
}

#[tokio::test]
async fn another_identity_does_not_replace_a_seal() {
    let fixture = Fixture::new();
    let (objects, first) = (fixture.objects(), manifest(&fixture));
    let probe = probed(&objects).await;
    let nonce = "0".repeat(32);
    close(&objects, &order(&first, &nonce, probe.clone())).await.unwrap();

    let mut second = first.clone();
    second.engine_release = "other".to_owned();
    second.oracle_pack_id = pack_id::v1(&second);
    let error = close(&objects, &order(&second, &nonce, probe.clone())).await.unwrap_err();
    assert_eq!(error.reason(), Reason::SealMismatch);
    let failed = Order { status: SealStatus::Failed, ..order(&first, &nonce, probe) };
    assert_eq!(close(&objects, &failed).await.unwrap_err().reason(), Reason::SealMismatch);
    assert!(verify::pack(&fixture.path("run-5")).unwrap().is_whole());
}

#[tokio::test]
async fn a_manifest_of_something_else_is_not_sealed_over() {
    let fixture = Fixture::new();
    let (objects, manifest) = (fixture.objects(), manifest(&fixture));
    fixture.write("run-5/_oracle_pack_manifest.json", "{}");
    let nonce = "0".repeat(32);
    let order = order(&manifest, &nonce, probed(&objects).await);
    assert_eq!(close(&objects, &order).await.unwrap_err().reason(), Reason::ManifestMismatch);
    assert!(!fixture.path("run-5/_SEALED.json").exists());
}

#[tokio::test]
async fn a_file_that_came_late_is_not_sealed_in() {
    let fixture = Fixture::new();
    let (objects, manifest) = (fixture.objects(), manifest(&fixture));
    fixture.write("run-5/data/part-2", "late");
    let nonce = "0".repeat(32);
    let order = order(&manifest, &nonce, probed(&objects).await);
    let error = close(&objects, &order).await.unwrap_err();
    assert_eq!(error.reason(), Reason::PackNotClean);
    let text = error.to_string();
    assert!(text.contains("data/part-2") && text.contains("remove"), "{text}");
    // Nothing was written, so the pack can still be sealed with it or without.
    assert!(!fixture.path("run-5/_SEALED.json").exists());
    assert!(!fixture.path("run-5/_oracle_pack_manifest.json").exists());
}

/// Another packer may be writing it, where files need a name while they are written.
#[tokio::test]
async fn a_file_under_way_is_neither_sealed_nor_removed() {
    let fixture = Fixture::new();
    let (objects, manifest) = (fixture.objects(), manifest(&fixture));
    let part = format!("run-5/{}", seal::records::unfinished_name([0x0f; 16]));
    fixture.write(&part, "half");
    let nonce = "0".repeat(32);
    let order = order(&manifest, &nonce, probed(&objects).await);
    for _ in 0..2 {
        close(&objects, &order).await.unwrap();
        assert_eq!(std::fs::read(fixture.path(&part)).unwrap(), b"half");
    }
    assert!(!verify::pack(&fixture.path("run-5")).unwrap().is_whole(), "it was added");
}

#[tokio::test]
async fn a_store_that_overwrites_is_found_and_refused() {
    let fixture = Fixture::new();
    let objects = fixture.objects().through(|inner| Arc::new(Forgetful(inner)));
    let probe = probed(&objects).await;
    assert!(!probe.write_once() && !probe.second_create_refused);
    assert!(probe.races_with_one_winner < probe.races);

    let nonce = "0".repeat(32);
    let error = close(&objects, &order(&manifest(&fixture), &nonce, probe)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::StoreNotWriteOnce);
}

#[tokio::test]
async fn a_local_folder_is_write_once_and_the_probe_leaves_nothing() {
    let fixture = Fixture::new();
    let probe = probed(&fixture.objects()).await;
    assert!(probe.write_once(), "{probe:?}");
    assert!(!fixture.path("_probe/test").exists());
}
