//! Settling: who may, what is charged, what a repeat answers.

use soroban_sdk::testutils::Address as _;

use super::*;

#[test]
fn a_settlement_charges_what_was_metered_and_returns_the_rest() {
    let w = World::ready();
    let run = w.opened(1);
    w.at(NOON + 5);
    let receipt = w.settle(&run).unwrap();
    let events = w.env.events().all().filter_by_contract(&w.vault.address);
    let account = w.vault.account(&w.user);
    let expected = RunFinalized {
        run_id: run.0.clone(),
        user: w.user.clone(),
        runner: w.runner.clone(),
        actual_charge: CHARGE,
        runner_fee: 0,
        refund: 400_500,
        usage: metered(),
        output_hash: w.bytes(9),
        finalized_at: NOON + 5,
        receipt_number: 1,
        receipts_hash: account.receipts_hash,
    };
    assert_eq!(events, [expected.to_xdr(&w.env, &w.vault.address)]);
    let expected = RunReceipt {
        run_id: run.0.clone(),
        actual_charge: CHARGE,
        runner_fee: 0,
        refund: 400_500,
        developer: w.developer.clone(),
    };
    assert_eq!(receipt, expected);
    assert_eq!((account.balance, account.due_today), (100_000_000 - CHARGE, 0));
    assert_eq!((account.spent, account.reserved, account.receipts), (CHARGE, 0, 1));
    assert_eq!((w.vault.developer_balance(&w.developer), w.owed()), (CHARGE, 100_000_000));
}

#[test]
fn a_repeat_answers_the_receipt_and_changes_nothing() {
    let w = World::ready();
    let run = w.opened(1);
    let receipt = w.settle(&run);
    let before = w.vault.account(&w.user);
    assert_eq!(w.settle(&run), receipt);
    w.expect_events(&[]);
    assert_eq!(w.vault.account(&w.user), before);
}

#[test]
fn zero_usage_returns_everything() {
    let w = World::ready();
    let run = w.opened(1);
    let receipt = w.settle_as(&w.runner, &run, &units(0, 0, 0, 0)).unwrap();
    assert_eq!((receipt.actual_charge, receipt.refund), (0, ESCROW));
    assert_eq!(w.vault.balance_of(&w.user), 100_000_000);
    assert_eq!(w.vault.developer_balance(&w.developer), 0);
}

#[test]
fn a_repeat_is_answered_even_after_deadline_and_delisting() {
    let w = World::ready();
    let run = w.opened(1);
    let receipt = w.settle(&run);
    w.registry.remove_runner(&w.agent, &w.runner);
    w.at(NOON + 2 * DAY);
    assert_eq!(w.settle(&run), receipt);
}

#[test]
fn another_settlement_of_a_settled_run_is_refused() {
    let w = World::ready();
    let second = w.second_runner();
    let run = w.opened(1);
    w.settle(&run).unwrap();
    let closed = Err(VaultError::RunNotOpen);
    assert_eq!(w.settle_as(&w.runner, &run, &units(80, 40, 1, 501)), closed);
    assert_eq!(w.settle_as(&second, &run, &usage()), closed);
    assert_eq!(w.finalize(&w.runner, &run, &usage(), 8, u64::MAX), closed);
    let mut lie = run.clone();
    lie.1.developer = w.user.clone();
    assert_eq!(w.settle(&lie), closed);
    assert_eq!(w.vault.account(&w.user).receipts, 1);
}

#[test]
fn terms_other_than_those_of_the_opening_are_refused() {
    let w = World::ready();
    let run = w.opened(1);
    let changes: [fn(&World, &mut RunTerms); 14] = [
        |w, terms| terms.user = w.developer.clone(),
        |w, terms| terms.opened_by = w.developer.clone(),
        |_, terms| terms.agent_id += 1,
        |_, terms| terms.rate_version += 1,
        |_, terms| terms.rates.llm_in += 1,
        |_, terms| terms.budgets.llm_out += 1,
        |_, terms| terms.max_charge += 1,
        |_, terms| terms.runner_fee += 1,
        |_, terms| terms.deadline += 1,
        |_, terms| terms.opened_at += 1,
        |w, terms| terms.developer = w.runner.clone(),
        |w, terms| terms.manifest_hash = w.bytes(0),
        |w, terms| terms.request_hash = w.bytes(0),
        |w, terms| terms.attesters.push_back(w.bytes(0)),
    ];
    for change in changes {
        let mut lie = run.clone();
        change(&w, &mut lie.1);
        assert_eq!(w.settle(&lie), Err(VaultError::RunTermsMismatch));
    }
    assert!(w.settle(&run).is_ok());
}

