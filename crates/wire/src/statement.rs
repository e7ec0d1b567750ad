//! What module-gate states and signs: in-toto statements (v1) about an execution and about a
//! module's fitness to ship (M7, M12, R8, R10).
//!
//! A statement can be had in two ways: made from a predicate that keeps its own rules, or read from
//! signed bytes that keep them. Unknown fields are ignored, so a newer gate can say more; an
//! unknown word where a closed list is expected is an error (O1).

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::dsse::{self, DsseError, Envelope};
use crate::{Digest, json};

pub use execution::{Execution, Exit, Expected, MAX_SEED, Mismatch, Output};
pub use shipping::{Mode, OracleCount, Shipping, TestCount};
pub use vocabulary::{Code, Effects, Guard, GuardTier, Observed, Verdict};

mod execution;
mod shipping;
mod vocabulary;

/// The `_type` of every in-toto statement of version 1.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// What one execution did.
pub type ExecutionStatement = Statement<Execution>;

/// Whether a module may ship.
pub type ShippingStatement = Statement<Shipping>;

/// A predicate and the artefacts it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement<P> {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: P,
}

/// An artefact, by name and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// `module`, or `outputs/<path>`.
    pub name: String,
    /// Its digest.
    pub digest: SubjectDigest,
}

/// The digest of a subject, by algorithm; there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectDigest {
    /// SHA-256.
    pub sha256: Digest,
}

/// What can be stated: [`Execution`] and [`Shipping`].
pub trait Predicate: Serialize + DeserializeOwned {
    /// The predicate's type in the statement.
    const TYPE: &'static str;

    /// The artefacts the predicate is about, in the one order a statement has them.
    fn subject(&self) -> Vec<Subject>;

    /// Whether the predicate keeps its own rules; the text says which one it breaks.
    ///
    /// # Errors
    ///
    /// [`StatementError::Contradiction`].
    fn check(&self) -> Result<(), StatementError>;
}

/// Why bytes are not a statement of the expected kind.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The envelope proves nothing.
    #[error("the envelope does not verify")]
    Envelope(#[from] DsseError),
    /// A field is missing or has a value that is not known here.
    #[error("the payload is not a statement")]
    Malformed(#[source] serde_json::Error),
    /// It states something else.
    #[error("the statement is of type `{0}`, which is not the one asked for")]
    WrongType(String),
    /// It is about other artefacts than its predicate.
    #[error("the statement's subject is not what its predicate is about")]
    WrongSubject,
    /// It breaks a rule of its own.
    #[error("the statement contradicts itself: {0}")]
    Contradiction(&'static str),
}

impl<P: Predicate> Statement<P> {
    /// States `predicate`.
    ///
    /// # Errors
    ///
    /// [`StatementError::Contradiction`] if the predicate breaks its own rules.
    pub fn new(predicate: P) -> Result<Self, StatementError> {
        predicate.check()?;
        Ok(Self {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: predicate.subject(),
            predicate_type: P::TYPE.to_owned(),
            predicate,
        })
    }

    /// Reads the payload of a verified envelope.
    ///
    /// # Errors
    ///
    /// All of [`StatementError`] but its first.
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        let kind: Kind = json::read(payload).map_err(StatementError::Malformed)?;
        if kind.statement_type != STATEMENT_TYPE {
            return Err(StatementError::WrongType(kind.statement_type));
        }
        if kind.predicate_type != P::TYPE {
            return Err(StatementError::WrongType(kind.predicate_type));
        }
        let statement: Self = json::read(payload).map_err(StatementError::Malformed)?;
        // A reader may look at the subject alone, so it must name what the predicate is about.
        if statement.subject != statement.predicate.subject() {
            return Err(StatementError::WrongSubject);
        }
        statement.predicate.check()?;
        Ok(statement)
    }

    /// Verifies an envelope's JSON against the accepted keys and reads what it holds. Answers the
    /// key that signed.
    ///
    /// # Errors
    ///
    /// Any [`StatementError`].
    pub fn open(
        envelope: &[u8],
        accepted: &[VerifyingKey],
    ) -> Result<(Self, VerifyingKey), StatementError> {
        // Verified first: nothing in an unsigned payload is looked at.
        let (payload, signer) = Envelope::parse(envelope)?.verify(accepted)?;
        Ok((Self::parse(&payload)?, signer))
    }

    /// What is stated.
    pub fn predicate(&self) -> &P {
        &self.predicate
    }

    /// What is stated, by value.
    pub fn into_predicate(self) -> P {
        self.predicate
    }

    /// The artefacts it is about.
    pub fn subject(&self) -> &[Subject] {
        &self.subject
    }

    /// The statement's JSON. Not canonical: what is signed is these bytes, and a `u64` stays exact.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a statement has text keys and finite numbers")
    }

    /// The statement in an envelope signed by `key`.
    pub fn sign(&self, key: &SigningKey) -> Envelope {
        dsse::sign(dsse::IN_TOTO, &self.to_json(), key)
    }
}

impl Subject {
    /// A subject called `name`.
    pub fn new(name: impl Into<String>, sha256: Digest) -> Self {
        Self { name: name.into(), digest: SubjectDigest { sha256 } }
    }
}

/// Read first, so that a statement of another kind is called that and not malformed.
#[derive(Serialize, Deserialize)]
struct Kind {
    #[serde(rename = "_type")]
    statement_type: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[cfg(test)]
mod tests;
