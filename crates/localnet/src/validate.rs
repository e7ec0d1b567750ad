//! Whether a transaction may enter the queue, and again whether it may still be applied.
//!
//! The order of the checks is the network's own, since it decides which of several faults is
//! reported.

mod diagnostics;
mod context;
mod resources;
mod operation;

use soroban_env_host::xdr::{
    AccountEntry, Memo, MuxedAccount, OperationBody, PreconditionsV2, ScError, ScErrorCode,
    SignerKey, TransactionResultResult,
};

use crate::accounts::{available_balance, sequence_age};
use crate::frame::Frame;
use crate::signing::{SignatureChecker, Threshold};
use crate::state::Lookup;

pub(crate) use context::{Context, Phase, Refusal, Validity, refuse};
pub(crate) use diagnostics::{diagnostic, error_event};
pub(crate) use operation::source_of;
pub(crate) use resources::{
    archived_indexes, check as check_resources, disk_read_entries, events_fee, has_lifetime,
    non_refundable_fee,
};

/// All checks of a transaction, the fee bump around it included.
pub(crate) fn check(frame: &Frame, view: &dyn Lookup, context: &Context, phase: Phase) -> Validity {
    if frame.bump.is_some() {
        check_bump(frame, view, phase).map_err(Refusal::of_the_bump)?;
    }
    before_sequence(frame, view, context, phase)?;
    let source = view
        .account(&frame.source())
        .ok_or_else(|| refuse(TransactionResultResult::TxNoAccount, false))?;
    check_sequence(frame, &source, context)?;
    check_signed(frame, view, context, &source, phase)
}

fn check_bump(frame: &Frame, view: &dyn Lookup, phase: Phase) -> Validity {
    let Some(bump) = &frame.bump else { return Ok(()) };

    // At the application the bid was accepted already, and the fee taken.
    if phase == Phase::Queue {
        check_bid(frame)?;
    }
    let payer = view
        .account(&bump.source)
        .ok_or_else(|| refuse(TransactionResultResult::TxNoAccount, false))?;
    let mut checker = SignatureChecker::new(frame.hash, &bump.signatures);
    if !checker.account(&payer, Threshold::Low) {
        return Err(refuse(TransactionResultResult::TxBadAuth, false));
    }
    if phase == Phase::Queue && available_balance(&payer) < frame.full_fee() {
        return Err(refuse(TransactionResultResult::TxInsufficientBalance, false));
    }
    if !checker.all_used() {
        return Err(refuse(TransactionResultResult::TxBadAuthExtra, false));
    }
    Ok(())
}

/// The bump must bid at least the lowest rate, and at least the rate of the transaction inside it.
fn check_bid(frame: &Frame) -> Validity {
    if frame.inclusion_fee() < frame.min_inclusion_fee() {
        return Err(refuse(TransactionResultResult::TxInsufficientFee, false));
    }
    let resource_fee = frame.soroban().map_or(0, |data| data.resource_fee);
    let inner = i64::from(frame.tx.fee).saturating_sub(resource_fee);

    if inner < 0 {
        // A bump may pay a resource fee that does not fit into the 32 bits of the inner fee, but
        // only a Soroban transaction has one.
        return if frame.soroban().is_some() {
            Ok(())
        } else {
            Err(refuse(TransactionResultResult::TxInsufficientFee, false))
        };
    }

    // Rates are compared without division: outer / (n + 1) >= inner / n, for n operations.
    let operations = i128::try_from(frame.tx.operations.len().max(1)).unwrap_or(i128::MAX);
    let offered = i128::from(frame.inclusion_fee()) * operations;
    let needed = i128::from(inner) * (operations + 1);
    if offered < needed {
        let fee = i64::try_from((needed + operations - 1) / operations).unwrap_or(i64::MAX);
        let refusal = refuse(TransactionResultResult::TxInsufficientFee, false);
        return Err(refusal.with_sufficient_fee(fee));
    }
    Ok(())
}

fn before_sequence(frame: &Frame, view: &dyn Lookup, context: &Context, phase: Phase) -> Validity {
    let conditions = frame.conditions();

    // There are at most two of them, and they must differ (CAP-21).
    if let [first, second] = conditions.extra_signers.as_slice()
        && first == second
    {
        return Err(refuse(TransactionResultResult::TxMalformed, false));
    }

    // Nothing is signed by signing nothing (CAP-40).
    let signs_nothing = |signer: &SignerKey| match signer {
        SignerKey::Ed25519SignedPayload(signed) => signed.payload.is_empty(),
        _ => false,
    };
    if conditions.extra_signers.iter().any(signs_nothing) {
        return Err(refuse(TransactionResultResult::TxMalformed, false));
    }
    if frame.tx.operations.is_empty() {
        return Err(refuse(TransactionResultResult::TxMissingOperation, false));
    }

    // A Soroban part and a Soroban operation come together, and the operation alone.
    if frame.has_soroban_operation() != frame.soroban().is_some()
        || frame.has_soroban_operation() && frame.tx.operations.len() > 1
    {
        return Err(refuse(TransactionResultResult::TxMalformed, false));
    }
    if let Some(data) = frame.soroban() {
        check_soroban_memo(frame)?;
        resources::check(frame, data, context)?;
    }
    check_time(&conditions, context)?;
    let pays_itself = phase == Phase::Queue && frame.bump.is_none();
    if pays_itself && frame.inclusion_fee() < frame.min_inclusion_fee() {
        return Err(refuse(TransactionResultResult::TxInsufficientFee, false));
    }
    if view.account(&frame.source()).is_none() {
        return Err(refuse(TransactionResultResult::TxNoAccount, false));
    }
    Ok(())
}

