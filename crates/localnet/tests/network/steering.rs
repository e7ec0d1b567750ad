//! Further faults, other nodes, and steering over HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use soroban_env_host::xdr::{OperationResult, TransactionResultResult};
use soroban_localnet::Fault;

use crate::harness::{Client, START, builder, client, client_of, result_of};

async fn health_status(client: &Client) -> u16 {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "getHealth"});
    client.http.post(client.network.url()).json(&body).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn http_faults_come_as_often_as_asked() {
    let client = client().await;
    client.network.fault(Fault::RateLimited(1));
    client.network.fault(Fault::ServerError(2));
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(health_status(&client).await);
    }
    assert_eq!(seen, [429, 500, 500, 200]);
}

#[tokio::test]
async fn a_request_that_hangs_was_carried_out() {
    let client = client_of(builder().control(true)).await;
    let from = client.funded(1).await;
    let envelope = client.payment(&from).await;
    client.network.fault(Fault::Hang(1));
    let params = json!({"transaction": crate::harness::base64(&envelope)});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "sendTransaction", "params": params});
    let sent = client.http.post(client.network.url()).json(&body);
    let answer = sent.timeout(Duration::from_millis(300)).send().await;
    assert!(answer.unwrap_err().is_timeout());
    client.arrives().await;
    assert_eq!(client.send(&envelope).await["status"], "DUPLICATE");
}

#[tokio::test]
async fn chosen_transactions_fail_and_cost_their_fee() {
    let client = client().await;
    let from = client.funded(1).await;
    let before = client.account(&from).await.unwrap();
    client.network.fault(Fault::FailTransactions(1));
    let done = client.apply(&client.payment(&from).await).await;
    assert_eq!(done["status"], "FAILED");
    let TransactionResultResult::TxFailed(results) = result_of(&done).result else {
        panic!("{done}")
    };
    assert_eq!(results.as_slice(), [OperationResult::OpExceededWorkLimit]);
    assert_eq!(client.account(&from).await.unwrap(), (before.0 - 100, before.1 + 1));

    let envelope = client.payment(&from).await;
    let sent = client.send(&envelope).await;
    let hash = hex::decode(sent["hash"].as_str().unwrap()).unwrap().try_into().unwrap();
    client.network.fault(Fault::FailTransaction(hash));
    client.network.close_ledger().await.unwrap();
    assert_eq!(client.get(&sent["hash"]).await["status"], "FAILED");
}

#[tokio::test]
async fn a_stale_read_is_older_than_the_one_before() {
    let client = client().await;
    client.network.close_ledgers(2).await.unwrap();
    let sequence = async || client.call("getHealth", json!({})).await["latestLedger"].clone();
    let now = sequence().await.as_u64().unwrap();
    client.network.fault(Fault::StaleReads(1));
    assert_eq!(sequence().await, now - 1);
    assert_eq!(sequence().await, now);
}

#[tokio::test]
async fn events_come_twice_or_backwards() {
    let client = client().await;
    client.funded(1).await;
    client.funded(2).await;
    let ids = async || {
        let page = client.call("getEvents", json!({"startLedger": 1})).await;
        let events = page["events"].as_array().unwrap().clone();
        events.iter().map(|event| event["id"].clone()).collect::<Vec<Value>>()
    };
    let plain = ids().await;
    assert!(plain.len() > 1);
    client.network.fault(Fault::DuplicateEvents(1));
    let doubled = ids().await;
    assert_eq!(doubled.len(), 2 * plain.len());
    assert_eq!(doubled[0], doubled[1]);
    client.network.fault(Fault::ReorderAnswers(1));
    let mut backwards = ids().await;
    backwards.reverse();
    assert_eq!(backwards, plain);
    assert_eq!(ids().await, plain);
}

