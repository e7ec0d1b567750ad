//! The registry's functions: auth first, then existence, then the arguments, then the change and
//! its event.

mod admin;

use contract_administration as administration;
use soroban_sdk::{Address, BytesN, Env, String, Vec, contract, contractimpl};

use crate::admin::LAYOUT;
use crate::error::AgentRegistryError as Error;
use crate::event::{
    AgentRegistered, AttestersSet, MetadataSet, RateCardPublished, RunnerAdded, RunnerRemoved,
};
use crate::storage;
use crate::types::{
    AgentDetails, AgentRecord, MAX_ATTESTERS, MAX_RATE, MAX_RUNNERS, MAX_URI_BYTES, RateCard,
    RateCardInput, UsageMeterRates,
};

/// Agents, their prices, modules, runners and accepted attestation keys.
#[contract]
pub struct AgentRegistry;

#[contractimpl]
impl AgentRegistry {
    /// Sets the registry up. `admin` may hand administration over and replace the code; agents
    /// belong to their developers.
    pub fn __constructor(env: Env, admin: Address) {
        administration::initialize(&env, &admin, LAYOUT);
    }

    /// Registers an agent with its first rate card (version 1) and returns its id. Runners named
    /// twice count once.
    ///
    /// Signer: the developer. Errors: InvalidRunnerList, InvalidMetadataUri, InvalidRates,
    /// CounterExhausted. Events: agent,registered; rates,published.
    pub fn register_agent(
        env: Env,
        developer: Address,
        metadata_uri: Option<String>,
        runners: Vec<Address>,
        initial_rate_card: RateCardInput,
    ) -> Result<u32, Error> {
        developer.require_auth();
        let runners = distinct(&env, &runners);
        if runners.is_empty() || runners.len() > MAX_RUNNERS {
            return Err(Error::InvalidRunnerList);
        }
        check_uri(&metadata_uri)?;
        check_rates(&initial_rate_card.rates)?;
        let agent_id = storage::next_agent_id(&env);
        let next = agent_id.checked_add(1).ok_or(Error::CounterExhausted)?;

        storage::set_next_agent_id(&env, next);
        for runner in runners.iter() {
            storage::set_runner(&env, agent_id, &runner);
        }
        let record = AgentRecord {
            developer: developer.clone(),
            metadata_uri: metadata_uri.clone(),
            runners: runners.clone(),
            latest_rate_version: 1,
            attesters: Vec::new(&env),
        };
        storage::set_agent(&env, agent_id, &record);
        AgentRegistered { agent_id, developer, metadata_uri, runners }.publish(&env);
        publish(&env, agent_id, 1, initial_rate_card);
        Ok(agent_id)
    }

    /// Sets or removes the address of the agent's description.
    ///
    /// Signer: the developer. Errors: AgentNotFound, InvalidMetadataUri. Events: agent,metadata.
    pub fn set_metadata_uri(
        env: Env,
        agent_id: u32,
        metadata_uri: Option<String>,
    ) -> Result<(), Error> {
        let mut record = owned(&env, agent_id)?;
        check_uri(&metadata_uri)?;
        record.metadata_uri = metadata_uri.clone();
        storage::set_agent(&env, agent_id, &record);
        MetadataSet { agent_id, metadata_uri }.publish(&env);
        Ok(())
    }

    /// Lists a runner. A listed one stays listed, without an event.
    ///
    /// Signer: the developer. Errors: AgentNotFound, InvalidRunnerList. Events: agent,runner_added.
    pub fn add_runner(env: Env, agent_id: u32, runner: Address) -> Result<(), Error> {
        let mut record = owned(&env, agent_id)?;
        if record.runners.contains(&runner) {
            return Ok(());
        }
        if record.runners.len() >= MAX_RUNNERS {
            return Err(Error::InvalidRunnerList);
        }
        record.runners.push_back(runner.clone());
        storage::set_agent(&env, agent_id, &record);
        storage::set_runner(&env, agent_id, &runner);
        RunnerAdded { agent_id, runner }.publish(&env);
        Ok(())
    }

    /// Takes a runner off the list, the last one too: one whose key is lost must go at once.
    ///
    /// Signer: the developer. Errors: AgentNotFound, RunnerNotFound. Events: agent,runner_removed.
    pub fn remove_runner(env: Env, agent_id: u32, runner: Address) -> Result<(), Error> {
        let mut record = owned(&env, agent_id)?;
        let at = record.runners.first_index_of(&runner).ok_or(Error::RunnerNotFound)?;
        record.runners.remove(at);
        storage::set_agent(&env, agent_id, &record);
        storage::remove_runner(&env, agent_id, &runner);
        RunnerRemoved { agent_id, runner }.publish(&env);
        Ok(())
    }

