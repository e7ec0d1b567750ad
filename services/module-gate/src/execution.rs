//! One attempt of a run, executed once and stated once (R11, M12).
//!
//! The row exists before anything runs. The holder of its lease executes; the others wait for the
//! row. A holder that dies leaves a lease that lapses, and the next call starts again from nothing:
//! scratch and staging of the attempt are wiped first. Only the newest holder can store a
//! statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::postgres;
use chassis::telemetry;
use time::OffsetDateTime;
use tracing::Instrument as _;
use wire::Digest;
use wire::event::{GateData, GateEvent};
use wire::settlement::SettlementSignature;
use wire::statement::{ExecutionStatement, Exit};

use crate::error::Error;
use crate::gate::Gate;
use crate::judging::attempt::{self, Attempt, WallLimit};
use crate::metrics;
use crate::module::tree;
use crate::progress::Progress;
use crate::request::Request;
use crate::sandbox::outlet::Way;
use crate::sandbox::workspace::Workspace;
use crate::store::{self, Claim, Lease};
use crate::upstreams::Asker;

/// How often a caller that waits for another process's execution looks at its row.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The attempt's statement: stored already, or made now, or by the process that executes it.
///
/// # Errors
/// Any [`Error`]; the same call may be made again.
pub async fn execute(
    gate: &Gate,
    request: Arc<Request>,
    progress: &Progress,
) -> Result<Vec<u8>, Error> {
    let digest = request.digest()?;
    loop {
        match store::claim(&gate.db, request.key, digest, request.module, gate.lease_ms()).await? {
            Claim::Finished(statement) => return Ok(statement),
            Claim::Granted(lease) => {
                return execute_under_lease(gate, request, lease, progress).await;
            }
            // A caller that only waits may leave; the execution goes on.
            Claim::Busy if progress.gone() => {
                return Err(Error::Interrupted("the caller has gone away"));
            }
            Claim::Busy => progress.report("attached", "another call executes this attempt"),
        }
        gate.pause(LOOK_EVERY).await?;
    }
}

/// Executes under a lease that is kept alive meanwhile, and given back if there is no result.
async fn execute_under_lease(
    gate: &Gate,
    request: Arc<Request>,
    lease: Lease,
    progress: &Progress,
) -> Result<Vec<u8>, Error> {
    let cancel = Arc::new(AtomicBool::new(false));
    let renewal = keep_lease(gate.clone(), lease, Arc::clone(&cancel));
    let renewal = tokio::spawn(renewal.in_current_span());
    let result = perform(gate, request, lease, &cancel, progress).await;
    // Only after the end: a lease that lapsed meanwhile would let another process start.
    renewal.abort();
    if result.is_err() {
        // If this fails too the lease expires on its own.
        let _ = store::release(&gate.db, lease).await;
    }
    result
}

/// Renews the lease until it is lost or the service stops; then ends the module.
async fn keep_lease(gate: Gate, lease: Lease, cancel: Arc<AtomicBool>) {
    let mut missed = 0;
    // A quarter of the lease each: after three failures in a row one quarter is left to end the
    // module in, before another process may start it.
    while missed < 3 && gate.pause(gate.lease / 4).await.is_ok() {
        missed = match store::renew(&gate.db, lease, gate.lease_ms()).await {
            Ok(true) => 0,
            Ok(false) => 3,
            Err(error) => {
                let why = error.logged();
                tracing::warn!(run.id = %lease.key.run, "could not renew the lease: {why}");
                missed + 1
            }
        };
    }
    cancel.store(true, Ordering::Relaxed);
}

