//! What the outside may ask of runs, for HTTP and gRPC alike. New runs share transactions
//! ([`accept`](super::accept)); every other order is a transaction of its own.

use chassis::postgres;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use wire::{Problem, RunId};

use crate::chain::call::{self, CallState};
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};
use crate::gateway::accept::{Acceptor, Offer};
use crate::gateway::create_request::NewRun;
use crate::gateway::intake::{Intake, QueueSlot};
use crate::gateway::store;
use crate::model::run::{Escrow, Snapshot};
use crate::model::settlement::CANCELLED;
use crate::model::settlement::Failure;
use crate::model::state::{Phase, Status};
use crate::operations::intake;
use crate::runs::signal::WorkSignal;
use crate::runs::{self, event};
use crate::wakeups::wake_workers;

/// What an order needs.
#[derive(Debug, Clone)]
pub struct RunCommands {
    /// Where runs are kept.
    pub db: PgPool,
    /// Wakes the workers of this process.
    pub work_signal: WorkSignal,
    /// How many runs may wait.
    pub intake: Intake,
    /// Stores new runs.
    pub acceptor: Acceptor,
    /// First token of subjects.
    pub nats_prefix: String,
}

/// An answer to a request for a new run.
#[derive(Debug, Clone)]
pub struct Created {
    /// The run.
    pub id: RunId,
    /// The run as it was when it was accepted: a JSON document.
    pub body: String,
    /// The HTTP status.
    pub status: u16,
    /// Whether it was answered before to the same key.
    pub replayed: bool,
}

