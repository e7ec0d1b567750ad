//! The one place that signs and sends (R13).
//!
//! An intent (one kind of call for one attempt) is carried to its end however often the process
//! dies: what was signed is in the database before it is sent, what was sent is looked up before
//! anything else happens, the same bytes are sent until something is proven, and nothing new is
//! signed before the old can no longer land and contract state has been asked. Nothing is given up
//! by counting tries: what is lacking is waited for until the deadline (R16).

use std::time::Duration;

use stellar::tx::{self, PrepareRequest};
use stellar::{Call, ContractError, ContractKind, Invocation};
use stellar_xdr::ScVal;
use tokio::time::{Instant, sleep};
use wire::Digest;

use crate::chain::answers::{classify, done, failure, found, landed};
use crate::chain::calls::address;
use crate::chain::client::ChainClient;
use crate::chain::decide::{
    AfterLookup, AfterSend, AfterState, Lookup, SendAnswer, after_lookup, after_send, after_state,
    record_lives_until,
};
use crate::chain::outcomes::{self, Follow, Shortage};
use crate::chain::store::{self, Ended, SourceLease};
use crate::chain::transaction::{Kind, State, Transaction};
use crate::crash;
use crate::error::{Error, Result};
use crate::model::run::RunLease;

/// How long a worker stays with one transaction before it lets others have a turn.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between look-ups.
const POLL: Duration = Duration::from_millis(250);
/// Pause before the same bytes are sent again.
const RESEND: Duration = Duration::from_secs(3);

/// What is to be done on chain.
pub struct TransactionIntent<'a> {
    /// The run, held.
    pub lease: RunLease,
    /// Its attempt.
    pub attempt: u32,
    /// Which call.
    pub kind: Kind,
    /// The run's id in the vault.
    pub vault_run_id: Digest,
    /// The run's deadline, Unix seconds of ledger time.
    pub deadline: u64,
    /// The last moment at which it is of any use, Unix seconds of ledger time.
    pub latest: u64,
    /// Whether a transaction may be signed for it; otherwise only what was signed is followed.
    pub may_sign: bool,
    /// Makes the call for a given `valid_until`.
    pub call: &'a (dyn Fn(u64) -> Result<Invocation> + Send + Sync),
}

/// How far it got.
#[derive(Debug)]
pub enum SubmitOutcome {
    /// A transaction landed and did it.
    Done(Done),
    /// Nothing is known yet: come again.
    Later(Duration, &'static str),
    /// The transaction source is in use: come again when it is free.
    NeedsSource,
    /// Something is lacking: come again, later each time.
    Wait(String),
    /// The vault refuses it, and nothing was done by any try.
    Refused(Refusal),
    /// It cannot land in time any more, or no more is to be signed; nothing was done by any try.
    TooLate,
    /// The outcome is unknown: an operator must look.
    Unknown(String),
}

/// The vault's word.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The error.
    pub error: ContractError,
    /// Whether no repetition changes it; otherwise the vault's record of the run decides.
    pub is_final: bool,
}

/// What the transaction that did it answered.
#[derive(Debug)]
pub struct Done {
    /// Its hash.
    pub hash: Digest,
    /// Its return value.
    pub value: ScVal,
    /// When its ledger closed, Unix seconds.
    pub closed_at: u64,
}

/// What becomes of an intent whose newest transaction ended without effect.
enum AfterEnd {
    /// Another transaction may be signed; why the last one had no effect.
    Sign(Shortage, String),
    /// None may.
    Stop(SubmitOutcome),
}

impl ChainClient {
    /// Carries an intent as far as it goes now.
    ///
    /// # Errors
    ///
    /// When the database or the node does not answer; nothing is lost by it.
    pub async fn submit(&self, intent: &TransactionIntent<'_>) -> Result<SubmitOutcome> {
        let mut has_signed = false;
        loop {
            // Read again in every turn: what is stored decides, not what this process remembers.
            let newest =
                store::newest(&self.db, intent.lease.id, intent.attempt, intent.kind).await?;
            if let Some(known) = newest {
                match known.state {
                    State::Prepared | State::Sent | State::Unknown => {
                        if let Some(stopped) = self.resend_until_final(intent, &known).await? {
                            return Ok(stopped);
                        }
                        continue;
                    }
                    State::Succeeded => return finished(&known),
                    State::Failed | State::Expired | State::Rejected => {
                        match self.after_end(intent, &known).await? {
                            AfterEnd::Stop(outcome) => return Ok(outcome),
                            // One try, then a pause: a fee surge or an empty account lasts longer
                            // than a loop.
                            AfterEnd::Sign(shortage, why) if has_signed => {
                                return Ok(self.lacks(shortage, why));
                            }
                            AfterEnd::Sign(..) => {}
                        }
                    }
                }
            }
            if !intent.may_sign {
                return Ok(SubmitOutcome::TooLate);
            }
            if let Some(stopped) = self.sign(intent).await? {
                return Ok(stopped);
            }
            has_signed = true;
        }
    }

