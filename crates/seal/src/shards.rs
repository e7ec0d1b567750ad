//! Digests of the shards of very large files.
//!
//! SHA-256 of one file is made byte after byte, so one processor alone can check it. Of each file
//! above [`Sharding::above`] a manifest therefore also holds the sha256 of each of its consecutive
//! shards: bytes 0 to `bytes`, `bytes` to 2 × `bytes` and so on, the last one to the end of the
//! file. A shard is what OpenSSF model signing calls `name:start:end`; since all have one length,
//! only the digests are written, and no gap and no overlap can be.
//!
//! Why shards that all have their digests prove the bytes whose whole digest the manifest holds:
//! sealing reads a file once and makes both from the same buffers, and the seal's digest covers
//! both. Other bytes of the same shards would be a collision of SHA-256. That rests on the program
//! that sealed the pack: one that wrote shards of other bytes beside the whole digest is found by
//! who makes both ([`crate::verify`] and an audit do).

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use wire::digest::{Digest, Hasher};

use crate::tree::{File, Tree};

/// Which files have shards, and how long these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharding {
    /// Files of more bytes than these have shards.
    pub above: u64,
    /// Bytes of a shard; not 0. The last one of a file may have fewer.
    pub bytes: u64,
}

impl Sharding {
    /// A pack: files above 1 GiB, in shards of 256 MiB.
    ///
    /// So such a file has at least five shards, enough for four processors at once, and one takes
    /// a processor about a fifth of a second. Smaller files are fewer bytes than one processor
    /// hashes in a second. A pack of 1 TiB has at most some 5,100 shards, whose digests are 350 KB
    /// of its manifest's 64 MiB.
    pub const PACK: Self = Self { above: 1 << 30, bytes: 256 << 20 };

    /// How many shards a file of `length` bytes has; 0 where it needs none.
    pub fn count(self, length: u64) -> u64 {
        if length > self.above { length.div_ceil(self.bytes) } else { 0 }
    }

    /// Which bytes of a file of `length` bytes its shard `number`, from 0, has.
    pub fn range(self, number: usize, length: u64) -> Range<u64> {
        let start = (number as u64).saturating_mul(self.bytes).min(length);
        start..start.saturating_add(self.bytes).min(length)
    }
}

/// The shards of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardedFile {
    /// Its path in the inventory.
    pub path: String,
    /// sha256 of each shard, in the order of the file's bytes.
    pub sha256: Vec<Digest>,
}

/// The shards of all very large files of a pack. A value of this type is in the order of the
/// inventory's paths; whether it fits an inventory says [`Shards::check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shards {
    files: Vec<ShardedFile>,
    /// Bytes of a shard.
    shard_bytes: u64,
}

/// Why shards are not those of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShardsError {
    /// The shards have another length than the rule says.
    #[error("shards have {found} bytes, and {expected} are the rule")]
    Bytes {
        /// The length stated.
        found: u64,
        /// The length of the rule.
        expected: u64,
    },
    /// The files that have shards are not those of the inventory that need them.
    #[error(
        "shards are listed of other files than those of the inventory with more than {above} \
         bytes, or in another order: number {} is {}",
        at + 1,
        found.as_deref().map_or("missing".to_owned(), |path| format!("{path:?}"))
    )]
    Files {
        /// The place in the list, from 0.
        at: usize,
        /// The path found there; `None` where the list has ended.
        found: Option<String>,
        /// Files of more bytes have shards.
        above: u64,
    },
    /// A file's shards are not as many as its length demands.
    #[error("{path:?} has {found} shards, and {expected} cover its {length} bytes")]
    Count {
        /// Which file.
        path: String,
        /// How many are stated.
        found: usize,
        /// How many there should be.
        expected: u64,
        /// The file's length.
        length: u64,
    },
}

impl Shards {
    /// The shards of `inventory` by `rule`, of digests by path; `None` where no file has any.
    /// Digests of files that need no shards are not taken up.
    ///
    /// # Errors
    /// [`ShardsError`], where a file that needs shards has none or not as many as it needs.
    pub fn new(
        rule: Sharding,
        inventory: &Tree,
        mut digests: BTreeMap<String, Vec<Digest>>,
    ) -> Result<Option<Self>, ShardsError> {
        let files: Vec<ShardedFile> = sharded(rule, inventory)
            .map(|file| ShardedFile {
                path: file.path.clone(),
                sha256: digests.remove(&file.path).unwrap_or_default(),
            })
            .collect();
        if files.is_empty() {
            return Ok(None);
        }
        let shards = Self { files, shard_bytes: rule.bytes };
        shards.check(rule, inventory)?;
        Ok(Some(shards))
    }

    /// Whether these are shards of exactly the files of `inventory` that need them, as many as
    /// cover each from its first byte to its last.
    ///
    /// # Errors
    /// [`ShardsError`] for the first difference.
    pub fn check(&self, rule: Sharding, inventory: &Tree) -> Result<(), ShardsError> {
        if self.shard_bytes != rule.bytes {
            let (found, expected) = (self.shard_bytes, rule.bytes);
            return Err(ShardsError::Bytes { found, expected });
        }
        let mut needed = sharded(rule, inventory);
        let mut stated = self.files.iter();
        for at in 0.. {
            let (file, shards) = match (needed.next(), stated.next()) {
                // A list of nothing has no reason to be there.
                (None, None) if at > 0 => break,
                (Some(file), Some(shards)) if file.path == shards.path => (file, shards),
                (_, shards) => {
                    let found = shards.map(|shards| shards.path.clone());
                    return Err(ShardsError::Files { at, found, above: rule.above });
                }
            };
            let expected = rule.count(file.length);
            if shards.sha256.len() as u64 != expected {
                return Err(ShardsError::Count {
                    path: file.path.clone(),
                    found: shards.sha256.len(),
                    expected,
                    length: file.length,
                });
            }
        }
        Ok(())
    }

