//! Every SQL statement about calls (R17).

use std::time::Duration;

use chassis::postgres::{self, in_time};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use wire::{RunId, TxHash};

use super::to_i64;
use crate::chain::call::{self, Arguments, CallState, Member, WantedCall};
use crate::chain::transaction::{Kind, Transaction};
use crate::error::{Error, Result};
use crate::model::policy::Lookahead;
use crate::rows;
use crate::wakeups::wake_workers;

/// Calls that were changed, each by its kind and with the state that it is in now, for
/// [`count_ends`](crate::chain::call::count_ends).
pub type Changes = Vec<(Kind, CallState)>;

/// An attempt's call of one kind, as it is stored.
#[derive(Debug, Clone)]
pub struct KnownCall {
    /// How far it is.
    pub state: CallState,
    /// The number of the vault's error that refused it.
    pub error: Option<u32>,
    /// Whether no repetition changes the refusal.
    pub is_final: bool,
    /// The last words about it.
    pub words: String,
    /// What the call answered when it was done.
    pub answer: Option<Answer>,
}

/// What a call answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The transaction that did it.
    pub hash: TxHash,
    /// The answer (ScVal XDR).
    pub result: Vec<u8>,
    /// When its ledger closed, Unix seconds; the transaction's last moment if only contract state
    /// shows that it was done.
    pub closed_at: u64,
}

/// Calls of one kind that could be signed now.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// How many.
    pub count: usize,
    /// For how long the oldest has been ready.
    pub waited: Duration,
}

/// What becomes of a call.
#[derive(Debug, Clone)]
pub struct CallUpdate {
    /// The call.
    pub call: i64,
    /// Its run.
    pub run: RunId,
    /// Its state from now on.
    pub state: CallState,
    /// The vault's error that refused it.
    pub error: Option<u32>,
    /// Whether no repetition changes that.
    pub is_final: bool,
    /// Words about it.
    pub words: String,
    /// If it is wanted again: after which pause.
    pub pause: Duration,
    /// If it is wanted again: with which other calls only.
    pub bundle: Option<i64>,
    /// If it is wanted again: only to hear the kept answer.
    pub repeats: bool,
    /// What the vault answered for it in the transaction: 0, or an error's number.
    pub code: Option<u32>,
    /// What the call answered.
    pub result: Option<Vec<u8>>,
}

impl CallUpdate {
    /// An update without any particulars.
    pub fn new(call: i64, run: RunId, state: CallState, words: impl Into<String>) -> Self {
        Self {
            call,
            run,
            state,
            error: None,
            is_final: false,
            words: words.into(),
            pause: Duration::ZERO,
            bundle: None,
            repeats: false,
            code: None,
            result: None,
        }
    }
}

/// The attempt's call of this kind, if it was ever wanted.
pub async fn find(
    db: &PgPool,
    (run, attempt): (RunId, u32),
    kind: Kind,
) -> Result<Option<KnownCall>> {
    let row = sqlx::query!(
        r#"SELECT c.state, c.error, c.is_final, c.words,
            m.hash AS "hash?", m.result AS "result?", m.closed_at AS "closed_at?"
         FROM calls c LEFT JOIN LATERAL (
            SELECT t.hash, m.result, coalesce(t.closed_at, t.max_time) AS closed_at
            FROM transaction_calls m JOIN chain_transactions t ON t.id = m.transaction_id
            WHERE m.call_id = c.id AND m.code = 0 ORDER BY t.id DESC LIMIT 1) AS m ON true
         WHERE c.run_id = $1 AND c.attempt = $2 AND c.kind = $3"#,
        run.as_uuid(),
        to_i32(attempt),
        kind.name(),
    );
    let Some(row) = row.fetch_optional(in_time(db)).await? else { return Ok(None) };

    // Only a call that was done has an answer; a transaction that landed has all three values.
    let answer = match (row.hash, row.result, row.closed_at) {
        (Some(hash), Some(result), Some(closed_at)) => Some(Answer {
            hash: rows::bytes32(&hash, "hash")?,
            result,
            closed_at: rows::number(closed_at, "closed_at")?,
        }),
        _ => None,
    };
    Ok(Some(KnownCall {
        state: state(&row.state)?,
        error: row.error.map(|number| rows::number(number, "error")).transpose()?,
        is_final: row.is_final.unwrap_or_default(),
        words: row.words.unwrap_or_default(),
        answer,
    }))
}

