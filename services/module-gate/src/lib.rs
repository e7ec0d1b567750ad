//! module-gate runs untrusted module code in the guard and signs what the kernel saw.
//!
//! It promises:
//!
//! - One attempt of a run has one statement. The row exists before anything runs; the same call
//!   attaches or gets the stored bytes, another request under it is refused (R11, [`execution`]).
//! - What runs is what was asked for: the module's tree is fetched by digest, copied, and the
//!   copy's digest recomputed ([`module::tree`]).
//! - A verdict comes from what the guard saw, violations first; a failing run is free unless its
//!   budget ran out (M1, M2, R10, [`judging::finding`]).
//! - A shipping verdict needs a valid manifest, tests that pass and an oracle case that repeats
//!   equal (R8, [`judging::judge`], [`judging::oracle`]).
//!
//! Reading order: the documents that a module brings ([`module`]); starting one program
//! ([`sandbox`]), and the services that it may use ([`upstreams`]); judging a module ([`judging`]);
//! the commands that need no service ([`local`], [`cli`]); the service: its settings and what every
//! call shares ([`config`], [`gate`], [`store`]), a run's execution ([`request`], [`execution`]),
//! shipping verdicts ([`shipping`]), the way in ([`grpc`]).

pub mod module;
pub mod upstreams;
pub mod sandbox;
pub mod judging;
pub mod config;
pub mod keys;
pub mod error;
pub mod store;
pub mod gate;
pub mod progress;
pub mod metrics;
pub mod request;
pub mod execution;
pub mod attest;
pub mod judgement;
pub mod shipping;
pub mod grpc;
pub mod local;
pub mod cli;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use chassis::grpc::Server;
use chassis::{Bus, Health, Service, clock, outbox, postgres, process, service};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use wire::pb::module::v1::module_gate_server::ModuleGateServer;

use crate::config::{Config, NODE, SCRATCH, STORE};
use crate::gate::Gate;
use crate::grpc::Calls;
use crate::sandbox::{Sandbox, look_up};

/// A request carries an input of at most 8 MiB.
const MAX_MESSAGE_BYTES: usize = request::MAX_INPUT_BYTES + (64 << 10);

/// Makes the sandbox ready, before the process is confined.
///
/// # Errors
/// With the name of the setting that cannot be used.
pub fn prepare_sandbox(config: &Config) -> anyhow::Result<Sandbox> {
    let made = Sandbox::new(&config.scratch, &config.node, &config.path, config.pin_processors);
    // A program that is there can be used, or copied into the folder: then the folder is wrong.
    let wrong = if look_up(&config.node, &config.path).is_some() { SCRATCH } else { NODE };
    let mut sandbox = made.map_err(|error| anyhow::anyhow!("{wrong}: {error}"))?;
    sandbox.allowed = Arc::new(config.upstreams.clone());
    sandbox::node::version(&sandbox.node).map_err(|wrong| anyhow::anyhow!("{NODE}: {wrong}"))?;
    process::check_writable(SCRATCH, &sandbox.scratch)?;

    // Of jobs whose process died, no other process is left to remove the folders.
    sandbox::workspace::sweep(&sandbox.scratch)
        .with_context(|| format!("{SCRATCH}: cannot remove old jobs"))?;
    Ok(sandbox)
}

/// Starts the service's tasks on `service` and answers where it listens.
///
/// # Errors
/// With the name of the setting that cannot be used.
pub async fn start(
    config: &Config,
    sandbox: Sandbox,
    service: &Service,
) -> anyhow::Result<SocketAddr> {
    // The port first, so that a second instance ends before it touches store and database.
    let bound = service::bind(config.bind, "MODULE_GATE_BIND")?;
    let address = bound.address();
    let store = module::tree::open(&config.store).context(STORE)?;
    let bus = Bus::connect(config.nats_url.expose(), &config.nats_prefix).await?;
    let db = postgres::connect(config.database_url.expose()).await?;
    store::migrate(&db).await.context("DATABASE_URL: cannot bring the schema up to date")?;
    let engine = gate::engine(&sandbox).context(NODE)?;
    let stop = service.stop();
    let gate = Gate {
        db: db.clone(),
        store: Arc::new(store),
        sandbox,
        keys: Arc::new(config.attestation.clone()),
        prefix: config.nats_prefix.clone(),
        permits: Arc::new(Semaphore::new(config.concurrency)),
        lease: config.lease,
        stop: stop.clone(),
        now: clock::now,
        engine,
    };
    tracing::info!(
        "statements are signed by key {}",
        wire::dsse::key_id(&config.attestation.current().verifying_key())
    );
    metrics::prepare();
    let health = Health::new();
    health.watch_postgres(service, &db);
    health.watch_nats(service, &bus);
    let stream = bus.clone().provide(wire::event::Family::Gate, stop.clone());
    service.spawn("stream", stream);
    service.spawn("outbox", outbox::relay(db, bus, stop.clone()));

    // Calls work in tasks of their own; the service ends when the last has given its lease back.
    let work = TaskTracker::new();
    let calls = ModuleGateServer::new(Calls::new(gate, work.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let server = Server::new(&config.tokens, &health).add_service(calls);
    service.spawn("grpc", server.serve(bound.listen()?, stop.clone()));
    service.spawn("work", async move {
        stop.cancelled().await;
        work.close();
        work.wait().await;
        Ok(())
    });
    Ok(address)
}
