//! A run and its attempts, as the database holds them.

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use stellar::Address;
use time::OffsetDateTime;
use wire::statement::MAX_SEED;
use wire::view::{RunPriority, UpstreamView};
use wire::{Digest, Nonce, RunId, TxHash, Usage, VaultRunId};

use crate::error::{Error, Result};
use crate::model::settlement::{Failure, Receipt, Seal, Settlement};
use crate::model::state::{Phase, Status};
use crate::model::terms::Terms;

/// How long a stored input can be named: it is needed until its run is accepted.
pub const INPUT_LASTS: time::Duration = time::Duration::days(7);

/// A seed for a run whose caller named none.
pub fn draw_seed() -> u64 {
    rand::rng().random_range(0..=MAX_SEED)
}

/// What was asked for, checked (R12).
///
/// Without the input itself: it may have a megabyte, and of everything that reads runs only the
/// execution and the bundle need it. Lists of runs must not hold it in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The account that pays (G… or C…).
    pub user: Address,
    /// The agent in the registry.
    pub agent_id: u32,
    /// The rate card's version; the latest if absent.
    pub rate_version: Option<u32>,
    /// The most it may use.
    pub budgets: Usage,
    /// The caller's name for what runs.
    pub workflow_id: Option<String>,
    /// The caller's name for this run.
    pub label: Option<String>,
    /// The caller's own data: the text of a JSON object as it was sent, never read.
    pub metadata: Option<String>,
    /// SHA-256 of the input's canonical JSON (RFC 8785).
    pub input_digest: Digest,
    /// At most 2^53 − 1.
    pub seed: u64,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What was asked for.
    pub request: Request,
    /// Who asked for it, where that is a part of the account (`M…` or `G…:memo`).
    pub subject: Option<String>,
    /// What the outside sees.
    pub status: Status,
    /// What a worker does next.
    pub phase: Phase,
    /// The present attempt, from 1.
    pub attempt: u32,
    /// A cancel was accepted: it stops before its module starts.
    pub cancel_requested: bool,
    /// A retry was accepted: it is tried again as soon as its escrow is settled (R2).
    pub retry_requested: bool,
    /// Why only a person can go on from here (R13).
    pub operator_reason: Option<String>,
    /// Tries of the present phase that came to nothing.
    pub failures: u32,
    /// What it waits for, in words.
    pub waiting_for: Option<String>,
    /// It does not start before.
    pub start_at: Option<OffsetDateTime>,
    /// How urgent it is, if its caller said so.
    pub priority: Option<RunPriority>,
    /// The W3C trace context it was asked for under; every worker continues it.
    pub traceparent: String,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
}

/// Where the money of an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Escrow {
    /// Nothing was ever taken.
    None,
    /// The vault holds the highest possible charge.
    Open,
    /// A charge or a fee was paid and the rest returned.
    Settled,
    /// All of it went back: nothing at all was taken, no fee either.
    Returned,
}

/// One try of a run (R2).
#[derive(Debug, Clone)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// What makes its id on chain (V4).
    pub nonce: Nonce,
    /// What was pinned when it was opened; absent until then (V5).
    pub terms: Option<Terms>,
    /// Its id in the vault.
    pub vault_run_id: Option<VaultRunId>,
    /// Digest of the module's tree.
    pub manifest_hash: Option<Digest>,
    /// Where its money is.
    pub escrow: Escrow,
    /// When module-gate was first asked.
    pub execute_started_at: Option<OffsetDateTime>,
    /// What oracle-gate answered.
    pub seal: Option<Seal>,
    /// What is settled, once frozen.
    pub settlement: Option<Settlement>,
    /// What was metered, once settled.
    pub usage: Option<Usage>,
    /// What it asked of named services, once it was executed.
    pub upstreams: Vec<UpstreamView>,
    /// What the settling transaction answered.
    pub receipt: Option<Receipt>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// What module-gate signed about an attempt. Read only where it is used, as it may be large.
#[derive(Debug, Clone, Default)]
pub struct Statements {
    /// The verdict on the module, as it came.
    pub shipping: Option<Vec<u8>>,
    /// The execution statement, as it came.
    pub execution: Option<Vec<u8>>,
}

/// A run with its present attempt and the transactions that matter to the outside. Small: a list
/// may hold hundreds of them.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The run.
    pub run: Run,
    /// Its present attempt.
    pub attempt: Attempt,
    /// Hash of the transaction that opened it.
    pub open_transaction: Option<TxHash>,
    /// Hash of the transaction that settled, voided or reclaimed it.
    pub closing_transaction: Option<TxHash>,
}

/// A worker's right to change a run: the id and the fencing token it claimed (R1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunLease {
    /// The run.
    pub id: RunId,
    /// The token of the claim.
    pub token: i64,
}

impl Escrow {
    /// The name in JSON and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Open => "open",
            Self::Settled => "settled",
            Self::Returned => "returned",
        }
    }
}

impl Run {
    /// The trace id inside `traceparent` (32 hex digits), if it has the form of version 00.
    pub fn trace_id(&self) -> &str {
        self.traceparent.split('-').nth(1).unwrap_or_default()
    }

    /// The workflow id. Every request that was taken has one.
    pub fn workflow_id(&self) -> &str {
        self.request.workflow_id.as_deref().unwrap_or_default()
    }
}

impl Snapshot {
    /// The present attempt's key.
    pub const fn key(&self) -> (RunId, u32) {
        (self.run.id, self.run.attempt)
    }

    /// What the attempt is opened under.
    ///
    /// # Errors
    ///
    /// When nothing was pinned yet, which no phase after the first allows.
    pub fn terms(&self) -> Result<&Terms> {
        self.attempt.terms.as_ref().ok_or_else(|| self.lacks("terms"))
    }

    /// The attempt's id in the vault and its deadline.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::terms`].
    pub fn pinned(&self) -> Result<(VaultRunId, u64)> {
        let id = self.attempt.vault_run_id.ok_or_else(|| self.lacks("run id in the vault"))?;
        Ok((id, self.terms()?.deadline))
    }

    /// What was frozen.
    ///
    /// # Errors
    ///
    /// When nothing was, which no settling phase allows.
    pub fn settlement(&self) -> Result<&Settlement> {
        self.attempt.settlement.as_ref().ok_or_else(|| self.lacks("settlement"))
    }

    fn lacks(&self, what: &str) -> Error {
        Error::Broken(format!("run {} is {} without a {what}", self.run.id, self.run.phase))
    }
}
