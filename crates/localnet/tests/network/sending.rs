//! The queue's answers.

use serde_json::json;
use soroban_env_host::xdr::{
    Asset, ContractEventBody, DiagnosticEvent, FeeBumpTransactionEnvelope,
    FeeBumpTransactionInnerTx, Hash, Limits, OperationBody, OperationResult, PaymentOp,
    Preconditions, SequenceNumber, SorobanTransactionData, TimeBounds, TimePoint,
    TransactionEnvelope, TransactionExt, TransactionResultResult, TransactionSignaturePayload,
    TransactionSignaturePayloadTaggedTransaction, WriteXdr,
};
use soroban_localnet::Fault;

use crate::harness::{Client, Key, START, client, error_of, invoke, result_of, sha256, xdr};

fn pay(to: &Key) -> OperationBody {
    let (destination, asset) = (to.muxed(), Asset::Native);
    OperationBody::Payment(PaymentOp { destination, asset, amount: 1 })
}

async fn refused(client: &Client, envelope: &TransactionEnvelope) -> TransactionResultResult {
    let sent = client.send(envelope).await;
    assert_eq!(sent["status"], "ERROR", "{sent}");
    error_of(&sent).unwrap().result
}

#[tokio::test]
async fn the_same_bytes_are_a_duplicate_then_banned_then_a_bad_sequence() {
    let client = client().await;
    let (from, to) = (client.funded(1).await, client.funded(2).await);
    let tx = client.transaction(&from, vec![pay(&to)], None).await;
    let envelope = client.sign(tx, &[&from]);
    let sent = client.send(&envelope).await;
    assert_eq!(sent["status"], "PENDING");
    assert_eq!(client.get(&sent["hash"]).await["status"], "NOT_FOUND");
    assert_eq!(client.send(&envelope).await["status"], "DUPLICATE");
    client.network.close_ledger().await.unwrap();
    assert_eq!(client.get(&sent["hash"]).await["status"], "SUCCESS");
    for _ in 0..10 {
        assert_eq!(client.send(&envelope).await["status"], "TRY_AGAIN_LATER");
        client.network.close_ledger().await.unwrap();
    }
    assert_eq!(refused(&client, &envelope).await, TransactionResultResult::TxBadSeq);
}

#[tokio::test]
async fn a_source_has_one_transaction_waiting() {
    let client = client().await;
    let (from, to) = (client.funded(1).await, client.funded(2).await);
    let first = client.transaction(&from, vec![pay(&to)], None).await;
    let mut second = first.clone();
    second.seq_num = SequenceNumber(first.seq_num.0 + 1);
    assert_eq!(client.send(&client.sign(first, &[&from])).await["status"], "PENDING");
    let second = client.sign(second, &[&from]);
    assert_eq!(client.send(&second).await["status"], "TRY_AGAIN_LATER");
    client.network.close_ledger().await.unwrap();
    assert_eq!(client.apply(&second).await["status"], "SUCCESS");
}

#[tokio::test]
async fn invalid_transactions_are_refused_with_the_networks_codes() {
    let client = client().await;
    let (from, to) = (client.funded(1).await, client.funded(2).await);
    let good = client.transaction(&from, vec![pay(&to)], None).await;
    let sent = |tx, signers: Vec<&Key>| {
        let envelope = client.sign(tx, &signers);
        let client = &client;
        async move { refused(client, &envelope).await }
    };

    let mut tx = good.clone();
    tx.seq_num = SequenceNumber(good.seq_num.0 + 5);
    assert_eq!(sent(tx, vec![&from]).await, TransactionResultResult::TxBadSeq);
    assert_eq!(sent(good.clone(), vec![&to]).await, TransactionResultResult::TxBadAuth);
    assert_eq!(sent(good.clone(), vec![]).await, TransactionResultResult::TxBadAuth);
    let extra = sent(good.clone(), vec![&from, &to]).await;
    assert_eq!(extra, TransactionResultResult::TxBadAuthExtra);

    let mut tx = good.clone();
    tx.fee = 99;
    assert_eq!(sent(tx, vec![&from]).await, TransactionResultResult::TxInsufficientFee);
    let mut tx = good.clone();
    tx.cond = bounds(0, START - 1);
    assert_eq!(sent(tx, vec![&from]).await, TransactionResultResult::TxTooLate);
    let mut tx = good.clone();
    tx.cond = bounds(START + 1_000, 0);
    assert_eq!(sent(tx, vec![&from]).await, TransactionResultResult::TxTooEarly);
    let mut tx = good.clone();
    tx.operations = Default::default();
    assert_eq!(sent(tx, vec![&from]).await, TransactionResultResult::TxMissingOperation);
    let stranger = Key::new(77);
    let mut tx = good.clone();
    tx.source_account = stranger.muxed();
    assert_eq!(sent(tx, vec![&stranger]).await, TransactionResultResult::TxNoAccount);

    // None of it reached the queue.
    assert_eq!(client.apply(&client.sign(good, &[&from])).await["status"], "SUCCESS");
}

