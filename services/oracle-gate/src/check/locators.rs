//! Rules about the view itself: does it agree with itself, and which of its paths may be read?

use std::collections::BTreeSet;

use seal::facts::{Locator, RunFactsView};

use super::findings::Findings;
use super::rules::Rules;
use crate::locator::{Contained, path_reason};
use crate::objects::Objects;
use crate::reasons::Reason;

/// A locator whose path may be read.
pub struct LocatedOutput<'a> {
    /// The locator.
    pub locator: &'a Locator,
    /// Its path.
    pub path: Contained,
}

/// Does the view agree with itself?
pub fn check_consistency(rules: &Rules, view: &RunFactsView, findings: &mut Findings) {
    if view.run_id != view.pins.run_id {
        let (outer, pins) = (view.run_id, view.pins.run_id);
        findings.add(Reason::RunPinsMismatch, format!("run_id is {outer}, pins.run_id is {pins}"));
    }
    if view.locators.is_empty() {
        findings.add(Reason::LocatorsEmpty, "the view has no locators");
    }
    for locator in &view.locators {
        if let Some(pin) = foreign_pin(view, locator) {
            let path = &locator.path;
            findings.add(Reason::RunPinsMismatch, format!("{path}: {pin} is not the run's"));
        }
    }
    match view.has_its_bundle_hash() {
        Ok(true) => {}
        Ok(false) => {
            let stated = view.bundle_hash;
            findings.add(Reason::BundleHashMismatch, format!("{stated} is not what it gives"));
        }
        Err(error) => findings.add(Reason::BundleHashMismatch, error.to_string()),
    }
    check_intended_outputs(rules, view, findings);
}

/// Everything asked for is there, but for what the catalogue declares optional.
fn check_intended_outputs(rules: &Rules, view: &RunFactsView, findings: &mut Findings) {
    let named: BTreeSet<&str> =
        view.locators.iter().map(|locator| locator.output_id.as_str()).collect();
    let absent = view.intended_outputs.iter().flatten().filter(|id| !named.contains(id.as_str()));
    for id in absent {
        match rules.catalogue.output(id) {
            None => findings.add(Reason::OutputUnknown, id.as_str()),
            Some(output) if output.optional => {}
            Some(_) => findings.add(Reason::IntendedOutputMissing, id.as_str()),
        }
    }
}

fn foreign_pin(view: &RunFactsView, locator: &Locator) -> Option<&'static str> {
    let pins = &view.pins;
    let differs = [
        (
            "manifest_fingerprint",
            locator.manifest_fingerprint.is_some_and(|stated| stated != pins.manifest_fingerprint),
        ),
        (
            "parameter_hash",
            locator.parameter_hash.is_some_and(|stated| stated != pins.parameter_hash),
        ),
        ("seed", locator.seed.is_some_and(|stated| stated != pins.seed)),
        (
            "scenario_id",
            locator.scenario_id.as_ref().is_some_and(|stated| *stated != pins.scenario_id),
        ),
        ("run_id", locator.run_id.is_some_and(|stated| stated != pins.run_id)),
    ];
    differs.into_iter().find_map(|(pin, differs)| differs.then_some(pin))
}

/// The locators that may be read at all.
pub fn resolve_paths<'a>(
    objects: &Objects,
    rules: &Rules,
    view: &'a RunFactsView,
    findings: &mut Findings,
) -> Vec<LocatedOutput<'a>> {
    let mut seen = BTreeSet::new();
    let mut outputs = Vec::new();
    for locator in &view.locators {
        match Contained::parse(&locator.path, objects.names()) {
            Err(error) => findings.add(path_reason(&error), error.to_string()),
            Ok(path) if !seen.insert(path.clone()) => {
                findings.add(Reason::LocatorDuplicate, path.as_str());
            }
            Ok(path) => {
                if !matches_template(rules, view, locator, &path) {
                    let text = format!("{}: {}", locator.output_id, path.as_str());
                    findings.add(Reason::LocatorTemplateMismatch, text);
                }
                outputs.push(LocatedOutput { locator, path });
            }
        }
    }
    outputs
}

/// Whether the path is where the catalogue puts this output in this run: relative to the pack's
/// root, to the oracle root, or from `packs/`. Otherwise an output could be read under another's
/// gates.
fn matches_template(
    rules: &Rules,
    view: &RunFactsView,
    locator: &Locator,
    path: &Contained,
) -> bool {
    let output = rules.catalogue.output(&locator.output_id);
    let Some(template) = output.and_then(|output| output.path_template.as_ref()) else {
        return true;
    };
    let packs = path.as_str().find("/packs/").map(|at| &path.as_str()[at + 1..]);
    [Some(path.in_pack()), Some(path.as_str()), packs]
        .into_iter()
        .flatten()
        .any(|path| template.covers(path, &view.pins))
}
