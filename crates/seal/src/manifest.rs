//! The manifest of a pack: which run made it, by which rules, and every file in it (O4).

pub mod pack_id;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;
use wire::digest::Digest;

use crate::json;
use crate::run_key::RunKey;
use crate::tree::Tree;

/// Largest seed a document may carry: every JSON reader takes integers up to 2^53 − 1 (R12).
pub const MAX_SEED: u64 = (1 << 53) - 1;
/// Longest scenario id, in bytes.
pub const MAX_SCENARIO_BYTES: usize = 256;
/// Longest engine release, in bytes.
pub const MAX_RELEASE_BYTES: usize = 256;

/// The world a pack belongs to; the run is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldKey {
    /// Digest of what was run: in Lumio, the module's tree.
    pub manifest_fingerprint: Digest,
    /// Digest of its parameters: in Lumio, the canonical JSON of the run's input.
    pub parameter_hash: Digest,
    /// Which scenario: in Lumio, the workflow id. 1 to 256 bytes.
    pub scenario_id: String,
    /// The seed of the run.
    pub seed: u64,
}

/// A manifest of either version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "version")]
pub enum Manifest {
    /// With an inventory; what is written today.
    #[serde(rename = "v1")]
    V1(ManifestV1),
    /// Without one; only read.
    #[serde(rename = "v0")]
    V0(ManifestV0),
}

/// The manifest written today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestV1 {
    /// [`pack_id::v1`] of this manifest.
    pub oracle_pack_id: Digest,
    /// The world.
    pub world_key: WorldKey,
    /// The run.
    pub run_id: RunKey,
    /// Its attempt, from 1; 1 where an engine knows none.
    pub attempt: u32,
    /// What made the files.
    pub engine_release: String,
    /// sha256 of the catalogue's bytes.
    pub catalogue_digest: Digest,
    /// sha256 of the gate map's bytes.
    pub gate_map_digest: Digest,
    /// Every file of the pack but this one and the seal.
    pub inventory: Tree,
    /// When the manifest was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at_utc: OffsetDateTime,
}

/// A manifest of the first version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestV0 {
    /// [`pack_id::v0`] of this manifest.
    pub oracle_pack_id: Digest,
    /// The world.
    pub world_key: WorldKey,
    /// What made the files.
    pub engine_release: String,
    /// sha256 of the catalogue's bytes.
    pub catalogue_digest: Digest,
    /// sha256 of the gate map's bytes.
    pub gate_map_digest: Digest,
    /// When the manifest was made; the first version fixed no format.
    pub created_at_utc: String,
}

/// The bytes are not a manifest.
#[derive(Debug, Error)]
#[error("cannot read the manifest: {0}")]
pub struct ManifestError(String);

