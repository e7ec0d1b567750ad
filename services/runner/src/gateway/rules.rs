//! What holds for every request before a route sees it: who may be called by which name, which
//! queries and bodies are taken. Refusals are problem documents.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use percent_encoding::percent_decode_str;
use wire::Problem;

use crate::auth::caller::AsksMethods;
use crate::error::{Error, Result};
use crate::gateway::create_request::{MAX_BODY_BYTES, MAX_STORED_BODY_BYTES};
use crate::gateway::login;

/// The most bytes of a refused request that are taken before it is answered.
const MOST_TAKEN: u64 = 16 * 1024 * 1024;

/// How a form's body is named.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The names by which the gateway may be called.
///
/// A gateway on a loopback address trusts every client that reaches it. A page of a foreign site
/// reaches it too, if the site's name is made to point to 127.0.0.1 (DNS rebinding); only the
/// header `Host` shows it.
#[derive(Debug, Clone)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// The names of a loopback address, and `others`.
    pub fn loopback(others: impl IntoIterator<Item = String>) -> Self {
        let loopback = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        Self(
            loopback
                .into_iter()
                .chain(others.into_iter().map(|name| name.to_lowercase()))
                .collect(),
        )
    }

    /// Whether `host` (`name` or `name:port`) is one of them. The port does not matter: a tunnel
    /// may have another one.
    fn holds(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.to_lowercase();
        self.0.contains(&name) || name.ends_with(".localhost")
    }
}

/// Answers `OPTIONS`, except a browser's question before a call from another origin: that is the
/// CORS layer's, and this layer goes outside of it. `origin` is whose pages may read a refusal.
///
/// The router knows its own methods: it is asked by a method that no route has, and the `Allow` of
/// its refusal is the answer. An `OPTIONS` under a foreign name is refused like any other request.
pub async fn options(
    State((hosts, origin)): State<(Option<Arc<Hosts>>, HeaderValue)>,
    mut request: Request,
    next: Next,
) -> Response {
    if *request.method() != Method::OPTIONS {
        return next.run(request).await;
    }
    if let Err(error) = check_host(hosts.as_deref(), &request) {
        let mut answer = error.into_response();
        answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        return answer;
    }
    if request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return next.run(request).await;
    }
    *request.method_mut() = Method::TRACE;
    request.extensions_mut().insert(AsksMethods);
    let answer = next.run(request).await;
    if answer.status() != StatusCode::METHOD_NOT_ALLOWED {
        return answer;
    }
    let (mut parts, _) = answer.into_parts();
    parts.status = StatusCode::NO_CONTENT;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_TYPE);
    Response::from_parts(parts, Body::empty())
}

/// Applies the rules but the one about queries, and hands on what keeps them.
pub async fn apply(hosts: State<Option<Arc<Hosts>>>, request: Request, next: Next) -> Response {
    match check(hosts.0.as_deref(), &request) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            take_rest(request).await;
            error.into_response()
        }
    }
}

/// Takes what a client is sending already, and throws it away: many clients look at an answer only
/// after they have sent everything, and a connection that was closed meanwhile hides it from them.
/// One that waits for `100 Continue`, or sends very much, is answered at once.
pub async fn take_rest(request: Request) {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = length.and_then(|text| text.trim().parse::<u64>().ok());
    let is_small = length.is_some_and(|length| (1..=MOST_TAKEN).contains(&length));
    if !is_small || headers.contains_key(header::EXPECT) {
        return;
    }
    // The server bounds the time of each piece and of all of them.
    let mut pieces = request.into_body().into_data_stream();
    while let Some(Ok(_)) = pieces.next().await {}
}

/// Applies the rule about queries. As a layer of routes it is asked only for a method that the
/// route takes: another method is refused as that.
pub async fn apply_query(request: Request, next: Next) -> Response {
    match check_query(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            take_rest(request).await;
            error.into_response()
        }
    }
}

/// Applies those about the address, for files and documents that everybody may read.
pub async fn apply_host(
    hosts: State<Option<Arc<Hosts>>>,
    request: Request,
    next: Next,
) -> Response {
    match check_host(hosts.0.as_deref(), &request).and_then(|()| check_path(&request)) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(hosts: Option<&Hosts>, request: &Request) -> Result<()> {
    check_host(hosts, request)?;
    check_path(request)?;
    // What no route answers is refused as that, whatever it carries.
    match request.extensions().get::<MatchedPath>() {
        Some(route) => check_body(request.method(), route.as_str(), request.headers()),
        None => Ok(()),
    }
}

fn check_host(hosts: Option<&Hosts>, request: &Request) -> Result<()> {
    let Some(hosts) = hosts else { return Ok(()) };
    let refused = |text: String| Err(Error::refused(Problem::MisdirectedRequest, text));
    let called = |host: &[u8]| match std::str::from_utf8(host) {
        Ok(host) if hosts.holds(host) => Ok(()),
        _ => refused(format!(
            "the gateway listens on a loopback address and is not called {}; \
             call it localhost or 127.0.0.1",
            String::from_utf8_lossy(host).escape_default()
        )),
    };
    let mut named = request.headers().get_all(header::HOST).iter();
    match (named.next(), named.next()) {
        // A target that names its server goes before the header (RFC 9112, section 3.2.2).
        (Some(host), None) => match request.uri().authority() {
            Some(authority) => called(authority.as_str().as_bytes()),
            None => called(host.as_bytes()),
        },
        // Browsers always send it, and HTTP/1.0 need not.
        (None, _) if request.version() < Version::HTTP_11 => Ok(()),
        _ => refused("expected one header Host".to_owned()),
    }
}

/// A path that is no text names nothing.
fn check_path(request: &Request) -> Result<()> {
    match percent_decode_str(request.uri().path()).decode_utf8() {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::refused(Problem::NotFound, "the path is not UTF-8")),
    }
}

