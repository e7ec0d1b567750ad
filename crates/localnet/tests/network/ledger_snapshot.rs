//! Ledger snapshots: the state of one network, loaded into another.

use serde_json::{Value, json};
use soroban_env_host::xdr::{ContractId, Hash, LedgerKey, LedgerKeyContractCode, ScVal};
use soroban_localnet::{Lifetimes, Network};

use crate::harness::{START, builder, client, client_of, counter_wasm, invoke, sha256};

/// A ledger that soroban-sdk 28 wrote, from a test with natively registered contracts.
const OF_THE_SDK: &str = include_str!("../fixtures/sdk-ledger.json");

#[tokio::test]
async fn a_new_network_begins_with_the_ledger_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.json");
    let first = client().await;
    let source = first.funded(1).await;
    let counter = first.counter(&source, 7).await;
    first.network.advance_time(1_000);
    first.network.close_ledgers(40).await.unwrap();
    first.network.save_ledger_snapshot(&file).await.unwrap();
    let (ledger, time) = (first.network.latest_ledger(), first.network.close_time());

    let second = client_of(builder().ledger_snapshot(&file)).await;
    // One ledger closes at the start, as with every network.
    assert_eq!(second.network.latest_ledger(), ledger + 1);
    assert!(second.network.close_time() >= time);
    assert_eq!(second.account(&source).await, first.account(&source).await);
    let other = second.funded(2).await;
    assert!(second.account(&other).await.is_some(), "friendbot works");

    // The contract's code and count were archived meanwhile, and come back as on the first one.
    let bump = || invoke(&counter, "bump", vec![source.sc()]);
    let code =
        LedgerKey::ContractCode(LedgerKeyContractCode { hash: Hash(sha256(&counter_wasm())) });
    assert_eq!(second.entry(&code).await.unwrap().1["liveUntilLedgerSeq"], 0);
    assert_eq!(second.run(&source, bump(), &[]).await.1, ScVal::U32(8));
    assert_eq!(first.run(&source, bump(), &[]).await.1, ScVal::U32(8));
}

#[tokio::test]
async fn a_running_network_goes_on_at_the_later_of_both_ledgers() {
    let later = client().await;
    let source = later.funded(1).await;
    later.network.close_ledgers(500).await.unwrap();
    let url = format!("{}/control/ledger-snapshot", later.network.url());
    assert_eq!(later.http.get(url).send().await.unwrap().status().as_u16(), 404, "it is off");

    let client = client_of(builder().control(true)).await;
    let here = client.funded(2).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.json");
    later.network.save_ledger_snapshot(&file).await.unwrap();
    let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let (code, loaded) = client.control("ledger-snapshot", json.clone()).await;
    assert_eq!(code, 200, "{loaded}");
    assert_eq!(loaded["ledger"], later.network.latest_ledger());
    assert!(client.account(&source).await.is_some());
    assert!(client.account(&here).await.is_some(), "what was there before stays");
    let health = client.call("getHealth", json!({})).await;
    assert_eq!(health["oldestLedger"], health["latestLedger"], "history begins anew");
    assert_eq!(client.apply(&client.payment(&source).await).await["status"], "SUCCESS");

    // Loaded again, it is the earlier one: the chain does not go back.
    let at = client.network.latest_ledger();
    assert_eq!(client.network.load_ledger_snapshot(&file).await.unwrap(), loaded["entries"]);
    assert_eq!(client.network.latest_ledger(), at);
}

#[tokio::test]
async fn time_goes_on_from_a_loaded_ledger_and_a_revert_brings_the_clock_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.json");
    let later = client().await;
    later.network.advance_time(1_000);
    later.network.close_ledger().await.unwrap();
    later.network.save_ledger_snapshot(&file).await.unwrap();
    let time = later.network.close_time();

    let begun = client_of(builder().ledger_snapshot(&file)).await;
    let client = client_of(builder().control(true)).await;
    let before = client.network.snapshot();
    client.network.load_ledger_snapshot(&file).await.unwrap();
    for network in [&begun.network, &client.network] {
        network.advance_time(60);
        network.close_ledger().await.unwrap();
        assert_eq!(network.close_time(), time + 60);
    }
    let moved = client.control("time", json!({"seconds": 40})).await;
    assert_eq!(moved, (200, json!({"advanced": 40, "time": time + 100})));

    client.network.revert(before).await.unwrap();
    client.network.advance_time(60);
    client.network.close_ledger().await.unwrap();
    assert_eq!(client.network.close_time(), START + 60);
}

