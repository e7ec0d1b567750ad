//! Events published by the runner.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Data, Family};
use crate::{Digest, RunId, TxHash, VaultRunId};

/// The events about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunEvent {
    /// It was accepted and waits.
    Queued,
    /// Its escrow is being opened.
    Opening,
    /// Its module is being executed.
    Running,
    /// It is being settled.
    Finalizing,
    /// It was settled as a success.
    Finalized,
    /// It ended without success.
    Failed,
    /// It was called off.
    Cancelled,
}

/// The public status of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Waits for a worker.
    Pending,
    /// Its escrow is being opened.
    Opening,
    /// Its module is being executed and its outputs sealed.
    Running,
    /// It is being settled.
    Finalizing,
    /// Settled as a success.
    Finalized,
    /// Ended without success.
    Failed,
    /// Called off.
    Cancelled,
}

/// A run as it is after the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunData {
    /// The run, with dashes.
    pub run_id: RunId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// Its public status.
    pub status: RunStatus,
    /// Who pays (G… or C…).
    pub user: String,
    /// The agent in the registry.
    pub agent_id: u32,
    /// The workflow, if the caller named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// Digest of the module's tree, once the rate card is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_hash: Option<Digest>,
    /// The run's id in the vault, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_run_id: Option<VaultRunId>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// Hash of the transaction behind the event (64 hex digits).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TxHash>,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EventFailure))]
pub struct Failure {
    /// A name of a closed list: a statement's code, a problem, or a contract error.
    pub code: String,
    /// The cause for people.
    pub reason: String,
}

/// What the vault answered when the run was settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EventReceipt))]
pub struct Receipt {
    /// The run's id in the vault.
    pub run_id: VaultRunId,
    /// Stroops paid.
    #[serde(with = "crate::usage::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub actual_charge: i128,
    /// Stroops that the runner got beside the charge.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::usage::decimal::option"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub runner_fee: Option<i128>,
    /// Stroops returned.
    #[serde(with = "crate::usage::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub refund: i128,
    /// Who was paid.
    pub developer: String,
    /// What the settlement commits to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_hash: Option<Digest>,
    /// Close time of the ledger that settled it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::view::milliseconds::option"
    )]
    pub finalized_at: Option<OffsetDateTime>,
    /// The runner that settled it: the one that opened it, or another listed one in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_by: Option<String>,
}

impl Data for RunData {
    const FAMILY: Family = Family::Run;
    type Name = RunEvent;

    fn key(&self) -> String {
        // One spelling everywhere: in the subject, in the ids of events and in the data.
        self.run_id.to_string()
    }
}

impl RunEvent {
    /// Every event of the family.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Opening,
        Self::Running,
        Self::Finalizing,
        Self::Finalized,
        Self::Failed,
        Self::Cancelled,
    ];
}

impl From<RunEvent> for &'static str {
    fn from(event: RunEvent) -> Self {
        match event {
            RunEvent::Queued => "queued",
            RunEvent::Opening => "opening",
            RunEvent::Running => "running",
            RunEvent::Finalizing => "finalizing",
            RunEvent::Finalized => "finalized",
            RunEvent::Failed => "failed",
            RunEvent::Cancelled => "cancelled",
        }
    }
}

impl RunStatus {
    /// The word in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Finalizing => "finalizing",
            Self::Finalized => "finalized",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
