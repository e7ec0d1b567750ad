//! What is on offer and at which price, read from the chain when it is asked for: agents with their
//! rates, module, verdict and attesters; a user's grants; the highest price of a run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use serde::Serialize;
use stellar::registry::{Agent, RateCard, Registry};
use stellar::vault::{Grant, GrantLimits, Vault};
use stellar::{Address, Rpc};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use wire::statement::{Shipping, ShippingStatement, Verdict};
use wire::view::Meters;
use wire::{Digest, Problem, PublicKey, Rates, dsse};

use crate::error::{Error, Result};
use crate::gates::{Gates, Schema};
use crate::gateway::create_request::QuoteRequest;
use crate::model::policy::WorthLimits;
use crate::model::settlement::Failure;
use crate::runs::facts::Source;
use crate::runs::{preflight, verdict, worth};
use crate::view::rfc3339;

/// Agents on a page, when the caller names no number and at most.
pub const MOST_AGENTS: u32 = 100;
/// How long the chain may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where offers are read.
#[derive(Debug)]
pub struct Market {
    /// The node.
    pub rpc: Rpc,
    /// The vault.
    pub vault: Vault,
    /// The agent registry.
    pub registry: Registry,
    /// This runner.
    pub runner: Address,
    /// What it asks for a run, in stroops.
    pub fee: i128,
    /// What a run has to come to.
    pub worth: WorthLimits,
    /// Whose statements it accepts, if it is configured with any.
    pub attestation_keys: Vec<VerifyingKey>,
    /// For verdicts.
    pub gates: Option<Gates>,
    /// The vault's token, once it was read: it never changes (V2).
    pub token: OnceCell<String>,
    /// Modules of agents by their rate version, as read a moment ago.
    pub modules: Modules,
}

/// Which module an agent's rate card names, and when it was read. New runs are many, and a card
/// that was published a moment ago may well be found a moment later.
type Modules = Mutex<HashMap<(u32, Option<u32>), (Instant, Option<Digest>)>>;

/// How long an agent's newest rate card is taken for its newest.
const FRESH: Duration = Duration::from_secs(5);
/// Agents that are kept, at most.
const MOST_KEPT: usize = 1_024;

/// Stroops a unit of each meter, as decimal strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as in wire::Rates")]
pub struct RatesView {
    pub llm_in: String,
    pub llm_out: String,
    pub http_calls: String,
    pub runtime_ms: String,
}

/// A rate card: prices and the module that they are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateCardView {
    /// Its version.
    pub version: u32,
    /// Its prices.
    pub rates: RatesView,
    /// Digest of the module's tree.
    pub manifest_hash: Digest,
}

/// An agent, as the registry has it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    /// Its number.
    pub agent_id: u32,
    /// Who may change it and is paid for its runs.
    pub developer: String,
    /// Where its description is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata_uri: Option<String>,
    /// Who may open and settle its runs.
    pub runners: Vec<String>,
    /// Whether this runner is one of them.
    pub lists_this_runner: bool,
    /// The newest rate card; that one and the one before can be opened (V5).
    pub latest_rate_version: u32,
    /// Prices of the newest card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<RatesView>,
    /// Module of the newest card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_hash: Option<Digest>,
    /// Ed25519 keys whose statements its developer accepts, in hex (V12).
    pub attesters: Vec<PublicKey>,
}

/// An agent with what was found out about its module.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentDetails {
    /// The agent.
    #[serde(flatten)]
    pub agent: AgentView,
    /// The rate cards that can be opened, the newest first.
    pub rate_cards: Vec<RateCardView>,
    /// module-gate's newest verdict on the module of the newest card; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictView>,
    /// What the module of the newest card expects of its input: a JSON Schema (2020-12). Absent if
    /// the module does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub input_schema: Option<serde_json::Value>,
}

