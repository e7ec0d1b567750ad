//! The one place that signs and sends (R13).
//!
//! An intent (one kind of call for one attempt) is carried to its end however often the process
//! dies: what was signed is in the database before it is sent, what was sent is looked up before
//! anything else happens, the same bytes are sent until something is proven, and nothing new is
//! signed before the old can no longer land and contract state has been asked.

use std::time::Duration;

use stellar::tx::{self, PrepareRequest};
use stellar::{Call, ChainError, Invocation};
use stellar_xdr::ScVal;
use tokio::time::{Instant, sleep};
use wire::Digest;

use crate::chain::answers::{classify, done, failure_words, found, landed};
use crate::chain::client::ChainClient;
use crate::chain::decide::{
    AfterLookup, AfterSend, AfterState, Lookup, after_lookup, after_send, after_state,
};
use crate::chain::store;
use crate::chain::transaction::{Kind, State, Transaction};
use crate::crash;
use crate::error::{Error, Result};
use crate::model::run::RunLease;

/// How long a worker stays with one transaction before it lets others have a turn.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between look-ups.
const POLL: Duration = Duration::from_millis(250);
/// Pause before the source is asked for again.
const SOURCE_BUSY: Duration = Duration::from_millis(200);
/// Pause before the same bytes are sent again.
const RESEND: Duration = Duration::from_secs(3);
/// An intent whose transactions landed without effect this often goes no further.
const MOST_TRIES: u32 = 6;
/// How long signing may take, in milliseconds, before another worker may take the source.
const SOURCE_LEASE_MS: i64 = 10_000;

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
    /// Makes the call for a given `valid_until`.
    pub call: &'a (dyn Fn(u64) -> Result<Invocation> + Send + Sync),
}

