//! From the queue to an open escrow.

use wire::{Digest, Problem};

use super::{Next, RunDriver, later, unreadable};
use crate::chain::calls::{address, on_chain};
use crate::chain::submit::{Done, SubmitOutcome};
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};
use crate::model::run::{Escrow, Run, RunLease, Snapshot};
use crate::model::settlement::Failure;
use crate::model::state::{Phase, Status};
use crate::model::terms::Terms;
use crate::runs::preflight::{self, Facts, Pinned, refuse};
use crate::runs::{facts, store, verdict};

impl RunDriver {
    /// Looks at the run's chances (R8), pins its terms, and goes on to open it.
    pub(super) async fn queued(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
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
        let terms = self.terms(&snapshot.run, &facts, pinned)?;
        let vault_run_id = self.vault_run_id(&terms, snapshot.attempt.nonce)?;
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Queued).await?;
        store::pin(&mut tx, snapshot.key(), &terms, vault_run_id, shipping.as_deref()).await?;
        self.advance(&mut tx, lease, snapshot, Phase::Opening, None).await?;
        tx.commit().await?;
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
            SubmitOutcome::Refused(error) => self.refused(lease, snapshot, &error).await,
            SubmitOutcome::TooLate => {
                let failure =
                    Failure::new("OPEN_EXPIRED", "the run's deadline came before it was opened");
                self.fail_before_open(lease, snapshot, &failure).await
            }
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

    fn terms(&self, run: &Run, facts: &Facts, pinned: Pinned) -> Result<Terms> {
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
            deadline: facts.now.saturating_add(self.policy.deadline_secs),
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
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Opening).await?;
        store::opened(&mut tx, snapshot.key(), &terms).await?;
        self.advance(&mut tx, lease, snapshot, Phase::Executing, None).await?;
        tx.commit().await?;
        Ok(Next::Again)
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
        error: &stellar::ChainError,
    ) -> Result<Next> {
        let name = error.contract().map_or("Failed", |error| error.name);
        let failure = Failure::new(format!("OPEN_{}", screaming(name)), error.to_string());
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
