//! The places a policy speaks of, resolved once: root, scratch, free paths, and what may be read
//! and executed.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::GuardError;
use crate::paths::{self, existing, is_within};
use crate::policy::{Capability, Policy, Reads};
use crate::system_reads;

/// Devices anybody may write: nothing is kept there (M3).
pub(crate) const FREE_DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"];

/// Where git lives; only these count as `Process:git`.
const GIT_PROGRAMS: [&str; 3] = ["/usr/bin/git", "/bin/git", "/usr/local/bin/git"];
const GIT_PARTS: [&str; 3] =
    ["/usr/lib/git-core", "/usr/libexec/git-core", "/usr/local/libexec/git-core"];

/// Resolved paths, without symbolic links.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedPolicy {
    pub(crate) root: PathBuf,
    pub(crate) scratch: Option<PathBuf>,
    pub(crate) free: Vec<PathBuf>,
    /// What may be read without being mentioned; empty where reads are not looked at.
    pub(crate) readable: Vec<PathBuf>,
    /// Everything else is refused.
    pub(crate) denies_reads: bool,
    /// The interpreters that the kernel starts for the program, where that is a script.
    pub(crate) script: Vec<PathBuf>,
    /// The program that `env` starts for a script whose first line asks for it.
    pub(crate) interpreter: Option<PathBuf>,
    /// Looked up where a program is started or git is declared.
    git: OnceLock<Git>,
}

/// Where git is on this host.
#[derive(Debug, Clone)]
struct Git {
    programs: Vec<PathBuf>,
    /// Folders of its own programs.
    parts: Vec<PathBuf>,
}

/// What a place means for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathZone {
    Free,
    /// Root or scratch: `FS:write`.
    Own,
    Outside,
}

impl ResolvedPolicy {
    pub(crate) fn new(
        policy: &Policy,
        program: &Path,
        script: Vec<PathBuf>,
        interpreter: Option<PathBuf>,
    ) -> Result<Self, GuardError> {
        let mut resolved = Self {
            root: directory("root", &policy.root)?,
            scratch: policy
                .scratch
                .as_deref()
                .map(|path| directory("scratch", path))
                .transpose()?,
            free: policy
                .free_writes
                .iter()
                .map(|path| resolve("free path", path))
                .collect::<Result<_, _>>()?,
            readable: Vec::new(),
            denies_reads: matches!(policy.reads, Reads::Deny { .. }),
            script,
            interpreter,
            git: OnceLock::new(),
        };
        if resolved.root == Path::new("/") {
            return Err(GuardError::Limit(
                "the root directory of the system cannot be a module root".to_owned(),
            ));
        }
        match &policy.reads {
            Reads::Ignore => {}
            Reads::List => resolved.readable = resolved.readable(policy, program, &[]),
            Reads::Deny { allow } => resolved.readable = resolved.readable(policy, program, allow),
        }
        Ok(resolved)
    }

    fn readable(&self, policy: &Policy, program: &Path, allow: &[PathBuf]) -> Vec<PathBuf> {
        let mut paths = existing(allow.iter().cloned());
        paths.extend(system_reads::always());
        paths.extend(self.free.iter().cloned());
        paths.extend([self.root.clone(), program.to_owned()]);
        paths.extend(self.scratch.clone());
        paths.extend(self.script.iter().cloned());
        paths.extend(self.interpreter.clone());
        if policy.declares(Capability::Network) {
            paths.extend(system_reads::network());
        }
        if policy.declares(Capability::ProcessShell) {
            paths.extend(system_reads::programs());
        }
        if policy.declares(Capability::ProcessGit) {
            paths.extend(self.git_paths().cloned());
            paths.extend(system_reads::git());
        }
        paths
    }

    /// The zone of a file or directory that is opened or modified.
    pub(crate) fn zone(&self, path: &Path) -> PathZone {
        let device = |free: &&str| path.as_os_str().as_bytes() == free.as_bytes();
        if self.free.iter().any(|free| is_within(path, free)) || FREE_DEVICES.iter().any(device) {
            PathZone::Free
        } else if is_within(path, &self.root)
            || self.scratch.as_ref().is_some_and(|scratch| is_within(path, scratch))
        {
            PathZone::Own
        } else {
            PathZone::Outside
        }
    }

    /// The zone of a name that is made, removed or moved: that of its directory.
    pub(crate) fn entry_zone(&self, path: &Path) -> PathZone {
        paths::parent(path).map_or(PathZone::Outside, |parent| self.zone(parent))
    }

    /// Whether reading is inside the bounds.
    pub(crate) fn may_read(&self, path: &Path) -> bool {
        if self.denies_reads && system_reads::tells_about_host(path) {
            return false;
        }
        self.readable.iter().any(|one| is_within(path, one)) || self.zone(path) != PathZone::Outside
    }

    /// A directory above something readable: runtimes look there for configuration, and find
    /// nothing.
    pub(crate) fn leads_here(&self, path: &Path) -> bool {
        let dir = |path: &Path| {
            self.root.starts_with(path)
                || self.scratch.as_ref().is_some_and(|own| own.starts_with(path))
        };
        dir(path) || (is_probe(path) && path.parent().is_some_and(dir))
    }

    pub(crate) fn is_git(&self, program: &Path) -> bool {
        self.git().programs.iter().any(|git| git == program)
    }

    pub(crate) fn is_git_part(&self, program: &Path) -> bool {
        self.is_git(program) || self.git().parts.iter().any(|parts| program.starts_with(parts))
    }

    /// Git and the folders of its own programs.
    pub(crate) fn git_paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.git().programs.iter().chain(&self.git().parts)
    }

    fn git(&self) -> &Git {
        self.git.get_or_init(|| Git {
            programs: existing(GIT_PROGRAMS.iter().map(PathBuf::from)),
            parts: existing(GIT_PARTS.iter().map(PathBuf::from)),
        })
    }
}

/// Names that runtimes look for in every directory upwards.
fn is_probe(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        name == "package.json" || name == "node_modules" || name == "pyvenv.cfg"
    })
}

pub(crate) fn resolve(what: &'static str, path: &Path) -> Result<PathBuf, GuardError> {
    fs::canonicalize(path).map_err(GuardError::path(what, path))
}

pub(crate) fn directory(what: &'static str, path: &Path) -> Result<PathBuf, GuardError> {
    let path = resolve(what, path)?;
    if path.is_dir() {
        Ok(path)
    } else {
        Err(GuardError::Path { what, path, cause: io::Error::from(io::ErrorKind::NotADirectory) })
    }
}
