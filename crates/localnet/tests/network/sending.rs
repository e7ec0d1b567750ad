//! The queue's answers.

use soroban_env_host::xdr::{
    Asset, FeeBumpTransaction, FeeBumpTransactionEnvelope, FeeBumpTransactionExt,
    FeeBumpTransactionInnerTx, Hash, Limits, ManageDataOp, OperationBody, OperationResult,
    PaymentOp, Preconditions, SequenceNumber, TimeBounds, TimePoint, TransactionEnvelope,
    TransactionResultResult, TransactionSignaturePayload,
    TransactionSignaturePayloadTaggedTransaction, WriteXdr,
};

use crate::harness::{Client, Key, START, client, error_of, result_of, sha256};

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
    let op = ManageDataOp { data_name: Default::default(), data_value: None };
    let tx = client.transaction(&from, vec![OperationBody::ManageData(op)], None).await;
    let result = refused(&client, &client.sign(tx, &[&from])).await;
    let TransactionResultResult::TxFailed(results) = result else { panic!("{result:?}") };
    assert_eq!(results.as_slice(), [OperationResult::OpNotSupported]);
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

#[tokio::test]
async fn a_fee_bump_is_paid_by_another_account() {
    let client = client().await;
    let (from, payer) = (client.funded(1).await, client.funded(2).await);
    let (from_before, payer_before) =
        (client.account(&from).await.unwrap().0, client.account(&payer).await.unwrap().0);
    let tx = client.transaction(&from, vec![pay(&from)], None).await;
    let TransactionEnvelope::Tx(inner) = client.sign(tx, &[&from]) else { unreachable!() };
    let bump = FeeBumpTransaction {
        fee_source: payer.muxed(),
        fee: 400,
        inner_tx: FeeBumpTransactionInnerTx::Tx(inner),
        ext: FeeBumpTransactionExt::V0,
    };
    let payload = TransactionSignaturePayload {
        network_id: Hash(client.network_id()),
        tagged_transaction: TransactionSignaturePayloadTaggedTransaction::TxFeeBump(bump.clone()),
    };
    let hash = sha256(&payload.to_xdr(Limits::none()).unwrap());
    let signatures = vec![payer.decorated(&hash)].try_into().unwrap();
    let envelope = FeeBumpTransactionEnvelope { tx: bump, signatures };
    let done = client.apply(&TransactionEnvelope::TxFeeBump(envelope)).await;
    assert_eq!(done["status"], "SUCCESS");
    assert_eq!(done["feeBump"], true);
    let result = result_of(&done);
    assert!(matches!(result.result, TransactionResultResult::TxFeeBumpInnerSuccess(_)));
    assert_eq!(result.fee_charged, 200);
    assert_eq!(client.account(&from).await.unwrap().0, from_before);
    assert_eq!(client.account(&payer).await.unwrap().0, payer_before - 200);
}

fn bounds(min: u64, max: u64) -> Preconditions {
    Preconditions::Time(TimeBounds { min_time: TimePoint(min), max_time: TimePoint(max) })
}
