//! Locks, leases and hints. A lock on a file outside keeps other programs from it, or makes them
//! wait: it is charged like a write there (M3), also on a device that may be written freely.
//!
//! What belongs to the open file the supervisor takes itself, on a duplicate of the descriptor, so
//! that the file which was judged is the one that is locked. What belongs to the process
//! (`F_SETLK`) no other process can take: such a call goes on.

use std::io;
use std::path::Path;

use super::{CONTINUE, Decision, Observer, SIGNALS_CONFINED, StoppedCall, error};
use crate::calls::{F_SET_RW_HINT, F_SETDELEG, F_SETOWN_EX};
use crate::emulate::Handle;
use crate::emulate::locks::{Extent, LockRequest, RANGE_BYTES};
use crate::emulate::sockets::Action;
use crate::report::{Category, Charge};
use crate::resolved_policy::PathZone;
use crate::sys::Answer;
use crate::view::{Destination, Found};

/// The records of who is logged in: the C library locks them while it reads them.
const LOGIN_RECORDS: [&str; 3] = ["/run/utmp", "/var/run/utmp", "/var/log/wtmp"];

impl Observer {
    /// `fcntl`. Its command is a register.
    pub(super) fn control(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        match seen.int(1) {
            // The process it names is in memory: only Landlock keeps the signals in the tree.
            F_SETOWN_EX if self.abi < SIGNALS_CONFINED => Ok(error(libc::EINVAL)),
            libc::F_SETOWN | F_SETOWN_EX => self.owner(seen),
            libc::F_SETLEASE | F_SETDELEG => self.lease(seen),
            F_SET_RW_HINT => self.hint(seen),
            libc::F_SETLK | libc::F_SETLKW => self.lock_of_process(seen),
            command => {
                let mut copy = Vec::with_capacity(RANGE_BYTES);
                seen.memory.copy_into(&mut copy, seen.arg(2), RANGE_BYTES)?;
                let Ok(range) = <[u8; RANGE_BYTES]>::try_from(copy) else {
                    return Ok(error(libc::EFAULT));
                };
                let waits = command == libc::F_OFD_SETLKW;
                self.lock_of_file(seen, LockRequest { extent: Extent::Range(range), waits })
            }
        }
    }

    /// `flock`. Its operation is a register.
    pub(super) fn lock(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        let operation = seen.int(1);
        match operation & !libc::LOCK_NB {
            whole @ (libc::LOCK_SH | libc::LOCK_EX) => {
                let waits = operation & libc::LOCK_NB == 0;
                self.lock_of_file(seen, LockRequest { extent: Extent::Whole(whole), waits })
            }
            // The kernel has no such operation either.
            _ => Ok(error(libc::EINVAL)),
        }
    }

    /// A lock that belongs to the open file.
    fn lock_of_file(&mut self, seen: &StoppedCall<'_>, lock: LockRequest) -> io::Result<Decision> {
        let held = match self.hold(seen)? {
            Ok(held) => held,
            Err(decision) => return Ok(decision),
        };
        // What is judged is what is held: its number may be another file's by now.
        if let (Some(path), stat) = Handle::of(held.socket.try_clone()?).place()?
            && self.kept_zone(&path, &Found::Here(stat)) == PathZone::Outside
        {
            let gives_up =
                matches!(lock.extent, Extent::Range(range) if kind(&range) == libc::F_UNLCK);
            return Ok(self.lock_outside(seen, &path, gives_up));
        }
        self.perform_on(seen, held, Action::Lock(lock))
    }

    /// A lock that belongs to the process.
    fn lock_of_process(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        let Destination::File { path, found } = seen.view.descriptor(seen.int(0))? else {
            return Ok(CONTINUE);
        };
        if self.kept_zone(&path, &found) != PathZone::Outside {
            return Ok(CONTINUE);
        }
        let range = seen.memory.bytes(seen.arg(2), RANGE_BYTES)?;
        Ok(self.lock_outside(seen, &path, kind(&range) == libc::F_UNLCK))
    }

    /// Never taken. Unlocking succeeds, since no lock can be held; locks on login records succeed
    /// without effect, so that a program that reads them goes on (M15).
    fn lock_outside(&mut self, seen: &StoppedCall<'_>, path: &Path, gives_up: bool) -> Decision {
        if gives_up || LOGIN_RECORDS.iter().any(|record| path == Path::new(record)) {
            return Decision::Answer(Answer::Done);
        }
        self.record(seen, Category::FsWrite, Charge::Outside, seen.show(path), false);
        error(libc::ENOLCK)
    }

    /// No command gets a lease: other programs would wait for it, and the kernel would signal the
    /// supervisor if that took it. The answer is that of file systems without leases.
    fn lease(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        if seen.int(1) == libc::F_SETLEASE && seen.int(2) == libc::F_UNLCK {
            return Ok(CONTINUE);
        }
        if let Destination::File { path, found } = seen.view.descriptor(seen.int(0))?
            && self.zone(&path, &found) == PathZone::Outside
        {
            self.record(seen, Category::FsWrite, Charge::Outside, seen.show(&path), false);
        }
        Ok(error(libc::EINVAL))
    }

    /// How long a file's data is expected to be kept. A descriptor that is open for reading is
    /// enough to set it, and every other program finds it changed. No command may: programs go on
    /// without, as on kernels that have no such hints.
    fn hint(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        if let Destination::File { path, found } = seen.view.descriptor(seen.int(0))? {
            let zone = self.kept_zone(&path, &found);
            self.refused_change(seen, zone, &path);
        }
        Ok(error(libc::EINVAL))
    }
}

/// Whether a `struct flock` asks for a lock, and for which.
fn kind(range: &[u8]) -> i32 {
    let kind = range.first_chunk().copied().unwrap_or_default();
    i32::from(i16::from_ne_bytes(kind))
}
