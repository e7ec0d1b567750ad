//! What the service says of itself: `/summary` and `/health`.

use chassis::Health;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::error::Result;
use crate::gateway::store;
use crate::gateway::view::rfc3339;
use crate::runs::signal::LastPoll;

/// What is configured, as the outside may know it.
#[derive(Debug, Clone)]
pub struct About {
    /// The runner's account.
    pub runner: String,
    /// The vault.
    pub contract_id: String,
    /// The agent registry.
    pub agent_registry_id: String,
    /// Which network.
    pub network_passphrase: String,
    /// The node, without credentials.
    pub rpc_url: String,
    /// How often workers look for work, in milliseconds.
    pub poll_interval_ms: u64,
    /// When a worker of this process last looked.
    pub last_poll: LastPoll,
}

/// `GET /summary`. `all` says whether the caller may know of every user's runs.
///
/// # Errors
///
/// When the database does not answer.
pub async fn summary(about: &About, db: &PgPool, all: bool) -> Result<Value> {
    Ok(json!({ "config": config(about), "status": status(about, db, all).await? }))
}

/// `GET /health`: the truth (R15). `false` if the service is not ready.
pub async fn health(health: &Health, about: &About, db: &PgPool, all: bool) -> (bool, Value) {
    let snapshot = health.snapshot();
    let status = status(about, db, all).await.unwrap_or_default();
    let body = json!({
        "ok": snapshot.ready,
        "degraded": snapshot.degraded,
        "draining": snapshot.draining,
        "checks": snapshot.checks,
        "status": status,
    });
    (snapshot.ready, body)
}

fn config(about: &About) -> Value {
    json!({
        "runner": about.runner,
        "contractId": about.contract_id,
        "agentRegistryId": about.agent_registry_id,
        "networkPassphrase": about.network_passphrase,
        "rpcUrl": about.rpc_url,
        "pollIntervalMs": about.poll_interval_ms,
    })
}

/// How much there is to do (R6). `queueDepth` counts runs that wait to be opened.
async fn status(about: &About, db: &PgPool, all: bool) -> Result<Value> {
    let load = store::load(db).await?;
    let age = load.oldest_at.map(|at| (chassis::clock::now() - at).whole_milliseconds().max(0));
    let mut status = json!({
        "queueDepth": load.queued,
        "running": load.running,
        "stuck": load.stuck,
        "escrowsOpen": load.escrows_open,
        "overdue": load.overdue,
    });
    let optional = [
        ("oldestAgeMs", age.and_then(|age| i64::try_from(age).ok()).map(Value::from)),
        ("activeRunId", load.active.filter(|_| all).map(|id| Value::from(id.to_string()))),
        ("lastTickAt", about.last_poll.last().map(|at| Value::from(rfc3339(at)))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            status[name] = value;
        }
    }
    Ok(status)
}
