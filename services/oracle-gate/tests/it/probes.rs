//! Views that must not pass, of an engine that is not Lumio, each with exactly the codes it raises.

use std::fs;

use oracle_gate::check::{Outcome, Rules, Status, check_bytes};
use oracle_gate::objects::Objects;
use oracle_gate::probe;
use oracle_gate::profile::Profile;
use oracle_gate::sealing::{Closed, Order, close};
use seal::facts::RunFactsView;
use seal::{Limits, Manifest, ManifestV1, SealStatus, Tree, pack_id};
use serde_json::{Value, json};
use wire::digest::Digest;

use crate::lab::{Lab, NOW};

const CATALOGUE: &str = "
outputs:
  - {output_id: free, scope: fingerprint, read_requires_gates: []}
  - {output_id: parts, scope: fingerprint, read_requires_gates: []}
  - {output_id: gated, scope: fingerprint, read_requires_gates: [gate.b]}
  - {output_id: proven, scope: fingerprint_seed, read_requires_gates: []}
";
const GATES: &str = "
gates:
  - {gate_id: gate.a, verification_method: {kind: sha256_of_the_moon}}
  - {gate_id: gate.b, verification_method: {kind: sha256_of_the_moon}, upstream_gate_dependencies: [gate.a]}
";

/// A store with one sealed pack `run-5`, and a view that passes.
struct Engine {
    lab: Lab,
    strict: Profile,
    sealed: Closed,
    view: Value,
}

fn profile(lab: &Lab, id: &str, policy: &str) -> Profile {
    fs::write(lab.path("catalogue.yaml"), CATALOGUE).unwrap();
    fs::write(lab.path("gates.yaml"), GATES).unwrap();
    let root = lab.path("store");
    fs::create_dir_all(&root).unwrap();
    let yaml = format!(
        "profile_id: {id}\npolicy: {{{policy}}}\nwiring:\n  oracle_root: {}\n  engine_catalogue_path: catalogue.yaml\n  gate_map_path: gates.yaml\n",
        root.display()
    );
    fs::write(lab.path(&format!("{id}.yaml")), yaml).unwrap();
    Profile::load(lab.path(&format!("{id}.yaml")).to_str().unwrap(), None, |_| None).unwrap()
}

impl Engine {
    async fn new(status: SealStatus) -> Self {
        let lab = Lab::new();
        let strict = profile(&lab, "dev", "");
        for (path, content) in [("data/one", "one"), ("data/p/part-1", "b"), ("data/p/part-0", "a")]
        {
            lab.write(&format!("store/run-5/{path}"), content);
        }
        lab.write("store/outside-of-pack/x", "x");
        fs::create_dir_all(lab.path("store/run-5/data/empty")).unwrap();
        let view = view(&[
            json!({"output_id": "free", "path": "run-5/data/one", "scenario_id": "s", "content_digest": sha256(b"one")}),
            json!({"output_id": "parts", "path": "run-5/data/p/part-*", "scenario_id": "s", "content_digest": sha256(b"ab")}),
        ]);
        let facts = RunFactsView::parse(view.to_string().as_bytes()).unwrap();
        let mut manifest = ManifestV1 {
            oracle_pack_id: Digest::of(b""),
            world_key: facts.world_key(),
            run_id: facts.run_id,
            attempt: 1,
            engine_release: "engine".to_owned(),
            catalogue_digest: strict.catalogue.digest(),
            gate_map_digest: strict.gate_map.digest(),
            inventory: Tree::from_dir(&lab.path("store/run-5"), &Limits::PACK).unwrap(),
            created_at_utc: NOW,
        };
        manifest.oracle_pack_id = pack_id::v1(&manifest);
        let objects = Objects::local(&lab.path("store")).unwrap();
        let probe = probe::run(&objects, "t", NOW).await.unwrap();
        let nonce = "0".repeat(32);
        let manifest = Manifest::V1(manifest);
        let order = Order { root: "run-5", manifest, status, nonce: &nonce, probe, now: NOW };
        let sealed = close(&objects, &order).await.unwrap();
        Self { lab, strict, sealed, view }
    }

    async fn check(&self, rules: &Rules, view: &Value) -> Outcome {
        let objects = Objects::local(&self.lab.path("store")).unwrap();
        check_bytes(&objects, rules, "view", view.to_string().as_bytes()).await
    }

