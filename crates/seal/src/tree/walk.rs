//! Reads a folder of the local disk into an inventory, following no link.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use walkdir::{DirEntry, WalkDir};
use wire::digest::{Digest, Hasher};

use super::{File, Limits, TreeError};

const OWNER_MAY_EXECUTE: u32 = 0o100;
/// No accepted path has more parts, so deeper folders need not be walked.
const MAX_DEPTH: usize = crate::path::MAX_PATH_BYTES / 2 + 1;
const BUFFER_BYTES: usize = 64 << 10;

/// Every regular file below `root`, unordered. Stops at the first thing that is not allowed.
pub(crate) fn files(root: &Path, limits: &Limits) -> Result<Vec<File>, TreeError> {
    let mut files = Vec::new();
    let mut left = limits.bytes;
    for entry in WalkDir::new(root).follow_links(false).max_depth(MAX_DEPTH) {
        let entry = entry.map_err(|error| io_error(&root.to_string_lossy(), error.into()))?;
        // The root itself: a link to a folder would lead out of what the caller named.
        if entry.depth() == 0 {
            if entry.file_type().is_dir() {
                continue;
            }
            return Err(TreeError::NotRegular(root.to_string_lossy().into_owned()));
        }
        if entry.file_type().is_dir() {
            continue;
        }
        if files.len() == limits.files {
            return Err(TreeError::TooLarge(*limits));
        }
        let file = read(root, &entry, left, limits)?;
        left -= file.length;
        files.push(file);
    }
    Ok(files)
}

fn read(root: &Path, entry: &DirEntry, left: u64, limits: &Limits) -> Result<File, TreeError> {
    let path = relative(root, entry)?;
    if !entry.file_type().is_file() {
        return Err(TreeError::NotRegular(path));
    }
    let failed = |error| io_error(&path, error);
    let mut open = fs::OpenOptions::new();
    // Between listing and opening the name may have become a link or a pipe.
    open.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let mut content = open.open(entry.path()).map_err(failed)?;
    let metadata = content.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(TreeError::NotRegular(path));
    }
    let (length, sha256) = hash(&mut content, left, |_| ()).map_err(failed)?;
    if length > left {
        return Err(TreeError::TooLarge(*limits));
    }
    Ok(File { path, executable: metadata.mode() & OWNER_MAY_EXECUTE != 0, length, sha256 })
}

fn relative(root: &Path, entry: &DirEntry) -> Result<String, TreeError> {
    let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
    let lossy = || path.to_string_lossy().into_owned();
    let text = path.to_str().ok_or_else(|| crate::path::PathError {
        path: lossy(),
        reason: "it is not UTF-8",
        outside: false,
    })?;
    crate::path::check(text)?;
    Ok(text.to_owned())
}

/// Length and digest of what `content` gives; stops once `most` bytes are passed. `each` sees the
/// bytes too.
pub(crate) fn hash(
    content: &mut impl Read,
    most: u64,
    mut each: impl FnMut(&[u8]),
) -> io::Result<(u64, Digest)> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut length = 0_u64;
    // One byte more than allowed is read at most by a buffer's length: a file that grows under the
    // reader ends the loop too.
    while length <= most {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&buffer[..read]);
                each(&buffer[..read]);
                length += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((length, hasher.finish()))
}

fn io_error(path: &str, source: io::Error) -> TreeError {
    TreeError::Io { path: path.to_owned(), source }
}
