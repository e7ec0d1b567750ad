//! Facts leave in the transaction that makes them true, and reach the bus afterwards, in order
//! (R14).
//!
//! A service puts an event beside its other writes; if the transaction rolls back, nothing was
//! ever published. A relay, one at a time per schema, draws a position for each committed event,
//! publishes it, waits for the confirmation and marks it. A relay that dies between publishing
//! and marking publishes again; the message id makes the repeat harmless. The position, not the
//! row's id, is the order others may rely on: ids are drawn before the commit, so a later one can
//! become visible first.
//!
//! An event that the bus does not confirm holds up those behind it, as they must not overtake it.
//! Only kinds of events that no stream keeps are put aside, such as those of a former `NATS_PREFIX`:
//! no subscriber can miss their order. They stay in the outbox, are counted, and are tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, PgConnection, PgPool};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error, field, info, info_span, warn};
use wire::event::{CloudEvent, Data};

use crate::bus::{Bus, BusError, MAX_EVENT_BYTES};
use crate::postgres::{Listener, in_time};
use crate::{metrics, telemetry};

/// How many events are positioned at once.
const BATCH: i64 = 64;
/// The channel on which a commit wakes a relay that sleeps; the database's function `outbox_wake`
/// names it, too.
const CHANNEL: &str = "lumio_outbox";
/// The channel on which the relay says that it drew positions, for those who read events from the
/// database in that order.
pub const POSITIONS: &str = "lumio_outbox_positions";
/// How long the relay sleeps when nothing waits. Commits wake it by [`CHANNEL`]; this only bounds
/// what a notification lost with its connection can cost.
const POLL: Duration = Duration::from_secs(1);
/// When the relay looks again while transactions that put events are still open.
const OPEN_POLL: Duration = Duration::from_millis(20);
/// How often a relay that does not lead asks for the lead.
const LEAD_EVERY: Duration = Duration::from_secs(1);
/// How long events that no stream keeps are put aside.
const ASIDE: Duration = Duration::from_secs(60);
/// The shortest and the longest wait after failures in a row.
const MIN_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Publishes event `name` about `data`'s entity, as its next fact, once the caller's transaction
/// commits. Facts about one entity are numbered without a gap: a transaction that rolls back
/// gives its number back, and two that write about one entity wait for each other.
///
/// # Errors
///
/// As [`put`], and when `data` has no JSON form.
pub async fn publish<D: Data>(
    conn: &mut PgConnection,
    prefix: &str,
    name: D::Name,
    data: &D,
    now: OffsetDateTime,
    traceparent: Option<String>,
) -> sqlx::Result<()> {
    let key = data.key();
    let last = sqlx::query_scalar!(
        "INSERT INTO outbox_sequences (key, last) VALUES ($1, 1)
         ON CONFLICT (key) DO UPDATE SET last = outbox_sequences.last + 1
         RETURNING last",
        key,
    )
    .fetch_one(in_time(&mut *conn))
    .await?;

    let encode = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Encode(error);
    let sequence = u64::try_from(last).map_err(|error| encode(error.into()))?;
    let event = CloudEvent::new(name, data, sequence, now, traceparent)
        .map_err(|error| encode(error.into()))?;
    put(conn, &event, &data.subject(prefix, name)).await
}

/// The first fact about an entity, as the database's function `outbox_put_first` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstEvent {
    /// The entity.
    pub key: String,
    /// The event's id.
    pub id: String,
    /// Where it is published.
    pub subject: String,
    /// The event, as JSON.
    pub body: String,
}

/// Event `name` about `data`'s entity as the first fact about it, for statements that make many
/// entities at once. They give it to `outbox_put_first` in the transaction that makes the entity;
/// every further fact is published by [`publish`].
///
/// # Errors
///
/// When `data` has no JSON form, and when the event has more than [`MAX_EVENT_BYTES`].
pub fn first<D: Data>(
    prefix: &str,
    name: D::Name,
    data: &D,
    now: OffsetDateTime,
    traceparent: Option<String>,
) -> sqlx::Result<FirstEvent> {
    let event = CloudEvent::new(name, data, 1, now, traceparent)
        .map_err(|error| sqlx::Error::Encode(error.into()))?;
    let (body, subject) = (body(&event)?, data.subject(prefix, name));
    Ok(FirstEvent { key: data.key(), id: event.id, subject, body })
}

