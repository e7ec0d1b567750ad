//! Classic operations beside the native payment.

use serde_json::Value;
use soroban_env_host::xdr::{
    AccountEntryExt, AccountEntryExtensionV1Ext, AccountEntryExtensionV2Ext, AccountFlags,
    AccountMergeResult, AlphaNum4, Asset, AssetCode4, BumpSequenceOp, ChangeTrustAsset,
    ChangeTrustOp, ChangeTrustResult, ClaimClaimableBalanceOp, ClaimClaimableBalanceResult,
    ClaimPredicate, ClaimableBalanceId, Claimant, ClaimantV0, ContractEvent, ContractEventBody,
    CreateAccountOp, CreateClaimableBalanceOp, CreateClaimableBalanceResult, LedgerEntryData,
    LedgerKey, LedgerKeyAccount, LedgerKeyData, LedgerKeyTrustLine, ManageDataOp, ManageDataResult,
    Memo, MuxedAccount, MuxedAccountMed25519, Operation, OperationBody, OperationResult,
    OperationResultTr, PaymentOp, PaymentResult, Preconditions, ScMapEntry, ScString, ScVal,
    SequenceNumber, SetOptionsOp, SetOptionsResult, Signer, SignerKey, String64,
    TransactionEnvelope, TransactionResultResult, TransactionV0, TransactionV0Envelope,
    TransactionV0Ext, TrustLineAsset, Uint256,
};

use crate::harness::{Client, Key, START, client, i128, options, result_of, symbol, xdr};

async fn apply(client: &Client, source: &Key, bodies: Vec<OperationBody>) -> Value {
    let tx = client.transaction(source, bodies, None).await;
    client.apply(&client.sign(tx, &[source])).await
}

