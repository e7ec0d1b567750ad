//! The HTTP gateway: the routes and member names frontends know, and additions beside them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, middleware};
use chassis::{Health, postgres};
use serde::Deserialize;
use serde_json::value::to_raw_value;
use tokio::time::timeout;
use tower_http::cors::{Any, CorsLayer};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;
use wire::view::OutputsView;
use wire::{Problem, RunId};

use crate::auth::{self, Access, Caller};
use crate::error::{Error, Result};
use crate::gates::Gates;
use crate::gateway::answers::Answers;
use crate::gateway::commands::{Key, RunCommands};
use crate::gateway::console::Console;
use crate::gateway::limits::{ClientAddress, Limits};
use crate::gateway::market::Market;
use crate::gateway::operator::Reconciliation;
use crate::gateway::page::Page;
use crate::gateway::rules::Hosts;
use crate::gateway::streams::{EventsQuery, Reader, Streams};
use crate::gateway::summary::About;
use crate::gateway::timeline::TimelineView;
use crate::model::run::{Snapshot, draw_seed};
use crate::sight::Followed;
use crate::view::RunView;
use crate::view::attempts;
use crate::view::transactions::{self, AttemptWithTransactions};

pub mod rules;
pub mod create_request;
pub mod store;
pub mod accept;
pub mod commands;
pub mod intake;
pub mod inputs;
pub mod page;
pub mod shares;
pub mod answers;
pub mod summary;
pub mod bundle;
pub mod pieces;
pub mod outputs;
pub mod feed;
pub mod streams;
pub mod timeline;
pub mod console;
pub mod market;
pub mod operator;
pub mod orders;
pub mod receipts;
pub mod routes;
pub mod limits;
pub mod login;
pub mod openapi;
pub mod asyncapi;

/// How long a request waits for each answer of the database: a client whose request needs one that
/// hangs is told within seconds.
pub const DATABASE_PATIENCE: Duration = Duration::from_secs(8);
/// How long `/health` counts what there is to do. A database that has fallen silent is known as that
/// by then, so that the first answer says so.
const COUNT_TIMEOUT: Duration = Duration::from_millis(3_500);
/// Set on an answer that was given before to the same `Idempotency-Key`.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What the routes need.
#[derive(Debug)]
pub struct Gateway {
    /// Where orders are taken.
    pub commands: RunCommands,
    /// What this service knows of itself.
    pub health: Health,
    /// Whether callers are asked who they are.
    pub access: Access,
    /// For bundles.
    pub gates: Option<Gates>,
    /// What it says of itself.
    pub about: About,
    /// Streams of events that are open.
    pub streams: Streams,
    /// Answers that are made and sent.
    pub answers: Answers,
    /// Offers of the chain.
    pub market: Market,
    /// What several places say about each other.
    pub reconciliation: Reconciliation,
    /// A node that browsers may ask.
    pub browser_rpc_url: Option<String>,
    /// The code of the accounts that the console makes for passkeys.
    pub passkey_wasm_hash: Option<wire::Digest>,
    /// Whose contracts' events are followed: what proofs rest on.
    pub followed: Followed,
}

/// How the routes are reached.
#[derive(Debug)]
pub struct Reach<'a> {
    /// `*` or one origin.
    pub cors_origin: &'a str,
    /// The names by which the gateway may be called, if they are to be checked.
    pub hosts: Option<Arc<Hosts>>,
    /// How many requests a caller may make.
    pub limits: Limits,
    /// The console's files, if there are any.
    pub console: Option<&'a Console>,
}

/// First segments of what the gateway answers, so that no folder of a console hides one.
const API_ROOTS: [&str; 15] = [
    "agents", "app", "auth", "events", "grants", "health", "inputs", "live", "operator",
    "problems", "quote", "ready", "runs", "sep45", "summary",
];

type Shared = State<Arc<Gateway>>;