/// The text of an event, which the bus has to take.
fn body(event: &CloudEvent) -> sqlx::Result<String> {
    let body = serde_json::to_string(event).map_err(|error| sqlx::Error::Encode(error.into()))?;
    if body.len() > MAX_EVENT_BYTES {
        // Kept out here: in the relay it would hold up everything behind it.
        return Err(sqlx::Error::Encode(BusError::TooLarge(body.len()).into()));
    }
    Ok(body)
}

/// Publishes `event` on `subject` once the caller's transaction commits. The commit itself wakes
/// the relay if it sleeps, also that of another process.
///
/// # Errors
///
/// When the row cannot be written, which includes an event of that id having been published before,
/// and when the event has more than [`MAX_EVENT_BYTES`].
pub async fn put(conn: &mut PgConnection, event: &CloudEvent, subject: &str) -> sqlx::Result<()> {
    let body = body(event)?;
    sqlx::query!(
        "WITH put AS (INSERT INTO outbox (event_id, subject, body) VALUES ($1, $2, $3))
         SELECT outbox_wake() AS woken",
        event.id,
        subject,
        body,
    )
    .execute(in_time(conn))
    .await
    .map(drop)
}

/// What makes the outbox, recorded in a table of its own.
pub(crate) fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!("./migrations");
    migrations.dangerous_set_table_name("_chassis_migrations");
    migrations
}

/// Makes the outbox, or brings it up to date. The chassis keeps its own record of what was
/// applied, so that a service's migrations are its own.
///
/// # Errors
///
/// The database's own, or an outbox that is newer than this program.
pub async fn migrate(conn: &mut PgConnection) -> Result<(), MigrateError> {
    migrations().run(&mut *conn).await?;

    // Databases from before had the outbox as the first migration of each service. What is
    // applied is the same table, so the record moves.
    sqlx::raw_sql(
        "DO $$ BEGIN
            IF to_regclass('_sqlx_migrations') IS NOT NULL THEN
                DELETE FROM _sqlx_migrations WHERE version = 1 AND description = 'outbox';
            END IF;
        END $$",
    )
    .execute(in_time(conn))
    .await?;
    Ok(())
}

