//! Trying a transaction out: what it would return, touch and cost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use soroban_env_host::e2e_invoke::RecordingInvocationAuthMode;
use soroban_env_host::events::HostEvent;
use soroban_env_host::xdr::{
    AccountId, DiagnosticEvent, InvokeHostFunctionOp, LedgerFootprint, OperationBody, ScVal,
    SorobanAuthorizationEntry, SorobanTransactionData,
};
use soroban_env_host::{HostError, LedgerInfo};
use soroban_simulation::simulation::{
    LedgerEntryDiff, SimulationAdjustmentConfig, simulate_extend_ttl_op,
    simulate_invoke_host_function_op, simulate_restore_op,
};
use soroban_simulation::{AutoRestoringSnapshotSource, NetworkConfig};

use crate::chain::Chain;
use crate::state::LedgerSource;

/// What to try out.
pub(crate) struct Request {
    pub(crate) body: OperationBody,
    pub(crate) source: AccountId,
    /// For the operations on time to live.
    pub(crate) footprint: LedgerFootprint,
    pub(crate) auth: AuthMode,
    /// Instructions granted on top of the usual margin.
    pub(crate) instruction_leeway: u32,
    /// Whether recorded entries carry the credentials of CAP-71.
    pub(crate) address_v2: bool,
}

/// How authorisation is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthMode {
    /// The entries of the operation must suffice.
    Enforce,
    /// Entries are made up as needed, for root invocations only.
    Record,
    /// Entries are made up as needed.
    RecordAllowNonroot,
}

/// What came of it; `error` is set if it would fail.
#[derive(Default)]
pub(crate) struct Simulated {
    pub(crate) error: Option<String>,
    pub(crate) transaction_data: Option<SorobanTransactionData>,
    pub(crate) events: Vec<DiagnosticEvent>,
    pub(crate) result: Option<(ScVal, Vec<SorobanAuthorizationEntry>)>,
    pub(crate) restore: Option<SorobanTransactionData>,
    pub(crate) changes: Vec<LedgerEntryDiff>,
}

impl Request {
    /// A request that records authorisation.
    pub(crate) fn recording(body: OperationBody, source: AccountId) -> Self {
        Self {
            body,
            source,
            footprint: LedgerFootprint::default(),
            auth: AuthMode::Record,
            instruction_leeway: 0,
            address_v2: false,
        }
    }
}

/// Tries a transaction out in the last closed ledger and at its close time, as stellar-rpc does.
pub(crate) fn simulate(chain: &Chain, request: &Request) -> Simulated {
    // A panic of the host costs one answer, not the process.
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let (sequence, close_time) = (chain.sequence(), chain.close_time());
        let info = chain.settings.ledger_info(sequence, close_time, chain.network_id);
        match &request.body {
            OperationBody::InvokeHostFunction(op) => invoke(chain, request, op, &info),
            OperationBody::ExtendFootprintTtl(op) => {
                extend(chain, &request.footprint, op.extend_to, &info)
            }
            OperationBody::RestoreFootprint(_) => restore(chain, &request.footprint, &info),
            other => {
                Err(anyhow::anyhow!("an operation of type {} cannot be simulated", other.name()))
            }
        }
    }));
    match tried {
        Ok(Ok(simulated)) => simulated,
        Ok(Err(error)) => Simulated { error: Some(format!("{error:#}")), ..Simulated::default() },
        Err(_) => Simulated {
            error: Some("the host panicked during simulation".to_owned()),
            ..Simulated::default()
        },
    }
}

