//! The way to other processes: facts on NATS JetStream.
//!
//! The bus may be away when a service starts and at any time after: a [`Bus`] is there at once,
//! connects when it can, and until then every publish fails quickly and is tried again by the
//! outbox (R15). Streams are made when they are needed, also after a server lost them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use async_nats::connection::State;
use async_nats::jetstream;
use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::{Client, ClientError, ConnectOptions, Event, HeaderMap, ServerAddr};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use wire::event::Family;

use crate::telemetry;

/// The most bytes of one event. Events name bytes by digest and carry none.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// How long a stream keeps an event. The outbox keeps it longer, and can fill a stream again.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long the server remembers a message id.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// How long the server may take to confirm.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent server is asked whether it is there. One that has not answered three times is
/// left, so that a server that hangs counts as away within a few seconds.
const PING_EVERY: Duration = Duration::from_secs(2);
/// How long a probe waits for the first attempt to connect.
const FIRST_CONNECTION: Duration = Duration::from_secs(3);
/// Different lines about one outage, at most; a server can send errors of any text.
const MOST_LINES: usize = 16;
/// The longest wait between two attempts to connect.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(2);

/// A connection to NATS under one prefix. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    client: Client,
    jetstream: jetstream::Context,
    prefix: String,
    /// Families whose stream was seen on this connection.
    ensured: Arc<Mutex<HashSet<Family>>>,
    link: watch::Sender<Link>,
}

/// What is known of the connection.
#[derive(Debug, Default)]
struct Link {
    /// Whether the first attempt to connect has ended.
    is_tried: bool,
    /// Why there is no connection, since the last one.
    cause: Option<String>,
    /// What was logged; the same line is not logged again.
    logged: HashSet<String>,
}

/// Why an event is not on the bus yet.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// There is no connection now.
    #[error("NATS is not connected")]
    Away,
    /// It can never be published as it is.
    #[error("the event has {0} bytes, at most {MAX_EVENT_BYTES} are published")]
    TooLarge(usize),
    /// The stream could not be made.
    #[error("cannot make the stream {stream}")]
    Stream {
        /// Its name.
        stream: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server did not confirm.
    #[error("NATS did not confirm the event")]
    Unconfirmed(#[source] PublishError),
    /// It is none of the subjects that this service makes streams for, and no other stream
    /// confirmed it.
    #[error("no stream keeps the subject {subject}")]
    NoStream {
        /// The subject.
        subject: String,
        /// What the server answered.
        source: PublishError,
    },
}

impl BusError {
    /// Its kind, for spans: one word of a closed list.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::TooLarge(_) => "too_large",
            Self::Stream { .. } => "stream",
            Self::Unconfirmed(_) => "unconfirmed",
            Self::NoStream { .. } => "no_stream",
        }
    }
}

impl Bus {
    /// A bus at `url` (`nats://user:password@host:port`) whose subjects start with `prefix`. It
    /// need not be there yet.
    ///
    /// # Errors
    ///
    /// When `url` or `prefix` cannot be used; the text names the variable, never the password (R9).
    pub async fn connect(url: &str, prefix: &str) -> anyhow::Result<Self> {
        let prefix = read_prefix(prefix).map_err(|expected| anyhow!("NATS_PREFIX: {expected}"))?;
        let (options, address) = options(url)?;
        let link = watch::Sender::<Link>::default();
        let heard = link.clone();
        let client = options
            // The client is there at once and connects in the background (R15).
            .retry_on_initial_connect()
            .connection_timeout(ACK_TIMEOUT)
            .reconnect_delay_callback(reconnect_delay)
            .ping_interval(PING_EVERY)
            .event_callback(move |event| {
                heard.send_modify(|link| link.note(&event));
                std::future::ready(())
            })
            .connect(address)
            .await
            .context("NATS_URL: cannot connect")?;
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(ACK_TIMEOUT);
        let ensured = Arc::default();
        Ok(Self { client, jetstream, prefix, ensured, link })
    }

