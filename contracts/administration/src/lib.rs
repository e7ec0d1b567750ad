#![no_std]
#![expect(missing_docs, reason = "the contract macros make public items of their own")]
// What auditors' linters look for beyond the workspace's lints, in what is built to Wasm.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::float_arithmetic,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable
    )
)]
//! What the admin of a contract may do (V2, V20): hand administration over in two steps, and
//! replace the code after a delay that everybody can see.
//!
//! Both contracts use this library; each exports the functions itself and maps [`Failure`] to its
//! own error numbers, because a number is a part of a contract's interface (V11).
//!
//! An announced upgrade is ready after seven days, which is longer than any run may stay open, and
//! it lapses 14 days later: whoever looks at a contract need not fear code that was announced long
//! ago. A new admin starts with nothing announced, so that no announcement of the old one can be
//! used.

mod event;
mod storage;

pub use event::*;
pub use storage::{Scheduled, admin, keep_instance_long, layout, set_layout};

use soroban_sdk::{Address, BytesN, ContractExecutable, Env};

/// Seconds of a day.
const DAY_SECONDS: u64 = 86_400;
/// How long announced code waits, in seconds.
pub const UPGRADE_DELAY_SECONDS: u64 = 7 * DAY_SECONDS;
/// How long it may be put in place after that, in seconds (V20).
pub const UPGRADE_WINDOW_SECONDS: u64 = 14 * DAY_SECONDS;

/// Why a call of the admin was refused. The contracts give these their own numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The instance names no admin.
    NotInitialized,
    /// No one was proposed as admin.
    NotProposed,
    /// No upgrade to this Wasm is announced, or the announcement has lapsed.
    NotScheduled,
    /// The announced upgrade's time has not come.
    NotReady,
}

/// The state of administration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    /// Who may administer.
    pub admin: Address,
    /// Who may take over by accepting.
    pub proposed: Option<Address>,
    /// The announced code, unless it has lapsed.
    pub scheduled: Option<Scheduled>,
    /// The form in which the data are kept.
    pub layout: u32,
}

/// Records the first admin and the form of the data. For constructors.
pub fn initialize(env: &Env, admin: &Address, layout: u32) {
    storage::set_admin(env, admin);
    storage::set_layout(env, layout);
}

/// The admin, who has signed.
pub fn require_admin(env: &Env) -> Result<Address, Failure> {
    let admin = admin(env).ok_or(Failure::NotInitialized)?;
    admin.require_auth();
    Ok(admin)
}

/// Names who may take over. A later proposal replaces an earlier one; naming the admin takes it
/// back.
pub fn propose(env: &Env, proposed: Address) -> Result<(), Failure> {
    let admin = require_admin(env)?;

    storage::set_proposed_admin(env, Some(&proposed).filter(|proposed| **proposed != admin));
    AdminProposed { admin, proposed }.publish(env);
    Ok(())
}

/// Takes over. The proposed admin signs. Announced code is withdrawn (V20).
pub fn accept(env: &Env) -> Result<(), Failure> {
    let previous = admin(env).ok_or(Failure::NotInitialized)?;
    let admin = storage::proposed_admin(env).ok_or(Failure::NotProposed)?;
    admin.require_auth();

    storage::set_admin(env, &admin);
    storage::set_proposed_admin(env, None);
    AdminAccepted { previous, admin }.publish(env);
    withdraw(env);
    Ok(())
}

/// Announces new code and answers from when it may be put in place. Replaces an earlier
/// announcement.
pub fn schedule(env: &Env, wasm_hash: BytesN<32>) -> Result<u64, Failure> {
    require_admin(env)?;
    let ready_at = env.ledger().timestamp().saturating_add(UPGRADE_DELAY_SECONDS);
    let lapses_at = ready_at.saturating_add(UPGRADE_WINDOW_SECONDS);

    storage::set_scheduled(env, Some(&Scheduled(wasm_hash.clone(), ready_at, lapses_at)));
    UpgradeScheduled { wasm_hash, ready_at, lapses_at }.publish(env);
    Ok(ready_at)
}

/// Withdraws announced code.
pub fn cancel(env: &Env) -> Result<(), Failure> {
    require_admin(env)?;
    if withdraw(env) { Ok(()) } else { Err(Failure::NotScheduled) }
}

/// Puts announced code in place within its time. It takes effect from the next call on.
pub fn upgrade(env: &Env, wasm_hash: BytesN<32>) -> Result<(), Failure> {
    require_admin(env)?;
    let Scheduled(_, ready_at, _) = scheduled(env)
        .filter(|Scheduled(announced, ..)| *announced == wasm_hash)
        .ok_or(Failure::NotScheduled)?;
    if env.ledger().timestamp() < ready_at {
        return Err(Failure::NotReady);
    }

    storage::set_scheduled(env, None);
    env.deployer().update_current_contract(ContractExecutable::Wasm(wasm_hash.clone()));
    Upgraded { wasm_hash }.publish(env);
    Ok(())
}

/// Brings the data to the form `to`, which the running code expects. Where they have it, does
/// nothing.
pub fn migrate(env: &Env, to: u32) -> Result<(), Failure> {
    require_admin(env)?;
    let from = layout(env);
    if from != to {
        storage::set_layout(env, to);
        Migrated { from, to }.publish(env);
    }
    Ok(())
}

/// The state of administration.
pub fn state(env: &Env) -> Result<State, Failure> {
    Ok(State {
        admin: admin(env).ok_or(Failure::NotInitialized)?,
        proposed: storage::proposed_admin(env),
        scheduled: scheduled(env),
        layout: layout(env),
    })
}

/// The announced code, unless it has lapsed. `lapses_at` itself is too late.
fn scheduled(env: &Env) -> Option<Scheduled> {
    let now = env.ledger().timestamp();
    storage::scheduled(env).filter(|Scheduled(.., lapses_at)| now < *lapses_at)
}

/// Withdraws the announced code, if there is any; answers whether there was. What has lapsed is
/// only cleared away: no event, because nothing that could be used has changed.
fn withdraw(env: &Env) -> bool {
    let announced = scheduled(env);
    storage::set_scheduled(env, None);
    if let Some(Scheduled(wasm_hash, ..)) = announced {
        UpgradeCancelled { wasm_hash }.publish(env);
        return true;
    }
    false
}
