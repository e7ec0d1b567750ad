//! `InvokeHostFunction` on the network's own host.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use soroban_env_host::HostError;
use soroban_env_host::budget::Budget;
use soroban_env_host::e2e_invoke::{
    InvokeHostFunctionResult as HostResult, LedgerEntryChange, TtlLedgerEntryMeta,
    entry_size_for_rent, extract_rent_changes, invoke_host_function,
};
use soroban_env_host::fees::compute_rent_fee;
use soroban_env_host::xdr::{
    AccountId, ContractDataDurability, ContractEvent, DiagnosticEvent, Hash, InvokeHostFunctionOp,
    InvokeHostFunctionResult, InvokeHostFunctionSuccessPreImage, LedgerEntry, LedgerKey, ScError,
    ScErrorCode, ScVal, SorobanTransactionData,
};

use crate::error::Internal;
use crate::resources::{archived_indexes, error_event, events_fee, has_lifetime};
use crate::state::{Lookup, Overlay, Stored, is_temporary};
use crate::validate::Context;
use crate::xdr::{self, vecm};

/// What every Soroban operation is given.
pub(crate) struct Environment<'a> {
    pub(crate) data: &'a SorobanTransactionData,
    pub(crate) context: &'a Context,
    /// Seed of the contracts' random numbers.
    pub(crate) seed: [u8; 32],
    /// The most the refundable fees may come to, in stroops.
    pub(crate) max_refundable: i64,
}

/// What a Soroban operation left behind, besides its changes.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) return_value: Option<ScVal>,
    pub(crate) events: Vec<ContractEvent>,
    pub(crate) diagnostics: Vec<DiagnosticEvent>,
    /// Stroops.
    pub(crate) rent_fee: i64,
    /// Stroops, rent included.
    pub(crate) refundable_fee: i64,
}

/// The entries of the footprint as the host wants them.
struct Inputs {
    entries: Vec<(Option<Vec<u8>>, Option<TtlLedgerEntryMeta>)>,
    restored: Vec<LedgerKey>,
}

