//! What the processes of a run share: the plan that is laid out before the fork, the messages they
//! send each other, and the numbers of their descriptors and steps.
#![expect(unsafe_code, reason = "the code between fork and exec consists of raw system calls")]

use std::ffi::c_char;

use libc::{c_int, sock_filter};

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
    /// The two ends of the socket between reaper and command.
    pub(crate) inner: [c_int; 2],
    pub(crate) ruleset: c_int,
    pub(crate) cwd: c_int,
    pub(crate) filter: *const sock_filter,
    pub(crate) filter_length: u16,
    /// The tree is followed by tracing: no filter.
    pub(crate) traced: bool,
    pub(crate) identity: Option<(u32, u32)>,
    pub(crate) umask: u32,
    pub(crate) fixed_addresses: bool,
    /// Bytes of the host's name and their number; null for the true one.
    pub(crate) hostname: (*const c_char, usize),
    pub(crate) file_bytes: u64,
    pub(crate) tasks: u64,
    pub(crate) cpu_seconds: u64,
}

/// One message of the reaper. The same layout on both sides of the fork.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Message {
    pub(crate) kind: u32,
    /// A pid, or the step that failed.
    pub(crate) subject: i32,
    /// A wait status, or an error number.
    pub(crate) value: i32,
    /// Of an end: 1 where the reaper has children left; 0 where this is its last message.
    pub(crate) others: i32,
    pub(crate) cpu_us: u64,
}

/// The command's process waits for its filter to be served; the listener comes along.
pub(crate) const READY: u32 = 1;
/// The command's own process ended, and with it the whole tree where no other is left.
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
pub(crate) const ARRANGE: i32 = 0;
pub(crate) const REAPER: i32 = 1;
pub(crate) const START: i32 = 2;
pub(crate) const LIMITS: i32 = 3;
pub(crate) const DIRECTORY: i32 = 4;
pub(crate) const USER: i32 = 5;
pub(crate) const CAPABILITIES: i32 = 6;
pub(crate) const PRIVILEGES: i32 = 7;
pub(crate) const LANDLOCK: i32 = 8;
pub(crate) const DESCRIPTORS: i32 = 10;
/// A listener is taken where this step fails with `EBUSY`.
pub(crate) const FILTER: i32 = 9;
/// The step that fails where the program is missing or no program.
pub(crate) const EXECUTE: i32 = 11;

// The numbers under which both processes find their descriptors, from `arrange` on.
pub(crate) const COMMAND_END: c_int = 3;
pub(crate) const REAPER_END: c_int = 4;
pub(crate) const CONTROL: c_int = 5;
pub(crate) const RULESET: c_int = 6;
pub(crate) const CWD: c_int = 7;
pub(crate) const FIRST_FREE: c_int = 8;
pub(crate) const ABOVE_ALL: c_int = 100;

pub(crate) unsafe fn close_from(first: c_int, flags: u32) -> bool {
    // SAFETY: closes descriptors of this process only.
    unsafe { libc::syscall(libc::SYS_close_range, first as u32, u32::MAX, flags) == 0 }
}

pub(crate) fn errno() -> i32 {
    // SAFETY: the address of this thread's error number is always valid.
    unsafe { *libc::__errno_location() }
}
