//! The service's SQL. Every statement on its tables is in this file.

use bytes::Bytes;
use seal::SealStatus;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use wire::RunId;
use wire::digest::Digest;
use wire::event::{SealData, SealEvent};

use crate::check::outcome::Status;
use crate::error::Error;
use crate::runs::record::{CheckResult, Draft, Intent, Sealed};

/// Brings the schema up to date.
///
/// # Errors
/// When the database refuses or holds another history of the schema.
pub async fn migrate(db: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    chassis::postgres::migrate(db, &sqlx::migrate!("./migrations")).await
}

/// Keeps the intent unless its attempt has one already; answers the one that is kept.
///
/// # Errors
/// When the database fails.
pub async fn open(db: &PgPool, intent: &Intent) -> Result<Intent, Error> {
    let draft = &intent.draft;
    sqlx::query(
        "INSERT INTO seals (run_id, attempt, statement, shipping, workflow_id, plan, record, nonce,
             policy_rev, catalogue, gate_map, traceparent, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (run_id, attempt) DO NOTHING",
    )
    .bind(*draft.run.as_uuid())
    .bind(attempt(draft.attempt)?)
    .bind(&draft.statement[..])
    .bind(&draft.shipping[..])
    .bind(&draft.workflow_id)
    .bind(&draft.plan[..])
    .bind(&draft.record[..])
    .bind(&intent.nonce)
    .bind(&intent.policy_rev)
    .bind(&intent.catalogue.as_bytes()[..])
    .bind(&intent.gate_map.as_bytes()[..])
    .bind(&draft.traceparent)
    .bind(intent.created_at)
    .execute(db)
    .await?;
    let kept = find(db, draft.run, draft.attempt).await?;
    kept.ok_or_else(|| Error::internal(anyhow::anyhow!("the intent just written is gone")))
}

/// The intent of an attempt, with its result if it has one.
///
/// # Errors
/// When the database fails.
pub async fn find(db: &PgPool, run: RunId, number: u32) -> Result<Option<Intent>, Error> {
    let row = sqlx::query("SELECT * FROM seals WHERE run_id = $1 AND attempt = $2")
        .bind(*run.as_uuid())
        .bind(attempt(number)?)
        .fetch_optional(db)
        .await?;
    row.map(|row| read(&row)).transpose()
}

/// Attempts whose intent has no result, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn unsettled(db: &PgPool) -> Result<Vec<(RunId, u32)>, Error> {
    let rows = sqlx::query(
        "SELECT run_id, attempt FROM seals WHERE settled_at IS NULL ORDER BY created_at",
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| Ok((RunId::from(row.try_get::<uuid::Uuid, _>(0)?), number(row)?)))
        .collect()
}

/// Records the result and publishes `sealed`, in one transaction. The second of two that completed
/// the same intent changes nothing.
///
/// # Errors
/// When the database fails.
pub async fn settle(
    db: &PgPool,
    prefix: &str,
    intent: &Intent,
    sealed: &Sealed,
) -> Result<(), Error> {
    let mut tx = chassis::postgres::begin(db).await?;
    let check = sealed.check.as_ref();
    let settled = sqlx::query(
        "UPDATE seals SET settled_at = now(), pack_id = $3, seal_digest = $4, manifest_digest = $5,
             seal_status = $6, facts_ref = $7, check_status = $8, check_reasons = $9, existed = $10
         WHERE run_id = $1 AND attempt = $2 AND settled_at IS NULL",
    )
    .bind(*intent.draft.run.as_uuid())
    .bind(attempt(intent.draft.attempt)?)
    .bind(&sealed.pack_id.as_bytes()[..])
    .bind(&sealed.seal_digest.as_bytes()[..])
    .bind(&sealed.manifest_digest.as_bytes()[..])
    .bind(sealed.status.as_str())
    .bind(&sealed.facts_ref)
    .bind(check.map(|check| check.status.as_str()))
    .bind(check.map(|check| &check.reasons[..]))
    .bind(sealed.existed)
    .execute(&mut *tx)
    .await?;
    if settled.rows_affected() == 1 {
        let result = check.map(|check| check.status);
        let at = intent.created_at;
        publish(&mut tx, prefix, SealEvent::Sealed, &intent.draft, sealed, result, at).await?;
    }
    Ok(tx.commit().await?)
}

