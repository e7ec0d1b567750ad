//! Socket calls that the supervisor makes on the command's own socket, with its own copy of every
//! argument.
//!
//! The address of a socket is in memory that any thread of the command can rewrite after it was
//! looked at, and a descriptor's number can be given to another socket. A call let go on would
//! therefore reach what was not judged (M13). So the supervisor takes a duplicate of the socket,
//! copies the arguments once, judges the copies, and makes the call with them: on a thread that has
//! taken on the command's user, working directory, file mode mask and Landlock domain, so that the
//! kernel decides as it would for the command, and a peer sees the command's user.
#![expect(unsafe_code, reason = "credentials of one thread, and sendmsg with an owned header")]

use std::collections::{HashMap, HashSet};
use std::io;
use std::mem::size_of;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use libc::{c_int, c_uint, c_ulong, c_void};
use rustix::fs::{AtFlags, CWD, FileType, OFlags, Statx, StatxFlags, statx};
use rustix::net::{Shutdown, SocketType, getpeername, getsockname, shutdown, sockopt};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::locks::{self, LockRequest};
use crate::policy::Proxy;
use crate::sys::{self, Answer};
use crate::tree;

/// Calls under way at once; more fail with `EAGAIN`.
const MAX_CALLS: usize = 256;

/// The sockets that this run has bound to a name in the file system. Any other one belongs to
/// another program.
#[derive(Debug, Clone)]
pub(crate) struct OwnSockets {
    bound: Arc<Mutex<HashSet<(u64, u64)>>>,
    /// Sockets that were in the root before the run.
    before: Arc<HashSet<(u64, u64)>>,
    /// By the clock of file times.
    began: Timespec,
}

impl OwnSockets {
    /// Nothing is bound yet.
    pub(crate) fn new(before: HashSet<(u64, u64)>) -> Self {
        let began = clock_gettime(ClockId::RealtimeCoarse);
        Self { bound: Arc::default(), before: Arc::new(before), began }
    }

    /// Whether this run bound the socket with this device and inode.
    pub(crate) fn contains(&self, identity: (u64, u64)) -> bool {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).contains(&identity)
    }

    /// Registers the file at a name that was just bound.
    ///
    /// Between the bind and this look the command may have moved an older socket there, so only one
    /// that was made during the run counts: by its time of birth, or, where the file system keeps
    /// none, because it was not there before.
    // Not following: a link at this name was put there after the bind.
    fn add(&self, path: &Path) -> io::Result<()> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
        if FileType::from_raw_mode(found.stx_mode.into()) != FileType::Socket {
            return Ok(());
        }
        let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
        let identity = (device, found.stx_ino);

        if self.is_new(&found, identity) {
            self.bound.lock().unwrap_or_else(PoisonError::into_inner).insert(identity);
        }
        Ok(())
    }

    fn is_new(&self, found: &Statx, identity: (u64, u64)) -> bool {
        if found.stx_mask & StatxFlags::BTIME.bits() == 0 {
            return !self.before.contains(&identity);
        }
        let born = (found.stx_btime.tv_sec, i64::from(found.stx_btime.tv_nsec));
        born >= (self.began.tv_sec, self.began.tv_nsec)
    }
}

/// Whom a call is made for.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    /// The user to change to; none where the command runs as the caller.
    pub(crate) identity: Option<(u32, u32)>,
    /// Its working directory, held without being opened.
    pub(crate) cwd: OwnedFd,
    /// Its file mode mask.
    pub(crate) umask: u32,
    /// The Landlock rules of the run.
    pub(crate) domain: Arc<OwnedFd>,
    /// The thread itself, where something is done to it after the call: its numbers may be
    /// another's by then.
    pub(crate) thread: Option<OwnedFd>,
}

impl Caller {
    /// Whether its handle says that it has not ended. Before Linux 6.9 that is a handle of the
    /// process, which may have lost this thread.
    fn is_there(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| sys::is_there(thread.as_fd()))
    }
}

/// An address, copied, and the file it leads to where it is one.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) bytes: Arc<[u8]>,
    /// The socket file that was judged. The call then names this handle, not the path, which may
    /// lead elsewhere by now.
    pub(crate) target: Option<OwnedFd>,
}

