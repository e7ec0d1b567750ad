//! What the admin may do (V2): hand over in two steps, replace the code after a delay that everybody
//! can see, stop new runs. None of it reaches money: nothing here stops a withdrawal, settlement,
//! void or reclaim, and the delay is longer than any run's deadline.

use soroban_sdk::{Address, BytesN, ContractExecutable, Env};

use crate::error::VaultError;
use crate::event::{
    AdminAccepted, AdminProposed, Migrated, OpensPaused, OpensResumed, UpgradeCancelled,
    UpgradeScheduled, Upgraded,
};
use crate::storage::{self, Upgrade};
use crate::time::{self, DAY_SECONDS, MAX_DEADLINE_SECONDS};
use crate::types::{Administration, Config};

/// How long new code waits, in seconds.
const UPGRADE_DELAY_SECONDS: u64 = 7 * DAY_SECONDS;
const _: () = assert!(UPGRADE_DELAY_SECONDS > MAX_DEADLINE_SECONDS);
/// The form in which this code keeps its data.
pub(crate) const LAYOUT: u32 = 1;

/// Names who may take over. A later proposal replaces it; naming the admin himself takes it back.
pub(crate) fn propose(env: &Env, proposed: Address) -> Result<(), VaultError> {
    let Config { admin, .. } = signed(env)?;
    storage::set_proposed_admin(env, Some(&proposed).filter(|proposed| **proposed != admin));
    AdminProposed { admin, proposed }.publish(env);
    Ok(())
}

/// Takes over. The proposed admin signs.
pub(crate) fn accept(env: &Env) -> Result<(), VaultError> {
    let mut config = storage::config(env).ok_or(VaultError::NotInitialized)?;
    let admin = storage::proposed_admin(env).ok_or(VaultError::AdminNotProposed)?;
    admin.require_auth();
    let previous = core::mem::replace(&mut config.admin, admin.clone());
    storage::set_config(env, &config);
    storage::set_proposed_admin(env, None);
    AdminAccepted { previous, admin }.publish(env);
    Ok(())
}

/// Lets new code wait for its time, answered; replaces what waited before.
pub(crate) fn schedule(env: &Env, wasm_hash: BytesN<32>) -> Result<u64, VaultError> {
    signed(env)?;
    let ready_at = time::now(env).saturating_add(UPGRADE_DELAY_SECONDS);
    storage::set_upgrade(env, Some(&Upgrade(wasm_hash.clone(), ready_at)));
    UpgradeScheduled { wasm_hash, ready_at }.publish(env);
    Ok(ready_at)
}

/// Lets new code wait no longer.
pub(crate) fn cancel(env: &Env) -> Result<(), VaultError> {
    signed(env)?;
    let Upgrade(wasm_hash, _) = storage::upgrade(env).ok_or(VaultError::UpgradeNotScheduled)?;
    storage::set_upgrade(env, None);
    UpgradeCancelled { wasm_hash }.publish(env);
    Ok(())
}

/// Puts new code in place, once its time has come. It counts from the next call on.
pub(crate) fn upgrade(env: &Env, wasm_hash: BytesN<32>) -> Result<(), VaultError> {
    signed(env)?;
    let Upgrade(_, ready_at) = storage::upgrade(env)
        .filter(|Upgrade(scheduled, _)| *scheduled == wasm_hash)
        .ok_or(VaultError::UpgradeNotScheduled)?;
    if time::now(env) < ready_at {
        return Err(VaultError::UpgradeNotReady);
    }
    storage::set_upgrade(env, None);
    env.deployer().update_current_contract(ContractExecutable::Wasm(wasm_hash.clone()));
    Upgraded { wasm_hash }.publish(env);
    Ok(())
}

/// Brings the data to the form this code keeps them in. Done already, it does nothing.
pub(crate) fn migrate(env: &Env) -> Result<(), VaultError> {
    signed(env)?;
    let from = storage::layout(env);
    if from == LAYOUT {
        return Ok(());
    }
    storage::set_layout(env, LAYOUT);
    Migrated { from, to: LAYOUT }.publish(env);
    Ok(())
}

/// Stops new runs, or lets them open again. Where nothing changes, nothing is told.
pub(crate) fn set_opens_paused(env: &Env, paused: bool) -> Result<(), VaultError> {
    let Config { admin, .. } = signed(env)?;
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
    if storage::opens_paused(env) || storage::layout(env) != LAYOUT {
        return Err(VaultError::OpensPaused);
    }
    Ok(())
}

/// Where administration stands.
pub(crate) fn state(env: &Env) -> Result<Administration, VaultError> {
    let Config { admin, .. } = storage::config(env).ok_or(VaultError::NotInitialized)?;
    let waiting = storage::upgrade(env);
    Ok(Administration {
        admin,
        proposed: storage::proposed_admin(env),
        upgrade_to: waiting.as_ref().map(|Upgrade(wasm_hash, _)| wasm_hash.clone()),
        upgrade_at: waiting.map(|Upgrade(_, ready_at)| ready_at),
        opens_paused: storage::opens_paused(env),
        layout: storage::layout(env),
    })
}

/// The configuration, once its admin has signed.
fn signed(env: &Env) -> Result<Config, VaultError> {
    let config = storage::config(env).ok_or(VaultError::NotInitialized)?;
    config.admin.require_auth();
    Ok(config)
}
