//! Why a run failed (C2): a closed list of codes, and the document whose digest is on chain for a
//! run that failed without a seal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::statement::Code;
use crate::{AttemptKey, Digest, Problem, json};

/// The `kind` of the failure document.
pub const FAILURE_KIND: &str = "lumio-failure-v1";

/// Why a run failed. Written in JSON and in databases as its text, such as
/// `PREFLIGHT_OPENS_PAUSED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FailureCode {
    /// The runner gave up, or was asked to: `CANCELLED`, `DEADLINE_PASSED` …
    Runner(RunnerCode),
    /// What had to hold before the run was opened did not (R8): `PREFLIGHT_…`.
    Preflight(PreflightCode),
    /// The vault refused to open the run: `OPEN_…`.
    Open(VaultCode),
    /// The execution statement's code: the module is at fault, or the guard saw too little.
    Module(Code),
    /// A gate refused the run for good, or its answer did not hold: the problem's own name.
    Refused(Problem),
}

/// The text is not the name of a failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the code of a failure")]
pub struct UnknownFailureCode(String);

/// Why the runner itself ended a run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray, strum::Display, strum::EnumString,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum RunnerCode {
    /// An escrow that no run owned was given a run by an operator.
    Adopted,
    /// The user cancelled it before its module started.
    Cancelled,
    /// The agent's attesters changed while the run was opened; nothing could be charged.
    AttesterChanged,
    /// It was not settled before its deadline; the escrow went back.
    DeadlinePassed,
    /// An operator ended it by hand.
    EndedByOperator,
    /// It had ended while the vault still held its escrow; an operator opened it again.
    EscrowLeftOpen,
    /// The runner's key gave the run up by hand; the whole escrow went back.
    EscrowVoided,
    /// module-gate did not answer in time.
    ExecutionUnavailable,
    /// The runner has no gates configured.
    ExecutorMissing,
    /// It was taken over from an earlier runner, which had not settled it.
    Imported,
    /// Nothing that was signed to open it landed, and none of it can any more.
    OpenNotDone,
    /// Only an operator can find out what happened on chain (R13).
    OutcomeUnknown,
    /// oracle-gate did not answer in time.
    SealUnavailable,
    /// Another listed runner settled it with other terms.
    SettledOtherwise,
    /// The vault refused the settlement.
    SettlementRefused,
    /// The terms that the vault pinned are not known any more.
    TermsUnknown,
}

/// What has to hold before a run is opened (R8). The text has the prefix `PREFLIGHT_`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray, strum::Display, strum::EnumString,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "each is explained in docs/operations/runner.md")]
pub enum PreflightCode {
    AgentNotFound,
    AttesterMissing,
    BelowWorth,
    DailyCapExceeded,
    EmptyBudget,
    GrantRunCapExceeded,
    GrantTotalExceeded,
    InputInvalid,
    InputSchemaUnusable,
    InsufficientBalance,
    InvalidAmount,
    InvalidRateVersion,
    ModuleUnknown,
    OpensPaused,
    PerRunCapExceeded,
    PolicyPaused,
    RunnerFeeExceeded,
    TooManyFailures,
    TooManyOpens,
    UnauthorizedRunner,
    UpstreamRefused,
    VerdictFailed,
    VerdictMissing,
    VerdictUntrusted,
}

/// A numbered error of the vault (V11), by its name. The text has the prefix `OPEN_`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray, strum::Display, strum::EnumString,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "each is explained in docs/contract-errors.md")]
pub enum VaultCode {
    AlreadyInitialized,
    NotInitialized,
    Unauthorized,
    InvalidAmount,
    InsufficientBalance,
    PolicyPaused,
    PerRunCapExceeded,
    DailyCapExceeded,
    AgentRegistryNotSet,
    AgentNotFound,
    RunNotFound,
    RunNotOpen,
    UsageExceedsBudget,
    InvalidRateVersion,
    UnauthorizedRunner,
    RunnerGrantExists,
    RunnerGrantNotFound,
    /// The call came too late, or the runner saw that it would.
    Expired,
    DeadlineOutOfRange,
    DeadlineNotReached,
    RunTermsMismatch,
    RegistryUnavailable,
    TokenFailed,
    EmptyBudget,
    MaxChargeExceeded,
    RunnerFeeExceeded,
    InvalidExpiry,
    TooManyGrants,
    AccountingBroken,
    GrantRunCapExceeded,
    GrantTotalExceeded,
    OpensPaused,
    AdminNotProposed,
    UpgradeNotScheduled,
    UpgradeNotReady,
    InvalidBatchSize,
    NotAttested,
    /// The call failed and named no error of the vault.
    Failed,
}

