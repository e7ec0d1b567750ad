//! What `/health`, `/ready` and grpc.health.v1 say about this service (R15).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::{Bus, Health, Service};
use sqlx::{Connection as _, PgConnection, PgPool};
use stellar::{Address, Rpc};
use tokio::time::timeout;
use wire::{Digest, NetworkId, Problem, RunId};

use crate::chain::outcomes::Shortage;
use crate::chain::shortages::Shortages;
use crate::chain::store as chain_store;
use crate::error::Error;
use crate::gates::Gates;
use crate::gateway::intake::Intake;
use crate::gateway::store::{self, Load, OVERDUE_SECS};
use crate::metrics;
use crate::operations::{intake as pauses, nodes, watch};
use crate::sight::{self, Followed};
use crate::signer::ChainKeys;

const EVERY: Duration = Duration::from_secs(2);
/// Counting runs costs more than asking whether something answers.
const EVERY_LOAD: Duration = Duration::from_secs(5);
/// How long runs may be counted, and how long it may take to find who locks them: both together are
/// less than a probe has.
const LOAD_TIMEOUT: Duration = Duration::from_secs(2);
/// What a channel has changes by its fees only.
const EVERY_CHANNELS: Duration = Duration::from_secs(10);
/// Nodes may count requests, also those that are asked only when another fails.
const EVERY_NODES: Duration = Duration::from_secs(10);
/// How long one node may take: all are asked at one time, and a probe has a little more.
const NODE_TIMEOUT: Duration = Duration::from_secs(4);

/// What is watched beside Postgres and NATS.
#[derive(Debug)]
pub struct ProbeTargets {
    /// Where runs are kept.
    pub db: PgPool,
    /// The node.
    pub rpc: Arc<Rpc>,
    /// The gates, if there are any.
    pub gates: Option<Gates>,
    /// Learns how many runs wait.
    pub intake: Intake,
    /// What the engine found lacking, in a process that has one.
    pub shortages: Option<Shortages>,
    /// Which contracts' events are followed.
    pub followed: Followed,
    /// The accounts that pay for transactions, in a process that has their keys.
    pub channels: Vec<Address>,
    /// The keys, in a process some of whose keys a token keeps.
    pub signers: Option<ChainKeys>,
    /// What each channel has to have at least, in stroops.
    pub channel_least: i64,
}

/// Watches everything the service needs.
pub fn spawn(service: &Service, health: &Health, bus: &Bus, watched: ProbeTargets) {
    let ProbeTargets {
        db,
        rpc,
        gates,
        intake,
        shortages,
        followed,
        channels,
        signers,
        channel_least,
    } = watched;
    health.watch_postgres(service, &db);
    health.watch_nats(service, bus);
    // Nothing is read of another network, whichever node has the turn.
    rpc.expect_network(followed.network);
    health.want("rpc").set_by("rpc", "RUNNER_RPC_URL");

    let clock_rpc = rpc.clone();
    let probe = move || {
        let rpc = clock_rpc.clone();
        async move { rpc.clock().await.map(drop).map_err(|error| error.to_string()) }
    };
    service.spawn("probe rpc", health.clone().watch("rpc", EVERY, service.stop(), probe));
    spawn_nodes(service, health, (&db, &rpc), followed.network);

    if !channels.is_empty() {
        health.want("channels");
        let (channel_db, channel_rpc) = (db.clone(), rpc.clone());
        let probe = move || {
            let (db, rpc) = (channel_db.clone(), channel_rpc.clone());
            let channels = channels.clone();
            async move { watch::channels((Some(&db), &rpc), &channels, channel_least).await }
        };
        let watch = health.clone().watch("channels", EVERY_CHANNELS, service.stop(), probe);
        service.spawn("probe channels", watch);
    }
    if let Some(keys) = signers {
        health.want("signer");
        let probe = move || {
            let keys = keys.clone();
            async move { keys.check().await }
        };
        let watch = health.clone().watch("signer", EVERY_LOAD, service.stop(), probe);
        service.spawn("probe signer", watch);
    }
    health.want("events");
    let events_db = db.clone();
    let probe = move || {
        let (db, followed) = (events_db.clone(), followed.clone());
        async move {
            let position = sight::store::position(&db, &followed).await;
            let position = position.map_err(|error| error.to_string())?;
            metrics::record_read_position(position.gaps, position.behind);
            position.check()
        }
    };
    let watch = health.clone().watch("events", EVERY_LOAD, service.stop(), probe);
    service.spawn("probe events", watch);

    health.want("work");
    // Between two runs of one worker none is held for a moment: a stall is one that lasts.
    let has_stalled = Arc::new(AtomicBool::new(false));
    let met = shortages.clone();
    let probe = move || {
        let (db, intake, met) = (db.clone(), intake.clone(), met.clone());
        let has_stalled = has_stalled.clone();
        async move {
            // A transaction that waits for a lock waits longer than a probe may take.
            let load = match timeout(LOAD_TIMEOUT, store::load(&db)).await {
                Ok(Ok(load)) => load,
                Ok(Err(error)) => return Err(with_lock(&db, error.to_string()).await),
                Err(_) => {
                    let words = "the runs in Postgres cannot be counted in time";
                    return Err(with_lock(&db, words.to_owned()).await);
                }
            };
            // At once: a run that was accepted since it was counted is missing until the next count.
            intake.observe(&load);
            let measured = store::transaction_ms(&db).await.map_err(|error| error.to_string())?;
            intake.observe_transactions(measured);
            let executions = store::executions(&db).await.map_err(|error| error.to_string())?;
            intake.observe_executions(&executions);
            metrics::record_load(&load.by_state(), load.oldest_at);
            let waiting = watch::waiting(&db).await.map_err(|error| error.to_string())?;
            metrics::record_waiting(&waiting.by_status, waiting.unknown, waiting.overdue_escrows);
            let pauses = pauses::list(&db).await.map_err(|error| error.to_string())?;
            let scopes: Vec<_> = pauses.iter().map(|pause| pause.scope.as_str()).collect();
            metrics::record_pauses(&scopes);
            if let Some(met) = &met {
                for kind in Shortage::ALL {
                    metrics::record_shortage(kind.name(), met.holds(kind));
                }
            }
            let answer = moving(&load);
            match (has_stalled.swap(answer.is_err(), Ordering::Relaxed), answer) {
                (true, Err(stalled)) => Err(with_lock(&db, stalled).await),
                _ => Ok(()),
            }
        }
    };
    service.spawn("probe work", health.clone().watch("work", EVERY_LOAD, service.stop(), probe));
    if let Some(shortages) = shortages {
        health.want("chain");
        let probe = move || {
            let shortages = shortages.clone();
            async move { shortages.check() }
        };
        service.spawn("probe chain", health.clone().watch("chain", EVERY, service.stop(), probe));
    }
    if let Some(gates) = &gates {
        spawn_gates(service, health, gates);
    }
}

