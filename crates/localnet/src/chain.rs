//! The closed ledgers: what the network knows for sure.

use std::sync::Arc;

use imbl::{HashMap, OrdMap, Vector};
use serde::{Deserialize, Serialize};
use soroban_env_host::xdr::{
    Asset, ContractId, Hash, LedgerHeader, LedgerHeaderExt, LedgerKey, StellarValue,
    StellarValueExt, TimePoint, VecM,
};

use crate::assets;
use crate::error::Internal;
use crate::events::{Cursor, EventRecord};
use crate::modules::Modules;
use crate::settings::{BASE_FEE, BASE_RESERVE, PROTOCOL_VERSION, Settings};
use crate::state::LedgerState;
use crate::validate::Context;
use crate::xdr;

/// All lumens there are, in stroops; the root account holds them at first.
pub(crate) const TOTAL_COINS: i64 = 1_000_000_000_000_000_000;

/// State and history after the last closed ledger. A clone shares both with the original, so that
/// closing a ledger costs what the ledger changes, however much is kept.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) state: Arc<LedgerState>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) modules: Modules,
    pub(crate) network_id: [u8; 32],
    pub(crate) native: ContractId,
    pub(crate) header: LedgerHeader,
    pub(crate) hash: [u8; 32],
    /// Closed ledgers within the retention window, oldest first; never empty.
    pub(crate) ledgers: Vector<Arc<ClosedLedger>>,
    /// By hash; a fee bump also by the hash of the transaction inside it.
    pub(crate) transactions: HashMap<[u8; 32], Arc<AppliedTransaction>>,
    pub(crate) events: OrdMap<Cursor, Arc<EventRecord>>,
    /// How many closed ledgers are kept.
    pub(crate) retention: u32,
    /// When the last ledger closed or the chain was loaded, in seconds of
    /// [`Clock::steady`](crate::clock::Clock::steady).
    pub(crate) closed_at: u64,
}

/// What inclusion costs per operation in the two phases of a ledger, in stroops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BaseFees {
    pub(crate) classic: i64,
    pub(crate) soroban: i64,
}

impl Default for BaseFees {
    fn default() -> Self {
        Self { classic: BASE_FEE.into(), soroban: BASE_FEE.into() }
    }
}

/// What is kept of a closed ledger, beside its transactions.
#[derive(Debug, Clone)]
pub(crate) struct ClosedLedger {
    pub(crate) header: LedgerHeader,
    pub(crate) hash: [u8; 32],
    /// Hashes in the order of application.
    pub(crate) transactions: Vec<[u8; 32]>,
    /// Keys of the entries that vanished, with their times to live.
    pub(crate) evicted: Vec<LedgerKey>,
    pub(crate) base_fees: BaseFees,
}

/// What is kept of a transaction.
#[derive(Debug, Clone)]
pub(crate) struct AppliedTransaction {
    pub(crate) hash: [u8; 32],
    /// The hash of the transaction inside a fee bump, which finds it as well.
    pub(crate) inner_hash: Option<[u8; 32]>,
    pub(crate) ledger: u32,
    /// Seconds of Unix time.
    pub(crate) close_time: u64,
    /// Position in its ledger, from 1.
    pub(crate) position: u32,
    pub(crate) successful: bool,
    pub(crate) soroban: bool,
    /// What inclusion cost per operation, in stroops; fee statistics are made of it.
    pub(crate) inclusion_fee: u64,
    /// XDR of the envelope.
    pub(crate) envelope: Vec<u8>,
    /// XDR of the result.
    pub(crate) result: Vec<u8>,
    /// XDR of the meta.
    pub(crate) meta: Vec<u8>,
    /// XDR of the changes when the fee was taken.
    pub(crate) fee_changes: Vec<u8>,
    /// XDR of the changes when a part of it was given back.
    pub(crate) refund_changes: Vec<u8>,
}

impl ClosedLedger {
    pub(crate) fn sequence(&self) -> u32 {
        self.header.ledger_seq
    }

    /// Seconds of Unix time.
    pub(crate) fn close_time(&self) -> u64 {
        self.header.scp_value.close_time.0
    }
}

impl Chain {
    /// Forgets the past: the history begins with the present ledger, of which no transaction is
    /// kept. What is kept has to lead to the present one ledger by ledger, hash by hash.
    pub(crate) fn begin_history(&mut self) {
        self.ledgers.clear();
        self.transactions.clear();
        self.events.clear();
        self.ledgers.push_back(Arc::new(ClosedLedger {
            header: self.header.clone(),
            hash: self.hash,
            transactions: Vec::new(),
            evicted: Vec::new(),
            base_fees: BaseFees::default(),
        }));
    }

