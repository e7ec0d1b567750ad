//! Events of commands: through the outbox of the service's database, from which its relay
//! publishes.

use sqlx::PgPool;
use time::OffsetDateTime;
use wire::digest::Digest;
use wire::event::SealEvent;

use super::{CommandError, UNKNOWN, usage};
use crate::store::{self, About};

/// Puts events into the outbox, where that is asked for.
pub(super) struct Publisher(Option<(String, String)>);

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Published {
    /// None was asked for.
    NotAsked,
    /// It is in the outbox.
    Yes,
    /// The pack was not sealed by this service, so no run is known that the event would be about.
    UnknownPack,
    /// The database failed.
    Failed(String),
}

impl Published {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Yes => "published",
            Self::UnknownPack => "unknown_pack",
            Self::Failed(_) => "failed",
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::NotAsked | Self::Yes => String::new(),
            Self::UnknownPack => {
                "; no event: the pack was not sealed through this database".to_owned()
            }
            Self::Failed(cause) => format!("; no event, repeat with --events: {cause}"),
        }
    }
}

impl Publisher {
    /// Reads where events go.
    pub(super) fn read(asked: bool) -> Result<Self, CommandError> {
        if !asked {
            return Ok(Self(None));
        }
        let env = chassis::Env::process();
        if env.optional("DATABASE_URL").is_none() {
            return Err(usage(
                "--events needs DATABASE_URL, the database of the service oracle-gate",
            ));
        }
        let url = env.database_url();
        let prefix = env.parse("NATS_PREFIX", chassis::bus::read_prefix);
        env.finish().map_err(|wrong| usage(wrong.to_string()))?;
        let prefix = prefix.unwrap_or_else(|| wire::event::DEFAULT_PREFIX.to_owned());
        Ok(Self(Some((url, prefix))))
    }

    /// Puts an event about a pack into the outbox. It is published after what it is about is
    /// recorded, so a failure here loses an event and no decision; the answer says so.
    pub(super) async fn publish(
        &self,
        event: SealEvent,
        pack: Digest,
        result: Option<&str>,
        now: OffsetDateTime,
    ) -> Published {
        let Some((url, prefix)) = &self.0 else { return Published::NotAsked };
        let published = async {
            let db: PgPool = chassis::postgres::connect(url).await?;
            let about = About { event, result, traceparent: None };
            anyhow::Ok(store::announce(&db, prefix, pack, about, now).await?)
        };
        match published.await {
            Ok(true) => Published::Yes,
            Ok(false) => Published::UnknownPack,
            Err(error) => Published::Failed(format!("{error:#}")),
        }
    }
}

/// A command whose work is done and whose event is not: nothing is wrong with the subject.
pub(super) fn exit(published: &Published) -> u8 {
    if matches!(published, Published::Failed(_)) { UNKNOWN } else { 0 }
}
