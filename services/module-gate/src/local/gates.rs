//! `gates`: every module of a compose plan through the phases of a gate, with events, a summary and
//! a hook.

pub mod events;
pub mod formats;
mod npm;
mod run;

use std::collections::BTreeMap;

use serde::Serialize;
use wire::digest::Digest;
use wire::statement::Verdict;

use crate::judging::checks::Flaw;
use crate::judging::effects::SideEffectSummary;
use crate::judging::finding::GuardInfo;
use crate::judging::judge::TestResult;
use crate::judging::oracle::CaseResult;
use crate::module::compose::Provider;

pub use self::run::{GateRun, Mode, run};

/// Everything a gate found out. The same facts as text and as JSON (C1).
#[derive(Debug, Serialize)]
pub struct GateSummary {
    /// The plan's name.
    pub run_id: String,
    /// `conceptual` or `shipping`.
    pub mode: Mode,
    /// PASS, FAIL or INCONCLUSIVE; none where reads were let through, which makes no verdict.
    pub verdict: Option<Verdict>,
    /// The code that decides, unless it is a PASS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Digest of the plan's canonical JSON.
    pub compose_sha256: Digest,
    /// Ids of the plan's modules.
    pub modules: Vec<String>,
    /// Modules by how they came through.
    pub results: Results,
    /// Tests.
    pub tests: TestTotals,
    /// Oracles.
    pub oracles: OracleTotals,
    /// `npm pack`.
    pub npm_pack: NpmPack,
    /// What each module did.
    pub side_effects: SideEffects,
    /// Who provides which port.
    pub providers: Vec<Provider>,
    /// Everything that speaks against a PASS.
    pub failures: Vec<GateFailure>,
    /// What deserves a word although it decides nothing.
    pub warnings: Vec<Warning>,
    /// What the modules ran on.
    pub runtime: Runtime,
    /// Each module's tests and cases.
    pub details: Vec<ModuleDetail>,
    /// Time over all, in milliseconds.
    pub duration_ms: u64,
    /// The phases in their order.
    pub phases: Vec<Phase>,
}

/// Modules by how they came through.
#[derive(Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the words say it")]
pub struct Results {
    pub passed: u32,
    pub failed: u32,
    pub skipped: u32,
}

/// Tests by how they ended.
#[derive(Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the words say it")]
pub struct TestTotals {
    pub total: u32,
    pub passed: u32,
    pub failed: u32,
    pub skipped: u32,
}

/// Oracle cases.
#[derive(Debug, Default, Serialize)]
pub struct OracleTotals {
    /// How they ended together.
    pub status: Status,
    /// Cases that were run.
    pub cases: u32,
    /// Cases that passed.
    pub passed: u32,
    /// Identical attempts over all cases.
    pub attempts: u32,
    /// Specs that were read.
    pub specs: Vec<String>,
}

/// `npm pack`.
#[derive(Debug, Default, Serialize)]
pub struct NpmPack {
    /// How it ended.
    pub status: Status,
    /// Modules that are npm packages, and were packed.
    pub packed: Vec<String>,
}

/// What each module did.
#[derive(Debug, Default, Serialize)]
pub struct SideEffects {
    /// By module.
    pub modules: BTreeMap<String, SideEffectSummary>,
}

/// One thing that speaks against a PASS.
#[derive(Debug, Clone, Serialize)]
pub struct GateFailure {
    /// The code.
    pub code: String,
    /// In words.
    pub error: String,
    /// The module it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The test it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// The oracle case it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// The file it is about, relative to the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

impl GateFailure {
    /// A failure of a module, or of the plan where there is none.
    pub fn new(code: impl ToString, module: Option<&str>, error: impl Into<String>) -> Self {
        Self {
            code: code.to_string(),
            error: error.into(),
            module: module.map(str::to_owned),
            test: None,
            case: None,
            file: None,
            line: None,
        }
    }

    /// A flaw of a module.
    pub fn of(flaw: &Flaw, module: &str) -> Self {
        Self {
            file: flaw.file.clone(),
            line: flaw.line,
            ..Self::new(flaw.finding.code, Some(module), &flaw.finding.reason)
        }
    }
}

/// A warning.
#[derive(Debug, Clone, Serialize)]
pub struct Warning {
    /// The code.
    pub code: &'static str,
    /// The module it is about.
    pub module: Option<String>,
    /// In words.
    pub message: String,
}

/// What the modules ran on.
#[derive(Debug, Serialize)]
pub struct Runtime {
    /// The Node program.
    pub node: String,
    /// Its version.
    pub node_version: String,
    /// What watched.
    pub guard: GuardInfo,
    /// `deny` as in the service, or `list`, which makes no verdict.
    pub reads: &'static str,
    /// What the service's policy with the same rules is called.
    pub policy_sha256: Digest,
}

/// A module's tests and cases.
#[derive(Debug, Serialize)]
pub struct ModuleDetail {
    /// Its id.
    pub module: String,
    /// Digest of its tree.
    pub module_digest: Option<Digest>,
    /// Its tests.
    pub tests: Vec<TestResult>,
    /// Its oracle cases.
    pub cases: Vec<CaseResult>,
}

/// One phase.
#[derive(Debug, Serialize)]
pub struct Phase {
    /// Which one.
    pub name: &'static str,
    /// How long it took, in milliseconds.
    pub dur_ms: u64,
    /// How it ended.
    pub status: Status,
}

/// How a phase ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the words say it")]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[serde(rename = "pass")]
    Pass,
    #[serde(rename = "fail")]
    Fail,
    #[default]
    #[serde(rename = "skipped")]
    Skipped,
}
