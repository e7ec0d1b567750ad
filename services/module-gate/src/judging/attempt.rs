//! One start of a module's entry for a run: its limits, its judgement, and what is stated of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use guard::Report;
use time::OffsetDateTime;
use wire::digest::Digest;
use wire::egress::{BODIES_FILE, CALLS_FILE, Egress};
use wire::statement::{Code, Execution, Exit, Output as Listed, Verdict};
use wire::usage::Usage;

use crate::error::Error;
use crate::judging::finding::{self, Finding, Observations};
use crate::judging::judge;
use crate::request::Request;
use crate::sandbox::conditions::Conditions;
use crate::sandbox::outlet::{self, OutletError, Way};
use crate::sandbox::outputs::{self, OutputError, OutputFile};
use crate::sandbox::workspace::Workspace;
use crate::sandbox::{self, Job, Sandbox};

/// What a run of the entry left behind.
#[derive(Debug)]
pub struct Attempt {
    /// What the manifest declares.
    pub declared: Vec<String>,
    /// What the guard saw.
    pub observations: Observations,
    /// How it ended.
    pub exit: Exit,
    /// Wall time in milliseconds.
    pub wall_ms: u64,
    /// What it left, sorted by path; empty unless it passed. The list of its calls is among them,
    /// also where it failed.
    pub outputs: Vec<OutputFile>,
    /// What it asked of services; none where it names none, or never ran.
    pub egress: Option<Egress>,
    /// Calls and tokens that are charged, if anything is.
    pub used: Usage,
    /// Answers for a recording.
    pub recorded: Vec<egress::replay::Recorded>,
    /// Why it is no PASS, if so.
    pub finding: Option<Finding>,
}

impl Attempt {
    /// Whether nothing follows from it for the module: then nothing is charged.
    pub fn is_inconclusive(&self) -> bool {
        self.finding.as_ref().is_some_and(|finding| finding.verdict() == Verdict::Inconclusive)
    }
}

/// The limit on wall time that binds a start, in milliseconds, and where it comes from. What a
/// timeout means depends on the origin: only the run's own budget is charged when it is used up
/// (R10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WallLimit {
    /// The run's budget of running time.
    Budget(u64),
    /// The time that is left before the caller's deadline.
    Deadline(u64),
    /// The operator's limit.
    Operator(u64),
}

impl WallLimit {
    /// The least of the three limits of `request`, seen at the moment `now`. Among equal ones the
    /// budget binds, since the run has then had everything it paid for.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the deadline has passed.
    pub fn of(request: &Request, now: OffsetDateTime) -> Result<Self, Error> {
        let now = u64::try_from(now.unix_timestamp()).unwrap_or_default();
        let left = request.deadline_unix.saturating_sub(now).saturating_mul(1_000);
        if left == 0 {
            return Err(Error::Invalid("the deadline has passed".to_owned()));
        }

        let limits = [
            Self::Budget(request.budgets.runtime_ms),
            Self::Operator(request.wall_limit_ms),
            Self::Deadline(left),
        ];

        // `min_by_key` answers the first of equal ones.
        Ok(limits.into_iter().min_by_key(|limit| limit.ms()).unwrap_or(limits[0]))
    }

    /// The limit in milliseconds; 0 if the budget is 0.
    pub fn ms(self) -> u64 {
        match self {
            Self::Budget(ms) | Self::Deadline(ms) | Self::Operator(ms) => ms,
        }
    }
}

