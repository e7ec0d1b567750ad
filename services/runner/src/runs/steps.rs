//! One step of a run: look at what is stored, ask what was done, then act. Every step can be cut
//! off anywhere and taken again.

use std::time::Duration;

use chassis::postgres;
use sqlx::{PgConnection, PgPool};
use stellar::{ContractError, ContractKind, scval};
use stellar_xdr::ScVal;
use tokio::sync::Mutex;
use wire::{AttemptKey, Problem, TxHash};

use crate::chain::call::{Arguments, CallState};
use crate::chain::client::ChainClient;
use crate::chain::follow::backoff;
use crate::chain::store::calls;
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};
use crate::gates::Gates;
use crate::model::policy::RunPolicy;
use crate::model::run::{Escrow, RunLease, Snapshot};
use crate::model::settlement::{CANCELLED, Failure, Seal, Settlement};
use crate::model::state::{Lane, Phase, Status};
use crate::runs::sending::Looking;
use crate::runs::{event, store};

mod opening;
mod executing;
mod sealing;
mod closing;

/// Everything a step needs.
#[derive(Debug)]
pub struct RunDriver {
    /// Where runs are kept.
    pub db: PgPool,
    /// The way to the network.
    pub chain: ChainClient,
    /// The two gates; without them a run is settled with zero usage (R3).
    pub gates: Option<Gates>,
    /// What the operator chose.
    pub policy: RunPolicy,
    /// Held by the one sender of this process that looks for calls.
    pub looking: Mutex<Looking>,
}

/// How far a run's call of one kind is.
#[derive(Debug)]
enum Progress {
    /// It is not wanted, or was called off.
    None,
    /// A sender carries it.
    Waits,
    /// It was done.
    Done(Done),
    /// The vault refuses it, and nothing was done.
    Refused(Refusal),
    /// It cannot land in time, or has to be wanted with other arguments; nothing was done.
    TooLate,
    /// The outcome is unknown: an operator must look.
    Unknown(String),
}

/// The vault's word.
#[derive(Debug, Clone)]
struct Refusal {
    /// The error.
    error: ContractError,
    /// Whether no repetition changes it; otherwise the vault's record of the run decides.
    is_final: bool,
}

/// What a call that was done answered.
#[derive(Debug)]
struct Done {
    /// The transaction that did it.
    hash: TxHash,
    /// The answer.
    value: ScVal,
    /// When its ledger closed, Unix seconds.
    closed_at: u64,
}

/// How long a run that only another runner's key can settle is left alone.
const ANOTHERS_PAUSE: Duration = Duration::from_secs(15);

/// What comes after a step.
#[derive(Debug)]
pub enum Next {
    /// Another step, at once.
    Again,
    /// Another step, later; what it waits for.
    Later(Duration, String),
    /// Another step when the run's call is over. No worker holds the run until then.
    Parked,
    /// A person must look (R13).
    Operator(String),
    /// None.
    Ended,
}

impl RunDriver {
    /// Takes one step of a run, if it is one of `lane`; otherwise the run is left to the other.
    ///
    /// # Errors
    ///
    /// When something did not answer. Nothing is lost: the step is taken again.
    pub async fn step(&self, lease: RunLease, lane: Lane) -> Result<Next> {
        let mut conn = self.db.acquire().await?;
        let snapshot = store::load(&mut conn, lease.id).await?;
        drop(conn);
        let snapshot = snapshot.ok_or(Error::LeaseLost(lease.id))?;
        let phase = snapshot.run.phase;
        if phase.lane() != lane && phase != Phase::Done {
            return Ok(Next::Later(Duration::ZERO, String::new()));
        }
        if let Some(wait) = self.is_anothers(&snapshot).await? {
            return Ok(wait);
        }
        match phase {
            Phase::Queued => self.queued(lease, &snapshot).await,
            Phase::Opening => self.opening(lease, &snapshot).await,
            Phase::Executing => self.executing(lease, &snapshot).await,
            Phase::Sealing => self.sealing(lease, &snapshot).await,
            Phase::Settling => self.settling(lease, &snapshot).await,
            Phase::Voiding => self.voiding(lease, &snapshot).await,
            Phase::Reclaiming => self.reclaiming(lease, &snapshot).await,
            Phase::EscrowOpen => self.escrow_open(lease, &snapshot).await,
            Phase::Done => Ok(Next::Ended),
        }
    }

