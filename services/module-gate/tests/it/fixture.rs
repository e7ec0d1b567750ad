//! One service with everything around it, and the requests that the tests send to it.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::grpc::{Client, Tokens, client};
use chassis::{Secret, Service, clock};
use ed25519_dalek::{SigningKey, VerifyingKey};
use module_gate::config::Config;
use module_gate::keys::AttestationKeys;
use module_gate::upstreams::Allowed;
use seal::tree::{Limits, Tree};
use tempfile::TempDir;
use testkit::{TestBus, TestDb};
use tonic::Status;
use wire::digest::Digest;
use wire::pb::common::v1::Usage;
use wire::pb::module::v1::execute_event::Event as ExecuteKind;
use wire::pb::module::v1::module_gate_client::ModuleGateClient;
use wire::pb::module::v1::ship_event::Event as ShipKind;
use wire::pb::module::v1::{ExecuteEvent, ExecuteRequest, ShipRequest};
use wire::statement::{Execution, ExecutionStatement, Shipping, ShippingStatement};

pub const TOKEN: &str = "a-token-of-some-length";
const SEED: [u8; 32] = [7; 32];

/// Where services run: a database, a bus, a store and a scratch folder. A test may start one after
/// the other in it.
pub struct Fixture {
    pub db: TestDb,
    pub bus: TestBus,
    folder: TempDir,
}

/// A running service.
pub struct Running {
    pub calls: ModuleGateClient<Client>,
    pub address: SocketAddr,
    service: Option<Service>,
}