#[test]
fn usage_stays_within_the_budget_of_every_meter() {
    let w = World::ready();
    let run = w.opened(1);
    let over = Err(VaultError::UsageExceedsBudget);
    for usage in [units(101, 0, 0, 0), units(0, 51, 0, 0), units(0, 0, 2, 0), units(0, 0, 0, 1001)]
    {
        assert_eq!(w.settle_as(&w.runner, &run, &usage), over);
    }
    for usage in [units(-1, 0, 0, 0), units(0, -1, 0, 0), units(0, 0, i128::MIN, 0)] {
        let bad = Err(VaultError::InvalidAmount);
        assert_eq!(w.settle_as(&w.runner, &run, &usage), bad);
    }
    let all = w.settle_as(&w.runner, &run, &budgets()).unwrap();
    assert_eq!((all.actual_charge, all.refund), (ESCROW, 0));
}

#[test]
fn rates_published_later_do_not_touch_an_open_run() {
    let w = World::ready();
    let run = w.opened(1);
    for _ in 0..3 {
        w.registry.publish_rate_card(&w.agent, &card(&w.env, 1_000_000));
    }
    assert_eq!(w.settle(&run).unwrap().actual_charge, CHARGE);
}

#[test]
fn only_the_opener_settles_while_it_is_listed() {
    let w = World::ready();
    let second = w.second_runner();
    let run = w.opened(1);
    let refused = Err(VaultError::UnauthorizedRunner);
    assert_eq!(w.settle_as(&second, &run, &usage()), refused);
    assert_eq!(w.settle_as(&w.user, &run, &usage()), refused);
    assert_eq!(w.settle_as(&w.developer, &run, &usage()), refused);
    assert!(w.settle(&run).is_ok());
}

#[test]
fn delisting_stops_the_opener_and_lets_a_granted_listed_runner_settle() {
    let w = World::ready();
    let second = w.second_runner();
    let listed_only = Address::generate(&w.env);
    w.registry.add_runner(&w.agent, &listed_only);
    let run = w.opened(1);
    w.registry.remove_runner(&w.agent, &w.runner);
    let refused = Err(VaultError::UnauthorizedRunner);
    assert_eq!(w.settle(&run), refused);
    assert_eq!(w.settle_as(&listed_only, &run, &usage()), refused);
    let receipt = w.settle_as(&second, &run, &usage()).unwrap();
    assert_eq!((receipt.actual_charge, receipt.runner_fee), (CHARGE, 0));
    assert_eq!(w.settle_as(&second, &run, &usage()), Ok(receipt));
}

#[test]
fn a_run_settles_before_its_deadline_only() {
    let w = World::ready();
    let (one, two) = (w.opened(1), w.opened(2));
    w.at(NOON + HOUR - 1);
    assert!(w.settle(&one).is_ok());
    w.at(NOON + HOUR);
    assert_eq!(w.settle(&two), Err(VaultError::RunNotOpen));
}

/// Each line spoils one thing more; the code must be that of the first check that fails.
#[test]
fn checks_come_in_their_order() {
    let w = World::ready();
    let mut run = w.opened(1);
    w.registry.remove_runner(&w.agent, &w.runner);
    let settle = |run: &(BytesN<32>, RunTerms), usage: &UsageBreakdown, until: u64| {
        w.finalize(&w.runner, run, usage, 9, until).err()
    };
    assert_eq!(settle(&run, &usage(), NOON), Some(VaultError::UnauthorizedRunner));
    let over = units(101, 0, 0, 0);
    assert_eq!(settle(&run, &over, NOON), Some(VaultError::UsageExceedsBudget));
    run.1.opened_at += 1;
    assert_eq!(settle(&run, &over, NOON), Some(VaultError::RunTermsMismatch));
    w.vault.void_run(&run.0, &w.runner, &0, &u64::MAX);
    assert_eq!(settle(&run, &over, NOON), Some(VaultError::RunNotOpen));
    run.0 = w.bytes(1);
    assert_eq!(settle(&run, &over, NOON), Some(VaultError::RunNotFound));
    let negative = units(101, -1, 0, 0);
    assert_eq!(settle(&run, &negative, NOON), Some(VaultError::InvalidAmount));
    assert_eq!(settle(&run, &negative, NOON - 1), Some(VaultError::Expired));
}
