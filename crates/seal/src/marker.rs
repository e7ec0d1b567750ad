//! The seal: the file that is written last, once, and closes a pack for ever (O9).

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;
use wire::digest::Digest;

use crate::json;

/// How a pack was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealStatus {
    /// The files are complete. Gates are another question.
    #[serde(rename = "SEALED_OK")]
    Ok,
    /// Kept for looking at what failed; never the source of a run's outputs.
    #[serde(rename = "SEALED_FAILED")]
    Failed,
}

impl SealStatus {
    /// Its name in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "SEALED_OK",
            Self::Failed => "SEALED_FAILED",
        }
    }
}

/// A seal of either version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "version")]
pub enum SealMarker {
    /// Bound to the manifest's bytes; what is written today.
    #[serde(rename = "v1")]
    V1(SealV1),
    /// Bound to nothing; only read.
    #[serde(rename = "v0")]
    V0(SealV0),
}

/// The seal written today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealV1 {
    /// The pack.
    pub oracle_pack_id: Digest,
    /// How it was closed.
    pub seal_status: SealStatus,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub sealed_at_utc: OffsetDateTime,
    /// sha256 of the manifest's exact bytes.
    pub manifest_digest: Digest,
    /// 32 lower hex digits drawn for this one attempt to seal. After a doubtful answer of the
    /// store, it shows whose seal is there.
    pub nonce: String,
    /// What the store showed of itself before it was trusted with a seal (O10).
    pub store_probe: StoreProbe,
}

/// A seal of the first version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealV0 {
    /// The pack.
    pub oracle_pack_id: Digest,
    /// How it was closed.
    pub seal_status: SealStatus,
    /// When; the first version fixed no format.
    pub sealed_at_utc: String,
}

/// Evidence that the store creates an object at most once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreProbe {
    /// A second create of one key was refused, and the first content stayed.
    pub second_create_refused: bool,
    /// Races run.
    pub races: u32,
    /// Writers in each race.
    pub writers: u32,
    /// Races that ended with exactly one winner, whose content stayed.
    pub races_with_one_winner: u32,
    /// Whether an upload with a wrong sha256 was refused and left nothing, so that the checksums
    /// the store keeps are those of the bytes it keeps (O11); absent where it keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_checksum_refused: Option<bool>,
    /// When it was probed.
    #[serde(with = "time::serde::rfc3339")]
    pub probed_at_utc: OffsetDateTime,
}

impl StoreProbe {
    /// Whether the store proved to be write-once: at least 20 races of at least 16 writers.
    pub fn write_once(&self) -> bool {
        // The figures of O10. A seal from a store that was probed less proves less, whichever
        // program wrote it.
        self.second_create_refused
            && self.races >= 20
            && self.writers >= 16
            && self.races_with_one_winner == self.races
    }

    /// Whether the checksums that the store keeps may count as evidence (O11).
    pub fn keeps_true_checksums(&self) -> bool {
        // Absent is no: an older seal did not ask.
        self.wrong_checksum_refused == Some(true)
    }
}

/// The bytes are not a seal.
#[derive(Debug, Error)]
#[error("cannot read the seal: {0}")]
pub struct SealError(String);

impl SealMarker {
    /// Reads a seal of either version.
    ///
    /// # Errors
    /// Unknown version or status, unknown or missing field, a nonce that is not 32 hex digits; in a
    /// `v1`, bytes that are not the canonical ones.
    pub fn parse(bytes: &[u8]) -> Result<Self, SealError> {
        let seal: Self = json::read(bytes).map_err(|error| SealError(json::explain(&error)))?;
        // We write one form only; another was written by another program, or is read differently.
        let canonical = |seal: &Self| seal.to_bytes().is_ok_and(|written| written == bytes);
        if matches!(&seal, Self::V1(_)) && !canonical(&seal) {
            return Err(SealError("it is not canonical JSON".to_owned()));
        }
        let odd = |b: u8| !matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if matches!(&seal, Self::V1(v1) if v1.nonce.len() != 32 || v1.nonce.bytes().any(odd)) {
            return Err(SealError("nonce is not 32 lower hex digits".to_owned()));
        }
        Ok(seal)
    }

    /// The pack it closes.
    pub fn pack_id(&self) -> Digest {
        match self {
            Self::V1(v1) => v1.oracle_pack_id,
            Self::V0(v0) => v0.oracle_pack_id,
        }
    }

    /// How it closed it.
    pub fn status(&self) -> SealStatus {
        match self {
            Self::V1(v1) => v1.seal_status,
            Self::V0(v0) => v0.seal_status,
        }
    }

    /// When the pack was sealed; the first version says it in a form of its own, which is not read.
    pub fn sealed_at(&self) -> Option<OffsetDateTime> {
        match self {
            Self::V1(v1) => Some(v1.sealed_at_utc),
            Self::V0(_) => None,
        }
    }

    /// sha256 of the manifest it is bound to; `None` in the first version.
    pub fn manifest_digest(&self) -> Option<Digest> {
        match self {
            Self::V1(v1) => Some(v1.manifest_digest),
            Self::V0(_) => None,
        }
    }

    /// The nonce of the attempt that wrote it; `None` in the first version.
    pub fn nonce(&self) -> Option<&str> {
        match self {
            Self::V1(v1) => Some(&v1.nonce),
            Self::V0(_) => None,
        }
    }

    /// The bytes to store: canonical JSON (RFC 8785). Their sha256 is the seal digest.
    ///
    /// # Errors
    /// Only the serializer's own, which these types do not raise.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        wire::json::canonical(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> SealV1 {
        SealV1 {
            oracle_pack_id: Digest::of(b"p"),
            seal_status: SealStatus::Ok,
            sealed_at_utc: OffsetDateTime::UNIX_EPOCH,
            manifest_digest: Digest::of(b"m"),
            nonce: "0123456789abcdef".repeat(2),
            store_probe: StoreProbe {
                second_create_refused: true,
                races: 20,
                writers: 16,
                races_with_one_winner: 20,
                wrong_checksum_refused: None,
                probed_at_utc: OffsetDateTime::UNIX_EPOCH,
            },
        }
    }

    #[test]
    fn a_seal_comes_back_from_its_bytes() {
        let old = SealMarker::V0(SealV0 {
            oracle_pack_id: Digest::of(b"p"),
            seal_status: SealStatus::Failed,
            sealed_at_utc: "2026-01-28".to_owned(),
        });
        let mut with_checksums = seal();
        with_checksums.store_probe.wrong_checksum_refused = Some(true);
        for seal in [SealMarker::V1(seal()), SealMarker::V1(with_checksums), old] {
            assert_eq!(SealMarker::parse(&seal.to_bytes().unwrap()).unwrap(), seal);
        }
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let text = String::from_utf8(SealMarker::V1(seal()).to_bytes().unwrap()).unwrap();
        for (from, to) in [
            ("SEALED_OK", "SEALED_MAYBE"),
            (r#""version":"v1""#, r#""version":"v9""#),
            (r#""nonce":"0"#, r#""nonce":"X"#),
            (r#""races":20"#, r#""races":20,"more":1"#),
        ] {
            let edited = text.replacen(from, to, 1);
            assert_ne!(edited, text);
            assert!(SealMarker::parse(edited.as_bytes()).is_err(), "{to} passed");
        }
        assert!(SealMarker::parse(b"").is_err(), "an empty file passed");
    }

    #[test]
    fn a_probe_with_one_lost_race_proves_nothing() {
        let mut probe = seal().store_probe;
        assert!(probe.write_once());
        probe.races_with_one_winner = 19;
        assert!(!probe.write_once());
    }
}
