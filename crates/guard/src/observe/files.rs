//! Calls on files: by path, by descriptor, for reading and for changing.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{CONTINUE, Decision, Observer, StoppedCall, error};
use crate::calls::{At, OpenFlags};
use crate::ledger::Event;
use crate::neutral_files::NeutralFile;
use crate::policy::{Capability, Reads};
use crate::report::{Category, Charge};
use crate::resolved_policy::PathZone;
use crate::stat::FileStat;
use crate::sys::Answer;
use crate::tree;
use crate::view::{Destination, Found, Reading};

/// A named target: resolved path and what is there.
type Named = (PathBuf, Found);

/// A symbolic link at the end is meant itself.
pub(super) const LAST: Reading = Reading { follow: false, jailed: false };
pub(super) const FOLLOWED: Reading = Reading { follow: true, jailed: false };
/// Folders in which Java machines publish their counters; the user's name follows.
const JAVA_COUNTERS: &str = "hsperfdata_";
/// Devices that have enough for every reader, beside those that may be written freely.
const INEXHAUSTIBLE: [&str; 2] = ["/dev/random", "/dev/urandom"];
const TEMPORARY: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;

impl Observer {
    pub(super) fn open(
        &mut self,
        seen: &StoppedCall<'_>,
        at: At,
        flags: OpenFlags,
    ) -> io::Result<Decision> {
        let (flags, jailed) = match flags {
            OpenFlags::Arg(index) => (seen.int(index), false),
            OpenFlags::Create => (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, false),
            OpenFlags::How(index) => how(seen, index)?,
        };
        if self.abi < 3 && flags & libc::O_TRUNC != 0 && flags & libc::O_ACCMODE == libc::O_RDONLY {
            // Opening for reading that cuts the file: Landlock confines it from ABI 3 on.
            return Ok(error(libc::EACCES));
        }
        let writes = flags & (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) != 0;
        // `O_PATH` opens nothing: it is a handle on a name.
        if flags & libc::O_PATH != 0 || !(writes || self.watches_reads() || self.traced) {
            return Ok(CONTINUE);
        }
        // With `O_EXCL` a link at the end is not followed, as with `O_NOFOLLOW`.
        let exclusive = flags & libc::O_CREAT != 0 && flags & libc::O_EXCL != 0;
        let reading = Reading { follow: flags & libc::O_NOFOLLOW == 0 && !exclusive, jailed };
        let Some((path, found)) = self.named(seen, at, reading)? else {
            return Ok(CONTINUE);
        };
        if self.traced && shows_tracer(&path) {
            self.ledger.mark_incomplete(|| {
                format!("the command looked up who traces it in {}", seen.show(&path))
            });
        }
        let stat = match &found {
            Found::Here(stat) => Some(stat),
            // A name that does not exist yet: what counts is the folder that it would be made in.
            Found::Missing if flags & libc::O_CREAT != 0 && !self.means_directory(seen, at)? => {
                return Ok(self.write(seen, self.resolved.entry_zone(&path), &[&path]));
            }
            Found::Missing | Found::Unreachable(_) => return Ok(self.opens_nothing(&path)),
            Found::Hidden => None,
        };
        let only_reads = flags & (libc::O_ACCMODE | libc::O_TRUNC | TEMPORARY) == libc::O_RDONLY;
        let directory = stat.is_some_and(FileStat::is_dir) && flags & TEMPORARY == 0;
        if only_reads && !exclusive {
            if self.takes_input(&path, &found) {
                return Ok(self.write(seen, PathZone::Outside, &[&path]));
            }
            if let Some(neutral) = self.neutral(&path, &found) {
                let user = rustix::process::geteuid().as_raw();
                let group = rustix::process::getegid().as_raw();
                let (uid, gid) = self.identity.unwrap_or((user, group));
                let close_on_exec = flags & libc::O_CLOEXEC != 0;
                return Ok(Decision::Open { file: neutral.open(uid, gid)?, close_on_exec });
            }
            return Ok(self.read(seen, &path, &found));
        }
        if exclusive && flags & TEMPORARY == 0
            || directory
            || stat.is_some_and(FileStat::is_symlink)
        {
            // Fails with EEXIST, EISDIR, ELOOP.
            return Ok(self.opens_nothing(&path));
        }
        let zone = self.zone(&path, &found);
        Ok(self.write(seen, zone, &[&path]))
    }

    /// A name with a slash at its end, which only a directory can have.
    fn means_directory(&self, seen: &StoppedCall<'_>, at: At) -> io::Result<bool> {
        Ok(seen.string(at.path)?.ends_with(b"/"))
    }

