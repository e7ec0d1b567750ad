//! What the runner's transactions took of the ledgers, and what the network's limits allow.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use contract_costs::ledger::Cost;
use contract_costs::measure::Batch;
use contract_costs::settings::{LedgerLimits, Settings};
use contract_costs::throughput::{Allowed, Clusters, allowed, binding};
use stellar_xdr::{Limits, ReadXdr as _, TransactionEnvelope, TransactionExt};

/// The instructions of each of so many clusters are a ledger's.
const CLUSTERS: u64 = 2;

/// Openings or settlements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Openings.
    Open,
    /// Settlements.
    Settle,
}

/// A transaction that did its calls.
#[derive(Debug, Clone)]
pub struct Landed {
    /// What its calls are.
    pub kind: Kind,
    /// How many it carried.
    pub calls: usize,
    /// How many of them were done.
    pub done: usize,
    /// What it declared.
    pub cost: Cost,
}

impl Landed {
    /// Reads the envelope of one.
    pub fn read(
        kind: Kind,
        (calls, done): (usize, usize),
        envelope: &[u8],
    ) -> anyhow::Result<Self> {
        let TransactionEnvelope::Tx(signed) =
            TransactionEnvelope::from_xdr(envelope, Limits::none())?
        else {
            bail!("an envelope of another kind was kept");
        };
        let TransactionExt::V1(soroban) = &signed.tx.ext else {
            bail!("a transaction without Soroban resources was kept");
        };
        let resources = &soroban.resources;
        let cost = Cost {
            transaction_bytes: u32::try_from(envelope.len())?,
            declared_bytes_written: resources.write_bytes,
            declared_instructions: resources.instructions,
            entries_written: u32::try_from(resources.footprint.read_write.len())?,
            ..Cost::default()
        };
        Ok(Self { kind, calls, done, cost })
    }
}

/// The runs a ledger that the public network's limits allow if all transactions are as the fullest
/// of these, and how many openings and settlements those carried.
///
/// # Errors
///
/// When there were no openings or no settlements.
pub fn allowed_runs(landed: &[Landed]) -> anyhow::Result<(Allowed, [usize; 2])> {
    let limits = Settings::mainnet()?.limits.ledger;
    let (open, settle) = (fullest(landed, Kind::Open)?, fullest(landed, Kind::Settle)?);
    let (opens, settlements) = (open.calls, settle.calls);
    let batch = Batch { opens, settlements, open: open.cost, settle: settle.cost };
    let allowed = binding(&allowed(&batch, &limits, Clusters::Apart));
    Ok((allowed, [opens, settlements]))
}

/// The one that carried the most calls; of several the smallest.
fn fullest(landed: &[Landed], kind: Kind) -> anyhow::Result<&Landed> {
    let of_kind = landed.iter().filter(|landed| landed.kind == kind);
    let order = |landed: &&Landed| (std::cmp::Reverse(landed.calls), landed.cost.transaction_bytes);
    of_kind.min_by_key(order).with_context(|| format!("no transaction is of the kind {kind:?}"))
}

/// How full the ledgers were by each limit of the public network, from 0 to 1.
pub fn fill(landed: &[Landed], ledgers: u32) -> anyhow::Result<BTreeMap<&'static str, f64>> {
    Ok(fill_of(landed, ledgers, &Settings::mainnet()?.limits.ledger))
}

fn fill_of(landed: &[Landed], ledgers: u32, limits: &LedgerLimits) -> BTreeMap<&'static str, f64> {
    let share = |of: fn(&Cost) -> u32, limit: u64| {
        let used: u64 = landed.iter().map(|landed| u64::from(of(&landed.cost))).sum();
        used as f64 / (limit as f64 * f64::from(ledgers))
    };
    BTreeMap::from([
        ("bytes of envelopes", share(|cost| cost.transaction_bytes, limits.transaction_bytes)),
        ("bytes written", share(|cost| cost.declared_bytes_written, limits.write_bytes)),
        ("entries written", share(|cost| cost.entries_written, limits.write_entries)),
        ("instructions", share(|cost| cost.declared_instructions, limits.instructions * CLUSTERS)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn landed(kind: Kind, calls: usize, bytes: u32) -> Landed {
        let cost = Cost {
            transaction_bytes: bytes,
            declared_bytes_written: 10,
            entries_written: 1,
            declared_instructions: 1_000,
            ..Cost::default()
        };
        Landed { kind, calls, done: calls, cost }
    }

    #[test]
    fn what_is_allowed_follows_from_the_fullest_transactions() {
        let all = [
            landed(Kind::Open, 1, 2_000),
            landed(Kind::Open, 10, 9_000),
            landed(Kind::Open, 10, 8_000),
            landed(Kind::Settle, 10, 12_000),
        ];
        // 266,240 bytes a ledger: 13 transactions of each kind, of 20,000 bytes together.
        let allowed = Allowed { limit: "bytes of envelopes", runs: 130 };
        assert_eq!(allowed_runs(&all).unwrap(), (allowed, [10, 10]));
        assert!(allowed_runs(&all[..3]).is_err(), "nothing is known without settlements");
    }

    #[test]
    fn a_ledger_is_full_where_the_sum_reaches_its_limit() {
        let limits = LedgerLimits {
            instructions: 1_000,
            write_entries: 100,
            write_bytes: 40,
            transaction_bytes: 30_000,
        };
        let all = [landed(Kind::Open, 1, 5_000), landed(Kind::Settle, 1, 10_000)];
        let fill = fill_of(&all, 1, &limits);
        assert!((fill["bytes of envelopes"] - 0.5).abs() < 1e-9);
        assert!((fill["bytes written"] - 0.5).abs() < 1e-9);
        assert!((fill["entries written"] - 0.02).abs() < 1e-9);
        assert!((fill["instructions"] - 1.0).abs() < 1e-9);
        assert!((fill_of(&all, 2, &limits)["bytes written"] - 0.25).abs() < 1e-9);
    }
}