#[tokio::test]
async fn an_operation_that_is_not_supported_is_refused_by_name() {
    let client = client().await;
    let from = client.funded(1).await;
    let tx = client.transaction(&from, vec![OperationBody::Inflation], None).await;
    let sent = client.send(&client.sign(tx, &[&from])).await;
    let result = error_of(&sent).unwrap().result;
    let TransactionResultResult::TxFailed(results) = result else { panic!("{result:?}") };
    assert_eq!(results.as_slice(), [OperationResult::OpNotSupported]);
    let event: DiagnosticEvent = xdr(&sent["diagnosticEventsXdr"][0]);
    let ContractEventBody::V0(body) = event.event.body;
    assert!(format!("{:?}", body.data).contains("Inflation"), "{:?}", body.data);
}

#[tokio::test]
async fn a_transaction_too_late_for_its_ledger_is_dropped_and_never_found() {
    let client = client().await;
    let (from, to) = (client.funded(1).await, client.funded(2).await);
    let before = client.account(&from).await.unwrap();
    let mut tx = client.transaction(&from, vec![pay(&to)], None).await;
    tx.cond = bounds(0, START + 10);
    let envelope = client.sign(tx, &[&from]);
    let sent = client.send(&envelope).await;
    assert_eq!(sent["status"], "PENDING");
    client.network.advance_time(11);
    client.network.close_ledger().await.unwrap();
    let found = client.get(&sent["hash"]).await;
    assert_eq!(found["status"], "NOT_FOUND");
    assert_eq!(found["latestLedgerCloseTime"], (START + 11).to_string());
    assert_eq!(client.account(&from).await.unwrap(), before);
    assert_eq!(client.send(&envelope).await["status"], "TRY_AGAIN_LATER");
}

/// A fee bump of a payment of `from` to itself.
async fn bump(client: &Client, from: &Key, payer: &Key, fee: i64) -> TransactionEnvelope {
    let tx = client.transaction(from, vec![pay(from)], None).await;
    let (tx, hash) = client.bump(client.sign(tx, &[from]), payer, fee);
    let signatures = vec![payer.decorated(&hash)].try_into().unwrap();
    TransactionEnvelope::TxFeeBump(FeeBumpTransactionEnvelope { tx, signatures })
}

#[tokio::test]
async fn a_fee_bump_is_paid_by_another_account_and_found_by_both_hashes() {
    let client = client().await;
    let (from, payer) = (client.funded(1).await, client.funded(2).await);
    let (from_before, payer_before) =
        (client.account(&from).await.unwrap().0, client.account(&payer).await.unwrap().0);
    let inner = client.transaction(&from, vec![pay(&from)], None).await;
    let inner_hash = json!(hex::encode(client.hash(&inner)));
    let done = client.apply(&bump(&client, &from, &payer, 400).await).await;
    assert_eq!(done["status"], "SUCCESS");
    assert_eq!(done["feeBump"], true);
    let result = result_of(&done);
    assert!(matches!(result.result, TransactionResultResult::TxFeeBumpInnerSuccess(_)));
    assert_eq!(result.fee_charged, 200);
    assert_eq!(client.account(&from).await.unwrap().0, from_before);
    assert_eq!(client.account(&payer).await.unwrap().0, payer_before - 200);

    let by_inner = client.get(&inner_hash).await;
    assert_eq!(by_inner["txHash"], inner_hash);
    assert_ne!(done["txHash"], inner_hash);
    for name in ["status", "envelopeXdr", "resultXdr", "resultMetaXdr", "feeBump", "ledger"] {
        assert_eq!(by_inner[name], done[name], "{name}");
    }
}

