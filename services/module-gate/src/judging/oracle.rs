//! Runs oracle cases: identical attempts, then one in varied surroundings; every captured thing
//! compared with the first (M8).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use guard::{Exit, Report};
use serde::Serialize;
use tokio::time::Instant;
use wire::statement::Code;

use crate::judging::capture::{self, Captured};
use crate::judging::divergence::{self, Cause, Class, Difference, Divergence, Window};
use crate::judging::finding::{self, Finding, Observations};
use crate::judging::inputs;
use crate::module::manifest::Manifest;
use crate::module::spec::Case;
use crate::module::variation::{Variation, Variations};
use crate::sandbox::cleanup;
use crate::sandbox::conditions::{Conditions, NotVaried};
use crate::sandbox::outlet::{self, OutletError, Way};
use crate::sandbox::surroundings;
use crate::sandbox::workspace::{Layout, Workspace};
use crate::sandbox::{self, Job, Sandbox};

/// What a case without a `LUMIO_INPUT` of its own reads.
const EMPTY_INPUT: &[u8] = b"{}";
/// As long may all attempts of a case take together, unless something else is said.
pub const CASE_LIMIT: Duration = Duration::from_secs(600);
/// All bits of a file's mode that a program chooses.
const MODE: u32 = 0o7777;
/// What is left of a mode under another mask: the owner's bits.
const MODE_UNDER_ANY_MASK: u32 = 0o700;

/// Where, and how strictly, the programs of one module are started.
#[derive(Debug)]
pub struct ModuleRunner<'a> {
    /// The sandbox.
    pub sandbox: &'a Sandbox,
    /// The module's folders; the pristine tree is in place.
    pub workspace: &'a Workspace,
    /// The module.
    pub manifest: &'a Manifest,
    /// Whether reads outside are denied rather than listed (M4).
    pub strict_reads: bool,
    /// What attempts are varied in.
    pub variations: Variations,
    /// How long all attempts of one case may take together.
    pub case_limit: Duration,
    /// Set from outside to end everything.
    pub cancel: Arc<AtomicBool>,
}

/// How a case went.
#[derive(Debug, Clone, Serialize)]
pub struct CaseResult {
    /// The case.
    pub name: String,
    /// The spec that holds it.
    pub spec: String,
    /// Identical attempts that were started.
    pub attempts: u32,
    /// Files that the first attempt left in `LUMIO_OUTPUT`.
    pub outputs: usize,
    /// Why it did not pass, if so.
    pub finding: Option<Finding>,
    /// What differs, if something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<Divergence>,
    /// What the last attempt was varied in.
    pub varied: Vec<Variation>,
    /// What it could not be varied in, and why.
    pub not_varied: Vec<NotVaried>,
    /// With 95 % confidence, at most this share of runs differs: 1 − 0.05^(1/n). None unless it
    /// passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// Time over all attempts, in milliseconds.
    pub duration_ms: u64,
}

/// How an attempt ended, and when it ran.
struct Attempt {
    outcome: Result<Captured, Finding>,
    exit: Exit,
    window: Window,
}

impl CaseResult {
    fn new(case: &Case) -> Self {
        Self {
            name: case.name.clone(),
            spec: case.spec.clone(),
            attempts: 0,
            outputs: 0,
            finding: None,
            divergence: None,
            varied: Vec::new(),
            not_varied: Vec::new(),
            at_most: None,
            duration_ms: 0,
        }
    }

    fn fails(&mut self, code: Code, reason: &str) {
        self.finding = Some(Finding::new(code, format!("case {}: {reason}", self.name)));
    }

    /// The reason shows what was printed, which may be a path.
    fn diverges(&mut self, runner: &ModuleRunner<'_>, divergence: Divergence) {
        let layout = runner.workspace.layout();
        let reason = runner.sandbox.shorten(layout, &divergence.to_string());
        self.fails(Code::OracleNondeterminism, &reason);
        self.divergence = Some(divergence);
    }
}

/// Runs all attempts of a case and compares them. Blocking.
///
/// # Errors
/// The disk's own, which says nothing about the module.
pub fn run(
    runner: &ModuleRunner<'_>,
    case: &Case,
    observations: &mut Observations,
) -> io::Result<CaseResult> {
    let started = Instant::now();
    let mut result = CaseResult::new(case);
    let first = repeat(runner, case, observations, started, &mut result)?;
    if let (Some(first), None) = (&first, &result.finding) {
        vary(runner, case, observations, first, &mut result)?;
    }
    if result.finding.is_none() {
        let attempts = f64::from(result.attempts + u32::from(!result.varied.is_empty()));

        // If a share p of runs differed, n equal ones would have the probability (1 - p)^n: the
        // bound is where that is 5 %.
        result.at_most = Some(1.0 - 0.05_f64.powf(1.0 / attempts));
    }
    result.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(result)
}

