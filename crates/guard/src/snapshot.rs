//! The root before and after: every name with its metadata and content, so that a change without an
//! observed cause is found (M1).

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstatfs, open, openat, readlinkat, statat,
};
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest, Sha256};

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
    /// Of the clock that file times are taken from: what changes later gets this time or a later
    /// one. Nothing where a server's clock is used.
    taken_ns: Option<i128>,
}

/// Why a tree could not be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    TooLarge,
    TooDeep(PathBuf),
    Failed(PathBuf, io::Error),
}

/// A name still to be looked at, by its directory.
struct Waiting {
    above: Option<Rc<OwnedFd>>,
    path: PathBuf,
    depth: usize,
}

/// How a directory is opened to be listed: a link in its place is none.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Snapshot {
    /// Reads the tree, leaving out `skip`. With an earlier snapshot, content is read again only
    /// where it was read then.
    pub(crate) fn take(
        root: &Path,
        skip: &[PathBuf],
        earlier: Option<&Self>,
    ) -> Result<Self, Unreadable> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| Unreadable::Failed(path, error)
        };
        let mut snapshot =
            Self { entries: BTreeMap::new(), taken_ns: taken_ns(root).map_err(failed(root))? };
        let mut waiting = vec![Waiting { above: None, path: root.to_owned(), depth: 0 }];
        while let Some(next) = waiting.pop() {
            if skip.contains(&next.path) {
                continue;
            }
            if next.depth > MAX_DEPTH {
                return Err(Unreadable::TooDeep(next.path));
            }
            let entry = snapshot.entry(&next, earlier).map_err(failed(&next.path))?;
            if entry.directory {
                below(&next, &mut waiting).map_err(failed(&next.path))?;
            }
            snapshot.entries.insert(next.path, entry);
            if snapshot.entries.len() + waiting.len() > MAX_ENTRIES {
                return Err(Unreadable::TooLarge);
            }
        }
        Ok(snapshot)
    }

    fn entry(&self, place: &Waiting, earlier: Option<&Self>) -> io::Result<Entry> {
        let stat = place.stat()?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let directory = kind == FileType::Directory;
        let mut entry = Entry {
            device: stat.st_dev,
            inode: stat.st_ino,
            links: stat.st_nlink as _,
            directory,
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            size: if directory { 0 } else { stat.st_size.unsigned_abs() },
            modified_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
            changed_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
            digest: None,
        };
        let needed = match earlier {
            None => self.taken_ns.is_none_or(|taken_ns| entry.changed_ns >= taken_ns),
            // Another change time says it already.
            Some(earlier) => earlier.entries.get(&place.path).is_some_and(|before| {
                before.digest.is_some() && before.changed_ns == entry.changed_ns
            }),
        };
        if needed {
            entry.digest = place.digest(kind)?;
        }
        Ok(entry)
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

impl Waiting {
    fn name(&self) -> &Path {
        match (&self.above, self.path.file_name()) {
            (Some(_), Some(name)) => Path::new(name),
            _ => &self.path,
        }
    }

    fn stat(&self) -> io::Result<Stat> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(match &self.above {
            Some(above) => statat(above, self.name(), flags)?,
            None => statat(CWD, self.name(), flags)?,
        })
    }

    fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(match &self.above {
            Some(above) => openat(above, self.name(), flags, Mode::empty())?,
            None => open(self.name(), flags, Mode::empty())?,
        })
    }

    fn digest(&self, kind: FileType) -> io::Result<Option<[u8; 32]>> {
        if kind == FileType::Symlink {
            let target = match &self.above {
                Some(above) => readlinkat(above, self.name(), Vec::new())?,
                None => readlinkat(CWD, self.name(), Vec::new())?,
            };
            return Ok(Some(Sha256::digest(target.to_bytes()).into()));
        }
        if kind != FileType::RegularFile {
            return Ok(None);
        }
        // Should the file have become a pipe or a link meanwhile, neither wait for it nor follow
        // it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file: File = match self.open(flags) {
            // A file its owner may not read: its times and size speak for it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
            other => other?.into(),
        };
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Some(hash.finalize().into())),
                read => hash.update(&buffer[..read]),
            }
        }
    }
}

/// Adds the entries of a directory.
fn below(place: &Waiting, waiting: &mut Vec<Waiting>) -> io::Result<()> {
    let handle = Rc::new(place.open(DIRECTORY)?);
    for entry in Dir::read_from(&*handle)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            waiting.push(Waiting {
                above: Some(Rc::clone(&handle)),
                path: place.path.join(OsStr::from_bytes(name)),
                depth: place.depth + 1,
            });
        }
    }
    Ok(())
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
