//! What a transaction is refused for, in stellar-core's order and words.

use serde_json::Value;
use soroban_env_host::xdr::{
    AlphaNum4, Asset, AssetCode4, ContractDataDurability, ContractEventBody, ContractId,
    DiagnosticEvent, ExtendFootprintTtlOp, ExtendFootprintTtlResult, Hash, LedgerKey,
    LedgerKeyAccount, LedgerKeyTrustLine, Operation, OperationBody, OperationResult,
    OperationResultTr, PaymentOp, PaymentResult, Preconditions, PreconditionsV2,
    RestoreFootprintOp, RestoreFootprintResult, ScVal, SetOptionsOp, SignerKey,
    SignerKeyEd25519SignedPayload, SorobanTransactionData, TransactionMeta,
    TransactionResultResult, TrustLineAsset, Uint256, VecM,
};

use crate::harness::{
    Client, Key, builder, client, client_of, counter_key, error_of, footprint_only, no_extension,
    options, result_of, xdr,
};

/// Enough for any of these transactions, in stroops.
const RESOURCE_FEE: i64 = 10_000_000;

fn restore() -> OperationBody {
    OperationBody::RestoreFootprint(RestoreFootprintOp { ext: no_extension() })
}

fn extend(extend_to: u32) -> OperationBody {
    OperationBody::ExtendFootprintTtl(ExtendFootprintTtlOp { ext: no_extension(), extend_to })
}

fn pay(from: Option<&Key>, to: &Key, amount: i64) -> Operation {
    let (destination, asset) = (to.muxed(), Asset::Native);
    let body = OperationBody::Payment(PaymentOp { destination, asset, amount });
    Operation { source_account: from.map(Key::muxed), body }
}

/// Keys of entries that a contract could have.
fn keys(count: usize) -> Vec<LedgerKey> {
    let contract = ContractId(Hash([7; 32]));
    let key = |number| {
        counter_key(&contract, &format!("entry{number:03}"), ContractDataDurability::Persistent)
    };
    (0..count).map(key).collect()
}

/// The result of a refused transaction, the words beside it, and the numbers in them.
async fn refused(
    client: &Client,
    source: &Key,
    body: OperationBody,
    data: SorobanTransactionData,
) -> (TransactionResultResult, String, Vec<u64>) {
    let tx = client.transaction(source, vec![body], Some(data)).await;
    let sent = client.send(&client.sign(tx, &[source])).await;
    let result = error_of(&sent).unwrap_or_else(|| panic!("{sent}")).result;
    let (words, numbers) = explained(&sent);
    (result, words, numbers)
}

fn explained(sent: &Value) -> (String, Vec<u64>) {
    words_of(xdr(&sent["diagnosticEventsXdr"][0]))
}

/// The result of a transaction that was applied and failed, the words in its meta, and the numbers
/// in them.
async fn failed(
    client: &Client,
    source: &Key,
    body: OperationBody,
    data: SorobanTransactionData,
) -> (TransactionResultResult, String, Vec<u64>) {
    let tx = client.transaction(source, vec![body], Some(data)).await;
    let done = client.apply(&client.sign(tx, &[source])).await;
    assert_eq!(done["status"], "FAILED", "{done}");
    let TransactionMeta::V4(meta) = xdr(&done["resultMetaXdr"]) else { panic!("{done}") };
    let (words, numbers) = words_of(meta.diagnostic_events.to_vec().remove(0));
    (result_of(&done).result, words, numbers)
}

fn words_of(event: DiagnosticEvent) -> (String, Vec<u64>) {
    let ContractEventBody::V0(body) = event.event.body;
    let parts = match body.data {
        ScVal::Vec(Some(parts)) => parts.0.to_vec(),
        words => vec![words],
    };
    let (mut words, mut numbers) = (String::new(), Vec::new());
    for part in parts {
        match part {
            ScVal::String(text) => words = String::from_utf8(text.0.to_vec()).unwrap(),
            ScVal::U64(number) => numbers.push(number),
            other => panic!("{other:?}"),
        }
    }
    (words, numbers)
}

fn priced(data: SorobanTransactionData) -> SorobanTransactionData {
    SorobanTransactionData { resource_fee: RESOURCE_FEE, ..data }
}

#[tokio::test]
async fn every_entry_of_a_restore_counts_as_read_from_disk() {
    let client = client().await;
    let source = client.funded(1).await;

    // The fee that is needed is named where none is offered. Both operations write two entries, and
    // the extension is four bytes longer.
    let mut needed = Vec::new();
    for body in [extend(5), restore()] {
        let data = footprint_only(vec![], keys(2));
        let (result, words, numbers) = refused(&client, &source, body, data).await;
        assert_eq!(result, TransactionResultResult::TxSorobanInvalid);
        assert!(words.contains("lower than the actual Soroban resource fee"), "{words}");
        needed.push(numbers[1]);
    }
    let (reads, bytes) = (2 * 6_250, 100);
    assert!((reads - bytes..=reads).contains(&(needed[1] - needed[0])), "{needed:?}");

    let data = priced(footprint_only(vec![], keys(201)));
    let (result, words, numbers) = refused(&client, &source, restore(), data).await;
    assert_eq!(result, TransactionResultResult::TxSorobanInvalid);
    assert_eq!(words, "transaction entry-disk-read resources exceed network config limit");
    assert_eq!(numbers, [201, 200]);
}

