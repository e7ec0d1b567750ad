//! Journals: append-only progress files of `seal` and `audit`, and where they may be placed.
//!
//! They are the only files outside the store that a command is asked to write. A file that is not
//! such a journal is never written to, and none is made in a pack, whose seal it would break.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use seal::{MANIFEST_FILE, SEAL_FILE};

use crate::objects::Objects;

/// Most bytes of a journal's first line: two paths, each byte spelled out.
pub(super) const MAX_HEADER_BYTES: u64 = 64 << 10;

/// A file that may be read, and written to at its end.
pub(super) struct Opened {
    pub(super) file: File,
    /// It was made by this call. Else nothing may be written before its first line was seen to be a
    /// header of ours.
    pub(super) is_new: bool,
}

/// Opens, or makes, the file at `path`, which is in no pack: in none of `pack_roots`, and in no
/// other folder that holds what a pack is closed with.
///
/// # Errors
/// Why it cannot be a journal.
pub(super) fn open(path: &Path, objects: &Objects, pack_roots: &[&str]) -> Result<Opened, String> {
    refuse_inside(path, objects, pack_roots)?;
    let failed = |error: io::Error| error.to_string();
    let mut options = File::options();
    // A link, a pipe or a device is no file of ours, and must not be waited for.
    options.read(true).append(true).custom_flags(flags());
    match options.clone().create_new(true).open(path) {
        Ok(file) => return Ok(Opened { file, is_new: true }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let meta = path.symlink_metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err("it is a link, a folder or a special file; name a new file".to_owned());
    }
    let file = options.open(path).map_err(failed)?;
    let again = file.metadata().map_err(failed)?;
    if !again.is_file() || !same_file(&meta, &again) {
        return Err("it was replaced while it was opened".to_owned());
    }
    Ok(Opened { file, is_new: false })
}

/// Follows no link, and waits for no other end of a pipe.
fn flags() -> i32 {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    i32::try_from(flags.bits()).unwrap_or_default()
}

pub(super) fn same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// A journal inside a pack would be sealed with it, or be a file that was added to it.
fn refuse_inside(path: &Path, objects: &Objects, pack_roots: &[&str]) -> Result<(), String> {
    let folder = match path.parent() {
        None => return Err("it names no file".to_owned()),
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
    };
    let folder = folder.canonicalize().map_err(|error| error.to_string())?;
    let refused = |pack: &Path| {
        let pack = pack.display();
        Err(format!("it lies in the pack {pack}; name a file outside of every pack"))
    };
    for pack_root in pack_roots {
        let Some(root) = objects.root() else { break };
        let pack = if pack_root.is_empty() { root.to_owned() } else { root.join(pack_root) };
        let pack = pack.canonicalize().unwrap_or(pack);
        if folder.starts_with(&pack) {
            return refused(&pack);
        }
    }
    let closes = |at: &Path| {
        [SEAL_FILE, MANIFEST_FILE].iter().any(|name| at.join(name).symlink_metadata().is_ok())
    };
    folder.ancestors().find(|at| closes(at)).map_or(Ok(()), refused)
}
