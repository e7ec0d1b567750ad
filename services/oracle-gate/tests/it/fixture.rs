//! A store in a folder, a signing key, and runs with statements to seal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use bytes::Bytes;
use chassis::Secret;
use chassis::grpc::Tokens;
use ed25519_dalek::SigningKey;
use oracle_gate::Gate;
use oracle_gate::config::Config;
use oracle_gate::objects::{Objects, StoreLocation};
use oracle_gate::profile::Profile;
use oracle_gate::runs::{Draft, Intent};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::TestDb;
use time::OffsetDateTime;
use wire::digest::Digest;
use wire::statement::{
    Code, Effects, Execution, ExecutionStatement, Exit, Guard, GuardTier, Mode, OracleCount,
    Output, Shipping, ShippingStatement, TestCount, Verdict,
};
use wire::{RunId, Usage};

pub const TOKEN: &str = "0123456789abcdef";
pub const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

pub struct Fixture {
    pub dir: TempDir,
    pub key: SigningKey,
}

impl Fixture {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), key: SigningKey::from_bytes(&[7; 32]) }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    pub fn objects(&self) -> Objects {
        Objects::local(self.dir.path()).unwrap()
    }

    pub fn config(&self) -> Config {
        let root = self.dir.path().to_str().unwrap().to_owned();
        Config {
            bind: testkit::ANY_PORT,
            tokens: Tokens::parse(&format!("test:{TOKEN}")).unwrap(),
            profile: Profile::load("prod", Some(root), |_| None).unwrap(),
            location: StoreLocation::Local(self.dir.path().to_owned()),
            credentials: None,
            exchange: None,
            keys: vec![self.key.verifying_key()],
            database_url: Secret::from(""),
            nats_url: Secret::from(""),
            nats_prefix: "lumio".to_owned(),
            process: chassis::process::Settings::default(),
        }
    }

    pub async fn gate(&self, db: &TestDb) -> Gate {
        self.gate_over(db, self.objects()).await
    }

    pub async fn gate_over(&self, db: &TestDb, objects: Objects) -> Gate {
        oracle_gate::store::migrate(&db.pool).await.unwrap();
        Gate::new(db.pool.clone(), objects, &self.config())
    }

    /// A seal that was begun, as a crash leaves it.
    pub async fn begun(&self, db: &TestDb, draft: Draft) {
        let gate = self.gate(db).await;
        let intent = Intent {
            draft,
            nonce: "ab".repeat(16),
            created_at: NOW,
            policy_rev: gate.policy_rev.clone(),
            catalogue: gate.rules.catalogue.digest(),
            gate_map: gate.rules.gate_map.digest(),
            sealed: None,
        };
        oracle_gate::store::open(&db.pool, &intent).await.unwrap();
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A run that passed, its outputs staged.
    pub fn passed(&self, number: u128) -> Draft {
        let run = run(number);
        let outputs = [("report.json", &b"{\"rows\":3}"[..]), ("tables/a.csv", b"a,b\n1,2\n")];
        for (path, content) in outputs {
            self.write(&staged(run, path), content);
        }
        let outputs = outputs.map(|(path, content)| Output {
            path: path.to_owned(),
            length: content.len() as u64,
            sha256: Digest::of(content),
        });
        self.draft(Execution { outputs: outputs.to_vec(), ..execution(run) })
    }

    /// A run whose module broke its declaration.
    pub fn failed(&self, number: u128) -> Draft {
        self.draft(Execution {
            usage: Usage::default(),
            exit: Exit::Code(1),
            verdict: Verdict::Fail,
            code: Some(Code::SideEffectsForbidden),
            ..execution(run(number))
        })
    }

    pub fn draft(&self, execution: Execution) -> Draft {
        Draft {
            run: execution.run_id,
            attempt: execution.attempt,
            workflow_id: execution.workflow_id.clone(),
            statement: self.sign(execution, &self.key),
            shipping: self.ship(shipping()),
            plan: Bytes::from_static(b"{\"steps\":1}"),
            record: Bytes::from_static(b"{\"at\":\"queued\"}\n{\"at\":\"running\"}\n"),
            traceparent: None,
        }
    }

    pub fn sign(&self, execution: Execution, key: &SigningKey) -> Bytes {
        ExecutionStatement::new(execution).unwrap().sign(key).to_json().into()
    }

    pub fn ship(&self, shipping: Shipping) -> Bytes {
        ShippingStatement::new(shipping).unwrap().sign(&self.key).to_json().into()
    }
}

