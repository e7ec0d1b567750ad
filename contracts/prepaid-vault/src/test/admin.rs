//! Administration: hand-over in two steps, new code after a week that everybody can see, a stop for
//! new runs. None of it reaches money.

use super::*;

const WEEK: u64 = 7 * DAY;

fn signed_by(f: &Fixture, who: &Address) -> bool {
    let auths = f.env.auths();
    auths.len() == 1 && auths[0].0 == *who
}

#[test]
fn administration_is_handed_over_in_two_steps() {
    let f = Fixture::new();
    let next = Address::generate(&f.env);
    assert_eq!(flat(f.vault.try_accept_admin()), Err(VaultError::AdminNotProposed));
    f.vault.propose_admin(&next);
    assert!(signed_by(&f, &f.admin));
    f.expect_events(&[&AdminProposed { admin: f.admin.clone(), proposed: next.clone() }]);
    assert_eq!(f.vault.administration().proposed, Some(next.clone()));
    assert_eq!(f.vault.config().admin, f.admin);
    f.vault.accept_admin();
    assert!(signed_by(&f, &next));
    f.expect_events(&[&AdminAccepted { previous: f.admin.clone(), admin: next.clone() }]);
    let state = f.vault.administration();
    assert_eq!((state.admin, state.proposed), (next.clone(), None));
    f.vault.pause_opens();
    assert!(signed_by(&f, &next));
}

#[test]
fn a_proposal_can_be_replaced_and_taken_back() {
    let f = Fixture::new();
    let (first, second) = (Address::generate(&f.env), Address::generate(&f.env));
    f.vault.propose_admin(&first);
    f.vault.propose_admin(&second);
    assert_eq!(f.vault.administration().proposed, Some(second));
    f.vault.propose_admin(&f.admin);
    f.expect_events(&[&AdminProposed { admin: f.admin.clone(), proposed: f.admin.clone() }]);
    assert_eq!(f.vault.administration().proposed, None);
    assert_eq!(flat(f.vault.try_accept_admin()), Err(VaultError::AdminNotProposed));
}

#[test]
fn a_paused_vault_opens_nothing_and_stops_nothing_else() {
    let f = Fixture::ready();
    let (settled, voided, lapsed) = (f.opened(1), f.open(2), f.open(3));
    f.vault.pause_opens();
    assert!(signed_by(&f, &f.admin));
    f.expect_events(&[&OpensPaused { admin: f.admin.clone() }]);
    f.vault.pause_opens();
    f.expect_events(&[]);
    assert!(f.vault.administration().opens_paused);
    assert_eq!(f.try_open(&f.terms(4)), Err(VaultError::OpensPaused));
    assert_eq!(f.try_open(&f.terms(1)), Ok(settled.0.clone()), "a repeat opens nothing");
    f.settle(&settled).unwrap();
    f.vault.void_run(&voided, &f.runner, &0, &u64::MAX);
    f.vault.deposit(&f.user, &1);
    f.vault.withdraw(&f.user, &1);
    f.vault.claim_developer(&f.developer, &1);
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    f.vault.grant_runner(&f.user, &f.runner, &f.agent, &None);
    f.at(NOON + HOUR);
    f.vault.reclaim_run(&lapsed);
    f.vault.resume_opens();
    f.expect_events(&[&OpensResumed { admin: f.admin.clone() }]);
    f.vault.resume_opens();
    f.expect_events(&[]);
    f.open(5);
}

