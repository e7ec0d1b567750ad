//! Reading the ledger's entries.

use serde::Deserialize;
use serde_json::json;
use stellar_xdr::{LedgerEntryData, LedgerKey, LedgerKeyAccount, WriteXdr};

use super::Rpc;
use super::raw::Raw;
use crate::{Address, ChainError, scval};

/// Most keys that a node takes in one call.
const MOST_KEYS: usize = 200;

/// Entries as they were in one ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct Entries {
    /// The ledger that they were read at.
    pub ledger: u32,
    /// Those that exist.
    pub entries: Vec<Entry>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its key.
    pub key: LedgerKey,
    /// What it holds.
    pub data: LedgerEntryData,
    /// The ledger that it last changed in.
    pub modified: u32,
    /// The last ledger that it lives in; `None` for entries that never end.
    pub live_until: Option<u32>,
}

/// An account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountState {
    /// The last sequence number used.
    pub sequence: i64,
    /// Native balance, in stroops.
    pub balance: i64,
    /// The ledger that this was read at.
    pub ledger: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEntries {
    #[serde(default)]
    entries: Option<Vec<RawEntry>>,
    latest_ledger: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEntry {
    key: String,
    xdr: String,
    #[serde(default)]
    last_modified_ledger_seq: u32,
    live_until_ledger_seq: Option<u32>,
}

impl Entries {
    /// The entry under `key`, if it exists and still lives.
    pub fn get(&self, key: &LedgerKey) -> Option<&Entry> {
        // A node may also answer entries whose life has ended, which no contract sees any more.
        let lives = |entry: &&Entry| entry.live_until.is_none_or(|last| last >= self.ledger);
        self.entries.iter().find(|entry| entry.key == *key).filter(lives)
    }
}

pub(super) async fn read(raw: &Raw, keys: &[LedgerKey]) -> Result<Entries, ChainError> {
    if keys.len() > MOST_KEYS {
        return Err(ChainError::invalid(format!(
            "{} keys, but a node takes {MOST_KEYS} at once",
            keys.len()
        )));
    }
    let encode = |key: &LedgerKey| {
        key.to_xdr_base64(scval::limits()).map_err(|_| ChainError::encode("a ledger key"))
    };
    let keys = keys.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
    let answer: RawEntries = raw.call("getLedgerEntries", json!({ "keys": keys })).await?;
    // stellar-rpc writes an empty list as null.
    let entries = answer.entries.unwrap_or_default().into_iter().map(RawEntry::decode);
    Ok(Entries { ledger: answer.latest_ledger, entries: entries.collect::<Result<_, _>>()? })
}

pub(super) async fn accounts(
    rpc: &Rpc,
    addresses: &[Address],
) -> Result<Vec<Option<AccountState>>, ChainError> {
    let mut keys = Vec::with_capacity(addresses.len());
    for address in addresses {
        keys.push(LedgerKey::Account(LedgerKeyAccount { account_id: address.account_id()? }));
    }
    // Each key once: source and signer are often one account.
    let mut distinct = keys.clone();
    distinct.sort();
    distinct.dedup();
    let found = rpc.entries(&distinct).await?;
    keys.iter().map(|key| state(&found, key)).collect()
}

fn state(found: &Entries, key: &LedgerKey) -> Result<Option<AccountState>, ChainError> {
    match found.get(key).map(|entry| &entry.data) {
        None => Ok(None),
        Some(LedgerEntryData::Account(account)) => Ok(Some(AccountState {
            sequence: account.seq_num.0,
            balance: account.balance,
            ledger: found.ledger,
        })),
        Some(_) => Err(ChainError::decode("account", "the entry is of another kind")),
    }
}

impl RawEntry {
    fn decode(self) -> Result<Entry, ChainError> {
        Ok(Entry {
            key: scval::from_base64("ledger key", &self.key)?,
            data: scval::from_base64("ledger entry", &self.xdr)?,
            modified: self.last_modified_ledger_seq,
            live_until: self.live_until_ledger_seq,
        })
    }
}
