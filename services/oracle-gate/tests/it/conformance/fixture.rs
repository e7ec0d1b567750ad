//! An engine's run in a store: outputs, gates of every method with their evidence, a seal, a view.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ed25519_dalek::SigningKey;
use seal::SealStatus;
use seal::facts::RunFactsView;
use serde_json::{Value, json};
use wire::digest::{Digest, Hasher};
use wire::statement::{Execution, ExecutionStatement, Output};

use crate::fixture::{execution, module, run};

pub const CATALOGUE: &str = "
outputs:
  - {output_id: free, scope: manifest_fingerprint, read_requires_gates: [],
     path_template: 'data/free/f={manifest_fingerprint}/**'}
  - {output_id: parts, scope: manifest_fingerprint, read_requires_gates: [gate.c],
     path_template: 'data/parts/f={manifest_fingerprint}/part-*.txt'}
  - {output_id: proven, scope: manifest_fingerprint_seed, read_requires_gates: [gate.a],
     path_template: 'data/proven/seed={seed}/one.txt'}
  - {output_id: signed, scope: manifest_fingerprint_run_id, read_requires_gates: [gate.s]}
  - {output_id: spare, scope: manifest_fingerprint, read_requires_gates: [], availability: optional}
  - {output_id: wanted, scope: manifest_fingerprint, read_requires_gates: []}
";

pub const GATES: &str = "
gates:
  - gate_id: gate.a
    scope: fingerprint
    passed_flag_path_template: 'data/a/f={manifest_fingerprint}/_passed.flag'
    bundle_root_template: 'data/a/f={manifest_fingerprint}/'
    verification_method: {kind: sha256_bundle_digest, digest_field: sha256_hex,
      ordering: ascii_lex, exclude_filenames: [_passed.flag]}
  - gate_id: gate.b
    scope: fingerprint
    passed_flag_path_template: 'data/b/_passed.flag'
    bundle_root_template: 'data/b/'
    index_path_template: 'data/b/index.json'
    verification_method: {kind: sha256_index_json_ascii_lex_raw_bytes,
      digest_field: bundle_digest_sha256, exclude_filenames: [_passed.flag, index.json]}
    upstream_gate_dependencies: [gate.a]
  - gate_id: gate.c
    scope: fingerprint
    passed_flag_path_template: 'data/c/_passed.flag'
    bundle_root_template: 'data/c/'
    index_path_template: 'data/c/index.json'
    verification_method: {kind: sha256_member_digest_concat, digest_field: sha256_hex,
      ordering: members_array_order, exclude_filenames: [_passed.flag]}
    upstream_gate_dependencies: [gate.b]
  - gate_id: gate.s
    scope: run_id
    verification_method: {kind: dsse_statement_v1, statement: _execution.dsse,
      predicate_type: 'https://lumio.dev/attestation/execution/v1'}
    authorizes_outputs: [signed]
";

/// How the pack is closed.
pub enum Sealing {
    V1(SealStatus),
    V0,
    Not,
}

/// What is done to the case's folder once everything is written.
type After = Box<dyn FnOnce(&Path)>;

/// A case while it is made.
pub struct StoreFixture {
    /// The pack's root below the store.
    pub pack: String,
    /// Files of the pack, by path.
    pub files: BTreeMap<String, Vec<u8>>,
    pub sealing: Sealing,
    /// What the manifest claims as its id, if not its own.
    pub claimed_id: Option<Digest>,
    /// What the seal says of the store's checksums.
    pub checksums: Option<bool>,
    pub view: Value,
    /// Whether the view pins the seal.
    pub pins_seal: bool,
    /// Whether the view gets the bundle hash it should have.
    pub hashes: bool,
    pub profile_id: &'static str,
    pub policy: &'static str,
    pub catalogue: String,
    pub gates: String,
    pub arguments: Vec<String>,
    pub after: Vec<After>,
}

pub fn fingerprint() -> Digest {
    module()
}

pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub fn sha256(bytes: &[u8]) -> Value {
    json!({"algo": "sha256", "hex": Digest::of(bytes)})
}

/// Digest of texts one after the other.
pub fn joined(texts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new();
    texts.iter().for_each(|text| hasher.update(text));
    hasher.finish()
}

