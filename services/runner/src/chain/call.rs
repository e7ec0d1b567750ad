//! A call: what one attempt wants done once on chain (R17).
//!
//! A step of a run wants it; a sender signs it, alone or with others; what becomes of the
//! transaction decides about each of its calls. Whatever is wanted ends as one of the other states,
//! and the run is woken then.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wire::{Nonce, RunId, VaultRunId};

use crate::chain::transaction::{Kind, UnknownName};
use crate::metrics;
use crate::model::settlement::Settlement;
use crate::model::terms::Terms;

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// Nothing that was signed for it can land.
    Wanted,
    /// It is in a transaction that may land.
    Signed,
    /// It was done.
    Done,
    /// The vault refused it, and nothing was done.
    Refused,
    /// It cannot land in time, or has to be wanted with other arguments; nothing was done.
    Late,
    /// Whether it was done is not known.
    Unknown,
    /// It was called off before it was signed; nothing was done.
    Withdrawn,
}

/// What is asked of the vault: frozen when the call is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a sender holds a few dozen of them for a moment")]
pub enum Arguments {
    /// `open_run`. The deadline in the terms is set when it is signed.
    Open {
        /// What the run is opened under.
        terms: Terms,
        /// What makes its id.
        nonce: Nonce,
        /// When the run's chances were looked at, Unix seconds.
        judged_at: i64,
    },
    /// `finalize_run`.
    Finalize {
        /// The run.
        run: VaultRunId,
        /// What it was opened under.
        terms: Terms,
        /// What is settled.
        settlement: Settlement,
    },
    /// `void_run`.
    Void {
        /// The run.
        run: VaultRunId,
        /// Why, by the vault's numbering.
        reason: u32,
    },
    /// `reclaim_run`.
    Reclaim {
        /// The run.
        run: VaultRunId,
    },
}

/// A call that a sender has reserved.
#[derive(Debug, Clone)]
pub struct WantedCall {
    /// Its number.
    pub id: i64,
    /// The run.
    pub run: RunId,
    /// Its attempt.
    pub attempt: u32,
    /// What is asked.
    pub arguments: Arguments,
    /// The run's deadline, if it is fixed.
    pub deadline: Option<u64>,
    /// It was done, and is signed again only to hear the kept answer.
    pub repeats: bool,
    /// How often it came to nothing.
    pub failures: u32,
}

/// A call in a transaction.
#[derive(Debug, Clone)]
pub struct Member {
    /// The call.
    pub call: i64,
    /// The run.
    pub run: RunId,
    /// What was asked; absent in what older releases stored.
    pub arguments: Option<Arguments>,
    /// The run's id in the vault that it was signed for.
    pub vault_run_id: Option<VaultRunId>,
    /// The run's deadline that it was signed with.
    pub deadline: u64,
    /// How often the call came to nothing before.
    pub failures: u32,
    /// Its place in the transaction, from 0.
    pub place: usize,
    /// How many calls the transaction carries.
    pub together: usize,
}

/// A member of a transaction that is about to be stored.
#[derive(Debug, Clone)]
pub struct SignedCall {
    /// The call.
    pub call: i64,
    /// The run.
    pub run: RunId,
    /// Its attempt.
    pub attempt: u32,
    /// The run's id in the vault.
    pub vault_run_id: VaultRunId,
    /// The run's deadline.
    pub deadline: u64,
    /// Of an opening: the terms with that deadline, which are pinned with the signature.
    pub terms: Option<Terms>,
}

impl Arguments {
    /// Which call it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Open { .. } => Kind::Open,
            Self::Finalize { .. } => Kind::Finalize,
            Self::Void { .. } => Kind::Void,
            Self::Reclaim { .. } => Kind::Reclaim,
        }
    }
}

impl CallState {
    /// How a call in this state has ended, if it has: a value of the attribute `outcome` of
    /// `lumio.runner.calls`.
    const fn outcome(self) -> Option<&'static str> {
        match self {
            Self::Done => Some("done"),
            Self::Refused => Some("refused"),
            Self::Late => Some("expired"),
            Self::Withdrawn => Some("withdrawn"),
            Self::Unknown => Some("unknown"),
            Self::Wanted | Self::Signed => None,
        }
    }

    const ALL: [Self; 7] = [
        Self::Wanted,
        Self::Signed,
        Self::Done,
        Self::Refused,
        Self::Late,
        Self::Unknown,
        Self::Withdrawn,
    ];

    /// The name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Signed => "signed",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Late => "late",
            Self::Unknown => "unknown",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether a sender will carry it further; its run waits meanwhile and is held by no worker.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Wanted | Self::Signed)
    }
}

impl FromStr for CallState {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| UnknownName(name.to_owned()))
    }
}

impl fmt::Display for CallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Counts the calls among these that have ended; the others go on. The caller has committed the
/// states that they are in now.
pub fn count_ends(changes: &[(Kind, CallState)]) {
    for (kind, state) in changes {
        if let Some(outcome) = state.outcome() {
            metrics::call_ended(kind.name(), outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_one_outcome_once_no_sender_carries_it_further() {
        let states = ["wanted", "signed", "done", "refused", "late", "unknown", "withdrawn"];
        let states: Vec<CallState> = states.iter().map(|name| name.parse().unwrap()).collect();
        for state in &states {
            assert_eq!(state.outcome().is_none(), state.is_active(), "{state}");
        }
        let mut outcomes: Vec<_> = states.into_iter().filter_map(CallState::outcome).collect();
        outcomes.sort_unstable();
        assert_eq!(outcomes, ["done", "expired", "refused", "unknown", "withdrawn"]);
    }
}
