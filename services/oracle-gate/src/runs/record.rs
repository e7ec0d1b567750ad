//! What is kept of the seal of one attempt: values only, for the database and for the code that
//! seals.

use bytes::Bytes;
use seal::SealStatus;
use time::OffsetDateTime;
use wire::RunId;
use wire::digest::Digest;

use crate::check::outcome::Status;

/// What the runner asks to have sealed.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The run.
    pub run: RunId,
    /// Its attempt, from 1.
    pub attempt: u32,
    /// Its workflow.
    pub workflow_id: String,
    /// The execution statement in its envelope.
    pub statement: Bytes,
    /// The shipping statement in its envelope; empty where a failed run has none.
    pub shipping: Bytes,
    /// The run's plan: a JSON object.
    pub plan: Bytes,
    /// The run's record: JSON lines.
    pub record: Bytes,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
}

/// A draft that will be completed, and everything its bytes depend on.
#[derive(Debug, Clone)]
pub struct Intent {
    /// The draft, as it was first given.
    pub draft: Draft,
    /// Nonce of its seal.
    pub nonce: String,
    /// When it was made; the time in everything written for it.
    pub created_at: OffsetDateTime,
    /// Revision of the gate policy.
    pub policy_rev: String,
    /// sha256 of the catalogue.
    pub catalogue: Digest,
    /// sha256 of the gate map.
    pub gate_map: Digest,
    /// The result, once there is one.
    pub sealed: Option<Sealed>,
}

/// A sealed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The pack.
    pub pack_id: Digest,
    /// sha256 of the seal: the run's output hash on chain.
    pub seal_digest: Digest,
    /// sha256 of the manifest.
    pub manifest_digest: Digest,
    /// How it was closed.
    pub status: SealStatus,
    /// Where the facts view is; a failed run has none.
    pub facts_ref: Option<String>,
    /// What the check of that view said.
    pub check: Option<CheckResult>,
    /// Whether an equal seal existed before this service wrote one.
    pub existed: bool,
}

/// What a check said, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// The answer.
    pub status: Status,
    /// The codes behind it.
    pub reasons: Vec<String>,
}
