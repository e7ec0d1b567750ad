//! The one file that knows `soroban-client`, which builds transactions.
//!
//! Its XDR is one protocol older than the network's, so values cross by their bytes. Nothing outside
//! of this file names one of its types: it can be replaced here alone.

use soroban_client::account::{Account, AccountBehavior as _};
use soroban_client::operation::Operation;
use soroban_client::transaction::{Transaction, TransactionBehavior as _};
use soroban_client::transaction_builder::{TransactionBuilder, TransactionBuilderBehavior as _};
use soroban_client::xdr as old;
use stellar_xdr::{
    SorobanAuthorizationEntry, SorobanTransactionData, TransactionEnvelope, WriteXdr,
};
use wire::TxHash;

use crate::signer::sign_decorated;
use crate::{Address, Call, ChainError, Network, Signer, scval};

/// Most bytes of an envelope: the network's own limit for a transaction, with room.
const LARGEST_ENVELOPE: usize = 256 * 1024;

/// A transaction in the form that `soroban-client` builds and signs.
pub(crate) struct Built(Transaction);

/// What all forms of one transaction share.
pub(crate) struct TransactionParts<'a> {
    /// The network that every signature binds to.
    pub network: &'a Network,
    /// Pays the fee and gives the sequence number.
    pub source: Address,
    /// The last one used.
    pub sequence: i64,
    /// Unix seconds; 0 is no limit, for simulation only.
    pub max_time: u64,
}

impl Built {
    /// Its envelope as a node takes it.
    pub(crate) fn to_base64(&self) -> Result<String, ChainError> {
        use old::WriteXdr as _;
        let failed = || ChainError::encode("the transaction");
        let envelope = self.0.to_envelope().map_err(|_| failed())?;
        envelope.to_xdr_base64(old_limits()).map_err(|_| failed())
    }
}

impl TransactionParts<'_> {
    /// The unsigned transaction with this one operation.
    pub(crate) fn transaction(
        &self,
        call: &Call,
        auth: &[SorobanAuthorizationEntry],
        data: Option<&SorobanTransactionData>,
        fee: u32,
    ) -> Result<Built, ChainError> {
        let auth =
            auth.iter().map(to_old).collect::<Result<Vec<old::SorobanAuthorizationEntry>, _>>()?;
        let function: old::HostFunction = to_old(&call.to_xdr()?)?;
        let operation = Operation::new().invoke_host_function(function, Some(auth));
        let operation = operation.map_err(|_| ChainError::encode("the operation"))?;
        let account = Account::new(&self.source.to_string(), &self.sequence.to_string());
        let mut account = account.map_err(ChainError::invalid)?;
        // The builder takes the number that follows this one.
        if self.sequence == i64::MAX {
            return Err(ChainError::invalid("the source account has no sequence number left"));
        }
        let bounds = old::TimeBounds {
            // Only the end is bounded: the ledger's clock may be behind ours, so a lower bound
            // could refuse a transaction that was just made.
            min_time: old::TimePoint(0),
            max_time: old::TimePoint(self.max_time),
        };
        let mut builder =
            TransactionBuilder::new(&mut account, self.network.passphrase(), Some(bounds));
        builder.fee(fee).add_operation(operation);
        if let Some(data) = data {
            builder.set_soroban_data(to_old(data)?);
        }
        Ok(Built(builder.build()))
    }
}

/// Signs with the source's key. The hash is computed twice, by `soroban-client` and from the
/// envelope's bytes with the current XDR: whatever is looked up later is what was signed.
pub(crate) async fn seal(
    network: &Network,
    source: &dyn Signer,
    Built(mut transaction): Built,
) -> Result<(Vec<u8>, TxHash), ChainError> {
    let hash = transaction.hash();
    let signature = sign_decorated(source, &hash).await?;
    transaction.signatures.push(to_old(&signature)?);
    let envelope = transaction.to_envelope().map_err(|_| ChainError::encode("the transaction"))?;
    let bytes = old_bytes(&envelope)?;
    let read: TransactionEnvelope = scval::from_xdr("own envelope", &bytes)?;
    let again = read
        .hash(*network.id().as_bytes())
        .map_err(|error| ChainError::decode("own envelope", error))?;
    if again != hash {
        return Err(ChainError::invalid(
            "the two hashes of the transaction differ; nothing was sent",
        ));
    }
    Ok((bytes, TxHash::from(hash)))
}

