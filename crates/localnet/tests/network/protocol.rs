//! What unmodified clients rely on beyond the answers themselves: absent parameters, HTTP,
//! JSON-RPC's own rules, and that heavy calls do not hold up the light ones.

use std::time::Duration;

use serde_json::{Value, json};
use soroban_env_host::xdr::{
    HostFunction, InvokeHostFunctionOp, LedgerKey, LedgerKeyAccount, OperationBody,
};
use tokio::time::Instant;

use crate::harness::{Client, base64, builder, client, client_of, counter_wasm, invoke};

async fn post(client: &Client, path: &str, body: &Value) -> reqwest::Response {
    let url = format!("{}{path}", client.network.url());
    client.http.post(url).json(body).send().await.unwrap()
}

#[tokio::test]
async fn null_is_the_same_as_absent_in_every_optional_parameter() {
    let client = client().await;
    let source = client.funded(1).await;
    let hash = "0".repeat(64);
    let pagination = json!({"cursor": null, "limit": null});
    let filter = json!({"type": null, "contractIds": null, "topics": null});
    let tx = client.transaction(&source, vec![upload()], None).await;
    let transaction = base64(&client.sign(tx, &[]));
    let account_id = source.account();
    let key = base64(&LedgerKey::Account(LedgerKeyAccount { account_id }));
    let requests = [
        (
            "getEvents",
            json!({
                "startLedger": 1, "endLedger": null, "filters": null, "pagination": pagination,
                "xdrFormat": null,
            }),
        ),
        ("getEvents", json!({"startLedger": 1, "filters": [filter], "pagination": null})),
        ("getTransaction", json!({"hash": hash, "xdrFormat": null})),
        ("getTransactions", json!({"startLedger": 1, "pagination": pagination})),
        ("getLedgers", json!({"startLedger": 1, "pagination": pagination, "xdrFormat": null})),
        ("getLedgerEntries", json!({"keys": [key], "xdrFormat": null})),
        (
            "simulateTransaction",
            json!({
                "transaction": transaction, "resourceConfig": null, "authMode": null,
                "xdrFormat": null, "useUpgradedAuth": null,
            }),
        ),
        ("getHealth", Value::Null),
        ("getFeeStats", json!({})),
    ];
    for (method, params) in requests {
        let answer = client.raw(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        assert!(answer["result"].get("error").is_none(), "{method}: {answer}");
    }
}

fn upload() -> OperationBody {
    let host_function = HostFunction::UploadContractWasm(counter_wasm().try_into().unwrap());
    OperationBody::InvokeHostFunction(InvokeHostFunctionOp {
        host_function,
        auth: Default::default(),
    })
}

#[tokio::test]
async fn every_path_of_public_providers_answers() {
    let client = client().await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "getHealth"});
    for path in ["", "/", "/rpc", "/soroban/rpc"] {
        let answer: Value = post(&client, path, &body).await.json().await.unwrap();
        assert_eq!(answer["result"]["status"], "healthy", "{path}");
    }
}

#[tokio::test]
async fn other_content_types_are_refused_unless_the_network_is_lenient() {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "getHealth"}).to_string();
    let strict = client().await;
    let lenient = client_of(builder().lenient_http(true)).await;
    let status = async |client: &Client, kind: &str| {
        let sent = client.http.post(client.network.url()).header("content-type", kind);
        sent.body(body.clone()).send().await.unwrap().status().as_u16()
    };
    for (kind, expected) in [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/json; charset=latin1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ] {
        assert_eq!(status(&strict, kind).await, expected, "{kind}");
        assert_eq!(status(&lenient, kind).await, 200, "{kind}");
    }
    let get = strict.http.get(strict.network.url()).send().await.unwrap();
    assert_eq!(get.status(), 405);
}

#[tokio::test]
async fn notifications_get_no_answer_and_ids_come_back_as_they_were() {
    let client = client().await;
    let call = |id: Value| json!({"jsonrpc": "2.0", "id": id, "method": "getHealth"});
    let notification = json!({"jsonrpc": "2.0", "method": "getHealth"});

    let silent = post(&client, "/", &notification).await;
    assert_eq!(silent.status(), 204);
    assert!(silent.bytes().await.unwrap().is_empty());
    let silent = post(&client, "/", &json!([notification, notification])).await;
    assert_eq!(silent.status(), 204);
    let batch = json!([notification, call(json!("a"))]);
    let answers: Value = post(&client, "/", &batch).await.json().await.unwrap();
    assert_eq!(answers.as_array().unwrap().len(), 1);
    assert_eq!(answers[0]["id"], "a");

    for id in [json!("text"), json!(7), json!(1.5), Value::Null] {
        let answer: Value = post(&client, "/", &call(id.clone())).await.json().await.unwrap();
        assert_eq!((&answer["id"], &answer["result"]["status"]), (&id, &json!("healthy")));
    }
    let wrong = [
        json!({"jsonrpc": "2.0", "id": [1], "method": "getHealth"}),
        json!({"jsonrpc": "1.0", "id": 1, "method": "getHealth"}),
        json!({"id": 1, "method": "getHealth"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": 5}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "getHealth", "params": "x"}),
        json!(17),
    ];
    for request in wrong {
        let answer: Value = post(&client, "/", &request).await.json().await.unwrap();
        assert_eq!(answer["error"]["code"], -32_600, "{request}: {answer}");
    }
    let answer = client.raw("getTransaction", json!(["0"])).await;
    assert_eq!(answer["error"]["code"], -32_602);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_heavy_simulations_do_not_hold_up_a_health_check() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 0).await;
    let op = InvokeHostFunctionOp {
        host_function: invoke(&counter, "bump", vec![source.sc()]),
        auth: Default::default(),
    };
    let body = OperationBody::InvokeHostFunction(op);
    let tx = client.transaction(&source, vec![body], None).await;
    let transaction = json!({"transaction": base64(&client.sign(tx, &[]))});

    let simulations = (0..40).map(|_| client.raw("simulateTransaction", transaction.clone()));
    let simulations = futures::future::join_all(simulations);
    let health = async {
        let started = Instant::now();
        let mut slowest = Duration::ZERO;
        for _ in 0..10 {
            let one = Instant::now();
            client.call("getHealth", json!({})).await;
            slowest = slowest.max(one.elapsed());
        }
        (started.elapsed(), slowest)
    };
    let started = Instant::now();
    let (answers, (ten, slowest)) = futures::future::join(simulations, health).await;
    let all = started.elapsed();
    for answer in &answers {
        assert!(answer["result"]["transactionData"].is_string(), "{answer}");
    }
    assert!(ten < all, "ten checks took {ten:?} (slowest {slowest:?}), the simulations {all:?}");
}