/// Publishes `checked` about a pack that this service sealed; of others it knows no run.
///
/// # Errors
/// When the database fails.
pub async fn checked(
    db: &PgPool,
    prefix: &str,
    pack_id: Digest,
    result: Status,
    traceparent: Option<String>,
    now: OffsetDateTime,
) -> Result<(), Error> {
    let mut tx = chassis::postgres::begin(db).await?;
    let row = sqlx::query("SELECT * FROM seals WHERE pack_id = $1")
        .bind(&pack_id.as_bytes()[..])
        .fetch_optional(&mut *tx)
        .await?;
    let Some(mut intent) = row.map(|row| read(&row)).transpose()? else { return Ok(()) };
    let Some(sealed) = intent.sealed.take() else { return Ok(()) };
    intent.draft.traceparent = traceparent;
    let event = SealEvent::Checked;
    publish(&mut tx, prefix, event, &intent.draft, &sealed, Some(result), now).await?;
    Ok(tx.commit().await?)
}

async fn publish(
    conn: &mut PgConnection,
    prefix: &str,
    event: SealEvent,
    draft: &Draft,
    sealed: &Sealed,
    result: Option<Status>,
    at: OffsetDateTime,
) -> Result<(), Error> {
    let data = SealData {
        run_id: draft.run,
        attempt: draft.attempt,
        pack_id: sealed.pack_id.to_string(),
        seal_digest: sealed.seal_digest,
        seal_status: match sealed.status {
            SealStatus::Ok => wire::event::SealStatus::Sealed,
            SealStatus::Failed => wire::event::SealStatus::SealedFailed,
        },
        facts_ref: sealed.facts_ref.clone(),
        result: result.map(|result| result.as_str().to_owned()),
    };
    let trace = draft.traceparent.clone();
    Ok(chassis::outbox::publish(conn, prefix, event, &data, at, trace).await?)
}

fn read(row: &PgRow) -> Result<Intent, Error> {
    let bytes = |name: &str| row.try_get::<Vec<u8>, _>(name).map(Bytes::from);
    Ok(Intent {
        draft: Draft {
            run: RunId::from(row.try_get::<uuid::Uuid, _>("run_id")?),
            attempt: number(row)?,
            workflow_id: row.try_get("workflow_id")?,
            statement: bytes("statement")?,
            shipping: bytes("shipping")?,
            plan: bytes("plan")?,
            record: bytes("record")?,
            traceparent: row.try_get("traceparent")?,
        },
        nonce: row.try_get("nonce")?,
        created_at: row.try_get("created_at")?,
        policy_rev: row.try_get("policy_rev")?,
        catalogue: digest(row, "catalogue")?.ok_or_else(|| corrupt("catalogue"))?,
        gate_map: digest(row, "gate_map")?.ok_or_else(|| corrupt("gate_map"))?,
        sealed: result(row)?,
    })
}

fn result(row: &PgRow) -> Result<Option<Sealed>, Error> {
    let Some(seal_digest) = digest(row, "seal_digest")? else { return Ok(None) };
    let status = match row.try_get::<&str, _>("seal_status")? {
        "SEALED_OK" => SealStatus::Ok,
        "SEALED_FAILED" => SealStatus::Failed,
        _ => return Err(corrupt("seal_status")),
    };
    let check = match row.try_get::<Option<&str>, _>("check_status")? {
        None => None,
        Some(text) => {
            let status = match text {
                "OK" => Status::Ok,
                "WARN" => Status::Warn,
                "FAIL" => Status::Fail,
                _ => return Err(corrupt("check_status")),
            };
            Some(CheckResult { status, reasons: row.try_get("check_reasons")? })
        }
    };
    Ok(Some(Sealed {
        pack_id: digest(row, "pack_id")?.ok_or_else(|| corrupt("pack_id"))?,
        seal_digest,
        manifest_digest: digest(row, "manifest_digest")?
            .ok_or_else(|| corrupt("manifest_digest"))?,
        status,
        facts_ref: row.try_get("facts_ref")?,
        check,
        existed: row.try_get::<Option<bool>, _>("existed")?.unwrap_or_default(),
    }))
}

fn digest(row: &PgRow, name: &str) -> Result<Option<Digest>, Error> {
    let bytes: Option<Vec<u8>> = row.try_get(name)?;
    bytes.map(|bytes| Digest::try_from(&bytes[..]).map_err(|_| corrupt(name))).transpose()
}

fn number(row: &PgRow) -> Result<u32, Error> {
    u32::try_from(row.try_get::<i32, _>("attempt")?).map_err(|_| corrupt("attempt"))
}

fn attempt(number: u32) -> Result<i32, Error> {
    i32::try_from(number)
        .map_err(|_| Error::refused(wire::Problem::InvalidRequest, "attempt is too large"))
}

fn corrupt(column: &str) -> Error {
    Error::internal(anyhow::anyhow!("column {column} of table seals holds something else"))
}
