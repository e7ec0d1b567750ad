//! What the operator chose for the runs of this runner.

use std::time::Duration;

use ed25519_dalek::VerifyingKey;

/// What the operator chose.
#[derive(Debug, Clone)]
pub struct RunPolicy {
    /// How long after ledger time a run's deadline is set, in seconds.
    pub deadline_secs: u64,
    /// Flat fee for a run that this runner opens and settles, in stroops (V13).
    pub runner_fee: i128,
    /// What must be left before the deadline when a module has ended, in seconds (V7).
    pub margin_secs: u64,
    /// A module is stopped after this many milliseconds.
    pub wall_limit_ms: u64,
    /// How many modules this process runs at one time. Seals have no limit of their own: a worker
    /// keeps its run from the execution to the seal, so that no runs pile up that were executed and
    /// whose deadline draws near.
    pub executions: usize,
    /// Whether a failed run is settled with zero at once (R3).
    pub finalize_on_error: bool,
    /// module-gate's keys this runner accepts; empty is whatever the agent names.
    pub attestation_keys: Vec<VerifyingKey>,
    /// How long a claim lasts without a sign of life, in milliseconds.
    pub lease_ms: i64,
    /// How long a call waits for others to share a transaction with, at most.
    pub batch_delay: Duration,
    /// How many calls share one, at most.
    pub batch_most: usize,
    /// First token of subjects.
    pub nats_prefix: String,
    /// How many runs may be under way at one time.
    pub places: Places,
    /// What a run has to come to, and how much of one user and one developer is borne.
    pub worth: WorthLimits,
}

/// What the operator bears (V13).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorthLimits {
    /// The least that a run may come to, charge and fee together, in stroops.
    pub least: i128,
    /// Over how many seconds openings and failures are counted.
    pub window_secs: u64,
    /// Openings of one user.
    pub opens_per_user: Option<u32>,
    /// Openings on all agents of one developer.
    pub opens_per_developer: Option<u32>,
    /// Runs of one user that failed, other than by the operator's fault.
    pub failures_per_user: Option<u32>,
    /// The same on all agents of one developer.
    pub failures_per_developer: Option<u32>,
}

impl WorthLimits {
    /// Whether anything has to be counted.
    pub const fn counts(&self) -> bool {
        self.opens_per_user.is_some()
            || self.opens_per_developer.is_some()
            || self.failures_per_user.is_some()
            || self.failures_per_developer.is_some()
    }
}

/// How many runs may be under way at one time. What is above waits in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Places {
    /// Of one user.
    pub per_user: Option<u32>,
    /// Of one agent.
    pub per_agent: Option<u32>,
}

impl Places {
    /// Whether there is any limit.
    pub const fn is_limited(self) -> bool {
        self.per_user.is_some() || self.per_agent.is_some()
    }

    /// The limit of one user, as statements have it.
    pub fn of_user(self) -> Option<i64> {
        self.per_user.map(i64::from)
    }

    /// The limit of one agent, as statements have it.
    pub fn of_agent(self) -> Option<i64> {
        self.per_agent.map(i64::from)
    }
}

/// How far openings may be ahead of executions: what is opened has a deadline, and is void where no
/// executor comes to it in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookahead {
    /// How many modules this process runs at one time.
    pub executions: i64,
    /// How long a run may wait for an executor once it is opened, in milliseconds.
    pub patience_ms: i64,
    /// How long an execution takes of which nothing was measured, in milliseconds.
    pub unmeasured_ms: i64,
}

impl RunPolicy {
    /// How far openings may be ahead of executions.
    ///
    /// Executions may take twice as long as those that were measured, so half of the time counts
    /// that a run has until its module must have started.
    pub fn lookahead(&self) -> Lookahead {
        let spare_secs = self.deadline_secs.saturating_sub(self.needed_secs());
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Lookahead {
            executions: i64::try_from(self.executions).unwrap_or(i64::MAX),
            patience_ms: signed(spare_secs.saturating_mul(1_000) / 2),
            unmeasured_ms: signed(self.wall_limit_ms),
        }
    }

    /// What must be left before the deadline when a module starts, in seconds (V7).
    pub const fn needed_secs(&self) -> u64 {
        self.margin_secs.saturating_add(self.wall_secs())
    }

    /// The wall limit in whole seconds, rounded up.
    pub const fn wall_secs(&self) -> u64 {
        self.wall_limit_ms.div_ceil(1_000)
    }
}
