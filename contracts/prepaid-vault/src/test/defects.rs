//! The twelve defects of the contracts this vault replaces, each shown to be gone. The table in
//! `contracts/README.md` names them.

use super::std::vec::Vec as List;

use soroban_sdk::testutils::Address as _;
use soroban_sdk::xdr::{
    ContractDataDurability, LedgerEntryData, Limits, ScAddress, ScVal, WriteXdr,
};

use super::*;

const ALL: i128 = 100_000_000;

fn daily(f: &Fixture, daily_cap: i128) {
    f.vault.set_policy(&f.user, &PolicyInput { per_run_cap: 0, daily_cap, paused: false });
}

/// Bytes of every entry of the vault that stays, the instance included.
fn sizes(f: &Fixture) -> List<(ScVal, usize)> {
    let vault: ScAddress = (&f.vault.address).into();
    let entries = f.env.to_ledger_snapshot().ledger_entries;
    let stays = entries.iter().filter_map(|(_, (entry, _))| match &entry.data {
        LedgerEntryData::ContractData(data)
            if data.contract == vault && data.durability == ContractDataDurability::Persistent =>
        {
            Some((data.key.clone(), data.to_xdr(Limits::none()).unwrap().len()))
        }
        _ => None,
    });
    stays.collect()
}

#[test]
fn c1_revocation_expiry_and_delisting_strand_no_open_run() {
    let f = Fixture::new();
    f.vault.deposit(&f.user, &ALL);
    f.vault.grant_runner(&f.user, &f.runner, &f.agent, &Some(NOON + 100));
    let (one, two) = (f.opened(1), f.opened(2));
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    assert!(f.settle(&one).is_ok(), "after revocation");
    f.vault.grant_runner(&f.user, &f.runner, &f.agent, &Some(NOON + 200));
    let (three, four) = (f.opened(3), f.opened(4));
    f.at(NOON + 200);
    assert!(f.settle(&three).is_ok(), "after expiry");
    let second = f.second_runner();
    f.registry.remove_runner(&f.agent, &f.runner);
    assert!(f.settle_as(&second, &two, &usage()).is_ok(), "after delisting, by another");
    f.at(NOON + 200 + HOUR);
    f.vault.reclaim_run(&four.0);
    assert_eq!(f.vault.balance_of(&f.user), ALL - 3 * CHARGE, "by nobody, it comes back");
}

#[test]
fn c2_the_daily_cap_caps_what_is_spent() {
    let f = Fixture::ready();
    daily(&f, 13_000_000);
    f.settle(&f.opened(1)).unwrap();
    for nonce in 2..6 {
        assert_eq!(f.try_open(&f.terms(nonce)), Err(VaultError::DailyCapExceeded));
    }
    assert_eq!(f.vault.developer_balance(&f.developer), CHARGE);
}

#[test]
fn c3_ending_yesterdays_run_frees_nothing_of_today() {
    let f = Fixture::ready();
    daily(&f, ESCROW);
    let terms = OpenTerms { deadline: NOON + DAY, ..f.terms(1) };
    let yesterday = f.try_open(&terms).unwrap();
    f.at(NOON + DAY - HOUR);
    f.open(2);
    f.vault.void_run(&yesterday, &f.runner, &0, &u64::MAX);
    assert_eq!(f.try_open(&f.terms(3)), Err(VaultError::DailyCapExceeded));
}

#[test]
fn c4_every_balance_is_backed_by_tokens() {
    let f = Fixture::new();
    let poor = Address::generate(&f.env);
    assert_eq!(flat(f.vault.try_deposit(&poor, &1)), Err(VaultError::TokenFailed));
    assert_eq!(f.vault.balance_of(&poor), 0);
    let f = f.prepared();
    f.settle(&f.opened(1)).unwrap();
    f.vault.claim_developer(&f.developer, &CHARGE);
    assert_eq!(f.token.balance(&f.developer), CHARGE);
    assert_eq!(f.token.balance(&f.vault.address), f.vault.balance_of(&f.user));
}

#[test]
fn c5_eighty_runs_leave_every_entry_as_large_as_two_did() {
    let f = Fixture::ready();
    let run = |nonce| f.settle_as(&f.runner, &f.opened(nonce), &units(1, 0, 0, 0)).unwrap();
    run(1);
    let before = sizes(&f);
    for nonce in 2..=80 {
        run(nonce);
    }
    assert_eq!(f.vault.account(&f.user).receipts, 80);
    assert_eq!(sizes(&f), before);
}

#[test]
fn c6_old_rates_retire() {
    let f = Fixture::ready();
    for price in [20_000, 30_000] {
        f.registry.publish_rate_card(&f.agent, &card(&f.env, price));
    }
    assert_eq!(f.try_open(&f.terms(1)), Err(VaultError::InvalidRateVersion));
}