/// The identical attempts. Answers what the first one left, unless it did not pass.
fn repeat(
    runner: &ModuleRunner<'_>,
    case: &Case,
    observations: &mut Observations,
    started: Instant,
    result: &mut CaseResult,
) -> io::Result<Option<Captured>> {
    let usual = (runner.workspace.layout().clone(), Conditions::default());
    let mut first: Option<(Captured, Window, Exit)> = None;
    for number in 1..=case.attempts {
        // Asked before each attempt, so that a case ends between two of them and never in one.
        if started.elapsed() > runner.case_limit {
            let reason = format!(
                "{} of {} attempts were equal when the time limit of {} ms for a case was reached: \
                 repeat less, or raise --case-limit-ms",
                number - 1,
                case.attempts,
                runner.case_limit.as_millis()
            );
            result.fails(Code::GuardIncomplete, &reason);
            return Ok(None);
        }

        result.attempts = number;
        let name = format!("case {}, attempt {number}", case.name);
        let attempt = attempt(runner, case, (&usual.0, &usual.1), Some((&name, observations)))?;
        let captured = match attempt.outcome {
            Ok(captured) => captured,
            Err(finding) => {
                let mut reason = format!("attempt {number}: {}", finding.reason);

                // The first attempt passed, so it ended with another code: both are named.
                if let (Some((_, _, exit)), Code::OracleExec) = (&first, finding.code) {
                    let (then, now) = (finding::exit_text(exit), finding::exit_text(&attempt.exit));
                    if then != now {
                        reason = format!(
                            "attempt {number} ended {now}, attempt 1 {then}: {}",
                            finding.reason
                        );
                    }
                }
                result.fails(finding.code, &reason);
                return Ok(None);
            }
        };
        let Some((first, window, _)) = &first else {
            result.outputs = captured.outputs.len();
            first = Some((captured, attempt.window, attempt.exit));
            continue;
        };
        if let Some(difference) = divergence::compare(case, first, &captured, MODE) {
            let windows = (*window, attempt.window);
            let divergence = explain_repeat(runner, case, &difference, number, windows)?;
            result.diverges(runner, divergence);
            return Ok(None);
        }
    }
    Ok(first.map(|(captured, ..)| captured))
}

/// One attempt more, with everything varied at once that the case leaves open and this host can
/// vary.
fn vary(
    runner: &ModuleRunner<'_>,
    case: &Case,
    observations: &mut Observations,
    first: &Captured,
    result: &mut CaseResult,
) -> io::Result<()> {
    let open = runner.variations.unpinned(case);
    let unavailable = |variation: &Variation| runner.sandbox.unavailable(*variation, &case.entry);
    result.not_varied = open.iter().filter_map(unavailable).collect();
    let possible: Vec<Variation> =
        open.into_iter().filter(|variation| unavailable(variation).is_none()).collect();
    if possible.is_empty() || runner.cancelled() {
        return Ok(());
    }

    let name = format!("case {}, varied attempt", case.name);
    let attempt = varied_attempt(runner, case, &possible, Some((&name, observations)))?;
    result.varied.clone_from(&possible);
    let difference = match attempt.outcome {
        Ok(captured) => divergence::compare(case, first, &captured, mode_mask(&possible)),
        // A violation is one in any surroundings, and what the host could not do says nothing.
        Err(finding) if finding.code != Code::OracleExec => {
            result.fails(finding.code, &format!("in varied surroundings: {}", finding.reason));
            return Ok(());
        }
        Err(finding) => Some(Difference::in_words("exit", finding.reason)),
    };
    let Some(difference) = difference else { return Ok(()) };

    let mut causes = find_causes(runner, case, first, &possible)?;

    // A folder in memory lies at another path too, so a path alone explains both.
    if causes.contains(&Variation::Path) {
        causes.retain(|cause| *cause != Variation::DirectoryOrder);
    }

    // The locale is varied by variables too: a program that lists them all depends on the
    // environment.
    let class = match causes.first() {
        _ if causes.contains(&Variation::Environment) => Class::Environment,
        Some(cause) => Class::from(*cause),
        None => Class::Unknown,
    };
    let number = case.attempts + 1;
    let cause = Cause::Variation;
    result.diverges(runner, Divergence::new(&difference, number, cause, causes, class, None));
    Ok(())
}

