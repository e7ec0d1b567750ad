//! A client as a wallet would be one: keys, transactions, signatures, JSON-RPC.

use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use soroban_env_host::xdr::{
    AccountId, Asset, ContractDataDurability, ContractExecutable, ContractId, ContractIdPreimage,
    ContractIdPreimageFromAddress, CreateContractArgsV2, DecoratedSignature, ExtensionPoint,
    FeeBumpTransaction, FeeBumpTransactionExt, FeeBumpTransactionInnerTx, Hash, HashIdPreimage,
    HashIdPreimageSorobanAuthorization, HostFunction, Int128Parts, InvokeContractArgs,
    InvokeHostFunctionOp, LedgerEntryData, LedgerFootprint, LedgerKey, LedgerKeyAccount,
    LedgerKeyContractData, Limits, Memo, MuxedAccount, Operation, OperationBody, PaymentOp,
    Preconditions, PublicKey, ReadXdr, ScAddress, ScBytes, ScMap, ScMapEntry, ScSymbol, ScVal,
    SequenceNumber, SetOptionsOp, Signature, SignatureHint, SorobanAuthorizationEntry,
    SorobanCredentials, SorobanResources, SorobanTransactionData, SorobanTransactionDataExt,
    TimeBounds, TimePoint, Transaction, TransactionEnvelope, TransactionExt, TransactionMeta,
    TransactionResult, TransactionSignaturePayload, TransactionSignaturePayloadTaggedTransaction,
    TransactionV1Envelope, Uint256, WriteXdr,
};
use soroban_localnet::{Builder, Lifetimes, Network};
use tokio::time::Instant;

pub const START: u64 = 1_800_000_000;

pub struct Key(pub SigningKey);

pub struct Client {
    pub network: Network,
    pub http: reqwest::Client,
}

/// Short lives, so that a test can outlive them.
pub fn builder() -> Builder {
    Network::builder().manual_clock(START).lifetimes(Lifetimes {
        min_temporary: 16,
        min_persistent: 30,
        max: 10_000,
    })
}

pub async fn client() -> Client {
    client_of(builder()).await
}

pub async fn client_of(builder: Builder) -> Client {
    let network = builder.start().await.unwrap();
    Client { network, http: reqwest::Client::new() }
}

/// A change of an account that changes nothing yet.
pub fn options() -> SetOptionsOp {
    SetOptionsOp {
        inflation_dest: None,
        clear_flags: None,
        set_flags: None,
        master_weight: None,
        low_threshold: None,
        med_threshold: None,
        high_threshold: None,
        home_domain: None,
        signer: None,
    }
}

pub fn xdr<T: ReadXdr>(value: &Value) -> T {
    let text = value.as_str().unwrap_or_else(|| panic!("not a string: {value}"));
    T::from_xdr_base64(text, Limits::none()).unwrap()
}

