//! The private folders of one job: copy of the module, input, outputs, home. Gone when it ends.
//!
//! ```text
//! <scratch>/<job>/            mode 0711: reachable by name for the guard's uid, not listed
//!   pristine/module/          the tree as it came; closed to the guard's uid
//!   surroundings/…            the copy that runs, made afresh for every attempt: alone, or at the end
//!                             of the path it has at home, with links beside it (M5)
//!   elsewhere/                second names of its files that have names elsewhere at home
//!   output/ home/ home/tmp/   LUMIO_OUTPUT, HOME, TMPDIR; emptied for every attempt
//!   input.json                LUMIO_INPUT
//! ```

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use guard::Identity;

use crate::sandbox::cleanup::remove;
use crate::sandbox::surroundings;

/// The folders of one job. Dropping it removes them.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    module: PathBuf,
    /// Files of the module that also stand elsewhere at home: relative paths.
    shared: Vec<PathBuf>,
}

impl Workspace {
    /// Makes the folder `job` under `scratch`, after wiping what an earlier job of that name left. The module will stand alone in it, as
    /// one from the store does.
    ///
    /// # Errors
    /// The disk's own.
    pub fn create(scratch: &Path, job: &str) -> io::Result<Self> {
        make_dir(scratch)?;
        let root = scratch.canonicalize()?.join(job);
        remove(&root)?;
        let workspace = Self { module: root.join("surroundings/module"), root, shared: Vec::new() };
        // What stands in it may be seen: it is the module's own, or stands at home where everybody can look.
        let surroundings = workspace.root.join("mirror");
        make_dir(&surroundings)?;
        fs::set_permissions(&surroundings, Permissions::from_mode(0o755))?;
        for folder in ["pristine", "elsewhere"] {
            DirBuilder::new().mode(0o700).create(workspace.root.join(folder))?;
        }
        Ok(workspace)
    }

    /// Takes the module that stands in the folder `home`, links included, and lays a mirror of what stands round it (M5).
    ///
    /// # Errors
    /// It is no module that can be copied, or too much stands round it.
    pub fn import(&mut self, home: &Path) -> anyhow::Result<()> {
        let home =
            home.canonicalize().with_context(|| format!("cannot find {}", home.display()))?;
        if self.root.starts_with(&home) {
            bail!("the scratch folder lies in the module {}: choose another one", home.display());
        }
        self.shared = surroundings::shared_files(&home)?;
        guard::copy_tree(&home, &self.pristine(), Identity::Auto)?;
        self.module = surroundings::link_around(&self.root.join("surroundings"), &home)?;
        Ok(())
    }

    /// Where the tree is put before anything runs; made by whoever puts it there.
    pub fn pristine(&self) -> PathBuf {
        self.root.join("pristine/module")
    }

    /// The copy that runs: the module's root.
    pub fn module(&self) -> PathBuf {
        self.module.clone()
    }

    /// The folder that `LUMIO_OUTPUT` names.
    pub fn output(&self) -> PathBuf {
        self.root.join("output")
    }

    /// The folder that `HOME` names.
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The folder that `TMPDIR` names.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("home/tmp")
    }

    /// The file that `LUMIO_INPUT` names.
    pub fn input(&self) -> PathBuf {
        self.root.join("input.json")
    }

    /// Starts an attempt: a fresh copy of the pristine tree, empty output and home, this input.
    ///
    /// # Errors
    /// The disk's own.
    pub fn prepare(&self, input: &[u8]) -> io::Result<()> {
        for path in [self.module(), self.output(), self.home(), self.input()] {
            remove(&path)?;
        }
        guard::copy_tree(&self.pristine(), &self.module, Identity::Auto)
            .map_err(io::Error::other)?;
        for (number, path) in self.shared.iter().enumerate() {
            // The guard takes a file that has a name outside the root for outside.
            let name = self.root.join("elsewhere").join(number.to_string());
            remove(&name)?;
            fs::hard_link(self.module.join(path), name)?;
        }
        for folder in [self.output(), self.home(), self.tmp()] {
            make_dir(&folder)?;
            guard::prepare_ownership(&folder, Identity::Auto).map_err(io::Error::other)?;
        }
        fs::write(self.input(), input)?;
        fs::set_permissions(self.input(), Permissions::from_mode(0o444))
    }
}

/// Removes what jobs of a process that was killed left under `scratch`; nothing that no job is called.
///
/// # Errors
/// The disk's own.
pub fn sweep(scratch: &Path) -> io::Result<()> {
    let is_job = |name: &str| {
        let run = name.split_once('.').map_or("", |(run, _)| run);
        run == "ship" || (run.len() == 32 && run.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    for entry in fs::read_dir(scratch)? {
        let entry = entry?;
        if is_job(&entry.file_name().to_string_lossy()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.root) {
            tracing::warn!(path = %self.root.display(), %error, "could not remove scratch folder");
        }
    }
}

/// Makes a folder, and those above it, that others may pass through but not list.
///
/// # Errors
/// The disk's own.
pub fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o711).create(path)?;
    // The mode above is cut by the umask.
    fs::set_permissions(path, Permissions::from_mode(0o711))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_starts_afresh() {
        let scratch = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(scratch.path(), "job").unwrap();
        fs::create_dir(workspace.pristine()).unwrap();
        fs::write(workspace.pristine().join("a"), "a").unwrap();
        for input in ["one", "two"] {
            workspace.prepare(input.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(workspace.input()).unwrap(), input);
            assert_eq!(fs::read_dir(workspace.module()).unwrap().count(), 1);
            fs::write(workspace.module().join("left"), "").unwrap();
            fs::create_dir(workspace.output().join("closed")).unwrap();
            fs::write(workspace.output().join("closed/f"), "").unwrap();
            let closed = Permissions::from_mode(0o000);
            fs::set_permissions(workspace.output().join("closed"), closed).unwrap();
        }
        drop(workspace);
        assert!(!scratch.path().join("job").exists());
    }

    #[test]
    fn a_sweep_takes_jobs_and_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let job = format!("{}.1", "0a".repeat(16));
        for name in [job.as_str(), "ship.abc.1", "runtime", "letters.1", "0a.1"] {
            fs::create_dir(scratch.path().join(name)).unwrap();
        }
        sweep(scratch.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["0a.1", "letters.1", "runtime"]);
    }
}
