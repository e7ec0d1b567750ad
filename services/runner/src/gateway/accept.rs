//! Requests for runs that arrive together share a transaction: those that come while one is being
//! committed are collected, and go into the next. A request that comes alone does not wait.
//!
//! Several [`Writer`]s have a transaction each, so that one works while another waits for the disk.
//! Requests with one key have the same writer: one that comes while the other is being stored waits
//! for its answer, and gets it.
//!
//! Each is answered with its own outcome, and none before the commit. What one of them asks for
//! fails no other: values were read before ([`create_request`](super::create_request)), and if the
//! database refuses a transaction anyway, each of its requests is tried alone.
//!
//! A request that was handed over is carried out whether or not its caller still waits: the caller
//! may hang up, and hears of its run when it repeats its key. So does one who was told that the
//! database does not answer: whether the run is stored is not known then, and nothing is guessed.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use chassis::outbox::FirstEvent;
use chassis::postgres::{self, Kind};
use futures::future::join_all;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::Span;
use wire::{Digest, Nonce, Problem, RunId};

use crate::error::{self, Error, Result};
use crate::gateway::DATABASE_PATIENCE;
use crate::gateway::commands::{Created, Key};
use crate::gateway::create_request::NewRun;
use crate::gateway::intake::QueueSlot;
use crate::model::run::{Attempt, Escrow, Run, Snapshot};
use crate::model::state::{Phase, Status};
use crate::operations::intake;
use crate::runs::event;
use crate::runs::signal::WorkSignal;
use crate::view::RunView;
use crate::wakeups::wake_workers;

mod store;

/// Transactions that are under way at one time, at most.
const WRITERS: usize = 2;
/// Requests in one transaction, at most.
const MOST_TOGETHER: usize = 128;
/// Bytes of their inputs, at most; a larger one has a transaction of its own.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Requests that wait for a writer's transaction, at most: further ones wait to be handed over.
const MOST_WAITING: usize = 1_024;
/// How long a request waits to be handed over.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a request whose outcome is not known should be repeated, in seconds.
const RETRY_AFTER_SECS: u64 = 5;
/// What is answered to a run that is accepted.
const ACCEPTED: u16 = 202;

/// A request for a run, with all that is stored if it is accepted.
#[derive(Debug)]
pub struct Offer {
    /// The run. It is drawn before the run is stored, so that a transaction can be repeated
    /// when the connection was lost before its commit was confirmed.
    pub id: RunId,
    /// What is asked for.
    pub new: NewRun,
    /// The part of the account that asks for it, if it is one.
    pub subject: Option<String>,
    /// The caller's key.
    pub key: Option<Key>,
    /// The trace that it belongs to.
    pub traceparent: String,
    /// When it was asked for.
    pub now: OffsetDateTime,
    /// The nonce of its first attempt.
    pub nonce: Nonce,
    /// Its first event.
    pub event: FirstEvent,
    /// What is answered: the run as it is when it is accepted, a JSON document.
    pub body: String,
    /// Its place among the runs that wait; or why it is refused unless its key was answered before.
    pub place: Result<QueueSlot>,
}

impl Offer {
    /// A new run for a request, of a part of its account if that is who asks, under a key if it
    /// came with one.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`], when it has no JSON form.
    pub fn new(
        (new, subject, key): (NewRun, Option<&str>, Option<Key>),
        place: Result<QueueSlot>,
        nats_prefix: &str,
        now: OffsetDateTime,
    ) -> Result<Self> {
        let id = RunId::from(chassis::clock::new_uuid());
        let traceparent = chassis::telemetry::traceparent();
        let snapshot = queued(id, &new, subject, &traceparent, now);
        let event = event::first(nats_prefix, &snapshot, now)?;
        let body = serde_json::to_string(&RunView::from(&snapshot))
            .map_err(|error| Error::Broken(error.to_string()))?;
        let subject = subject.map(str::to_owned);
        let nonce = snapshot.attempt.nonce;
        Ok(Self { id, new, subject, key, traceparent, now, nonce, event, body, place })
    }

