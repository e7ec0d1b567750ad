//! Calls on names: made, removed, moved, linked.

use std::fs;
use std::io;
use std::path::Path;

use super::files::LAST;
use super::{CONTINUE, Decision, Observer, StoppedCall};
use crate::calls::{At, Removal};
use crate::paths;
use crate::policy::Capability;
use crate::resolved_policy::PathZone;
use crate::stat::FileStat;
use crate::sys::Answer;
use crate::view::{Destination, Found, Reading};

impl Observer {
    pub(super) fn create(&mut self, seen: &StoppedCall<'_>, at: At) -> io::Result<Decision> {
        let Some((path, found)) = self.named(seen, at, LAST)? else { return Ok(CONTINUE) };
        Ok(self.make(seen, &path, &found))
    }

    /// A new name; nothing where it exists or has no directory.
    pub(super) fn make(&mut self, seen: &StoppedCall<'_>, path: &Path, found: &Found) -> Decision {
        match found {
            // A name that exists is no effect, whatever is allowed here (M3).
            Found::Here(_) => return self.failing_attempt(&[path], Answer::Error(libc::EEXIST)),
            Found::Unreachable(number) => {
                return self.failing_attempt(&[path], Answer::Error(*number));
            }
            Found::Missing | Found::Hidden => {}
        }
        self.write(seen, self.resolved.entry_zone(path), &[path])
    }

    pub(super) fn remove(
        &mut self,
        seen: &StoppedCall<'_>,
        at: At,
        kind: Removal,
    ) -> io::Result<Decision> {
        let Some((path, found)) = self.named(seen, at, LAST)? else { return Ok(CONTINUE) };
        let directory = match kind {
            Removal::File => false,
            Removal::Directory => true,
            Removal::Flags(index) => seen.int(index) & libc::AT_REMOVEDIR != 0,
        };
        let fails = match &found {
            Found::Missing => Some(libc::ENOENT),
            Found::Unreachable(number) => Some(*number),
            Found::Here(stat) if stat.is_dir() && !directory => Some(libc::EISDIR),
            Found::Here(stat) if !stat.is_dir() && directory => Some(libc::ENOTDIR),
            // Landlock would refuse an undeclared removal before the kernel looks whether it is
            // empty.
            Found::Here(_) if directory && is_filled(&path) => Some(libc::ENOTEMPTY),
            Found::Here(_) | Found::Hidden => None,
        };
        if let Some(number) = fails {
            return Ok(self.failing_attempt(&[&path], Answer::Error(number)));
        }
        Ok(self.write(seen, self.resolved.entry_zone(&path), &[&path]))
    }

    pub(super) fn rename(
        &mut self,
        seen: &StoppedCall<'_>,
        from: At,
        to: At,
        flags: Option<usize>,
    ) -> io::Result<Decision> {
        let flags = flags.map_or(0, |index| seen.int(index).cast_unsigned());
        // Together, so that one read of memory serves both.
        seen.memory.read_both([seen.arg(from.path), seen.arg(to.path)]);
        let (Some((from, source)), Some((to, target))) =
            (self.named(seen, from, LAST)?, self.named(seen, to, LAST)?)
        else {
            return Ok(CONTINUE);
        };
        let answer = match &source {
            Found::Missing => Some(Answer::Error(libc::ENOENT)),
            Found::Unreachable(number) => Some(Answer::Error(*number)),
            Found::Here(source) => moves_nothing((&from, source), (&to, &target), flags),
            Found::Hidden => None,
        };
        if let Some(answer) = answer {
            return Ok(self.failing_attempt(&[&from, &to], answer));
        }
        // The worse of the two ends decides.
        let zone = self.resolved.entry_zone(&from).max(self.resolved.entry_zone(&to));
        if zone == PathZone::Own && self.policy.declares(Capability::FsWrite) {
            // Everything below both has another name now, which the snapshot would call
            // unexplained.
            self.ledger.touched.moved(&from);
            self.ledger.touched.moved(&to);
        }
        Ok(self.write(seen, zone, &[&from, &to]))
    }

