//! What `deploy` asks of a token before people deposit it.

use std::process::Stdio;

use serde_json::{Value, json};
use soroban_localnet::Fault;
use stellar::rpc::{Outcome, SendAnswer};
use stellar::tx::Prepared;
use stellar::{
    Address, Call, ContractKind, Invocation, Keypair, Network, ids, local, scval, state,
};
use stellar_xdr::{
    AlphaNum4, Asset, AssetCode4, ChangeTrustAsset, ChangeTrustOp, ContractExecutable,
    ContractIdPreimage, CreateContractArgs, Hash, HostFunction, InvokeHostFunctionOp, Limits, Memo,
    Operation, OperationBody, Preconditions, ReadXdr, ScVal, SequenceNumber, SetOptionsOp,
    SorobanTransactionData, TimeBounds, TimePoint, Transaction, TransactionEnvelope,
    TransactionExt, TransactionSignaturePayload, TransactionSignaturePayloadTaggedTransaction,
    TransactionV1Envelope, WriteXdr,
};
use tokio::io::{AsyncBufReadExt, BufReader};
use wire::{Digest, TxHash};

use super::Fixture;

/// The flags of an issuer.
const REQUIRED: u32 = 0x1;
const REVOCABLE: u32 = 0x2;
const IMMUTABLE: u32 = 0x4;
const CLAWBACK: u32 = 0x8;

/// An asset with its contract, before a vault holds it.
struct Issued<'a> {
    fixture: &'a Fixture,
    issuer: Keypair,
    token: Address,
    /// Where `ops` would put the vault.
    vault: Address,
}

impl<'a> Issued<'a> {
    /// An asset that was not issued before.
    async fn new(fixture: &'a Fixture, name: &str) -> Self {
        fixture.json(&["keys", "generate", name]).await;
        fixture.json(&["fund", name]).await;
        let issuer = fixture.key(name);
        let (create, token) = asset_contract(&issuer);
        submit(fixture, &issuer, create).await;
        let token: Address = token.parse().unwrap();
        // Anybody can compute it before the vault exists.
        let salt =
            [local::vault_salt().as_bytes().as_slice(), token.as_bytes().as_slice()].concat();
        let ops = fixture.key("ops").address();
        let vault = ids::contract_id(&Network::standalone(), &ops, &Digest::of(&salt)).unwrap();
        Self { fixture, issuer, token, vault }
    }

    async fn options(&self, options: SetOptionsOp) {
        submit(self.fixture, &self.issuer, OperationBody::SetOptions(options)).await;
    }

    async fn set(&self, flags: u32) {
        self.options(SetOptionsOp { set_flags: Some(flags), ..SetOptionsOp::default() }).await;
    }

    async fn clear(&self, flags: u32) {
        self.options(SetOptionsOp { clear_flags: Some(flags), ..SetOptionsOp::default() }).await;
    }

    /// No key signs for the issuer any more.
    async fn lock(&self) {
        self.options(SetOptionsOp { master_weight: Some(0), ..SetOptionsOp::default() }).await;
    }

    async fn prepare(
        &self,
        signer: &Keypair,
        function: &'static str,
        args: Vec<ScVal>,
    ) -> Prepared {
        let call = Invocation {
            kind: ContractKind::Token,
            contract: self.token,
            function,
            args,
            authorizes: None,
            covers: Vec::new(),
        };
        self.fixture.prepare(signer, Call::Invoke(call)).await.unwrap()
    }

    /// A call of the asset's contract that succeeds.
    async fn call(&self, signer: &Keypair, function: &'static str, args: Vec<ScVal>) {
        let prepared = self.prepare(signer, function, args).await;
        let applied = self.fixture.applied(&prepared).await;
        assert!(applied.success, "{function}: {applied:?}");
    }

    async fn mint_to_the_vault(&self, amount: i128) {
        self.call(&self.issuer, "mint", vec![self.vault.to_val(), scval::i128(amount)]).await;
    }

    /// Lets an account hold up to `limit` of it; 0 removes its trust line.
    async fn trust(&self, holder: &Keypair, limit: i64) {
        let line = ChangeTrustAsset::CreditAlphanum4(eurx(&self.issuer));
        let op = OperationBody::ChangeTrust(ChangeTrustOp { line, limit });
        submit(self.fixture, holder, op).await;
    }

    async fn refused(&self) -> String {
        let said = self
            .fixture
            .fails(1, &["deploy", "--as", "ops", "--token", &self.token.to_string()])
            .await;
        assert!(said.contains("the token is not taken") && said.contains("--force"), "{said}");
        said
    }

    async fn deployed(&self, force: bool) -> Value {
        let token = self.token.to_string();
        let mut arguments = vec!["deploy", "--as", "ops", "--token", &token];
        if force {
            arguments.push("--force");
        }
        let deployed = self.fixture.json(&arguments).await;
        assert_eq!(deployed["vault"], self.vault.to_string());
        deployed
    }
}

