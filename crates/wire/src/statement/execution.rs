//! What one execution did, and what follows from its verdict (M12, R10).

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Code, Effects, Guard, GuardTier, Predicate, StatementError, Subject, Verdict};
use crate::egress::{self, Egress};
use crate::settlement::{self, RequestParts, Settled, SettlementSignature};
use crate::{Digest, RunId, Usage, VaultRunId};

/// The highest seed: every JSON reader holds it exactly (R12).
pub const MAX_SEED: u64 = (1 << 53) - 1;

/// What module-gate saw when it executed a module for one attempt of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// The run, with dashes.
    pub run_id: RunId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// The attempt's id in the vault. With it, one execution vouches for one charge only: an
    /// attempt that is opened again under another deadline has another id (V16).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_run_id: Option<VaultRunId>,
    /// Who pays (G… or C…).
    pub user: String,
    /// The workflow the run is of.
    pub workflow_id: String,
    /// Digest of the executed tree, recomputed from the copy that ran.
    pub module_digest: Digest,
    /// SHA-256 of the input's canonical JSON.
    pub input_digest: Digest,
    /// The run's seed, at most [`MAX_SEED`].
    pub seed: u64,
    /// What it might use at most.
    pub budgets: Usage,
    /// What it left, sorted by path.
    pub outputs: Vec<Output>,
    /// What is charged.
    pub usage: Usage,
    /// What watched it.
    pub guard: Guard,
    /// What it did beside computing.
    pub effects: Effects,
    /// What it asked of named services; absent where its module declares none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// How it ended.
    pub exit: Exit,
    /// What follows.
    pub verdict: Verdict,
    /// Set unless the verdict is PASS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The signature that the vault takes for this execution's usage (V16); absent when nothing
    /// ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<SettlementSignature>,
    /// The cause for people; never decides anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the module's process was started.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When the last process of it was gone.
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
}

/// A file the module left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Relative to the output folder, `/` between segments.
    pub path: String,
    /// In bytes.
    pub length: u64,
    /// Of its content.
    pub sha256: Digest,
}

/// How the module's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Stopped at its wall limit.
    Timeout,
    /// Stopped because a budget was used up.
    Budget,
    /// Never started.
    Refused,
}

/// What a statement has to be about. What the asker does not know is `None` and not compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected<'a> {
    /// The run.
    pub run: Option<RunId>,
    /// Which attempt of it.
    pub attempt: Option<u32>,
    /// The attempt's id in the vault. A statement that names none is about no charge (V16).
    pub vault_run_id: Option<VaultRunId>,
    /// Who pays.
    pub user: Option<&'a str>,
    /// The workflow; empty when the caller named none.
    pub workflow_id: Option<&'a str>,
    /// Digest of the module's tree, as pinned.
    pub module: Option<Digest>,
    /// Digest of the input's canonical JSON.
    pub input: Option<Digest>,
    /// The run's seed.
    pub seed: Option<u64>,
    /// What it might use at most.
    pub budgets: Option<Usage>,
}

/// One thing that a statement says otherwise than expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What it is about, such as `module`.
    pub what: &'static str,
    /// What was expected.
    pub expected: String,
    /// What the statement says.
    pub stated: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, expected, stated } = self;
        write!(f, "{what}: expected {expected}, the statement says {stated}")
    }
}

impl Execution {
    /// What this execution's settlement is about, from what was executed; none without the id in
    /// the vault.
    pub fn settled(&self) -> Option<Settled> {
        let request = RequestParts {
            input_digest: self.input_digest,
            module_digest: self.module_digest,
            seed: self.seed,
            workflow_id: &self.workflow_id,
        };
        Some(Settled {
            run_id: self.vault_run_id?,
            manifest_hash: self.module_digest,
            // Fails only for a seed that no statement may have.
            request_hash: settlement::request_hash(&request).ok()?,
            usage: self.usage,
        })
    }

    /// Everything in which this statement is about something else than `expected`; empty if it is
    /// about exactly that.
    pub fn mismatches(&self, expected: &Expected<'_>) -> Vec<Mismatch> {
        let compared = [
            differs("run", expected.run, self.run_id),
            differs("attempt", expected.attempt, self.attempt),
            match self.vault_run_id {
                Some(stated) => differs("run id in the vault", expected.vault_run_id, stated),
                // Naming none is a difference too: such a statement vouches for no charge (V16).
                None => expected.vault_run_id.map(|expected| Mismatch {
                    what: "run id in the vault",
                    expected: expected.to_string(),
                    stated: "none".to_owned(),
                }),
            },
            differs("user", expected.user, self.user.as_str()),
            differs("workflow", expected.workflow_id, self.workflow_id.as_str()),
            differs("module", expected.module, self.module_digest),
            differs("input", expected.input, self.input_digest),
            differs("seed", expected.seed, self.seed),
            differs("budgets", expected.budgets, self.budgets),
        ];
        compared.into_iter().flatten().collect()
    }
}

impl Execution {
    /// Whether the module itself left anything.
    fn has_outputs(&self) -> bool {
        self.outputs.iter().any(|output| !output.path.starts_with(egress::FOLDER))
    }

