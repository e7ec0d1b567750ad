//! Calls on other processes: signals, priorities, memory.

use std::fs;
use std::io;

use super::{CONTINUE, Decision, Observer, StoppedCall, error};
use crate::calls::{IO_PRIORITY_OF_USER, PRIORITY_OF_USER};
use crate::policy::Reads;
use crate::report::{Category, Charge};
use crate::tree;
use crate::view::Destination;

/// Whom a call is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// The caller's own process or group.
    Own,
    Process(u32),
    Group(u32),
    Everybody,
}

impl Observer {
    pub(super) fn process(
        &mut self,
        seen: &StoppedCall<'_>,
        pid: usize,
        signal: Option<usize>,
    ) -> Decision {
        // `prlimit64` without new limits only asks.
        if seen.call.number == libc::SYS_prlimit64 && seen.arg(2) == 0 {
            return CONTINUE;
        }
        // Signal 0 and a handle change nothing.
        let asks = signal.is_some_and(|index| seen.int(index) == 0)
            || seen.call.number == libc::SYS_pidfd_open;
        let aim = aim(seen, pid);
        self.reach(seen, aim, asks)
    }

    /// Lets pass what stays in the tree, fails what matches no process, charges the rest. Asking
    /// whether a process exists changes nothing.
    fn reach(&mut self, seen: &StoppedCall<'_>, aim: Aim, asks: bool) -> Decision {
        match aim {
            Aim::Own => return CONTINUE,
            Aim::Process(pid) if tree::contains(self.reaper, pid) => return CONTINUE,
            Aim::Process(pid) if tree::parent(pid).is_none() => return error(libc::ESRCH),
            Aim::Group(group) => match tree::group(self.reaper, group) {
                tree::Group::Own => return CONTINUE,
                tree::Group::Empty => return error(libc::ESRCH),
                tree::Group::Foreign => {}
            },
            Aim::Process(_) | Aim::Everybody => {}
        }
        let target = match aim {
            Aim::Process(pid) => format!("process {pid}"),
            Aim::Group(group) => format!("process group {group}"),
            Aim::Own | Aim::Everybody => "all processes".to_owned(),
        };
        if asks {
            self.refused(seen.stopped.tid, seen.call.name, target);
        } else {
            self.charge(seen, Category::OutsideProcess, Charge::Outside, target, None);
        }
        error(libc::EPERM)
    }

    /// `pidfd_send_signal`: the descriptor refers to the process.
    pub(super) fn signal_handle(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        let handle = seen.int(0);
        if handle <= SELF_HANDLES {
            return Ok(CONTINUE);
        }
        let asks = seen.int(1) == 0;
        let pid = match seen.view.descriptor(handle)? {
            Destination::Nameless { .. } => self.process_of(seen, handle),
            // A directory of `/proc` is a handle too.
            Destination::File { path, .. } => path
                .strip_prefix("/proc")
                .ok()
                .and_then(|rest| rest.iter().next()?.to_str()?.parse().ok()),
        };
        // What is gone, or is no process, gets no signal.
        let Some(pid) = pid else { return Ok(CONTINUE) };
        Ok(self.reach(seen, Aim::Process(pid), asks))
    }

    fn process_of(&self, seen: &StoppedCall<'_>, handle: i32) -> Option<u32> {
        let path = format!("/proc/{}/fdinfo/{handle}", seen.stopped.tid);
        let text = fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
    }

    /// Signals that come with input or output may be sent to another process, or a group.
    pub(super) fn owner(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        let (group, pid) = if seen.int(1) == libc::F_SETOWN {
            (seen.int(2) < 0, seen.int(2).unsigned_abs())
        } else {
            let bytes = seen.memory.bytes(seen.arg(2), 8)?;
            let word = |at: usize| {
                i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
            };
            (word(0) == OWNER_GROUP, word(4).unsigned_abs())
        };
        Ok(self.reach(seen, owner(group, pid), false))
    }

    /// The same for a socket: an `int` in memory.
    pub(super) fn socket_owner(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        let bytes = seen.memory.bytes(seen.arg(2), 4)?;
        let who = i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok(self.reach(seen, owner(who < 0, who.unsigned_abs()), false))
    }

    /// Memory of the own tree may be read; that of others is withheld by the kernel, and counts
    /// like a file of theirs.
    pub(super) fn peek(&mut self, seen: &StoppedCall<'_>, pid: usize) -> Decision {
        let pid = seen.int(pid).unsigned_abs();
        if tree::contains(self.reaper, pid) {
            return CONTINUE;
        }
        if tree::parent(pid).is_none() {
            return error(libc::ESRCH);
        }
        let charge = if matches!(self.policy.reads, Reads::Deny { .. }) {
            Charge::Outside
        } else {
            Charge::Listed
        };
        self.record(seen, Category::FsRead, charge, format!("memory of process {pid}"), false);
        error(libc::EPERM)
    }

    /// Tracing, and writing another's memory: always refused, and charged where aimed outside.
    pub(super) fn refuse_process(&mut self, seen: &StoppedCall<'_>, pid: usize) -> Decision {
        const TRACE_ME: i32 = 0;
        let me = seen.call.number == libc::SYS_ptrace && seen.int(0) == TRACE_ME;
        let pid = seen.int(pid).unsigned_abs();
        if me || tree::contains(self.reaper, pid) {
            self.refused(seen.stopped.tid, seen.call.name, String::new());
            return error(libc::EPERM);
        }
        self.reach(seen, Aim::Process(pid), false)
    }
}

/// `PIDFD_SELF_THREAD` and below: the caller itself.
const SELF_HANDLES: i32 = -10_000;
const OWNER_GROUP: i32 = 2;

fn owner(group: bool, pid: u32) -> Aim {
    match (group, pid) {
        (_, 0) => Aim::Own,
        (true, pid) => Aim::Group(pid),
        (false, pid) => Aim::Process(pid),
    }
}

fn aim(seen: &StoppedCall<'_>, pid: usize) -> Aim {
    const BY_PROCESS: u32 = 0;
    const BY_GROUP: u32 = 1;
    let which = seen.int(0).cast_unsigned();
    let who = seen.int(pid);
    let id = who.unsigned_abs();
    // `ioprio_set` counts its kinds from one.
    let kind = match seen.call.number {
        libc::SYS_setpriority if which == PRIORITY_OF_USER => return Aim::Everybody,
        libc::SYS_ioprio_set if which == IO_PRIORITY_OF_USER => return Aim::Everybody,
        libc::SYS_setpriority => which,
        libc::SYS_ioprio_set => which.wrapping_sub(1),
        libc::SYS_kill if who == -1 => return Aim::Everybody,
        libc::SYS_kill if who < 0 => BY_GROUP,
        // No such number: the kernel says so.
        _ if who < 0 => return Aim::Own,
        _ => BY_PROCESS,
    };
    match (kind, id) {
        (_, 0) => Aim::Own,
        (BY_GROUP, group) => Aim::Group(group),
        (_, pid) => Aim::Process(pid),
    }
}