/// One message of `sendto`, `sendmsg` or `sendmmsg`, copied.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) address: Option<Address>,
    /// All its parts, one after the other.
    pub(crate) data: Vec<u8>,
    /// Duplicates of the descriptors that go with it.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Where `sendmmsg` expects the number of bytes was sent.
    pub(crate) length_at: Option<u64>,
}

/// What is to be done with the socket.
#[derive(Debug)]
pub(crate) enum Action {
    Connect(Address),
    /// To where the proxy listens.
    Proxy(Proxy),
    /// The length of the queue.
    Listen(i32),
    /// An option of the level `SOL_SOCKET` whose value is a number.
    Option {
        name: i32,
        value: i32,
    },
    /// An address as the command gave it: Landlock decides where a socket file may be made.
    Bind {
        address: Arc<[u8]>,
        own: OwnSockets,
    },
    /// A lock on the file that is held in the socket's place.
    Lock(LockRequest),
    /// Notice of what becomes of a file, by the instance that is held in the socket's place.
    Watch {
        target: OwnedFd,
        mask: u32,
    },
    Send {
        messages: Vec<Message>,
        flags: i32,
        /// `sendmmsg`: the result is the number of messages.
        many: bool,
    },
}

/// One call, ready to be made.
#[derive(Debug)]
pub(crate) struct SocketCall {
    pub(crate) caller: Caller,
    pub(crate) socket: OwnedFd,
    pub(crate) action: Action,
}

