//! The network's pulse: one poll for all transactions of a process that wait for a ledger.
//!
//! What a transaction has become can change only when a ledger closes. So one task asks for the
//! newest ledger, and each transaction is looked up once after every close, however many there are.

use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::chain::client::ChainClient;

/// Between two polls: how much later than a close it is noticed at most, beside the request itself.
const POLL: Duration = Duration::from_millis(250);
/// The pause after a poll that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The newest ledger that was seen, for those who wait for the next.
#[derive(Debug)]
pub struct Pulse {
    ledger: watch::Sender<u32>,
    /// Somebody waits again.
    joined: Notify,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { ledger: watch::Sender::new(0), joined: Notify::new() }
    }
}

impl Pulse {
    /// Changes whenever a ledger has closed, as long as the poll runs.
    pub fn subscribe(&self) -> watch::Receiver<u32> {
        let receiver = self.ledger.subscribe();
        self.joined.notify_one();
        receiver
    }
}

impl ChainClient {
    /// Polls for the newest ledger while somebody waits for one, until `stop`.
    pub async fn keep_pulse(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if self.pulse.ledger.receiver_count() == 0 {
                // A subscription before this line has left its permit: none is missed.
                tokio::select! {
                    () = self.pulse.joined.notified() => {}
                    () = stop.cancelled() => {}
                }
                continue;
            }
            let pause = match self.rpc.clock().await {
                // Another node may be behind the one before: whatever is different is looked at,
                // and what it proves is decided there (R13).
                Ok(clock) => {
                    let newest = clock.latest_ledger;
                    self.pulse.ledger.send_if_modified(|seen| {
                        let changed = *seen != newest;
                        *seen = newest;
                        changed
                    });
                    POLL
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
