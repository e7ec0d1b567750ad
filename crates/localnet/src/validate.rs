//! Whether a transaction may enter the queue, and again whether it may still be applied.
//!
//! The order of the checks is the network's own, since it decides which of several faults is reported.

use std::sync::Arc;

use soroban_env_host::xdr::{
    AccountEntry, AccountEntryExt, AccountEntryExtensionV1Ext, AccountEntryExtensionV2Ext,
    ContractId, DiagnosticEvent, OperationResult, PreconditionsV2, TransactionResultResult,
};

use crate::frame::Frame;
use crate::modules::Modules;
use crate::operation;
use crate::resources;
use crate::settings::{BASE_RESERVE, Settings};
use crate::signing::{SignatureChecker, Threshold};
use crate::state::Lookup;
use crate::xdr::vecm;

/// The ledger a transaction is to be applied in.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) sequence: u32,
    /// Seconds of Unix time.
    pub(crate) close_time: u64,
    pub(crate) network_id: [u8; 32],
    /// The contract of the native asset.
    pub(crate) native: ContractId,
    pub(crate) settings: Arc<Settings>,
    /// Contracts parsed before this ledger.
    pub(crate) modules: Modules,
}

/// When the checks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the fee is taken.
    Queue,
    /// After the fee was taken, before the operations run.
    Apply,
}

/// Why a transaction is not carried out.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) result: TransactionResultResult,
    /// Whether the sequence number is used up all the same, if the fee was already taken.
    pub(crate) uses_sequence: bool,
    /// Says more than the result code can.
    pub(crate) diagnostics: Vec<DiagnosticEvent>,
}

type Verdict = Result<(), Box<Refusal>>;

/// All checks of a transaction, the fee bump around it included.
pub(crate) fn check(frame: &Frame, view: &dyn Lookup, context: &Context, phase: Phase) -> Verdict {
    if frame.bump.is_some() {
        check_bump(frame, view, phase)?;
    }
    before_sequence(frame, view, context, phase)?;
    let source = view
        .account(&frame.source())
        .ok_or_else(|| refuse(TransactionResultResult::TxNoAccount, false))?;
    check_sequence(frame, &source, context)?;
    check_signed(frame, view, context, &source, phase)
}

/// What an account can spend, in stroops: its balance without the reserve and what its offers bind.
pub(crate) fn available_balance(account: &AccountEntry) -> i64 {
    account.balance.saturating_sub(min_balance(account)).saturating_sub(selling(account))
}

/// What an account must keep, in stroops.
pub(crate) fn min_balance(account: &AccountEntry) -> i64 {
    let (sponsoring, sponsored) = sponsorship(account);
    let units =
        2_i64 + i64::from(account.num_sub_entries) + i64::from(sponsoring) - i64::from(sponsored);
    units.saturating_mul(i64::from(BASE_RESERVE))
}

