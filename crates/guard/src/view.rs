//! Names as the stopped process means them: resolved in its view, as far as that can be known from
//! outside.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use crate::paths;
use crate::stat::FileStat;
use crate::tasks::Task;

mod long_paths;
mod walk;

pub(crate) use long_paths::path_of;
use walk::Walk;

/// Where a name leads.
#[derive(Debug)]
pub(crate) enum Destination {
    /// Something with a name; whether it is there.
    File { path: PathBuf, found: Found },
    /// Something without a name: a pipe, a socket, memory. `link` is the way to it in `/proc`.
    Nameless { shown: String, link: PathBuf },
}

/// What is at the end of a path.
#[derive(Debug)]
pub(crate) enum Found {
    Here(FileStat),
    /// Nothing, but a directory in which it could be.
    Missing,
    /// The way ends before; whatever the call, the kernel answers with this error number.
    Unreachable(i32),
    /// We may not look; then the process may not either, unless the host separates users in unusual
    /// ways.
    Hidden,
}

/// How a path is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reading {
    /// A symbolic link at the end is followed.
    pub(crate) follow: bool,
    /// The directory it starts at is the root of all names (`RESOLVE_IN_ROOT`).
    pub(crate) jailed: bool,
}

/// One stopped thread.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) tid: u32,
    pub(crate) task: Task,
    /// The reaper of the tree: what does not descend from it is foreign.
    pub(crate) reaper: i32,
    /// Where most names lead.
    pub(crate) home: Arc<Home>,
}

/// The root, held open so that names below it are resolved in one step.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    handle: OwnedFd,
}

impl Home {
    /// Opens the root; `path` is resolved already.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { path: path.to_owned(), handle: open(path, flags, Mode::empty())? })
    }

    /// What is at a place below the root that is reached without any symbolic link; `None`
    /// where that is not so, or not known. `within` is a directory that is there.
    fn look(&self, path: &Path, within: Option<&Path>) -> Option<Found> {
        let below = paths::below(path, &self.path)?;
        if !below.is_empty() && !below.as_bytes().contains(&b'/') {
            // In the root itself no link can be on the way.
            return match FileStat::named(&self.handle, below) {
                Ok(stat) => Some(Found::Here(stat)),
                Err(Errno::NOENT) => Some(Found::Missing),
                Err(_) => None,
            };
        }
        match self.held(path, OFlags::NOFOLLOW) {
            Ok(held) => FileStat::of(held).ok().map(Found::Here),
            Err(Errno::NOENT) => {
                let parent = paths::parent(path)?;
                let exists = within == Some(parent) || self.held(parent, OFlags::DIRECTORY).is_ok();
                exists.then_some(Found::Missing)
            }
            Err(_) => None,
        }
    }

    fn held(&self, path: &Path, more: OFlags) -> Result<OwnedFd, Errno> {
        let below = paths::below(path, &self.path).ok_or(Errno::XDEV)?;
        let below = if below.is_empty() { OsStr::new(".") } else { below };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC | more;
        openat2(&self.handle, below, flags, Mode::empty(), beneath)
    }
}

impl View {
    /// What an open descriptor refers to.
    ///
    /// # Errors
    /// There is no such descriptor.
    pub(crate) fn descriptor(&self, fd: i32) -> io::Result<Destination> {
        let link = PathBuf::from(format!("/proc/{}/fd/{fd}", self.tid));
        let target = match self.task.link(&format!("fd/{fd}")) {
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => path_of(&link)?,
            target => target?,
        };
        if walk::is_nameless(&target) {
            return Ok(Destination::Nameless {
                shown: target.to_string_lossy().into_owned(),
                link,
            });
        }
        // Through the link: what is really open, whatever the name leads to by now.
        let found = FileStat::behind(&link).map_or(Found::Missing, Found::Here);
        Ok(Destination::File { path: target, found })
    }

    /// Resolves a path relative to a directory descriptor.
    ///
    /// # Errors
    /// The base directory is unknown, or there are too many links.
    pub(crate) fn resolve(
        &self,
        dir: i32,
        path: &[u8],
        reading: Reading,
    ) -> io::Result<Destination> {
        let given = Path::new(OsStr::from_bytes(path));
        // Only a directory can be meant.
        let directory = path.ends_with(b"/") || path.ends_with(b"/.");
        let reading = Reading { follow: reading.follow || directory, ..reading };
        let outermost = path.starts_with(b"/") && !reading.jailed;
        let opened;
        let base = match dir {
            _ if outermost => Some(Path::new("/")),
            libc::AT_FDCWD => self.task.cwd.as_deref(),
            dir => {
                opened = self.task.link(&format!("fd/{dir}")).ok();
                opened.as_deref()
            }
        };
        let seen = base.and_then(|base| self.glance(base, path, reading));
        let place = match seen.or_else(|| system_file(given, outermost && reading.follow)) {
            Some(place) => place,
            None if outermost => Walk::from_top(self)?.run(given, reading)?,
            None => {
                Walk::from_directory(self, &self.directory(dir), reading)?.run(given, reading)?
            }
        };
        Ok(match place {
            Destination::File { path, found: Found::Here(stat) } if directory && !stat.is_dir() => {
                Destination::File { path, found: Found::Unreachable(libc::ENOTDIR) }
            }
            place => place,
        })
    }

    /// The link of `/proc` that leads to a directory named by a descriptor.
    fn directory(&self, dir: i32) -> PathBuf {
        PathBuf::from(if dir == libc::AT_FDCWD {
            format!("/proc/{}/cwd", self.tid)
        } else {
            format!("/proc/{}/fd/{dir}", self.tid)
        })
    }

    /// The common case, a name below the root without links on the way: one look by the kernel
    /// instead of one for every part.
    fn glance(&self, base: &Path, given: &[u8], reading: Reading) -> Option<Destination> {
        let base_bytes = base.as_os_str().as_bytes();
        let mut path = Vec::with_capacity(base_bytes.len() + given.len() + 1);
        path.extend_from_slice(base_bytes);
        for part in given.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                // Only after the kernel has looked is it known what comes before it.
                b".." => return None,
                name => {
                    if path.last() != Some(&b'/') {
                        path.push(b'/');
                    }
                    path.extend_from_slice(name);
                }
            }
        }
        let path = PathBuf::from(OsString::from_vec(path));
        // A directory that was removed is named like that, and nothing can be in it.
        let removed = base_bytes.ends_with(b" (deleted)");
        match self.home.look(&path, (!removed).then_some(base))? {
            Found::Here(stat) if stat.is_symlink() && reading.follow => None,
            found => Some(Destination::File { path, found }),
        }
    }
}

/// A file that is there, by an absolute name that does not pass through `/proc`, where names mean
/// another thing for everybody.
fn system_file(given: &Path, suits: bool) -> Option<Destination> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let plain = ResolveFlags::NO_MAGICLINKS;
    let held = suits.then(|| openat2(CWD, given, flags, Mode::empty(), plain))?.ok()?;
    let path = fs::read_link(format!("/proc/self/fd/{}", held.as_raw_fd())).ok()?;
    if path.starts_with("/proc") || !path.is_absolute() {
        return None;
    }
    let stat = FileStat::of(held).ok()?;
    (stat.links() > 0).then_some(Destination::File { path, found: Found::Here(stat) })
}
