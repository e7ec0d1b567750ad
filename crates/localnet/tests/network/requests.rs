//! Requests of all kinds, good and bad; none of them brings the server down.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use soroban_env_host::xdr::{
    HostFunction, InvokeHostFunctionOp, LedgerKey, LedgerKeyAccount, Limits, OperationBody,
    WriteXdr,
};

use crate::harness::{base64, client, counter_wasm};

#[tokio::test]
async fn the_network_describes_itself() {
    let client = client().await;
    let network = client.call("getNetwork", json!(null)).await;
    assert_eq!(network["passphrase"], "Standalone Network ; February 2017");
    assert_eq!(network["protocolVersion"], 30);
    let health = client.call("getHealth", json!({})).await;
    assert_eq!(health["status"], "healthy");
    let latest = client.call("getLatestLedger", json!({})).await;
    assert_eq!(latest["id"].as_str().unwrap().len(), 64);
    assert_eq!(latest["sequence"], client.network.latest_ledger());
    let version = client.call("getVersionInfo", json!({})).await;
    assert_eq!(version["protocolVersion"], 30);
    let fees = client.call("getFeeStats", json!({})).await;
    assert_eq!(fees["sorobanInclusionFee"]["p99"], "100", "the native contract's deployment");
    assert_eq!(fees["inclusionFee"]["p99"], "0", "nothing was included yet");
}

