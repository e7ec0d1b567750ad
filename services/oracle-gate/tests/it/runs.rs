//! Only what module-gate signed is sealed, once for each attempt.

use std::fs;

use ed25519_dalek::SigningKey;
use oracle_gate::check::{Status, check};
use oracle_gate::reasons::Reason;
use oracle_gate::runs::{Draft, seal};
use seal::{SealStatus, verify};
use serde_json::{Value, json};
use time::Duration;
use wire::Problem;
use wire::digest::Digest;
use wire::statement::{Execution, Shipping};

use crate::fixture::{Fixture, NOW, execution, run, shipping, staged};

#[tokio::test]
async fn a_run_that_passed_is_sealed_and_its_view_checks_ok() {
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let gate = fixture.gate(&db).await;

    let (sealed, existed) = seal(&gate, fixture.passed(1), NOW).await.unwrap();

    assert!(!existed && sealed.status == SealStatus::Ok);
    let check_result = sealed.check.clone().unwrap();
    assert_eq!((check_result.status, check_result.reasons), (Status::Ok, vec![]));
    let root = fixture.path(&format!("packs/{}", sealed.pack_id));
    let report = verify::pack(&root).unwrap();
    assert!(report.is_whole(), "{:?}", report.broken);
    assert_eq!(report.seal_digest, Some(sealed.seal_digest));
    let facts_ref = sealed.facts_ref.unwrap();
    assert_eq!(facts_ref, format!("sr/run_facts_view/{}.1.json", run(1).simple()));
    assert!(fixture.path(&format!("sr/run_plan/{}.1.json", run(1).simple())).is_file());
    assert_eq!(status_of(&fixture, 1), json!({"state": "READY", "reason_codes": []}));
    assert!(fixture.path(&format!("sr/run_record/{}.1.jsonl", run(1).simple())).is_file());
    assert_eq!(check(&gate.objects, &gate.rules, &facts_ref, NOW).await.status, Status::Ok);
}

#[tokio::test]
async fn a_receipt_wears_out_where_the_profile_says_so() {
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let mut gate = fixture.gate(&db).await;
    gate.rules.max_receipt_age = Some(Duration::DAY);
    let (sealed, _) = seal(&gate, fixture.passed(1), NOW + Duration::HOUR).await.unwrap();
    assert_eq!(sealed.check.unwrap().status, Status::Ok);
    let facts_ref = sealed.facts_ref.unwrap();
    let (objects, rules) = (&gate.objects, &gate.rules);
    assert_eq!(check(objects, rules, &facts_ref, NOW + Duration::DAY).await.status, Status::Ok);
    let late = check(objects, rules, &facts_ref, NOW + 2 * Duration::DAY).await;
    assert_eq!((late.exit(false), late.reason_codes), (1, vec![Reason::GateReceiptStale]));

    let (late, _) = seal(&gate, fixture.passed(2), NOW + 2 * Duration::DAY).await.unwrap();
    let check = late.check.unwrap();
    assert_eq!(check.status, Status::Fail);
    assert_eq!(check.reasons, ["GATE_RECEIPT_STALE"]);
    // No PASS, no read: who follows the run's status goes no further.
    let quarantined = json!({"state": "QUARANTINED", "reason_codes": ["GATE_RECEIPT_STALE"]});
    assert_eq!(status_of(&fixture, 2), quarantined);
}

/// What a run's status says of the check.
fn status_of(fixture: &Fixture, number: u128) -> Value {
    let path = format!("sr/run_status/{}.1.json", run(number).simple());
    let status: Value = serde_json::from_slice(&fs::read(fixture.path(&path)).unwrap()).unwrap();
    json!({"state": status["state"], "reason_codes": status["reason_codes"]})
}

#[tokio::test]
async fn a_second_call_answers_the_same_seal_and_writes_nothing() {
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let gate = fixture.gate(&db).await;
    let (first, _) = seal(&gate, fixture.passed(1), NOW).await.unwrap();
    fs::remove_dir_all(fixture.path("staging")).unwrap();

    let again = Draft { plan: "{\"other\":1}".into(), ..fixture.passed(1) };
    let later = NOW.replace_year(2030).unwrap();
    let (second, existed) = seal(&gate, again, later).await.unwrap();

    assert!(existed);
    assert_eq!(second, first);
}

#[tokio::test]
async fn a_failed_run_gets_a_pack_that_is_kept_but_never_read() {
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let gate = fixture.gate(&db).await;
    let draft = Draft { shipping: "".into(), plan: "".into(), ..fixture.failed(1) };

    let (sealed, _) = seal(&gate, draft, NOW).await.unwrap();

    assert_eq!(sealed.status, SealStatus::Failed);
    assert_eq!((sealed.facts_ref, sealed.check), (None, None));
    let root = fixture.path(&format!("packs/{}", sealed.pack_id));
    assert!(verify::pack(&root).unwrap().is_whole());
    assert!(!root.join("outputs").exists() && !fixture.path("sr").exists());
}

