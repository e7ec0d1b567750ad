//! The root before and after: every name with its metadata and content, so that a change without an
//! observed cause is found (M1).

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstatfs, open};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

mod walk;

/// Most names one root may hold.
pub(crate) const MAX_ENTRIES: usize = 1_000_000;
/// Deeper trees are not compared: every level on the way to the deepest is held open.
pub(crate) const MAX_DEPTH: usize = 200;

/// File systems of this kernel: they take a file's change time from its own clock, which never
/// steps back behind what it gave out. ext, XFS, Btrfs, tmpfs, overlay, F2FS, Bcachefs.
const OWN_CLOCK: [u32; 7] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, OVERLAY, 0xf2f5_2010, 0xca45_1a4e];
const OVERLAY: u32 = 0x794c_7630;

/// One name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) directory: bool,
    pub(crate) bytes_on_disk: u64,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
    /// Of a file's content or a link's target, where the change time alone would not show a change.
    digest: Option<[u8; 32]>,
}

/// All names of a tree.
#[derive(Debug)]
pub(crate) struct TreeSnapshot {
    /// Each once, in the order of their bytes, so that two snapshots are compared in one pass.
    entries: Vec<(PathBuf, Entry)>,
    /// Content was read.
    has_digests: bool,
    /// The root lies on an overlay of several layers.
    pub(crate) overlay: bool,
}

/// Why a tree could not be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    TooLarge,
    TooDeep(PathBuf),
    Failed(PathBuf, io::Error),
}

/// How a directory is opened to be listed: a link in its place is not followed.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What is read of a tree.
#[derive(Debug, Clone, Copy)]
struct Rule<'r> {
    /// Left out.
    skip: &'r [PathBuf],
    earlier: Option<&'r TreeSnapshot>,
    /// Of the clock that file times are taken from: what changes later gets this time or a later
    /// one. Nothing where a server's clock is used.
    taken_ns: Option<i128>,
}

impl Rule<'_> {
    /// Whether the content of a file must be read, since its time of change would not show a
    /// change.
    fn needs_digest(&self, path: &Path, entry: &Entry) -> bool {
        match self.earlier {
            // What changed at this moment or later may change again without another time.
            None => self.taken_ns.is_none_or(|taken_ns| entry.changed_ns >= taken_ns),
            // Another time of change says it already.
            Some(earlier) => {
                earlier.has_digests
                    && earlier.get(path).is_some_and(|before| {
                        before.digest.is_some() && before.changed_ns == entry.changed_ns
                    })
            }
        }
    }
}

impl Entry {
    fn new(stat: &Stat) -> Self {
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            links: stat.st_nlink as _,
            directory,
            bytes_on_disk: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            // A directory's size is the file system's own business.
            size: if directory { 0 } else { stat.st_size.unsigned_abs() },
            modified_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
            changed_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
            digest: None,
        }
    }

    /// What is compared: a file system may put a file's bytes on disk long after they were written.
    fn compared(&self) -> Self {
        Self { bytes_on_disk: 0, ..*self }
    }

    /// Whether a directory differs from another one only in what copying it to another layer
    /// changes: device, inode, number of names and time of change.
    pub(crate) fn same_but_for_copying(&self, other: &Self) -> bool {
        let kept = |entry: &Self| (entry.directory, entry.mode, entry.owner, entry.modified_ns);
        self.directory && kept(self) == kept(other)
    }
}

impl TreeSnapshot {
    /// Reads the tree, leaving out `skip`. With an earlier snapshot, content is read again only
    /// where it was read then.
    pub(crate) fn take(
        root: &Path,
        skip: &[PathBuf],
        earlier: Option<&Self>,
    ) -> Result<Self, Unreadable> {
        let failed = |error: Errno| Unreadable::Failed(root.to_owned(), error.into());
        let directory = open(root, DIRECTORY, Mode::empty()).map_err(failed)?;
        let kind = fstatfs(&directory).map_err(failed)?.f_type as u32;
        let rule = Rule { skip, earlier, taken_ns: taken_ns(kind) };
        let mut entries = walk::walk(root, directory, &rule)?;
        entries.sort_unstable_by(|(one, _), (other, _)| by_bytes(one, other));
        let has_digests = entries.iter().any(|(_, entry)| entry.digest.is_some());
        Ok(Self { entries, has_digests, overlay: kind == OVERLAY })
    }