impl SocketCall {
    /// Makes the call on a thread of its own, which has become the caller as far as the kernel
    /// looks. May take as long as the caller would have waited.
    fn perform(self, given_up: &AtomicBool) -> Answer {
        if let Action::Lock(lock) = &self.action {
            // A lock belongs to the open file, not to the process that asks for it: no right of the
            // caller decides.
            let should_stop = || {
                let waits = self.caller.is_there() && !given_up.load(Ordering::Relaxed);
                !waits || locks::has_pending_handled_signal(self.caller.tid)
            };
            return answer(lock.take(&self.socket, should_stop));
        }
        let dumpable = dumpable();
        let mut lengths = Vec::new();
        let result = thread::scope(|scope| {
            let lengths = &mut lengths;
            let call = &self;
            let act = move || enter(&call.caller).and_then(|()| call.act(lengths));
            // Scoped, so that the thread can borrow the copies and is gone when they are.
            let thread = thread::Builder::new().spawn_scoped(scope, act)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::from_raw_os_error(libc::EIO)))
        });
        // A thread that is gone needs no lengths, and its number may be another's by now. Where the
        // handle is that of the process, the thread can have ended alone, for example by an exec.
        let Caller { pid, tid, .. } = self.caller;
        if !lengths.is_empty() && self.caller.is_there() && tree::process_of(tid) == Some(pid) {
            // By this thread, which still may: the other one has only the caller's rights.
            for (at, length) in lengths {
                // Memory that was taken away meanwhile needs none either.
                let _ = sys::write_memory(tid, at, &u32::to_ne_bytes(length));
            }
        }
        if self.caller.identity.is_some() {
            // Changing a thread's user made the whole process one that leaves no core file.
            // SAFETY: takes numbers.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, dumpable as c_ulong, 0, 0, 0) };
        }
        answer(result)
    }

    fn act(&self, lengths: &mut Vec<(u64, u32)>) -> io::Result<i64> {
        match &self.action {
            Action::Connect(address) => {
                let address = address.as_given();
                self.name(libc::connect, &address)
            }
            Action::Proxy(proxy) => self.connect_to(proxy),
            Action::Listen(length) => {
                // SAFETY: takes numbers.
                let result = unsafe { libc::listen(self.socket.as_raw_fd(), *length) };
                if result < 0 { Err(io::Error::last_os_error()) } else { Ok(0) }
            }
            Action::Option { name, value } => {
                set_option(&self.socket, *name, value)?;
                Ok(0)
            }
            Action::Bind { address, own } => {
                let done = self.name(libc::bind, address)?;
                if let Some(path) = path_in(address) {
                    own.add(path)?;
                }
                Ok(done)
            }
            // Taken before anything of the caller is.
            Action::Lock(_) => Err(io::Error::from_raw_os_error(libc::ENOLCK)),
            Action::Watch { target, mask } => {
                let way = format!("/proc/self/fd/{}\0", target.as_raw_fd());
                // SAFETY: the kernel reads a string that ends with a zero byte.
                let watch = unsafe {
                    libc::inotify_add_watch(self.socket.as_raw_fd(), way.as_ptr().cast(), *mask)
                };
                if watch < 0 { Err(io::Error::last_os_error()) } else { Ok(i64::from(watch)) }
            }
            Action::Send { messages, flags, many } => self.send(messages, *flags, *many, lengths),
        }
    }

    /// Connects to where the proxy listens, and lets it know by which address of the command.
    fn connect_to(&self, proxy: &Proxy) -> io::Result<i64> {
        let done = self.name(libc::connect, &address_of(proxy.listener));
        let under_way = |error: &io::Error| error.raw_os_error() == Some(libc::EINPROGRESS);
        // The kernel has chosen the port by now, also where the connection is still being made. The
        // proxy serves no connection before it is admitted here.
        if done.as_ref().map_or_else(under_way, |_| true) {
            let own = getsockname(&self.socket)?;
            if let Ok(own) = std::net::SocketAddr::try_from(own) {
                (proxy.admit)(own);
            }
        }
        done
    }

    fn name(
        &self,
        call: unsafe extern "C" fn(c_int, *const libc::sockaddr, libc::socklen_t) -> c_int,
        address: &[u8],
    ) -> io::Result<i64> {
        // Addresses were bounded at 128 bytes when they were copied.
        let length = libc::socklen_t::try_from(address.len()).unwrap_or(0);
        // SAFETY: the kernel reads the address, which has the length given.
        let result = unsafe { call(self.socket.as_raw_fd(), address.as_ptr().cast(), length) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(i64::from(result)) }
    }

    fn send(
        &self,
        messages: &[Message],
        flags: i32,
        many: bool,
        lengths: &mut Vec<(u64, u32)>,
    ) -> io::Result<i64> {
        let mut sent = 0;
        for message in messages {
            let length = match self.send_one(message, flags) {
                Ok(length) => length,
                // What follows the first failure is not sent, and the number says so.
                Err(_) if sent > 0 => break,
                Err(error) => return Err(error),
            };
            if !many {
                return Ok(length);
            }
            if let Some(at) = message.length_at {
                lengths.push((at, u32::try_from(length).unwrap_or(u32::MAX)));
            }
            sent += 1;
        }
        Ok(sent)
    }

    fn send_one(&self, message: &Message, flags: i32) -> io::Result<i64> {
        let address = message.address.as_ref().map(Address::as_given).unwrap_or_default();
        let mut control = control(&message.descriptors);
        let mut part = libc::iovec {
            iov_base: message.data.as_ptr().cast_mut().cast::<c_void>(),
            iov_len: message.data.len(),
        };
        // SAFETY: the header points to buffers that live until the call returns and have the
        // lengths given; the kernel only reads them.
        let sent = unsafe {
            let mut header: libc::msghdr = std::mem::zeroed();
            header.msg_iov = &raw mut part;
            header.msg_iovlen = 1;
            if !address.is_empty() {
                header.msg_name = address.as_ptr().cast_mut().cast();
                header.msg_namelen = address.len() as c_uint;
            }
            if !control.is_empty() {
                header.msg_control = control.as_mut_ptr().cast();
                header.msg_controllen = control.len() * size_of::<u64>();
            }
            // A broken pipe would otherwise signal this process; the caller gets its signal below.
            let quiet = flags | libc::MSG_NOSIGNAL;
            libc::sendmsg(self.socket.as_raw_fd(), &raw const header, quiet)
        };
        if sent >= 0 {
            return Ok(sent as i64);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::EPIPE)
            && flags & libc::MSG_NOSIGNAL == 0
            && self.caller.is_there()
        {
            let (pid, tid) = (self.caller.pid as c_int, self.caller.tid as c_int);
            // The signal that the kernel would have sent the caller. It goes to no thread of
            // another process.
            // SAFETY: takes numbers.
            unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, libc::SIGPIPE) };
        }
        Err(error)
    }
}

impl Address {
    /// The bytes for the kernel.
    fn as_given(&self) -> Vec<u8> {
        let Some(target) = &self.target else { return self.bytes.to_vec() };
        let mut bytes = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
        bytes.extend_from_slice(format!("/proc/self/fd/{}\0", target.as_raw_fd()).as_bytes());
        bytes
    }
}

