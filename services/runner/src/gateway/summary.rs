//! What the service says of itself: `/summary` and `/health`.

use std::collections::BTreeMap;

use chassis::Health;
use chassis::health::Check;
use serde::Serialize;
use sqlx::PgPool;

use crate::error::Result;
use crate::gateway::store;
use crate::operations::intake::{self, PauseView};
use crate::runs::signal::LastPoll;
use crate::view::rfc3339;

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

/// What `GET /summary` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryView {
    /// What is configured.
    pub config: ConfigView,
    /// How much there is to do.
    pub status: StatusView,
}

/// What is configured, as the outside may know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigView {
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
}

/// How much there is to do (R6).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// Runs that wait to be opened, now.
    pub queue_depth: i64,
    /// Runs whose start lies in the future.
    pub scheduled: i64,
    /// Of those that wait to be opened, those for which their user or their agent has no place.
    pub limited: i64,
    /// Runs that are being worked on.
    pub running: i64,
    /// Runs that need a person, or wait for their deadline.
    pub stuck: i64,
    /// Runs whose escrow is open.
    pub escrows_open: i64,
    /// Runs that any worker could have taken for long, and none has.
    pub overdue: i64,
    /// For how long the oldest run waits, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_age_ms: Option<i64>,
    /// The run that was claimed last; only for those who see every run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_run_id: Option<String>,
    /// When a worker of this process last looked for work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_tick_at: Option<String>,
    /// Whether new runs of everybody are paused.
    pub intake_paused: bool,
    /// What an operator has paused. Pauses of single users, and who made a pause, are only for those
    /// who see every run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<PauseView>,
}

/// What `GET /health` answers.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthView {
    /// Everything that is needed answers.
    pub ok: bool,
    /// Something does not answer.
    pub degraded: bool,
    /// The runner was asked to stop.
    pub draining: bool,
    /// Each check by its name: `ok`, `needed`, `since` and, where it failed, `detail`.
    #[schema(value_type = Object)]
    pub checks: BTreeMap<String, Check>,
    /// How much there is to do; null while the database does not answer.
    pub status: Option<StatusView>,
}

/// `GET /summary`. `all` says whether the caller may know of every user's runs.
///
/// # Errors
///
/// When the database does not answer.
pub async fn summary(about: &About, db: &PgPool, all: bool) -> Result<SummaryView> {
    Ok(SummaryView { config: config(about), status: status(about, db, all).await? })
}

/// `GET /health`: the truth (R15), as it is after the database was asked for `status`.
pub fn health(health: &Health, status: Option<StatusView>) -> HealthView {
    let snapshot = health.snapshot();
    HealthView {
        ok: snapshot.ready,
        degraded: snapshot.degraded,
        draining: snapshot.draining,
        checks: snapshot.checks,
        status,
    }
}

fn config(about: &About) -> ConfigView {
    ConfigView {
        runner: about.runner.clone(),
        contract_id: about.contract_id.clone(),
        agent_registry_id: about.agent_registry_id.clone(),
        network_passphrase: about.network_passphrase.clone(),
        rpc_url: about.rpc_url.clone(),
        poll_interval_ms: about.poll_interval_ms,
    }
}

/// How much there is to do. `all` as for [`summary`].
///
/// # Errors
///
/// When the database does not answer.
pub async fn status(about: &About, db: &PgPool, all: bool) -> Result<StatusView> {
    let load = store::load(db).await?;
    let age = load.oldest_at.map(|at| (chassis::clock::now() - at).whole_milliseconds().max(0));
    let mut pauses = intake::list(db).await?;
    if !all {
        pauses.retain(|pause| pause.scope != "user");
        pauses.iter_mut().for_each(|pause| pause.paused_by = None);
    }
    Ok(StatusView {
        queue_depth: load.queued,
        scheduled: load.scheduled,
        limited: load.limited,
        running: load.running,
        stuck: load.stuck,
        escrows_open: load.escrows_open,
        overdue: load.overdue,
        oldest_age_ms: age.and_then(|age| i64::try_from(age).ok()),
        active_run_id: load.active.filter(|_| all).map(|id| id.to_string()),
        last_tick_at: about.last_poll.last().map(rfc3339),
        intake_paused: pauses.iter().any(|pause| pause.scope == "all"),
        pauses,
    })
}