/// A stored envelope in the form that `soroban-client` makes. Fails unless that form has exactly
/// the stored bytes again.
pub(crate) fn read_envelope(network: &Network, bytes: &[u8]) -> Result<Built, ChainError> {
    use old::ReadXdr as _;
    let unfit = || {
        ChainError::invalid("the stored envelope is not one of our transactions; it was not sent")
    };
    if bytes.len() > LARGEST_ENVELOPE {
        return Err(unfit());
    }
    let old::TransactionEnvelope::Tx(envelope) =
        old::TransactionEnvelope::from_xdr(bytes, old_limits()).map_err(|_| unfit())?
    else {
        return Err(unfit());
    };
    // These are the forms that `TransactionParts::transaction` makes. Any other has fields that the
    // value below has no place for, and what would be sent is not what was signed.
    let old::Preconditions::Time(time_bounds) = envelope.tx.cond else { return Err(unfit()) };
    let old::TransactionExt::V1(soroban_data) = envelope.tx.ext else { return Err(unfit()) };
    let old::MuxedAccount::Ed25519(old::Uint256(key)) = envelope.tx.source_account else {
        return Err(unfit());
    };
    let transaction = Transaction {
        network_passphrase: network.passphrase().to_owned(),
        signatures: envelope.signatures.to_vec(),
        fee: envelope.tx.fee,
        envelope_type: old::EnvelopeType::Tx,
        memo: Some(envelope.tx.memo),
        sequence: Some(envelope.tx.seq_num.0.to_string()),
        source: Some(Address::Account(key).to_string()),
        time_bounds: Some(time_bounds),
        ledger_bounds: None,
        min_account_sequence: None,
        min_account_sequence_age: None,
        min_account_sequence_ledger_gap: None,
        extra_signers: None,
        operations: Some(envelope.tx.operations.to_vec()),
        hash: None,
        soroban_data: Some(soroban_data),
    };
    // The comparison of bytes is the proof: the signature covers them, not the fields above.
    let again = transaction.to_envelope().map_err(|_| unfit())?;
    if old_bytes(&again)? == bytes { Ok(Built(transaction)) } else { Err(unfit()) }
}

fn to_old<T: old::ReadXdr>(value: &impl WriteXdr) -> Result<T, ChainError> {
    let bytes = scval::to_xdr(value)?;
    T::from_xdr(&bytes, old_limits())
        .map_err(|_| ChainError::invalid("a value has no form in soroban-client's XDR"))
}

fn old_bytes(value: &impl old::WriteXdr) -> Result<Vec<u8>, ChainError> {
    value.to_xdr(old_limits()).map_err(|_| ChainError::encode("the transaction"))
}

fn old_limits() -> old::Limits {
    let limits = scval::limits();
    old::Limits { depth: limits.depth, len: limits.len }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContractKind, Invocation, Keypair};

    async fn sealed(network: &Network) -> (Vec<u8>, TxHash) {
        let source = Keypair::from_seed(&[9; 32]);
        let parts = TransactionParts {
            network,
            source: source.address(),
            sequence: 41,
            max_time: 1_800_000_000,
        };
        let vault = Address::Contract([1; 32]);
        let call = Call::from(Invocation::new(ContractKind::Vault, vault, "sweep", vec![]));
        let data = SorobanTransactionData::default();
        let built = parts.transaction(&call, &[], Some(&data), 1_100).unwrap();
        seal(network, &source, built).await.unwrap()
    }

    #[tokio::test]
    async fn a_stored_envelope_is_sent_as_the_same_bytes() {
        let network = Network::standalone();
        let (bytes, hash) = sealed(&network).await;
        let Built(again) = read_envelope(&network, &bytes).unwrap();
        assert_eq!(old_bytes(&again.to_envelope().unwrap()).unwrap(), bytes);
        assert_eq!(again.hash(), *hash.as_bytes());

        let read: TransactionEnvelope = scval::from_xdr("envelope", &bytes).unwrap();
        let TransactionEnvelope::Tx(envelope) = read else { panic!("{read:?}") };
        assert_eq!(envelope.tx.seq_num.0, 42);
    }

    #[tokio::test]
    async fn what_is_no_envelope_of_ours_is_not_sent() {
        let network = Network::standalone();
        let (bytes, _) = sealed(&network).await;
        for bad in [&bytes[..bytes.len() - 4], &[], &[0; 64]] {
            assert!(read_envelope(&network, bad).is_err());
        }
    }
}