#[test]
fn new_code_waits_a_week_and_is_named_by_its_signer() {
    let f = Fixture::ready();
    let code = f.env.deployer().upload_contract_wasm(wasm::VAULT);
    assert_eq!(flat(f.vault.try_upgrade(&code)), Err(VaultError::UpgradeNotScheduled));
    assert_eq!(f.vault.schedule_upgrade(&code), NOON + WEEK);
    assert!(signed_by(&f, &f.admin));
    f.expect_events(&[&UpgradeScheduled {
        wasm_hash: code.clone(),
        ready_at: NOON + WEEK,
        lapses_at: NOON + 3 * WEEK,
    }]);
    let state = f.vault.administration();
    assert_eq!((state.upgrade_to, state.upgrade_at), (Some(code.clone()), Some(NOON + WEEK)));
    f.at(NOON + WEEK - 1);
    assert_eq!(flat(f.vault.try_upgrade(&code)), Err(VaultError::UpgradeNotReady));
    assert_eq!(flat(f.vault.try_upgrade(&f.bytes(1))), Err(VaultError::UpgradeNotScheduled));
    f.at(NOON + WEEK);
    f.vault.upgrade(&code);
    assert!(signed_by(&f, &f.admin));
    f.expect_events(&[&Upgraded { wasm_hash: code.clone() }]);
    let state = f.vault.administration();
    assert_eq!((state.upgrade_to, state.upgrade_at), (None, None));
    assert_eq!(flat(f.vault.try_upgrade(&code)), Err(VaultError::UpgradeNotScheduled));
}

#[test]
fn scheduled_code_can_be_replaced_which_starts_the_week_anew_and_cancelled() {
    let f = Fixture::new();
    let (first, second) = (f.bytes(1), f.bytes(2));
    assert_eq!(flat(f.vault.try_cancel_upgrade()), Err(VaultError::UpgradeNotScheduled));
    f.vault.schedule_upgrade(&first);
    f.at(NOON + WEEK);
    f.vault.schedule_upgrade(&second);
    assert_eq!(flat(f.vault.try_upgrade(&first)), Err(VaultError::UpgradeNotScheduled));
    assert_eq!(flat(f.vault.try_upgrade(&second)), Err(VaultError::UpgradeNotReady));
    f.vault.cancel_upgrade();
    assert!(signed_by(&f, &f.admin));
    f.expect_events(&[&UpgradeCancelled { wasm_hash: second.clone() }]);
    f.at(NOON + 3 * WEEK);
    assert_eq!(flat(f.vault.try_upgrade(&second)), Err(VaultError::UpgradeNotScheduled));
}

/// From the committed Wasm to itself, with runs open all the while.
#[test]
fn an_upgrade_keeps_every_balance_and_every_run() {
    let f = Fixture::built(true).prepared();
    let code = f.env.deployer().upload_contract_wasm(wasm::VAULT);
    f.vault.schedule_upgrade(&code);
    f.at(NOON + WEEK);
    let run = f.opened(1);
    let before = f.vault.account(&f.user);
    f.vault.upgrade(&code);
    f.vault.migrate();
    assert_eq!(f.vault.account(&f.user), before);
    assert_eq!(f.settle(&run).unwrap().actual_charge, CHARGE);
    f.open(2);
}

#[test]
fn data_of_an_older_form_wait_for_migrate_and_only_opens_wait_with_them() {
    let f = Fixture::ready();
    let run = f.opened(1);
    f.env.as_contract(&f.vault.address, || contract_administration::set_layout(&f.env, 0));
    assert_eq!(f.try_open(&f.terms(2)), Err(VaultError::OpensPaused));
    f.settle(&run).unwrap();
    f.vault.withdraw(&f.user, &1);
    f.vault.migrate();
    assert!(signed_by(&f, &f.admin));
    f.expect_events(&[&Migrated { from: 0, to: 1 }]);
    f.vault.migrate();
    f.expect_events(&[]);
    f.open(2);
}

#[test]
fn nobody_but_the_admin_administers() {
    let f = Fixture::ready();
    let next = Address::generate(&f.env);
    let code = f.bytes(1);
    f.vault.propose_admin(&next);
    f.vault.schedule_upgrade(&code);
    let before = f.vault.administration();
    f.at(NOON + WEEK);
    f.env.set_auths(&[]);
    assert!(f.vault.try_pause_opens().is_err());
    assert!(f.vault.try_resume_opens().is_err());
    assert!(f.vault.try_propose_admin(&f.user).is_err());
    assert!(f.vault.try_accept_admin().is_err());
    assert!(f.vault.try_schedule_upgrade(&code).is_err());
    assert!(f.vault.try_cancel_upgrade().is_err());
    assert!(f.vault.try_upgrade(&code).is_err());
    assert!(f.vault.try_migrate().is_err());
    assert_eq!(f.vault.administration(), before);
}
