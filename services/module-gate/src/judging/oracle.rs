//! Runs oracle cases: every attempt from a pristine copy, every captured thing compared with the first.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guard::{Category, Report};
use seal::tree::{Limits, Tree, TreeError};
use wire::digest::Digest;
use wire::statement::Code;

use crate::judging::finding::{self, Finding, Observations};
use crate::module::manifest::Manifest;
use crate::module::spec::Case;
use crate::sandbox::cleanup;
use crate::sandbox::outputs::{self, OutputError};
use crate::sandbox::surroundings;
use crate::sandbox::workspace::Workspace;
use crate::sandbox::{self, Job, Sandbox};

/// How large a captured folder may be.
const CAPTURED: Limits = Limits { files: outputs::MAX_FILES, bytes: outputs::MAX_BYTES };
/// What a case without a `LUMIO_INPUT` of its own reads.
const EMPTY_INPUT: &[u8] = b"{}";

/// Where, and how strictly, the programs of one module are started.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The sandbox.
    pub sandbox: &'a Sandbox,
    /// The module's folders; the pristine tree is in place.
    pub workspace: &'a Workspace,
    /// The module.
    pub manifest: &'a Manifest,
    /// Whether reads outside are denied rather than listed (M4).
    pub strict_reads: bool,
    /// Set from outside to end everything.
    pub cancel: Arc<AtomicBool>,
}

/// How a case went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// The case.
    pub name: String,
    /// Attempts that were started.
    pub attempts: u32,
    /// Why it did not pass, if so.
    pub finding: Option<Finding>,
}

/// What of one attempt is compared, in this order.
struct Captured {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    files: Vec<(String, Content)>,
    outputs: Vec<(String, Digest)>,
    effects: Vec<Trace>,
}

/// What stands at a captured path.
#[derive(PartialEq, Eq)]
enum Content {
    File(Digest),
    /// By the rule of module trees (O2); none for a folder without files.
    Folder(Option<Digest>),
}

/// A side effect as it is compared (M8): without process ids, times and order. Paths need no
/// translation, because every attempt lies at the same place.
type Trace = (Category, String, String, Option<String>, String, Vec<String>, bool);

/// Runs all attempts of a case and compares them. Blocking.
///
/// # Errors
/// The disk's own, which says nothing about the module.
pub fn run(
    bench: &Bench<'_>,
    case: &Case,
    observations: &mut Observations,
) -> io::Result<CaseResult> {
    let mut result = CaseResult { name: case.name.clone(), attempts: 0, finding: None };
    let mut first: Option<Captured> = None;
    for attempt in 1..=case.attempts {
        result.attempts = attempt;
        let captured = match attempt_once(bench, case, attempt, observations)? {
            Ok(captured) => captured,
            Err(finding) => {
                let reason = format!("case {}, attempt {attempt}: {}", case.name, finding.reason);
                result.finding = Some(Finding::new(finding.code, reason));
                return Ok(result);
            }
        };
        let Some(first) = &first else {
            first = Some(captured);
            continue;
        };
        if let Some(field) = difference(case, first, &captured) {
            let reason =
                format!("case {}: {field} of attempt {attempt} differs from the first", case.name);
            result.finding = Some(Finding::new(Code::OracleNondeterminism, reason));
            return Ok(result);
        }
    }
    Ok(result)
}

fn attempt_once(
    bench: &Bench<'_>,
    case: &Case,
    attempt: u32,
    observations: &mut Observations,
) -> io::Result<Result<Captured, Finding>> {
    bench.workspace.prepare(EMPTY_INPUT)?;
    if let Some(mistake) = leading_out(&bench.workspace.module(), case).pop() {
        return Ok(Err(Finding::new(Code::OracleSpec, mistake)));
    }
    for path in &case.reset {
        cleanup::remove(&bench.workspace.module().join(path))?;
    }
    let report = match bench.start(&case.entry, &case.args, &case.cwd, &case.env, case.timeout_ms) {
        Ok(report) => report,
        Err(finding) => return Ok(Err(finding)),
    };
    observations.add(&format!("case {}, attempt {attempt}", case.name), &report);
    match finding::from_report(&report) {
        Some(finding) => Ok(Err(finding)),
        None => capture(bench.workspace, case, report),
    }
}

impl Bench<'_> {
    /// Whether everything is to end.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Starts a program of the prepared copy.
    ///
    /// # Errors
    /// A finding if it cannot be started: the module's fault if the program is not there, else the host's.
    pub fn start(
        &self,
        entry: &str,
        args: &[String],
        cwd: &str,
        env: &BTreeMap<String, String>,
        wall_ms: u64,
    ) -> Result<Report, Finding> {
        if let Some(fault) = sandbox::fault(self.workspace, entry) {
            return Err(Finding::new(Code::OracleExec, fault));
        }
        if !self.workspace.module().join(cwd).is_dir() {
            return Err(Finding::new(
                Code::OracleExec,
                format!("the folder {cwd:?} is not in the module"),
            ));
        }
        let job = Job {
            workspace: self.workspace,
            manifest: self.manifest,
            entry,
            args,
            cwd,
            env,
            seed: 0,
            wall_ms,
            strict_reads: self.strict_reads,
            cancel: Arc::clone(&self.cancel),
        };
        self.sandbox
            .run(&job)
            .map_err(|error| Finding::new(Code::GuardIncomplete, error.to_string()))
    }
}

