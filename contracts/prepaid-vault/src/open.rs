//! Opening a run: everything is checked first and in a fixed order, then everything is written
//! (V9).

use soroban_sdk::{Address, BytesN, Env};

use crate::account::{self, Touched};
use crate::error::VaultError;
use crate::event::RunOpened;
use crate::registry::{Agent, RateCard, Reader};
use crate::storage::{self, Grant};
use crate::types::{Head, Meters, RunLifecycle, RunRecord, Terms};
use crate::{admin, amount, digest, grants, time};

/// What an opener asks for.
pub(crate) struct Opening {
    pub caller: Address,
    pub user: Address,
    pub agent_id: u32,
    pub rate_version: u32,
    pub budgets: Meters,
    pub nonce: BytesN<32>,
    pub runner_fee: u64,
    pub deadline: u64,
    pub request_hash: BytesN<32>,
    pub expected: Expected,
}

/// What the opener expects the registry to say.
pub(crate) enum Expected {
    /// The most that rates × budgets may be.
    MaxCharge(i128),
    /// Rates, developer, module and attesters, word for word.
    Head(Head),
}

/// A run that passed every check and is not written yet.
struct Checked {
    touched: Touched,
    grant_key: BytesN<32>,
    grant: Grant,
    terms: Terms,
    escrow: u64,
    opened_day: u32,
}

/// Opens a run, or answers the id of the same run that is open already (V4). The caller must have
/// signed, for a time that is not past.
pub(crate) fn open(
    env: &Env,
    registry: &mut Reader,
    opening: Opening,
) -> Result<BytesN<32>, VaultError> {
    amount::check_meters(&opening.budgets)?;
    amount::check(opening.runner_fee)?;

    let now = time::now(env);
    let Opening { caller, user, nonce, deadline, .. } = &opening;
    let run_id = digest::run_id(env, user, caller, nonce, *deadline);
    let arguments = arguments(env, &opening);
    if let Some(record) = storage::run(env, &run_id) {
        return repeated(&record, &opening.expected, &arguments, now).map(|()| run_id);
    }

    let checked = check(env, registry, opening, now)?;
    write(env, &run_id, arguments, checked);
    Ok(run_id)
}

fn arguments(env: &Env, opening: &Opening) -> BytesN<32> {
    let Opening { agent_id, rate_version, budgets, runner_fee, request_hash, .. } = opening;
    digest::arguments(env, *agent_id, *rate_version, budgets, *runner_fee, request_hash)
}

/// Answers for a run that has a record already: only the same opening of an open run is granted
/// again.
fn repeated(
    record: &RunRecord,
    expected: &Expected,
    arguments: &BytesN<32>,
    now: u64,
) -> Result<(), VaultError> {
    match &record.lifecycle {
        RunLifecycle::Open(of) if now < record.deadline => {
            // The price is what was escrowed beside the fee.
            let price = account::minus(record.escrowed, record.runner_fee)?;
            let is_expected = match expected {
                Expected::MaxCharge(most) => price <= *most,
                // Rates and module of a rate card never change, so the arguments' digest says all.
                Expected::Head(_) => true,
            };
            if of == arguments && is_expected { Ok(()) } else { Err(VaultError::RunTermsMismatch) }
        }
        _ => Err(VaultError::RunNotOpen),
    }
}

