//! What the admin may do (V2): hand over in two steps, and replace the code after a delay that
//! everybody can see. None of it touches an agent, and the delay is longer than a run of the vault
//! may stay open.

use soroban_sdk::{Address, BytesN, ContractExecutable, Env};

use crate::error::AgentRegistryError as Error;
use crate::event::{
    AdminAccepted, AdminProposed, Migrated, UpgradeCancelled, UpgradeScheduled, Upgraded,
};
use crate::storage::{self, Upgrade};
use crate::types::Administration;

/// How long new code waits, in seconds: seven days.
const UPGRADE_DELAY_SECONDS: u64 = 7 * 86_400;
/// The form in which this code keeps its data.
pub(crate) const LAYOUT: u32 = 1;

/// Names who may take over. A later proposal replaces it; naming the admin himself takes it back.
pub(crate) fn propose(env: &Env, proposed: Address) -> Result<(), Error> {
    let admin = signed(env)?;
    storage::set_proposed_admin(env, Some(&proposed).filter(|proposed| **proposed != admin));
    AdminProposed { admin, proposed }.publish(env);
    Ok(())
}

/// Takes over. The proposed admin signs.
pub(crate) fn accept(env: &Env) -> Result<(), Error> {
    let previous = storage::admin(env).ok_or(Error::Unauthorized)?;
    let admin = storage::proposed_admin(env).ok_or(Error::AdminNotProposed)?;
    admin.require_auth();
    storage::set_admin(env, &admin);
    storage::set_proposed_admin(env, None);
    AdminAccepted { previous, admin }.publish(env);
    Ok(())
}

/// Lets new code wait for its time, answered; replaces what waited before.
pub(crate) fn schedule(env: &Env, wasm_hash: BytesN<32>) -> Result<u64, Error> {
    signed(env)?;
    let ready_at = env.ledger().timestamp().saturating_add(UPGRADE_DELAY_SECONDS);
    storage::set_upgrade(env, Some(&Upgrade(wasm_hash.clone(), ready_at)));
    UpgradeScheduled { wasm_hash, ready_at }.publish(env);
    Ok(ready_at)
}

/// Lets new code wait no longer.
pub(crate) fn cancel(env: &Env) -> Result<(), Error> {
    signed(env)?;
    let Upgrade(wasm_hash, _) = storage::upgrade(env).ok_or(Error::UpgradeNotScheduled)?;
    storage::set_upgrade(env, None);
    UpgradeCancelled { wasm_hash }.publish(env);
    Ok(())
}

/// Puts new code in place, once its time has come. It counts from the next call on.
pub(crate) fn upgrade(env: &Env, wasm_hash: BytesN<32>) -> Result<(), Error> {
    signed(env)?;
    let Upgrade(_, ready_at) = storage::upgrade(env)
        .filter(|Upgrade(scheduled, _)| *scheduled == wasm_hash)
        .ok_or(Error::UpgradeNotScheduled)?;
    if env.ledger().timestamp() < ready_at {
        return Err(Error::UpgradeNotReady);
    }
    storage::set_upgrade(env, None);
    env.deployer().update_current_contract(ContractExecutable::Wasm(wasm_hash.clone()));
    Upgraded { wasm_hash }.publish(env);
    Ok(())
}

/// Brings the data to the form this code keeps them in. Done already, it does nothing.
pub(crate) fn migrate(env: &Env) -> Result<(), Error> {
    signed(env)?;
    let from = storage::layout(env);
    if from == LAYOUT {
        return Ok(());
    }
    storage::set_layout(env, LAYOUT);
    Migrated { from, to: LAYOUT }.publish(env);
    Ok(())
}

/// Where administration stands.
pub(crate) fn state(env: &Env) -> Result<Administration, Error> {
    let waiting = storage::upgrade(env);
    Ok(Administration {
        admin: storage::admin(env).ok_or(Error::Unauthorized)?,
        proposed: storage::proposed_admin(env),
        upgrade_to: waiting.as_ref().map(|Upgrade(wasm_hash, _)| wasm_hash.clone()),
        upgrade_at: waiting.map(|Upgrade(_, ready_at)| ready_at),
        layout: storage::layout(env),
    })
}

/// The admin, who has signed.
fn signed(env: &Env) -> Result<Address, Error> {
    let admin = storage::admin(env).ok_or(Error::Unauthorized)?;
    admin.require_auth();
    Ok(admin)
}
