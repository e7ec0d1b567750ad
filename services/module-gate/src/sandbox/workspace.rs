//! The private folders of one job: copy of the module, input, outputs, home. Gone when it ends.
//!
//! ```text
//! <scratch>/<job>/            mode 0711: reachable by name for the guard's uid, not listed
//!   pristine/module/          the tree as it came; closed to the guard's uid
//!   surroundings/…            the copy that runs, made afresh for every attempt: alone, or at the
//!   end of the path it has at home, with links beside it (M5) elsewhere/                second
//!   names of its files that have names elsewhere at home output/ home/ home/tmp/   LUMIO_OUTPUT,
//!   HOME, TMPDIR; emptied for every attempt input.json                LUMIO_INPUT listing/
//!   git-excludes     for the repository that the module lies in at home
//! ```

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, bail};
use guard::Identity;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use seal::tree::Limits;
use walkdir::WalkDir;

use crate::module::variation::Variation;
use crate::sandbox::cleanup::remove;
use crate::sandbox::conditions::Conditions;
use crate::sandbox::repository::{Notice, Repository};
use crate::sandbox::surroundings;

/// The time that varied copies of files carry: 2001-09-09, in seconds.
const OTHER_FILE_TIME: i64 = 1_000_000_000;
/// The job's file of what git is to ignore.
const EXCLUDES: &str = "git-excludes";
/// The name an entry has for a moment while the order of its folder is turned round.
const TURNING: &str = ".module-gate-turning";

/// The folders of one job. Dropping it removes them.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    /// The name of the job.
    job: String,
    usual: Layout,
    /// Where the module lies at home, if it lies in a user's folder.
    home: Option<PathBuf>,
    /// Files of the module that also have names elsewhere at home: relative paths.
    shared: Vec<PathBuf>,
    /// The repository it lies in at home.
    repository: Option<Mutex<Repository>>,
    /// This job's folder in memory, if one was needed.
    memory: OnceLock<PathBuf>,
}

/// Where the folders of an attempt lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The copy that runs: the module's root.
    pub module: PathBuf,
    /// The folder that `LUMIO_OUTPUT` names.
    pub output: PathBuf,
    /// The folder that `HOME` names.
    pub home: PathBuf,
    /// The folder that `TMPDIR` names; it lies in `home`.
    pub tmp: PathBuf,
    /// The file that `LUMIO_INPUT` names.
    pub input: PathBuf,
    /// Second names of files that have names elsewhere at home.
    elsewhere: PathBuf,
    /// The repository that the module lies in, if so.
    pub repository: Option<RepositoryPlace>,
    /// The top of the mirror of what surrounds the module at home: below it a path goes on as it
    /// does there. None where the module is alone in its folder.
    pub mirror: Option<PathBuf>,
    /// Whether folders list their entries in the reversed order.
    reversed: bool,
    /// The job's own folder, in which the others lie; it lies in the folder of all jobs.
    job: PathBuf,
}

/// Where the mirror of a repository has what belongs to the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryPlace {
    /// Its folder `.git`.
    pub git_dir: PathBuf,
    /// The file of what git is to ignore.
    pub excludes: PathBuf,
}

impl Layout {
    /// A message with the attempt's private places named as the module knows them: paths in the
    /// module are relative to it, the others begin with the variable that names them, and what no
    /// variable names begins with a word in angle brackets. Such messages are public, so that no
    /// folder of the server is in them.
    pub fn shorten(&self, text: &str) -> String {
        let place = |path: &Path| path.to_string_lossy().into_owned();
        let module = place(&self.module);
        let mut text = text.to_owned();

        // `TMPDIR` lies in `HOME`, so it comes first.
        for (path, name) in [
            (place(&self.output), "$LUMIO_OUTPUT"),
            (place(&self.tmp), "$TMPDIR"),
            (place(&self.home), "$HOME"),
            (place(&self.input), "$LUMIO_INPUT"),
            (format!("{module}/"), ""),
            (module, "."),
        ] {
            text = text.replace(&path, name);
        }
        if let Some(mirror) = &self.mirror {
            text = text.replace(&*mirror.to_string_lossy(), "");
        }

        // Last, since all of the above lie in these.
        if let Some(around) = self.module.parent() {
            text = text.replace(&place(around), "..");
        }
        text = text.replace(&place(&self.job), "<job>");
        match self.job.parent() {
            Some(scratch) => replace_path(&text, scratch, "<scratch>"),
            None => text,
        }
    }
}