/// Watches every node separately: the one that has the turn, and those that wait for it.
fn spawn_nodes(
    service: &Service,
    health: &Health,
    (db, rpc): (&PgPool, &Arc<Rpc>),
    network: NetworkId,
) {
    health.want("nodes");
    let (db, rpc) = (db.clone(), rpc.clone());
    let probe = move || {
        let (db, rpc) = (db.clone(), rpc.clone());
        async move {
            // Without it they are compared with each other; the database has a check of its own.
            let known = chain_store::high_water(&db, network).await.unwrap_or_default();
            // Without what landed, which is a large answer: the reader of events asks for that.
            let reports = nodes::look(&rpc, network, (known, None), NODE_TIMEOUT).await;
            nodes::record(&reports);
            nodes::check(&reports)
        }
    };
    let watch = health.clone().watch("nodes", EVERY_NODES, service.stop(), probe);
    service.spawn("probe nodes", watch);
}

/// The same words, and who keeps locks on runs, if somebody does.
async fn with_lock(db: &PgPool, words: String) -> String {
    let asking = async {
        // Every connection of the pool may be waiting for that very lock.
        let mut own = PgConnection::connect_with(&db.connect_options()).await.ok()?;
        let found = watch::oldest_lock(&mut own).await.ok()?;
        // Whether the server hears of the end changes nothing about what was found.
        let _ = own.close().await;
        found
    };
    match timeout(LOAD_TIMEOUT, asking).await {
        Ok(Some(lock)) => format!("{words}; {lock}"),
        Ok(None) | Err(_) => words,
    }
}

/// Whether work that waits is also taken. Runs that wait while every worker is busy are a long
/// queue; runs that wait while no worker holds any mean that nothing moves at all.
fn moving(load: &Load) -> Result<(), String> {
    if load.overdue == 0 || load.held > 0 {
        return Ok(());
    }
    Err(format!(
        "{} runs wait for more than {OVERDUE_SECS} s and no worker takes them: \
         see the log of the workers and the locks in Postgres",
        load.overdue
    ))
}

fn spawn_gates(service: &Service, health: &Health, gates: &Gates) {
    health.want("module-gate").set_by("module-gate", "RUNNER_MODULE_GATE_URL");
    health.want("oracle-gate").set_by("oracle-gate", "RUNNER_ORACLE_GATE_URL");
    let module = gates.clone();
    let probe = move || {
        let gates = module.clone();
        async move { is_reachable(gates.execution(probe_run_id(), 1).await.map(drop)) }
    };
    service.spawn(
        "probe module-gate",
        health.clone().watch("module-gate", EVERY, service.stop(), probe),
    );
    let oracle = gates.clone();
    let probe = move || {
        let gates = oracle.clone();
        async move { is_reachable(gates.module(Digest::of(b"")).await) }
    };
    service.spawn(
        "probe oracle-gate",
        health.clone().watch("oracle-gate", EVERY, service.stop(), probe),
    );
}

/// Asks both gates once.
///
/// # Errors
///
/// Which of them does not answer, or refuses this service's token.
pub async fn reach_gates(gates: &Gates) -> Result<(), String> {
    let module = is_reachable(gates.execution(probe_run_id(), 1).await.map(drop));
    module.map_err(|error| format!("RUNNER_MODULE_GATE_URL: {error}"))?;
    let oracle = is_reachable(gates.module(Digest::of(b"")).await);
    oracle.map_err(|error| format!("RUNNER_ORACLE_GATE_URL: {error}"))
}

/// The id of a run that never exists: asking for it shows whether the gate answers and accepts
/// this service's token.
fn probe_run_id() -> RunId {
    RunId::from(uuid::Uuid::nil())
}

/// A refusal by name is an answer, except that of a token.
fn is_reachable(answer: crate::error::Result<()>) -> Result<(), String> {
    match answer {
        Ok(()) => Ok(()),
        Err(Error::Gate { problem: Some(problem), .. })
            if !matches!(
                problem,
                Problem::Unauthenticated | Problem::Unavailable | Problem::Internal
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_nobody_takes_is_noticed_and_a_long_queue_is_not() {
        let load = |overdue, held| Load {
            queued: overdue,
            scheduled: 0,
            limited: 0,
            running: 0,
            stuck: 0,
            escrows_open: 0,
            oldest_at: None,
            overdue,
            held,
            active: None,
        };
        assert!(moving(&load(0, 0)).is_ok() && moving(&load(9, 4)).is_ok());
        assert!(moving(&load(9, 0)).unwrap_err().contains("9 runs"));
    }
}
