//! What the chain says about a run, read from the verifier's own RPC.

use serde::{Deserialize, Serialize};
use stellar::registry::{RateCard, Registry};
use stellar::rpc::{Applied, Outcome};
use stellar::vault::{self, RunFinalized, RunOpened, RunRecord, Vault};
use stellar::{Address, ChainError, Network, Rpc};
use wire::Digest;

use crate::failure::{Failure, Result};

/// Name of the document in an exported bundle.
pub const FILE: &str = "chain/facts.json";

/// The verifier's own configuration: never what a gateway or bundle says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The network.
    pub network: Network,
    /// The vault.
    pub vault: Vault,
    /// The registry.
    pub registry: Registry,
}

/// What the chain says about one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainFacts {
    /// Passphrase of the network that was read.
    pub network: String,
    /// The vault that was read.
    pub vault: Address,
    /// The registry that the vault is bound to; `None` when there is no such vault.
    pub registry: Option<Address>,
    /// The ledger that was read.
    pub ledger: u32,
    /// When it closed, Unix seconds.
    pub ledger_time: u64,
    /// The run's id on chain that was looked for.
    pub run_id: Digest,
    /// The run's record, while it lives.
    pub record: Option<RunRecord>,
    /// The opened event, while the node keeps it.
    pub opened: Option<RunOpened>,
    /// The finalized event, while the node keeps it.
    pub finalized: Option<RunFinalized>,
    /// The rate card that the run was opened under.
    pub rate_card: Option<RateCard>,
    /// The account's receipts now.
    pub account: Option<Receipts>,
}

/// How far an account's receipts have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipts {
    /// How many.
    pub count: u64,
    /// The running hash over them.
    pub hash: Digest,
}

/// Where to look first. Hints come from the gateway and are no facts: what they lead to is checked
/// to be this run's, and when they lead to nothing everything is searched.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// Hash of the transaction that opened the run.
    pub open: Option<Digest>,
    /// Hash of the transaction that settled it.
    pub finalize: Option<Digest>,
}

/// Reads all there is to know about `run_id`.
///
/// # Errors
///
/// [`Failure::Unknown`] when the RPC does not answer, [`Failure::Usage`] when it is on another
/// network.
pub async fn gather(rpc: &Rpc, own: &Own, run_id: &Digest, hints: &Hints) -> Result<ChainFacts> {
    rpc.require_network(&own.network).await?;
    let clock = rpc.clock().await?;
    let mut facts = ChainFacts {
        network: own.network.passphrase().to_owned(),
        vault: own.vault.0,
        registry: own.vault.read_config(rpc).await?.map(|config| config.registry),
        ledger: clock.latest_ledger,
        ledger_time: clock.latest_close,
        run_id: *run_id,
        record: None,
        opened: None,
        finalized: None,
        rate_card: None,
        account: None,
    };
    if facts.registry.is_none() {
        return Ok(facts);
    }
    facts.record = own.vault.read_run(rpc, run_id).await?.record.map(|(record, _)| record);
    facts.opened = match applied(rpc, hints.open).await? {
        Some(applied) => vault::opened(&applied, &own.vault, run_id)?,
        None => None,
    };
    facts.finalized = match applied(rpc, hints.finalize).await? {
        Some(applied) => vault::finalized(&applied, &own.vault, run_id)?,
        None => None,
    };
    if facts.opened.is_none() || facts.finalized.is_none() {
        search(rpc, own, clock.oldest_ledger, &mut facts).await?;
    }
    if let Some(opened) = &facts.opened {
        let terms = &opened.terms;
        facts.rate_card =
            own.registry.read_rate_card(rpc, terms.agent_id, terms.rate_version).await?;
    }
    if let Some(user) = facts.user() {
        let account = own.vault.read_account(rpc, &user).await?;
        facts.account = account
            .map(|account| Receipts { count: account.receipts, hash: account.receipts_hash });
    }
    Ok(facts)
}

impl ChainFacts {
    /// Whose run it is, as far as the chain tells.
    pub fn user(&self) -> Option<Address> {
        let record = self.record.as_ref().map(|record| record.user);
        record.or_else(|| self.opened.as_ref().map(|opened| opened.terms.user))
    }

    /// Whether the chain says anything at all about the run.
    pub const fn is_silent(&self) -> bool {
        self.record.is_none() && self.opened.is_none() && self.finalized.is_none()
    }

    /// Reads the document of an exported bundle.
    ///
    /// # Errors
    ///
    /// [`Failure::Bad`] when it is not one.
    pub fn parse(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text).map_err(|error| Failure::bad(format!("{FILE}: {error}")))
    }
}

async fn applied(rpc: &Rpc, hash: Option<Digest>) -> Result<Option<Box<Applied>>> {
    let Some(hash) = hash else { return Ok(None) };
    match rpc.transaction(&hash).await?.outcome {
        Outcome::Applied(applied) => Ok(Some(applied)),
        Outcome::NotFound => Ok(None),
    }
}

/// Looks through the vault's events as far as the node keeps them.
async fn search(rpc: &Rpc, own: &Own, from: u32, facts: &mut ChainFacts) -> Result<()> {
    if facts.opened.is_none() {
        let events = rpc.events(&own.vault.0, from, &["run", "opened"]).await?;
        let events = events.iter().map(RunOpened::from_event);
        facts.opened = this(events, |event| event.run_id == facts.run_id);
    }
    if facts.finalized.is_none() {
        let events = rpc.events(&own.vault.0, from, &["run", "finalized"]).await?;
        let events = events.iter().map(RunFinalized::from_event);
        facts.finalized = this(events, |event| event.run_id == facts.run_id);
    }
    Ok(())
}

/// The run's own event. One of another run that cannot be decoded is no reason to know nothing of
/// this one: were this run's own event the broken one, it would be missing, and its links unknown.
fn this<T>(
    events: impl Iterator<Item = std::result::Result<T, ChainError>>,
    is_own: impl Fn(&T) -> bool,
) -> Option<T> {
    events.filter_map(std::result::Result::ok).find(is_own)
}
