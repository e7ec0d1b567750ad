//! The facts view: the document from which a reader may reach into the store. What it says of
//! gates and outputs follows from the two statements and the seal, and is compared with them in
//! full: a view that leads to other files, or under other gates, is another run's.

use std::collections::BTreeMap;

use seal::content::ContentDigest;
use seal::facts::{GateScope, GateStatus, Locator, Pins, RunFactsView};
use seal::{MANIFEST_FILE, Manifest, OUTPUTS_DIR, SEAL_FILE, SealMarker};
use wire::Digest;
use wire::statement::Execution;

use super::stated::Stated;
use super::{Case, differs};
use crate::error::Result;

/// Where a bundle has it.
pub(super) const FILE: &str = "facts/run_facts_view.json";
/// What all outputs of a run are called in the catalogue.
const OUTPUT_ID: &str = "lumio.run.output";
const EXECUTION_GATE: &str = "gate.lumio.execution";
const SHIPPING_GATE: &str = "gate.lumio.shipping";

/// What is wrong with the view of a run that passed; `shipping` is the digest of the shipping
/// verdict's envelope.
pub(super) fn wrong(case: &Case<'_>, stated: &Stated, shipping: Digest) -> Result<Vec<String>> {
    let Some(text) = case.bundle.read(FILE)? else {
        return Ok(vec!["the bundle has no facts view".to_owned()]);
    };
    let view = match RunFactsView::parse(&text) {
        Ok(view) => view,
        Err(mistakes) => {
            let first = mistakes
                .first()
                .map(|mistake| format!(" ({}: {})", mistake.at, mistake.what))
                .unwrap_or_default();
            return Ok(vec![format!("the facts view cannot be read{first}")]);
        }
    };
    let execution = &stated.execution;
    let seal = case.bundle.read(&format!("pack/{SEAL_FILE}"))?;
    let manifest = case.bundle.read(&format!("pack/{MANIFEST_FILE}"))?;

    // What cannot be read here breaks its own link as well.
    let manifest = manifest.and_then(|bytes| Manifest::parse(&bytes).ok());
    let pack = seal.as_ref().and_then(|bytes| SealMarker::parse(bytes).ok());
    let pack = pack.map(|seal| seal.pack_id());

    let mut wrong = identity(case, &view, execution);
    wrong.extend(reference(&view, pack, seal.as_deref().map(Digest::of), manifest.as_ref()));
    wrong.extend(locators(&view, execution, pack));
    wrong.extend(receipts(&view, stated.digest, shipping));
    Ok(wrong)
}

/// The view is of this run, and agrees with itself.
fn identity(case: &Case<'_>, view: &RunFactsView, execution: &Execution) -> Vec<String> {
    let pins = &view.pins;
    let workflow = execution.workflow_id.as_str();
    let wrong = [
        (view.run_id != case.bundle.run_key() || pins.run_id != view.run_id)
            .then(|| "the facts view is of another run".to_owned()),
        differs("the facts view's module", execution.module_digest, pins.manifest_fingerprint),
        differs("the facts view's input", execution.input_digest, pins.parameter_hash),
        differs("the facts view's seed", execution.seed, pins.seed),
        differs("the facts view's workflow", workflow, pins.scenario_id.as_str()),
        (view.computed_bundle_hash().ok() != Some(view.bundle_hash))
            .then(|| "the facts view's bundle hash does not follow from it".to_owned()),
    ];
    wrong.into_iter().flatten().collect()
}

/// The view pins this pack by its id and its seal, and the gates that the pack was sealed under.
fn reference(
    view: &RunFactsView,
    pack: Option<Digest>,
    seal: Option<Digest>,
    manifest: Option<&Manifest>,
) -> Vec<String> {
    let pinned = view.oracle_pack_ref.as_ref();
    let gates = manifest.and_then(|manifest| {
        let sealed = manifest.gate_map_digest();
        differs("the facts view's gate map", sealed, view.policy_rev.content_digest)
    });
    let wrong = [
        (pinned.is_none() || pinned.map(|pinned| pinned.seal_digest) != seal)
            .then(|| "the facts view pins another seal".to_owned()),
        (pinned.is_none() || pinned.map(|pinned| pinned.oracle_pack_id) != pack)
            .then(|| "the facts view pins another pack".to_owned()),
        gates,
    ];
    wrong.into_iter().flatten().collect()
}

