//! SEP-10: an account proves itself by signing a transaction that can never be applied, because its
//! sequence number is 0.
//!
//! The challenge needs no row in the database: the server's own signature over its exact bytes says
//! that this server made it, and for how long. That it is used once is [`super::session`]'s
//! business.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use rand::TryRngCore as _;
use stellar::{Address, ChainError, Network, Rpc, scval};
use stellar_xdr::{
    AccountEntry, DataValue, DecoratedSignature, Hash, LedgerEntryData, LedgerKey,
    LedgerKeyAccount, ManageDataOp, Memo, MuxedAccount, MuxedAccountMed25519, Operation,
    OperationBody, Preconditions, PublicKey, SequenceNumber, SignerKey, String64, TimeBounds,
    TimePoint, Transaction, TransactionEnvelope, TransactionExt, TransactionSignaturePayload,
    TransactionSignaturePayloadTaggedTransaction, TransactionV1Envelope, Uint256, WriteXdr,
};
use wire::{Digest, TxHash};

use crate::auth::{CHALLENGE_SECS, Login, Proof, invalid, now, refused};
use crate::error::{Error, Result};

/// The longest challenge that is read, in bytes of base64: one transaction with 20 signatures has
/// less.
const LONGEST: usize = 16 * 1024;
/// The name of the operation that binds a challenge to the server that made it.
const WEB_AUTH_DOMAIN: &str = "web_auth_domain";
/// The minimum fee of one operation; nothing is ever paid.
const FEE: u32 = 100;

/// The account that asks for a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    key: [u8; 32],
    /// The id within the account, for `M…`.
    muxed: Option<u64>,
    /// The id that a custodian gives to a user of a shared account, for `G…` only.
    memo: Option<u64>,
}

impl Client {
    /// Reads `account` and `memo` of a request.
    ///
    /// # Errors
    ///
    /// [`wire::Problem::InvalidRequest`] naming the parameter.
    pub fn read(account: &str, memo: Option<&str>) -> Result<Self> {
        let (key, muxed) = match stellar_strkey::Strkey::from_string(account) {
            Ok(stellar_strkey::Strkey::PublicKeyEd25519(key)) => (key.0, None),
            Ok(stellar_strkey::Strkey::MuxedAccountEd25519(account)) => {
                (account.ed25519, Some(account.id))
            }
            Ok(stellar_strkey::Strkey::Contract(_)) => {
                return Err(invalid("account: a contract (C…) logs in by SEP-45, at /sep45"));
            }
            _ => return Err(invalid("account: expected an account (G… or M…)")),
        };
        if VerifyingKey::from_bytes(&key).is_err() {
            return Err(invalid("account: no such public key exists"));
        }
        let memo = memo.map(|text| {
            text.parse::<u64>().map_err(|_| invalid("memo: expected a whole number (memo id)"))
        });
        let memo = memo.transpose()?;
        if memo.is_some() && muxed.is_some() {
            return Err(invalid("memo: an M… account carries its own id; leave the memo out"));
        }
        Ok(Self { key, muxed, memo })
    }

    fn to_muxed(self) -> MuxedAccount {
        match self.muxed {
            None => MuxedAccount::Ed25519(Uint256(self.key)),
            Some(id) => {
                MuxedAccount::MuxedEd25519(MuxedAccountMed25519 { id, ed25519: Uint256(self.key) })
            }
        }
    }

    fn from_muxed(account: &MuxedAccount, memo: Option<u64>) -> Self {
        match account {
            MuxedAccount::Ed25519(key) => Self { key: key.0, muxed: None, memo },
            MuxedAccount::MuxedEd25519(muxed) => {
                Self { key: muxed.ed25519.0, muxed: Some(muxed.id), memo }
            }
        }
    }

    /// The account on the ledger.
    const fn address(&self) -> Address {
        Address::Account(self.key)
    }

    /// The `sub` of tokens.
    fn subject(&self) -> String {
        let account = match self.muxed {
            None => self.address().to_string(),
            Some(id) => stellar_strkey::ed25519::MuxedAccount { ed25519: self.key, id }
                .to_string()
                .as_str()
                .to_owned(),
        };
        self.memo.map_or(account.clone(), |memo| format!("{account}:{memo}"))
    }
}

