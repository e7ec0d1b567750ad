//! Closes a pack: manifest first, seal last, each created once and never touched again (O3, O9).
//!
//! Every step may be interrupted and repeated. Before the seal the pack is unsealed, after it
//! sealed; there is no state between, because the seal is one create-only write of one object. An
//! answer of the store is believed only when it says "new"; after any other, the object is read
//! back and decides: the nonce of a seal shows whose it is.

use std::collections::BTreeMap;

use bytes::Bytes;
use seal::records::{is_record, is_unfinished};
use seal::{
    MANIFEST_FILE, MAX_DOCUMENT_BYTES, Manifest, SEAL_FILE, SealMarker, SealStatus, SealV1,
    StoreProbe,
};
use thiserror::Error;
use time::OffsetDateTime;
use wire::digest::Digest;

use crate::crash;
use crate::locator::inside;
use crate::objects::{Created, Entry, Objects, StoreError};
use crate::reasons::Reason;

/// What is to be closed.
pub struct Order<'a> {
    /// The pack's root, relative to the oracle root.
    pub root: &'a str,
    /// Its manifest.
    pub manifest: Manifest,
    /// How it is closed.
    pub status: SealStatus,
    /// 32 hex digits drawn for this order.
    pub nonce: &'a str,
    /// What the store proved (O10).
    pub probe: StoreProbe,
    /// When.
    pub now: OffsetDateTime,
    /// The files as they were when they were hashed, where only the store can show that they
    /// stayed: one that was written since then is not what the manifest says.
    pub seen: Option<Vec<Entry>>,
}

/// A closed pack.
#[derive(Debug, Clone)]
pub struct Closed {
    /// Its id.
    pub pack_id: Digest,
    /// sha256 of the seal's bytes.
    pub seal_digest: Digest,
    /// sha256 of the manifest's bytes.
    pub manifest_digest: Digest,
    /// How it was closed.
    pub status: SealStatus,
    /// Whether an equal seal was there before this order.
    pub existed: bool,
}

/// Why a pack was not closed by this order.
#[derive(Debug, Error)]
pub enum SealingError {
    /// A rule forbids it; the code says which.
    #[error("{}: {detail}", reason.code())]
    Refused {
        /// The rule.
        reason: Reason,
        /// What it met.
        detail: String,
    },
    /// The store failed; the pack may be closed or not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A document has no JSON form.
    #[error("cannot write a document of the pack")]
    Document(#[from] serde_json::Error),
}

impl SealingError {
    /// The code to report.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused { reason, .. } => *reason,
            Self::Store(error) => error.reason(),
            Self::Document(_) => Reason::PackManifestInvalid,
        }
    }

    pub(crate) fn refused(reason: Reason, detail: impl Into<String>) -> Self {
        Self::Refused { reason, detail: detail.into() }
    }
}

