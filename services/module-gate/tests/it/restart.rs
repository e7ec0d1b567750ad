//! A service that stops or dies in the middle leaves an attempt that is executed once anyway.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use testkit::eventually;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use wire::pb::module::v1::execute_event::Event;
use wire::pb::module::v1::{ExecutionState, GetExecutionRequest};
use wire::problem::Problem;
use wire::statement::Verdict;

use crate::fixture::{Fixture, Running, TOKEN, calls, node, request, stated, test_module};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_gives_the_attempt_back_and_the_next_service_executes_it() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let asked =
        request(fixture.publish(&test_module("slow")), &serde_json::json!({ "sleep_ms": 2_000 }));
    let mut events = gate.begin(&asked).await;
    let (status, ()) = tokio::join!(async { events.message().await }, gate.stop());
    assert_eq!(Problem::of(&status.unwrap_err()), Some(Problem::Unavailable));

    let gate = fixture.serve().await;
    assert_eq!(state(&gate, &asked.run_id).await, ExecutionState::Interrupted);
    let bytes = gate.execute(&asked).await.unwrap();
    assert_eq!(stated(&bytes).verdict, Verdict::Pass);
    assert_eq!(gate.execute(&asked).await.unwrap(), bytes);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_stops_nothing() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let asked =
        request(fixture.publish(&test_module("slow")), &serde_json::json!({ "sleep_ms": 500 }));
    drop(gate.begin(&asked).await);
    eventually(|| async {
        (state(&gate, &asked.run_id).await == ExecutionState::Finished).then_some(())
    })
    .await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_leaves_one_statement_in_the_end() {
    let fixture = Fixture::new().await;
    let asked =
        request(fixture.publish(&test_module("slow")), &serde_json::json!({ "sleep_ms": 1_500 }));
    let (mut child, address) = spawn(&fixture);
    let mut events = calls(address).execute(asked.clone()).await.unwrap().into_inner();
    loop {
        match events.message().await.unwrap().and_then(|event| event.event) {
            Some(Event::Progress(progress)) if progress.phase == "running" => break,
            Some(Event::Progress(_)) => {}
            other => panic!("it should be running: {other:?}"),
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(events.message().await.is_err(), "the call is cut");

    eventually(|| async { !runs_in(&fixture) }).await;

    // Its lease of ten seconds outlives it; the call waits for that and executes anew.
    let (mut child, address) = spawn(&fixture);
    let gate = Running::at(address);
    let bytes = gate.execute(&asked).await.unwrap();
    assert_eq!(stated(&bytes).verdict, Verdict::Pass, "{:?}", stated(&bytes).reason);
    assert_eq!(gate.execute(&asked).await.unwrap(), bytes);
    assert!(fixture.staged(&asked, "seed.txt").is_some());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "an orderly stop");
}

/// Whether any process has an argument below the scratch folder.
fn runs_in(fixture: &Fixture) -> bool {
    let scratch = fixture.config().scratch.to_string_lossy().into_owned();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(&scratch))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_names_the_setting_on_one_line() {
    let fixture = Fixture::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = taken.local_addr().unwrap().to_string();
    let mut missing = url::Url::parse(&fixture.db.url).unwrap();
    missing.set_path("no_such_database");
    for (name, value) in [
        ("MODULE_GATE_BIND", busy.as_str()),
        ("MODULE_GATE_ATTESTATION_SECRET", "abc"),
        ("MODULE_GATE_NODE", "no-such-node"),
        ("MODULE_GATE_NODE", "/bin/true"),
        ("MODULE_GATE_SCRATCH", "/proc"),
        ("LUMIO_CONFINE", "maybe"),
        ("MODULE_GATE_STORE", "/dev/null/store"),
        ("DATABASE_URL", missing.as_str()),
    ] {
        let output = command(&fixture).env(name, value).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let reported: Vec<_> =
            text.lines().filter(|line| line.starts_with("module-gate: ")).collect();
        assert_eq!((output.status.code(), reported.len()), (Some(3), 1), "{name}: {text}");
        assert!(reported[0].contains(name), "{name}: {text}");
    }
}

async fn state(gate: &Running, run_id: &str) -> ExecutionState {
    let name = GetExecutionRequest { run_id: run_id.to_owned(), attempt: 1 };
    gate.calls.clone().get_execution(name).await.unwrap().into_inner().state()
}

fn command(fixture: &Fixture) -> Command {
    let config = fixture.config();
    let mut command = Command::new(env!("CARGO_BIN_EXE_module-gate"));
    command
        .arg("serve")
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("DATABASE_URL", &fixture.db.url)
        .env("NATS_URL", &fixture.bus.url)
        .env("NATS_PREFIX", &fixture.bus.prefix)
        .env("MODULE_GATE_BIND", "127.0.0.1:0")
        .env("MODULE_GATE_STORE", config.store)
        .env("MODULE_GATE_SCRATCH", config.scratch)
        .env("MODULE_GATE_ATTESTATION_SECRET", "07".repeat(32))
        .env("MODULE_GATE_GRPC_TOKENS", format!("test:{TOKEN}"))
        .env("MODULE_GATE_NODE", node())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Starts the binary, confined as in production, and reads from its log where it listens.
pub fn spawn(fixture: &Fixture) -> (Child, SocketAddr) {
    let (child, address, _) = spawn_with_log(fixture);
    (child, address)
}

/// The same, with the lines that it logs from then on.
pub fn spawn_with_log(fixture: &Fixture) -> (Child, SocketAddr, UnboundedReceiver<String>) {
    let mut child = command(fixture).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines.by_ref().map(Result::unwrap).find_map(|line| {
        let (_, address) = line.split_once("listens on ")?;
        address.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).next()?.parse().ok()
    });
    let (to, log) = mpsc::unbounded_channel();
    // Read to the end, or the service would wait for its log to be taken.
    std::thread::spawn(move || {
        lines.map_while(Result::ok).for_each(|line| drop(to.send(line)));
    });
    (child, address.unwrap(), log)
}
