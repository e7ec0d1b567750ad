//! Carrying out one transaction whose fee was already taken.

use soroban_env_host::xdr::{
    ContractEvent, DiagnosticEvent, ExtensionPoint, InvokeHostFunctionResult, LedgerEntryChange,
    LedgerEntryChanges, Operation, OperationBody, OperationMetaV2, OperationResult,
    OperationResultTr, ScError, ScErrorCode, SorobanTransactionMetaExt,
    SorobanTransactionMetaExtV1, SorobanTransactionMetaV2, TransactionMetaV4,
    TransactionResultResult,
};

use crate::accounts::{remove_one_time_signer, stamp_sequence};
use crate::classic::{apply_classic, succeeded};
use crate::error::Internal;
use crate::frame::Frame;
use crate::invoke::{Effects, Environment, invoke};
use crate::lifetime;
use crate::state::{Changes, LedgerState, Lookup, Overlay, account_key};
use crate::validate::{Context, Phase, check, error_event, non_refundable_fee, source_of};
use crate::xdr::{self, vecm};

/// What carrying out a transaction came to.
pub(crate) struct Outcome {
    pub(crate) result: TransactionResultResult,
    /// Part of the fee that is given back, in stroops.
    pub(crate) refund: i64,
    pub(crate) meta: TransactionMetaV4,
}

/// The operations of one transaction, carried out.
struct Performed {
    results: Vec<OperationResult>,
    metas: Vec<OperationMetaV2>,
    effects: Effects,
    changes: Option<Changes>,
}

/// Carries out a transaction on `state`; the changes are returned, not written. One that `fails`
/// does so whatever its operations would have done.
pub(crate) fn apply(
    frame: &Frame,
    state: &LedgerState,
    context: &Context,
    seed: [u8; 32],
    fails: bool,
) -> Result<(Outcome, Changes), Internal> {
    // An earlier transaction of this ledger may have taken the balance or a signer since this one
    // entered the queue, so everything is checked anew.
    let verdict = check(frame, state, context, Phase::Apply);

    // From a certain check on, a refusal still uses up the sequence number; otherwise the same
    // envelope could be applied again.
    let uses_sequence = verdict.as_ref().map_or_else(|refusal| refusal.uses_sequence, |()| true);

    // The non-refundable part pays for what the declaration reserved, used or not (CAP-46-07).
    let max_refundable = frame.soroban().map_or(0, |data| {
        data.resource_fee.saturating_sub(non_refundable_fee(frame, data, context)).max(0)
    });

    // An overlay of its own, because the meta lists what comes before the operations apart from
    // what they changed.
    let mut overlay = Overlay::new(state, context.sequence);
    let changes_before = before_operations(frame, (state, &mut overlay), context, uses_sequence)?;
    let (result, performed) = match verdict {
        Err(refusal) => {
            let effects = Effects { diagnostics: refusal.diagnostics, ..Effects::default() };
            let nothing =
                Performed { results: Vec::new(), metas: Vec::new(), effects, changes: None };
            (refusal.result, nothing)
        }
        Ok(()) if fails => {
            let results = frame.tx.operations.iter().map(failed_on_request).collect();
            let text = "this transaction was chosen to fail";
            let error = ScError::Context(ScErrorCode::InvalidAction);
            let diagnostics = vec![error_event(error, text, Vec::new())];
            let effects = Effects { diagnostics, ..Effects::default() };
            let nothing =
                Performed { results: Vec::new(), metas: Vec::new(), effects, changes: None };
            (TransactionResultResult::TxFailed(vecm(results)?), nothing)
        }
        Ok(()) => {
            let mut performed = perform(frame, &overlay, context, seed, max_refundable)?;
            let results = vecm(std::mem::take(&mut performed.results))?;
            match performed.changes {
                Some(_) => (TransactionResultResult::TxSuccess(results), performed),
                None => (TransactionResultResult::TxFailed(results), performed),
            }
        }
    };

    // What rent and events did not use of the refundable fee goes back.
    let refund = max_refundable.saturating_sub(performed.effects.refundable_fee);
    let fees = frame
        .soroban()
        .map(|data| fee_meta(data.resource_fee.saturating_sub(max_refundable), &performed.effects));
    let meta = meta(changes_before, performed.metas, performed.effects, fees)?;

    // A failed transaction leaves only what came before its operations: the sequence number.
    if let Some(changes) = performed.changes {
        overlay.absorb(changes);
    }
    Ok((Outcome { result, refund, meta }, overlay.finish()))
}

