//! Keys, the compact forms in which entries stand, and how long they live (V3, V15).
//!
//! Entries are vectors, not maps: every run writes them, and field names would be half their bytes.
//! Persistent entries are extended by a run in steps of one to seven days; deposits and grants pay
//! the long extension. The contracts themselves, with their code, are the operator's to keep alive;
//! only when he lets them run down does each call pay for a day of them. A run's record is temporary:
//! it lives to the end of the day after its deadline, counted in ledgers of one second, the fastest
//! considered, and then it is gone.

mod instance;

pub(crate) use instance::*;

use soroban_sdk::{Address, BytesN, Env, Vec, contracttype};

use crate::time::DAY_SECONDS;
use crate::types::{Account, GrantLimits, RunLifecycle, RunRecord};

/// A day in ledgers at five seconds each. Only rent is reckoned with it, never time.
const DAY: u32 = 17_280;
/// What a deposit or grant leaves an entry to live.
const LONG: u32 = 120 * DAY;
/// Below what a call extends a contract.
const SHORT: u32 = 30 * DAY;
/// Longest step by which a run extends an entry.
const STEP: u32 = 7 * DAY;

#[contracttype]
#[derive(Clone)]
enum Key {
    Config,
    Layout,
    OpensPaused,
    ProposedAdmin,
    Upgrade,
    Liabilities,
    Account(Address),
    Grant(Address, Address, u32),
    Grants(Address),
    Limits(Address, Address, u32),
    Developer(Address),
    Runner(Address),
    Run(BytesN<32>),
}

/// Balance, due today, due tomorrow, day, spent, reserved, per-run cap, daily cap, paused,
/// receipts, their running hash.
#[contracttype]
struct StoredAccount(i128, i128, i128, u32, i128, i128, i128, i128, bool, u64, BytesN<32>);

/// User, opener, agent, escrow, fee, deadline, day opened, grant serial, digest of terms, lifecycle.
/// The due day is the deadline's, so it isn't stored again.
#[contracttype]
struct StoredRun(Address, Address, u32, i128, i128, u64, u32, u32, BytesN<32>, RunLifecycle);

/// A grant as it stands: serial, issued at, expires at, used.
#[contracttype]
#[derive(Clone)]
pub(crate) struct Grant(pub u32, pub u64, pub Option<u64>, pub i128);

/// One line of a user's index of grants: runner, agent, expires at.
#[contracttype]
#[derive(Clone)]
pub(crate) struct GrantLine(pub Address, pub u32, pub Option<u64>);

/// A user's index of grants: the newest serial, and the grants there are.
#[contracttype]
#[derive(Clone)]
pub(crate) struct GrantIndex(pub u32, pub Vec<GrantLine>);

/// Per-run cap, total cap, highest fee.
#[contracttype]
struct StoredLimits(i128, i128, i128);

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
    let stored: StoredAccount = env.storage().persistent().get(&Key::Account(user.clone()))?;
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
    let key = Key::Account(user.clone());
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
    env.storage().persistent().set(&key, &stored);
    keep(env, &key);
}

/// Pays for months of the account's life; for deposits.
pub(crate) fn keep_account_long(env: &Env, user: &Address) {
    keep_long(env, &Key::Account(user.clone()));
}

pub(crate) fn grant(env: &Env, user: &Address, runner: &Address, agent_id: u32) -> Option<Grant> {
    env.storage().persistent().get(&Key::Grant(user.clone(), runner.clone(), agent_id))
}

/// Writes a grant; a new one pays for months, one in use by steps.
pub(crate) fn set_grant(
    env: &Env,
    user: &Address,
    runner: &Address,
    agent_id: u32,
    grant: &Grant,
    new: bool,
) {
    let key = Key::Grant(user.clone(), runner.clone(), agent_id);
    env.storage().persistent().set(&key, grant);
    if new { keep_long(env, &key) } else { keep(env, &key) }
}

pub(crate) fn remove_grant(env: &Env, user: &Address, runner: &Address, agent_id: u32) {
    env.storage().persistent().remove(&Key::Grant(user.clone(), runner.clone(), agent_id));
}

pub(crate) fn grants(env: &Env, user: &Address) -> GrantIndex {
    let key = Key::Grants(user.clone());
    env.storage().persistent().get(&key).unwrap_or_else(|| GrantIndex(0, Vec::new(env)))
}

