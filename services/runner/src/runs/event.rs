//! What is told of a run: one event per change of its public status, in the transaction that makes it.

use chassis::outbox;
use sqlx::PgConnection;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wire::RunId;
use wire::event::{self, RunData, RunEvent, RunStatus};

use crate::error::{Error, Result};
use crate::runs::run::Snapshot;
use crate::runs::settlement::Receipt;
use crate::runs::state::Status;
use crate::runs::store;

/// Tells where the run stands now, as its next event.
///
/// # Errors
///
/// When the database does not take it.
pub async fn tell(
    conn: &mut PgConnection,
    prefix: &str,
    id: RunId,
    now: OffsetDateTime,
) -> Result<()> {
    let it = store::load(&mut *conn, id).await?;
    let it = it.ok_or_else(|| Error::Broken(format!("run {id} is gone")))?;
    let (name, data) = (name(it.run.status), data(&it));
    outbox::publish(conn, prefix, name, &data, now, Some(it.run.traceparent.clone())).await?;
    Ok(())
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

const fn status(status: Status) -> RunStatus {
    match status {
        Status::Pending => RunStatus::Pending,
        Status::Opening => RunStatus::Opening,
        Status::Running => RunStatus::Running,
        Status::Finalizing => RunStatus::Finalizing,
        Status::Finalized => RunStatus::Finalized,
        Status::Failed => RunStatus::Failed,
        Status::Cancelled => RunStatus::Cancelled,
    }
}

fn data(it: &Snapshot) -> RunData {
    let (run, attempt) = (&it.run, &it.attempt);
    let failed = matches!(run.status, Status::Failed | Status::Cancelled | Status::Finalizing);
    let failure = attempt.failure.as_ref().filter(|_| failed);
    RunData {
        run_id: run.id,
        attempt: run.attempt,
        status: status(run.status),
        user: run.request.user.clone(),
        agent_id: run.request.agent_id,
        workflow_id: run.request.workflow_id.clone(),
        manifest_hash: attempt.manifest_hash,
        vault_run_id: attempt.vault_run_id,
        error: failure
            .map(|it| event::Failure { code: it.code.clone(), reason: it.reason.clone() }),
        receipt: attempt.receipt.as_ref().map(receipt),
        transaction: match run.status {
            Status::Running => it.open_transaction,
            Status::Finalized | Status::Failed | Status::Cancelled => it.closing_transaction,
            Status::Pending | Status::Opening | Status::Finalizing => None,
        },
    }
}

fn receipt(it: &Receipt) -> event::Receipt {
    event::Receipt {
        run_id: it.run_id,
        actual_charge: it.actual_charge,
        refund: it.refund,
        developer: it.developer.clone(),
        output_hash: Some(it.output_hash),
        finalized_at: OffsetDateTime::parse(&it.finalized_at, &Rfc3339).ok(),
    }
}
