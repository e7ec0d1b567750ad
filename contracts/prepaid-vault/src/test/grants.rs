//! Who may open runs for whom.

use soroban_sdk::testutils::Address as _;

use super::*;

#[test]
fn a_grant_is_emitted_and_listed() {
    let w = World::new();
    let (user, runner, agent_id) = (w.user.clone(), w.runner.clone(), w.agent);
    let expires_at = Some(NOON + 1);
    assert!(!w.vault.is_runner_authorized(&user, &runner, &agent_id));
    w.vault.grant_runner(&user, &runner, &agent_id, &expires_at);
    w.expect_events(&[&RunnerGranted {
        user: user.clone(),
        runner: runner.clone(),
        agent_id,
        issued_at: NOON,
        expires_at,
        serial: 1,
    }]);
    let grant = RunnerGrant {
        runner: w.runner.clone(),
        agent_id,
        issued_at: NOON,
        expires_at,
        serial: 1,
        used: 0,
    };
    assert_eq!(w.vault.list_runner_grants(&user), vec![&w.env, grant]);
    assert!(w.vault.is_runner_authorized(&user, &runner, &agent_id));
    w.at(NOON + 1);
    assert!(w.vault.list_runner_grants(&user).is_empty());
    assert!(!w.vault.is_runner_authorized(&user, &runner, &agent_id));
}

#[test]
fn a_grant_that_makes_no_sense_is_refused() {
    let w = World::new();
    let grant = |runner: &Address, agent: u32, expires_at: Option<u64>| {
        flat(w.vault.try_grant_runner(&w.user, runner, &agent, &expires_at))
    };
    assert_eq!(grant(&w.user, w.agent, None), Err(VaultError::InvalidAmount));
    assert_eq!(grant(&w.runner, w.agent, Some(NOON)), Err(VaultError::InvalidExpiry));
    let stranger = Address::generate(&w.env);
    assert_eq!(grant(&stranger, w.agent, None), Err(VaultError::UnauthorizedRunner));
    assert_eq!(grant(&w.runner, 99, None), Err(VaultError::AgentNotFound));
    assert_eq!(grant(&w.runner, w.agent, None), Ok(()));
    assert_eq!(grant(&w.runner, w.agent, None), Err(VaultError::RunnerGrantExists));
}

#[test]
fn an_expired_grant_is_cleared_away_and_can_be_given_anew() {
    let w = World::new();
    let (user, runner, agent_id) = (w.user.clone(), w.runner.clone(), w.agent);
    w.vault.grant_runner(&user, &runner, &agent_id, &Some(NOON + 1));
    w.at(NOON + 1);
    let dead = flat(w.vault.try_revoke_runner(&user, &runner, &agent_id));
    assert_eq!(dead, Err(VaultError::RunnerGrantNotFound));
    w.vault.grant_runner(&user, &runner, &agent_id, &None);
    let expired = RunnerExpired {
        user: user.clone(),
        runner: runner.clone(),
        agent_id,
        expires_at: NOON + 1,
    };
    let granted = RunnerGranted {
        user: user.clone(),
        runner,
        agent_id,
        issued_at: NOON + 1,
        expires_at: None,
        serial: 2,
    };
    w.expect_events(&[&expired, &granted]);
    assert_eq!(w.vault.list_runner_grants(&user).len(), 1);
}

#[test]
fn a_user_has_at_most_thirty_two_grants() {
    let w = World::new();
    for _ in 0..31 {
        let runner = Address::generate(&w.env);
        let card = card(&w.env, 1);
        let agent =
            w.registry.register_agent(&w.developer, &None, &vec![&w.env, runner.clone()], &card);
        w.vault.grant_runner(&w.user, &runner, &agent, &None);
    }
    w.vault.grant_runner(&w.user, &w.runner, &w.agent, &Some(NOON + 1));
    let one_more = Address::generate(&w.env);
    w.registry.add_runner(&w.agent, &one_more);
    let full = flat(w.vault.try_grant_runner(&w.user, &one_more, &w.agent, &None));
    assert_eq!(full, Err(VaultError::TooManyGrants));
    w.at(NOON + 1);
    w.vault.grant_runner(&w.user, &one_more, &w.agent, &None);
    assert_eq!(w.vault.list_runner_grants(&w.user).len(), 32);
}

#[test]
fn revocation_stops_opens_at_once_but_not_settlements() {
    let w = World::ready();
    let run = w.opened(1);
    w.vault.revoke_runner(&w.user, &w.runner, &w.agent);
    let (user, runner, agent_id) = (w.user.clone(), w.runner.clone(), w.agent);
    w.expect_events(&[&RunnerRevoked { user, runner, agent_id, revoked_at: NOON }]);
    assert_eq!(w.try_open(&w.terms(2)), Err(VaultError::UnauthorizedRunner));
    assert_eq!(w.settle(&run).unwrap().actual_charge, CHARGE);
    let again = flat(w.vault.try_revoke_runner(&w.user, &w.runner, &w.agent));
    assert_eq!(again, Err(VaultError::RunnerGrantNotFound));
    assert!(w.vault.list_runner_grants(&w.user).is_empty());
}

#[test]
fn expiry_stops_opens_at_once_but_not_settlements() {
    let w = World::new();
    w.vault.deposit(&w.user, &100_000_000);
    w.vault.grant_runner(&w.user, &w.runner, &w.agent, &Some(NOON + 100));
    let run = w.opened(1);
    w.at(NOON + 100);
    assert_eq!(w.try_open(&w.terms(2)), Err(VaultError::UnauthorizedRunner));
    assert!(w.settle(&run).is_ok());
}

#[test]
fn a_grant_is_for_one_agent_only() {
    let w = World::ready();
    let other = w.registry.register_agent(
        &w.developer,
        &None,
        &vec![&w.env, w.runner.clone()],
        &card(&w.env, 1),
    );
    let terms = w.terms(1);
    let refused = w.vault.try_open_run(&w.user, &w.runner, &other, &1, &budgets(), &terms);
    assert_eq!(flat(refused), Err(VaultError::UnauthorizedRunner));
}

#[test]
fn a_grant_counts_what_its_runs_use_and_a_new_one_starts_afresh() {
    let w = World::ready();
    let used = || w.vault.list_runner_grants(&w.user).get(0).map(|grant| grant.used);
    w.settle(&w.opened(1)).unwrap();
    let second = w.open(2);
    assert_eq!(used(), Some(CHARGE + ESCROW));
    w.vault.void_run(&second, &w.runner, &0, &u64::MAX);
    assert_eq!(used(), Some(CHARGE));
    let third = w.opened(3);
    w.vault.revoke_runner(&w.user, &w.runner, &w.agent);
    w.vault.grant_runner(&w.user, &w.runner, &w.agent, &None);
    w.settle(&third).unwrap();
    assert_eq!(used(), Some(0));
}
