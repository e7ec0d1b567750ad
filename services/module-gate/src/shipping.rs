//! Shipping verdicts: judges a stored module by its digest and signs what came out (R8).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::postgres;
use chassis::telemetry;
use seal::tree::Tree;
use serde_json::json;
use tracing::Instrument as _;
use wire::PublicKey;
use wire::digest::Digest;
use wire::event::{GateData, GateEvent};
use wire::statement::{Mode, Shipping, ShippingStatement, Verdict};

use crate::error::Error;
use crate::gate::Gate;
use crate::judgement;
use crate::judging::finding::Finding;
use crate::judging::judge::{self, Candidate, Judgement};
use crate::judging::oracle::{CASE_LIMIT, ModuleRunner};
use crate::module::tree;
use crate::module::variation::Variations;
use crate::progress::Progress;
use crate::sandbox::workspace::Workspace;
use crate::sandbox::{LIMITS, Sandbox};
use crate::store;
use crate::store::judgements::{self, Ask, Claim, Lease};

/// What a module that cannot be read is called in its verdict.
const UNREADABLE: (&str, &str) = ("unreadable", "0.0.0");

/// How a module was judged, and what it says of itself.
struct Judged {
    id: String,
    version: String,
    declared: Vec<String>,
    judgement: Judgement,
}

/// How often a caller that waits for another process's judgement looks at its row.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Judges the stored module and stores the signed verdict; a PASS that is kept is answered again
/// (M10), unless a `fresh` judgement is asked for, and one judgement serves all who ask meanwhile.
///
/// # Errors
/// Any [`Error`] that is about this service, the store or the request; what is wrong with the
/// module is in the statement.
pub async fn ship(
    gate: &Gate,
    module: Digest,
    fresh: bool,
    progress: &Progress,
) -> Result<Vec<u8>, Error> {
    let subject = json!({ "kind": "ship", "module": module });
    let key = judgement::key(gate, &subject, &Variations::all())?;
    let mut ask = Ask { key, kind: "SHIP", fresh, resume: None };
    loop {
        match judgements::claim(&gate.db, ask, gate.lease_ms()).await? {
            Claim::Finished { result, .. } => return Ok(result),
            Claim::Granted(lease) => {
                return ship_under_lease(gate, module, lease, progress).await;
            }
            Claim::Busy(_) if progress.gone() => {
                return Err(Error::Interrupted("the caller has gone away"));
            }
            Claim::Busy(fence) => {
                // Its result counts for this caller whatever it is.
                ask.resume = Some(fence);
                progress.report("attached", "another call judges this module");
            }
        }
        gate.pause(LOOK_EVERY).await?;
    }
}

/// Judges under a lease that is kept alive meanwhile, and given back if there is no result.
async fn ship_under_lease(
    gate: &Gate,
    module: Digest,
    lease: Lease,
    progress: &Progress,
) -> Result<Vec<u8>, Error> {
    let cancel = Arc::new(AtomicBool::new(false));
    let renewal = judgement::keep_lease(gate.clone(), lease, Arc::clone(&cancel));
    let renewal = tokio::spawn(renewal.in_current_span());
    let result = perform(gate, module, lease, &cancel, progress).await;
    renewal.abort();
    if result.is_err() {
        // If this fails too the lease expires on its own.
        let _ = judgements::release(&gate.db, lease).await;
    }
    result
}

async fn perform(
    gate: &Gate,
    module: Digest,
    lease: Lease,
    cancel: &Arc<AtomicBool>,
    progress: &Progress,
) -> Result<Vec<u8>, Error> {
    let _permit = gate.permit(progress).await?;
    progress.report("copying", "fetching the module by its digest");
    let job = format!("ship.{module}.{}", (gate.now)().unix_timestamp_nanos());
    let workspace = Workspace::create(&gate.sandbox.scratch, &job)
        .map_err(Error::host("make the scratch folder"))?;
    let tree = tree::fetch(&*gate.store, module, &workspace.pristine()).await?;
    let (sandbox, stop, listener) = (gate.sandbox.clone(), Arc::clone(cancel), progress.clone());
    let work = move || {
        judge_tree(&sandbox, &workspace, &tree, stop, &|step| listener.report("judging", step))
    };

    // The task that renews the lease ends the work when the service stops.
    let judged = tokio::task::spawn_blocking(telemetry::in_current_span(work)).await;
    if cancel.load(Ordering::Relaxed) {
        return Err(Error::Interrupted("this service stops, or lost its lease"));
    }
    let judged = judged
        .map_err(Error::host("wait for the guard"))?
        .map_err(Error::host("judge the module"))?;
    conclude(gate, module, lease, judged).await
}

