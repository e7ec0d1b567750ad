//! Every SQL statement by which a worker or an operator reads or changes a run. The caller owns the
//! transaction.
//!
//! A write begins with [`fence`]: it locks the run's row if the worker still holds it in the phase
//! it believes it to be in, and fails otherwise (R1). Everything after it in the same transaction
//! may rely on both.

use std::time::Duration;

use chassis::postgres::{self, in_time};
use sqlx::{PgConnection, PgPool};
use stellar::Address;
use time::OffsetDateTime;
use wire::view::UpstreamView;
use wire::{Nonce, RunId, Usage};

use crate::chain::call::SignedCall;
use crate::chain::store::calls;
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};
use crate::metrics;
use crate::model::policy::{Lookahead, Places};
use crate::model::run::{Escrow, RunLease, Snapshot, Statements};
use crate::model::settlement::{Failure, Receipt, Seal, Settlement};
use crate::model::state::{Lane, Phase, Status};
use crate::model::terms::Terms;
use crate::rows::{self, SnapshotRow, snapshot_query};

/// A run with its present attempt, by its id.
pub async fn load(conn: &mut PgConnection, id: RunId) -> Result<Option<Snapshot>> {
    let row = snapshot_query!("AND a.number = r.attempt WHERE r.id = $1", id.as_uuid());
    Ok(row.fetch_optional(in_time(conn)).await?.map(SnapshotRow::read).transpose()?)
}

/// A run's input: canonical JSON (RFC 8785).
pub async fn input(db: &PgPool, run: RunId) -> Result<Vec<u8>> {
    let input = sqlx::query_scalar!("SELECT input FROM runs WHERE id = $1", run.as_uuid());
    let input = input.fetch_optional(in_time(db)).await?;
    input.ok_or_else(|| Error::Broken(format!("run {run} has no input any more")))
}

/// What module-gate signed about an attempt.
pub async fn statements(db: &PgPool, (run, number): (RunId, u32)) -> Result<Statements> {
    let found = sqlx::query_as!(
        Statements,
        "SELECT shipping, statement AS execution FROM attempts WHERE run_id = $1 AND number = $2",
        run.as_uuid(),
        signed(number),
    );
    Ok(found.fetch_optional(in_time(db)).await?.unwrap_or_default())
}

/// The advisory lock under which places are given to runs, so that two processes that count at one
/// time do not both give the last one.
const PLACES_LOCK: i64 = 0x6c75_6d69_6f5f_706c;

/// How much later a run's turn comes for each run of the same user that is served before it, in
/// seconds: the turns of users alternate, and what has waited for longer goes first anyway.
const TURN_SECS: i64 = 600;
/// How many runs more than are taken are looked at, as another process may be taking the first.
const SPARE: i64 = 16;
/// How many runs are looked at that wait for the gates. They are few: no opening is far ahead of
/// the executions.
const MOST_OPENED: i64 = 1_000;

