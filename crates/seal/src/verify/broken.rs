//! The ways in which a pack can be other than it was sealed.

use std::fmt;

use serde::Serialize;
use wire::digest::Digest;

/// The links of a pack, in the order they are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// The seal is there and can be read.
    Seal,
    /// The manifest is the one the seal names.
    Manifest,
    /// The pack id follows from the manifest's fields.
    PackId,
    /// The files are those of the manifest's inventory.
    Files,
}

/// One broken link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Broken {
    /// There is no `_SEALED.json`.
    SealMissing,
    /// `_SEALED.json` is not a seal.
    SealUnreadable {
        /// What is wrong with it.
        detail: String,
    },
    /// There is no manifest.
    ManifestMissing,
    /// The manifest is not one.
    ManifestUnreadable {
        /// What is wrong with it.
        detail: String,
    },
    /// The manifest's bytes are not those the seal names.
    ManifestEdited {
        /// Digest in the seal.
        sealed: Digest,
        /// Digest of the bytes now.
        found: Digest,
    },
    /// Seal and manifest name different packs, or are of different versions.
    SealOfAnotherPack {
        /// Pack id in the seal.
        seal: Digest,
        /// Pack id in the manifest.
        manifest: Digest,
    },
    /// The manifest's pack id does not follow from its fields.
    PackIdWrong {
        /// Pack id in the manifest.
        claimed: Digest,
        /// Pack id from its fields.
        derived: Digest,
    },
    /// A sealed file has other bytes.
    FileChanged {
        /// Which file.
        path: String,
        /// Digest in the manifest.
        sealed: Digest,
        /// Digest of the bytes now.
        found: Digest,
    },
    /// Bytes of a sealed file are others: one of its shards.
    ShardChanged {
        /// Which file.
        path: String,
        /// The shard's first byte, counted from 0.
        start: u64,
        /// The byte after its last.
        end: u64,
        /// Digest of the shard in the manifest.
        sealed: Digest,
        /// Digest of the bytes now.
        found: Digest,
    },
    /// The manifest's digest of a whole file and those of its shards are of different bytes: what
    /// the file holds has the one and not the others, or the reverse.
    ShardsContradict {
        /// Which file.
        path: String,
    },
    /// Of a sealed file neither the digest was made nor those of all its shards.
    FileUnproven {
        /// Which file.
        path: String,
    },
    /// A sealed file is gone.
    FileMissing {
        /// Which file.
        path: String,
    },
    /// A file is there that was not sealed.
    FileAdded {
        /// Which file.
        path: String,
    },
    /// A link or special file is where only regular files may.
    NotRegular {
        /// Where.
        path: String,
    },
    /// What is decided about the pack is not known: its records are not exactly `1.json` to
    /// `n.json`, each of which is a record about this seal and follows the one before it.
    RecordsInvalid {
        /// Where.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The module's tree does not have the digest it is stored under.
    ModuleDigest {
        /// The digest expected.
        expected: Digest,
        /// The digest its document gives.
        found: Digest,
    },
    /// The module's `_tree.json` is not a tree's document.
    ModuleUnreadable {
        /// What is wrong with it.
        detail: String,
    },
}

impl Broken {
    /// The link it breaks.
    pub fn link(&self) -> Link {
        match self {
            Self::SealMissing | Self::SealUnreadable { .. } => Link::Seal,
            Self::ManifestMissing
            | Self::ManifestUnreadable { .. }
            | Self::ManifestEdited { .. }
            | Self::SealOfAnotherPack { .. }
            | Self::ShardsContradict { .. }
            | Self::ModuleDigest { .. }
            | Self::ModuleUnreadable { .. } => Link::Manifest,
            Self::PackIdWrong { .. } => Link::PackId,
            Self::FileChanged { .. }
            | Self::ShardChanged { .. }
            | Self::FileUnproven { .. }
            | Self::FileMissing { .. }
            | Self::FileAdded { .. }
            | Self::NotRegular { .. }
            | Self::RecordsInvalid { .. } => Link::Files,
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seal => "seal",
            Self::Manifest => "manifest",
            Self::PackId => "pack id",
            Self::Files => "files",
        })
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SealMissing => write!(f, "the pack has no seal"),
            Self::SealUnreadable { detail } => write!(f, "the seal is not one: {detail}"),
            Self::ManifestMissing => write!(f, "the pack has no manifest"),
            Self::ManifestUnreadable { detail } => write!(f, "the manifest is not one: {detail}"),
            Self::ManifestEdited { sealed, found } => {
                write!(f, "manifest edited: the seal names {sealed}, the bytes are {found}")
            }
            Self::SealOfAnotherPack { seal, manifest } => {
                write!(f, "the seal is of pack {seal}, the manifest of pack {manifest}")
            }
            Self::PackIdWrong { claimed, derived } => {
                write!(
                    f,
                    "pack id wrong: {claimed} is claimed, the manifest's fields give {derived}"
                )
            }
            Self::FileChanged { path, sealed, found } => {
                write!(f, "file changed: {path} was sealed as {sealed} and is {found}")
            }
            Self::ShardChanged { path, start, end, sealed, found } => {
                write!(
                    f,
                    "file changed: bytes {start} to {} of {path} were sealed as {sealed} and are \
                     {found}",
                    end - 1
                )
            }
            Self::ShardsContradict { path } => write!(
                f,
                "the manifest contradicts itself: the digest of {path} and those of its shards are \
                 of different bytes"
            ),
            Self::FileUnproven { path } => {
                write!(f, "file not proven: {path} has no digest, and not all of its shards have")
            }
            Self::FileMissing { path } => write!(f, "file missing: {path}"),
            Self::FileAdded { path } => write!(f, "file added: {path} was not sealed"),
            Self::NotRegular { path } => write!(f, "{path} is a link or a special file"),
            Self::RecordsInvalid { path, detail } => {
                write!(f, "the records about the pack are not a log: {path}: {detail}")
            }
            Self::ModuleDigest { expected, found } => {
                write!(f, "module changed: the tree should be {expected} and is {found}")
            }
            Self::ModuleUnreadable { detail } => {
                write!(f, "the module's {} is not one: {detail}", crate::TREE_FILE)
            }
        }
    }
}
