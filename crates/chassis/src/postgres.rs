//! The pool of connections to Postgres. No wait in it is without an end: neither for a
//! connection, nor for a statement, nor for a lock, nor for a client that left its transaction
//! open, nor for a server that does not answer ([`in_time()`]).
//!
//! Every transaction of a service begins with [`begin`], and every connection is shown to be
//! outside of a transaction when it comes back to the pool, and when it leaves it after a second or
//! more. Both are needed: a caller may be dropped at any moment (a client hangs up, a deadline
//! passes, another branch of a `select!` wins), and the driver's own `begin` does not survive that.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres,
    Transaction,
};
use tokio::time::{Instant, sleep};
use tracing::{Instrument as _, info, warn};

use crate::outbox;
use errors::Signs;
use in_time::{learn_limit, limit, within};

pub use errors::{Kind, describe, explain, kind, kind_in, note};
pub use in_time::{InTime, LONGEST, Listener, begin_on, commit, in_time, rollback, with_limit};
pub use parameters::check_parameters;

mod errors;
mod in_time;
mod parameters;

/// Connections of one pool, at most, when its owner names no other number.
pub const MAX_CONNECTIONS: u32 = 16;
/// How long a caller waits for a connection from the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take to show that it can be lent, and that it can be taken back.
const PROOF_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the database may take to answer a probe, the wait for a connection included.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long Postgres lets a statement run, wait for a lock of another, and a transaction stay
/// without a statement, before it ends it. Ours take milliseconds; one that does not end would
/// keep its connection, its locks and its caller.
const BOUNDS: [(&str, &str); 3] = [
    ("statement_timeout", "30s"),
    ("lock_timeout", "10s"),
    // The last resort, should a transaction ever be left open: Postgres closes the connection,
    // and with it go the locks that others wait for.
    ("idle_in_transaction_session_timeout", "30s"),
];
/// How Postgres finds that this side is gone without a word, within half a minute: what its session
/// keeps, such as the lead of the relay, is free for another then. Nothing on a local socket.
const KEEPALIVES: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "10s"),
    ("tcp_keepalives_interval", "5s"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "25s"),
];
/// How long a start waits for a database that does not answer yet.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long after it came back to the pool, proven, a connection is lent without another proof. In a
/// busy service these would be half of all statements. What the proof on loan is for besides, a
/// server that went away meanwhile, is seen by the caller's own statement then.
const PROVEN_FOR: Duration = Duration::from_secs(1);
/// Between two attempts at the start.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// The database does not answer yet: nothing is known, and another attempt may succeed.
#[derive(Debug, thiserror::Error)]
#[error("DATABASE_URL: the database at {0} does not answer")]
struct Away(String);

/// Connects to the database at `url`, waiting up to 20 s for one that is only just starting. A
/// database that refuses the user, or is not there by that name, is an error at once.
///
/// Statements run for 30 s at most, wait 10 s for a lock, and a transaction may be idle for 30 s;
/// `?options[statement_timeout]=60s`, `?options[lock_timeout]=20s` and
/// `?options[idle_in_transaction_session_timeout]=60s` in the URL say otherwise. Waiting for
/// notifications is no statement. What is executed [`in_time()`] is given up 5 s after Postgres
/// should have ended it.
///
/// # Errors
///
/// When no connection can be had; the text names `DATABASE_URL` and where it points, never the
/// password (R9).
pub async fn connect(url: &str) -> anyhow::Result<PgPool> {
    connect_at_most(url, MAX_CONNECTIONS).await
}

/// The same with at most `connections` connections, for a process that keeps several pools apart:
/// what exhausts one of them must not keep the others waiting.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_at_most(url: &str, connections: u32) -> anyhow::Result<PgPool> {
    let refused = || anyhow!("DATABASE_URL: expected postgres://user:password@host:port/name");
    // The driver would take any scheme, and connect to a host of its own choice.
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(refused());
    }
    check_parameters(url).map_err(|problem| anyhow!("DATABASE_URL: {problem}"))?;
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| refused())?
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1));
    let options = bounded(options);
    let place = format!(
        "{}:{}/{}",
        options.get_host(),
        options.get_port(),
        options.get_database().unwrap_or_default()
    );
    let signs = Arc::<Signs>::default();
    let [made, lent, returned] = std::array::from_fn(|_| Arc::clone(&signs));
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // The proof on loan is a round trip as the driver's ping is, and shows more.
        .test_before_acquire(false)
        .after_connect(move |_, _| {
            made.note(true);
            Box::pin(std::future::ready(Ok(())))
        })
        .before_acquire(move |conn, lying| {
            let (was_proven, lent) = (lying.idle_for < PROVEN_FOR, Arc::clone(&lent));
            Box::pin(async move { Ok(was_proven || proven_in_time(conn, lent).await?) })
        })
        .after_release(move |conn, _| Box::pin(proven_in_time(conn, Arc::clone(&returned))));
    let give_up_at = Instant::now() + START_TIMEOUT;
    let mut last = String::new();
    loop {
        let connected = async {
            let pool = pool.clone().connect_with(options.clone()).await?;
            learn_limit(&pool).await?;
            Ok::<_, sqlx::Error>(pool)
        };
        match connected.await {
            Ok(pool) => {
                errors::keep_signs(&pool, signs);
                info!("connected to Postgres at {place}");
                return Ok(pool);
            }
            Err(error) if is_final(&error) => {
                let text = format!("DATABASE_URL: cannot use the database at {place}");
                return Err(error).context(text);
            }
            Err(error) if Instant::now() >= give_up_at => return Err(error).context(Away(place)),
            Err(error) => {
                let text = error.to_string();
                // The same at every attempt is logged once.
                if last != text {
                    warn!("Postgres at {place} does not answer yet: {text}");
                    last = text;
                }
            }
        }
        sleep(RETRY_EVERY).await;
    }
}