impl FailureCode {
    /// module-gate's statement proves nothing about this run; nothing is charged.
    pub const STATEMENT_INVALID: Self = Self::Refused(Problem::StatementInvalid);
    /// The sealed facts do not pass their check.
    pub const CHECK_FAILED: Self = Self::Refused(Problem::CheckFailed);
    /// The user cancelled the run.
    pub const CANCELLED: Self = Self::Runner(RunnerCode::Cancelled);

    /// Every code there is.
    pub fn all() -> impl Iterator<Item = Self> {
        // Every list is made from its enum, so a variant that is new is in this one as well.
        let runner = RunnerCode::VARIANTS.iter().copied().map(Self::Runner);
        let preflight = PreflightCode::VARIANTS.iter().copied().map(Self::Preflight);
        let open = VaultCode::VARIANTS.iter().copied().map(Self::Open);
        let module = Code::ALL.iter().copied().map(Self::Module);
        let refused = Problem::ALL.iter().copied().map(Self::Refused);
        runner.chain(preflight).chain(open).chain(module).chain(refused)
    }
}

impl VaultCode {
    /// The error called `name` in the contract's interface, such as `PolicyPaused`.
    pub fn from_name(name: &str) -> Option<Self> {
        // `Debug` of a unit variant is its name, which is the contract's own.
        Self::VARIANTS.iter().copied().find(|code| format!("{code:?}") == name)
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runner(code) => code.fmt(f),
            Self::Preflight(code) => write!(f, "PREFLIGHT_{code}"),
            Self::Open(code) => write!(f, "OPEN_{code}"),
            Self::Module(code) => code.fmt(f),
            Self::Refused(problem) => f.write_str(&problem.reason()),
        }
    }
}

impl FromStr for FailureCode {
    type Err = UnknownFailureCode;

    fn from_str(text: &str) -> Result<Self, UnknownFailureCode> {
        // The five families cannot collide: two have prefixes, and a test holds the other names
        // distinct.
        let runner = text.parse().ok().map(Self::Runner);
        let preflight = text.strip_prefix("PREFLIGHT_").and_then(|name| name.parse().ok());
        let open = text.strip_prefix("OPEN_").and_then(|name| name.parse().ok());
        let module = Code::ALL.iter().copied().find(|code| code.as_str() == text);

        runner
            .or_else(|| preflight.map(Self::Preflight))
            .or_else(|| open.map(Self::Open))
            .or_else(|| module.map(Self::Module))
            .or_else(|| Problem::from_reason(text).map(Self::Refused))
            .ok_or_else(|| UnknownFailureCode(text.to_owned()))
    }
}

impl From<FailureCode> for String {
    fn from(code: FailureCode) -> Self {
        code.to_string()
    }
}

impl TryFrom<String> for FailureCode {
    type Error = UnknownFailureCode;

    fn try_from(text: String) -> Result<Self, UnknownFailureCode> {
        text.parse()
    }
}

/// The document whose digest is on chain for a run that failed without a seal. Anybody can make
/// it again from the run's public fields, so the code is text here: a verifier also reads what a
/// newer runner wrote.
#[derive(Debug, Clone, Copy, Serialize)]
struct FailureDocument<'a> {
    kind: &'a str,
    run_id: crate::RunId,
    attempt: u32,
    code: &'a str,
    reason: &'a str,
}

/// The digest of the canonical failure document of one attempt.
pub fn digest(key: AttemptKey, code: &str, reason: &str) -> Digest {
    let AttemptKey { run: run_id, attempt } = key;
    let document = FailureDocument { kind: FAILURE_KIND, run_id, attempt, code, reason };
    json::digest(&document).expect("text keys and one integer of 32 bits have a canonical form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_as_itself_and_no_two_share_a_text() {
        let mut texts = Vec::new();
        for code in FailureCode::all() {
            let text = code.to_string();
            assert_eq!(text.parse(), Ok(code), "{text}");
            texts.push(text);
        }
        texts.sort_unstable();
        let count = texts.len();
        texts.dedup();
        assert_eq!(texts.len(), count);
    }

    #[test]
    fn an_unknown_code_is_named() {
        let error = "PREFLIGHT_LATER".parse::<FailureCode>().unwrap_err();
        assert_eq!(error.to_string(), "`PREFLIGHT_LATER` is not the code of a failure");
    }

    #[test]
    fn the_digest_is_that_of_the_canonical_document() {
        let run = "00000000-0000-4000-8000-00000000000a".parse().unwrap();
        let text = concat!(
            r#"{"attempt":2,"code":"EXECUTOR_MISSING","kind":"lumio-failure-v1","#,
            r#""reason":"no executor","run_id":"00000000-0000-4000-8000-00000000000a"}"#,
        );
        let found = digest(AttemptKey::new(run, 2), "EXECUTOR_MISSING", "no executor");
        assert_eq!(found, Digest::of(text.as_bytes()));
    }
}