fn mode_mask(variations: &[Variation]) -> u32 {
    if variations.contains(&Variation::Umask) { MODE_UNDER_ANY_MASK } else { MODE }
}

/// The variations of `suspects` that each make a difference alone, by halving; all of `suspects`
/// where only several together do.
fn find_causes(
    runner: &ModuleRunner<'_>,
    case: &Case,
    first: &Captured,
    suspects: &[Variation],
) -> io::Result<Vec<Variation>> {
    if suspects.len() == 1 {
        return Ok(suspects.to_vec());
    }

    // Each half is tried alone: several variations may each make the difference, so both halves are
    // searched, which takes at most about 2 · n attempts for n causes.
    let (left, right) = suspects.split_at(suspects.len() / 2);
    let mut causes = Vec::new();
    for half in [left, right] {
        if runner.cancelled() {
            break;
        }
        if differs(runner, case, first, half)? {
            causes.extend(find_causes(runner, case, first, half)?);
        }
    }

    // Neither half differs alone: only several of them together do.
    Ok(if causes.is_empty() { suspects.to_vec() } else { causes })
}

fn differs(
    runner: &ModuleRunner<'_>,
    case: &Case,
    first: &Captured,
    variations: &[Variation],
) -> io::Result<bool> {
    let attempt = varied_attempt(runner, case, variations, None)?;
    Ok(match attempt.outcome {
        Ok(captured) => {
            divergence::compare(case, first, &captured, mode_mask(variations)).is_some()
        }
        Err(_) => true,
    })
}

fn varied_attempt(
    runner: &ModuleRunner<'_>,
    case: &Case,
    variations: &[Variation],
    record: Option<(&str, &mut Observations)>,
) -> io::Result<Attempt> {
    let memory = runner.sandbox.memory.as_deref().map(sandbox::memory::MemoryFolder::path);
    let layout = runner.workspace.varied(variations, memory).map_err(io::Error::other)?;
    let preload = runner.workspace.helper(inputs::CLOCK_FILE, inputs::SHIFT_CLOCK)?;
    let hour = chassis::clock::now().hour();
    let conditions = Conditions::varied(variations, preload, hour);
    attempt(runner, case, (&layout, &conditions), record)
}

/// Why identical attempts differ: by what differs, and by what the program asks when it is run once
/// more.
fn explain_repeat(
    runner: &ModuleRunner<'_>,
    case: &Case,
    difference: &Difference,
    number: u32,
    windows: (Window, Window),
) -> io::Result<Divergence> {
    let mut inputs = BTreeMap::new();

    // Only Node can load the listing.
    if sandbox::is_node(&case.entry) && !runner.cancelled() {
        let preload = runner.workspace.helper("list-inputs.cjs", inputs::LIST_INPUTS)?;
        let conditions = Conditions { preload: Some(preload), ..Conditions::default() };
        let layout = runner.workspace.layout().clone();
        inputs = asked_inputs(runner, case, &layout, &conditions)?;
    }
    let class = divergence::classify(difference, windows, &inputs);

    let kind = match class {
        Class::Clock => "clock",
        Class::Random => "random",
        Class::Pid => "pid",
        Class::FileTimes => "file_times",
        Class::Memory => "memory",
        _ => "concurrency",
    };
    let module = runner.workspace.layout().module.display().to_string();
    let last = inputs.get(kind).map(|input| {
        let place = input.place.replace("file://", "").replace(&format!("{module}/"), "");
        if place.is_empty() { input.what.clone() } else { format!("{} at {place}", input.what) }
    });
    Ok(Divergence::new(difference, number, Cause::Repeat, Vec::new(), class, last))
}

fn asked_inputs(
    runner: &ModuleRunner<'_>,
    case: &Case,
    layout: &Layout,
    conditions: &Conditions,
) -> io::Result<BTreeMap<String, inputs::Input>> {
    Ok(start_attempt(runner, case, layout, conditions)?
        .map_or_else(|_| BTreeMap::new(), |report| inputs::listed(&report.stderr.bytes)))
}

