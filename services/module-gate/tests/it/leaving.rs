//! Callers that give up take nothing with them.

use std::time::Duration;

use tokio::time::timeout;
use wire::pb::module::v1::{GetExecutionRequest, GetVerdictRequest};

use crate::fixture::{Fixture, csv_profile, request, weather};

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_give_up_leave_no_transaction_open_and_an_attempt_is_executed_once() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let module = fixture.publish(&csv_profile());
    let asked = request(module, &weather());
    for turn in 0..60_u64 {
        // From at once to longer than an answer takes.
        let after = Duration::from_micros(turn * 401 % 20_000);
        let [mut executing, mut looking, mut judging] = std::array::from_fn(|_| gate.calls.clone());
        let execution = GetExecutionRequest { run_id: asked.run_id.clone(), attempt: 1 };
        let verdict = GetVerdictRequest { manifest_hash: module.to_string(), ..Default::default() };
        let calls = (
            timeout(after, executing.execute(asked.clone())),
            timeout(after, looking.get_execution(execution)),
            timeout(after, judging.get_verdict(verdict)),
        );
        let _ = tokio::join!(calls.0, calls.1, calls.2);
    }

    let statement = gate.execute(&asked).await.unwrap();
    assert_eq!(gate.execute(&asked).await.unwrap(), statement);
    fixture.db.has_no_open_transaction().await;
    gate.stop().await;
}
