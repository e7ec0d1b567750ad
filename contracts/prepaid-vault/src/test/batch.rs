//! Many runs in one call: each item is judged by itself, in order, on the state the one before left.

use super::*;
use crate::batch::{MAX_OPENS, MAX_SETTLEMENTS};

pub(super) fn open_run(w: &World, nonce: u8) -> OpenRun {
    let OpenTerms { nonce, max_charge, runner_fee, deadline, request_hash, .. } = w.terms(nonce);
    OpenRun {
        user: w.user.clone(),
        agent_id: w.agent,
        rate_version: 1,
        budgets: budgets(),
        nonce,
        max_charge,
        runner_fee,
        deadline,
        request_hash,
    }
}

pub(super) fn settlement(w: &World, (run_id, terms): (BytesN<32>, RunTerms)) -> Settlement {
    Settlement { run_id, terms, usage: usage(), output_hash: w.bytes(9) }
}

fn open_all(w: &World, runs: &[OpenRun]) -> Result<std::vec::Vec<u32>, VaultError> {
    let runs = Vec::from_slice(&w.env, runs);
    flat(w.vault.try_open_runs(&w.runner, &NOON, &runs)).map(|codes| codes.iter().collect())
}

fn settle_all(w: &World, items: &[Settlement]) -> Result<std::vec::Vec<u32>, VaultError> {
    let items = Vec::from_slice(&w.env, items);
    let codes = flat(w.vault.try_finalize_runs(&w.runner, &u64::MAX, &items));
    codes.map(|codes| codes.iter().collect())
}

#[test]
fn a_batch_opens_what_single_calls_would() {
    let (single, batched) = (World::ready(), World::ready());
    let ids = [single.open(1), single.open(2)];
    let runs = [open_run(&batched, 1), open_run(&batched, 2)];
    assert_eq!(open_all(&batched, &runs), Ok([0, 0].into()));
    let auths = batched.env.auths();
    assert_eq!((auths.len(), &auths[0].0), (1, &batched.runner));
    let books = |w: &World| {
        let account = w.vault.account(&w.user);
        (account.balance, account.due_today, account.reserved)
    };
    assert_eq!(books(&batched), books(&single));
    for id in ids {
        let id = BytesN::from_array(&batched.env, &id.to_array());
        assert!(batched.vault.try_get_run(&id).is_ok());
    }
}

#[test]
fn a_batch_settles_what_single_calls_would() {
    let w = World::ready();
    let (one, two) = (w.opened(1), w.opened(2));
    assert_eq!(settle_all(&w, &[settlement(&w, one), settlement(&w, two)]), Ok([0, 0].into()));
    let auths = w.env.auths();
    assert_eq!((auths.len(), &auths[0].0), (1, &w.runner));
    assert_eq!(w.vault.developer_balance(&w.developer), 2 * CHARGE);
    let account = w.vault.account(&w.user);
    assert_eq!((account.receipts, account.spent), (2, 2 * CHARGE));
    assert_eq!(account.balance, 100_000_000 - 2 * CHARGE);
}

#[test]
fn each_item_has_its_own_code_and_a_refused_one_leaves_no_trace() {
    let w = World::ready();
    w.vault.withdraw(&w.user, &(100_000_000 - ESCROW));
    let good = open_run(&w, 1);
    let runs = [
        OpenRun { rate_version: 9, ..good.clone() },
        OpenRun { agent_id: 99, ..good.clone() },
        OpenRun { budgets: units(0, 0, 0, 0), ..good.clone() },
        good.clone(),
        OpenRun { nonce: w.bytes(2), ..good.clone() },
        OpenRun { request_hash: w.bytes(0), ..good.clone() },
        good,
    ];
    let expected = [
        VaultError::InvalidRateVersion as u32,
        VaultError::UnauthorizedRunner as u32,
        VaultError::EmptyBudget as u32,
        0,
        VaultError::InsufficientBalance as u32,
        VaultError::RunTermsMismatch as u32,
        0,
    ];
    assert_eq!(open_all(&w, &runs), Ok(expected.into()));
    let events = w.env.events().all().filter_by_contract(&w.vault.address);
    assert_eq!(events.events().len(), 1);
    let account = w.vault.account(&w.user);
    assert_eq!((account.balance, account.due_today), (0, ESCROW));
}

