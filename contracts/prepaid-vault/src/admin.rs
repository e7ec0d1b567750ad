//! The vault's side of administration (V2, V20): its own error numbers, its view, and the pause of
//! opens. The rules of hand-over and upgrade are in `contract_administration`. None of them reaches
//! money: nothing here stops a withdrawal, settlement, void or reclaim.

use contract_administration::{self as administration, Failure, Scheduled, State};
use soroban_sdk::Env;

use crate::error::VaultError;
use crate::event::{OpensPaused, OpensResumed};
use crate::storage;
use crate::time::MAX_DEADLINE_SECONDS;
use crate::types::Administration;

/// The form in which this code keeps its data.
pub(crate) const LAYOUT: u32 = 1;
// Whoever does not want new code can let every open run end before it is in place (V2).
const _: () = assert!(administration::UPGRADE_DELAY_SECONDS > MAX_DEADLINE_SECONDS);

/// Stops new runs, or lets them open again. Where nothing changes, no event is published.
pub(crate) fn set_opens_paused(env: &Env, paused: bool) -> Result<(), VaultError> {
    let admin = administration::require_admin(env)?;
    if storage::opens_paused(env) == paused {
        return Ok(());
    }

    storage::set_opens_paused(env, paused);
    if paused {
        OpensPaused { admin }.publish(env)
    } else {
        OpensResumed { admin }.publish(env)
    }
    Ok(())
}

/// Refuses a new run while the admin has paused opens or the data wait for `migrate`.
pub(crate) fn check_opens(env: &Env) -> Result<(), VaultError> {
    if storage::opens_paused(env) || administration::layout(env) != LAYOUT {
        return Err(VaultError::OpensPaused);
    }
    Ok(())
}

/// The state of administration.
pub(crate) fn state(env: &Env) -> Result<Administration, VaultError> {
    let State { admin, proposed, scheduled, layout } = administration::state(env)?;
    let (upgrade_to, upgrade_at, upgrade_until) = match scheduled {
        Some(Scheduled(wasm_hash, ready_at, lapses_at)) => {
            (Some(wasm_hash), Some(ready_at), Some(lapses_at))
        }
        None => (None, None, None),
    };
    Ok(Administration {
        admin,
        proposed,
        upgrade_to,
        upgrade_at,
        upgrade_until,
        opens_paused: storage::opens_paused(env),
        layout,
    })
}

impl From<Failure> for VaultError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotInitialized => Self::NotInitialized,
            Failure::NotProposed => Self::AdminNotProposed,
            Failure::NotScheduled => Self::UpgradeNotScheduled,
            Failure::NotReady => Self::UpgradeNotReady,
        }
    }
}