pub fn base64(value: &impl WriteXdr) -> String {
    value.to_xdr_base64(Limits::none()).unwrap()
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub fn symbol(text: &str) -> ScVal {
    ScVal::Symbol(ScSymbol(text.try_into().unwrap()))
}

pub fn i128(value: i64) -> ScVal {
    ScVal::I128(Int128Parts { hi: value >> 63, lo: value.cast_unsigned() })
}

pub fn counter_wasm() -> Vec<u8> {
    wat::parse_str(include_str!("../fixtures/counter.wat")).unwrap()
}

impl Key {
    pub fn new(number: u8) -> Self {
        Self(SigningKey::from_bytes(&[number; 32]))
    }

    /// One of many keys.
    pub fn numbered(number: u32) -> Self {
        Self(SigningKey::from_bytes(&sha256(&number.to_be_bytes())))
    }

    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub fn address(&self) -> String {
        format!("{}", stellar_strkey::ed25519::PublicKey(self.public()))
    }

    pub fn account(&self) -> AccountId {
        AccountId(PublicKey::PublicKeyTypeEd25519(Uint256(self.public())))
    }

    pub fn muxed(&self) -> MuxedAccount {
        MuxedAccount::Ed25519(Uint256(self.public()))
    }

    pub fn sc(&self) -> ScVal {
        ScVal::Address(ScAddress::Account(self.account()))
    }

    pub fn decorated(&self, hash: &[u8; 32]) -> DecoratedSignature {
        let public = self.public();
        DecoratedSignature {
            hint: SignatureHint(public[28..].try_into().unwrap()),
            signature: Signature(self.0.sign(hash).to_bytes().to_vec().try_into().unwrap()),
        }
    }
}

impl Client {
    /// The whole answer to a call.
    pub async fn raw(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let sent = self.http.post(self.network.url()).json(&body).send().await.unwrap();
        sent.json().await.unwrap()
    }

    pub async fn call(&self, method: &str, params: Value) -> Value {
        let answer = self.raw(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    pub fn network_id(&self) -> [u8; 32] {
        sha256(self.network.passphrase().as_bytes())
    }

    pub fn native(&self) -> ContractId {
        let id = stellar_strkey::Contract::from_string(&self.network.native_contract()).unwrap();
        ContractId(Hash(id.0))
    }

    pub async fn funded(&self, number: u8) -> Key {
        let key = Key::new(number);
        self.network.fund(&key.address()).await.unwrap();
        key
    }

    pub async fn entry(&self, key: &LedgerKey) -> Option<(LedgerEntryData, Value)> {
        let answer = self.call("getLedgerEntries", json!({"keys": [base64(key)]})).await;
        let entry = answer["entries"].as_array().unwrap().first()?.clone();
        Some((xdr(&entry["xdr"]), entry))
    }

    /// Balance and sequence number.
    pub async fn account(&self, key: &Key) -> Option<(i64, i64)> {
        let key = LedgerKey::Account(LedgerKeyAccount { account_id: key.account() });
        match self.entry(&key).await?.0 {
            LedgerEntryData::Account(account) => Some((account.balance, account.seq_num.0)),
            _ => None,
        }
    }

    pub async fn transaction(
        &self,
        source: &Key,
        bodies: Vec<OperationBody>,
        data: Option<SorobanTransactionData>,
    ) -> Transaction {
        let sequence = self.account(source).await.unwrap().1;
        let resource_fee = data.as_ref().map_or(0, |data| data.resource_fee);
        let fee = 100 * i64::try_from(bodies.len()).unwrap() + resource_fee;
        let operations: Vec<Operation> =
            bodies.into_iter().map(|body| Operation { source_account: None, body }).collect();
        Transaction {
            source_account: source.muxed(),
            fee: fee.try_into().unwrap(),
            seq_num: SequenceNumber(sequence + 1),
            cond: Preconditions::Time(TimeBounds {
                min_time: TimePoint(0),
                max_time: TimePoint(self.network.close_time() + 300),
            }),
            memo: Memo::None,
            operations: operations.try_into().unwrap(),
            ext: data.map_or(TransactionExt::V0, TransactionExt::V1),
        }
    }

    pub fn hash(&self, tx: &Transaction) -> [u8; 32] {
        let payload = TransactionSignaturePayload {
            network_id: Hash(self.network_id()),
            tagged_transaction: TransactionSignaturePayloadTaggedTransaction::Tx(tx.clone()),
        };
        sha256(&payload.to_xdr(Limits::none()).unwrap())
    }

    pub fn sign(&self, tx: Transaction, signers: &[&Key]) -> TransactionEnvelope {
        let hash = self.hash(&tx);
        let signatures: Vec<_> = signers.iter().map(|key| key.decorated(&hash)).collect();
        let signatures = signatures.try_into().unwrap();
        TransactionEnvelope::Tx(TransactionV1Envelope { tx, signatures })
    }

    /// A fee bump around a transaction, without signatures, and its hash.
    pub fn bump(
        &self,
        inner: TransactionEnvelope,
        payer: &Key,
        fee: i64,
    ) -> (FeeBumpTransaction, [u8; 32]) {
        let TransactionEnvelope::Tx(inner) = inner else { panic!("no plain transaction") };
        let bump = FeeBumpTransaction {
            fee_source: payer.muxed(),
            fee,
            inner_tx: FeeBumpTransactionInnerTx::Tx(inner),
            ext: FeeBumpTransactionExt::V0,
        };
        let tagged = TransactionSignaturePayloadTaggedTransaction::TxFeeBump(bump.clone());
        let payload = TransactionSignaturePayload {
            network_id: Hash(self.network_id()),
            tagged_transaction: tagged,
        };
        (bump, sha256(&payload.to_xdr(Limits::none()).unwrap()))
    }

    /// Sends to any address; the answer's status and result, or none if the answer got lost.
    pub async fn ask(
        &self,
        url: &str,
        (method, params): (&str, Value),
        patience: Duration,
    ) -> Option<(u16, Value)> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let sent = self.http.post(url).json(&body).timeout(patience).send().await.ok()?;
        let status = sent.status().as_u16();
        let text = sent.text().await.ok()?;
        let answer = serde_json::from_str::<Value>(&text).unwrap_or_default();
        Some((status, answer["result"].clone()))
    }

    /// A request to `/control`: the status, and the answer as JSON.
    pub async fn control(&self, route: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/control/{route}", self.network.url());
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// What `/control` says about the network.
    pub async fn described(&self) -> Value {
        let url = format!("{}/control", self.network.url());
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// Waits until a transaction is in the queue; needs `/control`.
    pub async fn arrives(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.described().await["waiting"] != true {
            assert!(Instant::now() < deadline, "no transaction arrived");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A signed payment of one stroop to itself.
    pub async fn payment(&self, from: &Key) -> TransactionEnvelope {
        let op = PaymentOp { destination: from.muxed(), asset: Asset::Native, amount: 1 };
        let tx = self.transaction(from, vec![OperationBody::Payment(op)], None).await;
        self.sign(tx, &[from])
    }

    pub async fn send(&self, envelope: &TransactionEnvelope) -> Value {
        self.call("sendTransaction", json!({"transaction": base64(envelope)})).await
    }

    pub async fn get(&self, hash: &Value) -> Value {
        self.call("getTransaction", json!({"hash": hash})).await
    }

    /// Sends, closes a ledger and answers what `getTransaction` says.
    pub async fn apply(&self, envelope: &TransactionEnvelope) -> Value {
        let sent = self.send(envelope).await;
        assert_eq!(sent["status"], "PENDING", "{sent} {:?}", error_of(&sent));
        self.network.close_ledger().await.unwrap();
        self.get(&sent["hash"]).await
    }

    pub async fn simulate(&self, tx: &Transaction) -> Value {
        let envelope = self.sign(tx.clone(), &[]);
        self.call("simulateTransaction", json!({"transaction": base64(&envelope)})).await
    }

    /// Simulates a host function, has the signers sign what they must, and gives back the ready
    /// transaction.
    pub async fn prepare(
        &self,
        source: &Key,
        host_function: HostFunction,
        signers: &[&Key],
    ) -> Transaction {
        let op = InvokeHostFunctionOp { host_function, auth: Default::default() };
        let body = OperationBody::InvokeHostFunction(op.clone());
        let draft = self.transaction(source, vec![body], None).await;
        let simulated = self.simulate(&draft).await;
        assert!(simulated.get("error").is_none(), "{simulated}");
        let auth: Vec<SorobanAuthorizationEntry> =
            simulated["results"][0]["auth"].as_array().unwrap().iter().map(xdr).collect();
        let auth: Vec<_> = auth.into_iter().map(|e| self.sign_auth(e, signers)).collect();
        let body = OperationBody::InvokeHostFunction(InvokeHostFunctionOp {
            auth: auth.try_into().unwrap(),
            ..op
        });
        let data: SorobanTransactionData = xdr(&simulated["transactionData"]);
        self.transaction(source, vec![body], Some(data)).await
    }

    pub async fn run(
        &self,
        source: &Key,
        host_function: HostFunction,
        signers: &[&Key],
    ) -> (Value, ScVal) {
        let tx = self.prepare(source, host_function, signers).await;
        let done = self.apply(&self.sign(tx, &[source])).await;
        assert_eq!(done["status"], "SUCCESS", "{:?} {done}", result_of(&done));
        let returned = return_value(&done);
        (done, returned)
    }

    /// Uploads and deploys the counter with a start value, and answers its id.
    pub async fn counter(&self, source: &Key, start: u32) -> ContractId {
        self.deploy(source, counter_wasm(), vec![ScVal::U32(start)]).await
    }

    /// Uploads and deploys a contract, and answers its id.
    pub async fn deploy(
        &self,
        source: &Key,
        wasm: Vec<u8>,
        constructor_args: Vec<ScVal>,
    ) -> ContractId {
        let upload = HostFunction::UploadContractWasm(wasm.clone().try_into().unwrap());
        self.run(source, upload, &[]).await;
        let create = HostFunction::CreateContractV2(CreateContractArgsV2 {
            contract_id_preimage: ContractIdPreimage::Address(ContractIdPreimageFromAddress {
                address: ScAddress::Account(source.account()),
                salt: Uint256([9; 32]),
            }),
            executable: ContractExecutable::Wasm(Hash(sha256(&wasm))),
            constructor_args: constructor_args.try_into().unwrap(),
        });
        match self.run(source, create, &[]).await.1 {
            ScVal::Address(ScAddress::Contract(id)) => id,
            other => panic!("not a contract: {other:?}"),
        }
    }

    fn sign_auth(
        &self,
        mut entry: SorobanAuthorizationEntry,
        signers: &[&Key],
    ) -> SorobanAuthorizationEntry {
        let expiration = self.network.latest_ledger() + 50;
        let SorobanCredentials::Address(credentials) = &mut entry.credentials else {
            return entry;
        };
        let preimage = HashIdPreimage::SorobanAuthorization(HashIdPreimageSorobanAuthorization {
            network_id: Hash(self.network_id()),
            nonce: credentials.nonce,
            signature_expiration_ledger: expiration,
            invocation: entry.root_invocation.clone(),
        });
        let payload = sha256(&preimage.to_xdr(Limits::none()).unwrap());
        let signer = signers
            .iter()
            .find(|key| credentials.address == ScAddress::Account(key.account()))
            .expect("a signer for every entry");
        credentials.signature_expiration_ledger = expiration;
        credentials.signature = signature(signer, &payload);
        entry
    }
}

pub fn invoke(contract: &ContractId, function: &str, args: Vec<ScVal>) -> HostFunction {
    HostFunction::InvokeContract(InvokeContractArgs {
        contract_address: ScAddress::Contract(contract.clone()),
        function_name: ScSymbol(function.try_into().unwrap()),
        args: args.try_into().unwrap(),
    })
}

/// What a transaction declares that uses these entries and nothing else.
pub fn footprint_only(
    read_only: Vec<LedgerKey>,
    read_write: Vec<LedgerKey>,
) -> SorobanTransactionData {
    SorobanTransactionData {
        ext: SorobanTransactionDataExt::V0,
        resources: SorobanResources {
            footprint: LedgerFootprint {
                read_only: read_only.try_into().unwrap(),
                read_write: read_write.try_into().unwrap(),
            },
            instructions: 0,
            disk_read_bytes: 0,
            write_bytes: 0,
        },
        resource_fee: 0,
    }
}

/// The key of a value the counter keeps.
pub fn counter_key(contract: &ContractId, name: &str, kind: ContractDataDurability) -> LedgerKey {
    LedgerKey::ContractData(LedgerKeyContractData {
        contract: ScAddress::Contract(contract.clone()),
        key: symbol(name),
        durability: kind,
    })
}

pub fn no_extension() -> ExtensionPoint {
    ExtensionPoint::V0
}

pub fn result_of(answer: &Value) -> TransactionResult {
    xdr(&answer["resultXdr"])
}

pub fn error_of(answer: &Value) -> Option<TransactionResult> {
    answer.get("errorResultXdr").map(xdr)
}

pub fn return_value(answer: &Value) -> ScVal {
    match xdr(&answer["resultMetaXdr"]) {
        TransactionMeta::V4(meta) => meta.soroban_meta.unwrap().return_value.unwrap(),
        other => panic!("unexpected meta: {other:?}"),
    }
}

fn signature(key: &Key, payload: &[u8; 32]) -> ScVal {
    let bytes = |bytes: Vec<u8>| ScVal::Bytes(ScBytes(bytes.try_into().unwrap()));
    let signature = key.0.sign(payload).to_bytes().to_vec();
    let fields = vec![
        ScMapEntry { key: symbol("public_key"), val: bytes(key.public().to_vec()) },
        ScMapEntry { key: symbol("signature"), val: bytes(signature) },
    ];
    let map = ScVal::Map(Some(ScMap(fields.try_into().unwrap())));
    ScVal::Vec(Some(vec![map].try_into().unwrap()))
}
