//! The chain on disk, so that a restart goes on where the process stopped.
//!
//! `state.json` holds the newest ledger and all entries and is replaced as a whole by renaming. `history.jsonl` has
//! one line for each closed ledger and only grows; lines after the newest ledger of `state.json` do not count. This
//! survives the end of the process, not the loss of power. Waiting transactions are not kept.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use soroban_env_host::xdr::{LedgerEntry, LedgerHeader, TransactionMeta};

use crate::chain::{AppliedTransaction, Chain, ClosedLedger};
use crate::error::LocalnetError;
use crate::events::{TransactionPlace, index_events};
use crate::modules::Modules;
use crate::state::{State, Stored};
use crate::xdr;

/// Format of both files.
const VERSION: u32 = 1;

/// A state directory in use.
pub(crate) struct Store {
    directory: PathBuf,
    history: File,
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    version: u32,
    network_id: String,
    header: String,
    entries: Vec<(String, Option<u32>)>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    sequence: u32,
    close_time: u64,
    hash: String,
    transactions: Vec<TransactionLine>,
}

#[derive(Serialize, Deserialize)]
struct TransactionLine {
    hash: String,
    position: u32,
    successful: bool,
    fee_bump: bool,
    soroban: bool,
    inclusion_fee: u64,
    envelope: String,
    result: String,
    meta: String,
}

impl Store {
    /// Opens a directory, and reads the chain in it if there is one.
    pub(crate) fn open(
        directory: &Path,
        network_id: [u8; 32],
        retention: u32,
    ) -> Result<(Self, Option<Chain>), LocalnetError> {
        let fail = |reason: String| failed(directory, reason);
        fs::create_dir_all(directory).map_err(|error| fail(error.to_string()))?;
        let chain = load(directory, network_id, retention).map_err(fail)?;
        let history = open_history(directory).map_err(|error| fail(error.to_string()))?;
        let mut store = Self { directory: directory.to_owned(), history };
        if let Some(chain) = &chain {
            // Drops what is too old, and lines of a ledger that `state.json` never came to know of.
            store.rewrite(chain)?;
        }
        Ok((store, chain))
    }

    /// Writes down the ledger that just closed.
    pub(crate) fn save(&mut self, chain: &Chain) -> Result<(), LocalnetError> {
        self.try_save(chain).map_err(|reason| failed(&self.directory, reason))
    }

    /// Writes everything anew, after the chain went back to a snapshot.
    pub(crate) fn rewrite(&mut self, chain: &Chain) -> Result<(), LocalnetError> {
        self.try_rewrite(chain).map_err(|reason| failed(&self.directory, reason))
    }

    fn try_save(&mut self, chain: &Chain) -> Result<(), String> {
        if let Some(ledger) = chain.ledgers.back() {
            let mut line = serde_json::to_vec(&line_of(chain, ledger)).map_err(text)?;
            line.push(b'\n');
            self.history.write_all(&line).map_err(text)?;
        }
        write_state(&self.directory, chain)
    }

    fn try_rewrite(&mut self, chain: &Chain) -> Result<(), String> {
        let mut lines = Vec::new();
        for ledger in &chain.ledgers {
            serde_json::to_writer(&mut lines, &line_of(chain, ledger)).map_err(text)?;
            lines.push(b'\n');
        }
        replace(&self.directory, "history.jsonl", &lines)?;
        self.history = open_history(&self.directory).map_err(text)?;
        write_state(&self.directory, chain)
    }
}

