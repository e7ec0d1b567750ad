//! The system calls of the supervisor that no safe library offers: user notification, another
//! process's memory, the clock.
#![expect(
    unsafe_code,
    reason = "user notification ioctls and process_vm_readv have no safe wrapper"
)]

use std::cmp::Ordering;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::LazyLock;

use libc::{c_long, c_uint, seccomp_notif, seccomp_notif_resp, seccomp_notif_sizes};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// One stopped system call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopped {
    pub(crate) id: u64,
    /// The thread, in our own numbering.
    pub(crate) tid: u32,
    pub(crate) arch: u32,
    pub(crate) number: c_long,
    pub(crate) args: [u64; 6],
}

/// The supervisor's answer to a stopped call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Do it, under the kernel's own confinement.
    Continue,
    /// Succeed without being done: the supervisor did it.
    Done,
    /// Succeed with this result without being done: the supervisor did it.
    Result(i64),
    /// Fail with this error number.
    Error(i32),
}

/// Receives stopped calls in a buffer as large as this kernel's structure.
#[derive(Debug)]
pub(crate) struct Receiver {
    buffer: Vec<u64>,
}

impl Receiver {
    /// Asks the kernel how large its structure is.
    ///
    /// # Errors
    /// The kernel has no user notification.
    pub(crate) fn new() -> io::Result<Self> {
        let mut sizes =
            seccomp_notif_sizes { seccomp_notif: 0, seccomp_notif_resp: 0, seccomp_data: 0 };
        // SAFETY: the operation writes only into the structure passed, which has the layout it
        // expects.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, &raw mut sizes)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // A newer kernel's structure is longer than this release's, and is written whole.
        let bytes = usize::from(sizes.seccomp_notif).max(size_of::<seccomp_notif>());
        Ok(Self { buffer: vec![0; bytes.div_ceil(8)] })
    }

    /// The next stopped call, or `None` where it vanished with its process.
    ///
    /// # Errors
    /// The listener is unusable.
    pub(crate) fn receive(&mut self, listener: BorrowedFd<'_>) -> io::Result<Option<Stopped>> {
        // The kernel refuses a buffer that is not zeroed.
        self.buffer.fill(0);
        // SAFETY: the buffer is zeroed, aligned to 8 bytes and at least as large as the kernel's
        // structure.
        let result = unsafe {
            libc::ioctl(
                listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                self.buffer.as_mut_ptr(),
            )
        };
        if result != 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                // The caller was killed while its call was handed over, or there was none after
                // all.
                Some(libc::ENOENT | libc::EINTR | libc::EAGAIN) => Ok(None),
                _ => Err(error),
            };
        }
        // SAFETY: the kernel filled the structure; the buffer is large enough and aligned for it,
        // and it is plain data.
        let seen = unsafe { &*self.buffer.as_ptr().cast::<seccomp_notif>() };
        Ok(Some(Stopped {
            id: seen.id,
            tid: seen.pid,
            arch: seen.data.arch,
            number: c_long::from(seen.data.nr),
            args: seen.data.args,
        }))
    }
}

/// Answers a stopped call, and says whether it still waited: then what was read from its process
/// until now was really its own. A caller that is gone is no error.
///
/// # Errors
/// The listener is unusable.
pub(crate) fn answer(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> io::Result<bool> {
    let (val, error, flags) = match answer {
        Answer::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        Answer::Done => (0, 0, 0),
        Answer::Result(value) => (value, 0, 0),
        Answer::Error(number) => (0, -number, 0),
    };
    let mut response = seccomp_notif_resp { id, val, error, flags };
    // SAFETY: the ioctl reads only the structure passed.
    let result = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response)
    };
    if result == 0 {
        return Ok(true);
    }
    let failure = io::Error::last_os_error();
    if failure.raw_os_error() == Some(libc::ENOENT) { Ok(false) } else { Err(failure) }
}

/// Answers a stopped call that opens a file with a descriptor of the supervisor's choice. A caller
/// that is gone is no error.
///
/// # Errors
///
/// The listener is unusable, or the caller has no descriptor left.
pub(crate) fn answer_with(
    listener: BorrowedFd<'_>,
    id: u64,
    descriptor: BorrowedFd<'_>,
    close_on_exec: bool,
) -> io::Result<()> {
    let request = libc::seccomp_notif_addfd {
        id,
        // Descriptor and answer in one step: the caller cannot be gone in between.
        flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
        srcfd: descriptor.as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 },
    };
    // SAFETY: the ioctl reads only the structure passed.
    let result = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const request)
    };
    if result >= 0 {
        return Ok(());
    }
    let failure = io::Error::last_os_error();
    match failure.raw_os_error() {
        Some(libc::ENOENT) => Ok(()),
        Some(number @ (libc::EMFILE | libc::ENFILE)) => {
            answer(listener, id, Answer::Error(number)).map(|_| ())
        }
        _ => Err(failure),
    }
}

/// Has the kernel (6.6 and newer) hand the processor over between a stopped call and its
/// supervisor, instead of waking another one. An older kernel does without.
pub(crate) fn hand_over(listener: BorrowedFd<'_>) {
    /// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    let request = libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS;
    // SAFETY: the ioctl takes a number.
    unsafe { libc::ioctl(listener.as_raw_fd(), request, SYNC_WAKE_UP) };
}

/// Whether the stopped call still waits: what was read from its process until now was really its
/// own.
pub(crate) fn still_waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    let mut id = id;
    // SAFETY: the ioctl reads only the number passed.
    unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw mut id) == 0
    }
}

