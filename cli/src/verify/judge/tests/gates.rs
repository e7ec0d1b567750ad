//! A facts view that says something else than the statements and the seal: whoever changes one can
//! compute its hash again, so that each is a consistent view.

use std::fs;

use seal::facts::{GateStatus, InstanceReceipt, RunFactsView};
use wire::statement::{Code, Exit, Verdict};
use wire::{Digest, Usage};

use super::Name;
use super::fixture::Fixture;

/// What it is called, and what it does to the view.
type Edit = (&'static str, fn(&mut RunFactsView));

const ZERO: [u8; 32] = [0; 32];

fn edited(edit: fn(&mut RunFactsView)) -> Fixture {
    let fixture = Fixture::new();
    let path = fixture.path("facts/run_facts_view.json");
    let mut view = RunFactsView::parse(&fs::read(&path).unwrap()).unwrap();
    edit(&mut view);
    view.bundle_hash = view.computed_bundle_hash().unwrap();
    fs::write(path, view.to_bytes().unwrap()).unwrap();
    fixture
}

fn all_break_gates(edits: &[Edit]) {
    for (what, edit) in edits {
        let proof = edited(*edit).judge();
        assert_eq!(proof.broken(), [Name::Gates], "{what}: {:#?}", proof.links);
    }
}

#[test]
fn locators_that_do_not_lead_to_each_output_of_the_statement_break_gates() {
    edited(|_| {}).breaks(&[]);
    all_break_gates(&[
        ("no locators", |view| view.locators.clear()),
        ("no locators and nothing asked for", |view| {
            view.locators.clear();
            view.intended_outputs = Some(Vec::new());
        }),
        ("one more", |view| {
            let mut more = view.locators[0].clone();
            more.path.push_str(".bak");
            view.locators.push(more);
        }),
        ("one twice", |view| view.locators.push(view.locators[0].clone())),
        ("another file", |view| view.locators[0].path = "packs/x/outputs/report.json".to_owned()),
        ("another folder", |view| {
            let path = view.locators[0].path.replace("/outputs/", "/other/");
            view.locators[0].path = path;
        }),
        ("a zero digest", |view| {
            view.locators[0].content_digest.as_mut().unwrap().hex = Digest::from(ZERO);
        }),
        ("no digest", |view| view.locators[0].content_digest = None),
        ("another output", |view| view.locators[0].output_id = "other.output".to_owned()),
        ("another module", |view| {
            view.locators[0].manifest_fingerprint = Some(Digest::from(ZERO));
        }),
        ("another input", |view| view.locators[0].parameter_hash = Some(Digest::from(ZERO))),
        ("another seed", |view| view.locators[0].seed = Some(43)),
        ("another workflow", |view| view.locators[0].scenario_id = Some("other".to_owned())),
        ("another run", |view| view.locators[0].run_id = Some("f".repeat(32).parse().unwrap())),
        ("an output that is nowhere", |view| {
            view.intended_outputs = Some(vec!["other.output".to_owned()]);
        }),
    ]);
}

#[test]
fn a_view_that_is_bound_to_something_else_breaks_gates() {
    all_break_gates(&[
        ("another run", |view| {
            view.run_id = "f".repeat(32).parse().unwrap();
            view.pins.run_id = view.run_id;
        }),
        ("another run in its pins", |view| view.pins.run_id = "f".repeat(32).parse().unwrap()),
        ("another module", |view| view.pins.manifest_fingerprint = Digest::from(ZERO)),
        ("another input", |view| view.pins.parameter_hash = Digest::from(ZERO)),
        ("another seed", |view| view.pins.seed += 1),
        ("another workflow", |view| view.pins.scenario_id = "other".to_owned()),
        ("no pack", |view| view.oracle_pack_ref = None),
        ("another pack", |view| {
            view.oracle_pack_ref.as_mut().unwrap().oracle_pack_id = Digest::from(ZERO);
        }),
        ("another seal", |view| {
            view.oracle_pack_ref.as_mut().unwrap().seal_digest = Digest::from(ZERO);
        }),
        ("another gate map", |view| view.policy_rev.content_digest = Digest::from(ZERO)),
    ]);

    // Without its hash computed again.
    let fixture = Fixture::new();
    let path = fixture.path("facts/run_facts_view.json");
    let mut view = RunFactsView::parse(&fs::read(&path).unwrap()).unwrap();
    view.bundle_hash = Digest::from(ZERO);
    fs::write(path, view.to_bytes().unwrap()).unwrap();
    fixture.breaks(&[Name::Gates]);
}

#[test]
fn a_receipt_out_of_scope_or_of_another_statement_breaks_gates() {
    all_break_gates(&[
        ("no receipts", |view| view.gate_receipts.clear()),
        ("no shipping", |view| drop(view.gate_receipts.pop())),
        ("a receipt twice", |view| view.gate_receipts.push(view.gate_receipts[0].clone())),
        ("a FAIL", |view| view.gate_receipts[1].status = GateStatus::Fail),
        ("a FAIL beside the PASS", |view| {
            let mut failed = view.gate_receipts[0].clone();
            failed.status = GateStatus::Fail;
            view.gate_receipts.push(failed);
        }),
        ("another gate", |view| {
            let mut other = view.gate_receipts[0].clone();
            other.gate_id = "gate.other".to_owned();
            view.gate_receipts.push(other);
        }),
        ("a zero digest", |view| {
            view.gate_receipts[0].digest.as_mut().unwrap().hex = Digest::from(ZERO);
        }),
        ("no digest", |view| view.gate_receipts[1].digest = None),
        ("no run", |view| view.gate_receipts[0].scope.run_id = None),
        ("no input", |view| view.gate_receipts[0].scope.parameter_hash = None),
        ("another run", |view| {
            view.gate_receipts[0].scope.run_id = Some("f".repeat(32).parse().unwrap());
        }),
        ("another input", |view| {
            view.gate_receipts[0].scope.parameter_hash = Some(Digest::from(ZERO));
        }),
        ("another module", |view| {
            view.gate_receipts[1].scope.manifest_fingerprint = Digest::from(ZERO);
        }),
        ("another run of a module", |view| {
            view.gate_receipts[1].scope.run_id = Some("f".repeat(32).parse().unwrap());
        }),
        ("another seed", |view| view.gate_receipts[0].scope.seed = Some(43)),
        ("another workflow", |view| {
            view.gate_receipts[0].scope.scenario_id = Some("other".to_owned());
        }),
        ("a receipt of a single output", |view| {
            view.instance_receipts = Some(vec![InstanceReceipt {
                output_id: view.locators[0].output_id.clone(),
                status: GateStatus::Fail,
                scope: view.gate_receipts[0].scope.clone(),
                target_ref: view.locators[0].clone(),
                target_digest: view.locators[0].content_digest.unwrap(),
                bundle_manifest_ref: None,
                receipt_kind: None,
                artifacts: None,
                notes: None,
            }]);
        }),
    ]);
}

#[test]
fn a_view_that_states_every_pin_of_the_run_holds() {
    edited(|view| {
        let pins = view.pins.clone();
        view.intended_outputs = Some(vec![view.locators[0].output_id.clone()]);
        let locator = &mut view.locators[0];
        locator.parameter_hash = Some(pins.parameter_hash);
        locator.seed = Some(pins.seed);
        locator.scenario_id = Some(pins.scenario_id.clone());
        locator.run_id = Some(pins.run_id);
        let scope = &mut view.gate_receipts[0].scope;
        (scope.seed, scope.scenario_id) = (Some(pins.seed), Some(pins.scenario_id));
    })
    .breaks(&[]);
}

#[test]
fn a_view_beside_a_run_that_failed_breaks_gates() {
    let mut fixture = Fixture::new();
    fixture.execution.verdict = Verdict::Fail;
    fixture.execution.code = Some(Code::SideEffectsForbidden);
    fixture.execution.exit = Exit::Code(1);
    fixture.execution.usage = Usage::default();
    fixture.execution.outputs.clear();
    fs::remove_dir_all(fixture.path("pack/outputs")).unwrap();
    fixture.reseal();
    (fixture.settled, fixture.charge) = (Usage::default(), 0);
    fixture.settle();
    fixture.breaks(&[Name::Gates]);
}
