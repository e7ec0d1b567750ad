//! Judgements that callers share and come back to (M10): oracles and shipping gates over stored
//! modules, and what `Ship` keeps.
//!
//! A judgement has a key: the digest of everything its result depends on. One process carries it
//! out under a lease and writes every step down; a caller that asks meanwhile, in whichever
//! process, reads the steps along. A PASS is kept and answered again. What is no PASS is answered
//! to those who waited for it, or come back for it by the number of its start, and is judged anew
//! for everybody else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use chassis::postgres;
use chassis::telemetry;
use seal::tree::Tree;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::sync::mpsc;
use tracing::Instrument as _;
use wire::digest::Digest;
use wire::event::{JudgementData, JudgementEvent};
use wire::statement::Verdict;

use crate::attest;
use crate::error::Error;
use crate::gate::Gate;
use crate::judging::finding::Finding;
use crate::judging::judge::{self, Judgement};
use crate::judging::oracle::{self, CASE_LIMIT, ModuleRunner};
use crate::local::gates::events::{Options, Sink};
use crate::local::gates::{self, GateRun, Mode};
use crate::local::modules::{Local, Reporter};
use crate::local::report::Report;
use crate::module::compose::Plan;
use crate::module::tree;
use crate::module::variation::Variations;
use crate::progress::Progress;
use crate::sandbox::workspace::Workspace;
use crate::sandbox::{LIMITS, SYSTEM_PATH};
use crate::store::judgements::{self, Ask, Claim, Lease};

/// How often those who wait for another's work look for steps.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a caller may leave a step unread while others wait behind it.
const READER_PATIENCE: Duration = Duration::from_secs(30);
/// Longest wall time of one test, in milliseconds.
const TEST_WALL_MS: u64 = 60_000;

/// What is to be judged.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// The oracle cases of a stored module.
    Oracles {
        /// The module.
        module: Digest,
        /// What attempts are varied in.
        variations: Variations,
    },
    /// A plan over stored modules.
    Gate {
        /// The plan's JSON as it came.
        compose: String,
        /// Overrides of it.
        overrides: Option<String>,
        /// The stored modules by their ids.
        modules: BTreeMap<String, Digest>,
        /// Whether oracle cases are run.
        with_oracles: bool,
    },
}

/// The result of a judgement, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// PASS, FAIL or INCONCLUSIVE.
    pub verdict: Verdict,
    /// Set unless it is a PASS.
    pub code: Option<String>,
    /// The whole result.
    pub summary: Value,
    /// DSSE envelopes around in-toto statements.
    pub statements: Vec<Value>,
}

/// What a caller that follows a judgement gets.
#[derive(Debug)]
pub enum Followed {
    /// A step: start, number, body.
    Step(i64, i32, String),
    /// The end, and whether it was kept from an earlier judgement.
    End(Box<Outcome>, bool),
}

impl Subject {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Oracles { .. } => "ORACLES",
            Self::Gate { .. } => "GATE",
        }
    }

    fn modules(&self) -> BTreeSet<Digest> {
        match self {
            Self::Oracles { module, .. } => BTreeSet::from([*module]),
            Self::Gate { modules, .. } => modules.values().copied().collect(),
        }
    }

    fn variations(&self) -> Variations {
        match self {
            Self::Oracles { variations, .. } => variations.clone(),
            Self::Gate { .. } => Variations::all(),
        }
    }
}

/// Digest of everything that the result of judging `subject` depends on.
///
/// # Errors
/// Never; the serializer's own otherwise.
pub fn key(gate: &Gate, subject: &Value, variations: &Variations) -> Result<Digest, Error> {
    let pinned = gate.sandbox.processors.is_some();
    let all = json!({
        "subject": subject,
        "policy": judge::policy_digest(true, pinned, variations, &LIMITS),
        "engine": gate.engine,
        // What a replaced key signed is not kept for those who accept its successor alone.
        "signer": wire::dsse::key_id(&gate.keys.current().verifying_key()),
    });
    wire::json::digest(&all).map_err(Error::host("hash what is to be judged"))
}

