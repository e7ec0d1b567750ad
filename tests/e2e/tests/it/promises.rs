//! Promises of document 001, the runner's operations playbook, that take a whole Lumio: each in a
//! test that is named after it. Where the others are shown says `docs/requirements-map.md`.

use e2e::{Stack, free_port, repository};
use serde_json::json;

use crate::crashes::wait_for;

/// Rows of executions that module-gate has begun.
const BEGUN: &str = "SELECT count(*) FROM executions WHERE run_id = $1";

/// Longer than the command takes that comes meanwhile, on a busy machine too.
const MEANWHILE_MS: u32 = 8_000;

#[tokio::test(flavor = "multi_thread")]
async fn outstanding_runs_will_finalize_after_a_revoke_and_new_ones_fail() {
    let stack = Stack::start().await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let before = stack.alice_balance().unwrap();
    let outstanding = json!({ "deed": "wait", "ms": MEANWHILE_MS });
    let outstanding = stack.ask(agent, &outstanding).await.unwrap();
    wait_for(&stack, 2, &outstanding, BEGUN).await;
    let agent_text = agent.to_string();
    let revoke = ["grant", "revoke", "--as", "alice", "--runner", "runner", "--agent", &agent_text];
    stack.lumio(&revoke).unwrap();
    let run = stack.run(&outstanding).await.unwrap();
    assert_eq!(run["status"], "running", "it has ended before the grant did: {run:#}");

    let run = stack.ended(&outstanding).await.unwrap();
    assert_eq!(
        (&run["status"], &run["escrow"]),
        (&json!("finalized"), &json!("settled")),
        "{run:#}\n{}",
        stack.logs()
    );
    let charge: i128 = run["receipt"]["actualCharge"].as_str().unwrap().parse().unwrap();
    assert!(charge > 0, "{run:#}");
    assert_eq!(stack.alice_balance().unwrap(), (before.0 - charge, 0));

    let new = stack.ask(agent, &json!({ "deed": "none" })).await.unwrap();
    let run = stack.ended(&new).await.unwrap();
    assert_eq!(run["errorCode"], "PREFLIGHT_UNAUTHORIZED_RUNNER", "{run:#}\n{}", stack.logs());
    assert_eq!((&run["status"], &run["escrow"]), (&json!("failed"), &json!("none")), "{run:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_removed_from_the_registry_is_stopped_while_its_run_is_open() {
    let mut stack = Stack::start().await.unwrap();
    stack.runner = None;
    let port = free_port().unwrap().to_string();
    stack.start_runner(&[("OTEL_EXPORTER_PROMETHEUS_PORT", &port)]).await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let before = stack.alice_balance().unwrap();
    let id = stack.ask(agent, &json!({ "deed": "wait", "ms": MEANWHILE_MS })).await.unwrap();
    wait_for(&stack, 2, &id, BEGUN).await;
    let agent_text = agent.to_string();
    let remove = ["agent", "remove-runner", &agent_text, "--as", "developer", "--runner", "runner"];
    stack.lumio(&remove).unwrap();
    let run = stack.run(&id).await.unwrap();
    assert_eq!(run["status"], "running", "it has ended before its runner was removed: {run:#}");

    // It was executed, and cannot be charged any more: everything goes back.
    let run = stack.ended(&id).await.unwrap();
    assert_eq!(run["errorCode"], "SETTLEMENT_REFUSED", "{run:#}\n{}", stack.logs());
    assert!(run["error"].as_str().unwrap().contains("UnauthorizedRunner"), "{run:#}");
    assert_eq!((&run["status"], &run["escrow"]), (&json!("failed"), &json!("returned")));
    assert_eq!(stack.alice_balance().unwrap(), before);
    let text = "SELECT count(*) FROM calls WHERE kind = 'void' AND state = 'done'";
    let voided: i64 = sqlx::query_scalar(text).fetch_one(&stack.databases[0].pool).await.unwrap();
    assert_eq!(voided, 1);

    // The operator bears what it cost, and sees that.
    let url = format!("http://127.0.0.1:{port}/metrics");
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    let mut lines = metrics.lines();
    let counted = lines.find(|line| line.starts_with("lumio_runner_delistings_total"));
    assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{counted:?}");
}
