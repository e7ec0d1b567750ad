//! What is read of the vault about runs. State has no retention window, so it can always answer.

use stellar::ChainError;
use stellar::vault::{Lifecycle, RunRecord, Vault};
use wire::VaultRunId;

use crate::chain::client::ChainClient;
use crate::chain::decide::Record;
use crate::chain::network::LedgerMark;
use crate::chain::store;
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};

/// Refuses what a node read of the vault at a ledger older than the newest that was known, in any
/// process of the database, before the node was asked (R13). The node's client compares with what
/// this process saw only.
///
/// # Errors
///
/// When it is older.
pub fn refuse_older(known: Option<LedgerMark>, ledger: u32) -> Result<()> {
    match known {
        Some(known) if ledger < known.ledger => Err(Error::Chain(ChainError::Invalid(format!(
            "the node is behind: it read the vault at ledger {ledger}, {} was seen before",
            known.ledger
        )))),
        _ => Ok(()),
    }
}

impl ChainClient {
    /// The vault's record of a run and the ledger it was read at, from a node that is not behind.
    ///
    /// # Errors
    ///
    /// When the node does not answer, or is behind.
    pub async fn record(&self, vault_run_id: VaultRunId) -> Result<(Option<RunRecord>, u32)> {
        // Before the node is asked: the ledgers that close meanwhile are no reason to refuse its
        // answer.
        let known = store::high_water(&self.db, *self.network.id()).await?;
        let state = Vault(self.vault).read_run(&self.rpc, &vault_run_id).await?;
        refuse_older(known, state.ledger)?;
        Ok((state.record.map(|(record, _)| record), state.ledger))
    }

    /// Whether the vault's record shows what a call of this kind does, and the ledger it was read
    /// at.
    ///
    /// # Errors
    ///
    /// As [`ChainClient::record`].
    pub(super) async fn effect(
        &self,
        kind: Kind,
        vault_run_id: VaultRunId,
    ) -> Result<(Record, u32)> {
        let (record, ledger) = self.record(vault_run_id).await?;
        let Some(record) = record else { return Ok((Record::Absent, ledger)) };
        let shows = match kind {
            Kind::Open => true,
            Kind::Finalize => matches!(record.lifecycle, Lifecycle::Finalized { .. }),
            Kind::Void => matches!(record.lifecycle, Lifecycle::Voided(_)),
            Kind::Reclaim => record.lifecycle == Lifecycle::Reclaimed,
            // It changes no record.
            Kind::Channel => false,
        };
        Ok((if shows { Record::Shows } else { Record::Lacks }, ledger))
    }
}
