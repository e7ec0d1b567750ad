use seal::facts::RunFactsView;
use seal::schemas::RUN_FACTS_VIEW;
use serde_json::{Value, json};

pub fn view() -> Value {
    let (a, b, run) = ("a".repeat(64), "b".repeat(64), "0123456789abcdef".repeat(2));
    let locator = json!({"output_id": "out.a", "path": "data/part-*", "run_id": run,
        "scenario_id": "s", "seed": 7, "content_digest": {"algo": "sha256", "hex": a}});
    json!({
        "run_id": run,
        "pins": {"manifest_fingerprint": a, "parameter_hash": b, "seed": 7, "scenario_id": "s", "run_id": run},
        "locators": [locator],
        "output_roles": {"out.a": "business_traffic"},
        "intended_outputs": ["out.a"],
        "gate_receipts": [{"gate_id": "gate.x", "status": "PASS",
            "scope": {"manifest_fingerprint": a, "run_id": run}, "receipt_kind": "json_receipt",
            "artifacts": {"passed_flag_path": "p"}, "notes": "n"}],
        "instance_receipts": [{"output_id": "out.a", "status": "PASS", "scope": {"manifest_fingerprint": a},
            "target_ref": locator, "target_digest": {"algo": "sha256-tree-v1", "hex": a}}],
        "policy_rev": {"policy_id": "p", "revision": "1", "content_digest": b},
        "bundle_hash": b, "plan_ref": "x", "record_ref": "y", "status_ref": "z",
        "oracle_pack_ref": {"oracle_pack_id": a, "seal_digest": b},
        "evidence_notes": ["e"],
    })
}

/// Each change, with whether the result is still a view.
fn changes() -> Vec<(&'static str, Value, bool)> {
    let long = |n: usize| Value::from("x".repeat(n));
    let many = |pointer: &str, n| Value::from(vec![view().pointer(pointer).unwrap().clone(); n]);
    vec![
        ("", json!(null), false),
        ("/run_id", json!("A".repeat(32)), false),
        ("/run_id", json!("a".repeat(31)), false),
        ("/pins/seed", json!(-1), false),
        ("/pins/seed", json!(u64::MAX), true),
        ("/pins/scenario_id", json!(""), false),
        ("/pins/more", json!(1), false),
        ("/locators", json!([]), true),
        ("/locators/0/path", json!(""), false),
        ("/locators/0/path", long(2048), true),
        ("/locators/0/path", long(2049), false),
        ("/locators/0/output_id", json!("a b"), false),
        ("/locators/0/output_id", long(129), false),
        ("/locators/0/notes", json!("n"), false),
        ("/locators/0/seed", json!(null), false),
        ("/locators/0/schema_ref", json!(""), true),
        ("/locators/0/schema_ref", long(513), false),
        ("/locators/0/produced_at_utc", json!(""), false),
        ("/locators/0/scenario_id", long(513), false),
        ("/locators/0/content_digest/algo", json!("md5"), false),
        ("/locators/0/content_digest/hex", json!("0"), false),
        ("/locators/0", json!({"output_id": "o", "path": "p", "seed": 1}), false),
        ("/locators/0", json!({"output_id": "o", "path": "p", "scenario_id": "s"}), true),
        ("/gate_receipts/0/status", json!("pass"), false),
        ("/gate_receipts/0/scope", json!({}), false),
        ("/gate_receipts/0/scope/scenario_id", long(257), false),
        ("/gate_receipts/0/receipt_kind", json!("other"), false),
        ("/gate_receipts/0/artifacts", json!({}), true),
        ("/gate_receipts/0/artifacts/index_path", json!(""), false),
        ("/gate_receipts/0/notes", long(2049), false),
        ("/instance_receipts/0/produced_at_utc", json!("t"), false),
        ("/instance_receipts/0/receipt_kind", json!("instance_proof"), true),
        ("/instance_receipts/0/target_ref/path", json!(1), false),
        ("/policy_rev/revision", json!(""), false),
        ("/oracle_pack_ref/more", json!("x"), false),
        ("/output_roles/out.a", json!(1), false),
        ("/plan_ref", json!(""), false),
        ("/traffic_targets", json!([]), false),
        ("/gate_receipts", many("/gate_receipts/0", 1_024), true),
        ("/gate_receipts", many("/gate_receipts/0", 1_025), false),
    ]
}

fn changed(pointer: &str, value: Value) -> Value {
    let mut whole = view();
    let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", ""));
    match whole.pointer_mut(parent).filter(|_| !pointer.is_empty()) {
        Some(Value::Object(members)) => {
            members.insert(key.to_owned(), value);
        }
        Some(Value::Array(items)) => items[key.parse::<usize>().unwrap()] = value,
        _ => whole = value,
    }
    whole
}

#[test]
fn the_types_and_the_schema_accept_the_same_views() {
    let schema = jsonschema::validator_for(&serde_json::from_str(RUN_FACTS_VIEW).unwrap()).unwrap();
    let both = |value: &Value| {
        (RunFactsView::parse(value.to_string().as_bytes()).is_ok(), schema.is_valid(value))
    };
    assert_eq!(both(&view()), (true, true));
    for (pointer, value, accepted) in changes() {
        let whole = changed(pointer, value.clone());
        assert_eq!(both(&whole), (accepted, accepted), "{pointer} := {value:.60}");
    }
    for key in view().as_object().unwrap().keys() {
        let mut whole = view();
        whole.as_object_mut().unwrap().remove(key);
        let (types, schema) = both(&whole);
        assert_eq!(types, schema, "without {key}");
    }
}

