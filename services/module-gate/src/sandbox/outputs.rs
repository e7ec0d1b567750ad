//! Collects what a module left in `LUMIO_OUTPUT`.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use thiserror::Error;
use walkdir::{DirEntry, WalkDir};
use wire::digest::Digest;

/// Most files a run may leave.
pub const MAX_FILES: usize = 1_000;
/// Most bytes a run may leave, all files together: 64 MiB.
pub const MAX_BYTES: u64 = 64 << 20;

/// No accepted path has as many parts.
const MAX_DEPTH: usize = 513;

/// One file that was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// Path below the output folder, `/`-separated.
    pub path: String,
    /// Length of the content, in bytes.
    pub length: u64,
    /// Digest of the content.
    pub sha256: Digest,
    /// Its permissions. They are compared between attempts, and are not sealed.
    pub mode: u32,
    /// The content, read once: these bytes were hashed and these are staged.
    pub content: Vec<u8>,
}

/// Why the outputs are refused, or could not be read.
#[derive(Debug, Error)]
pub enum OutputError {
    /// What the module left is not allowed. The reason is for the module's author.
    #[error("{0}")]
    Refused(String),
    /// The disk failed, which says nothing about the module.
    #[error("cannot read the outputs")]
    Io(#[from] io::Error),
}

/// Every file below `folder`, sorted by the bytes of its path. Nothing may be writing there still.
///
/// # Errors
/// [`OutputError::Refused`] for links, special files, refused paths, and more than the limits.
pub fn collect(folder: &Path) -> Result<Vec<OutputFile>, OutputError> {
    let mut outputs = Vec::new();
    let mut left = MAX_BYTES;
    for entry in WalkDir::new(folder).follow_links(false).min_depth(1).max_depth(MAX_DEPTH) {
        let entry = entry.map_err(|error| unreadable(error.into()))?;
        if entry.file_type().is_dir() && entry.depth() < MAX_DEPTH {
            continue;
        }
        if entry.depth() == MAX_DEPTH {
            return Err(OutputError::Refused(format!(
                "an output lies {MAX_DEPTH} folders deep or deeper"
            )));
        }
        if outputs.len() == MAX_FILES {
            return Err(OutputError::Refused(format!(
                "there are more than {MAX_FILES} output files"
            )));
        }
        let path = relative(folder, &entry)?;
        let (content, mode) = read(&entry, &path, left)?;
        let length = content.len() as u64;
        left -= length;
        outputs.push(OutputFile { path, length, sha256: Digest::of(&content), mode, content });
    }
    outputs.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    refuse_twins(&outputs)?;
    Ok(outputs)
}

fn relative(folder: &Path, entry: &DirEntry) -> Result<String, OutputError> {
    let path = entry.path().strip_prefix(folder).unwrap_or(entry.path());
    let text = path.to_string_lossy().into_owned();
    if path.to_str().is_none() {
        return Err(OutputError::Refused(format!("the output path {text:?} is not UTF-8")));
    }
    seal::path::check_output(&text)
        .map_err(|error| OutputError::Refused(format!("output {error}")))?;
    // What is there is stated as module-gate's own word (E6).
    if seal::path::fold(&text).starts_with(wire::egress::FOLDER) {
        return Err(OutputError::Refused(format!(
            "the output {text:?} lies in a folder that is the gate's own"
        )));
    }
    Ok(text)
}

fn read(entry: &DirEntry, path: &str, left: u64) -> Result<(Vec<u8>, u32), OutputError> {
    if !entry.file_type().is_file() {
        return Err(OutputError::Refused(format!(
            "the output {path:?} is a link or a special file"
        )));
    }

    // Neither follows a link nor waits for a pipe.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(entry.path())
        .map_err(unreadable)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    let mut content = Vec::new();

    // One byte above the limit shows that there is more.
    file.take(left + 1).read_to_end(&mut content)?;
    if content.len() as u64 > left {
        return Err(OutputError::Refused(format!(
            "the outputs are larger than {MAX_BYTES} bytes together"
        )));
    }
    Ok((content, mode))
}

/// A module may take its own outputs' permissions away, or put them deeper than a path may be long;
/// that is its doing, not the disk's.
fn unreadable(error: io::Error) -> OutputError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            OutputError::Refused("an output may not be read".to_owned())
        }
        io::ErrorKind::InvalidFilename => {
            OutputError::Refused("the path of an output is too long".to_owned())
        }
        _ => OutputError::Io(error),
    }
}

/// A store that ignores case or Unicode form would keep only one of two such files.
fn refuse_twins(outputs: &[OutputFile]) -> Result<(), OutputError> {
    let mut seen = std::collections::BTreeMap::new();
    for output in outputs {
        if let Some(other) = seen.insert(seal::path::fold(&output.path), &output.path) {
            return Err(OutputError::Refused(format!(
                "the outputs {other:?} and {:?} differ only in case or Unicode form",
                output.path
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

    use super::*;
    use crate::sandbox::cleanup;

    #[test]
    fn files_come_sorted_with_their_digests() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("b/2"), "two").unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        let outputs = collect(folder.path()).unwrap();
        let paths: Vec<_> = outputs.iter().map(|output| output.path.as_str()).collect();
        assert_eq!(paths, ["a", "b/2"]);
        assert_eq!(outputs[1].sha256, Digest::of(b"two"));
    }

    #[test]
    fn links_twins_and_too_many_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("l")).unwrap();
        assert!(collect(folder.path()).unwrap_err().to_string().contains("a link"));
        fs::remove_file(folder.path().join("l")).unwrap();
        for name in ["x", "X"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert!(collect(folder.path()).unwrap_err().to_string().contains("only in case"));
        for n in 0..MAX_FILES {
            fs::write(folder.path().join(n.to_string()), "").unwrap();
        }
        assert!(collect(folder.path()).unwrap_err().to_string().contains("more than 1000"));
    }

    #[test]
    fn folders_that_no_path_reaches_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, depth, reason) in
            [("n", MAX_DEPTH + 10, "folders deep"), (&*"n".repeat(200), 30, "too long")]
        {
            let outputs = folder.path().join(format!("{depth}"));
            fs::create_dir(&outputs).unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let mut at = openat(CWD, &outputs, flags, Mode::empty()).unwrap();
            for _ in 0..depth {
                mkdirat(&at, name, Mode::RWXU).unwrap();
                at = openat(&at, name, flags, Mode::empty()).unwrap();
            }
            let refused = collect(&outputs).unwrap_err();
            assert!(matches!(refused, OutputError::Refused(_)), "{refused:?}");
            assert!(refused.to_string().contains(reason), "{refused}");
            cleanup::remove(&outputs).unwrap();
        }
    }

    #[test]
    fn too_many_bytes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::create(folder.path().join("sparse")).unwrap();
        file.set_len(MAX_BYTES + 1).unwrap();
        assert!(collect(folder.path()).unwrap_err().to_string().contains("larger than"));
    }
}
