//! The twelve defects of the contracts this vault replaces, each shown to be gone. The table in
//! `contracts/README.md` names them.

use super::std::vec::Vec as List;

use soroban_sdk::testutils::Address as _;
use soroban_sdk::xdr::{
    ContractDataDurability, LedgerEntryData, Limits, ScAddress, ScVal, WriteXdr,
};

use super::*;

const ALL: i128 = 100_000_000;

fn daily(w: &World, daily_cap: i128) {
    w.vault.set_policy(&w.user, &PolicyInput { per_run_cap: 0, daily_cap, paused: false });
}

/// Bytes of every entry of the vault that stays, the instance included.
fn sizes(w: &World) -> List<(ScVal, usize)> {
    let vault: ScAddress = (&w.vault.address).into();
    let entries = w.env.to_ledger_snapshot().ledger_entries;
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
    let w = World::new();
    w.vault.deposit(&w.user, &ALL);
    w.vault.grant_runner(&w.user, &w.runner, &w.agent, &Some(NOON + 100));
    let (one, two) = (w.opened(1), w.opened(2));
    w.vault.revoke_runner(&w.user, &w.runner, &w.agent);
    assert!(w.settle(&one).is_ok(), "after revocation");
    w.vault.grant_runner(&w.user, &w.runner, &w.agent, &Some(NOON + 200));
    let (three, four) = (w.opened(3), w.opened(4));
    w.at(NOON + 200);
    assert!(w.settle(&three).is_ok(), "after expiry");
    let second = w.second_runner();
    w.registry.remove_runner(&w.agent, &w.runner);
    assert!(w.settle_as(&second, &two, &usage()).is_ok(), "after delisting, by another");
    w.at(NOON + 200 + HOUR);
    w.vault.reclaim_run(&four.0);
    assert_eq!(w.vault.balance_of(&w.user), ALL - 3 * CHARGE, "by nobody, it comes back");
}

#[test]
fn c2_the_daily_cap_caps_what_is_spent() {
    let w = World::ready();
    daily(&w, 13_000_000);
    w.settle(&w.opened(1)).unwrap();
    for nonce in 2..6 {
        assert_eq!(w.try_open(&w.terms(nonce)), Err(VaultError::DailyCapExceeded));
    }
    assert_eq!(w.vault.developer_balance(&w.developer), CHARGE);
}

#[test]
fn c3_ending_yesterdays_run_frees_nothing_of_today() {
    let w = World::ready();
    daily(&w, ESCROW);
    let terms = OpenTerms { deadline: NOON + DAY, ..w.terms(1) };
    let yesterday = w.try_open(&terms).unwrap();
    w.at(NOON + DAY - HOUR);
    w.open(2);
    w.vault.void_run(&yesterday, &w.runner, &0, &u64::MAX);
    assert_eq!(w.try_open(&w.terms(3)), Err(VaultError::DailyCapExceeded));
}

#[test]
fn c4_every_balance_is_backed_by_tokens() {
    let w = World::new();
    let poor = Address::generate(&w.env);
    assert_eq!(flat(w.vault.try_deposit(&poor, &1)), Err(VaultError::TokenFailed));
    assert_eq!(w.vault.balance_of(&poor), 0);
    let w = w.prepared();
    w.settle(&w.opened(1)).unwrap();
    w.vault.claim_developer(&w.developer, &CHARGE);
    assert_eq!(w.token.balance(&w.developer), CHARGE);
    assert_eq!(w.token.balance(&w.vault.address), w.vault.balance_of(&w.user));
}

#[test]
fn c5_eighty_runs_leave_every_entry_as_large_as_two_did() {
    let w = World::ready();
    let run = |nonce| w.settle_as(&w.runner, &w.opened(nonce), &units(1, 0, 0, 0)).unwrap();
    run(1);
    let before = sizes(&w);
    for nonce in 2..=80 {
        run(nonce);
    }
    assert_eq!(w.vault.account(&w.user).receipts, 80);
    assert_eq!(sizes(&w), before);
}

#[test]
fn c6_old_rates_retire() {
    let w = World::ready();
    for price in [20_000, 30_000] {
        w.registry.publish_rate_card(&w.agent, &card(&w.env, price));
    }
    assert_eq!(w.try_open(&w.terms(1)), Err(VaultError::InvalidRateVersion));
}

