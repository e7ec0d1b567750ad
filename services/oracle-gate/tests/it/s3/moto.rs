//! moto: an S3 service that holds to conditions and keeps versions, as a process.

use bytes::Bytes;
use futures::future::join_all;
use oracle_gate::Gate;
use oracle_gate::audit::audit;
use oracle_gate::check::{Rules, Status, check};
use oracle_gate::error::Error;
use oracle_gate::objects::{Objects, Part, StoreError, Task};
use oracle_gate::policy::{Bucket, bucket_policy};
use oracle_gate::probe;
use oracle_gate::profile::Profile;
use oracle_gate::reasons::Reason;
use oracle_gate::retention::Retention;
use oracle_gate::runs::{Draft, Sealed, seal};
use oracle_gate::sealing::close;
use seal::{SealMarker, SealStatus, pack_id, verify};
use testkit::TestDb;
use time::OffsetDateTime;
use wire::digest::Digest;

use super::{download, objects_in, upload};
use crate::fixture::{Fixture, NOW};
use crate::sealing::{manifest, order};

/// A bucket of this test's own.
pub async fn bucket(name: &str, versions: bool) -> Option<(Objects, String)> {
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

/// The account that the signature names; moto does not verify it, but refuses some anonymous calls.
pub fn client() -> reqwest::Client {
    let signed = "AWS4-HMAC-SHA256 Credential=packer/20260101/us-east-1/s3/aws4_request, \
        SignedHeaders=host, Signature=0";
    let headers = [(http::header::AUTHORIZATION, signed.parse().unwrap())].into_iter().collect();
    reqwest::Client::builder().default_headers(headers).build().unwrap()
}

#[tokio::test]
async fn a_run_is_sealed_in_a_bucket_and_its_view_checks_ok() {
    let Some((objects, _)) = bucket("whole-run", false).await else { return };
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let draft = fixture.passed(1);
    upload(fixture.dir.path(), &objects).await;

    let (gate, sealed) = sealed_on_moto(&fixture, &db, &objects, draft.clone(), NOW).await;

    assert!(!sealed.existed && sealed.status == SealStatus::Ok);
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
async fn shards_of_a_large_object_are_read_in_ranges_of_one_version() {
    let Some((objects, bucket)) = bucket("shards", false).await else { return };
    // Of more ranges than are on their way at once.
    let content: Vec<u8> = (0..(41_usize << 20) + 5).map(|at| (at / 997) as u8).collect();
    let (path, shard, length) = ("run-5/large", 12_usize << 20, content.len() as u64);
    objects.create(path, Bytes::from(content.clone())).await.unwrap();
    let of = objects.version(path).await.unwrap().unwrap();
    assert_eq!(of.length, length);
    let part = |range: std::ops::Range<u64>| Task {
        files: vec![(path.to_owned(), Some(range.end - range.start))],
        part: Some(Part { range, of: of.clone() }),
        ..Task::default()
    };
    let whole = Task {
        files: vec![(path.to_owned(), Some(length))],
        shard_bytes: [(0, shard as u64)].into(),
        ..Task::default()
    };
    let starts = (0..length).step_by(shard);
    let parts = starts.map(|start| part(start..(start + shard as u64).min(length)));
    let tasks = parts.chain([whole]).collect();

    let mut done = objects.hash_all(tasks, |_, _, _| ()).await;

    let expected: Vec<Digest> = content.chunks(shard).map(Digest::of).collect();
    let whole = done.pop().unwrap().files.remove(0).unwrap().unwrap();
    assert_eq!((whole.sha256, &whole.shards), (Digest::of(&content), &expected));
    let parts = done.into_iter().map(|mut done| done.files.remove(0).unwrap().unwrap().sha256);
    assert_eq!(parts.collect::<Vec<_>>(), expected);

    // Another object under the name, of the same length: no part of it counts.
    let put = client().put(format!("{bucket}/lab/{path}")).body(vec![1; content.len()]);
    put.send().await.unwrap().error_for_status().unwrap();
    let done = objects.hash_all(vec![part(0..5), part(length - 5..length)], |_, _, _| ()).await;
    for done in done {
        let found = &done.files[0];
        assert!(matches!(found, Err(StoreError::Changed { .. })), "{found:?}");
    }
}

#[tokio::test]
async fn of_many_packers_on_one_bucket_one_seals_and_the_others_learn_it() {
    let Some((objects, _)) = bucket("many-packers", false).await else { return };
    let fixture = Fixture::new();
    let manifest = manifest(&fixture);
    upload(fixture.dir.path(), &objects).await;
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
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let draft = fixture.passed(1);
    upload(fixture.dir.path(), &objects).await;
    let (gate, sealed) = sealed_on_moto(&fixture, &db, &objects, draft, NOW).await;
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
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let draft = fixture.passed(1);
    upload(fixture.dir.path(), &objects).await;
    let (gate, sealed) = sealed_on_moto(&fixture, &db, &objects, draft, NOW).await;
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

/// Seals a run on moto. It looks at a condition and writes in two steps, so that on a loaded
/// machine two of sixteen writers may win a race of the probe; a store that does so is refused,
/// which is right, and probed again here by another gate.
async fn sealed_on_moto(
    fixture: &Fixture,
    db: &TestDb,
    objects: &Objects,
    draft: Draft,
    now: OffsetDateTime,
) -> (Gate, Sealed) {
    for _ in 0..10 {
        let gate = fixture.gate_over(db, objects.clone()).await;
        match seal(&gate, draft.clone(), now).await {
            Ok((sealed, _)) => return (gate, sealed),
            Err(Error::Sealing(error)) if error.reason() == Reason::StoreNotWriteOnce => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("moto let two writers win in each of ten probes");
}

/// The strict rules and the retention of a profile with these classes.
fn rules_and_retention(retention: &str) -> (Rules, Retention) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.yaml");
    let text =
        format!("profile_id: x\npolicy: {{retention: {retention}}}\nwiring: {{oracle_root: x}}\n");
    std::fs::write(&path, text).unwrap();
    let profile = Profile::load(path.to_str().unwrap(), None, |_| None).unwrap();
    (Rules::strict(&profile, Vec::new()), profile.retention)
}

#[tokio::test]
async fn an_audit_finds_a_reseal_behind_a_delete_marker() {
    let Some((objects, bucket)) = bucket("audited", true).await else { return };
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let draft = fixture.passed(1);
    upload(fixture.dir.path(), &objects).await;
    let (_, sealed) = sealed_on_moto(&fixture, &db, &objects, draft, NOW).await;
    let root = format!("packs/{}", sealed.pack_id);
    let (rules, retention) = rules_and_retention("{classes: {}}");
    let whole = audit(&objects, &rules, &retention, &root, NOW).await;
    assert_eq!(whole.status, Status::Ok, "{:?}", whole.issues);

    // The same bytes again: nothing that is read shows it, only what the bucket keeps.
    let path = format!("{root}/_SEALED.json");
    let bytes = objects.read(&path, 1 << 20).await.unwrap().unwrap();
    let deleted = client().delete(format!("{bucket}/lab/{path}")).send().await.unwrap();
    deleted.error_for_status().unwrap();
    objects.create(&path, bytes).await.unwrap();
    let resealed = audit(&objects, &rules, &retention, &root, NOW).await;
    assert_eq!(resealed.reason_codes, [Reason::PackResealed], "{:?}", resealed.issues);
    assert!(resealed.is_drift());
}

#[tokio::test]
async fn an_audit_compares_the_stores_lock_with_the_class() {
    let Some(url) = testkit::moto().await else { return };
    let (client, bucket) = (client(), format!("{url}/retained"));
    let made = client.put(&bucket).header("x-amz-bucket-object-lock-enabled", "true").send().await;
    made.unwrap().error_for_status().unwrap();
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
        <DefaultRetention><Mode>GOVERNANCE</Mode><Days>30</Days></DefaultRetention></Rule>\
        </ObjectLockConfiguration>";
    let put = client.put(format!("{bucket}?object-lock")).body(lock).send().await.unwrap();
    put.error_for_status().unwrap();
    let objects = objects_in(&url, "retained");
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let draft = fixture.passed(1);
    upload(fixture.dir.path(), &objects).await;
    // The store locks from its own clock on, so the seal has to be of now.
    let now = chassis::clock::now();
    let (_, sealed) = sealed_on_moto(&fixture, &db, &objects, draft, now).await;
    let root = format!("packs/{}", sealed.pack_id);
    for (class, passes) in [
        ("{days: 29, lock: governance}", true),
        ("{days: 31, lock: governance}", false),
        ("{days: 29, lock: compliance}", false),
        ("{days: 9999}", true),
    ] {
        let text = format!("{{classes: {{c: {class}}}, default_class: c}}");
        let (rules, retention) = rules_and_retention(&text);
        let audited = audit(&objects, &rules, &retention, &root, now).await;
        let expected: &[Reason] = if passes { &[] } else { &[Reason::RetentionBelowClass] };
        assert_eq!(audited.reason_codes, expected, "{class}: {:?}", audited.issues);
    }
    // A folder keeps no lock at all.
    let copy = download(&objects, &root).await;
    let folder = Objects::local(copy.path()).unwrap();
    let (rules, retention) =
        rules_and_retention("{classes: {c: {days: 1, lock: governance}}, default_class: c}");
    let audited = audit(&folder, &rules, &retention, "", now).await;
    assert_eq!(audited.reason_codes, [Reason::RetentionBelowClass], "{:?}", audited.issues);
    let later = now + time::Duration::days(2);
    let audited = audit(&folder, &rules, &retention, "", later).await;
    assert_eq!(audited.status, Status::Ok, "what is over needs no lock: {:?}", audited.issues);
}

#[tokio::test]
async fn a_live_bucket_is_compared_with_the_documents() {
    let Some(url) = testkit::moto().await else { return };
    let (client, at) = (client(), format!("{url}/postured"));
    let compare = || {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_oracle-gate"))
            .args(["policy", "--profile", "prod", "--compare"])
            .env_clear()
            .envs([("ORACLE_GATE_ROOT", "s3://postured/lab"), ("ORACLE_GATE_S3_ENDPOINT", &url)])
            .envs([("AWS_ACCESS_KEY_ID", "packer"), ("AWS_SECRET_ACCESS_KEY", "anything")])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
    };
    let (exit, text) = compare();
    assert_eq!(exit, Some(2), "no bucket: {text}");
    let made = client.put(&at).header("x-amz-bucket-object-lock-enabled", "true").send().await;
    made.unwrap().error_for_status().unwrap();
    let (exit, text) = compare();
    assert_eq!(exit, Some(1), "{text}");
    let weak: Vec<&str> =
        text.lines().filter(|line| line.contains("BUCKET_POSTURE_WEAK")).collect();
    assert_eq!(weak.len(), 2, "policy and retention: {text}");

    let bucket = Bucket {
        name: "postured".to_owned(),
        prefix: "lab".to_owned(),
        pack_roots: vec!["packs".to_owned()],
        engine_roots: vec!["staging".to_owned()],
    };
    let set = async |part: &str, body: String| {
        let put = client.put(format!("{at}?{part}")).body(body).send().await.unwrap();
        put.error_for_status().unwrap();
    };
    set("policy", bucket_policy(&bucket).to_string()).await;
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
        <DefaultRetention><Mode>GOVERNANCE</Mode><Years>7</Years></DefaultRetention></Rule>\
        </ObjectLockConfiguration>";
    set("object-lock", lock.to_owned()).await;
    let (exit, text) = compare();
    assert_eq!(exit, Some(0), "{text}");
    let rule = "<LifecycleConfiguration><Rule><ID>old</ID><Status>Enabled</Status><Filter>\
        <Prefix>lab/packs/</Prefix></Filter><Expiration><Days>9</Days></Expiration></Rule>\
        </LifecycleConfiguration>";
    set("lifecycle", rule.to_owned()).await;
    let (exit, text) = compare();
    assert!(exit == Some(1) && text.contains("old"), "{text}");
}