fn check(
    env: &Env,
    registry: &mut Reader,
    opening: Opening,
    now: u64,
) -> Result<Checked, VaultError> {
    admin::check_opens(env)?;
    let Opening { caller, user, agent_id, budgets, .. } = &opening;
    let grant_key = digest::grant(env, user, caller, *agent_id);
    let grant = grants::live(env, &grant_key, now).ok_or(VaultError::UnauthorizedRunner)?;
    if budgets.is_zero() {
        return Err(VaultError::EmptyBudget);
    }
    time::check_deadline(env, now, opening.deadline)?;
    // Without limits no fee is allowed (V13).
    let most_fee = grant.3.as_ref().map_or(0, |limits| limits.2);
    if i128::from(opening.runner_fee) > most_fee {
        return Err(VaultError::RunnerFeeExceeded);
    }

    let agent = registry.agent(*agent_id)?;
    if !agent.runners.contains(caller) {
        return Err(VaultError::UnauthorizedRunner);
    }
    let card = current_card(registry, &agent, *agent_id, opening.rate_version)?;
    let max_charge = amount::cost(&card.rates, budgets)?;
    check_expected(&opening, &agent, &card, max_charge)?;

    let escrow = amount::with_fee(max_charge, opening.runner_fee)?;
    grants::check_caps(&grant, escrow.into())?;
    let mut touched = account::touch(env, user)?;
    touched.account.check_caps(escrow.into())?;
    touched.account.reserve(escrow.into(), time::day(opening.deadline)?)?;
    Ok(Checked {
        opened_day: touched.account.day,
        touched,
        grant: grants::used(grant, escrow.into())?,
        grant_key,
        terms: pin(opening, agent, card, max_charge, now),
        escrow,
    })
}

/// Refuses an opening whose opener expects other prices, or another head, than the registry has.
fn check_expected(
    opening: &Opening,
    agent: &Agent,
    card: &RateCard,
    max_charge: u64,
) -> Result<(), VaultError> {
    match &opening.expected {
        Expected::MaxCharge(most) if i128::from(max_charge) <= *most => Ok(()),
        Expected::MaxCharge(_) => Err(VaultError::MaxChargeExceeded),
        Expected::Head(Head(_, _, rates, developer, manifest_hash, attesters)) => {
            let is_current = *rates == card.rates
                && *developer == agent.developer
                && *manifest_hash == card.manifest_hash
                && *attesters == agent.attesters;
            if is_current { Ok(()) } else { Err(VaultError::RunTermsMismatch) }
        }
    }
}

/// Nothing here can fail: an item of a batch is done or leaves no trace (V9).
fn write(env: &Env, run_id: &BytesN<32>, arguments: BytesN<32>, checked: Checked) {
    let Checked { touched, grant_key, grant, terms, escrow, opened_day } = checked;
    let record = RunRecord {
        user: terms.user.clone(),
        opened_by: terms.opened_by.clone(),
        agent_id: terms.head.0,
        escrowed: escrow.into(),
        runner_fee: terms.runner_fee.into(),
        deadline: terms.deadline,
        opened_day,
        grant_serial: grant.0,
        terms_hash: digest::terms(env, &terms),
        lifecycle: RunLifecycle::Open(arguments),
    };

    touched.save(env);
    storage::set_grant(env, &grant_key, &grant);
    storage::set_run(env, run_id, record);
    storage::keep_run(env, run_id, terms.opened_at, terms.deadline);
    opened(run_id.clone(), terms).publish(env);
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

fn pin(opening: Opening, agent: Agent, card: RateCard, max_charge: u64, now: u64) -> Terms {
    let head = Head(
        opening.agent_id,
        opening.rate_version,
        card.rates,
        agent.developer,
        card.manifest_hash,
        agent.attesters,
    );
    Terms {
        user: opening.user,
        opened_by: opening.caller,
        head,
        budgets: opening.budgets,
        max_charge,
        runner_fee: opening.runner_fee,
        deadline: opening.deadline,
        opened_at: now,
        request_hash: opening.request_hash,
    }
}

fn opened(run_id: BytesN<32>, terms: Terms) -> RunOpened {
    RunOpened {
        run_id,
        user: terms.user,
        opened_by: terms.opened_by,
        head: terms.head,
        budgets: terms.budgets,
        max_charge: terms.max_charge.into(),
        runner_fee: terms.runner_fee.into(),
        deadline: terms.deadline,
        opened_at: terms.opened_at,
        request_hash: terms.request_hash,
    }
}
