//! What a command keeps on disk: the growth of the trees it may write, files without a name
//! included.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use rustix::fs::{CWD, Dir, Mode, open, openat};
use rustix::io::Errno;

use crate::nameless_files::NamelessFiles;
use crate::policy::Limits;
use crate::resolved_policy::ResolvedPolicy;
use crate::snapshot::{DIRECTORY, TreeSnapshot};
use crate::stat::FileStat;

/// Where a path is longer, what it names is reached through the directory above it, held open.
const MAX_PATH: usize = libc::PATH_MAX as usize - 1;
/// Most directories held open at once: only those with several more below them, deeper than a path
/// may be long.
const MAX_HELD: usize = 256;
/// Most closed directories remembered by name.
const MAX_CLOSED: usize = 1_000;

/// Bytes on disk and names of some trees together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DiskUsage {
    pub(crate) bytes: u64,
    pub(crate) names: u64,
    /// Directories that may not be listed.
    pub(crate) closed: Vec<PathBuf>,
}

/// The trees under watch, and what they held when the run began.
#[derive(Debug)]
pub(crate) struct WatchedTrees {
    trees: Vec<PathBuf>,
    /// What a snapshot of the root leaves of them; nothing where the root is not among them.
    beside_snapshot: Option<Vec<PathBuf>>,
    before: DiskUsage,
}

impl WatchedTrees {
    /// Measures the trees, one inside another only once. The root is measured by the snapshot that
    /// was just taken of it.
    pub(crate) fn new(trees: &[PathBuf], resolved: &ResolvedPolicy, root: &TreeSnapshot) -> Self {
        let outermost = outermost(trees);
        let beside_snapshot = outermost.contains(&resolved.root).then(|| {
            let others = outermost.iter().filter(|path| **path != resolved.root).cloned();
            // A snapshot leaves out what may be written freely, also inside the root.
            let inside =
                |path: &&PathBuf| **path != resolved.root && path.starts_with(&resolved.root);
            let free = resolved.free.iter().filter(inside).cloned();
            self::outermost(&others.chain(free).collect::<Vec<_>>())
        });
        let mut watched = Self { trees: outermost, beside_snapshot, before: DiskUsage::default() };
        watched.before = watched.measure(u64::MAX, Some(root));
        watched
    }

    /// The limit that the growth exceeds now, together with the files that the processes below
    /// `reaper` hold without a name. At the end of a run no such file is left.
    pub(crate) fn exceeds(&self, limits: &Limits, reaper: i32) -> Option<&'static str> {
        let mut now = self.measure(self.most(limits), None);
        let nameless = NamelessFiles::held_below(reaper, &self.trees);
        now.names = now.names.saturating_add(nameless.files);
        now.bytes = now.bytes.saturating_add(nameless.bytes);
        self.exceeded(limits, &now)
    }

    /// The limit that the growth exceeds at the end. A directory that its owner may not list is
    /// then more than can be counted; before, it may be opened again. `root` is the snapshot of that
    /// moment, where one could be taken.
    pub(crate) fn exceeds_at_end(
        &self,
        limits: &Limits,
        root: Option<&TreeSnapshot>,
    ) -> Option<&'static str> {
        let now = self.measure(self.most(limits), root);
        let closed = now.closed.iter().any(|path| !self.before.closed.contains(path));
        self.exceeded(limits, &now).or(closed.then_some("tree_entries"))
    }

    fn measure(&self, most: u64, root: Option<&TreeSnapshot>) -> DiskUsage {
        match root.zip(self.beside_snapshot.as_ref()) {
            Some((root, beside)) => measure(beside, most, Sum::of(root)),
            None => measure(&self.trees, most, Sum::default()),
        }
    }

    fn most(&self, limits: &Limits) -> u64 {
        self.before.names.saturating_add(limits.tree_entries)
    }

    fn exceeded(&self, limits: &Limits, now: &DiskUsage) -> Option<&'static str> {
        if now.names > self.most(limits) {
            Some("tree_entries")
        } else if now.bytes > self.before.bytes.saturating_add(limits.tree_bytes) {
            Some("tree_bytes")
        } else {
            None
        }
    }
}

/// Those that are not inside another one.
fn outermost(trees: &[PathBuf]) -> Vec<PathBuf> {
    let within =
        |path: &PathBuf| trees.iter().any(|other| other != path && path.starts_with(other));
    let mut outermost: Vec<PathBuf> = trees.iter().filter(|path| !within(path)).cloned().collect();
    outermost.dedup();
    outermost
}

/// A directory still to be listed.
struct Waiting {
    path: PathBuf,
    /// The directory above, where the path is too long to be named.
    above: Option<Rc<OwnedFd>>,
}

