//! Ledger snapshots: the entries of a ledger as a file, in the form that `stellar snapshot create`
//! and soroban-sdk's `Env` write and read.
//!
//! A snapshot that is loaded puts its entries into the chain as they are, whichever network they
//! come from. The chain goes on at the later of both ledgers, so that entries keep their lives; if
//! it has to jump forward for that, the history before the jump is forgotten.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use soroban_env_host::xdr::{
    ContractDataDurability, Hash, LedgerEntry, LedgerEntryData, LedgerKey, LedgerKeyContractData,
    ScAddress, ScVal, TimePoint,
};

use crate::chain::Chain;
use crate::clock::LATEST;
use crate::error::{Internal, LocalnetError};
use crate::frame::account_of;
use crate::genesis::root_key;
use crate::modules::Modules;
use crate::settings::PROTOCOL_VERSION;
use crate::state::{LedgerState, Lookup, Stored, account_key};
use crate::xdr;

/// The largest file that is read, in bytes.
pub(crate) const MAX_SNAPSHOT: usize = 256 * 1024 * 1024;

/// The latest ledger a snapshot may be of: lives are counted from there in 32 bits.
const MAX_SEQUENCE: u32 = 2_000_000_000;

/// A snapshot as it was read.
#[derive(Deserialize)]
pub(crate) struct LedgerSnapshot {
    protocol_version: u32,
    sequence_number: u32,
    timestamp: u64,
    network_id: String,
    ledger_entries: Vec<EntryForm>,
}

/// An entry in either form that the format had: with its key, or without.
#[derive(Deserialize)]
#[serde(untagged)]
enum EntryForm {
    Named { entry: Box<LedgerEntry>, live_until: Option<u32> },
    Keyed(serde::de::IgnoredAny, (Box<LedgerEntry>, Option<u32>)),
}

/// A snapshot as it is written, with all members that other readers insist on.
#[derive(Serialize)]
struct Written<'a> {
    protocol_version: u32,
    sequence_number: u32,
    timestamp: u64,
    network_id: String,
    base_reserve: u32,
    min_persistent_entry_ttl: u32,
    min_temp_entry_ttl: u32,
    max_entry_ttl: u32,
    ledger_entries: Vec<WrittenEntry<'a>>,
}

#[derive(Serialize)]
struct WrittenEntry<'a> {
    entry: &'a LedgerEntry,
    live_until: Option<u32>,
}

impl EntryForm {
    fn into_stored(self) -> Stored {
        match self {
            Self::Named { entry, live_until } => Stored::new(*entry, live_until),
            Self::Keyed(_, (entry, live_until)) => Stored::new(*entry, live_until),
        }
    }
}

impl LedgerSnapshot {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, LocalnetError> {
        let cannot_read = |reason: String| {
            LocalnetError::LedgerSnapshot(format!("cannot read {}: {reason}", path.display()))
        };

        // Asked before opening: what is no file may have no end, and opening a pipe may wait for
        // ever. The pipe of a process substitution is given open and ends with its writer.
        let found = std::fs::metadata(path).map_err(|error| cannot_read(error.to_string()))?;
        let is_given = ["/dev/fd", "/proc/self/fd"].iter().any(|given| path.starts_with(given));
        if !found.is_file() && !is_given {
            return Err(cannot_read("expected a regular file".to_owned()));
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| cannot_read(error.to_string()))?;

        // A pipe has no length, so that one byte more than is taken is asked for.
        let read = file.take(MAX_SNAPSHOT as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| cannot_read(error.to_string()))?;
        if bytes.len() > MAX_SNAPSHOT {
            return Err(cannot_read(format!("at most {MAX_SNAPSHOT} bytes are read")));
        }
        Self::parse(&bytes)
    }

