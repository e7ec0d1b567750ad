//! Requests that are lost, late, refused or never answered, and what they leave behind.

use std::time::Duration;

use serde_json::{Value, json};
use soroban_localnet::Fault;
use tokio::time::Instant;

use crate::harness::{Client, base64, builder, client, client_of};

/// Longer than any answer that comes at all.
const PATIENT: Duration = Duration::from_secs(60);

/// Shorter than any delay that these tests ask for.
const IMPATIENT: Duration = Duration::from_millis(300);

/// How long a request or an answer is held up where a client gives up before.
const LONG: Duration = Duration::from_secs(3);

fn sending(envelope: &soroban_env_host::xdr::TransactionEnvelope) -> (&'static str, Value) {
    ("sendTransaction", json!({"transaction": base64(envelope)}))
}

async fn ask(client: &Client, request: (&str, Value), patience: Duration) -> Option<(u16, Value)> {
    client.ask(&client.network.url(), request, patience).await
}

#[tokio::test]
async fn a_transaction_whose_answer_got_lost_is_applied() {
    let client = client().await;
    let from = client.funded(1).await;
    let envelope = client.payment(&from).await;
    client.network.fault(Fault::DropSendResponses(1));
    assert_eq!(ask(&client, sending(&envelope), PATIENT).await, None);
    client.network.close_ledger().await.unwrap();

    // A client that lost the answer finds out by sending the same bytes, and by the hash.
    let again = client.send(&envelope).await;
    assert_eq!(again["status"], "TRY_AGAIN_LATER");
    assert_eq!(client.get(&again["hash"]).await["status"], "SUCCESS");
}

#[tokio::test]
async fn a_send_within_a_batch_gets_lost_as_well() {
    let client = client().await;
    let from = client.funded(1).await;
    let envelope = client.payment(&from).await;
    let (method, params) = sending(&envelope);
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "getHealth"},
        {"jsonrpc": "2.0", "id": 2, "method": method, "params": params},
    ]);
    client.network.fault(Fault::LoseSendRequests(1));
    let sent = client.http.post(client.network.url()).json(&batch).send().await;
    let lost = match sent {
        Ok(answer) => answer.bytes().await.is_err(),
        Err(_) => true,
    };
    assert!(lost);
    assert_eq!(client.send(&envelope).await["status"], "PENDING", "it never reached the queue");
}

#[tokio::test]
async fn a_late_request_arrives_after_its_client_gave_up() {
    let client = client_of(builder().control(true)).await;
    let from = client.funded(1).await;
    let envelope = client.payment(&from).await;
    client.network.fault(Fault::LateSends { count: 1, delay: LONG });
    assert_eq!(ask(&client, sending(&envelope), IMPATIENT).await, None);
    assert_eq!(client.described().await["waiting"], false, "it is still under way");

    client.arrives().await;
    client.network.close_ledger().await.unwrap();
    let again = client.send(&envelope).await;
    assert_eq!(client.get(&again["hash"]).await["status"], "SUCCESS");
}

#[tokio::test]
async fn a_late_answer_is_complete_and_its_request_was_carried_out_before() {
    let client = client_of(builder().control(true)).await;
    let from = client.funded(1).await;
    let envelope = client.payment(&from).await;
    client.network.fault(Fault::Delay(LONG));
    assert_eq!(ask(&client, sending(&envelope), IMPATIENT).await, None);
    client.arrives().await;

    let began = Instant::now();
    let (status, answer) = ask(&client, ("getHealth", json!({})), PATIENT).await.unwrap();
    assert!(began.elapsed() >= LONG);
    assert_eq!((status, &answer["status"]), (200, &json!("healthy")));
    client.network.fault(Fault::Delay(Duration::ZERO));
    assert_eq!(client.send(&envelope).await["status"], "DUPLICATE");
}

#[tokio::test]
async fn a_stalled_request_is_neither_answered_nor_carried_out() {
    let client = client().await;
    let from = client.funded(1).await;
    let envelope = client.payment(&from).await;
    client.network.fault(Fault::Stall(1));
    assert_eq!(ask(&client, sending(&envelope), IMPATIENT).await, None);
    assert_eq!(client.send(&envelope).await["status"], "PENDING");
}

#[tokio::test]
async fn refused_requests_are_not_carried_out_and_name_when_to_come_back() {
    let client = client().await;
    let from = client.funded(1).await;
    let envelope = client.payment(&from).await;
    let (method, params) = sending(&envelope);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    for (fault, status, retry) in [
        (Fault::RateLimited(1), 429, Some("1")),
        (Fault::ServerError(1), 500, None),
        (Fault::Unavailable(1), 503, Some("1")),
    ] {
        client.network.fault(fault);
        let answer = client.http.post(client.network.url()).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        let header = answer.headers().get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(header, retry, "{fault:?}");
    }
    assert_eq!(client.send(&envelope).await["status"], "PENDING");
}

#[tokio::test]
async fn transactions_and_batches_come_backwards() {
    let client = client().await;
    let start = client.network.latest_ledger();
    client.funded(1).await;
    client.funded(2).await;
    let list = async || {
        let page = client.call("getTransactions", json!({"startLedger": start})).await;
        let hashes = page["transactions"].as_array().unwrap().iter();
        (hashes.map(|done| done["txHash"].clone()).collect::<Vec<_>>(), page["cursor"].clone())
    };
    let (plain, cursor) = list().await;
    client.network.fault(Fault::ReorderAnswers(2));
    let (mut backwards, same_cursor) = list().await;
    backwards.reverse();
    assert!(plain.len() > 1);
    assert_eq!((backwards, same_cursor), (plain, cursor), "only the order differs");

    let call = |id: u32| json!({"jsonrpc": "2.0", "id": id, "method": "getHealth"});
    let batch = json!([call(1), call(2)]);
    let answer = client.http.post(client.network.url()).json(&batch).send().await.unwrap();
    let ids: Vec<Value> = answer.json::<Vec<Value>>().await.unwrap();
    assert_eq!((&ids[0]["id"], &ids[1]["id"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn closes_are_skipped_until_the_number_is_used_up() {
    let client = client_of(builder().ledger_interval(Duration::from_millis(5))).await;
    client.network.fault(Fault::SkipCloses(u32::MAX));
    // Nothing but this call closes a ledger now.
    let by_hand = client.network.close_ledger().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(client.network.latest_ledger(), by_hand);

    client.network.fault(Fault::SkipCloses(3));
    let deadline = Instant::now() + PATIENT;
    while client.network.latest_ledger() < by_hand + 2 {
        assert!(Instant::now() < deadline, "ledgers close again after three were skipped");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_requests_that_hang() {
    let client = client().await;
    let url = client.network.url();
    client.network.fault(Fault::Stall(1));
    let http = client.http.clone();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "getHealth"});
    let hanging = tokio::spawn(async move { http.post(url).json(&body).send().await });
    // The fault is used up as soon as the request is there.
    let health = async || ask(&client, ("getHealth", json!({})), IMPATIENT).await;
    let deadline = Instant::now() + PATIENT;
    while health().await.is_none() {
        assert!(Instant::now() < deadline);
    }

    let began = Instant::now();
    client.network.shutdown().await;
    assert!(began.elapsed() < PATIENT, "{:?}", began.elapsed());
    // Whatever the client sees, it sees it now and not when the ten minutes are over.
    let _ = hanging.await.unwrap();
}
