//! What only an attester can sign about a settlement (V16).
//!
//! The vault takes a charge or a fee only with an Ed25519 signature of one of the run's pinned
//! attesters over [`message`]. Module-gate makes it from what it executed: the module's and the
//! request's digests are never the caller's word. The text is fixed in width, so that no two
//! settlements share their bytes.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{Digest, Hasher, PublicKey, Usage, VaultRunId, json};

/// Makes these signatures differ from everything else that the same key signs.
const TAG: &[u8] = b"lumio-settle-v1";

/// What a settlement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The run's id in the vault. It names network, vault, payer, opener, attempt and deadline.
    pub run_id: VaultRunId,
    /// Digest of the module's tree.
    pub manifest_hash: Digest,
    /// [`request_hash`] of what was asked for.
    pub request_hash: Digest,
    /// What is charged for.
    pub usage: Usage,
}

/// An attester's signature over a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementSignature {
    /// Who signed.
    pub attester: PublicKey,
    /// The 64 bytes, hex digits in JSON.
    #[serde(with = "hex_bytes")]
    pub signature: [u8; 64],
}

/// The request that a run answers, as its record in the vault carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestParts<'a> {
    /// Digest of the canonical JSON of the run's input.
    pub input_digest: Digest,
    /// Digest of the module's tree.
    pub module_digest: Digest,
    /// At most 2^53 − 1 (R12).
    pub seed: u64,
    /// The run's workflow.
    pub workflow_id: &'a str,
}

/// SHA-256 of the canonical JSON of the four parts of a request.
///
/// # Errors
///
/// When the seed does not fit a JSON number exactly (R12).
pub fn request_hash(parts: &RequestParts<'_>) -> Result<Digest, serde_json::Error> {
    json::digest(parts)
}

/// The 32 bytes that are signed.
pub fn message(settled: &Settled) -> Digest {
    let Usage { llm_in, llm_out, http_calls, runtime_ms } = settled.usage;
    let mut hasher = Hasher::new();
    hasher.update(TAG);
    hasher.update(settled.run_id.as_bytes());
    hasher.update(settled.manifest_hash.as_bytes());
    hasher.update(settled.request_hash.as_bytes());
    for units in [llm_in, llm_out, http_calls, runtime_ms] {
        hasher.update(units.to_be_bytes());
    }
    hasher.finish()
}

impl SettlementSignature {
    /// Signs a settlement. Ed25519 is deterministic: the same settlement always gets the same
    /// bytes.
    pub fn sign(key: &SigningKey, settled: &Settled) -> Self {
        Self {
            attester: key.verifying_key().to_bytes().into(),
            signature: key.sign(message(settled).as_bytes()).to_bytes(),
        }
    }

    /// Whether the named key has signed exactly this settlement. As strict as the network's host:
    /// what fails here would fail the whole call there.
    pub fn verifies(&self, settled: &Settled) -> bool {
        // A key that is no point of the curve verifies nothing.
        let Ok(key) = VerifyingKey::from_bytes(self.attester.as_bytes()) else { return false };
        let signature = Signature::from_bytes(&self.signature);
        key.verify_strict(message(settled).as_bytes(), &signature).is_ok()
    }
}

/// Bytes as hex digits.
mod hex_bytes {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        bytes: &[u8; 64],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 64], D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| D::Error::custom("expected a signature as 128 hex digits"))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled() -> Settled {
        Settled {
            run_id: [1; 32].into(),
            manifest_hash: Digest::of(b"module"),
            request_hash: Digest::of(b"request"),
            usage: Usage { llm_in: 1, llm_out: 2, http_calls: 3, runtime_ms: 4 },
        }
    }

    #[test]
    fn a_signature_is_for_exactly_one_settlement() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signed = SettlementSignature::sign(&key, &settled());
        assert_eq!(signed, SettlementSignature::sign(&key, &settled()));
        assert!(signed.verifies(&settled()));

        let usage = |usage| Settled { usage, ..settled() };
        let base = settled().usage;
        for other in [
            Settled { run_id: [2; 32].into(), ..settled() },
            Settled { manifest_hash: Digest::of(b"other"), ..settled() },
            Settled { request_hash: Digest::of(b"other"), ..settled() },
            usage(Usage { llm_in: 2, ..base }),
            usage(Usage { llm_out: 1, ..base }),
            usage(Usage { http_calls: 4, ..base }),
            usage(Usage { runtime_ms: 3, ..base }),
        ] {
            assert!(!signed.verifies(&other), "{other:?}");
        }
        let foreign = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes().into();
        assert!(!SettlementSignature { attester: foreign, ..signed }.verifies(&settled()));
    }

    #[derive(Deserialize)]
    struct Vector {
        run_id: VaultRunId,
        manifest_hash: Digest,
        request_hash: Digest,
        usage: std::collections::BTreeMap<String, String>,
        message: Digest,
        attester: PublicKey,
        signature: String,
    }

    /// The contracts' own vectors, which were made without this code.
    #[test]
    fn message_and_signature_are_those_of_the_contracts_vectors() {
        let text = include_str!("../../../contracts/vectors/settlement.json");
        let vectors: Vec<Vector> = serde_json::from_str(text).unwrap();
        assert_eq!(vectors.len(), 3);
        for vector in vectors {
            let meter = |name: &str| vector.usage[name].parse().unwrap();
            let settled = Settled {
                run_id: vector.run_id,
                manifest_hash: vector.manifest_hash,
                request_hash: vector.request_hash,
                usage: Usage {
                    llm_in: meter("llm_in"),
                    llm_out: meter("llm_out"),
                    http_calls: meter("http_calls"),
                    runtime_ms: meter("runtime_ms"),
                },
            };
            assert_eq!(message(&settled), vector.message);
            let signed = SettlementSignature::sign(&SigningKey::from_bytes(&[5; 32]), &settled);
            assert_eq!(signed.attester, vector.attester);
            assert_eq!(hex::encode(signed.signature), vector.signature);
        }
    }

    #[test]
    fn it_comes_back_from_json() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signed = SettlementSignature::sign(&key, &settled());
        let text = serde_json::to_string(&signed).unwrap();
        assert_eq!(serde_json::from_str::<SettlementSignature>(&text).unwrap(), signed);
        assert!(serde_json::from_str::<SettlementSignature>(&text.replace('"', "'")).is_err());
    }
}
