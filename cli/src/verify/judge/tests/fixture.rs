//! A whole run, made the way the services make one, in a folder that a test can change.

use std::{fs, path::PathBuf};

use chain::{
    Address, Network,
    ids::{self, RunIdentity},
    registry::{RateCard, Registry},
    vault::{Lifecycle, RunFinalized, RunOpened, RunRecord, RunTerms, Vault, settlement_hash},
};
use ed25519_dalek::SigningKey;
use seal::{
    Limits, Manifest, ManifestV1, RunKey, SealMarker, SealStatus, SealV1, StoreProbe, Tree,
    WorldKey,
    content::ContentDigest,
    facts::{
        GateReceipt, GateScope, GateStatus, Locator, PackRef, Pins, PolicyRev, ReceiptKind,
        RunFactsView,
    },
    tree::File,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use wire::{
    Digest, Rates, RunId, Usage,
    statement::{
        Effects, Execution, ExecutionStatement, Exit, Guard, GuardTier, Mode, OracleCount, Output,
        Shipping, ShippingStatement, TestCount, Verdict,
    },
};

use super::super::{Name, judge};
use crate::verify::{
    bundle::Bundle,
    facts::{ChainFacts, Own, Receipts},
    link::Proof,
};

/// Seed of the key that the chain accepts.
const KEY: [u8; 32] = [7; 32];
/// Seed of one that it does not.
pub(super) const OTHER_KEY: [u8; 32] = [8; 32];
const REPORT: &[u8] = b"{\"rows\":3}";
const OPENED: u64 = 1_800_000_000;

pub(super) struct Fixture {
    folder: TempDir,
    own: Own,
    terms: RunTerms,
    pub(super) run: RunId,
    pub(super) execution: Execution,
    /// Seed of the key that signs.
    pub(super) key: [u8; 32],
    /// What the vault was told.
    pub(super) settled: Usage,
    pub(super) charge: i128,
    pub(super) output_hash: Digest,
    pub(super) facts: ChainFacts,
}

pub(super) fn key(seed: [u8; 32]) -> SigningKey {
    SigningKey::from_bytes(&seed)
}

impl Fixture {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for path in ["pack/outputs", "module/tree", "facts"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        fs::write(folder.path().join("module/tree/index.js"), "run()").unwrap();
        fs::write(folder.path().join("pack/outputs/report.json"), REPORT).unwrap();
        let module = Tree::from_dir(&folder.path().join("module/tree"), &Limits::MODULE).unwrap();
        fs::write(folder.path().join("module/_tree.json"), module.to_bytes().unwrap()).unwrap();
        let run: RunId = "0197e4a0-0000-7000-8000-00000000000a".parse().unwrap();
        let execution = execution(run, module.digest());
        let terms = terms(&execution);
        let own = Own {
            network: Network::standalone(),
            vault: Vault(Address::Contract([1; 32])),
            registry: Registry(Address::Contract([2; 32])),
        };
        let facts = facts(&own, &terms, run);
        let settled = execution.usage;
        let (charge, output_hash) = (5_000, Digest::of(b""));
        let mut fixture = Self {
            folder,
            own,
            terms,
            run,
            execution,
            key: KEY,
            settled,
            charge,
            output_hash,
            facts,
        };
        fixture.reseal();
        fixture.output_hash = fixture.seal_digest();
        fixture.settle();
        fixture
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The statement's exact bytes.
    pub(super) fn statement(&self) -> Vec<u8> {
        ExecutionStatement::new(self.execution.clone()).unwrap().to_json()
    }

    /// Signs the statements and seals the pack as it lies there.
    pub(super) fn reseal(&mut self) {
        let execution =
            ExecutionStatement::new(self.execution.clone()).unwrap().sign(&key(self.key)).to_json();
        let shipping = ShippingStatement::new(shipping(self.execution.module_digest))
            .unwrap()
            .sign(&key(KEY))
            .to_json();
        fs::write(self.path("pack/_execution.dsse"), &execution).unwrap();
        fs::write(self.path("pack/_shipping.dsse"), &shipping).unwrap();
        for name in [seal::MANIFEST_FILE, seal::SEAL_FILE] {
            let _ = fs::remove_file(self.path("pack").join(name));
        }
        let manifest = self.manifest();
        let bytes = Manifest::V1(manifest.clone()).to_bytes().unwrap();
        let seal = marker(&manifest, Digest::of(&bytes), self.execution.verdict);
        fs::write(self.path("pack").join(seal::MANIFEST_FILE), bytes).unwrap();
        fs::write(self.path("pack").join(seal::SEAL_FILE), seal).unwrap();
        if self.execution.verdict == Verdict::Pass {
            self.write_view(&manifest, &execution, &shipping);
        }
        let sealed_first = self.output_hash == Digest::of(b"");
        if self.key != KEY || self.execution.verdict != Verdict::Pass || sealed_first {
            self.output_hash = self.seal_digest();
        }
    }

    /// Settles with `settled`, `charge` and `output_hash`, and has the gateway tell the same.
    pub(super) fn settle(&mut self) {
        let refund = self.terms.max_charge - self.charge;
        let settlement = settlement_hash(&self.terms.opened_by, &self.settled).unwrap();
        let record = self.facts.record.as_mut().unwrap();
        record.lifecycle =
            Lifecycle::Finalized { charge: self.charge, output_hash: self.output_hash, settlement };
        let receipts_hash = Digest::of(b"receipts");
        self.facts.finalized = Some(RunFinalized {
            run_id: self.facts.run_id,
            user: self.terms.user,
            runner: self.terms.opened_by,
            actual_charge: self.charge,
            runner_fee: 0,
            refund,
            usage: self.settled,
            output_hash: self.output_hash,
            finalized_at: OPENED + 60,
            receipt_number: 3,
            receipts_hash,
        });
        self.facts.account = Some(Receipts { count: 3, hash: receipts_hash });
        let run = json!({
            "id": self.run,
            "attempt": 1,
            "user": self.terms.user,
            "status": "finalized",
            "runId": self.facts.run_id,
            "terms": self.terms,
            "receipt": {
                "actualCharge": self.charge.to_string(),
                "refund": refund.to_string(),
                "developer": self.terms.developer,
                "outputHash": self.output_hash,
            },
        });
        fs::write(self.path("run.json"), run.to_string()).unwrap();
    }

    pub(super) fn edit_run(&self, edit: impl FnOnce(&mut Value)) {
        let path = self.path("run.json");
        let mut run: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut run);
        fs::write(path, run.to_string()).unwrap();
    }

    pub(super) fn judge(&self) -> Proof {
        judge(&Bundle::open(self.folder.path().to_owned()).unwrap(), &self.facts, &self.own)
            .unwrap()
    }

    /// Exactly these links are broken, and the exit code says so.
    pub(super) fn breaks(&self, names: &[Name]) {
        let proof = self.judge();
        assert_eq!(proof.broken(), names, "{:#?}", proof.links);
        assert_eq!(proof.exit_code(), u8::from(!names.is_empty()), "{:#?}", proof.links);
        for name in names {
            let told = proof.report().text;
            assert!(told.contains(&format!("{:<10} BROKEN", name.as_str())), "{told}");
        }
    }

    fn seal_digest(&self) -> Digest {
        Digest::of(&fs::read(self.path("pack").join(seal::SEAL_FILE)).unwrap())
    }

    fn manifest(&self) -> ManifestV1 {
        let it = &self.execution;
        let mut manifest = ManifestV1 {
            oracle_pack_id: Digest::of(b""),
            world_key: WorldKey {
                manifest_fingerprint: it.module_digest,
                parameter_hash: it.input_digest,
                scenario_id: it.workflow_id.clone(),
                seed: it.seed,
            },
            run_id: RunKey::from(self.run),
            attempt: 1,
            engine_release: "lumio-test".to_owned(),
            catalogue_digest: Digest::of(b"catalogue"),
            gate_map_digest: Digest::of(b"gates"),
            inventory: self.inventory(),
            created_at_utc: it.finished_at,
        };
        manifest.oracle_pack_id = seal::pack_id::v1(&manifest);
        manifest
    }

    fn inventory(&self) -> Tree {
        let root = self.path("pack");
        let files = walkdir::WalkDir::new(&root)
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().is_file());
        let file = |entry: walkdir::DirEntry| {
            let bytes = fs::read(entry.path()).unwrap();
            let path = entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            File { path, executable: false, length: bytes.len() as u64, sha256: Digest::of(&bytes) }
        };
        Tree::new(files.map(file).collect(), &Limits::PACK).unwrap()
    }

    fn write_view(&self, manifest: &ManifestV1, execution: &[u8], shipping: &[u8]) {
        let it = &self.execution;
        let run_id = RunKey::from(self.run);
        let module = GateScope {
            manifest_fingerprint: it.module_digest,
            parameter_hash: None,
            seed: None,
            scenario_id: None,
            run_id: None,
        };
        let run = GateScope {
            parameter_hash: Some(it.input_digest),
            run_id: Some(run_id),
            ..module.clone()
        };
        let mut view = RunFactsView {
            run_id,
            pins: Pins {
                manifest_fingerprint: it.module_digest,
                parameter_hash: it.input_digest,
                seed: it.seed,
                scenario_id: it.workflow_id.clone(),
                run_id,
            },
            locators: it.outputs.iter().map(|output| locator(it, manifest, output)).collect(),
            output_roles: None,
            intended_outputs: None,
            gate_receipts: vec![
                receipt("gate.lumio.execution", execution, run),
                receipt("gate.lumio.shipping", shipping, module),
            ],
            instance_receipts: None,
            policy_rev: PolicyRev {
                policy_id: "lumio.gates".to_owned(),
                revision: "1".to_owned(),
                content_digest: Digest::of(b"gates"),
            },
            bundle_hash: Digest::of(b""),
            plan_ref: "sr/run_plan/x.json".to_owned(),
            record_ref: "sr/run_record/x.jsonl".to_owned(),
            status_ref: "sr/run_status/x.json".to_owned(),
            oracle_pack_ref: Some(PackRef {
                oracle_pack_id: manifest.oracle_pack_id,
                seal_digest: self.seal_digest(),
            }),
            evidence_notes: None,
        };
        view.bundle_hash = view.computed_bundle_hash().unwrap();
        fs::write(self.path("facts/run_facts_view.json"), view.to_bytes().unwrap()).unwrap();
    }
}

