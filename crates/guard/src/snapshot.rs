//! The root before and after: every name with its metadata and content, so that a change without an
//! observed cause is found (M1).

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstatfs, open};
use rustix::time::{ClockId, clock_gettime};

mod walk;

/// Most names one root may hold.
pub(crate) const MAX_ENTRIES: usize = 1_000_000;
/// Deeper trees are not compared: every level on the way to the deepest is held open.
pub(crate) const MAX_DEPTH: usize = 200;

/// File systems of this kernel: they take a file's change time from its own clock, which never
/// steps back behind what it gave out. ext, XFS, Btrfs, tmpfs, overlay, F2FS, Bcachefs.
const OWN_CLOCK: [u32; 7] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0xf2f5_2010, 0xca45_1a4e];

/// One name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) directory: bool,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
    /// Of a file's content or a link's target, where the change time alone would not show a change.
    digest: Option<[u8; 32]>,
}

/// All names of a tree, in the order of their bytes.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) entries: BTreeMap<PathBuf, Entry>,
}

/// Why a tree could not be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    TooLarge,
    TooDeep(PathBuf),
    Failed(PathBuf, io::Error),
}

/// How a directory is opened to be listed: a link in its place is none.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What is read of a tree.
#[derive(Debug, Clone, Copy)]
struct Rule<'r> {
    /// Left out.
    skip: &'r [PathBuf],
    earlier: Option<&'r Snapshot>,
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
            Some(earlier) => earlier.entries.get(path).is_some_and(|before| {
                before.digest.is_some() && before.changed_ns == entry.changed_ns
            }),
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
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            // A directory's size is the file system's own business.
            size: if directory { 0 } else { stat.st_size.unsigned_abs() },
            modified_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
            changed_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
            digest: None,
        }
    }

    /// Whether a directory differs from another one only in what copying it to another layer
    /// changes: device, inode, number of names and time of change.
    pub(crate) fn same_but_for_copying(&self, other: &Self) -> bool {
        let kept = |entry: &Self| (entry.directory, entry.mode, entry.owner, entry.modified_ns);
        self.directory && kept(self) == kept(other)
    }
}

/// Whether the tree lies on an overlay of several layers.
pub(crate) fn is_overlay(root: &Path) -> bool {
    const OVERLAY: u32 = 0x794c_7630;
    open(root, DIRECTORY, Mode::empty())
        .and_then(fstatfs)
        .is_ok_and(|found| found.f_type as u32 == OVERLAY)
}

impl Snapshot {
    /// Reads the tree, leaving out `skip`. With an earlier snapshot, content is read again only
    /// where it was read then.
    pub(crate) fn take(
        root: &Path,
        skip: &[PathBuf],
        earlier: Option<&Self>,
    ) -> Result<Self, Unreadable> {
        let failed = |error| Unreadable::Failed(root.to_owned(), error);
        let taken_ns = taken_ns(root).map_err(failed)?;
        let rule = Rule { skip, earlier, taken_ns };
        // The list is sorted once and the tree built from it: much cheaper than name by name.
        Ok(Self { entries: walk::walk(root, &rule)?.into_iter().collect() })
    }

    /// Names that differ from an earlier snapshot: made, gone, or changed in content or metadata.
    pub(crate) fn changes<'a>(&'a self, earlier: &'a Self) -> Vec<&'a Path> {
        let gone = earlier.entries.keys().filter(|path| !self.entries.contains_key(*path));
        let changed = self
            .entries
            .iter()
            .filter(|(path, entry)| earlier.entries.get(*path) != Some(entry))
            .map(|(path, _)| path);
        gone.chain(changed).map(PathBuf::as_path).collect()
    }

    /// The first of these files that has other content, mode or owner than before. Its number of
    /// names may change: a command may remove its own name of it.
    pub(crate) fn content_changed<'a>(
        &'a self,
        earlier: &Self,
        files: &[(u64, u64)],
    ) -> Option<&'a Path> {
        let kept = |entry: &Entry| (entry.size, entry.modified_ns, entry.mode, entry.owner);
        let changed = self.entries.iter().find(|(path, entry)| {
            files.contains(&(entry.device, entry.inode))
                && earlier.entries.get(*path).is_some_and(|before| kept(before) != kept(entry))
        });
        changed.map(|(path, _)| path.as_path())
    }

    /// Device and inode of every socket file.
    pub(crate) fn sockets(&self) -> HashSet<(u64, u64)> {
        let socket = |entry: &&Entry| FileType::from_raw_mode(entry.mode) == FileType::Socket;
        let sockets = self.entries.values().filter(socket);
        sockets.map(|entry| (entry.device, entry.inode)).collect()
    }

    /// Files that have more names than this tree shows: they have other names outside (M5).
    pub(crate) fn shared_outside(&self) -> Vec<(u64, u64)> {
        let mut seen: BTreeMap<(u64, u64), (u64, u64)> = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| !entry.directory && entry.links > 1) {
            let names = seen.entry((entry.device, entry.inode)).or_insert((0, entry.links));
            names.0 += 1;
        }
        seen.into_iter().filter(|(_, (here, links))| here < links).map(|(inode, _)| inode).collect()
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

/// The present by the clock of file times, where the file system uses it.
fn taken_ns(root: &Path) -> io::Result<Option<i128>> {
    let handle = open(root, DIRECTORY, Mode::empty())?;
    let kind = fstatfs(&handle)?.f_type as u32;
    let now = clock_gettime(ClockId::RealtimeCoarse);
    Ok(OWN_CLOCK.contains(&kind).then(|| nanoseconds(now.tv_sec, now.tv_nsec)))
}
