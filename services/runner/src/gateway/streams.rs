//! Server-sent events: what becomes of one run, or of all that the caller may see.
//!
//! An event's `id` is a cursor. A client that comes back with it as `Last-Event-ID` gets everything
//! that was stored after it, whichever process answers: nothing is kept in memory. For one run the
//! cursor is the number of the fact about the run, for all runs it is the position in the outbox.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use serde::Deserialize;
use sqlx::PgPool;
use stellar::Address;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};
use tokio::time::{Instant, interval_at, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use wire::json::MAX_INTEGER;
use wire::{Problem, RunId};

use crate::auth::caller::Scope;
use crate::auth::{Access, Caller};
use crate::error::{Error, Result};
use crate::gateway::feed::{BATCH, Feed, StoredEvent};
use crate::gateway::limits::ClientAddress;
use crate::gateway::pieces;
use crate::gateway::shares::{Share, Shares};
use crate::gateway::store;

/// Streams that may be open at one time in a process.
pub const MOST_STREAMS: usize = 256;
/// Streams that one account may have open at one time in a process.
pub const MOST_OF_ONE: usize = 16;
/// Streams that one address may have open at one time in a process, whichever caller uses it.
pub const MOST_OF_ADDRESS: usize = MOST_STREAMS / 4;
/// When a place may be free again, in seconds.
const RETRY_AFTER_SECS: u64 = 10;
/// A sign of life for proxies and clients, when nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream lasts. Clients come back with their cursor, to whichever process there is.
const LIFE: Duration = Duration::from_secs(3_600);
/// Pieces that may wait for a slow reader.
const WAITING: usize = 16;
/// How long a reader may take for one piece.
const PAUSE: Duration = Duration::from_secs(30);
/// How long a client waits before it connects again, in milliseconds (the field `retry`).
const RECONNECT_MS: u32 = 1_000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Asks nginx and proxies like it not to collect the stream.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What streams of this process share.
#[derive(Debug, Clone)]
pub struct Streams {
    /// Where new events come from.
    pub feed: Feed,
    /// Ends every stream.
    pub stop: CancellationToken,
    places: Arc<Semaphore>,
    of_accounts: Shares<Address>,
    of_addresses: Shares<IpAddr>,
}

/// Who reads a stream.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The caller.
    pub caller: Caller,
    /// Where the caller is.
    pub address: ClientAddress,
    /// By which the caller is known for as long as the stream lasts.
    pub access: Access,
}

/// A stream's place among those that are open, until it is dropped.
#[derive(Debug)]
struct StreamSlot {
    _permit: OwnedSemaphorePermit,
    _of_account: Option<Share<Address>>,
    _of_address: Option<Share<IpAddr>>,
}

/// Where a stream begins.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only runs of this account; for operators.
    pub user: Option<String>,
    /// As the header `Last-Event-ID`, for clients that cannot send one.
    pub after: Option<String>,
}

/// Which events a stream shows.
#[derive(Debug, Clone)]
enum Subject {
    Run(RunId),
    All(Scope),
}

/// One stream, on its way to a client.
struct Stream {
    subject: Subject,
    /// Everything up to here was sent.
    cursor: i64,
    caller: Caller,
    access: Access,
    db: PgPool,
    sender: mpsc::Sender<Piece>,
}

/// A piece of a stream.
#[derive(Debug, Clone)]
pub enum Piece {
    /// An event, with its cursor.
    Event(i64, Arc<StoredEvent>),
    /// The cursor moves, or the stream still lives.
    Cursor(i64),
}

/// The client is gone, or the stream is over.
struct Ended;

