//! What a bucket's store promises its callers, one trap of such stores a test.

use bytes::Bytes;
use oracle_gate::objects::{Created, Evidence, Objects, StoreError};
use wire::digest::Digest;

use super::server::{Fault, Server};
use super::{SECRETS, hasty, objects};

async fn with(key: &str, content: &'static [u8]) -> (Server, Objects) {
    let server = Server::start().await;
    server.insert(key, content);
    let objects = objects(&server.url);
    (server, objects)
}

/// The names of the parts in a folder.
async fn matching(objects: &Objects, folder: &str) -> Result<Vec<String>, StoreError> {
    let mut listing = objects.list_matching(folder, "part-").await?;
    if let Some(odd) = listing.odd.pop() {
        return Err(odd);
    }
    Ok(listing.entries.into_iter().map(|entry| entry.path).collect())
}

#[tokio::test]
async fn objects_are_created_once_read_hashed_and_listed_below_the_prefix() {
    let (server, objects) = with("run-5/data/part-0", b"zero").await;
    assert_eq!(objects.names(), ["s3://packs/lab"]);
    let one = Bytes::from_static(b"one");
    assert_eq!(objects.create("run-5/data/part-1", one).await.unwrap(), Created::New);
    let other = Bytes::from_static(b"other");
    assert_eq!(objects.create("run-5/data/part-1", other).await.unwrap(), Created::Existed);
    assert_eq!(objects.read("run-5/data/part-1", 9).await.unwrap().unwrap(), "one");
    assert_eq!(objects.hash("run-5/data/part-0").await.unwrap(), Some((4, Digest::of(b"zero"))));
    assert_eq!(objects.read("run-5/data/part-2", 9).await.unwrap(), None);
    assert_eq!(objects.list("run-5").await.unwrap(), ["data/part-0", "data/part-1"]);
    let writes: Vec<_> = server.calls().into_iter().filter(|call| call.method == "PUT").collect();
    assert!(writes.len() == 2 && writes.iter().all(|call| call.conditional));
    assert!(writes.iter().all(|call| call.key == "lab/run-5/data/part-1"));
}

#[tokio::test]
async fn parts_are_listed_by_the_text_of_their_name_and_nothing_else_is_asked_for() {
    let (server, objects) = with("data/part-0", b"0").await;
    for key in ["data/part-1", "data/part-2/inner", "data/other", "data-2/part-3"] {
        server.insert(key, b"x");
    }
    assert_eq!(matching(&objects, "data").await.unwrap(), ["part-0", "part-1"]);
    let prefixes: Vec<_> = server.calls().into_iter().filter_map(|call| call.prefix).collect();
    assert_eq!(prefixes, ["lab/data/part-"]);
}

