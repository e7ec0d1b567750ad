//! A run's id in the form that manifests and facts views use: 32 lower hex digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use wire::id::RunId;

/// 128 bits that name a run. A Lumio run's are those of its UUID; other engines choose their own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunKey([u8; 16]);

/// The text is not 32 lower hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a run id is 32 lower hex digits, not {0:?}")]
pub struct NotARunKey(String);

impl RunKey {
    /// The bits themselves.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<RunId> for RunKey {
    fn from(run: RunId) -> Self {
        Self(*run.as_uuid().as_bytes())
    }
}

impl FromStr for RunKey {
    type Err = NotARunKey;

    fn from_str(text: &str) -> Result<Self, NotARunKey> {
        let refused = || NotARunKey(text.chars().take(64).collect());
        // One spelling only, or two ids would name one run in stores that compare texts.
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(refused());
        }
        let mut bits = [0; 16];
        hex::decode_to_slice(text, &mut bits).map_err(|_| refused())?;
        Ok(Self(bits))
    }
}

impl TryFrom<String> for RunKey {
    type Error = NotARunKey;

    fn try_from(text: String) -> Result<Self, NotARunKey> {
        text.parse()
    }
}

impl From<RunKey> for String {
    fn from(run: RunKey) -> Self {
        run.to_string()
    }
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
