//! From the queue to an open escrow.

use wire::{Digest, Problem};

use super::{Next, RunDriver, later, unreadable};
use crate::chain;
use crate::chain::calls::{address, on_chain};
use crate::chain::store::SourceLease;
use crate::chain::submit::{Done, Refusal, SubmitOutcome, TransactionIntent};
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};
use crate::model::run::{Escrow, Run, RunLease, Snapshot};
use crate::model::settlement::{CANCELLED, Failure};
use crate::model::state::{Phase, Status};
use crate::model::terms::Terms;
use crate::runs::preflight::{self, Pinned, refuse};
use crate::runs::{event, facts, store, verdict};

impl RunDriver {
    /// Looks at the run's chances (R8), and signs its opening as soon as there is a place for it.
    /// Until then it is pending: nothing is pinned and no deadline runs.
    pub(super) async fn queued(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        // Asked first, since everything that follows asks the network.
        if !self.chain.is_source_free().await? {
            return Ok(Next::NeedsSource);
        }
        let request = &snapshot.run.request;
        let facts =
            facts::read(&self.chain, &request.user, request.agent_id, request.rate_version).await?;
        let fee = self.policy.runner_fee;
        let judged = preflight::judge(&facts, request.rate_version, &request.budgets, fee);
        let pinned = match judged {
            Ok(pinned) => pinned,
            Err(failure) => return self.fail_before_open(lease, snapshot, &failure).await,
        };
        let shipping = match self.verdict_on(&pinned).await {
            Ok(Ok(shipping)) => shipping,
            Ok(Err(failure)) => return self.fail_before_open(lease, snapshot, &failure).await,
            Err(error @ Error::Gate { .. }) => return Ok(later(snapshot, error.to_string())),
            Err(error) => return Err(error),
        };
        let Some(source) = self.chain.lease_source().await? else {
            return Ok(Next::NeedsSource);
        };
        let signed = self.sign_opening(lease, snapshot, pinned, shipping, &source).await;
        self.chain.release_source(&source).await?;
        signed
    }

