//! Events of the vault and the registry, republished by the runner as the network has them.

use serde::{Deserialize, Serialize};

use super::{Data, Family};
use crate::{Digest, PublicKey, Rates, TxHash, Usage, VaultRunId};

/// An event of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainData {
    /// The network's own id of the event: the same from every node, and in the order of the ledger.
    pub event_id: String,
    /// The contract that emitted it.
    pub contract: String,
    /// The ledger it is of. The event's `time` is when that ledger closed.
    pub ledger: u32,
    /// Hash of the transaction that made it true.
    pub transaction: TxHash,
    /// What it says. The member `event` names its kind.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What an event says. The name is the event's two topics, joined by `_`; amounts are stroops,
/// times Unix seconds of ledger time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the contracts document the fields under the same names")]
pub enum Fact {
    /// Tokens came in.
    AccountDeposited {
        user: String,
        #[serde(with = "crate::usage::decimal")]
        amount: i128,
        #[serde(with = "crate::usage::decimal")]
        balance: i128,
    },
    /// Tokens went back to the user.
    AccountWithdrawn {
        user: String,
        #[serde(with = "crate::usage::decimal")]
        amount: i128,
        #[serde(with = "crate::usage::decimal")]
        balance: i128,
    },
    /// The user set caps or pause.
    AccountPolicy {
        user: String,
        #[serde(with = "crate::usage::decimal")]
        per_run_cap: i128,
        #[serde(with = "crate::usage::decimal")]
        daily_cap: i128,
        paused: bool,
    },
    /// Escrow whose deadline lay in past days returned to the balance.
    AccountSwept {
        user: String,
        #[serde(with = "crate::usage::decimal")]
        amount: i128,
        #[serde(with = "crate::usage::decimal")]
        balance: i128,
        day: u32,
    },
    /// A runner may open runs for the user.
    RunnerGranted {
        user: String,
        runner: String,
        agent_id: u32,
        issued_at: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
        serial: u32,
    },
    /// A runner may open no more runs for the user; open ones still settle (V6).
    RunnerRevoked { user: String, runner: String, agent_id: u32, revoked_at: u64 },
    /// A grant that had expired was removed.
    RunnerExpired { user: String, runner: String, agent_id: u32, expires_at: u64 },
    /// The user set what a runner is allowed for an agent.
    RunnerLimits {
        user: String,
        runner: String,
        agent_id: u32,
        #[serde(with = "crate::usage::decimal")]
        per_run_cap: i128,
        #[serde(with = "crate::usage::decimal")]
        total_cap: i128,
        #[serde(with = "crate::usage::decimal")]
        max_runner_fee: i128,
    },
    /// Escrow was set aside for a run.
    RunOpened(Box<Opened>),
    /// A run was settled.
    RunFinalized(Box<Finalized>),
    /// The opener gave a run up; the whole escrow went back.
    RunVoided {
        user: String,
        run_id: VaultRunId,
        runner: String,
        reason: u32,
        #[serde(with = "crate::usage::decimal")]
        refund: i128,
        voided_at: u64,
    },
    /// A run past its deadline was ended.
    RunReclaimed {
        user: String,
        run_id: VaultRunId,
        #[serde(with = "crate::usage::decimal")]
        refund: i128,
        reclaimed_at: u64,
    },
    /// A developer or runner was paid out.
    PayeeClaimed {
        payee: String,
        role: String,
        #[serde(with = "crate::usage::decimal")]
        amount: i128,
        #[serde(with = "crate::usage::decimal")]
        balance: i128,
    },
    /// No run opens until the administrator resumes.
    AdminOpensPaused { admin: String },
    /// Runs open again.
    AdminOpensResumed { admin: String },
    /// An agent exists. Its first rate card follows as `rates_published`.
    AgentRegistered {
        agent_id: u32,
        developer: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata_uri: Option<String>,
        runners: Vec<String>,
    },
    /// An agent's description moved.
    AgentMetadata {
        agent_id: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata_uri: Option<String>,
    },
    /// A runner may run the agent from now on.
    AgentRunnerAdded { agent_id: u32, runner: String },
    /// A runner may neither open nor settle runs of the agent any more (V6).
    AgentRunnerRemoved { agent_id: u32, runner: String },
    /// Which attestation keys count changed (V12).
    AgentAttesters { agent_id: u32, attesters: Vec<PublicKey> },
    /// A new version of prices and module.
    RatesPublished { agent_id: u32, version: u32, rates: Rates, manifest_hash: Digest },
    /// The administrator named a successor.
    AdminProposed { admin: String, proposed: String },
    /// The successor took over.
    AdminAccepted { previous: String, admin: String },
    /// New code may take effect from `ready_at` on.
    AdminUpgradeScheduled { wasm_hash: Digest, ready_at: u64, lapses_at: u64 },
    /// Scheduled code will not take effect.
    AdminUpgradeCancelled { wasm_hash: Digest },
    /// New code took effect.
    AdminUpgraded { wasm_hash: Digest },
    /// What is stored has another form.
    AdminMigrated { from: u32, to: u32 },
}