#[test]
fn items_are_judged_on_what_the_one_before_left() {
    let w = World::ready();
    let policy = PolicyInput { per_run_cap: 0, daily_cap: 2 * ESCROW, paused: false };
    w.vault.set_policy(&w.user, &policy);
    let runs = [1, 2, 3].map(|nonce| open_run(&w, nonce));
    let codes = [0, 0, VaultError::DailyCapExceeded as u32];
    assert_eq!(open_all(&w, &runs), Ok(codes.into()));
}

#[test]
fn one_settlement_twice_in_a_batch_is_one_settlement() {
    let w = World::ready();
    let run = w.opened(1);
    let item = settlement(&w, run);
    let other = Settlement { usage: units(0, 0, 0, 0), ..item.clone() };
    let lie = Settlement { terms: RunTerms { opened_at: 1, ..item.terms.clone() }, ..item.clone() };
    let codes = [
        VaultError::RunTermsMismatch as u32,
        0,
        0,
        VaultError::RunNotOpen as u32,
        VaultError::RunNotFound as u32,
    ];
    let unknown = Settlement { run_id: w.bytes(1), ..item.clone() };
    assert_eq!(settle_all(&w, &[lie, item.clone(), item, other, unknown]), Ok(codes.into()));
    assert_eq!(w.vault.account(&w.user).receipts, 1);
    assert_eq!(w.vault.developer_balance(&w.developer), CHARGE);
}

#[test]
fn a_batch_that_is_empty_too_long_or_late_is_refused_whole() {
    let w = World::ready();
    let size = Err(VaultError::InvalidBatchSize);
    assert_eq!(open_all(&w, &[]), size);
    assert_eq!(settle_all(&w, &[]), size);
    let run = open_run(&w, 1);
    let too_many: std::vec::Vec<_> = (0..=MAX_OPENS).map(|_| run.clone()).collect();
    assert_eq!(open_all(&w, &too_many), size);
    let item = settlement(&w, w.opened(2));
    let too_many: std::vec::Vec<_> = (0..=MAX_SETTLEMENTS).map(|_| item.clone()).collect();
    assert_eq!(settle_all(&w, &too_many), size);
    w.at(NOON + 1);
    assert_eq!(open_all(&w, &[run]), Err(VaultError::Expired));
    let late = w.vault.try_finalize_runs(&w.runner, &NOON, &vec![&w.env, item]);
    assert_eq!(flat(late), Err(VaultError::Expired));
    assert_eq!(w.vault.account(&w.user).receipts, 0);
}

#[test]
fn a_batch_opens_for_many_users_and_agents() {
    let w = World::ready();
    let second = Address::generate(&w.env);
    w.mint.mint(&second, &100_000_000);
    w.vault.deposit(&second, &100_000_000);
    let listed = vec![&w.env, w.runner.clone()];
    let other = w.registry.register_agent(&w.developer, &None, &listed, &card(&w.env, 10_000));
    w.vault.grant_runner(&second, &w.runner, &other, &None);
    let runs = [
        open_run(&w, 1),
        OpenRun { user: second.clone(), agent_id: other, ..open_run(&w, 1) },
        OpenRun { user: second.clone(), ..open_run(&w, 2) },
    ];
    let codes = [0, 0, VaultError::UnauthorizedRunner as u32];
    assert_eq!(open_all(&w, &runs), Ok(codes.into()));
    assert_eq!(w.vault.account(&second).due_today, ESCROW);
}
