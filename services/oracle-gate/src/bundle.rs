//! Everything a verifier needs of one sealed attempt, as files: facts view, pack, module tree.

use bytes::Bytes;
use seal::{MANIFEST_FILE, MAX_DOCUMENT_BYTES, Manifest, SEAL_FILE, SealMarker, TREE_FILE};
use tokio::sync::mpsc;
use wire::digest::{Digest, Hasher};
use wire::pb::oracle::BUNDLE_PIECE_BYTES;
use wire::problem::tombstone_detail;
use wire::{Problem, RunId};

use crate::Gate;
use crate::check::Outcome;
use crate::error::Error;
use crate::governance;
use crate::locator::inside;
use crate::modules;
use crate::sealing::SealingError;
use crate::store;

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path in the bundle.
    pub path: String,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Its path in the store.
    source: String,
    /// Whether that is the place shared with module-gate.
    exchanged: bool,
    /// The digest it has to have, where that is known before it is sent.
    sealed: Option<Digest>,
}

/// What a bundle is sent in.
#[derive(Debug)]
pub enum Piece {
    /// The next file begins.
    File {
        /// Which one.
        entry: Entry,
        /// Its length, in bytes.
        length: u64,
    },
    /// Bytes of the file begun last.
    Data(Bytes),
}

/// The files of a sealed attempt, in the order they are sent.
///
/// # Errors
/// [`Problem::NotFound`] if the attempt is not sealed; store and database errors.
pub async fn entries(gate: &Gate, run: RunId, attempt: u32) -> Result<Vec<Entry>, Error> {
    let not_found = || Error::refused(Problem::NotFound, "no such sealed attempt");
    let intent = store::find(&gate.db, run, attempt).await?.ok_or_else(not_found)?;
    let sealed = intent.sealed.ok_or_else(not_found)?;
    let root = format!("packs/{}", sealed.pack_id);
    // A tombstone outranks the pack (O16): what must not be read is not sent either.
    let log = governance::log(&gate.objects, &root).await;
    let log = log.map_err(SealingError::from)?;
    if let Some(record) = log.tombstone() {
        let detail = tombstone_detail(&governance::tombstone_text(record));
        return Err(Error::refused(Problem::CheckFailed, detail));
    }
    let missing = || Error::refused(Problem::SealMismatch, "the sealed pack has no manifest");
    let bytes = gate.objects.read(&inside(&root, MANIFEST_FILE), MAX_DOCUMENT_BYTES).await?;
    let manifest = Manifest::parse(&bytes.ok_or_else(missing)?)
        .map_err(|error| Error::refused(Problem::SealMismatch, error.to_string()))?;

    let mut entries = Vec::new();
    let mut add = |path: String, source: String, executable: bool| {
        entries.push(Entry { path, executable, source, exchanged: false, sealed: None });
    };
    if let Some(facts_ref) = sealed.facts_ref {
        add("facts/run_facts_view.json".to_owned(), facts_ref, false);
    }
    // The seal goes last, as it did when the pack was closed.
    let inventory = manifest.inventory().map(|tree| tree.files()).unwrap_or_default();
    let names = inventory.iter().map(|file| file.path.as_str());
    for name in names.chain([MANIFEST_FILE, SEAL_FILE]) {
        add(format!("pack/{name}"), inside(&root, name), false);
    }
    let module = manifest.world_key().manifest_fingerprint;
    if let Some(tree) = modules::find(&gate.exchange, module).await? {
        let mut add = |path: String, source: String, executable: bool| {
            entries.push(Entry { path, executable, source, exchanged: true, sealed: None });
        };
        add(format!("module/{TREE_FILE}"), modules::document_path(module), false);
        for file in tree.files() {
            let source = modules::file_path(module, &file.path);
            add(format!("module/tree/{}", file.path), source, file.executable);
        }
    }
    Ok(entries)
}

/// The files of the packs that a check has just passed, each with the digest it was sealed with.
///
/// # Errors
/// [`Problem::SealMismatch`] if a pack is no longer the one that passed; store errors.
pub async fn packs(gate: &Gate, passed: &Outcome) -> Result<Vec<Entry>, Error> {
    let changed = || Error::refused(Problem::SealMismatch, "the pack has changed since its check");
    let mut entries = Vec::new();
    for pack in &passed.details.packs {
        let mut add = |name: &str, sealed: Digest| {
            let source = inside(&pack.root, name);
            let path = source.clone();
            let (executable, exchanged) = (false, false);
            entries.push(Entry { path, executable, source, exchanged, sealed: Some(sealed) });
        };
        let read = async |name: &str| {
            let path = inside(&pack.root, name);
            gate.objects.read(&path, MAX_DOCUMENT_BYTES).await?.ok_or_else(changed)
        };
        let (seal, manifest) = (read(SEAL_FILE).await?, read(MANIFEST_FILE).await?);
        let digest = Digest::of(&manifest);
        let marker = SealMarker::parse(&seal).map_err(|_| changed())?;
        // Since the check the pack may have become another; what is sent has to be what passed.
        if pack.seal_digest != Some(Digest::of(&seal)) || marker.manifest_digest() != Some(digest) {
            return Err(changed());
        }
        let manifest = Manifest::parse(&manifest).map_err(|_| changed())?;
        for file in manifest.inventory().map(|tree| tree.files()).unwrap_or_default() {
            add(&file.path, file.sha256);
        }
        add(MANIFEST_FILE, digest);
        add(SEAL_FILE, Digest::of(&seal));
    }
    Ok(entries)
}

/// Sends every file's bytes as they are in the store now. Where its digest is known they are
/// compared with it; else judging them is the verifier's.
///
/// # Errors
/// [`Problem::SealMismatch`] if a file is gone, [`Problem::DigestMismatch`] if it has changed;
/// store errors. A receiver that went away is no error.
pub async fn send(
    gate: &Gate,
    entries: Vec<Entry>,
    to: &mpsc::Sender<Result<Piece, Error>>,
) -> Result<(), Error> {
    for entry in entries {
        let source = entry.source.clone();
        let gone = || Error::refused(Problem::SealMismatch, format!("{source} is gone"));
        let from = if entry.exchanged { &gate.exchange } else { &gate.objects };
        let mut object = from.open_object(&source).await?.ok_or_else(gone)?;
        let (length, sealed) = (object.length(), entry.sealed);
        let mut hasher = Hasher::new();
        if to.send(Ok(Piece::File { entry, length })).await.is_err() {
            return Ok(());
        }
        while let Some(mut bytes) = object.next().await? {
            if sealed.is_some() {
                hasher.update(&bytes);
            }
            // The store's blocks are larger than one message should be.
            while !bytes.is_empty() {
                let piece = bytes.split_to(bytes.len().min(BUNDLE_PIECE_BYTES));
                if to.send(Ok(Piece::Data(piece))).await.is_err() {
                    return Ok(());
                }
            }
        }
        // Only now that all bytes are gone: the error says that what arrived must not be used.
        if sealed.is_some_and(|sealed| sealed != hasher.finish()) {
            let text = format!("{source} is not what was sealed");
            return Err(Error::refused(Problem::DigestMismatch, text));
        }
    }
    Ok(())
}
