//! `sha256-tree-v1`, the framed digest of a tree of files (O2).
//!
//! sha256 over the ASCII bytes `lumio-tree-v1` and one zero byte, then for each file, in the order
//! of its path's bytes: length of the path as u32 big-endian, the path in UTF-8, one byte 0 or 1
//! for "executable by its owner", the length of the content as u64 big-endian, and the 32 bytes of
//! the content's sha256. Every field is framed, so no two trees share an input: names, borders
//! between files, empty files and the executable bit all count. Folders exist through their files.

pub(crate) mod walk;

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use wire::digest::{Digest, Hasher};

use crate::json;
use crate::path::{self, PathError};

/// Name of the rule, as documents name it.
pub const ALGO: &str = "sha256-tree-v1";

const DOMAIN: &[u8] = b"lumio-tree-v1\0";

/// How large a tree may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most files.
    pub files: usize,
    /// Most bytes of content, all files together.
    pub bytes: u64,
}

impl Limits {
    /// A module: 4,096 files, 64 MiB.
    pub const MODULE: Self = Self { files: 4_096, bytes: 64 << 20 };
    /// A pack: 65,536 files, 1 TiB.
    pub const PACK: Self = Self { files: 65_536, bytes: 1 << 40 };
}

/// One file of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Path below the tree's root, `/`-separated.
    pub path: String,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Length of the content, in bytes.
    pub length: u64,
    /// Digest of the content.
    pub sha256: Digest,
}

/// A tree's inventory with its digest. A value of this type is always sorted, within
/// [`Limits::PACK`], free of clashing paths, and its digest is the one of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub struct Tree {
    digest: Digest,
    files: Vec<File>,
}

/// Why something is not a tree.
#[derive(Debug, Error)]
pub enum TreeError {
    /// A path is refused.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Two paths would be one file on some store.
    #[error(
        "paths {0:?} and {1:?} cannot be in one tree: some disk keeps both under one name (equal, \
         equal but for case or Unicode form), or one is the other's folder"
    )]
    Clash(String, String),
    /// There is no file in it.
    #[error("the tree is empty: at least one regular file is needed")]
    Empty,
    /// It is larger than allowed.
    #[error("the tree is too large: at most {} files and {} bytes are taken", .0.files, .0.bytes)]
    TooLarge(Limits),
    /// Something that is neither a regular file nor a folder.
    #[error("{0:?} is a link or a special file: only regular files are taken")]
    NotRegular(String),
    /// The files do not have the digest that is claimed for them.
    #[error("the tree's digest is {found}, not {claimed} as claimed")]
    Digest {
        /// What the document claims.
        claimed: Digest,
        /// What the files give.
        found: Digest,
    },
    /// The tree's document cannot be understood.
    #[error("cannot read the tree's document: {0}")]
    Document(String),
    /// The disk refused.
    #[error("cannot read {path:?} of the tree")]
    Io {
        /// What was read.
        path: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Tree {
    /// The tree of `files`, in any order.
    ///
    /// # Errors
    /// Empty, too large, or with paths that are refused or clash.
    pub fn new(mut files: Vec<File>, limits: &Limits) -> Result<Self, TreeError> {
        if files.is_empty() {
            return Err(TreeError::Empty);
        }
        // Lengths come from foreign documents, so that their sum may not fit.
        let bytes = files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.length));
        if files.len() > limits.files || bytes.is_none_or(|bytes| bytes > limits.bytes) {
            return Err(TreeError::TooLarge(*limits));
        }
        // By bytes, not by characters or locale: the order is part of what is hashed (O2).
        files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        refuse_clashes(&files)?;
        Ok(Self { digest: digest(&files), files })
    }

    /// The tree of the regular files below the folder `root`. Links are refused, not followed.
    ///
    /// # Errors
    /// As [`Tree::new`], and when something cannot be read or is not a regular file.
    pub fn from_dir(root: &Path, limits: &Limits) -> Result<Self, TreeError> {
        Self::new(walk::files(root, limits)?, limits)
    }

    /// Reads a tree's document (`_tree.json`) and recomputes its digest.
    ///
    /// # Errors
    /// [`TreeError::Document`] if it is not one, or claims a digest its files do not have.
    pub fn parse(document: &[u8], limits: &Limits) -> Result<Self, TreeError> {
        let tree: Self =
            json::read(document).map_err(|error| TreeError::Document(json::explain(&error)))?;
        Self::new(tree.files, limits)
    }

    /// The document's bytes: canonical JSON (RFC 8785).
    ///
    /// # Errors
    /// Never for a tree within its limits; the serializer's own error otherwise.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        wire::json::canonical(self)
    }

    /// The tree of `files`, which a document states to have this digest by this rule.
    pub(crate) fn stated(algo: &str, digest: Digest, files: Vec<File>) -> Result<Self, TreeError> {
        if algo != ALGO {
            return Err(TreeError::Document(format!("algo {algo:?} is not {ALGO}")));
        }
        // The widest limits: which of them apply is known to the caller of `parse` alone.
        let tree = Self::new(files, &Limits::PACK)?;
        if tree.digest != digest {
            return Err(TreeError::Digest { claimed: digest, found: tree.digest });
        }
        Ok(tree)
    }

    /// `sha256-tree-v1` of the files.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The files, ordered by the bytes of their paths.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The file with exactly this path.
    pub fn file(&self, path: &str) -> Option<&File> {
        let found = self.files.binary_search_by(|file| file.path.as_bytes().cmp(path.as_bytes()));
        found.ok().map(|at| &self.files[at])
    }

    /// Bytes of content, all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }
}