    /// The chain of a first ledger with this state.
    pub(crate) fn genesis(
        state: LedgerState,
        network_id: [u8; 32],
        close_time: u64,
        retention: u32,
    ) -> Result<Self, Internal> {
        let state = Arc::new(state);
        let settings = Arc::new(Settings::load(&state)?);
        let modules = Modules::of(&state, settings.clone(), 1)?;
        let header = first_header(close_time);
        let hash = xdr::hash(&header)?;
        let first = ClosedLedger {
            header: header.clone(),
            hash,
            transactions: Vec::new(),
            evicted: Vec::new(),
            base_fees: BaseFees::default(),
        };
        Ok(Self {
            state,
            settings,
            modules,
            network_id,
            native: assets::contract(network_id, &Asset::Native)?,
            header,
            hash,
            ledgers: Vector::unit(Arc::new(first)),
            transactions: HashMap::new(),
            events: OrdMap::new(),
            retention,
            closed_at: 0,
        })
    }

    /// Sets how many classic operations a ledger takes; only in the first ledger.
    pub(crate) fn set_max_classic_operations(&mut self, most: u32) -> Result<(), Internal> {
        self.header.max_tx_set_size = most;

        // The hash covers the header, and the first ledger is in the history already.
        self.hash = xdr::hash(&self.header)?;
        if let Some(ledger) = self.ledgers.back_mut() {
            let ledger = Arc::make_mut(ledger);
            ledger.header = self.header.clone();
            ledger.hash = self.hash;
        }
        Ok(())
    }

    /// Sequence of the last closed ledger.
    pub(crate) fn sequence(&self) -> u32 {
        self.header.ledger_seq
    }

    /// When the last ledger closed, in seconds of Unix time.
    pub(crate) fn close_time(&self) -> u64 {
        self.header.scp_value.close_time.0
    }

    /// Sequence and close time of the oldest ledger kept.
    pub(crate) fn oldest(&self) -> (u32, u64) {
        let here = (self.sequence(), self.close_time());
        self.ledgers.front().map_or(here, |ledger| (ledger.sequence(), ledger.close_time()))
    }

    /// A kept ledger.
    pub(crate) fn ledger(&self, sequence: u32) -> Option<&Arc<ClosedLedger>> {
        let index = sequence.checked_sub(self.oldest().0)?;
        self.ledgers.get(usize::try_from(index).ok()?)
    }

    /// When a kept ledger closed.
    pub(crate) fn closed_at(&self, sequence: u32) -> Option<u64> {
        self.ledger(sequence).map(|ledger| ledger.close_time())
    }

    /// Writes down a transaction, under each hash that finds it.
    pub(crate) fn record(&mut self, transaction: AppliedTransaction) {
        let transaction = Arc::new(transaction);
        if let Some(inner_hash) = transaction.inner_hash {
            self.transactions.insert(inner_hash, transaction.clone());
        }
        self.transactions.insert(transaction.hash, transaction);
    }

    /// The ledger that would close next, at `now` seconds of Unix time; time never runs backwards.
    pub(crate) fn next(&self, now: u64) -> Context {
        Context {
            sequence: self.sequence().saturating_add(1),
            close_time: self.close_time().max(now),
            network_id: self.network_id,
            native: self.native.clone(),
            settings: self.settings.clone(),
            modules: self.modules.clone(),
        }
    }

    /// Forgets history older than the retention window.
    pub(crate) fn trim(&mut self) {
        let keep = usize::try_from(self.retention.max(1)).unwrap_or(usize::MAX);
        while self.ledgers.len() > keep {
            let Some(old) = self.ledgers.pop_front() else { break };
            for hash in &old.transactions {
                let Some(transaction) = self.transactions.remove(hash) else { continue };
                if let Some(inner_hash) = transaction.inner_hash {
                    self.transactions.remove(&inner_hash);
                }
            }
        }
        let oldest = Cursor::start_of(self.oldest().0);
        while let Some((cursor, _)) = self.events.get_min().filter(|(cursor, _)| *cursor < oldest) {
            let cursor = *cursor;
            self.events.remove(&cursor);
        }
    }
}

fn first_header(close_time: u64) -> LedgerHeader {
    LedgerHeader {
        ledger_version: PROTOCOL_VERSION,
        previous_ledger_hash: Hash([0; 32]),
        scp_value: StellarValue {
            tx_set_hash: Hash([0; 32]),
            close_time: TimePoint(close_time),
            upgrades: VecM::default(),
            ext: StellarValueExt::Basic,
        },
        tx_set_result_hash: Hash([0; 32]),
        bucket_list_hash: Hash([0; 32]),
        ledger_seq: 1,
        total_coins: TOTAL_COINS,
        fee_pool: 0,
        inflation_seq: 0,
        id_pool: 0,
        base_fee: BASE_FEE,
        base_reserve: BASE_RESERVE,
        max_tx_set_size: 1_000,
        skip_list: [Hash([0; 32]), Hash([0; 32]), Hash([0; 32]), Hash([0; 32])],
        ext: LedgerHeaderExt::V0,
    }
}