#[tokio::test]
async fn a_footprint_has_no_trust_line_that_cannot_exist() {
    let client = client().await;
    let (source, issuer) = (client.funded(1).await, Key::new(2));
    let line = |owner: &Key, asset| {
        LedgerKey::Trustline(LedgerKeyTrustLine { account_id: owner.account(), asset })
    };
    let asset = |code: &[u8; 4]| {
        let issuer = issuer.account();
        TrustLineAsset::CreditAlphanum4(AlphaNum4 { asset_code: AssetCode4(*code), issuer })
    };
    for key in [
        line(&source, TrustLineAsset::Native),
        line(&issuer, asset(b"USD\0")),
        line(&source, asset(b"U\0D\0")),
        line(&source, asset(b"U D\0")),
        line(&source, asset(&[0; 4])),
    ] {
        for data in
            [footprint_only(vec![key.clone()], vec![]), footprint_only(vec![], vec![key.clone()])]
        {
            let (result, words, _) = refused(&client, &source, extend(5), data).await;
            assert_eq!(result, TransactionResultResult::TxSorobanInvalid, "{key:?}");
            let expected = "transaction footprint contains invalid trustline asset";
            assert_eq!(words, expected, "{key:?}");
        }
    }

    // One that can exist is looked at no further here: the fee comes next.
    let data = footprint_only(vec![line(&source, asset(b"USD\0"))], vec![]);
    let (_, words, _) = refused(&client, &source, extend(5), data).await;
    assert!(words.contains("resourceFee"), "{words}");
}

#[tokio::test]
async fn an_extra_signer_of_an_empty_payload_is_malformed_before_anything_else() {
    let client = client().await;
    let (source, other) = (client.funded(1).await, Key::new(2));
    let payload = SignerKeyEd25519SignedPayload {
        ed25519: Uint256(other.public()),
        payload: Default::default(),
    };
    let mut tx = client.transaction(&source, vec![], None).await;
    tx.fee = 100;
    tx.cond = Preconditions::V2(PreconditionsV2 {
        time_bounds: None,
        ledger_bounds: None,
        min_seq_num: None,
        min_seq_age: 0.into(),
        min_seq_ledger_gap: 0,
        extra_signers: vec![SignerKey::Ed25519SignedPayload(payload)].try_into().unwrap(),
    });
    let sent = client.send(&client.sign(tx, &[&source])).await;
    assert_eq!(error_of(&sent).unwrap().result, TransactionResultResult::TxMalformed);
}

#[tokio::test]
async fn only_the_first_fault_of_several_operations_is_looked_for() {
    let client = client().await;
    let (source, other) = (client.funded(1).await, client.funded(2).await);
    let payment = |result| OperationResult::OpInner(OperationResultTr::Payment(result));
    let cases = [
        (
            vec![pay(None, &other, 1), pay(None, &other, -1), pay(None, &other, -1)],
            vec![
                payment(PaymentResult::Success),
                payment(PaymentResult::Malformed),
                payment(PaymentResult::Success),
            ],
        ),
        (
            vec![pay(Some(&other), &source, 1), pay(Some(&other), &source, 1)],
            vec![OperationResult::OpBadAuth, payment(PaymentResult::Success)],
        ),
    ];
    for (operations, expected) in cases {
        let bodies = operations.iter().map(|operation| operation.body.clone()).collect();
        let mut tx = client.transaction(&source, bodies, None).await;
        tx.operations = operations.try_into().unwrap();
        let sent = client.send(&client.sign(tx, &[&source])).await;
        let expected: VecM<OperationResult> = expected.try_into().unwrap();
        assert_eq!(error_of(&sent).unwrap().result, TransactionResultResult::TxFailed(expected));
    }
}

#[tokio::test]
async fn all_signatures_are_checked_when_a_transaction_is_applied() {
    // Which of two transactions comes first in a ledger depends on the seed.
    for seed in 0..16 {
        let client = client_of(builder().order_seed(seed)).await;
        let (source, other) = (client.funded(1).await, client.funded(2).await);
        let payments = vec![pay(Some(&other), &source, 1); 2];
        let bodies = payments.iter().map(|operation| operation.body.clone()).collect();
        let mut tx = client.transaction(&source, bodies, None).await;
        tx.operations = payments.try_into().unwrap();
        let sent = client.send(&client.sign(tx, &[&source, &other])).await;
        assert_eq!(sent["status"], "PENDING", "{sent}");

        let op = SetOptionsOp { master_weight: Some(0), ..options() };
        let tx = client.transaction(&other, vec![OperationBody::SetOptions(op)], None).await;
        assert_eq!(client.apply(&client.sign(tx, &[&other])).await["status"], "SUCCESS");
        let done = client.get(&sent["hash"]).await;
        if done["status"] == "FAILED" {
            let expected: VecM<OperationResult> =
                vec![OperationResult::OpBadAuth; 2].try_into().unwrap();
            assert_eq!(result_of(&done).result, TransactionResultResult::TxFailed(expected));
            return;
        }
    }
    panic!("the other account never lost its key first");
}

