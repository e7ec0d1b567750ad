//! Several addresses of one network: each sees the chain its own way and has faults of its own.

use std::time::Duration;

use serde_json::{Value, json};
use soroban_localnet::{Fault, OtherNode};

use crate::harness::{Client, base64, builder, client, client_of};

const PATIENT: Duration = Duration::from_secs(60);

async fn ask(client: &Client, url: &str, method: &str, params: Value) -> (u16, Value) {
    client.ask(url, (method, params), PATIENT).await.unwrap()
}

async fn latest(client: &Client, url: &str) -> u64 {
    ask(client, url, "getLatestLedger", json!({})).await.1["sequence"].as_u64().unwrap()
}

async fn status(client: &Client, url: &str) -> u16 {
    ask(client, url, "getHealth", json!({})).await.0
}

fn urls(client: &Client, other: &OtherNode) -> [String; 2] {
    [client.network.url(), other.url()]
}

#[tokio::test]
async fn each_address_has_faults_of_its_own() {
    let client = client().await;
    let other = client.network.other_node(0, None).await.unwrap();
    let [main, second] = urls(&client, &other);
    other.fault(Fault::RateLimited(1));
    assert_eq!(status(&client, &main).await, 200);
    assert_eq!(status(&client, &second).await, 429);
    client.network.fault(Fault::ServerError(1));
    assert_eq!(status(&client, &second).await, 200);
    assert_eq!(status(&client, &main).await, 500);
}

#[tokio::test]
async fn faults_of_ledgers_are_the_networks_wherever_they_were_asked_for() {
    let client = client().await;
    let other = client.network.other_node(0, None).await.unwrap();
    let from = client.funded(1).await;
    other.fault(Fault::FailTransactions(1));
    let done = client.apply(&client.payment(&from).await).await;
    assert_eq!(done["status"], "FAILED");
}

#[tokio::test]
async fn a_node_that_begins_to_lag_never_goes_back() {
    let client = client().await;
    let other = client.network.other_node(0, None).await.unwrap();
    client.network.close_ledgers(3).await.unwrap();
    let [main, second] = urls(&client, &other);
    let mut before = latest(&client, &second).await;
    other.fault(Fault::Lag(2));
    for _ in 0..4 {
        client.network.close_ledger().await.unwrap();
        let seen = latest(&client, &second).await;
        assert!(seen >= before, "{seen} after {before}");
        before = seen;
    }
    assert_eq!(latest(&client, &main).await, before + 2);
    other.fault(Fault::Lag(0));
    assert_eq!(latest(&client, &second).await, before + 2);
}

#[tokio::test]
async fn another_node_lags_on_top_of_what_all_of_them_do() {
    let client = client().await;
    let other = client.network.other_node(1, None).await.unwrap();
    client.network.fault(Fault::Lag(2));
    client.network.close_ledgers(8).await.unwrap();
    let tip = u64::from(client.network.latest_ledger());
    let [main, second] = urls(&client, &other);
    assert_eq!(latest(&client, &main).await, tip - 2);
    assert_eq!(latest(&client, &second).await, tip - 3);

    // A stale read is older than what its own address showed just before.
    client.network.fault(Fault::StaleReads(1));
    other.fault(Fault::StaleReads(1));
    assert_eq!(latest(&client, &main).await, tip - 3);
    assert_eq!(latest(&client, &second).await, tip - 4);
    assert_eq!(latest(&client, &main).await, tip - 2);
}

#[tokio::test]
async fn a_lagging_node_takes_transactions_for_the_same_queue() {
    let client = client().await;
    let from = client.funded(1).await;
    let other = client.network.other_node(2, None).await.unwrap();
    let envelope = client.payment(&from).await;
    let params = json!({"transaction": base64(&envelope)});
    let sent = ask(&client, &other.url(), "sendTransaction", params.clone()).await.1;
    assert_eq!(sent["status"], "PENDING");
    assert_eq!(client.send(&envelope).await["status"], "DUPLICATE");
    client.network.close_ledger().await.unwrap();
    let again = ask(&client, &other.url(), "sendTransaction", params).await.1;
    assert_eq!(again["status"], "TRY_AGAIN_LATER");

    // Neither answer of the node that lags proves that the transaction was not applied.
    let hash = json!({"hash": sent["hash"]});
    let late = ask(&client, &other.url(), "getTransaction", hash).await.1;
    assert_eq!(late["status"], "NOT_FOUND");
    let closed = late["latestLedgerCloseTime"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(closed <= client.network.close_time());
}

#[tokio::test]
async fn one_request_ends_every_fault() {
    let client = client_of(builder().control(true)).await;
    let other = client.network.other_node(1, None).await.unwrap();
    client.network.close_ledgers(4).await.unwrap();
    for fault in [Fault::Unavailable(9), Fault::Lag(2), Fault::FailTransactions(9)] {
        client.network.fault(fault);
    }
    assert_eq!(client.control("fault", json!({"fault": "none"})).await.0, 200);
    let [main, second] = urls(&client, &other);
    assert_eq!(status(&client, &main).await, 200);
    let tip = u64::from(client.network.latest_ledger());
    assert_eq!(latest(&client, &main).await, tip);
    assert_eq!(latest(&client, &second).await, tip - 1, "it was started to lag, and still does");
    let from = client.funded(1).await;
    assert_eq!(client.apply(&client.payment(&from).await).await["status"], "SUCCESS");
}

#[tokio::test]
async fn nodes_are_started_and_steered_over_http() {
    let client = client_of(builder().control(true)).await;
    let (code, started) = client.control("node", json!({"lag": 1, "history": 2})).await;
    assert_eq!(code, 200, "{started}");
    let url = started["url"].as_str().unwrap().to_owned();
    client.network.close_ledgers(5).await.unwrap();
    let health = ask(&client, &url, "getHealth", json!({})).await.1;
    let tip = u64::from(client.network.latest_ledger());
    assert_eq!(
        (&health["latestLedger"], &health["oldestLedger"]),
        (&json!(tip - 1), &json!(tip - 2))
    );

    // Its own address takes its own faults.
    let body = json!({"fault": "unavailable", "count": 1});
    let answer = client.http.post(format!("{url}/control/fault")).json(&body).send().await;
    assert_eq!(answer.unwrap().status().as_u16(), 200);
    assert_eq!(status(&client, &client.network.url()).await, 200);
    assert_eq!(status(&client, &url).await, 503);

    for _ in 1..16 {
        assert_eq!(client.control("node", json!({})).await.0, 200);
    }
    assert_eq!(client.control("node", json!({})).await.0, 409, "there is a most of them");
}

#[tokio::test]
async fn delays_and_snapshots_are_bounded() {
    let client = client_of(builder().control(true)).await;
    let late = json!({"fault": "late-sends", "count": 1, "milliseconds": 600_001});
    for body in [json!({"fault": "delay", "milliseconds": 600_001}), late] {
        let (code, refusal) = client.control("fault", body).await;
        assert_eq!(code, 400);
        assert!(refusal["detail"].as_str().unwrap().contains("600000"), "{refusal}");
    }
    let first = client.network.snapshot();
    for _ in 0..100 {
        let _ = client.network.snapshot();
    }
    assert!(client.network.revert(first).await.is_err(), "a hundred others were taken since");
    client.network.revert(first + 1).await.unwrap();
}