#[tokio::test]
async fn a_loaded_ledger_is_kept_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.json");
    let first = client().await;
    let source = first.funded(1).await;
    first.network.close_ledgers(100).await.unwrap();
    first.network.save_ledger_snapshot(&file).await.unwrap();

    let directory = folder.path().join("chain");
    let client = client_of(builder().state_dir(&directory)).await;
    client.network.load_ledger_snapshot(&file).await.unwrap();
    let at = client.network.latest_ledger();
    client.network.shutdown().await;
    // A kept chain is not loaded over.
    let client = client_of(builder().state_dir(&directory).ledger_snapshot("/missing")).await;
    assert_eq!(client.network.latest_ledger(), at + 1);
    assert!(client.account(&source).await.is_some());
}

#[tokio::test]
async fn both_forms_of_the_format_are_read_and_rules_and_root_stay() {
    let mut ledger: Value = serde_json::from_str(OF_THE_SDK).unwrap();
    let entries = ledger["ledger_entries"].as_array_mut().unwrap();
    // Without the contracts that were never Wasm.
    entries
        .retain(|entry| !entry.to_string().contains("wasm") && !entry.to_string().contains("code"));
    let named = entries.len();
    assert_eq!(named, 5);
    let keyed =
        entries.iter().map(|entry| json!([{"some": "key"}, [entry["entry"], entry["live_until"]]]));
    let keyed: Vec<Value> = keyed.collect();

    let client = client_of(builder().control(true)).await;
    let before = client.described().await["kept"]["entries"].as_u64().unwrap();
    let loaded = client.control("ledger-snapshot", ledger.clone()).await.1;
    assert_eq!(loaded["entries"], named);
    assert_eq!(client.described().await["kept"]["entries"], before + 5);
    ledger["ledger_entries"] = json!(keyed);
    assert_eq!(client.control("ledger-snapshot", ledger).await.1["entries"], named);

    // What this network wrote itself has its rules and its root account in it; both are left out.
    let url = format!("{}/control/ledger-snapshot", client.network.url());
    let own: Value = client.http.get(url).send().await.unwrap().json().await.unwrap();
    let all = own["ledger_entries"].as_array().unwrap().len();
    let other = Network::builder().manual_clock(START).control(true).lifetimes(Lifetimes {
        min_temporary: 99,
        min_persistent: 99,
        max: 999,
    });
    let other = client_of(other).await;
    let loaded = other.control("ledger-snapshot", own).await.1;
    assert!(loaded["entries"].as_u64().unwrap() < u64::try_from(all).unwrap());
    let url = format!("{}/control/ledger-snapshot", other.network.url());
    let written: Value = other.http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(written["min_persistent_entry_ttl"], 99);
    other.funded(5).await;
}

#[tokio::test]
async fn what_cannot_be_loaded_is_refused_by_name_and_changes_nothing() {
    let client = client_of(builder().control(true)).await;
    let before = client.described().await;
    let ledger = |change: &dyn Fn(&mut Value)| {
        let mut ledger: Value = serde_json::from_str(OF_THE_SDK).unwrap();
        change(&mut ledger);
        ledger
    };
    let cases = [
        (ledger(&|_| {}), "contract that cannot be run"),
        (ledger(&|ledger| ledger["protocol_version"] = json!(31)), "protocol 31"),
        (ledger(&|ledger| ledger["sequence_number"] = json!(u32::MAX)), "sequence_number"),
        (ledger(&|ledger| ledger["timestamp"] = json!(u64::MAX)), "timestamp"),
        (
            ledger(&|ledger| ledger["ledger_entries"][1]["live_until"] = Value::Null),
            "ledger_entries[1]",
        ),
        (ledger(&|ledger| ledger["ledger_entries"] = json!("none")), "not the JSON"),
        (json!({}), "not the JSON"),
    ];
    for (ledger, expected) in cases {
        let (code, refusal) = client.control("ledger-snapshot", ledger).await;
        assert_eq!(code, 400, "{expected}: {refusal}");
        assert!(refusal["detail"].as_str().unwrap().contains(expected), "{refusal}");
    }
    let error = client.network.load_ledger_snapshot("/missing").await.unwrap_err().to_string();
    assert!(error.contains("/missing"), "{error}");
    assert_eq!(client.described().await, before);
}

#[tokio::test]
async fn a_contract_of_an_issued_ledger_is_where_it_was() {
    // The same passphrase gives the native asset the same contract, which is not deployed twice.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.json");
    let first = client().await;
    first.network.save_ledger_snapshot(&file).await.unwrap();
    let second = client_of(builder().ledger_snapshot(&file)).await;
    assert_eq!(second.network.native_contract(), first.network.native_contract());
    let id = stellar_strkey::Contract::from_string(&second.network.native_contract()).unwrap();
    let native = ContractId(Hash(id.0));
    let source = second.funded(3).await;
    let name = invoke(&native, "decimals", vec![]);
    assert_eq!(second.run(&source, name, &[]).await.1, ScVal::U32(7));
}
