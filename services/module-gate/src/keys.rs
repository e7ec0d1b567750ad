//! The keys that this service signs with, and how one replaces another (V16).
//!
//! A run's settlement needs a signature by an attester that the vault pinned when the run was
//! opened. So a key that was replaced goes on signing for the runs and agents that still name it,
//! until the last deadline that pins it is over; everything else is signed by the current key.

use ed25519_dalek::{SigningKey, VerifyingKey};
use wire::PublicKey;
use wire::dsse::{self, Envelope};

use crate::error::Error;

/// The current key and those that it replaced.
#[derive(Debug, Clone)]
pub struct AttestationKeys {
    current: SigningKey,
    former: Vec<SigningKey>,
}

impl AttestationKeys {
    /// `former` are the keys that still sign for who names them and not the current one.
    pub fn new(current: SigningKey, former: Vec<SigningKey>) -> Self {
        Self { current, former }
    }

    /// Signs whatever no caller has named a key for.
    pub fn current(&self) -> &SigningKey {
        &self.current
    }

    /// Who signs for a caller that accepts `attesters` alone: the current key if it is among them,
    /// else a former one. A caller that names none takes the current key.
    ///
    /// # Errors
    /// [`Error::NoAcceptedKey`]: what this service signed would be worthless to the caller.
    pub fn accepted_by(&self, attesters: &[PublicKey]) -> Result<&SigningKey, Error> {
        if attesters.is_empty() {
            return Ok(&self.current);
        }

        // The current key is asked first.
        self.all()
            .find(|key| attesters.iter().any(|named| *named == public(key)))
            .ok_or(Error::NoAcceptedKey)
    }

    /// The statement under a key that the caller accepts: as it is if such a key signed it, else
    /// its payload signed again. `None` if no key of this service signed it, so that this service
    /// cannot answer for it.
    ///
    /// # Errors
    /// [`Error::NoAcceptedKey`].
    pub fn sign_again(
        &self,
        envelope: Vec<u8>,
        attesters: &[PublicKey],
    ) -> Result<Option<Vec<u8>>, Error> {
        let key = self.accepted_by(attesters)?;
        let Ok(stored) = Envelope::parse(&envelope) else { return Ok(None) };
        let own: Vec<VerifyingKey> = self.all().map(SigningKey::verifying_key).collect();

        // A statement by a key that is not configured any more is not ours to sign again.
        let Ok((payload, signer)) = stored.verify(&own) else { return Ok(None) };
        if signer == key.verifying_key() {
            return Ok(Some(envelope));
        }
        Ok(Some(dsse::sign(dsse::IN_TOTO, &payload, key).to_json()))
    }

    fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.current).chain(&self.former)
    }
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from(key.verifying_key().to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn keys() -> AttestationKeys {
        AttestationKeys::new(key(1), vec![key(2), key(3)])
    }

    #[test]
    fn the_current_key_signs_unless_only_a_former_one_is_accepted() {
        let signer = |attesters: &[u8]| {
            let attesters: Vec<_> = attesters.iter().map(|seed| public(&key(*seed))).collect();
            keys().accepted_by(&attesters).ok().map(SigningKey::to_bytes)
        };
        assert_eq!(signer(&[]), Some([1; 32]));
        assert_eq!(signer(&[3, 1]), Some([1; 32]));
        assert_eq!(signer(&[9, 3]), Some([3; 32]));
        assert_eq!(signer(&[9]), None);
    }

    #[test]
    fn only_what_this_service_signed_is_signed_again() {
        let signed = |seed| dsse::sign(dsse::IN_TOTO, b"{}", &key(seed)).to_json();
        let accepted = [public(&key(1))];
        assert_eq!(keys().sign_again(signed(1), &accepted).unwrap(), Some(signed(1)));
        assert_eq!(keys().sign_again(signed(2), &accepted).unwrap(), Some(signed(1)));
        assert_eq!(keys().sign_again(signed(9), &accepted).unwrap(), None);
        assert_eq!(keys().sign_again(b"{}".to_vec(), &accepted).unwrap(), None);
        let foreign = [public(&key(9))];
        assert!(matches!(keys().sign_again(signed(1), &foreign), Err(Error::NoAcceptedKey)));
    }
}
