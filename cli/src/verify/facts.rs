//! What the chain says about a run, read from the verifier's own RPC: every attempt of it that was
//! ever opened, and what its user was charged.
//!
//! Nothing is looked for where a gateway points. All `run,opened` events of the vault are read as
//! far back as the node keeps them, and an event is the run's own when its id follows from the
//! run's UUID and an attempt's number (V4): so an attempt that a gateway hides is found like any
//! other.

use seal::RunKey;
use serde::{Deserialize, Serialize};
use stellar::amount::Unit;
use stellar::ids::{self, RunIdentity};
use stellar::registry::{RateCard, Registry};
use stellar::vault::{
    Lifecycle, RunFinalized, RunOpened, RunRecord, SettledRun, Vault, settlement_hash,
};
use stellar::{Address, Network};
use wire::receipts::{ReceiptText, ReceiptsDocument};
use wire::{Digest, RunId, Usage, VaultRunId};

use crate::error::{CliError, Result};

mod gather;

pub use gather::{Hints, Lists, account_receipts, gather};

/// Name of the document in an exported bundle.
pub const FILE: &str = "chain/facts.json";

/// Name of the same facts as a signed statement.
pub const SIGNED_FILE: &str = "chain/facts.dsse";

/// The version of the document.
pub const FACTS_KIND: &str = "lumio-chain-facts-v2";

/// So many attempts beyond the last known one are looked for.
pub const FURTHER_ATTEMPTS: u32 = 16;

/// How far the clocks of a gateway or a gate may be from the ledger's, in seconds.
pub const CLOCK_SLACK: u64 = 120;

/// One way in which an attempt may have been settled.
struct Settling<'a> {
    settler: &'a Address,
    usage: &'a Usage,
    is_attested: bool,
}

impl Settling<'_> {
    fn hash(&self) -> Option<Digest> {
        settlement_hash(self.settler, self.usage, self.is_attested).ok()
    }
}

/// The verifier's own configuration: never what a gateway or bundle says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The network.
    pub network: Network,
    /// The vault.
    pub vault: Vault,
    /// The registry.
    pub registry: Registry,
    /// How amounts are shown. Nothing is judged by it.
    pub unit: Unit,
}

/// What the chain says about one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainFacts {
    /// [`FACTS_KIND`].
    pub kind: String,
    /// The run.
    pub run: RunId,
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
    /// From which ledger on the vault's events were read.
    pub oldest_ledger: u32,
    /// When that one closed, or later.
    pub oldest_time: u64,
    /// Every attempt that was found, in their order.
    pub attempts: Vec<AttemptFacts>,
    /// The user's receipts now.
    pub account: Option<Receipts>,
    /// The newest of the user's receipts without a gap, as far back as their texts are known.
    pub receipts: Option<ReceiptsDocument>,
    /// Settlements of the user whose opening was not found. Any of them could be this run's.
    pub unexplained: Vec<Settlement>,
    /// The newest receipt of which neither its text nor its settlement is known, although the node
    /// has the settlement of an earlier one: it lost or hides this one.
    #[serde(default)]
    pub unseen: Option<u64>,
}

/// What the chain says about one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptFacts {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Its id on chain.
    pub run_id: VaultRunId,
    /// Its record, while that lives.
    pub record: Option<RunRecord>,
    /// Its opened event, while the node keeps it.
    pub opened: Option<RunOpened>,
    /// Its finalized event, while the node keeps it.
    pub finalized: Option<RunFinalized>,
    /// The rate card that it was opened under.
    pub rate_card: Option<RateCard>,
    /// The runners that its agent lists now, where only the record still knows the settlement.
    #[serde(default)]
    pub runners: Vec<Address>,
}

/// How far an account's receipts have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipts {
    /// How many.
    pub count: u64,
    /// The running hash over them.
    pub hash: Digest,
}

/// A settlement by its event alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The receipt's number.
    pub number: u64,
    /// When it was settled.
    pub finalized_at: u64,
}

/// What an attempt's id on chain is made from, beside the run and the attempt's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Who pays.
    pub user: Address,
    /// Who opened it.
    pub opened_by: Address,
    /// Its deadline.
    pub deadline: u64,
}

impl Own {
    /// Whether a list is of this user's receipts, in this vault on this network: another one
    /// numbers other receipts.
    pub fn owns(&self, list: &ReceiptsDocument, user: &Address) -> bool {
        list.user == user.to_string()
            && list.vault == self.vault.0.to_string()
            && list.network == self.network.passphrase()
    }

    /// The id that `attempt` of `run` has on chain when it was opened so.
    ///
    /// # Errors
    ///
    /// Never in practice: addresses have an XDR form.
    pub fn run_id(&self, run: RunId, attempt: u32, origin: &Origin) -> Result<VaultRunId> {
        Ok(ids::run_id(&RunIdentity {
            network: &self.network,
            vault: &self.vault.0,
            user: &origin.user,
            caller: &origin.opened_by,
            nonce: &ids::nonce(run.as_uuid(), attempt),
            deadline: origin.deadline,
        })?)
    }
}

