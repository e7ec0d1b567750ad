//! Logs, traces and metrics of a process.
//!
//! Trace ids are made whether or not anybody collects traces: they stand in logs, events and run
//! objects. With `OTEL_EXPORTER_OTLP_ENDPOINT` set, spans and metrics also go there (OTLP over gRPC).
//! Logs go to standard error, for people on a terminal and as JSON otherwise.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::str::FromStr as _;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, global};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

use crate::config::Env;

/// The variable that turns exporting on.
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Libraries whose debug output drowns ours.
const QUIET: &str = "async_nats=warn,h2=warn,hyper=warn,hyper_util=warn,opentelemetry=warn,opentelemetry_sdk=warn,rustls=warn,sqlx=warn,tonic=warn,tower=warn";

/// What the first call of [`init`] set up. The lock is held while it does, so that a second call waits.
static PROVIDERS: Mutex<Option<Telemetry>> = Mutex::new(None);

/// What [`init`] set up; flush it before the process ends.
#[derive(Debug, Clone)]
pub struct Telemetry {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

/// Sets up logs, traces and metrics for `service` at `level` (`error warn info debug trace`). A second
/// call in the same process changes nothing, also at the same time. Call it inside the runtime and after
/// [`crate::confine::confine`], since an exporter starts threads.
///
/// # Errors
///
/// When `level` is not a level, when the exporter's address cannot be used, or when something else in
/// the process has taken the log already.
pub fn init(service: &'static str, level: &str) -> anyhow::Result<Telemetry> {
    // A call that panicked has stored nothing, so the next may try.
    let mut providers = PROVIDERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(telemetry) = &*providers {
        return Ok(telemetry.clone());
    }
    let filter = LevelFilter::from_str(level)
        .map_err(|_| anyhow!("the log level must be error, warn, info, debug or trace"))?;
    let filter =
        EnvFilter::try_new(format!("{filter},{QUIET}")).context("cannot filter the log")?;
    let endpoint = Env::process().optional_url(ENDPOINT, &["http", "https"]);
    let telemetry = Telemetry::new(service, endpoint.as_deref())
        .with_context(|| format!("{ENDPOINT}: cannot export there"))?;

    let tracer = telemetry.traces.tracer(service);
    let traces = tracing_opentelemetry::layer().with_tracer(tracer);
    Registry::default()
        .with(traces.with_filter(LevelFilter::INFO))
        .with(log_layer().with_filter(filter))
        .try_init()
        .context("the log of this process is taken already")?;
    global::set_meter_provider(telemetry.metrics.clone());
    Ok(providers.insert(telemetry).clone())
}

/// The current span as W3C `traceparent`. Where there is none, a fresh one: a fact without a trace
/// could not be followed.
pub fn traceparent() -> String {
    traceparent_of(&Span::current())
}

/// `span` as W3C `traceparent`, or a fresh one if it has no place in a trace.
pub fn traceparent_of(span: &Span) -> String {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove("traceparent").unwrap_or_else(fresh)
}

/// Makes `span`, which nobody has entered yet, part of the trace that `traceparent` names. A text that
/// is not a traceparent changes nothing: it came from outside and is only a hint.
pub fn continue_trace(traceparent: &str, span: &Span) {
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    if parent.span().span_context().is_valid() {
        // The only failures are a process without telemetry and a span entered before.
        let _ = span.set_parent(parent);
    }
}

/// The trace id in a `traceparent` (32 lower-case hex digits), if it is one.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    let trace_id = traceparent.split('-').nth(1)?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let plain = trace_id.len() == 32 && trace_id.bytes().all(hex);
    (plain && trace_id.bytes().any(|byte| byte != b'0')).then_some(trace_id)
}

impl Telemetry {
    fn new(service: &'static str, endpoint: Option<&str>) -> anyhow::Result<Self> {
        let resource = || Resource::builder().with_service_name(service).build();
        let mut traces = SdkTracerProvider::builder().with_resource(resource());
        let mut metrics = SdkMeterProvider::builder().with_resource(resource());
        if let Some(endpoint) = endpoint {
            let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
            traces = traces.with_batch_exporter(exporter);
            let exporter =
                MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
            metrics = metrics.with_periodic_exporter(exporter);
        }
        Ok(Self { traces: traces.build(), metrics: metrics.build() })
    }

    /// Sends what is still waiting to be exported. Waits a few seconds at most.
    pub fn flush(&self) {
        // An exporter that is away must not keep a process from ending.
        let _ = self.traces.force_flush();
        let _ = self.metrics.force_flush();
    }
}

fn log_layer<S>() -> Box<dyn tracing_subscriber::Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        layer.with_target(false).compact().boxed()
    } else {
        layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    }
}

/// A `traceparent` of a trace nobody else has.
fn fresh() -> String {
    // The low half of a UUID of version 7 is random but for the two bits of its variant.
    let (trace, span) = (crate::clock::new_uuid(), crate::clock::new_uuid());
    let (_, span) = span.as_u64_pair();
    format!("00-{}-{span:016x}-01", trace.simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_telemetry_there_is_still_a_valid_traceparent() {
        let (one, other) = (traceparent(), traceparent());
        assert!(trace_id(&one).is_some(), "{one}");
        assert_ne!(trace_id(&one), trace_id(&other));
    }

    #[test]
    fn only_a_trace_id_is_taken_for_one() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(trace_id(&format!("00-{id}-b7ad6b7169203331-01")), Some(id));
        for text in ["", "00-7-7-01", &format!("00-{}-b7ad6b7169203331-01", "0".repeat(32))] {
            assert_eq!(trace_id(text), None, "{text}");
        }
    }
}
