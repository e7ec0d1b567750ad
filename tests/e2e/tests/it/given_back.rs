//! Runs that were opened and cannot be settled for what others did or failed to do: why is named,
//! and the whole escrow goes back.

use std::time::Duration;

use e2e::{Stack, repository};
use serde_json::{Value, json};
use stellar::Keypair;

const PATIENCE: Duration = Duration::from_secs(60);

/// The run has failed with this code, was voided, and cost nothing.
async fn is_given_back(stack: &Stack, run: &Value, code: &str, before: (i128, i128)) {
    assert_eq!(run["errorCode"], code, "{run:#}\n{}", stack.logs());
    assert_eq!((&run["status"], &run["escrow"]), (&json!("failed"), &json!("returned")));
    assert_eq!(stack.alice_balance().unwrap(), before);
    let text = "SELECT kind FROM calls WHERE state = 'done' ORDER BY id";
    let done: Vec<String> =
        sqlx::query_scalar(text).fetch_all(&stack.databases[0].pool).await.unwrap();
    assert_eq!(done, ["open", "void"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_outputs_nobody_seals_is_given_back_before_its_deadline() {
    let mut stack = Stack::start().await.unwrap();
    stack.runner = None;
    // Long enough that what is left when it gives up does not depend on the machine.
    stack.start_runner(&[("RUNNER_DEADLINE_MARGIN_SECS", "600")]).await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let before = stack.alice_balance().unwrap();
    stack.oracle_gate.take().unwrap().kill().unwrap();
    let id = stack.ask(agent, &json!({ "deed": "none" })).await.unwrap();
    testkit::eventually(|| async {
        stack.run(&id).await.is_ok_and(|run| run["phase"] == "sealing")
    })
    .await;

    stack.advance_ledger_time(3_100).await.unwrap();
    let run = stack.ended(&id).await.unwrap();
    is_given_back(&stack, &run, "SEAL_UNAVAILABLE", before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_agent_changed_its_attesters_while_it_was_opened_is_given_back() {
    let mut stack = Stack::start().await.unwrap();
    stack.runner = None;
    // The opening is signed, and sent only after the change: the vault pins what is there then.
    stack.start_runner(&[("RUNNER_CRASH_AT", "open.after_persist")]).await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let before = stack.alice_balance().unwrap();
    let id = stack.ask(agent, &json!({ "deed": "none" })).await.unwrap();
    let ended = stack.runner.as_mut().unwrap().ended(PATIENCE).await.unwrap();
    assert!(!ended.success(), "{}", stack.logs());
    stack.runner = None;
    let other = hex::encode(Keypair::generate().unwrap().address().as_bytes());
    let agent_text = agent.to_string();
    stack.lumio(&["agent", "set-attesters", &agent_text, "--as", "developer", &other]).unwrap();

    stack.start_runner(&[]).await.unwrap();
    let run = stack.ended(&id).await.unwrap();
    is_given_back(&stack, &run, "ATTESTER_CHANGED", before).await;
    let begun = "SELECT count(*) FROM executions";
    let begun: i64 = sqlx::query_scalar(begun).fetch_one(&stack.databases[2].pool).await.unwrap();
    assert_eq!(begun, 0, "what nobody pays for is not executed");
}