    /// Whose key it is. Parts of one account do not share keys: the answer to one is not the
    /// other's.
    fn key_owner(&self) -> String {
        self.subject.clone().unwrap_or_else(|| self.new.request.user.to_string())
    }

    /// Which of so many writers stores it: the same for all requests with one key.
    fn writer_of(&self, writers: usize) -> usize {
        let mut hasher = DefaultHasher::new();
        match &self.key {
            Some(key) => (self.key_owner(), key.as_str()).hash(&mut hasher),
            None => self.id.as_uuid().hash(&mut hasher),
        }
        // The rest is less than `writers`, so it fits.
        usize::try_from(hasher.finish() % writers as u64).unwrap_or_default()
    }
}

/// Where requests are handed over. Copies share it.
#[derive(Debug, Clone)]
pub struct Acceptor(Arc<[mpsc::Sender<Waiting>]>);

/// A request that waits for its transaction.
#[derive(Debug)]
struct Waiting {
    offer: Offer,
    answer: oneshot::Sender<Result<Created>>,
    /// What is noted about it belongs to its caller's trace.
    span: Span,
}

/// Stores what was handed over.
#[derive(Debug)]
pub struct Accepting(Vec<Writer>);

/// Stores what was handed over to it, one transaction after the other.
#[derive(Debug)]
struct Writer {
    offers: mpsc::Receiver<Waiting>,
    /// Handed over, and too large for the transaction before.
    left: VecDeque<Waiting>,
    db: PgPool,
    work_signal: WorkSignal,
    /// Kept between transactions, each of which is one statement: nothing can be left open on it.
    conn: Option<PoolConnection<Postgres>>,
}

/// What became of one request.
#[derive(Debug)]
enum Outcome {
    /// It is stored.
    Accepted,
    /// Its key was answered before.
    Answered(Answered),
    /// Its key is being answered.
    InFlight,
    /// The widest pause that covers it.
    Paused { scope: String, reason: String },
    /// Its caller refuses it, and its key was not answered before.
    Refused,
}

/// What was answered to a key before.
#[derive(Debug)]
struct Answered {
    /// Digest of the request that it was answered to.
    fingerprint: Digest,
    /// The HTTP status.
    status: u16,
    /// The body: a JSON document.
    response: String,
}

impl Acceptor {
    /// Somewhere to hand requests over, and what stores them: [`Accepting::serve`] has to run.
    pub fn new(db: PgPool, work_signal: WorkSignal) -> (Self, Accepting) {
        let writer = |_| {
            let (sender, offers) = mpsc::channel(MOST_WAITING);
            let (db, work_signal, left) = (db.clone(), work_signal.clone(), VecDeque::new());
            (sender, Writer { offers, left, db, work_signal, conn: None })
        };
        let (senders, writers): (Vec<_>, _) = (0..WRITERS).map(writer).unzip();
        (Self(senders.into()), Accepting(writers))
    }

    /// Stores a run. When this returns it is committed, or refused. A caller that is dropped
    /// meanwhile changes nothing about what becomes of it.
    ///
    /// # Errors
    ///
    /// Refusals, and what the database said. [`Problem::Unavailable`] with a time says that the
    /// outcome is not known: the run may be accepted still.
    pub async fn accept(&self, offer: Offer) -> Result<Created> {
        let (answer, answered) = oneshot::channel();
        let writer = &self.0[offer.writer_of(self.0.len())];
        let waiting = Waiting { offer, answer, span: Span::current() };
        let unavailable = |text: &str| Error::refused(Problem::Unavailable, text);
        match timeout(PATIENCE, writer.send(waiting)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(unavailable("the runner stops; try again")),
            Err(_) => return Err(unavailable("too many requests wait to be accepted; try again")),
        }
        let Ok(answer) = timeout(DATABASE_PATIENCE, answered).await else { return Err(unknown()) };
        answer.map_err(|_| unavailable("the runner stops; try again"))?
    }
}

