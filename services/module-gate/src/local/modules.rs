//! The judgements that need no running service: a module in a folder, judged as `Ship` would.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow, bail};
use seal::tree::{Limits, Tree, TreeError};
use walkdir::WalkDir;
use wire::digest::Digest;
use wire::statement::Code;

use crate::judging::judge::{self, Candidate, Judgement};
use crate::judging::oracle::{self, Bench};
use crate::local::pattern;
use crate::local::report::Report;
use crate::module::document::Invalid;
use crate::module::manifest::{self, Manifest};
use crate::module::spec::{self, Case, Spec};
use crate::sandbox::Sandbox;
use crate::sandbox::workspace::Workspace;

/// Where, and how strictly, folders are judged.
#[derive(Debug)]
pub struct Local<'a> {
    /// The sandbox.
    pub sandbox: &'a Sandbox,
    /// Whether reads outside are denied rather than listed (M4).
    pub strict_reads: bool,
    /// Set to end everything.
    pub cancel: Arc<AtomicBool>,
}

impl Local<'_> {
    /// Judges the module in `folder` for shipping.
    ///
    /// # Errors
    /// Only if nothing could be found out about it.
    pub fn ship(&self, folder: &Path) -> anyhow::Result<Report> {
        let workspace = self.workspace()?;
        let tree = copy_alone(folder, &workspace)?;
        let digest = tree.digest();
        let Candidate { manifest, specs } = match judge::read(&workspace.pristine(), &tree) {
            Ok(candidate) => candidate,
            Err(finding) => {
                let judgement = Judgement { findings: vec![finding], ..Judgement::default() };
                return Ok(Report::new(folder.display().to_string(), Some(digest), &judgement));
            }
        };
        let bench = self.bench(&workspace, &manifest);
        let judgement = judge::judge(&bench, &specs, &|step| eprintln!("{step}"))?;
        self.whole()?;
        Ok(Report::new(manifest.id, Some(digest), &judgement))
    }

    /// Runs the cases found for one module.
    ///
    /// # Errors
    /// Only if nothing could be found out about it.
    pub fn oracles(&self, found: &Found) -> anyhow::Result<Report> {
        let mut workspace = self.workspace()?;
        let digest = import(&found.folder, &mut workspace)?;
        let manifest = manifest::parse(&fs::read(workspace.pristine().join(manifest::FILE))?)?;
        let bench = self.bench(&workspace, &manifest);
        let mut judgement = Judgement::default();
        for case in &found.cases {
            self.whole()?;
            eprintln!("oracle case {}", case.name);
            let result = oracle::run(&bench, case, &mut judgement.observations)?;
            judgement.add(result);
        }
        self.whole()?;
        Ok(Report::new(manifest.id, digest, &judgement))
    }

    fn workspace(&self) -> io::Result<Workspace> {
        Workspace::create(&self.sandbox.scratch, &format!("local.{}", std::process::id()))
    }

    fn bench<'b>(&'b self, workspace: &'b Workspace, manifest: &'b Manifest) -> Bench<'b> {
        let (sandbox, strict_reads) = (self.sandbox, self.strict_reads);
        Bench { sandbox, workspace, manifest, strict_reads, cancel: Arc::clone(&self.cancel) }
    }

    /// What was ended from outside says nothing.
    fn whole(&self) -> anyhow::Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            bail!("interrupted before the end");
        }
        Ok(())
    }
}

/// Specs that were found, each with the folder of the module it names.
#[derive(Debug)]
pub struct Found {
    /// The module's folder.
    pub folder: PathBuf,
    /// Its cases, from all specs.
    pub cases: Vec<Case>,
}