/// All routes.
///
/// # Errors
///
/// When the origin cannot be the value of a header.
pub fn router(gateway: Arc<Gateway>, reach: Reach<'_>) -> anyhow::Result<Router> {
    let Reach { cors_origin, hosts, limits, console } = reach;
    let origin = HeaderValue::from_str(cors_origin)?;
    // What is on offer is never read of another network.
    gateway.market.rpc.expect_network(gateway.followed.network);
    // Under the same rules: on a loopback address, where names are checked, no client probes by
    // another name.
    let health = gateway.health.router().with_state(());
    let (access, answers) = (gateway.access.clone(), gateway.answers.clone());
    let by_address = middleware::from_fn_with_state(limits.clone(), limits::by_address);
    let files = console.map(Console::routes).transpose()?.unwrap_or_default();
    // Files take any query: it is how caches are gone round.
    let public = Router::new()
        .merge(documents().split_for_parts().0)
        .merge(files)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(hosts.clone(), rules::apply_host));
    let (behind_login, _) = behind_login().split_for_parts();
    let (before_login, _) = before_login().split_for_parts();
    let probes = before_login
        .merge(health)
        .route_layer(middleware::from_fn(rules::apply_query))
        .method_not_allowed_fallback(method_not_allowed);
    Ok(behind_login
        .fallback(not_found)
        .route_layer(middleware::from_fn(rules::apply_query))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(create_request::MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(answers, answers::bound))
        .layer(middleware::from_fn_with_state(limits.clone(), limits::by_account))
        // Every route above needs a login, the answer to unknown routes included.
        .layer(middleware::from_fn_with_state(access.clone(), auth::guard))
        // Before the login: an invalid token costs a query as well.
        .layer(by_address)
        .merge(probes)
        .layer(middleware::from_fn_with_state(hosts.clone(), rules::apply))
        .merge(public)
        .with_state(gateway)
        .layer(cors(origin.clone()))
        .merge(login::routes(&access, hosts.clone(), limits))
        .layer(middleware::from_fn(bound_statements))
        .layer(middleware::from_fn_with_state((hosts, origin), rules::options))
        .layer(chassis::trace::http()))
}

/// No statement of a request is waited for longer than its client is made to wait.
async fn bound_statements(request: Request, next: Next) -> Response {
    postgres::with_limit(DATABASE_PATIENCE, next.run(request)).await
}

/// Routes that need a login, where callers log in.
pub fn behind_login() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(find))
        .routes(
            routes!(inputs::store_input)
                .layer(DefaultBodyLimit::max(create_request::MAX_STORED_BODY_BYTES)),
        )
        .routes(routes!(inputs::find_input))
        .routes(routes!(retry))
        .routes(routes!(cancel))
        .routes(routes!(bundle))
        .routes(routes!(list_outputs))
        .routes(routes!(output))
        .routes(routes!(list_attempts))
        .routes(routes!(show_timeline))
        .routes(routes!(run_events))
        .routes(routes!(all_events))
        .routes(routes!(show_summary))
        .routes(routes!(routes::agents))
        .routes(routes!(routes::agent))
        .routes(routes!(routes::grants))
        .routes(routes!(routes::receipts))
        .routes(routes!(routes::quote))
        .routes(routes!(routes::queue))
        .routes(routes!(routes::dead_letters))
        .routes(routes!(routes::packs))
        .routes(routes!(routes::check_pack))
        .routes(routes!(routes::verdicts))
        .routes(routes!(routes::reconciliation))
        .routes(routes!(orders::pauses))
        .routes(routes!(orders::pause))
        .routes(routes!(orders::resume))
        .routes(routes!(orders::dead_letter))
        .routes(routes!(orders::replay))
        .routes(routes!(orders::discard))
}

/// Routes for probes and for readers of refusals.
pub fn before_login() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new().routes(routes!(show_health)).routes(routes!(problem_page))
}

/// Documents that everybody may read.
pub fn documents() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new().routes(routes!(routes::config)).routes(routes!(openapi::show))
}

