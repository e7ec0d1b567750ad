//! Transactions that wait for a ledger, with the answers of the network's own queue.

use std::cmp::Reverse;
use std::collections::HashMap;

use soroban_env_host::xdr::{
    AccountId, DiagnosticEvent, TransactionResult, TransactionResultExt, TransactionResultResult,
};

use crate::accounts::available_balance;
use crate::chain::{BaseFees, Chain};
use crate::close::{Batch, finish_result};
use crate::error::Internal;
use crate::frame::Frame;
use crate::settings::{BASE_FEE, LedgerLimits};
use crate::state::Lookup;
use crate::validate::{Context, Phase, Refusal, check, check_resources, disk_read_entries, refuse};
use crate::xdr::sha256;

/// After how many ledgers that did not take it a waiting transaction is dropped.
const MAX_AGE: u32 = 4;

/// For how many ledgers the hash of an applied or dropped transaction is not taken again.
const BAN_LEDGERS: u32 = 10;

/// How many times the inclusion fee of a waiting transaction its replacement must bid.
const REPLACEMENT_FACTOR: i64 = 10;

/// What the queue says to a transaction.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It waits for a ledger.
    Pending,
    /// The very same transaction waits already.
    Duplicate,
    /// Its source has another one waiting, its hash was applied or dropped lately, or the queue
    /// is full.
    TryAgainLater,
    /// It is not valid.
    Error { result: Box<TransactionResult>, diagnostics: Vec<DiagnosticEvent> },
}

/// The queue.
#[derive(Clone)]
pub(crate) struct Queue {
    waiting: Vec<Waiting>,
    /// Hash to the first ledger after which it is taken again.
    banned: HashMap<[u8; 32], u32>,
    limit: usize,
    /// Decides, with the ledger before, in which order a ledger applies its transactions.
    order_seed: u64,
}

#[derive(Clone)]
struct Waiting {
    frame: Frame,
    age: u32,
}

impl Queue {
    /// An empty queue that holds at most `limit` transactions.
    pub(crate) fn new(limit: usize, order_seed: u64) -> Self {
        Self { waiting: Vec::new(), banned: HashMap::new(), limit, order_seed }
    }

    /// Takes a transaction in, or says why not. `now` is in seconds of Unix time.
    pub(crate) fn submit(
        &mut self,
        chain: &Chain,
        frame: Frame,
        now: u64,
    ) -> Result<Answer, Internal> {
        if !frame.has_possible_fees() {
            return Ok(refused(*refuse(TransactionResultResult::TxMalformed, false)));
        }
        if self.banned.contains_key(&frame.hash) {
            return Ok(Answer::TryAgainLater);
        }

        // A resource fee above the full fee makes the bid negative.
        if frame.inclusion_fee() < 0 {
            return Ok(refused(*refuse(TransactionResultResult::TxMalformed, false)));
        }
        let context = chain.next(now);
        let source = frame.source();

        // As in stellar-core, each source account has at most one transaction waiting.
        let position = self.waiting.iter().position(|waiting| waiting.frame.source() == source);
        if let Some(position) = position
            && let Some(answer) = self.beside(&frame, position, &context)
        {
            return Ok(answer);
        }
        if position.is_none() && self.waiting.len() >= self.limit {
            return Ok(Answer::TryAgainLater);
        }

        // The whole check comes after the cheap ones: it verifies signatures.
        if let Err(refusal) = check(&frame, chain.state.as_ref(), &context, Phase::Queue) {
            return invalid(&frame, *refusal);
        }

        // All that the payer has waiting counts, or the same lumens would be promised twice.
        if !self.affordable(chain, &frame, position) {
            return Ok(refused(*refuse(TransactionResultResult::TxInsufficientBalance, true)));
        }
        let waiting = Waiting { frame, age: 0 };
        match position {
            Some(position) => self.waiting[position] = waiting,
            None => self.waiting.push(waiting),
        }
        Ok(Answer::Pending)
    }