impl Accepting {
    /// Stores what is handed over, until every [`Acceptor`] is dropped.
    ///
    /// # Errors
    ///
    /// None: what the database refuses is answered to whom it concerns.
    pub async fn serve(self) -> anyhow::Result<()> {
        join_all(self.0.into_iter().map(Writer::serve)).await;
        Ok(())
    }
}

impl Writer {
    async fn serve(mut self) {
        while let Some(together) = self.next().await {
            self.accept(together).await;
        }
        // At a stop, the task that wakes other processes may have ended before the last commit.
        if let Some(mut conn) = self.conn
            && let Err(error) = wake_workers(&mut conn).await
        {
            tracing::debug!("other processes are not woken: {}", error.logged());
        }
    }

    /// The requests of the next transaction, in the order in which they came.
    async fn next(&mut self) -> Option<Vec<Waiting>> {
        if self.left.is_empty() {
            self.left.push_back(self.offers.recv().await?);
        }
        while self.left.len() < MOST_TOGETHER
            && let Ok(waiting) = self.offers.try_recv()
        {
            self.left.push_back(waiting);
        }
        let (mut together, mut bytes) = (Vec::new(), 0_usize);
        while let Some(waiting) = self.left.pop_front() {
            bytes = bytes.saturating_add(waiting.offer.new.input.len());
            if bytes > MOST_BYTES && !together.is_empty() {
                self.left.push_front(waiting);
                break;
            }
            together.push(waiting);
        }
        Some(together)
    }

    async fn accept(&mut self, together: Vec<Waiting>) {
        let error = match self.store(&together).await {
            Ok(outcomes) => return self.answer(together, outcomes),
            Err(error) => error,
        };
        if is_of_one(&error) && together.len() > 1 {
            tracing::warn!("{} requests are accepted one by one: {error}", together.len());
            for waiting in together {
                let alone = std::slice::from_ref(&waiting);
                match self.store(alone).await {
                    Ok(outcomes) => self.answer(vec![waiting], outcomes),
                    Err(error) => waiting.answer(Err(Error::Database(error))),
                }
            }
            return;
        }
        let is_unknown = postgres::kind_in(&self.db, &error) == Kind::Outage;
        let (problem, detail) = error::database(&error);
        for waiting in together {
            let refusal = if is_unknown { unknown() } else { Error::refused(problem, detail) };
            waiting.answer(Err(refusal));
        }
    }

    fn answer(&self, together: Vec<Waiting>, outcomes: Vec<Outcome>) {
        let is_new = |outcome: &Outcome| matches!(outcome, Outcome::Accepted);
        let has_new = outcomes.iter().any(is_new);
        for (waiting, outcome) in together.into_iter().zip(outcomes) {
            waiting.answer(Ok(outcome));
        }
        if has_new {
            self.work_signal.notify_all();
            self.work_signal.notify_others();
        }
    }

    /// Stores them in one transaction, which is committed when this returns.
    async fn store(&mut self, together: &[Waiting]) -> sqlx::Result<Vec<Outcome>> {
        let offers: Vec<&Offer> = together.iter().map(|waiting| &waiting.offer).collect();
        match self.store_once(&offers).await {
            // A connection that was kept may have been closed long ago. Whether the transaction was
            // committed does not matter: a run is stored once by its id.
            Err(error) if postgres::kind_in(&self.db, &error) == Kind::Outage => {
                self.store_once(&offers).await
            }
            outcome => outcome,
        }
    }

    async fn store_once(&mut self, offers: &[&Offer]) -> sqlx::Result<Vec<Outcome>> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.db.acquire().await?,
        };
        let outcomes = store::accept(&mut conn, offers).await?;
        self.conn = Some(conn);
        Ok(outcomes)
    }
}

impl Waiting {
    /// Answers its caller, if there still is one.
    fn answer(self, outcome: Result<Outcome>) {
        let Self { offer, answer, span } = self;
        let answered = span.in_scope(|| outcome.and_then(|outcome| offer.conclude(outcome)));
        // Who hung up hears of it by repeating the request with its key.
        let _ = answer.send(answered);
    }
}

