//! The git repository that a module lies in (M5).
//!
//! A repository means little where its files are links: git would find every one of them changed,
//! and packages of a workspace that import each other would find the module's original in place of
//! the copy that runs. So the files that git knows or would add are copied into the mirror of the
//! surroundings, once a job; what git ignores is linked, as everything is where there is no
//! repository. The folder `.git` of the mirror is made afresh for every attempt: it has an index of
//! its own, which `git diff` and `git status` may bring up to date, and links to everything else.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use guard::{Capability, Command, Identity, Policy};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::sandbox::cleanup::remove;
use crate::sandbox::{SYSTEM_PATH, look_up};

/// Most files of a repository that are copied round a module, and most bytes of them.
const MAX_FILES: usize = 20_000;
const MAX_BYTES: u64 = 128 << 20;
/// Most bytes of the list of files.
const MAX_LIST: u64 = 64 << 20;
/// The folder, or file, by which git knows a repository.
const GIT: &str = ".git";
/// Folders of packages: their links lead to packages of the same workspace.
const PACKAGES: &str = "node_modules";

/// A repository, and what of it is copied.
#[derive(Debug)]
pub struct Repository {
    /// Its working tree.
    root: PathBuf,
    /// The folder with its index and its own settings.
    git_dir: PathBuf,
    /// The folder that its working trees share, unless that is the same.
    common_dir: Option<PathBuf>,
    /// Files that git knows or would add, relative to the root.
    files: BTreeSet<PathBuf>,
    /// What git ignores although it is in the mirror as a link, as lines of an exclude file.
    ignored: String,
}

/// Why the surroundings of a module are linked although it lies in a repository.
pub type Notice = String;

impl Repository {
    /// The repository that `module` lies in; none without one, or where there is no git to ask.
    /// `scratch` is an empty folder.
    ///
    /// # Errors
    /// Why there is one whose files are not copied.
    pub fn around(module: &Path, scratch: &Path) -> Result<Option<Self>, Notice> {
        let above = module.ancestors().skip(1);
        let Some(root) = above.clone().find(|folder| folder.join(GIT).exists()) else {
            return Ok(None);
        };
        let Some(git) = look_up(Path::new("git"), SYSTEM_PATH) else { return Ok(None) };
        let linked = |why: String| {
            format!(
                "{why}, so the files round the module are links: git there finds every file \
                 changed, and packages that import each other get the module's original"
            )
        };
        let (git_dir, common_dir) = git_dirs(root)
            .map_err(|error| linked(format!("{} cannot be read ({error})", root.display())))?;
        let files = list(&git, root, scratch).map_err(linked)?;

        let module = module.strip_prefix(root).unwrap_or(module);
        let files: BTreeSet<PathBuf> =
            files.into_iter().filter(|file| !file.starts_with(module)).collect();
        let sizes = files.iter().filter_map(|file| fs::symlink_metadata(root.join(file)).ok());
        let bytes: u64 = sizes.map(|metadata| metadata.len()).sum();
        if files.len() > MAX_FILES || bytes > MAX_BYTES {
            return Err(linked(format!(
                "the repository {} has more than {MAX_FILES} files or {MAX_BYTES} bytes beside \
                 the module",
                root.display()
            )));
        }
        let (root, ignored) = (root.to_owned(), String::new());
        Ok(Some(Self { root, git_dir, common_dir, files, ignored }))
    }

    /// Whether a folder or file of the host is mirrored by this repository.
    pub fn holds(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }

    /// Where the folder `.git` of a mirror lies whose top is `mirror`.
    pub fn git_place(&self, mirror: &Path) -> PathBuf {
        mirror.join(self.root.strip_prefix("/").unwrap_or(&self.root)).join(GIT)
    }

    /// What git is to ignore in the mirror.
    pub fn ignored(&self) -> &str {
        &self.ignored
    }

    /// Puts a folder or file of the repository, beside the way to the module, at `place`.
    ///
    /// # Errors
    /// The disk's own.
    pub fn mirror(&mut self, original: &Path, place: &Path) -> io::Result<()> {
        let relative = original.strip_prefix(&self.root).unwrap_or(original).to_owned();

        // Made afresh for every attempt instead, by `place_git_dir`.
        if relative == Path::new(GIT) {
            return Ok(());
        }
        let metadata = fs::symlink_metadata(original)?;
        if metadata.is_dir() && fs::read_dir(original).is_err() {
            // A folder that this process may not list is closed to the module's programs too.
            return symlink(original, place);
        }
        let known = self.files.contains(&relative);
        if metadata.is_symlink() {
            symlink(fs::read_link(original)?, place)?;
        } else if metadata.is_file() && known {
            return copy_file(original, place);
        } else if metadata.is_dir() && known {
            // A submodule: the repository knows its folder, and it is a repository of its own.
            return copy_all(original, place);
        } else if metadata.is_dir() && self.has_files_below(&relative) {
            make_like(place, &metadata)?;
            for entry in fs::read_dir(original)? {
                let name = entry?.file_name();
                self.mirror(&original.join(&name), &place.join(&name))?;
            }
            return Ok(());
        } else if metadata.is_dir() && original.file_name() == Some(OsStr::new(PACKAGES)) {
            return mirror_packages(original, place);
        } else if metadata.is_dir() {
            // A folder that git ignores stays one, and what is in it is linked.
            make_like(place, &metadata)?;
            for entry in fs::read_dir(original)? {
                let entry = entry?;
                symlink(entry.path(), place.join(entry.file_name()))?;
                if entry.file_type()?.is_dir() {
                    self.ignore(&relative.join(entry.file_name()));
                }
            }
            return Ok(());
        } else {
            symlink(original, place)?;
        }
        if !known {
            self.ignore(&relative);
        }
        Ok(())
    }

