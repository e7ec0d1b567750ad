//! One run of a gate: its phases, in order, each over all modules.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use chassis::{files, process};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use wire::digest::Digest;
use wire::statement::{Code, Verdict};

use super::events::{Events, Options};
use super::{
    GateFailure, GateSummary, ModuleDetail, NpmPack, OracleTotals, Phase, Results, Runtime,
    SideEffects, Status, TestTotals, Warning, npm,
};
use crate::judging::checks;
use crate::judging::effects::SideEffectSummary;
use crate::judging::judge::{self, Judgement, TestStatus};
use crate::judging::oracle;
use crate::local::modules::{self, Local, LocalModule};
use crate::module::compose::{self, Plan};
use crate::module::document::{Invalid, nearest};
use crate::module::manifest::Manifest;
use crate::module::spec::Case;
use crate::sandbox::look_up;
use crate::sandbox::workspace::Workspace;

/// Which gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Manifests and imports only: nothing is started.
    Conceptual,
    /// Everything.
    Shipping,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Conceptual => "conceptual",
            Self::Shipping => "shipping",
        }
    }
}

/// What a gate is asked to do.
#[derive(Debug)]
pub struct GateRun<'a> {
    /// Which gate.
    pub mode: Mode,
    /// The plan's file.
    pub compose: &'a Path,
    /// Overrides of the plan.
    pub overrides: Option<&'a Path>,
    /// Folder that holds one folder for each module.
    pub modules_root: &'a Path,
    /// Whether oracles are run.
    pub with_oracles: bool,
    /// Patterns of specs.
    pub specs: &'a [String],
    /// Whether only specs are run that the modules bring along.
    pub own_specs_only: bool,
    /// Whether it fails where no spec matches.
    pub require_oracles: bool,
    /// Where events go.
    pub events: Options<'a>,
    /// A command that gets the summary.
    pub hook: Option<&'a str>,
    /// Whether npm packages are packed.
    pub npm_pack: bool,
    /// Longest wall time of one test, in milliseconds.
    pub timeout_ms: u64,
    /// The programs' search path.
    pub path: &'a str,
}

/// A module of the plan on its way through the phases.
struct Candidate {
    manifest: Manifest,
    workspace: Workspace,
    digest: Digest,
    files: Vec<String>,
    judgement: Judgement,
}

/// What is gathered on the way.
struct Gate<'a> {
    local: &'a Local<'a>,
    run: &'a GateRun<'a>,
    events: Events<'a>,
    failures: Vec<GateFailure>,
    warnings: Vec<Warning>,
    phases: Vec<Phase>,
}

/// Runs a gate to its end. A failure of a module is in the summary.
///
/// # Errors
/// [`Invalid`] for a plan or a spec that cannot be used; the disk's own.
pub fn run<'a>(local: &'a Local<'a>, run: &'a GateRun<'a>) -> anyhow::Result<GateSummary> {
    let started = Instant::now();
    let mut plan = read_plan(run.compose)?;
    let mut applied = None;
    if let Some(path) = run.overrides {
        let bytes = files::read(path).with_context(|| format!("--overrides {}", path.display()))?;
        let name = path.display().to_string();
        applied = Some(
            plan.apply(&name, &bytes).map_err(|invalid| coded("E_COMPOSE_OVERRIDES", invalid))?,
        );
    }
    if run.mode == Mode::Shipping && plan.wiring.is_empty() && plan.constraints.is_empty() {
        let name = run.compose.display().to_string();
        let mistake = "/: expected wiring or constraints in a plan that ships";
        return Err(coded("E_COMPOSE", Invalid::one(&name, mistake)));
    }

    let events = Events::open(&run.events, &plan.run_id, run.mode.name(), plan.digest())?;
    let mut gate =
        Gate { local, run, events, failures: Vec::new(), warnings: Vec::new(), phases: Vec::new() };
    let compose_path = run.compose.display().to_string();
    gate.events.emit(
        "GATES_START",
        json!({ "modules_total": plan.modules.len(), "compose_path": compose_path }),
    )?;
    if let (Some(applied), Some(path)) = (&applied, run.overrides) {
        let mut detail = serde_json::to_value(applied)?;
        detail["overrides_path"] = json!(path.display().to_string());
        gate.events.emit("COMPOSE_OVERRIDES_APPLIED", detail)?;
    }

    // Specs are read before anything is started: a malformed one ends the gate here.
    let ids: Vec<String> = plan.modules.iter().map(|module| module.id.clone()).collect();
    let discovery = if run.with_oracles && run.mode == Mode::Shipping {
        Some(modules::find(run.modules_root, run.specs, Some(&ids), run.own_specs_only)?)
    } else {
        None
    };

    let mut candidates = gate.manifests(&plan)?;
    let manifests: Vec<Manifest> = candidates.iter().map(|one| one.manifest.clone()).collect();
    let (providers, mistakes) = compose::analyse(&plan, &manifests);
    for mistake in mistakes {
        gate.failures.push(GateFailure::new(
            mistake.code,
            mistake.module.as_deref(),
            mistake.error,
        ));
    }
    gate.end_phase("manifest_validation", started, 0)?;
    gate.lint(&candidates)?;
    gate.tests(&mut candidates)?;
    gate.typecheck(&candidates)?;
    let (cases, specs, notices) = match discovery {
        Some(found) => (
            Some(
                found.found.into_iter().map(|found| (found.name, found.cases)).collect::<Vec<_>>(),
            ),
            found.specs,
            found.notices,
        ),
        None => (None, Vec::new(), Vec::new()),
    };
    for notice in notices {
        gate.warn("WARN_SPEC_UNMATCHED", None, notice)?;
    }
    gate.oracles(&mut candidates, cases.as_deref())?;
    let npm_pack = gate.npm_pack(&candidates)?;
    gate.summarise(plan, candidates, (providers, specs, npm_pack), started)
}

