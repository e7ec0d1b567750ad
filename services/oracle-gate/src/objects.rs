//! The one way to the store: bounded reads, create-only writes, links refused, every wait bounded.
//!
//! Absence is an answer (`None`), everything else that went wrong is a [`StoreError`] of one of a
//! few kinds (O6). On a local root no part of a path may be a symbolic link, wherever it points
//! (O8), and what is opened has to be a regular file; both are judged by the open itself
//! ([`folder`]).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use wire::digest::{Digest, Hasher};

pub use credentials::Credentials;
pub use evidence::{Evidence, Fixity};
pub use failure::{Refusal, StoreError};
pub use hashing::{Done, Hashed, Measure, Task};
pub use kept::{Lock, LockMode, Versions};
pub use listing::{Entry, Listing};
pub use location::{LocationError, S3Location, S3Settings, StoreLocation};
pub use meter::{Meter, Metered};
pub use object::Object;
pub use part::{Part, Version};

pub(crate) use folder::{Removal, before_removal};

use failure::{classify, classify_write, is_absent, is_there};
use folder::{Lasting, Opened, Put};
use s3::S3;

mod credentials;
mod evidence;
mod failure;
mod folder;
mod hashing;
mod kept;
mod links;
mod listing;
mod meter;
mod object;
mod page;
mod part;
mod race;
mod location;
mod s3;
mod transport;

/// Most files that one listing may give.
const MAX_LISTED: usize = 1 << 17;
/// Objects of a bucket that are read at once: each waits for the network most of the time.
const BUCKET_JOBS: usize = 8;
/// Slowest transfer that is waited for.
const BYTES_PER_SECOND: u64 = 1 << 20;
/// Pauses between tries of a write that met another writer.
const CONFLICT_PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];

/// How long a store is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For one call, its retries included; a large object's bytes come on top.
    pub call: Duration,
    /// For the head of one answer, and for the next bytes of its body.
    pub answer: Duration,
    /// Tries after the first, where a try may be repeated.
    pub retries: usize,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { call: Duration::from_secs(60), answer: Duration::from_secs(10), retries: 4 }
    }
}

/// A store and where in it everything of ours lies.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    writes: Arc<dyn ObjectStore>,
    root: Option<PathBuf>,
    /// Whether files of a folder are read and written here and not through `store`.
    direct: bool,
    /// Objects that are read at once.
    jobs: usize,
    bucket: Option<Arc<S3>>,
    /// Prefix of every key of ours in the bucket.
    base: String,
    names: Vec<String>,
    timeouts: Timeouts,
    trusts_checksums: bool,
    meter: Arc<Meter>,
}

/// What a create-only write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object is new and holds what was given.
    New,
    /// There was one already; nothing was changed.
    Existed,
}

impl Objects {
    /// The store at `location`. Credentials are only needed, and only asked for, for a bucket;
    /// whether they hold is seen with the first call.
    ///
    /// # Errors
    /// When the folder is missing or is not one, or the wiring makes no client.
    pub fn open(
        location: &StoreLocation,
        credentials: impl FnOnce() -> Result<Credentials, String>,
    ) -> Result<Self, StoreError> {
        Self::open_with(location, credentials, Timeouts::default())
    }

    /// The same with other timeouts.
    ///
    /// # Errors
    /// As [`Objects::open`].
    pub fn open_with(
        location: &StoreLocation,
        credentials: impl FnOnce() -> Result<Credentials, String>,
        timeouts: Timeouts,
    ) -> Result<Self, StoreError> {
        let at = match location {
            StoreLocation::Local(folder) => return Self::local(folder),
            StoreLocation::S3(at) => at,
        };
        // Which credential is missing is a setting's name and no value (R9), so it may be shown.
        let failed = |cause: String| StoreError::Unavailable { path: location.to_string(), cause };
        let credentials = credentials().map_err(failed)?;
        let bucket = S3::new(at, &credentials, timeouts)
            .map_err(|error| classify(&location.to_string(), &error))?;
        Ok(Self {
            store: Arc::new(bucket.store.clone()),
            writes: Arc::new(bucket.writes.clone()),
            root: None,
            direct: false,
            jobs: BUCKET_JOBS,
            bucket: Some(Arc::new(bucket)),
            base: at.prefix.clone(),
            names: vec![location.to_string()],
            timeouts,
            // Off until the profile asks for it and a probe has shown that the service checks them
            // (O11).
            trusts_checksums: false,
            meter: Arc::default(),
        })
    }

