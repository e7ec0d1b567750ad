//! Steering and stopping a network from a program.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::builder::Builder;
use crate::error::LocalnetError;
use crate::faults::Fault;
use crate::frame::account_of;
use crate::friendbot::Friendbot;
use crate::genesis::{network_id, root_key};
use crate::node::Node;

/// How long requests under way may take to end when the network stops.
const GRACE: Duration = Duration::from_secs(5);

/// A running network; it stops when the handle is dropped.
pub struct Network {
    parts: Parts,
}

/// What a network runs on.
pub(crate) struct Parts {
    pub(crate) node: Arc<Node>,
    pub(crate) friendbot: Friendbot,
    pub(crate) address: SocketAddr,
    /// Whether ledgers close by themselves.
    pub(crate) automatic: bool,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: Vec<JoinHandle<()>>,
}

impl Network {
    /// A network to be started: standalone passphrase, a free local port, ledgers closed by hand.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Where the JSON-RPC answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.parts.address)
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.parts.address
    }

    /// The network's passphrase.
    #[must_use]
    pub fn passphrase(&self) -> &str {
        &self.parts.node.passphrase
    }

    /// The secret seed of the root account (`S…`), which holds all lumens at first.
    #[must_use]
    pub fn root_secret(&self) -> String {
        let seed = root_key(&network_id(&self.parts.node.passphrase)).to_bytes();
        let key = stellar_strkey::ed25519::PrivateKey(seed);
        format!("{}", key.as_unredacted())
    }

    /// The address (`C…`) of the native asset's contract.
    #[must_use]
    pub fn native_contract(&self) -> String {
        format!("{}", stellar_strkey::Contract(self.parts.node.chain().native.0.0))
    }

    /// Sequence of the last closed ledger.
    #[must_use]
    pub fn latest_ledger(&self) -> u32 {
        self.parts.node.chain().sequence()
    }

    /// When the last ledger closed, in seconds of Unix time.
    #[must_use]
    pub fn close_time(&self) -> u64 {
        self.parts.node.chain().close_time()
    }

    /// Closes a ledger now, frozen or not, and answers its sequence.
    ///
    /// # Errors
    /// If the state directory can't be written.
    pub async fn close_ledger(&self) -> Result<u32, LocalnetError> {
        self.close_ledgers(1).await
    }

    /// Closes several ledgers at once, as when time passes for archival; the answer is the last one's sequence.
    ///
    /// # Errors
    /// If the state directory can't be written.
    pub async fn close_ledgers(&self, count: u32) -> Result<u32, LocalnetError> {
        self.blocking(move |node| {
            let mut sequence = node.chain().sequence();
            for _ in 0..count {
                sequence = node.close_ledger()?;
            }
            Ok(sequence)
        })
        .await
    }

    /// Moves the clock forward; the next ledger closes at the new time.
    pub fn advance_time(&self, seconds: u64) {
        self.parts.node.advance_time(seconds);
    }

    /// Injects a fault.
    pub fn fault(&self, fault: Fault) {
        self.parts.node.fault(fault);
    }

    /// Remembers chain, queue and clock, and answers the snapshot's number.
    #[must_use]
    pub fn snapshot(&self) -> u64 {
        self.parts.node.snapshot()
    }

    /// Goes back to a snapshot.
    ///
    /// # Errors
    /// If there is no such snapshot, or the state directory can't be written.
    pub async fn revert(&self, snapshot: u64) -> Result<(), LocalnetError> {
        self.blocking(move |node| node.revert(snapshot)).await
    }

    /// Funds an account (`G…`) as friendbot does and answers the hash in hex; closes a ledger if none closes by
    /// itself.
    ///
    /// # Errors
    /// If the address is wrong or friendbot refuses.
    pub async fn fund(&self, address: &str) -> Result<String, LocalnetError> {
        let key = stellar_strkey::ed25519::PublicKey::from_string(address)
            .map_err(|_| LocalnetError::Friendbot(format!("{address:?} is no account")))?;
        let funding = self.parts.friendbot.fund(account_of(key.0));
        tokio::pin!(funding);
        loop {
            tokio::select! {
                funded = &mut funding => {
                    let hash = funded
                        .map_err(|error| LocalnetError::Friendbot(error.to_string()))?;
                    return Ok(hex::encode(hash));
                }
                () = tokio::time::sleep(Duration::from_millis(2)), if !self.parts.automatic => {
                    if self.parts.node.has_waiting() {
                        self.close_ledger().await?;
                    }
                }
            }
        }
    }

    /// Stops serving and waits until everything has ended.
    pub async fn shutdown(mut self) {
        self.parts.stop.cancel();
        for mut task in self.parts.tasks.drain(..) {
            // A task that panicked has ended as well; one that hangs on a slow client is ended.
            if timeout(GRACE, &mut task).await.is_err() {
                task.abort();
            }
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> Result<T, LocalnetError> + Send + 'static,
    ) -> Result<T, LocalnetError> {
        let node = self.parts.node.clone();
        tokio::task::spawn_blocking(move || work(&node))
            .await
            .map_err(|error| LocalnetError::Internal(error.to_string()))?
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.parts.stop.cancel();
    }
}
