//! The manifest of a pack: which run made it, by which rules, and every file in it (O4).

mod canonical;
pub mod pack_id;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;
use wire::digest::Digest;

use crate::json;
use crate::run_key::RunKey;
use crate::shards::{Sharding, Shards};
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

/// A manifest of any version. [`Manifest::new`] makes the one that is written today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "version")]
pub enum Manifest {
    /// With an inventory, and shards of its very large files.
    #[serde(rename = "v2")]
    V2(ManifestV2),
    /// With an inventory. Written where no file has shards; releases before `v2` wrote it of very
    /// large files too.
    #[serde(rename = "v1")]
    V1(ManifestV1),
    /// Without one; only read.
    #[serde(rename = "v0")]
    V0(ManifestV0),
}

/// A manifest with shards. It is what a `v1` is, and holds one more member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestV2 {
    /// Everything but the shards.
    // A member that neither type knows is found by `json::read`: it does not come back.
    #[serde(flatten)]
    pub common: ManifestV1,
    /// Digests of the shards of every file above 1 GiB ([`Sharding::PACK`]).
    pub shards: Shards,
}

/// A manifest with an inventory.
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

impl ManifestV1 {
    /// Whether both are equal but for the time of their making.
    fn same_identity(&self, other: &Self) -> bool {
        // Each by its name, so that a member to come is not forgotten here.
        let Self {
            oracle_pack_id,
            world_key,
            run_id,
            attempt,
            engine_release,
            catalogue_digest,
            gate_map_digest,
            inventory,
            created_at_utc: _,
        } = self;
        *oracle_pack_id == other.oracle_pack_id
            && *world_key == other.world_key
            && *run_id == other.run_id
            && *attempt == other.attempt
            && *engine_release == other.engine_release
            && *catalogue_digest == other.catalogue_digest
            && *gate_map_digest == other.gate_map_digest
            && *inventory == other.inventory
    }
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
    /// The manifest to be written: of the oldest version that can hold it, so that packs without
    /// very large files are read by every release.
    pub fn new(common: ManifestV1, shards: Option<Shards>) -> Self {
        match shards {
            Some(shards) => Self::V2(ManifestV2 { common, shards }),
            None => Self::V1(common),
        }
    }

