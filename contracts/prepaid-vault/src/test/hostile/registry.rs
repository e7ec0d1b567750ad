//! Registries that fail, and registries that lie. One that can't be read says nothing about
//! anybody; one that lies reaches no money of a run that is open already, and none that isn't
//! escrowed.

use soroban_sdk::testutils::Address as _;
use soroban_sdk::{Error, IntoVal, Val, contract, contractimpl, contracttype, symbol_short};

use super::super::*;

/// How a hostile registry behaves.
#[contracttype]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Honest,
    Traps,
    Code(u32),
    Nonsense,
    CallsBack,
    NegativePrices,
    HugePrices,
    ListsNobody,
    Version(u32),
}

#[contract]
pub struct HostileRegistry;

#[contractimpl]
impl HostileRegistry {
    pub fn set(env: Env, answer: Answer, vault: Address, runner: Address) {
        env.storage().instance().set(&symbol_short!("set"), &(answer, vault, runner));
    }

    pub fn get_agent(env: Env, agent_id: u32) -> Result<Val, Error> {
        let (answer, runner) = Self::now(&env)?;
        let mut runners = vec![&env, runner.clone()];
        if answer == Answer::ListsNobody {
            runners.pop_back();
        }
        let latest_rate_version = if let Answer::Version(version) = answer { version } else { 1 };
        let agent = agent_registry::AgentDetails {
            agent_id,
            developer: runner,
            metadata_uri: None,
            runners,
            latest_rate_version,
            attesters: vec![&env, attester(&env)],
        };
        Ok(if answer == Answer::Nonsense { 7u32.into_val(&env) } else { agent.into_val(&env) })
    }

    pub fn get_rate_card(env: Env, _agent_id: u32, _version: u32) -> Result<Val, Error> {
        let (answer, _) = Self::now(&env)?;
        let price = match answer {
            Answer::NegativePrices => -1,
            Answer::HugePrices => i128::MAX,
            _ => 10_000,
        };
        let RateCardInput { rates, manifest_hash } = card(&env, price);
        Ok(agent_registry::RateCard { rates, manifest_hash }.into_val(&env))
    }

    pub fn is_runner(env: Env, _agent_id: u32, _runner: Address) -> Result<Val, Error> {
        let (answer, _) = Self::now(&env)?;
        Ok(match answer {
            Answer::Nonsense => symbol_short!("perhaps").into_val(&env),
            answer => (answer != Answer::ListsNobody).into_val(&env),
        })
    }
}

impl HostileRegistry {
    fn now(env: &Env) -> Result<(Answer, Address), Error> {
        let (answer, vault, runner): (Answer, Address, Address) =
            env.storage().instance().get(&symbol_short!("set")).unwrap();
        match answer {
            Answer::Traps => panic!("no"),
            Answer::Code(code) => return Err(Error::from_contract_error(code)),
            Answer::CallsBack => {
                PrepaidVaultClient::new(env, &vault).sweep(&runner);
            }
            _ => {}
        }
        Ok((answer, runner))
    }
}

/// A vault with a hostile registry, and what sets its answer.
fn world() -> (World, impl Fn(&World, Answer)) {
    let mut w = World::new();
    let id = w.env.register(HostileRegistry, ());
    let arguments = (w.admin.clone(), id.clone(), w.token.address.clone());
    let vault = w.env.register(PrepaidVault, arguments);
    w.vault = PrepaidVaultClient::new(&w.env, &vault);
    let set = move |w: &World, answer| {
        let hostile = HostileRegistryClient::new(&w.env, &id);
        hostile.set(&answer, &w.vault.address, &w.runner);
    };
    set(&w, Answer::Honest);
    (w.prepared(), set)
}

/// Opens a run under the hostile registry's honest answers.
fn opened(w: &World, nonce: u8) -> (BytesN<32>, RunTerms) {
    let terms = w.terms(nonce);
    let pinned = RunTerms { developer: w.runner.clone(), ..w.pinned(&terms) };
    (w.try_open(&terms).unwrap(), pinned)
}

#[test]
fn a_registry_that_fails_says_nothing_about_the_runner() {
    let (w, set) = world();
    let run = opened(&w, 1);
    let other = Address::generate(&w.env);
    let before = w.vault.account(&w.user);
    for answer in [
        Answer::Traps,
        Answer::Code(1),
        Answer::Code(5),
        Answer::Code(15),
        Answer::Code(u32::MAX),
        Answer::Nonsense,
        Answer::CallsBack,
    ] {
        set(&w, answer);
        let unavailable = VaultError::RegistryUnavailable;
        assert_eq!(w.try_open(&w.terms(2)), Err(unavailable), "{answer:?}");
        assert_eq!(w.settle(&run), Err(unavailable), "{answer:?}");
        let granted = w.vault.try_grant_runner(&w.user, &other, &w.agent, &None);
        assert_eq!(flat(granted), Err(unavailable), "{answer:?}");
        let asked = w.vault.try_is_runner_authorized(&w.user, &w.runner, &w.agent);
        assert_eq!(flat(asked), Err(unavailable), "{answer:?}");
        let item = batch::settlement(&w, run.clone());
        let (heads, items) = batch::settlements(&w, &[item]);
        let codes = w.vault.finalize_runs(&w.runner, &u64::MAX, &heads, &items);
        assert_eq!(codes, vec![&w.env, unavailable as u32], "{answer:?}");
        assert_eq!(w.vault.account(&w.user), before, "{answer:?}");
    }
    w.vault.void_run(&run.0, &w.runner, &0, &u64::MAX);
    w.vault.withdraw(&w.user, &100_000_000);
}

#[test]
fn the_registrys_word_that_there_is_no_such_agent_is_the_vaults_own_code() {
    let (w, set) = world();
    set(&w, Answer::Code(2));
    assert_eq!(w.try_open(&w.terms(1)), Err(VaultError::AgentNotFound));
}

#[test]
fn a_registry_that_lies_takes_nothing() {
    let (w, set) = world();
    let before = w.vault.account(&w.user);
    for (answer, code) in [
        (Answer::NegativePrices, VaultError::InvalidAmount),
        (Answer::HugePrices, VaultError::InvalidAmount),
        (Answer::ListsNobody, VaultError::UnauthorizedRunner),
        (Answer::Version(0), VaultError::InvalidRateVersion),
        (Answer::Version(u32::MAX), VaultError::InvalidRateVersion),
    ] {
        set(&w, answer);
        assert_eq!(w.try_open(&w.terms(1)), Err(code), "{answer:?}");
        assert_eq!(w.vault.account(&w.user), before, "{answer:?}");
    }
}

#[test]
fn an_open_run_keeps_its_prices_whatever_the_registry_says_later() {
    let (w, set) = world();
    let (one, two) = (opened(&w, 1), opened(&w, 2));
    for (run, answer) in [(one, Answer::HugePrices), (two, Answer::NegativePrices)] {
        set(&w, answer);
        assert_eq!(w.settle(&run).unwrap().actual_charge, CHARGE);
    }
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