impl Streams {
    /// No stream yet.
    pub fn new(stop: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(MOST_STREAMS));
        let (of_accounts, of_addresses) = (Shares::new(MOST_OF_ONE), Shares::new(MOST_OF_ADDRESS));
        Self { feed: Feed::default(), stop, places, of_accounts, of_addresses }
    }

    fn place(&self, reader: &Reader) -> Result<StreamSlot> {
        let refused = |text| Error::later(Problem::RateLimited, text, RETRY_AFTER_SECS);
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(refused(format!("{MOST_STREAMS} streams are open; try again later")));
        };
        let of_account = reader.caller.account().map(|(account, _)| {
            self.of_accounts.take(&account).ok_or_else(|| {
                refused(format!(
                    "{account} has {MOST_OF_ONE} streams open; close one, or read GET /events, \
                     which shows all of its runs"
                ))
            })
        });
        let of_address = reader.address.0.map(|address| {
            self.of_addresses.take(&address).ok_or_else(|| {
                refused(format!(
                    "{MOST_OF_ADDRESS} streams are open from this address; close one, or try again \
                     later"
                ))
            })
        });
        Ok(StreamSlot {
            _permit: permit,
            _of_account: of_account.transpose()?,
            _of_address: of_address.transpose()?,
        })
    }

    /// `GET /runs/:id/events`: the run's facts from the first, or after the cursor. `HEAD` opens no
    /// stream and takes no place.
    ///
    /// # Errors
    ///
    /// [`Problem::InvalidRequest`] for an invalid cursor, [`Problem::RateLimited`].
    pub fn of_run(
        &self,
        run: RunId,
        reader: Reader,
        (method, headers, query): (&Method, &HeaderMap, &EventsQuery),
        db: &PgPool,
    ) -> Result<Response> {
        if query.user.is_some() {
            let text = "user: a run has one account; this parameter is for GET /events";
            return Err(Error::refused(Problem::InvalidRequest, text));
        }
        let cursor = cursor(headers, query)?.unwrap_or(0);
        if *method == Method::HEAD {
            return Ok(described(pieces::unsent()));
        }
        Ok(answer(self.open_run(run, cursor, reader, db)?))
    }

    /// The pieces of a run's stream after the cursor.
    ///
    /// # Errors
    ///
    /// [`Problem::RateLimited`].
    pub fn open_run(
        &self,
        run: RunId,
        cursor: i64,
        reader: Reader,
        db: &PgPool,
    ) -> Result<ReceiverStream<Piece>> {
        self.open(Subject::Run(run), cursor, reader, db)
    }

    /// `GET /events`: the facts about every run that the caller may see, after the cursor or from
    /// now on. `HEAD` opens no stream and takes no place.
    ///
    /// # Errors
    ///
    /// As [`Streams::of_run`], and [`Problem::Forbidden`] for another account than the caller's.
    pub async fn of_all(
        &self,
        reader: Reader,
        (method, headers, query): (&Method, &HeaderMap, &EventsQuery),
        db: &PgPool,
    ) -> Result<Response> {
        let asked = query.user.as_deref().map(super::page::user).transpose()?;
        let cursor = cursor(headers, query)?;
        if *method == Method::HEAD {
            reader.caller.list_of(asked.as_deref())?;
            return Ok(described(pieces::unsent()));
        }
        Ok(answer(self.open_all(asked.as_deref(), cursor, reader, db).await?))
    }

    /// The pieces of the stream of all runs that the caller may see, after the cursor or from now
    /// on.
    ///
    /// # Errors
    ///
    /// As [`Streams::of_all`].
    pub async fn open_all(
        &self,
        user: Option<&str>,
        cursor: Option<i64>,
        reader: Reader,
        db: &PgPool,
    ) -> Result<ReceiverStream<Piece>> {
        let scope = reader.caller.list_of(user)?;
        let cursor = match cursor {
            Some(cursor) => cursor,
            None => store::newest_position(db).await?,
        };
        self.open(Subject::All(scope), cursor, reader, db)
    }

    fn open(
        &self,
        subject: Subject,
        cursor: i64,
        reader: Reader,
        db: &PgPool,
    ) -> Result<ReceiverStream<Piece>> {
        let place = self.place(&reader)?;
        // Before the database is read: what is stored after that arrives here.
        let feed = self.feed.subscribe();
        let (sender, receiver) = mpsc::channel(WAITING);
        let Reader { caller, access, .. } = reader;
        let stream = Stream { subject, cursor, caller, access, db: db.clone(), sender };
        let stop = self.stop.clone();
        let sending = async move {
            tokio::select! {
                _ = stream.run(feed) => {}
                // The body ends properly: a client takes that for a reason to come back.
                () = stop.cancelled() => {}
            }
            drop(place);
        };
        tokio::spawn(sending.in_current_span());

        Ok(ReceiverStream::new(receiver))
    }
}

/// The pieces as server-sent events.
fn answer(pieces: ReceiverStream<Piece>) -> Response {
    let text = |piece| match piece {
        // JSON has no line break outside of its strings, and none inside of them.
        Piece::Event(cursor, event) => format!("id: {cursor}\ndata: {}\n\n", event.body),
        // The id alone: a client that loses the connection comes back here, and need not have
        // everything searched again that was none of its own.
        Piece::Cursor(cursor) => format!(": still here\nid: {cursor}\n\n"),
    };
    let retry = futures::stream::once(async { format!("retry: {RECONNECT_MS}\n\n") });
    let body = retry.chain(pieces.map(text)).map(Ok::<_, std::convert::Infallible>);
    described(Body::from_stream(body))
}

