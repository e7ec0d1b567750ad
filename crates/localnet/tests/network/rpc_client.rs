//! What `stellar-rpc-client`, the Rust client of stellar-cli, does against the network: all of its
//! methods, unmodified.

use std::time::Duration;

use soroban_env_host::xdr::{
    ContractDataDurability, ContractExecutable, Hash, InvokeHostFunctionOp, LedgerCloseMeta,
    LedgerEntryData, LedgerKey, LedgerKeyAccount, Limits, OperationBody, ReadXdr, ScVal,
    SorobanTransactionDataExt, TransactionEnvelope,
};
use stellar_rpc_client::{
    AuthMode, Client as RpcClient, Error, EventStart, EventType, GetTransactionsRequest,
    LedgerStart, ResourceConfig, TransactionsPaginationOptions,
};

use crate::harness::{
    Client, Key, builder, client, client_of, counter_key, counter_wasm, invoke, sha256,
};

/// The client under test, at an address.
fn rpc_client(url: &str) -> RpcClient {
    RpcClient::new(url).unwrap()
}

/// Sends by the client under test, closes a ledger, and answers the transaction's hash.
async fn apply(client: &Client, rpc: &RpcClient, envelope: &TransactionEnvelope) -> Hash {
    let hash = rpc.send_transaction(envelope).await.unwrap();
    client.network.close_ledger().await.unwrap();
    hash
}

#[tokio::test]
async fn it_reads_health_version_network_fees_and_the_latest_ledger() {
    let client = client().await;
    let rpc = rpc_client(&client.network.url());

    let health = rpc.get_health().await.unwrap();
    assert_eq!(health.status, "healthy");
    assert_eq!(health.latest_ledger, client.network.latest_ledger());
    assert!(health.oldest_ledger <= health.latest_ledger && health.ledger_retention_window > 0);

    let network = rpc.get_network().await.unwrap();
    assert_eq!(network.passphrase, client.network.passphrase());
    let verified = rpc.verify_network_passphrase(Some(client.network.passphrase())).await;
    assert_eq!(verified.unwrap(), client.network.passphrase());
    rpc.verify_network_passphrase(Some("another network")).await.unwrap_err();

    let version = rpc.get_version_info().await.unwrap();
    assert_eq!(version.protocol_version, network.protocol_version);
    let latest = rpc.get_latest_ledger().await.unwrap();
    assert_eq!(latest.sequence, client.network.latest_ledger());
    assert_eq!(latest.id.len(), 64);

    let fees = rpc.get_fee_stats().await.unwrap();
    assert_eq!(fees.latest_ledger, client.network.latest_ledger());
    fees.soroban_inclusion_fee.p99.parse::<u64>().unwrap();
}

#[tokio::test]
async fn the_friendbot_that_the_network_names_funds_an_account_that_it_then_reads() {
    let client = client_of(builder().ledger_interval(Duration::from_millis(20))).await;
    let rpc = rpc_client(&client.network.url());
    let key = Key::new(7);
    let missing = rpc.get_account(&key.address()).await;
    assert!(matches!(missing, Err(Error::NotFound(..))), "{missing:?}");

    let friendbot = rpc.friendbot_url().await.unwrap();
    let funded = client.http.get(format!("{friendbot}?addr={}", key.address())).send();
    assert!(funded.await.unwrap().status().is_success());
    let account = rpc.get_account(&key.address()).await.unwrap();
    assert_eq!(account.balance, client.account(&key).await.unwrap().0);
}