pub(crate) fn set_grants(env: &Env, user: &Address, index: &GrantIndex) {
    let key = Key::Grants(user.clone());
    env.storage().persistent().set(&key, index);
    keep_long(env, &key);
}

pub(crate) fn limits(
    env: &Env,
    user: &Address,
    runner: &Address,
    agent_id: u32,
) -> Option<GrantLimits> {
    let key = Key::Limits(user.clone(), runner.clone(), agent_id);
    let StoredLimits(per_run_cap, total_cap, max_runner_fee) =
        env.storage().persistent().get(&key)?;
    keep(env, &key);
    Some(GrantLimits { per_run_cap, total_cap, max_runner_fee })
}

pub(crate) fn set_limits(
    env: &Env,
    user: &Address,
    runner: &Address,
    agent_id: u32,
    limits: &GrantLimits,
) {
    let key = Key::Limits(user.clone(), runner.clone(), agent_id);
    let stored = StoredLimits(limits.per_run_cap, limits.total_cap, limits.max_runner_fee);
    env.storage().persistent().set(&key, &stored);
    keep_long(env, &key);
}

pub(crate) fn payable(env: &Env, payee: Payee, who: &Address) -> i128 {
    env.storage().persistent().get(&payee.key(who)).unwrap_or(0)
}

pub(crate) fn set_payable(env: &Env, payee: Payee, who: &Address, amount: i128) {
    let key = payee.key(who);
    env.storage().persistent().set(&key, &amount);
    keep(env, &key);
}

pub(crate) fn run(env: &Env, run_id: &BytesN<32>) -> Option<RunRecord> {
    let stored: StoredRun = env.storage().temporary().get(&Key::Run(run_id.clone()))?;
    Some(RunRecord {
        user: stored.0,
        opened_by: stored.1,
        agent_id: stored.2,
        escrowed: stored.3,
        runner_fee: stored.4,
        deadline: stored.5,
        opened_day: stored.6,
        grant_serial: stored.7,
        terms_hash: stored.8,
        lifecycle: stored.9,
    })
}

/// Writes a record; its life, once given, stays.
pub(crate) fn set_run(env: &Env, run_id: &BytesN<32>, record: RunRecord) {
    let stored = StoredRun(
        record.user,
        record.opened_by,
        record.agent_id,
        record.escrowed,
        record.runner_fee,
        record.deadline,
        record.opened_day,
        record.grant_serial,
        record.terms_hash,
        record.lifecycle,
    );
    env.storage().temporary().set(&Key::Run(run_id.clone()), &stored);
}

/// Lets a new record live until a day after its deadline, at most as long as the network allows.
pub(crate) fn keep_run(env: &Env, run_id: &BytesN<32>, now: u64, deadline: u64) {
    let seconds = deadline.saturating_sub(now).saturating_add(DAY_SECONDS);
    let ledgers = u32::try_from(seconds).unwrap_or(u32::MAX).min(env.storage().max_ttl());
    env.storage().temporary().extend_ttl(&Key::Run(run_id.clone()), ledgers, ledgers);
}

impl Payee {
    fn key(self, who: &Address) -> Key {
        match self {
            Self::Developer => Key::Developer(who.clone()),
            Self::Runner => Key::Runner(who.clone()),
        }
    }
}

fn keep(env: &Env, key: &Key) {
    env.storage().persistent().extend_ttl_with_limits(key, LONG, DAY, STEP);
}

/// Lets a contract, with its code, live a day longer once it has less than a month left. Once a call:
/// code is by far the largest of all that is kept, a day of it costs more than a hundred runs (V15).
pub(crate) fn keep_contract(env: &Env, contract: &Address) {
    env.deployer().extend_ttl_with_limits(contract.clone(), SHORT, DAY, DAY);
}

/// `keep_contract` of the vault itself.
pub(crate) fn keep_instance(env: &Env) {
    keep_contract(env, &env.current_contract_address());
}

fn keep_long(env: &Env, key: &Key) {
    env.storage().persistent().extend_ttl(key, LONG - DAY, LONG);
    keep_instance(env);
}

/// Pays for months of the vault itself; for its constructor and its admin.
fn keep_instance_long(env: &Env) {
    env.storage().instance().extend_ttl(LONG - DAY, LONG);
}
