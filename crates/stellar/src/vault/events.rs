//! The vault's events of runs that are opened or settled. Their data are vectors (V18).

use serde::{Deserialize, Serialize};
use wire::{Digest, Usage, VaultRunId};

use super::calls::Vault;
use super::run::{RunReceipt, SettledRun};
use super::terms::{RunTerms, meters_from};
use crate::rpc::{Applied, Event};
use crate::scval::Reader;
use crate::{Address, ChainError};

/// The event `run,opened`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOpened {
    /// The run's id on chain.
    pub run_id: VaultRunId,
    /// What is fixed from now on, to be passed again when the run is settled.
    pub terms: RunTerms,
}

/// The event `run,finalized`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFinalized {
    /// The run's id on chain.
    pub run_id: VaultRunId,
    /// Who paid.
    pub user: Address,
    /// Who settled it.
    pub runner: Address,
    /// What the developer got, stroops.
    #[serde(with = "wire::usage::decimal")]
    pub actual_charge: i128,
    /// What the settler got, stroops.
    #[serde(with = "wire::usage::decimal")]
    pub runner_fee: i128,
    /// What went back to the user, stroops.
    #[serde(with = "wire::usage::decimal")]
    pub refund: i128,
    /// What was metered.
    pub usage: Usage,
    /// Digest of the seal, or of the failure.
    pub output_hash: Digest,
    /// Ledger time of the settlement, Unix seconds.
    pub finalized_at: u64,
    /// Counts the account's receipts from 1.
    pub receipt_number: u64,
    /// The account's running hash with this receipt.
    pub receipts_hash: Digest,
}

/// The opened event of `run_id` among what an applied transaction emitted; `None` when it opened
/// nothing, as a repeat does.
///
/// # Errors
///
/// [`ChainError::Decode`] naming the field.
pub fn opened(
    applied: &Applied,
    vault: &Vault,
    run_id: &VaultRunId,
) -> Result<Option<RunOpened>, ChainError> {
    find(applied, vault, "opened", run_id, RunOpened::from_event)
}

/// The finalized event of `run_id` among what an applied transaction emitted; `None` when it
/// settled nothing, as a repeat does.
///
/// # Errors
///
/// [`ChainError::Decode`] naming the field.
pub fn finalized(
    applied: &Applied,
    vault: &Vault,
    run_id: &VaultRunId,
) -> Result<Option<RunFinalized>, ChainError> {
    find(applied, vault, "finalized", run_id, RunFinalized::from_event)
}

impl RunOpened {
    /// Reads the event.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`] naming the field.
    pub fn from_event(event: &Event) -> Result<Self, ChainError> {
        let data = Reader::new("run opened", &event.data);
        Ok(Self { run_id: data.item(0)?.run_id()?, terms: RunTerms::from_data(&data, 1)? })
    }
}

impl RunFinalized {
    /// Reads the event.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`] naming the field.
    pub fn from_event(event: &Event) -> Result<Self, ChainError> {
        let data = Reader::new("run finalized", &event.data);
        Ok(Self {
            run_id: data.item(0)?.run_id()?,
            user: data.item(1)?.address()?,
            runner: data.item(2)?.address()?,
            actual_charge: data.item(3)?.i128()?,
            runner_fee: data.item(4)?.i128()?,
            refund: data.item(5)?.i128()?,
            usage: meters_from(&data.item(6)?)?,
            output_hash: data.item(7)?.digest()?,
            finalized_at: data.item(8)?.u64()?,
            receipt_number: data.item(9)?.u64()?,
            receipts_hash: data.item(10)?.digest()?,
        })
    }

    /// The short receipt, as `finalize_run` answers it; the developer is in the terms.
    pub fn receipt(&self, terms: &RunTerms) -> RunReceipt {
        RunReceipt {
            run_id: self.run_id,
            actual_charge: self.actual_charge,
            runner_fee: self.runner_fee,
            refund: self.refund,
            developer: terms.developer,
        }
    }

    /// The full receipt, whose hash went into the account's running hash.
    pub fn settled(&self, terms: &RunTerms) -> SettledRun {
        SettledRun {
            run_id: self.run_id,
            terms: terms.clone(),
            settled_by: self.runner,
            usage: self.usage,
            output_hash: self.output_hash,
            actual_charge: self.actual_charge,
            runner_fee: self.runner_fee,
            refund: self.refund,
            finalized_at: self.finalized_at,
        }
    }
}

/// The event of this run. Events of other runs are passed by unread: what one run's event holds
/// must not keep anybody from another's (V19).
fn find<T>(
    applied: &Applied,
    vault: &Vault,
    name: &str,
    run_id: &VaultRunId,
    read: impl Fn(&Event) -> Result<T, ChainError>,
) -> Result<Option<T>, ChainError> {
    for event in &applied.events {
        // Anybody can emit an event that looks like these; the emitter is what cannot be copied.
        if event.contract != vault.0 || !event.has_topics(&["run", name]) {
            continue;
        }
        let id = Reader::new("run event", &event.data).item(0).and_then(|id| id.run_id());
        if id.is_ok_and(|id| id == *run_id) {
            return read(event).map(Some);
        }
    }
    Ok(None)
}