/// A challenge for `client`, signed by the server, as base64 of its envelope.
///
/// # Errors
///
/// When the system gives no randomness.
pub fn challenge(login: &Login, client: Client) -> Result<String> {
    let mut random = [0; 48];
    rand::rngs::OsRng
        .try_fill_bytes(&mut random)
        .map_err(|error| Error::Broken(format!("the system gave no randomness: {error}")))?;
    // 64 bytes of base64 text, as SEP-10 demands.
    let nonce = BASE64_STANDARD.encode(random);
    let first =
        manage_data(client.to_muxed(), &format!("{} auth", login.home_domain), nonce.as_bytes())?;
    let server = MuxedAccount::Ed25519(Uint256(*login.signer.address().as_bytes()));
    let second = manage_data(server.clone(), WEB_AUTH_DOMAIN, login.web_auth_domain.as_bytes())?;
    let from = now();
    let transaction = Transaction {
        source_account: server,
        fee: 2 * FEE,
        seq_num: SequenceNumber(0),
        cond: Preconditions::Time(TimeBounds {
            min_time: TimePoint(from),
            max_time: TimePoint(from.saturating_add(CHALLENGE_SECS)),
        }),
        memo: client.memo.map_or(Memo::None, Memo::Id),
        operations: vec![first, second].try_into().map_err(|_| encode())?,
        ext: TransactionExt::V0,
    };
    let hash = hash(&login.network, &transaction)?;
    let signature = login.signer.sign_decorated(hash.as_bytes())?;
    let envelope = TransactionEnvelope::Tx(TransactionV1Envelope {
        tx: transaction,
        signatures: vec![signature].try_into().map_err(|_| encode())?,
    });
    envelope.to_xdr_base64(scval::limits()).map_err(|_| encode())
}

/// Checks a signed challenge: that this server made it, that it is still good, and that the
/// account's signers signed it.
///
/// # Errors
///
/// [`wire::Problem::Unauthenticated`] naming the rule that it breaks, [`Error::Chain`] when the
/// account's signers cannot be read.
pub async fn verify(login: &Login, text: &str) -> Result<Proof> {
    let challenge = read(login, text, now())?;
    login
        .within_limits(async {
            let account = account(&login.rpc, &challenge.client.address()).await?;
            check_signers(&challenge, account.as_ref()).map_err(refused)
        })
        .await?;
    Ok(Proof {
        subject: challenge.client.subject(),
        account: challenge.client.address(),
        challenge: (*challenge.hash.as_bytes()).into(),
        expires_at: challenge.expires_at,
    })
}

/// A challenge that this server made and that is still good, with the signatures of others.
#[derive(Debug)]
struct Challenge {
    client: Client,
    hash: TxHash,
    expires_at: u64,
    signatures: Vec<DecoratedSignature>,
}

fn read(login: &Login, text: &str, now: u64) -> Result<Challenge> {
    if text.len() > LONGEST {
        return Err(refused("the transaction is too long"));
    }
    let envelope: TransactionEnvelope = scval::from_base64("challenge", text)
        .map_err(|_| refused("the transaction is not base64 of a transaction's XDR"))?;
    let TransactionEnvelope::Tx(TransactionV1Envelope { tx, signatures }) = envelope else {
        return Err(refused("the envelope is of another kind than the challenge's"));
    };
    let server = *login.signer.address().as_bytes();
    let hash = hash(&login.network, &tx)?;

    // The server's signature comes first: what it does not cover is not looked at.
    let is_server = |signature: &DecoratedSignature| verifies(&server, signature, hash.as_bytes());
    let (own, others): (Vec<_>, Vec<_>) = signatures.iter().cloned().partition(is_server);
    if own.len() != 1 {
        return Err(refused("the transaction was not made by this server, or for another network"));
    }
    if tx.source_account != MuxedAccount::Ed25519(Uint256(server)) || tx.seq_num.0 != 0 {
        return Err(refused("the transaction is no challenge"));
    }
    let Preconditions::Time(bounds) = &tx.cond else {
        return Err(refused("the transaction has no time bounds"));
    };
    let (from, until) = (bounds.min_time.0, bounds.max_time.0);
    if until == 0 || now < from || now > until {
        return Err(refused("the challenge has expired; ask for another one"));
    }
    let client = client(login, &tx).map_err(refused)?;
    Ok(Challenge { client, hash, expires_at: until, signatures: others })
}

