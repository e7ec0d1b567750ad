//! A check of a bucket says what a check of a folder says, and asks for no more.

use std::fs;
use std::path::Path;

use oracle_gate::check::{Outcome, Rules, check_bytes};
use oracle_gate::objects::{Evidence, Objects};
use oracle_gate::profile::Profile;
use serde_json::json;
use wire::dsse::parse_key;

use super::objects;
use super::server::{Fault, Server};
use crate::conformance::KINDS;
use crate::conformance::fixture::{Sealing, StoreFixture, fingerprint};

/// What only a folder can show, or only the program's own root of it.
const FOLDERS_ONLY: [&str; 5] =
    ["LINK_REFUSED", "means_two_things", "OBJECT_TOO_LARGE", "not_there", "as_configured"];

/// The strict rules of a case, with the keys it names.
fn rules(case: &Path) -> Rules {
    let profile = case.join("profile.yaml");
    let root = case.join("store").to_str().unwrap().to_owned();
    let profile = Profile::load(profile.to_str().unwrap(), Some(root), |_| None).unwrap();
    let arguments = fs::read_to_string(case.join("arguments")).unwrap();
    Rules::strict(&profile, arguments.lines().filter_map(parse_key).collect())
}

async fn check(objects: &Objects, rules: &Rules, case: &Path) -> Outcome {
    let view = fs::read(case.join("view.json")).unwrap();
    check_bytes(objects, rules, "view.json", &view, chassis::clock::now()).await
}

fn codes(outcome: &Outcome) -> Vec<&'static str> {
    outcome.reason_codes.iter().map(|reason| reason.code()).collect()
}

/// A case in a folder.
pub fn written(change: impl FnOnce(&mut StoreFixture)) -> tempfile::TempDir {
    let case = tempfile::tempdir().unwrap();
    let mut fixture = StoreFixture::good();
    change(&mut fixture);
    fixture.write(case.path());
    case
}

/// A case in a folder and in a bucket.
async fn stored(change: impl FnOnce(&mut StoreFixture)) -> (tempfile::TempDir, Server, Objects) {
    let (case, server) = (written(change), Server::start().await);
    server.hold(&case.path().join("store"));
    let bucket = objects(&server.url);
    (case, server, bucket)
}

#[tokio::test]
async fn a_bucket_gets_the_same_answer_as_a_folder() {
    let lists = KINDS.into_iter().filter(|(kind, _)| *kind != "usage").flat_map(|(_, lists)| lists);
    let cases = lists.copied().flatten();
    let (server, mut compared) = (Server::start().await, 0);
    let bucket = objects(&server.url);
    for (name, change) in
        cases.filter(|(name, _)| !FOLDERS_ONLY.iter().any(|part| name.contains(part)))
    {
        let case = written(change);
        server.hold(&case.path().join("store"));
        let rules = rules(case.path());
        let folder = Objects::local(&case.path().join("store")).unwrap();
        let in_folder = check(&folder, &rules, case.path()).await;
        let in_bucket = check(&bucket, &rules, case.path()).await;
        let reported = |outcome: &Outcome| serde_json::to_string_pretty(outcome).unwrap();
        assert_eq!(reported(&in_bucket), reported(&in_folder), "{name}");
        compared += 1;
    }
    assert!(compared > 90, "only {compared}");
}

/// The first checker skipped the seals of packs in buckets.
#[tokio::test]
async fn a_pack_in_a_bucket_without_a_seal_is_refused_under_strict_rules() {
    let (case, _server, bucket) = stored(|fixture| {
        fixture.unpinned();
        fixture.only_free();
        fixture.sealing = Sealing::Not;
        let path = fixture.locator(0)["path"].as_str().unwrap().to_owned();
        fixture.locator(0)["path"] = json!(format!("s3://packs/lab/{path}"));
    })
    .await;
    let outcome = check(&bucket, &rules(case.path()), case.path()).await;
    assert_eq!(codes(&outcome), ["PACK_NOT_SEALED", "PACK_MANIFEST_MISSING"]);
}

