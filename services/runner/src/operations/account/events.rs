//! The vault's events of runs, read once and compared page by page.

use std::collections::BTreeMap;

use stellar::scval::Reader;
use stellar::vault::{RunFinalized, RunOpened};
use stellar::{Address, ChainError};
use wire::{TxHash, VaultRunId};

use super::rows::{self, AttemptRow};
use super::{Account, FindingPlace, Sources};

const PLACE: FindingPlace = FindingPlace::Events;

/// Events of the vault, by the run's id on chain. What the node keeps bounds how many they are.
#[derive(Debug, Default)]
pub(super) struct Events {
    seen: BTreeMap<(VaultRunId, &'static str), u64>,
    finalized: BTreeMap<VaultRunId, Vec<Result<RunFinalized, ChainError>>>,
    /// Opened by this runner, and not yet found in Postgres: the transaction, and who pays.
    unclaimed: BTreeMap<VaultRunId, (TxHash, Address)>,
}

impl Events {
    /// Those from the ledger `first` on.
    pub(super) async fn read(sources: &Sources<'_>, first: u32) -> anyhow::Result<Self> {
        let mut events = Self::default();
        for name in ["opened", "finalized", "voided", "reclaimed"] {
            for event in sources.rpc.events(&sources.vault, first, &["run", name]).await? {
                // Every event of a run has its id first. What cannot be read is another's (V19).
                let id = Reader::new("run event", &event.data).item(0);
                let Ok(id) = id.and_then(|id| id.run_id()) else { continue };
                *events.seen.entry((id, name)).or_default() += 1;
                match name {
                    "opened" => {
                        let opened = RunOpened::from_event(&event).ok();
                        let ours = opened.filter(|run| run.terms.opened_by == sources.runner);
                        if let Some(opened) = ours {
                            let found = (event.transaction, opened.terms.user);
                            events.unclaimed.insert(id, found);
                        }
                    }
                    "finalized" => {
                        let found = RunFinalized::from_event(&event);
                        events.finalized.entry(id).or_default().push(found);
                    }
                    _ => {}
                }
            }
        }
        Ok(events)
    }

    /// Compares those of these attempts. The node keeps none before the ledger `oldest`.
    pub(super) fn compare(
        &mut self,
        account: &mut Account,
        attempts: &[AttemptRow],
        oldest: u32,
    ) -> anyhow::Result<()> {
        for attempt in attempts {
            let Some(id) = attempt.vault_run_id else { continue };
            self.unclaimed.remove(&id);
            for found in self.finalized.remove(&id).unwrap_or_default() {
                let found = found?;
                let receipt = attempt.receipt.as_ref();
                let same = receipt.is_none_or(|receipt| {
                    (receipt.actual_charge, receipt.refund, receipt.output_hash)
                        == (found.actual_charge, found.refund, found.output_hash)
                });
                account.expect(PLACE, attempt.run, same, || {
                    format!(
                        "the vault charged {} and returned {}",
                        found.actual_charge, found.refund
                    )
                });
            }
            if !attempt.has_ended() {
                continue;
            }
            let count = |name| self.seen.get(&(id, name)).copied().unwrap_or_default();
            let (opened, closed) =
                (count("opened"), count("finalized") + count("voided") + count("reclaimed"));
            if attempt.opened_ledger.is_some_and(|ledger| ledger < i64::from(oldest)) {
                account.unknown(PLACE, Some(attempt.run), "the node keeps its events no more");
                continue;
            }
            let expected = u64::from(attempt.escrow != "none");
            account.expect(PLACE, attempt.run, (opened, closed) == (expected, expected), || {
                format!("the vault opened it {opened} times and closed it {closed} times")
            });
        }
        Ok(())
    }

    /// What this runner opened and Postgres does not know.
    pub(super) async fn unclaimed(
        self,
        account: &mut Account,
        sources: &Sources<'_>,
    ) -> anyhow::Result<()> {
        let ids: Vec<VaultRunId> = self.unclaimed.keys().copied().collect();
        // Runs that were not among those that were read, or came meanwhile.
        let known = rows::known(sources.db, &ids).await?;
        for (id, (transaction, user)) in self.unclaimed {
            if !known.contains(&id) {
                let why = format!(
                    "transaction {transaction} opened run {id} for {user}, and Postgres has no \
                     such run"
                );
                account.broken(PLACE, None, why);
            }
        }
        Ok(())
    }
}
