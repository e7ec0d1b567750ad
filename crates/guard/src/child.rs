//! The command's own process from its birth to `exec`: it gives up everything step by step, and
//! reports the step that failed.
//!
//! The rules of [`crate::reaper`] hold here too: only calls that are safe after a fork of a program
//! with threads.
#![expect(unsafe_code, reason = "the code between fork and exec consists of raw system calls")]

use std::mem::size_of;
use std::ptr;

use libc::{c_int, c_ulong};

use crate::protocol::{
    CAPABILITIES, COMMAND_END, CWD, DESCRIPTORS, DIRECTORY, EXECUTE, FAILED, FILTER, LANDLOCK,
    LIMITS, Message, PRIVILEGES, Plan, READY, REAPER_END, RULESET, UNSHARED, USER, close_from,
    errno,
};

/// The command's own process, up to and including `exec`.
pub(crate) unsafe fn command(plan: &Plan) -> ! {
    // SAFETY: the pointers of the plan stay valid, this process having its own copy of the memory
    // they were made in.
    unsafe {
        let reaper = libc::getppid();
        // A session of its own: no controlling terminal, and no group shared with the caller.
        libc::setsid();
        libc::umask(plan.umask);
        if plan.fixed_addresses {
            // Kept over exec. A kernel without it gives random addresses, as it always does.
            libc::personality(libc::ADDR_NO_RANDOMIZE as c_ulong);
        }
        limit(plan);
        if libc::fchdir(CWD) != 0 {
            stop_at(DIRECTORY);
        }
        change_user(plan.identity);
        // Before Landlock and the filter, which an unprivileged process may not set without.
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as c_ulong, 0, 0, 0) != 0 {
            stop_at(PRIVILEGES);
        }
        // After the change of user, which would clear it. The reaper may have died before this
        // line, so its number is compared afterwards.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong, 0, 0, 0);
        if libc::getppid() != reaper {
            libc::_exit(127);
        }
        if libc::syscall(libc::SYS_landlock_restrict_self, RULESET, 0) != 0 {
            stop_at(LANDLOCK);
        }
        // The fork blocked every signal, and the mask would last over exec.
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        if plan.identity.is_none() {
            // A caller of the same user has no other right to count or trace this process, and
            // already has all that is in its memory.
            libc::prctl(libc::PR_SET_DUMPABLE, 1 as c_ulong, 0, 0, 0);
        }
        if plan.traced {
            wait_for_service(-1);
        } else {
            install(plan);
        }
        // The table is shared with the reaper until here, and what is closed now must stay open
        // there.
        if !close_from(REAPER_END, libc::CLOSE_RANGE_UNSHARE) {
            stop_at(DESCRIPTORS);
        }
        report(&Message { kind: UNSHARED, ..Message::default() });
        libc::execve(plan.program, plan.argv, plan.envp);
        stop_at(EXECUTE)
    }
}

unsafe fn limit(plan: &Plan) {
    let limits = [
        // Not 0: that still feeds a program named in core_pattern. No core fits into 1, and the
        // kernel takes it for "no program".
        (libc::RLIMIT_CORE, 1),
        (libc::RLIMIT_FSIZE, plan.file_bytes),
        (libc::RLIMIT_CPU, plan.cpu_seconds),
        (libc::RLIMIT_NPROC, plan.tasks),
        (libc::RLIMIT_NOFILE, 4096),
        (libc::RLIMIT_MSGQUEUE, 0),
    ];
    for (what, wanted) in limits {
        // SAFETY: reads and writes a structure on this stack and the limits of this process.
        unsafe {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::getrlimit(what, &raw mut limit);
            let wanted = wanted.min(limit.rlim_max);
            limit = libc::rlimit { rlim_cur: wanted, rlim_max: wanted };
            if libc::setrlimit(what, &raw const limit) != 0 {
                stop_at(LIMITS);
            }
        }
    }
}

/// Another user and no capability, whatever the caller had.
unsafe fn change_user(identity: Option<(u32, u32)>) {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    // SAFETY: numbers only, and two structures on this stack in the layout of capset version 3.
    unsafe {
        if let Some((uid, gid)) = identity {
            // So that not even a file with capabilities gives one back at exec.
            let mut capability: c_ulong = 0;
            // Up to the first that this kernel does not have.
            while libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) == 0 {
                capability += 1;
            }
            // The groups first and the user last: a process that is no longer root may change
            // neither.
            if libc::setgroups(0, ptr::null()) != 0
                || libc::setresgid(gid, gid, gid) != 0
                || libc::setresuid(uid, uid, uid) != 0
            {
                stop_at(USER);
            }
        }
        // Ambient capabilities would last over exec even for an ordinary user.
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong, 0, 0, 0);
        let header = Header { version: 0x2008_0522, pid: 0 };
        let nothing = [0u32; 6];
        if libc::syscall(libc::SYS_capset, &raw const header, nothing.as_ptr()) != 0 {
            stop_at(CAPABILITIES);
        }
    }
}

/// Installs the filter, sends the reaper the listener's number, and waits until the caller serves
/// it.
unsafe fn install(plan: &Plan) {
    let program = libc::sock_fprog { len: plan.filter_length, filter: plan.filter.cast_mut() };
    // Killable (Linux 5.19): once the supervisor has a call, only a deadly signal ends its wait.
    let flags =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: the kernel only reads the program, which has the length given.
    unsafe {
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        let listener = libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) as i32;
        if listener < 0 {
            stop_at(FILTER);
        }
        wait_for_service(listener);
    }
}

unsafe fn wait_for_service(listener: i32) {
    // SAFETY: reads one byte into this stack.
    unsafe {
        report(&Message { kind: READY, value: listener, ..Message::default() });
        let mut go = 0u8;
        loop {
            // One byte says go. The end of the line says that no caller waits for this process any
            // more.
            match libc::read(COMMAND_END, (&raw mut go).cast(), 1) {
                1 => return,
                -1 if errno() == libc::EINTR => {}
                _ => libc::_exit(127),
            }
        }
    }
}

/// The command's process reports by `write`, which its filter lets pass.
unsafe fn report(message: &Message) {
    // SAFETY: the message is plain data of this length.
    unsafe { libc::write(COMMAND_END, ptr::from_ref(message).cast(), size_of::<Message>()) };
}

unsafe fn stop_at(step: i32) -> ! {
    let message = Message { kind: FAILED, subject: step, value: errno(), ..Message::default() };
    // SAFETY: as in `reaper::fail`.
    unsafe {
        report(&message);
        libc::_exit(127)
    }
}
