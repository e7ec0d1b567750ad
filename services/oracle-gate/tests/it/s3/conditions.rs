//! Which stores may hold seals, and which checksums count: proven, never assumed (O10, O11).

use oracle_gate::probe;
use oracle_gate::reasons::Reason;
use oracle_gate::sealing::{SealingError, close};

use super::server::{Checksums, Fault, Server};
use super::{objects, upload};
use crate::fixture::{Fixture, NOW};
use crate::sealing::{manifest, order};

#[tokio::test]
async fn a_store_that_honours_conditions_passes_and_keeps_nothing_of_the_probe() {
    let server = Server::start().await;
    let objects = objects(&server.url);
    let probe = probe::run(&objects, "x", NOW).await.unwrap();
    assert!(probe.write_once() && probe.keeps_true_checksums(), "{probe:?}");
    assert_eq!(objects.list("_probe").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused_for_sealing() {
    let (fixture, server) = (Fixture::new(), Server::start().await);
    server.ignore_conditions();
    let objects = objects(&server.url);
    let manifest = manifest(&fixture);
    upload(fixture.dir.path(), &objects).await;
    let probe = probe::run(&objects, "x", NOW).await.unwrap();
    assert!(!probe.write_once() && !probe.second_create_refused, "{probe:?}");
    let nonce = "0".repeat(32);
    let error = close(&objects, &order(&manifest, &nonce, probe)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::StoreNotWriteOnce);
    assert_eq!(objects.read("run-5/_SEALED.json", 9).await.unwrap(), None);
    assert_eq!(objects.read("run-5/_oracle_pack_manifest.json", 9).await.unwrap(), None);
}

#[tokio::test]
async fn a_store_without_conditions_at_all_is_refused_too() {
    let server = Server::start().await;
    server.fail(|_, call| call.conditional.then_some(Fault::Status(501, "NotImplemented")));
    let error = probe::run(&objects(&server.url), "x", NOW).await.unwrap_err();
    assert_eq!(SealingError::Store(error).reason(), Reason::StoreNotWriteOnce);
}

#[tokio::test]
async fn checksums_count_only_where_a_wrong_one_is_refused_and_leaves_nothing() {
    for (how, trusted) in [
        (Checksums::Verified, true),
        (Checksums::Echoed, false),
        (Checksums::RefusedButKept, false),
    ] {
        let server = Server::start().await;
        server.checksums(how);
        let probe = probe::run(&objects(&server.url), "x", NOW).await.unwrap();
        assert!(probe.write_once(), "a failed probe of checksums only lowers evidence");
        assert_eq!(probe.keeps_true_checksums(), trusted, "{how:?}");
    }
}

#[tokio::test]
async fn of_all_refusals_of_a_wrong_checksum_only_400_speaks_of_checksums() {
    for (status, code, trusted) in [
        (400, "BadDigest", true),
        (400, "InvalidRequest", true),
        // A policy, a lock, a method or a condition: none of them has looked at the bytes.
        (403, "AccessDenied", false),
        (405, "MethodNotAllowed", false),
        (409, "OperationAborted", false),
        (412, "PreconditionFailed", false),
        (501, "NotImplemented", false),
    ] {
        let server = Server::start().await;
        // The one write without a condition is the one that states a wrong checksum.
        server.fail(move |_, call| {
            let states_wrong = call.method == "PUT" && !call.conditional;
            states_wrong.then_some(Fault::Status(status, code))
        });
        let probe = probe::run(&objects(&server.url), "x", NOW).await.unwrap();
        assert!(probe.write_once(), "a failed probe of checksums only lowers evidence");
        assert_eq!(probe.keeps_true_checksums(), trusted, "{status} {code}");
    }
}

#[tokio::test]
async fn a_seal_that_may_or_may_not_be_there_is_called_that_and_written_by_the_next_call() {
    let (fixture, server) = (Fixture::new(), Server::start().await);
    let objects = objects(&server.url);
    let manifest = manifest(&fixture);
    upload(fixture.dir.path(), &objects).await;
    let probe = probe::run(&objects, "x", NOW).await.unwrap();
    let nonce = "0".repeat(32);
    let order = order(&manifest, &nonce, probe);
    server.fail(|_, call| {
        let seals = call.method == "PUT" && call.key.ends_with("_SEALED.json");
        seals.then_some(Fault::Status(400, "Gone"))
    });
    let reason = close(&objects, &order).await.unwrap_err().reason();
    assert!(reason == Reason::SealUnconfirmed && reason.row().retryable);
    server.heal();
    assert!(!close(&objects, &order).await.unwrap().existed);
}
