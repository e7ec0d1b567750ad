//! Cases that must not pass: gates, evidence, proofs. And calls that must not even start.

use std::fs;

use ed25519_dalek::SigningKey;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wire::digest::Digest;

use super::Case;
use super::fixture::{Sealing, StoreFixture, fingerprint, joined, sha256};

/// Young enough for [`StoreFixture::dated`], and too old.
const NEW: &str = "2026-01-28T00:00:00Z";
const OLD: &str = "1900-01-01T00:00:00Z";

fn receipt(fixture: &mut StoreFixture, at: usize) -> &mut serde_json::Value {
    &mut fixture.view["gate_receipts"][at]
}

fn without_receipt(fixture: &mut StoreFixture, at: usize) {
    fixture.view["gate_receipts"].as_array_mut().unwrap().remove(at);
}

fn flag_of_a() -> String {
    format!("data/a/f={}/_passed.flag", fingerprint())
}

fn strict_unpacked(fixture: &mut StoreFixture) {
    fixture.unpinned();
    fixture.sealing = Sealing::Not;
}

pub const GATES: &[Case] = &[
    ("GATE_UNKNOWN__a_receipt_of_no_known_gate", |fixture| {
        let mut unknown = receipt(fixture, 0).clone();
        unknown["gate_id"] = json!("gate.z");
        fixture.view["gate_receipts"].as_array_mut().unwrap().push(unknown);
    }),
    ("GATE_UNKNOWN+GATE_PASS_MISSING__an_output_of_no_known_gate", |fixture| {
        fixture.catalogue = fixture.catalogue.replace("[gate.c]", "[gate.z]");
    }),
    ("GATE_PASS_MISSING__no_receipt", |fixture| without_receipt(fixture, 2)),
    ("GATE_PASS_MISSING__no_receipt_of_a_gate_upstream", |fixture| {
        fixture.view["locators"].as_array_mut().unwrap().remove(2);
        fixture.view.as_object_mut().unwrap().remove("instance_receipts");
        without_receipt(fixture, 0);
    }),
    ("GATE_PASS_MISSING+INSTANCE_PROOF_MISMATCH__a_role_lowers_nothing", |fixture| {
        fixture.view["output_roles"] = json!({"parts": "non_traffic", "proven": "non_traffic"});
        fixture.view["instance_receipts"][0]["status"] = json!("FAIL");
        without_receipt(fixture, 1);
    }),
    ("GATE_FAILED__a_fail_beside_a_pass", |fixture| {
        let mut fail = receipt(fixture, 2).clone();
        fail["status"] = json!("FAIL");
        fixture.view["gate_receipts"].as_array_mut().unwrap().push(fail);
    }),
    ("GATE_SCOPE_MISMATCH+GATE_PASS_MISSING__a_pass_of_another_world", |fixture| {
        receipt(fixture, 2)["scope"]["manifest_fingerprint"] = json!(Digest::of(b"other"));
    }),
    ("GATE_SCOPE_MISMATCH+GATE_PASS_MISSING__a_pass_of_another_seed", |fixture| {
        receipt(fixture, 2)["scope"]["seed"] = json!(43);
    }),
    ("GATE_SCOPE_INCOMPLETE+GATE_PASS_MISSING__a_pass_of_no_run", |fixture| {
        receipt(fixture, 3)["scope"].as_object_mut().unwrap().remove("run_id");
    }),
    ("GATE_RECEIPT_STALE__an_old_receipt", |fixture| {
        fixture.dated(NEW);
        receipt(fixture, 2)["produced_at_utc"] = json!(OLD);
    }),
    ("GATE_RECEIPT_STALE__an_old_statement_under_a_young_receipt", |fixture| {
        fixture.dated(NEW);
        let old = OffsetDateTime::parse(OLD, &Rfc3339).unwrap();
        fixture.sign(|stated| (stated.started_at, stated.finished_at) = (old, old));
    }),
    ("GATE_RECEIPT_STALE__an_old_receipt_beside_a_young_one", |fixture| {
        fixture.dated(NEW);
        let mut old = receipt(fixture, 0).clone();
        old["produced_at_utc"] = json!(OLD);
        fixture.view["gate_receipts"].as_array_mut().unwrap().push(old);
    }),
    ("GATE_RECEIPT_UNDATED__no_time", |fixture| {
        fixture.dated(NEW);
        receipt(fixture, 1).as_object_mut().unwrap().remove("produced_at_utc");
    }),
    ("GATE_RECEIPT_UNDATED__a_time_that_is_none", |fixture| {
        fixture.dated(NEW);
        receipt(fixture, 1)["produced_at_utc"] = json!("yesterday");
    }),
    ("GATE_RECEIPT_UNDATED__a_time_yet_to_come", |fixture| {
        fixture.dated(NEW);
        receipt(fixture, 1)["produced_at_utc"] = json!("9000-01-01T00:00:00Z");
    }),
    ("GATE_METHOD_UNKNOWN__an_unknown_kind", |fixture| {
        fixture.gates = fixture.gates.replace("sha256_bundle_digest", "sha256_of_the_moon");
    }),
    ("GATE_METHOD_UNKNOWN__an_unknown_ordering", |fixture| {
        fixture.gates = fixture.gates.replace("members_array_order", "by_feeling");
    }),
    ("GATE_METHOD_UNKNOWN__an_unknown_predicate", |fixture| {
        fixture.gates = fixture.gates.replace("execution/v1", "execution/v9");
    }),
];

