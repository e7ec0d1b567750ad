//! Verification of a gate's evidence by its declared method. A method that is not known here fails.

use seal::facts::GateReceipt;
use wire::dsse::MAX_ENVELOPE_BYTES;

use super::{bundle, statement};
use crate::catalogue::Gate;
use crate::catalogue::method::Method;
use crate::check::measured::Measured;
use crate::check::{Findings, Plans, Subject};
use crate::locator::{Contained, inside, path_reason};
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

/// Reads the documents of a gate's evidence, and plans what of its files has to be read (O15).
pub(super) async fn plan(
    subject: &Subject<'_>,
    gate: &Gate,
    plans: &mut Plans,
    measured: &mut Measured,
) {
    for (at, pack) in subject.packs.iter().enumerate() {
        match &gate.method {
            Method::Statement { file, .. } => {
                // Whatever goes wrong here goes wrong again where the evidence is judged.
                let path = inside(&pack.root, file);
                let most = MAX_ENVELOPE_BYTES as u64;
                drop(measured.document(&pack.objects, &path, most).await);
            }
            Method::Bundle(declared) => {
                bundle::plan(subject, pack, declared, plans.of(Some(at)), measured).await;
            }
            Method::Unknown(_) => {}
        }
    }
}

/// Verifies the evidence of a PASS in every pack that the view's outputs lie in.
pub(super) async fn verify(
    subject: &Subject<'_>,
    gate: &Gate,
    receipt: &GateReceipt,
    measured: &mut Measured,
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
                Fault::Noted => {}
            }
        }
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
