//! The command's process tree, read from `/proc`.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::sys;

/// What the tree uses now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) processes: u64,
    pub(crate) threads: u64,
    pub(crate) memory_bytes: u64,
    /// Of the living and of those already reaped.
    pub(crate) cpu_ms: u64,
}

/// Whether a process or thread descends from `keeper`.
pub(crate) fn contains(keeper: i32, pid: u32) -> bool {
    let mut at = pid;
    // Deeper chains than this are not made within the process limit.
    for _ in 0..100_000 {
        let Some(parent) = parent(at) else { return false };
        if i64::from(parent) == i64::from(keeper) {
            return true;
        }
        if parent <= 1 {
            return false;
        }
        at = parent;
    }
    false
}

/// How many tasks a user has, whoever started them.
pub(crate) fn tasks_of(uid: u32) -> u64 {
    let Ok(names) = fs::read_dir("/proc") else { return 0 };
    let own = names
        .filter_map(Result::ok)
        .filter(|name| name.metadata().is_ok_and(|metadata| metadata.uid() == uid));
    let pids = own.filter_map(|name| name.file_name().to_str().and_then(|pid| pid.parse().ok()));
    pids.filter_map(|pid: u32| stat(pid)).map(|fields| number(&fields, THREADS)).sum()
}

/// Adds up the tree below `keeper`.
pub(crate) fn usage(keeper: i32) -> Usage {
    let mut usage = Usage::default();
    let mut shared = 0;
    let mut ticks = stat(keeper.unsigned_abs())
        .map_or(0, |fields| number(&fields, CUTIME) + number(&fields, CUTIME + 1));
    let mut waiting = children(keeper.unsigned_abs());
    while let Some(pid) = waiting.pop() {
        let Some(fields) = stat(pid) else { continue };
        ticks += (UTIME..UTIME + 4).map(|field| number(&fields, field)).sum::<u64>();
        if fields.first().is_some_and(|state| state != "Z") {
            usage.processes += 1;
            usage.threads += number(&fields, THREADS);
            let (private, mapped) = memory(pid);
            usage.memory_bytes += private;
            shared = mapped.max(shared);
        }
        waiting.extend(children(pid));
    }
    usage.memory_bytes += shared;
    usage.cpu_ms = ticks * 1_000 / sys::ticks_per_second();
    usage
}

/// Stops every process below `keeper`, until none is found that was not stopped before. A tree that forks as fast as it can is
/// held still this way, at whatever size it has, before it is killed.
pub(crate) fn freeze(keeper: i32) {
    let mut stopped = HashSet::new();
    for _ in 0..MAX_SWEEPS {
        let mut found = false;
        let mut waiting = children(keeper.unsigned_abs());
        while let Some(pid) = waiting.pop() {
            if stopped.insert(pid) {
                found = true;
                stop(keeper, pid);
            }
            waiting.extend(children(pid));
        }
        if !found {
            return;
        }
    }
}

/// By a handle that is checked after it was opened: a pid may be another's by now.
fn stop(keeper: i32, pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty())
        && contains(keeper, pid.as_raw_nonzero().get().unsigned_abs())
    {
        // One that is gone already needs no stopping.
        let _ = pidfd_send_signal(&handle, Signal::STOP);
    }
}

const MAX_SWEEPS: usize = 100;

// Counted from the state, the field after the name.
const PARENT: usize = 1;
const UTIME: usize = 11;
const CUTIME: usize = 13;
const THREADS: usize = 17;

/// The fields after the name, which may itself hold anything but ends at the last parenthesis.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?).into_owned();
    Some(text.get(text.rfind(')')? + 1..)?.split_whitespace().map(str::to_owned).collect())
}

fn number(fields: &[String], field: usize) -> u64 {
    fields.get(field).and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(crate) fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|fields| u32::try_from(number(&fields, PARENT)).unwrap_or(0))
}

/// Children hang on the thread that made them.
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")) else {
        return Vec::new();
    };
    let lists = threads
        .filter_map(Result::ok)
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
        })
        .collect()
}

/// Resident bytes that are the process's own, and those it may share.
fn memory(pid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: Vec<u64> = text.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    let (resident, shared) =
        (pages.get(1).copied().unwrap_or(0), pages.get(2).copied().unwrap_or(0));
    (resident.saturating_sub(shared) * sys::page_bytes(), shared * sys::page_bytes())
}