#[tokio::test]
async fn bad_requests_get_the_errors_of_json_rpc() {
    let client = client().await;
    let post = async |path: &str, body: String| -> Value {
        let url = format!("{}{path}", client.network.url());
        let sent = client.http.post(url).header("content-type", "application/json").body(body);
        sent.send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(post("/", "{".to_owned()).await["error"]["code"], -32_700);
    assert_eq!(post("/rpc", "{}".to_owned()).await["error"]["code"], -32_600);
    assert_eq!(post("/rpc", "[]".to_owned()).await["error"]["code"], -32_600);
    let deep = "[".repeat(5_000);
    assert_eq!(post("/", deep).await["error"]["code"], -32_700);
    let batch = json!([
        {"jsonrpc": "2.0", "id": "a", "method": "getHealth"},
        {"jsonrpc": "2.0", "id": "b", "method": "getNonsense"},
    ]);
    let answers = post("/", batch.to_string()).await;
    assert_eq!((&answers[0]["id"], &answers[1]["id"]), (&json!("a"), &json!("b")));
    assert_eq!(answers[1]["error"]["code"], -32_601);
    let large = client.http.post(client.network.url()).header("content-type", "application/json");
    let large = large.body(vec![b' '; 513 * 1024]).send().await;
    assert!(large.is_err() || large.unwrap().status() == 413);
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let client = client().await;
    let message = async |method: &str, params: Value| {
        let answer = client.raw(method, params).await;
        assert_eq!(answer["error"]["code"], -32_602, "{answer}");
        answer["error"]["message"].as_str().unwrap().to_owned()
    };
    let sent = message("sendTransaction", json!({"transaction": "AAAA"})).await;
    assert_eq!(sent, "invalid_xdr");
    assert_eq!(message("sendTransaction", json!({})).await, "invalid_xdr");
    let short = message("getTransaction", json!({"hash": "00"})).await;
    assert_eq!(short, "unexpected hash length (2)");
    let many = vec!["AAAA"; 201];
    let many = message("getLedgerEntries", json!({"keys": many})).await;
    assert_eq!(many, "key count (201) exceeds maximum supported (200)");
    let format = json!({"hash": "0".repeat(64), "xdrFormat": "yaml"});
    assert!(message("getTransaction", format).await.contains("'base64' or 'json'"));
}

#[tokio::test]
async fn a_simulation_says_what_the_application_then_needs() {
    let client = client().await;
    let source = client.funded(1).await;
    let upload = HostFunction::UploadContractWasm(counter_wasm().try_into().unwrap());
    let op = InvokeHostFunctionOp { host_function: upload, auth: Default::default() };
    let body = OperationBody::InvokeHostFunction(op);
    let tx = client.transaction(&source, vec![body], None).await;
    let simulated = client.simulate(&tx).await;
    assert!(simulated["minResourceFee"].as_str().unwrap().parse::<i64>().unwrap() > 0);
    assert_eq!(simulated["stateChanges"][0]["type"], "created");
    assert_eq!(simulated["latestLedger"], client.network.latest_ledger());

    let garbage = HostFunction::UploadContractWasm(vec![0, 97, 115].try_into().unwrap());
    let op = InvokeHostFunctionOp { host_function: garbage, auth: Default::default() };
    let body = OperationBody::InvokeHostFunction(op);
    let tx = client.transaction(&source, vec![body], None).await;
    let simulated = client.simulate(&tx).await;
    assert!(simulated["error"].as_str().unwrap().contains("HostError"), "{simulated}");

    let envelope = json!({"transaction": base64(&client.sign(tx, &[])), "authMode": "sometimes"});
    let simulated = client.call("simulateTransaction", envelope).await;
    assert!(simulated["error"].as_str().unwrap().contains("authMode"));
}

#[tokio::test]
async fn mutilated_transactions_are_answered_and_the_network_goes_on() {
    let client = client().await;
    let source = client.funded(1).await;
    let upload = HostFunction::UploadContractWasm(counter_wasm().try_into().unwrap());
    let tx = client.prepare(&source, upload, &[]).await;
    let whole = client.sign(tx, &[&source]);
    let bytes = whole.to_xdr(Limits::none()).unwrap();
    for position in (0..bytes.len()).step_by(7) {
        let mut broken = bytes.clone();
        broken[position] ^= 0xa5;
        let text = STANDARD.encode(broken);
        for method in ["sendTransaction", "simulateTransaction"] {
            let answer = client.raw(method, json!({"transaction": text})).await;
            let internal = answer["error"]["code"] == -32_603;
            assert!(!internal, "{method} with byte {position} changed: {answer}");
        }
    }
    client.network.close_ledger().await.unwrap();
    let whole = client.send(&whole).await;
    assert!(["PENDING", "ERROR"].contains(&whole["status"].as_str().unwrap()), "{whole}");
}

#[tokio::test]
async fn entries_are_asked_for_once_each_and_at_least_one() {
    let client = client().await;
    let source = client.funded(1).await;
    let account_id = source.account();
    let key = base64(&LedgerKey::Account(LedgerKeyAccount { account_id }));
    let refused = async |keys: Value| {
        let answer = client.raw("getLedgerEntries", json!({"keys": keys})).await;
        assert_eq!(answer["error"]["code"], -32_603, "{answer}");
        answer["error"]["message"].as_str().unwrap().to_owned()
    };
    let twice = "could not query captive core: http request failed with non-200 status code (404)";
    assert_eq!(refused(json!([key, key])).await, twice);
    let none = "could not query captive core: no keys specified in request";
    assert_eq!(refused(json!([])).await, none);

    // What cannot be read is reported first, whatever else is wrong.
    let answer = client.raw("getLedgerEntries", json!({"keys": [key, key, "AAAA"]})).await;
    assert_eq!(answer["error"]["code"], -32_602, "{answer}");
}

#[tokio::test]
async fn what_cannot_be_simulated_is_refused_before_the_ledger_is_looked_up() {
    let client = client().await;
    let source = client.funded(1).await;
    let payment = client.payment(&source).await;
    let simulated =
        client.call("simulateTransaction", json!({"transaction": base64(&payment)})).await;
    let error = "transaction contains unsupported operation type: OperationTypePayment";
    assert_eq!(simulated, json!({"latestLedger": 0, "error": error}));
    let simulated = client.call("simulateTransaction", json!({"transaction": "AAAA"})).await;
    assert_eq!(simulated, json!({"latestLedger": 0, "error": "Could not unmarshal transaction"}));
}
