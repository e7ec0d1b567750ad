//! The agent registry: who may run what, at which price, and whose statements count.

use serde::{Deserialize, Serialize};
use stellar_xdr::{LedgerKey, ScVal};
use wire::{Digest, Rates};

use crate::rpc::Entry;
use crate::scval::{self, Reader};
use crate::vault::{rates_from, rates_to};
use crate::{Address, ChainError, ContractKind, Invocation, Rpc};

/// A registry, by its contract id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registry(pub Address);

/// Prices and the module they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateCard {
    /// Stroops a unit, none negative.
    pub rates: Rates,
    /// Digest of the module's tree.
    pub manifest_hash: Digest,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Who may change it and is paid for its runs.
    pub developer: Address,
    /// Where its description is.
    pub metadata_uri: Option<String>,
    /// Who may open and settle its runs.
    pub runners: Vec<Address>,
    /// Newest rate card; versions count from 1.
    pub latest_rate_version: u32,
    /// Ed25519 keys whose execution statements its developer accepts (V12).
    pub attesters: Vec<[u8; 32]>,
}

impl Registry {
    /// Registers an agent with its first rate card. Answers its id, a `u32`. The developer signs.
    ///
    /// # Errors
    ///
    /// Only when a value does not fit its XDR form, as with every call here.
    pub fn register_agent(
        &self,
        developer: Address,
        metadata_uri: Option<&str>,
        runners: &[Address],
        card: &RateCard,
    ) -> Result<Invocation, ChainError> {
        let uri = scval::option(metadata_uri.map(scval::string).transpose()?);
        let runners = scval::vec(runners.iter().map(|runner| runner.to_val()).collect())?;
        Ok(self.call("register_agent", vec![developer.to_val(), uri, runners, card.to_val()?]))
    }

    /// Publishes prices and module. Answers the version, a `u32`. The developer signs.
    ///
    /// # Errors
    ///
    /// As [`Registry::register_agent`].
    pub fn publish_rate_card(
        &self,
        agent_id: u32,
        card: &RateCard,
    ) -> Result<Invocation, ChainError> {
        Ok(self.call("publish_rate_card", vec![ScVal::U32(agent_id), card.to_val()?]))
    }

    /// Lists a runner. The developer signs.
    pub fn add_runner(&self, agent_id: u32, runner: Address) -> Invocation {
        self.call("add_runner", vec![ScVal::U32(agent_id), runner.to_val()])
    }

    /// Delists a runner, at once (V6). The developer signs.
    pub fn remove_runner(&self, agent_id: u32, runner: Address) -> Invocation {
        self.call("remove_runner", vec![ScVal::U32(agent_id), runner.to_val()])
    }

    /// Names the keys whose execution statements count (V12). The developer signs.
    ///
    /// # Errors
    ///
    /// As [`Registry::register_agent`].
    pub fn set_attesters(
        &self,
        agent_id: u32,
        keys: &[[u8; 32]],
    ) -> Result<Invocation, ChainError> {
        let keys = keys.iter().map(|key| scval::bytes(key)).collect::<Result<_, _>>()?;
        Ok(self.call("set_attesters", vec![ScVal::U32(agent_id), scval::vec(keys)?]))
    }

    /// Moves the description. The developer signs.
    ///
    /// # Errors
    ///
    /// As [`Registry::register_agent`].
    pub fn set_metadata_uri(
        &self,
        agent_id: u32,
        uri: Option<&str>,
    ) -> Result<Invocation, ChainError> {
        let uri = scval::option(uri.map(scval::string).transpose()?);
        Ok(self.call("set_metadata_uri", vec![ScVal::U32(agent_id), uri]))
    }

    /// Whether the agent lists the runner; a bool.
    pub fn is_runner(&self, agent_id: u32, runner: Address) -> Invocation {
        self.call("is_runner", vec![ScVal::U32(agent_id), runner.to_val()])
    }

    /// The agent, from its entry; `None` when no agent has this id.
    ///
    /// # Errors
    ///
    /// [`ChainError::Rpc`], [`ChainError::Decode`].
    pub async fn read_agent(&self, rpc: &Rpc, agent_id: u32) -> Result<Option<Agent>, ChainError> {
        let key = self.key("Agent", vec![ScVal::U32(agent_id)])?;
        let found = rpc.entries(std::slice::from_ref(&key)).await?;
        found.get(&key).map(Agent::from_entry).transpose()
    }