/// What a list can be narrowed to.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only runs of this account (G… or C…); for operators, or the caller's own.
    user: Option<String>,
    /// Only runs in this status.
    status: Option<String>,
    /// At most this many, from 1 to 500. A page of more than about 1 MiB has fewer.
    limit: Option<String>,
    /// From the header `Link` of the page before.
    cursor: Option<String>,
}

/// Asks for a run.
#[utoipa::path(post, path = "/runs", tag = "runs",
    request_body = create_request::RunRequest,
    params(("Idempotency-Key" = Option<String>, Header,
        description = "1 to 255 characters: the same request with it is answered once.")),
    responses(
        (status = 202, body = RunView, description = "The run waits.",
            headers(("Location" = String), ("Idempotency-Replayed" = String))),
    ),
)]
async fn create(
    State(gateway): Shared,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    let body = body.map_err(too_large)?;
    let key = idempotency_key(&headers)?;
    let mut new = create_request::read(&body, draw_seed)?;
    caller.may_spend(new.request.user)?;
    caller.may_ask(new.priority)?;
    inputs::complete(&gateway, &caller, &mut new, key.as_ref()).await?;
    let created = gateway.commands.create(new, caller.part_of_account(), key).await?;
    let status = StatusCode::from_u16(created.status).unwrap_or(StatusCode::ACCEPTED);
    let json = HeaderValue::from_static("application/json");
    let mut answer = (status, [(header::CONTENT_TYPE, json)], created.body).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/runs/{}", created.id)) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    if created.replayed {
        answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(answer)
}

/// Lists runs.
#[utoipa::path(get, path = "/runs", tag = "runs",
    params(ListQuery),
    responses(
        (status = 200, body = Vec<RunView>, description = "The newest runs, the newest last.",
            headers(("Link" = String, description = "Leads to older ones."))),
    ),
)]
async fn list(
    State(gateway): Shared,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response> {
    let query = read_query(query)?;
    let page = Page::read(query.limit.as_deref(), query.cursor.as_deref())?;
    let status = query.status.as_deref().map(page::status).transpose()?;
    let asked = query.user.as_deref().map(page::user).transpose()?;
    let scope = caller.list_of(asked.as_deref())?;
    let show = |run: &Snapshot| {
        let view = to_raw_value(&RunView::from(run));
        let view = view.map_err(|error| Error::Broken(error.to_string()))?;
        let length = view.get().len();
        Ok((view, length))
    };
    let (views, next) = page.fetch(&gateway.commands.db, &scope, status, show).await?;
    let mut answer = Json(views).into_response();
    if let Some(cursor) = next {
        let link = page.link(&cursor, scope.user.as_deref(), status);
        if let Ok(link) = HeaderValue::from_str(&link) {
            answer.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(answer)
}

/// Shows a run.
#[utoipa::path(get, path = "/runs/{id}", tag = "runs",
    params(("id" = String, Path, description = "The run.")),
    responses((status = 200, body = RunView, description = "The run, with every attempt.")),
)]
async fn find(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RunView>> {
    let run = visible(&gateway, &caller, &id).await?;
    Ok(Json(attempts::view(&gateway.commands.db, &run).await?))
}

/// Queues a failed run again.
#[utoipa::path(post, path = "/runs/{id}/retry", tag = "runs",
    params(("id" = String, Path, description = "The run.")),
    responses((status = 200, body = RunView, description = "The run, queued again.")),
)]
async fn retry(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RunView>> {
    let run = visible(&gateway, &caller, &id).await?;
    caller.may_spend(run.run.request.user)?;
    Ok(Json(RunView::from(&gateway.commands.retry(run.run.id).await?)))
}

/// Calls a run off that has not started its module.
#[utoipa::path(post, path = "/runs/{id}/cancel", tag = "runs",
    params(("id" = String, Path, description = "The run.")),
    responses((status = 200, body = RunView, description = "The run.")),
)]
async fn cancel(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RunView>> {
    let run = visible(&gateway, &caller, &id).await?;
    Ok(Json(RunView::from(&gateway.commands.cancel(run.run.id).await?)))
}

/// Which attempt is meant.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AttemptQuery {
    /// Its number, from 1; the present one if absent.
    #[param(value_type = Option<u32>, minimum = 1)]
    pub attempt: Option<NonZeroU32>,
}