fn execution(run_id: RunId, module_digest: Digest) -> Execution {
    Execution {
        run_id,
        attempt: 1,
        user: Address::Account([3; 32]).to_string(),
        workflow_id: "profile".to_owned(),
        module_digest,
        input_digest: Digest::of(b"{}"),
        seed: 42,
        budgets: Usage { runtime_ms: 1_000, ..Usage::default() },
        outputs: vec![Output {
            path: "report.json".to_owned(),
            length: REPORT.len() as u64,
            sha256: Digest::of(REPORT),
        }],
        usage: Usage { runtime_ms: 500, ..Usage::default() },
        guard: guard(),
        effects: Effects::default(),
        exit: Exit::Code(0),
        verdict: Verdict::Pass,
        code: None,
        reason: None,
        started_at: at(10),
        finished_at: at(11),
    }
}

fn shipping(module_digest: Digest) -> Shipping {
    Shipping {
        module_digest,
        module_id: "csv-profile".to_owned(),
        module_version: "1.0.0".to_owned(),
        mode: Mode::Shipping,
        verdict: Verdict::Pass,
        code: None,
        reason: None,
        oracle: OracleCount { cases: 1, attempts: 2, passed: 1 },
        tests: TestCount { total: 1, passed: 1, skipped: 0 },
        side_effects: Effects::default(),
        guard: guard(),
        policy_digest: Digest::of(b"policy"),
        issued_at: at(1),
    }
}

