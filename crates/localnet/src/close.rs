//! Closing a ledger: fees first, then the transactions in order, then what is given back.

use std::collections::HashSet;
use std::sync::Arc;

use soroban_env_host::xdr::{
    AccountId, ExtensionPoint, Hash, InnerTransactionResult, InnerTransactionResultExt,
    InnerTransactionResultPair, LedgerEntryChange, LedgerEntryChanges, SorobanTransactionMetaExt,
    TimePoint, TransactionEvent, TransactionEventStage, TransactionMeta, TransactionMetaV4,
    TransactionResult, TransactionResultExt, TransactionResultPair, TransactionResultResult,
};

use crate::apply::{Outcome, apply, random_seed};
use crate::chain::{AppliedTransaction, BaseFees, Chain, ClosedLedger};
use crate::error::Internal;
use crate::events::{TransactionPlace, fee_event, index_events};
use crate::frame::Frame;
use crate::ledger_meta::{result_set, transaction_set};
use crate::state::{Changes, LedgerState, Lookup, Overlay};
use crate::validate::Context;
use crate::xdr::{self, vecm};

/// What goes into a ledger.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Transactions in the order of application.
    pub(crate) frames: Vec<Frame>,
    /// What inclusion costs.
    pub(crate) base_fees: BaseFees,
    /// Hashes of transactions that fail whatever they do.
    pub(crate) failing: HashSet<[u8; 32]>,
}

/// What the payer of one transaction gave and got back.
struct Fees {
    /// Stroops.
    taken: i64,
    taken_changes: Vec<LedgerEntryChange>,
    /// Stroops.
    returned: i64,
    returned_changes: Vec<LedgerEntryChange>,
}

/// Closes the next ledger over `chain` at `now` seconds of Unix time, with transactions that were
/// valid before it.
pub(crate) fn close(chain: &mut Chain, batch: &Batch, now: u64) -> Result<(), Internal> {
    let context = chain.next(now);

    // The chain keeps its state until every result is recorded: an error midway must not leave half
    // a ledger.
    let mut state = chain.state.clone();
    let working = Arc::make_mut(&mut state);
    working.begin();

    // What expired is gone before the first transaction can look.
    let evicted = working.evict(context.sequence)?;
    let mut changes = Vec::new();

    // All fees are taken before anything runs: no transaction can spend the fee of a later one.
    let mut fees = Vec::with_capacity(batch.frames.len());
    for frame in &batch.frames {
        let base_fee = match frame.soroban() {
            Some(_) => batch.base_fees.soroban,
            None => batch.base_fees.classic,
        };
        let charged = frame.charged_fee(base_fee);
        let (moved, taken_changes) = move_fee(working, &context, &frame.fee_source(), -charged)?;
        changes.extend(taken_changes.iter().cloned());
        fees.push(Fees { taken: -moved, taken_changes, returned: 0, returned_changes: Vec::new() });
    }

    let mut applied = Vec::with_capacity(batch.frames.len());
    for (position, frame) in (1_u32..).zip(&batch.frames) {
        let seed = random_seed(chain.hash, position);
        let fails = batch.failing.contains(&frame.hash);
        let (outcome, done) = apply(frame, working, &context, seed, fails)
            .or_else(|error| broken(&error, working, &context))?;
        changes.extend(done.describe(working));
        working.commit(done);
        applied.push(outcome);
    }

    // Refunds come after the last transaction (CAP-62), so that none can spend another's refund.
    let mut fee_pool = chain.header.fee_pool;
    for ((frame, outcome), fees) in batch.frames.iter().zip(&applied).zip(&mut fees) {
        // A payer with less than its fee has paid what it had; no more than that may come back.
        let refund = outcome.refund.min(fees.taken);
        let payer = frame.fee_source();
        (fees.returned, fees.returned_changes) = move_fee(working, &context, &payer, refund)?;
        changes.extend(fees.returned_changes.iter().cloned());
        fee_pool = fee_pool.saturating_add(fees.taken).saturating_sub(fees.returned);
    }

    let mut results = Vec::with_capacity(batch.frames.len());
    for (index, (outcome, fees)) in applied.into_iter().zip(fees).enumerate() {
        results.push(record(chain, &context, (index, &batch.frames[index]), outcome, fees)?);
    }
    chain.state = state;
    chain.modules.learn(&changes)?;
    seal(chain, &context, batch, (results, &changes), fee_pool)?;
    chain.ledgers.push_back(Arc::new(ClosedLedger {
        header: chain.header.clone(),
        hash: chain.hash,
        transactions: batch.frames.iter().map(|frame| frame.hash).collect(),
        evicted,
        base_fees: batch.base_fees,
    }));
    chain.trim();
    Ok(())
}

