//! Ending a run without a settlement: the opener gives it up before the deadline, or anybody ends
//! it after. The whole escrow goes back to the user, never a fee.

use soroban_sdk::{Address, BytesN, Env};

use crate::error::VaultError;
use crate::event::{RunReclaimed, RunVoided};
use crate::types::{RunLifecycle, RunRecord};
use crate::{account, settle, storage, time};

/// Gives a run up before its deadline; again with the same reason does nothing. The runner must
/// have signed and be the opener; whether the registry still lists it does not matter (V6).
pub(crate) fn void(
    env: &Env,
    run_id: &BytesN<32>,
    runner: Address,
    reason: u32,
    valid_until: u64,
) -> Result<(), VaultError> {
    let now = time::now(env);
    time::check_valid(now, valid_until)?;
    let record = storage::run(env, run_id).ok_or(VaultError::RunNotFound)?;
    if record.opened_by != runner {
        return Err(VaultError::UnauthorizedRunner);
    }
    match record.lifecycle {
        RunLifecycle::Open(_) if now < record.deadline => {}
        RunLifecycle::Voided(given) if given == reason => return Ok(()),
        _ => return Err(VaultError::RunNotOpen),
    }

    let user = record.user.clone();
    let refund = give_back(env, run_id, record, RunLifecycle::Voided(reason))?;
    RunVoided { user, run_id: run_id.clone(), runner, reason, refund, voided_at: now }.publish(env);
    Ok(())
}

/// Ends a run from its deadline on; again does nothing. `owner` names the user if only runs of that
/// user are meant.
pub(crate) fn reclaim(
    env: &Env,
    run_id: &BytesN<32>,
    owner: Option<&Address>,
) -> Result<(), VaultError> {
    let now = time::now(env);
    let record = storage::run(env, run_id).ok_or(VaultError::RunNotFound)?;
    if owner.is_some_and(|owner| *owner != record.user) {
        return Err(VaultError::Unauthorized);
    }
    match record.lifecycle {
        RunLifecycle::Open(_) if now >= record.deadline => {}
        RunLifecycle::Open(_) => return Err(VaultError::DeadlineNotReached),
        RunLifecycle::Reclaimed => return Ok(()),
        _ => return Err(VaultError::RunNotOpen),
    }

    let user = record.user.clone();
    let refund = give_back(env, run_id, record, RunLifecycle::Reclaimed)?;
    RunReclaimed { user, run_id: run_id.clone(), refund, reclaimed_at: now }.publish(env);
    Ok(())
}

/// Returns escrow whose due day is past; answers how much. Anybody may call it.
pub(crate) fn sweep(env: &Env, user: &Address) -> Result<i128, VaultError> {
    let touched = account::touch(env, user)?;
    let returned = touched.returned();
    if returned > 0 {
        touched.save(env);
        storage::keep_instance(env);
    }
    Ok(returned)
}

/// Returns a run's escrow and ends its record. If the due day is past, bringing the account to
/// today has returned it, now or earlier, and the answer is 0 (V3).
fn give_back(
    env: &Env,
    run_id: &BytesN<32>,
    mut record: RunRecord,
    end: RunLifecycle,
) -> Result<i128, VaultError> {
    let mut touched = account::touch(env, &record.user)?;
    let due_day = time::day(record.deadline)?;
    let mut refund = 0;
    if due_day >= touched.account.day {
        refund = record.escrowed;
        touched.account.settle(refund, 0, due_day, record.opened_day)?;
    }
    let grant = settle::credit(env, &record, record.escrowed)?;

    touched.save(env);
    settle::save_grant(env, grant);
    record.lifecycle = end;
    storage::set_run(env, run_id, record);
    storage::keep_instance(env);
    Ok(refund)
}
