//! Contracts: deployed, invoked, authorised, limited and paid for.

use serde_json::json;
use soroban_env_host::xdr::{
    ContractDataDurability, ContractEventBody, DiagnosticEvent, InvokeHostFunctionOp,
    InvokeHostFunctionResult, OperationBody, OperationResult, OperationResultTr, ScVal,
    SorobanAuthorizationEntry, SorobanCredentials, TransactionExt, TransactionResultResult,
};

use crate::harness::{
    Client, Key, client, counter_key, error_of, i128, invoke, result_of, symbol, xdr,
};

fn outcome(done: &serde_json::Value) -> InvokeHostFunctionResult {
    let TransactionResultResult::TxFailed(results) = result_of(done).result else {
        panic!("{done}");
    };
    match results[0].clone() {
        OperationResult::OpInner(OperationResultTr::InvokeHostFunction(result)) => result,
        other => panic!("{other:?}"),
    }
}

async fn balance(client: &Client, key: &crate::harness::Key) -> i64 {
    client.account(key).await.unwrap().0
}

#[tokio::test]
async fn a_contract_is_deployed_with_its_constructor_and_counts_with_anothers_agreement() {
    let client = client().await;
    let (source, user) = (client.funded(1).await, client.funded(2).await);
    let counter = client.counter(&source, 41).await;
    let (done, returned) =
        client.run(&source, invoke(&counter, "bump", vec![user.sc()]), &[&user]).await;
    assert_eq!(returned, ScVal::U32(42));
    let event: soroban_env_host::xdr::ContractEvent =
        xdr(&done["events"]["contractEventsXdr"][0][0]);
    let soroban_env_host::xdr::ContractEventBody::V0(body) = event.body;
    assert_eq!(body.topics.as_slice(), [symbol("bump"), user.sc()]);
    assert_eq!(body.data, ScVal::U32(42));
    assert_eq!(client.run(&source, invoke(&counter, "count", vec![]), &[]).await.1, ScVal::U32(42));
}

#[tokio::test]
async fn lumens_move_through_the_native_contract_with_a_signed_entry_of_the_owner() {
    let client = client().await;
    let (source, owner, to) =
        (client.funded(1).await, client.funded(2).await, client.funded(3).await);
    let before = (balance(&client, &owner).await, balance(&client, &to).await);
    let transfer = invoke(&client.native(), "transfer", vec![owner.sc(), to.sc(), i128(700)]);
    client.run(&source, transfer, &[&owner]).await;
    assert_eq!(balance(&client, &owner).await, before.0 - 700);
    assert_eq!(balance(&client, &to).await, before.1 + 700);
    let balance_of = invoke(&client.native(), "balance", vec![to.sc()]);
    assert_eq!(client.run(&source, balance_of, &[]).await.1, i128(before.1 + 700));
}

#[tokio::test]
async fn an_entry_signed_by_the_wrong_key_fails_and_moves_nothing() {
    let client = client().await;
    let (source, owner) = (client.funded(1).await, client.funded(2).await);
    let before = balance(&client, &owner).await;
    let transfer = invoke(&client.native(), "transfer", vec![owner.sc(), source.sc(), i128(700)]);
    let mut tx = client.prepare(&source, transfer, &[&owner]).await;
    let mut operations = tx.operations.to_vec();
    if let OperationBody::InvokeHostFunction(op) = &mut operations[0].body {
        let mut auth = op.auth.to_vec();
        if let soroban_env_host::xdr::SorobanCredentials::Address(credentials) =
            &mut auth[0].credentials
        {
            // The signature stays; what it was made for changes.
            credentials.nonce ^= 1;
        }
        op.auth = auth.try_into().unwrap();
    }
    tx.operations = operations.try_into().unwrap();
    let done = client.apply(&client.sign(tx, &[&source])).await;
    assert_eq!(done["status"], "FAILED");
    assert_eq!(outcome(&done), InvokeHostFunctionResult::Trapped);
    assert!(!done["diagnosticEventsXdr"].as_array().unwrap().is_empty());
    assert_eq!(balance(&client, &owner).await, before);
}

#[tokio::test]
async fn a_signed_entry_works_once() {
    let client = client().await;
    let (source, user) = (client.funded(1).await, client.funded(2).await);
    let counter = client.counter(&source, 0).await;
    let tx = client.prepare(&source, invoke(&counter, "bump", vec![user.sc()]), &[&user]).await;
    assert_eq!(client.apply(&client.sign(tx.clone(), &[&source])).await["status"], "SUCCESS");
    let mut replay = tx;
    replay.seq_num.0 += 1;
    let done = client.apply(&client.sign(replay, &[&source])).await;
    assert_eq!(done["status"], "FAILED", "the nonce was used before");
}

