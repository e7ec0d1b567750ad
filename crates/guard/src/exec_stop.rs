//! What a program really was started with, taken from the kernel at the moment of `execve`.
//!
//! The arguments of `execve` are in memory that another thread, or another process that shares
//! it, can rewrite after the guard has read them; and a running program can rewrite its own
//! arguments as `/proc` shows them. Between the two there is one moment at which they are certain:
//! the kernel has copied them for the new program, and that has not run yet. A tracer is stopped
//! there, so the supervisor traces the calling thread for this one call.
#![expect(unsafe_code, reason = "ptrace and waitpid for a tracee have no safe wrapper")]

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use libc::{c_int, c_long, pid_t};

use crate::sys;
use crate::tree;

/// A program that was started, read while it is stopped before its first instruction.
#[derive(Debug)]
pub(crate) struct Started {
    /// The file that the kernel executes: of a script, its interpreter.
    pub(crate) executable: PathBuf,
    /// The name that was executed, exactly as it was given to the kernel.
    pub(crate) name: Option<Vec<u8>>,
    /// Its arguments, each ended by a zero byte.
    pub(crate) arguments: Vec<u8>,
}

impl Started {
    /// Reads them. The process must be stopped at the end of its `execve`.
    pub(crate) fn read(pid: u32) -> Option<Self> {
        let arguments = tree::read(&PathBuf::from(format!("/proc/{pid}/cmdline")))?;
        let executable = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        Some(Self { executable, name: executed_name(pid), arguments })
    }
}

/// A thread that stops at the end of its next call, whatever that comes to.
#[derive(Debug)]
pub(crate) struct Hold {
    pid: pid_t,
    tid: pid_t,
}

/// What a held thread came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It became a program, and is stopped before its first instruction.
    Started(Stopped),
    /// The call failed, or the thread is gone.
    Failed,
}

/// A stopped process. It goes on when this is dropped.
#[derive(Debug)]
pub(crate) struct Stopped(pid_t);

impl Hold {
    /// Takes hold of a thread whose call waits for its answer.
    ///
    /// # Errors
    /// The host or another tracer does not allow it.
    pub(crate) fn of(pid: u32, tid: u32) -> io::Result<Self> {
        let hold = Self { pid: pid.cast_signed(), tid: tid.cast_signed() };
        // Stops at the end of `execve`, after the kernel's copy and before the first instruction.
        let options = libc::PTRACE_O_TRACEEXEC as usize;
        // SAFETY: the requests take numbers only.
        unsafe {
            trace(libc::PTRACE_SEIZE, hold.tid, options)?;
            // Without it a call that fails would not stop, and the thread could not be let go. It
            // does not disturb the wait for the answer, which only a deadly signal ends.
            trace(libc::PTRACE_INTERRUPT, hold.tid, 0)?;
        }
        Ok(hold)
    }

    /// Waits for the end of the call. Must be called by the thread that took hold.
    pub(crate) fn wait(self) -> Outcome {
        let mut pause = Duration::from_micros(20);
        loop {
            // A thread that is not the first of its process has the number of the first one after
            // it has become another program.
            let alone = self.pid == self.tid;
            let status = wait_for(self.tid, alone)
                .or_else(|| if alone { None } else { wait_for(self.pid, false) });
            match status {
                Some((pid, status)) if libc::WIFSTOPPED(status) => {
                    let stopped = Stopped(pid);
                    // The kind of the event is above the signal in the status.
                    return if status >> 16 == libc::PTRACE_EVENT_EXEC {
                        Outcome::Started(stopped)
                    } else {
                        Outcome::Failed
                    };
                }
                Some((pid, _)) if pid == self.tid && alone => return Outcome::Failed,
                // Ended, or replaced by the first thread: the other number knows.
                Some(_) => {}
                None if !exists(self.tid) && !exists(self.pid) => return Outcome::Failed,
                None => {}
            }
            thread::sleep(pause);
            // Doubled up to a millisecond: an exec takes microseconds, rarely a slow disk.
            pause = (pause * 2).min(Duration::from_millis(1));
        }
    }
}

impl Stopped {
    pub(crate) fn pid(&self) -> u32 {
        self.0.unsigned_abs()
    }

    /// Ends the program before its first instruction.
    pub(crate) fn kill(self) {
        // SAFETY: takes numbers; the process is stopped under this tracer, so its number is its
        // own.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: the request takes numbers only.
        let detached = unsafe { trace(libc::PTRACE_DETACH, self.0, 0) };
        if detached.is_err() {
            // It was killed meanwhile. Its parent is notified of its end only after its tracer.
            let _ = wait_for(self.0, true);
        }
    }
}

/// The next change of a tracee: its number and status; nothing where there is none (yet).
fn wait_for(tid: pid_t, blocks: bool) -> Option<(pid_t, c_int)> {
    let flags = libc::__WALL | if blocks { 0 } else { libc::WNOHANG };
    loop {
        let mut status = 0;
        // SAFETY: writes the status on this stack. The number is that of a tracee of this thread.
        let found = unsafe { libc::waitpid(tid, &raw mut status, flags) };
        if found > 0 {
            return Some((found, status));
        }
        let interrupted = io::Error::last_os_error().raw_os_error() == Some(libc::EINTR);
        if found == 0 || !interrupted {
            return None;
        }
    }
}

fn exists(tid: pid_t) -> bool {
    // SAFETY: takes numbers; asks only.
    unsafe { libc::kill(tid, 0) == 0 }
}

unsafe fn trace(request: u32, tid: pid_t, data: usize) -> io::Result<c_long> {
    // SAFETY: by the caller: the request takes numbers only.
    let result = unsafe { libc::ptrace(request, tid, 0usize, data) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The name in the auxiliary vector: the kernel's own copy of what was executed.
fn executed_name(pid: u32) -> Option<Vec<u8>> {
    let vector = fs::read(format!("/proc/{pid}/auxv")).ok()?;
    let word =
        |bytes: &[u8]| bytes.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let entry = vector.chunks_exact(16).find(|entry| word(&entry[..8]) == libc::AT_EXECFN)?;
    let (mut name, mut at) = (Vec::new(), word(&entry[8..]));
    while name.len() < 4096 {
        let mut chunk = [0u8; 256];
        let page = sys::page_bytes();
        // Never across a page: what follows the string may not be mapped, and the read would fail
        // as a whole.
        let length = usize::try_from(page - at % page).ok()?.min(chunk.len());
        let read = sys::read_memory(pid, at, &mut chunk[..length]).ok()?;
        if let Some(end) = chunk[..read].iter().position(|byte| *byte == 0) {
            name.extend_from_slice(&chunk[..end]);
            return Some(name);
        }
        name.extend_from_slice(&chunk[..read]);
        at += read as u64;
    }
    None
}

/// The arguments as text, one each.
pub(crate) fn split(arguments: &[u8]) -> impl Iterator<Item = &OsStr> {
    // Each argument ends in a zero byte: without this the last would leave an empty text behind.
    let whole = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    whole.split(|byte| *byte == 0).map(OsStr::from_bytes)
}
