//! Filling a stream again from the outbox: after the server lost acknowledged messages, or for a
//! stream that was made anew.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use sqlx::PgPool;
use time::OffsetDateTime;

use crate::bus::Bus;

/// How many events are read at once.
const BATCH: i64 = 256;
/// How long the bus may take to answer at all.
const CONNECT: Duration = Duration::from_secs(10);

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At this position of the outbox.
    Position(i64),
    /// At the first event that was put at or after this time.
    Time(OffsetDateTime),
}

/// What was published again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refilled {
    /// How many events.
    pub events: u64,
    /// Position of the first one.
    pub first: Option<i64>,
    /// Position of the last one.
    pub last: Option<i64>,
}

/// Publishes again what was published before, in the same order, from `from` to the newest event.
/// With `dry_run` it only counts.
///
/// These messages carry no `Nats-Msg-Id`: the server remembers the ids of a stream's messages for
/// some time, also of messages that it lost, and would confirm a repeat without keeping it. So they
/// are all kept, and a consumer that has some of them already knows them by the event's `source`
/// and `id`.
///
/// # Errors
///
/// When the database or the bus does not answer. What was published until then stays; beginning
/// again is harmless.
pub async fn refill(db: &PgPool, bus: &Bus, from: From, dry_run: bool) -> anyhow::Result<Refilled> {
    let mut next = match from {
        From::Position(position) => position,
        From::Time(time) => {
            let first = sqlx::query_scalar!(
                "SELECT min(position) FROM outbox WHERE created_at >= $1",
                time,
            );
            // NULL: nothing was put since then.
            let Some(first) = first.fetch_one(db).await? else {
                return Ok(Refilled::default());
            };
            first
        }
    };
    if !dry_run {
        connected(bus).await?;
    }

    let mut refilled = Refilled::default();
    loop {
        let events = sqlx::query!(
            r#"SELECT position AS "position!", subject, body FROM outbox
               WHERE position >= $1 AND published_at IS NOT NULL ORDER BY position LIMIT $2"#,
            next,
            BATCH,
        )
        .fetch_all(db)
        .await?;
        if events.is_empty() {
            return Ok(refilled);
        }
        for event in events {
            let position = event.position;
            if !dry_run {
                let sent = bus.publish_again(&event.subject, Bytes::from(event.body)).await;
                sent.with_context(|| format!("stopped at position {position}"))?;
            }
            refilled.events += 1;
            refilled.first = refilled.first.or(Some(position));
            refilled.last = Some(position);
            // By position and not by offset, so that events put meanwhile neither shift nor repeat.
            next = position + 1;
        }
    }
}

async fn connected(bus: &Bus) -> anyhow::Result<()> {
    let give_up_at = tokio::time::Instant::now() + CONNECT;
    while bus.probe().is_err() {
        ensure!(tokio::time::Instant::now() < give_up_at, "NATS_URL: NATS does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
