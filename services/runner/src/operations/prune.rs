//! Retention: what ended long ago leaves the database, when an operator says so.
//!
//! A run is removed whole or not at all: with its attempts, its transactions, its keys and the number
//! of its last event. One that is not finished, or whose escrow is open, stays whatever its age.
//! Nothing is removed on its own.
//!
//! The contracts' events are what proofs rest on. Those about a run that is kept stay, and so does
//! everything from the ledger on in which the oldest unfinished attempt was first signed. That the
//! rest is gone is written down with it, so that the absence of an event proves nothing any more.

use std::io::Write;

use chassis::postgres::{self, in_time};
use chassis::retention;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::run::INPUT_LASTS;
use crate::rows::snapshot_query;
use crate::view::RunView;

/// Runs that go in one transaction.
const BATCH: i64 = 200;
/// Events stay in the outbox at least as long as a stream keeps them, so that it can be filled
/// again.
const LEAST_EVENT_AGE: time::Duration = time::Duration::days(31);

/// What went, or would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// Idempotency keys.
    pub keys: u64,
    /// Inputs that were stored before their run; the bytes are oracle-gate's.
    pub inputs: u64,
    /// Published events of the outbox.
    pub events: u64,
    /// Events of the contracts.
    pub contract_events: u64,
    /// Results of comparisons, except the newest.
    pub reconciliations: u64,
    /// Logins that are over, and challenges.
    pub sessions: u64,
}

/// Rows of a table that go in one statement.
const ROWS: i64 = 10_000;

/// Which of the contracts' events can go: below ledger `$1`, and about no run that is kept. What a
/// user's receipts are proven from is kept for ever: nodes forget it, and there is no other copy.
///
/// The condition is written once, so that what is counted is what is removed: `$head` comes before
/// it and `$tail` after it.
macro_rules! removable_events {
    ($query:ident, $head:literal, $tail:literal, $($argument:expr),+ $(,)?) => {
        sqlx::$query!(
            $head
                + "e.ledger < $1 AND (e.name IS NULL
                    OR e.name NOT IN ('run_opened', 'run_finalized'))
                    AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.vault_run_id = e.run_id)"
                + $tail,
            $($argument),+
        )
    };
}

/// Which runs can go: finished before `$1`, and nothing of them open or in the air. As
/// [`removable_events`].
macro_rules! removable_runs {
    ($head:literal, $tail:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_scalar!(
            $head
                + "r.phase = 'done' AND r.updated_at < $1
                    AND NOT EXISTS (SELECT 1 FROM attempts o
                        WHERE o.run_id = r.id AND o.escrow = 'open')
                    AND NOT EXISTS (SELECT 1 FROM calls c
                        JOIN transaction_calls m ON m.call_id = c.id
                        WHERE c.run_id = r.id AND m.live)"
                + $tail,
            $($argument),+
        )
    };
}

/// Counts what would go.
///
/// # Errors
///
/// [`Error::Database`].
pub async fn count(db: &PgPool, before: OffsetDateTime) -> Result<Pruned> {
    let runs = removable_runs!(r#"SELECT count(*) AS "runs!" FROM runs r WHERE "#, "", before);
    let runs = runs.fetch_one(in_time(db)).await?.unsigned_abs();
    let kept_from = kept_from(db, before).await?;
    let events = removable_events!(
        query_scalar,
        r#"SELECT count(*) AS "events!" FROM contract_events e WHERE "#,
        "",
        kept_from,
    );
    let contract_events = events.fetch_one(in_time(db)).await?.unsigned_abs();
    let others = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM idempotency_keys WHERE created_at < $1) AS "keys!",
            (SELECT count(*) FROM inputs WHERE created_at < $3) AS "inputs!",
            (SELECT count(*) FROM outbox WHERE published_at < $2) AS "events!",
            (SELECT count(*) FROM reconciliations WHERE ended_at < $1
                AND id <> (SELECT max(id) FROM reconciliations)) AS "reconciliations!",
            (SELECT count(*) FROM auth_sessions WHERE expires_at < $1 OR revoked_at < $1)
                + (SELECT count(*) FROM auth_challenges WHERE expires_at < $1) AS "sessions!""#,
        before,
        events_before(before),
        inputs_before(before),
    );
    let others = others.fetch_one(in_time(db)).await?;
    Ok(Pruned {
        runs,
        keys: others.keys.unsigned_abs(),
        inputs: others.inputs.unsigned_abs(),
        events: others.events.unsigned_abs(),
        contract_events,
        reconciliations: others.reconciliations.unsigned_abs(),
        sessions: others.sessions.unsigned_abs(),
    })
}

