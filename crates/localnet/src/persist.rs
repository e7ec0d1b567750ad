//! The chain on disk, so that a restart goes on where the process stopped.
//!
//! `history.jsonl` has one line for each closed ledger, with the entries that it changed.
//! `state.json` holds all entries as they were after some ledger, and is replaced as a whole by
//! renaming. The chain is what `state.json` holds, and the changes of the lines after it that
//! follow on each other; a line that was written by half closes nothing.
//!
//! So a ledger costs what it changes. All entries are written anew only when the changes since have
//! become as long as they are, and all lines when most are of ledgers that are forgotten. This
//! survives the end of the process, not the loss of power. Waiting transactions are not kept.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use soroban_env_host::xdr::{LedgerEntry, LedgerHeader, TransactionMeta};

use crate::chain::{AppliedTransaction, BaseFees, Chain, ClosedLedger};
use crate::error::LocalnetError;
use crate::events::{TransactionPlace, index_events};
use crate::modules::Modules;
use crate::state::{LedgerState, Stored};
use crate::xdr;

/// Format of both files. Of a chain in format 1 the entries are read and the history is not: it
/// lacks the ledgers' headers. In format 2 no line has changes, and none is after `state.json`. Up
/// to format 3 a life is a number alone.
const VERSION: u32 = 4;

/// Formats that can be read.
const READABLE: [u32; 4] = [1, 2, 3, VERSION];

/// Changes of this length are always put up with before all entries are written anew, in bytes.
const SPARE_CHANGES: usize = 1 << 20;

/// So many lines of forgotten ledgers are always put up with.
const SPARE_LINES: usize = 100;

/// A state directory in use.
pub(crate) struct Store {
    directory: PathBuf,
    history: File,
    /// How many lines `history` has.
    lines: usize,
    /// Length of `state.json`.
    state_bytes: usize,
    /// Length of the lines after `state.json`.
    changes_bytes: usize,
    /// Whether the last write failed: a line may be there by half, and no other may follow it.
    is_torn: bool,
    /// Locked as long as the process uses the directory.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    version: u32,
    network_id: String,
    header: String,
    entries: Vec<(String, Option<Life>)>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    header: String,
    hash: String,
    transactions: Vec<TransactionLine>,
    evicted: Vec<String>,
    base_fees: BaseFees,
    /// What the ledger wrote or removed; empty where `state.json` has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
}

/// An entry after a ledger.
#[derive(Serialize, Deserialize)]
enum Change {
    Written(String, Option<Life>),
    Removed(String),
}

/// The last ledger that an entry lives in.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum Life {
    /// Set by the ledger that changed the entry last.
    WithEntry(u32),
    /// `[live_until, modified]`: set by another ledger than the one that changed the entry last.
    SetBy(u32, u32),
}

#[derive(Serialize, Deserialize)]
struct TransactionLine {
    hash: String,
    inner_hash: Option<String>,
    position: u32,
    successful: bool,
    soroban: bool,
    inclusion_fee: u64,
    envelope: String,
    result: String,
    meta: String,
    fee_changes: String,
    refund_changes: String,
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

        // Locked before reading: another process may be about to write.
        let lock = lock(directory).map_err(fail)?;
        let chain = load(directory, network_id, retention).map_err(fail)?;
        let history = open_history(directory).map_err(|error| fail(error.to_string()))?;
        let mut store = Self {
            directory: directory.to_owned(),
            history,
            lines: 0,
            state_bytes: 0,
            changes_bytes: 0,
            is_torn: false,
            _lock: lock,
        };
        if let Some(chain) = &chain {
            // Drops what is too old, and a line that was written by half.
            store.rewrite(chain)?;
        }
        Ok((store, chain))
    }

    /// Writes down the ledger that just closed.
    pub(crate) fn save(&mut self, chain: &Chain) -> Result<(), LocalnetError> {
        let saved = if self.is_torn { self.try_rewrite(chain) } else { self.try_save(chain) };
        self.is_torn = saved.is_err();
        saved.map_err(|reason| failed(&self.directory, reason))
    }

    /// Writes everything anew, after the chain went back to a snapshot.
    pub(crate) fn rewrite(&mut self, chain: &Chain) -> Result<(), LocalnetError> {
        let saved = self.try_rewrite(chain);
        self.is_torn = saved.is_err();
        saved.map_err(|reason| failed(&self.directory, reason))
    }

    fn try_save(&mut self, chain: &Chain) -> Result<(), String> {
        // Written anew at twice its length, a file costs each ledger a few lines in all, however
        // long the network runs.
        let changes_end = self.state_bytes.max(SPARE_CHANGES);
        if self.lines > 2 * chain.ledgers.len() + SPARE_LINES || self.changes_bytes > changes_end {
            return self.try_rewrite(chain);
        }
        let Some(ledger) = chain.ledgers.back() else { return Ok(()) };
        let line = Line { changes: changes_of(&chain.state)?, ..line_of(chain, ledger)? };
        let mut line = serde_json::to_vec(&line).map_err(text)?;
        line.push(b'\n');

        // One call for the whole line, so that a process that is killed leaves at most the last one
        // torn.
        self.history.write_all(&line).map_err(text)?;
        self.lines += 1;
        self.changes_bytes += line.len();
        Ok(())
    }

    fn try_rewrite(&mut self, chain: &Chain) -> Result<(), String> {
        // First the entries: lines without changes must never come after a state that is older.
        // Stopped between the two, the old lines are before the new state, or else they are of a
        // chain that was just left for a snapshot, and lead to its end as if it had not been left.
        self.state_bytes = write_state(&self.directory, chain)?;
        let mut lines = Vec::new();
        for ledger in &chain.ledgers {
            serde_json::to_writer(&mut lines, &line_of(chain, ledger)?).map_err(text)?;
            lines.push(b'\n');
        }
        replace(&self.directory, "history.jsonl", &lines)?;

        // The old handle belongs to the file that was just replaced.
        self.history = open_history(&self.directory).map_err(text)?;
        self.lines = chain.ledgers.len();
        self.changes_bytes = 0;
        Ok(())
    }
}

