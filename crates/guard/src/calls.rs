//! The system calls a guarded command is stopped at, and what their arguments mean.
//!
//! Everything absent from this table neither changes files, nor starts processes, nor speaks to
//! anybody outside: the kernel lets it pass without a stop. Writing through a descriptor is absent,
//! since opening for writing is the write (M3).

mod condition;
mod metadata;
mod refused;

use std::collections::BTreeSet;

use libc::c_long;

pub(crate) use crate::observe::ObjectKind;

pub(crate) use condition::{Stopping, stopping};
pub(crate) use metadata::{Change, Clock, Target};

/// The position of a path argument: the index of its directory descriptor, if the call has one, and
/// of the path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) dir: Option<usize>,
    pub(crate) path: usize,
}

/// Whether a symbolic link as last component is followed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Follow {
    Always,
    Never,
    /// Unless the flags in this argument have `AT_SYMLINK_NOFOLLOW`.
    UnlessFlag(usize),
}

/// What a call removes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Removal {
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "calls of older machines"))]
    File,
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "calls of older machines"))]
    Directory,
    /// `unlinkat`: the flags in this argument say.
    Flags(usize),
}

/// The position of the flags of an `open`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OpenFlags {
    Arg(usize),
    /// In a `struct open_how` in memory.
    How(usize),
    /// `creat`.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "calls of older machines"))]
    Create,
}

/// What a call does, as far as the guard must understand it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Open {
        at: At,
        flags: OpenFlags,
    },
    /// Makes a name; nothing where it exists.
    Create {
        at: At,
    },
    /// Removes a name; nothing where it is missing or of the other kind.
    Remove {
        at: At,
        kind: Removal,
    },
    /// The flags in this argument may ask to exchange, or not to replace.
    Rename {
        from: At,
        to: At,
        flags: Option<usize>,
    },
    /// A hard link; the flags in this argument may ask to follow.
    Link {
        from: At,
        to: At,
        flags: Option<usize>,
    },
    /// Content by path.
    Truncate {
        at: At,
    },
    Metadata {
        target: Target,
        change: Change,
    },
    Ioctl,
    /// A file without a name, of nothing but memory.
    MemoryFile,
    /// `fcntl`: whom a descriptor's signals go to, locks on parts of a file, leases, hints.
    Control,
    /// A lock on a whole file.
    Lock,
    /// Notice of what becomes of a file or directory (`inotify_add_watch`).
    Watch,
    /// Landlock rules of the command's own.
    Restrict,
    Exec {
        at: At,
        flags: Option<usize>,
    },
    Fork,
    /// Changes the working directory, of whatever it leads to.
    Directory,
    Socket,
    /// The address and its length are the second and third argument.
    Connect,
    Bind,
    /// Where sockets of the network exist, one that was never bound gets an address by this.
    Listen,
    /// `setsockopt`, stopped at the names of options that lead a connection another way, join a
    /// group of receivers, or have the kernel give the socket a name.
    SocketOption,
    /// `sendto`, stopped only where it has an address.
    SendTo,
    /// `sendmsg` and `sendmmsg`: the address is in a structure in memory.
    Message {
        many: bool,
    },
    /// Acts on the process in this argument; with a signal argument or without.
    Process {
        pid: usize,
        signal: Option<usize>,
    },
    /// A signal by a descriptor of a process.
    SignalHandle,
    /// Reads the memory of the process in this argument.
    Peek {
        pid: usize,
    },
    /// No guarded command gets this, and aimed at a process outside it is charged.
    RefuseProcess {
        pid: usize,
    },
    /// No guarded command gets this; answered with an error number.
    Refuse(i32),
    /// An object of the system without a path.
    SystemObject(SystemObject),
}

/// How a call names an object of the system.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SystemObject {
    /// A POSIX message queue, by its name in memory.
    Queue,
    /// By the key in the first argument.
    Key(ObjectKind),
    /// By the number in the first argument; the command of a control call is in another one.
    Id { kind: ObjectKind, command: Option<usize> },
}

/// When the kernel stops at a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    Always,
    /// If any of these bits is set in the argument.
    Bits(usize, u32),
    /// If the argument is not zero.
    NotZero(usize),
    /// If the low half of the argument has not this value.
    NotEqual(usize, u32),
    /// If the low half of the argument has this value.
    Equal(usize, u32),
    /// If the low half of the argument is at least the first value and less than the second.
    Between(usize, u32, u32),
    /// New namespaces and new processes, not new threads.
    Clone,
    /// Requests that change more than the descriptor, as far as their numbers show.
    Ioctl,
    /// Never: the kernel itself answers with this error number, and the supervisor does not see it.
    Fail(u16),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) number: c_long,
    pub(crate) name: &'static str,
    pub(crate) stop: Stop,
    pub(crate) shape: Shape,
}

