//! The threads that make calls: who they are, read once and kept for as long as they are the same.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, open, readlinkat, readlinkat_raw};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::exec_stop;
use crate::report::Ancestor;
use crate::sys;
use crate::text;
use crate::tree;

/// Threads remembered, with two descriptors each; more make no error, only more work.
const MAX_KNOWN: usize = 256;
/// The kernel shows paths of this length at most.
const PATH_MAX: usize = 4_096;
const MAX_ARGUMENTS: usize = 64;
const MAX_ANCESTORS: usize = 16;
/// Processes whose arguments are remembered before those that are gone are forgotten.
const MAX_PROGRAMS: usize = 20_000;

/// A process as reports name it.
#[derive(Debug)]
pub(crate) struct ProcessInfo {
    pub(crate) pid: u32,
    pub(crate) executable: Arc<str>,
    pub(crate) argv: Arc<[String]>,
    /// Whether the kernel started it with these arguments.
    pub(crate) argv_exact: bool,
    /// Digest of all arguments, where they are certain.
    pub(crate) started_with: Option<[u8; 32]>,
    pub(crate) parents: Arc<[Ancestor]>,
}

/// One thread at the moment of a call.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    tid: u32,
    /// Its working directory, unless that is deeper than the kernel shows.
    pub(crate) cwd: Option<Arc<Path>>,
}

#[derive(Debug)]
struct Known {
    /// The link to its working directory, held itself: it is dead when the thread is, whatever gets
    /// its number next, and is read with the least work.
    cwd: OwnedFd,
    /// Where it led last.
    directory: Option<Arc<Path>>,
    /// The thread itself, by which it is asked for most cheaply whether it is still there. Nothing
    /// where the kernel has handles of processes only (before 6.9), or directories are asked for
    /// anyway.
    handle: Option<OwnedFd>,
    who: Option<Arc<ProcessInfo>>,
}

/// What a process was started with, as the kernel copied it.
#[derive(Debug)]
struct Program {
    argv: Arc<[String]>,
    digest: [u8; 32],
    /// When the process was made: another one with its number has another time.
    born: u64,
}

/// The threads seen last.
#[derive(Debug)]
pub(crate) struct Tasks {
    known: HashMap<u32, Known>,
    /// By process.
    programs: HashMap<u32, Program>,
    supervisor: u32,
}

impl Task {
    /// Where a link in its folder of `/proc` leads.
    ///
    /// # Errors
    /// The thread or the link is gone, or the path is longer than the kernel shows.
    pub(crate) fn link(&self, name: &str) -> io::Result<PathBuf> {
        let target = readlinkat(CWD, format!("/proc/{}/{name}", self.tid), Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }
}

impl Known {
    fn of(tid: u32, with_handle: bool) -> io::Result<Self> {
        let itself = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let cwd = open(format!("/proc/{tid}/cwd"), itself, Mode::empty())?;
        let handle = with_handle.then(|| sys::handle_of_thread(tid)).flatten();
        Ok(Self { cwd, directory: None, handle, who: None })
    }

    /// The thread in `directory`; nothing where it is not known to be there still.
    fn still_in(&self, directory: &Arc<Path>, tid: u32) -> Option<Task> {
        let there = sys::is_there(self.handle.as_ref()?.as_fd());
        there.then(|| Task { tid, cwd: Some(Arc::clone(directory)) })
    }

    /// The thread as it is now; nothing where it is gone.
    fn now(&mut self, tid: u32) -> Option<Task> {
        // As long as the kernel shows: a longer path is an error, not cut.
        let mut buffer = [MaybeUninit::<u8>::uninit(); PATH_MAX];
        let cwd = match readlinkat_raw(&self.cwd, "", &mut buffer) {
            Ok((cwd, _)) => Path::new(OsStr::from_bytes(cwd)),
            Err(Errno::NAMETOOLONG) => return Some(Task { tid, cwd: None }),
            Err(_) => return None,
        };
        let known = self.directory.take().filter(|known| known.as_os_str() == cwd.as_os_str());
        let directory = known.unwrap_or_else(|| Arc::from(cwd));
        self.directory = Some(Arc::clone(&directory));
        Some(Task { tid, cwd: Some(directory) })
    }
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { known: HashMap::new(), programs: HashMap::new(), supervisor: std::process::id() }
    }