/// Takes the `most` most urgent runs that workers of `lane` can go on with, or as many as there are:
/// what ends an escrow before what begins one, and of equals the one whose turn it is. A run whose
/// call is on its way is left alone until it is woken, and one of the queue until its user and its
/// agent have a place for it.
///
/// Of the queue, the oldest runs are looked at, and the oldest one of each user, up to 200 users.
///
/// A run is its runner's, whose key alone settles it. Where no engine has that key, others take what
/// was not opened, and what only waits to be reclaimed.
///
/// Where places are limited, fewer may be taken than could be; none only if there is none.
pub async fn claim(
    db: &PgPool,
    (owner, runner): (&str, &str),
    lease_ms: i64,
    lane: Lane,
    places: Places,
    most: usize,
) -> Result<Vec<RunLease>> {
    // A limit on which a few can be added.
    let most = i64::try_from(most).unwrap_or(i64::MAX / 2);
    // Workers of the gates do not pass over the queue.
    let (looked_at, first_rank, last_rank) = match lane {
        Lane::Chain => (most + SPARE, 0_i16, 5_i16),
        Lane::Gates => (MOST_OPENED, 3, 4),
    };
    let claimed = sqlx::query!(
        "WITH RECURSIVE
         -- Who has all places, counted once and not for each run of the queue.
         full_users AS MATERIALIZED (
            SELECT user_account FROM runs WHERE under_way
            GROUP BY user_account HAVING count(*) >= $4::bigint),
         full_agents AS MATERIALIZED (
            SELECT agent_id FROM runs WHERE under_way
            GROUP BY agent_id HAVING count(*) >= $5::bigint),
         claimable AS NOT MATERIALIZED (
            SELECT r.id, r.user_account, r.phase, r.rank, r.turn_at
            FROM runs r WHERE r.phase <> 'done' AND r.operator_reason IS NULL
            AND r.rank BETWEEN $11::smallint AND $12::smallint
            AND r.wake_at <= now() AND (r.lease_until IS NULL OR r.lease_until < now())
            AND (r.phase IN ('executing', 'sealing')) = $3::boolean
            AND (r.runner IS NULL OR r.runner = $6
                OR (NOT EXISTS (SELECT 1 FROM served_identities i WHERE i.runner = r.runner)
                    AND (r.phase IN ('queued', 'reclaiming')
                        OR EXISTS (SELECT 1 FROM attempts a WHERE a.run_id = r.id
                            AND a.number = r.attempt
                            AND a.deadline < (SELECT max(closed_at) FROM networks)))))
            AND (r.phase <> 'queued' OR r.admitted_at IS NOT NULL
                OR (($4 IS NULL OR r.user_account NOT IN (SELECT user_account FROM full_users))
                    AND ($5 IS NULL OR r.agent_id NOT IN (SELECT agent_id FROM full_agents))))),
         oldest AS (SELECT * FROM claimable c ORDER BY c.rank, c.turn_at LIMIT $8::bigint),
         -- Where more wait than these: the oldest run of one user after the other.
         firsts AS (
            (SELECT c.id, c.user_account, c.rank, c.turn_at, 1 AS place FROM claimable c
                WHERE c.phase = 'queued' AND NOT $3::boolean
                    AND (SELECT count(*) FROM oldest) = $8::bigint
                ORDER BY c.user_account, c.turn_at LIMIT 1)
            UNION ALL
            SELECT n.id, n.user_account, n.rank, n.turn_at, f.place + 1
            FROM firsts f CROSS JOIN LATERAL (SELECT c.* FROM claimable c
                WHERE c.phase = 'queued' AND c.user_account > f.user_account
                ORDER BY c.user_account, c.turn_at LIMIT 1) n
            WHERE f.place < 200),
         candidates AS (
            SELECT o.id, o.user_account, o.rank, o.turn_at FROM oldest o
            UNION SELECT f.id, f.user_account, f.rank, f.turn_at FROM firsts f),
         -- How many runs of a user are under way, and wait for no worker. Counted once for each
         -- user, and not for each run of that user.
         served AS MATERIALIZED (
            SELECT u.user_account, s.runs FROM (SELECT DISTINCT user_account FROM candidates) u
            CROSS JOIN LATERAL (SELECT count(*) AS runs FROM (SELECT FROM runs o
                WHERE o.user_account = u.user_account AND o.under_way
                    AND (o.lease_until > now() OR o.wake_at > now()) LIMIT 100) AS counted) s),
         turns AS (
            SELECT c.id, c.rank, c.turn_at + interval '1 second' * $9::bigint
                * (s.runs + row_number() OVER (PARTITION BY c.rank, c.user_account
                    ORDER BY c.turn_at) - 1) AS turn
            FROM candidates c JOIN served s USING (user_account)
            ORDER BY c.rank, turn LIMIT $7::bigint + $10::bigint),
         urgent AS (
            SELECT r.id, r.user_account, r.agent_id, t.rank, t.turn,
                r.phase = 'queued' AND r.admitted_at IS NULL AS takes_place
            FROM turns t JOIN runs r ON r.id = t.id
            -- Once more, since another process may have taken it meanwhile.
            WHERE r.phase <> 'done' AND r.operator_reason IS NULL AND r.wake_at <= now()
                AND (r.lease_until IS NULL OR r.lease_until < now())
                AND (r.phase IN ('executing', 'sealing')) = $3::boolean
            ORDER BY t.rank, t.turn LIMIT $7::bigint FOR UPDATE OF r SKIP LOCKED),
         -- How many places of its user and its agent have been given when it is a run's turn.
         placed AS (
            SELECT u.id, NOT u.takes_place OR (
                ($4::bigint IS NULL OR (SELECT count(*) FROM runs o
                        WHERE o.user_account = u.user_account AND o.under_way)
                    + row_number() OVER (PARTITION BY u.user_account, u.takes_place
                        ORDER BY u.rank, u.turn) <= $4)
                AND ($5::bigint IS NULL OR (SELECT count(*) FROM runs o
                        WHERE o.agent_id = u.agent_id AND o.under_way)
                    + row_number() OVER (PARTITION BY u.agent_id, u.takes_place
                        ORDER BY u.rank, u.turn) <= $5)) AS has_place
            FROM urgent u)
         UPDATE runs r SET lease_owner = $1, lease_token = lease_token + 1,
            lease_until = now() + $2::bigint * interval '1 millisecond',
            waiting_for = CASE WHEN admitted_at IS NOT NULL THEN waiting_for END,
            admitted_at = coalesce(admitted_at, clock_timestamp())
         FROM placed p WHERE r.id = p.id AND p.has_place
         RETURNING r.id, r.lease_token,
            extract(epoch FROM now() - r.wake_at)::double precision AS \"waited!\"",
        owner,
        lease_ms,
        lane == Lane::Gates,
        places.of_user(),
        places.of_agent(),
        runner,
        most,
        looked_at,
        TURN_SECS,
        SPARE,
        first_rank,
        last_rank,
    );
    // Only openings take places, and workers of the other lane take none of the queue.
    let rows = if places.is_limited() && lane == Lane::Chain {
        let mut tx = chassis::postgres::begin(db).await?;
        sqlx::query!("SELECT pg_advisory_xact_lock($1)", PLACES_LOCK)
            .fetch_one(in_time(&mut *tx))
            .await?;
        // What it counts begins after the lock is held.
        let rows = claimed.fetch_all(in_time(&mut *tx)).await?;
        postgres::commit(tx).await?;
        rows
    } else {
        claimed.fetch_all(in_time(db)).await?
    };
    let leases = rows.into_iter().map(|row| {
        metrics::claimed(Duration::try_from_secs_f64(row.waited).unwrap_or_default());
        RunLease { id: RunId::from(row.id), token: row.lease_token }
    });
    Ok(leases.collect())
}

