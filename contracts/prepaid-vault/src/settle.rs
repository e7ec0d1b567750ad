//! Settling a run: the developer gets what was metered, the user the rest, the account a receipt.

use soroban_sdk::{Address, BytesN, Env};

use crate::account::{self, Touched, minus, plus};
use crate::error::VaultError;
use crate::event::RunFinalized;
use crate::open::cost;
use crate::registry::Reader;
use crate::storage::{self, Grant, Payee};
use crate::types::{RunLifecycle, RunReceipt, RunRecord, SettledRun, Settlement, UsageBreakdown};
use crate::{digest, grants, time};

/// What a settler states.
pub(crate) struct Settling {
    pub runner: Address,
    pub settlement: Settlement,
}

/// A settlement that passed every check and isn't written yet.
struct Checked {
    touched: Touched,
    grant: Option<Grant>,
    developer_balance: i128,
    runner_balance: i128,
    settled: SettledRun,
}

/// Settles an open run before its deadline, or answers the receipt of the same settlement (V4). The
/// runner must have signed, for a time that isn't past.
pub(crate) fn finalize(
    env: &Env,
    registry: &mut Reader,
    settling: Settling,
) -> Result<RunReceipt, VaultError> {
    let now = time::now(env);
    let Settling { runner, settlement } = &settling;
    let record = storage::run(env, &settlement.run_id).ok_or(VaultError::RunNotFound)?;
    let known_by = digest::settlement(env, runner, &settlement.usage);
    let same_terms = digest::terms(env, &settlement.terms) == record.terms_hash;
    match &record.lifecycle {
        RunLifecycle::Open(_) if now < record.deadline => {}
        RunLifecycle::Finalized(charge, hash, by)
            if same_terms && *hash == settlement.output_hash && *by == known_by =>
        {
            return receipt(&settling, &record, *charge);
        }
        _ => return Err(VaultError::RunNotOpen),
    }
    if !same_terms {
        return Err(VaultError::RunTermsMismatch);
    }
    let checked = check(env, registry, settling, &record, now)?;
    Ok(write(env, record, known_by, checked))
}

fn check(
    env: &Env,
    registry: &mut Reader,
    settling: Settling,
    record: &RunRecord,
    now: u64,
) -> Result<Checked, VaultError> {
    check_usage(&settling.settlement.usage, &settling.settlement.terms.budgets)?;
    check_settler(env, registry, &settling.runner, record, now)?;
    let charge = cost(&settling.settlement.terms.rates, &settling.settlement.usage)?;
    let receipt = receipt(&settling, record, charge)?;
    let Settling { runner, settlement } = settling;
    let Settlement { run_id, terms, usage, output_hash } = settlement;

    let settled = SettledRun {
        run_id,
        settled_by: runner,
        usage,
        output_hash,
        actual_charge: charge,
        runner_fee: receipt.runner_fee,
        refund: receipt.refund,
        finalized_at: now,
        terms,
    };
    let mut touched = account::touch(env, &record.user)?;
    let account = &mut touched.account;
    let spent = plus(charge, settled.runner_fee)?;
    account.settle(record.escrowed, spent, time::day(record.deadline)?, record.opened_day)?;
    account.receipts = account.receipts.checked_add(1).ok_or(VaultError::AccountingBroken)?;
    account.receipts_hash =
        digest::receipts(env, &account.receipts_hash, account.receipts, &settled);
    let developer = storage::payable(env, Payee::Developer, &settled.terms.developer);
    let paid_runner = storage::payable(env, Payee::Runner, &settled.settled_by);
    Ok(Checked {
        touched,
        grant: credit(env, record, settled.refund)?,
        developer_balance: plus(developer, charge)?,
        runner_balance: plus(paid_runner, settled.runner_fee)?,
        settled,
    })
}