fn check_bump(frame: &Frame, view: &dyn Lookup, phase: Phase) -> Verdict {
    let Some(bump) = &frame.bump else { return Ok(()) };
    if phase == Phase::Queue {
        // The fee source must offer at least the rate the inner transaction offered.
        let operations = i64::try_from(frame.tx.operations.len().max(1)).unwrap_or(i64::MAX);
        let resource_fee = frame.soroban().map_or(0, |data| data.resource_fee);
        let inner = i64::from(frame.tx.fee).saturating_sub(resource_fee);
        let outer_too_low = i128::from(frame.inclusion_fee()) * i128::from(operations)
            < i128::from(inner) * i128::from(operations.saturating_add(1));
        if frame.inclusion_fee() < frame.min_inclusion_fee() || outer_too_low {
            return Err(refuse(TransactionResultResult::TxInsufficientFee, false));
        }
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

fn before_sequence(frame: &Frame, view: &dyn Lookup, context: &Context, phase: Phase) -> Verdict {
    let conditions = frame.conditions();
    if let [first, second] = conditions.extra_signers.as_slice()
        && first == second
    {
        return Err(refuse(TransactionResultResult::TxMalformed, false));
    }
    if frame.tx.operations.is_empty() {
        return Err(refuse(TransactionResultResult::TxMissingOperation, false));
    }
    if frame.has_soroban_operation() != frame.soroban().is_some()
        || frame.has_soroban_operation() && frame.tx.operations.len() > 1
    {
        return Err(refuse(TransactionResultResult::TxMalformed, false));
    }
    if let Some(data) = frame.soroban() {
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

fn check_time(conditions: &PreconditionsV2, context: &Context) -> Verdict {
    if let Some(bounds) = &conditions.time_bounds {
        if bounds.min_time.0 > context.close_time {
            return Err(refuse(TransactionResultResult::TxTooEarly, false));
        }
        if bounds.max_time.0 != 0 && bounds.max_time.0 < context.close_time {
            return Err(refuse(TransactionResultResult::TxTooLate, false));
        }
    }
    if let Some(bounds) = &conditions.ledger_bounds {
        if bounds.min_ledger > context.sequence {
            return Err(refuse(TransactionResultResult::TxTooEarly, false));
        }
        if bounds.max_ledger != 0 && bounds.max_ledger <= context.sequence {
            return Err(refuse(TransactionResultResult::TxTooLate, false));
        }
    }
    Ok(())
}

fn check_sequence(frame: &Frame, source: &AccountEntry, context: &Context) -> Verdict {
    let conditions = frame.conditions();
    let (current, wanted) = (source.seq_num.0, frame.tx.seq_num.0);
    // A transaction must not reach into the numbers an account created in a later ledger would start with.
    let starting = i64::from(context.sequence) << 32;
    let fits = match &conditions.min_seq_num {
        Some(least) => current >= least.0 && current < wanted,
        None => current.checked_add(1) == Some(wanted),
    };
    if !fits || wanted == starting {
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
) -> Verdict {
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
    operation::check_all(frame, view, context, &mut checker, phase)
        .map_err(|results| failed(results, true))?;
    if !checker.all_used() {
        return Err(refuse(TransactionResultResult::TxBadAuthExtra, true));
    }
    Ok(())
}

/// A refusal without further words.
pub(crate) fn refuse(result: TransactionResultResult, uses_sequence: bool) -> Box<Refusal> {
    Box::new(Refusal { result, uses_sequence, diagnostics: Vec::new() })
}

fn failed(results: Vec<OperationResult>, uses_sequence: bool) -> Box<Refusal> {
    match vecm(results) {
        Ok(results) => refuse(TransactionResultResult::TxFailed(results), uses_sequence),
        Err(_) => refuse(TransactionResultResult::TxInternalError, uses_sequence),
    }
}

fn sponsorship(account: &AccountEntry) -> (u32, u32) {
    match &account.ext {
        AccountEntryExt::V1(v1) => match &v1.ext {
            AccountEntryExtensionV1Ext::V2(v2) => (v2.num_sponsoring, v2.num_sponsored),
            AccountEntryExtensionV1Ext::V0 => (0, 0),
        },
        AccountEntryExt::V0 => (0, 0),
    }
}

fn selling(account: &AccountEntry) -> i64 {
    match &account.ext {
        AccountEntryExt::V1(v1) => v1.liabilities.selling,
        AccountEntryExt::V0 => 0,
    }
}

/// Ledger and time in which the sequence number changed last.
fn sequence_age(account: &AccountEntry) -> (u32, u64) {
    if let AccountEntryExt::V1(v1) = &account.ext
        && let AccountEntryExtensionV1Ext::V2(v2) = &v1.ext
        && let AccountEntryExtensionV2Ext::V3(v3) = &v2.ext
    {
        return (v3.seq_ledger, v3.seq_time.0);
    }
    (0, 0)
}
