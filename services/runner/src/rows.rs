//! Rows of `runs` and `attempts` become values here or not at all.

use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;
use wire::{InvalidBytes32, RunId};

use crate::model::run::{Attempt, Escrow, Request, Run, Snapshot};
use crate::model::settlement::Failure;

/// A run with one of its attempts, as `snapshot_query!` selects it.
#[derive(Debug, sqlx::FromRow)]
pub struct SnapshotRow {
    pub(crate) id: Uuid,
    pub(crate) subject: Option<String>,
    pub(crate) user_account: String,
    pub(crate) agent_id: i64,
    pub(crate) rate_version: Option<i64>,
    pub(crate) budgets: Value,
    pub(crate) workflow_id: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) metadata: Option<String>,
    pub(crate) input_digest: Vec<u8>,
    pub(crate) seed: i64,
    pub(crate) status: String,
    pub(crate) phase: String,
    /// The number of the present attempt.
    pub(crate) attempt: i32,
    pub(crate) cancel_requested: bool,
    pub(crate) retry_requested: bool,
    pub(crate) operator_reason: Option<String>,
    pub(crate) failures: i32,
    pub(crate) waiting_for: Option<String>,
    pub(crate) start_at: Option<OffsetDateTime>,
    pub(crate) priority: Option<String>,
    pub(crate) traceparent: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
    /// The number of the attempt that this row has.
    pub(crate) number: i32,
    pub(crate) nonce: Vec<u8>,
    pub(crate) terms: Option<Value>,
    pub(crate) vault_run_id: Option<Vec<u8>>,
    pub(crate) manifest_hash: Option<Vec<u8>>,
    pub(crate) escrow: String,
    pub(crate) execute_started_at: Option<OffsetDateTime>,
    pub(crate) seal: Option<Value>,
    pub(crate) settlement: Option<Value>,
    pub(crate) usage: Option<Value>,
    pub(crate) upstreams: Option<Value>,
    pub(crate) receipt: Option<Value>,
    pub(crate) error_code: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) attempt_created_at: OffsetDateTime,
    pub(crate) ended_at: Option<OffsetDateTime>,
    pub(crate) open_transaction: Option<Vec<u8>>,
    pub(crate) closing_transaction: Option<Vec<u8>>,
}

/// The checked query of runs `r` with attempts `a`: `$tail` follows the condition of their join and
/// says which of them.
///
/// It names its columns. What may be large (the input, module-gate's statements) is not among
/// them: a page of 500 runs would take half a gigabyte with their inputs.
///
/// The opening transaction is the one in which its call was done, else the newest. The closing one
/// is the one in which its call was done; else the one that closed it on chain without a call of
/// ours, by its event; else the newest.
macro_rules! snapshot_query {
    ($tail:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            crate::rows::SnapshotRow,
            "SELECT r.id, r.subject, r.user_account, r.agent_id, r.rate_version, r.budgets,
                r.workflow_id, r.label, r.metadata::text AS metadata, r.input_digest, r.seed,
                r.status, r.phase, r.attempt, r.cancel_requested, r.retry_requested,
                r.operator_reason, r.failures, r.waiting_for, r.start_at, r.priority,
                r.traceparent, r.created_at, r.updated_at, a.number,
                a.nonce, a.terms, a.vault_run_id, a.manifest_hash, a.escrow, a.execute_started_at,
                a.seal, a.settlement, a.usage, a.upstreams, a.receipt, a.error_code, a.error,
                a.created_at AS attempt_created_at, a.ended_at,
                (SELECT t.hash FROM calls c JOIN transaction_calls m ON m.call_id = c.id
                    JOIN chain_transactions t ON t.id = m.transaction_id WHERE c.run_id = a.run_id
                    AND c.attempt = a.number AND c.kind = 'open'
                    ORDER BY (m.code IS NOT NULL AND m.code = 0) DESC, t.id DESC LIMIT 1)
                    AS open_transaction,
                coalesce((SELECT t.hash FROM calls c JOIN transaction_calls m ON m.call_id = c.id
                    JOIN chain_transactions t ON t.id = m.transaction_id WHERE c.run_id = a.run_id
                    AND c.attempt = a.number AND c.kind <> 'open' AND m.code = 0
                    ORDER BY t.id DESC LIMIT 1),
                    (SELECT e.tx_hash FROM contract_events e WHERE e.run_id = a.vault_run_id
                    AND e.name IN ('run_finalized', 'run_voided', 'run_reclaimed')
                    AND a.ended_at IS NOT NULL ORDER BY e.id LIMIT 1),
                    (SELECT t.hash FROM calls c JOIN transaction_calls m ON m.call_id = c.id
                    JOIN chain_transactions t ON t.id = m.transaction_id WHERE c.run_id = a.run_id
                    AND c.attempt = a.number AND c.kind <> 'open' ORDER BY t.id DESC LIMIT 1))
                    AS closing_transaction
             FROM runs r JOIN attempts a ON a.run_id = r.id "
                + $tail
            $(, $argument)*
        )
    };
}

