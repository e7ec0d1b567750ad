//! Listings: of a root that the caller was given by name, and of the one expansion allowed (O8).
//!
//! A listing reports all it can: an unsupported entry is reported beside the others and hides
//! none of them. The common interface lists by whole parts of a path, so that `part-` never matches
//! `part-0`; in a bucket the pages are therefore asked for by the exact text of the key.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore};
use seal::records::is_unfinished;

use super::failure::{StoreError, classify};
use super::folder::{self, EntryState, Opened};
use super::{MAX_LISTED, Objects, kept};

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the folder that was listed.
    pub path: String,
    /// Length, in bytes.
    pub length: u64,
    /// A text that is another after every write of the object: in a bucket its tag and time, in a
    /// folder inode, length and times, of which no call sets back the last.
    pub mark: String,
    /// When it was written last by the store's clock, in nanoseconds since 1970.
    pub changed: i128,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// Its objects, ordered by the bytes of their paths.
    pub entries: Vec<Entry>,
    /// Unsupported entries: links, special files and ambiguous names; and folders below the one
    /// that was listed that cannot be read. Nothing is known of the contents of these.
    pub odd: Vec<StoreError>,
}

/// An object of a bucket as its listing shows it.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) key: String,
    pub(super) length: u64,
    /// As in [`Entry`].
    pub(super) mark: String,
    pub(super) changed: i128,
}

impl Key {
    pub(super) fn of(meta: &ObjectMeta) -> Self {
        let (length, written) = (meta.size, meta.last_modified.timestamp_micros());
        Self {
            key: meta.location.to_string(),
            length,
            mark: format!("{length}:{:?}:{written}", meta.e_tag),
            changed: i128::from(written) * 1_000,
        }
    }

    fn entry(self, path: &str) -> Entry {
        let Self { length, mark, changed, .. } = self;
        Entry { path: path.to_owned(), length, mark, changed }
    }
}

/// The keys of a listing.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) found: Vec<Key>,
    /// Keys that are no paths, such as one with an empty part.
    pub(super) odd: Vec<String>,
}

impl Keys {
    fn of(metas: &[ObjectMeta]) -> Self {
        Self { found: metas.iter().map(Key::of).collect(), odd: Vec::new() }
    }

    fn odd_below<'a>(&'a self, below: &'a str) -> impl Iterator<Item = StoreError> + 'a {
        self.odd.iter().map(move |key| StoreError::Name {
            path: key.strip_prefix(below).unwrap_or(key).to_owned(),
            cause: "it has an empty part, or one that is not the same everywhere".to_owned(),
        })
    }
}

impl Objects {
    /// Every object below the folder `prefix`, and every unsupported entry there. Only for the
    /// roots that the caller was given by name (O8).
    ///
    /// # Errors
    /// Any [`StoreError`] by which nothing is known of the folder.
    pub async fn entries(&self, prefix: &str) -> Result<Listing, StoreError> {
        if !prefix.is_empty() {
            self.location(prefix)?;
        }
        let mut listing = if self.direct {
            let (prefix, jobs) = (prefix.to_owned(), self.jobs);
            self.on_disk(move |root| walk(root, &prefix, jobs)).await?
        } else {
            self.refuse_links(prefix).await?;
            self.list_store(prefix).await?
        };
        if listing.entries.len() > MAX_LISTED {
            return Err(StoreError::TooLarge { path: prefix.to_owned(), most: MAX_LISTED as u64 });
        }
        listing.entries.sort_unstable_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        Ok(listing)
    }