/// Closes the pack, or finds it closed with equal identity and content.
///
/// # Errors
/// [`SealingError::Refused`] with `STORE_NOT_WRITE_ONCE`, `OBJECT_TOO_LARGE`, `PACK_NOT_CLEAN`,
/// `MANIFEST_MISMATCH`, `SEAL_MISMATCH` or `SEAL_UNCONFIRMED`; [`SealingError::Store`] when nothing
/// is known. Repeating the order is safe after every error.
pub async fn close(objects: &Objects, order: &Order<'_>) -> Result<Closed, SealingError> {
    if !order.probe.write_once() {
        return Err(SealingError::refused(Reason::StoreNotWriteOnce, probe_text(&order.probe)));
    }
    // First, since an order that is repeated after its seal was written must change nothing.
    if let Some(bytes) = read(objects, order.root, SEAL_FILE).await? {
        return existing(objects, order, &bytes).await;
    }
    let manifest_bytes = Bytes::from(order.manifest.to_bytes()?);
    // A document that no reader takes must not close a pack for ever.
    fits(manifest_bytes.len() as u64)?;
    // Before anything is written, since a manifest that exists rules out every other; and
    // again after it, since a file may be added until the seal exists.
    only_the_inventory(objects, order, "repeat").await?;
    let manifest_bytes = put_manifest(objects, order, manifest_bytes).await?;
    crash::point("manifest.after_write");
    let undo = "repeat; or, to have it sealed too, remove the manifest, which nothing seals yet, \
        and repeat";
    only_the_inventory(objects, order, undo).await?;
    let seal = SealMarker::V1(SealV1 {
        oracle_pack_id: order.manifest.pack_id(),
        seal_status: order.status,
        sealed_at_utc: order.now,
        manifest_digest: Digest::of(&manifest_bytes),
        nonce: order.nonce.to_owned(),
        store_probe: order.probe.clone(),
    });
    let seal_bytes = Bytes::from(seal.to_bytes()?);
    crash::point("seal.before_write");
    let put = objects.create(&inside(order.root, SEAL_FILE), seal_bytes.clone()).await;
    crash::point("seal.after_write");
    let stored = match put {
        // Success is believed of the store; of anything else, what can be read back decides.
        Ok(Created::New) => seal_bytes,
        doubtful => match read(objects, order.root, SEAL_FILE).await? {
            Some(stored) => stored,
            None => {
                let text = doubtful.err().map_or_else(String::new, |error| error.to_string());
                return Err(SealingError::refused(Reason::SealUnconfirmed, text));
            }
        },
    };
    // Judged like any other seal: of two equal orders the nonce says whose it is.
    existing(objects, order, &stored).await
}

/// The seal that is there, if it is this order's or equal to what it would have been.
async fn existing(
    objects: &Objects,
    order: &Order<'_>,
    seal_bytes: &[u8],
) -> Result<Closed, SealingError> {
    let mismatch = |text: String| SealingError::refused(Reason::SealMismatch, text);
    let seal = SealMarker::parse(seal_bytes).map_err(|error| mismatch(error.to_string()))?;
    // Compared with what is there, not with what was meant to be there.
    let manifest_bytes = read(objects, order.root, MANIFEST_FILE)
        .await?
        .ok_or_else(|| mismatch("the pack is sealed without a manifest".to_owned()))?;
    let manifest_digest = Digest::of(&manifest_bytes);
    let manifest = Manifest::parse(&manifest_bytes).map_err(|error| mismatch(error.to_string()))?;
    if seal.manifest_digest() != Some(manifest_digest) {
        return Err(mismatch("the seal there is not of the manifest there".to_owned()));
    }
    if !manifest.same_identity(&order.manifest) || seal.pack_id() != order.manifest.pack_id() {
        return Err(mismatch(format!(
            "pack {} is sealed there, with other content",
            seal.pack_id()
        )));
    }
    if seal.status() != order.status {
        return Err(mismatch(format!("it is sealed there as {}", seal.status().as_str())));
    }
    Ok(Closed {
        pack_id: seal.pack_id(),
        seal_digest: Digest::of(seal_bytes),
        manifest_digest,
        status: seal.status(),
        // Another nonce: an equal order was faster, or an earlier process wrote it.
        existed: seal.nonce() != Some(order.nonce),
    })
}

/// The bytes of the manifest that is in the pack afterwards: of equal manifests the first
/// counts.
async fn put_manifest(
    objects: &Objects,
    order: &Order<'_>,
    bytes: Bytes,
) -> Result<Bytes, SealingError> {
    let put = objects.create(&inside(order.root, MANIFEST_FILE), bytes.clone()).await;
    if let Ok(Created::New) = put {
        return Ok(bytes);
    }
    // It was there, or the answer was lost: what is stored says which.
    let Some(stored) = read(objects, order.root, MANIFEST_FILE).await? else {
        return match put {
            Err(error) => Err(error.into()),
            Ok(_) => Err(SealingError::refused(Reason::SealUnconfirmed, "the manifest went away")),
        };
    };
    match Manifest::parse(&stored) {
        Ok(manifest) if manifest.same_identity(&order.manifest) => Ok(stored),
        Ok(manifest) => {
            let text = format!("the manifest there is of pack {}", manifest.pack_id());
            Err(SealingError::refused(Reason::ManifestMismatch, text))
        }
        Err(error) => Err(SealingError::refused(Reason::ManifestMismatch, error.to_string())),
    }
}

