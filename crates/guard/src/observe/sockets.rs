//! Calls on sockets: what is opened, where it is connected or bound, to whom a message goes.
//!
//! Where `Network` is declared without bounds, every address is, and the calls go on as they are.
//! Where it is not, only sockets between processes of this machine exist (`socket` refuses all
//! others by a register that cannot change), and every address is judged on a copy with which the
//! supervisor then makes the call itself (`emulate/sockets.rs`).
//!
//! Where `Network` is declared and a proxy is the only destination, there are sockets of TCP over
//! IPv4 as well. The placeholder address of the proxy is the only one they can be connected to:
//! the supervisor makes that connection, to where the proxy really listens, and everything else is
//! refused as without the declaration.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use super::files::{FOLLOWED, LAST, missing};
use super::{CONTINUE, Decision, Observer, StoppedCall, error};
use crate::calls::{
    BIND_TO_DEVICE, BIND_TO_INTERFACE, IP_OPTIONS, MULTICAST_JOIN_OPTIONS,
    MULTICAST_JOIN_OPTIONS_IPV6, PASS_CREDENTIALS, PASS_PROCESS_HANDLE,
};
use crate::emulate::Handle;
use crate::emulate::sockets::{self, Action, Address, Caller, Message, SocketCall};
use crate::policy::{Capability, Destinations, Proxy};
use crate::report::{Category, Charge};
use crate::sys::{self, Answer};
use crate::text;
use crate::tree;
use crate::view::{Destination, Found};

/// The kernel's own bound on messages of one call, and on the parts of one message.
const MAX_MESSAGES: u64 = 1_024;
const MAX_PARTS: usize = 1_024;
/// Bytes of one call that are copied; a stream returns the shorter length.
const MAX_DATA: usize = 8 << 20;
/// The kernel's own bounds on ancillary data and on the descriptors in it.
const MAX_CONTROL: usize = 20_480;
const MAX_DESCRIPTORS: usize = 253;
/// `struct msghdr` and `struct mmsghdr` of both supported machines.
const HEADER_BYTES: usize = 56;
const MANY_HEADER_BYTES: u64 = 64;
/// The longest address the kernel takes.
const MAX_ADDRESS: u64 = 128;
/// What the type of a new socket says beside its type.
const SOCKET_FLAGS: i32 = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
/// An abstract name that a local socket gets without asking for a certain one.
const CHOSEN_NAME: &str = "unix:@ (a name that the kernel chooses)";

/// Where an address leads, judged on its copy.
enum Judged {
    /// The call may be made with this.
    Perform(Address),
    Answer(Decision),
}

/// What is held of a caller for which a call is made.
pub(super) struct Held {
    /// A duplicate of the descriptor: a socket, or the file of a lock or of watches.
    pub(super) socket: OwnedFd,
    /// The caller itself, or its process (`sys::handle_of`).
    thread: OwnedFd,
}

/// What an address says.
enum Meaning<'a> {
    /// The kernel reads no address out of it, and says so.
    Nothing,
    Path(&'a [u8]),
    /// A family of local sockets without a name: bound to it, a socket gets an abstract name.
    ChosenName,
    /// The kernel's list of interfaces: no other socket of this family is ever given.
    Interfaces,
    Far(String),
}

