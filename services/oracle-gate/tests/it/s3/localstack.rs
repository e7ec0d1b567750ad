//! LocalStack: a second real S3 service, which is write-once and refuses a wrong checksum, so it is
//! the one for trust in a store's own checksums (O11).
//!
//! `./dev test long` brings and starts it, where Python 3.13 is to be had; `LOCALSTACK_ENDPOINT` names
//! one that runs, and without it these tests say that they are skipped. By hand, without a token:
//! `pip install 'localstack-core[runtime]==4.14.0' 'cbor2<5.9' 'pyopenssl==25.1.0' 'cryptography==45.0.7' service_identity`
//! and `SERVICES=s3 python -m localstack.runtime.main`.

use oracle_gate::audit::audit;
use oracle_gate::check::{Rules, Status, check};
use oracle_gate::objects::{Evidence, Objects};
use oracle_gate::reasons::Reason;
use oracle_gate::retention::Retention;
use oracle_gate::runs::seal;
use seal::{SealMarker, SealStatus};

use super::{objects_in, upload};
use crate::fixture::{Fixture, NOW};

/// A bucket of this test's own, with versions.
async fn bucket() -> Option<(Objects, String)> {
    let endpoint = std::env::var_os("LOCALSTACK_ENDPOINT");
    let Some(url) = endpoint.and_then(|url| url.into_string().ok()) else {
        eprintln!("skipped: LOCALSTACK_ENDPOINT names no running LocalStack");
        return None;
    };
    let name = format!("b{}", hex::encode(rand::random::<[u8; 8]>()));
    let at = format!("{url}/{name}");
    let client = reqwest::Client::new();
    client.put(&at).send().await.unwrap().error_for_status().unwrap();
    let on = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <Status>Enabled</Status></VersioningConfiguration>";
    let put = client.put(format!("{at}?versioning")).body(on).send().await.unwrap();
    put.error_for_status().unwrap();
    Some((objects_in(&url, &name), at))
}

#[tokio::test]
async fn a_store_that_was_seen_to_check_checksums_spares_reading_the_bytes() {
    let Some((objects, _)) = bucket().await else { return };
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let draft = fixture.passed(1);
    upload(fixture.dir.path(), &objects).await;
    let gate = fixture.gate_over(&db, objects.clone()).await;
    let (sealed, existed) = seal(&gate, draft, NOW).await.unwrap();
    assert!(!existed && sealed.status == SealStatus::Ok);
    let path = format!("packs/{}/_SEALED.json", sealed.pack_id);
    let bytes = objects.read(&path, 1 << 20).await.unwrap().unwrap();
    let Ok(SealMarker::V1(marker)) = SealMarker::parse(&bytes) else { panic!("not a seal") };
    assert!(marker.store_probe.keeps_true_checksums(), "{:?}", marker.store_probe);

    let facts_ref = sealed.facts_ref.unwrap();
    let read = check(&objects, &gate.rules, &facts_ref, NOW).await;
    assert_eq!((read.status, read.details.evidence.store_sha256), (Status::Ok, 0));
    let rules = Rules {
        least_evidence: Evidence::StoreSha256,
        trust_store_checksums: true,
        ..gate.rules.clone()
    };
    let trusted = check(&objects, &rules, &facts_ref, NOW).await;
    assert_eq!(trusted.status, Status::Ok, "{:?}", trusted.issues);
    assert!(trusted.details.evidence.store_sha256 > 0, "{:?}", trusted.details.evidence);
}

#[tokio::test]
async fn another_real_server_shows_a_reseal_to_an_audit() {
    let Some((objects, at)) = bucket().await else { return };
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let draft = fixture.passed(1);
    upload(fixture.dir.path(), &objects).await;
    let gate = fixture.gate_over(&db, objects.clone()).await;
    let (sealed, _) = seal(&gate, draft, NOW).await.unwrap();
    let root = format!("packs/{}", sealed.pack_id);
    let none = Retention::default();
    let whole = audit(&objects, &gate.rules, &none, &root, NOW).await;
    assert_eq!(whole.status, Status::Ok, "{:?}", whole.issues);

    let path = format!("{root}/_SEALED.json");
    let bytes = objects.read(&path, 1 << 20).await.unwrap().unwrap();
    let deleted = reqwest::Client::new().delete(format!("{at}/lab/{path}")).send().await.unwrap();
    deleted.error_for_status().unwrap();
    objects.create(&path, bytes).await.unwrap();
    let resealed = audit(&objects, &gate.rules, &none, &root, NOW).await;
    assert_eq!(resealed.reason_codes, [Reason::PackResealed], "{:?}", resealed.issues);
}
