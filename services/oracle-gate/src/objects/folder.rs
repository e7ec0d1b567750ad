//! A store in a folder of this machine: reads in large blocks, one create of a file, one walk.
//!
//! Every open follows no link in any part of the path and stays below the root, which the kernel
//! enforces (`openat2`, Linux 5.6); on an older one each part is opened on its own.
//!
//! A file appears under its name in one step: its bytes are written to a file without a name, reach
//! the disk, and get the name by a hard link, which fails where the name exists. Whatever ends the
//! process before that leaves nothing. On a file system that has no files without a name, such as
//! NFS, they have a name of ours until then ([`unfinished_name`]). A crash may leave such a file
//! there; it stays, since another program may have made a file of such a name.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags, fstat, linkat, mkdirat,
    openat, openat2, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use seal::records::unfinished_name;

use super::failure::{StoreError, from_io};
use super::listing::Entry;
use super::race::Start;

/// Bytes read at once: large enough that calls cost nothing, small enough for a processor's cache.
pub(super) const BLOCK: usize = 256 << 10;

/// The mode of a new file; the process's mask takes from it.
const NEW_FILE: Mode = Mode::from_raw_mode(0o666);
/// What comes between the name of a folder that is being removed and 32 hex digits.
const ASIDE: &str = ".removing-";

/// What is found under a name.
pub(super) enum Opened {
    /// A regular file, open for reading, with its length.
    File(File, u64),
    /// A folder.
    Folder,
    /// Nothing; also where a file takes the place of a folder of the path.
    Absent,
}

/// What a create did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    New,
    Existed,
}

/// A file as a walk or an open saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryState {
    pub(super) length: u64,
    pub(super) mark: String,
    /// When it was changed last, in nanoseconds since 1970.
    pub(super) changed: i128,
}

impl EntryState {
    pub(super) fn of(meta: &std::fs::Metadata) -> Self {
        let changed = i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec());
        Self { length: meta.len(), mark: mark(meta), changed }
    }
}

/// Another text after every write of a file: no call sets back the time of its last change.
fn mark(meta: &std::fs::Metadata) -> String {
    format!(
        "{}:{}:{}:{}.{}:{}.{}",
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec()
    )
}

fn io_error(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.raw_os_error())
}

/// Opens `path` below `root` without following any link.
fn open_below(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let path = if path.is_empty() { "." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            // Something was renamed meanwhile; the kernel asks to look again.
            Err(Errno::AGAIN) => {}
            Err(Errno::NOSYS | Errno::PERM) => break,
            done => return done,
        }
    }
    // An older kernel, or one on which the call is forbidden: each part on its own, none of them a
    // link.
    let mut at = openat(root, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return openat(&at, part, flags, Mode::empty());
        }
        let folder = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = openat(&at, part, folder, Mode::empty())?;
    }
    Err(Errno::INVAL)
}

/// Opens the root itself, which may be reached by links: the operator named it.
pub(super) fn open_root(root: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a file for reading.
///
/// # Errors
/// Links and special files, and whatever else the disk answers but absence.
pub(super) fn open(root: &Path, path: &str) -> Result<Opened, StoreError> {
    opened(path, open_root(root).and_then(|root| open_file(root.as_fd(), path)))
}

/// As [`open`], below a root that is open already: many small files are not worth an opening of the
/// root each.
///
/// # Errors
/// As [`open`].
pub(super) fn open_in(root: BorrowedFd<'_>, path: &str) -> Result<Opened, StoreError> {
    opened(path, open_file(root, path))
}

fn open_file(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    open_below(root, path, OFlags::RDONLY)
}

fn opened(path: &str, opened: Result<OwnedFd, Errno>) -> Result<Opened, StoreError> {
    let failed = |errno: Errno| from_io(path, &io_error(errno));
    let fd = match opened {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Opened::Absent),
        // A socket cannot be opened at all.
        Err(Errno::LOOP | Errno::NXIO) => return Err(StoreError::Link { path: path.to_owned() }),
        Err(errno) => return Err(failed(errno)),
    };
    let stat = fstat(&fd).map_err(failed)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            Ok(Opened::File(File::from(fd), u64::try_from(stat.st_size).unwrap_or(0)))
        }
        FileType::Directory => Ok(Opened::Folder),
        _ => Err(StoreError::Link { path: path.to_owned() }),
    }
}

