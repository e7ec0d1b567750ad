//! Each request to a bucket goes wrong in turn: a check never passes, and a seal is never half.

use std::collections::BTreeSet;

use oracle_gate::check::{Status, check};
use oracle_gate::objects::Objects;
use oracle_gate::runs::{seal, settle_open};
use seal::verify;

use super::server::{Call, Fault, Server};
use super::{download, hasty, objects, upload};
use crate::fixture::{Fixture, NOW, run};

/// A pack with a seal is complete, whatever happened to its writer. Those in `seen` were looked
/// at.
async fn nothing_half(objects: &Objects, seen: &BTreeSet<String>) {
    for name in objects.list("packs").await.unwrap() {
        let Some(root) = name.strip_suffix("/_SEALED.json") else { continue };
        if seen.contains(root) {
            continue;
        }
        let report =
            verify::pack(download(objects, &format!("packs/{root}")).await.path()).unwrap();
        assert!(report.is_whole(), "{:?}", report.broken);
    }
}

/// From the nth request on the store is gone; `first` is what becomes of the nth itself.
async fn store_gone_at_every_request(first: Fault) {
    let (fixture, db, server) = (Fixture::new(), testkit::postgres().await, Server::start().await);
    let objects = objects(&server.url);
    let gate = fixture.gate_over(&db, objects.clone()).await;
    gate.probe(NOW).await.unwrap();
    let (mut nth, mut seen) = (0, BTreeSet::new());
    loop {
        let draft = fixture.passed(nth as u128 + 1);
        server.heal();
        upload(fixture.dir.path(), &objects).await;
        std::fs::remove_dir_all(fixture.path("staging")).unwrap();
        // Answered in a way that no client repeats: 400 is the caller's fault.
        server.fail(move |call, _| match call {
            call if call < nth => None,
            call if call == nth => Some(first),
            _ => Some(Fault::Status(400, "Gone")),
        });
        let sealed = seal(&gate, draft.clone(), NOW).await;
        let survived = server.calls().len() <= nth;
        assert_eq!(sealed.is_ok(), survived, "request {nth} went wrong and was not noticed");
        server.heal();
        nothing_half(&objects, &seen).await;

        settle_open(&gate).await.unwrap();
        let (sealed, existed) = seal(&gate, draft, NOW).await.unwrap();
        assert!(existed, "request {nth}: nothing was completed");
        assert_eq!(sealed.check.unwrap().status, Status::Ok);
        let root = format!("packs/{}", sealed.pack_id);
        let report = verify::pack(download(&objects, &root).await.path()).unwrap();
        assert!(report.is_whole() && report.seal_digest == Some(sealed.seal_digest));
        seen.insert(sealed.pack_id.to_string());
        if survived {
            break;
        }
        nth += 1;
    }
    assert!(nth > 15, "only {nth} requests went wrong");
}

#[tokio::test]
async fn a_store_gone_before_any_request_leaves_one_whole_seal_in_the_end() {
    store_gone_at_every_request(Fault::Status(400, "Gone")).await;
}

#[tokio::test]
async fn a_store_gone_after_any_write_leaves_one_whole_seal_in_the_end() {
    store_gone_at_every_request(Fault::Done(400, "Gone")).await;
}

async fn never_passes(fault: Fault, applies: fn(&Call) -> bool) {
    let (fixture, db, server) = (Fixture::new(), testkit::postgres().await, Server::start().await);
    let objects = objects(&server.url);
    let draft = fixture.passed(1);
    upload(fixture.dir.path(), &objects).await;
    let gate = fixture.gate_over(&db, objects.clone()).await;
    let (sealed, _) = seal(&gate, draft, NOW).await.unwrap();
    let facts_ref = sealed.facts_ref.unwrap();
    server.heal();
    assert_eq!(check(&objects, &gate.rules, &facts_ref, NOW).await.status, Status::Ok);
    let calls = server.calls();
    assert!(calls.len() > 6 && calls.iter().all(|call| call.method != "PUT"), "{calls:?}");
    // The view names no wildcard, so nothing may be listed but the records about the pack (O8).
    let listed = calls.iter().filter_map(|call| call.prefix.as_deref());
    assert!(listed.clone().all(|prefix| prefix.ends_with("/_records/")), "{calls:?}");
    assert_eq!(listed.count(), 2, "{calls:?}");
    for nth in (0..calls.len()).filter(|nth| applies(&calls[*nth])) {
        let bad = calls[nth].clone();
        // Repeated tries of the same request meet the same fault.
        server.fail(move |_, call| (*call == bad).then_some(fault));
        let slow = matches!(fault, Fault::Hang | Fault::Stalled);
        let objects = if slow { hasty(&server.url) } else { objects.clone() };
        let outcome = check(&objects, &gate.rules, &facts_ref, NOW).await;
        assert_eq!(outcome.status, Status::Fail, "{fault:?} at {:?} and it passed", calls[nth]);
    }
    assert_eq!(facts_ref, format!("sr/run_facts_view/{}.1.json", run(1).simple()));
}

#[tokio::test]
async fn a_check_never_passes_when_any_request_goes_wrong() {
    for fault in [
        Fault::Status(403, "AccessDenied"),
        Fault::Status(404, "NoSuchKey"),
        Fault::Status(500, "InternalError"),
        Fault::WrongBytes,
        Fault::Truncated,
    ] {
        never_passes(fault, |_| true).await;
    }
}

#[tokio::test]
async fn a_check_never_passes_when_the_store_hangs() {
    let seal = |call: &Call| call.key.ends_with("_SEALED.json");
    never_passes(Fault::Hang, seal).await;
    let output = |call: &Call| call.key.ends_with("report.json");
    never_passes(Fault::Stalled, output).await;
}
