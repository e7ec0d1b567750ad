//! The one place where the network changes: queue, clock and chain behind one lock.
//!
//! Readers never wait for that lock: what they see is published beside it whenever a ledger
//! closes, and faults have a lock of their own. A long close holds up only those who send.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use soroban_env_host::xdr::TransactionEnvelope;
use tokio::sync::watch;

use crate::chain::Chain;
use crate::clock::{Clock, LATEST};
use crate::close::close;
use crate::error::{Internal, LocalnetError};
use crate::faults::{Fault, LedgerFaults};
use crate::frame::Frame;
use crate::ledger_snapshot::LedgerSnapshot;
use crate::persist::Store;
use crate::queue::{Answer, Queue};

/// How many past ledgers a node that lags, or a stale read, can go back.
pub(crate) const MAX_LAG: u32 = 1_000;

/// How many snapshots are kept; the oldest goes when another is taken.
const MAX_SNAPSHOTS: usize = 100;

/// The network behind the RPC.
pub(crate) struct Node {
    pub(crate) passphrase: String,
    inner: Mutex<Inner>,
    published: Mutex<Published>,
    faults: Mutex<LedgerFaults>,
    tip: watch::Sender<u32>,
}

struct Inner {
    chain: Arc<Chain>,
    queue: Queue,
    clock: Clock,
    /// By number, which counts up.
    snapshots: BTreeMap<u64, Saved>,
    next_snapshot: u64,
    store: Option<Store>,
}

/// What readers see.
struct Published {
    chain: Arc<Chain>,
    clock: Clock,
    /// Past chains, oldest first, as far back as anybody lags.
    past: VecDeque<Arc<Chain>>,
    /// How many ledgers every reader lags.
    lag: u32,
    /// How many past chains other readers need.
    keep: u32,
    /// The oldest ledger that a lagging view may show: views do not go back.
    floor: u32,
}

/// What a snapshot keeps.
struct Saved {
    chain: Arc<Chain>,
    queue: Queue,
    clock: Clock,
}

/// How a node is set up.
pub(crate) struct NodeSettings {
    pub(crate) passphrase: String,
    pub(crate) queue_limit: usize,
    pub(crate) order_seed: u64,
}

impl Node {
    /// A node at the end of `chain`.
    pub(crate) fn new(
        settings: NodeSettings,
        mut chain: Chain,
        mut clock: Clock,
        store: Option<Store>,
    ) -> Self {
        // A kept or loaded chain may be ahead of the clock, whose offset is not kept. Were it not
        // set right, time would stand still until the clock has caught up by itself.
        clock.catch_up(chain.close_time());
        chain.closed_at = clock.steady();
        let tip = watch::Sender::new(chain.sequence());
        let mut queue = Queue::new(settings.queue_limit, settings.order_seed);

        // A restart must not take again what was applied just before it. The call after the loop
        // lifts the bans that are over by now.
        for transaction in chain.transactions.values() {
            queue.applied(std::iter::once(transaction.hash), transaction.ledger);
        }
        queue.applied(std::iter::empty(), chain.sequence());

        let chain = Arc::new(chain);

        // One past chain is kept for stale reads.
        let past = VecDeque::new();
        let published = Published { chain: chain.clone(), clock, past, lag: 0, keep: 1, floor: 0 };
        let inner =
            Inner { chain, queue, clock, snapshots: BTreeMap::new(), next_snapshot: 0, store };
        Self {
            passphrase: settings.passphrase,
            inner: Mutex::new(inner),
            published: Mutex::new(published),
            faults: Mutex::new(LedgerFaults::default()),
            tip,
        }
    }

    /// The chain as readers see it.
    pub(crate) fn view(&self) -> Arc<Chain> {
        let published = self.published();
        published.behind(published.lag, published.floor)
    }

    /// The chain as a reader sees it who is `lag` ledgers behind what every reader sees, but has
    /// seen ledger `floor` already.
    pub(crate) fn view_behind(&self, lag: u32, floor: u32) -> Arc<Chain> {
        let published = self.published();
        published.behind(published.lag.saturating_add(lag), floor)
    }