impl StoreFixture {
    /// One that passes under strict rules.
    pub fn good() -> Self {
        let mut fixture = Self {
            pack: "run-5".to_owned(),
            files: BTreeMap::new(),
            sealing: Sealing::V1(SealStatus::Ok),
            claimed_id: None,
            checksums: None,
            view: Value::Null,
            pins_seal: true,
            hashes: true,
            profile_id: "dev",
            policy: "require_pack_ref: true",
            catalogue: CATALOGUE.to_owned(),
            gates: GATES.to_owned(),
            arguments: vec![
                "--attestation-key".to_owned(),
                wire::dsse::key_id(&key().verifying_key()),
            ],
            after: Vec::new(),
        };
        fixture.outputs();
        fixture.evidence();
        fixture.view = fixture.facts();
        fixture
    }

    fn outputs(&mut self) {
        let fp = fingerprint();
        for (path, content) in [
            (format!("data/free/f={fp}/one.txt"), "one"),
            (format!("data/free/f={fp}/more/a.txt"), "a"),
            (format!("data/free/f={fp}/more/b/c.txt"), "c"),
            (format!("data/parts/f={fp}/part-0.txt"), "p0"),
            (format!("data/parts/f={fp}/part-1.txt"), "p1"),
            ("data/proven/seed=42/one.txt".to_owned(), "proof"),
            ("outputs/report.json".to_owned(), "{}"),
        ] {
            self.put(&path, content);
        }
    }

    fn evidence(&mut self) {
        let a = format!("data/a/f={}", fingerprint());
        self.put(&format!("{a}/x.json"), "x");
        self.put(&format!("{a}/y/z.json"), "yz");
        self.put(
            &format!("{a}/_passed.flag"),
            format!("sha256_hex = {}\n", joined(&[b"x", b"yz"])),
        );
        self.put(
            "data/b/index.json",
            r#"{"items":[{"path":"b2.json"},{"path":"b1.json"},{"path":"index.json"}]}"#,
        );
        self.put("data/b/b1.json", "b1");
        self.put("data/b/b2.json", "b2");
        let b = json!({"bundle_digest_sha256": joined(&[b"b1", b"b2"]), "gate": "b"});
        self.put("data/b/_passed.flag", b.to_string());
        let member = |name: &str| json!({"path": name, "sha256_hex": Digest::of(name.as_bytes())});
        let members = json!({"members": [member("c2"), member("c1")]});
        self.put("data/c/index.json", members.to_string());
        self.put("data/c/c1", "c1");
        self.put("data/c/c2", "c2");
        let (c2, c1) = (Digest::of(b"c2").to_string(), Digest::of(b"c1").to_string());
        let c = joined(&[c2.as_bytes(), c1.as_bytes()]);
        self.put("data/c/_passed.flag", format!("sha256_hex={c}"));
        self.sign(|_| ());
    }

    /// Signs the statement of `gate.s` after `change`.
    pub fn sign(&mut self, change: impl FnOnce(&mut Execution)) {
        let report =
            Output { path: "report.json".to_owned(), length: 2, sha256: Digest::of(b"{}") };
        let mut stated = Execution { outputs: vec![report], ..execution(run(1)) };
        change(&mut stated);
        let envelope = ExecutionStatement::new(stated).unwrap().sign(&key()).to_json();
        self.put("_execution.dsse", envelope);
    }