fn write(env: &Env, mut record: RunRecord, known_by: BytesN<32>, checked: Checked) -> RunReceipt {
    let Checked { touched, grant, developer_balance, runner_balance, settled } = checked;
    let (number, hash) = (touched.account.receipts, touched.account.receipts_hash.clone());
    touched.save(env);
    save_grant(env, &record, grant);
    if settled.actual_charge > 0 {
        let developer = &settled.terms.developer;
        storage::set_payable(env, Payee::Developer, developer, developer_balance);
    }
    if settled.runner_fee > 0 {
        storage::set_payable(env, Payee::Runner, &settled.settled_by, runner_balance);
    }
    record.lifecycle =
        RunLifecycle::Finalized(settled.actual_charge, settled.output_hash.clone(), known_by);
    storage::set_run(env, &settled.run_id, record);
    let receipt = RunReceipt {
        run_id: settled.run_id.clone(),
        actual_charge: settled.actual_charge,
        runner_fee: settled.runner_fee,
        refund: settled.refund,
        developer: settled.terms.developer.clone(),
    };
    finalized(settled, number, hash).publish(env);
    receipt
}

/// The grant of a run's opener with the refund taken off, if it is still the same grant.
pub(crate) fn credit(
    env: &Env,
    record: &RunRecord,
    refund: i128,
) -> Result<Option<Grant>, VaultError> {
    let RunRecord { user, opened_by, agent_id, grant_serial, .. } = record;
    grants::credited(env, user, opened_by, *agent_id, *grant_serial, refund)
}

/// Writes what `credit` answered.
pub(crate) fn save_grant(env: &Env, record: &RunRecord, grant: Option<Grant>) {
    if let Some(grant) = grant {
        let RunRecord { user, opened_by, agent_id, .. } = record;
        storage::set_grant(env, user, opened_by, *agent_id, &grant, false);
    }
}

/// The opener is paid its fee only if it settles itself (V13).
fn receipt(
    settling: &Settling,
    record: &RunRecord,
    charge: i128,
) -> Result<RunReceipt, VaultError> {
    let runner_fee = if settling.runner == record.opened_by { record.runner_fee } else { 0 };
    Ok(RunReceipt {
        run_id: settling.settlement.run_id.clone(),
        actual_charge: charge,
        runner_fee,
        refund: minus(record.escrowed, plus(charge, runner_fee)?)?,
        developer: settling.settlement.terms.developer.clone(),
    })
}

fn check_usage(usage: &UsageBreakdown, budgets: &UsageBreakdown) -> Result<(), VaultError> {
    let meters = [
        (usage.llm_in, budgets.llm_in),
        (usage.llm_out, budgets.llm_out),
        (usage.http_calls, budgets.http_calls),
        (usage.runtime_ms, budgets.runtime_ms),
    ];
    if meters.iter().any(|(used, _)| *used < 0) {
        return Err(VaultError::InvalidAmount);
    }
    if meters.iter().any(|(used, budget)| used > budget) {
        return Err(VaultError::UsageExceedsBudget);
    }
    Ok(())
}

/// The opener, while the registry lists it; if it doesn't, a listed runner with a live grant (V14).
fn check_settler(
    env: &Env,
    registry: &mut Reader,
    runner: &Address,
    record: &RunRecord,
    now: u64,
) -> Result<(), VaultError> {
    let agent_id = record.agent_id;
    let opener_listed = registry.lists(agent_id, &record.opened_by)?;
    let allowed = if *runner == record.opened_by {
        opener_listed
    } else {
        !opener_listed
            && registry.lists(agent_id, runner)?
            && grants::live(env, &record.user, runner, agent_id, now).is_some()
    };
    if allowed { Ok(()) } else { Err(VaultError::UnauthorizedRunner) }
}

fn finalized(settled: SettledRun, receipt_number: u64, receipts_hash: BytesN<32>) -> RunFinalized {
    RunFinalized {
        run_id: settled.run_id,
        user: settled.terms.user,
        runner: settled.settled_by,
        actual_charge: settled.actual_charge,
        runner_fee: settled.runner_fee,
        refund: settled.refund,
        usage: settled.usage,
        output_hash: settled.output_hash,
        finalized_at: settled.finalized_at,
        receipt_number,
        receipts_hash,
    }
}
