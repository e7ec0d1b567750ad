//! The judgements that need no running service: modules in folders, judged as `Ship` would.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use seal::tree::{Limits, Tree, TreeError};
use walkdir::WalkDir;
use wire::digest::Digest;
use wire::statement::Code;

use crate::judging::finding::Finding;
use crate::judging::judge::{self, Candidate, Judgement};
use crate::judging::oracle::{self, ModuleRunner};
use crate::local::output::Misused;
use crate::local::pattern;
use crate::local::report::Report;
use crate::module::document::{Invalid, nearest};
use crate::module::manifest::{self, Manifest};
use crate::module::spec::{self, Case, Spec};
use crate::module::variation::Variations;
use crate::sandbox::Sandbox;
use crate::sandbox::repository::Notice;
use crate::sandbox::workspace::Workspace;

/// Where specs are looked for unless the command line says otherwise.
pub const DEFAULT_SPECS: &str = "oracles/specs/**/*.json";

/// Where, and how strictly, folders are judged.
#[derive(Debug)]
pub struct Local<'a> {
    /// The sandbox.
    pub sandbox: &'a Sandbox,
    /// Whether reads outside are denied rather than listed (M4).
    pub strict_reads: bool,
    /// What oracle attempts are varied in.
    pub variations: Variations,
    /// How long all attempts of one case may take together.
    pub case_limit: Duration,
    /// Whether to stop at the first failure.
    pub fail_fast: bool,
    /// Set to end everything.
    pub cancel: Arc<AtomicBool>,
    /// What the private folders' names begin with; no two that run at once have the same.
    pub job: String,
    /// Who hears how far it is.
    pub reporter: Reporter<'a>,
}

/// Who hears how far a judgement is.
#[derive(Clone, Copy)]
pub struct Reporter<'a>(pub &'a dyn Fn(&str));

impl fmt::Debug for Reporter<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Reporter")
    }
}

impl Local<'_> {
    /// Judges the module in `folder` for shipping.
    ///
    /// # Errors
    /// Only if nothing could be found out about it.
    pub fn ship(&self, folder: &Path) -> anyhow::Result<Report> {
        let workspace = self.workspace()?;
        let tree = copy_alone(folder, &workspace, &self.sandbox.tree_limits)?;
        let digest = tree.digest();
        let Candidate { manifest, specs } = match judge::read(&workspace.pristine(), &tree) {
            Ok(candidate) => candidate,
            Err(finding) => {
                let judgement = Judgement { findings: vec![finding], ..Judgement::default() };
                return Ok(Report::new(folder.display().to_string(), Some(digest), &judgement));
            }
        };
        let runner = self.runner(&workspace, &manifest);
        let judgement = judge::judge(&runner, &specs, &tree, self.reporter.0)?;
        self.check_complete()?;
        Ok(Report::new(manifest.id, Some(digest), &judgement))
    }

    /// Runs the cases found for one module.
    ///
    /// # Errors
    /// Only if nothing could be found out about it.
    pub fn oracles(&self, found: &Found) -> anyhow::Result<Report> {
        if let Some(invalid) = &found.invalid {
            let finding = Finding::new(Code::ModuleInvalid, invalid.to_string());
            let judgement = Judgement { findings: vec![finding], ..Judgement::default() };
            return Ok(Report::new(found.name.clone(), None, &judgement));
        }
        let mut workspace = self.workspace()?;
        let (digest, notice) = import(&found.folder, &mut workspace, &self.sandbox.tree_limits)?;
        if let Some(notice) = &notice {
            self.say(&format!("{}: {notice}", found.name));
        }
        let manifest = manifest::parse(&fs::read(workspace.pristine().join(manifest::FILE))?)?;
        let runner = self.runner(&workspace, &manifest);
        let mut judgement = Judgement::default();
        for case in &found.cases {
            self.check_complete()?;
            self.say(&format!("oracle case {}", case.name));
            let result = oracle::run(&runner, case, &mut judgement.observations)?;
            let failed = result.finding.is_some();
            judgement.add(result);
            if failed && self.fail_fast {
                break;
            }
        }
        self.check_complete()?;
        Ok(Report::new(manifest.id, digest, &judgement))
    }

    /// Says how far it is.
    pub(super) fn say(&self, sentence: &str) {
        (self.reporter.0)(sentence);
    }

    pub(super) fn workspace(&self) -> io::Result<Workspace> {
        Workspace::create(&self.sandbox.scratch, &self.job)
    }

    pub(super) fn runner<'b>(
        &'b self,
        workspace: &'b Workspace,
        manifest: &'b Manifest,
    ) -> ModuleRunner<'b> {
        ModuleRunner {
            sandbox: self.sandbox,
            workspace,
            manifest,
            strict_reads: self.strict_reads,
            variations: self.variations.clone(),
            case_limit: self.case_limit,
            cancel: Arc::clone(&self.cancel),
        }
    }

    /// What was ended from outside says nothing.
    pub(super) fn check_complete(&self) -> anyhow::Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            bail!("interrupted before the end");
        }
        Ok(())
    }
}

