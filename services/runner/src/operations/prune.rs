//! Retention: runs that ended long ago leave the database, when an operator says so.
//!
//! A run is removed whole or not at all: with its attempts, its transactions and its keys. One that
//! is not finished, or whose escrow is open, stays whatever its age. Nothing is removed on its own.

use std::io::Write;

use sqlx::{PgPool, Row as _};
use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::gateway::view::RunView;
use crate::rows;
use crate::rows::snapshot_query;

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
    /// Published events of the outbox.
    pub events: u64,
}

/// Which runs can go: finished before `$1`, and nothing of them open or in the air.
macro_rules! removable {
    () => {
        "r.phase = 'done' AND r.updated_at < $1 \
            AND NOT EXISTS (SELECT 1 FROM attempts o WHERE o.run_id = r.id AND o.escrow = 'open') \
            AND NOT EXISTS (SELECT 1 FROM calls c JOIN transaction_calls m ON m.call_id = c.id \
                WHERE c.run_id = r.id AND m.live)"
    };
}

/// Counts what would go.
///
/// # Errors
///
/// [`Error::Database`].
pub async fn count(db: &PgPool, before: OffsetDateTime) -> Result<Pruned> {
    let row = sqlx::query(concat!(
        "SELECT (SELECT count(*) FROM runs r WHERE ",
        removable!(),
        ") AS runs, \
            (SELECT count(*) FROM idempotency_keys WHERE created_at < $1) AS keys, \
            (SELECT count(*) FROM outbox WHERE published_at < $2) AS events"
    ));
    let row = row.bind(before).bind(events_before(before)).fetch_one(db).await?;
    let number = |name| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
    Ok(Pruned { runs: number("runs")?, keys: number("keys")?, events: number("events")? })
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
        let chosen = sqlx::query(concat!(
            snapshot_query!(),
            " WHERE ",
            removable!(),
            " ORDER BY r.updated_at LIMIT $2 FOR UPDATE OF r SKIP LOCKED"
        ));
        let chosen = chosen.bind(before).bind(BATCH).fetch_all(&mut *tx).await?;
        // Rows that are locked now are skipped, and go with the next command.
        if chosen.is_empty() {
            break;
        }
        let mut ids = Vec::with_capacity(chosen.len());
        for row in &chosen {
            let run = rows::snapshot(row)?;
            ids.push(*run.run.id.as_uuid());
            write_line(export, &RunView::from(&run))?;
        }
        // On disk before the rows are gone.
        export.flush().map_err(|error| unwritten(&error))?;

        let carried = sqlx::query_scalar!(
            "SELECT DISTINCT m.transaction_id FROM calls c JOIN transaction_calls m
                ON m.call_id = c.id WHERE c.run_id = ANY($1)",
            &ids,
        );
        let carried = carried.fetch_all(&mut *tx).await?;
        sqlx::query!(
            "DELETE FROM transaction_calls WHERE call_id IN (
                SELECT id FROM calls WHERE run_id = ANY($1))",
            &ids,
        )
        .execute(&mut *tx)
        .await?;
        // A transaction goes with the last of its calls.
        sqlx::query!(
            "DELETE FROM chain_transactions t WHERE t.id = ANY($1) AND NOT EXISTS (
                SELECT 1 FROM transaction_calls m WHERE m.transaction_id = t.id)",
            &carried,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!("DELETE FROM calls WHERE run_id = ANY($1)", &ids).execute(&mut *tx).await?;
        for text in
            ["DELETE FROM attempts WHERE run_id = ANY($1)", "DELETE FROM runs WHERE id = ANY($1)"]
        {
            sqlx::query(text).bind(&ids).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        pruned.runs += ids.len() as u64;
    }

    let keys = sqlx::query("DELETE FROM idempotency_keys WHERE created_at < $1").bind(before);
    pruned.keys = keys.execute(db).await?.rows_affected();
    let events = sqlx::query("DELETE FROM outbox WHERE published_at < $1");
    pruned.events = events.bind(events_before(before)).execute(db).await?.rows_affected();
    Ok(pruned)
}

fn events_before(before: OffsetDateTime) -> OffsetDateTime {
    before.min(chassis::clock::now() - LEAST_EVENT_AGE)
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
