//! Manifests in their one form, read and written without a tree of values.
//!
//! What this program reads is nearly always what it wrote. [`read`] reads such bytes as a manifest
//! and writes that manifest again beside them: bytes that are equal to the canonical form of what
//! they were read as have no member twice, none that is unknown, none in another form and none in
//! another order. So nothing else has to be looked at, and of anything else nothing is said here:
//! the careful reader decides about it, and says what is wrong.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use serde::de::{Error as _, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use wire::digest::Digest;
use wire::json::MAX_INTEGER;

use super::{Manifest, ManifestV1, WorldKey};
use crate::run_key::RunKey;
use crate::shards::Shards;
use crate::tree::{File, Tree};

/// A manifest with an inventory. The members are in the order of their names, which is that of
/// the canonical form (RFC 8785, 3.2.3): it is written in this order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    attempt: u32,
    catalogue_digest: Hex,
    #[serde(with = "time::serde::rfc3339")]
    created_at_utc: OffsetDateTime,
    #[serde(borrow)]
    engine_release: Cow<'a, str>,
    gate_map_digest: Hex,
    #[serde(borrow)]
    inventory: Inventory<'a>,
    oracle_pack_id: Hex,
    run_id: RunKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shards: Option<Cow<'a, Shards>>,
    version: Version,
    #[serde(borrow)]
    world_key: World<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Version {
    #[serde(rename = "v1")]
    V1,
    #[serde(rename = "v2")]
    V2,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct World<'a> {
    manifest_fingerprint: Hex,
    parameter_hash: Hex,
    #[serde(borrow)]
    scenario_id: Cow<'a, str>,
    seed: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inventory<'a> {
    #[serde(borrow)]
    algo: Cow<'a, str>,
    digest: Hex,
    #[serde(borrow)]
    files: Files<'a>,
}

/// Files as they are read, or those of a tree as they are written.
enum Files<'a> {
    Read(Vec<Entry<'a>>),
    Of(&'a Tree),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    executable: bool,
    length: u64,
    #[serde(borrow)]
    path: Cow<'a, str>,
    sha256: Hex,
}

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Read(entries) => entries.serialize(to),
            Self::Of(tree) => {
                let mut list = to.serialize_seq(Some(tree.files().len()))?;
                for File { path, executable, length, sha256 } in tree.files() {
                    list.serialize_element(&Entry {
                        executable: *executable,
                        length: *length,
                        path: path.into(),
                        sha256: Hex(*sha256),
                    })?;
                }
                list.end()
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Files<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self::Read)
    }
}

/// A digest that is read and written without a text of its own.
struct Hex(Digest);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0.as_bytes(), &mut digits).map_err(serde::ser::Error::custom)?;
        to.serialize_str(std::str::from_utf8(&digits).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Digits;

        impl Visitor<'_> for Digits {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_str(Digits).map(Self)
    }
}

/// The manifest that `bytes` are the canonical form of; `None` where they may be something else.
pub(super) fn read(bytes: &[u8]) -> Option<Manifest> {
    let document: Document<'_> = serde_json::from_slice(bytes).ok()?;
    let version = document.version;
    let manifest = document.manifest().ok()?;
    let same_version = match &manifest {
        Manifest::V2(_) => version == Version::V2,
        Manifest::V1(_) => version == Version::V1,
        Manifest::V0(_) => false,
    };
    let mut rest = Expected(bytes);
    let equal = serde_json::to_writer(&mut rest, &Document::of(&manifest)?).is_ok();
    (same_version && equal && rest.0.is_empty()).then_some(manifest)
}

/// The canonical form of a manifest; `None` of one without an inventory, or with an integer that
/// has none.
pub(super) fn write(manifest: &Manifest) -> Option<Result<Vec<u8>, serde_json::Error>> {
    let document = Document::of(manifest)?;
    // About what an entry has besides its path, and what is around them.
    const ENTRY: usize = 140;
    let files = manifest.inventory().map_or(&[][..], Tree::files);
    let length = files.iter().map(|file| file.path.len() + ENTRY).sum::<usize>() + 2_048;
    let mut bytes = Vec::with_capacity(length);
    Some(serde_json::to_writer(&mut bytes, &document).map(|()| bytes))
}