fn guard() -> Guard {
    Guard { tier: GuardTier::Full, landlock_abi: 7, version: "1".to_owned() }
}

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
}

fn terms(execution: &Execution) -> RunTerms {
    let request = ids::Request {
        input_digest: execution.input_digest,
        module_digest: execution.module_digest,
        seed: execution.seed,
        workflow_id: &execution.workflow_id,
    };
    RunTerms {
        user: Address::Account([3; 32]),
        opened_by: Address::Account([4; 32]),
        agent_id: 1,
        rate_version: 1,
        rates: Rates { runtime_ms: 10, ..Rates::default() },
        budgets: execution.budgets,
        max_charge: 10_000,
        runner_fee: 0,
        deadline: OPENED + 3_600,
        opened_at: OPENED,
        developer: Address::Account([5; 32]),
        manifest_hash: execution.module_digest,
        request_hash: ids::request_hash(&request).unwrap(),
        attesters: vec![key(KEY).verifying_key().to_bytes()],
    }
}

fn facts(own: &Own, terms: &RunTerms, run: RunId) -> ChainFacts {
    let identity = RunIdentity {
        network: &own.network,
        vault: &own.vault.0,
        user: &terms.user,
        caller: &terms.opened_by,
        nonce: &ids::nonce(run.as_uuid(), 1),
        deadline: terms.deadline,
    };
    let run_id = ids::run_id(&identity).unwrap();
    let record = RunRecord {
        user: terms.user,
        opened_by: terms.opened_by,
        agent_id: 1,
        escrowed: terms.max_charge,
        runner_fee: 0,
        deadline: terms.deadline,
        opened_day: 20_833,
        grant_serial: 1,
        terms_hash: terms.hash().unwrap(),
        lifecycle: Lifecycle::Open,
    };
    ChainFacts {
        network: own.network.passphrase().to_owned(),
        vault: own.vault.0,
        registry: Some(own.registry.0),
        ledger: 100,
        ledger_time: OPENED + 100,
        run_id,
        record: Some(record),
        opened: Some(RunOpened { run_id, terms: terms.clone() }),
        finalized: None,
        rate_card: Some(RateCard { rates: terms.rates, manifest_hash: terms.manifest_hash }),
        account: None,
    }
}

