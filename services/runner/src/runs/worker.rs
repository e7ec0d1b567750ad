//! Workers: claim a run, take its steps, keep the claim alive, give it back (R1).
//!
//! Any number of workers in any number of processes share one database. A worker that loses its
//! claim stops at once; what it was doing is safe to repeat, and its writes would be refused.

use std::sync::Arc;
use std::time::Duration;

use chassis::telemetry;
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

/// Works in `lane` until `stop`. Looks for work every `poll`, and when it is notified.
///
/// # Errors
///
/// Only when the network turned out to have another history (R13): the service must stop.
pub async fn work(
    driver: Arc<RunDriver>,
    lane: Lane,
    work_signal: WorkSignal,
    last_poll: LastPoll,
    poll: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        last_poll.record();
        match claim(&driver, lane).await {
            Ok(Some(lease)) => {
                // There may be more where this came from.
                work_signal.notify(lane);
                drive_run(&driver, lease, lane, &stop).await?;
                // The run may go on in the other lane, or wait for a sender.
                work_signal.notify_all();
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("runs can't be claimed: {}", error.logged()),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = work_signal.notified(lane) => {}
            () = sleep(poll) => {}
        }
    }
    Ok(())
}

async fn claim(driver: &RunDriver, lane: Lane) -> Result<Option<RunLease>> {
    let (owner, lease_ms) = (&driver.chain.owner, driver.policy.lease_ms);
    let runner = driver.chain.runner.address().to_string();
    store::claim(&driver.db, (owner, &runner), lease_ms, lane, driver.policy.places).await
}

/// Drives a claimed run until it waits, has ended, or is held by another worker.
async fn drive_run(
    driver: &RunDriver,
    lease: RunLease,
    lane: Lane,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let outcome = tokio::select! {
        outcome = steps(driver, lease, lane) => outcome,
        // Without the lease another worker may be at it already: every write would be refused.
        () = lease_lost(driver, lease) => Err(Error::LeaseLost(lease.id)),
        // Steps can be cut off anywhere; the next process goes on from what is stored.
        () = stop.cancelled() => Ok(Next::Later(Duration::ZERO, String::new())),
    };
    let (delay, waiting_for) = match outcome {
        // It was let go of in the transaction that wanted its call.
        Ok(Next::Parked) => return Ok(()),
        Ok(Next::Later(delay, why)) => (delay, why),
        Ok(Next::Ended | Next::Again) => (Duration::ZERO, String::new()),
        Ok(Next::Operator(reason)) => {
            tracing::error!(run.id = %lease.id, "run {} needs an operator: {reason}", lease.id);
            return hand_over(driver, lease, &reason).await;
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

/// Keeps the claim alive; ends when it is lost.
async fn lease_lost(driver: &RunDriver, lease: RunLease) {
    let lease_ms = driver.policy.lease_ms;
    let mut beat = interval(Duration::from_millis(u64::try_from(lease_ms / 3).unwrap_or(1).max(1)));
    // A burst of late beats would prolong nothing.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        match store::heartbeat(&driver.db, lease, lease_ms).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(run.id = %lease.id, "no sign of life was kept: {}", error.logged());
            }
        }
    }
}

async fn hand_over(driver: &RunDriver, lease: RunLease, reason: &str) -> anyhow::Result<()> {
    if let Err(error) = store::hand_over(&driver.db, lease, reason).await {
        // It is claimed again when its lease ends, and comes to the same.
        let (id, why) = (lease.id, error.logged());
        tracing::warn!(run.id = %id, "run {id} was not handed over: {why}");
    }
    Ok(())
}