#[tokio::test]
async fn faults_of_the_bump_itself_are_outer_codes() {
    let client = client().await;
    let (from, payer) = (client.funded(1).await, client.funded(2).await);
    let cheap = bump(&client, &from, &payer, 199).await;
    assert_eq!(refused(&client, &cheap).await, TransactionResultResult::TxInsufficientFee);
    let stranger = Key::new(90);
    let unpaid = bump(&client, &from, &stranger, 400).await;
    assert_eq!(refused(&client, &unpaid).await, TransactionResultResult::TxNoAccount);
    let rich = bump(&client, &from, &payer, i64::MAX).await;
    assert_eq!(refused(&client, &rich).await, TransactionResultResult::TxInsufficientBalance);

    // A fault of the transaction inside is the inner one's.
    let TransactionEnvelope::TxFeeBump(mut wrong) = bump(&client, &from, &payer, 400).await else {
        unreachable!()
    };
    let FeeBumpTransactionInnerTx::Tx(inner) = &mut wrong.tx.inner_tx;
    inner.signatures = Default::default();
    let payload = TransactionSignaturePayload {
        network_id: Hash(client.network_id()),
        tagged_transaction: TransactionSignaturePayloadTaggedTransaction::TxFeeBump(
            wrong.tx.clone(),
        ),
    };
    let hash = sha256(&payload.to_xdr(Limits::none()).unwrap());
    wrong.signatures = vec![payer.decorated(&hash)].try_into().unwrap();
    let result = refused(&client, &TransactionEnvelope::TxFeeBump(wrong)).await;
    assert!(matches!(result, TransactionResultResult::TxFeeBumpInnerFailed(_)), "{result:?}");
}

#[tokio::test]
async fn a_refused_replacement_names_the_fee_that_would_do() {
    let client = client().await;
    let (from, payer) = (client.funded(1).await, client.funded(2).await);
    let first = bump(&client, &from, &payer, 600).await;
    assert_eq!(client.send(&first).await["status"], "PENDING");
    let second = client.send(&bump(&client, &from, &payer, 5_999).await).await;
    let error = error_of(&second).unwrap();
    assert_eq!(error.result, TransactionResultResult::TxInsufficientFee);
    assert_eq!(error.fee_charged, 6_000);
    let third = client.send(&bump(&client, &from, &payer, error.fee_charged).await).await;
    assert_eq!(third["status"], "PENDING");
}

fn bounds(min: u64, max: u64) -> Preconditions {
    Preconditions::Time(TimeBounds { min_time: TimePoint(min), max_time: TimePoint(max) })
}

#[tokio::test]
async fn of_an_applied_fee_bump_only_the_whole_is_not_taken_again() {
    let client = client().await;
    let (from, payer) = (client.funded(1).await, client.funded(2).await);
    let outer = bump(&client, &from, &payer, 400).await;
    let TransactionEnvelope::TxFeeBump(whole) = &outer else { unreachable!() };
    let FeeBumpTransactionInnerTx::Tx(inner) = whole.tx.inner_tx.clone();
    let inner = TransactionEnvelope::Tx(inner);
    assert_eq!(client.send(&outer).await["status"], "PENDING");
    assert_eq!(client.send(&inner).await["status"], "DUPLICATE");
    client.network.close_ledger().await.unwrap();

    // stellar-core bans the hash of the whole; the transaction inside has a used sequence number.
    assert_eq!(client.send(&outer).await["status"], "TRY_AGAIN_LATER");
    assert_eq!(refused(&client, &inner).await, TransactionResultResult::TxBadSeq);
}

#[tokio::test]
async fn what_four_ledgers_did_not_take_is_dropped_and_its_inside_may_be_sent_again() {
    let client = client().await;
    let (from, payer) = (client.funded(1).await, client.funded(2).await);
    let crowd: Vec<Key> = futures::future::join_all((11..=20).map(|n| client.funded(n))).await;
    let outer = bump(&client, &from, &payer, 200).await;
    let TransactionEnvelope::TxFeeBump(whole) = &outer else { unreachable!() };
    let FeeBumpTransactionInnerTx::Tx(inner) = whole.tx.inner_tx.clone();
    let sent = client.send(&outer).await;
    assert_eq!(sent["status"], "PENDING");
    for ledger in 1..=4 {
        assert_eq!(client.send(&outer).await["status"], "DUPLICATE", "ledger {ledger}");
        // A thousand operations that bid twice as much fill the ledger.
        for key in &crowd {
            let mut tx = client.transaction(key, vec![pay(key); 100], None).await;
            tx.fee *= 2;
            assert_eq!(client.send(&client.sign(tx, &[key])).await["status"], "PENDING");
        }
        client.network.close_ledger().await.unwrap();
    }
    assert_eq!(client.send(&outer).await["status"], "TRY_AGAIN_LATER");
    client.network.close_ledger().await.unwrap();
    assert_eq!(client.get(&sent["hash"]).await["status"], "NOT_FOUND", "it was never applied");
    let inner = TransactionEnvelope::Tx(inner);
    assert_eq!(client.apply(&inner).await["status"], "SUCCESS");
}

