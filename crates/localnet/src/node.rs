//! The one place where the network changes: queue, clock, faults and the chain behind one lock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use soroban_env_host::xdr::{
    TransactionEnvelope, TransactionResult, TransactionResultExt, TransactionResultResult,
};
use tokio::sync::watch;

use crate::chain::Chain;
use crate::clock::Clock;
use crate::close::close;
use crate::error::{Internal, LocalnetError};
use crate::faults::{Fate, Fault, Faults};
use crate::frame::Frame;
use crate::persist::Store;
use crate::queue::{Answer, Queue};

/// The network behind the RPC.
pub(crate) struct Node {
    pub(crate) passphrase: String,
    inner: Mutex<Inner>,
    tip: watch::Sender<u32>,
}

struct Inner {
    chain: Arc<Chain>,
    queue: Queue,
    clock: Clock,
    faults: Faults,
    /// Past states while reads lag, oldest first.
    past: VecDeque<Arc<Chain>>,
    snapshots: HashMap<u64, Saved>,
    store: Option<Store>,
}

/// What a snapshot keeps.
struct Saved {
    chain: Arc<Chain>,
    queue: Queue,
    clock: Clock,
}

impl Node {
    /// A node at the end of `chain`.
    pub(crate) fn new(
        passphrase: String,
        chain: Chain,
        clock: Clock,
        queue_limit: usize,
        store: Option<Store>,
    ) -> Self {
        let tip = watch::Sender::new(chain.sequence());
        let mut queue = Queue::new(queue_limit);
        for (hash, transaction) in &chain.transactions {
            queue.applied(std::iter::once(*hash), transaction.ledger);
        }
        queue.applied(std::iter::empty(), chain.sequence());
        let inner = Inner {
            chain: Arc::new(chain),
            queue,
            clock,
            faults: Faults::default(),
            past: VecDeque::new(),
            snapshots: HashMap::new(),
            store,
        };
        Self { passphrase, inner: Mutex::new(inner), tip }
    }

    /// The chain as readers see it.
    pub(crate) fn view(&self) -> Arc<Chain> {
        let inner = self.lock();
        inner.past.front().unwrap_or(&inner.chain).clone()
    }

    /// The chain as it is.
    pub(crate) fn chain(&self) -> Arc<Chain> {
        self.lock().chain.clone()
    }

    /// Seconds of Unix time.
    pub(crate) fn now(&self) -> u64 {
        self.lock().clock.now()
    }

    /// Whether transactions wait for a ledger.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.lock().queue.is_empty()
    }

    /// Told whenever a ledger closed.
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
        match Frame::new(envelope, chain.network_id)? {
            Some(frame) => {
                let hash = frame.hash;
                Ok((hash, inner.queue.submit(&chain, frame, now)?))
            }
            None => {
                tracing::warn!("refused: this network does not take envelopes of version 0");
                let result = Box::new(TransactionResult {
                    fee_charged: 0,
                    result: TransactionResultResult::TxNotSupported,
                    ext: TransactionResultExt::V0,
                });
                Ok(([0; 32], Answer::Error { result, diagnostics: Vec::new() }))
            }
        }
    }

    /// Closes a ledger unless closing is frozen.
    pub(crate) fn close_unless_frozen(&self) -> Result<(), LocalnetError> {
        if self.lock().faults.frozen {
            return Ok(());
        }
        self.close_ledger().map(|_| ())
    }

    /// Closes a ledger and answers its sequence.
    pub(crate) fn close_ledger(&self) -> Result<u32, LocalnetError> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let now = inner.clock.now();
        let frames = inner.queue.take(&inner.chain, now);
        if inner.faults.lag > 0 {
            inner.past.push_back(inner.chain.clone());
        }
        if frames.is_empty() {
            close(Arc::make_mut(&mut inner.chain), &frames, now)?;
        } else {
            // On a copy: if a ledger can't be closed, nothing of it stays.
            let mut next = Chain::clone(&inner.chain);
            close(&mut next, &frames, now)?;
            inner.chain = Arc::new(next);
        }
        let sequence = inner.chain.sequence();
        let hashes = frames.iter().flat_map(|frame| [frame.hash, frame.inner_hash]);
        inner.queue.applied(hashes, sequence);
        let lag = usize::try_from(inner.faults.lag).unwrap_or(usize::MAX);
        while inner.past.len() > lag {
            inner.past.pop_front();
        }
        if !frames.is_empty() {
            tracing::info!(ledger = sequence, transactions = frames.len(), "closed a ledger");
        }
        if let Some(store) = &mut inner.store {
            store.save(&inner.chain)?;
        }
        drop(guard);
        self.tip.send_replace(sequence);
        Ok(sequence)
    }

    /// Injects a fault.
    pub(crate) fn fault(&self, fault: Fault) {
        let mut inner = self.lock();
        inner.faults.set(fault);
        if fault == Fault::Lag(0) {
            inner.past.clear();
        }
    }

    /// What happens to the next request, and how long its answer takes.
    pub(crate) fn fate(&self, sends: bool) -> (Fate, Duration) {
        let mut inner = self.lock();
        let fate = inner.faults.fate(sends);
        (fate, inner.faults.delay)
    }

    /// Moves the clock forward.
    pub(crate) fn advance_time(&self, seconds: u64) {
        self.lock().clock.advance(seconds);
    }

    /// Remembers chain, queue and clock.
    pub(crate) fn snapshot(&self) -> u64 {
        let mut inner = self.lock();
        let number = u64::try_from(inner.snapshots.len()).unwrap_or(u64::MAX);
        let (chain, queue, clock) = (inner.chain.clone(), inner.queue.clone(), inner.clock);
        inner.snapshots.insert(number, Saved { chain, queue, clock });
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
        inner.past.clear();
        let sequence = inner.chain.sequence();
        if let Some(store) = &mut inner.store {
            store.rewrite(&inner.chain)?;
        }
        drop(guard);
        self.tip.send_replace(sequence);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock can't leave the chain half written: it is replaced as a whole or rolled back.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
