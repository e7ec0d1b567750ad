//! Every SQL statement by which the outside reads or changes runs. The caller owns the transaction.

use chassis::postgres::in_time;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Map;
use sqlx::{Execute as _, PgConnection, PgExecutor, PgPool, Postgres, QueryBuilder};
use time::OffsetDateTime;
use uuid::Uuid;
use wire::view::RunPriority;
use wire::{Digest, RunId};

use crate::error::{Error, Result};
use crate::gateway::feed::StoredEvent;
use crate::model::run::Snapshot;
use crate::model::state::Status;
use crate::rows::{SnapshotRow, snapshot_query};

/// What a list is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only runs of this account.
    pub user: Option<String>,
    /// Only runs that this part of an account asked for.
    pub subject: Option<String>,
    /// Only runs in this status.
    pub status: Option<Status>,
    /// Only runs before this one, by age.
    pub before: Option<(OffsetDateTime, Uuid)>,
    /// At most this many.
    pub limit: i64,
}

/// A row of the outbox. An event that was just committed has no position yet.
struct EventRow {
    position: Option<i64>,
    event_id: String,
    body: String,
    subject: Option<String>,
}

impl EventRow {
    fn read(self) -> Result<StoredEvent> {
        let broken = |why: &str| Error::Broken(format!("event {}: {why}", self.event_id));
        let (key, sequence) =
            self.event_id.rsplit_once(':').ok_or_else(|| broken("its id has no number"))?;
        let sequence = sequence.parse().map_err(|_| broken("its id has no number"))?;

        /// What is read of an event. One about something else than a run has no user.
        #[derive(serde::Deserialize)]
        struct Read {
            data: Data,
        }
        #[derive(serde::Deserialize)]
        struct Data {
            #[serde(default)]
            user: String,
        }
        let read: Read =
            serde_json::from_str(&self.body).map_err(|error| broken(&error.to_string()))?;
        Ok(StoredEvent {
            position: self.position.unwrap_or(i64::MAX),
            run: key.parse().ok(),
            sequence,
            user: read.data.user,
            subject: self.subject,
            body: self.body,
        })
    }
}

/// How much there is to do.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Runs that wait to be opened, now: those for whose opening no transaction is signed.
    pub queued: i64,
    /// Runs whose start lies in the future.
    pub scheduled: i64,
    /// Of the queued runs, those that wait for a place of their user or their agent.
    pub limited: i64,
    /// Runs that are being worked on.
    pub running: i64,
    /// Runs that need a person, or wait for their deadline.
    pub stuck: i64,
    /// Runs whose escrow is open.
    pub escrows_open: i64,
    /// Since when the run that has waited longest could have been opened.
    pub oldest_at: Option<OffsetDateTime>,
    /// Runs that any worker could have taken for [`OVERDUE_SECS`], and none has.
    pub overdue: i64,
    /// Runs that a worker holds.
    pub held: i64,
    /// The run that was claimed last and is still held.
    pub active: Option<Uuid>,
}

