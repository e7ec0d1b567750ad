//! What a run comes to: failure, seal, settlement and receipt. Pure.

use serde::{Deserialize, Serialize};
use wire::settlement::SettlementSignature;
use wire::{Digest, Usage};

/// The code of a run that was cancelled.
pub const CANCELLED: &str = "CANCELLED";

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A name of the closed list in `docs/operations/runner.md`.
    pub code: String,
    /// What happened, for people.
    pub reason: String,
}

/// What oracle-gate answered to `Seal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The pack.
    pub pack_id: String,
    /// SHA-256 of the seal's bytes.
    pub seal_digest: Digest,
    /// SHA-256 of the manifest's bytes.
    pub manifest_digest: Digest,
    /// The facts view; empty for the pack of a failed run.
    pub facts_ref: String,
}

/// What is settled on chain. Written once, before the first signature (R13), and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// What is charged for.
    pub usage: Usage,
    /// The seal's digest, or the digest of the failure.
    pub output_hash: Digest,
    /// Absent for a run that delivered.
    pub failure: Option<Failure>,
    /// What module-gate signed about this usage. Without it nothing is taken (V16).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attestation>,
}

/// An attester's signature, and the place of its key among the run's attesters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// From 0.
    pub attester: u32,
    /// Key and signature.
    pub signature: SettlementSignature,
}

/// What the settling transaction answered, as it is stored and shown.
pub use wire::view::ReceiptView as Receipt;

impl Failure {
    /// A failure of this code.
    pub fn new(code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code: code.into(), reason: reason.into() }
    }
}
