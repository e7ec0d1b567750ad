//! Runs that are called off or given up on their way to a result: why is named, and the escrow of
//! those that were opened goes back.

use serde_json::Value;
use soroban_localnet::Fault;
use stellar::vault::Lifecycle;
use testkit::eventually;

use crate::crashing::{dead_at, gates_at, spawn};
use crate::fixture::{DEPOSIT, Fixture};
use crate::reconciling::INTO_AN_OPERATORS_HANDS;
use crate::retention::{command, said};

/// The run was opened once, and voided once for this reason; nothing was charged.
async fn is_voided(fixture: &Fixture, run: &Value, reason: u32) {
    assert_eq!(run["escrow"], "returned", "{run:#}");
    let (record, _) = fixture.record(run).await.record.unwrap();
    assert_eq!(record.lifecycle, Lifecycle::Voided(reason));
    let id = run["id"].as_str().unwrap();
    let done = (fixture.succeeded(id, "open").await, fixture.succeeded(id, "void").await);
    assert_eq!(done, (1, 1));
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts, account.reserved), (DEPOSIT, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_called_off_while_its_opening_is_in_the_air_is_voided_once() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    fixture.localnet.fault(Fault::Freeze(true));
    let id = runner.gateway.accepted(&fixture.body()).await;
    let text = "SELECT count(*) FROM chain_transactions WHERE state IN ('sent', 'unknown')";
    eventually(|| async {
        let sent: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
        sent == 1
    })
    .await;
    let answer = runner.gateway.post(&format!("/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!(answer.status(), 200);
    // What becomes of the opening is not known yet.
    assert_eq!(answer.json::<Value>().await.unwrap()["status"], "opening");

    fixture.localnet.fault(Fault::Freeze(false));
    let run = runner.gateway.ended(&id, "cancelled").await;
    assert_eq!(run["errorCode"], "CANCELLED");
    is_voided(&fixture, &run, 1).await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_executor_stays_away_is_given_back_before_its_deadline() {
    let fixture = Fixture::new().await;
    let (port, gateway, id) = dead_at(&fixture, "open.after_result", &[]).await;
    // Long enough that what is left when it gives up does not depend on the machine.
    let own = [("RUNNER_PORT", port.as_str()), ("RUNNER_DEADLINE_MARGIN_SECS", "600")];
    let away = [own.as_slice(), gates_at("http://127.0.0.1:9").as_slice()].concat();
    let _again = spawn(&fixture, &away);
    gateway.up().await;
    let waits = |run: &Value| run["phase"] == "executing" && run["waitingFor"].is_string();
    gateway.until(&id, waits).await;

    fixture.localnet.advance_time(3_100);
    let run = gateway.ended(&id, "failed").await;
    assert_eq!(run["errorCode"], "EXECUTION_UNAVAILABLE", "{run:#}");
    assert!(run["error"].as_str().unwrap().contains("before the deadline"), "{run:#}");
    is_voided(&fixture, &run, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_opened_under_terms_that_are_not_known_any_more_is_given_back() {
    let fixture = Fixture::new().await;
    let (port, gateway, id) = dead_at(&fixture, "open.after_result", &[]).await;
    // The vault has the digest of the terms, and no terms that are known here have it.
    let text = "UPDATE attempts SET terms = jsonb_set(terms, '{request_hash}', \
                to_jsonb(repeat('ab', 32)))";
    assert_eq!(fixture.sql(text).await, 1);

    let _again = spawn(&fixture, &[("RUNNER_PORT", &port)]);
    gateway.up().await;
    let run = gateway.ended(&id, "failed").await;
    assert_eq!(run["errorCode"], "TERMS_UNKNOWN", "{run:#}");
    is_voided(&fixture, &run, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_proven_never_to_have_been_opened_ends_and_nothing_more_is_signed_for_it() {
    let fixture = Fixture::new().await;
    let (_, _, id) = dead_at(&fixture, "open.after_persist", &[]).await;
    fixture.sql(INTO_AN_OPERATORS_HANDS).await;
    // The channel is another's, so that no process sends what was stored.
    let busy = "UPDATE channels SET lease_until = now() + interval '1 hour', \
                lease_token = lease_token + 1";
    assert_eq!(fixture.sql(busy).await, 1);
    let runner = fixture.start(&[]).await;
    fixture.localnet.advance_time(120);
    let text = "SELECT c.read_until > to_timestamp(t.max_time) \
                FROM contract_cursors c, chain_transactions t";
    eventually(|| async {
        let query = sqlx::query_scalar::<_, bool>(text);
        query.fetch_optional(&fixture.db.pool).await.unwrap() == Some(true)
    })
    .await;
    let resumed = command(&fixture, &["runs", "resume", &id]);
    assert!(resumed.status.success() && said(&resumed).contains("never"), "{}", said(&resumed));
    let run = runner.gateway.ended(&id, "failed").await;
    assert_eq!((&run["errorCode"], &run["escrow"]), (&"OPEN_NOT_DONE".into(), &"none".into()));

    // The transaction ends after the run, and its call is not wanted again: it would hold up those
    // of others that share a transaction with it.
    assert_eq!(fixture.sql("UPDATE channels SET lease_until = NULL").await, 1);
    let next = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.ended(&next, "failed").await;
    let text = "SELECT state FROM calls WHERE run_id = $1";
    let uuid: uuid::Uuid = id.parse().unwrap();
    let states: Vec<String> =
        sqlx::query_scalar(text).bind(uuid).fetch_all(&fixture.db.pool).await.unwrap();
    assert_eq!(states, ["withdrawn"]);
    assert_eq!(fixture.succeeded(&id, "open").await, 0);
    runner.stop().await;
}
