//! What the outside may ask of runs, for HTTP and gRPC alike: one transaction each.

use chassis::outbox;
use rand::Rng as _;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use wire::statement::MAX_SEED;
use wire::{Digest, Problem, RunId};

use crate::error::{Error, Result};
use crate::gateway::store::{self, Answered};
use crate::gateway::view::RunView;
use crate::runs::run::{Escrow, Request, Snapshot};
use crate::runs::settlement::Failure;
use crate::runs::state::{Phase, Status};
use crate::runs::steps::CANCELLED;
use crate::runs::worker::Bell;
use crate::runs::{self, event};

/// What an order needs.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Where runs are kept.
    pub db: PgPool,
    /// Wakes the workers of this process.
    pub bell: Bell,
    /// First token of subjects.
    pub nats_prefix: String,
}

/// An answer to `POST /runs`.
#[derive(Debug, Clone)]
pub struct Created {
    /// The body.
    pub body: serde_json::Value,
    /// The HTTP status.
    pub status: u16,
    /// Whether it was answered before to the same key.
    pub replayed: bool,
}

/// A caller's `Idempotency-Key` with the digest of the request it came with (R5).
#[derive(Debug, Clone)]
pub struct Key {
    /// 1 to 255 characters.
    pub key: String,
    /// Of the canonical request.
    pub request_hash: Digest,
}

impl Desk {
    /// Accepts a run: row, event and answer become true together.
    ///
    /// # Errors
    ///
    /// Refusals of the key, and [`Error::Database`].
    pub async fn create(&self, request: &Request, key: Option<Key>) -> Result<Created> {
        let mut tx = self.db.begin().await?;
        if let Some(key) = &key
            && let Some(replayed) = replay(&mut tx, &request.user, key).await?
        {
            return Ok(replayed);
        }
        let id = RunId::from(chassis::clock::new_uuid());
        let (now, nonce) = (chassis::clock::now(), stellar::ids::nonce(id.as_uuid(), 1));
        let traceparent = chassis::telemetry::traceparent();
        store::insert(&mut tx, id, request, nonce, &traceparent, now).await?;
        event::tell(&mut tx, &self.nats_prefix, id, now).await?;
        let view = RunView::from(&load(&mut tx, id).await?);
        let body = serde_json::to_value(view).map_err(|error| Error::Broken(error.to_string()))?;
        if let Some(Key { key, request_hash }) = key {
            let answered = Answered { request_hash, status: 202, response: body.clone() };
            store::keep_answer(&mut tx, (&request.user, &key), &answered, now).await?;
        }
        tx.commit().await?;
        outbox::wake();
        self.bell.ring();
        tracing::info!(run.id = %id, "run {id} is queued");
        Ok(Created { body, status: 202, replayed: false })
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
        let mut tx = self.db.begin().await?;
        store::lock(&mut tx, id).await?;
        let it = load(&mut tx, id).await?;
        let now = chassis::clock::now();
        match (it.run.status, it.run.phase) {
            (Status::Failed, Phase::Done) => {
                let number = it.run.attempt + 1;
                let nonce = stellar::ids::nonce(id.as_uuid(), number);
                runs::store::add_attempt(&mut tx, (id, number), nonce, now).await?;
                store::requeue(&mut tx, id, now).await?;
                event::tell(&mut tx, &self.nats_prefix, id, now).await?;
            }
            (Status::Failed, Phase::EscrowOpen) => store::request_retry(&mut tx, id).await?,
            (status, _) => {
                let text = format!("only a failed run can be retried; this one is {status}");
                return Err(Error::refused(Problem::RunNotRetryable, text));
            }
        }
        self.told(tx, id).await
    }

    /// Calls a run off that has not started its module. A run that was opened is voided first.
    ///
    /// # Errors
    ///
    /// [`Problem::NotFound`], and [`Problem::RunNotRetryable`] for a run that is too far.
    pub async fn cancel(&self, id: RunId) -> Result<Snapshot> {
        let mut tx = self.db.begin().await?;
        store::lock(&mut tx, id).await?;
        let it = load(&mut tx, id).await?;
        let now = chassis::clock::now();
        match (it.run.phase, it.attempt.execute_started_at) {
            (Phase::Queued, _) => self.cancel_queued(&mut tx, &it, now).await?,
            (Phase::Opening | Phase::Executing, None) => store::request_cancel(&mut tx, id).await?,
            _ => {
                let status = it.run.status;
                let text = format!(
                    "a run can be called off until its module starts; this one is {status}"
                );
                return Err(Error::refused(Problem::RunNotRetryable, text));
            }
        }
        self.told(tx, id).await
    }

    async fn cancel_queued(
        &self,
        conn: &mut PgConnection,
        it: &Snapshot,
        now: OffsetDateTime,
    ) -> Result<()> {
        let failure = Failure::new(CANCELLED, "called off before it was opened");
        store::cancel_queued(conn, it.run.id, now).await?;
        runs::store::note_failure(conn, it.key(), &failure).await?;
        runs::store::close(conn, it.key(), Escrow::None, None, now).await?;
        event::tell(conn, &self.nats_prefix, it.run.id, now).await
    }

    async fn told(
        &self,
        mut tx: sqlx::Transaction<'_, sqlx::Postgres>,
        id: RunId,
    ) -> Result<Snapshot> {
        let it = load(&mut tx, id).await?;
        tx.commit().await?;
        outbox::wake();
        self.bell.ring();
        Ok(it)
    }
}

/// A seed for a run whose caller named none.
pub fn draw_seed() -> u64 {
    rand::rng().random_range(0..=MAX_SEED)
}

async fn load(conn: &mut PgConnection, id: RunId) -> Result<Snapshot> {
    let found = runs::store::load(conn, id).await?;
    found.ok_or_else(|| Error::refused(Problem::NotFound, "Run not found"))
}

async fn replay(conn: &mut PgConnection, user: &str, key: &Key) -> Result<Option<Created>> {
    if !store::lock_key(conn, user, &key.key).await? {
        let text = "a request with this Idempotency-Key is being answered; try again";
        return Err(Error::refused(Problem::IdempotencyConflict, text));
    }
    let Some(it) = store::answered(conn, user, &key.key).await? else { return Ok(None) };
    if it.request_hash != key.request_hash {
        let text = "this Idempotency-Key was used with another request";
        return Err(Error::refused(Problem::IdempotencyMismatch, text));
    }
    Ok(Some(Created { body: it.response, status: it.status, replayed: true }))
}