impl Observer {
    /// Sockets other than local ones; exotic families are always refused, whose effects nothing
    /// here understands.
    pub(super) fn socket(&mut self, seen: &StoppedCall<'_>) -> Decision {
        let family = seen.int(0);
        if family == libc::AF_NETLINK && seen.int(2) == libc::NETLINK_ROUTE {
            // With this socket programs list the host's interfaces. Changing anything with it needs
            // a capability that no guarded command has, and so does writing to other programs
            // (M15).
            let target = "network interfaces (NETLINK_ROUTE)".to_owned();
            return self.charge(seen, Category::FsRead, Charge::Listed, target, None);
        }
        let known = matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_NETLINK);
        let target = format!("socket family {family}");
        if self.policy.reaches_some() {
            return self.socket_for_the_proxy(seen, target);
        }
        if self.policy.reaches_all() && known {
            return self.network(seen, target);
        }
        if is_plain(family, seen.int(1), seen.int(2)) {
            return self.plain_socket(seen, target);
        }
        if known {
            return self.network(seen, target);
        }
        let declared = self.policy.declares(Capability::Network);
        let charge = if declared { Charge::Listed } else { Charge::Undeclared };
        self.record(seen, Category::Network, charge, target, false);
        error(libc::EAFNOSUPPORT)
    }

    /// Creating a socket of TCP or UDP sends nothing, and programs do it to find out what the
    /// machine can. Every way to give it an address, a peer or a group is judged when it is tried,
    /// but for one: the kernel gives a socket of UDP a port when anything is sent by it, also by
    /// `write`, which does not stop. So the command gets one that receives nothing.
    fn plain_socket(&mut self, seen: &StoppedCall<'_>, target: String) -> Decision {
        let kind = seen.int(1);
        let datagrams = kind & !SOCKET_FLAGS == libc::SOCK_DGRAM;
        if datagrams && self.traced {
            // A tracer cannot give a descriptor away.
            return self.network(seen, target);
        }
        let listed = self.charge(seen, Category::Network, Charge::Listed, target, None);
        if !datagrams {
            return listed;
        }
        match sockets::deaf_socket(seen.int(0), kind & libc::SOCK_NONBLOCK) {
            Ok(file) => Decision::Open { file, close_on_exec: kind & libc::SOCK_CLOEXEC != 0 },
            Err(failure) => error(failure.raw_os_error().unwrap_or(libc::EAFNOSUPPORT)),
        }
    }

    /// Only TCP over IPv4 leads to the proxy. Family, type and protocol are registers.
    fn socket_for_the_proxy(&mut self, seen: &StoppedCall<'_>, target: String) -> Decision {
        let (family, kind) = (seen.int(0), seen.int(1) & !SOCKET_FLAGS);
        let is_tcp = kind == libc::SOCK_STREAM && matches!(seen.int(2), 0 | libc::IPPROTO_TCP);
        match family {
            libc::AF_INET if is_tcp => {
                self.charge(seen, Category::Network, Charge::Declared, target, None)
            }
            // Clients ask in this way whether the machine has IPv6, some when they are loaded, and
            // go on without (M15). No socket is made, so nothing can come of it.
            libc::AF_INET6 => {
                self.record(seen, Category::Network, Charge::Listed, target, false);
                error(libc::EAFNOSUPPORT)
            }
            _ => {
                let target = match family {
                    libc::AF_INET => format!("{target}, type {kind}, protocol {}", seen.int(2)),
                    _ => target,
                };
                self.network(seen, target)
            }
        }
    }

    /// Charges what is not declared. With a proxy as the only destination, all that comes here is
    /// something else.
    fn network(&mut self, seen: &StoppedCall<'_>, target: String) -> Decision {
        if self.policy.reaches_all() {
            return self.charge(seen, Category::Network, Charge::Declared, target, None);
        }
        let target = match (self.policy.reaches_some(), &self.policy.destinations) {
            (true, Destinations::Proxy(proxy)) => {
                format!("{target} (only {} can be reached)", proxy.shown)
            }
            (true, _) => format!("{target} (no address can be reached)"),
            (false, _) => target,
        };
        self.charge(seen, Category::Network, Charge::Undeclared, target, None)
    }

    /// The proxy, if these bytes are its placeholder address.
    fn proxy_at(&self, bytes: &[u8]) -> Option<&Proxy> {
        let Destinations::Proxy(proxy) = &self.policy.destinations else { return None };
        if !self.policy.reaches_some() {
            return None;
        }
        // The rest of the structure is padding, which the kernel does not read.
        let expected = sockets::address_of(proxy.shown);
        (bytes.len() >= expected.len() && bytes[..8] == expected[..8]).then_some(proxy)
    }

    pub(super) fn connect(
        &mut self,
        seen: &StoppedCall<'_>,
        address: u64,
        length: u64,
    ) -> io::Result<Decision> {
        // Copied once: everything from here on is about the copy (M13).
        let bytes = match address_bytes(seen, address, length)? {
            Ok(bytes) => bytes,
            Err(number) => return Ok(error(number)),
        };
        if self.policy.reaches_all() {
            return self.show_address(seen, &bytes);
        }
        if seen.call.name == "connect"
            && let Some(proxy) = self.proxy_at(&bytes).cloned()
        {
            return self.connect_to_proxy(seen, proxy);
        }
        match self.judge_address(seen, bytes)? {
            Judged::Answer(decision) => Ok(decision),
            Judged::Perform(address) => self.perform(seen, Action::Connect(address)),
        }
    }

    /// The supervisor connects the command's socket, to an address that it never had from the
    /// command.
    fn connect_to_proxy(&mut self, seen: &StoppedCall<'_>, proxy: Proxy) -> io::Result<Decision> {
        if self.restricted {
            self.refused(seen.stopped.tid, seen.call.name, "under own Landlock rules".to_owned());
            return Ok(error(libc::EACCES));
        }
        let shown = proxy.shown.to_string();
        let decision = self.charge(seen, Category::Network, Charge::Declared, shown, None);
        if !matches!(decision, Decision::Answer(Answer::Continue)) {
            return Ok(decision);
        }
        self.perform(seen, Action::Proxy(proxy))
    }

    /// Only sockets between processes of this machine may wait for connections. One of the network
    /// that was never bound would get an address by this, and everybody could connect to it.
    pub(super) fn listen(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        let held = match self.hold(seen)? {
            Ok(held) => held,
            Err(decision) => return Ok(decision),
        };
        match sockets::family(&held.socket) {
            Ok(libc::AF_UNIX) => self.perform_on(seen, held, Action::Listen(seen.int(1))),
            Ok(_) => Ok(self.network(seen, "waiting for connections".to_owned())),
            Err(failure) => Ok(error(failure.raw_os_error().unwrap_or(libc::ENOTSOCK))),
        }
    }

    /// Options by which the connection to the proxy would leave this machine: a way that the
    /// packets have to take, or an interface. The supervisor connects the command's own socket,
    /// which would keep them. Level, name and length are registers, so what goes on here cannot
    /// become another call.
    pub(super) fn socket_option(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        let (level, name, length) = (seen.int(1), seen.int(2), seen.int(4));
        let shown = match (level, name) {
            (libc::SOL_SOCKET, PASS_CREDENTIALS | PASS_PROCESS_HANDLE) => {
                return self.pass_credentials(seen, name);
            }
            // A length of 0 removes the options, which is harmless.
            (libc::IPPROTO_IP, IP_OPTIONS) if length != 0 => "options of IP packets",
            (libc::SOL_SOCKET, BIND_TO_DEVICE | BIND_TO_INTERFACE) => "an interface of its choice",
            (libc::IPPROTO_IP, name) if MULTICAST_JOIN_OPTIONS.contains(&name) => {
                "joining a group of receivers"
            }
            (libc::IPPROTO_IPV6, name) if MULTICAST_JOIN_OPTIONS_IPV6.contains(&name) => {
                "joining a group of receivers"
            }
            _ => return Ok(CONTINUE),
        };
        Ok(self.network(seen, shown.to_owned()))
    }

    /// The credentials of senders. A local socket without a name gets an abstract one for this, by
    /// the next call that connects it or sends by it; `write` is one, and does not stop. So the
    /// option is charged like that name, and no such socket ever has it. A name is never lost:
    /// a socket that has one is given the option by the supervisor.
    fn pass_credentials(&mut self, seen: &StoppedCall<'_>, name: i32) -> io::Result<Decision> {
        if seen.int(4) < size_of::<i32>() as i32 {
            return Ok(error(libc::EINVAL));
        }
        let mut value = Vec::with_capacity(size_of::<i32>());
        seen.memory.copy_into(&mut value, seen.arg(3), size_of::<i32>())?;
        let value = i32::from(value.iter().any(|byte| *byte != 0));
        let held = match self.hold(seen)? {
            Ok(held) => held,
            Err(decision) => return Ok(decision),
        };
        let local = sockets::family(&held.socket)? == libc::AF_UNIX;
        if value == 0 || !local || sockets::has_name(&held.socket)? {
            return self.perform_on(seen, held, Action::Option { name, value });
        }
        if sockets::is_stream(&held.socket)? && sockets::is_connected(&held.socket) {
            // What is sent by a connected stream gives it no name; connecting it again would. The
            // answer is that of a kernel without this option.
            self.refused(seen.stopped.tid, seen.call.name, "credentials of senders".to_owned());
            return Ok(error(libc::EOPNOTSUPP));
        }
        Ok(self.network(seen, CHOSEN_NAME.to_owned()))
    }

    /// Records an address that is declared whatever it is. The kernel reads it again, so what is
    /// shown is what was asked for when the guard looked.
    fn show_address(&mut self, seen: &StoppedCall<'_>, bytes: &[u8]) -> io::Result<Decision> {
        match meaning(bytes) {
            Meaning::Nothing | Meaning::ChosenName | Meaning::Interfaces => Ok(CONTINUE),
            Meaning::Far(shown) => Ok(self.network(seen, shown)),
            Meaning::Path(path) => {
                let place = seen.view.resolve(libc::AT_FDCWD, path, FOLLOWED)?;
                Ok(match place {
                    Destination::File { path, .. } if is_name_service(&path) => missing(),
                    Destination::File { found: Found::Here(_) | Found::Hidden, .. } => {
                        self.network(seen, format!("unix:{}", text::escape(path)))
                    }
                    _ => CONTINUE,
                })
            }
        }
    }

    fn judge_address(&mut self, seen: &StoppedCall<'_>, bytes: Arc<[u8]>) -> io::Result<Judged> {
        let path = match meaning(&bytes) {
            Meaning::Nothing | Meaning::Interfaces => {
                return Ok(Judged::Perform(Address { bytes, target: None }));
            }
            // No socket has such an address, and the kernel says so.
            Meaning::ChosenName => return Ok(Judged::Answer(error(libc::EINVAL))),
            Meaning::Far(shown) => return Ok(Judged::Answer(self.network(seen, shown))),
            Meaning::Path(path) => path,
        };
        let shown = format!("unix:{}", text::escape(path));
        let (path, found) = match seen.view.resolve(libc::AT_FDCWD, path, FOLLOWED)? {
            // A descriptor's own link: nothing is bound there.
            Destination::Nameless { .. } => return Ok(Judged::Answer(error(libc::ECONNREFUSED))),
            Destination::File { path, found } => (path, found),
        };
        // The name services of the host are not there for a guarded command: their answers describe
        // the host, and libraries go on without them (M15).
        if is_name_service(&path) {
            return Ok(Judged::Answer(missing()));
        }
        match found {
            Found::Missing => return Ok(Judged::Answer(missing())),
            Found::Unreachable(number) => return Ok(Judged::Answer(error(number))),
            Found::Here(_) | Found::Hidden => {}
        }
        // Only what this run bound itself; any other socket is another program's.
        match self.own_socket(&path) {
            Some(target) => Ok(Judged::Perform(Address { bytes, target: Some(target) })),
            None => Ok(Judged::Answer(self.network(seen, shown))),
        }
    }

    /// A handle on a socket file that this run bound.
    fn own_socket(&self, path: &Path) -> Option<OwnedFd> {
        let handle = Handle::open(path, false).ok()?;
        let (_, stat) = handle.place().ok()?;
        self.own_sockets.contains(stat.identity()).then(|| handle.into())
    }

    pub(super) fn bind(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        let bytes = match address_bytes(seen, seen.arg(1), seen.arg(2))? {
            Ok(bytes) => bytes,
            Err(number) => return Ok(error(number)),
        };
        let decision = match meaning(&bytes) {
            // The kernel takes an address of no family for one of IPv4 here.
            Meaning::Nothing if !self.policy.reaches_all() && !bytes.is_empty() => {
                match self.hold(seen)? {
                    Ok(held) if sockets::family(&held.socket)? != libc::AF_INET => CONTINUE,
                    Ok(_) => self.network(seen, "an address of its own".to_owned()),
                    Err(decision) => decision,
                }
            }
            Meaning::Nothing | Meaning::Interfaces => CONTINUE,
            Meaning::ChosenName => self.network(seen, CHOSEN_NAME.to_owned()),
            Meaning::Far(shown) if !self.policy.reaches_all() && is_loopback_probe(&bytes) => {
                self.probe_loopback(seen, &bytes, shown)?
            }
            Meaning::Far(shown) => self.network(seen, shown),
            // The last name is the new one, so a link there is not followed.
            Meaning::Path(path) => match seen.view.resolve(libc::AT_FDCWD, path, LAST)? {
                Destination::File { path, found: Found::Here(_) } => {
                    self.failing_attempt(&[&path], Answer::Error(libc::EADDRINUSE))
                }
                Destination::File { path, found } => self.make(seen, &path, &found),
                Destination::Nameless { .. } => error(libc::EADDRINUSE),
            },
        };
        let goes_on = matches!(decision, Decision::Answer(Answer::Continue));
        if !goes_on || self.policy.reaches_all() {
            return Ok(decision);
        }
        if self.restricted {
            // The command's own rules may forbid it, and the supervisor's thread has only those of
            // the run.
            self.refused(seen.stopped.tid, seen.call.name, "under own Landlock rules".to_owned());
            return Ok(error(libc::EACCES));
        }
        let own = self.own_sockets.clone();
        self.perform(seen, Action::Bind { address: bytes, own })
    }

    /// A socket of TCP that is bound to any port of this machine's own addresses: so libraries find
    /// out whether it has IPv6, some when they are loaded. No other process can tell, as long as
    /// the socket does not wait for connections, which is judged when it is tried. The answer is
    /// the same on every host, and nothing is bound (M15).
    fn probe_loopback(
        &mut self,
        seen: &StoppedCall<'_>,
        bytes: &[u8],
        shown: String,
    ) -> io::Result<Decision> {
        let held = match self.hold(seen)? {
            Ok(held) => held,
            Err(decision) => return Ok(decision),
        };
        let fits = sockets::family(&held.socket)? == family_of(bytes);
        if !(fits && sockets::is_stream(&held.socket)?) {
            return Ok(self.network(seen, shown));
        }
        self.record(seen, Category::Network, Charge::Listed, shown, true);
        Ok(Decision::Answer(Answer::Done))
    }

    /// `sendto` with an address. Without one it does not stop: that is said by a register.
    pub(super) fn send_to(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        if self.policy.reaches_all() {
            return self.connect(seen, seen.arg(4), seen.arg(5));
        }
        let bytes = match address_bytes(seen, seen.arg(4), seen.arg(5))? {
            Ok(bytes) => bytes,
            Err(number) => return Ok(error(number)),
        };
        let address = match self.judge_address(seen, bytes)? {
            Judged::Answer(decision) => return Ok(decision),
            Judged::Perform(address) => Some(address),
        };
        let length = usize::try_from(seen.arg(2)).unwrap_or(usize::MAX).min(MAX_DATA);
        let mut data = Vec::new();
        seen.memory.copy_into(&mut data, seen.arg(1), length)?;
        let message = Message { address, data, descriptors: Vec::new(), length_at: None };
        let flags = seen.int(3);
        self.perform(seen, Action::Send { messages: vec![message], flags, many: false })
    }

    /// `sendmsg` and `sendmmsg`, whose addresses are in structures in memory.
    pub(super) fn message(&mut self, seen: &StoppedCall<'_>, many: bool) -> io::Result<Decision> {
        let count = if many { seen.arg(2).min(MAX_MESSAGES) } else { 1 };
        let declared = self.policy.reaches_all();
        let mut messages = Vec::new();
        let mut room = MAX_DATA;
        for index in 0..count {
            // `sendmmsg` is a row of headers; of a single one the index is 0.
            let at = seen.arg(1).wrapping_add(index * MANY_HEADER_BYTES);
            let header = seen.memory.bytes(at, HEADER_BYTES)?;
            let word = |offset: usize| number(&header[offset..offset + 8]);
            // The length has 32 bits; the rest of the word is padding.
            let (name, length) = (word(0), word(8) & 0xffff_ffff);

            let mut address = None;
            if name != 0 && length != 0 {
                let bytes = match address_bytes(seen, name, length)? {
                    Ok(bytes) => bytes,
                    Err(number) => return Ok(error(number)),
                };
                if declared {
                    let decision = self.show_address(seen, &bytes)?;
                    if !matches!(decision, Decision::Answer(Answer::Continue)) {
                        return Ok(decision);
                    }
                } else {
                    match self.judge_address(seen, bytes)? {
                        Judged::Answer(decision) => return Ok(decision),
                        Judged::Perform(judged) => address = Some(judged),
                    }
                }
            }
            // What is declared goes on without the supervisor, so nothing more has to be copied.
            if declared {
                continue;
            }
            let data = gather(seen, word(16), word(24), &mut room)?;
            let descriptors = match descriptors(seen, word(32), word(40))? {
                Ok(descriptors) => descriptors,
                Err(number) => return Ok(error(number)),
            };
            let length_at = many.then(|| at.wrapping_add(HEADER_BYTES as u64));
            messages.push(Message { address, data, descriptors, length_at });
        }
        if declared {
            return Ok(CONTINUE);
        }
        let flags = seen.int(if many { 3 } else { 2 });
        self.perform(seen, Action::Send { messages, flags, many })
    }

    /// Takes the caller's own socket, whatever its number will mean by the time the call is made.
    fn perform(&mut self, seen: &StoppedCall<'_>, action: Action) -> io::Result<Decision> {
        let held = match self.hold(seen)? {
            Ok(held) => held,
            Err(decision) => return Ok(decision),
        };
        // The kernel takes an address of no family for one of IPv4 where a datagram is sent.
        let addressed = |message: &Message| message.address.is_some();
        if let Action::Send { messages, .. } = &action
            && messages.iter().any(addressed)
            && sockets::sends_to_network(&held.socket)?
        {
            return Ok(self.network(seen, "an address without a family".to_owned()));
        }
        self.perform_on(seen, held, action)
    }

    /// Holds the caller, and the open file in the first argument; or the answer where there is none.
    pub(super) fn hold(&mut self, seen: &StoppedCall<'_>) -> io::Result<Result<Held, Decision>> {
        let tid = seen.stopped.tid;
        let pid = tree::process_of(tid).unwrap_or(tid);
        let held = sys::handle_of(pid, tid).and_then(|thread| {
            // By number now; afterwards the number may belong to another socket.
            let socket = sys::duplicate_of(thread.as_fd(), seen.int(0))?;
            Ok(Held { socket, thread })
        });
        match held {
            Ok(held) => Ok(Ok(held)),
            Err(failure) if is_short_of_descriptors(&failure) => Err(failure),
            Err(failure) if failure.raw_os_error() == Some(libc::EPERM) => {
                let call = seen.call.name;
                self.ledger.mark_incomplete(|| {
                    format!(
                        "{call} on a descriptor of process {pid} could not be made for it: the host \
                         does not let the guard duplicate its descriptors (pidfd_getfd)"
                    )
                });
                Ok(Err(error(libc::EPERM)))
            }
            Err(failure) => Ok(Err(error(failure.raw_os_error().unwrap_or(libc::EBADF)))),
        }
    }

    /// Makes the call on the open file, as the caller.
    pub(super) fn perform_on(
        &mut self,
        seen: &StoppedCall<'_>,
        held: Held,
        action: Action,
    ) -> io::Result<Decision> {
        let Held { socket, thread } = held;
        let tid = seen.stopped.tid;
        let pid = tree::process_of(tid).unwrap_or(tid);
        // Many calls may be under way at once, and few kinds need it afterwards.
        let keeps = matches!(action, Action::Send { .. } | Action::Lock(_));
        let thread = keeps.then_some(thread);
        let caller = Caller {
            pid,
            tid,
            identity: self.identity,
            cwd: sockets::working_directory(tid)?,
            umask: umask(tid),
            domain: Arc::clone(&self.domain),
            thread,
        };
        if !(seen.valid)() {
            // The thread is gone, and what was read may be another's.
            return Ok(error(libc::EINTR));
        }
        Ok(Decision::Perform(Box::new(SocketCall { caller, socket, action })))
    }
}

