//! Every SQL statement about signed transactions, their sources and the networks they went to.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};
use time::OffsetDateTime;
use wire::{Digest, RunId};

use crate::chain::network::LedgerMark;
use crate::chain::transaction::{Kind, Landed, State, Transaction};
use crate::error::{Error, Result};
use crate::model::run::RunLease;
use crate::rows;

/// A worker's right to use a source account's next sequence number.
#[derive(Debug, Clone)]
pub struct SourceLease {
    /// The account.
    pub account: String,
    /// The fencing token.
    pub token: i64,
}

/// Makes the source known. Repeating it changes nothing.
pub async fn add_source(db: &PgPool, account: &str) -> Result<()> {
    let done = sqlx::query("INSERT INTO sources (account) VALUES ($1) ON CONFLICT DO NOTHING");
    done.bind(account).execute(db).await?;
    Ok(())
}

/// Whether a source is neither leased nor has a transaction that may still land.
macro_rules! source_is_free {
    () => {
        "(s.lease_until IS NULL OR s.lease_until < now()) AND NOT EXISTS (\
            SELECT 1 FROM chain_transactions t WHERE t.source = s.account \
                AND t.state IN ('prepared', 'sent', 'unknown'))"
    };
}

pub(crate) use source_is_free;

/// Takes one of these sources that no other worker has, and of which no transaction may still land.
pub async fn lease_source(
    db: &PgPool,
    accounts: &[String],
    owner: &str,
    lease_ms: i64,
) -> Result<Option<SourceLease>> {
    let row = sqlx::query(concat!(
        "UPDATE sources SET lease_owner = $2, lease_token = lease_token + 1, \
            lease_until = now() + $3 * interval '1 millisecond' \
         WHERE account = (SELECT s.account FROM sources s WHERE s.account = ANY($1) AND ",
        source_is_free!(),
        " LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING account, lease_token"
    ));
    let row = row.bind(accounts).bind(owner).bind(lease_ms).fetch_optional(db).await?;
    let Some(row) = row else { return Ok(None) };
    let account: String = row.try_get("account")?;
    let source = SourceLease { account, token: row.try_get("lease_token")? };
    // Between the look at its transactions and this lease another worker may have leased the
    // source, stored its envelope and given it back: then it is not free after all.
    let busy = sqlx::query_scalar::<_, bool>(
        "SELECT EXISTS (SELECT 1 FROM chain_transactions t WHERE t.source = $1 \
            AND t.state IN ('prepared', 'sent', 'unknown'))",
    );
    if busy.bind(&source.account).fetch_one(db).await? {
        release_source(db, &source).await?;
        return Ok(None);
    }
    Ok(Some(source))
}

/// Whether one of these sources could be taken now.
pub async fn is_source_free(db: &PgPool, accounts: &[String]) -> Result<bool> {
    let free = concat!(
        "SELECT EXISTS (SELECT 1 FROM sources s WHERE s.account = ANY($1) AND ",
        source_is_free!(),
        ")"
    );
    Ok(sqlx::query_scalar(free).bind(accounts).fetch_one(db).await?)
}

/// Gives the source back. Nothing happens if another worker has it by now.
pub async fn release_source(db: &PgPool, source: &SourceLease) -> Result<()> {
    let done = sqlx::query(
        "UPDATE sources SET lease_owner = NULL, lease_until = NULL \
         WHERE account = $1 AND lease_token = $2",
    );
    done.bind(&source.account).bind(source.token).execute(db).await?;
    Ok(())
}

/// Stores a signed envelope that was not sent yet, if both the run and the source are still held,
/// and the run was not called off before its escrow was ever asked for.
///
/// The run's row is locked for the length of the statement: a cancel, which locks it too, comes
/// either before and takes the run away, or after and finds the envelope.
pub async fn insert(
    conn: &mut PgConnection,
    lease: RunLease,
    source: &SourceLease,
    transaction: &Transaction,
    now: OffsetDateTime,
) -> Result<()> {
    let done = sqlx::query(
        "INSERT INTO chain_transactions (hash, run_id, attempt, kind, source, sequence, max_time, \
            signed_ledger, envelope, state, created_at, updated_at, vault_run_id) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, 'prepared', $10, $10, $13 \
         WHERE EXISTS (SELECT 1 FROM runs WHERE id = $2 AND lease_token = $11 \
                AND ($4 <> 'open' OR NOT cancel_requested) FOR SHARE) \
            AND EXISTS (SELECT 1 FROM sources WHERE account = $5 AND lease_token = $12)",
    );
    let done = done.bind(transaction.hash.as_bytes().as_slice()).bind(transaction.run.as_uuid());
    let done = done
        .bind(to_i32(transaction.attempt))
        .bind(transaction.kind.name())
        .bind(&transaction.source);
    let done = done
        .bind(transaction.sequence)
        .bind(to_i64(transaction.max_time))
        .bind(i64::from(transaction.signed_ledger));
    let done = done.bind(&transaction.envelope).bind(now).bind(lease.token).bind(source.token);
    let vault_run_id = transaction.vault_run_id.as_ref().map(|id| id.as_bytes().as_slice());
    // Zero rows mean that the run, its source or the wish for it is gone.
    let done = done.bind(vault_run_id);
    expect_one_row(done.execute(conn).await?.rows_affected(), lease.id)
}