#[tokio::test]
async fn a_fee_bump_can_be_made_to_fail_by_the_hash_of_its_inside() {
    let client = client().await;
    let (from, payer) = (client.funded(1).await, client.funded(2).await);
    let outer = bump(&client, &from, &payer, 400).await;
    let inner = client.transaction(&from, vec![pay(&from)], None).await;
    client.network.fault(Fault::FailTransaction(client.hash(&inner)));
    assert_eq!(client.apply(&outer).await["status"], "FAILED");
}

/// The code and the fee of a refusal.
async fn priced(client: &Client, envelope: &TransactionEnvelope) -> (TransactionResultResult, i64) {
    let sent = client.send(envelope).await;
    let error = error_of(&sent).unwrap_or_else(|| panic!("{sent}"));
    (error.result, error.fee_charged)
}

#[tokio::test]
async fn fees_that_cannot_be_are_malformed_before_anything_else_is_looked_at() {
    let client = client().await;
    let (from, payer) = (client.funded(1).await, client.funded(2).await);
    let call = invoke(&client.native(), "decimals", vec![]);
    let good = client.prepare(&from, call, &[]).await;
    let TransactionExt::V1(data) = good.ext.clone() else { panic!("no Soroban data") };
    let malformed = (TransactionResultResult::TxMalformed, 0);

    // Above 2^50, and above the whole fee.
    for resource_fee in [-5, i64::MIN, (1 << 50) + 1, i64::from(good.fee) + 1] {
        let mut tx = good.clone();
        tx.ext = TransactionExt::V1(SorobanTransactionData { resource_fee, ..data.clone() });
        let refusal = priced(&client, &client.sign(tx, &[&from])).await;
        assert_eq!(refusal, malformed, "{resource_fee}");
    }
    let mut tx = good;
    tx.ext = TransactionExt::V0;
    assert_eq!(priced(&client, &client.sign(tx, &[&from])).await, malformed);
    assert_eq!(priced(&client, &bump(&client, &from, &payer, -1).await).await, malformed);

    // What a classic transaction says about resources is malformed too, but its fee is one.
    let mut tx = client.transaction(&from, vec![pay(&from)], None).await;
    tx.ext = TransactionExt::V1(SorobanTransactionData { resource_fee: -5, ..data });
    let refusal = priced(&client, &client.sign(tx, &[&from])).await;
    assert_eq!(refusal, (TransactionResultResult::TxMalformed, 100));
}

#[tokio::test]
async fn a_refusal_by_the_queue_itself_names_no_fee() {
    let client = client().await;
    let (from, payer) = (client.funded(1).await, client.funded(2).await);
    let older = client.transaction(&from, vec![pay(&from)], None).await;
    let mut newer = older.clone();
    newer.seq_num = SequenceNumber(older.seq_num.0 + 1);
    assert_eq!(client.apply(&client.sign(older.clone(), &[&from])).await["status"], "SUCCESS");

    // The checks of a transaction name what it would have cost.
    let mut beyond = newer.clone();
    beyond.seq_num = SequenceNumber(newer.seq_num.0 + 1);
    let refusal = priced(&client, &client.sign(beyond, &[&from])).await;
    assert_eq!(refusal, (TransactionResultResult::TxBadSeq, 100));
    let rich = bump(&client, &payer, &from, i64::MAX).await;
    let refusal = priced(&client, &rich).await;
    assert_eq!(refusal, (TransactionResultResult::TxInsufficientBalance, 200));

    // The same codes from the queue: older than what waits, and more than is left beside it.
    assert_eq!(client.send(&client.sign(newer, &[&from])).await["status"], "PENDING");
    let mut again = older;
    again.fee += 1;
    let refusal = priced(&client, &client.sign(again, &[&from])).await;
    assert_eq!(refusal, (TransactionResultResult::TxBadSeq, 0));
    let spendable = client.account(&from).await.unwrap().0 - 10_000_000;
    let last = bump(&client, &payer, &from, spendable).await;
    let refusal = priced(&client, &last).await;
    assert_eq!(refusal, (TransactionResultResult::TxInsufficientBalance, 0));
}
