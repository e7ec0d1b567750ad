//! What the instance holds: whom the vault was set up with, and the pause of opens. The keys of
//! administration are `contract_administration`'s.

use contract_administration as administration;
use soroban_sdk::{Address, Env, contracttype};

use super::Key;
use crate::types::Config;

/// Registry and token.
#[contracttype]
struct StoredConfig(Address, Address);

/// Whom the vault was set up with; none if it was not.
pub(crate) fn config(env: &Env) -> Option<Config> {
    let StoredConfig(registry, token) = env.storage().instance().get(&Key::Config)?;
    Some(Config { admin: administration::admin(env)?, registry, token })
}

pub(crate) fn registry(env: &Env) -> Option<Address> {
    let StoredConfig(registry, _) = env.storage().instance().get(&Key::Config)?;
    Some(registry)
}

pub(crate) fn token(env: &Env) -> Option<Address> {
    let StoredConfig(_, token) = env.storage().instance().get(&Key::Config)?;
    Some(token)
}

/// Records registry and token, once.
pub(crate) fn set_config(env: &Env, registry: Address, token: Address) {
    env.storage().instance().set(&Key::Config, &StoredConfig(registry, token));
}

pub(crate) fn opens_paused(env: &Env) -> bool {
    env.storage().instance().has(&Key::OpensPaused)
}

pub(crate) fn set_opens_paused(env: &Env, paused: bool) {
    if paused {
        env.storage().instance().set(&Key::OpensPaused, &true);
    } else {
        env.storage().instance().remove(&Key::OpensPaused);
    }
    administration::keep_instance_long(env);
}
