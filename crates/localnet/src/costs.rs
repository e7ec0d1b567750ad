//! The host's cost model as the two configuration entries of the ledger.
//!
//! The host keeps its calibrated model private and offers only to charge against it. A linear
//! model is known from two points, so each cost type is charged with an input of 0 (the constant)
//! and of 128 (the constant plus the linear term, which the model scales by 1/128). Where 128
//! units cost more than a default budget holds, fewer are charged and the result is scaled up:
//! the last bits of the linear terms of the pairing checks are lost by that.

use soroban_env_host::HostError;
use soroban_env_host::budget::Budget;
use soroban_env_host::xdr::{
    ContractCostParamEntry, ContractCostParams, ContractCostType, ExtensionPoint,
};

use crate::error::Internal;
use crate::xdr::vecm;

/// The input at which the linear term of a model is paid exactly once.
const LINEAR_SCALE: u64 = 128;

/// The cost parameters of one cost type.
struct Cost {
    cpu: ContractCostParamEntry,
    memory: ContractCostParamEntry,
}

/// Cost parameters for instructions and for memory, in the order of cost types.
pub(crate) fn cost_params() -> Result<(ContractCostParams, ContractCostParams), Internal> {
    let costs = ContractCostType::VARIANTS
        .iter()
        .map(|kind| measure(*kind))
        .collect::<Result<Vec<Cost>, HostError>>()?;
    let (cpu, memory) = costs.into_iter().map(|cost| (cost.cpu, cost.memory)).unzip();
    Ok((ContractCostParams(vecm(cpu)?), ContractCostParams(vecm(memory)?)))
}

fn measure(kind: ContractCostType) -> Result<Cost, HostError> {
    let Ok((cpu, memory)) = charge(kind, Some(0)) else {
        // Constant models take no input at all.
        let (cpu, memory) = charge(kind, None)?;
        return Ok(Cost { cpu: entry(cpu, 0), memory: entry(memory, 0) });
    };

    // Halved until the budget holds it. `LINEAR_SCALE` is a power of two, so that scaling up is
    // exact.
    let mut input = LINEAR_SCALE;
    let (cpu_full, memory_full) = loop {
        match charge(kind, Some(input)) {
            Ok(full) => break full,
            Err(error) if input == 1 => return Err(error),
            Err(_) => input /= 2,
        }
    };
    let scale = LINEAR_SCALE / input;
    Ok(Cost {
        cpu: entry(cpu, cpu_full.saturating_sub(cpu).saturating_mul(scale)),
        memory: entry(memory, memory_full.saturating_sub(memory).saturating_mul(scale)),
    })
}

fn charge(kind: ContractCostType, input: Option<u64>) -> Result<(u64, u64), HostError> {
    let budget = Budget::default();
    budget.charge(kind, input)?;
    let tracker = budget.get_tracker(kind)?;
    Ok((tracker.cpu, tracker.mem))
}

fn entry(constant: u64, linear: u64) -> ContractCostParamEntry {
    ContractCostParamEntry {
        ext: ExtensionPoint::V0,
        const_term: i64::try_from(constant).unwrap_or(i64::MAX),
        linear_term: i64::try_from(linear).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_charge_what_the_hosts_own_model_charges() {
        let (cpu, memory) = cost_params().unwrap();
        for kind in ContractCostType::VARIANTS {
            let input = charge(kind, Some(0)).is_ok().then_some(7);
            let (expected_cpu, expected_memory) = charge(kind, input).unwrap();
            let limit = u64::MAX;
            let budget =
                Budget::try_from_configs(limit, limit, cpu.clone(), memory.clone()).unwrap();
            budget.charge(kind, input).unwrap();
            let tracker = budget.get_tracker(kind).unwrap();

            // The pairing checks lose their last bits: one in a million at most.
            assert!(tracker.cpu.abs_diff(expected_cpu) <= expected_cpu / 1_000_000, "{kind:?}");
            assert!(tracker.mem.abs_diff(expected_memory) <= expected_memory / 1_000_000);
        }
    }
}
