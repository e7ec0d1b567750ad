//! Ledgers and transactions page by page, and the metadata that indexers read.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use soroban_env_host::xdr::{
    Asset, GeneralizedTransactionSet, LedgerCloseMeta, LedgerCloseMetaV2, LedgerHeader,
    LedgerHeaderHistoryEntry, Limits, OperationBody, PaymentOp, TransactionPhase,
    TransactionResultSet, WriteXdr,
};

use crate::harness::{Client, Key, client, invoke, xdr};

fn hash(value: &impl WriteXdr) -> [u8; 32] {
    Sha256::digest(value.to_xdr(Limits::none()).unwrap()).into()
}

fn meta(value: &Value) -> LedgerCloseMetaV2 {
    match xdr(value) {
        LedgerCloseMeta::V2(meta) => meta,
        other => panic!("unexpected version: {other:?}"),
    }
}

async fn pay(client: &Client, from: &Key) -> Value {
    let op = PaymentOp { destination: from.muxed(), asset: Asset::Native, amount: 1 };
    let tx = client.transaction(from, vec![OperationBody::Payment(op)], None).await;
    client.apply(&client.sign(tx, &[from])).await
}

#[tokio::test]
async fn the_latest_ledger_carries_its_metadata() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 0).await;
    let (done, _) = client.run(&source, invoke(&counter, "bump", vec![source.sc()]), &[]).await;

    let latest = client.call("getLatestLedger", json!({})).await;
    let header: LedgerHeader = xdr(&latest["headerXdr"]);
    let meta = meta(&latest["metadataXdr"]);
    assert_eq!(meta.ledger_header.header, header);
    assert_eq!(hex::encode(hash(&header)), latest["id"].as_str().unwrap());
    assert_eq!(meta.ledger_header.hash.0, hash(&header));

    // The hashes in the header are those of the set and of the results.
    assert_eq!(header.scp_value.tx_set_hash.0, hash(&meta.tx_set));
    let results: Vec<_> = meta.tx_processing.iter().map(|one| one.result.clone()).collect();
    let results = TransactionResultSet { results: results.try_into().unwrap() };
    assert_eq!(header.tx_set_result_hash.0, hash(&results));

    let [processed] = meta.tx_processing.as_slice() else { panic!("one transaction") };
    assert_eq!(hex::encode(processed.result.transaction_hash.0), done["txHash"].as_str().unwrap());
    assert_eq!(processed.tx_apply_processing, xdr(&done["resultMetaXdr"]));
    assert_eq!(processed.fee_processing.0.len(), 2, "the account before and after");
    assert_eq!(processed.post_tx_apply_fee_processing.0.len(), 2, "a part is given back");
    let GeneralizedTransactionSet::V1(set) = &meta.tx_set;
    let [TransactionPhase::V0(classic), TransactionPhase::V1(soroban)] = set.phases.as_slice()
    else {
        panic!("two phases: {set:?}")
    };
    assert!(classic.is_empty());
    assert_eq!(soroban.execution_stages[0].0[0].0[0], xdr(&done["envelopeXdr"]));
}

#[tokio::test]
async fn ledgers_follow_one_another_and_the_cursor_at_the_tip_is_valid() {
    let client = client().await;
    let source = client.funded(1).await;
    for _ in 0..3 {
        pay(&client, &source).await;
    }
    let mut request = json!({"startLedger": 1, "pagination": {"limit": 2}});
    let (mut ledgers, mut pages) = (Vec::<Value>::new(), 0);
    let cursor = loop {
        let page = client.call("getLedgers", request).await;
        let list = page["ledgers"].as_array().unwrap().clone();
        request = json!({"pagination": {"limit": 2, "cursor": page["cursor"]}});
        if list.is_empty() {
            break page["cursor"].clone();
        }
        ledgers.extend(list);
        pages += 1;
        assert!(pages < 20, "the pages end");
    };
    assert_eq!(cursor, client.network.latest_ledger().to_string());
    assert_eq!(ledgers.len(), client.network.latest_ledger() as usize);
    let mut previous = [0; 32];
    for (sequence, ledger) in (1_u64..).zip(&ledgers) {
        assert_eq!(ledger["sequence"], sequence);
        let header: LedgerHeaderHistoryEntry = xdr(&ledger["headerXdr"]);
        assert_eq!(header.header.previous_ledger_hash.0, previous);
        assert_eq!(hex::encode(header.hash.0), ledger["hash"].as_str().unwrap());
        assert!(ledger["ledgerCloseTime"].is_string());
        meta(&ledger["metadataXdr"]);
        previous = header.hash.0;
    }

    // A new ledger comes behind the same cursor.
    client.network.close_ledger().await.unwrap();
    let request = json!({"pagination": {"cursor": cursor}});
    let page = client.call("getLedgers", request).await;
    assert_eq!(page["ledgers"].as_array().unwrap().len(), 1);

    for wrong in [
        json!({"startLedger": 999}),
        json!({"startLedger": 0}),
        json!({"startLedger": 1, "pagination": {"limit": 201}}),
        json!({"startLedger": 1, "pagination": {"cursor": "1"}}),
        json!({"pagination": {"cursor": "999"}}),
        json!({"pagination": {"cursor": "x"}}),
    ] {
        assert!(client.raw("getLedgers", wrong.clone()).await.get("error").is_some(), "{wrong}");
    }
}

