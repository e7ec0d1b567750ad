//! Starts the reaper and the command, and receives the listener.
#![expect(unsafe_code, reason = "fork, and the pointers a forked process needs laid out before")]

use std::ffi::{CString, OsStr, c_char};
use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use libc::sock_filter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType, recvmsg, send, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::command::{Command, Stdin};
use crate::error::GuardError;
use crate::protocol::{self, Message, Plan};
use crate::reaper;

const START_SECONDS: u64 = 10;

/// Everything that must be ready before the fork.
pub(crate) struct Start<'a> {
    pub(crate) command: &'a Command,
    /// Resolved.
    pub(crate) program: &'a Path,
    /// Resolved.
    pub(crate) cwd: &'a Path,
    pub(crate) domain: &'a OwnedFd,
    pub(crate) filter: Vec<sock_filter>,
    pub(crate) identity: Option<(u32, u32)>,
    pub(crate) umask: u32,
    pub(crate) fixed_addresses: bool,
    pub(crate) hostname: Option<&'a str>,
    pub(crate) file_bytes: u64,
    /// Tasks of the command's user, whichever program started them: a last bound between two looks
    /// at the tree.
    pub(crate) tasks: u64,
    pub(crate) cpu_seconds: u64,
    /// No listener: the tree is followed by tracing.
    pub(crate) traced: bool,
}

/// A command waiting for its listener to be served.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) reaper: Reaper,
    /// Nothing where the tree is traced.
    pub(crate) listener: Option<OwnedFd>,
    /// The command's own process.
    pub(crate) main: u32,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// The reaper's process and the line to it. Dropped, the line closes and the tree ends.
#[derive(Debug)]
pub(crate) struct Reaper {
    pub(crate) pid: i32,
    control: Option<OwnedFd>,
}

/// A step before the program failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) step: i32,
    pub(crate) cause: io::Error,
}

impl Reaper {
    pub(crate) fn line(&self) -> &OwnedFd {
        self.control.as_ref().expect("the line is only taken away by drop")
    }

    /// Lets the command go on to its program.
    pub(crate) fn go(&self) -> io::Result<()> {
        self.word(b"g")
    }

    /// Has the whole tree ended. Where nothing was left of it the reaper has ended on its own
    /// meanwhile, and its last message says so.
    pub(crate) fn end(&self) -> io::Result<()> {
        match self.word(b"k") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            sent => sent,
        }
    }

    fn word(&self, word: &[u8]) -> io::Result<()> {
        send(self.line(), word, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message, if one is there.
    pub(crate) fn message(&self) -> io::Result<Option<Message>> {
        let received = match receive(self.line()) {
            // Said once where the reaper ended before it had read our last word. Its own last
            // message still waits.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => receive(self.line()),
            received => received,
        };
        Ok(received?.map(|(message, _)| message))
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // The line's end is what the reaper acts on.
        drop(self.control.take());
        // It ends with its tree. A process the kernel holds fast must not hold the caller too.
        // A handle and not the number: it stays this process's even after it has ended.
        let handle =
            Pid::from_raw(self.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        if let Some(handle) = &handle {
            let patience = Timespec { tv_sec: START_SECONDS.cast_signed(), tv_nsec: 0 };
            while poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&patience))
                == Err(rustix::io::Errno::INTR)
            {}
        }
        let mut status = 0;
        // SAFETY: asks for our own child and writes its status on this stack.
        // Without waiting: after its time a stuck reaper is left to the system.
        unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) };
    }
}

/// Forks reaper and command, and waits until the command's filter is installed.
///
/// # Errors
/// The outer error is the caller's or the host's before the fork; the inner one a step that failed
/// after it.
pub(crate) fn launch(start: &Start<'_>) -> Result<Result<Launched, Failed>, GuardError> {
    let prepare = GuardError::system("make the pipes of the command");
    let ends = Ends::new(start).map_err(prepare)?;
    let program = text(start.program.as_os_str())?;
    let argv = strings(
        std::iter::once(start.command.program.as_os_str())
            .chain(start.command.args.iter().map(AsRef::as_ref)),
    )?;
    let environment = environment(start.command)?;
    let hostname = start.hostname.map(|name| text(OsStr::new(name))).transpose()?;
    // After the strings that they point into, which live until the fork.
    let (argv_pointers, env_pointers) = (pointers(&argv), pointers(&environment));
    let plan = Plan {
        program: program.as_ptr(),
        argv: argv_pointers.as_ptr(),
        envp: env_pointers.as_ptr(),
        stdin: ends.stdin.as_raw_fd(),
        stdout: ends.stdout.1.as_raw_fd(),
        stderr: ends.stderr.1.as_raw_fd(),
        control: ends.control.1.as_raw_fd(),
        inner: [ends.inner.0.as_raw_fd(), ends.inner.1.as_raw_fd()],
        ruleset: start.domain.as_raw_fd(),
        cwd: ends.cwd.as_raw_fd(),
        filter: start.filter.as_ptr(),
        filter_length: u16::try_from(start.filter.len())
            .expect("the table makes a few hundred instructions"),
        traced: start.traced,
        identity: start.identity,
        umask: start.umask,
        fixed_addresses: start.fixed_addresses,
        hostname: hostname
            .as_ref()
            .map_or((ptr::null(), 0), |name| (name.as_ptr(), name.as_bytes().len())),
        file_bytes: start.file_bytes,
        tasks: start.tasks,
        cpu_seconds: start.cpu_seconds,
    };
    let pid = fork(&plan).map_err(GuardError::system("fork the reaper of the command"))?;
    let reaper = Reaper { pid, control: Some(ends.control.0) };
    // Only the two processes hold the other ends from here on.
    drop((ends.control.1, ends.inner, ends.stdin));
    drop((ends.stdout.1, ends.stderr.1));
    Ok(await_ready(reaper, ends.stdout.0, ends.stderr.0))
}

