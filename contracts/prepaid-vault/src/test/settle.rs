//! Settling: who may, what is charged, what a repeat answers.

use soroban_sdk::testutils::Address as _;

use super::*;

#[test]
fn a_settlement_charges_what_was_metered_and_returns_the_rest() {
    let f = Fixture::ready();
    let run = f.opened(1);
    f.at(NOON + 5);
    let receipt = f.settle(&run).unwrap();
    let events = f.env.events().all().filter_by_contract(&f.vault.address);
    let account = f.vault.account(&f.user);
    let expected = RunFinalized {
        run_id: run.0.clone(),
        user: f.user.clone(),
        runner: f.runner.clone(),
        actual_charge: CHARGE,
        runner_fee: 0,
        refund: 400_500,
        usage: metered(),
        output_hash: f.bytes(9),
        finalized_at: NOON + 5,
        receipt_number: 1,
        receipts_hash: account.receipts_hash,
    };
    assert_eq!(events, [expected.to_xdr(&f.env, &f.vault.address)]);
    let expected = RunReceipt {
        run_id: run.0.clone(),
        actual_charge: CHARGE,
        runner_fee: 0,
        refund: 400_500,
        developer: f.developer.clone(),
    };
    assert_eq!(receipt, expected);
    assert_eq!((account.balance, account.due_today), (100_000_000 - CHARGE, 0));
    assert_eq!((account.spent, account.reserved, account.receipts), (CHARGE, 0, 1));
    assert_eq!((f.vault.developer_balance(&f.developer), f.owed()), (CHARGE, 100_000_000));
}

#[test]
fn a_repeat_answers_the_receipt_and_changes_nothing() {
    let f = Fixture::ready();
    let run = f.opened(1);
    let receipt = f.settle(&run);
    let before = f.vault.account(&f.user);
    assert_eq!(f.settle(&run), receipt);
    f.expect_events(&[]);
    assert_eq!(f.vault.account(&f.user), before);
}

#[test]
fn zero_usage_returns_everything() {
    let f = Fixture::ready();
    let run = f.opened(1);
    let receipt = f.settle_as(&f.runner, &run, &units(0, 0, 0, 0)).unwrap();
    assert_eq!((receipt.actual_charge, receipt.refund), (0, ESCROW));
    assert_eq!(f.vault.balance_of(&f.user), 100_000_000);
    assert_eq!(f.vault.developer_balance(&f.developer), 0);
}

#[test]
fn a_repeat_is_answered_even_after_deadline_and_delisting() {
    let f = Fixture::ready();
    let run = f.opened(1);
    let receipt = f.settle(&run);
    f.registry.remove_runner(&f.agent, &f.runner);
    f.at(NOON + 2 * DAY);
    assert_eq!(f.settle(&run), receipt);
}

#[test]
fn another_settlement_of_a_settled_run_is_refused() {
    let f = Fixture::ready();
    let second = f.second_runner();
    let run = f.opened(1);
    f.settle(&run).unwrap();
    let closed = Err(VaultError::RunNotOpen);
    assert_eq!(f.settle_as(&f.runner, &run, &units(80, 40, 1, 501)), closed);
    assert_eq!(f.settle_as(&second, &run, &usage()), closed);
    assert_eq!(f.finalize(&f.runner, &run, &usage(), 8, u64::MAX), closed);
    let mut lie = run.clone();
    lie.1.developer = f.user.clone();
    assert_eq!(f.settle(&lie), closed);
    assert_eq!(f.vault.account(&f.user).receipts, 1);
}

#[test]
fn terms_other_than_those_of_the_opening_are_refused() {
    let f = Fixture::ready();
    let run = f.opened(1);
    let changes: [fn(&Fixture, &mut RunTerms); 14] = [
        |f, terms| terms.user = f.developer.clone(),
        |f, terms| terms.opened_by = f.developer.clone(),
        |_, terms| terms.agent_id += 1,
        |_, terms| terms.rate_version += 1,
        |_, terms| terms.rates.llm_in += 1,
        |_, terms| terms.budgets.llm_out += 1,
        |_, terms| terms.max_charge += 1,
        |_, terms| terms.runner_fee += 1,
        |_, terms| terms.deadline += 1,
        |_, terms| terms.opened_at += 1,
        |f, terms| terms.developer = f.runner.clone(),
        |f, terms| terms.manifest_hash = f.bytes(0),
        |f, terms| terms.request_hash = f.bytes(0),
        |f, terms| terms.attesters.push_back(f.bytes(0)),
    ];
    for change in changes {
        let mut lie = run.clone();
        change(&f, &mut lie.1);
        assert_eq!(f.settle(&lie), Err(VaultError::RunTermsMismatch));
    }
    assert!(f.settle(&run).is_ok());
}

