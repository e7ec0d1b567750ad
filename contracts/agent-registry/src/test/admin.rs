//! Administration of the registry: it never reaches an agent.

use soroban_sdk::testutils::{Address as _, Ledger as _};

use super::*;

const WEEK: u64 = 7 * 86_400;

fn admin(w: &World) -> Address {
    w.registry.administration().admin
}

#[test]
fn administration_is_handed_over_in_two_steps() {
    let w = World::new();
    let (first, next) = (admin(&w), Address::generate(&w.env));
    let nobody = w.registry.try_accept_admin().err();
    assert_eq!(nobody, Some(Ok(AgentRegistryError::AdminNotProposed)));
    w.registry.propose_admin(&next);
    assert!(w.signed_by(&first));
    w.expect_events(&[&AdminProposed { admin: first.clone(), proposed: next.clone() }]);
    assert_eq!(admin(&w), first);
    w.registry.accept_admin();
    assert!(w.signed_by(&next));
    w.expect_events(&[&AdminAccepted { previous: first, admin: next.clone() }]);
    let state = w.registry.administration();
    assert_eq!((state.admin, state.proposed), (next.clone(), None));
    w.registry.propose_admin(&Address::generate(&w.env));
    w.registry.propose_admin(&next);
    assert_eq!(w.registry.administration().proposed, None);
}

#[test]
fn new_code_waits_a_week_and_keeps_the_agents() {
    let w = World::of(|env, admin| env.register(WASM, (admin,)));
    let id = w.agent();
    let code = w.env.deployer().upload_contract_wasm(WASM);
    let now = w.env.ledger().timestamp();
    let upgrade = |code: &BytesN<32>| w.registry.try_upgrade(code).err();
    let unscheduled = Some(Ok(AgentRegistryError::UpgradeNotScheduled));
    assert_eq!(upgrade(&code), unscheduled);
    assert_eq!(w.registry.try_cancel_upgrade().err(), unscheduled);
    assert_eq!(w.registry.schedule_upgrade(&code), now + WEEK);
    w.expect_events(&[&UpgradeScheduled {
        wasm_hash: code.clone(),
        ready_at: now + WEEK,
        lapses_at: now + 3 * WEEK,
    }]);
    w.registry.cancel_upgrade();
    w.expect_events(&[&UpgradeCancelled { wasm_hash: code.clone() }]);
    w.registry.schedule_upgrade(&code);
    w.env.ledger().set_timestamp(now + WEEK - 1);
    assert_eq!(upgrade(&code), Some(Ok(AgentRegistryError::UpgradeNotReady)));
    let other = BytesN::from_array(&w.env, &[1; 32]);
    assert_eq!(upgrade(&other), unscheduled);
    w.env.ledger().set_timestamp(now + WEEK);
    assert_eq!(w.registry.administration().upgrade_at, Some(now + WEEK));
    w.registry.upgrade(&code);
    w.expect_events(&[&Upgraded { wasm_hash: code.clone() }]);
    w.registry.migrate();
    w.expect_events(&[]);
    assert_eq!(w.registry.administration().upgrade_to, None);
    assert!(w.registry.is_runner(&id, &w.runner));
    assert_eq!(w.registry.developer_of(&id), w.developer);
}

#[test]
fn data_of_an_older_form_are_migrated_once() {
    let w = World::new();
    w.env.as_contract(&w.registry.address, || contract_administration::set_layout(&w.env, 0));
    w.registry.migrate();
    w.expect_events(&[&Migrated { from: 0, to: 1 }]);
    w.registry.migrate();
    w.expect_events(&[]);
}

#[test]
fn nobody_but_the_admin_administers() {
    let w = World::new();
    let code = BytesN::from_array(&w.env, &[1; 32]);
    w.registry.propose_admin(&w.developer);
    w.registry.schedule_upgrade(&code);
    let before = w.registry.administration();
    w.env.ledger().set_timestamp(w.env.ledger().timestamp() + WEEK);
    w.env.set_auths(&[]);
    assert!(w.registry.try_propose_admin(&w.runner).is_err());
    assert!(w.registry.try_accept_admin().is_err());
    assert!(w.registry.try_schedule_upgrade(&code).is_err());
    assert!(w.registry.try_cancel_upgrade().is_err());
    assert!(w.registry.try_upgrade(&code).is_err());
    assert!(w.registry.try_migrate().is_err());
    assert_eq!(w.registry.administration(), before);
}

/// An announcement that nobody remembers cannot be used (V20).
#[test]
fn an_announced_upgrade_lapses_two_weeks_after_it_became_ready() {
    let w = World::of(|env, admin| env.register(WASM, (admin,)));
    let code = w.env.deployer().upload_contract_wasm(WASM);
    let now = w.env.ledger().timestamp();
    w.registry.schedule_upgrade(&code);
    assert_eq!(w.registry.administration().upgrade_until, Some(now + 3 * WEEK));

    w.env.ledger().set_timestamp(now + 3 * WEEK);
    let lapsed = Some(Ok(AgentRegistryError::UpgradeNotScheduled));
    assert_eq!(w.registry.try_upgrade(&code).err(), lapsed);
    assert_eq!(w.registry.try_cancel_upgrade().err(), lapsed);
    assert_eq!(w.registry.administration().upgrade_to, None);

    w.registry.schedule_upgrade(&code);
    w.env.ledger().set_timestamp(now + 6 * WEEK - 1);
    w.registry.upgrade(&code);
}

/// The new admin has announced nothing, so nothing may be put in place (V20).
#[test]
fn accepting_administration_withdraws_what_the_old_admin_announced() {
    let w = World::new();
    let (first, next) = (admin(&w), Address::generate(&w.env));
    let code = BytesN::from_array(&w.env, &[1; 32]);
    w.registry.schedule_upgrade(&code);
    w.registry.propose_admin(&next);
    w.registry.accept_admin();
    w.expect_events(&[
        &AdminAccepted { previous: first, admin: next },
        &UpgradeCancelled { wasm_hash: code.clone() },
    ]);
    w.env.ledger().set_timestamp(w.env.ledger().timestamp() + WEEK);
    let cleared = Some(Ok(AgentRegistryError::UpgradeNotScheduled));
    assert_eq!(w.registry.try_upgrade(&code).err(), cleared);
}