async fn perform(
    gate: &Gate,
    request: Arc<Request>,
    lease: Lease,
    cancel: &Arc<AtomicBool>,
    progress: &Progress,
) -> Result<Vec<u8>, Error> {
    // Nothing is executed that could not be settled afterwards.
    gate.keys.accepted_by(&request.attesters)?;
    let _permit = gate.permit(progress).await?;
    progress.report("copying", "fetching the module by its digest");
    let (run, number) = (request.key.run, request.key.attempt);
    let workspace = Workspace::create(&gate.sandbox.scratch, &format!("{}.{number}", run.simple()));
    let workspace = workspace.map_err(Error::host("make the scratch folder"))?;
    tree::fetch(&*gate.store, request.module, &workspace.pristine()).await?;
    // A start that was interrupted may have staged some of its outputs.
    tree::wipe_staging(&*gate.store, run, number).await?;
    // Taken after the wait for a place and the copying, which are no part of the run.
    let started_at = (gate.now)();
    let limit = WallLimit::of(&request, started_at)?;
    progress.report("running", "the module runs in the guard");
    let (sandbox, ended, stop) = (gate.sandbox.clone(), Arc::clone(&request), Arc::clone(cancel));
    let asker = Asker::Run { module: request.module, agent: request.agent };
    let way = Way::Live { asker, records: false };
    let job = move || attempt::run(&sandbox, &workspace, &ended, (limit, way), stop);
    let done = tokio::task::spawn_blocking(telemetry::in_current_span(job)).await;
    let done = done.map_err(Error::host("wait for the guard"))?;
    let done = done.map_err(Error::host("run the module"))?;

    let (egress, is_free) = (done.egress.clone(), done.is_inconclusive());
    let stated = deliver(gate, &request, lease, done, started_at, (cancel, progress)).await;
    // What is not stated, or stated as our failure, no run pays. The service bills it anyway.
    metrics::count_calls(egress.as_ref(), stated.is_ok() && !is_free);
    stated
}

/// Why an execution for `agent` would be refused a service that the module names, by the operator's
/// file as it is now. Asked before a run is opened, so that nothing is escrowed for a run that
/// cannot be executed.
///
/// # Errors
/// [`Error::ModuleUnknown`] if the module is not stored, and what else reading it fails with.
pub async fn refused_upstream(
    gate: &Gate,
    module: Digest,
    agent: u32,
) -> Result<Option<String>, Error> {
    let Some(manifest) = tree::read_manifest(&*gate.store, module).await? else { return Ok(None) };
    let asker = Asker::Run { module, agent: Some(agent) };
    Ok(gate.sandbox.allowed.routes(&manifest.upstreams, asker).err())
}

/// Stages what an execution left and states it, if this process may still do so.
async fn deliver(
    gate: &Gate,
    request: &Request,
    lease: Lease,
    mut done: Attempt,
    started_at: OffsetDateTime,
    (cancel, progress): (&AtomicBool, &Progress),
) -> Result<Vec<u8>, Error> {
    let (run, number) = (request.key.run, request.key.attempt);
    if cancel.load(Ordering::Relaxed) {
        return Err(Error::Interrupted("this service stops, or lost its lease"));
    }
    // A holder that slept through its lease must not write where the next one does.
    if !store::renew(&gate.db, lease, gate.lease_ms()).await? {
        return Err(Error::Interrupted("its lease was lost"));
    }
    progress.report("staging", "storing what it left");
    for output in &mut done.outputs {
        let content = std::mem::take(&mut output.content);
        tree::stage(&*gate.store, run, number, &output.path, content).await?;
    }
    conclude(gate, request, lease, done, started_at).await
}

/// Signs what happened and stores it with its event, in one transaction.
async fn conclude(
    gate: &Gate,
    request: &Request,
    lease: Lease,
    done: Attempt,
    started_at: OffsetDateTime,
) -> Result<Vec<u8>, Error> {
    // The clock may have been set back; no execution ends before it began.
    let finished_at = (gate.now)().max(started_at);
    done.observations.log();
    let key = gate.keys.accepted_by(&request.attesters)?;
    let mut predicate = attempt::state(request, done, started_at, finished_at);
    // What never ran costs nothing, not even a fee (V16). The usage is within the pinned budgets.
    // Of an execution that neither passed nor used its budget up it has the calls alone (E7).
    if predicate.exit != Exit::Refused {
        predicate.settlement =
            predicate.settled().map(|settled| SettlementSignature::sign(key, &settled));
    }
    let data = GateData {
        run_id: Some(request.key.run),
        attempt: Some(request.key.attempt),
        module_digest: request.module,
        verdict: predicate.verdict,
        code: predicate.code,
    };
    let statement =
        ExecutionStatement::new(predicate).map_err(Error::host("state the execution"))?;
    let envelope = statement.sign(key).to_json();
    let row = store::VerdictRow {
        verdict: data.verdict.to_string(),
        code: data.code.map(|code| code.to_string()),
        statement: envelope.clone(),
        at: finished_at,
    };
    let mut tx = chassis::postgres::begin(&gate.db).await?;
    store::finish(&mut tx, lease, &row).await?;
    gate.publish_event(&mut tx, GateEvent::Executed, &data, finished_at).await?;
    postgres::commit(tx).await?;
    tracing::info!(run.id = %request.key.run, attempt = request.key.attempt,
        verdict = %data.verdict, "executed");
    Ok(envelope)
}