/// Says that an engine has this runner's key.
pub async fn serve_identity(db: &PgPool, runner: &str) -> Result<()> {
    let done = sqlx::query!(
        "INSERT INTO identities (runner, seen_at) VALUES ($1, now())
         ON CONFLICT (runner) DO UPDATE SET seen_at = now()
         WHERE identities.seen_at < now() - interval '5 seconds'",
        runner,
    );
    done.execute(in_time(db)).await?;
    Ok(())
}

/// Says that this engine runs so many modules at one time. Engines that are gone are forgotten.
pub async fn serve_executions(db: &PgPool, owner: &str, executions: i64) -> Result<()> {
    let done = sqlx::query!(
        "WITH gone AS (DELETE FROM executors WHERE owner IN (SELECT owner FROM executors
                WHERE seen_at < now() - interval '1 hour' AND owner <> $1
                FOR UPDATE SKIP LOCKED))
         INSERT INTO executors (owner, places, seen_at) VALUES ($1, $2, now())
         ON CONFLICT (owner) DO UPDATE SET places = EXCLUDED.places, seen_at = now()",
        owner,
        executions,
    );
    done.execute(in_time(db)).await?;
    Ok(())
}

/// Says that this engine runs no more modules.
pub async fn end_executions(db: &PgPool, owner: &str) -> Result<()> {
    sqlx::query!("DELETE FROM executors WHERE owner = $1", owner).execute(in_time(db)).await?;
    Ok(())
}

/// Leaves a run in the queue to one of these runners that is served. `false` if none of them is.
pub async fn leave_to(
    conn: &mut PgConnection,
    lease: RunLease,
    others: &[Address],
) -> Result<bool> {
    let others: Vec<_> = others.iter().map(ToString::to_string).collect();
    let done = sqlx::query!(
        "UPDATE runs r SET runner = i.runner, waiting_for = 'the runner that the user has granted'
         FROM (SELECT runner FROM served_identities WHERE runner = ANY($3) ORDER BY runner LIMIT 1) i
         WHERE r.id = $1 AND r.lease_token = $2 AND r.phase = 'queued'",
        lease.id.as_uuid(),
        lease.token,
        &others,
    );
    Ok(done.execute(in_time(conn)).await?.rows_affected() == 1)
}