    /// The agents with these ids (at most 200) as one ledger has them, with that ledger. Ids
    /// without an agent are left out.
    ///
    /// # Errors
    ///
    /// As [`Registry::read_agent`].
    pub async fn read_agents(
        &self,
        rpc: &Rpc,
        ids: std::ops::Range<u32>,
    ) -> Result<(u32, Vec<(u32, Agent)>), ChainError> {
        let keys = ids.clone().map(|id| self.key("Agent", vec![ScVal::U32(id)]));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let found = rpc.entries(&keys).await?;
        let mut agents = Vec::new();
        for (id, key) in ids.zip(&keys) {
            if let Some(entry) = found.get(key) {
                agents.push((id, Agent::from_entry(entry)?));
            }
        }
        Ok((found.ledger, agents))
    }

    /// Rate cards by agent and version (at most 200), in the order asked for.
    ///
    /// # Errors
    ///
    /// As [`Registry::read_agent`].
    pub async fn read_rate_cards(
        &self,
        rpc: &Rpc,
        cards: &[(u32, u32)],
    ) -> Result<Vec<Option<RateCard>>, ChainError> {
        let key = |(agent, version): &(u32, u32)| {
            self.key("RateCard", vec![ScVal::U32(*agent), ScVal::U32(*version)])
        };
        let keys = cards.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let found = rpc.entries(&keys).await?;
        keys.iter().map(|key| found.get(key).map(RateCard::from_entry).transpose()).collect()
    }

    /// A rate card, from its entry; `None` when the agent has none of this version.
    ///
    /// # Errors
    ///
    /// [`ChainError::Rpc`], [`ChainError::Decode`].
    pub async fn read_rate_card(
        &self,
        rpc: &Rpc,
        agent_id: u32,
        version: u32,
    ) -> Result<Option<RateCard>, ChainError> {
        let key = self.key("RateCard", vec![ScVal::U32(agent_id), ScVal::U32(version)])?;
        let found = rpc.entries(std::slice::from_ref(&key)).await?;
        found.get(&key).map(RateCard::from_entry).transpose()
    }

    fn key(&self, name: &str, payload: Vec<ScVal>) -> Result<LedgerKey, ChainError> {
        // All entries of the registry are persistent.
        Ok(crate::state::data_key(&self.0, scval::variant(name, payload)?, true))
    }

    fn call(&self, function: &'static str, args: Vec<ScVal>) -> Invocation {
        Invocation::new(ContractKind::Registry, self.0, function, args)
    }
}

impl RateCard {
    fn to_val(self) -> Result<ScVal, ChainError> {
        scval::map([
            ("rates", rates_to(&self.rates)?),
            ("manifest_hash", scval::bytes(self.manifest_hash.as_bytes())?),
        ])
    }

    fn from_entry(entry: &Entry) -> Result<Self, ChainError> {
        let card = Reader::new("rate card", crate::state::data_value("rate card", entry)?);
        Ok(Self {
            rates: rates_from(&card.field("rates")?)?,
            manifest_hash: card.field("manifest_hash")?.digest()?,
        })
    }
}

impl Agent {
    fn from_entry(entry: &Entry) -> Result<Self, ChainError> {
        let agent = Reader::new("agent", crate::state::data_value("agent", entry)?);
        let runners = agent.field("runners")?.items()?;
        let attesters = agent.field("attesters")?.items()?;
        let key = |item: &Reader<'_>| item.digest().map(|key| *key.as_bytes());
        Ok(Self {
            developer: agent.field("developer")?.address()?,
            metadata_uri: agent
                .field("metadata_uri")?
                .optional()
                .map(|uri| uri.string())
                .transpose()?,
            runners: runners.iter().map(Reader::address).collect::<Result<_, _>>()?,
            latest_rate_version: agent.field("latest_rate_version")?.u32()?,
            attesters: attesters.iter().map(key).collect::<Result<_, _>>()?,
        })
    }
}
