//! What a run comes to: failure, seal, settlement and receipt. Pure.

use serde::{Deserialize, Serialize};
use wire::{Digest, RunId, Usage};

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
}

/// What the settling transaction answered. Amounts in stroops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The run's id in the vault.
    pub run_id: Digest,
    /// What the developer got.
    #[serde(with = "wire::usage::decimal")]
    pub actual_charge: i128,
    /// What went back to the user.
    #[serde(with = "wire::usage::decimal")]
    pub refund: i128,
    /// Who got the charge.
    pub developer: String,
    /// What was settled with it.
    pub output_hash: Digest,
    /// RFC 3339 ledger time.
    pub finalized_at: String,
}

impl Failure {
    /// A failure of this code.
    pub fn new(code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code: code.into(), reason: reason.into() }
    }

    /// The output hash of a run that failed without any seal: the digest of a small canonical
    /// document that anybody can make again from the run's public fields.
    ///
    /// # Errors
    ///
    /// Never in practice: all fields have a JSON form.
    pub fn digest(&self, run: RunId, attempt: u32) -> Result<Digest, serde_json::Error> {
        wire::json::digest(&serde_json::json!({
            "kind": "lumio-failure-v1",
            "run_id": run,
            "attempt": attempt,
            "code": self.code,
            "reason": self.reason,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_failure_is_that_of_its_canonical_document() {
        let run: RunId = "00000000-0000-4000-8000-00000000000a".parse().unwrap();
        let failure = Failure::new("EXECUTOR_MISSING", "no executor");
        let text = concat!(
            r#"{"attempt":2,"code":"EXECUTOR_MISSING","kind":"lumio-failure-v1","#,
            r#""reason":"no executor","run_id":"00000000-0000-4000-8000-00000000000a"}"#,
        );
        assert_eq!(failure.digest(run, 2).unwrap(), Digest::of(text.as_bytes()));
    }

    #[test]
    fn amounts_of_a_receipt_are_decimal_strings() {
        let receipt = Receipt {
            run_id: Digest::of(b"run"),
            actual_charge: 11_600_500,
            refund: 400_500,
            developer: "GDEV".to_owned(),
            output_hash: Digest::of(b"out"),
            finalized_at: "2026-01-02T03:04:05Z".to_owned(),
        };
        let text = serde_json::to_string(&receipt).unwrap();
        assert!(text.contains(r#""actualCharge":"11600500","refund":"400500""#), "{text}");
    }
}
