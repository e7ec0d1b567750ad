//! What the accounting reads from Postgres.

use std::collections::BTreeSet;

use chassis::postgres::{self, in_time};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;
use wire::{Digest, RunId, TxHash, VaultRunId};

use crate::model::settlement::Receipt;
use crate::model::terms::Terms;
use crate::rows;

/// An attempt of a run.
#[derive(Debug)]
pub struct AttemptRow {
    pub(super) run: RunId,
    pub(super) number: u32,
    pub(super) user: String,
    /// Whether it is the run's present one, and the run had ended when the comparison began.
    pub(super) run_done: bool,
    pub(super) ended: bool,
    pub(super) escrow: String,
    pub(super) vault_run_id: Option<VaultRunId>,
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
    pub(super) hash: TxHash,
    pub(super) state: String,
    pub(super) ledger: Option<i64>,
    /// Whether it did what the attempt wanted: of a batch this is said call by call.
    pub(super) did: bool,
}

impl AttemptRow {
    /// Whether a receipt is explained without a transaction of this database's own: by the vault's
    /// event, or because another runner settled in the opener's place (V14).
    pub(super) fn was_settled_elsewhere(&self) -> bool {
        let opener = self.terms.as_ref().map(|terms| terms.opened_by.to_string());
        let settler = self.receipt.as_ref().and_then(|receipt| receipt.settled_by.clone());
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

    /// Whether it gives an escrow up.
    pub(super) fn closes(&self) -> bool {
        ["finalize", "void", "reclaim"].contains(&self.kind.as_str())
    }

    /// Whether it may still land.
    pub(super) fn is_open(&self) -> bool {
        ["prepared", "sent", "unknown"].contains(&self.state.as_str())
    }
}

/// The place of a run among all runs, by their age.
pub type Age = (OffsetDateTime, Uuid);

/// The attempts of some runs and their transactions, as they were at one moment: so they can be
/// compared with each other while runs go on.
#[derive(Debug)]
pub struct Page {
    /// Oldest run first.
    pub(super) attempts: Vec<AttemptRow>,
    /// In the order of signing.
    pub(super) transactions: Vec<TransactionRow>,
    /// The newest of the runs; `None` if there are none.
    pub(super) last: Option<Age>,
}

/// The time of the database.
///
/// # Errors
///
/// The database's own.
pub async fn now(db: &PgPool) -> sqlx::Result<OffsetDateTime> {
    sqlx::query_scalar!(r#"SELECT now() AS "now!""#).fetch_one(in_time(db)).await
}

/// Of these ids of runs on chain, those that Postgres knows.
///
/// # Errors
///
/// The database's own.
pub async fn known(db: &PgPool, ids: &[VaultRunId]) -> sqlx::Result<BTreeSet<VaultRunId>> {
    let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.as_bytes().to_vec()).collect();
    let found = sqlx::query_scalar!(
        r#"SELECT vault_run_id AS "vault_run_id!" FROM attempts WHERE vault_run_id = ANY($1)"#,
        &ids,
    );
    let found = found.fetch_all(in_time(db)).await?;
    found.iter().map(|id| rows::bytes32(id, "vault_run_id")).collect()
}

/// The oldest runs that are newer than `after`. What ended after `began` counts as going on.
///
/// # Errors
///
/// The database's own.
pub async fn after(
    db: &PgPool,
    began: OffsetDateTime,
    after: Option<Age>,
    runs: i64,
) -> sqlx::Result<Page> {
    let mut tx = chassis::postgres::begin_snapshot(db).await?;
    let (at, id) = after.unwrap_or((OffsetDateTime::UNIX_EPOCH, Uuid::nil()));
    let chosen = sqlx::query!(
        "SELECT created_at, id FROM runs WHERE (created_at, id) > ($1, $2)
         ORDER BY created_at, id LIMIT $3",
        at,
        id,
        runs,
    )
    .map(|row| (row.created_at, row.id));
    let chosen = chosen.fetch_all(in_time(&mut *tx)).await?;
    let page = page(&mut tx, began, &chosen).await?;
    postgres::commit(tx).await?;
    Ok(page)
}

/// These runs, as they are now. What ended after `began` counts as going on.
///
/// # Errors
///
/// The database's own.
pub async fn of(
    db: &PgPool,
    began: OffsetDateTime,
    runs: impl IntoIterator<Item = RunId>,
) -> sqlx::Result<Page> {
    // Their age is for those who read on from the last one.
    let chosen: Vec<Age> =
        runs.into_iter().map(|run| (OffsetDateTime::UNIX_EPOCH, *run.as_uuid())).collect();
    let mut tx = chassis::postgres::begin_snapshot(db).await?;
    let page = page(&mut tx, began, &chosen).await?;
    postgres::commit(tx).await?;
    Ok(page)
}

/// Unfinished runs, and the newest of all, at most so many of each.
///
/// # Errors
///
/// The database's own.
pub async fn newest(db: &PgPool, began: OffsetDateTime, runs: i64) -> sqlx::Result<Page> {
    let mut tx = chassis::postgres::begin_snapshot(db).await?;
    let chosen = sqlx::query!(
        r#"SELECT created_at AS "created_at!", id AS "id!" FROM (
            (SELECT created_at, id FROM runs WHERE phase <> 'done'
                ORDER BY created_at DESC, id DESC LIMIT $1)
            UNION (SELECT created_at, id FROM runs
                ORDER BY created_at DESC, id DESC LIMIT $1)) AS chosen ORDER BY 1, 2"#,
        runs,
    )
    .map(|row| (row.created_at, row.id));
    let chosen = chosen.fetch_all(in_time(&mut *tx)).await?;
    let page = page(&mut tx, began, &chosen).await?;
    postgres::commit(tx).await?;
    Ok(page)
}

