//! What a bucket says of an object beside its bytes: until when it is locked, and what was under
//! its name before.

use bytes::Bytes;
use object_store::{GetOptions, ObjectStore};
use time::OffsetDateTime;

use super::Objects;
use super::failure::{Refusal, StoreError, classify, is_absent};

/// An object lock with a time (Amazon S3, "Object Lock").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// How strong it is.
    pub mode: LockMode,
    /// Until when nothing removes this version of the object.
    pub until: OffsetDateTime,
}

/// How strong a lock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// An account that has a right of its own for that may lift it.
    Governance,
    /// No one may.
    Compliance,
}

/// How often something was written or deleted under a name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Versions {
    /// Versions with bytes.
    pub versions: usize,
    /// Markers of deletions.
    pub markers: usize,
}

/// What a store answered about versions; `None` where it keeps none.
pub(super) fn if_versions_are_kept<T>(
    listed: Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    match listed {
        Ok(versions) => Ok(Some(versions)),
        // A store without versions cannot show them, and has nothing to show.
        Err(StoreError::Unsupported { .. })
        | Err(StoreError::Refused { kind: Refusal::Method, .. })
        | Err(StoreError::Refused { status: 501, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Objects {
    /// The lock of an object; `None` if the object is not there, and no lock if it has none or the
    /// store is a folder.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn lock(&self, path: &str) -> Result<Option<Option<Lock>>, StoreError> {
        if self.bucket.is_none() {
            return Ok(self.head(path).await?.map(|_| None));
        }
        let location = self.location(path)?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        let head = self.store.get_opts(&location, options);
        match self.within(path, self.timeouts.call, head).await? {
            Ok(head) => Ok(Some(head.extensions.get::<Lock>().copied())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(classify(path, &error)),
        }
    }

    /// What is kept under a name; `None` where the store keeps no versions.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn versions(&self, path: &str) -> Result<Option<Versions>, StoreError> {
        let Some(bucket) = &self.bucket else { return Ok(None) };
        let location = self.location(path)?;
        let listed = bucket.versions(&location);
        if_versions_are_kept(self.within(path, self.timeouts.call, listed).await?)
    }

    /// A part of the bucket's own setup, such as `policy`; `None` where it is not set.
    ///
    /// # Errors
    /// Any [`StoreError`], [`StoreError::Unsupported`] for a folder.
    pub async fn bucket_setting(&self, part: &str) -> Result<Option<Bytes>, StoreError> {
        let path = format!("?{part}");
        let Some(bucket) = &self.bucket else { return Err(StoreError::Unsupported { path }) };
        let query = [(part, "")];
        let asked = bucket.ask(&path, &query);
        match self.within(&path, self.timeouts.call, asked).await? {
            Ok(body) => Ok(Some(body)),
            // "Not set" is an answer of its own for each part (Amazon S3 API, "Error responses").
            Err(StoreError::Refused { code, .. })
                if code.starts_with("NoSuch") && code != "NoSuchBucket"
                    || code == "ObjectLockConfigurationNotFoundError" =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
