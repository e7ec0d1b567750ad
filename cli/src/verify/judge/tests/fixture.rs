//! A whole run, made the way the services make one, in a folder that a test can change.

mod documents;

use std::fs;
use std::path::PathBuf;

use ed25519_dalek::SigningKey;
use seal::facts::{GateScope, PackRef, Pins, PolicyRev, RunFactsView};
use seal::tree::File;
use seal::{Limits, Manifest, ManifestV1, RunKey, Tree, WorldKey};
use serde_json::Value;
use stellar::registry::Registry;
use stellar::vault::{Lifecycle, RunFinalized, RunTerms, SettledRun, Vault, settlement_hash};
use stellar::{Address, Network};
use tempfile::TempDir;
use wire::receipts::{RECEIPTS_KIND, ReceiptText, ReceiptsDocument};
use wire::statement::{Execution, ExecutionStatement, ShippingStatement, Verdict};
use wire::view::JsonText;
use wire::{Digest, Nonce, RunDocument, RunId, Usage};

pub(super) use self::documents::at;
use self::documents::{
    attempt, execution, facts, locator, marker, receipt, run_view, shipping, terms,
};
use super::super::{Asked, Name, judge};
use crate::verify::bundle::Bundle;
use crate::verify::facts::{AttemptFacts, ChainFacts, Own, Receipts};
use crate::verify::link::Proof;

/// Seed of the key that the chain accepts.
const KEY: [u8; 32] = [7; 32];
/// Seed of one that it does not.
pub(super) const OTHER_KEY: [u8; 32] = [8; 32];
const REPORT: &[u8] = b"{\"rows\":3}";
pub(super) const OPENED: u64 = 1_800_000_000;

pub(super) struct Fixture {
    folder: TempDir,
    pub(super) own: Own,
    pub(super) terms: RunTerms,
    pub(super) asked: Asked,
    pub(super) run: RunId,
    pub(super) execution: Execution,
    /// Seed of the key that signs.
    pub(super) key: [u8; 32],
    /// What the vault settled.
    pub(super) settled: Usage,
    pub(super) charge: i128,
    pub(super) output_hash: Digest,
    /// Who settles, and whether with an attester's signature.
    pub(super) settler: Address,
    pub(super) is_attested: bool,
    pub(super) facts: ChainFacts,
}

/// The fixture's attempt as `terms` are now, open.
pub(super) fn opened(fixture: &Fixture) -> AttemptFacts {
    attempt(&fixture.own, &fixture.terms, fixture.run, fixture.execution.attempt)
}