/// One attempt from a fresh copy. What is recorded counts for the module; what is not only
/// explains.
fn attempt(
    runner: &ModuleRunner<'_>,
    case: &Case,
    (layout, conditions): (&Layout, &Conditions),
    record: Option<(&str, &mut Observations)>,
) -> io::Result<Attempt> {
    let from_ms = now_ms();
    let started = start_attempt(runner, case, layout, conditions)?;
    let window = Window { from_ms, to_ms: now_ms() };
    let report = match started {
        Ok(report) => report,
        Err(finding) => {
            return Ok(Attempt { outcome: Err(finding), exit: Exit::NotStarted, window });
        }
    };

    if let Some((name, observations)) = record {
        observations.add(name, &report, layout);
    }
    let exit = report.exit.clone();
    let shorten = |text: &str| runner.sandbox.shorten(layout, text);
    let outcome = match finding::from_report(&report, shorten) {
        Some(finding) => Err(finding),
        None => capture::capture(layout, &runner.workspace.pristine(), case, report)?,
    };
    Ok(Attempt { outcome, exit, window })
}

fn start_attempt(
    runner: &ModuleRunner<'_>,
    case: &Case,
    layout: &Layout,
    conditions: &Conditions,
) -> io::Result<Result<Report, Finding>> {
    runner.workspace.prepare_at(layout, conditions, EMPTY_INPUT)?;

    // Looked at again in the copy: a link of the module may mean another place there.
    if let Some(mistake) = escaping_paths(&layout.module, case).pop() {
        return Ok(Err(Finding::new(Code::OracleSpec, mistake)));
    }
    for path in &case.reset {
        cleanup::remove(&layout.module.join(path))?;
    }
    Ok(runner.start(
        (layout, conditions),
        (&case.entry, &case.args, &case.cwd),
        &case.env,
        case.timeout_ms,
    ))
}

fn now_ms() -> i128 {
    chassis::clock::now().unix_timestamp_nanos() / 1_000_000
}

impl ModuleRunner<'_> {
    /// Whether everything is to end.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Starts a program of the prepared copy: its path, arguments and working directory.
    ///
    /// # Errors
    /// A finding if it cannot be started: the module's fault if the program is not there, else the
    /// host's.
    pub fn start(
        &self,
        (layout, conditions): (&Layout, &Conditions),
        (entry, args, cwd): (&str, &[String], &str),
        env: &BTreeMap<String, String>,
        wall_ms: u64,
    ) -> Result<Report, Finding> {
        if let Some(fault) = sandbox::fault(&layout.module, entry) {
            return Err(Finding::new(Code::OracleExec, fault));
        }
        if !layout.module.join(cwd).is_dir() {
            return Err(Finding::new(
                Code::OracleExec,
                format!("the folder {cwd:?} is not in the module"),
            ));
        }

        // Recorded answers cost nothing, so that no budget binds.
        let budgets = outlet::unlimited();
        let pristine = self.workspace.pristine();
        let opened = outlet::open(self.sandbox, self.manifest, &pristine, budgets, Way::Recorded);
        let proxy = opened.map_err(|error| {
            let code = match &error {
                OutletError::Host(_) => Code::GuardIncomplete,
                OutletError::Refused(_) | OutletError::Recording(_) => Code::OracleSpec,
            };
            Finding::new(code, error.to_string())
        })?;
        let job = Job {
            layout,
            conditions,
            manifest: self.manifest,
            entry,
            args,
            cwd,
            env,
            // The same for every attempt.
            seed: 0,
            wall_ms,
            strict_reads: self.strict_reads,
            proxy: proxy.as_ref(),
            cancel: Arc::clone(&self.cancel),
        };
        let ran = self.sandbox.run(&job);
        let mut report = ran.map_err(|error| {
            let reason = self.sandbox.shorten(layout, &error.to_string());
            Finding::new(Code::GuardIncomplete, reason)
        })?;
        let used = proxy.map(egress::Proxy::finish);
        if let Some(missing) = used.as_ref().and_then(|used| used.missing.first())
            && report.verdict == guard::Verdict::Fail
        {
            // The likeliest cause, which the module itself may not have said.
            report.reason = format!("{}; {missing}: `module-gate run --record`", report.reason);
        }
        Ok(report)
    }
}

/// What of a case leads out of the module in the folder `root` by a link (M5). That no path of it
/// does so by its name is known before.
pub fn escaping_paths(root: &Path, case: &Case) -> Vec<String> {
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
