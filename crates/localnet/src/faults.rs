//! Faults a test can ask for: what a network between a client and the ledger does on a bad day.
//!
//! Those of requests belong to one address: another node of the same network has its own. Those of
//! ledgers and transactions belong to the network, at whichever address they were asked for.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// How many transactions can be chosen to fail. Beyond that the oldest choice is forgotten, so that
/// a client that keeps choosing cannot fill the memory.
const MAX_FAILING: usize = 10_000;

/// A fault to inject.
///
/// A fault with a number replaces the number that is left of the same fault; zero ends it.
/// [`Fault::None`] ends all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Ends every fault of this address and of the network.
    None,
    /// The next `n` `sendTransaction` requests are carried out, but their answers get lost: the
    /// connection breaks.
    DropSendResponses(u32),
    /// The next `n` `sendTransaction` requests get lost before they reach the queue: the connection
    /// breaks.
    LoseSendRequests(u32),
    /// The next `count` `sendTransaction` requests are carried out only after `delay`, even if the
    /// client has given up by then.
    LateSends {
        /// How many requests.
        count: u32,
        /// How long each of them is on its way.
        delay: Duration,
    },
    /// The next `n` requests of any kind are answered with HTTP 503 and not carried out.
    Unavailable(u32),
    /// The next `n` requests of any kind are answered with HTTP 429 and not carried out.
    RateLimited(u32),
    /// The next `n` requests of any kind are answered with HTTP 500 and not carried out.
    ServerError(u32),
    /// The next `n` requests of any kind are carried out, but never answered: the connection stays
    /// open until the client gives up, or for ten minutes.
    Hang(u32),
    /// The next `n` requests of any kind are neither carried out nor answered: the connection stays
    /// open until the client gives up, or for ten minutes.
    Stall(u32),
    /// Every answer waits this long after its request was carried out; zero ends it.
    Delay(Duration),
    /// No ledger closes automatically while this is on.
    Freeze(bool),
    /// The next `n` ledgers that would close by themselves do not.
    SkipCloses(u32),
    /// Reads see the chain as it was this many ledgers ago; zero ends it. The view never goes back:
    /// it stays where it is until it is far enough behind. At most 1,000.
    Lag(u32),
    /// The next `n` requests that are not `sendTransaction` are read in the chain as it was one
    /// ledger before what this address shows, as from another node behind the same address: an
    /// answer that is older than the one before it.
    StaleReads(u32),
    /// The next `n` pages of events hold every event twice.
    DuplicateEvents(u32),
    /// The next `n` answers with a list of events, transactions or batched calls hold it backwards.
    ReorderAnswers(u32),
    /// The next `n` transactions that are applied fail, whatever they do.
    FailTransactions(u32),
    /// The transaction of this hash fails when it is applied, whatever it does. Of a fee bump both
    /// hashes do. The last 10,000 choices are kept.
    FailTransaction([u8; 32]),
}

/// What is still to go wrong with requests to one address.
#[derive(Debug, Default)]
pub(crate) struct RequestFaults {
    drop_responses: u32,
    lose_requests: u32,
    late_sends: u32,
    lateness: Duration,
    unavailable: u32,
    rate_limited: u32,
    server_error: u32,
    hang: u32,
    stall: u32,
    delay: Duration,
    stale_reads: u32,
    duplicate_events: u32,
    reorder_answers: u32,
}

/// What is still to go wrong with ledgers and transactions.
#[derive(Debug, Default)]
pub(crate) struct LedgerFaults {
    frozen: bool,
    skip_closes: u32,
    fail_transactions: u32,
    failing: HashSet<[u8; 32]>,
    /// The same hashes, the oldest choice first.
    chosen: VecDeque<[u8; 32]>,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) end: End,
    /// How long it is on its way before it is carried out.
    pub(crate) lateness: Duration,
    /// How long its answer waits.
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
    /// It is neither carried out nor answered.
    Stalls,
}

/// What a request is about, as far as faults ask. A batch is about what any of its calls is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Subject {
    /// Whether it is a `sendTransaction`.
    pub(crate) sends: bool,
    /// Whether it is a `getEvents`.
    pub(crate) events: bool,
    /// Whether its answer has a list whose order can be turned.
    pub(crate) lists: bool,
}

impl RequestFaults {
    /// Notes a fault of requests; others are not its business.
    pub(crate) fn set(&mut self, fault: Fault) {
        match fault {
            Fault::None => *self = Self::default(),
            Fault::DropSendResponses(count) => self.drop_responses = count,
            Fault::LoseSendRequests(count) => self.lose_requests = count,
            Fault::LateSends { count, delay } => {
                self.late_sends = count;
                self.lateness = delay;
            }
            Fault::Unavailable(count) => self.unavailable = count,
            Fault::RateLimited(count) => self.rate_limited = count,
            Fault::ServerError(count) => self.server_error = count,
            Fault::Hang(count) => self.hang = count,
            Fault::Stall(count) => self.stall = count,
            Fault::Delay(delay) => self.delay = delay,
            Fault::StaleReads(count) => self.stale_reads = count,
            Fault::DuplicateEvents(count) => self.duplicate_events = count,
            Fault::ReorderAnswers(count) => self.reorder_answers = count,
            // The view keeps the lag itself; the rest belongs to `LedgerFaults`.
            Fault::Lag(_)
            | Fault::Freeze(_)
            | Fault::SkipCloses(_)
            | Fault::FailTransactions(_)
            | Fault::FailTransaction(_) => {}
        }
    }