#[tokio::test]
async fn it_simulates_sends_and_finds_an_invocation_with_its_events() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 41).await;
    let rpc = rpc_client(&client.network.url());

    let body = OperationBody::InvokeHostFunction(InvokeHostFunctionOp {
        host_function: invoke(&counter, "bump", vec![source.sc()]),
        auth: Default::default(),
    });
    let draft = client.transaction(&source, vec![body], None).await;
    let draft = client.sign(draft, &[]);
    for mode in [None, Some(AuthMode::Record), Some(AuthMode::RecordAllowNonRoot)] {
        let simulated = rpc.simulate_transaction_envelope(&draft, mode).await.unwrap();
        assert_eq!(simulated.error, None);
        assert_eq!(simulated.results().unwrap()[0].xdr, ScVal::U32(42));
        assert!(simulated.min_resource_fee > 0 && simulated.restore_preamble.is_none());
        simulated.transaction_data().unwrap();
        assert!(!simulated.events().unwrap().is_empty());
    }
    let enforced = rpc.simulate_transaction_envelope(&draft, Some(AuthMode::Enforce)).await;
    assert!(enforced.unwrap().error.is_some(), "no party has signed");

    let of = |leeway| Some(ResourceConfig { instruction_leeway: leeway });
    let bare = rpc.next_simulate_transaction_envelope(&draft, None, of(0)).await.unwrap();
    let ample = rpc.next_simulate_transaction_envelope(&draft, None, of(1_000_000)).await.unwrap();
    assert!(
        ample.transaction_data().unwrap().resources.instructions
            >= bare.transaction_data().unwrap().resources.instructions + 900_000
    );

    let host_function = invoke(&counter, "bump", vec![source.sc()]);
    let ready = client.prepare(&source, host_function, &[]).await;
    let from = client.network.latest_ledger();
    let hash = apply(&client, &rpc, &client.sign(ready, &[&source])).await;
    let found = rpc.get_transaction(&hash).await.unwrap();
    assert_eq!((found.status.as_str(), found.ledger), ("SUCCESS", Some(from + 1)));
    assert_eq!(found.return_value().unwrap(), ScVal::U32(42));
    assert_eq!(found.events.contract_events.len(), 1);
    assert!(found.created_at.unwrap() > 0 && found.envelope.is_some() && found.result.is_some());
    assert_eq!(rpc.get_transaction_polling(&hash, None).await.unwrap().status, "SUCCESS");

    // A tail loop that reaches the tip stays there.
    let ids = [stellar_strkey::Contract(counter.0.0).to_string()];
    let ids = ids.map(|id| id.as_str().to_owned());
    let mut start = EventStart::Ledger(from);
    for expected in [1, 0, 0] {
        let page = rpc
            .get_events(
                start,
                Some(EventType::Contract),
                &ids,
                &[vec!["*".into(), "*".into()]],
                Some(5),
            )
            .await
            .unwrap();
        assert_eq!(page.events.len(), expected);
        for event in &page.events {
            event.parse_cursor().unwrap();
        }
        start = EventStart::Cursor(page.cursor);
    }
    let range = EventStart::ledger_range(from, from + 2).unwrap();
    let all = rpc.get_events(range, Some(EventType::All), &[], &[], None).await.unwrap();
    assert!(!all.events.is_empty());
}

#[tokio::test]
async fn it_reports_a_refused_and_a_failed_transaction_by_their_results() {
    let client = client().await;
    let source = client.funded(1).await;
    let rpc = rpc_client(&client.network.url());

    let mut late = client.transaction(&source, vec![], None).await;
    late.seq_num.0 += 7;
    let refused = rpc.send_transaction(&client.sign(late, &[&source])).await.unwrap_err();
    assert!(
        refused.to_string().contains("TxMissingOperation")
            || refused.to_string().contains("TxBadSeq"),
        "{refused}"
    );

    let payment = client.payment(&source).await;
    client.network.fault(soroban_localnet::Fault::FailTransactions(1));
    let hash = apply(&client, &rpc, &payment).await;
    let failed = rpc.get_transaction_polling(&hash, None).await.unwrap_err();
    assert!(matches!(failed, Error::TransactionSubmissionFailed(_)), "{failed}");
    assert_eq!(rpc.get_transaction(&Hash([9; 32])).await.unwrap().status, "NOT_FOUND");
}

