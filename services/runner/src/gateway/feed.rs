//! What becomes of runs, as it happens: one reader of the stored events for a process, and any
//! number of listeners.
//!
//! The relay draws a position for each event that is committed, in the order in which others may
//! rely on seeing them (R14). The feed reads by position and hands each event to the listeners of
//! this process. A listener that falls behind, or that begins earlier, reads the database itself.

use std::sync::Arc;
use std::time::Duration;

use chassis::outbox;
use chassis::postgres::Listener;
use sqlx::PgPool;
use tokio::sync::broadcast;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use wire::RunId;

use crate::auth::caller::Scope;
use crate::error::Result;
use crate::gateway::store;

/// Events that a listener may be behind before it reads the database itself.
const BEHIND: usize = 1_024;
/// Events that are read at once.
pub const BATCH: i64 = 256;
/// How often the feed looks when nothing is announced: bounds what a lost notification can cost.
const POLL: Duration = Duration::from_secs(1);
/// Pause before a connection is made again.
const RETRY: Duration = Duration::from_secs(1);

/// An event as it is stored.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its place in the order of all events.
    pub position: i64,
    /// The run; `None` for an event about something else.
    pub run: Option<RunId>,
    /// Which fact about its entity it is, from 1.
    pub sequence: i64,
    /// Who pays for the run.
    pub user: String,
    /// The part of the account that asked for the run, if it was one.
    pub subject: Option<String>,
    /// The event: a CloudEvent in JSON.
    pub body: String,
}

impl StoredEvent {
    /// Whether a list of this scope shows the run.
    pub fn is_in(&self, scope: &Scope) -> bool {
        let is_users = scope.user.as_ref().is_none_or(|user| *user == self.user);
        let is_parts = scope.subject.is_none() || scope.subject == self.subject;
        self.run.is_some() && is_users && is_parts
    }
}

/// Where listeners of this process subscribe. Copies share it.
#[derive(Debug, Clone)]
pub struct Feed(broadcast::Sender<Arc<StoredEvent>>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }
}

impl Feed {
    /// Every event from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<StoredEvent>> {
        self.0.subscribe()
    }

    /// Reads what is stored and hands it on, until `stop`.
    ///
    /// # Errors
    ///
    /// Never: without a database there is nothing to hand on, and it is tried again.
    pub async fn run(self, db: PgPool, stop: CancellationToken) -> anyhow::Result<()> {
        // Kept over connections: what was stored while there was none is read by the next one.
        let mut at = None;
        while !stop.is_cancelled() {
            let read = tokio::select! {
                read = self.follow(&db, &mut at) => read,
                () = stop.cancelled() => return Ok(()),
            };
            if let Err(error) = read {
                tracing::debug!("events are not read now: {error}");
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    async fn follow(&self, db: &PgPool, at: &mut Option<i64>) -> Result<()> {
        // Listening begins before the first look, so that no position falls between the two.
        let mut positions = Listener::connect(db, outbox::POSITIONS).await?;

        let mut position = match *at {
            Some(position) => position,
            None => store::newest_position(db).await?,
        };
        loop {
            let events = store::events_after(db, position, BATCH).await?;
            let is_full = events.len() as i64 == BATCH;
            for event in events {
                position = event.position;
                // Without a listener it is not needed.
                let _ = self.0.send(Arc::new(event));
            }
            *at = Some(position);
            if is_full {
                continue;
            }
            tokio::select! {
                heard = positions.recv() => heard?,
                () = sleep(POLL) => {}
            }
        }
    }
}
