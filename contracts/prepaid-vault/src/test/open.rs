//! Opening: what is checked, in which order, and what a repeat answers.

use soroban_sdk::testutils::Address as _;

use super::*;

type Change = fn(&Fixture, &mut OpenTerms);

#[test]
fn an_open_escrows_the_highest_price_and_emits_all_terms() {
    let f = Fixture::ready();
    f.registry.set_attesters(&f.agent, &vec![&f.env, f.bytes(3)]);
    let terms = f.terms(1);
    let run_id = f.try_open(&terms).unwrap();
    f.expect_events(&[&RunOpened {
        run_id: run_id.clone(),
        user: f.user.clone(),
        opened_by: f.runner.clone(),
        head: Head(
            f.agent,
            1,
            Meters(10_000, 20_000, 10_000_000, 1),
            f.developer.clone(),
            f.bytes(7),
            vec![&f.env, f.bytes(3)],
        ),
        budgets: Meters(100, 50, 1, 1000),
        max_charge: ESCROW,
        runner_fee: 0,
        deadline: NOON + HOUR,
        opened_at: NOON,
        request_hash: f.bytes(42),
    }]);
    let account = f.vault.account(&f.user);
    assert_eq!((account.balance, account.due_today), (100_000_000 - ESCROW, ESCROW));
    assert_eq!((account.reserved, account.due_tomorrow, f.owed()), (ESCROW, 0, 100_000_000));
    let record = f.vault.get_run(&run_id);
    assert_eq!((record.escrowed, record.deadline), (ESCROW, NOON + HOUR));
    assert_eq!((record.user, record.opened_by), (f.user.clone(), f.runner.clone()));
    assert!(matches!(record.lifecycle, RunLifecycle::Open(_)));
}

#[test]
fn a_repeat_answers_the_same_id_and_changes_nothing() {
    let f = Fixture::ready();
    let terms = f.terms(1);
    let run = f.try_open(&terms).unwrap();
    let before = f.vault.account(&f.user);
    let later = OpenTerms { valid_until: NOON + HOUR, ..terms.clone() };
    assert_eq!(f.try_open(&later), Ok(run.clone()));
    f.expect_events(&[]);
    assert_eq!(f.vault.account(&f.user), before);
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    assert_eq!(f.try_open(&terms), Ok(run));
}

#[test]
fn a_repeat_with_other_terms_is_answered_so() {
    let f = Fixture::ready();
    let terms = f.terms(1);
    f.try_open(&terms).unwrap();
    let changes: [Change; 3] = [
        |_, terms| terms.max_charge = ESCROW - 1,
        |_, terms| terms.runner_fee += 1,
        |f, terms| terms.request_hash = f.bytes(1),
    ];
    for change in changes {
        let mut other = terms.clone();
        change(&f, &mut other);
        assert_eq!(f.try_open(&other), Err(VaultError::RunTermsMismatch));
    }
    let other = f.vault.try_open_run(&f.user, &f.runner, &f.agent, &2, &budgets(), &terms);
    assert_eq!(flat(other), Err(VaultError::RunTermsMismatch));
    let other = f.vault.try_open_run(&f.user, &f.runner, &9, &1, &budgets(), &terms);
    assert_eq!(flat(other), Err(VaultError::RunTermsMismatch));
    let other = f.vault.try_open_run(&f.user, &f.runner, &f.agent, &1, &usage(), &terms);
    assert_eq!(flat(other), Err(VaultError::RunTermsMismatch));
}

#[test]
fn a_repeat_after_the_end_of_the_run_is_refused() {
    let f = Fixture::ready();
    let terms = |nonce| OpenTerms { valid_until: u64::MAX, ..f.terms(nonce) };
    let (one, two, three) = (terms(1), terms(2), terms(3));
    let settled = (f.try_open(&one).unwrap(), f.pinned(&one));
    f.settle(&settled).unwrap();
    f.vault.void_run(&f.try_open(&two).unwrap(), &f.runner, &0, &u64::MAX);
    let third = f.try_open(&three).unwrap();
    assert_eq!(f.try_open(&one), Err(VaultError::RunNotOpen));
    assert_eq!(f.try_open(&two), Err(VaultError::RunNotOpen));
    f.at(NOON + HOUR);
    assert_eq!(f.try_open(&three), Err(VaultError::RunNotOpen));
    f.vault.reclaim_run(&third);
    assert_eq!(f.try_open(&three), Err(VaultError::RunNotOpen));
}

#[test]
fn another_opener_or_user_has_another_id_for_the_same_nonce() {
    let f = Fixture::ready();
    let second = f.second_runner();
    let terms = f.terms(1);
    let one = f.try_open(&terms).unwrap();
    let two = f.vault.open_run(&f.user, &second, &f.agent, &1, &budgets(), &terms);
    assert_ne!(one, two);
    let later = OpenTerms { deadline: terms.deadline + 1, ..terms };
    assert_ne!(f.try_open(&later).unwrap(), one);
}

#[test]
fn a_deadline_is_ten_minutes_to_a_day_away() {
    let f = Fixture::ready();
    for (deadline, fits) in [
        (0, false),
        (NOON, false),
        (NOON + 599, false),
        (NOON + 600, true),
        (NOON + DAY, true),
        (NOON + DAY + 1, false),
        (u64::MAX, false),
    ] {
        let terms = OpenTerms { deadline, ..f.terms(1) };
        let answer = f.try_open(&terms).map(|_| ());
        let expected = if fits { Ok(()) } else { Err(VaultError::DeadlineOutOfRange) };
        assert_eq!(answer, expected, "deadline {deadline}");
    }
}