    /// Signs and stores a transaction. `None` if there is one now.
    async fn sign(&self, intent: &TransactionIntent<'_>) -> Result<Option<SubmitOutcome>> {
        let Some(source) = self.lease_source().await? else {
            return Ok(Some(SubmitOutcome::NeedsSource));
        };
        let signed = self.sign_and_store(intent, &source).await;
        // Given back whatever happened; a crash gives it back when the lease ends.
        self.release_source(&source).await?;
        signed
    }

    async fn sign_and_store(
        &self,
        intent: &TransactionIntent<'_>,
        source: &SourceLease,
    ) -> Result<Option<SubmitOutcome>> {
        let transaction = match self.prepare(intent, source).await? {
            Ok(transaction) => transaction,
            Err(stopped) => return Ok(Some(stopped)),
        };
        let mut conn = self.db.acquire().await?;
        let now = chassis::clock::now();
        store::insert(&mut conn, intent.lease, source, &transaction, now).await?;
        self.crash_point(intent.kind, "after_persist");
        Ok(None)
    }

    /// Signs a transaction, which is neither stored nor sent; or says why there is none.
    ///
    /// # Errors
    ///
    /// As [`ChainClient::submit`].
    pub async fn prepare(
        &self,
        intent: &TransactionIntent<'_>,
        source: &SourceLease,
    ) -> Result<Result<Transaction, SubmitOutcome>> {
        let now = self.now().await?.latest_close;
        let Some(max_time) = max_time(intent.latest, now, self.transaction_secs) else {
            return Ok(Err(SubmitOutcome::TooLate));
        };
        let call = Call::from((intent.call)(max_time)?);
        let request = PrepareRequest {
            network: &self.network,
            source: self.source_key(source)?,
            call: &call,
            signers: &[&self.runner],
            max_time_unix: max_time,
            auth_valid_ledgers: tx::AUTH_LEDGERS,
            // Above it nothing is signed, so nothing has to be proven afterwards.
            fee_ceiling: self.fee_ceiling,
        };
        let prepared = match tx::prepare(&self.rpc, &request).await {
            Ok(prepared) => prepared,
            Err(error) => {
                let follow = outcomes::preparation(intent.kind, &error);
                let refused = error.contract().cloned();
                return Ok(Err(self.refused(follow, refused, error.to_string())));
            }
        };
        self.crash_point(intent.kind, "before_persist");
        Ok(Ok(Transaction {
            hash: prepared.hash,
            run: intent.lease.id,
            attempt: intent.attempt,
            kind: intent.kind,
            vault_run_id: Some(intent.vault_run_id),
            source: source.account.clone(),
            sequence: prepared.sequence,
            max_time: prepared.max_time,
            signed_ledger: prepared.ledger,
            envelope: prepared.envelope,
            state: State::Prepared,
            last_answer: None,
            contract_error: None,
            landed: None,
        }))
    }

    /// What a call comes to that could not be signed.
    fn refused(
        &self,
        follow: Follow,
        error: Option<ContractError>,
        words: String,
    ) -> SubmitOutcome {
        match (follow, error) {
            (Follow::Wait(shortage), _) => self.lacks(shortage, words),
            (Follow::Refused, Some(error)) => {
                SubmitOutcome::Refused(Refusal { error, is_final: true })
            }
            (Follow::AskRecord, Some(error)) => {
                SubmitOutcome::Refused(Refusal { error, is_final: false })
            }
            (Follow::SignAgain, _) => SubmitOutcome::Wait(words),
            // The other answers are only ever a contract's; without one, nothing is known.
            (Follow::Operator | Follow::Refused | Follow::AskRecord, _) => {
                SubmitOutcome::Unknown(words)
            }
        }
    }

