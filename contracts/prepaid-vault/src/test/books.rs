//! Deposits, withdrawals, claims, caps.

use soroban_sdk::testutils::Address as _;
use soroban_sdk::testutils::storage::Persistent as _;

use super::*;
use crate::storage::{self, Payee};

#[test]
fn a_deposit_moves_the_token_and_a_withdrawal_gives_it_back() {
    let w = World::new();
    w.vault.deposit(&w.user, &70);
    w.expect_events(&[&AccountDeposited { user: w.user.clone(), amount: 70, balance: 70 }]);
    assert_eq!(w.token.balance(&w.vault.address), 70);
    assert_eq!((w.vault.balance_of(&w.user), w.owed()), (70, 70));
    w.vault.withdraw(&w.user, &30);
    w.expect_events(&[&AccountWithdrawn { user: w.user.clone(), amount: 30, balance: 40 }]);
    assert_eq!(w.token.balance(&w.user), 1_000_000_000 - 40);
    assert_eq!((w.vault.balance_of(&w.user), w.owed()), (40, 40));
}

#[test]
fn amounts_that_make_no_sense_are_refused() {
    let w = World::ready();
    for amount in [0, -1, i128::MIN] {
        let bad = Err(VaultError::InvalidAmount);
        assert_eq!(flat(w.vault.try_deposit(&w.user, &amount)), bad);
        assert_eq!(flat(w.vault.try_withdraw(&w.user, &amount)), bad);
        assert_eq!(flat(w.vault.try_claim_developer(&w.developer, &amount)), bad);
        assert_eq!(flat(w.vault.try_claim_runner(&w.runner, &amount)), bad);
    }
    let poor = Err(VaultError::InsufficientBalance);
    assert_eq!(flat(w.vault.try_withdraw(&w.user, &100_000_001)), poor);
    assert_eq!(flat(w.vault.try_withdraw(&Address::generate(&w.env), &1)), poor);
    assert_eq!(flat(w.vault.try_claim_developer(&w.developer, &1)), poor);
    assert_eq!(flat(w.vault.try_claim_runner(&w.runner, &1)), poor);
    assert_eq!(flat(w.vault.try_deposit(&w.user, &i128::MAX)), Err(VaultError::InvalidAmount));
    let more_than_he_has = flat(w.vault.try_deposit(&w.user, &5_000_000_000));
    assert_eq!(more_than_he_has, Err(VaultError::TokenFailed));
    assert_eq!(w.vault.balance_of(&w.user), 100_000_000);
}

#[test]
fn escrow_cannot_be_withdrawn() {
    let w = World::ready();
    w.open(1);
    let free = 100_000_000 - ESCROW;
    let refused = flat(w.vault.try_withdraw(&w.user, &(free + 1)));
    assert_eq!(refused, Err(VaultError::InsufficientBalance));
    w.vault.withdraw(&w.user, &free);
    assert_eq!(w.owed(), ESCROW);
}

#[test]
fn a_developer_claims_what_was_charged_and_no_more() {
    let w = World::ready();
    w.settle(&w.opened(1)).unwrap();
    assert_eq!(w.vault.developer_balance(&w.developer), CHARGE);
    w.vault.claim_developer(&w.developer, &(CHARGE - 1));
    let role = soroban_sdk::symbol_short!("developer");
    w.expect_events(&[&PayeeClaimed {
        payee: w.developer.clone(),
        role,
        amount: CHARGE - 1,
        balance: 1,
    }]);
    assert_eq!(w.token.balance(&w.developer), CHARGE - 1);
    let again = flat(w.vault.try_claim_developer(&w.developer, &2));
    assert_eq!(again, Err(VaultError::InsufficientBalance));
    assert_eq!(w.owed(), 100_000_000 - CHARGE + 1);
    assert_eq!(w.token.balance(&w.vault.address), w.owed());
}

#[test]
fn a_runner_claims_what_it_earned() {
    let w = World::ready();
    w.mint.mint(&w.vault.address, &9);
    w.env.as_contract(&w.vault.address, || {
        storage::set_payable(&w.env, Payee::Runner, &w.runner, 9);
        storage::set_liabilities(&w.env, 100_000_009);
    });
    assert_eq!(w.vault.runner_balance(&w.runner), 9);
    w.vault.claim_runner(&w.runner, &8);
    let role = soroban_sdk::symbol_short!("runner");
    w.expect_events(&[&PayeeClaimed { payee: w.runner.clone(), role, amount: 8, balance: 1 }]);
    assert_eq!((w.token.balance(&w.runner), w.vault.runner_balance(&w.runner)), (8, 1));
    assert_eq!(w.vault.developer_balance(&w.runner), 0);
}