#[tokio::test]
async fn a_failed_invocation_costs_the_fee_without_rent_and_the_sequence_number() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 0).await;
    let trap = invoke(&counter, "trap", vec![]);
    let simulated = {
        let body = OperationBody::InvokeHostFunction(soroban_env_host::xdr::InvokeHostFunctionOp {
            host_function: trap.clone(),
            auth: Default::default(),
        });
        client.simulate(&client.transaction(&source, vec![body], None).await).await
    };
    assert!(simulated["error"].as_str().unwrap().contains("WasmVm"), "{simulated}");
    assert!(simulated.get("transactionData").is_none());

    // Sent anyway, with the resources of an invocation that works.
    let mut tx = client.prepare(&source, invoke(&counter, "count", vec![]), &[]).await;
    let mut operations = tx.operations.to_vec();
    if let OperationBody::InvokeHostFunction(op) = &mut operations[0].body {
        op.host_function = trap;
    }
    tx.operations = operations.try_into().unwrap();
    let (before, sequence) = client.account(&source).await.unwrap();
    let fee = i64::from(tx.fee);
    let done = client.apply(&client.sign(tx, &[&source])).await;
    assert_eq!(outcome(&done), InvokeHostFunctionResult::Trapped);
    let charged = result_of(&done).fee_charged;
    assert!(charged > 100 && charged < fee, "{charged} of {fee}");
    assert_eq!(client.account(&source).await.unwrap(), (before - charged, sequence + 1));
}

#[tokio::test]
async fn declared_resources_are_enforced() {
    let client = client().await;
    let (source, user) = (client.funded(1).await, client.funded(2).await);
    let counter = client.counter(&source, 0).await;
    let good = client.prepare(&source, invoke(&counter, "bump", vec![user.sc()]), &[&user]).await;
    let TransactionExt::V1(data) = good.ext.clone() else { panic!("no Soroban data") };

    let mut tx = good.clone();
    let mut poor = data.clone();
    poor.resource_fee = 1;
    tx.ext = TransactionExt::V1(poor);
    let sent = client.send(&client.sign(tx, &[&source])).await;
    assert_eq!(error_of(&sent).unwrap().result, TransactionResultResult::TxSorobanInvalid);
    assert!(!sent["diagnosticEventsXdr"].as_array().unwrap().is_empty());

    let mut tx = good.clone();
    let mut greedy = data.clone();
    greedy.resources.instructions = 500_000_000;
    tx.ext = TransactionExt::V1(greedy);
    let sent = client.send(&client.sign(tx, &[&source])).await;
    assert_eq!(error_of(&sent).unwrap().result, TransactionResultResult::TxSorobanInvalid);

    let mut tx = good.clone();
    tx.ext = TransactionExt::V0;
    let sent = client.send(&client.sign(tx, &[&source])).await;
    assert_eq!(error_of(&sent).unwrap().result, TransactionResultResult::TxMalformed);

    let mut tx = good;
    let mut short = data;
    short.resources.instructions /= 4;
    tx.ext = TransactionExt::V1(short);
    let done = client.apply(&client.sign(tx, &[&source])).await;
    assert_eq!(outcome(&done), InvokeHostFunctionResult::ResourceLimitExceeded);
    let key = counter_key(&counter, "count", ContractDataDurability::Persistent);
    let (entry, _) = client.entry(&key).await.unwrap();
    let soroban_env_host::xdr::LedgerEntryData::ContractData(entry) = entry else { panic!() };
    assert_eq!(entry.val, ScVal::U32(0));
}

