//! Administration: hand-over in two steps, new code after a week that everybody can see, a stop for
//! new runs. None of it reaches money.

use super::*;

const WEEK: u64 = 7 * DAY;

fn signed_by(w: &World, who: &Address) -> bool {
    let auths = w.env.auths();
    auths.len() == 1 && auths[0].0 == *who
}

#[test]
fn administration_is_handed_over_in_two_steps() {
    let w = World::new();
    let next = Address::generate(&w.env);
    assert_eq!(flat(w.vault.try_accept_admin()), Err(VaultError::AdminNotProposed));
    w.vault.propose_admin(&next);
    assert!(signed_by(&w, &w.admin));
    w.expect_events(&[&AdminProposed { admin: w.admin.clone(), proposed: next.clone() }]);
    assert_eq!(w.vault.administration().proposed, Some(next.clone()));
    assert_eq!(w.vault.config().admin, w.admin);
    w.vault.accept_admin();
    assert!(signed_by(&w, &next));
    w.expect_events(&[&AdminAccepted { previous: w.admin.clone(), admin: next.clone() }]);
    let state = w.vault.administration();
    assert_eq!((state.admin, state.proposed), (next.clone(), None));
    w.vault.pause_opens();
    assert!(signed_by(&w, &next));
}

#[test]
fn a_proposal_can_be_replaced_and_taken_back() {
    let w = World::new();
    let (first, second) = (Address::generate(&w.env), Address::generate(&w.env));
    w.vault.propose_admin(&first);
    w.vault.propose_admin(&second);
    assert_eq!(w.vault.administration().proposed, Some(second));
    w.vault.propose_admin(&w.admin);
    w.expect_events(&[&AdminProposed { admin: w.admin.clone(), proposed: w.admin.clone() }]);
    assert_eq!(w.vault.administration().proposed, None);
    assert_eq!(flat(w.vault.try_accept_admin()), Err(VaultError::AdminNotProposed));
}

#[test]
fn a_paused_vault_opens_nothing_and_stops_nothing_else() {
    let w = World::ready();
    let (settled, voided, lapsed) = (w.opened(1), w.open(2), w.open(3));
    w.vault.pause_opens();
    assert!(signed_by(&w, &w.admin));
    w.expect_events(&[&OpensPaused { admin: w.admin.clone() }]);
    w.vault.pause_opens();
    w.expect_events(&[]);
    assert!(w.vault.administration().opens_paused);
    assert_eq!(w.try_open(&w.terms(4)), Err(VaultError::OpensPaused));
    assert_eq!(w.try_open(&w.terms(1)), Ok(settled.0.clone()), "a repeat opens nothing");
    w.settle(&settled).unwrap();
    w.vault.void_run(&voided, &w.runner, &0, &u64::MAX);
    w.vault.deposit(&w.user, &1);
    w.vault.withdraw(&w.user, &1);
    w.vault.claim_developer(&w.developer, &1);
    w.vault.revoke_runner(&w.user, &w.runner, &w.agent);
    w.vault.grant_runner(&w.user, &w.runner, &w.agent, &None);
    w.at(NOON + HOUR);
    w.vault.reclaim_run(&lapsed);
    w.vault.resume_opens();
    w.expect_events(&[&OpensResumed { admin: w.admin.clone() }]);
    w.vault.resume_opens();
    w.expect_events(&[]);
    w.open(5);
}