    pub(super) fn facts(&self) -> Value {
        let (fp, run_id) = (fingerprint(), run(1).simple().to_string());
        let locator = |id: &str, path: String, digest: Value| {
            json!({"output_id": id, "path": format!("{}/{path}", self.pack), "run_id": run_id,
                "content_digest": digest})
        };
        let proven = locator("proven", "data/proven/seed=42/one.txt".to_owned(), sha256(b"proof"));
        let pass = |gate: &str| json!({"gate_id": gate, "status": "PASS", "scope": {"manifest_fingerprint": fp}});
        let mut signed = pass("gate.s");
        signed["scope"]["run_id"] = json!(run_id);
        json!({
            "run_id": run_id,
            "pins": {"manifest_fingerprint": fp, "parameter_hash": Digest::of(b"{}"), "seed": 42,
                "scenario_id": "profile", "run_id": run_id},
            "locators": [
                locator("free", format!("data/free/f={fp}/one.txt"), sha256(b"one")),
                locator("parts", format!("data/parts/f={fp}/part-*.txt"), sha256(b"p0p1")),
                proven,
                locator("signed", "outputs/report.json".to_owned(), sha256(b"{}")),
            ],
            "output_roles": {"parts": "business_traffic", "free": "non_traffic"},
            "gate_receipts": [pass("gate.a"), pass("gate.b"), pass("gate.c"), signed],
            "instance_receipts": [{"output_id": "proven", "status": "PASS",
                "scope": {"manifest_fingerprint": fp, "seed": 42},
                "target_ref": proven, "target_digest": sha256(b"proof")}],
            "policy_rev": {"policy_id": "p", "revision": "1", "content_digest": fp},
            "bundle_hash": fp, "plan_ref": "a", "record_ref": "b", "status_ref": "c",
        })
    }

    pub fn put(&mut self, path: &str, content: impl AsRef<[u8]>) {
        self.files.insert(path.to_owned(), content.as_ref().to_vec());
    }

    pub fn take(&mut self, path: &str) {
        self.files.remove(path).unwrap();
    }

    pub fn locator(&mut self, at: usize) -> &mut Value {
        &mut self.view["locators"][at]
    }

    /// Drops everything but the output that needs no gate.
    pub fn only_free(&mut self) {
        let free = self.view["locators"][0].clone();
        self.view["locators"] = json!([free]);
        self.view["gate_receipts"] = json!([]);
        self.view.as_object_mut().unwrap().remove("instance_receipts");
    }

    /// Under the lenient profile.
    pub fn lenient(&mut self) {
        (self.profile_id, self.policy) = ("local", "lenient: true, least_evidence: size_only");
        self.pins_seal = false;
    }

    /// Every receipt of this time, under a profile that accepts a hundred years.
    pub fn dated(&mut self, time: &str) {
        self.policy = "require_pack_ref: true, max_receipt_age_seconds: 3155760000";
        for receipt in self.view["gate_receipts"].as_array_mut().unwrap() {
            receipt["produced_at_utc"] = json!(time);
        }
    }

    /// Without a pinned seal, under strict rules that do not ask for one.
    pub fn unpinned(&mut self) {
        (self.policy, self.pins_seal) = ("policy_rev: '1'", false);
    }

    pub fn after(&mut self, change: impl FnOnce(&Path) + 'static) {
        self.after.push(Box::new(change));
    }

    /// Edits a file of the pack as text once it is sealed.
    pub fn edit(&mut self, path: &str, from: &'static str, to: &'static str) {
        let path = format!("store/{}/{path}", self.pack);
        self.after(move |case| {
            let text = fs::read_to_string(case.join(&path)).unwrap();
            let edited = text.replacen(from, to, 1);
            assert_ne!(edited, text, "{from} is not in {path}");
            fs::write(case.join(path), edited).unwrap();
        });
    }

    /// Writes the case into the folder `case`.
    pub fn write(mut self, case: &Path) {
        let pack = case.join("store").join(&self.pack);
        fs::create_dir_all(&pack).unwrap();
        for (path, content) in &self.files {
            write(&pack.join(path), content);
        }
        self.seal(&pack);
        if self.hashes
            && let Ok(view) = RunFactsView::parse(self.view.to_string().as_bytes())
        {
            self.view["bundle_hash"] = json!(view.computed_bundle_hash().unwrap());
        }
        write(&case.join("view.json"), self.view.to_string().as_bytes());
        write(&case.join("catalogue.yaml"), self.catalogue.as_bytes());
        write(&case.join("gates.yaml"), self.gates.as_bytes());
        let profile = format!(
            "profile_id: {}\npolicy: {{{}}}\nwiring:\n  oracle_root: store\n  engine_catalogue_path: catalogue.yaml\n  gate_map_path: gates.yaml\n",
            self.profile_id, self.policy
        );
        write(&case.join("profile.yaml"), profile.as_bytes());
        write(&case.join("arguments"), self.arguments.join("\n").as_bytes());
        for change in self.after.drain(..) {
            change(case);
        }
    }
}

pub fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
