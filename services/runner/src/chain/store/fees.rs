//! Every SQL statement about fees: further envelopes of a transaction, and what was spent.

use std::collections::HashMap;

use chassis::postgres::in_time;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use wire::{RunId, TxHash};

use super::to_i64;
use crate::chain::store::ChannelLease;
use crate::error::{Error, Result};
use crate::rows;

/// A fee bump as it is kept, from before its first send.
#[derive(Debug, Clone)]
pub struct Bump {
    /// Its number; 0 until it is stored.
    pub id: i64,
    /// Its own hash.
    pub hash: TxHash,
    /// The signed envelope (XDR), with the transaction's envelope inside.
    pub envelope: Vec<u8>,
    /// Stroops offered for each operation.
    pub bid: u64,
    /// Most stroops that the transaction can cost with it.
    pub max_fee: u64,
    /// Newest ledger known when it was signed.
    pub signed_ledger: u32,
}

/// The fee bumps of a transaction, oldest first.
pub async fn bumps(db: &PgPool, transaction: i64) -> Result<Vec<Bump>> {
    let found = sqlx::query!(
        "SELECT id, hash, envelope, bid, max_fee, signed_ledger FROM fee_bumps
         WHERE transaction_id = $1 ORDER BY id",
        transaction,
    );
    let mut bumps = Vec::new();
    for row in found.fetch_all(in_time(db)).await? {
        bumps.push(Bump {
            id: row.id,
            hash: rows::bytes32(&row.hash, "hash")?,
            envelope: row.envelope,
            bid: rows::number(row.bid, "bid")?,
            max_fee: rows::number(row.max_fee, "max_fee")?,
            signed_ledger: rows::number(row.signed_ledger, "signed_ledger")?,
        });
    }
    Ok(bumps)
}

/// Stores a fee bump that was not sent yet. `None` if its transaction has ended: then nothing was
/// stored and nothing is sent. The caller has locked the channel.
pub async fn insert_bump(
    conn: &mut PgConnection,
    transaction: i64,
    bump: &Bump,
) -> Result<Option<i64>> {
    let id = sqlx::query_scalar!(
        "WITH live AS (
            UPDATE chain_transactions SET max_fee = $5, updated_at = now()
            WHERE id = $1 AND state IN ('prepared', 'sent', 'unknown') RETURNING id)
         INSERT INTO fee_bumps (transaction_id, hash, envelope, bid, max_fee, signed_ledger,
            created_at)
         SELECT id, $2, $3, $4, $5, $6, now() FROM live RETURNING id",
        transaction,
        bump.hash.as_bytes().as_slice(),
        bump.envelope,
        to_i64(bump.bid),
        to_i64(bump.max_fee),
        i64::from(bump.signed_ledger),
    );
    Ok(id.fetch_optional(in_time(conn)).await?)
}

/// Counts a send of a fee bump, before it happens. A process that lost the channel must not send.
pub async fn count_send(db: &PgPool, lease: &ChannelLease, bump: i64) -> Result<()> {
    let counted = sqlx::query!(
        "UPDATE fee_bumps SET sends = sends + 1 WHERE id = $1
            AND EXISTS (SELECT 1 FROM channels WHERE account = $2 AND lease_token = $3)",
        bump,
        lease.account,
        lease.token,
    );
    match counted.execute(in_time(db)).await?.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::ChannelLost(lease.account.clone())),
    }
}

/// Lets one process at a time count what was spent and store what will be, until the end of the
/// transaction: two that count at once would both find room for the last of a ceiling.
pub async fn lock_spending(conn: &mut PgConnection) -> Result<()> {
    // Locked after a channel and before runs, by everybody.
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('fees of ' || current_schema(), 0))"
    )
    .fetch_one(in_time(conn))
    .await?;
    Ok(())
}

/// What transactions of the last 24 hours cost, in stroops: what was charged, and the most that
/// can be charged for what may still land.
pub async fn spent_in_a_day(conn: &mut PgConnection) -> Result<u64> {
    let spent = sqlx::query_scalar!(
        r#"SELECT coalesce(sum(coalesce(fee_charged, CASE
                WHEN state IN ('prepared', 'sent', 'unknown') THEN max_fee END)), 0)::bigint
            AS "spent!"
         FROM chain_transactions WHERE created_at > now() - interval '1 day'"#,
    );
    Ok(rows::number(spent.fetch_one(in_time(conn)).await?, "fees of a day")?)
}

/// What each of these runs has cost so far, likewise: its share of every transaction that carried
/// one of its calls. A run without any is left out.
pub async fn spent_by_runs(conn: &mut PgConnection, runs: &[RunId]) -> Result<HashMap<RunId, u64>> {
    let ids: Vec<Uuid> = runs.iter().map(|run| *run.as_uuid()).collect();
    let found = sqlx::query!(
        r#"SELECT c.run_id, coalesce(sum(ceil(coalesce(t.fee_charged, CASE
                WHEN t.state IN ('prepared', 'sent', 'unknown') THEN t.max_fee END)::numeric
                / (SELECT count(*) FROM transaction_calls a WHERE a.transaction_id = t.id))), 0)
            ::bigint AS "spent!"
         FROM calls c JOIN transaction_calls m ON m.call_id = c.id
            JOIN chain_transactions t ON t.id = m.transaction_id
         WHERE c.run_id = ANY($1) GROUP BY c.run_id"#,
        &ids,
    );
    let mut spent = HashMap::new();
    for row in found.fetch_all(in_time(conn)).await? {
        spent.insert(RunId::from(row.run_id), rows::number(row.spent, "fees of a run")?);
    }
    Ok(spent)
}

/// What each attempt was charged whose escrow one of these calls closed, in stroops: its share of
/// every transaction that carried a call of it. One of which no charge is known is left out.
pub async fn charged_by_closing(db: &PgPool, closing: &[i64]) -> Result<Vec<u64>> {
    if closing.is_empty() {
        return Ok(Vec::new());
    }
    let charged = sqlx::query_scalar!(
        r#"SELECT sum(ceil(t.fee_charged::numeric
                / (SELECT count(*) FROM transaction_calls a WHERE a.transaction_id = t.id)))::bigint
            AS "charged!"
         FROM calls e JOIN calls c ON c.run_id = e.run_id AND c.attempt = e.attempt
            JOIN transaction_calls m ON m.call_id = c.id
            JOIN chain_transactions t ON t.id = m.transaction_id
         WHERE e.id = ANY($1) AND t.fee_charged IS NOT NULL GROUP BY e.id"#,
        closing,
    );
    let charged = charged.fetch_all(in_time(db)).await?.into_iter();
    Ok(charged
        .map(|charged| rows::number(charged, "fees of a run"))
        .collect::<sqlx::Result<_>>()?)
}