impl Fixture {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Modules run as another user when the tests run as root.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        for name in ["store", "scratch"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { db: testkit::postgres().await, bus: testkit::nats().await, folder }
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub fn config(&self) -> Config {
        Config {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            database_url: Secret::from(self.db.url.as_str()),
            nats_url: Secret::from(self.bus.url.as_str()),
            nats_prefix: self.bus.prefix.clone(),
            store: self.store(),
            scratch: self.folder.path().join("scratch"),
            attestation: AttestationKeys::new(SigningKey::from_bytes(&SEED), Vec::new()),
            node: node(),
            path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
            tokens: Tokens::parse(&format!("test:{TOKEN}")).unwrap(),
            concurrency: 2,
            pin_processors: true,
            upstreams: Allowed::default(),
            process: chassis::process::Settings::default(),
            lease: Duration::from_secs(2),
        }
    }

    pub async fn serve(&self) -> Running {
        self.serve_with(&self.config()).await
    }

    pub async fn serve_with(&self, config: &Config) -> Running {
        let service = Service::default();
        let sandbox = module_gate::prepare_sandbox(config).unwrap();
        let address = module_gate::start(config, sandbox, &service).await.unwrap();
        Running { service: Some(service), ..Running::at(address) }
    }

    /// Puts a module into the store, as oracle-gate would.
    pub fn publish(&self, module: &Path) -> Digest {
        let tree = Tree::from_dir(module, &Limits::MODULE).unwrap();
        let root = self.store().join(format!("modules/{}", tree.digest()));
        for file in tree.files() {
            let target = root.join("tree").join(&file.path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(module.join(&file.path), target).unwrap();
        }
        fs::write(root.join("_tree.json"), tree.to_bytes().unwrap()).unwrap();
        tree.digest()
    }

    /// The outputs staged for an attempt, by path.
    pub fn staged(&self, request: &ExecuteRequest, path: &str) -> Option<Vec<u8>> {
        let run = request.run_id.replace('-', "");
        fs::read(self.store().join(format!("staging/{run}/{}/outputs/{path}", request.attempt)))
            .ok()
    }

    pub fn anything_staged(&self, request: &ExecuteRequest) -> bool {
        let run = request.run_id.replace('-', "");
        let folder = self.store().join(format!("staging/{run}"));
        walkdir::WalkDir::new(folder).into_iter().flatten().any(|entry| entry.file_type().is_file())
    }
}

impl Running {
    /// A service in another process.
    pub fn at(address: SocketAddr) -> Self {
        Self { calls: calls(address), address, service: None }
    }

    /// Asks for an execution and waits for its statement.
    pub async fn execute(&self, request: &ExecuteRequest) -> Result<Vec<u8>, Status> {
        let mut events = self.calls.clone().execute(request.clone()).await?.into_inner();
        loop {
            match events.message().await?.and_then(|event| event.event) {
                Some(ExecuteKind::Progress(_)) => {}
                Some(ExecuteKind::Finished(finished)) => return Ok(finished.statement),
                None => return Err(Status::internal("the stream ended without a statement")),
            }
        }
    }

    /// Asks for an execution and answers its stream once the module runs.
    pub async fn begin(&self, request: &ExecuteRequest) -> tonic::Streaming<ExecuteEvent> {
        let mut events = self.calls.clone().execute(request.clone()).await.unwrap().into_inner();
        loop {
            match events.message().await.unwrap().and_then(|event| event.event) {
                Some(ExecuteKind::Progress(progress)) if progress.phase == "running" => {
                    return events;
                }
                Some(ExecuteKind::Progress(_)) => {}
                other => panic!("it should be running: {other:?}"),
            }
        }
    }

    pub async fn ship(&self, module: Digest) -> Result<Vec<u8>, Status> {
        self.judge(module, false).await
    }

    /// Judges for shipping; `fresh` although a PASS is kept.
    pub async fn judge(&self, module: Digest, fresh: bool) -> Result<Vec<u8>, Status> {
        let request = ShipRequest { manifest_hash: module.to_string(), fresh };
        let mut events = self.calls.clone().ship(request).await?.into_inner();
        loop {
            match events.message().await?.and_then(|event| event.event) {
                Some(ShipKind::Progress(_)) => {}
                Some(ShipKind::Finished(finished)) => return Ok(finished.statement),
                None => return Err(Status::internal("the stream ended without a statement")),
            }
        }
    }

    pub async fn stop(self) {
        self.service.unwrap().finish(Duration::from_secs(20)).await.unwrap();
    }
}

pub fn calls(address: SocketAddr) -> ModuleGateClient<Client> {
    ModuleGateClient::new(client(&format!("http://{address}"), Some(&Secret::from(TOKEN))).unwrap())
}

/// A module under `tests/modules`.
pub fn test_module(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modules").join(name)
}

pub fn csv_profile() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/modules/csv-profile")
}

pub fn weather() -> serde_json::Value {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/seattle-weather.csv");
    serde_json::json!({ "csv": fs::read_to_string(file).unwrap(), "name": "Seattle weather" })
}

pub fn request(module: Digest, input: &serde_json::Value) -> ExecuteRequest {
    let input = wire::json::canonical(input).unwrap();
    ExecuteRequest {
        run_id: clock::new_uuid().to_string(),
        attempt: 1,
        vault_run_id: Digest::of(&input).to_string(),
        user: "GTESTUSER".to_owned(),
        workflow_id: "profile".to_owned(),
        manifest_hash: module.to_string(),
        input_digest: Digest::of(&input).to_string(),
        input,
        seed: 42,
        budgets: Some(Usage { llm_in: 0, llm_out: 0, http_calls: 0, runtime_ms: 30_000 }),
        wall_limit_ms: 60_000,
        deadline_unix: u64::try_from(clock::now().unix_timestamp()).unwrap() + 3_600,
        agent_id: 0,
        attesters: Vec::new(),
    }
}

pub fn signer() -> VerifyingKey {
    SigningKey::from_bytes(&SEED).verifying_key()
}

/// What an execution statement says, if the service signed it.
pub fn stated(envelope: &[u8]) -> Execution {
    ExecutionStatement::open(envelope, &[signer()]).unwrap().0.into_predicate()
}

pub fn shipped(envelope: &[u8]) -> Shipping {
    ShippingStatement::open(envelope, &[signer()]).unwrap().0.into_predicate()
}

/// The Node that the tests use: one brought for development, else the machine's.
pub fn node() -> PathBuf {
    testkit::program("node").unwrap()
}