    /// The prefix of this bus's subjects.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The connection, for subscribers.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// JetStream on the connection, for consumers.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Whether there is a connection now, on which the server has answered within a few seconds.
    ///
    /// # Errors
    ///
    /// A text that says there is none, and why, if that is known.
    pub fn probe(&self) -> Result<(), String> {
        if self.client.connection_state() == State::Connected {
            return Ok(());
        }
        let away = "NATS is not connected";
        let cause = self.link.borrow().cause.clone();
        Err(cause.map_or_else(|| away.to_owned(), |cause| format!("{away}: {cause}")))
    }

    /// The same for [`crate::Health`]: the first connection, which is made while a service starts, is
    /// waited for a moment unless it is known to fail.
    ///
    /// # Errors
    ///
    /// As [`Bus::probe`].
    pub async fn probe_settled(&self) -> Result<(), String> {
        let mut link = self.link.subscribe();
        let tried = link.wait_for(|link| link.is_tried);
        // If it takes longer, there is no connection yet.
        let tried = tokio::time::timeout(FIRST_CONNECTION, tried).await;
        let has_failed = !tried.is_ok_and(|tried| tried.is_ok_and(|link| link.cause.is_none()));
        // The client reports its first connection a moment before its state shows it.
        if self.client.connection_state() == State::Pending && !has_failed {
            return Ok(());
        }
        self.probe()
    }

    /// Makes the family's stream unless it is there. Not needed before [`Bus::publish`], which
    /// does it when it has to; subscribers need it.
    ///
    /// # Errors
    ///
    /// [`BusError::Away`] or [`BusError::Stream`].
    pub async fn ensure_stream(&self, family: Family) -> Result<(), BusError> {
        self.probe().map_err(|_| BusError::Away)?;
        let stream = family.stream(&self.prefix);
        // For a stream that is made here: one that exists keeps what its operator set.
        let config = Config {
            name: stream.clone(),
            subjects: vec![family.filter(&self.prefix)],
            storage: StorageType::File,
            num_replicas: 1,
            max_age: MAX_AGE,
            duplicate_window: DUPLICATE_WINDOW,
            ..Config::default()
        };
        match self.jetstream.get_or_create_stream(config).await {
            Ok(_) => {
                self.ensured().insert(family);
                Ok(())
            }
            Err(source) => Err(BusError::Stream { stream, source: Box::new(source) }),
        }
    }

    /// Puts `body` on `subject` and waits until a stream has it. The same `message_id` again within
    /// two minutes changes nothing.
    ///
    /// # Errors
    ///
    /// Any [`BusError`]; all but [`BusError::TooLarge`] may be over at the next attempt.
    pub async fn publish(
        &self,
        subject: &str,
        message_id: &str,
        body: Bytes,
    ) -> Result<(), BusError> {
        if body.len() > MAX_EVENT_BYTES {
            return Err(BusError::TooLarge(body.len()));
        }
        let family = self.family_of(subject);
        if let Some(family) = family
            && !self.ensured().contains(&family)
        {
            self.ensure_stream(family).await?;
        }
        match (self.send(subject, Some(message_id), body).await, family) {
            (Err(BusError::Unconfirmed(source)), None) => {
                Err(BusError::NoStream { subject: subject.to_owned(), source })
            }
            (Err(error @ BusError::Unconfirmed(_)), Some(family)) => {
                // The stream may be gone. The server says so only if there is no other listener on
                // the subject; otherwise nothing confirms. So the next attempt looks for it first.
                self.ensured().remove(&family);
                Err(error)
            }
            (sent, _) => sent,
        }
    }