#[tokio::test]
async fn another_node_lags_and_a_pruned_one_has_forgotten() {
    let client = client().await;
    let from = client.funded(1).await;
    let lagging = client.network.other_node(2, None).await.unwrap();
    let pruned = client.network.other_node(0, Some(1)).await.unwrap();
    let ask = async |url: String, method: &str, params: Value| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let sent = client.http.post(url).json(&body).send().await.unwrap();
        sent.json::<Value>().await.unwrap()["result"].clone()
    };

    // Sent to the node that lags, seen there two ledgers later.
    let envelope = client.payment(&from).await;
    let params = json!({"transaction": crate::harness::base64(&envelope)});
    let sent = ask(lagging.url(), "sendTransaction", params).await;
    assert_eq!(sent["status"], "PENDING", "{sent}");
    let hash = json!({"hash": sent["hash"]});
    client.network.close_ledger().await.unwrap();
    assert_eq!(client.get(&sent["hash"]).await["status"], "SUCCESS");
    assert_eq!(ask(pruned.url(), "getTransaction", hash.clone()).await["status"], "SUCCESS");
    for expected in ["NOT_FOUND", "NOT_FOUND", "SUCCESS"] {
        let found = ask(lagging.url(), "getTransaction", hash.clone()).await;
        assert_eq!(found["status"], expected);
        client.network.close_ledger().await.unwrap();
    }
    let gone = ask(pruned.url(), "getTransaction", hash).await;
    assert_eq!(gone["status"], "NOT_FOUND");
    assert_eq!(gone["oldestLedger"], gone["latestLedger"]);
}

#[tokio::test]
async fn nothing_can_be_steered_over_http_unless_it_was_switched_on() {
    let client = client().await;
    let answer = client.http.post(format!("{}/control/close", client.network.url())).send().await;
    assert_eq!(answer.unwrap().status(), 404);
}

#[tokio::test]
async fn ledgers_time_snapshots_and_faults_are_steered_over_http() {
    let client = client_of(builder().control(true)).await;
    let post = async |route: &str, body: Value| {
        let url = format!("{}/control/{route}", client.network.url());
        let answer = client.http.post(url).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let start = client.network.latest_ledger();
    let (_, taken) = post("snapshot", json!({})).await;
    assert_eq!(post("close", json!({"count": 3})).await, (200, json!({"ledger": start + 3})));
    let before = client.network.close_time();
    post("time", json!({"seconds": 60})).await;
    post("close", json!({})).await;
    assert_eq!(client.network.close_time(), before + 60);
    let (_, reverted) = post("revert", json!({"snapshot": taken["snapshot"]})).await;
    assert_eq!(reverted["ledger"], start);
    assert_eq!(post("revert", json!({"snapshot": 99})).await.0, 404);
    assert_eq!(post("fault", json!({"fault": "unavailable", "count": 1})).await.0, 200);
    assert_eq!(health_status(&client).await, 503);
    assert_eq!(post("fault", json!({"fault": "nonsense"})).await.0, 400);
    assert_eq!(post("close", json!({"count": 0})).await.0, 400);
}

#[tokio::test]
async fn time_ends_with_the_year_9999() {
    let client = client_of(builder().control(true)).await;
    let latest = 253_402_300_799_u64;
    let room = latest - START;
    for seconds in [room + 1, u64::MAX] {
        let (status, refusal) = client.control("time", json!({"seconds": seconds})).await;
        assert_eq!(status, 400, "{refusal}");
        assert!(refusal["detail"].as_str().unwrap().contains("9999"), "{refusal}");
        client.network.advance_time(seconds);
    }
    client.network.close_ledger().await.unwrap();
    assert_eq!(client.network.close_time(), START, "the clock was not moved");

    let moved = client.control("time", json!({"seconds": room})).await;
    assert_eq!(moved, (200, json!({"advanced": room, "time": latest})));
    client.network.close_ledger().await.unwrap();
    assert_eq!(client.network.close_time(), latest);

    // Up to its end a network takes what it wrote itself.
    let url = format!("{}/control/ledger-snapshot", client.network.url());
    let own: Value = client.http.get(url).send().await.unwrap().json().await.unwrap();
    let (status, loaded) = client.control("ledger-snapshot", own).await;
    assert_eq!(status, 200, "{loaded}");
    assert_eq!(client.control("time", json!({"seconds": 1})).await.0, 400);
}
