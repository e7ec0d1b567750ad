//! A whole run, made the way the services make one, in a folder that a test can change.

mod documents;

use std::fs;
use std::path::PathBuf;

use ed25519_dalek::SigningKey;
use seal::facts::{GateScope, PackRef, Pins, PolicyRev, RunFactsView};
use seal::tree::File;
use seal::{Limits, Manifest, ManifestV1, RunKey, Tree, WorldKey};
use serde_json::{Value, json};
use stellar::registry::Registry;
use stellar::vault::{Lifecycle, RunFinalized, RunTerms, Vault, settlement_hash};
use stellar::{Address, Network};
use tempfile::TempDir;
use wire::statement::{Execution, ExecutionStatement, ShippingStatement, Verdict};
use wire::{Digest, RunId, Usage};

use self::documents::{execution, facts, locator, marker, receipt, shipping, terms};
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
    /// What the vault settled.
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
            let text = proof.report().text;
            assert!(text.contains(&format!("{:<10} BROKEN", name.as_str())), "{text}");
        }
    }

    fn seal_digest(&self) -> Digest {
        Digest::of(&fs::read(self.path("pack").join(seal::SEAL_FILE)).unwrap())
    }

    fn manifest(&self) -> ManifestV1 {
        let execution = &self.execution;
        let mut manifest = ManifestV1 {
            oracle_pack_id: Digest::of(b""),
            world_key: WorldKey {
                manifest_fingerprint: execution.module_digest,
                parameter_hash: execution.input_digest,
                scenario_id: execution.workflow_id.clone(),
                seed: execution.seed,
            },
            run_id: RunKey::from(self.run),
            attempt: 1,
            engine_release: "lumio-test".to_owned(),
            catalogue_digest: Digest::of(b"catalogue"),
            gate_map_digest: Digest::of(b"gates"),
            inventory: self.inventory(),
            created_at_utc: execution.finished_at,
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

    fn write_view(&self, manifest: &ManifestV1, signed: &[u8], shipping: &[u8]) {
        let execution = &self.execution;
        let run_id = RunKey::from(self.run);
        let module = GateScope {
            manifest_fingerprint: execution.module_digest,
            parameter_hash: None,
            seed: None,
            scenario_id: None,
            run_id: None,
        };
        let run = GateScope {
            parameter_hash: Some(execution.input_digest),
            run_id: Some(run_id),
            ..module.clone()
        };
        let mut view = RunFactsView {
            run_id,
            pins: Pins {
                manifest_fingerprint: execution.module_digest,
                parameter_hash: execution.input_digest,
                seed: execution.seed,
                scenario_id: execution.workflow_id.clone(),
                run_id,
            },
            locators: execution
                .outputs
                .iter()
                .map(|output| locator(execution, manifest, output))
                .collect(),
            output_roles: None,
            intended_outputs: None,
            gate_receipts: vec![
                receipt("gate.lumio.execution", signed, run),
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