impl Load {
    /// How many runs are in each state, for the metrics. A run may be counted in several.
    pub fn by_state(&self) -> [(&'static str, u64); 7] {
        [
            ("queued", self.queued),
            ("scheduled", self.scheduled),
            ("limited", self.limited),
            ("running", self.running),
            ("stuck", self.stuck),
            ("overdue", self.overdue),
            ("escrow_open", self.escrows_open),
        ]
        .map(|(state, count)| (state, u64::try_from(count).unwrap_or_default()))
    }
}

/// By how many seconds a run's turn comes before that of a normal one that was asked for at the
/// same time. It is all that a priority does: what has waited longer than that goes first.
pub fn head_start(priority: Option<RunPriority>) -> i64 {
    /// Five minutes.
    const HEAD_START_SECS: i64 = 300;
    match priority.unwrap_or_default() {
        RunPriority::Low => -HEAD_START_SECS,
        RunPriority::Normal => 0,
        RunPriority::High => HEAD_START_SECS,
    }
}

/// Bytes that an owner has stored since a time, without those of one input.
pub async fn stored_since(
    db: impl PgExecutor<'_>,
    owner: &str,
    since: OffsetDateTime,
    without: Digest,
) -> Result<i64> {
    let sum = sqlx::query_scalar!(
        r#"SELECT coalesce(sum(length), 0)::bigint AS "sum!" FROM inputs
           WHERE owner = $1 AND created_at >= $2 AND digest <> $3"#,
        owner,
        since,
        without.as_bytes().as_slice(),
    );
    Ok(sum.fetch_one(in_time(db)).await?)
}

/// Notes that an owner has stored an input. One that is stored again lasts longer.
pub async fn keep_input(
    conn: &mut PgConnection,
    owner: &str,
    digest: Digest,
    length: i64,
    now: OffsetDateTime,
) -> Result<()> {
    let kept = sqlx::query!(
        "INSERT INTO inputs (owner, digest, length, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (owner, digest) DO UPDATE SET created_at = excluded.created_at",
        owner,
        digest.as_bytes().as_slice(),
        length,
        now,
    );
    kept.execute(in_time(conn)).await?;
    Ok(())
}

/// Locks the inputs of an owner until the transaction ends: what is counted stays what there is.
pub async fn lock_inputs(conn: &mut PgConnection, owner: &str) -> Result<()> {
    sqlx::query_scalar!(
        r#"SELECT pg_advisory_xact_lock(hashtextextended($1, 0))::text AS "locked""#,
        format!("inputs\n{owner}"),
    )
    .fetch_one(in_time(conn))
    .await?;
    Ok(())
}

/// Length in bytes of an input that this owner has stored, and when.
pub async fn input_of(
    db: &PgPool,
    owner: &str,
    digest: Digest,
) -> Result<Option<(i64, OffsetDateTime)>> {
    let row = sqlx::query!(
        "SELECT length, created_at FROM inputs WHERE owner = $1 AND digest = $2",
        owner,
        digest.as_bytes().as_slice(),
    );
    Ok(row.fetch_optional(in_time(db)).await?.map(|row| (row.length, row.created_at)))
}

/// Whether this key was answered before.
pub async fn is_answered(db: &PgPool, user: &str, key: &str) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM idempotency_keys WHERE user_account = $1 AND key = $2)
            AS "found!""#,
        user,
        key,
    );
    Ok(found.fetch_one(in_time(db)).await?)
}

/// The runs of a page, newest first, one after the other: all of them together may be large.
pub fn list<'a>(
    db: &'a PgPool,
    query: &'a mut QueryBuilder<Postgres>,
) -> BoxStream<'a, Result<Snapshot>> {
    let rows = query.build_query_as::<SnapshotRow>().fetch(in_time(db));
    rows.map(|row| Ok(row?.read()?)).boxed()
}

/// The statement of a page. It names only what the page is narrowed to: with `$1 IS NULL OR …` one
/// plan would have to serve every combination, and it reads the whole table for a status that few
/// runs have. Only these conditions are put together at run time; the rest is checked.
pub fn list_query(filter: &Filter) -> QueryBuilder<Postgres> {
    let query = snapshot_query!("AND a.number = r.attempt WHERE true");
    let mut query = QueryBuilder::new(query.sql().as_str());
    if let Some(user) = &filter.user {
        query.push(" AND r.user_account = ").push_bind(user.clone());
    }
    if let Some(subject) = &filter.subject {
        query.push(" AND r.subject = ").push_bind(subject.clone());
    }
    if let Some(status) = filter.status {
        query.push(" AND r.status = ").push_bind(status.name());
    }
    if let Some((created_at, id)) = filter.before {
        query.push(" AND (r.created_at, r.id) < (").push_bind(created_at);
        query.push(", ").push_bind(id).push(")");
    }
    query.push(" ORDER BY r.created_at DESC, r.id DESC LIMIT ").push_bind(filter.limit);
    query
}

