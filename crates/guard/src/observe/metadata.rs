//! Changes of metadata. No Landlock right confines them, so the call is not let go on: the
//! supervisor makes the change itself, on a handle of which it knows where it leads. A path or
//! descriptor swapped meanwhile then changes nothing outside (M1). Here it is only decided which
//! change that is: it is made once it is on record (`Observer::conclude_before`).

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{FOLLOWED, LAST};
use super::{Decision, Observer, StoppedCall, error};
use crate::calls::{At, Change, Clock, Follow, Target};
use crate::emulate::{self, Handle, MetadataChange, Order};
use crate::resolved_policy::PathZone;
use crate::stat::FileStat;
use crate::sys::Answer;
use crate::view::{Destination, Found};

const MAX_NAME: usize = 256;
/// The kernel's own bound on the value of an extended attribute.
const MAX_VALUE: u64 = 65_536;

/// What a call means: how to open it, what it is called, and what was found there.
struct Object {
    way: PathBuf,
    follow: bool,
    /// Nothing for a thing without a name.
    name: Option<(PathBuf, Found)>,
}

impl Observer {
    pub(super) fn metadata(
        &mut self,
        seen: &StoppedCall<'_>,
        target: Target,
        change: Change,
    ) -> io::Result<Decision> {
        let object = match target {
            Target::Descriptor(index) => self.opened(seen, seen.int(index))?,
            Target::Path { at, follow } => self.object(seen, at, follow)?,
        };
        if let Some((path, found)) = &object.name {
            match found {
                Found::Missing => return Ok(error(libc::ENOENT)),
                Found::Unreachable(number) => return Ok(error(*number)),
                Found::Here(_) | Found::Hidden => {}
            }
            let zone = self.zone(path, found);
            if zone == PathZone::Free && self.kept_zone(path, found) == PathZone::Outside {
                return Ok(self.of_free_device(seen, path));
            }
            // Judged by name first, so that what is refused is refused before anything is opened.
            let decision = self.write(seen, zone, &[path]);
            if !matches!(decision, Decision::Answer(Answer::Continue)) {
                return Ok(decision);
            }
        }
        let order = match order(seen, change)? {
            Ok(order) => order,
            Err(number) => return Ok(error(number)),
        };
        // From here on the thing is held; what the name leads to no longer matters.
        let handle = match Handle::open(&object.way, object.follow) {
            Ok(handle) => handle,
            Err(failure) => return Ok(errno(&failure)),
        };
        Ok(self.change(seen, object, handle, order))
    }

    /// Devices that may be written freely are not the command's: it may change nothing about them.
    /// Programs that copy times to whatever they wrote are answered as for a file of another user,
    /// which these devices are.
    fn of_free_device(&mut self, seen: &StoppedCall<'_>, path: &Path) -> Decision {
        self.refused(seen.stopped.tid, seen.call.name, seen.show(path));
        error(libc::EPERM)
    }

    /// Where the handle leads decides; it can no longer be swapped.
    fn change(
        &mut self,
        seen: &StoppedCall<'_>,
        object: Object,
        handle: Handle,
        order: Order,
    ) -> Decision {
        let (path, stat) = match handle.place() {
            Ok(place) => place,
            Err(failure) => return errno(&failure),
        };
        match (object.name, path) {
            (None, None) => {}
            (judged, Some(path)) if is_judged(judged.as_ref(), &path, &stat) => {}
            (_, Some(path)) => {
                // A swap has led the handle elsewhere than the name that was judged. What it leads
                // to is what is changed, so that is judged and recorded in place of the name.
                self.pending.clear();
                let found = Found::Here(stat);
                let zone = self.zone(&path, &found);
                if zone == PathZone::Free && self.kept_zone(&path, &found) == PathZone::Outside {
                    return self.of_free_device(seen, &path);
                }
                let decision = self.write(seen, zone, &[&path]);
                if !matches!(decision, Decision::Answer(Answer::Continue)) {
                    return decision;
                }
            }
            // A named thing became a pipe meanwhile.
            (Some(_), None) => return error(libc::EACCES),
        }
        match self.forbids(&stat, &order) {
            Some(number) => error(number),
            None => Decision::Change(Box::new(MetadataChange { handle, order })),
        }
    }

