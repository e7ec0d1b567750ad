//! Accounts come to life and pay each other.

use serde_json::Value;
use soroban_env_host::xdr::{
    Asset, ContractEvent, ContractEventBody, OperationBody, OperationResult, OperationResultTr,
    PaymentOp, PaymentResult, ScAddress, ScVal, TransactionResultResult,
};
use soroban_localnet::FRIENDBOT_BALANCE;

use crate::harness::{
    Client, Key, builder, client, client_of, i128, invoke, result_of, symbol, xdr,
};

fn pay(to: &Key, amount: i64) -> OperationBody {
    let (destination, asset) = (to.muxed(), Asset::Native);
    OperationBody::Payment(PaymentOp { destination, asset, amount })
}

async fn friendbot(client: &Client, address: &str) -> (u16, Value) {
    let url = format!("{}/friendbot?addr={address}", client.network.url());
    let answer = client.http.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn friendbot_funds_over_http_and_says_so_when_it_did_before() {
    let client = client_of(builder().ledger_interval(std::time::Duration::from_millis(20))).await;
    let key = Key::new(1);
    let (status, body) = friendbot(&client, &key.address()).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["successful"], true);
    assert_eq!(client.account(&key).await.unwrap().0, FRIENDBOT_BALANCE);
    let done = client.get(&body["hash"]).await;
    assert_eq!(done["status"], "SUCCESS");

    let (status, body) = friendbot(&client, &key.address()).await;
    assert_eq!(status, 400);
    assert_eq!(body["detail"], "account already funded to starting balance");
    let (status, body) = friendbot(&client, "GNONSENSE").await;
    assert_eq!(status, 400, "{body}");
    assert_eq!(body["type"], "https://stellar.org/horizon-errors/bad_request");
    assert_eq!(body["extras"]["invalid_field"], "addr");
}

#[tokio::test]
async fn friendbot_takes_queries_and_forms_by_get_and_post() {
    let client = client_of(builder().ledger_interval(std::time::Duration::from_millis(20))).await;
    let url = |query: &str| format!("{}/friendbot{query}", client.network.url());
    let address = |number: u8| Key::new(number).address();
    let by_query = |number: u8| url(&format!("?addr={}", address(number)));
    let form = |number: u8| {
        let body = format!("addr={}", address(number));
        let kind = "application/x-www-form-urlencoded";
        client.http.post(url("")).header("content-type", kind).body(body)
    };
    let requests = [
        client.http.get(by_query(1)),
        client.http.post(by_query(2)),
        form(3),
        client.http.post(by_query(4)).json(&serde_json::json!({})),
    ];
    for request in requests {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let body: Value = answer.json().await.unwrap();
        let found = client.get(&body["hash"]).await;
        assert_eq!(found["envelopeXdr"], body["envelope_xdr"]);
    }
    let missing = client.http.get(url("")).send().await.unwrap();
    assert_eq!(missing.status(), 400);
}

#[tokio::test]
async fn friendbot_funds_contracts() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 0).await;
    let address = format!("{}", stellar_strkey::Contract(counter.0.0));
    client.network.fund(&address).await.unwrap();
    let contract = ScVal::Address(ScAddress::Contract(counter));
    let balance = invoke(&client.native(), "balance", vec![contract]);
    assert_eq!(client.run(&source, balance, &[]).await.1, i128(FRIENDBOT_BALANCE));
    let again = client.network.fund(&address).await.unwrap_err();
    assert!(again.to_string().contains("already funded"), "{again}");
}

#[tokio::test]
async fn two_hundred_requests_at_once_are_all_served() {
    let client = client_of(builder().ledger_interval(std::time::Duration::from_millis(20))).await;
    let addresses: Vec<String> = (0..200).map(|n| Key::numbered(n).address()).collect();
    let asked = addresses.iter().map(|address| friendbot(&client, address));
    for (status, body) in futures::future::join_all(asked).await {
        assert_eq!(status, 200, "{body}");
    }
}

#[tokio::test]
async fn many_accounts_are_funded_in_few_ledgers() {
    let client = client_of(builder().ledger_interval(std::time::Duration::from_millis(20))).await;
    let before = client.network.latest_ledger();
    let keys: Vec<Key> = (1..=20).map(Key::new).collect();
    let addresses: Vec<String> = keys.iter().map(Key::address).collect();
    let asked = addresses.iter().map(|address| friendbot(&client, address));
    for (status, body) in futures::future::join_all(asked).await {
        assert_eq!(status, 200, "{body}");
    }
    assert!(client.network.latest_ledger() - before < 40);
    for key in &keys {
        assert_eq!(client.account(key).await.unwrap().0, FRIENDBOT_BALANCE);
    }
}

#[tokio::test]
async fn a_payment_moves_the_amount_and_the_fee_and_emits_events() {
    let client = client().await;
    let (from, to) = (client.funded(1).await, client.funded(2).await);
    let sequence = client.account(&from).await.unwrap().1;
    let tx = client.transaction(&from, vec![pay(&to, 5_000_000)], None).await;
    let done = client.apply(&client.sign(tx, &[&from])).await;
    assert_eq!(done["status"], "SUCCESS");
    assert_eq!(result_of(&done).fee_charged, 100);
    let left = FRIENDBOT_BALANCE - 5_000_000 - 100;
    assert_eq!(client.account(&from).await.unwrap(), (left, sequence + 1));
    assert_eq!(client.account(&to).await.unwrap().0, FRIENDBOT_BALANCE + 5_000_000);

    let event: ContractEvent = xdr(&done["events"]["contractEventsXdr"][0][0]);
    let ContractEventBody::V0(body) = event.body;
    let native = ScVal::String(soroban_env_host::xdr::ScString("native".try_into().unwrap()));
    assert_eq!(body.topics.as_slice(), [symbol("transfer"), from.sc(), to.sc(), native]);
    assert_eq!(body.data, i128(5_000_000));
}

#[tokio::test]
async fn a_payment_that_cannot_be_made_costs_the_fee_and_the_sequence_number() {
    let client = client().await;
    let (from, to) = (client.funded(1).await, client.funded(2).await);
    let (balance, sequence) = client.account(&from).await.unwrap();
    let tx = client.transaction(&from, vec![pay(&to, 1), pay(&to, balance)], None).await;
    let done = client.apply(&client.sign(tx, &[&from])).await;
    assert_eq!(done["status"], "FAILED");
    let TransactionResultResult::TxFailed(results) = result_of(&done).result else {
        panic!("{done}");
    };
    let underfunded = OperationResultTr::Payment(PaymentResult::Underfunded);
    assert_eq!(results[1], OperationResult::OpInner(underfunded));
    assert_eq!(client.account(&from).await.unwrap(), (balance - 200, sequence + 1));
    assert_eq!(client.account(&to).await.unwrap().0, FRIENDBOT_BALANCE);
}