/// The newest transaction of this purpose, if there is one.
pub async fn newest(
    db: &PgPool,
    run: RunId,
    attempt: u32,
    kind: Kind,
) -> Result<Option<Transaction>> {
    let row = sqlx::query(
        "SELECT * FROM chain_transactions WHERE run_id = $1 AND attempt = $2 AND kind = $3 \
         ORDER BY id DESC LIMIT 1",
    );
    let row = row.bind(run.as_uuid()).bind(to_i32(attempt)).bind(kind.name());
    Ok(row.fetch_optional(db).await?.map(|row| transaction(&row)).transpose()?)
}

/// The earliest signing ledger and the latest max time of this purpose's transactions.
pub async fn span(db: &PgPool, run: RunId, attempt: u32, kind: Kind) -> Result<Span> {
    let row = sqlx::query(
        "SELECT min(signed_ledger) AS ledger, max(max_time) AS last_max_time \
         FROM chain_transactions \
         WHERE run_id = $1 AND attempt = $2 AND kind = $3",
    );
    let row = row.bind(run.as_uuid()).bind(to_i32(attempt)).bind(kind.name()).fetch_one(db).await?;
    let of = |column| row.try_get::<Option<i64>, _>(column).map(Option::unwrap_or_default);
    Ok(Span {
        first_ledger: rows::number(of("ledger")?, "signed_ledger")?,
        last_max_time: rows::number(of("last_max_time")?, "max_time")?,
    })
}

/// All transactions of one purpose together.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Newest ledger known when the first was signed.
    pub first_ledger: u32,
    /// Max time of the last.
    pub last_max_time: u64,
}

/// Counts a send, before it happens. Returns how many there were with this one.
pub async fn count_send(db: &PgPool, lease: RunLease, hash: Digest) -> Result<u32> {
    let row = sqlx::query(
        "UPDATE chain_transactions SET sends = sends + 1, state = 'sent', updated_at = now() \
         WHERE hash = $1 AND state IN ('prepared', 'sent', 'unknown') \
            AND EXISTS (SELECT 1 FROM runs WHERE id = run_id AND id = $2 AND lease_token = $3) \
         RETURNING sends",
    );
    let row = row.bind(hash.as_bytes().as_slice()).bind(lease.id.as_uuid()).bind(lease.token);
    // A lease that was lost must not send: the next holder counts its own sends.
    let row = row.fetch_optional(db).await?.ok_or(Error::LeaseLost(lease.id))?;
    Ok(rows::number(i64::from(row.try_get::<i32, _>("sends")?), "sends")?)
}

/// Notes what is known of a transaction that has not ended.
pub async fn note(db: &PgPool, lease: RunLease, hash: Digest, answer: &str) -> Result<()> {
    let done = sqlx::query(
        "UPDATE chain_transactions SET state = 'unknown', last_answer = $4, updated_at = now() \
         WHERE hash = $1 AND state IN ('prepared', 'sent', 'unknown') \
            AND EXISTS (SELECT 1 FROM runs WHERE id = run_id AND id = $2 AND lease_token = $3)",
    );
    let done = done.bind(hash.as_bytes().as_slice()).bind(lease.id.as_uuid()).bind(lease.token);
    expect_one_row(done.bind(answer).execute(db).await?.rows_affected(), lease.id)
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// One of the states in which nothing more happens.
    pub state: State,
    /// The last words about it.
    pub words: &'a str,
    /// The number of the vault's error by which it did nothing.
    pub contract_error: Option<u32>,
    /// Where and when it landed.
    pub landed: Option<&'a Landed>,
}

impl Default for Ended<'_> {
    fn default() -> Self {
        Self { state: State::Expired, words: "", contract_error: None, landed: None }
    }
}

