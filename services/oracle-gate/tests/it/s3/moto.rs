//! moto: an S3 service that holds to conditions and keeps versions, as a process.

use bytes::Bytes;
use futures::future::join_all;
use oracle_gate::check::{Status, check};
use oracle_gate::objects::Objects;
use oracle_gate::probe;
use oracle_gate::reasons::Reason;
use oracle_gate::runs::seal;
use oracle_gate::sealing::close;
use seal::{SealMarker, SealStatus, pack_id, verify};

use super::{download, objects_in, upload};
use crate::lab::{Lab, NOW};
use crate::sealing::{manifest, order};

/// A bucket of this test's own.
async fn bucket(name: &str, versions: bool) -> Option<(Objects, String)> {
    let url = testkit::moto().await?;
    let client = client();
    let bucket = format!("{url}/{name}");
    client.put(&bucket).send().await.unwrap().error_for_status().unwrap();
    if versions {
        let on = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Status>Enabled</Status></VersioningConfiguration>";
        let put = client.put(format!("{bucket}?versioning")).body(on).send().await.unwrap();
        put.error_for_status().unwrap();
    }
    Some((objects_in(&url, name), bucket))
}

/// Whoever the signature names; moto does not verify it, but refuses some anonymous calls.
fn client() -> reqwest::Client {
    let signed = "AWS4-HMAC-SHA256 Credential=packer/20260101/us-east-1/s3/aws4_request, \
        SignedHeaders=host, Signature=0";
    let headers = [(http::header::AUTHORIZATION, signed.parse().unwrap())].into_iter().collect();
    reqwest::Client::builder().default_headers(headers).build().unwrap()
}

#[tokio::test]
async fn a_run_is_sealed_in_a_bucket_and_its_view_checks_ok() {
    let Some((objects, _)) = bucket("whole-run", false).await else { return };
    let (lab, db) = (Lab::new(), testkit::postgres().await);
    let draft = lab.passed(1);
    upload(lab.dir.path(), &objects).await;
    let gate = lab.gate_over(&db, objects.clone()).await;

    let (sealed, existed) = seal(&gate, draft.clone(), NOW).await.unwrap();

    assert!(!existed && sealed.status == SealStatus::Ok);
    assert_eq!(sealed.check.as_ref().unwrap().status, Status::Ok, "{:?}", sealed.check);
    let root = format!("packs/{}", sealed.pack_id);
    let report = verify::pack(download(&objects, &root).await.path()).unwrap();
    assert!(report.is_whole(), "{:?}", report.broken);
    assert_eq!(report.seal_digest, Some(sealed.seal_digest));
    let Some(SealMarker::V1(marker)) = report.seal else { panic!("not a seal of today") };
    assert!(marker.store_probe.write_once(), "{:?}", marker.store_probe);
    // moto takes a wrong checksum and reports it as its own: it must never be believed.
    assert_eq!(marker.store_probe.wrong_checksum_refused, Some(false));
    let (again, existed) = seal(&gate, draft, NOW).await.unwrap();
    assert!(existed && again == sealed);
}

#[tokio::test]
async fn of_many_packers_on_one_bucket_one_seals_and_the_others_learn_it() {
    let Some((objects, _)) = bucket("many-packers", false).await else { return };
    let lab = Lab::new();
    let manifest = manifest(&lab);
    upload(lab.dir.path(), &objects).await;
    let probe = probe::run(&objects, "x", NOW).await.unwrap();
    let nonces: Vec<String> = (0..8).map(|n| format!("{n:032x}")).collect();
    let orders: Vec<_> =
        nonces.iter().map(|nonce| order(&manifest, nonce, probe.clone())).collect();

    let closed = join_all(orders.iter().map(|order| close(&objects, order))).await;

    let closed: Vec<_> = closed.into_iter().map(Result::unwrap).collect();
    assert_eq!(closed.iter().filter(|closed| !closed.existed).count(), 1);
    assert!(closed.iter().all(|one| one.seal_digest == closed[0].seal_digest));

    let mut other = manifest.clone();
    other.engine_release = "other".to_owned();
    other.oracle_pack_id = pack_id::v1(&other);
    let error = close(&objects, &order(&other, &nonces[0], probe)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::SealMismatch);
}