/// A signed verdict on a module.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerdictView {
    /// `PASS`, `FAIL` or `INCONCLUSIVE`.
    #[schema(value_type = String)]
    pub verdict: Verdict,
    /// Whether a run of this agent may be opened on it: a pass in mode shipping under the full
    /// guard, about this module, signed by a key that the agent names and this runner accepts.
    pub accepted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The module.
    pub module_digest: Digest,
    /// Its name for itself.
    pub module_id: String,
    /// Its version of itself.
    pub module_version: String,
    /// Why it is no pass, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it is no pass, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How much of the guard the kernel allowed: `full` or `degraded`.
    pub guard_tier: String,
    /// Oracle cases.
    pub oracle: OracleView,
    /// Tests of the module.
    pub tests: TestsView,
    /// What it did beside computing.
    pub side_effects: EffectsView,
    /// When the verdict was reached (RFC 3339).
    pub issued_at: String,
}

/// Oracle cases of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OracleView {
    /// In its specifications.
    pub cases: u32,
    /// Attempts over all cases.
    pub attempts: u32,
    /// Those whose attempts were all equal and right.
    pub passed: u32,
}

/// Tests of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestsView {
    /// In its manifest.
    pub total: u32,
    /// Those that passed.
    pub passed: u32,
    /// Those that do not apply.
    pub skipped: u32,
}

/// What a module did beside computing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectsView {
    /// What its manifest declares, such as `FS:write`.
    pub declared: Vec<String>,
    /// What the kernel saw, by category.
    pub observed: Vec<ObservedView>,
    /// How many operations were refused.
    pub denied_count: u64,
}

/// How often one category of effect was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedView {
    /// Such as `FS:write`.
    pub category: String,
    /// Operations.
    pub count: u64,
}

/// A runner's right to open runs for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantView {
    /// Who may open runs.
    pub runner: String,
    /// Whether that is this runner.
    pub is_this_runner: bool,
    /// For which agent.
    pub agent_id: u32,
    /// When it was granted (RFC 3339).
    pub issued_at: String,
    /// From when it is dead (RFC 3339); absent is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Stroops that runs under it were charged or still reserve.
    pub used: String,
    /// What it allows beyond the user's own caps; absent if no limits were set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsView>,
}

/// Limits of a grant, in stroops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitsView {
    /// Most that one run may escrow, the fee included; 0 is no cap.
    pub per_run_cap: String,
    /// Most that all runs under the grant may be charged and reserve; 0 is no cap.
    pub total_cap: String,
    /// Highest flat fee of a run; 0 is no fee.
    pub max_runner_fee: String,
}

/// The highest price of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuoteView {
    /// The agent.
    pub agent_id: u32,
    /// The rate card that would hold.
    pub rate_version: u32,
    /// Its prices.
    pub rates: RatesView,
    /// Its module.
    pub manifest_hash: Digest,
    /// Who would be paid.
    pub developer: String,
    /// The most units that the run may use.
    pub budgets: Meters,
    /// Most stroops that the developer may get: rates × budgets.
    pub max_charge: String,
    /// Stroops that this runner asks.
    pub runner_fee: String,
    /// Stroops that are taken when the run is opened; what is not used comes back.
    pub escrow: String,
    /// Why the run of the user who was named could not be opened now; absent if it could.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RefusalView>,
}

/// Why a run could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusalView {
    /// A code of the failures that a run may end with.
    pub code: String,
    /// The reason in words.
    pub reason: String,
}

