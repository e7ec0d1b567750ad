//! The ledger's entries, and overlays that collect the changes of one transaction.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use soroban_env_host::HostError;
use soroban_env_host::storage::{EntryWithLiveUntil, SnapshotSource};
use soroban_env_host::xdr::{
    AccountEntry, AccountId, ContractDataDurability, Error, Hash, LedgerEntry, LedgerEntryChange,
    LedgerEntryData, LedgerEntryExt, LedgerKey, LedgerKeyAccount, LedgerKeyTtl, TtlEntry,
};

use crate::xdr;

/// A ledger entry and, where it has a time to live, the last ledger it lives in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The entry.
    pub(crate) entry: LedgerEntry,
    /// The last ledger in which the entry is live; only contract data and code have one.
    pub(crate) live_until: Option<u32>,
    /// The ledger that set `live_until`, which the network keeps as an entry of its own.
    pub(crate) lifetime_modified: u32,
}

/// Anything entries can be read from.
pub(crate) trait Lookup {
    /// The entry under a key, archived persistent entries included.
    fn get(&self, key: &LedgerKey) -> Option<Arc<Stored>>;

    /// An account.
    fn account(&self, id: &AccountId) -> Option<AccountEntry> {
        match &self.get(&account_key(id))?.entry.data {
            LedgerEntryData::Account(account) => Some(account.clone()),
            _ => None,
        }
    }
}

/// The ledger's entries after the last close. A clone shares them: what the next ledger changes is
/// all that it costs.
#[derive(Debug, Clone, Default)]
pub(crate) struct LedgerState {
    entries: OrdMap<Arc<LedgerKey>, Arc<Stored>>,
    /// Temporary entries by the last ledger they live in, so that a close finds the expired ones
    /// at once.
    temporary: OrdSet<(u32, Arc<LedgerKey>)>,
    /// Keys that were written or removed since [`LedgerState::begin`].
    touched: OrdSet<Arc<LedgerKey>>,
}

/// Changes on top of a state or of another overlay.
pub(crate) struct Overlay<'a> {
    base: &'a dyn Lookup,
    sequence: u32,
    changed: BTreeMap<LedgerKey, Option<Arc<Stored>>>,
    restored: BTreeMap<LedgerKey, Arc<Stored>>,
}

/// The changes of an overlay, detached from its base.
pub(crate) struct Changes {
    changed: BTreeMap<LedgerKey, Option<Arc<Stored>>>,
    /// What came back from the archive, as it was before anything else changed it.
    restored: BTreeMap<LedgerKey, Arc<Stored>>,
}

/// A state as the host reads it.
pub(crate) struct LedgerSource(pub(crate) Arc<LedgerState>);

impl Stored {
    /// An entry whose lifetime was set by the ledger that changed it last.
    pub(crate) fn new(entry: LedgerEntry, live_until: Option<u32>) -> Self {
        let lifetime_modified = entry.last_modified_ledger_seq;
        Self { entry, live_until, lifetime_modified }
    }
}

impl LedgerState {
    /// Begins a ledger, of which nothing was written yet.
    pub(crate) fn begin(&mut self) {
        self.touched = OrdSet::new();
    }

    /// What the last ledger wrote or removed: each key with its entry, if there still is one.
    pub(crate) fn touched(&self) -> impl Iterator<Item = (&LedgerKey, Option<&Arc<Stored>>)> {
        self.touched.iter().map(|key| (key.as_ref(), self.entries.get(key)))
    }

    /// Writes or removes one entry.
    pub(crate) fn set(&mut self, key: LedgerKey, value: Option<Arc<Stored>>) {
        let key = Arc::new(key);
        let temporary = is_temporary(&key);
        self.touched.insert(key.clone());

        // The index by expiry follows every change: no entry may be evicted by a life it no longer
        // has.
        if let Some(old) = self.entries.remove(&key)
            && let (true, Some(live_until)) = (temporary, old.live_until)
        {
            self.temporary.remove(&(live_until, key.clone()));
        }
        let Some(value) = value else { return };
        if let (true, Some(live_until)) = (temporary, value.live_until) {
            self.temporary.insert((live_until, key.clone()));
        }
        self.entries.insert(key, value);
    }