/// Begins a transaction in a task of its own, so that it is safe to drop the caller at any moment.
///
/// The driver (sqlx 0.9.0) notes a transaction only after Postgres has confirmed its `BEGIN`. A
/// caller that is dropped in between gives back a connection which is inside a transaction
/// without an owner: the statements of its next borrower are never committed, and their row
/// locks stay. Here the task goes on to the end of `BEGIN`; if no task waits for its result any
/// more, the transaction is dropped as one that is known, and rolled back.
///
/// # Errors
///
/// The driver's own, or no answer in time.
pub async fn begin(db: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let (db, limit) = (db.clone(), limit());
    #[expect(clippy::disallowed_methods, reason = "this task is never dropped before it ends")]
    let begun = async move { within(limit, db.begin()).await };
    match tokio::spawn(begun.in_current_span()).await {
        Ok(begun) => begun,
        // The task panicked, or its runtime is being shut down.
        Err(_) => Err(sqlx::Error::WorkerCrashed),
    }
}

/// Begins a transaction that reads one moment of the database, however many statements it takes,
/// and writes nothing.
///
/// # Errors
///
/// The driver's own.
pub async fn begin_snapshot(db: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let mut snapshot = begin(db).await?;
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(in_time(&mut *snapshot))
        .await?;
    Ok(snapshot)
}

/// [`is_outside_transaction`], noted as a sign of the server. The connection is idle, and answers
/// at once if it ever does: one whose server or network is gone without a word is closed. Its
/// borrower then has time left for a new one, and its place in the pool is free again.
async fn proven_in_time(conn: &mut PgConnection, signs: Arc<Signs>) -> sqlx::Result<bool> {
    let proof = within(PROOF_TIMEOUT, is_outside_transaction(conn)).await;
    signs.note(proof.is_ok());
    proof
}

/// Whether the connection is outside of a transaction. `false` and errors make the pool close it.
///
/// Within a transaction `now()` is the time of its first statement; outside of one, that of this
/// statement. It has to be the simple protocol: each message of the extended one has a statement
/// time of its own.
async fn is_outside_transaction(conn: &mut PgConnection) -> sqlx::Result<bool> {
    use sqlx::Row as _;
    let now = sqlx::raw_sql("SELECT now() = statement_timestamp()");
    let row = now.fetch_one(in_time(conn)).await?;
    let outside: bool = row.try_get(0)?;
    if !outside {
        warn!("a connection to Postgres was left inside a transaction; it is closed");
    }
    Ok(outside)
}

/// With the bounds and keepalives that the URL does not set itself.
fn bounded(options: PgConnectOptions) -> PgConnectOptions {
    let said = options.get_options().unwrap_or_default().to_owned();
    // `-c name=value`, `-cname=value` or `--name=value`; whole names, as `deadlock_timeout` is
    // another one.
    let says = |name: &str| {
        let mut words = said.split([' ', '=']);
        words.any(|word| word.trim_start_matches("-c").trim_start_matches("--") == name)
    };
    let settings = BOUNDS.into_iter().chain(KEEPALIVES);
    options.options(settings.filter(|(name, _)| !says(name)))
}

