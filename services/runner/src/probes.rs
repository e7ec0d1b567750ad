//! What `/health`, `/ready` and grpc.health.v1 tell of this service (R15).

use std::sync::Arc;
use std::time::Duration;

use chassis::{Bus, Health, Service, postgres};
use sqlx::PgPool;
use stellar::Rpc;
use wire::{Digest, Problem, RunId};

use crate::error::Error;
use crate::gates::Gates;

const EVERY: Duration = Duration::from_secs(2);

/// Watches everything the service needs or wants.
pub fn spawn(
    service: &Service,
    health: &Health,
    db: &PgPool,
    rpc: &Arc<Rpc>,
    gates: Option<&Gates>,
    bus: &Bus,
) {
    health.need("database").want("nats").want("rpc");
    let db = db.clone();
    let probe = move || {
        let db = db.clone();
        async move { postgres::probe(&db).await }
    };
    let watch = health.clone().watch("database", EVERY, service.stop(), probe);
    service.spawn("probe database", watch);

    let bus = bus.clone();
    let probe = move || std::future::ready(bus.probe());
    service.spawn("probe nats", health.clone().watch("nats", EVERY, service.stop(), probe));

    let rpc = rpc.clone();
    let probe = move || {
        let rpc = rpc.clone();
        async move { rpc.clock().await.map(drop).map_err(|error| error.to_string()) }
    };
    service.spawn("probe rpc", health.clone().watch("rpc", EVERY, service.stop(), probe));
    if let Some(gates) = gates {
        spawn_gates(service, health, gates);
    }
}

fn spawn_gates(service: &Service, health: &Health, gates: &Gates) {
    health.want("module-gate").want("oracle-gate");
    let module = gates.clone();
    let probe = move || {
        let gates = module.clone();
        async move { answers(gates.execution(nobody(), 1).await.map(drop)) }
    };
    service.spawn(
        "probe module-gate",
        health.clone().watch("module-gate", EVERY, service.stop(), probe),
    );
    let oracle = gates.clone();
    let probe = move || {
        let gates = oracle.clone();
        async move { answers(gates.module(Digest::of(b"")).await) }
    };
    service.spawn(
        "probe oracle-gate",
        health.clone().watch("oracle-gate", EVERY, service.stop(), probe),
    );
}

/// A run there never is: asking for it tells whether the gate answers, and knows our token.
fn nobody() -> RunId {
    RunId::from(uuid::Uuid::nil())
}

/// A refusal by name is an answer, except that of a token.
fn answers(answer: crate::error::Result<()>) -> Result<(), String> {
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