/// What each draft is refused with, and that nothing of it is written.
async fn refused(fixture: &Fixture, draft: Draft) -> Problem {
    let db = testkit::postgres().await;
    let gate = fixture.gate(&db).await;
    let error = seal(&gate, draft, NOW).await.unwrap_err();
    assert!(
        !fixture.path("packs").exists()
            || fs::read_dir(fixture.path("packs")).unwrap().next().is_none()
            || !any_seal(fixture),
        "{error} left a seal"
    );
    error.problem()
}

fn any_seal(fixture: &Fixture) -> bool {
    let packs = fs::read_dir(fixture.path("packs")).unwrap();
    packs.flatten().any(|pack| pack.path().join("_SEALED.json").exists())
}

#[tokio::test]
async fn a_statement_by_another_key_is_refused() {
    let fixture = Fixture::new();
    let other = SigningKey::from_bytes(&[8; 32]);
    let draft =
        Draft { statement: fixture.sign(with_outputs(&fixture), &other), ..fixture.passed(1) };
    assert_eq!(refused(&fixture, draft).await, Problem::StatementInvalid);
}

#[tokio::test]
async fn a_statement_of_another_run_attempt_or_workflow_is_refused() {
    let fixture = Fixture::new();
    for draft in [
        Draft { run: run(2), ..fixture.passed(1) },
        Draft { attempt: 2, ..fixture.passed(1) },
        Draft { workflow_id: "other".to_owned(), ..fixture.passed(1) },
    ] {
        assert_eq!(refused(&fixture, draft).await, Problem::StatementInvalid);
    }
}

#[tokio::test]
async fn a_verdict_of_another_module_or_a_statement_of_another_kind_is_refused() {
    let fixture = Fixture::new();
    let other = Shipping { module_digest: Digest::of(b"other"), ..shipping() };
    let passed = fixture.passed(1);
    for draft in [
        Draft { shipping: fixture.ship(other), ..passed.clone() },
        Draft { shipping: passed.statement.clone(), ..passed.clone() },
        Draft { statement: passed.shipping.clone(), ..passed.clone() },
    ] {
        assert_eq!(refused(&fixture, draft).await, Problem::StatementInvalid);
    }
    let without = Draft { shipping: "".into(), ..passed };
    assert_eq!(refused(&fixture, without).await, Problem::InvalidRequest);
}

#[tokio::test]
async fn staged_bytes_that_are_not_the_statements_are_never_sealed() {
    for tamper in [
        |fixture: &Fixture| fixture.write(&staged(run(1), "report.json"), "{\"rows\":4}"),
        |fixture: &Fixture| fixture.write(&staged(run(1), "report.json"), "{\"rows\":3}and more"),
        |fixture: &Fixture| fs::remove_file(fixture.path(&staged(run(1), "report.json"))).unwrap(),
        |fixture: &Fixture| {
            let path = fixture.path(&staged(run(1), "report.json"));
            fixture.write("elsewhere", fs::read(&path).unwrap());
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(fixture.path("elsewhere"), path).unwrap();
        },
    ] {
        let fixture = Fixture::new();
        let draft = fixture.passed(1);
        tamper(&fixture);
        assert_eq!(refused(&fixture, draft).await, Problem::DigestMismatch);
    }
}

#[tokio::test]
async fn an_attempt_is_not_sealed_twice_with_different_statements() {
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let gate = fixture.gate(&db).await;
    let (first, _) = seal(&gate, fixture.passed(1), NOW).await.unwrap();

    let error = seal(&gate, fixture.failed(1), NOW).await.unwrap_err();

    assert_eq!(error.problem(), Problem::SealMismatch);
    let (still, _) = seal(&gate, fixture.passed(1), NOW).await.unwrap();
    assert_eq!(still, first);
    assert_eq!(fs::read_dir(fixture.path("packs")).unwrap().count(), 1);
}

#[tokio::test]
async fn two_calls_at_once_end_in_one_seal_and_one_event() {
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let (one, two) = (fixture.gate(&db).await, fixture.gate(&db).await);

    let (a, b) =
        tokio::join!(seal(&one, fixture.passed(1), NOW), seal(&two, fixture.passed(1), NOW));

    assert_eq!(a.unwrap().0.seal_digest, b.unwrap().0.seal_digest);
    let events: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&db.pool).await.unwrap();
    assert_eq!(events, 1);
}

fn with_outputs(fixture: &Fixture) -> Execution {
    let draft = fixture.passed(1);
    let (statement, _) =
        wire::statement::ExecutionStatement::open(&draft.statement, &[fixture.key.verifying_key()])
            .unwrap();
    Execution { outputs: statement.into_predicate().outputs, ..execution(run(1)) }
}
