//! Modules that run for long do not delay other runs.

use e2e::{Process, Stack, repository};
use serde_json::json;

use crate::crashes::wait_for;

/// Longer than it takes to open, execute and settle the other runs, on a busy machine too.
const SLOW_MS: u32 = 30_000;

/// How many modules run at one time: all but one of the places are for slow ones.
const AT_ONE_TIME: &str = "3";

const BEGUN: &str = "SELECT count(*) FROM executions WHERE run_id = $1";

/// The stack, with this many modules at one time in runner and module-gate.
async fn started() -> Stack {
    let mut stack = Stack::start().await.unwrap();
    (stack.runner, stack.module_gate) = (None, None);
    let mut variables = stack.module_gate_variables();
    variables.insert("MODULE_GATE_CONCURRENCY".to_owned(), AT_ONE_TIME.to_owned());
    let port = variables["MODULE_GATE_BIND"].rsplit(':').next().unwrap().parse().unwrap();
    let gate = Process::start("module-gate", "module-gate", &["serve"], &variables, stack.folder());
    stack.module_gate = Some(gate.unwrap().answering(port).await.unwrap());
    stack.start_runner(&[("RUNNER_EXECUTIONS", AT_ONE_TIME)]).await.unwrap();
    stack
}

#[tokio::test(flavor = "multi_thread")]
async fn other_runs_are_opened_and_settled_while_slow_modules_run() {
    let stack = started().await;
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let mut slow = Vec::new();
    for number in 1..=2 {
        let input = json!({ "deed": "wait", "ms": SLOW_MS, "number": number });
        let mut body = stack.body(agent, "input", &input).unwrap();
        body["budgets"]["runtimeMs"] = json!(3 * SLOW_MS);
        let (status, run) = stack.post("/runs", &body).await.unwrap();
        assert_eq!(status, 202, "{run:#}");
        slow.push(run["id"].as_str().unwrap().to_owned());
    }
    for id in &slow {
        wait_for(&stack, 2, id, BEGUN).await;
    }

    let mut quick = Vec::new();
    for number in 1..=3 {
        let input = json!({ "deed": "none", "number": number });
        quick.push(stack.ask(agent, &input).await.unwrap());
    }
    for id in &quick {
        let run = stack.ended(id).await.unwrap();
        assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
    }
    for id in &slow {
        let run = stack.run(id).await.unwrap();
        assert_eq!(run["phase"], "executing", "it was not slow enough: {run:#}");
    }

    for id in &slow {
        let run = stack.ended(id).await.unwrap();
        assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
        let runtime = run["usage"]["runtimeMs"].as_u64().unwrap();
        assert!(runtime >= u64::from(SLOW_MS), "{run:#}");
    }
    stack.account().await.unwrap();
}