fn capture(
    workspace: &Workspace,
    case: &Case,
    report: Report,
) -> io::Result<Result<Captured, Finding>> {
    let mut files = Vec::new();
    for path in &case.capture.files {
        match content(&workspace.module(), path)? {
            Ok(content) => files.push((path.clone(), content)),
            Err(reason) => {
                let reason = format!("the captured file {path:?} {reason}");
                return Ok(Err(Finding::new(Code::OracleExec, reason)));
            }
        }
    }
    let outputs = match outputs::collect(&workspace.output()) {
        Ok(outputs) => outputs.into_iter().map(|output| (output.path, output.sha256)).collect(),
        Err(OutputError::Refused(reason)) => {
            return Ok(Err(Finding::new(Code::OutputLimit, reason)));
        }
        Err(OutputError::Io(error)) => return Err(error),
    };
    let effects = traces(&report);
    Ok(Ok(Captured {
        stdout: report.stdout.bytes,
        stderr: report.stderr.bytes,
        files,
        outputs,
        effects,
    }))
}

/// What stands at a captured path, or why it cannot be captured. Nothing of the module runs any more.
fn content(module: &Path, path: &str) -> io::Result<Result<Content, String>> {
    // The guard has proven that nothing outside was written, yet a link may point anywhere.
    let Ok(found) = module.join(path).canonicalize() else {
        return Ok(Err("is not there".to_owned()));
    };
    if !found.starts_with(module) {
        return Ok(Err("leads out of the module".to_owned()));
    }
    let metadata = fs::metadata(&found)?;
    if metadata.is_dir() {
        return Ok(match Tree::from_dir(&found, &CAPTURED) {
            Ok(tree) => Ok(Content::Folder(Some(tree.digest()))),
            Err(TreeError::Empty) => Ok(Content::Folder(None)),
            Err(error) => Err(format!("is a folder that cannot be captured: {error}")),
        });
    }
    if !metadata.is_file() {
        return Ok(Err("is neither file nor folder".to_owned()));
    }
    if metadata.len() > outputs::MAX_BYTES {
        return Ok(Err(format!("is larger than {} bytes", outputs::MAX_BYTES)));
    }
    match fs::read(&found) {
        Ok(content) => Ok(Ok(Content::File(Digest::of(&content)))),
        // A module may take its own file's permissions away; that is its doing, not the disk's.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok(Err("may not be read".to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// What of a case leads out of the module in the folder `root` by a link (M5). That no path of it does so by its name is known before.
pub fn leading_out(root: &Path, case: &Case) -> Vec<String> {
    let whole = [("entry", &case.entry), ("cwd", &case.cwd)];
    let whole =
        whole.into_iter().chain(case.capture.files.iter().map(|path| ("capture/files", path)));
    let whole = whole.map(|(member, path)| (member, path, PathBuf::from(path)));
    // What is removed is the link itself.
    let above = case
        .reset
        .iter()
        .map(|path| ("reset", path, Path::new(path).parent().unwrap_or(Path::new("")).to_owned()));
    whole
        .chain(above)
        .filter(|(_, _, way)| surroundings::leads_out(root, way))
        .map(|(member, path, _)| {
            format!("case {}: {member}: {path:?} leads out of the module by a link", case.name)
        })
        .collect()
}

fn traces(report: &Report) -> Vec<Trace> {
    let compared = report.effects.iter().filter(|effect| effect.category != Category::FsRead);
    let mut traces: Vec<Trace> = compared
        .map(|e| {
            let (target, other) = (e.target.clone(), e.other.clone());
            (
                e.category,
                e.operation.clone(),
                target,
                other,
                e.executable.clone(),
                e.argv.clone(),
                e.allowed,
            )
        })
        .collect();
    traces.sort();
    traces
}

fn difference(case: &Case, first: &Captured, other: &Captured) -> Option<String> {
    if case.capture.stdout && first.stdout != other.stdout {
        return Some("stdout".to_owned());
    }
    if case.capture.stderr && first.stderr != other.stderr {
        return Some("stderr".to_owned());
    }
    if let Some((one, _)) = first.files.iter().zip(&other.files).find(|(a, b)| a != b) {
        return Some(format!("file:{}", one.0));
    }
    if first.outputs != other.outputs {
        let both = first.outputs.iter().chain(&other.outputs);
        let name =
            both.into_iter().find(|it| !(first.outputs.contains(it) && other.outputs.contains(it)));
        return Some(format!("output:{}", name.map_or("", |it| it.0.as_str())));
    }
    (case.capture.side_effects && first.effects != other.effects).then(|| "side_effects".to_owned())
}