/// Wants a call, or wants it again after it came to nothing. The caller holds the run, and wakes the
/// senders when this is committed.
pub async fn want(
    conn: &mut PgConnection,
    (run, attempt): (RunId, u32),
    arguments: &Arguments,
    runner: &str,
    deadline: Option<u64>,
    pause: Duration,
) -> Result<()> {
    let json = serde_json::to_value(arguments).map_err(|error| Error::Broken(error.to_string()))?;
    // A call that a sender carries, or that was done, is never wanted a second time.
    let done = sqlx::query!(
        "INSERT INTO calls (run_id, attempt, kind, user_account, state, arguments, deadline,
            not_before, runner)
         SELECT $1, $2, $3, r.user_account, 'wanted', $4, $5,
            now() + $6::bigint * interval '1 millisecond', $7 FROM runs r WHERE r.id = $1
         ON CONFLICT (run_id, attempt, kind) DO UPDATE SET state = 'wanted',
            arguments = EXCLUDED.arguments, deadline = EXCLUDED.deadline,
            not_before = EXCLUDED.not_before, failures = calls.failures + 1, repeats = false,
            bundle = NULL, reserved_until = NULL, error = NULL, is_final = NULL, words = NULL,
            runner = EXCLUDED.runner, wanted_at = now(), updated_at = now()
         WHERE calls.state IN ('refused', 'late', 'withdrawn')",
        run.as_uuid(),
        to_i32(attempt),
        arguments.kind().name(),
        json,
        deadline.map(to_i64),
        millis(pause),
        runner,
    );
    expect_one_row(done.execute(in_time(&mut *conn)).await?.rows_affected(), run)?;

    // Whose key the call is signed with, the run is.
    let owned = sqlx::query!(
        "UPDATE runs SET runner = $2 WHERE id = $1 AND runner IS DISTINCT FROM $2",
        run.as_uuid(),
        runner,
    );
    owned.execute(in_time(&mut *conn)).await?;
    Ok(())
}

/// Calls a call off that is in no transaction. `false` if it is in one, or is over.
pub async fn withdraw(
    conn: &mut PgConnection,
    (run, attempt): (RunId, u32),
    kind: Kind,
) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE calls SET state = 'withdrawn', updated_at = now()
         WHERE run_id = $1 AND attempt = $2 AND kind = $3 AND state = 'wanted'",
        run.as_uuid(),
        to_i32(attempt),
        kind.name(),
    );
    Ok(done.execute(in_time(conn)).await?.rows_affected() == 1)
}

/// Calls off what is in no transaction, and what was unknown: what became of the run is proven.
/// Returns those that this ends; the others had ended before.
pub async fn withdraw_all(
    conn: &mut PgConnection,
    (run, attempt): (RunId, u32),
) -> Result<Changes> {
    let withdrawn = sqlx::query!(
        r#"UPDATE calls c SET state = 'withdrawn', updated_at = now()
         FROM (SELECT id, state FROM calls
            WHERE run_id = $1 AND attempt = $2 AND state IN ('wanted', 'unknown', 'refused', 'late')
            FOR UPDATE) AS before
         WHERE c.id = before.id RETURNING c.kind, before.state = 'wanted' AS "ends!""#,
        run.as_uuid(),
        to_i32(attempt),
    );
    let withdrawn = withdrawn.fetch_all(in_time(conn)).await?;
    let ended = withdrawn.iter().filter(|row| row.ends);
    ended.map(|row| Ok((kind(&row.kind)?, CallState::Withdrawn))).collect()
}

/// How many calls of each kind could be signed now.
pub async fn ready(db: &PgPool, runner: &str) -> Result<Vec<(Kind, Ready)>> {
    let found = sqlx::query!(
        r#"SELECT kind, count(*) AS "count!",
            (1000 * extract(epoch FROM now() - min(greatest(wanted_at, not_before))))::bigint
                AS "waited!"
         FROM calls WHERE state = 'wanted' AND not_before <= now()
            AND (runner IS NULL OR runner = $1)
            AND (reserved_until IS NULL OR reserved_until < now()) GROUP BY kind"#,
        runner,
    );
    let mut ready = Vec::new();
    for row in found.fetch_all(in_time(db)).await? {
        let kind = row.kind.parse().map_err(|error| Error::Broken(format!("{error}")))?;
        let waited = Duration::from_millis(u64::try_from(row.waited).unwrap_or_default());
        let count = usize::try_from(row.count).unwrap_or_default();
        ready.push((kind, Ready { count, waited }));
    }
    Ok(ready)
}

