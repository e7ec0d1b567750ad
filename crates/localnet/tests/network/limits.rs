//! What fits into a ledger, what inclusion costs, and in which order things happen.

use serde_json::{Value, json};
use soroban_env_host::xdr::{
    Asset, ConfigSettingEntry, ConfigSettingId, LedgerEntryData, LedgerKey, LedgerKeyConfigSetting,
    OperationBody, PaymentOp,
};
use soroban_localnet::Profile;

use crate::harness::{Client, Key, builder, client, client_of, invoke, result_of};

fn pay(to: &Key, count: usize) -> Vec<OperationBody> {
    let op = PaymentOp { destination: to.muxed(), asset: Asset::Native, amount: 1 };
    vec![OperationBody::Payment(op); count]
}

async fn setting(client: &Client, id: ConfigSettingId) -> ConfigSettingEntry {
    let key = LedgerKey::ConfigSetting(LedgerKeyConfigSetting { config_setting_id: id });
    match client.entry(&key).await.unwrap().0 {
        LedgerEntryData::ConfigSetting(setting) => setting,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn when_a_ledger_is_full_all_pay_the_lowest_bid_that_got_in() {
    let client = client().await;
    let keys: Vec<Key> = futures::future::join_all((1..=11).map(|n| client.funded(n))).await;
    let mut hashes = Vec::new();
    // Eleven transactions of 100 operations for a ledger of 1,000; the second bids least.
    for (index, key) in keys.iter().enumerate() {
        let mut tx = client.transaction(key, pay(&keys[0], 100), None).await;
        tx.fee = if index == 1 { 100 * 150 } else { 100 * 200 };
        let sent = client.send(&client.sign(tx, &[key])).await;
        assert_eq!(sent["status"], "PENDING", "{sent}");
        hashes.push(sent["hash"].clone());
    }
    client.network.close_ledger().await.unwrap();
    for (index, hash) in hashes.iter().enumerate() {
        let done = client.get(hash).await;
        if index == 1 {
            assert_eq!(done["status"], "NOT_FOUND", "the lowest bid waits");
        } else {
            assert_eq!(result_of(&done).fee_charged, 100 * 200);
        }
    }
    client.network.close_ledger().await.unwrap();
    let done = client.get(&hashes[1]).await;
    assert_eq!(result_of(&done).fee_charged, 100 * 100, "with room, everybody pays the least");
}

#[tokio::test]
async fn profiles_state_their_limits_and_prices_as_configuration_entries() {
    for (profile, fee, transactions) in [
        (Profile::PublicNetwork, 25, 2_000),
        (Profile::TestNetwork, 7, 2_000),
        (Profile::Unlimited, 25, u32::MAX),
    ] {
        let client = client_of(builder().profile(profile)).await;
        let ConfigSettingEntry::ContractComputeV0(compute) =
            setting(&client, ConfigSettingId::ContractComputeV0).await
        else {
            panic!("compute")
        };
        assert_eq!(compute.fee_rate_per_instructions_increment, fee, "{profile:?}");
        let ConfigSettingEntry::ContractExecutionLanes(lanes) =
            setting(&client, ConfigSettingId::ContractExecutionLanes).await
        else {
            panic!("lanes")
        };
        assert_eq!(lanes.ledger_max_tx_count, transactions, "{profile:?}");
    }
}

#[tokio::test]
async fn a_thousand_waiting_payments_close_in_one_ledger_of_the_unlimited_profile() {
    let client = client_of(builder().profile(Profile::Unlimited)).await;
    let keys: Vec<Key> = (0..1_000).map(Key::numbered).collect();
    let funding = keys.iter().map(|key| async { client.network.fund(&key.address()).await });
    for funded in futures::future::join_all(funding).await {
        funded.unwrap();
    }
    for key in &keys {
        let tx = client.transaction(key, pay(&keys[0], 1), None).await;
        assert_eq!(client.send(&client.sign(tx, &[key])).await["status"], "PENDING");
    }
    let ledger = client.network.close_ledger().await.unwrap();
    let request = json!({"startLedger": ledger, "pagination": {"limit": 200}});
    let page = client.call("getTransactions", request).await;
    assert_eq!(page["transactions"].as_array().unwrap().len(), 200);
    let last = &page["transactions"][199];
    assert_eq!((&last["ledger"], &last["applicationOrder"]), (&json!(ledger), &json!(200)));
}

#[tokio::test]
async fn the_order_of_application_depends_on_the_seed_and_not_on_the_order_of_arrival() {
    let mut orders = Vec::new();
    for seed in [1, 1, 2] {
        let client = client_of(builder().order_seed(seed)).await;
        let mut keys = Vec::new();
        for number in 1..=8 {
            keys.push(client.funded(number).await);
        }
        for key in &keys {
            let tx = client.transaction(key, pay(key, 1), None).await;
            client.send(&client.sign(tx, &[key])).await;
        }
        let ledger = client.network.close_ledger().await.unwrap();
        let page = client.call("getTransactions", json!({"startLedger": ledger})).await;
        let hashes: Vec<Value> = page["transactions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["txHash"].clone())
            .collect();
        orders.push(hashes);
    }
    assert_eq!(orders[0].len(), 8);
    assert_eq!(orders[0], orders[1], "the same seed and history give the same order");
    assert_ne!(orders[0], orders[2]);
}

#[tokio::test]
async fn several_ledgers_within_a_second_share_their_close_time() {
    let client = client().await;
    let before = client.network.close_time();
    client.network.close_ledgers(3).await.unwrap();
    assert_eq!(client.network.close_time(), before);
    let page = client.call("getLedgers", json!({"startLedger": 1})).await;
    let times: Vec<&Value> =
        page["ledgers"].as_array().unwrap().iter().map(|one| &one["ledgerCloseTime"]).collect();
    assert!(times.windows(2).all(|pair| pair[0] == pair[1]), "{times:?}");
}

#[tokio::test]
async fn a_soroban_ledger_has_room_for_what_the_network_has_room_for() {
    let client = client().await;
    let keys: Vec<Key> = futures::future::join_all((1..=4).map(|n| client.funded(n))).await;
    let mut hashes = Vec::new();
    for key in &keys {
        let call = invoke(&client.native(), "decimals", vec![]);
        let mut tx = client.prepare(key, call, &[]).await;
        // Each declares the most a transaction may use; two clusters of 580 million hold two.
        let soroban_env_host::xdr::TransactionExt::V1(data) = &mut tx.ext else { panic!("data") };
        data.resources.instructions = 400_000_000;
        data.resource_fee += 2_000_000;
        tx.fee += 2_000_000;
        let sent = client.send(&client.sign(tx, &[key])).await;
        assert_eq!(sent["status"], "PENDING", "{:?}", crate::harness::error_of(&sent));
        hashes.push(sent["hash"].clone());
    }
    let mut applied = Vec::new();
    for _ in 0..2 {
        client.network.close_ledger().await.unwrap();
        let mut found = 0;
        for hash in &hashes {
            found += usize::from(client.get(hash).await["status"] == "SUCCESS");
        }
        applied.push(found);
    }
    assert_eq!(applied, [2, 4]);
}
