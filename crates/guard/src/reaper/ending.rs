//! The end of a tree, by the process that reaps it.
#![expect(unsafe_code, reason = "the reaper consists of raw system calls")]

use std::ptr;

use libc::pid_t;

use super::reap;

/// Kills children until none is left; orphans of the killed come up as children in turn.
pub(super) unsafe fn end_all(main: pid_t) {
    // SAFETY: the pids are unreaped children of this process, which only it can reap, so none can
    // mean another process.
    unsafe {
        // What was left may have ended meanwhile. Who has no child has no descendant either.
        if !reap(main, libc::WNOHANG) {
            return;
        }
        loop {
            let found = kill_children(main);
            // After a kill an end is certain to come, so waiting for it is safe.
            if !reap(main, if found { 0 } else { libc::WNOHANG }) {
                return;
            }
            // Children, but none in the list: an orphan on its way here, or one that is ending.
            if !found {
                libc::poll(ptr::null_mut(), 0, 1);
            }
        }
    }
}

unsafe fn kill_children(main: pid_t) -> bool {
    let (mut found, mut group) = (false, false);
    let mut number: pid_t = 0;
    let mut text = [0u8; 4096];
    // SAFETY: reads a file of the kernel into a buffer on this stack.
    unsafe {
        let list =
            libc::open(c"/proc/thread-self/children".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if list < 0 {
            return false;
        }
        loop {
            let size = libc::read(list, text.as_mut_ptr().cast(), text.len());
            let Ok(size @ 1..) = usize::try_from(size) else { break };
            for byte in text.iter().take(size) {
                if byte.is_ascii_digit() {
                    number = number.wrapping_mul(10).wrapping_add(pid_t::from(byte - b'0'));
                } else if number > 0 {
                    if !group && libc::getpgid(number) == main {
                        group = true;
                        // A group is killed at once: none of it can fork on meanwhile. It is ours
                        // as long as a child of ours is in it.
                        libc::kill(-main, libc::SIGKILL);
                    }
                    libc::kill(number, libc::SIGKILL);
                    found = true;
                    number = 0;
                }
            }
        }
        libc::close(list);
    }
    found
}

pub(super) unsafe fn children_cpu_us() -> u64 {
    // SAFETY: writes a structure on this stack.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        let microseconds = |time: libc::timeval| {
            time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs()
        };
        microseconds(usage.ru_utime) + microseconds(usage.ru_stime)
    }
}