    /// The codes under the strict rules, after `change` and with a bundle hash that fits.
    async fn codes(&self, change: impl FnOnce(&mut Value)) -> Vec<&'static str> {
        let mut view = self.view.clone();
        change(&mut view);
        let rules = Rules::strict(&self.strict, vec![]);
        let outcome = self.check(&rules, &hashed(view)).await;
        assert_eq!(outcome.status == Status::Ok, outcome.reason_codes.is_empty());
        outcome.reason_codes.iter().map(|reason| reason.code()).collect()
    }
}

fn sha256(bytes: &[u8]) -> Value {
    json!({"algo": "sha256", "hex": Digest::of(bytes)})
}

fn fingerprint() -> Digest {
    Digest::of(b"world")
}

fn view(locators: &[Value]) -> Value {
    let run = "ab".repeat(16);
    hashed(json!({
        "run_id": run,
        "pins": {"manifest_fingerprint": fingerprint(), "parameter_hash": fingerprint(), "seed": 7,
            "scenario_id": "s", "run_id": run},
        "locators": locators,
        "gate_receipts": [],
        "policy_rev": {"policy_id": "p", "revision": "1", "content_digest": fingerprint()},
        "bundle_hash": fingerprint(), "plan_ref": "a", "record_ref": "b", "status_ref": "c",
    }))
}

/// The same with the bundle hash it should have, if it is a view at all.
fn hashed(mut view: Value) -> Value {
    if let Ok(facts) = RunFactsView::parse(view.to_string().as_bytes()) {
        view["bundle_hash"] = json!(facts.computed_bundle_hash().unwrap());
    }
    view
}

fn receipt(gate: &str, status: &str, world: Digest) -> Value {
    json!({"gate_id": gate, "status": status, "scope": {"manifest_fingerprint": world}})
}

#[tokio::test]
async fn a_good_view_passes_and_says_which_outputs_need_no_gate() {
    let engine = Engine::new(SealStatus::Ok).await;
    let outcome = engine.check(&Rules::strict(&engine.strict, vec![]), &engine.view).await;
    assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.issues);
    assert_eq!(outcome.details.no_gate_required, ["free", "parts"]);
    assert_eq!(outcome.details.packs[0].seal_digest, Some(engine.sealed.seal_digest));
}

#[tokio::test]
async fn paths_that_could_lead_outside_the_root_are_refused() {
    let engine = Engine::new(SealStatus::Ok).await;
    fs::write(engine.lab.path("secret"), "one").unwrap();
    let secret = engine.lab.path("secret");
    let sibling = format!("{}0/x", engine.lab.path("store").display());
    for path in [
        secret.to_str().unwrap(),
        "../secret",
        "run-5/../../secret",
        "s3://bucket/run-5/data/one",
        &sibling,
        "run-*/data/one",
        "run-5\\data\\one",
    ] {
        let codes = engine.codes(|view| view["locators"][0]["path"] = json!(path)).await;
        assert_eq!(codes, ["LOCATOR_OUTSIDE_ROOT"], "{path}");
    }
    let absolute = engine.lab.path("store/run-5/data/one").canonicalize().unwrap();
    let codes = engine.codes(|view| view["locators"][0]["path"] = json!(absolute));
    assert_eq!(codes.await, [""; 0]);
}

#[tokio::test]
async fn digests_are_recomputed_and_demanded() {
    let engine = Engine::new(SealStatus::Ok).await;
    let wrong = engine.codes(|view| {
        view["locators"][0]["content_digest"]["hex"] = json!("0".repeat(64));
    });
    assert_eq!(wrong.await, ["DIGEST_MISMATCH"]);
    let order = engine.codes(|view| view["locators"][1]["content_digest"] = sha256(b"ba"));
    assert_eq!(order.await, ["DIGEST_MISMATCH"]);
    let missing = engine.codes(|view| {
        view["locators"][0].as_object_mut().unwrap().remove("content_digest");
    });
    assert_eq!(missing.await, ["DIGEST_MISSING"]);
}

#[tokio::test]
async fn nothing_passes_because_there_is_nothing() {
    let engine = Engine::new(SealStatus::Ok).await;
    let none = engine.codes(|view| view["locators"] = json!([]));
    assert_eq!(none.await, ["LOCATORS_EMPTY"]);
    let folder = engine.codes(|view| view["locators"][0]["path"] = json!("run-5/data/empty"));
    assert_eq!(folder.await, ["LOCATOR_MISSING"]);
    let parts = engine.codes(|view| view["locators"][1]["path"] = json!("run-5/data/p/x-*"));
    assert_eq!(parts.await, ["PART_SET_EMPTY"]);
    let twice = engine.codes(|view| view["locators"][1] = view["locators"][0].clone());
    assert_eq!(twice.await, ["LOCATOR_DUPLICATE"]);
    let unknown = engine.codes(|view| view["locators"][0]["output_id"] = json!("unknown"));
    assert_eq!(unknown.await, ["OUTPUT_UNKNOWN"]);
}

