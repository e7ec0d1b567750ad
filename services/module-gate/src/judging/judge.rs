//! Judges a whole module for shipping: its manifest, its tests, its oracle cases, all in the guard
//! (R8).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use guard::{Exit, Limits};
use seal::tree::Tree;
use serde::Serialize;
use serde_json::json;
use wire::digest::Digest;
use wire::statement::{Code, OracleCount, TestCount};

use crate::judging::checks;
use crate::judging::finding::{self, Finding, Observations};
use crate::judging::oracle::{self, CaseResult, ModuleRunner};
use crate::module::document::Invalid;
use crate::module::manifest::{self, Manifest, Test};
use crate::module::spec::{self, Spec};
use crate::module::variation::Variations;
use crate::sandbox::conditions::Conditions;

/// Name of this policy; another text is another policy.
const POLICY: &str = "lumio-shipping-v2";
/// Wall limit of one test, in milliseconds.
const TEST_WALL_MS: u64 = 60_000;
const SKIPPED: i32 = 64;

/// What a module brings to be judged.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its `module.json`.
    pub manifest: Manifest,
    /// Its own specs, sorted by path.
    pub specs: Vec<Spec>,
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub struct Judgement {
    /// Counts of tests.
    pub tests: TestCount,
    /// Counts of oracle cases.
    pub oracle: OracleCount,
    /// Everything the guard saw.
    pub observations: Observations,
    /// All that speaks against a PASS, in the order it was found.
    pub findings: Vec<Finding>,
    /// What deserves a word although it decides nothing.
    pub warnings: Vec<String>,
    /// Every case.
    pub cases: Vec<CaseResult>,
    /// Every test, in the order of the manifest.
    pub test_results: Vec<TestResult>,
}

/// How one test went.
#[derive(Debug, Clone, Serialize)]
pub struct TestResult {
    /// The test as the manifest names it.
    pub test: String,
    /// How it ended.
    pub status: TestStatus,
    /// Why it did not pass, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
    /// What it did or tried.
    #[serde(skip)]
    pub observations: Observations,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TestStatus {
    /// With exit code 0.
    Passed,
    /// With exit code 64 and a line that says so.
    Skipped,
    /// In any other way.
    Failed,
}

impl Judgement {
    /// Counts a case.
    pub fn add(&mut self, result: CaseResult) {
        self.oracle.cases += 1;
        self.oracle.attempts += result.attempts;
        self.oracle.passed += u32::from(result.finding.is_none());
        self.findings.extend(result.finding.clone());
        self.cases.push(result);
    }