/// The position of the newest event that has one; 0 if none has.
pub async fn newest_position(db: &PgPool) -> Result<i64> {
    let newest =
        sqlx::query_scalar!(r#"SELECT coalesce(max(position), 0) AS "newest!" FROM outbox"#);
    Ok(newest.fetch_one(in_time(db)).await?)
}

/// Events after this position, in their order.
pub async fn events_after(db: &PgPool, position: i64, limit: i64) -> Result<Vec<StoredEvent>> {
    // Which part of an account asked for a run is no part of its events. An id that is no UUID is
    // that of another entity, and must not reach the cast.
    let rows = sqlx::query_as!(
        EventRow,
        r#"SELECT o.position, o.event_id, o.body, r.subject AS "subject?"
           FROM outbox o LEFT JOIN runs r ON r.id = CASE
               WHEN o.event_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:'
               THEN split_part(o.event_id, ':', 1)::uuid END
           WHERE o.position > $1 ORDER BY o.position LIMIT $2"#,
        position,
        limit,
    );
    rows.fetch_all(in_time(db)).await?.into_iter().map(EventRow::read).collect()
}

/// Facts about one run after this one, in their order. They are numbered without a gap, so each is
/// found by its id.
pub async fn events_of_run(
    db: &PgPool,
    run: RunId,
    after: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>> {
    let rows = sqlx::query_as!(
        EventRow,
        r#"SELECT o.position, o.event_id, o.body, NULL AS "subject?"
           FROM generate_series($2::bigint + 1, $2::bigint + $3::bigint) AS number
           JOIN outbox o ON o.event_id = $1::text || ':' || number
           ORDER BY number"#,
        run.to_string(),
        after,
        limit,
    );
    rows.fetch_all(in_time(db)).await?.into_iter().map(EventRow::read).collect()
}

/// Takes a failed run that has ended back to the queue. The caller has locked it and added an
/// attempt.
pub async fn requeue(conn: &mut PgConnection, id: RunId, now: OffsetDateTime) -> Result<()> {
    // The token grows: a worker that still believes to hold the run can write nothing (R1).
    let done = sqlx::query!(
        "UPDATE runs SET phase = 'queued', status = 'pending', lease_token = lease_token + 1,
            failures = 0, waiting_for = NULL, wake_at = now(), turn_at = now(),
            updated_at = $2
         WHERE id = $1 AND phase = 'done' AND status = 'failed'",
        id.as_uuid(),
        now,
    );
    expect_one_row(done.execute(in_time(conn)).await?.rows_affected(), id)
}

/// Ends a run for which nothing was signed, or nothing that could still land: a run is in the queue
/// only then. The caller has locked it, so no envelope can be stored meanwhile; the worker that
/// holds it, if one does, loses it, and its wish to be opened is withdrawn. Answers whether there
/// was such a wish.
pub async fn cancel_unopened(
    conn: &mut PgConnection,
    id: RunId,
    now: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE runs SET phase = 'done', status = 'cancelled', lease_token = lease_token + 1,
            lease_owner = NULL, lease_until = NULL, waiting_for = NULL, cancel_requested = true,
            updated_at = $2
         WHERE id = $1 AND (phase = 'queued' OR phase = 'opening' AND NOT EXISTS (
            SELECT 1 FROM calls c JOIN transaction_calls m ON m.call_id = c.id
                WHERE c.run_id = $1 AND c.attempt = runs.attempt))",
        id.as_uuid(),
        now,
    );
    expect_one_row(done.execute(in_time(&mut *conn)).await?.rows_affected(), id)?;
    let withdrawn = sqlx::query!(
        "UPDATE calls SET state = 'withdrawn', updated_at = $2
         WHERE run_id = $1 AND state = 'wanted'",
        id.as_uuid(),
        now,
    );
    Ok(withdrawn.execute(in_time(conn)).await?.rows_affected() > 0)
}

/// Asks for an opened run to be called off before its module starts.
pub async fn request_cancel(conn: &mut PgConnection, id: RunId) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE runs SET cancel_requested = true, wake_at = now()
         WHERE id = $1 AND phase IN ('opening', 'executing')",
        id.as_uuid(),
    );
    expect_one_row(done.execute(in_time(conn)).await?.rows_affected(), id)
}

/// How much there is to do (R6).
pub async fn load(db: &PgPool) -> Result<Load> {
    Ok(load_query().fetch_one(in_time(db)).await?)
}

