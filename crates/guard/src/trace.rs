//! Following a tree by tracing, where another supervisor already listens to this process's calls
//! and the kernel allows no second listener.
//!
//! Every call of every thread stops on its way in, before any filter sees it, so the other
//! supervisor's answers hide nothing. A refused call is turned into none, and its result written
//! when it comes out. All tracing is done by one thread, which waits for nothing else.
#![expect(unsafe_code, reason = "ptrace and waitpid for tracees have no safe wrapper")]

use std::collections::HashMap;
use std::io;
use std::mem::size_of;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use libc::{c_int, c_long, c_ulong, c_void, pid_t};

use crate::calls::{Stopping, UNTRACED};
use crate::emulate::sockets::{Calls, SocketCall};
use crate::exec_stop::Started;
use crate::observe::{Decision, Observer, Start};
use crate::report::Exit;
use crate::sys::{Answer, Stopped};

/// Whether this machine's calls can be refused that way.
pub(crate) const AVAILABLE: bool = cfg!(target_arch = "x86_64");

const OPTIONS: c_int = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_EXITKILL;
const SYSCALL_STOP: c_int = libc::SIGTRAP | 0x80;
const GET_SYSCALL_INFO: u32 = 0x420e;
const ENTRY: u8 = 1;
const LEAVING: u8 = 2;
/// Offsets of registers in the user area of x86-64: the call's number, its result.
const NUMBER_REGISTER: usize = 15 * 8;
const RESULT_REGISTER: usize = 10 * 8;
/// The first argument.
const FIRST_REGISTER: usize = 14 * 8;

/// `struct ptrace_syscall_info`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
struct Info {
    kind: u8,
    padding: [u8; 3],
    arch: u32,
    instruction: u64,
    stack: u64,
    /// On the way in: number and arguments.
    call: [u64; 7],
    more: u64,
}

/// Takes hold of the command's process, which waits to be let go on.
///
/// # Errors
/// The kernel does not allow it: a setting of the host, or another tracer.
pub(crate) fn seize(main: pid_t) -> io::Result<()> {
    // SAFETY: the request takes numbers only.
    unsafe { trace(libc::PTRACE_SEIZE, main, 0, OPTIONS as usize)? };
    // From its next stop on every call is one.
    // SAFETY: as above.
    unsafe { trace(libc::PTRACE_INTERRUPT, main, 0, 0) }
}

/// Follows the tree until its last thread is gone. Called by the thread that seized it. `over` is
/// set where a call ends the run.
///
/// # Errors
/// The tree can no longer be followed; the kernel ends it when the calling thread ends.
pub(crate) fn follow(observer: &Mutex<Observer>, over: &Mutex<Option<Exit>>) -> io::Result<()> {
    let mut state = ThreadRecords::default();
    loop {
        let mut status = 0;
        let flags = libc::__WALL | libc::__WNOTHREAD;
        // SAFETY: writes the status on this stack; only tracees of this thread are waited for, it
        // has no children.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        if pid < 0 {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ECHILD) => return Ok(()),
                Some(libc::EINTR) => continue,
                _ => return Err(error),
            }
        }
        if !libc::WIFSTOPPED(status) {
            state.results.remove(&pid);
            state.starts.remove(&pid);
            continue;
        }
        match libc::WSTOPSIG(status) {
            SYSCALL_STOP => call(pid, observer, over, &mut state),
            _ if status >> 16 == libc::PTRACE_EVENT_EXEC => {
                became(pid, observer, &mut state);
                resume(pid, libc::PTRACE_SYSCALL, 0);
            }
            signal => other_stop(pid, signal, status >> 16),
        }
    }
}

/// Signals go on to whom they are meant for; a stopped group stays stopped.
fn other_stop(pid: pid_t, signal: c_int, event: c_int) {
    let group = matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
    let (request, signal) = match event {
        0 => (libc::PTRACE_SYSCALL, signal),
        libc::PTRACE_EVENT_STOP if group => (libc::PTRACE_LISTEN, 0),
        // Events of tracing itself carry no signal for the program.
        _ => (libc::PTRACE_SYSCALL, 0),
    };
    resume(pid, request, signal);
}

/// A thread that is killed meanwhile needs no resuming.
fn resume(pid: pid_t, request: u32, signal: c_int) {
    // SAFETY: the request takes numbers only.
    let _ = unsafe { trace(request, pid, 0, signal as usize) };
}