/// A file that is read in blocks. It has to give exactly the bytes that it had when it was opened:
/// one that is written meanwhile has no digest that could be stated.
#[derive(Debug)]
pub(super) struct Blocks<R = File> {
    file: R,
    left: u64,
}

impl<R: Read> Blocks<R> {
    pub(super) fn new(file: R, length: u64) -> Self {
        Self { file, left: length }
    }

    /// Reads the next block into `buffer`, and answers how long it is and whether more come.
    ///
    /// # Errors
    /// What the disk answers, or that the length changed.
    pub(super) fn read(&mut self, path: &str, buffer: &mut [u8]) -> Result<Block, StoreError> {
        let read = loop {
            match self.file.read(buffer) {
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(from_io(path, &error)),
            }
        };
        if read == 0 && self.left > 0 {
            return Err(changed(path));
        }
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| changed(path))?;

        // A read of a regular file that gives less than was asked for has met its end (POSIX,
        // read): small files need no second call to hear of that.
        Ok(Block { length: read, last: self.left == 0 && read < buffer.len() })
    }
}

/// What one call has read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) length: usize,
    /// Nothing comes after it.
    pub(super) last: bool,
}

fn changed(path: &str) -> StoreError {
    StoreError::Changed { path: path.to_owned() }
}

/// Length and mark of a file without opening it; `None` where there is no regular file.
pub(super) fn look(root: &Path, path: &str) -> Result<Option<EntryState>, StoreError> {
    match open(root, path)? {
        Opened::File(file, length) => {
            let meta = file.metadata().map_err(|error| from_io(path, &error))?;
            Ok(Some(EntryState { length, ..EntryState::of(&meta) }))
        }
        Opened::Folder | Opened::Absent => Ok(None),
    }
}

/// Whether a file that was created has to outlive a power failure.
#[derive(Clone)]
pub(super) enum Lasting {
    /// Its bytes and its name are on the disk before it counts.
    Yes,
    /// It is removed again, so its writing need not reach the disk. Which of several creates wins is
    /// decided by the same call as else; before it, the writers of a race wait for each other.
    Scratch(Option<Arc<Start>>),
}

/// Writes a file if there is none under that name.
///
/// # Errors
/// What the disk answers. Then nothing is under the name that was not there before.
pub(super) fn create(
    root: &Path,
    path: &str,
    bytes: &[u8],
    lasting: &Lasting,
) -> Result<Put, StoreError> {
    let sync = |file: &File| match lasting {
        Lasting::Yes => file.sync_all(),
        Lasting::Scratch(_) => Ok(()),
    };
    let failed = |errno: Errno| from_io(path, &io_error(errno));
    let refused = |cause: &str| StoreError::Name { path: path.to_owned(), cause: cause.to_owned() };
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let root = open_root(root).map_err(failed)?;
    let folder = match make_folders(root.as_fd(), parent, lasting) {
        Ok(folder) => folder,
        Err(Errno::NOTDIR) => return Err(refused("a file is where a folder is needed")),
        Err(Errno::LOOP) => return Err(StoreError::Link { path: path.to_owned() }),
        Err(errno) => return Err(failed(errno)),
    };
    let write = |file: &mut File| {
        // On the disk before it gets its name, so that the name never leads to half a file.
        let written = file.write_all(bytes).and_then(|()| sync(file));
        if let Lasting::Scratch(Some(start)) = lasting {
            start.wait();
        }
        written.map_err(|error| from_io(path, &error))
    };
    let mut linked = None;
    if let Some(mut file) = unnamed(folder.as_fd()) {
        write(&mut file)?;
        linked = link_unnamed(&file, folder.as_fd(), name);
    }
    let linked = match linked {
        Some(linked) => linked,
        None => link_named(folder.as_fd(), name, write, failed)?,
    };
    match linked {
        Ok(()) => {
            // The names have to reach the disk too, or a power cut takes a seal back.
            sync(&File::from(folder)).map_err(|error| from_io(path, &error))?;
            Ok(Put::New)
        }
        Err(Errno::EXIST) => match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Ok(Put::Existed),
                FileType::Directory => Err(refused("there is a folder of that name")),
                _ => Err(StoreError::Link { path: path.to_owned() }),
            },
            Err(errno) => Err(failed(errno)),
        },
        // Without hard links there is no create that two writers cannot both win.
        Err(Errno::PERM | Errno::OPNOTSUPP) => {
            Err(StoreError::Unsupported { path: path.to_owned() })
        }
        Err(errno) => Err(failed(errno)),
    }
}

