//! Which run a receipt is about (O7).

use seal::facts::{GateReceipt, GateScope, GateStatus, RunFactsView};

use crate::catalogue::{Gate, Pin};
use crate::check::findings::Findings;
use crate::reasons::Reason;

/// Whether the receipt counts for this run. A FAIL is reported unless it is about another run.
pub(super) fn counts(
    view: &RunFactsView,
    gate: &Gate,
    receipt: &GateReceipt,
    findings: &mut Findings,
) -> bool {
    let id = receipt.gate_id.as_str();
    // First, since a FAIL about another run says nothing of this one (O7).
    if let Some(pin) = foreign_pin(view, &receipt.scope) {
        findings.add(Reason::GateScopeMismatch, format!("{id}: {pin} is not the run's"));
        return false;
    }
    if receipt.status == GateStatus::Fail {
        findings.add(Reason::GateFailed, id);
        return false;
    }
    match gate.required_scope.iter().find(|pin| !states(&receipt.scope, **pin)) {
        Some(pin) => {
            let text = format!("{id}: {} is not stated", pin.as_str());
            findings.add(Reason::GateScopeIncomplete, text);
            false
        }
        None => true,
    }
}

/// The first pin of a receipt that is not the run's.
pub(super) fn foreign_pin(view: &RunFactsView, scope: &GateScope) -> Option<&'static str> {
    let pins = &view.pins;
    let differs = [
        ("manifest_fingerprint", scope.manifest_fingerprint != pins.manifest_fingerprint),
        (
            "parameter_hash",
            scope.parameter_hash.is_some_and(|stated| stated != pins.parameter_hash),
        ),
        ("seed", scope.seed.is_some_and(|stated| stated != pins.seed)),
        (
            "scenario_id",
            scope.scenario_id.as_ref().is_some_and(|stated| *stated != pins.scenario_id),
        ),
        ("run_id", scope.run_id.is_some_and(|stated| stated != pins.run_id)),
    ];
    differs.into_iter().find_map(|(pin, differs)| differs.then_some(pin))
}

/// Whether a receipt states a pin.
pub(super) fn states(scope: &GateScope, pin: Pin) -> bool {
    match pin {
        Pin::ManifestFingerprint => true,
        Pin::ParameterHash => scope.parameter_hash.is_some(),
        Pin::Seed => scope.seed.is_some(),
        Pin::ScenarioId => scope.scenario_id.is_some(),
        Pin::RunId => scope.run_id.is_some(),
    }
}