/// Finds and checks every spec that one of the `globs` matches, before anything is started. Without a glob: those
/// under `oracles/specs/` here, and those that the modules bring along.
///
/// # Errors
/// [`Invalid`] for a spec that cannot be used or names a module that is not there.
pub fn find(modules_root: &Path, globs: &[String]) -> anyhow::Result<Vec<Found>> {
    let modules = modules(modules_root)?;
    let paths = if globs.is_empty() {
        let mut own = pattern::expand("oracles/specs/**/*.json")?;
        for (folder, _) in &modules {
            own.extend(json_files(&folder.join(spec::DIR)));
        }
        own
    } else {
        globs.iter().map(|glob| pattern::expand(glob)).collect::<Result<Vec<_>, _>>()?.concat()
    };
    let mut found: Vec<Found> = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        let bytes = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
        let Spec { module, cases } = spec::parse(&name, &bytes).map_err(refused)?;
        let at = modules.iter().find(|(_, manifest)| manifest.id == module);
        let folder = at.map(|(folder, _)| folder.clone()).ok_or_else(|| {
            refused(Invalid::one(
                &name,
                format!("/module: {module:?} is no module under {}", modules_root.display()),
            ))
        })?;
        let mistakes: Vec<_> =
            cases.iter().flat_map(|case| oracle::leading_out(&folder, case)).collect();
        if !mistakes.is_empty() {
            return Err(refused(Invalid { file: name, mistakes }));
        }
        match found.iter_mut().find(|one| one.folder == folder) {
            Some(one) => one.cases.extend(cases),
            None => found.push(Found { folder, cases }),
        }
    }
    Ok(found)
}

/// The specification is at fault, not a module.
fn refused(invalid: Invalid) -> anyhow::Error {
    anyhow::Error::new(invalid).context(Code::OracleSpec.to_string())
}

/// Brings the module with its links and a mirror of what stands round it (M5). Its digest, unless it has links: such a module cannot be stored.
fn import(folder: &Path, workspace: &mut Workspace) -> anyhow::Result<Option<Digest>> {
    let digest = |folder: &Path| match Tree::from_dir(folder, &Limits::MODULE) {
        Ok(tree) => Ok(Some(tree.digest())),
        Err(TreeError::NotRegular(_)) => Ok(None),
        Err(error) => Err(anyhow!("{} is no module: {error}", folder.display())),
    };
    let before = digest(folder)?;
    workspace.import(folder)?;
    if digest(&workspace.pristine())? != before {
        bail!("{} changed while it was read: try again", folder.display());
    }
    Ok(before)
}

/// Copies the folder as the store would hand it out: its files and nothing round it, so that the verdict is the one `Ship` would give.
fn copy_alone(folder: &Path, workspace: &Workspace) -> anyhow::Result<Tree> {
    let tree = Tree::from_dir(folder, &Limits::MODULE)
        .with_context(|| format!("{} is no module", folder.display()))?;
    for file in tree.files() {
        let target = workspace.pristine().join(&file.path);
        fs::create_dir_all(target.parent().unwrap_or(&target))?;
        fs::copy(folder.join(&file.path), &target)?;
    }
    let copy = Tree::from_dir(&workspace.pristine(), &Limits::MODULE)?;
    if copy.digest() != tree.digest() {
        bail!("{} changed while it was read: try again", folder.display());
    }
    Ok(tree)
}

fn modules(root: &Path) -> anyhow::Result<Vec<(PathBuf, Manifest)>> {
    let entries = fs::read_dir(root)
        .map_err(|error| anyhow!("--modules-root {}: {error}", root.display()))?;
    let mut modules = Vec::new();
    for entry in entries {
        let folder = entry?.path();
        let folder = folder.canonicalize().unwrap_or(folder);
        if let Ok(bytes) = fs::read(folder.join(manifest::FILE)) {
            let manifest = manifest::parse(&bytes).with_context(|| folder.display().to_string())?;
            modules.push((folder, manifest));
        }
    }
    modules.sort_by(|a, b| a.0.cmp(&b.0));
    // A link to a module is the same module.
    modules.dedup_by(|a, b| a.0 == b.0);
    Ok(modules)
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let files = WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    files
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "json"))
        .collect()
}
