//! Events published by module-gate. An event about a verdict is a hint; the signed statement is the
//! truth (M10).

use serde::{Deserialize, Serialize};

use super::{Data, Family};
use crate::statement::{Code, Verdict};
use crate::{Digest, RunId};

/// The events about a module and its verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GateEvent {
    /// It was executed for a run.
    Executed,
    /// It was judged for shipping.
    Shipped,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateData {
    /// The run it was executed for, with dashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Which attempt of it, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Digest of the module's tree.
    pub module_digest: Digest,
    /// What was found.
    pub verdict: Verdict,
    /// Set unless the verdict is PASS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

impl Data for GateData {
    const FAMILY: Family = Family::Gate;
    type Name = GateEvent;

    fn key(&self) -> String {
        // The module and not the run: a verdict for shipping belongs to no run.
        self.module_digest.to_string()
    }
}

/// The events about a judgement that callers share: oracle cases, and plans at the shipping gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JudgementEvent {
    /// The oracle cases of a stored module were run.
    OraclesJudged,
    /// A plan with this module went through the shipping gate.
    PlanJudged,
}

/// What came of a judgement, for one of its modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgementData {
    /// Digest of the module's tree.
    pub module_digest: Digest,
    /// Digest of everything that the result depends on: the same request has the same, and so have
    /// the events of all modules of a plan.
    pub judgement: Digest,
    /// What was found, of a plan for the whole of it.
    pub verdict: Verdict,
    /// Set unless the verdict is PASS. A plan has codes of its own beside those of a module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl Data for JudgementData {
    const FAMILY: Family = Family::Gate;
    type Name = JudgementEvent;

    fn key(&self) -> String {
        self.module_digest.to_string()
    }
}

impl JudgementEvent {
    /// Every event about a judgement.
    pub const ALL: [Self; 2] = [Self::OraclesJudged, Self::PlanJudged];
}

impl From<JudgementEvent> for &'static str {
    fn from(event: JudgementEvent) -> Self {
        match event {
            JudgementEvent::OraclesJudged => "oracles_judged",
            JudgementEvent::PlanJudged => "plan_judged",
        }
    }
}

impl GateEvent {
    /// Every event of the family.
    pub const ALL: [Self; 2] = [Self::Executed, Self::Shipped];
}

impl From<GateEvent> for &'static str {
    fn from(event: GateEvent) -> Self {
        match event {
            GateEvent::Executed => "executed",
            GateEvent::Shipped => "shipped",
        }
    }
}