/// Judges `subject`, or follows the process that does, and hands every step after `after` to
/// `listener`; the end is what this answers. Work that is begun goes on when the listener has gone,
/// and waits for none.
///
/// # Errors
/// What is wrong with the request, the store or this service; what is wrong with a module is in the
/// outcome.
pub async fn judge(
    gate: &Gate,
    subject: Arc<Subject>,
    fresh: bool,
    resume: Option<(i64, i32)>,
    listener: &mpsc::Sender<Result<Followed, Error>>,
) -> Result<Followed, Error> {
    let text = serde_json::to_value(&*subject).map_err(Error::host("hash what is to be judged"))?;
    let key = key(gate, &text, &subject.variations())?;
    let mut ask = Ask { key, kind: subject.kind(), fresh, resume: resume.map(|(start, _)| start) };
    let mut after = resume.map_or(0, |(_, after)| after);
    loop {
        match judgements::claim(&gate.db, ask, gate.lease_ms()).await? {
            Claim::Finished { fence, result } => {
                let followed = follow(gate, key, fence, after, listener).await?;
                if !followed.is_whole {
                    return Err(Error::Interrupted("the caller did not read its steps in time"));
                }
                let outcome: Outcome =
                    serde_json::from_slice(&result).map_err(Error::host("read a kept result"))?;
                // It was kept from earlier, unless this very start was waited for.
                let kept = ask.resume != Some(fence);
                return Ok(Followed::End(Box::new(outcome), kept));
            }
            Claim::Granted(lease) => {
                // This call follows its own start now, from the first step; asking for a fresh one
                // is done.
                (ask.resume, ask.fresh, after) = (Some(lease.fence), false, 0);
                let (gate, subject) = (gate.clone(), Arc::clone(&subject));

                // A task of its own: a caller that reads slowly holds up nothing.
                let work = carry_out(gate.clone(), subject, lease);
                let mut begun = tokio::spawn(work.in_current_span());

                // The steps are read while the work goes on, as every other caller reads them.
                let result = loop {
                    tokio::select! {
                        result = &mut begun => {
                            break result.map_err(Error::host("wait for the judgement"))?;
                        }
                        () = tokio::time::sleep(LOOK_EVERY) => {
                            after = follow(&gate, key, lease.fence, after, listener).await?.after;
                        }
                    }
                };

                // A success is read back by the next turn of the loop, as every other caller reads
                // it.
                if let Err(error) = result {
                    // If this fails too the lease expires on its own.
                    let _ = judgements::release(&gate.db, lease).await;
                    return Err(error);
                }
            }
            Claim::Busy(fence) => {
                // Another start than the one followed so far: its steps are numbered anew.
                if ask.resume != Some(fence) {
                    (ask.resume, after) = (Some(fence), 0);
                }
                after = follow(gate, key, fence, after, listener).await?.after;
                if listener.is_closed() {
                    return Err(Error::Interrupted("the caller has gone away"));
                }
                gate.pause(LOOK_EVERY).await?;
            }
        }
    }
}

/// How far a judgement's steps were handed on.
struct Steps {
    /// The number of the last one.
    after: i32,
    /// Whether nothing that is there was left.
    is_whole: bool,
}

/// Hands on the steps that are there. What a caller does not read in time, or before this service
/// stops, is left for the next look.
async fn follow(
    gate: &Gate,
    key: Digest,
    fence: i64,
    mut after: i32,
    listener: &mpsc::Sender<Result<Followed, Error>>,
) -> Result<Steps, Error> {
    loop {
        let steps = judgements::steps_after(&gate.db, key, fence, after).await?;
        let more = steps.len() == judgements::STEPS_AT_ONCE;
        for (step, body) in steps {
            let place = tokio::select! {
                biased;
                place = listener.reserve() => place,
                () = tokio::time::sleep(READER_PATIENCE) => {
                    return Ok(Steps { after, is_whole: false });
                }
                () = gate.stop.cancelled() => return Ok(Steps { after, is_whole: false }),
            };
            // The caller has gone: nothing more is for anybody.
            let Ok(place) = place else { return Ok(Steps { after, is_whole: true }) };
            place.send(Ok(Followed::Step(fence, step, body)));
            after = step;
        }

        // Steps that are written after this look are of the next one.
        if !more {
            return Ok(Steps { after, is_whole: true });
        }
    }
}

/// Does the work under a lease that is kept alive meanwhile, and stores its result.
async fn carry_out(gate: Gate, subject: Arc<Subject>, lease: Lease) -> Result<(), Error> {
    let cancel = Arc::new(AtomicBool::new(false));
    let renewal = keep_lease(gate.clone(), lease, Arc::clone(&cancel));
    let renewal = tokio::spawn(renewal.in_current_span());

    // Unbounded, because a judgement has few steps and must not wait for the database to store
    // them.
    let (steps, written) = mpsc::unbounded_channel();
    let writer = write_steps(gate.clone(), lease, written);
    let writer = tokio::spawn(writer.in_current_span());
    let outcome = work(&gate, &subject, lease, &cancel, steps).await;
    renewal.abort();

    // All steps are there before the result is, so that who sees the result has seen them.
    let _ = writer.await;

    let outcome = outcome?;
    if cancel.load(Ordering::Relaxed) {
        return Err(Error::Interrupted("this service stops, or lost its lease"));
    }
    let bytes = serde_json::to_vec(&outcome).map_err(Error::host("write the result"))?;
    let mut tx = chassis::postgres::begin(&gate.db).await?;
    judgements::finish(&mut tx, lease, outcome.verdict, &bytes).await?;
    publish(&gate, &mut tx, &subject, lease, &outcome).await?;
    postgres::commit(tx).await?;
    tracing::info!(judgement = %lease.key, verdict = %outcome.verdict, "judged");
    Ok(())
}