    /// Pins the terms, with a deadline that is counted from now, and signs the opening: both become
    /// true with the phase, in one transaction of the database.
    async fn sign_opening(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        pinned: Pinned,
        shipping: Option<Vec<u8>>,
        source: &SourceLease,
    ) -> Result<Next> {
        let now = self.chain.now().await?.latest_close;
        let terms = self.terms(&snapshot.run, now, pinned)?;
        let nonce = snapshot.attempt.nonce;
        // Computed here as the vault does (V4), so that it is known before anything is sent.
        let vault_run_id = self.vault_run_id(&terms, nonce)?;
        let call = |valid_until| self.chain.open_call(&terms, nonce, valid_until);
        let intent = TransactionIntent {
            lease,
            attempt: snapshot.run.attempt,
            kind: Kind::Open,
            vault_run_id,
            deadline: terms.deadline,
            latest: self.latest(Kind::Open, terms.deadline),
            may_sign: true,
            call: &call,
        };
        let transaction = match self.chain.prepare(&intent, source).await? {
            Ok(transaction) => transaction,
            Err(SubmitOutcome::Refused(refusal)) => {
                let failure = refused_opening(&refusal);
                return self.fail_before_open(lease, snapshot, &failure).await;
            }
            Err(SubmitOutcome::Unknown(reason)) => return Ok(Next::Operator(reason)),
            Err(SubmitOutcome::Wait(why)) => return Ok(later(snapshot, why)),
            Err(_) => return Ok(later(snapshot, "a place in a transaction")),
        };

        let now = chassis::clock::now();
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Queued).await?;
        store::pin(&mut tx, snapshot.key(), &terms, vault_run_id, shipping.as_deref()).await?;
        chain::store::insert(&mut tx, lease, source, &transaction, now).await?;
        self.advance(&mut tx, lease, snapshot, Phase::Opening, None).await?;
        tx.commit().await?;
        self.chain.crash_point(Kind::Open, "after_persist");
        Ok(Next::Again)
    }

    /// Takes the escrow.
    pub(super) async fn opening(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let terms = snapshot.terms()?;
        let nonce = snapshot.attempt.nonce;
        let call = |valid_until| self.chain.open_call(terms, nonce, valid_until);
        match self.submit(lease, snapshot, Kind::Open, &call).await? {
            SubmitOutcome::Done(done) => self.opened(lease, snapshot, &done).await,
            SubmitOutcome::Later(pause, why) => Ok(Next::Later(pause, why.to_owned())),
            SubmitOutcome::NeedsSource => Ok(Next::NeedsSource),
            SubmitOutcome::Wait(why) => Ok(later(snapshot, why)),
            SubmitOutcome::Refused(refusal) => self.refused(lease, snapshot, &refusal).await,
            SubmitOutcome::TooLate if snapshot.run.cancel_requested => {
                self.cancel_before_open(lease, snapshot).await
            }
            SubmitOutcome::TooLate => self.return_to_queue(lease, snapshot).await,
            SubmitOutcome::Unknown(reason) => Ok(Next::Operator(reason)),
        }
    }

    /// Module-gate's verdict on the pinned module, if there is a module-gate.
    async fn verdict_on(&self, pinned: &Pinned) -> Result<Result<Option<Vec<u8>>, Failure>> {
        let Some(gates) = &self.gates else { return Ok(Ok(None)) };
        let keys = verdict::accepted_keys(&pinned.attesters, &self.policy.attestation_keys);
        let envelope = match gates.verdict(pinned.manifest_hash).await {
            Ok(envelope) => envelope,
            Err(Error::Gate { problem: Some(problem), message, .. })
                if matches!(problem, Problem::VerdictMissing | Problem::ModuleUnknown) =>
            {
                return Ok(Err(refuse(&problem.reason(), format!("module-gate: {message}"))));
            }
            Err(error) => return Err(error),
        };
        let judged = verdict::shipping(&envelope, &keys, pinned.manifest_hash);
        Ok(judged.map(|()| Some(envelope)))
    }

    /// Ends a run that was called off while its opening was on its way, and of which it is proven
    /// that it was not opened.
    async fn cancel_before_open(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let failure = Failure::new(CANCELLED, "called off before it was opened");
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Opening).await?;
        store::note_failure(&mut tx, snapshot.key(), &failure).await?;
        store::close(&mut tx, snapshot.key(), Escrow::None, None, chassis::clock::now()).await?;
        let next = self.end(&mut tx, lease, snapshot, Status::Cancelled).await?;
        tx.commit().await?;
        Ok(next)
    }

    /// Nothing that was signed for the opening landed, or can land, and its deadline is too near:
    /// it is signed with another deadline, and so with another id, when there is a place for it.
    async fn return_to_queue(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let now = chassis::clock::now();
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Opening).await?;
        store::unpin(&mut tx, lease, snapshot.run.attempt, now).await?;
        event::publish(&mut tx, &self.policy.nats_prefix, lease.id, now).await?;
        tx.commit().await?;
        Ok(later(snapshot, "a place in a transaction"))
    }

    /// `now` is the ledger's time.
    fn terms(&self, run: &Run, now: u64, pinned: Pinned) -> Result<Terms> {
        let request = stellar::ids::Request {
            input_digest: run.request.input_digest,
            module_digest: pinned.manifest_hash,
            seed: run.request.seed,
            workflow_id: run.workflow_id(),
        };
        Ok(Terms {
            user: run.request.user.clone(),
            opened_by: self.chain.runner.address().to_string(),
            agent_id: run.request.agent_id,
            rate_version: pinned.rate_version,
            rates: pinned.rates,
            budgets: run.request.budgets,
            max_charge: pinned.max_charge,
            runner_fee: self.policy.runner_fee,
            deadline: now.saturating_add(self.policy.deadline_secs),
            opened_at: None,
            developer: pinned.developer,
            manifest_hash: pinned.manifest_hash,
            request_hash: stellar::ids::request_hash(&request)?,
            attesters: pinned.attesters,
        })
    }

    fn vault_run_id(&self, terms: &Terms, nonce: Digest) -> Result<Digest> {
        let identity = stellar::ids::RunIdentity {
            network: &self.chain.network,
            vault: &self.chain.vault,
            user: &address(&terms.user)?,
            caller: &address(&terms.opened_by)?,
            nonce: &nonce,
            deadline: terms.deadline,
        };
        Ok(stellar::ids::run_id(&identity)?)
    }

    async fn opened(&self, lease: RunLease, snapshot: &Snapshot, done: &Done) -> Result<Next> {
        let (vault_run_id, _) = snapshot.pinned()?;
        let answered = match stellar::scval::Reader::new("run id", &done.value).digest() {
            Ok(answered) => answered,
            Err(error) => return Ok(unreadable(Kind::Open, done, &error)),
        };
        // Another id would mean that another run was opened, with other money.
        if answered != vault_run_id {
            return Ok(Next::Operator(
                "the vault answered open_run with another run's id".to_owned(),
            ));
        }
        let Some(terms) = self.terms_on_chain(snapshot, done.closed_at).await? else {
            let failure = Failure::new(
                "TERMS_UNKNOWN",
                "the terms that the vault pinned cannot be found \
                              out any more",
            );
            return self.abort_after_open(lease, snapshot, &failure).await;
        };
        if !self.is_chargeable(snapshot, &terms).await? {
            let failure = Failure::new(
                "ATTESTER_CHANGED",
                "the agent's attesters changed while the run was opened; none of the pinned ones is \
                 module-gate's, so nothing could be charged and the escrow goes back",
            );
            return self.abort_after_open(lease, snapshot, &failure).await;
        }
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Opening).await?;
        store::opened(&mut tx, snapshot.key(), &terms).await?;
        self.advance(&mut tx, lease, snapshot, Phase::Executing, None).await?;
        tx.commit().await?;
        Ok(Next::Again)
    }

    /// Whether the module-gate that judged the module is among the attesters that the vault pinned:
    /// only then does it sign a settlement that the vault takes (V16).
    async fn is_chargeable(&self, snapshot: &Snapshot, terms: &Terms) -> Result<bool> {
        if terms.attesters == snapshot.terms()?.attesters {
            return Ok(true);
        }
        let statements = store::statements(&self.db, snapshot.key()).await?;
        // Without gates the run fails as one without an executor.
        let Some(shipping) = statements.shipping else { return Ok(true) };
        let keys = verdict::accepted_keys(&terms.attesters, &self.policy.attestation_keys);
        Ok(verdict::shipping(&shipping, &keys, terms.manifest_hash).is_ok())
    }

    async fn abort_after_open(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        failure: &Failure,
    ) -> Result<Next> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Opening).await?;
        store::opened(&mut tx, snapshot.key(), snapshot.terms()?).await?;
        store::note_failure(&mut tx, snapshot.key(), failure).await?;
        self.advance(&mut tx, lease, snapshot, Phase::Voiding, None).await?;
        tx.commit().await?;
        Ok(Next::Again)
    }

    /// The terms whose digest the vault's record holds. What may differ from what was pinned: the
    /// ledger time of the opening, and attesters that changed in between. `None` if nothing fits.
    async fn terms_on_chain(&self, snapshot: &Snapshot, closed_at: u64) -> Result<Option<Terms>> {
        let (vault_run_id, _) = snapshot.pinned()?;
        let Some(record) = self.chain.record(vault_run_id).await?.0 else { return Ok(None) };
        let pinned = snapshot.terms()?;
        let agent = facts::agent(&self.chain, pinned.agent_id, Some(pinned.rate_version)).await?;
        let fresh = agent.map_or_else(Vec::new, |agent| agent.attesters);
        // The record tells no opening time. It is the close time of the ledger of some signature of
        // this attempt, none of which is older than a few lives of a transaction.
        let first = closed_at.saturating_sub(self.chain.transaction_secs.saturating_mul(8));
        for attesters in [&pinned.attesters, &fresh] {
            for opened_at in std::iter::once(closed_at).chain((first..closed_at).rev()) {
                let opened_at = Some(opened_at);
                let terms = Terms { attesters: attesters.clone(), opened_at, ..pinned.clone() };
                if on_chain(&terms)?.hash()? == record.terms_hash {
                    return Ok(Some(terms));
                }
            }
        }
        Ok(None)
    }

    async fn refused(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        refusal: &Refusal,
    ) -> Result<Next> {
        let failure = refused_opening(refusal);
        let (vault_run_id, _) = snapshot.pinned()?;
        match self.chain.record(vault_run_id).await?.0 {
            // It was open once and is over: what is left of it is given back.
            Some(_) => self.start_refund(lease, snapshot, Phase::Reclaiming, &failure).await,
            None => self.fail_before_open(lease, snapshot, &failure).await,
        }
    }

    /// Ends a run that never took any money.
    async fn fail_before_open(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        failure: &Failure,
    ) -> Result<Next> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, snapshot.run.phase).await?;
        store::note_failure(&mut tx, snapshot.key(), failure).await?;
        store::close(&mut tx, snapshot.key(), Escrow::None, None, chassis::clock::now()).await?;
        let next = self.end(&mut tx, lease, snapshot, Status::Failed).await?;
        tx.commit().await?;
        tracing::warn!(run.id = %lease.id, "run {} was not opened: {}", lease.id, failure.reason);
        Ok(next)
    }
}

/// The vault's refusal of an opening, as a failure of the run.
fn refused_opening(refusal: &Refusal) -> Failure {
    let error = &refusal.error;
    Failure::new(format!("OPEN_{}", screaming(error.name)), error.to_string())
}

/// `InsufficientBalance` as `INSUFFICIENT_BALANCE`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::screaming;

    #[test]
    fn contract_errors_keep_their_names() {
        assert_eq!(screaming("InsufficientBalance"), "INSUFFICIENT_BALANCE");
        assert_eq!(screaming("RunNotOpen"), "RUN_NOT_OPEN");
    }
}