fn read_plan(path: &Path) -> anyhow::Result<Plan> {
    let bytes = files::read(path).map_err(|error| {
        coded("E_COMPOSE", Invalid::one(&path.display().to_string(), error.to_string()))
    })?;
    Plan::parse(&path.display().to_string(), &bytes).map_err(|invalid| coded("E_COMPOSE", invalid))
}

/// The plan is at fault, not a module.
fn coded(code: &'static str, invalid: Invalid) -> anyhow::Error {
    anyhow::Error::new(invalid).context(code)
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Gate<'_> {
    fn warn(
        &mut self,
        code: &'static str,
        module: Option<&str>,
        message: String,
    ) -> io::Result<()> {
        self.events
            .emit("GATES_WARN", json!({ "code": code, "module": module, "message": message }))?;
        self.warnings.push(Warning { code, module: module.map(str::to_owned), message });
        Ok(())
    }

    /// Notes a phase; it failed if failures were added since there were `before`.
    fn end_phase(
        &mut self,
        name: &'static str,
        since: Instant,
        before: usize,
    ) -> anyhow::Result<()> {
        let status = if self.failures.len() > before { Status::Fail } else { Status::Pass };
        self.phases.push(Phase { name, dur_ms: elapsed_ms(since), status });
        self.local.check_complete()
    }

    fn skip_phase(&mut self, name: &'static str) {
        self.phases.push(Phase { name, dur_ms: 0, status: Status::Skipped });
    }

    /// Finds every module of the plan, copies it as the store would hand it out, and reads its
    /// manifest.
    fn manifests(&mut self, plan: &Plan) -> anyhow::Result<Vec<Candidate>> {
        let all = modules::modules(self.run.modules_root)?;
        let mut candidates = Vec::new();
        for planned in &plan.modules {
            let fails =
                |code: &str, error: String| GateFailure::new(code, Some(&planned.id), error);
            let folder = match find_module(&all, &planned.id) {
                Ok(folder) => folder,
                Err(error) => {
                    self.failures.push(fails("E_REQUIRE_UNSAT", error));
                    continue;
                }
            };
            let job = format!("{}.{}", self.local.job, planned.id);
            let workspace = Workspace::create(&self.local.sandbox.scratch, &job)?;
            let tree =
                match modules::copy_alone(&folder, &workspace, &self.local.sandbox.tree_limits) {
                    Ok(tree) => tree,
                    Err(error) => {
                        self.failures
                            .push(fails(Code::ModuleInvalid.as_str(), format!("{error:#}")));
                        continue;
                    }
                };
            let candidate = match judge::read(&workspace.pristine(), &tree) {
                Ok(candidate) => candidate,
                Err(finding) => {
                    self.failures.push(fails(finding.code.as_str(), finding.reason));
                    continue;
                }
            };
            let manifest = candidate.manifest;

            // The plan's mistake: the module is judged anyway.
            if manifest.version != planned.version {
                let error = format!(
                    "the plan names version {}, the module is {}",
                    planned.version, manifest.version
                );
                self.failures.push(fails("E_COMPOSE", error));
            }
            let flaws = checks::requirements(&manifest, self.run.mode == Mode::Shipping);
            self.failures.extend(flaws.iter().map(|flaw| GateFailure::of(flaw, &manifest.id)));
            candidates.push(Candidate {
                manifest,
                workspace,
                digest: tree.digest(),
                files: tree.files().iter().map(|file| file.path.clone()).collect(),
                judgement: Judgement::default(),
            });
        }
        Ok(candidates)
    }

    fn lint(&mut self, candidates: &[Candidate]) -> anyhow::Result<()> {
        let (since, before) = (Instant::now(), self.failures.len());
        for one in candidates {
            let (module, began) = (&one.manifest.id, Instant::now());
            self.events.emit("LINT_START", json!({ "module": module, "lint_tool": "imports" }))?;
            let flaws = checks::lint(&one.workspace.pristine(), &one.files);
            let failures: Vec<_> = flaws.iter().map(|flaw| GateFailure::of(flaw, module)).collect();
            for failure in &failures {
                let detail = json!({ "module": module, "lint_tool": "imports", "code": failure.code,
                    "error": failure.error,
                    "file": failure.file, "line": failure.line, "dur_ms": elapsed_ms(began) });
                self.events.emit("LINT_FAIL", detail)?;
            }
            if failures.is_empty() {
                let detail = json!({ "module": module, "lint_tool": "imports",
                    "dur_ms": elapsed_ms(began) });
                self.events.emit("LINT_PASS", detail)?;
            }
            self.failures.extend(failures);
        }
        self.end_phase("lint", since, before)
    }

    fn tests(&mut self, candidates: &mut [Candidate]) -> anyhow::Result<()> {
        if self.run.mode == Mode::Conceptual {
            self.skip_phase("tests");
            return Ok(());
        }
        let (since, before) = (Instant::now(), self.failures.len());
        for one in candidates {
            let runner = self.local.runner(&one.workspace, &one.manifest);
            for test in &one.manifest.tests {
                self.local.check_complete()?;
                let module = &one.manifest.id;
                self.local.say(&format!("{module}: test {}", test.path()));
                self.events.emit("TEST_START", json!({ "module": module, "test": test.path() }))?;
                judge::run_test(&runner, test, self.run.timeout_ms, &mut one.judgement)?;
                let Some(result) = one.judgement.test_results.last() else { continue };
                let side_effects =
                    SideEffectSummary::new(&one.manifest.side_effects, &result.observations);
                let mut detail = json!({ "module": module, "test": result.test,
                    "dur_ms": result.duration_ms, "side_effects": side_effects });
                let name = match (result.status, &result.finding) {
                    (TestStatus::Passed, _) => "TEST_PASS",
                    (TestStatus::Skipped, _) => {
                        detail["reason"] = json!("exit code 64 with a line that says SKIP");
                        "TEST_SKIPPED"
                    }
                    (TestStatus::Failed, finding) => {
                        let finding = finding.as_ref();
                        detail["code"] = json!(finding.map(|finding| finding.code));
                        detail["error"] = json!(finding.map(|finding| &finding.reason));
                        "TEST_FAIL"
                    }
                };
                self.events.emit(name, detail)?;
                if let Some(finding) = &result.finding {
                    self.failures.push(GateFailure {
                        test: Some(result.test.clone()),
                        ..GateFailure::new(finding.code, Some(module), &finding.reason)
                    });
                }
            }
        }
        self.end_phase("tests", since, before)
    }

    fn typecheck(&mut self, candidates: &[Candidate]) -> anyhow::Result<()> {
        if self.run.mode == Mode::Conceptual {
            self.skip_phase("typecheck");
            return Ok(());
        }
        let (since, before) = (Instant::now(), self.failures.len());
        for one in candidates {
            let (module, began) = (&one.manifest.id, Instant::now());
            let flaws = checks::ports(&one.manifest, &one.workspace.pristine());
            let failures: Vec<_> = flaws.iter().map(|flaw| GateFailure::of(flaw, module)).collect();
            let without = checks::ports_without_export(&one.manifest);
            if !without.is_empty() {
                let message = format!("port_exports names no file for {}", without.join(", "));
                self.warn("WARN_PORT_EXPORTS_MISSING", Some(module), message)?;
            }
            if one.manifest.port_exports.is_empty() {
                continue;
            }
            self.events.emit("PORT_CHECK_START", json!({ "module": module }))?;
            for failure in &failures {
                let detail = json!({ "module": module, "code": failure.code, "error": failure.error,
                    "file": failure.file,
                    "dur_ms": elapsed_ms(began) });
                self.events.emit("PORT_CHECK_FAIL", detail)?;
            }
            if failures.is_empty() {
                self.events.emit(
                    "PORT_CHECK_PASS",
                    json!({ "module": module, "dur_ms": elapsed_ms(began) }),
                )?;
            }
            self.failures.extend(failures);
        }
        self.end_phase("typecheck", since, before)
    }

    fn oracles(
        &mut self,
        candidates: &mut [Candidate],
        cases: Option<&[(String, Vec<Case>)]>,
    ) -> anyhow::Result<()> {
        let Some(cases) = cases else {
            self.skip_phase("oracles");
            return Ok(());
        };
        let (since, before) = (Instant::now(), self.failures.len());
        if cases.is_empty() {
            let message = "no oracle spec matches a module of the plan: oracles are skipped";
            self.local.say(message);
            if self.run.require_oracles {
                self.failures.push(GateFailure::new(
                    Code::OracleMissing,
                    None,
                    "no oracle spec matches a module of the plan",
                ));
            } else {
                self.warn("WARN_ORACLES_SKIPPED", None, message.to_owned())?;
                self.skip_phase("oracles");
                return Ok(());
            }
        }
        for one in candidates {
            let module = one.manifest.id.clone();
            let own = cases.iter().filter(|(name, _)| *name == module).flat_map(|(_, cases)| cases);
            for case in own {
                self.local.check_complete()?;
                self.local.say(&format!("{module}: oracle case {}", case.name));
                self.events.emit(
                    "ORACLE_START",
                    json!({ "module": module, "case": case.name, "spec": case.spec }),
                )?;
                let runner = self.local.runner(&one.workspace, &one.manifest);
                let result = oracle::run(&runner, case, &mut one.judgement.observations)?;
                match &result.finding {
                    None => {
                        let detail = json!({ "module": module, "case": case.name,
                            "attempts": result.attempts });
                        self.events.emit("ORACLE_PASS", detail)?;
                    }
                    Some(finding) => {
                        let detail = json!({ "module": module, "case": case.name,
                            "code": finding.code, "error": finding.reason });
                        self.events.emit("ORACLE_FAIL", detail)?;
                        self.failures.push(GateFailure {
                            case: Some(case.name.clone()),
                            ..GateFailure::new(finding.code, Some(&module), &finding.reason)
                        });
                    }
                }
                one.judgement.add(result);
            }
            if one.judgement.cases.is_empty() {
                // The document lets a plan pass with them; a run of one is refused later.
                let message = "no oracle case is about this module: the service does not ship it \
                               (E_ORACLE_MISSING)";
                self.warn("WARN_ORACLE_MISSING", Some(&module), message.to_owned())?;
            }
            let warning = judge::output_warning(&one.manifest, &one.judgement.cases);
            if let Some(message) = warning {
                self.warn("WARN_OUTPUT_MISSING", Some(&module), message)?;
            }
        }
        self.end_phase("oracles", since, before)
    }

    fn npm_pack(&mut self, candidates: &[Candidate]) -> anyhow::Result<NpmPack> {
        if !self.run.npm_pack || self.run.mode == Mode::Conceptual {
            self.skip_phase("npm_pack");
            return Ok(NpmPack::default());
        }
        let (since, before) = (Instant::now(), self.failures.len());
        let npm = look_up(Path::new("npm"), self.run.path).unwrap_or_else(|| PathBuf::from("npm"));

        // A home of its own, since a configuration found there would decide what is packed.
        let home = tempfile::tempdir()?;
        let mut packed = Vec::new();
        for one in candidates {
            let (module, began) = (&one.manifest.id, Instant::now());
            self.events.emit("NPM_PACK_START", json!({ "module": module }))?;
            match npm::npm_pack(&npm, self.run.path, &one.workspace.pristine(), home.path()) {
                Ok(Some(tarball)) => {
                    let detail = json!({ "module": module, "tarball": tarball,
                        "dur_ms": elapsed_ms(began) });
                    self.events.emit("NPM_PACK_PASS", detail)?;
                    packed.push(module.clone());
                }
                Ok(None) => {
                    self.events.emit(
                        "NPM_PACK_SKIP",
                        json!({ "module": module, "reason": "no package.json" }),
                    )?;
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    self.events.emit(
                        "NPM_PACK_FAIL",
                        json!({ "module": module, "code": "E_NPM_PACK", "error": error }),
                    )?;
                    self.failures.push(GateFailure::new("E_NPM_PACK", Some(module), error));
                }
            }
        }
        if packed.is_empty() && self.failures.len() == before {
            self.warn(
                "WARN_NPM_PACK_NO_WORKSPACE",
                None,
                "no module of the plan is an npm package".to_owned(),
            )?;
        }
        self.end_phase("npm_pack", since, before)?;
        let status = self.phases.last().map_or(Status::Skipped, |phase| phase.status);
        Ok(NpmPack { status, packed })
    }

    /// The last events, the summary and the hook.
    fn summarise(
        mut self,
        plan: Plan,
        candidates: Vec<Candidate>,
        (providers, specs, npm_pack): (Vec<compose::Provider>, Vec<String>, NpmPack),
        started: Instant,
    ) -> anyhow::Result<GateSummary> {
        let mut side_effects = SideEffects::default();
        for one in &candidates {
            let summary =
                SideEffectSummary::new(&one.manifest.side_effects, &one.judgement.observations);
            if self.run.mode == Mode::Shipping {
                let detail = json!({ "module": one.manifest.id, "side_effects": summary });
                self.events.emit("SIDEEFFECTS_SUMMARY", detail)?;
            }
            side_effects.modules.insert(one.manifest.id.clone(), summary);
        }

        let mut all = Judgement::default();
        for one in &candidates {
            all.observations.merge(&one.judgement.observations);
        }
        let tests = totals(&candidates);
        let mut oracles = OracleTotals { specs, ..OracleTotals::default() };
        for counts in candidates.iter().map(|one| one.judgement.oracle) {
            oracles.cases += counts.cases;
            oracles.passed += counts.passed;
            oracles.attempts += counts.attempts;
        }
        oracles.status = self
            .phases
            .iter()
            .find(|phase| phase.name == "oracles")
            .map_or(Status::Skipped, |phase| phase.status);

        let modules: Vec<String> = plan.modules.iter().map(|module| module.id.clone()).collect();
        let mut results = Results::default();
        for module in &modules {
            let failed =
                self.failures.iter().any(|failure| failure.module.as_ref() == Some(module));
            results.failed += u32::from(failed);
            results.passed += u32::from(!failed);
        }
        let detail = json!({ "passed": results.passed, "failed": results.failed,
            "skipped": tests.skipped,
            "modules_total": modules.len(), "dur_ms": elapsed_ms(started), "phases": self.phases });
        self.events.emit("GATES_SUMMARY", detail)?;

        // Asked before the last event, which states the result that these decide.
        let mistakes = self.events.mistakes().to_vec();
        if !mistakes.is_empty() {
            self.failures.push(GateFailure::new("E_EVENT_SCHEMA", None, mistakes.join("; ")));
        }
        let decisive = decisive(&self.failures).cloned();
        let verdict = decisive.as_ref().map_or(Verdict::Pass, |failure| {
            if failure.code == Code::GuardIncomplete.as_str() {
                Verdict::Inconclusive
            } else {
                Verdict::Fail
            }
        });
        let runtime = self.runtime(&all);
        let details = candidates.into_iter().map(|one| ModuleDetail {
            module: one.manifest.id,
            module_digest: Some(one.digest),
            tests: one.judgement.test_results,
            cases: one.judgement.cases,
        });
        let mut summary = GateSummary {
            run_id: plan.run_id.clone(),
            mode: self.run.mode,
            verdict: Some(verdict),
            code: decisive.as_ref().map(|failure| failure.code.clone()),
            error: decisive.as_ref().map(|failure| failure.error.clone()),
            compose_sha256: plan.digest(),
            modules,
            results,
            tests,
            oracles,
            npm_pack,
            side_effects,
            providers,
            failures: self.failures.clone(),
            warnings: self.warnings.clone(),
            runtime,
            details: details.collect(),
            duration_ms: elapsed_ms(started),
            phases: std::mem::take(&mut self.phases),
        };
        if !self.local.strict_reads {
            // Where other people's files could be read, nothing is known about how it does without
            // them (M4).
            summary.verdict = summary.verdict.filter(|verdict| *verdict == Verdict::Fail);
        }

        // The hook hears of failures too, and its own is one.
        if let Some(command) = self.run.hook
            && let Err(error) = run_hook(command, &serde_json::to_value(process::answer(&summary))?)
        {
            let error = format!("{error:#}");
            summary.failures.push(GateFailure::new("E_HOOK", None, error.clone()));

            // A failure that was found before stays the one that decides.
            if summary.code.is_none() {
                summary.verdict = Some(Verdict::Fail);
                (summary.code, summary.error) = (Some("E_HOOK".to_owned()), Some(error));
            }
        }
        self.emit_end(&summary, decisive.as_ref())?;
        Ok(summary)
    }

    fn emit_end(
        &mut self,
        summary: &GateSummary,
        decisive: Option<&GateFailure>,
    ) -> io::Result<()> {
        let Some(code) = &summary.code else {
            return self.events.emit("GATES_PASS", json!({ "dur_ms": summary.duration_ms }));
        };
        let about = |member: fn(&GateFailure) -> &Option<String>| {
            decisive.and_then(|failure| member(failure).clone())
        };
        let detail = json!({
            "code": code,
            "error": summary.error,
            "module": about(|failure| &failure.module),
            "test": about(|failure| &failure.test),
            "case": about(|failure| &failure.case),
            "verdict": summary.verdict,
            "dur_ms": summary.duration_ms,
        });
        self.events.emit("GATES_FAIL", detail)
    }

    fn runtime(&self, all: &Judgement) -> Runtime {
        let sandbox = self.local.sandbox;
        let asked = Command::new(&sandbox.node).arg("--version").output();
        let version = asked.map_or_else(
            |error| error.to_string(),
            |out| String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        );
        let pinned = sandbox.processors.is_some();
        Runtime {
            node: sandbox.node.display().to_string(),
            node_version: version,
            guard: all.observations.guard_info(),
            reads: if self.local.strict_reads { "deny" } else { "list" },
            policy_sha256: judge::policy_digest(
                self.local.strict_reads,
                pinned,
                &self.local.variations,
                &sandbox.limits,
            ),
        }
    }
}