/// The statement of [`load`]. Only unfinished runs are read, by their index.
pub fn load_query()
-> Map<'static, Postgres, impl FnMut(PgRow) -> sqlx::Result<Load> + Send, PgArguments> {
    sqlx::query_as!(
        Load,
        r#"SELECT
            count(*) FILTER (WHERE w.waits
                AND coalesce(r.start_at, r.created_at) <= now()) AS "queued!",
            count(*) FILTER (WHERE r.status = 'pending' AND r.start_at > now()) AS "scheduled!",
            count(*) FILTER (WHERE r.phase = 'queued' AND r.admitted_at IS NULL
                AND r.waiting_for IS NOT NULL) AS "limited!",
            count(*) FILTER (WHERE r.status IN ('opening', 'running', 'finalizing')
                AND r.operator_reason IS NULL AND NOT w.waits) AS "running!",
            count(*) FILTER (WHERE r.operator_reason IS NOT NULL
                OR r.phase IN ('escrow_open', 'reclaiming')) AS "stuck!",
            count(*) FILTER (WHERE a.escrow = 'open') AS "escrows_open!",
            min(greatest(r.created_at, r.start_at)) FILTER (WHERE w.waits
                AND coalesce(r.start_at, r.created_at) <= now()) AS oldest_at,
            count(*) FILTER (WHERE r.operator_reason IS NULL
                AND NOT (r.phase = 'queued' AND r.admitted_at IS NULL
                    AND r.waiting_for IS NOT NULL)
                AND r.wake_at < now() - $1::bigint * interval '1 second'
                AND coalesce(r.lease_until, r.wake_at)
                    < now() - $1::bigint * interval '1 second') AS "overdue!",
            count(*) FILTER (WHERE r.lease_until > now()) AS "held!",
            (SELECT id FROM runs WHERE phase <> 'done' AND lease_until > now()
                ORDER BY lease_until DESC LIMIT 1) AS active
         FROM runs r JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
            -- A run is back in the queue when what was signed for its opening came to nothing.
            CROSS JOIN LATERAL (SELECT r.status = 'pending' OR (r.phase = 'opening'
                AND EXISTS (SELECT 1 FROM calls c WHERE c.run_id = r.id AND c.attempt = r.attempt
                    AND c.kind = 'open' AND c.state = 'wanted')) AS waits) w
         WHERE r.phase <> 'done'"#,
        OVERDUE_SECS,
    )
}

/// How long the network takes for a call, in milliseconds: from a transaction's signature until its
/// result is known, the mean of the last ones, by as many calls as were seen to go at once, on all
/// channels. Of openings and settlements those count of which fewer went at once. `None` if there
/// were none.
pub async fn transaction_ms(db: &PgPool) -> Result<Option<i64>> {
    let mean = sqlx::query_scalar!(
        "WITH newest AS (
            SELECT kind, updated_at - created_at AS took, (SELECT count(*)
                FROM transaction_calls m WHERE m.transaction_id = t.id) AS calls
            FROM chain_transactions t
            WHERE state IN ('succeeded', 'failed') ORDER BY id DESC LIMIT 40),
         together AS (SELECT max(calls) AS calls FROM newest WHERE kind IN ('open', 'finalize')
            GROUP BY kind)
         SELECT ceil(1000 * avg(extract(epoch FROM took))
            / greatest((SELECT min(calls) FROM together), 1)
            / greatest((SELECT count(*) FROM channels), 1))::bigint FROM newest",
    );
    Ok(mean.fetch_one(in_time(db)).await?)
}

/// What there is to do for executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutionLoad {
    /// Runs that are opened, or are being opened, and were not executed yet.
    pub opened: i64,
    /// How long an execution takes on the whole, in milliseconds: the mean, by as many as go at one
    /// time. `None` if none was measured, or no executor works.
    pub each_ms: Option<i64>,
}

/// What there is to do for executors: of what waits and is opened, what is known of its agents, and
/// where nothing waits, of those that were executed lately. Only unfinished runs are read.
pub async fn executions(db: &PgPool) -> Result<ExecutionLoad> {
    let found = sqlx::query_as!(
        ExecutionLoad,
        r#"WITH opened AS (SELECT greatest(mean_ms, running_ms) AS ms FROM unexecuted_runs),
            waiting AS (SELECT t.mean_ms AS ms FROM runs r
                LEFT JOIN execution_times t ON t.agent_id = r.agent_id
                WHERE r.phase = 'queued' AND r.operator_reason IS NULL
                    AND coalesce(r.start_at, r.created_at) <= now()),
            known AS (SELECT coalesce(
                (SELECT avg(ms) FROM (SELECT ms FROM opened UNION ALL SELECT ms FROM waiting)
                    AS every),
                (SELECT avg(mean_ms) FROM execution_times
                    WHERE measured_at > now() - interval '1 hour')) AS ms)
         SELECT (SELECT count(*) FROM opened) AS "opened!",
            ceil(k.ms / nullif((SELECT places FROM working_executors), 0))::bigint AS each_ms
         FROM known k"#,
    );
    Ok(found.fetch_one(in_time(db)).await?)
}

/// How long a run may be there to be taken before it is called overdue, in seconds. Longer than a
/// lease that is not prolonged, so that the death of a worker alone does not count.
pub const OVERDUE_SECS: i64 = 45;

fn expect_one_row(rows: u64, run: RunId) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Error::LeaseLost(run)) }
}