/// A caller's `Idempotency-Key` (R5): 1 to 255 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key from its text.
    ///
    /// # Errors
    ///
    /// [`Problem::InvalidRequest`].
    pub fn read(text: &str) -> Result<Self> {
        if text.is_empty() || text.chars().count() > 255 || text.contains(char::is_control) {
            let text = "Idempotency-Key: expected 1 to 255 visible characters";
            return Err(Error::refused(Problem::InvalidRequest, text));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RunCommands {
    /// Accepts a run: row, event and answer become true together. `subject` is the part of the
    /// account that asks for it, if it is one. An accepted request is answered again however long
    /// the queue is, and while the intake is paused.
    ///
    /// # Errors
    ///
    /// Refusals of the key, and [`Error::Database`].
    pub async fn create(
        &self,
        new: NewRun,
        subject: Option<&str>,
        key: Option<Key>,
    ) -> Result<Created> {
        let now = chassis::clock::now();
        let place = match (self.place(&new, now), &key) {
            (Err(refusal), None) => return Err(refusal),
            (place, _) => place,
        };
        let offer = Offer::new((new, subject, key), place, &self.nats_prefix, now)?;
        self.acceptor.accept(offer).await
    }

    /// A place for this run among those that wait.
    fn place(&self, new: &NewRun, now: OffsetDateTime) -> Result<QueueSlot> {
        // An answer to the key that went away a moment ago: its repetition brings the input along.
        if new.input.is_empty() {
            let text = "the answer to this Idempotency-Key was removed meanwhile; try again";
            return Err(Error::refused(Problem::IdempotencyConflict, text));
        }
        self.intake.reserve(new.is_scheduled(now)?)
    }

    /// Whether this run would be accepted now, as far as queue and pauses are concerned. What
    /// accepts it decides again.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`], [`Error::IntakePaused`], and [`Error::Database`].
    pub async fn admit(&self, new: &NewRun) -> Result<()> {
        self.intake.check(new.is_scheduled(chassis::clock::now())?)?;
        let mut tx = chassis::postgres::begin(&self.db).await?;
        intake::check(&mut tx, new.request.user, new.request.agent_id).await?;
        Ok(postgres::commit(tx).await?)
    }

    /// Whether this key was answered before, to whatever request.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn was_answered(
        &self,
        new: &NewRun,
        subject: Option<&str>,
        Key(key): &Key,
    ) -> Result<bool> {
        let user = subject.map_or_else(|| new.request.user.to_string(), str::to_owned);
        store::is_answered(&self.db, &user, key).await
    }

    /// One run.
    ///
    /// # Errors
    ///
    /// [`Problem::NotFound`].
    pub async fn find(&self, id: RunId) -> Result<Snapshot> {
        load(&mut *self.db.acquire().await?, id).await
    }

    /// Queues a failed run as its next attempt; settles what the last one left open first (R2, R3).
    ///
    /// # Errors
    ///
    /// [`Problem::NotFound`], [`Problem::RunNotRetryable`].
    pub async fn retry(&self, id: RunId) -> Result<Snapshot> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        // Locked before it is read: the worker moves runs under the same lock.
        runs::store::lock(&mut tx, id).await?;
        let snapshot = load(&mut tx, id).await?;
        let now = chassis::clock::now();
        if snapshot.run.status == Status::Failed {
            // Another attempt is a new opening, which a pause is there to stop.
            intake::check(&mut tx, snapshot.run.request.user, snapshot.run.request.agent_id)
                .await?;
        }
        match (snapshot.run.status, snapshot.run.phase) {
            (Status::Failed, Phase::Done) => {
                let number = snapshot.run.attempt + 1;
                let nonce = stellar::ids::nonce(id.as_uuid(), number);
                runs::store::add_attempt(&mut tx, (id, number), nonce, now).await?;
                store::requeue(&mut tx, id, now).await?;
                event::publish(&mut tx, &self.nats_prefix, id, now).await?;
            }
            (Status::Failed, Phase::EscrowOpen) if snapshot.run.operator_reason.is_none() => {
                runs::store::request_retry(&mut tx, id).await?;
            }
            _ if snapshot.run.operator_reason.is_some() => {
                let reason = snapshot.run.operator_reason.unwrap_or_default();
                let text =
                    format!("the run waits for an operator, who has to decide first: {reason}");
                return Err(Error::refused(Problem::RunNotRetryable, text));
            }
            (status, _) => {
                let text = format!("only a failed run can be retried; this one is {status}");
                return Err(Error::refused(Problem::RunNotRetryable, text));
            }
        }
        self.commit(tx, id).await
    }

    /// Calls a run off that has not started its module. One for which nothing was signed ends at
    /// once and costs nothing on chain; one that was opened is voided first. Repeating it answers
    /// the same run.
    ///
    /// # Errors
    ///
    /// [`Problem::NotFound`], and [`Problem::RunNotCancellable`] for a run that is too far, or that
    /// only an operator can decide about.
    pub async fn cancel(&self, id: RunId) -> Result<Snapshot> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        runs::store::lock(&mut tx, id).await?;
        let snapshot = load(&mut tx, id).await?;
        let now = chassis::clock::now();
        if let Some(reason) = &snapshot.run.operator_reason {
            let text = format!("the run waits for an operator, who has to decide first: {reason}");
            return Err(Error::refused(Problem::RunNotCancellable, text));
        }
        let repeated = snapshot.run.cancel_requested || snapshot.run.status == Status::Cancelled;
        let mut is_withdrawn = false;
        match (snapshot.run.phase, snapshot.attempt.execute_started_at) {
            _ if repeated => {}
            (Phase::Queued, _) => is_withdrawn = self.end_unopened(&mut tx, &snapshot, now).await?,
            // The worker stores an envelope before it sends it, under a lock that this transaction
            // holds: without one, nothing was sent and nothing will be.
            (Phase::Opening, None) if snapshot.open_transaction.is_none() => {
                is_withdrawn = self.end_unopened(&mut tx, &snapshot, now).await?;
            }
            (Phase::Opening | Phase::Executing, None) => store::request_cancel(&mut tx, id).await?,
            _ => {
                let status = snapshot.run.status;
                let text = format!(
                    "a run can be called off until its module starts; this one is {status}"
                );
                return Err(Error::refused(Problem::RunNotCancellable, text));
            }
        }
        let called_off = self.commit(tx, id).await?;
        if is_withdrawn {
            call::count_ends(&[(Kind::Open, CallState::Withdrawn)]);
        }
        Ok(called_off)
    }

    /// Ends a run that was not opened. Answers whether its opening was wanted.
    async fn end_unopened(
        &self,
        conn: &mut PgConnection,
        snapshot: &Snapshot,
        now: OffsetDateTime,
    ) -> Result<bool> {
        let failure = Failure::new(CANCELLED, "called off before it was opened");
        let is_withdrawn = store::cancel_unopened(conn, snapshot.run.id, now).await?;
        runs::store::note_failure(conn, snapshot.key(), &failure).await?;
        runs::store::close(conn, snapshot.key(), Escrow::None, None, now).await?;
        event::publish(conn, &self.nats_prefix, snapshot.run.id, now).await?;
        Ok(is_withdrawn)
    }

    async fn commit(
        &self,
        mut tx: sqlx::Transaction<'_, sqlx::Postgres>,
        id: RunId,
    ) -> Result<Snapshot> {
        let snapshot = load(&mut tx, id).await?;
        wake_workers(&mut tx).await?;
        postgres::commit(tx).await?;
        self.work_signal.notify_all();
        Ok(snapshot)
    }
}

async fn load(conn: &mut PgConnection, id: RunId) -> Result<Snapshot> {
    let found = runs::store::load(conn, id).await?;
    found.ok_or_else(|| Error::refused(Problem::NotFound, "Run not found"))
}
