//! JSON-RPC 2.0 over HTTP, as stellar-rpc speaks it.

mod events;
mod fees;
mod reads;
mod send;
mod simulation;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Form, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tower_http::cors::CorsLayer;

use crate::faults::Fate;
use crate::frame::account_of;
use crate::friendbot::{Friendbot, FundingError};
use crate::node::Node;

/// Largest request body in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// Calls that are worked on at the same time; more wait.
pub(crate) const SLOTS: usize = 16;

/// Most calls in one batch.
const MAX_BATCH: usize = 50;

const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;
const METHOD_NOT_FOUND: i32 = -32_601;
const INVALID_PARAMS: i32 = -32_602;
const INTERNAL_ERROR: i32 = -32_603;

/// An error in the form of JSON-RPC.
#[derive(Debug)]
pub(crate) struct RpcError {
    code: i32,
    message: String,
}

type Answer = Result<Value, RpcError>;

/// What the routes share.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) node: Arc<Node>,
    pub(crate) friendbot: Friendbot,
    /// Where friendbot answers, as `getNetwork` tells it.
    pub(crate) friendbot_url: String,
    /// Calls that compute at the same time.
    pub(crate) slots: Arc<Semaphore>,
}

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    id: Value,
    method: String,
    #[serde(default)]
    params: Value,
}

#[derive(Deserialize)]
struct Funding {
    addr: String,
}

/// All routes.
pub(crate) fn router(server: Server) -> Router {
    Router::new()
        .route("/", post(serve))
        .route("/rpc", post(serve))
        .route("/friendbot", get(friendbot_get).post(friendbot_post))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CorsLayer::permissive())
        .with_state(server)
}

impl RpcError {
    pub(crate) fn invalid_params(message: impl Into<String>) -> Self {
        Self { code: INVALID_PARAMS, message: message.into() }
    }

    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self { code: INVALID_REQUEST, message: message.into() }
    }

    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        Self { code: INTERNAL_ERROR, message: error.to_string() }
    }
}

/// Parameters of a method; they come by name.
pub(crate) fn params<T: DeserializeOwned>(params: Value) -> Result<T, RpcError> {
    let params = if params.is_null() { json!({}) } else { params };
    serde_json::from_value(params)
        .map_err(|error| RpcError::invalid_params(format!("invalid parameters: {error}")))
}

/// Refuses the JSON form of XDR, by name.
pub(crate) fn check_format(format: Option<&str>) -> Result<(), RpcError> {
    match format {
        None | Some("" | "base64") => Ok(()),
        Some(other) => Err(RpcError::invalid_params(format!(
            "xdrFormat {other:?} is not supported by this network; use \"base64\""
        ))),
    }
}

async fn serve(State(server): State<Server>, body: Bytes) -> Response {
    let value: Value = match serde_json::from_slice(&body) {
        Ok(value) => value,
        Err(error) => {
            let error = RpcError { code: PARSE_ERROR, message: error.to_string() };
            return reply(&envelope(Value::Null, Err(error)));
        }
    };
    let sends = value.get("method").is_some_and(|method| method == "sendTransaction");
    let (fate, delay) = server.node.fate(sends);
    match fate {
        Fate::Unavailable => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Fate::LostBefore => return broken_connection(),
        Fate::Answered | Fate::LostAfter => {}
    }
    let answer = match value {
        Value::Array(calls) if calls.is_empty() || calls.len() > MAX_BATCH => {
            let message = format!("a batch holds 1 to {MAX_BATCH} calls");
            envelope(Value::Null, Err(RpcError::invalid_request(message)))
        }
        Value::Array(calls) => {
            let mut answers = Vec::with_capacity(calls.len());
            for call in calls {
                answers.push(one(&server, call).await);
            }
            Value::Array(answers)
        }
        call => one(&server, call).await,
    };
    if !delay.is_zero() {
        sleep(delay).await;
    }
    if fate == Fate::LostAfter { broken_connection() } else { reply(&answer) }
}

async fn one(server: &Server, call: Value) -> Value {
    let id = call.get("id").cloned().unwrap_or(Value::Null);
    let call: Call = match serde_json::from_value(call) {
        Ok(call) => call,
        Err(error) => return envelope(id, Err(RpcError::invalid_request(error.to_string()))),
    };
    let server = server.clone();
    let id = call.id;
    let slot = server.slots.clone().acquire_owned().await;
    let work = move || {
        let _slot = slot;
        dispatch(&server, &call.method, call.params)
    };
    // The host computes: it must not hold up the tasks that serve others.
    let answer = tokio::task::spawn_blocking(work).await;
    envelope(id, answer.unwrap_or_else(|error| Err(RpcError::internal(error))))
}

fn dispatch(server: &Server, method: &str, params: Value) -> Answer {
    let node = &server.node;
    match method {
        "getHealth" => reads::get_health(node),
        "getNetwork" => reads::get_network(node, &server.friendbot_url),
        "getVersionInfo" => reads::get_version_info(),
        "getLatestLedger" => reads::get_latest_ledger(node),
        "getLedgerEntries" => reads::get_ledger_entries(node, params),
        "getTransaction" => reads::get_transaction(node, params),
        "getFeeStats" => fees::get_fee_stats(node),
        "getEvents" => events::get_events(node, params),
        "sendTransaction" => send::send_transaction(node, params),
        "simulateTransaction" => simulation::simulate_transaction(node, params),
        other => Err(RpcError {
            code: METHOD_NOT_FOUND,
            message: format!("method not found: {other:?} is not supported by this network"),
        }),
    }
}

fn envelope(id: Value, answer: Answer) -> Value {
    match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => {
            let error = json!({"code": error.code, "message": error.message});
            json!({"jsonrpc": "2.0", "id": id, "error": error})
        }
    }
}

fn reply(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// A response that breaks off, so that the client sees a transport error and no answer.
fn broken_connection() -> Response {
    let broken = std::io::Error::other("the answer was lost on purpose");
    Body::from_stream(futures::stream::iter([Err::<Bytes, _>(broken)])).into_response()
}

async fn friendbot_get(State(server): State<Server>, Query(funding): Query<Funding>) -> Response {
    fund(&server, &funding.addr).await
}

async fn friendbot_post(State(server): State<Server>, Form(funding): Form<Funding>) -> Response {
    fund(&server, &funding.addr).await
}

async fn fund(server: &Server, address: &str) -> Response {
    let Ok(key) = stellar_strkey::ed25519::PublicKey::from_string(address) else {
        return problem(StatusCode::BAD_REQUEST, "addr must be the address of an account, G…");
    };
    match server.friendbot.fund(account_of(key.0)).await {
        Ok(hash) => {
            let chain = server.node.chain();
            let ledger = chain.transactions.get(&hash).map(|transaction| transaction.ledger);
            let hash = hex::encode(hash);
            let body = json!({"successful": true, "id": hash, "hash": hash, "ledger": ledger});
            reply(&body)
        }
        Err(error @ FundingError::AlreadyFunded) => {
            problem(StatusCode::BAD_REQUEST, &error.to_string())
        }
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// An error in the form Horizon's friendbot gives it.
fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({"title": title, "status": status.as_u16(), "detail": detail});
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}
