//! How workers and the rest of a process know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::model::state::Lane;
use crate::wakeups::wake_workers;

/// Pause before other processes are woken after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Wakes workers of this process when there is something to do, so that they need not poll for it.
#[derive(Debug, Clone, Default)]
pub struct WorkSignal(Arc<Lanes>);

#[derive(Debug, Default)]
struct Lanes {
    chain: Notify,
    gates: Notify,
    /// Each sender sees each change, and none that it has seen already.
    calls: watch::Sender<u64>,
    /// Other processes have to be woken.
    others: Notify,
}

impl WorkSignal {
    /// Wakes what claims runs for the workers of a lane.
    pub fn notify(&self, lane: Lane) {
        self.of(lane).notify_one();
    }

    /// Wakes what claims runs for the workers of both lanes, and the senders.
    pub fn notify_all(&self) {
        self.notify(Lane::Chain);
        self.notify(Lane::Gates);
        self.wake_senders();
    }

    /// Wakes the senders: a call may have become wanted.
    pub fn wake_senders(&self) {
        self.0.calls.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Has the other processes woken, too. What is said while they are being woken is said once
    /// more, however often it was said.
    pub fn notify_others(&self) {
        self.0.others.notify_one();
    }

    /// Wakes the other processes whenever they have to be woken, until `stop`.
    ///
    /// # Errors
    ///
    /// Never: those that were not woken poll.
    pub async fn wake_others(self, db: PgPool, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = self.0.others.notified() => {}
                () = stop.cancelled() => return Ok(()),
            }
            let woken = async { wake_workers(&mut *db.acquire().await?).await };
            if let Err(error) = woken.await {
                tracing::debug!("other processes are not woken now: {}", error.logged());
                self.notify_others();
                tokio::select! {
                    () = sleep(RETRY) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// What a sender waits on.
    pub fn calls(&self) -> watch::Receiver<u64> {
        self.0.calls.subscribe()
    }

    /// Waits for a notification. One that came before is not lost.
    pub async fn notified(&self, lane: Lane) {
        self.of(lane).notified().await;
    }

    fn of(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Chain => &self.0.chain,
            Lane::Gates => &self.0.gates,
        }
    }
}

/// When a worker of this process last looked for work.
#[derive(Debug, Clone, Default)]
pub struct LastPoll(Arc<AtomicI64>);

impl LastPoll {
    /// Records that a worker looked for work.
    pub fn record(&self) {
        self.0.store(chassis::clock::now().unix_timestamp(), Ordering::Relaxed);
    }

    /// When one last did; `None` if none ever did.
    pub fn last(&self) -> Option<OffsetDateTime> {
        let seconds = self.0.load(Ordering::Relaxed);
        OffsetDateTime::from_unix_timestamp(seconds).ok().filter(|_| seconds > 0)
    }
}