#[test]
fn new_code_waits_a_week_and_is_named_by_its_signer() {
    let w = World::ready();
    let code = w.env.deployer().upload_contract_wasm(wasm::VAULT);
    assert_eq!(flat(w.vault.try_upgrade(&code)), Err(VaultError::UpgradeNotScheduled));
    assert_eq!(w.vault.schedule_upgrade(&code), NOON + WEEK);
    assert!(signed_by(&w, &w.admin));
    w.expect_events(&[&UpgradeScheduled {
        wasm_hash: code.clone(),
        ready_at: NOON + WEEK,
        lapses_at: NOON + 3 * WEEK,
    }]);
    let state = w.vault.administration();
    assert_eq!((state.upgrade_to, state.upgrade_at), (Some(code.clone()), Some(NOON + WEEK)));
    w.at(NOON + WEEK - 1);
    assert_eq!(flat(w.vault.try_upgrade(&code)), Err(VaultError::UpgradeNotReady));
    assert_eq!(flat(w.vault.try_upgrade(&w.bytes(1))), Err(VaultError::UpgradeNotScheduled));
    w.at(NOON + WEEK);
    w.vault.upgrade(&code);
    assert!(signed_by(&w, &w.admin));
    w.expect_events(&[&Upgraded { wasm_hash: code.clone() }]);
    let state = w.vault.administration();
    assert_eq!((state.upgrade_to, state.upgrade_at), (None, None));
    assert_eq!(flat(w.vault.try_upgrade(&code)), Err(VaultError::UpgradeNotScheduled));
}

#[test]
fn scheduled_code_can_be_replaced_which_starts_the_week_anew_and_cancelled() {
    let w = World::new();
    let (first, second) = (w.bytes(1), w.bytes(2));
    assert_eq!(flat(w.vault.try_cancel_upgrade()), Err(VaultError::UpgradeNotScheduled));
    w.vault.schedule_upgrade(&first);
    w.at(NOON + WEEK);
    w.vault.schedule_upgrade(&second);
    assert_eq!(flat(w.vault.try_upgrade(&first)), Err(VaultError::UpgradeNotScheduled));
    assert_eq!(flat(w.vault.try_upgrade(&second)), Err(VaultError::UpgradeNotReady));
    w.vault.cancel_upgrade();
    assert!(signed_by(&w, &w.admin));
    w.expect_events(&[&UpgradeCancelled { wasm_hash: second.clone() }]);
    w.at(NOON + 3 * WEEK);
    assert_eq!(flat(w.vault.try_upgrade(&second)), Err(VaultError::UpgradeNotScheduled));
}

/// From the committed Wasm to itself, with runs open all the while.
#[test]
fn an_upgrade_keeps_every_balance_and_every_run() {
    let w = World::built(true).prepared();
    let code = w.env.deployer().upload_contract_wasm(wasm::VAULT);
    w.vault.schedule_upgrade(&code);
    w.at(NOON + WEEK);
    let run = w.opened(1);
    let before = w.vault.account(&w.user);
    w.vault.upgrade(&code);
    w.vault.migrate();
    assert_eq!(w.vault.account(&w.user), before);
    assert_eq!(w.settle(&run).unwrap().actual_charge, CHARGE);
    w.open(2);
}

#[test]
fn data_of_an_older_form_wait_for_migrate_and_only_opens_wait_with_them() {
    let w = World::ready();
    let run = w.opened(1);
    w.env.as_contract(&w.vault.address, || contract_administration::set_layout(&w.env, 0));
    assert_eq!(w.try_open(&w.terms(2)), Err(VaultError::OpensPaused));
    w.settle(&run).unwrap();
    w.vault.withdraw(&w.user, &1);
    w.vault.migrate();
    assert!(signed_by(&w, &w.admin));
    w.expect_events(&[&Migrated { from: 0, to: 1 }]);
    w.vault.migrate();
    w.expect_events(&[]);
    w.open(2);
}

#[test]
fn nobody_but_the_admin_administers() {
    let w = World::ready();
    let next = Address::generate(&w.env);
    let code = w.bytes(1);
    w.vault.propose_admin(&next);
    w.vault.schedule_upgrade(&code);
    let before = w.vault.administration();
    w.at(NOON + WEEK);
    w.env.set_auths(&[]);
    assert!(w.vault.try_pause_opens().is_err());
    assert!(w.vault.try_resume_opens().is_err());
    assert!(w.vault.try_propose_admin(&w.user).is_err());
    assert!(w.vault.try_accept_admin().is_err());
    assert!(w.vault.try_schedule_upgrade(&code).is_err());
    assert!(w.vault.try_cancel_upgrade().is_err());
    assert!(w.vault.try_upgrade(&code).is_err());
    assert!(w.vault.try_migrate().is_err());
    assert_eq!(w.vault.administration(), before);
}