    /// Takes out what goes into the next ledger; what is no longer valid is dropped and banned.
    pub(crate) fn take(&mut self, chain: &Chain, now: u64) -> Batch {
        let context = chain.next(now);
        let mut candidates = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let hash = waiting.frame.hash;
            if check(&waiting.frame, chain.state.as_ref(), &context, Phase::Queue).is_err() {
                self.ban(hash, context.sequence);
            } else {
                candidates.push(waiting);
            }
        }
        let (soroban, classic): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|waiting| waiting.frame.soroban().is_some());
        let limits = &context.settings.limits.ledger;
        let mut room = Room { operations: chain.header.max_tx_set_size, ..Room::new(limits) };
        let (mut frames, classic_fee, classic_left) = select(classic, &mut room);
        let (soroban_frames, soroban_fee, soroban_left) = select(soroban, &mut room);

        // The classic phase comes first. Within a phase no sender can choose the place of a
        // transaction: it depends on the ledger before, which is not known when it is sent.
        let order = |frame: &Frame| {
            let mut input = self.order_seed.to_be_bytes().to_vec();
            input.extend(chain.hash);
            input.extend(frame.hash);
            sha256(&input)
        };
        frames.sort_by_cached_key(order);
        let mut last = soroban_frames;
        last.sort_by_cached_key(order);
        frames.extend(last);

        for mut waiting in classic_left.into_iter().chain(soroban_left) {
            waiting.age += 1;
            if waiting.age == MAX_AGE {
                self.ban(waiting.frame.hash, context.sequence);
            } else {
                self.waiting.push(waiting);
            }
        }
        let base_fees = BaseFees { classic: classic_fee, soroban: soroban_fee };
        Batch { frames, base_fees, ..Batch::default() }
    }

    /// Whether any transaction waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes which transactions ledger `sequence` applied, and lifts bans that are over.
    pub(crate) fn applied(&mut self, hashes: impl Iterator<Item = [u8; 32]>, sequence: u32) {
        self.banned.retain(|_, until| *until > sequence);
        for hash in hashes {
            self.ban(hash, sequence);
        }
    }

    /// Does not take this hash again for a while. Of a fee bump it is the hash of the whole: the
    /// transaction inside may be sent again, alone or in another bump, as stellar-core has it.
    fn ban(&mut self, hash: [u8; 32], sequence: u32) {
        self.banned.insert(hash, sequence.saturating_add(BAN_LEDGERS));
    }

    /// What to say to a transaction whose source has one waiting; `None`: it may replace that one.
    fn beside(&self, frame: &Frame, position: usize, context: &Context) -> Option<Answer> {
        let waiting = &self.waiting[position].frame;

        // A fee bump that waits counts for the transaction inside it as well.
        if waiting.hash == frame.hash || waiting.inner_hash == frame.hash {
            return Some(Answer::Duplicate);
        }
        if frame.tx.seq_num < waiting.tx.seq_num {
            return Some(refused(*refuse(TransactionResultResult::TxBadSeq, false)));
        }

        // stellar-core looks at the resources before it answers to try again later.
        if let Some(data) = frame.soroban()
            && let Err(refusal) = check_resources(frame, data, context)
        {
            return Some(refused(*refusal));
        }

        // Only a fee bump with the same sequence number replaces what waits.
        if frame.bump.is_none() || frame.tx.seq_num != waiting.tx.seq_num {
            return Some(Answer::TryAgainLater);
        }

        // Fees are compared per operation, without division: a / m >= 10 * b / n.
        let old_rate_base = i128::from(waiting.min_inclusion_fee());
        let new_bid = i128::from(frame.inclusion_fee()) * old_rate_base;
        let needed = i128::from(waiting.inclusion_fee())
            * i128::from(frame.min_inclusion_fee())
            * i128::from(REPLACEMENT_FACTOR);
        if new_bid < needed {
            // Rounded up, so that exactly this fee is enough.
            let inclusion = (needed + old_rate_base - 1) / old_rate_base;
            let fee = i64::try_from(inclusion).unwrap_or(i64::MAX);
            let refusal = refuse(TransactionResultResult::TxInsufficientFee, false)
                .with_sufficient_fee(fee.saturating_add(frame.resource_fee()));
            return Some(refused(*refusal));
        }
        None
    }

    /// Whether the payer can pay this one and all of its others that wait.
    fn affordable(&self, chain: &Chain, frame: &Frame, replaced: Option<usize>) -> bool {
        let payer: AccountId = frame.fee_source();
        let Some(account) = chain.state.account(&payer) else { return false };
        let others = self.waiting.iter().enumerate().filter(|(index, waiting)| {
            Some(*index) != replaced && waiting.frame.fee_source() == payer
        });
        let owed: i64 = others.map(|(_, waiting)| waiting.frame.full_fee()).sum();
        available_balance(&account).saturating_sub(frame.full_fee()) >= owed
    }
}