/// The document as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    algo: String,
    digest: Digest,
    files: Vec<File>,
}

impl TryFrom<Document> for Tree {
    type Error = TreeError;

    fn try_from(document: Document) -> Result<Self, TreeError> {
        Self::stated(&document.algo, document.digest, document.files)
    }
}

impl From<Tree> for Document {
    fn from(tree: Tree) -> Self {
        Self { algo: ALGO.to_owned(), digest: tree.digest, files: tree.files }
    }
}

fn digest(sorted: &[File]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(DOMAIN);
    for file in sorted {
        let length = u32::try_from(file.path.len()).expect("a checked path has at most 1024 bytes");
        hasher.update(length.to_be_bytes());
        hasher.update(file.path.as_bytes());
        hasher.update([u8::from(file.executable)]);
        hasher.update(file.length.to_be_bytes());
        hasher.update(file.sha256.as_bytes());
    }
    hasher.finish()
}

/// Refuses what a disk that ignores case or Unicode form would merge, and a file that is also a
/// folder.
fn refuse_clashes(files: &[File]) -> Result<(), TreeError> {
    let mut folders: HashMap<String, &str> = HashMap::new();
    let mut names: HashMap<String, &str> = HashMap::with_capacity(files.len());
    let mut before = "";
    for file in files {
        path::check(&file.path)?;
        if let Some(other) = names.insert(path::fold(&file.path), &file.path) {
            return Err(TreeError::Clash(other.to_owned(), file.path.clone()));
        }
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        // Files of one folder mostly follow each other; its folders were looked at with the first.
        if folder == before {
            continue;
        }
        before = folder;
        for (at, _) in file.path.match_indices('/') {
            let folder = &file.path[..at];
            // `A/x` and `a/y` would be in one folder on a disk that ignores case.
            let other = *folders.entry(path::fold(folder)).or_insert(folder);
            if other != folder {
                return Err(TreeError::Clash(other.to_owned(), folder.to_owned()));
            }
        }
    }
    // `a` as a file and `a/b` cannot both exist on a disk, though they can in a bucket.
    // The first by their names, so that one tree has one error.
    let clashes =
        folders.iter().filter_map(|(folder, exact)| Some((folder, names.get(folder)?, exact)));
    match clashes.min() {
        Some((_, file, folder)) => Err(TreeError::Clash((*file).to_owned(), (*folder).to_owned())),
        None => Ok(()),
    }
}
