//! Several nodes: none of them counts alone, one of another network is put aside, another history
//! is noticed without work, and how each of them is can be seen.

use std::time::Duration;

use serde_json::Value;
use soroban_localnet::{Fault, Network};
use testkit::eventually;
use testkit::secrets::RecordedProcess;

use crate::crashing::{dead_at, free_port, spawn};
use crate::fixture::{DEPOSIT, Fixture, Gateway};
use crate::retention::{command_with, said};

/// The passphrase of a network that was not asked for.
const ANOTHER: &str = "Another Network ; July 2026";

/// That network, at this port and far beyond the ledgers of a fixture's.
async fn another_network(port: &str) -> Network {
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let network = Network::builder().passphrase(ANOTHER).bind(address).start().await.unwrap();
    network.close_ledgers(2_000).await.unwrap();
    network
}

async fn number(fixture: &Fixture, text: &'static str) -> i64 {
    sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap()
}

/// What the health says about the nodes, once `part` is in it.
async fn named_nodes(gateway: &Gateway, part: &str) -> String {
    let named = || async {
        let health: Value = gateway.get("/health").await.json().await.unwrap();
        let detail = health["checks"]["nodes"]["detail"].as_str()?.to_owned();
        detail.contains(part).then_some(detail)
    };
    eventually(named).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_has_forgotten_is_asked_of_the_others() {
    let fixture = Fixture::new().await;
    // Enough ledgers that the settlement is sent before its ledger is forgotten, on a busy machine
    // too.
    let pruned = fixture.localnet.other_node(0, Some(600)).await.unwrap();
    let (first, other) = (pruned.url(), fixture.localnet.url());
    let nodes = [("RUNNER_RPC_URL", first.as_str()), ("RUNNER_RPC_FALLBACK_URLS", &other)];
    let (port, gateway, id) = dead_at(&fixture, "finalize.after_send", &nodes).await;
    fixture.localnet.close_ledgers(900).await.unwrap();

    let at_port = [("RUNNER_PORT", port.as_str())];
    let _again = spawn(&fixture, &[&at_port[..], &nodes[..]].concat());
    gateway.up().await;
    let run = gateway.ended(&id, "failed").await;
    assert!(run["receipt"].is_object(), "{run:#}");
    let text = "SELECT state FROM chain_transactions WHERE kind = 'finalize'";
    let states: Vec<String> = sqlx::query_scalar(text).fetch_all(&fixture.db.pool).await.unwrap();
    assert_eq!(states, ["succeeded"], "the other node knows what became of it");
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts, account.reserved), (DEPOSIT, 1, 0));

    // Nor are events given up that another node has.
    fixture.until_seen("run_finalized").await;
    let gaps = number(&fixture, "SELECT count(*) FROM contract_event_gaps").await;
    assert_eq!(gaps, 0, "the other node has the events of every ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_network_is_put_aside_when_its_turn_comes() {
    let fixture = Fixture::new().await;
    let port = free_port().await;
    let url = format!("http://user:unseen7f3a@127.0.0.1:{port}/?key=unseen7f3a");
    let running = fixture.start(&[("RUNNER_RPC_FALLBACK_URLS", &url)]).await;

    // It was away at the start. Now it is there, and the true node fails in the middle of a run.
    let _another = another_network(&port).await;
    fixture.localnet.fault(Fault::Unavailable(1_000_000));
    let id = running.gateway.accepted(&fixture.body()).await;
    running.gateway.until(&id, |run| run["waitingFor"].is_string()).await;
    let named = named_nodes(&running.gateway, ANOTHER).await;
    assert!(named.contains(&format!("node 2 (http://127.0.0.1:{port})")), "{named}");
    assert!(!named.contains("unseen7f3a"), "{named}");

    // Nothing of it was believed: the true node is not behind when it comes back.
    fixture.localnet.fault(Fault::Unavailable(0));
    let run = running.gateway.ended(&id, "failed").await;
    assert!(run["receipt"].is_object(), "{run:#}");
    let done = (fixture.succeeded(&id, "open").await, fixture.succeeded(&id, "finalize").await);
    assert_eq!(done, (1, 1));
    let mark = number(&fixture, "SELECT max(ledger) FROM networks").await;
    assert!(mark <= i64::from(fixture.localnet.latest_ledger()), "{mark}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_on_another_network_is_refused_at_the_start() {
    let fixture = Fixture::new().await;
    let another = another_network(&free_port().await).await;
    let (_, started) = fixture.try_start(&[("RUNNER_RPC_FALLBACK_URLS", &another.url())]).await;
    let error = format!("{:#}", started.unwrap_err());
    let expected = format!("RUNNER_RPC_FALLBACK_URLS: number 1 is on '{ANOTHER}'");
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_network_stops_a_service_without_work() {
    let fixture = Fixture::new().await;
    let before = fixture.localnet.snapshot();
    let running = fixture.start(&[]).await;

    // The newest ledger is remembered though nothing is sent.
    let newest = i64::from(fixture.localnet.close_ledgers(500).await.unwrap());
    let is_known = || async {
        let text = "SELECT coalesce(max(ledger), 0) FROM networks";
        number(&fixture, text).await >= newest
    };
    eventually(is_known).await;

    fixture.localnet.revert(before).await.unwrap();
    fixture.localnet.advance_time(10_000);
    fixture.localnet.close_ledger().await.unwrap();
    eventually(|| async { running.service.stop().is_cancelled() }).await;
    let ended = running.service.finish(Duration::from_secs(60)).await;
    let error = format!("{:#}", ended.unwrap_err());
    assert!(error.contains("RUNNER_RPC_URL: ") && error.contains("another history"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_network_that_has_come_further_is_not_taken_for_the_one_before() {
    let fixture = Fixture::new().await;
    fixture.localnet.close_ledgers(20).await.unwrap();
    let before = fixture.localnet.snapshot();
    let running = fixture.start(&[]).await;
    let id = running.gateway.accepted(&fixture.body()).await;
    running.gateway.ended(&id, "failed").await;
    let newest = i64::from(fixture.localnet.close_ledgers(30).await.unwrap());
    let text = "SELECT max(ledger) FROM networks";
    eventually(|| async { number(&fixture, text).await >= newest }).await;
    // What landed is no reason to stop on the network where it did.
    running.stop().await;
    fixture.start(&[]).await.stop().await;
    let known = number(&fixture, text).await;

    fixture.localnet.revert(before).await.unwrap();
    fixture.localnet.advance_time(100_000);
    fixture.localnet.close_ledgers(500).await.unwrap();
    let (_, started) = fixture.try_start(&[]).await;
    let error = format!("{:#}", started.unwrap_err());
    assert!(error.starts_with("RUNNER_RPC_URL: the node has another history"), "{error}");
    assert_eq!(number(&fixture, text).await, known, "nothing of it is believed");
    let examined = command_with(&fixture, &[], &["doctor"]);
    assert!(said(&examined).contains("it has another history of the network"));
}

/// The first ledger that each node keeps, as far as the text says so.
fn kept_from(text: &str) -> Vec<u32> {
    let after = text.split("keeps ledgers from ").skip(1);
    after.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn how_each_node_is_can_be_seen_by_health_metrics_and_the_doctor() {
    let fixture = Fixture::new().await;
    let pruned = fixture.localnet.other_node(0, Some(5)).await.unwrap();
    let behind = fixture.localnet.other_node(0, None).await.unwrap();
    // What it shows stays as it is now.
    behind.fault(Fault::Lag(1_000));
    fixture.localnet.advance_time(100);
    fixture.localnet.close_ledger().await.unwrap();
    let away = "http://user:unseen7f3a@127.0.0.1:9/unseen7f3a?key=unseen7f3a";
    let fallbacks = format!("{},{},{away}", pruned.url(), behind.url());

    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let more = [("RUNNER_PORT", port.as_str()), ("RUNNER_RPC_FALLBACK_URLS", &fallbacks)];
    let process =
        RecordedProcess::start(env!("CARGO_BIN_EXE_runner"), &fixture.settings(&more)).await;
    gateway.up().await;
    let named = named_nodes(&gateway, "s behind").await;
    let nodes: Vec<&str> = named.split("; node ").collect();
    assert_eq!(nodes.len(), 4, "{named}");
    let first = format!("node 1 ({}): ledger ", fixture.localnet.url());
    assert!(nodes[0].starts_with(&first), "{named}");
    assert!(kept_from(nodes[0]) < kept_from(nodes[1]), "the second has forgotten more: {named}");
    assert!(nodes[2].contains("s behind"), "{named}");
    assert!(nodes[3].starts_with("4 (http://127.0.0.1:9): "), "{named}");
    assert!(!named.contains("unseen7f3a"), "{named}");
    // Three of them are not needed as long as the first one answers.
    let id = gateway.accepted(&fixture.body()).await;
    gateway.ended(&id, "failed").await;
    let health: Value = gateway.get("/health").await.json().await.unwrap();
    assert_eq!((&health["ok"], &health["degraded"]), (&true.into(), &true.into()), "{health:#}");

    let shown = process.stop().await;
    for (node, state) in [(1, "answers"), (2, "answers"), (3, "behind"), (4, "away")] {
        let is_it = |line: &&str| {
            line.starts_with("lumio_runner_nodes{")
                && line.contains(&format!("node=\"{node}\""))
                && line.ends_with(" 1")
        };
        let lines: Vec<&str> = shown.lines().filter(is_it).collect();
        assert_eq!(lines.len(), 1, "a node is in one state: {lines:?}");
        assert!(lines[0].contains(&format!("state=\"{state}\"")), "{lines:?}");
    }
    assert!(!shown.contains("unseen7f3a"));

    let another = another_network(&free_port().await).await;
    let fallbacks = format!("{fallbacks},{}", another.url());
    let more = [("RUNNER_RPC_FALLBACK_URLS", fallbacks.as_str())];
    let examined = command_with(&fixture, &more, &["doctor", "--output", "json"]);
    assert_eq!(examined.status.code(), Some(1), "{}", said(&examined));
    let checks: Value = serde_json::from_slice(&examined.stdout).unwrap();
    let nodes = checks.as_array().unwrap().iter().filter(|check| check["name"] == "node");
    let nodes: Vec<_> = nodes.collect();
    let states: Vec<_> = nodes.iter().map(|check| check["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["ok", "ok", "warning", "warning", "bad"], "{checks:#}");
    let text = nodes[4]["text"].as_str().unwrap();
    assert!(text.starts_with(&format!("node 5 ({})", another.url())), "{text}");
    assert!(text.contains(ANOTHER) && !said(&examined).contains("unseen7f3a"), "{text}");
}
