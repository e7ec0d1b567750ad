//! Administration of the registry: it never reaches an agent.

use soroban_sdk::testutils::{Address as _, Ledger as _};

use super::*;

const WEEK: u64 = 7 * 86_400;

fn admin(f: &Fixture) -> Address {
    f.registry.administration().admin
}

#[test]
fn administration_is_handed_over_in_two_steps() {
    let f = Fixture::new();
    let (first, next) = (admin(&f), Address::generate(&f.env));
    let nobody = f.registry.try_accept_admin().err();
    assert_eq!(nobody, Some(Ok(AgentRegistryError::AdminNotProposed)));
    f.registry.propose_admin(&next);
    assert!(f.signed_by(&first));
    f.expect_events(&[&AdminProposed { admin: first.clone(), proposed: next.clone() }]);
    assert_eq!(admin(&f), first);
    f.registry.accept_admin();
    assert!(f.signed_by(&next));
    f.expect_events(&[&AdminAccepted { previous: first, admin: next.clone() }]);
    let state = f.registry.administration();
    assert_eq!((state.admin, state.proposed), (next.clone(), None));
    f.registry.propose_admin(&Address::generate(&f.env));
    f.registry.propose_admin(&next);
    assert_eq!(f.registry.administration().proposed, None);
}

#[test]
fn new_code_waits_a_week_and_keeps_the_agents() {
    let f = Fixture::of(|env, admin| env.register(WASM, (admin,)));
    let id = f.agent();
    let code = f.env.deployer().upload_contract_wasm(WASM);
    let now = f.env.ledger().timestamp();
    let upgrade = |code: &BytesN<32>| f.registry.try_upgrade(code).err();
    let unscheduled = Some(Ok(AgentRegistryError::UpgradeNotScheduled));
    assert_eq!(upgrade(&code), unscheduled);
    assert_eq!(f.registry.try_cancel_upgrade().err(), unscheduled);
    assert_eq!(f.registry.schedule_upgrade(&code), now + WEEK);
    f.expect_events(&[&UpgradeScheduled {
        wasm_hash: code.clone(),
        ready_at: now + WEEK,
        lapses_at: now + 3 * WEEK,
    }]);
    f.registry.cancel_upgrade();
    f.expect_events(&[&UpgradeCancelled { wasm_hash: code.clone() }]);
    f.registry.schedule_upgrade(&code);
    f.env.ledger().set_timestamp(now + WEEK - 1);
    assert_eq!(upgrade(&code), Some(Ok(AgentRegistryError::UpgradeNotReady)));
    let other = BytesN::from_array(&f.env, &[1; 32]);
    assert_eq!(upgrade(&other), unscheduled);
    f.env.ledger().set_timestamp(now + WEEK);
    assert_eq!(f.registry.administration().upgrade_at, Some(now + WEEK));
    f.registry.upgrade(&code);
    f.expect_events(&[&Upgraded { wasm_hash: code.clone() }]);
    f.registry.migrate();
    f.expect_events(&[]);
    assert_eq!(f.registry.administration().upgrade_to, None);
    assert!(f.registry.is_runner(&id, &f.runner));
    assert_eq!(f.registry.developer_of(&id), f.developer);
}

#[test]
fn data_of_an_older_form_are_migrated_once() {
    let f = Fixture::new();
    f.env.as_contract(&f.registry.address, || contract_administration::set_layout(&f.env, 0));
    f.registry.migrate();
    f.expect_events(&[&Migrated { from: 0, to: 1 }]);
    f.registry.migrate();
    f.expect_events(&[]);
}

#[test]
fn nobody_but_the_admin_administers() {
    let f = Fixture::new();
    let code = BytesN::from_array(&f.env, &[1; 32]);
    f.registry.propose_admin(&f.developer);
    f.registry.schedule_upgrade(&code);
    let before = f.registry.administration();
    f.env.ledger().set_timestamp(f.env.ledger().timestamp() + WEEK);
    f.env.set_auths(&[]);
    assert!(f.registry.try_propose_admin(&f.runner).is_err());
    assert!(f.registry.try_accept_admin().is_err());
    assert!(f.registry.try_schedule_upgrade(&code).is_err());
    assert!(f.registry.try_cancel_upgrade().is_err());
    assert!(f.registry.try_upgrade(&code).is_err());
    assert!(f.registry.try_migrate().is_err());
    assert_eq!(f.registry.administration(), before);
}

/// An announcement that nobody remembers cannot be used (V20).
#[test]
fn an_announced_upgrade_lapses_two_weeks_after_it_became_ready() {
    let f = Fixture::of(|env, admin| env.register(WASM, (admin,)));
    let code = f.env.deployer().upload_contract_wasm(WASM);
    let now = f.env.ledger().timestamp();
    f.registry.schedule_upgrade(&code);
    assert_eq!(f.registry.administration().upgrade_until, Some(now + 3 * WEEK));

    f.env.ledger().set_timestamp(now + 3 * WEEK);
    let lapsed = Some(Ok(AgentRegistryError::UpgradeNotScheduled));
    assert_eq!(f.registry.try_upgrade(&code).err(), lapsed);
    assert_eq!(f.registry.try_cancel_upgrade().err(), lapsed);
    assert_eq!(f.registry.administration().upgrade_to, None);

    f.registry.schedule_upgrade(&code);
    f.env.ledger().set_timestamp(now + 6 * WEEK - 1);
    f.registry.upgrade(&code);
}

/// The new admin has announced nothing, so nothing may be put in place (V20).
#[test]
fn accepting_administration_withdraws_what_the_old_admin_announced() {
    let f = Fixture::new();
    let (first, next) = (admin(&f), Address::generate(&f.env));
    let code = BytesN::from_array(&f.env, &[1; 32]);
    f.registry.schedule_upgrade(&code);
    f.registry.propose_admin(&next);
    f.registry.accept_admin();
    f.expect_events(&[
        &AdminAccepted { previous: first, admin: next },
        &UpgradeCancelled { wasm_hash: code.clone() },
    ]);
    f.env.ledger().set_timestamp(f.env.ledger().timestamp() + WEEK);
    let cleared = Some(Ok(AgentRegistryError::UpgradeNotScheduled));
    assert_eq!(f.registry.try_upgrade(&code).err(), cleared);
}
