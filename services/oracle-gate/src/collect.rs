//! Which staging folders are not needed any more, and their removal.
//!
//! module-gate stages the outputs of an attempt below `staging/<run>/<attempt>/`; oracle-gate
//! copies them into the attempt's pack, byte by byte, and never reads them again after that. So a
//! staging folder may go once its attempt's pack is sealed and some days have passed, and every file
//! of it was read and is, with the same bytes, in the pack's inventory and in the pack. Everything
//! else stays: a folder of another form, one with an unsupported entry or a file that was not
//! sealed, one whose file in the pack is gone or changed, so that this may be the last copy, one
//! that was modified recently, and one of an attempt for which no seal was found.

use std::path::Path;

use seal::{Manifest, RunKey, SealMarker, Tree};
use serde::Serialize;
use time::{Duration, OffsetDateTime};
use wire::digest::Digest;

use crate::locator::inside;
use crate::objects::{Entry, Objects, Removal, StoreError, before_removal};

/// Folder of everything staged.
const STAGING: &str = "staging";
/// Most bytes of a status.
const MAX_STATUS_BYTES: u64 = 1 << 20;

/// A staging folder, and what is to be done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Staged {
    /// Its path below the folder that is shared with module-gate.
    pub path: String,
    /// Its files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// When something in it was written last, in seconds since 1970.
    pub written_at: i64,
    /// Why it stays; `None` if it may go.
    pub stays: Option<String>,
}

/// A folder as it was looked at: with the files that were found in the pack, if it may go.
struct Looked {
    staged: Staged,
    verified: Vec<Entry>,
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// How many folders are gone.
    pub removed: usize,
    /// Those that were to go and stay, with the reason.
    pub kept: Vec<Staged>,
}

/// The sealed pack of an attempt.
struct Pack {
    root: String,
    inventory: Tree,
}

/// Looks at every staging folder, and reads those that may go.
///
/// # Errors
/// When the shared folder cannot be listed, or the store does not say whether an attempt is sealed.
pub async fn plan(
    store: &Objects,
    exchange: &Objects,
    days: u32,
    now: OffsetDateTime,
) -> Result<Vec<Staged>, StoreError> {
    let Some(root) = exchange.root() else { return Ok(Vec::new()) };
    let mut plan = Vec::new();
    for run in folders(&root.join(STAGING)).await? {
        for attempt in folders(&root.join(STAGING).join(&run)).await? {
            let path = format!("{STAGING}/{run}/{attempt}");
            let looked = look(store, exchange, path, (&run, &attempt), days, now).await?;
            plan.extend(looked.map(|looked| looked.staged));
        }
    }
    plan.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(plan)
}

/// A staging folder as it is now; `None` if it is not there any more, since something else may
/// remove it at any moment.
async fn look(
    store: &Objects,
    exchange: &Objects,
    path: String,
    (run, attempt): (&str, &str),
    days: u32,
    now: OffsetDateTime,
) -> Result<Option<Looked>, StoreError> {
    let mut staged = Staged { path: path.clone(), files: 0, bytes: 0, written_at: 0, stays: None };
    let stays = |staged: Staged, why: &str| {
        let staged = Staged { stays: Some(why.to_owned()), ..staged };
        Ok(Some(Looked { staged, verified: Vec::new() }))
    };
    // Only what module-gate makes: a run id without dashes, and an attempt as it is written; or what
    // became of its name when a removal was interrupted.
    let attempt = before_removal(attempt);
    let number = attempt.parse::<u32>().ok().filter(|number| number.to_string() == attempt);
    let (Ok(_), Some(number @ 1..)) = (run.parse::<RunKey>(), number) else {
        return stays(staged, "not named like a staged attempt (<run>/<attempt>)");
    };

    if !exchange.is_folder(&path).await? {
        return Ok(None);
    }
    let listing = exchange.entries(&path).await?;
    staged.files = listing.entries.len();
    staged.bytes = listing.entries.iter().map(|entry| entry.length).sum();
    let written = listing.entries.iter().map(|entry| entry.changed).max().unwrap_or_default();
    staged.written_at = i64::try_from(written / 1_000_000_000).unwrap_or(i64::MAX);
    if let Some(odd) = listing.odd.first() {
        return stays(staged, &odd.to_string());
    }
    let written = OffsetDateTime::from_unix_timestamp(staged.written_at).unwrap_or(now);
    if now - written < Duration::days(days.into()) {
        return stays(staged, &format!("modified less than {days} days ago"));
    }
    let Some(pack) = sealed(store, run, number).await? else {
        return stays(staged, "no seal found for this attempt");
    };
    for entry in &listing.entries {
        if let Err(why) = is_kept(store, exchange, &path, entry, &pack).await {
            return stays(staged, &why);
        }
    }
    Ok(Some(Looked { staged, verified: listing.entries }))
}

