//! The stream of events compared with the outbox it is filled from.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use chassis::Bus;
use chassis::postgres::{self, in_time};
use futures::{StreamExt as _, TryStreamExt as _};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::time::timeout;
use wire::event::{CloudEvent, Family};

use super::{Account, Extent, FindingPlace, rows};

const PLACE: FindingPlace = FindingPlace::Stream;
/// About how many ids are kept in memory at once: a stream with more messages is read in as many
/// parts as that takes.
const IDS_AT_ONCE: u64 = 500_000;
/// How long the bus may take for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much earlier the server may have kept a message than Postgres says that it was published.
const SLACK: time::Duration = time::Duration::minutes(1);

/// One of several sets of ids, each of which is about as large as another.
#[derive(Debug, Clone, Copy)]
struct Part {
    number: u64,
    of: u64,
}

impl Part {
    /// The parts of a stream that has so many messages.
    fn all(messages: u64) -> impl Iterator<Item = Self> {
        let of = messages.div_ceil(IDS_AT_ONCE).max(1);
        (0..of).map(move |number| Self { number, of })
    }

    /// Whether the id is of this part. Each id is of one.
    fn has(self, id: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        hasher.finish() % self.of == self.number
    }
}

/// Every event that was published is in the stream, and every message of it is of an event. A
/// message that is there twice is no mistake: consumers know it by its id.
///
/// # Errors
///
/// When the bus or Postgres does not answer.
pub(super) async fn compare(
    account: &mut Account,
    db: &PgPool,
    bus: &Bus,
    extent: Extent,
) -> anyhow::Result<()> {
    // Events of runs: those of the contracts are another family, with a stream of its own.
    let family = Family::Run.filter(bus.prefix());
    let family = family.trim_end_matches('>');
    // What is published while the stream is read may be missing in what was read.
    let began = rows::now(db).await?;
    // From which position of the outbox on, and when that was published.
    let first = match extent {
        Extent::Everything => None,
        Extent::Newest(events) => {
            let first = sqlx::query!(
                r#"SELECT position AS "position!", published_at AS "published_at!" FROM outbox
                   WHERE published_at IS NOT NULL AND position IS NOT NULL
                       AND starts_with(subject, $1)
                   ORDER BY position DESC OFFSET $2 LIMIT 1"#,
                family,
                i64::from(events),
            );
            let first = first.fetch_optional(in_time(db)).await?;
            first.map(|row| (row.position, row.published_at))
        }
    };
    let stream = stream_of(bus).await?;
    let (mut older, mut missing) = (0, Vec::new());
    for part in Part::all(stream.cached_info().state.messages) {
        let read = compare_part(account, db, &stream, (family, first), part, began);
        let read = match extent {
            // Years of events take longer to read than a statement of the service may.
            Extent::Everything => postgres::with_limit(postgres::LONGEST, read).await?,
            Extent::Newest(_) => read.await?,
        };
        older += read.older;
        missing.extend(read.missing);
    }
    if !missing.is_empty() {
        // Its time may have come while the stream was read.
        let now = stream_of(bus).await?;
        let (before, now) = (&stream.cached_info().state, &now.cached_info().state);
        let has_moved = before.first_sequence != now.first_sequence;
        for Missing { id, published_at } in missing {
            if has_moved && published_at < now.first_timestamp + SLACK {
                older += 1;
                continue;
            }
            account.broken(
                PLACE,
                None,
                format!("event {id} is not in the stream; `runner events refill` fills it again"),
            );
        }
    }
    if older > 0 {
        account.unknown(PLACE, None, format!("{older} events are older than the stream"));
    }
    Ok(())
}

async fn stream_of(bus: &Bus) -> anyhow::Result<Stream> {
    let name = Family::Run.stream(bus.prefix());
    let stream = timeout(PATIENCE, bus.jetstream().get_stream(&name)).await;
    let stream = stream.context("NATS does not answer")?;
    stream.with_context(|| format!("the stream {name} cannot be read"))
}

/// What a part of the outbox has and the stream has not.
#[derive(Debug, Default)]
struct Read {
    /// How many events are older than the stream.
    older: u64,
    missing: Vec<Missing>,
}

#[derive(Debug)]
struct Missing {
    id: String,
    published_at: OffsetDateTime,
}

