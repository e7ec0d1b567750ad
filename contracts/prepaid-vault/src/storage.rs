//! Keys, the compact forms of entries, and how long they live (V3, V15, V17).
//!
//! Entries are vectors, not maps, and keys carry no names: every run writes them and every
//! transaction names them, and names would be half their bytes. Keys of different kinds have
//! different types, so none can meet another:
//!
//! | entry | key |
//! |---|---|
//! | account | the user's address |
//! | grant with its limits | 32 bytes, `digest::grant` |
//! | developer's, runner's balance; index of grants | vector of a number and an address |
//! | liabilities, configuration | vector of a symbol |
//! | run | 32 bytes, in temporary storage |
//!
//! Persistent entries are extended by a run in steps of one to seven days; deposits and grants pay
//! the long extension. Keeping the contracts themselves alive, with their code, is the operator's
//! task; only below 30 days does each call pay for a day of them.

mod instance;
mod run;

pub(crate) use instance::*;
pub(crate) use run::*;

use soroban_sdk::{Address, BytesN, Env, IntoVal, Val, Vec, contracttype};

use crate::types::Account;

/// A day in ledgers at five seconds each. Only rent is computed with it, never time.
const DAY: u32 = 17_280;
/// What a deposit or grant leaves an entry to live.
const LONG: u32 = 120 * DAY;
/// Below what a call extends a contract.
const SHORT: u32 = 30 * DAY;
/// Longest step by which a run extends an entry.
const STEP: u32 = 7 * DAY;

/// Keys off the run's path keep their names.
#[contracttype]
#[derive(Clone)]
enum Key {
    Config,
    OpensPaused,
    Liabilities,
}

/// The number in a payee's key, or in that of a user's index of grants.
const DEVELOPER: u32 = 1;
const RUNNER: u32 = 2;
const GRANTS: u32 = 3;

/// Balance, due today, due tomorrow, day, spent, reserved, per-run cap, daily cap, paused,
/// receipts, their running hash.
#[contracttype]
struct StoredAccount(i128, i128, i128, u32, i128, i128, i128, i128, bool, u64, BytesN<32>);

/// Per-run cap, total cap, highest fee.
#[contracttype]
#[derive(Clone)]
pub(crate) struct Limits(pub i128, pub i128, pub i128);

/// A grant: serial, expires at, used, limits. Serial 0 is no grant: the entry only keeps the
/// limits.
#[derive(Clone)]
pub(crate) struct Grant(pub u32, pub Option<u64>, pub i128, pub Option<Limits>);

type StoredGrant = (u32, Option<u64>, i128, Option<Limits>);

/// One line of a user's index of grants: runner, agent, issued at, expires at.
#[contracttype]
#[derive(Clone)]
pub(crate) struct GrantLine(pub Address, pub u32, pub u64, pub Option<u64>);

/// A user's index of grants: the newest serial, and the grants there are.
#[contracttype]
#[derive(Clone)]
pub(crate) struct GrantIndex(pub u32, pub Vec<GrantLine>);

/// Whose claimable balance.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Payee {
    Developer,
    Runner,
}

/// What the vault owes to all users, developers and runners.
pub(crate) fn liabilities(env: &Env) -> i128 {
    env.storage().persistent().get(&Key::Liabilities).unwrap_or(0)
}

pub(crate) fn set_liabilities(env: &Env, amount: i128) {
    env.storage().persistent().set(&Key::Liabilities, &amount);
    keep_long(env, &Key::Liabilities);
}

pub(crate) fn account(env: &Env, user: &Address) -> Option<Account> {
    let stored: StoredAccount = env.storage().persistent().get(user)?;
    Some(Account {
        balance: stored.0,
        due_today: stored.1,
        due_tomorrow: stored.2,
        day: stored.3,
        spent: stored.4,
        reserved: stored.5,
        per_run_cap: stored.6,
        daily_cap: stored.7,
        paused: stored.8,
        receipts: stored.9,
        receipts_hash: stored.10,
    })
}

pub(crate) fn set_account(env: &Env, user: &Address, account: &Account) {
    let stored = StoredAccount(
        account.balance,
        account.due_today,
        account.due_tomorrow,
        account.day,
        account.spent,
        account.reserved,
        account.per_run_cap,
        account.daily_cap,
        account.paused,
        account.receipts,
        account.receipts_hash.clone(),
    );
    env.storage().persistent().set(user, &stored);
    keep(env, user);
}

/// Pays for months of the account's life; for deposits.
pub(crate) fn keep_account_long(env: &Env, user: &Address) {
    keep_long(env, user);
}

/// The entry of a grant, live or not, by `digest::grant`.
pub(crate) fn grant(env: &Env, key: &BytesN<32>) -> Option<Grant> {
    let (serial, expires_at, used, limits): StoredGrant = env.storage().persistent().get(key)?;
    Some(Grant(serial, expires_at, used, limits))
}

/// Writes a grant that a run uses.
pub(crate) fn set_grant(env: &Env, key: &BytesN<32>, grant: &Grant) {
    let Grant(serial, expires_at, used, limits) = grant.clone();
    env.storage().persistent().set(key, &(serial, expires_at, used, limits));
    keep(env, key);
}

/// Writes a grant or its limits for its user, who pays for months.
pub(crate) fn set_grant_long(env: &Env, key: &BytesN<32>, grant: &Grant) {
    set_grant(env, key, grant);
    keep_long(env, key);
}

pub(crate) fn remove_grant(env: &Env, key: &BytesN<32>) {
    env.storage().persistent().remove(key);
}

pub(crate) fn grants(env: &Env, user: &Address) -> GrantIndex {
    let key = (GRANTS, user.clone());
    env.storage().persistent().get(&key).unwrap_or_else(|| GrantIndex(0, Vec::new(env)))
}

pub(crate) fn set_grants(env: &Env, user: &Address, index: &GrantIndex) {
    let key = (GRANTS, user.clone());
    env.storage().persistent().set(&key, index);
    keep_long(env, &key);
}

pub(crate) fn payable(env: &Env, payee: Payee, address: &Address) -> i128 {
    env.storage().persistent().get(&payee.key(address)).unwrap_or(0)
}

pub(crate) fn set_payable(env: &Env, payee: Payee, address: &Address, amount: i128) {
    let key = payee.key(address);
    env.storage().persistent().set(&key, &amount);
    keep(env, &key);
}

impl Payee {
    fn key(self, address: &Address) -> (u32, Address) {
        match self {
            Self::Developer => (DEVELOPER, address.clone()),
            Self::Runner => (RUNNER, address.clone()),
        }
    }
}

fn keep<K: IntoVal<Env, Val>>(env: &Env, key: &K) {
    env.storage().persistent().extend_ttl_with_limits(key, LONG, DAY, STEP);
}

/// Lets a contract, with its code, live a day longer once it has less than a month left. Once a
/// call: code is by far the largest of all that is kept, a day of it costs more than a hundred runs
/// (V15).
pub(crate) fn keep_contract(env: &Env, contract: &Address) {
    env.deployer().extend_ttl_with_limits(contract.clone(), SHORT, DAY, DAY);
}

/// `keep_contract` of the vault itself.
pub(crate) fn keep_instance(env: &Env) {
    keep_contract(env, &env.current_contract_address());
}

fn keep_long<K: IntoVal<Env, Val>>(env: &Env, key: &K) {
    env.storage().persistent().extend_ttl(key, LONG - DAY, LONG);
    keep_instance(env);
}