fn marker(manifest: &ManifestV1, manifest_digest: Digest, verdict: Verdict) -> Vec<u8> {
    let seal_status = if verdict == Verdict::Pass { SealStatus::Ok } else { SealStatus::Failed };
    let probed_at_utc = manifest.created_at_utc;
    let seal = SealV1 {
        oracle_pack_id: manifest.oracle_pack_id,
        seal_status,
        sealed_at_utc: manifest.created_at_utc,
        manifest_digest,
        nonce: "ab".repeat(16),
        store_probe: StoreProbe {
            second_create_refused: true,
            races: 20,
            writers: 16,
            races_with_one_winner: 20,
            wrong_checksum_refused: None,
            probed_at_utc,
        },
    };
    SealMarker::V1(seal).to_bytes().unwrap()
}

fn locator(it: &Execution, manifest: &ManifestV1, output: &Output) -> Locator {
    Locator {
        output_id: "lumio.run.output".to_owned(),
        path: format!("packs/{}/outputs/{}", manifest.oracle_pack_id, output.path),
        manifest_fingerprint: Some(it.module_digest),
        parameter_hash: None,
        seed: None,
        scenario_id: None,
        run_id: None,
        schema_ref: None,
        dictionary_ref: None,
        produced_at_utc: None,
        content_digest: Some(ContentDigest::of_file(output.sha256)),
    }
}

fn receipt(gate: &str, envelope: &[u8], scope: GateScope) -> GateReceipt {
    GateReceipt {
        gate_id: gate.to_owned(),
        status: GateStatus::Pass,
        scope,
        produced_at_utc: None,
        receipt_kind: Some(ReceiptKind::JsonReceipt),
        digest: Some(ContentDigest::of_file(Digest::of(envelope))),
        artifacts: None,
        notes: None,
    }
}
