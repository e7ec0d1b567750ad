//! Transactions that wait for a ledger, with the answers of the network's own queue.

use std::collections::HashMap;

use soroban_env_host::xdr::{
    AccountId, DiagnosticEvent, TransactionResult, TransactionResultResult,
};

use crate::chain::Chain;
use crate::close::finish_result;
use crate::error::Internal;
use crate::frame::Frame;
use crate::state::Lookup;
use crate::validate::{Context, Phase, Refusal, available_balance, check, refuse};

/// How many ledgers a waiting transaction outlives before it is dropped.
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
    /// Its source has another one waiting, its hash was applied or dropped lately, or the queue is full.
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
}

#[derive(Clone)]
struct Waiting {
    frame: Frame,
    age: u32,
}

impl Queue {
    /// An empty queue that holds at most `limit` transactions.
    pub(crate) fn new(limit: usize) -> Self {
        Self { waiting: Vec::new(), banned: HashMap::new(), limit }
    }

    /// Takes a transaction in, or says why not. `now` is in seconds of Unix time.
    pub(crate) fn submit(
        &mut self,
        chain: &Chain,
        frame: Frame,
        now: u64,
    ) -> Result<Answer, Internal> {
        if self.banned.contains_key(&frame.hash) {
            return Ok(Answer::TryAgainLater);
        }
        if frame.full_fee() < 0 || frame.inclusion_fee() < 0 {
            return error(&frame, *refuse(TransactionResultResult::TxMalformed, false));
        }
        let context = chain.next(now);
        let source = frame.source();
        let position = self.waiting.iter().position(|waiting| waiting.frame.source() == source);
        if let Some(position) = position
            && let Some(answer) = self.beside(&frame, position, &context)?
        {
            return Ok(answer);
        }
        if position.is_none() && self.waiting.len() >= self.limit {
            return Ok(Answer::TryAgainLater);
        }
        if let Err(refusal) = check(&frame, chain.state.as_ref(), &context, Phase::Queue) {
            return error(&frame, *refusal);
        }
        if !self.affordable(chain, &frame, position) {
            return error(&frame, *refuse(TransactionResultResult::TxInsufficientBalance, true));
        }
        let waiting = Waiting { frame, age: 0 };
        match position {
            Some(position) => self.waiting[position] = waiting,
            None => self.waiting.push(waiting),
        }
        Ok(Answer::Pending)
    }

    /// Takes out what goes into the next ledger; what is no longer valid is dropped and banned.
    pub(crate) fn take(&mut self, chain: &Chain, now: u64) -> Vec<Frame> {
        let context = chain.next(now);
        let room = usize::try_from(context.settings.limits.ledger_transactions).unwrap_or(0);
        let mut taken = Vec::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            let hash = waiting.frame.hash;
            if check(&waiting.frame, chain.state.as_ref(), &context, Phase::Queue).is_err() {
                self.ban(hash, context.sequence);
            } else if taken.len() < room {
                taken.push(waiting.frame);
            } else if waiting.age >= MAX_AGE {
                self.ban(hash, context.sequence);
            } else {
                waiting.age += 1;
                self.waiting.push(waiting);
            }
        }
        taken
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

    fn ban(&mut self, hash: [u8; 32], sequence: u32) {
        self.banned.insert(hash, sequence.saturating_add(BAN_LEDGERS));
    }

    /// What to say to a transaction whose source has one waiting; `None`: it may replace that one.
    fn beside(
        &self,
        frame: &Frame,
        position: usize,
        context: &Context,
    ) -> Result<Option<Answer>, Internal> {
        let waiting = &self.waiting[position].frame;
        if waiting.hash == frame.hash {
            return Ok(Some(Answer::Duplicate));
        }
        if frame.tx.seq_num < waiting.tx.seq_num {
            let refusal = refuse(TransactionResultResult::TxBadSeq, false);
            return error(frame, *refusal).map(Some);
        }
        if let Some(data) = frame.soroban()
            && let Err(refusal) = crate::resources::check(frame, data, context)
        {
            return error(frame, *refusal).map(Some);
        }
        if frame.bump.is_none() || frame.tx.seq_num != waiting.tx.seq_num {
            return Ok(Some(Answer::TryAgainLater));
        }
        // Fees are compared per operation: a / m >= 10 * b / n.
        let new_bid = i128::from(frame.inclusion_fee()) * i128::from(waiting.min_inclusion_fee());
        let old_bid = i128::from(waiting.inclusion_fee()) * i128::from(frame.min_inclusion_fee());
        if new_bid < old_bid * i128::from(REPLACEMENT_FACTOR) {
            let refusal = refuse(TransactionResultResult::TxInsufficientFee, false);
            return error(frame, *refusal).map(Some);
        }
        Ok(None)
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

fn error(frame: &Frame, refusal: Refusal) -> Result<Answer, Internal> {
    let fee = match refusal.result {
        // Tells what would have sufficed.
        TransactionResultResult::TxInsufficientFee => {
            let resource_fee = frame.soroban().map_or(0, |data| data.resource_fee);
            frame.min_inclusion_fee().saturating_add(resource_fee)
        }
        _ => frame.charged_fee(),
    };
    let result = Box::new(finish_result(frame, refusal.result, fee)?);
    Ok(Answer::Error { result, diagnostics: refusal.diagnostics })
}
