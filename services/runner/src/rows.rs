//! Rows of `runs` and `attempts` become values here or not at all.

use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use wire::view::RunPriority;
use wire::{Digest, RunId};

use crate::model::run::{Attempt, Escrow, Request, Run, Snapshot};
use crate::model::settlement::Failure;

/// The columns of an attempt `a`, with the transactions that opened and ended it: the one in which
/// its call was done; else the one that closed it on chain without a call of ours, by its event;
/// else the newest.
macro_rules! attempt_columns {
    () => {
        "a.nonce, a.terms, a.vault_run_id, a.manifest_hash, a.escrow, a.execute_started_at, \
            a.seal, a.settlement, a.usage, a.upstreams, a.receipt, a.error_code, a.error, \
            (SELECT t.hash FROM calls c JOIN transaction_calls m ON m.call_id = c.id \
                JOIN chain_transactions t ON t.id = m.transaction_id WHERE c.run_id = a.run_id \
                AND c.attempt = a.number AND c.kind = 'open' \
                ORDER BY (m.code IS NOT NULL AND m.code = 0) DESC, t.id DESC LIMIT 1) \
                AS open_transaction, \
            coalesce((SELECT t.hash FROM calls c JOIN transaction_calls m ON m.call_id = c.id \
                JOIN chain_transactions t ON t.id = m.transaction_id WHERE c.run_id = a.run_id \
                AND c.attempt = a.number AND c.kind <> 'open' AND m.code = 0 \
                ORDER BY t.id DESC LIMIT 1), \
                (SELECT e.tx_hash FROM contract_events e WHERE e.run_id = a.vault_run_id \
                AND e.name IN ('run_finalized', 'run_voided', 'run_reclaimed') \
                AND a.ended_at IS NOT NULL ORDER BY e.id LIMIT 1), \
                (SELECT t.hash FROM calls c JOIN transaction_calls m ON m.call_id = c.id \
                JOIN chain_transactions t ON t.id = m.transaction_id WHERE c.run_id = a.run_id \
                AND c.attempt = a.number AND c.kind <> 'open' ORDER BY t.id DESC LIMIT 1)) \
                AS closing_transaction"
    };
}

pub(crate) use attempt_columns;

/// The query of a run with its present attempt, up to its `WHERE`.
///
/// It names its columns. What may be large (the input, module-gate's statements) is not among
/// them: a page of 500 runs would take half a gigabyte with their inputs.
macro_rules! snapshot_query {
    () => {
        concat!(
            "SELECT r.id, r.subject, r.user_account, r.agent_id, r.rate_version, r.budgets, \
                r.workflow_id, r.label, r.metadata::text AS metadata, r.input_digest, r.seed, \
                r.status, r.phase, r.attempt, r.cancel_requested, r.retry_requested, \
                r.operator_reason, r.failures, r.waiting_for, r.start_at, r.priority, \
                r.traceparent, r.created_at, r.updated_at, ",
            crate::rows::attempt_columns!(),
            " FROM runs r JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt"
        )
    };
}

pub(crate) use snapshot_query;

/// A run with its present attempt, from a row of `snapshot_query!`.
pub fn snapshot(row: &PgRow) -> sqlx::Result<Snapshot> {
    Ok(Snapshot {
        run: run(row)?,
        attempt: attempt(row)?,
        open_transaction: digest(row, "open_transaction")?,
        closing_transaction: digest(row, "closing_transaction")?,
    })
}

