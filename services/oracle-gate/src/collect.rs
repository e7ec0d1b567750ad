//! Which staging folders are not needed any more, and their removal.
//!
//! module-gate stages the outputs of an attempt below `staging/<run>/<attempt>/`; oracle-gate
//! copies them into the attempt's pack, byte by byte, and never reads them again after that. So a
//! staging folder may go once its attempt's pack is sealed and some days have passed. Everything
//! else stays: a folder of another form, one with anything odd in it, one that was written to
//! lately, and one of an attempt of which nothing says that it was sealed.

use std::path::Path;

use seal::{RunKey, SealMarker};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::locator::inside;
use crate::objects::{Leftovers, Objects, StoreError};

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

/// Looks at every staging folder. `sealed` says whether an attempt of a run is sealed.
///
/// # Errors
/// When the shared folder cannot be listed.
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
            plan.push(look(store, exchange, path, (&run, &attempt), days, now).await?);
        }
    }
    plan.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(plan)
}

async fn look(
    store: &Objects,
    exchange: &Objects,
    path: String,
    (run, attempt): (&str, &str),
    days: u32,
    now: OffsetDateTime,
) -> Result<Staged, StoreError> {
    let mut staged = Staged { path: path.clone(), files: 0, bytes: 0, written_at: 0, stays: None };
    let stays = |staged: Staged, why: &str| Ok(Staged { stays: Some(why.to_owned()), ..staged });
    // Only what module-gate makes: a run id without dashes, and an attempt as it is written.
    let number = attempt.parse::<u32>().ok().filter(|number| number.to_string() == attempt);
    let (Ok(_), Some(number @ 1..)) = (run.parse::<RunKey>(), number) else {
        return stays(staged, "its name is none of a staged attempt");
    };

    let listing = exchange.entries(&path, Leftovers::OfClosing).await?;
    staged.files = listing.entries.len();
    staged.bytes = listing.entries.iter().map(|entry| entry.length).sum();
    let written = listing.entries.iter().map(|entry| entry.changed).max().unwrap_or_default();
    staged.written_at = i64::try_from(written / 1_000_000_000).unwrap_or(i64::MAX);
    if !listing.odd.is_empty() {
        return stays(staged, "it holds a link, a special file, or a name of another store");
    }
    let written = OffsetDateTime::from_unix_timestamp(staged.written_at).unwrap_or(now);
    if now - written < Duration::days(days.into()) {
        return stays(staged, "it was written to lately");
    }
    match is_sealed(store, run, number).await? {
        true => Ok(staged),
        false => stays(staged, "nothing says that its attempt was sealed"),
    }
}

/// Whether the attempt has a status, and the pack that its view pins has a seal.
async fn is_sealed(store: &Objects, run: &str, attempt: u32) -> Result<bool, StoreError> {
    let status = format!("sr/run_status/{run}.{attempt}.json");
    if store.read(&status, MAX_STATUS_BYTES).await?.is_none() {
        return Ok(false);
    }
    let view = format!("sr/run_facts_view/{run}.{attempt}.json");
    let Some(view) = store.read(&view, seal::facts::MAX_VIEW_BYTES).await? else {
        return Ok(false);
    };
    let view = seal::facts::RunFactsView::parse(&view).ok();
    let Some(pinned) = view.and_then(|view| view.oracle_pack_ref) else { return Ok(false) };
    let seal = inside(&format!("packs/{}", pinned.oracle_pack_id), seal::SEAL_FILE);
    let Some(bytes) = store.read(&seal, seal::MAX_DOCUMENT_BYTES).await? else {
        return Ok(false);
    };
    // By the digest that the view pins: another seal in its place is not that of this attempt.
    let same = wire::digest::Digest::of(&bytes) == pinned.seal_digest;
    Ok(same && SealMarker::parse(&bytes).is_ok())
}

/// Removes the folders of a plan that may go; answers how many went. Each is looked at again first.
///
/// # Errors
/// When a folder cannot be removed; those before it are gone.
pub async fn apply(
    store: &Objects,
    exchange: &Objects,
    plan: &[Staged],
    days: u32,
    now: OffsetDateTime,
) -> Result<usize, StoreError> {
    let mut removed = 0;
    for planned in plan.iter().filter(|staged| staged.stays.is_none()) {
        let mut parts = planned.path.split('/').skip(1);
        let (Some(run), Some(attempt)) = (parts.next(), parts.next()) else { continue };
        let path = planned.path.clone();
        let again = look(store, exchange, path, (run, attempt), days, now).await?;
        // What changed since the plan was shown is another decision.
        if again != *planned {
            continue;
        }
        exchange.remove_staged(&planned.path).await?;
        removed += 1;
    }
    Ok(removed)
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
        let is_folder = entry.file_type().await.map_err(|error| failed(&error))?.is_dir();
        if let (true, Some(name)) = (is_folder, entry.file_name().to_str()) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