/// A new file in a folder that has no name; `None` where there are no such files.
fn unnamed(folder: BorrowedFd<'_>) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(folder, ".", flags, NEW_FILE).ok().map(File::from)
}

/// Gives a file without a name its name; `None` where it cannot be given one.
fn link_unnamed(file: &File, folder: BorrowedFd<'_>, name: &str) -> Option<Result<(), Errno>> {
    // By the path that open(2) states for this: a link from the descriptor itself needs a
    // privilege.
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(CWD, unnamed.as_str(), folder, name, AtFlags::SYMLINK_FOLLOW) {
        linked @ (Ok(()) | Err(Errno::EXIST)) => Some(linked),
        // Also where there is no `/proc`, or what confines this process does not allow it.
        Err(_) => None,
    }
}

/// Writes a file under a name of ours, and links it to its own name.
fn link_named(
    folder: BorrowedFd<'_>,
    name: &str,
    write: impl FnOnce(&mut File) -> Result<(), StoreError>,
    failed: impl Fn(Errno) -> StoreError,
) -> Result<Result<(), Errno>, StoreError> {
    let part = unfinished_name(rand::random());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(folder, part.as_str(), flags, NEW_FILE).map_err(&failed)?;
    let linked = write(&mut File::from(fd))
        .map(|()| linkat(folder, part.as_str(), folder, name, AtFlags::empty()));
    // The name of ours goes whatever came of it: the file keeps the other name or is not there.
    let unlinked = unlinkat(folder, part.as_str(), AtFlags::empty());
    if matches!(linked, Ok(Ok(()))) {
        unlinked.map_err(&failed)?;
    }
    linked
}

/// The folder, with whatever of it is missing made; no part of it may be a link.
fn make_folders(root: BorrowedFd<'_>, path: &str, lasting: &Lasting) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = openat(root, ".", flags, Mode::empty())?;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        at = match openat(&at, part, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                match mkdirat(&at, part, Mode::from_raw_mode(0o777)) {
                    // The new name reaches the disk with the file that it was made for; a folder
                    // that is lost before that holds nothing yet.
                    Ok(()) if matches!(lasting, Lasting::Yes) => rustix::fs::fsync(&at)?,
                    Ok(()) => {}
                    // Another writer was faster.
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                openat(&at, part, flags, Mode::empty())?
            }
            // The kernel names a link in place of a folder in one of two ways.
            Err(Errno::NOTDIR) if is_link(at.as_fd(), part) => return Err(Errno::LOOP),
            other => other?,
        };
    }
    Ok(at)
}

/// What became of a folder that was to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It is gone.
    Gone,
    /// It was gone before.
    Absent,
    /// Something of it stays, for this reason.
    Stays(String),
}