pub const EVIDENCE: &[Case] = &[
    ("GATE_EVIDENCE_MISSING__no_flag", |fixture| fixture.take(&flag_of_a())),
    ("GATE_EVIDENCE_MISSING__no_index", |fixture| fixture.take("data/b/index.json")),
    ("GATE_EVIDENCE_MISSING__no_statement", |fixture| fixture.take("_execution.dsse")),
    ("GATE_EVIDENCE_MISSING__a_bundle_of_nothing_but_the_flag", |fixture| {
        fixture.take(&format!("data/a/f={}/x.json", fingerprint()));
        fixture.take(&format!("data/a/f={}/y/z.json", fingerprint()));
        fixture.put(&flag_of_a(), format!("sha256_hex = {}", joined(&[])));
    }),
    ("GATE_EVIDENCE_MISMATCH__an_indexed_file_that_was_never_sealed", |fixture| {
        fixture.take("data/b/b1.json");
    }),
    (
        "GATE_EVIDENCE_MISSING+PACK_NOT_SEALED+PACK_MANIFEST_MISSING+GATE_BUNDLE_UNLISTED__an_indexed_file_that_is_gone",
        |fixture| {
            strict_unpacked(fixture);
            fixture.take("data/b/b1.json");
        },
    ),
    (
        "GATE_BUNDLE_UNLISTED+PACK_NOT_SEALED+PACK_MANIFEST_MISSING__a_bundle_without_an_inventory",
        strict_unpacked,
    ),
    ("GATE_EVIDENCE_INVALID__an_empty_flag", |fixture| fixture.put(&flag_of_a(), "")),
    ("GATE_EVIDENCE_INVALID__a_flag_of_another_field", |fixture| {
        fixture.put("data/b/_passed.flag", format!("sha256_hex = {}", joined(&[b"b1", b"b2"])));
    }),
    ("GATE_EVIDENCE_INVALID__an_index_without_members", |fixture| {
        fixture.put("data/b/index.json", "{\"items\":[]}");
        fixture
            .put("data/b/_passed.flag", json!({"bundle_digest_sha256": joined(&[])}).to_string());
    }),
    ("GATE_EVIDENCE_INVALID__an_index_of_excluded_files", |fixture| {
        fixture.put("data/b/index.json", "[{\"path\":\"index.json\"}]");
        fixture
            .put("data/b/_passed.flag", json!({"bundle_digest_sha256": joined(&[])}).to_string());
    }),
    ("GATE_EVIDENCE_INVALID__a_member_without_a_path", |fixture| {
        fixture.put("data/b/index.json", "[{\"name\":\"b1.json\"},{\"path\":\"b2.json\"}]");
    }),
    ("GATE_EVIDENCE_INVALID__a_member_that_stands_twice", |fixture| {
        fixture.put("data/b/index.json", "[{\"path\":\"b1.json\"},{\"path\":\"b1.json\"}]");
    }),
    ("GATE_EVIDENCE_INVALID__a_member_without_a_digest", |fixture| {
        fixture.put("data/c/index.json", "{\"members\":[{\"path\":\"c1\"}]}");
    }),
    ("LOCATOR_OUTSIDE_ROOT__an_index_that_leads_upwards", |fixture| {
        fixture.put("data/b/index.json", "[{\"path\":\"../../../secret\"}]");
    }),
    ("LOCATOR_OUTSIDE_ROOT__an_index_with_an_absolute_path", |fixture| {
        fixture.put("data/b/index.json", "[{\"path\":\"/etc/passwd\"}]");
    }),
    ("LOCATOR_OUTSIDE_ROOT__a_receipt_that_leads_outside", |fixture| {
        receipt(fixture, 0)["artifacts"] = json!({"passed_flag_path": "../_passed.flag"});
    }),
    ("GATE_EVIDENCE_UNTRUSTED__signed_by_a_stranger", |fixture| {
        let unknown = SigningKey::from_bytes(&[9; 32]).verifying_key();
        fixture.arguments[1] = wire::dsse::key_id(&unknown);
    }),
    ("GATE_EVIDENCE_UNTRUSTED__no_envelope", |fixture| fixture.put("_execution.dsse", "{}")),
    ("GATE_KEYS_MISSING__no_key_is_trusted", |fixture| fixture.arguments.clear()),
    ("GATE_EVIDENCE_MISMATCH__a_flag_of_another_bundle", |fixture| {
        fixture.put(&flag_of_a(), format!("sha256_hex = {}", Digest::of(b"other")));
    }),
    ("GATE_EVIDENCE_MISMATCH__a_bundle_that_grew_before_it_was_sealed", |fixture| {
        fixture.put(&format!("data/a/f={}/extra.json", fingerprint()), "extra");
    }),
    ("GATE_EVIDENCE_MISMATCH__an_indexed_member_of_another_content", |fixture| {
        fixture.put("data/c/c1", "other");
    }),
    ("GATE_EVIDENCE_MISMATCH__a_receipt_of_another_digest", |fixture| {
        receipt(fixture, 0)["digest"] = sha256(b"other");
    }),
    ("GATE_EVIDENCE_MISMATCH__a_receipt_that_names_another_place", |fixture| {
        receipt(fixture, 0)["artifacts"] = json!({"passed_flag_path": "run-5/data/b/_passed.flag"});
    }),
    ("GATE_EVIDENCE_MISMATCH__evidence_added_after_the_seal", |fixture| {
        let flag = flag_of_a();
        let text = fixture.files[&flag].clone();
        fixture.take(&flag);
        fixture.after(move |case| fs::write(case.join("store/run-5").join(flag), text).unwrap());
    }),
    ("GATE_EVIDENCE_MISMATCH__a_statement_of_another_run", |fixture| {
        fixture.sign(|stated| stated.run_id = crate::fixture::run(2));
    }),
    ("GATE_EVIDENCE_MISMATCH__a_statement_of_another_output", |fixture| {
        fixture.sign(|stated| stated.outputs[0].sha256 = Digest::of(b"other"));
    }),
    ("INSTANCE_PROOF_REQUIRED_BUT_MISSING__no_proof", |fixture| {
        fixture.view.as_object_mut().unwrap().remove("instance_receipts");
    }),
    ("INSTANCE_PROOF_REQUIRED_BUT_MISSING__a_stored_proof_that_is_gone", |fixture| {
        fixture.view["instance_receipts"][0]["artifacts"] = json!({"receipt_path": "sr/gone.json"});
    }),
    ("INSTANCE_PROOF_MISMATCH__a_proof_of_other_bytes", |fixture| {
        fixture.view["instance_receipts"][0]["target_digest"] = sha256(b"other");
    }),
    ("INSTANCE_PROOF_MISMATCH__a_proof_that_says_fail", |fixture| {
        fixture.view["instance_receipts"][0]["status"] = json!("FAIL");
    }),
    ("INSTANCE_PROOF_MISMATCH__a_stored_proof_that_says_something_else", |fixture| {
        fixture.view["instance_receipts"][0]["artifacts"] =
            json!({"receipt_path": "sr/proof.json"});
        fixture.after(|case| super::fixture::write(&case.join("store/sr/proof.json"), b"{}"));
    }),
    ("INSTANCE_SCOPE_INCOMPLETE__a_proof_of_no_seed", |fixture| {
        fixture.view["instance_receipts"][0]["scope"].as_object_mut().unwrap().remove("seed");
    }),
];