impl Market {
    const fn source(&self) -> Source<'_> {
        let Self { vault, registry, runner, .. } = *self;
        Source { rpc: &self.rpc, vault, registry, runner }
    }

    /// The contract of the vault's token; `None` while the node does not answer.
    pub async fn token(&self) -> Option<&str> {
        let read = self.token.get_or_try_init(|| async {
            let config =
                within(PATIENCE, async { Ok(self.vault.read_config(&self.rpc).await?) }).await?;
            let config = config.ok_or_else(|| Error::Broken("there is no vault".to_owned()))?;
            Ok::<_, Error>(config.token.to_string())
        });
        read.await.ok().map(String::as_str)
    }

    /// Agents after the number `after`, and whether there may be more.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub async fn agents(&self, after: u32, limit: u32) -> Result<(Vec<AgentView>, bool)> {
        let first = after.saturating_add(1);
        // One more than is shown says whether there is a next page. Numbers have no gaps.
        let ids = first..first.saturating_add(limit).saturating_add(1);
        let read = async {
            let (_, mut agents) = self.registry.read_agents(&self.rpc, ids).await?;
            let more = agents.len() > usize::try_from(limit).unwrap_or(usize::MAX);
            agents.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            let newest = agents.iter().map(|(id, agent)| (*id, agent.latest_rate_version));
            let newest: Vec<_> = newest.collect();
            let cards = match newest.is_empty() {
                true => Vec::new(),
                false => self.registry.read_rate_cards(&self.rpc, &newest).await?,
            };
            let agents = agents.iter().zip(cards);
            let views = agents.map(|((id, agent), card)| self.agent_view(*id, agent, card));
            Ok((views.collect(), more))
        };
        within(PATIENCE, read).await
    }

    /// One agent, with its module's verdict.
    ///
    /// # Errors
    ///
    /// [`Problem::NotFound`], and when the node or module-gate does not answer.
    pub async fn agent(&self, id: u32) -> Result<AgentDetails> {
        let (agent, cards) = within(PATIENCE, async {
            let agent = self.registry.read_agent(&self.rpc, id).await?;
            let agent = agent.ok_or_else(|| no_agent(id))?;
            // Only these can be opened (V5).
            let latest = agent.latest_rate_version;
            let versions = (latest.saturating_sub(1).max(1)..=latest).rev();
            let versions: Vec<_> = versions.map(|version| (id, version)).collect();
            let cards = self.registry.read_rate_cards(&self.rpc, &versions).await?;
            let cards = versions.into_iter().zip(cards);
            let cards = cards.filter_map(|((_, version), card)| Some((version, card?)));
            Ok((agent, cards.collect::<Vec<_>>()))
        })
        .await?;
        let newest = cards.iter().find(|(version, _)| *version == agent.latest_rate_version);
        let newest = newest.map(|(_, card)| *card);
        let attesters: Vec<PublicKey> =
            agent.attesters.iter().copied().map(PublicKey::from).collect();
        let (verdict, schema) = match newest {
            Some(card) => (
                self.verdict(card.manifest_hash, Some((id, &attesters))).await?,
                // What this release cannot compile is no form; a run of it is refused with its reason.
                match self.schema_of(card.manifest_hash).await {
                    Err(Error::SchemaUnusable(_)) => None,
                    found => found?,
                },
            ),
            None => (None, None),
        };
        let rate_cards = cards.iter().map(|(version, card)| RateCardView {
            version: *version,
            rates: rates(&card.rates),
            manifest_hash: card.manifest_hash,
        });
        Ok(AgentDetails {
            agent: self.agent_view(id, &agent, newest),
            rate_cards: rate_cards.collect(),
            verdict,
            input_schema: schema.map(|schema| schema.text().clone()),
        })
    }

    /// The same as [`Self::input_schema`], if it is known without asking anybody.
    pub fn known_input_schema(&self, agent: u32, version: Option<u32>) -> Option<Schema> {
        let Some(gates) = &self.gates else { return Some(None) };
        match self.kept_module(agent, version)? {
            Some(module) => gates.kept_input_schema(module),
            None => Some(None),
        }
    }

    /// What the module of an agent's rate card expects of its input; nothing where there is no such
    /// agent or card, which the preflight says.
    ///
    /// # Errors
    ///
    /// When the node or module-gate does not answer.
    pub async fn input_schema(&self, agent: u32, version: Option<u32>) -> Result<Schema> {
        if self.gates.is_none() {
            return Ok(None);
        }
        let module = match self.kept_module(agent, version) {
            Some(module) => module,
            None => {
                let found = within(PATIENCE, self.source().agent(agent, version)).await?;
                let module = found.and_then(|agent| agent.card).map(|(_, module)| module);
                self.keep_module(agent, version, module);
                module
            }
        };
        match module {
            Some(module) => self.schema_of(module).await,
            None => Ok(None),
        }
    }

    fn kept_module(&self, agent: u32, version: Option<u32>) -> Option<Option<Digest>> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, module) = *modules.get(&(agent, version))?;
        (read.elapsed() < FRESH).then_some(module)
    }

    fn keep_module(&self, agent: u32, version: Option<u32>, module: Option<Digest>) {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        // The bound matters, and not which of them stay.
        if modules.len() >= MOST_KEPT {
            modules.clear();
        }
        modules.insert((agent, version), (Instant::now(), module));
    }

    async fn schema_of(&self, module: Digest) -> Result<Schema> {
        match &self.gates {
            Some(gates) => gates.input_schema(module).await,
            None => Ok(None),
        }
    }

    /// module-gate's newest verdict on a module, for an agent and the keys that it names; without
    /// them, whether a run may be opened on it is not known and the answer is no.
    ///
    /// # Errors
    ///
    /// When module-gate does not answer.
    pub async fn verdict(
        &self,
        module: Digest,
        agent: Option<(u32, &[PublicKey])>,
    ) -> Result<Option<VerdictView>> {
        let Some(gates) = &self.gates else { return Ok(None) };
        let (agent, attesters) = agent.unzip();
        let attesters = attesters.unwrap_or_default();
        let keys = verdict::accepted_keys(attesters, &self.attestation_keys);
        let found = match gates.verdict(module, &keys, agent).await {
            Ok(found) => found,
            Err(Error::Gate {
                problem: Some(Problem::VerdictMissing | Problem::ModuleUnknown),
                ..
            }) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let refusal = verdict::before_opening(&found, &keys, module).err();
        Ok(Some(verdict_view(&found.statement, refusal)?))
    }

    /// The user's live grants.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub async fn grants(&self, user: &str) -> Result<Vec<GrantView>> {
        let user: Address = user
            .parse()
            .map_err(|_| Error::refused(Problem::InvalidRequest, "expected G… or C…"))?;
        within(PATIENCE, async {
            let grants = self.vault.grants_now(&self.rpc, user).await?;
            let mut views = Vec::with_capacity(grants.len());
            for grant in grants {
                let (runner, agent) = (grant.runner, grant.agent_id);
                let limits = self.vault.limits_now(&self.rpc, user, runner, agent).await?;
                views.push(self.grant_view(&grant, limits));
            }
            Ok(views)
        })
        .await
    }

    /// The highest price of a run, by the arithmetic of the preflight; with a user, also whether it
    /// could be opened now.
    ///
    /// # Errors
    ///
    /// [`Problem::NotFound`] for no such agent, [`Problem::InvalidRequest`] for what has no price,
    /// and when the node does not answer.
    pub async fn quote(&self, request: &QuoteRequest) -> Result<QuoteView> {
        let QuoteRequest { user, agent_id, rate_version, budgets } = request;
        let (agent, facts) = within(PATIENCE, async {
            let Some(user) = user else {
                return Ok((self.source().agent(*agent_id, *rate_version).await?, None));
            };
            let now = self.rpc.clock().await?.latest_close;
            let facts = self.source().read(*user, *agent_id, *rate_version, now).await?;
            Ok((facts.agent.clone(), Some(facts)))
        })
        .await?;
        let agent = agent.ok_or_else(|| no_agent(*agent_id))?;

        let no_price = |member: &str, failure: Failure| {
            let issue = wire::problem::Issue::new(vec![member.to_owned()], failure.reason);
            let (problem, detail) = (Problem::InvalidRequest, "this has no price".to_owned());
            Error::Refused { problem, detail, issues: vec![issue] }
        };
        let version = preflight::rate_version(&agent, *rate_version)
            .map_err(|failure| no_price("rateVersion", failure))?;
        let (card, manifest_hash) = agent.card.ok_or_else(|| {
            let text = format!("agent {agent_id} has no rate card {version}");
            no_price("rateVersion", Failure::new("", text))
        })?;
        let charge =
            preflight::price(&card, budgets).map_err(|failure| no_price("budgets", failure))?;
        let escrow = preflight::escrow(charge, self.fee);
        let escrow = escrow.map_err(|failure| no_price("budgets", failure))?;

        let refusal = facts.and_then(|facts| {
            let judged = preflight::judge(&facts, *rate_version, budgets, self.fee);
            judged.and_then(|pinned| worth::enough(&pinned, self.fee, &self.worth)).err()
        });
        Ok(QuoteView {
            agent_id: *agent_id,
            rate_version: version,
            rates: rates(&card),
            manifest_hash,
            developer: agent.developer.to_string(),
            budgets: (*budgets).into(),
            max_charge: charge.to_string(),
            runner_fee: self.fee.to_string(),
            escrow: escrow.to_string(),
            refusal: refusal.map(|Failure { code, reason, .. }| RefusalView { code, reason }),
        })
    }

    fn agent_view(&self, id: u32, agent: &Agent, card: Option<RateCard>) -> AgentView {
        AgentView {
            agent_id: id,
            developer: agent.developer.to_string(),
            metadata_uri: agent.metadata_uri.clone(),
            runners: agent.runners.iter().map(ToString::to_string).collect(),
            lists_this_runner: agent.runners.contains(&self.runner),
            latest_rate_version: agent.latest_rate_version,
            rates: card.map(|card| rates(&card.rates)),
            manifest_hash: card.map(|card| card.manifest_hash),
            attesters: agent.attesters.iter().copied().map(PublicKey::from).collect(),
        }
    }

    fn grant_view(&self, grant: &Grant, limits: Option<GrantLimits>) -> GrantView {
        GrantView {
            runner: grant.runner.to_string(),
            is_this_runner: grant.runner == self.runner,
            agent_id: grant.agent_id,
            issued_at: at(grant.issued_at),
            expires_at: grant.expires_at.map(at),
            used: grant.used.to_string(),
            limits: limits.map(|limits| LimitsView {
                per_run_cap: limits.per_run_cap.to_string(),
                total_cap: limits.total_cap.to_string(),
                max_runner_fee: limits.max_runner_fee.to_string(),
            }),
        }
    }
}

