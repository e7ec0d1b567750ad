//! Names as the stopped process means them: read from its memory and resolved in its view, as far as that can be known from outside.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use crate::sys;
use crate::tasks::Task;

mod above;
mod walk;

pub(crate) use above::path_of;
use walk::Walk;

const PATH_MAX: usize = 4096;

/// Where a name leads.
#[derive(Debug)]
pub(crate) enum Place {
    /// Something with a name; whether it is there.
    File { path: PathBuf, found: Found },
    /// Something without a name: a pipe, a socket, memory. `link` is the way to it in `/proc`.
    Nameless { shown: String, link: PathBuf },
}

/// What is at the end of a path.
#[derive(Debug)]
pub(crate) enum Found {
    Here(Metadata),
    /// Nothing, but a directory in which it could be.
    Missing,
    /// The way ends before; whatever the call, the kernel answers with this error number.
    Nowhere(i32),
    /// We may not look; then the process may not either, unless the host separates users in unusual ways.
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
pub(crate) struct View<'v> {
    pub(crate) tid: u32,
    pub(crate) task: Task,
    /// The reaper of the tree: what does not descend from it is foreign.
    pub(crate) keeper: i32,
    /// Where most names lead.
    pub(crate) home: &'v Home,
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

    /// What stands at a place below the root that is reached without any symbolic link; `None` where that is not so, or not known.
    /// `within` is a directory that is there.
    fn look(&self, path: &Path, within: Option<&Path>) -> Option<Found> {
        match self.held(path, OFlags::NOFOLLOW) {
            Ok(held) => File::from(held).metadata().ok().map(Found::Here),
            Err(Errno::NOENT) => {
                let parent = path.parent()?;
                let stands = within == Some(parent) || self.held(parent, OFlags::DIRECTORY).is_ok();
                stands.then_some(Found::Missing)
            }
            Err(_) => None,
        }
    }

    fn held(&self, path: &Path, more: OFlags) -> Result<OwnedFd, Errno> {
        let below = path.strip_prefix(&self.path).map_err(|_| Errno::XDEV)?;
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC | more;
        openat2(&self.handle, below, flags, Mode::empty(), beneath)
    }
}

