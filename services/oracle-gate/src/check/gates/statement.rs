//! `dsse_statement_v1`: a statement in the pack, signed by an accepted key.

use seal::content::{Algo, ContentDigest};
use seal::facts::{GateReceipt, RunFactsView};
use wire::digest::Digest;
use wire::dsse::{DsseError, MAX_ENVELOPE_BYTES};
use wire::statement::{
    Execution, ExecutionStatement, Predicate, Shipping, ShippingStatement, Statement,
    StatementError, Verdict,
};

use super::fault::{Fault, same_place};
use super::freshness;
use crate::catalogue::Gate;
use crate::check::locators::LocatedOutput;
use crate::check::measured::Measured;
use crate::check::packs::Pack;
use crate::check::rules::Rules;
use crate::check::subject::Subject;
use crate::locator::inside;
use crate::reasons::Reason;

/// Verifies the statement of one pack.
pub(super) async fn verify(
    subject: &Subject<'_>,
    gate: &Gate,
    receipt: &GateReceipt,
    pack: &Pack,
    (predicate_type, file): (&str, &str),
    measured: &mut Measured,
) -> Vec<Fault> {
    let path = inside(&pack.root, file);
    let most = MAX_ENVELOPE_BYTES as u64;
    let envelope = match measured.document(&pack.objects, &path, most).await {
        Ok(Some(envelope)) => envelope,
        Ok(None) => {
            return vec![Fault::Bad(Reason::GateEvidenceMissing, format!("{path} is not there"))];
        }
        Err(error) => return vec![error.into()],
    };
    let named =
        receipt.artifacts.as_ref().and_then(|artifacts| artifacts.passed_flag_path.as_ref());
    let mut faults = Vec::new();
    faults.extend(same_place(&pack.objects, named, &path).err());
    let found = Digest::of(&envelope);
    if let Some(stated) = receipt.digest.filter(|stated| stated.hex != found) {
        let text = format!("the receipt has digest {}, the evidence is {found}", stated.hex);
        faults.push(Fault::Bad(Reason::GateEvidenceMismatch, text));
    }
    let here: Vec<&LocatedOutput<'_>> =
        subject.outputs.iter().filter(|output| output.path.pack_root() == pack.root).collect();
    let stated = statement(subject, gate, predicate_type, &envelope, &here, measured);
    faults.extend(stated.err().map(|(reason, text)| Fault::Bad(reason, text)));
    faults
}

type Wrong = (Reason, String);

fn statement(
    subject: &Subject<'_>,
    gate: &Gate,
    predicate_type: &str,
    envelope: &[u8],
    outputs: &[&LocatedOutput<'_>],
    measured: &Measured,
) -> Result<(), Wrong> {
    let (rules, view) = (subject.rules, subject.view);
    let mismatch = |text: Option<String>| match text {
        Some(text) => Err((Reason::GateEvidenceMismatch, text)),
        None => Ok(()),
    };
    let is_fresh = |made| freshness::signed(subject, made).map_or(Ok(()), Err);
    match predicate_type {
        Execution::TYPE => {
            let statement: ExecutionStatement = open(rules, envelope)?;
            mismatch(execution(view, gate, statement.predicate(), outputs, measured))?;
            is_fresh(statement.predicate().finished_at)
        }
        Shipping::TYPE => {
            let statement: ShippingStatement = open(rules, envelope)?;
            mismatch(shipping(view, statement.predicate()))?;
            is_fresh(statement.predicate().issued_at)
        }
        other => Err((Reason::GateMethodUnknown, format!("predicate type {other}"))),
    }
}

fn open<P: Predicate>(rules: &Rules, envelope: &[u8]) -> Result<Statement<P>, Wrong> {
    match Statement::open(envelope, &rules.keys) {
        Ok((statement, _)) => Ok(statement),
        Err(StatementError::Envelope(error @ DsseError::Untrusted(_))) => {
            Err((Reason::GateEvidenceUntrusted, error.to_string()))
        }
        Err(error) => Err((Reason::GateEvidenceUntrusted, wire::causes(&error))),
    }
}

/// Subject and scope equality (O7), and every output by path and digest.
fn execution(
    view: &RunFactsView,
    gate: &Gate,
    stated: &Execution,
    outputs: &[&LocatedOutput<'_>],
    measured: &Measured,
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
        outputs.iter().filter(|output| gate.authorizes_outputs.contains(&output.locator.output_id));
    for output in authorised {
        // The statement's paths begin below `outputs/`; a file elsewhere has no name there, and
        // fails.
        let in_pack = output.path.in_pack();
        let name = in_pack.strip_prefix("outputs/").unwrap_or_default();
        let named = stated.outputs.iter().find(|output| output.path == name);
        // By the view's word, which is compared with the bytes elsewhere, or else by the bytes.
        let digest = match output.locator.content_digest {
            Some(ContentDigest { algo: Algo::Concat, hex }) => Some(hex),
            _ => measured.known(output.path.as_str()).and_then(|fixity| fixity.sha256),
        };
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