/// Puts the event of every module of the judgement into the outbox, in the transaction that stores
/// the result.
async fn publish(
    gate: &Gate,
    conn: &mut PgConnection,
    subject: &Subject,
    lease: Lease,
    outcome: &Outcome,
) -> Result<(), Error> {
    let name = match subject {
        Subject::Oracles { .. } => JudgementEvent::OraclesJudged,
        Subject::Gate { .. } => JudgementEvent::PlanJudged,
    };
    let at = (gate.now)();

    // Sorted and each once: two ids of a plan may name the same bytes, and transactions that take
    // the places of several modules take them in one order.
    for module_digest in subject.modules() {
        let data = JudgementData {
            module_digest,
            judgement: lease.key,
            verdict: outcome.verdict,
            code: outcome.code.clone(),
        };
        gate.publish_event(conn, name, &data, at).await?;
    }
    Ok(())
}

/// Renews the lease until it is lost or the service stops; then ends the work.
pub(crate) async fn keep_lease(gate: Gate, lease: Lease, cancel: Arc<AtomicBool>) {
    let mut missed = 0;

    // As for executions: after three failures in a row a quarter of the lease is left to end the
    // work.
    while missed < 3 && gate.pause(gate.lease / 4).await.is_ok() {
        missed = match judgements::renew(&gate.db, lease, gate.lease_ms()).await {
            Ok(true) => 0,
            Ok(false) => 3,
            Err(error) => {
                let why = error.logged();
                tracing::warn!(judgement = %lease.key, "could not renew the lease: {why}");
                missed + 1
            }
        };
    }
    cancel.store(true, Ordering::Relaxed);
}

async fn write_steps(gate: Gate, lease: Lease, mut steps: mpsc::UnboundedReceiver<String>) {
    let number = AtomicI32::new(0);
    while let Some(body) = steps.recv().await {
        let step = number.fetch_add(1, Ordering::Relaxed) + 1;
        if let Err(error) = judgements::add_step(&gate.db, lease, step, &body).await {
            // Steps are for people who wait; the result does not rest on them.
            tracing::warn!(judgement = %lease.key, "could not store a step: {}", error.logged());
        }
    }
}

async fn work(
    gate: &Gate,
    subject: &Arc<Subject>,
    lease: Lease,
    cancel: &Arc<AtomicBool>,
    steps: mpsc::UnboundedSender<String>,
) -> Result<Outcome, Error> {
    // This progress has no reader: who waits for a judgement reads its steps.
    let _permit = gate.permit(&Progress::channel().0).await?;
    let name = format!("ship.judge-{}.{}", lease.key, lease.fence);
    let workspace = Workspace::create(&gate.sandbox.scratch, &name)
        .map_err(Error::host("make the scratch folder"))?;
    let (gate, cancel) = (gate.clone(), Arc::clone(cancel));
    match &**subject {
        Subject::Oracles { module, variations } => {
            let (module, variations) = (*module, variations.clone());
            let tree = tree::fetch(&*gate.store, module, &workspace.pristine()).await?;
            let job = move || oracles(&gate, &workspace, &tree, variations, cancel, &steps);
            blocking(job).await
        }
        Subject::Gate { modules, .. } => {
            let folder = workspace.extra("plan").map_err(Error::host("make a folder"))?;
            for (id, module) in modules {
                tree::fetch(&*gate.store, *module, &folder.join("modules").join(id)).await?;
            }
            let subject = Arc::clone(subject);
            blocking(move || plan(&gate, &folder, &subject, lease, cancel, &steps, workspace)).await
        }
    }
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(telemetry::in_current_span(job)).await;
    let done = done.map_err(Error::host("wait for the guard"))?;
    done.map_err(|error| Error::host("judge the modules")(error.into_boxed_dyn_error()))
}

