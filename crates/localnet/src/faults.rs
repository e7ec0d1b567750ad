//! Faults a test can ask for: what a network between a client and the ledger does on a bad day.

use std::collections::HashSet;
use std::time::Duration;

/// A fault to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The next `n` `sendTransaction` requests are carried out, but their answers get lost.
    DropSendResponses(u32),
    /// The next `n` `sendTransaction` requests get lost before they reach the queue.
    LoseSendRequests(u32),
    /// The next `n` requests of any kind are answered with HTTP 503 and not carried out.
    Unavailable(u32),
    /// The next `n` requests of any kind are answered with HTTP 429 and not carried out.
    RateLimited(u32),
    /// The next `n` requests of any kind are answered with HTTP 500 and not carried out.
    ServerError(u32),
    /// The next `n` requests of any kind are carried out, but never answered: the connection stays
    /// open until the client gives up.
    Hang(u32),
    /// Every answer waits this long; zero ends it.
    Delay(Duration),
    /// No ledger closes by itself while this is on.
    Freeze(bool),
    /// The next `n` ledgers that would close by themselves do not.
    SkipCloses(u32),
    /// Reads see the chain as it was this many ledgers ago; zero ends it. The view never goes back:
    /// it stays where it is until it is far enough behind.
    Lag(u32),
    /// The next `n` requests are read in the chain as it was one ledger ago, as from another node
    /// behind the same address: an answer that is older than the one before it.
    StaleReads(u32),
    /// The next `n` pages of events hold every event twice.
    DuplicateEvents(u32),
    /// The next `n` answers with a list of events, transactions or batched calls hold it backwards.
    ReorderAnswers(u32),
    /// The next `n` transactions that are applied fail, whatever they do.
    FailTransactions(u32),
    /// The transaction of this hash fails when it is applied, whatever it does.
    FailTransaction([u8; 32]),
}

/// What is still to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    drop_responses: u32,
    lose_requests: u32,
    unavailable: u32,
    rate_limited: u32,
    server_error: u32,
    hang: u32,
    delay: Duration,
    frozen: bool,
    skip_closes: u32,
    stale_reads: u32,
    duplicate_events: u32,
    reorder_answers: u32,
    fail_transactions: u32,
    failing: HashSet<[u8; 32]>,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) end: End,
    pub(crate) delay: Duration,
    /// Whether it is read in the chain of the ledger before.
    pub(crate) stale: bool,
    /// Whether its lists come backwards.
    pub(crate) reordered: bool,
    /// Whether its events come twice.
    pub(crate) duplicated: bool,
}

/// How one request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It is answered.
    Answered,
    /// It is answered with this HTTP status and not carried out.
    Refused(u16),
    /// The connection breaks before it is carried out.
    LostBefore,
    /// The connection breaks after it was carried out.
    LostAfter,
    /// It is carried out and never answered.
    Hangs,
}

/// What a request is about, as far as faults ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Subject {
    /// Whether it is a `sendTransaction`.
    pub(crate) sends: bool,
    /// Whether it is a `getEvents`.
    pub(crate) events: bool,
    /// Whether its answer has a list whose order can be turned.
    pub(crate) lists: bool,
}

impl Faults {
    /// Notes a fault; it replaces an earlier one of its kind. `Lag` is the node's own affair.
    pub(crate) fn set(&mut self, fault: Fault) {
        match fault {
            Fault::DropSendResponses(count) => self.drop_responses = count,
            Fault::LoseSendRequests(count) => self.lose_requests = count,
            Fault::Unavailable(count) => self.unavailable = count,
            Fault::RateLimited(count) => self.rate_limited = count,
            Fault::ServerError(count) => self.server_error = count,
            Fault::Hang(count) => self.hang = count,
            Fault::Delay(delay) => self.delay = delay,
            Fault::Freeze(frozen) => self.frozen = frozen,
            Fault::SkipCloses(count) => self.skip_closes = count,
            Fault::Lag(_) => {}
            Fault::StaleReads(count) => self.stale_reads = count,
            Fault::DuplicateEvents(count) => self.duplicate_events = count,
            Fault::ReorderAnswers(count) => self.reorder_answers = count,
            Fault::FailTransactions(count) => self.fail_transactions = count,
            Fault::FailTransaction(hash) => {
                self.failing.insert(hash);
            }
        }
    }

    /// Decides what happens to the next request, and counts it.
    pub(crate) fn fate(&mut self, subject: Subject) -> Fate {
        let end = if take(&mut self.unavailable) {
            End::Refused(503)
        } else if take(&mut self.rate_limited) {
            End::Refused(429)
        } else if take(&mut self.server_error) {
            End::Refused(500)
        } else if subject.sends && take(&mut self.lose_requests) {
            End::LostBefore
        } else if subject.sends && take(&mut self.drop_responses) {
            End::LostAfter
        } else if take(&mut self.hang) {
            End::Hangs
        } else {
            End::Answered
        };
        let carried_out = !matches!(end, End::Refused(_) | End::LostBefore);
        Fate {
            end,
            delay: self.delay,
            stale: carried_out && !subject.sends && take(&mut self.stale_reads),
            reordered: carried_out && subject.lists && take(&mut self.reorder_answers),
            duplicated: carried_out && subject.events && take(&mut self.duplicate_events),
        }
    }

    /// Whether the ledger that is due may close, and counts it.
    pub(crate) fn may_close(&mut self) -> bool {
        !self.frozen && !take(&mut self.skip_closes)
    }

    /// Chooses which of these transactions fail, in the order of their application.
    pub(crate) fn choose_failing(
        &mut self,
        hashes: impl Iterator<Item = [u8; 32]>,
    ) -> HashSet<[u8; 32]> {
        hashes
            .filter(|hash| self.failing.remove(hash) || take(&mut self.fail_transactions))
            .collect()
    }
}

/// Whether there is one left, which is then used up.
fn take(count: &mut u32) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}