    /// The paths of [`Objects::entries`], where no unsupported entry is among them.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let mut listing = self.entries(prefix).await?;
        match listing.odd.pop() {
            Some(odd) => Err(odd),
            None => Ok(listing.entries.into_iter().map(|entry| entry.path).collect()),
        }
    }

    async fn list_store(&self, prefix: &str) -> Result<Listing, StoreError> {
        let location = if prefix.is_empty() { None } else { Some(self.location(prefix)?) };
        let below = below(&self.key(prefix));
        let keys = match &self.bucket {
            Some(bucket) => {
                let listed = bucket.keys(&below, false);
                self.within(prefix, self.timeouts.call, listed).await??
            }
            None => {
                let listed = self.store.list(location.as_ref()).take(MAX_LISTED + 1);
                let listed = listed.try_collect::<Vec<_>>();
                let listed = self.within(prefix, self.timeouts.call, listed).await?;
                Keys::of(&listed.map_err(|error| classify(prefix, &error))?)
            }
        };
        let mut listing = Listing { odd: keys.odd_below(&below).collect(), ..Listing::default() };
        for key in keys.found {
            // Consoles make a folder visible by an empty object that is named like it and a slash,
            // which a listing of the client gives without the slash.
            if key.length == 0 && self.bucket.is_some() && self.is_marker(&key.key).await? {
                continue;
            }
            let name = key.key.clone();
            match name.strip_prefix(&below) {
                Some(path) => listing.entries.push(key.entry(path)),
                None => listing.odd.push(named_like_the_folder(&name)),
            }
        }
        Ok(listing)
    }

    /// What lies in the folder of a pack's records: the names of its files, which may have folders
    /// in them. Whatever is no file and cannot be a record is named among `others`.
    ///
    /// # Errors
    /// Any [`StoreError`] by which nothing is known of the folder.
    pub(crate) async fn beside_records(&self, folder: &str) -> Result<Beside, StoreError> {
        self.location(folder)?;
        if self.direct {
            let folder = folder.to_owned();
            return self.on_disk(move |root| beside(root, &folder)).await;
        }
        self.refuse_links(folder).await?;
        let below = below(&self.key(folder));
        let Some(bucket) = &self.bucket else {
            // Another store that keeps its files in a folder, such as a test's.
            let listed = self.list_matching(folder, "").await?;
            let files = listed.entries.into_iter().map(|entry| entry.path).collect();
            return Ok(Beside { files, others: listed.odd });
        };
        let listed = bucket.keys(&below, false);
        let keys = self.within(folder, self.timeouts.call, listed).await??;
        let mut beside = Beside { files: Vec::new(), others: keys.odd_below(&below).collect() };
        for Key { key, length, .. } in keys.found {
            let is_marker = length == 0 && self.is_marker(&key).await?;
            match key.strip_prefix(&below) {
                Some(name) if !is_marker => beside.files.push(name.to_owned()),
                // The folder itself may be made visible, and nothing in it.
                None if is_marker => {}
                _ => beside.others.push(StoreError::Name {
                    path: key,
                    cause: "it is a folder, and only records may be there".to_owned(),
                }),
            }
        }
        Ok(beside)
    }

    /// The files in a folder that a bucket keeps deletions or more than one version of; `None`
    /// where the store keeps no versions.
    ///
    /// # Errors
    /// Any [`StoreError`], [`StoreError::Denied`] where they may not be listed.
    pub(crate) async fn rewritten(&self, folder: &str) -> Result<Option<Vec<String>>, StoreError> {
        let Some(bucket) = &self.bucket else { return Ok(None) };
        let below = below(&self.key(folder));
        let listed = bucket.rewritten(&below);
        let listed = self.within(folder, self.timeouts.call, listed).await?;
        let Some(keys) = kept::if_versions_are_kept(listed)? else { return Ok(None) };
        let names = keys.iter().filter_map(|key| key.strip_prefix(&below));
        Ok(Some(names.map(str::to_owned).collect()))
    }

    /// Whether an empty object that was listed is not there under its own name.
    async fn is_marker(&self, key: &str) -> Result<bool, StoreError> {
        let base = below(&self.base);
        match key.strip_prefix(&base) {
            Some("") | None => Ok(true),
            Some(path) => Ok(self.head(path).await?.is_none()),
        }
    }

    /// The objects directly in `folder` whose name starts with `head`, relative to the folder, and
    /// unsupported entries with such a name.
    ///
    /// # Errors
    /// Any [`StoreError`] by which nothing is known of the folder.
    pub async fn list_matching(&self, folder: &str, head: &str) -> Result<Listing, StoreError> {
        let location = if folder.is_empty() { None } else { Some(self.location(folder)?) };
        let mut listing = Listing::default();
        if self.direct {
            let (folder, head) = (folder.to_owned(), head.to_owned());
            listing = self.on_disk(move |root| matching(root, &folder, &head)).await?;
        } else {
            self.refuse_links(folder).await?;
            let below = below(&self.key(folder));
            let keys = match &self.bucket {
                Some(bucket) => {
                    let prefix = format!("{below}{head}");
                    let listed = bucket.keys(&prefix, true);
                    self.within(folder, self.timeouts.call, listed).await??
                }
                None => {
                    let listed = self.store.list_with_delimiter(location.as_ref());
                    match self.within(folder, self.timeouts.call, listed).await? {
                        Ok(listed) => Keys::of(&listed.objects),
                        Err(object_store::Error::NotFound { .. }) => Keys::default(),
                        Err(error) => return Err(classify(folder, &error)),
                    }
                }
            };
            listing.odd = keys.odd_below(&below).collect();
            for key in keys.found {
                let name = key.key.clone();
                match name.strip_prefix(&below) {
                    Some(path) if path.starts_with(head) => listing.entries.push(key.entry(path)),
                    Some(_) => {}
                    None if key.length == 0 && self.is_marker(&name).await? => {}
                    None => listing.odd.push(named_like_the_folder(&name)),
                }
            }
        }
        listing.entries.sort_unstable_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        Ok(listing)
    }
}

