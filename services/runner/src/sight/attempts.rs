//! Attempts that have an id in the vault, as they are compared with it.

use chassis::postgres::in_time;
use sqlx::PgPool;
use wire::{Digest, RunId, VaultRunId};

use crate::error::{Error, Result};
use crate::sight::proof::Asked;

/// An attempt as Postgres has it.
#[derive(Debug)]
pub struct Row {
    /// What is asked of the vault.
    pub asked: Asked,
    /// Who pays.
    pub user: String,
    /// The phase of its run.
    pub phase: String,
    /// Whether it is its run's present attempt.
    pub is_present: bool,
    /// Whether it has ended here.
    pub has_ended: bool,
    /// Where its money is, as it is believed here.
    pub escrow: String,
    /// What its receipt commits to.
    pub output_hash: Option<Digest>,
    /// What its receipt says was charged.
    pub charge: Option<i128>,
    /// Why its run waits for an operator.
    pub operator_reason: Option<String>,
}

/// The attempt of a run as it is asked about; `None` if the run is not here, or has no id in the
/// vault yet.
///
/// # Errors
///
/// When the database does not answer.
pub async fn asked(db: &PgPool, run: RunId) -> Result<Option<Asked>> {
    let rows = rows(db, Some(run)).await?;
    Ok(rows.into_iter().find(|row| row.is_present).map(|row| row.asked))
}

/// Attempts with an id in the vault, oldest first; of one run, if one is named.
///
/// # Errors
///
/// When the database does not answer.
pub async fn rows(db: &PgPool, run: Option<RunId>) -> Result<Vec<Row>> {
    let found = sqlx::query!(
        r#"SELECT a.run_id, a.number, a.vault_run_id AS "vault_run_id!", a.deadline,
            a.terms->>'deadline' AS pinned, r.user_account, r.phase, r.attempt, a.ended_at,
            a.escrow, a.receipt->>'outputHash' AS output_hash,
            a.receipt->>'actualCharge' AS charge, r.operator_reason,
            (SELECT min(t.signed_ledger) FROM calls c
                JOIN transaction_calls m ON m.call_id = c.id
                JOIN chain_transactions t ON t.id = m.transaction_id
                WHERE c.run_id = a.run_id AND c.attempt = a.number) AS first_ledger,
            (SELECT max(t.max_time) FROM calls c
                JOIN transaction_calls m ON m.call_id = c.id
                JOIN chain_transactions t ON t.id = m.transaction_id
                WHERE c.run_id = a.run_id AND c.attempt = a.number) AS last_max_time
           FROM attempts a JOIN runs r ON r.id = a.run_id
           WHERE a.vault_run_id IS NOT NULL AND ($1::uuid IS NULL OR a.run_id = $1)
           ORDER BY r.created_at, a.number"#,
        run.map(|run| *run.as_uuid()),
    );
    let mut rows = Vec::new();
    for row in found.fetch_all(in_time(db)).await? {
        let is_present = row.number == row.attempt;
        let wrong = |error: String| Error::Broken(format!("attempt of {}: {error}", row.run_id));
        let deadline = row.deadline.unwrap_or_default();
        let asked = Asked {
            run: RunId::from(row.run_id),
            attempt: u32::try_from(row.number).unwrap_or_default(),
            vault_run_id: VaultRunId::try_from(row.vault_run_id.as_slice())
                .map_err(|error| wrong(error.to_string()))?,
            deadline: match row.pinned {
                Some(pinned) => pinned.parse().map_err(|_| wrong(format!("deadline {pinned}")))?,
                None => u64::try_from(deadline).unwrap_or_default(),
            },
            first_ledger: row.first_ledger.map(|ledger| u32::try_from(ledger).unwrap_or(u32::MAX)),
            last_max_time: u64::try_from(row.last_max_time.unwrap_or_default()).unwrap_or_default(),
        };
        rows.push(Row {
            asked,
            user: row.user_account,
            has_ended: row.ended_at.is_some() || (is_present && row.phase == "done"),
            phase: row.phase,
            is_present,
            escrow: row.escrow,
            output_hash: row.output_hash.and_then(|hash| hash.parse().ok()),
            charge: row.charge.and_then(|charge| charge.parse().ok()),
            operator_reason: row.operator_reason.filter(|_| is_present),
        });
    }
    Ok(rows)
}
