//! The user the command runs as, and whether it can reach what it needs.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use crate::error::GuardError;
use crate::policy::Identity;

/// Gives a tree to the user a command will run as, so that it can read its module and write its
/// scratch and output directories. Does nothing where the command runs as the caller. The
/// directories above stay as they are: they need the search right for that user, which
/// [`crate::run`] checks. Symbolic links are given away themselves, never what they lead to.
///
/// # Errors
/// A file cannot be given away, or the identity is impossible here.
pub fn prepare_ownership(tree: &Path, identity: Identity) -> Result<(), GuardError> {
    let Some((uid, gid)) = resolve(identity)? else { return Ok(()) };
    let failed = |path: &Path| GuardError::path("tree", path);
    let mut waiting = vec![tree.to_owned()];
    while let Some(path) = waiting.pop() {
        lchown(&path, Some(uid), Some(gid)).map_err(failed(&path))?;
        if fs::symlink_metadata(&path).map_err(failed(&path))?.is_dir() {
            for name in fs::read_dir(&path).map_err(failed(&path))? {
                waiting.push(name.map_err(failed(&path))?.path());
            }
        }
    }
    Ok(())
}

/// The user and group to change to; nothing where the command runs as the caller.
pub(crate) fn resolve(identity: Identity) -> Result<Option<(u32, u32)>, GuardError> {
    let own = rustix::process::geteuid().as_raw();
    let refuse = |uid, cause| Err(GuardError::Identity { uid, cause });
    match identity {
        Identity::Auto if own == 0 => resolve(Identity::NOBODY),
        Identity::Caller if own == 0 => refuse(0, "a guarded command never runs as root"),
        Identity::Auto | Identity::Caller => Ok(None),
        Identity::User { uid: 0, .. } | Identity::User { gid: 0, .. } => {
            refuse(0, "a guarded command never runs as root")
        }
        Identity::User { uid, .. } if own != 0 && uid == own => Ok(None),
        Identity::User { uid, .. } if own != 0 => {
            refuse(uid, "only root can change to another user")
        }
        Identity::User { uid, gid } => Ok(Some((uid, gid))),
    }
}

/// Checks that the user can search every directory above these paths, and those among them that are
/// directories.
pub(crate) fn check_reach<'p>(
    paths: impl IntoIterator<Item = &'p Path>,
    identity: Option<(u32, u32)>,
) -> Result<(), GuardError> {
    let Some((uid, gid)) = identity else { return Ok(()) };
    let mut open = HashSet::new();
    for path in paths {
        let mut closed = Vec::new();
        // What is above one that is known was looked at with it.
        for above in path.ancestors().take_while(|above| open.insert(*above)) {
            let metadata = fs::metadata(above).map_err(GuardError::path("path", above))?;
            if metadata.is_dir() && !searchable(&metadata, uid, gid) {
                closed.insert(0, above.to_owned());
            }
        }
        if !closed.is_empty() {
            return Err(GuardError::Unreachable { uid, path: path.to_owned(), closed });
        }
    }
    Ok(())
}

fn searchable(metadata: &Metadata, uid: u32, gid: u32) -> bool {
    // The kernel looks at one class only: an owner without the right has none of the others'.
    let bit = if metadata.uid() == uid {
        0o100
    } else if metadata.gid() == gid {
        0o010
    } else {
        0o001
    };
    metadata.mode() & bit != 0
}

/// The error of a program that is not there.
pub(crate) fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn every_directory_above_every_path_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let [open, closed] = ["open", "closed"].map(|name| folder.path().join(name));
        let within = closed.join("within");
        fs::create_dir(&open).unwrap();
        fs::create_dir_all(&within).unwrap();
        [folder.path(), &open, &within].into_iter().for_each(|path| mode(path, 0o755));
        mode(&closed, 0o700);

        let nobody = Some((65534, 65534));
        check_reach([open.as_path(), folder.path()], nobody).unwrap();
        check_reach([within.as_path()], None).unwrap();
        let refused = check_reach([open.as_path(), &within], nobody).unwrap_err();
        let GuardError::Unreachable { path, closed: found, .. } = refused else {
            panic!("{refused}")
        };
        assert_eq!((path, found), (within, vec![closed]));
    }
}
