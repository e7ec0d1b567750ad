//! A copy of a tree for one attempt, cheap where the file system can share blocks (M5).

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink,
};
use std::path::{Path, PathBuf};

use rustix::fs::ioctl_ficlone;

use crate::error::GuardError;
use crate::ownership;
use crate::policy::Identity;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Names, the tree's own included.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of files whose blocks the copy shares with the original until one of them changes.
    pub shared_bytes: u64,
}

/// Copies a tree to a place where nothing is yet, for the user a command will run as.
///
/// Files keep their mode and modification time, links lead where they led, and files with several
/// names in the tree have them in the copy. A file that also has a name elsewhere is no longer the
/// same file: its copy is the command's own. Extended attributes are not copied. No other program
/// may write in the tree meanwhile.
///
/// # Errors
/// Something cannot be read or written, or is neither file, directory nor symbolic link. What was
/// copied until then stays.
pub fn copy_tree(from: &Path, to: &Path, identity: Identity) -> Result<Copied, GuardError> {
    let owner = ownership::resolve(identity)?;
    refuse_into_itself(from, to)?;
    let mut copy = Copy { owner, copied: Copied::default(), linked: HashMap::new(), shares: true };
    let mut made = Vec::new();
    // A list instead of recursion: the depth of a tree is the module's choice.
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = waiting.pop() {
        let failed = GuardError::path("tree", &from);
        let metadata = fs::symlink_metadata(&from).map_err(GuardError::path("tree", &from))?;
        copy.entry(&from, &to, &metadata).map_err(failed)?;
        if metadata.is_dir() {
            for name in fs::read_dir(&from).map_err(GuardError::path("tree", &from))? {
                let name = name.map_err(GuardError::path("tree", &from))?.file_name();
                waiting.push((from.join(&name), to.join(&name)));
            }
            made.push((to, metadata));
        }
    }
    // Last, since what is put into a directory changes its time, and a mode may close it.
    // From the inside out: a directory that is closed by its mode would keep its own entries from
    // being finished.
    for (directory, metadata) in made.iter().rev() {
        finish(directory, metadata).map_err(GuardError::path("copy", directory))?;
    }
    Ok(copy.copied)
}

/// A copy inside its own original would be copied again with it, level after level.
fn refuse_into_itself(from: &Path, to: &Path) -> Result<(), GuardError> {
    let original = from.canonicalize().map_err(GuardError::path("tree", from))?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let place = folder.canonicalize().map_err(GuardError::path("copy", to))?;
    if place.starts_with(&original) {
        return Err(GuardError::CopyInsideItself { tree: original, copy: to.to_owned() });
    }
    Ok(())
}

struct Copy {
    owner: Option<(u32, u32)>,
    copied: Copied,
    /// The copies of files with several names.
    linked: HashMap<(u64, u64), PathBuf>,
    /// Until the file system says that it cannot.
    shares: bool,
}

impl Copy {
    fn entry(&mut self, from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
        self.copied.entries += 1;
        if metadata.is_dir() {
            DirBuilder::new().mode(0o700).create(to)?;
        } else if metadata.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
        } else if metadata.is_file() {
            return self.file(from, to, metadata);
        } else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "is neither file, directory nor symbolic link",
            ));
        }
        self.give(to)
    }

    fn file(&mut self, from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
        let inode = (metadata.dev(), metadata.ino());
        if let Some(first) = self.linked.get(&inode) {
            return fs::hard_link(first, to);
        }
        // A link that took the file's place since it was looked at must not be followed.
        let mut source = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(from)?;
        let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        self.copied.bytes += metadata.len();
        if self.share(&source, &target) {
            self.copied.shared_bytes += metadata.len();
        } else {
            io::copy(&mut source, &mut target)?;
        }
        // Before the mode: a change of owner clears the bits for set-user-ID.
        self.give(to)?;
        target.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))?;
        // Last, since writing and every change before it would move the time on.
        target.set_modified(metadata.modified()?)?;
        if metadata.nlink() > 1 {
            self.linked.insert(inode, to.to_owned());
        }
        Ok(())
    }

    fn share(&mut self, source: &File, target: &File) -> bool {
        self.shares = self.shares && ioctl_ficlone(target, source).is_ok();
        self.shares
    }

    fn give(&self, to: &Path) -> io::Result<()> {
        self.owner.map_or(Ok(()), |(uid, gid)| lchown(to, Some(uid), Some(gid)))
    }
}

fn finish(directory: &Path, metadata: &Metadata) -> io::Result<()> {
    let handle = File::open(directory)?;
    handle.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))?;
    handle.set_modified(metadata.modified()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_like_its_original_and_apart_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("a/empty")).unwrap();
        fs::write(from.join("a/file"), "one").unwrap();
        fs::set_permissions(from.join("a/file"), Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(from.join("a/file"), from.join("again")).unwrap();
        symlink("../outside", from.join("link")).unwrap();
        let copied = copy_tree(&from, &to, Identity::Auto).unwrap();
        assert_eq!((copied.entries, copied.bytes), (6, 3));
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("../outside"));
        let (first, second) =
            (fs::metadata(to.join("a/file")).unwrap(), fs::metadata(to.join("again")).unwrap());
        assert_eq!((first.ino(), first.nlink()), (second.ino(), 2));
        assert_eq!(first.mode() & 0o7777, 0o640);
        let times = |path: &str| {
            [&from, &to].map(|tree| fs::metadata(tree.join(path)).unwrap().modified().unwrap())
        };
        assert_eq!(times("a/file")[0], times("a/file")[1]);
        assert_eq!(times("a")[0], times("a")[1]);
        fs::write(to.join("again"), "two").unwrap();
        assert_eq!(fs::read_to_string(from.join("a/file")).unwrap(), "one");
        assert!(copy_tree(&from, &to, Identity::Auto).is_err(), "something is there already");
    }

    #[test]
    fn a_copy_inside_its_original_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("tmp")).unwrap();
        for to in [from.join("copy"), from.join("tmp/copy")] {
            let failure = copy_tree(&from, &to, Identity::Auto).unwrap_err();
            assert!(matches!(failure, GuardError::CopyInsideItself { .. }), "{failure}");
            assert!(!to.exists());
        }
    }

    #[test]
    fn a_pipe_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            from.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let failure = copy_tree(&from, &dir.path().join("to"), Identity::Auto).unwrap_err();
        assert!(failure.to_string().contains("pipe"), "{failure}");
    }
}
