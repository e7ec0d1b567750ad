//! What the chain says of a run's chances, read for [`preflight`](super::preflight).
//!
//! Each run's are read by its own step, which fails it before anything is paid. What a batch needs
//! is not read from them: its simulation reads everything anew, for all of its calls at one ledger.

use stellar::registry::Registry;
use stellar::vault::{Grant, Vault};
use stellar::{Address, Rpc};
use wire::PublicKey;

use crate::chain::client::ChainClient;
use crate::error::Result;
use crate::runs::preflight::{Agent, Facts, Policy};

/// Where the facts are read.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The node.
    pub rpc: &'a Rpc,
    /// The vault.
    pub vault: Vault,
    /// The agent registry.
    pub registry: Registry,
    /// The runner whose chances these are.
    pub runner: Address,
}

impl ChainClient {
    /// Where this client reads.
    fn source(&self) -> Source<'_> {
        let (rpc, runner) = (&self.rpc, self.runner.address());
        Source { rpc, vault: Vault(self.vault), registry: Registry(self.registry), runner }
    }
}

/// Everything that decides whether a run of this user can be opened now.
///
/// # Errors
///
/// When the node does not answer, or is behind.
pub async fn read(
    chain: &ChainClient,
    user: Address,
    agent_id: u32,
    version: Option<u32>,
) -> Result<Facts> {
    let now = chain.now().await?.latest_close;
    chain.source().read(user, agent_id, version, now).await
}

/// The agent with its rate card of this version, or its latest; `None` if there is no such
/// agent.
///
/// # Errors
///
/// When the node does not answer.
pub async fn agent(
    chain: &ChainClient,
    agent_id: u32,
    version: Option<u32>,
) -> Result<Option<Agent>> {
    chain.source().agent(agent_id, version).await
}

impl Source<'_> {
    /// The facts at ledger time `now`.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub async fn read(
        &self,
        user: Address,
        agent_id: u32,
        version: Option<u32>,
        now: u64,
    ) -> Result<Facts> {
        let Self { rpc, vault, runner, .. } = *self;
        // At one time: a node is far away, and every run in the queue is looked at.
        let (agent, grants, account, rules) = tokio::try_join!(
            self.agent(agent_id, version),
            async { Ok(vault.grants_now(rpc, user).await?) },
            async { Ok(vault.account_now(rpc, user).await?) },
            async { Ok(vault.read_open_rules(rpc, user, runner, agent_id).await?) },
        )?;
        let listed = match &agent {
            Some(agent) => agent.runners.contains(&runner),
            None => false,
        };
        let ours = |grant: &&Grant| grant.runner == runner && grant.agent_id == agent_id;
        let grant = grants.iter().find(ours);
        let lives = |grant: &&Grant| {
            grant.agent_id == agent_id && grant.expires_at.is_none_or(|expires_at| expires_at > now)
        };
        let granted = grants.iter().filter(lives).map(|grant| grant.runner);
        let is_listed =
            |runner: &Address| agent.as_ref().is_some_and(|agent| agent.runners.contains(runner));
        let others = granted.filter(|other| *other != runner && is_listed(other)).collect();
        Ok(Facts {
            others,
            agent,
            runner_listed: listed,
            grant: grant.map(|grant| grant.expires_at),
            grant_used: grant.map_or(0, |grant| grant.used),
            limits: rules.limits.unwrap_or_default(),
            opens_paused: rules.is_paused,
            balance: account.balance,
            policy: Policy {
                per_run_cap: account.policy.per_run_cap,
                daily_cap: account.policy.daily_cap,
                paused: account.policy.paused,
                used_today: account.spent.saturating_add(account.reserved),
            },
            now,
        })
    }

    /// The agent with its rate card of this version, or its latest; `None` if there is no such
    /// agent.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub async fn agent(&self, agent_id: u32, version: Option<u32>) -> Result<Option<Agent>> {
        let Self { rpc, registry, .. } = *self;
        let Some(agent) = registry.read_agent(rpc, agent_id).await? else { return Ok(None) };
        let version = version.unwrap_or(agent.latest_rate_version);
        let card = registry.read_rate_card(rpc, agent_id, version).await?;
        Ok(Some(Agent {
            developer: agent.developer,
            runners: agent.runners,
            latest_rate_version: agent.latest_rate_version,
            card: card.map(|card| (card.rates, card.manifest_hash)),
            attesters: agent.attesters.into_iter().map(PublicKey::from).collect(),
        }))
    }
}
