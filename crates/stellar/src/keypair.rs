//! A signing key that leaves no trace: never printed, wiped when dropped (R9).
//!
//! `soroban-client`'s own key pair keeps the seed in plain heap memory and prints it under `Debug`,
//! so signatures are made here, with the same Ed25519.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer as _, SigningKey};
use rand::TryRngCore as _;
use stellar_xdr::DecoratedSignature;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{Address, ChainError, signer};

/// An account's key pair. `SigningKey` wipes itself on drop.
pub struct Keypair(SigningKey);

/// The text is not a secret key. It is not repeated: it may be one with a typing mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a secret key: an S… seed in strkey form (SEP-23), 56 characters")]
pub struct InvalidSecret;

impl Keypair {
    /// A fresh key from the system's randomness.
    ///
    /// # Errors
    ///
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, ChainError> {
        let mut seed = Zeroizing::new([0; 32]);
        rand::rngs::OsRng.try_fill_bytes(seed.as_mut()).map_err(|error| {
            ChainError::invalid(format!("the system gave no randomness for a key: {error}"))
        })?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Another key that follows from this one and a label, and from which nothing follows about
    /// this one.
    #[must_use]
    pub fn derive(&self, label: &[u8]) -> Self {
        let mut input = Zeroizing::new(b"lumio-derived-key-v1".to_vec());
        // Room for all of it at once: a vector that grows would leave a copy of the seed behind.
        input.reserve_exact(32 + label.len());
        let mut seed = self.0.to_bytes();
        input.extend_from_slice(&seed);
        input.extend_from_slice(label);
        seed.zeroize();
        Self::from_seed(wire::Digest::of(&input).as_bytes())
    }

    /// The account's address, `G…`.
    pub fn address(&self) -> Address {
        Address::Account(self.0.verifying_key().to_bytes())
    }

    /// The secret seed as `S…`, for the one place that stores it. Wiped when dropped.
    pub fn secret(&self) -> Zeroizing<String> {
        // Both are copies of the seed: the text wipes itself, the key is wiped here.
        let mut key = stellar_strkey::ed25519::PrivateKey(self.0.to_bytes());
        let text = Zeroizing::new(key.as_unredacted().to_string().as_str().to_owned());
        key.0.zeroize();
        text
    }

    /// The Ed25519 signature of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The signature of a transaction's hash, with the hint by which validators find its key.
    ///
    /// # Errors
    ///
    /// Never in practice: 64 bytes fit an XDR signature.
    pub fn sign_decorated(&self, hash: &[u8; 32]) -> Result<DecoratedSignature, ChainError> {
        signer::decorated(&self.address(), self.sign(hash))
    }
}

impl FromStr for Keypair {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        // A secret that comes from a file ends in a line break.
        let mut key = stellar_strkey::ed25519::PrivateKey::from_string(text.trim())
            .map_err(|_| InvalidSecret)?;
        let pair = Self::from_seed(&key.0);
        key.0.zeroize();
        Ok(pair)
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({})", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_are_stable_and_differ_by_label_and_parent() {
        let (parent, other) = (Keypair::from_seed(&[1; 32]), Keypair::from_seed(&[2; 32]));
        let key = parent.derive(b"channel 0");
        assert_eq!(key.address(), parent.derive(b"channel 0").address());
        assert_ne!(key.address(), parent.derive(b"channel 1").address());
        assert_ne!(key.address(), other.derive(b"channel 0").address());
        assert_ne!(key.address(), parent.address());
    }

    #[test]
    fn the_secret_comes_back_and_is_never_printed() {
        let pair = Keypair::generate().unwrap();
        let secret = pair.secret();
        let again: Keypair = secret.parse().unwrap();

        assert_eq!(again.address(), pair.address());
        assert!(secret.starts_with('S') && secret.len() == 56);
        assert!(!format!("{pair:?}").contains(&secret[1..]));
        assert_eq!("S123".parse::<Keypair>().unwrap_err().to_string().matches("S123").count(), 0);
    }
}