impl Workspace {
    /// Makes the folder `job` under `scratch`, after wiping what an earlier job of that name left.
    /// The module will stand alone in it, as one from the store does.
    ///
    /// # Errors
    /// The disk's own.
    pub fn create(scratch: &Path, job: &str) -> io::Result<Self> {
        make_dir(scratch)?;

        // Without links, as the guard names paths.
        let root = scratch.canonicalize()?.join(job);
        remove(&root)?;
        let usual = Layout {
            module: root.join("surroundings/module"),
            output: root.join("output"),
            home: root.join("home"),
            tmp: root.join("home/tmp"),
            input: root.join("input.json"),
            elsewhere: root.join("elsewhere"),
            repository: None,
            mirror: None,
            reversed: false,
            job: root.clone(),
        };

        // What surrounds the copy may be seen: it lies at home where everybody can look.
        make_open_dir(&root.join("surroundings"))?;
        for folder in ["pristine", "elsewhere"] {
            DirBuilder::new().mode(0o700).create(root.join(folder))?;
        }
        Ok(Self {
            root,
            job: job.to_owned(),
            usual,
            home: None,
            shared: Vec::new(),
            repository: None,
            memory: OnceLock::new(),
        })
    }

    /// Takes the module that lies in the folder `home`, links included, and mirrors what surrounds
    /// it (M5). Answers why the files of a repository are only linked, if so.
    ///
    /// # Errors
    /// It is no module that can be copied, or too much surrounds it.
    pub fn import(&mut self, home: &Path, limits: &Limits) -> anyhow::Result<Option<Notice>> {
        let home =
            home.canonicalize().with_context(|| format!("cannot find {}", home.display()))?;
        if self.root.starts_with(&home) {
            bail!("the scratch folder lies in the module {}: choose another one", home.display());
        }
        self.shared = surroundings::shared_files(&home, limits)?;
        guard::copy_tree(&home, &self.pristine(), Identity::Auto)?;
        let listing = self.root.join("listing");
        make_dir(&listing)?;
        let (repository, notice) = match Repository::around(&home, &listing) {
            Ok(repository) => (repository, None),
            Err(notice) => (None, Some(notice)),
        };
        self.repository = repository.map(Mutex::new);
        self.home = Some(home);
        let mut usual = self.usual.clone();
        self.place_module(&self.root.join("surroundings"), true, &mut usual)?;
        self.usual = usual;
        Ok(notice)
    }

    /// Where the tree is put before anything runs; made by the caller.
    pub fn pristine(&self) -> PathBuf {
        self.root.join("pristine/module")
    }

    /// The usual places.
    pub fn layout(&self) -> &Layout {
        &self.usual
    }

    /// A folder of this job beside the others.
    ///
    /// # Errors
    /// The disk's own.
    pub fn extra(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.root.join(name);
        make_dir(&path)?;
        Ok(path)
    }

    /// A file of this job that the module's programs may read but not write, with this content.
    ///
    /// # Errors
    /// The disk's own.
    pub fn helper(&self, name: &str, content: &str) -> io::Result<PathBuf> {
        let path = self.root.join(name);
        remove(&path)?;
        fs::write(&path, content)?;
        fs::set_permissions(&path, Permissions::from_mode(0o444))?;
        Ok(path)
    }

    /// Other places, of another length, for what of `variations` is a place. `memory` is a folder
    /// in memory, needed for another order of listings.
    ///
    /// # Errors
    /// The disk's own; too much surrounds the module.
    pub fn varied(
        &self,
        variations: &[Variation],
        memory: Option<&Path>,
    ) -> anyhow::Result<Layout> {
        let mut layout = self.usual.clone();
        let elsewhere = self.root.join("at-another-place");
        if variations.contains(&Variation::Home) {
            layout.home = elsewhere.join("the-home-of-the-job");
            layout.tmp = layout.home.join("temporary");
        }
        if variations.contains(&Variation::Path) {
            layout.output = elsewhere.join("what-it-leaves");
            layout.input = elsewhere.join("what-it-gets.json");
            let folder = elsewhere.join("surroundings");
            self.place_module(&folder, !folder.exists(), &mut layout)?;
        }
        if let Some(memory) = memory.filter(|_| variations.contains(&Variation::DirectoryOrder)) {
            let own = self.memory.get_or_init(|| memory.join(&self.job));
            let folder = own.join("surroundings");
            self.place_module(&folder, !folder.exists(), &mut layout)?;
            layout.elsewhere = own.join("elsewhere");
            make_dir(&layout.elsewhere)?;
            layout.reversed = true;
        }
        make_dir(&elsewhere)?;
        Ok(layout)
    }

