//! From an open escrow to a signed execution statement.

use std::time::Duration;

use chassis::postgres;
use ed25519_dalek::VerifyingKey;
use wire::view::UpstreamView;

use super::{Next, RunDriver, later, refusal};
use crate::crash;
use crate::error::{Error, Result};
use crate::gates::{Execution, Gates, Order};
use crate::model::run::{RunLease, Snapshot};
use crate::model::settlement::{CANCELLED, Failure};
use crate::model::state::Phase;
use crate::runs::store;
use crate::runs::verdict::{self, Expected};

impl RunDriver {
    /// Asks module-gate what it knows of the attempt, and only then for the execution (R11).
    pub(super) async fn executing(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        if snapshot.run.cancel_requested && snapshot.attempt.execute_started_at.is_none() {
            return self.start_refund(lease, snapshot, Phase::Voiding, &cancelled()).await;
        }
        let Some(gates) = &self.gates else {
            let failure =
                Failure::new("EXECUTOR_MISSING", "this runner has no executor configured");
            return self.fail(lease, snapshot, failure).await;
        };
        match self.executed(lease, snapshot, gates).await {
            Ok(Executed::Statement(statement)) => self.take(lease, snapshot, &statement).await,
            Ok(Executed::Cancelled) => {
                self.start_refund(lease, snapshot, Phase::Voiding, &cancelled()).await
            }
            Ok(Executed::NoTime) => {
                let why = snapshot.run.waiting_for.as_deref().unwrap_or("the run waited too long");
                let failure =
                    Failure::new("EXECUTION_UNAVAILABLE", format!("not executed in time: {why}"));
                self.start_refund(lease, snapshot, Phase::Voiding, &failure).await
            }
            Err(error @ Error::Gate { .. }) => match refusal(&error) {
                Some(failure) => self.fail(lease, snapshot, failure).await,
                None => self.wait_for_gate(lease, snapshot, error).await,
            },
            Err(error) => Err(error),
        }
    }

    async fn executed(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        gates: &Gates,
    ) -> Result<Executed> {
        let (run, attempt) = snapshot.key();
        let known = gates.execution(run, attempt).await?;
        // Also when the time is over: what was executed is charged by its statement (R10).
        if let Execution::Finished(statement) = known {
            return Ok(Executed::Statement(statement));
        }
        let deadline = snapshot.terms()?.deadline;
        let wall = if known == Execution::Running { 0 } else { self.policy.wall_secs() };
        let needed = self.policy.margin_secs.saturating_add(wall);
        let now = self.chain.now().await?.latest_close;
        if now.saturating_add(needed) > deadline {
            return Ok(Executed::NoTime);
        }
        if !self.start_execution(lease, snapshot).await? {
            return Ok(Executed::Cancelled);
        }
        crash::point("execute.before");
        let input = store::input(&self.db, snapshot.run.id).await?;
        let terms = snapshot.terms()?;
        let keys = verdict::accepted_keys(&terms.attesters, &self.policy.attestation_keys);
        let order = self.order(snapshot, &input, &keys, deadline.saturating_sub(now))?;
        // A minute on top: the limit is module-gate's to keep, and its answer has to travel.
        let patience = Duration::from_millis(self.policy.wall_limit_ms) + Duration::from_secs(60);
        let answer = tokio::time::timeout(patience, gates.execute(&order)).await;
        let statement = answer.map_err(|_| Error::Gate {
            gate: "module-gate",
            code: tonic::Code::DeadlineExceeded,
            message: "the execution did not end within its wall limit and a minute".to_owned(),
            problem: None,
        })??;
        crash::point("execute.after_answer");
        Ok(Executed::Statement(statement))
    }

    async fn start_execution(&self, lease: RunLease, snapshot: &Snapshot) -> Result<bool> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Executing).await?;
        let started =
            store::start_execution(&mut tx, snapshot.key(), chassis::clock::now()).await?;
        postgres::commit(tx).await?;
        Ok(started)
    }

    /// `left` are the seconds of ledger time until the deadline. module-gate judges by the clock of
    /// its host, which may differ from the ledger's by hours on a network whose time was moved; so
    /// it gets the time that is left, on that clock.
    fn order<'a>(
        &self,
        snapshot: &'a Snapshot,
        input: &'a [u8],
        attesters: &'a [VerifyingKey],
        left: u64,
    ) -> Result<Order<'a>> {
        let terms = snapshot.terms()?;
        let now = chassis::clock::now().unix_timestamp();
        let deadline = u64::try_from(now).unwrap_or_default().saturating_add(left);
        Ok(Order {
            run: snapshot.run.id,
            attempt: snapshot.run.attempt,
            vault_run_id: snapshot.pinned()?.0,
            workflow_id: snapshot.run.workflow_id(),
            request: &snapshot.run.request,
            input,
            module: terms.manifest_hash,
            wall_limit_ms: self.policy.wall_limit_ms,
            deadline,
            attesters,
        })
    }

    /// Verifies and keeps the statement. One that does not count charges nothing.
    async fn take(&self, lease: RunLease, snapshot: &Snapshot, statement: &[u8]) -> Result<Next> {
        let terms = snapshot.terms()?;
        let keys = verdict::accepted_keys(&terms.attesters, &self.policy.attestation_keys);
        let execution = match verdict::execution(statement, &keys, &expected(snapshot)?) {
            Ok(execution) => execution,
            Err(failure) => return self.fail(lease, snapshot, failure).await,
        };
        let used = execution.egress.iter().flat_map(|egress| &egress.upstreams);
        let upstreams: Vec<_> = used.map(UpstreamView::from).collect();
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, lease, Phase::Executing).await?;
        store::keep_statement(&mut tx, snapshot.key(), statement, &upstreams).await?;
        self.advance(&mut tx, lease, snapshot, Phase::Sealing, None).await?;
        postgres::commit(tx).await?;
        crash::point("execute.after_persist");
        Ok(Next::Again)
    }

    /// Keeps trying as long as a result could still be settled, then gives the escrow back (V7).
    pub(super) async fn wait_for_gate(
        &self,
        lease: RunLease,
        snapshot: &Snapshot,
        error: Error,
    ) -> Result<Next> {
        let needed = self.policy.margin_secs;
        let deadline = snapshot.terms()?.deadline;
        if self.chain.now().await?.latest_close.saturating_add(needed) < deadline {
            return Ok(later(snapshot, error.to_string()));
        }
        let code = if snapshot.run.phase == Phase::Sealing {
            "SEAL_UNAVAILABLE"
        } else {
            "EXECUTION_UNAVAILABLE"
        };
        let failure = Failure::new(code, format!("gave up before the deadline: {error}"));
        self.start_refund(lease, snapshot, Phase::Voiding, &failure).await
    }
}

enum Executed {
    Statement(Vec<u8>),
    Cancelled,
    NoTime,
}

/// What a statement about the present attempt must say.
pub(super) fn expected(snapshot: &Snapshot) -> Result<Expected<'_>> {
    let request = &snapshot.run.request;
    Ok(Expected {
        run: snapshot.run.id,
        attempt: snapshot.run.attempt,
        vault_run_id: snapshot.pinned()?.0,
        user: request.user,
        workflow_id: snapshot.run.workflow_id(),
        module: snapshot.terms()?.manifest_hash,
        input: request.input_digest,
        seed: request.seed,
        budgets: request.budgets,
    })
}

fn cancelled() -> Failure {
    Failure::new(CANCELLED, "called off before its module started")
}
