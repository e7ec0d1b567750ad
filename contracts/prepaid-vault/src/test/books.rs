//! Deposits, withdrawals, claims, caps.

use soroban_sdk::testutils::Address as _;
use soroban_sdk::testutils::storage::Persistent as _;

use super::*;
use crate::storage::{self, Payee};

#[test]
fn a_deposit_moves_the_token_and_a_withdrawal_gives_it_back() {
    let f = Fixture::new();
    f.vault.deposit(&f.user, &70);
    f.expect_events(&[&AccountDeposited { user: f.user.clone(), amount: 70, balance: 70 }]);
    assert_eq!(f.token.balance(&f.vault.address), 70);
    assert_eq!((f.vault.balance_of(&f.user), f.owed()), (70, 70));
    f.vault.withdraw(&f.user, &30);
    f.expect_events(&[&AccountWithdrawn { user: f.user.clone(), amount: 30, balance: 40 }]);
    assert_eq!(f.token.balance(&f.user), 1_000_000_000 - 40);
    assert_eq!((f.vault.balance_of(&f.user), f.owed()), (40, 40));
}

#[test]
fn amounts_that_make_no_sense_are_refused() {
    let f = Fixture::ready();
    for amount in [0, -1, i128::MIN] {
        let bad = Err(VaultError::InvalidAmount);
        assert_eq!(flat(f.vault.try_deposit(&f.user, &amount)), bad);
        assert_eq!(flat(f.vault.try_withdraw(&f.user, &amount)), bad);
        assert_eq!(flat(f.vault.try_claim_developer(&f.developer, &amount)), bad);
        assert_eq!(flat(f.vault.try_claim_runner(&f.runner, &amount)), bad);
    }
    let poor = Err(VaultError::InsufficientBalance);
    assert_eq!(flat(f.vault.try_withdraw(&f.user, &100_000_001)), poor);
    assert_eq!(flat(f.vault.try_withdraw(&Address::generate(&f.env), &1)), poor);
    assert_eq!(flat(f.vault.try_claim_developer(&f.developer, &1)), poor);
    assert_eq!(flat(f.vault.try_claim_runner(&f.runner, &1)), poor);
    assert_eq!(flat(f.vault.try_deposit(&f.user, &i128::MAX)), Err(VaultError::InvalidAmount));
    let more_than_he_has = flat(f.vault.try_deposit(&f.user, &5_000_000_000));
    assert_eq!(more_than_he_has, Err(VaultError::TokenFailed));
    assert_eq!(f.vault.balance_of(&f.user), 100_000_000);
}

#[test]
fn escrow_cannot_be_withdrawn() {
    let f = Fixture::ready();
    f.open(1);
    let free = 100_000_000 - ESCROW;
    let refused = flat(f.vault.try_withdraw(&f.user, &(free + 1)));
    assert_eq!(refused, Err(VaultError::InsufficientBalance));
    f.vault.withdraw(&f.user, &free);
    assert_eq!(f.owed(), ESCROW);
}

#[test]
fn a_developer_claims_what_was_charged_and_no_more() {
    let f = Fixture::ready();
    f.settle(&f.opened(1)).unwrap();
    assert_eq!(f.vault.developer_balance(&f.developer), CHARGE);
    f.vault.claim_developer(&f.developer, &(CHARGE - 1));
    let role = soroban_sdk::symbol_short!("developer");
    f.expect_events(&[&PayeeClaimed {
        payee: f.developer.clone(),
        role,
        amount: CHARGE - 1,
        balance: 1,
    }]);
    assert_eq!(f.token.balance(&f.developer), CHARGE - 1);
    let again = flat(f.vault.try_claim_developer(&f.developer, &2));
    assert_eq!(again, Err(VaultError::InsufficientBalance));
    assert_eq!(f.owed(), 100_000_000 - CHARGE + 1);
    assert_eq!(f.token.balance(&f.vault.address), f.owed());
}

#[test]
fn a_runner_claims_what_it_earned() {
    let f = Fixture::ready();
    f.mint.mint(&f.vault.address, &9);
    f.env.as_contract(&f.vault.address, || {
        storage::set_payable(&f.env, Payee::Runner, &f.runner, 9);
        storage::set_liabilities(&f.env, 100_000_009);
    });
    assert_eq!(f.vault.runner_balance(&f.runner), 9);
    f.vault.claim_runner(&f.runner, &8);
    let role = soroban_sdk::symbol_short!("runner");
    f.expect_events(&[&PayeeClaimed { payee: f.runner.clone(), role, amount: 8, balance: 1 }]);
    assert_eq!((f.token.balance(&f.runner), f.vault.runner_balance(&f.runner)), (8, 1));
    assert_eq!(f.vault.developer_balance(&f.runner), 0);
}

