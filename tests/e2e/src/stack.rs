//! Lumio as a platform runs it: five processes, each with its own credentials, on a network of the
//! test's own.

mod client;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use stellar::Keypair;
use tempfile::TempDir;
use testkit::{TestBus, TestDb};

use crate::process::{Process, binary, free_port, inherited};

/// What the network is started with.
#[derive(Debug, Clone)]
pub struct LocalNetwork {
    /// Milliseconds from one ledger to the next.
    pub ledger_ms: u64,
    /// Whose limits it has, as `lumio-localnet --profile` takes it.
    pub profile: &'static str,
}

impl Default for LocalNetwork {
    /// Runs end in a second or two rather than in ten.
    fn default() -> Self {
        Self { ledger_ms: 200, profile: "public-network" }
    }
}

/// The variables of one service.
pub type Variables = BTreeMap<String, String>;

/// Everything, running.
pub struct Stack {
    /// The network.
    pub localnet: Option<Process>,
    /// The three services; `None` while one is down.
    pub oracle_gate: Option<Process>,
    /// See [`Stack::oracle_gate`].
    pub module_gate: Option<Process>,
    /// See [`Stack::oracle_gate`].
    pub runner: Option<Process>,
    /// The bus, to listen on.
    pub bus: TestBus,
    /// The databases of runner, oracle-gate and module-gate.
    pub databases: [TestDb; 3],
    folder: TempDir,
    network: LocalNetwork,
    ports: Ports,
    keys: Keys,
    /// Alice's token at the gateway, once she has logged in.
    token: std::sync::Mutex<Option<String>>,
}

/// Everybody with a key.
pub struct Keys {
    /// Opens and settles runs.
    pub runner: Keypair,
    /// Pays the transactions' fees.
    pub source: Keypair,
    /// Signs the gateway's challenges.
    pub login: Keypair,
    /// Signs statements: its seed, and its public half as hex.
    pub attestation: ([u8; 32], String),
}

struct Ports {
    rpc: u16,
    http: u16,
    grpc: u16,
    oracle: u16,
    module: u16,
}

