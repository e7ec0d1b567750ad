//! The facts view of a run: the one document from which a reader may reach into the store.
//!
//! Its JSON Schema is [`crate::schemas::RUN_FACTS_VIEW`]. Reading is strict:
//! [`RunFactsView::parse`] accepts exactly what the schema accepts, and collects every mistake
//! instead of the first one.

mod bundle;
mod receipts;
mod rules;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::digest::Digest;

pub use receipts::{
    Artifacts, GateReceipt, GateScope, GateStatus, InstanceArtifacts, InstanceKind,
    InstanceReceipt, ReceiptKind,
};

use crate::content::ContentDigest;
use crate::json;
use crate::manifest::WorldKey;
use crate::run_key::RunKey;

/// The role of outputs that may be streamed.
pub const TRAFFIC_ROLE: &str = "business_traffic";
/// Most bytes a view may have.
pub const MAX_VIEW_BYTES: u64 = 64 << 20;

/// What a run is said to have left, and under which gates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunFactsView {
    /// The run.
    pub run_id: RunKey,
    /// What the run is bound to.
    pub pins: Pins,
    /// Its outputs.
    pub locators: Vec<Locator>,
    /// What each output is for, by output id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_roles: Option<BTreeMap<String, String>>,
    /// Outputs that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended_outputs: Option<Vec<String>>,
    /// Verdicts of gates.
    pub gate_receipts: Vec<GateReceipt>,
    /// Proofs of single outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_receipts: Option<Vec<InstanceReceipt>>,
    /// The gate policy in force.
    pub policy_rev: PolicyRev,
    /// Digest over locators, receipts and policy: [`RunFactsView::computed_bundle_hash`].
    pub bundle_hash: Digest,
    /// Reference of the run's plan.
    pub plan_ref: String,
    /// Reference of the run's record.
    pub record_ref: String,
    /// Reference of the run's status.
    pub status_ref: String,
    /// The sealed pack that holds the outputs (O9).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oracle_pack_ref: Option<PackRef>,
    /// Remarks for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_notes: Option<Vec<String>>,
}

/// What a run is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// Digest of what was run.
    pub manifest_fingerprint: Digest,
    /// Digest of its parameters.
    pub parameter_hash: Digest,
    /// The seed.
    pub seed: u64,
    /// The scenario.
    pub scenario_id: String,
    /// The run again; it must equal the view's own.
    pub run_id: RunKey,
}

/// Where an output is, and the digest of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locator {
    /// Name in the catalogue.
    pub output_id: String,
    /// Path below the oracle root; its last segment may hold one `*`.
    pub path: String,
    /// Pin: equal to the run's where it is stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_fingerprint: Option<Digest>,
    /// Pin: equal to the run's where it is stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_hash: Option<Digest>,
    /// Pin: equal to the run's where it is stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Pin: equal to the run's where it is stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario_id: Option<String>,
    /// Pin: equal to the run's where it is stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunKey>,
    /// Schema of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_ref: Option<String>,
    /// Dictionary of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dictionary_ref: Option<String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub produced_at_utc: Option<String>,
    /// Digest of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_digest: Option<ContentDigest>,
}

/// The gate policy of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRev {
    /// Its name.
    pub policy_id: String,
    /// Its revision.
    pub revision: String,
    /// Its digest.
    pub content_digest: Digest,
}

/// The seal that a view depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackRef {
    /// The pack.
    pub oracle_pack_id: Digest,
    /// sha256 of the exact bytes of its seal.
    pub seal_digest: Digest,
}

/// One thing that is wrong with a view's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, as a JSON pointer; empty for the whole document.
    pub at: String,
    /// What.
    pub what: String,
}

impl RunFactsView {
    /// Reads a view. Only its form is judged; whether it is true is for the checker.
    ///
    /// # Errors
    /// Every mistake found, at least one.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<Mistake>> {
        let whole = |error: serde_json::Error| {
            vec![Mistake { at: String::new(), what: json::explain(&error) }]
        };
        let mut mistakes = rules::nulls(&json::parse(bytes).map_err(whole)?);
        let view: Self = serde_json::from_slice(bytes).map_err(whole)?;
        mistakes.extend(rules::mistakes(&view));
        if mistakes.is_empty() { json::read(bytes).map_err(whole) } else { Err(mistakes) }
    }

    /// The outputs that may be streamed as traffic: those with a locator whose role says so. A role
    /// without a locator adds nothing, and a role lowers no gate (O12).
    pub fn traffic(&self) -> impl Iterator<Item = &Locator> {
        self.locators.iter().filter(|locator| {
            let role = self.output_roles.as_ref().and_then(|roles| roles.get(&locator.output_id));
            role.is_some_and(|role| role == TRAFFIC_ROLE)
        })
    }

    /// The world the pins name.
    pub fn world_key(&self) -> WorldKey {
        WorldKey {
            manifest_fingerprint: self.pins.manifest_fingerprint,
            parameter_hash: self.pins.parameter_hash,
            scenario_id: self.pins.scenario_id.clone(),
            seed: self.pins.seed,
        }
    }

    /// The bundle hash that locators, receipts and policy give.
    ///
    /// # Errors
    /// Only the serializer's own, which these types do not raise.
    pub fn computed_bundle_hash(&self) -> Result<Digest, serde_json::Error> {
        bundle::hash(self)
    }

    /// Whether the bundle hash is that of locators, receipts and policy.
    ///
    /// # Errors
    /// Only the serializer's own, which these types do not raise.
    pub fn has_its_bundle_hash(&self) -> Result<bool, serde_json::Error> {
        bundle::holds(self)
    }

    /// The bytes to store: canonical JSON (RFC 8785).
    ///
    /// # Errors
    /// Only the serializer's own, which these types do not raise.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        wire::json::canonical(self)
    }
}