/// What is stated of it (M12).
pub fn state(
    request: &Request,
    done: Attempt,
    started_at: OffsetDateTime,
    finished_at: OffsetDateTime,
) -> Execution {
    let verdict = done.finding.as_ref().map_or(Verdict::Pass, Finding::verdict);
    let code = done.finding.as_ref().map(|finding| finding.code);

    // R10: a failure is free unless the budget itself ran out.
    let charged = verdict == Verdict::Pass || code == Some(Code::BudgetExhausted);
    let runtime_ms = if charged { done.wall_ms.min(request.budgets.runtime_ms) } else { 0 };

    // E7: calls that were made are charged also when the module then fails; what is our
    // infrastructure's failure is free.
    let used = if verdict == Verdict::Inconclusive { Usage::default() } else { done.used };
    let listed = |output: OutputFile| Listed {
        path: output.path,
        length: output.length,
        sha256: output.sha256,
    };
    Execution {
        run_id: request.key.run,
        attempt: request.key.attempt,
        vault_run_id: request.vault_run_id,
        user: request.user.clone(),
        workflow_id: request.workflow_id.clone(),
        module_digest: request.module,
        input_digest: request.input_digest,
        seed: request.seed,
        budgets: request.budgets,
        outputs: done.outputs.into_iter().map(listed).collect(),
        usage: Usage { runtime_ms, ..used },
        guard: done.observations.guard(),
        effects: done.observations.effects(&done.declared),
        egress: done.egress,
        exit: done.exit,
        verdict,
        code,
        settlement: None,
        reason: done.finding.map(|finding| finding.reason),
        started_at,
        finished_at,
    }
}

/// Runs the entry once and judges it. Blocking.
///
/// # Errors
/// The disk's own, which says nothing about the module.
pub fn run(
    sandbox: &Sandbox,
    workspace: &Workspace,
    request: &Request,
    (limit, way): (WallLimit, Way),
    cancel: Arc<AtomicBool>,
) -> io::Result<Attempt> {
    let mut attempt = Attempt {
        declared: Vec::new(),
        observations: Observations::default(),
        exit: Exit::Refused,
        wall_ms: 0,
        outputs: Vec::new(),
        egress: None,
        used: Usage::default(),
        recorded: Vec::new(),
        finding: None,
    };
    workspace.prepare(&request.input)?;
    let (manifest, entry) = match judge::entry(&workspace.pristine()) {
        Ok(found) => found,
        Err(finding) => return Ok(Attempt { finding: Some(finding), ..attempt }),
    };
    attempt.declared.clone_from(&manifest.side_effects);
    if let Some(fault) = sandbox::fault(&workspace.layout().module, &entry) {
        return Ok(Attempt { finding: Some(Finding::new(Code::ModuleInvalid, fault)), ..attempt });
    }

    // Nothing would be started with such a limit, so that it is judged here.
    if limit.ms() == 0 {
        let finding = Finding::new(Code::BudgetExhausted, "the run has no budget of running time");
        return Ok(Attempt { finding: Some(finding), exit: Exit::Budget, ..attempt });
    }
    let env = BTreeMap::from([
        ("LUMIO_RUN_ID".to_owned(), request.key.run.to_string()),
        ("LUMIO_ATTEMPT".to_owned(), request.key.attempt.to_string()),
        ("LUMIO_WORKFLOW_ID".to_owned(), request.workflow_id.clone()),
    ]);
    let proxy = match outlet::open(sandbox, &manifest, &workspace.pristine(), request.budgets, way)
    {
        Ok(proxy) => proxy,
        Err(error) => {
            let code = match &error {
                OutletError::Refused(_) => Code::UpstreamRefused,
                OutletError::Recording(_) => Code::ModuleInvalid,
                OutletError::Host(_) => Code::GuardIncomplete,
            };
            return Ok(Attempt { finding: Some(Finding::new(code, error.to_string())), ..attempt });
        }
    };
    let job = Job {
        layout: workspace.layout(),
        conditions: &Conditions::default(),
        manifest: &manifest,
        entry: &entry,
        args: &[],
        cwd: "",
        env: &env,
        seed: request.seed,
        wall_ms: limit.ms(),
        strict_reads: true,
        proxy: proxy.as_ref(),
        cancel,
    };
    let ran = sandbox.run(&job);

    // Only now is it known what is charged: answers that are still coming are waited for.
    let used = proxy.map(egress::Proxy::finish);
    let shorten = |text: &str| sandbox.shorten(workspace.layout(), text);
    let report = match ran {
        Ok(report) => report,
        Err(error) => {
            let reason = shorten(&error.to_string());
            attempt.finding = Some(Finding::new(Code::GuardIncomplete, reason));
            return Ok(attempt);
        }
    };
    attempt.observations.add(
        &format!("attempt {}", request.key.attempt),
        &report,
        workspace.layout(),
    );
    attempt.wall_ms = report.wall_ms;
    attempt.finding = finding::from_report(&report, shorten);
    let budget = used.as_ref().and_then(|used| used.budget.clone());
    let mut attempt = judge_run(attempt, report, (limit, budget), workspace)?;
    if let Some(used) = used {
        add_calls(&mut attempt, used);
    }
    Ok(attempt)
}

