//! Wake-ups between processes: what one of them makes possible, another one does at once.
//!
//! Postgres carries them, with the commit that they are about. They say nothing but that there may
//! be something to do; the poll of the workers is the net below them.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::runs::signal::WorkSignal;

/// The channel of the wake-ups.
macro_rules! work_channel {
    () => {
        "lumio_runner_work"
    };
}

pub(crate) use work_channel;

/// The same, for statements that take it as a value.
pub const CHANNEL: &str = work_channel!();

/// Pause before the connection is made again.
const RETRY: Duration = Duration::from_secs(1);

/// Hands the wake-ups of all processes to the workers of this one, until `stop`.
///
/// # Errors
///
/// Never: without a connection, the workers poll.
pub async fn listen(
    db: PgPool,
    work_signal: WorkSignal,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        let heard = tokio::select! {
            heard = hand_on(&db, &work_signal) => heard,
            () = stop.cancelled() => return Ok(()),
        };
        if let Err(error) = heard {
            tracing::debug!("wake-ups of other processes are not heard now: {error}");
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}

async fn hand_on(db: &PgPool, work_signal: &WorkSignal) -> sqlx::Result<()> {
    let mut commits = PgListener::connect_with(db).await?;
    commits.listen(work_channel!()).await?;
    loop {
        // What was committed before this connection began to listen is found by the first look.
        work_signal.notify_all();
        commits.recv().await?;
    }
}