    /// Keeps past chains for readers who are `lag` ledgers behind, from now on.
    pub(crate) fn keep_past(&self, lag: u32) {
        let mut published = self.published();

        // One more, for reads that are older than what such a reader sees.
        published.keep = published.keep.max(lag.min(MAX_LAG).saturating_add(1));
    }

    /// Lets every reader lag from now on.
    pub(crate) fn set_lag(&self, lag: u32) {
        self.published().set_lag(lag);
    }

    /// The chain as it is.
    pub(crate) fn chain(&self) -> Arc<Chain> {
        self.published().chain.clone()
    }

    /// How long ago the last ledger of a view of the chain closed. Time travel does not count.
    pub(crate) fn latency(&self, chain: &Chain) -> Duration {
        Duration::from_secs(self.published().clock.steady().saturating_sub(chain.closed_at))
    }

    /// Whether transactions wait for a ledger.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.lock().queue.is_empty()
    }

    /// Notified whenever a ledger closed.
    pub(crate) fn watch(&self) -> watch::Receiver<u32> {
        self.tip.subscribe()
    }

    /// Offers a transaction to the queue; the hash comes with the answer.
    pub(crate) fn submit(
        &self,
        envelope: TransactionEnvelope,
    ) -> Result<([u8; 32], Answer), Internal> {
        let mut inner = self.lock();
        let chain = inner.chain.clone();
        let now = inner.clock.now();
        let frame = Frame::new(envelope, chain.network_id)?;
        let hash = frame.hash;
        Ok((hash, inner.queue.submit(&chain, frame, now)?))
    }

    /// Closes a ledger unless a fault keeps it from closing automatically.
    pub(crate) fn close_when_due(&self) -> Result<(), LocalnetError> {
        // Under the lock: once a fault was injected, no close that was due before it comes after
        // it.
        let inner = self.lock();
        if !self.faults().may_close() {
            return Ok(());
        }
        self.close(inner).map(|_| ())
    }

    /// Closes a ledger and answers its sequence.
    pub(crate) fn close_ledger(&self) -> Result<u32, LocalnetError> {
        self.close(self.lock())
    }

    fn close(&self, mut guard: MutexGuard<'_, Inner>) -> Result<u32, LocalnetError> {
        let inner = &mut *guard;
        let now = inner.clock.now();
        let mut batch = inner.queue.take(&inner.chain, now);
        let hashes = batch.frames.iter().map(|frame| (frame.hash, frame.inner_hash));
        batch.failing = self.faults().choose_failing(hashes);

        // On a copy: if a ledger cannot be closed, nothing of it stays, and readers keep the old.
        let mut next = Chain::clone(&inner.chain);
        close(&mut next, &batch, now)?;
        next.closed_at = inner.clock.steady();
        inner.chain = Arc::new(next);

        let sequence = inner.chain.sequence();

        // As stellar-core does: of a fee bump, only the hash of the whole is not taken again.
        inner.queue.applied(batch.frames.iter().map(|frame| frame.hash), sequence);
        if !batch.frames.is_empty() {
            tracing::info!(ledger = sequence, transactions = batch.frames.len(), "closed a ledger");
        }

        // Stored before it is published: no client may have seen a ledger that a restart forgets.
        if let Some(store) = &mut inner.store {
            store.save(&inner.chain)?;
        }
        self.published().advance(inner.chain.clone());

        // Without the lock: the task that is woken takes it next.
        drop(guard);
        self.tip.send_replace(sequence);
        Ok(sequence)
    }

    /// Gives the state directory back, so that another network can use it. What closes from now on
    /// is not kept.
    pub(crate) fn release_store(&self) {
        self.lock().store = None;
    }

    /// Injects a fault of ledgers or transactions.
    pub(crate) fn fault(&self, fault: Fault) {
        // The lock waits for a ledger that is closing now.
        let _inner = self.lock();
        self.faults().set(fault);
    }

    /// Moves the clock forward and answers the new time in seconds of Unix time; `None`, and the
    /// clock stays, if that would be after [`LATEST`].
    pub(crate) fn advance_time(&self, seconds: u64) -> Option<u64> {
        let mut inner = self.lock();

        // The machine's clock may have been set back since the last ledger closed.
        let mut clock = inner.clock;
        clock.catch_up(inner.chain.close_time());
        let time = clock.now().checked_add(seconds).filter(|time| *time <= LATEST)?;
        clock.advance(seconds);
        inner.clock = clock;
        self.published().clock = clock;
        Some(time)
    }

    /// Remembers chain, queue and clock.
    pub(crate) fn snapshot(&self) -> u64 {
        let mut inner = self.lock();
        let number = inner.next_snapshot;
        inner.next_snapshot += 1;
        let (chain, queue, clock) = (inner.chain.clone(), inner.queue.clone(), inner.clock);
        inner.snapshots.insert(number, Saved { chain, queue, clock });

        // Each holds on to a state and a history of its own.
        while inner.snapshots.len() > MAX_SNAPSHOTS {
            inner.snapshots.pop_first();
        }
        number
    }

    /// Goes back to what was remembered; the snapshot stays and can be used again.
    pub(crate) fn revert(&self, number: u64) -> Result<(), LocalnetError> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let saved = inner.snapshots.get(&number).ok_or(LocalnetError::NoSuchSnapshot(number))?;
        inner.chain = saved.chain.clone();
        inner.queue = saved.queue.clone();
        inner.clock = saved.clock;
        self.replace_chain(guard)
    }

    /// Puts entries of a ledger snapshot into the chain, and answers how many; the chain goes on at
    /// the later of both ledgers.
    pub(crate) fn load(&self, snapshot: LedgerSnapshot) -> Result<usize, LocalnetError> {
        let mut guard = self.lock();
        let mut next = Chain::clone(&guard.chain);
        let loaded = snapshot.load_into(&mut next)?;
        let sequence = next.sequence();
        guard.chain = Arc::new(next);

        // Bans count ledgers, and those in between never closed; what waits is checked again.
        guard.queue.applied(std::iter::empty(), sequence);
        self.replace_chain(guard)?;
        Ok(loaded)
    }

    /// Keeps and publishes a chain that did not grow out of the one before by closing a ledger.
    fn replace_chain(&self, mut guard: MutexGuard<'_, Inner>) -> Result<(), LocalnetError> {
        let inner = &mut *guard;
        let sequence = inner.chain.sequence();

        // The new chain may be ahead of the clock; `Node::new` says why that must not stay.
        inner.clock.catch_up(inner.chain.close_time());

        // Measured anew, or the next ledger would look overdue after an old snapshot is restored.
        Arc::make_mut(&mut inner.chain).closed_at = inner.clock.steady();
        if let Some(store) = &mut inner.store {
            store.rewrite(&inner.chain)?;
        }
        self.published().replace(inner.chain.clone(), inner.clock);
        drop(guard);
        self.tip.send_replace(sequence);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock cannot leave the chain half written: it is replaced as a whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, LedgerFaults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Published {
    /// The chain `lag` ledgers behind the tip, or as far behind as chains are kept; not before
    /// ledger `floor`, so that a reader who begins to lag stays there until it is far enough
    /// behind.
    fn behind(&self, lag: u32, floor: u32) -> Arc<Chain> {
        let at = self.chain.sequence().saturating_sub(lag).max(floor);

        // Oldest first, so that the first chain that is late enough is the nearest.
        self.past.iter().find(|chain| chain.sequence() >= at).unwrap_or(&self.chain).clone()
    }

    fn advance(&mut self, chain: Arc<Chain>) {
        let before = std::mem::replace(&mut self.chain, chain);
        self.past.push_back(before);

        // Other nodes are behind on top of what every reader is.
        let keep = usize::try_from(self.keep.saturating_add(self.lag)).unwrap_or(usize::MAX);
        while self.past.len() > keep {
            self.past.pop_front();
        }
    }

    fn set_lag(&mut self, lag: u32) {
        // A reader that begins to lag now still sees what was seen before.
        self.floor = self.behind(self.lag, self.floor).sequence();
        self.lag = lag.min(MAX_LAG);
        if lag == 0 {
            self.floor = 0;
        }
    }

    fn replace(&mut self, chain: Arc<Chain>, clock: Clock) {
        self.chain = chain;
        self.clock = clock;

        // Past chains are of another history, which no reader may see after this one.
        self.past.clear();
        self.floor = 0;
    }
}