/// What is still free in the next ledger.
struct Room {
    operations: u32,
    transactions: u64,
    instructions: u64,
    disk_read_entries: u64,
    disk_read_bytes: u64,
    write_entries: u64,
    write_bytes: u64,
    bytes: u64,
}

impl Room {
    fn new(limits: &LedgerLimits) -> Self {
        Self {
            operations: 0,
            transactions: limits.transactions.into(),
            // Each cluster may use the instructions of a ledger; clusters run side by side.
            instructions: limits.instructions.saturating_mul(limits.clusters.into()),
            disk_read_entries: limits.disk_read_entries.into(),
            disk_read_bytes: limits.disk_read_bytes.into(),
            write_entries: limits.write_entries.into(),
            write_bytes: limits.write_bytes.into(),
            bytes: limits.tx_bytes.into(),
        }
    }

    /// Makes room for a transaction, if there is enough for all that it needs.
    fn take(&mut self, frame: &Frame) -> bool {
        let operations = frame.min_inclusion_fee() / i64::from(BASE_FEE);
        let Some(data) = frame.soroban() else {
            let operations = u32::try_from(operations).unwrap_or(u32::MAX);
            let Some(left) = self.operations.checked_sub(operations) else { return false };
            self.operations = left;
            return true;
        };

        let resources = &data.resources;
        let length = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let needs = [
            (&mut self.transactions, u64::try_from(operations).unwrap_or(u64::MAX)),
            (&mut self.instructions, resources.instructions.into()),
            (&mut self.disk_read_entries, disk_read_entries(frame, data).into()),
            (&mut self.disk_read_bytes, resources.disk_read_bytes.into()),
            (&mut self.write_entries, length(resources.footprint.read_write.len())),
            (&mut self.write_bytes, resources.write_bytes.into()),
            (&mut self.bytes, frame.size.into()),
        ];

        // All or nothing: what does not fit uses up no part of any limit.
        if needs.iter().any(|(left, needed)| **left < *needed) {
            return false;
        }
        for (left, needed) in needs {
            *left -= needed;
        }
        true
    }
}

/// Selects what fits, the highest bids first. The answer is what was selected, what inclusion
/// costs per operation in stroops, and what has to wait.
fn select(mut candidates: Vec<Waiting>, room: &mut Room) -> (Vec<Frame>, i64, Vec<Waiting>) {
    // Ties go by hash, so that the selection does not depend on who sent first.
    candidates.sort_by_cached_key(|waiting| (Reverse(rate(&waiting.frame)), waiting.frame.hash));
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for waiting in candidates {
        // One that does not fit is passed over: smaller ones after it may still fit.
        if room.take(&waiting.frame) {
            taken.push(waiting.frame);
        } else {
            left.push(waiting);
        }
    }

    // Where not everybody fits, all pay the lowest bid that did; else everybody pays the least.
    let least = i64::from(BASE_FEE);
    let fee = match taken.iter().map(rate).min() {
        Some(lowest) if !left.is_empty() => lowest.max(least),
        _ => least,
    };
    (taken, fee, left)
}

/// The bid per operation, in stroops.
fn rate(frame: &Frame) -> i64 {
    let operations = frame.min_inclusion_fee() / i64::from(BASE_FEE);
    frame.inclusion_fee() / operations.max(1)
}

/// A refusal by a rule of the queue itself. stellar-core makes its result of the code alone, also
/// for a fee bump, so that no fee is in it unless the rule names the one that would suffice.
fn refused(refusal: Refusal) -> Answer {
    let fee_charged = refusal.sufficient_fee.unwrap_or(0);
    let (result, ext) = (refusal.result, TransactionResultExt::V0);
    let result = TransactionResult { fee_charged, result, ext };
    Answer::Error { result: Box::new(result), diagnostics: refusal.diagnostics }
}

/// A refusal by the checks of the transaction, which names the fee it would have cost.
fn invalid(frame: &Frame, refusal: Refusal) -> Result<Answer, Internal> {
    let fee = refusal.sufficient_fee.unwrap_or_else(|| frame.least_fee());

    // Some refusals are the fee bump's own; all others are reported as its inner result.
    let result = if refusal.outer {
        let (result, ext) = (refusal.result, TransactionResultExt::V0);
        TransactionResult { fee_charged: fee, result, ext }
    } else {
        finish_result(frame, refusal.result, fee)?
    };
    Ok(Answer::Error { result: Box::new(result), diagnostics: refusal.diagnostics })
}
