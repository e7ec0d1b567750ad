//! What cannot succeed fails at once, by its name, and nothing is opened.

use serde_json::{Value, json};
use stellar::Keypair;
use stellar::vault::Policy;

use crate::crashing::gates_at;
use crate::fixture::{Fixture, Gateway, PRICE};

async fn fails(fixture: &Fixture, gateway: &Gateway, change: Value, code: &str) {
    let mut body = fixture.body();
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    let id = gateway.accepted(&body).await;
    let run = gateway.ended(&id, "failed").await;
    assert_eq!(run["errorCode"], code, "{run:#}");
    assert_eq!((run["escrow"].as_str(), &run["runId"]), (Some("none"), &Value::Null));
    assert_eq!(fixture.succeeded(&id, "open").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_is_named_and_costs_nothing() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let gateway = &runner.gateway;
    let refused = [
        (json!({ "agentId": 9_999 }), "PREFLIGHT_AGENT_NOT_FOUND"),
        (json!({ "rateVersion": 7 }), "PREFLIGHT_INVALID_RATE_VERSION"),
        (json!({ "user": fixture.stranger() }), "PREFLIGHT_UNAUTHORIZED_RUNNER"),
        (json!({ "budgets": {} }), "PREFLIGHT_EMPTY_BUDGET"),
        (json!({ "budgets": { "llmIn": 1_000_000 } }), "PREFLIGHT_INSUFFICIENT_BALANCE"),
    ];
    for (change, code) in refused {
        fails(&fixture, gateway, change, code).await;
    }
    fixture.set_policy(Policy { per_run_cap: PRICE - 1, ..Policy::default() }).await;
    fails(&fixture, gateway, json!({}), "PREFLIGHT_PER_RUN_CAP_EXCEEDED").await;
    fixture.set_policy(Policy { daily_cap: PRICE - 1, ..Policy::default() }).await;
    fails(&fixture, gateway, json!({}), "PREFLIGHT_DAILY_CAP_EXCEEDED").await;
    fixture.set_policy(Policy { paused: true, ..Policy::default() }).await;
    fails(&fixture, gateway, json!({}), "PREFLIGHT_POLICY_PAUSED").await;
    fixture.set_policy(Policy::default()).await;
    let (user, runner_key) = (fixture.user.address(), fixture.runner.address());
    let revoke = fixture.vault.revoke_runner(user, runner_key, fixture.agent_id);
    fixture.submit(&fixture.user, revoke.into()).await;
    fails(&fixture, gateway, json!({}), "PREFLIGHT_UNAUTHORIZED_RUNNER").await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_a_gate_that_is_away_and_can_be_called_off() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&gates_at("http://127.0.0.1:9")).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    let waits =
        |run: &Value| run["waitingFor"].as_str().is_some_and(|text| text.contains("module-gate"));
    let run = runner.gateway.until(&id, waits).await;
    assert_eq!(run["status"], "pending");
    // Until its first probe has been answered, a check counts as not ok.
    testkit::eventually(|| async {
        let health: Value = runner.gateway.get("/health").await.json().await.unwrap();
        health["ok"] == json!(true) && health["degraded"] == json!(true)
    })
    .await;

    let cancelled = runner.gateway.post(&format!("/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!(cancelled.status(), 200);
    let run = runner.gateway.ended(&id, "cancelled").await;
    assert_eq!(
        (run["errorCode"].as_str(), run["escrow"].as_str()),
        (Some("CANCELLED"), Some("none"))
    );
    let again = runner.gateway.post(&format!("/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!(again.status(), 200, "a cancel that is repeated answers the same run");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_the_registry_does_not_list_opens_nothing() {
    let fixture = Fixture::new().await;
    let stranger = Keypair::from_seed(&[55; 32]);
    let runner = fixture.start(&[("RUNNER_SECRET", &stranger.secret())]).await;
    fails(&fixture, &runner.gateway, json!({}), "PREFLIGHT_UNAUTHORIZED_RUNNER").await;
    runner.stop().await;
}
