//! Calls that change metadata. No Landlock right confines them, so the supervisor carries them out
//! itself (`observe/metadata.rs`).

use libc::c_long;

use super::{At, Call, Follow, Shape, Stop, at, plain, row};

/// Whose metadata a call changes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Path {
        at: At,
        follow: Follow,
    },
    /// The open file in this argument.
    Descriptor(usize),
}

/// What is changed, and which arguments hold the new value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Mode(usize),
    Owner {
        uid: usize,
        gid: usize,
    },
    /// Two times in memory, or none for the present.
    Times(Clock, usize),
    SetAttribute {
        name: usize,
        value: usize,
        size: usize,
        flags: usize,
    },
    /// Value, size and flags in a `struct xattr_args` in memory.
    SetAttributeBy {
        name: usize,
        arguments: usize,
    },
    RemoveAttribute(usize),
    /// Flags of the inode: they are never changed.
    Inode,
}

/// How a call writes times.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    /// `struct timespec`
    Nanoseconds,
    /// `struct timeval`
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "calls of older machines"))]
    Microseconds,
    /// `struct utimbuf`
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "calls of older machines"))]
    Seconds,
}

// One number on every machine, and not known to every C library.
const FCHMODAT2: c_long = 452;
const SETXATTRAT: c_long = 463;
const REMOVEXATTRAT: c_long = 466;
const FILE_SETATTR: c_long = 469;

pub(super) fn rows() -> Vec<Call> {
    let mut rows = Vec::new();
    let mut add = |number, name, target, change| {
        rows.push(row(number, name, Stop::Always, Shape::Metadata { target, change }));
    };
    let (mode, owner) = (Change::Mode, |uid| Change::Owner { uid, gid: uid + 1 });
    add(libc::SYS_fchmod, "fchmod", Target::Descriptor(0), mode(1));
    add(libc::SYS_fchmodat, "fchmodat", path(at(0, 1), Follow::Always), mode(2));
    add(FCHMODAT2, "fchmodat2", path(at(0, 1), Follow::UnlessFlag(3)), mode(2));
    add(libc::SYS_fchown, "fchown", Target::Descriptor(0), owner(1));
    add(libc::SYS_fchownat, "fchownat", path(at(0, 1), Follow::UnlessFlag(4)), owner(2));
    let times = Change::Times(Clock::Nanoseconds, 2);
    add(libc::SYS_utimensat, "utimensat", path(at(0, 1), Follow::UnlessFlag(3)), times);
    add(FILE_SETATTR, "file_setattr", path(at(0, 1), Follow::UnlessFlag(4)), Change::Inode);

    let set = Change::SetAttribute { name: 1, value: 2, size: 3, flags: 4 };
    add(libc::SYS_setxattr, "setxattr", path(plain(0), Follow::Always), set);
    add(libc::SYS_lsetxattr, "lsetxattr", path(plain(0), Follow::Never), set);
    add(libc::SYS_fsetxattr, "fsetxattr", Target::Descriptor(0), set);
    let by = Change::SetAttributeBy { name: 3, arguments: 4 };
    add(SETXATTRAT, "setxattrat", path(at(0, 1), Follow::UnlessFlag(2)), by);
    let remove = Change::RemoveAttribute;
    add(libc::SYS_removexattr, "removexattr", path(plain(0), Follow::Always), remove(1));
    add(libc::SYS_lremovexattr, "lremovexattr", path(plain(0), Follow::Never), remove(1));
    add(libc::SYS_fremovexattr, "fremovexattr", Target::Descriptor(0), remove(1));
    add(REMOVEXATTRAT, "removexattrat", path(at(0, 1), Follow::UnlessFlag(2)), remove(3));
    #[cfg(target_arch = "x86_64")]
    {
        let followed = path(plain(0), Follow::Always);
        add(libc::SYS_chmod, "chmod", followed, mode(1));
        add(libc::SYS_chown, "chown", followed, owner(1));
        add(libc::SYS_lchown, "lchown", path(plain(0), Follow::Never), owner(1));
        add(libc::SYS_utime, "utime", followed, Change::Times(Clock::Seconds, 1));
        add(libc::SYS_utimes, "utimes", followed, Change::Times(Clock::Microseconds, 1));
        let times = Change::Times(Clock::Microseconds, 2);
        add(libc::SYS_futimesat, "futimesat", path(at(0, 1), Follow::Always), times);
    }
    rows
}

const fn path(at: At, follow: Follow) -> Target {
    Target::Path { at, follow }
}
