//! What runs between `fork` and the guarded program: the keeper here, the command's own process in [`entry`].
//!
//! The keeper is a single-threaded copy of the caller that stays until the last descendant is gone. It is the subreaper of the
//! command's tree, so a daemon that cuts itself loose becomes its child instead of the host's, and it kills all children it has,
//! again and again, until none is left: by pids only it can reap, so never another process. It ends the tree when it is told to, and
//! also when the caller vanishes, since then its control socket is closed.
//!
//! Here only calls that are safe after a fork of a program with threads are made: no allocation, no lock, no panic. Everything needed
//! was laid out before in [`Plan`]. The command's process shares the keeper's descriptor table until its filter stands, so that
//! the keeper can hand over the listener; a filtered process could not send it without a hole in its own filter.
#![expect(unsafe_code, reason = "the code between fork and exec consists of raw system calls")]

use std::ffi::c_char;
use std::mem::size_of;
use std::ptr;

use libc::{c_int, c_ulong, pid_t, sock_filter};

use crate::entry;

mod ending;

use ending::{children_cpu_us, end_all};

/// Everything the two processes need, laid out before the fork.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) program: *const c_char,
    pub(crate) argv: *const *const c_char,
    pub(crate) envp: *const *const c_char,
    pub(crate) stdin: c_int,
    pub(crate) stdout: c_int,
    pub(crate) stderr: c_int,
    pub(crate) control: c_int,
    /// The two ends of the socket between keeper and command.
    pub(crate) inner: [c_int; 2],
    pub(crate) ruleset: c_int,
    pub(crate) cwd: c_int,
    pub(crate) filter: *const sock_filter,
    pub(crate) filter_length: u16,
    /// The tree is followed by tracing: no filter.
    pub(crate) traced: bool,
    pub(crate) identity: Option<(u32, u32)>,
    pub(crate) file_bytes: u64,
    pub(crate) tasks: u64,
    pub(crate) cpu_seconds: u64,
}

/// One message of the keeper. The same layout on both sides of the fork.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Message {
    pub(crate) kind: u32,
    /// A pid, or the step that failed.
    pub(crate) subject: i32,
    /// A wait status, or an error number.
    pub(crate) value: i32,
    pub(crate) reserved: i32,
    pub(crate) cpu_us: u64,
}

/// The command's process waits for its filter to be served; the listener comes along.
pub(crate) const READY: u32 = 1;
/// The command's own process ended.
pub(crate) const ENDED: u32 = 2;
/// The whole tree is gone.
pub(crate) const GONE: u32 = 3;
/// A step failed before the program was started.
pub(crate) const FAILED: u32 = 4;
pub(crate) const UNSHARED: u32 = 5;

/// The steps that can fail, by number.
pub(crate) const STEPS: [&str; 12] = [
    "arrange descriptors",
    "become the reaper of the tree",
    "start the process",
    "set limits",
    "enter the working directory",
    "change the user",
    "drop capabilities",
    "renounce new privileges",
    "enter the Landlock domain",
    "install the system call filter",
    "let go of the descriptors",
    "execute the program",
];
const ARRANGE: i32 = 0;
const REAPER: i32 = 1;
const START: i32 = 2;
/// A listener is taken where this step fails with `EBUSY`.
pub(crate) const FILTER: i32 = 9;
/// The step that fails where the program is missing or no program.
pub(crate) const EXECUTE: i32 = 11;

pub(crate) const COMMAND_END: c_int = 3;
pub(crate) const KEEPER_END: c_int = 4;
const CONTROL: c_int = 5;
pub(crate) const RULESET: c_int = 6;
pub(crate) const CWD: c_int = 7;
const FIRST_FREE: c_int = 8;
const ABOVE_ALL: c_int = 100;