/// The terms of a run that was opened (V5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The run's id in the vault.
    pub run_id: VaultRunId,
    /// Who pays.
    pub user: String,
    /// Who opened it.
    pub opened_by: String,
    /// Which agent runs.
    pub agent_id: u32,
    /// Which rate card holds.
    pub rate_version: u32,
    /// The card's prices.
    pub rates: Rates,
    /// Who is paid the charge.
    pub developer: String,
    /// Digest of the module's tree.
    pub manifest_hash: Digest,
    /// Ed25519 keys whose signatures count.
    pub attesters: Vec<PublicKey>,
    /// The most units that can be charged.
    pub budgets: Usage,
    /// rates × budgets.
    #[serde(with = "crate::usage::decimal")]
    pub max_charge: i128,
    /// The opener's flat fee.
    #[serde(with = "crate::usage::decimal")]
    pub runner_fee: i128,
    /// Settle and void before it, reclaim from it on.
    pub deadline: u64,
    /// Ledger time of the opening.
    pub opened_at: u64,
    /// What was asked for.
    pub request_hash: Digest,
}

/// What a run was settled with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finalized {
    /// The run's id in the vault.
    pub run_id: VaultRunId,
    /// Who paid.
    pub user: String,
    /// Who settled it.
    pub runner: String,
    /// What the developer got.
    #[serde(with = "crate::usage::decimal")]
    pub actual_charge: i128,
    /// What the settler got.
    #[serde(with = "crate::usage::decimal")]
    pub runner_fee: i128,
    /// What went back to the user.
    #[serde(with = "crate::usage::decimal")]
    pub refund: i128,
    /// What was metered.
    pub usage: Usage,
    /// Digest of the seal, or of the failure.
    pub output_hash: Digest,
    /// Ledger time of the settlement.
    pub finalized_at: u64,
    /// Counts the account's receipts from 1.
    pub receipt_number: u64,
    /// The account's running hash with this receipt.
    pub receipts_hash: Digest,
}

impl Data for ChainData {
    const FAMILY: Family = Family::Chain;
    type Name = &'static str;

    /// The account, the agent or the contract that it is about: one subject filter gives the whole
    /// history of an account in its order, runs and grants included.
    fn key(&self) -> String {
        match &self.fact {
            Fact::AccountDeposited { user, .. }
            | Fact::AccountWithdrawn { user, .. }
            | Fact::AccountPolicy { user, .. }
            | Fact::AccountSwept { user, .. }
            | Fact::RunnerGranted { user, .. }
            | Fact::RunnerRevoked { user, .. }
            | Fact::RunnerExpired { user, .. }
            | Fact::RunnerLimits { user, .. }
            | Fact::RunVoided { user, .. }
            | Fact::RunReclaimed { user, .. } => user.clone(),
            Fact::RunOpened(opened) => opened.user.clone(),
            Fact::RunFinalized(finalized) => finalized.user.clone(),
            Fact::PayeeClaimed { payee, .. } => payee.clone(),
            Fact::AgentRegistered { agent_id, .. }
            | Fact::AgentMetadata { agent_id, .. }
            | Fact::AgentRunnerAdded { agent_id, .. }
            | Fact::AgentRunnerRemoved { agent_id, .. }
            | Fact::AgentAttesters { agent_id, .. }
            | Fact::RatesPublished { agent_id, .. } => format!("agent-{agent_id}"),
            Fact::AdminOpensPaused { .. }
            | Fact::AdminOpensResumed { .. }
            | Fact::AdminProposed { .. }
            | Fact::AdminAccepted { .. }
            | Fact::AdminUpgradeScheduled { .. }
            | Fact::AdminUpgradeCancelled { .. }
            | Fact::AdminUpgraded { .. }
            | Fact::AdminMigrated { .. } => self.contract.clone(),
        }
    }
}

