//! What the vault reads from the agent registry. Whatever goes wrong there becomes one of the
//! vault's own codes: a registry that cannot be read says nothing about agent or runner (V6).

use soroban_sdk::{Address, BytesN, Env, Error, InvokeError, Vec, contractclient, contracttype};

use crate::error::VaultError;
use crate::storage;
use crate::types::{Meters, UsageMeterRates};

/// The registry's number for an unknown agent.
const AGENT_NOT_FOUND: u32 = 2;
/// Answers remembered in one call: at least as many as a batch has items.
const REMEMBERED: usize = 25;

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

/// Prices and module of one version, as the registry answers them.
#[contracttype]
#[derive(Clone)]
pub(crate) struct Card {
    pub rates: UsageMeterRates,
    pub manifest_hash: BytesN<32>,
}

/// Prices within the bounds of V19, and the module.
#[derive(Clone)]
pub(crate) struct RateCard {
    pub rates: Meters,
    pub manifest_hash: BytesN<32>,
}

#[contractclient(name = "RegistryClient")]
#[expect(dead_code, reason = "only names the functions for the client made from it")]
trait Registry {
    fn get_agent(env: Env, agent_id: u32) -> Agent;
    fn get_rate_card(env: Env, agent_id: u32, version: u32) -> Card;
    fn is_runner(env: Env, agent_id: u32, runner: Address) -> bool;
}

/// The registry as one call of the vault sees it: each agent and each rate card is asked for once,
/// failures included, so that a batch is judged by one answer (V9).
pub(crate) struct Reader {
    env: Env,
    agents: Remembered<u32, Agent>,
    cards: Remembered<(u32, u32), RateCard>,
}

type Remembered<K, T> = [Option<(K, Result<T, VaultError>)>; REMEMBERED];

impl Reader {
    pub(crate) fn new(env: &Env) -> Self {
        Self { env: env.clone(), agents: [const { None }; _], cards: [const { None }; _] }
    }

    pub(crate) fn agent(&mut self, agent_id: u32) -> Result<Agent, VaultError> {
        let env = &self.env;
        once(&mut self.agents, agent_id, || answer(client(env)?.try_get_agent(&agent_id)))
    }

    pub(crate) fn rate_card(
        &mut self,
        agent_id: u32,
        version: u32,
    ) -> Result<RateCard, VaultError> {
        let env = &self.env;
        once(&mut self.cards, (agent_id, version), || {
            let Card { rates, manifest_hash } =
                answer(client(env)?.try_get_rate_card(&agent_id, &version))?;
            Ok(RateCard { rates: Meters::try_from(&rates)?, manifest_hash })
        })
    }

    /// Keeps the vault alive, and the registry if it answered in this call.
    pub(crate) fn keep_contracts(&self) {
        storage::keep_instance(&self.env);
        let answered = self.agents.iter().flatten().any(|(_, answer)| answer.is_ok());
        if let Some(registry) = storage::registry(&self.env).filter(|_| answered) {
            storage::keep_contract(&self.env, &registry);
        }
    }

    /// Whether the agent lists the runner now.
    pub(crate) fn lists(&mut self, agent_id: u32, runner: &Address) -> Result<bool, VaultError> {
        Ok(self.agent(agent_id)?.runners.contains(runner))
    }
}

/// Whether the agent lists the runner now, where nothing else of the agent is needed.
pub(crate) fn lists(env: &Env, agent_id: u32, runner: &Address) -> Result<bool, VaultError> {
    answer(client(env)?.try_is_runner(&agent_id, runner))
}

/// The remembered answer for this key, or a new one, which is remembered if there is room.
fn once<K: PartialEq, T: Clone>(
    remembered: &mut Remembered<K, T>,
    key: K,
    ask: impl FnOnce() -> Result<T, VaultError>,
) -> Result<T, VaultError> {
    for slot in remembered {
        match slot {
            Some((known, answer)) if *known == key => return answer.clone(),
            Some(_) => {}
            None => {
                let (_, answer) = slot.insert((key, ask()));
                return answer.clone();
            }
        }
    }
    ask()
}

fn client(env: &Env) -> Result<RegistryClient<'_>, VaultError> {
    let registry = storage::registry(env).ok_or(VaultError::NotInitialized)?;
    Ok(RegistryClient::new(env, &registry))
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