fn answer(result: io::Result<i64>) -> Answer {
    match result {
        Ok(value) => Answer::Result(value),
        Err(error) => Answer::Error(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// An address as the kernel reads it.
pub(crate) fn address_of(address: SocketAddrV4) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    bytes[4..8].copy_from_slice(&address.ip().octets());
    bytes
}

/// The family of a socket.
///
/// # Errors
/// It is no socket.
pub(crate) fn family(socket: &OwnedFd) -> io::Result<i32> {
    Ok(i32::from(sockopt::socket_domain(socket)?.as_raw()))
}

/// Whether it sends datagrams beyond this machine's own sockets and the kernel.
///
/// # Errors
/// It is no socket.
pub(crate) fn sends_to_network(socket: &OwnedFd) -> io::Result<bool> {
    let local = matches!(family(socket)?, libc::AF_UNIX | libc::AF_NETLINK);
    Ok(!local && !is_stream(socket)?)
}

/// Whether it carries a stream of bytes.
///
/// # Errors
/// It is no socket.
pub(crate) fn is_stream(socket: &OwnedFd) -> io::Result<bool> {
    Ok(sockopt::socket_type(socket)? == SocketType::STREAM)
}

/// Whether it has a peer.
pub(crate) fn is_connected(socket: &OwnedFd) -> bool {
    getpeername(socket).is_ok()
}

/// Whether a local socket has a name, in the file system or an abstract one.
///
/// # Errors
/// It is no socket.
pub(crate) fn has_name(socket: &OwnedFd) -> io::Result<bool> {
    // Nothing but the family where there is none.
    Ok(getsockname(socket)?.addr_len() as usize > size_of::<libc::sa_family_t>())
}

/// A socket of UDP that receives nothing. By whatever call anything is sent by one that was never
/// bound, the kernel gives it a port, at which every machine could reach it.
///
/// # Errors
/// The kernel's own.
pub(crate) fn deaf_socket(family: c_int, flags: c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers; the descriptor it returns belongs to no other code.
    let socket = unsafe {
        let socket = libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | flags, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(socket)
    };
    // A program of one instruction, which keeps no byte of any packet.
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    let mut drops = libc::sock_filter { code, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut drops };
    set_option(&socket, libc::SO_ATTACH_FILTER, &program)?;
    // For good: no holder of the socket can take it off or put another in its place.
    set_option(&socket, libc::SO_LOCK_FILTER, &1)?;
    Ok(socket)
}

/// Sets an option of the level `SOL_SOCKET`.
fn set_option<T>(socket: &OwnedFd, name: c_int, value: &T) -> io::Result<()> {
    let (value, length) = (ptr::from_ref(value).cast::<c_void>(), size_of::<T>());
    let length = libc::socklen_t::try_from(length).unwrap_or(0);
    // SAFETY: the kernel reads a value of the length given, and what a filter program points to,
    // which lives as long as the caller's value.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, value, length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The path in an address of a socket file.
fn path_in(address: &[u8]) -> Option<&Path> {
    let path = address.get(2..)?.split(|byte| *byte == 0).next()?;
    (!path.is_empty()).then(|| Path::new(std::ffi::OsStr::from_bytes(path)))
}

/// Ancillary data that carries the descriptors, aligned as the kernel expects it.
fn control(descriptors: &[OwnedFd]) -> Vec<u64> {
    if descriptors.is_empty() {
        return Vec::new();
    }
    let bytes = (descriptors.len() * size_of::<c_int>()) as u32;
    // SAFETY: arithmetic on numbers.
    let (space, length) = unsafe { (libc::CMSG_SPACE(bytes), libc::CMSG_LEN(bytes)) };
    let mut buffer = vec![0u64; (space as usize).div_ceil(size_of::<u64>())];
    let header = buffer.as_mut_ptr().cast::<libc::cmsghdr>();
    // SAFETY: the buffer is aligned for the header and as long as the macros say it must be.
    unsafe {
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = length as usize;
        let data = libc::CMSG_DATA(header).cast::<c_int>();
        for (index, descriptor) in descriptors.iter().enumerate() {
            data.add(index).write_unaligned(descriptor.as_raw_fd());
        }
    }
    buffer
}

/// Whether this process leaves a core file, as it was before any thread changed its user.
fn dumpable() -> c_int {
    static BEFORE: OnceLock<c_int> = OnceLock::new();
    // SAFETY: takes numbers and answers one.
    *BEFORE.get_or_init(|| unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) })
}

/// Makes this thread like the caller, for good: it ends after the call.
fn enter(caller: &Caller) -> io::Result<()> {
    let check = |result: i64| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: numbers, and descriptors of this process. The raw calls change this thread alone,
    // where the C library would change all threads.
    unsafe {
        // The C library's threads share working directory and mask; this one needs its own.
        check(libc::unshare(libc::CLONE_FS).into())?;
        check(libc::fchdir(caller.cwd.as_raw_fd()).into())?;
        libc::umask(caller.umask);
        if let Some((uid, gid)) = caller.identity {
            // Groups first, the user last: afterwards neither may be changed.
            check(libc::syscall(libc::SYS_setgroups, 0usize, ptr::null::<libc::gid_t>()))?;
            check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
            check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as c_ulong, 0, 0, 0).into())?;
        // Last: its rules hold for everything that follows.
        let domain = caller.domain.as_raw_fd();
        check(libc::syscall(libc::SYS_landlock_restrict_self, domain, 0usize))
    }
}

