//! Runs: what opens them, what is fixed, their state, what they came to.

use soroban_sdk::{Address, BytesN, Vec, contracttype};

/// Price of one unit of each meter; the registry's type of the same name. Each is 0 to 2^63 − 1
/// (V19).
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

/// Units of each meter: a run's budget or its usage. Each is 0 to 2^63 − 1 (V19).
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

/// The four meters in this order, as batches and events carry them: units, or prices of a unit.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Meters(
    /// llm_in: input tokens of a language model.
    pub u64,
    /// llm_out: output tokens of a language model.
    pub u64,
    /// http_calls: HTTP calls.
    pub u64,
    /// runtime_ms: milliseconds of run time.
    pub u64,
);

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

/// An agent under one rate card: what runs of a batch have in common. There it is given once and
/// named by its place in the list of heads.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head(
    /// agent_id: which agent runs.
    pub u32,
    /// rate_version: which rate card holds.
    pub u32,
    /// rates: the card's prices.
    pub Meters,
    /// developer: who is paid the charge.
    pub Address,
    /// manifest_hash: digest of the module's tree.
    pub BytesN<32>,
    /// attesters: Ed25519 keys whose signatures count.
    pub Vec<BytesN<32>>,
);

/// One run to open in a batch: `open_run`'s arguments, without what the head or the batch states.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenItem(
    /// head: which of the batch's heads, from 0.
    pub u32,
    /// user: who pays.
    pub Address,
    /// budgets: the most units that can be charged.
    pub Meters,
    /// nonce: makes the run's id; sha256(16 UUID bytes ‖ attempt as u32 big-endian).
    pub BytesN<32>,
    /// runner_fee: a flat fee for the opener, at most what the grant's limits allow.
    pub u64,
    /// deadline: settle and void before it, reclaim from it on; 10 minutes to 24 hours away.
    pub u64,
    /// request_hash: sha256 of the canonical JSON of {input digest, seed, workflow id, module
    /// digest}.
    pub BytesN<32>,
);

/// One run to settle in a batch: `finalize_run`'s arguments, without what the run's record, the
/// head or the batch states.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SettleItem(
    /// head: which of the batch's heads, from 0.
    pub u32,
    /// run_id: the run.
    pub BytesN<32>,
    /// budgets: the most units that can be charged, from the opened event.
    pub Meters,
    /// opened_at: ledger time of the opening, from the opened event.
    pub u64,
    /// request_hash: what was asked for, from the opened event.
    pub BytesN<32>,
    /// usage: what was metered.
    pub Meters,
    /// output_hash: digest of the seal, or of the failure.
    pub BytesN<32>,
    /// attester: the place of the signing key among the head's attesters, from 0.
    pub u32,
    /// signature: the attester's, over the digest of this settlement; none takes nothing.
    pub Option<BytesN<64>>,
);

/// Everything that was fixed when a run opened (V5). The opened event carries it, the record only
/// its digest.
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
    /// Ed25519 keys whose signatures count.
    pub attesters: Vec<BytesN<32>>,
}

/// `RunTerms` with checked numbers, as the code uses them.
#[derive(Clone)]
pub(crate) struct Terms {
    pub user: Address,
    pub opened_by: Address,
    pub head: Head,
    pub budgets: Meters,
    pub max_charge: u64,
    pub runner_fee: u64,
    pub deadline: u64,
    pub opened_at: u64,
    pub request_hash: BytesN<32>,
}

/// The state of a run. An open run whose deadline has passed is over, whatever its record says.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RunLifecycle {
    /// Escrow is held. Carries the digest of the arguments, by which a repeated open is known.
    Open(BytesN<32>),
    /// Settled: charge, output hash, and the digest of settler, usage and whether an attester's
    /// signature was given, by which a repeated settlement is known.
    Finalized(i128, BytesN<32>, BytesN<32>),
    /// Given up by its opener, with a reason of the opener's own numbering.
    Voided(u32),
    /// Returned after the deadline.
    Reclaimed,
}

/// What is known of a run as long as its record lives (V17).
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
    /// The digest of its terms.
    pub terms_hash: BytesN<32>,
    /// Its state.
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
    /// What the settler got: the fee if it opened the run and gave a signature, else 0.
    pub runner_fee: i128,
    /// What went back to the user.
    pub refund: i128,
    /// Who got the charge.
    pub developer: Address,
}

/// The full text of a receipt. Its digest goes into the account's running hash (V3): of the vector of
/// these fields, with the terms as the opened event states them.
#[derive(Clone)]
pub(crate) struct SettledRun {
    pub run_id: BytesN<32>,
    pub terms: Terms,
    pub settled_by: Address,
    pub usage: Meters,
    pub output_hash: BytesN<32>,
    pub actual_charge: i128,
    pub runner_fee: i128,
    pub refund: i128,
    pub finalized_at: u64,
}
