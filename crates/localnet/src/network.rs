//! Steering and stopping a network from a program.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::builder::Builder;
use crate::error::LocalnetError;
use crate::faults::Fault;
use crate::friendbot::Destination;
use crate::genesis::{network_id, root_key};
use crate::ledger_snapshot::{LedgerSnapshot, written};
use crate::node::Node;
use crate::rpc::{Server, Slots, router};
use crate::view::View;

/// How long requests under way may take to end when the network stops.
const GRACE: Duration = Duration::from_secs(5);

/// A running network; it stops when the handle is dropped.
pub struct Network {
    parts: Parts,
}

/// What a network runs on.
pub(crate) struct Parts {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    /// Whether ledgers close by themselves.
    pub(crate) automatic: bool,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: Vec<JoinHandle<()>>,
}

/// Another node of the same network, with an address of its own: it takes transactions for the same
/// queue, but shows the chain late or without its older history. It stops when the handle is
/// dropped.
pub struct OtherNode {
    address: SocketAddr,
    view: Arc<View>,
    stop: CancellationToken,
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
        &self.parts.server.node.passphrase
    }

    /// The secret seed of the root account (`S…`), which holds all lumens at first.
    #[must_use]
    pub fn root_secret(&self) -> String {
        let seed = root_key(&network_id(&self.parts.server.node.passphrase)).to_bytes();
        let key = stellar_strkey::ed25519::PrivateKey(seed);
        format!("{}", key.as_unredacted())
    }

    /// The address (`C…`) of the native asset's contract.
    #[must_use]
    pub fn native_contract(&self) -> String {
        format!("{}", stellar_strkey::Contract(self.parts.server.node.chain().native.0.0))
    }

    /// Sequence of the last closed ledger.
    #[must_use]
    pub fn latest_ledger(&self) -> u32 {
        self.parts.server.node.chain().sequence()
    }

    /// When the last ledger closed, in seconds of Unix time.
    #[must_use]
    pub fn close_time(&self) -> u64 {
        self.parts.server.node.chain().close_time()
    }

    /// Closes a ledger now, frozen or not, and answers its sequence.
    ///
    /// # Errors
    /// If the state directory can't be written.
    pub async fn close_ledger(&self) -> Result<u32, LocalnetError> {
        self.close_ledgers(1).await
    }

    /// Closes several ledgers at once, as when time passes for archival; the answer is the last
    /// one's sequence.
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

    /// Loads the entries of a ledger snapshot into the chain, which goes on at the later of both
    /// ledgers and times; the answer is how many entries there were. The history until then is
    /// forgotten. [`Builder::ledger_snapshot`] says which files it takes and what it leaves out.
    ///
    /// # Errors
    /// If the file is no ledger snapshot, or the state directory can't be written.
    pub async fn load_ledger_snapshot(
        &self,
        file: impl Into<PathBuf>,
    ) -> Result<usize, LocalnetError> {
        let file = file.into();
        self.blocking(move |node| node.load(LedgerSnapshot::read(&file)?)).await
    }

    /// Writes the entries of the last ledger as a ledger snapshot, which this and other tools load.
    ///
    /// # Errors
    /// If the file can't be written.
    pub async fn save_ledger_snapshot(
        &self,
        file: impl Into<PathBuf>,
    ) -> Result<(), LocalnetError> {
        let file = file.into();
        self.blocking(move |node| {
            let json = written(&node.chain())?;
            std::fs::write(&file, json).map_err(|error| {
                let reason = format!("{} can't be written: {error}", file.display());
                LocalnetError::LedgerSnapshot(reason)
            })
        })
        .await
    }

    /// Moves the clock forward; the next ledger closes at the new time. The clock stays as it is if
    /// the new time would be after the year 9999.
    pub fn advance_time(&self, seconds: u64) {
        if self.parts.server.node.advance_time(seconds).is_none() {
            tracing::warn!(seconds, "the clock was not moved: it cannot pass the year 9999");
        }
    }

    /// Injects a fault: into requests to [`Network::url`], or into the ledgers of the network.
    pub fn fault(&self, fault: Fault) {
        self.parts.server.view.fault(fault);
    }

    /// Remembers chain, queue and clock, and answers the snapshot's number. The last hundred
    /// snapshots are kept.
    #[must_use]
    pub fn snapshot(&self) -> u64 {
        self.parts.server.node.snapshot()
    }

    /// Goes back to a snapshot.
    ///
    /// # Errors
    /// If there is no such snapshot, or the state directory can't be written.
    pub async fn revert(&self, snapshot: u64) -> Result<(), LocalnetError> {
        self.blocking(move |node| node.revert(snapshot)).await
    }

    /// Starts another node that is `lag` ledgers behind and keeps `history` ledgers (`None`: as
    /// many as this one).
    ///
    /// # Errors
    /// If no port is free.
    pub async fn other_node(
        &self,
        lag: u32,
        history: Option<u32>,
    ) -> Result<OtherNode, LocalnetError> {
        OtherNode::start(&self.parts.server, lag, history).await
    }

    /// Funds an account (`G…`) or a contract (`C…`) as friendbot does and answers the hash in hex;
    /// closes a ledger if none closes automatically.
    ///
    /// # Errors
    /// If the address is wrong or friendbot refuses.
    pub async fn fund(&self, address: &str) -> Result<String, LocalnetError> {
        let destination = Destination::parse(address).ok_or_else(|| {
            LocalnetError::Friendbot(format!("{address:?} is no address of an account or contract"))
        })?;
        let funding = self.parts.server.friendbot.fund(destination);
        tokio::pin!(funding);
        loop {
            tokio::select! {
                funded = &mut funding => {
                    let funded = funded
                        .map_err(|error| LocalnetError::Friendbot(error.to_string()))?;
                    return Ok(hex::encode(funded.hash));
                }
                // Ledgers close by hand here, so that nothing else would carry the payment out.
                () = tokio::time::sleep(Duration::from_millis(2)), if !self.parts.automatic => {
                    if self.parts.server.node.has_waiting() {
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
        let node = self.parts.server.node.clone();
        tokio::task::spawn_blocking(move || work(&node))
            .await
            .map_err(|error| LocalnetError::Internal(error.to_string()))?
    }
}

impl OtherNode {
    /// Starts one beside the node of `server`, on a free port of the same address.
    pub(crate) async fn start(
        server: &Server,
        lag: u32,
        history: Option<u32>,
    ) -> Result<Self, LocalnetError> {
        let (listener, address) = listen(SocketAddr::new(server.address.ip(), 0)).await?;
        let stop = server.stop.child_token();
        let view = Arc::new(View::of_another_node(server.node.clone(), lag, history));
        let server = Server {
            view: view.clone(),
            address,
            slots: Slots::new(),
            stop: stop.clone(),
            ..server.clone()
        };
        tokio::spawn(serve(listener, server, stop.clone()));
        Ok(Self { address, view, stop })
    }

    /// Where its JSON-RPC answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Injects a fault: into requests to this node alone, or into the ledgers of the network.
    pub fn fault(&self, fault: Fault) {
        self.view.fault(fault);
    }
}

impl Drop for OtherNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Listens on an address and answers which one it became.
pub(crate) async fn listen(
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), LocalnetError> {
    let failed = |reason: std::io::Error| LocalnetError::Bind {
        address: address.to_string(),
        reason: reason.to_string(),
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Serves until `stop` is cancelled.
pub(crate) async fn serve(listener: TcpListener, server: Server, stop: CancellationToken) {
    let served = axum::serve(listener, router(server))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the server stopped");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.parts.stop.cancel();

        // Connections that clients keep open may hold the node for a while longer.
        self.parts.server.node.release_store();
    }
}
