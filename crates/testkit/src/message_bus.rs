//! A fresh corner of a bus for a test, and a server that a test may stop.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::{Client, Subscriber};
use futures::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};
use wire::event::{CloudEvent, Family};

use crate::programs::program;
use crate::supervised::Supervised;
use crate::{fresh_name, in_own_runtime};

/// How long a private server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long [`Listener::next`] waits.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(60);

/// A bus under a prefix of the test's own; its streams go with this value.
#[derive(Debug)]
pub struct TestBus {
    /// Where it is, for a `NATS_URL`.
    pub url: String,
    /// The prefix, for a `NATS_PREFIX`.
    pub prefix: String,
    /// A connection to it.
    pub client: Client,
}

/// Everything said under a prefix since the test began to listen.
#[derive(Debug)]
pub struct Listener(Subscriber);

/// A server of the test's own, that it may stop and start again at the same address.
#[derive(Debug)]
pub struct NatsServer {
    /// Where it is, for a `NATS_URL`.
    pub url: String,
    folder: PathBuf,
    running: Option<Supervised>,
}

/// A bus of this test alone.
///
/// # Panics
///
/// When there is no server and none can be started; the text says what is missing.
pub async fn nats() -> TestBus {
    fresh().await.unwrap_or_else(|error| panic!("no bus for this test: {error:#}"))
}

impl TestBus {
    /// Listens to everything under the prefix from now on.
    ///
    /// # Panics
    ///
    /// When the bus is away.
    pub async fn listen(&self) -> Listener {
        self.listen_at(format!("{}.>", self.prefix)).await
    }

    /// Listens to the events of one family from now on.
    ///
    /// # Panics
    ///
    /// As [`TestBus::listen`].
    pub async fn listen_to(&self, family: Family) -> Listener {
        self.listen_at(family.filter(&self.prefix)).await
    }

    /// Everything that the stream of a family holds, in its order. A message that was published
    /// twice can be there twice.
    ///
    /// # Errors
    ///
    /// When the bus is away, or a message is no event. A family without a stream has said nothing.
    pub async fn stored(&self, family: Family) -> anyhow::Result<Vec<CloudEvent>> {
        let jetstream = async_nats::jetstream::new(self.client.clone());
        let Ok(stream) = jetstream.get_stream(family.stream(&self.prefix)).await else {
            return Ok(Vec::new());
        };
        let mut events = Vec::new();
        if stream.cached_info().state.messages == 0 {
            return Ok(events);
        }
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::All,
            ..pull::OrderedConfig::default()
        };
        let mut messages = stream.create_consumer(config).await?.messages().await?;
        while let Some(message) = timeout(RECEIVE_TIMEOUT, messages.next()).await?.transpose()? {
            events.push(serde_json::from_slice(&message.payload)?);
            let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
            if info.pending == 0 {
                break;
            }
        }
        Ok(events)
    }

    async fn listen_at(&self, subject: String) -> Listener {
        let subscription = self.client.subscribe(subject).await;
        // Only once the server has the subscription: what is published from here on is received.
        self.client.flush().await.expect("the bus answers");
        Listener(subscription.expect("the bus takes a subscription"))
    }
}

impl Listener {
    /// The next event and its subject.
    ///
    /// # Panics
    ///
    /// When none comes within 15 s, or it is not a CloudEvent.
    pub async fn next(&mut self) -> (String, CloudEvent) {
        let message =
            timeout(RECEIVE_TIMEOUT, self.0.next()).await.expect("an event comes in time");
        let message = message.expect("the bus stays");
        let event = serde_json::from_slice(&message.payload).expect("a CloudEvent");
        (message.subject.to_string(), event)
    }

    /// The events up to and including the first for which `last` holds.
    ///
    /// # Panics
    ///
    /// As [`Listener::next`].
    pub async fn until(&mut self, last: impl Fn(&CloudEvent) -> bool) -> Vec<CloudEvent> {
        let mut events = Vec::new();
        while !events.last().is_some_and(&last) {
            events.push(self.next().await.1);
        }
        events
    }
}

impl Drop for TestBus {
    fn drop(&mut self) {
        let (url, prefix) = (self.url.clone(), self.prefix.clone());
        in_own_runtime(async move {
            if let Ok(client) = connect(&url).await {
                let jetstream = async_nats::jetstream::new(client);
                for family in Family::ALL {
                    drop(jetstream.delete_stream(family.stream(&prefix)).await);
                }
            }
        });
    }
}

