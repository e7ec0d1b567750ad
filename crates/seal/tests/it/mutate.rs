//! Every small change of a JSON document: a value removed, replaced, or joined by an unknown
//! member.

use serde_json::{Value, json};

/// Each changed document, with a name of the change.
pub fn all(document: &Value) -> Vec<(String, Value)> {
    let mut places = Vec::new();
    collect(document, &mut String::new(), &mut places);
    let mut changed = Vec::new();
    for place in &places {
        for value in replacements() {
            let mut copy = document.clone();
            *copy.pointer_mut(place).unwrap() = value.clone();
            changed.push((format!("{place} := {value:.40}"), copy));
        }
        let mut unknown = document.clone();
        if let Some(members) = unknown.pointer_mut(place).unwrap().as_object_mut() {
            members.insert("unknown".to_owned(), json!("x"));
            changed.push((format!("{place} with an unknown member"), unknown));
        }
        let Some((parent, key)) = place.rsplit_once('/') else { continue };
        let mut without = document.clone();
        match without.pointer_mut(parent).unwrap() {
            Value::Object(members) => drop(members.remove(&key.replace("~1", "/"))),
            Value::Array(items) => drop(items.remove(key.parse().unwrap())),
            _ => continue,
        }
        changed.push((format!("without {place}"), without));
    }
    changed
}

fn replacements() -> Vec<Value> {
    let texts = ["", "x", "PASS", "v1", "sha256", "2026-01-28T00:00:00Z", "2026-13-41T00:00:00Z"];
    let mut values: Vec<Value> = texts.map(Value::from).to_vec();
    values.extend([32, 64, 256, 257, 512, 513, 1024, 2048, 2049].map(|n| "a".repeat(n).into()));
    values.extend([json!(null), json!(true), json!({}), json!([]), json!([{}])]);
    values.extend([json!(-1), json!(0), json!(1), json!(1.5), json!(u32::MAX)]);
    values.extend([json!(u64::from(u32::MAX) + 1), json!(1_u64 << 53), json!(u64::MAX)]);
    values
}

fn collect(value: &Value, at: &mut String, places: &mut Vec<String>) {
    places.push(at.clone());
    let length = at.len();
    let mut below = |key: &str, member: &Value| {
        at.push('/');
        at.push_str(key);
        collect(member, at, places);
        at.truncate(length);
    };
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, member)| below(&key.replace('/', "~1"), member));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| below(&index.to_string(), item));
        }
        _ => {}
    }
}