/// The first ledger from which on the contracts' events are kept: the one in which the oldest event
/// that is not old lies, and no later than that in which anything was first signed for an attempt
/// that is not finished. 0 if there is no old event.
///
/// Old events are as old as those of the outbox that can go: records of runs live for days, and
/// what ends them must be known for longer.
async fn kept_from(db: &PgPool, before: OffsetDateTime) -> Result<i64> {
    let found = sqlx::query_scalar!(
        "SELECT least(
            coalesce((SELECT min(ledger) FROM contract_events WHERE closed_at >= $1),
                (SELECT max(ledger) + 1 FROM contract_events)),
            (SELECT min(t.signed_ledger) FROM runs r JOIN calls c ON c.run_id = r.id
                JOIN transaction_calls m ON m.call_id = c.id
                JOIN chain_transactions t ON t.id = m.transaction_id
                WHERE r.phase <> 'done'),
            (SELECT min(e.ledger) FROM runs r JOIN attempts a ON a.run_id = r.id
                JOIN contract_events e ON e.run_id = a.vault_run_id WHERE r.phase <> 'done'))",
        events_before(before),
    );
    Ok(found.fetch_one(in_time(db)).await?.unwrap_or_default())
}

/// Removes it, and writes each run as a line of JSON to `export` before it goes.
///
/// # Errors
///
/// [`Error::Database`], or that the export could not be written. What went until then is in the
/// export.
pub async fn prune(
    db: &PgPool,
    before: OffsetDateTime,
    export: &mut (dyn Write + Send),
) -> Result<Pruned> {
    let mut pruned = Pruned::default();
    loop {
        let mut tx = chassis::postgres::begin(db).await?;
        let chosen = removable_runs!(
            "SELECT r.id FROM runs r WHERE ",
            " ORDER BY r.updated_at LIMIT $2 FOR UPDATE OF r SKIP LOCKED",
            before,
            BATCH,
        );
        let ids = chosen.fetch_all(in_time(&mut *tx)).await?;
        // Rows that are locked now are skipped, and go with the next command.
        if ids.is_empty() {
            break;
        }
        let runs = snapshot_query!(
            "AND a.number = r.attempt WHERE r.id = ANY($1) ORDER BY r.updated_at",
            &ids,
        );
        for row in runs.fetch_all(in_time(&mut *tx)).await? {
            write_line(export, &RunView::from(&row.read()?))?;
        }
        // On disk before the rows are gone.
        export.flush().map_err(|error| unwritten(&error))?;

        let carried = sqlx::query_scalar!(
            "SELECT DISTINCT m.transaction_id FROM calls c JOIN transaction_calls m
                ON m.call_id = c.id WHERE c.run_id = ANY($1)",
            &ids,
        );
        let carried = carried.fetch_all(in_time(&mut *tx)).await?;
        sqlx::query!(
            "DELETE FROM transaction_calls WHERE call_id IN (
                SELECT id FROM calls WHERE run_id = ANY($1))",
            &ids,
        )
        .execute(in_time(&mut *tx))
        .await?;
        // A transaction goes with the last of its calls.
        sqlx::query!(
            "DELETE FROM chain_transactions t WHERE t.id = ANY($1) AND NOT EXISTS (
                SELECT 1 FROM transaction_calls m WHERE m.transaction_id = t.id)",
            &carried,
        )
        .execute(in_time(&mut *tx))
        .await?;
        sqlx::query!("DELETE FROM calls WHERE run_id = ANY($1)", &ids)
            .execute(in_time(&mut *tx))
            .await?;
        let gone = gone_for_good(&mut tx, &ids).await?;
        retention::forget(&mut tx, &gone).await?;
        // Attempts first: they refer to their run.
        sqlx::query!("DELETE FROM attempts WHERE run_id = ANY($1)", &ids)
            .execute(in_time(&mut *tx))
            .await?;
        sqlx::query!("DELETE FROM runs WHERE id = ANY($1)", &ids)
            .execute(in_time(&mut *tx))
            .await?;
        postgres::commit(tx).await?;
        pruned.runs += ids.len() as u64;
    }

    pruned.keys = in_parts(async || {
        let keys = sqlx::query!(
            "DELETE FROM idempotency_keys WHERE (user_account, key) IN (SELECT user_account, key
                FROM idempotency_keys WHERE created_at < $1 LIMIT $2)",
            before,
            ROWS,
        );
        Ok(keys.execute(in_time(db)).await?.rows_affected())
    })
    .await?;
    pruned.events = in_parts(async || {
        let events = sqlx::query!(
            "DELETE FROM outbox WHERE event_id IN (SELECT event_id FROM outbox
                WHERE published_at < $1 LIMIT $2)",
            events_before(before),
            ROWS,
        );
        Ok(events.execute(in_time(db)).await?.rows_affected())
    })
    .await?;
    pruned.contract_events = contract_events(db, before).await?;
    pruned.reconciliations = sqlx::query!(
        "DELETE FROM reconciliations WHERE ended_at < $1
            AND id <> (SELECT max(id) FROM reconciliations)",
        before,
    )
    .execute(in_time(db))
    .await?
    .rows_affected();
    let sessions =
        sqlx::query!("DELETE FROM auth_sessions WHERE expires_at < $1 OR revoked_at < $1", before,);
    pruned.sessions = sessions.execute(in_time(db)).await?.rows_affected();
    let challenges = sqlx::query!("DELETE FROM auth_challenges WHERE expires_at < $1", before);
    pruned.sessions += challenges.execute(in_time(db)).await?.rows_affected();
    pruned.inputs = in_parts(async || {
        let inputs = sqlx::query!(
            "DELETE FROM inputs WHERE ctid IN
                (SELECT ctid FROM inputs WHERE created_at < $1 LIMIT $2)",
            inputs_before(before),
            ROWS,
        );
        Ok(inputs.execute(in_time(db)).await?.rows_affected())
    })
    .await?;
    Ok(pruned)
}