/// Calls that no engine signs any more, with what follows: no engine has their runner's key, and
/// they are openings, or too late for it. Their runs go on with another key, or reclaim what is
/// left.
pub async fn orphaned(db: &PgPool, runner: &str) -> Result<Vec<CallUpdate>> {
    let found = sqlx::query!(
        "SELECT c.id, c.run_id FROM calls c WHERE c.state = 'wanted' AND c.runner <> $1
            AND NOT EXISTS (SELECT 1 FROM served_identities i WHERE i.runner = c.runner)
            AND (c.kind = 'open' OR c.deadline < (SELECT max(closed_at) FROM networks))
         ORDER BY c.id LIMIT 500",
        runner,
    );
    let words = "no engine has the key of the runner that is to sign it";
    let found = found.fetch_all(in_time(db)).await?.into_iter();
    Ok(found
        .map(|row| CallUpdate::new(row.id, RunId::from(row.run_id), CallState::Late, words))
        .collect())
}

/// When the next call that pauses may be signed.
pub async fn next_at(db: &PgPool, runner: &str) -> Result<Option<Duration>> {
    let wait = sqlx::query_scalar!(
        "SELECT (1000 * extract(epoch FROM min(not_before) - now()))::bigint FROM calls
         WHERE state = 'wanted' AND not_before > now() AND (runner IS NULL OR runner = $1)",
        runner,
    );
    let wait = wait.fetch_one(in_time(db)).await?;
    Ok(wait.map(|wait| Duration::from_millis(u64::try_from(wait).unwrap_or_default())))
}

/// Reserves calls of one kind for a sender: as many as go together, each user's first before any
/// user's second. Calls that share a bundle go with each other only. A user's runs that are opened
/// and not executed yet count as well, so that a few openings at a time are also everybody's.
///
/// With `lookahead`, which is for openings, no more are reserved than executors come to in time.
/// Those that are reserved count as opened, so that two senders do not both take the last one.
pub async fn reserve(
    db: &PgPool,
    kind: Kind,
    most: usize,
    (runner, for_ms): (&str, i64),
    lookahead: Option<Lookahead>,
) -> Result<(Vec<WantedCall>, Vec<CallUpdate>)> {
    let found = sqlx::query!(
        r#"WITH opened AS MATERIALIZED (
            SELECT user_account, runs, ms FROM unexecuted_by_user($7::bigint) WHERE $1 = 'open'),
        -- As opened_ahead(), of which the parts are needed as well.
        ahead AS (
            SELECT coalesce(sum(runs), 0)::bigint AS runs, coalesce(sum(ms), 0)::bigint AS ms,
                greatest((SELECT places FROM working_executors), $5::bigint) AS places
            FROM opened),
        ready AS (
            SELECT id, user_account, bundle FROM calls
            WHERE state = 'wanted' AND kind = $1 AND not_before <= now()
                AND (runner IS NULL OR runner = $4)
                AND (reserved_until IS NULL OR reserved_until < now())
                AND ($5::bigint IS NULL OR repeats OR (SELECT a.runs < a.places
                    OR a.ms <= a.places * $6::bigint FROM ahead a))
            ORDER BY id LIMIT 4000),
        turns AS (
            SELECT r.id, r.bundle, coalesce(o.runs, 0)
                + row_number() OVER (PARTITION BY r.user_account ORDER BY r.id) AS turn
            FROM ready r LEFT JOIN opened o ON o.user_account = r.user_account),
        first AS (SELECT bundle FROM turns ORDER BY turn, id LIMIT 1),
        together AS (
            SELECT t.id, t.turn FROM turns t, first f WHERE t.bundle IS NOT DISTINCT FROM f.bundle
            ORDER BY t.turn, t.id LIMIT $2),
        -- How many go before each of them, and how long those are executed.
        timed AS (
            SELECT t.id, c.repeats, row_number() OVER turns AS place,
                coalesce(sum(coalesce(e.cautious_ms, $7::bigint))
                    OVER (turns ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before_ms
            FROM together t JOIN calls c ON c.id = t.id JOIN runs r ON r.id = c.run_id
                LEFT JOIN execution_times e ON e.agent_id = r.agent_id
            WINDOW turns AS (ORDER BY t.turn, t.id)),
        chosen AS (
            SELECT t.id FROM timed t LEFT JOIN ahead a ON true
            WHERE $5::bigint IS NULL OR t.repeats OR a.runs + t.place <= a.places
                OR a.ms + t.before_ms <= a.places * $6::bigint)
        UPDATE calls SET reserved_until = now() + $3::bigint * interval '1 millisecond'
        WHERE id IN (SELECT id FROM chosen) AND state = 'wanted'
            AND (reserved_until IS NULL OR reserved_until < now())
        RETURNING id, run_id, attempt, arguments, deadline, repeats, failures"#,
        kind.name(),
        i64::try_from(most).unwrap_or(1),
        for_ms,
        runner,
        lookahead.map(|ahead| ahead.executions),
        lookahead.map(|ahead| ahead.patience_ms),
        lookahead.map(|ahead| ahead.unmeasured_ms),
    );
    let (mut calls, mut unreadable) = (Vec::new(), Vec::new());
    for row in found.fetch_all(in_time(db)).await? {
        let run = RunId::from(row.run_id);
        let read = row.arguments.map(serde_json::from_value::<Arguments>).transpose();
        let Ok(Some(arguments)) = read else {
            // Stored by another release. The step of the run wants it again in this one's form.
            let words = "its arguments cannot be read";
            unreadable.push(CallUpdate::new(row.id, run, CallState::Withdrawn, words));
            continue;
        };
        calls.push(WantedCall {
            id: row.id,
            run,
            attempt: rows::number(i64::from(row.attempt), "attempt")?,
            arguments,
            deadline: row.deadline.map(|at| rows::number(at, "deadline")).transpose()?,
            repeats: row.repeats,
            failures: rows::number(i64::from(row.failures), "failures")?,
        });
    }
    calls.sort_by_key(|call| call.id);
    Ok((calls, unreadable))
}

/// Whether executors come in time to another run, if it is opened now.
pub async fn has_executor(db: &PgPool, lookahead: Lookahead) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"SELECT a.runs < a.places OR a.ms <= a.places * $3::bigint AS "has!"
           FROM opened_ahead($1, $2) a"#,
        lookahead.executions,
        lookahead.unmeasured_ms,
        lookahead.patience_ms,
    );
    Ok(found.fetch_one(in_time(db)).await?)
}

