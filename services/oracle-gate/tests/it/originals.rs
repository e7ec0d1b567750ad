//! What the first checker of such stores let pass, one test each: here none of it does.

use oracle_gate::check::{Rules, check_bytes};
use oracle_gate::objects::Objects;
use oracle_gate::profile::Profile;
use seal::SealStatus;
use serde_json::json;
use wire::digest::Digest;

use crate::conformance::fixture::{Sealing, StoreFixture, fingerprint, key, sha256};
use crate::fixture::NOW;

/// The codes that the strict rules raise after `change`.
async fn codes(change: impl FnOnce(&mut StoreFixture)) -> Vec<&'static str> {
    let dir = tempfile::tempdir().unwrap();
    let mut fixture = StoreFixture::good();
    change(&mut fixture);
    fixture.write(dir.path());
    let profile = dir.path().join("profile.yaml");
    let store = dir.path().join("store");
    let root = store.to_str().unwrap().to_owned();
    let profile = Profile::load(profile.to_str().unwrap(), Some(root), |_| None).unwrap();
    let rules = Rules::strict(&profile, vec![key().verifying_key()]);
    let view = std::fs::read(dir.path().join("view.json")).unwrap();
    let objects = Objects::local(&store).unwrap();
    let outcome = check_bytes(&objects, &rules, "view", &view, NOW).await;
    outcome.reason_codes.iter().map(|reason| reason.code()).collect()
}

