//! What a bucket shows of a pack beside its objects: names that are none, and what was deleted.

use oracle_gate::audit::audit;
use oracle_gate::check::Rules;
use oracle_gate::governance::{self, LogError, Order, record};
use oracle_gate::objects::{Objects, StoreError};
use oracle_gate::profile::Profile;
use oracle_gate::reasons::Reason;
use seal::records::{Decision, Log};

use super::moto::{bucket, client};
use super::server::{Fault, Server};
use super::{objects, upload};
use crate::fixture::NOW;
use crate::governance::sealed;

fn rules() -> (Rules, Profile) {
    let profile = Profile::load("dev", Some("s3://packs/lab".to_owned()), |_| None).unwrap();
    (Rules::strict(&profile, Vec::new()), profile)
}

/// A sealed pack in a bucket.
async fn stored() -> (Server, Objects) {
    let (fixture, server) = (sealed(), Server::start().await);
    server.hold(fixture.dir.path());
    let objects = objects(&server.url);
    (server, objects)
}

async fn audited(objects: &Objects) -> (Vec<Reason>, u8, usize) {
    let (rules, profile) = rules();
    let outcome = audit(objects, &rules, &profile.retention, "run-5", NOW).await;
    (outcome.reason_codes.clone(), outcome.exit(false), outcome.details.evidence.hashed_bytes)
}

#[tokio::test]
async fn one_key_that_is_no_path_hides_no_drift() {
    let (server, objects) = stored().await;
    assert_eq!(audited(&objects).await, (vec![], 0, 1));
    server.insert("run-5/data//x", b"x");
    let expected = vec![Reason::NameRefused, Reason::PackFileAdded];
    assert_eq!(audited(&objects).await, (expected, 1, 1));
    server.insert("run-5/data/one", b"two");
    server.insert("run-5/data/added", b"x");
    // An empty object makes a folder visible, and is no file.
    server.insert("run-5/data/", b"");
    let expected = vec![Reason::NameRefused, Reason::PackFileChanged, Reason::PackFileAdded];
    assert_eq!(audited(&objects).await, (expected, 1, 1));
    let listing = objects.entries("run-5").await.unwrap();
    let odd: Vec<_> = listing.odd.iter().filter_map(StoreError::name).collect();
    assert_eq!(odd, ["data//x"]);
    let parts = objects.list_matching("run-5/data", "").await.unwrap();
    let names: Vec<_> = parts.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(names, ["added", "one"]);
}

#[tokio::test]
async fn what_cannot_be_read_hides_no_drift() {
    for document in ["_SEALED.json", "data/other"] {
        let (server, objects) = stored().await;
        server.insert("run-5/data/one", b"two");
        server.insert("run-5/data/other", b"x");
        let bad = format!("lab/run-5/{document}");
        server.fail(move |_, call| (call.key == bad).then_some(Fault::Status(403, "AccessDenied")));
        let (codes, exit, hashed) = audited(&objects).await;
        assert!(codes.contains(&Reason::PackFileChanged), "{document}: {codes:?}");
        assert!(!codes.contains(&Reason::PackNotSealed), "{document}: {codes:?}");
        assert_eq!((exit, hashed), (1, 1), "{document}: {codes:?}");
    }
    // The listing itself: what the manifest names is read anyway.
    let (server, objects) = stored().await;
    server.insert("run-5/data/one", b"two");
    server.fail(|_, call| {
        let whole = call.prefix.as_deref() == Some("lab/run-5/");
        whole.then_some(Fault::Status(403, "AccessDenied"))
    });
    let expected = vec![Reason::PackFileChanged, Reason::AccessDenied];
    assert_eq!(audited(&objects).await, (expected, 1, 1));
}

#[tokio::test]
async fn where_deletions_may_not_be_listed_nothing_is_known_of_the_records() {
    let (server, objects) = stored().await;
    server.fail(|_, call| {
        let records = call.prefix.as_ref().is_some_and(|prefix| prefix.ends_with("_records/"));
        (records && call.versions).then_some(Fault::Status(403, "AccessDenied"))
    });
    let log = governance::log(&objects, "run-5").await;
    assert!(matches!(log, Err(LogError::Store(StoreError::Denied { .. }))), "{log:?}");
    assert_eq!(audited(&objects).await, (vec![Reason::AccessDenied], 2, 1));
    // A store without versions has nothing to show.
    for (status, code) in [(501, "NotImplemented"), (405, "MethodNotAllowed")] {
        server.fail(move |_, call| call.versions.then_some(Fault::Status(status, code)));
        assert_eq!(governance::log(&objects, "run-5").await.unwrap(), Log::default());
    }
}

#[tokio::test]
async fn anything_foreign_among_the_records_of_a_bucket_is_no_shorter_log() {
    for (key, is_log) in [
        ("run-5/_records/", true),
        ("run-5/_records_of_ours/x", true),
        ("run-5/_records/2.json", false),
        ("run-5/_records/1.json/", false),
        ("run-5/_records//x", false),
        ("run-5/_records/01.json", false),
        ("run-5/_records/sub/1.json", false),
    ] {
        let (server, objects) = stored().await;
        server.insert(key, b"");
        let log = governance::log(&objects, "run-5").await;
        assert_eq!(log.is_ok(), is_log, "{key}: {log:?}");
        assert!(is_log || matches!(log, Err(LogError::Invalid(_))), "{key}: {log:?}");
    }
}

#[tokio::test]
async fn a_record_behind_a_delete_marker_is_not_undone() {
    let Some((objects, at)) = bucket("undone", true).await else { return };
    let fixture = sealed();
    upload(fixture.dir.path(), &objects).await;
    let order = Order { authority: "legal".to_owned(), now: NOW };
    for matter in ["case 7", "case 8"] {
        let hold = Decision::Hold { matter: matter.to_owned() };
        record(&objects, "run-5", &order, &hold).await.unwrap();
    }
    assert_eq!(audited(&objects).await, (vec![], 0, 1));
    let delete = async |number: u32| {
        let url = format!("{at}/lab/run-5/_records/{number}.json");
        client().delete(url).send().await.unwrap().error_for_status().unwrap();
    };
    // The last one first: what is left is a whole log, and the bucket shows the deletion.
    let path = "run-5/_records/2.json";
    let bytes = objects.read(path, 1 << 16).await.unwrap().unwrap();
    for put_back in [false, true] {
        if put_back {
            objects.create(path, bytes.clone()).await.unwrap();
        } else {
            delete(2).await;
        }
        let log = governance::log(&objects, "run-5").await;
        assert!(matches!(log, Err(LogError::Invalid(_))), "{put_back}: {log:?}");
        assert_eq!(audited(&objects).await.0, [Reason::PackRecordInvalid]);
        let hold = Decision::Hold { matter: "case 9".to_owned() };
        let refused = record(&objects, "run-5", &order, &hold).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::PackRecordInvalid);
    }
    // All of them: without the deletions it would be a pack about which nothing was decided.
    for number in [1, 2] {
        delete(number).await;
    }
    assert_eq!(audited(&objects).await.0, [Reason::PackRecordInvalid]);
}
