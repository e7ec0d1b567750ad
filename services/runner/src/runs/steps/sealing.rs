//! From a signed execution statement to a sealed pack and a frozen settlement.

use wire::PublicKey;
use wire::statement::{Execution, Verdict};

use super::executing::expected;
use super::{Next, RunDriver, refusal};
use crate::crash;
use crate::error::{Error, Result};
use crate::gates::{Gates, Sealed};
use crate::model::run::{RunLease, Snapshot, Statements};
use crate::model::settlement::{Failure, Settlement};
use crate::runs::{drafts, store, verdict};

impl RunDriver {
    /// Has the outputs sealed, or the failure, and freezes what is settled on it.
    pub(super) async fn sealing(&self, lease: RunLease, snapshot: &Snapshot) -> Result<Next> {
        let Some(gates) = &self.gates else {
            let failure =
                Failure::new("EXECUTOR_MISSING", "this runner has no gates configured any more");
            return self.fail(lease, snapshot, failure).await;
        };
        let Statements { shipping, execution: statement } =
            store::statements(&self.db, snapshot.key()).await?;
        let statement = statement
            .ok_or_else(|| Error::Broken("a run is sealed without a statement".to_owned()))?;
        let execution = self.execution(snapshot, &statement)?;
        crash::point("seal.before");
        let statements = (statement.as_slice(), shipping.as_deref().unwrap_or_default());
        let sealed = match seal(snapshot, gates, statements).await {
            Ok(sealed) => sealed,
            Err(error @ Error::Gate { .. }) => {
                return match refusal(&error) {
                    Some(failure) => self.fail(lease, snapshot, failure).await,
                    None => self.wait_for_gate(lease, snapshot, error).await,
                };
            }
            Err(error) => return Err(error),
        };
        crash::point("seal.after_answer");
        let settlement = settlement(&execution, &sealed, &snapshot.terms()?.attesters);
        let next = self.settle(lease, snapshot, Some(&sealed.seal), &settlement).await?;
        crash::point("seal.after_persist");
        Ok(next)
    }

    /// The kept statement, verified again: what is settled rests on it and on nothing that was kept
    /// beside it.
    fn execution(&self, snapshot: &Snapshot, statement: &[u8]) -> Result<Execution> {
        let keys =
            verdict::accepted_keys(&snapshot.terms()?.attesters, &self.policy.attestation_keys);
        let read = verdict::execution(statement, &keys, &expected(snapshot)?);
        read.map_err(|failure| Error::Broken(format!("the kept statement: {}", failure.reason)))
    }
}

async fn seal(snapshot: &Snapshot, gates: &Gates, statements: (&[u8], &[u8])) -> Result<Sealed> {
    let drafts = drafts::drafts(snapshot, statements.0);
    let drafts = drafts.map_err(|error| Error::Broken(error.to_string()))?;
    gates.seal(snapshot.key(), snapshot.run.workflow_id(), statements, drafts).await
}

/// What is settled: the metered usage if the statement passed and so did the check of what was
/// sealed, or if a budget was used up; else nothing (R10).
fn settlement(execution: &Execution, sealed: &Sealed, attesters: &[PublicKey]) -> Settlement {
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
    // A pass whose outputs fail the check is ours to answer for, so it costs nothing.
    let unpaid = failure.is_some() && execution.verdict == Verdict::Pass;
    let usage = if unpaid { wire::Usage::default() } else { execution.usage };
    let attestation = verdict::attestation(execution, usage, attesters);
    // The vault takes nothing that is not signed, so nothing else is asked of it.
    let usage = if attestation.is_some() { usage } else { wire::Usage::default() };
    Settlement { usage, output_hash, failure, attestation }
}
