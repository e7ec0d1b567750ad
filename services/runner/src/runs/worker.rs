//! Workers: claim runs, take their steps, keep the claims alive, give the runs back (R1).
//!
//! Any number of processes share one database. A worker that loses its claim stops at once; what it
//! was doing is safe to repeat, and its writes would be refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chassis::telemetry;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::steps::{Next, RunDriver};
use crate::chain::follow::backoff;
use crate::error::{Error, Result};
use crate::metrics;
use crate::model::run::{Run, RunLease};
use crate::model::state::Lane;
use crate::runs::signal::{LastPoll, WorkSignal};
use crate::runs::store;

/// After how many defects in a row a run goes to an operator. With the pauses between them that is
/// about four minutes.
pub const MOST_DEFECTS: u32 = 20;

/// How often an engine says how many modules it runs at one time.
const SERVING: Duration = Duration::from_secs(5);

/// Works in `lane` on as many runs at one time as `workers` says, until `stop`. Looks for work every
/// `poll`, and when it is notified; what there is to do for free workers is claimed at once.
///
/// # Errors
///
/// Only when the network turned out to have another history (R13): the service must stop.
pub async fn work(
    driver: Arc<RunDriver>,
    (lane, workers): (Lane, usize),
    leases: Leases,
    work_signal: WorkSignal,
    last_poll: LastPoll,
    poll: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut driving = JoinSet::new();
    while !stop.is_cancelled() {
        last_poll.record();
        let free = workers.saturating_sub(driving.len());
        let notifications = work_signal.notifications(lane);
        let claimed = if free > 0 { claim(&driver, lane, free).await } else { Vec::new() };
        let has_none = driving.is_empty() && claimed.is_empty();
        work_signal.looked(lane, notifications, has_none);
        // One that was claimed at a stop is driven, too: that gives it back.
        let may_be_more = !claimed.is_empty() && claimed.len() < free;
        for lease in claimed {
            let (driver, work_signal) = (driver.clone(), work_signal.clone());
            let (kept, stop) = (leases.keep(lease), stop.clone());
            driving.spawn(async move {
                let driven = drive_run(&driver, &kept, lane, &work_signal, &stop).await;
                // The run may go on in the other lane, or wait for a sender. In this lane more
                // is claimed as soon as a run has ended.
                work_signal.notify(lane.other());
                work_signal.wake_senders();
                driven
            });
        }
        if may_be_more && driver.policy.places.is_limited() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = driving.join_next() => {
                ended??;
                // Those that ended meanwhile leave room for the same claim.
                while let Some(ended) = driving.try_join_next() {
                    ended??;
                }
            }
            () = work_signal.notified(lane) => {}
            () = sleep(poll) => {}
        }
    }
    while let Some(ended) = driving.join_next().await {
        ended??;
    }
    Ok(())
}

async fn claim(driver: &RunDriver, lane: Lane, most: usize) -> Vec<RunLease> {
    let (owner, lease_ms) = (&driver.chain.owner, driver.policy.lease_ms);
    let runner = driver.chain.runner.address().to_string();
    let places = driver.policy.places;
    store::claim(&driver.db, (owner, &runner), lease_ms, lane, places, most).await.unwrap_or_else(
        |error| {
            tracing::warn!("runs can't be claimed: {}", error.logged());
            Vec::new()
        },
    )
}

/// The claims of a process, each with what says that it is lost. Copies share them.
#[derive(Debug, Clone, Default)]
pub struct Leases(Arc<Mutex<HashMap<RunLease, CancellationToken>>>);

impl Leases {
    /// Keeps it alive until what is answered is dropped.
    fn keep(&self, lease: RunLease) -> KeptLease {
        let lost = CancellationToken::new();
        self.locked().insert(lease, lost.clone());
        KeptLease { leases: self.clone(), lease, lost }
    }

    fn all(&self) -> Vec<RunLease> {
        self.locked().keys().copied().collect()
    }