impl From<&RunOpened> for Origin {
    fn from(opened: &RunOpened) -> Self {
        let terms = &opened.terms;
        Self { user: terms.user, opened_by: terms.opened_by, deadline: terms.deadline }
    }
}

impl From<&RunRecord> for Origin {
    fn from(record: &RunRecord) -> Self {
        Self { user: record.user, opened_by: record.opened_by, deadline: record.deadline }
    }
}

impl From<&SettledRun> for Origin {
    fn from(settled: &SettledRun) -> Self {
        let terms = &settled.terms;
        Self { user: terms.user, opened_by: terms.opened_by, deadline: terms.deadline }
    }
}

impl AttemptFacts {
    /// An attempt of which nothing is known yet.
    pub const fn new(attempt: u32, run_id: VaultRunId) -> Self {
        Self {
            attempt,
            run_id,
            record: None,
            opened: None,
            finalized: None,
            rate_card: None,
            runners: Vec::new(),
        }
    }

    /// Whether the chain says anything at all about it.
    pub const fn is_silent(&self) -> bool {
        self.record.is_none() && self.opened.is_none() && self.finalized.is_none()
    }

    /// What its record alone says of the fee; `None` if that does not say, or it is not settled.
    /// `usage` is what was metered, where a verified statement says so.
    ///
    /// Only the opener earns the fee, by settling itself with an attester's signature (V13, V16);
    /// what another listed runner settles, and what no attester signed for, leaves the fee with the
    /// user. The record holds settler, usage and signature in one digest: the settler and
    /// the usage that it fits are the right ones.
    pub fn recorded_fee(&self, usage: Option<&Usage>) -> Option<i128> {
        let record = self.record.as_ref()?;
        let Lifecycle::Finalized { settlement, .. } = record.lifecycle else { return None };
        if record.runner_fee == 0 {
            return Some(0);
        }

        // What no attester signed charges nothing, so that it can only be of no usage (V16).
        let nothing = Usage::default();
        let unsigned = |settler| Settling { settler, usage: &nothing, is_attested: false };
        let signed = |settler| {
            let stated = usage.into_iter().chain([&nothing]);
            stated.map(move |usage| Settling { settler, usage, is_attested: true })
        };

        let settlers = std::iter::once(&record.opened_by).chain(&self.runners);
        let ways = settlers.flat_map(|settler| signed(settler).chain([unsigned(settler)]));
        let found = ways.into_iter().find(|way| way.hash() == Some(settlement))?;
        let is_earned = found.is_attested && *found.settler == record.opened_by;
        Some(if is_earned { record.runner_fee } else { 0 })
    }

    /// Whether the record's digest is that of this usage, settled by the opener or by a runner that
    /// the agent lists now. That it fits none of them does not mean that it was another usage: the
    /// settler may have been taken off the list since.
    pub fn records_usage(&self, usage: &Usage) -> bool {
        let Some(record) = &self.record else { return false };
        let Lifecycle::Finalized { settlement, .. } = record.lifecycle else { return false };
        let settlers = std::iter::once(&record.opened_by).chain(&self.runners);
        let mut ways = settlers.flat_map(|settler| {
            [true, false].map(|is_attested| Settling { settler, usage, is_attested })
        });
        ways.any(|way| way.hash() == Some(settlement))
    }

    /// What its id is made from, as far as the chain says.
    pub fn origin(&self) -> Option<Origin> {
        // Either would do: both are the vault's own words.
        let opened = self.opened.as_ref().map(Origin::from);
        opened.or_else(|| self.record.as_ref().map(Origin::from))
    }
}

impl ChainFacts {
    /// Reads the document of an exported bundle.
    ///
    /// # Errors
    ///
    /// [`CliError::Bad`] when it is not one.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let facts: Self =
            wire::json::read(text).map_err(|error| CliError::bad(format!("{FILE}: {error}")))?;
        // A document of another version is not read by its common members: what it lacks would be
        // taken for what the chain does not hold.
        match facts.kind.as_str() {
            FACTS_KIND => Ok(facts),
            other => Err(CliError::bad(format!(
                "{FILE} is of kind {other}, expected {FACTS_KIND}; export the run again"
            ))),
        }
    }

    /// The receipts of the list, each with its number. Those that cannot be decoded are left out.
    pub fn settled(&self) -> Vec<(u64, SettledRun)> {
        self.receipts.iter().flat_map(|list| &list.receipts).filter_map(settled).collect()
    }
}

/// A receipt of a list, decoded.
pub fn settled(receipt: &ReceiptText) -> Option<(u64, SettledRun)> {
    let xdr = receipt.xdr().ok()?;
    Some((receipt.number, SettledRun::from_xdr(&xdr).ok()?))
}

/// When the run was asked for, Unix seconds: the runner makes its id at that moment (UUID version
/// 7), and the user has it from then on.
pub fn asked_at(run: RunId) -> Option<u64> {
    let (seconds, _) = run.as_uuid().get_timestamp()?.to_unix();
    Some(seconds)
}

/// The run's key in facts views.
pub fn run_key(run: RunId) -> RunKey {
    RunKey::from(run)
}