#[tokio::test]
async fn malformed_operations_on_lives_are_refused_in_words() {
    let client = client().await;
    let source = client.funded(1).await;
    let contract = ContractId(Hash([7; 32]));
    let account = LedgerKey::Account(LedgerKeyAccount { account_id: source.account() });
    let temporary = counter_key(&contract, "temp", ContractDataDurability::Temporary);
    let extension = OperationResultTr::ExtendFootprintTtl(ExtendFootprintTtlResult::Malformed);
    let restoration = OperationResultTr::RestoreFootprint(RestoreFootprintResult::Malformed);
    let cases = [
        (
            extend(5),
            footprint_only(vec![], keys(1)),
            ("read-write footprint must be empty for ExtendFootprintTTL operation", vec![]),
        ),
        (
            extend(5),
            footprint_only(vec![account], vec![]),
            ("only entries with TTL (contract data or code entries) can have it extended", vec![]),
        ),
        (
            extend(10_000),
            footprint_only(keys(1), vec![]),
            ("TTL extension is too large: {} > {}", vec![10_000, 9_999]),
        ),
        (
            restore(),
            footprint_only(keys(1), vec![]),
            ("read-only footprint must be empty for RestoreFootprint operation", vec![]),
        ),
        (
            restore(),
            footprint_only(vec![], vec![temporary]),
            ("only persistent Soroban entries can be restored", vec![]),
        ),
    ];
    for (body, data, (expected, values)) in cases {
        let code = if body == restore() { &restoration } else { &extension };
        let code = OperationResult::OpInner(code.clone());
        let (result, words, numbers) = refused(&client, &source, body, priced(data)).await;
        assert_eq!((words.as_str(), numbers), (expected, values));
        let results: VecM<OperationResult> = vec![code].try_into().unwrap();
        assert_eq!(result, TransactionResultResult::TxFailed(results), "{words}");
    }
}

#[tokio::test]
async fn what_an_operation_on_lives_lacks_is_said_in_words() {
    const RENT: &str = "refundable resource fee was not sufficient to cover the ledger storage \
                        rent: {} > {}";
    let client = client().await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 5).await;
    let key = counter_key(&counter, "count", ContractDataDurability::Persistent);
    let result = |result| {
        let results: VecM<OperationResult> =
            vec![OperationResult::OpInner(result)].try_into().unwrap();
        TransactionResultResult::TxFailed(results)
    };

    // The refusal of a transaction without a resource fee names the part that is never given back.
    // With exactly that part, nothing is left for rent.
    let data = footprint_only(vec![key.clone()], vec![]);
    let needed = refused(&client, &source, extend(1_000), data.clone()).await.2[1];
    let data = SorobanTransactionData { resource_fee: needed.try_into().unwrap(), ..data };
    let (code, words, numbers) = failed(&client, &source, extend(1_000), data).await;
    let unpaid = ExtendFootprintTtlResult::InsufficientRefundableFee;
    assert_eq!(code, result(OperationResultTr::ExtendFootprintTtl(unpaid)));
    assert_eq!((words.as_str(), numbers[1]), (RENT, 0));
    assert!(numbers[0] > 0, "{numbers:?}");

    client.network.close_ledgers(50).await.unwrap();
    let declaring = |disk_read_bytes, write_bytes| {
        let mut data = priced(footprint_only(vec![], vec![key.clone()]));
        data.resources.disk_read_bytes = disk_read_bytes;
        data.resources.write_bytes = write_bytes;
        data
    };
    for (data, expected) in [
        (declaring(1, 10_000), "operation byte-read resources exceeds amount specified"),
        (declaring(10_000, 1), "operation byte-write resources exceeds amount specified"),
    ] {
        let (code, words, numbers) = failed(&client, &source, restore(), data).await;
        let exceeded = RestoreFootprintResult::ResourceLimitExceeded;
        assert_eq!(code, result(OperationResultTr::RestoreFootprint(exceeded)));
        assert_eq!((words.as_str(), numbers[1]), (expected, 1));
        assert!(numbers[0] > 1, "{numbers:?}");
    }

    let data = SorobanTransactionData { resource_fee: 0, ..declaring(10_000, 10_000) };
    let needed = refused(&client, &source, restore(), data.clone()).await.2[1];
    let data = SorobanTransactionData { resource_fee: needed.try_into().unwrap(), ..data };
    let (code, words, numbers) = failed(&client, &source, restore(), data).await;
    let unpaid = RestoreFootprintResult::InsufficientRefundableFee;
    assert_eq!(code, result(OperationResultTr::RestoreFootprint(unpaid)));
    assert_eq!((words.as_str(), numbers[1]), (RENT, 0));
}