/// The account that the first operation names; every operation must be one of a challenge of ours.
fn client(login: &Login, tx: &Transaction) -> Result<Client, &'static str> {
    let memo = match tx.memo {
        Memo::None => None,
        Memo::Id(id) => Some(id),
        Memo::Text(_) | Memo::Hash(_) | Memo::Return(_) => return Err("the memo is not an id"),
    };
    let [first, second] = tx.operations.as_slice() else {
        return Err("the challenge has other operations than the server's");
    };
    let (source, name, nonce) = data_of(first)?;
    let account = source.ok_or("the first operation names no account")?;
    if name != format!("{} auth", login.home_domain).as_bytes() || nonce.len() != 64 {
        return Err("the challenge is for another domain");
    }
    let (_, name, domain) = data_of(second)?;
    if name != WEB_AUTH_DOMAIN.as_bytes() || domain != login.web_auth_domain.as_bytes() {
        return Err("the challenge is of another server");
    }
    let client = Client::from_muxed(account, memo);
    if client.muxed.is_some() && client.memo.is_some() {
        return Err("an M… account comes without a memo");
    }
    Ok(client)
}

type Data<'a> = (Option<&'a MuxedAccount>, &'a [u8], &'a [u8]);

fn data_of(operation: &Operation) -> Result<Data<'_>, &'static str> {
    let OperationBody::ManageData(data) = &operation.body else {
        return Err("the challenge has other operations than the server's");
    };
    let value = data.data_value.as_ref().ok_or("an operation has no value")?;
    Ok((operation.source_account.as_ref(), data.data_name.as_slice(), value.as_slice()))
}

/// SEP-10's rule: without an account on the ledger its own key signs; with one, its signers reach
/// the medium threshold. Every signature must be one of them, and each signer counts once.
fn check_signers(challenge: &Challenge, account: Option<&AccountEntry>) -> Result<(), String> {
    let hash = challenge.hash.as_bytes();
    let Some(account) = account else {
        return match challenge.signatures.as_slice() {
            [signature] if verifies(&challenge.client.key, signature, hash) => Ok(()),
            _ => Err("the account does not exist yet, so exactly its own key must sign".to_owned()),
        };
    };
    let [master, _, medium, _] = account.thresholds.0;
    let PublicKey::PublicKeyTypeEd25519(Uint256(own)) = &account.account_id.0;
    let mut signers = vec![(*own, u32::from(master))];
    for signer in account.signers.iter() {
        // Pre-authorised transactions and hashes cannot sign a challenge.
        if let SignerKey::Ed25519(Uint256(key)) = &signer.key {
            signers.push((*key, signer.weight));
        }
    }
    signers.retain(|(_, weight)| *weight > 0);

    let mut weight = 0_u32;
    for signature in &challenge.signatures {
        let place = signers.iter().position(|(key, _)| verifies(key, signature, hash));
        let Some(place) = place else {
            return Err("a signature is of no signer of the account, or is there twice".to_owned());
        };
        // Removed, so that a second signature of the same key counts for nothing.
        weight = weight.saturating_add(signers.swap_remove(place).1);
    }
    // A threshold of 0 still needs one signature: without any, nothing is proved.
    let needed = u32::from(medium).max(1);
    if weight < needed {
        return Err(format!(
            "the signatures weigh {weight}, and the account's medium threshold is {needed}"
        ));
    }
    Ok(())
}

/// Whether this is the key's signature. The hint is only a hint, and saves the arithmetic.
fn verifies(key: &[u8; 32], signature: &DecoratedSignature, hash: &[u8; 32]) -> bool {
    if signature.hint.0 != key[28..] {
        return false;
    }
    let Ok(bytes) = <[u8; 64]>::try_from(signature.signature.as_slice()) else { return false };
    let Ok(key) = VerifyingKey::from_bytes(key) else { return false };
    key.verify_strict(hash, &Signature::from_bytes(&bytes)).is_ok()
}

async fn account(rpc: &Rpc, address: &Address) -> Result<Option<AccountEntry>> {
    let key = LedgerKey::Account(LedgerKeyAccount { account_id: address.account_id()? });
    let found = rpc.entries(std::slice::from_ref(&key)).await?;
    match found.get(&key).map(|entry| &entry.data) {
        None => Ok(None),
        Some(LedgerEntryData::Account(account)) => Ok(Some(account.clone())),
        Some(_) => Err(ChainError::Decode {
            what: "account".into(),
            why: "the entry is of another kind".into(),
        }
        .into()),
    }
}

fn manage_data(source: MuxedAccount, name: &str, value: &[u8]) -> Result<Operation> {
    let name = name.as_bytes().to_vec().try_into().map_err(|_| encode())?;
    let value = value.to_vec().try_into().map_err(|_| encode())?;
    Ok(Operation {
        source_account: Some(source),
        body: OperationBody::ManageData(ManageDataOp {
            data_name: String64(name),
            data_value: Some(DataValue(value)),
        }),
    })
}

