//! What the vault knows of a run: its record, and its receipt.

use serde::{Deserialize, Serialize};
use stellar_xdr::ScVal;
use wire::{Digest, Usage, VaultRunId};

use super::terms::{RunTerms, meters_from, meters_to};
use crate::scval::{self, Reader};
use crate::{Address, ChainError};

/// The state of a run. An open run whose deadline has passed is over, whatever its record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Escrow is held.
    Open,
    /// Settled.
    Finalized {
        /// What was charged, stroops.
        #[serde(with = "wire::usage::decimal")]
        charge: i128,
        /// Digest of the seal, or of the failure.
        output_hash: Digest,
        /// [`super::settlement_hash`]: settler, usage, and whether a signature was given.
        settlement: Digest,
    },
    /// Given up by its opener, with a reason of its own numbering.
    Voided(u32),
    /// Returned after the deadline.
    Reclaimed,
}

/// What is known of a run while its record lives (V17).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Who pays.
    pub user: Address,
    /// The runner that opened the run.
    pub opened_by: Address,
    /// Which agent runs.
    pub agent_id: u32,
    /// What was set aside, stroops.
    #[serde(with = "wire::usage::decimal")]
    pub escrowed: i128,
    /// The opener's flat fee, stroops.
    #[serde(with = "wire::usage::decimal")]
    pub runner_fee: i128,
    /// Settle before it, reclaim from it on. Unix seconds.
    pub deadline: u64,
    /// The UTC day whose cap the run counts against.
    pub opened_day: u32,
    /// Which grant it was opened under.
    pub grant_serial: u32,
    /// [`RunTerms::hash`] of its terms.
    pub terms_hash: Digest,
    /// Its state.
    pub lifecycle: Lifecycle,
}

/// What a settlement came to, in stroops: charge, fee and refund are the escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunReceipt {
    /// The run's id on chain.
    pub run_id: VaultRunId,
    /// What the developer got.
    pub actual_charge: i128,
    /// What the settler got.
    pub runner_fee: i128,
    /// What went back to the user.
    pub refund: i128,
    /// Who got the charge.
    pub developer: Address,
}

/// The full text of a receipt; its hash goes into the account's running hash (V3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledRun {
    /// The run's id on chain.
    pub run_id: VaultRunId,
    /// What was fixed at its opening.
    pub terms: RunTerms,
    /// Who settled it.
    pub settled_by: Address,
    /// What was metered.
    pub usage: Usage,
    /// Digest of the seal, or of the failure.
    pub output_hash: Digest,
    /// What the developer got, stroops.
    pub actual_charge: i128,
    /// What the settler got, stroops.
    pub runner_fee: i128,
    /// What went back to the user, stroops.
    pub refund: i128,
    /// Ledger time of the settlement, Unix seconds.
    pub finalized_at: u64,
}

impl Lifecycle {
    pub(super) fn from_val(value: &Reader<'_>) -> Result<Self, ChainError> {
        let name = value.item(0)?.symbol()?;
        match name.as_str() {
            "Open" => Ok(Self::Open),
            "Finalized" => Ok(Self::Finalized {
                charge: value.item(1)?.i128()?,
                output_hash: value.item(2)?.digest()?,
                settlement: value.item(3)?.digest()?,
            }),
            "Voided" => Ok(Self::Voided(value.item(1)?.u32()?)),
            "Reclaimed" => Ok(Self::Reclaimed),
            other => Err(ChainError::decode("run's lifecycle", format!("'{other}' is unknown"))),
        }
    }
}

impl RunRecord {
    /// Reads what `get_run` answers.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`].
    pub fn from_val(value: &ScVal) -> Result<Self, ChainError> {
        let value = Reader::new("run record", value);
        Ok(Self {
            user: value.field("user")?.address()?,
            opened_by: value.field("opened_by")?.address()?,
            agent_id: value.field("agent_id")?.u32()?,
            escrowed: value.field("escrowed")?.i128()?,
            runner_fee: value.field("runner_fee")?.i128()?,
            deadline: value.field("deadline")?.u64()?,
            opened_day: value.field("opened_day")?.u32()?,
            grant_serial: value.field("grant_serial")?.u32()?,
            terms_hash: value.field("terms_hash")?.digest()?,
            lifecycle: Lifecycle::from_val(&value.field("lifecycle")?)?,
        })
    }
}

impl RunReceipt {
    /// Reads what `finalize_run` answers.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`].
    pub fn from_val(value: &ScVal) -> Result<Self, ChainError> {
        let value = Reader::new("receipt", value);
        Ok(Self {
            run_id: value.field("run_id")?.run_id()?,
            actual_charge: value.field("actual_charge")?.i128()?,
            runner_fee: value.field("runner_fee")?.i128()?,
            refund: value.field("refund")?.i128()?,
            developer: value.field("developer")?.address()?,
        })
    }

    /// The receipt in the form that `finalize_run` answers. A settlement in a batch has its receipt
    /// in its event only.
    ///
    /// # Errors
    ///
    /// Never in practice: the names are fixed.
    pub fn to_val(&self) -> Result<ScVal, ChainError> {
        scval::map([
            ("run_id", scval::bytes(self.run_id.as_bytes())?),
            ("actual_charge", scval::i128(self.actual_charge)),
            ("runner_fee", scval::i128(self.runner_fee)),
            ("refund", scval::i128(self.refund)),
            ("developer", self.developer.to_val()),
        ])
    }
}

impl SettledRun {
    /// The digest that the account's running hash takes in: SHA-256 of [`SettledRun::to_xdr`].
    ///
    /// # Errors
    ///
    /// As [`RunTerms::hash`].
    pub fn hash(&self) -> Result<Digest, ChainError> {
        Ok(Digest::of(&self.to_xdr()?))
    }

    /// The receipt as the vault hashes it, which lists of receipts keep: a vector, with the terms
    /// as the opened event states them.
    ///
    /// # Errors
    ///
    /// As [`RunTerms::hash`].
    pub fn to_xdr(&self) -> Result<Vec<u8>, ChainError> {
        // The vault's `digest::receipt` hashes the same positions; a change of one is a change of
        // both.
        let receipt = scval::vec(vec![
            scval::bytes(self.run_id.as_bytes())?,
            self.terms.to_data()?,
            self.settled_by.to_val(),
            meters_to(&self.usage)?,
            scval::bytes(self.output_hash.as_bytes())?,
            scval::i128(self.actual_charge),
            scval::i128(self.runner_fee),
            scval::i128(self.refund),
            ScVal::U64(self.finalized_at),
        ])?;
        scval::to_xdr(&receipt)
    }

    /// Reads what [`SettledRun::to_xdr`] made.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`].
    pub fn from_xdr(bytes: &[u8]) -> Result<Self, ChainError> {
        let value: ScVal = scval::from_xdr("receipt", bytes)?;
        let receipt = Reader::new("receipt", &value);
        Ok(Self {
            run_id: receipt.item(0)?.run_id()?,
            terms: RunTerms::from_data(&receipt.item(1)?, 0)?,
            settled_by: receipt.item(2)?.address()?,
            usage: meters_from(&receipt.item(3)?)?,
            output_hash: receipt.item(4)?.digest()?,
            actual_charge: receipt.item(5)?.i128()?,
            runner_fee: receipt.item(6)?.i128()?,
            refund: receipt.item(7)?.i128()?,
            finalized_at: receipt.item(8)?.u64()?,
        })
    }
}
