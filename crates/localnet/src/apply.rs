//! Carrying out one transaction whose fee was already taken.

use soroban_env_host::xdr::{
    AccountEntry, AccountEntryExt, AccountEntryExtensionV1, AccountEntryExtensionV1Ext,
    AccountEntryExtensionV2, AccountEntryExtensionV2Ext, AccountEntryExtensionV3, ContractEvent,
    DiagnosticEvent, ExtensionPoint, LedgerEntryChanges, Liabilities, Operation, OperationBody,
    OperationMetaV2, OperationResult, OperationResultTr, SorobanTransactionMetaExt,
    SorobanTransactionMetaExtV1, SorobanTransactionMetaV2, SponsorshipDescriptor, TimePoint,
    TransactionMetaV4, TransactionResultResult,
};

use crate::error::Internal;
use crate::frame::Frame;
use crate::invoke::{Effects, Environment, invoke};
use crate::lifetime;
use crate::operation::{apply_classic, source_of, succeeded};
use crate::resources::non_refundable_fee;
use crate::state::{Changes, Lookup, Overlay, State};
use crate::validate::{Context, Phase, check};
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

/// Carries out a transaction on `state`; the changes are returned, not written.
pub(crate) fn apply(
    frame: &Frame,
    state: &State,
    context: &Context,
    seed: [u8; 32],
) -> Result<(Outcome, Changes), Internal> {
    let mut overlay = Overlay::new(state, context.sequence);
    let verdict = check(frame, state, context, Phase::Apply);
    if verdict.as_ref().map_or_else(|refusal| refusal.uses_sequence, |()| true) {
        use_sequence(frame, context, &mut overlay)?;
    }
    let max_refundable = frame.soroban().map_or(0, |data| {
        data.resource_fee.saturating_sub(non_refundable_fee(frame, data, context)).max(0)
    });
    let before = overlay.finish();
    let changes_before = LedgerEntryChanges(vecm(before.describe(state))?);
    let mut overlay = Overlay::new(state, context.sequence);
    overlay.absorb(before);
    let (result, performed) = match verdict {
        Err(refusal) => {
            let effects = Effects { diagnostics: refusal.diagnostics, ..Effects::default() };
            let nothing =
                Performed { results: Vec::new(), metas: Vec::new(), effects, changes: None };
            (refusal.result, nothing)
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
    let refund = max_refundable.saturating_sub(performed.effects.refundable_fee);
    let fees = frame
        .soroban()
        .map(|data| fee_meta(data.resource_fee.saturating_sub(max_refundable), &performed.effects));
    let meta = meta(changes_before, performed.metas, performed.effects, fees)?;
    if let Some(changes) = performed.changes {
        overlay.absorb(changes);
    }
    Ok((Outcome { result, refund, meta }, overlay.finish()))
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
    for operation in frame.tx.operations.iter() {
        let mut overlay = Overlay::new(&all, context.sequence);
        let (result, mut effects) = match frame.soroban() {
            Some(data) => {
                let environment = Environment { data, context, seed, max_refundable };
                perform_soroban(frame, operation, &environment, &mut overlay)?
            }
            None => {
                let (result, events) = apply_classic(frame, operation, &mut overlay, context);
                (result, Effects { events, ..Effects::default() })
            }
        };
        succeeded_all &= succeeded(&result);
        performed.results.push(result);
        let changes = overlay.finish();
        performed.metas.push(operation_meta(&changes, &all, std::mem::take(&mut effects.events))?);
        performed.effects = effects;
        all.absorb(changes);
    }
    if succeeded_all {
        performed.changes = Some(all.finish());
    } else {
        // Nothing of a failed transaction stays, and its meta tells of no operation.
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

/// Notes in the account's extension when its sequence number changed (CAP-21).
fn stamp_sequence(account: &mut AccountEntry, context: &Context) -> Result<(), Internal> {
    let signers = account.signers.len();
    let mut v1 = match std::mem::take(&mut account.ext) {
        AccountEntryExt::V1(v1) => v1,
        AccountEntryExt::V0 => AccountEntryExtensionV1 {
            liabilities: Liabilities { buying: 0, selling: 0 },
            ext: AccountEntryExtensionV1Ext::V0,
        },
    };
    let mut v2 = match v1.ext {
        AccountEntryExtensionV1Ext::V2(v2) => v2,
        AccountEntryExtensionV1Ext::V0 => AccountEntryExtensionV2 {
            num_sponsored: 0,
            num_sponsoring: 0,
            signer_sponsoring_i_ds: vecm(vec![SponsorshipDescriptor(None); signers])?,
            ext: AccountEntryExtensionV2Ext::V0,
        },
    };
    v2.ext = AccountEntryExtensionV2Ext::V3(AccountEntryExtensionV3 {
        ext: ExtensionPoint::V0,
        seq_ledger: context.sequence,
        seq_time: TimePoint(context.close_time),
    });
    v1.ext = AccountEntryExtensionV1Ext::V2(v2);
    account.ext = AccountEntryExt::V1(v1);
    Ok(())
}

/// The seed of the random numbers contracts see in one transaction of a ledger.
pub(crate) fn random_seed(previous: [u8; 32], position: u32) -> [u8; 32] {
    let mut input = previous.to_vec();
    input.extend_from_slice(&position.to_be_bytes());
    xdr::sha256(&input)
}
