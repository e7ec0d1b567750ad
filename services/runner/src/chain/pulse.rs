//! The network's pulse: one poll for all transactions of a process that wait for a ledger.
//!
//! What a transaction has become can change only when a ledger closes. So one task asks for the
//! newest ledger, and each transaction is looked up once after every close, however many there are.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::chain::client::ChainClient;

/// Between two polls while no close is expected.
const POLL: Duration = Duration::from_millis(250);
/// Between two polls around the time at which the next close is expected: a fiftieth of the time
/// between two closes, and at least this. It is noticed at most this much later, beside the request
/// itself.
const LEAST_POLL: Duration = Duration::from_millis(50);
/// From when and until when the next close is expected, in hundredths of the time between the last
/// two. Nodes are asked about as often as by [`POLL`] alone.
const EXPECTED: (u32, u32) = (90, 110);
/// The pause after a poll that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The newest ledger that was seen, for those who wait for the next.
#[derive(Debug)]
pub struct Pulse {
    ledger: watch::Sender<u32>,
    /// Somebody waits again.
    joined: Notify,
    /// When the next ledger is expected to close, if that is known.
    next_close: Mutex<Option<Instant>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { ledger: watch::Sender::new(0), joined: Notify::new(), next_close: Mutex::default() }
    }
}

impl Pulse {
    /// Changes whenever a ledger has closed, as long as the poll runs.
    pub fn subscribe(&self) -> watch::Receiver<u32> {
        let receiver = self.ledger.subscribe();
        self.joined.notify_one();
        receiver
    }

    /// How long until the next ledger is expected to close. `None` if that is not known, as where
    /// no caller has waited for one lately, and once it is late.
    pub fn until_close(&self) -> Option<Duration> {
        let next_close = *self.next_close.lock().unwrap_or_else(PoisonError::into_inner);
        next_close?.checked_duration_since(Instant::now())
    }

    fn expect_close(&self, at: Option<Instant>) {
        // A copy is replaced: a panic leaves it whole.
        *self.next_close.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

/// When ledgers were seen to close, to poll more often when the next one is expected. A network
/// that closes them at any other time is noticed by [`POLL`].
#[derive(Debug, Default)]
struct Cadence {
    newest: Option<u32>,
    /// When the newest ledger closed, if that was seen.
    closed: Option<Instant>,
    /// Between two closes.
    interval: Option<Duration>,
}

impl Cadence {
    /// Takes note of the newest ledger; how long to wait before the next poll.
    fn note(&mut self, newest: u32, now: Instant) -> Duration {
        let since_close = self.closed.map(|closed| now.duration_since(closed));
        if self.newest != Some(newest) {
            // Of the first ledger, of several at once, and of a node that is behind the one before,
            // nothing is learned.
            let is_next = self.newest.is_some_and(|before| newest == before.wrapping_add(1));
            self.interval = since_close.filter(|_| is_next);
            self.closed = is_next.then_some(now);
            self.newest = Some(newest);
            return POLL;
        }
        let (Some(since), Some(interval)) = (since_close, self.interval) else { return POLL };
        let (from, until) = (interval * EXPECTED.0 / 100, interval * EXPECTED.1 / 100);
        if since < from {
            // Not beyond the moment from which it is expected.
            return (from - since).min(POLL);
        }
        if since < until { (interval / 50).clamp(LEAST_POLL, POLL) } else { POLL }
    }

    /// When the next ledger is expected to close, if the last two closes were seen.
    fn next_close(&self) -> Option<Instant> {
        Some(self.closed? + self.interval?)
    }
}

impl ChainClient {
    /// Polls for the newest ledger while somebody waits for one, until `stop`.
    pub async fn keep_pulse(&self, stop: &CancellationToken) {
        let mut cadence = Cadence::default();
        while !stop.is_cancelled() {
            if self.pulse.ledger.receiver_count() == 0 {
                self.pulse.expect_close(None);
                // A subscription before this line has left its permit: none is missed.
                tokio::select! {
                    () = self.pulse.joined.notified() => {}
                    () = stop.cancelled() => {}
                }
                // What closed meanwhile was not seen.
                cadence = Cadence::default();
                continue;
            }
            let asked = tokio::select! {
                asked = self.rpc.clock() => asked,
                // The node may be silent: a stop does not wait for it.
                () = stop.cancelled() => return,
            };
            let pause = match asked {
                // Another node may be behind the one before: whatever is different is looked at,
                // and what it proves is decided there (R13).
                Ok(clock) => {
                    let newest = clock.latest_ledger;
                    self.pulse.ledger.send_if_modified(|seen| {
                        let changed = *seen != newest;
                        *seen = newest;
                        changed
                    });
                    let pause = cadence.note(newest, Instant::now());
                    self.pulse.expect_close(cadence.next_close());
                    pause
                }
                Err(error) => {
                    tracing::debug!("the newest ledger is not known: {error}");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_close_is_expected_once_two_were_seen_and_not_when_it_is_late() {
        let begin = Instant::now();
        let mut cadence = Cadence::default();
        let mut expected = |newest, ms| {
            cadence.note(newest, begin + Duration::from_millis(ms));
            cadence.next_close().map(|at| at.duration_since(begin).as_millis())
        };
        assert_eq!(expected(7, 300), None);
        assert_eq!(expected(8, 1_000), None);
        assert_eq!(expected(9, 2_000), Some(3_000));
        assert_eq!(expected(9, 2_500), Some(3_000));
        assert_eq!(expected(10, 3_100), Some(4_200));
        // Two at once, and a node that is behind.
        assert_eq!(expected(12, 5_000), None);
        assert_eq!(expected(11, 5_100), None);

        let pulse = Pulse::default();
        assert_eq!(pulse.until_close(), None);
        let now = Instant::now();
        pulse.expect_close(Some(now + Duration::from_secs(60)));
        assert!(pulse.until_close().is_some_and(|left| left <= Duration::from_secs(60)));
        pulse.expect_close(Some(now));
        assert!(pulse.until_close().is_none_or(|left| left.is_zero()));
    }

    #[test]
    fn polls_are_dense_only_when_the_next_close_is_expected() {
        let begin = Instant::now();
        let mut cadence = Cadence::default();
        let mut note = |newest, ms| cadence.note(newest, begin + Duration::from_millis(ms));
        // Only two closes that were seen say how long a ledger is.
        assert_eq!(note(7, 300), POLL);
        assert_eq!(note(8, 1_000), POLL);
        assert_eq!(note(8, 1_950), POLL);
        assert_eq!(note(9, 2_000), POLL);
        assert_eq!(note(9, 2_250), POLL);
        assert_eq!(note(9, 2_850), Duration::from_millis(50), "not beyond 2,900");
        assert_eq!(note(9, 2_900), LEAST_POLL);
        assert_eq!(note(9, 3_050), LEAST_POLL);
        assert_eq!(note(9, 3_150), POLL, "it is late");
        assert_eq!(note(10, 7_000), POLL);
        assert_eq!(note(10, 11_600), Duration::from_millis(100), "a fiftieth of five seconds");
        // Another node, further or behind.
        assert_eq!(note(12, 12_000), POLL);
        assert_eq!(note(12, 17_000), POLL);
        assert_eq!(note(11, 17_100), POLL);
        assert_eq!(note(11, 22_100), POLL);
    }
}
