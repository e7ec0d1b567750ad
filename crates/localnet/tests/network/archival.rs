//! Entries expire, come back, and have their lives extended.

use serde_json::{Value, json};
use soroban_env_host::xdr::{
    ContractDataDurability, ContractId, ExtendFootprintTtlOp, Hash, InvokeHostFunctionOp,
    LedgerEntry, LedgerEntryChange, LedgerEntryData, LedgerKey, LedgerKeyContractCode,
    LedgerKeyContractData, LedgerKeyTtl, Limits, OperationBody, RestoreFootprintOp, ScAddress,
    ScVal, SorobanTransactionData, SorobanTransactionDataExt, SorobanTransactionMetaExt,
    TransactionExt, TransactionMeta, WriteXdr,
};

use crate::harness::{
    Client, Key, builder, client, client_of, counter_key, counter_wasm, footprint_only, invoke,
    no_extension, sha256, xdr,
};

/// Longer than a persistent entry lives here, in ledgers.
const LONG: u32 = 40;

fn persistent(counter: &ContractId) -> LedgerKey {
    counter_key(counter, "count", ContractDataDurability::Persistent)
}

async fn live_until(client: &Client, key: &LedgerKey) -> u64 {
    client.entry(key).await.unwrap().1["liveUntilLedgerSeq"].as_u64().unwrap()
}

/// Simulates an operation on time to live and applies it with what the simulation says.
async fn lifetime(
    client: &Client,
    source: &Key,
    body: OperationBody,
    data: SorobanTransactionData,
) -> serde_json::Value {
    let draft = client.transaction(source, vec![body.clone()], Some(data)).await;
    let simulated = client.simulate(&draft).await;
    assert!(simulated.get("error").is_none(), "{simulated}");
    let data: SorobanTransactionData = xdr(&simulated["transactionData"]);
    let tx = client.transaction(source, vec![body], Some(data)).await;
    let done = client.apply(&client.sign(tx, &[source])).await;
    assert_eq!(done["status"], "SUCCESS", "{:?}", crate::harness::result_of(&done));
    done
}

#[tokio::test]
async fn an_archived_contract_comes_back_when_the_simulation_lists_it() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 5).await;
    client.network.close_ledgers(LONG).await.unwrap();
    assert_eq!(live_until(&client, &persistent(&counter)).await, 0, "it is archived");

    let tx = client.prepare(&source, invoke(&counter, "count", vec![]), &[]).await;
    let TransactionExt::V1(data) = &tx.ext else { panic!("no Soroban data") };
    assert!(matches!(data.ext, SorobanTransactionDataExt::V1(_)), "{:?}", data.ext);

    // Without the list the transaction fails.
    let mut unlisted = tx.clone();
    let mut data = data.clone();
    data.ext = SorobanTransactionDataExt::V0;
    unlisted.ext = TransactionExt::V1(data);
    let done = client.apply(&client.sign(unlisted, &[&source])).await;
    assert_eq!(done["status"], "FAILED");

    let mut listed = tx;
    listed.seq_num.0 += 1;
    let done = client.apply(&client.sign(listed, &[&source])).await;
    assert_eq!(done["status"], "SUCCESS", "{:?}", crate::harness::result_of(&done));
    assert_eq!(crate::harness::return_value(&done), ScVal::U32(5));
    let TransactionMeta::V4(meta) = xdr(&done["resultMetaXdr"]) else { panic!("meta") };
    let restored = meta.operations[0]
        .changes
        .iter()
        .any(|change| matches!(change, soroban_env_host::xdr::LedgerEntryChange::Restored(_)));
    assert!(restored);
    let latest = u64::from(client.network.latest_ledger());
    assert!(live_until(&client, &persistent(&counter)).await >= latest);
}

#[tokio::test]
async fn an_archived_entry_is_restored_by_its_own_operation() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 5).await;
    client.network.close_ledgers(LONG).await.unwrap();
    let key = persistent(&counter);
    let body = OperationBody::RestoreFootprint(RestoreFootprintOp { ext: no_extension() });
    lifetime(&client, &source, body, footprint_only(vec![], vec![key.clone()])).await;
    let latest = u64::from(client.network.latest_ledger());
    assert_eq!(live_until(&client, &key).await, latest + 29);
}

#[tokio::test]
async fn a_restore_of_short_lived_entries_is_paid_by_what_the_simulation_asks_for() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 5).await;
    let code =
        LedgerKey::ContractCode(LedgerKeyContractCode { hash: Hash(sha256(&counter_wasm())) });
    let instance = LedgerKey::ContractData(LedgerKeyContractData {
        contract: ScAddress::Contract(counter.clone()),
        key: ScVal::LedgerKeyContractInstance,
        durability: ContractDataDurability::Persistent,
    });
    client.network.close_ledgers(LONG).await.unwrap();
    let keys = vec![persistent(&counter), code, instance];
    let body = OperationBody::RestoreFootprint(RestoreFootprintOp { ext: no_extension() });
    lifetime(&client, &source, body, footprint_only(vec![], keys.clone())).await;
    let latest = u64::from(client.network.latest_ledger());
    for key in &keys {
        assert_eq!(live_until(&client, key).await, latest + 29);
    }
}

