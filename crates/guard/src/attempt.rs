//! Things that only show by being done, tried in a process that ends at once.
#![expect(unsafe_code, reason = "fork, and system calls in the child")]

use std::io;
use std::ptr;

use libc::{c_ulong, sock_filter};

use crate::trace;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Taking the listener of a filter.
    Listener,
    /// Taking hold of a child.
    Tracing,
    /// Making a namespace for another host name.
    HostName,
}

/// Tries it.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn attempt(what: Attempt) -> io::Result<()> {
    // SAFETY: the child makes system calls only and ends.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid == 0 {
        // SAFETY: as above.
        unsafe {
            let code = match what {
                Attempt::Listener => take_listener(),
                Attempt::HostName => leave_host_name(),
                Attempt::Tracing => {
                    libc::pause();
                    0
                }
            };
            libc::_exit(code);
        }
    }
    let seized = match what {
        Attempt::Listener | Attempt::HostName => Ok(()),
        Attempt::Tracing => {
            // Traced while the child waits in `pause`; it is ended before its status is asked for.
            let seized = trace::seize(pid);
            // SAFETY: our own child, not reaped yet.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            seized
        }
    };
    let code = wait(pid)?;
    seized?;
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// In the child: answers an error number, or 0.
unsafe fn take_listener() -> i32 {
    let allow = sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let program = libc::sock_fprog { len: 1, filter: ptr::from_ref(&allow).cast_mut() };
    // SAFETY: the kernel only reads the program, which has the length given.
    unsafe {
        // An unprivileged process may install a filter only once it has given up new privileges.
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as c_ulong, 0, 0, 0);
        let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        if libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) < 0 {
            return *libc::__errno_location();
        }
    }
    0
}

/// In the child: answers an error number, or 0.
unsafe fn leave_host_name() -> i32 {
    // SAFETY: a system call without memory.
    unsafe {
        if libc::unshare(libc::CLONE_NEWUTS) < 0 {
            return *libc::__errno_location();
        }
    }
    0
}

/// The exit code of a child; 0 where a signal ended it.
fn wait(pid: i32) -> io::Result<i32> {
    loop {
        let mut status = 0;
        // SAFETY: asks for our own child and writes its status on this stack.
        let ended = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        if ended < 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::EINTR) {
                return Err(error);
            }
        } else if libc::WIFEXITED(status) {
            return Ok(libc::WEXITSTATUS(status));
        // Only this process signals the child, and only after the attempt.
        } else if libc::WIFSIGNALED(status) {
            return Ok(0);
        }
    }
}