    /// Reads the JSON of a snapshot.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, LocalnetError> {
        let snapshot: Self = serde_json::from_slice(json).map_err(|error| {
            invalid(format!("it is not the JSON of a ledger snapshot: {error}"))
        })?;
        if snapshot.protocol_version > PROTOCOL_VERSION {
            let version = snapshot.protocol_version;
            let reason = format!("protocol {version}; this network speaks {PROTOCOL_VERSION}");
            return Err(invalid(format!("its ledger is one of {reason}")));
        }
        if snapshot.sequence_number > MAX_SEQUENCE {
            return Err(invalid(format!("expected a sequence_number up to {MAX_SEQUENCE}")));
        }
        if snapshot.timestamp > LATEST {
            return Err(invalid(format!("expected a timestamp up to {LATEST}, in seconds")));
        }
        Ok(snapshot)
    }

    /// Puts the entries into a chain, and answers how many.
    ///
    /// Configuration entries and the root account stay as they are: the network's own rules hold,
    /// and friendbot needs that account.
    pub(crate) fn load_into(self, chain: &mut Chain) -> Result<usize, LocalnetError> {
        let sequence = self.sequence_number.max(chain.sequence());
        if self.network_id != hex::encode(chain.network_id) {
            tracing::warn!(
                network_id = self.network_id,
                "the ledger snapshot is of a network with another passphrase; contracts of assets \
                 have other addresses there"
            );
        }

        let root = account_of(root_key(&chain.network_id).verifying_key().to_bytes());
        let root = account_key(&root);
        let mut state = LedgerState::clone(&chain.state);

        // The state's hash is a chain over all changes, as when a ledger closes.
        let mut hashed = chain.header.bucket_list_hash.0.to_vec();
        let mut loaded = 0;
        for (index, form) in self.ledger_entries.into_iter().enumerate() {
            let mut stored = form.into_stored();
            let key = stored.entry.to_key();

            // Lives come with their entries, so entries for them alone say nothing new.
            let skipped = matches!(
                stored.entry.data,
                LedgerEntryData::ConfigSetting(_) | LedgerEntryData::Ttl(_)
            );
            if skipped || key == root {
                continue;
            }
            let lives = matches!(
                stored.entry.data,
                LedgerEntryData::ContractData(_) | LedgerEntryData::ContractCode(_)
            );
            if lives != stored.live_until.is_some() {
                let rule = "contract data and code have a live_until, others have none";
                return Err(invalid(format!("ledger_entries[{index}]: {rule}")));
            }

            // No entry may have changed after the ledger that the chain goes on at.
            let modified = &mut stored.entry.last_modified_ledger_seq;
            *modified = (*modified).min(sequence);
            stored.lifetime_modified = *modified;
            hashed.extend(xdr::bytes(&stored.entry).map_err(Internal::from)?);
            state.set(key, Some(Arc::new(stored)));
            loaded += 1;
        }

        chain.state = Arc::new(state);

        // A test that registers contracts natively leaves code behind that is no Wasm.
        chain.modules = Modules::of(&chain.state, chain.settings.clone(), sequence)
            .map_err(|error| invalid(format!("it holds a contract that cannot be run: {error}")))?;
        chain.header.bucket_list_hash = Hash(xdr::sha256(&hashed));
        continue_at(chain, sequence, self.timestamp)?;
        Ok(loaded)
    }
}

/// Lets the chain go on after ledger `sequence`, without the history before it.
fn continue_at(chain: &mut Chain, sequence: u32, timestamp: u64) -> Result<(), Internal> {
    let close_time = chain.close_time().max(timestamp);
    chain.header.previous_ledger_hash = Hash(chain.hash);
    chain.header.ledger_seq = sequence;
    chain.header.scp_value.close_time = TimePoint(close_time);
    chain.hash = xdr::hash(&chain.header)?;

    chain.begin_history();
    Ok(())
}

/// The snapshot of a chain, as JSON.
pub(crate) fn written(chain: &Chain) -> Result<Vec<u8>, LocalnetError> {
    let (sequence, close_time) = (chain.sequence(), chain.close_time());
    let info = chain.settings.ledger_info(sequence, close_time, chain.network_id);
    let entries = chain
        .state
        .iter()
        .map(|stored| WrittenEntry { entry: &stored.entry, live_until: stored.live_until });
    let snapshot = Written {
        protocol_version: PROTOCOL_VERSION,
        sequence_number: sequence,
        timestamp: close_time,
        network_id: hex::encode(chain.network_id),
        base_reserve: chain.header.base_reserve,
        min_persistent_entry_ttl: info.min_persistent_entry_ttl,
        min_temp_entry_ttl: info.min_temp_entry_ttl,
        max_entry_ttl: info.max_entry_ttl,
        ledger_entries: entries.collect(),
    };
    serde_json::to_vec(&snapshot).map_err(|error| LocalnetError::Internal(error.to_string()))
}

/// Whether the contract of the native asset is there already.
pub(crate) fn has_native_contract(chain: &Chain) -> bool {
    let instance = LedgerKey::ContractData(LedgerKeyContractData {
        contract: ScAddress::Contract(chain.native.clone()),
        key: ScVal::LedgerKeyContractInstance,
        durability: ContractDataDurability::Persistent,
    });
    chain.state.get(&instance).is_some()
}

fn invalid(reason: String) -> LocalnetError {
    LocalnetError::LedgerSnapshot(reason)
}