/// The name that a folder had before its removal began, where it was not ended; else its name.
pub(crate) fn before_removal(name: &str) -> &str {
    let is_nonce = |text: &str| {
        text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match name.rsplit_once(ASIDE) {
        Some((before, nonce)) if is_nonce(nonce) => before,
        _ => name,
    }
}

/// Removes files below a folder, then the folders that held them, from the deepest up to the folder
/// itself. A file that is not as it was seen stays, and so does a folder that holds anything else:
/// nothing is removed that was not looked at.
///
/// First the folder gets a name that no other program knows. Else a file could be put in the place
/// of one that was looked at, just before that is removed by its path. What stays gets its name
/// back.
pub(super) fn remove(root: &Path, folder: &str, files: &[Entry]) -> Result<Removal, StoreError> {
    let failed = |errno: Errno| from_io(folder, &io_error(errno));
    let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
    let opened = open_root(root).and_then(|root| open_folder(root.as_fd(), above));
    let above = match opened {
        Ok(above) => above,
        Err(Errno::NOENT) => return Ok(Removal::Absent),
        Err(errno) => return Err(failed(errno)),
    };
    let nonce = hex::encode(rand::random::<[u8; 16]>());
    let aside = format!("{}{ASIDE}{nonce}", before_removal(name));
    match renameat(&above, name, &above, aside.as_str()) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Removal::Absent),
        Err(errno) => return Err(failed(errno)),
    }
    let removed = empty(above.as_fd(), &aside, folder, files);
    if matches!(removed, Ok(true)) {
        return Ok(Removal::Gone);
    }
    let back = renameat_with(&above, aside.as_str(), &above, name, RenameFlags::NOREPLACE);
    let why = match &removed {
        Ok(_) => "it still holds something that was not staged".to_owned(),
        Err(error) => error.to_string(),
    };
    match (back, removed) {
        (Err(errno), _) => {
            let cause = io_error(errno);
            Ok(Removal::Stays(format!("{why}; it cannot be renamed back from {aside}: {cause}")))
        }
        (Ok(()), Ok(_) | Err(StoreError::Changed { .. })) => Ok(Removal::Stays(why)),
        (Ok(()), Err(error)) => Err(error),
    }
}

