//! A run as the gateway shows it over HTTP: what frontends, the command line and bundles read.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::event::RunStatus;
use crate::{Digest, Nonce, RunId, TxHash, Usage, VaultRunId};

/// A run in JSON. Amounts are decimal strings of stroops; times are RFC 3339 in UTC. Readers ignore
/// members that they do not know; a member is never removed or given another meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    /// The run.
    pub id: RunId,
    /// Who pays (G… or C…).
    pub user: String,
    /// The agent's number in the registry.
    pub agent_id: u32,
    /// The rate card that holds, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_version: Option<u32>,
    /// The most units that it may use.
    pub budgets: Meters,
    /// The caller's name for what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// What the caller attached; never interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// The caller's name for this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its public status.
    pub status: RunStatus,
    /// What a worker does next; for operators, and open to new words.
    pub phase: String,
    /// The present attempt, from 1.
    pub attempt: u32,
    /// How often it was retried.
    pub retries: u32,
    /// The run's seed, at most 2^53 - 1 (R12).
    pub seed: u64,
    /// SHA-256 of the input's canonical JSON.
    pub input_digest: Digest,
    /// Digest of the module's tree, once pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_hash: Option<Digest>,
    /// Where the attempt's money is: `none`, `open`, `settled` or `returned`.
    pub escrow: EscrowView,
    /// The attempt's id in the vault, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<VaultRunId>,
    /// Settle before it, reclaim from it on.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub deadline: Option<OffsetDateTime>,
    /// What was metered, once settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Meters>,
    /// What the settlement commits to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_hash: Option<Digest>,
    /// What the vault answered when it was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptView>,
    /// Where the outputs are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackView>,
    /// Why it failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it failed, for programs: a [`crate::failure::FailureCode`] of the runner's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// What it waits for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// The transactions of the present attempt.
    pub transaction_hashes: TransactionHashes,
    /// The trace that it was asked for under.
    pub trace_id: String,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// The four meters, named as frontends know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as in Usage")]
pub struct Meters {
    pub llm_in: u64,
    pub llm_out: u64,
    pub http_calls: u64,
    pub runtime_ms: u64,
}

/// Where the money of an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EscrowView {
    /// Nothing was ever taken.
    None,
    /// The vault holds the highest possible charge.
    Open,
    /// The charge was paid and the rest returned.
    Settled,
    /// All of it went back.
    Returned,
}

/// What the settling transaction answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptView {
    /// The attempt's id in the vault.
    pub run_id: VaultRunId,
    /// Stroops that the developer got.
    #[serde(with = "crate::usage::decimal")]
    pub actual_charge: i128,
    /// Stroops that went back to the user.
    #[serde(with = "crate::usage::decimal")]
    pub refund: i128,
    /// Who got the charge.
    pub developer: String,
    /// What was settled with it.
    pub output_hash: Digest,
    /// Close time of the ledger that settled it.
    #[serde(with = "time::serde::rfc3339")]
    pub finalized_at: OffsetDateTime,
}

/// Where the outputs are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PackView {
    /// The pack (O4).
    pub pack_id: String,
    /// SHA-256 of the seal's bytes.
    pub seal_digest: Digest,
    /// The facts view; empty for the pack of a failed run.
    pub facts_ref: String,
}

/// Hashes of the transactions that opened and closed the present attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionHashes {
    /// The opening one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<TxHash>,
    /// The one that settled it or gave the escrow back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finalize: Option<TxHash>,
}

/// `run.json` of a bundle: the run as the gateway shows it, with what a verifier needs beside it.
///
/// `Terms` is what the vault pinned (`stellar::vault::RunTerms`), which this crate does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDocument<Terms> {
    /// The run.
    #[serde(flatten)]
    pub run: RunView,
    /// What was fixed when the attempt was opened.
    pub terms: Terms,
    /// The vault's contract id.
    pub vault_id: String,
    /// The attempt's nonce.
    pub nonce: Nonce,
    /// The run's input.
    pub input: serde_json::Value,
}

impl From<Usage> for Meters {
    fn from(usage: Usage) -> Self {
        let Usage { llm_in, llm_out, http_calls, runtime_ms } = usage;
        Self { llm_in, llm_out, http_calls, runtime_ms }
    }
}

impl From<Meters> for Usage {
    fn from(meters: Meters) -> Self {
        let Meters { llm_in, llm_out, http_calls, runtime_ms } = meters;
        Self { llm_in, llm_out, http_calls, runtime_ms }
    }
}
