//! Every SQL statement about channels that an operator adds, tops up and drains.

use chassis::postgres::in_time;
use sqlx::{PgConnection, PgPool};

use crate::chain::store::ChannelLease;
use crate::chain::transaction::{Transaction, TransactionState};
use crate::error::{Error, Result};
use crate::rows;

/// A channel as it is stored.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// The account.
    pub account: String,
    /// Who pays for it; absent for an account of RUNNER_SOURCE_SECRET.
    pub payer: Option<String>,
    /// Its number among those of the payer.
    pub number: Option<i32>,
    /// `added`, `active`, `draining` or `drained`.
    pub state: String,
    /// Whether a process holds it now.
    pub held: bool,
    /// Whether a transaction of it may still land.
    pub busy: bool,
}

/// What is done with lumens for a channel.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its number.
    pub id: i64,
    /// `create`, `pay` or `merge`.
    pub kind: String,
    /// Signs and pays the fee.
    pub source: String,
    /// Gets the lumens.
    pub destination: String,
    /// How much, unless it is a merge.
    pub stroops: Option<i64>,
}

/// How far an order is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// `wanted`, `signed`, `done`, `failed` or `unknown`.
    pub state: String,
    /// The last words about it.
    pub words: Option<String>,
}

/// Every channel, those of RUNNER_SOURCE_SECRET first.
pub async fn list(db: &PgPool) -> Result<Vec<Channel>> {
    let found = sqlx::query_as!(
        Channel,
        r#"SELECT account, payer, number, state,
            coalesce(lease_until > now(), false) AS "held!",
            EXISTS (SELECT 1 FROM chain_transactions t WHERE t.source = channels.account
                AND t.state IN ('prepared', 'sent', 'unknown')) AS "busy!"
         FROM channels ORDER BY payer NULLS FIRST, number, account"#,
    );
    Ok(found.fetch_all(in_time(db)).await?)
}

/// Those that these accounts pay for and that carry transactions, or take their last. Asked for
/// often, so that channels which were drained long ago are not read.
pub async fn served(db: &PgPool, payers: &[String]) -> Result<Vec<Channel>> {
    let found = sqlx::query_as!(
        Channel,
        r#"SELECT account, payer, number, state,
            coalesce(lease_until > now(), false) AS "held!",
            EXISTS (SELECT 1 FROM chain_transactions t WHERE t.source = channels.account
                AND t.state IN ('prepared', 'sent', 'unknown')) AS "busy!"
         FROM channels WHERE payer = ANY($1) AND state IN ('active', 'draining')
         ORDER BY payer, number"#,
        payers,
    );
    Ok(found.fetch_all(in_time(db)).await?)
}

/// The number of the next channel that this account pays for.
pub async fn next_number(conn: &mut PgConnection, payer: &str) -> Result<u32> {
    let next = sqlx::query_scalar!(
        r#"SELECT coalesce(max(number) + 1, 0)::bigint AS "next!" FROM channels WHERE payer = $1"#,
        payer,
    );
    Ok(rows::number(next.fetch_one(in_time(conn)).await?, "number of a channel")?)
}

/// The same, where no other command takes it until the end of the transaction.
pub async fn lock_next_number(conn: &mut PgConnection, payer: &str) -> Result<u32> {
    let lock =
        sqlx::query_scalar!("SELECT account FROM channels WHERE account = $1 FOR UPDATE", payer,);
    lock.fetch_optional(in_time(&mut *conn)).await?;
    next_number(conn, payer).await
}

/// Makes a derived channel known: `added` while its account is not on the network yet, `active` if
/// it is.
pub async fn add(
    conn: &mut PgConnection,
    account: &str,
    (payer, number): (&str, u32),
    exists: bool,
) -> Result<()> {
    let done = sqlx::query!(
        "INSERT INTO channels (account, payer, number, state) VALUES ($1, $2, $3, $4)",
        account,
        payer,
        i32::try_from(number).unwrap_or(i32::MAX),
        if exists { "active" } else { "added" },
    );
    done.execute(in_time(conn)).await?;
    Ok(())
}

/// Lets a channel take no more calls. `false` if it is not one that can be drained. One whose last
/// order ended without a known outcome can be: a second merge finds no account if the first landed.
pub async fn drain(conn: &mut PgConnection, account: &str) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE channels SET state = 'draining'
         WHERE account = $1 AND payer IS NOT NULL AND (state = 'active'
            OR (state IN ('added', 'draining') AND NOT EXISTS (SELECT 1 FROM channel_orders o
                WHERE o.state IN ('wanted', 'signed') AND $1 IN (o.source, o.destination))))",
        account,
    );
    Ok(done.execute(in_time(conn)).await?.rows_affected() == 1)
}

/// Wants lumens to be moved.
pub async fn order(conn: &mut PgConnection, order: &Order) -> Result<i64> {
    let id = sqlx::query_scalar!(
        "INSERT INTO channel_orders (kind, source, destination, stroops, state)
         VALUES ($1, $2, $3, $4, 'wanted') RETURNING id",
        order.kind,
        order.source,
        order.destination,
        order.stroops,
    );
    Ok(id.fetch_one(in_time(conn)).await?)
}

/// The order that is under way for this account, if there is one: a second drain is the first.
pub async fn open_order(db: &PgPool, kind: &str, source: &str) -> Result<Option<i64>> {
    let found = sqlx::query_scalar!(
        "SELECT id FROM channel_orders WHERE kind = $1 AND source = $2
            AND state IN ('wanted', 'signed') ORDER BY id LIMIT 1",
        kind,
        source,
    );
    Ok(found.fetch_optional(in_time(db)).await?)
}