/// Brings all that proves an attempt.
#[utoipa::path(get, path = "/runs/{id}/bundle", tag = "runs",
    params(("id" = String, Path, description = "The run."), AttemptQuery),
    responses((status = 200, content_type = "application/x-tar", body = String,
        description = "A tar archive of everything a verifier needs.")),
)]
async fn bundle(
    State(gateway): Shared,
    caller: Caller,
    method: Method,
    Path(id): Path<String>,
    query: Result<Query<AttemptQuery>, QueryRejection>,
) -> Result<Response> {
    let run = attempt_of(&gateway, &caller, &id, query).await?;
    let gates = oracle_gate(&gateway)?;
    bundle::answer(&method, &run, gates, &gateway.about.contract_id, &gateway.commands.db).await
}

/// Lists what an attempt delivered.
#[utoipa::path(get, path = "/runs/{id}/outputs", tag = "runs",
    params(("id" = String, Path, description = "The run."), AttemptQuery),
    responses((status = 200, body = OutputsView, description = "Its files.")),
)]
async fn list_outputs(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
    query: Result<Query<AttemptQuery>, QueryRejection>,
) -> Result<Json<OutputsView>> {
    let run = attempt_of(&gateway, &caller, &id, query).await?;
    Ok(Json(outputs::list(&run, &gateway.commands.db).await?))
}

/// Brings one file that an attempt delivered.
#[utoipa::path(get, path = "/runs/{id}/outputs/{*path}", tag = "runs",
    params(("id" = String, Path, description = "The run."),
        ("path" = String, Path, description = "One of the files."),
        AttemptQuery,
        ("Range" = Option<String>, Header, description = "One part of the file, in bytes."),
        ("If-Range" = Option<String>, Header,
        description = "The part is wanted of the file with this entity tag; else the whole file."),
        ("If-Match" = Option<String>, Header,
        description = "The file is wanted if it has one of these entity tags."),
        ("If-None-Match" = Option<String>, Header,
        description = "The file is wanted unless it has one of these entity tags.")),
    responses(
        (status = 200, content_type = "application/octet-stream", body = String,
            description = "The file.", headers(("ETag" = String))),
        (status = 206, content_type = "application/octet-stream", body = String,
            description = "The part that the header Range names.",
            headers(("ETag" = String), ("Content-Range" = String))),
        (status = 304, description = "The file is one of If-None-Match.",
            headers(("ETag" = String))),
    ),
)]
async fn output(
    State(gateway): Shared,
    caller: Caller,
    Path((id, path)): Path<(String, String)>,
    query: Result<Query<AttemptQuery>, QueryRejection>,
    (method, headers): (Method, HeaderMap),
) -> Result<Response> {
    let run = attempt_of(&gateway, &caller, &id, query).await?;
    let gates = oracle_gate(&gateway)?;
    outputs::file(&run, &path, (&method, &headers), gates, &gateway.commands.db).await
}

