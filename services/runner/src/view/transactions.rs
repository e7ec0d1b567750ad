//! The transactions of a run, in the order of signing.

use chassis::postgres::in_time;
use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;
use wire::view::{AttemptView, milliseconds};
use wire::{RunId, TxHash};

use crate::error::{Error, Result};
use crate::model::run::Snapshot;
use crate::rows;
use crate::view;
use crate::view::attempts;

/// A transaction of a run. It may have carried calls of other runs as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionView {
    /// Its hash.
    pub hash: TxHash,
    /// What it is for: `open`, `finalize`, `void` or `reclaim`.
    pub purpose: String,
    /// How far it is: `prepared`, `sent` or `unknown` while it may still land; then `succeeded`,
    /// `failed`, `rejected`, `expired` (it never landed and never will), or `forgotten` (it cannot
    /// land any more, and the node has forgotten whether it did: the vault's record decides).
    pub state: String,
    /// The ledger it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<u32>,
    /// When that ledger closed.
    #[serde(skip_serializing_if = "Option::is_none", with = "milliseconds::option")]
    pub closed_at: Option<OffsetDateTime>,
    /// Stroops that all of it was charged, as a decimal string. The runner pays them, not the
    /// user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fee_charged: Option<String>,
    /// How often it was sent.
    pub sends: u32,
    /// The last thing that a node said about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_answer: Option<String>,
    /// When it was signed.
    #[serde(with = "milliseconds")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "milliseconds")]
    pub updated_at: OffsetDateTime,
}

/// An attempt with all of its transactions: what `GET /runs/:id/attempts` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptWithTransactions {
    /// The attempt.
    #[serde(flatten)]
    pub attempt: AttemptView,
    /// Every transaction that was signed for it, oldest first.
    pub transactions: Vec<TransactionView>,
}

/// The run's attempts, each with its transactions.
///
/// # Errors
///
/// When the database does not answer.
pub async fn of_attempts(db: &PgPool, snapshot: &Snapshot) -> Result<Vec<AttemptWithTransactions>> {
    let past = attempts::all(db, snapshot.run.id).await?;
    let mut transactions = transactions(db, snapshot.run.id).await?;
    let with = |attempt: AttemptView| {
        let own = transactions.extract_if(.., |(number, _)| *number == attempt.attempt);
        let transactions = own.map(|(_, transaction)| transaction).collect();
        AttemptWithTransactions { attempt, transactions }
    };
    Ok(past.iter().map(|past| view::attempt_view(&snapshot.run, past)).map(with).collect())
}

/// Every transaction of the run with the number of its attempt, oldest first.
///
/// # Errors
///
/// When the database does not answer.
pub async fn transactions(db: &PgPool, run: RunId) -> Result<Vec<(u32, TransactionView)>> {
    let found = sqlx::query!(
        r#"SELECT t.hash, c.attempt, t.kind, t.ledger, t.closed_at, t.fee_charged, t.sends,
            t.last_answer, t.created_at, t.updated_at,
            CASE WHEN m.code <> 0 THEN 'failed' ELSE t.state END AS "state!"
         FROM calls c JOIN transaction_calls m ON m.call_id = c.id
            JOIN chain_transactions t ON t.id = m.transaction_id
         WHERE c.run_id = $1 ORDER BY t.id"#,
        run.as_uuid(),
    );
    let found = found.fetch_all(in_time(db)).await?;
    let mut read = Vec::with_capacity(found.len());
    for row in found {
        let hash = TxHash::try_from(row.hash.as_slice())
            .map_err(|error| Error::Broken(format!("hash of a transaction: {error}")))?;
        let ledger = row.ledger.map(|ledger| rows::number(ledger, "ledger")).transpose()?;
        let view = TransactionView {
            hash,
            purpose: row.kind,
            state: row.state,
            ledger,
            closed_at: row.closed_at.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()),
            fee_charged: row.fee_charged.map(|fee| fee.to_string()),
            sends: rows::number(i64::from(row.sends), "sends")?,
            last_answer: row.last_answer,
            created_at: row.created_at,
            updated_at: row.updated_at,
        };
        read.push((rows::number(i64::from(row.attempt), "attempt")?, view));
    }
    Ok(read)
}