    /// The thread that makes a call now; `directory` where that is known of every thread.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn task(&mut self, tid: u32, directory: Option<&Arc<Path>>) -> io::Result<Task> {
        if let Some(directory) = directory
            && let Some(task) =
                self.known.get(&tid).and_then(|known| known.still_in(directory, tid))
        {
            return Ok(task);
        }
        if let Some(task) = self.known.get_mut(&tid).and_then(|known| known.now(tid)) {
            return Ok(task);
        }
        let mut known = Known::of(tid, directory.is_some())?;
        let task = known.now(tid).unwrap_or(Task { tid, cwd: None });
        if self.known.len() >= MAX_KNOWN {
            // All at once, since nothing says which were used last.
            self.known.clear();
        }
        self.known.insert(tid, known);
        Ok(task)
    }

    /// The process that the thread belongs to. It must have been looked at for the call under
    /// judgement.
    pub(crate) fn process_info(&mut self, tid: u32) -> Arc<ProcessInfo> {
        if let Some(Known { who: Some(who), .. }) = self.known.get(&tid) {
            return Arc::clone(who);
        }
        let pid = tree::process_of(tid).unwrap_or(tid);
        let started = self.programs.get(&pid).filter(|program| {
            // The number may belong to another process by now.
            tree::born(pid).is_some_and(|born| born == program.born)
        });
        let started_with = started.map(|program| program.digest);
        let argv = started.map_or_else(|| arguments(tid), |program| Arc::clone(&program.argv));
        let who = Arc::new(ProcessInfo {
            pid,
            executable: executable(pid),
            argv,
            argv_exact: started_with.is_some(),
            started_with,
            parents: self.parents(pid).into(),
        });
        if let Some(known) = self.known.get_mut(&tid) {
            known.who = Some(Arc::clone(&who));
        }
        who
    }

    /// From the nearest up to the command's own process: the one above it, the reaper, is no
    /// program of the command.
    fn parents(&mut self, pid: u32) -> Vec<Ancestor> {
        let mut chain = Vec::new();
        let mut at = pid;
        while chain.len() < MAX_ANCESTORS {
            let Some(parent) = tree::parent(at).filter(|parent| *parent > 1) else { break };
            if parent == self.supervisor {
                // The last one added is the reaper.
                chain.pop();
                break;
            }
            // What is above a process that is known was found when it was looked up.
            if let Some(known) = self.known.get_mut(&parent)
                && known.who.as_ref().is_some_and(|who| who.pid == parent)
                && known.now(parent).is_some()
                && let Some(who) = &known.who
            {
                chain.push(Ancestor { pid: parent, executable: Arc::clone(&who.executable) });
                chain.extend(who.parents.iter().cloned());
                break;
            }
            chain.push(Ancestor { pid: parent, executable: executable(parent) });
            at = parent;
        }
        chain
    }

    /// A process became another program, started with these arguments, each ended by a zero byte.
    pub(crate) fn became(&mut self, pid: u32, arguments: &[u8]) {
        if self.programs.len() >= MAX_PROGRAMS {
            self.programs.retain(|pid, program| tree::born(*pid) == Some(program.born));
        }
        let Some(born) = tree::born(pid) else { return };
        let argv = shown(arguments);
        let digest = Sha256::digest(arguments).into();
        self.programs.insert(pid, Program { argv, digest, born });
        self.forget();
    }

    /// One of them becomes another program, perhaps, and takes its threads with it.
    pub(crate) fn forget(&mut self) {
        self.known.values_mut().for_each(|known| known.who = None);
    }
}

fn arguments(tid: u32) -> Arc<[String]> {
    let line = tree::read(Path::new(&format!("/proc/{tid}/cmdline"))).unwrap_or_default();
    shown(&line)
}

fn shown(arguments: &[u8]) -> Arc<[String]> {
    exec_stop::split(arguments)
        .take(MAX_ARGUMENTS)
        .map(|one| text::bounded(text::escape_os(one)))
        .collect()
}

fn executable(pid: u32) -> Arc<str> {
    fs::read_link(format!("/proc/{pid}/exe")).map(text::escape_os).unwrap_or_default().into()
}