    /// Puts `body` on `subject` although a stream may have it already: without a message id, so
    /// that the server keeps it whatever it remembers.
    ///
    /// # Errors
    ///
    /// As [`Bus::publish`].
    pub async fn publish_again(&self, subject: &str, body: Bytes) -> Result<(), BusError> {
        let family = self.family_of(subject);
        if let Some(family) = family {
            self.ensure_stream(family).await?;
        }
        self.send(subject, None, body).await
    }

    /// Makes the family's stream as soon as the bus is there: subscribers find it, with its
    /// limits, before the first event. For [`crate::Service::spawn`].
    ///
    /// # Errors
    ///
    /// None: what fails is tried again, until `stop`.
    pub async fn provide(self, family: Family, stop: CancellationToken) -> anyhow::Result<()> {
        let mut failures = 0;
        loop {
            let ensured = tokio::select! {
                ensured = self.ensure_stream(family) => ensured,
                // The server may not respond; the shutdown does not wait for it.
                () = stop.cancelled() => break,
            };
            let Err(error) = ensured else { break };
            // Logged once, and not at the first failure, which is usual while everything starts.
            if failures == 1 {
                warn!("a stream could not be made yet: {error}");
            }
            failures += 1;
            tokio::select! {
                () = tokio::time::sleep(reconnect_delay(failures)) => {}
                () = stop.cancelled() => break,
            }
        }
        Ok(())
    }

    fn ensured(&self) -> MutexGuard<'_, HashSet<Family>> {
        locked(&self.ensured)
    }

    /// The family whose stream keeps `subject`; `None` for a subject that is not ours.
    fn family_of(&self, subject: &str) -> Option<Family> {
        let holds = |family: &Family| {
            let filter = family.filter(&self.prefix);
            subject.starts_with(filter.trim_end_matches('>'))
        };
        Family::ALL.into_iter().find(holds)
    }

    async fn send(
        &self,
        subject: &str,
        message_id: Option<&str>,
        body: Bytes,
    ) -> Result<(), BusError> {
        // A client without a connection would take the message into its memory and promise nothing.
        self.probe().map_err(|_| BusError::Away)?;
        let mut headers = HeaderMap::new();
        if let Some(message_id) = message_id {
            headers.insert("Nats-Msg-Id", message_id);
        }
        headers.insert("Content-Type", "application/cloudevents+json");
        // The event's own `traceparent` says what made it true; this one leads on from the
        // publishing.
        headers.insert("traceparent", telemetry::traceparent());
        // The first wait is for the message to leave, the second for the stream to have it.
        let ack = self.jetstream.publish_with_headers(subject.to_owned(), headers, body);
        ack.await.map_err(BusError::Unconfirmed)?.await.map_err(BusError::Unconfirmed)?;
        Ok(())
    }
}

/// Reads the first token of subjects, as `NATS_PREFIX` sets it.
///
/// # Errors
///
/// What was expected.
pub fn read_prefix(text: &str) -> Result<String, &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if text.is_empty() || !text.bytes().all(is_plain) {
        return Err("expected letters, digits and dashes");
    }
    Ok(text.to_owned())
}

/// The credentials are taken out of the URL, so that no address in a log holds them.
fn options(url: &str) -> anyhow::Result<(ConnectOptions, ServerAddr)> {
    let refused = || anyhow!("NATS_URL: expected nats://user:password@host:port");
    let mut url = url::Url::parse(url).map_err(|_| refused())?;
    if !matches!(url.scheme(), "nats" | "tls") || url.host_str().is_none_or(str::is_empty) {
        return Err(refused());
    }
    let mut options = ConnectOptions::new().name("lumio");
    match credentials(&url).ok_or_else(refused)? {
        (user, Some(password)) => options = options.user_and_password(user, password),
        (token, None) if !token.is_empty() => options = options.token(token),
        (_, None) => {}
    }
    url.set_username("").map_err(|()| refused())?;
    url.set_password(None).map_err(|()| refused())?;
    Ok((options, url.as_str().parse().map_err(|_| refused())?))
}