fn failed(path: &Path, reason: String) -> LocalnetError {
    LocalnetError::State { path: path.to_owned(), reason }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn open_history(directory: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(directory.join("history.jsonl"))
}

fn replace(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
    let temporary = directory.join(format!("{name}.new"));
    fs::write(&temporary, bytes).map_err(text)?;
    fs::rename(&temporary, directory.join(name)).map_err(text)
}

fn write_state(directory: &Path, chain: &Chain) -> Result<(), String> {
    let mut entries = Vec::with_capacity(chain.state.iter().len());
    for stored in chain.state.iter() {
        entries.push((xdr::base64(&stored.entry).map_err(text)?, stored.live_until));
    }
    let file = StateFile {
        version: VERSION,
        network_id: hex::encode(chain.network_id),
        header: xdr::base64(&chain.header).map_err(text)?,
        entries,
    };
    replace(directory, "state.json", &serde_json::to_vec(&file).map_err(text)?)
}

fn line_of(chain: &Chain, ledger: &ClosedLedger) -> Line {
    let transactions = ledger.transactions.iter().filter_map(|hash| {
        let transaction = chain.transactions.get(hash)?;
        Some(TransactionLine {
            hash: hex::encode(hash),
            position: transaction.position,
            successful: transaction.successful,
            fee_bump: transaction.fee_bump,
            soroban: transaction.soroban,
            inclusion_fee: transaction.inclusion_fee,
            envelope: STANDARD.encode(&transaction.envelope),
            result: STANDARD.encode(&transaction.result),
            meta: STANDARD.encode(&transaction.meta),
        })
    });
    Line {
        sequence: ledger.sequence,
        close_time: ledger.close_time,
        hash: hex::encode(ledger.hash),
        transactions: transactions.collect(),
    }
}

fn load(directory: &Path, network_id: [u8; 32], retention: u32) -> Result<Option<Chain>, String> {
    let bytes = match fs::read(directory.join("state.json")) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(text(error)),
    };
    let file: StateFile = serde_json::from_slice(&bytes).map_err(text)?;
    if file.version != VERSION {
        return Err(format!("state.json has format {}, not {VERSION}", file.version));
    }
    if file.network_id != hex::encode(network_id) {
        return Err("state.json is of another network passphrase".to_owned());
    }
    let mut state = State::default();
    for (entry, live_until) in file.entries {
        let entry: LedgerEntry = decode(&entry)?;
        state.set(entry.to_key(), Some(Arc::new(Stored { entry, live_until })));
    }
    let mut chain = Chain::genesis(state, network_id, 0, retention).map_err(text)?;
    let header: LedgerHeader = decode(&file.header)?;
    chain.hash = xdr::hash(&header).map_err(text)?;
    chain.header = header;
    let settings = chain.settings.clone();
    chain.modules = Modules::of(&chain.state, settings, chain.sequence()).map_err(text)?;
    chain.ledgers.clear();
    read_history(directory, &mut chain)?;
    let here = (chain.sequence(), chain.close_time(), chain.hash);
    if chain.ledgers.back().is_none_or(|ledger| ledger.sequence != here.0) {
        let (sequence, close_time, hash) = here;
        let transactions = Vec::new();
        chain.ledgers.clear();
        chain.ledgers.push_back(ClosedLedger { sequence, close_time, hash, transactions });
    }
    chain.trim();
    Ok(Some(chain))
}

fn read_history(directory: &Path, chain: &mut Chain) -> Result<(), String> {
    let Ok(file) = File::open(directory.join("history.jsonl")) else { return Ok(()) };
    for line in BufReader::new(file).lines() {
        // The last line may be half written; what `state.json` does not know of did not happen.
        let Ok(line) = serde_json::from_str::<Line>(&line.map_err(text)?) else { break };
        if line.sequence > chain.sequence() {
            break;
        }
        if chain.ledgers.back().is_some_and(|ledger| ledger.sequence + 1 != line.sequence) {
            chain.ledgers.clear();
        }
        read_line(line, chain)?;
        chain.trim();
    }
    Ok(())
}

fn read_line(line: Line, chain: &mut Chain) -> Result<(), String> {
    let mut transactions = Vec::with_capacity(line.transactions.len());
    for entry in line.transactions {
        let hash = hash_of(&entry.hash)?;
        let transaction = AppliedTransaction {
            ledger: line.sequence,
            close_time: line.close_time,
            position: entry.position,
            successful: entry.successful,
            fee_bump: entry.fee_bump,
            soroban: entry.soroban,
            inclusion_fee: entry.inclusion_fee,
            envelope: STANDARD.decode(&entry.envelope).map_err(text)?,
            result: STANDARD.decode(&entry.result).map_err(text)?,
            meta: STANDARD.decode(&entry.meta).map_err(text)?,
        };
        if let TransactionMeta::V4(meta) = xdr::decode_own(&transaction.meta).map_err(text)? {
            let (ledger, position) = (line.sequence, entry.position);
            let successful = entry.successful;
            let place = TransactionPlace { ledger, position, transaction: hash, successful };
            index_events(&mut chain.events, place, &meta);
        }
        chain.transactions.insert(hash, Arc::new(transaction));
        transactions.push(hash);
    }
    let (sequence, close_time, hash) = (line.sequence, line.close_time, hash_of(&line.hash)?);
    chain.ledgers.push_back(ClosedLedger { sequence, close_time, hash, transactions });
    Ok(())
}

fn hash_of(hex_text: &str) -> Result<[u8; 32], String> {
    let bytes = hex::decode(hex_text).map_err(text)?;
    bytes.try_into().map_err(|_| "a hash is not 32 bytes".to_owned())
}

fn decode<T: soroban_env_host::xdr::ReadXdr>(base64_text: &str) -> Result<T, String> {
    let bytes = STANDARD.decode(base64_text).map_err(text)?;
    xdr::decode_own(&bytes).map_err(text)
}
