//! graphile-worker, in a process of Node's.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// What a job does beside being taken and deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Nothing: the queue alone.
    Nothing,
    /// Writes as many rows as a step of a run.
    Rows,
    /// The same, and notifies other processes in the same transaction.
    Wake,
}

impl Task {
    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Rows => "rows",
            Self::Wake => "wake",
        }
    }
}

/// The HTTP server that adds a job for each request. It ends with this value.
pub struct Server {
    _process: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts it on this database.
    pub async fn start(database_url: &str) -> anyhow::Result<Self> {
        let mut process = command(database_url)?.arg("serve").stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().context("a pipe was asked for")?;
        let line = BufReader::new(output).lines().next_line().await?;
        let port = line.context("the peer has ended")?.parse()?;
        Ok(Self { _process: process, address: (Ipv4Addr::LOCALHOST, port).into() })
    }
}

/// Has graphile-worker do this many jobs of this database; how many it did in a second.
pub async fn work(database_url: &str, jobs: u64, task: Task) -> anyhow::Result<f64> {
    let mut command = command(database_url)?;
    command.args(["work", &jobs.to_string(), task.name()]);
    let output = command.stdout(Stdio::piped()).spawn()?.wait_with_output().await?;
    ensure!(output.status.success(), "the peer ended with {}", output.status);
    let done: Value = serde_json::from_slice(&output.stdout)?;
    let seconds = done["seconds"].as_f64().context("the peer says how long it took")?;
    Ok(jobs as f64 / seconds)
}

/// Brings the peer's packages, if they are not there.
///
/// # Errors
///
/// When npm cannot.
pub async fn install() -> anyhow::Result<()> {
    if folder().join("node_modules/graphile-worker").exists() {
        return Ok(());
    }
    let done = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
        .arg(folder())
        .stdout(Stdio::null())
        .status()
        .await
        .context("npm brings the peer's packages, and is not there")?;
    ensure!(done.success(), "npm ci in {} ended with {done}", folder().display());
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peer")
}

/// Killed when its handle is dropped, and by the kernel should this process die.
fn command(database_url: &str) -> anyhow::Result<Command> {
    let node = testkit::program("node").context("there is no node: run ./dev setup")?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(node).arg("peer.mjs").current_dir(folder());
    command.env("DATABASE_URL", database_url).env("NODE_ENV", "production");
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}
