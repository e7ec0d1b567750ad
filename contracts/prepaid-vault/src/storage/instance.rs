//! What stands in the instance: whom the vault was set up with, and where administration stands.

use soroban_sdk::{Address, BytesN, Env, IntoVal, Val, contracttype};

use super::{Key, keep_instance_long};
use crate::types::Config;

/// New code that waits: sha256 of its Wasm, and from when it may be put in place.
#[contracttype]
#[derive(Clone)]
pub(crate) struct Upgrade(pub BytesN<32>, pub u64);

pub(crate) fn config(env: &Env) -> Option<Config> {
    env.storage().instance().get(&Key::Config)
}

pub(crate) fn set_config(env: &Env, config: &Config) {
    env.storage().instance().set(&Key::Config, config);
    keep_instance_long(env);
}

/// The form in which the data stand.
pub(crate) fn layout(env: &Env) -> u32 {
    env.storage().instance().get(&Key::Layout).unwrap_or(0)
}

pub(crate) fn set_layout(env: &Env, layout: u32) {
    env.storage().instance().set(&Key::Layout, &layout);
}

pub(crate) fn opens_paused(env: &Env) -> bool {
    env.storage().instance().has(&Key::OpensPaused)
}

pub(crate) fn set_opens_paused(env: &Env, paused: bool) {
    set_or_remove(env, &Key::OpensPaused, paused.then_some(&true));
}

pub(crate) fn proposed_admin(env: &Env) -> Option<Address> {
    env.storage().instance().get(&Key::ProposedAdmin)
}

pub(crate) fn set_proposed_admin(env: &Env, proposed: Option<&Address>) {
    set_or_remove(env, &Key::ProposedAdmin, proposed);
}

pub(crate) fn upgrade(env: &Env) -> Option<Upgrade> {
    env.storage().instance().get(&Key::Upgrade)
}

pub(crate) fn set_upgrade(env: &Env, upgrade: Option<&Upgrade>) {
    set_or_remove(env, &Key::Upgrade, upgrade);
}

fn set_or_remove<T: IntoVal<Env, Val>>(env: &Env, key: &Key, value: Option<&T>) {
    match value {
        Some(value) => env.storage().instance().set(key, value),
        None => env.storage().instance().remove(key),
    }
    keep_instance_long(env);
}
