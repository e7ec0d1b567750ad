//! Whatever the point at which the process dies, a restart ends in one open, one settlement, one
//! receipt.

use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use testkit::eventually;
use time::OffsetDateTime;

use crate::batching::queue;
use crate::fixture::{DEPOSIT, Fixture, Gateway};
use crate::retention::{command, said};

/// The points a run without an executor passes.
const PASSED: [&str; 10] = [
    "open.before_persist",
    "open.after_persist",
    "open.after_send",
    "open.after_land",
    "open.after_result",
    "finalize.before_persist",
    "finalize.after_persist",
    "finalize.after_send",
    "finalize.after_land",
    "finalize.after_result",
];

/// A process that does not outlive the test.
pub struct Process(pub Child);

impl Process {
    /// Waits for its end.
    pub async fn has_ended(&mut self) -> ExitStatus {
        eventually(|| {
            let ended = self.0.try_wait().unwrap();
            async move { ended }
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn spawn(fixture: &Fixture, more: &[(&str, &str)]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
    command.arg("serve").env_clear().envs(fixture.settings(more)).current_dir("/");
    Process(command.stderr(Stdio::null()).spawn().unwrap())
}

/// A process that died at `point` with one run accepted: its port, the gateway there, and the run.
pub async fn dead_at(
    fixture: &Fixture,
    point: &str,
    more: &[(&str, &str)],
) -> (String, Gateway, String) {
    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let settings = [("RUNNER_PORT", port.as_str()), ("RUNNER_CRASH_AT", point)];
    let mut process = spawn(fixture, &[&settings, more].concat());
    gateway.up().await;
    let id = gateway.accepted(&fixture.body()).await;
    process.has_ended().await;
    (port, gateway, id)
}

pub async fn free_port() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// The settings of gates at this address.
pub fn gates_at(url: &str) -> [(&str, &str); 4] {
    [
        ("RUNNER_MODULE_GATE_URL", url),
        ("RUNNER_MODULE_GATE_TOKEN", "0123456789abcdef"),
        ("RUNNER_ORACLE_GATE_URL", url),
        ("RUNNER_ORACLE_GATE_TOKEN", "0123456789abcdef"),
    ]
}

/// Gates that take connections and never say a word, so that a worker holds its run for long; and
/// their address.
pub async fn silent_gates() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// The token of the claim by which a worker holds the run, once one does.
pub async fn held(fixture: &Fixture, id: &str) -> i64 {
    let text = "SELECT lease_token FROM runs WHERE id = $1 AND lease_until > now()";
    let uuid: uuid::Uuid = id.parse().unwrap();
    eventually(|| async {
        let query = sqlx::query_scalar::<_, i64>(text).bind(uuid);
        query.fetch_optional(&fixture.db.pool).await.unwrap()
    })
    .await
}

async fn dies_and_comes_back(fixture: &Fixture, point: &str) {
    let (port, gateway, id) = dead_at(fixture, point, &[]).await;
    let _again = spawn(fixture, &[("RUNNER_PORT", &port)]);
    gateway.up().await;
    let run: Value = gateway.ended(&id, "failed").await;
    assert_eq!(
        (run["errorCode"].as_str(), run["escrow"].as_str()),
        (Some("EXECUTOR_MISSING"), Some("returned"))
    );
    let landed = (fixture.succeeded(&id, "open").await, fixture.succeeded(&id, "finalize").await);
    assert_eq!(landed, (1, 1), "{point}");
    // Postgres, vault, node, balances and stream say the same; events may still be on their way.
    eventually(|| async {
        let compared = command(fixture, &["account"]);
        assert_ne!(compared.status.code(), Some(2), "{point}: {}", said(&compared));
        compared.status.success()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_at_any_point_ends_in_one_receipt() {
    let fixture = Fixture::new().await;
    for (point, receipts) in PASSED.into_iter().zip(1..) {
        dies_and_comes_back(&fixture, point).await;
        let account = fixture.account().await;
        assert_eq!(
            (account.balance, account.receipts, account.reserved),
            (DEPOSIT, receipts, 0),
            "{point}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_the_node_has_forgotten_is_not_taken_for_one_that_never_landed() {
    // Enough ledgers that the settlement is sent before its ledger is forgotten, on a busy machine
    // too.
    let fixture = Fixture::with(|network| network.retention(600)).await;
    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let crash_at = ("RUNNER_CRASH_AT", "finalize.after_send");
    let mut process = spawn(&fixture, &[("RUNNER_PORT", &port), crash_at]);
    gateway.up().await;
    let id = gateway.accepted(&fixture.body()).await;
    process.has_ended().await;
    fixture.localnet.close_ledgers(900).await.unwrap();

    let _again = spawn(&fixture, &[("RUNNER_PORT", &port)]);
    gateway.up().await;
    let run = gateway.ended(&id, "failed").await;
    assert_eq!(run["escrow"], "returned", "{run}");
    let text = "SELECT state FROM chain_transactions WHERE kind = 'finalize' ORDER BY id LIMIT 1";
    let state: String = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
    assert_eq!(state, "forgotten");
    // The vault settled it once.
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts, account.reserved), (DEPOSIT, 1, 0));
}

/// The points at which a batch is checked in every run of the tests; `LUMIO_LONG` checks all.
const OF_A_BATCH: [&str; 5] = [
    "open.after_persist",
    "open.after_send",
    "open.after_land",
    "finalize.after_send",
    "finalize.after_result",
];

/// A process with a batch dies at each of these points, and another one goes on from there.
async fn batches_die_and_come_back(points: &[&str]) {
    const TOGETHER: usize = 3;
    let fixture = Fixture::new().await;
    for (point, round) in points.iter().zip(1_u64..) {
        let port = free_port().await;
        let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
        let ids = queue(&fixture, &vec![fixture.body(); TOGETHER]).await;
        let together = ("RUNNER_BATCH_MAX_DELAY_MS", "30000");
        let settings = [("RUNNER_PORT", port.as_str()), ("RUNNER_CRASH_AT", point), together];
        let mut process = spawn(&fixture, &settings);
        process.has_ended().await;
        let _again = spawn(&fixture, &[("RUNNER_PORT", &port), together]);
        gateway.up().await;
        for id in &ids {
            gateway.ended(id, "failed").await;
            let landed =
                (fixture.succeeded(id, "open").await, fixture.succeeded(id, "finalize").await);
            assert_eq!(landed, (1, 1), "{point}");
        }
        let account = fixture.account().await;
        assert_eq!(
            (account.balance, account.receipts, account.reserved),
            (DEPOSIT, round * TOGETHER as u64, 0),
            "{point}"
        );
    }
    let most: i64 = sqlx::query_scalar(
        "SELECT max(calls) FROM (SELECT count(*) AS calls FROM transaction_calls \
            GROUP BY transaction_id) AS counted",
    )
    .fetch_one(&fixture.db.pool)
    .await
    .unwrap();
    assert_eq!(most, 3, "the crashes were to meet batches");
    eventually(|| async {
        let compared = command(&fixture, &["account"]);
        assert_ne!(compared.status.code(), Some(2), "{}", said(&compared));
        compared.status.success()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_at_any_point_of_a_batch_ends_in_one_receipt_for_each_run() {
    let long = std::env::var_os("LUMIO_LONG").is_some();
    let points = if long { PASSED.as_slice() } else { OF_A_BATCH.as_slice() };
    let (opening, settling): (Vec<&str>, Vec<&str>) =
        points.iter().copied().partition(|point| point.starts_with("open."));
    // Side by side, since each waits for ledgers and leases most of its time.
    tokio::join!(batches_die_and_come_back(&opening), batches_die_and_come_back(&settling));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opened_run_can_be_called_off_before_its_module_starts() {
    let fixture = Fixture::new().await;
    let (port, gateway, id) = dead_at(&fixture, "open.after_result", &[]).await;

    // The gates are away: the run stays open, and nothing was started.
    let port = [("RUNNER_PORT", port.as_str())];
    let away = [port.as_slice(), gates_at("http://127.0.0.1:9").as_slice()].concat();
    let _again = spawn(&fixture, &away);
    gateway.up().await;
    let waits = |run: &Value| run["phase"] == "executing" && run["waitingFor"].is_string();
    let run = gateway.until(&id, waits).await;
    assert_eq!((run["status"].as_str(), run["escrow"].as_str()), (Some("running"), Some("open")));
    let cancelled = gateway.post(&format!("/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!(cancelled.status(), 200);
    let run = gateway.ended(&id, "cancelled").await;
    assert_eq!(
        (run["escrow"].as_str(), run["errorCode"].as_str()),
        (Some("returned"), Some("CANCELLED"))
    );
    let (record, _) = fixture.record(&run).await.record.unwrap();
    assert_eq!(record.lifecycle, stellar::vault::Lifecycle::Voided(1));
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts), (DEPOSIT, 0));
    assert_eq!(fixture.succeeded(&id, "void").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_process_holds_its_runs_for_one_lease_and_no_longer() {
    let fixture = Fixture::new().await;
    let (_silent, url) = silent_gates().await;
    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let lease = ("RUNNER_LEASE_MS", "3000");
    let own = [("RUNNER_PORT", port.as_str()), lease];
    let settings = [own.as_slice(), gates_at(&url).as_slice()].concat();
    let mut process = spawn(&fixture, &settings);
    gateway.up().await;
    let id = gateway.accepted(&fixture.body()).await;
    let token = held(&fixture, &id).await;
    process.0.kill().unwrap();
    process.has_ended().await;

    // From here on no process prolongs it.
    let uuid: uuid::Uuid = id.parse().unwrap();
    let text = "SELECT lease_until FROM runs WHERE id = $1 AND lease_token = $2";
    let query = sqlx::query_scalar::<_, OffsetDateTime>(text).bind(uuid).bind(token);
    let lease_until = query.fetch_one(&fixture.db.pool).await.unwrap();
    let other = fixture.start(&[lease]).await;
    let query = sqlx::query_scalar::<_, OffsetDateTime>("SELECT now()");
    let started = query.fetch_one(&fixture.db.pool).await.unwrap();
    let text = "SELECT now() FROM runs WHERE id = $1 AND lease_token > $2";
    let taken = eventually(|| async {
        let query = sqlx::query_scalar::<_, OffsetDateTime>(text).bind(uuid).bind(token);
        query.fetch_optional(&fixture.db.pool).await.unwrap()
    })
    .await;
    assert!(taken >= lease_until, "taken over before its lease ended");
    // A poll is 100 ms; the rest is for a busy machine.
    let waited = taken - lease_until.max(started);
    assert!(waited < time::Duration::seconds(3), "taken over {waited} after the lease");
    let run = other.gateway.ended(&id, "failed").await;
    assert_eq!(run["errorCode"], "EXECUTOR_MISSING", "{run:#}");
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landed_result_that_cannot_be_read_goes_to_an_operator_and_a_resume_asks_again() {
    let fixture = Fixture::new().await;
    let (port, gateway, id) = dead_at(&fixture, "open.after_result", &[]).await;
    // As a vault of another version would answer: another value than a run's id.
    let text = "SELECT result FROM transaction_calls WHERE result IS NOT NULL";
    let result: Vec<u8> = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
    let put = "UPDATE transaction_calls SET result = $1 WHERE result IS NOT NULL";
    sqlx::query(put).bind([0_u8, 0, 0, 1].as_slice()).execute(&fixture.db.pool).await.unwrap();

    let _again = spawn(&fixture, &[("RUNNER_PORT", &port)]);
    gateway.up().await;
    let run = gateway.until(&id, |run| run["phase"] == "operator").await;
    assert_eq!((&run["errorCode"], &run["escrow"]), (&"OUTCOME_UNKNOWN".into(), &"none".into()));
    assert!(run["error"].as_str().unwrap().contains("cannot be read"), "{run:#}");
    assert_eq!(gateway.summary().await["status"]["stuck"], 1);
    // Nothing is guessed: a resume looks again, and comes to the same.
    assert!(command(&fixture, &["runs", "resume", &id]).status.success());
    gateway.until(&id, |run| run["phase"] == "operator").await;
    sqlx::query(put).bind(&result).execute(&fixture.db.pool).await.unwrap();
    let resumed = || async { command(&fixture, &["runs", "resume", &id]).status.success() };
    eventually(resumed).await;
    let run = gateway.ended(&id, "failed").await;
    assert_eq!(run["escrow"], "returned");
    let landed = (fixture.succeeded(&id, "open").await, fixture.succeeded(&id, "finalize").await);
    assert_eq!(landed, (1, 1));
}

#[test]
fn a_failed_start_is_one_line_and_exit_code_3() {
    let output = Command::new(env!("CARGO_BIN_EXE_runner"))
        .arg("serve")
        .env_clear()
        .current_dir("/")
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    for name in ["RUNNER_SECRET", "RUNNER_SOURCE_SECRET", "DATABASE_URL", "NATS_URL"] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
    let usage = Command::new(env!("CARGO_BIN_EXE_runner")).arg("fly").output().unwrap();
    assert_eq!(usage.status.code(), Some(3));
}
