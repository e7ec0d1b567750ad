//! `getEvents` and what is kept.

use serde_json::{Value, json};
use soroban_env_host::xdr::{ContractId, ScVal};

use crate::harness::{Client, Key, base64, builder, client, client_of, invoke, symbol, xdr};

async fn bumped(client: &Client, source: &Key, times: u32) -> ContractId {
    let counter = client.counter(source, 0).await;
    for _ in 0..times {
        client.run(source, invoke(&counter, "bump", vec![source.sc()]), &[]).await;
    }
    counter
}

fn address(contract: &ContractId) -> String {
    format!("{}", stellar_strkey::Contract(contract.0.0))
}

fn values(page: &Value) -> Vec<ScVal> {
    page["events"].as_array().unwrap().iter().map(|event| xdr(&event["value"])).collect()
}

#[tokio::test]
async fn events_are_paged_without_gap_or_repeat() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = bumped(&client, &source, 5).await;
    let filters = json!([{"type": "contract", "contractIds": [address(&counter)]}]);
    let mut seen = Vec::new();
    let mut request = json!({"startLedger": 1, "filters": filters, "pagination": {"limit": 2}});
    loop {
        let page = client.call("getEvents", request).await;
        let got = values(&page);
        let (cursor, full) = (page["cursor"].clone(), got.len() == 2);
        seen.extend(got);
        request = json!({"filters": filters, "pagination": {"limit": 2, "cursor": cursor}});
        if !full {
            break;
        }
    }
    assert_eq!(seen, (1..=5).map(ScVal::U32).collect::<Vec<_>>());

    // The cursor of the last page goes on with what comes later.
    client.run(&source, invoke(&counter, "bump", vec![source.sc()]), &[]).await;
    let page = client.call("getEvents", request).await;
    assert_eq!(values(&page), [ScVal::U32(6)]);
    let event = &page["events"][0];
    let id = event["id"].as_str().unwrap();
    let ledger = event["ledger"].as_u64().unwrap();
    assert_eq!(id, format!("{:019}-0000000000", ledger << 32 | 1 << 12));
    assert_eq!(event["ledgerClosedAt"], "2027-01-15T08:00:00Z");
}

#[tokio::test]
async fn topics_filter_with_wildcards() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = bumped(&client, &source, 2).await;
    let count = async |topics: Value| {
        let filter = json!({"contractIds": [address(&counter)], "topics": topics});
        let request = json!({"startLedger": 1, "filters": [filter]});
        values(&client.call("getEvents", request).await).len()
    };
    let bump = base64(&symbol("bump"));
    let user = base64(&source.sc());
    assert_eq!(count(json!([[bump, user]])).await, 2);
    assert_eq!(count(json!([[bump, "*"]])).await, 2);
    assert_eq!(count(json!([["*", user]])).await, 2);
    assert_eq!(count(json!([[bump, "**"]])).await, 2);
    assert_eq!(count(json!([["**"]])).await, 2);
    assert_eq!(count(json!([[bump]])).await, 0);
    assert_eq!(count(json!([[bump, "*", "*"]])).await, 0);
    assert_eq!(count(json!([[user, "*"], [bump, "*"]])).await, 2);
}

#[tokio::test]
async fn requests_for_events_are_checked() {
    let client = client().await;
    let refused = async |request: Value| {
        let answer = client.raw("getEvents", request).await;
        answer["error"]["message"].as_str().unwrap().to_owned()
    };
    let range = format!(
        "startLedger must be within the ledger range: 1 - {}",
        client.network.latest_ledger()
    );
    assert_eq!(refused(json!({"startLedger": 9_999, "filters": []})).await, range);
    assert_eq!(refused(json!({"filters": []})).await, "startLedger must be positive");
    let request = json!({"startLedger": 1, "filters": [{}, {}, {}, {}, {}, {}]});
    assert_eq!(refused(request).await, "maximum 5 filters per request");
    let request = json!({"startLedger": 1, "pagination": {"limit": 10_001}});
    assert_eq!(refused(request).await, "limit must not exceed 10000");
    let request = json!({"startLedger": 1, "filters": [{"type": "diagnostic"}]});
    assert!(refused(request).await.contains("filter 1 invalid"));
    let request = json!({"startLedger": 1, "filters": [{"topics": [["**", "*"]]}]});
    assert!(refused(request).await.contains("only allowed as the last segment"));
    let request = json!({"pagination": {"cursor": "nonsense"}});
    assert_eq!(refused(request).await, "invalid event id nonsense");
}

#[tokio::test]
async fn history_ends_where_retention_ends() {
    let client = client_of(builder().retention(5)).await;
    let source = client.funded(1).await;
    let done = client.run(&source, invoke(&client.native(), "decimals", vec![]), &[]).await.0;
    assert_eq!(client.get(&done["txHash"]).await["status"], "SUCCESS");
    client.network.close_ledgers(5).await.unwrap();
    let gone = client.get(&done["txHash"]).await;
    assert_eq!(gone["status"], "NOT_FOUND");
    assert_eq!(gone["oldestLedger"], client.network.latest_ledger() - 4);
    let health = client.call("getHealth", json!({})).await;
    assert_eq!(health["ledgerRetentionWindow"], 5);
}