/// The pack of an attempt that has a status, if the seal that its view pins closes it; `None` where
/// anything of that is missing.
async fn sealed(store: &Objects, run: &str, attempt: u32) -> Result<Option<Pack>, StoreError> {
    let status = format!("sr/run_status/{run}.{attempt}.json");
    if store.read(&status, MAX_STATUS_BYTES).await?.is_none() {
        return Ok(None);
    }
    let view = format!("sr/run_facts_view/{run}.{attempt}.json");
    let Some(view) = store.read(&view, seal::facts::MAX_VIEW_BYTES).await? else {
        return Ok(None);
    };
    let view = seal::facts::RunFactsView::parse(&view).ok();
    let Some(pinned) = view.and_then(|view| view.oracle_pack_ref) else { return Ok(None) };
    let root = format!("packs/{}", pinned.oracle_pack_id);
    let read = async |name: &str| store.read(&inside(&root, name), seal::MAX_DOCUMENT_BYTES).await;
    let (Some(seal), Some(manifest)) =
        (read(seal::SEAL_FILE).await?, read(seal::MANIFEST_FILE).await?)
    else {
        return Ok(None);
    };
    // By the digest that the view pins: another seal in its place is not that of this attempt. And
    // by the digest that the seal has: another manifest does not say what was sealed.
    let is_pinned = Digest::of(&seal) == pinned.seal_digest;
    let bound = SealMarker::parse(&seal).ok().and_then(|seal| seal.manifest_digest());
    if !is_pinned || bound != Some(Digest::of(&manifest)) {
        return Ok(None);
    }
    let inventory = Manifest::parse(&manifest).ok().and_then(|all| all.inventory().cloned());
    Ok(inventory.map(|inventory| Pack { root, inventory }))
}

/// Whether a staged file is in the pack: named by its inventory, and there, with the same bytes.
/// Both are read. Else why it is not known to be.
async fn is_kept(
    store: &Objects,
    exchange: &Objects,
    folder: &str,
    entry: &Entry,
    pack: &Pack,
) -> Result<(), String> {
    let name = &entry.path;
    let Some(sealed) = pack.inventory.file(name) else {
        return Err(format!("{name}: not in the sealed pack; this may be the only copy"));
    };
    let expected = (sealed.length, sealed.sha256);
    let read = async |objects: &Objects, path: String| {
        objects.hash(&path).await.map_err(|error| format!("{name}: {error}"))
    };
    if read(exchange, inside(folder, name)).await? != Some(expected) {
        return Err(format!("{name} has other bytes than the file that was sealed"));
    }
    match read(store, inside(&pack.root, name)).await? {
        Some(found) if found == expected => Ok(()),
        Some(_) => Err(format!("{name}: changed in the pack; this may be the only copy")),
        None => Err(format!("{name}: missing from the pack; this may be the only copy")),
    }
}

/// Removes the folders of a plan that may go. Each is looked at again first, byte by byte, and only
/// what was looked at is removed.
///
/// # Errors
/// When a folder cannot be removed; those before it are gone.
pub async fn apply(
    store: &Objects,
    exchange: &Objects,
    plan: &[Staged],
    days: u32,
    now: OffsetDateTime,
) -> Result<Applied, StoreError> {
    let mut applied = Applied::default();
    for planned in plan.iter().filter(|staged| staged.stays.is_none()) {
        let mut parts = planned.path.split('/').skip(1);
        let (Some(run), Some(attempt)) = (parts.next(), parts.next()) else { continue };
        let path = planned.path.clone();
        let looked = look(store, exchange, path, (run, attempt), days, now).await?;
        let Some(Looked { staged, verified }) = looked else { continue };
        let mut keep = |why: String| {
            applied.kept.push(Staged { stays: Some(why), ..planned.clone() });
        };
        // What changed since the plan was shown is another decision.
        if staged != *planned {
            keep(staged.stays.unwrap_or_else(|| "it changed since it was planned".to_owned()));
            continue;
        }
        match exchange.remove_staged(&planned.path, verified).await {
            Ok(Removal::Gone) => applied.removed += 1,
            Ok(Removal::Absent) => {}
            Ok(Removal::Stays(why)) => keep(why),
            Err(error) => return Err(error),
        }
    }
    Ok(applied)
}

/// The names of the folders in a folder; none if there is no such folder.
async fn folders(at: &Path) -> Result<Vec<String>, StoreError> {
    let shown = at.display().to_string();
    let failed = |error: &std::io::Error| StoreError::Unavailable {
        path: shown.clone(),
        cause: error.to_string(),
    };
    let mut names = Vec::new();
    let mut entries = match tokio::fs::read_dir(at).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        Err(error) => return Err(failed(&error)),
    };
    while let Some(entry) = entries.next_entry().await.map_err(|error| failed(&error))? {
        // A link is no folder here: what it leads to is not module-gate's.
        let is_folder = match entry.file_type().await {
            Ok(kind) => kind.is_dir(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed(&error)),
        };
        if let (true, Some(name)) = (is_folder, entry.file_name().to_str()) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
