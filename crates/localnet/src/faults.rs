//! Faults a test can ask for: what a network between us and the ledger does on a bad day.

use std::time::Duration;

/// A fault to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next `n` `sendTransaction` requests are carried out, but their answers get lost on the way.
    DropSendResponses(u32),
    /// The next `n` `sendTransaction` requests get lost before they reach the queue.
    LoseSendRequests(u32),
    /// The next `n` requests of any kind are answered with HTTP 503.
    Unavailable(u32),
    /// Every answer waits this long; zero ends it.
    Delay(Duration),
    /// No ledger closes by itself while this is on.
    Freeze(bool),
    /// Reads see the chain as it was this many ledgers ago; zero ends it. The view never goes back: it stands
    /// still until it is far enough behind.
    Lag(u32),
}

/// What is still to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    drop_responses: u32,
    lose_requests: u32,
    unavailable: u32,
    pub(crate) delay: Duration,
    pub(crate) frozen: bool,
    pub(crate) lag: u32,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is answered.
    Answered,
    /// It is answered with HTTP 503 and not carried out.
    Unavailable,
    /// The connection breaks before it is carried out.
    LostBefore,
    /// The connection breaks after it was carried out.
    LostAfter,
}

impl Faults {
    pub(crate) fn set(&mut self, fault: Fault) {
        match fault {
            Fault::DropSendResponses(count) => self.drop_responses = count,
            Fault::LoseSendRequests(count) => self.lose_requests = count,
            Fault::Unavailable(count) => self.unavailable = count,
            Fault::Delay(delay) => self.delay = delay,
            Fault::Freeze(frozen) => self.frozen = frozen,
            Fault::Lag(lag) => self.lag = lag,
        }
    }

    /// Decides what happens to the next request, and counts it.
    pub(crate) fn fate(&mut self, sends: bool) -> Fate {
        let take = |count: &mut u32| {
            let some = *count > 0;
            *count = count.saturating_sub(1);
            some
        };
        if take(&mut self.unavailable) {
            Fate::Unavailable
        } else if sends && take(&mut self.lose_requests) {
            Fate::LostBefore
        } else if sends && take(&mut self.drop_responses) {
            Fate::LostAfter
        } else {
            Fate::Answered
        }
    }
}
