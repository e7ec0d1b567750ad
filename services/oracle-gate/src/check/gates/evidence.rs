//! Verification of a gate's evidence by its declared method. A method that is not known here fails.

use seal::facts::GateReceipt;
use wire::dsse::MAX_ENVELOPE_BYTES;

use super::fault::Fault;
use super::{bundle, statement};
use crate::catalogue::Gate;
use crate::catalogue::method::Method;
use crate::check::findings::Findings;
use crate::check::measured::Measured;
use crate::check::subject::{Plans, Subject};
use crate::locator::inside;
use crate::reasons::Reason;

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
    // Without a key nothing can be verified, and nothing passes for being empty (O12).
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
