//! A run as frontends see it: the known member names, and additions beside them.

use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use wire::{Digest, Usage};

use crate::model::run::{Attempt, Snapshot};
use crate::model::settlement::Receipt;

/// A run in JSON. Amounts are decimal strings of stroops.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the members are described in docs/operations/runner.md")]
pub struct RunView {
    pub id: String,
    pub user: String,
    pub agent_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_version: Option<u32>,
    pub budgets: Meters,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    pub status: &'static str,
    pub phase: &'static str,
    pub attempt: u32,
    pub retries: u32,
    pub seed: u64,
    pub input_digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_hash: Option<Digest>,
    pub escrow: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Meters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_hash: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pack: Option<Pack>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    pub transaction_hashes: Transactions,
    pub trace_id: String,
    pub created_at: String,
    pub updated_at: String,
}

/// The four meters.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as in wire::Usage")]
pub struct Meters {
    pub llm_in: u64,
    pub llm_out: u64,
    pub http_calls: u64,
    pub runtime_ms: u64,
}

/// Where the outputs are.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as in runs::settlement::Seal")]
pub struct Pack {
    pub pack_id: String,
    pub seal_digest: Digest,
    pub facts_ref: String,
}

/// Hashes of the transactions that opened and closed the present attempt.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Transactions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finalize: Option<Digest>,
}

impl From<&Snapshot> for RunView {
    fn from(snapshot: &Snapshot) -> Self {
        let (run, attempt, request) = (&snapshot.run, &snapshot.attempt, &snapshot.run.request);
        let (error_code, error) = error_of(snapshot);
        Self {
            id: run.id.to_string(),
            user: request.user.clone(),
            agent_id: request.agent_id,
            rate_version: attempt
                .terms
                .as_ref()
                .map(|terms| terms.rate_version)
                .or(request.rate_version),
            budgets: request.budgets.into(),
            workflow_id: request.workflow_id.clone(),
            metadata: request.metadata.clone().and_then(|text| RawValue::from_string(text).ok()),
            label: request.label.clone(),
            status: run.status.name(),
            phase: if run.operator_reason.is_some() { "operator" } else { run.phase.name() },
            attempt: run.attempt,
            retries: run.attempt.saturating_sub(1),
            seed: request.seed,
            input_digest: request.input_digest,
            manifest_hash: attempt.manifest_hash,
            escrow: attempt.escrow.name(),
            run_id: attempt.vault_run_id,
            deadline: attempt.terms.as_ref().and_then(|terms| unix(terms.deadline)),
            usage: attempt.usage.map(Meters::from),
            output_hash: attempt.receipt.as_ref().map(|receipt| receipt.output_hash),
            receipt: attempt.receipt.clone(),
            pack: pack(attempt),
            error,
            error_code,
            waiting_for: run.waiting_for.clone(),
            transaction_hashes: Transactions {
                open: snapshot.open_transaction,
                finalize: snapshot.closing_transaction,
            },
            trace_id: run.trace_id().to_owned(),
            created_at: rfc3339(run.created_at),
            updated_at: rfc3339(run.updated_at),
        }
    }
}

impl From<Usage> for Meters {
    fn from(usage: Usage) -> Self {
        let Usage { llm_in, llm_out, http_calls, runtime_ms } = usage;
        Self { llm_in, llm_out, http_calls, runtime_ms }
    }
}

/// What went wrong, for people and for programs.
fn error_of(snapshot: &Snapshot) -> (Option<String>, Option<String>) {
    match (&snapshot.run.operator_reason, &snapshot.attempt.failure) {
        (Some(reason), _) => (Some("OUTCOME_UNKNOWN".to_owned()), Some(reason.clone())),
        (None, Some(failure)) => (Some(failure.code.clone()), Some(failure.reason.clone())),
        (None, None) => (None, None),
    }
}

fn pack(attempt: &Attempt) -> Option<Pack> {
    let seal = attempt.seal.clone()?;
    Some(Pack { pack_id: seal.pack_id, seal_digest: seal.seal_digest, facts_ref: seal.facts_ref })
}

/// A time as every answer spells it.
pub fn rfc3339(at: OffsetDateTime) -> String {
    chassis::clock::rfc3339(at)
}

fn unix(seconds: u64) -> Option<String> {
    let seconds = i64::try_from(seconds).ok()?;
    OffsetDateTime::from_unix_timestamp(seconds).ok().map(rfc3339)
}