/// What lies in the folder of a pack's records.
#[derive(Debug)]
pub(crate) struct Beside {
    /// Names of files, below the folder.
    pub(crate) files: Vec<String>,
    /// Whatever else is there: folders, links, special files, names that mean two things.
    pub(crate) others: Vec<StoreError>,
}

fn beside(root: &Path, folder: &str) -> Result<Beside, StoreError> {
    let mut beside = Beside { files: Vec::new(), others: Vec::new() };
    let other = |path: String, cause: &str| StoreError::Name { path, cause: cause.to_owned() };
    match folder::open(root, folder)? {
        Opened::Absent => return Ok(beside),
        Opened::File(..) => {
            beside.others.push(other(folder.to_owned(), "it is a file where a folder may be"));
            return Ok(beside);
        }
        Opened::Folder => {}
    }
    let found = folder::entries(root, folder, |_| true)?;
    beside.others = found.odd;
    let names = found.folders.into_iter();
    beside.others.extend(names.map(|name| {
        other(format!("{folder}/{name}"), "it is a folder, and only records may be there")
    }));
    let files = found.files.into_iter().map(|(name, _)| name);
    // A record that is being written, or that a crash cut, has a name of ours until it is whole.
    beside.files = files.filter(|name| !is_unfinished(name)).collect();
    Ok(beside)
}

fn named_like_the_folder(key: &str) -> StoreError {
    let cause = "an object has the name of the folder itself".to_owned();
    StoreError::Name { path: key.to_owned(), cause }
}

/// What the keys of a folder's files begin with.
fn below(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}/") }
}

fn matching(root: &Path, folder: &str, head: &str) -> Result<Listing, StoreError> {
    let mut listing = Listing::default();
    // By this open, and not by the walk, a link in the path is refused.
    if !matches!(folder::open(root, folder)?, Opened::Folder) {
        return Ok(listing);
    }
    let found = folder::entries(root, folder, |name| name.starts_with(head.as_bytes()))?;
    listing.odd = found.odd;
    for (name, EntryState { length, mark, changed }) in found.files {
        match seal::path::check(&name) {
            Ok(()) => listing.entries.push(Entry { path: name, length, mark, changed }),
            Err(error) => listing.odd.push(refused(folder, &name, error.reason)),
        }
    }
    Ok(listing)
}

fn refused(folder: &str, name: &str, cause: &str) -> StoreError {
    let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    StoreError::Name { path, cause: cause.to_owned() }
}

/// Folders that wait, and how many are being read: the walk ends when both are nothing.
struct Waiting {
    folders: Vec<String>,
    reading: usize,
    listing: Listing,
}

/// Reads all folders below `prefix`, several at once.
fn walk(root: &Path, prefix: &str, jobs: usize) -> Result<Listing, StoreError> {
    if !matches!(folder::open(root, prefix)?, Opened::Folder) {
        return Ok(Listing::default());
    }
    let top = if prefix.is_empty() { root.to_owned() } else { root.join(prefix) };
    let waiting = Waiting { folders: vec![String::new()], reading: 0, listing: Listing::default() };
    let (waiting, changed) = (Mutex::new(waiting), Condvar::new());
    std::thread::scope(|scope| {
        for _ in 1..jobs.max(1) {
            scope.spawn(|| work(&top, &waiting, &changed));
        }
        work(&top, &waiting, &changed);
    });
    Ok(waiting.into_inner().unwrap_or_else(PoisonError::into_inner).listing)
}