impl Offer {
    /// What its caller gets for this outcome.
    fn conclude(self, outcome: Outcome) -> Result<Created> {
        let conflict = |text: &str| Error::refused(Problem::IdempotencyConflict, text);
        match outcome {
            Outcome::Accepted => Ok(self.accepted()),
            Outcome::Answered(answered) => self.replayed(answered),
            Outcome::InFlight => {
                Err(conflict("a request with this Idempotency-Key is being answered; try again"))
            }
            Outcome::Paused { scope, reason } => {
                Err(intake::paused_by(&scope, self.new.request.agent_id, reason))
            }
            Outcome::Refused => match self.place {
                Err(refusal) => Err(refusal),
                Ok(_) => {
                    Err(Error::Broken(format!("run {} was refused without a reason", self.id)))
                }
            },
        }
    }

    fn accepted(self) -> Created {
        if let Ok(place) = self.place {
            place.keep();
        }
        let id = self.id;
        tracing::info!(run.id = %id, "run {id} is queued");
        Created { id, body: self.body, status: ACCEPTED, replayed: false }
    }

    fn replayed(self, answered: Answered) -> Result<Created> {
        if answered.fingerprint != self.new.fingerprint {
            let text = "this Idempotency-Key was used with another request";
            return Err(Error::refused(Problem::IdempotencyMismatch, text));
        }
        /// What is read of the answer that was kept.
        #[derive(serde::Deserialize)]
        struct Kept {
            id: RunId,
        }
        let kept: Kept = serde_json::from_str(&answered.response)
            .map_err(|error| Error::Broken(error.to_string()))?;
        // Stored by this very request, in a transaction whose commit was not confirmed.
        if kept.id == self.id {
            return Ok(self.accepted());
        }
        let (body, status) = (answered.response, answered.status);
        Ok(Created { id: kept.id, body, status, replayed: true })
    }
}

/// A run as it is when it is accepted: what the database would answer after it.
fn queued(
    id: RunId,
    new: &NewRun,
    subject: Option<&str>,
    traceparent: &str,
    now: OffsetDateTime,
) -> Snapshot {
    let run = Run {
        id,
        request: new.request.clone(),
        subject: subject.map(str::to_owned),
        status: Status::Pending,
        phase: Phase::Queued,
        attempt: 1,
        cancel_requested: false,
        retry_requested: false,
        operator_reason: None,
        failures: 0,
        waiting_for: None,
        start_at: new.start_at,
        priority: new.priority,
        traceparent: traceparent.to_owned(),
        created_at: now,
        updated_at: now,
    };
    let attempt = Attempt {
        number: 1,
        // It follows from the id and the attempt, so that it is known without being stored.
        nonce: stellar::ids::nonce(id.as_uuid(), 1),
        terms: None,
        vault_run_id: None,
        manifest_hash: None,
        escrow: Escrow::None,
        execute_started_at: None,
        seal: None,
        settlement: None,
        usage: None,
        upstreams: Vec::new(),
        receipt: None,
        failure: None,
    };
    Snapshot { run, attempt, open_transaction: None, closing_transaction: None }
}

/// The database does not answer, so that it may have the run or not.
fn unknown() -> Error {
    let text = "the runner's database does not answer: whether the run is accepted is not known; \
                repeat the request with the same Idempotency-Key, or look at your runs";
    Error::later(Problem::Unavailable, text, RETRY_AFTER_SECS)
}

/// Whether a single request may be the cause: then the others do not fail with it. Of what concerns
/// the database itself, trying each alone would make all of them wait longer.
fn is_of_one(error: &sqlx::Error) -> bool {
    match postgres::kind(error) {
        Kind::Duplicate | Kind::InvalidText | Kind::Other => true,
        Kind::Outage | Kind::Unwritable | Kind::Exhausted | Kind::Timeout | Kind::Lock => false,
    }
}
