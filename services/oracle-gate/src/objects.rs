//! The one way to the store: bounded reads, create-only writes, links refused.
//!
//! Absence is an answer (`None`), everything else that went wrong is a [`StoreError`] of one of a few
//! kinds (O6). On a local root every part of a path is looked at before it is used: a symbolic link
//! or a special file is refused, wherever it points (O8). What is *not* checked: that nobody swaps a
//! folder for a link between the look and the read. Only oracle-gate may write packs, and what others
//! may write (staging) is compared with signed digests byte by byte.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use seal::content::Concat;
use wire::digest::{Digest, Hasher};

pub use failure::StoreError;

use failure::{classify, from_io};

mod failure;

/// Most files that one listing may give.
const MAX_LISTED: usize = 1 << 17;

/// A store and, for a local one, the folder it lies in.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    root: Option<PathBuf>,
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
    /// The store in the folder `root`, which must exist. Writes reach the disk before they count.
    ///
    /// # Errors
    /// When the folder is missing or is not one.
    pub fn local(root: &std::path::Path) -> Result<Self, StoreError> {
        let path = root.display().to_string();
        let failed = |cause: String| StoreError::Unavailable { path: path.clone(), cause };
        let root = root.canonicalize().map_err(|error| failed(error.to_string()))?;
        let store =
            LocalFileSystem::new_with_prefix(&root).map_err(|error| failed(error.to_string()))?;
        Ok(Self { store: Arc::new(store.with_fsync(true)), root: Some(root) })
    }

    /// The same place through another store, such as one that fails on purpose in a test.
    #[must_use]
    pub fn through(&self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self { store: wrap(Arc::clone(&self.store)), root: self.root.clone() }
    }

    /// The folder of a local store.
    pub fn root(&self) -> Option<&std::path::Path> {
        self.root.as_deref()
    }

    /// The whole object, at most `most` bytes; `None` if it is not there.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read(&self, path: &str, most: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(object) = self.open(path).await? else { return Ok(None) };
        if object.meta.size > most {
            return Err(StoreError::TooLarge { path: path.to_owned(), most });
        }
        let bytes = object.bytes().await.map_err(|error| classify(path, &error))?;
        if bytes.len() as u64 > most {
            return Err(StoreError::TooLarge { path: path.to_owned(), most });
        }
        Ok(Some(bytes))
    }

    /// Length and digest of an object, in constant memory; `None` if it is not there.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn hash(&self, path: &str) -> Result<Option<(u64, Digest)>, StoreError> {
        let (mut hasher, mut length) = (Hasher::new(), 0);
        let found = self
            .feed(path, |bytes| {
                hasher.update(bytes);
                length += bytes.len() as u64;
            })
            .await?;
        Ok(found.then(|| (length, hasher.finish())))
    }

    /// Feeds an object to `concat`; false if it is not there.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn concat(&self, path: &str, concat: &mut Concat) -> Result<bool, StoreError> {
        self.feed(path, |bytes| concat.update(bytes)).await
    }

    /// The object's bytes as they come, for passing on; `None` if it is not there.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn open(&self, path: &str) -> Result<Option<object_store::GetResult>, StoreError> {
        let location = self.location(path)?;
        self.refuse_links(path).await?;
        match self.store.get(&location).await {
            Ok(object) => Ok(Some(object)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(classify(path, &error)),
        }
    }

    /// Writes an object if there is none.
    ///
    /// # Errors
    /// Any [`StoreError`]. Then the object may be there or not: read it back.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let location = self.location(path)?;
        self.refuse_links(path).await?;
        let payload = PutPayload::from_bytes(bytes);
        match self.store.put_opts(&location, payload, PutMode::Create.into()).await {
            Ok(_) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Existed),
            Err(error) => Err(classify(path, &error)),
        }
    }

    /// Every object below the folder `prefix`, sorted, relative to it. Only for the roots that the
    /// caller was given by name (O8). A link anywhere below is refused.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let location = if prefix.is_empty() { None } else { Some(self.location(prefix)?) };
        self.refuse_links(prefix).await?;
        self.refuse_links_below(prefix).await?;
        let listed = self.store.list(location.as_ref()).take(MAX_LISTED + 1);
        let metas: Vec<_> = listed.try_collect().await.map_err(|error| classify(prefix, &error))?;
        if metas.len() > MAX_LISTED {
            return Err(StoreError::TooLarge { path: prefix.to_owned(), most: MAX_LISTED as u64 });
        }
        let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let mut names: Vec<String> = metas
            .iter()
            .filter_map(|meta| meta.location.as_ref().strip_prefix(&below).map(str::to_owned))
            .collect();
        names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        Ok(names)
    }

    /// The objects directly in the folder `prefix`, sorted, relative to it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_one(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let location = if prefix.is_empty() { None } else { Some(self.location(prefix)?) };
        self.refuse_links(prefix).await?;
        let listed = self.store.list_with_delimiter(location.as_ref()).await;
        let listed = match listed {
            Ok(listed) => listed.objects,
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(classify(prefix, &error)),
        };
        let mut names: Vec<String> =
            listed.iter().filter_map(|meta| meta.location.filename().map(str::to_owned)).collect();
        names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        Ok(names)
    }

    /// Removes a scratch object of a probe; nothing else is ever removed.
    pub(crate) async fn remove_scratch(&self, path: &str) -> Result<(), StoreError> {
        let location = self.location(path)?;
        match self.store.delete(&location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(classify(path, &error)),
        }
    }

    fn location(&self, path: &str) -> Result<Path, StoreError> {
        let refused = |cause: String| StoreError::Unavailable { path: path.to_owned(), cause };
        seal::path::check(path).map_err(|error| refused(error.reason.to_owned()))?;
        Path::parse(path).map_err(|error| refused(error.to_string()))
    }

    async fn feed(&self, path: &str, mut take: impl FnMut(&[u8])) -> Result<bool, StoreError> {
        let Some(object) = self.open(path).await? else { return Ok(false) };
        let mut stream = object.into_stream();
        while let Some(bytes) = stream.next().await {
            take(&bytes.map_err(|error| classify(path, &error))?);
        }
        Ok(true)
    }

    async fn refuse_links(&self, path: &str) -> Result<(), StoreError> {
        let Some(root) = &self.root else { return Ok(()) };
        let mut at = root.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at.push(part);
            match tokio::fs::symlink_metadata(&at).await {
                Ok(meta) if meta.is_dir() || meta.is_file() => {}
                Ok(_) => return Err(StoreError::Link { path: path.to_owned() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
                Err(error) => return Err(from_io(path, &error)),
            }
        }
        Ok(())
    }

    /// The store follows links to files and drops broken ones from its listings.
    async fn refuse_links_below(&self, prefix: &str) -> Result<(), StoreError> {
        let Some(root) = &self.root else { return Ok(()) };
        let mut folders = vec![root.join(prefix)];
        while let Some(folder) = folders.pop() {
            let mut entries = match tokio::fs::read_dir(&folder).await {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(from_io(prefix, &error)),
            };
            while let Some(entry) =
                entries.next_entry().await.map_err(|error| from_io(prefix, &error))?
            {
                let kind = entry.file_type().await.map_err(|error| from_io(prefix, &error))?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if !kind.is_file() {
                    let path = entry.path().to_string_lossy().into_owned();
                    return Err(StoreError::Link { path });
                }
            }
        }
        Ok(())
    }
}