/// The calls under way, each on its thread.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    threads: Vec<JoinHandle<()>>,
    next: u64,
    /// Their sockets, so that no call outlives the run.
    sockets: Arc<Mutex<HashMap<u64, OwnedFd>>>,
    /// The run is over: nothing waits for a lock any more.
    given_up: Arc<AtomicBool>,
}

impl Calls {
    /// Makes a call and hands its answer to `done`, some time later and on another thread.
    ///
    /// # Errors
    /// There are too many already, or no thread can be started.
    pub(crate) fn start(
        &mut self,
        call: SocketCall,
        done: impl FnOnce(Answer) + Send + 'static,
    ) -> io::Result<()> {
        self.threads.retain(|thread| !thread.is_finished());
        // Only those under way count.
        if self.threads.len() >= MAX_CALLS {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        let (id, sockets) = (self.next, Arc::clone(&self.sockets));
        let given_up = Arc::clone(&self.given_up);
        self.next += 1;
        // A second handle, by which the end of the run can shut the socket down under the call.
        let socket = call.socket.as_fd().try_clone_to_owned()?;
        sockets.lock().unwrap_or_else(PoisonError::into_inner).insert(id, socket);

        let thread = thread::Builder::new().name("socket call".to_owned()).spawn(move || {
            let answer = call.perform(&given_up);
            sockets.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            done(answer);
        });
        match thread {
            Ok(thread) => self.threads.push(thread),
            Err(error) => {
                self.sockets.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
        // Two calls may wait for each other's sockets, which only they still hold: shut down, a
        // socket wakes the threads that wait for it.
        for socket in self.sockets.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let _ = shutdown(socket, Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The working directory of a thread, held without being opened.
///
/// # Errors
/// The thread is gone.
pub(crate) fn working_directory(tid: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = format!("/proc/{tid}/cwd");
    Ok(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_deaf_socket_receives_nothing_and_stays_so() {
        let socket = deaf_socket(libc::AF_INET, libc::SOCK_NONBLOCK).unwrap();
        let removed = set_option(&socket, libc::SO_DETACH_FILTER, &0).unwrap_err();
        assert_eq!(removed.raw_os_error(), Some(libc::EPERM));
        let unlocked = set_option(&socket, libc::SO_LOCK_FILTER, &0).unwrap_err();
        assert_eq!(unlocked.raw_os_error(), Some(libc::EPERM));
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let receiver = UdpSocket::from(socket);
        // The kernel gives it a port for this.
        receiver.connect(sender.local_addr().unwrap()).unwrap();
        sender.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
        let received = receiver.recv(&mut [0; 1]).unwrap_err();
        assert_eq!(received.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_local_socket_has_a_name_once_it_is_bound() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let one = OwnedFd::from(one);
        assert!(!has_name(&one).unwrap() && is_connected(&one) && is_stream(&one).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let bound = std::os::unix::net::UnixDatagram::bind(folder.path().join("s")).unwrap();
        let bound = OwnedFd::from(bound);
        assert!(has_name(&bound).unwrap() && !is_connected(&bound) && !is_stream(&bound).unwrap());
    }
}