/// Ends the reservation of calls that are not signed after all.
pub async fn release(db: &PgPool, calls: &[i64]) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE calls SET reserved_until = NULL WHERE id = ANY($1) AND state = 'wanted'",
        calls,
    );
    done.execute(in_time(db)).await?;
    Ok(())
}

/// Lets calls that pause be tried at once: what they lacked may be there by now. What a process
/// that died was about to sign is free too.
pub async fn end_pauses(db: &PgPool) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE calls SET not_before = least(not_before, now()), reserved_until = NULL
         WHERE state = 'wanted' AND (not_before > now() OR reserved_until IS NOT NULL)",
    );
    done.execute(in_time(db)).await?;
    Ok(())
}

/// The calls of a transaction whose part of its end is not known yet, in their order.
pub async fn members(db: &PgPool, transaction: i64) -> Result<Vec<Member>> {
    let found = sqlx::query!(
        r#"SELECT m.call_id, m.vault_run_id, m.position, c.run_id, c.arguments, c.deadline,
            c.failures, (SELECT count(*) FROM transaction_calls a WHERE a.transaction_id = $1)
                AS "together!"
         FROM transaction_calls m JOIN calls c ON c.id = m.call_id
         WHERE m.transaction_id = $1 AND m.live ORDER BY m.position"#,
        transaction,
    );
    let mut members = Vec::new();
    for row in found.fetch_all(in_time(db)).await? {
        members.push(Member {
            call: row.call_id,
            run: RunId::from(row.run_id),
            arguments: row.arguments.and_then(|json| serde_json::from_value(json).ok()),
            vault_run_id: rows::optional_bytes32(row.vault_run_id.as_deref(), "vault_run_id")?,
            deadline: row
                .deadline
                .map(|at| rows::number(at, "deadline"))
                .transpose()?
                .unwrap_or_default(),
            failures: rows::number(i64::from(row.failures), "failures")?,
            place: usize::try_from(row.position).unwrap_or_default(),
            together: usize::try_from(row.together).unwrap_or(1),
        });
    }
    Ok(members)
}