/// Ends a transaction. Its source is free from here on.
pub async fn end(db: &PgPool, lease: RunLease, hash: Digest, end: &Ended<'_>) -> Result<()> {
    let done = sqlx::query(
        "UPDATE chain_transactions SET state = $4, result = $5, ledger = $6, closed_at = $7, \
            last_answer = $8, contract_error = $9, updated_at = now() \
         WHERE hash = $1 AND state IN ('prepared', 'sent', 'unknown') \
            AND EXISTS (SELECT 1 FROM runs WHERE id = run_id AND id = $2 AND lease_token = $3)",
    );
    let landed = end.landed;
    let done = done.bind(hash.as_bytes().as_slice()).bind(lease.id.as_uuid()).bind(lease.token);
    let done = done.bind(end.state.name()).bind(landed.and_then(|landed| landed.result.clone()));
    let done = done.bind(landed.map(|landed| i64::from(landed.ledger)));
    let done = done.bind(landed.map(|landed| to_i64(landed.closed_at))).bind(end.words);
    let done = done.bind(end.contract_error.map(i64::from));
    expect_one_row(done.execute(db).await?.rows_affected(), lease.id)
}

/// The newest ledger ever seen of the network.
pub async fn high_water(db: &PgPool, network: Digest) -> Result<Option<LedgerMark>> {
    let row = sqlx::query("SELECT ledger, closed_at FROM networks WHERE network_id = $1");
    let row = row.bind(network.as_bytes().as_slice()).fetch_optional(db).await?;
    Ok(row.map(|row| mark(&row)).transpose()?)
}

/// Raises the high-water mark. A lower one changes nothing.
pub async fn raise_high_water(
    db: &PgPool,
    network: Digest,
    passphrase: &str,
    seen: &LedgerMark,
) -> Result<()> {
    let done = sqlx::query(
        "INSERT INTO networks (network_id, passphrase, ledger, closed_at, updated_at) \
         VALUES ($1, $2, $3, $4, now()) ON CONFLICT (network_id) DO UPDATE SET \
            ledger = EXCLUDED.ledger, closed_at = EXCLUDED.closed_at, updated_at = now() \
         WHERE networks.ledger < EXCLUDED.ledger",
    );
    let done = done.bind(network.as_bytes().as_slice()).bind(passphrase);
    let done = done.bind(i64::from(seen.ledger)).bind(to_i64(seen.closed_at));
    done.execute(db).await?;
    Ok(())
}

fn mark(row: &PgRow) -> sqlx::Result<LedgerMark> {
    Ok(LedgerMark {
        ledger: rows::number(row.try_get::<i64, _>("ledger")?, "ledger")?,
        closed_at: rows::number(row.try_get::<i64, _>("closed_at")?, "closed_at")?,
    })
}

fn transaction(row: &PgRow) -> sqlx::Result<Transaction> {
    let landed = match row.try_get::<Option<i64>, _>("ledger")? {
        None => None,
        Some(ledger) => Some(Landed {
            result: row.try_get("result")?,
            ledger: rows::number(ledger, "ledger")?,
            closed_at: rows::number(row.try_get::<i64, _>("closed_at")?, "closed_at")?,
        }),
    };
    let decode = |error: &dyn std::fmt::Display| sqlx::Error::Decode(error.to_string().into());
    Ok(Transaction {
        hash: rows::required_digest(row, "hash")?,
        run: RunId::from(row.try_get::<uuid::Uuid, _>("run_id")?),
        attempt: rows::number(i64::from(row.try_get::<i32, _>("attempt")?), "attempt")?,
        kind: row.try_get::<&str, _>("kind")?.parse().map_err(|error| decode(&error))?,
        vault_run_id: rows::digest(row, "vault_run_id")?,
        source: row.try_get("source")?,
        sequence: row.try_get("sequence")?,
        max_time: rows::number(row.try_get::<i64, _>("max_time")?, "max_time")?,
        signed_ledger: rows::number(row.try_get::<i64, _>("signed_ledger")?, "signed_ledger")?,
        envelope: row.try_get("envelope")?,
        state: row.try_get::<&str, _>("state")?.parse().map_err(|error| decode(&error))?,
        last_answer: row.try_get("last_answer")?,
        contract_error: row
            .try_get::<Option<i64>, _>("contract_error")?
            .map(|number| rows::number(number, "contract_error"))
            .transpose()?,
        landed,
    })
}

fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn to_i32(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn expect_one_row(rows: u64, run: RunId) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Error::LeaseLost(run)) }
}
