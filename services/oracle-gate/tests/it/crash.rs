//! Whatever call to the store is the last one before a crash: unsealed or sealed, never half, and
//! the next start completes it.

use std::fs;
use std::sync::Arc;

use oracle_gate::check::{Status, check};
use oracle_gate::runs::{seal, settle_open};
use seal::verify;

use crate::faulty::{Fault, Faulty};
use crate::fixture::{Fixture, NOW, run};

async fn crash_at_every_call(fault: Fault) {
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let mut faulty = None;
    let objects = fixture.objects().through(|inner| {
        let store = Arc::new(Faulty::new(inner, fault));
        faulty = Some(Arc::clone(&store));
        store
    });
    let faulty = faulty.unwrap();
    let dying = fixture.gate_over(&db, objects).await;
    dying.probe(NOW).await.unwrap();
    let healthy = fixture.gate(&db).await;
    let (mut crashes, mut nth) = (0, 0);
    loop {
        let number = nth as u128 + 1;
        let draft = fixture.passed(number);
        faulty.arm(nth);
        let first = seal(&dying, draft.clone(), NOW).await;
        let survived = faulty.calls() <= nth;
        assert_eq!(first.is_ok(), survived, "call {nth} failed and was not noticed");
        crashes += usize::from(!survived);
        nothing_half(&fixture);

        settle_open(&healthy).await.unwrap();
        fs::remove_dir_all(fixture.path("staging")).unwrap();
        let (sealed, existed) = seal(&healthy, draft, NOW).await.unwrap();
        assert!(existed, "call {nth}: the start completed nothing");
        let root = fixture.path(&format!("packs/{}", sealed.pack_id));
        let report = verify::pack(&root).unwrap();
        assert!(report.is_whole(), "call {nth}: {:?}", report.broken);
        assert_eq!(report.seal_digest, Some(sealed.seal_digest));
        assert_eq!(sealed.check.unwrap().status, Status::Ok);
        if survived {
            break;
        }
        nth += 1;
    }
    assert!(crashes > 15, "only {crashes} calls were interrupted");
    let reported: i64 = sqlx::query_scalar("SELECT count(DISTINCT event_id) FROM outbox")
        .fetch_one(&db.pool)
        .await
        .unwrap();
    assert_eq!(usize::try_from(reported).unwrap(), nth + 1, "one event for each run");
    assert_eq!(
        fs::read_dir(fixture.path("packs")).unwrap().count(),
        nth + 1,
        "one pack for each run"
    );
}

/// A pack with a seal is complete, whatever happened to its writer.
fn nothing_half(fixture: &Fixture) {
    let Ok(packs) = fs::read_dir(fixture.path("packs")) else { return };
    for pack in packs.flatten().filter(|pack| pack.path().join("_SEALED.json").exists()) {
        let report = verify::pack(&pack.path()).unwrap();
        assert!(report.is_whole(), "{:?}", report.broken);
    }
}

#[tokio::test]
async fn a_crash_before_any_call_leaves_one_seal_in_the_end() {
    crash_at_every_call(Fault::DeadBefore).await;
}

#[tokio::test]
async fn a_crash_after_any_write_leaves_one_seal_in_the_end() {
    crash_at_every_call(Fault::DeadAfter).await;
}

#[tokio::test]
async fn a_check_never_passes_when_any_single_call_to_the_store_fails() {
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let gate = fixture.gate(&db).await;
    let (sealed, _) = seal(&gate, fixture.passed(1), NOW).await.unwrap();
    let facts_ref = sealed.facts_ref.unwrap();
    let mut faulty = None;
    let objects = fixture.objects().through(|inner| {
        let store = Arc::new(Faulty::new(inner, Fault::Once));
        faulty = Some(Arc::clone(&store));
        store
    });
    let faulty = faulty.unwrap();
    let mut nth = 0;
    loop {
        faulty.arm(nth);
        let outcome = check(&objects, &gate.rules, &facts_ref, NOW).await;
        if faulty.calls() <= nth {
            assert_eq!(outcome.status, Status::Ok);
            break;
        }
        assert_eq!(outcome.status, Status::Fail, "call {nth} failed and the check passed");
        assert!(outcome.exit(false) == 2 && outcome.is_doubtful(), "call {nth}: {outcome:?}");
        nth += 1;
    }
    assert!(nth > 6, "only {nth} calls");
    assert!(fixture.path(&format!("sr/run_status/{}.1.json", run(1).simple())).is_file());
}
