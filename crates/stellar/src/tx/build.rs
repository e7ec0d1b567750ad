//! Building with `soroban-client`, whose XDR is one protocol older: values cross by their bytes.

use soroban_client::account::{Account, AccountBehavior as _};
use soroban_client::operation::Operation;
use soroban_client::transaction::{Transaction, TransactionBehavior as _};
use soroban_client::transaction_builder::{TransactionBuilder, TransactionBuilderBehavior as _};
use soroban_client::xdr as old;
use stellar_xdr::{
    SorobanAuthorizationEntry, SorobanResources, SorobanTransactionData, TransactionEnvelope,
    WriteXdr,
};
use wire::Digest;

use super::PrepareRequest;
use crate::rpc::Simulation;
use crate::{Address, Call, ChainError, Network, scval};

/// Most bytes of an envelope: the network's own limit for a transaction, with room.
const LARGEST_ENVELOPE: usize = 256 * 1024;

/// What all forms of one transaction share.
pub(super) struct Draft<'a> {
    pub network: &'a Network,
    pub source: Address,
    /// The last one used.
    pub sequence: i64,
    /// Unix seconds; 0 is no limit, for simulation only.
    pub max_time: u64,
}

impl Draft<'_> {
    /// The unsigned transaction with this one operation.
    pub(super) fn transaction(
        &self,
        call: &Call,
        auth: &[SorobanAuthorizationEntry],
        data: Option<&SorobanTransactionData>,
        fee: u32,
    ) -> Result<Transaction, ChainError> {
        let auth =
            auth.iter().map(to_old).collect::<Result<Vec<old::SorobanAuthorizationEntry>, _>>()?;
        let function: old::HostFunction = to_old(&call.to_xdr()?)?;
        let operation = Operation::new().invoke_host_function(function, Some(auth));
        let operation = operation.map_err(|_| ChainError::encode("the operation"))?;
        let account = Account::new(&self.source.to_string(), &self.sequence.to_string());
        let mut account = account.map_err(ChainError::invalid)?;
        if self.sequence == i64::MAX {
            return Err(ChainError::invalid("the source account has no sequence number left"));
        }
        let bounds = old::TimeBounds {
            min_time: old::TimePoint(0),
            max_time: old::TimePoint(self.max_time),
        };
        let mut builder =
            TransactionBuilder::new(&mut account, self.network.passphrase(), Some(bounds));
        builder.fee(fee).add_operation(operation);
        if let Some(data) = data {
            builder.set_soroban_data(to_old(data)?);
        }
        Ok(builder.build())
    }
}

/// Simulation's resources with room for what may change before the transaction is applied, and the fee
/// that follows. What is refundable and unused comes back.
pub(super) fn with_margin(
    request: &PrepareRequest<'_>,
    simulation: &Simulation,
    inclusion: u64,
) -> Result<(SorobanTransactionData, u32), ChainError> {
    let more = |value: u32, least: u32| value.saturating_add((value / 4).max(least));
    let resources = &simulation.data.resources;
    let resource_fee =
        simulation.resource_fee.saturating_add((simulation.resource_fee / 3).max(20_000));
    let mut data = simulation.data.clone();
    data.resources = SorobanResources {
        footprint: resources.footprint.clone(),
        instructions: more(resources.instructions, 500_000),
        disk_read_bytes: more(resources.disk_read_bytes, 1_024),
        write_bytes: more(resources.write_bytes, 1_024),
    };
    data.resource_fee = i64::try_from(resource_fee).unwrap_or(i64::MAX);
    let needed = resource_fee.saturating_add(inclusion);
    match u32::try_from(needed) {
        Ok(fee) if needed <= request.fee_ceiling => Ok((data, fee)),
        _ => {
            let function = request.call.name().to_owned();
            Err(ChainError::FeeCeiling {
                function,
                needed,
                ceiling: request.fee_ceiling.min(u32::MAX.into()),
            })
        }
    }
}

