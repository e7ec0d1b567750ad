//! Signers that stand for one transaction: they sign it once, and then they are gone.

use serde_json::Value;
use soroban_env_host::xdr::{
    AccountEntry, Asset, FeeBumpTransactionEnvelope, LedgerEntryChange, LedgerEntryData, LedgerKey,
    LedgerKeyAccount, Operation, OperationBody, PaymentOp, SetOptionsOp, Signer, SignerKey,
    Transaction, TransactionEnvelope, TransactionMeta, Uint256,
};

use crate::harness::{Client, Key, client, options, xdr};

/// Lets a hash stand for a signature of the account.
async fn authorise(client: &Client, owner: &Key, hash: [u8; 32]) {
    let signer = Signer { key: SignerKey::PreAuthTx(Uint256(hash)), weight: 1 };
    let op = SetOptionsOp { signer: Some(signer), ..options() };
    let tx = client.transaction(owner, vec![OperationBody::SetOptions(op)], None).await;
    assert_eq!(client.apply(&client.sign(tx, &[owner])).await["status"], "SUCCESS");
    assert_eq!(signers(client, owner).await, (1, 1));
}

/// How many signers and how many subentries an account has.
async fn signers(client: &Client, owner: &Key) -> (usize, u32) {
    let key = LedgerKey::Account(LedgerKeyAccount { account_id: owner.account() });
    match client.entry(&key).await.unwrap().0 {
        LedgerEntryData::Account(account) => (account.signers.len(), account.num_sub_entries),
        other => panic!("{other:?}"),
    }
}

fn pay(from: &Key, to: &Key, amount: i64) -> Operation {
    let (destination, asset) = (to.muxed(), Asset::Native);
    let body = OperationBody::Payment(PaymentOp { destination, asset, amount });
    Operation { source_account: Some(from.muxed()), body }
}

/// A transaction that `owner` sends after `before` others.
async fn later(client: &Client, owner: &Key, before: i64, payments: Vec<Operation>) -> Transaction {
    let bodies = payments.iter().map(|operation| operation.body.clone()).collect();
    let mut tx = client.transaction(owner, bodies, None).await;
    tx.seq_num.0 += before;
    tx.operations = payments.try_into().unwrap();
    tx
}

/// The accounts before and after, as the meta lists them before the operations.
fn changed_before(done: &Value) -> Vec<(AccountEntry, AccountEntry)> {
    let account = |change: &LedgerEntryChange| match change {
        LedgerEntryChange::State(entry) | LedgerEntryChange::Updated(entry) => {
            let LedgerEntryData::Account(account) = &entry.data else { panic!("{entry:?}") };
            account.clone()
        }
        other => panic!("{other:?}"),
    };
    let TransactionMeta::V4(meta) = xdr(&done["resultMetaXdr"]) else { panic!("{done}") };
    assert!(meta.tx_changes_after.is_empty());
    let pairs = meta.tx_changes_before.chunks(2);
    pairs.map(|pair| (account(&pair[0]), account(&pair[1]))).collect()
}

#[tokio::test]
async fn a_hash_signs_once_for_every_account_of_its_transaction() {
    let client = client().await;
    let (owner, other) = (client.funded(1).await, client.funded(2).await);
    let payments = vec![pay(&owner, &other, 1), pay(&other, &owner, 1), pay(&other, &owner, 1)];
    let tx = later(&client, &owner, 1, payments).await;
    for account in [&owner, &other] {
        authorise(&client, account, client.hash(&tx)).await;
    }
    let done = client.apply(&client.sign(tx, &[])).await;
    assert_eq!(done["status"], "SUCCESS");
    for account in [&owner, &other] {
        assert_eq!(signers(&client, account).await, (0, 0));
    }

    let mut changed = changed_before(&done);
    changed.sort_by_key(|(before, _)| before.account_id != owner.account());
    assert_eq!(changed.len(), 2);
    for ((before, after), account) in changed.iter().zip([&owner, &other]) {
        assert_eq!(after.account_id, account.account());
        assert_eq!((before.signers.len(), before.num_sub_entries), (1, 1));
        assert_eq!((after.signers.len(), after.num_sub_entries), (0, 0));
    }
    let sequence = |account: &AccountEntry| account.seq_num.0;
    assert_eq!(sequence(&changed[0].1), sequence(&changed[0].0) + 1, "in one change");
}

#[tokio::test]
async fn a_hash_has_signed_also_if_its_transaction_fails() {
    let client = client().await;
    let (owner, other) = (client.funded(1).await, client.funded(2).await);
    let tx = later(&client, &owner, 1, vec![pay(&owner, &other, i64::MAX)]).await;
    authorise(&client, &owner, client.hash(&tx)).await;
    let done = client.apply(&client.sign(tx, &[])).await;
    assert_eq!(done["status"], "FAILED");
    assert_eq!(signers(&client, &owner).await, (0, 0));

    // One that was refused before its fee was taken has not signed.
    let mut tx = later(&client, &owner, 1, vec![pay(&owner, &other, 1)]).await;
    tx.fee = 1;
    authorise(&client, &owner, client.hash(&tx)).await;
    assert_eq!(client.send(&client.sign(tx, &[])).await["status"], "ERROR");
    client.network.close_ledger().await.unwrap();
    assert_eq!(signers(&client, &owner).await, (1, 1));
}

#[tokio::test]
async fn the_hash_of_a_fee_bump_signs_once_for_its_payer() {
    let client = client().await;
    let (owner, payer) = (client.funded(1).await, client.funded(2).await);
    let inner = later(&client, &owner, 0, vec![pay(&owner, &payer, 1)]).await;
    let (tx, hash) = client.bump(client.sign(inner, &[&owner]), &payer, 400);
    authorise(&client, &payer, hash).await;
    let signatures = Default::default();
    let whole = TransactionEnvelope::TxFeeBump(FeeBumpTransactionEnvelope { tx, signatures });
    let done = client.apply(&whole).await;
    assert_eq!(done["status"], "SUCCESS");
    assert_eq!(signers(&client, &payer).await, (0, 0));

    // The payer comes first, apart from the transaction inside; also where it loses no signer.
    let changed = changed_before(&done);
    let ids: Vec<_> = changed.iter().map(|(_, after)| after.account_id.clone()).collect();
    assert_eq!(ids, [payer.account(), owner.account()]);
    assert_eq!((changed[0].0.signers.len(), changed[0].1.signers.len()), (1, 0));

    let inner = later(&client, &owner, 0, vec![pay(&owner, &payer, 1)]).await;
    let (tx, hash) = client.bump(client.sign(inner, &[&owner]), &payer, 400);
    let signatures = vec![payer.decorated(&hash)].try_into().unwrap();
    let whole = TransactionEnvelope::TxFeeBump(FeeBumpTransactionEnvelope { tx, signatures });
    let changed = changed_before(&client.apply(&whole).await);
    assert_eq!(changed[0].0, changed[0].1);
    assert_eq!(changed[0].0.account_id, payer.account());
}