/// In what a store failed the probe of its create-only writes.
pub fn probe_text(probe: &StoreProbe) -> String {
    let second = if probe.second_create_refused { "refused" } else { "not refused" };
    format!(
        "a second create was {second}; of {} races of {} writers, {} had one winner",
        probe.races, probe.writers, probe.races_with_one_winner
    )
}

/// Whether a manifest of so many bytes can be read back.
///
/// # Errors
/// `OBJECT_TOO_LARGE`, with what to do.
pub fn fits(manifest_bytes: u64) -> Result<(), SealingError> {
    if manifest_bytes <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    let text = format!(
        "the manifest would have {manifest_bytes} bytes, and {MAX_DOCUMENT_BYTES} are read: seal \
         fewer files, or files with shorter paths, in a pack"
    );
    Err(SealingError::refused(Reason::ObjectTooLarge, text))
}

/// A file that is not to be sealed must not end up beside those that are.
async fn only_the_inventory(
    objects: &Objects,
    order: &Order<'_>,
    then: &str,
) -> Result<(), SealingError> {
    let Some(inventory) = order.manifest.inventory() else { return Ok(()) };
    let refused = |text: String| Err(SealingError::refused(Reason::PackNotClean, text));
    let listing = objects.entries(order.root).await?;
    // Unsupported entries are refused; of what cannot be read nothing is known.
    let (odd_names, unread): (Vec<_>, Vec<_>) =
        listing.odd.into_iter().partition(|odd| odd.name().is_some());
    if !odd_names.is_empty() {
        return refused(odd(&odd_names));
    }
    if let Some(error) = unread.into_iter().next() {
        return Err(error.into());
    }
    let found: BTreeMap<&str, &Entry> = listing
        .entries
        .iter()
        .filter(|entry| entry.path != MANIFEST_FILE && entry.path != SEAL_FILE)
        // Records come after the seal, and say nothing of the files.
        .filter(|entry| !is_record(&entry.path))
        .map(|entry| (entry.path.as_str(), entry))
        .collect();
    // Where files need a name while they are written, another packer's manifest or seal may be
    // under way, or a crash of the service may have left a file. None is removed. An audit names
    // one that stays.
    let is_under_way = |path: &str| path.rsplit('/').next().is_some_and(is_unfinished);
    let added = found.keys().copied().filter(|path| inventory.file(path).is_none());
    let added: Vec<&str> = added.filter(|path| !is_under_way(path)).collect();
    if let Some(first) = added.first() {
        let more = added.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" and {more} more files") };
        return refused(format!(
            "{first}{more} came after the files were listed: remove what does not belong into the \
             pack and {then}"
        ));
    }
    for file in inventory.files() {
        if !found.contains_key(file.path.as_str()) {
            return refused(format!("{} is to be sealed and is not there any more", file.path));
        }
    }
    for before in order.seen.iter().flatten() {
        let now = found.get(before.path.as_str());
        if now.is_some_and(|now| now.mark != before.mark) {
            let path = &before.path;
            return refused(format!("{path} was written after it was listed: {then}"));
        }
    }
    Ok(())
}

/// The first of the unsupported entries of a listing, each with what is wrong with it.
pub(crate) fn odd(odd: &[StoreError]) -> String {
    const SHOWN: usize = 20;
    let mut texts: Vec<String> = odd.iter().take(SHOWN).map(ToString::to_string).collect();
    if odd.len() > SHOWN {
        texts.push(format!("and {} more", odd.len() - SHOWN));
    }
    texts.join("; ")
}

async fn read(objects: &Objects, root: &str, name: &str) -> Result<Option<Bytes>, StoreError> {
    objects.read(&inside(root, name), MAX_DOCUMENT_BYTES).await
}