#[tokio::test]
async fn lives_are_extended() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 5).await;
    let code = LedgerKey::ContractCode(LedgerKeyContractCode {
        hash: soroban_env_host::xdr::Hash(sha256(&counter_wasm())),
    });
    let keys = vec![persistent(&counter), code.clone()];
    let op = ExtendFootprintTtlOp { ext: no_extension(), extend_to: 500 };
    let body = OperationBody::ExtendFootprintTtl(op);
    lifetime(&client, &source, body, footprint_only(keys, vec![])).await;
    let latest = u64::from(client.network.latest_ledger());
    assert_eq!(live_until(&client, &persistent(&counter)).await, latest + 500);
    assert_eq!(live_until(&client, &code).await, latest + 500);
}

#[tokio::test]
async fn a_temporary_entry_vanishes_for_good() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 0).await;
    client.run(&source, invoke(&counter, "put_temp", vec![ScVal::U32(8)]), &[]).await;
    let get = || invoke(&counter, "get_temp", vec![]);
    assert_eq!(client.run(&source, get(), &[]).await.1, ScVal::U32(8));
    client.network.close_ledgers(20).await.unwrap();
    let key = counter_key(&counter, "temp", ContractDataDurability::Temporary);
    assert!(client.entry(&key).await.is_none());
    let op = InvokeHostFunctionOp { host_function: get(), auth: Default::default() };
    let body = OperationBody::InvokeHostFunction(op);
    let simulated = client.simulate(&client.transaction(&source, vec![body], None).await).await;
    assert!(simulated["error"].as_str().unwrap().contains("MissingValue"), "{simulated}");
    // It can be written anew.
    client.run(&source, invoke(&counter, "put_temp", vec![ScVal::U32(9)]), &[]).await;
    assert_eq!(client.run(&source, get(), &[]).await.1, ScVal::U32(9));
}

#[tokio::test]
async fn the_settings_are_readable_as_ledger_entries() {
    use soroban_env_host::xdr::{ConfigSettingEntry, ConfigSettingId, LedgerKeyConfigSetting};
    let client = client().await;
    let key = LedgerKey::ConfigSetting(LedgerKeyConfigSetting {
        config_setting_id: ConfigSettingId::StateArchival,
    });
    let (data, _) = client.entry(&key).await.unwrap();
    let LedgerEntryData::ConfigSetting(ConfigSettingEntry::StateArchival(settings)) = data else {
        panic!("{data:?}");
    };
    assert_eq!((settings.min_persistent_ttl, settings.min_temporary_ttl), (30, 16));
}

/// The changes of one key by the operation of an applied transaction.
fn changes(done: &Value, key: &LedgerKey) -> Vec<LedgerEntryChange> {
    let TransactionMeta::V4(meta) = xdr(&done["resultMetaXdr"]) else { panic!("{done}") };
    let all = meta.operations[0].changes.iter();
    let about_key = all.filter(|change| match change {
        LedgerEntryChange::State(entry)
        | LedgerEntryChange::Created(entry)
        | LedgerEntryChange::Updated(entry)
        | LedgerEntryChange::Restored(entry) => entry.to_key() == *key,
        LedgerEntryChange::Removed(removed) => removed == key,
    });
    about_key.cloned().collect()
}

/// The key under which the network keeps the time to live of an entry.
fn lifetime_key(key: &LedgerKey) -> LedgerKey {
    let key_hash = Hash(sha256(&key.to_xdr(Limits::none()).unwrap()));
    LedgerKey::Ttl(LedgerKeyTtl { key_hash })
}

fn count_in(entry: &LedgerEntry) -> (ScVal, u64) {
    let LedgerEntryData::ContractData(data) = &entry.data else { panic!("{entry:?}") };
    (data.val.clone(), entry.last_modified_ledger_seq.into())
}

fn end_in(entry: &LedgerEntry) -> (u64, u64) {
    let LedgerEntryData::Ttl(ttl) = &entry.data else { panic!("{entry:?}") };
    (ttl.live_until_ledger_seq.into(), entry.last_modified_ledger_seq.into())
}

fn rent(done: &Value) -> i64 {
    let TransactionMeta::V4(meta) = xdr(&done["resultMetaXdr"]) else { panic!("{done}") };
    match meta.soroban_meta.unwrap().ext {
        SorobanTransactionMetaExt::V1(fees) => fees.rent_fee_charged,
        SorobanTransactionMetaExt::V0 => panic!("{done}"),
    }
}