/// Publishes what was put, until `stop`. Rides out a database or a bus that is away.
///
/// # Errors
///
/// None now: what fails is tried again, waiting longer each time, up to 5 s.
pub async fn relay(db: PgPool, bus: Bus, stop: CancellationToken) -> anyhow::Result<()> {
    let (mut failures, mut aside) = (0_u32, Aside::default());
    while !stop.is_cancelled() {
        let led = lead(&db, &bus, &stop, &mut failures, &mut aside).await;
        // The relay that leads counts them.
        metrics::events_aside().record(0, &[]);
        let pause = match led {
            Ok(()) => LEAD_EVERY,
            Err(error) => {
                if failures == 0 {
                    warn!("events are waiting: {}", wire::causes(&error));
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
    #[error("the database did not answer")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// An event with its place in the order.
struct Waiting {
    id: i64,
    event_id: String,
    subject: String,
    body: String,
}

/// Kinds of events that no stream keeps, and until when they are put aside.
#[derive(Debug, Default)]
struct Aside(BTreeMap<String, Instant>);

impl Aside {
    fn has(&self, kind: &str) -> bool {
        self.0.contains_key(kind)
    }

    fn put(&mut self, kind: String) {
        self.0.insert(kind, Instant::now() + ASIDE);
    }

    /// Those that are put aside now; the time of the others is over, and they are tried again.
    fn kinds(&mut self) -> Vec<String> {
        self.0.retain(|_, until| Instant::now() < *until);
        self.0.keys().cloned().collect()
    }
}

/// Without its last token, the entity, a subject is the name of a kind of event.
fn kind_of(subject: &str) -> &str {
    subject.rsplit_once('.').map_or(subject, |(kind, _)| kind)
}

/// Publishes as the leader until `stop` or a failure; answers at once if another relay leads.
/// `failures` counts those in a row, and is set back once a batch went through.
///
/// The connection holds the lock and makes every write, so a relay that lost the lead with its
/// connection cannot mark anything.
async fn lead(
    db: &PgPool,
    bus: &Bus,
    stop: &CancellationToken,
    failures: &mut u32,
    aside: &mut Aside,
) -> Result<(), Failure> {
    // Out of the pool, so that dropping it closes it and the lock goes with it.
    let mut conn = db.acquire().await?.detach();
    if !try_lock(&mut conn).await? {
        conn.close().await?;
        return Ok(());
    }
    debug!("leading the relay");
    read_in_order(&mut conn).await?;

    // Listening begins before the first look, so that no commit falls between the two.
    let mut commits = Listener::connect(db, CHANNEL).await?;

    // Whether commits have to wake this relay. It goes with the connection, as the lead does.
    let mut sleeps = false;
    while !stop.is_cancelled() {
        let published = publish_batch(&mut conn, bus, stop, aside).await?;
        if *failures > 0 {
            // Only here: winning the lead is no proof that the bus takes anything.
            info!("events flow again");
            *failures = 0;
        }
        if published > 0 {
            if sleeps {
                end_sleep(&mut conn).await?;
                sleeps = false;
            }
            continue;
        }
        if !sleeps {
            sleeps = try_sleep(&mut conn).await?;
            if sleeps {
                // What was put without a notification is committed by now: one more look.
                continue;
            }
        }
        tokio::select! {
            () = sleep(if sleeps { POLL } else { OPEN_POLL }) => {}
            // An error of this connection is one of the database: the relay starts again.
            notified = commits.recv() => notified?,
            () = stop.cancelled() => {}
        }
    }
    Ok(conn.close().await?)
}

/// Has the statements of this connection read the indexes of what waits, in their order. The planner
/// takes so few rows for a reason to read all entries and sort them. But most are of rows that were
/// published since the last vacuum, thousands under load, and only a scan in order marks those as
/// dead for the next one.
async fn read_in_order(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("SET enable_bitmapscan = off; SET enable_seqscan = off; SET enable_sort = off")
        .execute(in_time(conn))
        .await
        .map(drop)
}

/// Asks every transaction that puts an event from now on to wake the relay. `false` while there are
/// open ones that were not asked.
async fn try_sleep(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_lock(
            hashtextextended('sleep of the relay of ' || current_schema(), 0)) AS "sleeps!""#,
    )
    .fetch_one(in_time(conn))
    .await
}

async fn end_sleep(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT pg_advisory_unlock(
            hashtextextended('sleep of the relay of ' || current_schema(), 0)) AS ended",
    )
    .fetch_one(in_time(conn))
    .await
    .map(drop)
}

/// One relay per schema: services that share a database do not wait for each other.
async fn try_lock(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_lock(hashtextextended('outbox of ' || current_schema(), 0)) AS "held!""#,
    )
    .fetch_one(in_time(conn))
    .await
}

/// Publishes one batch in order and marks what was confirmed, also when a later one fails.
async fn publish_batch(
    conn: &mut PgConnection,
    bus: &Bus,
    stop: &CancellationToken,
    aside: &mut Aside,
) -> Result<usize, Failure> {
    if assign_positions(conn).await? > 0 {
        // After the commit, which would hold the lock of notifications up. What is lost with a
        // process that dies in between is found by the polls of those who listen.
        sqlx::query!("SELECT pg_notify($1, current_schema()) AS notified", POSITIONS)
            .execute(in_time(&mut *conn))
            .await?;
    }

    let mut confirmed = Vec::new();
    let mut outcome = Ok(());
    // One after another: a later event must not overtake one that failed.
    for event in load_batch(conn, &aside.kinds()).await? {
        if stop.is_cancelled() {
            break;
        }
        let kind = kind_of(&event.subject);
        if aside.has(kind) {
            continue;
        }
        outcome = tokio::select! {
            published = publish_one(bus, &event.subject, &event.event_id, event.body) => published,
            // The bus may be silent: a stop does not wait for it. What was not confirmed is
            // published again, which its id makes harmless.
            () = stop.cancelled() => break,
        };
        match &outcome {
            Ok(()) => confirmed.push(event.id),
            Err(error @ BusError::NoStream { .. }) => {
                metrics::publish_failures().add(1, &[]);
                let id = event.event_id;
                error!("event {id} waits, and so do all {kind}: {}", wire::causes(error));
                aside.put(kind.to_owned());
                outcome = Ok(());
            }
            Err(_) => {
                metrics::publish_failures().add(1, &[]);
                break;
            }
        }
    }

    // Before the failure is returned, so that what was confirmed is not published again.
    if !confirmed.is_empty() {
        mark_published(conn, &confirmed).await?;
        metrics::events_published().add(confirmed.len() as u64, &[]);
    }
    metrics::events_aside().record(count_waiting(conn, &aside.kinds()).await?, &[]);
    outcome?;
    Ok(confirmed.len())
}

/// Publishes one event, in a span of the trace that made it true.
async fn publish_one(bus: &Bus, subject: &str, id: &str, body: String) -> Result<(), BusError> {
    #[derive(Deserialize)]
    struct Traced {
        traceparent: Option<String>,
    }

    let kind = kind_of(subject);
    let span = info_span!(
        "publish",
        otel.name = %format!("publish {kind}"),
        otel.kind = "producer",
        otel.status_code = field::Empty,
        messaging.system = "nats",
        messaging.operation.name = "publish",
        messaging.operation.type = "send",
        messaging.destination.template = %kind,
        messaging.message.id = %id,
        error.type = field::Empty,
    );
    let made_in = serde_json::from_str(&body).ok().and_then(|traced: Traced| traced.traceparent);
    if let Some(traceparent) = made_in {
        telemetry::continue_trace(&traceparent, &span);
    }

    let published = bus.publish(subject, id, Bytes::from(body)).instrument(span.clone()).await;
    if let Err(error) = &published {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", error.kind());
    }
    published
}

/// Draws the next positions for what is committed and has none, in the order of putting. Answers
/// how many.
async fn assign_positions(conn: &mut PgConnection) -> sqlx::Result<u64> {
    // Positions are drawn over rows in order, so they rise with the ids of one batch.
    sqlx::query!(
        "UPDATE outbox SET position = drawn.position
         FROM (
             SELECT id, nextval('outbox_position') AS position
             FROM (
                 SELECT id FROM outbox
                 WHERE position IS NULL AND published_at IS NULL
                 ORDER BY id LIMIT $1
             ) AS next
         ) AS drawn
         WHERE outbox.id = drawn.id",
        BATCH,
    )
    .execute(in_time(conn))
    .await
    .map(|done| done.rows_affected())
}

/// The next events to publish, in the order of their positions, without these kinds. Those that a
/// relay drew before it died are among them.
async fn load_batch(conn: &mut PgConnection, without: &[String]) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as!(
        Waiting,
        r"SELECT id, event_id, subject, body FROM outbox
          WHERE published_at IS NULL AND position IS NOT NULL
              AND (cardinality($2::text[]) = 0
                   OR regexp_replace(subject, '\.[^.]*$', '') <> ALL ($2))
          ORDER BY position LIMIT $1",
        BATCH,
        without,
    )
    .fetch_all(in_time(conn))
    .await
}

/// How many events of these kinds wait.
async fn count_waiting(conn: &mut PgConnection, kinds: &[String]) -> sqlx::Result<u64> {
    if kinds.is_empty() {
        return Ok(0);
    }
    let waiting = sqlx::query_scalar!(
        r#"SELECT count(*) AS "waiting!" FROM outbox
           WHERE published_at IS NULL AND regexp_replace(subject, '\.[^.]*$', '') = ANY ($1)"#,
        kinds,
    );
    Ok(u64::try_from(waiting.fetch_one(in_time(conn)).await?).unwrap_or_default())
}

/// Marks what the bus confirmed, so that it is not published again.
async fn mark_published(conn: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query!("UPDATE outbox SET published_at = now() WHERE id = ANY($1)", ids)
        .execute(in_time(conn))
        .await
        .map(drop)
}

/// Doubled at every failure.
fn backoff(failures: u32) -> Duration {
    (MIN_BACKOFF * 2_u32.pow(failures.min(8))).min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::{Arc, Mutex};

    use tracing::Subscriber;
    use tracing::field::{Field, Visit};
    use tracing::span::{Id, Record};
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use super::*;

    /// What was recorded on spans after they were made.
    #[derive(Clone, Default)]
    struct Recorded(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Recorded {
        fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
            values.record(&mut self.clone());
        }
    }

    impl Visit for Recorded {
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.lock().unwrap().push(format!("{field}={value}"));
        }

        fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
    }

    #[tokio::test]
    async fn a_publishing_that_fails_says_so_on_its_span() {
        let recorded = Recorded::default();
        // For this thread alone, on which the test's runtime runs everything.
        let _scope = tracing::subscriber::set_default(Registry::default().with(recorded.clone()));
        // Nothing listens on port 1.
        let bus = Bus::connect("nats://127.0.0.1:1", "lumio").await.unwrap();
        let published = publish_one(&bus, "lumio.run.v1.queued.1", "1:1", "{}".to_owned()).await;
        assert!(matches!(published, Err(BusError::Away)), "{published:?}");
        let expected = ["otel.status_code=ERROR", "error.type=away"];
        assert_eq!(*recorded.0.lock().unwrap(), expected);
    }
}