/// The keeper's life. Never returns.
pub(crate) fn keep(plan: &Plan) -> ! {
    // SAFETY: runs in a process of its own, single-threaded, right after fork; only system calls follow.
    unsafe {
        quiet_signals();
        libc::setsid();
        libc::prctl(libc::PR_SET_DUMPABLE, 0 as c_ulong, 0, 0, 0);
        if !arrange(plan) {
            fail(plan.control, ARRANGE);
        }
        if libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as c_ulong, 0, 0, 0) != 0 {
            fail(CONTROL, REAPER);
        }
        let signals = child_signals();
        // As fork, but with the descriptor table shared until the command lets go of it.
        let flags = libc::CLONE_FILES | libc::SIGCHLD;
        let pid = libc::syscall(libc::SYS_clone, flags as c_ulong, 0usize, 0usize, 0usize, 0usize)
            as pid_t;
        if pid == 0 {
            entry::command(plan);
        }
        if pid < 0 {
            fail(CONTROL, START);
        }
        hand_over(pid);
        watch(pid, signals)
    }
}

/// Keeps only what is needed, under numbers known to both processes.
unsafe fn arrange(plan: &Plan) -> bool {
    let wanted = [
        (plan.stdin, 0),
        (plan.stdout, 1),
        (plan.stderr, 2),
        (plan.inner[0], COMMAND_END),
        (plan.inner[1], KEEPER_END),
        (plan.control, CONTROL),
        (plan.ruleset, RULESET),
        (plan.cwd, CWD),
    ];
    // SAFETY: descriptors are numbers; duplicates of valid ones are made above all targets first, so none is overwritten.
    unsafe {
        let mut lifted = [-1; 8];
        for (slot, (from, _)) in lifted.iter_mut().zip(wanted) {
            *slot = libc::fcntl(from, libc::F_DUPFD, ABOVE_ALL);
            if *slot < 0 {
                return false;
            }
        }
        for (from, (_, to)) in lifted.iter().zip(wanted) {
            if libc::dup2(*from, to) < 0 {
                return false;
            }
        }
        libc::fcntl(COMMAND_END, libc::F_SETFD, libc::FD_CLOEXEC) == 0 && close_from(FIRST_FREE, 0)
    }
}

pub(crate) unsafe fn close_from(first: c_int, flags: u32) -> bool {
    // SAFETY: closes descriptors of this process only.
    unsafe { libc::syscall(libc::SYS_close_range, first as u32, u32::MAX, flags) == 0 }
}

/// Blocks every signal and forgets every handler: a handler of the caller would write into descriptors that are closed here.
unsafe fn quiet_signals() {
    // SAFETY: the sets live on this stack; changing dispositions affects this process only. Errors (SIGKILL) are of no interest.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut());
        let mut plain: libc::sigaction = std::mem::zeroed();
        plain.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=64 {
            libc::sigaction(signal, &raw const plain, ptr::null_mut());
        }
    }
}

unsafe fn child_signals() -> c_int {
    // SAFETY: the set lives on this stack.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    }
}

pub(crate) fn errno() -> i32 {
    // SAFETY: the address of this thread's error number is always valid.
    unsafe { *libc::__errno_location() }
}

unsafe fn send(socket: c_int, message: &Message) -> bool {
    // SAFETY: the message is plain data of this length.
    unsafe {
        libc::send(socket, ptr::from_ref(message).cast(), size_of::<Message>(), libc::MSG_NOSIGNAL)
            == size_of::<Message>() as isize
    }
}

unsafe fn fail(socket: c_int, step: i32) -> ! {
    let message = Message { kind: FAILED, subject: step, value: errno(), ..Message::default() };
    // SAFETY: sends plain data, then ends this process without running anything of the caller's.
    unsafe {
        send(socket, &message);
        libc::_exit(127)
    }
}