/// A network with somebody who deploys, somebody else, and somebody who pays for calls.
async fn network() -> Fixture {
    let fixture = Fixture::new().await;
    for name in ["ops", "mallory", "source"] {
        fixture.json(&["keys", "generate", name]).await;
    }
    fixture.json(&["fund", "ops", "mallory", "source"]).await;
    fixture
}

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

/// The asset that `issuer` issues.
fn eurx(issuer: &Keypair) -> AlphaNum4 {
    AlphaNum4 { asset_code: AssetCode4(*b"EURX"), issuer: issuer.address().account_id().unwrap() }
}

/// The contract of an asset that `issuer` issues.
fn asset_contract(issuer: &Keypair) -> (OperationBody, String) {
    let preimage = ContractIdPreimage::Asset(Asset::CreditAlphanum4(eurx(issuer)));
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
    let contract = Address::Contract(*id.as_bytes()).to_string();
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

#[tokio::test]
async fn a_balance_that_was_made_clawable_before_the_vault_is_found() {
    let fixture = network().await;
    let mallory = fixture.key("mallory");

    // Neither issuer has any power left by the time of the deployment.
    let locked = Issued::new(&fixture, "locked").await;
    locked.set(REVOCABLE | CLAWBACK).await;
    locked.mint_to_the_vault(1).await;
    locked.call(&locked.issuer, "set_admin", vec![mallory.address().to_val()]).await;
    locked.clear(REVOCABLE | CLAWBACK).await;
    locked.lock().await;
    let said = locked.refused().await;
    assert!(said.contains("can be clawed back"), "{said}");
    assert!(said.contains(&format!("administered by {}", mallory.address())), "{said}");

    let immutable = Issued::new(&fixture, "immutable").await;
    immutable.set(REVOCABLE | CLAWBACK).await;
    immutable.mint_to_the_vault(1).await;
    immutable.clear(REVOCABLE | CLAWBACK).await;
    immutable.set(IMMUTABLE).await;
    let said = immutable.refused().await;
    assert!(said.contains("can be clawed back"), "{said}");
    assert!(state::instance(&fixture.rpc, &immutable.vault).await.unwrap().is_none());

    // What is said is so: it can be taken.
    for (issued, admin) in [(&locked, &mallory), (&immutable, &immutable.issuer)] {
        let deployed = issued.deployed(true).await;
        let risk = deployed["risk"].as_str().unwrap();
        assert!(risk.contains("can be clawed back"), "{risk}");
        issued.call(admin, "clawback", vec![issued.vault.to_val(), scval::i128(1)]).await;
        assert!(issued.refused().await.contains("can be clawed back"), "also when it exists");
    }
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn a_vault_that_could_take_no_deposit_is_found() {
    let fixture = network().await;

    let required = Issued::new(&fixture, "required").await;
    required.set(REQUIRED).await;
    required.lock().await;
    let said = required.refused().await;
    assert!(said.contains("must be authorized") && said.contains("every deposit fails"), "{said}");
    let risk = required.deployed(true).await["risk"].take();
    assert!(risk.as_str().unwrap().contains("every deposit fails"), "{risk}");

    let frozen = Issued::new(&fixture, "frozen").await;
    frozen.set(REVOCABLE).await;
    let args = vec![frozen.vault.to_val(), ScVal::Bool(false)];
    frozen.call(&frozen.issuer, "set_authorized", args).await;
    frozen.clear(REVOCABLE).await;
    frozen.lock().await;
    let said = frozen.refused().await;
    assert!(said.contains("is frozen"), "{said}");

    let full = Issued::new(&fixture, "full").await;
    full.mint_to_the_vault(i128::MAX).await;
    full.lock().await;
    let said = full.refused().await;
    assert!(said.contains("has no room for deposits"), "{said}");
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn an_asset_that_nobody_has_power_over_is_no_risk() {
    let fixture = network().await;
    let mallory = fixture.key("mallory");

    let locked = Issued::new(&fixture, "locked").await;
    // A gift that came before the vault is no fault of its own.
    locked.mint_to_the_vault(1).await;
    locked.lock().await;
    assert_eq!(locked.deployed(false).await["risk"], Value::Null);
    let again = locked.deployed(false).await;
    assert_eq!((&again["risk"], &again["vaultExisted"]), (&Value::Null, &true.into()));

    // What becomes of the asset later is seen when the deployment is repeated.
    let immutable = Issued::new(&fixture, "immutable").await;
    immutable.set(IMMUTABLE).await;
    assert_eq!(immutable.deployed(false).await["risk"], Value::Null);
    immutable.call(&immutable.issuer, "set_admin", vec![mallory.address().to_val()]).await;
    let said = immutable.refused().await;
    assert!(said.contains(&format!("administered by {}", mallory.address())), "{said}");
    assert!(said.contains("can print it"), "{said}");

    let native = fixture.localnet.native_contract();
    for token in ["native", native.as_str()] {
        let deployed = fixture.json(&["deploy", "--as", "ops", "--token", token]).await;
        assert_eq!((&deployed["token"], &deployed["risk"]), (&native.clone().into(), &Value::Null));
    }
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn what_changes_while_the_contracts_are_put_in_place_is_seen() {
    let fixture = network().await;
    let immutable = Issued::new(&fixture, "immutable").await;
    immutable.set(IMMUTABLE).await;

    // No ledger closes until the deployment has looked at the asset: only its second look can see
    // the new administrator.
    fixture.localnet.fault(Fault::Freeze(true));
    let mallory = fixture.key("mallory").address();
    let change = immutable.prepare(&immutable.issuer, "set_admin", vec![mallory.to_val()]).await;
    let sent = fixture.rpc.send(&Network::standalone(), &change.envelope).await.unwrap();
    assert_eq!(sent, SendAnswer::Pending);
    let token = immutable.token.to_string();
    let mut deployment = fixture
        .command(&["deploy", "--as", "ops", "--token", &token])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut steps = BufReader::new(deployment.stdout.take().unwrap()).lines();
    while let Some(step) = steps.next_line().await.unwrap() {
        if step.contains("uploading the code of the registry") {
            fixture.localnet.fault(Fault::Freeze(false));
        }
    }
    let output = deployment.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("administered by {mallory}")), "{said}");
    let refusal =
        format!("the vault {} is in place, but it must not take deposits", immutable.vault);
    assert!(said.contains(&refusal), "{said}");
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn a_balance_is_shown_in_its_own_token_also_when_its_account_has_left_that() {
    let fixture = network().await;
    let issued = Issued::new(&fixture, "issuer").await;
    let vault = issued.deployed(true).await["vault"].as_str().unwrap().to_owned();
    fixture.json(&["keys", "generate", "alice"]).await;
    fixture.json(&["fund", "alice"]).await;
    let alice = fixture.key("alice");
    let show = ["balance", "show", "alice", "--vault-id", &vault];
    let text = async || String::from_utf8(fixture.run(&show).await.stdout).unwrap();

    // Before it trusts the token.
    assert_eq!(fixture.json(&show).await["outside"], Value::Null);

    issued.trust(&alice, i64::MAX).await;
    let minted = vec![alice.address().to_val(), scval::i128(30_000_000)];
    issued.call(&issued.issuer, "mint", minted).await;
    let deposit = ["balance", "deposit", "2.5", "--as", "alice", "--vault-id", &vault];
    let shown = fixture.json(&deposit).await;
    assert_eq!((&shown["balance"], &shown["outside"]), (&"25000000".into(), &"5000000".into()));
    let said = text().await;
    assert!(said.contains("in the vault  2.5 EURX (25000000 stroops)"), "{said}");
    assert!(said.contains("outside       0.5 EURX (5000000 stroops)"), "{said}");
    assert!(!said.contains("XLM"), "{said}");

    // A decimal that the token does not have is refused before anything is signed.
    let finer = ["balance", "withdraw", "0.00000001", "--as", "alice", "--vault-id", &vault];
    let said = fixture.fails(3, &finer).await;
    assert!(said.contains("no amount of EURX"), "{said}");

    // It gives back what it has left, and its trust line; then its account goes.
    let burned = vec![alice.address().to_val(), scval::i128(5_000_000)];
    issued.call(&alice, "burn", burned).await;
    issued.trust(&alice, 0).await;
    let heir = fixture.key("ops").address().muxed().unwrap();
    for leaves in [None, Some(OperationBody::AccountMerge(heir))] {
        if let Some(leaves) = leaves {
            submit(&fixture, &alice, leaves).await;
        }
        let shown = fixture.json(&show).await;
        assert_eq!((&shown["balance"], &shown["escrowed"]), (&"25000000".into(), &"0".into()));
        assert_eq!(shown["outside"], Value::Null);
        let said = text().await;
        assert!(said.contains("in the vault  2.5 EURX (25000000 stroops)"), "{said}");
        assert!(said.contains("outside       none"), "{said}");
    }

    // The native asset has no trust lines, and an account that is gone has none of it.
    let native = fixture.json(&["deploy", "--as", "ops", "--token", "native"]).await;
    let native = native["vault"].as_str().unwrap();
    let shown = fixture.json(&["balance", "show", "alice", "--vault-id", native]).await;
    assert_eq!((&shown["balance"], &shown["outside"]), (&"0".into(), &Value::Null));
    fixture.localnet.shutdown().await;
}
