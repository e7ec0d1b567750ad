//! What one RPC address shows of the chain: the newest state, or that of a node which lags or has
//! forgotten most of its history; and what goes wrong there.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::chain::Chain;
use crate::faults::{Fate, Fault, RequestFaults, Subject};
use crate::node::{MAX_LAG, Node};

/// What readers at one address see.
pub(crate) struct View {
    node: Arc<Node>,
    /// Whether this is the network's own address, whose lag the node keeps.
    main: bool,
    /// How many ledgers another node is behind, beyond what every reader is.
    lag: AtomicU32,
    /// The oldest ledger another node may show: its readers have seen it before it began to lag.
    floor: AtomicU32,
    /// How many ledgers of history it has; `None`: all that are kept.
    history: Option<u32>,
    /// The last pruned chain, and the chain it was made of.
    pruned: Mutex<Option<(Arc<Chain>, Arc<Chain>)>>,
    faults: Mutex<RequestFaults>,
}

impl View {
    /// What the network's own address shows.
    pub(crate) fn main(node: Arc<Node>) -> Self {
        Self::new(node, true, 0, None)
    }

    /// What another node would show that is `lag` ledgers behind and has `history` ledgers.
    pub(crate) fn of_another_node(node: Arc<Node>, lag: u32, history: Option<u32>) -> Self {
        node.keep_past(lag);
        Self::new(node, false, lag.min(MAX_LAG), history)
    }

    fn new(node: Arc<Node>, main: bool, lag: u32, history: Option<u32>) -> Self {
        let pruned = Mutex::new(None);
        let faults = Mutex::new(RequestFaults::default());
        Self {
            node,
            main,
            lag: AtomicU32::new(lag),
            floor: AtomicU32::new(0),
            history,
            pruned,
            faults,
        }
    }

    /// The chain to read; `stale`: as it was one ledger before.
    pub(crate) fn chain(&self, stale: bool) -> Arc<Chain> {
        let lag = self.lag.load(Ordering::Relaxed);
        let chain = match (self.main, stale) {
            (true, false) => self.node.view(),
            (false, false) => self.node.view_behind(lag, self.floor.load(Ordering::Relaxed)),
            // To be older than the answer before it is what a stale read is for.
            (_, true) => self.node.view_behind(lag.saturating_add(1), 0),
        };
        match self.history {
            None => chain,
            Some(history) => self.prune(chain, history),
        }
    }

    /// Injects a fault: of requests into this address, of ledgers into the network.
    pub(crate) fn fault(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).set(fault);
        self.node.fault(fault);
        let lag = match fault {
            Fault::Lag(lag) => lag.min(MAX_LAG),
            // Every fault of this address ends, but a node that was started to lag still does.
            Fault::None if self.main => 0,
            _ => return,
        };
        if self.main {
            self.node.set_lag(lag);
        } else {
            // Read before the lag changes: this ledger has been seen.
            let seen = self.chain(false).sequence();
            self.floor.store(if lag == 0 { 0 } else { seen }, Ordering::Relaxed);

            // Before the lag counts, so that the chains it needs are kept.
            self.node.keep_past(lag);
            self.lag.store(lag, Ordering::Relaxed);
        }
    }

    /// What happens to the next request.
    pub(crate) fn fate(&self, subject: Subject) -> Fate {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).fate(subject)
    }

    /// A chain without older history; made once for each ledger.
    fn prune(&self, chain: Arc<Chain>, history: u32) -> Arc<Chain> {
        let mut pruned = self.pruned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((source, made)) = pruned.as_ref()
            && Arc::ptr_eq(source, &chain)
        {
            return made.clone();
        }
        let mut shorter = Chain::clone(&chain);
        shorter.retention = history.max(1).min(shorter.retention);
        shorter.trim();
        let made = Arc::new(shorter);
        *pruned = Some((chain, made.clone()));
        made
    }
}