    /// The rules of the kernel for a user without capabilities, where the supervisor is root and
    /// would be stopped by none of them.
    fn forbids(&self, stat: &FileStat, order: &Order) -> Option<i32> {
        let (uid, gid) = self.identity?;
        let owns = stat.uid() == uid;
        let writes = if owns {
            stat.mode() & 0o200
        } else if stat.gid() == gid {
            stat.mode() & 0o020
        } else {
            stat.mode() & 0o002
        } != 0;
        match order {
            Order::Mode(_) | Order::Times(Some(_)) => (!owns).then_some(libc::EPERM),
            Order::Times(None) => (!owns && !writes).then_some(libc::EACCES),
            Order::Owner { uid: user, gid: group } => {
                let keeps = user.is_none_or(|user| user == stat.uid())
                    // An owner may give a file only to groups that it is in.
                    && group.is_none_or(|group| group == gid || group == stat.gid());
                (!owns || !keeps).then_some(libc::EPERM)
            }
            Order::SetAttribute { name, .. } | Order::RemoveAttribute(name) => {
                // Access lists are the owner's; other names outside of `user.` need a capability.
                let list = name.starts_with(b"system.posix_acl_");
                match (name.starts_with(b"user."), list) {
                    (true, _) => (!writes).then_some(libc::EACCES),
                    (_, true) => (!owns).then_some(libc::EPERM),
                    _ => Some(libc::EPERM),
                }
            }
        }
    }

    fn opened(&self, seen: &StoppedCall<'_>, fd: i32) -> io::Result<Object> {
        if fd == libc::AT_FDCWD {
            let place = seen.view.resolve(fd, b".", FOLLOWED)?;
            let way = PathBuf::from(format!("/proc/{}/cwd", seen.stopped.tid));
            return Ok(Object { way, follow: true, name: named(place) });
        }
        let place = seen.view.descriptor(fd)?;
        // The link leads to the open file itself, wherever its name leads by now.
        let way = PathBuf::from(format!("/proc/{}/fd/{fd}", seen.stopped.tid));
        Ok(Object { way, follow: true, name: named(place) })
    }

    fn object(&self, seen: &StoppedCall<'_>, at: At, follow: Follow) -> io::Result<Object> {
        let flags = match follow {
            Follow::UnlessFlag(index) => seen.int(index),
            Follow::Always => 0,
            Follow::Never => libc::AT_SYMLINK_NOFOLLOW,
        };
        if let Some(dir) = at.dir
            && (seen.arg(at.path) == 0
                || flags & libc::AT_EMPTY_PATH != 0 && seen.string(at.path)?.is_empty())
        {
            return self.opened(seen, seen.int(dir));
        }
        let last = flags & libc::AT_SYMLINK_NOFOLLOW != 0;
        match self.place(seen, at, if last { LAST } else { FOLLOWED })? {
            // Resolved already: a link at the end is meant itself.
            Destination::File { path, found } => {
                Ok(Object { way: path.clone(), follow: false, name: Some((path, found)) })
            }
            Destination::Nameless { link, .. } => {
                Ok(Object { way: link, follow: true, name: None })
            }
        }
    }
}

fn named(place: Destination) -> Option<(PathBuf, Found)> {
    match place {
        Destination::File { path, found } => Some((path, found)),
        Destination::Nameless { .. } => None,
    }
}

/// Whether a handle leads to what was judged before it was opened: the same file by the same name.
///
/// A file that was removed meanwhile is the same too, so that the record of an honest command does
/// not depend on whether the removal or the look was faster. Its former name must be the one that
/// was judged: what was judged can itself be put together of two files, the name of one and the
/// identity of another.
fn is_judged(judged: Option<&(PathBuf, Found)>, path: &Path, stat: &FileStat) -> bool {
    let Some((name, Found::Here(found))) = judged else { return false };
    let is_former_name = || {
        // As the kernel shows files that have no name any more.
        let former = path.as_os_str().as_bytes().strip_suffix(b" (deleted)");
        stat.links() == 0 && former == Some(name.as_os_str().as_bytes())
    };
    found.identity() == stat.identity() && (name.as_path() == path || is_former_name())
}

