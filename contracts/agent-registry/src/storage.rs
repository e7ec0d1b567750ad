//! Keys, and how long their entries live (V3, V15).
//!
//! A write pays the long extension. A read extends in steps of one to seven days, so that an agent
//! in use is never archived and no single run pays for months. Keeping the registry itself alive is
//! the operator's task; below 30 days, writes and the vault extend it by a day each. An archived
//! entry is not lost: the next transaction that names it restores it.

use soroban_sdk::{Address, Env, contracttype};

use crate::types::{AgentRecord, RateCard};

/// A day in ledgers at five seconds each. Only rent is computed with it, never time.
const DAY: u32 = 17_280;
/// What a write leaves an entry to live.
const LONG: u32 = 120 * DAY;
/// Below what a write extends the registry itself, with its code, by a day.
const SHORT: u32 = 30 * DAY;
/// Longest step by which a read extends.
const STEP: u32 = 7 * DAY;

#[contracttype]
#[derive(Clone)]
enum Key {
    NextAgentId,
    Agent(u32),
    RateCard(u32, u32),
    Runner(u32, Address),
}

/// The id the next agent gets, from 1.
pub(crate) fn next_agent_id(env: &Env) -> u32 {
    env.storage().instance().get(&Key::NextAgentId).unwrap_or(1)
}

pub(crate) fn set_next_agent_id(env: &Env, id: u32) {
    env.storage().instance().set(&Key::NextAgentId, &id);
}

pub(crate) fn agent(env: &Env, agent_id: u32) -> Option<AgentRecord> {
    let key = Key::Agent(agent_id);
    let record = env.storage().persistent().get(&key)?;
    keep(env, &key);
    Some(record)
}

pub(crate) fn set_agent(env: &Env, agent_id: u32, record: &AgentRecord) {
    let key = Key::Agent(agent_id);
    env.storage().persistent().set(&key, record);
    keep_long(env, &key);
}

pub(crate) fn rate_card(env: &Env, agent_id: u32, version: u32) -> Option<RateCard> {
    let key = Key::RateCard(agent_id, version);
    let card = env.storage().persistent().get(&key)?;
    keep(env, &key);
    Some(card)
}

pub(crate) fn set_rate_card(env: &Env, agent_id: u32, version: u32, card: &RateCard) {
    let key = Key::RateCard(agent_id, version);
    env.storage().persistent().set(&key, card);
    keep_long(env, &key);
}

/// Whether the agent lists the runner; the entry beside the record makes this one small read.
pub(crate) fn lists_runner(env: &Env, agent_id: u32, runner: &Address) -> bool {
    let key = Key::Runner(agent_id, runner.clone());
    let listed = env.storage().persistent().has(&key);
    if listed {
        keep(env, &key);
    }
    listed
}

pub(crate) fn set_runner(env: &Env, agent_id: u32, runner: &Address) {
    let key = Key::Runner(agent_id, runner.clone());
    env.storage().persistent().set(&key, &());
    keep_long(env, &key);
}

pub(crate) fn remove_runner(env: &Env, agent_id: u32, runner: &Address) {
    env.storage().persistent().remove(&Key::Runner(agent_id, runner.clone()));
}

fn keep(env: &Env, key: &Key) {
    env.storage().persistent().extend_ttl_with_limits(key, LONG, DAY, STEP);
}

fn keep_long(env: &Env, key: &Key) {
    env.storage().persistent().extend_ttl(key, LONG - DAY, LONG);
    env.storage().instance().extend_ttl_with_limits(SHORT, DAY, DAY);
}