#[test]
fn usage_stays_within_the_budget_of_every_meter() {
    let f = Fixture::ready();
    let run = f.opened(1);
    let over = Err(VaultError::UsageExceedsBudget);
    for usage in [units(101, 0, 0, 0), units(0, 51, 0, 0), units(0, 0, 2, 0), units(0, 0, 0, 1001)]
    {
        assert_eq!(f.settle_as(&f.runner, &run, &usage), over);
    }
    for usage in [units(-1, 0, 0, 0), units(0, -1, 0, 0), units(0, 0, i128::MIN, 0)] {
        let bad = Err(VaultError::InvalidAmount);
        assert_eq!(f.settle_as(&f.runner, &run, &usage), bad);
    }
    let all = f.settle_as(&f.runner, &run, &budgets()).unwrap();
    assert_eq!((all.actual_charge, all.refund), (ESCROW, 0));
}

#[test]
fn rates_published_later_do_not_touch_an_open_run() {
    let f = Fixture::ready();
    let run = f.opened(1);
    for _ in 0..3 {
        f.registry.publish_rate_card(&f.agent, &card(&f.env, 1_000_000));
    }
    assert_eq!(f.settle(&run).unwrap().actual_charge, CHARGE);
}

#[test]
fn only_the_opener_settles_while_it_is_listed() {
    let f = Fixture::ready();
    let second = f.second_runner();
    let run = f.opened(1);
    let refused = Err(VaultError::UnauthorizedRunner);
    assert_eq!(f.settle_as(&second, &run, &usage()), refused);
    assert_eq!(f.settle_as(&f.user, &run, &usage()), refused);
    assert_eq!(f.settle_as(&f.developer, &run, &usage()), refused);
    assert!(f.settle(&run).is_ok());
}

#[test]
fn delisting_stops_the_opener_and_lets_a_granted_listed_runner_settle() {
    let f = Fixture::ready();
    let second = f.second_runner();
    let listed_only = Address::generate(&f.env);
    f.registry.add_runner(&f.agent, &listed_only);
    let run = f.opened(1);
    f.registry.remove_runner(&f.agent, &f.runner);
    let refused = Err(VaultError::UnauthorizedRunner);
    assert_eq!(f.settle(&run), refused);
    assert_eq!(f.settle_as(&listed_only, &run, &usage()), refused);
    let receipt = f.settle_as(&second, &run, &usage()).unwrap();
    assert_eq!((receipt.actual_charge, receipt.runner_fee), (CHARGE, 0));
    assert_eq!(f.settle_as(&second, &run, &usage()), Ok(receipt));
}

#[test]
fn a_run_settles_before_its_deadline_only() {
    let f = Fixture::ready();
    let (one, two) = (f.opened(1), f.opened(2));
    f.at(NOON + HOUR - 1);
    assert!(f.settle(&one).is_ok());
    f.at(NOON + HOUR);
    assert_eq!(f.settle(&two), Err(VaultError::RunNotOpen));
}

/// Each line spoils one thing more; the code must be that of the first check that fails.
#[test]
fn checks_come_in_their_order() {
    let f = Fixture::ready();
    let mut run = f.opened(1);
    f.registry.remove_runner(&f.agent, &f.runner);
    let settle = |run: &(BytesN<32>, RunTerms), usage: &UsageBreakdown, until: u64| {
        f.finalize(&f.runner, run, usage, 9, until).err()
    };
    assert_eq!(settle(&run, &usage(), NOON), Some(VaultError::UnauthorizedRunner));
    let over = units(101, 0, 0, 0);
    assert_eq!(settle(&run, &over, NOON), Some(VaultError::UsageExceedsBudget));
    run.1.opened_at += 1;
    assert_eq!(settle(&run, &over, NOON), Some(VaultError::RunTermsMismatch));
    f.vault.void_run(&run.0, &f.runner, &0, &u64::MAX);
    assert_eq!(settle(&run, &over, NOON), Some(VaultError::RunNotOpen));
    run.0 = f.bytes(1);
    assert_eq!(settle(&run, &over, NOON), Some(VaultError::RunNotFound));
    let negative = units(101, -1, 0, 0);
    assert_eq!(settle(&run, &negative, NOON), Some(VaultError::InvalidAmount));
    assert_eq!(settle(&run, &negative, NOON - 1), Some(VaultError::Expired));
}