/// Writes a transaction and its events into the history, and answers its result.
fn record(
    chain: &mut Chain,
    context: &Context,
    (index, frame): (usize, &Frame),
    outcome: Outcome,
    fees: Fees,
) -> Result<TransactionResultPair, Internal> {
    let position = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
    let successful = matches!(outcome.result, TransactionResultResult::TxSuccess(_));
    let mut meta = outcome.meta;
    meta.events = vecm(fee_events(context, &frame.fee_source(), (fees.taken, fees.returned))?)?;
    let place = TransactionPlace {
        ledger: context.sequence,
        position,
        transaction: frame.hash,
        successful,
    };
    index_events(&mut chain.events, place, &meta);

    let charged = fees.taken.saturating_sub(fees.returned);
    let inclusion_fee = inclusion_fee(frame, &meta, charged);
    let result = finish_result(frame, outcome.result, charged)?;
    chain.record(AppliedTransaction {
        hash: frame.hash,
        inner_hash: frame.bump.is_some().then_some(frame.inner_hash),
        ledger: context.sequence,
        close_time: context.close_time,
        position,
        successful,
        soroban: frame.soroban().is_some(),
        inclusion_fee,
        envelope: xdr::bytes(&frame.envelope)?,
        result: xdr::bytes(&result)?,
        meta: xdr::bytes(&TransactionMeta::V4(meta))?,
        fee_changes: xdr::bytes(&LedgerEntryChanges(vecm(fees.taken_changes)?))?,
        refund_changes: xdr::bytes(&LedgerEntryChanges(vecm(fees.returned_changes)?))?,
    });
    Ok(TransactionResultPair { transaction_hash: Hash(frame.hash), result })
}

/// What inclusion cost per operation, as stellar-rpc derives it from what was charged, in stroops.
fn inclusion_fee(frame: &Frame, meta: &TransactionMetaV4, charged: i64) -> u64 {
    let per_operation = match (&meta.soroban_meta, frame.soroban()) {
        (Some(soroban), _) => match &soroban.ext {
            SorobanTransactionMetaExt::V1(fees) => charged
                .saturating_sub(fees.total_non_refundable_resource_fee_charged)
                .saturating_sub(fees.total_refundable_resource_fee_charged),
            SorobanTransactionMetaExt::V0 => charged,
        },
        _ => charged / i64::try_from(frame.tx.operations.len().max(1)).unwrap_or(i64::MAX),
    };
    u64::try_from(per_operation).unwrap_or(0)
}

/// A transaction that ran into a defect of the network: it fails, the network goes on.
fn broken(
    error: &Internal,
    state: &LedgerState,
    context: &Context,
) -> Result<(Outcome, Changes), Internal> {
    tracing::error!(%error, "a transaction could not be carried out");
    let meta = TransactionMetaV4 {
        ext: ExtensionPoint::V0,
        tx_changes_before: LedgerEntryChanges(vecm(Vec::new())?),
        operations: vecm(Vec::new())?,
        tx_changes_after: LedgerEntryChanges(vecm(Vec::new())?),
        soroban_meta: None,
        events: vecm(Vec::new())?,
        diagnostic_events: vecm(Vec::new())?,
    };
    let result = TransactionResultResult::TxInternalError;
    let nothing = Overlay::new(state, context.sequence).finish();
    Ok((Outcome { result, refund: 0, meta }, nothing))
}

