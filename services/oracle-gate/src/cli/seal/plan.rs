//! What has to hold before a pack is sealed, and before hours are spent on hashing it: a pack that
//! is closed and can never be read is worse than one that is refused.

use std::collections::BTreeMap;

use seal::facts::RunFactsView;
use seal::path::fold;
use seal::records::{RECORDS_DIR, is_unfinished};
use seal::tree::File;
use seal::{
    Limits, MANIFEST_FILE, MAX_DOCUMENT_BYTES, Manifest, SEAL_FILE, SealMarker, SealStatus,
    Sharding, Shards, Tree, TreeError,
};
use wire::digest::Digest;

use crate::governance;
use crate::locator::{Contained, inside, path_reason};
use crate::objects::{Entry, Objects, StoreError};
use crate::probe;
use crate::reasons::Reason;
use crate::sealing::{SealingError, odd};

fn not_clean(text: impl Into<String>) -> SealingError {
    SealingError::refused(Reason::PackNotClean, text)
}

/// What a pack's folder holds.
pub(super) struct Contents {
    /// The files that are to be sealed.
    pub(super) files: Vec<Entry>,
    /// The seal, if there is one.
    seal: Option<Entry>,
}

/// The files that are to be sealed.
///
/// # Errors
/// When the folder is part of a sealed pack or holds one, is the probe's, or holds what cannot be
/// sealed: every name of it.
pub(super) async fn files(objects: &Objects, root: &str) -> Result<Contents, SealingError> {
    if probe::is_scratch(root) {
        let text = format!("{root} is where stores are probed: what lies there is removed");
        return Err(not_clean(text));
    }
    // Every folder above, the oracle root included.
    for (at, _) in root.match_indices('/').chain((!root.is_empty()).then_some((0, ""))) {
        let above = &root[..at];
        if objects.read(&inside(above, SEAL_FILE), MAX_DOCUMENT_BYTES).await?.is_some() {
            let above = if above.is_empty() { "the oracle root" } else { above };
            return Err(not_clean(format!("{root} lies in {above}, which is a sealed pack")));
        }
    }
    let log = governance::log(objects, root).await;
    let listing = objects.entries(root).await?;
    let mut entries = listing.entries;
    let seal = entries.iter().find(|entry| entry.path == SEAL_FILE).cloned();
    let is_of_records = |entry: &Entry| entry.path.split('/').next() == Some(RECORDS_DIR);
    match (log, entries.iter().find(|entry| is_of_records(entry))) {
        // A pack that has a tombstone is not sealed again, also where its seal is gone.
        (Ok(log), _) if log.tombstone().is_some() => {
            let text = log.tombstone().map(governance::tombstone_text).unwrap_or_default();
            return Err(SealingError::refused(Reason::PackTombstoned, text));
        }
        // Records come after the seal, so in a pack without one they are files of an engine.
        (_, Some(record)) if seal.is_none() => {
            let text = format!("{}: {RECORDS_DIR} is for records about a sealed pack", record.path);
            return Err(SealingError::refused(Reason::NameRefused, text));
        }
        // Also where the folder of the records holds no file, and something else. In a pack without
        // a seal that is among the unsupported entries below.
        (Err(error), _) if seal.is_some() || listing.odd.is_empty() => return Err(error.into()),
        _ => {}
    }
    if let Some(error) = refused(&listing.odd) {
        return Err(error);
    }
    entries.retain(|entry| !is_of_records(entry));
    entries.retain(|entry| entry.path != MANIFEST_FILE && entry.path != SEAL_FILE);
    for entry in &entries {
        reserved(root, &entry.path)?;
    }
    Ok(Contents { files: entries, seal })
}

/// The refusal for entries that cannot be sealed, grouped by their reason. Definite faults come
/// before entries that cannot be read.
fn refused(odd_things: &[StoreError]) -> Option<SealingError> {
    let rank = |odd: &StoreError| (odd.reason().row().class.exit(), odd.reason());
    let first = odd_things.iter().min_by_key(|odd| rank(odd))?.reason();
    let (same, others): (Vec<_>, Vec<_>) =
        odd_things.iter().cloned().partition(|odd| odd.reason() == first);
    let mut text = odd(&same);
    let mut reasons: Vec<Reason> = others.iter().map(StoreError::reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    for reason in reasons {
        let of: Vec<_> = others.iter().filter(|odd| odd.reason() == reason).cloned().collect();
        let row = reason.row();
        text += &format!("; {}: {} ({})", row.code, odd(&of), row.action);
    }
    Some(SealingError::refused(first, text))
}

/// Names that mean something in a pack, or would on a disk that ignores case or Unicode form.
fn reserved(root: &str, path: &str) -> Result<(), SealingError> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let closes = |name: &str| [MANIFEST_FILE, SEAL_FILE].iter().any(|own| fold(own) == fold(name));
    if closes(path.split('/').next().unwrap_or(path)) {
        let text = format!("{path} is the manifest or the seal of the pack on some disks");
        return Err(SealingError::refused(Reason::NameRefused, text));
    }
    if folder.is_empty() && is_unfinished(name) {
        let text = format!(
            "{path} has a name that oracle-gate gives to a file that it is writing. Unless another              seal of this pack is under way, it was left by one that was interrupted, or is another              program's: see what it is, and rename or remove it"
        );
        return Err(SealingError::refused(Reason::NameRefused, text));
    }
    if closes(name) {
        let text = format!("{folder} in it is a pack of its own ({path}); seal packs side by side");
        return Err(not_clean(text));
    }
    if probe::is_scratch(&inside(root, path)) {
        let text = format!(
            "{path} lies where stores are probed; if a probe was interrupted there, remove it"
        );
        return Err(not_clean(text));
    }
    Ok(())
}

