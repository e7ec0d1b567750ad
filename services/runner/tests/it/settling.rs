//! Money moves exactly once.

use serde_json::Value;
use soroban_localnet::Fault;
use stellar::vault::{GrantLimits, Lifecycle};
use wire::event::Family;

use crate::fixture::{DEPOSIT, Fixture, PRICE};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_an_executor_is_settled_with_zero_and_says_so() {
    let fixture = Fixture::new().await;
    let mut heard = fixture.bus.listen_to(Family::Run).await;
    let runner = fixture.start(&[]).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    let run = runner.gateway.ended(&id, "failed").await;

    assert_eq!(run["errorCode"], "EXECUTOR_MISSING");
    assert_eq!((run["escrow"].as_str(), run["attempt"].as_u64()), (Some("returned"), Some(1)));
    assert_eq!(run["receipt"]["actualCharge"], "0");
    assert_eq!(run["receipt"]["refund"], PRICE.to_string());
    assert_eq!(run["receipt"]["developer"], fixture.developer.address().to_string());
    assert_eq!(run["usage"]["runtimeMs"], 0);
    assert!(
        run["transactionHashes"]["open"].is_string()
            && run["transactionHashes"]["finalize"].is_string()
    );
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts), (DEPOSIT, 1));
    let (record, _) = fixture.record(&run).await.record.unwrap();
    let Lifecycle::Finalized { charge: 0, output_hash, .. } = record.lifecycle else {
        panic!("{record:?}")
    };
    assert_eq!(run["outputHash"], output_hash.to_string());

    let events = heard.until(|event| event.r#type == "dev.lumio.run.failed.v1").await;
    let names: Vec<_> =
        events.iter().map(|event| event.r#type.split('.').nth(3).unwrap()).collect();
    assert_eq!(names, ["queued", "opening", "running", "finalizing", "failed"]);
    for (event, seq) in events.iter().zip(1..) {
        assert_eq!(event.id, format!("{id}:{seq}"));
        let trace = event.traceparent.as_deref().unwrap().split('-').nth(1).unwrap();
        assert_eq!(run["traceId"], trace);
    }
    assert_eq!(events[4].data["receipt"]["refund"], PRICE.to_string());
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fee_needs_the_users_leave_and_an_execution_that_was_signed() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[("RUNNER_FEE_STROOPS", "500")]).await;
    let refused = runner.gateway.accepted(&fixture.body()).await;
    let run = runner.gateway.ended(&refused, "failed").await;
    assert_eq!(run["errorCode"], "PREFLIGHT_RUNNER_FEE_EXCEEDED");
    assert_eq!(fixture.account().await.balance, DEPOSIT);

    let (user, key) = (fixture.user.address(), fixture.runner.address());
    let limits = GrantLimits { total_cap: PRICE + 500, max_runner_fee: 500, per_run_cap: 0 };
    let allow = fixture.vault.set_grant_limits(user, key, fixture.agent_id, limits).unwrap();
    fixture.submit(&fixture.user, allow.into()).await;
    let asked = runner.gateway.accepted(&fixture.body()).await;
    let run = runner.gateway.ended(&asked, "failed").await;
    assert_eq!(run["errorCode"], "EXECUTOR_MISSING");

    // Nothing was executed, so no attester signed, and the vault gives the fee back as well (V16).
    let receipt = &run["receipt"];
    assert_eq!((&receipt["actualCharge"], &receipt["runnerFee"]), (&"0".into(), &"0".into()));
    assert_eq!(receipt["refund"], (PRICE + 500).to_string());
    assert_eq!(run["escrow"], "returned");
    assert_eq!(fixture.account().await.balance, DEPOSIT);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runners_open_and_settle_each_run_once() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.start(&[]).await, fixture.start(&[]).await);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(one.gateway.accepted(&fixture.body()).await);
        ids.push(other.gateway.accepted(&fixture.body()).await);
    }
    for id in &ids {
        one.gateway.ended(id, "failed").await;
        assert_eq!(
            (fixture.succeeded(id, "open").await, fixture.succeeded(id, "finalize").await),
            (1, 1)
        );
    }
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts, account.reserved), (DEPOSIT, 6, 0));
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_or_a_request_lost_on_the_way_costs_nothing() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    for fault in
        [Fault::DropSendResponses(1), Fault::LoseSendRequests(1), Fault::DropSendResponses(2)]
    {
        fixture.localnet.fault(fault);
        let id = runner.gateway.accepted(&fixture.body()).await;
        runner.gateway.ended(&id, "failed").await;
        assert_eq!(
            (fixture.succeeded(&id, "open").await, fixture.succeeded(&id, "finalize").await),
            (1, 1)
        );
    }
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts, account.reserved), (DEPOSIT, 3, 0));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_or_behind_is_waited_for() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    fixture.localnet.fault(Fault::Unavailable(5));
    let id = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.until(&id, |run| run["status"] != "pending").await;
    fixture.localnet.fault(Fault::Lag(20));
    let stays = runner.gateway.until(&id, |run| run["phase"] != "queued").await;
    assert_ne!(stays["status"], "pending");
    fixture.localnet.fault(Fault::Lag(0));
    runner.gateway.ended(&id, "failed").await;
    assert_eq!(
        (fixture.succeeded(&id, "open").await, fixture.succeeded(&id, "finalize").await),
        (1, 1)
    );
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn escrow_may_be_left_open_and_is_settled_before_a_retry() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[("RUNNER_FINALIZE_ON_ERROR", "false")]).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    let run = runner.gateway.until(&id, |run| run["phase"] == "escrow_open").await;
    assert_eq!((run["status"].as_str(), run["escrow"].as_str()), (Some("failed"), Some("open")));
    assert_eq!(run["attempts"][0]["outcome"], "failed", "an attempt of a failed run does not run");
    assert_eq!(fixture.account().await.balance, DEPOSIT - PRICE);
    let summary: Value = runner.gateway.get("/summary").await.json().await.unwrap();
    assert_eq!(
        (&summary["status"]["stuck"], &summary["status"]["escrowsOpen"]),
        (&1.into(), &1.into())
    );

    let retried = runner.gateway.post(&format!("/runs/{id}/retry"), &Value::Null).await;
    assert_eq!(retried.status(), 200);
    let again =
        runner.gateway.until(&id, |run| run["attempt"] == 2 && run["phase"] == "escrow_open").await;
    assert_eq!((again["retries"].as_u64(), &again["receipt"]), (Some(1), &Value::Null));
    assert_ne!(again["runId"], run["runId"]);
    let (first, _) = fixture.record(&run).await.record.unwrap();
    assert!(matches!(first.lifecycle, Lifecycle::Finalized { charge: 0, .. }), "{first:?}");
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts), (DEPOSIT - PRICE, 1));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_run_is_reclaimed_after_its_deadline() {
    let fixture = Fixture::new().await;
    let more = [
        ("RUNNER_FINALIZE_ON_ERROR", "false"),
        ("RUNNER_DEADLINE_SECS", "700"),
        ("RUNNER_WALL_LIMIT_MS", "1000"),
    ];
    let runner = fixture.start(&more).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.until(&id, |run| run["phase"] == "escrow_open").await;
    fixture.localnet.advance_time(800);
    let run = runner.gateway.ended(&id, "failed").await;
    assert_eq!(
        (run["escrow"].as_str(), run["errorCode"].as_str()),
        (Some("returned"), Some("EXECUTOR_MISSING"))
    );
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts), (DEPOSIT, 0));
    assert_eq!(fixture.succeeded(&id, "reclaim").await, 1);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_retried_as_an_attempt_of_its_own() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    let first = runner.gateway.ended(&id, "failed").await;
    let retried = runner.gateway.post(&format!("/runs/{id}/retry"), &Value::Null).await;
    let retried: Value = retried.json().await.unwrap();
    assert_eq!(
        (retried["status"].as_str(), retried["attempt"].as_u64()),
        (Some("pending"), Some(2))
    );
    for left in ["receipt", "usage", "error", "errorCode", "runId", "outputHash"] {
        assert_eq!(retried[left], Value::Null, "{left} is left of the first attempt");
    }
    let second = runner.gateway.ended(&id, "failed").await;
    assert_ne!(second["runId"], first["runId"]);
    assert_eq!(fixture.account().await.receipts, 2);
    runner.stop().await;
}