impl<'a> Document<'a> {
    fn of(manifest: &'a Manifest) -> Option<Self> {
        let common = manifest.common()?;
        let shards = manifest.shards();
        let exact = |number: u64| number <= MAX_INTEGER;
        // A tree's lengths are within a pack's limit.
        if !exact(common.world_key.seed) || !shards.is_none_or(|all| exact(all.shard_bytes())) {
            return None;
        }
        Some(Self {
            attempt: common.attempt,
            catalogue_digest: Hex(common.catalogue_digest),
            created_at_utc: common.created_at_utc,
            engine_release: common.engine_release.as_str().into(),
            gate_map_digest: Hex(common.gate_map_digest),
            inventory: Inventory {
                algo: crate::tree::ALGO.into(),
                digest: Hex(common.inventory.digest()),
                files: Files::Of(&common.inventory),
            },
            oracle_pack_id: Hex(common.oracle_pack_id),
            run_id: common.run_id,
            shards: shards.map(Cow::Borrowed),
            version: if shards.is_some() { Version::V2 } else { Version::V1 },
            world_key: World {
                manifest_fingerprint: Hex(common.world_key.manifest_fingerprint),
                parameter_hash: Hex(common.world_key.parameter_hash),
                scenario_id: common.world_key.scenario_id.as_str().into(),
                seed: common.world_key.seed,
            },
        })
    }

    fn manifest(self) -> Result<Manifest, serde_json::Error> {
        let Files::Read(entries) = self.inventory.files else {
            return Err(serde_json::Error::custom("a document that was not read"));
        };
        let file = |entry: Entry<'_>| File {
            path: entry.path.into_owned(),
            executable: entry.executable,
            length: entry.length,
            sha256: entry.sha256.0,
        };
        let files = entries.into_iter().map(file).collect();
        let inventory = Tree::stated(&self.inventory.algo, self.inventory.digest.0, files);
        let common = ManifestV1 {
            oracle_pack_id: self.oracle_pack_id.0,
            world_key: WorldKey {
                manifest_fingerprint: self.world_key.manifest_fingerprint.0,
                parameter_hash: self.world_key.parameter_hash.0,
                scenario_id: self.world_key.scenario_id.into_owned(),
                seed: self.world_key.seed,
            },
            run_id: self.run_id,
            attempt: self.attempt,
            engine_release: self.engine_release.into_owned(),
            catalogue_digest: self.catalogue_digest.0,
            gate_map_digest: self.gate_map_digest.0,
            inventory: inventory.map_err(serde_json::Error::custom)?,
            created_at_utc: self.created_at_utc,
        };
        Ok(Manifest::new(common, self.shards.map(Cow::into_owned)))
    }
}

/// Takes what the bytes begin with, and nothing else.
struct Expected<'a>(&'a [u8]);