/// The result of an operation in a transaction that was chosen to fail.
fn failed_on_request(operation: &Operation) -> OperationResult {
    match operation.body {
        OperationBody::InvokeHostFunction(_) => OperationResult::OpInner(
            OperationResultTr::InvokeHostFunction(InvokeHostFunctionResult::Trapped),
        ),
        _ => OperationResult::OpExceededWorkLimit,
    }
}

fn perform(
    frame: &Frame,
    base: &Overlay<'_>,
    context: &Context,
    seed: [u8; 32],
    max_refundable: i64,
) -> Result<Performed, Internal> {
    let mut all = Overlay::new(base, context.sequence);
    let mut performed = Performed {
        results: Vec::new(),
        metas: Vec::new(),
        effects: Effects::default(),
        changes: None,
    };
    let mut succeeded_all = true;
    for (index, operation) in (0_u32..).zip(frame.tx.operations.iter()) {
        // An operation sees what those before it did; its own changes are kept apart until it
        // succeeds.
        let mut overlay = Overlay::new(&all, context.sequence);
        let (result, mut effects) = match frame.soroban() {
            // An operation before this one may have merged its account away.
            _ if all.account(&source_of(frame, operation)).is_none() => {
                (OperationResult::OpNoAccount, Effects::default())
            }
            Some(data) => {
                let environment = Environment { data, context, seed, max_refundable };
                perform_soroban(frame, operation, &environment, &mut overlay)?
            }
            None => {
                let operation = (index, operation);
                let (result, events) = apply_classic(frame, operation, &mut overlay, context)?;
                (result, Effects { events, ..Effects::default() })
            }
        };
        let done = succeeded(&result);
        succeeded_all &= done;
        performed.results.push(result);
        if done {
            let changes = overlay.finish();
            let events = std::mem::take(&mut effects.events);
            performed.metas.push(operation_meta(&changes, &all, events)?);
            all.absorb(changes);
        }

        // Only Soroban has fees and diagnostics of its own, and such a transaction has one
        // operation: the last effects are the transaction's.
        performed.effects = effects;
    }
    if succeeded_all {
        performed.changes = Some(all.finish());
    } else {
        // Nothing of a failed transaction stays, and its meta lists no operation.
        performed.metas.clear();
    }
    Ok(performed)
}

fn perform_soroban(
    frame: &Frame,
    operation: &Operation,
    environment: &Environment<'_>,
    overlay: &mut Overlay<'_>,
) -> Result<(OperationResult, Effects), Internal> {
    let (result, effects) = match &operation.body {
        OperationBody::InvokeHostFunction(op) => {
            let source = source_of(frame, operation);
            let (result, effects) = invoke(op, &source, environment, overlay)?;
            (OperationResultTr::InvokeHostFunction(result), effects)
        }
        OperationBody::ExtendFootprintTtl(op) => {
            let (result, effects) = lifetime::extend(op, environment, overlay)?;
            (OperationResultTr::ExtendFootprintTtl(result), effects)
        }
        OperationBody::RestoreFootprint(_) => {
            let (result, effects) = lifetime::restore(environment, overlay)?;
            (OperationResultTr::RestoreFootprint(result), effects)
        }
        _ => return Ok((OperationResult::OpNotSupported, Effects::default())),
    };
    Ok((OperationResult::OpInner(result), effects))
}