/// Lists the attempts of a run, each with its transactions.
#[utoipa::path(get, path = "/runs/{id}/attempts", tag = "runs",
    params(("id" = String, Path, description = "The run.")),
    responses((status = 200, body = Vec<AttemptWithTransactions>, description = "Oldest first.")),
)]
async fn list_attempts(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Vec<AttemptWithTransactions>>> {
    let run = visible(&gateway, &caller, &id).await?;
    Ok(Json(transactions::of_attempts(&gateway.commands.db, &run).await?))
}

/// Shows what a run went through.
#[utoipa::path(get, path = "/runs/{id}/timeline", tag = "runs",
    params(("id" = String, Path, description = "The run.")),
    responses((status = 200, body = TimelineView, description = "Oldest first.")),
)]
async fn show_timeline(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<TimelineView>> {
    let run = visible(&gateway, &caller, &id).await?;
    Ok(Json(timeline::timeline(&gateway.commands.db, run.run.id).await?))
}

/// Streams what becomes of a run.
#[utoipa::path(get, path = "/runs/{id}/events", tag = "events",
    params(("id" = String, Path, description = "The run."), EventsQuery,
        ("Last-Event-ID" = Option<String>, Header,
        description = "Everything after this event is sent.")),
    responses((status = 200, content_type = "text/event-stream", body = String,
        description = "Server-sent events; the data of each is a CloudEvent.")),
)]
async fn run_events(
    State(gateway): Shared,
    caller: Caller,
    address: ClientAddress,
    Path(id): Path<String>,
    query: Result<Query<EventsQuery>, QueryRejection>,
    (method, headers): (Method, HeaderMap),
) -> Result<Response> {
    let query = read_query(query)?;
    let run = visible(&gateway, &caller, &id).await?.run.id;
    let by = Reader { caller, address, access: gateway.access.clone() };
    gateway.streams.of_run(run, by, (&method, &headers, &query), &gateway.commands.db)
}

/// Streams what becomes of every run that the caller may see.
#[utoipa::path(get, path = "/events", tag = "events",
    params(EventsQuery, ("Last-Event-ID" = Option<String>, Header,
        description = "Everything after this event is sent.")),
    responses((status = 200, content_type = "text/event-stream", body = String,
        description = "Server-sent events; the data of each is a CloudEvent.")),
)]
async fn all_events(
    State(gateway): Shared,
    caller: Caller,
    address: ClientAddress,
    query: Result<Query<EventsQuery>, QueryRejection>,
    (method, headers): (Method, HeaderMap),
) -> Result<Response> {
    let query = read_query(query)?;
    let by = Reader { caller, address, access: gateway.access.clone() };
    gateway.streams.of_all(by, (&method, &headers, &query), &gateway.commands.db).await
}

/// A query, or which parameter of it is not known.
pub(crate) fn read_query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T> {
    let Query(query) = query.map_err(|rejection| {
        Error::refused(Problem::InvalidRequest, format!("query: {}", rejection.body_text()))
    })?;
    Ok(query)
}

/// A run that the caller may see, as it was in the attempt that the query names.
async fn attempt_of(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    query: Result<Query<AttemptQuery>, QueryRejection>,
) -> Result<Snapshot> {
    let query = read_query(query)?;
    let run = visible(gateway, caller, id).await?;
    attempts::at(&gateway.commands.db, run, query.attempt.map(NonZeroU32::get)).await
}

fn oracle_gate(gateway: &Gateway) -> Result<&Gates> {
    gateway.gates.as_ref().ok_or_else(|| {
        Error::refused(Problem::NotFound, "this runner has no oracle-gate configured")
    })
}

/// Says whether the runner is ready.
#[utoipa::path(get, path = "/health", tag = "service",
    responses(
        (status = 200, body = summary::HealthView, description = "It is ready."),
        (status = 503, body = summary::HealthView, description = "It is not ready."),
    ),
)]
async fn show_health(State(gateway): Shared) -> Response {
    // Probes have no token; with a login, nothing about a single user's run is shown to them.
    let all = !gateway.access.is_login();
    let counting = summary::status(&gateway.about, &gateway.commands.db, all);
    let status = timeout(COUNT_TIMEOUT, counting).await.ok().and_then(|counted| counted.ok());
    let body = summary::health(&gateway.health, status);
    let status = if body.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// Says whose runner this is and how much there is to do.
#[utoipa::path(get, path = "/summary", tag = "service",
    responses((status = 200, body = summary::SummaryView, description = "Both.")),
)]
async fn show_summary(
    State(gateway): Shared,
    caller: Caller,
) -> Result<Json<summary::SummaryView>> {
    let all = caller.sees_all();
    Ok(Json(summary::summary(&gateway.about, &gateway.commands.db, all).await?))
}