    /// The store in the folder `root`, which must exist. Writes reach the disk before they count.
    ///
    /// # Errors
    /// When the folder is missing or is not one.
    pub fn local(root: &std::path::Path) -> Result<Self, StoreError> {
        let path = root.display().to_string();
        let failed = |cause: String| StoreError::Unavailable { path: path.clone(), cause };
        let configured = root.to_str().map(str::to_owned);
        // Resolved once: a link in the root's own path is the operator's; one below it is refused
        // (O8).
        let root = root.canonicalize().map_err(|error| failed(error.to_string()))?;
        if !root.is_dir() {
            return Err(failed("it is not a folder".to_owned()));
        }
        let store = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| failed(error.to_string()))?
            // A write counts only when it would survive a power failure: file and folder are
            // synced.
            .with_fsync(true);
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        // A view may name the root as it was configured or as it is; both are the same place.
        let names = root.to_str().map(str::to_owned).into_iter().chain(configured).collect();
        Ok(Self {
            writes: Arc::clone(&store),
            store,
            root: Some(root),
            direct: true,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            bucket: None,
            base: String::new(),
            names,
            timeouts: Timeouts::default(),
            trusts_checksums: false,
            meter: Arc::default(),
        })
    }

    /// The same place through another store, such as one that fails on purpose in a test.
    #[must_use]
    pub fn through(&self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        let store = wrap(Arc::clone(&self.store));
        // A wrapped store has to see every byte, so no file is read past it; one at a time, so that
        // a fault falls where a test means it to.
        Self { writes: Arc::clone(&store), store, direct: false, jobs: 1, ..self.clone() }
    }

    /// The same place, of which so many objects are read at once.
    #[must_use]
    pub fn with_jobs(&self, jobs: usize) -> Self {
        Self { jobs: jobs.max(1), ..self.clone() }
    }

    /// The same place, what is done through it from now on counted by `meter`.
    #[must_use]
    pub fn metered(&self, meter: &Arc<Meter>) -> Self {
        Self { meter: Arc::clone(meter), ..self.clone() }
    }

    /// The folder of a local store.
    pub fn root(&self) -> Option<&std::path::Path> {
        self.root.as_deref()
    }

    /// Whether it is a folder whose files are read and written by this process itself.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct
    }

    /// How a document may name the root: its full path or URL, and the path as it was configured.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The whole object, at most `most` bytes; `None` if it is not there.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read(&self, path: &str, most: u64) -> Result<Option<Bytes>, StoreError> {
        match self.open_object(path).await? {
            Some(object) => object.whole(most).await.map(Some),
            None => Ok(None),
        }
    }

    /// Length and digest of an object, in constant memory; `None` if it is not there.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn hash(&self, path: &str) -> Result<Option<(u64, Digest)>, StoreError> {
        if self.direct {
            self.location(path)?;
            // By the same workers as a whole pack, so that there is one way to hash a file.
            let task = Task { files: vec![(path.to_owned(), None)], ..Task::default() };
            let mut done = self.hash_all(vec![task], |_, _, _| ()).await;
            let hashed = done.pop().and_then(|mut done| done.files.pop());
            let hashed = hashed.unwrap_or(Ok(None))?;
            return Ok(hashed.map(|measure| (measure.length, measure.sha256)));
        }
        let Some(mut object) = self.open_object(path).await? else { return Ok(None) };
        let (mut hasher, length) = (Hasher::new(), object.length());
        while let Some(bytes) = object.next().await? {
            hasher.update(&bytes);
        }
        Ok(Some((length, hasher.finish())))
    }

    /// The object, to be read piece by piece; `None` if it is not there.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn open_object(&self, path: &str) -> Result<Option<Object>, StoreError> {
        let location = self.location(path)?;
        if self.direct {
            let at = path.to_owned();
            let meter = Arc::clone(&self.meter);
            return Ok(match self.on_disk(move |root| folder::open(root, &at)).await? {
                Opened::File(file, length) => {
                    Some(Object::of_file(path, file, length, self.timeouts, meter))
                }
                Opened::Folder | Opened::Absent => None,
            });
        }
        // The client follows links, so the path is looked at first. That could be raced, which is
        // why files of a folder are opened above and do not get here.
        self.refuse_links(path).await?;
        match self.within(path, self.timeouts.call, self.store.get(&location)).await? {
            Ok(object) => {
                let meter = Arc::clone(&self.meter);
                Ok(Some(Object::new(path, object, self.timeouts, meter)))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(classify(path, &error)),
        }
    }

    /// Writes an object if there is none. A store that merely saw another writer is asked again.
    ///
    /// # Errors
    /// Any [`StoreError`]. Then the object may be there or not, and be anybody's: read it back.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<Created, StoreError> {
        self.create_lasting(path, bytes, Lasting::Yes).await
    }

    /// As [`Objects::create`], of an object that a probe removes again: in a folder it does not
    /// reach the disk.
    pub(crate) async fn create_scratch(
        &self,
        path: &str,
        bytes: Bytes,
    ) -> Result<Created, StoreError> {
        self.create_lasting(path, bytes, Lasting::Scratch(None)).await
    }

    async fn create_lasting(
        &self,
        path: &str,
        bytes: Bytes,
        lasting: Lasting,
    ) -> Result<Created, StoreError> {
        let location = self.location(path)?;
        let length = bytes.len() as u64;
        // Slow links get time in proportion to the bytes, so that a large object is no time-out.
        let transfer = Duration::from_secs(length / BYTES_PER_SECOND);
        if self.direct {
            let at = path.to_owned();
            let limit = self.timeouts.call + transfer;
            let put =
                self.on_disk_within(limit, move |root| folder::create(root, &at, &bytes, &lasting));
            return Ok(match put.await? {
                Put::New => {
                    self.meter.wrote(length);
                    Created::New
                }
                Put::Existed => Created::Existed,
            });
        }
        self.refuse_links(path).await?;
        let payload = PutPayload::from_bytes(bytes);
        let mut pauses = CONFLICT_PAUSES.iter();
        loop {
            let put = self.writes.put_opts(&location, payload.clone(), PutMode::Create.into());
            match self.within(path, self.timeouts.call + transfer, put).await? {
                // Only this answer proves that the bytes are ours: every other one is read back by
                // the caller.
                Ok(_) => {
                    self.meter.wrote(length);
                    return Ok(Created::New);
                }
                Err(error) if self.sees(&error) => return Ok(Created::Existed),
                // A conflict is S3's 409: another write of the key was in flight, and nothing is
                // known of it. Asked again, the store says whether the object is there.
                Err(error) => match (classify_write(path, &error), pauses.next()) {
                    (StoreError::Conflict { .. }, Some(pause)) => tokio::time::sleep(*pause).await,
                    (error, _) => return Err(error),
                },
            }
        }
    }

    /// Removes a scratch object of a probe.
    pub(crate) async fn remove_scratch(&self, path: &str) -> Result<(), StoreError> {
        let location = self.location(path)?;
        match self.within(path, self.timeouts.call, self.writes.delete(&location)).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(classify(path, &error)),
        }
    }

    /// Removes these files of a staging folder, each only as it was seen, then the folders that
    /// held them, as far as they are empty. Only `collect` does so, of what module-gate staged and
    /// a sealed pack was seen to hold.
    pub(crate) async fn remove_staged(
        &self,
        path: &str,
        files: Vec<Entry>,
    ) -> Result<Removal, StoreError> {
        self.location(path)?;
        let at = path.to_owned();
        self.on_disk(move |root| folder::remove(root, &at, &files)).await
    }

    /// Whether a create was refused because the object is there.
    fn sees(&self, error: &object_store::Error) -> bool {
        match self.bucket {
            Some(_) => is_there(error),
            None => matches!(error, object_store::Error::AlreadyExists { .. }),
        }
    }

    fn location(&self, path: &str) -> Result<Path, StoreError> {
        let refused = |cause: String| StoreError::Name { path: path.to_owned(), cause };
        seal::path::check(path).map_err(|error| refused(error.reason.to_owned()))?;
        Path::parse(self.key(path)).map_err(|error| refused(error.to_string()))
    }

    /// The key of a path in the bucket; in a folder it is the path.
    fn key(&self, path: &str) -> String {
        match (self.base.as_str(), path) {
            ("", path) => path.to_owned(),
            (base, "") => base.to_owned(),
            (base, path) => format!("{base}/{path}"),
        }
    }

    /// Work on the files of a folder, beside what else this process waits for.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&std::path::Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.on_disk_within(self.timeouts.call, work).await
    }

    async fn on_disk_within<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(&std::path::Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let root = self.root.clone().unwrap_or_default();
        // Relative to the root, as every path in an error is: a run's public reason may repeat it.
        let path = ".";
        // A task that passed its limit runs on in its thread: a system call cannot be called off.
        // Its result is dropped, and a create-only write that lands late is found by reading back
        // (O9).
        let work = tokio::task::spawn_blocking(move || work(&root));
        self.within(path, limit, work).await?.unwrap_or_else(|error| {
            Err(StoreError::Unavailable { path: path.to_owned(), cause: error.to_string() })
        })
    }

    /// Whether there is a folder at `path`; in a bucket there are none.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn is_folder(&self, path: &str) -> Result<bool, StoreError> {
        // A bucket has prefixes and no folders.
        if self.root.is_none() {
            return Ok(false);
        }
        self.location(path)?;
        let at = path.to_owned();
        self.on_disk(move |root| Ok(matches!(folder::open(root, &at)?, Opened::Folder))).await
    }

    /// Nothing is waited for without end: a store that hangs is a store that did not answer.
    async fn within<T>(
        &self,
        path: &str,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout(limit, work)
            .await
            .map_err(|_| StoreError::Timeout { path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_not_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Objects::local(folder.path()).unwrap();
        let (go, wait) = mpsc::channel::<()>();
        let hangs = store.on_disk_within(Duration::ZERO, move |_| {
            let _ = wait.recv();
            Ok(())
        });
        let error = hangs.await.unwrap_err();
        drop(go);
        assert_eq!(error.to_string(), r#"the store did not answer in time about ".""#);
    }
}
