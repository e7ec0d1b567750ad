//! From the queue to an open escrow.

use std::time::Duration;

use chassis::postgres;
use wire::Problem;
use wire::json::exact;

use super::{Done, Next, Progress, Refusal, RunDriver, later, unreadable};
use crate::chain::call::{self, Arguments, CallState};
use crate::chain::calls::on_chain;
use crate::chain::store::calls;
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};
use crate::input_check;
use crate::model::run::{Escrow, Run, RunLease, Snapshot};
use crate::model::settlement::{CANCELLED, Failure};
use crate::model::state::{Phase, Status};
use crate::model::terms::Terms;
use crate::runs::preflight::{self, Facts, Pinned, refuse};
use crate::runs::{event, facts, store, verdict, worth};

impl RunDriver {
    /// Looks at the run's chances (R8), and wants its opening. It is pending until a place in a
    /// transaction is signed for it: nothing is pinned and no deadline runs.
    pub(super) async fn queued(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        match self.progress(snapshot, Kind::Open).await? {
            Progress::None | Progress::TooLate => {}
            Progress::Waits => return self.park(lease, snapshot, Kind::Open).await,
            // Nothing is in the air for a run in the queue, so nothing was opened.
            Progress::Refused(refusal) => {
                return self.fail_before_open(lease, snapshot, &refused_opening(&refusal)).await;
            }
            Progress::Unknown(reason) => return Ok(Next::Operator(reason)),
            Progress::Done(_) => {
                return Err(Error::Broken("a run in the queue was opened".to_owned()));
            }
        }
        let request = &snapshot.run.request;
        let judged_at = chassis::clock::now().unix_timestamp();
        let facts =
            facts::read(&self.chain, request.user, request.agent_id, request.rate_version).await?;
        let fee = self.policy.runner_fee;
        let judged = preflight::judge(&facts, request.rate_version, &request.budgets, fee);
        let pinned = match judged {
            Ok(pinned) => pinned,
            Err(failure) => {
                if self.left_to_another(lease, &facts, &failure).await? {
                    return Ok(later(snapshot, "the runner that the user has granted"));
                }
                return self.fail_before_open(lease, snapshot, &failure).await;
            }
        };
        if let Err(failure) = worth::enough(&pinned, fee, &self.policy.worth) {
            return self.fail_before_open(lease, snapshot, &failure).await;
        }
        let shipping = match self.verdict_on(&pinned, request.agent_id).await {
            Ok(Ok(shipping)) => shipping,
            Ok(Err(failure)) => return self.fail_before_open(lease, snapshot, &failure).await,
            Err(error @ Error::Gate { .. }) => return Ok(later(snapshot, error.to_string())),
            Err(error) => return Err(error),
        };

        match self.misfit(snapshot, &pinned).await {
            Ok(None) => {}
            Ok(Some(failure)) => return self.fail_before_open(lease, snapshot, &failure).await,
            Err(error @ Error::Gate { .. }) => return Ok(later(snapshot, error.to_string())),
            Err(error) => return Err(error),
        }

        let terms = self.terms(&snapshot.run, pinned)?;
        let developer = terms.developer;
        let open = Arguments::Open { terms, nonce: snapshot.attempt.nonce, judged_at };
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Queued).await?;
        let limits = &self.policy.worth;
        if let Err(failure) = worth::within(&mut tx, request.user, developer, limits).await? {
            drop(tx);
            return self.fail_before_open(lease, snapshot, &failure).await;
        }
        store::keep_verdict(&mut tx, snapshot.key(), shipping.as_deref()).await?;
        self.want(&mut tx, lease, snapshot, &open, Duration::ZERO).await?;
        postgres::commit(tx).await?;
        Ok(Next::Parked)
    }

    /// Whether a run that this runner may not open was left to another that is served here and may:
    /// while a key is replaced, some users have granted the old one and some the new.
    async fn left_to_another(
        &self,
        lease: RunLease,
        facts: &Facts,
        failure: &Failure,
    ) -> Result<bool> {
        if failure.code != "PREFLIGHT_UNAUTHORIZED_RUNNER" || facts.others.is_empty() {
            return Ok(false);
        }
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Queued).await?;
        let is_left = store::leave_to(&mut tx, lease, &facts.others).await?;
        postgres::commit(tx).await?;
        Ok(is_left)
    }

    /// Takes the escrow.
    pub(super) async fn opening(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let called_off = snapshot.run.cancel_requested;
        match self.progress(snapshot, Kind::Open).await? {
            Progress::Waits if called_off => self.call_off(lease, snapshot).await,
            Progress::Waits => self.park(lease, snapshot, Kind::Open).await,
            Progress::Done(done) => self.opened(lease, snapshot, &done).await,
            Progress::Refused(refusal) => self.refused(lease, snapshot, &refusal).await,
            Progress::TooLate | Progress::None if called_off => {
                self.cancel_before_open(lease, snapshot).await
            }
            Progress::TooLate | Progress::None => self.return_to_queue(lease, snapshot).await,
            Progress::Unknown(reason) => Ok(Next::Operator(reason)),
        }
    }

    /// A run that was called off is not opened any more, unless its opening is in the air: then
    /// what becomes of that decides.
    async fn call_off(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Opening).await?;
        let withdrawn = calls::withdraw(&mut tx, snapshot.key(), Kind::Open).await?;
        postgres::commit(tx).await?;
        if withdrawn {
            call::count_ends(&[(Kind::Open, CallState::Withdrawn)]);
            return self.cancel_before_open(lease, snapshot).await;
        }
        self.park(lease, snapshot, Kind::Open).await
    }

    /// Module-gate's verdict on the pinned module, if there is a module-gate.
    async fn verdict_on(
        &self,
        pinned: &Pinned,
        agent: u32,
    ) -> Result<Result<Option<Vec<u8>>, Failure>> {
        let Some(gates) = &self.gates else { return Ok(Ok(None)) };
        let keys = verdict::accepted_keys(&pinned.attesters, &self.policy.attestation_keys);
        let found = match gates.verdict(pinned.manifest_hash, &keys, Some(agent)).await {
            Ok(found) => found,
            Err(Error::Gate { problem: Some(problem), message, .. })
                if matches!(problem, Problem::VerdictMissing | Problem::ModuleUnknown) =>
            {
                return Ok(Err(refuse(&problem.reason(), format!("module-gate: {message}"))));
            }
            Err(error) => return Err(error),
        };
        let judged = verdict::before_opening(&found, &keys, pinned.manifest_hash);
        Ok(judged.map(|()| Some(found.statement)))
    }

    /// What the input does not fulfil of the pinned module's schema. The gateway compares as well,
    /// and another rate card may have come since, or a gate was away then.
    async fn misfit(&self, snapshot: &Snapshot, pinned: &Pinned) -> Result<Option<Failure>> {
        let Some(gates) = &self.gates else { return Ok(None) };
        let schema = match gates.input_schema(pinned.manifest_hash).await {
            // Waiting would not change it, and nothing was paid yet.
            Err(error @ Error::SchemaUnusable(_)) => {
                return Ok(Some(refuse("INPUT_SCHEMA_UNUSABLE", error.to_string())));
            }
            found => found?,
        };
        if schema.is_none() {
            return Ok(None);
        }
        let input = store::input(&self.db, snapshot.run.id).await?;
        let mistakes = input_check::mistakes(&schema, &input, &input_check::CHECKS_OF_RUNS).await?;
        Ok(mistakes.first().map(|mistake| {
            let (place, message) = (exact::pointer(&mistake.path), &mistake.message);
            let text =
                format!("the input is not what the module expects, at \"{place}\": {message}");
            refuse("INPUT_INVALID", text)
        }))
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
        postgres::commit(tx).await?;
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
        postgres::commit(tx).await?;
        Ok(later(snapshot, "a place in a transaction"))
    }

    /// What the run is to be opened under. Its deadline is fixed when the opening is signed.
    fn terms(&self, run: &Run, pinned: Pinned) -> Result<Terms> {
        let request = stellar::ids::Request {
            input_digest: run.request.input_digest,
            module_digest: pinned.manifest_hash,
            seed: run.request.seed,
            workflow_id: run.workflow_id(),
        };
        Ok(Terms {
            user: run.request.user,
            opened_by: self.chain.runner.address(),
            agent_id: run.request.agent_id,
            rate_version: pinned.rate_version,
            rates: pinned.rates,
            budgets: run.request.budgets,
            max_charge: pinned.max_charge,
            runner_fee: self.policy.runner_fee,
            deadline: 0,
            opened_at: None,
            developer: pinned.developer,
            manifest_hash: pinned.manifest_hash,
            request_hash: stellar::ids::request_hash(&request)?,
            attesters: pinned.attesters,
        })
    }

    async fn opened(&self, lease: RunLease, snapshot: &Snapshot, done: &Done) -> Result<Next> {
        let (vault_run_id, _) = snapshot.pinned()?;
        let answered = match stellar::scval::Reader::new("run id", &done.value).run_id() {
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
        postgres::commit(tx).await?;
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
        postgres::commit(tx).await?;
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
        // The record names no opening time. It is the close time of the ledger of some signature of
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
        postgres::commit(tx).await?;
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