/// One locator leads to each output of the statement, with its digest, and none anywhere else.
fn locators(view: &RunFactsView, execution: &Execution, pack: Option<Digest>) -> Vec<String> {
    // A run that passed has outputs, so that a view without locators hides them.
    if view.locators.is_empty() {
        return vec!["the facts view has no locators".to_owned()];
    }
    let Some(pack) = pack else {
        return vec!["without a seal nothing says where the outputs are".to_owned()];
    };
    let outputs = execution.outputs.iter().map(|output| {
        let path = format!("packs/{pack}/{OUTPUTS_DIR}/{}", output.path);
        (path, ContentDigest::of_file(output.sha256))
    });
    let mut outputs: BTreeMap<_, _> = outputs.collect();
    let mut wrong = Vec::new();
    for locator in &view.locators {
        let path = &locator.path;
        if locator.output_id != OUTPUT_ID {
            let id = &locator.output_id;
            wrong.push(format!("the facts view's locator of {path} is of the output {id}"));
        }
        if let Some(pin) = foreign_pin(&view.pins, &scope(&view.pins, locator)) {
            wrong.push(format!("the facts view's locator of {path}: {pin} is not the run's"));
        }
        match outputs.remove(path) {
            None => wrong.push(format!(
                "the facts view's locator of {path} leads to no output of the statement, or to one \
                 that another locator leads to"
            )),
            Some(stated) if locator.content_digest != Some(stated) => wrong.push(format!(
                "the facts view's locator of {path} has not the digest of the statement"
            )),
            Some(_) => {}
        }
    }
    wrong
        .extend(outputs.into_keys().map(|path| format!("the facts view has no locator of {path}")));
    let intended = view.intended_outputs.iter().flatten();
    wrong.extend(intended.filter(|id| *id != OUTPUT_ID).map(|id| {
        format!("the facts view says that the output {id} was asked for, which no run has")
    }));
    wrong
}

/// Exactly one PASS of each gate, of the statement that the pack holds and in scope.
fn receipts(view: &RunFactsView, execution: Digest, shipping: Digest) -> Vec<String> {
    let mut wrong = Vec::new();
    for receipt in &view.gate_receipts {
        let (id, scope) = (receipt.gate_id.as_str(), &receipt.scope);
        let statement = match id {
            EXECUTION_GATE => execution,
            SHIPPING_GATE => shipping,
            _ => {
                wrong.push(format!("the facts view has a receipt of {id}, which judges no run"));
                continue;
            }
        };
        if receipt.status != GateStatus::Pass {
            wrong.push(format!("the facts view has a FAIL of {id}"));
        }
        if receipt.digest != Some(ContentDigest::of_file(statement)) {
            wrong.push(format!("the facts view's receipt of {id} is of another statement"));
        }
        if let Some(pin) = foreign_pin(&view.pins, scope) {
            wrong.push(format!("the facts view's receipt of {id}: {pin} is not the run's"));
        }
        // A module ships once for all runs; an execution is of one run and input (O7).
        if id == EXECUTION_GATE && (scope.run_id.is_none() || scope.parameter_hash.is_none()) {
            wrong.push(format!("the facts view's receipt of {id} names no run or no input"));
        }
    }
    for gate in [EXECUTION_GATE, SHIPPING_GATE] {
        let count = view.gate_receipts.iter().filter(|receipt| receipt.gate_id == gate).count();
        if count != 1 {
            wrong.push(format!("the facts view has {count} receipts of {gate} instead of one"));
        }
    }
    let singles = view.instance_receipts.iter().flatten();
    wrong.extend(singles.map(|receipt| {
        let id = &receipt.output_id;
        format!("the facts view has a receipt of the single output {id}, which no gate gives")
    }));
    wrong
}

/// What a locator says that it is about. The module may be left out there.
fn scope(pins: &Pins, locator: &Locator) -> GateScope {
    GateScope {
        manifest_fingerprint: locator.manifest_fingerprint.unwrap_or(pins.manifest_fingerprint),
        parameter_hash: locator.parameter_hash,
        seed: locator.seed,
        scenario_id: locator.scenario_id.clone(),
        run_id: locator.run_id,
    }
}

/// The first pin that is stated and is not the run's.
fn foreign_pin(pins: &Pins, scope: &GateScope) -> Option<&'static str> {
    let workflow = scope.scenario_id.as_ref();
    let differs = [
        ("manifest_fingerprint", scope.manifest_fingerprint != pins.manifest_fingerprint),
        ("parameter_hash", scope.parameter_hash.is_some_and(|hash| hash != pins.parameter_hash)),
        ("seed", scope.seed.is_some_and(|seed| seed != pins.seed)),
        ("scenario_id", workflow.is_some_and(|workflow| *workflow != pins.scenario_id)),
        ("run_id", scope.run_id.is_some_and(|run| run != pins.run_id)),
    ];
    differs.into_iter().find_map(|(pin, differs)| differs.then_some(pin))
}
