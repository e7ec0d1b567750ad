//! All services as processes on a network of their own, with users who have granted the runner.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use e2e::{LocalNetwork, Stack, binary, repository};
use http_body_util::Full;
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::{NatsServer, PostgresServer};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::load::Call;

/// What every user has in the vault, in XLM.
const DEPOSIT: &str = "4000";
/// What each added channel begins with, in stroops.
const CHANNEL: &str = "1500000000";

/// Only a defect makes the runner take longer to start.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is measured.
pub struct Paid {
    stack: Stack,
    bodies: Vec<Bytes>,
    asked: u64,
    _nats: NatsServer,
    // The last: the databases are dropped before their server ends.
    _postgres: PostgresServer,
}

/// How it is set up.
pub struct Setting<'a> {
    /// The network.
    pub network: LocalNetwork,
    /// How many users pay for runs.
    pub users: u32,
    /// How many source accounts send transactions.
    pub channels: u32,
    /// Further settings of the runner.
    pub runner: &'a [(&'a str, String)],
}

impl Paid {
    /// Starts everything, with the example module published and granted to the runner by each user.
    pub async fn start(setting: &Setting<'_>) -> anyhow::Result<Self> {
        let (postgres, nats) = (PostgresServer::durable().await?, NatsServer::start().await);
        let databases =
            [postgres.database().await?, postgres.database().await?, postgres.database().await?];
        let network = setting.network.clone();
        let mut stack = Stack::prepare_on(databases, nats.bus().await?, network)?;
        // The commands wait for the network, whose own ledgers may be long.
        let closing = (setting.network.ledger_ms > 1_000).then(|| Closing::start(&stack));
        stack.start_all_but_runner().await?;
        let agent = publish(&stack)?;
        let mut bodies = Vec::new();
        for number in 0..setting.users {
            bodies.push(user(&stack, number, agent)?);
        }
        start_runner(&mut stack, setting.runner).await?;
        if setting.channels > 1 {
            add_channels(&stack, setting.channels - 1).await?;
        }
        drop(closing);
        Ok(Self { stack, bodies, asked: 0, _nats: nats, _postgres: postgres })
    }

    /// The runner's database.
    pub fn db(&self) -> &PgPool {
        &self.stack.databases[0].pool
    }

    /// oracle-gate's database.
    pub fn seals(&self) -> &PgPool {
        &self.stack.databases[1].pool
    }

    /// Where the gateway listens.
    pub fn gateway(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.stack.gateway().trim_start_matches("http://").parse()?)
    }

    /// The ends of all logs.
    pub fn logs(&self) -> String {
        self.stack.logs()
    }

    /// Requests for this many runs, by each user in turn.
    pub fn requests(&mut self, count: u64) -> Requests {
        let first = self.asked;
        self.asked += count;
        Requests { first, bodies: self.bodies.clone() }
    }
}

/// Requests for runs.
pub struct Requests {
    first: u64,
    bodies: Vec<Bytes>,
}

impl Requests {
    /// The request of this number.
    pub fn call(&self, number: u64) -> anyhow::Result<Call> {
        let number = self.first + number;
        let body = &self.bodies[usize::try_from(number)? % self.bodies.len()];
        let request = http::Request::post("/runs")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("idempotency-key", format!("bench-{number}"));
        Ok(request.body(Full::new(body.clone()))?)
    }
}

/// Closes a ledger each second until it is dropped.
struct Closing(JoinHandle<()>);

impl Closing {
    fn start(stack: &Stack) -> Self {
        let url = format!("{}/control/close", stack.rpc_url());
        Self(tokio::spawn(async move {
            let http = reqwest::Client::new();
            loop {
                sleep(Duration::from_secs(1)).await;
                // The network may not be there yet.
                drop(http.post(&url).json(&json!({ "count": 1 })).send().await);
            }
        }))
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn publish(stack: &Stack) -> anyhow::Result<u64> {
    let module = repository().join("examples/modules/csv-profile");
    let module = module.to_str().context("a folder's name is text")?;
    let published = stack.lumio(&[
        "--output",
        "json",
        "module",
        "publish",
        module,
        "--as",
        "developer",
        "--runner",
        "runner",
        "--rates",
        "runtime_ms=100stroops",
    ])?;
    let published: Value = serde_json::from_str(&published)?;
    published["agentId"].as_u64().context("publish names the agent")
}

/// Makes a user who has paid in and granted the runner; what that user asks for.
fn user(stack: &Stack, number: u32, agent: u64) -> anyhow::Result<Bytes> {
    let name = format!("user-{number}");
    let agent_id = agent.to_string();
    stack.lumio(&["keys", "generate", &name])?;
    stack.lumio(&["fund", &name])?;
    stack.lumio(&["balance", "deposit", DEPOSIT, "--as", &name])?;
    let caps = ["--per-run-cap", "5", "--daily-cap", DEPOSIT];
    stack.lumio(&[["policy", "set", "--as", &name].as_slice(), &caps].concat())?;
    let grant = ["grant", "add", "--as", &name, "--runner", "runner"];
    let of = ["--agent", agent_id.as_str(), "--expires-in", "1d"];
    stack.lumio(&[grant.as_slice(), &of].concat())?;
    let shown = stack.lumio(&["--output", "json", "keys", "show", &name])?;
    let shown: Value = serde_json::from_str(&shown)?;
    let body = json!({
        "user": shown["address"],
        "agentId": agent,
        "workflowId": "profile",
        "budgets": { "llmIn": 0, "llmOut": 0, "httpCalls": 0, "runtimeMs": 20_000 },
        "input": { "csv": "day,rain,temperature\nmonday,0.0,12.8\ntuesday,10.9,10.6\n" },
    });
    Ok(Bytes::from(body.to_string()))
}

async fn start_runner(stack: &mut Stack, further: &[(&str, String)]) -> anyhow::Result<()> {
    let mut settings = vec![
        ("RUNNER_AUTH", "none"),
        ("RUNNER_MAX_QUEUE", "1000000"),
        ("RUNNER_ADDRESS_RATE_LIMIT", "0"),
        // What they are unless an operator sets them.
        ("RUNNER_POLL_INTERVAL_MS", "1000"),
        ("RUNNER_LEASE_MS", "15000"),
    ];
    settings.extend(further.iter().map(|(name, value)| (*name, value.as_str())));
    stack.start_runner(&settings).await?;
    // It listens before its tables are made.
    let begun = Instant::now();
    let summary = format!("{}/summary", stack.gateway());
    while !reqwest::get(&summary).await.is_ok_and(|answer| answer.status().is_success()) {
        ensure!(begun.elapsed() < PATIENCE, "the runner does not answer\n{}", stack.logs());
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Makes further channels, which the runner serves from then on.
async fn add_channels(stack: &Stack, count: u32) -> anyhow::Result<()> {
    let mut command = Command::new(binary("runner")?);
    command.args(["channels", "add", "--wait", "300", "--stroops", CHANNEL]);
    command.args(["--count", &count.to_string()]);
    command.env_clear().envs(stack.runner_variables());
    command.env("RUNNER_AUTH", "none").current_dir(stack.folder());
    let done = tokio::task::spawn_blocking(move || command.output()).await??;
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(
        done.status.success(),
        "runner channels add: {}\n{text}\n{}",
        done.status,
        stack.logs()
    );
    Ok(())
}