/// The newest conclusive verdict on a module, signed by a key that the caller accepts; any key of
/// this service if `attesters` is empty.
///
/// # Errors
/// [`Error::VerdictMissing`] if there is none, or none that a present key of this service signed;
/// [`Error::NoAcceptedKey`].
pub async fn verdict(
    gate: &Gate,
    module: Digest,
    attesters: &[PublicKey],
) -> Result<Vec<u8>, Error> {
    let stored = store::newest_verdict(&gate.db, module).await?;
    let stored = stored.ok_or(Error::VerdictMissing(module))?;
    gate.keys.sign_again(stored, attesters)?.ok_or(Error::VerdictMissing(module))
}

fn judge_tree(
    sandbox: &Sandbox,
    workspace: &Workspace,
    tree: &Tree,
    cancel: Arc<AtomicBool>,
    progress: &dyn Fn(&str),
) -> std::io::Result<Judged> {
    let Candidate { manifest, specs } = match judge::read(&workspace.pristine(), tree) {
        Ok(candidate) => candidate,
        Err(finding) => return Ok(Judged::unreadable(finding)),
    };
    let runner = ModuleRunner {
        sandbox,
        workspace,
        manifest: &manifest,
        strict_reads: true,
        variations: Variations::all(),
        case_limit: CASE_LIMIT,
        cancel,
    };
    let judgement = judge::judge(&runner, &specs, tree, progress)?;
    for warning in &judgement.warnings {
        tracing::warn!(module.id = manifest.id, "{warning}");
        progress(&format!("warning: {warning}"));
    }
    Ok(Judged {
        judgement,
        id: manifest.id,
        version: manifest.version,
        declared: manifest.side_effects,
    })
}

impl Judged {
    fn unreadable(finding: Finding) -> Self {
        let (id, version) = UNREADABLE;
        let judgement = Judgement { findings: vec![finding], ..Judgement::default() };
        Self { id: id.to_owned(), version: version.to_owned(), declared: Vec::new(), judgement }
    }
}

/// Signs the verdict and stores it with its event, in one transaction.
async fn conclude(
    gate: &Gate,
    module: Digest,
    lease: Lease,
    judged: Judged,
) -> Result<Vec<u8>, Error> {
    let judgement = &judged.judgement;
    judgement.observations.log();
    let finding = judgement.decisive();
    let issued_at = (gate.now)();
    let predicate = Shipping {
        module_digest: module,
        module_id: judged.id,
        module_version: judged.version,
        mode: Mode::Shipping,
        verdict: finding.map_or(Verdict::Pass, Finding::verdict),
        code: finding.map(|finding| finding.code),
        reason: finding.map(|finding| finding.reason.clone()),
        oracle: judgement.oracle,
        tests: judgement.tests,
        side_effects: judgement.observations.effects(&judged.declared),
        guard: judgement.observations.guard(),
        policy_digest: judge::policy_digest(
            true,
            gate.sandbox.processors.is_some(),
            &Variations::all(),
            &LIMITS,
        ),
        issued_at,
    };
    let data = GateData {
        run_id: None,
        attempt: None,
        module_digest: module,
        verdict: predicate.verdict,
        code: predicate.code,
    };
    let statement = ShippingStatement::new(predicate).map_err(Error::host("state the verdict"))?;
    let envelope = statement.sign(gate.keys.current()).to_json();
    let row = store::VerdictRow {
        verdict: data.verdict.to_string(),
        code: data.code.map(|code| code.to_string()),
        statement: envelope.clone(),
        at: issued_at,
    };
    let mut tx = chassis::postgres::begin(&gate.db).await?;
    judgements::finish(&mut tx, lease, data.verdict, &envelope).await?;
    store::insert_shipping_verdict(&mut tx, module, &row).await?;
    gate.publish_event(&mut tx, GateEvent::Shipped, &data, issued_at).await?;
    postgres::commit(tx).await?;
    tracing::info!(module.digest = %module, verdict = %data.verdict, "judged for shipping");
    Ok(envelope)
}