    /// Waits because of `shortage`, and lets the service be degraded (R16).
    fn lacks(&self, shortage: Shortage, why: String) -> SubmitOutcome {
        self.shortages.note(shortage, &why);
        SubmitOutcome::Wait(why)
    }

    /// Looks up, sends, and looks up again. `None` if the transaction has ended.
    async fn resend_until_final(
        &self,
        intent: &TransactionIntent<'_>,
        transaction: &Transaction,
    ) -> Result<Option<SubmitOutcome>> {
        let give_up_at = Instant::now() + PATIENCE;
        let mut send_at = Instant::now();
        let mut doubt = transaction.last_answer.as_deref() == Some(BAD_SEQUENCE);
        // What may have been sent before is looked up before it is sent again.
        let mut first_look = transaction.state != State::Prepared;
        while Instant::now() < give_up_at {
            if !first_look && Instant::now() >= send_at {
                match self.send(intent, transaction).await? {
                    Sent::Ended => return Ok(None),
                    Sent::BadSequence => doubt = true,
                    Sent::Unknown => {}
                }
                send_at = Instant::now() + RESEND;
            }
            first_look = false;
            if self.look_up(intent, transaction, doubt).await? {
                return Ok(None);
            }
            sleep(POLL).await;
        }
        Ok(Some(SubmitOutcome::Later(POLL, "the network")))
    }

    /// Sends the stored bytes.
    async fn send(
        &self,
        intent: &TransactionIntent<'_>,
        transaction: &Transaction,
    ) -> Result<Sent> {
        // Counted before it happens: a second send proves less than the first.
        let sends = store::count_send(&self.db, intent.lease, transaction.hash).await?;
        let answer = self.rpc.send(&self.network, &transaction.envelope).await;
        self.crash_point(intent.kind, "after_send");
        let (answer, words) = classify(answer);
        tracing::debug!(hash = %transaction.hash, sends, "{} was sent: {words}", intent.kind);
        // A refusal proves little (R13), but it says at once what an operator has to give.
        if matches!(answer, SendAnswer::Refused | SendAnswer::RefusedForGood) {
            self.shortages.note(outcomes::result(&words), &words);
        }
        if after_send(sends == 1, answer) == AfterSend::Rejected {
            let end = Ended { state: State::Rejected, words: &words, ..Ended::default() };
            store::end(&self.db, intent.lease, transaction.hash, &end).await?;
            return Ok(Sent::Ended);
        }
        store::note(&self.db, intent.lease, transaction.hash, &words).await?;
        Ok(if words == BAD_SEQUENCE { Sent::BadSequence } else { Sent::Unknown })
    }

