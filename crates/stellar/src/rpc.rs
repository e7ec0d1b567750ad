//! The one way to the network: JSON-RPC of stellar-rpc.
//!
//! `soroban-client` asks for health, network, simulation and sends transactions. Three things go
//! around it, in [`raw`]: `getTransaction`, `getLedgerEntries` and `getEvents`, because its
//! accessors panic on XDR that is newer than itself, hide why they could not decode, or do not hand
//! out the raw text at all. Whatever comes back is decoded with the network's current XDR and
//! limits; what is not known is an error.

mod answer;
mod entries;
mod events;
mod raw;
mod simulate;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use stellar_xdr::LedgerKey;
use tracing::{Instrument as _, Span, info_span};
use wire::TxHash;

pub use answer::{Applied, Clock, Outcome, Rejection, SendAnswer, TransactionStatus};
pub use entries::{AccountState, Entries, Entry};
pub use events::{Event, EventPage, EventsFrom, History, SeenEvent};
pub use simulate::Simulation;

use crate::bridge::{self, Node};
use crate::tx::as_text;
use crate::{Address, ChainError, Network};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A connection to an RPC node. Cheap to share behind an `Arc`.
pub struct Rpc {
    endpoints: Vec<Endpoint>,
    turn: Arc<Turn>,
    /// Simulations and reads from below this ledger are refused (R13).
    least_ledger: AtomicU32,
}

/// The RPC gave no usable answer. Nothing follows about what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The address cannot be one.
    #[error("'{0}' is not an RPC address; expected http://host:port or https://…")]
    Address(String),
    /// No answer came.
    #[error("the RPC did not answer {method}: {reason}; check its address and try again")]
    Unreachable {
        /// The method that was called.
        method: &'static str,
        /// Why, without the address: it may hold a token.
        reason: String,
    },
    /// The node answered with an error of its own.
    #[error("the RPC refused {method}: {message} ({code})")]
    Refused {
        /// The method that was called.
        method: &'static str,
        /// JSON-RPC's error code.
        code: i64,
        /// The node's words, shortened.
        message: String,
    },
    /// The answer is older than what was seen of the network before (R13).
    #[error(
        "the RPC is behind: it answered {method} as of ledger {ledger}, although ledger {least} \
         was seen before; try again when it has caught up"
    )]
    Behind {
        /// The method that was called.
        method: &'static str,
        /// The ledger that the answer is of.
        ledger: u32,
        /// The least ledger that counts.
        least: u32,
    },
    /// The answer has another form than the method's.
    #[error("the RPC's answer to {method} has another form than expected: {reason}")]
    Malformed {
        /// The method that was called.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// What network a node says it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNetwork {
    /// The network, by its passphrase.
    pub network: Network,
    /// Its protocol version.
    pub protocol: u32,
    /// Where accounts are funded, on networks that have such a place.
    pub friendbot: Option<String>,
}

impl Rpc {
    /// Connects lazily: the first call is the first that can fail because no node answers.
    ///
    /// # Errors
    ///
    /// When `url` is no http or https address.
    pub fn new(url: &str) -> Result<Self, RpcError> {
        Self::with_fallbacks(url, &[])
    }

    /// The same with further nodes of the same network, in the order in which they are turned to. A
    /// node that gives no usable answer, or one from before what was seen, loses its turn: the next
    /// call goes to the node after it. The call itself is not repeated elsewhere, since a second
    /// send of a transaction proves less than the first (R13).
    ///
    /// # Errors
    ///
    /// When one of them is no http or https address.
    pub fn with_fallbacks(url: &str, fallbacks: &[String]) -> Result<Self, RpcError> {
        let turn = Arc::new(Turn { of: AtomicUsize::new(0), all: fallbacks.len() + 1 });
        let urls = std::iter::once(url).chain(fallbacks.iter().map(String::as_str));
        let endpoints = urls.enumerate().map(|(place, url)| {
            let raw = raw::Raw::new(url, TIMEOUT, place, turn.clone())?;
            Ok(Endpoint { node: Node::new(url, TIMEOUT)?, raw })
        });
        let endpoints = endpoints.collect::<Result<_, RpcError>>()?;
        Ok(Self { endpoints, turn, least_ledger: AtomicU32::new(0) })
    }

