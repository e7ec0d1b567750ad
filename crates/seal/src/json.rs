//! JSON that can be read in one way only.

use std::mem::discriminant;

use serde::Serialize;
use serde::de::{DeserializeOwned, Error};
use serde_json::Value;

pub use wire::json::parse;

/// Reads `bytes` as a `T` and nothing else. The derived readers also take an array for an object and
/// null for an absent member; what does not come back in the shape it came in is refused.
pub(crate) fn read<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let value = parse(bytes)?;
    let read: T = serde_json::from_slice(bytes)?;
    if let Some(place) = difference(&value, &serde_json::to_value(&read)?, String::new()) {
        let place = if place.is_empty() { "/" } else { &place };
        return Err(serde_json::Error::custom(format!("{place} has not the form it should have")));
    }
    Ok(read)
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
