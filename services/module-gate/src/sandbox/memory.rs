//! A folder in memory of this process, removed with it.
//!
//! Only there can the order of listings be chosen: a file system on disk lists by its own rule.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, StatVfsMountFlags, flock, statvfs};
use rustix::process::geteuid;
use tempfile::TempDir;

use crate::sandbox::cleanup::remove;
use crate::sandbox::workspace::lists_reversed;

const MEMORY: &str = "/dev/shm";
const PREFIX: &str = "module-gate-";
/// Least room in bytes: a module and what it may add to it in a test.
const LEAST_ROOM: u64 = 256 << 20;

// A folder of this age has been locked by its process, if that is alive.
const SETTLED: Duration = Duration::from_secs(60);

/// The folder.
#[derive(Debug)]
pub struct MemoryFolder {
    folder: TempDir,
    /// Held while the folder is in use, so that no other process takes it for left over.
    _lock: File,
}

impl MemoryFolder {
    /// Makes the folder, and removes those of processes that were killed. None where memory is not
    /// offered as a file system, has too little room, runs no programs or cannot be listed in
    /// another order.
    pub fn create() -> Option<Self> {
        let memory = Path::new(MEMORY);
        let found = statvfs(memory).ok()?;
        if found.f_flag.contains(StatVfsMountFlags::NOEXEC)
            || found.f_bavail.saturating_mul(found.f_frsize) < LEAST_ROOM
        {
            return None;
        }
        remove_left_over(memory);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(memory).ok()?;

        // On the folder itself: the lock goes with the process, however that ends.
        let lock = File::open(folder.path()).ok()?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;

        // As root, modules run as another user, which has to pass through.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).ok()?;
        lists_reversed(folder.path()).ok()?.then_some(Self { folder, _lock: lock })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes folders of that name that belong to this user and that no living process holds.
fn remove_left_over(memory: &Path) {
    for folder in fs::read_dir(memory).into_iter().flatten().filter_map(Result::ok) {
        let name = folder.file_name();
        let is_own = name.to_string_lossy().starts_with(PREFIX)
            && folder
                .metadata()
                .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw());
        if is_own && is_free(&folder.path()) {
            let _ = remove(&folder.path());
        }
    }
}

/// Young ones may be about to be locked.
fn is_free(folder: &Path) -> bool {
    let old = |found: fs::Metadata| {
        found.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age > SETTLED))
    };
    fs::metadata(folder).is_ok_and(old)
        && File::open(folder)
            .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok())
}