fn errno(failure: &io::Error) -> Decision {
    error(failure.raw_os_error().unwrap_or(libc::EIO))
}

/// What is to be done, read once from the process's memory. The inner error is what the kernel
/// would answer.
fn order(seen: &StoppedCall<'_>, change: Change) -> io::Result<Result<Order, i32>> {
    let id = |index| {
        let id = seen.int(index).cast_unsigned();
        // All ones: that half stays as it is.
        (id != u32::MAX).then_some(id)
    };
    Ok(Ok(match change {
        Change::Mode(index) => Order::Mode(seen.int(index).cast_unsigned() & 0o7777),
        Change::Owner { uid, gid } => Order::Owner { uid: id(uid), gid: id(gid) },
        Change::Times(clock, index) => match times(seen, clock, index)? {
            Ok(times) => Order::Times(times),
            Err(number) => return Ok(Err(number)),
        },
        Change::SetAttribute { name, value, size, flags } => {
            let flags = seen.int(flags).cast_unsigned();
            return set_attribute(seen, name, (seen.arg(value), seen.arg(size)), flags);
        }
        Change::SetAttributeBy { name, arguments } => {
            let bytes = seen.memory.bytes(seen.arg(arguments), 16)?;
            let (value, size) = (word(&bytes[..8]), word(&bytes[8..12]));
            return set_attribute(seen, name, (value, size), word(&bytes[12..]) as u32);
        }
        Change::RemoveAttribute(name) => match attribute(seen, name)? {
            Ok(name) => Order::RemoveAttribute(name),
            Err(number) => return Ok(Err(number)),
        },
        // An answer that programs expect: many file systems have no such flags.
        Change::Inode => return Ok(Err(libc::EOPNOTSUPP)),
    }))
}

fn set_attribute(
    seen: &StoppedCall<'_>,
    name: usize,
    (value, size): (u64, u64),
    flags: u32,
) -> io::Result<Result<Order, i32>> {
    // The bounds of the kernel, with its own answers.
    if size > MAX_VALUE {
        return Ok(Err(libc::E2BIG));
    }
    let size = usize::try_from(size).unwrap_or(0);
    let value = if size == 0 { Arc::default() } else { seen.memory.bytes(value, size)? };
    Ok(attribute(seen, name)?.map(|name| Order::SetAttribute { name, value, flags }))
}

fn attribute(seen: &StoppedCall<'_>, name: usize) -> io::Result<Result<Vec<u8>, i32>> {
    let name = seen.string(name)?;
    Ok(if name.is_empty() || name.len() >= MAX_NAME {
        Err(libc::ERANGE)
    } else {
        Ok(name.to_vec())
    })
}

/// Two times, or none for the present.
fn times(
    seen: &StoppedCall<'_>,
    clock: Clock,
    index: usize,
) -> io::Result<Result<Option<[emulate::Time; 2]>, i32>> {
    if seen.arg(index) == 0 {
        return Ok(Ok(None));
    }
    let size = if matches!(clock, Clock::Seconds) { 8 } else { 16 };
    let bytes = seen.memory.bytes(seen.arg(index), 2 * size)?;
    let mut times = [emulate::Time::default(); 2];
    for (time, bytes) in times.iter_mut().zip(bytes.chunks(size)) {
        let fraction = bytes.get(8..).filter(|rest| !rest.is_empty()).map_or(0, word);
        let fraction = fraction.cast_signed();
        let nanoseconds = match clock {
            Clock::Microseconds if !(0..1_000_000).contains(&fraction) => {
                return Ok(Err(libc::EINVAL));
            }
            Clock::Microseconds => fraction * 1_000,
            Clock::Nanoseconds | Clock::Seconds => fraction,
        };
        *time = emulate::Time { seconds: word(&bytes[..8]).cast_signed(), nanoseconds };
    }
    Ok(Ok(Some(times)))
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