/// Routes of which a `GET` reads a query, each with its own list of parameters.
const WITH_QUERY: [&str; 14] = [
    "/runs",
    "/runs/{id}/bundle",
    "/runs/{id}/outputs",
    "/runs/{id}/outputs/{*path}",
    "/runs/{id}/events",
    "/events",
    "/agents",
    "/receipts/{user}",
    "/operator/queue",
    "/operator/dead-letters",
    "/operator/packs",
    "/operator/packs/{id}/check",
    // What these do not know they ignore, as SEP-10 and SEP-45 say.
    "/auth",
    "/sep45",
];

/// Routes that take nothing without a body.
const WITH_BODY: [&str; 6] = ["/runs", "/quote", "/inputs", "/auth", "/sep45", "/auth/refresh"];

/// Of these, routes that take a form as well, as SEP-10 and SEP-45 say.
const WITH_FORM: [&str; 3] = ["/auth", "/sep45", "/auth/refresh"];

/// Queries are read by the routes that take any. The others refuse one: a misspelt or misplaced
/// parameter must not look as if it had been heeded. No `POST` reads one.
fn check_query(request: &Request) -> Result<()> {
    let (method, path) = (request.method(), request.uri().path());
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let is_empty = request.uri().query().unwrap_or_default().is_empty();
    if is_empty || (*method != Method::POST && WITH_QUERY.contains(&route)) {
        return Ok(());
    }
    let text = format!("{method} {path} takes no query parameters");
    Err(Error::refused(Problem::InvalidRequest, text))
}

/// A `POST` carries JSON or nothing, and no more of it than is read. Refused before the body is
/// asked for, so that a client which waits for `100 Continue` does not send it.
fn check_body(method: &Method, route: &str, headers: &HeaderMap) -> Result<()> {
    if *method != Method::POST {
        return Ok(());
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let length = text(header::CONTENT_LENGTH).trim().parse::<u64>().ok();
    let has_body =
        length.is_some_and(|length| length > 0) || headers.contains_key(header::TRANSFER_ENCODING);

    let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    let is_form = WITH_FORM.contains(&route) && kind.eq_ignore_ascii_case(FORM);
    let is_known = is_form || kind.eq_ignore_ascii_case("application/json");
    if (has_body || WITH_BODY.contains(&route)) && !is_known {
        let text = match WITH_FORM.contains(&route) {
            true => format!("expected the header Content-Type: application/json or {FORM}"),
            false => "expected the header Content-Type: application/json".to_owned(),
        };
        return Err(Error::refused(Problem::UnsupportedMediaType, text));
    }
    let most = most_bytes(route);
    if length.is_some_and(|length| length > u64::try_from(most).unwrap_or(u64::MAX)) {
        let text = format!("the request has more than {most} bytes");
        return Err(Error::refused(Problem::PayloadTooLarge, text));
    }
    Ok(())
}

/// How many bytes a route takes.
fn most_bytes(route: &str) -> usize {
    match route {
        "/inputs" => MAX_STORED_BODY_BYTES,
        "/sep45" => login::MAX_BODY_BYTES,
        _ if route == "/auth" || route.starts_with("/auth/") => login::MAX_BODY_BYTES,
        _ => MAX_BODY_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::path::{Operation, ParameterIn};
    use utoipa::openapi::{OpenApi, RefOr};

    use super::*;
    use crate::gateway;

    /// The routes that keep the rule about queries.
    fn described() -> [OpenApi; 4] {
        [
            gateway::behind_login().into_openapi(),
            gateway::before_login().into_openapi(),
            login::open().into_openapi(),
            login::behind_guard().into_openapi(),
        ]
    }

    fn reads_query(operation: &Operation) -> bool {
        operation.parameters.iter().flatten().any(|parameter| match parameter {
            RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
            RefOr::Ref(_) => false,
        })
    }

    #[test]
    fn the_routes_that_take_a_query_are_those_that_describe_one() {
        let mut described_ones = Vec::new();
        for part in described() {
            for (path, item) in part.paths.paths {
                assert!(!item.post.as_ref().is_some_and(reads_query), "no POST reads one: {path}");
                if item.get.as_ref().is_some_and(reads_query) {
                    described_ones.push(path);
                }
            }
        }
        let mut taken = WITH_QUERY.to_vec();
        taken.sort_unstable();
        described_ones.sort_unstable();
        assert_eq!(taken, described_ones);
    }

    #[test]
    fn the_routes_with_a_rule_about_their_body_are_there() {
        let parts = described();
        for route in WITH_BODY.iter().chain(&WITH_FORM) {
            let item = parts.iter().find_map(|part| part.paths.paths.get(*route));
            let takes_body = item.and_then(|item| item.post.as_ref());
            assert!(takes_body.is_some_and(|post| post.request_body.is_some()), "{route}");
        }
    }

    #[test]
    fn a_loopback_gateway_is_called_by_its_own_names_only() {
        let hosts = Hosts::loopback(["Runner.Example".to_owned()]);
        for host in [
            "localhost",
            "LOCALHOST:4000",
            "127.0.0.1:1",
            "[::1]:4000",
            "[::1]",
            "a.localhost",
            "runner.example",
        ] {
            assert!(hosts.holds(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:4000",
            "127.0.0.1.evil",
            "",
            "[::2]:1",
            "10.0.0.1",
        ] {
            assert!(!hosts.holds(host), "{host}");
        }
    }
}