    /// Sets where the module lies below `folder`, with the same round it as at home. What surrounds
    /// it is put there if the folder is `fresh`; else an earlier case of this job has done so.
    fn place_module(&self, folder: &Path, fresh: bool, layout: &mut Layout) -> anyhow::Result<()> {
        make_open_dir(folder)?;
        let Some(home) = &self.home else {
            layout.module = folder.join("module");
            return Ok(());
        };
        layout.module = folder.join(home.strip_prefix("/").unwrap_or(home));
        layout.mirror = Some(folder.to_owned());

        let mut repository = self
            .repository
            .as_ref()
            .map(|repository| repository.lock().unwrap_or_else(PoisonError::into_inner));
        if fresh {
            surroundings::link_around(folder, home, repository.as_deref_mut())?;
        }
        let Some(repository) = repository else { return Ok(()) };
        let excludes = self.helper(EXCLUDES, repository.ignored())?;
        layout.repository =
            Some(RepositoryPlace { git_dir: repository.git_place(folder), excludes });
        Ok(())
    }

    /// Starts an attempt in the usual places: a fresh copy of the pristine tree, empty output and
    /// home, this input.
    ///
    /// # Errors
    /// The disk's own.
    pub fn prepare(&self, input: &[u8]) -> io::Result<()> {
        self.prepare_at(&self.usual, &Conditions::default(), input)
    }

    /// Starts an attempt in the places of `layout` and under `conditions`.
    ///
    /// # Errors
    /// The disk's own.
    pub fn prepare_at(
        &self,
        layout: &Layout,
        conditions: &Conditions,
        input: &[u8],
    ) -> io::Result<()> {
        // Everything that an attempt could have left goes before the next one starts.
        for path in [&layout.module, &layout.output, &layout.home, &layout.input] {
            remove(path)?;
        }
        guard::copy_tree(&self.pristine(), &layout.module, conditions.identity)
            .map_err(io::Error::other)?;
        if layout.reversed {
            reverse_listings(&layout.module)?;
        }
        if conditions.other_file_times {
            set_file_times(&layout.module)?;
        }
        for (number, path) in self.shared.iter().enumerate() {
            // The guard takes a file that has a name outside the root for outside.
            let name = layout.elsewhere.join(number.to_string());
            remove(&name)?;
            fs::hard_link(layout.module.join(path), name)?;
        }
        if let (Some(repository), Some(place)) = (&self.repository, &layout.repository) {
            let repository = repository.lock().unwrap_or_else(PoisonError::into_inner);
            repository.place_git_dir(&place.git_dir, conditions.identity)?;
        }
        for folder in [&layout.output, &layout.home, &layout.tmp] {
            make_dir(folder)?;
            guard::prepare_ownership(folder, conditions.identity).map_err(io::Error::other)?;
        }
        fs::write(&layout.input, input)?;
        fs::set_permissions(&layout.input, Permissions::from_mode(0o444))
    }
}

/// Names `path` by another word wherever the text has it, whole or as the beginning of a longer
/// path. A short path such as `/scratch` may also be the end of a word, which stays.
pub(super) fn replace_path(text: &str, path: &Path, name: &str) -> String {
    let path = path.to_string_lossy();
    let goes_on = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    let mut replaced = String::with_capacity(text.len());
    let mut rest = 0;
    for (at, _) in text.match_indices(&*path) {
        let before = text[..at].chars().next_back();
        let after = text[at + path.len()..].chars().next();
        if before.is_some_and(|letter| letter == '.' || goes_on(letter))
            || after.is_some_and(goes_on)
        {
            continue;
        }
        replaced.push_str(&text[rest..at]);
        replaced.push_str(name);
        rest = at + path.len();
    }
    replaced.push_str(&text[rest..]);
    replaced
}