#[tokio::test]
async fn gates_are_closed_over_their_dependencies_and_roles_lower_nothing() {
    let engine = Engine::new(SealStatus::Ok).await;
    let gated = |view: &mut Value, receipts: Value| {
        view["locators"][0]["output_id"] = json!("gated");
        view["output_roles"] = json!({"gated": "non_traffic"});
        view["gate_receipts"] = receipts;
    };
    let none = engine.codes(|view| gated(view, json!([])));
    assert_eq!(none.await, ["GATE_PASS_MISSING"]);
    let passes = json!([receipt("gate.b", "PASS", fingerprint())]);
    let upstream = engine.codes(|view| gated(view, passes));
    assert_eq!(upstream.await, ["GATE_PASS_MISSING", "GATE_METHOD_UNKNOWN"]);
    let elsewhere = json!([
        receipt("gate.a", "PASS", Digest::of(b"other world")),
        receipt("gate.b", "PASS", Digest::of(b"other world")),
    ]);
    let scoped = engine.codes(|view| gated(view, elsewhere));
    assert_eq!(scoped.await, ["GATE_PASS_MISSING", "GATE_SCOPE_MISMATCH"]);
    let both = json!([
        receipt("gate.a", "PASS", fingerprint()),
        receipt("gate.b", "PASS", fingerprint()),
        receipt("gate.b", "FAIL", fingerprint()),
    ]);
    let failed = engine.codes(|view| gated(view, both));
    assert_eq!(failed.await, ["GATE_FAILED", "GATE_METHOD_UNKNOWN"]);
    let unknown = json!([receipt("gate.z", "PASS", fingerprint())]);
    let unknown = engine.codes(|view| view["gate_receipts"] = unknown);
    assert_eq!(unknown.await, ["GATE_UNKNOWN"]);
}

#[tokio::test]
async fn outputs_that_depend_on_their_run_are_proven_one_by_one() {
    let engine = Engine::new(SealStatus::Ok).await;
    let proven = |view: &mut Value, digest: Option<Value>| {
        view["locators"][0]["output_id"] = json!("proven");
        if let Some(digest) = digest {
            view["instance_receipts"] = json!([{"output_id": "proven", "status": "PASS",
                "scope": {"manifest_fingerprint": fingerprint(), "seed": 7},
                "target_ref": view["locators"][0].clone(), "target_digest": digest}]);
        }
    };
    let missing = engine.codes(|view| proven(view, None));
    assert_eq!(missing.await, ["INSTANCE_PROOF_REQUIRED_BUT_MISSING"]);
    let wrong = engine.codes(|view| proven(view, Some(sha256(b"two"))));
    assert_eq!(wrong.await, ["INSTANCE_PROOF_MISMATCH"]);
    let right = engine.codes(|view| proven(view, Some(sha256(b"one"))));
    assert_eq!(right.await, [""; 0]);
}

#[tokio::test]
async fn seal_manifest_and_pins_are_bound_to_each_other() {
    let engine = Engine::new(SealStatus::Ok).await;
    let world = engine.codes(|view| view["pins"]["seed"] = json!(8));
    assert_eq!(world.await, ["PACK_PINS_MISMATCH"]);
    let run = engine.codes(|view| view["pins"]["run_id"] = json!("cd".repeat(16)));
    assert_eq!(run.await, ["RUN_PINS_MISMATCH"]);
    let other = json!({"oracle_pack_id": engine.sealed.pack_id, "seal_digest": fingerprint()});
    let pinned = engine.codes(|view| view["oracle_pack_ref"] = other);
    assert_eq!(pinned.await, ["PACK_REF_MISMATCH"]);
    let unsealed = engine.codes(|view| {
        let stray = json!({"output_id": "free", "path": "outside-of-pack/x", "scenario_id": "s", "content_digest": sha256(b"x")});
        view["locators"][0] = stray;
    });
    assert_eq!(unsealed.await, ["PACK_NOT_SEALED", "PACK_MANIFEST_MISSING"]);
    engine.lab.write("store/run-5/data/late", "late");
    let late = engine.codes(|view| {
        view["locators"][0]["path"] = json!("run-5/data/late");
        view["locators"][0]["content_digest"] = sha256(b"late");
    });
    assert_eq!(late.await, ["LOCATOR_NOT_IN_PACK"]);
}