#[test]
fn only_the_latest_and_the_previous_rates_may_be_opened() {
    let f = Fixture::ready();
    f.registry.publish_rate_card(&f.agent, &card(&f.env, 9_000));
    f.registry.publish_rate_card(&f.agent, &card(&f.env, 8_000));
    let open = |version: u32| {
        let terms = f.terms(version as u8);
        flat(f.vault.try_open_run(&f.user, &f.runner, &f.agent, &version, &budgets(), &terms))
    };
    for version in [0, 1, 4, u32::MAX] {
        assert_eq!(open(version), Err(VaultError::InvalidRateVersion), "version {version}");
    }
    assert!(open(2).is_ok());
    assert!(open(3).is_ok());
    assert_eq!(f.vault.account(&f.user).due_today, 2 * ESCROW - 300_000);
}

#[test]
fn budgets_must_be_something() {
    let f = Fixture::ready();
    let open = |budgets: UsageBreakdown| {
        let terms = OpenTerms { max_charge: i128::MAX, ..f.terms(1) };
        flat(f.vault.try_open_run(&f.user, &f.runner, &f.agent, &1, &budgets, &terms))
    };
    assert_eq!(open(units(0, 0, 0, 0)), Err(VaultError::EmptyBudget));
    assert_eq!(open(units(1, 1, 1, -1)), Err(VaultError::InvalidAmount));
    assert_eq!(open(units(i128::MAX, 0, 0, 0)), Err(VaultError::InvalidAmount));
    let half = i128::MAX / 20_000;
    assert_eq!(open(units(half, half, half / 1_000, 1)), Err(VaultError::InvalidAmount));
}

#[test]
fn a_run_the_user_opens_himself_is_refused() {
    let f = Fixture::ready();
    f.registry.add_runner(&f.agent, &f.user);
    let own = f.vault.try_open_run(&f.user, &f.user, &f.agent, &1, &budgets(), &f.terms(1));
    assert_eq!(flat(own), Err(VaultError::UnauthorizedRunner));
}

/// Each line spoils one thing more; the code must be that of the first check that fails.
#[test]
fn checks_come_in_their_order() {
    let f = Fixture::ready();
    f.vault.withdraw(&f.user, &(100_000_000 - 1));
    let tight = PolicyInput { per_run_cap: 1, daily_cap: 1, paused: true };
    let daily = PolicyInput { per_run_cap: 0, daily_cap: 1, paused: false };
    let per_run = PolicyInput { per_run_cap: 1, daily_cap: 1, paused: false };
    let free = PolicyInput { per_run_cap: 0, daily_cap: 0, paused: false };
    let none = units(0, 0, 0, 0);
    let open = |terms: &OpenTerms, budgets: &UsageBreakdown, version: u32| {
        flat(f.vault.try_open_run(&f.user, &f.runner, &f.agent, &version, budgets, terms)).err()
    };
    let mut terms = f.terms(1);
    for (policy, code) in [
        (&free, VaultError::InsufficientBalance),
        (&daily, VaultError::DailyCapExceeded),
        (&per_run, VaultError::PerRunCapExceeded),
        (&tight, VaultError::PolicyPaused),
    ] {
        f.vault.set_policy(&f.user, policy);
        assert_eq!(open(&terms, &budgets(), 1), Some(code));
    }
    terms.max_charge = ESCROW - 1;
    assert_eq!(open(&terms, &budgets(), 1), Some(VaultError::MaxChargeExceeded));
    assert_eq!(open(&terms, &budgets(), 2), Some(VaultError::InvalidRateVersion));
    f.registry.remove_runner(&f.agent, &f.runner);
    assert_eq!(open(&terms, &budgets(), 2), Some(VaultError::UnauthorizedRunner));
    terms.runner_fee = 1;
    assert_eq!(open(&terms, &budgets(), 2), Some(VaultError::RunnerFeeExceeded));
    terms.deadline = NOON;
    assert_eq!(open(&terms, &budgets(), 2), Some(VaultError::DeadlineOutOfRange));
    assert_eq!(open(&terms, &none, 2), Some(VaultError::EmptyBudget));
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    assert_eq!(open(&terms, &none, 2), Some(VaultError::UnauthorizedRunner));
    terms.runner_fee = -1;
    assert_eq!(open(&terms, &none, 2), Some(VaultError::InvalidAmount));
    terms.valid_until = NOON - 1;
    assert_eq!(open(&terms, &none, 2), Some(VaultError::Expired));
}

#[test]
fn a_call_is_good_until_its_last_second() {
    let f = Fixture::ready();
    let terms = OpenTerms { valid_until: NOON, ..f.terms(1) };
    assert!(f.try_open(&terms).is_ok());
    f.at(NOON + 1);
    assert_eq!(f.try_open(&terms), Err(VaultError::Expired));
}

#[test]
fn a_stranger_opens_nothing() {
    let f = Fixture::ready();
    let stranger = Address::generate(&f.env);
    let open = f.vault.try_open_run(&f.user, &stranger, &f.agent, &1, &budgets(), &f.terms(1));
    assert_eq!(flat(open), Err(VaultError::UnauthorizedRunner));
    let unknown = f.vault.try_get_run(&f.bytes(1));
    assert_eq!(flat(unknown), Err(VaultError::RunNotFound));
}