fn operation_meta(
    changes: &Changes,
    before: &dyn Lookup,
    events: Vec<ContractEvent>,
) -> Result<OperationMetaV2, Internal> {
    Ok(OperationMetaV2 {
        ext: ExtensionPoint::V0,
        changes: LedgerEntryChanges(vecm(changes.describe(before))?),
        events: vecm(events)?,
    })
}

fn fee_meta(non_refundable: i64, effects: &Effects) -> SorobanTransactionMetaExt {
    SorobanTransactionMetaExt::V1(SorobanTransactionMetaExtV1 {
        ext: ExtensionPoint::V0,
        total_non_refundable_resource_fee_charged: non_refundable,
        total_refundable_resource_fee_charged: effects.refundable_fee,
        rent_fee_charged: effects.rent_fee,
    })
}

fn meta(
    before: LedgerEntryChanges,
    operations: Vec<OperationMetaV2>,
    effects: Effects,
    fees: Option<SorobanTransactionMetaExt>,
) -> Result<TransactionMetaV4, Internal> {
    let diagnostics: Vec<DiagnosticEvent> = effects.diagnostics;
    let return_value = effects.return_value;
    Ok(TransactionMetaV4 {
        ext: ExtensionPoint::V0,
        tx_changes_before: before,
        operations: vecm(operations)?,
        tx_changes_after: LedgerEntryChanges(vecm(Vec::new())?),
        soroban_meta: fees.map(|ext| SorobanTransactionMetaV2 { ext, return_value }),
        events: vecm(Vec::new())?,
        diagnostic_events: vecm(diagnostics)?,
    })
}

/// What a transaction changes whether or not it succeeds: signers that stand for it sign once, and
/// its sequence number is used up. The answer is how the meta lists that.
fn before_operations<'a>(
    frame: &Frame,
    (state, overlay): (&'a LedgerState, &mut Overlay<'a>),
    context: &Context,
    uses_sequence: bool,
) -> Result<LedgerEntryChanges, Internal> {
    let mut changes = Vec::new();
    if let Some(bump) = &frame.bump {
        remove_one_time_signer(frame.hash, std::iter::once(bump.source.clone()), overlay)?;
        let done = std::mem::replace(overlay, Overlay::new(state, context.sequence)).finish();
        changes = done.describe(state);

        // stellar-core lists the payer of a fee bump also when nothing of it changed.
        if changes.is_empty()
            && let Some(payer) = state.get(&account_key(&bump.source))
        {
            changes.push(LedgerEntryChange::State(payer.entry.clone()));
            changes.push(LedgerEntryChange::Updated(payer.entry.clone()));
        }
        overlay.absorb(done);
    }

    let mut inner = Overlay::new(&*overlay, context.sequence);
    if uses_sequence {
        use_sequence(frame, context, &mut inner)?;
    }
    let operations = frame.tx.operations.iter().map(|operation| source_of(frame, operation));
    let sources = std::iter::once(frame.source()).chain(operations);
    remove_one_time_signer(frame.inner_hash, sources, &mut inner)?;
    let done = inner.finish();
    changes.extend(done.describe(&*overlay));
    overlay.absorb(done);
    Ok(LedgerEntryChanges(vecm(changes)?))
}

fn use_sequence(
    frame: &Frame,
    context: &Context,
    overlay: &mut Overlay<'_>,
) -> Result<(), Internal> {
    let Some(mut account) = overlay.account(&frame.source()) else { return Ok(()) };
    account.seq_num = frame.tx.seq_num.clone();
    stamp_sequence(&mut account, context)?;
    overlay.put_account(account);
    Ok(())
}

/// The seed of the random numbers contracts see in one transaction of a ledger.
pub(crate) fn random_seed(previous: [u8; 32], position: u32) -> [u8; 32] {
    // Derived from the ledger before: the same transactions on the same state see the same numbers.
    let mut input = previous.to_vec();
    input.extend_from_slice(&position.to_be_bytes());
    xdr::sha256(&input)
}
