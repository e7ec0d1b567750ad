//! Spans and durations of calls: those that come in over HTTP and gRPC, and those that go out
//! over gRPC.
//!
//! Names and attributes are those of OpenTelemetry's semantic conventions. A span is named after
//! the route or the method, never after a path: a path holds ids, and each would be a name of its
//! own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::MatchedPath;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use opentelemetry::KeyValue;
use tokio::time::Instant;
use tonic::Code;
use tower::layer::util::Stack;
use tower::util::MapResponseLayer;
use tower::{Layer, Service};
use tower_http::classify::{GrpcErrorsAsFailures, ServerErrorsAsFailures, SharedClassifier};
use tower_http::trace::{MakeSpan, OnEos, OnResponse, TraceLayer};
use tracing::{Instrument as _, Span, field, info_span};

use crate::metrics;
use crate::telemetry::{continue_trace, traceparent_of};

/// A service itself is reached without encryption: where there is any, a proxy ends it.
const SCHEME: &str = "http";

/// Paths that only ask whether a process lives. They are no traces and no load.
const POLLED: [&str; 6] =
    ["/live", "/ready", "/health", "/metrics", "/grpc.health.v1.", "/grpc.reflection."];

/// Puts every HTTP request in a span of the trace that its `traceparent` header names, or of a
/// new one, names that span in the same header of the answer, and records how long it took. Add it
/// with `Router::layer`, so that the route is known.
pub fn http() -> Stack<Named<Spans<SharedClassifier<ServerErrorsAsFailures>>>, DurationLayer> {
    let spans = TraceLayer::new(SharedClassifier::new(ServerErrorsAsFailures::new()));
    // Inside of the span, which is the current one there.
    let name: fn(Response<Body>) -> Response<Body> = name_span;
    let named = Stack::new(MapResponseLayer::new(name), quiet(spans, Protocol::Http));
    Stack::new(named, DurationLayer(Protocol::Http))
}

/// The same for every gRPC call.
pub fn grpc() -> Stack<Spans<SharedClassifier<GrpcErrorsAsFailures>>, DurationLayer> {
    let spans = TraceLayer::new(SharedClassifier::new(GrpcErrorsAsFailures::new()));
    Stack::new(quiet(spans, Protocol::Grpc), DurationLayer(Protocol::Grpc))
}

/// Which conventions hold for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `http.*`.
    Http,
    /// `rpc.*`, with `rpc.system.name` = `grpc`.
    Grpc,
}

/// The layer of tower-http that makes spans, and nothing else: no event for each request.
pub type Spans<C> = TraceLayer<C, ServerSpan, (), SpanStatus, (), SpanStatus, ()>;

/// The layer `S`, which makes spans, with one inside of it that names them in answers.
pub type Named<S> = Stack<MapResponseLayer<fn(Response<Body>) -> Response<Body>>, S>;

/// Names in the answer the trace to which the request belongs. A poll belongs to none.
fn name_span(mut answer: Response<Body>) -> Response<Body> {
    let place = traceparent_of(&Span::current());
    if let Some(place) = place.and_then(|text| HeaderValue::try_from(text).ok()) {
        answer.headers_mut().insert("traceparent", place);
    }
    answer
}

fn quiet<C: Clone>(spans: TraceLayer<C>, protocol: Protocol) -> Spans<C> {
    spans
        .make_span_with(ServerSpan(protocol))
        .on_request(())
        .on_response(SpanStatus(protocol))
        .on_body_chunk(())
        .on_eos(SpanStatus(protocol))
        .on_failure(())
}

/// Makes the span of a call that came in.
#[derive(Debug, Clone, Copy)]
pub struct ServerSpan(Protocol);

