//! Facts leave in the transaction that makes them true, and reach the bus afterwards, in order (R14).
//!
//! A service puts an event beside its other writes; if the transaction rolls back, nothing was ever
//! told. A relay, one at a time per schema, draws a position for each committed event, publishes it,
//! waits for the confirmation and marks it. A relay that dies between publishing and marking publishes
//! again; the message id makes the repeat harmless. The position, not the row's id, is the order
//! others may rely on: ids are drawn before the commit, so a later one can become visible first.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, PgPool, Row as _};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use wire::event::CloudEvent;

use crate::bus::{Bus, BusError, MAX_EVENT_BYTES};
use crate::metrics;

/// The table and its sequence: the first migration of every service that tells facts.
pub const MIGRATION: &str = include_str!("../migrations/0001_outbox.sql");

/// How many events are positioned at once.
const BATCH: i64 = 64;
/// How long the relay sleeps when nothing waits and nobody wakes it.
const POLL: Duration = Duration::from_millis(200);
/// How often a relay that does not lead asks for the lead.
const LEAD_EVERY: Duration = Duration::from_secs(1);
/// The longest wait after failures in a row.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

static WAKE: LazyLock<Notify> = LazyLock::new(Notify::new);

/// Tells `event` on `subject` once the caller's transaction commits.
///
/// # Errors
///
/// When the row cannot be written, which includes an event of that id having been told before, and
/// when the event has more than [`MAX_EVENT_BYTES`].
pub async fn put(conn: &mut PgConnection, event: &CloudEvent, subject: &str) -> sqlx::Result<()> {
    let body = serde_json::to_string(event).map_err(|error| sqlx::Error::Encode(error.into()))?;
    if body.len() > MAX_EVENT_BYTES {
        // Kept out here: in the relay it would hold up everything behind it.
        return Err(sqlx::Error::Encode(BusError::TooLarge(body.len()).into()));
    }
    sqlx::query("INSERT INTO outbox (event_id, subject, body) VALUES ($1, $2, $3)")
        .bind(&event.id)
        .bind(subject)
        .bind(body)
        .execute(conn)
        .await
        .map(drop)
}

/// Lets the relays of this process look at once; worth calling after a commit.
pub fn wake() {
    WAKE.notify_waiters();
}

/// Publishes what was put, until `stop`. Rides out a database or a bus that is away.
///
/// # Errors
///
/// None now: what fails is tried again, waiting longer each time, up to 5 s.
pub async fn relay(db: PgPool, bus: Bus, stop: CancellationToken) -> anyhow::Result<()> {
    let mut failures = 0_u32;
    while !stop.is_cancelled() {
        let pause = match lead(&db, &bus, &stop, &mut failures).await {
            Ok(()) => LEAD_EVERY,
            Err(error) => {
                if failures == 0 {
                    warn!("events are waiting: {error}");
                }
                failures = failures.saturating_add(1);
                backoff(failures)
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the database did not answer: {0}")]
    Database(#[from] sqlx::Error),
    #[error("{0}")]
    Bus(#[from] BusError),
}

/// An event with its place in the order.
struct Waiting {
    id: i64,
    event_id: String,
    subject: String,
    body: String,
}

/// Publishes as the leader until `stop` or a failure; answers at once if another relay leads.
///
/// The connection holds the lock and makes every write, so a relay that lost the lead with its
/// connection cannot mark anything.
async fn lead(
    db: &PgPool,
    bus: &Bus,
    stop: &CancellationToken,
    failures: &mut u32,
) -> Result<(), Failure> {
    // Out of the pool, so that dropping it closes it and the lock goes with it.
    let mut conn = db.acquire().await?.detach();
    if !try_lock(&mut conn).await? {
        conn.close().await?;
        return Ok(());
    }
    debug!("leading the relay");
    while !stop.is_cancelled() {
        let woken = WAKE.notified();
        let published = publish_batch(&mut conn, bus, stop).await?;
        if *failures > 0 {
            info!("events flow again");
            *failures = 0;
        }
        if published == 0 {
            tokio::select! {
                () = sleep(POLL) => {}
                () = woken => {}
                () = stop.cancelled() => {}
            }
        }
    }
    Ok(conn.close().await?)
}

/// One relay per schema: services that share a database do not wait for each other.
async fn try_lock(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT pg_try_advisory_lock(hashtextextended('outbox of ' || current_schema(), 0))",
    )
    .fetch_one(conn)
    .await
}

/// Publishes one batch in order and marks what was confirmed, also when a later one fails.
async fn publish_batch(
    conn: &mut PgConnection,
    bus: &Bus,
    stop: &CancellationToken,
) -> Result<usize, Failure> {
    position(conn).await?;
    let mut confirmed = Vec::new();
    let mut outcome = Ok(());
    for event in waiting(conn).await? {
        if stop.is_cancelled() {
            break;
        }
        outcome = bus.publish(&event.subject, &event.event_id, Bytes::from(event.body)).await;
        if outcome.is_err() {
            metrics::publish_failures().add(1, &[]);
            break;
        }
        confirmed.push(event.id);
    }
    if !confirmed.is_empty() {
        mark(conn, &confirmed).await?;
        metrics::events_published().add(confirmed.len() as u64, &[]);
    }
    outcome?;
    Ok(confirmed.len())
}

/// Draws the next positions for what is committed and has none, in the order of putting.
async fn position(conn: &mut PgConnection) -> sqlx::Result<()> {
    let text = "
        UPDATE outbox SET position = drawn.position
        FROM (
            SELECT id, nextval('outbox_position') AS position
            FROM (SELECT id FROM outbox WHERE position IS NULL AND published_at IS NULL ORDER BY id LIMIT $1) AS next
        ) AS drawn
        WHERE outbox.id = drawn.id";
    sqlx::query(text).bind(BATCH).execute(conn).await.map(drop)
}

async fn waiting(conn: &mut PgConnection) -> sqlx::Result<Vec<Waiting>> {
    let text = "
        SELECT id, event_id, subject, body FROM outbox
        WHERE published_at IS NULL AND position IS NOT NULL
        ORDER BY position LIMIT $1";
    sqlx::query(text).bind(BATCH).try_map(read).fetch_all(conn).await
}

async fn mark(conn: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    let text = "UPDATE outbox SET published_at = now() WHERE id = ANY($1)";
    sqlx::query(text).bind(ids).execute(conn).await.map(drop)
}

fn read(row: PgRow) -> sqlx::Result<Waiting> {
    Ok(Waiting {
        id: row.try_get("id")?,
        event_id: row.try_get("event_id")?,
        subject: row.try_get("subject")?,
        body: row.try_get("body")?,
    })
}

/// 200 ms, doubled at every failure, at most [`MAX_BACKOFF`].
fn backoff(failures: u32) -> Duration {
    (POLL * 2_u32.pow(failures.min(8))).min(MAX_BACKOFF)
}
