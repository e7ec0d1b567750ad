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
fn fixture() -> (Fixture, impl Fn(&Fixture, Answer)) {
    let mut f = Fixture::new();
    let id = f.env.register(HostileRegistry, ());
    let arguments = (f.admin.clone(), id.clone(), f.token.address.clone());
    let vault = f.env.register(PrepaidVault, arguments);
    f.vault = PrepaidVaultClient::new(&f.env, &vault);
    let set = move |f: &Fixture, answer| {
        let hostile = HostileRegistryClient::new(&f.env, &id);
        hostile.set(&answer, &f.vault.address, &f.runner);
    };
    set(&f, Answer::Honest);
    (f.prepared(), set)
}

/// Opens a run under the hostile registry's honest answers.
fn opened(f: &Fixture, nonce: u8) -> (BytesN<32>, RunTerms) {
    let terms = f.terms(nonce);
    let pinned = RunTerms { developer: f.runner.clone(), ..f.pinned(&terms) };
    (f.try_open(&terms).unwrap(), pinned)
}

#[test]
fn a_registry_that_fails_says_nothing_about_the_runner() {
    let (f, set) = fixture();
    let run = opened(&f, 1);
    let other = Address::generate(&f.env);
    let before = f.vault.account(&f.user);
    for answer in [
        Answer::Traps,
        Answer::Code(1),
        Answer::Code(5),
        Answer::Code(15),
        Answer::Code(u32::MAX),
        Answer::Nonsense,
        Answer::CallsBack,
    ] {
        set(&f, answer);
        let unavailable = VaultError::RegistryUnavailable;
        assert_eq!(f.try_open(&f.terms(2)), Err(unavailable), "{answer:?}");
        assert_eq!(f.settle(&run), Err(unavailable), "{answer:?}");
        let granted = f.vault.try_grant_runner(&f.user, &other, &f.agent, &None);
        assert_eq!(flat(granted), Err(unavailable), "{answer:?}");
        let asked = f.vault.try_is_runner_authorized(&f.user, &f.runner, &f.agent);
        assert_eq!(flat(asked), Err(unavailable), "{answer:?}");
        let item = batch::settlement(&f, run.clone());
        let (heads, items) = batch::settlements(&f, &[item]);
        let codes = f.vault.finalize_runs(&f.runner, &u64::MAX, &heads, &items);
        assert_eq!(codes, vec![&f.env, unavailable as u32], "{answer:?}");
        assert_eq!(f.vault.account(&f.user), before, "{answer:?}");
    }
    f.vault.void_run(&run.0, &f.runner, &0, &u64::MAX);
    f.vault.withdraw(&f.user, &100_000_000);
}

#[test]
fn the_registrys_word_that_there_is_no_such_agent_is_the_vaults_own_code() {
    let (f, set) = fixture();
    set(&f, Answer::Code(2));
    assert_eq!(f.try_open(&f.terms(1)), Err(VaultError::AgentNotFound));
}

#[test]
fn a_registry_that_lies_takes_nothing() {
    let (f, set) = fixture();
    let before = f.vault.account(&f.user);
    for (answer, code) in [
        (Answer::NegativePrices, VaultError::InvalidAmount),
        (Answer::HugePrices, VaultError::InvalidAmount),
        (Answer::ListsNobody, VaultError::UnauthorizedRunner),
        (Answer::Version(0), VaultError::InvalidRateVersion),
        (Answer::Version(u32::MAX), VaultError::InvalidRateVersion),
    ] {
        set(&f, answer);
        assert_eq!(f.try_open(&f.terms(1)), Err(code), "{answer:?}");
        assert_eq!(f.vault.account(&f.user), before, "{answer:?}");
    }
}

#[test]
fn an_open_run_keeps_its_prices_whatever_the_registry_says_later() {
    let (f, set) = fixture();
    let (one, two) = (opened(&f, 1), opened(&f, 2));
    for (run, answer) in [(one, Answer::HugePrices), (two, Answer::NegativePrices)] {
        set(&f, answer);
        assert_eq!(f.settle(&run).unwrap().actual_charge, CHARGE);
    }
}

#[test]
fn a_registry_that_is_no_contract_is_unavailable() {
    let mut f = Fixture::new();
    let nobody = Address::generate(&f.env);
    let arguments = (f.admin.clone(), nobody, f.token.address.clone());
    let vault = f.env.register(PrepaidVault, arguments);
    f.vault = PrepaidVaultClient::new(&f.env, &vault);
    let granted = f.vault.try_grant_runner(&f.user, &f.runner, &f.agent, &None);
    assert_eq!(flat(granted), Err(VaultError::RegistryUnavailable));
    f.vault.deposit(&f.user, &5);
    f.vault.withdraw(&f.user, &5);
}
