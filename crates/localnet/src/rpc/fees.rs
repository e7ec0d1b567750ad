//! `getFeeStats`.

use serde_json::{Value, json};

use super::{Answer, Call};
use crate::chain::Chain;

/// Ledgers that the statistics of classic transactions look back.
const CLASSIC_WINDOW: usize = 10;

/// Ledgers that the statistics of Soroban transactions look back.
const SOROBAN_WINDOW: usize = 50;

pub(super) fn get_fee_stats(call: &Call<'_>) -> Answer {
    let chain = call.chain;
    Ok(json!({
        "sorobanInclusionFee": distribution(chain, true, SOROBAN_WINDOW),
        "inclusionFee": distribution(chain, false, CLASSIC_WINDOW),
        "latestLedger": chain.sequence(),
    }))
}

/// The distribution of what inclusion cost; all zeros while nothing was included.
fn distribution(chain: &Chain, soroban: bool, window: usize) -> Value {
    let window = chain.ledgers.iter().rev().take(window);
    let ledgers = window.clone().count();
    let mut fees: Vec<u64> = window
        .flat_map(|ledger| ledger.transactions.iter())
        .filter_map(|hash| chain.transactions.get(hash))
        .filter(|transaction| transaction.soroban == soroban)
        .map(|transaction| transaction.inclusion_fee)
        .collect();
    let (count, ledgers) = (fees.len(), if fees.is_empty() { 0 } else { ledgers });
    if fees.is_empty() {
        fees.push(0);
    }
    fees.sort_unstable();
    let mut answer = json!({
        "max": fees[fees.len() - 1].to_string(),
        "min": fees[0].to_string(),
        "mode": mode(&fees).to_string(),
        "transactionCount": count.to_string(),
        "ledgerCount": ledgers,
    });
    for percent in [10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99] {
        // The nearest rank.
        let rank = (fees.len() * percent).div_ceil(100).max(1);
        answer[format!("p{percent}")] = json!(fees[rank - 1].to_string());
    }
    answer
}

/// The most frequent of sorted fees, the lowest of them if several are.
fn mode(fees: &[u64]) -> u64 {
    let mut best = (0, 0);
    for run in fees.chunk_by(|a, b| a == b) {
        if run.len() > best.0 {
            best = (run.len(), run[0]);
        }
    }
    best.1
}
