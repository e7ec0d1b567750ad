//! The books of one user: free balance, escrow by day of deadline, the day's caps, the receipts.
//!
//! Escrow is kept as two sums, because a deadline is at most a day away and so falls on today or
//! tomorrow. When a day has passed, its sum belongs to the user again: whatever was not settled by
//! then never will be. That is why no run record is needed to get money back (V3). The daily cap
//! counts in the same day: what was opened and settled today is spent, what was opened today and
//! is still open is reserved (V8).
//!
//! Nothing here checks who is calling.

use soroban_sdk::{Address, BytesN, Env};

use crate::error::VaultError;
use crate::event::AccountSwept;
use crate::types::{Account, PolicyInput, UserPolicy};
use crate::{storage, time};

/// A user's account brought to today, and what that returned to the balance.
pub(crate) struct Touched {
    user: Address,
    returned: i128,
    /// The books as of today.
    pub(crate) account: Account,
}

/// Loads an account and returns the escrow of past days to its balance. Writes nothing.
pub(crate) fn touch(env: &Env, user: &Address) -> Result<Touched, VaultError> {
    let mut account = storage::account(env, user).unwrap_or_else(|| Account::empty(env));
    let returned = account.roll(time::day(time::now(env))?)?;
    Ok(Touched { user: user.clone(), returned, account })
}

impl Touched {
    /// What past days gave back.
    pub(crate) fn returned(&self) -> i128 {
        self.returned
    }

    /// Writes the account, with an event of what past days gave back.
    pub(crate) fn save(self, env: &Env) {
        storage::set_account(env, &self.user, &self.account);
        if self.returned > 0 {
            AccountSwept {
                user: self.user,
                amount: self.returned,
                balance: self.account.balance,
                day: self.account.day,
            }
            .publish(env);
        }
    }
}

impl Account {
    fn empty(env: &Env) -> Self {
        Self {
            balance: 0,
            due_today: 0,
            due_tomorrow: 0,
            day: 0,
            spent: 0,
            reserved: 0,
            per_run_cap: 0,
            daily_cap: 0,
            paused: false,
            receipts: 0,
            receipts_hash: BytesN::from_array(env, &[0; 32]),
        }
    }

    /// Moves the books to `today`; answers what past days gave back. Time does not go backwards.
    fn roll(&mut self, today: u32) -> Result<i128, VaultError> {
        let (past, still_due) = match today.checked_sub(self.day) {
            None | Some(0) => return Ok(0),
            Some(1) => (self.due_today, self.due_tomorrow),
            Some(_) => (plus(self.due_today, self.due_tomorrow)?, 0),
        };
        self.balance = plus(self.balance, past)?;
        self.due_today = still_due;
        self.due_tomorrow = 0;
        self.spent = 0;
        self.reserved = 0;
        self.day = today;
        Ok(past)
    }

    /// Whether the user's own caps and balance allow this escrow now, in the order of the codes.
    pub(crate) fn check_caps(&self, escrow: i128) -> Result<(), VaultError> {
        if self.paused {
            return Err(VaultError::PolicyPaused);
        }
        if self.per_run_cap != 0 && escrow > self.per_run_cap {
            return Err(VaultError::PerRunCapExceeded);
        }
        let in_use = plus(self.spent, self.reserved)?;
        let with_this = in_use.checked_add(escrow).ok_or(VaultError::DailyCapExceeded)?;
        if self.daily_cap != 0 && with_this > self.daily_cap {
            return Err(VaultError::DailyCapExceeded);
        }
        if escrow > self.balance {
            return Err(VaultError::InsufficientBalance);
        }
        Ok(())
    }

    /// Sets escrow aside for a run whose deadline falls on `due_day`.
    pub(crate) fn reserve(&mut self, escrow: i128, due_day: u32) -> Result<(), VaultError> {
        self.balance = minus(self.balance, escrow)?;
        let due = self.due(due_day)?;
        *due = plus(*due, escrow)?;
        self.reserved = plus(self.reserved, escrow)?;
        Ok(())
    }

    /// Ends a run: `spent` of its escrow leaves the account, the rest returns to the balance. The
    /// day's sums change only if the run was opened today (V8).
    pub(crate) fn settle(
        &mut self,
        escrow: i128,
        spent: i128,
        due_day: u32,
        opened_day: u32,
    ) -> Result<(), VaultError> {
        let refund = minus(escrow, spent)?;
        let due = self.due(due_day)?;
        *due = minus(*due, escrow)?;
        self.balance = plus(self.balance, refund)?;
        if opened_day == self.day {
            self.reserved = minus(self.reserved, escrow)?;
            self.spent = plus(self.spent, spent)?;
        }
        Ok(())
    }

    /// Sets the caps; what the day has used stays.
    pub(crate) fn set_policy(&mut self, policy: &PolicyInput) {
        self.per_run_cap = policy.per_run_cap;
        self.daily_cap = policy.daily_cap;
        self.paused = policy.paused;
    }

    /// The caps and what of the day is used.
    pub(crate) fn policy(&self) -> UserPolicy {
        UserPolicy {
            per_run_cap: self.per_run_cap,
            daily_cap: self.daily_cap,
            paused: self.paused,
            spent_today: self.spent,
            reserved_today: self.reserved,
            reserved_day: u64::from(self.day),
        }
    }

    fn due(&mut self, day: u32) -> Result<&mut i128, VaultError> {
        match day.checked_sub(self.day) {
            Some(0) => Ok(&mut self.due_today),
            Some(1) => Ok(&mut self.due_tomorrow),
            _ => Err(VaultError::AccountingBroken),
        }
    }
}

/// A sum of amounts that are all parts of the liabilities, so that it cannot overflow.
pub(crate) fn plus(one: i128, other: i128) -> Result<i128, VaultError> {
    one.checked_add(other).ok_or(VaultError::AccountingBroken)
}

/// A difference that must not be negative.
pub(crate) fn minus(whole: i128, part: i128) -> Result<i128, VaultError> {
    match whole.checked_sub(part) {
        Some(rest) if rest >= 0 => Ok(rest),
        _ => Err(VaultError::AccountingBroken),
    }
}
