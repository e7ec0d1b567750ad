//! The registry's events: one for every change (V10). Data are vectors in the order of the fields
//! (V18). The events of administration are in `contract_administration`.

pub use contract_administration::{
    AdminAccepted, AdminProposed, Migrated, UpgradeCancelled, UpgradeScheduled, Upgraded,
};

use soroban_sdk::{Address, BytesN, String, Vec, contractevent};

use crate::types::UsageMeterRates;

/// An agent exists. Its first rate card follows as `rates,published`.
#[contractevent(topics = ["agent", "registered"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentRegistered {
    /// The new agent.
    #[topic]
    pub agent_id: u32,
    /// Who may change it and is paid.
    pub developer: Address,
    /// Where its description is.
    pub metadata_uri: Option<String>,
    /// Who may run it.
    pub runners: Vec<Address>,
}

/// The description moved.
#[contractevent(topics = ["agent", "metadata"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MetadataSet {
    /// The agent.
    #[topic]
    pub agent_id: u32,
    /// Where its description is now.
    pub metadata_uri: Option<String>,
}

/// A runner may run the agent from now on.
#[contractevent(topics = ["agent", "runner_added"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunnerAdded {
    /// The agent.
    #[topic]
    pub agent_id: u32,
    /// The runner.
    pub runner: Address,
}

/// A runner may neither open nor settle runs of the agent any more (V6).
#[contractevent(topics = ["agent", "runner_removed"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunnerRemoved {
    /// The agent.
    #[topic]
    pub agent_id: u32,
    /// The runner.
    pub runner: Address,
}

/// A new version of prices and module.
#[contractevent(topics = ["rates", "published"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateCardPublished {
    /// The agent.
    #[topic]
    pub agent_id: u32,
    /// The new version.
    pub version: u32,
    /// Its prices.
    pub rates: UsageMeterRates,
    /// Digest of the module's tree.
    pub manifest_hash: BytesN<32>,
}

/// Which attestation keys count changed (V12).
#[contractevent(topics = ["agent", "attesters"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttestersSet {
    /// The agent.
    #[topic]
    pub agent_id: u32,
    /// The keys that count now.
    pub attesters: Vec<BytesN<32>>,
}
