//! Who may open runs for a user: one entry a grant for the run path, and an index beside it for the
//! user's own eyes, at most 32 long.
//!
//! A revoked or expired grant stops new runs at once; open ones settle until their deadline (V6).

use soroban_sdk::{Address, Env, Vec};

use crate::account::{minus, plus};
use crate::error::VaultError;
use crate::event::{RunnerExpired, RunnerGranted, RunnerLimitsSet, RunnerRevoked};
use crate::storage::{self, Grant, GrantIndex, GrantLine};
use crate::types::{GrantLimits, RunnerGrant};
use crate::{registry, time};

/// Most grants a user may have at a time.
const MAX_GRANTS: u32 = 32;

/// Lets `runner` open runs of `agent_id` for the user, who must have signed.
pub(crate) fn grant(
    env: &Env,
    user: Address,
    runner: Address,
    agent_id: u32,
    expires_at: Option<u64>,
) -> Result<(), VaultError> {
    let now = time::now(env);
    if runner == user {
        return Err(VaultError::InvalidAmount);
    }
    if expires_at.is_some_and(|at| at <= now) {
        return Err(VaultError::InvalidExpiry);
    }
    if !registry::lists(env, agent_id, &runner)? {
        return Err(VaultError::UnauthorizedRunner);
    }
    if live(env, &user, &runner, agent_id, now).is_some() {
        return Err(VaultError::RunnerGrantExists);
    }
    let mut index = prune(env, &user, now);
    if index.1.len() >= MAX_GRANTS {
        return Err(VaultError::TooManyGrants);
    }
    let serial = index.0.checked_add(1).ok_or(VaultError::TooManyGrants)?;
    index.0 = serial;
    index.1.push_back(GrantLine(runner.clone(), agent_id, expires_at));
    storage::set_grants(env, &user, &index);
    let entry = Grant(serial, now, expires_at, 0);
    storage::set_grant(env, &user, &runner, agent_id, &entry, true);
    RunnerGranted { user, runner, agent_id, issued_at: now, expires_at, serial }.publish(env);
    Ok(())
}

/// Ends a grant. The user must have signed.
pub(crate) fn revoke(
    env: &Env,
    user: Address,
    runner: Address,
    agent_id: u32,
) -> Result<(), VaultError> {
    let now = time::now(env);
    live(env, &user, &runner, agent_id, now).ok_or(VaultError::RunnerGrantNotFound)?;
    let mut index = storage::grants(env, &user);
    index.1 = without(env, &index.1, |line| line.0 == runner && line.1 == agent_id);
    storage::set_grants(env, &user, &index);
    storage::remove_grant(env, &user, &runner, agent_id);
    RunnerRevoked { user, runner, agent_id, revoked_at: now }.publish(env);
    Ok(())
}

/// Sets what a runner is allowed, whether it is granted yet or not. The user must have signed.
pub(crate) fn set_limits(
    env: &Env,
    user: Address,
    runner: Address,
    agent_id: u32,
    limits: &GrantLimits,
) -> Result<(), VaultError> {
    let GrantLimits { per_run_cap, total_cap, max_runner_fee } = *limits;
    if runner == user || per_run_cap < 0 || total_cap < 0 || max_runner_fee < 0 {
        return Err(VaultError::InvalidAmount);
    }
    storage::set_limits(env, &user, &runner, agent_id, limits);
    RunnerLimitsSet { user, runner, agent_id, per_run_cap, total_cap, max_runner_fee }.publish(env);
    Ok(())
}

/// Whether the grant's limits allow this escrow beside what it has used. No limits are no caps.
pub(crate) fn check_caps(
    limits: Option<&GrantLimits>,
    grant: &Grant,
    escrow: i128,
) -> Result<(), VaultError> {
    let Some(limits) = limits else { return Ok(()) };
    if limits.per_run_cap != 0 && escrow > limits.per_run_cap {
        return Err(VaultError::GrantRunCapExceeded);
    }
    if limits.total_cap != 0 && grant.3.saturating_add(escrow) > limits.total_cap {
        return Err(VaultError::GrantTotalExceeded);
    }
    Ok(())
}

/// The user's live grants. Writes nothing.
pub(crate) fn list(env: &Env, user: &Address) -> Vec<RunnerGrant> {
    let now = time::now(env);
    let mut grants = Vec::new(env);
    for GrantLine(runner, agent_id, _) in storage::grants(env, user).1.iter() {
        if let Some(Grant(serial, issued_at, expires_at, used)) =
            live(env, user, &runner, agent_id, now)
        {
            grants.push_back(RunnerGrant { runner, agent_id, issued_at, expires_at, serial, used });
        }
    }
    grants
}

/// The grant, unless it is dead: from `expires_at` on it is.
pub(crate) fn live(
    env: &Env,
    user: &Address,
    runner: &Address,
    agent_id: u32,
    now: u64,
) -> Option<Grant> {
    storage::grant(env, user, runner, agent_id).filter(|grant| !dead(grant.2, now))
}

/// Counts escrow against a grant.
pub(crate) fn used(mut grant: Grant, escrow: i128) -> Result<Grant, VaultError> {
    grant.3 = plus(grant.3, escrow)?;
    Ok(grant)
}

/// The grant with `refund` taken off what it used, if it still is the one the run was opened under
/// (V8). None if it isn't, or if nothing changes.
pub(crate) fn credited(
    env: &Env,
    user: &Address,
    runner: &Address,
    agent_id: u32,
    serial: u32,
    refund: i128,
) -> Result<Option<Grant>, VaultError> {
    match storage::grant(env, user, runner, agent_id) {
        Some(mut grant) if grant.0 == serial && refund > 0 => {
            grant.3 = minus(grant.3, refund)?;
            Ok(Some(grant))
        }
        _ => Ok(None),
    }
}

fn dead(expires_at: Option<u64>, now: u64) -> bool {
    expires_at.is_some_and(|at| at <= now)
}

/// Clears dead grants away, with an event each; answers the index, not yet written.
fn prune(env: &Env, user: &Address, now: u64) -> GrantIndex {
    let GrantIndex(serial, lines) = storage::grants(env, user);
    let kept = without(env, &lines, |line| {
        let GrantLine(runner, agent_id, expires_at) = line;
        let Some(expires_at) = expires_at.filter(|at| *at <= now) else { return false };
        storage::remove_grant(env, user, runner, *agent_id);
        RunnerExpired {
            user: user.clone(),
            runner: runner.clone(),
            agent_id: *agent_id,
            expires_at,
        }
        .publish(env);
        true
    });
    GrantIndex(serial, kept)
}

fn without(env: &Env, lines: &Vec<GrantLine>, gone: impl Fn(&GrantLine) -> bool) -> Vec<GrantLine> {
    let mut kept = Vec::new(env);
    for line in lines.iter() {
        if !gone(&line) {
            kept.push_back(line);
        }
    }
    kept
}
