//! Events of runs: one for each change of the public status, in the transaction that makes it.

use chassis::outbox::{self, FirstEvent};
use sqlx::PgConnection;
use time::OffsetDateTime;
use wire::RunId;
use wire::event::{self, RunData, RunEvent};

use crate::error::{Error, Result};
use crate::model::run::Snapshot;
use crate::model::settlement::Receipt;
use crate::model::state::Status;
use crate::runs::store;

/// Publishes the present state of the run as its next event.
///
/// # Errors
///
/// When the database does not take it.
pub async fn publish(
    conn: &mut PgConnection,
    prefix: &str,
    id: RunId,
    now: OffsetDateTime,
) -> Result<()> {
    let snapshot = store::load(&mut *conn, id).await?;
    let snapshot = snapshot.ok_or_else(|| Error::Broken(format!("run {id} is gone")))?;
    let (name, data) = (name(snapshot.run.status), data(&snapshot));
    outbox::publish(conn, prefix, name, &data, now, Some(snapshot.run.traceparent.clone())).await?;
    Ok(())
}

/// The event of a run that is about to be stored, its first.
///
/// # Errors
///
/// When it has no JSON form, or is too large for the bus.
pub fn first(prefix: &str, snapshot: &Snapshot, now: OffsetDateTime) -> Result<FirstEvent> {
    let (name, data) = (name(snapshot.run.status), data(snapshot));
    let traceparent = Some(snapshot.run.traceparent.clone());
    Ok(outbox::first(prefix, name, &data, now, traceparent)?)
}

const fn name(status: Status) -> RunEvent {
    match status {
        Status::Pending => RunEvent::Queued,
        Status::Opening => RunEvent::Opening,
        Status::Running => RunEvent::Running,
        Status::Finalizing => RunEvent::Finalizing,
        Status::Finalized => RunEvent::Finalized,
        Status::Failed => RunEvent::Failed,
        Status::Cancelled => RunEvent::Cancelled,
    }
}

fn data(snapshot: &Snapshot) -> RunData {
    let (run, attempt) = (&snapshot.run, &snapshot.attempt);
    let failed = matches!(run.status, Status::Failed | Status::Cancelled | Status::Finalizing);
    let failure = attempt.failure.as_ref().filter(|_| failed);
    RunData {
        run_id: run.id,
        attempt: run.attempt,
        status: run.status.into(),
        user: run.request.user.to_string(),
        agent_id: run.request.agent_id,
        workflow_id: run.request.workflow_id.clone(),
        manifest_hash: attempt.manifest_hash,
        vault_run_id: attempt.vault_run_id,
        error: failure.map(|failure| event::Failure {
            code: failure.code.clone(),
            reason: failure.reason.clone(),
        }),
        receipt: attempt.receipt.as_ref().map(receipt),
        transaction: match run.status {
            Status::Running => snapshot.open_transaction,
            Status::Finalized | Status::Failed | Status::Cancelled => snapshot.closing_transaction,
            Status::Pending | Status::Opening | Status::Finalizing => None,
        },
    }
}

fn receipt(receipt: &Receipt) -> event::Receipt {
    event::Receipt {
        run_id: receipt.run_id,
        actual_charge: receipt.actual_charge,
        runner_fee: receipt.runner_fee,
        refund: receipt.refund,
        developer: receipt.developer.clone(),
        output_hash: Some(receipt.output_hash),
        finalized_at: receipt.finalized_at,
        settled_by: receipt.settled_by.clone(),
    }
}