    /// Applies the changes of an overlay.
    pub(crate) fn commit(&mut self, changes: Changes) {
        for (key, value) in changes.changed {
            self.set(key, value);
        }
    }

    /// Removes temporary entries that no longer live in ledger `sequence`; the answer is their
    /// keys, each with the key of its time to live behind it.
    pub(crate) fn evict(&mut self, sequence: u32) -> Result<Vec<LedgerKey>, Error> {
        let mut evicted = Vec::new();
        while let Some((live_until, key)) = self.temporary.get_min().cloned() {
            if live_until >= sequence {
                break;
            }
            self.set((*key).clone(), None);
            let key_hash = Hash(xdr::hash(key.as_ref())?);
            evicted.push((*key).clone());
            evicted.push(LedgerKey::Ttl(LedgerKeyTtl { key_hash }));
        }
        Ok(evicted)
    }

    /// Every entry, in the order of keys.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Stored>> {
        self.entries.values()
    }
}

impl Lookup for LedgerState {
    fn get(&self, key: &LedgerKey) -> Option<Arc<Stored>> {
        self.entries.get(key).cloned()
    }
}

impl<'a> Overlay<'a> {
    /// An empty overlay; written entries carry `sequence` as the ledger of their last change.
    pub(crate) fn new(base: &'a dyn Lookup, sequence: u32) -> Self {
        Self { base, sequence, changed: BTreeMap::new(), restored: BTreeMap::new() }
    }

    /// Writes an entry.
    pub(crate) fn put(&mut self, mut entry: LedgerEntry, live_until: Option<u32>) {
        entry.last_modified_ledger_seq = self.sequence;
        let key = entry.to_key();

        // A life that stays what it was is not written.
        let kept = self.get(&key).filter(|stored| stored.live_until == live_until);
        let lifetime_modified = kept.map_or(self.sequence, |stored| stored.lifetime_modified);
        let stored = Stored { entry, live_until, lifetime_modified };
        self.changed.insert(key, Some(Arc::new(stored)));
    }

    /// Changes only the time to live of an entry.
    pub(crate) fn put_live_until(&mut self, key: &LedgerKey, live_until: u32) {
        if let Some(stored) = self.get(key) {
            // The entry itself did not change, and keeps the ledger of its last change.
            let entry = stored.entry.clone();
            let live_until = Some(live_until);
            let stored = Stored { entry, live_until, lifetime_modified: self.sequence };
            self.changed.insert(key.clone(), Some(Arc::new(stored)));
        }
    }

    /// Writes an account.
    pub(crate) fn put_account(&mut self, account: AccountEntry) {
        self.put(wrap(LedgerEntryData::Account(account)), None);
    }

    /// Removes an entry.
    pub(crate) fn remove(&mut self, key: LedgerKey) {
        self.changed.insert(key, None);
    }

    /// Brings an entry back from the archive. What is written to it afterwards is another change,
    /// which the meta lists behind this one.
    pub(crate) fn restore(&mut self, entry: LedgerEntry, live_until: u32) {
        let key = entry.to_key();
        self.put(entry, Some(live_until));
        if let Some(stored) = self.get(&key) {
            self.restored.insert(key, stored);
        }
    }

    /// Detaches the changes from the base.
    pub(crate) fn finish(self) -> Changes {
        Changes { changed: self.changed, restored: self.restored }
    }

    /// Takes over the changes of an overlay that was built on this one.
    pub(crate) fn absorb(&mut self, changes: Changes) {
        self.changed.extend(changes.changed);
        self.restored.extend(changes.restored);
    }
}

impl Lookup for Overlay<'_> {
    fn get(&self, key: &LedgerKey) -> Option<Arc<Stored>> {
        match self.changed.get(key) {
            Some(value) => value.clone(),
            None => self.base.get(key),
        }
    }
}