/// Removes the files of the folder `aside`, which is in `above` and was `folder`, then the folders
/// that are empty; answers whether it is gone itself. What something else has removed by now is no
/// error.
fn empty(
    above: BorrowedFd<'_>,
    aside: &str,
    folder: &str,
    files: &[Entry],
) -> Result<bool, StoreError> {
    let failed = |errno: Errno| from_io(folder, &io_error(errno));
    let mut folders = BTreeSet::from([aside.to_owned()]);
    for Entry { path: file, mark: seen, .. } in files {
        let path = format!("{aside}/{file}");
        let (parent, name) = path.rsplit_once('/').unwrap_or((aside, file));
        let is_there = match open_file(above, &path).map(File::from) {
            Ok(file) if file.metadata().is_ok_and(|meta| mark(&meta) == *seen) => true,
            Ok(_) | Err(Errno::LOOP | Errno::NXIO | Errno::NOTDIR) => {
                return Err(changed(&format!("{folder}/{file}")));
            }
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(failed(errno)),
        };
        if is_there {
            let parent_fd = open_folder(above, parent).map_err(failed)?;
            unless_absent(unlinkat(&parent_fd, name, AtFlags::empty())).map_err(failed)?;
        }
        let mut at = parent;
        // Up to the first that is known: those above it are known as well.
        while at.len() > aside.len() && folders.insert(at.to_owned()) {
            at = at.rsplit_once('/').map_or(aside, |(upper, _)| upper);
        }
    }
    let mut gone = false;
    // A folder comes after its own parent in the order of paths, so the deepest are last.
    for path in folders.iter().rev() {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent_fd = match open_folder(above, parent) {
            Ok(parent_fd) => parent_fd,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        match unless_absent(unlinkat(&parent_fd, name, AtFlags::REMOVEDIR)) {
            Ok(()) => gone = path == aside,
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(gone)
}

fn open_folder(at: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    open_below(at, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

fn unless_absent(done: Result<(), Errno>) -> Result<(), Errno> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

fn is_link(at: BorrowedFd<'_>, name: &str) -> bool {
    statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// One folder's entries, as far as they can be read.
pub(super) struct Entries {
    pub(super) files: Vec<(String, EntryState)>,
    pub(super) folders: Vec<String>,
    /// Whatever has no place in a store: links, special files, names that mean two things.
    pub(super) odd: Vec<StoreError>,
}

/// Reads one folder. An entry that cannot be read does not hide the others.
///
/// # Errors
/// When the folder itself cannot be read; one that is not there has no entries.
pub(super) fn entries(
    root: &Path,
    folder: &str,
    matches: impl Fn(&[u8]) -> bool,
) -> Result<Entries, StoreError> {
    let mut found = Entries { files: Vec::new(), folders: Vec::new(), odd: Vec::new() };
    let at: PathBuf = if folder.is_empty() { root.to_owned() } else { root.join(folder) };
    let named = if folder.is_empty() { "." } else { folder };
    let opened = match std::fs::read_dir(&at) {
        Ok(opened) => opened,
        Err(error) if is_absence(&error) => return Ok(found),
        Err(error) => return Err(from_io(named, &error)),
    };
    for entry in opened {
        let entry = entry.map_err(|error| from_io(named, &error))?;
        let name = entry.file_name();
        if !matches(name.as_encoded_bytes()) {
            continue;
        }
        let shown = match folder {
            "" => name.to_string_lossy().into_owned(),
            _ => format!("{folder}/{}", name.to_string_lossy()),
        };
        // One look at each entry: kind, length and mark come from the same answer.
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(error) if is_absence(&error) => continue,
            Err(error) => {
                found.odd.push(from_io(&shown, &error));
                continue;
            }
        };
        let Some(name) = name.to_str() else {
            let cause = "it is not UTF-8".to_owned();
            found.odd.push(StoreError::Name { path: shown, cause });
            continue;
        };
        if meta.is_dir() {
            found.folders.push(name.to_owned());
        } else if meta.is_file() {
            found.files.push((name.to_owned(), EntryState::of(&meta)));
        } else {
            found.odd.push(StoreError::Link { path: shown });
        }
    }
    Ok(found)
}

/// Nothing there; a file in place of a folder is that too.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_created_once_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(255);
        for path in ["a", "b/c/d", &long] {
            for lasting in [Lasting::Scratch(None), Lasting::Yes] {
                assert_eq!(create(dir.path(), path, b"one", &lasting).unwrap(), Put::New, "{path}");
                for again in [Lasting::Yes, Lasting::Scratch(None)] {
                    let put = create(dir.path(), path, b"two", &again).unwrap();
                    assert_eq!(put, Put::Existed, "{path}");
                }
                assert_eq!(std::fs::read(dir.path().join(path)).unwrap(), b"one");
                if matches!(lasting, Lasting::Scratch(_)) {
                    std::fs::remove_file(dir.path().join(path)).unwrap();
                }
            }
        }
        let names = std::fs::read_dir(dir.path()).unwrap();
        assert_eq!(names.count(), 3);
    }

    #[test]
    fn a_file_that_needs_a_name_from_the_beginning_is_created_once_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let folder = open_root(dir.path()).unwrap();
        let failed = |errno: Errno| from_io("a", &io_error(errno));
        let create = |bytes: &'static [u8]| {
            let write =
                |file: &mut File| file.write_all(bytes).map_err(|error| from_io("a", &error));
            link_named(folder.as_fd(), "a", write, failed)
        };
        assert_eq!(create(b"one").unwrap(), Ok(()));
        assert_eq!(create(b"two").unwrap(), Err(Errno::EXIST));
        let refused = |_: &mut File| Err(failed(Errno::NOSPC));
        assert!(link_named(folder.as_fd(), "b", refused, failed).is_err());
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// The staging folder `s/1` with these files, and how they were seen.
    fn staged(root: &Path, files: &[&str]) -> Vec<Entry> {
        let see = |file: &&str| {
            let path = root.join("s/1").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
            let EntryState { length, mark, changed } =
                look(root, &format!("s/1/{file}")).unwrap().unwrap();
            Entry { path: (*file).to_owned(), length, mark, changed }
        };
        files.iter().map(see).collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_folder_is_removed_with_the_files_that_were_seen_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join("s/1").join(path);
        let files = staged(dir.path(), &["a/b/x", "y"]);
        assert_eq!(remove(dir.path(), "s/1", &files).unwrap(), Removal::Gone);
        assert_eq!(names(&dir.path().join("s")), [""; 0]);

        // Another file in the place of one that was seen: its folder has its name again.
        let files = staged(dir.path(), &["a/b/x", "y"]);
        std::fs::write(at("new"), "a/b/x").unwrap();
        std::fs::rename(at("new"), at("a/b/x")).unwrap();
        let removal = remove(dir.path(), "s/1", &files).unwrap();
        assert!(
            matches!(&removal, Removal::Stays(why) if why.contains("s/1/a/b/x")),
            "{removal:?}"
        );
        assert_eq!(names(&dir.path().join("s")), ["1"]);
        assert_eq!(std::fs::read(at("a/b/x")).unwrap(), b"a/b/x");
        assert_eq!(std::fs::read(at("y")).unwrap(), b"y");

        // A file that nobody looked at.
        let files = staged(dir.path(), &["y"]);
        let removal = remove(dir.path(), "s/1", &files).unwrap();
        assert!(matches!(removal, Removal::Stays(_)), "{removal:?}");
        assert_eq!(
            (names(&dir.path().join("s")), names(&at(""))),
            (vec!["1".to_owned()], vec!["a".to_owned()])
        );
    }

    #[test]
    fn what_something_else_has_removed_does_not_stop_a_removal() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["none", "none/1"] {
            assert_eq!(remove(dir.path(), folder, &[]).unwrap(), Removal::Absent);
        }
        let files = staged(dir.path(), &["a/x", "y"]);
        std::fs::remove_dir_all(dir.path().join("s/1/a")).unwrap();
        assert_eq!(remove(dir.path(), "s/1", &files).unwrap(), Removal::Gone);
        assert_eq!(remove(dir.path(), "s/1", &files).unwrap(), Removal::Absent);
    }

    #[test]
    fn a_removal_that_did_not_end_is_known_by_its_name_and_goes_on() {
        let aside = format!("1{ASIDE}{}", "0f".repeat(16));
        assert_eq!(before_removal(&aside), "1");
        for name in ["1", "1.removing-", "1.removing-0f", "01"] {
            assert_eq!(before_removal(name), name);
        }
        let dir = tempfile::tempdir().unwrap();
        let files = staged(dir.path(), &["a/x", "y"]);
        std::fs::rename(dir.path().join("s/1"), dir.path().join("s").join(&aside)).unwrap();
        let folder = format!("s/{aside}");
        assert_eq!(remove(dir.path(), &folder, &files).unwrap(), Removal::Gone);
        assert_eq!(names(&dir.path().join("s")), [""; 0]);
    }

    #[test]
    fn what_can_never_be_created_is_no_matter_of_waiting() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("folder", dir.path().join("link")).unwrap();
        for path in ["file/a", "folder", &"y".repeat(256)] {
            let error = create(dir.path(), path, b"", &Lasting::Yes).unwrap_err();
            assert!(matches!(error, StoreError::Name { .. }), "{path}: {error}");
        }
        for path in ["link", "link/a"] {
            let error = create(dir.path(), path, b"", &Lasting::Yes).unwrap_err();
            assert!(matches!(error, StoreError::Link { .. }), "{path}: {error}");
        }
    }

    #[test]
    fn a_link_is_followed_in_no_part_and_a_file_in_a_folders_place_is_absence() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("in")).unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        std::fs::write(root.join("in/file"), "x").unwrap();
        std::os::unix::fs::symlink(dir.path(), root.join("out")).unwrap();
        std::os::unix::fs::symlink("in/file", root.join("alias")).unwrap();
        for path in ["out/secret", "alias"] {
            assert!(matches!(open(&root, path), Err(StoreError::Link { .. })), "{path}");
        }
        for path in ["in/file/below", "in/none", "none/none"] {
            assert!(matches!(open(&root, path), Ok(Opened::Absent)), "{path}");
        }
        assert!(matches!(open(&root, "in"), Ok(Opened::Folder)));
        assert!(matches!(open(&root, "in/file"), Ok(Opened::File(_, 1))));
    }
}
