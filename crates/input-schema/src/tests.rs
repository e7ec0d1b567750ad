use serde_json::json;

use super::*;

fn schema(text: Value) -> InputSchema {
    InputSchema::new(text).unwrap()
}

fn place_of(text: Value) -> String {
    InputSchema::new(text).unwrap_err().pointer
}

fn mistakes(schema: &InputSchema, input: &str) -> Vec<(String, String)> {
    let shown = |mistake: Mistake| (mistake.path.join("/"), mistake.message);
    schema.check(input).into_iter().map(shown).collect()
}

#[test]
fn every_mistake_is_named_with_its_place_and_without_the_value() {
    let schema = schema(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object", "required": ["csv"], "additionalProperties": false,
        "properties": { "csv": { "type": "string" },
            "rows": { "type": "array", "items": { "$ref": "#/$defs/row" } } },
        "$defs": { "row": { "type": "integer", "minimum": 1 } },
    }));
    assert_eq!(schema.check(r#"{"csv":"a","rows":[1,2]}"#), []);
    let found = mistakes(&schema, r#"{"rows":[1,0,"secret"],"a/b":1}"#);
    let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
    assert!(places.contains(&"rows/1") && places.contains(&"rows/2"), "{found:?}");
    assert!(found.iter().any(|(_, text)| text.contains("\"csv\"")), "{found:?}");
    assert!(found.iter().any(|(_, text)| text.contains("a/b")), "{found:?}");
    assert!(!found.iter().any(|(_, text)| text.contains("secret")), "{found:?}");
}

#[test]
fn a_schema_that_leads_elsewhere_or_to_itself_is_refused() {
    for (schema, place) in [
        (json!(true), ""),
        (json!({ "$ref": "#" }), ""),
        (json!({ "$ref": "https://example.com/schema" }), "/$ref"),
        (json!({ "$ref": "file:///etc/passwd" }), "/$ref"),
        (json!({ "$ref": "#/$defs/none" }), "/$defs/none"),
        (json!({ "$defs": { "a": { "items": { "$ref": "#/$defs/a" } } } }), "/$defs/a"),
        (json!({ "properties": { "a": { "$id": "https://example.com/a" } } }), "/properties/a/$id"),
        (json!({ "$dynamicRef": "#node" }), "/$dynamicRef"),
        (json!({ "properties": { "a": 1 } }), "/properties/a"),
        (json!({ "$schema": "http://json-schema.org/draft-07/schema#" }), "/$schema"),
        (json!({ "pattern": "x".repeat(MAX_PATTERN + 1) }), "/pattern"),
        (json!({ "description": "x".repeat(MAX_SCHEMA_BYTES) }), ""),
    ] {
        assert_eq!(place_of(schema.clone()), place, "{schema}");
    }
    // What the dialect itself refuses, and an expression that looks back, which no automaton does.
    assert!(InputSchema::new(json!({ "type": "text" })).is_err());
    assert!(InputSchema::new(json!({ "pattern": r"(a)\1" })).is_err());
    assert!(InputSchema::new(json!({ "pattern": "(" })).is_err());
}

#[test]
fn what_doubles_with_every_level_is_refused_before_it_is_compiled() {
    let doubles = |keyword: &str| {
        let mut defs = Map::new();
        defs.insert("n0".to_owned(), json!({ "type": "string" }));
        for level in 1..40 {
            let below = json!({ "$ref": format!("#/$defs/n{}", level - 1) });
            defs.insert(format!("n{level}"), json!({ keyword: [below.clone(), below] }));
        }
        json!({ "$ref": "#/$defs/n39", "$defs": defs })
    };
    for keyword in ["allOf", "anyOf", "oneOf"] {
        assert!(InputSchema::new(doubles(keyword)).is_err(), "{keyword}");
    }
    // A reader repeats its look below these at each level.
    let mut nested = json!({ "type": "object" });
    for _ in 0..20 {
        nested = json!({ "unevaluatedProperties": nested });
    }
    assert!(InputSchema::new(nested).is_err());
    let mut deep = json!({ "type": "string" });
    for _ in 0..100 {
        deep = json!({ "items": deep });
    }
    assert!(InputSchema::new(deep).is_err());
}

#[test]
fn a_chain_is_as_long_as_its_references_make_it_in_whatever_order_they_are_met() {
    // Each member begins 40 rules further down, and ends where the one before began.
    let mut defs = Map::new();
    for number in 0..10 {
        let mut deep = match number {
            0 => json!({ "type": "string" }),
            _ => json!({ "$ref": format!("#/$defs/d{}", number - 1) }),
        };
        for _ in 0..40 {
            deep = json!({ "items": deep });
        }
        defs.insert(format!("d{number}"), deep);
    }
    let members: Map<String, serde_json::Value> = (0..10)
        .map(|number| (format!("m{number}"), json!({ "$ref": format!("#/$defs/d{number}") })))
        .collect();
    assert!(InputSchema::new(json!({ "properties": members, "$defs": defs })).is_err());
}

#[test]
fn a_reference_through_another_root_is_refused() {
    let inner = json!({ "$id": "https://example.com/b", "items": { "$ref": "#/items" } });
    let schema = json!({
        "items": true,
        "properties": {
            "a": { "$defs": { "b": inner } },
            "c": { "$ref": "#/properties/a/$defs/b/items" },
        },
    });
    assert_eq!(place_of(schema), "/properties/a/$defs/b/$id");
}

#[test]
fn an_input_that_would_take_too_long_is_not_checked() {
    let choices: Vec<u32> = (0..1_000).collect();
    let schema = schema(json!({ "items": { "enum": choices } }));
    assert_eq!(schema.check("[1,2,999]"), []);
    let large = format!("[{}1]", "1,".repeat(100_000));
    let [only] = &schema.check(&large)[..] else { panic!("one mistake") };
    assert!(only.path.is_empty() && only.message.contains("too large"), "{only:?}");
    // Many mistakes are not all described.
    let wrong = format!("[{}1]", "-1,".repeat(500));
    assert_eq!(schema.check(&wrong).len(), MAX_MISTAKES);
}

#[test]
fn an_expression_that_would_backtrack_takes_no_longer_than_the_text() {
    let schema = schema(json!({ "pattern": "^(a+)+$" }));
    let text = serde_json::to_string(&("a".repeat(50_000) + "b")).unwrap();
    assert_eq!(schema.check(&text).len(), 1);
}
