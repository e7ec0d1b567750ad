//! From what the guard saw to what is stated: the one judgement of a single start of a program.

use std::collections::BTreeMap;
use std::path::Path;

use guard::{Category, Charge, Effect, Exit, Report, Tier};
use serde::Serialize;
use wire::escape::is_hidden;
use wire::statement::{Code, Effects, Guard, GuardTier, Observed, Verdict};

use crate::sandbox::workspace::Layout;

/// The guard is released with this service, under one version.
pub const GUARD_VERSION: &str = env!("CARGO_PKG_VERSION");
/// Most characters of a reason.
const MAX_REASON: usize = 2_000;
/// Most charged effects of one judgement that are logged.
const MAX_LOGGED: usize = 20;
/// How much of standard error a reason carries.
const TAIL_BYTES: usize = 1_000;

/// Why something is no PASS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The code.
    pub code: Code,
    /// The cause, for people.
    pub reason: String,
}

impl Finding {
    /// A finding; its reason is cut to 2,000 characters without hidden characters (R18) but
    /// line ends.
    pub fn new(code: Code, reason: impl AsRef<str>) -> Self {
        let printable = |c: &char| !is_hidden(*c) || *c == '\n';
        Self { code, reason: reason.as_ref().chars().filter(printable).take(MAX_REASON).collect() }
    }

    /// What the code means for the verdict: only an incomplete guard leaves it open.
    pub fn verdict(&self) -> Verdict {
        if self.code == Code::GuardIncomplete { Verdict::Inconclusive } else { Verdict::Fail }
    }

    /// Adds which limit was reached.
    pub(crate) fn explain(&mut self, limit: &str) {
        *self = Self::new(self.code, format!("{} ({limit})", self.reason));
    }
}

/// What the guard holds against a start of a program; none if it passed. `shorten` names the places
/// of this server in a message as the module knows them.
pub fn from_report(report: &Report, shorten: impl Fn(&str) -> String) -> Option<Finding> {
    let code = match (report.verdict, report.code) {
        // PASS counts only where the guard was at its full tier.
        (guard::Verdict::Pass, _) if report.tier != Tier::Degraded => return None,
        (guard::Verdict::Pass | guard::Verdict::Inconclusive, _)
        | (_, None | Some(guard::Code::Incomplete)) => Code::GuardIncomplete,
        (_, Some(guard::Code::Forbidden)) => Code::SideEffectsForbidden,
        (_, Some(guard::Code::Undeclared)) => Code::SideEffectsDeclaration,
        (_, Some(guard::Code::Exec)) => Code::OracleExec,
    };
    // Before anything is cut: what is left of a path would not be known as one.
    let mut reason = shorten(&report.reason);
    if reason.is_empty() {
        "the guard is not at its full tier on this host".clone_into(&mut reason);
    }
    if code == Code::OracleExec {
        reason.push_str(&last_words(&report.stderr.bytes, shorten));
    }
    Some(Finding::new(code, reason))
}

/// The end of standard error, which is where programs say why they stopped.
fn last_words(stderr: &[u8], shorten: impl Fn(&str) -> String) -> String {
    let tail = &stderr[stderr.len().saturating_sub(TAIL_BYTES)..];
    let text = String::from_utf8_lossy(tail);

    // Where it was cut, the first word may be the end of a path, which would not be known as one.
    let whole = match text.split_once(char::is_whitespace) {
        Some((_, rest)) if tail.len() < stderr.len() => rest,
        _ => &*text,
    };
    let text = shorten(whole.trim());
    if text.is_empty() { text } else { format!("; standard error ends: {text}") }
}

/// One thing that was done or tried, and in which start of a program.
#[derive(Debug, Clone, Serialize)]
pub struct Attributed {
    /// Test, or case and attempt.
    pub start: String,
    /// Whether its path lies in the module.
    pub inside_module_root: bool,
    /// Process, system call, path and what it means. Paths in the module are relative to it.
    #[serde(flatten)]
    pub effect: Effect,
}