    /// How many nodes may be asked.
    pub const fn nodes(&self) -> usize {
        self.endpoints.len()
    }

    /// The network that the node at `place` is on, whoever's turn it is.
    ///
    /// # Errors
    ///
    /// [`RpcError`].
    pub async fn network_at(&self, place: usize) -> Result<NodeNetwork, RpcError> {
        let endpoint = &self.endpoints[place % self.endpoints.len()];
        endpoint.node.network().instrument(call_span("getNetwork")).await
    }

    /// The present node loses its turn, because of what it said: it is behind, for example.
    pub fn turn_away(&self) {
        self.turn.pass(self.turn.place());
    }

    fn endpoint(&self) -> (usize, &Endpoint) {
        let place = self.turn.place();
        (place, &self.endpoints[place])
    }

    fn raw(&self) -> &raw::Raw {
        &self.endpoint().1.raw
    }

    /// Has the present node do something by way of `soroban-client`; it loses its turn if that
    /// fails.
    pub(crate) async fn by_node<'a, T, F>(
        &'a self,
        method: &'static str,
        ask: impl FnOnce(&'a Node) -> F,
    ) -> Result<T, RpcError>
    where
        F: Future<Output = Result<T, RpcError>>,
    {
        let (place, endpoint) = self.endpoint();
        let answer = ask(&endpoint.node).instrument(call_span(method)).await;
        // What a node refuses by an error of its own is an answer to what was asked.
        if !matches!(answer, Ok(_) | Err(RpcError::Refused { .. })) {
            self.turn.pass(place);
        }
        answer
    }

    /// From now on, simulations and reads of entries that are older than `ledger` are
    /// [`RpcError::Behind`] (R13): one node behind a common address may lag, and a refusal or an
    /// absence that it reports says nothing about the present. A lower ledger changes nothing.
    pub fn ignore_before(&self, ledger: u32) {
        // Relaxed is enough: the number orders no other memory, and it only grows.
        self.least_ledger.fetch_max(ledger, Ordering::Relaxed);
    }

    fn require_recent(&self, method: &'static str, ledger: u32) -> Result<(), RpcError> {
        let least = self.least_ledger.load(Ordering::Relaxed);
        if ledger < least {
            self.turn_away();
            return Err(RpcError::Behind { method, ledger, least });
        }
        Ok(())
    }

    /// The network that the node is on.
    ///
    /// # Errors
    ///
    /// [`RpcError`].
    pub async fn network(&self) -> Result<NodeNetwork, RpcError> {
        self.by_node("getNetwork", Node::network).await
    }

    /// Fails unless the node is on `network`: a signature for another one is worthless, and state
    /// read from it is about something else.
    ///
    /// # Errors
    ///
    /// [`ChainError::Invalid`] naming both passphrases; [`ChainError::Rpc`].
    pub async fn require_network(&self, network: &Network) -> Result<NodeNetwork, ChainError> {
        let node = self.network().await?;
        if node.network == *network {
            return Ok(node);
        }
        let (theirs, ours) = (node.network.passphrase(), network.passphrase());
        Err(ChainError::invalid(format!(
            "the RPC is on the network '{theirs}', but '{ours}' is configured"
        )))
    }

    /// The node's newest and oldest ledger, with their close times: the only clock that counts on
    /// chain.
    ///
    /// # Errors
    ///
    /// [`RpcError`].
    pub async fn clock(&self) -> Result<Clock, ChainError> {
        // getTransaction is the one method whose answer has all four, whatever hash it is asked
        // for.
        Ok(self.transaction(&TxHash::from([0; 32])).await?.clock)
    }