impl Fact {
    /// Every name.
    pub const NAMES: [&'static str; 27] = [
        "account_deposited",
        "account_withdrawn",
        "account_policy",
        "account_swept",
        "runner_granted",
        "runner_revoked",
        "runner_expired",
        "runner_limits",
        "run_opened",
        "run_finalized",
        "run_voided",
        "run_reclaimed",
        "payee_claimed",
        "admin_opens_paused",
        "admin_opens_resumed",
        "agent_registered",
        "agent_metadata",
        "agent_runner_added",
        "agent_runner_removed",
        "agent_attesters",
        "rates_published",
        "admin_proposed",
        "admin_accepted",
        "admin_upgrade_scheduled",
        "admin_upgrade_cancelled",
        "admin_upgraded",
        "admin_migrated",
    ];

    /// The name in subjects, in types and in the member `event`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AccountDeposited { .. } => "account_deposited",
            Self::AccountWithdrawn { .. } => "account_withdrawn",
            Self::AccountPolicy { .. } => "account_policy",
            Self::AccountSwept { .. } => "account_swept",
            Self::RunnerGranted { .. } => "runner_granted",
            Self::RunnerRevoked { .. } => "runner_revoked",
            Self::RunnerExpired { .. } => "runner_expired",
            Self::RunnerLimits { .. } => "runner_limits",
            Self::RunOpened(_) => "run_opened",
            Self::RunFinalized(_) => "run_finalized",
            Self::RunVoided { .. } => "run_voided",
            Self::RunReclaimed { .. } => "run_reclaimed",
            Self::PayeeClaimed { .. } => "payee_claimed",
            Self::AdminOpensPaused { .. } => "admin_opens_paused",
            Self::AdminOpensResumed { .. } => "admin_opens_resumed",
            Self::AgentRegistered { .. } => "agent_registered",
            Self::AgentMetadata { .. } => "agent_metadata",
            Self::AgentRunnerAdded { .. } => "agent_runner_added",
            Self::AgentRunnerRemoved { .. } => "agent_runner_removed",
            Self::AgentAttesters { .. } => "agent_attesters",
            Self::RatesPublished { .. } => "rates_published",
            Self::AdminProposed { .. } => "admin_proposed",
            Self::AdminAccepted { .. } => "admin_accepted",
            Self::AdminUpgradeScheduled { .. } => "admin_upgrade_scheduled",
            Self::AdminUpgradeCancelled { .. } => "admin_upgrade_cancelled",
            Self::AdminUpgraded { .. } => "admin_upgraded",
            Self::AdminMigrated { .. } => "admin_migrated",
        }
    }

    /// The run's id in the vault, where it is about one.
    pub const fn run_id(&self) -> Option<VaultRunId> {
        match self {
            Self::RunOpened(opened) => Some(opened.run_id),
            Self::RunFinalized(finalized) => Some(finalized.run_id),
            Self::RunVoided { run_id, .. } | Self::RunReclaimed { run_id, .. } => Some(*run_id),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_the_data_is_the_name_of_the_event() {
        let facts = [
            Fact::AdminMigrated { from: 1, to: 2 },
            Fact::AccountSwept { user: "G".to_owned(), amount: 1, balance: 2, day: 3 },
            Fact::AgentRunnerRemoved { agent_id: 1, runner: "G".to_owned() },
        ];
        for fact in facts {
            let value = serde_json::to_value(&fact).unwrap();
            assert_eq!(value["event"], fact.name());
            assert!(Fact::NAMES.contains(&fact.name()));
            assert_eq!(serde_json::from_value::<Fact>(value).unwrap(), fact);
        }
    }
}