/// Lets the unknown calls of a run be judged again: by what became of their newest transaction, or,
/// if nothing was signed, by wanting them anew.
pub async fn judge_again(conn: &mut PgConnection, run: RunId) -> Result<()> {
    let done = sqlx::query!(
        "WITH again AS (
            UPDATE calls c SET updated_at = now(), state = CASE WHEN EXISTS (
                SELECT 1 FROM transaction_calls m WHERE m.call_id = c.id)
                THEN 'signed' ELSE 'withdrawn' END
            WHERE c.run_id = $1 AND c.state = 'unknown' RETURNING c.id)
         UPDATE transaction_calls m SET live = true, code = NULL, result = NULL FROM again a
         WHERE m.call_id = a.id AND m.transaction_id = (
            SELECT max(n.transaction_id) FROM transaction_calls n WHERE n.call_id = a.id)",
        run.as_uuid(),
    );
    done.execute(in_time(conn)).await?;
    Ok(())
}

/// All transactions of one call together.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Newest ledger known when the first was signed.
    pub first_ledger: u32,
    /// Max time of the last.
    pub last_max_time: u64,
}

/// The earliest signing ledger and the latest max time of a call's transactions.
pub async fn span(db: &PgPool, call: i64) -> Result<Span> {
    let row = sqlx::query!(
        r#"SELECT coalesce(min(t.signed_ledger), 0) AS "first!",
            coalesce(max(t.max_time), 0) AS "last!"
         FROM transaction_calls m JOIN chain_transactions t ON t.id = m.transaction_id
         WHERE m.call_id = $1"#,
        call,
    );
    let row = row.fetch_one(in_time(db)).await?;
    Ok(Span {
        first_ledger: rows::number(row.first, "signed_ledger")?,
        last_max_time: rows::number(row.last, "max_time")?,
    })
}

/// Locks the runs of these calls, in one order everywhere.
pub async fn lock_runs(conn: &mut PgConnection, runs: &[RunId]) -> Result<()> {
    let ids: Vec<Uuid> = runs.iter().map(|run| *run.as_uuid()).collect();
    let locked =
        sqlx::query!("SELECT id FROM runs WHERE id = ANY($1) ORDER BY id FOR UPDATE", &ids);
    locked.fetch_all(in_time(conn)).await?;
    Ok(())
}

/// Notes what became of calls in a transaction that has ended, and wakes their runs. The caller has
/// locked the runs, and counts what is answered once it has committed.
///
/// # Errors
///
/// [`Error::CallGone`] when another process has judged one of them.
pub async fn conclude(
    conn: &mut PgConnection,
    transaction: &Transaction,
    updates: &[CallUpdate],
) -> Result<Changes> {
    let changed = change(conn, CallState::Signed, updates).await?;
    if changed.len() != updates.len() {
        return Err(Error::CallGone);
    }

    // One statement for all, with a column of values each.
    let ids: Vec<i64> = updates.iter().map(|update| update.call).collect();
    let codes: Vec<Option<i64>> = updates.iter().map(|update| update.code.map(i64::from)).collect();
    let results: Vec<Option<Vec<u8>>> =
        updates.iter().map(|update| update.result.clone()).collect();
    let done = sqlx::query!(
        "UPDATE transaction_calls m SET live = false, code = v.code, result = v.result
         FROM UNNEST($2::bigint[], $3::bigint[], $4::bytea[]) AS v (id, code, result)
         WHERE m.transaction_id = $1 AND m.call_id = v.id AND m.live",
        transaction.id,
        &ids,
        &codes as &[Option<i64>],
        &results as &[Option<Vec<u8>>],
    );
    if done.execute(in_time(&mut *conn)).await?.rows_affected() != ids.len() as u64 {
        return Err(Error::CallGone);
    }
    wake(conn, &ids).await?;
    Ok(changed)
}

/// Notes what becomes of calls that are in no transaction, and wakes their runs. Calls that were
/// called off meanwhile stay so.
pub async fn conclude_unsigned(db: &PgPool, updates: &[CallUpdate]) -> Result<()> {
    if updates.is_empty() {
        return Ok(());
    }

    let mut tx = chassis::postgres::begin(db).await?;
    let runs: Vec<RunId> = updates.iter().map(|update| update.run).collect();
    lock_runs(&mut tx, &runs).await?;
    let changed = change(&mut tx, CallState::Wanted, updates).await?;
    let ids: Vec<i64> = updates.iter().map(|update| update.call).collect();
    wake(&mut tx, &ids).await?;
    postgres::commit(tx).await?;
    call::count_ends(&changed);
    Ok(())
}

