//! Closing a ledger: fees first, then the transactions in order, then what is given back.

use std::sync::Arc;

use soroban_env_host::xdr::{
    AccountId, ExtensionPoint, Hash, InnerTransactionResult, InnerTransactionResultExt,
    InnerTransactionResultPair, LedgerEntryChange, LedgerEntryChanges, TimePoint, TransactionEvent,
    TransactionEventStage, TransactionMeta, TransactionMetaV4, TransactionResult,
    TransactionResultExt, TransactionResultResult,
};

use crate::apply::{Outcome, apply, random_seed};
use crate::chain::{AppliedTransaction, Chain, ClosedLedger};
use crate::error::Internal;
use crate::events::{TransactionPlace, fee_event, index_events};
use crate::frame::Frame;
use crate::state::{Changes, Lookup, Overlay, State};
use crate::validate::Context;
use crate::xdr::{self, vecm};

/// Closes the next ledger over `chain` at `now` seconds of Unix time, with transactions that were valid before it.
pub(crate) fn close(chain: &mut Chain, frames: &[Frame], now: u64) -> Result<(), Internal> {
    let context = chain.next(now);
    let mut state = chain.state.clone();
    let working = Arc::make_mut(&mut state);
    working.evict(context.sequence);
    let mut changes = Vec::new();
    let mut fees = Vec::with_capacity(frames.len());
    for frame in frames {
        let payer = frame.fee_source();
        fees.push(move_fee(working, &context, &payer, -frame.charged_fee(), &mut changes)?);
    }
    let mut applied = Vec::with_capacity(frames.len());
    for (position, frame) in (1_u32..).zip(frames) {
        let seed = random_seed(chain.hash, position);
        let (outcome, done) = apply(frame, working, &context, seed)
            .or_else(|error| broken(&error, working, &context))?;
        changes.extend(done.describe(working));
        working.commit(done);
        applied.push(outcome);
    }
    let mut ledger = Ledger { context: &context, frames, results: Vec::new() };
    let mut fee_pool = chain.header.fee_pool;
    for (index, (outcome, taken)) in applied.into_iter().zip(fees).enumerate() {
        let payer = frames[index].fee_source();
        let refund = outcome.refund.min(-taken);
        let back = move_fee(working, &context, &payer, refund, &mut changes)?;
        fee_pool = fee_pool.saturating_sub(taken).saturating_sub(back);
        ledger.record(chain, index, outcome, (-taken, back))?;
    }
    let transactions = frames.iter().map(|frame| frame.hash).collect();
    chain.state = state;
    chain.modules.learn(&changes)?;
    seal(chain, &ledger, &changes, fee_pool)?;
    chain.ledgers.push_back(ClosedLedger {
        sequence: context.sequence,
        close_time: context.close_time,
        hash: chain.hash,
        transactions,
    });
    chain.trim();
    Ok(())
}

/// The ledger that is being closed.
struct Ledger<'a> {
    context: &'a Context,
    frames: &'a [Frame],
    results: Vec<TransactionResult>,
}

impl Ledger<'_> {
    /// Writes a transaction and its events into the history; `fees` are taken and given back, in stroops.
    fn record(
        &mut self,
        chain: &mut Chain,
        index: usize,
        outcome: Outcome,
        fees: (i64, i64),
    ) -> Result<(), Internal> {
        let frame = &self.frames[index];
        let position = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        let successful = matches!(outcome.result, TransactionResultResult::TxSuccess(_));
        let mut meta = outcome.meta;
        let payer = frame.fee_source();
        meta.events = vecm(fee_events(self.context, &payer, fees)?)?;
        let place = TransactionPlace {
            ledger: self.context.sequence,
            position,
            transaction: frame.hash,
            successful,
        };
        index_events(&mut chain.events, place, &meta);
        let result = finish_result(frame, outcome.result, fees.0.saturating_sub(fees.1))?;
        let operations = i64::try_from(frame.tx.operations.len().max(1)).unwrap_or(i64::MAX);
        let transaction = AppliedTransaction {
            ledger: self.context.sequence,
            close_time: self.context.close_time,
            position,
            successful,
            fee_bump: frame.bump.is_some(),
            soroban: frame.soroban().is_some(),
            inclusion_fee: u64::try_from(frame.inclusion_fee() / operations).unwrap_or(0),
            envelope: xdr::bytes(&frame.envelope)?,
            result: xdr::bytes(&result)?,
            meta: xdr::bytes(&TransactionMeta::V4(meta))?,
        };
        self.results.push(result);
        chain.transactions.insert(frame.hash, Arc::new(transaction));
        Ok(())
    }
}

/// A transaction that ran into a defect of the network: it fails, the network goes on.
fn broken(
    error: &Internal,
    state: &State,
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

/// Adds `amount` stroops to the payer, or takes as much as it has; the answer is what was moved.
fn move_fee(
    state: &mut State,
    context: &Context,
    payer: &AccountId,
    amount: i64,
    changes: &mut Vec<LedgerEntryChange>,
) -> Result<i64, Internal> {
    let Some(mut account) = state.account(payer) else { return Ok(0) };
    let moved = amount.max(-account.balance);
    if moved == 0 {
        return Ok(0);
    }
    account.balance = account.balance.saturating_add(moved);
    let mut overlay = Overlay::new(state, context.sequence);
    overlay.put_account(account);
    let done = overlay.finish();
    changes.extend(done.describe(state));
    state.commit(done);
    Ok(moved)
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

/// Writes the header. The state's hash is a chain over all changes, for want of a bucket list.
fn seal(
    chain: &mut Chain,
    ledger: &Ledger<'_>,
    changes: &[LedgerEntryChange],
    fee_pool: i64,
) -> Result<(), Internal> {
    let header = &mut chain.header;
    let mut state = header.bucket_list_hash.0.to_vec();
    for change in changes {
        state.extend(xdr::bytes(change)?);
    }
    let mut set = chain.hash.to_vec();
    ledger.frames.iter().for_each(|frame| set.extend(frame.hash));
    let mut results = Vec::new();
    for result in &ledger.results {
        results.extend(xdr::bytes(result)?);
    }
    header.previous_ledger_hash = Hash(chain.hash);
    header.scp_value.tx_set_hash = Hash(xdr::sha256(&set));
    header.scp_value.close_time = TimePoint(ledger.context.close_time);
    header.tx_set_result_hash = Hash(xdr::sha256(&results));
    header.bucket_list_hash = Hash(xdr::sha256(&state));
    header.ledger_seq = ledger.context.sequence;
    header.fee_pool = fee_pool;
    chain.hash = xdr::hash(header)?;
    Ok(())
}