impl<B> MakeSpan<B> for ServerSpan {
    fn make_span(&mut self, request: &Request<B>) -> Span {
        let path = request.uri().path();
        if is_poll(path) {
            return Span::none();
        }

        let span = match self.0 {
            Protocol::Http => {
                let (method, route) = (request.method(), route(request));
                let name =
                    route.map_or_else(|| method.to_string(), |route| format!("{method} {route}"));
                info_span!(
                    "request",
                    otel.name = %name,
                    otel.kind = "server",
                    otel.status_code = field::Empty,
                    http.request.method = %method,
                    http.route = route,
                    http.response.status_code = field::Empty,
                    // Without its query, which may hold what must not be logged (R9).
                    url.path = path,
                    url.scheme = SCHEME,
                )
            }
            Protocol::Grpc => info_span!(
                "request",
                otel.name = method(path),
                otel.kind = "server",
                otel.status_code = field::Empty,
                rpc.system.name = "grpc",
                rpc.method = method(path),
                rpc.response.status_code = field::Empty,
            ),
        };

        // Now, since a span that was entered can have no other parent.
        let header = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
        if let Some(header) = header {
            continue_trace(header, &span);
        }
        span
    }
}

/// Notes on the span how a call ended.
#[derive(Debug, Clone, Copy)]
pub struct SpanStatus(Protocol);

impl<B> OnResponse<B> for SpanStatus {
    fn on_response(self, response: &Response<B>, _: Duration, span: &Span) {
        match self.0 {
            Protocol::Http => {
                let status = response.status();
                // Signed, as a collector gets unsigned numbers as text.
                span.record("http.response.status_code", i64::from(status.as_u16()));
                if status.is_server_error() {
                    span.record("otel.status_code", "ERROR");
                }
            }
            // A call that is refused says so in the head; otherwise the trailers do.
            Protocol::Grpc => record_grpc(span, response.headers()),
        }
    }
}

impl OnEos for SpanStatus {
    fn on_eos(self, trailers: Option<&HeaderMap>, _: Duration, span: &Span) {
        if let (Protocol::Grpc, Some(trailers)) = (self.0, trailers) {
            record_grpc(span, trailers);
        }
    }
}

fn record_grpc(span: &Span, headers: &HeaderMap) {
    let Some(code) = grpc_status(headers) else { return };
    span.record("rpc.response.status_code", code_name(code));
    if is_server_error(code) {
        span.record("otel.status_code", "ERROR");
    }
}

/// Records how long calls take, from a call's head to its answer's head.
#[derive(Debug, Clone, Copy)]
pub struct DurationLayer(Protocol);

/// What [`DurationLayer`] makes.
#[derive(Debug, Clone)]
pub struct Timed<S> {
    inner: S,
    protocol: Protocol,
}

impl<S> Layer<S> for DurationLayer {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timed { inner, protocol: self.0 }
    }
}

/// The answer to a call, on its way.
pub type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl<S, B, R> Service<Request<B>> for Timed<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let protocol = self.protocol;
        let mut attributes = match protocol {
            Protocol::Http => vec![
                KeyValue::new("http.request.method", known_method(&request)),
                KeyValue::new("url.scheme", SCHEME),
            ],
            Protocol::Grpc => vec![
                KeyValue::new("rpc.system.name", "grpc"),
                KeyValue::new("rpc.method", method(request.uri().path()).to_owned()),
            ],
        };
        if protocol == Protocol::Http
            && let Some(route) = route(&request)
        {
            attributes.push(KeyValue::new("http.route", route.to_owned()));
        }
        let polled = is_poll(request.uri().path());

        // What is needed of the request was read above: the call takes it.
        let started_at = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if !polled && let Ok(response) = &answer {
                let seconds = started_at.elapsed().as_secs_f64();
                match protocol {
                    Protocol::Http => {
                        let status = i64::from(response.status().as_u16());
                        attributes.push(KeyValue::new("http.response.status_code", status));
                        metrics::http_server_duration().record(seconds, &attributes);
                    }
                    Protocol::Grpc => {
                        // A head without a status has begun well; how its stream ends is in the
                        // trailers.
                        let code = code_name(grpc_status(response.headers()).unwrap_or(Code::Ok));
                        attributes.push(KeyValue::new("rpc.response.status_code", code));
                        metrics::rpc_server_duration().record(seconds, &attributes);
                    }
                }
            }
            answer
        })
    }
}

