//! The challenge of an account (SEP-10): a transaction that can never be applied.

use ed25519_dalek::{Signature, VerifyingKey};
use stellar::{Address, Keypair, Network, scval};
use stellar_xdr::{
    Hash, MuxedAccount, Operation, OperationBody, Preconditions, Transaction, TransactionEnvelope,
    TransactionSignaturePayload, TransactionSignaturePayloadTaggedTransaction,
    TransactionV1Envelope, Uint256, WriteXdr as _,
};
use wire::{Digest, TxHash};

use super::Terms;

/// Signs the challenge if it is one: a transaction that can never be applied, made by the server,
/// for this account and this domain (SEP-10). Anything else could move money.
pub(super) fn sign(
    network: &Network,
    key: &Keypair,
    text: &str,
    terms: &Terms<'_>,
) -> std::result::Result<String, String> {
    let envelope = scval::from_base64("challenge", text).map_err(|error| error.to_string())?;
    let TransactionEnvelope::Tx(envelope) = envelope else {
        return Err("it is another kind of transaction".to_owned());
    };
    let TransactionV1Envelope { tx, signatures } = envelope;
    check(key, &tx, terms)?;
    let payload = TransactionSignaturePayload {
        network_id: Hash(*network.id().as_bytes()),
        tagged_transaction: TransactionSignaturePayloadTaggedTransaction::Tx(tx.clone()),
    };
    let payload = scval::to_xdr(&payload).map_err(|error| error.to_string())?;
    let hash = TxHash::from(*Digest::of(&payload).as_bytes());
    let server = VerifyingKey::from_bytes(terms.server.as_bytes())
        .map_err(|_| "the server's SIGNING_KEY is no key".to_owned())?;
    let by_server = |bytes: &[u8]| {
        <[u8; 64]>::try_from(bytes).is_ok_and(|bytes| {
            server.verify_strict(hash.as_bytes(), &Signature::from_bytes(&bytes)).is_ok()
        })
    };
    if !signatures.iter().any(|one| by_server(one.signature.as_slice())) {
        return Err("it is not signed by the server's SIGNING_KEY".to_owned());
    }
    let mut signatures = signatures.to_vec();
    signatures.push(key.sign_decorated(hash.as_bytes()).map_err(|error| error.to_string())?);
    let signatures = signatures.try_into().map_err(|_| "it has too many signatures".to_owned())?;
    TransactionEnvelope::Tx(TransactionV1Envelope { tx, signatures })
        .to_xdr_base64(scval::limits())
        .map_err(|error| error.to_string())
}

fn check(key: &Keypair, tx: &Transaction, terms: &Terms<'_>) -> std::result::Result<(), String> {
    let account = |address: &Address| MuxedAccount::Ed25519(Uint256(*address.as_bytes()));
    if tx.seq_num.0 != 0 {
        return Err("its sequence number is not 0, so it could be applied".to_owned());
    }
    if tx.source_account != account(&terms.server) {
        return Err("its source is not the server".to_owned());
    }
    match &tx.cond {
        Preconditions::Time(bounds) if bounds.max_time.0 != 0 => {}
        _ => return Err("it has no time limit".to_owned()),
    }
    let mut names_domain = false;
    for (number, operation) in tx.operations.iter().enumerate() {
        let Operation { source_account, body: OperationBody::ManageData(data) } = operation else {
            return Err("it has an operation that a login has not".to_owned());
        };
        let name = data.data_name.as_slice();
        let value = data.data_value.as_ref().map(|value| value.as_slice()).unwrap_or_default();

        // The first operation is the client's, all others are the server's (SEP-10).
        let owner = if number == 0 { key.address() } else { terms.server };
        if source_account.as_ref() != Some(&account(&owner)) {
            return Err("an operation is of another account".to_owned());
        }
        if number == 0 && name != format!("{} auth", terms.home).as_bytes() {
            return Err(format!("it is not for the domain {}", terms.home));
        }
        if number > 0 && name == b"web_auth_domain" {
            if value != terms.endpoint.as_bytes() {
                return Err(format!("it is not of {}", terms.endpoint));
            }
            names_domain = true;
        }
    }
    if names_domain { Ok(()) } else { Err("it does not name the server's domain".to_owned()) }
}
