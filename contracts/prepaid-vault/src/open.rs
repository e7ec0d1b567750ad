//! Opening a run: everything is checked first and in a fixed order, then everything is written (V9).

use soroban_sdk::{Address, BytesN, Env};

use crate::account::{self, Touched};
use crate::digest;
use crate::error::VaultError;
use crate::event::RunOpened;
use crate::registry::{Agent, RateCard, Reader};
use crate::storage::{self, Grant};
use crate::types::{
    GrantLimits, OpenRun, RunLifecycle, RunRecord, RunTerms, UsageBreakdown, UsageMeterRates,
};
use crate::{admin, grants, time};

/// What an opener asks for.
pub(crate) struct Opening {
    pub caller: Address,
    pub run: OpenRun,
}

/// A run that passed every check and isn't written yet.
struct Checked {
    touched: Touched,
    grant: Grant,
    terms: RunTerms,
    escrow: i128,
    opened_day: u32,
}

/// Opens a run, or answers the id of the same run that is open already (V4). The caller must have
/// signed, for a time that isn't past.
pub(crate) fn open(
    env: &Env,
    registry: &mut Reader,
    opening: &Opening,
) -> Result<BytesN<32>, VaultError> {
    let Opening { caller, run } = opening;
    let now = time::now(env);
    let run_id = digest::run_id(env, &run.user, caller, &run.nonce, run.deadline);
    let arguments = digest::arguments(env, run);
    if let Some(record) = storage::run(env, &run_id) {
        return repeated(&record, &arguments, now).map(|()| run_id);
    }
    let checked = check(env, registry, opening, now)?;
    write(env, &run_id, arguments, checked);
    Ok(run_id)
}

/// rates × units over the four meters, without rounding. Neither may be negative.
pub(crate) fn cost(rates: &UsageMeterRates, units: &UsageBreakdown) -> Result<i128, VaultError> {
    let meters = [
        (rates.llm_in, units.llm_in),
        (rates.llm_out, units.llm_out),
        (rates.http_calls, units.http_calls),
        (rates.runtime_ms, units.runtime_ms),
    ];
    let mut sum: i128 = 0;
    for (rate, count) in meters {
        if rate < 0 || count < 0 {
            return Err(VaultError::InvalidAmount);
        }
        let part = rate.checked_mul(count).ok_or(VaultError::InvalidAmount)?;
        sum = sum.checked_add(part).ok_or(VaultError::InvalidAmount)?;
    }
    Ok(sum)
}

fn repeated(record: &RunRecord, arguments: &BytesN<32>, now: u64) -> Result<(), VaultError> {
    match &record.lifecycle {
        RunLifecycle::Open(of) if now < record.deadline => {
            if of == arguments {
                Ok(())
            } else {
                Err(VaultError::RunTermsMismatch)
            }
        }
        _ => Err(VaultError::RunNotOpen),
    }
}

fn check(
    env: &Env,
    registry: &mut Reader,
    opening: &Opening,
    now: u64,
) -> Result<Checked, VaultError> {
    let Opening { caller, run } = opening;
    admin::check_opens(env)?;
    let grant = grants::live(env, &run.user, caller, run.agent_id, now)
        .ok_or(VaultError::UnauthorizedRunner)?;
    check_budgets(&run.budgets)?;
    time::check_deadline(now, run.deadline)?;
    let limits = storage::limits(env, &run.user, caller, run.agent_id);
    check_fee(run.runner_fee, limits.as_ref())?;
    let agent = registry.agent(run.agent_id)?;
    if !agent.runners.contains(caller) {
        return Err(VaultError::UnauthorizedRunner);
    }
    let card = current_card(registry, &agent, run.agent_id, run.rate_version)?;
    let max_charge = cost(&card.rates, &run.budgets)?;
    if max_charge > run.max_charge {
        return Err(VaultError::MaxChargeExceeded);
    }
    let escrow = max_charge.checked_add(run.runner_fee).ok_or(VaultError::InvalidAmount)?;
    grants::check_caps(limits.as_ref(), &grant, escrow)?;
    let mut touched = account::touch(env, &run.user)?;
    touched.account.check_caps(escrow)?;
    touched.account.reserve(escrow, time::day(run.deadline)?)?;
    Ok(Checked {
        opened_day: touched.account.day,
        touched,
        grant: grants::used(grant, escrow)?,
        terms: pin(opening, agent, card, max_charge, now),
        escrow,
    })
}

