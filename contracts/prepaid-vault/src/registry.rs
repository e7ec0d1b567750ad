//! What the vault asks the agent registry. Whatever goes wrong there becomes one of the vault's own
//! codes: a registry that can't be read says nothing about agent or runner (V6).

use soroban_sdk::{Address, BytesN, Env, Error, InvokeError, Vec, contractclient, contracttype};

use crate::error::VaultError;
use crate::storage;
use crate::types::UsageMeterRates;

/// The registry's number for an agent it doesn't know.
const AGENT_NOT_FOUND: u32 = 2;

/// What the vault needs of an agent.
#[contracttype]
#[derive(Clone)]
pub(crate) struct Agent {
    pub developer: Address,
    pub runners: Vec<Address>,
    pub latest_rate_version: u32,
    pub attesters: Vec<BytesN<32>>,
    pub agent_id: u32,
    pub metadata_uri: Option<soroban_sdk::String>,
}

/// Prices and module of one version.
#[contracttype]
#[derive(Clone)]
pub(crate) struct RateCard {
    pub rates: UsageMeterRates,
    pub manifest_hash: BytesN<32>,
}

#[contractclient(name = "RegistryClient")]
#[expect(dead_code, reason = "only names the functions for the client made from it")]
trait Registry {
    fn get_agent(env: Env, agent_id: u32) -> Agent;
    fn get_rate_card(env: Env, agent_id: u32, version: u32) -> RateCard;
    fn is_runner(env: Env, agent_id: u32, runner: Address) -> bool;
}

pub(crate) fn agent(env: &Env, agent_id: u32) -> Result<Agent, VaultError> {
    answer(client(env)?.try_get_agent(&agent_id))
}

pub(crate) fn rate_card(env: &Env, agent_id: u32, version: u32) -> Result<RateCard, VaultError> {
    answer(client(env)?.try_get_rate_card(&agent_id, &version))
}

pub(crate) fn lists(env: &Env, agent_id: u32, runner: &Address) -> Result<bool, VaultError> {
    answer(client(env)?.try_is_runner(&agent_id, runner))
}

fn client(env: &Env) -> Result<RegistryClient<'_>, VaultError> {
    let config = storage::config(env).ok_or(VaultError::NotInitialized)?;
    Ok(RegistryClient::new(env, &config.registry))
}

fn answer<T, C>(reply: Result<Result<T, C>, Result<Error, InvokeError>>) -> Result<T, VaultError> {
    match reply {
        Ok(Ok(value)) => Ok(value),
        Err(Ok(error)) if error == Error::from_contract_error(AGENT_NOT_FOUND) => {
            Err(VaultError::AgentNotFound)
        }
        _ => Err(VaultError::RegistryUnavailable),
    }
}