/// Adds what was asked of services: the sums, and the list as an output of its own.
fn add_calls(attempt: &mut Attempt, used: egress::Report) {
    let conclusive = !attempt.is_inconclusive();
    let missing = used.missing.first();

    // A recording that lacks an answer is the likeliest cause, which the module may not have said.
    if let (Some(finding), Some(missing)) = (&mut attempt.finding, missing) {
        finding.explain(missing);
    }
    for (path, content) in [(CALLS_FILE, used.list), (BODIES_FILE, used.bodies)] {
        // Of our own failure nothing is charged (E7), and so nothing is listed.
        if content.is_empty() || !conclusive {
            continue;
        }
        let (length, sha256) = (content.len() as u64, Digest::of(&content));
        let path = path.to_owned();
        attempt.outputs.push(OutputFile { path, length, sha256, mode: 0o644, content });
    }
    attempt.outputs.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    attempt.egress = Some(used.egress);
    attempt.used = Usage { runtime_ms: 0, ..used.usage };
    attempt.recorded = used.recorded;
}

fn judge_run(
    mut attempt: Attempt,
    report: Report,
    (limit, budget): (WallLimit, Option<String>),
    workspace: &Workspace,
) -> io::Result<Attempt> {
    attempt.exit = exit(&report);
    let timed_out = report.exit == guard::Exit::Timeout;
    if let Some(finding) = &mut attempt.finding {
        // A violation outranks the end of the run, so only a plain timeout is looked at again.
        if finding.code == Code::OracleExec && timed_out {
            match limit {
                WallLimit::Budget(ms) => {
                    let reason = format!("the budget of {ms} ms running time is used up");
                    *finding = Finding::new(Code::BudgetExhausted, reason);
                    attempt.exit = Exit::Budget;
                }
                WallLimit::Deadline(ms) => {
                    finding.explain(&format!("the {ms} ms that were left before the deadline"))
                }
                WallLimit::Operator(ms) => {
                    finding.explain(&format!("the operator's limit of {ms} ms"))
                }
            }
        } else if finding.code == Code::OracleExec
            && let Some(why) = budget
        {
            // It ended on its own, after its budget refused what it asked for.
            *finding = Finding::new(Code::BudgetExhausted, format!("{why}; {}", finding.reason));
            attempt.exit = Exit::Budget;
        }
        return Ok(attempt);
    }

    // Only what passed has outputs: the files of a failed run are not looked at.
    match outputs::collect(&workspace.layout().output) {
        Ok(outputs) if outputs.is_empty() => {
            let reason = "it ended well and left nothing in LUMIO_OUTPUT";
            attempt.finding = Some(Finding::new(Code::OutputMissing, reason));
        }
        Ok(outputs) => attempt.outputs = outputs,
        Err(OutputError::Refused(reason)) => {
            attempt.finding = Some(Finding::new(Code::OutputLimit, reason))
        }
        Err(OutputError::Io(error)) => return Err(error),
    }
    Ok(attempt)
}

fn exit(report: &Report) -> Exit {
    match &report.exit {
        guard::Exit::Code(code) => Exit::Code(*code),
        guard::Exit::Signal(signal) => Exit::Signal(*signal),
        guard::Exit::Timeout => Exit::Timeout,
        // What passes a limit is killed.
        guard::Exit::Limit(_) => Exit::Signal(libc::SIGKILL),
        guard::Exit::NotStarted => Exit::Refused,
    }
}