fn write(env: &Env, run_id: &BytesN<32>, arguments: BytesN<32>, checked: Checked) {
    let Checked { touched, grant, terms, escrow, opened_day } = checked;
    let record = RunRecord {
        user: terms.user.clone(),
        opened_by: terms.opened_by.clone(),
        agent_id: terms.agent_id,
        escrowed: escrow,
        runner_fee: terms.runner_fee,
        deadline: terms.deadline,
        opened_day,
        grant_serial: grant.0,
        terms_hash: digest::terms(env, &terms),
        lifecycle: RunLifecycle::Open(arguments),
    };
    touched.save(env);
    storage::set_grant(env, &terms.user, &terms.opened_by, terms.agent_id, &grant, false);
    storage::set_run(env, run_id, record);
    storage::keep_run(env, run_id, terms.opened_at, terms.deadline);
    opened(run_id.clone(), terms).publish(env);
}

fn check_budgets(budgets: &UsageBreakdown) -> Result<(), VaultError> {
    let all = [budgets.llm_in, budgets.llm_out, budgets.http_calls, budgets.runtime_ms];
    if all.iter().any(|units| *units < 0) {
        return Err(VaultError::InvalidAmount);
    }
    if all.iter().all(|units| *units == 0) { Err(VaultError::EmptyBudget) } else { Ok(()) }
}

/// Without limits no fee is allowed (V13).
fn check_fee(fee: i128, limits: Option<&GrantLimits>) -> Result<(), VaultError> {
    if fee < 0 {
        return Err(VaultError::InvalidAmount);
    }
    let most = limits.map_or(0, |limits| limits.max_runner_fee);
    if fee > most { Err(VaultError::RunnerFeeExceeded) } else { Ok(()) }
}

/// The rate card, if it is the latest or the one before (V5).
fn current_card(
    registry: &mut Reader,
    agent: &Agent,
    agent_id: u32,
    version: u32,
) -> Result<RateCard, VaultError> {
    let age = agent.latest_rate_version.checked_sub(version);
    if version == 0 || !matches!(age, Some(0 | 1)) {
        return Err(VaultError::InvalidRateVersion);
    }
    registry.rate_card(agent_id, version)
}

fn pin(opening: &Opening, agent: Agent, card: RateCard, max_charge: i128, now: u64) -> RunTerms {
    let Opening { caller, run } = opening;
    RunTerms {
        user: run.user.clone(),
        opened_by: caller.clone(),
        agent_id: run.agent_id,
        rate_version: run.rate_version,
        rates: card.rates,
        budgets: run.budgets.clone(),
        max_charge,
        runner_fee: run.runner_fee,
        deadline: run.deadline,
        opened_at: now,
        developer: agent.developer,
        manifest_hash: card.manifest_hash,
        request_hash: run.request_hash.clone(),
        attesters: agent.attesters,
    }
}

fn opened(run_id: BytesN<32>, terms: RunTerms) -> RunOpened {
    RunOpened {
        run_id,
        user: terms.user,
        opened_by: terms.opened_by,
        agent_id: terms.agent_id,
        rate_version: terms.rate_version,
        rates: terms.rates,
        budgets: terms.budgets,
        max_charge: terms.max_charge,
        runner_fee: terms.runner_fee,
        deadline: terms.deadline,
        opened_at: terms.opened_at,
        developer: terms.developer,
        manifest_hash: terms.manifest_hash,
        request_hash: terms.request_hash,
        attesters: terms.attesters,
    }
}
