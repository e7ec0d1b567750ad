//! Opening a run: everything is checked first and in a fixed order, then everything is written (V9).

use soroban_sdk::{Address, BytesN, Env};

use crate::account::{self, Touched};
use crate::digest;
use crate::error::VaultError;
use crate::event::RunOpened;
use crate::registry::{self, Agent, RateCard};
use crate::storage::{self, Grant};
use crate::types::{OpenTerms, RunLifecycle, RunRecord, RunTerms, UsageBreakdown, UsageMeterRates};
use crate::{grants, time};

/// What an opener asks for.
pub(crate) struct Opening {
    pub user: Address,
    pub caller: Address,
    pub agent_id: u32,
    pub rate_version: u32,
    pub budgets: UsageBreakdown,
    pub terms: OpenTerms,
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
/// signed.
pub(crate) fn open(env: &Env, opening: &Opening) -> Result<BytesN<32>, VaultError> {
    let Opening { user, caller, agent_id, rate_version, budgets, terms } = opening;
    let now = time::now(env);
    time::check_valid(now, terms.valid_until)?;
    let run_id = digest::run_id(env, user, caller, &terms.nonce, terms.deadline);
    let arguments = digest::arguments(env, *agent_id, *rate_version, budgets, terms);
    if let Some(record) = storage::run(env, &run_id) {
        return repeated(&record, &arguments, now).map(|()| run_id);
    }
    let checked = check(env, opening, now)?;
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

fn check(env: &Env, opening: &Opening, now: u64) -> Result<Checked, VaultError> {
    let Opening { user, caller, agent_id, rate_version, budgets, terms } = opening;
    let grant =
        grants::live(env, user, caller, *agent_id, now).ok_or(VaultError::UnauthorizedRunner)?;
    check_budgets(budgets)?;
    time::check_deadline(now, terms.deadline)?;
    check_fee(terms.runner_fee)?;
    let agent = registry::agent(env, *agent_id)?;
    if !agent.runners.contains(caller) {
        return Err(VaultError::UnauthorizedRunner);
    }
    let card = current_card(env, &agent, *agent_id, *rate_version)?;
    let max_charge = cost(&card.rates, budgets)?;
    if max_charge > terms.max_charge {
        return Err(VaultError::MaxChargeExceeded);
    }
    let escrow = max_charge.checked_add(terms.runner_fee).ok_or(VaultError::InvalidAmount)?;
    let mut touched = account::touch(env, user)?;
    touched.account.check_caps(escrow)?;
    touched.account.reserve(escrow, time::day(terms.deadline)?)?;
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

/// A grant without limits allows no fee, and limits can't be set yet.
fn check_fee(fee: i128) -> Result<(), VaultError> {
    match fee {
        0 => Ok(()),
        ..0 => Err(VaultError::InvalidAmount),
        _ => Err(VaultError::RunnerFeeExceeded),
    }
}

/// The rate card, if it is the latest or the one before (V5).
fn current_card(
    env: &Env,
    agent: &Agent,
    agent_id: u32,
    version: u32,
) -> Result<RateCard, VaultError> {
    let age = agent.latest_rate_version.checked_sub(version);
    if version == 0 || !matches!(age, Some(0 | 1)) {
        return Err(VaultError::InvalidRateVersion);
    }
    registry::rate_card(env, agent_id, version)
}

fn pin(opening: &Opening, agent: Agent, card: RateCard, max_charge: i128, now: u64) -> RunTerms {
    RunTerms {
        user: opening.user.clone(),
        opened_by: opening.caller.clone(),
        agent_id: opening.agent_id,
        rate_version: opening.rate_version,
        rates: card.rates,
        budgets: opening.budgets.clone(),
        max_charge,
        runner_fee: opening.terms.runner_fee,
        deadline: opening.terms.deadline,
        opened_at: now,
        developer: agent.developer,
        manifest_hash: card.manifest_hash,
        request_hash: opening.terms.request_hash.clone(),
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
