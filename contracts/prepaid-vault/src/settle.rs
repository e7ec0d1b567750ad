//! Settling a run: the developer gets what was metered, the user the rest, the account a receipt.
//!
//! What is taken, charge or fee, is taken on the word of an attester that the run's terms pin,
//! never on the runner's own: its signature covers this run, its module, its request and the usage
//! (V16).

use soroban_sdk::{Address, BytesN, Env};

use crate::account::{self, Touched, minus, plus};
use crate::error::VaultError;
use crate::event::RunFinalized;
use crate::registry::Reader;
use crate::storage::{self, Grant, Payee};
use crate::types::{
    Head, Meters, RunLifecycle, RunReceipt, RunRecord, RunTerms, SettledRun, Terms,
};
use crate::{amount, digest, grants, time};

/// What a settler states.
pub(crate) struct Settling {
    pub runner: Address,
    pub run_id: BytesN<32>,
    pub terms: Stated,
    pub usage: Meters,
    pub output_hash: BytesN<32>,
    pub attestation: Option<Attestation>,
}

/// The run's terms as a settler states them.
pub(crate) enum Stated {
    /// In full.
    Terms(RunTerms),
    /// What neither record nor head of the batch has: budgets, time of opening, request.
    Parts(Head, Meters, u64, BytesN<32>),
}

/// An attester's signature: the place of its key among the pinned ones, and the 64 bytes.
pub(crate) struct Attestation(pub u32, pub BytesN<64>);

/// A settlement that passed every check and is not written yet.
struct Checked {
    touched: Touched,
    grant: Option<(BytesN<32>, Grant)>,
    developer_balance: i128,
    runner_balance: i128,
    settled: SettledRun,
    developer: Address,
}

/// Settles an open run before its deadline, or answers the receipt of the same settlement (V4). The
/// runner must have signed, for a time that is not past.
///
/// # Panics
///
/// The host ends the call when a signature is wrong: it has no way to answer that as a code.
pub(crate) fn finalize(
    env: &Env,
    registry: &mut Reader,
    settling: Settling,
) -> Result<RunReceipt, VaultError> {
    amount::check_meters(&settling.usage)?;

    let now = time::now(env);
    let Settling { runner, run_id, usage, attestation, .. } = &settling;
    let record = storage::run(env, run_id).ok_or(VaultError::RunNotFound)?;
    let terms = stated(&settling.terms, &record);
    let same_terms =
        terms.as_ref().is_some_and(|terms| digest::terms(env, terms) == record.terms_hash);
    let known_by = digest::settlement(env, runner, usage, attestation.is_some());
    match &record.lifecycle {
        RunLifecycle::Open(_) if now < record.deadline => {}
        RunLifecycle::Finalized(charge, hash, by)
            if same_terms && *hash == settling.output_hash && *by == known_by =>
        {
            let terms = terms.ok_or(VaultError::RunTermsMismatch)?;
            return receipt(&settling, &record, terms.head.3, *charge);
        }
        _ => return Err(VaultError::RunNotOpen),
    }
    let Some(terms) = terms.filter(|_| same_terms) else {
        return Err(VaultError::RunTermsMismatch);
    };

    let checked = check(env, registry, settling, &record, terms, now)?;
    Ok(write(env, record, known_by, checked))
}

/// The terms as stated, with what the record has; none if they cannot be those of any run.
fn stated(terms: &Stated, record: &RunRecord) -> Option<Terms> {
    match terms {
        Stated::Terms(terms) => checked_terms(terms),
        Stated::Parts(head, budgets, opened_at, request_hash) => {
            amount::check_meters(&head.2).and_then(|()| amount::check_meters(budgets)).ok()?;
            Some(Terms {
                user: record.user.clone(),
                opened_by: record.opened_by.clone(),
                head: head.clone(),
                budgets: budgets.clone(),
                max_charge: amount::cost(&head.2, budgets).ok()?,
                runner_fee: amount::bounded(record.runner_fee).ok()?,
                deadline: record.deadline,
                opened_at: *opened_at,
                request_hash: request_hash.clone(),
            })
        }
    }
}

fn checked_terms(terms: &RunTerms) -> Option<Terms> {
    let head = Head(
        terms.agent_id,
        terms.rate_version,
        Meters::try_from(&terms.rates).ok()?,
        terms.developer.clone(),
        terms.manifest_hash.clone(),
        terms.attesters.clone(),
    );
    Some(Terms {
        user: terms.user.clone(),
        opened_by: terms.opened_by.clone(),
        head,
        budgets: Meters::try_from(&terms.budgets).ok()?,
        max_charge: amount::bounded(terms.max_charge).ok()?,
        runner_fee: amount::bounded(terms.runner_fee).ok()?,
        deadline: terms.deadline,
        opened_at: terms.opened_at,
        request_hash: terms.request_hash.clone(),
    })
}

