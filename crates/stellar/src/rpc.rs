//! The one way to the network: JSON-RPC of stellar-rpc.
//!
//! Every call goes through [`raw`], and none through `soroban-client`: that reads answers of any
//! size, and its accessors panic on XDR that is newer than itself, hide why they could not decode, or
//! do not hand out the raw text at all. Whatever comes back, 32 MiB at most, is decoded with the
//! network's current XDR and limits; what is not known is an error.

mod answer;
mod entries;
mod events;
mod raw;
mod simulate;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use stellar_xdr::LedgerKey;
use tracing::{Span, field, info_span};
use wire::{NetworkId, TxHash};

pub use answer::{Applied, Clock, Outcome, Rejection, SendAnswer, TransactionStatus};
pub use entries::{AccountState, Entries, Entry};
pub use events::{Event, EventPage, EventsFrom, History, SeenEvent};
pub use simulate::Simulation;

use crate::bridge;
use crate::tx::as_text;
use crate::{Address, ChainError, Network};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A connection to an RPC node. Cheap to share behind an `Arc`.
pub struct Rpc {
    endpoints: Vec<Endpoint>,
    turn: Arc<Turn>,
    /// The network that every node has to be on, once it is said.
    network: OnceLock<NetworkId>,
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
    /// The node is on another network than the one that is expected: nothing was asked of it.
    #[error(
        "the RPC (node {number}) is on the network {theirs:?}, which is not the one that is \
         configured: it is not asked; correct its address, then start again"
    )]
    OtherNetwork {
        /// Its number among the nodes, from 1 on.
        number: usize,
        /// The passphrase of the network that it is on.
        theirs: String,
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

impl RpcError {
    /// Its kind, for spans: one word of a closed list.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::Unreachable { .. } => "unreachable",
            Self::Refused { .. } => "refused",
            Self::Behind { .. } => "behind",
            Self::OtherNetwork { .. } => "other_network",
            Self::Malformed { .. } => "malformed",
        }
    }
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
        let turn = Arc::new(Turn::new(fallbacks.len() + 1));
        let urls = std::iter::once(url).chain(fallbacks.iter().map(String::as_str));
        let endpoints = urls.enumerate().map(|(place, url)| {
            let raw = raw::Raw::new(url, TIMEOUT, place, turn.clone())?;
            Ok(Endpoint { raw, is_checked: AtomicBool::new(false) })
        });
        let endpoints = endpoints.collect::<Result<_, RpcError>>()?;
        let network = OnceLock::new();
        Ok(Self { endpoints, turn, network, least_ledger: AtomicU32::new(0) })
    }

    /// From now on every node has to be on `network`. Each is asked for its network before anything
    /// else is asked of it. One that is on another is put aside for as long as this connection
    /// lasts: its ledgers would be taken for those of the network, and its answers for the truth.
    ///
    /// Of several calls the first one counts.
    pub fn expect_network(&self, network: NetworkId) {
        self.network.get_or_init(|| network);
    }

    /// How many nodes may be asked.
    pub const fn nodes(&self) -> usize {
        self.endpoints.len()
    }

    /// Scheme, host and port of the node at `place`: the part of its address that holds no secret
    /// (R9).
    pub fn origin_at(&self, place: usize) -> String {
        self.at(place).raw.origin()
    }

    /// The network that the node at `place` is on, whichever node's turn it is. If that is not the
    /// expected one, the node is put aside.
    ///
    /// # Errors
    ///
    /// [`RpcError`].
    pub async fn network_at(&self, place: usize) -> Result<NodeNetwork, RpcError> {
        let place = place % self.endpoints.len();
        let endpoint = &self.endpoints[place];
        let answer = endpoint.network().await;
        match &answer {
            Ok(node) => match self.network.get() {
                Some(expected) if node.network.id() == expected => {
                    // It orders no other memory.
                    endpoint.is_checked.store(true, Ordering::Relaxed);
                }
                Some(_) => self.put_aside(place, node.network.passphrase()),
                None => {}
            },
            // A refusal too: a node that does not say where it is cannot be believed.
            Err(_) => self.turn.pass(place),
        }
        answer
    }

    /// What the node at `place` knows of a transaction, whichever node's turn it is.
    ///
    /// # Errors
    ///
    /// As [`Rpc::transaction`]; [`RpcError::OtherNetwork`].
    pub async fn transaction_at(
        &self,
        place: usize,
        hash: &TxHash,
    ) -> Result<TransactionStatus, ChainError> {
        self.admit(place % self.endpoints.len()).await?;
        answer::read(&self.at(place).raw, hash).await
    }

    /// The clock of the node at `place`, whichever node's turn it is.
    ///
    /// # Errors
    ///
    /// As [`Rpc::transaction_at`].
    pub async fn clock_at(&self, place: usize) -> Result<Clock, ChainError> {
        Ok(self.transaction_at(place, &no_transaction()).await?.clock)
    }

    /// The present node loses its turn, because of what it said: it is behind, for example.
    pub fn turn_away(&self) {
        self.turn.pass(self.turn.place());
    }

    /// The node at `place` has the turn from now on, because of what it said. One that was put
    /// aside gets none.
    pub fn turn_to(&self, place: usize) {
        self.turn.give(place % self.endpoints.len());
    }

    fn at(&self, place: usize) -> &Endpoint {
        &self.endpoints[place % self.endpoints.len()]
    }

    fn put_aside(&self, place: usize, theirs: &str) {
        let theirs = shorten(theirs);
        if self.turn.put_aside(place, theirs.clone()) {
            tracing::error!(
                "node {} ({}) is on the network {theirs:?}, which is not the one that is \
                 configured: it is not asked any more; correct its address, then start again",
                place + 1,
                self.origin_at(place)
            );
        }
    }

    /// Lets the node at `place` be asked: it was not put aside, and has said that it is on the
    /// expected network.
    async fn admit(&self, place: usize) -> Result<(), RpcError> {
        let Some(expected) = self.network.get() else { return Ok(()) };
        let elsewhere =
            |theirs: &str| RpcError::OtherNetwork { number: place + 1, theirs: shorten(theirs) };
        if let Some(theirs) = self.turn.elsewhere(place) {
            self.turn.pass(place);
            return Err(elsewhere(theirs));
        }
        if self.endpoints[place].is_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let node = self.network_at(place).await?;
        if node.network.id() == expected {
            return Ok(());
        }
        Err(elsewhere(node.network.passphrase()))
    }

    /// The node whose turn it is, and its place. Those on another network are passed over: nothing
    /// was asked of them, so that the next one may be asked at once.
    async fn present(&self) -> Result<(usize, &Endpoint), RpcError> {
        loop {
            let place = self.turn.place();
            match self.admit(place).await {
                Ok(()) => return Ok((place, &self.endpoints[place])),
                // It ends: each of them is put aside for good, and gets no other turn.
                Err(RpcError::OtherNetwork { .. }) if self.turn.place() != place => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn raw(&self) -> Result<&raw::Raw, RpcError> {
        Ok(&self.present().await?.1.raw)
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
        self.network_at(self.turn.place()).await
    }

    /// Fails unless the node is on `network`: a signature for another one is worthless, and state
    /// read from it is about something else. From then on every further node has to be on it as
    /// well, as [`Rpc::expect_network`] says.
    ///
    /// # Errors
    ///
    /// [`ChainError::Invalid`] naming both passphrases; [`ChainError::Rpc`].
    pub async fn require_network(&self, network: &Network) -> Result<NodeNetwork, ChainError> {
        let place = self.turn.place();
        let node = self.network_at(place).await?;
        if node.network == *network {
            self.expect_network(*network.id());
            self.endpoints[place].is_checked.store(true, Ordering::Relaxed);
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
        Ok(self.transaction(&no_transaction()).await?.clock)
    }

    /// What became of a transaction, and the node's clock at that answer.
    ///
    /// # Errors
    ///
    /// [`ChainError::Rpc`], or [`ChainError::Decode`] when a result holds what this release does
    /// not know.
    pub async fn transaction(&self, hash: &TxHash) -> Result<TransactionStatus, ChainError> {
        answer::read(self.raw().await?, hash).await
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
        // `soroban-client` has no form for fee bumps and payments that keeps their bytes.
        let text = match as_text(envelope) {
            Some(text) => text,
            None => bridge::read_envelope(network, envelope)?.to_base64()?,
        };
        let params = serde_json::json!({ "transaction": text });
        let answer: answer::RawSend = self.raw().await?.call(SEND, params).await?;
        answer.decode()
    }

    /// Entries of the ledger, with the ledger that they are of. Missing ones are left out.
    ///
    /// # Errors
    ///
    /// [`ChainError::Rpc`], [`ChainError::Decode`]; [`ChainError::Invalid`] for more than 200 keys.
    pub async fn entries(&self, keys: &[LedgerKey]) -> Result<Entries, ChainError> {
        let entries = entries::read(self.raw().await?, keys).await?;
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
        let pages = events::read(self.raw().await?, contract, start_ledger, topics).await?;
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
        let pages = events::read(self.raw().await?, contract, start_ledger, topics).await?;
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
        events::page(self.raw().await?, contracts, from, limit).await
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
        self.raw().await?.friendbot(&url, address).await
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
        Ok(self.inclusion_fees().await?.p90.max(LEAST))
    }

    /// What nearly every transaction of the recent ledgers was charged for inclusion at most, in
    /// stroops an operation: the 99th percentile, by which a surge shows first.
    ///
    /// # Errors
    ///
    /// [`RpcError`].
    pub async fn surge_fee(&self) -> Result<u64, RpcError> {
        Ok(self.inclusion_fees().await?.p99)
    }

    /// What recent ledgers took for inclusion.
    async fn inclusion_fees(&self) -> Result<InclusionFees, RpcError> {
        const METHOD: &str = "getFeeStats";
        let stats: RawFeeStats = self.raw().await?.call(METHOD, Value::Null).await?;
        let read = |text: String| text.parse().map_err(|error| malformed(METHOD, error));
        let RawFees { p90, p99 } = stats.soroban_inclusion_fee;
        Ok(InclusionFees { p90: read(p90)?, p99: read(p99)? })
    }
}

/// Percentiles of what was charged for inclusion, in stroops an operation.
struct InclusionFees {
    p90: u64,
    p99: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFeeStats {
    soroban_inclusion_fee: RawFees,
}

#[derive(Deserialize)]
struct RawFees {
    p90: String,
    p99: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawNetwork {
    passphrase: String,
    protocol_version: u32,
    friendbot_url: Option<String>,
}

/// One node.
struct Endpoint {
    raw: raw::Raw,
    /// Whether it has said that it is on the expected network.
    is_checked: AtomicBool,
}

impl Endpoint {
    /// The network that it says it is on.
    async fn network(&self) -> Result<NodeNetwork, RpcError> {
        let answer: RawNetwork = self.raw.call("getNetwork", Value::Null).await?;
        Ok(NodeNetwork {
            network: Network::new(answer.passphrase),
            protocol: answer.protocol_version,
            friendbot: answer.friendbot_url,
        })
    }
}

/// Which of several nodes is asked next.
#[derive(Debug)]
struct Turn {
    of: AtomicUsize,
    /// For each node that was put aside, the passphrase of the network that it is on.
    elsewhere: Vec<OnceLock<String>>,
}

impl Turn {
    fn new(nodes: usize) -> Self {
        let elsewhere = std::iter::repeat_with(OnceLock::new).take(nodes).collect();
        Self { of: AtomicUsize::new(0), elsewhere }
    }

    fn place(&self) -> usize {
        self.of.load(Ordering::Relaxed) % self.elsewhere.len()
    }

    /// The network that the node at `place` was put aside for.
    fn elsewhere(&self, place: usize) -> Option<&str> {
        self.elsewhere[place].get().map(String::as_str)
    }

    /// The node at `place` loses its turn, unless another has it already. Those that were put aside
    /// get none.
    fn pass(&self, place: usize) {
        let all = self.elsewhere.len();
        let mut others = (1..all).map(|step| (place + step) % all);
        let Some(next) = others.find(|other| self.elsewhere(*other).is_none()) else { return };
        // Of several calls that fail at one time only the first passes the turn on.
        let passed = self.of.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed);
        if passed.is_ok() {
            tracing::warn!("node {} gives no usable answer; node {} is asked", place + 1, next + 1);
        }
    }

    fn give(&self, place: usize) {
        if self.elsewhere(place).is_none() && self.of.swap(place, Ordering::Relaxed) != place {
            tracing::info!("node {} is asked from now on", place + 1);
        }
    }

    /// The node at `place` gets no turn any more. `false` if that was so before.
    fn put_aside(&self, place: usize, theirs: String) -> bool {
        let is_new = self.elsewhere[place].set(theirs).is_ok();
        self.pass(place);
        is_new
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rpc")
    }
}

/// What a clock is asked with: `getTransaction` is the one method whose answer has all four times,
/// whatever hash it is asked for.
fn no_transaction() -> TxHash {
    TxHash::from([0; 32])
}

/// The one method by which something is done.
const SEND: &str = "sendTransaction";

/// The span of one call of a node. A read that is not a part of other work has none: it is a poll,
/// and each would be a trace of its own.
pub(crate) fn call_span(method: &'static str) -> Span {
    if method != SEND && Span::current().is_none() {
        return Span::none();
    }
    info_span!(
        "call",
        otel.name = method,
        otel.kind = "client",
        otel.status_code = field::Empty,
        rpc.system.name = "jsonrpc",
        rpc.method = method,
        rpc.response.status_code = field::Empty,
        error.type = field::Empty,
    )
}

/// Notes on the span of a call why it failed.
pub(crate) fn note_failure(span: &Span, error: &RpcError) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error.kind());
    if let RpcError::Refused { code, .. } = error {
        span.record("rpc.response.status_code", field::display(code));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turn_passes_round_and_over_nodes_that_were_put_aside() {
        let turn = Turn::new(3);
        turn.pass(0);
        turn.pass(0);
        assert_eq!(turn.place(), 1, "the second of two failures at one time passes nothing on");
        assert!(turn.put_aside(2, "Another Network".to_owned()));
        assert!(!turn.put_aside(2, "Another Network".to_owned()));
        assert_eq!(turn.elsewhere(2), Some("Another Network"));
        turn.pass(1);
        assert_eq!(turn.place(), 0);
        turn.give(2);
        assert_eq!(turn.place(), 0);
        turn.give(1);
        assert_eq!(turn.place(), 1);
        assert!(turn.put_aside(1, "Another Network".to_owned()));
        assert_eq!(turn.place(), 0);
        turn.pass(0);
        assert_eq!(turn.place(), 0, "there is no other");
    }

    #[tokio::test]
    async fn of_an_address_only_what_is_no_secret_is_shown() {
        let secret = "https://user:password@node.example:8443/v2/key?apikey=key#key".to_owned();
        let rpc = Rpc::with_fallbacks("http://localhost:8000/rpc", &[secret]).unwrap();
        assert_eq!(rpc.origin_at(0), "http://localhost:8000");
        assert_eq!(rpc.origin_at(1), "https://node.example:8443");
    }
}