    /// What became of a transaction, and the node's clock at that answer.
    ///
    /// # Errors
    ///
    /// [`ChainError::Rpc`], or [`ChainError::Decode`] when a result holds what this release does
    /// not know.
    pub async fn transaction(&self, hash: &TxHash) -> Result<TransactionStatus, ChainError> {
        let params = serde_json::json!({ "hash": hash.to_string() });
        let answer: answer::RawTransaction = self.raw().call("getTransaction", params).await?;
        answer.decode(hash)
    }

    /// Sends a signed call, payment or fee bump, exactly these bytes. Whatever this answers except
    /// [`SendAnswer::Rejected`] with a definite rejection says nothing about the transaction's
    /// fate, and so does an error (R13).
    ///
    /// # Errors
    ///
    /// [`ChainError::Invalid`] before anything is sent, when the bytes are not an envelope of ours;
    /// [`ChainError::Rpc`] when the node did not answer.
    pub async fn send(&self, network: &Network, envelope: &[u8]) -> Result<SendAnswer, ChainError> {
        const METHOD: &str = "sendTransaction";
        if let Some(text) = as_text(envelope) {
            return self.send_text(text).await;
        }
        let transaction = bridge::read_envelope(network, envelope)?;
        let answer = self.by_node(METHOD, |node| node.send(transaction)).await?;
        let raw: answer::RawSend =
            serde_json::from_value(answer).map_err(|error| malformed(METHOD, error))?;
        raw.decode()
    }

    /// `soroban-client` has no form for fee bumps and payments that keeps their bytes.
    async fn send_text(&self, text: String) -> Result<SendAnswer, ChainError> {
        let params = serde_json::json!({ "transaction": text });
        let answer: answer::RawSend = self.raw().call("sendTransaction", params).await?;
        answer.decode()
    }

    /// Entries of the ledger, with the ledger that they are of. Missing ones are left out.
    ///
    /// # Errors
    ///
    /// [`ChainError::Rpc`], [`ChainError::Decode`]; [`ChainError::Invalid`] for more than 200 keys.
    pub async fn entries(&self, keys: &[LedgerKey]) -> Result<Entries, ChainError> {
        let entries = entries::read(self.raw(), keys).await?;
        self.require_recent("getLedgerEntries", entries.ledger)?;
        Ok(entries)
    }

    /// An account's sequence number and native balance; `None` when it does not exist.
    ///
    /// # Errors
    ///
    /// As [`Rpc::entries`].
    pub async fn account(&self, address: &Address) -> Result<Option<AccountState>, ChainError> {
        let found = entries::accounts(self, std::slice::from_ref(address)).await?;
        Ok(found.into_iter().next().flatten())
    }

    /// Several accounts as one ledger has them, in the order asked for.
    ///
    /// # Errors
    ///
    /// As [`Rpc::entries`].
    pub async fn accounts(
        &self,
        addresses: &[Address],
    ) -> Result<Vec<Option<AccountState>>, ChainError> {
        entries::accounts(self, addresses).await
    }

    /// Contract events of `contract` from `start_ledger` on whose topics begin with these symbols,
    /// oldest first, read to the newest ledger. Events older than the node keeps are gone: that is
    /// no error.
    ///
    /// # Errors
    ///
    /// [`ChainError::Rpc`], [`ChainError::Decode`].
    pub async fn events(
        &self,
        contract: &Address,
        start_ledger: u32,
        topics: &[&str],
    ) -> Result<Vec<Event>, ChainError> {
        let pages = events::read(self.raw(), contract, start_ledger, topics).await?;
        pages.events.into_iter().collect()
    }

