//! From a frozen settlement, or the wish to give back, to a receipt and an end.

use std::time::Duration;

use stellar::vault::{Lifecycle, RunReceipt};
use time::OffsetDateTime;
use wire::{Digest, VaultRunId};

use super::{
    Done, Next, Progress, Refusal, RunDriver, finalize_arguments, unreadable, void_arguments,
};
use crate::chain::call::Arguments;
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};
use crate::metrics;
use crate::model::run::{Escrow, RunLease, Snapshot};
use crate::model::settlement::{Failure, Receipt, Settlement};
use crate::model::state::{Phase, Status};
use crate::runs::{facts, store};

/// The pause before a call is wanted again that contradicted the vault's record.
const AGAIN: Duration = Duration::from_secs(2);

impl RunDriver {
    /// Settles what was frozen.
    pub(super) async fn settling(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let settlement = snapshot.settlement()?;
        match self.progress(snapshot, Kind::Finalize).await? {
            Progress::None => {
                let finalize = finalize_arguments(snapshot, settlement)?;
                self.want_in_phase(lease, snapshot, &finalize, Duration::ZERO).await
            }
            Progress::Waits => self.park(lease, snapshot, Kind::Finalize).await,
            Progress::Done(done) => self.settled(lease, snapshot, settlement, &done).await,
            Progress::TooLate => {
                self.start_refund(lease, snapshot, Phase::Reclaiming, &deadline_passed()).await
            }
            Progress::Refused(refusal) => {
                self.on_settlement_rejected(lease, snapshot, &refusal).await
            }
            Progress::Unknown(reason) => Ok(Next::Operator(reason)),
        }
    }

    /// Gives the escrow back before the deadline.
    pub(super) async fn voiding(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let (vault_run_id, deadline) = snapshot.pinned()?;
        match self.progress(snapshot, Kind::Void).await? {
            Progress::None => self.void(lease, snapshot, Duration::ZERO).await,
            Progress::Waits => self.park(lease, snapshot, Kind::Void).await,
            Progress::Done(_) => self.finish_refund(lease, snapshot, None).await,
            Progress::TooLate => {
                self.start_refund(lease, snapshot, Phase::Reclaiming, &deadline_passed()).await
            }
            Progress::Refused(_) => {
                // A record that is open can be voided until its deadline, whatever this answer
                // said.
                if self.is_open(vault_run_id).await? && self.until(deadline).await?.is_some() {
                    return self.void(lease, snapshot, AGAIN).await;
                }
                self.start_refund(lease, snapshot, Phase::Reclaiming, &deadline_passed()).await
            }
            Progress::Unknown(reason) => Ok(Next::Operator(reason)),
        }
    }

    async fn void(&self, lease: RunLease, snapshot: &Snapshot, pause: Duration) -> Result<Next> {
        let unnamed = Failure::new("", "");
        let failure = snapshot.attempt.failure.as_ref().unwrap_or(&unnamed);
        let void = void_arguments(snapshot, failure)?;
        self.want_in_phase(lease, snapshot, &void, pause).await
    }

    /// Gives the escrow back after the deadline.
    pub(super) async fn reclaiming(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let (run, deadline) = snapshot.pinned()?;
        match self.progress(snapshot, Kind::Reclaim).await? {
            Progress::None => {
                if let Some(wait) = self.until(deadline).await? {
                    return Ok(Next::Later(wait, "the deadline".to_owned()));
                }
                let reclaim = Arguments::Reclaim { run };
                self.want_in_phase(lease, snapshot, &reclaim, Duration::ZERO).await
            }
            Progress::Waits => self.park(lease, snapshot, Kind::Reclaim).await,
            Progress::Done(_) => {
                self.finish_refund(lease, snapshot, Some(&deadline_passed())).await
            }
            Progress::Refused(refusal) => self.not_reclaimed(lease, snapshot, run, &refusal).await,
            Progress::TooLate => Err(Error::Broken("a reclaim is never too late".to_owned())),
            Progress::Unknown(reason) => Ok(Next::Operator(reason)),
        }
    }