fn run(row: &PgRow) -> sqlx::Result<Run> {
    Ok(Run {
        id: RunId::from(row.try_get::<uuid::Uuid, _>("id")?),
        request: request(row)?,
        subject: row.try_get("subject")?,
        status: parse(row, "status")?,
        phase: parse(row, "phase")?,
        attempt: small(row, "attempt")?,
        cancel_requested: row.try_get("cancel_requested")?,
        retry_requested: row.try_get("retry_requested")?,
        operator_reason: row.try_get("operator_reason")?,
        failures: small(row, "failures")?,
        waiting_for: row.try_get("waiting_for")?,
        start_at: row.try_get("start_at")?,
        priority: priority(row)?,
        traceparent: row.try_get("traceparent")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn request(row: &PgRow) -> sqlx::Result<Request> {
    let rate_version = row.try_get::<Option<i64>, _>("rate_version")?;
    Ok(Request {
        user: row.try_get("user_account")?,
        agent_id: number(row.try_get::<i64, _>("agent_id")?, "agent_id")?,
        rate_version: rate_version.map(|version| number(version, "rate_version")).transpose()?,
        budgets: required_json(row, "budgets")?,
        workflow_id: row.try_get("workflow_id")?,
        label: row.try_get("label")?,
        metadata: row.try_get::<Option<String>, _>("metadata")?,
        input_digest: required_digest(row, "input_digest")?,
        seed: number(row.try_get::<i64, _>("seed")?, "seed")?,
    })
}

/// An attempt, from a row that has its number as `attempt`.
pub fn attempt(row: &PgRow) -> sqlx::Result<Attempt> {
    Ok(Attempt {
        number: small(row, "attempt")?,
        nonce: required_digest(row, "nonce")?,
        terms: json(row, "terms")?,
        vault_run_id: digest(row, "vault_run_id")?,
        manifest_hash: digest(row, "manifest_hash")?,
        escrow: escrow(row)?,
        execute_started_at: row.try_get::<Option<OffsetDateTime>, _>("execute_started_at")?,
        seal: json(row, "seal")?,
        settlement: json(row, "settlement")?,
        usage: json(row, "usage")?,
        upstreams: json(row, "upstreams")?.unwrap_or_default(),
        receipt: json(row, "receipt")?,
        failure: failure(row)?,
    })
}

fn failure(row: &PgRow) -> sqlx::Result<Option<Failure>> {
    let code = row.try_get::<Option<String>, _>("error_code")?;
    let reason = row.try_get::<Option<String>, _>("error")?;
    Ok(code.map(|code| Failure { code, reason: reason.unwrap_or_default() }))
}

fn priority(row: &PgRow) -> sqlx::Result<Option<RunPriority>> {
    let name = row.try_get::<Option<&str>, _>("priority")?;
    name.map(|name| name.parse().map_err(|error| wrong("priority", error))).transpose()
}

fn escrow(row: &PgRow) -> sqlx::Result<Escrow> {
    let name = row.try_get::<&str, _>("escrow")?;
    let all = [Escrow::None, Escrow::Open, Escrow::Settled, Escrow::Returned];
    let found = all.into_iter().find(|known| known.name() == name);
    found.ok_or_else(|| wrong("escrow", format!("`{name}` is not known")))
}

fn parse<T>(row: &PgRow, column: &str) -> sqlx::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    row.try_get::<&str, _>(column)?.parse().map_err(|error| wrong(column, error))
}

fn small(row: &PgRow, column: &str) -> sqlx::Result<u32> {
    number(i64::from(row.try_get::<i32, _>(column)?), column)
}

/// A column that the schema keeps in range: a failure means that schema and code disagree.
pub fn number<T: TryFrom<i64>>(value: i64, column: &str) -> sqlx::Result<T> {
    T::try_from(value).map_err(|_| wrong(column, format!("{value} is out of range")))
}

/// 32 bytes, if the column has any.
pub fn digest(row: &PgRow, column: &str) -> sqlx::Result<Option<Digest>> {
    let bytes = row.try_get::<Option<Vec<u8>>, _>(column)?;
    bytes
        .map(|bytes| Digest::try_from(bytes.as_slice()).map_err(|error| wrong(column, error)))
        .transpose()
}

/// 32 bytes.
pub fn required_digest(row: &PgRow, column: &str) -> sqlx::Result<Digest> {
    digest(row, column)?.ok_or_else(|| wrong(column, "it is empty"))
}

/// A value from a column of JSON, if the column has any.
pub fn json<T: DeserializeOwned>(row: &PgRow, column: &str) -> sqlx::Result<Option<T>> {
    let value = row.try_get::<Option<serde_json::Value>, _>(column)?;
    value
        .map(|value| serde_json::from_value(value).map_err(|error| wrong(column, error)))
        .transpose()
}

fn required_json<T: DeserializeOwned>(row: &PgRow, column: &str) -> sqlx::Result<T> {
    json(row, column)?.ok_or_else(|| wrong(column, "it is empty"))
}

fn wrong(column: &str, why: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: why.to_string().into() }
}