/// A module for which specs were found.
#[derive(Debug)]
pub struct Found {
    /// The module's folder.
    pub folder: PathBuf,
    /// Its id, or what the specs call it.
    pub name: String,
    /// What is wrong with its `module.json`, if so: then this module fails, and no other.
    pub invalid: Option<Invalid>,
    /// Its cases, from all specs.
    pub cases: Vec<Case>,
}

/// What a search for specs found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// One entry for each module, in the order of the specs.
    pub found: Vec<Found>,
    /// What deserves a word although it is no mistake.
    pub notices: Vec<String>,
    /// The specs that were read.
    pub specs: Vec<String>,
}

/// A module below a modules root.
#[derive(Debug)]
pub struct LocalModule {
    /// Its folder, without links.
    pub folder: PathBuf,
    /// Its manifest, or what is wrong with it.
    pub manifest: Result<Manifest, Invalid>,
}

impl LocalModule {
    /// Whether specs and plans mean this module by `id`: by its manifest, or by its folder's name
    /// where the manifest cannot be read.
    pub(super) fn is_called(&self, id: &str) -> bool {
        match &self.manifest {
            Ok(manifest) => manifest.id == id,
            Err(_) => self.folder.file_name().is_some_and(|name| name == id),
        }
    }
}

/// Finds and checks every spec that one of the `globs` matches, before anything is started. Without
/// a glob: those under `oracles/specs/` here, unless `own_only`, and those that the modules bring
/// along. Where `only` names modules, specs of others are left out.
///
/// # Errors
/// [`Invalid`] with every mistake of every spec; [`Misused`] for a root that is not there.
pub fn find(
    modules_root: &Path,
    globs: &[String],
    only: Option<&[String]>,
    own_only: bool,
) -> anyhow::Result<Discovery> {
    let modules = modules(modules_root)?;
    let mut discovery = Discovery::default();
    let mut mistakes = Vec::new();
    for path in spec_paths(&modules, globs, own_only, &mut discovery.notices)? {
        let name = path.display().to_string();
        let bytes = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
        let spec = match spec::parse(&name, &bytes) {
            Ok(spec) => spec,
            Err(invalid) => {
                mistakes
                    .extend(invalid.mistakes.iter().map(|mistake| format!("{name}: {mistake}")));
                continue;
            }
        };
        if only.is_some_and(|only| !only.contains(&spec.module)) {
            continue;
        }
        match attach(&mut discovery, &modules, spec, &path) {
            Ok(()) => discovery.specs.push(name),
            Err(wrong) => mistakes.extend(wrong.into_iter().map(|wrong| {
                format!("{name}: {wrong} (--modules-root {})", modules_root.display())
            })),
        }
    }
    if mistakes.is_empty() {
        return Ok(discovery);
    }

    // An error names one file; the other mistakes carry the names of theirs.
    let first = mistakes.remove(0);
    let (file, mistake) = first.split_once(": ").unwrap_or(("", &first));
    let mistakes = std::iter::once(mistake.to_owned()).chain(mistakes).collect();

    // The specification is at fault, not a module.
    Err(anyhow::Error::new(Invalid { file: file.to_owned(), mistakes })
        .context(Code::OracleSpec.to_string()))
}

fn spec_paths(
    modules: &[LocalModule],
    globs: &[String],
    own_only: bool,
    notices: &mut Vec<String>,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    if globs.is_empty() {
        if !own_only {
            paths.extend(pattern::expand(DEFAULT_SPECS)?);
        }
        for module in modules {
            paths.extend(json_files(&module.folder.join(spec::DIR)));
        }
    }
    for glob in globs {
        let matching = pattern::expand(glob)?;
        if matching.is_empty() {
            notices.push(format!("--spec {glob} matches no file"));
        }
        paths.extend(matching);
    }

    // One file by two ways is one spec.
    let mut seen = Vec::new();
    paths.retain(|path| {
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        let fresh = !seen.contains(&real);
        seen.push(real);
        fresh
    });
    paths.sort();
    Ok(paths)
}

