//! What the vault answers about an account.

use stellar_xdr::ScVal;
use wire::Digest;

use crate::scval::{self, Reader};
use crate::{Address, ChainError};

/// A user's caps in stroops. 0 is no cap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Most that one run may escrow.
    pub per_run_cap: i128,
    /// Most that may be spent and reserved in one UTC day.
    pub daily_cap: i128,
    /// While true no run opens.
    pub paused: bool,
}

/// The caps, and how much of the day's is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyState {
    /// The caps.
    pub policy: Policy,
    /// Charged on that day, stroops.
    pub spent_today: i128,
    /// Escrowed on that day and not settled, stroops.
    pub reserved_today: i128,
    /// The UTC day, counted from 1970.
    pub reserved_day: u64,
}

/// A user's account, with all that past days owe it already returned. Amounts in stroops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// What can be withdrawn or escrowed now.
    pub balance: i128,
    /// Escrow of runs whose deadline lies in `day`.
    pub due_today: i128,
    /// Escrow of runs whose deadline lies in the day after.
    pub due_tomorrow: i128,
    /// The UTC day, counted from 1970.
    pub day: u32,
    /// Charges and fees of runs opened and settled in `day`.
    pub spent: i128,
    /// Escrow of runs opened in `day` and not settled yet.
    pub reserved: i128,
    /// The caps.
    pub policy: Policy,
    /// How many runs of this account were finalised.
    pub receipts: u64,
    /// The running hash over their receipts (V3).
    pub receipts_hash: Digest,
}

/// A runner's right to open runs for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Who may open runs.
    pub runner: Address,
    /// For which agent.
    pub agent_id: u32,
    /// When it was granted, Unix seconds.
    pub issued_at: u64,
    /// From when it is dead, Unix seconds; `None` is never.
    pub expires_at: Option<u64>,
    /// Counts the user's grants from 1.
    pub serial: u32,
    /// Stroops that runs under this serial were charged or still reserve.
    pub used: i128,
}

/// What a runner is allowed for an agent, beyond the user's caps. Stroops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GrantLimits {
    /// Most that one run may escrow, the fee included; 0 is no cap.
    pub per_run_cap: i128,
    /// Most that all runs under one grant may be charged and reserve; 0 is no cap.
    pub total_cap: i128,
    /// Highest flat fee of a run; 0 is no fee.
    pub max_runner_fee: i128,
}

/// Whom the vault was set up with. Registry and token never change (V2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Who may administer.
    pub admin: Address,
    /// The agent registry.
    pub registry: Address,
    /// The SEP-41 token in custody.
    pub token: Address,
}

impl Policy {
    pub(super) fn to_val(self) -> Result<ScVal, ChainError> {
        scval::map([
            ("per_run_cap", scval::i128(self.per_run_cap)),
            ("daily_cap", scval::i128(self.daily_cap)),
            ("paused", ScVal::Bool(self.paused)),
        ])
    }

    fn from_val(value: &Reader<'_>) -> Result<Self, ChainError> {
        Ok(Self {
            per_run_cap: value.field("per_run_cap")?.i128()?,
            daily_cap: value.field("daily_cap")?.i128()?,
            paused: value.field("paused")?.bool()?,
        })
    }
}

impl PolicyState {
    /// Reads what `get_policy` answers.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`] naming the field. So for all that follow.
    pub fn from_val(value: &ScVal) -> Result<Self, ChainError> {
        let value = Reader::new("policy", value);
        Ok(Self {
            policy: Policy::from_val(&value)?,
            spent_today: value.field("spent_today")?.i128()?,
            reserved_today: value.field("reserved_today")?.i128()?,
            reserved_day: value.field("reserved_day")?.u64()?,
        })
    }
}

impl Account {
    /// Reads what `account` answers.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`].
    pub fn from_val(value: &ScVal) -> Result<Self, ChainError> {
        let value = Reader::new("account", value);
        Ok(Self {
            balance: value.field("balance")?.i128()?,
            due_today: value.field("due_today")?.i128()?,
            due_tomorrow: value.field("due_tomorrow")?.i128()?,
            day: value.field("day")?.u32()?,
            spent: value.field("spent")?.i128()?,
            reserved: value.field("reserved")?.i128()?,
            policy: Policy::from_val(&value)?,
            receipts: value.field("receipts")?.u64()?,
            receipts_hash: value.field("receipts_hash")?.digest()?,
        })
    }
}

impl Grant {
    /// Reads one element of what `list_runner_grants` answers.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`].
    pub fn from_val(value: &Reader<'_>) -> Result<Self, ChainError> {
        Ok(Self {
            runner: value.field("runner")?.address()?,
            agent_id: value.field("agent_id")?.u32()?,
            issued_at: value.field("issued_at")?.u64()?,
            expires_at: value.field("expires_at")?.optional().map(|at| at.u64()).transpose()?,
            serial: value.field("serial")?.u32()?,
            used: value.field("used")?.i128()?,
        })
    }
}

impl GrantLimits {
    pub(super) fn to_val(self) -> Result<ScVal, ChainError> {
        scval::map([
            ("per_run_cap", scval::i128(self.per_run_cap)),
            ("total_cap", scval::i128(self.total_cap)),
            ("max_runner_fee", scval::i128(self.max_runner_fee)),
        ])
    }

    /// Reads what `grant_limits` answers; `None` when no limits were set.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`].
    pub fn from_val(value: &Reader<'_>) -> Result<Option<Self>, ChainError> {
        let read = |limits: Reader<'_>| {
            Ok(Self {
                per_run_cap: limits.field("per_run_cap")?.i128()?,
                total_cap: limits.field("total_cap")?.i128()?,
                max_runner_fee: limits.field("max_runner_fee")?.i128()?,
            })
        };
        value.optional().map(read).transpose()
    }
}