/// A signed verdict as it is shown. `refusal` says why it does not count, if it does not.
///
/// # Errors
///
/// When it is no verdict.
pub fn verdict_view(envelope: &[u8], refusal: Option<Failure>) -> Result<VerdictView> {
    let broken = |error: &dyn std::fmt::Display| Error::Broken(format!("a verdict: {error}"));
    let envelope = dsse::Envelope::parse(envelope).map_err(|error| broken(&error))?;
    let payload = envelope.unverified().ok_or_else(|| broken(&"its payload is no base64"))?;
    let statement = ShippingStatement::parse(&payload).map_err(|error| broken(&error))?;
    let shipping: Shipping = statement.into_predicate();
    let observed = shipping.side_effects.observed.into_iter();
    let observed = observed.map(|seen| ObservedView { category: seen.category, count: seen.count });
    Ok(VerdictView {
        verdict: shipping.verdict,
        accepted: refusal.is_none(),
        refusal: refusal.map(|failure| failure.reason),
        module_digest: shipping.module_digest,
        module_id: shipping.module_id,
        module_version: shipping.module_version,
        code: shipping.code.map(|code| code.as_str().to_owned()),
        reason: shipping.reason,
        guard_tier: match shipping.guard.tier {
            wire::statement::GuardTier::Full => "full".to_owned(),
            wire::statement::GuardTier::Degraded => "degraded".to_owned(),
        },
        oracle: OracleView {
            cases: shipping.oracle.cases,
            attempts: shipping.oracle.attempts,
            passed: shipping.oracle.passed,
        },
        tests: TestsView {
            total: shipping.tests.total,
            passed: shipping.tests.passed,
            skipped: shipping.tests.skipped,
        },
        side_effects: EffectsView {
            declared: shipping.side_effects.declared,
            observed: observed.collect(),
            denied_count: shipping.side_effects.denied_count,
        },
        issued_at: rfc3339(shipping.issued_at),
    })
}

fn rates(rates: &Rates) -> RatesView {
    RatesView {
        llm_in: rates.llm_in.to_string(),
        llm_out: rates.llm_out.to_string(),
        http_calls: rates.http_calls.to_string(),
        runtime_ms: rates.runtime_ms.to_string(),
    }
}

/// Unix seconds as every answer spells a time. What lies beyond its years never comes.
fn at(seconds: u64) -> String {
    let read = i64::try_from(seconds).ok();
    let read = read.and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    read.map_or_else(|| "9999-12-31T23:59:59.000Z".to_owned(), rfc3339)
}

fn no_agent(id: u32) -> Error {
    Error::refused(Problem::NotFound, format!("the registry has no agent {id}"))
}

/// The chain has its time: a node that is silent must not hold the caller's connection.
pub(super) async fn within<T>(
    patience: Duration,
    read: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(patience, read).await.unwrap_or_else(|_| {
        let text = "the network did not answer in time; try again";
        Err(Error::refused(Problem::Unavailable, text))
    })
}