    pub(super) fn truncate(&mut self, seen: &StoppedCall<'_>, at: At) -> io::Result<Decision> {
        let Some((path, found)) = self.named(seen, at, FOLLOWED)? else { return Ok(CONTINUE) };
        if matches!(&found, Found::Missing | Found::Unreachable(_))
            || matches!(&found, Found::Here(stat) if !stat.is_file())
        {
            return Ok(self.opens_nothing(&path));
        }
        let zone = self.zone(&path, &found);
        Ok(self.write(seen, zone, &[&path]))
    }

    /// Resolves an argument; nothing for what has no name, which is always the process's own.
    pub(super) fn named(
        &self,
        seen: &StoppedCall<'_>,
        at: At,
        reading: Reading,
    ) -> io::Result<Option<Named>> {
        Ok(match self.place(seen, at, reading)? {
            Destination::File { path, found } => Some((path, found)),
            Destination::Nameless { .. } => None,
        })
    }

    pub(super) fn place(
        &self,
        seen: &StoppedCall<'_>,
        at: At,
        reading: Reading,
    ) -> io::Result<Destination> {
        let path = seen.string(at.path)?;
        if path.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        seen.view.resolve(at.dir.map_or(libc::AT_FDCWD, |index| seen.int(index)), &path, reading)
    }

    /// The zone of a thing; a file that also has a name outside the root is outside (M5).
    pub(super) fn zone(&self, path: &Path, found: &Found) -> PathZone {
        match (self.resolved.zone(path), found) {
            (PathZone::Own, Found::Here(stat)) if self.shared.contains(&stat.identity()) => {
                PathZone::Outside
            }
            (zone, _) => zone,
        }
    }

    /// The zone of what others can see of a thing without reading it: locks, times, hints. A device
    /// that may be written freely keeps nothing that is written, but these it keeps.
    pub(super) fn kept_zone(&self, path: &Path, found: &Found) -> PathZone {
        match found {
            Found::Here(stat) if stat.is_device() => PathZone::Outside,
            found => self.zone(path, found),
        }
    }

    /// Records a change that no command gets, as any other of the same thing.
    pub(super) fn refused_change(&mut self, seen: &StoppedCall<'_>, zone: PathZone, path: &Path) {
        let charge = match zone {
            PathZone::Free => return,
            PathZone::Outside => Charge::Outside,
            PathZone::Own if self.policy.declares(Capability::FsWrite) => Charge::Listed,
            PathZone::Own => Charge::Undeclared,
        };
        self.record(seen, Category::FsWrite, charge, seen.show(path), false);
    }

