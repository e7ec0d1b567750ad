//! Runs: what opens them, what is fixed, where they stand, what they came to.

use soroban_sdk::{Address, BytesN, Vec, contracttype};

/// Price of one unit of each meter; the registry's type of the same name.
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

/// Units of each meter: a run's budget or its usage.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UsageBreakdown {
    /// Input tokens of a language model.
    pub llm_in: i128,
    /// Output tokens of a language model.
    pub llm_out: i128,
    /// HTTP calls.
    pub http_calls: i128,
    /// Milliseconds of run time.
    pub runtime_ms: i128,
}

/// What the opener of a run states beside its budget.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenTerms {
    /// Makes the run's id; sha256(16 UUID bytes ‖ attempt as u32 big-endian).
    pub nonce: BytesN<32>,
    /// The most the opener expects rates × budgets to be.
    pub max_charge: i128,
    /// A flat fee for the opener, at most what the grant's limits allow.
    pub runner_fee: i128,
    /// Settle and void before it, reclaim from it on; 10 minutes to 24 hours away.
    pub deadline: u64,
    /// sha256 of the canonical JSON of {input digest, seed, workflow id, module digest}.
    pub request_hash: BytesN<32>,
    /// After this ledger time the call fails.
    pub valid_until: u64,
}

/// One run to open in a batch: `open_run`'s arguments, without caller and `valid_until`, which the
/// batch states once.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenRun {
    /// Who pays.
    pub user: Address,
    /// Which agent runs.
    pub agent_id: u32,
    /// Under which rate card.
    pub rate_version: u32,
    /// The most units that can be charged.
    pub budgets: UsageBreakdown,
    /// Makes the run's id; sha256(16 UUID bytes ‖ attempt as u32 big-endian).
    pub nonce: BytesN<32>,
    /// The most the opener expects rates × budgets to be.
    pub max_charge: i128,
    /// A flat fee for the opener, at most what the grant's limits allow.
    pub runner_fee: i128,
    /// Settle and void before it, reclaim from it on; 10 minutes to 24 hours away.
    pub deadline: u64,
    /// sha256 of the canonical JSON of {input digest, seed, workflow id, module digest}.
    pub request_hash: BytesN<32>,
}

/// Everything that was fixed when a run opened (V5). The opened event carries it, the record only
/// its digest: sha256 of its XDR as `ScVal`.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunTerms {
    /// Who pays.
    pub user: Address,
    /// The runner that opened the run.
    pub opened_by: Address,
    /// Which agent runs.
    pub agent_id: u32,
    /// Which rate card holds.
    pub rate_version: u32,
    /// Its prices.
    pub rates: UsageMeterRates,
    /// The most units that can be charged.
    pub budgets: UsageBreakdown,
    /// rates × budgets: the highest charge.
    pub max_charge: i128,
    /// The opener's flat fee.
    pub runner_fee: i128,
    /// Settle and void before it, reclaim from it on.
    pub deadline: u64,
    /// Ledger time of the opening.
    pub opened_at: u64,
    /// Who is paid the charge.
    pub developer: Address,
    /// Digest of the module's tree.
    pub manifest_hash: BytesN<32>,
    /// What was asked for.
    pub request_hash: BytesN<32>,
    /// Ed25519 keys whose execution statements count.
    pub attesters: Vec<BytesN<32>>,
}

/// Where a run stands. An open run whose deadline has passed is over, whatever its record says.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RunLifecycle {
    /// Escrow is held. Carries the digest of the arguments, by which a repeated open is known.
    Open(BytesN<32>),
    /// Settled: charge, output hash, and the digest of settler and usage, by which a repeated
    /// settlement is known.
    Finalized(i128, BytesN<32>, BytesN<32>),
    /// Given up by its opener, with a reason of the opener's own numbering.
    Voided(u32),
    /// Returned after the deadline.
    Reclaimed,
}

/// What is known of a run as long as its record lives: until a day after its deadline (V3).
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunRecord {
    /// Who pays.
    pub user: Address,
    /// The runner that opened the run.
    pub opened_by: Address,
    /// Which agent runs.
    pub agent_id: u32,
    /// What was set aside: highest charge and fee.
    pub escrowed: i128,
    /// The opener's flat fee.
    pub runner_fee: i128,
    /// Settle and void before it, reclaim from it on.
    pub deadline: u64,
    /// The UTC day whose cap the run counts against.
    pub opened_day: u32,
    /// Which grant it was opened under.
    pub grant_serial: u32,
    /// sha256 of the XDR of its terms.
    pub terms_hash: BytesN<32>,
    /// Where it stands.
    pub lifecycle: RunLifecycle,
}

/// What a settlement came to. `actual_charge + runner_fee + refund` is the escrow.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunReceipt {
    /// The run.
    pub run_id: BytesN<32>,
    /// What the developer got.
    pub actual_charge: i128,
    /// What the settler got: the fee if it opened the run, else 0.
    pub runner_fee: i128,
    /// What went back to the user.
    pub refund: i128,
    /// Who got the charge.
    pub developer: Address,
}

/// The full text of a receipt. sha256 of its XDR goes into the account's running hash (V3).
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SettledRun {
    /// The run.
    pub run_id: BytesN<32>,
    /// What was fixed at its opening.
    pub terms: RunTerms,
    /// Who settled it.
    pub settled_by: Address,
    /// What was metered.
    pub usage: UsageBreakdown,
    /// Digest of the seal, or of the failure.
    pub output_hash: BytesN<32>,
    /// What the developer got.
    pub actual_charge: i128,
    /// What the settler got.
    pub runner_fee: i128,
    /// What went back to the user.
    pub refund: i128,
    /// Ledger time of the settlement.
    pub finalized_at: u64,
}

/// One run to settle in a batch: `finalize_run`'s arguments, without runner and `valid_until`.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settlement {
    /// The run.
    pub run_id: BytesN<32>,
    /// What was fixed at its opening, from the opened event.
    pub terms: RunTerms,
    /// What was metered.
    pub usage: UsageBreakdown,
    /// Digest of the seal, or of the failure.
    pub output_hash: BytesN<32>,
}