/// Reads another process's memory; fewer bytes than asked where the mapping ends.
///
/// # Errors
/// Nothing could be read at this address.
pub(crate) fn read_memory(tid: u32, address: u64, into: &mut [u8]) -> io::Result<usize> {
    read_parts(tid, &[(address, into.len())], into)
}

/// Most pieces of memory read by one call: as many as the kernel takes without memory of its own.
pub(crate) const MAX_PARTS: usize = 8;

/// Reads pieces of another process's memory, given by address and length, one after the other into
/// `into`; what follows the first that cannot be read is left out.
///
/// # Errors
/// Nothing of the first piece could be read.
pub(crate) fn read_parts(tid: u32, parts: &[(u64, usize)], into: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let mut remote = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MAX_PARTS];
    let count = parts.len().min(MAX_PARTS);
    for (piece, (address, length)) in remote.iter_mut().zip(parts) {
        *piece = libc::iovec { iov_base: *address as *mut libc::c_void, iov_len: *length };
    }
    // SAFETY: writes only into `into`, whose length is given; the remote addresses are never
    // touched by this process.
    let read = unsafe {
        libc::process_vm_readv(
            tid as libc::pid_t,
            &raw const local,
            1,
            remote.as_ptr(),
            count as libc::c_ulong,
            0,
        )
    };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Writes another process's memory; fewer bytes than given where the mapping ends.
///
/// # Errors
/// Nothing could be written at this address.
pub(crate) fn write_memory(tid: u32, address: u64, from: &[u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: from.len() };
    // SAFETY: reads only from `from`, whose length is given; the remote address is never touched
    // by this process.
    let written = unsafe {
        libc::process_vm_writev(tid as libc::pid_t, &raw const local, 1, &raw const remote, 1, 0)
    };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// A duplicate of a descriptor of the thread of a handle: the same open file, whatever the thread
/// puts under that number afterwards. A thread can have descriptors of its own: Linux 6.9 and newer
/// give them out by thread.
///
/// # Errors
/// The thread or the descriptor is gone, or this process may not have it.
pub(crate) fn duplicate_of(handle: BorrowedFd<'_>, descriptor: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers; the descriptor it returns belongs to no other code.
    unsafe {
        let duplicate =
            libc::syscall(libc::SYS_pidfd_getfd, handle.as_raw_fd(), descriptor, 0 as c_uint);
        if duplicate < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(duplicate as i32))
    }
}

/// A handle of a thread; nothing where this kernel has none, or the thread is gone.
pub(crate) fn handle_of_thread(tid: u32) -> Option<OwnedFd> {
    open_thread(tid).ok()
}

/// A handle of a thread, or of its process where this kernel has none of threads (before 6.9).
///
/// # Errors
/// It is gone.
pub(crate) fn handle_of(pid: u32, tid: u32) -> io::Result<OwnedFd> {
    match open_thread(tid) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Ok(pidfd_open(known(pid)?, PidfdFlags::empty())?)
        }
        handle => handle,
    }
}

fn open_thread(tid: u32) -> io::Result<OwnedFd> {
    let of_thread = PidfdFlags::from_bits_retain(libc::O_EXCL as c_uint);
    Ok(pidfd_open(known(tid)?, of_thread)?)
}

/// Whether the thread, or process, of a handle has not ended: its number is its own.
pub(crate) fn is_there(handle: BorrowedFd<'_>) -> bool {
    let mut ended = libc::pollfd { fd: handle.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Cheaper than a signal 0, for which the kernel looks at rights too.
    // SAFETY: writes only into the structure passed; does not wait.
    unsafe { libc::poll(&raw mut ended, 1, 0) == 0 }
}

fn known(id: u32) -> io::Result<Pid> {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    id.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// How two threads' tables of open files compare: equal if they share one, else in the kernel's own
/// order (kcmp(2)). `None` where the kernel does not say.
pub(crate) fn compare_descriptors(one: u32, other: u32) -> Option<Ordering> {
    /// `KCMP_FILES` of `linux/kcmp.h`.
    const FILES: c_long = 2;
    let (one, other) = (c_long::from(one), c_long::from(other));
    // SAFETY: the call takes numbers alone and changes nothing.
    match unsafe { libc::syscall(libc::SYS_kcmp, one, other, FILES, 0 as c_long, 0 as c_long) } {
        0 => Some(Ordering::Equal),
        1 => Some(Ordering::Less),
        2 => Some(Ordering::Greater),
        _ => None,
    }
}

/// Milliseconds since some moment, never backwards.
pub(crate) fn monotonic_ms() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes only into the structure passed; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

/// The Landlock ABI of this kernel, 0 without.
pub(crate) fn landlock_abi() -> u32 {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the call takes a null pointer and size 0, and only answers a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0usize,
            VERSION,
        )
    };
    u32::try_from(version).unwrap_or(0)
}

/// Clock ticks per second of the times in `/proc`.
pub(crate) fn ticks_per_second() -> u64 {
    // SAFETY: takes a number and answers one.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) })
        .ok()
        .filter(|ticks| *ticks > 0)
        .unwrap_or(100)
}

/// Bytes of a memory page.
pub(crate) fn page_bytes() -> u64 {
    static BYTES: LazyLock<u64> = LazyLock::new(|| {
        // SAFETY: takes a number and answers one.
        let bytes = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) });
        bytes.ok().filter(|bytes| *bytes > 0).unwrap_or(4096)
    });
    *BYTES
}