    /// The finding that is stated: forbidden before undeclared before what was found first; that
    /// the host could not decide comes last, since a proven failure stays proven (M1, M2).
    pub fn decisive(&self) -> Option<&Finding> {
        // Of equal ones `min_by_key` answers the first, which is the one that was found first.
        self.findings.iter().min_by_key(|finding| match finding.code {
            Code::SideEffectsForbidden => 0,
            Code::SideEffectsDeclaration => 1,
            Code::GuardIncomplete => 3,
            _ => 2,
        })
    }
}

/// Reads the manifest and the module's own specs from the folder `root`, whose inventory is `tree`.
///
/// # Errors
/// The finding that ends the judgement before anything is started.
pub fn read(root: &Path, tree: &Tree) -> Result<Candidate, Finding> {
    let manifest = manifest(root)?;
    let mut specs = Vec::new();
    for file in tree
        .files()
        .iter()
        .filter(|file| file.path.starts_with(spec::DIR) && file.path.ends_with(".json"))
    {
        let spec = load(root, &file.path).and_then(|bytes| spec::parse(&file.path, &bytes));
        let spec = spec.and_then(|spec| addressed(&file.path, spec, &manifest));
        specs.push(spec.map_err(|invalid| Finding::new(Code::OracleSpec, invalid.to_string()))?);
    }
    if specs.iter().map(|spec| spec.cases.len()).sum::<usize>() > spec::MAX_CASES {
        return Err(Finding::new(
            Code::OracleSpec,
            format!("there are more than {} oracle cases", spec::MAX_CASES),
        ));
    }
    Ok(Candidate { manifest, specs })
}

/// Reads what a run needs: the manifest, and the entry it must name.
///
/// # Errors
/// The finding that ends the run before anything is started.
pub fn entry(root: &Path) -> Result<(Manifest, String), Finding> {
    let manifest = manifest(root)?;
    match manifest.entry.clone() {
        Some(entry) => Ok((manifest, entry)),
        None => Err(Finding::new(
            Code::ModuleInvalid,
            "module.json: /entry: it is needed to be executed",
        )),
    }
}

fn manifest(root: &Path) -> Result<Manifest, Finding> {
    let manifest = load(root, manifest::FILE).and_then(|bytes| manifest::parse(&bytes));
    manifest.map_err(|invalid| Finding::new(Code::ModuleInvalid, invalid.to_string()))
}

fn load(root: &Path, path: &str) -> Result<Vec<u8>, Invalid> {
    fs::read(root.join(path)).map_err(|error| Invalid::one(path, error.to_string()))
}

/// A spec in a module's folder speaks of that module.
fn addressed(file: &str, spec: Spec, manifest: &Manifest) -> Result<Spec, Invalid> {
    if spec.module == manifest.id {
        return Ok(spec);
    }
    Err(Invalid::one(
        file,
        format!("/module: it names {:?}, the module is {:?}", spec.module, manifest.id),
    ))
}

/// Judges what [`read`] found in `tree`. Everything runs and is counted, also after a failure (M9),
/// unless it is cancelled: then nothing is proven by what comes out. Blocking.
///
/// # Errors
/// The disk's own, which says nothing about the module.
pub fn judge(
    runner: &ModuleRunner<'_>,
    specs: &[Spec],
    tree: &Tree,
    progress: &dyn Fn(&str),
) -> io::Result<Judgement> {
    let mut judgement = Judgement::default();
    let files: Vec<String> = tree.files().iter().map(|file| file.path.clone()).collect();
    let flaws = checks::all(runner.manifest, &runner.workspace.pristine(), &files);
    judgement.findings.extend(flaws.into_iter().map(|flaw| flaw.finding));

    for test in &runner.manifest.tests {
        if runner.cancelled() {
            return Ok(judgement);
        }
        progress(&format!("test {}", test.path()));
        run_test(runner, test, TEST_WALL_MS, &mut judgement)?;
    }
    let cases: Vec<_> = specs.iter().flat_map(|spec| &spec.cases).collect();
    if cases.is_empty() {
        judgement.findings.push(Finding::new(
            Code::OracleMissing,
            "there is no oracle case under oracles/specs/",
        ));
    }
    for case in cases {
        if runner.cancelled() {
            return Ok(judgement);
        }
        progress(&format!("oracle case {}", case.name));
        let result = oracle::run(runner, case, &mut judgement.observations)?;
        judgement.add(result);
    }
    judgement.warnings.extend(output_warning(runner.manifest, &judgement.cases));
    Ok(judgement)
}

/// A module that is run for its outputs and leaves none in any of its cases: its first run would
/// find that out, since it is `E_OUTPUT_MISSING`.
pub fn output_warning(manifest: &Manifest, cases: &[CaseResult]) -> Option<String> {
    let silent =
        manifest.entry.is_some() && !cases.is_empty() && cases.iter().all(|case| case.outputs == 0);
    silent.then(|| {
        "no oracle case left a file in LUMIO_OUTPUT; a run that leaves none is E_OUTPUT_MISSING: \
         write a file there, or add a case whose entry is the module's own"
            .to_owned()
    })
}

/// Runs one test in its own copy of the module.
///
/// # Errors
/// The disk's own, which says nothing about the module.
pub fn run_test(
    runner: &ModuleRunner<'_>,
    test: &Test,
    wall_ms: u64,
    judgement: &mut Judgement,
) -> io::Result<()> {
    runner.workspace.prepare(b"{}")?;
    let layout = runner.workspace.layout();
    let (entry, args) = match test {
        Test::Script(path) => (path.as_str(), Vec::new()),
        Test::Described(path) => {
            let text = |path: &Path| path.to_string_lossy().into_owned();
            let spec = text(&layout.module.join(path));
            let args = ["--spec", &spec, "--moduleRoot", &text(&layout.module)];
            ("tests/runner.mjs", args.map(str::to_owned).to_vec())
        }
    };

    let conditions = Conditions::default();
    let program = (entry, &args[..], "");
    let started = runner.start((layout, &conditions), program, &BTreeMap::new(), wall_ms);
    let mut result = TestResult {
        test: test.path().to_owned(),
        status: TestStatus::Failed,
        finding: None,
        duration_ms: 0,
        observations: Observations::default(),
    };
    match started {
        Ok(report) => {
            result.duration_ms = report.wall_ms;
            result.observations.add(&format!("test {}", test.path()), &report, layout);

            // Violations are judged before exit codes: a skip hides none (M2).
            let shorten = |text: &str| runner.sandbox.shorten(layout, text);
            match finding::from_report(&report, shorten) {
                None => result.status = TestStatus::Passed,
                Some(finding) if finding.code == Code::OracleExec => {
                    if report.exit == Exit::Code(SKIPPED) && says_skip(&report.stdout.bytes) {
                        result.status = TestStatus::Skipped;
                    } else {
                        result.finding = Some(Finding { code: Code::Test, ..finding });
                    }
                }
                Some(finding) => result.finding = Some(finding),
            }
        }
        // The host's trouble stays the host's; whatever else keeps a test from starting fails the
        // test.
        Err(finding) if finding.code == Code::GuardIncomplete => result.finding = Some(finding),
        Err(finding) => result.finding = Some(Finding { code: Code::Test, ..finding }),
    }

    result.finding = result.finding.map(|finding| {
        let reason = format!("test {}: {}", test.path(), finding.reason);
        Finding::new(finding.code, reason)
    });
    judgement.tests.total += 1;
    judgement.tests.passed += u32::from(result.status == TestStatus::Passed);
    judgement.tests.skipped += u32::from(result.status == TestStatus::Skipped);
    judgement.findings.extend(result.finding.clone());
    judgement.observations.merge(&result.observations);
    judgement.test_results.push(result);
    Ok(())
}

/// Whether a line begins with `SKIP` or `TEST_SKIPPED`, or is a JSON object whose event is one.
fn says_skip(stdout: &[u8]) -> bool {
    let is_word = |text: &str| {
        let word =
            text.split(|c: char| c != '_' && !c.is_alphanumeric()).next().unwrap_or_default();
        ["SKIP", "TEST_SKIPPED"].iter().any(|skip| word.eq_ignore_ascii_case(skip))
    };
    String::from_utf8_lossy(stdout).lines().map(str::trim).any(|line| {
        let event = serde_json::from_str::<serde_json::Value>(line).ok();
        let event =
            event.as_ref().and_then(|event| event.get("event").or_else(|| event.get("tm_event")));
        is_word(line) || event.and_then(|name| name.as_str()).is_some_and(is_word)
    })
}

/// Digest of everything about this judge that could change a verdict, beside the module and the
/// host.
pub fn policy_digest(
    strict_reads: bool,
    pinned: bool,
    variations: &Variations,
    limits: &Limits,
) -> Digest {
    // Kept verdicts hang on this digest (M10): what changes a verdict has to change this text.
    let policy = json!({
        "policy": POLICY,
        "guard": finding::GUARD_VERSION,
        "test_wall_ms": TEST_WALL_MS,
        "variations": variations.to_string(),
        "reads": if strict_reads { "deny" } else { "list" },
        "processors": if pinned { "one" } else { "all" },
        "processes": limits.processes,
        "memory_bytes": limits.memory_bytes,
        "file_bytes": limits.file_bytes,
        "tree_bytes": limits.tree_bytes,
        "tree_entries": limits.tree_entries,
        "stdout_bytes": limits.stdout_bytes,
        "stderr_bytes": limits.stderr_bytes,
    });
    wire::json::digest(&policy).expect("plain values have a canonical form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_needs_its_line() {
        for line in [
            "SKIP no git here",
            "ok\nTEST_SKIPPED",
            "skip: x",
            r#"{"event":"TEST_SKIPPED"}"#,
            r#"{"tm_event":"skip"}"#,
        ] {
            assert!(says_skip(line.as_bytes()), "{line}");
        }
        for line in ["", "SKIPPED", "we SKIP", r#"{"event":"PASS"}"#] {
            assert!(!says_skip(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn a_violation_outranks_what_was_found_before_it() {
        let finding = |code| Finding::new(code, "");
        let findings = [
            Code::GuardIncomplete,
            Code::Test,
            Code::SideEffectsDeclaration,
            Code::SideEffectsForbidden,
        ]
        .map(finding)
        .to_vec();
        let mut judgement = Judgement { findings, ..Judgement::default() };
        assert_eq!(judgement.decisive().unwrap().code, Code::SideEffectsForbidden);
        judgement.findings.truncate(2);
        assert_eq!(judgement.decisive().unwrap().code, Code::Test);
    }
}