/// Says of runs in the queue that wait for a place of their user or their agent that they do.
/// Each is written once, however long it waits.
pub async fn note_places(db: &PgPool, places: Places) -> Result<()> {
    let (of_user, of_agent) = (places.of_user(), places.of_agent());
    let done = sqlx::query!(
        "WITH users AS MATERIALIZED (
                SELECT user_account, count(*) AS taken FROM runs WHERE under_way
                GROUP BY user_account HAVING count(*) >= $1),
            agents AS MATERIALIZED (
                SELECT agent_id, count(*) AS taken FROM runs WHERE under_way
                GROUP BY agent_id HAVING count(*) >= $2),
            full_up AS (SELECT r.id, CASE WHEN u.taken IS NOT NULL
                    THEN 'an earlier run of this user to end: ' || $1::text || ' at one time'
                    ELSE 'an earlier run of this agent to end: ' || $2::text || ' at one time'
                END AS words
                FROM runs r LEFT JOIN users u ON u.user_account = r.user_account
                    LEFT JOIN agents a ON a.agent_id = r.agent_id
                WHERE r.phase = 'queued' AND r.admitted_at IS NULL AND r.wake_at <= now()
                    AND (u.taken IS NOT NULL OR a.taken IS NOT NULL))
         UPDATE runs r SET waiting_for = f.words FROM full_up f
         WHERE r.id = f.id AND r.admitted_at IS NULL AND r.waiting_for IS DISTINCT FROM f.words",
        of_user,
        of_agent,
    );
    done.execute(in_time(db)).await?;
    Ok(())
}

/// Says of runs that are not opened because the executors have enough to do that they wait for one.
/// Each is written once, however long it waits.
pub async fn note_executors(db: &PgPool, lookahead: Lookahead) -> Result<()> {
    // A run whose row is locked is not waited for: what locks it may wait for one that is locked
    // here. It is written the next time.
    let done = sqlx::query!(
        "WITH held AS (SELECT r.id FROM opened_ahead($1, $2) a, calls c
                JOIN runs r ON r.id = c.run_id AND r.attempt = c.attempt
                WHERE a.runs >= a.places AND a.ms > a.places * $3::bigint
                    AND c.state = 'wanted' AND c.kind = 'open' AND c.failures = 0
                    AND (c.reserved_until IS NULL OR c.reserved_until < now())
                    AND r.phase = 'queued' AND r.waiting_for = 'a place in a transaction'
                FOR UPDATE OF r SKIP LOCKED)
         UPDATE runs r SET waiting_for = 'an executor' FROM held h WHERE r.id = h.id",
        lookahead.executions,
        lookahead.unmeasured_ms,
        lookahead.patience_ms,
    );
    done.execute(in_time(db)).await?;
    Ok(())
}

/// Prolongs these leases. Answers those that are lost: another worker holds the run by now, or it
/// was let go of.
pub async fn heartbeat(db: &PgPool, leases: &[RunLease], lease_ms: i64) -> Result<Vec<RunLease>> {
    let ids: Vec<_> = leases.iter().map(|lease| *lease.id.as_uuid()).collect();
    let tokens: Vec<_> = leases.iter().map(|lease| lease.token).collect();
    // A run whose row is locked is not waited for, since what locks it may wait for a run whose row
    // is locked here. It is prolonged by the next heartbeat.
    let lost = sqlx::query!(
        "WITH held AS (SELECT r.id FROM UNNEST($1::uuid[], $2::bigint[]) AS h (id, token)
                JOIN runs r ON r.id = h.id
                WHERE r.lease_token = h.token AND r.lease_until IS NOT NULL
                FOR UPDATE OF r SKIP LOCKED),
            prolonged AS (UPDATE runs r
                SET lease_until = now() + $3::bigint * interval '1 millisecond'
                FROM held WHERE r.id = held.id)
         SELECT h.id AS \"id!\", h.token AS \"token!\"
         FROM UNNEST($1::uuid[], $2::bigint[]) AS h (id, token)
            LEFT JOIN runs r ON r.id = h.id AND r.lease_token = h.token
                AND r.lease_until IS NOT NULL
         WHERE r.id IS NULL",
        &ids,
        &tokens,
        lease_ms,
    );
    let lost = lost.fetch_all(in_time(db)).await?;
    let lease = |id, token| RunLease { id: RunId::from(id), token };
    Ok(lost.into_iter().map(|row| lease(row.id, row.token)).collect())
}

/// How often steps of a run came to nothing, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures {
    /// In its present phase.
    pub all: u32,
    /// The last ones of them, as far as they were defects.
    pub defects: u32,
}