fn argument(fixture: &mut StoreFixture, argument: &str) {
    fixture.arguments.extend(argument.split(' ').map(str::to_owned));
}

/// Nothing is read: the call or its configuration is wrong.
pub const USAGE: &[Case] = &[
    ("CONFIG_INVALID__dev_and_lenient", |fixture| fixture.policy = "lenient: true"),
    ("CONFIG_INVALID__prod_without_gates", |fixture| {
        (fixture.profile_id, fixture.policy) = ("prod", "require_gate_pass: false");
    }),
    ("CONFIG_INVALID__dev_content_with_lengths", |fixture| {
        fixture.policy = "least_evidence: size_only";
    }),
    ("CONFIG_INVALID__unsealed_under_a_strict_profile", |fixture| {
        argument(fixture, "--allow-unsealed")
    }),
    ("CONFIG_INVALID__no_digest_under_a_strict_profile", |fixture| {
        argument(fixture, "--allow-missing-digest");
    }),
    ("CONFIG_INVALID__presence_under_a_strict_profile", |fixture| {
        argument(fixture, "--depth presence");
    }),
    ("CONFIG_INVALID__receipts_of_no_age", |fixture| fixture.policy = "max_receipt_age_seconds: 0"),
    ("CONFIG_INVALID__a_misspelt_rule", |fixture| fixture.policy = "lenint: true"),
    ("CONFIG_INVALID__an_output_that_does_not_state_its_gates", |fixture| {
        fixture.catalogue = "outputs: [{output_id: free}]".to_owned();
    }),
    ("CONFIG_INVALID__a_gate_without_the_place_of_its_flag", |fixture| {
        fixture.gates = fixture.gates.replace("passed_flag_path_template", "flag");
    }),
    ("CONFIG_INVALID__evidence_outside_the_pack", |fixture| {
        fixture.gates = fixture.gates.replace("'data/b/_passed.flag'", "'../_passed.flag'");
    }),
    ("CONFIG_INVALID__an_unset_variable", |fixture| {
        fixture.after(|case| {
            let profile = fs::read_to_string(case.join("profile.yaml")).unwrap();
            let unset = profile.replace("oracle_root: store", "oracle_root: ${UNSET_ROOT}");
            fs::write(case.join("profile.yaml"), unset).unwrap();
        });
    }),
];
