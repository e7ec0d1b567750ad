//! What the vault tells when a run is opened or settled.

use serde::{Deserialize, Serialize};
use wire::{Digest, Usage};

use super::calls::Vault;
use super::run::{RunReceipt, SettledRun};
use super::terms::{RunTerms, usage_from};
use crate::rpc::{Applied, Event};
use crate::scval::Reader;
use crate::{Address, ChainError};

/// The event `run,opened`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOpened {
    /// The run's id on chain.
    pub run_id: Digest,
    /// What stands fixed from now on, to be passed again when the run is settled.
    pub terms: RunTerms,
}

/// The event `run,finalized`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFinalized {
    /// The run's id on chain.
    pub run_id: Digest,
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

/// The opened event of `run_id` among what an applied transaction emitted; `None` when it opened nothing,
/// as a repeat does.
///
/// # Errors
///
/// [`ChainError::Decode`] naming the field.
pub fn opened(
    applied: &Applied,
    vault: &Vault,
    run_id: &Digest,
) -> Result<Option<RunOpened>, ChainError> {
    find(applied, vault, "opened", RunOpened::from_event, |told| told.run_id == *run_id)
}

/// The finalized event of `run_id` among what an applied transaction emitted; `None` when it settled
/// nothing, as a repeat does.
///
/// # Errors
///
/// [`ChainError::Decode`] naming the field.
pub fn finalized(
    applied: &Applied,
    vault: &Vault,
    run_id: &Digest,
) -> Result<Option<RunFinalized>, ChainError> {
    find(applied, vault, "finalized", RunFinalized::from_event, |told| told.run_id == *run_id)
}

impl RunOpened {
    /// Reads the event.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`] naming the field.
    pub fn from_event(event: &Event) -> Result<Self, ChainError> {
        let data = Reader::new("run opened", &event.data);
        Ok(Self { run_id: data.field("run_id")?.digest()?, terms: RunTerms::from_val(&data)? })
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
            run_id: data.field("run_id")?.digest()?,
            user: data.field("user")?.address()?,
            runner: data.field("runner")?.address()?,
            actual_charge: data.field("actual_charge")?.i128()?,
            runner_fee: data.field("runner_fee")?.i128()?,
            refund: data.field("refund")?.i128()?,
            usage: usage_from(&data.field("usage")?)?,
            output_hash: data.field("output_hash")?.digest()?,
            finalized_at: data.field("finalized_at")?.u64()?,
            receipt_number: data.field("receipt_number")?.u64()?,
            receipts_hash: data.field("receipts_hash")?.digest()?,
        })
    }

    /// The short receipt, as `finalize_run` answers it; the developer stands in the terms.
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

fn find<T>(
    applied: &Applied,
    vault: &Vault,
    name: &str,
    read: impl Fn(&Event) -> Result<T, ChainError>,
    is_it: impl Fn(&T) -> bool,
) -> Result<Option<T>, ChainError> {
    for event in &applied.events {
        if event.contract == vault.0 && event.has_topics(&["run", name]) {
            let told = read(event)?;
            if is_it(&told) {
                return Ok(Some(told));
            }
        }
    }
    Ok(None)
}
