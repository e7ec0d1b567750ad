//! JSON with one spelling (RFC 8785), so that a digest of it means something, and with one reading.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde_json::{Number, Value};

use crate::Digest;

pub mod exact;

mod duplicate_keys;

/// The largest integer every JSON reader holds exactly, 2^53 - 1 (RFC 7493, section 2.2).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// `value` as canonical JSON.
///
/// # Errors
///
/// When `value` has no JSON form, such as a map whose keys are not text, or holds an integer beyond
/// [`MAX_INTEGER`] either way: RFC 8785 would round it, and two inputs would have one digest.
pub fn canonical(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    // By way of a tree, so that its numbers can be looked at before they are written.
    let value = serde_json::to_value(value)?;
    if let Some(number) = inexact(&value) {
        let text = format!("{number} is beyond 2^53 - 1; write it as a string");
        return Err(serde_json::Error::custom(text));
    }
    serde_json_canonicalizer::to_vec(&value)
}

/// The digest of `value`'s canonical JSON.
///
/// # Errors
///
/// As [`canonical`].
pub fn digest(value: &impl Serialize) -> Result<Digest, serde_json::Error> {
    canonical(value).map(|bytes| Digest::of(&bytes))
}

/// Reads `bytes` as one JSON value. Readers differ about a member that appears twice, so it is
/// refused.
///
/// # Errors
///
/// No JSON, anything before or after the value, or a member that appears twice.
pub fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<duplicate_keys::UniqueKeys>(bytes).map(|value| value.0)
}

/// Reads `bytes` as a `T`; members that `T` does not know are ignored. The derived readers also
/// take an array for an object; other readers would not, so it is refused.
///
/// # Errors
///
/// As [`parse`], and when the value is no `T`.
pub fn read<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let value = parse(bytes)?;
    // From the bytes, not from the tree: a `T` may keep the text of a number.
    let read: T = serde_json::from_slice(bytes)?;
    if misshapen(&value, &serde_json::to_value(&read)?) {
        return Err(serde_json::Error::custom("expected an object, found an array"));
    }
    Ok(read)
}

/// Whether what was read as an object is not an object.
fn misshapen(source: &Value, read: &Value) -> bool {
    match (source, read) {
        // Only what `T` writes back can be compared; unknown members are none of its business.
        (Value::Object(source), Value::Object(read)) => read
            .iter()
            .any(|(name, member)| source.get(name).is_some_and(|given| misshapen(given, member))),
        (Value::Array(source), Value::Array(read)) => {
            source.iter().zip(read).any(|(source, read)| misshapen(source, read))
        }
        (source, Value::Object(_)) => !source.is_object(),
        _ => false,
    }
}

/// The first integer that would be rounded. Values nest 128 deep at most when they were parsed.
fn inexact(value: &Value) -> Option<&Number> {
    match value {
        Value::Number(number) => {
            // A fraction is neither: RFC 8785 writes its shortest text, which loses nothing.
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs))?;
            (magnitude > MAX_INTEGER).then_some(number)
        }
        Value::Array(values) => values.iter().find_map(inexact),
        Value::Object(fields) => fields.values().find_map(inexact),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"[{"b":{"a":1,"\u0061":2}}]"#,
            "\u{feff}{}",
            "{} {}",
            "{}x",
            "[1,]",
            "{'a':1}",
            "",
            "NaN",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"\xff").is_err() && parse(b"\"\xff\"").is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err(), "depth has a limit");
    }

    proptest! {
        #[test]
        fn otherwise_it_reads_what_everybody_reads(text in r#"[\[\]{}:,"a0.eE+\-1 tfrualsn\\]{0,24}"#) {
            let ordinary = serde_json::from_str::<Value>(&text).ok();
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(Some(value), ordinary);
            }
        }
    }

    #[test]
    fn an_array_is_not_read_as_an_object_and_what_is_not_known_is_ignored() {
        #[derive(Serialize, serde::Deserialize)]
        struct Inner {
            name: String,
        }
        #[derive(Serialize, serde::Deserialize)]
        struct Outer {
            inner: Vec<Inner>,
        }
        let holds = |text: &str| read::<Outer>(text.as_bytes()).is_ok();
        assert!(holds(r#"{"inner":[{"name":"a","later":[1]}],"later":{}}"#));
        for text in [r#"[[{"name":"a"}]]"#, r#"{"inner":[["a"]]}"#, r#"{"inner":[{"name":1}]}"#] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn order_and_spacing_of_the_source_do_not_matter() {
        let value: serde_json::Value = serde_json::from_str(r#"{ "b": 1.0, "a": "é" }"#).unwrap();

        assert_eq!(canonical(&value).unwrap(), r#"{"a":"é","b":1}"#.as_bytes());
        assert_eq!(digest(&value).unwrap(), Digest::of(r#"{"a":"é","b":1}"#.as_bytes()));
    }

    #[test]
    fn an_integer_that_would_be_rounded_is_refused() {
        for text in ["9007199254740992", "-9007199254740992", r#"{"a":[18446744073709551615]}"#] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert!(canonical(&value).unwrap_err().to_string().contains("string"), "{text}");
        }
        let value: Value =
            serde_json::from_str("[9007199254740991,-9007199254740991,1e300]").unwrap();
        assert_eq!(canonical(&value).unwrap(), b"[9007199254740991,-9007199254740991,1e+300]");
    }
}