/// TCP or UDP over IP. Others can be connected by an option, or answer by themselves.
fn is_plain(family: i32, kind: i32, protocol: i32) -> bool {
    let kind = kind & !SOCKET_FLAGS;
    matches!(family, libc::AF_INET | libc::AF_INET6)
        && matches!(
            (kind, protocol),
            (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) | (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP)
        )
}

/// Sockets by which the C library, and what systemd and SSSD plug into it, ask the host about
/// users, groups and names of machines.
fn is_name_service(path: &Path) -> bool {
    const SERVICES: [&str; 10] = [
        "/run/nscd",
        "/var/run/nscd",
        "/run/systemd/userdb",
        "/run/systemd/resolve",
        "/run/systemd/machine",
        "/var/lib/sss/pipes",
        "/run/nslcd",
        "/var/run/nslcd",
        "/run/avahi-daemon/socket",
        "/run/dbus/system_bus_socket",
    ];
    SERVICES.iter().any(|service| crate::paths::is_within(path, Path::new(service)))
}

/// A copy of an address. The inner error is what the kernel would answer.
fn address_bytes(
    seen: &StoppedCall<'_>,
    address: u64,
    length: u64,
) -> io::Result<Result<Arc<[u8]>, i32>> {
    // The kernel takes the length as a signed number of 32 bits.
    let length = length & 0xffff_ffff;
    if length > MAX_ADDRESS {
        return Ok(Err(libc::EINVAL));
    }
    let length = usize::try_from(length).unwrap_or(0);
    if length == 0 {
        return Ok(Ok(Arc::default()));
    }
    if address == 0 {
        return Ok(Err(libc::EFAULT));
    }
    seen.memory.bytes(address, length).map(Ok)
}

