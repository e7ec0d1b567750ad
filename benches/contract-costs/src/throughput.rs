//! How many runs one ledger of the network takes, by each of its limits, in whole transactions.

use crate::ledger::Cost;
use crate::measure::Batch;
use crate::settings::LedgerLimits;

/// The runs a ledger that one limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// What the limit is on.
    pub limit: &'static str,
    /// Runs opened and settled.
    pub runs: u64,
}

/// Where a ledger's opens and settlements run. They share users' accounts and grants, so the
/// network may have to run them one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clusters {
    /// In one cluster.
    Together,
    /// Opens in one, settlements in another, beside each other.
    Apart,
}

/// The runs that each limit allows with this batch, by what the client declares.
pub fn allowed(batch: &Batch, limits: &LedgerLimits, clusters: Clusters) -> [Allowed; 4] {
    let most = |limit: &'static str, of: fn(&Cost) -> u64, available: u64| {
        let fits = |opens: u64, settlements: u64| {
            let (open, settle) = (opens * of(&batch.open), settlements * of(&batch.settle));
            if limit == INSTRUCTIONS && clusters == Clusters::Apart {
                open.max(settle) <= available
            } else {
                open + settle <= available
            }
        };
        Allowed { limit, runs: most_runs(batch, fits) }
    };
    [
        most("bytes of envelopes", |cost| cost.transaction_bytes.into(), limits.transaction_bytes),
        most("bytes written", |cost| cost.declared_bytes_written.into(), limits.write_bytes),
        most("entries written", |cost| cost.entries_written.into(), limits.write_entries),
        most(INSTRUCTIONS, |cost| cost.declared_instructions.into(), limits.instructions),
    ]
}

/// The limit that allows the fewest.
pub fn binding(allowed: &[Allowed; 4]) -> Allowed {
    allowed.iter().copied().fold(
        allowed[0],
        |least, next| {
            if next.runs < least.runs { next } else { least }
        },
    )
}

const INSTRUCTIONS: &str = "instructions";
/// More than any limit could allow.
const CEILING: u64 = 10_000;

/// The most runs whose opening and settling transactions fit, both in whole transactions; the last
/// of each may hold fewer items, which is counted as a full one.
fn most_runs(batch: &Batch, fits: impl Fn(u64, u64) -> bool) -> u64 {
    let transactions = |runs: u64, size: usize| runs.div_ceil(size as u64);
    let enough =
        |runs: u64| fits(transactions(runs, batch.opens), transactions(runs, batch.settlements));
    (1..CEILING).take_while(|runs| enough(*runs)).last().unwrap_or(0)
}