/// How often steps of this run came to nothing; never, if it is held no more.
pub async fn failures(db: &PgPool, lease: RunLease) -> Result<Failures> {
    // What begins to count failures anew does not know of defects.
    let found = sqlx::query!(
        r#"SELECT failures, least(defects, failures) AS "defects!" FROM runs
           WHERE id = $1 AND lease_token = $2"#,
        lease.id.as_uuid(),
        lease.token,
    );
    let Some(row) = found.fetch_optional(in_time(db)).await? else {
        return Ok(Failures::default());
    };
    Ok(Failures {
        all: rows::number(i64::from(row.failures), "failures")?,
        defects: rows::number(i64::from(row.defects), "defects")?,
    })
}

/// Gives the run back: it may be taken again after `delay_ms`. `waiting_for` says what it waits
/// for, in words; empty if for nothing. Nothing happens if it is held no more.
pub async fn release(db: &PgPool, lease: RunLease, delay_ms: i64, waiting_for: &str) -> Result<()> {
    give_back(db, lease, delay_ms, waiting_for, false).await
}

/// The same after a step that met a defect, in these words.
pub async fn release_defective(
    db: &PgPool,
    lease: RunLease,
    delay_ms: i64,
    defect: &str,
) -> Result<()> {
    give_back(db, lease, delay_ms, defect, true).await
}

async fn give_back(
    db: &PgPool,
    lease: RunLease,
    delay_ms: i64,
    waiting_for: &str,
    is_defect: bool,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE runs SET lease_owner = NULL, lease_until = NULL,
            failures = failures + ($4 <> '')::integer,
            defects = CASE WHEN $5::boolean THEN least(defects, failures) + 1
                WHEN $4 <> '' THEN 0 ELSE defects END,
            wake_at = now() + $3::bigint * interval '1 millisecond', waiting_for = nullif($4, '')
         WHERE id = $1 AND lease_token = $2",
        lease.id.as_uuid(),
        lease.token,
        delay_ms,
        waiting_for,
        is_defect,
    );
    done.execute(in_time(db)).await?;
    Ok(())
}

/// Lets go of a run whose call a sender carries: no worker holds it, and what becomes of the call
/// wakes it. `false` if there is no such call. The caller has locked the run, so that the call
/// cannot change between the look at it and this.
pub async fn park(
    conn: &mut PgConnection,
    lease: RunLease,
    attempt: u32,
    kind: Kind,
) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE runs SET lease_owner = NULL, lease_until = NULL, wake_at = '9000-01-01',
            waiting_for = coalesce(waiting_for, 'a place in a transaction')
         WHERE id = $1 AND lease_token = $2 AND EXISTS (SELECT 1 FROM calls c
            WHERE c.run_id = $1 AND c.attempt = $3 AND c.kind = $4
                AND c.state IN ('wanted', 'signed'))",
        lease.id.as_uuid(),
        lease.token,
        signed(attempt),
        kind.name(),
    );
    Ok(done.execute(in_time(conn)).await?.rows_affected() == 1)
}

/// Locks a run's row until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: RunId) -> Result<()> {
    sqlx::query!("SELECT id FROM runs WHERE id = $1 FOR UPDATE", id.as_uuid())
        .fetch_optional(in_time(conn))
        .await?;
    Ok(())
}

/// Asks for a retry of a failed run whose escrow is open; it is settled first (R2, R3).
pub async fn request_retry(conn: &mut PgConnection, id: RunId) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE runs SET retry_requested = true, wake_at = now()
         WHERE id = $1 AND phase = 'escrow_open'",
        id.as_uuid(),
    );
    expect_one_row(done.execute(in_time(conn)).await?.rows_affected(), id)
}

/// Lets workers take a run again that was handed to an operator. `false` if it was not.
pub async fn resume(db: &PgPool, id: RunId) -> Result<bool> {
    let mut tx = chassis::postgres::begin(db).await?;
    let done = sqlx::query!(
        "UPDATE runs SET operator_reason = NULL, failures = 0, wake_at = now(), updated_at = now()
         WHERE id = $1 AND operator_reason IS NOT NULL",
        id.as_uuid(),
    );
    let resumed = done.execute(in_time(&mut *tx)).await?.rows_affected() == 1;
    if resumed {
        // What was unknown is asked again: the chain may answer by now.
        calls::judge_again(&mut tx, id).await?;
    }
    postgres::commit(tx).await?;
    Ok(resumed)
}