#[test]
fn c7_a_budget_of_nothing_opens_nothing() {
    let w = World::ready();
    let (none, terms) = (units(0, 0, 0, 0), w.terms(1));
    let open = w.vault.try_open_run(&w.user, &w.runner, &w.agent, &1, &none, &terms);
    assert_eq!(flat(open), Err(VaultError::EmptyBudget));
}

#[test]
fn c8_a_delisted_runners_grant_is_reported_dead_without_a_write() {
    let w = World::ready();
    w.registry.remove_runner(&w.agent, &w.runner);
    let before = sizes(&w);
    assert!(!w.vault.is_runner_authorized(&w.user, &w.runner, &w.agent));
    assert_eq!(w.try_open(&w.terms(1)), Err(VaultError::UnauthorizedRunner));
    assert_eq!(w.vault.list_runner_grants(&w.user).len(), 1);
    assert_eq!(sizes(&w), before);
    w.vault.revoke_runner(&w.user, &w.runner, &w.agent);
    w.registry.add_runner(&w.agent, &w.runner);
    assert!(!w.vault.is_runner_authorized(&w.user, &w.runner, &w.agent));
}

#[test]
fn c9_a_grant_has_limits_a_run_pins_its_rates_and_grants_are_bounded() {
    let w = World::ready();
    let limits = GrantLimits { per_run_cap: 0, total_cap: ESCROW, max_runner_fee: 0 };
    w.vault.set_grant_limits(&w.user, &w.runner, &w.agent, &limits);
    let run = w.opened(1);
    assert_eq!(w.try_open(&w.terms(2)), Err(VaultError::GrantTotalExceeded));
    w.registry.publish_rate_card(&w.agent, &card(&w.env, 1_000_000));
    assert_eq!(w.settle(&run).unwrap().actual_charge, CHARGE);
    let grant = |_| {
        let runner = w.second_listed();
        let granted = flat(w.vault.try_grant_runner(&w.user, &runner, &w.agent, &None));
        w.registry.remove_runner(&w.agent, &runner);
        granted
    };
    let granted: List<_> = (0..40).map(grant).collect();
    assert!(granted[..31].iter().all(Result::is_ok));
    assert!(granted[31..].iter().all(|refused| *refused == Err(VaultError::TooManyGrants)));
}

#[test]
fn c10_a_user_cannot_cancel_work_in_progress_and_a_runner_can_give_it_up() {
    let w = World::ready();
    let (one, two) = (w.opened(1), w.open(2));
    let early = flat(w.vault.try_cancel_run(&w.user, &one.0));
    assert_eq!(early, Err(VaultError::DeadlineNotReached));
    assert!(w.settle(&one).is_ok());
    w.vault.void_run(&two, &w.runner, &1, &u64::MAX);
    assert_eq!(w.vault.balance_of(&w.user), ALL - CHARGE);
    let three = w.open(3);
    w.at(NOON + HOUR);
    w.vault.cancel_run(&w.user, &three);
    assert_eq!(w.vault.balance_of(&w.user), ALL - CHARGE);
}

#[test]
fn c11_nobody_sets_a_vault_up_twice_and_money_never_moves_in_silence() {
    let w = World::new();
    let user = w.user.to_val();
    let again = vec![&w.env, user, user, user];
    let name = soroban_sdk::Symbol::new(&w.env, "__constructor");
    let set_up = w.env.try_invoke_contract::<(), VaultError>(&w.vault.address, &name, again);
    assert!(set_up.is_err());
    assert_eq!(w.vault.config().admin, w.admin);
    let events = || w.env.events().all().filter_by_contract(&w.vault.address).events().len();
    w.vault.deposit(&w.user, &ALL);
    assert_eq!(events(), 1);
    w.vault.withdraw(&w.user, &1);
    assert_eq!(events(), 1);
    w.vault.grant_runner(&w.user, &w.runner, &w.agent, &None);
    assert_eq!(events(), 1);
    let run = w.opened(1);
    w.settle(&run).unwrap();
    assert_eq!(events(), 1);
    w.vault.claim_developer(&w.developer, &1);
    assert_eq!(events(), 1);
    w.vault.pause_opens();
    assert_eq!(events(), 1);
}

#[test]
fn c12_an_open_that_is_sent_twice_escrows_once() {
    let w = World::ready();
    let terms = w.terms(1);
    let (first, again) = (w.try_open(&terms), w.try_open(&terms));
    assert_eq!(first, again);
    assert_eq!(w.vault.account(&w.user).due_today, ESCROW);
}
