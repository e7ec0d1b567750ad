//! Verification of a gate's evidence by its declared method. A method that is not known here fails.

use seal::facts::GateReceipt;
use wire::digest::Digest;

use super::{bundle, statement};
use crate::catalogue::Gate;
use crate::catalogue::method::Method;
use crate::check::measured::Measured;
use crate::check::{Findings, Subject};
use crate::locator::Contained;
use crate::objects::{Objects, StoreError};
use crate::reasons::Reason;

/// Why evidence does not hold.
pub(super) enum Fault {
    /// It is bad.
    Bad(Reason, String),
    /// It could not be read.
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Verifies the evidence of a PASS in every pack that the view's outputs lie in.
pub(super) async fn verify(
    subject: &Subject<'_>,
    gate: &Gate,
    receipt: &GateReceipt,
    measured: &Measured,
    findings: &mut Findings,
) {
    let id = &receipt.gate_id;
    if let Method::Unknown(kind) = &gate.method {
        findings.add(Reason::GateMethodUnknown, format!("{id}: {kind}"));
        return;
    }
    if matches!(gate.method, Method::Statement { .. }) && subject.rules.keys.is_empty() {
        findings.add(Reason::GateKeysMissing, id.as_str());
        return;
    }
    for pack in &subject.packs {
        let faults = match &gate.method {
            Method::Statement { predicate_type, file } => {
                let declared = (predicate_type.as_str(), file.as_str());
                statement::verify(subject, gate, receipt, pack, declared, measured).await
            }
            Method::Bundle(declared) => {
                bundle::verify(subject, receipt, pack, declared, measured).await
            }
            Method::Unknown(_) => Vec::new(),
        };
        for fault in faults {
            match fault {
                Fault::Bad(reason, text) => findings.add(reason, format!("{id}: {text}")),
                Fault::Store(error) => findings.store(&error),
            }
        }
    }
}

/// Compares what was read with what was measured before of the same file.
pub(super) fn unchanged(measured: &Measured, path: &str, bytes: &[u8]) -> Result<(), Fault> {
    let before = measured.known(path).and_then(|fixity| fixity.sha256);
    if before.is_some_and(|before| before != Digest::of(bytes)) {
        return Err(Fault::Bad(Reason::ChangedDuringRead, path.to_owned()));
    }
    Ok(())
}

/// Compares where a receipt says a piece of evidence is with where it is.
pub(super) fn same_place(
    objects: &Objects,
    stated: Option<&String>,
    found: &str,
) -> Result<(), Fault> {
    let Some(stated) = stated else { return Ok(()) };
    match Contained::parse(stated.trim_end_matches('/'), objects.names()) {
        Err(error) => Err(Fault::Bad(Reason::LocatorOutsideRoot, error.to_string())),
        Ok(path) if path.as_str() == found => Ok(()),
        Ok(_) => {
            let text = format!("the receipt names {stated}, the evidence is {found}");
            Err(Fault::Bad(Reason::GateEvidenceMismatch, text))
        }
    }
}
