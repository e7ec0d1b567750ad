//! How workers and the rest of a process know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use time::OffsetDateTime;
use tokio::sync::Notify;

/// Wakes workers of this process when there is something to do, so that they need not poll for it.
#[derive(Debug, Clone, Default)]
pub struct WorkSignal(Arc<Notify>);

impl WorkSignal {
    /// Wakes one worker.
    pub fn notify(&self) {
        self.0.notify_one();
    }
}

impl WorkSignal {
    /// Waits for a notification. One that came before is not lost.
    pub async fn notified(&self) {
        self.0.notified().await;
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
