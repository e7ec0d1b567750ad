//! What is read of vault and registry. State has no retention window, so it can always tell.

use stellar::ChainError;
use stellar::registry::Registry;
use stellar::vault::{Lifecycle, RunRecord, Vault};
use wire::Digest;

use crate::chain::calls::address;
use crate::chain::decide::Record;
use crate::chain::engine::TransactionIntent;
use crate::chain::ledger::ChainClient;
use crate::chain::store;
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};
use crate::runs::preflight::{Agent, Facts, Policy};

impl ChainClient {
    /// Everything that decides whether a run of this user can be opened now.
    ///
    /// # Errors
    ///
    /// When the node does not answer, or is behind.
    pub async fn facts(&self, user: &str, agent_id: u32, version: Option<u32>) -> Result<Facts> {
        let now = self.now().await?.latest_close;
        let (vault, user) = (Vault(self.vault), address(user)?);
        let agent = self.agent(agent_id, version).await?;
        let runner = self.runner.address();
        let listed = match &agent {
            Some(agent) => agent.runners.contains(&runner.to_string()),
            None => false,
        };
        let grants = vault.grants_now(&self.rpc, user).await?;
        let grant = grants.iter().find(|it| it.runner == runner && it.agent_id == agent_id);
        let account = vault.account_now(&self.rpc, user).await?;
        let rules = vault.read_open_rules(&self.rpc, user, runner, agent_id).await?;
        Ok(Facts {
            agent,
            runner_listed: listed,
            grant: grant.map(|it| it.expires_at),
            grant_used: grant.map_or(0, |it| it.used),
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
        let registry = Registry(self.registry);
        let Some(agent) = registry.read_agent(&self.rpc, agent_id).await? else { return Ok(None) };
        let version = version.unwrap_or(agent.latest_rate_version);
        let card = registry.read_rate_card(&self.rpc, agent_id, version).await?;
        Ok(Some(Agent {
            developer: agent.developer.to_string(),
            runners: agent.runners.iter().map(ToString::to_string).collect(),
            latest_rate_version: agent.latest_rate_version,
            card: card.map(|it| (it.rates, it.manifest_hash)),
            attesters: agent.attesters.into_iter().map(Digest::from).collect(),
        }))
    }

    /// The vault's record of a run and the ledger it was read at, from a node that is not behind.
    ///
    /// # Errors
    ///
    /// When the node does not answer, or is behind.
    pub async fn record(&self, vault_run_id: Digest) -> Result<(Option<RunRecord>, u32)> {
        let state = Vault(self.vault).read_run(&self.rpc, &vault_run_id).await?;
        let known = store::high_water(&self.db, *self.network.id()).await?;
        if let Some(known) = known
            && state.ledger < known.ledger
        {
            return Err(Error::Chain(ChainError::Invalid(format!(
                "the node is behind: it read the vault at ledger {}, {} was seen before",
                state.ledger, known.ledger
            ))));
        }
        Ok((state.record.map(|(record, _)| record), state.ledger))
    }

    /// Whether the vault's record shows what the purpose wants, and the ledger it was read at.
    ///
    /// # Errors
    ///
    /// As [`ChainClient::record`].
    pub(super) async fn effect(&self, purpose: &TransactionIntent<'_>) -> Result<(Record, u32)> {
        let (record, ledger) = self.record(purpose.vault_run_id).await?;
        let Some(record) = record else { return Ok((Record::Absent, ledger)) };
        let shows = match purpose.kind {
            Kind::Open => true,
            Kind::Finalize => matches!(record.lifecycle, Lifecycle::Finalized { .. }),
            Kind::Void => matches!(record.lifecycle, Lifecycle::Voided(_)),
            Kind::Reclaim => record.lifecycle == Lifecycle::Reclaimed,
        };
        Ok((if shows { Record::Shows } else { Record::Lacks }, ledger))
    }
}