/// User and password as they are: within a URL they are escaped (RFC 3986, section 2.1). `None` if
/// what they mean is not UTF-8.
fn credentials(url: &url::Url) -> Option<(String, Option<String>)> {
    let plain = |escaped: &str| {
        percent_decode_str(escaped).decode_utf8().ok().map(|text| text.into_owned())
    };
    let password = match url.password() {
        Some(escaped) => Some(plain(escaped)?),
        None => None,
    };
    Some((plain(url.username())?, password))
}

/// 50 ms, doubled at every attempt, at most [`MAX_RECONNECT_DELAY`].
fn reconnect_delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.min(10)).unwrap_or(10);
    (Duration::from_millis(50) * 2_u32.pow(doublings)).min(MAX_RECONNECT_DELAY)
}

impl Link {
    /// Logs an event, unless the same was logged since the last connection.
    fn note(&mut self, event: &Event) {
        let words = match event {
            Event::Connected => {
                *self = Self { is_tried: true, ..Self::default() };
                info!("NATS is connected");
                return;
            }
            // The client ends a connection by itself only after this process has let go of it.
            Event::Draining | Event::Closed => return,
            Event::Disconnected => "the connection is lost".to_owned(),
            Event::ClientError(ClientError::Other(words)) => words.clone(),
            Event::ServerError(error) => error.to_string(),
            other => other.to_string(),
        };
        // The server's errors arrive on a live connection, so they do not explain a missing one.
        if matches!(event, Event::Disconnected | Event::ClientError(_)) {
            self.is_tried = true;
            self.cause = Some(words.clone());
        }
        if self.logged.len() < MOST_LINES && self.logged.insert(words.clone()) {
            warn!("NATS_URL: {words}");
        }
    }
}

/// What is locked here stays true after a panic.
fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_is_no_connection_is_known_and_logged_once() {
        let mut link = Link::default();
        let refused = Event::ClientError(ClientError::Other("authorization violation".to_owned()));
        for _ in 0..3 {
            link.note(&refused);
        }
        assert_eq!(link.cause.as_deref(), Some("authorization violation"));
        assert!(link.is_tried);
        assert_eq!(link.logged.len(), 1);
        link.note(&Event::Connected);
        assert!(link.cause.is_none() && link.logged.is_empty(), "the next outage is logged again");
        for number in 0..100 {
            link.note(&Event::ClientError(ClientError::Other(number.to_string())));
        }
        assert_eq!(link.logged.len(), MOST_LINES);
    }

    #[test]
    fn the_end_of_a_connection_that_this_process_closed_is_no_warning() {
        let log = crate::telemetry::captured::Log::default();
        let subscriber = tracing_subscriber::fmt().json().with_writer(log.writer()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut link = Link::default();
            for event in [Event::Connected, Event::Draining, Event::Closed] {
                link.note(&event);
            }
            assert_eq!(link.cause, None);
            link.note(&Event::Disconnected);
        });
        let lines = log.lines();
        let levels: Vec<_> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
        assert_eq!(levels, ["INFO", "WARN"], "connected, and a connection that was lost");
    }

    #[test]
    fn a_password_in_a_url_may_hold_any_character() {
        let read = |url: &str| credentials(&url.parse().unwrap());
        let pair = |user: &str, password: &str| Some((user.to_owned(), Some(password.to_owned())));
        let escaped = "nats://us%40er:a%22b%5Cc%20%24d%23e%2Ff%3Ag%C3%A9@host:4222";
        assert_eq!(read(escaped), pair("us@er", "a\"b\\c $d#e/f:gé"));
        assert_eq!(read("nats://user:100%25@host:4222"), pair("user", "100%"));
        assert_eq!(read("nats://to%2Fken@host:4222"), Some(("to/ken".to_owned(), None)));
        assert_eq!(read("nats://host:4222"), Some((String::new(), None)));
        assert_eq!(read("nats://user:%FF@host:4222"), None, "no UTF-8");
    }
}
