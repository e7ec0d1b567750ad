//! The schemas and the code accept the same documents.

use std::collections::BTreeMap;

use jsonschema::Validator;
use seal::facts::RunFactsView;
use seal::records::Record;
use seal::{Manifest, SealMarker, schemas};
use serde_json::{Value, json};

use crate::facts::view;
use crate::mutate;

fn validator(text: &str) -> Validator {
    let schema: Value = serde_json::from_str(text).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

/// Demands that code and schema agree about `document` and every small change of it.
fn agree(text: &str, document: &Value, code: impl Fn(&Value) -> bool) {
    let schema = validator(text);
    assert!(code(document) && schema.is_valid(document), "{document}");
    let (mut accepted, mut refused) = (0, 0);
    for (change, changed) in mutate::all(document) {
        let (by_code, by_schema) = (code(&changed), schema.is_valid(&changed));
        assert_eq!(by_code, by_schema, "code and schema differ about {change}");
        *if by_code { &mut accepted } else { &mut refused } += 1;
    }
    assert!(accepted > 0 && refused > 100, "{accepted} accepted, {refused} refused");
}

fn is_view(value: &Value) -> bool {
    RunFactsView::parse(value.to_string().as_bytes()).is_ok()
}

/// Whether a view with `part` in place of its own is one.
fn in_view(pointer: &'static str) -> impl Fn(&Value) -> bool {
    move |part| {
        let mut whole = view();
        *whole.pointer_mut(pointer).unwrap() = part.clone();
        is_view(&whole)
    }
}

fn full(pointer: &str) -> Value {
    let mut part = view().pointer(pointer).unwrap().clone();
    let hex = "a".repeat(64);
    let extra = match pointer {
        "/locators/0" => {
            json!({"manifest_fingerprint": hex, "parameter_hash": hex, "schema_ref": "s",
            "dictionary_ref": "d", "produced_at_utc": "t"})
        }
        "/gate_receipts/0" => {
            json!({"produced_at_utc": "t", "digest": {"algo": "sha256", "hex": hex},
            "artifacts": {"passed_flag_path": "p", "index_path": "i", "validation_bundle_root": "r"}})
        }
        _ => json!({"bundle_manifest_ref": "m", "receipt_kind": "instance_proof", "notes": "n",
            "artifacts": {"receipt_path": "p"}}),
    };
    let members = part.as_object_mut().unwrap();
    extra.as_object().unwrap().iter().for_each(|(k, v)| drop(members.insert(k.clone(), v.clone())));
    part
}

fn world() -> Value {
    json!({"manifest_fingerprint": "a".repeat(64), "parameter_hash": "b".repeat(64),
        "scenario_id": "s", "seed": 7})
}

fn seal_v1() -> Value {
    json!({"version": "v1", "oracle_pack_id": "a".repeat(64), "seal_status": "SEALED_OK",
        "sealed_at_utc": "2026-01-28T00:00:00Z", "manifest_digest": "b".repeat(64),
        "nonce": "0123456789abcdef".repeat(2),
        "store_probe": {"second_create_refused": true, "races": 20, "writers": 16,
            "races_with_one_winner": 20, "wrong_checksum_refused": true,
            "probed_at_utc": "2026-01-28T00:00:00.5+01:00"}})
}

fn manifest_v1() -> Value {
    manifest_of(1)
}

fn manifest_v2() -> Value {
    let mut value = manifest_of((1 << 30) + 1);
    value["version"] = json!("v2");
    value["shards"] = json!({"shard_bytes": 268_435_456,
        "files": [{"path": "a", "sha256": vec!["d".repeat(64); 5]}]});
    value
}

/// Of one file of `length` bytes.
fn manifest_of(length: u64) -> Value {
    let file = seal::tree::File {
        path: "a".to_owned(),
        executable: false,
        length,
        sha256: "c".repeat(64).parse().unwrap(),
    };
    let tree = seal::Tree::new(vec![file], &seal::Limits::PACK).unwrap();
    json!({"version": "v1", "oracle_pack_id": "a".repeat(64), "world_key": world(),
        "run_id": "ab".repeat(16), "attempt": 1, "engine_release": "e",
        "catalogue_digest": "d".repeat(64), "gate_map_digest": "e".repeat(64),
        "inventory": serde_json::to_value(tree).unwrap(), "created_at_utc": "2026-01-28T00:00:00Z"})
}

#[test]
fn the_facts_view_schema_is_the_code() {
    agree(schemas::RUN_FACTS_VIEW, &view(), is_view);
}

#[test]
fn the_locator_schema_is_the_code() {
    agree(schemas::LOCATOR, &full("/locators/0"), in_view("/locators/0"));
}

#[test]
fn the_gate_receipt_schema_is_the_code() {
    agree(schemas::GATE_RECEIPT, &full("/gate_receipts/0"), in_view("/gate_receipts/0"));
}

#[test]
fn the_instance_receipt_schema_is_the_code() {
    agree(
        schemas::INSTANCE_RECEIPT,
        &full("/instance_receipts/0"),
        in_view("/instance_receipts/0"),
    );
}

#[test]
fn the_seal_schemas_are_the_code() {
    let is_seal = |value: &Value, version: &str| {
        let parsed = SealMarker::parse(value.to_string().as_bytes());
        parsed.is_ok_and(|seal| matches!(seal, SealMarker::V1(_)) == (version == "v1"))
    };
    agree(schemas::SEAL_V1, &seal_v1(), |value| is_seal(value, "v1"));
    let old = json!({"version": "v0", "oracle_pack_id": "a".repeat(64),
        "seal_status": "SEALED_FAILED", "sealed_at_utc": "yesterday"});
    agree(schemas::SEAL_V0, &old, |value| is_seal(value, "v0"));
}

#[test]
fn the_record_schema_is_the_code() {
    let is_record = |value: &Value| Record::parse(value.to_string().as_bytes()).is_ok();
    let hex = "a".repeat(64);
    let record = |decision: Value| {
        json!({"version": "v1", "number": 2, "previous": hex, "oracle_pack_id": hex,
            "seal_digest": hex, "authority": "x", "recorded_at_utc": "2026-01-28T00:00:00Z",
            "decision": decision})
    };
    for decision in [
        json!({"kind": "hold", "matter": "m"}),
        json!({"kind": "release", "hold": 1}),
        json!({"kind": "archived", "location": "l"}),
        json!({"kind": "tombstone", "reason": "DEFECTIVE", "replacement": hex, "note": "n",
            "survives": "digests", "manifest_digest": hex}),
    ] {
        agree(schemas::RECORD, &record(decision), is_record);
    }
}

#[test]
fn the_manifest_schemas_are_the_code() {
    let parsed = |value: &Value| Manifest::parse(value.to_string().as_bytes());
    let old = json!({"version": "v0", "oracle_pack_id": "a".repeat(64), "world_key": world(),
        "engine_release": "e", "catalogue_digest": "d".repeat(64),
        "gate_map_digest": "e".repeat(64), "created_at_utc": "yesterday"});
    agree(schemas::MANIFEST_V0, &old, |value| matches!(parsed(value), Ok(Manifest::V0(_))));
    let v1 = |value: &Value| matches!(parsed(value), Ok(Manifest::V1(_)));
    let v2 = |value: &Value| matches!(parsed(value), Ok(Manifest::V2(_)));
    manifest_agrees(schemas::MANIFEST_V1, &manifest_v1(), v1);
    manifest_agrees(schemas::MANIFEST_V2, &manifest_v2(), v2);
}

fn manifest_agrees(text: &str, document: &Value, is_manifest: impl Fn(&Value) -> bool) {
    let schema = validator(text);
    assert!(is_manifest(document) && schema.is_valid(document), "{document}");
    for (change, changed) in mutate::all(document) {
        let (by_code, by_schema) = (is_manifest(&changed), schema.is_valid(&changed));
        // An inventory must also have its own digest, and shards must be those of its files, which
        // no schema can say.
        let agree = if change.contains("/inventory/") || change.contains("/shards/files/0/path") {
            !by_code || by_schema
        } else {
            by_code == by_schema
        };
        assert!(agree, "code says {by_code}, schema {by_schema} about {change}");
    }
}

#[test]
fn every_schema_is_2020_12_versioned_and_closed_at_every_level() {
    for (name, text) in schemas::ALL {
        let schema: Value = serde_json::from_str(text).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert_eq!(schema["$id"], format!("https://lumio.dev/schemas/{name}"));
        let version = name.strip_suffix(".json").and_then(|name| name.rsplit_once(".v"));
        assert!(version.is_some_and(|(_, number)| number.parse::<u32>().is_ok()), "{name}");
        assert!(jsonschema::meta::is_valid(&schema), "{name}");
        closed(name, &schema);
    }
}

fn closed(name: &str, schema: &Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") {
                assert_eq!(members.get("additionalProperties"), Some(&json!(false)), "{name}");
            }
            members.values().for_each(|member| closed(name, member));
        }
        Value::Array(items) => items.iter().for_each(|item| closed(name, item)),
        _ => {}
    }
}

#[test]
fn a_definition_means_the_same_in_every_schema() {
    let mut known: BTreeMap<String, (String, Value)> = BTreeMap::new();
    for (name, text) in schemas::ALL {
        let schema: Value = serde_json::from_str(text).unwrap();
        for (definition, value) in schema["$defs"].as_object().unwrap() {
            let (first, before) =
                known.entry(definition.clone()).or_insert((name.to_owned(), value.clone()));
            assert_eq!(before, value, "{definition} in {first} and {name}");
        }
        let part = match name {
            "engine_output_locator.v1.json" => "locator",
            "gate_receipt.v1.json" => "gate_receipt",
            "instance_receipt.v1.json" => "instance_receipt",
            _ => continue,
        };
        let mut body = schema.clone();
        for member in ["$schema", "$id", "title", "description", "$defs"] {
            body.as_object_mut().unwrap().remove(member);
        }
        assert_eq!(body, known[part].1, "{name} is the view's {part}");
    }
}