/// Signs with the source's key. The hash is computed twice, by `soroban-client` and from the envelope's
/// bytes with the current XDR: whatever is looked up later is what was signed.
pub(super) fn seal(
    request: &PrepareRequest<'_>,
    mut transaction: Transaction,
) -> Result<(Vec<u8>, Digest), ChainError> {
    let hash = transaction.hash();
    let signature = request.source.sign_decorated(&hash)?;
    transaction.signatures.push(to_old(&signature)?);
    let envelope = transaction.to_envelope().map_err(|_| ChainError::encode("the transaction"))?;
    let bytes = old_bytes(&envelope)?;
    let read: TransactionEnvelope = scval::from_xdr("own envelope", &bytes)?;
    let again = read
        .hash(*request.network.id().as_bytes())
        .map_err(|error| ChainError::decode("own envelope", error))?;
    if again != hash {
        return Err(ChainError::invalid(
            "the two hashes of the transaction differ; nothing was sent",
        ));
    }
    Ok((bytes, Digest::from(hash)))
}

/// A stored envelope in the form that `soroban-client` sends. Fails unless that form has exactly the
/// stored bytes again.
pub(crate) fn resurrect(network: &Network, bytes: &[u8]) -> Result<Transaction, ChainError> {
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
    let again = transaction.to_envelope().map_err(|_| unfit())?;
    if old_bytes(&again)? == bytes { Ok(transaction) } else { Err(unfit()) }
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

    fn simulation(resource_fee: u64) -> Simulation {
        Simulation {
            ledger: 10,
            value: stellar_xdr::ScVal::Void,
            auth: vec![],
            data: SorobanTransactionData::default(),
            resource_fee,
        }
    }

    fn with_request<T>(fee_ceiling: u64, run: impl FnOnce(&PrepareRequest<'_>) -> T) -> T {
        let (network, source) = (Network::standalone(), Keypair::from_seed(&[9; 32]));
        let invocation =
            Invocation::new(ContractKind::Vault, Address::Contract([1; 32]), "sweep", vec![]);
        let call = Call::from(invocation);
        run(&PrepareRequest {
            network: &network,
            source: &source,
            call: &call,
            signers: &[],
            max_time_unix: 1_800_000_000,
            auth_valid_ledgers: 10,
            fee_ceiling,
        })
    }

    fn sealed(request: &PrepareRequest<'_>) -> (Vec<u8>, Digest) {
        let draft = Draft {
            network: request.network,
            source: request.source.address(),
            sequence: 41,
            max_time: request.max_time_unix,
        };
        let (data, fee) = with_margin(request, &simulation(1_000), 100).unwrap();
        seal(request, draft.transaction(request.call, &[], Some(&data), fee).unwrap()).unwrap()
    }

    #[test]
    fn a_stored_envelope_is_sent_as_the_same_bytes() {
        with_request(1_000_000, |request| {
            let (bytes, hash) = sealed(request);
            let again = resurrect(request.network, &bytes).unwrap();
            assert_eq!(old_bytes(&again.to_envelope().unwrap()).unwrap(), bytes);
            assert_eq!(again.hash(), *hash.as_bytes());

            let read: TransactionEnvelope = scval::from_xdr("envelope", &bytes).unwrap();
            let TransactionEnvelope::Tx(envelope) = read else { panic!("{read:?}") };
            assert_eq!(envelope.tx.seq_num.0, 42);
        });
    }

    #[test]
    fn what_is_no_envelope_of_ours_is_not_sent() {
        with_request(1_000_000, |request| {
            let (bytes, _) = sealed(request);
            for bad in [&bytes[..bytes.len() - 4], &[], &[0; 64]] {
                assert!(resurrect(request.network, bad).is_err());
            }
        });
    }

    #[test]
    fn the_fee_ceiling_holds() {
        with_request(21_099, |request| {
            let refused = with_margin(request, &simulation(1_000), 100);
            assert!(matches!(
                refused,
                Err(ChainError::FeeCeiling { needed: 21_100, ceiling: 21_099, .. })
            ));
        });
        with_request(u64::MAX, |request| {
            assert!(matches!(
                with_margin(request, &simulation(u64::MAX), 100),
                Err(ChainError::FeeCeiling { .. })
            ));
        });
    }
}
