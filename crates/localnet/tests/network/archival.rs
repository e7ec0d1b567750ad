//! Entries expire, come back, and have their lives extended.

use serde_json::json;
use soroban_env_host::xdr::{
    ContractDataDurability, ContractId, ExtendFootprintTtlOp, InvokeHostFunctionOp,
    LedgerFootprint, LedgerKey, LedgerKeyContractCode, OperationBody, RestoreFootprintOp, ScVal,
    SorobanResources, SorobanTransactionData, SorobanTransactionDataExt, TransactionExt,
    TransactionMeta,
};

use crate::harness::{
    Client, Key, client, counter_key, counter_wasm, invoke, no_extension, sha256, xdr,
};

/// Longer than a persistent entry lives here, in ledgers.
const LONG: u32 = 40;

fn persistent(counter: &ContractId) -> LedgerKey {
    counter_key(counter, "count", ContractDataDurability::Persistent)
}

async fn live_until(client: &Client, key: &LedgerKey) -> u64 {
    client.entry(key).await.unwrap().1["liveUntilLedgerSeq"].as_u64().unwrap()
}

fn footprint_only(read_only: Vec<LedgerKey>, read_write: Vec<LedgerKey>) -> SorobanTransactionData {
    SorobanTransactionData {
        ext: SorobanTransactionDataExt::V0,
        resources: SorobanResources {
            footprint: LedgerFootprint {
                read_only: read_only.try_into().unwrap(),
                read_write: read_write.try_into().unwrap(),
            },
            instructions: 0,
            disk_read_bytes: 0,
            write_bytes: 0,
        },
        resource_fee: 0,
    }
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
    use soroban_env_host::xdr::{
        ConfigSettingEntry, ConfigSettingId, LedgerEntryData, LedgerKeyConfigSetting,
    };
    let client = client().await;
    let key = LedgerKey::ConfigSetting(LedgerKeyConfigSetting {
        config_setting_id: ConfigSettingId::StateArchival,
    });
    let (data, _) = client.entry(&key).await.unwrap();
    let LedgerEntryData::ConfigSetting(ConfigSettingEntry::StateArchival(settings)) = data else {
        panic!("{data:?}");
    };
    assert_eq!((settings.min_persistent_ttl, settings.min_temporary_ttl), (30, 16));
    let missing = client.call("getLedgerEntries", json!({"keys": []})).await;
    assert_eq!(missing["entries"], json!([]));
}