#[tokio::test]
async fn transactions_are_paged_without_gap_or_repeat_up_to_the_tip() {
    let client = client().await;
    let source = client.funded(1).await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(pay(&client, &source).await["txHash"].clone());
    }
    let mut request = json!({"startLedger": 1, "pagination": {"limit": 2}});
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = client.call("getTransactions", request.clone()).await;
        let list = page["transactions"].as_array().unwrap().clone();
        let again = json!({"pagination": {"limit": 2, "cursor": page["cursor"]}});
        if list.is_empty() {
            assert_eq!(again, request, "at the tip the cursor stays what it is");
            break;
        }
        seen.extend(list);
        request = again;
        pages += 1;
        assert!(pages < 20, "the pages end");
    }
    let hashes: Vec<Value> = seen.iter().map(|one| one["txHash"].clone()).collect();
    assert_eq!(hashes[hashes.len() - 5..], sent[..]);
    let last = &seen[seen.len() - 1];
    assert_eq!(last["status"], "SUCCESS");
    assert!(last["createdAt"].is_u64() && last["feeBump"] == false);
    assert!(last["envelopeXdr"].is_string() && last["resultMetaXdr"].is_string());

    let next = pay(&client, &source).await;
    let page = client.call("getTransactions", request).await;
    assert_eq!(page["transactions"][0]["txHash"], next["txHash"]);
    assert_eq!(page["transactions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_tail_loop_over_events_stays_at_the_tip_without_a_new_ledger() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 0).await;
    let first = client.call("getEvents", json!({"startLedger": 1})).await;
    let mut cursor = first["cursor"].clone();
    for _ in 0..3 {
        let request = json!({"pagination": {"cursor": cursor}});
        let page = client.call("getEvents", request).await;
        assert_eq!(page["events"], json!([]));
        assert_eq!(page["cursor"], cursor);
        cursor = page["cursor"].clone();
    }
    client.run(&source, invoke(&counter, "bump", vec![source.sc()]), &[]).await;
    let request = json!({"pagination": {"cursor": cursor}});
    let page = client.call("getEvents", request).await;
    assert!(!page["events"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn xdr_comes_as_json_where_it_is_asked_for() {
    let client = client().await;
    let source = client.funded(1).await;
    let done = pay(&client, &source).await;
    let request = json!({"hash": done["txHash"], "xdrFormat": "json"});
    let found = client.call("getTransaction", request).await;
    assert!(found.get("envelopeXdr").is_none());
    let operation = &found["envelopeJson"]["tx"]["tx"]["operations"][0]["body"];
    assert_eq!(operation["payment"]["destination"], source.address());
    assert!(found["resultJson"].is_object() && found["resultMetaJson"].is_object());
    let events = &found["events"]["transactionEventsJson"];
    assert_eq!(events[0]["event"]["body"]["v0"]["topics"][0]["symbol"], "fee");

    let request = json!({"startLedger": 1, "xdrFormat": "json"});
    let page = client.call("getEvents", request.clone()).await;
    assert_eq!(page["events"][0]["topicJson"][0]["symbol"], "fee");
    assert!(page["events"][0]["valueJson"].is_object());
    let page = client.call("getLedgers", request.clone()).await;
    assert!(page["ledgers"][0]["metadataJson"]["v2"].is_object());
    let page = client.call("getTransactions", request).await;
    assert!(page["transactions"][0]["envelopeJson"].is_object());
}