#[tokio::test]
async fn a_page_that_does_not_say_whether_it_is_the_last_is_not_taken_for_it() {
    let (server, objects) = with("run/part-0", b"x").await;
    for page in [
        "<ListBucketResult/>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken/></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated>",
        "<html>maintenance</html>",
        "",
    ] {
        server.fail(move |_, _| Some(Fault::Body(page)));
        for listed in [objects.list("run").await, matching(&objects, "run").await] {
            let reported = listed.unwrap_err().to_string();
            assert!(reported.contains("whether there is more"), "{page}: {reported}");
        }
    }
    // Some services name an empty next page after the last.
    let last = "<ListBucketResult><IsTruncated>false</IsTruncated><NextContinuationToken/>\
        </ListBucketResult>";
    server.fail(move |_, _| Some(Fault::Body(last)));
    assert_eq!(objects.list("run").await.unwrap(), Vec::<String>::new());
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn a_listing_without_an_end_is_ended() {
    let (server, _) = with("run/part-0", b"x").await;
    let objects = hasty(&server.url);
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated>\
        <NextContinuationToken>again</NextContinuationToken></ListBucketResult>";
    server.fail(move |_, _| Some(Fault::Body(page)));
    let listed = objects.list("run").await;
    assert!(matches!(&listed, Err(StoreError::Timeout { .. })), "{listed:?}");
}

#[tokio::test]
async fn names_that_mean_other_places_are_refused_in_a_listing() {
    for key in ["lab/run/../x", "lab/run//x", "lab/run/./x", "other/x", "lab/run/", "lab/run-2/x"] {
        let (server, objects) = with("run/part-0", b"x").await;
        let page = format!(
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>{key}</Key><Size>1</Size>\
             <LastModified>1970-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>"
        );
        let page: &'static str = page.leak();
        server.fail(move |_, _| Some(Fault::Body(page)));
        for listed in [objects.list("run").await, matching(&objects, "run").await] {
            assert!(matches!(&listed, Err(StoreError::Name { .. })), "{key}: {listed:?}");
        }
    }
}

#[tokio::test]
async fn a_listing_longer_than_a_page_is_whole() {
    let server = Server::start().await;
    for number in 0..2500 {
        server.insert(&format!("run/part-{number:05}"), b"x");
    }
    let listed = objects(&server.url).list("run").await.unwrap();
    assert_eq!((listed.len(), listed[2499].as_str()), (2500, "part-02499"));
    assert_eq!(server.calls().len(), 3);
}

#[tokio::test]
async fn keys_that_are_no_paths_are_named_not_dropped() {
    for key in ["run/a//b", "run/../x", "run/"] {
        let (server, objects) = with("run/a", b"x").await;
        server.insert(key, b"x");
        let error = objects.list("run").await.unwrap_err();
        assert!(matches!(error, StoreError::Name { .. }), "{key}: {error}");
    }
}

#[tokio::test]
async fn absence_denial_time_and_throttling_are_distinguished() {
    type Expected = fn(&StoreError) -> bool;
    let cases: [(Fault, Expected); 8] = [
        (Fault::Status(401, ""), |error| matches!(error, StoreError::Denied { .. })),
        (Fault::Status(403, "AccessDenied"), |error| matches!(error, StoreError::Denied { .. })),
        (Fault::Status(429, ""), |error| matches!(error, StoreError::Throttled { .. })),
        (Fault::Status(503, "SlowDown"), |error| matches!(error, StoreError::Throttled { .. })),
        (Fault::Status(500, "InternalError"), |error| {
            matches!(error, StoreError::Unavailable { .. })
        }),
        (Fault::Status(400, "RequestTimeout"), |error| matches!(error, StoreError::Timeout { .. })),
        (Fault::Hang, |error| matches!(error, StoreError::Timeout { .. })),
        (Fault::Truncated, |error| matches!(error, StoreError::Unavailable { .. })),
    ];
    for (fault, expected) in cases {
        let (server, objects) = with("a-503-429", b"content").await;
        server.fail(move |_, _| Some(fault));
        let objects = if fault == Fault::Hang { hasty(&server.url) } else { objects };
        let read = objects.read("a-503-429", 64).await.unwrap_err();
        assert!(expected(&read), "{fault:?}: {read}");
        if fault != Fault::Truncated {
            let listed = objects.list("a-503-429").await.unwrap_err();
            assert!(expected(&listed), "{fault:?} while listing: {listed}");
        }
        assert!(server.calls().len() <= 8, "{} calls for {fault:?}", server.calls().len());
    }
}

/// Each refusal has a code of its own with the store's code in its text, and none is repeated.
#[tokio::test]
async fn refusals_are_distinguished_by_the_stores_code() {
    for (status, code, reason) in [
        (403, "RequestTimeTooSkewed", "STORE_CLOCK_SKEWED"),
        (403, "InvalidObjectState", "OBJECT_ARCHIVED"),
        (403, "SignatureDoesNotMatch", "STORE_SIGNATURE_REFUSED"),
        (403, "InvalidAccessKeyId", "STORE_KEY_UNKNOWN"),
        (400, "ExpiredToken", "STORE_TOKEN_EXPIRED"),
        (404, "NoSuchBucket", "BUCKET_NOT_FOUND"),
        (301, "PermanentRedirect", "STORE_REGION_WRONG"),
        (400, "AuthorizationHeaderMalformed", "STORE_REGION_WRONG"),
        (405, "MethodNotAllowed", "STORE_METHOD_REFUSED"),
        (400, "InvalidRequest", "STORE_REFUSED"),
        (501, "NotImplemented", "STORE_REFUSED"),
        (403, "AccessDenied", "ACCESS_DENIED"),
    ] {
        let (server, objects) = with("a", b"content").await;
        server.fail(move |_, _| Some(Fault::Status(status, code)));
        let objects = hasty_if(status == 501, &server.url, objects);
        for error in [objects.read("a", 64).await.map(drop), objects.list("a").await.map(drop)] {
            let error = error.unwrap_err();
            let found = error.reason();
            assert_eq!(found.code(), reason, "{status} {code}: {error}");
            assert!(!found.row().retryable && found.row().class.exit() == 2, "{found:?}");
            assert!(code == "AccessDenied" || error.to_string().contains(code), "{error}");
        }
    }
}

/// A client repeats what may heal; here it is not waited for.
fn hasty_if(hurried: bool, url: &str, objects: Objects) -> Objects {
    if hurried { hasty(url) } else { objects }
}

/// A bucket with a default retention takes no write that does not name its checksum's algorithm.
#[tokio::test]
async fn every_write_names_the_algorithm_of_its_checksum() {
    let (server, objects) = with("a", b"content").await;
    objects.create("b", Bytes::from_static(b"x")).await.unwrap();
    objects.read("a", 64).await.unwrap();
    for call in server.calls() {
        let named = call.algorithm.as_deref();
        assert_eq!(named, (call.method == "PUT").then_some("SHA256"), "{call:?}");
    }
}

/// Consoles make a folder visible by an empty object with a slash at its end.
#[tokio::test]
async fn a_folder_marker_is_no_file() {
    let (server, objects) = with("run/part-0", b"x").await;
    server.insert("run/", b"");
    server.insert("run/empty/", b"");
    assert_eq!(objects.list("run").await.unwrap(), ["part-0"]);
    assert_eq!(matching(&objects, "run").await.unwrap(), ["part-0"]);
    server.insert("run/nothing", b"");
    assert_eq!(objects.list("run").await.unwrap(), ["nothing", "part-0"]);
}

#[tokio::test]
async fn no_secret_stands_in_an_error() {
    let (server, objects) = with("a", b"x").await;
    for fault in [
        Fault::Status(403, "SignatureDoesNotMatch"),
        Fault::Status(400, "InvalidRequest"),
        Fault::Status(500, "InternalError"),
        Fault::Status(404, "NoSuchBucket"),
    ] {
        server.fail(move |_, _| Some(fault));
        let read = objects.read("a", 9).await.unwrap_err();
        let create = objects.create("b", Bytes::from_static(b"x")).await.unwrap_err();
        for text in [format!("{read} {read:?}"), format!("{create} {create:?}")] {
            assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
        }
    }
    drop(server);
    let gone = objects.read("a", 9).await.unwrap_err();
    assert!(matches!(&gone, StoreError::Unavailable { cause, .. } if cause == "no connection"));
}

#[tokio::test]
async fn a_conflict_of_writers_is_not_taken_for_an_object() {
    let (server, objects) = with("x", b"x").await;
    let content = Bytes::from_static(b"mine");
    server.fail(|nth, _| (nth < 2).then_some(Fault::Status(409, "ConditionalRequestConflict")));
    assert_eq!(objects.create("a", content.clone()).await.unwrap(), Created::New);
    assert_eq!(server.calls().len(), 3);

    server.fail(|_, _| Some(Fault::Status(409, "ConditionalRequestConflict")));
    let error = objects.create("b", content).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    assert!(server.calls().len() < 6, "conflicts are retried without end");
}

#[tokio::test]
async fn a_write_that_landed_before_its_answer_was_lost_is_not_called_new() {
    let (server, objects) = with("x", b"x").await;
    // The first try lands and is answered 503; the client tries again and meets its own object.
    server.fail(|nth, _| (nth == 0).then_some(Fault::Done(503, "ServiceUnavailable")));
    let created = objects.create("a", Bytes::from_static(b"mine")).await.unwrap();
    assert_eq!(created, Created::Existed, "the caller has to read back whose it is");
    assert_eq!(objects.read("a", 9).await.unwrap().unwrap(), "mine");
}

#[tokio::test]
async fn a_store_without_conditional_writes_is_named_after_few_tries() {
    let (server, objects) = with("x", b"x").await;
    server.fail(|_, _| Some(Fault::Status(501, "NotImplemented")));
    let error = objects.create("a", Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unsupported { .. }), "{error}");
    assert!(server.calls().len() <= 3);
}