/// The event of a settlement that became this receipt of the account.
fn event(settled: &SettledRun, account: Receipts) -> RunFinalized {
    RunFinalized {
        run_id: settled.run_id,
        user: settled.terms.user,
        runner: settled.settled_by,
        actual_charge: settled.actual_charge,
        runner_fee: settled.runner_fee,
        refund: settled.refund,
        usage: settled.usage,
        output_hash: settled.output_hash,
        finalized_at: settled.finalized_at,
        receipt_number: account.count,
        receipts_hash: account.hash,
    }
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

        // Made two seconds before the attempt was opened.
        let run: RunId = "01a3185c-4830-7000-8000-00000000000a".parse().unwrap();
        let execution = execution(run, module.digest());
        let terms = terms(&execution);
        let own = Own {
            network: Network::standalone(),
            vault: Vault(Address::Contract([1; 32])),
            registry: Registry(Address::Contract([2; 32])),
            unit: stellar::amount::Unit::lumens(),
        };
        let facts = facts(&own, &terms, run);
        let settled = execution.usage;
        let (charge, output_hash) = (5_000, Digest::of(b""));
        let mut fixture = Self {
            folder,
            own,
            terms,
            asked: Asked::default(),
            run,
            execution,
            key: KEY,
            settled,
            charge,
            output_hash,
            settler: Address::Account([4; 32]),
            is_attested: true,
            facts,
        };
        fixture.name_charge();
        fixture.reseal();
        fixture.output_hash = fixture.seal_digest();
        fixture.settle();
        fixture
    }

    /// The bundle's folder.
    pub(super) fn root(&self) -> &std::path::Path {
        self.folder.path()
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

    /// The attempt that the bundle is of, as the chain has it.
    pub(super) fn shown(&mut self) -> &mut AttemptFacts {
        let number = self.execution.attempt;
        let shown = self.facts.attempts.iter_mut().rev().find(|shown| shown.attempt == number);
        shown.unwrap()
    }

    /// Settles with `settled`, `charge` and `output_hash` as the account's first receipt, and has
    /// the gateway say the same.
    pub(super) fn settle(&mut self) {
        self.facts.receipts = None;
        self.facts.account = None;
        self.settle_next();
    }

    /// Settles the shown attempt as the account's next receipt, after those that there are.
    pub(super) fn settle_next(&mut self) {
        let settled = self.receipt();
        let account = self.add_receipt(&settled);
        let settlement = settlement_hash(&self.settler, &self.settled, self.is_attested).unwrap();
        let (charge, output_hash) = (self.charge, self.output_hash);
        let shown = self.shown();
        shown.record.as_mut().unwrap().lifecycle =
            Lifecycle::Finalized { charge, output_hash, settlement };
        shown.finalized = Some(event(&settled, account));
        self.write_run();
    }

    /// Opens the run anew, as `terms` and `execution` are now, and seals it again.
    pub(super) fn reopen(&mut self) {
        let number = self.execution.attempt;
        self.facts.attempts = vec![attempt(&self.own, &self.terms, self.run, number)];
        self.name_charge();
        self.reseal();
        self.output_hash = self.seal_digest();
    }

    /// The statement is about the shown attempt's record in the vault (V16).
    fn name_charge(&mut self) {
        self.execution.vault_run_id = Some(self.shown().run_id);
    }

    /// Opens the run anew for the request that the execution is of now.
    pub(super) fn repin(&mut self) {
        let terms = terms(&self.execution);
        self.terms = RunTerms { runner_fee: self.terms.runner_fee, ..terms };
        self.reopen();
    }

    /// The same run under another id.
    pub(super) fn rename(&mut self, id: &str) {
        self.run = id.parse().unwrap();
        self.execution.run_id = self.run;
        self.facts.run = self.run;
        self.reopen();
        self.settle();
    }

    /// The receipt of the shown attempt.
    pub(super) fn receipt(&mut self) -> SettledRun {
        let run_id = self.shown().run_id;

        // Only the opener earns the fee, and only with a signature (V13, V16).
        let earns_fee = self.settler == self.terms.opened_by && self.is_attested;
        let runner_fee = if earns_fee { self.terms.runner_fee } else { 0 };
        SettledRun {
            run_id,
            terms: self.terms.clone(),
            settled_by: self.settler,
            usage: self.settled,
            output_hash: self.output_hash,
            actual_charge: self.charge,
            runner_fee,
            refund: self.terms.max_charge + self.terms.runner_fee - self.charge - runner_fee,
            finalized_at: OPENED + 60,
        }
    }

    /// The node has forgotten the settlement's event, and no receipt's text is kept.
    pub(super) fn forget_settlement(&mut self) {
        self.shown().finalized = None;
        let account = self.facts.account.unwrap();
        let list = self.facts.receipts.as_mut().unwrap();
        list.receipts.clear();
        list.before = account.hash;
    }

    /// The first text of the list is not kept any more: its hash is what the list begins after.
    pub(super) fn forget_first_receipt(&mut self) {
        let list = self.facts.receipts.as_mut().unwrap();
        list.before = list.receipts.remove(0).hash;
    }

    /// The account's next receipt.
    pub(super) fn add_receipt(&mut self, settled: &SettledRun) -> Receipts {
        let before = self.facts.account.map_or(Digest::from([0; 32]), |account| account.hash);
        let list = self.facts.receipts.get_or_insert_with(|| ReceiptsDocument {
            kind: RECEIPTS_KIND.to_owned(),
            network: self.own.network.passphrase().to_owned(),
            vault: self.own.vault.0.to_string(),
            user: self.terms.user.to_string(),
            before,
            receipts: Vec::new(),
        });
        let number = self.facts.account.map_or(0, |account| account.count) + 1;
        let receipt = ReceiptText::new(&before, number, &settled.to_xdr().unwrap());
        let account = Receipts { count: number, hash: receipt.hash };
        list.receipts.push(receipt);
        self.facts.account = Some(account);
        account
    }

    /// Another attempt, settled with this charge as the account's next receipt: by the chain alone,
    /// and under this deadline.
    pub(super) fn add_attempt(&mut self, number: u32, deadline: u64, charge: Option<i128>) {
        let terms = RunTerms { deadline, ..self.terms.clone() };
        let mut found = attempt(&self.own, &terms, self.run, number);
        if let Some(charge) = charge {
            let usage =
                Usage { runtime_ms: u64::try_from(charge / 10).unwrap(), ..Usage::default() };
            let settled = SettledRun {
                run_id: found.run_id,
                usage,
                actual_charge: charge,
                settled_by: terms.opened_by,
                runner_fee: terms.runner_fee,
                refund: terms.max_charge - charge,
                terms: terms.clone(),
                ..self.receipt()
            };
            let account = self.add_receipt(&settled);
            let settlement = settlement_hash(&terms.opened_by, &usage, true).unwrap();
            found.record.as_mut().unwrap().lifecycle =
                Lifecycle::Finalized { charge, output_hash: settled.output_hash, settlement };
            found.finalized = Some(event(&settled, account));
        }
        self.facts.attempts.push(found);
        self.facts.attempts.sort_by_key(|attempt| (attempt.attempt, attempt.run_id));
    }

    /// Writes what the gateway says.
    pub(super) fn write_run(&mut self) {
        let shown = self.shown().clone();
        let run = run_view(&self.terms, &self.execution, &shown);
        let document = RunDocument {
            run,
            terms: Some(self.terms.clone()),
            vault_id: self.own.vault.0.to_string(),
            nonce: Nonce::from([7; 32]),
            input: JsonText::new("{}").unwrap(),
        };
        fs::write(self.path("run.json"), serde_json::to_vec(&document).unwrap()).unwrap();
    }

    pub(super) fn edit_run(&self, edit: impl FnOnce(&mut Value)) {
        let path = self.path("run.json");
        let mut run: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut run);
        fs::write(path, run.to_string()).unwrap();
    }

    pub(super) fn judge(&self) -> Proof {
        self.try_judge().unwrap()
    }

    /// As [`Fixture::judge`] where the bundle itself may be refused.
    pub(super) fn try_judge(&self) -> crate::error::Result<Proof> {
        let bundle = Bundle::open(self.folder.path().to_owned())?;
        judge(&bundle, &self.facts, &self.own, &self.asked)
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

    pub(super) fn seal_digest(&self) -> Digest {
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
            attempt: execution.attempt,
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