impl Attributed {
    /// Whether it speaks against a PASS.
    pub fn is_charged(&self) -> bool {
        matches!(self.effect.charge, Charge::Undeclared | Charge::Outside)
    }
}

/// What was seen over one or more starts of programs.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    effects: Vec<Attributed>,
    counts: BTreeMap<Category, u64>,
    denied: u64,
    killed_at_end: u64,
    tier: Option<Tier>,
    landlock_abi: u32,
}

/// What watched, as the guard names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GuardInfo {
    /// The least of all starts; none where nothing was started.
    pub tier: Option<Tier>,
    /// What the kernel offers.
    pub landlock_abi: u32,
}

impl Observations {
    /// Most effects that are kept; the counts are exact however many there are.
    pub const MAX_EFFECTS: usize = 1_000;

    /// Adds what one start did, which is identified by its name.
    pub fn add(&mut self, start: &str, report: &Report, layout: &Layout) {
        for effect in &report.effects {
            let inside_module_root = Path::new(&effect.target).starts_with(&layout.module);
            let effect = Effect {
                target: layout.shorten(&effect.target),
                other: effect.other.as_deref().map(|path| layout.shorten(path)),
                executable: layout.shorten(&effect.executable).into(),
                argv: effect.argv.iter().map(|word| layout.shorten(word)).collect(),
                ..effect.clone()
            };
            self.keep(Attributed { start: start.to_owned(), inside_module_root, effect });
        }
        for (category, count) in &report.counts {
            *self.counts.entry(*category).or_default() += count;
        }
        self.denied += report.denied;
        self.killed_at_end += report.killed_at_end;
        self.tier = match self.tier {
            // The least of all starts counts: one that was watched less leaves a gap.
            Some(tier) if rank(tier) >= rank(report.tier) => Some(tier),
            _ => Some(report.tier),
        };
        self.landlock_abi = report.landlock_abi;
    }

    /// What is charged is kept before what is not.
    fn keep(&mut self, one: Attributed) {
        if self.effects.len() < Self::MAX_EFFECTS {
            self.effects.push(one);
        } else if one.is_charged()
            && let Some(at) = self.effects.iter().rposition(|kept| !kept.is_charged())
        {
            // What speaks against the module must be seen; what is left out is still counted.
            self.effects.remove(at);
            self.effects.push(one);
        }
    }

    /// Adds what was seen elsewhere.
    pub fn merge(&mut self, other: &Self) {
        for one in &other.effects {
            self.keep(one.clone());
        }
        for (category, count) in &other.counts {
            *self.counts.entry(*category).or_default() += count;
        }
        self.denied += other.denied;
        self.killed_at_end += other.killed_at_end;
        if let Some(tier) = other.tier {
            self.tier = match self.tier {
                Some(own) if rank(own) >= rank(tier) => Some(own),
                _ => Some(tier),
            };
            self.landlock_abi = other.landlock_abi;
        }
    }

    /// How often each category was seen, exactly.
    pub fn counts(&self) -> &BTreeMap<Category, u64> {
        &self.counts
    }

    /// How many processes were still alive when the program that started them ended.
    pub fn killed_at_end(&self) -> u64 {
        self.killed_at_end
    }

    /// The effects that are kept, in the order they were seen.
    pub fn attributed(&self) -> &[Attributed] {
        &self.effects
    }

    /// Logs what is charged: the statement's reason names the first only.
    pub fn log(&self) {
        for Attributed { start, effect, .. } in
            self.effects.iter().filter(|one| one.is_charged()).take(MAX_LOGGED)
        {
            tracing::warn!(
                start,
                process.pid = effect.pid,
                process.executable = &*effect.executable,
                process.args = ?effect.argv,
                process.parents = ?effect.parents,
                call = effect.operation,
                call.target = effect.target,
                allowed = effect.allowed,
                charge = ?effect.charge,
                "a module did or tried what it may not"
            );
        }
    }

    /// As a statement says it.
    pub fn effects(&self, declared: &[String]) -> Effects {
        let observed = self.counts.iter().filter(|(_, count)| **count > 0);
        let observed =
            observed.map(|(category, count)| Observed { category: name(*category), count: *count });
        Effects {
            declared: declared.to_vec(),
            observed: observed.collect(),
            denied_count: self.denied,
        }
    }