#[test]
fn a_deposit_pays_for_months_and_a_run_for_a_week_at_most() {
    const DAY: u32 = 17_280;
    let w = World::new();
    w.env.ledger().with_mut(|ledger| ledger.min_persistent_entry_ttl = 30 * DAY);
    let w = w.prepared();
    let ttl =
        || w.env.as_contract(&w.vault.address, || w.env.storage().persistent().get_ttl(&w.user));
    assert_eq!(ttl(), 120 * DAY);
    w.pass_ledgers(20 * DAY);
    w.open(1);
    assert_eq!(ttl(), 107 * DAY);
    w.open(2);
    assert_eq!(ttl(), 114 * DAY);
    w.vault.deposit(&w.user, &1);
    assert_eq!(ttl(), 120 * DAY);
}

#[test]
fn a_donation_shows_as_surplus_and_stays() {
    let w = World::ready();
    assert_eq!((w.vault.surplus(), w.vault.deficit()), (0, 0));
    w.mint.mint(&w.vault.address, &5);
    assert_eq!((w.vault.surplus(), w.vault.deficit()), (5, 0));
    w.vault.withdraw(&w.user, &100_000_000);
    assert_eq!((w.owed(), w.vault.surplus()), (0, 5));
}

#[test]
fn tokens_taken_away_by_the_issuer_show_as_deficit() {
    let w = World::ready();
    w.env.as_contract(&w.vault.address, || storage::set_liabilities(&w.env, 100_000_007));
    assert_eq!((w.vault.surplus(), w.vault.deficit()), (0, 7));
}

#[test]
fn caps_are_kept_and_emitted() {
    let w = World::ready();
    let policy = PolicyInput { per_run_cap: 5, daily_cap: 6, paused: true };
    w.vault.set_policy(&w.user, &policy);
    let user = w.user.clone();
    w.expect_events(&[&PolicySet { user, per_run_cap: 5, daily_cap: 6, paused: true }]);
    let expected = UserPolicy {
        per_run_cap: 5,
        daily_cap: 6,
        paused: true,
        spent_today: 0,
        reserved_today: 0,
        reserved_day: NOON / DAY,
    };
    assert_eq!(w.vault.get_policy(&w.user), expected);
    for bad in [
        PolicyInput { per_run_cap: -1, daily_cap: 0, paused: false },
        PolicyInput { per_run_cap: 0, daily_cap: -1, paused: false },
    ] {
        assert_eq!(flat(w.vault.try_set_policy(&w.user, &bad)), Err(VaultError::InvalidAmount));
    }
    assert_eq!(w.vault.get_policy(&w.user), expected);
}

#[test]
fn the_daily_cap_counts_what_is_spent_and_what_is_reserved() {
    let w = World::ready();
    let policy = PolicyInput { per_run_cap: 0, daily_cap: 2 * ESCROW, paused: false };
    w.vault.set_policy(&w.user, &policy);
    w.settle(&w.opened(1)).unwrap();
    let second = w.open(2);
    let day = w.vault.get_policy(&w.user);
    assert_eq!((day.spent_today, day.reserved_today), (CHARGE, ESCROW));
    assert_eq!(w.try_open(&w.terms(3)), Err(VaultError::DailyCapExceeded));
    w.vault.void_run(&second, &w.runner, &0, &u64::MAX);
    assert_eq!(w.vault.get_policy(&w.user).reserved_today, 0);
    w.open(3);
    assert_eq!(w.try_open(&w.terms(4)), Err(VaultError::DailyCapExceeded));
    w.at(NOON + DAY);
    w.open(4);
    let day = w.vault.get_policy(&w.user);
    assert_eq!((day.spent_today, day.reserved_today), (0, ESCROW));
}

#[test]
fn settling_yesterdays_run_opens_no_headroom_today() {
    let w = World::ready();
    let policy = PolicyInput { per_run_cap: 0, daily_cap: ESCROW, paused: false };
    w.vault.set_policy(&w.user, &policy);
    let terms = OpenTerms { deadline: NOON + DAY, ..w.terms(1) };
    let yesterday = (w.try_open(&terms).unwrap(), w.pinned(&terms));
    w.at(NOON + DAY - HOUR);
    w.open(2);
    w.settle(&yesterday).unwrap();
    let day = w.vault.get_policy(&w.user);
    assert_eq!((day.spent_today, day.reserved_today), (0, ESCROW));
    assert_eq!(w.try_open(&w.terms(3)), Err(VaultError::DailyCapExceeded));
}

#[test]
fn the_vault_says_whom_it_was_set_up_with() {
    let w = World::new();
    let expected = Config {
        admin: w.admin.clone(),
        registry: w.registry.address.clone(),
        token: w.token.address.clone(),
    };
    assert_eq!(w.vault.config(), expected);
}