/// The tree of the files, with reasons for entries that are not files.
pub(super) fn tree(root: &str, files: Vec<File>) -> Result<Tree, SealingError> {
    Tree::new(files, &Limits::PACK).map_err(|error| {
        let reason = match &error {
            TreeError::Empty => {
                let text = format!("{root} holds no file");
                return SealingError::refused(Reason::PackRootNotFound, text);
            }
            TreeError::TooLarge(_) => Reason::ObjectTooLarge,
            TreeError::Path(_) | TreeError::Clash(..) => Reason::NameRefused,
            _ => Reason::PackNotClean,
        };
        SealingError::refused(reason, error.to_string())
    })
}

/// The same files before they are hashed: of the same names and lengths, so that the manifest will
/// have as many bytes.
pub(super) fn outline(root: &str, entries: &[Entry]) -> Result<Tree, SealingError> {
    let file = |entry: &Entry| File {
        path: entry.path.clone(),
        executable: false,
        length: entry.length,
        sha256: Digest::from([0; 32]),
    };
    tree(root, entries.iter().map(file).collect())
}

/// The shards of the files of `tree` that need some.
pub(super) fn shards(
    rule: Sharding,
    tree: &Tree,
    digests: BTreeMap<String, Vec<Digest>>,
) -> Result<Option<Shards>, SealingError> {
    let shards = Shards::new(rule, tree, digests);
    shards.map_err(|error| SealingError::refused(Reason::PackNotClean, error.to_string()))
}

/// Shards as many as the files of `outlined` will have, before these are hashed.
pub(super) fn outline_shards(
    rule: Sharding,
    outlined: &Tree,
) -> Result<Option<Shards>, SealingError> {
    let none = Digest::from([0; 32]);
    let digests = outlined.files().iter().map(|file| {
        // At most as many as a pack of 1 TiB has.
        let count = usize::try_from(rule.count(file.length)).unwrap_or_default();
        (file.path.clone(), vec![none; count])
    });
    shards(rule, outlined, digests.collect())
}

/// Whether a check of the view can ever find its outputs in the pack.
///
/// # Errors
/// When none of them lies in it, or one of them that does is not there.
pub(super) fn outputs(
    objects: &Objects,
    view: &RunFactsView,
    root: &str,
    files: &Tree,
    status: SealStatus,
) -> Result<(), SealingError> {
    let mut here = false;
    let mut elsewhere = Vec::new();
    for locator in &view.locators {
        let path = Contained::parse(&locator.path, objects.names())
            .map_err(|error| SealingError::refused(path_reason(&error), error.to_string()))?;
        if path.pack_root() != root {
            elsewhere.push(path.pack_root());
            continue;
        }
        here = true;
        // A failed run is sealed with what it left.
        if status == SealStatus::Ok && !is_there(&path, files) {
            let code =
                if path.has_wildcard() { Reason::PartSetEmpty } else { Reason::LocatorMissing };
            let text = format!("{} is an output of the view and not in the pack", path.as_str());
            return Err(SealingError::refused(code, text));
        }
    }
    if here {
        return Ok(());
    }
    let name = |root: &str| if root.is_empty() { ".".to_owned() } else { root.to_owned() };
    elsewhere.sort();
    elsewhere.dedup();
    let elsewhere: Vec<String> = elsewhere.iter().take(5).map(|root| name(root)).collect();
    let text = format!(
        "none of the view's outputs lies in {}: a check of it looks for seals in {}",
        name(root),
        if elsewhere.is_empty() { "no folder".to_owned() } else { elsewhere.join(", ") }
    );
    Err(SealingError::refused(Reason::LocatorNotInPack, text))
}

fn is_there(path: &Contained, files: &Tree) -> bool {
    let path = path.in_pack();
    let below = format!("{path}/");
    match path.split_once('*') {
        Some((head, tail)) => files.files().iter().any(|file| {
            let file = &file.path;
            let rest = file.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail));
            rest.is_some_and(|rest| !rest.contains('/'))
        }),
        None => {
            let files = files.files().iter();
            files.map(|file| &file.path).any(|file| file == path || file.starts_with(&below))
        }
    }
}

/// Whether names, lengths and identity differ from what a seal that is there says; `None` without a
/// seal. Where there is one, a second one is refused whatever the files hold. Whether their bytes
/// are equal shows only by reading them: times of a file and of the seal are set by any program
/// that touches either.
pub(super) async fn differs(
    objects: &Objects,
    root: &str,
    listed: &Contents,
    outlined: &Manifest,
) -> Result<Option<bool>, SealingError> {
    let Contents { files, seal: Some(_) } = listed else { return Ok(None) };
    let read = async |name: &str| objects.read(&inside(root, name), MAX_DOCUMENT_BYTES).await;
    let (Some(marker), Some(manifest)) = (read(SEAL_FILE).await?, read(MANIFEST_FILE).await?)
    else {
        return Ok(Some(true));
    };
    let marker = SealMarker::parse(&marker).ok();
    // A manifest that its seal does not bind says nothing.
    let bound = marker.and_then(|marker| marker.manifest_digest());
    let Some(sealed) =
        Manifest::parse(&manifest).ok().filter(|_| bound == Some(Digest::of(&manifest)))
    else {
        return Ok(Some(true));
    };
    let Some(inventory) = sealed.inventory() else { return Ok(Some(true)) };
    let same_files = inventory.files().len() == files.len()
        && inventory
            .files()
            .iter()
            .zip(files)
            .all(|(sealed, now)| sealed.path == now.path && sealed.length == now.length);
    Ok(Some(!same_files || sealed.pack_id() != outlined.pack_id()))
}