#[test]
fn c7_a_budget_of_nothing_opens_nothing() {
    let f = Fixture::ready();
    let (none, terms) = (units(0, 0, 0, 0), f.terms(1));
    let open = f.vault.try_open_run(&f.user, &f.runner, &f.agent, &1, &none, &terms);
    assert_eq!(flat(open), Err(VaultError::EmptyBudget));
}

#[test]
fn c8_a_delisted_runners_grant_is_reported_dead_without_a_write() {
    let f = Fixture::ready();
    f.registry.remove_runner(&f.agent, &f.runner);
    let before = sizes(&f);
    assert!(!f.vault.is_runner_authorized(&f.user, &f.runner, &f.agent));
    assert_eq!(f.try_open(&f.terms(1)), Err(VaultError::UnauthorizedRunner));
    assert_eq!(f.vault.list_runner_grants(&f.user).len(), 1);
    assert_eq!(sizes(&f), before);
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    f.registry.add_runner(&f.agent, &f.runner);
    assert!(!f.vault.is_runner_authorized(&f.user, &f.runner, &f.agent));
}

#[test]
fn c9_a_grant_has_limits_a_run_pins_its_rates_and_grants_are_bounded() {
    let f = Fixture::ready();
    let limits = GrantLimits { per_run_cap: 0, total_cap: ESCROW, max_runner_fee: 0 };
    f.vault.set_grant_limits(&f.user, &f.runner, &f.agent, &limits);
    let run = f.opened(1);
    assert_eq!(f.try_open(&f.terms(2)), Err(VaultError::GrantTotalExceeded));
    f.registry.publish_rate_card(&f.agent, &card(&f.env, 1_000_000));
    assert_eq!(f.settle(&run).unwrap().actual_charge, CHARGE);
    let grant = |_| {
        let runner = f.second_listed();
        let granted = flat(f.vault.try_grant_runner(&f.user, &runner, &f.agent, &None));
        f.registry.remove_runner(&f.agent, &runner);
        granted
    };
    let granted: List<_> = (0..40).map(grant).collect();
    assert!(granted[..31].iter().all(Result::is_ok));
    assert!(granted[31..].iter().all(|refused| *refused == Err(VaultError::TooManyGrants)));
}

#[test]
fn c10_a_user_cannot_cancel_work_in_progress_and_a_runner_can_give_it_up() {
    let f = Fixture::ready();
    let (one, two) = (f.opened(1), f.open(2));
    let early = flat(f.vault.try_cancel_run(&f.user, &one.0));
    assert_eq!(early, Err(VaultError::DeadlineNotReached));
    assert!(f.settle(&one).is_ok());
    f.vault.void_run(&two, &f.runner, &1, &u64::MAX);
    assert_eq!(f.vault.balance_of(&f.user), ALL - CHARGE);
    let three = f.open(3);
    f.at(NOON + HOUR);
    f.vault.cancel_run(&f.user, &three);
    assert_eq!(f.vault.balance_of(&f.user), ALL - CHARGE);
}

#[test]
fn c11_nobody_sets_a_vault_up_twice_and_money_never_moves_in_silence() {
    let f = Fixture::new();
    let user = f.user.to_val();
    let again = vec![&f.env, user, user, user];
    let name = soroban_sdk::Symbol::new(&f.env, "__constructor");
    let set_up = f.env.try_invoke_contract::<(), VaultError>(&f.vault.address, &name, again);
    assert!(set_up.is_err());
    assert_eq!(f.vault.config().admin, f.admin);
    let events = || f.env.events().all().filter_by_contract(&f.vault.address).events().len();
    f.vault.deposit(&f.user, &ALL);
    assert_eq!(events(), 1);
    f.vault.withdraw(&f.user, &1);
    assert_eq!(events(), 1);
    f.vault.grant_runner(&f.user, &f.runner, &f.agent, &None);
    assert_eq!(events(), 1);
    let run = f.opened(1);
    f.settle(&run).unwrap();
    assert_eq!(events(), 1);
    f.vault.claim_developer(&f.developer, &1);
    assert_eq!(events(), 1);
    f.vault.pause_opens();
    assert_eq!(events(), 1);
}

#[test]
fn c12_an_open_that_is_sent_twice_escrows_once() {
    let f = Fixture::ready();
    let terms = f.terms(1);
    let (first, again) = (f.try_open(&terms), f.try_open(&terms));
    assert_eq!(first, again);
    assert_eq!(f.vault.account(&f.user).due_today, ESCROW);
}