impl Waiting {
    fn open(&self) -> rustix::io::Result<OwnedFd> {
        match (&self.above, self.path.file_name()) {
            (Some(above), Some(name)) => openat(above, name, DIRECTORY, Mode::empty()),
            _ => open(&self.path, DIRECTORY, Mode::empty()),
        }
    }
}

/// Adds the trees to what is known, until there are more than `most` names; more than can be
/// counted where too much is deeper than a path may be long. What vanishes meanwhile is not counted.
fn measure(trees: &[PathBuf], most: u64, mut sum: Sum) -> DiskUsage {
    let mut waiting: Vec<Waiting> = Vec::new();
    for tree in trees {
        if FileStat::named(CWD, tree.as_os_str()).is_ok_and(|stat| sum.add(&stat)) {
            waiting.push(Waiting { path: tree.clone(), above: None });
        }
    }
    let mut held: Vec<Weak<OwnedFd>> = Vec::new();
    while let Some(directory) = waiting.pop() {
        if sum.found.names > most {
            break;
        }
        let handle = match directory.open() {
            Ok(handle) => Rc::new(handle),
            Err(Errno::ACCESS) => {
                if sum.found.closed.len() < MAX_CLOSED {
                    sum.found.closed.push(directory.path);
                }
                continue;
            }
            Err(_) => continue,
        };
        let before = waiting.len();
        list(&directory.path, &handle, &mut sum, &mut waiting);
        if waiting[before..].iter().any(|below| below.above.is_some()) {
            held.push(Rc::downgrade(&handle));
        }
        // A directory is needed open only as long as something waits below it.
        held.retain(|handle| handle.strong_count() > 0);
        if held.len() > MAX_HELD {
            // As if there were more names than may be: deeper trees cannot be counted in bounded
            // memory.
            sum.found.names = u64::MAX;
        }
    }
    sum.found
}

/// Adds the entries of a directory.
fn list(path: &Path, handle: &Rc<OwnedFd>, sum: &mut Sum, waiting: &mut Vec<Waiting>) {
    for entry in Dir::read_from(&**handle).into_iter().flatten().filter_map(Result::ok) {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        if FileStat::named(&**handle, name).is_ok_and(|stat| sum.add(&stat)) {
            let path = path.join(name);
            let too_long = path.as_os_str().len() > MAX_PATH;
            waiting.push(Waiting { path, above: too_long.then(|| Rc::clone(handle)) });
        }
    }
}

/// A disk usage as it adds up.
#[derive(Default)]
struct Sum {
    found: DiskUsage,
    /// Files with several names, which count once.
    linked: HashSet<(u64, u64)>,
}

impl Sum {
    /// Everything that a snapshot has.
    fn of(snapshot: &TreeSnapshot) -> Self {
        let mut sum = Self::default();
        for (_, entry) in snapshot.iter() {
            let once = entry.directory || entry.links < 2;
            sum.count((entry.device, entry.inode), once, entry.bytes_on_disk);
        }
        sum
    }

    /// Adds one name; whether it is a directory.
    fn add(&mut self, stat: &FileStat) -> bool {
        let directory = stat.is_dir();
        self.count(stat.identity(), directory || stat.links() < 2, stat.bytes_on_disk());
        directory
    }

    /// Adds one name of a file that has no other, or may have.
    fn count(&mut self, identity: (u64, u64), once: bool, bytes_on_disk: u64) {
        self.found.names = self.found.names.saturating_add(1);
        // A file with several names takes its space once, whichever of them is met first.
        if once || self.linked.insert(identity) {
            self.found.bytes = self.found.bytes.saturating_add(bytes_on_disk);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::OFlags;

    use super::*;

    #[test]
    fn what_stands_deeper_than_a_path_may_be_long_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut above: OwnedFd = open(folder.path(), DIRECTORY, Mode::empty()).unwrap();
        let name = "n".repeat(200);
        for _ in 0..40 {
            for side in [name.as_str(), "side"] {
                rustix::fs::mkdirat(&above, side, Mode::RWXU).unwrap();
            }
            above = openat(&above, &name, DIRECTORY, Mode::empty()).unwrap();
        }
        let made = OFlags::CREATE | OFlags::WRONLY;
        let file = openat(&above, "file", made, Mode::RUSR | Mode::WUSR).unwrap();
        rustix::io::write(&file, &[1; 100_000]).unwrap();
        let found = measure(&[folder.path().to_owned()], u64::MAX, Sum::default());
        assert_eq!(found.names, 1 + 80 + 1);
        assert!(found.bytes >= 100_000, "{found:?}");
        assert!(measure(&[folder.path().to_owned()], 50, Sum::default()).names > 50);
    }
}