/// Adds `amount` stroops to the payer, or takes as much as it has; the answer is what was moved,
/// and the changes that it makes to the ledger.
fn move_fee(
    state: &mut LedgerState,
    context: &Context,
    payer: &AccountId,
    amount: i64,
) -> Result<(i64, Vec<LedgerEntryChange>), Internal> {
    let Some(mut account) = state.account(payer) else { return Ok((0, Vec::new())) };
    let moved = amount.max(-account.balance);
    if moved == 0 {
        return Ok((0, Vec::new()));
    }
    account.balance = account.balance.saturating_add(moved);
    let mut overlay = Overlay::new(state, context.sequence);
    overlay.put_account(account);
    let done = overlay.finish();
    let changes = done.describe(state);
    state.commit(done);
    Ok((moved, changes))
}

fn fee_events(
    context: &Context,
    payer: &AccountId,
    (taken, back): (i64, i64),
) -> Result<Vec<TransactionEvent>, Internal> {
    let mut events = vec![TransactionEvent {
        stage: TransactionEventStage::BeforeAllTxs,
        event: fee_event(&context.native, payer, taken)?,
    }];
    if back != 0 {
        let event = fee_event(&context.native, payer, -back)?;
        events.push(TransactionEvent { stage: TransactionEventStage::AfterAllTxs, event });
    }
    Ok(events)
}

/// The result as it is recorded, the fee bump around it included.
pub(crate) fn finish_result(
    frame: &Frame,
    result: TransactionResultResult,
    fee_charged: i64,
) -> Result<TransactionResult, Internal> {
    let ext = TransactionResultExt::V0;
    if frame.bump.is_none() {
        return Ok(TransactionResult { fee_charged, result, ext });
    }
    let successful = matches!(result, TransactionResultResult::TxSuccess(_));

    // Both unions have the same arms; only their types differ.
    let inner = InnerTransactionResultPair {
        transaction_hash: Hash(frame.inner_hash),
        result: InnerTransactionResult {
            fee_charged: 0,
            result: xdr::decode_own(&xdr::bytes(&result)?)?,
            ext: InnerTransactionResultExt::V0,
        },
    };
    let result = if successful {
        TransactionResultResult::TxFeeBumpInnerSuccess(inner)
    } else {
        TransactionResultResult::TxFeeBumpInnerFailed(inner)
    };
    Ok(TransactionResult { fee_charged, result, ext })
}

/// Writes the header. The state's hash is a chain over all changes: there is no bucket list here.
fn seal(
    chain: &mut Chain,
    context: &Context,
    batch: &Batch,
    (results, changes): (Vec<TransactionResultPair>, &[LedgerEntryChange]),
    fee_pool: i64,
) -> Result<(), Internal> {
    let mut state = chain.header.bucket_list_hash.0.to_vec();
    for change in changes {
        state.extend(xdr::bytes(change)?);
    }
    let envelopes = batch.frames.iter().map(|frame| {
        let soroban = frame.soroban().is_some();
        (frame.hash, soroban, frame.envelope.clone())
    });
    let set = transaction_set(chain.hash, envelopes.collect(), batch.base_fees)?;

    let header = &mut chain.header;
    header.previous_ledger_hash = Hash(chain.hash);
    header.scp_value.tx_set_hash = Hash(xdr::hash(&set)?);
    header.scp_value.close_time = TimePoint(context.close_time);
    header.tx_set_result_hash = Hash(xdr::hash(&result_set(results)?)?);
    header.bucket_list_hash = Hash(xdr::sha256(&state));
    header.ledger_seq = context.sequence;
    header.fee_pool = fee_pool;
    chain.hash = xdr::hash(header)?;
    Ok(())
}
