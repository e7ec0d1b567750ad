//! What these tests start from: a real network with the committed contracts, a funded user who has
//! granted a runner, a database and a bus.

use std::path::Path;
use std::time::Duration;

use chassis::{Env, Service};
use runner::config::Config;
use serde_json::{Value, json};
use stellar::registry::{RateCard, Registry};
use stellar::rpc::{Applied, Outcome, SendAnswer};
use stellar::scval::Reader;
use stellar::tx::{self, PrepareRequest};
use stellar::vault::{Account, Policy, RunState, Vault};
use stellar::{Address, Call, ContractKind, Creation, Keypair, Rpc};
use testkit::{TestBus, TestDb, eventually};
use wire::{Digest, Rates};

/// How long a run may take to get somewhere.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// What the user has in the vault, in stroops.
pub const DEPOSIT: i128 = 1_000_000_000;
/// What a run with the budgets of [`body`] escrows.
pub const PRICE: i128 = 10_000 * 100 + 1_000;

/// The surroundings of a runner.
pub struct Fixture {
    /// The network.
    pub localnet: soroban_localnet::Network,
    /// A way to it.
    pub rpc: Rpc,
    /// The database.
    pub db: TestDb,
    /// The bus.
    pub bus: TestBus,
    /// Pays.
    pub user: Keypair,
    /// Owns the agent.
    pub developer: Keypair,
    /// The runner's key.
    pub runner: Keypair,
    /// The runner's source of transactions.
    pub source: Keypair,
    /// The agent.
    pub agent_id: u32,
    /// The vault.
    pub vault: Vault,
    /// The registry.
    pub registry: Registry,
}

/// A runner of this process.
pub struct Running {
    /// Stops it.
    pub service: Service,
    /// Its gateway.
    pub gateway: Gateway,
    /// Where gRPC listens, if it does.
    pub grpc: Option<std::net::SocketAddr>,
}

/// A gateway's address.
#[derive(Clone)]
pub struct Gateway {
    http: reqwest::Client,
    /// Where it is.
    pub url: String,
    token: Option<String>,
}

impl Fixture {
    /// Everything up to a granted runner.
    pub async fn new() -> Self {
        Self::with(|network| network).await
    }

    /// The same on a network whose ledgers take this long.
    pub async fn with_ledgers_of(ledger: Duration) -> Self {
        Self::with(|network| network.ledger_interval(ledger)).await
    }

    /// The same, on a network that `change` has something to say about.
    pub async fn with(
        change: impl FnOnce(soroban_localnet::Builder) -> soroban_localnet::Builder,
    ) -> Self {
        let wanted = std::env::var_os("RUNNER_TEST_LOG").is_some();
        chassis::telemetry::init("runner", if wanted { "debug" } else { "error" }).unwrap();
        let localnet = soroban_localnet::Network::builder();
        let localnet = change(localnet.ledger_interval(Duration::from_millis(200)));
        let localnet = localnet.start().await.unwrap();
        let rpc = Rpc::new(&localnet.url()).unwrap();
        let deployer = stellar::local::deployer();
        let [user, developer, runner, source] =
            [1, 2, 3, 4].map(|seed| Keypair::from_seed(&[seed; 32]));
        let keys = [&deployer, &user, &developer, &runner, &source];
        let addresses = keys.map(|key| key.address().to_string());
        // Asked for together, they share the next ledgers.
        let funded = addresses.iter().map(|address| localnet.fund(address));
        futures::future::try_join_all(funded).await.unwrap();
        let registry = Registry(stellar::local::registry_id().unwrap());
        let vault = Vault(stellar::local::vault_id().unwrap());
        let (db, bus) = (testkit::postgres().await, testkit::nats().await);
        let mut fixture = Self {
            localnet,
            rpc,
            db,
            bus,
            user,
            developer,
            runner,
            source,
            agent_id: 0,
            vault,
            registry,
        };
        fixture.deploy(&deployer).await;
        fixture.publish().await;
        fixture.fund_and_grant().await;
        fixture
    }

