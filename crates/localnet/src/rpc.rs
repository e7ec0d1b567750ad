//! JSON-RPC 2.0 over HTTP, as stellar-rpc speaks it.

mod control;
mod events;
mod fees;
mod format;
mod funding;
mod ledgers;
mod reads;
mod send;
mod simulation;
mod transactions;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower_http::cors::CorsLayer;

use crate::chain::Chain;
use crate::faults::{End, Fate, Subject};
use crate::friendbot::Friendbot;
use crate::network::OtherNode;
use crate::node::Node;
use crate::view::View;

/// Largest request body in bytes.
const MAX_BODY: usize = 512 * 1024;

/// Largest request body in bytes where requests are taken as they come.
const MAX_LENIENT_BODY: usize = 8 * 1024 * 1024;

/// Most calls in one batch.
const MAX_BATCH: usize = 50;

/// Simulations that may wait for their turn.
const MAX_WAITING_SIMULATIONS: usize = 100;

/// Other calls that may run at the same time.
const MAX_CALLS: usize = 64;

/// How long a connection that is never answered stays open.
const HANG: Duration = Duration::from_secs(600);

const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;
const METHOD_NOT_FOUND: i32 = -32_601;
const INVALID_PARAMS: i32 = -32_602;
const INTERNAL_ERROR: i32 = -32_603;

/// What stellar-rpc answers when too many requests of a kind wait.
const BUSY: i32 = -32_603;

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
    pub(crate) view: Arc<View>,
    pub(crate) friendbot: Friendbot,
    /// Where this server listens.
    pub(crate) address: SocketAddr,
    /// Whether any content type and larger bodies are taken.
    pub(crate) lenient: bool,
    /// Whether the network can be steered over HTTP.
    pub(crate) control: bool,
    /// How long after the last ledger the network counts as healthy; without end where ledgers
    /// close by hand only.
    pub(crate) max_latency: Option<Duration>,
    pub(crate) slots: Slots,
    /// Cancelled when the server stops.
    pub(crate) stop: CancellationToken,
    /// Nodes that were started over HTTP; they stop with the network.
    pub(crate) others: Arc<Mutex<Vec<OtherNode>>>,
}

/// How many calls run at the same time. Simulations have their own share, so that they cannot hold
/// up the calls that only read.
#[derive(Clone)]
pub(crate) struct Slots {
    calls: Arc<Semaphore>,
    simulations: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// One call as it is carried out.
struct Call<'a> {
    node: &'a Node,
    /// What it reads.
    chain: &'a Chain,
    server: &'a Server,
    fate: Fate,
}

impl Slots {
    pub(crate) fn new() -> Self {
        // One processor always stays free for what is quick.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            simulations: Arc::new(Semaphore::new(processors.saturating_sub(1).max(1))),
            waiting: Arc::new(Semaphore::new(MAX_WAITING_SIMULATIONS)),
        }
    }
}

