//! The root before and after: every name with its metadata and content digest, so that a change nobody was seen making is found (M1).

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Most names one root may hold.
pub(crate) const MAX_ENTRIES: usize = 1_000_000;

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
    /// Of a file's content or a link's target.
    digest: Option<[u8; 32]>,
}

/// All names of a tree, in the order of their bytes.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) entries: BTreeMap<PathBuf, Entry>,
    /// The newest change seen; what changes later has a later time, within the clock's steps.
    taken_ns: i128,
}

/// Why a tree could not be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    TooLarge,
    Failed(PathBuf, io::Error),
}

/// The coarse clock of file times steps by some milliseconds; this is ample.
const CLOCK_STEP_NS: i128 = 100_000_000;

impl Snapshot {
    /// Reads the tree, leaving out `skip`. With an earlier snapshot, content whose times prove it untouched is not read again.
    pub(crate) fn take(
        root: &Path,
        skip: &[PathBuf],
        earlier: Option<&Self>,
    ) -> Result<Self, Unreadable> {
        let mut snapshot = Self { entries: BTreeMap::new(), taken_ns: now_ns() };
        let mut waiting = vec![root.to_owned()];
        while let Some(path) = waiting.pop() {
            if skip.contains(&path) {
                continue;
            }
            let entry = match snapshot.entry(&path, earlier) {
                Ok(entry) => entry,
                Err(error) => return Err(Unreadable::Failed(path, error)),
            };
            if entry.directory {
                let names = fs::read_dir(&path).and_then(|names| {
                    names.map(|name| name.map(|name| name.path())).collect::<io::Result<Vec<_>>>()
                });
                waiting.extend(names.map_err(|error| Unreadable::Failed(path.clone(), error))?);
            }
            snapshot.entries.insert(path, entry);
            if snapshot.entries.len() + waiting.len() > MAX_ENTRIES {
                return Err(Unreadable::TooLarge);
            }
        }
        Ok(snapshot)
    }

    fn entry(&self, path: &Path, earlier: Option<&Self>) -> io::Result<Entry> {
        let metadata = fs::symlink_metadata(path)?;
        let mut entry = Entry {
            device: metadata.dev(),
            inode: metadata.ino(),
            links: metadata.nlink(),
            directory: metadata.is_dir(),
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            size: if metadata.is_dir() { 0 } else { metadata.size() },
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            digest: None,
        };
        entry.digest = match earlier.and_then(|earlier| earlier.proven(path, &entry)) {
            Some(digest) => digest,
            None => digest(path, &metadata)?,
        };
        Ok(entry)
    }

    /// The digest of content that cannot have changed since this snapshot: any change sets the change time to the present.
    fn proven(&self, path: &Path, now: &Entry) -> Option<Option<[u8; 32]>> {
        let before = self.entries.get(path)?;
        let same = Entry { digest: before.digest, ..now.clone() } == *before;
        (same && before.changed_ns < self.taken_ns - CLOCK_STEP_NS).then_some(before.digest)
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

    /// Files that have more names than this tree shows: they also stand somewhere else (M5).
    pub(crate) fn shared_outside(&self) -> Vec<(u64, u64)> {
        let mut seen: BTreeMap<(u64, u64), (u64, u64)> = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| !entry.directory && entry.links > 1) {
            let names = seen.entry((entry.device, entry.inode)).or_insert((0, entry.links));
            names.0 += 1;
        }
        seen.into_iter().filter(|(_, (here, links))| here < links).map(|(inode, _)| inode).collect()
    }
}

fn digest(path: &Path, metadata: &Metadata) -> io::Result<Option<[u8; 32]>> {
    use std::os::unix::ffi::OsStrExt as _;
    if metadata.is_symlink() {
        return Ok(Some(Sha256::digest(fs::read_link(path)?.as_os_str().as_bytes()).into()));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut file = match open(path) {
        // A file its owner may not read: its times and size speak for it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        other => other?,
    };
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Some(hash.finalize().into())),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Should the file have become a pipe or a link meanwhile, neither wait for it nor follow it.
    fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

fn now_ns() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    nanoseconds(now.tv_sec, now.tv_nsec)
}