    /// Waits with a failed run whose escrow is left open (R3): for a retry, or for the deadline.
    pub(super) async fn escrow_open(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let (_, deadline) = snapshot.pinned()?;
        let Some(wait) = self.until(deadline).await? else {
            return self.start_refund(lease, snapshot, Phase::Reclaiming, &deadline_passed()).await;
        };
        if !snapshot.run.retry_requested {
            return Ok(Next::Later(wait, "a retry, or the deadline".to_owned()));
        }
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::EscrowOpen).await?;
        self.advance(&mut tx, lease, snapshot, Phase::Settling, None).await?;
        tx.commit().await?;
        Ok(Next::Again)
    }

    /// How long until ledger time may have reached `deadline`; `None` if it has.
    async fn until(&self, deadline: u64) -> Result<Option<Duration>> {
        const AT_MOST: u64 = 15;
        let now = self.chain.now().await?.latest_close;
        let left = deadline.saturating_sub(now);
        Ok((left > 0).then(|| Duration::from_secs(left.min(AT_MOST))))
    }

    async fn settled(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        settlement: &Settlement,
        done: &Done,
    ) -> Result<Next> {
        let value = match RunReceipt::from_val(&done.value) {
            Ok(value) => value,
            Err(error) => return Ok(unreadable(Kind::Finalize, done, &error)),
        };
        let receipt = receipt(&value, settlement, done.closed_at)?;
        // Returned means that nothing at all was taken, no fee either.
        let taken = value.actual_charge != 0 || value.runner_fee != 0;
        let escrow = if taken { Escrow::Settled } else { Escrow::Returned };
        let failed = settlement.failure.is_some();
        let status = if failed { Status::Failed } else { Status::Finalized };
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Settling).await?;
        let paid = Some((&settlement.usage, &receipt));
        store::close(&mut tx, snapshot.key(), escrow, paid, chassis::clock::now()).await?;
        let next = self.end(&mut tx, lease, snapshot, status).await?;
        tx.commit().await?;
        Ok(next)
    }

    /// The vault refuses the settlement. Only its record of the run, read from a node that is not
    /// behind, says what became of the run (R16).
    async fn on_settlement_rejected(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        refusal: &Refusal,
    ) -> Result<Next> {
        let (vault_run_id, deadline) = snapshot.pinned()?;
        let why = refusal.error.to_string();
        let (record, _) = self.chain.record(vault_run_id).await?;
        let in_time = self.until(deadline).await?.is_some();
        match record.map(|record| record.lifecycle) {
            Some(Lifecycle::Finalized { .. }) => {
                Ok(Next::Operator(format!("the vault has settled this run otherwise: {why}")))
            }
            // A record cannot end before its deadline (V17): an absence is no proof until then.
            None if in_time => self.settle_again(lease, snapshot).await,
            Some(Lifecycle::Open) if in_time => {
                // Of a refusal that is final it is only counted: no node that is away delays the refund.
                let is_delisted = match self.is_delisted(snapshot, refusal).await {
                    Err(_) if refusal.is_final => false,
                    found => found?,
                };
                if is_delisted {
                    metrics::delisted();
                }
                if refusal.is_final || is_delisted {
                    let failure = Failure::new("SETTLEMENT_REFUSED", why);
                    return self.start_refund(lease, snapshot, Phase::Voiding, &failure).await;
                }
                // The answer contradicts the record: a node that was behind, or a change since.
                self.settle_again(lease, snapshot).await
            }
            None | Some(Lifecycle::Open | Lifecycle::Voided(_) | Lifecycle::Reclaimed) => {
                self.start_refund(lease, snapshot, Phase::Reclaiming, &deadline_passed()).await
            }
        }
    }

    async fn settle_again(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let finalize = finalize_arguments(snapshot, snapshot.settlement()?)?;
        self.want_in_phase(lease, snapshot, &finalize, AGAIN).await
    }

    /// Whether the registry's own record shows that this runner may not settle any more (V6).
    async fn is_delisted(&self, snapshot: &Snapshot, refusal: &Refusal) -> Result<bool> {
        if refusal.error.name != "UnauthorizedRunner" {
            return Ok(false);
        }
        let terms = snapshot.terms()?;
        let agent = facts::agent(&self.chain, terms.agent_id, Some(terms.rate_version)).await?;
        Ok(agent.is_none_or(|agent| !agent.runners.contains(&terms.opened_by)))
    }

    async fn is_open(&self, vault_run_id: Digest) -> Result<bool> {
        let (record, _) = self.chain.record(vault_run_id).await?;
        Ok(record.is_some_and(|record| record.lifecycle == Lifecycle::Open))
    }

    /// The vault refuses to give back: it was given back already, or must not be.
    async fn not_reclaimed(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        vault_run_id: Digest,
        refusal: &Refusal,
    ) -> Result<Next> {
        let error = &refusal.error;
        if error.name == "DeadlineNotReached" {
            let reclaim = Arguments::Reclaim { run: vault_run_id };
            return self.want_in_phase(lease, snapshot, &reclaim, AGAIN).await;
        }
        match self.chain.record(vault_run_id).await?.0.map(|record| record.lifecycle) {
            // A record that is gone was ended by its account's day sums (V3): the escrow went back.
            None | Some(Lifecycle::Voided(_) | Lifecycle::Reclaimed) => {
                self.finish_refund(lease, snapshot, Some(&deadline_passed())).await
            }
            Some(Lifecycle::Finalized { .. } | Lifecycle::Open) => {
                Ok(Next::Operator(format!("the escrow can't be reclaimed: {error}")))
            }
        }
    }
}

fn deadline_passed() -> Failure {
    Failure::new(
        "DEADLINE_PASSED",
        "the run was not settled before its deadline; the escrow went back",
    )
}

fn receipt(receipt: &RunReceipt, settlement: &Settlement, closed_at: u64) -> Result<Receipt> {
    let seconds = i64::try_from(closed_at).unwrap_or(i64::MAX);
    let at = OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|error| Error::Broken(format!("a ledger closed at {closed_at}: {error}")))?;
    Ok(Receipt {
        run_id: VaultRunId::from(*receipt.run_id.as_bytes()),
        actual_charge: receipt.actual_charge,
        runner_fee: Some(receipt.runner_fee),
        refund: receipt.refund,
        developer: receipt.developer.to_string(),
        output_hash: settlement.output_hash,
        finalized_at: at,
    })
}
