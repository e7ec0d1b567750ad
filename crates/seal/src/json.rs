//! JSON that can be read in one way only.

use std::mem::discriminant;

use serde::Serialize;
use serde::de::{DeserializeOwned, Error};
use serde_json::Value;

pub use wire::json::parse;

/// Reads `bytes` as a `T` and nothing else. The derived readers also take an array for an object
/// and null for an absent member; what does not come back in the shape it came in is refused.
pub(crate) fn read<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    // `parse` refuses members that occur twice; the derived readers would take the last one.
    let value = parse(bytes)?;
    let read: T = serde_json::from_slice(bytes)?;
    if let Some(place) = difference(&value, &serde_json::to_value(&read)?, String::new()) {
        let place = if place.is_empty() { "/" } else { &place };
        return Err(serde_json::Error::custom(format!("{place} has not the form it should have")));
    }
    Ok(read)
}

/// The words of JSON and YAML readers that name types of this program, and the words of the
/// formats.
const WORDS: [(&str, &str); 16] = [
    ("invalid type: ", "wrong type: "),
    ("internally tagged enum ", "an object with a known tag, "),
    ("adjacently tagged enum ", "an object with a known tag, "),
    ("struct variant ", "an object, "),
    ("tuple struct ", "an array, "),
    ("newtype struct ", "a value, "),
    ("unit variant ", "a text, "),
    ("struct ", "an object, "),
    ("enum ", "one of the known texts, "),
    ("a sequence", "an array"),
    ("sequence", "an array"),
    ("a map", "an object"),
    ("map", "an object"),
    ("unit value", "null"),
    ("a borrowed string", "a text"),
    ("a string", "a text"),
];

/// An error of a JSON or YAML reader in the words of the format: without the names of this
/// program's types, and without the value that was found, which may be anything.
pub fn explain(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let (found, expected) = match text.split_once(", expected ") {
        Some((found, expected)) => (without_value(found), Some(expected)),
        None => (text, None),
    };
    let found = translate(&found);
    let Some(expected) = expected else { return found };
    // serde_json puts the place after the expectation, which is about to be cut.
    let (expected, place) = match expected.rfind(" at line ") {
        Some(at) => expected.split_at(at),
        None => (expected, ""),
    };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "a nonzero u32" | "a nonzero u64" => "a whole number above 0",
        other => other,
    };
    // The names that a document may have are reported; the names of types, after a comma, are not.
    if expected.starts_with("one of ") || expected.starts_with('`') {
        return format!("{found}, expected {expected}{place}");
    }
    let expected = translate(expected);
    let expected = expected.split(", ").next().unwrap_or(&expected);
    format!("{found}, expected {expected}{place}")
}

fn translate(text: &str) -> String {
    for (word, plain) in WORDS {
        if let Some(at) = text.find(word) {
            let (before, after) = (&text[..at], &text[at + word.len()..]);
            return format!("{}{plain}{}", translate(before), translate(after));
        }
    }
    text.to_owned()
}

/// `string "hunter2"` without the value.
fn without_value(text: &str) -> String {
    // An unknown text is a value too.
    if text.starts_with("unknown variant ") {
        return "unknown text".to_owned();
    }
    match text.split_once(": ") {
        Some((kind, found)) => {
            let word = found.split([' ', '`', '"']).next().unwrap_or_default();
            let word = if word == "string" { "a text" } else { word };
            format!("{kind}: {word}")
        }
        None => text.to_owned(),
    }
}

/// Where the shapes of two values differ first; texts and numbers do not count.
fn difference(one: &Value, other: &Value, at: String) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            if let Some(key) = one
                .keys()
                .chain(other.keys())
                .find(|key| one.contains_key(*key) != other.contains_key(*key))
            {
                return Some(format!("{at}/{key}"));
            }
            one.iter().find_map(|(key, member)| {
                difference(member, other.get(key)?, format!("{at}/{key}"))
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.find_map(|(index, (one, other))| difference(one, other, format!("{at}/{index}")))
        }
        (Value::Array(_), Value::Array(_)) => Some(at),
        _ => (discriminant(one) != discriminant(other)).then_some(at),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_error_speaks_of_the_document_and_not_of_this_program() {
        let manifest =
            |text: &str| crate::Manifest::parse(text.as_bytes()).unwrap_err().to_string();
        let seal = |text: &str| crate::SealMarker::parse(text.as_bytes()).unwrap_err().to_string();
        let world = r#"{"version":"v1","oracle_pack_id":[],"world_key":3}"#;
        for text in [
            manifest("[]"),
            manifest("3"),
            manifest(r#""hunter2""#),
            manifest(world),
            manifest(r#"{"version":"v1","world_key":"hunter2"}"#),
            manifest(r#"{"version":{}}"#),
            seal("null"),
            seal(r#"{"version":"v0","seal_status":"hunter2"}"#),
            seal(r#"{"version":"v1","seal_status":7}"#),
        ] {
            for word in ["struct", "enum", "unit", "serde", "V1", "WorldKey", "map", "hunter2"] {
                assert!(!text.contains(word), "{text}");
            }
        }
        let text = r#"{"version":"v1","attempt":"x"}"#;
        assert!(
            manifest(text).contains("a whole number that is not negative"),
            "{}",
            manifest(text)
        );
    }

    #[test]
    fn what_comes_back_in_another_shape_is_refused() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Document {
            name: String,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            size: Option<u64>,
        }
        let holds = |text: &str| super::read::<Document>(text.as_bytes()).is_ok();
        assert!(holds(r#"{"name":"a"}"#) && holds(r#"{"size":1,"name":"a"}"#));
        for text in
            [r#"["a"]"#, r#"["a",1]"#, r#"{"name":"a","size":null}"#, r#"{"name":"a","x":1}"#]
        {
            assert!(!holds(text), "{text}");
        }
    }
}