    /// Adds a rate card and returns its version. Older cards stay readable; the vault opens runs
    /// under the latest and the previous one only (V5).
    ///
    /// Signer: the developer. Errors: AgentNotFound, InvalidRates, CounterExhausted. Events:
    /// rates,published.
    pub fn publish_rate_card(
        env: Env,
        agent_id: u32,
        rate_card: RateCardInput,
    ) -> Result<u32, Error> {
        let mut record = owned(&env, agent_id)?;
        check_rates(&rate_card.rates)?;
        let version = record.latest_rate_version.checked_add(1).ok_or(Error::CounterExhausted)?;
        record.latest_rate_version = version;
        storage::set_agent(&env, agent_id, &record);
        publish(&env, agent_id, version, rate_card);
        Ok(version)
    }

    /// Sets the Ed25519 keys whose execution statements and settlement signatures the developer
    /// accepts (V12, V16). Without any, the vault charges nothing for the agent's runs. Keys named
    /// twice count once.
    ///
    /// Signer: the developer. Errors: AgentNotFound, InvalidAttesters. Events: agent,attesters.
    pub fn set_attesters(env: Env, agent_id: u32, attesters: Vec<BytesN<32>>) -> Result<(), Error> {
        let mut record = owned(&env, agent_id)?;
        let mut keys = Vec::new(&env);
        for key in attesters.iter() {
            if !keys.contains(&key) {
                keys.push_back(key);
            }
        }
        if keys.len() > MAX_ATTESTERS {
            return Err(Error::InvalidAttesters);
        }
        record.attesters = keys.clone();
        storage::set_agent(&env, agent_id, &record);
        AttestersSet { agent_id, attesters: keys }.publish(&env);
        Ok(())
    }

    /// The agent's record and id.
    ///
    /// Signer: none. Errors: AgentNotFound.
    pub fn get_agent(env: Env, agent_id: u32) -> Result<AgentDetails, Error> {
        let record = existing(&env, agent_id)?;
        Ok(AgentDetails {
            agent_id,
            developer: record.developer,
            metadata_uri: record.metadata_uri,
            runners: record.runners,
            latest_rate_version: record.latest_rate_version,
            attesters: record.attesters,
        })
    }

    /// The rate card of a version.
    ///
    /// Signer: none. Errors: AgentNotFound, RateCardNotFound.
    pub fn get_rate_card(env: Env, agent_id: u32, version: u32) -> Result<RateCard, Error> {
        match storage::rate_card(&env, agent_id, version) {
            Some(card) => Ok(card),
            None => existing(&env, agent_id).and(Err(Error::RateCardNotFound)),
        }
    }

    /// The newest version of the agent's rate cards.
    ///
    /// Signer: none. Errors: AgentNotFound.
    pub fn latest_rate_version(env: Env, agent_id: u32) -> Result<u32, Error> {
        Ok(existing(&env, agent_id)?.latest_rate_version)
    }

    /// Whether the agent lists the runner. An unknown agent is an error, not `false`.
    ///
    /// Signer: none. Errors: AgentNotFound.
    pub fn is_runner(env: Env, agent_id: u32, runner: Address) -> Result<bool, Error> {
        if storage::lists_runner(&env, agent_id, &runner) {
            return Ok(true);
        }
        existing(&env, agent_id).and(Ok(false))
    }

    /// Who develops the agent.
    ///
    /// Signer: none. Errors: AgentNotFound.
    pub fn developer_of(env: Env, agent_id: u32) -> Result<Address, Error> {
        Ok(existing(&env, agent_id)?.developer)
    }
}

fn existing(env: &Env, agent_id: u32) -> Result<AgentRecord, Error> {
    storage::agent(env, agent_id).ok_or(Error::AgentNotFound)
}

/// The agent's record, once its developer has signed.
fn owned(env: &Env, agent_id: u32) -> Result<AgentRecord, Error> {
    let record = existing(env, agent_id)?;
    record.developer.require_auth();
    Ok(record)
}

fn publish(env: &Env, agent_id: u32, version: u32, card: RateCardInput) {
    let RateCardInput { rates, manifest_hash } = card;
    let stored = RateCard { rates: rates.clone(), manifest_hash: manifest_hash.clone() };
    storage::set_rate_card(env, agent_id, version, &stored);
    RateCardPublished { agent_id, version, rates, manifest_hash }.publish(env);
}

/// The addresses without repetition. Stops one above the limit: the caller refuses that.
fn distinct(env: &Env, addresses: &Vec<Address>) -> Vec<Address> {
    let mut kept = Vec::new(env);
    for address in addresses.iter() {
        if !kept.contains(&address) {
            kept.push_back(address);
        }
        if kept.len() > MAX_RUNNERS {
            break;
        }
    }
    kept
}

fn check_uri(uri: &Option<String>) -> Result<(), Error> {
    match uri {
        Some(uri) if uri.len() > MAX_URI_BYTES => Err(Error::InvalidMetadataUri),
        _ => Ok(()),
    }
}

fn check_rates(rates: &UsageMeterRates) -> Result<(), Error> {
    let all = [rates.llm_in, rates.llm_out, rates.http_calls, rates.runtime_ms];
    if all.iter().any(|rate| !(0..=MAX_RATE).contains(rate)) {
        return Err(Error::InvalidRates);
    }
    Ok(())
}