#[tokio::test]
async fn a_failed_a_garbled_and_an_unparsable_pack_are_refused() {
    let failed = Engine::new(SealStatus::Failed).await;
    assert_eq!(failed.codes(|_| {}).await, ["PACK_SEALED_FAILED"]);
    let engine = Engine::new(SealStatus::Ok).await;
    engine.lab.write("store/run-5/_SEALED.json", "sealed!");
    assert_eq!(engine.codes(|_| {}).await, ["SEAL_INVALID"]);
    let engine = Engine::new(SealStatus::Ok).await;
    engine.lab.write("store/run-5/_oracle_pack_manifest.json", "{");
    assert_eq!(engine.codes(|_| {}).await, ["PACK_MANIFEST_INVALID", "SEAL_MANIFEST_MISMATCH"]);
}

#[tokio::test]
async fn an_old_pack_is_read_by_its_own_rule() {
    let engine = Engine::new(SealStatus::Ok).await;
    let facts = RunFactsView::parse(engine.view.to_string().as_bytes()).unwrap();
    let mut manifest = seal::ManifestV0 {
        oracle_pack_id: fingerprint(),
        world_key: facts.world_key(),
        engine_release: "engine".to_owned(),
        catalogue_digest: fingerprint(),
        gate_map_digest: fingerprint(),
        created_at_utc: "2026-01-28".to_owned(),
    };
    let store = |manifest: &seal::ManifestV0| {
        let seal = json!({"version": "v0", "oracle_pack_id": manifest.oracle_pack_id,
            "seal_status": "SEALED_OK", "sealed_at_utc": "2026-01-28"});
        let manifest = Manifest::V0(manifest.clone()).to_bytes().unwrap();
        engine.lab.write("store/run-5/_oracle_pack_manifest.json", manifest);
        engine.lab.write("store/run-5/_SEALED.json", seal.to_string());
    };
    store(&manifest);
    assert_eq!(engine.codes(|_| {}).await, ["PACK_ID_MISMATCH"]);
    manifest.oracle_pack_id = pack_id::v0(&manifest);
    store(&manifest);
    assert_eq!(engine.codes(|_| {}).await, [""; 0]);
}

#[tokio::test]
async fn what_is_no_view_stops_with_every_mistake() {
    let engine = Engine::new(SealStatus::Ok).await;
    let rules = Rules::strict(&engine.strict, vec![]);
    let objects = Objects::local(&engine.lab.path("store")).unwrap();
    let garbage = check_bytes(&objects, &rules, "view", b"{").await;
    assert_eq!(garbage.reason_codes[0].code(), "RUN_FACTS_UNREADABLE");
    let mut view = engine.view.clone();
    (view["plan_ref"], view["status_ref"]) = (json!(""), json!(""));
    let outcome = engine.check(&rules, &view).await;
    assert_eq!(outcome.issues.len(), 2);
    assert_eq!(outcome.reason_codes[0].code(), "RUN_FACTS_INVALID");
    let mut edited = engine.view.clone();
    edited["bundle_hash"] = json!(fingerprint());
    let outcome = engine.check(&rules, &edited).await;
    assert_eq!(outcome.reason_codes[0].code(), "BUNDLE_HASH_MISMATCH");
}

#[tokio::test]
async fn only_the_lenient_profile_warns_and_only_about_what_is_missing() {
    let engine = Engine::new(SealStatus::Ok).await;
    let local = profile(&engine.lab, "local", "lenient: true");
    let lenient = Rules { allow_unsealed: true, ..Rules::strict(&local, vec![]) };
    let mut view = engine.view.clone();
    view["locators"] =
        json!([{"output_id": "free", "path": "outside-of-pack/x", "scenario_id": "s"}]);
    let view = hashed(view);
    assert_eq!(engine.check(&lenient, &view).await.status, Status::Fail);
    let allowed = Rules { allow_missing_digest: true, ..lenient };
    let outcome = engine.check(&allowed, &view).await;
    assert_eq!((outcome.status, outcome.exit(false), outcome.exit(true)), (Status::Warn, 0, 1));
    assert_eq!(outcome.issues.len(), 3, "{:?}", outcome.issues);
    assert_eq!(outcome.details.locators_missing_digest, 1);
    let mut wrong = engine.view.clone();
    wrong["locators"][0]["content_digest"] = sha256(b"wrong");
    assert_eq!(engine.check(&allowed, &hashed(wrong)).await.status, Status::Fail);
}
