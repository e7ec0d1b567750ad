//! Recomputes every link of a sealed pack, and names the ones that are broken.
//!
//! Seal → manifest (by the digest of its exact bytes) → pack id (derived from the manifest's
//! fields) → every file (by length and digest), with no file more and no file less. A report
//! without a broken link says that the bytes are those that were sealed. It does not say that they
//! are right, nor who sealed them: that is for statements, gates and the chain.

mod broken;
mod dir;

use serde::Serialize;
use wire::digest::Digest;

pub use broken::{Broken, Link};
pub use dir::{module, pack};

use crate::manifest::Manifest;
use crate::marker::SealMarker;
use crate::tree::Tree;

/// A file of the pack as it is now, other than manifest and seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Path below the pack's root.
    pub path: String,
    /// Length, in bytes.
    pub length: u64,
    /// Digest of its bytes.
    pub sha256: Digest,
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
        if let Some(inventory) = manifest.inventory() {
            compare_files(inventory, files, &mut broken);
        }
    }
    Report {
        seal_digest: seal.map(Digest::of),
        manifest_digest,
        seal: seal_read,
        manifest: manifest_read,
        broken,
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
        (SealMarker::V1(_), Manifest::V1(_)) | (SealMarker::V0(_), Manifest::V0(_))
    );
    if !same_version || seal.pack_id() != manifest.pack_id() {
        broken
            .push(Broken::SealOfAnotherPack { seal: seal.pack_id(), manifest: manifest.pack_id() });
    }
}

/// Both sides are walked in path order, so each file is met once.
pub(crate) fn compare_files(inventory: &Tree, files: &[Found], broken: &mut Vec<Broken>) {
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
            Some(now) if now.length != sealed.length || now.sha256 != sealed.sha256 => {
                broken.push(Broken::FileChanged {
                    path: sealed.path.clone(),
                    sealed: sealed.sha256,
                    found: now.sha256,
                });
            }
            Some(_) => {}
        }
    }
    broken.extend(found.map(|added| Broken::FileAdded { path: added.path.clone() }));
}
