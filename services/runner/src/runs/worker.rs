//! Workers: claim a run, take its steps, keep the claim alive, give it back (R1).
//!
//! Any number of workers in any number of processes share one database. A worker that loses its
//! claim stops at once; what it was doing is safe to repeat, and its writes would be refused.

use std::sync::Arc;
use std::time::Duration;

use chassis::telemetry;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::steps::{Engine, Next, backoff};
use crate::error::{Error, Result};
use crate::gateway::summary::LastPoll;
use crate::runs::run::RunLease;
use crate::runs::store;

/// Wakes workers of this process when there is something to do, so that they need not poll for it.
#[derive(Debug, Clone, Default)]
pub struct WorkSignal(Arc<Notify>);

impl WorkSignal {
    /// Wakes one worker.
    pub fn notify(&self) {
        self.0.notify_one();
    }
}

/// Works until `stop`. Looks for work every `poll`, or when `bell` rings.
///
/// # Errors
///
/// Only when the network turned out to have another history (R13): the service must stop.
pub async fn work(
    engine: Arc<Engine>,
    bell: WorkSignal,
    pulse: LastPoll,
    poll: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        pulse.record();
        match store::claim(&engine.db, &engine.ledger.owner, engine.rules.lease_ms).await {
            Ok(Some(held)) => {
                // There may be more where this came from.
                bell.notify();
                drive_run(&engine, held, &stop).await?;
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("runs can't be claimed: {error}"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = bell.0.notified() => {}
            () = sleep(poll) => {}
        }
    }
    Ok(())
}

/// Tends a claimed run until it waits, has ended, or is held by somebody else.
async fn drive_run(
    engine: &Engine,
    held: RunLease,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let outcome = tokio::select! {
        outcome = steps(engine, held) => outcome,
        () = lease_lost(engine, held) => Err(Error::LeaseLost(held.id)),
        // Steps can be cut off anywhere; the next process goes on from what is stored.
        () = stop.cancelled() => Ok(Next::Later(Duration::ZERO, String::new())),
    };
    let (delay, why) = match outcome {
        Ok(Next::Later(delay, why)) => (delay, why),
        Ok(Next::Ended | Next::Again) => (Duration::ZERO, String::new()),
        Ok(Next::Operator(reason)) => {
            tracing::error!(run.id = %held.id, "run {} needs an operator: {reason}", held.id);
            return hand_over(engine, held, &reason).await;
        }
        Err(Error::LeaseLost(id)) => {
            tracing::info!(run.id = %id, "run {id} is held by somebody else now");
            return Ok(());
        }
        Err(error @ Error::NetworkReset(_)) => {
            tracing::error!("{error}");
            return Err(error.into());
        }
        Err(error) => {
            tracing::warn!(run.id = %held.id, "run {} waits: {error}", held.id);
            (backoff(2), error.to_string())
        }
    };
    let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    if let Err(error) = store::release(&engine.db, held, delay_ms, &why).await {
        tracing::warn!(run.id = %held.id, "run {} is given back when its lease ends: {error}", held.id);
    }
    Ok(())
}

async fn steps(engine: &Engine, held: RunLease) -> Result<Next> {
    let span = span(engine, held).await?;
    async {
        loop {
            let next = engine.step(held).await?;
            if !matches!(next, Next::Again) {
                return Ok(next);
            }
        }
    }
    .instrument(span)
    .await
}

/// A span that continues the trace the run was asked for under.
async fn span(engine: &Engine, held: RunLease) -> Result<tracing::Span> {
    let mut conn = engine.db.acquire().await?;
    let it = store::load(&mut conn, held.id).await?.ok_or(Error::LeaseLost(held.id))?;
    let span = tracing::info_span!("run", run.id = %held.id, attempt = it.run.attempt);
    telemetry::continue_trace(&it.run.traceparent, &span);
    Ok(span)
}

/// Keeps the claim alive; ends when it is lost.
async fn lease_lost(engine: &Engine, held: RunLease) {
    let lease_ms = engine.rules.lease_ms;
    let mut beat = interval(Duration::from_millis(u64::try_from(lease_ms / 3).unwrap_or(1).max(1)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        match store::heartbeat(&engine.db, held, lease_ms).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(run.id = %held.id, "no sign of life was kept: {error}"),
        }
    }
}

async fn hand_over(engine: &Engine, held: RunLease, reason: &str) -> anyhow::Result<()> {
    if let Err(error) = store::hand_over(&engine.db, held, reason).await {
        // It is claimed again when its lease ends, and comes to the same.
        tracing::warn!(run.id = %held.id, "run {} was not handed over: {error}", held.id);
    }
    Ok(())
}
