//! Reading the ledger's entries.

use serde::Deserialize;
use serde_json::json;
use stellar_xdr::{ContractDataDurability, LedgerEntryData, LedgerKey, LedgerKeyAccount, WriteXdr};

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
    /// Those that the node has, archived ones included.
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
    /// The entry under `key`, as a transaction of the next ledger finds it.
    ///
    /// An archived entry is among them: the transaction that names it in its footprint brings it
    /// back with the value it had (CAP-62, CAP-66), so that no contract sees it missing. A temporary
    /// entry whose life has ended is gone for good.
    pub fn get(&self, key: &LedgerKey) -> Option<&Entry> {
        let found = self.entries.iter().find(|entry| entry.key == *key)?;
        (self.lives(found) || is_kept_in_the_archive(key)).then_some(found)
    }

    /// The last ledger that the entry under `key` lives in; `None` when there is none, when its life
    /// has ended, archived entries included, and for what never ends.
    pub fn live_until(&self, key: &LedgerKey) -> Option<u32> {
        let found = self.get(key).filter(|found| self.lives(found))?;
        found.live_until
    }

    /// A node answers entries whose life has ended as well: with the ledger that was their last, or
    /// with 0 once they were moved to the archive.
    fn lives(&self, entry: &Entry) -> bool {
        entry.live_until.is_none_or(|last| last >= self.ledger)
    }
}

/// Whether an entry under this key is archived at the end of its life, and not deleted.
fn is_kept_in_the_archive(key: &LedgerKey) -> bool {
    match key {
        LedgerKey::ContractData(data) => data.durability == ContractDataDurability::Persistent,
        LedgerKey::ContractCode(_) => true,
        _ => false,
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

#[cfg(test)]
mod tests {
    use stellar_xdr::{Hash, LedgerKeyContractCode, ScVal};

    use super::*;

    const LEDGER: u32 = 100;

    fn entries(key: &LedgerKey, live_until: Option<u32>) -> Entries {
        let contract = Address::Contract([1; 32]);
        let data = crate::state::tests::data(&contract, ScVal::Void);
        let entry = Entry { key: key.clone(), data, modified: 1, live_until };
        Entries { ledger: LEDGER, entries: vec![entry] }
    }

    #[test]
    fn what_is_archived_is_there_and_what_was_temporary_is_gone() {
        let contract = Address::Contract([1; 32]);
        let persistent = crate::state::data_key(&contract, ScVal::Void, true);
        let temporary = crate::state::data_key(&contract, ScVal::Void, false);
        let code = LedgerKey::ContractCode(LedgerKeyContractCode { hash: Hash([2; 32]) });
        let cases = [
            // key, last ledger, whether it is found, how long it lives
            (&persistent, Some(LEDGER), true, Some(LEDGER)),
            (&persistent, Some(LEDGER - 1), true, None),
            (&persistent, Some(0), true, None),
            (&code, Some(0), true, None),
            (&code, Some(LEDGER + 5), true, Some(LEDGER + 5)),
            (&temporary, Some(LEDGER), true, Some(LEDGER)),
            (&temporary, Some(LEDGER - 1), false, None),
            (&temporary, Some(0), false, None),
        ];
        for (key, live_until, is_found, lives) in cases {
            let found = entries(key, live_until);
            assert_eq!(found.get(key).is_some(), is_found, "{key:?} until {live_until:?}");
            assert_eq!(found.live_until(key), lives, "{key:?} until {live_until:?}");
        }
    }
}
