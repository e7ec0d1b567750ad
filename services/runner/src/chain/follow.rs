//! From a stored transaction to its end, and what the end means for each of its calls (R13).
//!
//! What was signed is in the database before it is sent, what was sent is looked up before anything
//! else happens, the same bytes are sent until something is proven, and no call is signed anew
//! before its old transaction can no longer land and contract state has been asked. Transaction,
//! calls and the wake-ups of their runs change in one transaction of the database.
//!
//! A result is looked up by hash after each ledger, and not waited for among the contracts' events:
//! a transaction that failed has none, and an absence proves something only beside the node's
//! clock, which is in the same answer. It is one request a channel and ledger, however many calls
//! there are. Nor does a late or incomplete reading of events hold up a run.

use std::time::Duration;

use chassis::postgres;
use rand::Rng as _;
use stellar::rpc::{Applied, Outcome, TransactionStatus};
use stellar::vault::{self, RunReceipt, Vault};
use stellar::{ChainError, ContractError, ContractKind, scval};
use stellar_xdr::ScVal;
use tokio::time::{Instant, timeout_at};
use wire::{TxHash, VaultRunId};

use crate::chain::answers::{classify, failure, found, landed};
use crate::chain::call::{self, Arguments, CallState, Member};
use crate::chain::calls::{address, on_chain};
use crate::chain::client::ChainClient;
use crate::chain::decide::{
    AfterEnd, AfterLookup, AfterSend, AfterState, Answered, End, Lookup, SendAnswer, after_end,
    after_lookup, after_send, after_state, record_lives_until,
};
use crate::chain::network::{LedgerMark, NodeStatus, compare};
use crate::chain::outcomes::{self, Follow, Shortage};
use crate::chain::sign::codes;
use crate::chain::store::calls::{self, CallUpdate};
use crate::chain::store::channels;
use crate::chain::store::fees::{self, Bump};
use crate::chain::store::{self, ChannelLease, Ended};
use crate::chain::transaction::{Kind, Transaction, TransactionState};
use crate::crash;
use crate::error::{Error, Result};
use crate::metrics;

/// Pause before the same bytes are sent again, after a look-up that is made with or without a new
/// ledger.
const RESEND: Duration = Duration::from_secs(3);
/// How old a look at a run's chances may be for the vault's refusal of its opening to be the last
/// word: an older one is taken again, since the agent's terms may have changed since.
const JUDGED_FOR_SECS: i64 = 5;

/// The code of a refusal for a sequence number that is not the account's next one.
const BAD_SEQUENCE: &str = "TxBadSeq";
const EXPIRED: &str = "it did not land before its last moment, or its sequence number was used";
const FORGOTTEN: &str = "no node that answered keeps history back to it";

/// What an answer to a send means for what is done next.
enum Sent {
    /// The transaction has ended.
    Ended,
    /// Nothing is known, and the sequence number may be used up.
    BadSequence,
    /// Nothing is known.
    Unknown,
}

/// What a look-up means for what is done next.
enum Looked {
    /// The transaction has ended.
    Ended,
    /// It is in no ledger up to this one.
    Waits(u32),
    /// Nothing is known.
    Nothing,
}

impl ChainClient {
    /// Carries a channel's live transaction to its end.
    ///
    /// # Errors
    ///
    /// When the database does not answer, or the channel is another process's; nothing is lost by
    /// it: the next holder of the channel goes on.
    pub async fn follow(&self, channel: &ChannelLease, transaction: &Transaction) -> Result<()> {
        let mut bumps = fees::bumps(&self.db, transaction.id).await?;
        let mut pulse = self.pulse.subscribe();
        let mut send_at = Instant::now();
        let mut doubt = transaction.last_answer.as_deref() == Some(BAD_SEQUENCE);
        // What may have been sent before is looked up before it is sent again.
        let mut look_first = transaction.state != TransactionState::Prepared;
        loop {
            if !look_first && Instant::now() >= send_at {
                match self.send(channel, transaction, bumps.last()).await? {
                    Sent::Ended => return Ok(()),
                    Sent::BadSequence => doubt = true,
                    Sent::Unknown => {}
                }
                send_at = Instant::now() + RESEND;
            }
            if !look_first {
                // A transaction becomes something else only when a ledger closes. Without a pulse,
                // because the node does not answer or lags, it is asked for directly.
                let _ = timeout_at(send_at, pulse.changed()).await;
            }
            look_first = false;

            // Before the look-up: a ledger that closes during it is looked at again.
            pulse.mark_unchanged();
            let ledger = match self.look_up(transaction, &bumps, doubt).await? {
                Looked::Ended => return Ok(()),
                Looked::Waits(ledger) => ledger,
                Looked::Nothing => continue,
            };
            if let Some(bump) = self.raise_fee(channel, transaction, &bumps, ledger).await? {
                bumps.push(bump);
                send_at = Instant::now();
            }
        }
    }

