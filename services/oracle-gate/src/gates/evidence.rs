//! Verification of a gate's evidence by its declared method. A method that is not known here fails.

use seal::facts::{GateReceipt, RunFactsView};
use wire::digest::Digest;
use wire::dsse::{DsseError, MAX_ENVELOPE_BYTES};
use wire::statement::{
    Execution, ExecutionStatement, Predicate, Shipping, ShippingStatement, Statement,
    StatementError, Verdict,
};

use super::DSSE;
use crate::catalogue::{Gate, Method};
use crate::check::locators::Output;
use crate::check::{Findings, Pack, Rules};
use crate::locator::inside;
use crate::objects::Objects;
use crate::reasons::Reason;

/// Verifies the evidence of a PASS in every pack that the view's outputs lie in.
#[expect(clippy::too_many_arguments, reason = "one rule that joins view, packs and store")]
pub async fn verify(
    objects: &Objects,
    rules: &Rules,
    view: &RunFactsView,
    gate: &Gate,
    receipt: &GateReceipt,
    outputs: &[Output<'_>],
    packs: &[Pack],
    findings: &mut Findings,
) {
    let (id, method) = (&receipt.gate_id, &gate.verification_method);
    let (DSSE, Some(file)) = (method.kind.as_str(), &method.statement) else {
        findings.add(Reason::GateMethodUnknown, format!("{id}: {}", method.kind));
        return;
    };
    if rules.keys.is_empty() {
        findings.add(Reason::GateKeysMissing, id.as_str());
        return;
    }
    for pack in packs {
        let path = inside(&pack.root, file);
        let read = objects.read(&path, MAX_ENVELOPE_BYTES as u64).await;
        let envelope = match read {
            Ok(Some(envelope)) => envelope,
            Ok(None) => {
                findings.add(Reason::GateEvidenceMissing, format!("{id}: {path} is not there"));
                continue;
            }
            Err(error) => {
                findings.store(&error);
                continue;
            }
        };
        if let Some(wrong) = contradicts_receipt(receipt, &path, &envelope) {
            findings.add(Reason::GateEvidenceMismatch, format!("{id}: {wrong}"));
        }
        let here = outputs.iter().filter(|output| output.path.pack_root() == pack.root);
        let here: Vec<&Output<'_>> = here.collect();
        if let Err((reason, text)) = statement(rules, view, gate, method, &envelope, &here) {
            findings.add(reason, format!("{id}: {text}"));
        }
    }
}

fn contradicts_receipt(receipt: &GateReceipt, path: &str, envelope: &[u8]) -> Option<String> {
    let named = receipt.artifacts.as_ref().and_then(|it| it.passed_flag_path.as_ref());
    if let Some(named) = named.filter(|named| *named != path) {
        return Some(format!("the receipt names {named}, the evidence is {path}"));
    }
    let found = Digest::of(envelope);
    let stated = receipt.digest.filter(|stated| stated.hex != found)?;
    Some(format!("the receipt has digest {}, the evidence is {found}", stated.hex))
}

type Wrong = (Reason, String);

fn statement(
    rules: &Rules,
    view: &RunFactsView,
    gate: &Gate,
    method: &Method,
    envelope: &[u8],
    outputs: &[&Output<'_>],
) -> Result<(), Wrong> {
    let mismatch = |text: Option<String>| match text {
        Some(text) => Err((Reason::GateEvidenceMismatch, text)),
        None => Ok(()),
    };
    match method.predicate_type.as_deref() {
        Some(Execution::TYPE) => {
            let statement: ExecutionStatement = open(rules, envelope)?;
            mismatch(execution(view, gate, statement.predicate(), outputs))
        }
        Some(Shipping::TYPE) => {
            let statement: ShippingStatement = open(rules, envelope)?;
            mismatch(shipping(view, statement.predicate()))
        }
        other => Err((Reason::GateMethodUnknown, format!("predicate type {other:?}"))),
    }
}

fn open<P: Predicate>(rules: &Rules, envelope: &[u8]) -> Result<Statement<P>, Wrong> {
    match Statement::open(envelope, &rules.keys) {
        Ok((statement, _)) => Ok(statement),
        Err(StatementError::Envelope(error @ DsseError::Untrusted(_))) => {
            Err((Reason::GateEvidenceUntrusted, error.to_string()))
        }
        Err(error) => Err((Reason::GateEvidenceUntrusted, chain(&error))),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// Subject and scope equality (O7), and every output by path and digest.
fn execution(
    view: &RunFactsView,
    gate: &Gate,
    stated: &Execution,
    outputs: &[&Output<'_>],
) -> Option<String> {
    let pins = &view.pins;
    let checks = [
        ("the verdict is not PASS", stated.verdict == Verdict::Pass),
        ("the run is another", seal::RunKey::from(stated.run_id) == pins.run_id),
        ("the module is another", stated.module_digest == pins.manifest_fingerprint),
        ("the input is another", stated.input_digest == pins.parameter_hash),
        ("the seed is another", stated.seed == pins.seed),
        ("the workflow is another", stated.workflow_id == pins.scenario_id),
    ];
    if let Some((wrong, _)) = checks.into_iter().find(|(_, holds)| !holds) {
        return Some(wrong.to_owned());
    }
    let authorised =
        outputs.iter().filter(|it| gate.authorizes_outputs.contains(&it.locator.output_id));
    for output in authorised {
        let in_pack = output.path.in_pack();
        let name = in_pack.strip_prefix("outputs/").unwrap_or_default();
        let named = stated.outputs.iter().find(|it| it.path == name);
        let digest = output.locator.content_digest.map(|digest| digest.hex);
        if named.is_none_or(|named| digest.is_some_and(|digest| digest != named.sha256)) {
            return Some(format!("it does not name {in_pack} with that digest"));
        }
    }
    None
}

fn shipping(view: &RunFactsView, stated: &Shipping) -> Option<String> {
    if stated.verdict != Verdict::Pass {
        return Some("the verdict is not PASS".to_owned());
    }
    let same = stated.module_digest == view.pins.manifest_fingerprint;
    (!same).then(|| "the module is another".to_owned())
}