/// An answer with the headers of a stream.
fn described(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (UNBUFFERED, HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

/// The cursor that the client has. The header goes first: browsers send it when they come back to
/// an address that has a cursor of its own.
fn cursor(headers: &HeaderMap, query: &EventsQuery) -> Result<Option<i64>> {
    let header = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?").trim());
    // A browser that has not seen an id yet may send an empty one.
    let text = header.filter(|text| !text.is_empty()).or(query.after.as_deref());
    let Some(text) = text else { return Ok(None) };
    // No more than every client can count exactly, and far from where sums would overflow.
    let known = text.parse::<u64>().ok().filter(|cursor| *cursor <= MAX_INTEGER);
    let cursor = known.and_then(|cursor| i64::try_from(cursor).ok());
    cursor.map(Some).ok_or_else(|| {
        let text = "Last-Event-ID: expected the id of an event of this stream, or 0";
        Error::refused(Problem::InvalidRequest, text)
    })
}

impl Stream {
    async fn run(mut self, mut feed: broadcast::Receiver<Arc<StoredEvent>>) -> Result<(), Ended> {
        // A client that loses the connection before the first event comes back here.
        self.send(Piece::Cursor(self.cursor)).await?;
        self.catch_up().await?;

        let ends_at = Instant::now() + LIFE;
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        loop {
            tokio::select! {
                event = feed.recv() => match event {
                    Ok(event) => self.show(event).await?,
                    // The feed went on without it: what it missed is in the database.
                    Err(RecvError::Lagged(_)) => self.catch_up().await?,
                    Err(RecvError::Closed) => return Err(Ended),
                },
                _ = heartbeat.tick() => {
                    // A session that was revoked sees nothing more.
                    if !self.caller.is_still_known(&self.access).await {
                        return Err(Ended);
                    }
                    self.send(Piece::Cursor(self.cursor)).await?;
                }
                () = tokio::time::sleep_until(ends_at) => return Err(Ended),
                () = self.sender.closed() => return Err(Ended),
            }
        }
    }

    /// Sends what is stored after the cursor, until nothing more is.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        loop {
            let read = match &self.subject {
                Subject::Run(run) => store::events_of_run(&self.db, *run, self.cursor, BATCH).await,
                Subject::All(_) => store::events_after(&self.db, self.cursor, BATCH).await,
            };
            let events = read.map_err(|error| {
                tracing::warn!("a stream of events ends: {}", error.logged());
                Ended
            })?;
            if events.is_empty() {
                return Ok(());
            }
            for event in events {
                self.show(Arc::new(event)).await?;
            }
        }
    }

    /// Sends an event that this stream shows and has not shown.
    async fn show(&mut self, event: Arc<StoredEvent>) -> Result<(), Ended> {
        let (is_ours, at) = match &self.subject {
            Subject::Run(run) => (event.run == Some(*run), event.sequence),
            Subject::All(scope) => (event.is_in(scope), event.position),
        };
        let is_new = at > self.cursor;
        // Of all runs, the cursor moves over what is not shown as well: it is never read again.
        if is_new && (is_ours || matches!(self.subject, Subject::All(_))) {
            self.cursor = at;
        }
        if !(is_ours && is_new) {
            return Ok(());
        }
        self.send(Piece::Event(at, event)).await
    }

    async fn send(&self, piece: Piece) -> Result<(), Ended> {
        match timeout(PAUSE, self.sender.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            // The client is gone, or takes longer than anybody waits.
            Ok(Err(_)) | Err(_) => Err(Ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: Option<&str>, after: Option<&str>) -> Option<Option<i64>> {
        let mut headers = HeaderMap::new();
        if let Some(text) = header {
            headers.insert(LAST_EVENT_ID, HeaderValue::from_str(text).unwrap());
        }
        let query = EventsQuery { user: None, after: after.map(str::to_owned) };
        cursor(&headers, &query).ok()
    }

    #[test]
    fn a_cursor_is_a_whole_number_and_the_header_goes_first() {
        assert_eq!(read(None, None), Some(None));
        assert_eq!(read(Some("7"), Some("3")), Some(Some(7)));
        assert_eq!(read(Some(""), Some("3")), Some(Some(3)));
        assert_eq!(read(None, Some("0")), Some(Some(0)));
        for wrong in ["-1", "1.5", "seven", "9223372036854775808"] {
            assert_eq!(read(Some(wrong), None), None, "{wrong}");
        }
    }
}
