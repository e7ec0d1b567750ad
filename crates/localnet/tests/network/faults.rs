//! A bad day between us and the ledger.

use std::time::Duration;

use serde_json::json;
use soroban_env_host::xdr::TransactionEnvelope;
use soroban_localnet::{Fault, Network};

use crate::harness::{Client, base64, builder, client, client_of};

/// Whether the request got any answer.
async fn answered(client: &Client, envelope: &TransactionEnvelope) -> bool {
    let params = json!({"transaction": base64(envelope)});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "sendTransaction", "params": params});
    match client.http.post(client.network.url()).json(&body).send().await {
        Ok(answer) => answer.bytes().await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_the_transaction_in_the_queue() {
    let client = client().await;
    let from = client.funded(1).await;
    let envelope = client.payment(&from).await;
    client.network.fault(Fault::DropSendResponses(1));
    assert!(!answered(&client, &envelope).await);
    assert_eq!(client.send(&envelope).await["status"], "DUPLICATE");
}

#[tokio::test]
async fn a_lost_request_never_reaches_the_queue() {
    let client = client().await;
    let from = client.funded(1).await;
    let envelope = client.payment(&from).await;
    client.network.fault(Fault::LoseSendRequests(1));
    assert!(!answered(&client, &envelope).await);
    assert_eq!(client.send(&envelope).await["status"], "PENDING");
}

#[tokio::test]
async fn the_service_is_unavailable_for_a_while() {
    let client = client().await;
    client.network.fault(Fault::Unavailable(2));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "getHealth"});
    for expected in [503, 503, 200] {
        let answer = client.http.post(client.network.url()).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected);
    }
}

#[tokio::test]
async fn a_frozen_network_closes_only_by_hand() {
    let client = client_of(builder().ledger_interval(Duration::from_millis(5))).await;
    client.network.fault(Fault::Freeze(true));
    let frozen = client.network.close_ledger().await.unwrap();
    assert_eq!(client.network.close_ledger().await.unwrap(), frozen + 1);
    client.network.fault(Fault::Freeze(false));
    let mut waited = 0;
    while client.network.latest_ledger() < frozen + 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        waited += 1;
        assert!(waited < 2_000, "ledgers close again");
    }
}

#[tokio::test]
async fn a_lagging_view_shows_the_past_and_never_goes_back() {
    let client = client().await;
    let from = client.funded(1).await;
    let start = client.network.latest_ledger();
    client.network.fault(Fault::Lag(2));
    let sent = client.send(&client.payment(&from).await).await;
    let seen =
        async || client.call("getLatestLedger", json!({})).await["sequence"].as_u64().unwrap();
    for expected in [start, start, start + 1] {
        client.network.close_ledger().await.unwrap();
        assert_eq!(seen().await, u64::from(expected));
    }
    assert_eq!(client.get(&sent["hash"]).await["status"], "SUCCESS");
    client.network.fault(Fault::Lag(0));
    assert_eq!(seen().await, u64::from(start + 3));
}

#[tokio::test]
async fn a_snapshot_brings_back_chain_queue_and_clock() {
    let client = client().await;
    let from = client.funded(1).await;
    let envelope = client.payment(&from).await;
    let before = (client.account(&from).await, client.network.close_time());
    let snapshot = client.network.snapshot();
    client.network.advance_time(60);
    assert_eq!(client.apply(&envelope).await["status"], "SUCCESS");
    client.network.revert(snapshot).await.unwrap();
    assert_eq!((client.account(&from).await, client.network.close_time()), before);
    assert_eq!(client.apply(&envelope).await["status"], "SUCCESS");
    assert!(client.network.revert(99).await.is_err());
}

#[tokio::test]
async fn a_network_whose_ledgers_stay_away_is_not_healthy() {
    let client = client_of(builder().ledger_interval(Duration::from_millis(20))).await;
    let health = async || client.raw("getHealth", json!({})).await;
    client.network.fault(Fault::Freeze(true));

    // By hand, so that the clock below counts from a ledger that no other follows.
    client.network.close_ledger().await.unwrap();
    client.network.advance_time(30);
    assert_eq!(health().await["result"]["status"], "healthy");
    client.network.advance_time(35);
    let error = json!({
        "code": -32_603,
        "message": "latency (1m5s) since last known ledger closed is too high (>30s)",
    });
    assert_eq!(health().await["error"], error);
    client.network.close_ledger().await.unwrap();
    assert_eq!(health().await["result"]["status"], "healthy");

    // A snapshot is old, but the network goes on from it now.
    let snapshot = client.network.snapshot();
    client.network.advance_time(60);
    assert_eq!(health().await["error"]["code"], -32_603);
    client.network.revert(snapshot).await.unwrap();
    assert_eq!(health().await["result"]["status"], "healthy");
}

#[tokio::test]
async fn a_network_that_closes_by_hand_is_healthy_however_long_nobody_does() {
    let client = client().await;
    client.network.advance_time(1_000_000);
    let health = client.call("getHealth", json!({})).await;
    assert_eq!(health["status"], "healthy");
}

#[tokio::test]
async fn time_travel_makes_no_ledger_overdue() {
    let interval = Duration::from_millis(20);
    let client = client_of(Network::builder().ledger_interval(interval)).await;
    client.network.fault(Fault::Freeze(true));
    client.network.advance_time(1_000_000);
    let health = client.call("getHealth", json!({})).await;
    assert_eq!(health["status"], "healthy");
}
