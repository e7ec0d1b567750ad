//! What is pinned when a run opens (V5), kept so that it can be passed again when it is settled.

use serde::{Deserialize, Serialize};
use stellar::Address;
use wire::{Digest, PublicKey, Rates, Usage};

/// The terms of one attempt. Amounts in stroops, times in Unix seconds of ledger time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Who pays.
    pub user: Address,
    /// The runner that opens.
    pub opened_by: Address,
    /// Which agent runs.
    pub agent_id: u32,
    /// Which rate card holds.
    pub rate_version: u32,
    /// Its prices.
    pub rates: Rates,
    /// The most units that can be charged.
    pub budgets: Usage,
    /// rates × budgets.
    #[serde(with = "wire::usage::decimal")]
    pub max_charge: i128,
    /// The runner's flat fee.
    #[serde(with = "wire::usage::decimal")]
    pub runner_fee: i128,
    /// Settle and void before it, reclaim from it on.
    pub deadline: u64,
    /// Ledger time of the opening; absent until it is known to have happened.
    pub opened_at: Option<u64>,
    /// Who is paid.
    pub developer: Address,
    /// Digest of the module's tree.
    pub manifest_hash: Digest,
    /// What was asked for.
    pub request_hash: Digest,
    /// Raw Ed25519 keys whose execution statements count.
    pub attesters: Vec<PublicKey>,
}