/// A run that the caller may see.
async fn visible(gateway: &Gateway, caller: &Caller, id: &str) -> Result<Snapshot> {
    let run = gateway.commands.find(run_id(id)?).await?;
    // The account of a run never changes, so what is checked here holds for what follows.
    caller.may_see(&run.run)?;
    Ok(run)
}

async fn not_found(uri: Uri) -> Error {
    Error::refused(Problem::NotFound, format!("there is no such route as {}", uri.path()))
}

/// The router adds the header `Allow`.
pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> Error {
    let text = format!("{} does not take {method}; see the header Allow", uri.path());
    Error::refused(Problem::MethodNotAllowed, text)
}

/// Explains a problem.
#[utoipa::path(get, path = "/problems/{slug}", tag = "service",
    params(("slug" = String, Path, description = "The last part of a problem's type.")),
    responses((status = 200, content_type = "text/markdown", body = String,
        description = "What it means and what to do.")),
)]
async fn problem_page(Path(slug): Path<String>) -> Result<Response> {
    let known = Problem::ALL.iter().find(|problem| problem.row().slug == slug);
    let problem = known.ok_or_else(|| {
        Error::refused(Problem::NotFound, "there is no such problem; the table has no such row")
    })?;
    let kind = HeaderValue::from_static("text/markdown; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], problem.page()).into_response())
}

/// An id that is no UUID is that of no run.
fn run_id(text: &str) -> Result<RunId> {
    text.parse().map_err(|_| Error::refused(Problem::NotFound, "Run not found"))
}

fn too_large(rejection: BytesRejection) -> Error {
    unread_body(rejection, create_request::MAX_BODY_BYTES)
}

/// A body that could not be read, of a route that takes `most` bytes.
fn unread_body(rejection: BytesRejection, most: usize) -> Error {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let text = format!("the request has more than {most} bytes");
        return Error::refused(Problem::PayloadTooLarge, text);
    }
    if chassis::http::is_body_timeout(&rejection) {
        let text = "the request's body, or the next piece of it, did not come in time";
        return Error::refused(Problem::RequestTimeout, text);
    }
    Error::refused(Problem::InvalidRequest, "the request's body can't be read")
}

/// The caller's key: a quoted string as in the IETF draft, or the bare text that many clients send.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<Key>> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        // It is unknown which of them is meant, and a wrong guess is a second run.
        let text = "Idempotency-Key: expected one such header, found several";
        return Err(Error::refused(Problem::InvalidRequest, text));
    }
    let text = value.to_str().unwrap_or_default().trim();
    let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Key::read(key).map(Some)
}

/// What pages of this origin, or of every origin for `*`, may send and read: the same of every route.
fn cors(origin: HeaderValue) -> CorsLayer {
    let exposed = [
        "accept-ranges",
        "allow",
        "content-disposition",
        "content-length",
        "content-range",
        "etag",
        "idempotency-replayed",
        "link",
        "location",
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "retry-after",
        "traceparent",
        "www-authenticate",
    ];
    // Named: a browser does not take `*` for Authorization.
    let allowed = [
        "authorization",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "if-range",
        "last-event-id",
        "range",
        "traceparent",
        "tracestate",
    ];
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(allowed.map(HeaderName::from_static))
        .expose_headers(exposed.map(HeaderName::from_static))
        .max_age(Duration::from_secs(3_600));
    match origin.as_bytes() {
        b"*" => layer.allow_origin(Any),
        _ => layer.allow_origin(origin),
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let retry_after = self.retry_after();
        let (problem, body) = self.problem();
        let status = StatusCode::from_u16(problem.row().status);
        let mut answer =
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        if let Some(secs) = retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        } else if problem.row().retryable {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}
