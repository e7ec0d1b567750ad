//! Locks that the supervisor takes for the command, on a duplicate of its descriptor.
//!
//! `flock` and locks of open files (`F_OFD_SETLK`) belong to the open file, which the duplicate
//! shares: they are the command's own, end with its last descriptor, and it gives them up by itself.
#![expect(unsafe_code, reason = "a copy of the caller's structure is handed to the kernel")]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

/// Bytes of a `struct flock` of both supported machines.
pub(crate) const RANGE_BYTES: usize = 32;
/// How often a lock that another one holds is asked for again.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// What is locked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent {
    /// The file; the operation of `flock` without `LOCK_NB`.
    Whole(i32),
    /// A part of it, by a copy of the caller's structure.
    Range([u8; RANGE_BYTES]),
}

/// One lock, ready to be taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LockOrder {
    pub(crate) extent: Extent,
    /// The caller waits until nobody else has it.
    pub(crate) waits: bool,
}

impl LockOrder {
    /// Takes it. Where it has to wait it asks again and again: a wait inside the kernel could be
    /// ended by nobody, neither by the caller's end nor by its signals. `leaves` says whether the
    /// caller does not wait any more.
    ///
    /// # Errors
    /// The kernel's own; `EINTR` where the caller was called away.
    pub(crate) fn take(&self, file: &OwnedFd, leaves: impl Fn() -> bool) -> io::Result<i64> {
        let mut pause = FIRST_PAUSE;
        loop {
            let taken = self.try_once(file);
            let held = |error: &io::Error| {
                matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES))
            };
            if !(self.waits && taken.as_ref().is_err_and(held)) {
                return taken;
            }
            if leaves() {
                return Err(io::Error::from_raw_os_error(libc::EINTR));
            }
            thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn try_once(&self, file: &OwnedFd) -> io::Result<i64> {
        let descriptor = file.as_raw_fd();
        let result = match self.extent {
            // SAFETY: takes numbers.
            Extent::Whole(operation) => unsafe {
                libc::flock(descriptor, operation | libc::LOCK_NB)
            },
            Extent::Range(mut bytes) => {
                // SAFETY: the kernel reads a structure of this length; it may write it too.
                unsafe { libc::fcntl(descriptor, libc::F_OFD_SETLK, bytes.as_mut_ptr()) }
            }
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(i64::from(result)) }
    }
}

/// Whether a signal waits for a thread that has a handler for it: without the supervisor it would
/// end the thread's wait.
pub(crate) fn is_called_away(tid: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{tid}/status")) else { return true };
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        u64::from_str_radix(line.trim(), 16).unwrap_or(0)
    };
    let waiting = mask("SigPnd:") | mask("ShdPnd:");
    waiting & !mask("SigBlk:") & mask("SigCgt:") != 0
}