    /// Reads a manifest of any version. The pack id is *not* compared: see
    /// [`Manifest::derived_pack_id`].
    ///
    /// # Errors
    /// Unknown version, unknown or missing field, a value out of its limits; shards that are not
    /// those of the inventory; from `v1` on, bytes that are not the canonical ones.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        match canonical::read(bytes) {
            Some(manifest) => manifest,
            None => Self::read_carefully(bytes)?,
        }
        .within_limits()
    }

    /// Whatever the bytes are, with words for what is wrong.
    fn read_carefully(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self =
            json::read(bytes).map_err(|error| ManifestError(json::explain(&error)))?;
        // We write one form only; another was written by another program, or is read differently.
        let canonical = |document: &Self| document.to_bytes().is_ok_and(|written| written == bytes);
        if manifest.common().is_some() && !canonical(&manifest) {
            return Err(ManifestError("it is not canonical JSON".to_owned()));
        }
        Ok(manifest)
    }

    fn within_limits(self) -> Result<Self, ManifestError> {
        let manifest = self;
        let (world, release) = match &manifest {
            Self::V2(ManifestV2 { common: v1, .. }) | Self::V1(v1) => {
                (&v1.world_key, &v1.engine_release)
            }
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
        let common = manifest.common();
        if common.is_some_and(|common| common.attempt == 0 || common.world_key.seed > MAX_SEED) {
            return Err(ManifestError("attempt is 0 or seed is above 2^53 - 1".to_owned()));
        }
        if let Self::V2(ManifestV2 { common, shards }) = &manifest {
            let checked = shards.check(Sharding::PACK, &common.inventory);
            checked.map_err(|error| ManifestError(error.to_string()))?;
        }
        Ok(manifest)
    }

    /// What all versions with an inventory hold; `None` in the first version.
    pub fn common(&self) -> Option<&ManifestV1> {
        match self {
            Self::V2(ManifestV2 { common, .. }) | Self::V1(common) => Some(common),
            Self::V0(_) => None,
        }
    }

    /// The shards of very large files, where it has any.
    pub fn shards(&self) -> Option<&Shards> {
        match self {
            Self::V2(v2) => Some(&v2.shards),
            Self::V1(_) | Self::V0(_) => None,
        }
    }

    /// The pack id the manifest claims.
    pub fn pack_id(&self) -> Digest {
        match self {
            Self::V2(ManifestV2 { common: v1, .. }) | Self::V1(v1) => v1.oracle_pack_id,
            Self::V0(v0) => v0.oracle_pack_id,
        }
    }

    /// The pack id its fields give.
    pub fn derived_pack_id(&self) -> Digest {
        match self {
            Self::V2(ManifestV2 { common: v1, .. }) | Self::V1(v1) => pack_id::v1(v1),
            Self::V0(v0) => pack_id::v0(v0),
        }
    }

    /// The world it names.
    pub fn world_key(&self) -> &WorldKey {
        match self {
            Self::V2(ManifestV2 { common: v1, .. }) | Self::V1(v1) => &v1.world_key,
            Self::V0(v0) => &v0.world_key,
        }
    }

    /// The inventory; `None` in the first version.
    pub fn inventory(&self) -> Option<&Tree> {
        self.common().map(|common| &common.inventory)
    }

    /// sha256 of the catalogue it was made under.
    pub fn catalogue_digest(&self) -> Digest {
        match self {
            Self::V2(ManifestV2 { common: v1, .. }) | Self::V1(v1) => v1.catalogue_digest,
            Self::V0(v0) => v0.catalogue_digest,
        }
    }

    /// sha256 of the gate map it was made under.
    pub fn gate_map_digest(&self) -> Digest {
        match self {
            Self::V2(ManifestV2 { common: v1, .. }) | Self::V1(v1) => v1.gate_map_digest,
            Self::V0(v0) => v0.gate_map_digest,
        }
    }

    /// The bytes to store: canonical JSON (RFC 8785).
    ///
    /// # Errors
    /// Only the serializer's own, which these types do not raise.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        canonical::write(self).unwrap_or_else(|| wire::json::canonical(self))
    }

    /// Whether `other` describes the same pack with the same files. When it was made does not
    /// count, nor whether it has shards: a `v1` may be of an earlier release. Where both have
    /// shards they are equal.
    pub fn same_identity(&self, other: &Self) -> bool {
        if let (Some(a), Some(b)) = (self.shards(), other.shards())
            && a != b
        {
            return false;
        }
        match (self, other) {
            (
                Self::V2(ManifestV2 { common: a, .. }) | Self::V1(a),
                Self::V2(ManifestV2 { common: b, .. }) | Self::V1(b),
            ) => a.same_identity(b),
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

    /// With a file of 1 GiB and one byte.
    pub(crate) fn v2_example() -> ManifestV2 {
        let mut files = v1_example().inventory.files().to_vec();
        files.push(File { path: "big".to_owned(), length: (1 << 30) + 1, ..files[0].clone() });
        let inventory = Tree::new(files, &Limits::PACK).unwrap();
        let digests = [("big".to_owned(), vec![Digest::of(b"s"); 5])].into();
        let shards = Shards::new(Sharding::PACK, &inventory, digests).unwrap().unwrap();
        ManifestV2 { common: ManifestV1 { inventory, ..v1_example() }, shards }
    }

    #[test]
    fn every_version_comes_back_from_its_bytes() {
        let (v0, v1) = (Manifest::V0(v0_example()), Manifest::V1(v1_example()));
        for manifest in [v0, v1, Manifest::V2(v2_example())] {
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
    fn shards_that_contradict_the_inventory_are_refused() {
        let text = String::from_utf8(Manifest::V2(v2_example()).to_bytes().unwrap()).unwrap();
        let digest = format!("\"{}\"", Digest::of(b"s"));
        let five = vec![digest.clone(); 5].join(",");
        for (from, to) in [
            // Too few, too many, none, and of no digest.
            (five.as_str(), vec![digest.clone(); 4].join(",")),
            (&five, vec![digest.clone(); 6].join(",")),
            (&five, String::new()),
            (&five, five.replacen("\"0", "\"x", 1).replacen("\"04", "\"zz", 1) + ",\"\""),
            (r#""shard_bytes":268435456"#, r#""shard_bytes":134217728"#.to_owned()),
            (r#""shard_bytes":268435456"#, r#""shard_bytes":268435456,"start":0"#.to_owned()),
            (r#""files":[{"path":"big""#, r#""files":[{"path":"a""#.to_owned()),
            (r#","shard_bytes":268435456"#, String::new()),
            (r#""length":1073741825"#, r#""length":1342177281"#.to_owned()),
            (r#""length":1073741825"#, r#""length":1073741824"#.to_owned()),
            (r#""version":"v2""#, r#""version":"v1""#.to_owned()),
        ] {
            let edited = text.replacen(from, &to, 1);
            assert_ne!(edited, text, "{from} is not in the manifest");
            // With the digest that its edited inventory has, so that only the shards are wrong.
            let edited = with_inventory_digest(&edited);
            assert!(Manifest::parse(edited.as_bytes()).is_err(), "{to} passed");
        }
        let v1 = String::from_utf8(Manifest::V1(v1_example()).to_bytes().unwrap()).unwrap();
        let v1 = v1.replacen(r#""version":"v1""#, r#""version":"v2""#, 1);
        assert!(Manifest::parse(v1.as_bytes()).is_err(), "a v2 without shards passed");
        assert_eq!(with_inventory_digest(&text), text);
    }

    fn with_inventory_digest(text: &str) -> String {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let files = serde_json::from_value(value["inventory"]["files"].clone()).unwrap();
        let digest = Tree::new(files, &Limits::PACK).unwrap().digest().to_string();
        text.replacen(value["inventory"]["digest"].as_str().unwrap(), &digest, 1)
    }

    #[test]
    fn a_manifest_of_an_earlier_release_is_equal_without_shards_and_not_with_others() {
        let now = v2_example();
        let before = Manifest::V1(now.common.clone());
        let mut digests = now.shards.files()[0].sha256.clone();
        digests[2] = Digest::of(b"t");
        let digests = [("big".to_owned(), digests)].into();
        let shards = Shards::new(Sharding::PACK, &now.common.inventory, digests).unwrap();
        let other = Manifest::new(now.common.clone(), shards);
        let now = Manifest::V2(now);
        assert!(now.same_identity(&before) && before.same_identity(&now));
        assert!(now.same_identity(&now.clone()) && !now.same_identity(&other));
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
