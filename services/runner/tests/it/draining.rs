//! A stop hands over what is under way: others go on with it at once, and not when a lease ends. And
//! what one process makes possible another does at once, however slowly it polls.

use std::process::Command;
use std::time::Duration;

use soroban_localnet::Fault;
use testkit::eventually;
use tokio::time::Instant;

use crate::batching::queue;
use crate::crashing::{Process, free_port, gates_at, held, silent_gates, spawn};
use crate::fixture::{Fixture, Gateway};
use crate::queueing::gateway_role;

/// The longest lease that can be set.
const LEASE: (&str, &str) = ("RUNNER_LEASE_MS", "30000");

/// Far less than [`LEASE`], and more than a run takes on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A process, and its gateway once it answers.
async fn started(fixture: &Fixture, more: &[(&str, &str)]) -> (Process, Gateway) {
    let port = free_port().await;
    let own = [("RUNNER_PORT", port.as_str())];
    let process = spawn(fixture, &[own.as_slice(), more].concat());
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    gateway.up().await;
    (process, gateway)
}

/// SIGTERM, and its orderly end.
async fn stop(process: &mut Process) {
    let pid = process.0.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    let ended = process.has_ended().await;
    assert!(ended.success(), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_a_run_leaves_it_to_another_engine_at_once() {
    let fixture = Fixture::new().await;
    let (mut first, gateway) = started(&fixture, &[LEASE]).await;
    fixture.localnet.fault(Fault::Freeze(true));
    let id = gateway.accepted(&fixture.body()).await;
    let text = "SELECT count(*) FROM chain_transactions WHERE state IN ('sent', 'unknown')";
    eventually(|| async {
        let sent: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
        sent == 1
    })
    .await;
    let (_second, gateway) = started(&fixture, &[LEASE]).await;
    stop(&mut first).await;
    let stopped = Instant::now();
    fixture.localnet.fault(Fault::Freeze(false));
    gateway.ended(&id, "failed").await;
    assert!(stopped.elapsed() < AT_ONCE, "{:?} after the stop", stopped.elapsed());
    let done = (fixture.succeeded(&id, "open").await, fixture.succeeded(&id, "finalize").await);
    assert_eq!(done, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_worker_holds_is_given_back_at_a_stop() {
    let fixture = Fixture::new().await;
    let (_silent, url) = silent_gates().await;
    let silent = [[LEASE].as_slice(), gates_at(&url).as_slice()].concat();
    let (mut first, gateway) = started(&fixture, &silent).await;
    let id = gateway.accepted(&fixture.body()).await;
    held(&fixture, &id).await;
    stop(&mut first).await;
    let text = "SELECT count(*) FROM runs WHERE lease_until > now()";
    let left: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
    assert_eq!(left, 0, "its claim outlives the process");
    let (_second, gateway) = started(&fixture, &[LEASE]).await;
    let run = gateway.ended(&id, "failed").await;
    assert_eq!(run["errorCode"], "EXECUTOR_MISSING", "{run:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_were_about_to_be_signed_are_free_after_a_stop() {
    let fixture = Fixture::new().await;
    let ids = queue(&fixture, &vec![fixture.body(); 2]).await;
    // A worker waits with the second run for as long as the node takes to fall silent, and the
    // opening of the first one waits to share a transaction with it.
    let mut lock = chassis::postgres::begin(&fixture.db.pool).await.unwrap();
    let second: uuid::Uuid = ids[1].parse().unwrap();
    let locked = sqlx::query("SELECT FROM attempts WHERE run_id = $1 FOR UPDATE").bind(second);
    locked.execute(&mut *lock).await.unwrap();
    let delay = ("RUNNER_BATCH_MAX_DELAY_MS", "60000");
    let runner = fixture.start(&[delay, LEASE]).await;
    let count = async |text: &'static str| -> i64 {
        sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap()
    };
    let wanted = "SELECT count(*) FROM calls WHERE state = 'wanted'";
    let waiting = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually(|| async { count(wanted).await == 1 && count(waiting).await == 1 }).await;
    fixture.localnet.fault(Fault::Stall(1_000_000));
    lock.rollback().await.unwrap();
    let reserved = "SELECT count(*) FROM calls WHERE reserved_until > now()";
    eventually(|| async { count(reserved).await == 2 }).await;

    runner.stop().await;
    assert_eq!((count(wanted).await, count(reserved).await), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wake_up_between_gateway_and_engine_is_lost() {
    let fixture = Fixture::new().await;
    let poll = ("RUNNER_POLL_INTERVAL_MS", "60000");
    let runner = fixture.runner.address().to_string();
    let gateway = [[poll].as_slice(), gateway_role(&runner).as_slice()].concat();
    let (_gateway, gateway) = started(&fixture, &gateway).await;
    let (_engine, _) = started(&fixture, &[poll, ("RUNNER_ROLE", "engine")]).await;
    // The first may be found by the engine's first look; the others are not polled for in time.
    for _ in 0..3 {
        let asked = Instant::now();
        let id = gateway.accepted(&fixture.body()).await;
        gateway.ended(&id, "failed").await;
        assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    }
}