/// The family of an address; none where it is too short for one.
fn family_of(address: &[u8]) -> i32 {
    let family = address.first_chunk().map_or(0, |family| u16::from_ne_bytes(*family));
    i32::from(family)
}

fn meaning(bytes: &[u8]) -> Meaning<'_> {
    let Some(rest) = bytes.get(2..) else { return Meaning::Nothing };
    let family = family_of(bytes);
    match family {
        libc::AF_UNSPEC => Meaning::Nothing,
        libc::AF_NETLINK => Meaning::Interfaces,
        libc::AF_UNIX if rest.is_empty() => Meaning::ChosenName,
        libc::AF_UNIX if rest[0] == 0 => {
            Meaning::Far(format!("unix:@{}", text::escape(&rest[1..])))
        }
        libc::AF_UNIX => Meaning::Path(rest.split(|byte| *byte == 0).next().unwrap_or_default()),
        _ => Meaning::Far(far(family, rest)),
    }
}

/// An address of IP; `rest` follows its family.
fn ip_address(family: i32, rest: &[u8]) -> Option<SocketAddr> {
    let port = || rest.get(..2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let v4 = || <[u8; 4]>::try_from(rest.get(2..6)?).ok().map(Ipv4Addr::from);
    let v6 = || <[u8; 16]>::try_from(rest.get(6..22)?).ok().map(Ipv6Addr::from);
    let ip = match family {
        libc::AF_INET => v4().map(IpAddr::from),
        libc::AF_INET6 => v6().map(IpAddr::from),
        _ => None,
    };
    ip.zip(port()).map(SocketAddr::from)
}

fn far(family: i32, rest: &[u8]) -> String {
    let address = ip_address(family, rest);
    address.map_or_else(|| format!("address family {family}"), |address| address.to_string())
}

/// Any port of an address of this machine alone, complete as the kernel takes it.
fn is_loopback_probe(bytes: &[u8]) -> bool {
    const LENGTHS: [usize; 2] = [16, 24];
    let rest = bytes.get(2..).unwrap_or_default();
    ip_address(family_of(bytes), rest).is_some_and(|address| {
        let length = LENGTHS[usize::from(address.is_ipv6())];
        address.port() == 0 && address.ip().is_loopback() && bytes.len() >= length
    })
}

/// The parts of a message in one piece, up to the room that is left.
fn gather(seen: &StoppedCall<'_>, parts: u64, count: u64, room: &mut usize) -> io::Result<Vec<u8>> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > MAX_PARTS {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let mut list = Vec::new();
    seen.memory.copy_into(&mut list, parts, count * 16)?;
    let mut data = Vec::new();
    for part in list.chunks_exact(16) {
        // Bounded by what is left for all parts together.
        let length = usize::try_from(number(&part[8..])).unwrap_or(usize::MAX).min(*room);
        seen.memory.copy_into(&mut data, number(&part[..8]), length)?;
        *room -= length;
    }
    Ok(data)
}

/// Duplicates of the descriptors in ancillary data. The inner error is the answer to data that no
/// supervisor could send for another process.
fn descriptors(
    seen: &StoppedCall<'_>,
    control: u64,
    length: u64,
) -> io::Result<Result<Vec<OwnedFd>, i32>> {
    const HEADER: usize = 16;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if control == 0 || length == 0 {
        return Ok(Ok(Vec::new()));
    }
    if length > MAX_CONTROL {
        return Ok(Err(libc::ENOBUFS));
    }
    let mut bytes = Vec::new();
    seen.memory.copy_into(&mut bytes, control, length)?;
    let tid = seen.stopped.tid;
    let thread = sys::handle_of(tree::process_of(tid).unwrap_or(tid), tid)?;
    let mut found = Vec::new();
    let mut rest = &*bytes;
    while rest.len() >= HEADER {
        let size = usize::try_from(number(&rest[..8])).unwrap_or(usize::MAX);
        if size < HEADER || size > rest.len() {
            return Ok(Err(libc::EINVAL));
        }
        let kind = (number(&rest[8..12]) as i32, number(&rest[12..16]) as i32);
        if kind != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // Credentials would be the supervisor's, and only the kernel can vouch for others.
            return Ok(Err(libc::EPERM));
        }
        for descriptor in rest[HEADER..size].chunks_exact(4) {
            match sys::duplicate_of(thread.as_fd(), number(descriptor) as i32) {
                Ok(descriptor) => found.push(descriptor),
                Err(error) if is_short_of_descriptors(&error) => return Err(error),
                Err(error) => return Ok(Err(error.raw_os_error().unwrap_or(libc::EBADF))),
            }
            if found.len() > MAX_DESCRIPTORS {
                return Ok(Err(libc::EINVAL));
            }
        }
        // Headers begin at multiples of eight.
        rest = &rest[size.next_multiple_of(8).min(rest.len())..];
    }
    Ok(Ok(found))
}

/// Whether this process, or the machine, has no descriptor left. That is not the caller's fault.
fn is_short_of_descriptors(failure: &io::Error) -> bool {
    matches!(failure.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Both supported machines are little endian.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The file mode mask of a thread.
fn umask(tid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    // The usual mask, where the thread is gone or the kernel does not say.
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}