#[tokio::test]
async fn a_break_in_the_middle_is_continued_and_other_bytes_are_other_bytes() {
    let (server, objects) = with("a", b"some content").await;
    server.fail(|nth, _| (nth == 0).then_some(Fault::Truncated));
    let hash = objects.hash("a").await.unwrap();
    assert_eq!(hash, Some((12, Digest::of(b"some content"))));
    server.fail(|_, _| Some(Fault::WrongBytes));
    assert_ne!(objects.hash("a").await.unwrap(), hash);
}

#[tokio::test]
async fn evidence_is_bytes_unless_the_stores_own_digest_is_trusted() {
    let (server, objects) = with("a", b"content").await;
    let gets = |server: &Server| server.calls().iter().filter(|call| call.method == "GET").count();
    let trusted = objects.trusting_checksums(true);

    server.heal();
    let known = objects.fixity("a", Evidence::StoreSha256).await.unwrap().unwrap();
    assert_eq!(
        (known.evidence, known.sha256),
        (Evidence::HashedBytes, Some(Digest::of(b"content")))
    );
    assert_eq!(gets(&server), 1);

    server.heal();
    let known = trusted.fixity("a", Evidence::StoreSha256).await.unwrap().unwrap();
    assert_eq!(
        (known.evidence, known.sha256),
        (Evidence::StoreSha256, Some(Digest::of(b"content")))
    );
    assert_eq!((known.length, gets(&server)), (7, 0), "bytes were fetched");
    let known = objects.fixity("a", Evidence::SizeOnly).await.unwrap().unwrap();
    assert_eq!((known.evidence, known.length, known.sha256), (Evidence::SizeOnly, 7, None));

    let known = trusted.fixity("a", Evidence::HashedBytes).await.unwrap().unwrap();
    assert_eq!(known.evidence, Evidence::HashedBytes);
    assert_eq!(trusted.fixity("none", Evidence::StoreSha256).await.unwrap(), None);
}