    /// Sends the stored bytes: those of the newest fee bump, if there is one.
    async fn send(
        &self,
        channel: &ChannelLease,
        transaction: &Transaction,
        bump: Option<&Bump>,
    ) -> Result<Sent> {
        // Counted before it happens: a second send proves less than the first. A bump counts as
        // a send of what it carries.
        let sends = store::count_send(&self.db, channel, transaction.id).await?;
        if let Some(bump) = bump {
            fees::count_send(&self.db, channel, bump.id).await?;
        }
        let envelope = bump.map_or(&transaction.envelope, |bump| &bump.envelope);
        let answer = self.rpc.send(&self.network, envelope).await;
        match bump {
            Some(_) => crash::point("bump.after_send"),
            None => self.crash_point(transaction.kind, "after_send"),
        }
        let (answer, words) = classify(answer);
        tracing::debug!(hash = %transaction.hash, sends, "{} was sent: {words}", transaction.kind);
        // A refusal proves little (R13), but it says at once what an operator has to give.
        if matches!(answer, SendAnswer::Refused | SendAnswer::RefusedForGood) {
            self.shortages.note(outcomes::result(&words), &words);
        }
        // What is refused of a bump is the bump: what it carries may land by another envelope.
        if bump.is_none() && after_send(sends == 1, answer) == AfterSend::Rejected {
            let ended = Ended {
                state: TransactionState::Rejected,
                words: words.clone(),
                contract_error: None,
                landed: None,
            };
            if self.finish(transaction, ended, None).await? {
                return Ok(Sent::Ended);
            }
        }
        store::note(&self.db, transaction.id, &words).await?;
        Ok(if words == BAD_SEQUENCE { Sent::BadSequence } else { Sent::Unknown })
    }

    /// What a node says of a transaction, by its own hash and by those of its fee bumps: the node
    /// at this place, or whichever has the turn.
    ///
    /// The clock is the most cautious of all answers: nothing is absent before every hash was
    /// asked for late enough, of a node whose history reaches back far enough.
    async fn status(
        &self,
        place: Option<usize>,
        transaction: &Transaction,
        bumps: &[Bump],
    ) -> std::result::Result<TransactionStatus, ChainError> {
        let mut status = self.ask_for(place, &transaction.hash).await?;
        for bump in bumps.iter().rev() {
            if status.outcome != Outcome::NotFound {
                break;
            }
            let by_bump = self.ask_for(place, &bump.hash).await?;
            status.outcome = by_bump.outcome;
            let (all, this) = (&mut status.clock, by_bump.clock);
            if this.latest_ledger < all.latest_ledger {
                (all.latest_ledger, all.latest_close) = (this.latest_ledger, this.latest_close);
            }
            if this.oldest_ledger > all.oldest_ledger {
                (all.oldest_ledger, all.oldest_close) = (this.oldest_ledger, this.oldest_close);
            }
        }
        Ok(status)
    }

    async fn ask_for(
        &self,
        place: Option<usize>,
        hash: &TxHash,
    ) -> std::result::Result<TransactionStatus, ChainError> {
        match place {
            Some(place) => self.rpc.transaction_at(place, hash).await,
            None => self.rpc.transaction(hash).await,
        }
    }