fn check(
    env: &Env,
    registry: &mut Reader,
    settling: Settling,
    record: &RunRecord,
    terms: Terms,
    now: u64,
) -> Result<Checked, VaultError> {
    if !settling.usage.is_within(&terms.budgets) {
        return Err(VaultError::UsageExceedsBudget);
    }
    check_settler(env, registry, &settling.runner, record, now)?;
    let attester = attester(&settling, &terms)?;
    let Head(_, _, rates, developer, manifest_hash, _) = &terms.head;
    let charge = amount::cost(rates, &settling.usage)?;
    let receipt = receipt(&settling, record, developer.clone(), charge.into())?;
    let spent = amount::with_fee(charge, amount::bounded(receipt.runner_fee)?)?;
    let Settling { runner, run_id, usage, output_hash, .. } = settling;
    let request_hash = &terms.request_hash;
    let signed = digest::attested(env, &run_id, manifest_hash, request_hash, &usage);

    let settled = SettledRun {
        run_id,
        terms,
        settled_by: runner,
        usage,
        output_hash,
        actual_charge: receipt.actual_charge,
        runner_fee: receipt.runner_fee,
        refund: receipt.refund,
        finalized_at: now,
    };
    let mut touched = account::touch(env, &record.user)?;
    let account = &mut touched.account;
    account.settle(
        record.escrowed,
        spent.into(),
        time::day(record.deadline)?,
        record.opened_day,
    )?;
    account.receipts = account.receipts.checked_add(1).ok_or(VaultError::AccountingBroken)?;
    account.receipts_hash =
        digest::receipts(env, &account.receipts_hash, account.receipts, &settled);
    let developer = storage::payable(env, Payee::Developer, &receipt.developer);
    let paid_runner = storage::payable(env, Payee::Runner, &settled.settled_by);
    let checked = Checked {
        touched,
        grant: credit(env, record, receipt.refund)?,
        developer_balance: plus(developer, receipt.actual_charge)?,
        runner_balance: plus(paid_runner, receipt.runner_fee)?,
        settled,
        developer: receipt.developer,
    };

    // Last of all: a wrong signature ends the whole call, and every code must come before that.
    if let Some((key, signature)) = attester {
        env.crypto().ed25519_verify(&key, signed.as_ref(), &signature);
    }
    Ok(checked)
}

/// Key and signature to verify. Without a signature nothing may be taken, and there is none to
/// verify.
fn attester(
    settling: &Settling,
    terms: &Terms,
) -> Result<Option<(BytesN<32>, BytesN<64>)>, VaultError> {
    match &settling.attestation {
        Some(Attestation(index, signature)) => {
            let key = terms.head.5.get(*index).ok_or(VaultError::NotAttested)?;
            Ok(Some((key, signature.clone())))
        }
        None if settling.usage.is_zero() => Ok(None),
        None => Err(VaultError::NotAttested),
    }
}

/// Nothing here can fail: an item of a batch is done or leaves no trace (V9).
fn write(env: &Env, mut record: RunRecord, known_by: BytesN<32>, checked: Checked) -> RunReceipt {
    let Checked { touched, grant, developer_balance, runner_balance, settled, developer } = checked;
    let SettledRun { run_id, settled_by: runner, usage, output_hash, .. } = settled;
    let (actual_charge, runner_fee) = (settled.actual_charge, settled.runner_fee);
    let (refund, at) = (settled.refund, settled.finalized_at);
    let user = record.user.clone();
    let receipt_number = touched.account.receipts;
    let receipts_hash = touched.account.receipts_hash.clone();

    touched.save(env);
    save_grant(env, grant);
    if actual_charge > 0 {
        storage::set_payable(env, Payee::Developer, &developer, developer_balance);
    }
    if runner_fee > 0 {
        storage::set_payable(env, Payee::Runner, &runner, runner_balance);
    }
    record.lifecycle = RunLifecycle::Finalized(actual_charge, output_hash.clone(), known_by);
    storage::set_run(env, &run_id, record);

    let receipt =
        RunReceipt { run_id: run_id.clone(), actual_charge, runner_fee, refund, developer };
    RunFinalized {
        run_id,
        user,
        runner,
        actual_charge,
        runner_fee,
        refund,
        usage,
        output_hash,
        finalized_at: at,
        receipt_number,
        receipts_hash,
    }
    .publish(env);
    receipt
}

/// The grant of a run's opener with the refund taken off, if it is still the same grant.
pub(crate) fn credit(
    env: &Env,
    record: &RunRecord,
    refund: i128,
) -> Result<Option<(BytesN<32>, Grant)>, VaultError> {
    let RunRecord { user, opened_by, agent_id, grant_serial, .. } = record;
    let key = digest::grant(env, user, opened_by, *agent_id);
    Ok(grants::credited(env, &key, *grant_serial, refund)?.map(|grant| (key, grant)))
}

/// Writes what `credit` answered.
pub(crate) fn save_grant(env: &Env, grant: Option<(BytesN<32>, Grant)>) {
    if let Some((key, grant)) = grant {
        storage::set_grant(env, &key, &grant);
    }
}

/// The opener is paid its fee only if it settles itself (V13) and an attester signed (V16).
fn receipt(
    settling: &Settling,
    record: &RunRecord,
    developer: Address,
    charge: i128,
) -> Result<RunReceipt, VaultError> {
    let earns_fee = settling.runner == record.opened_by && settling.attestation.is_some();
    let runner_fee = if earns_fee { record.runner_fee } else { 0 };
    Ok(RunReceipt {
        run_id: settling.run_id.clone(),
        actual_charge: charge,
        runner_fee,
        refund: minus(record.escrowed, plus(charge, runner_fee)?)?,
        developer,
    })
}

/// The opener, while the registry lists it; if it does not, a listed runner with a live grant
/// (V14).
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
            && grants::live(env, &digest::grant(env, &record.user, runner, agent_id), now).is_some()
    };
    if allowed { Ok(()) } else { Err(VaultError::UnauthorizedRunner) }
}