/// Locks the run's row, or fails if the worker does not hold it in `phase` any more.
pub async fn fence(conn: &mut PgConnection, lease: RunLease, phase: Phase) -> Result<()> {
    let held = sqlx::query_scalar!(
        "SELECT id FROM runs WHERE id = $1 AND lease_token = $2 AND phase = $3 FOR UPDATE",
        lease.id.as_uuid(),
        lease.token,
        phase.name(),
    );
    held.fetch_optional(in_time(conn)).await?.map(|_| ()).ok_or(Error::LeaseLost(lease.id))
}

/// Takes the run from `from` to `to`. `status` is what the outside sees from now on. A run that ends
/// is let go of.
pub async fn advance(
    conn: &mut PgConnection,
    lease: RunLease,
    (from, to): (Phase, Phase),
    status: Status,
    now: OffsetDateTime,
) -> Result<()> {
    if !from.leads_to(to) {
        return Err(Error::Broken(format!("a run can't go from {from} to {to}")));
    }
    let done = sqlx::query!(
        "UPDATE runs SET phase = $4, status = $5, failures = 0, waiting_for = NULL,
            updated_at = $6,
            lease_owner = CASE WHEN $4 <> 'done' THEN lease_owner END,
            lease_until = CASE WHEN $4 <> 'done' THEN lease_until END
         WHERE id = $1 AND lease_token = $2 AND phase = $3",
        lease.id.as_uuid(),
        lease.token,
        from.name(),
        to.name(),
        status.name(),
        now,
    );
    expect_one_row(done.execute(in_time(conn)).await?.rows_affected(), lease.id)
}

/// Hands the run to an operator (R13): no worker takes it until a person resumes it.
pub async fn hand_over(db: &PgPool, lease: RunLease, reason: &str) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE runs SET operator_reason = $3, lease_owner = NULL, lease_until = NULL,
            updated_at = now()
         WHERE id = $1 AND lease_token = $2",
        lease.id.as_uuid(),
        lease.token,
        reason,
    );
    expect_one_row(done.execute(in_time(db)).await?.rows_affected(), lease.id)
}

/// Keeps module-gate's verdict on the module that would run (R8).
pub async fn keep_verdict(
    conn: &mut PgConnection,
    (run, number): (RunId, u32),
    shipping: Option<&[u8]>,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE attempts SET shipping = $3 WHERE run_id = $1 AND number = $2 AND escrow = 'none'",
        run.as_uuid(),
        signed(number),
        shipping,
    );
    expect_one_row(done.execute(in_time(conn)).await?.rows_affected(), run)
}

/// Pins what an attempt is opened under, as its opening is signed, and takes its run to `opening`.
/// Answers whether the run was still in the queue. The caller has locked the run.
///
/// A second signature, with another deadline, overwrites what the first one pinned: it happens only
/// when it is proven that the first did nothing. The ids of both stay with their transactions.
///
/// # Errors
///
/// [`Error::CallGone`] when the run was called off.
pub async fn pin(conn: &mut PgConnection, call: &SignedCall) -> Result<bool> {
    let terms = call.terms.as_ref();
    let terms = terms.ok_or_else(|| Error::Broken("an opening has no terms".to_owned()))?;
    let pinned = sqlx::query!(
        "UPDATE attempts SET terms = $3, vault_run_id = $4, manifest_hash = $5, deadline = $6
         WHERE run_id = $1 AND number = $2 AND escrow = 'none' AND ended_at IS NULL",
        call.run.as_uuid(),
        signed(call.attempt),
        as_json(terms)?,
        call.vault_run_id.as_bytes().as_slice(),
        terms.manifest_hash.as_bytes().as_slice(),
        i64::try_from(terms.deadline).unwrap_or(i64::MAX),
    );
    if pinned.execute(in_time(&mut *conn)).await?.rows_affected() != 1 {
        return Err(Error::CallGone);
    }
    let was_queued = sqlx::query_scalar!(
        r#"UPDATE runs r SET phase = 'opening', status = 'opening', failures = 0,
            updated_at = now()
         FROM (SELECT id, phase FROM runs WHERE id = $1) AS before
         WHERE r.id = before.id AND r.attempt = $2 AND r.phase IN ('queued', 'opening')
            AND NOT r.cancel_requested AND r.operator_reason IS NULL
         RETURNING before.phase = 'queued' AS "was_queued!""#,
        call.run.as_uuid(),
        signed(call.attempt),
    );
    let was_queued = was_queued.fetch_optional(in_time(conn)).await?;
    was_queued.ok_or(Error::CallGone)
}