pub fn run(number: u128) -> RunId {
    uuid::Uuid::from_u128(number).into()
}

pub fn staged(run: RunId, path: &str) -> String {
    format!("staging/{}/1/outputs/{path}", run.simple())
}

pub fn module() -> Digest {
    Digest::of(b"module")
}

fn guard() -> Guard {
    Guard { tier: GuardTier::Full, landlock_abi: 7, version: "0.1.0".to_owned() }
}

/// A run that passed, but for its outputs.
pub fn execution(run_id: RunId) -> Execution {
    let usage = Usage { runtime_ms: 250, ..Usage::default() };
    Execution {
        run_id,
        attempt: 1,
        vault_run_id: None,
        settlement: None,
        user: "GUSER".to_owned(),
        workflow_id: "profile".to_owned(),
        module_digest: module(),
        input_digest: Digest::of(b"{}"),
        seed: 42,
        budgets: Usage { runtime_ms: 1000, ..Usage::default() },
        outputs: Vec::new(),
        usage,
        guard: guard(),
        effects: Effects::default(),
        egress: None,
        exit: Exit::Code(0),
        verdict: Verdict::Pass,
        code: None,
        reason: None,
        started_at: NOW,
        finished_at: NOW,
    }
}

pub fn shipping() -> Shipping {
    Shipping {
        module_digest: module(),
        module_id: "profiler".to_owned(),
        module_version: "1.0.0".to_owned(),
        mode: Mode::Shipping,
        verdict: Verdict::Pass,
        code: None,
        reason: None,
        oracle: OracleCount { cases: 1, attempts: 3, passed: 1 },
        tests: TestCount::default(),
        side_effects: Effects::default(),
        guard: guard(),
        policy_digest: Digest::of(b"policy"),
        issued_at: NOW,
    }
}

/// Makes a file of a pack writable for a test that edits it.
pub fn edit(path: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    fs::write(path, change(fs::read(path).unwrap())).unwrap();
}

/// Runs the program in the fixture's folder, with nothing else in its environment.
pub fn oracle_gate(fixture: &Fixture, arguments: &[&str]) -> process::Output {
    Command::new(env!("CARGO_BIN_EXE_oracle-gate"))
        .args(arguments)
        .env_clear()
        .env("ORACLE_GATE_ROOT", fixture.dir.path())
        .current_dir(fixture.dir.path())
        .output()
        .unwrap()
}

/// What a program answered on its standard output.
pub fn json_of(output: &process::Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// A view of one output, as an engine publishes it.
pub fn publish_view(fixture: &Fixture, path: &str, sha256: Digest) {
    let (hex, run) = (Digest::of(b"world"), "ab".repeat(16));
    let view = json!({
        "run_id": run,
        "pins": {"manifest_fingerprint": hex, "parameter_hash": hex, "seed": 7, "scenario_id": "s", "run_id": run},
        "locators": [{"output_id": "lumio.run.output", "path": path, "scenario_id": "s",
            "content_digest": {"algo": "sha256", "hex": sha256}}],
        "gate_receipts": [],
        "policy_rev": {"policy_id": "p", "revision": "1", "content_digest": hex},
        "bundle_hash": hex, "plan_ref": "a", "record_ref": "b", "status_ref": "c",
    });
    fixture.write("view.json", view.to_string());
}