    /// Asks each node separately, once, for a transaction that one has forgotten: another may keep
    /// more history. Its answer and what follows from it; `None` if none knows more.
    async fn ask_every_node(
        &self,
        transaction: &Transaction,
        bumps: &[Bump],
        (sequence_used_at, high_water): (Option<u32>, u32),
    ) -> Result<Option<(TransactionStatus, AfterLookup)>> {
        if self.rpc.nodes() < 2 {
            return Ok(None);
        }
        let known = store::high_water(&self.db, *self.network.id()).await?;
        for place in 0..self.rpc.nodes() {
            let number = place + 1;
            let status = match self.status(Some(place), transaction, bumps).await {
                Ok(status) => status,
                Err(error) => {
                    tracing::warn!("node {number} does not say what it keeps: {error}");
                    continue;
                }
            };
            // Nothing that was seen in another history is about this transaction.
            let seen = LedgerMark::newest(&status.clock);
            if known.is_some_and(|known| compare(&known, &seen) == NodeStatus::NetworkReset) {
                tracing::warn!("node {number} has another history: its answer is ignored");
                continue;
            }
            let lookup = lookup(&status, sequence_used_at);
            match after_lookup(transaction.signed(), lookup, high_water) {
                AfterLookup::Again | AfterLookup::Forgotten => {}
                follows => {
                    let (hash, kind) = (&transaction.hash, transaction.kind);
                    tracing::info!(%hash, "node {number} remembers {kind}, which another forgot");
                    return Ok(Some((status, follows)));
                }
            }
        }
        Ok(None)
    }