    async fn deploy(&self, deployer: &Keypair) {
        let admin = deployer.address().to_val();
        let token = stellar::local::token_id().unwrap().to_val();
        let registry = self.registry.0.to_val();
        let contracts = [
            (
                "agent_registry",
                ContractKind::Registry,
                stellar::local::registry_salt(),
                vec![admin.clone()],
            ),
            (
                "prepaid_vault",
                ContractKind::Vault,
                stellar::local::vault_salt(),
                vec![admin, registry, token],
            ),
        ];
        for (name, kind, salt, args) in contracts {
            let wasm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/wasm");
            let wasm = std::fs::read(wasm.join(format!("{name}.wasm"))).unwrap();
            let code = Digest::of(&wasm);
            self.submit(deployer, Call::Upload(wasm)).await;
            let creation = Creation { deployer: deployer.address(), salt, code, args, kind };
            self.submit(deployer, Call::Create(creation)).await;
        }
    }

    async fn publish(&mut self) {
        let rates =
            Rates { llm_in: 10_000, llm_out: 20_000, http_calls: 10_000_000, runtime_ms: 1 };
        let card = RateCard { rates, manifest_hash: Digest::of(b"module") };
        let (developer, runner) = (self.developer.address(), self.runner.address());
        let call = self.registry.register_agent(developer, None, &[runner], &card).unwrap();
        let applied = self.submit(&self.developer, call.into()).await;
        self.agent_id = Reader::new("agent id", applied.value.as_ref().unwrap()).u32().unwrap();
    }

    async fn fund_and_grant(&self) {
        let user = self.user.address();
        let token = stellar::local::token_id().unwrap();
        let deposit = self.vault.deposit(user, DEPOSIT, token).unwrap();
        self.submit(&self.user, deposit.into()).await;
        let grant = self.vault.grant_runner(user, self.runner.address(), self.agent_id, None);
        self.submit(&self.user, grant.into()).await;
    }

    /// Has the network do something, signed by `key`, in a ledger that closes for it at once.
    pub async fn submit(&self, key: &Keypair, call: Call) -> Applied {
        let network = stellar::Network::standalone();
        let request = PrepareRequest {
            network: &network,
            source: key,
            call: &call,
            signers: &[key],
            max_time_unix: self.localnet.close_time() + 120,
            auth_valid_ledgers: 1_000,
            fee_ceiling: u64::from(u32::MAX),
        };
        let prepared = tx::prepare(&self.rpc, &request).await.unwrap();
        let sent = self.rpc.send(&network, &prepared.envelope).await.unwrap();
        assert_eq!(sent, SendAnswer::Pending, "{}", call.name());
        loop {
            self.localnet.close_ledger().await.unwrap();
            let status = self.rpc.transaction(&prepared.hash).await.unwrap();
            if let Outcome::Applied(applied) = status.outcome {
                assert!(applied.success, "{} ended with {}", call.name(), applied.code);
                return *applied;
            }
        }
    }

    /// Sets the user's caps.
    pub async fn set_policy(&self, policy: Policy) {
        let call = self.vault.set_policy(self.user.address(), policy).unwrap();
        self.submit(&self.user, call.into()).await;
    }

    /// The user's account in the vault.
    pub async fn account(&self) -> Account {
        self.vault.account_now(&self.rpc, self.user.address()).await.unwrap()
    }

    /// The vault's record of a run.
    pub async fn record(&self, run: &Value) -> RunState {
        let id = run["runId"].as_str().unwrap().parse().unwrap();
        self.vault.read_run(&self.rpc, &id).await.unwrap()
    }

    /// The settings of a runner here; `more` go before them.
    pub fn settings(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut settings = vec![
            ("RUNNER_SECRET", self.runner.secret().to_string()),
            ("RUNNER_SOURCE_SECRET", self.source.secret().to_string()),
            ("RUNNER_RPC_URL", self.localnet.url()),
            ("RUNNER_PORT", "0".to_owned()),
            ("RUNNER_POLL_INTERVAL_MS", "100".to_owned()),
            ("RUNNER_LEASE_MS", "2000".to_owned()),
            ("DATABASE_URL", self.db.url.clone()),
            ("NATS_URL", self.bus.url.clone()),
            ("NATS_PREFIX", self.bus.prefix.clone()),
            ("RUNNER_AUTH", "none".to_owned()),
        ];
        settings.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        settings.chain(more).collect()
    }

