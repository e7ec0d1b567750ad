//! Routes beside those of runs: offers of the chain, the operator's views, and the document by
//! which a console finds its gateway.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use wire::Problem;
use wire::receipts::ReceiptsDocument;

use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::gates::CheckedView;
use crate::gateway::market::{AgentDetails, AgentView, GrantView, MOST_AGENTS, QuoteView};
use crate::gateway::operator::{
    self, ModuleView, QueueView, ReconciliationView, RowsQuery, SealedView, WorkView,
};
use crate::gateway::receipts::{self, ReceiptsQuery};
use crate::gateway::{
    AttemptQuery, Shared, attempt_of, create_request, oracle_gate, page, read_query, too_large,
};

/// What `GET /config.json` answers: all that a console has to know before anybody logs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleConfig {
    /// Which network, for wallets.
    pub network_passphrase: String,
    /// A node that browsers may ask; absent where none is named.
    pub rpc_url: Option<String>,
    /// The vault.
    pub contract_id: String,
    /// The agent registry.
    pub agent_registry_id: String,
    /// The token in the vault's custody; absent while the node does not answer.
    pub token: Option<String>,
    /// This runner's account: whom a grant is for.
    pub runner: String,
    /// Stroops that this runner asks for a run.
    pub runner_fee: String,
    /// Where the routes are, from this document; empty: beside it.
    pub api_base: String,
    /// `login` where callers log in, else `none`.
    pub auth: String,
    /// The contract by which contract accounts log in (SEP-45); absent where they cannot.
    pub web_auth_contract_id: Option<String>,
    /// SHA-256 of the code of accounts for passkeys; absent where the console makes none.
    pub passkey_wasm_hash: Option<String>,
    /// This gateway's version.
    pub version: String,
}

/// What a list of agents is asked with.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AgentsQuery {
    /// At most this many, from 1 to 100.
    pub limit: Option<String>,
    /// From the header `Link` of the page before.
    pub cursor: Option<String>,
}

/// Says what a console has to know before anybody logs in.
#[utoipa::path(get, path = "/config.json", tag = "service",
    responses((status = 200, body = ConsoleConfig, description = "For a console.")),
)]
pub async fn config(State(gateway): Shared) -> Response {
    let (about, market) = (&gateway.about, &gateway.market);
    let config = ConsoleConfig {
        network_passphrase: about.network_passphrase.clone(),
        rpc_url: gateway.browser_rpc_url.clone(),
        contract_id: about.contract_id.clone(),
        agent_registry_id: about.agent_registry_id.clone(),
        token: market.token().await.map(str::to_owned),
        runner: about.runner.clone(),
        runner_fee: market.fee.to_string(),
        api_base: String::new(),
        auth: if gateway.access.is_login() { "login".to_owned() } else { "none".to_owned() },
        web_auth_contract_id: gateway.access.web_auth().map(|contract| contract.to_string()),
        passkey_wasm_hash: gateway.passkey_wasm_hash.map(|hash| hash.to_string()),
        version: chassis::version().to_owned(),
    };
    let fresh = [(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    (fresh, Json(config)).into_response()
}

/// Says the highest price of a run before anything is signed.
#[utoipa::path(post, path = "/quote", tag = "offers",
    request_body = create_request::QuoteDocument,
    responses((status = 200, body = QuoteView, description = "The price.")),
)]
pub async fn quote(
    State(gateway): Shared,
    caller: Caller,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<QuoteView>> {
    let request = create_request::read_quote(&body.map_err(too_large)?)?;
    if let Some(user) = &request.user {
        // A balance and caps are the user's own affair.
        caller.list_of(Some(&user.to_string()))?;
    }
    Ok(Json(gateway.market.quote(&request).await?))
}

/// Lists agents, as the registry has them.
#[utoipa::path(get, path = "/agents", tag = "offers",
    params(AgentsQuery),
    responses((status = 200, body = Vec<AgentView>, description = "By their number.",
        headers(("Link" = String, description = "Leads to the next ones.")))),
)]
pub async fn agents(
    State(gateway): Shared,
    _caller: Caller,
    query: Result<Query<AgentsQuery>, QueryRejection>,
) -> Result<Response> {
    let query = read_query(query)?;
    let invalid = |text: String| Error::refused(Problem::InvalidRequest, text);
    let limit = match query.limit.as_deref() {
        None => MOST_AGENTS,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=MOST_AGENTS).contains(limit));
            limit.ok_or_else(|| {
                invalid(format!("limit: expected a whole number from 1 to {MOST_AGENTS}"))
            })?
        }
    };
    let after = query.cursor.as_deref().map(str::parse::<u32>).transpose();
    let after = after.map_err(|_| invalid("cursor: expected one of a Link header".to_owned()))?;
    let (agents, more) = gateway.market.agents(after.unwrap_or(0), limit).await?;
    let next = agents.last().filter(|_| more).map(|agent: &AgentView| agent.agent_id);
    let link = next.map(|after| format!("</agents?limit={limit}&cursor={after}>; rel=\"next\""));
    Ok(linked(Json(agents), link))
}