fn call(
    pid: pid_t,
    observer: &Mutex<Observer>,
    over: &Mutex<Option<Exit>>,
    state: &mut ThreadRecords,
) {
    let Ok(info) = info(pid) else { return resume(pid, libc::PTRACE_SYSCALL, 0) };
    if info.kind == LEAVING {
        if let Some(result) = state.results.remove(&pid) {
            set_register(pid, RESULT_REGISTER, result);
        }
        if let Some(start) = state.starts.remove(&pid) {
            // Its program would have stopped before: the call failed.
            locked(observer).started(*start, None);
        }
    }
    if info.kind == ENTRY {
        let [number, mut args @ ..] = info.call;
        let number = number.cast_signed() as c_long;
        if number == libc::SYS_clone && args[0] & u64::from(UNTRACED) != 0 {
            // A child that is not traced would not be seen.
            args[0] &= !u64::from(UNTRACED);
            set_register(pid, FIRST_REGISTER, args[0].cast_signed());
        }
        let stopped = Stopped { id: 0, tid: pid.unsigned_abs(), arch: info.arch, number, args };
        match decide(&stopped, observer) {
            Decision::Answer(answer) => reply(pid, answer, &mut state.results),
            // A tracer cannot give a descriptor away: there the file is not there.
            Decision::Open { .. } => {
                reply(pid, Answer::Error(libc::ENOENT), &mut state.results);
            }
            Decision::Start(start) => {
                state.starts.insert(pid, start);
            }
            Decision::Change(change) => reply(pid, change.make(), &mut state.results),
            Decision::Perform(call) => {
                let answer = perform(*call, observer, &mut state.calls);
                reply(pid, answer, &mut state.results);
            }
            // It stays where it is until the tree is ended.
            Decision::End(exit) => {
                over.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(exit);
                return;
            }
        }
    }
    resume(pid, libc::PTRACE_SYSCALL, 0);
}

fn reply(pid: pid_t, answer: Answer, results: &mut HashMap<pid_t, i64>) {
    match answer {
        Answer::Continue => {}
        Answer::Done => refuse(pid, 0, results),
        Answer::Result(value) => refuse(pid, value, results),
        Answer::Error(number) => refuse(pid, -i64::from(number), results),
    }
}

/// Makes a call for a thread. The tree is stopped at its next calls meanwhile, so one that waits
/// for another process of the tree would wait for ever: it is given up and fails with `EAGAIN`.
fn perform(call: SocketCall, observer: &Mutex<Observer>, calls: &mut Calls) -> Answer {
    const PATIENCE: Duration = Duration::from_secs(2);
    let (done, answers) = mpsc::channel();
    let again = Answer::Error(libc::EAGAIN);
    let started = calls.start(call, move |answer| {
        // There is no listener any more where it was given up.
        let _ = done.send(answer);
    });
    if started.is_err() {
        return again;
    }
    answers.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        locked(observer).ledger.mark_incomplete(|| {
            "a socket call of the traced tree had to wait for the tree itself".to_owned()
        });
        again
    })
}

/// A program was started, and is stopped before its first instruction.
fn became(pid: pid_t, observer: &Mutex<Observer>, state: &mut ThreadRecords) {
    let mut former: c_ulong = 0;
    // The thread that asked for it may have had another number.
    // SAFETY: the kernel writes a number into this stack.
    unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0usize, &raw mut former) };
    let start = pid_t::try_from(former).ok().and_then(|tid| state.starts.remove(&tid));
    let Some(start) = start.or_else(|| state.starts.remove(&pid)) else { return };
    let started = Started::read(pid.unsigned_abs());
    if !locked(observer).started(*start, started) {
        // SAFETY: takes numbers; the process is stopped under this tracer.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

fn locked(observer: &Mutex<Observer>) -> MutexGuard<'_, Observer> {
    observer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is remembered of threads between two stops.
#[derive(Debug, Default)]
struct ThreadRecords {
    /// Results to be written when a refused call comes out.
    results: HashMap<pid_t, i64>,
    /// Programs about to be started.
    starts: HashMap<pid_t, Box<Start>>,
    calls: Calls,
}

fn decide(stopped: &Stopped, observer: &Mutex<Observer>) -> Decision {
    let mut observer = observer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match observer.stopping(stopped) {
        Stopping::Passes => Decision::Answer(Answer::Continue),
        Stopping::Fails(number) => Decision::Answer(Answer::Error(number)),
        // It is held by its tracer: as long as it is, what is read is its own.
        Stopping::Stops => {
            let waits = || info(stopped.tid.cast_signed()).is_ok_and(|info| info.kind == ENTRY);
            let decision = observer.decide(stopped, waits);
            observer.conclude_before(decision, waits)
        }
    }
}

fn refuse(pid: pid_t, result: i64, results: &mut HashMap<pid_t, i64>) {
    // No call has this number: the kernel does nothing, and the result is written on the way out.
    set_register(pid, NUMBER_REGISTER, -1);
    results.insert(pid, result);
}

fn info(pid: pid_t) -> io::Result<Info> {
    let mut info = Info::default();
    let address = ptr::from_mut(&mut info).cast::<c_void>();
    // SAFETY: the kernel writes at most the size given into the structure.
    let written = unsafe { libc::ptrace(GET_SYSCALL_INFO, pid, size_of::<Info>(), address) };
    if written < 0 { Err(io::Error::last_os_error()) } else { Ok(info) }
}

fn set_register(pid: pid_t, register: usize, value: i64) {
    // SAFETY: the request takes numbers only; the registers are the tracee's.
    let _ = unsafe { trace(libc::PTRACE_POKEUSER, pid, register, value.cast_unsigned() as usize) };
}

/// A request whose arguments are numbers.
unsafe fn trace(request: u32, pid: pid_t, address: usize, data: usize) -> io::Result<()> {
    // SAFETY: by the caller.
    let result = unsafe { libc::ptrace(request, pid, address, data) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
