//! What `deploy` asks of a token before people deposit it.

use serde_json::{Value, json};
use stellar::rpc::Outcome;
use stellar::{Keypair, Network, scval};
use stellar_xdr::{
    AlphaNum4, Asset, AssetCode4, ContractExecutable, ContractIdPreimage, CreateContractArgs, Hash,
    HostFunction, InvokeHostFunctionOp, Limits, Memo, Operation, OperationBody, Preconditions,
    ReadXdr, SequenceNumber, SorobanTransactionData, TimeBounds, TimePoint, Transaction,
    TransactionEnvelope, TransactionExt, TransactionSignaturePayload,
    TransactionSignaturePayloadTaggedTransaction, TransactionV1Envelope, WriteXdr,
};
use wire::{Digest, TxHash};

use super::Fixture;

/// Puts one operation on the ledger that no command of ours makes.
async fn submit(fixture: &Fixture, signer: &Keypair, body: OperationBody) {
    let sequence = fixture.rpc.account(&signer.address()).await.unwrap().unwrap().sequence + 1;
    let is_contract_call = matches!(body, OperationBody::InvokeHostFunction(_));
    let mut transaction = Transaction {
        source_account: signer.address().muxed().unwrap(),
        fee: 1_000,
        seq_num: SequenceNumber(sequence),
        cond: Preconditions::Time(TimeBounds {
            min_time: TimePoint(0),
            max_time: TimePoint(fixture.localnet.close_time() + 60),
        }),
        memo: Memo::None,
        operations: vec![Operation { source_account: None, body }].try_into().unwrap(),
        ext: TransactionExt::V0,
    };
    if is_contract_call {
        let unsigned = envelope(transaction.clone(), Vec::new());
        let simulated = ask(fixture, "simulateTransaction", &unsigned).await;
        let data = simulated["transactionData"].as_str().unwrap();
        let data = SorobanTransactionData::from_xdr_base64(data, Limits::none()).unwrap();
        transaction.fee += u32::try_from(data.resource_fee).unwrap();
        transaction.ext = TransactionExt::V1(data);
    }
    let payload = TransactionSignaturePayload {
        network_id: Hash(*Network::standalone().id().as_bytes()),
        tagged_transaction: TransactionSignaturePayloadTaggedTransaction::Tx(transaction.clone()),
    };
    let hash = TxHash::from(*Digest::of(&scval::to_xdr(&payload).unwrap()).as_bytes());
    let signed = envelope(transaction, vec![signer.sign_decorated(hash.as_bytes()).unwrap()]);
    let sent = ask(fixture, "sendTransaction", &signed).await;
    assert_eq!(sent["status"], "PENDING", "{sent}");
    loop {
        fixture.localnet.close_ledger().await.unwrap();
        if let Outcome::Applied(applied) = fixture.rpc.transaction(&hash).await.unwrap().outcome {
            assert!(applied.success, "{applied:?}");
            return;
        }
    }
}

fn envelope(
    tx: Transaction,
    signatures: Vec<stellar_xdr::DecoratedSignature>,
) -> TransactionEnvelope {
    let envelope = TransactionV1Envelope { tx, signatures: signatures.try_into().unwrap() };
    TransactionEnvelope::Tx(envelope)
}

/// Asks the node directly: our own client sends nothing that is no call of a contract.
async fn ask(fixture: &Fixture, method: &str, envelope: &TransactionEnvelope) -> Value {
    let transaction = envelope.to_xdr_base64(Limits::none()).unwrap();
    let params = json!({ "transaction": transaction });
    let question = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let sent = reqwest::Client::new().post(fixture.localnet.url()).json(&question).send().await;
    let mut answer: Value = sent.unwrap().json().await.unwrap();
    answer["result"].take()
}

/// The contract of an asset that `issuer` issues.
fn asset_contract(issuer: &Keypair) -> (OperationBody, String) {
    let asset = Asset::CreditAlphanum4(AlphaNum4 {
        asset_code: AssetCode4(*b"EURX"),
        issuer: issuer.address().account_id().unwrap(),
    });
    let preimage = ContractIdPreimage::Asset(asset);
    let id = stellar_xdr::HashIdPreimage::ContractId(stellar_xdr::HashIdPreimageContractId {
        network_id: Hash(*Network::standalone().id().as_bytes()),
        contract_id_preimage: preimage.clone(),
    });
    let id = Digest::of(&scval::to_xdr(&id).unwrap());
    let host_function = HostFunction::CreateContract(CreateContractArgs {
        contract_id_preimage: preimage,
        executable: ContractExecutable::StellarAsset,
    });
    let body = InvokeHostFunctionOp { host_function, auth: Vec::new().try_into().unwrap() };
    let contract = stellar::Address::Contract(*id.as_bytes()).to_string();
    (OperationBody::InvokeHostFunction(body), contract)
}

#[tokio::test]
async fn a_token_whose_issuer_is_merged_away_is_taken_only_by_force() {
    let fixture = Fixture::new().await;
    for name in ["ops", "issuer"] {
        fixture.json(&["keys", "generate", name]).await;
    }
    fixture.json(&["fund", "ops", "issuer"]).await;
    let issuer = fixture.key("issuer");
    let (create, token) = asset_contract(&issuer);
    submit(&fixture, &issuer, create).await;
    let deploy = ["deploy", "--as", "ops", "--token", &token];
    let said = fixture.fails(1, &deploy).await;
    assert!(said.contains("neither locked nor immutable"), "{said}");

    let heir = fixture.key("ops").address().muxed().unwrap();
    submit(&fixture, &issuer, OperationBody::AccountMerge(heir)).await;
    let said = fixture.fails(1, &deploy).await;
    assert!(said.contains("merged away") && said.contains("--force"), "{said}");

    let deployed = fixture.json(&[&deploy[..], &["--force"]].concat()).await;
    assert_eq!(deployed["token"], token);
    fixture.localnet.shutdown().await;
}
