//! What the registry stores and answers.

use soroban_sdk::{Address, BytesN, String, Vec, contracttype};

/// Most runners an agent may list.
pub const MAX_RUNNERS: u32 = 16;
/// Most attestation keys an agent may name (V12).
pub const MAX_ATTESTERS: u32 = 4;
/// Longest metadata URI, in bytes.
pub const MAX_URI_BYTES: u32 = 256;
/// Highest rate (V19): 2^63 − 1, so that prices fit everybody's numbers.
pub const MAX_RATE: i128 = 0x7fff_ffff_ffff_ffff;

/// Price of one unit of each meter, in the token's smallest unit (stroops).
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UsageMeterRates {
    /// Per input token of a language model.
    pub llm_in: i128,
    /// Per output token of a language model.
    pub llm_out: i128,
    /// Per HTTP call.
    pub http_calls: i128,
    /// Per millisecond of run time.
    pub runtime_ms: i128,
}

/// What a developer publishes: prices and the module they are for.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateCardInput {
    /// Prices, each 0 to 2^63 − 1.
    pub rates: UsageMeterRates,
    /// Digest of the module's tree: what may run under this card (V12).
    pub manifest_hash: BytesN<32>,
}

/// A published version of prices and module; never changes.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateCard {
    /// Prices, each 0 to 2^63 − 1.
    pub rates: UsageMeterRates,
    /// Digest of the module's tree.
    pub manifest_hash: BytesN<32>,
}

/// An agent as stored.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentRecord {
    /// Who may change the agent and is paid for its runs.
    pub developer: Address,
    /// Where its description is, at most 256 bytes.
    pub metadata_uri: Option<String>,
    /// Who may open and settle its runs; at most 16, may be empty.
    pub runners: Vec<Address>,
    /// Newest rate card; versions count from 1.
    pub latest_rate_version: u32,
    /// Ed25519 keys whose execution statements the developer accepts; at most 4 (V12).
    pub attesters: Vec<BytesN<32>>,
}

/// An agent as answered: its record and its id.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentDetails {
    /// The agent's number, from 1.
    pub agent_id: u32,
    /// Who may change the agent and is paid for its runs.
    pub developer: Address,
    /// Where its description is.
    pub metadata_uri: Option<String>,
    /// Who may open and settle its runs.
    pub runners: Vec<Address>,
    /// Newest rate card.
    pub latest_rate_version: u32,
    /// Ed25519 keys whose execution statements count.
    pub attesters: Vec<BytesN<32>>,
}

/// The state of administration (V2, V20).
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Administration {
    /// Who may administer.
    pub admin: Address,
    /// Who may take over by accepting.
    pub proposed: Option<Address>,
    /// sha256 of the announced Wasm, if any.
    pub upgrade_to: Option<BytesN<32>>,
    /// From when it may be put in place.
    pub upgrade_at: Option<u64>,
    /// From when the announcement has lapsed.
    pub upgrade_until: Option<u64>,
    /// The form of the data; the code's own once `migrate` has run.
    pub layout: u32,
}
