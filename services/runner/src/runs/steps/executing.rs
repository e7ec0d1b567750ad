//! From an open escrow to a signed execution statement.

use std::time::Duration;

use super::{CANCELLED, Engine, Next, later, refusal};
use crate::crash;
use crate::error::{Error, Result};
use crate::gates::{Execution, Gates, Order};
use crate::runs::run::{RunLease, Snapshot};
use crate::runs::settlement::Failure;
use crate::runs::state::Phase;
use crate::runs::store;
use crate::runs::verdict::{self, Expected};

impl Engine {
    /// Asks module-gate what it knows of the attempt, and only then for the execution (R11).
    pub(super) async fn executing(&self, held: RunLease, it: &Snapshot) -> Result<Next> {
        if it.run.cancel_requested && it.attempt.execute_started_at.is_none() {
            return self.start_refund(held, it, Phase::Voiding, &cancelled()).await;
        }
        let Some(gates) = &self.gates else {
            let failure =
                Failure::new("EXECUTOR_MISSING", "this runner has no executor configured");
            return self.fail(held, it, failure).await;
        };
        match self.executed(held, it, gates).await {
            Ok(Executed::Statement(statement)) => self.take(held, it, &statement).await,
            Ok(Executed::Cancelled) => {
                self.start_refund(held, it, Phase::Voiding, &cancelled()).await
            }
            Ok(Executed::NoTime) => {
                let why = it.run.waiting_for.as_deref().unwrap_or("the run waited too long");
                let failure =
                    Failure::new("EXECUTION_UNAVAILABLE", format!("not executed in time: {why}"));
                self.start_refund(held, it, Phase::Voiding, &failure).await
            }
            Err(error @ Error::Gate { .. }) => match refusal(&error) {
                Some(failure) => self.fail(held, it, failure).await,
                None => self.wait_for_gate(held, it, error).await,
            },
            Err(error) => Err(error),
        }
    }

    async fn executed(&self, held: RunLease, it: &Snapshot, gates: &Gates) -> Result<Executed> {
        let (run, attempt) = it.key();
        let known = gates.execution(run, attempt).await?;
        if let Execution::Finished(statement) = known {
            return Ok(Executed::Statement(statement));
        }
        let deadline = it.terms()?.deadline;
        let wall = if known == Execution::Running { 0 } else { self.wall_secs() };
        let needed = self.rules.margin_secs.saturating_add(wall);
        let now = self.ledger.now().await?.latest_close;
        if now.saturating_add(needed) > deadline {
            return Ok(Executed::NoTime);
        }
        if !self.start_execution(held, it).await? {
            return Ok(Executed::Cancelled);
        }
        crash::point("execute.before");
        let input = store::input(&self.db, it.run.id).await?;
        let order = self.order(it, &input, deadline.saturating_sub(now))?;
        let patience = Duration::from_millis(self.rules.wall_limit_ms) + Duration::from_secs(60);
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

    async fn start_execution(&self, held: RunLease, it: &Snapshot) -> Result<bool> {
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, held, Phase::Executing).await?;
        let started = store::start_execution(&mut tx, it.key(), chassis::clock::now()).await?;
        tx.commit().await?;
        Ok(started)
    }

    /// `left` are the seconds of ledger time until the deadline. module-gate judges by the clock of its
    /// host, which may differ from the ledger's by hours on a network whose time was moved; so it
    /// is told how much time is left, on that clock.
    fn order<'a>(&self, it: &'a Snapshot, input: &'a [u8], left: u64) -> Result<Order<'a>> {
        let terms = it.terms()?;
        let now = chassis::clock::now().unix_timestamp();
        let deadline = u64::try_from(now).unwrap_or_default().saturating_add(left);
        Ok(Order {
            run: it.run.id,
            attempt: it.run.attempt,
            workflow_id: it.run.workflow_id(),
            request: &it.run.request,
            input,
            module: terms.manifest_hash,
            wall_limit_ms: self.rules.wall_limit_ms,
            deadline,
        })
    }

    /// Verifies and keeps the statement. One that does not count charges nothing.
    async fn take(&self, held: RunLease, it: &Snapshot, statement: &[u8]) -> Result<Next> {
        let terms = it.terms()?;
        let keys = verdict::accepted_keys(&terms.attesters, &self.rules.attestation_keys);
        if let Err(failure) = verdict::execution(statement, &keys, &expected(it)?) {
            return self.fail(held, it, failure).await;
        }
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence(&mut tx, held, Phase::Executing).await?;
        store::keep_statement(&mut tx, it.key(), statement).await?;
        self.advance(&mut tx, held, it, Phase::Sealing, None).await?;
        tx.commit().await?;
        crash::point("execute.after_persist");
        Ok(Next::Again)
    }

    /// Keeps trying as long as a result could still be settled, then gives the escrow back (V7).
    pub(super) async fn wait_for_gate(
        &self,
        held: RunLease,
        it: &Snapshot,
        error: Error,
    ) -> Result<Next> {
        let needed = self.rules.margin_secs;
        let deadline = it.terms()?.deadline;
        if self.ledger.now().await?.latest_close.saturating_add(needed) < deadline {
            return Ok(later(it, error.to_string()));
        }
        let code = if it.run.phase == Phase::Sealing {
            "SEAL_UNAVAILABLE"
        } else {
            "EXECUTION_UNAVAILABLE"
        };
        let failure = Failure::new(code, format!("gave up before the deadline: {error}"));
        self.start_refund(held, it, Phase::Voiding, &failure).await
    }

    const fn wall_secs(&self) -> u64 {
        self.rules.wall_limit_ms.div_ceil(1_000)
    }
}

enum Executed {
    Statement(Vec<u8>),
    Cancelled,
    NoTime,
}

/// What a statement about the present attempt must say.
pub(super) fn expected(it: &Snapshot) -> Result<Expected<'_>> {
    let request = &it.run.request;
    Ok(Expected {
        run: it.run.id,
        attempt: it.run.attempt,
        user: &request.user,
        workflow_id: it.run.workflow_id(),
        module: it.terms()?.manifest_hash,
        input: request.input_digest,
        seed: request.seed,
        budgets: request.budgets,
    })
}

fn cancelled() -> Failure {
    Failure::new(CANCELLED, "called off before its module started")
}
