//! The network as this runner sees it, and the high-water mark under which nothing is believed
//! (R13).

use std::fmt;

use sqlx::PgPool;
use stellar::rpc::Clock;
use stellar::{Address, Network, Rpc};
use wire::NetworkId;

use crate::chain::channels::DerivedKeys;
use crate::chain::fees::FeeLimits;
use crate::chain::network::{LedgerMark, NodeStatus, compare};
use crate::chain::pulse::Pulse;
use crate::chain::shortages::Shortages;
use crate::chain::store::{self, ChannelLease};
use crate::error::{Error, Result};
use crate::signer::Key;

/// Everything that is needed to speak with the network.
pub struct ChainClient {
    /// The node.
    pub rpc: Rpc,
    /// Which network.
    pub network: Network,
    /// Signs authorisation entries: the runner that the registry lists.
    pub runner: Key,
    /// The channels: each pays fees and gives sequence numbers, for one transaction at a time;
    /// other keys than the runner's.
    pub sources: Vec<Key>,
    /// The keys of channels that were added by command and are served here.
    pub derived: DerivedKeys,
    /// The vault.
    pub vault: Address,
    /// The agent registry.
    pub registry: Address,
    /// What transactions may cost.
    pub fees: FeeLimits,
    /// How long a transaction may wait for its ledger, in seconds of ledger time.
    pub transaction_secs: u64,
    /// Where transactions and marks are kept.
    pub db: PgPool,
    /// This process, in leases.
    pub owner: String,
    /// What was found lacking.
    pub shortages: Shortages,
    /// Says when a ledger has closed.
    pub pulse: Pulse,
}

impl ChainClient {
    /// The accounts of the channels that this process signs for.
    pub fn accounts(&self) -> Vec<String> {
        let own = self.sources.iter().map(|key| key.address().to_string());
        own.chain(self.derived.accounts()).collect()
    }

    /// The key of a channel that this process has leased.
    ///
    /// # Errors
    ///
    /// When it has no such key.
    pub fn channel_key(&self, channel: &ChannelLease) -> Result<Key> {
        let mut keys = self.sources.iter();
        let found = keys.find(|key| key.address().to_string() == channel.account);
        let found = found.cloned().or_else(|| self.derived.get(&channel.account));
        found.ok_or_else(|| {
            Error::Broken(format!("the key of the channel {} is not here", channel.account))
        })
    }

    /// The newest ledger, from a node that is not behind.
    ///
    /// # Errors
    ///
    /// When the node does not answer, is behind, or lives in another history.
    pub async fn now(&self) -> Result<Clock> {
        let clock = self.rpc.clock().await?;
        self.observe(&clock).await?;
        Ok(clock)
    }

    /// Compares what a node says of itself with everything seen before, and remembers it.
    ///
    /// # Errors
    ///
    /// [`Error::NetworkReset`], and [`Error::Chain`] for a node that is behind.
    pub async fn observe(&self, clock: &Clock) -> Result<u32> {
        let network = (*self.network.id(), self.network.passphrase());
        let (status, known) = remember(&self.db, network, clock).await?;
        // Simulations and reads of entries from below it are refused as well (R13).
        self.rpc.ignore_before(known.ledger);
        match status {
            NodeStatus::Current => Ok(clock.latest_ledger),
            NodeStatus::Behind => {
                // Another node may be at the newest ledger.
                self.rpc.turn_away();
                Err(Error::Chain(stellar::ChainError::Invalid(format!(
                    "the node is behind: it is at ledger {}, {} was seen before; waiting for it",
                    clock.latest_ledger, known.ledger
                ))))
            }
            NodeStatus::NetworkReset => Err(another_history(&known, clock)),
        }
    }
}

/// Compares what a node says of itself with everything that was seen of the network before, in any
/// process of the database, and remembers it. How it compares, and the newest ledger that was
/// known.
///
/// # Errors
///
/// When the database does not answer.
pub async fn remember(
    db: &PgPool,
    (network, passphrase): (NetworkId, &str),
    clock: &Clock,
) -> Result<(NodeStatus, LedgerMark)> {
    let seen = LedgerMark::newest(clock);
    let known = store::high_water(db, network).await?.unwrap_or(seen);
    let status = compare(&known, &seen);
    // The very first answer makes the mark; later ones only raise it.
    if status == NodeStatus::Current && (seen.ledger > known.ledger || seen == known) {
        store::raise_high_water(db, network, passphrase, &seen).await?;
    }
    Ok((status, known))
}

/// A node lives in another history than the one that is known: the service has to stop (R13).
pub fn another_history(known: &LedgerMark, clock: &Clock) -> Error {
    Error::NetworkReset(format!(
        "RUNNER_RPC_URL: the network has another history than the one in DATABASE_URL \
         (ledger {} closed at {}, known is {} at {}): it was reset, or is another network; \
         start with a fresh database, or point to the network it belongs to",
        clock.latest_ledger, clock.latest_close, known.ledger, known.closed_at
    ))
}

impl fmt::Debug for ChainClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainClient({} for {})", self.network.passphrase(), self.runner.address())
    }
}