async fn page(
    conn: &mut PgConnection,
    began: OffsetDateTime,
    chosen: &[Age],
) -> sqlx::Result<Page> {
    let ids: Vec<Uuid> = chosen.iter().map(|(_, id)| *id).collect();
    let attempts = sqlx::query!(
        r#"SELECT a.run_id, a.number, r.user_account, a.escrow,
            a.vault_run_id, a.terms, a.receipt, sha256(a.statement) AS statement,
            r.phase = 'done' AND r.attempt = a.number AND r.updated_at <= $2 AS "run_done!",
            coalesce(a.ended_at <= $2, false) AS "ended!",
            (SELECT max(t.ledger) FROM calls c JOIN transaction_calls m ON m.call_id = c.id
                JOIN chain_transactions t ON t.id = m.transaction_id
                WHERE c.run_id = a.run_id AND c.attempt = a.number AND c.kind = 'open'
                    AND m.code = 0) AS opened_ledger,
            EXISTS (SELECT 1 FROM contract_events e WHERE e.run_id = a.vault_run_id
                AND e.name = 'run_finalized') AS "has_settling_event!"
         FROM attempts a JOIN runs r ON r.id = a.run_id WHERE a.run_id = ANY($1)
         ORDER BY r.created_at, r.id, a.number"#,
        &ids,
        began,
    )
    .try_map(|row| {
        Ok(AttemptRow {
            run: RunId::from(row.run_id),
            number: rows::number(i64::from(row.number), "number")?,
            user: row.user_account,
            run_done: row.run_done,
            ended: row.ended,
            escrow: row.escrow,
            vault_run_id: rows::optional_bytes32(row.vault_run_id.as_deref(), "vault_run_id")?,
            terms: rows::optional_json(row.terms, "terms")?,
            receipt: rows::optional_json(row.receipt, "receipt")?,
            statement: rows::optional_bytes32(row.statement.as_deref(), "statement")?,
            opened_ledger: row.opened_ledger,
            has_settling_event: row.has_settling_event,
        })
    });
    let attempts = attempts.fetch_all(in_time(&mut *conn)).await?;

    let transactions = sqlx::query!(
        r#"SELECT c.run_id, c.attempt, t.kind, t.hash, t.state, t.ledger,
            coalesce(m.code = 0, false) AS "did!"
         FROM chain_transactions t JOIN transaction_calls m ON m.transaction_id = t.id
            JOIN calls c ON c.id = m.call_id WHERE c.run_id = ANY($1) ORDER BY t.id, m.position"#,
        &ids,
    )
    .try_map(|row| {
        Ok(TransactionRow {
            run: RunId::from(row.run_id),
            attempt: rows::number(i64::from(row.attempt), "attempt")?,
            kind: row.kind,
            hash: rows::bytes32(&row.hash, "hash")?,
            state: row.state,
            ledger: row.ledger,
            did: row.did,
        })
    });
    let transactions = transactions.fetch_all(in_time(conn)).await?;
    Ok(Page { attempts, transactions, last: chosen.last().copied() })
}
