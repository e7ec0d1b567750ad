//! What an operator orders over HTTP: pauses of the intake, and what is to become of dead letters.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::{Problem, RunId};

use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::gateway::market::within;
use crate::gateway::{Gateway, Shared, create_request, operator, run_id, too_large};
use crate::operations::dead_letters::{self, DeadLetter};
use crate::operations::intake::{self, PauseView, Scope};
use crate::sight::proof::Evidence;

/// How long an order may wait for the node; what it was about to do is safe to repeat.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is paused or resumed: new runs of one agent, of one user, or of everybody.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PauseOrder {
    /// Only new runs of this agent.
    agent: Option<u32>,
    /// Only new runs that this account (G… or C…) pays for.
    user: Option<String>,
    /// Why, in at most 500 characters: callers who are refused are shown it. Not for a resume.
    reason: Option<String>,
}

/// Lists what new runs are paused.
#[utoipa::path(get, path = "/operator/intake", tag = "operator",
    responses((status = 200, body = Vec<PauseView>, description = "The widest pause first.")),
)]
pub async fn pauses(State(gateway): Shared, caller: Caller) -> Result<Json<Vec<PauseView>>> {
    operator::check(&caller)?;
    Ok(Json(intake::list(&gateway.commands.db).await?))
}

/// Pauses new runs. Runs that were accepted go on.
#[utoipa::path(post, path = "/operator/intake/pause", tag = "operator",
    request_body = PauseOrder,
    responses((status = 200, body = Vec<PauseView>, description = "What is paused now.")),
)]
pub async fn pause(
    State(gateway): Shared,
    caller: Caller,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Vec<PauseView>>> {
    operator::check(&caller)?;
    let order: PauseOrder = read(&body.map_err(too_large)?)?;
    let scope = Scope::read(order.agent, order.user.as_deref())?;
    let reason = intake::read_reason(order.reason.as_deref())?;
    intake::pause(&gateway.commands.db, &scope, &reason, &who(&caller)).await?;
    Ok(Json(intake::list(&gateway.commands.db).await?))
}

/// Accepts new runs again.
#[utoipa::path(post, path = "/operator/intake/resume", tag = "operator",
    request_body = PauseOrder,
    responses((status = 200, body = Vec<PauseView>, description = "What is still paused.")),
)]
pub async fn resume(
    State(gateway): Shared,
    caller: Caller,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Vec<PauseView>>> {
    operator::check(&caller)?;
    let order: PauseOrder = read(&body.map_err(too_large)?)?;
    if order.reason.is_some() {
        let text = "reason: a resume has none";
        return Err(Error::refused(Problem::InvalidRequest, text));
    }
    let scope = Scope::read(order.agent, order.user.as_deref())?;
    if !intake::resume(&gateway.commands.db, &scope, &who(&caller)).await? {
        let text = format!("{scope} are not paused; GET /operator/intake lists what is");
        return Err(Error::refused(Problem::NotFound, text));
    }
    Ok(Json(intake::list(&gateway.commands.db).await?))
}

/// Why a dead letter is given up.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiscardOrder {
    /// Why, in at most 500 characters; kept with the run.
    reason: Option<String>,
}

/// What came of an order.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderView {
    /// The run.
    run: RunId,
    /// `started`: workers carry it out; `ended`: the run has ended, as it is proven.
    outcome: &'static str,
    /// In words.
    text: String,
}

/// Shows a run that no worker can go on with, and what is proven about it.
#[utoipa::path(get, path = "/operator/dead-letters/{id}", tag = "operator",
    params(("id" = String, Path, description = "The run.")),
    responses((status = 200, body = DeadLetter, description = "The run, and what can be done.")),
)]
pub async fn dead_letter(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<DeadLetter>> {
    operator::check(&caller)?;
    let found = within(PATIENCE, dead_letters::show(&evidence(&gateway), run_id(&id)?)).await?;
    found.map(Json).ok_or_else(|| Error::refused(Problem::NotFound, "Run not found"))
}

/// Lets workers go on with a dead letter; what is proven to have ended ends.
#[utoipa::path(post, path = "/operator/dead-letters/{id}/replay", tag = "operator",
    params(("id" = String, Path, description = "The run.")),
    responses((status = 200, body = OrderView, description = "What came of it.")),
)]
pub async fn replay(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<OrderView>> {
    operator::check(&caller)?;
    let run = gateway.commands.find(run_id(&id)?).await?.run.id;
    let prefix = &gateway.commands.nats_prefix;
    let outcome = within(PATIENCE, dead_letters::replay(&evidence(&gateway), prefix, run)).await?;
    let (outcome, text) = dead_letters::answered(outcome, Problem::RunNotRetryable)?;
    tracing::warn!(run.id = %run, by = who(&caller), "run {run} was replayed: {text}");
    Ok(Json(OrderView { run, outcome, text }))
}

/// Gives a dead letter up; what the vault holds of it goes back to its user.
#[utoipa::path(post, path = "/operator/dead-letters/{id}/discard", tag = "operator",
    params(("id" = String, Path, description = "The run.")),
    request_body = DiscardOrder,
    responses((status = 200, body = OrderView, description = "What came of it.")),
)]
pub async fn discard(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<OrderView>> {
    operator::check(&caller)?;
    let order: DiscardOrder = read(&body.map_err(too_large)?)?;
    let reason = intake::read_reason(order.reason.as_deref())?;
    let run = gateway.commands.find(run_id(&id)?).await?.run.id;
    let prefix = &gateway.commands.nats_prefix;
    let outcome =
        within(PATIENCE, dead_letters::discard(&evidence(&gateway), prefix, run, &reason)).await?;
    let (outcome, text) = dead_letters::answered(outcome, Problem::RunNotCancellable)?;
    tracing::warn!(run.id = %run, by = who(&caller), "run {run} was discarded: {text}");
    Ok(Json(OrderView { run, outcome, text }))
}

/// What proofs are read from.
fn evidence(gateway: &Gateway) -> Evidence<'_> {
    Evidence { db: &gateway.commands.db, rpc: &gateway.market.rpc, followed: &gateway.followed }
}

/// Who orders it, as it is kept.
fn who(caller: &Caller) -> String {
    caller.account().map_or_else(|| "operator".to_owned(), |(account, _)| account.to_string())
}

/// An order. The derived readers take an array for an object: an order for everybody.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    create_request::body_members(body)?;
    serde_json::from_slice(body).map_err(|error| {
        Error::refused(Problem::InvalidRequest, format!("the body cannot be read: {error}"))
    })
}
