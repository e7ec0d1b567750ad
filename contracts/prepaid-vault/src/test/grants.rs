//! Who may open runs for whom.

use soroban_sdk::testutils::Address as _;

use super::*;

#[test]
fn a_grant_is_emitted_and_listed() {
    let f = Fixture::new();
    let (user, runner, agent_id) = (f.user.clone(), f.runner.clone(), f.agent);
    let expires_at = Some(NOON + 1);
    assert!(!f.vault.is_runner_authorized(&user, &runner, &agent_id));
    f.vault.grant_runner(&user, &runner, &agent_id, &expires_at);
    f.expect_events(&[&RunnerGranted {
        user: user.clone(),
        runner: runner.clone(),
        agent_id,
        issued_at: NOON,
        expires_at,
        serial: 1,
    }]);
    let grant = RunnerGrant {
        runner: f.runner.clone(),
        agent_id,
        issued_at: NOON,
        expires_at,
        serial: 1,
        used: 0,
    };
    assert_eq!(f.vault.list_runner_grants(&user), vec![&f.env, grant]);
    assert!(f.vault.is_runner_authorized(&user, &runner, &agent_id));
    f.at(NOON + 1);
    assert!(f.vault.list_runner_grants(&user).is_empty());
    assert!(!f.vault.is_runner_authorized(&user, &runner, &agent_id));
}

#[test]
fn a_grant_that_makes_no_sense_is_refused() {
    let f = Fixture::new();
    let grant = |runner: &Address, agent: u32, expires_at: Option<u64>| {
        flat(f.vault.try_grant_runner(&f.user, runner, &agent, &expires_at))
    };
    assert_eq!(grant(&f.user, f.agent, None), Err(VaultError::InvalidAmount));
    assert_eq!(grant(&f.runner, f.agent, Some(NOON)), Err(VaultError::InvalidExpiry));
    let stranger = Address::generate(&f.env);
    assert_eq!(grant(&stranger, f.agent, None), Err(VaultError::UnauthorizedRunner));
    assert_eq!(grant(&f.runner, 99, None), Err(VaultError::AgentNotFound));
    assert_eq!(grant(&f.runner, f.agent, None), Ok(()));
    assert_eq!(grant(&f.runner, f.agent, None), Err(VaultError::RunnerGrantExists));
}

#[test]
fn an_expired_grant_is_cleared_away_and_can_be_given_anew() {
    let f = Fixture::new();
    let (user, runner, agent_id) = (f.user.clone(), f.runner.clone(), f.agent);
    f.vault.grant_runner(&user, &runner, &agent_id, &Some(NOON + 1));
    f.at(NOON + 1);
    let dead = flat(f.vault.try_revoke_runner(&user, &runner, &agent_id));
    assert_eq!(dead, Err(VaultError::RunnerGrantNotFound));
    f.vault.grant_runner(&user, &runner, &agent_id, &None);
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
    f.expect_events(&[&expired, &granted]);
    assert_eq!(f.vault.list_runner_grants(&user).len(), 1);
}

#[test]
fn a_user_has_at_most_thirty_two_grants() {
    let f = Fixture::new();
    for _ in 0..31 {
        let runner = Address::generate(&f.env);
        let card = card(&f.env, 1);
        let agent =
            f.registry.register_agent(&f.developer, &None, &vec![&f.env, runner.clone()], &card);
        f.vault.grant_runner(&f.user, &runner, &agent, &None);
    }
    f.vault.grant_runner(&f.user, &f.runner, &f.agent, &Some(NOON + 1));
    let one_more = Address::generate(&f.env);
    f.registry.add_runner(&f.agent, &one_more);
    let full = flat(f.vault.try_grant_runner(&f.user, &one_more, &f.agent, &None));
    assert_eq!(full, Err(VaultError::TooManyGrants));
    f.at(NOON + 1);
    f.vault.grant_runner(&f.user, &one_more, &f.agent, &None);
    assert_eq!(f.vault.list_runner_grants(&f.user).len(), 32);
}

#[test]
fn revocation_stops_opens_at_once_but_not_settlements() {
    let f = Fixture::ready();
    let run = f.opened(1);
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    let (user, runner, agent_id) = (f.user.clone(), f.runner.clone(), f.agent);
    f.expect_events(&[&RunnerRevoked { user, runner, agent_id, revoked_at: NOON }]);
    assert_eq!(f.try_open(&f.terms(2)), Err(VaultError::UnauthorizedRunner));
    assert_eq!(f.settle(&run).unwrap().actual_charge, CHARGE);
    let again = flat(f.vault.try_revoke_runner(&f.user, &f.runner, &f.agent));
    assert_eq!(again, Err(VaultError::RunnerGrantNotFound));
    assert!(f.vault.list_runner_grants(&f.user).is_empty());
}

#[test]
fn expiry_stops_opens_at_once_but_not_settlements() {
    let f = Fixture::new();
    f.vault.deposit(&f.user, &100_000_000);
    f.vault.grant_runner(&f.user, &f.runner, &f.agent, &Some(NOON + 100));
    let run = f.opened(1);
    f.at(NOON + 100);
    assert_eq!(f.try_open(&f.terms(2)), Err(VaultError::UnauthorizedRunner));
    assert!(f.settle(&run).is_ok());
}

#[test]
fn a_grant_is_for_one_agent_only() {
    let f = Fixture::ready();
    let other = f.registry.register_agent(
        &f.developer,
        &None,
        &vec![&f.env, f.runner.clone()],
        &card(&f.env, 1),
    );
    let terms = f.terms(1);
    let refused = f.vault.try_open_run(&f.user, &f.runner, &other, &1, &budgets(), &terms);
    assert_eq!(flat(refused), Err(VaultError::UnauthorizedRunner));
}

#[test]
fn a_grant_counts_what_its_runs_use_and_a_new_one_starts_afresh() {
    let f = Fixture::ready();
    let used = || f.vault.list_runner_grants(&f.user).get(0).map(|grant| grant.used);
    f.settle(&f.opened(1)).unwrap();
    let second = f.open(2);
    assert_eq!(used(), Some(CHARGE + ESCROW));
    f.vault.void_run(&second, &f.runner, &0, &u64::MAX);
    assert_eq!(used(), Some(CHARGE));
    let third = f.opened(3);
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    f.vault.grant_runner(&f.user, &f.runner, &f.agent, &None);
    f.settle(&third).unwrap();
    assert_eq!(used(), Some(0));
}
