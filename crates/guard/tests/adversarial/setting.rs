//! Fresh folders for one case: the root, a twin of it outside, and the means to see whether the
//! outside stayed as it was.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use guard::{Capability, Command, Identity, Policy, Report, prepare_ownership, run};
use tempfile::TempDir;

/// Everything that can be looked up about a name, as text; times of access left out.
pub type FileStates = BTreeMap<PathBuf, String>;

/// `base/` with `x y d full/f link victim`, and in it `root/` with the same and more, `scratch/`,
/// `out/`.
pub struct Setting {
    _dir: TempDir,
    pub base: PathBuf,
    pub root: PathBuf,
    pub policy: Policy,
    /// What must live as long as the case: listeners, other processes.
    pub keep: Vec<Box<dyn Any>>,
    /// The third argument of a probe.
    pub argument: String,
    /// Environment beside the usual.
    pub env: Vec<(&'static str, String)>,
}

impl Setting {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("guard-").tempdir().unwrap();
        // The command's user must pass.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let base = dir.path().canonicalize().unwrap();
        let root = base.join("root");
        for path in [&root, &base.join("scratch"), &base.join("out")] {
            fs::create_dir(path).unwrap();
        }
        for twin in [&base, &root] {
            furnish(twin);
        }
        fs::create_dir(root.join("in")).unwrap();
        fs::write(root.join("in/victim"), "victim").unwrap();
        symlink("..", root.join("up")).unwrap();
        fs::write(base.join("victim"), "victim").unwrap();
        fs::write(base.join("victim (deleted)"), "victim").unwrap();
        let mut policy = Policy::new(&root);
        policy.scratch = Some(base.join("scratch"));
        policy.free_writes = vec![base.join("out")];
        policy.limits.wall_ms = 300_000;
        let (keep, env) = (Vec::new(), Vec::new());
        Self { _dir: dir, base, root, policy, keep, argument: String::new(), env }
    }

    pub fn declare(&mut self, capabilities: &[Capability]) {
        self.policy.declared.extend(capabilities);
    }

    pub fn command(&self, program: impl Into<PathBuf>) -> Command {
        let command = Command::new(program, &self.root)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.base.join("scratch"))
            .env("TMPDIR", self.base.join("scratch"))
            .env("OUT", self.base.join("out"))
            .env("GUARD_LOG", self.base.join("victim"));
        self.env.iter().fold(command, |command, (name, value)| command.env(*name, value))
    }

    /// Gives everything to the command's user, then runs.
    pub fn run(&self, command: &Command) -> Report {
        prepare_ownership(&self.base, Identity::Auto).unwrap();
        run(command, &self.policy).unwrap()
    }

    /// Everything outside the root, the scratch and the free folder; with the times of everything
    /// but the folder they are in.
    pub fn outside(&self) -> FileStates {
        let mut state =
            state(&self.base, &[&self.root, &self.base.join("scratch"), &self.base.join("out")]);
        // Services of a case leave their socket files here.
        state.remove(&self.base);
        state
    }

    pub fn inside(&self) -> FileStates {
        state(&self.root, &[])
    }
}

fn furnish(folder: &Path) {
    fs::write(folder.join("x"), "x\n").unwrap();
    fs::write(folder.join("y"), "y\n").unwrap();
    fs::create_dir(folder.join("d")).unwrap();
    fs::create_dir(folder.join("full")).unwrap();
    fs::write(folder.join("full/f"), "f\n").unwrap();
    symlink("x", folder.join("link")).unwrap();
    // Not every file system keeps attributes; the cases that need one say so themselves.
    let _ =
        rustix::fs::setxattr(folder.join("x"), "user.kept", b"1", rustix::fs::XattrFlags::empty());
}

/// Every name below a folder, the folder included.
pub fn state(folder: &Path, skip: &[&Path]) -> FileStates {
    let mut found = FileStates::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        if skip.contains(&path.as_path()) {
            continue;
        }
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().escape_ascii().to_string()
        } else if metadata.is_file() {
            fs::read(&path)
                .map_or_else(|error| error.to_string(), |bytes| bytes.escape_ascii().to_string())
        } else {
            String::new()
        };
        if metadata.is_dir()
            && let Ok(names) = fs::read_dir(&path)
        {
            waiting.extend(names.map(|name| name.unwrap().path()));
        }
        let times =
            if metadata.is_dir() { (0, 0) } else { (metadata.mtime(), metadata.mtime_nsec()) };
        let links = if metadata.is_dir() { 0 } else { metadata.nlink() };
        let line = format!("{:o} {links} {times:?} {content}", metadata.mode());
        found.insert(path, line);
    }
    found
}