#[test]
fn all_mistakes_are_reported_with_their_places() {
    let mut value = view();
    value["plan_ref"] = json!("");
    value["locators"][0]["path"] = json!("");
    let mistakes = RunFactsView::parse(value.to_string().as_bytes()).unwrap_err();
    let places: Vec<_> = mistakes.iter().map(|mistake| mistake.at.as_str()).collect();
    assert_eq!(places, ["/locators/0/path", "/plan_ref"]);
}

#[test]
fn the_bundle_hash_has_its_documented_text() {
    let value = view();
    let view = RunFactsView::parse(value.to_string().as_bytes()).unwrap();
    // The keys of these literals are in code-point order, as the rule demands.
    let (a, b, run) = ("a".repeat(64), "b".repeat(64), "0123456789abcdef".repeat(2));
    let locator = format!(
        r#"{{"content_digest":{{"algo":"sha256","hex":"{a}"}},"output_id":"out.a","path":"data/part-*","run_id":"{run}","scenario_id":"s","seed":7}}"#
    );
    let text = format!(
        concat!(
            r#"{{"instance_receipts":[{{"output_id":"out.a","scope":{{"manifest_fingerprint":"{a}"}},"status":"PASS","#,
            r#""target_digest":{{"algo":"sha256-tree-v1","hex":"{a}"}},"target_ref":{locator}}}],"locators":[{locator}],"#,
            r#""policy_rev":{{"content_digest":"{b}","policy_id":"p","revision":"1"}},"#,
            r#""receipts":[{{"artifacts":{{"passed_flag_path":"p"}},"gate_id":"gate.x","notes":"n","receipt_kind":"json_receipt","#,
            r#""scope":{{"manifest_fingerprint":"{a}","run_id":"{run}"}},"status":"PASS"}}]}}"#
        ),
        a = a,
        b = b,
        run = run,
        locator = locator
    );
    assert_eq!(view.computed_bundle_hash().unwrap(), wire::digest::Digest::of(text.as_bytes()));
}

#[test]
fn the_order_of_outputs_in_the_view_does_not_change_the_bundle_hash() {
    let mut value = view();
    let mut second = value["locators"][0].clone();
    second["output_id"] = json!("out.b");
    value["locators"] = json!([value["locators"][0].clone(), second]);
    let hash = |value: &Value| {
        RunFactsView::parse(value.to_string().as_bytes()).unwrap().computed_bundle_hash().unwrap()
    };
    let before = hash(&value);
    value["locators"].as_array_mut().unwrap().reverse();
    assert_eq!(hash(&value), before);
    value["locators"][0]["path"] = json!("elsewhere");
    assert_ne!(hash(&value), before);
}

#[test]
fn traffic_is_what_has_the_role_and_a_locator() {
    let mut value = view();
    let mut second = value["locators"][0].clone();
    second["output_id"] = json!("out.b");
    value["locators"] = json!([value["locators"][0].clone(), second]);
    let traffic = |value: &Value| -> Vec<String> {
        let view = RunFactsView::parse(value.to_string().as_bytes()).unwrap();
        view.traffic().map(|locator| locator.output_id.clone()).collect()
    };
    for (roles, expected) in [
        (json!({"out.a": "business_traffic", "out.c": "business_traffic"}), vec!["out.a"]),
        (json!({"out.a": "non_traffic", "out.b": "BUSINESS_TRAFFIC"}), vec![]),
        (json!({}), vec![]),
    ] {
        value["output_roles"] = roles;
        assert_eq!(traffic(&value), expected);
    }
    value.as_object_mut().unwrap().remove("output_roles");
    assert!(traffic(&value).is_empty());
}

#[test]
fn a_member_that_appears_twice_is_no_view() {
    let text = view().to_string();
    for (member, twice) in [
        (
            "\"out.a\":\"business_traffic\"",
            "\"out.a\":\"non_traffic\",\"out.a\":\"business_traffic\"",
        ),
        ("\"plan_ref\":\"x\"", "\"plan_ref\":\"x\",\"plan_ref\":\"x\""),
    ] {
        let edited = text.replacen(member, twice, 1);
        assert_ne!(edited, text, "{member}");
        assert!(RunFactsView::parse(edited.as_bytes()).is_err(), "{twice}");
    }
    assert!(RunFactsView::parse(format!("{text} {text}").as_bytes()).is_err());
    assert!(RunFactsView::parse(format!("\u{feff}{text}").as_bytes()).is_err());
}

#[test]
fn no_instance_receipts_and_an_empty_list_of_them_bind_the_same() {
    let mut value = view();
    value.as_object_mut().unwrap().remove("instance_receipts");
    let parse = |value: &Value| RunFactsView::parse(value.to_string().as_bytes()).unwrap();
    let mut spelled = value.clone();
    spelled["instance_receipts"] = json!([]);
    for hashed in [parse(&value), parse(&spelled)] {
        value["bundle_hash"] = json!(hashed.computed_bundle_hash().unwrap());
        assert!(parse(&value).has_its_bundle_hash().unwrap());
    }
    value["locators"][0]["path"] = json!("elsewhere");
    assert!(!parse(&value).has_its_bundle_hash().unwrap());
}

#[test]
fn a_view_is_bounded_in_entries() {
    let schema: Value = serde_json::from_str(RUN_FACTS_VIEW).unwrap();
    for (member, most) in
        [("locators", 65_536), ("gate_receipts", 1_024), ("instance_receipts", 65_536)]
    {
        assert_eq!(schema["properties"][member]["maxItems"], most, "{member}");
    }
    let mut value = view();
    let small = json!({"output_id": "o", "path": "p", "scenario_id": "s"});
    value["locators"] = Value::from(vec![small; 65_537]);
    let mistakes = RunFactsView::parse(value.to_string().as_bytes()).unwrap_err();
    assert_eq!((mistakes.len(), mistakes[0].at.as_str()), (1, "/locators"));
}
