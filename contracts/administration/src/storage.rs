//! What the instance holds of administration.

use soroban_sdk::{Address, BytesN, Env, IntoVal, Val, contracttype};

/// A day in ledgers at five seconds each. Only rent is computed with it, never time.
const DAY_LEDGERS: u32 = 17_280;
/// What a change by the admin leaves the contract to live, its code included.
const LONG: u32 = 120 * DAY_LEDGERS;

#[contracttype]
#[derive(Clone)]
enum AdminKey {
    Admin,
    Layout,
    ProposedAdmin,
    Upgrade,
}

/// Announced code: sha256 of its Wasm, from when it may be put in place, and when the announcement
/// lapses.
#[contracttype]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scheduled(pub BytesN<32>, pub u64, pub u64);

/// The admin, if the contract was set up.
pub fn admin(env: &Env) -> Option<Address> {
    env.storage().instance().get(&AdminKey::Admin)
}

pub(crate) fn set_admin(env: &Env, admin: &Address) {
    set_or_remove(env, &AdminKey::Admin, Some(admin));
}

/// The form in which the data are kept.
pub fn layout(env: &Env) -> u32 {
    env.storage().instance().get(&AdminKey::Layout).unwrap_or(0)
}

/// Records the form in which the data are kept.
pub fn set_layout(env: &Env, layout: u32) {
    env.storage().instance().set(&AdminKey::Layout, &layout);
}

pub(crate) fn proposed_admin(env: &Env) -> Option<Address> {
    env.storage().instance().get(&AdminKey::ProposedAdmin)
}

pub(crate) fn set_proposed_admin(env: &Env, proposed: Option<&Address>) {
    set_or_remove(env, &AdminKey::ProposedAdmin, proposed);
}

pub(crate) fn scheduled(env: &Env) -> Option<Scheduled> {
    env.storage().instance().get(&AdminKey::Upgrade)
}

pub(crate) fn set_scheduled(env: &Env, scheduled: Option<&Scheduled>) {
    set_or_remove(env, &AdminKey::Upgrade, scheduled);
}

/// Pays for months of the contract and its code; for its constructor and its admin (V15).
pub fn keep_instance_long(env: &Env) {
    env.storage().instance().extend_ttl(LONG - DAY_LEDGERS, LONG);
}

fn set_or_remove<T: IntoVal<Env, Val>>(env: &Env, key: &AdminKey, value: Option<&T>) {
    match value {
        Some(value) => env.storage().instance().set(key, value),
        None => env.storage().instance().remove(key),
    }
    keep_instance_long(env);
}