/// Says what runs wait for whose calls were signed.
pub async fn note_signed(conn: &mut PgConnection, runs: &[RunId]) -> Result<()> {
    let ids: Vec<uuid::Uuid> = runs.iter().map(|run| *run.as_uuid()).collect();
    let done = sqlx::query!("UPDATE runs SET waiting_for = 'the network' WHERE id = ANY($1)", &ids);
    done.execute(in_time(conn)).await?;
    Ok(())
}

/// Forgets what was pinned for an opening of which it is proven that it did not happen, and takes
/// the run back to the queue. The ids that were signed stay with their transactions.
pub async fn unpin(
    conn: &mut PgConnection,
    lease: RunLease,
    number: u32,
    now: OffsetDateTime,
) -> Result<()> {
    let forgotten = sqlx::query!(
        "UPDATE attempts SET terms = NULL, vault_run_id = NULL, manifest_hash = NULL,
            deadline = NULL, shipping = NULL
         WHERE run_id = $1 AND number = $2 AND escrow = 'none'",
        lease.id.as_uuid(),
        signed(number),
    );
    // Zero rows: the escrow was taken, and nothing may be forgotten.
    expect_one_row(forgotten.execute(in_time(&mut *conn)).await?.rows_affected(), lease.id)?;

    // The failures stay: the pause before the next signature goes on growing.
    let queued = sqlx::query!(
        "UPDATE runs SET phase = 'queued', status = 'pending', runner = NULL, updated_at = $3
         WHERE id = $1 AND lease_token = $2 AND phase = 'opening'",
        lease.id.as_uuid(),
        lease.token,
        now,
    );
    expect_one_row(queued.execute(in_time(conn)).await?.rows_affected(), lease.id)
}

/// Records that the escrow was taken, with the terms as the vault holds them.
pub async fn opened(
    conn: &mut PgConnection,
    (run, number): (RunId, u32),
    terms: &Terms,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE attempts SET terms = $3, escrow = 'open'
         WHERE run_id = $1 AND number = $2 AND escrow = 'none'",
        run.as_uuid(),
        signed(number),
        as_json(terms)?,
    );
    expect_one_row(done.execute(in_time(conn)).await?.rows_affected(), run)
}

/// Records that module-gate is about to be asked, unless a cancel was accepted.
/// `false` if so. From here on it can't be cancelled.
pub async fn start_execution(
    conn: &mut PgConnection,
    (run, number): (RunId, u32),
    now: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE attempts SET execute_started_at = coalesce(execute_started_at, $3)
         WHERE run_id = $1 AND number = $2 AND (execute_started_at IS NOT NULL
            OR NOT (SELECT cancel_requested FROM runs WHERE id = $1))",
        run.as_uuid(),
        signed(number),
        now,
    );
    Ok(done.execute(in_time(conn)).await?.rows_affected() == 1)
}

/// Keeps module-gate's statement, and what it says of named services beside it. Only once.
pub async fn keep_statement(
    conn: &mut PgConnection,
    (run, number): (RunId, u32),
    statement: &[u8],
    upstreams: &[UpstreamView],
) -> Result<()> {
    let upstreams = (!upstreams.is_empty()).then(|| as_json(&upstreams)).transpose()?;
    let done = sqlx::query!(
        "UPDATE attempts SET statement = $3, upstreams = $4
         WHERE run_id = $1 AND number = $2 AND statement IS NULL",
        run.as_uuid(),
        signed(number),
        statement,
        upstreams,
    );
    expect_one_row(done.execute(in_time(conn)).await?.rows_affected(), run)
}

