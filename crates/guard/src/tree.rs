//! The command's process tree, read from `/proc`.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal, setpriority_pgrp,
    test_kill_process_group,
};

use crate::policy::Limits;
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

/// Whether a process or thread descends from `reaper`.
pub(crate) fn contains(reaper: i32, pid: u32) -> bool {
    let mut at = pid;
    // Deeper chains than this are not made within the process limit.
    for _ in 0..100_000 {
        let Some(parent) = parent(at) else { return false };
        if i64::from(parent) == i64::from(reaper) {
            return true;
        }
        if parent <= 1 {
            return false;
        }
        at = parent;
    }
    false
}

/// Whose a process group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// A process of the tree is in it. The kernel keeps signals from others in it.
    Own,
    Empty,
    Foreign,
}

/// Looks for members of a group below `reaper`, then anywhere.
pub(crate) fn group(reaper: i32, group: u32) -> Group {
    let mut waiting = children(reaper.unsigned_abs());
    while let Some(pid) = waiting.pop() {
        if stat(pid).is_some_and(|fields| number(&fields, GROUP) == u64::from(group)) {
            return Group::Own;
        }
        waiting.extend(children(pid));
    }
    let found = i32::try_from(group).ok().and_then(Pid::from_raw).map(test_kill_process_group);
    if matches!(found, Some(Err(rustix::io::Errno::SRCH)) | None) {
        Group::Empty
    } else {
        Group::Foreign
    }
}

/// Tasks on the whole system up to which they need not be counted by user.
const FEW_TASKS: u64 = 1_000;

/// At least as many tasks as a user has, whichever program started them; not many more.
pub(crate) fn tasks_of(uid: u32) -> u64 {
    let all = fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split_whitespace().nth(3)?.split_once('/')?.1.parse::<u64>().ok());
    if let Some(all) = all.filter(|all| *all <= FEW_TASKS) {
        return all;
    }
    let Ok(names) = fs::read_dir("/proc") else { return 0 };
    let own = names
        .filter_map(Result::ok)
        .filter(|name| name.metadata().is_ok_and(|metadata| metadata.uid() == uid));
    let pids = own.filter_map(|name| name.file_name().to_str().and_then(|pid| pid.parse().ok()));
    pids.filter_map(|pid: u32| stat(pid)).map(|fields| number(&fields, THREADS)).sum()
}

/// Adds up the tree below `reaper`. Memory that several processes have in common is counted once;
/// that takes long to find out, and is only done where it matters for a limit. With `files`, what
/// is in open files of nothing but memory counts too, mapped or not. More processes than the limit
/// are not looked for any further: among many that run, every look takes long. `only` is the child
/// of the reaper that has made no other process, where that is known: then no
/// other one is looked for.
pub(crate) fn usage(reaper: i32, only: Option<u32>, limits: &Limits, files: bool) -> Usage {
    let mut usage = Usage::default();
    let mut living = Vec::new();
    let mut ticks = stat(reaper.unsigned_abs())
        .map_or(0, |fields| number(&fields, CUTIME) + number(&fields, CUTIME + 1));
    let mut waiting = only.map_or_else(|| children(reaper.unsigned_abs()), |only| vec![only]);
    while let Some(pid) = waiting.pop() {
        let Some(fields) = stat(pid) else { continue };
        if only.is_some() && number(&fields, PARENT) != u64::from(reaper.unsigned_abs()) {
            // It has ended, and another process has its number.
            continue;
        }
        ticks += (UTIME..UTIME + 4).map(|field| number(&fields, field)).sum::<u64>();
        // A zombie uses nothing any more; only its time counts.
        if fields.first().is_some_and(|state| state != "Z") {
            usage.processes += 1;
            usage.threads += number(&fields, THREADS);
            usage.memory_bytes += number(&fields, RESIDENT) * sys::page_bytes();
            living.push(pid);
        }
        if usage.processes > limits.processes {
            break;
        }
        if only.is_none() {
            waiting.extend(children(pid));
        }
    }
    let files = if files { memory_files(&living) } else { 0 };
    if usage.memory_bytes + files > limits.memory_bytes {
        let (mapped, shared) = living
            .into_iter()
            .map(proportional)
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        // What is mapped of such a file is shared memory: the greater of both, not the sum.
        usage.memory_bytes = mapped - shared.min(mapped) + shared.max(files);
    }
    usage.cpu_ms = ticks * 1_000 / sys::ticks_per_second();
    usage
}

/// Stops every process below `reaper`, until none is found that was not stopped before. A tree that
/// forks as fast as it can is held still this way, at whatever size it has, before it is killed.
/// Most of it is in the group of the command's own process, which is put last in line for
/// processors and stopped as a whole: among a thousand that run, this process would wait long for
/// its turn.
pub(crate) fn freeze(reaper: i32, main: u32) {
    let leader = i32::try_from(main).ok().and_then(Pid::from_raw);
    if let Some(leader) = leader.filter(|_| parent(main) == Some(reaper.unsigned_abs())) {
        // Processes that left the group are found below.
        let _ = setpriority_pgrp(Some(leader), 19);
        let _ = kill_process_group(leader, Signal::STOP);
    }
    let mut stopped = HashSet::new();
    for _ in 0..MAX_SWEEPS {
        let mut found = false;
        let mut waiting = children(reaper.unsigned_abs());
        while let Some(pid) = waiting.pop() {
            if stopped.insert(pid) {
                found = true;
                stop(reaper, pid);
            }
            waiting.extend(children(pid));
        }
        if !found {
            return;
        }
    }
}

