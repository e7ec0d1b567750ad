//! The service's SQL. Every statement on its tables is in this file.

use bytes::Bytes;
use chassis::postgres::{self, in_time};
use seal::SealStatus;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;
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
    // The primary key decides between two calls at once, whichever process each of them is in.
    sqlx::query!(
        "INSERT INTO seals (run_id, attempt, statement, shipping, workflow_id, plan, record, nonce,
             policy_rev, catalogue, gate_map, traceparent, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (run_id, attempt) DO NOTHING",
        *draft.run.as_uuid(),
        attempt(draft.attempt)?,
        &draft.statement[..],
        &draft.shipping[..],
        draft.workflow_id,
        &draft.plan[..],
        &draft.record[..],
        intent.nonce,
        intent.policy_rev,
        &intent.catalogue.as_bytes()[..],
        &intent.gate_map.as_bytes()[..],
        draft.traceparent,
        intent.created_at,
    )
    .execute(in_time(db))
    .await?;
    // Of two calls at once the first row stays, and both go on with what it holds.
    let kept = find(db, draft.run, draft.attempt).await?;
    kept.ok_or_else(|| Error::internal(anyhow::anyhow!("the intent just written is gone")))
}

/// The intent of an attempt, with its result if it has one.
///
/// # Errors
/// When the database fails.
pub async fn find(db: &PgPool, run: RunId, number: u32) -> Result<Option<Intent>, Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT run_id, attempt, statement, shipping, workflow_id, plan, record, nonce, policy_rev,
             catalogue, gate_map, traceparent, created_at, pack_id, seal_digest, manifest_digest,
             seal_status, facts_ref, check_status, check_reasons, existed
         FROM seals WHERE run_id = $1 AND attempt = $2",
        *run.as_uuid(),
        attempt(number)?,
    )
    .fetch_optional(in_time(db))
    .await?;
    row.map(Row::read).transpose()
}

/// Attempts whose intent has no result, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn unsettled(db: &PgPool) -> Result<Vec<(RunId, u32)>, Error> {
    // Oldest first: no attempt waits behind one that came later.
    let rows = sqlx::query!(
        "SELECT run_id, attempt FROM seals WHERE settled_at IS NULL ORDER BY created_at",
    )
    .fetch_all(in_time(db))
    .await?;
    rows.iter().map(|row| Ok((RunId::from(row.run_id), number(row.attempt)?))).collect()
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
    // The condition `settled_at IS NULL` makes a repeated settlement change nothing (R1).
    let settled = sqlx::query!(
        "UPDATE seals SET settled_at = now(), pack_id = $3, seal_digest = $4, manifest_digest = $5,
             seal_status = $6, facts_ref = $7, check_status = $8, check_reasons = $9, existed = $10
         WHERE run_id = $1 AND attempt = $2 AND settled_at IS NULL",
        *intent.draft.run.as_uuid(),
        attempt(intent.draft.attempt)?,
        &sealed.pack_id.as_bytes()[..],
        &sealed.seal_digest.as_bytes()[..],
        &sealed.manifest_digest.as_bytes()[..],
        sealed.status.as_str(),
        sealed.facts_ref,
        check.map(|check| check.status.as_str()),
        check.map(|check| &check.reasons[..]),
        sealed.existed,
    )
    .execute(in_time(&mut *tx))
    .await?;
    // Of two that completed one intent, one settles it, and only that one publishes.
    if settled.rows_affected() == 1 {
        let result = check.map(|check| check.status.as_str());
        let at = intent.created_at;
        publish(&mut tx, prefix, SealEvent::Sealed, &intent.draft, sealed, result, at).await?;
    }
    Ok(postgres::commit(tx).await?)
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
    let about = About { event: SealEvent::Checked, result: Some(result.as_str()), traceparent };
    announce(db, prefix, pack_id, about, now).await.map(drop)
}

/// What is published about a pack.
pub struct About<'a> {
    /// Which event.
    pub event: SealEvent,
    /// What a check or an audit answered.
    pub result: Option<&'a str>,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
}

/// Publishes an event about a pack that this service sealed; false if it did not.
///
/// # Errors
/// When the database fails.
pub async fn announce(
    db: &PgPool,
    prefix: &str,
    pack_id: Digest,
    about: About<'_>,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let mut tx = chassis::postgres::begin(db).await?;
    // By the pack's digest: what others sealed has no row here, and no event.
    let row = sqlx::query_as!(
        Row,
        "SELECT run_id, attempt, statement, shipping, workflow_id, plan, record, nonce, policy_rev,
             catalogue, gate_map, traceparent, created_at, pack_id, seal_digest, manifest_digest,
             seal_status, facts_ref, check_status, check_reasons, existed
         FROM seals WHERE pack_id = $1",
        &pack_id.as_bytes()[..],
    )
    .fetch_optional(in_time(&mut *tx))
    .await?;
    let Some(mut intent) = row.map(Row::read).transpose()? else { return Ok(false) };
    let Some(sealed) = intent.sealed.take() else { return Ok(false) };
    intent.draft.traceparent = about.traceparent;
    publish(&mut tx, prefix, about.event, &intent.draft, &sealed, about.result, now).await?;
    postgres::commit(tx).await?;
    Ok(true)
}

