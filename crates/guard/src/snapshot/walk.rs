//! Walks through a tree on all processors this thread may use: one `statx` a name, every directory
//! listed once.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, fstat, openat, readlinkat, statat};
use sha2::{Digest, Sha256};

use super::{DIRECTORY, Entry, MAX_DEPTH, MAX_ENTRIES, Rule, Unreadable};

/// Names of one directory that are looked at in one piece of work.
const PIECE: usize = 256;
/// Names from which on a second thread is worth its start.
const FEW: usize = 512;
/// More threads than this wait for the same locks of the kernel.
const MAX_THREADS: usize = 8;
const LIST_BYTES: usize = 32 << 10;

type Found = Vec<(PathBuf, Entry)>;

/// Some names of an open directory.
struct Piece {
    directory: Arc<OwnedFd>,
    path: Arc<PathBuf>,
    names: Vec<CString>,
    /// Of these names.
    depth: usize,
    /// They were looked at already, and are directories to be listed. Only then is one opened: a
    /// tree with many directories must not need as many descriptors.
    directories: bool,
}

/// What is left to do. The walk is over when nothing waits and no worker is busy.
struct Queue {
    waiting: Vec<Piece>,
    working: usize,
    /// Names found until now, those that wait included.
    names: usize,
    failure: Option<Unreadable>,
}

struct Walk<'w> {
    rule: &'w Rule<'w>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// All names below a directory and that directory, in no certain order.