/// What changes the table from one run to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Stop at opening for reading too.
    pub(crate) reads: bool,
    /// Stop at every new process, and at changes of the working directory. Not where processes are
    /// declared: a call that waits to be seen can be interrupted by a signal, and shells, which
    /// fork while their children's signals arrive, take that for a lack of processes.
    pub(crate) forks: bool,
    /// Stop at listening, and at options that reach the network or lead a connection another way:
    /// where sockets of the network exist and not every address is declared, no process may connect
    /// to them, and they lead to one place or to none.
    pub(crate) listens: bool,
    /// Other reads than the policy's are refused, so what tells about files without opening them is
    /// stopped too.
    pub(crate) denies: bool,
    /// The Landlock ABI: what an older one does not confine is stopped here (M11).
    pub(crate) abi: u32,
}

const WRITING: u32 = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) as u32;
/// The flags of `clone` that ask for a new namespace.
pub(crate) const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;
/// The first number no kernel known here has given out. What a later one adds is not there for a
/// command.
pub(crate) const UNKNOWN_NUMBERS: u32 = 470;

/// The way of a packet, stop by stop (`IP_OPTIONS`, at the level of IP).
pub(crate) const IP_OPTIONS: i32 = libc::IP_OPTIONS;
/// The interface that a socket's packets leave by, by its name and by its number.
pub(crate) const BIND_TO_DEVICE: i32 = libc::SO_BINDTODEVICE;
pub(crate) const BIND_TO_INTERFACE: i32 = 62;
/// The credentials of senders, as numbers and as a handle of their process. A local socket without
/// a name that has one of these options gets an abstract name when it is connected or used to send.
pub(crate) const PASS_CREDENTIALS: i32 = libc::SO_PASSCRED;
pub(crate) const PASS_PROCESS_HANDLE: i32 = libc::SO_PASSPIDFD;

/// The receiver of a descriptor's signals, in memory.
pub(crate) const F_SETOWN_EX: i32 = 15;
/// A lease on a directory, of newer kernels.
pub(crate) const F_SETDELEG: i32 = 1_040;
/// The expected lifetime of a file's data, which is kept with the file.
pub(crate) const F_SET_RW_HINT: i32 = 1_036;
/// What `fcntl` is stopped at.
const CONTROLS: [u32; 9] = [
    libc::F_SETOWN as u32,
    F_SETOWN_EX as u32,
    libc::F_SETLK as u32,
    libc::F_SETLKW as u32,
    libc::F_OFD_SETLK as u32,
    libc::F_OFD_SETLKW as u32,
    libc::F_SETLEASE as u32,
    F_SETDELEG as u32,
    F_SET_RW_HINT as u32,
];
// One number on every machine, and not known to every C library.
const GETXATTRAT: c_long = 464;
const LISTXATTRAT: c_long = 465;
/// Options by which a socket joins a group of receivers, which the kernel announces on the network:
/// of the level `IPPROTO_IP`, and of `IPPROTO_IPV6`. The same numbers mean other things at the
/// other level.
pub(crate) const MULTICAST_JOIN_OPTIONS: [i32; 4] = [35, 39, 42, 46];
pub(crate) const MULTICAST_JOIN_OPTIONS_IPV6: [i32; 4] = [20, 27, 42, 46];
/// Requests about the host's interfaces, routes and neighbours, which every socket answers: from
/// the first number on, below the second one.
pub(crate) const INTERFACE_REQUESTS: (u32, u32) = (0x8910, 0x8a00);
/// `PRIO_USER` and `IOPRIO_WHO_USER`: all processes of a user, outside the tree too.
pub(crate) const PRIORITY_OF_USER: u32 = 2;
pub(crate) const IO_PRIORITY_OF_USER: u32 = 3;

/// Requests by `ioctl` that ask a terminal, or are about the descriptor alone: `TCGETS`,
/// `TIOCGPGRP`, `TIOCOUTQ`, `TIOCGWINSZ`, `FIONREAD`, `FIONBIO`, `TIOCGSID`, `FIONCLEX`, `FIOCLEX`,
/// `FIOASYNC`.
pub(crate) const DESCRIPTOR_REQUESTS: [u32; 10] =
    [0x5401, 0x540f, 0x5411, 0x5413, 0x541b, 0x5421, 0x5429, 0x5450, 0x5451, 0x5452];
