//! The states of a run and the moves between them (R1). Pure.

use std::fmt;
use std::str::FromStr;

use wire::event::RunStatus;

/// What the outside sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Waits for a worker.
    Pending,
    /// Its escrow is being taken.
    Opening,
    /// The escrow is taken; the module runs or its outputs are being sealed.
    Running,
    /// It is being settled on chain.
    Finalizing,
    /// Settled with outputs; it has a receipt and a pack.
    Finalized,
    /// Ended without outputs; `errorCode` says why.
    Failed,
    /// Ended because its user or an operator cancelled it.
    Cancelled,
}

impl From<Status> for RunStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Opening => Self::Opening,
            Status::Running => Self::Running,
            Status::Finalizing => Self::Finalizing,
            Status::Finalized => Self::Finalized,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

/// What a worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing was done: its chances are looked at, then it is opened.
    Queued,
    /// `open_run` is on its way.
    Opening,
    /// module-gate is asked for the execution.
    Executing,
    /// oracle-gate is asked for the seal.
    Sealing,
    /// The settlement is frozen; `finalize_run` is on its way.
    Settling,
    /// `void_run` is on its way.
    Voiding,
    /// The deadline is past; `reclaim_run` is on its way.
    Reclaiming,
    /// Failed and left open on purpose (`RUNNER_FINALIZE_ON_ERROR=false`, R3).
    EscrowOpen,
    /// Nothing is left to do.
    Done,
}

/// Who works on a phase. Executions last as long as their modules; what ends an escrow never waits
/// behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// What asks the network.
    Chain,
    /// What asks module-gate and oracle-gate.
    Gates,
}

impl Lane {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Chain => Self::Gates,
            Self::Gates => Self::Chain,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Gates => "gates",
        }
    }
}

/// A name in the database that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a known state of a run")]
pub struct UnknownState(String);

impl Status {
    /// Every status, in the order of a run's life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Opening,
        Self::Running,
        Self::Finalizing,
        Self::Finalized,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name in JSON, in the database and in event names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Finalizing => "finalizing",
            Self::Finalized => "finalized",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Opening,
        Self::Executing,
        Self::Sealing,
        Self::Settling,
        Self::Voiding,
        Self::Reclaiming,
        Self::EscrowOpen,
        Self::Done,
    ];

    /// The name in JSON and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Opening => "opening",
            Self::Executing => "executing",
            Self::Sealing => "sealing",
            Self::Settling => "settling",
            Self::Voiding => "voiding",
            Self::Reclaiming => "reclaiming",
            Self::EscrowOpen => "escrow_open",
            Self::Done => "done",
        }
    }

    /// Who works on it.
    pub const fn lane(self) -> Lane {
        match self {
            Self::Executing | Self::Sealing => Lane::Gates,
            Self::Queued
            | Self::Opening
            | Self::Settling
            | Self::Voiding
            | Self::Reclaiming
            | Self::EscrowOpen
            | Self::Done => Lane::Chain,
        }
    }

    /// The status that goes with the phase; `None` where the status stays what it was.
    pub const fn status(self) -> Option<Status> {
        match self {
            Self::Queued => Some(Status::Pending),
            Self::Opening => Some(Status::Opening),
            Self::Executing | Self::Sealing => Some(Status::Running),
            Self::Settling => Some(Status::Finalizing),
            Self::EscrowOpen => Some(Status::Failed),
            Self::Voiding | Self::Reclaiming | Self::Done => None,
        }
    }

    /// Whether a worker may take a run from this phase to `next`.
    pub const fn leads_to(self, next: Self) -> bool {
        use Phase::{
            Done, EscrowOpen, Executing, Opening, Queued, Reclaiming, Sealing, Settling, Voiding,
        };
        match self {
            Queued => matches!(next, Opening | Done),
            // Back to the queue when it is proven that nothing was opened.
            Opening => matches!(next, Queued | Executing | Voiding | Reclaiming | Done),
            Executing => {
                matches!(next, Sealing | Settling | Voiding | Reclaiming | EscrowOpen)
            }
            Sealing => matches!(next, Settling | Voiding | Reclaiming | EscrowOpen),
            Settling => matches!(next, Voiding | Reclaiming | Queued | Done),
            Voiding => matches!(next, Reclaiming | Queued | Done),
            EscrowOpen => matches!(next, Settling | Reclaiming),
            Reclaiming => matches!(next, Queued | Done),
            // By an explicit retry only.
            Done => matches!(next, Queued),
        }
    }
}

impl FromStr for Status {
    type Err = UnknownState;

    fn from_str(name: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| UnknownState(name.to_owned()))
    }
}

impl FromStr for Phase {
    type Err = UnknownState;

    fn from_str(name: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| UnknownState(name.to_owned()))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_read_back() {
        for status in Status::ALL {
            assert_eq!(status.name().parse::<Status>().unwrap(), status);
        }
        for phase in Phase::ALL {
            assert_eq!(phase.name().parse::<Phase>().unwrap(), phase);
        }
        assert!("paused".parse::<Phase>().is_err());
    }

    #[test]
    fn every_phase_can_come_to_an_end() {
        for start in Phase::ALL {
            let mut reached = BTreeSet::from([start.name()]);
            let mut todo = vec![start];
            while let Some(phase) = todo.pop() {
                for next in Phase::ALL.into_iter().filter(|next| phase.leads_to(*next)) {
                    if reached.insert(next.name()) {
                        todo.push(next);
                    }
                }
            }
            assert!(reached.contains("done"), "{start} never ends");
        }
    }

    #[test]
    fn escrow_is_never_left_behind_without_an_owner() {
        // From these phases a record may be open on chain: only a phase that closes it may end the
        // run.
        for phase in [Phase::Executing, Phase::Sealing, Phase::EscrowOpen] {
            assert!(!phase.leads_to(Phase::Done), "{phase} ends with escrow open");
            assert!(!phase.leads_to(Phase::Queued), "{phase} starts again with escrow open");
        }
    }

    #[test]
    fn nothing_runs_before_it_is_opened() {
        for phase in Phase::ALL.into_iter().filter(|phase| phase.leads_to(Phase::Executing)) {
            assert_eq!(phase, Phase::Opening);
        }
    }
}