fn invoke(
    chain: &Chain,
    request: &Request,
    op: &InvokeHostFunctionOp,
    info: &LedgerInfo,
) -> anyhow::Result<Simulated> {
    let mut adjustment = SimulationAdjustmentConfig::default_adjustment();
    let additive = &mut adjustment.instructions.additive_factor;

    // The larger of the two, as in stellar-rpc, and not their sum.
    *additive = (*additive).max(request.instruction_leeway);
    let auth = match request.auth {
        AuthMode::Enforce => RecordingInvocationAuthMode::Enforcing(op.auth.to_vec()),
        mode => {
            RecordingInvocationAuthMode::recording(mode == AuthMode::Record, request.address_v2)
        }
    };
    let simulated = simulate_invoke_host_function_op(
        Rc::new(LedgerSource(chain.state.clone())),
        &chain.settings.network,
        &adjustment,
        info,
        op.host_function.clone(),
        auth,
        &request.source,
        // Nonces of recorded authorisation come from this seed: two simulations of one ledger
        // must not hand out the same ones.
        rand::random(),
        true,
    )?;
    let (result, error) = match simulated.invoke_result {
        Ok(value) => (Some((value, simulated.auth)), None),
        Err(error) => (None, Some(explained(&error, &simulated.diagnostic_events))),
    };
    Ok(Simulated {
        error,
        transaction_data: simulated.transaction_data,
        events: simulated.diagnostic_events,
        result,
        restore: None,
        changes: simulated.modified_entries,
    })
}

/// The text of a failure as stellar-rpc gives it, which tools match on: the error, and below it
/// what the host noted, newest first. The host itself writes that list only when built for tests.
fn explained(error: &HostError, events: &[DiagnosticEvent]) -> String {
    let mut text = format!("HostError: {:?}\n", error.error);
    if events.is_empty() {
        text.push_str("DebugInfo not available\n");
        return text;
    }
    text.push_str("\nEvent log (newest first):\n");
    for (position, event) in events.iter().rev().enumerate() {
        let failed_call = !event.in_successful_contract_call;
        let event = HostEvent { event: event.event.clone(), failed_call };
        text.push_str(&format!("   {position}: {event}\n"));
    }
    text
}

fn extend(
    chain: &Chain,
    footprint: &LedgerFootprint,
    extend_to: u32,
    info: &LedgerInfo,
) -> anyhow::Result<Simulated> {
    // `extendTo` counts from the present ledger, in which the entry lives as well.
    let longest = chain.settings.network.max_entry_ttl.saturating_sub(1);
    anyhow::ensure!(extend_to <= longest, "extendTo is over the longest time to live: {longest}");
    let snapshot = Rc::new(LedgerSource(chain.state.clone()));

    // Archived entries cannot be extended; what restoring them takes is answered beside the rest.
    let snapshot = AutoRestoringSnapshotSource::new(snapshot, info)?;
    let adjustment = SimulationAdjustmentConfig::default_adjustment();
    let (network, keys) = (&chain.settings.network, footprint.read_only.as_slice());
    let simulated = simulate_extend_ttl_op(&snapshot, network, &adjustment, info, keys, extend_to)?;
    let restore = snapshot.simulate_restore_keys_op(network, &adjustment, info)?;
    Ok(Simulated {
        transaction_data: Some(simulated.transaction_data),
        restore: restore.map(|restore| with_disk_reads(restore.transaction_data, network)),
        ..Simulated::default()
    })
}

fn restore(
    chain: &Chain,
    footprint: &LedgerFootprint,
    info: &LedgerInfo,
) -> anyhow::Result<Simulated> {
    let network = &chain.settings.network;
    let simulated = simulate_restore_op(
        &LedgerSource(chain.state.clone()),
        network,
        &SimulationAdjustmentConfig::default_adjustment(),
        info,
        footprint.read_write.as_slice(),
    )?;
    let transaction_data = Some(with_disk_reads(simulated.transaction_data, network));
    Ok(Simulated { transaction_data, ..Simulated::default() })
}

/// What a restore needs, with the fee for reading its entries from disk. `soroban-simulation` leaves
/// that fee out; its margin on the rent covers it only where restored entries live long.
fn with_disk_reads(
    mut data: SorobanTransactionData,
    network: &NetworkConfig,
) -> SorobanTransactionData {
    let entries = i64::try_from(data.resources.footprint.read_write.len()).unwrap_or(i64::MAX);
    let fee = network.fee_configuration.fee_per_disk_read_entry.saturating_mul(entries);
    data.resource_fee = data.resource_fee.saturating_add(fee);
    data
}
