//! JSON with one spelling (RFC 8785), so that a digest of it means something.

use serde::{Serialize, ser::Error as _};
use serde_json::{Number, Value};

use crate::Digest;

/// The largest integer every JSON reader holds exactly, 2^53 - 1 (RFC 7493, section 2.2).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// `value` as canonical JSON.
///
/// # Errors
///
/// When `value` has no JSON form, such as a map whose keys are not text, or holds an integer beyond
/// [`MAX_INTEGER`] either way: RFC 8785 would round it, and two inputs would have one digest.
pub fn canonical(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
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

/// The first integer that would be rounded. Values nest 128 deep at most when they were parsed.
fn inexact(value: &Value) -> Option<&Number> {
    match value {
        Value::Number(number) => {
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
    use super::*;

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
