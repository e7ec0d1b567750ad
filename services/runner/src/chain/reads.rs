//! What is read of the vault about runs. State has no retention window, so it can always answer.

use stellar::ChainError;
use stellar::vault::{Lifecycle, RunRecord, Vault};
use wire::VaultRunId;

use crate::chain::client::ChainClient;
use crate::chain::decide::Record;
use crate::chain::store;
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};

impl ChainClient {
    /// The vault's record of a run and the ledger it was read at, from a node that is not behind.
    ///
    /// # Errors
    ///
    /// When the node does not answer, or is behind.
    pub async fn record(&self, vault_run_id: VaultRunId) -> Result<(Option<RunRecord>, u32)> {
        // The node checks its own ledger against what this process saw; this is what all have seen,
        // before it is asked: the ledgers that close meanwhile are no reason to refuse its answer.
        let known = store::high_water(&self.db, *self.network.id()).await?;
        let state = Vault(self.vault).read_run(&self.rpc, &vault_run_id).await?;
        if let Some(known) = known
            && state.ledger < known.ledger
        {
            return Err(Error::Chain(ChainError::Invalid(format!(
                "the node is behind: it read the vault at ledger {}, {} was seen before",
                state.ledger, known.ledger
            ))));
        }
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
