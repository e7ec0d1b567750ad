//! XDR in answers: as base64, or as JSON where `xdrFormat` asks for it.

use serde::Serialize;
use serde_json::{Map, Value, json};
use soroban_env_host::xdr::WriteXdr;

use super::RpcError;
use crate::xdr;

/// What can be written in an answer, in every format there is.
pub(super) trait Shown: WriteXdr + Serialize {}

impl<T: WriteXdr + Serialize> Shown for T {}

/// How XDR is written in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Base64,
    Json,
}

impl Format {
    /// Reads the parameter `xdrFormat`.
    pub(super) fn read(format: Option<&str>) -> Result<Self, RpcError> {
        match format {
            None | Some("" | "base64") => Ok(Self::Base64),
            Some("json") => Ok(Self::Json),
            Some(other) => Err(RpcError::invalid_params(format!(
                "expected 'base64' or 'json' for optional 'xdrFormat', got {other:?}"
            ))),
        }
    }

    /// One value.
    pub(super) fn value(self, value: &impl Shown) -> Result<Value, RpcError> {
        match self {
            Self::Base64 => xdr::base64(value).map(Value::from).map_err(RpcError::internal),
            Self::Json => serde_json::to_value(value).map_err(RpcError::internal),
        }
    }

    /// A list of values.
    pub(super) fn list<'a, T: Shown + 'a>(
        self,
        values: impl IntoIterator<Item = &'a T>,
    ) -> Result<Value, RpcError> {
        let values = values.into_iter().map(|value| self.value(value));
        Ok(Value::Array(values.collect::<Result<_, _>>()?))
    }

    /// The name of a member: with base64 as it is, with JSON the other one.
    pub(super) fn name(self, base64: &'static str, json: &'static str) -> &'static str {
        if self == Self::Base64 { base64 } else { json }
    }

    /// Puts a value under the name its format has.
    pub(super) fn put(
        self,
        answer: &mut Map<String, Value>,
        (base64, json): (&'static str, &'static str),
        value: &impl Shown,
    ) -> Result<(), RpcError> {
        answer.insert(self.name(base64, json).to_owned(), self.value(value)?);
        Ok(())
    }

    /// Puts a list under the name its format has.
    pub(super) fn put_list<'a, T: Shown + 'a>(
        self,
        answer: &mut Map<String, Value>,
        (base64, json): (&'static str, &'static str),
        values: impl IntoIterator<Item = &'a T>,
    ) -> Result<(), RpcError> {
        answer.insert(self.name(base64, json).to_owned(), self.list(values)?);
        Ok(())
    }
}

/// An object as a map of its members.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => Map::from_iter([("value".to_owned(), json!(other))]),
    }
}