    /// Decides what happens to the next request, and counts it.
    ///
    /// A request uses up one fault that decides its end, in the order of this list; those that only
    /// change its answer come on top of that, if it is carried out at all.
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
        } else if take(&mut self.stall) {
            End::Stalls
        } else if take(&mut self.hang) {
            End::Hangs
        } else {
            End::Answered
        };
        let carried_out = !matches!(end, End::Refused(_) | End::LostBefore | End::Stalls);
        let late = carried_out && subject.sends && take(&mut self.late_sends);
        Fate {
            end,
            lateness: if late { self.lateness } else { Duration::ZERO },
            delay: self.delay,
            stale: carried_out && !subject.sends && take(&mut self.stale_reads),
            reordered: carried_out && subject.lists && take(&mut self.reorder_answers),
            duplicated: carried_out && subject.events && take(&mut self.duplicate_events),
        }
    }
}

impl LedgerFaults {
    /// Notes a fault of ledgers or transactions; others are not its business.
    pub(crate) fn set(&mut self, fault: Fault) {
        match fault {
            Fault::None => *self = Self::default(),
            Fault::Freeze(frozen) => self.frozen = frozen,
            Fault::SkipCloses(count) => self.skip_closes = count,
            Fault::FailTransactions(count) => self.fail_transactions = count,
            Fault::FailTransaction(hash) => self.choose(hash),
            _ => {}
        }
    }

    /// Whether the ledger that is due may close, and counts it.
    pub(crate) fn may_close(&mut self) -> bool {
        // While ledgers are frozen no skip is used up.
        !self.frozen && !take(&mut self.skip_closes)
    }

    /// Chooses which of these transactions fail, in the order of their application. Each comes
    /// with its own hash and that of the transaction inside it, and fails for either.
    pub(crate) fn choose_failing(
        &mut self,
        transactions: impl Iterator<Item = ([u8; 32], [u8; 32])>,
    ) -> HashSet<[u8; 32]> {
        let chosen = transactions.filter(|(hash, inner_hash)| {
            // Both are asked, so that a bump whose two hashes were chosen leaves none behind.
            let by_hash = self.failing.remove(hash);
            let by_inner_hash = self.failing.remove(inner_hash);
            by_hash || by_inner_hash || take(&mut self.fail_transactions)
        });
        let failing = chosen.map(|(hash, _)| hash).collect();

        // Kept in step with `failing`, so that choices that were used up do not count against the
        // limit.
        self.chosen.retain(|hash| self.failing.contains(hash));
        failing
    }

    fn choose(&mut self, hash: [u8; 32]) {
        if self.failing.insert(hash) {
            self.chosen.push_back(hash);
        }
        if self.chosen.len() > MAX_FAILING
            && let Some(oldest) = self.chosen.pop_front()
        {
            self.failing.remove(&oldest);
        }
    }
}

/// Whether there is one left, which is then used up.
fn take(count: &mut u32) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choosing_transactions_without_end_keeps_the_memory_bounded() {
        let mut faults = LedgerFaults::default();
        let hash = |number: u32| {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&number.to_be_bytes());
            hash
        };
        for number in 0..25_000 {
            faults.set(Fault::FailTransaction(hash(number)));
            faults.set(Fault::FailTransaction(hash(number)));
        }
        assert_eq!((faults.failing.len(), faults.chosen.len()), (MAX_FAILING, MAX_FAILING));

        let applied = [hash(0), hash(24_999)].map(|hash| (hash, hash));
        assert_eq!(faults.choose_failing(applied.into_iter()), HashSet::from([hash(24_999)]));
        assert_eq!(faults.chosen.len(), MAX_FAILING - 1);
    }

    #[test]
    fn a_fee_bump_fails_by_either_of_its_hashes() {
        let mut faults = LedgerFaults::default();
        let (outer, inner) = ([1; 32], [2; 32]);
        for chosen in [outer, inner] {
            faults.set(Fault::FailTransaction(chosen));
            let failing = faults.choose_failing(std::iter::once((outer, inner)));
            assert_eq!(failing, HashSet::from([outer]));
            assert!(faults.choose_failing(std::iter::once((outer, inner))).is_empty());
        }
    }

    #[test]
    fn one_fault_ends_all_others() {
        let mut faults = RequestFaults::default();
        faults.set(Fault::Unavailable(3));
        faults.set(Fault::Delay(Duration::from_secs(5)));
        faults.set(Fault::None);
        let fate = faults.fate(Subject::default());
        assert_eq!((fate.end, fate.delay), (End::Answered, Duration::ZERO));
    }
}
