//! The rules that a view is judged by: a profile's, made strict or as lenient as it allows (O5).

use ed25519_dalek::VerifyingKey;
use time::Duration;

use crate::catalogue::{Catalogue, GateMap};
use crate::objects::Evidence;
use crate::profile::Profile;

/// By what a view is judged.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Name of the profile, for the report.
    pub profile_id: String,
    /// Outputs of the engine.
    pub catalogue: Catalogue,
    /// Gates of the engine.
    pub gate_map: GateMap,
    /// Keys whose statements count as evidence.
    pub keys: Vec<VerifyingKey>,
    /// Whether the profile lets a call ask for less than strict (O5).
    pub lenient: bool,
    /// Whether the profile lets a call ask for existence and length only (O11).
    pub allows_presence: bool,
    /// A missing seal or manifest is a warning.
    pub allow_unsealed: bool,
    /// A missing digest is a warning.
    pub allow_missing_digest: bool,
    /// A view has to pin its pack's seal.
    pub require_pack_ref: bool,
    /// Gates are needed.
    pub require_gate_pass: bool,
    /// The oldest that a gate's receipt may be; `None`: of any age.
    pub max_receipt_age: Option<Duration>,
    /// The least evidence that a digest needs. With `size_only` nothing is hashed that need not
    /// be, the answer is a warning at best, and only a lenient profile allows it (O11).
    pub least_evidence: Evidence,
    /// Checksums kept by a store that was shown to check them count.
    pub trust_store_checksums: bool,
}

/// What one call asks for beside its profile's rules.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// An unsealed pack is a failure even where the profile would warn.
    pub strict_seal: bool,
    /// An unsealed pack is a warning.
    pub allow_unsealed: bool,
    /// A missing digest is a warning.
    pub allow_missing_digest: bool,
    /// Only existence and length are looked at.
    pub presence: bool,
}

impl Rules {
    /// The strict rules of a profile (O5).
    pub fn strict(profile: &Profile, keys: Vec<VerifyingKey>) -> Self {
        Self {
            profile_id: profile.id.clone(),
            catalogue: profile.catalogue.clone(),
            gate_map: profile.gate_map.clone(),
            keys,
            lenient: profile.lenient,
            allows_presence: profile.least_evidence == Evidence::SizeOnly,
            allow_unsealed: false,
            allow_missing_digest: false,
            require_pack_ref: profile.require_pack_ref,
            require_gate_pass: profile.require_gate_pass,
            max_receipt_age: profile.max_receipt_age,
            // Lengths alone are what a call has to ask for, even where its profile allows them.
            least_evidence: profile.least_evidence.max(Evidence::StoreSha256),
            trust_store_checksums: profile.trust_store_checksums,
        }
    }

    /// The rules of one call. Leniency is the profile's to give (O5), so a call only gets what its
    /// profile allows: this is the one place where that is decided.
    ///
    /// # Errors
    /// What the profile does not allow, in one line.
    pub fn asked(&self, asked: Asked) -> Result<Self, String> {
        let profile = &self.profile_id;
        if (asked.allow_unsealed || asked.allow_missing_digest) && !self.lenient {
            return Err(format!(
                "profile {profile} is strict: --allow-unsealed and --allow-missing-digest need a \
                 lenient one"
            ));
        }
        if asked.presence && !self.allows_presence {
            return Err(format!(
                "profile {profile} demands digests: depth `presence` needs a profile with \
                 `least_evidence: size_only`"
            ));
        }

        Ok(Self {
            allow_unsealed: self.lenient && !asked.strict_seal,
            allow_missing_digest: asked.allow_missing_digest,
            least_evidence: if asked.presence { Evidence::SizeOnly } else { self.least_evidence },
            ..self.clone()
        })
    }
}
