//! What a check answers: one status, every reason, and the counts behind them.

use serde::{Deserialize, Serialize};
use wire::digest::Digest;

use crate::reasons::{Reason, Severity};

/// The answer of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Everything holds.
    Ok,
    /// Everything that the lenient profile insists on holds.
    Warn,
    /// Do not read.
    Fail,
}

/// One reason, with what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// The code.
    pub code: Reason,
    /// Whether it stops a reader.
    pub severity: Severity,
    /// What it is about.
    pub detail: String,
    /// Whether the same check may answer differently later without any action.
    pub retryable: bool,
}

/// What the checker found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The answer. Only `OK` lets a run go on.
    pub status: Status,
    /// Codes, unique, in the order of the table.
    pub reason_codes: Vec<Reason>,
    /// Everything found, in the same order.
    pub issues: Vec<Issue>,
    /// Counts and references behind it.
    pub details: Details,
}

/// Counts and references behind an answer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Details {
    /// The profile it was judged by.
    pub profile_id: String,
    /// The view.
    pub run_facts_ref: String,
    /// Locators in the view.
    pub locators_total: usize,
    /// Of these, not there.
    pub locators_missing: usize,
    /// Of these, without a digest.
    pub locators_missing_digest: usize,
    /// Outputs that pass because their catalogue entry states that they need no gate.
    pub no_gate_required: Vec<String>,
    /// Outputs that may be streamed as traffic: those whose role says so and that have a locator.
    /// None if the check fails.
    pub traffic_outputs: Vec<String>,
    /// Files by how well they are known.
    pub evidence: EvidenceCount,
    /// The packs the outputs lie in.
    pub packs: Vec<PackDetail>,
}

/// How many files are known how well (O11).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceCount {
    /// Their bytes were hashed.
    pub hashed_bytes: usize,
    /// A trusted store reported their sha256.
    pub store_sha256: usize,
    /// Only that they are there, and their length.
    pub size_only: usize,
}

/// A pack in a report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PackDetail {
    /// Its root, relative to the oracle root.
    pub root: String,
    /// Its id by its manifest.
    pub oracle_pack_id: Option<Digest>,
    /// sha256 of its seal.
    pub seal_digest: Option<Digest>,
    /// How it was closed.
    pub seal_status: Option<String>,
}

impl Status {
    /// Its name in documents and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

impl Issue {
    /// Whether it stops a reader.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Outcome {
    /// The exit code of C1: 1 where something is known to be bad, 2 where nothing is known.
    pub fn exit(&self, fail_on_warn: bool) -> u8 {
        match self.status {
            Status::Ok => 0,
            Status::Warn => u8::from(fail_on_warn),
            Status::Fail => {
                let errors = self.issues.iter().filter(|issue| issue.is_error());
                // The lowest: what is known to be bad (1) outranks what is not known (2).
                errors.map(|issue| issue.code.row().class.exit()).min().unwrap_or(2)
            }
        }
    }

    /// Whether nothing bad is known, and the same check may pass later without any action.
    pub fn is_doubtful(&self) -> bool {
        self.status == Status::Fail && self.exit(false) == 2
    }

    /// Whether a pack is known not to be what was sealed. A tombstone is a decision and no drift.
    pub fn is_drift(&self) -> bool {
        self.status == Status::Fail
            && self.exit(false) == 1
            && !self.reason_codes.contains(&Reason::PackTombstoned)
    }
}
