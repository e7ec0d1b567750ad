//! Workers: claim runs, take their steps, keep the claims alive, give the runs back (R1).
//!
//! Any number of processes share one database. A worker that loses its claim stops at once; what it
//! was doing is safe to repeat, and its writes would be refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::telemetry;
use tokio::task::JoinSet;
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
        let claimed = if free > 0 { claim(&driver, lane, free).await } else { Vec::new() };
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
/// are lost that they are.
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
    let mut beat = interval(Duration::from_millis(u64::try_from(lease_ms / 3).unwrap_or(1).max(1)));
    // A burst of late beats would prolong nothing.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
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
    kept: &KeptLease,
    lane: Lane,
    work_signal: &WorkSignal,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let lease = kept.lease;
    let outcome = tokio::select! {
        outcome = steps(driver, lease, lane) => outcome,
        // Without the lease another worker may be at it already: every write would be refused.
        () = kept.lost.cancelled() => Err(Error::LeaseLost(lease.id)),
        // Steps can be cut off anywhere; the next process goes on from what is stored.
        () = stop.cancelled() => Ok(Next::Later(Duration::ZERO, String::new())),
    };
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
    Ok(())
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