/// Changes those of these calls that are in the state `from`, and answers them.
async fn change(
    conn: &mut PgConnection,
    from: CallState,
    updates: &[CallUpdate],
) -> Result<Changes> {
    let ids: Vec<i64> = updates.iter().map(|update| update.call).collect();
    let states: Vec<String> = updates.iter().map(|update| update.state.name().to_owned()).collect();
    let errors: Vec<Option<i64>> =
        updates.iter().map(|update| update.error.map(i64::from)).collect();
    let finals: Vec<bool> = updates.iter().map(|update| update.is_final).collect();
    let words: Vec<String> = updates.iter().map(|update| update.words.clone()).collect();
    let pauses: Vec<i64> = updates.iter().map(|update| millis(update.pause)).collect();
    let bundles: Vec<Option<i64>> = updates.iter().map(|update| update.bundle).collect();
    let repeats: Vec<bool> = updates.iter().map(|update| update.repeats).collect();

    // An opening that was not done is opened with another deadline, and so with another id. What
    // has no arguments cannot be signed again: its run's step wants it anew. Of an attempt that has
    // ended meanwhile, as it was proven, nothing is signed again.
    let changed = sqlx::query!(
        "UPDATE calls c SET
            state = CASE WHEN v.state = 'wanted' AND (c.arguments IS NULL
                    OR EXISTS (SELECT 1 FROM attempts a WHERE a.run_id = c.run_id
                        AND a.number = c.attempt AND a.ended_at IS NOT NULL)) THEN 'withdrawn'
                ELSE v.state END,
            error = v.error, is_final = v.is_final, words = v.words,
            failures = c.failures + (v.state = 'wanted')::integer,
            not_before = now() + v.pause * interval '1 millisecond', bundle = v.bundle,
            repeats = v.repeats, reserved_until = NULL, updated_at = now(),
            deadline = CASE WHEN v.state = 'wanted' AND c.kind = 'open' THEN NULL
                ELSE c.deadline END
         FROM UNNEST($2::bigint[], $3::text[], $4::bigint[], $5::boolean[], $6::text[],
            $7::bigint[], $8::bigint[], $9::boolean[])
            AS v (id, state, error, is_final, words, pause, bundle, repeats)
         WHERE c.id = v.id AND c.state = $1 RETURNING c.kind, c.state",
        from.name(),
        &ids,
        &states,
        &errors as &[Option<i64>],
        &finals,
        &words,
        &pauses,
        &bundles as &[Option<i64>],
        &repeats,
    );
    let changed = changed.fetch_all(in_time(conn)).await?;
    changed.iter().map(|row| Ok((kind(&row.kind)?, state(&row.state)?))).collect()
}

/// Wakes the runs whose calls no sender carries any more, and those that were called off while
/// theirs was signed. The others keep waiting, and say for what.
async fn wake(conn: &mut PgConnection, calls: &[i64]) -> Result<()> {
    let woken = sqlx::query!(
        "UPDATE runs r SET wake_at = now() FROM calls c
         WHERE c.id = ANY($1) AND r.id = c.run_id AND r.attempt = c.attempt AND r.phase <> 'done'
            AND (c.state NOT IN ('wanted', 'signed') OR r.cancel_requested)",
        calls,
    );
    woken.execute(in_time(&mut *conn)).await?;
    let waiting = sqlx::query!(
        "UPDATE runs r SET waiting_for = c.words FROM calls c
         WHERE c.id = ANY($1) AND r.id = c.run_id AND r.attempt = c.attempt
            AND c.state = 'wanted' AND c.words <> '' AND r.phase <> 'done'",
        calls,
    );
    waiting.execute(in_time(&mut *conn)).await?;
    wake_workers(conn).await
}

/// Wakes runs that wait for a call which no sender carries. There are none unless something was
/// changed by hand; it is looked for anyway, as such a run would wait for ever.
pub async fn wake_forgotten(db: &PgPool) -> Result<u64> {
    let done = sqlx::query!(
        "UPDATE runs r SET wake_at = now() WHERE r.wake_at = '9000-01-01' AND r.phase <> 'done'
            AND r.operator_reason IS NULL AND NOT EXISTS (
                SELECT 1 FROM calls c WHERE c.run_id = r.id AND c.attempt = r.attempt
                    AND c.state IN ('wanted', 'signed'))",
    );
    Ok(done.execute(in_time(db)).await?.rows_affected())
}

fn kind(name: &str) -> Result<Kind> {
    name.parse().map_err(|error| Error::Broken(format!("{error}")))
}

fn state(name: &str) -> Result<CallState> {
    name.parse().map_err(|error| Error::Broken(format!("{error}")))
}

fn millis(pause: Duration) -> i64 {
    i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
}

fn to_i32(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn expect_one_row(rows: u64, run: RunId) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Error::LeaseLost(run)) }
}
