//! The admin's functions. The rules are in `contract_administration` and `crate::admin`.

use contract_administration as administration;
use soroban_sdk::{Address, BytesN, Env, contractimpl};

use super::{PrepaidVault, PrepaidVaultArgs, PrepaidVaultClient};
use crate::admin;
use crate::error::VaultError;
use crate::types::Administration;

#[contractimpl]
impl PrepaidVault {
    /// Stops new runs; everything else goes on. Where opens are paused already, it does nothing.
    ///
    /// Signer: the admin. Errors: NotInitialized. Events: admin,opens_paused.
    pub fn pause_opens(env: Env) -> Result<(), VaultError> {
        admin::set_opens_paused(&env, true)
    }

    /// Lets runs open again. Where opens are not paused, it does nothing.
    ///
    /// Signer: the admin. Errors: NotInitialized. Events: admin,opens_resumed.
    pub fn resume_opens(env: Env) -> Result<(), VaultError> {
        admin::set_opens_paused(&env, false)
    }

    /// Names who may take administration over. A later proposal replaces an earlier one; naming the
    /// admin takes it back.
    ///
    /// Signer: the admin. Errors: NotInitialized. Events: admin,proposed.
    pub fn propose_admin(env: Env, proposed: Address) -> Result<(), VaultError> {
        Ok(administration::propose(&env, proposed)?)
    }

    /// Takes administration over and withdraws announced code.
    ///
    /// Signer: the proposed admin. Errors: NotInitialized, AdminNotProposed. Events:
    /// admin,accepted; admin,upgrade_cancelled if code was announced.
    pub fn accept_admin(env: Env) -> Result<(), VaultError> {
        Ok(administration::accept(&env)?)
    }

    /// Announces new code and answers from when it may be put in place: after seven days, for 14
    /// days. It replaces what was announced before.
    ///
    /// Signer: the admin. Errors: NotInitialized. Events: admin,upgrade_scheduled.
    pub fn schedule_upgrade(env: Env, wasm_hash: BytesN<32>) -> Result<u64, VaultError> {
        Ok(administration::schedule(&env, wasm_hash)?)
    }

    /// Withdraws the announced code.
    ///
    /// Signer: the admin. Errors: NotInitialized, UpgradeNotScheduled. Events:
    /// admin,upgrade_cancelled.
    pub fn cancel_upgrade(env: Env) -> Result<(), VaultError> {
        Ok(administration::cancel(&env)?)
    }

    /// Puts the announced code in place within its time. The Wasm must be uploaded.
    ///
    /// Signer: the admin. Errors: NotInitialized, UpgradeNotScheduled (another hash, or lapsed),
    /// UpgradeNotReady. Events: admin,upgraded.
    pub fn upgrade(env: Env, wasm_hash: BytesN<32>) -> Result<(), VaultError> {
        Ok(administration::upgrade(&env, wasm_hash)?)
    }

    /// Brings the data to the form that new code keeps them in; until then no run opens. Where
    /// there is nothing to do, it does nothing.
    ///
    /// Signer: the admin. Errors: NotInitialized. Events: admin,migrated.
    pub fn migrate(env: Env) -> Result<(), VaultError> {
        Ok(administration::migrate(&env, admin::LAYOUT)?)
    }

    /// The state of administration.
    ///
    /// Signer: none. Errors: NotInitialized.
    pub fn administration(env: Env) -> Result<Administration, VaultError> {
        admin::state(&env)
    }
}
