//! The documents that lead to a pack: plan, record, facts view, and, after the check, status.

use bytes::Bytes;
use seal::content::ContentDigest;
use seal::facts::{
    Artifacts, GateReceipt, GateScope, GateStatus, Locator, PackRef, Pins, PolicyRev, ReceiptKind,
    RunFactsView,
};
use seal::{EXECUTION_FILE, OUTPUTS_DIR, RunKey, SHIPPING_FILE};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wire::Problem;
use wire::digest::Digest;

use super::{CheckResult, Claims, Intent, Sealed, codes, name, pack};
use crate::Gate;
use crate::check::{self, Status};
use crate::crash;
use crate::error::Error;
use crate::modules::create_equal;

const OUTPUT_ID: &str = "lumio.run.output";
const EXECUTION_GATE: &str = "gate.lumio.execution";
const SHIPPING_GATE: &str = "gate.lumio.shipping";

/// Stores the documents of a run that passed, each created once, and checks the view. Answers the
/// view's reference and what the check said. A check that could not decide is an error: the intent
/// stays open, and the next call decides.
pub async fn publish(
    gate: &Gate,
    claims: &Claims,
    intent: &Intent,
    sealed: &Sealed,
) -> Result<(String, CheckResult), Error> {
    let name = name(intent.draft.run, intent.draft.attempt);
    let facts_ref = format!("sr/run_facts_view/{name}.json");
    let view = view(claims, intent, sealed, &name)?;
    let bytes = view.to_bytes().map_err(Error::internal)?;
    let objects = &gate.objects;
    // What the view names is there before the view is.
    create_equal(objects, &view.plan_ref, intent.draft.plan.clone()).await?;
    create_equal(objects, &view.record_ref, intent.draft.record.clone()).await?;
    create_equal(objects, &facts_ref, Bytes::from(bytes)).await?;
    crash::point("view.after_write");

    // As of the intent: what the check says goes into a document that is written once.
    let at = intent.created_at;
    let outcome = check::check(objects, &gate.rules, &facts_ref, at).await;
    if outcome.is_doubtful() {
        let codes = codes(&outcome.reason_codes).join(", ");
        let text = format!("the facts view could not be checked ({codes}); call again");
        return Err(Error::refused(Problem::Unavailable, text));
    }
    let state = if outcome.status == Status::Ok { "READY" } else { "QUARANTINED" };
    let status = json!({
        "run_id": view.run_id,
        "attempt": intent.draft.attempt,
        "state": state,
        "facts_view_ref": facts_ref,
        "bundle_hash": view.bundle_hash,
        "reason_codes": outcome.reason_codes,
    });
    let status = wire::json::canonical(&status).map_err(Error::internal)?;
    create_equal(objects, &view.status_ref, Bytes::from(status)).await?;
    crash::point("status.after_write");
    let reasons = codes(&outcome.reason_codes);
    Ok((facts_ref, CheckResult { status: outcome.status, reasons }))
}

fn view(
    claims: &Claims,
    intent: &Intent,
    sealed: &Sealed,
    name: &str,
) -> Result<RunFactsView, Error> {
    let execution = &claims.execution;
    let run_id = RunKey::from(execution.run_id);
    let mut view = RunFactsView {
        run_id,
        pins: Pins {
            manifest_fingerprint: execution.module_digest,
            parameter_hash: execution.input_digest,
            seed: execution.seed,
            scenario_id: execution.workflow_id.clone(),
            run_id,
        },
        locators: locators(claims, sealed),
        output_roles: Some([(OUTPUT_ID.to_owned(), "non_traffic".to_owned())].into()),
        intended_outputs: Some(vec![OUTPUT_ID.to_owned()]),
        gate_receipts: receipts(claims, intent, sealed)?,
        instance_receipts: None,
        policy_rev: PolicyRev {
            policy_id: "lumio.gates".to_owned(),
            revision: intent.policy_rev.clone(),
            content_digest: intent.gate_map,
        },
        // A placeholder: the hash is over all the other fields.
        bundle_hash: sealed.seal_digest,
        plan_ref: format!("sr/run_plan/{name}.json"),
        record_ref: format!("sr/run_record/{name}.jsonl"),
        status_ref: format!("sr/run_status/{name}.json"),
        oracle_pack_ref: Some(PackRef {
            oracle_pack_id: sealed.pack_id,
            seal_digest: sealed.seal_digest,
        }),
        evidence_notes: None,
    };
    view.bundle_hash = view.computed_bundle_hash().map_err(Error::internal)?;
    Ok(view)
}

fn locators(claims: &Claims, sealed: &Sealed) -> Vec<Locator> {
    let execution = &claims.execution;
    let root = pack::root(sealed.pack_id);
    let locator = |output: &wire::statement::Output| Locator {
        output_id: OUTPUT_ID.to_owned(),
        path: format!("{root}/{OUTPUTS_DIR}/{}", output.path),
        manifest_fingerprint: Some(execution.module_digest),
        parameter_hash: Some(execution.input_digest),
        seed: Some(execution.seed),
        scenario_id: Some(execution.workflow_id.clone()),
        run_id: Some(execution.run_id.into()),
        schema_ref: None,
        dictionary_ref: None,
        produced_at_utc: None,
        content_digest: Some(ContentDigest::of_file(output.sha256)),
    };
    execution.outputs.iter().map(locator).collect()
}

fn receipts(claims: &Claims, intent: &Intent, sealed: &Sealed) -> Result<Vec<GateReceipt>, Error> {
    let execution = &claims.execution;
    let root = pack::root(sealed.pack_id);
    let receipt = |gate: &str, file: &str, envelope: &[u8], at: OffsetDateTime, scope| {
        Ok::<_, Error>(GateReceipt {
            gate_id: gate.to_owned(),
            status: GateStatus::Pass,
            scope,
            produced_at_utc: Some(at.format(&Rfc3339).map_err(Error::internal)?),
            receipt_kind: Some(ReceiptKind::JsonReceipt),
            digest: Some(ContentDigest::of_file(Digest::of(envelope))),
            artifacts: Some(Artifacts {
                validation_bundle_root: None,
                index_path: None,
                passed_flag_path: Some(format!("{root}/{file}")),
            }),
            notes: None,
        })
    };
    let of_module = GateScope {
        manifest_fingerprint: execution.module_digest,
        parameter_hash: None,
        seed: None,
        scenario_id: None,
        run_id: None,
    };
    let of_run = GateScope {
        parameter_hash: Some(execution.input_digest),
        run_id: Some(execution.run_id.into()),
        ..of_module.clone()
    };
    let (statement, shipping) = (&intent.draft.statement, &intent.draft.shipping);
    let mut receipts =
        vec![receipt(EXECUTION_GATE, EXECUTION_FILE, statement, execution.finished_at, of_run)?];
    if let Some(stated) = &claims.shipping {
        receipts.push(receipt(
            SHIPPING_GATE,
            SHIPPING_FILE,
            shipping,
            stated.issued_at,
            of_module,
        )?);
    }
    Ok(receipts)
}