fn failed(path: &Path, reason: String) -> LocalnetError {
    LocalnetError::State { path: path.to_owned(), reason }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Takes the directory for this process. The lock goes with the process, however it ends; the file
/// only names the process to others.
fn lock(directory: &Path) -> Result<File, String> {
    let path = directory.join("lock");
    let options = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
    let mut file = options.map_err(text)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();

            // The holder of the lock may not have written its number yet.
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "of unknown number" } else { pid.trim() };
            return Err(format!(
                "process {pid} uses it; stop that process or choose another directory"
            ));
        }
        Err(TryLockError::Error(error)) => return Err(format!("cannot lock it: {error}")),
    }

    // Only the holder of the lock writes its number.
    file.set_len(0).map_err(text)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(text)?;
    Ok(file)
}

fn open_history(directory: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(directory.join("history.jsonl"))
}

fn replace(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
    let temporary = directory.join(format!("{name}.new"));

    // Renamed over the old file, so that one of the two is there whole at any moment.
    fs::write(&temporary, bytes).map_err(text)?;
    fs::rename(&temporary, directory.join(name)).map_err(text)
}

/// Writes all entries, and answers how many bytes they are.
fn write_state(directory: &Path, chain: &Chain) -> Result<usize, String> {
    let mut entries = Vec::with_capacity(chain.state.iter().len());
    for stored in chain.state.iter() {
        entries.push((xdr::base64(&stored.entry).map_err(text)?, life_of(stored)));
    }
    let file = StateFile {
        version: VERSION,
        network_id: hex::encode(chain.network_id),
        header: xdr::base64(&chain.header).map_err(text)?,
        entries,
    };
    let bytes = serde_json::to_vec(&file).map_err(text)?;
    replace(directory, "state.json", &bytes)?;
    Ok(bytes.len())
}

/// What the last ledger wrote or removed.
fn changes_of(state: &LedgerState) -> Result<Vec<Change>, String> {
    let changes = state.touched().map(|(key, stored)| match stored {
        Some(stored) => Ok(Change::Written(xdr::base64(&stored.entry)?, life_of(stored))),
        None => Ok(Change::Removed(xdr::base64(key)?)),
    });
    changes.collect::<Result<_, soroban_env_host::xdr::Error>>().map_err(text)
}

fn line_of(chain: &Chain, ledger: &ClosedLedger) -> Result<Line, String> {
    let transactions = ledger.transactions.iter().filter_map(|hash| {
        let transaction = chain.transactions.get(hash)?;
        Some(TransactionLine {
            hash: hex::encode(hash),
            inner_hash: transaction.inner_hash.map(hex::encode),
            position: transaction.position,
            successful: transaction.successful,
            soroban: transaction.soroban,
            inclusion_fee: transaction.inclusion_fee,
            envelope: STANDARD.encode(&transaction.envelope),
            result: STANDARD.encode(&transaction.result),
            meta: STANDARD.encode(&transaction.meta),
            fee_changes: STANDARD.encode(&transaction.fee_changes),
            refund_changes: STANDARD.encode(&transaction.refund_changes),
        })
    });
    let evicted = ledger.evicted.iter().map(xdr::base64).collect::<Result<Vec<_>, _>>();
    Ok(Line {
        header: xdr::base64(&ledger.header).map_err(text)?,
        hash: hex::encode(ledger.hash),
        transactions: transactions.collect(),
        evicted: evicted.map_err(text)?,
        base_fees: ledger.base_fees,
        changes: Vec::new(),
    })
}

