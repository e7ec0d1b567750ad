//! Whether a module may ship (R8, M7, M10).

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::execution::broken;
use super::{Code, Effects, Guard, GuardTier, Predicate, StatementError, Subject, Verdict};
use crate::Digest;

/// What module-gate found when it judged a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipping {
    /// Digest of the judged tree.
    pub module_digest: Digest,
    /// The module's name for itself.
    pub module_id: String,
    /// The module's version of itself.
    pub module_version: String,
    /// How strictly it was judged.
    pub mode: Mode,
    /// What follows.
    pub verdict: Verdict,
    /// Set unless the verdict is PASS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The cause for people; never decides anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What its oracles said.
    pub oracle: OracleCount,
    /// What its tests said.
    pub tests: TestCount,
    /// What it did beside computing, over all of them.
    pub side_effects: Effects,
    /// What watched it.
    pub guard: Guard,
    /// Digest of the policy it was judged under.
    pub policy_digest: Digest,
    /// When the verdict was reached; the newest conclusive one counts.
    #[serde(with = "time::serde::rfc3339")]
    pub issued_at: OffsetDateTime,
}

/// How strictly a module was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Everything that must hold before a paid run.
    Shipping,
}

/// Oracle cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OracleCount {
    /// Cases in its specifications.
    pub cases: u32,
    /// Attempts over all cases.
    pub attempts: u32,
    /// Cases whose attempts were all equal and right.
    pub passed: u32,
}

/// Tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCount {
    /// Tests in its manifest.
    pub total: u32,
    /// Those that passed.
    pub passed: u32,
    /// Those that said they do not apply here.
    pub skipped: u32,
}

impl Predicate for Shipping {
    const TYPE: &'static str = "https://lumio.dev/attestation/shipping/v1";

    fn subject(&self) -> Vec<Subject> {
        vec![Subject::new("module", self.module_digest)]
    }

    fn check(&self) -> Result<(), StatementError> {
        // The counts are whatever was signed, so their sum may pass 32 bits.
        let tested = self.tests.passed.checked_add(self.tests.skipped);
        broken(&[
            (self.oracle.passed <= self.oracle.cases, "more oracle cases passed than there are"),
            (
                tested.is_some_and(|tested| tested <= self.tests.total),
                "more tests ended than there are",
            ),
        ])?;
        broken(&match self.verdict {
            Verdict::Pass => vec![
                (self.code.is_none(), "PASS has no code"),
                (self.oracle.passed >= 1, "PASS needs an oracle case that passed"),
                (self.oracle.passed == self.oracle.cases, "PASS needs every oracle case to pass"),
                (tested == Some(self.tests.total), "PASS needs every test to pass or not apply"),
                (self.guard.tier == GuardTier::Full, "PASS needs the full guard"),
            ],
            Verdict::Fail => vec![
                (self.code.is_some(), "FAIL needs a code"),
                (self.code != Some(Code::GuardIncomplete), "FAIL is not the guard's fault"),
            ],
            Verdict::Inconclusive => {
                vec![(
                    self.code == Some(Code::GuardIncomplete),
                    "INCONCLUSIVE is E_GUARD_INCOMPLETE",
                )]
            }
        })
    }
}
