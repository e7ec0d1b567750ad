//! Who signed, and whether their weights suffice.

use ed25519_dalek::{Signature, VerifyingKey};
use soroban_env_host::xdr::{
    AccountEntry, AccountId, DecoratedSignature, PublicKey, SignerKey, Uint256,
};

use crate::xdr::sha256;

/// How much weight an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threshold {
    Low,
    Medium,
    High,
}

/// Checks signatures over one hash and remembers which of them counted: one that counts for
/// nothing is an error.
pub(crate) struct SignatureChecker<'a> {
    hash: [u8; 32],
    signatures: &'a [DecoratedSignature],
    used: Vec<bool>,
}

impl<'a> SignatureChecker<'a> {
    /// A checker for the signatures over `hash`.
    pub(crate) fn new(hash: [u8; 32], signatures: &'a [DecoratedSignature]) -> Self {
        Self { hash, signatures, used: vec![false; signatures.len()] }
    }

    /// Whether the signers of an existing account reach a threshold.
    pub(crate) fn account(&mut self, account: &AccountEntry, threshold: Threshold) -> bool {
        let [master, low, medium, high] = account.thresholds.0;
        let needed = match threshold {
            Threshold::Low => low,
            Threshold::Medium => medium,
            Threshold::High => high,
        };
        let mut signers = Vec::with_capacity(account.signers.len() + 1);

        // Weight 0 takes the master key's vote away.
        if master > 0 {
            signers.push((master_key(&account.account_id), u32::from(master)));
        }
        for signer in account.signers.iter() {
            // Larger weights count as 255, as in stellar-core.
            signers.push((signer.key.clone(), signer.weight.min(255)));
        }
        self.reaches(signers, u32::from(needed))
    }

    /// Whether the key of an account that does not exist signed.
    pub(crate) fn missing_account(&mut self, id: &AccountId) -> bool {
        // There are no thresholds yet, so that any signature of the key is enough.
        self.reaches(vec![(master_key(id), 1)], 0)
    }

    /// Whether one extra signer of the preconditions signed.
    pub(crate) fn extra_signer(&mut self, key: &SignerKey) -> bool {
        self.reaches(vec![(key.clone(), 1)], 1)
    }

    /// Whether every signature counted for something.
    pub(crate) fn all_used(&self) -> bool {
        self.used.iter().all(|used| *used)
    }

    fn reaches(&mut self, signers: Vec<(SignerKey, u32)>, needed: u32) -> bool {
        let mut weight = 0_u32;
        for (key, signer_weight) in signers {
            if !self.signed(&key) {
                continue;
            }
            weight = weight.saturating_add(signer_weight);

            // The rest is not tried: a signature that is not needed counts as unused, as in
            // stellar-core.
            if weight >= needed {
                return true;
            }
        }
        false
    }

    fn signed(&mut self, key: &SignerKey) -> bool {
        // Such a signer has signed by naming the hash; no signature belongs to it.
        if let SignerKey::PreAuthTx(hash) = key {
            return hash.0 == self.hash;
        }
        for (signature, used) in self.signatures.iter().zip(self.used.iter_mut()) {
            if matches(key, signature, &self.hash) {
                *used = true;
                return true;
            }
        }
        false
    }
}

fn master_key(id: &AccountId) -> SignerKey {
    let PublicKey::PublicKeyTypeEd25519(key) = &id.0;
    SignerKey::Ed25519(key.clone())
}

fn matches(key: &SignerKey, signature: &DecoratedSignature, hash: &[u8; 32]) -> bool {
    let bytes = signature.signature.0.as_slice();
    match key {
        SignerKey::Ed25519(key) => signature.hint.0 == hint(&key.0) && verifies(key, hash, bytes),
        SignerKey::HashX(expected) => {
            signature.hint.0 == hint(&expected.0) && sha256(bytes) == expected.0
        }
        SignerKey::Ed25519SignedPayload(signed) => {
            // CAP-40: the key's hint, combined with that of the payload.
            let mut expected = hint(&signed.ed25519.0);
            let payload = signed.payload.as_slice();
            for (byte, other) in expected.iter_mut().zip(payload_hint(payload)) {
                *byte ^= other;
            }
            signature.hint.0 == expected && verifies(&signed.ed25519, payload, bytes)
        }
        SignerKey::PreAuthTx(_) => false,
    }
}

fn hint(bytes: &[u8; 32]) -> [u8; 4] {
    [bytes[28], bytes[29], bytes[30], bytes[31]]
}

/// The last four bytes of a payload, padded with zeros at the end (CAP-40).
fn payload_hint(payload: &[u8]) -> [u8; 4] {
    let mut out = [0; 4];
    let tail = &payload[payload.len().saturating_sub(4)..];
    out[..tail.len()].copy_from_slice(tail);
    out
}

fn verifies(key: &Uint256, message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) =
        (VerifyingKey::from_bytes(&key.0), Signature::from_slice(signature))
    else {
        return false;
    };

    // As strict as libsodium in stellar-core, which takes no points of small order.
    key.verify_strict(message, &signature).is_ok()
}