    /// Whether tokens and calls in the usage are the sums over its services (E7). They are charged
    /// also when the module then fails.
    fn charges_its_calls(&self) -> bool {
        let mut upstreams = self.egress.iter().flat_map(|egress| &egress.upstreams);
        let sum = upstreams.try_fold((0_u64, 0_u64, 0_u64), |(calls, read, written), one| {
            Some((
                calls.checked_add(one.calls)?,
                read.checked_add(one.llm_in)?,
                written.checked_add(one.llm_out)?,
            ))
        });
        sum == Some((self.usage.http_calls, self.usage.llm_in, self.usage.llm_out))
    }

    fn egress_is_plain(&self) -> bool {
        self.egress
            .iter()
            .all(|egress| egress.upstreams.is_sorted_by(|one, next| one.name < next.name))
    }

    /// What module-gate itself leaves among the outputs represents calls, and only them.
    fn egress_is_listed(&self) -> bool {
        let own = |output: &Output| output.path.starts_with(egress::FOLDER);
        let named = [egress::BODIES_FILE, egress::CALLS_FILE];
        let listed = self.egress.as_ref().map_or(0, |egress| egress.listed);
        let has_list = self.outputs.iter().any(|output| output.path == egress::CALLS_FILE);
        self.outputs
            .iter()
            .filter(|output| own(output))
            .all(|output| listed > 0 && named.contains(&output.path.as_str()))
            && (has_list || listed == 0 || self.verdict == Verdict::Inconclusive)
    }

    /// Whether the settlement's signature, if there is one, is for exactly this execution.
    fn settles_itself(&self) -> bool {
        let Some(signature) = self.settlement else { return true };
        self.settled().is_some_and(|settled| signature.verifies(&settled))
    }
}

fn differs<T: PartialEq + fmt::Display>(
    what: &'static str,
    expected: Option<T>,
    stated: T,
) -> Option<Mismatch> {
    let expected = expected.filter(|expected| *expected != stated)?;
    Some(Mismatch { what, expected: expected.to_string(), stated: stated.to_string() })
}

impl Predicate for Execution {
    const TYPE: &'static str = "https://lumio.dev/attestation/execution/v1";

    fn subject(&self) -> Vec<Subject> {
        let outputs = self.outputs.iter();
        let outputs =
            outputs.map(|output| Subject::new(format!("outputs/{}", output.path), output.sha256));
        std::iter::once(Subject::new("module", self.module_digest)).chain(outputs).collect()
    }

    fn check(&self) -> Result<(), StatementError> {
        let rules = [
            (self.attempt >= 1, "attempts count from 1"),
            (self.seed <= MAX_SEED, "the seed is above 2^53 - 1"),
            (self.usage.is_within(&self.budgets), "more was used than the budgets allow"),
            (
                self.outputs.iter().all(|output| is_plain(&output.path)),
                "an output's path is not plain",
            ),
            (self.outputs.is_sorted_by(|a, b| a.path < b.path), "outputs are not sorted by path"),
            (self.finished_at >= self.started_at, "it finished before it started"),
            (self.settles_itself(), "its settlement's signature is for something else"),
            (self.egress_is_plain(), "its services are not sorted by name"),
            (self.egress_is_listed(), "its list of calls is not where it must be"),
        ];
        // What holds of every execution; then what each verdict demands.
        broken(&rules)?;
        broken(&match self.verdict {
            Verdict::Pass => vec![
                (self.exit == Exit::Code(0), "PASS needs exit code 0"),
                (self.has_outputs(), "PASS needs an output"),
                (self.code.is_none(), "PASS has no code"),
                (self.guard.tier == GuardTier::Full, "PASS needs the full guard"),
                (self.charges_its_calls(), "the charged calls are not those it made"),
            ],
            Verdict::Fail => vec![
                (self.code.is_some(), "FAIL needs a code"),
                (self.code != Some(Code::GuardIncomplete), "FAIL is not the guard's fault"),
                (!self.has_outputs(), "FAIL has no outputs"),
                (
                    self.code == Some(Code::BudgetExhausted) || self.usage.runtime_ms == 0,
                    "FAIL charges running time only for an exhausted budget",
                ),
                (self.charges_its_calls(), "the charged calls are not those it made"),
            ],
            Verdict::Inconclusive => vec![
                (self.code == Some(Code::GuardIncomplete), "INCONCLUSIVE is E_GUARD_INCOMPLETE"),
                (self.outputs.is_empty(), "INCONCLUSIVE has no outputs"),
                (self.usage.is_zero(), "INCONCLUSIVE charges nothing"),
            ],
        })
    }
}

/// The first rule that does not hold.
pub(super) fn broken(rules: &[(bool, &'static str)]) -> Result<(), StatementError> {
    match rules.iter().find(|(holds, _)| !holds) {
        Some((_, rule)) => Err(StatementError::Contradiction(rule)),
        None => Ok(()),
    }
}

/// A path that means the same file everywhere and stays below its folder.
fn is_plain(path: &str) -> bool {
    let is_name = |segment: &str| !matches!(segment, "" | "." | "..");
    path.split('/').all(is_name) && !path.contains(['\\', '\0'])
}