pub(crate) use snapshot_query;

impl SnapshotRow {
    /// The run with the attempt of this row.
    pub fn read(self) -> sqlx::Result<Snapshot> {
        let status = parsed(&self.status, "status")?;
        let phase = parsed(&self.phase, "phase")?;
        let priority = self.priority.as_deref().map(|name| parsed(name, "priority"));
        let run = Run {
            id: RunId::from(self.id),
            request: Request {
                user: parsed(&self.user_account, "user_account")?,
                agent_id: number(self.agent_id, "agent_id")?,
                rate_version: optional_number(self.rate_version, "rate_version")?,
                budgets: from_json(self.budgets, "budgets")?,
                workflow_id: self.workflow_id,
                label: self.label,
                metadata: self.metadata,
                input_digest: bytes32(&self.input_digest, "input_digest")?,
                seed: number(self.seed, "seed")?,
            },
            subject: self.subject,
            status,
            phase,
            attempt: number(i64::from(self.attempt), "attempt")?,
            cancel_requested: self.cancel_requested,
            retry_requested: self.retry_requested,
            operator_reason: self.operator_reason,
            failures: number(i64::from(self.failures), "failures")?,
            waiting_for: self.waiting_for,
            start_at: self.start_at,
            priority: priority.transpose()?,
            traceparent: self.traceparent,
            created_at: self.created_at,
            updated_at: self.updated_at,
        };
        let failure =
            self.error_code.map(|code| Failure { code, reason: self.error.unwrap_or_default() });
        let attempt = Attempt {
            number: number(i64::from(self.number), "number")?,
            nonce: bytes32(&self.nonce, "nonce")?,
            terms: optional_json(self.terms, "terms")?,
            vault_run_id: optional_bytes32(self.vault_run_id.as_deref(), "vault_run_id")?,
            manifest_hash: optional_bytes32(self.manifest_hash.as_deref(), "manifest_hash")?,
            escrow: escrow(&self.escrow)?,
            execute_started_at: self.execute_started_at,
            seal: optional_json(self.seal, "seal")?,
            settlement: optional_json(self.settlement, "settlement")?,
            usage: optional_json(self.usage, "usage")?,
            upstreams: optional_json(self.upstreams, "upstreams")?.unwrap_or_default(),
            receipt: optional_json(self.receipt, "receipt")?,
            failure,
        };
        let (opened, closed) = (self.open_transaction, self.closing_transaction);
        Ok(Snapshot {
            run,
            attempt,
            open_transaction: optional_bytes32(opened.as_deref(), "open_transaction")?,
            closing_transaction: optional_bytes32(closed.as_deref(), "closing_transaction")?,
        })
    }
}

fn escrow(name: &str) -> sqlx::Result<Escrow> {
    let all = [Escrow::None, Escrow::Open, Escrow::Settled, Escrow::Returned];
    let found = all.into_iter().find(|known| known.name() == name);
    found.ok_or_else(|| wrong("escrow", format!("`{name}` is not known")))
}

/// A name from a closed list.
pub fn parsed<T>(text: &str, column: &str) -> sqlx::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| wrong(column, error))
}

/// A column that the schema keeps in range: a failure means that schema and code disagree.
pub fn number<T: TryFrom<i64>>(value: i64, column: &str) -> sqlx::Result<T> {
    T::try_from(value).map_err(|_| wrong(column, format!("{value} is out of range")))
}

/// [`number`], if the column has any.
pub fn optional_number<T: TryFrom<i64>>(
    value: Option<i64>,
    column: &str,
) -> sqlx::Result<Option<T>> {
    value.map(|value| number(value, column)).transpose()
}

/// 32 bytes, of whatever meaning.
pub fn bytes32<'b, T>(bytes: &'b [u8], column: &str) -> sqlx::Result<T>
where
    T: TryFrom<&'b [u8], Error = InvalidBytes32>,
{
    T::try_from(bytes).map_err(|error| wrong(column, error))
}

/// [`bytes32`], if the column has any.
pub fn optional_bytes32<'b, T>(bytes: Option<&'b [u8]>, column: &str) -> sqlx::Result<Option<T>>
where
    T: TryFrom<&'b [u8], Error = InvalidBytes32>,
{
    bytes.map(|bytes| bytes32(bytes, column)).transpose()
}

/// A value from a column of JSON.
fn from_json<T: DeserializeOwned>(value: Value, column: &str) -> sqlx::Result<T> {
    serde_json::from_value(value).map_err(|error| wrong(column, error))
}

/// A value from a column of JSON, if the column has any.
pub fn optional_json<T: DeserializeOwned>(
    value: Option<Value>,
    column: &str,
) -> sqlx::Result<Option<T>> {
    value.map(|value| from_json(value, column)).transpose()
}

fn wrong(column: &str, why: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: why.to_string().into() }
}
