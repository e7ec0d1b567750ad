//! What the vault's functions take and answer.
//!
//! Amounts are in the token's smallest unit (stroops), times in seconds of ledger time since 1970,
//! days in whole UTC days since 1970.

mod run;

pub use run::*;

use soroban_sdk::{Address, BytesN, contracttype};

/// The caps a user sets. 0 means no cap.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyInput {
    /// Most one run may escrow.
    pub per_run_cap: i128,
    /// Most that may be spent and reserved in one UTC day.
    pub daily_cap: i128,
    /// While true no run opens; open runs still settle.
    pub paused: bool,
}

/// The caps and how much of the day's is used.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserPolicy {
    /// Most one run may escrow; 0 is no cap.
    pub per_run_cap: i128,
    /// Most that may be spent and reserved in one UTC day; 0 is no cap.
    pub daily_cap: i128,
    /// While true no run opens.
    pub paused: bool,
    /// Charges and fees of runs opened and settled on `reserved_day`.
    pub spent_today: i128,
    /// Escrow of runs opened on `reserved_day` and not settled yet.
    pub reserved_today: i128,
    /// The UTC day the two sums are for.
    pub reserved_day: u64,
}

/// A user's account, with everything the past days owe it already returned.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// What can be withdrawn or escrowed now.
    pub balance: i128,
    /// Escrow of runs whose deadline lies in `day`.
    pub due_today: i128,
    /// Escrow of runs whose deadline lies in the day after.
    pub due_tomorrow: i128,
    /// The UTC day that the sums are for.
    pub day: u32,
    /// Charges and fees of runs opened and settled in `day`.
    pub spent: i128,
    /// Escrow of runs opened in `day` and not settled yet.
    pub reserved: i128,
    /// Most one run may escrow; 0 is no cap.
    pub per_run_cap: i128,
    /// Most that may be spent and reserved in one day; 0 is no cap.
    pub daily_cap: i128,
    /// While true no run opens.
    pub paused: bool,
    /// How many runs of this account were finalised.
    pub receipts: u64,
    /// The running hash over their receipts; 32 zero bytes when there are none (V3).
    pub receipts_hash: BytesN<32>,
}

/// A runner's right to open runs for a user.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunnerGrant {
    /// Who may open runs.
    pub runner: Address,
    /// For which agent.
    pub agent_id: u32,
    /// When it was granted.
    pub issued_at: u64,
    /// From when it is dead; absent is never.
    pub expires_at: Option<u64>,
    /// Counts the user's grants from 1; a new grant has a new one.
    pub serial: u32,
    /// What runs under this serial were charged or still reserve.
    pub used: i128,
}

/// What a user allows one runner for one agent, beside the policy's caps, which hold too. Without
/// limits a grant has no caps of its own and allows no fee.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GrantLimits {
    /// Most one run may escrow, fee included; 0 is no cap.
    pub per_run_cap: i128,
    /// Most that all runs under one grant may be charged and reserve; 0 is no cap.
    pub total_cap: i128,
    /// Highest flat fee of a run; 0 is no fee.
    pub max_runner_fee: i128,
}

/// Whom the vault was set up with. Registry and token never change (V2).
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Who may administer.
    pub admin: Address,
    /// The agent registry.
    pub registry: Address,
    /// The SEP-41 token in custody.
    pub token: Address,
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
    /// While true no run opens.
    pub opens_paused: bool,
    /// The form of the data; opens wait for `migrate` if it is not the code's own.
    pub layout: u32,
}