/// The receiver of a socket's signals, by both names.
pub(crate) const OWNER_REQUESTS: [u32; 2] = [0x8901, 0x8902];
/// A child of which no tracer is notified. The tracer takes the flag away.
pub(crate) const UNTRACED: u32 = libc::CLONE_UNTRACED as u32;

const fn plain(path: usize) -> At {
    At { dir: None, path }
}

const fn at(dir: usize, path: usize) -> At {
    At { dir: Some(dir), path }
}

fn row(number: c_long, name: &'static str, stop: Stop, shape: Shape) -> Call {
    Call { number, name, stop, shape }
}

/// The table for this machine.
pub(crate) fn table(options: Options) -> Vec<Call> {
    let mut rows = files(options);
    #[cfg(target_arch = "x86_64")]
    rows.extend(legacy(options));
    rows.extend(metadata::rows());
    rows.extend(processes(options));
    rows.extend(sockets(options));
    rows.extend(refused::rows());
    if options.denies {
        rows.extend(path_probes());
        let (first, end) = INTERFACE_REQUESTS;
        rows.push(row(libc::SYS_ioctl, "ioctl", Stop::Between(1, first, end), Shape::Ioctl));
    }
    rows
}

fn files(options: Options) -> Vec<Call> {
    use Shape::{Create, Link, Open, Remove, Rename};
    let open = |flags| if options.reads { Stop::Always } else { Stop::Bits(flags, WRITING) };
    vec![
        row(libc::SYS_openat, "openat", open(2), Open { at: at(0, 1), flags: OpenFlags::Arg(2) }),
        openat2(options),
        row(libc::SYS_mkdirat, "mkdirat", Stop::Always, Create { at: at(0, 1) }),
        row(libc::SYS_mknodat, "mknodat", Stop::Always, Create { at: at(0, 1) }),
        row(libc::SYS_symlinkat, "symlinkat", Stop::Always, Create { at: at(1, 2) }),
        row(
            libc::SYS_unlinkat,
            "unlinkat",
            Stop::Always,
            Remove { at: at(0, 1), kind: Removal::Flags(2) },
        ),
        row(
            libc::SYS_renameat2,
            "renameat2",
            Stop::Always,
            Rename { from: at(0, 1), to: at(2, 3), flags: Some(4) },
        ),
        row(
            libc::SYS_renameat,
            "renameat",
            Stop::Always,
            Rename { from: at(0, 1), to: at(2, 3), flags: None },
        ),
        row(
            libc::SYS_linkat,
            "linkat",
            Stop::Always,
            Link { from: at(0, 1), to: at(2, 3), flags: Some(4) },
        ),
        row(libc::SYS_truncate, "truncate", Stop::Always, truncate(options)),
        row(libc::SYS_memfd_create, "memfd_create", Stop::Always, Shape::MemoryFile),
    ]
}

/// Its flags are in memory. Where Landlock does not confine truncation (before ABI 3) nothing
/// else would stop a flag that is swapped, so the call is not there; programs go on with `openat`.
fn openat2(options: Options) -> Call {
    if options.abi < 3 {
        let absent = Stop::Fail(libc::ENOSYS as u16);
        return row(libc::SYS_openat2, "openat2", absent, Shape::Refuse(libc::ENOSYS));
    }
    let how = Shape::Open { at: at(0, 1), flags: OpenFlags::How(2) };
    row(libc::SYS_openat2, "openat2", Stop::Always, how)
}

fn truncate(options: Options) -> Shape {
    if options.abi < 3 { Shape::Refuse(libc::EACCES) } else { Shape::Truncate { at: plain(0) } }
}