    /// As [`Rpc::events`], without those that cannot be decoded here: what anybody else emitted
    /// must not keep a reader from its own events (V19). With the range that the node named beside
    /// them.
    ///
    /// # Errors
    ///
    /// [`ChainError::Rpc`].
    pub async fn readable_events(
        &self,
        contract: &Address,
        start_ledger: u32,
        topics: &[&str],
    ) -> Result<History, ChainError> {
        let pages = events::read(self.raw(), contract, start_ledger, topics).await?;
        Ok(History {
            events: pages.events.into_iter().filter_map(Result::ok).collect(),
            oldest_ledger: pages.oldest_ledger,
            oldest_close: pages.oldest_close,
            latest_close: pages.latest_close,
        })
    }

    /// A page of the events of these contracts (at most five), at most `limit` (10,000) of them.
    /// For readers that follow events from where they stopped.
    ///
    /// # Errors
    ///
    /// [`ChainError::Rpc`]: [`RpcError::Refused`] also when the node has not reached the place yet
    /// or keeps it no more.
    pub async fn event_page(
        &self,
        contracts: &[Address],
        from: EventsFrom<'_>,
        limit: u32,
    ) -> Result<EventPage, ChainError> {
        events::page(self.raw(), contracts, from, limit).await
    }

    /// Asks the network's friendbot to create and fund an account.
    ///
    /// # Errors
    ///
    /// [`ChainError::Invalid`] when the network has none, or it refuses; [`ChainError::Rpc`].
    pub async fn fund(&self, address: &Address) -> Result<(), ChainError> {
        let friendbot = self.network().await?.friendbot;
        let url = friendbot.ok_or_else(|| {
            ChainError::invalid("this network has no friendbot: fund the account by a payment")
        })?;
        self.raw().friendbot(&url, address).await
    }

    /// What the network asks for inclusion now, in stroops: the 90th percentile of the recent
    /// ledgers, at least the protocol's 100.
    ///
    /// # Errors
    ///
    /// [`RpcError`].
    pub async fn inclusion_fee(&self) -> Result<u64, RpcError> {
        const LEAST: u64 = 100;
        // A node that saw no transactions of late may answer less than the protocol takes.
        let fees = self.by_node("getFeeStats", Node::inclusion_fees).await?;
        Ok(fees.p90.max(LEAST))
    }

    /// What nearly every transaction of the recent ledgers was charged for inclusion at most, in
    /// stroops an operation: the 99th percentile, by which a surge shows first.
    ///
    /// # Errors
    ///
    /// [`RpcError`].
    pub async fn surge_fee(&self) -> Result<u64, RpcError> {
        let fees = self.by_node("getFeeStats", Node::inclusion_fees).await?;
        Ok(fees.p99)
    }
}

/// One node, by both ways to it.
struct Endpoint {
    node: Node,
    raw: raw::Raw,
}

/// Which of several nodes is asked next.
#[derive(Debug)]
struct Turn {
    of: AtomicUsize,
    all: usize,
}

impl Turn {
    fn place(&self) -> usize {
        self.of.load(Ordering::Relaxed) % self.all
    }

    /// The node at `place` loses its turn, unless another has it already.
    fn pass(&self, place: usize) {
        let next = (place + 1) % self.all;
        // Of several calls that fail at one time only the first passes the turn on.
        let passed = self.of.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed);
        if passed.is_ok() && next != place {
            tracing::warn!("node {} gives no usable answer; node {} is asked", place + 1, next + 1);
        }
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rpc")
    }
}

/// The span of one call of a node.
pub(crate) fn call_span(method: &'static str) -> Span {
    info_span!(
        "call",
        otel.name = method,
        otel.kind = "client",
        rpc.system.name = "jsonrpc",
        rpc.method = method,
    )
}

pub(crate) fn malformed(method: &'static str, reason: impl ToString) -> RpcError {
    RpcError::Malformed { method, reason: reason.to_string() }
}

/// At most 600 characters of text that another program wrote.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 600;
    // By characters: a cut inside one would not be text.
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