    /// Why this engine leaves a run alone: another runner opened it, and only that one can settle it
    /// (V14). After the deadline every account may reclaim it.
    async fn is_anothers(&self, snapshot: &Snapshot) -> Result<Option<Next>> {
        let Some(terms) = &snapshot.attempt.terms else { return Ok(None) };
        let is_own = terms.opened_by == self.chain.runner.address();
        let is_over = matches!(snapshot.run.phase, Phase::Queued | Phase::Done);
        if is_own || is_over || self.chain.now().await?.latest_close > terms.deadline {
            return Ok(None);
        }
        let words = format!("an engine with the key of {}, which opened it", terms.opened_by);
        Ok(Some(Next::Later(ANOTHERS_PAUSE, words)))
    }

    /// Takes the run to its next phase, and publishes an event if its public status changed.
    async fn advance(
        &self,
        conn: &mut PgConnection,
        lease: RunLease,
        snapshot: &Snapshot,
        to: Phase,
        status: Option<Status>,
    ) -> Result<()> {
        let now = chassis::clock::now();
        // Phases that only give back keep the status that the run has.
        let status = status.or(to.status()).unwrap_or(snapshot.run.status);
        store::advance(conn, lease, (snapshot.run.phase, to), status, now).await?;
        if status != snapshot.run.status {
            event::publish(conn, &self.policy.nats_prefix, lease.id, now).await?;
        }
        tracing::info!(run.id = %lease.id, "run {} is {to} ({status})", lease.id);
        Ok(())
    }

