//! Recomputes every link of a sealed pack, and names the ones that are broken.
//!
//! Seal → manifest (by the digest of its exact bytes) → pack id (derived from the manifest's
//! fields) → every file (by length and digest, or by the digests of all its shards), with no file
//! more and no file less. A report
//! without a broken link says that the bytes are those that were sealed. It does not say that they
//! are right, nor who sealed them: that is for statements, gates and the chain.

mod broken;
mod dir;

use std::ops::Range;

use serde::Serialize;
use wire::digest::Digest;

pub use broken::{Broken, Link};
pub use dir::{module, pack};

use crate::manifest::Manifest;
use crate::marker::SealMarker;
use crate::records::Record;
use crate::shards::{Sharding, Shards};
use crate::tree::{File, Tree};

/// A file of the pack as it is now, other than manifest and seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Path below the pack's root.
    pub path: String,
    /// Length, in bytes.
    pub length: u64,
    /// Digest of its bytes; `None` where those of its shards were made in its place.
    pub sha256: Option<Digest>,
    /// Digests of its shards; empty where none were made.
    pub shards: Vec<Digest>,
}

/// What a pack showed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// sha256 of the exact bytes of `_SEALED.json`, if it is there: a run's output hash on chain.
    pub seal_digest: Option<Digest>,
    /// sha256 of the exact bytes of the manifest, if it is there.
    pub manifest_digest: Option<Digest>,
    /// The seal, if it can be read.
    pub seal: Option<SealMarker>,
    /// The manifest, if it can be read.
    pub manifest: Option<Manifest>,
    /// The tombstone among what was recorded about the pack after its seal, where the records were
    /// read and are a whole log. It is no broken link: the bytes may still be those that were
    /// sealed, and are not to be read any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tombstone: Option<Record>,
    /// Every broken link, in the order seal, manifest, pack id, files by path.
    pub broken: Vec<Broken>,
}

impl Report {
    /// Whether no link is broken.
    pub fn is_whole(&self) -> bool {
        self.broken.is_empty()
    }

    /// Whether this one link holds.
    pub fn holds(&self, link: Link) -> bool {
        self.broken.iter().all(|broken| broken.link() != link)
    }
}

/// Compares seal, manifest and files of one pack.
///
/// `files` are all files of the pack but manifest and seal. A caller that reads by key only and
/// lists nothing passes those files that the manifest names and that are there; it then learns of
/// every changed and missing file, not of added ones.
pub fn compare(seal: Option<&[u8]>, manifest: Option<&[u8]>, files: &[Found]) -> Report {
    let mut report = Report::read(seal, manifest);
    report.compare_files(files);
    report
}

impl Report {
    /// Compares seal and manifest; nothing is said of the files yet. The manifest says which ones
    /// have to be looked at for [`Report::compare_files`].
    pub fn read(seal: Option<&[u8]>, manifest: Option<&[u8]>) -> Self {
        let mut broken = Vec::new();
        let seal_read = read_seal(seal, &mut broken);
        let manifest_digest = manifest.map(Digest::of);
        let manifest_read = read_manifest(manifest, &mut broken);
        if let (Some(seal), Some(found)) = (&seal_read, manifest_digest) {
            compare_seal(seal, found, manifest_read.as_ref(), &mut broken);
        }
        if let Some(manifest) = &manifest_read {
            let (claimed, derived) = (manifest.pack_id(), manifest.derived_pack_id());
            if claimed != derived {
                broken.push(Broken::PackIdWrong { claimed, derived });
            }
        }
        Self {
            seal_digest: seal.map(Digest::of),
            manifest_digest,
            seal: seal_read,
            manifest: manifest_read,
            tombstone: None,
            broken,
        }
    }

    /// Compares the files with the inventory, as [`compare`] says; once.
    pub fn compare_files(&mut self, files: &[Found]) {
        let Some(manifest) = &self.manifest else { return };
        if let Some(inventory) = manifest.inventory() {
            compare_files(inventory, manifest.shards(), files, &mut self.broken);
        }
    }
}

