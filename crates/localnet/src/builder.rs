//! Setting up and starting a network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::LocalnetError;
use crate::friendbot::Friendbot;
use crate::genesis::{deploy_native, first_chain, network_id};
use crate::network::{Network, Parts};
use crate::node::Node;
use crate::persist::Store;
use crate::rpc::{SLOTS, Server, router};
use crate::settings::Lifetimes;

/// The passphrase of a network that stands alone.
pub const STANDALONE_PASSPHRASE: &str = "Standalone Network ; February 2017";

/// Closed ledgers kept for `getTransaction` and `getEvents` unless set otherwise.
const DEFAULT_RETENTION: u32 = 120_960;

/// Transactions that may wait for a ledger unless set otherwise.
const DEFAULT_QUEUE: usize = 5_000;

/// A network to be started.
#[derive(Debug, Clone)]
pub struct Builder {
    passphrase: String,
    address: SocketAddr,
    interval: Option<Duration>,
    start_time: Option<u64>,
    state_dir: Option<PathBuf>,
    lifetimes: Lifetimes,
    retention: u32,
    queue: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            passphrase: STANDALONE_PASSPHRASE.to_owned(),
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            interval: None,
            start_time: None,
            state_dir: None,
            lifetimes: Lifetimes::default(),
            retention: DEFAULT_RETENTION,
            queue: DEFAULT_QUEUE,
        }
    }
}

impl Builder {
    /// The passphrase; the network's id and its root account follow from it.
    #[must_use]
    pub fn passphrase(mut self, passphrase: impl Into<String>) -> Self {
        self.passphrase = passphrase.into();
        self
    }

    /// Where to listen; port 0 lets the system choose, which is the default.
    #[must_use]
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Closes a ledger every so often. Without it ledgers close only by [`Network::close_ledger`].
    #[must_use]
    pub fn ledger_interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval.max(Duration::from_millis(1)));
        self
    }

    /// Lets a clock that only [`Network::advance_time`] moves start at this time, in seconds of Unix time.
    /// Without it the machine's clock is used.
    #[must_use]
    pub fn manual_clock(mut self, start: u64) -> Self {
        self.start_time = Some(start);
        self
    }

    /// Keeps the chain in a directory across restarts.
    #[must_use]
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
        self
    }

    /// How long contract entries live; the public network's by default. A kept chain keeps its own.
    #[must_use]
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// How many closed ledgers `getTransaction` and `getEvents` reach back.
    #[must_use]
    pub fn retention(mut self, ledgers: u32) -> Self {
        self.retention = ledgers.max(1);
        self
    }

    /// How many transactions may wait for a ledger.
    #[must_use]
    pub fn queue_limit(mut self, transactions: usize) -> Self {
        self.queue = transactions;
        self
    }

    /// Starts the network.
    ///
    /// # Errors
    /// If the address can't be listened on, or the state directory can't be used.
    pub async fn start(self) -> Result<Network, LocalnetError> {
        let listener = TcpListener::bind(self.address)
            .await
            .map_err(|reason| LocalnetError::Bind { address: self.address.to_string(), reason })?;
        let address = listener
            .local_addr()
            .map_err(|reason| LocalnetError::Bind { address: self.address.to_string(), reason })?;
        let interval = self.interval;
        let node = tokio::task::spawn_blocking(move || self.node())
            .await
            .map_err(|error| LocalnetError::Internal(error.to_string()))??;
        let node = Arc::new(node);
        let friendbot = Friendbot::start(node.clone());
        let stop = CancellationToken::new();
        let server = Server {
            node: node.clone(),
            friendbot: friendbot.clone(),
            friendbot_url: format!("http://{address}/friendbot"),
            slots: Arc::new(Semaphore::new(SLOTS)),
        };
        let mut tasks = vec![tokio::spawn(serve(listener, server, stop.clone()))];
        if let Some(interval) = interval {
            tasks.push(tokio::spawn(close_regularly(node.clone(), interval, stop.clone())));
        }
        let automatic = interval.is_some();
        Ok(Network::new(Parts { node, friendbot, address, automatic, stop, tasks }))
    }

    fn node(self) -> Result<Node, LocalnetError> {
        let id = network_id(&self.passphrase);
        let clock = match self.start_time {
            Some(now) => Clock::Manual { now },
            None => Clock::System { offset: 0 },
        };
        let (mut store, kept) = match &self.state_dir {
            Some(directory) => {
                let (store, kept) = Store::open(directory, id, self.retention)?;
                (Some(store), kept)
            }
            None => (None, None),
        };
        let fresh = kept.is_none();
        let chain = match kept {
            Some(chain) => chain,
            None => first_chain(id, self.lifetimes, clock.now(), self.retention)?,
        };
        if let (true, Some(store)) = (fresh, &mut store) {
            store.rewrite(&chain)?;
        }
        let node = Node::new(self.passphrase, chain, clock, self.queue, store);
        if fresh {
            node.submit(deploy_native(&node.chain())?)?;
        }
        node.close_ledger()?;
        Ok(node)
    }
}

async fn serve(listener: TcpListener, server: Server, stop: CancellationToken) {
    let served = axum::serve(listener, router(server))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the server stopped");
    }
}

async fn close_regularly(node: Arc<Node>, interval: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let node = node.clone();
        match tokio::task::spawn_blocking(move || node.close_unless_frozen()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a ledger could not be closed"),
            Err(error) => tracing::error!(%error, "closing a ledger ended early"),
        }
    }
}