/// A module's own cases, each with a step before and after.
fn oracles(
    gate: &Gate,
    workspace: &Workspace,
    tree: &Tree,
    variations: Variations,
    cancel: Arc<AtomicBool>,
    steps: &mpsc::UnboundedSender<String>,
) -> anyhow::Result<Outcome> {
    let digest = tree.digest();
    let say = |step: Value| drop(steps.send(step.to_string()));
    let candidate = match judge::read(&workspace.pristine(), tree) {
        Ok(candidate) => candidate,
        Err(finding) => {
            let judgement = Judgement { findings: vec![finding], ..Judgement::default() };
            let report = Report::new(digest.to_string(), Some(digest), &judgement);
            return outcome_of(gate, &report, &judgement);
        }
    };
    let runner = ModuleRunner {
        sandbox: &gate.sandbox,
        workspace,
        manifest: &candidate.manifest,
        strict_reads: true,
        variations,
        case_limit: CASE_LIMIT,
        cancel,
    };
    let mut judgement = Judgement::default();
    for case in candidate.specs.iter().flat_map(|spec| &spec.cases) {
        // An unfinished report is not stored: `carry_out` answers that the work was interrupted.
        if runner.cancelled() {
            break;
        }
        say(json!({ "event": "ORACLE_START", "case": case.name, "spec": case.spec }));
        let result = oracle::run(&runner, case, &mut judgement.observations)?;
        say(match &result.finding {
            None => json!({ "event": "ORACLE_PASS", "case": case.name,
                "attempts": result.attempts }),
            Some(finding) => json!({ "event": "ORACLE_FAIL", "case": case.name,
                "code": finding.code, "error": finding.reason }),
        });
        judgement.add(result);
    }
    let report = Report::new(candidate.manifest.id, Some(digest), &judgement);
    outcome_of(gate, &report, &judgement)
}

fn outcome_of(gate: &Gate, report: &Report, judgement: &Judgement) -> anyhow::Result<Outcome> {
    let statement = attest::test_result(
        &attest::module(&report.module, report.module_digest),
        judgement.decisive().map_or(Verdict::Pass, Finding::verdict),
        &report.cases,
        &report.test_results,
    );
    Ok(Outcome {
        verdict: report.verdict,
        code: report.code.map(|code| code.to_string()),
        summary: serde_json::to_value(report)?,
        statements: vec![attest::sign(&statement, gate.keys.current())?],
    })
}

/// A plan through the shipping gate; its events are the steps.
fn plan(
    gate: &Gate,
    folder: &Path,
    subject: &Subject,
    lease: Lease,
    cancel: Arc<AtomicBool>,
    steps: &mpsc::UnboundedSender<String>,
    // Held to the end: dropping it removes the folder.
    _workspace: Workspace,
) -> anyhow::Result<Outcome> {
    let Subject::Gate { compose, overrides, with_oracles, .. } = subject else {
        anyhow::bail!("this is no plan");
    };
    let compose_file = folder.join("compose.json");
    fs::write(&compose_file, compose)?;
    let overrides_file = folder.join("overrides.json");
    if let Some(overrides) = overrides {
        fs::write(&overrides_file, overrides)?;
    }
    let send = |event: &Value| drop(steps.send(event.to_string()));
    let quiet = |_: &str| {};
    let local = Local {
        sandbox: &gate.sandbox,
        strict_reads: true,
        variations: Variations::all(),
        case_limit: CASE_LIMIT,
        fail_fast: false,
        cancel,
        job: format!("ship.plan-{}.{}", lease.key, lease.fence),
        reporter: Reporter(&quiet),
    };
    let run = GateRun {
        mode: Mode::Shipping,
        compose: &compose_file,
        overrides: overrides.as_ref().map(|_| overrides_file.as_path()),
        modules_root: &folder.join("modules"),
        with_oracles: *with_oracles,
        specs: &[],
        own_specs_only: true,
        require_oracles: false,
        events: Options { sink: Some(Sink(&send)), ..Options::default() },
        hook: None,
        npm_pack: false,
        timeout_ms: TEST_WALL_MS,
        // Not the service's own PATH, on which the result must not depend.
        path: SYSTEM_PATH,
    };
    let summary = gates::run(&local, &run)?;
    let statements = attest::of_gate(&summary, (gate.now)())
        .iter()
        .map(|statement| attest::sign(statement, gate.keys.current()))
        .collect::<anyhow::Result<_>>()?;
    Ok(Outcome {
        verdict: summary.verdict.unwrap_or(Verdict::Inconclusive),
        code: summary.code.clone(),
        summary: serde_json::to_value(&summary)?,
        statements,
    })
}

/// Whether a plan can be judged at all: it is read before anything is accepted.
///
/// # Errors
/// [`Error::Invalid`] with every mistake.
pub fn check_plan(compose: &str, modules: &BTreeMap<String, Digest>) -> Result<(), Error> {
    let plan = Plan::parse("compose", compose.as_bytes())
        .map_err(|invalid| Error::Invalid(invalid.to_string()))?;
    let missing: Vec<&str> = plan
        .modules
        .iter()
        .map(|module| module.id.as_str())
        .filter(|id| !modules.contains_key(*id))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "modules: expected a manifest_hash for each module of the plan, there is none for {}",
        missing.join(", ")
    )))
}