#[tokio::test]
async fn a_url_is_contained_like_any_other_path() {
    for (root, expected) in [
        ("s3://packs/lab/", None),
        ("s3://packs/lab0/", Some("LOCATOR_OUTSIDE_ROOT")),
        ("s3://packs/", Some("LOCATOR_OUTSIDE_ROOT")),
        ("s3://other/lab/", Some("LOCATOR_OUTSIDE_ROOT")),
        ("https://packs/lab/", Some("LOCATOR_OUTSIDE_ROOT")),
        ("s3://packs/lab/../lab/", Some("LOCATOR_OUTSIDE_ROOT")),
    ] {
        let (case, _server, bucket) = stored(|fixture| {
            let path = fixture.locator(0)["path"].as_str().unwrap().to_owned();
            fixture.locator(0)["path"] = json!(format!("{root}{path}"));
        })
        .await;
        let outcome = check(&bucket, &rules(case.path()), case.path()).await;
        assert_eq!(codes(&outcome), Vec::from_iter(expected), "{root}");
    }
}

#[tokio::test]
async fn only_the_expansion_is_listed_and_only_by_what_it_begins_with() {
    let (case, server, bucket) = stored(|_| ()).await;
    let outcome = check(&bucket, &rules(case.path()), case.path()).await;
    assert_eq!(codes(&outcome), [""; 0]);
    let calls = server.calls();
    let lists: Vec<_> = calls.iter().filter_map(|call| call.prefix.as_deref()).collect();
    // The records twice: those that are there, and those that the bucket keeps a deletion of.
    let records = "lab/run-5/_records/";
    let expansion = format!("lab/run-5/data/parts/f={}/part-", fingerprint());
    assert_eq!(lists, [records, records, &expansion]);
    let keys = calls.iter().filter(|call| call.prefix.is_none());
    for call in keys {
        assert!(call.key.starts_with("lab/run-5/") && call.method == "GET", "{call:?}");
    }
}

/// The parts that a page leaves out would otherwise count as never published.
#[tokio::test]
async fn an_expansion_that_may_go_on_is_not_taken_for_the_whole() {
    let (case, server, bucket) = stored(|_| ()).await;
    server.fail(|_, call| {
        let page = "<ListBucketResult><IsTruncated>true</IsTruncated><Contents>\
            <Key>lab/run-5/data/parts/part-0.txt</Key><Size>2</Size>\
            <LastModified>1970-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>";
        let expands = call.prefix.as_ref().is_some_and(|prefix| prefix.contains("part-"));
        expands.then_some(Fault::Body(page))
    });
    let outcome = check(&bucket, &rules(case.path()), case.path()).await;
    assert_eq!((codes(&outcome), outcome.exit(false)), (vec!["STORE_UNAVAILABLE"], 2));
    assert!(outcome.issues[0].detail.contains("whether there is more"), "{:?}", outcome.issues);
}

#[tokio::test]
async fn a_stores_own_digests_count_only_where_profile_and_seal_say_so() {
    for (profile, seal, by_store) in [
        (true, Some(true), true),
        (false, Some(true), false),
        (true, Some(false), false),
        (true, None, false),
    ] {
        let (case, server, bucket) = stored(|fixture| fixture.checksums = seal).await;
        let strict = rules(case.path());
        let rules = Rules {
            least_evidence: Evidence::StoreSha256,
            trust_store_checksums: profile,
            ..strict
        };
        let outcome = check(&bucket, &rules, case.path()).await;
        assert_eq!(codes(&outcome), [""; 0], "{:?}", outcome.issues);
        let evidence = outcome.details.evidence;
        assert_eq!(evidence.size_only, 0);
        // What gates depend on is read anyway.
        let few = evidence.hashed_bytes < 16;
        assert_eq!((evidence.store_sha256 > 0, few), (by_store, by_store), "{evidence:?}");
        let output = format!("lab/run-5/data/free/f={}/one.txt", fingerprint());
        let read = server.calls().iter().any(|call| call.method == "GET" && call.key == output);
        assert_eq!(read, !by_store, "the payload was read");
    }
}
