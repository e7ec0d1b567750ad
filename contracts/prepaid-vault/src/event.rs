//! The vault's events: one for every change (V10). Data are vectors in the order of the fields,
//! absent ones as void (V18); the names are in the Wasm's interface section (SEP-48). Upgrade and
//! hand-over have their events in `contract_administration`.

pub use contract_administration::{
    AdminAccepted, AdminProposed, Migrated, UpgradeCancelled, UpgradeScheduled, Upgraded,
};

use soroban_sdk::{Address, BytesN, Symbol, contractevent};

use crate::types::{Head, Meters};

/// Tokens came in.
#[contractevent(topics = ["account", "deposited"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountDeposited {
    /// Whose account.
    #[topic]
    pub user: Address,
    /// How much came in.
    pub amount: i128,
    /// Free balance afterwards.
    pub balance: i128,
}

/// Tokens went back to the user.
#[contractevent(topics = ["account", "withdrawn"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountWithdrawn {
    /// Whose account.
    #[topic]
    pub user: Address,
    /// How much went out.
    pub amount: i128,
    /// Free balance afterwards.
    pub balance: i128,
}

/// The user set caps or pause.
#[contractevent(topics = ["account", "policy"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicySet {
    /// Whose account.
    #[topic]
    pub user: Address,
    /// Most one run may escrow; 0 is no cap.
    pub per_run_cap: i128,
    /// Most of a UTC day; 0 is no cap.
    pub daily_cap: i128,
    /// Whether new runs are refused.
    pub paused: bool,
}

/// Escrow whose deadline lay in past days returned to the balance.
#[contractevent(topics = ["account", "swept"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountSwept {
    /// Whose account.
    #[topic]
    pub user: Address,
    /// How much returned.
    pub amount: i128,
    /// Free balance after the call.
    pub balance: i128,
    /// The UTC day of the sweep; every earlier due day is empty now.
    pub day: u32,
}

/// A runner may open runs for the user.
#[contractevent(topics = ["runner", "granted"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunnerGranted {
    /// Who granted.
    pub user: Address,
    /// To whom.
    pub runner: Address,
    /// For which agent.
    pub agent_id: u32,
    /// When.
    pub issued_at: u64,
    /// From when it is dead; void is never.
    pub expires_at: Option<u64>,
    /// The grant's serial.
    pub serial: u32,
}

/// A runner may open no more runs for the user. Open ones still settle (V6).
#[contractevent(topics = ["runner", "revoked"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunnerRevoked {
    /// Who had granted.
    pub user: Address,
    /// To whom.
    pub runner: Address,
    /// For which agent.
    pub agent_id: u32,
    /// When.
    pub revoked_at: u64,
}

/// A grant that had died of age was cleared away.
#[contractevent(topics = ["runner", "expired"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunnerExpired {
    /// Who had granted.
    #[topic]
    pub user: Address,
    /// To whom.
    pub runner: Address,
    /// For which agent.
    pub agent_id: u32,
    /// Since when it was dead.
    pub expires_at: u64,
}

/// The user set what a runner is allowed for an agent. Counts from the next open on.
#[contractevent(topics = ["runner", "limits"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunnerLimitsSet {
    /// Who allows.
    #[topic]
    pub user: Address,
    /// Whom.
    pub runner: Address,
    /// For which agent.
    pub agent_id: u32,
    /// Most one run may escrow, fee included; 0 is no cap.
    pub per_run_cap: i128,
    /// Most that all runs under one grant may be charged and reserve; 0 is no cap.
    pub total_cap: i128,
    /// Highest flat fee of a run; 0 is no fee.
    pub max_runner_fee: i128,
}

/// Escrow was set aside for a run. The data after the run's id are its terms (V5); their digest is
/// the record's.
#[contractevent(topics = ["run", "opened"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunOpened {
    /// The run.
    pub run_id: BytesN<32>,
    /// Who pays.
    pub user: Address,
    /// Who opened it.
    pub opened_by: Address,
    /// Agent, rate version, rates, developer, module and attesters.
    pub head: Head,
    /// The most units that can be charged.
    pub budgets: Meters,
    /// rates × budgets.
    pub max_charge: i128,
    /// The opener's flat fee.
    pub runner_fee: i128,
    /// Settle and void before it, reclaim from it on.
    pub deadline: u64,
    /// Ledger time of the opening.
    pub opened_at: u64,
    /// What was asked for.
    pub request_hash: BytesN<32>,
}

/// A run was settled. With the opened event it rebuilds the receipt that went into the account's
/// running hash (V3).
#[contractevent(topics = ["run", "finalized"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunFinalized {
    /// The run.
    pub run_id: BytesN<32>,
    /// Who paid.
    pub user: Address,
    /// Who settled it.
    pub runner: Address,
    /// What the developer got.
    pub actual_charge: i128,
    /// What the settler got.
    pub runner_fee: i128,
    /// What went back to the user.
    pub refund: i128,
    /// What was metered.
    pub usage: Meters,
    /// Digest of the seal, or of the failure.
    pub output_hash: BytesN<32>,
    /// Ledger time of the settlement.
    pub finalized_at: u64,
    /// Counts the account's receipts from 1.
    pub receipt_number: u64,
    /// The account's running hash with this receipt.
    pub receipts_hash: BytesN<32>,
}

/// The opener gave a run up; the whole escrow went back.
#[contractevent(topics = ["run", "voided"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunVoided {
    /// Who gets it back.
    #[topic]
    pub user: Address,
    /// The run.
    pub run_id: BytesN<32>,
    /// Who gave it up.
    pub runner: Address,
    /// Why, in the opener's own numbering.
    pub reason: u32,
    /// What went back to the user.
    pub refund: i128,
    /// Ledger time.
    pub voided_at: u64,
}

/// A run past its deadline was ended.
#[contractevent(topics = ["run", "reclaimed"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunReclaimed {
    /// Who gets it back.
    #[topic]
    pub user: Address,
    /// The run.
    pub run_id: BytesN<32>,
    /// What this call returned for the run: its escrow, or 0 if a sweep had returned it.
    pub refund: i128,
    /// Ledger time.
    pub reclaimed_at: u64,
}

/// A developer or runner was paid out.
#[contractevent(topics = ["payee", "claimed"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PayeeClaimed {
    /// Who was paid.
    #[topic]
    pub payee: Address,
    /// `developer` or `runner`.
    pub role: Symbol,
    /// How much.
    pub amount: i128,
    /// What is still claimable.
    pub balance: i128,
}

/// No run opens until the admin resumes. Everything else goes on.
#[contractevent(topics = ["admin", "opens_paused"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpensPaused {
    /// Who paused.
    pub admin: Address,
}

/// Runs open again.
#[contractevent(topics = ["admin", "opens_resumed"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpensResumed {
    /// Who resumed.
    pub admin: Address,
}
