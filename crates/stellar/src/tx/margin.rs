//! What a transaction may use and cost, with room for what may change before it is applied.

use stellar_xdr::{SorobanResources, SorobanTransactionData};

use super::PrepareRequest;
use crate::ChainError;
use crate::rpc::Simulation;

/// What a transaction declares of these simulated resources.
///
/// Room is needed for what may change between simulation and inclusion: an account that a day's end
/// makes sweep as well, an entry that another transaction wrote meanwhile, the signatures that
/// simulation only estimates. The entries themselves are in the footprint and have fixed forms, so
/// a thirty-second is enough for the bytes written; a ledger's space goes by what is declared, so
/// more would be wasted.
pub fn declared(resources: &SorobanResources) -> SorobanResources {
    // A part of a small value is no room at all, so each has a least.
    let more = |value: u32, part: u32, least: u32| value.saturating_add((value / part).max(least));
    SorobanResources {
        footprint: resources.footprint.clone(),
        instructions: more(resources.instructions, 10, 500_000),
        disk_read_bytes: more(resources.disk_read_bytes, 4, 1_024),
        write_bytes: more(resources.write_bytes, 32, 512),
    }
}

/// Simulation's resources with room for what may change before the transaction is applied, and the
/// fee that follows. What is refundable and unused comes back.
pub(super) fn with_margin(
    request: &PrepareRequest<'_>,
    simulation: &Simulation,
    inclusion: u64,
) -> Result<(SorobanTransactionData, u32), ChainError> {
    // What is declared below costs more than what was simulated, so the fee needs room as well.
    let resource_fee =
        simulation.resource_fee.saturating_add((simulation.resource_fee / 3).max(20_000));
    let mut data = simulation.data.clone();
    data.resources = declared(&simulation.data.resources);
    // Cutting off is harmless: a fee of this size passes every ceiling and fails below.
    data.resource_fee = i64::try_from(resource_fee).unwrap_or(i64::MAX);
    let needed = resource_fee.saturating_add(inclusion);
    // The envelope's fee has 32 bits, whatever the ceiling allows.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Call, ContractKind, Invocation, Keypair, Network};

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