fn processes(options: Options) -> Vec<Call> {
    use Shape::{Directory, Exec, Fork, Process, Refuse};
    let forks = if options.forks { Stop::Clone } else { Stop::Bits(0, NEW_NAMESPACES) };
    let mut rows = vec![
        row(libc::SYS_execve, "execve", Stop::Always, Exec { at: plain(0), flags: None }),
        row(libc::SYS_execveat, "execveat", Stop::Always, Exec { at: at(0, 1), flags: Some(4) }),
        row(libc::SYS_clone, "clone", forks, Fork),
        // Its flags are in memory. The C libraries fall back to clone.
        row(libc::SYS_clone3, "clone3", Stop::Fail(libc::ENOSYS as u16), Refuse(libc::ENOSYS)),
        row(
            libc::SYS_unshare,
            "unshare",
            Stop::Bits(0, NEW_NAMESPACES | libc::CLONE_NEWTIME as u32),
            Refuse(libc::EPERM),
        ),
    ];
    if options.forks {
        rows.extend([
            row(libc::SYS_chdir, "chdir", Stop::Always, Directory),
            row(libc::SYS_fchdir, "fchdir", Stop::Always, Directory),
        ]);
    }
    let signal = |number, name, signal| {
        row(number, name, Stop::Always, Process { pid: 0, signal: Some(signal) })
    };
    rows.extend([
        signal(libc::SYS_kill, "kill", 1),
        signal(libc::SYS_tkill, "tkill", 1),
        signal(libc::SYS_tgkill, "tgkill", 2),
        signal(libc::SYS_rt_sigqueueinfo, "rt_sigqueueinfo", 1),
        signal(libc::SYS_rt_tgsigqueueinfo, "rt_tgsigqueueinfo", 2),
        row(libc::SYS_pidfd_open, "pidfd_open", Stop::Always, Process { pid: 0, signal: None }),
        row(
            libc::SYS_pidfd_send_signal,
            "pidfd_send_signal",
            Stop::Always,
            // The descriptor may mean another process after the look: only Landlock keeps the
            // signal in the tree.
            if options.abi < 6 { Refuse(libc::EPERM) } else { Shape::SignalHandle },
        ),
    ]);
    rows.extend(fcntl_and_locks());
    rows.extend(settings());
    rows
}

/// What reaches beyond a descriptor without a path.
fn fcntl_and_locks() -> Vec<Call> {
    let mut rows: Vec<Call> = CONTROLS
        .into_iter()
        .map(|command| row(libc::SYS_fcntl, "fcntl", Stop::Equal(1, command), Shape::Control))
        .collect();
    // Unlocking affects no other process, so `LOCK_UN` does not stop.
    let locks = Stop::Bits(1, (libc::LOCK_SH | libc::LOCK_EX) as u32);
    rows.push(row(libc::SYS_flock, "flock", locks, Shape::Lock));
    let restrict = libc::SYS_landlock_restrict_self;
    rows.push(row(restrict, "landlock_restrict_self", Stop::Always, Shape::Restrict));
    rows
}

/// Ways to learn of files by their paths without opening them. No Landlock right confines them.
fn path_probes() -> Vec<Call> {
    // As on a file system without attributes: programs go on without them. `fgetxattr` stays
    // allowed: its caller has opened the file already.
    let absent = |number, name| {
        let stop = Stop::Fail(libc::EOPNOTSUPP as u16);
        row(number, name, stop, Shape::Refuse(libc::EOPNOTSUPP))
    };
    vec![
        row(libc::SYS_inotify_add_watch, "inotify_add_watch", Stop::Always, Shape::Watch),
        absent(libc::SYS_getxattr, "getxattr"),
        absent(libc::SYS_lgetxattr, "lgetxattr"),
        absent(libc::SYS_listxattr, "listxattr"),
        absent(libc::SYS_llistxattr, "llistxattr"),
        absent(GETXATTRAT, "getxattrat"),
        absent(LISTXATTRAT, "listxattrat"),
    ]
}

/// What one process may change about another.
fn settings() -> Vec<Call> {
    use Shape::{Peek, Process, RefuseProcess};
    let other =
        |number, name| row(number, name, Stop::NotZero(0), Process { pid: 0, signal: None });
    let who = |number, name, stop| row(number, name, stop, Process { pid: 1, signal: None });
    vec![
        other(libc::SYS_prlimit64, "prlimit64"),
        other(libc::SYS_sched_setaffinity, "sched_setaffinity"),
        other(libc::SYS_sched_setscheduler, "sched_setscheduler"),
        other(libc::SYS_sched_setparam, "sched_setparam"),
        other(libc::SYS_sched_setattr, "sched_setattr"),
        other(libc::SYS_migrate_pages, "migrate_pages"),
        other(libc::SYS_move_pages, "move_pages"),
        who(libc::SYS_setpriority, "setpriority", Stop::NotZero(1)),
        who(libc::SYS_setpriority, "setpriority", Stop::Equal(0, PRIORITY_OF_USER)),
        who(libc::SYS_ioprio_set, "ioprio_set", Stop::NotZero(1)),
        who(libc::SYS_ioprio_set, "ioprio_set", Stop::Equal(0, IO_PRIORITY_OF_USER)),
        row(libc::SYS_ptrace, "ptrace", Stop::Always, RefuseProcess { pid: 1 }),
        row(
            libc::SYS_process_vm_writev,
            "process_vm_writev",
            Stop::Always,
            RefuseProcess { pid: 0 },
        ),
        row(libc::SYS_process_vm_readv, "process_vm_readv", Stop::Always, Peek { pid: 0 }),
    ]
}

