//! Commands and requests of the users of a running stack.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::{Stack, node};
use crate::process::{binary, inherited};

/// How long a run may take to end.
const PATIENCE: Duration = Duration::from_secs(180);

impl Stack {
    /// Runs the command line; its standard output.
    ///
    /// # Errors
    ///
    /// When it does not exit with 0; with what it printed.
    pub fn lumio(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.lumio_output(args)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "lumio {args:?}: {}\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text)
    }

    /// Runs the command line and leaves judging to the caller.
    pub fn lumio_output(&self, args: &[&str]) -> anyhow::Result<Output> {
        let output = Command::new(binary("lumio")?)
            .args(args)
            .env_clear()
            .envs(inherited())
            // What `verify --rerun` executes modules with, as the service does.
            .env("MODULE_GATE_NODE", node())
            .env("LUMIO_RPC_URL", self.rpc_url())
            .env("LUMIO_GATEWAY_URL", self.gateway())
            .env("LUMIO_KEYS_DIR", self.folder.path().join("keys"))
            .env("LUMIO_CONFIG_DIR", self.folder.path().join("lumio"))
            .env("LUMIO_ORACLE_GATE_URL", format!("http://127.0.0.1:{}", self.ports.oracle))
            .env("LUMIO_ORACLE_GATE_TOKEN", "command-line-token-of-the-test")
            .env("LUMIO_MODULE_GATE_URL", format!("http://127.0.0.1:{}", self.ports.module))
            .env("LUMIO_MODULE_GATE_TOKEN", "command-line-token-of-the-test")
            .output()?;
        Ok(output)
    }

    /// Publishes the module in `folder` as a new agent and lets alice, with 50 XLM in the vault,
    /// run it. The agent's id.
    pub fn publish_and_grant(&self, folder: &Path) -> anyhow::Result<u64> {
        self.publish_and_grant_at(folder, "runtime_ms=100stroops")
    }

    /// The same at other rates.
    pub fn publish_and_grant_at(&self, folder: &Path, rates: &str) -> anyhow::Result<u64> {
        let folder = folder.to_str().context("a folder's name is text")?;
        let published = self.lumio(&[
            "--output",
            "json",
            "module",
            "publish",
            folder,
            "--as",
            "developer",
            "--runner",
            "runner",
            "--rates",
            rates,
        ])?;
        let published: Value = serde_json::from_str(&published)?;
        let agent = published["agentId"].as_u64().context("publish names the agent")?;
        self.lumio(&["balance", "deposit", "50", "--as", "alice"])?;
        self.lumio(&["policy", "set", "--as", "alice", "--per-run-cap", "5", "--daily-cap", "40"])?;
        self.lumio(&[
            "grant",
            "add",
            "--as",
            "alice",
            "--runner",
            "runner",
            "--agent",
            &agent.to_string(),
            "--expires-in",
            "1d",
        ])?;
        Ok(agent)
    }

    /// Alice's address.
    pub fn alice(&self) -> anyhow::Result<String> {
        let shown: Value =
            serde_json::from_str(&self.lumio(&["--output", "json", "keys", "show", "alice"])?)?;
        Ok(shown["address"].as_str().context("a key has an address")?.to_owned())
    }

    /// What alice has in the vault, stroops: what can be spent and what is in escrow.
    pub fn alice_balance(&self) -> anyhow::Result<(i128, i128)> {
        let shown: Value =
            serde_json::from_str(&self.lumio(&["--output", "json", "balance", "show", "alice"])?)?;
        let amount = |name: &str| -> anyhow::Result<i128> {
            shown[name]
                .as_str()
                .with_context(|| format!("{name} in {shown}"))?
                .parse()
                .context("an amount")
        };
        Ok((amount("balance")?, amount("escrowed")?))
    }

    /// Alice's token: from her login, which the command line makes, keeps and refreshes.
    pub fn token(&self) -> anyhow::Result<String> {
        let mut kept = self.token.lock().map_err(|_| anyhow::anyhow!("a test has panicked"))?;
        if let Some(token) = kept.as_ref() {
            return Ok(token.clone());
        }
        if !self.lumio_output(&["whoami", "--token"])?.status.success() {
            self.lumio(&["login", "--as", "alice"])?;
        }
        let token = self.lumio(&["whoami", "--token"])?.trim().to_owned();
        *kept = Some(token.clone());
        Ok(token)
    }

    /// Asks for a run of `agent` for alice, as clients should: with a key, and again where the
    /// answer is that something is away for a moment. Its id.
    pub async fn ask(&self, agent: u64, input: &Value) -> anyhow::Result<String> {
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let key = format!("e2e-{}", ASKED.fetch_add(1, Ordering::Relaxed));
        let body = self.body(agent, "input", input)?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let (status, run) = self.post_with_key("/runs", &body, Some(&key)).await?;
            match status {
                202 => return Ok(run["id"].as_str().context("a run has an id")?.to_owned()),
                503 if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                _ => bail!("POST /runs answered {status}: {run}"),
            }
        }
    }

    /// A request for a run of alice, with its input or what names one as `member`.
    pub fn body(&self, agent: u64, member: &str, input: &Value) -> anyhow::Result<Value> {
        Ok(json!({
            "user": self.alice()?, "agentId": agent, member: input,
            "budgets": { "llmIn": 0, "llmOut": 0, "httpCalls": 0, "runtimeMs": 20_000 },
        }))
    }

    /// Sends a document to the gateway in alice's name; gives the status and the answer.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        self.post_with_key(path, body, None).await
    }

    async fn post_with_key(
        &self,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> anyhow::Result<(u16, Value)> {
        let mut request = reqwest::Client::new().post(format!("{}{path}", self.gateway()));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = request.bearer_auth(self.token()?).json(body).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_str(&answer.text().await?)?))
    }

    /// The run as the gateway shows it.
    pub async fn run(&self, id: &str) -> anyhow::Result<Value> {
        let request = reqwest::Client::new().get(format!("{}/runs/{id}", self.gateway()));
        let answer = request.bearer_auth(self.token()?).send().await?;
        Ok(serde_json::from_str(&answer.text().await?)?)
    }

    /// Waits until the run has ended, and gives it.
    pub async fn ended(&self, id: &str) -> anyhow::Result<Value> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Ok(run) = self.run(id).await {
                let status = run["status"].as_str().unwrap_or_default();
                if matches!(status, "finalized" | "failed" | "cancelled") {
                    return Ok(run);
                }
                if deadline < tokio::time::Instant::now() {
                    bail!("the run has not ended: {run:#}\n{}", self.logs());
                }
            } else if deadline < tokio::time::Instant::now() {
                bail!("the gateway does not answer\n{}", self.logs());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
