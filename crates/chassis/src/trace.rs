//! A layer that puts every request in a span and in the caller's trace.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use opentelemetry::KeyValue;
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, field, info_span};

use crate::metrics;
use crate::telemetry::{continue_trace, trace_id, traceparent_of};

/// Wraps a service so that each request runs in a span of the trace its `traceparent` header names, or
/// of a new one. The span carries `trace_id`, so that a log line can be found by it.
#[derive(Debug, Clone, Copy)]
pub struct TraceLayer {
    protocol: &'static str,
}

/// What [`TraceLayer`] makes.
#[derive(Debug, Clone)]
pub struct Traced<S> {
    inner: S,
    protocol: &'static str,
}

impl TraceLayer {
    /// For gRPC servers.
    pub const fn grpc() -> Self {
        Self { protocol: "grpc" }
    }

    /// For HTTP servers.
    pub const fn http() -> Self {
        Self { protocol: "http" }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Traced { inner, protocol: self.protocol }
    }
}

impl<S, B> Service<http::Request<B>> for Traced<S>
where
    S: Service<http::Request<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (span, protocol) = (self.span(&request), self.protocol);
        let answer = span.in_scope(|| self.inner.call(request));
        let started_at = Instant::now();
        let timed = async move {
            let answer = answer.await;
            let labels = [KeyValue::new("protocol", protocol)];
            metrics::server_duration().record(started_at.elapsed().as_secs_f64(), &labels);
            answer
        };
        Box::pin(timed.instrument(span))
    }
}

impl<S> Traced<S> {
    /// The path without its query, which may hold what must not be logged (R9).
    fn span<B>(&self, request: &http::Request<B>) -> Span {
        let (path, protocol) = (request.uri().path(), self.protocol);
        let span = info_span!(
            "request",
            otel.name = %format!("{protocol} {path}"),
            otel.kind = "server",
            method = %request.method(),
            path,
            trace_id = field::Empty,
        );
        let header = request.headers().get("traceparent").and_then(|it| it.to_str().ok());
        if let Some(header) = header {
            continue_trace(header, &span);
        }
        if let Some(id) = trace_id(&traceparent_of(&span)) {
            span.record("trace_id", id);
        }
        span
    }
}
