//! Every attempt of a run, from the first to the present one.

use chassis::postgres::in_time;
use sqlx::PgPool;
use time::OffsetDateTime;
use wire::{Problem, RunId, RunView, TxHash};

use crate::error::{Error, Result};
use crate::model::run::{Attempt, Snapshot};
use crate::rows::{SnapshotRow, snapshot_query};
use crate::view;

/// One attempt, with the transactions that opened and closed it.
#[derive(Debug, Clone)]
pub struct PastAttempt {
    /// The attempt.
    pub attempt: Attempt,
    /// Hash of the transaction that opened it.
    pub open_transaction: Option<TxHash>,
    /// Hash of the transaction that settled, voided or reclaimed it.
    pub closing_transaction: Option<TxHash>,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
}

/// All attempts of a run, in their order.
///
/// # Errors
///
/// When the database does not answer.
pub async fn all(db: &PgPool, run: RunId) -> Result<Vec<PastAttempt>> {
    let found = snapshot_query!("WHERE r.id = $1 ORDER BY a.number", run.as_uuid());
    let found = found.fetch_all(in_time(db)).await?;
    Ok(found.into_iter().map(past).collect::<sqlx::Result<_>>()?)
}

fn past(row: SnapshotRow) -> sqlx::Result<PastAttempt> {
    let (created_at, ended_at) = (row.attempt_created_at, row.ended_at);
    let Snapshot { attempt, open_transaction, closing_transaction, .. } = row.read()?;
    Ok(PastAttempt { attempt, open_transaction, closing_transaction, created_at, ended_at })
}

/// The run with all its attempts.
///
/// # Errors
///
/// As [`all`].
pub async fn view(db: &PgPool, snapshot: &Snapshot) -> Result<RunView> {
    let past = all(db, snapshot.run.id).await?;
    let attempts = past.iter().map(|past| view::attempt_view(&snapshot.run, past)).collect();
    Ok(RunView { attempts, ..RunView::from(snapshot) })
}

/// The run as it was in attempt `number`; the present one if none is named.
///
/// # Errors
///
/// [`Problem::NotFound`] when the run has no such attempt; as [`all`].
pub async fn at(db: &PgPool, snapshot: Snapshot, number: Option<u32>) -> Result<Snapshot> {
    let Some(number) = number.filter(|number| *number != snapshot.run.attempt) else {
        return Ok(snapshot);
    };
    let found = all(db, snapshot.run.id).await?;
    let found = found.into_iter().find(|past| past.attempt.number == number).ok_or_else(|| {
        let text = format!("run {} has no attempt {number}", snapshot.run.id);
        Error::refused(Problem::NotFound, text)
    })?;
    let mut run = snapshot.run;
    run.attempt = number;
    let PastAttempt { attempt, open_transaction, closing_transaction, .. } = found;
    Ok(Snapshot { run, attempt, open_transaction, closing_transaction })
}
