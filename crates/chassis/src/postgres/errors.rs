//! The kinds of what can go wrong with a statement: an outage, a lock that another keeps and a
//! mistake of ours concern different people.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::time::Instant;
use wire::Problem;

use crate::service::Service;
use crate::{metrics, telemetry};

/// What kind of thing went wrong with a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The database is away, is going away, or the way to it is broken.
    Outage,
    /// The database answers, and stores nothing: it is read-only after a failover, or its disk is
    /// full.
    Unwritable,
    /// No connection of the pool became free in time, or the server has no more of something.
    Exhausted,
    /// The statement took longer than it may.
    Timeout,
    /// Another transaction keeps what this one needs: a lock timeout, a deadlock, a serialisation
    /// failure.
    Lock,
    /// A key that must be unique is there already.
    Duplicate,
    /// Text that Postgres cannot store, such as U+0000, or that is not of the type it is for.
    InvalidText,
    /// Anything else: a mistake of ours.
    Other,
}

impl Kind {
    /// What a caller of a gate may do about it.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Outage | Self::Unwritable | Self::Exhausted | Self::Timeout | Self::Lock => {
                Problem::Unavailable
            }
            // Should text that cannot be stored get this far, it is still the caller's.
            Self::InvalidText => Problem::InvalidRequest,
            // Of two calls at once, the gates' statements take the row of the first (`ON CONFLICT`).
            // A key that is refused was in use before, by something else: a pack of another
            // attempt, or an event of a restored database. The same call is refused again.
            Self::Duplicate | Self::Other => Problem::Internal,
        }
    }

    /// The name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Unwritable => "unwritable",
            Self::Exhausted => "exhausted",
            Self::Timeout => "timeout",
            Self::Lock => "lock",
            Self::Duplicate => "duplicate",
            Self::InvalidText => "invalid_text",
            Self::Other => "other",
        }
    }

    /// In words that hold nothing of the statement.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Outage => "the database did not answer",
            Self::Unwritable => "the database takes no changes now",
            Self::Exhausted => "the database had no connection free in time",
            Self::Timeout => "the database took too long",
            Self::Lock => "another transaction keeps what is needed in the database",
            Self::Duplicate => "the database has such a row already",
            Self::InvalidText => "the database cannot store a text",
            Self::Other => "the database refused a statement",
        }
    }
}

/// The kind of an error, by its SQLSTATE (appendix A of the manual) or by what the driver says.
pub fn kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::PoolTimedOut => {
            let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
            let used_up = pools.is_empty() || pools.iter().any(|(_, pool)| is_used_up(pool));
            if used_up { Kind::Exhausted } else { Kind::Outage }
        }
        error => of_statement(error),
    }
}

/// The same for an error of this pool, of which more is known.
pub fn kind_in(db: &PgPool, error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::PoolTimedOut if !is_used_up(db) => Kind::Outage,
        sqlx::Error::PoolTimedOut => Kind::Exhausted,
        error => of_statement(error),
    }
}

fn of_statement(error: &sqlx::Error) -> Kind {
    use sqlx::Error;
    match error {
        Error::Database(refusal) => match refusal.code().as_deref() {
            // In turn: unique violation; lock not available, deadlock, serialisation failure; query
            // cancelled by its timeout; memory, connections or another limit of the server.
            Some("23505") => Kind::Duplicate,
            Some("55P03" | "40P01" | "40001") => Kind::Lock,
            Some("57014") => Kind::Timeout,
            Some("53200" | "53300" | "53400") => Kind::Exhausted,
            // A transaction of a server that is read-only; a full disk.
            Some("25006" | "53100") => Kind::Unwritable,
            // Connection, shutdown, system error, login; and a transaction that was idle for too
            // long.
            Some(code)
                if ["08", "57P", "58", "28", "25P03"]
                    .iter()
                    .any(|class| code.starts_with(class)) =>
            {
                Kind::Outage
            }
            // Characters that cannot be stored, and text that is invalid for its type. Others of
            // this class, such as a division by zero, are of our own making.
            Some("22021" | "22P05" | "22P02") => Kind::InvalidText,
            _ => Kind::Other,
        },
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolClosed
        | Error::WorkerCrashed
        | Error::BeginFailed => Kind::Outage,
        _ => Kind::Other,
    }
}

