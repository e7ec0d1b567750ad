//! Rules about gates: which must have passed, which receipts count, and whether their evidence
//! holds.
//!
//! A receipt alone proves nothing; it says where a gate's evidence is. It counts if every pin
//! it states is the run's and the pins its gate must state are there, and only after the evidence
//! was verified by the method the gate map declares (O7). A profile may also say how old it may be.

mod bundle;
mod evidence;
mod flag;
mod fault;
mod freshness;
mod index;
mod instances;
mod scope;
mod statement;

use std::collections::BTreeSet;

use seal::facts::{GateStatus, RunFactsView};

use super::findings::Findings;
use super::measured::Measured;
use super::outcome::Details;
use super::rules::Rules;
use super::subject::{Plans, Subject};
use crate::reasons::Reason;

/// Reads the documents behind every receipt that says PASS, and plans what else has to be read.
pub(crate) async fn plan(
    subject: &Subject<'_>,
    plans: &mut Plans,
    measured: &mut Measured,
    findings: &mut Findings,
) {
    let mut seen = BTreeSet::new();
    for receipt in &subject.view.gate_receipts {
        let Some(gate) = subject.rules.gate_map.gate(&receipt.gate_id) else { continue };
        if receipt.status == GateStatus::Pass && seen.insert(&receipt.gate_id) {
            evidence::plan(subject, gate, plans, measured).await;
        }
    }
    instances::plan(subject, measured, findings).await;
}

/// Judges every gate the outputs need, and every receipt the view carries.
pub(crate) async fn check(
    subject: &Subject<'_>,
    measured: &mut Measured,
    findings: &mut Findings,
    details: &mut Details,
) {
    let (rules, view) = (subject.rules, subject.view);
    let required = required(rules, view, findings, details);
    let mut passed = BTreeSet::new();
    for receipt in &view.gate_receipts {
        let id = &receipt.gate_id;
        let Some(gate) = rules.gate_map.gate(id) else {
            findings.add(Reason::GateUnknown, id.as_str());
            continue;
        };
        let in_scope = scope::counts(view, gate, receipt, findings);
        if in_scope && receipt.status == GateStatus::Pass {
            // Noted before its evidence is verified: what fails there is reported as that, not as
            // missing.
            passed.insert(id.as_str());
            if let Some((reason, text)) = freshness::receipt(subject, receipt) {
                findings.add(reason, format!("{id}: {text}"));
            }
            evidence::verify(subject, gate, receipt, measured, findings).await;
        }
    }
    if rules.require_gate_pass {
        for id in required.iter().filter(|id| !passed.contains(id.as_str())) {
            findings.add(Reason::GatePassMissing, id.as_str());
        }
    }
    instances::check(subject, findings);
}

/// The gates of all outputs; those the map lacks are reported.
fn required(
    rules: &Rules,
    view: &RunFactsView,
    findings: &mut Findings,
    details: &mut Details,
) -> BTreeSet<String> {
    let ids: BTreeSet<&str> = view.locators.iter().map(|locator| &*locator.output_id).collect();
    let mut required = BTreeSet::new();
    for id in ids {
        let Some(output) = rules.catalogue.output(id) else {
            findings.add(Reason::OutputUnknown, id);
            continue;
        };
        let gates = rules.gate_map.required(output);
        if gates.is_empty() {
            details.no_gate_required.push(id.to_owned());
        }
        required.extend(gates);
    }
    for id in required.iter().filter(|id| rules.gate_map.gate(id).is_none()) {
        findings.add(Reason::GateUnknown, id.as_str());
    }
    required
}
