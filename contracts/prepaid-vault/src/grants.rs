//! Who may open runs for a user: one entry a grant for the run path, which holds its limits too,
//! and an index beside it for the user's own eyes, at most 32 long.
//!
//! A revoked or expired grant stops new runs at once; open ones settle until their deadline (V6).
//! Limits may be set before the grant and stay when it ends.

use soroban_sdk::{Address, BytesN, Env, Vec};

use crate::account::{minus, plus};
use crate::error::VaultError;
use crate::event::{RunnerExpired, RunnerGranted, RunnerLimitsSet, RunnerRevoked};
use crate::storage::{self, Grant, GrantIndex, GrantLine, Limits};
use crate::types::{GrantLimits, RunnerGrant};
use crate::{digest, registry, time};

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
    let key = digest::grant(env, &user, &runner, agent_id);
    if live(env, &key, now).is_some() {
        return Err(VaultError::RunnerGrantExists);
    }
    let mut index = prune(env, &user, now);
    if index.1.len() >= MAX_GRANTS {
        return Err(VaultError::TooManyGrants);
    }
    let serial = index.0.checked_add(1).ok_or(VaultError::TooManyGrants)?;

    index.0 = serial;
    index.1.push_back(GrantLine(runner.clone(), agent_id, now, expires_at));
    storage::set_grants(env, &user, &index);
    let limits = storage::grant(env, &key).and_then(|entry| entry.3);
    storage::set_grant_long(env, &key, &Grant(serial, expires_at, 0, limits));
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
    let key = digest::grant(env, &user, &runner, agent_id);
    let ended = live(env, &key, now).ok_or(VaultError::RunnerGrantNotFound)?;

    let mut index = storage::grants(env, &user);
    index.1 = without(env, &index.1, |line| line.0 == runner && line.1 == agent_id);
    storage::set_grants(env, &user, &index);
    end(env, &key, ended);
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

    let key = digest::grant(env, &user, &runner, agent_id);
    let mut entry = storage::grant(env, &key).unwrap_or(Grant(0, None, 0, None));
    entry.3 = Some(Limits(per_run_cap, total_cap, max_runner_fee));
    storage::set_grant_long(env, &key, &entry);
    RunnerLimitsSet { user, runner, agent_id, per_run_cap, total_cap, max_runner_fee }.publish(env);
    Ok(())
}

/// What a runner is allowed for an agent, if the user ever set it.
pub(crate) fn limits(
    env: &Env,
    user: &Address,
    runner: &Address,
    agent_id: u32,
) -> Option<GrantLimits> {
    let entry = storage::grant(env, &digest::grant(env, user, runner, agent_id))?;
    let Limits(per_run_cap, total_cap, max_runner_fee) = entry.3?;
    Some(GrantLimits { per_run_cap, total_cap, max_runner_fee })
}

/// Whether the grant's limits allow this escrow beside what it has used. No limits are no caps.
pub(crate) fn check_caps(grant: &Grant, escrow: i128) -> Result<(), VaultError> {
    let Grant(_, _, used, Some(Limits(per_run_cap, total_cap, _))) = grant else { return Ok(()) };
    if *per_run_cap != 0 && escrow > *per_run_cap {
        return Err(VaultError::GrantRunCapExceeded);
    }
    if *total_cap != 0 && used.saturating_add(escrow) > *total_cap {
        return Err(VaultError::GrantTotalExceeded);
    }
    Ok(())
}

/// The user's live grants. Writes nothing.
pub(crate) fn list(env: &Env, user: &Address) -> Vec<RunnerGrant> {
    let now = time::now(env);
    let mut grants = Vec::new(env);
    for GrantLine(runner, agent_id, issued_at, _) in storage::grants(env, user).1.iter() {
        let key = digest::grant(env, user, &runner, agent_id);
        if let Some(Grant(serial, expires_at, used, _)) = live(env, &key, now) {
            grants.push_back(RunnerGrant { runner, agent_id, issued_at, expires_at, serial, used });
        }
    }
    grants
}

/// The grant of this key, unless it has ended: from `expires_at` on it has.
pub(crate) fn live(env: &Env, key: &BytesN<32>, now: u64) -> Option<Grant> {
    let grant = storage::grant(env, key)?;
    let has_expired = grant.1.is_some_and(|at| at <= now);
    (grant.0 != 0 && !has_expired).then_some(grant)
}

/// Counts escrow against a grant.
pub(crate) fn used(mut grant: Grant, escrow: i128) -> Result<Grant, VaultError> {
    grant.2 = plus(grant.2, escrow)?;
    Ok(grant)
}

/// The grant with `refund` taken off what it used, if it still is the one the run was opened under
/// (V8). None if it is not, or if nothing changes.
pub(crate) fn credited(
    env: &Env,
    key: &BytesN<32>,
    serial: u32,
    refund: i128,
) -> Result<Option<Grant>, VaultError> {
    match storage::grant(env, key) {
        Some(mut grant) if grant.0 == serial && refund > 0 => {
            grant.2 = minus(grant.2, refund)?;
            Ok(Some(grant))
        }
        _ => Ok(None),
    }
}

/// Ends a grant. Its limits stay: they hold for the next one too.
fn end(env: &Env, key: &BytesN<32>, grant: Grant) {
    match grant.3 {
        limits @ Some(_) => storage::set_grant_long(env, key, &Grant(0, None, 0, limits)),
        None => storage::remove_grant(env, key),
    }
}

/// Clears expired grants away, with an event each; answers the index, not yet written.
fn prune(env: &Env, user: &Address, now: u64) -> GrantIndex {
    let GrantIndex(serial, lines) = storage::grants(env, user);
    let kept = without(env, &lines, |line| {
        let GrantLine(runner, agent_id, _, expires_at) = line;
        let Some(expires_at) = expires_at.filter(|at| *at <= now) else { return false };
        let key = digest::grant(env, user, runner, *agent_id);
        if let Some(grant) = storage::grant(env, &key) {
            end(env, &key, grant);
        }
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
