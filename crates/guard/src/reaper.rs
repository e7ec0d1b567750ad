//! What runs between `fork` and the guarded program: the reaper here, the command's own process in
//! [`crate::child`].
//!
//! The reaper is a single-threaded copy of the caller that stays until the last descendant is gone.
//! It is the subreaper of the command's tree, so a daemon that cuts itself loose becomes its child
//! instead of the host's, and it kills all children it has, again and again, until none is left: by
//! pids only it can reap, so never another process. It ends the tree on request, and also when the
//! caller vanishes, since then its control socket is closed.
//!
//! Here only calls that are safe after a fork of a program with threads are made: no allocation, no
//! lock, no panic. Everything needed was laid out before in [`Plan`]. The command's process shares
//! the reaper's descriptor table until its filter is installed, so that the reaper can hand over
//! the listener; a filtered process could not send it without a hole in its own filter.
#![expect(unsafe_code, reason = "the code between fork and exec consists of raw system calls")]

use std::mem::size_of;
use std::ptr;

use libc::{c_int, c_ulong, pid_t};

use crate::child;
use crate::protocol::{
    ABOVE_ALL, ARRANGE, COMMAND_END, CONTROL, CWD, ENDED, FAILED, FIRST_FREE, GONE, Message, Plan,
    READY, REAPER, REAPER_END, RULESET, START, UNSHARED, close_from, errno,
};

mod ending;

use ending::{children_cpu_us, end_all};

/// Runs the reaper. Never returns.
pub(crate) fn run(plan: &Plan) -> ! {
    // SAFETY: runs in a process of its own, single-threaded, right after fork; only system calls
    // follow.
    unsafe {
        quiet_signals();
        libc::setsid();
        // A command of the same user must neither trace the reaper nor read its memory.
        libc::prctl(libc::PR_SET_DUMPABLE, 0 as c_ulong, 0, 0, 0);
        if !arrange(plan) {
            fail(plan.control, ARRANGE);
        }
        if libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as c_ulong, 0, 0, 0) != 0 {
            fail(CONTROL, REAPER);
        }
        let (name, length) = plan.hostname;
        // Without the right to a namespace the command sees the true name.
        if !name.is_null() && libc::unshare(libc::CLONE_NEWUTS) == 0 {
            // In a namespace of the tree: no other process sees it.
            libc::sethostname(name, length);
        }
        let signals = child_signals();
        // As fork, but with the descriptor table shared until the command lets go of it.
        let flags = libc::CLONE_FILES | libc::SIGCHLD;
        let pid = libc::syscall(libc::SYS_clone, flags as c_ulong, 0usize, 0usize, 0usize, 0usize)
            as pid_t;
        if pid == 0 {
            child::command(plan);
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
        (plan.inner[1], REAPER_END),
        (plan.control, CONTROL),
        (plan.ruleset, RULESET),
        (plan.cwd, CWD),
    ];
    // SAFETY: descriptors are numbers; duplicates of valid ones are made above all targets first,
    // so none is overwritten.
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
        // The command's end goes at `exec`: the program must not find it.
        libc::fcntl(COMMAND_END, libc::F_SETFD, libc::FD_CLOEXEC) == 0 && close_from(FIRST_FREE, 0)
    }
}

/// Blocks every signal and forgets every handler: a handler of the caller would write into
/// descriptors that are closed here.
unsafe fn quiet_signals() {
    // SAFETY: the sets live on this stack; changing dispositions affects this process only. Errors
    // (SIGKILL) are of no interest.
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

/// Passes the listener to the caller, waits for its word, and lets go of everything that belongs to
/// the command.
unsafe fn hand_over(pid: pid_t) {
    let mut message = Message::default();
    // SAFETY: receives plain data into a structure of the size given; descriptors are numbers of
    // this process.
    unsafe {
        loop {
            let size = libc::read(REAPER_END, (&raw mut message).cast(), size_of::<Message>());
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
            // As long as a copy is open, stopped calls wait for an answer that never comes.
            libc::close(message.value);
        }
        let mut go = 0u8;
        if libc::recv(CONTROL, (&raw mut go).cast(), 1, 0) == 1 && go == b'g' {
            libc::write(REAPER_END, (&raw const go).cast(), 1);
            // Until the command has a table of its own: what is closed below would be closed there
            // too.
            let size = libc::read(REAPER_END, (&raw mut message).cast(), size_of::<Message>());
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
    // SAFETY: the header points to structures on this stack; the control buffer holds one
    // descriptor (24 bytes) and is aligned.
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

/// Reaps until nothing is left of the tree, it is asked to end it, or the caller is gone.
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
                // Taken up: a socket that is closed with something unread makes the caller's next
                // look at it fail once.
                libc::recv(CONTROL, drop.as_mut_ptr().cast(), drop.len(), libc::MSG_DONTWAIT);
                end_all(main);
                let spent = Message { kind: GONE, cpu_us: children_cpu_us(), ..Message::default() };
                finish(&spent);
            }
        }
    }
}

/// The last message.
unsafe fn finish(message: &Message) -> ! {
    // SAFETY: sends plain data, then ends this process without running anything of the caller's.
    unsafe {
        send(CONTROL, message);
        libc::_exit(0)
    }
}

/// A failed `exec` is reported before the end of the process that failed.
unsafe fn report_failure() {
    let mut message = Message::default();
    // SAFETY: receives plain data into a structure of the size given, without waiting.
    unsafe {
        let size = libc::recv(
            REAPER_END,
            (&raw mut message).cast(),
            size_of::<Message>(),
            libc::MSG_DONTWAIT,
        );
        if size == size_of::<Message>() as isize && message.kind == FAILED {
            send(CONTROL, &message);
        }
    }
}

/// Whether any child is there, ended or not.
unsafe fn has_children() -> bool {
    // SAFETY: writes the structure on this stack, and takes up no child.
    unsafe {
        let mut ended: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_ALL, 0, &raw mut ended, flags) == 0
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
                let mut ended =
                    Message { kind: ENDED, subject: pid, value: status, ..Message::default() };
                if !has_children() {
                    // Who has no child has no descendant either: the end of the tree is said with
                    // that of the command.
                    ended.cpu_us = children_cpu_us();
                    finish(&ended);
                }
                ended.others = 1;
                send(CONTROL, &ended);
            }
        }
        if pid == 0 {
            return true;
        }
        if pid < 0 && errno() != libc::EINTR {
            return false;
        }
        // Only the first wait may block; after it, what else has ended is taken up.
        flags |= libc::WNOHANG;
    }
}
