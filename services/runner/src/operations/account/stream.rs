//! The stream of events compared with the outbox it is filled from.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use chassis::Bus;
use futures::StreamExt as _;
use sqlx::PgPool;
use tokio::time::timeout;
use wire::event::{CloudEvent, Family};

use super::{Account, Place};

/// How long the bus may take for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every event that was published is in the stream, and every message of it is of an event. A
/// message that is there twice is no mistake: consumers know it by its id.
///
/// # Errors
///
/// When the bus or Postgres does not answer.
pub(super) async fn compare(account: &mut Account, db: &PgPool, bus: &Bus) -> anyhow::Result<()> {
    const PLACE: Place = Place::Stream;
    let (found, oldest) = messages(bus).await?;
    // Events of runs: those of the contracts are another family, with a stream of its own.
    let family = Family::Run.filter(bus.prefix());
    let family = family.trim_end_matches('>').to_owned();
    let mut expected = BTreeMap::new();
    let mut tx = chassis::postgres::begin(db).await?;
    // Years of events take longer to read than a statement of the service may.
    sqlx::raw_sql("SET LOCAL statement_timeout = 0").execute(&mut *tx).await?;
    let rows = sqlx::query!(
        r#"SELECT event_id, published_at AS "published_at!" FROM outbox
           WHERE published_at IS NOT NULL AND starts_with(subject, $1)"#,
        family,
    );
    let rows = rows.fetch_all(&mut *tx).await?;
    tx.commit().await?;
    expected.extend(rows.into_iter().map(|row| (row.event_id, row.published_at)));

    for (id, published_at) in &expected {
        account.count(PLACE);
        if found.contains_key(id) {
            continue;
        }
        // A stream keeps its messages for a time only.
        if oldest.is_some_and(|oldest| *published_at < oldest) {
            account.unknown(PLACE, None, format!("event {id} is older than the stream"));
        } else {
            account.broken(
                PLACE,
                None,
                format!("event {id} is not in the stream; `runner events refill` fills it again"),
            );
        }
    }
    for id in found.keys().filter(|id| !expected.contains_key(*id)) {
        let known = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM outbox WHERE event_id = $1) AS "known!""#,
            id,
        );
        if !known.fetch_one(db).await? {
            account.broken(PLACE, None, format!("Postgres has no event {id}, and the stream has"));
        }
    }
    Ok(())
}

/// The ids of all messages with how often each is there, and the time of the oldest message.
async fn messages(
    bus: &Bus,
) -> anyhow::Result<(BTreeMap<String, u64>, Option<time::OffsetDateTime>)> {
    let name = Family::Run.stream(bus.prefix());
    let stream = timeout(PATIENCE, bus.jetstream().get_stream(&name)).await;
    let stream = stream.context("NATS does not answer")?;
    let stream = stream.with_context(|| format!("the stream {name} cannot be read"))?;
    let is_empty = stream.cached_info().state.messages == 0;
    let mut found = BTreeMap::new();
    if is_empty {
        return Ok((found, None));
    }

    let config = pull::OrderedConfig {
        // `deploy/nats/nats.conf` lets the runner make consumers that have a name, and no others:
        // the name is in the request's subject.
        name: Some(format!("account-{}", chassis::clock::new_uuid().simple())),
        deliver_policy: DeliverPolicy::All,
        ..pull::OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.context("no consumer could be made")?;
    let mut messages = consumer.messages().await.context("the stream cannot be read")?;
    let mut oldest = None;
    loop {
        let next = timeout(PATIENCE, messages.next()).await.context("the stream stopped")?;
        let Some(message) = next.transpose().context("the stream cannot be read")? else { break };
        let info = message.info().map_err(|error| anyhow::anyhow!("a foreign message: {error}"))?;
        oldest = oldest.or(Some(info.published));
        let event: CloudEvent =
            serde_json::from_slice(&message.payload).context("a message that is no event")?;
        *found.entry(event.id).or_default() += 1;
        if info.pending == 0 {
            break;
        }
    }
    Ok((found, oldest))
}
