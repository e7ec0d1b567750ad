//! Setting up and starting a network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::LocalnetError;
use crate::friendbot::Friendbot;
use crate::genesis::{deploy_native, first_chain, network_id};
use crate::ledger_snapshot::{LedgerSnapshot, has_native_contract};
use crate::network::{Network, Parts, listen, serve};
use crate::node::{Node, NodeSettings};
use crate::persist::Store;
use crate::rpc::{Server, Slots};
use crate::settings::{Lifetimes, Profile};
use crate::view::View;

/// The passphrase of a network of its own.
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
    ledger_snapshot: Option<PathBuf>,
    profile: Profile,
    lifetimes: Option<Lifetimes>,
    retention: u32,
    queue: usize,
    order_seed: u64,
    lenient_http: bool,
    control: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            passphrase: STANDALONE_PASSPHRASE.to_owned(),
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            interval: None,
            start_time: None,
            state_dir: None,
            ledger_snapshot: None,
            profile: Profile::default(),
            lifetimes: None,
            retention: DEFAULT_RETENTION,
            queue: DEFAULT_QUEUE,
            order_seed: 0,
            lenient_http: false,
            control: false,
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

    /// Lets a clock that only [`Network::advance_time`] moves start at this time, in seconds of
    /// Unix time. Without it the machine's clock is used. Either clock starts at the close time of
    /// the last ledger of a kept or loaded chain where that is later.
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

    /// Loads the entries of a ledger snapshot into a new chain, which begins at that ledger and
    /// time; the file is one of `stellar snapshot create`, or of soroban-sdk's `Env`. Configuration
    /// entries and the root account of the file are left out. A kept chain stays as it is.
    #[must_use]
    pub fn ledger_snapshot(mut self, file: impl Into<PathBuf>) -> Self {
        self.ledger_snapshot = Some(file.into());
        self
    }

    /// Whose limits and prices the network has; the public network's by default. A kept chain keeps
    /// its own.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// How long contract entries live; the profile's by default. A kept chain keeps its own.
    #[must_use]
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = Some(lifetimes);
        self
    }

    /// Decides, together with the ledger before, in which order a ledger applies its transactions.
    /// As on the public network it is not the order in which they came.
    #[must_use]
    pub fn order_seed(mut self, seed: u64) -> Self {
        self.order_seed = seed;
        self
    }

    /// Takes requests of any content type and up to 8 MiB, where stellar-rpc insists on
    /// `application/json` and 512 KiB.
    #[must_use]
    pub fn lenient_http(mut self, lenient: bool) -> Self {
        self.lenient_http = lenient;
        self
    }

    /// Serves `/control`, by which any client that reaches the port closes ledgers, moves the
    /// clock, goes back to snapshots and injects faults. Off by default.
    #[must_use]
    pub fn control(mut self, control: bool) -> Self {
        self.control = control;
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
    /// If the address can't be listened on, the state directory can't be used, or the ledger
    /// snapshot can't be loaded.
    pub async fn start(self) -> Result<Network, LocalnetError> {
        // The address is taken first, so that one in use is found before a kept chain is touched.
        let (listener, address) = listen(self.address).await?;
        let (interval, lenient, control) = (self.interval, self.lenient_http, self.control);

        // Reading a kept chain and compiling its contracts takes long: not on the runtime's own
        // threads.
        let node = tokio::task::spawn_blocking(move || self.node())
            .await
            .map_err(|error| LocalnetError::Internal(error.to_string()))??;
        let node = Arc::new(node);
        let stop = CancellationToken::new();
        let server = Server {
            node: node.clone(),
            view: Arc::new(View::main(node.clone())),
            friendbot: Friendbot::start(node.clone()),
            address,
            lenient,
            control,
            max_latency: interval.map(max_latency),
            slots: Slots::new(),
            stop: stop.clone(),
            others: Arc::default(),
        };

        let mut tasks = vec![tokio::spawn(serve(listener, server.clone(), stop.clone()))];
        if let Some(interval) = interval {
            tasks.push(tokio::spawn(close_regularly(node, interval, stop.clone())));
        }
        let automatic = interval.is_some();
        Ok(Network::new(Parts { server, address, automatic, stop, tasks }))
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
            None => {
                let lifetimes = self.lifetimes.unwrap_or_else(|| self.profile.lifetimes());
                let mut chain =
                    first_chain(id, (self.profile, lifetimes), clock.now(), self.retention)?;
                if let Some(file) = &self.ledger_snapshot {
                    let entries = LedgerSnapshot::read(file)?.load_into(&mut chain)?;
                    tracing::info!(entries, ledger = chain.sequence(), "loaded a ledger snapshot");
                }
                chain
            }
        };
        if let (true, Some(store)) = (fresh, &mut store) {
            store.rewrite(&chain)?;
        }
        let settings = NodeSettings {
            passphrase: self.passphrase,
            queue_limit: self.queue,
            order_seed: self.order_seed,
        };
        let node = Node::new(settings, chain, clock, store);

        // A ledger snapshot may bring the contract of the native asset along.
        if fresh && !has_native_contract(&node.chain()) {
            node.submit(deploy_native(&node.chain())?)?;
        }

        // The first ledger deploys it, so that the network is usable when `start` returns.
        node.close_ledger()?;
        Ok(node)
    }
}

/// How long after the last ledger a network is healthy that closes one each `interval`.
fn max_latency(interval: Duration) -> Duration {
    // stellar-rpc's default. Two intervals where that is longer, so that a slow network is healthy
    // between its ledgers.
    Duration::from_secs(30).max(interval.saturating_mul(2))
}

async fn close_regularly(node: Arc<Node>, interval: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(interval);

    // After a pause, as of a suspended machine, ledgers go on at their interval instead of in a
    // burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let node = node.clone();
        match tokio::task::spawn_blocking(move || node.close_when_due()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a ledger could not be closed"),
            Err(error) => tracing::error!(%error, "closing a ledger ended early"),
        }
    }
}
