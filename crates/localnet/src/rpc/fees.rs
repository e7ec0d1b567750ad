//! `getFeeStats`.

use serde_json::{Value, json};

use super::Answer;
use crate::chain::Chain;
use crate::node::Node;
use crate::settings::BASE_FEE;

/// Ledgers the statistics look back.
const WINDOW: usize = 50;

pub(super) fn get_fee_stats(node: &Node) -> Answer {
    let chain = node.view();
    Ok(json!({
        "sorobanInclusionFee": distribution(&chain, true),
        "inclusionFee": distribution(&chain, false),
        "latestLedger": chain.sequence(),
    }))
}

fn distribution(chain: &Chain, soroban: bool) -> Value {
    let window = chain.ledgers.iter().rev().take(WINDOW);
    let ledgers = window.clone().count();
    let mut fees: Vec<u64> = window
        .flat_map(|ledger| ledger.transactions.iter())
        .filter_map(|hash| chain.transactions.get(hash))
        .filter(|transaction| transaction.soroban == soroban)
        .map(|transaction| transaction.inclusion_fee)
        .collect();
    let count = fees.len();
    if fees.is_empty() {
        // With nobody bidding, the lowest fee is what inclusion costs.
        fees.push(u64::from(BASE_FEE));
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