/// All routes.
pub(crate) fn router(server: Server) -> Router {
    let limit = if server.lenient { MAX_LENIENT_BODY } else { MAX_BODY };
    let mut router = Router::new()
        .route("/", post(serve))
        .route("/rpc", post(serve))
        .route("/soroban/rpc", post(serve))
        .route("/friendbot", get(funding::friendbot).post(funding::friendbot));
    // Web pages of any origin may read and send.
    router = router.layer(CorsLayer::permissive());

    // Not for web pages: only clients that may reach the port directly steer the network.
    if server.control {
        router = router.nest("/control", control::router());
    }
    router.layer(DefaultBodyLimit::max(limit)).with_state(server)
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

/// Parameters of a method; they come by name, and null is the same as absent.
pub(crate) fn params<T: DeserializeOwned>(params: Value) -> Result<T, RpcError> {
    let mut params = match params {
        Value::Null => json!({}),
        Value::Array(_) => {
            let message = "invalid parameters: array arguments are not supported, name them";
            return Err(RpcError::invalid_params(message));
        }
        params => params,
    };
    remove_nulls(&mut params);
    serde_json::from_value(params)
        .map_err(|error| RpcError::invalid_params(format!("invalid parameters: {error}")))
}

/// Removes the members of objects that are null, at every depth. Elements of arrays stay.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

async fn serve(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Response {
    if !server.lenient
        && let Err(message) = check_content_type(&headers)
    {
        let accepted = HeaderValue::from_static("application/json");
        let accept = [(header::HeaderName::from_static("accept-post"), accepted)];
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, accept, message).into_response();
    }

    let value: Value = match serde_json::from_slice(&body) {
        Ok(value) => value,
        Err(error) => {
            let error = RpcError { code: PARSE_ERROR, message: error.to_string() };
            return reply(&envelope(Value::Null, Err(error)));
        }
    };

    // One fate for a whole batch, which is one request on the wire.
    let fate = server.view.fate(subject(&value));
    match fate.end {
        End::Refused(status) => return refused(status),
        End::LostBefore => return broken_connection(),
        End::Stalls => {
            server.pause(HANG).await;
            return broken_connection();
        }
        End::Answered | End::LostAfter | End::Hangs => {}
    }

    // In a task of its own: a request that was read is carried out, whether or not its client still
    // waits for the answer.
    let carrier = server.clone();
    let carried_out = tokio::spawn(async move {
        carrier.pause(fate.lateness).await;
        respond(&carrier, value, fate).await
    });
    let Ok(answer) = carried_out.await else { return broken_connection() };

    server.pause(fate.delay).await;
    match (fate.end, answer) {
        (End::LostAfter, _) => broken_connection(),
        (End::Hangs, _) => {
            server.pause(HANG).await;
            broken_connection()
        }
        (_, Some(answer)) => reply(&answer),
        // Only notifications: there is nothing to say.
        (_, None) => StatusCode::NO_CONTENT.into_response(),
    }
}

impl Server {
    /// Waits, unless the server stops.
    async fn pause(&self, duration: Duration) {
        if !duration.is_zero() {
            let stopped = self.stop.cancelled();
            tokio::select! {
                () = sleep(duration) => {}
                () = stopped => {}
            }
        }
    }
}

/// An answer of the service in front of the RPC, which says when to come back where it can.
fn refused(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        return status.into_response();
    }
    (status, [(header::RETRY_AFTER, "1")]).into_response()
}

/// Refuses what is not JSON by its own account, as stellar-rpc does.
fn check_content_type(headers: &HeaderMap) -> Result<(), &'static str> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
    if !parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        return Err("content-type must be application/json\n");
    }

    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("charset").then(|| value.trim_matches('"').to_lowercase())
    });
    match charset.as_deref() {
        None | Some("utf-8" | "utf8") => Ok(()),
        Some(_) => Err("invalid content-type charset\n"),
    }
}

/// What a request or a batch is about, for the faults that choose among requests.
fn subject(value: &Value) -> Subject {
    if let Value::Array(calls) = value {
        let calls = calls.iter().take(MAX_BATCH).map(subject);
        let merged = calls.fold(Subject::default(), |all, call| Subject {
            sends: all.sends || call.sends,
            events: all.events || call.events,
            lists: true,
        });
        return Subject { lists: true, ..merged };
    }
    let method = value.get("method").and_then(Value::as_str).unwrap_or_default();
    Subject {
        sends: method == "sendTransaction",
        events: method == "getEvents",
        lists: matches!(method, "getEvents" | "getTransactions"),
    }
}