/// Adds the cases of the spec at `path` to the module that it names. A module whose manifest cannot
/// be read has no id to be named by, so its own specs belong to it: it fails, and the others are
/// judged.
fn attach(
    discovery: &mut Discovery,
    modules: &[LocalModule],
    spec: Spec,
    path: &Path,
) -> Result<(), Vec<String>> {
    let mut named: Vec<&LocalModule> =
        modules.iter().filter(|module| module.is_called(&spec.module)).collect();
    if named.is_empty() {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let has_it =
            |module: &&LocalModule| module.manifest.is_err() && real.starts_with(&module.folder);
        named.extend(modules.iter().find(has_it));
    }
    let module = match named[..] {
        [module] => module,
        [] => {
            let ids: Vec<&str> = modules
                .iter()
                .filter_map(|module| module.manifest.as_ref().ok())
                .map(|manifest| manifest.id.as_str())
                .collect();
            let near = nearest(&spec.module, &ids)
                .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            return Err(vec![format!("/module: there is no module {:?}{near}", spec.module)]);
        }
        [one, other, ..] => {
            return Err(vec![format!(
                "/module: {:?} is the id of two modules: {} and {}",
                spec.module,
                one.folder.display(),
                other.folder.display()
            )]);
        }
    };
    let wrong: Vec<String> =
        spec.cases.iter().flat_map(|case| oracle::escaping_paths(&module.folder, case)).collect();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    match discovery.found.iter_mut().find(|found| found.folder == module.folder) {
        Some(found) => found.cases.extend(spec.cases),
        None => discovery.found.push(Found {
            folder: module.folder.clone(),
            name: spec.module,
            invalid: module.manifest.as_ref().err().cloned(),
            cases: spec.cases,
        }),
    }
    Ok(())
}

/// Brings the module with its links and what surrounds it (M5). Its digest, unless it has links:
/// such a module cannot be stored; and what is to be said about its surroundings.
fn import(
    folder: &Path,
    workspace: &mut Workspace,
    limits: &Limits,
) -> anyhow::Result<(Option<Digest>, Option<Notice>)> {
    let digest = |folder: &Path| match Tree::from_dir(folder, limits) {
        Ok(tree) => Ok(Some(tree.digest())),
        Err(TreeError::NotRegular(_)) => Ok(None),
        Err(error) => Err(anyhow!("{} is no module: {error}", folder.display())),
    };
    let before = digest(folder)?;
    let notice = workspace.import(folder, limits)?;

    // What is judged has to be one state of the folder.
    if digest(&workspace.pristine())? != before {
        bail!("{} changed while it was read: try again", folder.display());
    }
    Ok((before, notice))
}

/// Copies the folder as the store would hand it out: its files and nothing round it, so that the
/// verdict is the one `Ship` would give.
pub(super) fn copy_alone(
    folder: &Path,
    workspace: &Workspace,
    limits: &Limits,
) -> anyhow::Result<Tree> {
    let tree = Tree::from_dir(folder, limits)
        .with_context(|| format!("{} is no module", folder.display()))?;
    for file in tree.files() {
        let target = workspace.pristine().join(&file.path);
        fs::create_dir_all(target.parent().unwrap_or(&target))?;
        fs::copy(folder.join(&file.path), &target)?;
    }

    // What is judged has to be one state of the folder.
    let copy = Tree::from_dir(&workspace.pristine(), limits)?;
    if copy.digest() != tree.digest() {
        bail!("{} changed while it was read: try again", folder.display());
    }
    Ok(tree)
}

/// Every folder with a `module.json` directly below `root`.
///
/// # Errors
/// [`Misused`] if the root cannot be listed.
pub fn modules(root: &Path) -> anyhow::Result<Vec<LocalModule>> {
    let entries = fs::read_dir(root).map_err(|error| {
        Misused(format!("--modules-root {}: {error}: expected a folder of modules", root.display()))
    })?;
    let mut modules = Vec::new();
    for entry in entries {
        let folder = entry?.path();
        let folder = folder.canonicalize().unwrap_or(folder);
        if let Ok(bytes) = fs::read(folder.join(manifest::FILE)) {
            let manifest = manifest::parse(&bytes).map_err(|invalid| Invalid {
                file: folder.join(&invalid.file).display().to_string(),
                ..invalid
            });
            modules.push(LocalModule { folder, manifest });
        }
    }
    modules.sort_by(|a, b| a.folder.cmp(&b.folder));

    // Sorted before, so that equal folders are neighbours. A link to a module is the same module.
    modules.dedup_by(|a, b| a.folder == b.folder);
    Ok(modules)
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let files = WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    files
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "json"))
        .collect()
}
