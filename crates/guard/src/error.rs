//! What makes a run impossible before anything was started.

use std::io;
use std::path::{Path, PathBuf};

/// The request or the host is at fault; nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// A path of the policy or command is missing or of the wrong kind.
    #[error("could not use {what} {path}: {cause}", path = path.display())]
    Path {
        /// Which setting.
        what: &'static str,
        /// The path as resolved so far.
        path: PathBuf,
        /// What is wrong with it.
        cause: io::Error,
    },
    /// The working directory lies outside the root.
    #[error("the working directory {path} is outside the root", path = path.display())]
    OutsideRoot {
        /// The directory.
        path: PathBuf,
    },
    /// The root holds a named pipe or a device that existed before the run: opening it reaches
    /// what is behind it, which is not part of the root.
    #[error("{path} is a named pipe or device that existed in the root before the run; opening it \
        could reach another process or the hardware. Remove it or choose another root",
        path = path.display())]
    SpecialFileInRoot {
        /// The pipe or device.
        path: PathBuf,
    },
    /// A file system is mounted inside the root or the scratch directory: what is written there
    /// changes another place as well.
    #[error("{path} is a mount inside the root or the scratch directory; what is written there \
        would change another place. Unmount it, choose another root, or let it be written freely",
        path = path.display())]
    MountInRoot {
        /// Where it is mounted.
        path: PathBuf,
    },
    /// The copy of a tree would be part of the tree.
    #[error("cannot copy {tree} to {copy}, which is inside it: use a folder outside, for example \
        by TMPDIR",
        tree = tree.display(), copy = copy.display())]
    CopyInsideItself {
        /// The tree.
        tree: PathBuf,
        /// Where its copy was to be.
        copy: PathBuf,
    },
    /// The user the command would run as cannot get there.
    #[error("user {uid} cannot access {path}: no execute (search) permission on {closed}. Run \
        chmod o+x {closed}, or use a folder elsewhere",
        path = path.display(), closed = list(closed))]
    Unreachable {
        /// The user.
        uid: u32,
        /// The path needed.
        path: PathBuf,
        /// The directories that stop it, from the top down.
        closed: Vec<PathBuf>,
    },
    /// An argument, variable or path contains a NUL byte, or a variable's name is empty or has `=`.
    #[error("{0} is not allowed by the system: it has a NUL byte or an impossible name")]
    Text(String),
    /// The identity is impossible: root, or another user without the right to change to it.
    #[error("cannot run as user {uid}: {cause}")]
    Identity {
        /// The user.
        uid: u32,
        /// Why.
        cause: &'static str,
    },
    /// A limit is 0, or the tree is larger than the guard compares.
    #[error("{0}")]
    Limit(String),
    /// A system call failed while preparing.
    #[error("could not {doing}: {cause}")]
    System {
        /// What was attempted.
        doing: &'static str,
        /// The cause.
        cause: io::Error,
    },
}

impl GuardError {
    pub(crate) fn system(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::System { doing, cause }
    }

    pub(crate) fn path(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |cause| Self::Path { what, path, cause }
    }
}

/// As arguments of a command.
fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
}
