//! Why a gate's evidence does not hold.

use crate::locator::{Contained, path_reason};
use crate::objects::{Objects, StoreError};
use crate::reasons::Reason;

/// Why evidence does not hold.
pub(super) enum Fault {
    /// It is bad.
    Bad(Reason, String),
    /// It could not be read.
    Store(StoreError),
    /// It could not be read, and that is among the findings.
    Noted,
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Compares where a receipt says a piece of evidence is with where it is.
pub(super) fn same_place(
    objects: &Objects,
    stated: Option<&String>,
    found: &str,
) -> Result<(), Fault> {
    let Some(stated) = stated else { return Ok(()) };
    match Contained::parse(stated.trim_end_matches('/'), objects.names()) {
        Err(error) => Err(Fault::Bad(path_reason(&error), error.to_string())),
        Ok(path) if path.as_str() == found => Ok(()),
        Ok(_) => {
            let text = format!("the receipt names {stated}, the evidence is {found}");
            Err(Fault::Bad(Reason::GateEvidenceMismatch, text))
        }
    }
}