impl Write for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::manifest::tests::v1_example;
    use crate::shards::Sharding;
    use crate::tree::Limits;

    fn manifest(scenario: String, seed: u64, names: &[String], large: usize) -> Option<Manifest> {
        let file = |(number, name): (usize, &String)| File {
            path: name.clone(),
            executable: number % 3 == 0,
            length: if number < large { (1 << 30) + number as u64 + 1 } else { number as u64 },
            sha256: Digest::of(name.as_bytes()),
        };
        let files = names.iter().enumerate().map(file).collect();
        let inventory = Tree::new(files, &Limits::PACK).ok()?;
        let mut digests = BTreeMap::new();
        for file in inventory.files() {
            let count = usize::try_from(Sharding::PACK.count(file.length)).unwrap();
            digests.insert(file.path.clone(), vec![file.sha256; count]);
        }
        let shards = Shards::new(Sharding::PACK, &inventory, digests).unwrap();
        let mut common = ManifestV1 { inventory, ..v1_example() };
        common.world_key.scenario_id = scenario;
        common.world_key.seed = seed;
        Some(Manifest::new(common, shards))
    }

    /// Another spelling of one place of a document, most of them of the same meaning.
    fn respelled(text: &str, place: Index, how: u8) -> String {
        let at = |what: &str| {
            let all: Vec<usize> = text.match_indices(what).map(|(at, _)| at).collect();
            (!all.is_empty()).then(|| all[place.index(all.len())])
        };
        let insert = |what: &str, new: &str| {
            at(what).map(|at| format!("{}{new}{}", &text[..at], &text[at..]))
        };
        let replace = |what: &str, new: &str| {
            at(what).map(|at| format!("{}{new}{}", &text[..at], &text[at + what.len()..]))
        };
        let changed = match how {
            0 => insert("\"", " "),
            1 => replace("\"length\"", "\"\\u006cength\""),
            2 => insert("\"length\"", "\"length\":0,"),
            3 => insert("\"path\"", "\"path\":\"a\","),
            4 => replace("false", "true"),
            5 => replace("\"version\":", "\"extra\":null,\"version\":"),
            6 => replace("a", "\\u0061"),
            7 => insert("\"version\"", "\"shards\":null,"),
            8 => replace("\"v1\"", "\"v2\""),
            9 => replace("\"v2\"", "\"v1\""),
            10 => replace("\"seed\":", "\"seed\":0"),
            11 => replace("\"seed\":", "\"seed\":9007199254740993"),
            12 => replace("Z\"", "+00:00\""),
            13 => replace("{\"executable\":false,", "{"),
            14 => replace("\"attempt\":1", "\"attempt\":1.0"),
            15 => replace("\"attempt\":1", "\"attempt\":\"1\""),
            16 => insert("}", ",\"z\":1"),
            17 => replace("[{", "[[],{"),
            18 => Some(format!("{text}\n")),
            19 => Some(format!("\u{feff}{text}")),
            20 => Some(swapped(text)),
            _ => Some(format!("{text}{text}")),
        };
        changed.unwrap_or_else(|| text.to_owned())
    }

    /// With the first two files in the other order.
    fn swapped(text: &str) -> String {
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        let files = value["inventory"]["files"].as_array_mut().unwrap();
        let last = files.len() - 1;
        files.swap(0, last);
        String::from_utf8(wire::json::canonical(&value).unwrap()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Both readers read the same, and what this one does not take the other one judges.
        #[test]
        fn the_quick_reader_accepts_and_refuses_what_the_careful_one_does(
            scenario in "[a-z|\"\\\\ü\u{1}\u{7f}\u{2028}😀]{1,12}",
            seed in prop_oneof![0_u64..1 << 53, (1_u64 << 53) - 2..(1 << 53)],
            names in prop::collection::vec("[a-zA-Zäß😀\"]{1,6}(/[a-z0-9 .]{1,6})?", 1..8),
            large in 0..3_usize,
            edits in prop::collection::vec((any::<Index>(), 0..22_u8, any::<u8>(), 0..4_u8), 0..3),
        ) {
            let Some(manifest) = manifest(scenario, seed, &names, large) else { return Ok(()) };
            let written = write(&manifest).unwrap().unwrap();
            prop_assert_eq!(&written, &wire::json::canonical(&manifest).unwrap());
            let quick = read(&written);
            prop_assert_eq!(quick.as_ref(), Some(&manifest), "the quick reader is not taken");

            let mut bytes = written;
            for (place, how, byte, kind) in edits {
                if bytes.is_empty() {
                    break;
                }
                let at = place.index(bytes.len());
                match (kind, std::str::from_utf8(&bytes)) {
                    (0, _) => bytes[at] = byte,
                    (1, _) => drop(bytes.remove(at)),
                    (_, Ok(text)) if serde_json::from_str::<serde_json::Value>(text).is_ok()
                        && how == 20 => bytes = respelled(text, place, how).into_bytes(),
                    (_, Ok(text)) if how != 20 => bytes = respelled(text, place, how).into_bytes(),
                    _ => {}
                }
            }
            let careful = Manifest::read_carefully(&bytes).ok();
            if let Some(quick) = read(&bytes) {
                prop_assert_eq!(Some(quick), careful.clone(), "only the quick reader reads it");
            }
            // With the limits of both.
            prop_assert_eq!(Manifest::parse(&bytes).ok(), careful.and_then(|m| m.within_limits().ok()));
        }
    }
}