/// Shows an agent with the verdict on its module.
#[utoipa::path(get, path = "/agents/{id}", tag = "offers",
    params(("id" = String, Path, description = "The agent's number.")),
    responses((status = 200, body = AgentDetails, description = "The agent.")),
)]
pub async fn agent(
    State(gateway): Shared,
    _caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<AgentDetails>> {
    let id = id.parse().map_err(|_| {
        Error::refused(Problem::NotFound, "there is no such agent; their ids are whole numbers")
    })?;
    Ok(Json(gateway.market.agent(id).await?))
}

/// Lists the grants of a user.
#[utoipa::path(get, path = "/grants/{user}", tag = "offers",
    params(("user" = String, Path, description = "An account (G…) or a contract (C…).")),
    responses((status = 200, body = Vec<GrantView>, description = "Those that live.")),
)]
pub async fn grants(
    State(gateway): Shared,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<Vec<GrantView>>> {
    let user = page::user(&user)?;
    caller.list_of(Some(&user))?;
    Ok(Json(gateway.market.grants(&user).await?))
}

/// Lists what a user was charged, with the full text of every receipt.
#[utoipa::path(get, path = "/receipts/{user}", tag = "runs",
    params(("user" = String, Path, description = "An account (G…) or a contract (C…)."),
        ReceiptsQuery),
    responses((status = 200, body = ReceiptsDocument,
        description = "The newest without a gap, at most 1000 and about 1 MiB; `before` is the hash \
            before them.")),
)]
pub async fn receipts(
    State(gateway): Shared,
    caller: Caller,
    Path(user): Path<String>,
    query: Result<Query<ReceiptsQuery>, QueryRejection>,
) -> Result<Json<ReceiptsDocument>> {
    let user = page::user(&user)?;
    if caller.list_of(Some(&user))?.subject.is_some() {
        let text = "receipts are the whole account's; log in as the account itself";
        return Err(Error::refused(Problem::Forbidden, text));
    }
    let before = read_query(query)?.before()?;
    let (db, about) = (&gateway.commands.db, &gateway.about);
    Ok(Json(receipts::list(db, about, &user, before).await?))
}

/// Shows unfinished runs as workers see them.
#[utoipa::path(get, path = "/operator/queue", tag = "operator",
    params(RowsQuery),
    responses((status = 200, body = QueueView, description = "In the order of work.")),
)]
pub async fn queue(
    State(gateway): Shared,
    caller: Caller,
    query: Result<Query<RowsQuery>, QueryRejection>,
) -> Result<Json<QueueView>> {
    operator::check(&caller)?;
    Ok(Json(operator::queue(&gateway.commands.db, &read_query(query)?).await?))
}

/// Lists runs that no worker can go on with.
#[utoipa::path(get, path = "/operator/dead-letters", tag = "operator",
    params(RowsQuery),
    responses((status = 200, body = Vec<WorkView>, description = "The longest unchanged first.")),
)]
pub async fn dead_letters(
    State(gateway): Shared,
    caller: Caller,
    query: Result<Query<RowsQuery>, QueryRejection>,
) -> Result<Json<Vec<WorkView>>> {
    operator::check(&caller)?;
    Ok(Json(operator::dead_letters(&gateway.commands.db, &read_query(query)?).await?))
}

/// Lists sealed attempts.
#[utoipa::path(get, path = "/operator/packs", tag = "operator",
    params(RowsQuery),
    responses((status = 200, body = Vec<SealedView>, description = "The newest first.",
        headers(("Link" = String, description = "Leads to older ones.")))),
)]
pub async fn packs(
    State(gateway): Shared,
    caller: Caller,
    query: Result<Query<RowsQuery>, QueryRejection>,
) -> Result<Response> {
    operator::check(&caller)?;
    let query = read_query(query)?;
    let (packs, next): (Vec<SealedView>, _) = operator::packs(&gateway.commands.db, &query).await?;
    let limit = query.limit.unwrap_or_else(|| operator::MOST_ROWS.to_string());
    let link =
        next.map(|cursor| format!("</operator/packs?limit={limit}&cursor={cursor}>; rel=\"next\""));
    Ok(linked(Json(packs), link))
}

/// Has oracle-gate check a sealed attempt.
#[utoipa::path(get, path = "/operator/packs/{id}/check", tag = "operator",
    params(("id" = String, Path, description = "The run."), AttemptQuery),
    responses((status = 200, body = CheckedView, description = "What was found.")),
)]
pub async fn check_pack(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
    query: Result<Query<AttemptQuery>, QueryRejection>,
) -> Result<Json<CheckedView>> {
    operator::check(&caller)?;
    let run = attempt_of(&gateway, &caller, &id, query).await?;
    let gates = oracle_gate(&gateway)?;
    Ok(Json(operator::check_pack(run.attempt.seal.as_ref(), gates).await?))
}

/// Lists modules that were run, with their verdicts.
#[utoipa::path(get, path = "/operator/verdicts", tag = "operator",
    responses((status = 200, body = Vec<ModuleView>, description = "Those used last first.")),
)]
pub async fn verdicts(State(gateway): Shared, caller: Caller) -> Result<Json<Vec<ModuleView>>> {
    operator::check(&caller)?;
    Ok(Json(operator::verdicts(&gateway.commands.db, &gateway.market).await?))
}

/// Compares what several places say about unfinished runs, and about the newest runs and events.
#[utoipa::path(get, path = "/operator/reconciliation", tag = "operator",
    responses((status = 200, body = ReconciliationView, description = "The comparison.")),
)]
pub async fn reconciliation(
    State(gateway): Shared,
    caller: Caller,
) -> Result<Json<ReconciliationView>> {
    operator::check(&caller)?;
    Ok(Json(gateway.reconciliation.answer(&gateway.commands.db, &gateway.market).await?))
}

/// An answer that leads to the next page, if there is one (RFC 8288).
fn linked<T: Serialize>(body: Json<T>, link: Option<String>) -> Response {
    let mut answer = body.into_response();
    if let Some(Ok(link)) = link.map(|link| HeaderValue::from_str(&link)) {
        answer.headers_mut().insert(header::LINK, link);
    }
    answer
}
