//! Proofs of single outputs: whatever depends on its run is proven one by one.

use seal::facts::{GateStatus, InstanceReceipt, RunFactsView};
use serde_json::Value;

use super::scope::{foreign_pin, states};
use crate::catalogue::method::Method;
use crate::catalogue::{DeclaredOutput, Pin};
use crate::check::findings::Findings;
use crate::check::measured::Measured;
use crate::check::rules::Rules;
use crate::check::subject::Subject;
use crate::locator::{Contained, path_reason};
use crate::objects::Objects;
use crate::reasons::Reason;

/// Most bytes a stored instance receipt may have.
const MAX_RECEIPT_BYTES: u64 = 1 << 20;

/// Reads the receipts that say where they are stored: each has to say there what it says in the
/// view.
pub(super) async fn plan(subject: &Subject<'_>, measured: &mut Measured, findings: &mut Findings) {
    for receipt in subject.view.instance_receipts.iter().flatten() {
        stored(subject.objects, receipt, measured, findings).await;
    }
}

/// Every output that depends on its run is proven by a gate whose signed statement names it by
/// digest, or by an instance receipt.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    let (rules, view) = (subject.rules, subject.view);
    let receipts = view.instance_receipts.as_deref().unwrap_or_default();
    for receipt in receipts {
        if let Some(wrong) = wrong(view, receipt) {
            findings.add(Reason::InstanceProofMismatch, format!("{}: {wrong}", receipt.output_id));
        }
    }
    for locator in &view.locators {
        let Some(output) = rules.catalogue.output(&locator.output_id) else { continue };
        if !output.needs_instance_proof() || proven_by_gate(rules, output, &locator.output_id) {
            continue;
        }
        let proofs = receipts.iter().filter(|receipt| receipt.target_ref.path == locator.path);
        let proofs: Vec<&InstanceReceipt> = proofs.collect();
        if proofs.is_empty() {
            findings.add(Reason::InstanceProofMissing, locator.path.as_str());
        }
        for (proof, pin) in proofs.iter().filter_map(|proof| Some((proof, lacks(output, proof)?))) {
            let text = format!("{}: {} is not stated", proof.output_id, pin.as_str());
            findings.add(Reason::InstanceScopeIncomplete, text);
        }
    }
}

/// A signed statement that authorises the output names each of its files by digest.
fn proven_by_gate(rules: &Rules, output: &DeclaredOutput, output_id: &str) -> bool {
    let names_it = |id: &String| {
        rules.gate_map.gate(id).is_some_and(|gate| {
            matches!(gate.method, Method::Statement { .. })
                && gate.authorizes_outputs.iter().any(|id| id == output_id)
        })
    };
    rules.require_gate_pass && rules.gate_map.required(output).iter().any(names_it)
}

/// A pin of the output's scope that its proof does not state.
fn lacks(output: &DeclaredOutput, proof: &InstanceReceipt) -> Option<Pin> {
    Pin::named_in(&output.scope).find(|pin| !states(&proof.scope, *pin))
}

fn wrong(view: &RunFactsView, receipt: &InstanceReceipt) -> Option<String> {
    if let Some(pin) = foreign_pin(view, &receipt.scope) {
        return Some(format!("{pin} is not the run's"));
    }
    if receipt.status == GateStatus::Fail {
        return Some("it says FAIL".to_owned());
    }
    let target = &receipt.target_ref;
    let fits = view.locators.iter().any(|locator| {
        locator.output_id == receipt.output_id
            && target.output_id == receipt.output_id
            && locator.path == target.path
            // A locator without a digest is proven by nothing.
            && locator.content_digest == Some(receipt.target_digest)
            && target.content_digest.is_none_or(|digest| digest == receipt.target_digest)
    });
    (!fits).then(|| format!("no locator {} with that digest", target.path))
}

/// A receipt that says where it is stored is read there, and has to say the same.
async fn stored(
    objects: &Objects,
    receipt: &InstanceReceipt,
    measured: &mut Measured,
    findings: &mut Findings,
) {
    let Some(path) =
        receipt.artifacts.as_ref().and_then(|artifacts| artifacts.receipt_path.as_ref())
    else {
        return;
    };
    let contained = match Contained::parse(path, objects.names()) {
        Ok(contained) => contained,
        Err(error) => return findings.add(path_reason(&error), error.to_string()),
    };
    match measured.document(objects, contained.as_str(), MAX_RECEIPT_BYTES).await {
        Err(error) => findings.store(&error),
        Ok(None) => {
            let text = format!("{}: {path} is not there", receipt.output_id);
            findings.add(Reason::InstanceProofMissing, text);
        }
        Ok(Some(bytes)) if says(&bytes, receipt) => {}
        Ok(Some(_)) => {
            let text = format!("{}: {path} says something else", receipt.output_id);
            findings.add(Reason::InstanceProofMismatch, text);
        }
    }
}

/// Whether the stored receipt is the view's. It may also say when it was made, and where it lies.
fn says(bytes: &[u8], receipt: &InstanceReceipt) -> bool {
    let Ok(Value::Object(mut members)) = seal::json::parse(bytes) else { return false };
    members.remove("produced_at_utc");
    let stored = serde_json::from_value::<InstanceReceipt>(Value::Object(members));
    let bare = |receipt: &InstanceReceipt| InstanceReceipt {
        artifacts: None,
        notes: None,
        ..receipt.clone()
    };
    stored.is_ok_and(|stored| bare(&stored) == bare(receipt))
}