fn sockets(options: Options) -> Vec<Call> {
    use Shape::{Bind, Connect, Listen, Message, Refuse, SendTo, Socket, SocketOption};
    let other = Stop::NotEqual(0, libc::AF_UNIX as u32);
    let mut rows = vec![
        row(libc::SYS_socket, "socket", other, Socket),
        // Only local sockets come in pairs that reach no other process.
        row(libc::SYS_socketpair, "socketpair", other, Refuse(libc::EOPNOTSUPP)),
        row(libc::SYS_connect, "connect", Stop::Always, Connect),
        row(libc::SYS_bind, "bind", Stop::Always, Bind),
        row(libc::SYS_sendto, "sendto", Stop::NotZero(4), SendTo),
        row(libc::SYS_sendmsg, "sendmsg", Stop::Always, Message { many: false }),
        row(libc::SYS_sendmmsg, "sendmmsg", Stop::Always, Message { many: true }),
    ];
    if options.listens {
        rows.push(row(libc::SYS_listen, "listen", Stop::Always, Listen));
        let joins = BTreeSet::from_iter(
            MULTICAST_JOIN_OPTIONS.into_iter().chain(MULTICAST_JOIN_OPTIONS_IPV6),
        );
        let ways = [IP_OPTIONS, BIND_TO_DEVICE, BIND_TO_INTERFACE];
        let credentials = [PASS_CREDENTIALS, PASS_PROCESS_HANDLE];
        for name in joins.into_iter().chain(ways).chain(credentials) {
            // The level is looked at later: one row compares one register.
            let stop = Stop::Equal(2, name as u32);
            rows.push(row(libc::SYS_setsockopt, "setsockopt", stop, SocketOption));
        }
    }
    rows
}

#[cfg(target_arch = "x86_64")]
fn legacy(options: Options) -> Vec<Call> {
    use Shape::{Create, Fork, Link, Open, Refuse, Remove, Rename};
    let open = if options.reads { Stop::Always } else { Stop::Bits(1, WRITING) };
    let always = |number, name, shape| row(number, name, Stop::Always, shape);
    let mut rows = if options.forks {
        vec![always(libc::SYS_fork, "fork", Fork), always(libc::SYS_vfork, "vfork", Fork)]
    } else {
        Vec::new()
    };
    rows.extend([
        row(libc::SYS_open, "open", open, Open { at: plain(0), flags: OpenFlags::Arg(1) }),
        always(libc::SYS_creat, "creat", Open { at: plain(0), flags: OpenFlags::Create }),
        always(libc::SYS_mkdir, "mkdir", Create { at: plain(0) }),
        always(libc::SYS_mknod, "mknod", Create { at: plain(0) }),
        always(libc::SYS_symlink, "symlink", Create { at: plain(1) }),
        always(libc::SYS_rmdir, "rmdir", Remove { at: plain(0), kind: Removal::Directory }),
        always(libc::SYS_unlink, "unlink", Remove { at: plain(0), kind: Removal::File }),
        always(libc::SYS_rename, "rename", Rename { from: plain(0), to: plain(1), flags: None }),
        always(libc::SYS_link, "link", Link { from: plain(0), to: plain(1), flags: None }),
        always(libc::SYS_uselib, "uselib", Refuse(libc::ENOSYS)),
        always(libc::SYS_iopl, "iopl", Refuse(libc::EPERM)),
        always(libc::SYS_ioperm, "ioperm", Refuse(libc::EPERM)),
        always(libc::SYS_modify_ldt, "modify_ldt", Refuse(libc::ENOSYS)),
        always(libc::SYS_kexec_file_load, "kexec_file_load", Refuse(libc::EPERM)),
    ]);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why each of them cannot be raced is written down.
    #[test]
    fn every_stopped_call_stands_in_the_document() {
        let document = include_str!("../../../docs/guard-calls.md");
        for call in table(Options { reads: true, forks: true, listens: true, denies: true, abi: 7 })
        {
            let name = format!("`{}`", call.name);
            assert!(document.contains(&name), "{name} is missing in docs/guard-calls.md");
        }
    }
}