async fn publish(
    conn: &mut PgConnection,
    prefix: &str,
    event: SealEvent,
    draft: &Draft,
    sealed: &Sealed,
    result: Option<&str>,
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
        result: result.map(str::to_owned),
    };
    let trace = draft.traceparent.clone();
    Ok(chassis::outbox::publish(conn, prefix, event, &data, at, trace).await?)
}

/// A row of `seals`, as the database gives it.
struct Row {
    run_id: Uuid,
    attempt: i32,
    statement: Vec<u8>,
    shipping: Vec<u8>,
    workflow_id: String,
    plan: Vec<u8>,
    record: Vec<u8>,
    nonce: String,
    policy_rev: String,
    catalogue: Vec<u8>,
    gate_map: Vec<u8>,
    traceparent: Option<String>,
    created_at: OffsetDateTime,
    pack_id: Option<Vec<u8>>,
    seal_digest: Option<Vec<u8>>,
    manifest_digest: Option<Vec<u8>>,
    seal_status: Option<String>,
    facts_ref: Option<String>,
    check_status: Option<String>,
    check_reasons: Option<Vec<String>>,
    existed: Option<bool>,
}

impl Row {
    fn read(self) -> Result<Intent, Error> {
        let sealed = self.result()?;
        Ok(Intent {
            draft: Draft {
                run: RunId::from(self.run_id),
                attempt: number(self.attempt)?,
                workflow_id: self.workflow_id,
                statement: Bytes::from(self.statement),
                shipping: Bytes::from(self.shipping),
                plan: Bytes::from(self.plan),
                record: Bytes::from(self.record),
                traceparent: self.traceparent,
            },
            nonce: self.nonce,
            created_at: self.created_at,
            policy_rev: self.policy_rev,
            catalogue: digest(&self.catalogue, "catalogue")?,
            gate_map: digest(&self.gate_map, "gate_map")?,
            sealed,
        })
    }

    /// The result; the digest of the seal is there exactly if the row is settled.
    fn result(&self) -> Result<Option<Sealed>, Error> {
        let Some(seal_digest) = &self.seal_digest else { return Ok(None) };
        let needed = |bytes: &Option<Vec<u8>>, name: &str| {
            // A settled row has every column; an empty one is no digest and is reported as corrupt.
            digest(bytes.as_deref().unwrap_or_default(), name)
        };
        let status = match self.seal_status.as_deref() {
            Some("SEALED_OK") => SealStatus::Ok,
            Some("SEALED_FAILED") => SealStatus::Failed,
            _ => return Err(corrupt("seal_status")),
        };
        Ok(Some(Sealed {
            pack_id: needed(&self.pack_id, "pack_id")?,
            seal_digest: digest(seal_digest, "seal_digest")?,
            manifest_digest: needed(&self.manifest_digest, "manifest_digest")?,
            status,
            facts_ref: self.facts_ref.clone(),
            check: self.check()?,
            existed: self.existed.unwrap_or_default(),
        }))
    }

    fn check(&self) -> Result<Option<CheckResult>, Error> {
        let status = match self.check_status.as_deref() {
            None => return Ok(None),
            Some("OK") => Status::Ok,
            Some("WARN") => Status::Warn,
            Some("FAIL") => Status::Fail,
            Some(_) => return Err(corrupt("check_status")),
        };
        Ok(Some(CheckResult { status, reasons: self.check_reasons.clone().unwrap_or_default() }))
    }
}

fn digest(bytes: &[u8], name: &str) -> Result<Digest, Error> {
    Digest::try_from(bytes).map_err(|_| corrupt(name))
}

fn number(attempt: i32) -> Result<u32, Error> {
    u32::try_from(attempt).map_err(|_| corrupt("attempt"))
}

fn attempt(number: u32) -> Result<i32, Error> {
    i32::try_from(number)
        .map_err(|_| Error::refused(wire::Problem::InvalidRequest, "attempt is too large"))
}

fn corrupt(column: &str) -> Error {
    Error::internal(anyhow::anyhow!("column {column} of table seals holds something else"))
}
