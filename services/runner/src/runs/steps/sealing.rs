//! From a signed execution statement to a sealed pack and a frozen settlement.

use wire::statement::{Execution, Verdict};

use super::executing::expected;
use super::{Engine, Next, refusal};
use crate::crash;
use crate::error::{Error, Result};
use crate::gates::{Gates, Sealed};
use crate::runs::run::{RunLease, Snapshot, Statements};
use crate::runs::settlement::{Failure, Settlement};
use crate::runs::{facts, store, verdict};

impl Engine {
    /// Has the outputs sealed, or the failure, and freezes what is settled on it.
    pub(super) async fn sealing(&self, held: RunLease, it: &Snapshot) -> Result<Next> {
        let Some(gates) = &self.gates else {
            let failure =
                Failure::new("EXECUTOR_MISSING", "this runner has no gates configured any more");
            return self.fail(held, it, failure).await;
        };
        let Statements { shipping, execution: statement } =
            store::statements(&self.db, it.key()).await?;
        let statement = statement
            .ok_or_else(|| Error::Broken("a run is sealed without a statement".to_owned()))?;
        let execution = self.execution(it, &statement)?;
        crash::point("seal.before");
        let statements = (statement.as_slice(), shipping.as_deref().unwrap_or_default());
        let sealed = match seal(it, gates, statements).await {
            Ok(sealed) => sealed,
            Err(error @ Error::Gate { .. }) => {
                return match refusal(&error) {
                    Some(failure) => self.fail(held, it, failure).await,
                    None => self.wait_for_gate(held, it, error).await,
                };
            }
            Err(error) => return Err(error),
        };
        crash::point("seal.after_answer");
        let settlement = settlement(&execution, &sealed);
        let next = self.settle(held, it, Some(&sealed.seal), &settlement).await?;
        crash::point("seal.after_persist");
        Ok(next)
    }

    /// The kept statement, verified again: what is settled rests on it and on nothing that was kept
    /// beside it.
    fn execution(&self, it: &Snapshot, statement: &[u8]) -> Result<Execution> {
        let keys = verdict::accepted_keys(&it.terms()?.attesters, &self.rules.attestation_keys);
        let read = verdict::execution(statement, &keys, &expected(it)?);
        read.map_err(|failure| Error::Broken(format!("the kept statement: {}", failure.reason)))
    }
}

async fn seal(it: &Snapshot, gates: &Gates, statements: (&[u8], &[u8])) -> Result<Sealed> {
    let drafts = facts::drafts(it, statements.0);
    let drafts = drafts.map_err(|error| Error::Broken(error.to_string()))?;
    gates.seal(it.key(), it.run.workflow_id(), statements, drafts).await
}

/// What is settled: the metered usage if the statement passed and so did the check of what was
/// sealed, or if a budget was used up; else nothing (R10).
fn settlement(execution: &Execution, sealed: &Sealed) -> Settlement {
    let output_hash = sealed.seal.seal_digest;
    let failure = match verdict::failure(execution) {
        None if !sealed.passed => {
            let reasons = sealed.reasons.join(", ");
            Some(Failure::new(
                "CHECK_FAILED",
                format!("the sealed facts do not pass the check: {reasons}"),
            ))
        }
        failure => failure,
    };
    let unpaid = failure.is_some() && execution.verdict == Verdict::Pass;
    let usage = if unpaid { wire::Usage::default() } else { execution.usage };
    Settlement { usage, output_hash, failure }
}