    /// A pattern that ends in a slash, as `target/` does, means folders and no links.
    fn ignore(&mut self, path: &Path) {
        self.ignored.push('/');
        self.ignored.push_str(&escaped(path));
        self.ignored.push('\n');
    }

    fn has_files_below(&self, folder: &Path) -> bool {
        // Paths are sorted part by part, so that what lies below a folder comes right after it.
        self.files.range(folder.to_owned()..).next().is_some_and(|file| file.starts_with(folder))
    }

    /// Makes the folder `.git` of a mirror afresh, for programs that run as `identity`.
    ///
    /// # Errors
    /// The disk's own.
    pub fn place_git_dir(&self, place: &Path, identity: Identity) -> io::Result<()> {
        remove(place)?;
        DirBuilder::new().mode(0o755).create(place)?;

        // The mode above is cut by the umask.
        fs::set_permissions(place, Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(&self.git_dir)? {
            let name = entry?.file_name();
            let (original, own) = (self.git_dir.join(&name), place.join(&name));
            match name.to_str() {
                // Locks are of processes that work on the original.
                Some(name) if name.ends_with(".lock") => {}
                Some("index") => copy_index(&original, &own)?,
                // It may be relative to the folder that it is in.
                Some("commondir") => {
                    let common = self.common_dir.as_deref().unwrap_or(&self.git_dir);
                    fs::write(&own, common.as_os_str().as_bytes())?;
                }
                // Git takes a link of that name for a reference.
                Some("HEAD") => drop(fs::copy(&original, &own)?),
                _ => symlink(&original, &own)?,
            }
        }
        guard::prepare_ownership(place, identity).map_err(io::Error::other)
    }
}

/// The variables with which git works in a mirror, whichever user owns its files; `excludes` is the
/// file of what it is to ignore.
pub fn environment(excludes: Option<&Path>) -> Vec<(String, String)> {
    let mut settings = vec![("safe.directory".to_owned(), "*".to_owned())];
    if let Some(excludes) = excludes {
        settings.push(("core.excludesFile".to_owned(), excludes.display().to_string()));
    }
    settings_as_variables(settings)
}

/// The variables by which git reads a repository above a root that may not be changed: it owes
/// nothing to its owner, and does not bring its index up to date.
pub fn read_only_environment() -> Vec<(String, String)> {
    let mut variables = settings_as_variables(vec![
        ("safe.directory".to_owned(), "*".to_owned()),
        ("diff.autoRefreshIndex".to_owned(), "false".to_owned()),
    ]);
    variables.push(("GIT_OPTIONAL_LOCKS".to_owned(), "0".to_owned()));
    variables
}

/// `safe.directory` is only believed from such variables and from files of the user and the system.
fn settings_as_variables(settings: Vec<(String, String)>) -> Vec<(String, String)> {
    let count = ("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string());
    let each = settings.into_iter().enumerate().flat_map(|(number, (key, value))| {
        [(format!("GIT_CONFIG_KEY_{number}"), key), (format!("GIT_CONFIG_VALUE_{number}"), value)]
    });
    std::iter::once(count).chain(each).collect()
}

/// The folder of settings and index of the repository that `folder` lies in or is.
pub fn git_dir_above(folder: &Path) -> Option<PathBuf> {
    let root = folder.ancestors().find(|folder| folder.join(GIT).exists())?;
    git_dirs(root).ok().map(|(git_dir, _)| git_dir)
}

/// The folder of a working tree's own, and the one that its working trees share.
fn git_dirs(root: &Path) -> io::Result<(PathBuf, Option<PathBuf>)> {
    let mut git_dir = root.join(GIT);
    if git_dir.is_file() {
        // A further working tree, or a submodule: its file says where the folder is.
        let text = fs::read_to_string(&git_dir)?;
        let target = text.trim().strip_prefix("gitdir:").map(str::trim);
        let target = target.ok_or_else(|| io::Error::other("its .git names no folder"))?;
        git_dir = root.join(target).canonicalize()?;
    }
    let common = match fs::read_to_string(git_dir.join("commondir")) {
        Ok(text) => Some(git_dir.join(text.trim()).canonicalize()?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok((git_dir, common))
}

/// Copies an index with its time: from it git knows which files it must read again, since they were
/// changed in the same moment in which the index was written.
///
/// # Errors
/// The disk's own.
pub fn copy_index(original: &Path, place: &Path) -> io::Result<()> {
    let metadata = fs::metadata(original)?;
    fs::copy(original, place)?;
    keep_time(place, &metadata)
}

/// The files that git knows or would add. Git runs under the guard and may change nothing: settings
/// of a repository can name programs.
fn list(git: &Path, root: &Path, scratch: &Path) -> Result<Vec<PathBuf>, String> {
    let mut policy = Policy::new(scratch).declare(Capability::ProcessGit);
    policy.limits.stdout_bytes = MAX_LIST;

    // A monitor that the repository's settings name would be such a program.
    let command = Command::new(git, scratch)
        .args(["-c", "core.fsmonitor=false", "-C"])
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .env("PATH", SYSTEM_PATH)
        .env("HOME", scratch);
    let variables = read_only_environment();
    let command =
        variables.into_iter().fold(command, |command, (name, value)| command.env(name, value));

    guard::prepare_ownership(scratch, Identity::Auto).map_err(|error| error.to_string())?;
    let report = guard::run(&command, &policy).map_err(|error| error.to_string())?;
    if report.verdict != guard::Verdict::Pass {
        let said = String::from_utf8_lossy(&report.stderr.bytes);
        return Err(format!(
            "git cannot list the files of {} ({}; {})",
            root.display(),
            report.reason,
            said.trim()
        ));
    }
    let names = report.stdout.bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let path = |name: &[u8]| {
        // A submodule's folder, and an untracked repository, may be named with a slash at the end.
        let name = name.strip_suffix(b"/").unwrap_or(name);
        PathBuf::from(OsStr::from_bytes(name))
    };
    Ok(names.map(path).collect())
}

/// A path as a line of an exclude file.
fn escaped(path: &Path) -> String {
    let mut text = String::new();

    // A `!` or `#` at the beginning needs no escape: the line begins with a slash.
    for letter in path.to_string_lossy().chars() {
        if "*?[\\ ".contains(letter) {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// A folder of packages: links are repeated, since they lead to packages of the workspace; packages
/// themselves are linked. Scopes and `.bin` hold such links too.
fn mirror_packages(original: &Path, place: &Path) -> io::Result<()> {
    make_like(place, &fs::symlink_metadata(original)?)?;
    for entry in fs::read_dir(original)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let place = place.join(&name);
        let holds_links = name == ".bin" || name.as_bytes().starts_with(b"@");
        if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, place)?;
        } else if kind.is_dir() && holds_links {
            mirror_packages(&entry.path(), &place)?;
        } else {
            symlink(entry.path(), place)?;
        }
    }
    Ok(())
}

fn copy_all(original: &Path, place: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(original)?;
    if metadata.is_symlink() {
        return symlink(fs::read_link(original)?, place);
    }
    if !metadata.is_dir() {
        return copy_file(original, place);
    }
    make_like(place, &metadata)?;
    for entry in fs::read_dir(original)? {
        let name = entry?.file_name();
        copy_all(&original.join(&name), &place.join(&name))?;
    }
    Ok(())
}

fn make_like(place: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(place)?;

    // The files in it are made next, by this process.
    fs::set_permissions(place, Permissions::from_mode(metadata.mode() & 0o777 | 0o700))?;
    own_like(place, metadata)
}

/// A copy is as open as its original: who may not read the one may not read the other.
fn copy_file(original: &Path, place: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(original)?;

    // A pipe or device is linked: to copy it would be to open it.
    if !metadata.is_file() {
        return symlink(original, place);
    }
    match fs::copy(original, place) {
        // What this process may not read, no program of the module may.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return symlink(original, place);
        }
        other => drop(other?),
    }
    own_like(place, &metadata)?;
    keep_time(place, &metadata)
}

fn keep_time(place: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    let time = Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn own_like(place: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        chown(place, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_patterns_are_letters_in_an_exclude_file() {
        assert_eq!(escaped(Path::new("a b/[x]*")), "a\\ b/\\[x]\\*");
    }

    #[test]
    fn settings_become_numbered_variables() {
        let variables = environment(Some(Path::new("/x")));
        let find =
            |name: &str| variables.iter().find(|(known, _)| known == name).unwrap().1.clone();
        assert_eq!(find("GIT_CONFIG_COUNT"), "2");
        assert_eq!(
            (find("GIT_CONFIG_KEY_1"), find("GIT_CONFIG_VALUE_1")),
            ("core.excludesFile".to_owned(), "/x".to_owned())
        );
    }
}