/// Puts every gRPC call that goes out in a span of the current trace, and records how long it took.
#[derive(Debug, Clone)]
pub struct Outgoing<S> {
    inner: S,
    server: Arc<Server>,
}

/// Where calls go.
#[derive(Debug)]
struct Server {
    address: String,
    port: i64,
}

impl<S> Outgoing<S> {
    /// Calls the server at `uri` by way of `inner`, which puts the span's trace on the call.
    pub fn new(inner: S, uri: &Uri) -> Self {
        // The call itself does not have it: its path is joined to the address further inside.
        let address = uri.host().unwrap_or_default().to_owned();
        // That of the scheme, which is never encrypted here.
        let port = i64::from(uri.port_u16().unwrap_or(80));
        Self { inner, server: Arc::new(Server { address, port }) }
    }
}

impl<S, B, R> Service<Request<B>> for Outgoing<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if is_poll(request.uri().path()) {
            return Box::pin(self.inner.call(request));
        }

        let called = method(request.uri().path()).to_owned();
        let span = info_span!(
            "call",
            otel.name = %called,
            otel.kind = "client",
            otel.status_code = field::Empty,
            rpc.system.name = "grpc",
            rpc.method = %called,
            rpc.response.status_code = field::Empty,
            server.address = %self.server.address,
            server.port = self.server.port,
        );

        let started_at = Instant::now();
        // Inside the span, since the interceptor writes the current one into the call's headers.
        let answer = span.in_scope(|| self.inner.call(request));
        let ended = span.clone();
        let timed = async move {
            let answer = answer.await;
            // Without an answer the connection failed: gRPC's word for that is UNAVAILABLE.
            let code = answer.as_ref().map_or(Code::Unavailable, |response| {
                grpc_status(response.headers()).unwrap_or(Code::Ok)
            });
            ended.record("rpc.response.status_code", code_name(code));
            if code != Code::Ok {
                ended.record("otel.status_code", "ERROR");
            }
            let attributes = [
                KeyValue::new("rpc.system.name", "grpc"),
                KeyValue::new("rpc.method", called),
                KeyValue::new("rpc.response.status_code", code_name(code)),
            ];
            metrics::rpc_client_duration().record(started_at.elapsed().as_secs_f64(), &attributes);
            answer
        };
        Box::pin(timed.instrument(span))
    }
}

fn is_poll(path: &str) -> bool {
    // What ends in a dot is a gRPC package: all its methods.
    POLLED.iter().any(|polled| match polled.strip_suffix('.') {
        Some(_) => path.starts_with(polled),
        None => path == *polled,
    })
}

/// The route that matched, such as `/runs/{id}`; `None` where none did.
fn route<B>(request: &Request<B>) -> Option<&str> {
    request.extensions().get::<MatchedPath>().map(MatchedPath::as_str)
}

/// Callers may invent methods; those are one value, `_OTHER`.
fn known_method<B>(request: &Request<B>) -> &'static str {
    // The methods of RFC 9110, and PATCH of RFC 5789.
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let method = request.method().as_str();
    known.into_iter().find(|known| *known == method).unwrap_or("_OTHER")
}

/// `package.Service/Method` of a gRPC call's path.
fn method(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn grpc_status(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// Whether the server is at fault, and not the caller.
const fn is_server_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The code's name in gRPC's own documents.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_known_by_their_paths() {
        for path in ["/live", "/metrics", "/grpc.health.v1.Health/Check"] {
            assert!(is_poll(path), "{path}");
        }
        for path in ["/livestock", "/runs", "/lumio.runner.v1.Runner/CreateRun", "/"] {
            assert!(!is_poll(path), "{path}");
        }
    }
}
