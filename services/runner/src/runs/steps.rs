//! One step of a run: look at what is stored, ask what was done, then act. Every step can be cut
//! off anywhere and taken again.

use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use sqlx::{PgConnection, PgPool};
use wire::Problem;

use crate::chain::engine::{Done, SubmitOutcome, TransactionIntent};
use crate::chain::ledger::ChainClient;
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};
use crate::gates::Gates;
use crate::runs::run::{Escrow, RunLease, Snapshot};
use crate::runs::settlement::{Failure, Seal, Settlement};
use crate::runs::state::{Phase, Status};
use crate::runs::{event, store};

mod opening;
mod executing;
mod sealing;
mod closing;

/// Everything a step needs.
#[derive(Debug)]
pub struct Engine {
    /// Where runs are kept.
    pub db: PgPool,
    /// The network.
    pub ledger: ChainClient,
    /// The two gates; without them a run is settled with zero usage (R3).
    pub gates: Option<Gates>,
    /// What the operator chose.
    pub rules: RunPolicy,
}

/// What the operator chose.
#[derive(Debug, Clone)]
pub struct RunPolicy {
    /// How long after ledger time a run's deadline is set, in seconds.
    pub deadline_secs: u64,
    /// Flat fee for a run that this runner opens and settles, in stroops (V13).
    pub runner_fee: i128,
    /// What must be left before the deadline when a module has ended, in seconds (V7).
    pub margin_secs: u64,
    /// A module is stopped after this many milliseconds.
    pub wall_limit_ms: u64,
    /// Whether a failed run is settled with zero at once (R3).
    pub finalize_on_error: bool,
    /// module-gate's keys this runner accepts; empty is whatever the agent names.
    pub attestation_keys: Vec<VerifyingKey>,
    /// How long a claim lasts without a sign of life, in milliseconds.
    pub lease_ms: i64,
    /// First token of subjects.
    pub nats_prefix: String,
}

/// What comes after a step.
#[derive(Debug)]
pub enum Next {
    /// Another step, at once.
    Again,
    /// Another step, later; what it waits for.
    Later(Duration, String),
    /// A person must look (R13).
    Operator(String),
    /// None.
    Ended,
}

impl Engine {
    /// Takes one step of a run.
    ///
    /// # Errors
    ///
    /// When something did not answer. Nothing is lost by it: the step is taken again.
    pub async fn step(&self, held: RunLease) -> Result<Next> {
        let mut conn = self.db.acquire().await?;
        let it = store::load(&mut conn, held.id).await?;
        drop(conn);
        let it = it.ok_or(Error::LeaseLost(held.id))?;
        match it.run.phase {
            Phase::Queued => self.queued(held, &it).await,
            Phase::Opening => self.opening(held, &it).await,
            Phase::Executing => self.executing(held, &it).await,
            Phase::Sealing => self.sealing(held, &it).await,
            Phase::Settling => self.settling(held, &it).await,
            Phase::Voiding => self.voiding(held, &it).await,
            Phase::Reclaiming => self.reclaiming(held, &it).await,
            Phase::EscrowOpen => self.escrow_open(held, &it).await,
            Phase::Done => Ok(Next::Ended),
        }
    }

    /// Takes the run to its next phase, and tells if its public status changed.
    async fn advance(
        &self,
        conn: &mut PgConnection,
        held: RunLease,
        it: &Snapshot,
        to: Phase,
        status: Option<Status>,
    ) -> Result<()> {
        let now = chassis::clock::now();
        let status = status.or(to.status()).unwrap_or(it.run.status);
        store::advance(conn, held, (it.run.phase, to), status, now).await?;
        if status != it.run.status {
            event::tell(conn, &self.rules.nats_prefix, held.id, now).await?;
        }
        tracing::info!(run.id = %held.id, "run {} is {to} ({status})", held.id);
        Ok(())
    }

