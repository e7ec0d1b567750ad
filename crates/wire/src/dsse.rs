//! Signed envelopes: DSSE v1 with Ed25519, what module-gate signs its statements with (M12).
//!
//! The signature covers the payload's type as well as its bytes, so a statement of one kind cannot
//! be passed off as another. A `keyid` is only a hint: every signature is tried against every
//! accepted key, and a payload counts only after one of them fits.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::json;

/// The payload type of every statement here.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// An envelope larger than this many bytes is refused unread. A statement of the most outputs a
/// pack may hold stays well below.
pub const MAX_ENVELOPE_BYTES: usize = 4 * 1024 * 1024;

/// An envelope with more signatures is refused: each costs a verification per accepted key.
pub const MAX_SIGNATURES: usize = 16;

/// A payload, its type, and who signed the two together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// What the payload is.
    pub payload_type: String,
    /// The payload in base64. Not to be believed before [`Envelope::verify`].
    pub payload: String,
    /// Any one by an accepted key is enough.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// The signer's raw public key in 64 hex digits: a hint, never trusted.
    #[serde(default)]
    pub keyid: String,
    /// 64 bytes of Ed25519 in base64.
    pub sig: String,
}

/// Why an envelope proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum DsseError {
    /// It is larger than [`MAX_ENVELOPE_BYTES`].
    #[error("the envelope has {0} bytes, at most {MAX_ENVELOPE_BYTES} are read")]
    TooLarge(usize),
    /// It is not an envelope.
    #[error("the text is not a DSSE envelope")]
    Malformed(#[source] serde_json::Error),
    /// It carries more than [`MAX_SIGNATURES`].
    #[error("the envelope carries {0} signatures, at most {MAX_SIGNATURES} are tried")]
    TooManySignatures(usize),
    /// It holds another kind of payload than asked for.
    #[error("the payload is `{found}`, expected `{expected}`")]
    PayloadType {
        /// What the envelope says.
        found: String,
        /// What the caller asked for.
        expected: String,
    },
    /// The payload is not base64.
    #[error("the payload is not base64")]
    Encoding(#[source] base64::DecodeError),
    /// No signature is by an accepted key over these bytes.
    #[error("no signature of the envelope is by an accepted key (it names {0})")]
    Untrusted(String),
}

/// Signs `payload` as being of `payload_type`.
pub fn sign(payload_type: &str, payload: &[u8], key: &SigningKey) -> Envelope {
    let signature = key.sign(&pre_authentication_encoding(payload_type, payload));
    Envelope {
        payload_type: payload_type.to_owned(),
        payload: STANDARD.encode(payload),
        signatures: vec![EnvelopeSignature {
            keyid: key_id(&key.verifying_key()),
            sig: STANDARD.encode(signature.to_bytes()),
        }],
    }
}

/// The spelling of a public key in an envelope, in configuration and on chain: 64 lower-case hex
/// digits.
pub fn key_id(key: &VerifyingKey) -> String {
    hex::encode(key.as_bytes())
}

/// Reads a public key in that spelling; `None` if it is not one, or one under which forgery is
/// easy.
pub fn parse_key(text: &str) -> Option<VerifyingKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    // Under a key of small order anybody can make signatures that verify.
    VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak())
}

impl Envelope {
    /// Reads an envelope from its JSON. A member that occurs twice is refused, since readers differ
    /// about which one counts; one that is not known is ignored (DSSE v1).
    ///
    /// # Errors
    ///
    /// [`DsseError::TooLarge`], [`DsseError::Malformed`] or [`DsseError::TooManySignatures`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DsseError> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(DsseError::TooLarge(bytes.len()));
        }
        let envelope: Self = json::read(bytes).map_err(DsseError::Malformed)?;
        match envelope.signatures.len() {
            0..=MAX_SIGNATURES => Ok(envelope),
            many => Err(DsseError::TooManySignatures(many)),
        }
    }

    /// The envelope's JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("three text fields always have a JSON form")
    }

    /// The payload without a look at its signatures, for a reader who has verified them before;
    /// `None` if it is not base64.
    pub fn unverified(&self) -> Option<Vec<u8>> {
        decode(&self.payload).ok()
    }

    /// The payload of an in-toto envelope and the accepted key that signed it.
    ///
    /// # Errors
    ///
    /// As [`Envelope::verify_as`].
    pub fn verify(&self, accepted: &[VerifyingKey]) -> Result<(Vec<u8>, VerifyingKey), DsseError> {
        self.verify_as(IN_TOTO, accepted)
    }

    /// The payload, if it is of `payload_type`, and the first accepted key that signed it.
    ///
    /// # Errors
    ///
    /// [`DsseError::PayloadType`], [`DsseError::Encoding`], [`DsseError::TooManySignatures`], or
    /// [`DsseError::Untrusted`] if no signature fits, which is also so when `accepted` is empty
    /// (O1).
    pub fn verify_as(
        &self,
        payload_type: &str,
        accepted: &[VerifyingKey],
    ) -> Result<(Vec<u8>, VerifyingKey), DsseError> {
        if self.payload_type != payload_type {
            let (found, expected) = (self.payload_type.clone(), payload_type.to_owned());
            return Err(DsseError::PayloadType { found, expected });
        }
        // Not every envelope comes from `parse`, so the number is checked here too.
        if self.signatures.len() > MAX_SIGNATURES {
            return Err(DsseError::TooManySignatures(self.signatures.len()));
        }
        // DSSE signs the payload's bytes, not their base64, so that is taken off first.
        let payload = decode(&self.payload).map_err(DsseError::Encoding)?;
        let signed = pre_authentication_encoding(&self.payload_type, &payload);
        let signatures: Vec<_> = self.signatures.iter().filter_map(read_signature).collect();
        // The accepted keys lead, whatever `keyid` names: what is answered is a key that the caller
        // gave.
        let signer = accepted.iter().find(|key| {
            signatures.iter().any(|signature| key.verify_strict(&signed, signature).is_ok())
        });
        match signer {
            Some(key) => Ok((payload, *key)),
            None => Err(DsseError::Untrusted(self.named_keys())),
        }
    }

    /// The key hints, made safe to print: they are the sender's words.
    fn named_keys(&self) -> String {
        let hints = self.signatures.iter().map(|signature| match parse_key(&signature.keyid) {
            Some(key) => key_id(&key),
            None => "an unreadable key id".to_owned(),
        });
        let hints: Vec<_> = hints.collect();
        if hints.is_empty() { "none".to_owned() } else { hints.join(", ") }
    }
}

/// A signature that cannot be read is one that fits no key.
fn read_signature(from: &EnvelopeSignature) -> Option<Signature> {
    Signature::from_slice(&decode(&from.sig).ok()?).ok()
}

/// DSSE v1, "PAE": lengths make the boundary between type and payload unambiguous.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    // `len` counts bytes, as DSSE does.
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// DSSE lets a producer choose either alphabet of base64.
fn decode(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    // We write the standard alphabet, so its error is the one that explains most.
    STANDARD.decode(text).or_else(|error| URL_SAFE.decode(text).map_err(|_| error))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