/// Passes the listener to the caller, waits for its word, and lets go of everything that belongs to the command.
unsafe fn hand_over(pid: pid_t) {
    let mut message = Message::default();
    // SAFETY: receives plain data into a structure of the size given; descriptors are numbers of this process.
    unsafe {
        loop {
            let size = libc::read(KEEPER_END, (&raw mut message).cast(), size_of::<Message>());
            if size == size_of::<Message>() as isize {
                break;
            }
            if size == 0 || errno() != libc::EINTR {
                fail(CONTROL, START);
            }
        }
        if message.kind != READY {
            send(CONTROL, &message);
            return;
        }
        message.subject = pid;
        if message.value < 0 {
            send(CONTROL, &message);
        } else {
            send_listener(&message);
            libc::close(message.value);
        }
        let mut go = 0u8;
        if libc::recv(CONTROL, (&raw mut go).cast(), 1, 0) == 1 && go == b'g' {
            libc::write(KEEPER_END, (&raw const go).cast(), 1);
            let size = libc::read(KEEPER_END, (&raw mut message).cast(), size_of::<Message>());
            if size == size_of::<Message>() as isize && message.kind != UNSHARED {
                send(CONTROL, &message);
            }
        }
        for descriptor in [0, 1, 2, COMMAND_END, RULESET, CWD] {
            libc::close(descriptor);
        }
    }
}

unsafe fn send_listener(message: &Message) {
    #[repr(C, align(8))]
    struct Control([u8; 32]);
    let mut control = Control([0; 32]);
    let mut part = libc::iovec {
        iov_base: ptr::from_ref(message).cast_mut().cast(),
        iov_len: size_of::<Message>(),
    };
    // SAFETY: the header points to structures on this stack; the control buffer holds one descriptor (24 bytes) and is aligned.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(size_of::<c_int>() as u32) as usize;
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        (*first).cmsg_level = libc::SOL_SOCKET;
        (*first).cmsg_type = libc::SCM_RIGHTS;
        (*first).cmsg_len = libc::CMSG_LEN(size_of::<c_int>() as u32) as usize;
        libc::CMSG_DATA(first).cast::<c_int>().write_unaligned(message.value);
        libc::sendmsg(CONTROL, &raw const header, libc::MSG_NOSIGNAL);
    }
}

/// Reaps until told to end the tree, or the caller is gone.
unsafe fn watch(main: pid_t, signals: c_int) -> ! {
    // SAFETY: polls and reads descriptors of this process into buffers on this stack.
    unsafe {
        let mut drop = [0u8; 128];
        loop {
            let mut waiting = [
                libc::pollfd { fd: CONTROL, events: libc::POLLIN, revents: 0 },
                libc::pollfd { fd: signals, events: libc::POLLIN, revents: 0 },
            ];
            libc::poll(waiting.as_mut_ptr(), 2, 1_000);
            while libc::read(signals, drop.as_mut_ptr().cast(), drop.len()) > 0 {}
            reap(main, libc::WNOHANG);
            report_failure();
            if waiting[0].revents != 0 {
                // Taken up, since closing a socket with something unread would wipe out our own last message.
                libc::recv(CONTROL, drop.as_mut_ptr().cast(), drop.len(), libc::MSG_DONTWAIT);
                end_all(main);
                let spent = Message { kind: GONE, cpu_us: children_cpu_us(), ..Message::default() };
                send(CONTROL, &spent);
                libc::_exit(0);
            }
        }
    }
}

/// A failed `exec` is told before the end of the process that failed.
unsafe fn report_failure() {
    let mut message = Message::default();
    // SAFETY: receives plain data into a structure of the size given, without waiting.
    unsafe {
        let size = libc::recv(
            KEEPER_END,
            (&raw mut message).cast(),
            size_of::<Message>(),
            libc::MSG_DONTWAIT,
        );
        if size == size_of::<Message>() as isize && message.kind == FAILED {
            send(CONTROL, &message);
        }
    }
}

/// Takes up ended children; answers whether any child is left.
unsafe fn reap(main: pid_t, flags: c_int) -> bool {
    let mut flags = flags;
    loop {
        let mut status = 0;
        // SAFETY: writes the status on this stack.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        if pid == main {
            // SAFETY: as above.
            unsafe {
                report_failure();
                send(
                    CONTROL,
                    &Message { kind: ENDED, subject: pid, value: status, ..Message::default() },
                );
            }
        }
        if pid == 0 {
            return true;
        }
        if pid < 0 && errno() != libc::EINTR {
            return false;
        }
        flags |= libc::WNOHANG;
    }
}