fn find_module(all: &[LocalModule], id: &str) -> Result<PathBuf, String> {
    let called: Vec<&LocalModule> = all.iter().filter(|module| module.is_called(id)).collect();
    match called[..] {
        [module] => Ok(module.folder.clone()),
        [] => {
            let ids: Vec<&str> = all
                .iter()
                .filter_map(|module| module.manifest.as_ref().ok())
                .map(|one| one.id.as_str())
                .collect();
            let near = nearest(id, &ids)
                .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            Err(format!("there is no module {id:?} below --modules-root{near}"))
        }
        [one, other, ..] => Err(format!(
            "{id:?} is the id of two modules: {} and {}",
            one.folder.display(),
            other.folder.display()
        )),
    }
}

fn totals(candidates: &[Candidate]) -> TestTotals {
    let mut tests = TestTotals::default();
    for counts in candidates.iter().map(|one| one.judgement.tests) {
        tests.total += counts.total;
        tests.passed += counts.passed;
        tests.skipped += counts.skipped;
    }

    // A skipped test has not failed.
    tests.failed = tests.total - tests.passed - tests.skipped;
    tests
}

/// The failure that decides: as in the service, forbidden before undeclared before all others, and
/// what the host could not decide last (M1, M2).
fn decisive(failures: &[GateFailure]) -> Option<&GateFailure> {
    failures.iter().min_by_key(|failure| match failure.code.as_str() {
        "E_SIDEEFFECTS_FORBIDDEN" => 0,
        "E_SIDEEFFECTS_DECLARATION" => 1,
        "E_GUARD_INCOMPLETE" => 3,
        _ => 2,
    })
}

/// Runs the hook with the summary on its standard input.
fn run_hook(command: &str, summary: &Value) -> anyhow::Result<()> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        // Standard output belongs to the result.
        .stdout(io::stderr())
        .spawn()
        .context("--hook-cmd could not be started")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read what it gets.
        let written = stdin.write_all(format!("{summary}\n").as_bytes());
        written.or_else(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
        })?;
    }
    let status = child.wait()?;
    if !status.success() {
        anyhow::bail!("--hook-cmd ended with {status}");
    }
    Ok(())
}
