//! The few things the supervisor does on a command's behalf: changes of metadata, on a handle that
//! is checked before.

pub(crate) mod locks;
pub(crate) mod sockets;

use std::fs::{File, read_link};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, Uid, XattrFlags, chmodat,
    chownat, open, removexattr, setxattr, utimensat,
};

use crate::stat::FileStat;
use crate::sys::Answer;
use crate::view::path_of;

/// One change of metadata, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    Mode(u32),
    Owner {
        uid: Option<u32>,
        gid: Option<u32>,
    },
    /// Of access and of content; none for the present.
    Times(Option<[Time; 2]>),
    SetAttribute {
        name: Vec<u8>,
        value: Arc<[u8]>,
        flags: u32,
    },
    RemoveAttribute(Vec<u8>),
}

/// A time as `utimensat` takes it, with its special values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: i64,
}

/// One change, ready to be made.
#[derive(Debug)]
pub(crate) struct MetadataChange {
    pub(crate) handle: Handle,
    pub(crate) order: Order,
}

impl MetadataChange {
    /// Makes it; the answer is the kernel's own.
    pub(crate) fn make(&self) -> Answer {
        match self.handle.carry_out(&self.order) {
            Ok(()) => Answer::Done,
            Err(failure) => Answer::Error(failure.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

/// A file, held without being opened.
#[derive(Debug)]
pub(crate) struct Handle(File);

impl From<Handle> for OwnedFd {
    fn from(handle: Handle) -> Self {
        handle.0.into()
    }
}

impl Handle {
    /// Holds what is at `way` now.
    ///
    /// # Errors
    /// The kernel's own.
    pub(crate) fn open(way: &Path, follow: bool) -> io::Result<Self> {
        let last = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        // `O_PATH` neither needs nor uses a right on the file itself, and opens no device.
        let held: OwnedFd = open(way, OFlags::PATH | OFlags::CLOEXEC | last, Mode::empty())?;
        Ok(Self(held.into()))
    }

    /// What is held already.
    pub(crate) fn of(held: OwnedFd) -> Self {
        Self(held.into())
    }

    /// Its path, and what it is; no path where it has no name.
    ///
    /// # Errors
    /// The kernel's own.
    pub(crate) fn place(&self) -> io::Result<(Option<PathBuf>, FileStat)> {
        let stat = FileStat::of(&self.0)?;
        let path = match read_link(self.link()) {
            // Only directories this deep have a name that can be found.
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => {
                path_of(&self.link())?
            }
            path => path?,
        };
        // A memory file shows a path as if it had a name; it has none that can be found.
        let memory = stat.links() == 0 && path.as_os_str().as_bytes().starts_with(b"/memfd:");
        Ok(((path.is_absolute() && !memory).then_some(path), stat))
    }

    fn link(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    fn carry_out(&self, order: &Order) -> io::Result<()> {
        match order {
            Order::Mode(mode) => {
                // By the link, since `fchmod` refuses a handle of this kind.
                chmodat(CWD, self.link(), Mode::from_raw_mode(*mode), AtFlags::empty())?;
            }
            Order::Owner { uid, gid } => {
                // An empty path means the handle itself, wherever its name leads by now.
                let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
                chownat(&self.0, "", uid, gid, AtFlags::EMPTY_PATH)?;
            }
            Order::Times(times) => {
                utimensat(&self.0, "", &timestamps(*times), AtFlags::EMPTY_PATH)?;
            }
            Order::SetAttribute { name, value, flags } => {
                setxattr(self.link(), &**name, value, XattrFlags::from_bits_retain(*flags))?;
            }
            Order::RemoveAttribute(name) => removexattr(self.link(), &**name)?,
        }
        Ok(())
    }
}

fn timestamps(times: Option<[Time; 2]>) -> Timestamps {
    let now = Time { seconds: 0, nanoseconds: UTIME_NOW };
    let [access, content] = times.unwrap_or([now; 2]);
    let time = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds };
    Timestamps { last_access: time(access), last_modification: time(content) }
}
