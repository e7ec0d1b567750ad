//! The words both statements share. Every list is closed: a word not in it is an error (O1).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What was found (M7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// It did what it declared, and came to its end.
    Pass,
    /// The module is at fault; the code says how.
    Fail,
    /// The gate reached no verdict; nothing is known about the module.
    Inconclusive,
}

/// Why a verdict is not PASS (M2, M6, R10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Code {
    /// It wrote outside the module's root.
    #[serde(rename = "E_SIDEEFFECTS_FORBIDDEN")]
    SideEffectsForbidden,
    /// It wrote, started a process, reached the network or read what it had not declared.
    #[serde(rename = "E_SIDEEFFECTS_DECLARATION")]
    SideEffectsDeclaration,
    /// It ended with a non-zero exit code, by a signal, or ran out of wall time.
    #[serde(rename = "E_ORACLE_EXEC")]
    OracleExec,
    /// It was stopped because a budget was used up; the metered usage is charged.
    #[serde(rename = "BUDGET_EXHAUSTED")]
    BudgetExhausted,
    /// Its outputs are too many or too large.
    #[serde(rename = "E_OUTPUT_LIMIT")]
    OutputLimit,
    /// It ended well and left no output.
    #[serde(rename = "E_OUTPUT_MISSING")]
    OutputMissing,
    /// Its tree or its manifest is not a module.
    #[serde(rename = "E_MODULE_INVALID")]
    ModuleInvalid,
    /// The guard could not do or see all it must; only with INCONCLUSIVE.
    #[serde(rename = "E_GUARD_INCOMPLETE")]
    GuardIncomplete,
    /// Repeated attempts of an oracle case differ.
    #[serde(rename = "E_ORACLE_NONDETERMINISM")]
    OracleNondeterminism,
    /// An oracle specification cannot be used.
    #[serde(rename = "E_ORACLE_SPEC")]
    OracleSpec,
    /// The module has no oracle case that could vouch for it.
    #[serde(rename = "E_ORACLE_MISSING")]
    OracleMissing,
    /// Its manifest lacks what a module that ships must have.
    #[serde(rename = "E_REQUIRE_UNSAT")]
    RequireUnsat,
    /// An import leads out of it.
    #[serde(rename = "E_LINT")]
    Lint,
    /// A port's export is not where its manifest says it is.
    #[serde(rename = "E_PORT_CONFORMANCE")]
    PortConformance,
    /// A test of the module failed.
    #[serde(rename = "E_TEST")]
    Test,
    /// It names a service that the operator does not allow; it was not started.
    #[serde(rename = "E_UPSTREAM_REFUSED")]
    UpstreamRefused,
}

/// What watched the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// How much of it the kernel allowed.
    pub tier: GuardTier,
    /// The Landlock ABI in force, 0 if none.
    pub landlock_abi: u32,
    /// The guard's version.
    pub version: String,
}

/// How far the guard reached (M11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardTier {
    /// Enforced and observed completely.
    Full,
    /// Something was missing on this host.
    Degraded,
}

/// What the module did beside computing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// What its manifest declares, such as `FS:write`.
    pub declared: Vec<String>,
    /// What the kernel saw, by category.
    pub observed: Vec<Observed>,
    /// How many operations were refused.
    pub denied_count: u64,
}

/// How often one category of effect was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Such as `FS:write`.
    pub category: String,
    /// Operations that reached the kernel, allowed or denied (M3).
    pub count: u64,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 16] = [
        Self::SideEffectsForbidden,
        Self::SideEffectsDeclaration,
        Self::OracleExec,
        Self::BudgetExhausted,
        Self::OutputLimit,
        Self::OutputMissing,
        Self::ModuleInvalid,
        Self::GuardIncomplete,
        Self::OracleNondeterminism,
        Self::OracleSpec,
        Self::OracleMissing,
        Self::RequireUnsat,
        Self::Lint,
        Self::PortConformance,
        Self::Test,
        Self::UpstreamRefused,
    ];

    /// The code as it is written in statements, events and run objects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SideEffectsForbidden => "E_SIDEEFFECTS_FORBIDDEN",
            Self::SideEffectsDeclaration => "E_SIDEEFFECTS_DECLARATION",
            Self::OracleExec => "E_ORACLE_EXEC",
            Self::BudgetExhausted => "BUDGET_EXHAUSTED",
            Self::OutputLimit => "E_OUTPUT_LIMIT",
            Self::OutputMissing => "E_OUTPUT_MISSING",
            Self::ModuleInvalid => "E_MODULE_INVALID",
            Self::GuardIncomplete => "E_GUARD_INCOMPLETE",
            Self::OracleNondeterminism => "E_ORACLE_NONDETERMINISM",
            Self::OracleSpec => "E_ORACLE_SPEC",
            Self::OracleMissing => "E_ORACLE_MISSING",
            Self::RequireUnsat => "E_REQUIRE_UNSAT",
            Self::Lint => "E_LINT",
            Self::PortConformance => "E_PORT_CONFORMANCE",
            Self::Test => "E_TEST",
            Self::UpstreamRefused => "E_UPSTREAM_REFUSED",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Inconclusive => "INCONCLUSIVE",
        })
    }
}