fn read_seal(bytes: Option<&[u8]>, broken: &mut Vec<Broken>) -> Option<SealMarker> {
    let Some(bytes) = bytes else {
        broken.push(Broken::SealMissing);
        return None;
    };
    match SealMarker::parse(bytes) {
        Ok(seal) => Some(seal),
        Err(error) => {
            broken.push(Broken::SealUnreadable { detail: error.to_string() });
            None
        }
    }
}

fn read_manifest(bytes: Option<&[u8]>, broken: &mut Vec<Broken>) -> Option<Manifest> {
    let Some(bytes) = bytes else {
        broken.push(Broken::ManifestMissing);
        return None;
    };
    match Manifest::parse(bytes) {
        Ok(manifest) => Some(manifest),
        Err(error) => {
            broken.push(Broken::ManifestUnreadable { detail: error.to_string() });
            None
        }
    }
}

fn compare_seal(
    seal: &SealMarker,
    found: Digest,
    manifest: Option<&Manifest>,
    broken: &mut Vec<Broken>,
) {
    if let Some(sealed) = seal.manifest_digest().filter(|sealed| *sealed != found) {
        broken.push(Broken::ManifestEdited { sealed, found });
    }
    let Some(manifest) = manifest else { return };
    // A v0 seal names no manifest, so beside a v1 manifest it would bind nothing of it.
    let same_version = matches!(
        (seal, manifest),
        (SealMarker::V1(_), Manifest::V2(_) | Manifest::V1(_))
            | (SealMarker::V0(_), Manifest::V0(_))
    );
    if !same_version || seal.pack_id() != manifest.pack_id() {
        broken
            .push(Broken::SealOfAnotherPack { seal: seal.pack_id(), manifest: manifest.pack_id() });
    }
}

/// Both sides are walked in path order, so each file is met once.
pub(crate) fn compare_files(
    inventory: &Tree,
    shards: Option<&Shards>,
    files: &[Found],
    broken: &mut Vec<Broken>,
) {
    let mut found: Vec<&Found> = files.iter().collect();
    found.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    let mut found = found.into_iter().peekable();
    for sealed in inventory.files() {
        let before = |file: &&Found| file.path.as_bytes() < sealed.path.as_bytes();
        while let Some(added) = found.next_if(before) {
            broken.push(Broken::FileAdded { path: added.path.clone() });
        }
        match found.next_if(|file| file.path == sealed.path) {
            None => broken.push(Broken::FileMissing { path: sealed.path.clone() }),
            Some(now) => compare_file(sealed, shards, now, broken),
        }
    }
    broken.extend(found.map(|added| Broken::FileAdded { path: added.path.clone() }));
}

/// By the whole digest, by the shards, or by both, whatever was made.
fn compare_file(sealed: &File, shards: Option<&Shards>, now: &Found, broken: &mut Vec<Broken>) {
    let path = || sealed.path.clone();
    let same_length = now.length == sealed.length;
    // A file of another length has other shards, so that its digest alone says what it is.
    let stated = shards
        .filter(|_| same_length)
        .and_then(|shards| Some((shards.of(&sealed.path)?, shards.shard_bytes())))
        .filter(|(stated, _)| stated.len() == now.shards.len());
    let before = broken.len();
    if let Some((stated, bytes)) = stated {
        let rule = Sharding { above: 0, bytes };
        for (number, (sealed, found)) in stated.iter().zip(&now.shards).enumerate() {
            if sealed != found {
                let Range { start, end } = rule.range(number, now.length);
                let (sealed, found) = (*sealed, *found);
                broken.push(Broken::ShardChanged { path: path(), start, end, sealed, found });
            }
        }
    }
    let shards_differ = broken.len() > before;
    let whole = now.sha256.map(|found| (found, same_length && found == sealed.sha256));
    match whole {
        Some((_, true)) if shards_differ => {
            // The file is what was sealed, so that the shards never were its own.
            broken.truncate(before);
            broken.push(Broken::ShardsContradict { path: path() });
        }
        Some((found, false)) => {
            if stated.is_some() && !shards_differ {
                broken.push(Broken::ShardsContradict { path: path() });
            }
            broken.push(Broken::FileChanged { path: path(), sealed: sealed.sha256, found });
        }
        None if stated.is_none() => broken.push(Broken::FileUnproven { path: path() }),
        Some((_, true)) | None => {}
    }
}