    /// Goes to a phase that gives the escrow back without a settlement, for this reason.
    async fn start_refund(
        &self,
        held: RunLease,
        it: &Snapshot,
        to: Phase,
        failure: &Failure,
    ) -> Result<Next> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, held, it.run.phase).await?;
        store::note_failure(&mut tx, it.key(), failure).await?;
        self.advance(&mut tx, held, it, to, None).await?;
        tx.commit().await?;
        Ok(Next::Again)
    }

    /// Ends the run with its escrow where `escrow` says, or begins the next attempt if that was
    /// asked.
    async fn end(
        &self,
        conn: &mut PgConnection,
        held: RunLease,
        it: &Snapshot,
        status: Status,
    ) -> Result<Next> {
        if it.run.retry_requested && status == Status::Failed {
            let number = it.run.attempt + 1;
            let nonce = stellar::ids::nonce(held.id.as_uuid(), number);
            store::add_attempt(conn, (held.id, number), nonce, chassis::clock::now()).await?;
            self.advance(conn, held, it, Phase::Queued, None).await?;
            return Ok(Next::Again);
        }
        self.advance(conn, held, it, Phase::Done, Some(status)).await?;
        Ok(Next::Ended)
    }

    /// Ends a run whose money was given back.
    async fn finish_refund(
        &self,
        held: RunLease,
        it: &Snapshot,
        failure: Option<&Failure>,
    ) -> Result<Next> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, held, it.run.phase).await?;
        if let Some(failure) = failure {
            store::note_failure(&mut tx, it.key(), failure).await?;
        }
        store::close(&mut tx, it.key(), Escrow::Returned, None, chassis::clock::now()).await?;
        let cancelled = it.attempt.failure.as_ref().is_some_and(|it| it.code == CANCELLED);
        let status = if cancelled { Status::Cancelled } else { Status::Failed };
        let next = self.end(&mut tx, held, it, status).await?;
        tx.commit().await?;
        Ok(next)
    }

    /// Freezes what is settled and goes on to settle it, or leaves it open if the operator wants
    /// that.
    async fn settle(
        &self,
        held: RunLease,
        it: &Snapshot,
        seal: Option<&Seal>,
        settlement: &Settlement,
    ) -> Result<Next> {
        let leave_open = settlement.failure.is_some()
            && settlement.usage.is_zero()
            && !self.rules.finalize_on_error;
        let to = if leave_open { Phase::EscrowOpen } else { Phase::Settling };
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, held, it.run.phase).await?;
        store::freeze(&mut tx, it.key(), seal, settlement).await?;
        self.advance(&mut tx, held, it, to, None).await?;
        tx.commit().await?;
        Ok(Next::Again)
    }

    /// Settles with zero, for a failure that no seal commits to.
    async fn fail(&self, held: RunLease, it: &Snapshot, failure: Failure) -> Result<Next> {
        let digest = failure.digest(held.id, it.run.attempt);
        let output_hash = digest.map_err(|error| Error::Broken(error.to_string()))?;
        let usage = wire::Usage::default();
        let settlement = Settlement { usage, output_hash, failure: Some(failure) };
        self.settle(held, it, None, &settlement).await
    }

    /// Drives the attempt's transaction of this kind.
    async fn drive(
        &self,
        held: RunLease,
        it: &Snapshot,
        kind: Kind,
        call: &(dyn Fn(u64) -> Result<stellar::Invocation> + Send + Sync),
    ) -> Result<SubmitOutcome> {
        let (vault_run_id, deadline) = it.pinned()?;
        let attempt = it.run.attempt;
        self.ledger
            .drive(&TransactionIntent { held, attempt, kind, vault_run_id, deadline, call })
            .await
    }
}

/// The code of a run that somebody called off.
pub const CANCELLED: &str = "CANCELLED";

/// A transaction landed, and this release cannot read what it answered. No repetition changes that,
/// so a person has to see it.
fn unreadable(kind: Kind, done: &Done, error: &stellar::ChainError) -> Next {
    Next::Operator(format!(
        "{kind} {} landed, and its result cannot be read: {error}; compare the vault's version with this \
         release's, then resume the run",
        done.hash
    ))
}

/// Waits a moment, longer each time.
fn later(it: &Snapshot, why: impl Into<String>) -> Next {
    Next::Later(backoff(it.run.failures), why.into())
}

/// Half a second, doubled with each failure, at most a quarter of a minute.
pub fn backoff(failures: u32) -> Duration {
    Duration::from_millis(500_u64.saturating_mul(1 << failures.min(5)).min(15_000))
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
    fn the_pause_grows_and_has_an_end() {
        assert_eq!(backoff(0), Duration::from_millis(500));
        assert_eq!(backoff(3), Duration::from_secs(4));
        assert_eq!(backoff(u32::MAX), Duration::from_secs(15));
    }

    #[test]
    fn only_a_refusal_that_stays_fails_a_run() {
        let gate = |problem: Problem| Error::gate("module-gate", &problem.status("no"));
        assert_eq!(refusal(&gate(Problem::ModuleUnknown)).unwrap().code, "MODULE_UNKNOWN");
        for problem in [Problem::Unavailable, Problem::Unauthenticated, Problem::RateLimited] {
            assert!(refusal(&gate(problem)).is_none(), "{problem:?}");
        }
        let foreign = tonic::Status::invalid_argument("a proxy's words");
        assert!(refusal(&Error::gate("module-gate", &foreign)).is_none());
    }
}
