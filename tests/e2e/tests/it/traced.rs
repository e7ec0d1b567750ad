//! What the services log about a run is in the run's trace.

use std::time::Duration;

use chassis::clock;
use e2e::{Stack, repository};
use serde_json::{Value, json};
use testkit::eventually;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The lines in which a service has named the run so far.
fn lines(stack: &Stack, service: &str, run: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(stack.folder().join(format!("{service}.log"))).unwrap();
    // The last line may be half written.
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let names_it = |line: &Value| {
        line["run.id"] == run || line["message"].as_str().is_some_and(|text| text.contains(run))
    };
    lines.filter(names_it).collect()
}

fn says(lines: &[Value], text: &str) -> bool {
    lines.iter().any(|line| line["message"].as_str().is_some_and(|said| said.contains(text)))
}

/// All of them are in the run's trace.
fn assert_traced(lines: &[Value], run: &Value) {
    for line in lines {
        assert_eq!(line["trace_id"], run["traceId"], "{line}");
        assert!(line["span_id"].is_string(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_that_names_a_run_is_in_its_trace() {
    let stack = Stack::start().await.unwrap();
    let agent =
        stack.publish_and_grant(&repository().join("examples/modules/csv-profile")).unwrap();

    let id = stack.ask(agent, &json!({ "csv": "a,b\n1,2\n" })).await.unwrap();
    let run = stack.ended(&id).await.unwrap();
    assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
    let of_runner = lines(&stack, "runner", &id);
    assert!(says(&of_runner, "is queued") && says(&of_runner, "is done"), "{of_runner:#?}");
    assert_traced(&of_runner, &run);
    let of_gate = lines(&stack, "module-gate", &id);
    assert!(says(&of_gate, "executed"), "{of_gate:#?}");
    assert_traced(&of_gate, &run);

    // No worker is at one that starts tomorrow: the reader of the contracts' events ends it.
    let mut body = stack.body(agent, "input", &json!({ "csv": "a,b\n1,2\n" })).unwrap();
    body["startAt"] = clock::rfc3339(clock::now() + DAY).into();
    let (status, run) = stack.post("/runs", &body).await.unwrap();
    assert_eq!(status, 202, "{run}");
    let id = run["id"].as_str().unwrap();
    let agent = agent.to_string();
    let revoke = ["grant", "revoke", "--as", "alice", "--runner", "runner", "--agent", &agent];
    stack.lumio(&revoke).unwrap();
    let run = stack.ended(id).await.unwrap();
    assert_eq!(run["status"], "failed", "{run:#}");
    eventually(|| async { says(&lines(&stack, "runner", id), "ends before it was opened") }).await;
    assert_traced(&lines(&stack, "runner", id), &run);
}
