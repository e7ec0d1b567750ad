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
    InvokeHostFunctionResult, InvokeHostFunctionSuccessPreImage, LedgerEntry, LedgerKey, ScBytes,
    ScError, ScErrorCode, ScVal, SorobanTransactionData,
};

use crate::error::Internal;
use crate::metrics::Metrics;
use crate::state::{Lookup, Overlay, Stored, is_temporary};
use crate::validate::{Context, archived_indexes, error_event, events_fee, has_lifetime};
use crate::xdr::{self, vecm};

/// stellar-core's words for more bytes read from disk than declared.
pub(crate) const READ_TOO_MUCH: &str = "operation byte-read resources exceeds amount specified";

/// stellar-core's words for more bytes written than declared.
pub(crate) const WROTE_TOO_MUCH: &str = "operation byte-write resources exceeds amount specified";

/// stellar-core's words for rent that the refundable fee does not cover.
pub(crate) const RENT_UNPAID: &str = "refundable resource fee was not sufficient to cover the \
                                      ledger storage rent: {} > {}";

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

/// An entry in the form the host takes: its XDR, and its life if it has one.
type HostEntry = (Option<Vec<u8>>, Option<TtlLedgerEntryMeta>);

/// The entries of the footprint.
struct Inputs {
    entries: Vec<HostEntry>,
    /// In the order of the footprint.
    restored: Vec<Restored>,
}

/// An entry that is archived, and comes back for the invocation.
struct Restored {
    /// Its position among the entries that are written.
    index: u32,
    entry: LedgerEntry,
    /// The last ledger it lives in from now on.
    live_until: u32,
}

/// Why an invocation is refused: its result, and the event that explains it.
struct Refused {
    result: InvokeHostFunctionResult,
    explanation: Option<DiagnosticEvent>,
}

/// Carries out the operation; on success its changes are in the overlay.
pub(crate) fn invoke(
    op: &InvokeHostFunctionOp,
    source: &AccountId,
    environment: &Environment<'_>,
    overlay: &mut Overlay<'_>,
) -> Result<(InvokeHostFunctionResult, Effects), Internal> {
    // Only reported in a diagnostic event; nothing depends on it.
    let started = tokio::time::Instant::now();
    let mut effects = Effects::default();
    let mut metrics = Metrics::default();
    let attempt = attempt(op, source, environment, overlay, (&mut effects, &mut metrics))?;

    metrics.success = attempt.is_ok();
    metrics.invoke_nanoseconds = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let result = match attempt {
        Ok(hash) => InvokeHostFunctionResult::Success(hash),
        Err(refused) => {
            effects.diagnostics.extend(refused.explanation);

            // What was refused costs no rent and no events.
            (effects.rent_fee, effects.refundable_fee) = (0, 0);
            refused.result
        }
    };
    effects.diagnostics.extend(metrics.events());
    Ok((result, effects))
}

fn attempt(
    op: &InvokeHostFunctionOp,
    source: &AccountId,
    environment: &Environment<'_>,
    overlay: &mut Overlay<'_>,
    (effects, metrics): (&mut Effects, &mut Metrics),
) -> Result<Result<Hash, Refused>, Internal> {
    // The declared instructions are the budget, whatever the network would allow at most.
    let budget = environment.context.settings.budget(environment.data.resources.instructions)?;
    let inputs = match gather(environment, overlay, metrics)? {
        Ok(inputs) => inputs,
        Err(refused) => return Ok(Err(refused)),
    };

    let Inputs { entries, restored } = inputs;
    let inputs = (entries, restored.as_slice());
    let ran = run(op, source, environment, &budget, inputs, &mut effects.diagnostics)?;

    // Taken of failures too: `failure` compares them with what was declared.
    metrics.instructions = budget.get_cpu_insns_consumed().unwrap_or(u64::MAX);
    metrics.memory = budget.get_mem_bytes_consumed().unwrap_or(u64::MAX);
    let done = match ran {
        Ok(done) => done,
        Err(error) => return Ok(Err(failure(&error, metrics, environment))),
    };
    let returned = match &done.encoded_invoke_result {
        Ok(returned) => returned.clone(),
        Err(error) => return Ok(Err(failure(error, metrics, environment))),
    };

    if let Err(refused) = settle(&done, returned.len(), environment, (effects, metrics))? {
        return Ok(Err(refused));
    }

    // Not earlier: nothing of a refused invocation may reach the overlay.
    store(&done.ledger_changes, restored, overlay)?;
    let events = decode_events(&done)?;
    let value: ScVal = xdr::decode_own(&returned)?;
    let preimage = InvokeHostFunctionSuccessPreImage {
        return_value: value.clone(),
        events: vecm(events.clone())?,
    };
    effects.events = events;
    effects.return_value = Some(value);
    Ok(Ok(Hash(xdr::hash(&preimage)?)))
}

/// A refusal for a limit, in stellar-core's words: what was used, and how much was allowed.
fn exceeded(text: &str, used: u64, allowed: u64) -> Refused {
    let error = ScError::Budget(ScErrorCode::ExceededLimit);
    let values = vec![ScVal::U64(used), ScVal::U64(allowed)];
    Refused {
        result: InvokeHostFunctionResult::ResourceLimitExceeded,
        explanation: Some(error_event(error, text, values)),
    }
}

