//! The one way to the store: bounded reads, create-only writes, links refused, every wait bounded.
//!
//! Absence is an answer (`None`), everything else that went wrong is a [`StoreError`] of one of a few
//! kinds (O6). On a local root every part of a path is looked at before it is used: a symbolic link
//! or a special file is refused, wherever it points (O8). What is *not* checked: that nobody swaps a
//! folder for a link between the look and the read. Only oracle-gate may write packs, and what others
//! may write (staging) is compared with signed digests byte by byte.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use seal::content::Concat;
use wire::digest::{Digest, Hasher};

pub use credentials::Credentials;
pub use evidence::{Evidence, Fixity};
pub use failure::StoreError;
pub use meter::{Meter, Metered};
pub use object::Object;
pub use place::{Place, S3Place, S3Wiring};

use failure::{classify, is_absent, is_there};
use s3::S3;

mod credentials;
mod evidence;
mod failure;
mod links;
mod listing;
mod meter;
mod object;
mod page;
mod place;
mod s3;
mod transport;

/// Most files that one listing may give.
const MAX_LISTED: usize = 1 << 17;
/// Slowest transfer that is waited for.
const BYTES_PER_SECOND: u64 = 1 << 20;
/// Pauses between tries of a write that met another writer.
const CONFLICT_PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];

/// How long a store is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For one call, its retries included; a large object's bytes come on top.
    pub call: Duration,
    /// For the head of one answer, and for the next bytes of its body.
    pub answer: Duration,
    /// Tries after the first, where a try may be repeated.
    pub retries: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { call: Duration::from_secs(60), answer: Duration::from_secs(10), retries: 4 }
    }
}

/// A store and where in it everything of ours lies.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    root: Option<PathBuf>,
    bucket: Option<Arc<S3>>,
    /// Prefix of every key of ours in the bucket.
    base: String,
    names: Vec<String>,
    patience: Patience,
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
    /// The store at `place`. Credentials are only needed, and only asked for, for a bucket; whether
    /// they hold is seen with the first call.
    ///
    /// # Errors
    /// When the folder is missing or is not one, or the wiring makes no client.
    pub fn open(
        place: &Place,
        credentials: impl FnOnce() -> Result<Credentials, String>,
    ) -> Result<Self, StoreError> {
        Self::open_with(place, credentials, Patience::default())
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// As [`Objects::open`].
    pub fn open_with(
        place: &Place,
        credentials: impl FnOnce() -> Result<Credentials, String>,
        patience: Patience,
    ) -> Result<Self, StoreError> {
        let at = match place {
            Place::Local(folder) => return Self::local(folder),
            Place::S3(at) => at,
        };
        let failed = |cause: String| StoreError::Unavailable { path: place.to_string(), cause };
        let credentials = credentials().map_err(failed)?;
        let bucket = S3::new(at, &credentials, patience)
            .map_err(|error| classify(&place.to_string(), &error))?;
        Ok(Self {
            store: Arc::new(bucket.store.clone()),
            root: None,
            bucket: Some(Arc::new(bucket)),
            base: at.prefix.clone(),
            names: vec![place.to_string()],
            patience,
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
        let root = root.canonicalize().map_err(|error| failed(error.to_string()))?;
        let store =
            LocalFileSystem::new_with_prefix(&root).map_err(|error| failed(error.to_string()))?;
        let names = root.to_str().map(str::to_owned).into_iter().chain(configured).collect();
        Ok(Self {
            store: Arc::new(store.with_fsync(true)),
            root: Some(root),
            bucket: None,
            base: String::new(),
            names,
            patience: Patience::default(),
            trusts_checksums: false,
            meter: Arc::default(),
        })
    }

    /// The same place through another store, such as one that fails on purpose in a test.
    #[must_use]
    pub fn through(&self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self { store: wrap(Arc::clone(&self.store)), ..self.clone() }
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
        let Some(mut object) = self.open_object(path).await? else { return Ok(None) };
        let (mut hasher, length) = (Hasher::new(), object.length());
        while let Some(bytes) = object.next().await? {
            hasher.update(&bytes);
        }
        Ok(Some((length, hasher.finish())))
    }

    /// Feeds an object to `concat`; false if it is not there.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn concat(&self, path: &str, concat: &mut Concat) -> Result<bool, StoreError> {
        let Some(mut object) = self.open_object(path).await? else { return Ok(false) };
        while let Some(bytes) = object.next().await? {
            concat.update(&bytes);
        }
        Ok(true)
    }

    /// The object, to be read piece by piece; `None` if it is not there.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn open_object(&self, path: &str) -> Result<Option<Object>, StoreError> {
        let location = self.location(path)?;
        self.refuse_links(path).await?;
        match self.within(path, self.patience.call, self.store.get(&location)).await? {
            Ok(object) => {
                let meter = Arc::clone(&self.meter);
                Ok(Some(Object::new(path, object, self.patience, meter)))
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
        let location = self.location(path)?;
        self.refuse_links(path).await?;
        let length = bytes.len() as u64;
        let transfer = Duration::from_secs(length / BYTES_PER_SECOND);
        let payload = PutPayload::from_bytes(bytes);
        let mut pauses = CONFLICT_PAUSES.iter();
        loop {
            let put = self.store.put_opts(&location, payload.clone(), PutMode::Create.into());
            match self.within(path, self.patience.call + transfer, put).await? {
                Ok(_) => {
                    self.meter.wrote(length);
                    return Ok(Created::New);
                }
                Err(error) if self.sees(&error) => return Ok(Created::Existed),
                Err(error) => match (classify(path, &error), pauses.next()) {
                    (StoreError::Conflict { .. }, Some(pause)) => tokio::time::sleep(*pause).await,
                    (error, _) => return Err(error),
                },
            }
        }
    }

    /// Removes a scratch object of a probe; nothing else is ever removed.
    pub(crate) async fn remove_scratch(&self, path: &str) -> Result<(), StoreError> {
        let location = self.location(path)?;
        match self.within(path, self.patience.call, self.store.delete(&location)).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(classify(path, &error)),
        }
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
