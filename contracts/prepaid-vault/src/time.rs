//! Ledger time, never ledger counts: what may happen until when.

use soroban_sdk::Env;

use crate::error::VaultError;

/// Seconds of a UTC day.
pub(crate) const DAY_SECONDS: u64 = 86_400;
/// Nearest deadline of a run, in seconds from ledger time.
const MIN_DEADLINE_SECONDS: u64 = 600;
/// Farthest deadline of a run. A day at most, so that a deadline falls on today or tomorrow (V3).
pub(crate) const MAX_DEADLINE_SECONDS: u64 = DAY_SECONDS;

pub(crate) fn now(env: &Env) -> u64 {
    env.ledger().timestamp()
}

/// The UTC day of a time.
pub(crate) fn day(at: u64) -> Result<u32, VaultError> {
    u32::try_from(at / DAY_SECONDS).map_err(|_| VaultError::AccountingBroken)
}

/// Refuses a call that lingered beyond what its signer allowed.
pub(crate) fn check_valid(now: u64, valid_until: u64) -> Result<(), VaultError> {
    if now > valid_until { Err(VaultError::Expired) } else { Ok(()) }
}

/// Refuses a deadline out of range, or one that the run's record could not live to see (V17).
pub(crate) fn check_deadline(env: &Env, now: u64, deadline: u64) -> Result<(), VaultError> {
    match deadline.checked_sub(now) {
        // Ledger time rises by at least a second a ledger, so this many ledgers are enough.
        Some(away @ MIN_DEADLINE_SECONDS..=MAX_DEADLINE_SECONDS)
            if away <= u64::from(env.storage().max_ttl()) =>
        {
            Ok(())
        }
        _ => Err(VaultError::DeadlineOutOfRange),
    }
}