fn archived_entry(key: &LedgerKey) -> Refused {
    let (text, values) = match key {
        LedgerKey::ContractCode(code) => {
            let hash = ScVal::Bytes(ScBytes(code.hash.0.to_vec().try_into().unwrap_or_default()));
            ("trying to access an archived contract code entry", vec![hash])
        }
        LedgerKey::ContractData(data) => {
            let values = vec![ScVal::Address(data.contract.clone()), data.key.clone()];
            ("trying to access an archived contract data entry", values)
        }
        _ => ("trying to access an archived entry", Vec::new()),
    };
    let error = ScError::Value(ScErrorCode::InvalidInput);
    Refused {
        result: InvokeHostFunctionResult::EntryArchived,
        explanation: Some(error_event(error, text, values)),
    }
}

/// Reads the footprint, with the rules of archival.
fn gather(
    environment: &Environment<'_>,
    overlay: &Overlay<'_>,
    metrics: &mut Metrics,
) -> Result<Result<Inputs, Refused>, Internal> {
    let resources = &environment.data.resources;
    let archived = archived_indexes(environment.data);
    let mut inputs = Inputs { entries: Vec::new(), restored: Vec::new() };

    // The host expects what is read first, then what is written. The transaction names the entries
    // to restore by their position in the second list (CAP-66).
    let reads = resources.footprint.read_only.iter().map(|key| (key, None));
    let writes = resources.footprint.read_write.iter().enumerate();
    let writes = writes.map(|(index, key)| (key, u32::try_from(index).ok()));
    for (key, index) in reads.chain(writes) {
        let sequence = environment.context.sequence;

        // A temporary entry past its life is gone for good, and the host must not see it.
        let Some(stored) = overlay.get(key).filter(|stored| !vanished(key, stored, sequence))
        else {
            // Contract entries are held in memory; only others are read from disk (CAP-66).
            if !has_lifetime(key) {
                metrics.read_from_disk(key, 0)?;
            }
            inputs.entries.push((None, None));
            continue;
        };
        let encoded = xdr::bytes(&stored.entry)?;
        let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
        let mut live_until = stored.live_until;
        if live_until.is_some_and(|ledger| ledger < sequence) {
            // An archived entry comes back only where the transaction asks for that.
            let Some(index) = index.filter(|index| archived.contains(index)) else {
                return Ok(Err(archived_entry(key)));
            };

            // The host is given the new life, so that the invocation may extend it like any other.
            let new_life = restored_until(environment.context)?;
            let entry = stored.entry.clone();
            inputs.restored.push(Restored { index, entry, live_until: new_life });
            live_until = Some(new_life);
            metrics.read_from_disk(key, length)?;
        } else if !has_lifetime(key) {
            metrics.read_from_disk(key, length)?;
        }
        let lifetime = lifetime(&stored, length, live_until, environment)?;
        inputs.entries.push((Some(encoded), lifetime));
    }
    if metrics.ledger_read_bytes > u64::from(resources.disk_read_bytes) {
        let (used, declared) = (metrics.ledger_read_bytes, resources.disk_read_bytes.into());
        return Ok(Err(exceeded(READ_TOO_MUCH, used, declared)));
    }
    Ok(Ok(inputs))
}

fn vanished(key: &LedgerKey, stored: &Arc<Stored>, sequence: u32) -> bool {
    is_temporary(key) && stored.live_until.is_some_and(|ledger| ledger < sequence)
}

/// The last ledger an entry restored now lives in.
pub(crate) fn restored_until(context: &Context) -> Result<u32, Internal> {
    let info =
        context.settings.ledger_info(context.sequence, context.close_time, context.network_id);
    info.min_live_until_ledger_checked(ContractDataDurability::Persistent)
        .ok_or_else(|| Internal::Other("the time to live overflows".to_owned()))
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
    (entries, restored): (Vec<HostEntry>, &[Restored]),
    diagnostics: &mut Vec<DiagnosticEvent>,
) -> Result<Result<HostResult, HostError>, Internal> {
    let context = environment.context;
    let auth = op.auth.iter().map(xdr::bytes).collect::<Result<Vec<_>, _>>()?;
    let function = xdr::bytes(&op.host_function)?;
    let resources = xdr::bytes(&environment.data.resources)?;
    let source = xdr::bytes(source)?;
    let info =
        context.settings.ledger_info(context.sequence, context.close_time, context.network_id);
    let modules = context.modules.without(restored.iter().map(|restored| &restored.entry))?;

    // Not all that the transaction names: an entry that is live by now, because another
    // transaction restored it, is neither restored nor charged again.
    let indexes: Vec<u32> = restored.iter().map(|restored| restored.index).collect();

    // The host is meant not to panic; if it does, one transaction fails and not the network.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        invoke_host_function(
            budget,
            true,
            function,
            resources,
            &indexes,
            source,
            auth.into_iter(),
            info,
            entries.into_iter(),
            environment.seed.to_vec(),
            diagnostics,
            None,
            Some(modules),
        )
    }));
    ran.map_err(|_| Internal::Other("the host panicked".to_owned()))
}