/// How far it got.
#[derive(Debug)]
pub enum SubmitOutcome {
    /// A transaction landed and did it.
    Done(Done),
    /// Nothing is known yet, or the source is in use: come again.
    Later(Duration, &'static str),
    /// It is refused, and nothing was done by any try.
    Refused(ChainError),
    /// It can't land before the deadline any more.
    TooLate,
    /// The outcome is unknown: an operator must look.
    Unknown(String),
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

impl ChainClient {
    /// Carries an intent as far as it goes now.
    ///
    /// # Errors
    ///
    /// When the database or the node does not answer; nothing is lost by it.
    pub async fn submit(&self, intent: &TransactionIntent<'_>) -> Result<SubmitOutcome> {
        loop {
            let newest =
                store::newest(&self.db, intent.lease.id, intent.attempt, intent.kind).await?;
            let Some(known) = newest else {
                match self.sign(intent).await? {
                    Some(stopped) => return Ok(stopped),
                    None => continue,
                }
            };
            match known.state {
                State::Prepared | State::Sent | State::Unknown => {
                    if let Some(stopped) = self.resend_until_final(intent, &known).await? {
                        return Ok(stopped);
                    }
                }
                State::Succeeded => {
                    return match done(&known) {
                        Ok(done) => Ok(SubmitOutcome::Done(done)),
                        // It landed, and no repetition makes its result readable: this release is
                        // too old for the vault, or a node sent something else. A person has to see
                        // it.
                        Err(Error::Broken(reason)) => Ok(SubmitOutcome::Unknown(reason)),
                        Err(error) => Err(error),
                    };
                }
                State::Failed | State::Expired | State::Rejected => {
                    if let Some(stopped) = self.sign_replacement(intent, &known).await? {
                        return Ok(stopped);
                    }
                }
            }
        }
    }

    /// Signs and stores a transaction. `None` if there is one now.
    async fn sign(&self, intent: &TransactionIntent<'_>) -> Result<Option<SubmitOutcome>> {
        let account = self.source.address().to_string();
        let source_lease =
            store::lease_source(&self.db, &account, &self.owner, SOURCE_LEASE_MS).await?;
        let Some(source_lease) = source_lease else {
            return Ok(Some(SubmitOutcome::Later(SOURCE_BUSY, "the transaction source")));
        };
        let signed = self.sign_with(intent, source_lease).await;
        store::release_source(&self.db, source_lease).await?;
        signed
    }

    async fn sign_with(
        &self,
        intent: &TransactionIntent<'_>,
        source_lease: store::SourceLease<'_>,
    ) -> Result<Option<SubmitOutcome>> {
        let now = self.now().await?.latest_close;
        let Some(max_time) = max_time(intent, now, self.transaction_secs) else {
            return Ok(Some(SubmitOutcome::TooLate));
        };
        let call = Call::from((intent.call)(max_time)?);
        let request = PrepareRequest {
            network: &self.network,
            source: &self.source,
            call: &call,
            signers: &[&self.runner],
            max_time_unix: max_time,
            auth_valid_ledgers: tx::AUTH_LEDGERS,
            fee_ceiling: self.fee_ceiling,
        };
        let prepared = match tx::prepare(&self.rpc, &request).await {
            Ok(prepared) => prepared,
            Err(error) if refuses(&error) => return Ok(Some(SubmitOutcome::Refused(error))),
            Err(error) => return Err(error.into()),
        };
        let transaction = Transaction {
            hash: prepared.hash,
            run: intent.lease.id,
            attempt: intent.attempt,
            kind: intent.kind,
            source: source_lease.account.to_owned(),
            sequence: prepared.sequence,
            max_time: prepared.max_time,
            signed_ledger: prepared.ledger,
            envelope: prepared.envelope,
            state: State::Prepared,
            last_answer: None,
            landed: None,
        };
        self.crash_point(intent.kind, "before_persist");
        let mut conn = self.db.acquire().await?;
        let now = chassis::clock::now();
        store::insert(&mut conn, intent.lease, source_lease, &transaction, now).await?;
        self.crash_point(intent.kind, "after_persist");
        Ok(None)
    }

    /// Looks up, sends, and looks up again. `None` if the transaction has ended.
    async fn resend_until_final(
        &self,
        intent: &TransactionIntent<'_>,
        transaction: &Transaction,
    ) -> Result<Option<SubmitOutcome>> {
        let give_up_at = Instant::now() + PATIENCE;
        let mut send_at = Instant::now();
        let mut first_look = transaction.state != State::Prepared;
        while Instant::now() < give_up_at {
            if !first_look && Instant::now() >= send_at {
                if self.send(intent, transaction).await? {
                    return Ok(None);
                }
                send_at = Instant::now() + RESEND;
            }
            first_look = false;
            if self.look_up(intent, transaction).await? {
                return Ok(None);
            }
            sleep(POLL).await;
        }
        Ok(Some(SubmitOutcome::Later(POLL, "the network")))
    }

    /// Sends the stored bytes. `true` if the answer ended the transaction.
    async fn send(
        &self,
        intent: &TransactionIntent<'_>,
        transaction: &Transaction,
    ) -> Result<bool> {
        let sends = store::count_send(&self.db, intent.lease, transaction.hash).await?;
        let answer = self.rpc.send(&self.network, &transaction.envelope).await;
        self.crash_point(intent.kind, "after_send");
        let (answer, words) = classify(answer);
        tracing::debug!(hash = %transaction.hash, sends, "{} was sent: {words}", intent.kind);
        if after_send(sends == 1, answer) == AfterSend::Rejected {
            store::end(&self.db, intent.lease, transaction.hash, State::Rejected, None, &words)
                .await?;
            return Ok(true);
        }
        store::note(&self.db, intent.lease, transaction.hash, &words).await?;
        Ok(false)
    }

    /// Asks for the transaction. `true` if the answer ended it.
    async fn look_up(
        &self,
        intent: &TransactionIntent<'_>,
        transaction: &Transaction,
    ) -> Result<bool> {
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
        };
        let (state, words) = match after_lookup(transaction.signed(), lookup, high_water) {
            AfterLookup::Again => return Ok(false),
            AfterLookup::Succeeded => (State::Succeeded, "SUCCESS".to_owned()),
            AfterLookup::Failed => (State::Failed, failure_words(&status.outcome)),
            AfterLookup::Expired => {
                (State::Expired, "it did not land before its last moment".to_owned())
            }
            AfterLookup::Forgotten => (State::Expired, FORGOTTEN.to_owned()),
        };
        self.crash_point(intent.kind, "after_land");
        let landed = landed(&status.outcome)?;
        store::end(&self.db, intent.lease, transaction.hash, state, landed.as_ref(), &words)
            .await?;
        self.crash_point(intent.kind, "after_result");
        tracing::info!(hash = %transaction.hash, "{} ended: {words}", intent.kind);
        Ok(true)
    }

    /// After a transaction that did not do it: whether another may be signed. `None` if one was.
    async fn sign_replacement(
        &self,
        intent: &TransactionIntent<'_>,
        last: &Transaction,
    ) -> Result<Option<SubmitOutcome>> {
        let span = store::span(&self.db, intent.lease.id, intent.attempt, intent.kind).await?;
        if span.tries >= MOST_TRIES {
            return Ok(Some(give_up(intent.kind, last, span.tries)));
        }
        if last.state == State::Expired {
            let (record, ledger) = self.effect(intent).await?;
            let life = intent.deadline.saturating_sub(span.last_max_time);
            let lives_until =
                span.first_ledger.saturating_add(u32::try_from(life).unwrap_or(u32::MAX));
            let opens = intent.kind == Kind::Open;
            if after_state(opens, record, ledger, lives_until) == AfterState::Unknown {
                let reason = format!(
                    "{} {} cannot land any more, and the vault has no record that shows \
                     whether it did",
                    intent.kind, last.hash
                );
                return Ok(Some(SubmitOutcome::Unknown(reason)));
            }
        }
        self.sign(intent).await
    }

    fn crash_point(&self, kind: Kind, place: &str) {
        crash::point(&format!("{kind}.{place}"));
    }
}

/// Whether the vault refuses the call as it is. A registry that could not be read says nothing
/// (V6).
fn refuses(error: &ChainError) -> bool {
    error.contract().is_some_and(|error| error.name != "RegistryUnavailable")
}

/// After too many tries. One that landed without effect, or was rejected, proves that nothing was
/// done; one that was never seen proves nothing by itself.
fn give_up(kind: Kind, last: &Transaction, tries: u32) -> SubmitOutcome {
    let words = last.last_answer.clone().unwrap_or_default();
    let reason = format!("{kind} was tried {tries} times without effect: {words}");
    match last.state {
        State::Failed | State::Rejected => {
            SubmitOutcome::Refused(ChainError::Transaction { hash: last.hash.to_string(), reason })
        }
        _ => SubmitOutcome::Unknown(reason),
    }
}

const FORGOTTEN: &str = "the node's history does not reach back to it";

/// The last moment of a transaction signed now; `None` if it could not land before the deadline.
fn max_time(intent: &TransactionIntent<'_>, now: u64, lifetime_secs: u64) -> Option<u64> {
    /// A transaction needs at least this many seconds to be of any use.
    const LEAST_SECS: u64 = 5;
    let wanted = now.saturating_add(lifetime_secs);
    let last = match intent.kind {
        Kind::Reclaim => return Some(wanted),
        Kind::Open | Kind::Finalize | Kind::Void => intent.deadline.saturating_sub(1),
    };
    (last >= now.saturating_add(LEAST_SECS)).then_some(wanted.min(last))
}
