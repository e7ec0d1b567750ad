//! The bundle hash: one digest over what a view lets through and why.
//!
//! sha256 over the JSON of an object with the members `instance_receipts` (ordered by output id),
//! `locators` (ordered by output id), `policy_rev` and `receipts` (ordered by gate id); equal ids
//! keep the view's order, absent members are left out. Older publishers hash an empty list in place
//! of absent `instance_receipts`; it binds the same, so both are accepted. The JSON has its keys
//! sorted by code point, no spaces, and every character outside ASCII as `\uXXXX` in lower-case
//! hex.

use std::fmt::Write;

use serde_json::{Value, json};
use wire::digest::Digest;

use super::RunFactsView;

/// Whether the view states the digest of its bundle, in either spelling of no instance receipts.
pub(crate) fn holds(view: &RunFactsView) -> Result<bool, serde_json::Error> {
    if hash(view)? == view.bundle_hash {
        return Ok(true);
    }
    if view.instance_receipts.is_some() {
        return Ok(false);
    }
    let spelled = RunFactsView { instance_receipts: Some(Vec::new()), ..view.clone() };
    Ok(hash(&spelled)? == view.bundle_hash)
}

/// The digest of `view`'s bundle.
pub(crate) fn hash(view: &RunFactsView) -> Result<Digest, serde_json::Error> {
    let mut locators = view.locators.clone();
    locators.sort_by(|a, b| a.output_id.cmp(&b.output_id));
    let mut receipts = view.gate_receipts.clone();
    receipts.sort_by(|a, b| a.gate_id.cmp(&b.gate_id));
    let mut bundle = json!({
        "locators": serde_json::to_value(locators)?,
        "receipts": serde_json::to_value(receipts)?,
        "policy_rev": serde_json::to_value(&view.policy_rev)?,
    });
    if let Some(mut instances) = view.instance_receipts.clone() {
        instances.sort_by(|a, b| a.output_id.cmp(&b.output_id));
        bundle["instance_receipts"] = serde_json::to_value(instances)?;
    }
    let mut text = String::new();
    ascii(&bundle, &mut text)?;
    Ok(Digest::of(text.as_bytes()))
}

fn ascii(value: &Value, out: &mut String) -> Result<(), serde_json::Error> {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                ascii(item, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            // Some features of serde_json keep insertion order, so the order is made here.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (at, (key, member)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                quoted(key, out)?;
                out.push(':');
                ascii(member, out)?;
            }
            out.push('}');
        }
        Value::String(text) => quoted(text, out)?,
        scalar => out.push_str(&serde_json::to_string(scalar)?),
    }
    Ok(())
}

fn quoted(text: &str, out: &mut String) -> Result<(), serde_json::Error> {
    for c in serde_json::to_string(text)?.chars() {
        if c.is_ascii() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}").expect("a string takes every write");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn the_text_is_sorted_compact_ascii() {
        let value = json!({"b": [1, "é😀\n", null], "a": {"z": true, "A": "\u{7f}\u{1}"}});
        let mut text = String::new();
        super::ascii(&value, &mut text).unwrap();
        assert_eq!(
            text,
            "{\"a\":{\"A\":\"\u{7f}\\u0001\",\"z\":true},\"b\":[1,\"\\u00e9\\ud83d\\ude00\\n\",null]}"
        );
    }
}
