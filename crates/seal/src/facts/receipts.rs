//! Receipts in a facts view: a gate's verdict on a world, and a proof of one output.

use serde::{Deserialize, Serialize};
use wire::digest::Digest;

use super::Locator;
use crate::content::ContentDigest;
use crate::run_key::RunKey;

/// What a gate said. Anything else is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum GateStatus {
    /// It let it through.
    Pass,
    /// It did not.
    Fail,
}

/// What a receipt is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    /// A flag file.
    PassedFlag,
    /// A JSON document.
    JsonReceipt,
    /// A flag of a bundle.
    BundleFlag,
}

/// A gate's verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateReceipt {
    /// The gate, as the gate map names it.
    pub gate_id: String,
    /// What it said.
    pub status: GateStatus,
    /// About what.
    pub scope: GateScope,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub produced_at_utc: Option<String>,
    /// What the receipt is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_kind: Option<ReceiptKind>,
    /// Digest of the evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<ContentDigest>,
    /// Where the evidence is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Artifacts>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// What a receipt is about. It counts for a run only if every pin here equals the run's (O7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateScope {
    /// What was run.
    pub manifest_fingerprint: Digest,
    /// With which parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_hash: Option<Digest>,
    /// With which seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// In which scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario_id: Option<String>,
    /// In which run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunKey>,
}

/// Where a gate's evidence is, below the oracle root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifacts {
    /// Folder of the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_bundle_root: Option<String>,
    /// Index of the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_path: Option<String>,
    /// The flag or signed statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_flag_path: Option<String>,
}

/// The one kind of instance receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceKind {
    /// A proof of one output.
    InstanceProof,
}

/// A proof of one output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceReceipt {
    /// Which output.
    pub output_id: String,
    /// What was said of it.
    pub status: GateStatus,
    /// About what.
    pub scope: GateScope,
    /// The locator it is about.
    pub target_ref: Locator,
    /// The digest it vouches for.
    pub target_digest: ContentDigest,
    /// Manifest of an output of several files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_manifest_ref: Option<String>,
    /// The kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_kind: Option<InstanceKind>,
    /// Where the receipt is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<InstanceArtifacts>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// Where an instance receipt is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceArtifacts {
    /// Its path below the oracle root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_path: Option<String>,
}
