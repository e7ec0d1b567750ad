//! A token and a registry that lie, refuse or trap: the vault's own codes, and no change.

use soroban_sdk::testutils::{Address as _, Ledger as _};
use soroban_sdk::{Env, contract, contractimpl, contracttype, symbol_short};

use super::*;

/// How a hostile token behaves.
#[contracttype]
#[derive(Clone, Copy)]
pub enum Mood {
    Honest,
    MovesTooLittle,
    MovesTooMuch,
    SaysItDid,
    Traps,
    BalanceTraps,
}

#[contract]
pub struct HostileToken;

#[contractimpl]
impl HostileToken {
    pub fn mood(env: Env, mood: Mood) {
        env.storage().instance().set(&symbol_short!("mood"), &mood);
    }

    pub fn balance(env: Env, id: Address) -> i128 {
        let mood = env.storage().instance().get(&symbol_short!("mood")).unwrap();
        assert!(!matches!(mood, Mood::BalanceTraps));
        env.storage().instance().get(&id).unwrap_or(0)
    }

    pub fn transfer(env: Env, from: Address, to: Address, amount: i128) {
        let moved = match env.storage().instance().get(&symbol_short!("mood")).unwrap() {
            Mood::Honest | Mood::BalanceTraps => amount,
            Mood::MovesTooLittle => amount - 1,
            Mood::MovesTooMuch => amount + 1,
            Mood::SaysItDid => 0,
            Mood::Traps => panic!("no"),
        };
        for (who, change) in [(from, -moved), (to, moved)] {
            let held: i128 = env.storage().instance().get(&who).unwrap_or(0);
            env.storage().instance().set(&who, &(held + change));
        }
    }
}

#[test]
fn a_token_that_moves_another_amount_is_refused_both_ways() {
    let env = Env::new_with_config(EnvTestConfig { capture_snapshot_at_drop: false });
    env.mock_all_auths();
    env.ledger().set_timestamp(NOON);
    let token = env.register(HostileToken, ());
    let mood = HostileTokenClient::new(&env, &token);
    let (admin, user) = (Address::generate(&env), Address::generate(&env));
    let id = env.register(PrepaidVault, (admin.clone(), admin, token));
    let vault = PrepaidVaultClient::new(&env, &id);
    mood.mood(&Mood::Honest);
    vault.deposit(&user, &100);
    for lie in
        [Mood::MovesTooLittle, Mood::MovesTooMuch, Mood::SaysItDid, Mood::Traps, Mood::BalanceTraps]
    {
        mood.mood(&lie);
        let failed = Err(VaultError::TokenFailed);
        assert_eq!(flat(vault.try_deposit(&user, &10)), failed);
        assert_eq!(flat(vault.try_withdraw(&user, &10)), failed);
        assert_eq!(vault.balance_of(&user), 100);
    }
    assert_eq!(flat(vault.try_surplus()), Err(VaultError::TokenFailed));
    assert_eq!(flat(vault.try_deficit()), Err(VaultError::TokenFailed));
    mood.mood(&Mood::Honest);
    assert_eq!((vault.surplus(), vault.deficit()), (0, 0));
}

/// A registry that lists everybody and charges as told, until it is told to fail.
#[contract]
pub struct HostileRegistry;

#[contractimpl]
impl HostileRegistry {
    pub fn set(env: Env, alive: bool, price: i128) {
        env.storage().instance().set(&symbol_short!("set"), &(alive, price));
    }

    pub fn get_agent(env: Env, agent_id: u32) -> agent_registry::AgentDetails {
        let (alive, _) = Self::now(&env);
        assert!(alive);
        let runner: Address = env.storage().instance().get(&symbol_short!("runner")).unwrap();
        agent_registry::AgentDetails {
            agent_id,
            developer: runner.clone(),
            metadata_uri: None,
            runners: vec![&env, runner],
            latest_rate_version: 1,
            attesters: Vec::new(&env),
        }
    }

    pub fn get_rate_card(env: Env, _agent_id: u32, _version: u32) -> agent_registry::RateCard {
        let (_, llm_in) = Self::now(&env);
        let input = card(&env, llm_in);
        agent_registry::RateCard { rates: input.rates, manifest_hash: input.manifest_hash }
    }

    pub fn is_runner(env: Env, _agent_id: u32, runner: Address) -> bool {
        let (alive, _) = Self::now(&env);
        assert!(alive);
        env.storage().instance().set(&symbol_short!("runner"), &runner);
        true
    }
}

impl HostileRegistry {
    fn now(env: &Env) -> (bool, i128) {
        env.storage().instance().get(&symbol_short!("set")).unwrap()
    }
}

#[test]
fn a_registry_that_fails_says_nothing_about_the_runner() {
    let mut w = World::new();
    let id = w.env.register(HostileRegistry, ());
    let hostile = HostileRegistryClient::new(&w.env, &id);
    let arguments = (w.admin.clone(), id, w.token.address.clone());
    let vault = w.env.register(PrepaidVault, arguments);
    w.vault = PrepaidVaultClient::new(&w.env, &vault);
    let unavailable = VaultError::RegistryUnavailable;

    let granted = w.vault.try_grant_runner(&w.user, &w.runner, &w.agent, &None);
    assert_eq!(flat(granted), Err(unavailable));
    hostile.set(&true, &10_000);
    w.vault.deposit(&w.user, &100_000_000);
    w.vault.grant_runner(&w.user, &w.runner, &w.agent, &None);
    let terms = w.terms(1);
    let pinned = RunTerms { developer: w.runner.clone(), ..w.pinned(&terms) };
    let run = (w.try_open(&terms).unwrap(), pinned);

    hostile.set(&false, &10_000);
    assert_eq!(w.settle(&run), Err(unavailable));
    let asked = w.vault.try_is_runner_authorized(&w.user, &w.runner, &w.agent);
    assert_eq!(flat(asked), Err(unavailable));
    w.vault.void_run(&run.0, &w.runner, &0, &u64::MAX);
    w.vault.withdraw(&w.user, &100_000_000);
}

#[test]
fn a_registry_with_negative_prices_takes_nothing() {
    let mut w = World::new();
    let id = w.env.register(HostileRegistry, ());
    let hostile = HostileRegistryClient::new(&w.env, &id);
    let arguments = (w.admin.clone(), id, w.token.address.clone());
    let vault = w.env.register(PrepaidVault, arguments);
    w.vault = PrepaidVaultClient::new(&w.env, &vault);
    hostile.set(&true, &-1);
    let w = w.prepared();
    assert_eq!(w.try_open(&w.terms(1)), Err(VaultError::InvalidAmount));
}

#[test]
fn a_registry_that_is_no_contract_is_unavailable() {
    let mut w = World::new();
    let nobody = Address::generate(&w.env);
    let arguments = (w.admin.clone(), nobody, w.token.address.clone());
    let vault = w.env.register(PrepaidVault, arguments);
    w.vault = PrepaidVaultClient::new(&w.env, &vault);
    let granted = w.vault.try_grant_runner(&w.user, &w.runner, &w.agent, &None);
    assert_eq!(flat(granted), Err(VaultError::RegistryUnavailable));
    w.vault.deposit(&w.user, &5);
    w.vault.withdraw(&w.user, &5);
}
