//! Judgements that are kept, shared and can be resumed (M10).

use chassis::postgres::in_time;
use sqlx::{PgConnection, PgPool};
use wire::digest::Digest;
use wire::statement::Verdict;

use crate::error::Error;

/// Most steps that [`steps_after`] reads at once: fewer are all there are. They stay in memory while
/// their caller does not read them.
pub const STEPS_AT_ONCE: usize = 64;
/// Most steps of one judgement that are kept.
const MAX_STEPS: i32 = 100_000;

/// The right to carry out a start of a judgement, until it lapses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Which judgement.
    pub key: Digest,
    /// Which start of it.
    pub fence: i64,
}

/// What a caller asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Digest of everything the result depends on.
    pub key: Digest,
    /// The column `kind`.
    pub kind: &'static str,
    /// Whether a PASS that is kept is not enough.
    pub fresh: bool,
    /// The start whose result is wanted whatever it is: the caller waited for it.
    pub resume: Option<i64>,
}

/// What a claim found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is finished in this start, with this result.
    Finished {
        /// Which start.
        fence: i64,
        /// The stored bytes.
        result: Vec<u8>,
    },
    /// It is this caller's to carry out.
    Granted(Lease),
    /// Another call, perhaps of another process, carries it out in this start.
    Busy(i64),
}

/// Accepts a judgement if it is new, and takes its lease if no live one is held and no result that
/// is good enough is kept.
///
/// # Errors
/// The database's own.
pub async fn claim(db: &PgPool, ask: Ask, lease_ms: i64) -> Result<Claim, Error> {
    let key = ask.key.to_string();

    loop {
        let row = sqlx::query!(
            r#"SELECT fence, verdict, result, COALESCE(leased_until >= now(), false) AS "leased!"
               FROM judgements WHERE key = $1"#,
            key,
        )
        .fetch_optional(in_time(db))
        .await?;

        // The row exists before anything runs, so that two callers at once agree on one start.
        // What is kept, which is asked for most often, is found without this.
        let Some(row) = row else {
            sqlx::query!(
                "INSERT INTO judgements (key, kind) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                key,
                ask.kind,
            )
            .execute(in_time(db))
            .await?;
            continue;
        };

        let waited = ask.resume == Some(row.fence);
        let kept = !ask.fresh && row.verdict.as_deref() == Some("PASS");
        match row.result {
            Some(result) if waited || kept => {
                return Ok(Claim::Finished { fence: row.fence, result });
            }
            _ if row.leased => return Ok(Claim::Busy(row.fence)),
            _ => {}
        }

        // Of several that come here at once, the first raises the fence and the others look again.
        let fence = sqlx::query_scalar!(
            "UPDATE judgements
             SET fence = fence + 1, leased_until = now() + $3::bigint * interval '1 millisecond',
                 verdict = NULL, result = NULL, finished_at = NULL
             WHERE key = $1 AND fence = $2
             RETURNING fence",
            key,
            row.fence,
            lease_ms,
        )
        .fetch_optional(in_time(db))
        .await?;
        if let Some(fence) = fence {
            // An earlier start cannot be resumed any more: its result is replaced.
            sqlx::query!("DELETE FROM judgement_steps WHERE key = $1 AND fence < $2", key, fence)
                .execute(in_time(db))
                .await?;
            return Ok(Claim::Granted(Lease { key: ask.key, fence }));
        }
    }
}

/// Extends a lease. False if it is lost.
///
/// # Errors
/// The database's own.
pub async fn renew(db: &PgPool, lease: Lease, lease_ms: i64) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE judgements SET leased_until = now() + $3::bigint * interval '1 millisecond'
         WHERE key = $1 AND fence = $2 AND result IS NULL",
        lease.key.to_string(),
        lease.fence,
        lease_ms,
    )
    .execute(in_time(db))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a lease back without a result.
///
/// # Errors
/// The database's own.
pub async fn release(db: &PgPool, lease: Lease) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE judgements SET leased_until = NULL
         WHERE key = $1 AND fence = $2 AND result IS NULL",
        lease.key.to_string(),
        lease.fence,
    )
    .execute(in_time(db))
    .await?;
    Ok(())
}

/// Stores the result of a start.
///
/// # Errors
/// [`Error::Interrupted`] if another start has begun; nothing is written then.
pub async fn finish(
    conn: &mut PgConnection,
    lease: Lease,
    verdict: Verdict,
    result: &[u8],
) -> Result<(), Error> {
    let done = sqlx::query!(
        "UPDATE judgements
         SET verdict = $3, result = $4, finished_at = now(), leased_until = NULL
         WHERE key = $1 AND fence = $2 AND result IS NULL",
        lease.key.to_string(),
        lease.fence,
        verdict.to_string(),
        result,
    )
    .execute(in_time(conn))
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(Error::Interrupted("its lease was lost")) }
}

/// Adds a step, unless another start has begun.
///
/// # Errors
/// The database's own.
pub async fn add_step(db: &PgPool, lease: Lease, step: i32, body: &str) -> Result<(), Error> {
    if step > MAX_STEPS {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO judgement_steps (key, fence, step, body)
         SELECT key, fence, $3, $4 FROM judgements WHERE key = $1 AND fence = $2",
        lease.key.to_string(),
        lease.fence,
        step,
        body,
    )
    .execute(in_time(db))
    .await?;
    Ok(())
}

/// The steps of a start after the one with this number.
///
/// # Errors
/// The database's own.
pub async fn steps_after(
    db: &PgPool,
    key: Digest,
    fence: i64,
    after: i32,
) -> Result<Vec<(i32, String)>, Error> {
    let rows = sqlx::query!(
        "SELECT step, body FROM judgement_steps
         WHERE key = $1 AND fence = $2 AND step > $3 ORDER BY step LIMIT $4",
        key.to_string(),
        fence,
        after,
        STEPS_AT_ONCE as i64,
    )
    .fetch_all(in_time(db))
    .await?;
    Ok(rows.into_iter().map(|row| (row.step, row.body)).collect())
}