#[test]
fn a_deposit_pays_for_months_and_a_run_for_a_week_at_most() {
    const DAY: u32 = 17_280;
    let f = Fixture::new();
    f.env.ledger().with_mut(|ledger| ledger.min_persistent_entry_ttl = 30 * DAY);
    let f = f.prepared();
    let ttl =
        || f.env.as_contract(&f.vault.address, || f.env.storage().persistent().get_ttl(&f.user));
    assert_eq!(ttl(), 120 * DAY);
    f.pass_ledgers(20 * DAY);
    f.open(1);
    assert_eq!(ttl(), 107 * DAY);
    f.open(2);
    assert_eq!(ttl(), 114 * DAY);
    f.vault.deposit(&f.user, &1);
    assert_eq!(ttl(), 120 * DAY);
}

#[test]
fn a_donation_shows_as_surplus_and_stays() {
    let f = Fixture::ready();
    assert_eq!((f.vault.surplus(), f.vault.deficit()), (0, 0));
    f.mint.mint(&f.vault.address, &5);
    assert_eq!((f.vault.surplus(), f.vault.deficit()), (5, 0));
    f.vault.withdraw(&f.user, &100_000_000);
    assert_eq!((f.owed(), f.vault.surplus()), (0, 5));
}

#[test]
fn tokens_taken_away_by_the_issuer_show_as_deficit() {
    let f = Fixture::ready();
    f.env.as_contract(&f.vault.address, || storage::set_liabilities(&f.env, 100_000_007));
    assert_eq!((f.vault.surplus(), f.vault.deficit()), (0, 7));
}

#[test]
fn caps_are_kept_and_emitted() {
    let f = Fixture::ready();
    let policy = PolicyInput { per_run_cap: 5, daily_cap: 6, paused: true };
    f.vault.set_policy(&f.user, &policy);
    let user = f.user.clone();
    f.expect_events(&[&PolicySet { user, per_run_cap: 5, daily_cap: 6, paused: true }]);
    let expected = UserPolicy {
        per_run_cap: 5,
        daily_cap: 6,
        paused: true,
        spent_today: 0,
        reserved_today: 0,
        reserved_day: NOON / DAY,
    };
    assert_eq!(f.vault.get_policy(&f.user), expected);
    for bad in [
        PolicyInput { per_run_cap: -1, daily_cap: 0, paused: false },
        PolicyInput { per_run_cap: 0, daily_cap: -1, paused: false },
    ] {
        assert_eq!(flat(f.vault.try_set_policy(&f.user, &bad)), Err(VaultError::InvalidAmount));
    }
    assert_eq!(f.vault.get_policy(&f.user), expected);
}

#[test]
fn the_daily_cap_counts_what_is_spent_and_what_is_reserved() {
    let f = Fixture::ready();
    let policy = PolicyInput { per_run_cap: 0, daily_cap: 2 * ESCROW, paused: false };
    f.vault.set_policy(&f.user, &policy);
    f.settle(&f.opened(1)).unwrap();
    let second = f.open(2);
    let day = f.vault.get_policy(&f.user);
    assert_eq!((day.spent_today, day.reserved_today), (CHARGE, ESCROW));
    assert_eq!(f.try_open(&f.terms(3)), Err(VaultError::DailyCapExceeded));
    f.vault.void_run(&second, &f.runner, &0, &u64::MAX);
    assert_eq!(f.vault.get_policy(&f.user).reserved_today, 0);
    f.open(3);
    assert_eq!(f.try_open(&f.terms(4)), Err(VaultError::DailyCapExceeded));
    f.at(NOON + DAY);
    f.open(4);
    let day = f.vault.get_policy(&f.user);
    assert_eq!((day.spent_today, day.reserved_today), (0, ESCROW));
}

#[test]
fn settling_yesterdays_run_opens_no_headroom_today() {
    let f = Fixture::ready();
    let policy = PolicyInput { per_run_cap: 0, daily_cap: ESCROW, paused: false };
    f.vault.set_policy(&f.user, &policy);
    let terms = OpenTerms { deadline: NOON + DAY, ..f.terms(1) };
    let yesterday = (f.try_open(&terms).unwrap(), f.pinned(&terms));
    f.at(NOON + DAY - HOUR);
    f.open(2);
    f.settle(&yesterday).unwrap();
    let day = f.vault.get_policy(&f.user);
    assert_eq!((day.spent_today, day.reserved_today), (0, ESCROW));
    assert_eq!(f.try_open(&f.terms(3)), Err(VaultError::DailyCapExceeded));
}

#[test]
fn the_vault_says_whom_it_was_set_up_with() {
    let f = Fixture::new();
    let expected = Config {
        admin: f.admin.clone(),
        registry: f.registry.address.clone(),
        token: f.token.address.clone(),
    };
    assert_eq!(f.vault.config(), expected);
}
