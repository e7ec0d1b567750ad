//! The admin's functions. The rules are in `crate::admin`.

use soroban_sdk::{Address, BytesN, Env, contractimpl};

use super::{AgentRegistry, AgentRegistryArgs, AgentRegistryClient};
use crate::admin;
use crate::error::AgentRegistryError;
use crate::types::Administration;

#[contractimpl]
impl AgentRegistry {
    /// Names who may take administration over. The admin signs. A later proposal replaces an
    /// earlier one; naming the admin himself takes it back.
    pub fn propose_admin(env: Env, proposed: Address) -> Result<(), AgentRegistryError> {
        admin::propose(&env, proposed)
    }

    /// Takes administration over. The proposed admin signs.
    pub fn accept_admin(env: Env) -> Result<(), AgentRegistryError> {
        admin::accept(&env)
    }

    /// Schedules new code and answers from when it may be put in place: seven days. The admin signs.
    /// It replaces what was scheduled before.
    pub fn schedule_upgrade(env: Env, wasm_hash: BytesN<32>) -> Result<u64, AgentRegistryError> {
        admin::schedule(&env, wasm_hash)
    }

    /// Takes the scheduled code back. The admin signs.
    pub fn cancel_upgrade(env: Env) -> Result<(), AgentRegistryError> {
        admin::cancel(&env)
    }

    /// Puts the scheduled code in place once its time has come. The admin signs, and names the code.
    pub fn upgrade(env: Env, wasm_hash: BytesN<32>) -> Result<(), AgentRegistryError> {
        admin::upgrade(&env, wasm_hash)
    }

    /// Brings the data to the form that new code keeps them in. The admin signs. Where there is
    /// nothing to do, it does nothing.
    pub fn migrate(env: Env) -> Result<(), AgentRegistryError> {
        admin::migrate(&env)
    }

    /// Where administration stands.
    pub fn administration(env: Env) -> Result<Administration, AgentRegistryError> {
        admin::state(&env)
    }
}
