//! The id of a run, in the two spellings the documents use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A run, whatever its attempt. JSON, HTTP and gRPC spell it with dashes; facts views, subjects and
/// store paths as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunId(Uuid);

/// The text is neither a UUID with dashes nor one of 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a run id is a UUID, with dashes or as 32 hex digits")]
pub struct InvalidRunId;

impl RunId {
    /// The 16 bytes behind both spellings.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// 32 lower-case hex digits, no dashes.
    pub fn simple(&self) -> String {
        self.0.simple().to_string()
    }
}

impl From<Uuid> for RunId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl From<RunId> for Uuid {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;

    fn try_from(text: String) -> Result<Self, InvalidRunId> {
        text.parse()
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    /// Takes both spellings and no other: a brace or a URN would make two texts of one run.
    fn from_str(text: &str) -> Result<Self, InvalidRunId> {
        if text.len() != 32 && text.len() != 36 {
            return Err(InvalidRunId);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidRunId)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_is_one_of_two_spellings(
            text in "[0-9a-fA-F-]{32,36}|\\PC{0,40}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[{]?[0-9a-f]{32}[}]?",
        ) {
            if let Ok(id) = text.parse::<RunId>() {
                let lower = text.to_ascii_lowercase();
                prop_assert!(lower == id.to_string() || lower == id.simple(), "{}", text);
            }
        }
    }

    #[test]
    fn both_spellings_are_one_run() {
        let dashed = "00000000-0000-4000-8000-00000000000a";
        let id: RunId = dashed.parse().unwrap();

        assert_eq!(id.simple().parse(), Ok(id));
        assert_eq!(id.to_string(), dashed);
        assert_eq!(id.simple(), "0000000000004000800000000000000a");
    }

    #[test]
    fn no_third_spelling_is_taken() {
        for text in [
            "",
            "7",
            "{00000000-0000-4000-8000-00000000000a}",
            "urn:uuid:00000000-0000-4000-8000-00000000000a",
        ] {
            assert_eq!(text.parse::<RunId>(), Err(InvalidRunId), "{text}");
        }
    }
}
