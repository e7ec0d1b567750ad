//! A subscriber that acts once on each event, however often it is delivered: the inbox of
//! docs/events.md. The tests of the runner include this file and run it against a real server.

use async_nats::jetstream::{self, AckKind, consumer::pull};
use futures::StreamExt as _;
use serde::Deserialize;
use sqlx::{PgConnection, PgPool};

/// What a subscriber reads of an event; the rest is in `data`.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// Who published it.
    pub source: String,
    /// Names it together with `source`.
    pub id: String,
    /// What happened, such as `dev.lumio.run.finalized.v1`.
    pub r#type: String,
    /// What it happened to.
    pub subject: String,
}

/// The inbox, and what this subscriber does: it counts events by their type.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS inbox (
        source  text NOT NULL,
        id      text NOT NULL,
        seen_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (source, id)
    );
    CREATE TABLE IF NOT EXISTS counts (type text PRIMARY KEY, number bigint NOT NULL);";

/// Handles `messages` messages of the stream as the durable consumer `name`.
///
/// # Errors
///
/// When the bus or the database does not answer. What was not acknowledged is delivered again.
pub async fn consume(
    client: &async_nats::Client,
    db: &PgPool,
    stream: &str,
    name: &str,
    messages: usize,
) -> anyhow::Result<()> {
    let stream = jetstream::new(client.clone()).get_stream(stream).await?;
    let config = pull::Config { durable_name: Some(name.to_owned()), ..pull::Config::default() };
    let consumer = stream.get_or_create_consumer(name, config).await?;
    let mut delivered = consumer.messages().await?.take(messages);

    while let Some(message) = delivered.next().await {
        let message = message?;
        let Ok(event) = serde_json::from_slice::<Event>(&message.payload) else {
            // It will never be an event: it must not come again and hold up the others.
            message
                .ack_with(AckKind::Term)
                .await
                .map_err(|error| anyhow::anyhow!("the message cannot be acknowledged: {error}"))?;
            continue;
        };
        handle(db, &event).await?;
        tracing::debug!("{} of {} was handled", event.r#type, event.subject);
        // Only after the commit: a subscriber that dies in between finds the event in its inbox.
        message
            .ack()
            .await
            .map_err(|error| anyhow::anyhow!("the message cannot be acknowledged: {error}"))?;
    }
    Ok(())
}

/// Acts on the event and notes it, in one transaction; does nothing if it is noted already.
async fn handle(db: &PgPool, event: &Event) -> sqlx::Result<()> {
    let mut transaction = chassis::postgres::begin(db).await?;
    let noted =
        sqlx::query("INSERT INTO inbox (source, id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(&event.source)
            .bind(&event.id)
            .execute(&mut *transaction)
            .await?;
    if noted.rows_affected() == 1 {
        act(&mut transaction, event).await?;
    }
    transaction.commit().await
}

async fn act(conn: &mut PgConnection, event: &Event) -> sqlx::Result<()> {
    let text = "INSERT INTO counts (type, number) VALUES ($1, 1) \
                ON CONFLICT (type) DO UPDATE SET number = counts.number + 1";
    sqlx::query(text).bind(&event.r#type).execute(conn).await.map(drop)
}