    fn lose(&self, lost: &[RunLease]) {
        let leases = self.locked();
        for lease in lost.iter().filter_map(|lease| leases.get(lease)) {
            lease.cancel();
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<RunLease, CancellationToken>> {
        // Every change of it is one call: a panic leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A claim that is kept alive.
struct KeptLease {
    leases: Leases,
    lease: RunLease,
    lost: CancellationToken,
}

impl Drop for KeptLease {
    fn drop(&mut self) {
        self.leases.locked().remove(&self.lease);
    }
}

/// Keeps the claims of a process alive, by one statement each time, until `stop`; says of those that
/// are lost that they are. It also says how many modules this process runs at one time.
///
/// # Errors
///
/// Never: a claim that could not be kept alive is another worker's in the end.
pub async fn keep_alive(
    driver: Arc<RunDriver>,
    leases: Leases,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let lease_ms = driver.policy.lease_ms;
    let mut served_at: Option<Instant> = None;
    let mut beat = interval(Duration::from_millis(u64::try_from(lease_ms / 3).unwrap_or(1).max(1)));
    // A burst of late beats would prolong nothing.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.cancelled() => break,
        }
        let all = leases.all();
        if !all.is_empty() {
            match store::heartbeat(&driver.db, &all, lease_ms).await {
                Ok(lost) => leases.lose(&lost),
                Err(error) => {
                    let count = all.len();
                    tracing::warn!("no sign of life of {count} runs was kept: {}", error.logged());
                }
            }
        }
        if driver.gates.is_some() && served_at.is_none_or(|at| at.elapsed() >= SERVING) {
            let executions = driver.policy.lookahead().executions;
            match store::serve_executions(&driver.db, &driver.chain.owner, executions).await {
                Ok(()) => served_at = Some(Instant::now()),
                Err(error) => {
                    tracing::warn!("no engine knows of the executors here: {}", error.logged());
                }
            }
        }
    }
    // Otherwise they count until they were not seen for a while.
    if served_at.is_some()
        && let Err(error) = store::end_executions(&driver.db, &driver.chain.owner).await
    {
        tracing::debug!("the executors here count for a while: {}", error.logged());
    }
    Ok(())
}

/// Drives a claimed run until it waits, has ended, or is held by another worker.
async fn drive_run(
    driver: &RunDriver,
    kept: &KeptLease,
    lane: Lane,
    work_signal: &WorkSignal,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let lease = kept.lease;
    let span = OnceLock::new();
    let outcome = tokio::select! {
        outcome = steps(driver, lease, lane, &span) => outcome,
        // Without the lease another worker may be at it already: every write would be refused.
        () = kept.lost.cancelled() => Err(Error::LeaseLost(lease.id)),
        // Steps can be cut off anywhere; the next process goes on from what is stored.
        () = stop.cancelled() => Ok(Next::Later(Duration::ZERO, String::new())),
    };
    // Of a run that could not be read, the trace is not known either.
    let span = span.into_inner().unwrap_or_else(Span::none);
    conclude(driver, lease, work_signal, outcome).instrument(span).await
}

/// Says what became of a run that was driven, and gives it back unless it was let go of.
async fn conclude(
    driver: &RunDriver,
    lease: RunLease,
    work_signal: &WorkSignal,
    outcome: Result<Next>,
) -> anyhow::Result<()> {
    let (delay, waiting_for) = match outcome {
        // It was let go of in the transaction that wanted its call, for which a sender of another
        // process may be free.
        Ok(Next::Parked) => {
            work_signal.notify_others();
            return Ok(());
        }
        // It was let go of in the transaction that ended it.
        Ok(Next::Ended) => return Ok(()),
        Ok(Next::Later(delay, why)) => (delay, why),
        Ok(Next::Again) => (Duration::ZERO, String::new()),
        Ok(Next::Operator(reason)) => {
            tracing::error!(run.id = %lease.id, "run {} needs an operator: {reason}", lease.id);
            hand_over(driver, lease, &reason).await;
            return Ok(());
        }
        Err(Error::LeaseLost(id)) => {
            metrics::lease_lost();
            tracing::info!(run.id = %id, "run {id} is held by another worker now");
            return Ok(());
        }
        Err(error @ Error::NetworkReset(_)) => {
            tracing::error!("{error}");
            return Err(error.into());
        }
        Err(error) => {
            tracing::warn!(run.id = %lease.id, "run {} waits: {}", lease.id, error.logged());
            lapses_unless(lease, retry_later(driver, lease, &error).await);
            return Ok(());
        }
    };
    let released = store::release(&driver.db, lease, milliseconds(delay), &waiting_for).await;
    lapses_unless(lease, released);
    Ok(())
}

/// Gives a run back whose step failed, so that another worker need not wait for the lease. What is
/// away is waited for however long it is, with pauses that grow. A defect is not mended by waiting:
/// after some in a row an operator has to look.
async fn retry_later(driver: &RunDriver, lease: RunLease, error: &Error) -> Result<()> {
    let failures = store::failures(&driver.db, lease).await?;
    let (pause_ms, words) = (milliseconds(backoff(failures.all)), error.to_string());
    if !matches!(error, Error::Broken(_)) {
        return store::release(&driver.db, lease, pause_ms, &words).await;
    }
    let defects = failures.defects.saturating_add(1);
    if defects < MOST_DEFECTS {
        return store::release_defective(&driver.db, lease, pause_ms, &words).await;
    }
    let reason = format!(
        "a defect, met {defects} times in a row: {words}; the run is not ended; resume it \
         with a release that can go on with it"
    );
    tracing::error!(run.id = %lease.id, "run {} needs an operator: {reason}", lease.id);
    hand_over(driver, lease, &reason).await;
    Ok(())
}

/// Says of a run that was not given back that it is when its lease ends.
fn lapses_unless(lease: RunLease, given_back: Result<()>) {
    if let Err(error) = given_back {
        let (id, why) = (lease.id, error.logged());
        tracing::warn!(run.id = %id, "run {id} is given back when its lease ends: {why}");
    }
}

fn milliseconds(pause: Duration) -> i64 {
    i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
}

/// Takes steps of a run in its span, which `span` is given as soon as it is known.
async fn steps(
    driver: &RunDriver,
    lease: RunLease,
    lane: Lane,
    span: &OnceLock<Span>,
) -> Result<Next> {
    let loaded = span_of(&load(driver, lease).await?);
    let span = span.get_or_init(|| loaded);
    async {
        loop {
            let next = driver.step(lease, lane).await?;
            if !matches!(next, Next::Again) {
                return Ok(next);
            }
        }
    }
    .instrument(span.clone())
    .await
}

async fn load(driver: &RunDriver, lease: RunLease) -> Result<Run> {
    let mut conn = driver.db.acquire().await?;
    let snapshot = store::load(&mut conn, lease.id).await?;
    snapshot.map(|snapshot| snapshot.run).ok_or(Error::LeaseLost(lease.id))
}

/// A span that continues the trace the run was asked for under.
pub(crate) fn span_of(run: &Run) -> Span {
    let span = tracing::info_span!("run", run.id = %run.id, attempt = run.attempt);
    telemetry::continue_trace(&run.traceparent, &span);
    span
}

async fn hand_over(driver: &RunDriver, lease: RunLease, reason: &str) {
    if let Err(error) = store::hand_over(&driver.db, lease, reason).await {
        // It is claimed again when its lease ends, and comes to the same.
        let (id, why) = (lease.id, error.logged());
        tracing::warn!(run.id = %id, "run {id} was not handed over: {why}");
    }
}