impl Changes {
    /// The changes as transaction meta lists them, against what was there before.
    pub(crate) fn describe(&self, before: &dyn Lookup) -> Vec<LedgerEntryChange> {
        let mut out = Vec::new();
        for (key, after) in &self.changed {
            let after = after.as_deref();
            match self.restored.get(key) {
                Some(restored) => describe_restored(key, restored, after, &mut out),
                None => describe_entry(key, before.get(key).as_deref(), after, &mut out),
            }
        }
        out
    }
}

impl SnapshotSource for LedgerSource {
    fn get(&self, key: &Rc<LedgerKey>) -> Result<Option<EntryWithLiveUntil>, HostError> {
        let stored = self.0.entries.get(key.as_ref());
        Ok(stored.map(|stored| (Rc::new(stored.entry.clone()), stored.live_until)))
    }
}

/// The key of an account.
pub(crate) fn account_key(id: &AccountId) -> LedgerKey {
    LedgerKey::Account(LedgerKeyAccount { account_id: id.clone() })
}

/// An entry around its data; the ledger of the last change is filled in when it is written.
pub(crate) fn wrap(data: LedgerEntryData) -> LedgerEntry {
    LedgerEntry { last_modified_ledger_seq: 0, data, ext: LedgerEntryExt::V0 }
}

/// Whether entries under this key vanish when they expire.
pub(crate) fn is_temporary(key: &LedgerKey) -> bool {
    matches!(
        key,
        LedgerKey::ContractData(data) if data.durability == ContractDataDurability::Temporary
    )
}

/// Whether entries under this key are archived when they expire.
pub(crate) fn is_persistent(key: &LedgerKey) -> bool {
    match key {
        LedgerKey::ContractData(data) => data.durability == ContractDataDurability::Persistent,
        LedgerKey::ContractCode(_) => true,
        _ => false,
    }
}

fn describe_entry(
    key: &LedgerKey,
    before: Option<&Stored>,
    after: Option<&Stored>,
    out: &mut Vec<LedgerEntryChange>,
) {
    let before = before.map(|stored| both_entries(key, stored)).unwrap_or_default();
    let after = after.map(|stored| both_entries(key, stored)).unwrap_or_default();
    for pair in before.into_iter().zip(after) {
        match pair {
            (None, Some(after)) => out.push(LedgerEntryChange::Created(after)),
            (Some(before), Some(after)) if before != after => {
                out.push(LedgerEntryChange::State(before));
                out.push(LedgerEntryChange::Updated(after));
            }
            (Some(before), None) => {
                let key = before.to_key();
                out.push(LedgerEntryChange::State(before));
                out.push(LedgerEntryChange::Removed(key));
            }
            _ => {}
        }
    }
}

/// The changes of an entry that came back from the archive: as it was archived, and behind that
/// what became of it.
fn describe_restored(
    key: &LedgerKey,
    restored: &Stored,
    after: Option<&Stored>,
    out: &mut Vec<LedgerEntryChange>,
) {
    let after = after.map(|stored| both_entries(key, stored)).unwrap_or_default();
    for (restored, after) in both_entries(key, restored).into_iter().zip(after) {
        let Some(restored) = restored else { continue };
        let removed_key = restored.to_key();
        let is_changed = after.as_ref().is_some_and(|after| *after != restored);
        out.push(LedgerEntryChange::Restored(restored));
        match after {
            None => out.push(LedgerEntryChange::Removed(removed_key)),
            Some(after) if is_changed => out.push(LedgerEntryChange::Updated(after)),
            Some(_) => {}
        }
    }
}

/// An entry and its time to live: two entries of the ledger, and the meta lists both.
fn both_entries(key: &LedgerKey, stored: &Stored) -> [Option<LedgerEntry>; 2] {
    [Some(stored.entry.clone()), ttl_entry(key, stored)]
}

fn ttl_entry(key: &LedgerKey, stored: &Stored) -> Option<LedgerEntry> {
    let live_until_ledger_seq = stored.live_until?;
    let key_hash = Hash(xdr::hash(key).ok()?);
    let mut entry = wrap(LedgerEntryData::Ttl(TtlEntry { key_hash, live_until_ledger_seq }));
    entry.last_modified_ledger_seq = stored.lifetime_modified;
    Some(entry)
}
