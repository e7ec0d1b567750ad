//! Locks that the supervisor takes for the command, on a duplicate of its descriptor.
//!
//! `flock` and locks of open files (`F_OFD_SETLK`) belong to the open file, which the duplicate
//! shares: they are the command's own, end with its last descriptor, and it unlocks them itself.
#![expect(unsafe_code, reason = "a copy of the caller's structure is handed to the kernel")]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

/// Bytes of a `struct flock` of both supported machines.
pub(crate) const RANGE_BYTES: usize = 32;
/// Pauses between two attempts to take a lock that another process holds.
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
pub(crate) struct LockRequest {
    pub(crate) extent: Extent,
    /// The caller waits while another process holds it.
    pub(crate) waits: bool,
}

impl LockRequest {
    /// Takes it. Where it has to wait, it polls with `LOCK_NB`: the end of the caller or a signal
    /// for it could not wake a thread of the supervisor that waits inside the kernel. `should_stop`
    /// tells whether the caller no longer waits.
    ///
    /// # Errors
    /// The kernel's own; `EINTR` where the caller no longer waits.
    pub(crate) fn take(&self, file: &OwnedFd, should_stop: impl Fn() -> bool) -> io::Result<i64> {
        let mut pause = FIRST_PAUSE;
        loop {
            let taken = self.try_once(file);
            let held = |error: &io::Error| {
                matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES))
            };
            if !(self.waits && taken.as_ref().is_err_and(held)) {
                return taken;
            }
            if should_stop() {
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

/// Whether a signal is pending for a thread that has a handler for it: without the supervisor it
/// would end the thread's wait.
pub(crate) fn has_pending_handled_signal(tid: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{tid}/status")) else { return true };
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        u64::from_str_radix(line.trim(), 16).unwrap_or(0)
    };
    let waiting = mask("SigPnd:") | mask("ShdPnd:");
    waiting & !mask("SigBlk:") & mask("SigCgt:") != 0
}
