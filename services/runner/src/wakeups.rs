//! Wake-ups between processes: what one of them makes possible, another one does at once.
//!
//! Postgres carries them. They say nothing but that there may be something to do; the poll of the
//! workers is the net below them.
//!
//! A commit that notifies holds one lock of the whole database until its log is on the disk. What
//! happens seldom, such as an order of a person or an event of the chain, notifies with its commit
//! ([`wake_workers`]). Runs that were accepted, and what workers do to each run, are notified after
//! the commit, once for all that was done meanwhile
//! ([`WorkSignal::wake_others`](crate::runs::signal::WorkSignal::wake_others)).

use std::time::Duration;

use chassis::postgres::{Listener, in_time};
use sqlx::{PgConnection, PgPool};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::error::Result;

/// The channel of the wake-ups.
const CHANNEL: &str = "lumio_runner_work";

/// Pause before the connection is made again.
const RETRY: Duration = Duration::from_secs(1);

/// Wakes senders and workers of every process when the transaction commits.
///
/// # Errors
///
/// When the database does not answer.
pub async fn wake_workers(conn: &mut PgConnection) -> Result<()> {
    sqlx::query!(r#"SELECT pg_notify($1, '')::text AS "notified""#, CHANNEL)
        .fetch_one(in_time(conn))
        .await?;
    Ok(())
}

/// Calls `wake` for the wake-ups of all processes, until `stop`.
///
/// # Errors
///
/// Never: without a connection, the workers poll.
pub async fn listen(
    db: PgPool,
    wake: impl Fn() + Send,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        let listened = tokio::select! {
            listened = hand_on(&db, &wake) => listened,
            () = stop.cancelled() => return Ok(()),
        };
        if let Err(error) = listened {
            tracing::debug!("wake-ups of other processes are not received now: {error}");
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}

async fn hand_on(db: &PgPool, wake: &impl Fn()) -> sqlx::Result<()> {
    let mut commits = Listener::connect(db, CHANNEL).await?;
    loop {
        // What was committed before this connection began to listen is found by the first look.
        wake();
        commits.recv().await?;
    }
}