    pub(super) fn link(
        &mut self,
        seen: &StoppedCall<'_>,
        from: At,
        to: At,
        flags: Option<usize>,
    ) -> io::Result<Decision> {
        let flags = flags.map_or(0, |index| seen.int(index));
        let follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
        seen.memory.read_both([seen.arg(to.path), seen.arg(from.path)]);
        let Some((to, target)) = self.named(seen, to, LAST)? else { return Ok(CONTINUE) };
        let source = if flags & libc::AT_EMPTY_PATH != 0 {
            seen.view.descriptor(seen.int(from.dir.unwrap_or(0)))?
        } else {
            self.place(seen, from, Reading { follow, jailed: false })?
        };
        let entry = self.resolved.entry_zone(&to);
        match source {
            // A temporary file without a name gets one.
            Destination::Nameless { .. } => Ok(self.make(seen, &to, &target)),
            Destination::File { path, found: Found::Missing | Found::Unreachable(_) } => {
                Ok(self.failing_attempt(&[&path, &to], Answer::Error(libc::ENOENT)))
            }
            _ if matches!(target, Found::Here(_) | Found::Unreachable(_)) => {
                Ok(self.make(seen, &to, &target))
            }
            Destination::File { found: Found::Here(stat), .. } if stat.links() == 0 => {
                Ok(self.write(seen, entry, &[&to]))
            }
            // A second name changes the file too.
            Destination::File { path, found } => {
                Ok(self.write(seen, entry.max(self.zone(&path, &found)), &[&path, &to]))
            }
        }
    }

    /// A call that can change nothing at this moment (M3). Where the kernel is free to make the
    /// change it says so itself, and should things change before it looks, the change is not
    /// unexplained. Elsewhere Landlock would refuse before the kernel finds out, which a program
    /// would take for another answer than it gets without a guard.
    pub(super) fn failing_attempt(&mut self, paths: &[&Path], answer: Answer) -> Decision {
        let declared = self.policy.declares(Capability::FsWrite);
        let free = paths.iter().all(|path| match self.resolved.entry_zone(path) {
            PathZone::Free => true,
            PathZone::Own => declared,
            PathZone::Outside => false,
        });
        if !free {
            return Decision::Answer(answer);
        }
        paths.iter().for_each(|path| self.ledger.touched.name(path));
        CONTINUE
    }
}

/// A directory that is not empty, as far as that can be seen.
fn is_filled(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut names| names.next().is_some())
}

/// The kernel's answer to a rename that is impossible, or has nothing to do.
fn moves_nothing(
    (from, source): (&Path, &FileStat),
    (to, target): (&Path, &Found),
    flags: u32,
) -> Option<Answer> {
    let exchange = flags & libc::RENAME_EXCHANGE != 0;
    let below = source.is_dir() && to != from && paths::is_within(to, from);
    let target = match target {
        Found::Here(target) => target,
        Found::Unreachable(number) => return Some(Answer::Error(*number)),
        Found::Missing if exchange => return Some(Answer::Error(libc::ENOENT)),
        Found::Missing => return below.then_some(Answer::Error(libc::EINVAL)),
        Found::Hidden => return None,
    };
    if flags & libc::RENAME_NOREPLACE != 0 {
        return Some(Answer::Error(libc::EEXIST));
    }
    // Two names of one file, or one name.
    if target.identity() == source.identity() {
        return Some(Answer::Done);
    }
    let number = if below || (exchange && target.is_dir() && paths::is_within(from, to)) {
        libc::EINVAL
    } else if exchange {
        return None;
    } else if source.is_dir() && !target.is_dir() {
        libc::ENOTDIR
    } else if !source.is_dir() && target.is_dir() {
        libc::EISDIR
    } else if target.is_dir() && is_filled(to) {
        libc::ENOTEMPTY
    } else {
        return None;
    };
    Some(Answer::Error(number))
}
