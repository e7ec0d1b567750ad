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
    chain: LaneSignal,
    gates: LaneSignal,
    /// Each sender sees each change, and none that it has seen already.
    calls: watch::Sender<u64>,
    /// Other processes have to be woken.
    others: Notify,
}

#[derive(Debug, Default)]
struct LaneSignal {
    wake: Notify,
    work: watch::Sender<LaneWork>,
}

/// What a lane's workers know of its work.
#[derive(Debug, Default)]
struct LaneWork {
    /// How often they were notified.
    notified: u64,
    /// No run is worked on, and a look that began after the last notification found none.
    is_idle: bool,
}

impl WorkSignal {
    /// Wakes what claims runs for the workers of a lane.
    pub fn notify(&self, lane: Lane) {
        // Before the look that follows: until that has ended, the lane does not count as idle.
        self.of(lane).work.send_if_modified(|work| {
            work.notified = work.notified.wrapping_add(1);
            work.is_idle = false;
            // Only an idle lane is waited for.
            false
        });
        self.of(lane).wake.notify_one();
    }

    /// How often a lane was notified, to be read before its workers look for runs.
    pub fn notifications(&self, lane: Lane) -> u64 {
        self.of(lane).work.borrow().notified
    }

    /// Says what a look for runs found that began after `notifications`: whether the lane's workers
    /// have none.
    pub fn looked(&self, lane: Lane, notifications: u64, has_none: bool) {
        self.of(lane).work.send_if_modified(|work| {
            let was_idle = work.is_idle;
            work.is_idle = has_none && work.notified == notifications;
            work.is_idle && !was_idle
        });
    }

    /// Whether no run is worked on in any of these lanes of this process, nor is about to be.
    pub fn are_idle(&self, lanes: &[Lane]) -> bool {
        lanes.iter().all(|lane| self.of(*lane).work.borrow().is_idle)
    }

    /// Waits until each of these lanes has been idle once. One may have work again by then.
    pub async fn until_idle(&self, lanes: &[Lane]) {
        for lane in lanes {
            let mut work = self.of(*lane).work.subscribe();
            // The sender lives as long as this.
            let _ = work.wait_for(|work| work.is_idle).await;
        }
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
        self.of(lane).wake.notified().await;
    }

    fn of(&self, lane: Lane) -> &LaneSignal {
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

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: Lane = Lane::Chain;

    #[test]
    fn a_lane_is_idle_only_when_a_look_after_the_last_notification_found_nothing() {
        let signal = WorkSignal::default();
        assert!(!signal.are_idle(&[LANE]), "no worker has looked");
        let look = |has_none| signal.looked(LANE, signal.notifications(LANE), has_none);
        look(true);
        assert!(signal.are_idle(&[LANE]));
        assert!(!signal.are_idle(&[LANE, Lane::Gates]));
        signal.notify(Lane::Gates);
        assert!(signal.are_idle(&[LANE]), "that is for the other lane");
        look(false);
        assert!(!signal.are_idle(&[LANE]), "a run is worked on");
        look(true);
        assert!(signal.are_idle(&[LANE]));

        let before = signal.notifications(LANE);
        signal.notify_all();
        assert!(!signal.are_idle(&[LANE]));
        signal.looked(LANE, before, true);
        assert!(!signal.are_idle(&[LANE]), "that look had begun before");
        look(true);
        assert!(signal.are_idle(&[LANE]));
    }

    #[tokio::test]
    async fn who_waits_for_idle_lanes_is_woken_by_the_last_of_them() {
        let signal = WorkSignal::default();
        let waiting = tokio::spawn({
            let signal = signal.clone();
            async move { signal.until_idle(&[LANE, Lane::Gates]).await }
        });
        signal.looked(Lane::Gates, 0, true);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        signal.looked(LANE, 0, true);
        waiting.await.unwrap();
    }
}
