//! Contracts parsed ahead of their invocation, as the network keeps them.
//!
//! An invocation is charged less for a contract that is live since an earlier ledger than for one
//! uploaded or restored in the same ledger, and simulation counts on that.

use std::sync::Arc;

use soroban_env_host::budget::{AsBudget, Budget};
use soroban_env_host::xdr::{ContractCodeEntry, LedgerEntry, LedgerEntryChange, LedgerEntryData};
use soroban_env_host::{CompilationContext, Error, ErrorHandler, HostError, ModuleCache, Val};

use crate::error::Internal;
use crate::settings::{PROTOCOL_VERSION, Settings};
use crate::state::LedgerState;

/// The parsed contracts. Clones share them.
#[derive(Clone)]
pub(crate) struct Modules {
    cache: ModuleCache,
    settings: Arc<Settings>,
}

/// No transaction pays for parsing ahead.
#[derive(Clone)]
struct Unmetered(Budget);

impl Modules {
    /// All contracts that live in ledger `sequence`.
    pub(crate) fn of(
        state: &LedgerState,
        settings: Arc<Settings>,
        sequence: u32,
    ) -> Result<Self, Internal> {
        let cache = ModuleCache::new(&Unmetered(settings.unlimited_budget()?))?;
        let modules = Self { cache, settings };
        for stored in state.iter() {
            if let LedgerEntryData::ContractCode(code) = &stored.entry.data
                && stored.live_until.is_some_and(|ledger| ledger >= sequence)
            {
                modules.add(code)?;
            }
        }
        Ok(modules)
    }

    /// Adds the contracts among the changes of a closed ledger.
    pub(crate) fn learn(&self, changes: &[LedgerEntryChange]) -> Result<(), Internal> {
        for change in changes {
            if let LedgerEntryChange::Created(entry)
            | LedgerEntryChange::Updated(entry)
            | LedgerEntryChange::Restored(entry) = change
                && let LedgerEntryData::ContractCode(code) = &entry.data
            {
                self.add(code)?;
            }
        }
        Ok(())
    }

    /// What the host is given for an invocation that restores these entries: their contracts
    /// count as not parsed.
    pub(crate) fn without<'a>(
        &self,
        restored: impl Iterator<Item = &'a LedgerEntry>,
    ) -> Result<ModuleCache, Internal> {
        for entry in restored {
            if let LedgerEntryData::ContractCode(code) = &entry.data {
                // Removed from what all clones share. If the ledger that restores it closes,
                // `learn` adds it again; if not, it stays archived and is not used.
                self.cache.remove_module(&code.hash)?;
            }
        }
        Ok(self.cache.clone())
    }

    fn add(&self, code: &ContractCodeEntry) -> Result<(), Internal> {
        let context = Unmetered(self.settings.unlimited_budget()?);
        let wasm = code.code.as_slice();
        Ok(self.cache.parse_and_cache_module_simple(&context, PROTOCOL_VERSION, wasm)?)
    }
}

impl AsBudget for Unmetered {
    fn as_budget(&self) -> &Budget {
        &self.0
    }
}

impl ErrorHandler for Unmetered {
    fn map_err<T, E>(&self, result: Result<T, E>) -> Result<T, HostError>
    where
        Error: From<E>,
        E: std::fmt::Debug,
    {
        result.map_err(|error| HostError::from(Error::from(error)))
    }

    fn error(&self, error: Error, _message: &str, _args: &[Val]) -> HostError {
        HostError::from(error)
    }
}

impl CompilationContext for Unmetered {}