macro_rules! probes {
    ($($(#[$doc:meta])* $name:ident: $change:expr => [$($code:literal),+];)*) => {
        $(
            $(#[$doc])*
            #[tokio::test]
            async fn $name() {
                assert_eq!(codes($change).await, [$($code),+]);
            }
        )*
    };
}

probes! {
    a_wrong_content_digest_of_a_present_file_is_refused: |fixture| {
        fixture.locator(0)["content_digest"]["hex"] = json!("0".repeat(64));
    } => ["DIGEST_MISMATCH"];

    a_pass_of_another_world_does_not_count: |fixture| {
        fixture.view["gate_receipts"][2]["scope"]["manifest_fingerprint"] = json!(Digest::of(b"x"));
    } => ["GATE_PASS_MISSING", "GATE_SCOPE_MISMATCH"];

    one_fail_beats_any_pass: |fixture| {
        let mut fail = fixture.view["gate_receipts"][2].clone();
        fail["status"] = json!("FAIL");
        fixture.view["gate_receipts"].as_array_mut().unwrap().insert(0, fail);
    } => ["GATE_FAILED"];

    the_role_non_traffic_needs_its_gates_too: |fixture| {
        fixture.view["output_roles"] = json!({"parts": "non_traffic"});
        fixture.view["gate_receipts"].as_array_mut().unwrap().remove(2);
    } => ["GATE_PASS_MISSING"];

    an_unknown_output_is_a_reason_and_no_crash: |fixture| {
        fixture.locator(0)["output_id"] = json!("nonesuch");
    } => ["OUTPUT_UNKNOWN"];

    a_pack_sealed_as_failed_is_refused: |fixture| {
        fixture.sealing = Sealing::V1(SealStatus::Failed);
    } => ["PACK_SEALED_FAILED"];

    a_seal_that_is_no_json_is_refused: |fixture| {
        fixture.unpinned();
        fixture.after(|case| {
            std::fs::write(case.join("store/run-5/_SEALED.json"), "ok").unwrap();
        });
    } => ["SEAL_INVALID"];

    an_unparsable_manifest_is_refused: |fixture| {
        fixture.unpinned();
        fixture.only_free();
        fixture.after(|case| {
            std::fs::write(case.join("store/run-5/_oracle_pack_manifest.json"), "{").unwrap();
        });
    } => ["PACK_MANIFEST_INVALID", "SEAL_MANIFEST_MISMATCH"];

    an_absolute_path_outside_the_root_is_refused: |fixture| {
        fixture.locator(0)["path"] = json!("/etc/hostname");
    } => ["LOCATOR_OUTSIDE_ROOT"];

    traversal_is_refused: |fixture| {
        fixture.locator(0)["path"] = json!("run-5/../../view.json");
    } => ["LOCATOR_OUTSIDE_ROOT"];

    a_locator_in_a_bucket_does_not_skip_the_seal: |fixture| {
        fixture.locator(0)["path"] = json!("s3://bucket/run-5/data/one");
    } => ["LOCATOR_OUTSIDE_ROOT"];

    an_empty_folder_is_no_output: |fixture| {
        fixture.locator(0)["path"] = json!(format!("run-5/data/free/f={}/empty", fingerprint()));
        fixture.after(|case| {
            let folder = format!("store/run-5/data/free/f={}/empty", fingerprint());
            std::fs::create_dir(case.join(folder)).unwrap();
        });
    } => ["LOCATOR_MISSING"];

    no_locators_are_no_pass: |fixture| {
        fixture.only_free();
        fixture.view["locators"] = json!([]);
    } => ["LOCATORS_EMPTY"];

    a_seal_that_is_left_empty_by_a_crash_is_none: |fixture| {
        fixture.unpinned();
        fixture.after(|case| std::fs::write(case.join("store/run-5/_SEALED.json"), "").unwrap());
    } => ["SEAL_INVALID"];

    the_pack_is_bound_to_the_runs_pins: |fixture| {
        fixture.only_free();
        fixture.view["pins"]["scenario_id"] = json!("another");
    } => ["PACK_PINS_MISMATCH"];

    a_change_after_the_seal_is_found_where_no_locator_looks: |fixture| {
        let path = format!("data/free/f={}/more/a.txt", fingerprint());
        fixture.edit(&path, "a", "b");
    } => ["PACK_FILE_CHANGED"];

    a_root_with_a_longer_name_is_another_root: |fixture| {
        fixture.after(|case| {
            let store = case.join("store0");
            crate::conformance::fixture::write(&store.join("x"), b"one");
            let view = std::fs::read_to_string(case.join("view.json")).unwrap();
            let path = format!("run-5/data/free/f={}/one.txt", fingerprint());
            let other = store.join("x").to_str().unwrap().to_owned();
            std::fs::write(case.join("view.json"), view.replace(&path, &other)).unwrap();
        });
    } => ["BUNDLE_HASH_MISMATCH", "LOCATOR_OUTSIDE_ROOT"];

    an_unsealed_pack_fails_for_relative_paths_too: |fixture| {
        fixture.unpinned();
        fixture.only_free();
        fixture.sealing = Sealing::Not;
    } => ["PACK_NOT_SEALED", "PACK_MANIFEST_MISSING"];

    an_unknown_method_of_a_gate_fails_closed: |fixture| {
        fixture.gates = fixture.gates.replace("sha256_bundle_digest", "anything");
    } => ["GATE_METHOD_UNKNOWN"];

    an_index_names_no_file_outside_its_bundle: |fixture| {
        fixture.put("data/b/index.json", "[{\"path\":\"../a\"}]");
    } => ["LOCATOR_OUTSIDE_ROOT"];

    an_empty_index_is_no_pass: |fixture| {
        fixture.put("data/b/index.json", "[]");
        let nothing = Digest::of(b"");
        fixture.put("data/b/_passed.flag", format!("bundle_digest_sha256 = {nothing}"));
    } => ["GATE_EVIDENCE_INVALID"];

    a_member_without_a_path_is_not_skipped: |fixture| {
        fixture.put("data/b/index.json", "[{\"path\":\"b1.json\"},{\"id\":\"b2\"}]");
    } => ["GATE_EVIDENCE_INVALID"];

    a_member_without_a_digest_is_not_skipped: |fixture| {
        fixture.put("data/c/index.json", "{\"members\":[{\"path\":\"c1\"}]}");
    } => ["GATE_EVIDENCE_INVALID"];

    stated_digests_of_members_are_recomputed: |fixture| {
        fixture.put("data/c/c1", "other");
    } => ["GATE_EVIDENCE_MISMATCH"];

    gates_are_closed_over_what_is_upstream: |fixture| {
        fixture.view["locators"].as_array_mut().unwrap().remove(2);
        fixture.view.as_object_mut().unwrap().remove("instance_receipts");
        fixture.view["gate_receipts"].as_array_mut().unwrap().remove(0);
    } => ["GATE_PASS_MISSING"];

    a_locator_without_any_identity_is_no_locator: |fixture| {
        fixture.locator(0).as_object_mut().unwrap().remove("run_id");
    } => ["RUN_FACTS_INVALID"];

    /// The first checker asked no receipt for its age; here a profile may.
    an_old_receipt_does_not_count_where_its_age_is_limited: |fixture| {
        fixture.dated("1969-12-31T00:00:00Z");
        fixture.policy = "require_pack_ref: true, max_receipt_age_seconds: 60";
    } => ["GATE_RECEIPT_STALE"];

    an_instance_proof_is_compared_with_recomputed_bytes: |fixture| {
        fixture.view["instance_receipts"][0]["target_digest"] = sha256(b"vouched");
        fixture.view["instance_receipts"][0]["target_ref"]["content_digest"] = sha256(b"vouched");
        fixture.locator(2)["content_digest"] = sha256(b"vouched");
    } => ["DIGEST_MISMATCH"];
}

#[test]
fn profiles_of_other_names_are_strict() {
    for id in ["production", "staging", "dev_local"] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let yaml = format!("profile_id: {id}\nwiring: {{oracle_root: x}}");
        std::fs::write(file.path(), yaml).unwrap();
        let profile = Profile::load(file.path().to_str().unwrap(), None, |_| None).unwrap();
        let rules = Rules::strict(&profile, vec![]);
        assert!(!profile.lenient && !rules.allow_unsealed && !rules.allow_missing_digest);
    }
}

/// The missing digest is counted and reported, not silently dropped.
#[tokio::test]
async fn an_allowed_missing_digest_is_a_warning_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut fixture = StoreFixture::good();
    fixture.lenient();
    fixture.locator(0).as_object_mut().unwrap().remove("content_digest");
    fixture.write(dir.path());
    let store = dir.path().join("store");
    let root = store.to_str().unwrap().to_owned();
    let profile = dir.path().join("profile.yaml");
    let profile = Profile::load(profile.to_str().unwrap(), Some(root), |_| None).unwrap();
    let strict = Rules::strict(&profile, vec![key().verifying_key()]);
    let rules = Rules { allow_missing_digest: true, ..strict };
    let view = std::fs::read(dir.path().join("view.json")).unwrap();
    let objects = Objects::local(&store).unwrap();
    let outcome = check_bytes(&objects, &rules, "view", &view, NOW).await;
    assert_eq!((outcome.status.as_str(), outcome.exit(false), outcome.exit(true)), ("WARN", 0, 1));
    assert_eq!(outcome.reason_codes[0].code(), "DIGEST_MISSING");
    assert_eq!(outcome.details.locators_missing_digest, 1);
    assert_eq!(outcome.details.traffic_outputs, ["parts"]);
    let pack = &outcome.details.packs[0];
    assert!(pack.oracle_pack_id.is_some() && pack.seal_digest.is_some());
}