    /// Asks for the transaction. With `doubt`, another transaction may have used its sequence
    /// number.
    async fn look_up(
        &self,
        transaction: &Transaction,
        bumps: &[Bump],
        doubt: bool,
    ) -> Result<Looked> {
        let kind = transaction.kind;
        // Read before the look-up: the look-up must be of this ledger or a later one.
        let sequence_used_at = if doubt { self.sequence_used_at(transaction).await? } else { None };
        let mut status = match self.status(None, transaction, bumps).await {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(hash = %transaction.hash, "{kind} cannot be looked up: {error}");
                return Ok(Looked::Nothing);
            }
        };
        let high_water = match self.observe(&status.clock).await {
            Ok(ledger) => ledger,
            Err(Error::Chain(error)) => {
                tracing::warn!("{error}");
                return Ok(Looked::Nothing);
            }
            Err(error) => return Err(error),
        };
        let lookup = lookup(&status, sequence_used_at);
        let mut follows = after_lookup(transaction.signed(), lookup, high_water);
        if follows == AfterLookup::Forgotten {
            // One node's word alone says nothing about what others keep.
            let so_far = (sequence_used_at, high_water);
            if let Some(known) = self.ask_every_node(transaction, bumps, so_far).await? {
                (status, follows) = known;
            }
        }
        let (contract_error, words) = failure(&status.outcome);
        let (state, words) = match follows {
            AfterLookup::Again => return Ok(Looked::Waits(status.clock.latest_ledger)),
            AfterLookup::Succeeded => (TransactionState::Succeeded, "SUCCESS".to_owned()),
            AfterLookup::Failed => (TransactionState::Failed, words),
            AfterLookup::Expired => (TransactionState::Expired, EXPIRED.to_owned()),
            AfterLookup::Forgotten => (TransactionState::Forgotten, FORGOTTEN.to_owned()),
        };
        self.crash_point(kind, "after_land");
        let ended = Ended { state, words, contract_error, landed: landed(&status.outcome)? };
        let applied = match &status.outcome {
            Outcome::Applied(applied) => Some(applied.as_ref()),
            Outcome::NotFound => None,
        };
        if !self.finish(transaction, ended, applied).await? {
            // Another process ended it, or a rejection was overtaken by a send: look again.
            let is_live = self.is_live(transaction).await?;
            return Ok(if is_live { Looked::Nothing } else { Looked::Ended });
        }
        if state == TransactionState::Succeeded {
            self.shortages.clear();
        }
        self.crash_point(kind, "after_result");
        Ok(Looked::Ended)
    }

    async fn is_live(&self, transaction: &Transaction) -> Result<bool> {
        let live = store::live(&self.db, &transaction.source).await?;
        Ok(live.is_some_and(|live| live.id == transaction.id))
    }

    /// The ledger by which the channel's account had used this sequence number, if it had.
    async fn sequence_used_at(&self, transaction: &Transaction) -> Result<Option<u32>> {
        // Of the transaction's own channel: another process may have signed it with another one.
        let source = address(&transaction.source)?;
        match self.rpc.account(&source).await {
            Ok(Some(account)) if account.sequence >= transaction.sequence => {
                Ok(Some(account.ledger))
            }
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!("the channel's account cannot be read: {error}");
                Ok(None)
            }
        }
    }

    /// Stores the end of a transaction with what it means for its calls, and wakes their runs.
    /// `false` if it was ended otherwise meanwhile: nothing was changed then.
    async fn finish(
        &self,
        transaction: &Transaction,
        ended: Ended,
        applied: Option<&Applied>,
    ) -> Result<bool> {
        let mut over = transaction.clone();
        over.state = ended.state;
        over.contract_error = ended.contract_error;
        over.last_answer = Some(ended.words.clone());
        over.landed.clone_from(&ended.landed);
        let members = calls::members(&self.db, over.id).await?;
        let updates = self.judge(&over, &members, applied).await?;
        let runs: Vec<_> = members.iter().map(|member| member.run).collect();

        let mut tx = chassis::postgres::begin(&self.db).await?;
        calls::lock_runs(&mut tx, &runs).await?;
        if !store::end(&mut tx, over.id, &ended).await? {
            return Ok(false);
        }
        let changed = match calls::conclude(&mut tx, &over, &updates).await {
            Ok(changed) => changed,
            Err(Error::CallGone) => return Ok(false),
            Err(error) => return Err(error),
        };
        if over.kind == Kind::Channel {
            let words = Self::order_words(ended.state, &ended.words);
            channels::conclude(&mut tx, &over, ended.state, &words).await?;
        }
        postgres::commit(tx).await?;
        measure(&over, &ended, updates.len());
        self.measure_calls(over.kind, &updates, &changed).await;
        tracing::info!(
            hash = %over.hash,
            calls = updates.len(),
            "{} ended: {}",
            over.kind,
            ended.words
        );
        Ok(true)
    }

    /// Judges the calls of a transaction that has ended before: an older release ended it, or an
    /// operator wants them judged again.
    ///
    /// # Errors
    ///
    /// When the database or the node does not answer.
    pub async fn judge_ended(&self, transaction: &Transaction) -> Result<()> {
        let members = calls::members(&self.db, transaction.id).await?;
        let status = match transaction.state {
            // Answers of single calls are kept; those of a batch are in its events.
            TransactionState::Succeeded if members.iter().any(|member| member.together > 1) => {
                let bumps = fees::bumps(&self.db, transaction.id).await?;
                Some(self.status(None, transaction, &bumps).await?)
            }
            _ => None,
        };
        let applied = status.as_ref().and_then(|status| match &status.outcome {
            Outcome::Applied(applied) => Some(applied.as_ref()),
            Outcome::NotFound => None,
        });
        let updates = self.judge(transaction, &members, applied).await?;
        let runs: Vec<_> = members.iter().map(|member| member.run).collect();
        let mut tx = chassis::postgres::begin(&self.db).await?;
        calls::lock_runs(&mut tx, &runs).await?;
        match calls::conclude(&mut tx, transaction, &updates).await {
            Ok(changed) => {
                postgres::commit(tx).await?;
                self.measure_calls(transaction.kind, &updates, &changed).await;
                Ok(())
            }
            // Another process was faster.
            Err(Error::CallGone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Records in the metrics which calls ended, and what the runs cost whose escrow was closed.
    async fn measure_calls(
        &self,
        kind: Kind,
        updates: &[CallUpdate],
        changed: &[(Kind, CallState)],
    ) {
        call::count_ends(changed);
        if kind == Kind::Open {
            return;
        }
        let closed = updates.iter().filter(|update| update.state == CallState::Done);
        let closed: Vec<i64> = closed.map(|update| update.call).collect();
        match fees::charged_by_closing(&self.db, &closed).await {
            Ok(charged) => charged.into_iter().for_each(metrics::run_closed),
            // What was done is stored: it must not fail for a figure.
            Err(error) => {
                tracing::debug!("what runs cost is not known now: {}", error.logged());
            }
        }
    }

    /// What the end of a transaction means for each of its calls.
    async fn judge(
        &self,
        transaction: &Transaction,
        members: &[Member],
        applied: Option<&Applied>,
    ) -> Result<Vec<CallUpdate>> {
        let mut updates = Vec::with_capacity(members.len());
        for member in members {
            updates.push(self.judge_call(transaction, member, applied).await?);
        }
        Ok(updates)
    }

    async fn judge_call(
        &self,
        transaction: &Transaction,
        member: &Member,
        applied: Option<&Applied>,
    ) -> Result<CallUpdate> {
        let kind = transaction.kind;
        let words = transaction.last_answer.clone().unwrap_or_default();
        let update = |state| CallUpdate::new(member.call, member.run, state, words.clone());
        let end = match transaction.state {
            TransactionState::Succeeded => End::Succeeded,
            TransactionState::Failed => End::Failed,
            TransactionState::Rejected => End::Rejected,
            TransactionState::Expired | TransactionState::Forgotten => End::Gone,
            TransactionState::Prepared | TransactionState::Sent | TransactionState::Unknown => {
                return Err(Error::Broken("a live transaction is not judged".into()));
            }
        };
        let part = self.part(transaction, member, applied);
        let proof = match end {
            End::Gone => Some(self.proof(kind, member).await?),
            End::Succeeded | End::Failed | End::Rejected => None,
        };
        Ok(match after_end(end, member.together, part.answered(), proof) {
            AfterEnd::Done => match part {
                Part::Done(result) => {
                    CallUpdate { code: Some(0), result: Some(result), ..update(CallState::Done) }
                }
                // It was done before this transaction, whose answer has no receipt: the vault
                // answers the kept one to a call of its own.
                _ => CallUpdate {
                    bundle: Some(alone(member.call)),
                    repeats: true,
                    ..update(CallState::Wanted)
                },
            },
            AfterEnd::DoneByState => self.done_by_state(kind, member, update),
            AfterEnd::Again => {
                let shortage = match end {
                    End::Rejected => outcomes::result(&words),
                    End::Succeeded | End::Failed | End::Gone => Shortage::Network,
                };
                self.wait(shortage, member.failures, update(CallState::Wanted))
            }
            AfterEnd::Split => CallUpdate {
                bundle: Some(half(transaction.id, member)),
                ..update(CallState::Wanted)
            },
            AfterEnd::Refused => match part {
                Part::Error(error) => {
                    CallUpdate { code: Some(error.code), ..self.refused(kind, member, &error) }
                }
                Part::Done(_) | Part::DoneBefore | Part::Nothing => update(CallState::Unknown),
            },
            AfterEnd::Unknown if end == End::Succeeded => {
                let words = format!(
                    "{kind} {} landed, and its answer cannot be read; compare the vault's version \
                     with this release's, then resume the run",
                    transaction.hash
                );
                CallUpdate { words, ..update(CallState::Unknown) }
            }
            AfterEnd::Unknown => {
                let words = format!(
                    "{kind} {} cannot land any more, and the vault has no record that shows \
                     whether it did",
                    transaction.hash
                );
                CallUpdate { words, ..update(CallState::Unknown) }
            }
        })
    }

    /// A call that contract state shows as done, though its transaction's answer is lost.
    fn done_by_state(
        &self,
        kind: Kind,
        member: &Member,
        update: impl Fn(CallState) -> CallUpdate,
    ) -> CallUpdate {
        let answer = match kind {
            Kind::Open => member.vault_run_id.and_then(|id| scval::bytes(id.as_bytes()).ok()),
            Kind::Void | Kind::Reclaim => Some(ScVal::Void),
            // Only the vault knows what was charged: it answers the kept receipt again.
            Kind::Finalize | Kind::Channel => None,
        };
        match answer.and_then(|answer| scval::to_xdr(&answer).ok()) {
            Some(result) => {
                CallUpdate { code: Some(0), result: Some(result), ..update(CallState::Done) }
            }
            None => CallUpdate {
                bundle: Some(alone(member.call)),
                repeats: true,
                ..update(CallState::Wanted)
            },
        }
    }

    /// What a transaction that has landed says about one of its calls.
    fn part(&self, transaction: &Transaction, member: &Member, applied: Option<&Applied>) -> Part {
        if transaction.state == TransactionState::Failed {
            let error = transaction.contract_error;
            return error.map_or(Part::Nothing, |code| {
                Part::Error(ContractError::new(ContractKind::Vault, code))
            });
        }
        let result = transaction.landed.as_ref().and_then(|landed| landed.result.clone());
        let Some(result) = result.filter(|_| transaction.state == TransactionState::Succeeded)
        else {
            return Part::Nothing;
        };
        if member.together < 2 {
            return Part::Done(result);
        }
        let Ok(value) = scval::from_xdr::<ScVal>("the answer of a batch", &result) else {
            return Part::Nothing;
        };
        let codes = codes(&value).filter(|codes| codes.len() == member.together);
        match codes.and_then(|codes| codes.get(member.place).copied()) {
            None => Part::Nothing,
            Some(0) => self.part_of_batch(transaction.kind, member, applied),
            Some(code) => Part::Error(ContractError::new(ContractKind::Vault, code)),
        }
    }

    /// The answer that the call would have had alone.
    fn part_of_batch(&self, kind: Kind, member: &Member, applied: Option<&Applied>) -> Part {
        let Some(run) = member.vault_run_id else { return Part::Nothing };
        let answer = match kind {
            Kind::Open => scval::bytes(run.as_bytes()).ok(),
            Kind::Finalize => match self.receipt(member, &run, applied) {
                Some(receipt) => receipt.to_val().ok(),
                None => return Part::DoneBefore,
            },
            Kind::Void | Kind::Reclaim | Kind::Channel => None,
        };
        let answer = answer.and_then(|answer| scval::to_xdr(&answer).ok());
        answer.map_or(Part::Nothing, Part::Done)
    }

    /// The receipt of a settlement in a batch, from its event.
    fn receipt(
        &self,
        member: &Member,
        run: &VaultRunId,
        applied: Option<&Applied>,
    ) -> Option<RunReceipt> {
        let Some(Arguments::Finalize { terms, .. }) = &member.arguments else { return None };
        let event = vault::finalized(applied?, &Vault(self.vault), run).ok()??;
        Some(event.receipt(&on_chain(terms).ok()?))
    }

    /// What contract state proves about a call whose transaction can no longer land.
    async fn proof(&self, kind: Kind, member: &Member) -> Result<AfterState> {
        let Some(run) = member.vault_run_id else { return Ok(AfterState::Unknown) };
        let span = calls::span(&self.db, member.call).await?;
        let (record, ledger) = self.effect(kind, run).await?;
        let lives_until =
            record_lives_until(span.first_ledger, span.last_max_time, member.deadline);
        Ok(after_state(kind == Kind::Open, record, ledger, lives_until))
    }

    /// What follows for a call that the vault refused in a transaction.
    fn refused(&self, kind: Kind, member: &Member, error: &ContractError) -> CallUpdate {
        let subject = Refused {
            call: member.call,
            run: member.run,
            failures: member.failures,
            judged_at: judged_at(member.arguments.as_ref()),
            together: member.together,
        };
        self.after_refusal(kind, &subject, error)
    }

    /// What follows for a call that the vault refuses, signed or not (R16).
    pub(crate) fn after_refusal(
        &self,
        kind: Kind,
        subject: &Refused,
        error: &ContractError,
    ) -> CallUpdate {
        let words = error.to_string();
        let update = |state| CallUpdate::new(subject.call, subject.run, state, words.clone());
        let refused = |is_final| CallUpdate {
            error: Some(error.code),
            is_final,
            ..update(CallState::Refused)
        };
        // A batch names the agent's terms in its head, and they may have changed since the run's
        // chances were looked at. They are looked at again before the vault's word counts.
        let now = chassis::clock::now().unix_timestamp();
        let is_stale = subject.judged_at.is_some_and(|at| now - at > JUDGED_FOR_SECS);
        let head_changed = subject.together > 1 && error.name == "RunTermsMismatch";
        let follow = outcomes::contract(kind, error);
        let is_refusal = matches!(follow, Follow::Refused | Follow::AskRecord);
        if kind == Kind::Open && is_refusal && (is_stale || head_changed) {
            return update(CallState::Late);
        }
        match follow {
            Follow::Refused => refused(true),
            Follow::AskRecord => refused(false),
            Follow::Wait(shortage) => {
                self.wait(shortage, subject.failures, update(CallState::Wanted))
            }
            Follow::SignAgain => {
                self.wait(Shortage::Network, subject.failures, update(CallState::Wanted))
            }
            Follow::Operator => update(CallState::Unknown),
        }
    }

    /// Waits because of `shortage`, longer each time, and lets the service be degraded (R16).
    pub(crate) fn wait(&self, shortage: Shortage, failures: u32, update: CallUpdate) -> CallUpdate {
        self.shortages.note(shortage, &update.words);
        CallUpdate { pause: backoff(failures), ..update }
    }
}

/// A call that the vault refuses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused {
    pub call: i64,
    pub run: wire::RunId,
    pub failures: u32,
    pub judged_at: Option<i64>,
    pub together: usize,
}

/// What a transaction says about one of its calls.
#[derive(Debug)]
enum Part {
    /// Done, with the answer that the call would have had alone (ScVal XDR).
    Done(Vec<u8>),
    /// Done, but not by this transaction: there is no answer at hand.
    DoneBefore,
    /// Refused.
    Error(ContractError),
    /// Nothing that can be read.
    Nothing,
}

impl Part {
    const fn answered(&self) -> Answered {
        match self {
            Self::Done(_) | Self::DoneBefore => Answered::Done,
            Self::Error(_) => Answered::Error,
            Self::Nothing => Answered::Nothing,
        }
    }
}

/// An answer about a transaction, as the rules take it.
fn lookup(status: &TransactionStatus, sequence_used_at: Option<u32>) -> Lookup {
    Lookup {
        found: found(&status.outcome),
        latest_ledger: status.clock.latest_ledger,
        latest_close_time: status.clock.latest_close,
        oldest_ledger: status.clock.oldest_ledger,
        sequence_used_at,
    }
}

/// When a run's chances were looked at, if the call opens it.
pub(crate) const fn judged_at(arguments: Option<&Arguments>) -> Option<i64> {
    match arguments {
        Some(Arguments::Open { judged_at, .. }) => Some(*judged_at),
        _ => None,
    }
}

/// The bundle of a call that goes with no other. Bundles of halves are positive.
pub(crate) const fn alone(call: i64) -> i64 {
    -call
}

/// The bundle of one half of a transaction's calls.
const fn half(transaction: i64, member: &Member) -> i64 {
    let second = member.place >= member.together.div_ceil(2);
    transaction.saturating_mul(2).saturating_add(second as i64)
}

/// Half a second, doubled with each failure, at most a quarter of a minute; and up to a quarter of
/// that more or less, so that what failed together is not tried again together.
pub fn backoff(failures: u32) -> Duration {
    // 500, 1000, 2000, 4000, 8000 and from then on 15000 milliseconds.
    let middle = 500_u64.saturating_mul(1 << failures.min(5)).min(15_000);
    let quarter = middle / 4;
    Duration::from_millis(rand::rng().random_range(middle - quarter..=middle + quarter))
}

/// Records in the metrics after how many ledgers a transaction with so many calls landed, and what
/// each of them cost.
fn measure(transaction: &Transaction, ended: &Ended, calls: usize) {
    let Some(landed) = &ended.landed else { return };
    let ledgers = landed.ledger.saturating_sub(transaction.signed_ledger);
    let charged = landed.fee_charged.and_then(|charged| u64::try_from(charged).ok());
    let calls = u64::try_from(calls).unwrap_or(1).max(1);
    let kind = transaction.kind.name();
    metrics::transaction_landed(kind, ledgers, charged.map(|charged| charged / calls));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_pause_grows_has_an_end_and_differs_from_draw_to_draw() {
        for (failures, middle) in [(0, 500), (3, 4_000), (5, 15_000), (u32::MAX, 15_000)] {
            let milliseconds = Duration::from_millis;
            let bounds = milliseconds(middle - middle / 4)..=milliseconds(middle + middle / 4);
            let drawn: BTreeSet<Duration> = (0..200).map(|_| backoff(failures)).collect();
            assert!(drawn.iter().all(|pause| bounds.contains(pause)), "{drawn:?}");
            assert!(drawn.len() > 20, "{drawn:?}");
            // On both sides of the middle: what is drawn is no longer pause on the whole.
            let middle = milliseconds(middle);
            assert!(drawn.first().is_some_and(|least| *least < middle), "{drawn:?}");
            assert!(drawn.last().is_some_and(|most| *most > middle), "{drawn:?}");
        }
    }
}