/// Those of these runs, which are about to be removed, that no import brings back under their ids:
/// of them nothing is published any more. The events of one that comes back go on from its last
/// number.
async fn gone_for_good(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<String>> {
    let gone = sqlx::query_scalar!(
        r#"SELECT r.id::text AS "key!" FROM UNNEST($1::uuid[]) AS r (id) WHERE NOT EXISTS (
            SELECT 1 FROM attempts a WHERE a.run_id = r.id AND a.number = 1
                AND a.error_code = 'IMPORTED')"#,
        ids,
    );
    Ok(gone.fetch_all(in_time(conn)).await?)
}

/// Removes old events of the contracts.
async fn contract_events(db: &PgPool, before: OffsetDateTime) -> Result<u64> {
    let kept_from = kept_from(db, before).await?;
    let any = removable_events!(
        query_scalar,
        r#"SELECT EXISTS (SELECT 1 FROM contract_events e WHERE "#,
        r#") AS "any!""#,
        kept_from,
    );
    if !any.fetch_one(in_time(db)).await? {
        return Ok(0);
    }
    // First, so that no proof rests on the absence of what is about to go, whenever this is cut off.
    sqlx::query!(
        "UPDATE contract_cursors SET first_ledger = greatest(first_ledger, $1)",
        kept_from,
    )
    .execute(in_time(db))
    .await?;
    let removed = in_parts(async || {
        let events = removable_events!(
            query,
            "DELETE FROM contract_events WHERE id IN (SELECT e.id FROM contract_events e WHERE ",
            " LIMIT $2)",
            kept_from,
            ROWS,
        );
        Ok(events.execute(in_time(db)).await?.rows_affected())
    });
    let removed = removed.await?;
    // Gaps below it are a part of what is not known any more.
    sqlx::query!(
        "DELETE FROM contract_event_gaps WHERE last_ledger < $1 AND acknowledged_at IS NOT NULL",
        kept_from,
    )
    .execute(in_time(db))
    .await?;
    Ok(removed)
}

/// Removes part after part, each in a statement that ends in time, until nothing is left.
async fn in_parts(part: impl AsyncFn() -> Result<u64>) -> Result<u64> {
    let mut removed = 0;
    loop {
        let rows = part().await?;
        removed += rows;
        if rows < ROWS.unsigned_abs() {
            return Ok(removed);
        }
    }
}

impl std::fmt::Display for Pruned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} runs, {} keys, {} inputs, {} events, {} events of the contracts, {} comparisons and {} logins",
            self.runs,
            self.keys,
            self.inputs,
            self.events,
            self.contract_events,
            self.reconciliations,
            self.sessions
        )
    }
}

fn events_before(before: OffsetDateTime) -> OffsetDateTime {
    before.min(chassis::clock::now() - LEAST_EVENT_AGE)
}

/// An input stays for the time that its owner was promised.
fn inputs_before(before: OffsetDateTime) -> OffsetDateTime {
    before.min(chassis::clock::now() - INPUT_LASTS)
}

fn write_line(export: &mut (dyn Write + Send), view: &RunView) -> Result<()> {
    let mut line = serde_json::to_vec(view).map_err(|error| Error::Broken(error.to_string()))?;
    line.push(b'\n');
    export.write_all(&line).map_err(|error| unwritten(&error))
}

fn unwritten(error: &std::io::Error) -> Error {
    Error::Broken(format!("the export could not be written, so nothing more was removed: {error}"))
}

/// An age as people write it: `90d`, `12h`, `30m`, `45s`.
///
/// # Errors
///
/// A text that says what is expected.
pub fn parse_age(text: &str) -> std::result::Result<time::Duration, String> {
    let expected = || format!("expected a number with d, h, m or s, such as 90d; found `{text}`");
    let unit = text.chars().last().ok_or_else(expected)?;
    let number = text.strip_suffix(unit).and_then(|digits| digits.parse::<u32>().ok());
    let number = i64::from(number.ok_or_else(expected)?);
    match unit {
        'd' => Ok(time::Duration::days(number)),
        'h' => Ok(time::Duration::hours(number)),
        'm' => Ok(time::Duration::minutes(number)),
        's' => Ok(time::Duration::seconds(number)),
        _ => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_age;

    #[test]
    fn ages_are_numbers_with_a_unit() {
        assert_eq!(parse_age("90d").unwrap(), time::Duration::days(90));
        assert_eq!(parse_age("45s").unwrap(), time::Duration::seconds(45));
        for wrong in ["", "d", "90", "-1d", "1.5h", "4294967296d", "9w"] {
            assert!(parse_age(wrong).is_err(), "{wrong}");
        }
    }
}
