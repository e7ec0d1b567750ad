//! Clients that hang up: on every route of the gateway's own document, and on every method of gRPC.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Request;
use wire::pb::runner::v1::runner_client::RunnerClient;
use wire::pb::runner::v1::{
    CancelRunRequest, CreateRunRequest, GetAgentRequest, GetRunRequest, GetSummaryRequest,
    ListAgentsRequest, ListGrantsRequest, ListRunsRequest, QuoteRequest, RetryRunRequest,
    WatchRunRequest, WatchRunsRequest,
};

use super::lane::body;
use crate::stack::repository;

/// A service that may call gRPC: what `Stack::runner_variables` knows.
const TOKEN: &str = "runner-token-of-the-test";
/// How many methods [`leave_every_method`] calls.
pub(super) const METHODS: usize = 12;

/// One route with its method.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    pub method: String,
    pub path: String,
}

/// Whose names requests carry.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub alice: String,
    pub agent: u64,
    /// A run.
    pub run: String,
}

/// Every route that the document names.
pub(super) fn routes() -> anyhow::Result<Vec<Route>> {
    let text = std::fs::read(repository().join("spec/openapi.json"))?;
    let document: Value = serde_json::from_slice(&text)?;
    let paths = document["paths"].as_object().context("the document has paths")?;
    let mut routes = Vec::new();
    for (path, methods) in paths {
        for method in methods.as_object().into_iter().flat_map(|methods| methods.keys()) {
            if ["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                routes.push(Route { method: method.to_uppercase(), path: path.clone() });
            }
        }
    }
    Ok(routes)
}

/// Sends a whole request, or the beginning of one, and resets the connection after a while.
pub(super) async fn hang_up(
    port: u16,
    route: &Route,
    names: &Names,
    random: &mut StdRng,
) -> std::io::Result<()> {
    let (cut, after) = (random.random_bool(0.2), random.random_range(0..20_000));
    let mut request = request(route, names, random.random_range(0..1_000_000));
    if cut {
        request.truncate(random.random_range(0..request.len()));
    }
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(&request).await?;
    tokio::time::sleep(Duration::from_micros(after)).await;
    // A reset, not an orderly end: what was sent is not waited for.
    stream.set_zero_linger()
}

fn request(route: &Route, names: &Names, number: usize) -> Vec<u8> {
    let path = route
        .path
        .replace("{id}", if route.path.starts_with("/agents") { "1" } else { &names.run })
        .replace("{user}", &names.alice)
        .replace("{digest}", &"ab".repeat(32))
        .replace("{path}", "done.json")
        .replace("{slug}", "not-found");
    let body = match (route.method.as_str(), route.path.as_str()) {
        ("POST", "/runs") => body(&names.alice, names.agent, number),
        ("POST", "/quote") => {
            let mut asked = body(&names.alice, names.agent, number);
            if let Some(asked) = asked.as_object_mut() {
                asked.remove("input");
            }
            asked
        }
        // Of an agent without runs, so that it pauses nothing here.
        ("POST", "/operator/intake/pause") => {
            serde_json::json!({ "agent": u32::MAX, "reason": "a client that hangs up" })
        }
        ("POST", "/operator/intake/resume") => serde_json::json!({ "agent": u32::MAX }),
        _ => serde_json::json!({}),
    };
    let body = if route.method == "GET" { String::new() } else { body.to_string() };
    format!(
        "{} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        route.method,
        body.len()
    )
    .into_bytes()
}

/// Calls every method of gRPC with next to no time: half of the calls send their deadline to the
/// server, half reset their stream.
pub(super) async fn leave_every_method(
    port: u16,
    names: &Names,
    random: &mut StdRng,
    counts: &mut BTreeMap<&'static str, u64>,
) -> anyhow::Result<()> {
    let channel = chassis::grpc::client(&format!("http://127.0.0.1:{port}"), Some(&TOKEN.into()))?;
    let client = RunnerClient::new(channel);
    let mut order: Vec<usize> = (0..METHODS).collect();
    rand::seq::SliceRandom::shuffle(order.as_mut_slice(), random);
    let sends_deadline = random.random_bool(0.5);
    for method in order {
        let after = Duration::from_micros(random.random_range(1..15_000));
        let name = call(client.clone(), method, names, after, sends_deadline).await;
        *counts.entry(name).or_default() += 1;
    }
    Ok(())
}

async fn call(
    mut client: RunnerClient<chassis::grpc::Client>,
    method: usize,
    names: &Names,
    after: Duration,
    sends_deadline: bool,
) -> &'static str {
    // The client has gone, so how a call ends is not looked at.
    macro_rules! leave {
        ($method:ident, $message:expr) => {{
            let mut request = Request::new($message);
            if sends_deadline {
                request.set_timeout(after);
                drop(timeout(Duration::from_millis(500), client.$method(request)).await);
            } else {
                drop(timeout(after, client.$method(request)).await);
            }
            stringify!($method)
        }};
    }
    let (id, user) = (names.run.clone(), names.alice.clone());
    let agent_id = u32::try_from(names.agent).unwrap_or_default();
    let budgets = || Some(wire::Usage { runtime_ms: 20_000, ..wire::Usage::default() }.into());
    match method {
        0 => leave!(
            create_run,
            CreateRunRequest { user, agent_id, budgets: budgets(), ..CreateRunRequest::default() }
        ),
        1 => leave!(get_run, GetRunRequest { id }),
        2 => leave!(list_runs, ListRunsRequest::default()),
        3 => leave!(retry_run, RetryRunRequest { id }),
        4 => leave!(cancel_run, CancelRunRequest { id }),
        5 => leave!(watch_run, WatchRunRequest { id, after: 0 }),
        6 => leave!(watch_runs, WatchRunsRequest::default()),
        7 => leave!(get_summary, GetSummaryRequest {}),
        8 => leave!(list_agents, ListAgentsRequest::default()),
        9 => leave!(get_agent, GetAgentRequest { agent_id }),
        10 => leave!(
            quote,
            QuoteRequest { user: None, agent_id, rate_version: None, budgets: budgets() }
        ),
        _ => leave!(list_grants, ListGrantsRequest { user }),
    }
}