#[tokio::test]
async fn it_pages_through_ledgers_and_transactions_up_to_the_tip() {
    let client = client().await;
    let source = client.funded(1).await;
    let rpc = rpc_client(&client.network.url());
    let from = client.network.latest_ledger();
    for _ in 0..3 {
        let payment = client.payment(&source).await;
        apply(&client, &rpc, &payment).await;
    }

    let mut start = LedgerStart::Ledger(from);
    let mut sequences = Vec::new();
    loop {
        let page = rpc.get_ledgers(start, Some(2), None).await.unwrap();
        if page.ledgers.is_empty() {
            break;
        }
        for ledger in &page.ledgers {
            LedgerCloseMeta::from_xdr_base64(&ledger.metadata_xdr, Limits::none()).unwrap();
            sequences.push(ledger.sequence);
        }
        start = LedgerStart::Cursor(page.cursor);
    }
    assert_eq!(sequences, (from..=client.network.latest_ledger()).collect::<Vec<_>>());

    let (mut cursor, mut count) = (None, 0);
    loop {
        let pagination = Some(TransactionsPaginationOptions { cursor, limit: Some(2) });
        let start_ledger = cursor.is_none().then_some(from + 1);
        let request = GetTransactionsRequest { start_ledger, pagination };
        let page = rpc.get_transactions(request).await.unwrap();
        if page.transactions.is_empty() {
            break;
        }
        assert!(page.transactions.iter().all(|found| found.status == "SUCCESS"));
        count += page.transactions.len();
        cursor = Some(page.cursor);
    }
    assert_eq!(count, 3);
}

#[tokio::test]
async fn it_reads_entries_contracts_and_code_with_their_lives() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 41).await;
    let rpc = rpc_client(&client.network.url());

    let value = counter_key(&counter, "count", ContractDataDurability::Persistent);
    let account = LedgerKey::Account(LedgerKeyAccount { account_id: source.account() });
    let entries = rpc.get_full_ledger_entries(&[value.clone(), account]).await.unwrap().entries;
    assert_eq!(entries.len(), 2);
    let counted = entries.iter().find(|entry| entry.key == value).unwrap();
    assert!(counted.live_until_ledger_seq.unwrap() > client.network.latest_ledger());
    let LedgerEntryData::ContractData(data) = &counted.val else { panic!("{counted:?}") };
    assert_eq!(data.val, ScVal::U32(41));

    let instance = rpc.get_contract_instance(&counter.0.0).await.unwrap();
    let code = Hash(sha256(&counter_wasm()));
    assert_eq!(instance.executable, ContractExecutable::Wasm(code.clone()));
    #[expect(deprecated, reason = "stellar-cli still calls it")]
    let wasm = rpc.get_remote_wasm_from_hash(code).await.unwrap();
    assert_eq!(wasm, counter_wasm());
    rpc.get_contract_data(&[9; 32]).await.unwrap_err();
}

#[tokio::test]
async fn it_sees_in_a_simulation_which_entries_have_to_be_restored() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 41).await;
    for _ in 0..40 {
        client.network.close_ledger().await.unwrap();
    }
    let rpc = rpc_client(&client.network.url());

    let body = OperationBody::InvokeHostFunction(InvokeHostFunctionOp {
        host_function: invoke(&counter, "count", vec![]),
        auth: Default::default(),
    });
    let draft = client.transaction(&source, vec![body], None).await;
    let draft = client.sign(draft, &[]);
    let simulated = rpc.simulate_transaction_envelope(&draft, None).await.unwrap();
    // CAP-66: an invocation restores entries itself; its resources name them by their places.
    let SorobanTransactionDataExt::V1(restored) = simulated.transaction_data().unwrap().ext else {
        panic!("no entry is named: {simulated:?}");
    };
    assert!(!restored.archived_soroban_entries.is_empty());
    assert_eq!(simulated.error, None);
}
