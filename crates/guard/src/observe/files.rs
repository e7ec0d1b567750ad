//! Calls on files: by path, by descriptor, for reading and for changing.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{CONTINUE, Decision, Observer, Seen, error};
use crate::calls::{At, Follow, OpenFlags};
use crate::ground::Zone;
use crate::ledger::Event;
use crate::policy::{Capability, Reads};
use crate::report::{Category, Charge};
use crate::sys::Answer;
use crate::tree;
use crate::view::{Found, Place};

/// A named target: resolved path and what is there.
type Named = (PathBuf, Found);

const TEMPORARY: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;

impl Observer<'_> {
    pub(super) fn open(
        &mut self,
        seen: &Seen<'_>,
        at: At,
        flags: OpenFlags,
    ) -> io::Result<Decision> {
        let flags = match flags {
            OpenFlags::Arg(index) => seen.int(index),
            OpenFlags::Create => libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC,
            OpenFlags::How(index) => {
                let bytes = seen.view.bytes(seen.arg(index), 4)?;
                i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
            }
        };
        let writes = flags & (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) != 0;
        if flags & libc::O_PATH != 0 || (!writes && !self.watches_reads()) {
            return Ok(CONTINUE);
        }
        let exclusive = flags & libc::O_CREAT != 0 && flags & libc::O_EXCL != 0;
        let Some((path, found)) =
            self.named(seen, at, flags & libc::O_NOFOLLOW == 0 && !exclusive)?
        else {
            return Ok(CONTINUE);
        };
        let metadata = match &found {
            Found::Here(metadata) => Some(metadata),
            Found::Missing => return Ok(self.open_missing(seen, &path, flags)),
            Found::Hidden => None,
        };
        let only_reads = flags & (libc::O_ACCMODE | libc::O_TRUNC | TEMPORARY) == libc::O_RDONLY;
        let directory = metadata.is_some_and(fs::Metadata::is_dir) && flags & TEMPORARY == 0;
        if only_reads && !exclusive {
            return Ok(self.read(seen, &path, &found));
        }
        if exclusive && flags & TEMPORARY == 0
            || directory
            || metadata.is_some_and(fs::Metadata::is_symlink)
        {
            // Fails with EEXIST, EISDIR, ELOOP.
            return Ok(self.nothing(seen, &path));
        }
        let zone = self.zone(&path, &found);
        Ok(self.write(seen, zone, &[&path]))
    }

    fn open_missing(&mut self, seen: &Seen<'_>, path: &Path, flags: i32) -> Decision {
        if flags & libc::O_CREAT == 0 || !parent_exists(path) {
            return self.nothing(seen, path);
        }
        self.write(seen, self.ground.entry_zone(path), &[path])
    }

    pub(super) fn create(&mut self, seen: &Seen<'_>, at: At) -> io::Result<Decision> {
        let Some((path, found)) = self.named(seen, at, false)? else { return Ok(CONTINUE) };
        Ok(self.make(seen, &path, &found))
    }

    /// A new name; nothing where it stands already or has nowhere to stand.
    pub(super) fn make(&mut self, seen: &Seen<'_>, path: &Path, found: &Found) -> Decision {
        if matches!(found, Found::Here(_))
            || (matches!(found, Found::Missing) && !parent_exists(path))
        {
            return self.nothing(seen, path);
        }
        self.write(seen, self.ground.entry_zone(path), &[path])
    }

    pub(super) fn remove(&mut self, seen: &Seen<'_>, at: At) -> io::Result<Decision> {
        let Some((path, found)) = self.named(seen, at, false)? else { return Ok(CONTINUE) };
        if matches!(found, Found::Missing) {
            return Ok(self.nothing(seen, &path));
        }
        Ok(self.write(seen, self.ground.entry_zone(&path), &[&path]))
    }

    pub(super) fn rename(&mut self, seen: &Seen<'_>, from: At, to: At) -> io::Result<Decision> {
        let (Some((from, source)), Some((to, target))) =
            (self.named(seen, from, false)?, self.named(seen, to, false)?)
        else {
            return Ok(CONTINUE);
        };
        let Found::Here(source) = source else { return Ok(self.nothing_of(seen, &[&from, &to])) };
        let same = matches!(&target, Found::Here(target) if (target.dev(), target.ino()) == (source.dev(), source.ino()));
        if same || !parent_exists(&to) {
            // Two names of one file, or one name: the kernel does nothing.
            return Ok(self.nothing_of(seen, &[&from, &to]));
        }
        let zone = self.ground.entry_zone(&from).max(self.ground.entry_zone(&to));
        if zone == Zone::Own && self.policy.declares(Capability::FsWrite) {
            self.ledger.touched.moved(&from);
            self.ledger.touched.moved(&to);
        }
        Ok(self.write(seen, zone, &[&from, &to]))
    }

    pub(super) fn link(
        &mut self,
        seen: &Seen<'_>,
        from: At,
        to: At,
        flags: Option<usize>,
    ) -> io::Result<Decision> {
        let flags = flags.map_or(0, |index| seen.int(index));
        let follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
        let Some((to, target)) = self.named(seen, to, false)? else { return Ok(CONTINUE) };
        let source = if flags & libc::AT_EMPTY_PATH != 0 {
            seen.view.descriptor(seen.int(from.dir.unwrap_or(0)))?
        } else {
            self.place(seen, from, follow)?
        };
        let entry = self.ground.entry_zone(&to);
        match source {
            // A temporary file without a name gets one.
            Place::Nameless(_) => Ok(self.make(seen, &to, &target)),
            Place::File { path, found: Found::Missing } if !is_unnamed(&path) => {
                Ok(self.nothing_of(seen, &[&path, &to]))
            }
            _ if matches!(target, Found::Here(_)) || !parent_exists(&to) => {
                Ok(self.nothing(seen, &to))
            }
            Place::File { path, .. } if is_unnamed(&path) => Ok(self.write(seen, entry, &[&to])),
            // A second name changes the file too.
            Place::File { path, found } => {
                Ok(self.write(seen, entry.max(self.zone(&path, &found)), &[&path, &to]))
            }
        }
    }

    pub(super) fn modify(
        &mut self,
        seen: &Seen<'_>,
        at: At,
        follow: Follow,
    ) -> io::Result<Decision> {
        let (flags, follow) = match follow {
            Follow::Always => (0, true),
            Follow::Never => (0, false),
            Follow::UnlessFlag(index) => {
                (seen.int(index), seen.int(index) & libc::AT_SYMLINK_NOFOLLOW == 0)
            }
        };
        if let Some(dir) = at.dir
            && (seen.arg(at.path) == 0
                || flags & libc::AT_EMPTY_PATH != 0
                    && seen.view.string(seen.arg(at.path))?.is_empty())
        {
            return self.modify_descriptor(seen, seen.int(dir));
        }
        let Some((path, found)) = self.named(seen, at, follow)? else { return Ok(CONTINUE) };
        if matches!(found, Found::Missing) {
            return Ok(self.nothing(seen, &path));
        }
        let zone = self.zone(&path, &found);
        Ok(self.write(seen, zone, &[&path]))
    }

    pub(super) fn modify_descriptor(&mut self, seen: &Seen<'_>, fd: i32) -> io::Result<Decision> {
        let place = if fd == libc::AT_FDCWD {
            seen.view.resolve(fd, b".", true)?
        } else {
            seen.view.descriptor(fd)?
        };
        let Place::File { path, found } = place else { return Ok(CONTINUE) };
        let zone = self.zone(&path, &found);
        Ok(self.write(seen, zone, &[&path]))
    }

    /// Resolves an argument; nothing for what has no name, which is always the process's own.
    fn named(&self, seen: &Seen<'_>, at: At, follow: bool) -> io::Result<Option<Named>> {
        Ok(match self.place(seen, at, follow)? {
            Place::File { path, found } => Some((path, found)),
            Place::Nameless(_) => None,
        })
    }

    pub(super) fn place(&self, seen: &Seen<'_>, at: At, follow: bool) -> io::Result<Place> {
        let path = seen.view.string(seen.arg(at.path))?;
        if path.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        seen.view.resolve(at.dir.map_or(libc::AT_FDCWD, |index| seen.int(index)), &path, follow)
    }

    /// The zone of a thing; a file that also stands outside the root is outside (M5).
    fn zone(&self, path: &Path, found: &Found) -> Zone {
        match (self.ground.zone(path), found) {
            (Zone::Own, Found::Here(metadata))
                if self.shared.contains(&(metadata.dev(), metadata.ino())) =>
            {
                Zone::Outside
            }
            (zone, _) => zone,
        }
    }

    fn write(&mut self, seen: &Seen<'_>, zone: Zone, paths: &[&Path]) -> Decision {
        let declared = self.policy.declares(Capability::FsWrite);
        let charge = match zone {
            Zone::Free => return CONTINUE,
            Zone::Outside => Charge::Outside,
            Zone::Own if declared => Charge::Declared,
            Zone::Own => Charge::Undeclared,
        };
        let (Some(first), second) = (paths.first(), paths.get(1)) else { return CONTINUE };
        if charge == Charge::Declared {
            paths.iter().for_each(|path| self.ledger.touched.name(path));
        }
        // Of two paths, the one outside is the news.
        let outside = second.filter(|_| {
            charge == Charge::Outside && self.ground.entry_zone(first) != Zone::Outside
        });
        let (target, other) = if let Some(outside) = outside {
            (*outside, Some(*first))
        } else {
            (*first, second.copied())
        };
        self.charge(
            seen,
            Category::FsWrite,
            charge,
            seen.show(target),
            other.map(|path| seen.show(path)),
        )
    }

    /// A call that can change nothing as things stand (M3). Should they change before the kernel looks, the change is not unexplained.
    fn nothing(&mut self, seen: &Seen<'_>, path: &Path) -> Decision {
        self.nothing_of(seen, &[path])
    }

    fn nothing_of(&mut self, _seen: &Seen<'_>, paths: &[&Path]) -> Decision {
        if self.policy.declares(Capability::FsWrite) {
            paths.iter().for_each(|path| self.ledger.touched.name(path));
        }
        CONTINUE
    }

    fn read(&mut self, seen: &Seen<'_>, path: &Path, found: &Found) -> Decision {
        if matches!(found, Found::Missing) || !self.watches_reads() {
            return CONTINUE;
        }
        let foreign = self.is_foreign_process(path);
        if self.ground.may_read(path) && !foreign {
            return CONTINUE;
        }
        let declared = if self.policy.declares(Capability::FsRead) {
            Charge::Declared
        } else {
            Charge::Listed
        };
        if self.policy.reads == Reads::List {
            return self.charge(seen, Category::FsRead, declared, seen.show(path), None);
        }
        if matches!(found, Found::Hidden) || (self.ground.leads_here(path) && !foreign) {
            let target = seen.show(path);
            let (category, operation) = (Category::FsRead, seen.call.name);
            let event = Event {
                category,
                operation,
                target,
                other: None,
                allowed: false,
                charge: Charge::Listed,
            };
            self.ledger.record(seen.stopped.tid, event);
            return Decision::Answer(Answer::Error(libc::EACCES));
        }
        self.charge(seen, Category::FsRead, Charge::Outside, seen.show(path), None)
    }

    /// Below `/proc/<pid>` of a process that is not of this tree.
    fn is_foreign_process(&self, path: &Path) -> bool {
        let name = path
            .strip_prefix("/proc")
            .ok()
            .and_then(|inside| inside.iter().next())
            .and_then(|name| name.to_str());
        name.and_then(|name| name.parse().ok())
            .is_some_and(|pid: u32| !tree::contains(self.keeper, pid))
    }

    /// A program outside what may be read, where reads are denied.
    pub(super) fn unreadable_program(&self, path: &Path) -> bool {
        self.ground.denies_reads && !self.ground.may_read(path)
    }
}

fn parent_exists(path: &Path) -> bool {
    path.parent().is_some_and(|parent| {
        fs::symlink_metadata(parent)
            .map_or_else(|error| error.raw_os_error() == Some(libc::EACCES), |found| found.is_dir())
    })
}

/// The name the kernel shows for a file that has none.
fn is_unnamed(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)")
}

/// For calls that answer before the kernel looks.
pub(super) fn missing() -> Decision {
    error(libc::ENOENT)
}