    /// Goes to a phase that gives the escrow back without a settlement, for this reason.
    async fn start_refund(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        to: Phase,
        failure: &Failure,
    ) -> Result<Next> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, snapshot.run.phase).await?;
        store::note_failure(&mut tx, snapshot.key(), failure).await?;
        self.advance(&mut tx, lease, snapshot, to, None).await?;
        let mut next = Next::Again;
        if to == Phase::Voiding {
            let called_off = snapshot.attempt.failure.as_ref().unwrap_or(failure);
            let void = void_arguments(snapshot, called_off)?;
            self.want(&mut tx, lease, snapshot, &void, Duration::ZERO).await?;
            next = Next::Parked;
        }
        postgres::commit(tx).await?;
        Ok(next)
    }

    /// Ends the run with its escrow where `escrow` says, or begins the next attempt if that was
    /// asked.
    async fn end(
        &self,
        conn: &mut PgConnection,
        lease: RunLease,
        snapshot: &Snapshot,
        status: Status,
    ) -> Result<Next> {
        if snapshot.run.retry_requested && status == Status::Failed {
            // A retry that was asked for meanwhile begins in the same transaction (R2).
            let number = snapshot.run.attempt + 1;
            let nonce = stellar::ids::nonce(lease.id.as_uuid(), number);
            store::add_attempt(conn, (lease.id, number), nonce, chassis::clock::now()).await?;
            self.advance(conn, lease, snapshot, Phase::Queued, None).await?;
            // Let go of: it takes a new place among the runs of its user and its agent.
            return Ok(Next::Later(Duration::ZERO, String::new()));
        }
        self.advance(conn, lease, snapshot, Phase::Done, Some(status)).await?;
        Ok(Next::Ended)
    }

    /// Ends a run whose money was given back.
    async fn finish_refund(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        failure: Option<&Failure>,
    ) -> Result<Next> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, snapshot.run.phase).await?;
        if let Some(failure) = failure {
            store::note_failure(&mut tx, snapshot.key(), failure).await?;
        }
        store::close(&mut tx, snapshot.key(), Escrow::Returned, None, chassis::clock::now())
            .await?;
        let cancelled =
            snapshot.attempt.failure.as_ref().is_some_and(|failure| failure.code == CANCELLED);
        let status = if cancelled { Status::Cancelled } else { Status::Failed };
        let next = self.end(&mut tx, lease, snapshot, status).await?;
        postgres::commit(tx).await?;
        Ok(next)
    }

    /// Freezes what is settled and goes on to settle it, or leaves it open if the operator chose
    /// that.
    async fn settle(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        seal: Option<&Seal>,
        settlement: &Settlement,
    ) -> Result<Next> {
        // Usage that was metered is always settled: only a run that costs nothing may stay open.
        let leave_open = settlement.failure.is_some()
            && settlement.usage.is_zero()
            && !self.policy.finalize_on_error;
        let to = if leave_open { Phase::EscrowOpen } else { Phase::Settling };
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, snapshot.run.phase).await?;
        store::freeze(&mut tx, snapshot.key(), seal, settlement).await?;
        self.advance(&mut tx, lease, snapshot, to, None).await?;
        if !leave_open {
            let finalize = finalize_arguments(snapshot, settlement)?;
            self.want(&mut tx, lease, snapshot, &finalize, Duration::ZERO).await?;
        }
        // The last: all executions of one agent write one row.
        let unmeasured_ms = self.policy.lookahead().unmeasured_ms;
        store::measure_execution(&mut tx, snapshot.key(), unmeasured_ms).await?;
        postgres::commit(tx).await?;
        Ok(if leave_open { Next::Again } else { Next::Parked })
    }

    /// Settles with zero, for a failure that no seal commits to.
    async fn fail(&self, lease: RunLease, snapshot: &Snapshot, failure: Failure) -> Result<Next> {
        let key = AttemptKey::new(lease.id, snapshot.run.attempt);
        let output_hash = wire::failure::digest(key, &failure.code, &failure.reason);
        let usage = wire::Usage::default();
        let failure = Some(failure);
        // Nothing signed is at hand, so all of the escrow goes back, the fee too (V16).
        let settlement = Settlement { usage, output_hash, failure, attestation: None };
        self.settle(lease, snapshot, None, &settlement).await
    }

    /// How far the attempt's call of this kind is.
    async fn progress(&self, snapshot: &Snapshot, kind: Kind) -> Result<Progress> {
        let Some(known) = calls::find(&self.db, snapshot.key(), kind).await? else {
            return Ok(Progress::None);
        };
        Ok(match known.state {
            CallState::Withdrawn => Progress::None,
            CallState::Wanted | CallState::Signed => Progress::Waits,
            CallState::Late => Progress::TooLate,
            CallState::Unknown => Progress::Unknown(known.words),
            CallState::Refused => {
                let number = known.error.unwrap_or_default();
                let error = ContractError::new(ContractKind::Vault, number);
                Progress::Refused(Refusal { error, is_final: known.is_final })
            }
            CallState::Done => {
                let Some(answer) = known.answer else {
                    return Err(Error::Broken(format!("{kind} was done and has no answer")));
                };
                match scval::from_xdr::<ScVal>("the call's answer", &answer.result) {
                    Ok(value) => Progress::Done(Done {
                        hash: answer.hash,
                        value,
                        closed_at: answer.closed_at,
                    }),
                    // No repetition makes it readable. A person has to see it.
                    Err(error) => Progress::Unknown(unreadable_text(kind, answer.hash, &error)),
                }
            }
        })
    }

    /// Wants a call in the transaction that moves the run, and lets go of the run: no worker waits
    /// for the chain.
    async fn want(
        &self,
        conn: &mut PgConnection,
        lease: RunLease,
        snapshot: &Snapshot,
        arguments: &Arguments,
        pause: Duration,
    ) -> Result<()> {
        let deadline = snapshot.attempt.terms.as_ref().map(|terms| terms.deadline);
        // The deadline of an opening is fixed when it is signed.
        let deadline = deadline.filter(|_| arguments.kind() != Kind::Open);
        let runner = self.chain.runner.address().to_string();
        calls::want(conn, snapshot.key(), arguments, &runner, deadline, pause).await?;
        let parked = store::park(conn, lease, snapshot.run.attempt, arguments.kind()).await?;
        if parked { Ok(()) } else { Err(Error::LeaseLost(lease.id)) }
    }

    /// The same, where the run stays in its phase.
    async fn want_in_phase(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        arguments: &Arguments,
        pause: Duration,
    ) -> Result<Next> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, snapshot.run.phase).await?;
        self.want(&mut tx, lease, snapshot, arguments, pause).await?;
        postgres::commit(tx).await?;
        Ok(Next::Parked)
    }

    /// Lets go of the run while a sender carries its call.
    async fn park(&self, lease: RunLease, snapshot: &Snapshot, kind: Kind) -> Result<Next> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        // Locked before the call is looked at: what ends a call locks the run first, and wakes it.
        store::fence(&mut tx, lease, snapshot.run.phase).await?;
        let parked = store::park(&mut tx, lease, snapshot.run.attempt, kind).await?;
        postgres::commit(tx).await?;
        Ok(if parked { Next::Parked } else { Next::Again })
    }

    /// The last moment at which a call of this kind is of any use to a run with this deadline.
    pub(super) const fn latest(&self, kind: Kind, deadline: u64) -> u64 {
        match kind {
            // An opening that leaves no time to execute would only be voided (V7).
            Kind::Open => deadline.saturating_sub(self.policy.needed_secs()),
            Kind::Finalize | Kind::Void => deadline.saturating_sub(1),
            // No run waits for what moves lumens between channels.
            Kind::Reclaim | Kind::Channel => u64::MAX,
        }
    }
}