/// The same for the ids of one part, of what was published until `began`.
async fn compare_part(
    account: &mut Account,
    db: &PgPool,
    stream: &Stream,
    (family, first): (&str, Option<(i64, OffsetDateTime)>),
    part: Part,
    began: OffsetDateTime,
) -> anyhow::Result<Read> {
    let (found, oldest) = messages(stream, first.map(|(_, at)| at - SLACK), part).await?;
    let mut left = found;

    let mut tx = chassis::postgres::begin(db).await?;
    if first.is_none() {
        // The whole outbox is read.
        sqlx::raw_sql("SET LOCAL statement_timeout = 0").execute(in_time(&mut *tx)).await?;
    }
    let mut read = Read::default();
    {
        let mut rows = sqlx::query!(
            r#"SELECT event_id, published_at AS "published_at!" FROM outbox
               WHERE published_at IS NOT NULL AND starts_with(subject, $1)
                   AND ($2::bigint IS NULL OR position > $2)"#,
            family,
            first.map(|(position, _)| position),
        )
        .fetch(in_time(&mut *tx));
        while let Some(row) = rows.try_next().await? {
            if !part.has(&row.event_id) {
                continue;
            }
            if left.remove(&row.event_id) {
                account.count(PLACE);
                continue;
            }
            if row.published_at > began {
                continue;
            }
            account.count(PLACE);
            // A stream keeps its messages for a time only.
            if oldest.is_some_and(|oldest| row.published_at < oldest) {
                read.older += 1;
                continue;
            }
            let (id, published_at) = (row.event_id, row.published_at);
            read.missing.push(Missing { id, published_at });
        }
    }
    postgres::commit(tx).await?;

    // Those that were published before the first one or meanwhile, and what is not of Postgres.
    let left: Vec<String> = left.into_iter().collect();
    for ids in left.chunks(1_000) {
        let unknown = sqlx::query_scalar!(
            r#"SELECT given.id AS "id!" FROM unnest($1::text[]) AS given (id)
               WHERE NOT EXISTS (SELECT 1 FROM outbox o WHERE o.event_id = given.id)"#,
            ids,
        );
        for id in unknown.fetch_all(in_time(db)).await? {
            account.broken(PLACE, None, format!("Postgres has no event {id}, and the stream has"));
        }
    }
    Ok(read)
}

/// The ids of all messages of a part, or of those since a time, and the time of the stream's oldest
/// message.
async fn messages(
    stream: &Stream,
    since: Option<OffsetDateTime>,
    part: Part,
) -> anyhow::Result<(BTreeSet<String>, Option<OffsetDateTime>)> {
    let state = &stream.cached_info().state;
    let mut found = BTreeSet::new();
    if state.messages == 0 {
        return Ok((found, None));
    }
    let oldest = Some(state.first_timestamp);
    if since.is_some_and(|since| state.last_timestamp < since) {
        return Ok((found, oldest));
    }

    let config = pull::OrderedConfig {
        // `deploy/nats/nats.conf` lets the runner make consumers that have a name, and no others:
        // the name is in the request's subject.
        name: Some(format!("account-{}", chassis::clock::new_uuid().simple())),
        deliver_policy: match since {
            Some(start_time) => DeliverPolicy::ByStartTime { start_time },
            None => DeliverPolicy::All,
        },
        ..pull::OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.context("no consumer could be made")?;
    let mut messages = consumer.messages().await.context("the stream cannot be read")?;
    loop {
        let next = timeout(PATIENCE, messages.next()).await.context("the stream stopped")?;
        let Some(message) = next.transpose().context("the stream cannot be read")? else { break };
        let info = message.info().map_err(|error| anyhow::anyhow!("a foreign message: {error}"))?;
        let event: CloudEvent =
            serde_json::from_slice(&message.payload).context("a message that is no event")?;
        if part.has(&event.id) {
            found.insert(event.id);
        }
        if info.pending == 0 {
            break;
        }
    }
    Ok((found, oldest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_of_one_part_and_no_part_is_too_large() {
        for messages in [0, 1, IDS_AT_ONCE, 3 * IDS_AT_ONCE + 1] {
            let parts: Vec<_> = Part::all(messages).collect();
            assert_eq!(parts.len() as u64, messages.div_ceil(IDS_AT_ONCE).max(1));
            let mut sizes = vec![0; parts.len()];
            for number in 0..10_000 {
                let id = format!("0190a2b4-0000-7000-8000-{number:012}:1");
                let of: Vec<_> = (0..parts.len()).filter(|at| parts[*at].has(&id)).collect();
                assert_eq!(of.len(), 1, "{id}");
                sizes[of[0]] += 1;
            }
            let most = 11_000 / parts.len();
            assert!(sizes.iter().all(|size| *size <= most), "{sizes:?}");
        }
    }
}