/// Under retention in compliance mode no one can remove a seal's version before its time; a delete
/// only hides it, and what is put in its place is not what the view pins.
#[tokio::test]
async fn under_object_lock_a_seal_can_be_hidden_but_not_removed() {
    let Some(url) = testkit::moto().await else { return };
    let (client, bucket) = (client(), format!("{url}/locked"));
    let made = client.put(&bucket).header("x-amz-bucket-object-lock-enabled", "true").send().await;
    made.unwrap().error_for_status().unwrap();
    let objects = objects_in(&url, "locked");
    let (lab, db) = (Lab::new(), testkit::postgres().await);
    let draft = lab.passed(1);
    upload(lab.dir.path(), &objects).await;
    let gate = lab.gate_over(&db, objects.clone()).await;
    let (sealed, _) = seal(&gate, draft, NOW).await.unwrap();
    let facts_ref = sealed.facts_ref.unwrap();
    let key = format!("lab/packs/{}/_SEALED.json", sealed.pack_id);

    let versions = client.get(format!("{bucket}?versions&prefix={key}")).send().await.unwrap();
    let versions = versions.error_for_status().unwrap().text().await.unwrap();
    let version = versions.split_once("<VersionId>").unwrap().1.split_once('<').unwrap().0;
    let at = format!("{bucket}/{key}?versionId={version}");
    let retention = "<Retention><Mode>COMPLIANCE</Mode>\
        <RetainUntilDate>2100-01-01T00:00:00Z</RetainUntilDate></Retention>";
    let locked = client.put(format!("{at}&retention")).body(retention).send().await.unwrap();
    locked.error_for_status().unwrap();
    let removed = client.delete(at).send().await.unwrap();
    assert_eq!(removed.status(), 403, "{}", removed.text().await.unwrap());
    let kept = check(&objects, &gate.rules, &facts_ref, NOW).await;
    assert_eq!(kept.status, Status::Ok, "{:?}", kept.issues);

    let hidden = client.delete(format!("{bucket}/{key}")).send().await.unwrap();
    hidden.error_for_status().unwrap();
    let hidden = check(&objects, &gate.rules, &facts_ref, NOW).await;
    assert!(hidden.reason_codes.contains(&Reason::PackNotSealed), "{hidden:?}");
}

#[tokio::test]
async fn a_reseal_behind_a_delete_marker_is_found_by_the_pinned_seal() {
    let Some((objects, bucket)) = bucket("versions", true).await else { return };
    let (lab, db) = (Lab::new(), testkit::postgres().await);
    let draft = lab.passed(1);
    upload(lab.dir.path(), &objects).await;
    let gate = lab.gate_over(&db, objects.clone()).await;
    let (sealed, _) = seal(&gate, draft, NOW).await.unwrap();
    let facts_ref = sealed.facts_ref.unwrap();
    let path = format!("packs/{}/_SEALED.json", sealed.pack_id);
    let bytes = objects.read(&path, 1 << 20).await.unwrap().unwrap();

    // A client with a writer's rights deletes: a marker hides the seal, and a create succeeds
    // again.
    let deleted = client().delete(format!("{bucket}/lab/{path}")).send().await.unwrap();
    deleted.error_for_status().unwrap();
    let hidden = check(&objects, &gate.rules, &facts_ref, NOW).await;
    assert!(hidden.reason_codes.contains(&Reason::PackNotSealed), "{hidden:?}");
    let SealMarker::V1(mut marker) = SealMarker::parse(&bytes).unwrap() else { panic!() };
    marker.nonce = "f".repeat(32);
    let forged = Bytes::from(SealMarker::V1(marker).to_bytes().unwrap());
    objects.create(&path, forged).await.unwrap();

    let resealed = check(&objects, &gate.rules, &facts_ref, NOW).await;
    assert_eq!(resealed.status, Status::Fail);
    assert!(resealed.reason_codes.contains(&Reason::PackRefMismatch), "{resealed:?}");
}
