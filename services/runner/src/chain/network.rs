//! Which history of which network this service has been living in (R13).

use stellar::rpc::Clock;

/// A ledger by two marks, so that two histories are not easily mistaken for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerMark {
    /// Its sequence.
    pub ledger: u32,
    /// When it closed, Unix seconds.
    pub closed_at: u64,
}

impl LedgerMark {
    /// The newest ledger of a node that says this of itself.
    pub const fn newest(clock: &Clock) -> Self {
        Self { ledger: clock.latest_ledger, closed_at: clock.latest_close }
    }
}

/// How a node's newest ledger compares with the newest ever seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStatus {
    /// It can be believed.
    Current,
    /// The node is behind: its answers are ignored.
    Behind,
    /// It is another chain: a reset network, or another one under the same passphrase.
    NetworkReset,
}

/// Compares `seen` with the `known` high-water mark.
///
/// Ledgers and close times grow together. A lower ledger that closed later, a higher one that
/// closed earlier, or the same one with another close time can't be of the history we know.
pub fn compare(known: &LedgerMark, seen: &LedgerMark) -> NodeStatus {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match seen.ledger.cmp(&known.ledger) {
        Equal if seen.closed_at == known.closed_at => NodeStatus::Current,
        Equal => NodeStatus::NetworkReset,
        Less if seen.closed_at > known.closed_at => NodeStatus::NetworkReset,
        Less => NodeStatus::Behind,
        Greater if seen.closed_at < known.closed_at => NodeStatus::NetworkReset,
        Greater => NodeStatus::Current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mark(ledger: u32, closed_at: u64) -> LedgerMark {
        LedgerMark { ledger, closed_at }
    }

    #[test]
    fn a_slow_node_is_not_a_reset_network() {
        let known = mark(100, 5_000);
        let cases = [
            (mark(100, 5_000), NodeStatus::Current),
            (mark(101, 5_001), NodeStatus::Current),
            (mark(101, 5_000), NodeStatus::Current),
            (mark(99, 4_999), NodeStatus::Behind),
            (mark(99, 5_000), NodeStatus::Behind),
            (mark(7, 5_060), NodeStatus::NetworkReset),
            (mark(100, 5_001), NodeStatus::NetworkReset),
            (mark(200, 4_000), NodeStatus::NetworkReset),
        ];
        for (seen, expected) in cases {
            assert_eq!(compare(&known, &seen), expected, "{seen:?}");
        }
    }
}