impl Manifest {
    /// Reads a manifest of either version. The pack id is *not* compared: see
    /// [`Manifest::derived_pack_id`].
    ///
    /// # Errors
    /// Unknown version, unknown or missing field, a value out of its limits; in a `v1`, bytes that
    /// are not the canonical ones.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self =
            json::read(bytes).map_err(|error| ManifestError(json::explain(&error)))?;
        // We write one form only; another was written by another program, or is read differently.
        let canonical = |document: &Self| document.to_bytes().is_ok_and(|written| written == bytes);
        if matches!(&manifest, Self::V1(_)) && !canonical(&manifest) {
            return Err(ManifestError("it is not canonical JSON".to_owned()));
        }
        let (world, release) = match &manifest {
            Self::V1(v1) => (&v1.world_key, &v1.engine_release),
            Self::V0(v0) => (&v0.world_key, &v0.engine_release),
        };
        // In both versions: the v0 id joins these texts, so an empty one shifts its fields.
        let within = |text: &str, most: usize| !text.is_empty() && text.len() <= most;
        if !within(&world.scenario_id, MAX_SCENARIO_BYTES) {
            return Err(ManifestError("scenario_id has not 1 to 256 bytes".to_owned()));
        }
        if !within(release, MAX_RELEASE_BYTES) {
            return Err(ManifestError("engine_release has not 1 to 256 bytes".to_owned()));
        }
        if matches!(&manifest, Self::V1(v1) if v1.attempt == 0 || v1.world_key.seed > MAX_SEED) {
            return Err(ManifestError("attempt is 0 or seed is above 2^53 - 1".to_owned()));
        }
        Ok(manifest)
    }

    /// The pack id the manifest claims.
    pub fn pack_id(&self) -> Digest {
        match self {
            Self::V1(v1) => v1.oracle_pack_id,
            Self::V0(v0) => v0.oracle_pack_id,
        }
    }

    /// The pack id its fields give.
    pub fn derived_pack_id(&self) -> Digest {
        match self {
            Self::V1(v1) => pack_id::v1(v1),
            Self::V0(v0) => pack_id::v0(v0),
        }
    }

    /// The world it names.
    pub fn world_key(&self) -> &WorldKey {
        match self {
            Self::V1(v1) => &v1.world_key,
            Self::V0(v0) => &v0.world_key,
        }
    }

    /// The inventory; `None` in the first version.
    pub fn inventory(&self) -> Option<&Tree> {
        match self {
            Self::V1(v1) => Some(&v1.inventory),
            Self::V0(_) => None,
        }
    }

    /// sha256 of the catalogue it was made under.
    pub fn catalogue_digest(&self) -> Digest {
        match self {
            Self::V1(v1) => v1.catalogue_digest,
            Self::V0(v0) => v0.catalogue_digest,
        }
    }

    /// sha256 of the gate map it was made under.
    pub fn gate_map_digest(&self) -> Digest {
        match self {
            Self::V1(v1) => v1.gate_map_digest,
            Self::V0(v0) => v0.gate_map_digest,
        }
    }

    /// The bytes to store: canonical JSON (RFC 8785).
    ///
    /// # Errors
    /// Only the serializer's own, which these types do not raise.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        wire::json::canonical(self)
    }

    /// Whether `other` describes the same pack with the same files; when it was made does not
    /// count.
    pub fn same_identity(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::V1(a), Self::V1(b)) => {
                ManifestV1 { created_at_utc: b.created_at_utc, ..a.clone() } == *b
            }
            (Self::V0(a), Self::V0(b)) => {
                ManifestV0 { created_at_utc: b.created_at_utc.clone(), ..a.clone() } == *b
            }
            _ => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::tree::{File, Limits};

    fn world() -> WorldKey {
        WorldKey {
            manifest_fingerprint: "c".repeat(64).parse().unwrap(),
            parameter_hash: "1".repeat(64).parse().unwrap(),
            scenario_id: "baseline_v1".to_owned(),
            seed: 42,
        }
    }

    pub(crate) fn v0_example() -> ManifestV0 {
        ManifestV0 {
            oracle_pack_id: Digest::of(b""),
            world_key: world(),
            engine_release: "engine-test".to_owned(),
            catalogue_digest: "d".repeat(64).parse().unwrap(),
            gate_map_digest: "e".repeat(64).parse().unwrap(),
            created_at_utc: "2026-01-28T00:00:00Z".to_owned(),
        }
    }

    pub(crate) fn v1_example() -> ManifestV1 {
        let v0 = v0_example();
        let sha256 = Digest::of(b"x");
        let file = File { path: "a".to_owned(), executable: false, length: 1, sha256 };
        ManifestV1 {
            oracle_pack_id: v0.oracle_pack_id,
            world_key: v0.world_key,
            run_id: "ab".repeat(16).parse().unwrap(),
            attempt: 1,
            engine_release: v0.engine_release,
            catalogue_digest: v0.catalogue_digest,
            gate_map_digest: v0.gate_map_digest,
            inventory: Tree::new(vec![file], &Limits::PACK).unwrap(),
            created_at_utc: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn both_versions_come_back_from_their_bytes() {
        for manifest in [Manifest::V0(v0_example()), Manifest::V1(v1_example())] {
            let bytes = manifest.to_bytes().unwrap();
            assert_eq!(Manifest::parse(&bytes).unwrap(), manifest);
        }
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let text = String::from_utf8(Manifest::V1(v1_example()).to_bytes().unwrap()).unwrap();
        for (from, to) in [
            (r#""version":"v1""#, r#""version":"v2""#),
            (r#""attempt":1"#, r#""attempt":1,"extra":1"#),
            (r#""attempt":1"#, r#""attempt":0"#),
            (r#""attempt":1,"#, ""),
            (r#""seed":42"#, r#""seed":9007199254740992"#),
            (r#""length":1"#, r#""length":2"#),
            (r#""path":"a""#, r#""path":"../a""#),
        ] {
            let edited = text.replacen(from, to, 1);
            assert_ne!(edited, text, "{from} is not in the manifest");
            assert!(Manifest::parse(edited.as_bytes()).is_err(), "{to} passed");
        }
    }

    #[test]
    fn only_the_time_of_making_may_differ_between_equal_manifests() {
        let a = v1_example();
        let later = ManifestV1 {
            created_at_utc: OffsetDateTime::UNIX_EPOCH.replace_year(1999).unwrap(),
            ..a.clone()
        };
        let other = ManifestV1 { attempt: 2, ..a.clone() };
        assert!(Manifest::V1(a.clone()).same_identity(&Manifest::V1(later)));
        assert!(!Manifest::V1(a.clone()).same_identity(&Manifest::V1(other)));
        assert!(!Manifest::V1(a).same_identity(&Manifest::V0(v0_example())));
    }
}
