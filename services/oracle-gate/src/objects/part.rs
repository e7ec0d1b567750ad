//! Parts of a large object, read apart from each other.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};
use std::ops::Range;

use object_store::{GetOptions, ObjectStore};

use super::Objects;
use super::failure::{StoreError, classify, from_io, is_absent};
use super::folder::{self, EntryState};

/// One version of an object, by the name that the store gives the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its length, in bytes.
    pub length: u64,
    /// In a folder inode and times of the file, in a bucket the tag; a bucket may have none.
    pub(super) mark: Option<String>,
}

/// Some bytes of one version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which bytes; not past the version's length.
    pub range: Range<u64>,
    /// Of which version. Another one has no such part: reading it is [`StoreError::Changed`].
    pub of: Version,
}

impl Objects {
    /// Which version of an object is there; `None` if there is none.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn version(&self, path: &str) -> Result<Option<Version>, StoreError> {
        let location = self.location(path)?;
        if self.is_direct() {
            let at = path.to_owned();
            let seen = self.on_disk(move |root| folder::look(root, &at)).await?;
            return Ok(
                seen.map(|EntryState { length, mark, .. }| Version { length, mark: Some(mark) })
            );
        }
        self.refuse_links(path).await?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        let head = self.store.get_opts(&location, options);
        match self.within(path, self.timeouts.call, head).await? {
            Ok(head) => Ok(Some(Version { length: head.meta.size, mark: head.meta.e_tag })),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(classify(path, &error)),
        }
    }
}

/// What is to be read of an open file: all of it, or a part, and how many bytes these are.
///
/// # Errors
/// [`StoreError::Changed`] where the file is of another version than the part.
pub(super) fn of_file(
    path: &str,
    mut file: File,
    length: u64,
    part: Option<&Part>,
) -> Result<(Take<File>, u64), StoreError> {
    // Without an end of its own, so that a file that grows is noticed.
    let Some(Part { range, of }) = part else { return Ok((file.take(u64::MAX), length)) };
    let seen = file.metadata().map_err(|error| from_io(path, &error))?;
    let seen = EntryState::of(&seen);
    if seen.length != of.length || of.mark.as_ref() != Some(&seen.mark) {
        return Err(StoreError::Changed { path: path.to_owned() });
    }
    file.seek(SeekFrom::Start(range.start)).map_err(|error| from_io(path, &error))?;
    let length = range.end - range.start;
    Ok((file.take(length), length))
}
