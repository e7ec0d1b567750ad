//! The ids that Lumio's processes pass to each other, each a type of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::bytes32::bytes32;

bytes32! {
    /// An Ed25519 verifying key.
    pub struct PublicKey: "a public key";
    /// The hash of a transaction's envelope on its network.
    pub struct TxHash: "a transaction hash";
    /// A run's id in the vault (V4). Derived from what the run was opened with.
    pub struct VaultRunId: "a run's id in the vault";
    /// What makes one attempt's id in the vault differ from another's (V4).
    pub struct Nonce: "a nonce";
    /// A login's challenge: the hash of SEP-10's transaction, or the sha256 of SEP-45's nonce.
    pub struct ChallengeId: "a challenge";
    /// SHA-256 of a network's passphrase, which every signature on it covers.
    pub struct NetworkId: "a network id";
}

/// A run, whatever its attempt. JSON, HTTP and gRPC spell it with dashes; facts views, subjects and
/// store paths as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunId(Uuid);

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for RunId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(
                utoipa::openapi::KnownFormat::Uuid,
            )))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for RunId {}

/// The text is neither a UUID with dashes nor one of 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a run id: a UUID with dashes, or its 32 hex digits")]
pub struct InvalidRunId;

/// One attempt of a run: what a gate executes, seals and answers for once (R11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptKey {
    /// The run.
    pub run: RunId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
}

impl AttemptKey {
    /// Attempt number `attempt` of `run`.
    pub const fn new(run: RunId, attempt: u32) -> Self {
        Self { run, attempt }
    }
}

impl From<(RunId, u32)> for AttemptKey {
    fn from((run, attempt): (RunId, u32)) -> Self {
        Self { run, attempt }
    }
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} attempt {}", self.run, self.attempt)
    }
}

impl RunId {
    /// The 16 bytes behind both spellings.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// 32 lower-case hex digits, no dashes.
    pub fn simple(&self) -> String {
        self.0.simple().to_string()
    }
}

impl From<Uuid> for RunId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl From<RunId> for Uuid {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;

    fn try_from(text: String) -> Result<Self, InvalidRunId> {
        text.parse()
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    /// Takes both spellings and no other: a brace or a URN would make two texts of one run.
    fn from_str(text: &str) -> Result<Self, InvalidRunId> {
        // The parser itself also takes braces (38 characters) and URNs (45).
        if text.len() != 32 && text.len() != 36 {
            return Err(InvalidRunId);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidRunId)
    }
}

#[cfg(feature = "sqlx")]
impl sqlx::Type<sqlx::Postgres> for RunId {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        <Uuid as sqlx::Type<sqlx::Postgres>>::type_info()
    }
}

#[cfg(feature = "sqlx")]
impl<'q> sqlx::Encode<'q, sqlx::Postgres> for RunId {
    fn encode_by_ref(
        &self,
        buffer: &mut sqlx::postgres::PgArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        <Uuid as sqlx::Encode<'q, sqlx::Postgres>>::encode_by_ref(&self.0, buffer)
    }
}

#[cfg(feature = "sqlx")]
impl<'r> sqlx::Decode<'r, sqlx::Postgres> for RunId {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        <Uuid as sqlx::Decode<'r, sqlx::Postgres>>::decode(value).map(Self)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_is_one_of_two_spellings(
            text in "[0-9a-fA-F-]{32,36}|\\PC{0,40}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[{]?[0-9a-f]{32}[}]?",
        ) {
            if let Ok(id) = text.parse::<RunId>() {
                let lower = text.to_ascii_lowercase();
                prop_assert!(lower == id.to_string() || lower == id.simple(), "{}", text);
            }
        }
    }

    #[test]
    fn both_spellings_are_one_run() {
        let dashed = "00000000-0000-4000-8000-00000000000a";
        let id: RunId = dashed.parse().unwrap();

        assert_eq!(id.simple().parse(), Ok(id));
        assert_eq!(id.to_string(), dashed);
        assert_eq!(id.simple(), "0000000000004000800000000000000a");
    }

    #[test]
    fn no_third_spelling_is_taken() {
        for text in [
            "",
            "7",
            "{00000000-0000-4000-8000-00000000000a}",
            "urn:uuid:00000000-0000-4000-8000-00000000000a",
        ] {
            assert_eq!(text.parse::<RunId>(), Err(InvalidRunId), "{text}");
        }
    }
}