/// Turns round the order in which a folder in memory, and every folder below, lists its entries:
/// such a file system lists what was named last first, so naming each again in the order of the
/// list turns it.
fn reverse_listings(folder: &Path) -> io::Result<()> {
    let folders: Vec<PathBuf> = WalkDir::new(folder)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_dir())
        .map(walkdir::DirEntry::into_path)
        .collect();
    for folder in folders {
        let names: Vec<_> = fs::read_dir(&folder)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<_>>()?;
        let turning = folder.join(TURNING);
        for name in names {
            fs::rename(folder.join(&name), &turning)?;
            fs::rename(&turning, folder.join(&name))?;
        }
    }
    Ok(())
}

/// Whether listings of folders below `memory` can be turned round.
pub(super) fn lists_reversed(memory: &Path) -> io::Result<bool> {
    let probe = memory.join("probe");
    DirBuilder::new().mode(0o700).create(&probe)?;
    for name in ["a", "b", "c"] {
        fs::write(probe.join(name), "")?;
    }
    let list = || -> io::Result<Vec<_>> {
        fs::read_dir(&probe)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    let mut before = list()?;
    reverse_listings(&probe)?;
    before.reverse();
    let reversed = list()? == before;
    remove(&probe)?;
    Ok(reversed)
}

/// Gives every file of the tree another time of its last change.
fn set_file_times(folder: &Path) -> io::Result<()> {
    let time = Timespec { tv_sec: OTHER_FILE_TIME, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    for entry in WalkDir::new(folder).into_iter().filter_map(Result::ok) {
        if !entry.file_type().is_dir() {
            utimensat(CWD, entry.path(), &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

/// Removes what jobs of a process that was killed left under `scratch`; nothing that no job is
/// called.
///
/// # Errors
/// The disk's own.
pub fn sweep(scratch: &Path) -> io::Result<()> {
    // Jobs of runs are named by the run's id; those of judgements begin with `ship.`.
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
        for folder in self.memory.get().into_iter().chain([&self.root]) {
            if let Err(error) = remove(folder) {
                tracing::warn!(path = %folder.display(), %error, "could not remove scratch folder");
            }
        }
    }
}

/// Makes a folder that everybody may list.
fn make_open_dir(path: &Path) -> io::Result<()> {
    make_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
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
            assert_eq!(fs::read_to_string(&workspace.layout().input).unwrap(), input);
            assert_eq!(fs::read_dir(&workspace.layout().module).unwrap().count(), 1);
            fs::write(workspace.layout().module.join("left"), "").unwrap();
            fs::create_dir(workspace.layout().output.join("closed")).unwrap();
            fs::write(workspace.layout().output.join("closed/f"), "").unwrap();
            let closed = Permissions::from_mode(0o000);
            fs::set_permissions(workspace.layout().output.join("closed"), closed).unwrap();
        }
        drop(workspace);
        assert!(!scratch.path().join("job").exists());
    }

    #[test]
    fn a_message_names_no_folder_of_the_server() {
        let scratch = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(scratch.path(), "0a.1").unwrap();
        let at = scratch.path().canonicalize().unwrap().display().to_string();
        for (path, name) in [
            ("/0a.1/surroundings/module/main.mjs:1:7", "main.mjs:1:7"),
            ("/0a.1/surroundings/module", "."),
            ("/0a.1/surroundings", ".."),
            ("/0a.1/surroundings/beside", "../beside"),
            ("/0a.1/output/a", "$LUMIO_OUTPUT/a"),
            ("/0a.1/home/tmp/a", "$TMPDIR/a"),
            ("/0a.1/home/a", "$HOME/a"),
            ("/0a.1/input.json", "$LUMIO_INPUT"),
            ("/0a.1/pristine/module/a", "<job>/pristine/module/a"),
            ("/0a.1", "<job>"),
            ("/0b.1/output", "<scratch>/0b.1/output"),
            ("/runtime/node", "<scratch>/runtime/node"),
            ("", "<scratch>"),
        ] {
            let text = format!("openat {at}{path}, 'file://{at}{path}'");
            let shown = workspace.layout().shorten(&text);
            assert_eq!(shown, format!("openat {name}, 'file://{name}'"));
        }
    }

    #[test]
    fn a_path_is_named_only_where_it_is_one() {
        let text = "/scratch /scratch/a (/scratch). ./scratch a/scratch /scratches /scratch_2 /s";
        let shown = replace_path(text, Path::new("/scratch"), "<scratch>");
        assert_eq!(
            shown,
            "<scratch> <scratch>/a (<scratch>). ./scratch a/scratch /scratches /scratch_2 /s"
        );
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
