//! The name of a directory whose path is longer than the kernel shows.

use std::ffi::{OsStr, OsString};
use std::fs::{File, read_link};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, open, openat, statat};

/// Deeper trees than this are not followed.
const MAX_ABOVE: usize = 4_096;

/// Climbs from the directory behind a link of `/proc`, until the kernel shows where it is.
///
/// # Errors
/// It is no directory, cannot be searched, or is too deep.
pub(crate) fn path_of(link: &Path) -> io::Result<PathBuf> {
    let held = OFlags::PATH | OFlags::CLOEXEC;
    let mut at: OwnedFd = open(link, held, Mode::empty())?;
    let mut names: Vec<OsString> = Vec::new();
    for _ in 0..MAX_ABOVE {
        match read_link(format!("/proc/self/fd/{}", at.as_raw_fd())) {
            Ok(mut path) => {
                path.extend(names.iter().rev());
                return Ok(path);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => {}
            Err(error) => return Err(error),
        }
        let above =
            openat(&at, "..", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        names.push(name_in(&above, at)?);
        at = above;
    }
    Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG))
}

fn name_in(above: &OwnedFd, child: OwnedFd) -> io::Result<OsString> {
    let child = File::from(child).metadata()?;
    for entry in Dir::read_from(above)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.ino() != child.ino() || name == b".." {
            continue;
        }
        let found = statat(above, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)?;
        if (found.st_dev, found.st_ino) == (child.dev(), child.ino()) {
            return Ok(OsString::from_vec(name.to_vec()));
        }
    }
    Err(io::Error::from_raw_os_error(libc::ENOENT))
}
