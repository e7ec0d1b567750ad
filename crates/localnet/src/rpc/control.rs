//! Steering the network over HTTP, where its owner switched that on.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Server, reply};
use crate::clock::LATEST;
use crate::error::LocalnetError;
use crate::faults::Fault;
use crate::ledger_snapshot::{LedgerSnapshot, MAX_SNAPSHOT, written};
use crate::network::OtherNode;

/// Most ledgers one request closes.
const MAX_LEDGERS: u32 = 100_000;

/// Most nodes that are started beside the network's own.
const MAX_NODES: usize = 16;

/// The longest a fault holds a request or an answer up, in milliseconds.
const MAX_DELAY: u64 = 600_000;

/// A fault as it is asked for: its name, and its number where it has one.
#[derive(Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
enum FaultRequest {
    None {},
    DropSendResponses { count: u32 },
    LoseSendRequests { count: u32 },
    LateSends { count: u32, milliseconds: u64 },
    Unavailable { count: u32 },
    RateLimited { count: u32 },
    ServerError { count: u32 },
    Hang { count: u32 },
    Stall { count: u32 },
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeRequest {
    #[serde(default)]
    lag: u32,
    history: Option<u32>,
}

pub(super) fn router() -> Router<Server> {
    // A ledger snapshot is larger than what other routes take.
    let load = post(load).layer(DefaultBodyLimit::max(MAX_SNAPSHOT));
    Router::new()
        .route("/", get(describe))
        .route("/ledger-snapshot", get(save).merge(load))
        .route("/node", post(start_node))
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
        "kept": {
            "ledgers": chain.ledgers.len(),
            "transactions": chain.transactions.len(),
            "events": chain.events.len(),
            "entries": chain.state.iter().len(),
        },
        "routes": {
            "/control/close": {"count": 1},
            "/control/time": {"seconds": 60},
            "/control/snapshot": {},
            "/control/revert": {"snapshot": 0},
            "/control/node": {"lag": 2, "history": 10},
            "/control/ledger-snapshot": "GET: the entries of the last ledger; POST: load them",
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
        Ok(request) => match server.node.advance_time(request.seconds) {
            Some(time) => reply(&json!({"advanced": request.seconds, "time": time})),
            None => {
                let message = format!(
                    "seconds must not lead beyond the end of the year 9999, which is {LATEST}"
                );
                refuse(StatusCode::BAD_REQUEST, &message)
            }
        },
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
            server.view.fault(fault);
            reply(&json!({"injected": format!("{fault:?}")}))
        }
    }
}

/// Starts another node of the network, which stops with it.
async fn start_node(State(server): State<Server>, body: String) -> Response {
    let request: NodeRequest = match read(&body) {
        Ok(request) => request,
        Err(refusal) => return *refusal,
    };
    let most = format!("{MAX_NODES} other nodes run already, which is the most there can be");
    let full = || refuse(StatusCode::CONFLICT, &most);
    if nodes(&server).len() >= MAX_NODES {
        return full();
    }
    let node = match OtherNode::start(&server, request.lag, request.history).await {
        Ok(node) => node,
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let url = node.url();
    let mut others = nodes(&server);

    // Asked again: others may have started nodes meanwhile. One that is not kept stops.
    if others.len() >= MAX_NODES {
        return full();
    }
    others.push(node);
    reply(&json!({"url": url}))
}

fn nodes(server: &Server) -> MutexGuard<'_, Vec<OtherNode>> {
    server.others.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The entries of the last ledger as a ledger snapshot.
async fn save(State(server): State<Server>) -> Response {
    let chain = server.node.chain();
    match tokio::task::spawn_blocking(move || written(&chain)).await {
        Ok(Ok(json)) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Ok(Err(error)) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Loads a ledger snapshot, which is the body.
async fn load(State(server): State<Server>, body: Bytes) -> Response {
    let node = server.node.clone();
    let loaded = tokio::task::spawn_blocking(move || {
        let entries = node.load(LedgerSnapshot::parse(&body)?)?;
        Ok::<_, LocalnetError>((entries, node.chain().sequence()))
    });
    match loaded.await {
        Ok(Ok((entries, ledger))) => reply(&json!({"entries": entries, "ledger": ledger})),
        Ok(Err(error @ LocalnetError::LedgerSnapshot(_))) => {
            refuse(StatusCode::BAD_REQUEST, &error.to_string())
        }
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// A duration within what a fault may hold a request up.
fn pause(milliseconds: u64) -> Result<Duration, String> {
    if milliseconds > MAX_DELAY {
        return Err(format!("expected at most {MAX_DELAY} milliseconds, got {milliseconds}"));
    }
    Ok(Duration::from_millis(milliseconds))
}

fn injected(request: FaultRequest) -> Result<Fault, String> {
    Ok(match request {
        FaultRequest::None {} => Fault::None,
        FaultRequest::LateSends { count, milliseconds } => {
            Fault::LateSends { count, delay: pause(milliseconds)? }
        }
        FaultRequest::Stall { count } => Fault::Stall(count),
        FaultRequest::DropSendResponses { count } => Fault::DropSendResponses(count),
        FaultRequest::LoseSendRequests { count } => Fault::LoseSendRequests(count),
        FaultRequest::Unavailable { count } => Fault::Unavailable(count),
        FaultRequest::RateLimited { count } => Fault::RateLimited(count),
        FaultRequest::ServerError { count } => Fault::ServerError(count),
        FaultRequest::Hang { count } => Fault::Hang(count),
        FaultRequest::Delay { milliseconds } => Fault::Delay(pause(milliseconds)?),
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
