//! The pool of connections to Postgres. No wait in it is without an end: neither for a connection, nor
//! for a statement, nor for a lock.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgPool};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// Connections of one process, at most.
const MAX_CONNECTIONS: u32 = 16;
/// How long a caller waits for a connection from the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long Postgres lets a statement run, and wait for a lock of another, before it ends it. Ours take
/// milliseconds; one that does not end would keep its connection, its locks and its caller.
const BOUNDS: [(&str, &str); 2] = [("statement_timeout", "30s"), ("lock_timeout", "10s")];
/// How long a start waits for a database that does not answer yet.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two attempts at the start.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Connects to the database at `url`, waiting up to 20 s for one that is only just starting. A
/// database that refuses the user, or is not there by that name, is an error at once.
///
/// Statements run for 30 s at most, and wait 10 s for a lock; `?options[statement_timeout]=60s` and
/// `?options[lock_timeout]=20s` in the URL say otherwise. Waiting for notifications is no statement.
///
/// # Errors
///
/// When no connection can be had; the text names `DATABASE_URL` and where it points, never the
/// password (R9).
pub async fn connect(url: &str) -> anyhow::Result<PgPool> {
    let refused = || anyhow!("DATABASE_URL: want postgres://user:password@host:port/name");
    // The driver would take any scheme, and connect to a host of its own choice.
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(refused());
    }
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
    let pool =
        PgPoolOptions::new().max_connections(MAX_CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT);
    let give_up_at = Instant::now() + START_TIMEOUT;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Ok(pool) => {
                info!("connected to Postgres at {place}");
                return Ok(pool);
            }
            Err(error) if is_final(&error) || Instant::now() >= give_up_at => {
                let text = format!("DATABASE_URL: cannot use the database at {place}");
                return Err(error).context(text);
            }
            Err(error) => warn!("Postgres at {place} does not answer yet: {error}"),
        }
        sleep(RETRY_EVERY).await;
    }
}

/// With the bounds that the URL does not set itself.
fn bounded(options: PgConnectOptions) -> PgConnectOptions {
    let said = options.get_options().unwrap_or_default().to_owned();
    // `-c name=value`, `-cname=value` or `--name=value`; whole names, as `deadlock_timeout` is another one.
    let says = |name: &str| {
        let mut words = said.split([' ', '=']);
        words.any(|word| word.trim_start_matches("-c").trim_start_matches("--") == name)
    };
    options.options(BOUNDS.into_iter().filter(|(name, _)| !says(name)))
}

/// Brings the schema up to date, on a connection of its own without bounds: a change of a large table,
/// or the wait for another process that is making it, takes the time it takes.
///
/// # Errors
///
/// The database's own, or a schema that is newer than this program.
pub async fn migrate(db: &PgPool, migrations: &Migrator) -> Result<(), MigrateError> {
    // Out of the pool, so that nobody else gets it.
    let mut conn = db.acquire().await?.detach();
    for (name, _) in BOUNDS {
        let lift = sqlx::query("SELECT set_config($1, '0', false)");
        lift.bind(name).execute(&mut conn).await?;
    }
    migrations.run(&mut conn).await?;
    Ok(conn.close().await?)
}

/// Whether the database answers now; for [`crate::Health`].
///
/// # Errors
///
/// What the driver says.
pub async fn probe(db: &PgPool) -> Result<(), String> {
    sqlx::query("SELECT 1").execute(db).await.map(drop).map_err(|error| error.to_string())
}

/// Whether waiting cannot help: wrong credentials (class 28) or no such database (3D000).
fn is_final(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|it| it.code());
    code.is_some_and(|code| code.starts_with("28") || code == "3D000")
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(all.contains("lock_timeout=2s") && !all.contains("10s"), "{all}");
            assert!(all.contains("statement_timeout=30s"), "{all}");
        }
    }
}
