//! The digest of one output, under the name of the rule it was made by (O2).

use serde::{Deserialize, Serialize};
use wire::digest::{Digest, Hasher};

/// How a content digest is made. An unknown name is an error, never a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algo {
    /// `sha256-concat-v0`: sha256 over the raw bytes of the parts one after the other, ordered by
    /// path, without names, lengths or separators. For one file it is the file's sha256.
    #[serde(rename = "sha256")]
    Concat,
    /// The framed digest of [`crate::tree`], over the paths relative to the output's own folder.
    #[serde(rename = "sha256-tree-v1")]
    Tree,
}

/// A digest and its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContentDigest {
    /// The rule.
    pub algo: Algo,
    /// Its result.
    pub hex: Digest,
}

impl ContentDigest {
    /// The digest of a single file's bytes, by the rule `sha256`.
    pub fn of_file(sha256: Digest) -> Self {
        Self { algo: Algo::Concat, hex: sha256 }
    }
}

/// `sha256-concat-v0`, fed part by part in the order of the parts' paths.
pub struct Concat(Hasher);

impl Default for Concat {
    fn default() -> Self {
        Self(Hasher::new())
    }
}

impl Concat {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything taken.
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}
