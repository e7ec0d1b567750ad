//! The admin's functions. The rules are in `contract_administration`.

use contract_administration as administration;
use soroban_sdk::{Address, BytesN, Env, contractimpl};

use super::{AgentRegistry, AgentRegistryArgs, AgentRegistryClient};
use crate::admin;
use crate::error::AgentRegistryError as Error;
use crate::types::Administration;

#[contractimpl]
impl AgentRegistry {
    /// Names who may take administration over. A later proposal replaces an earlier one; naming the
    /// admin takes it back.
    ///
    /// Signer: the admin. Errors: Unauthorized. Events: admin,proposed.
    pub fn propose_admin(env: Env, proposed: Address) -> Result<(), Error> {
        Ok(administration::propose(&env, proposed)?)
    }

    /// Takes administration over and withdraws announced code.
    ///
    /// Signer: the proposed admin. Errors: Unauthorized, AdminNotProposed. Events: admin,accepted;
    /// admin,upgrade_cancelled if code was announced.
    pub fn accept_admin(env: Env) -> Result<(), Error> {
        Ok(administration::accept(&env)?)
    }

    /// Announces new code and answers from when it may be put in place: after seven days, for 14
    /// days. It replaces what was announced before.
    ///
    /// Signer: the admin. Errors: Unauthorized. Events: admin,upgrade_scheduled.
    pub fn schedule_upgrade(env: Env, wasm_hash: BytesN<32>) -> Result<u64, Error> {
        Ok(administration::schedule(&env, wasm_hash)?)
    }

    /// Withdraws the announced code.
    ///
    /// Signer: the admin. Errors: Unauthorized, UpgradeNotScheduled. Events:
    /// admin,upgrade_cancelled.
    pub fn cancel_upgrade(env: Env) -> Result<(), Error> {
        Ok(administration::cancel(&env)?)
    }

    /// Puts the announced code in place within its time. The Wasm must be uploaded.
    ///
    /// Signer: the admin. Errors: Unauthorized, UpgradeNotScheduled (another hash, or lapsed),
    /// UpgradeNotReady. Events: admin,upgraded.
    pub fn upgrade(env: Env, wasm_hash: BytesN<32>) -> Result<(), Error> {
        Ok(administration::upgrade(&env, wasm_hash)?)
    }

    /// Brings the data to the form that new code keeps them in. Where there is nothing to do, it
    /// does nothing.
    ///
    /// Signer: the admin. Errors: Unauthorized. Events: admin,migrated.
    pub fn migrate(env: Env) -> Result<(), Error> {
        Ok(administration::migrate(&env, admin::LAYOUT)?)
    }

    /// The state of administration.
    ///
    /// Signer: none. Errors: Unauthorized.
    pub fn administration(env: Env) -> Result<Administration, Error> {
        admin::state(&env)
    }
}
