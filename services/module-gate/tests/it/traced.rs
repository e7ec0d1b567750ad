//! What the service logs about a call is in the trace of its caller, whichever task or thread says
//! it.

use std::time::Duration;

use chassis::telemetry;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use tracing::{Instrument as _, Span, info_span};
use wire::pb::module::v1::RunOraclesRequest;

use crate::fixture::{Fixture, Running, request, test_module};
use crate::restart::spawn_with_log;

/// Ends a test that would wait for a line which never comes.
const LIMIT: Duration = Duration::from_secs(180);

/// A span to call in, and its trace.
fn caller() -> (Span, String) {
    let span = info_span!("caller");
    let place = telemetry::traceparent_of(&span).unwrap();
    let trace = telemetry::trace_id(&place).unwrap().to_owned();
    (span, trace)
}

/// The next line with such a message.
async fn next(log: &mut UnboundedReceiver<String>, says: impl Fn(&str) -> bool) -> Value {
    loop {
        let line = timeout(LIMIT, log.recv()).await.unwrap().unwrap();
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if line["message"].as_str().is_some_and(&says) {
            return line;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_of_a_call_is_in_the_trace_of_its_caller() {
    telemetry::init("module-gate-test", "error").unwrap();
    let fixture = Fixture::new().await;
    let (mut child, address, mut log) = spawn_with_log(&fixture);
    let gate = Running::at(address);

    // The thread that judges warns of a module of which no case leaves an output.
    let module = fixture.publish(&test_module("nondeterministic"));
    let (span, trace) = caller();
    gate.ship(module).instrument(span).await.unwrap();
    let warned = next(&mut log, |text| text.starts_with("no oracle case left a file")).await;
    assert_eq!(warned["module.id"], "fixture.nondeterministic");
    assert_eq!(warned["trace_id"], trace, "{warned}");

    // The task that judges, which goes on when its caller does not.
    let asked = RunOraclesRequest {
        manifest_hash: module.to_string(),
        variations: "none".to_owned(),
        fresh: false,
        resume: None,
    };
    let (span, trace) = caller();
    let steps = gate.calls.clone().run_oracles(asked).instrument(span).await;
    let mut steps = steps.unwrap().into_inner();
    while steps.message().await.unwrap().is_some() {}
    let judged = next(&mut log, |text| text == "judged").await;
    assert_eq!(judged["trace_id"], trace, "{judged}");

    // The task that renews the lease of an execution, which does not find the table any more.
    let asked = request(fixture.publish(&test_module("slow")), &json!({ "sleep_ms": 25_000 }));
    let (span, trace) = caller();
    let events = gate.begin(&asked).instrument(span).await;
    let hide = "ALTER TABLE executions RENAME TO hidden_executions";
    sqlx::query(hide).execute(&fixture.db.pool).await.unwrap();
    let missed = next(&mut log, |text| text.starts_with("could not renew the lease")).await;
    assert_eq!((&missed["run.id"], &missed["trace_id"]), (&json!(asked.run_id), &json!(trace)));
    assert!(missed["span_id"].is_string(), "{missed}");
    let show = "ALTER TABLE hidden_executions RENAME TO executions";
    sqlx::query(show).execute(&fixture.db.pool).await.unwrap();

    drop(events);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    child.wait().unwrap();
}