    /// Bytes of a shard.
    pub fn shard_bytes(&self) -> u64 {
        self.shard_bytes
    }

    /// The files that have shards, ordered by the bytes of their paths.
    pub fn files(&self) -> &[ShardedFile] {
        &self.files
    }

    /// The digests of the shards of the file with exactly this path.
    pub fn of(&self, path: &str) -> Option<&[Digest]> {
        let found = self.files.binary_search_by(|file| file.path.as_bytes().cmp(path.as_bytes()));
        found.ok().map(|at| &self.files[at].sha256[..])
    }
}

fn sharded(rule: Sharding, inventory: &Tree) -> impl Iterator<Item = &File> {
    inventory.files().iter().filter(move |file| rule.count(file.length) > 0)
}

/// Makes the digests of shards of bytes that come in pieces.
#[derive(Debug)]
pub(crate) struct ShardHasher {
    shard_bytes: u64,
    /// Bytes of the shard that is not finished.
    taken: u64,
    hasher: Hasher,
    finished: Vec<Digest>,
}

impl ShardHasher {
    /// Nothing taken yet; `shard_bytes` is not 0.
    pub(crate) fn new(shard_bytes: u64) -> Self {
        Self { shard_bytes, taken: 0, hasher: Hasher::new(), finished: Vec::new() }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = usize::try_from(self.shard_bytes - self.taken).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(left.min(bytes.len()));
            self.hasher.update(now);
            self.taken += now.len() as u64;
            if self.taken == self.shard_bytes {
                self.end();
            }
            bytes = later;
        }
    }

    /// The digests; of no bytes there is none.
    pub(crate) fn finish(mut self) -> Vec<Digest> {
        if self.taken > 0 {
            self.end();
        }
        self.finished
    }

    fn end(&mut self) {
        self.finished.push(std::mem::take(&mut self.hasher).finish());
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::Limits;

    const RULE: Sharding = Sharding { above: 10, bytes: 4 };

    fn tree(lengths: &[u64]) -> Tree {
        let file = |(number, length): (usize, &u64)| File {
            path: format!("f{number}"),
            executable: false,
            length: *length,
            sha256: Digest::of(b""),
        };
        Tree::new(lengths.iter().enumerate().map(file).collect(), &Limits::PACK).unwrap()
    }

    fn digests(counts: &[usize]) -> BTreeMap<String, Vec<Digest>> {
        let digest = |(number, count): (usize, &usize)| {
            (format!("f{number}"), vec![Digest::of(b"x"); *count])
        };
        counts.iter().enumerate().map(digest).collect()
    }

    #[test]
    fn only_files_above_the_border_have_shards_and_these_cover_all_bytes() {
        assert!(Shards::new(RULE, &tree(&[0, 10]), digests(&[0, 3])).unwrap().is_none());
        let shards = Shards::new(RULE, &tree(&[10, 11, 13]), digests(&[3, 3, 4])).unwrap().unwrap();
        assert_eq!(shards.of("f0"), None);
        assert_eq!(shards.of("f1").unwrap().len(), 3);
        assert_eq!(shards.of("f2").unwrap().len(), 4);
    }

    #[test]
    fn shards_of_other_files_or_another_number_are_refused() {
        let inventory = tree(&[11, 3, 12]);
        let good = Shards::new(RULE, &inventory, digests(&[3, 0, 3])).unwrap().unwrap();
        let bad = |change: fn(&mut Shards)| {
            let mut shards = good.clone();
            change(&mut shards);
            shards.check(RULE, &inventory).unwrap_err()
        };
        let files = |error| matches!(error, ShardsError::Files { .. });
        assert!(files(bad(|shards| shards.files.truncate(1))));
        assert!(files(bad(|shards| shards.files.clear())));
        assert!(files(bad(|shards| shards.files.reverse())));
        assert!(files(bad(|shards| shards.files.push(shards.files[1].clone()))));
        assert!(files(bad(|shards| shards.files[1].path = "f1".to_owned())));
        let count = |error| matches!(error, ShardsError::Count { .. });
        assert!(count(bad(|shards| shards.files[0].sha256.truncate(2))));
        assert!(count(bad(|shards| shards.files[1].sha256.push(Digest::of(b"")))));
        let bytes = bad(|shards| shards.shard_bytes = 8);
        assert!(matches!(bytes, ShardsError::Bytes { found: 8, expected: 4 }), "{bytes}");
        assert!(Shards::new(RULE, &inventory, digests(&[3, 0, 2])).is_err());
        assert!(Shards::new(RULE, &inventory, BTreeMap::new()).is_err());
    }

    proptest! {
        #[test]
        fn ranges_are_the_whole_file_without_gap_or_overlap(
            above in 0_u64..40, bytes in 1_u64..20, length in 0_u64..100,
        ) {
            let rule = Sharding { above, bytes };
            let count = rule.count(length);
            prop_assert_eq!(count == 0, length <= above);
            let mut at = 0;
            for number in 0..count {
                let range = rule.range(usize::try_from(number).unwrap(), length);
                prop_assert_eq!(range.start, at);
                prop_assert!(range.end > at);
                at = range.end;
            }
            prop_assert!(count == 0 || at == length);
        }

        #[test]
        fn digests_are_those_of_the_shards(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..12),
            bytes in 1_usize..9,
        ) {
            let mut hasher = ShardHasher::new(bytes as u64);
            pieces.iter().for_each(|piece| hasher.update(piece));
            let whole = pieces.concat();
            let expected: Vec<Digest> = whole.chunks(bytes).map(Digest::of).collect();
            prop_assert_eq!(hasher.finish(), expected);
        }
    }
}