/// How far an order is.
pub async fn progress(db: &PgPool, id: i64) -> Result<Progress> {
    let found =
        sqlx::query_as!(Progress, "SELECT state, words FROM channel_orders WHERE id = $1", id);
    Ok(found.fetch_one(in_time(db)).await?)
}

/// The next order that this channel is to carry out: the oldest, once whatever pays to this channel
/// has arrived. One that could not be signed is left alone for some seconds, so that calls do not
/// wait for it; later orders do.
pub async fn next_order(db: &PgPool, source: &str) -> Result<Option<Order>> {
    let found = sqlx::query_as!(
        Order,
        "SELECT id, kind, source, destination, stroops FROM (
            SELECT o.* FROM channel_orders o WHERE o.source = $1 AND o.state = 'wanted'
            ORDER BY o.id LIMIT 1) o
         WHERE (words IS NULL OR updated_at < now() - interval '5 seconds')
            AND NOT EXISTS (SELECT 1 FROM channel_orders e
                WHERE e.state IN ('wanted', 'signed') AND e.kind <> 'merge'
                    AND e.destination = o.source AND e.id < o.id)",
        source,
    );
    Ok(found.fetch_optional(in_time(db)).await?)
}

/// The channel that has to carry out an order which came before this one and pays to its channel.
pub async fn done_before(db: &PgPool, id: i64) -> Result<Option<String>> {
    let found = sqlx::query_scalar!(
        "SELECT e.source FROM channel_orders o JOIN channel_orders e ON e.destination = o.source
            AND e.id < o.id AND e.state IN ('wanted', 'signed') AND e.kind <> 'merge'
         WHERE o.id = $1 ORDER BY e.id LIMIT 1",
        id,
    );
    Ok(found.fetch_optional(in_time(db)).await?)
}

/// Whether the channel takes calls.
pub async fn takes_calls(db: &PgPool, account: &str) -> Result<bool> {
    let state = sqlx::query_scalar!("SELECT state FROM channels WHERE account = $1", account);
    Ok(state.fetch_optional(in_time(db)).await?.as_deref() == Some("active"))
}

/// Stores the signed envelope of an order, before it is sent. The caller has locked the channel.
pub async fn sign_order(
    conn: &mut PgConnection,
    order: &Order,
    transaction: &Transaction,
) -> Result<()> {
    let id = super::insert(&mut *conn, transaction, &[]).await?;
    let done = sqlx::query!(
        "UPDATE channel_orders SET state = 'signed', updated_at = now(), transaction_id = $2
         WHERE id = $1 AND state = 'wanted'",
        order.id,
        id,
    );
    match done.execute(in_time(conn)).await?.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::CallGone),
    }
}

/// Notes that an order cannot be signed now, and why.
pub async fn note_order(db: &PgPool, id: i64, words: &str) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE channel_orders SET words = $2, updated_at = now()
         WHERE id = $1 AND state = 'wanted'",
        id,
        words,
    );
    done.execute(in_time(db)).await?;
    Ok(())
}

/// Notes that an order to merge needs no transaction any more, since its account is gone.
pub async fn conclude_merged(db: &PgPool, id: i64) -> Result<()> {
    let done = sqlx::query!(
        "WITH gone AS (
            UPDATE channel_orders SET state = 'done', updated_at = now(),
                words = 'the account is gone: an earlier merge has landed'
            WHERE id = $1 AND kind = 'merge' AND state = 'wanted' RETURNING source)
         UPDATE channels c SET state = 'drained' FROM gone g WHERE c.account = g.source",
        id,
    );
    done.execute(in_time(db)).await?;
    Ok(())
}

/// Notes what became of the order of a transaction that has ended, and what follows for its
/// channel. Nothing happens for a transaction of calls.
pub async fn conclude(
    conn: &mut PgConnection,
    transaction: &Transaction,
    ended: TransactionState,
    words: &str,
) -> Result<()> {
    let state = match ended {
        TransactionState::Succeeded => "done",
        TransactionState::Failed | TransactionState::Rejected => "failed",
        // It can never land, and never did: it is signed again.
        TransactionState::Expired => "wanted",
        TransactionState::Forgotten
        | TransactionState::Prepared
        | TransactionState::Sent
        | TransactionState::Unknown => "unknown",
    };
    let done = sqlx::query!(
        "WITH ended AS (
            UPDATE channel_orders SET state = $2, words = $3, updated_at = now()
            WHERE transaction_id = $1 AND state = 'signed'
            RETURNING kind, source, destination, state)
         UPDATE channels c SET state = CASE
                WHEN e.kind = 'create' AND e.state = 'done' THEN 'active'
                WHEN e.kind = 'create' THEN 'drained'
                WHEN e.state = 'done' THEN 'drained'
                ELSE 'active' END
         FROM ended e WHERE e.state IN ('done', 'failed') AND (
            (e.kind = 'create' AND c.account = e.destination)
            OR (e.kind = 'merge' AND c.account = e.source))",
        transaction.id,
        state,
        words,
    );
    done.execute(in_time(conn)).await?;
    Ok(())
}

/// How long the lease of a command lasts without a sign of life, in milliseconds: as long as that of
/// an engine with its default setting.
pub const COMMAND_LEASE_MS: i64 = 15_000;

/// The lease by which a command carries an order out itself, if no process has the channel.
pub async fn lease(db: &PgPool, account: &str, owner: &str) -> Result<Option<ChannelLease>> {
    super::lease_channel(db, account, owner, COMMAND_LEASE_MS).await
}