    /// Asks for the transaction. `true` if the answer ended it. With `doubt`, another transaction
    /// may have used its sequence number.
    async fn look_up(
        &self,
        intent: &TransactionIntent<'_>,
        transaction: &Transaction,
        doubt: bool,
    ) -> Result<bool> {
        // Read before the look-up: the look-up must be of this ledger or a later one.
        let sequence_used_at = if doubt { self.sequence_used_at(transaction).await? } else { None };
        let status = match self.rpc.transaction(&transaction.hash).await {
            Ok(status) => status,
            Err(error) => {
                let (hash, kind) = (transaction.hash, intent.kind);
                tracing::warn!(%hash, "{kind} cannot be looked up: {error}");
                return Ok(false);
            }
        };
        let high_water = match self.observe(&status.clock).await {
            Ok(ledger) => ledger,
            Err(Error::Chain(error)) => {
                tracing::warn!("{error}");
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let lookup = Lookup {
            found: found(&status.outcome),
            latest_ledger: status.clock.latest_ledger,
            latest_close_time: status.clock.latest_close,
            oldest_ledger: status.clock.oldest_ledger,
            sequence_used_at,
        };
        let (contract_error, words) = failure(&status.outcome);
        let (state, words) = match after_lookup(transaction.signed(), lookup, high_water) {
            AfterLookup::Again => return Ok(false),
            AfterLookup::Succeeded => (State::Succeeded, "SUCCESS".to_owned()),
            AfterLookup::Failed => (State::Failed, words),
            AfterLookup::Expired => (State::Expired, EXPIRED.to_owned()),
            AfterLookup::Forgotten => (State::Expired, FORGOTTEN.to_owned()),
        };
        self.crash_point(intent.kind, "after_land");
        let landed = landed(&status.outcome)?;
        let end = Ended { state, words: &words, contract_error, landed: landed.as_ref() };
        store::end(&self.db, intent.lease, transaction.hash, &end).await?;
        if state == State::Succeeded {
            self.shortages.clear();
        }
        self.crash_point(intent.kind, "after_result");
        tracing::info!(hash = %transaction.hash, "{} ended: {words}", intent.kind);
        Ok(true)
    }

    /// The ledger by which the source's account had used this sequence number, if it had.
    async fn sequence_used_at(&self, transaction: &Transaction) -> Result<Option<u32>> {
        // Of the transaction's own source: another process may have signed it with another one.
        let source = address(&transaction.source)?;
        match self.rpc.account(&source).await {
            Ok(Some(account)) if account.sequence >= transaction.sequence => {
                Ok(Some(account.ledger))
            }
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!("the source's account cannot be read: {error}");
                Ok(None)
            }
        }
    }

    /// After a transaction that did not do it: whether another may be signed.
    async fn after_end(
        &self,
        intent: &TransactionIntent<'_>,
        last: &Transaction,
    ) -> Result<AfterEnd> {
        let words = last.last_answer.clone().unwrap_or_default();
        match last.state {
            // It was refused before the queue, for good: nothing was done.
            State::Rejected => Ok(AfterEnd::Sign(outcomes::result(&words), words)),
            // It landed and did nothing.
            State::Failed => {
                let Some(number) = last.contract_error else {
                    return Ok(AfterEnd::Sign(Shortage::Network, words));
                };
                let error = ContractError::new(ContractKind::Vault, number);
                Ok(match outcomes::contract(intent.kind, &error) {
                    Follow::Wait(shortage) => AfterEnd::Sign(shortage, words),
                    Follow::SignAgain => AfterEnd::Sign(Shortage::Network, words),
                    follow => AfterEnd::Stop(self.refused(follow, Some(error), words)),
                })
            }
            // It was never seen and can never land; contract state says whether it did.
            _ if self.is_proven_undone(intent).await? => {
                Ok(AfterEnd::Sign(Shortage::Network, words))
            }
            _ => Ok(AfterEnd::Stop(SubmitOutcome::Unknown(format!(
                "{} {} cannot land any more, and the vault has no record that shows whether it did",
                intent.kind, last.hash
            )))),
        }
    }

    /// Whether contract state allows another transaction: it shows that nothing was done, or that
    /// it was, in which case the repeated call answers the stored result.
    async fn is_proven_undone(&self, intent: &TransactionIntent<'_>) -> Result<bool> {
        let span = store::span(&self.db, intent.lease.id, intent.attempt, intent.kind).await?;
        let (record, ledger) = self.effect(intent).await?;
        let lives_until =
            record_lives_until(span.first_ledger, span.last_max_time, intent.deadline);
        let opens = intent.kind == Kind::Open;
        Ok(after_state(opens, record, ledger, lives_until) != AfterState::Unknown)
    }

    /// Dies at the crash point of this kind and place, if it is armed.
    pub(crate) fn crash_point(&self, kind: Kind, place: &str) {
        crash::point(&format!("{kind}.{place}"));
    }
}

/// What an answer to a send means for what is done next.
enum Sent {
    /// The transaction has ended.
    Ended,
    /// Nothing is known, and the sequence number may be used up.
    BadSequence,
    /// Nothing is known.
    Unknown,
}

/// The code of a refusal for a sequence number that is not the account's next one.
const BAD_SEQUENCE: &str = "TxBadSeq";
const EXPIRED: &str = "it did not land before its last moment, or its sequence number was used";
const FORGOTTEN: &str = "the node's history does not reach back to it";

/// The result of a transaction that did it.
fn finished(known: &Transaction) -> Result<SubmitOutcome> {
    match done(known) {
        Ok(done) => Ok(SubmitOutcome::Done(done)),
        // It landed, and no repetition makes its result readable: this release is too old for the
        // vault, or a node sent something else. A person has to see it.
        Err(Error::Broken(reason)) => Ok(SubmitOutcome::Unknown(reason)),
        Err(error) => Err(error),
    }
}

/// The last moment of a transaction signed now; `None` if it could not land by `latest`.
fn max_time(latest: u64, now: u64, lifetime_secs: u64) -> Option<u64> {
    /// A transaction needs at least this many seconds to be of any use.
    const LEAST_SECS: u64 = 5;
    let wanted = now.saturating_add(lifetime_secs);
    (latest >= now.saturating_add(LEAST_SECS)).then_some(wanted.min(latest))
}
