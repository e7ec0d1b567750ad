//! Every single change of recorded answers that is tried.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::proxy::{Exchange, Lie};

/// All single lies about these answers.
pub fn of(exchanges: &[Exchange]) -> Vec<Lie> {
    let mut lies = Vec::new();
    for (index, exchange) in exchanges.iter().enumerate() {
        lies.push(Lie::Truncated { exchange: index });
        let Some(document) = exchange.document() else { continue };
        let mut found = Vec::new();
        places(&document, String::new(), &mut found);
        for pointer in found {
            let value = document.pointer(&pointer).unwrap();
            for value in instead(value) {
                lies.push(Lie::Field { exchange: index, pointer: pointer.clone(), value });
            }
        }
        for (member, value) in document.as_object().into_iter().flatten() {
            let values = [Value::Null, json!({}), value.clone()].into_iter();
            lies.extend(values.map(|value| Lie::Twice {
                exchange: index,
                member: member.clone(),
                value,
            }));
        }
        let others = exchanges.iter().enumerate();
        let others = others.filter(|(other, answer)| {
            *other != index && answer.method.is_some() && answer.method == exchange.method
        });
        lies.extend(others.map(|(with, _)| Lie::Swapped { exchange: index, with }));
    }
    lies.extend(everywhere(exchanges));
    lies
}

/// What a node says of its clock it says in many answers: the same lie in every answer to a method.
fn everywhere(exchanges: &[Exchange]) -> Vec<Lie> {
    let methods: BTreeSet<_> =
        exchanges.iter().filter_map(|exchange| exchange.method.clone()).collect();
    let mut lies = Vec::new();
    for method in methods {
        let first = exchanges.iter().find(|exchange| exchange.method.as_ref() == Some(&method));
        let Some(document) = first.and_then(Exchange::document) else { continue };
        let Some(members) = document["result"].as_object() else { continue };
        for (name, value) in members.iter().filter(|(_, value)| !value.is_array()) {
            for value in instead(value) {
                let pointer = format!("/result/{name}");
                lies.push(Lie::Everywhere { method: method.clone(), pointer, value });
            }
        }
    }
    lies
}

fn places(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(member, format!("{path}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(path);
}

/// What can be said instead of a value: other values of its type, and nothing.
fn instead(value: &Value) -> Vec<Value> {
    let mut lies = vec![Value::Null];
    match value {
        Value::Number(number) => {
            let number = number.as_u64().unwrap_or_default();
            let others = [0, 1, number.saturating_add(1), number.saturating_sub(1), number / 2];
            lies.extend(others.map(Value::from));
            lies.extend([
                json!(number.saturating_mul(2)),
                json!(u64::MAX),
                json!(-1),
                json!(1e300),
            ]);
        }
        Value::String(text) => {
            lies.extend([json!(""), json!("0".repeat(64)), json!("0"), json!("1")]);
            if let Ok(number) = text.parse::<i128>() {
                let others =
                    [number + 1, number - 1, -number, number + 100_000, number / 2, i128::MAX];
                lies.extend(others.map(|number| json!(number.to_string())));
            } else if let Ok(bytes) = STANDARD.decode(text).map_err(|_| ())
                && bytes.len() % 4 == 0
            {
                lies.extend(instead_of_xdr(&bytes));
            } else {
                let mut other = text.clone();
                let last = other.pop();
                other.push(if last == Some('1') { '2' } else { '1' });
                lies.push(json!(other));
            }
        }
        Value::Array(items) => {
            lies.push(json!([]));
            lies.push(items.iter().rev().cloned().collect());
            for index in 0..items.len() {
                let mut fewer = items.clone();
                let item = fewer.remove(index);
                lies.push(json!(fewer));
                lies.push(json!([items.clone(), vec![item]].concat()));
            }
        }
        Value::Object(members) => {
            for name in members.keys() {
                let mut fewer = members.clone();
                fewer.remove(name);
                lies.push(json!(fewer));
            }
        }
        Value::Bool(flag) => lies.push(json!(!flag)),
        Value::Null => lies.extend([json!(1), json!("1"), json!({})]),
    }
    lies
}

/// Each byte of XDR is a part of some field; and it may end early or late.
fn instead_of_xdr(bytes: &[u8]) -> Vec<Value> {
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        json!(STANDARD.encode(bytes))
    };
    let mut lies = vec![
        changed(&|bytes| bytes.truncate(bytes.len() / 2)),
        changed(&|bytes| bytes.truncate(bytes.len().saturating_sub(4))),
        changed(&|bytes| bytes.extend([0; 4])),
    ];
    lies.extend((0..bytes.len()).map(|at| changed(&|bytes| bytes[at] ^= 1)));
    // The high bit makes a number huge or negative.
    lies.extend((0..bytes.len()).step_by(4).map(|at| changed(&|bytes| bytes[at] ^= 0x80)));
    lies
}
