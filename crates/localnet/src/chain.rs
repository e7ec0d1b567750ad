//! The closed ledgers: what the network knows for sure.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use soroban_env_host::xdr::{
    ContractId, Hash, LedgerHeader, LedgerHeaderExt, StellarValue, StellarValueExt, TimePoint, VecM,
};

use crate::error::Internal;
use crate::events::{Cursor, EventRecord, native_contract};
use crate::modules::Modules;
use crate::settings::{BASE_FEE, BASE_RESERVE, PROTOCOL_VERSION, Settings};
use crate::state::State;
use crate::validate::Context;
use crate::xdr;

/// All lumens there are, in stroops; the root account holds them at first.
pub(crate) const TOTAL_COINS: i64 = 1_000_000_000_000_000_000;

/// State and history after the last closed ledger.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) state: Arc<State>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) modules: Modules,
    pub(crate) network_id: [u8; 32],
    pub(crate) native: ContractId,
    pub(crate) header: LedgerHeader,
    pub(crate) hash: [u8; 32],
    /// Closed ledgers within the retention window, oldest first; never empty.
    pub(crate) ledgers: VecDeque<ClosedLedger>,
    pub(crate) transactions: HashMap<[u8; 32], Arc<AppliedTransaction>>,
    pub(crate) events: BTreeMap<Cursor, Arc<EventRecord>>,
    /// How many closed ledgers are kept.
    pub(crate) retention: u32,
}

/// What is kept of a closed ledger.
#[derive(Debug, Clone)]
pub(crate) struct ClosedLedger {
    pub(crate) sequence: u32,
    /// Seconds of Unix time.
    pub(crate) close_time: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) transactions: Vec<[u8; 32]>,
}

/// What `getTransaction` tells of a transaction.
#[derive(Debug, Clone)]
pub(crate) struct AppliedTransaction {
    pub(crate) ledger: u32,
    /// Seconds of Unix time.
    pub(crate) close_time: u64,
    /// Position in its ledger, from 1.
    pub(crate) position: u32,
    pub(crate) successful: bool,
    pub(crate) fee_bump: bool,
    pub(crate) soroban: bool,
    /// The bid per operation, in stroops; fee statistics are made of it.
    pub(crate) inclusion_fee: u64,
    /// XDR of the envelope.
    pub(crate) envelope: Vec<u8>,
    /// XDR of the result.
    pub(crate) result: Vec<u8>,
    /// XDR of the meta.
    pub(crate) meta: Vec<u8>,
}

impl Chain {
    /// The chain of a first ledger with this state.
    pub(crate) fn genesis(
        state: State,
        network_id: [u8; 32],
        close_time: u64,
        retention: u32,
    ) -> Result<Self, Internal> {
        let state = Arc::new(state);
        let settings = Arc::new(Settings::load(&state)?);
        let modules = Modules::of(&state, settings.clone(), 1)?;
        let header = first_header(close_time);
        let hash = xdr::hash(&header)?;
        let first = ClosedLedger { sequence: 1, close_time, hash, transactions: Vec::new() };
        Ok(Self {
            state,
            settings,
            modules,
            network_id,
            native: native_contract(network_id)?,
            header,
            hash,
            ledgers: VecDeque::from([first]),
            transactions: HashMap::new(),
            events: BTreeMap::new(),
            retention,
        })
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
        self.ledgers.front().map_or(here, |ledger| (ledger.sequence, ledger.close_time))
    }

    /// When a kept ledger closed.
    pub(crate) fn closed_at(&self, sequence: u32) -> Option<u64> {
        let index = sequence.checked_sub(self.oldest().0)?;
        let ledger = self.ledgers.get(usize::try_from(index).ok()?)?;
        Some(ledger.close_time)
    }

    /// The ledger that would close next, at `now` seconds of Unix time.
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
                self.transactions.remove(hash);
            }
        }
        let oldest = Cursor::start_of(self.oldest().0);
        if self.events.first_key_value().is_some_and(|(cursor, _)| *cursor < oldest) {
            self.events = self.events.split_off(&oldest);
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