#[tokio::test]
async fn two_simulations_of_one_ledger_have_different_nonces() {
    let client = client().await;
    let source = client.funded(1).await;
    let payer = client.funded(2).await;
    let args = vec![payer.sc(), source.sc(), i128(1)];
    let op = InvokeHostFunctionOp {
        host_function: invoke(&client.native(), "transfer", args),
        auth: Default::default(),
    };
    let body = OperationBody::InvokeHostFunction(op);
    let tx = client.transaction(&source, vec![body], None).await;
    let nonce = async || {
        let simulated = client.simulate(&tx).await;
        let entry: SorobanAuthorizationEntry = xdr(&simulated["results"][0]["auth"][0]);
        match entry.credentials {
            SorobanCredentials::Address(credentials) => credentials.nonce,
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(nonce().await, nonce().await);
}

#[tokio::test]
async fn a_failed_simulation_carries_the_event_log() {
    let client = client().await;
    let source = client.funded(1).await;
    let poor = Key::new(40);
    let args = vec![source.sc(), poor.sc(), i128(i64::MAX)];
    let op = InvokeHostFunctionOp {
        host_function: invoke(&client.native(), "transfer", args),
        auth: Default::default(),
    };
    let body = OperationBody::InvokeHostFunction(op);
    let tx = client.transaction(&source, vec![body], None).await;
    let simulated = client.simulate(&tx).await;
    let error = simulated["error"].as_str().unwrap();
    assert!(error.starts_with("HostError: Error(Contract, #"), "{error}");
    assert!(error.contains("Event log (newest first):"), "{error}");
    assert!(!simulated["events"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn an_invocation_reports_what_it_used() {
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 0).await;
    let (done, _) = client.run(&source, invoke(&counter, "bump", vec![source.sc()]), &[]).await;
    let mut metrics = std::collections::BTreeMap::new();
    for event in done["diagnosticEventsXdr"].as_array().unwrap() {
        let event: DiagnosticEvent = xdr(event);
        let ContractEventBody::V0(body) = event.event.body;
        if let [name, ScVal::Symbol(metric)] = body.topics.as_slice()
            && *name == symbol("core_metrics")
        {
            let ScVal::U64(value) = body.data else { panic!("{:?}", body.data) };
            metrics.insert(metric.0.to_utf8_string_lossy(), value);
        }
    }
    assert_eq!(metrics.len(), 19, "{metrics:?}");
    assert!(metrics["cpu_insn"] > 0 && metrics["mem_byte"] > 0 && metrics["write_entry"] > 0);
    assert_eq!(metrics["emit_event"], 1);
}

#[tokio::test]
async fn fee_statistics_are_made_of_what_was_charged() {
    let client = client().await;
    let source = client.funded(1).await;
    // It bids fifty times what inclusion costs, and is charged what it costs.
    let call = invoke(&client.native(), "decimals", vec![]);
    let mut tx = client.prepare(&source, call, &[]).await;
    tx.fee += 4_900;
    assert_eq!(client.apply(&client.sign(tx, &[&source])).await["status"], "SUCCESS");
    let fees = client.call("getFeeStats", json!({})).await;
    for kind in ["sorobanInclusionFee", "inclusionFee"] {
        assert_eq!(fees[kind]["max"], "100", "{fees}");
        assert_eq!(fees[kind]["p50"], "100", "{fees}");
    }
    client.network.close_ledgers(10).await.unwrap();
    let fees = client.call("getFeeStats", json!({})).await;
    assert_eq!(fees["inclusionFee"]["transactionCount"], "0", "ten ledgers are looked back on");
    assert_eq!(fees["inclusionFee"]["max"], "0");
    assert_eq!(fees["sorobanInclusionFee"]["max"], "100", "fifty here");
}

/// A contract that returns the ledger and the time it runs in.
fn clock_wasm() -> Vec<u8> {
    let text = r#"(module
      (import "x" "3" (func $ledger (result i64)))
      (import "x" "4" (func $time (result i64)))
      (func (export "ledger") (result i64) (call $ledger))
      (func (export "time") (result i64) (call $time))
      (@custom "contractenvmetav0" "\00\00\00\00\00\00\00\1e\00\00\00\00"))"#;
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn simulation_runs_in_the_latest_ledger_at_its_close_time() {
    let client = client().await;
    let source = client.funded(1).await;
    let clock = client.deploy(&source, clock_wasm(), vec![]).await;
    let ask = async |function: &str| {
        let op = InvokeHostFunctionOp {
            host_function: invoke(&clock, function, vec![]),
            auth: Default::default(),
        };
        let body = OperationBody::InvokeHostFunction(op);
        let tx = client.transaction(&source, vec![body], None).await;
        let simulated = client.simulate(&tx).await;
        (xdr::<ScVal>(&simulated["results"][0]["xdr"]), simulated["latestLedger"].clone())
    };
    let (ledger, time) = (client.network.latest_ledger(), client.network.close_time());
    // Time that passed since the ledger closed is not the ledger's.
    client.network.advance_time(500);
    assert_eq!(ask("ledger").await, (ScVal::U32(ledger), json!(ledger)));
    assert_eq!(ask("time").await.0, ScVal::U64(time));

    client.network.close_ledger().await.unwrap();
    assert_eq!(ask("ledger").await, (ScVal::U32(ledger + 1), json!(ledger + 1)));
    assert_eq!(ask("time").await.0, ScVal::U64(time + 500));

    // The transaction then runs in the ledger that takes it.
    let (_, applied) = client.run(&source, invoke(&clock, "ledger", vec![]), &[]).await;
    assert_eq!(applied, ScVal::U32(ledger + 2));
}
