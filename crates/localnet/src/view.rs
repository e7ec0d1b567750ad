//! What one RPC address shows of the chain: the newest state, or that of a node which lags or has
//! forgotten most of its history.

use std::sync::{Arc, Mutex, PoisonError};

use crate::chain::Chain;
use crate::node::Node;

/// What readers at one address see.
pub(crate) struct View {
    node: Arc<Node>,
    /// How many ledgers it is behind, beyond what every reader is; `None`: the main address.
    lag: Option<u32>,
    /// How many ledgers of history it has; `None`: all that are kept.
    history: Option<u32>,
    /// The last pruned chain, and the chain it was made of.
    pruned: Mutex<Option<(Arc<Chain>, Arc<Chain>)>>,
}

impl View {
    /// What the network's own address shows.
    pub(crate) fn main(node: Arc<Node>) -> Self {
        Self { node, lag: None, history: None, pruned: Mutex::new(None) }
    }

    /// What another node would show that is `lag` ledgers behind and has `history` ledgers.
    pub(crate) fn of_another_node(node: Arc<Node>, lag: u32, history: Option<u32>) -> Self {
        node.keep_past(lag);
        Self { node, lag: Some(lag), history, pruned: Mutex::new(None) }
    }

    /// The chain to read; `stale`: as it was one ledger before.
    pub(crate) fn chain(&self, stale: bool) -> Arc<Chain> {
        let chain = match self.lag {
            None if !stale => self.node.view(),
            lag => self.node.view_behind(lag.unwrap_or(0).saturating_add(u32::from(stale))),
        };
        match self.history {
            None => chain,
            Some(history) => self.prune(chain, history),
        }
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
