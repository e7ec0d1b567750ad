//! Wherever a process dies, a run ends with one open, one execution, one seal, one settlement, one
//! receipt.

use std::time::Duration;

use e2e::{Process, Stack, binary, repository};
use serde_json::{Value, json};

/// Points that a run which goes well passes; the others need a run that is given up.
const ON_THE_WAY: [&str; 4] = ["open.", "execute.", "seal.", "finalize."];

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_killed_at_any_point_settles_once() {
    let mut stack = Stack::start().await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let on_the_way = |name: &String| ON_THE_WAY.iter().any(|prefix| name.starts_with(prefix));
    let points: Vec<_> = points().into_iter().filter(on_the_way).collect();
    assert!(points.len() > 10, "{points:?}");
    for (index, point) in points.iter().enumerate() {
        stack.runner = None;
        stack.start_runner(&[("RUNNER_CRASH_AT", point)]).await.unwrap();
        let id =
            stack.ask(agent, &json!({ "deed": "wait", "ms": 300, "point": point })).await.unwrap();
        let status = stack.runner.as_mut().unwrap().ended(Duration::from_secs(60)).await;
        assert!(!status.unwrap().success(), "{point}: the runner did not die\n{}", stack.logs());
        stack.runner = None;
        stack.start_runner(&[]).await.unwrap();
        assert_one_of_each(&stack, &id, index + 1, point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_killed_in_their_part_change_nothing() {
    let mut stack = Stack::start().await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();

    let id = stack.ask(agent, &json!({ "deed": "wait", "ms": 3000 })).await.unwrap();
    wait_for(&stack, 2, &id, "SELECT count(*) FROM executions WHERE run_id = $1").await;
    kill(&mut stack.module_gate);
    stack.start_module_gate().await.unwrap();
    assert_one_of_each(&stack, &id, 1, "module-gate killed while executing").await;

    kill(&mut stack.oracle_gate);
    let away = stack.ask(agent, &json!({ "deed": "none", "for": "oracle-gate" })).await.unwrap();
    wait_for(
        &stack,
        2,
        &away,
        "SELECT count(*) FROM executions WHERE run_id = $1 AND statement IS NOT NULL",
    )
    .await;
    stack.start_oracle_gate().await.unwrap();
    assert_one_of_each(&stack, &away, 2, "oracle-gate away when sealing").await;

    let sealing = stack.ask(agent, &json!({ "deed": "none", "for": "a seal" })).await.unwrap();
    wait_for(&stack, 1, &sealing, "SELECT count(*) FROM seals WHERE run_id = $1").await;
    kill(&mut stack.oracle_gate);
    stack.start_oracle_gate().await.unwrap();
    assert_one_of_each(&stack, &sealing, 3, "oracle-gate killed while sealing").await;
}

/// Every named point, as the runner itself lists them.
pub fn points() -> Vec<String> {
    let output =
        std::process::Command::new(binary("runner").unwrap()).arg("crash-points").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    names.map(ToOwned::to_owned).collect()
}

async fn assert_one_of_each(stack: &Stack, id: &str, runs: usize, point: &str) {
    let run = stack.ended(id).await.unwrap();
    assert_eq!(run["status"], "finalized", "{point}: {run:#}\n{}", stack.logs());
    assert_eq!(run["attempt"], 1, "{point}: no second attempt was needed");
    let shown: Value = serde_json::from_str(
        &stack.lumio(&["--output", "json", "balance", "show", "alice"]).unwrap(),
    )
    .unwrap();
    assert_eq!(shown["receipts"], runs, "{point}: the account has one receipt a run: {shown:#}");
    assert_eq!(shown["escrowed"], "0", "{point}: nothing stays in escrow");
    let count = async |database: usize, text: &'static str| -> i64 {
        sqlx::query_scalar(text)
            .bind(uuid::Uuid::parse_str(id).unwrap())
            .fetch_one(&stack.databases[database].pool)
            .await
            .unwrap()
    };
    assert_eq!(
        count(2, "SELECT count(*) FROM executions WHERE run_id = $1 AND statement IS NOT NULL")
            .await,
        1,
        "{point}: one execution counts"
    );
    assert_eq!(
        count(1, "SELECT count(*) FROM seals WHERE run_id = $1").await,
        1,
        "{point}: one seal"
    );
    if let Err(error) = stack.account().await {
        panic!("{point}: {error:#}");
    }
    let proof = stack.lumio_output(&["verify", id]).unwrap();
    assert!(proof.status.success(), "{point}: {}", String::from_utf8_lossy(&proof.stdout));
}

/// Waits until one of the services has a row of the run.
pub async fn wait_for(stack: &Stack, database: usize, id: &str, count: &'static str) {
    let pool = &stack.databases[database].pool;
    let run = uuid::Uuid::parse_str(id).unwrap();
    testkit::eventually(|| async {
        let found: i64 = sqlx::query_scalar(count).bind(run).fetch_one(pool).await.unwrap();
        found > 0
    })
    .await;
}

fn kill(process: &mut Option<Process>) {
    process.take().unwrap().kill().unwrap();
}