#[tokio::test]
async fn an_entry_that_another_transaction_restored_before_is_not_restored_again() {
    let client = client().await;
    let sources = [client.funded(1).await, client.funded(2).await, client.funded(3).await];
    let counter = client.counter(&sources[0], 5).await;
    client.network.close_ledgers(LONG).await.unwrap();

    // All three are simulated while the entries are archived.
    let mut envelopes = Vec::new();
    for source in &sources {
        let tx = client.prepare(source, invoke(&counter, "count", vec![]), &[]).await;
        let TransactionExt::V1(data) = &tx.ext else { panic!("no Soroban data") };
        assert!(matches!(data.ext, SorobanTransactionDataExt::V1(_)), "{:?}", data.ext);
        envelopes.push(client.sign(tx, &[source]));
    }

    // Two in one ledger: the one that runs first restores.
    let (first, second) = (client.send(&envelopes[0]).await, client.send(&envelopes[1]).await);
    client.network.close_ledger().await.unwrap();
    let mut pair = [client.get(&first["hash"]).await, client.get(&second["hash"]).await];
    pair.sort_by_key(|done| done["applicationOrder"].as_u64().unwrap());
    let [restoring, beside] = pair;
    let after = client.apply(&envelopes[2]).await;

    let key = persistent(&counter);
    assert_eq!(restoring["status"], "SUCCESS");
    assert!(rent(&restoring) > 0);
    assert!(matches!(changes(&restoring, &key)[..], [LedgerEntryChange::Restored(_)]));
    for ordinary in [beside, after] {
        assert_eq!(ordinary["status"], "SUCCESS");
        assert_eq!(rent(&ordinary), 0);
        let changes = changes(&ordinary, &key);
        let is_restored = |change| matches!(change, &LedgerEntryChange::Restored(_));
        assert!(!changes.iter().any(is_restored), "{changes:?}");
    }
}

#[tokio::test]
async fn an_entry_restored_and_changed_by_one_call_has_both_changes_in_the_meta() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 5).await;
    client.network.close_ledgers(LONG).await.unwrap();
    let bump = || invoke(&counter, "bump", vec![source.sc()]);
    let key = persistent(&counter);

    let done = client.run(&source, bump(), &[]).await.0;
    let ledger = done["ledger"].as_u64().unwrap();
    let changed = changes(&done, &key);
    let [LedgerEntryChange::Restored(old), LedgerEntryChange::Updated(new)] = &changed[..] else {
        panic!("{changed:?}");
    };
    assert_eq!(count_in(old), (ScVal::U32(5), ledger));
    assert_eq!(count_in(new), (ScVal::U32(6), ledger));
    let lived = changes(&done, &lifetime_key(&key));
    let [LedgerEntryChange::Restored(life)] = &lived[..] else { panic!("{lived:?}") };
    assert_eq!(end_in(life), (ledger + 29, ledger));

    // A change of the entry alone does not change its lifetime.
    let done = client.run(&source, bump(), &[]).await.0;
    assert_eq!(changes(&done, &key).len(), 2);
    assert_eq!(changes(&done, &lifetime_key(&key)), []);
}

#[tokio::test]
async fn the_meta_says_which_ledger_set_a_life_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let client = client_of(builder().state_dir(directory.path())).await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 5).await;
    let key = persistent(&counter);
    let written = client.entry(&key).await.unwrap().1["lastModifiedLedgerSeq"].clone();
    let extend = async |client: &Client, extend_to: u32| {
        let op = ExtendFootprintTtlOp { ext: no_extension(), extend_to };
        let body = OperationBody::ExtendFootprintTtl(op);
        let done = lifetime(client, &source, body, footprint_only(vec![key.clone()], vec![])).await;
        let lived = changes(&done, &lifetime_key(&key));
        let [LedgerEntryChange::State(old), LedgerEntryChange::Updated(new)] = &lived[..] else {
            panic!("{lived:?}");
        };
        assert_eq!(changes(&done, &key), [], "the entry itself did not change");
        let ledger = done["ledger"].as_u64().unwrap();
        assert_eq!(end_in(new), (ledger + u64::from(extend_to), ledger));
        (end_in(old), end_in(new))
    };

    client.network.close_ledgers(3).await.unwrap();
    let (old, first) = extend(&client, 500).await;
    assert_eq!(json!(old.1), written);
    client.network.shutdown().await;

    let client = client_of(builder().state_dir(directory.path())).await;
    let (old, _) = extend(&client, 900).await;
    assert_eq!(old, first);
    assert_eq!(client.entry(&key).await.unwrap().1["lastModifiedLedgerSeq"], written);
}