/// An invocation carries neither a memo nor a muxed source: contracts could not see them.
fn check_soroban_memo(frame: &Frame) -> Validity {
    let [operation] = frame.tx.operations.as_slice() else { return Ok(()) };
    if !matches!(operation.body, OperationBody::InvokeHostFunction(_)) {
        return Ok(());
    }
    let muxed = |account: &MuxedAccount| matches!(account, MuxedAccount::MuxedEd25519(_));
    let sources_plain =
        !muxed(&frame.tx.source_account) && !operation.source_account.as_ref().is_some_and(muxed);
    if frame.tx.memo == Memo::None && sources_plain {
        return Ok(());
    }
    let text = "Soroban transactions are not allowed to use memo or muxed source account";
    Err(context::refuse_soroban(ScError::Value(ScErrorCode::InvalidInput), text, &[]))
}

fn check_time(conditions: &PreconditionsV2, context: &Context) -> Validity {
    if let Some(bounds) = &conditions.time_bounds {
        if bounds.min_time.0 > context.close_time {
            return Err(refuse(TransactionResultResult::TxTooEarly, false));
        }

        // Zero is no bound.
        if bounds.max_time.0 != 0 && bounds.max_time.0 < context.close_time {
            return Err(refuse(TransactionResultResult::TxTooLate, false));
        }
    }
    if let Some(bounds) = &conditions.ledger_bounds {
        if bounds.min_ledger > context.sequence {
            return Err(refuse(TransactionResultResult::TxTooEarly, false));
        }

        // Unlike the latest time, the latest ledger is exclusive (CAP-21).
        if bounds.max_ledger != 0 && bounds.max_ledger <= context.sequence {
            return Err(refuse(TransactionResultResult::TxTooLate, false));
        }
    }
    Ok(())
}

fn check_sequence(frame: &Frame, source: &AccountEntry, context: &Context) -> Validity {
    let conditions = frame.conditions();
    let (current, used) = (source.seq_num.0, frame.tx.seq_num.0);

    // A transaction must not reach into the numbers an account created in a later ledger would
    // start with.
    let starting = i64::from(context.sequence) << 32;
    let fits = match &conditions.min_seq_num {
        // With a least number set, the sequence may have gaps (CAP-21).
        Some(least) => current >= least.0 && current < used,
        None => current.checked_add(1) == Some(used),
    };
    if !fits || used == starting {
        return Err(refuse(TransactionResultResult::TxBadSeq, false));
    }
    let (since_ledger, since_time) = sequence_age(source);
    let old_enough = context.close_time.saturating_sub(since_time) >= conditions.min_seq_age.0;
    let far_enough = context.sequence.saturating_sub(since_ledger) >= conditions.min_seq_ledger_gap;
    if !old_enough || !far_enough {
        return Err(refuse(TransactionResultResult::TxBadMinSeqAgeOrGap, true));
    }
    Ok(())
}

fn check_signed(
    frame: &Frame,
    view: &dyn Lookup,
    context: &Context,
    source: &AccountEntry,
    phase: Phase,
) -> Validity {
    let mut checker = SignatureChecker::new(frame.inner_hash, &frame.signatures);
    if !checker.account(source, Threshold::Low) {
        return Err(refuse(TransactionResultResult::TxBadAuth, true));
    }
    let conditions = frame.conditions();
    if !conditions.extra_signers.iter().all(|signer| checker.extra_signer(signer)) {
        return Err(refuse(TransactionResultResult::TxBadAuth, true));
    }
    let pays_itself = phase == Phase::Queue && frame.bump.is_none();
    if pays_itself && available_balance(source) < frame.full_fee() {
        return Err(refuse(TransactionResultResult::TxInsufficientBalance, true));
    }

    // Operations use signatures up too, so that the question whether all are used comes last.
    operation::check_all(frame, view, (context, phase), &mut checker)
        .map_err(context::refuse_operations)?;
    if !checker.all_used() {
        return Err(refuse(TransactionResultResult::TxBadAuthExtra, true));
    }
    Ok(())
}