fn hash(network: &Network, tx: &Transaction) -> Result<TxHash> {
    let payload = TransactionSignaturePayload {
        network_id: Hash(*network.id().as_bytes()),
        tagged_transaction: TransactionSignaturePayloadTaggedTransaction::Tx(tx.clone()),
    };
    Ok((*Digest::of(&scval::to_xdr(&payload)?).as_bytes()).into())
}

fn encode() -> Error {
    Error::Broken("the challenge has no XDR form".to_owned())
}

#[cfg(test)]
mod tests {
    use stellar::Keypair;
    use stellar_xdr::{AccountId, Signer, Thresholds};

    use super::*;

    fn key(seed: u8) -> Keypair {
        Keypair::from_seed(&[seed; 32])
    }

    /// An account of key 1 with the signers 2 and 3, as a ledger has it.
    fn account(master: u8, medium: u8, weights: [u32; 2]) -> AccountEntry {
        let signers = [(2, weights[0]), (3, weights[1])].map(|(seed, weight)| Signer {
            key: SignerKey::Ed25519(Uint256(*key(seed).address().as_bytes())),
            weight,
        });
        AccountEntry {
            account_id: AccountId(PublicKey::PublicKeyTypeEd25519(Uint256(
                *key(1).address().as_bytes(),
            ))),
            thresholds: Thresholds([master, 0, medium, 0]),
            signers: signers.to_vec().try_into().unwrap(),
            ..AccountEntry::default()
        }
    }

    fn accepts(account: Option<&AccountEntry>, signers: &[u8]) -> bool {
        let hash = TxHash::from([7; 32]);
        let sign = |seed: &u8| key(*seed).sign_decorated(hash.as_bytes()).unwrap();
        let challenge = Challenge {
            client: Client { key: *key(1).address().as_bytes(), muxed: None, memo: None },
            hash,
            expires_at: 0,
            signatures: signers.iter().map(sign).collect(),
        };
        check_signers(&challenge, account).is_ok()
    }

    #[test]
    fn signers_reach_the_medium_threshold_together_and_each_counts_once() {
        let shared = account(1, 2, [1, 1]);
        assert!(accepts(Some(&shared), &[1, 2]));
        assert!(accepts(Some(&shared), &[2, 3]));
        assert!(!accepts(Some(&shared), &[2]));
        assert!(!accepts(Some(&shared), &[2, 2]), "one signer counts once");
        assert!(!accepts(Some(&shared), &[1, 2, 9]), "a stranger's signature is not ignored");
        assert!(accepts(Some(&account(1, 2, [2, 0])), &[2]));
    }

    #[test]
    fn a_master_key_without_weight_and_a_removed_signer_prove_nothing() {
        let locked = account(0, 1, [1, 0]);
        assert!(!accepts(Some(&locked), &[1]));
        assert!(!accepts(Some(&locked), &[3]));
        assert!(accepts(Some(&locked), &[2]));
    }

    #[test]
    fn a_threshold_of_nothing_still_needs_somebody() {
        let open = account(1, 0, [1, 1]);
        assert!(!accepts(Some(&open), &[]));
        assert!(accepts(Some(&open), &[1]));
    }

    #[test]
    fn an_account_that_does_not_exist_yet_is_its_own_key_alone() {
        assert!(accepts(None, &[1]));
        for signers in [[].as_slice(), &[2], &[1, 1], &[1, 2]] {
            assert!(!accepts(None, signers), "{signers:?}");
        }
    }

    #[test]
    fn a_client_is_an_account_or_a_part_of_one() {
        let plain = key(1).address().to_string();
        let muxed =
            stellar_strkey::ed25519::MuxedAccount { ed25519: *key(1).address().as_bytes(), id: 7 };
        let muxed = muxed.to_string().as_str().to_owned();
        assert_eq!(Client::read(&plain, None).unwrap().subject(), plain);
        assert_eq!(Client::read(&plain, Some("9")).unwrap().subject(), format!("{plain}:9"));
        assert_eq!(Client::read(&muxed, None).unwrap().subject(), muxed);
        let contract = Address::Contract([7; 32]).to_string();
        let cases = [
            (muxed.as_str(), Some("9")),
            (plain.as_str(), Some("nine")),
            (plain.as_str(), Some("-1")),
            (contract.as_str(), None),
            ("", None),
        ];
        for (account, memo) in cases {
            assert!(Client::read(account, memo).is_err(), "{account} {memo:?}");
        }
    }
}
