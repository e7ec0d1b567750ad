//! What can happen in a sequence. Everything is small numbers, so that a failing list reads well.

use core::fmt;

use super::super::std::vec::Vec as List;

use super::super::reference_model::Signature;
use crate::UsageBreakdown;

/// A step, and whether whoever must sign it does.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub step: Step,
    pub signed: bool,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.step, if self.signed { "" } else { ", unsigned" })
    }
}

/// People are numbered. A run is counted back from the newest; an agent of number 2 doesn't exist.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Deposit {
        user: usize,
        amount: i128,
    },
    Withdraw {
        user: usize,
        amount: i128,
    },
    SetPolicy {
        user: usize,
        per_run: i128,
        daily: i128,
        paused: bool,
    },
    SetLimits {
        user: usize,
        runner: usize,
        agent: usize,
        per_run: i128,
        total: i128,
        fee: i128,
    },
    Grant {
        user: usize,
        runner: usize,
        agent: usize,
        expires_in: Option<u64>,
    },
    Revoke {
        user: usize,
        runner: usize,
        agent: usize,
    },
    Open {
        asked: Asked,
        late: bool,
    },
    OpenAgain {
        run: usize,
        other_request: bool,
    },
    OpenBatch {
        runner: usize,
        asked: List<Asked>,
        twice: bool,
        late: bool,
    },
    Settle {
        run: usize,
        stated: Stated,
        late: bool,
    },
    SettleAgain {
        run: usize,
    },
    SettleBatch {
        runner: usize,
        stated: List<(usize, Stated)>,
        late: bool,
    },
    Void {
        run: usize,
        by: Option<usize>,
        reason: u32,
        late: bool,
    },
    Reclaim {
        run: usize,
    },
    Cancel {
        run: usize,
        by: Option<usize>,
    },
    Sweep {
        user: usize,
    },
    ClaimDeveloper {
        developer: usize,
        amount: i128,
    },
    ClaimRunner {
        runner: usize,
        amount: i128,
    },
    Donate {
        amount: i128,
    },
    List {
        agent: usize,
        runner: usize,
    },
    Delist {
        agent: usize,
        runner: usize,
    },
    Publish {
        agent: usize,
        price: i128,
    },
    PauseOpens {
        paused: bool,
    },
    ProposeAdmin {
        who: usize,
    },
    AcceptAdmin,
    Schedule {
        code: u8,
    },
    CancelUpgrade,
    Upgrade {
        code: u8,
    },
    Migrate,
    Pass {
        seconds: u64,
    },
    /// To a run's deadline, or to the second before.
    PassToDeadline {
        run: usize,
        before: bool,
    },
    Lose {
        run: usize,
    },
}

/// What an opener asks for; in a batch the runner is the batch's.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub user: usize,
    pub runner: usize,
    pub agent: usize,
    /// 0 is the latest rate card, 1 the one before, and so on.
    pub back: u32,
    pub budgets: UsageBreakdown,
    /// What the opener expects beyond the price; below 0 it expects less.
    pub slack: i128,
    pub fee: i128,
    pub deadline_in: u64,
}

/// What a settler states; no `by` is whoever may settle now.
#[derive(Clone, Debug)]
pub(super) struct Stated {
    pub by: Option<usize>,
    /// Per cent of the budget.
    pub share: i128,
    pub hash: u8,
    pub honest: bool,
    pub signature: Signature,
}
