//! What the local commands report about a module.

use serde::Serialize;
use wire::digest::Digest;
use wire::statement::{Code, OracleCount, TestCount, Verdict};

use crate::judging::finding::{Attributed, Finding, GuardInfo, Observations};
use crate::judging::judge::{Judgement, TestResult};
use crate::judging::oracle::CaseResult;
use crate::local::guarded;

/// Most charged effects of a module shown to people.
const MAX_SHOWN: usize = 20;

/// What is reported about one module; the same facts as text and as JSON (C1).
#[derive(Debug, Serialize)]
pub struct Report {
    /// The module's id, or its folder if that is unknown.
    pub module: String,
    /// Digest of its tree.
    pub module_digest: Option<Digest>,
    /// PASS, FAIL or INCONCLUSIVE.
    pub verdict: Verdict,
    /// Set unless it is a PASS.
    pub code: Option<Code>,
    /// Everything that speaks against a PASS.
    pub findings: Vec<String>,
    /// What deserves a word although it decides nothing.
    pub warnings: Vec<String>,
    /// Counts of tests.
    pub tests: TestCount,
    /// Counts of oracle cases.
    pub oracle: OracleCount,
    /// What watched.
    pub guard: GuardInfo,
    /// What the guard saw, by category.
    pub observed: Vec<(String, u64)>,
    /// Processes that were still alive when the program that started them ended, and were killed.
    pub killed_at_end: u64,
    /// Every test.
    pub test_results: Vec<TestResult>,
    /// Every oracle case, with what differs, what was varied, and the confidence of a pass.
    pub cases: Vec<CaseResult>,
    /// Names of the cases that passed.
    pub passed: Vec<String>,
    /// What was done or tried, each with its start, process and path; at most
    /// [`Observations::MAX_EFFECTS`], what is charged first to be kept.
    pub effects: Vec<Attributed>,
}

impl Report {
    /// The report of a judgement.
    pub fn new(module: String, module_digest: Option<Digest>, judgement: &Judgement) -> Self {
        let finding = judgement.decisive();
        let passed = judgement.cases.iter().filter(|case| case.finding.is_none());
        Self {
            module,
            module_digest,
            verdict: finding.map_or(Verdict::Pass, Finding::verdict),
            code: finding.map(|finding| finding.code),
            findings: judgement
                .findings
                .iter()
                .map(|finding| format!("{}: {}", finding.code, finding.reason))
                .collect(),
            warnings: judgement.warnings.clone(),
            tests: judgement.tests,
            oracle: judgement.oracle,
            guard: judgement.observations.guard_info(),
            observed: observed(&judgement.observations),
            killed_at_end: judgement.observations.killed_at_end(),
            test_results: judgement.test_results.clone(),
            cases: judgement.cases.clone(),
            passed: passed.map(|case| case.name.clone()).collect(),
            effects: judgement.observations.attributed().to_vec(),
        }
    }
}

/// The report for people.
pub fn text(report: &Report) -> String {
    let code = report.code.map_or_else(String::new, |code| format!(" {code}"));
    let mut lines = vec![format!("{} {}{code}", report.verdict, report.module)];
    lines.extend(report.module_digest.map(|digest| format!("  module   {digest}")));
    let (tests, oracle) = (&report.tests, &report.oracle);
    lines.push(format!(
        "  tests    {} of {} passed, {} skipped",
        tests.passed, tests.total, tests.skipped
    ));
    lines.push(format!(
        "  oracles  {} of {} cases repeat equal, {} attempts",
        oracle.passed, oracle.cases, oracle.attempts
    ));
    for case in report.cases.iter().filter(|case| case.finding.is_none()) {
        lines.push(format!("  case     {}", passed_text(case)));
    }
    if let Some(tier) = report.guard.tier {
        lines.push(format!("  guard    {tier}, Landlock ABI {}", report.guard.landlock_abi));
    }
    lines
        .extend(report.observed.iter().map(|(kind, count)| format!("  seen     {kind} × {count}")));
    if report.killed_at_end > 0 {
        lines.push(format!("  killed   {}", guarded::killed(report.killed_at_end)));
    }
    let charged = report.effects.iter().filter(|effect| effect.is_charged());
    lines.extend(charged.take(MAX_SHOWN).map(|effect| format!("  effect   {}", line(effect))));
    lines.extend(report.findings.iter().map(|finding| format!("  finding  {finding}")));
    lines.extend(report.warnings.iter().map(|warning| format!("  warning  {warning}")));
    if report.verdict == Verdict::Inconclusive {
        lines.push(
            "  nothing is known about the module: repair what the finding names, then try again"
                .to_owned(),
        );
    }
    lines.join("\n") + "\n"
}

/// How sure a pass is: how many attempts, in what they were varied, what share of runs may still
/// differ, how long it took.
fn passed_text(case: &CaseResult) -> String {
    let varied = if case.varied.is_empty() {
        "nothing varied".to_owned()
    } else {
        let names: Vec<_> = case.varied.iter().map(|one| one.name()).collect();
        format!("1 varied in {}", names.join(", "))
    };
    let at_most = case.at_most.unwrap_or(1.0) * 100.0;
    format!(
        "{}: {} equal attempts, {varied}; with 95 % confidence at most {at_most:.1} % of runs \
         differ; {} ms",
        case.name, case.attempts, case.duration_ms
    )
}

fn line(Attributed { start, effect, .. }: &Attributed) -> String {
    let done = if effect.allowed { "did" } else { "was refused" };
    format!(
        "{start}: process {} {} ({}) {done} {} {}",
        effect.pid,
        effect.executable,
        effect.argv.join(" "),
        effect.operation,
        effect.target
    )
}

fn observed(observations: &Observations) -> Vec<(String, u64)> {
    observations.effects(&[]).observed.into_iter().map(|one| (one.category, one.count)).collect()
}
