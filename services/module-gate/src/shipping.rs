//! Shipping verdicts: judges a stored module by its digest and signs what came out (R8).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use seal::tree::Tree;
use wire::digest::Digest;
use wire::event::{GateData, GateEvent};
use wire::statement::{Mode, Shipping, ShippingStatement, Verdict};

use crate::error::Error;
use crate::gate::Gate;
use crate::judging::finding::Finding;
use crate::judging::judge::{self, Candidate, Judgement};
use crate::judging::oracle::{CASE_LIMIT, ModuleRunner};
use crate::module::tree;
use crate::module::variation::Variations;
use crate::progress::Progress;
use crate::sandbox::Sandbox;
use crate::sandbox::workspace::Workspace;
use crate::store;

/// What a module that cannot be read is called in its verdict.
const UNREADABLE: (&str, &str) = ("unreadable", "0.0.0");

/// How a module was judged, and what it says of itself.
struct Judged {
    id: String,
    version: String,
    declared: Vec<String>,
    judgement: Judgement,
}

/// Judges the stored module and stores the signed verdict.
///
/// # Errors
/// Any [`Error`] that is about this service, the store or the request; what is wrong with the
/// module is in the statement.
pub async fn ship(gate: &Gate, module: Digest, progress: &Progress) -> Result<Vec<u8>, Error> {
    let _permit = gate.permit(progress).await?;
    progress.report("copying", "fetching the module by its digest");
    let job = format!("ship.{module}.{}", (gate.now)().unix_timestamp_nanos());
    let workspace = Workspace::create(&gate.sandbox.scratch, &job)
        .map_err(Error::host("make the scratch folder"))?;
    let tree = tree::fetch(&*gate.store, module, &workspace.pristine()).await?;
    let cancel = Arc::new(AtomicBool::new(false));
    let (sandbox, stop, listener) = (gate.sandbox.clone(), Arc::clone(&cancel), progress.clone());
    let work = move || {
        judge_tree(&sandbox, &workspace, &tree, stop, &|step| listener.report("judging", step))
    };
    let mut working = tokio::task::spawn_blocking(work);
    let judged = tokio::select! {
        judged = &mut working => judged,
        () = gate.stop.cancelled() => {
            cancel.store(true, Ordering::Relaxed);
            working.await
        }
    };
    if cancel.load(Ordering::Relaxed) {
        return Err(Error::Interrupted("this service stops"));
    }
    let judged = judged
        .map_err(Error::host("wait for the guard"))?
        .map_err(Error::host("judge the module"))?;
    conclude(gate, module, judged).await
}

/// The newest conclusive verdict on a module.
///
/// # Errors
/// [`Error::VerdictMissing`] if there is none.
pub async fn verdict(gate: &Gate, module: Digest) -> Result<Vec<u8>, Error> {
    store::newest_verdict(&gate.db, module).await?.ok_or(Error::VerdictMissing(module))
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
async fn conclude(gate: &Gate, module: Digest, judged: Judged) -> Result<Vec<u8>, Error> {
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
    let envelope = statement.sign(&gate.key).to_json();
    let row = store::Verdict {
        verdict: data.verdict.to_string(),
        code: data.code.map(|code| code.to_string()),
        statement: envelope.clone(),
        at: issued_at,
    };
    let mut tx = chassis::postgres::begin(&gate.db).await?;
    store::shipped(&mut tx, module, &row).await?;
    gate.publish_event(&mut tx, GateEvent::Shipped, &data, issued_at).await?;
    tx.commit().await?;
    tracing::info!(module.digest = %module, verdict = %data.verdict, "judged for shipping");
    Ok(envelope)
}