fn results(done: &Value) -> Vec<OperationResult> {
    match result_of(done).result {
        TransactionResultResult::TxSuccess(results)
        | TransactionResultResult::TxFailed(results) => results.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn is(result: OperationResultTr) -> OperationResult {
    OperationResult::OpInner(result)
}

fn usd(issuer: &Key) -> AlphaNum4 {
    AlphaNum4 { asset_code: AssetCode4(*b"USD\0"), issuer: issuer.account() }
}

fn trust(issuer: &Key, limit: i64) -> OperationBody {
    let line = ChangeTrustAsset::CreditAlphanum4(usd(issuer));
    OperationBody::ChangeTrust(ChangeTrustOp { line, limit })
}

fn pay(to: &Key, issuer: &Key, amount: i64) -> OperationBody {
    let asset = Asset::CreditAlphanum4(usd(issuer));
    OperationBody::Payment(PaymentOp { destination: to.muxed(), asset, amount })
}

async fn held(client: &Client, owner: &Key, issuer: &Key) -> Option<i64> {
    let asset = TrustLineAsset::CreditAlphanum4(usd(issuer));
    let account_id = owner.account();
    let key = LedgerKey::Trustline(LedgerKeyTrustLine { account_id, asset });
    match client.entry(&key).await?.0 {
        LedgerEntryData::Trustline(line) => Some(line.balance),
        other => panic!("{other:?}"),
    }
}

fn event(done: &Value) -> (Vec<ScVal>, ScVal) {
    let event: ContractEvent = xdr(&done["events"]["contractEventsXdr"][0][0]);
    let ContractEventBody::V0(body) = event.body;
    (body.topics.to_vec(), body.data)
}

#[tokio::test]
async fn an_issued_asset_is_trusted_minted_paid_and_burned() {
    let client = client().await;
    let (issuer, anna, ben) =
        (client.funded(1).await, client.funded(2).await, client.funded(3).await);
    let no_trust = apply(&client, &issuer, vec![pay(&anna, &issuer, 10)]).await;
    let expected = is(OperationResultTr::Payment(PaymentResult::NoTrust));
    assert_eq!(results(&no_trust), [expected]);

    for owner in [&anna, &ben] {
        assert_eq!(apply(&client, owner, vec![trust(&issuer, 100)]).await["status"], "SUCCESS");
    }
    let minted = apply(&client, &issuer, vec![pay(&anna, &issuer, 100)]).await;
    assert_eq!(event(&minted).0[0], symbol("mint"));
    let moved = apply(&client, &anna, vec![pay(&ben, &issuer, 30)]).await;
    assert_eq!(event(&moved).0[0], symbol("transfer"));
    let burned = apply(&client, &ben, vec![pay(&issuer, &issuer, 10)]).await;
    assert_eq!(event(&burned).0[0], symbol("burn"));
    assert_eq!(held(&client, &anna, &issuer).await, Some(70));
    assert_eq!(held(&client, &ben, &issuer).await, Some(20));

    let full = apply(&client, &issuer, vec![pay(&anna, &issuer, 31)]).await;
    assert_eq!(results(&full), [is(OperationResultTr::Payment(PaymentResult::LineFull))]);
    let poor = apply(&client, &ben, vec![pay(&anna, &issuer, 21)]).await;
    assert_eq!(results(&poor), [is(OperationResultTr::Payment(PaymentResult::Underfunded))]);
    let low = apply(&client, &anna, vec![trust(&issuer, 69)]).await;
    let expected = is(OperationResultTr::ChangeTrust(ChangeTrustResult::InvalidLimit));
    assert_eq!(results(&low), [expected]);
    apply(&client, &ben, vec![pay(&issuer, &issuer, 20), trust(&issuer, 0)]).await;
    assert_eq!(held(&client, &ben, &issuer).await, None, "an empty line can be given up");
}

#[tokio::test]
async fn signers_and_thresholds_decide_who_may_act() {
    let client = client().await;
    let (owner, helper) = (client.funded(1).await, client.funded(2).await);
    let signer = Signer { key: SignerKey::Ed25519(Uint256(helper.public())), weight: 1 };
    let set = OperationBody::SetOptions(SetOptionsOp {
        signer: Some(signer),
        low_threshold: Some(1),
        med_threshold: Some(2),
        high_threshold: Some(2),
        ..options()
    });
    assert_eq!(apply(&client, &owner, vec![set]).await["status"], "SUCCESS");

    let data = |value: &str| {
        OperationBody::ManageData(ManageDataOp {
            data_name: String64("k".try_into().unwrap()),
            data_value: Some(value.as_bytes().to_vec().try_into().unwrap()),
        })
    };
    let tx = client.transaction(&owner, vec![data("v")], None).await;
    let alone = client.send(&client.sign(tx.clone(), &[&owner])).await;
    assert_eq!(alone["status"], "ERROR", "one signature of weight 1 is not enough");
    let both = client.apply(&client.sign(tx, &[&owner, &helper])).await;
    assert_eq!(both["status"], "SUCCESS");
    let data_name = String64("k".try_into().unwrap());
    let key = LedgerKey::Data(LedgerKeyData { account_id: owner.account(), data_name });
    assert!(client.entry(&key).await.is_some());

    let faults = [
        (SetOptionsOp { set_flags: Some(1 << 9), ..options() }, SetOptionsResult::UnknownFlag),
        (
            SetOptionsOp { master_weight: Some(256), ..options() },
            SetOptionsResult::ThresholdOutOfRange,
        ),
    ];
    for (op, expected) in faults {
        let tx = client.transaction(&helper, vec![OperationBody::SetOptions(op)], None).await;
        let sent = client.send(&client.sign(tx, &[&helper])).await;
        let result = crate::harness::error_of(&sent).unwrap().result;
        let TransactionResultResult::TxFailed(results) = result else { panic!("{result:?}") };
        assert_eq!(results.as_slice(), [is(OperationResultTr::SetOptions(expected))]);
    }
}

#[tokio::test]
async fn data_is_set_and_removed_and_a_sequence_number_jumps() {
    let client = client().await;
    let owner = client.funded(1).await;
    let data = |value: Option<&str>| {
        OperationBody::ManageData(ManageDataOp {
            data_name: String64("name".try_into().unwrap()),
            data_value: value.map(|value| value.as_bytes().to_vec().try_into().unwrap()),
        })
    };
    let missing = apply(&client, &owner, vec![data(None)]).await;
    let expected = is(OperationResultTr::ManageData(ManageDataResult::NameNotFound));
    assert_eq!(results(&missing), [expected]);
    let done = apply(&client, &owner, vec![data(Some("a")), data(Some("b")), data(None)]).await;
    assert_eq!(done["status"], "SUCCESS");

    let sequence = client.account(&owner).await.unwrap().1;
    let bump = BumpSequenceOp { bump_to: SequenceNumber(sequence + 1_000) };
    apply(&client, &owner, vec![OperationBody::BumpSequence(bump)]).await;
    assert_eq!(client.account(&owner).await.unwrap().1, sequence + 1_000);
}

#[tokio::test]
async fn an_account_made_in_a_transaction_may_act_in_it_and_be_merged() {
    let client = client().await;
    let (owner, child) = (client.funded(1).await, Key::new(9));
    let before = client.account(&owner).await.unwrap().0;
    let create = OperationBody::CreateAccount(CreateAccountOp {
        destination: child.account(),
        starting_balance: 50_000_000,
    });
    let merge = OperationBody::AccountMerge(owner.muxed());
    let mut tx = client.transaction(&owner, vec![create, merge.clone()], None).await;
    let mut operations: Vec<Operation> = tx.operations.to_vec();
    operations[1].source_account = Some(child.muxed());
    tx.operations = operations.try_into().unwrap();
    let done = client.apply(&client.sign(tx, &[&owner, &child])).await;
    // Its number could have been used already in this very ledger.
    let expected = is(OperationResultTr::AccountMerge(AccountMergeResult::SeqnumTooFar));
    assert_eq!(results(&done)[1], expected);

    let create = OperationBody::CreateAccount(CreateAccountOp {
        destination: child.account(),
        starting_balance: 50_000_000,
    });
    apply(&client, &owner, vec![create]).await;
    let merged = apply(&client, &child, vec![merge]).await;
    let held = 50_000_000 - 100;
    let expected = is(OperationResultTr::AccountMerge(AccountMergeResult::Success(held)));
    assert_eq!(results(&merged), [expected]);
    assert!(client.account(&child).await.is_none());
    assert_eq!(client.account(&owner).await.unwrap().0, before - 200 - 100 - 100);
}

#[tokio::test]
async fn a_claimable_balance_waits_for_its_claimant() {
    let client = client().await;
    let (owner, friend) = (client.funded(1).await, client.funded(2).await);
    let deadline = ClaimPredicate::BeforeRelativeTime(60);
    let claimant = |who: &Key, predicate: ClaimPredicate| {
        Claimant::ClaimantTypeV0(ClaimantV0 { destination: who.account(), predicate })
    };
    let create = |predicate: ClaimPredicate| {
        OperationBody::CreateClaimableBalance(CreateClaimableBalanceOp {
            asset: Asset::Native,
            amount: 1_000,
            claimants: vec![claimant(&friend, predicate)].try_into().unwrap(),
        })
    };
    let id = |done: &Value| match results(done).remove(0) {
        OperationResult::OpInner(OperationResultTr::CreateClaimableBalance(
            CreateClaimableBalanceResult::Success(id),
        )) => id,
        other => panic!("{other:?}"),
    };
    let claim = |balance_id: ClaimableBalanceId| {
        OperationBody::ClaimClaimableBalance(ClaimClaimableBalanceOp { balance_id })
    };
    let first = id(&apply(&client, &owner, vec![create(ClaimPredicate::Unconditional)]).await);
    let stranger = apply(&client, &owner, vec![claim(first.clone())]).await;
    let expected = ClaimClaimableBalanceResult::CannotClaim;
    assert_eq!(results(&stranger), [is(OperationResultTr::ClaimClaimableBalance(expected))]);
    let before = client.account(&friend).await.unwrap().0;
    assert_eq!(apply(&client, &friend, vec![claim(first)]).await["status"], "SUCCESS");
    assert_eq!(client.account(&friend).await.unwrap().0, before + 1_000 - 100);

    let second = id(&apply(&client, &owner, vec![create(deadline)]).await);
    client.network.advance_time(61);
    client.network.close_ledger().await.unwrap();
    let late = apply(&client, &friend, vec![claim(second)]).await;
    let expected = ClaimClaimableBalanceResult::CannotClaim;
    assert_eq!(results(&late), [is(OperationResultTr::ClaimClaimableBalance(expected))]);
}

#[tokio::test]
async fn a_muxed_destination_or_a_memo_is_in_the_event() {
    let client = client().await;
    let (from, to) = (client.funded(1).await, client.funded(2).await);
    let muxed =
        MuxedAccount::MuxedEd25519(MuxedAccountMed25519 { id: 77, ed25519: Uint256(to.public()) });
    let body = |destination: MuxedAccount| {
        OperationBody::Payment(PaymentOp { destination, asset: Asset::Native, amount: 5 })
    };
    let data = |id: ScVal| {
        let entries = vec![
            ScMapEntry { key: symbol("amount"), val: i128(5) },
            ScMapEntry { key: symbol("to_muxed_id"), val: id },
        ];
        ScVal::Map(Some(entries.try_into().unwrap()))
    };

    let done = apply(&client, &from, vec![body(muxed)]).await;
    let (topics, value) = event(&done);
    assert_eq!(topics[2], to.sc(), "the topic has the account without its number");
    assert_eq!(value, data(ScVal::U64(77)));

    let mut tx = client.transaction(&from, vec![body(to.muxed())], None).await;
    tx.memo = Memo::Text("order 5".try_into().unwrap());
    let done = client.apply(&client.sign(tx, &[&from])).await;
    let text = ScVal::String(ScString("order 5".try_into().unwrap()));
    assert_eq!(event(&done).1, data(text));
}

#[tokio::test]
async fn an_envelope_of_version_0_is_the_same_transaction() {
    let client = client().await;
    let from = client.funded(1).await;
    let op = PaymentOp { destination: from.muxed(), asset: Asset::Native, amount: 1 };
    let tx = client.transaction(&from, vec![OperationBody::Payment(op)], None).await;
    let signatures = vec![from.decorated(&client.hash(&tx))].try_into().unwrap();
    let Preconditions::Time(bounds) = tx.cond.clone() else { panic!("time bounds") };
    assert!(bounds.max_time.0 > START);
    let hash = hex::encode(client.hash(&tx));
    let old = TransactionV0 {
        source_account_ed25519: Uint256(from.public()),
        fee: tx.fee,
        seq_num: tx.seq_num,
        time_bounds: Some(bounds),
        memo: tx.memo,
        operations: tx.operations,
        ext: TransactionV0Ext::V0,
    };
    let envelope = TransactionEnvelope::TxV0(TransactionV0Envelope { tx: old, signatures });
    let done = client.apply(&envelope).await;
    assert_eq!((&done["status"], &done["txHash"]), (&"SUCCESS".into(), &hash.into()));
    assert!(matches!(xdr(&done["envelopeXdr"]), TransactionEnvelope::Tx(_)));
}

#[tokio::test]
async fn an_issuer_that_requires_authorisation_gives_lines_without_it() {
    let client = client().await;
    let (issuer, anna) = (client.funded(1).await, client.funded(2).await);
    let flags = AccountFlags::RequiredFlag as u32 | AccountFlags::RevocableFlag as u32;
    let set = SetOptionsOp { set_flags: Some(flags), ..options() };
    apply(&client, &issuer, vec![OperationBody::SetOptions(set)]).await;
    apply(&client, &anna, vec![trust(&issuer, 100)]).await;
    let done = apply(&client, &issuer, vec![pay(&anna, &issuer, 1)]).await;
    assert_eq!(results(&done), [is(OperationResultTr::Payment(PaymentResult::NotAuthorized))]);
}

#[tokio::test]
async fn a_bump_that_moves_no_number_still_counts_as_a_change_of_it() {
    let client = client().await;
    let (owner, other) = (client.funded(1).await, client.funded(2).await);
    let before = client.account(&other).await.unwrap();
    let bump = OperationBody::BumpSequence(BumpSequenceOp { bump_to: SequenceNumber(0) });
    let mut tx = client.transaction(&owner, vec![bump], None).await;
    let mut operations = tx.operations.to_vec();
    operations[0].source_account = Some(other.muxed());
    tx.operations = operations.try_into().unwrap();
    client.network.advance_time(60);
    let done = client.apply(&client.sign(tx, &[&owner, &other])).await;
    assert_eq!(done["status"], "SUCCESS");
    assert_eq!(client.account(&other).await.unwrap(), before);

    let key = LedgerKey::Account(LedgerKeyAccount { account_id: other.account() });
    let LedgerEntryData::Account(account) = client.entry(&key).await.unwrap().0 else { panic!() };
    let AccountEntryExt::V1(v1) = account.ext else { panic!("{:?}", account.ext) };
    let AccountEntryExtensionV1Ext::V2(v2) = v1.ext else { panic!("{:?}", v1.ext) };
    let AccountEntryExtensionV2Ext::V3(v3) = v2.ext else { panic!("{:?}", v2.ext) };
    let here = (client.network.latest_ledger(), client.network.close_time());
    assert_eq!((v3.seq_ledger, v3.seq_time.0), here);
}