impl View<'_> {
    /// A string of the process.
    ///
    /// # Errors
    /// The address cannot be read, or nothing ends the string.
    pub(crate) fn string(&self, address: u64) -> io::Result<Vec<u8>> {
        let page = sys::page_bytes();
        let mut text = Vec::new();
        let mut at = address;
        while text.len() < PATH_MAX {
            let mut chunk = [0u8; 256];
            // Never across a page: the next one may not be mapped.
            let length = usize::try_from((page - at % page).min(256)).unwrap_or(256);
            let read = sys::read_memory(self.tid, at, &mut chunk[..length])?;
            if let Some(end) = chunk[..read].iter().position(|byte| *byte == 0) {
                text.extend_from_slice(&chunk[..end]);
                return Ok(text);
            }
            if read == 0 {
                break;
            }
            text.extend_from_slice(&chunk[..read]);
            at = at.saturating_add(read as u64);
        }
        Err(io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Whether this string stands at an address.
    pub(crate) fn has_string(&self, address: u64, text: &[u8]) -> bool {
        let mut now = vec![0; text.len() + 1];
        let read = sys::read_memory(self.tid, address, &mut now).unwrap_or(0);
        read == now.len() && now.strip_suffix(&[0]) == Some(text)
    }

    /// Bytes of the process, exactly as many as asked.
    ///
    /// # Errors
    /// The address cannot be read.
    pub(crate) fn bytes(&self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = sys::read_memory(self.tid, address, &mut bytes)?;
        if read == length { Ok(bytes) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
    }

    /// The addresses in an array that ends with a null pointer, as far as they can be read.
    pub(crate) fn pointers(&self, address: u64, most: usize) -> Vec<u64> {
        let mut bytes = vec![0; most * 8];
        let read = sys::read_memory(self.tid, address, &mut bytes).unwrap_or(0);
        let words = bytes[..read].chunks_exact(8);
        words
            .map(|word| word.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
            .take_while(|address| *address != 0)
            .collect()
    }

    /// What an open descriptor refers to.
    ///
    /// # Errors
    /// There is no such descriptor.
    pub(crate) fn descriptor(&self, fd: i32) -> io::Result<Place> {
        let link = PathBuf::from(format!("/proc/{}/fd/{fd}", self.tid));
        let target = match self.task.link(format!("fd/{fd}")) {
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => path_of(&link)?,
            target => target?,
        };
        if walk::is_nameless(&target) {
            return Ok(Place::Nameless { shown: target.to_string_lossy().into_owned(), link });
        }
        // Through the link: what is really open, whatever the name leads to by now.
        let found = fs::metadata(&link).map_or(Found::Missing, Found::Here);
        Ok(Place::File { path: target, found })
    }

    /// Resolves a path relative to a directory descriptor.
    ///
    /// # Errors
    /// The base directory is unknown, or there are too many links.
    pub(crate) fn resolve(&self, dir: i32, path: &[u8], reading: Reading) -> io::Result<Place> {
        use std::os::unix::ffi::OsStrExt as _;
        let given = Path::new(std::ffi::OsStr::from_bytes(path));
        // Only a directory can be meant.
        let directory = path.ends_with(b"/") || path.ends_with(b"/.");
        let reading = Reading { follow: reading.follow || directory, ..reading };
        let link = if dir == libc::AT_FDCWD {
            PathBuf::from(format!("/proc/{}/cwd", self.tid))
        } else {
            PathBuf::from(format!("/proc/{}/fd/{dir}", self.tid))
        };
        let outermost = given.is_absolute() && !reading.jailed;
        let base = match dir {
            _ if outermost => Some(PathBuf::from("/")),
            libc::AT_FDCWD => self.task.cwd.clone(),
            dir => self.task.link(format!("fd/{dir}")).ok(),
        };
        let seen = base.and_then(|base| self.glance(&base, given, reading));
        let place = match seen.or_else(|| system_file(given, outermost && reading.follow)) {
            Some(place) => place,
            None if outermost => Walk::from_top(self)?.run(given, reading)?,
            None => Walk::from_directory(self, &link, reading)?.run(given, reading)?,
        };
        Ok(match place {
            Place::File { path, found: Found::Here(metadata) }
                if directory && !metadata.is_dir() =>
            {
                Place::File { path, found: Found::Nowhere(libc::ENOTDIR) }
            }
            place => place,
        })
    }

    /// The common case, a name below the root without links on the way: one look by the kernel instead of one for every part.
    fn glance(&self, base: &Path, given: &Path, reading: Reading) -> Option<Place> {
        let mut path = base.to_owned();
        for part in given.components() {
            match part {
                Component::Normal(name) => path.push(name),
                // Only after the kernel has looked is it known what stands before it.
                Component::ParentDir => return None,
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        // A directory that was removed is named like that, and nothing can be in it.
        let removed = base.as_os_str().as_encoded_bytes().ends_with(b" (deleted)");
        match self.home.look(&path, (!removed).then_some(base))? {
            Found::Here(metadata) if metadata.is_symlink() && reading.follow => None,
            found => Some(Place::File { path, found }),
        }
    }
}

/// A file that is there, by an absolute name that leads nowhere into `/proc`, where names mean another thing for everybody.
fn system_file(given: &Path, suits: bool) -> Option<Place> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let plain = ResolveFlags::NO_MAGICLINKS;
    let held = suits.then(|| openat2(CWD, given, flags, Mode::empty(), plain))?.ok()?;
    let path = fs::read_link(format!("/proc/self/fd/{}", held.as_raw_fd())).ok()?;
    if path.starts_with("/proc") || !path.is_absolute() {
        return None;
    }
    let metadata = File::from(held).metadata().ok()?;
    (metadata.nlink() > 0).then_some(Place::File { path, found: Found::Here(metadata) })
}
