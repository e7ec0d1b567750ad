//! The pool of connections to Postgres.

use std::{str::FromStr, time::Duration};

use anyhow::{Context as _, anyhow};
use sqlx::{
    ConnectOptions as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// Connections of one process, at most.
const MAX_CONNECTIONS: u32 = 16;
/// How long a caller waits for a connection from the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a start waits for a database that does not answer yet.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two attempts at the start.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Connects to the database at `url`, waiting up to 20 s for one that is only just starting. A
/// database that refuses the user, or is not there by that name, is an error at once.
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
