//! Steering the network over HTTP, where its owner switched that on.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Server, reply};
use crate::error::LocalnetError;
use crate::faults::Fault;

/// Most ledgers one request closes.
const MAX_LEDGERS: u32 = 100_000;

/// A fault as it is asked for: its name, and its number where it has one.
#[derive(Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
enum FaultRequest {
    DropSendResponses { count: u32 },
    LoseSendRequests { count: u32 },
    Unavailable { count: u32 },
    RateLimited { count: u32 },
    ServerError { count: u32 },
    Hang { count: u32 },
    Delay { milliseconds: u64 },
    Freeze { on: bool },
    SkipCloses { count: u32 },
    Lag { ledgers: u32 },
    StaleReads { count: u32 },
    DuplicateEvents { count: u32 },
    ReorderAnswers { count: u32 },
    FailTransactions { count: u32 },
    FailTransaction { hash: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseRequest {
    #[serde(default = "one")]
    count: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeRequest {
    seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevertRequest {
    snapshot: u64,
}

pub(super) fn router() -> Router<Server> {
    Router::new()
        .route("/", get(describe))
        .route("/close", post(close))
        .route("/time", post(advance_time))
        .route("/snapshot", post(snapshot))
        .route("/revert", post(revert))
        .route("/fault", post(fault))
}

async fn describe(State(server): State<Server>) -> Response {
    let chain = server.node.chain();
    reply(&json!({
        "ledger": chain.sequence(),
        "closeTime": chain.close_time(),
        "waiting": server.node.has_waiting(),
        "routes": {
            "/control/close": {"count": 1},
            "/control/time": {"seconds": 60},
            "/control/snapshot": {},
            "/control/revert": {"snapshot": 0},
            "/control/fault": {"fault": "unavailable", "count": 1},
        },
    }))
}

async fn close(State(server): State<Server>, body: String) -> Response {
    let request: CloseRequest = match read(&body) {
        Ok(request) => request,
        Err(refusal) => return *refusal,
    };
    if !(1..=MAX_LEDGERS).contains(&request.count) {
        let message = format!("count must be within 1 and {MAX_LEDGERS}");
        return refuse(StatusCode::BAD_REQUEST, &message);
    }
    let node = server.node.clone();
    let closed = tokio::task::spawn_blocking(move || {
        let mut sequence = node.chain().sequence();
        for _ in 0..request.count {
            sequence = node.close_ledger()?;
        }
        Ok::<u32, LocalnetError>(sequence)
    });
    match closed.await {
        Ok(Ok(ledger)) => reply(&json!({"ledger": ledger})),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn advance_time(State(server): State<Server>, body: String) -> Response {
    match read::<TimeRequest>(&body) {
        Err(refusal) => *refusal,
        Ok(request) => {
            server.node.advance_time(request.seconds);
            reply(&json!({"advanced": request.seconds}))
        }
    }
}

async fn snapshot(State(server): State<Server>) -> Response {
    reply(&json!({"snapshot": server.node.snapshot()}))
}

async fn revert(State(server): State<Server>, body: String) -> Response {
    let request: RevertRequest = match read(&body) {
        Ok(request) => request,
        Err(refusal) => return *refusal,
    };
    let node = server.node.clone();
    match tokio::task::spawn_blocking(move || node.revert(request.snapshot)).await {
        Ok(Ok(())) => reply(&json!({"ledger": server.node.chain().sequence()})),
        Ok(Err(error @ LocalnetError::NoSuchSnapshot(_))) => {
            refuse(StatusCode::NOT_FOUND, &error.to_string())
        }
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn fault(State(server): State<Server>, body: String) -> Response {
    let request: FaultRequest = match read(&body) {
        Ok(request) => request,
        Err(refusal) => return *refusal,
    };
    match injected(request) {
        Err(message) => refuse(StatusCode::BAD_REQUEST, &message),
        Ok(fault) => {
            server.node.fault(fault);
            reply(&json!({"injected": format!("{fault:?}")}))
        }
    }
}

fn injected(request: FaultRequest) -> Result<Fault, String> {
    Ok(match request {
        FaultRequest::DropSendResponses { count } => Fault::DropSendResponses(count),
        FaultRequest::LoseSendRequests { count } => Fault::LoseSendRequests(count),
        FaultRequest::Unavailable { count } => Fault::Unavailable(count),
        FaultRequest::RateLimited { count } => Fault::RateLimited(count),
        FaultRequest::ServerError { count } => Fault::ServerError(count),
        FaultRequest::Hang { count } => Fault::Hang(count),
        FaultRequest::Delay { milliseconds } => Fault::Delay(Duration::from_millis(milliseconds)),
        FaultRequest::Freeze { on } => Fault::Freeze(on),
        FaultRequest::SkipCloses { count } => Fault::SkipCloses(count),
        FaultRequest::Lag { ledgers } => Fault::Lag(ledgers),
        FaultRequest::StaleReads { count } => Fault::StaleReads(count),
        FaultRequest::DuplicateEvents { count } => Fault::DuplicateEvents(count),
        FaultRequest::ReorderAnswers { count } => Fault::ReorderAnswers(count),
        FaultRequest::FailTransactions { count } => Fault::FailTransactions(count),
        FaultRequest::FailTransaction { hash } => {
            let bytes = hex::decode(&hash).ok().and_then(|bytes| bytes.try_into().ok());
            let message = format!("hash {hash:?} is not 64 hexadecimal digits");
            Fault::FailTransaction(bytes.ok_or(message)?)
        }
    })
}

/// Reads a body of JSON; an empty one is an empty object.
fn read<T: for<'de> Deserialize<'de>>(body: &str) -> Result<T, Box<Response>> {
    let body = if body.trim().is_empty() { "{}" } else { body };
    serde_json::from_str(body)
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, &format!("invalid body: {error}")))
        .map_err(Box::new)
}

fn refuse(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body: Value = json!({"title": title, "status": status.as_u16(), "detail": detail});
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}

fn one() -> u32 {
    1
}