type Refused = (InvokeHostFunctionResult, &'static str);

/// Carries out the operation; on success its changes are in the overlay.
pub(crate) fn invoke(
    op: &InvokeHostFunctionOp,
    source: &AccountId,
    environment: &Environment<'_>,
    overlay: &mut Overlay<'_>,
) -> Result<(InvokeHostFunctionResult, Effects), Internal> {
    let mut effects = Effects::default();
    let budget = environment.context.settings.budget(environment.data.resources.instructions)?;
    let inputs = match gather(environment, overlay)? {
        Ok(inputs) => inputs,
        Err(refused) => return Ok(refuse(refused, effects)),
    };
    let mut diagnostics = Vec::new();
    let restored = inputs.restored.clone();
    let ran = run(op, source, environment, &budget, inputs, &mut diagnostics)?;
    effects.diagnostics = diagnostics;
    let done = match ran {
        Ok(done) => done,
        Err(error) => return Ok(refuse(failure(&error, &budget, environment), effects)),
    };
    let returned = match &done.encoded_invoke_result {
        Ok(returned) => returned.clone(),
        Err(error) => return Ok(refuse(failure(error, &budget, environment), effects)),
    };
    if let Err(refused) = settle(&done, returned.len(), environment, &mut effects)? {
        return Ok(refuse(refused, effects));
    }
    store(&done.ledger_changes, restored, overlay)?;
    let events = decode_events(&done)?;
    let value: ScVal = xdr::decode_own(&returned)?;
    let preimage = InvokeHostFunctionSuccessPreImage {
        return_value: value.clone(),
        events: vecm(events.clone())?,
    };
    effects.events = events;
    effects.return_value = Some(value);
    Ok((InvokeHostFunctionResult::Success(Hash(xdr::hash(&preimage)?)), effects))
}

fn refuse(refused: Refused, mut effects: Effects) -> (InvokeHostFunctionResult, Effects) {
    let (result, why) = refused;
    let error = match result {
        // The host itself has said what went wrong.
        InvokeHostFunctionResult::Trapped => None,
        InvokeHostFunctionResult::EntryArchived => {
            Some(ScError::Storage(ScErrorCode::InvalidInput))
        }
        _ => Some(ScError::Budget(ScErrorCode::ExceededLimit)),
    };
    effects.diagnostics.extend(error.map(|error| error_event(error, why)));
    effects.rent_fee = 0;
    effects.refundable_fee = 0;
    (result, effects)
}

/// Reads the footprint, with the rules of archival.
fn gather(
    environment: &Environment<'_>,
    overlay: &Overlay<'_>,
) -> Result<Result<Inputs, Refused>, Internal> {
    let resources = &environment.data.resources;
    let archived = archived_indexes(environment.data);
    let mut inputs = Inputs { entries: Vec::new(), restored: Vec::new() };
    let mut disk_bytes = 0_u32;
    let reads = resources.footprint.read_only.iter().map(|key| (key, None));
    let writes = resources.footprint.read_write.iter().enumerate();
    let writes = writes.map(|(index, key)| (key, u32::try_from(index).ok()));
    for (key, index) in reads.chain(writes) {
        let sequence = environment.context.sequence;
        let Some(stored) = overlay.get(key).filter(|stored| !vanished(key, stored, sequence))
        else {
            inputs.entries.push((None, None));
            continue;
        };
        let encoded = xdr::bytes(&stored.entry)?;
        let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
        let mut live_until = stored.live_until;
        if live_until.is_some_and(|ledger| ledger < sequence) {
            if !index.is_some_and(|index| archived.contains(&index)) {
                let why = "an entry of the footprint is archived and not declared to be restored";
                return Ok(Err((InvokeHostFunctionResult::EntryArchived, why)));
            }
            live_until = restored_until(environment.context);
            inputs.restored.push(key.clone());
            disk_bytes = disk_bytes.saturating_add(length);
        } else if !has_lifetime(key) {
            disk_bytes = disk_bytes.saturating_add(length);
        }
        let lifetime = lifetime(&stored, length, live_until, environment)?;
        inputs.entries.push((Some(encoded), lifetime));
    }
    if disk_bytes > resources.disk_read_bytes {
        let why = "more bytes are read from disk than the transaction declared";
        return Ok(Err((InvokeHostFunctionResult::ResourceLimitExceeded, why)));
    }
    Ok(Ok(inputs))
}

fn vanished(key: &LedgerKey, stored: &Arc<Stored>, sequence: u32) -> bool {
    is_temporary(key) && stored.live_until.is_some_and(|ledger| ledger < sequence)
}

/// The last ledger an entry restored now lives in.
pub(crate) fn restored_until(context: &Context) -> Option<u32> {
    let info =
        context.settings.ledger_info(context.sequence, context.close_time, context.network_id);
    info.min_live_until_ledger_checked(ContractDataDurability::Persistent)
}

fn lifetime(
    stored: &Stored,
    length: u32,
    live_until: Option<u32>,
    environment: &Environment<'_>,
) -> Result<Option<TtlLedgerEntryMeta>, Internal> {
    let Some(live_until_ledger) = live_until else { return Ok(None) };
    // Measuring an entry is not part of the invocation and must not be charged to it.
    let budget = environment.context.settings.unlimited_budget()?;
    let entry_size_for_rent = entry_size_for_rent(&budget, &stored.entry, length)?;
    Ok(Some(TtlLedgerEntryMeta { live_until_ledger, entry_size_for_rent }))
}

fn run(
    op: &InvokeHostFunctionOp,
    source: &AccountId,
    environment: &Environment<'_>,
    budget: &Budget,
    inputs: Inputs,
    diagnostics: &mut Vec<DiagnosticEvent>,
) -> Result<Result<HostResult, HostError>, Internal> {
    let context = environment.context;
    let auth = op.auth.iter().map(xdr::bytes).collect::<Result<Vec<_>, _>>()?;
    let function = xdr::bytes(&op.host_function)?;
    let resources = xdr::bytes(&environment.data.resources)?;
    let source = xdr::bytes(source)?;
    let info =
        context.settings.ledger_info(context.sequence, context.close_time, context.network_id);
    let modules = context.modules.without(&inputs.restored)?;
    // The host is meant not to panic; if it does, one transaction fails and not the network.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        invoke_host_function(
            budget,
            true,
            function,
            resources,
            archived_indexes(environment.data),
            source,
            auth.into_iter(),
            info,
            inputs.entries.into_iter(),
            environment.seed.to_vec(),
            diagnostics,
            None,
            Some(modules),
        )
    }));
    ran.map_err(|_| Internal::Other("the host panicked".to_owned()))
}

