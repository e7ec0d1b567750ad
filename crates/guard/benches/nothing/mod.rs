//! A supervisor that is asked about the same calls and lets every one of them go on unseen: what
//! being asked costs alone. x86-64 only.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use libc::{c_ulong, sock_filter};

use crate::{Fixture, timed};

const RECEIVE: c_ulong = 0xc050_2100;
const ANSWER: c_ulong = 0xc018_2101;
const SET_FLAGS: c_ulong = 0x4008_2104;

/// Whether this machine has it.
pub(crate) fn works() -> bool {
    cfg!(target_arch = "x86_64") && start("/bin/true", &[], "/").is_ok()
}

/// Runs the script.
pub(crate) fn supervised(fixture: &Fixture) -> Duration {
    let (node, root) = (fixture.node.display().to_string(), fixture.root.display().to_string());
    timed(|| start(&node, &["main.mjs"], &root).unwrap())
}

fn start(program: &str, arguments: &[&str], cwd: &str) -> io::Result<()> {
    let (here, there) = UnixStream::pair()?;
    let send_to = there.as_raw_fd();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(cwd).stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: only system calls on memory of this stack, between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let listener = listen()?;
            send(send_to, listener)
        });
    }
    let mut child = command.spawn()?;
    let listener = receive(here.as_raw_fd())?;
    let supervisor = std::thread::spawn(move || let_go(&listener));
    let status = child.wait()?;
    drop(there);
    supervisor.join().map_err(|_| io::Error::other("the supervisor panicked"))?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

/// Stops opens for writing and changes of names, as the guard does.
fn listen() -> io::Result<RawFd> {
    let statement = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jump = |k: i64, jt: u8, jf: u8| sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt,
        jf,
        k: k as u32,
    };
    let load = |offset: u32| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    let writes = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC).cast_unsigned();
    let code = [
        load(0),
        jump(libc::SYS_openat, 4, 0),
        jump(libc::SYS_unlink, 6, 0),
        jump(libc::SYS_unlinkat, 5, 0),
        jump(libc::SYS_rename, 4, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        load(32),
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, writes),
        jump(0, 1, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_ptr().cast_mut() };
    // SAFETY: the kernel only reads the program, which has the length given.
    let listener = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as c_ulong, 0, 0, 0);
        let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program)
    };
    if listener < 0 { Err(io::Error::last_os_error()) } else { Ok(listener as RawFd) }
}

/// Answers every call with "go on" until no process is left that could make one.
fn let_go(listener: &OwnedFd) {
    /// The processor is handed over as it is under the guard (Linux 6.6 and newer).
    const SYNC_WAKE_UP: c_ulong = 1;
    let listener = listener.as_raw_fd();
    // SAFETY: takes numbers. An older kernel does without.
    unsafe { libc::ioctl(listener, SET_FLAGS, SYNC_WAKE_UP) };
    loop {
        let mut ready = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
        // SAFETY: polls and answers our own descriptor with memory of this stack.
        unsafe {
            if libc::poll(&raw mut ready, 1, -1) < 0 || ready.revents & libc::POLLIN == 0 {
                return;
            }
            let mut call: libc::seccomp_notif = std::mem::zeroed();
            if libc::ioctl(listener, RECEIVE, &raw mut call) < 0 {
                continue;
            }
            let mut answer: libc::seccomp_notif_resp = std::mem::zeroed();
            answer.id = call.id;
            answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
            libc::ioctl(listener, ANSWER, &raw mut answer);
        }
    }
}

/// A control message with one descriptor.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    descriptor: RawFd,
}

fn message(byte: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: a header of zeros is one without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = byte;
    message.msg_iovlen = 1;
    message.msg_control = std::ptr::from_mut(control).cast();
    message.msg_controllen = size_of::<Control>();
    message
}

fn control(descriptor: RawFd) -> Control {
    let header = libc::cmsghdr {
        cmsg_len: size_of::<libc::cmsghdr>() + size_of::<RawFd>(),
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    Control { header, descriptor }
}

fn send(to: RawFd, descriptor: RawFd) -> io::Result<()> {
    let mut text = *b"x";
    let mut byte = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = control(descriptor);
    let message = message(&mut byte, &mut control);
    // SAFETY: everything that the header names lives until the call returns.
    if unsafe { libc::sendmsg(to, &raw const message, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn receive(from: RawFd) -> io::Result<OwnedFd> {
    let mut text = [0_u8];
    let mut byte = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = control(-1);
    let mut message = message(&mut byte, &mut control);
    // SAFETY: as above; the descriptor is ours once it was received.
    unsafe {
        if libc::recvmsg(from, &raw mut message, 0) < 1 || control.descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(control.descriptor))
    }
}
