//! From a frozen settlement, or the wish to give back, to a receipt and an end.

use std::time::Duration;

use chassis::postgres;
use stellar::Address;
use stellar::vault::{Lifecycle, RunReceipt, RunRecord};
use wire::VaultRunId;

use super::{
    Done, Next, Progress, Refusal, RunDriver, finalize_arguments, unreadable, void_arguments,
};
use crate::chain::call::{self, Arguments};
use crate::chain::store::calls;
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};
use crate::metrics;
use crate::model::run::{Escrow, RunLease, Snapshot};
use crate::model::settlement::{Failure, Receipt, Settlement};
use crate::model::state::{Phase, Status};
use crate::runs::closed::{self, Settled};
use crate::runs::{facts, store};
use crate::sight::proof::{Evidence, Proof, Returned};
use crate::sight::{Followed, attempts};

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
            Progress::TooLate => self.past_deadline(lease, snapshot).await,
            Progress::Refused(refusal) => {
                self.on_settlement_rejected(lease, snapshot, &refusal).await
            }
            Progress::Unknown(reason) => self.unless_closed(lease, snapshot, reason).await,
        }
    }

    /// Gives the escrow back before the deadline.
    pub(super) async fn voiding(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let (vault_run_id, deadline) = snapshot.pinned()?;
        match self.progress(snapshot, Kind::Void).await? {
            Progress::None => self.void(lease, snapshot, Duration::ZERO).await,
            Progress::Waits => self.park(lease, snapshot, Kind::Void).await,
            Progress::Done(_) => self.finish_refund(lease, snapshot, None).await,
            Progress::TooLate => self.past_deadline(lease, snapshot).await,
            Progress::Refused(_) => {
                // A record that is open can be voided until its deadline, whatever this answer
                // said.
                if self.is_open(vault_run_id).await? && self.until(deadline).await?.is_some() {
                    return self.void(lease, snapshot, AGAIN).await;
                }
                self.past_deadline(lease, snapshot).await
            }
            Progress::Unknown(reason) => self.unless_closed(lease, snapshot, reason).await,
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
                // Somebody may have closed it meanwhile: that ends it before its deadline.
                if self.evidence_of(&self.followed()).closing(run).await?.is_some()
                    && let Closed::Ended(next) = self.closed(lease, snapshot).await?
                {
                    return Ok(next);
                }
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
            Progress::Unknown(reason) => self.unless_closed(lease, snapshot, reason).await,
        }
    }

    /// Waits with a failed run whose escrow is left open (R3): for a retry, or for the deadline.
    pub(super) async fn escrow_open(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let (run, deadline) = snapshot.pinned()?;
        // A run may not end from here, where its escrow may be open: the phase that gives back
        // ends it as the vault closed it. Its failure was noted when it was frozen, and stays.
        let is_closed = self.evidence_of(&self.followed()).closing(run).await?.is_some();
        let Some(wait) = self.until(deadline).await?.filter(|_| !is_closed) else {
            return self.start_refund(lease, snapshot, Phase::Reclaiming, &deadline_passed()).await;
        };
        if !snapshot.run.retry_requested {
            return Ok(Next::Later(wait, "a retry, or the deadline".to_owned()));
        }
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::EscrowOpen).await?;
        self.advance(&mut tx, lease, snapshot, Phase::Settling, None).await?;
        postgres::commit(tx).await?;
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
        let settled_by = self.chain.runner.address();
        let receipt = receipt(&value, settlement, done.closed_at, settled_by)?;
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
        postgres::commit(tx).await?;
        Ok(next)
    }

    /// What proves how the escrow of a run was closed.
    fn followed(&self) -> Followed {
        let chain = &self.chain;
        Followed::new(&chain.network, chain.vault, chain.registry, chain.runner.address())
    }

    const fn evidence_of<'a>(&'a self, followed: &'a Followed) -> Evidence<'a> {
        Evidence { db: &self.db, rpc: &self.chain.rpc, followed }
    }

    /// Ends the run if its escrow was closed on chain by whatever call, as the vault's record and
    /// events prove it (V14).
    async fn closed(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Closed> {
        let followed = self.followed();
        let evidence = self.evidence_of(&followed);
        let Some(asked) = attempts::asked(&self.db, lease.id).await? else {
            return Ok(Closed::Not);
        };

        let (ledger, records) = evidence.records(&[asked.vault_run_id]).await?;
        let record = records.into_iter().next().flatten();
        // Asked before the events: an event that is read between the two looks must not count as
        // lost.
        let has_read = evidence.has_read(ledger).await?;
        let (event, record) = match evidence.judge(&asked, ledger, record).await? {
            Proof::Open { .. } | Proof::NeverOpened => return Ok(Closed::Not),
            Proof::Returned(how) => {
                let failure = closed::failure_of(how);
                let next = self.finish_refund(lease, snapshot, Some(&failure)).await?;
                return Ok(Closed::Ended(next));
            }
            Proof::Settled { event, record, .. } => (event, record),
            Proof::Unknown(why) if has_read => return Ok(Closed::Unproven(why)),
            Proof::Unknown(_) => return Ok(Closed::Ended(wait_for_event())),
        };

        let settled = match (event, record) {
            (Some(event), record) => {
                let settled = Settled::of_event(&event)?;
                if record.is_some_and(|record| !settled.fits(&record)) {
                    let words = "the vault's record of the run and its event contradict each \
                                 other; compare both from another node, then resume the run";
                    return Ok(Closed::Ended(Next::Operator(words.to_owned())));
                }
                settled
            }
            // The event has what the record lacks, and comes as soon as its ledger is read.
            (None, _) if !has_read => return Ok(Closed::Ended(wait_for_event())),
            (None, record) => match self.settled_by_record(snapshot, record.as_deref()).await? {
                Some(settled) => settled,
                None => {
                    let words = format!(
                        "the vault settled run {}, its event is lost, and no settler and usage \
                         that are known here give the digest in its record; ask a node with full \
                         history for its event, then resume the run",
                        asked.vault_run_id
                    );
                    return Ok(Closed::Ended(Next::Operator(words)));
                }
            },
        };
        Ok(Closed::Ended(self.end_settled(lease, snapshot, &settled).await?))
    }

    /// The settlement that the record alone proves: made by a runner that the agent lists, of the
    /// usage that was frozen here, or of none.
    async fn settled_by_record(
        &self,
        snapshot: &Snapshot,
        record: Option<&RunRecord>,
    ) -> Result<Option<Settled>> {
        let Some(record) = record else { return Ok(None) };
        let terms = snapshot.terms()?;
        let agent = facts::agent(&self.chain, terms.agent_id, Some(terms.rate_version)).await?;
        let listed = agent.map(|agent| agent.runners).unwrap_or_default();
        let settlers: Vec<_> = listed.into_iter().chain([record.opened_by]).collect();
        let frozen = snapshot.attempt.settlement.as_ref().map(|settlement| settlement.usage);
        let usages: Vec<_> = frozen.into_iter().chain([wire::Usage::default()]).collect();
        Ok(Settled::of_record(record, &settlers, &usages))
    }

    async fn end_settled(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        settled: &Settled,
    ) -> Result<Next> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, snapshot.run.phase).await?;
        // What was wanted for it is not to be signed any more.
        let withdrawn = calls::withdraw_all(&mut tx, snapshot.key()).await?;
        let status = closed::settled(&mut tx, snapshot, settled).await?;
        let next = self.end(&mut tx, lease, snapshot, status).await?;
        postgres::commit(tx).await?;
        call::count_ends(&withdrawn);
        tracing::warn!(
            run.id = %lease.id,
            "run {} was settled by {}, as the vault shows, with {} stroops",
            lease.id,
            settled.settled_by,
            settled.charge
        );
        Ok(next)
    }

    /// Nothing can land in time any more: ends the run if it was closed otherwise, and gives its
    /// escrow back if not.
    async fn past_deadline(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        if let Closed::Ended(next) = self.closed(lease, snapshot).await? {
            return Ok(next);
        }
        self.start_refund(lease, snapshot, Phase::Reclaiming, &deadline_passed()).await
    }

    /// The outcome of a call is unknown, but what became of the escrow may be proven.
    async fn unless_closed(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        reason: String,
    ) -> Result<Next> {
        match self.closed(lease, snapshot).await? {
            Closed::Ended(next) => Ok(next),
            Closed::Not | Closed::Unproven(_) => Ok(Next::Operator(reason)),
        }
    }

    /// The vault refuses the settlement. Only its record of the run, read from a node that is not
    /// behind, says what became of the run (R16).
    async fn on_settlement_rejected(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        refusal: &Refusal,
    ) -> Result<Next> {
        if let Closed::Ended(next) = self.closed(lease, snapshot).await? {
            return Ok(next);
        }
        let (vault_run_id, deadline) = snapshot.pinned()?;
        let why = refusal.error.to_string();
        let (record, _) = self.chain.record(vault_run_id).await?;
        let in_time = self.until(deadline).await?.is_some();
        match record.map(|record| record.lifecycle) {
            // It was closed between the two looks: the next one sees how.
            Some(Lifecycle::Finalized { .. } | Lifecycle::Voided(_) | Lifecycle::Reclaimed) => {
                Ok(wait_for_event())
            }
            // A record cannot end before its deadline (V17): an absence is no proof until then.
            None if in_time => self.settle_again(lease, snapshot).await,
            Some(Lifecycle::Open) if in_time => {
                // Of a refusal that is final it is only counted: no node that is away delays the refund.
                let is_delisted = match self.is_delisted(snapshot, refusal).await {
                    Err(_) if refusal.is_final => false,
                    found => found?,
                };
                if refusal.is_final || is_delisted {
                    let failure = Failure::new("SETTLEMENT_REFUSED", why);
                    let next = self.start_refund(lease, snapshot, Phase::Voiding, &failure).await?;
                    // Once: what fails before is done again.
                    if is_delisted {
                        metrics::delisted();
                    }
                    return Ok(next);
                }
                // The answer contradicts the record: a node that was behind, or a change since.
                self.settle_again(lease, snapshot).await
            }
            None | Some(Lifecycle::Open) => {
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

    async fn is_open(&self, vault_run_id: VaultRunId) -> Result<bool> {
        let (record, _) = self.chain.record(vault_run_id).await?;
        Ok(record.is_some_and(|record| record.lifecycle == Lifecycle::Open))
    }

    /// The vault refuses to give back: it was given back already, or must not be.
    async fn not_reclaimed(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        vault_run_id: VaultRunId,
        refusal: &Refusal,
    ) -> Result<Next> {
        let error = &refusal.error;
        if error.name == "DeadlineNotReached" {
            let reclaim = Arguments::Reclaim { run: vault_run_id };
            return self.want_in_phase(lease, snapshot, &reclaim, AGAIN).await;
        }
        match self.closed(lease, snapshot).await? {
            Closed::Ended(next) => Ok(next),
            Closed::Not => Ok(Next::Operator(format!("the escrow can't be reclaimed: {error}"))),
            // A record that is gone was ended by its account's day sums (V3), unless its settlement
            // was among the events that are lost.
            Closed::Unproven(why) => {
                Ok(Next::Operator(format!("the escrow can't be reclaimed: {error}; {why}")))
            }
        }
    }
}

/// Whether a run was closed on chain by a call that is not its own.
#[derive(Debug)]
enum Closed {
    /// It was, or may have been: what the run does next.
    Ended(Next),
    /// The vault holds its escrow, or never took it.
    Not,
    /// Nothing is proven, and nothing that is still to be read will prove it; why.
    Unproven(String),
}

/// A settlement's event is read within a ledger or two.
fn wait_for_event() -> Next {
    Next::Later(AGAIN, "the vault's events, to see how the run was closed".to_owned())
}

fn deadline_passed() -> Failure {
    closed::failure_of(Returned::Reclaimed)
}

fn receipt(
    receipt: &RunReceipt,
    settlement: &Settlement,
    closed_at: u64,
    settled_by: Address,
) -> Result<Receipt> {
    Ok(Receipt {
        run_id: receipt.run_id,
        actual_charge: receipt.actual_charge,
        runner_fee: Some(receipt.runner_fee),
        refund: receipt.refund,
        developer: receipt.developer.to_string(),
        output_hash: settlement.output_hash,
        finalized_at: Some(closed::time_of(closed_at)?),
        settled_by: Some(settled_by.to_string()),
    })
}