impl Stack {
    /// Starts everything, deploys the contracts and funds runner, source, developer and alice.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with_services(None).await
    }

    /// The same, where `upstreams` is the operator's file of services that modules may use.
    pub async fn start_with_services(upstreams: Option<&str>) -> anyhow::Result<Self> {
        let mut stack = Self::prepare().await?;
        if let Some(upstreams) = upstreams {
            std::fs::write(stack.upstreams(), upstreams)?;
        }
        stack.start_all_but_runner().await?;
        stack.start_runner(&[]).await?;
        Ok(stack)
    }

    /// The same without a runner, with databases and a bus of the caller's.
    pub async fn start_on(databases: [TestDb; 3], bus: TestBus) -> anyhow::Result<Self> {
        let mut stack = Self::prepare_on(databases, bus, LocalNetwork::default())?;
        stack.start_all_but_runner().await?;
        Ok(stack)
    }

    /// Starts everything that a runner needs, and deploys the contracts.
    pub async fn start_all_but_runner(&mut self) -> anyhow::Result<()> {
        self.start_localnet().await?;
        self.lumio(&["deploy"])?;
        self.start_oracle_gate().await?;
        self.start_module_gate().await
    }

    /// The folders, keys and ports of a stack of which nothing runs yet.
    pub async fn prepare() -> anyhow::Result<Self> {
        let databases =
            [testkit::postgres().await, testkit::postgres().await, testkit::postgres().await];
        Self::prepare_on(databases, testkit::nats().await, LocalNetwork::default())
    }

    /// The same with databases, a bus and a network of the caller's.
    pub fn prepare_on(
        databases: [TestDb; 3],
        bus: TestBus,
        network: LocalNetwork,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lumio-e2e-").tempdir()?;
        // Modules run under another uid; they have to reach their copies.
        open_to_all(folder.path())?;
        for name in ["store", "scratch", "keys"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        open_to_all(&folder.path().join("scratch"))?;
        let attestation = Keypair::generate()?;
        let seed = seed_of(&attestation)?;
        Ok(Self {
            localnet: None,
            oracle_gate: None,
            module_gate: None,
            runner: None,
            bus,
            databases,
            folder,
            network,
            ports: Ports {
                rpc: free_port()?,
                http: free_port()?,
                grpc: free_port()?,
                oracle: free_port()?,
                module: free_port()?,
            },
            keys: Keys {
                runner: Keypair::generate()?,
                source: Keypair::generate()?,
                login: Keypair::generate()?,
                attestation: (seed, hex::encode(attestation.address().as_bytes())),
            },
            token: std::sync::Mutex::new(None),
        })
    }

    /// The store of packs, views and modules.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A folder of the test's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The operator's file of services, where there is one.
    fn upstreams(&self) -> PathBuf {
        self.folder.path().join("upstreams.json")
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Base address of the gateway.
    pub fn gateway(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// Address of the RPC.
    pub fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.rpc)
    }

    /// Starts the network; its ledger survives a restart.
    pub async fn start_localnet(&mut self) -> anyhow::Result<()> {
        let port = self.ports.rpc.to_string();
        let ledger_ms = self.network.ledger_ms.to_string();
        let state = self.folder.path().join("chain");
        let state = state.to_str().context("a folder's name is text")?;
        let args = [
            "--port",
            &port,
            "--state-dir",
            state,
            "--ledger-interval-ms",
            &ledger_ms,
            "--profile",
            self.network.profile,
            "--control",
        ];
        let process = Process::start(
            "localnet",
            "lumio-localnet",
            &args,
            &Variables::new(),
            self.folder.path(),
        )?;
        self.localnet = Some(process.answering(self.ports.rpc).await?);
        let keys = [
            ("runner", &self.keys.runner),
            ("source", &self.keys.source),
            ("login", &self.keys.login),
        ];
        for (name, key) in keys {
            self.import(name, key)?;
        }
        for name in ["developer", "alice"] {
            if !self.folder.path().join("keys").join(name).exists() {
                // It exists already after a restart.
                let _ = self.lumio_output(&["keys", "generate", name])?;
            }
        }
        self.lumio(&["fund", "runner", "source", "developer", "alice", "login"])?;
        Ok(())
    }

    /// What oracle-gate is started with.
    pub fn oracle_gate_variables(&self) -> Variables {
        let profile = repository().join("services/oracle-gate/config/dev.yaml");
        self.variables(
            1,
            [
                ("ORACLE_GATE_BIND", format!("127.0.0.1:{}", self.ports.oracle)),
                ("ORACLE_GATE_PROFILE", profile.display().to_string()),
                ("ORACLE_GATE_ROOT", self.store().display().to_string()),
                (
                    "ORACLE_GATE_GRPC_TOKENS",
                    "runner:oracle-gate-token-of-the-test,cli:command-line-token-of-the-test"
                        .to_owned(),
                ),
                ("ORACLE_GATE_ATTESTATION_KEYS", self.keys.attestation.1.clone()),
            ],
        )
    }

    /// What module-gate is started with.
    pub fn module_gate_variables(&self) -> Variables {
        let node = node();
        let mut variables = self.variables(
            2,
            [
                ("MODULE_GATE_BIND", format!("127.0.0.1:{}", self.ports.module)),
                ("MODULE_GATE_STORE", self.store().display().to_string()),
                ("MODULE_GATE_SCRATCH", self.folder.path().join("scratch").display().to_string()),
                ("MODULE_GATE_ATTESTATION_SECRET", hex::encode(self.keys.attestation.0)),
                ("MODULE_GATE_NODE", node.display().to_string()),
                (
                    "MODULE_GATE_GRPC_TOKENS",
                    "runner:module-gate-token-of-the-test,cli:command-line-token-of-the-test"
                        .to_owned(),
                ),
            ],
        );
        let upstreams = self.upstreams();
        if upstreams.exists() {
            variables.insert("MODULE_GATE_UPSTREAMS".to_owned(), upstreams.display().to_string());
        }
        variables
    }

    /// What the runner is started with.
    pub fn runner_variables(&self) -> Variables {
        self.variables(
            0,
            [
                ("RUNNER_SECRET", self.keys.runner.secret().to_string()),
                ("RUNNER_SOURCE_SECRET", self.keys.source.secret().to_string()),
                ("RUNNER_RPC_URL", self.rpc_url()),
                ("RUNNER_PORT", self.ports.http.to_string()),
                ("RUNNER_GRPC_PORT", self.ports.grpc.to_string()),
                ("RUNNER_GRPC_TOKENS", "test:runner-token-of-the-test".to_owned()),
                ("RUNNER_AUTH", "login".to_owned()),
                ("RUNNER_AUTH_SECRET", self.keys.login.secret().to_string()),
                ("RUNNER_TOKEN_SECRET", "5a".repeat(32)),
                ("RUNNER_PUBLIC_URL", self.gateway()),
                ("RUNNER_POLL_INTERVAL_MS", "100".to_owned()),
                ("RUNNER_LEASE_MS", "2000".to_owned()),
                ("RUNNER_MODULE_GATE_URL", format!("http://127.0.0.1:{}", self.ports.module)),
                ("RUNNER_MODULE_GATE_TOKEN", "module-gate-token-of-the-test".to_owned()),
                ("RUNNER_ORACLE_GATE_URL", format!("http://127.0.0.1:{}", self.ports.oracle)),
                ("RUNNER_ORACLE_GATE_TOKEN", "oracle-gate-token-of-the-test".to_owned()),
            ],
        )
    }

    /// Starts oracle-gate.
    pub async fn start_oracle_gate(&mut self) -> anyhow::Result<()> {
        let process = Process::start(
            "oracle-gate",
            "oracle-gate",
            &["serve"],
            &self.oracle_gate_variables(),
            self.folder.path(),
        )?;
        self.oracle_gate = Some(process.answering(self.ports.oracle).await?);
        Ok(())
    }

    /// Starts module-gate.
    pub async fn start_module_gate(&mut self) -> anyhow::Result<()> {
        let process = Process::start(
            "module-gate",
            "module-gate",
            &["serve"],
            &self.module_gate_variables(),
            self.folder.path(),
        )?;
        self.module_gate = Some(process.answering(self.ports.module).await?);
        Ok(())
    }

    /// Starts the runner with further variables.
    pub async fn start_runner(&mut self, further: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut variables = self.runner_variables();
        variables
            .extend(further.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process =
            Process::start("runner", "runner", &["serve"], &variables, self.folder.path())?;
        self.runner = Some(process.answering(self.ports.http).await?);
        Ok(())
    }

    /// Moves the ledger's clock ahead of the hosts'.
    pub async fn advance_ledger_time(&self, seconds: u64) -> anyhow::Result<()> {
        self.control("time", serde_json::json!({ "seconds": seconds })).await?;
        // The clock is that of the newest ledger.
        self.close_ledgers(1).await
    }

    /// Lets no ledger close by itself any more.
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.fault(&serde_json::json!({ "fault": "freeze", "on": true })).await
    }

    /// Address of another node that has forgotten all but the last three ledgers, and so everything
    /// that was until now.
    pub async fn forgetful_node(&self) -> anyhow::Result<String> {
        self.close_ledgers(5).await?;
        self.node_with_history(3).await
    }

    /// Asks the network for a fault, as `POST /control/fault` takes it.
    pub async fn fault(&self, fault: &serde_json::Value) -> anyhow::Result<()> {
        self.control("fault", fault.clone()).await.map(drop)
    }

    /// A further runner on the same database, with a source of its own; its gateway's port and that
    /// of gRPC.
    pub fn further_runner(
        &self,
        name: &str,
        source: &Keypair,
    ) -> anyhow::Result<(Variables, u16, u16)> {
        let (http, grpc) = (free_port()?, free_port()?);
        let mut variables = self.runner_variables();
        let own = [
            ("RUNNER_PORT", http.to_string()),
            ("RUNNER_GRPC_PORT", grpc.to_string()),
            ("RUNNER_PUBLIC_URL", format!("http://127.0.0.1:{http}")),
            ("RUNNER_SOURCE_SECRET", source.secret().to_string()),
        ];
        variables.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
        self.import(name, source)?;
        self.lumio(&["fund", name])?;
        Ok((variables, http, grpc))
    }

    /// Closes ledgers at once.
    pub async fn close_ledgers(&self, count: u32) -> anyhow::Result<()> {
        self.control("close", serde_json::json!({ "count": count })).await.map(drop)
    }

    /// Address of another node that keeps this many ledgers.
    pub async fn node_with_history(&self, ledgers: u32) -> anyhow::Result<String> {
        let asked = serde_json::json!({ "lag": 0, "history": ledgers });
        let node = self.control("node", asked).await?;
        Ok(node["url"].as_str().context("the control names the node's address")?.to_owned())
    }

    async fn control(
        &self,
        what: &str,
        body: serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let url = format!("{}/control/{what}", self.rpc_url());
        let answer = reqwest::Client::new().post(url).json(&body).send().await?;
        let text = answer.error_for_status()?.text().await?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// What `runner account` says, once every event is published: everything agrees, or why not.
    pub async fn account(&self) -> anyhow::Result<()> {
        let mut said = String::new();
        for _ in 0..40 {
            let output = Command::new(binary("runner")?)
                .arg("account")
                .env_clear()
                .envs(inherited())
                .envs(self.runner_variables())
                .current_dir("/")
                .output()?;
            if output.status.success() {
                return Ok(());
            }
            said = String::from_utf8_lossy(&output.stdout).into_owned();
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
        anyhow::bail!("runner account: {said}")
    }

    /// The end of every log, for a failing test.
    pub fn logs(&self) -> String {
        let processes = [&self.runner, &self.module_gate, &self.oracle_gate, &self.localnet];
        processes
            .into_iter()
            .flatten()
            .map(|process| format!("--- {}\n{}\n", process.name(), process.log_tail()))
            .collect()
    }

    fn variables<const N: usize>(&self, service: usize, own: [(&str, String); N]) -> Variables {
        let common = [
            ("DATABASE_URL", self.databases[service].url.clone()),
            ("NATS_URL", self.bus.url.clone()),
            ("NATS_PREFIX", self.bus.prefix.clone()),
        ];
        own.into_iter().chain(common).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn import(&self, name: &str, key: &Keypair) -> anyhow::Result<()> {
        use std::io::Write as _;
        use std::process::Stdio;
        let mut child = Command::new(binary("lumio")?)
            .args(["keys", "import", name])
            .env_clear()
            .env("LUMIO_KEYS_DIR", self.folder.path().join("keys"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        writeln!(child.stdin.take().context("a pipe was asked for")?, "{}", key.secret().as_str())?;
        // After a restart the key is there already.
        child.wait()?;
        Ok(())
    }
}

/// The program that runs modules.
fn node() -> PathBuf {
    testkit::program("node").unwrap_or_else(|| PathBuf::from("node"))
}

/// The root of this repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn open_to_all(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

/// The 32 bytes inside a secret of the form S….
pub fn seed_of(key: &Keypair) -> anyhow::Result<[u8; 32]> {
    let secret: stellar_strkey::ed25519::PrivateKey =
        key.secret().parse().map_err(|_| anyhow::anyhow!("a fresh key is one"))?;
    Ok(secret.0)
}