/// The answer to a request or a batch; `None` if there is nothing to answer.
async fn respond(server: &Server, value: Value, fate: Fate) -> Option<Value> {
    let Value::Array(calls) = value else { return respond_one(server, value, fate).await };
    if calls.is_empty() || calls.len() > MAX_BATCH {
        let message = format!("a batch holds 1 to {MAX_BATCH} calls");
        return Some(envelope(Value::Null, Err(RpcError::invalid_request(message))));
    }

    // One after another: calls of one batch may build on each other.
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        answers.extend(respond_one(server, call, fate).await);
    }
    if fate.reordered {
        answers.reverse();
    }
    (!answers.is_empty()).then_some(Value::Array(answers))
}

/// The answer to one call; `None` for a notification, which is a call without `id`.
async fn respond_one(server: &Server, call: Value, fate: Fate) -> Option<Value> {
    let refuse =
        |id: Value, message: &str| Some(envelope(id, Err(RpcError::invalid_request(message))));
    let Value::Object(mut call) = call else {
        return refuse(Value::Null, "a request must be an object");
    };

    // Read first, so that every later refusal can name it.
    let id = call.remove("id");
    if !matches!(id, None | Some(Value::Null | Value::String(_) | Value::Number(_))) {
        return refuse(Value::Null, "id must be a string, a number or null");
    }
    let shown_id = id.clone().unwrap_or(Value::Null);

    if call.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return refuse(shown_id, "incorrect version marker: jsonrpc must be \"2.0\"");
    }
    let Some(Value::String(method)) = call.remove("method") else {
        return refuse(shown_id, "method must be a string");
    };
    let params = call.remove("params").unwrap_or(Value::Null);
    if !matches!(params, Value::Null | Value::Object(_) | Value::Array(_)) {
        return refuse(shown_id, "params must be an object");
    }

    let answer = run(server, method, params, fate).await;
    id.map(|id| envelope(id, answer))
}

/// Carries a call out where it may compute, when there is room for one of its kind.
async fn run(server: &Server, method: String, params: Value, fate: Fate) -> Answer {
    let slots = &server.slots;
    let simulates = method == "simulateTransaction";

    // Counted from here to the end of the work, so that the waiting calls have a bound.
    let waiting = if simulates {
        let place = slots.waiting.clone().try_acquire_owned().map_err(|_| RpcError {
            code: BUSY,
            message: format!(
                "rpc queue for {method} surpassed queue limit of {MAX_WAITING_SIMULATIONS} requests"
            ),
        })?;
        Some(place)
    } else {
        None
    };
    let kind = if simulates { &slots.simulations } else { &slots.calls };
    let slot = kind.clone().acquire_owned().await;

    let server = server.clone();
    let work = move || {
        // Given back when the work ends, even if the client has gone by then.
        let _held = (slot, waiting);

        // Taken once, so that a whole call sees one ledger.
        let chain = server.view.chain(fate.stale);
        dispatch(
            &Call { node: &server.node, chain: &chain, server: &server, fate },
            &method,
            params,
        )
    };

    // The host computes: it must not hold up the tasks that serve others.
    let answer = tokio::task::spawn_blocking(work).await;
    answer.unwrap_or_else(|error| Err(RpcError::internal(error)))
}

fn dispatch(call: &Call<'_>, method: &str, params: Value) -> Answer {
    match method {
        "getHealth" => reads::get_health(call),
        "getNetwork" => reads::get_network(call),
        "getVersionInfo" => reads::get_version_info(),
        "getLatestLedger" => ledgers::get_latest_ledger(call),
        "getLedgers" => ledgers::get_ledgers(call, params),
        "getLedgerEntries" => reads::get_ledger_entries(call, params),
        "getTransaction" => transactions::get_transaction(call, params),
        "getTransactions" => transactions::get_transactions(call, params),
        "getFeeStats" => fees::get_fee_stats(call),
        "getEvents" => events::get_events(call, params),
        "sendTransaction" => send::send_transaction(call, params),
        "simulateTransaction" => simulation::simulate_transaction(call, params),
        other => {
            Err(RpcError { code: METHOD_NOT_FOUND, message: format!("no such method {other:?}") })
        }
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