fn failure(error: &HostError, metrics: &Metrics, environment: &Environment<'_>) -> Refused {
    let declared = u64::from(environment.data.resources.instructions);
    let memory_limit = u64::from(environment.context.settings.network.tx_memory_limit);
    let (instructions, memory) = (metrics.instructions, metrics.memory);
    tracing::debug!(?error, instructions, memory, "the host refused an invocation");
    if instructions > declared {
        exceeded("operation instructions exceeds amount specified", instructions, declared)
    } else if memory > memory_limit {
        exceeded("operation memory usage exceeds network config limit", memory, memory_limit)
    } else {
        // The host itself has said what went wrong.
        Refused { result: InvokeHostFunctionResult::Trapped, explanation: None }
    }
}

/// Checks what the invocation wrote and emitted, and what rent and events cost.
fn settle(
    done: &HostResult,
    returned: usize,
    environment: &Environment<'_>,
    (effects, metrics): (&mut Effects, &mut Metrics),
) -> Result<Result<(), Refused>, Internal> {
    let limits = &environment.context.settings.limits;
    for change in done.ledger_changes.iter().filter(|change| !change.read_only) {
        let Some(value) = &change.encoded_new_value else { continue };
        let key: LedgerKey = xdr::decode_own(&change.encoded_key)?;

        // The Wasm has its limit when it is uploaded; its entry is a little larger.
        let (limit, text) = match key {
            LedgerKey::ContractCode(_) => (
                limits.contract_bytes.saturating_add(1_024),
                "Wasm size exceeds network config maximum contract size",
            ),
            _ => (limits.entry_bytes, "ContractData size exceeds network config maximum size"),
        };
        if value.len() > to_usize(limit) {
            return Ok(Err(exceeded(text, length(value.len()), limit.into())));
        }
        metrics.write(&key, value.len())?;
        let declared = u64::from(environment.data.resources.write_bytes);
        if metrics.ledger_write_bytes > declared {
            return Ok(Err(exceeded(WROTE_TOO_MUCH, metrics.ledger_write_bytes, declared)));
        }
    }

    for event in &done.encoded_contract_events {
        metrics.emit(event.len());
        if metrics.emitted_bytes > u64::from(limits.event_bytes) {
            let text = "total events size exceeds network config maximum";
            return Ok(Err(exceeded(text, metrics.emitted_bytes, limits.event_bytes.into())));
        }
    }
    metrics.emitted_bytes = metrics.emitted_bytes.saturating_add(length(returned));
    if metrics.emitted_bytes > u64::from(limits.event_bytes) {
        let text = "return value pushes events size above network config maximum";
        return Ok(Err(exceeded(text, metrics.emitted_bytes, limits.event_bytes.into())));
    }

    let rent = extract_rent_changes(&done.ledger_changes);
    let network = &environment.context.settings.network;
    effects.rent_fee =
        compute_rent_fee(&rent, &network.rent_fee_configuration, environment.context.sequence);
    let emitted = u32::try_from(metrics.emitted_bytes).unwrap_or(u32::MAX);
    effects.refundable_fee =
        effects.rent_fee.saturating_add(events_fee(emitted, environment.context));
    if effects.refundable_fee > environment.max_refundable {
        let unsigned = |fee: i64| ScVal::U64(u64::try_from(fee).unwrap_or(0));

        // stellar-core reports rent that is not covered before it looks at events.
        let (text, used, allowed) = if effects.rent_fee > environment.max_refundable {
            (RENT_UNPAID, effects.rent_fee, environment.max_refundable)
        } else {
            (
                "refundable resource fee was not sufficient to cover the events fee after paying \
                 for ledger storage rent: {} > {}",
                effects.refundable_fee.saturating_sub(effects.rent_fee),
                environment.max_refundable.saturating_sub(effects.rent_fee),
            )
        };
        let error = ScError::Budget(ScErrorCode::ExceededLimit);
        let values = vec![unsigned(used), unsigned(allowed)];
        return Ok(Err(Refused {
            result: InvokeHostFunctionResult::InsufficientRefundableFee,
            explanation: Some(error_event(error, text, values)),
        }));
    }
    Ok(Ok(()))
}

fn store(
    changes: &[LedgerEntryChange],
    restored: Vec<Restored>,
    overlay: &mut Overlay<'_>,
) -> Result<(), Internal> {
    // First as they were archived: what the invocation made of them is a change of its own.
    for Restored { entry, live_until, .. } in restored {
        overlay.restore(entry, live_until);
    }
    for change in changes {
        let key: LedgerKey = xdr::decode_own(&change.encoded_key)?;
        let live_until = change.ttl_change.as_ref().map(|ttl| ttl.new_live_until_ledger);
        if change.read_only {
            // An entry that is only read may have been given more life; nothing else of it changes.
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
            // Made and deleted within the invocation, or never there.
            None => {}
        }
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

fn length(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