fn work(top: &Path, waiting: &Mutex<Waiting>, changed: &Condvar) {
    let lock = || waiting.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let mut now = lock();
        let folder = loop {
            if let Some(folder) = now.folders.pop() {
                break folder;
            }
            if now.reading == 0 {
                return;
            }
            now = changed.wait(now).unwrap_or_else(PoisonError::into_inner);
        };
        // Counted before the lock is given up, or the others would take the walk for finished.
        now.reading += 1;
        drop(now);

        let read = read_folder(top, &folder);

        let mut now = lock();
        now.reading -= 1;
        match read {
            Ok((folders, mut listing)) => {
                now.folders.extend(folders);
                now.listing.entries.append(&mut listing.entries);
                now.listing.odd.append(&mut listing.odd);
                if now.listing.entries.len() > MAX_LISTED {
                    // The caller reports it; what is left is not walked.
                    now.folders.clear();
                }
            }
            // An unreadable folder is reported, and the others are still walked.
            Err(error) => now.listing.odd.push(error),
        }
        changed.notify_all();
    }
}

fn read_folder(top: &Path, folder: &str) -> Result<(Vec<String>, Listing), StoreError> {
    let below = below(folder);
    let found = folder::entries(top, folder, |_| true)?;
    let folders = found.folders.into_iter().map(|name| format!("{below}{name}")).collect();
    let mut listing = Listing { entries: Vec::new(), odd: found.odd };
    for (name, EntryState { length, mark, changed }) in found.files {
        let path = format!("{below}{name}");
        match seal::path::check(&path) {
            Ok(()) => listing.entries.push(Entry { path, length, mark, changed }),
            Err(error) => {
                let cause = error.reason.to_owned();
                listing.odd.push(StoreError::Name { path, cause });
            }
        }
    }
    Ok((folders, listing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Objects;

    #[tokio::test]
    async fn a_listing_hides_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::local(dir.path()).unwrap();
        let part = format!(".oracle-gate-{}.part", "0f".repeat(16));
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let unclear = ["_SEALED.json#2", "_oracle_pack_manifest.json#1", "a#2024", "sub/a#1"];
        for name in unclear.into_iter().chain(["a", part.as_str()]) {
            std::fs::write(dir.path().join(name), "{\"manifest_digest\":\"00").unwrap();
        }
        let listing = objects.entries("").await.unwrap();
        let paths: Vec<&str> = listing.entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, [part.as_str(), "a"]);
        let mut odd: Vec<&str> = listing.odd.iter().filter_map(StoreError::name).collect();
        odd.sort_unstable();
        assert_eq!(odd, unclear);
    }

    /// A folder whose path is longer than the kernel takes is one that no user can read.
    #[tokio::test]
    async fn a_folder_that_cannot_be_read_hides_no_other() {
        use rustix::fs::{Mode, OFlags, mkdirat, openat};

        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "x").unwrap();
        let name = "d".repeat(250);
        let mut at = folder::open_root(dir.path()).unwrap();
        for _ in 0..20 {
            mkdirat(&at, name.as_str(), Mode::from_raw_mode(0o777)).unwrap();
            at = openat(&at, name.as_str(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        let objects = Objects::local(dir.path()).unwrap();
        for jobs in [1, 4] {
            let listing = objects.with_jobs(jobs).entries("").await.unwrap();
            let paths: Vec<_> = listing.entries.iter().map(|entry| entry.path.as_str()).collect();
            assert_eq!((paths, listing.odd.len()), (vec!["a"], 1), "{:?}", listing.odd);
        }
    }

    #[tokio::test]
    async fn a_walk_by_many_finds_what_a_walk_by_one_finds() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..200 {
            let folder = dir.path().join(format!("d{}/e{}", number % 7, number % 3));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(number.to_string()), number.to_string()).unwrap();
        }
        let objects = Objects::local(dir.path()).unwrap();
        let one = objects.with_jobs(1).list("").await.unwrap();
        assert_eq!(one.len(), 200);
        for jobs in [2, 8] {
            assert_eq!(objects.with_jobs(jobs).list("").await.unwrap(), one);
        }
    }
}