/// A transaction landed, and this release cannot read what it answered. No repetition changes that,
/// so a person has to see it.
fn unreadable(kind: Kind, done: &Done, error: &stellar::ChainError) -> Next {
    Next::Operator(unreadable_text(kind, done.hash, error))
}

fn unreadable_text(kind: Kind, hash: TxHash, error: &stellar::ChainError) -> String {
    format!(
        "{kind} {hash} landed, and its result cannot be read: {error}; compare the vault's version \
         with this release's, then resume the run"
    )
}

/// `finalize_run` of what was frozen.
fn finalize_arguments(snapshot: &Snapshot, settlement: &Settlement) -> Result<Arguments> {
    let (run, _) = snapshot.pinned()?;
    let (terms, settlement) = (snapshot.terms()?.clone(), settlement.clone());
    Ok(Arguments::Finalize { run, terms, settlement })
}

/// `void_run`. The vault keeps a number with a voided run. 1: called off; 2: given up.
fn void_arguments(snapshot: &Snapshot, failure: &Failure) -> Result<Arguments> {
    let (run, _) = snapshot.pinned()?;
    Ok(Arguments::Void { run, reason: if failure.code == CANCELLED { 1 } else { 2 } })
}

/// Waits a moment, longer each time.
fn later(snapshot: &Snapshot, why: impl Into<String>) -> Next {
    Next::Later(backoff(snapshot.run.failures), why.into())
}

/// A refusal that no repetition changes, as a failure of the run.
fn refusal(error: &Error) -> Option<Failure> {
    let Error::Gate { gate, message, problem: Some(problem), .. } = error else { return None };
    let problem: Problem = *problem;
    // A wrong or missing token is the operator's mistake, not the run's.
    let ours = matches!(problem, Problem::Unauthenticated | Problem::Forbidden | Problem::Internal);
    if problem.row().retryable || ours {
        return None;
    }
    Some(Failure::new(problem.reason(), format!("{gate} refused: {message}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_that_stays_fails_a_run() {
        let gate = |problem: Problem| Error::gate("module-gate", &problem.status("no"));
        assert_eq!(refusal(&gate(Problem::ModuleUnknown)).unwrap().code, "MODULE_UNKNOWN");
        let terminal = [
            Problem::DigestMismatch,
            Problem::StatementInvalid,
            Problem::PayloadTooLarge,
            Problem::SealMismatch,
            Problem::PackAlreadySealed,
        ];
        for problem in terminal {
            let error = Error::gate("oracle-gate", &problem.status("no"));
            assert!(refusal(&error).is_some(), "{problem:?} comes to an end");
        }
        for problem in [Problem::Unavailable, Problem::Unauthenticated, Problem::RateLimited] {
            assert!(refusal(&gate(problem)).is_none(), "{problem:?}");
        }
        let foreign = tonic::Status::invalid_argument("a proxy's words");
        assert!(refusal(&Error::gate("module-gate", &foreign)).is_none());
    }
}