/// Brings the schema up to date: the outbox, then the tables of `migrations`. It uses a
/// connection of its own without bounds: a change of a large table, or the wait for another
/// process that is making it, takes the time it takes.
///
/// A schema that is up to date is only read: the role of a service need not be one that may change
/// tables where a job with another role has migrated.
///
/// # Errors
///
/// The database's own, or a schema that is newer than this program.
pub async fn migrate(db: &PgPool, migrations: &Migrator) -> Result<(), MigrateError> {
    // Out of the pool, so that no other task gets it.
    let mut conn = db.acquire().await?.detach();
    // What cannot be read counts as not current; the driver then says why.
    let current = is_current(&mut conn, &outbox::migrations()).await.unwrap_or(false)
        && is_current(&mut conn, migrations).await.unwrap_or(false);
    if current {
        return Ok(conn.close().await?);
    }
    // For this connection alone, which is closed at the end.
    for (name, _) in BOUNDS {
        let lift = sqlx::query!("SELECT set_config($1, '0', false)", name);
        lift.fetch_one(in_time(&mut conn)).await?;
    }
    outbox::migrate(&mut conn).await?;
    migrations.run(&mut conn).await?;
    Ok(conn.close().await?)
}

/// Whether exactly these migrations are applied, as they are. It changes nothing: even `CREATE
/// TABLE IF NOT EXISTS`, with which the driver begins, needs the right to make tables.
async fn is_current(conn: &mut PgConnection, migrations: &Migrator) -> sqlx::Result<bool> {
    let table = &*migrations.table_name;
    let there = sqlx::query_scalar!(r#"SELECT to_regclass($1) IS NOT NULL AS "there!""#, table);
    if !there.fetch_one(in_time(&mut *conn)).await? {
        return Ok(false);
    }

    // The name is one of ours, not a caller's. The driver makes the table: no migration has it, by
    // which the compiler could check this.
    let list = format!("SELECT version, checksum, success FROM {table} ORDER BY version");
    let applied: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as(AssertSqlSafe(list)).fetch_all(in_time(conn)).await?;
    let steps = migrations.iter().filter(|step| step.migration_type.is_up_migration());
    let mut expected: Vec<_> =
        steps.map(|step| (step.version, step.checksum.to_vec(), true)).collect();
    expected.sort_by_key(|(version, ..)| *version);
    // Checksums too: a changed migration is not current, and the driver then refuses it by name.
    Ok(applied == expected)
}

/// Whether the database answers now, within 2 s; for [`crate::Health`].
///
/// # Errors
///
/// What the driver says, or that it took too long.
pub async fn probe(db: &PgPool) -> Result<(), String> {
    let asked = sqlx::query!("SELECT 1 AS one").fetch_one(in_time(db));
    within(PROBE_TIMEOUT, asked).await.map(drop).map_err(|error| error.to_string())
}

/// Whether a start was refused by a database that does not answer, or not now: nothing is known, and
/// another attempt may succeed.
pub fn is_away(error: &anyhow::Error) -> bool {
    let passes = |error: &sqlx::Error| {
        let passing = [Kind::Outage, Kind::Exhausted, Kind::Timeout, Kind::Lock];
        passing.contains(&kind(error)) && !is_final(error)
    };
    let mut of_statements = error.chain().filter_map(|cause| cause.downcast_ref::<sqlx::Error>());
    error.is::<Away>() || of_statements.any(passes)
}

/// Whether waiting cannot help: wrong credentials (class 28) or no such database (3D000).
fn is_final(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("28") || code == "3D000")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_start_that_finds_no_database_says_that_nothing_is_known() {
        let lost = || sqlx::Error::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        let away = anyhow::Error::new(lost()).context(Away("host:5432/name".to_owned()));
        assert!(is_away(&away));
        assert!(format!("{away:#}").starts_with("DATABASE_URL: the database at host:5432/name"));
        assert!(is_away(&away.context("a context of a service")));
        // Lost while the schema was brought up to date.
        assert!(is_away(&anyhow::Error::new(MigrateError::from(lost())).context("DATABASE_URL")));
        assert!(!is_away(&anyhow!("DATABASE_URL: expected postgres://")));
        assert!(!is_away(&anyhow::Error::new(MigrateError::VersionMissing(7))));
        assert!(!is_away(&anyhow::Error::new(sqlx::Error::RowNotFound)));
    }

    #[test]
    fn a_bound_gives_way_only_to_one_of_its_own_name() {
        let options = |said: &str| {
            let url = format!("postgres://u@h/d?options={said}");
            bounded(url.parse().unwrap()).get_options().unwrap_or_default().to_owned()
        };
        assert!(options("").contains("statement_timeout=30s"));
        assert!(options("-c%20deadlock_timeout%3D2s").contains("-c lock_timeout=10s"));
        for said in ["-c%20lock_timeout%3D2s", "-clock_timeout%3D2s", "--lock_timeout%3D2s"] {
            let all = options(said);
            assert!(all.contains("lock_timeout=2s") && !all.contains("lock_timeout=10s"), "{all}");
            assert!(all.contains("statement_timeout=30s"), "{all}");
        }
    }
}