impl NatsServer {
    /// Starts a server on a free port.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start() -> Self {
        Self::launch().await.unwrap_or_else(|error| panic!("no NATS server: {error:#}"))
    }

    /// A corner of it.
    ///
    /// # Errors
    ///
    /// When it is stopped.
    pub async fn bus(&self) -> anyhow::Result<TestBus> {
        let client = connect(&self.url).await?;
        Ok(TestBus { url: self.url.clone(), prefix: fresh_name("t"), client })
    }

    /// Kills it.
    pub fn stop(&mut self) {
        drop(self.running.take());
    }

    /// Starts it again where it was, with what its streams held.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.stop();
        let address = self.url.trim_start_matches("nats://");
        let port = address.rsplit(':').next().unwrap_or_default();
        // The same port: clients that are connected know no other.
        let server = run(&self.folder, port, None).expect("the server starts again");
        self.running = Some(server);
        until_open(&self.url).await.expect("the server answers again");
    }

    async fn launch() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lumio-nats-").tempdir()?.keep();
        // The folder outlives a stop, so its end is up to `drop`.
        let running = run(&folder, "-1", None)?;
        let url = read_address(&folder).await?;
        Ok(Self { url, folder, running: Some(running) })
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.stop();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Connects with the credentials in `url`, which the client itself leaves unused.
async fn connect(url: &str) -> anyhow::Result<Client> {
    let mut url = url::Url::parse(url).context("NATS_URL is not a URL")?;
    let mut options = async_nats::ConnectOptions::new();
    if let Some(password) = url.password() {
        options = options.user_and_password(url.username().to_owned(), password.to_owned());
    }
    let bare = url.set_username("").and_then(|()| url.set_password(None));
    bare.map_err(|()| anyhow::anyhow!("NATS_URL has no host"))?;
    Ok(options.connect(url.as_str()).await?)
}

async fn fresh() -> anyhow::Result<TestBus> {
    let url = match env::var_os("NATS_URL") {
        Some(url) => url.into_string().ok().context("NATS_URL is not text")?,
        None => private_server().await?,
    };
    let client = connect(&url).await.context("cannot reach the server")?;
    Ok(TestBus { url, prefix: fresh_name("t"), client })
}

/// The URL of this process's own server, started by the first who asks.
async fn private_server() -> anyhow::Result<String> {
    static SERVER: OnceLock<Result<(PathBuf, Supervised), String>> = OnceLock::new();
    let folder = tokio::task::spawn_blocking(|| {
        let server = SERVER.get_or_init(|| {
            let start = || {
                let folder = tempfile::Builder::new().prefix("lumio-nats-").tempdir()?.keep();
                let server = run(&folder, "-1", Some(&folder))?;
                anyhow::Ok((folder, server))
            };
            start().map_err(|error| format!("{error:#}"))
        });
        server.as_ref().map(|(folder, _)| folder.clone()).map_err(Clone::clone)
    });
    read_address(&folder.await?.map_err(anyhow::Error::msg)?).await
}

/// Starts a server that keeps everything below `folder`; port `-1` is a free one.
fn run(folder: &Path, port: &str, remove: Option<&Path>) -> anyhow::Result<Supervised> {
    let server = program("nats-server");
    let server = server.context("NATS_URL is not set and there is no nats-server")?;
    let server: Vec<OsString> = [
        server.into_os_string(),
        "--jetstream".into(),
        "--store_dir".into(),
        folder.join("store").into(),
        "--addr".into(),
        "127.0.0.1".into(),
        "--port".into(),
        port.into(),
        "--ports_file_dir".into(),
        folder.into(),
    ]
    .into();
    Supervised::start(&server, &folder.join("log"), remove, None)
}

/// Where the server listens, as it says in a file of its own.
async fn read_address(folder: &Path) -> anyhow::Result<String> {
    let give_up_at = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(url) = address(folder) {
            until_open(&url).await?;
            return Ok(url);
        }
        ensure!(Instant::now() < give_up_at, "nats-server does not say where it listens");
        sleep(Duration::from_millis(20)).await;
    }
}

fn address(folder: &Path) -> Option<String> {
    let mut files = folder.read_dir().ok()?.flatten().map(|entry| entry.path());
    let file = files.find(|path| path.extension().is_some_and(|kind| kind == "ports"))?;
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    Some(ports["nats"][0].as_str()?.to_owned())
}

async fn until_open(url: &str) -> anyhow::Result<()> {
    let give_up_at = Instant::now() + START_TIMEOUT;
    while connect(url).await.is_err() {
        ensure!(Instant::now() < give_up_at, "nats-server does not answer");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