    pub(super) fn write(
        &mut self,
        seen: &StoppedCall<'_>,
        zone: PathZone,
        paths: &[&Path],
    ) -> Decision {
        let declared = self.policy.declares(Capability::FsWrite);
        let charge = match zone {
            PathZone::Free => return CONTINUE,
            PathZone::Outside => Charge::Outside,
            PathZone::Own if declared => Charge::Declared,
            PathZone::Own => Charge::Undeclared,
        };
        let (Some(first), second) = (paths.first(), paths.get(1)) else { return CONTINUE };
        if charge == Charge::Outside
            && second.is_none()
            && let Some(custom) = self.runtime_custom(first)
        {
            self.refused(seen.stopped.tid, seen.call.name, custom.to_owned());
            return error(libc::EACCES);
        }
        // Noted before the kernel acts: a change without its name would be unexplained.
        if charge == Charge::Declared {
            paths.iter().for_each(|path| self.ledger.touched.name(path));
        }
        // Of two paths, the one outside is the news.
        let outside = second.filter(|_| {
            charge == Charge::Outside && self.resolved.entry_zone(first) != PathZone::Outside
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

    /// An open that can change nothing at this moment (M3): the kernel says why. Should they
    /// change before it looks, the change is not unexplained.
    fn opens_nothing(&mut self, path: &Path) -> Decision {
        if self.policy.declares(Capability::FsWrite) {
            self.ledger.touched.name(path);
        }
        CONTINUE
    }

    /// A pipe or terminal outside: what is read of it is gone for others, and the writer of a pipe
    /// learns of the reader. Opening one is therefore charged like a write.
    fn takes_input(&self, path: &Path, found: &Found) -> bool {
        let Found::Here(stat) = found else { return false };
        stat.is_fifo_or_character_device()
            // It may open its own input again, as by `/dev/stdin`.
            && self.input != Some(stat.identity())
            && !INEXHAUSTIBLE.iter().any(|device| path == Path::new(device))
            && self.zone(path, found) == PathZone::Outside
    }

    /// The neutral file that is opened in place of this one: only where the true one is denied.
    fn neutral(&self, path: &Path, found: &Found) -> Option<NeutralFile> {
        let denied = matches!(self.policy.reads, Reads::Deny { .. });
        let there = matches!(found, Found::Here(_) | Found::Hidden);
        let neutral = NeutralFile::at(path).filter(|_| denied && there)?;
        (!self.resolved.may_read(path)).then_some(neutral)
    }

    fn read(&mut self, seen: &StoppedCall<'_>, path: &Path, found: &Found) -> Decision {
        if matches!(found, Found::Missing | Found::Unreachable(_)) || !self.watches_reads() {
            return CONTINUE;
        }
        let foreign = self.is_foreign_process(path);
        if self.resolved.may_read(path) && !foreign {
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
        // What leads to the root, or cannot be looked at, is denied without a charge: runtimes look
        // there as a matter of course.
        if !foreign && (matches!(found, Found::Hidden) || self.resolved.leads_here(path)) {
            let target = seen.show(path);
            let (category, operation) = (Category::FsRead, seen.call.name);
            let event = Event {
                category,
                operation,
                target,
                other: None,
                allowed: false,
                charge: Charge::Listed,
                exact: true,
            };
            self.note(seen.stopped.tid, event);
            return Decision::Answer(Answer::Error(libc::EACCES));
        }
        if let Some(custom) = self.runtime_custom(path) {
            self.refused(seen.stopped.tid, seen.call.name, custom.to_owned());
            return error(libc::EACCES);
        }
        self.charge(seen, Category::FsRead, Charge::Outside, seen.show(path), None)
    }

    /// What runtimes do for themselves at every start, and do without where they may not (M15): a
    /// Java machine publishes its counters for tools of the same user, and chooses what the kernel
    /// would dump of it. Both are refused like other writes outside, and are not charged. The
    /// name is the same for every process, so that attempts compare equal.
    fn runtime_custom(&self, path: &Path) -> Option<&'static str> {
        let parts: Vec<&str> = path.iter().take(4).filter_map(|part| part.to_str()).collect();
        match parts[..] {
            ["/", "tmp", folder, ..] if folder.starts_with(JAVA_COUNTERS) => {
                Some("/tmp/hsperfdata_<user>")
            }
            // Only that of the tree's own processes.
            ["/", "proc", pid, "coredump_filter"]
                if pid.parse().is_ok_and(|pid| tree::contains(self.reaper, pid)) =>
            {
                Some("/proc/self/coredump_filter")
            }
            _ => None,
        }
    }

    /// Below `/proc/<pid>` of a process that is not of this tree.
    fn is_foreign_process(&self, path: &Path) -> bool {
        let name = path
            .strip_prefix("/proc")
            .ok()
            .and_then(|inside| inside.iter().next())
            .and_then(|name| name.to_str());
        name.and_then(|name| name.parse().ok())
            .is_some_and(|pid: u32| !tree::contains(self.reaper, pid))
    }

    /// A program outside what may be read, where reads are denied.
    pub(super) fn unreadable_program(&self, path: &Path) -> bool {
        self.resolved.denies_reads && !self.resolved.may_read(path)
    }
}

/// The status of a process or thread. It names the tracer, and a program that knows it is watched
/// may do otherwise.
fn shows_tracer(path: &Path) -> bool {
    let number = |name: &OsStr| name.as_bytes().iter().all(u8::is_ascii_digit);
    let names: Vec<&OsStr> = path.iter().take(7).collect();
    match names.as_slice() {
        [_, proc, pid, status] => *proc == "proc" && number(pid) && *status == "status",
        [_, proc, pid, task, tid, status] => {
            *proc == "proc" && number(pid) && *task == "task" && number(tid) && *status == "status"
        }
        _ => false,
    }
}

/// Flags and rules of a `struct open_how`.
fn how(seen: &StoppedCall<'_>, index: usize) -> io::Result<(i32, bool)> {
    const IN_ROOT: u8 = 0x10;
    // Three numbers of 64 bits: flags, mode, and rules of resolution.
    let bytes = seen.memory.bytes(seen.arg(index), 24)?;
    let flags = i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok((flags, bytes[16] & IN_ROOT != 0))
}

/// For calls that answer before the kernel looks.
pub(super) fn missing() -> Decision {
    error(libc::ENOENT)
}
