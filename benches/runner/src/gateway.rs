//! The servers of a measurement, and a gateway of the runner as a process.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use e2e::{Process, Variables, free_port};
use http_body_util::Full;
use serde_json::json;
use sqlx::PgPool;
use stellar::Keypair;
use tempfile::TempDir;
use testkit::{NatsServer, PostgresServer, TestBus, TestDb};
use tokio::time::{Instant, sleep};

use crate::load::Call;

/// Accounts that ask for runs.
const USERS: u8 = 16;
/// Only a defect keeps events from being published for so long.
const PATIENCE: Duration = Duration::from_secs(600);

/// A Postgres that keeps what it has answered, and a bus.
pub struct Servers {
    /// The database server.
    pub postgres: PostgresServer,
    /// The bus.
    pub nats: NatsServer,
}

impl Servers {
    /// Starts both.
    pub async fn start() -> anyhow::Result<Self> {
        Ok(Self { postgres: PostgresServer::durable().await?, nats: NatsServer::start().await })
    }
}

/// `runner serve --role gateway`: accepts runs, and works on none. It ends with this value.
pub struct Gateway {
    _process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its database.
    pub db: TestDb,
    bus: TestBus,
    _folder: TempDir,
}

impl Gateway {
    /// Starts it on a database of its own.
    pub async fn start(servers: &Servers) -> anyhow::Result<Self> {
        let (db, bus) = (servers.postgres.database().await?, servers.nats.bus().await?);
        let (folder, port) = (tempfile::tempdir()?, free_port()?);
        let variables = [
            ("RUNNER_PUBLIC_KEY", Keypair::generate()?.address().to_string()),
            ("RUNNER_AUTH", "none".to_owned()),
            ("RUNNER_PORT", port.to_string()),
            // It accepts runs without a node; nothing listens here.
            ("RUNNER_RPC_URL", "http://127.0.0.1:9".to_owned()),
            ("RUNNER_MAX_QUEUE", "10000000".to_owned()),
            ("RUNNER_ADDRESS_RATE_LIMIT", "0".to_owned()),
            ("DATABASE_URL", db.url.clone()),
            ("NATS_URL", bus.url.clone()),
            ("NATS_PREFIX", bus.prefix.clone()),
        ];
        let variables: Variables =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let arguments = ["serve", "--role", "gateway"];
        let process = Process::start("runner", "runner", &arguments, &variables, folder.path())?;
        let process = process.answering(port).await?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Ok(Self { _process: process, address, db, bus, _folder: folder })
    }

    /// What subjects of its events begin with: it publishes no others.
    pub fn prefix(&self) -> &str {
        &self.bus.prefix
    }
}

/// Waits until every event was published, so that nothing goes on beside what is measured next.
pub async fn until_published(db: &PgPool) -> anyhow::Result<()> {
    let text = "SELECT count(*) FROM outbox WHERE published_at IS NULL";
    let begun = Instant::now();
    loop {
        let waiting: i64 = sqlx::query_scalar(text).fetch_one(db).await?;
        if waiting == 0 {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "{waiting} events are not published");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Requests for runs, each with a key of its own.
pub struct Requests {
    prefix: String,
    bodies: Vec<Bytes>,
}

impl Requests {
    /// Those whose keys begin so.
    pub fn new(prefix: String) -> Self {
        let bodies = (1..=USERS).map(|seed| body(&user(seed))).collect();
        Self { prefix, bodies }
    }

    /// The request of this number.
    pub fn call(&self, number: u64) -> anyhow::Result<Call> {
        let place = usize::try_from(number)? % self.bodies.len();
        let request = http::Request::post("/runs")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("idempotency-key", format!("{}-{number}", self.prefix));
        Ok(request.body(Full::new(self.bodies[place].clone()))?)
    }

    /// The body of the request of this number.
    pub fn body(&self, number: u64) -> &[u8] {
        let place = usize::try_from(number).unwrap_or_default() % self.bodies.len();
        &self.bodies[place]
    }
}

fn user(seed: u8) -> String {
    Keypair::from_seed(&[seed; 32]).address().to_string()
}

fn body(user: &str) -> Bytes {
    let body = json!({
        "user": user,
        "agentId": 1,
        "workflowId": "profile",
        "label": "the weather of last week",
        "budgets": { "llmIn": 0, "llmOut": 0, "httpCalls": 0, "runtimeMs": 20_000 },
        "input": { "csv": "day,rain,temperature\nmonday,0.0,12.8\ntuesday,10.9,10.6\n" },
    });
    Bytes::from(body.to_string())
}
