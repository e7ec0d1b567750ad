//! The HTTP gateway: the routes and member names frontends know, and additions beside them.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use chassis::Health;
use chassis::trace::TraceLayer;
use serde::Deserialize;
use serde_json::Value;
use tower_http::cors::{Any, CorsLayer};
use wire::{Digest, Problem, RunId};

use crate::auth::{self, Access, Caller};
use crate::error::{Error, Result};
use crate::gates::Gates;
use crate::gateway::orders::{Desk, Key};
use crate::gateway::page::Page;
use crate::gateway::summary::About;
use crate::gateway::view::RunView;
use crate::runs::run::Snapshot;

pub mod draft;
pub mod view;
pub mod store;
pub mod orders;
pub mod page;
pub mod summary;
pub mod bundle;

/// Set on an answer that was given before to the same `Idempotency-Key`.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What the routes need.
#[derive(Debug)]
pub struct Gateway {
    /// Where orders are taken.
    pub desk: Desk,
    /// What this service knows of itself.
    pub health: Health,
    /// Whether callers are asked who they are.
    pub access: Access,
    /// For bundles.
    pub gates: Option<Gates>,
    /// What it says of itself.
    pub about: About,
}

type Shared = State<Arc<Gateway>>;

/// All routes. `cors_origin` is `*` or one origin.
///
/// # Errors
///
/// When the origin can't stand in a header.
pub fn router(gateway: Arc<Gateway>, cors_origin: &str) -> anyhow::Result<Router> {
    let health = gateway.health.router();
    let access = gateway.access.clone();
    Ok(Router::new()
        .route("/runs", get(list).post(create))
        .route("/runs/{id}", get(find))
        .route("/runs/{id}/retry", post(retry))
        .route("/runs/{id}/cancel", post(cancel))
        .route("/runs/{id}/bundle", get(bundle))
        .route("/summary", get(told_summary))
        .fallback(nowhere)
        .method_not_allowed_fallback(nowhere)
        .layer(DefaultBodyLimit::max(draft::MAX_BODY_BYTES))
        // Whatever stands above needs a login, the answer to unknown routes included.
        .layer(middleware::from_fn_with_state(access.clone(), auth::guard))
        .route("/health", get(told_health))
        .with_state(gateway)
        .merge(health)
        .layer(cors(cors_origin)?)
        .merge(auth::routes::routes(&access))
        .layer(TraceLayer::http()))
}