/// By a handle that is checked after it was opened: a pid may be another's by now.
fn stop(reaper: i32, pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty())
        && contains(reaper, pid.as_raw_nonzero().get().unsigned_abs())
    {
        // One that is gone already needs no stopping.
        let _ = pidfd_send_signal(&handle, Signal::STOP);
    }
}

const MAX_SWEEPS: usize = 100;

// Counted from the state, the field after the name.
const PARENT: usize = 1;
const GROUP: usize = 2;
const UTIME: usize = 11;
const CUTIME: usize = 13;
const THREADS: usize = 17;
const START: usize = 19;
const RESIDENT: usize = 21;

/// The fields after the name, which may itself hold anything but ends at the last parenthesis.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text =
        String::from_utf8_lossy(&read(Path::new(&format!("/proc/{pid}/stat")))?).into_owned();
    Some(text.get(text.rfind(')')? + 1..)?.split_whitespace().map(str::to_owned).collect())
}

/// The content of a file of `/proc`, whose size is not known before: with few calls, since this is
/// done while a call waits.
pub(crate) fn read(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let mut content = vec![0; 4096];
    let mut length = 0;
    loop {
        let read = file.read(&mut content[length..]).ok()?;
        length += read;
        // These files give a whole buffer as long as there is more.
        if length < content.len() {
            content.truncate(length);
            return Some(content);
        }
        content.resize(2 * length, 0);
    }
}

fn number(fields: &[String], field: usize) -> u64 {
    fields.get(field).and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(crate) fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|fields| u32::try_from(number(&fields, PARENT)).unwrap_or(0))
}

/// When a process was made, in ticks of the kernel's clock.
pub(crate) fn born(pid: u32) -> Option<u64> {
    stat(pid).map(|fields| number(&fields, START))
}

/// The process a thread belongs to.
pub(crate) fn process_of(tid: u32) -> Option<u32> {
    // Only a process has a handle of this kind, and asking for it is much cheaper than its status.
    let id = i32::try_from(tid).ok().and_then(Pid::from_raw)?;
    if pidfd_open(id, PidfdFlags::empty()).is_ok() {
        return Some(tid);
    }
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// Children hang on the thread that made them.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")) else {
        return Vec::new();
    };
    let lists =
        threads.filter_map(Result::ok).filter_map(|thread| read(&thread.path().join("children")));
    lists
        .flat_map(|list| {
            String::from_utf8_lossy(&list)
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

/// Resident bytes of a process, what it has in common with others divided by their number; and the
/// part of it that is shared memory.
fn proportional(pid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1_024)
    };
    line("Pss:").map_or_else(
        // Unknown here: then all of it.
        || (stat(pid).map_or(0, |fields| number(&fields, RESIDENT) * sys::page_bytes()), 0),
        |all| (all, line("Pss_Shmem:").unwrap_or(0)),
    )
}

/// The links of `/proc` to what a process has open. Every thread can have descriptors of its own
/// (`unshare` with `CLONE_FILES`); what threads share is listed once.
pub(crate) fn descriptors(pid: u32) -> Vec<PathBuf> {
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    let threads = fs::read_dir(&tasks).into_iter().flatten();
    let threads = threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok());
    let mut tables: Vec<u32> = Vec::new();
    for thread in threads {
        // Where the kernel does not compare them, a table that is shared is listed more than once.
        let compare = |known: &u32| sys::compare_descriptors(*known, thread);
        let place = tables.binary_search_by(|known| compare(known).unwrap_or(Ordering::Less));
        if let Err(place) = place {
            tables.insert(place, thread);
        }
    }
    let folders = tables.iter().map(|thread| tasks.join(thread.to_string()).join("fd"));
    let lists = folders.filter_map(|folder| fs::read_dir(folder).ok());
    lists.flatten().filter_map(|link| Some(link.ok()?.path())).collect()
}

/// Bytes in open files of nothing but memory, each counted once.
fn memory_files(pids: &[u32]) -> u64 {
    let mut seen = HashSet::new();
    let files = pids.iter().flat_map(|pid| descriptors(*pid)).filter(|link| {
        fs::read_link(link)
            .is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"))
    });
    let found = files.filter_map(|link| fs::metadata(link).ok());
    found
        .filter(|metadata| seen.insert((metadata.dev(), metadata.ino())))
        .map(|metadata| metadata.blocks() * 512)
        .sum()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_known_to_be_alone_is_looked_at_alone() {
        let own = std::process::id();
        let mut child = Command::new("/bin/sleep").arg("600").spawn().unwrap();
        let of = |only| usage(own.cast_signed(), Some(only), &Limits::default(), false);
        assert_eq!(of(child.id()).processes, 1);
        // No child of this process: the number is another one's by now.
        assert_eq!(of(own).processes, 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(of(child.id()).processes, 0);
    }
}