    /// What was there by this name.
    pub(crate) fn get(&self, path: &Path) -> Option<&Entry> {
        let found = self.entries.binary_search_by(|(name, _)| by_bytes(name, path)).ok()?;
        self.entries.get(found).map(|(_, entry)| entry)
    }

    /// All names with what was there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_path(), entry))
    }

    /// Names that differ from an earlier snapshot: made, gone, or changed in content or metadata.
    pub(crate) fn changes<'a>(&'a self, earlier: &'a Self) -> Vec<&'a Path> {
        let mut changes = Vec::new();
        let (mut before, mut after) = (earlier.iter().peekable(), self.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (Some((gone, _)), Some((here, _))) => by_bytes(gone, here),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return changes,
            };
            let old = if order.is_le() { before.next() } else { None };
            let new = if order.is_ge() { after.next() } else { None };
            let same = old.zip(new).is_some_and(|(old, new)| old.1.compared() == new.1.compared());
            changes.extend(old.or(new).filter(|_| !same).map(|(path, _)| path));
        }
    }

    /// The first of these files that has other content, mode or owner than before. Its number of
    /// names may change: a command may remove its own name of it.
    pub(crate) fn content_changed<'a>(
        &'a self,
        earlier: &Self,
        files: &[(u64, u64)],
    ) -> Option<&'a Path> {
        let kept = |entry: &Entry| (entry.size, entry.modified_ns, entry.mode, entry.owner);
        let changed = self.iter().find(|(path, entry)| {
            files.contains(&(entry.device, entry.inode))
                && earlier.get(path).is_some_and(|before| kept(before) != kept(entry))
        });
        changed.map(|(path, _)| path)
    }

    /// Device and inode of every socket file.
    pub(crate) fn sockets(&self) -> HashSet<(u64, u64)> {
        let socket = |entry: &Entry| FileType::from_raw_mode(entry.mode) == FileType::Socket;
        let sockets = self.iter().filter(|(_, entry)| socket(entry));
        sockets.map(|(_, entry)| (entry.device, entry.inode)).collect()
    }

    /// The first pipe with a name, or device. What is behind it is not part of the tree: another
    /// program may hold the other end. Landlock grants folders and what is below them, so it cannot
    /// keep the command from a single file in one.
    pub(crate) fn first_special_file(&self) -> Option<&Path> {
        let is_special = |entry: &Entry| {
            let kind = FileType::from_raw_mode(entry.mode);
            matches!(kind, FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice)
        };
        self.iter().find(|(_, entry)| is_special(entry)).map(|(path, _)| path)
    }

    /// Files that have more names than this tree shows: they have other names outside (M5).
    pub(crate) fn shared_outside(&self) -> Vec<(u64, u64)> {
        let mut seen: BTreeMap<(u64, u64), (u64, u64)> = BTreeMap::new();
        let linked = |entry: &Entry| !entry.directory && entry.links > 1;
        for (_, entry) in self.iter().filter(|(_, entry)| linked(entry)) {
            let names = seen.entry((entry.device, entry.inode)).or_insert((0, entry.links));
            names.0 += 1;
        }
        seen.into_iter().filter(|(_, (here, links))| here < links).map(|(inode, _)| inode).collect()
    }
}

/// `std` compares paths part by part, which takes several times as long.
fn by_bytes(one: &Path, other: &Path) -> Ordering {
    one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes())
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

/// The present by the clock of file times, where this kind of file system uses it.
fn taken_ns(kind: u32) -> Option<i128> {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    OWN_CLOCK.contains(&kind).then(|| nanoseconds(now.tv_sec, now.tv_nsec))
}
