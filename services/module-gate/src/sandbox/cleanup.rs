//! Removes what a module left, whatever it made of it: closed folders, folders deeper than a path
//! may be long, names of any bytes.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmodat, openat, renameat, unlinkat};
use rustix::io::Errno;

/// How many names of a folder are held at once.
const BATCH: usize = 1_000;
const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes a file, link or folder with all in it, if it is there. No other program may be writing
/// in it.
///
/// # Errors
/// The disk's own.
pub fn remove(path: &Path) -> io::Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => clear(path).and_then(|()| fs::remove_dir(path)),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    gone.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Empties a folder with two descriptors and no recursion: the folders in a folder move up to the
/// top before it goes.
fn clear(path: &Path) -> io::Result<()> {
    let top = enter(CWD, path)?;

    // No module knew of it, so none has taken these names.
    let (prefix, mut moved) = (chassis::clock::new_uuid(), 0_u64);
    loop {
        let names = names(&top)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if unlinked(&top, &name)? {
                continue;
            }
            let folder = enter(&top, &name)?;
            lift(&folder, |below| {
                moved += 1;
                renameat(&folder, below, &top, format!("{prefix}.{moved}"))
            })?;
            unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
        }
    }
}

/// Removes the files of a folder and hands every folder in it to `take`, which moves it away.
fn lift(folder: &OwnedFd, mut take: impl FnMut(&CString) -> Result<(), Errno>) -> io::Result<()> {
    loop {
        let names = names(folder)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if !unlinked(folder, &name)? {
                // To move a folder is to change it.
                chmodat(folder, &name, Mode::RWXU, AtFlags::empty())?;
                take(&name)?;
            }
        }
    }
}

/// Removes what is no folder; says whether it was none.
fn unlinked(folder: &OwnedFd, name: &CString) -> io::Result<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Opens a folder, after giving back what a module took from its own permissions.
fn enter(
    above: impl std::os::fd::AsFd,
    name: impl rustix::path::Arg + Copy,
) -> io::Result<OwnedFd> {
    // A folder and no link: links have been removed before, and nothing else writes here.
    chmodat(&above, name, Mode::RWXU, AtFlags::empty())?;
    Ok(openat(&above, name, FOLDER, Mode::empty())?)
}

/// Some of the names in a folder; none if it is empty.
fn names(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
        if names.len() == BATCH {
            break;
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn what_is_not_there_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("none")).unwrap();
    }

    #[test]
    fn folders_of_any_depth_and_closed_ones_go_and_what_links_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("closed/below")).unwrap();
        fs::write(folder.path().join("outside"), "stays").unwrap();
        symlink("../../outside", tree.join("closed/link")).unwrap();
        symlink("..", tree.join("up")).unwrap();
        for path in ["closed/below", "closed"] {
            let closed = fs::Permissions::from_mode(0o000);
            fs::set_permissions(tree.join(path), closed).unwrap();
        }
        let name = "n".repeat(200);
        let mut at = openat(CWD, &tree, FOLDER, Mode::empty()).unwrap();
        for _ in 0..3_000 {
            mkdirat(&at, &name, Mode::RWXU).unwrap();
            at = openat(&at, &name, FOLDER, Mode::empty()).unwrap();
        }
        remove(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read_to_string(folder.path().join("outside")).unwrap(), "stays");
    }

    #[test]
    fn more_names_than_are_held_at_once_go() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        for number in 0..BATCH + 10 {
            fs::create_dir_all(tree.join(format!("{number}/x"))).unwrap();
            fs::write(tree.join(format!("f{number}")), "").unwrap();
        }
        remove(&tree).unwrap();
        assert!(!tree.exists());
    }
}
