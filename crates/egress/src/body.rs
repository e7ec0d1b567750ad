//! A request's body: JSON whose members stay in the order in which they came.
//!
//! A service may read the order of a schema's members as meaning. So what is not changed leaves
//! byte for byte, and only members of the outermost object are ever replaced.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// An object whose members are all read in one way.
#[derive(Debug)]
pub struct Body {
    /// The whole value, for looking at it.
    pub value: Value,
    members: Vec<(String, Box<RawValue>)>,
}

impl Body {
    /// Reads a body. A member that appears twice could be read in two ways, and is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value = wire::json::parse(bytes).map_err(|error| error.to_string())?;
        if !value.is_object() {
            return Err("expected a JSON object".to_owned());
        }
        let members: Members = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        Ok(Self { value, members: members.0 })
    }

    /// The member `name`, if it is there and not null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    /// The names of all members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    /// Replaces a member, or adds it at the end.
    pub fn set(&mut self, name: &str, value: Value) {
        // A JSON value always has a text.
        let Ok(raw) = serde_json::value::to_raw_value(&value) else { return };
        self.value[name] = value;
        match self.members.iter_mut().find(|(known, _)| known == name) {
            Some((_, member)) => *member = raw,
            None => self.members.push((name.to_owned(), raw)),
        }
    }

    /// The body as it leaves.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::from("{");
        for (index, (name, value)) in self.members.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&Value::from(name.as_str()).to_string());
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        text.into_bytes()
    }
}

/// The members of an object in their order.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_changed_leaves_as_it_came() {
        let source = br#"{"z": {"b":1.50,"a":[2e3]},"max_tokens":9,"a":"\u00e9"}"#;
        let mut body = Body::parse(source).unwrap();
        body.set("max_tokens", json!(3));
        body.set("stream_options", json!({ "include_usage": true }));
        let expected = r#"{"z":{"b":1.50,"a":[2e3]},"max_tokens":3,"a":"\u00e9","stream_options":{"include_usage":true}}"#;
        assert_eq!(String::from_utf8(body.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for source in [r#"{"model":"a","model":"b"}"#, r#"{"a":[{"b":1,"b":2}]}"#, "[]", "", "{}x"]
        {
            assert!(Body::parse(source.as_bytes()).is_err(), "{source}");
        }
    }
}