fn load(directory: &Path, network_id: [u8; 32], retention: u32) -> Result<Option<Chain>, String> {
    let bytes = match fs::read(directory.join("state.json")) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(text(error)),
    };
    let file: StateFile = serde_json::from_slice(&bytes).map_err(text)?;
    if !READABLE.contains(&file.version) {
        let version = file.version;
        return Err(format!("state.json has format {version}; this program reads 1 to {VERSION}"));
    }
    if file.network_id != hex::encode(network_id) {
        return Err("state.json is of another network passphrase".to_owned());
    }
    let mut state = LedgerState::default();
    for (entry, life) in file.entries {
        let stored = stored_of(&entry, life)?;
        state.set(stored.entry.to_key(), Some(Arc::new(stored)));
    }

    // The header of a first ledger is used until the kept one is read below.
    let mut chain = Chain::genesis(state, network_id, 0, retention).map_err(text)?;
    let header: LedgerHeader = decode(&file.header)?;
    chain.hash = xdr::hash(&header).map_err(text)?;
    chain.header = header;
    chain.ledgers.clear();
    if file.version > 1 {
        read_history(directory, &mut chain)?;
    }
    let settings = chain.settings.clone();
    chain.modules = Modules::of(&chain.state, settings, chain.sequence()).map_err(text)?;

    // Without a line for the last ledger, as in format 1, the history begins with it.
    if chain.ledgers.back().is_none_or(|ledger| ledger.hash != chain.hash) {
        chain.begin_history();
    }
    chain.trim();
    Ok(Some(chain))
}

fn read_history(directory: &Path, chain: &mut Chain) -> Result<(), String> {
    let Ok(file) = File::open(directory.join("history.jsonl")) else { return Ok(()) };
    for line in BufReader::new(file).lines() {
        // The last line may be half written: no client was shown that ledger.
        let Ok(line) = serde_json::from_str::<Line>(&line.map_err(text)?) else { break };
        let header: LedgerHeader = decode(&line.header)?;
        if header.ledger_seq > chain.sequence() {
            // What follows on another ledger is left of a chain that this one has replaced.
            if header.previous_ledger_hash.0 != chain.hash {
                break;
            }
            let state = Arc::make_mut(&mut chain.state);
            for change in &line.changes {
                apply(change, state)?;
            }
            chain.hash = xdr::hash(&header).map_err(text)?;
            chain.header = header.clone();
        }
        let follows = |last: &Arc<ClosedLedger>| last.sequence() + 1 == header.ledger_seq;

        // After a gap nothing before it can be reached ledger by ledger.
        if !chain.ledgers.back().is_none_or(follows) {
            chain.ledgers.clear();
        }
        read_line(line, header, chain)?;
        chain.trim();
    }
    Ok(())
}

fn apply(change: &Change, state: &mut LedgerState) -> Result<(), String> {
    match change {
        Change::Written(entry, life) => {
            let stored = stored_of(entry, *life)?;
            state.set(stored.entry.to_key(), Some(Arc::new(stored)));
        }
        Change::Removed(key) => state.set(decode(key)?, None),
    }
    Ok(())
}

fn life_of(stored: &Stored) -> Option<Life> {
    let live_until = stored.live_until?;
    Some(if stored.lifetime_modified == stored.entry.last_modified_ledger_seq {
        Life::WithEntry(live_until)
    } else {
        Life::SetBy(live_until, stored.lifetime_modified)
    })
}

fn stored_of(entry: &str, life: Option<Life>) -> Result<Stored, String> {
    let entry: LedgerEntry = decode(entry)?;
    Ok(match life {
        None => Stored::new(entry, None),
        Some(Life::WithEntry(live_until)) => Stored::new(entry, Some(live_until)),
        Some(Life::SetBy(live_until, lifetime_modified)) => {
            Stored { entry, live_until: Some(live_until), lifetime_modified }
        }
    })
}

fn read_line(line: Line, header: LedgerHeader, chain: &mut Chain) -> Result<(), String> {
    let (sequence, close_time) = (header.ledger_seq, header.scp_value.close_time.0);
    let mut transactions = Vec::with_capacity(line.transactions.len());
    for entry in line.transactions {
        let hash = hash_of(&entry.hash)?;
        let bytes = |encoded: &str| STANDARD.decode(encoded).map_err(text);
        let transaction = AppliedTransaction {
            hash,
            inner_hash: entry.inner_hash.as_deref().map(hash_of).transpose()?,
            ledger: sequence,
            close_time,
            position: entry.position,
            successful: entry.successful,
            soroban: entry.soroban,
            inclusion_fee: entry.inclusion_fee,
            envelope: bytes(&entry.envelope)?,
            result: bytes(&entry.result)?,
            meta: bytes(&entry.meta)?,
            fee_changes: bytes(&entry.fee_changes)?,
            refund_changes: bytes(&entry.refund_changes)?,
        };

        // Events are not kept by themselves: the meta has them.
        if let TransactionMeta::V4(meta) = xdr::decode_own(&transaction.meta).map_err(text)? {
            let (position, successful) = (entry.position, entry.successful);
            let place =
                TransactionPlace { ledger: sequence, position, transaction: hash, successful };
            index_events(&mut chain.events, place, &meta);
        }
        chain.record(transaction);
        transactions.push(hash);
    }
    let evicted = line.evicted.iter().map(|key| decode(key)).collect::<Result<_, _>>()?;
    let (hash, base_fees) = (hash_of(&line.hash)?, line.base_fees);
    chain.ledgers.push_back(Arc::new(ClosedLedger {
        header,
        hash,
        transactions,
        evicted,
        base_fees,
    }));
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
