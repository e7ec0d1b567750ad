//! Events published by oracle-gate.

use serde::{Deserialize, Serialize};

use super::{Data, Family};
use crate::{Digest, RunId};

/// The events about a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealEvent {
    /// It was sealed.
    Sealed,
    /// The facts view that names it was checked.
    Checked,
    /// Its files were recorded as moved to where they are read rarely.
    Archived,
    /// It must not be read any more.
    Tombstoned,
    /// An audit found that it is not what was sealed.
    Drift,
}

/// A pack as it is after the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealData {
    /// The run, with dashes.
    pub run_id: RunId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// The pack (O4).
    pub pack_id: String,
    /// SHA-256 of the exact bytes of its seal.
    pub seal_digest: Digest,
    /// What was sealed.
    pub seal_status: SealStatus,
    /// Reference of the facts view, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts_ref: Option<String>,
    /// What the check said: `OK`, `WARN` or `FAIL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// What a seal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SealStatus {
    /// The outputs of an execution that passed.
    Sealed,
    /// The statement of one that did not, and no outputs.
    SealedFailed,
}

impl Data for SealData {
    const FAMILY: Family = Family::Seal;
    type Name = SealEvent;

    fn key(&self) -> String {
        self.pack_id.clone()
    }
}

impl SealEvent {
    /// Every event of the family.
    pub const ALL: [Self; 5] =
        [Self::Sealed, Self::Checked, Self::Archived, Self::Tombstoned, Self::Drift];
}

impl From<SealEvent> for &'static str {
    fn from(event: SealEvent) -> Self {
        match event {
            SealEvent::Sealed => "sealed",
            SealEvent::Checked => "checked",
            SealEvent::Archived => "archived",
            SealEvent::Tombstoned => "tombstoned",
            SealEvent::Drift => "drift",
        }
    }
}
