//! Message queues, shared memory and semaphores of the system: objects without a path, which
//! outlive the tree and belong to everybody of the same user. No guarded command gets them, and an
//! attempt is charged like a write outside.

use std::fs;

use super::{Decision, Observer, StoppedCall, error};
use crate::calls::SystemObject;
use crate::report::{Category, Charge};

impl Observer {
    pub(super) fn system_object(
        &mut self,
        seen: &StoppedCall<'_>,
        object: SystemObject,
    ) -> Decision {
        let (target, exists, changes) = match object {
            SystemObject::Queue => ("POSIX message queue".to_owned(), true, true),
            SystemObject::Key(kind) => {
                let key = seen.int(0).cast_unsigned();
                (format!("System V {} with key {key:#x}", kind.name()), true, true)
            }
            SystemObject::Id { kind, command } => {
                let id = seen.int(0);
                let changes = command.is_none_or(|index| kind.changes(seen.int(index)));
                (format!("System V {} {id}", kind.name()), kind.exists(id), changes)
            }
        };
        if !exists {
            // The kernel's own answer to an unused number.
            return error(libc::EINVAL);
        }
        if changes {
            self.record(seen, Category::FsWrite, Charge::Outside, target, false);
        } else {
            self.refused(seen.stopped.tid, seen.call.name, target);
        }
        error(libc::EACCES)
    }
}

/// A kind of System V object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    SharedMemory,
    Semaphores,
    Messages,
}

impl ObjectKind {
    const fn name(self) -> &'static str {
        match self {
            Self::SharedMemory => "shared memory",
            Self::Semaphores => "semaphores",
            Self::Messages => "message queue",
        }
    }

    /// Whether anybody has an object of this number. The answer is not let go on, so it may be old
    /// by the time it is used.
    fn exists(self, id: i32) -> bool {
        let file = match self {
            Self::SharedMemory => "/proc/sysvipc/shm",
            Self::Semaphores => "/proc/sysvipc/sem",
            Self::Messages => "/proc/sysvipc/msg",
        };
        // Without the list nothing is known, and the attempt counts.
        let Ok(list) = fs::read_to_string(file) else { return true };
        let mut ids = list.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
        ids.any(|found| found.parse() == Ok(id))
    }

    /// Whether a command of `shmctl`, `semctl` or `msgctl` does more than ask.
    fn changes(self, command: i32) -> bool {
        const ASKS: [i32; 2] = [2, 3];
        // The flag of a 64-bit layout, which the C library sets.
        let command = command & !0x100;
        let also: &[i32] = match self {
            Self::SharedMemory => &[13, 14, 15],
            Self::Semaphores => &[11, 12, 13, 14, 15, 18, 19, 20],
            Self::Messages => &[11, 12, 13],
        };
        !ASKS.contains(&command) && !also.contains(&command)
    }
}