    /// What watched, by the guard's own words.
    pub fn guard_info(&self) -> GuardInfo {
        GuardInfo { tier: self.tier, landlock_abi: self.landlock_abi }
    }

    /// What watched, as a statement says it; degraded also when nothing was ever started, since
    /// then nothing was watched.
    pub fn guard(&self) -> Guard {
        let full = self.tier.is_some_and(|tier| tier != Tier::Degraded);
        Guard {
            tier: if full { GuardTier::Full } else { GuardTier::Degraded },
            landlock_abi: self.landlock_abi,
            version: GUARD_VERSION.to_owned(),
        }
    }
}

/// How little a tier gives.
fn rank(tier: Tier) -> u8 {
    match tier {
        Tier::Separated => 0,
        Tier::Unprivileged => 1,
        Tier::Traced => 2,
        Tier::Degraded => 3,
    }
}

/// The category by its name in statements.
pub(crate) fn name(category: Category) -> String {
    match category {
        Category::FsRead => "FS:read",
        Category::FsWrite => "FS:write",
        Category::ProcessShell => "Process:shell",
        Category::ProcessGit => "Process:git",
        Category::Network => "Network",
        Category::OutsideProcess => "Process:outside",
        Category::Refused => "Refused",
    }
    .to_owned()
}

/// How a command ended, in words that follow "it ended".
pub(crate) fn exit_text(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("with code {code}"),
        Exit::Signal(signal) => format!("by signal {signal}"),
        Exit::Timeout => "by the time limit".to_owned(),
        Exit::Limit(name) => format!("by the limit {name}"),
        Exit::NotStarted => "before it started".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn effect(number: usize, charge: Charge) -> Attributed {
        let effect = Effect {
            category: Category::FsRead,
            operation: "openat".to_owned(),
            target: number.to_string(),
            other: None,
            pid: 1,
            executable: Arc::default(),
            argv: Arc::default(),
            argv_exact: true,
            parents: Arc::default(),
            allowed: true,
            charge,
            exact: true,
        };
        Attributed { start: "test".to_owned(), inside_module_root: true, effect }
    }

    #[test]
    fn what_is_charged_is_kept_however_much_is_not() {
        let mut observations = Observations::default();
        for number in 0..2 * Observations::MAX_EFFECTS {
            observations.keep(effect(number, Charge::Listed));
        }
        observations.keep(effect(0, Charge::Outside));
        assert_eq!(observations.attributed().len(), Observations::MAX_EFFECTS);
        assert!(observations.attributed().last().is_some_and(Attributed::is_charged));
        for number in 0..2 * Observations::MAX_EFFECTS {
            observations.keep(effect(number, Charge::Undeclared));
        }
        assert_eq!(observations.attributed().len(), Observations::MAX_EFFECTS);
        assert!(observations.attributed().iter().all(Attributed::is_charged));
        assert_eq!(observations.attributed()[0].effect.charge, Charge::Outside, "the first stay");
    }

    #[test]
    fn no_part_of_a_path_is_left_where_standard_error_is_cut() {
        let path = "/srv/scratch/0a.1/surroundings/module/main.mjs";
        let shorten = |text: &str| text.replace("/srv/scratch/0a.1/surroundings/module/", "");
        for more in 0..path.len() {
            let end = " and so on".repeat(100);
            let stderr = format!("{path}:1 {}", &end[..TAIL_BYTES - 3 - more]);
            let said = last_words(stderr.as_bytes(), shorten);
            assert!(!said.contains("surroundings") && !said.contains("module/"), "{said}");
        }
        assert_eq!(last_words(path.as_bytes(), shorten), "; standard error ends: main.mjs");
        assert_eq!(last_words(b"\n", shorten), "");
    }

    #[test]
    fn nothing_started_is_nothing_watched() {
        assert_eq!(Observations::default().guard().tier, GuardTier::Degraded);
    }
}
