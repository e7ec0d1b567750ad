//! Workers: claim runs, take their steps, keep the claims alive, give the runs back (R1).
//!
//! Any number of processes share one database. A worker that loses its claim stops at once; what it
//! was doing is safe to repeat, and its writes would be refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::telemetry;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::steps::{Next, RunDriver};
use crate::chain::follow::backoff;
use crate::error::{Error, Result};
use crate::metrics;
use crate::model::run::RunLease;
use crate::model::state::Lane;
use crate::runs::signal::{LastPoll, WorkSignal};
use crate::runs::store;

/// Works in `lane` on as many runs at one time as `workers` says, until `stop`. Looks for work every
/// `poll`, and when it is notified; what there is to do for free workers is claimed at once.
///
/// # Errors
///
/// Only when the network turned out to have another history (R13): the service must stop.
pub async fn work(
    driver: Arc<RunDriver>,
    (lane, workers): (Lane, usize),
    work_signal: WorkSignal,
    last_poll: LastPoll,
    poll: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let leases = Leases::default();
    let working = async {
        let mut driving = JoinSet::new();
        while !stop.is_cancelled() {
            last_poll.record();
            let free = workers.saturating_sub(driving.len());
            let claimed = if free > 0 { claim(&driver, lane, free).await } else { Vec::new() };
            // One that was claimed at a stop is driven, too: that gives it back.
            let may_be_more = !claimed.is_empty() && claimed.len() < free;
            for lease in claimed {
                let (driver, leases, stop) = (driver.clone(), leases.clone(), stop.clone());
                driving.spawn(async move { drive_run(&driver, &leases, lease, lane, &stop).await });
            }
            if may_be_more && driver.policy.places.is_limited() {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = driving.join_next() => {
                    finish(ended, &work_signal)?;
                    // Those that ended meanwhile leave room for the same claim.
                    while let Some(ended) = driving.try_join_next() {
                        finish(ended, &work_signal)?;
                    }
                }
                () = work_signal.notified(lane) => {}
                () = sleep(poll) => {}
            }
        }
        while let Some(ended) = driving.join_next().await {
            finish(ended, &work_signal)?;
        }
        Ok(())
    };
    tokio::select! {
        worked = working => worked,
        () = keep_alive(&driver, &leases) => Ok(()),
    }
}

/// A run waits for its call, or not.
type Parked = bool;

/// What follows from a run that was driven: it may go on in the other lane, or wait for a sender,
/// which may be one of another process.
fn finish(
    ended: std::result::Result<anyhow::Result<Parked>, JoinError>,
    work_signal: &WorkSignal,
) -> anyhow::Result<()> {
    let parked = ended??;
    work_signal.notify_all();
    if parked {
        work_signal.notify_others();
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

/// The claims of a process in one lane, each with what says that it is lost.
#[derive(Debug, Clone, Default)]
struct Leases(Arc<Mutex<HashMap<RunLease, CancellationToken>>>);

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

/// Keeps all claims alive, by one statement each time; says of those that are lost that they are.
async fn keep_alive(driver: &RunDriver, leases: &Leases) {
    let lease_ms = driver.policy.lease_ms;
    let mut beat = interval(Duration::from_millis(u64::try_from(lease_ms / 3).unwrap_or(1).max(1)));
    // A burst of late beats would prolong nothing.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let all = leases.all();
        if all.is_empty() {
            continue;
        }
        match store::heartbeat(&driver.db, &all, lease_ms).await {
            Ok(lost) => leases.lose(&lost),
            Err(error) => {
                let count = all.len();
                tracing::warn!("no sign of life of {count} runs was kept: {}", error.logged());
            }
        }
    }
}

/// Drives a claimed run until it waits, has ended, or is held by another worker.
async fn drive_run(
    driver: &RunDriver,
    leases: &Leases,
    lease: RunLease,
    lane: Lane,
    stop: &CancellationToken,
) -> anyhow::Result<Parked> {
    let kept = leases.keep(lease);
    let outcome = tokio::select! {
        outcome = steps(driver, lease, lane) => outcome,
        // Without the lease another worker may be at it already: every write would be refused.
        () = kept.lost.cancelled() => Err(Error::LeaseLost(lease.id)),
        // Steps can be cut off anywhere; the next process goes on from what is stored.
        () = stop.cancelled() => Ok(Next::Later(Duration::ZERO, String::new())),
    };
    let (delay, waiting_for) = match outcome {
        // It was let go of in the transaction that wanted its call.
        Ok(Next::Parked) => return Ok(true),
        // It was let go of in the transaction that ended it.
        Ok(Next::Ended) => return Ok(false),
        Ok(Next::Later(delay, why)) => (delay, why),
        Ok(Next::Again) => (Duration::ZERO, String::new()),
        Ok(Next::Operator(reason)) => {
            tracing::error!(run.id = %lease.id, "run {} needs an operator: {reason}", lease.id);
            hand_over(driver, lease, &reason).await;
            return Ok(false);
        }
        Err(Error::LeaseLost(id)) => {
            metrics::lease_lost();
            tracing::info!(run.id = %id, "run {id} is held by another worker now");
            return Ok(false);
        }
        Err(error @ Error::NetworkReset(_)) => {
            tracing::error!("{error}");
            return Err(error.into());
        }
        Err(error) => {
            tracing::warn!(run.id = %lease.id, "run {} waits: {}", lease.id, error.logged());
            (backoff(2), error.to_string())
        }
    };
    // Given back also after an error, so that another worker need not wait for the lease.
    let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    if let Err(error) = store::release(&driver.db, lease, delay_ms, &waiting_for).await {
        let id = lease.id;
        let why = error.logged();
        tracing::warn!(run.id = %id, "run {id} is given back when its lease ends: {why}");
    }
    Ok(false)
}

async fn steps(driver: &RunDriver, lease: RunLease, lane: Lane) -> Result<Next> {
    let span = span(driver, lease).await?;
    async {
        loop {
            let next = driver.step(lease, lane).await?;
            if !matches!(next, Next::Again) {
                return Ok(next);
            }
        }
    }
    .instrument(span)
    .await
}

/// A span that continues the trace the run was asked for under.
async fn span(driver: &RunDriver, lease: RunLease) -> Result<tracing::Span> {
    let mut conn = driver.db.acquire().await?;
    let snapshot = store::load(&mut conn, lease.id).await?.ok_or(Error::LeaseLost(lease.id))?;
    let span = tracing::info_span!("run", run.id = %lease.id, attempt = snapshot.run.attempt);
    telemetry::continue_trace(&snapshot.run.traceparent, &span);
    Ok(span)
}

async fn hand_over(driver: &RunDriver, lease: RunLease, reason: &str) {
    if let Err(error) = store::hand_over(&driver.db, lease, reason).await {
        // It is claimed again when its lease ends, and comes to the same.
        let (id, why) = (lease.id, error.logged());
        tracing::warn!(run.id = %id, "run {id} was not handed over: {why}");
    }
}