/// What a list can be narrowed to.
#[derive(Debug, Deserialize)]
struct ListQuery {
    user: Option<String>,
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

async fn create(
    State(gateway): Shared,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    let body = body.map_err(too_large)?;
    let body: Value = serde_json::from_slice(&body).map_err(|error| {
        Error::refused(Problem::InvalidRequest, format!("Invalid payload: not JSON: {error}"))
    })?;
    let request = draft::read(&body, orders::draw_seed)?;
    caller.may_spend(&request.user)?;
    let key = idempotency_key(&headers, &body)?;
    let created = gateway.desk.create(&request, key).await?;
    let status = StatusCode::from_u16(created.status).unwrap_or(StatusCode::ACCEPTED);
    let mut answer = (status, Json(&created.body)).into_response();
    let location = created.body.get("id").and_then(Value::as_str).unwrap_or_default();
    if let Ok(location) = HeaderValue::from_str(&format!("/runs/{location}")) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    if created.replayed {
        answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(answer)
}

async fn list(
    State(gateway): Shared,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Response> {
    let page = Page::read(query.limit.as_deref(), query.cursor.as_deref())?;
    let status = query.status.as_deref().map(page::status).transpose()?;
    let user = caller.list_of(query.user.as_deref())?;
    let (runs, next) = page.fetch(&gateway.desk.db, user.as_deref(), status).await?;
    let views: Vec<_> = runs.iter().map(RunView::from).collect();
    let mut answer = Json(views).into_response();
    if let Some(cursor) = next {
        let link = page.link(&cursor, query.user.as_deref(), status);
        if let Ok(link) = HeaderValue::from_str(&link) {
            answer.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(answer)
}

async fn find(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RunView>> {
    Ok(Json(RunView::from(&visible(&gateway, &caller, &id).await?)))
}

async fn retry(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RunView>> {
    let run = visible(&gateway, &caller, &id).await?;
    caller.may_spend(&run.run.request.user)?;
    Ok(Json(RunView::from(&gateway.desk.retry(run.run.id).await?)))
}

async fn cancel(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RunView>> {
    let run = visible(&gateway, &caller, &id).await?;
    Ok(Json(RunView::from(&gateway.desk.cancel(run.run.id).await?)))
}

async fn bundle(
    State(gateway): Shared,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response> {
    let it = visible(&gateway, &caller, &id).await?;
    let Some(gates) = &gateway.gates else {
        return Err(Error::refused(Problem::NotFound, "this runner has no oracle-gate configured"));
    };
    bundle::answer(&it, gates, &gateway.about.contract_id).await
}

async fn told_health(State(gateway): Shared) -> Response {
    // Probes have no token; with a login, nothing about a single user's run is shown to them.
    let all = !gateway.access.is_login();
    let (ok, body) = summary::health(&gateway.health, &gateway.about, &gateway.desk.db, all).await;
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

async fn told_summary(State(gateway): Shared, caller: Caller) -> Result<Json<Value>> {
    let all = caller.sees_all();
    Ok(Json(summary::summary(&gateway.about, &gateway.desk.db, all).await?))
}

/// A run that the caller may see.
async fn visible(gateway: &Gateway, caller: &Caller, id: &str) -> Result<Snapshot> {
    let run = gateway.desk.find(run_id(id)?).await?;
    // The account of a run never changes, so what is checked here holds for what follows.
    caller.may_see(&run.run.request.user)?;
    Ok(run)
}

async fn nowhere(uri: Uri) -> Error {
    Error::refused(Problem::NotFound, format!("there is no such route as {}", uri.path()))
}

/// An id that is no UUID is that of no run.
fn run_id(text: &str) -> Result<RunId> {
    text.parse().map_err(|_| Error::refused(Problem::NotFound, "Run not found"))
}

fn too_large(rejection: BytesRejection) -> Error {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let text = format!("the request has more than {} bytes", draft::MAX_BODY_BYTES);
        return Error::refused(Problem::PayloadTooLarge, text);
    }
    Error::refused(Problem::InvalidRequest, "the request's body can't be read")
}

/// The caller's key: a quoted string as in the IETF draft, or the bare text that many clients send.
fn idempotency_key(headers: &HeaderMap, body: &Value) -> Result<Option<Key>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let key = text.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(text);
    if key.is_empty() || key.chars().count() > 255 {
        let text = "Idempotency-Key: want 1 to 255 visible characters";
        return Err(Error::refused(Problem::InvalidRequest, text));
    }
    let canonical =
        wire::json::canonical(body).map_err(|error| Error::Broken(error.to_string()))?;
    Ok(Some(Key { key: key.to_owned(), request_hash: Digest::of(&canonical) }))
}

fn cors(origin: &str) -> anyhow::Result<CorsLayer> {
    let exposed = ["idempotency-replayed", "link", "location", "retry-after", "traceparent"];
    let layer = CorsLayer::new()
        .allow_methods([axum::http::Method::GET, axum::http::Method::POST])
        .allow_headers(Any)
        .expose_headers(exposed.map(HeaderName::from_static));
    Ok(match origin {
        "*" => layer.allow_origin(Any),
        origin => layer.allow_origin(origin.parse::<HeaderValue>()?),
    })
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (problem, body) = self.problem();
        let status = StatusCode::from_u16(problem.row().status);
        let mut answer =
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        if problem.row().retryable {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}