pub(super) fn walk(root: &Path, directory: OwnedFd, rule: &Rule<'_>) -> Result<Found, Unreadable> {
    let failed = |error: rustix::io::Errno| Unreadable::Failed(root.to_owned(), error.into());
    let first = Entry::new(&fstat(&directory).map_err(failed)?);

    // This thread is the first worker: the walk is not over before the root is listed.
    let queue = Queue { waiting: Vec::new(), working: 1, names: 1, failure: None };
    let walk = Walk { rule, queue: Mutex::new(queue), changed: Condvar::new() };
    let listed = walk.list(Arc::new(directory), root.to_owned(), 1);
    walk.finish(listed);

    let mut found = vec![(root.to_owned(), first)];
    // A small tree is done before another thread has started.
    found.extend(walk.work(FEW));
    let done = walk.locked().waiting.is_empty();
    // Asked only where it matters: that takes many calls, of control groups too.
    let processors = || thread::available_parallelism().map_or(1, usize::from);
    let threads = if done { 1 } else { processors().min(MAX_THREADS) };
    if threads == 1 {
        found.extend(walk.work(usize::MAX));
    } else {
        thread::scope(|scope| {
            let helpers: Vec<_> =
                (1..threads).map(|_| scope.spawn(|| walk.work(usize::MAX))).collect();
            found.extend(walk.work(usize::MAX));
            for helper in helpers {
                // A helper that panicked has left its work undone.
                match helper.join() {
                    Ok(part) => found.extend(part),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
    }
    match walk.queue.into_inner().unwrap_or_else(PoisonError::into_inner).failure {
        Some(failure) => Err(failure),
        None => Ok(found),
    }
}

impl Walk<'_> {
    fn locked(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until nothing is left, or until this many names were looked at.
    fn work(&self, most: usize) -> Found {
        let mut found = Vec::new();
        while found.len() < most
            && let Some(piece) = self.next()
        {
            let looked = self.look(piece, &mut found);
            self.finish(looked);
        }
        found
    }

    fn next(&self) -> Option<Piece> {
        let mut queue = self.locked();
        loop {
            if queue.failure.is_some() {
                return None;
            }
            if let Some(piece) = queue.waiting.pop() {
                queue.working += 1;
                return Some(piece);
            }
            if queue.working == 0 {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One piece of work is over.
    fn finish(&self, result: Result<(), Unreadable>) {
        let mut queue = self.locked();
        queue.working -= 1;
        if let Err(failure) = result {
            queue.failure.get_or_insert(failure);
        }
        // Those that sleep cannot learn in another way that nothing more will come.
        if queue.working == 0 || queue.failure.is_some() {
            self.changed.notify_all();
        }
    }

    fn look(&self, piece: Piece, found: &mut Found) -> Result<(), Unreadable> {
        let Piece { directory, path, names, depth, directories } = piece;
        let mut below = Vec::new();
        for name in names {
            let here = path.join(OsStr::from_bytes(name.as_bytes()));
            if directories {
                let opened = openat(&*directory, &name, DIRECTORY, Mode::empty())
                    .map_err(|error| Unreadable::Failed(here.clone(), error.into()))?;
                self.list(Arc::new(opened), here, depth + 1)?;
                continue;
            }
            if self.rule.skip.iter().any(|skip| skip.as_os_str() == here.as_os_str()) {
                continue;
            }
            if depth > MAX_DEPTH {
                return Err(Unreadable::TooDeep(here));
            }
            let failed = |error: io::Error| Unreadable::Failed(here.clone(), error);
            let stat = statat(&*directory, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| failed(error.into()))?;
            let mut entry = Entry::new(&stat);
            if self.rule.needs_digest(&here, &entry) {
                entry.digest = digest(&directory, &name, entry.mode).map_err(failed)?;
            }
            if entry.directory {
                below.push(name);
            }
            found.push((here, entry));
        }
        // Last in, first out: one directory is finished before its sibling is opened.
        for name in below {
            self.leave(&directory, &path, vec![name], depth, true)?;
        }
        Ok(())
    }

    /// Lists a directory and leaves its names for the next free worker.
    fn list(&self, directory: Arc<OwnedFd>, path: PathBuf, depth: usize) -> Result<(), Unreadable> {
        let path = Arc::new(path);
        let mut buffer = Vec::with_capacity(LIST_BYTES);
        let mut names = Vec::new();
        let mut list = RawDir::new(&*directory, buffer.spare_capacity_mut());
        while let Some(next) = list.next() {
            let next = next.map_err(|error| Unreadable::Failed((*path).clone(), error.into()))?;
            let name = next.file_name();
            if name != c"." && name != c".." {
                names.push(name.to_owned());
            }
            if names.len() == PIECE {
                let names = std::mem::take(&mut names);
                self.leave(&directory, &path, names, depth, false)?;
            }
        }
        if names.is_empty() { Ok(()) } else { self.leave(&directory, &path, names, depth, false) }
    }

    fn leave(
        &self,
        directory: &Arc<OwnedFd>,
        path: &Arc<PathBuf>,
        names: Vec<CString>,
        depth: usize,
        directories: bool,
    ) -> Result<(), Unreadable> {
        let mut queue = self.locked();
        if !directories {
            queue.names += names.len();
        }
        if queue.names > MAX_ENTRIES {
            return Err(Unreadable::TooLarge);
        }
        let (directory, path) = (Arc::clone(directory), Arc::clone(path));
        queue.waiting.push(Piece { directory, path, names, depth, directories });
        self.changed.notify_one();
        Ok(())
    }
}

/// Of a file's content or a link's target.
fn digest(directory: &OwnedFd, name: &CString, mode: u32) -> io::Result<Option<[u8; 32]>> {
    match FileType::from_raw_mode(mode) {
        FileType::Symlink => {
            let target = readlinkat(directory, name, Vec::new())?;
            return Ok(Some(Sha256::digest(target.to_bytes()).into()));
        }
        FileType::RegularFile => {}
        _ => return Ok(None),
    }
    // Should the file have become a pipe or a link meanwhile, neither wait for it nor follow it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file: File = match openat(directory, name, flags, Mode::empty()) {
        // A file its owner may not read: its times and size speak for it.
        Err(rustix::io::Errno::ACCESS) => return Ok(None),
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
