//! All SQL of this service. Time is the database's own, so that replicas agree about leases.

pub mod judgements;

use chassis::postgres::in_time;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;
use wire::digest::Digest;
use wire::id::AttemptKey;

use crate::error::Error;

/// The attempt as the database counts it.
fn number(key: AttemptKey) -> i32 {
    i32::try_from(key.attempt).unwrap_or(i32::MAX)
}

/// The right to execute an attempt, until it lapses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// What may be executed.
    pub key: AttemptKey,
    /// Which start of it this is.
    pub fence: i64,
}

/// What a claim found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is finished: the stored envelope's exact bytes.
    Finished(Vec<u8>),
    /// It is this caller's to execute.
    Granted(Lease),
    /// Another process executes it.
    Busy,
}

/// What is known of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptState {
    /// Never heard of.
    Unknown,
    /// A live lease is held.
    Running,
    /// Accepted, not finished, and no process executes it.
    Interrupted,
    /// The stored envelope's exact bytes.
    Finished(Vec<u8>),
}

/// What a signed statement says, for its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictRow {
    /// `PASS`, `FAIL` or `INCONCLUSIVE`.
    pub verdict: String,
    /// Set unless it is a PASS.
    pub code: Option<String>,
    /// The signed envelope's exact bytes.
    pub statement: Vec<u8>,
    /// When it was issued.
    pub at: OffsetDateTime,
}

/// Brings the schema up to date.
///
/// # Errors
/// The database's own, or a schema that is newer than this program.
pub async fn migrate(db: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    chassis::postgres::migrate(db, &sqlx::migrate!("./migrations")).await
}

/// Accepts an attempt if it is new, and takes its lease if no live one is held (R11).
///
/// # Errors
/// [`Error::Conflict`] if another request is recorded under this attempt.
pub async fn claim(
    db: &PgPool,
    key: AttemptKey,
    request: Digest,
    module: Digest,
    lease_ms: i64,
) -> Result<Claim, Error> {
    sqlx::query!(
        "INSERT INTO executions (run_id, attempt, request_digest, module_digest)
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        Uuid::from(key.run),
        number(key),
        request.to_string(),
        module.to_string(),
    )
    .execute(in_time(db))
    .await?;

    // After the insert, so that the row is of this call or of one before it.
    let stored = sqlx::query!(
        "SELECT request_digest, statement FROM executions WHERE run_id = $1 AND attempt = $2",
        Uuid::from(key.run),
        number(key),
    )
    .fetch_one(in_time(db))
    .await?;
    if stored.request_digest != request.to_string() {
        return Err(Error::Conflict(key));
    }
    if let Some(statement) = stored.statement {
        return Ok(Claim::Finished(statement));
    }

    // One statement: of several callers at once, one raises the fence.
    let fence = sqlx::query_scalar!(
        "UPDATE executions
         SET fence = fence + 1, leased_until = now() + $3::bigint * interval '1 millisecond'
         WHERE run_id = $1 AND attempt = $2 AND statement IS NULL
           AND (leased_until IS NULL OR leased_until < now())
         RETURNING fence",
        Uuid::from(key.run),
        number(key),
        lease_ms,
    )
    .fetch_optional(in_time(db))
    .await?;
    Ok(fence.map_or(Claim::Busy, |fence| Claim::Granted(Lease { key, fence })))
}

/// Extends a lease. False if it is lost.
///
/// # Errors
/// The database's own.
pub async fn renew(db: &PgPool, lease: Lease, lease_ms: i64) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE executions SET leased_until = now() + $4::bigint * interval '1 millisecond'
         WHERE run_id = $1 AND attempt = $2 AND fence = $3 AND statement IS NULL",
        Uuid::from(lease.key.run),
        number(lease.key),
        lease.fence,
        lease_ms,
    )
    .execute(in_time(db))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a lease back without a result, so that the next call need not wait for it to lapse.
///
/// # Errors
/// The database's own.
pub async fn release(db: &PgPool, lease: Lease) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE executions SET leased_until = NULL
         WHERE run_id = $1 AND attempt = $2 AND fence = $3 AND statement IS NULL",
        Uuid::from(lease.key.run),
        number(lease.key),
        lease.fence,
    )
    .execute(in_time(db))
    .await?;
    Ok(())
}

/// Stores the attempt's one statement.
///
/// # Errors
/// [`Error::Interrupted`] if another process holds the lease by now; nothing is written then.
pub async fn finish(
    conn: &mut PgConnection,
    lease: Lease,
    verdict: &VerdictRow,
) -> Result<(), Error> {
    let done = sqlx::query!(
        "UPDATE executions
         SET statement = $4, verdict = $5, code = $6, finished_at = $7, leased_until = NULL
         WHERE run_id = $1 AND attempt = $2 AND fence = $3 AND statement IS NULL",
        Uuid::from(lease.key.run),
        number(lease.key),
        lease.fence,
        verdict.statement,
        verdict.verdict,
        verdict.code.as_deref(),
        verdict.at,
    )
    .execute(in_time(conn))
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(Error::Interrupted("its lease was lost")) }
}

/// What is known of an attempt; changes nothing.
///
/// # Errors
/// The database's own.
pub async fn state(db: &PgPool, key: AttemptKey) -> Result<AttemptState, Error> {
    let row = sqlx::query!(
        r#"SELECT statement, COALESCE(leased_until >= now(), false) AS "leased!"
           FROM executions WHERE run_id = $1 AND attempt = $2"#,
        Uuid::from(key.run),
        number(key),
    )
    .fetch_optional(in_time(db))
    .await?;

    let Some(row) = row else { return Ok(AttemptState::Unknown) };
    Ok(match (row.statement, row.leased) {
        (Some(statement), _) => AttemptState::Finished(statement),
        (None, true) => AttemptState::Running,
        (None, false) => AttemptState::Interrupted,
    })
}

/// Stores a shipping verdict.
///
/// # Errors
/// The database's own.
pub async fn insert_shipping_verdict(
    conn: &mut PgConnection,
    module: Digest,
    verdict: &VerdictRow,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO shippings (module_digest, verdict, code, statement, issued_at)
         VALUES ($1, $2, $3, $4, $5)",
        module.to_string(),
        verdict.verdict,
        verdict.code.as_deref(),
        verdict.statement,
        verdict.at,
    )
    .execute(in_time(conn))
    .await?;
    Ok(())
}

/// The newest conclusive shipping statement of a module (R8).
///
/// # Errors
/// The database's own.
pub async fn newest_verdict(db: &PgPool, module: Digest) -> Result<Option<Vec<u8>>, Error> {
    let statement = sqlx::query_scalar!(
        "SELECT statement FROM shippings
         WHERE module_digest = $1 AND verdict <> 'INCONCLUSIVE' ORDER BY id DESC LIMIT 1",
        module.to_string(),
    )
    .fetch_optional(in_time(db))
    .await?;
    Ok(statement)
}