/// Takes note of how long the execution took that has just ended, if there was one.
/// `unmeasured_ms` is what counts for an agent of which nothing was measured before.
pub async fn measure_execution(
    conn: &mut PgConnection,
    (run, number): (RunId, u32),
    unmeasured_ms: i64,
) -> Result<()> {
    let done = sqlx::query!(
        "INSERT INTO execution_times AS t (agent_id, mean_ms, cautious_ms, measured_at)
         SELECT r.agent_id, m.ms, greatest(m.ms, $3::bigint - ($3::bigint - m.ms) / 8), now()
         FROM attempts a JOIN runs r ON r.id = a.run_id CROSS JOIN LATERAL (SELECT greatest(1,
            (1000 * extract(epoch FROM now() - a.execute_started_at))::bigint) AS ms) m
         WHERE a.run_id = $1 AND a.number = $2 AND a.execute_started_at IS NOT NULL
         ON CONFLICT (agent_id) DO UPDATE SET
            mean_ms = t.mean_ms + (EXCLUDED.mean_ms - t.mean_ms) / 8,
            cautious_ms = greatest(EXCLUDED.mean_ms,
                t.cautious_ms - (t.cautious_ms - EXCLUDED.mean_ms) / 8),
            measured_at = now()",
        run.as_uuid(),
        signed(number),
        unmeasured_ms,
    );
    done.execute(in_time(conn)).await?;
    Ok(())
}

/// Freezes the settlement, with the seal it rests on if there is one (R13). Only once.
pub async fn freeze(
    conn: &mut PgConnection,
    (run, number): (RunId, u32),
    seal: Option<&Seal>,
    settlement: &Settlement,
) -> Result<()> {
    let failure = settlement.failure.as_ref();
    let done = sqlx::query!(
        "UPDATE attempts SET seal = $3, settlement = $4, error_code = $5, error = $6
         WHERE run_id = $1 AND number = $2 AND settlement IS NULL",
        run.as_uuid(),
        signed(number),
        seal.map(as_json).transpose()?,
        as_json(settlement)?,
        failure.map(|failure| &failure.code),
        failure.map(|failure| &failure.reason),
    );
    expect_one_row(done.execute(in_time(conn)).await?.rows_affected(), run)
}

/// Notes why the attempt fails, unless an earlier reason is there.
pub async fn note_failure(
    conn: &mut PgConnection,
    (run, number): (RunId, u32),
    failure: &Failure,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE attempts SET error = CASE WHEN error_code IS NULL THEN $4 ELSE error END,
            error_code = coalesce(error_code, $3)
         WHERE run_id = $1 AND number = $2",
        run.as_uuid(),
        signed(number),
        failure.code,
        failure.reason,
    );
    expect_one_row(done.execute(in_time(conn)).await?.rows_affected(), run)
}

/// Forgets why the attempt was to fail: it is proven that it did not.
pub async fn forget_failure(conn: &mut PgConnection, (run, number): (RunId, u32)) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE attempts SET error_code = NULL, error = NULL WHERE run_id = $1 AND number = $2",
        run.as_uuid(),
        signed(number),
    );
    expect_one_row(done.execute(in_time(conn)).await?.rows_affected(), run)
}

/// Closes the attempt: where its money went, and the receipt if it was settled.
pub async fn close(
    conn: &mut PgConnection,
    (run, number): (RunId, u32),
    escrow: Escrow,
    settled: Option<(&Usage, &Receipt)>,
    now: OffsetDateTime,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE attempts SET escrow = $3, usage = $4, receipt = $5, ended_at = $6
         WHERE run_id = $1 AND number = $2 AND ended_at IS NULL",
        run.as_uuid(),
        signed(number),
        escrow.name(),
        settled.map(|(usage, _)| as_json(usage)).transpose()?,
        settled.map(|(_, receipt)| as_json(receipt)).transpose()?,
        now,
    );
    expect_one_row(done.execute(in_time(conn)).await?.rows_affected(), run)
}

/// Begins the next attempt (R2). The caller has closed the one before.
pub async fn add_attempt(
    conn: &mut PgConnection,
    (run, number): (RunId, u32),
    nonce: Nonce,
    now: OffsetDateTime,
) -> Result<()> {
    let made = sqlx::query!(
        "INSERT INTO attempts (run_id, number, nonce, created_at) VALUES ($1, $2, $3, $4)",
        run.as_uuid(),
        signed(number),
        nonce.as_bytes().as_slice(),
        now,
    );
    made.execute(in_time(&mut *conn)).await?;

    let queued = sqlx::query!(
        "UPDATE runs SET attempt = $2, retry_requested = false, cancel_requested = false,
            wake_at = now(), turn_at = now(), admitted_at = NULL, runner = NULL
         WHERE id = $1 AND attempt <= $2",
        run.as_uuid(),
        signed(number),
    );
    expect_one_row(queued.execute(in_time(conn)).await?.rows_affected(), run)
}

fn as_json(value: &impl serde::Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|error| Error::Broken(error.to_string()))
}

fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn expect_one_row(rows: u64, run: RunId) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Error::LeaseLost(run)) }
}
