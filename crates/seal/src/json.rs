//! JSON that can be read in one way only.

use std::fmt;
use std::mem::discriminant;

use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, de};
use serde_json::{Map, Value};

/// Reads `bytes` as one JSON value. Readers differ about a member that stands twice, so it is refused.
///
/// # Errors
/// No JSON, anything before or after the value, or a member that stands twice.
pub fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Once>(bytes).map(|once| once.0)
}

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

/// A value without repeated members, at any depth.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Self)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Once(member))) = members.next_entry::<String, Once>()? {
            if object.insert(key.clone(), member).is_some() {
                return Err(A::Error::custom(format!("member {key:?} stands twice")));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse;

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

    proptest! {
        #[test]
        fn otherwise_it_reads_what_everybody_reads(text in r#"[\[\]{}:,"a0.eE+\-1 tfrualsn\\]{0,24}"#) {
            let ordinary = serde_json::from_str::<serde_json::Value>(&text).ok();
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(Some(value), ordinary);
            }
        }
    }
}