/// Whether every connection that the pool may have is in use. The driver keeps trying to connect to
/// a server that is away, and says of that, too, that the wait took too long; an attempt to connect
/// counts as a connection. So the connections must have shown that their server is there.
fn is_used_up(db: &PgPool) -> bool {
    let is_full = db.size() >= db.options().get_max_connections() && db.num_idle() == 0;
    is_full && signs_of(db).is_none_or(|signs| signs.is_there())
}

/// How long what a connection showed counts. Longer than a statement may take, and a transaction may
/// be idle: while every connection is in use, one comes back or is lent within this time.
const SIGN_AGE: Duration = Duration::from_secs(60);

/// What the connections of a pool showed of their server when they were made, lent and given back.
#[derive(Debug, Default)]
pub(super) struct Signs(Mutex<Option<Sign>>);

#[derive(Debug, Clone, Copy)]
struct Sign {
    answered: bool,
    at: Instant,
}

impl Signs {
    /// Notes whether the server answered on a connection just now.
    pub(super) fn note(&self, answered: bool) {
        let sign = Sign { answered, at: Instant::now() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sign);
    }

    /// Whether the last one was an answer, and not long ago.
    fn is_there(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|sign| sign.answered && sign.at.elapsed() < SIGN_AGE)
    }
}

/// The signs of each pool, known by its options, which are its own.
static SIGNS: Mutex<Vec<(Weak<PgConnectOptions>, Arc<Signs>)>> = Mutex::new(Vec::new());

/// Keeps the signs of a pool while it lives.
pub(super) fn keep_signs(db: &PgPool, signs: Arc<Signs>) {
    let mut all = SIGNS.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(options, _)| options.strong_count() > 0);
    all.push((Arc::downgrade(&db.connect_options()), signs));
}

fn signs_of(db: &PgPool) -> Option<Arc<Signs>> {
    let (own, all) = (Arc::downgrade(&db.connect_options()), SIGNS.lock());
    let all = all.unwrap_or_else(PoisonError::into_inner);
    let found = all.iter().find(|(options, _)| options.ptr_eq(&own));
    found.map(|(_, signs)| Arc::clone(signs))
}

/// The pools of the services of this process, each with a number.
static POOLS: Mutex<Vec<(u64, PgPool)>> = Mutex::new(Vec::new());

/// A pool among [`POOLS`].
struct Known(u64);

impl Known {
    fn new(pool: PgPool) -> Self {
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        let number = pools.last().map_or(0, |(number, _)| number + 1);
        pools.push((number, pool));
        Self(number)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|(number, _)| *number != self.0);
    }
}

/// Has [`kind`] know this pool while `service` runs.
pub fn explain(service: &Service, db: &PgPool) {
    let (known, stop) = (Known::new(db.clone()), service.stop());
    service.spawn("pool", async move {
        stop.cancelled().await;
        drop(known);
        Ok(())
    });
}

/// Counts an error, notes it on the span of its statement, and returns its kind for the caller's
/// decision.
pub fn note(error: &sqlx::Error) -> Kind {
    use sqlx::Error;
    let kind = kind(error);
    // Other errors are not of a statement, such as a wait for a connection that took too long.
    if matches!(error, Error::Database(_) | Error::Io(_) | Error::Tls(_) | Error::Protocol(_)) {
        let code = error.as_database_error().and_then(|refusal| refusal.code());
        telemetry::note_failed_statement(kind.name(), code.as_deref());
    }
    metrics::database_errors().add(1, &[KeyValue::new("kind", kind.name())]);
    kind
}

/// Everything that is known of an error, for the log: its kind, its SQLSTATE and what the server
/// says.
pub fn describe(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(|refusal| refusal.code());
    let code = code.map(|code| format!(" {code}")).unwrap_or_default();
    let kind = kind(error);
    format!("{} ({}{code}): {error}", kind.words(), kind.name())
}