fn fork(plan: &Plan) -> io::Result<i32> {
    // SAFETY: sets of signals on this stack; the child runs `reaper::run` only, which makes nothing
    // but system calls and never returns.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
            (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        // No handler of the caller may run in the child before it has forgotten them.
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let pid = libc::fork();
        if pid == 0 {
            reaper::run(plan);
        }
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        if pid < 0 { Err(error) } else { Ok(pid) }
    }
}

fn await_ready(reaper: Reaper, stdout: OwnedFd, stderr: OwnedFd) -> Result<Launched, Failed> {
    let failed = |cause: io::Error| Failed { step: 2, cause };
    let line = reaper.line().as_fd();
    let timeout = Timespec { tv_sec: START_SECONDS.cast_signed(), tv_nsec: 0 };
    loop {
        let mut waiting = [PollFd::new(&line, PollFlags::IN)];
        match poll(&mut waiting, Some(&timeout)) {
            Ok(0) => return Err(failed(io::Error::from(io::ErrorKind::TimedOut))),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(failed(error.into())),
        }
        match receive(reaper.line()).map_err(failed)? {
            Some((message, listener))
                if message.kind == protocol::READY && (listener.is_some() || message.value < 0) =>
            // With a listener, its descriptor comes along; traced, there is none and the number
            // says so.
            {
                let main = message.subject.unsigned_abs();
                return Ok(Launched { reaper, listener, main, stdout, stderr });
            }
            Some((message, _)) if message.kind == protocol::FAILED => {
                return Err(Failed {
                    step: message.subject,
                    cause: io::Error::from_raw_os_error(message.value),
                });
            }
            Some(_) => {}
            None => return Err(failed(io::Error::from(io::ErrorKind::UnexpectedEof))),
        }
    }
}

/// One message and the descriptor that may come with it; `None` at the end of the line or where
/// nothing waits.
fn receive(line: &OwnedFd) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
    let mut bytes = [0u8; size_of::<Message>()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut extra = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = match recvmsg(line, &mut [IoSliceMut::new(&mut bytes)], &mut extra, flags) {
        Ok(received) => received.bytes,
        // Nothing yet; the caller asks again when there is.
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let listener = extra.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((received == bytes.len()).then(|| (parse(&bytes), listener)))
}

fn parse(bytes: &[u8; size_of::<Message>()]) -> Message {
    let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    let mut cpu = [0; 8];
    cpu.copy_from_slice(&bytes[16..24]);
    Message {
        kind: u32::from_ne_bytes(word(0)),
        subject: i32::from_ne_bytes(word(4)),
        value: i32::from_ne_bytes(word(8)),
        others: i32::from_ne_bytes(word(12)),
        cpu_us: u64::from_ne_bytes(cpu),
    }
}

/// All descriptors of a start, ours first in each pair.
struct Ends {
    stdin: OwnedFd,
    stdout: (OwnedFd, OwnedFd),
    stderr: (OwnedFd, OwnedFd),
    control: (OwnedFd, OwnedFd),
    inner: (OwnedFd, OwnedFd),
    cwd: OwnedFd,
}

impl Ends {
    fn new(start: &Start<'_>) -> io::Result<Self> {
        let pair =
            || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let ends = Self {
            stdin: stdin(&start.command.stdin)?,
            stdout: output(start.identity)?,
            stderr: output(start.identity)?,
            control: pair()?,
            inner: pair()?,
            cwd: File::open(start.cwd)?.into(),
        };
        // The reaper waits on these for its own child only.
        let patience = Some(Duration::from_secs(START_SECONDS));
        rustix::net::sockopt::set_socket_timeout(
            &ends.inner.1,
            rustix::net::sockopt::Timeout::Recv,
            patience,
        )?;
        Ok(ends)
    }
}

/// A pipe whose writing end belongs to the command's user, so that it can be opened again as
/// `/dev/stdout`.
fn output(identity: Option<(u32, u32)>) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
    if let Some((uid, gid)) = identity {
        std::os::unix::fs::fchown(&writing, Some(uid), Some(gid))?;
    }
    // Reading must not wait: the thread that reads also keeps the limits.
    rustix::fs::fcntl_setfl(&reading, OFlags::NONBLOCK)?;
    Ok((reading, writing))
}

fn stdin(source: &Stdin) -> io::Result<OwnedFd> {
    match source {
        Stdin::Null => Ok(File::open("/dev/null")?.into()),
        Stdin::File(path) => Ok(File::open(path)?.into()),
        Stdin::Bytes(bytes) => {
            let memory =
                rustix::fs::memfd_create("stdin", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
            let mut file = File::from(memory);
            file.write_all(bytes)?;
            rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
            // Sealed, since the command could open it again for writing.
            rustix::fs::fcntl_add_seals(
                &file,
                SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
            )?;
            Ok(file.into())
        }
    }
}

fn environment(command: &Command) -> Result<Vec<CString>, GuardError> {
    let mut all = Vec::new();
    for (name, value) in &command.env {
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes.contains(&b'=') {
            return Err(GuardError::Text(format!("the variable name {name:?}")));
        }
        all.push(text(OsStr::from_bytes(&[bytes, b"=", value.as_bytes()].concat()))?);
    }
    Ok(all)
}

fn strings<'a>(values: impl Iterator<Item = &'a OsStr>) -> Result<Vec<CString>, GuardError> {
    values.map(text).collect()
}

fn text(value: &OsStr) -> Result<CString, GuardError> {
    CString::new(value.as_bytes()).map_err(|_| GuardError::Text(format!("{value:?}")))
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain(std::iter::once(ptr::null())).collect()
}