    /// Starts a runner in this process by the door that `main` uses.
    pub async fn start(&self, more: &[(&str, &str)]) -> Running {
        let (service, started) = self.try_start(more).await;
        let started = started.unwrap();
        let url = format!("http://localhost:{}", started.http.port());
        Running { service, gateway: Gateway::at(url), grpc: started.grpc }
    }

    /// The same, for starts that may fail.
    pub async fn try_start(
        &self,
        more: &[(&str, &str)],
    ) -> (Service, anyhow::Result<runner::Started>) {
        let service = Service::default();
        let config = Config::read(Env::from_map(self.settings(more))).unwrap();
        let started = runner::start(&service, config).await;
        (service, started)
    }

    /// What `POST /runs` takes for this fixture's user and agent.
    pub fn body(&self) -> Value {
        json!({
            "user": self.user.address(),
            "agentId": self.agent_id,
            "budgets": { "llmIn": 100, "runtimeMs": 1_000 },
            "workflowId": "profile",
            "seed": 7,
            "input": { "rows": 3 },
        })
    }

    /// How often a call of this `kind` was done for a run.
    pub async fn succeeded(&self, run: &str, kind: &str) -> i64 {
        let text = "SELECT count(*) FROM calls c JOIN transaction_calls m ON m.call_id = c.id \
                    WHERE c.run_id = $1 AND c.kind = $2 AND m.code = 0";
        let id: uuid::Uuid = run.parse().unwrap();
        sqlx::query_scalar(text).bind(id).bind(kind).fetch_one(&self.db.pool).await.unwrap()
    }

    /// An address without any account.
    pub fn stranger(&self) -> Address {
        Keypair::from_seed(&[99; 32]).address()
    }
}

impl Running {
    /// Stops it and waits until it has.
    pub async fn stop(self) {
        self.service.finish(Duration::from_secs(60)).await.unwrap();
    }
}

impl Gateway {
    /// The gateway at this address.
    pub fn at(url: String) -> Self {
        Self { http: reqwest::Client::new(), url, token: None }
    }

    /// The same gateway, called with this token.
    pub fn as_user(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The token that calls carry.
    pub fn token(&self) -> String {
        self.token.clone().unwrap()
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.request(reqwest::Method::GET, path).send().await.unwrap()
    }

    /// Where it listens, for requests that no library would send.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// What it says of itself.
    pub async fn summary(&self) -> Value {
        self.get("/summary").await.json().await.unwrap()
    }

    /// `POST path`.
    pub async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        self.request(reqwest::Method::POST, path).json(body).send().await.unwrap()
    }

    /// `POST /runs` with a key.
    pub async fn post_with_key(&self, key: &str, body: &Value) -> reqwest::Response {
        let request = self.request(reqwest::Method::POST, "/runs").header("idempotency-key", key);
        request.json(body).send().await.unwrap()
    }

    /// Asks for a run that must be accepted; its id.
    pub async fn accepted(&self, body: &Value) -> String {
        let answer = self.post("/runs", body).await;
        assert_eq!(answer.status(), 202);
        let run: Value = answer.json().await.unwrap();
        assert_eq!(run["status"], "pending");
        run["id"].as_str().unwrap().to_owned()
    }

    /// The run, once `reached` holds.
    pub async fn until(&self, id: &str, reached: impl Fn(&Value) -> bool) -> Value {
        let give_up_at = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.get(&format!("/runs/{id}")).await;
            let run: Value = answer.json().await.unwrap();
            if reached(&run) {
                return run;
            }
            assert!(tokio::time::Instant::now() < give_up_at, "the run stays at {run:#}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// The run, once it has this status and nothing is left to do.
    pub async fn ended(&self, id: &str, status: &str) -> Value {
        let run = self.until(id, |run| run["phase"] == "done").await;
        assert_eq!(run["status"], status, "{run:#}");
        run
    }
}

impl Gateway {
    /// Waits until it answers.
    pub async fn up(&self) {
        let answers = || async { self.http.get(format!("{}/live", self.url)).send().await };
        eventually(answers).await;
    }
}
