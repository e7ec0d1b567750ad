//! Filling a stream again from the outbox: after the server lost acknowledged messages, or for a
//! stream that was made anew.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use sqlx::PgPool;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::bus::Bus;
use crate::postgres::{self, in_time};

/// How many events are read at once.
const BATCH: i64 = 256;
/// How long the bus may take to answer at all.
const CONNECT: Duration = Duration::from_secs(10);

/// Which events a command publishes again.
#[derive(Debug, Clone, clap::Args)]
pub struct Order {
    /// From this position of the outbox on.
    #[arg(
        long,
        value_name = "NUMBER",
        conflicts_with = "since",
        required_unless_present = "since"
    )]
    from_position: Option<i64>,
    /// From the first event at or after this time (RFC 3339) on.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<OffsetDateTime>,
    /// Only count them.
    #[arg(long)]
    dry_run: bool,
}

impl Order {
    /// Carries it out with the outbox of the database at `database_url`, and says what was done.
    ///
    /// # Errors
    ///
    /// As [`refill`]; the text names the setting.
    pub async fn carry_out(
        &self,
        database_url: &str,
        nats_url: &str,
        nats_prefix: &str,
    ) -> anyhow::Result<String> {
        let from = match (self.from_position, self.since) {
            (Some(position), _) => From::Position(position),
            (None, Some(time)) => From::Time(time),
            (None, None) => bail!("expected --from-position or --since"),
        };
        let db = postgres::connect(database_url).await?;
        let bus = Bus::connect(nats_url, nats_prefix).await?;
        let refilled = refill(&db, &bus, from, self.dry_run).await?;
        let what = if self.dry_run { "would be published again" } else { "were published again" };
        let span = match (refilled.first, refilled.last) {
            (Some(first), Some(last)) => format!(", positions {first} to {last}"),
            _ => String::new(),
        };
        Ok(format!("{} events {what}{span}", refilled.events))
    }
}

fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    let read = OffsetDateTime::parse(text, &Rfc3339);
    read.map_err(|_| format!("expected a time such as 2026-01-31T00:00:00Z, found `{text}`"))
}

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
            let Some(first) = first.fetch_one(in_time(db)).await? else {
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
        .fetch_all(in_time(db))
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
