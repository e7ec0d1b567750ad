//! What the accounting reads from Postgres.

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};
use wire::{Digest, RunId};

use crate::model::settlement::Receipt;
use crate::model::terms::Terms;
use crate::rows;

/// An attempt of a run.
#[derive(Debug)]
pub struct AttemptRow {
    pub(super) run: RunId,
    pub(super) number: u32,
    pub(super) user: String,
    /// Whether it is the run's present one, and the run has ended.
    pub(super) run_done: bool,
    pub(super) ended: bool,
    pub(super) escrow: String,
    pub(super) vault_run_id: Option<Digest>,
    pub(super) terms: Option<Terms>,
    pub(super) receipt: Option<Receipt>,
    /// Digest of the execution statement.
    pub(super) statement: Option<Digest>,
    /// The ledger in which it was opened.
    pub(super) opened_ledger: Option<i64>,
    /// Whether an event that was followed settled it.
    pub(super) has_settling_event: bool,
}

/// A transaction that was signed for an attempt, alone or with others.
#[derive(Debug)]
pub struct TransactionRow {
    pub(super) run: RunId,
    pub(super) attempt: u32,
    pub(super) kind: String,
    pub(super) hash: Digest,
    pub(super) state: String,
    pub(super) ledger: Option<i64>,
    /// Whether it did what the attempt wanted: of a batch this is said call by call.
    pub(super) did: bool,
    /// Whether an event of the vault about the attempt's escrow names it.
    pub(super) has_event: bool,
}

impl AttemptRow {
    /// Whether a receipt is explained without a transaction of this database's own: by the vault's
    /// event, or because another runner settled in the opener's place (V14).
    pub(super) fn was_settled_elsewhere(&self) -> bool {
        let opener = self.terms.as_ref().map(|terms| &terms.opened_by);
        let settler = self.receipt.as_ref().and_then(|receipt| receipt.settled_by.as_ref());
        self.has_settling_event || (settler.is_some() && settler != opener)
    }

    /// Whether nothing is done about it any more.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended || self.run_done
    }
}

impl TransactionRow {
    /// Whether it landed and did what it says, for some of its calls at least.
    pub(super) fn succeeded(&self) -> bool {
        self.state == "succeeded"
    }

    /// Whether it may still land.
    pub(super) fn is_open(&self) -> bool {
        ["prepared", "sent", "unknown"].contains(&self.state.as_str())
    }
}

/// Every attempt, oldest run first, and every transaction, in the order of signing: as they were at
/// one moment, so that they can be compared with each other while runs go on.
///
/// # Errors
///
/// The database's own.
pub async fn read(db: &PgPool) -> sqlx::Result<(Vec<AttemptRow>, Vec<TransactionRow>)> {
    let mut tx = chassis::postgres::begin_snapshot(db).await?;
    // A million runs take longer to read than a statement of the service may.
    sqlx::raw_sql("SET LOCAL statement_timeout = 0").execute(&mut *tx).await?;

    let text = "SELECT a.run_id, a.number, r.user_account, r.phase, r.attempt, a.ended_at, \
                a.escrow, \
            a.vault_run_id, a.terms, a.receipt, sha256(a.statement) AS statement, \
            (SELECT max(t.ledger) FROM calls c JOIN transaction_calls m ON m.call_id = c.id \
                JOIN chain_transactions t ON t.id = m.transaction_id \
                WHERE c.run_id = a.run_id AND c.attempt = a.number AND c.kind = 'open' \
                    AND m.code = 0) AS opened, \
            EXISTS (SELECT 1 FROM contract_events e WHERE e.run_id = a.vault_run_id \
                AND e.name = 'run_finalized') AS has_settling_event \
         FROM attempts a JOIN runs r ON r.id = a.run_id ORDER BY r.created_at, a.number";
    let attempts = sqlx::query(text).try_map(|row| attempt(&row)).fetch_all(&mut *tx).await?;

    let text = "SELECT c.run_id, c.attempt, t.kind, t.hash, t.state, t.ledger, \
            coalesce(m.code = 0, false) AS did, EXISTS (SELECT 1 FROM attempts a \
                JOIN contract_events e ON e.run_id = a.vault_run_id WHERE a.run_id = c.run_id \
                AND a.number = c.attempt AND e.tx_hash = t.hash) AS has_event \
         FROM chain_transactions t JOIN transaction_calls m ON m.transaction_id = t.id \
            JOIN calls c ON c.id = m.call_id ORDER BY t.id, m.position";
    let transactions = sqlx::query(text).try_map(|row| transaction(&row)).fetch_all(&mut *tx);
    let transactions = transactions.await?;

    tx.commit().await?;
    Ok((attempts, transactions))
}

fn attempt(row: &PgRow) -> sqlx::Result<AttemptRow> {
    let number: i32 = row.try_get("number")?;
    let present = number == row.try_get::<i32, _>("attempt")?;
    let ended: Option<time::OffsetDateTime> = row.try_get("ended_at")?;
    Ok(AttemptRow {
        run: RunId::from(row.try_get::<uuid::Uuid, _>("run_id")?),
        number: rows::number(i64::from(number), "number")?,
        user: row.try_get("user_account")?,
        run_done: present && row.try_get::<&str, _>("phase")? == "done",
        ended: ended.is_some(),
        escrow: row.try_get("escrow")?,
        vault_run_id: rows::digest(row, "vault_run_id")?,
        terms: rows::json(row, "terms")?,
        receipt: rows::json(row, "receipt")?,
        statement: rows::digest(row, "statement")?,
        opened_ledger: row.try_get("opened")?,
        has_settling_event: row.try_get("has_settling_event")?,
    })
}

fn transaction(row: &PgRow) -> sqlx::Result<TransactionRow> {
    Ok(TransactionRow {
        run: RunId::from(row.try_get::<uuid::Uuid, _>("run_id")?),
        attempt: rows::number(i64::from(row.try_get::<i32, _>("attempt")?), "attempt")?,
        kind: row.try_get("kind")?,
        hash: rows::required_digest(row, "hash")?,
        state: row.try_get("state")?,
        ledger: row.try_get("ledger")?,
        did: row.try_get("did")?,
        has_event: row.try_get("has_event")?,
    })
}