fn failure(error: &HostError, budget: &Budget, environment: &Environment<'_>) -> Refused {
    let limits = &environment.context.settings.network;
    let instructions = budget.get_cpu_insns_consumed().unwrap_or(u64::MAX);
    let memory = budget.get_mem_bytes_consumed().unwrap_or(u64::MAX);
    tracing::debug!(?error, instructions, memory, "the host refused an invocation");
    if instructions > u64::from(environment.data.resources.instructions) {
        let why = "more instructions were used than the transaction declared";
        (InvokeHostFunctionResult::ResourceLimitExceeded, why)
    } else if memory > u64::from(limits.tx_memory_limit) {
        let why = "more memory was used than the network allows";
        (InvokeHostFunctionResult::ResourceLimitExceeded, why)
    } else {
        (InvokeHostFunctionResult::Trapped, "the invocation failed")
    }
}

/// Checks what the invocation wrote and emitted, and what rent and events cost.
fn settle(
    done: &HostResult,
    returned: usize,
    environment: &Environment<'_>,
    effects: &mut Effects,
) -> Result<Result<(), Refused>, Internal> {
    let exceeded = InvokeHostFunctionResult::ResourceLimitExceeded;
    let limits = &environment.context.settings.limits;
    let mut written = 0_usize;
    for change in done.ledger_changes.iter().filter(|change| !change.read_only) {
        let Some(value) = &change.encoded_new_value else { continue };
        written = written.saturating_add(value.len());
        let key: LedgerKey = xdr::decode_own(&change.encoded_key)?;
        let limit = match key {
            LedgerKey::ContractCode(_) => limits.contract_bytes.saturating_add(1_024),
            _ => limits.entry_bytes,
        };
        if value.len() > to_usize(limit) {
            return Ok(Err((exceeded, "an entry is larger than the network allows")));
        }
    }
    if written > to_usize(environment.data.resources.write_bytes) {
        return Ok(Err((exceeded, "more bytes are written than the transaction declared")));
    }
    let emitted = done.encoded_contract_events.iter().map(Vec::len).sum::<usize>() + returned;
    if emitted > to_usize(limits.event_bytes) {
        return Ok(Err((exceeded, "events and return value are larger than the network allows")));
    }
    let rent = extract_rent_changes(&done.ledger_changes);
    let network = &environment.context.settings.network;
    effects.rent_fee =
        compute_rent_fee(&rent, &network.rent_fee_configuration, environment.context.sequence);
    let emitted = u32::try_from(emitted).unwrap_or(u32::MAX);
    effects.refundable_fee =
        effects.rent_fee.saturating_add(events_fee(emitted, environment.context));
    if effects.refundable_fee > environment.max_refundable {
        let why = "the resource fee does not cover rent and events";
        return Ok(Err((InvokeHostFunctionResult::InsufficientRefundableFee, why)));
    }
    Ok(Ok(()))
}

fn store(
    changes: &[LedgerEntryChange],
    restored: Vec<LedgerKey>,
    overlay: &mut Overlay<'_>,
) -> Result<(), Internal> {
    for change in changes {
        let key: LedgerKey = xdr::decode_own(&change.encoded_key)?;
        let live_until = change.ttl_change.as_ref().map(|ttl| ttl.new_live_until_ledger);
        if change.read_only {
            let before = overlay.get(&key).and_then(|stored| stored.live_until);
            if let (Some(before), Some(after)) = (before, live_until)
                && after > before
            {
                overlay.put_live_until(&key, after);
            }
            continue;
        }
        match &change.encoded_new_value {
            Some(value) => {
                let entry: LedgerEntry = xdr::decode_own(value)?;
                overlay.put(entry, live_until);
            }
            None if overlay.get(&key).is_some() => overlay.remove(key),
            None => {}
        }
    }
    for key in restored {
        overlay.mark_restored(key);
    }
    Ok(())
}

fn decode_events(done: &HostResult) -> Result<Vec<ContractEvent>, Internal> {
    let events = done.encoded_contract_events.iter();
    Ok(events.map(|event| xdr::decode_own(event)).collect::<Result<Vec<_>, _>>()?)
}

fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
