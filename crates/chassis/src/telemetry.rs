//! Logs, traces and metrics of a process.
//!
//! Trace ids are made whether or not anything collects traces: logs, events and run objects carry
//! them. With `OTEL_EXPORTER_OTLP_ENDPOINT` set, spans and metrics also go there (OTLP over gRPC,
//! encrypted if the address is `https://`). Logs go to standard error, for people on a terminal
//! and as JSON otherwise. Every name that is exported is listed in
//! `docs/operations/telemetry.md`.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_otlp::{
    MetricExporter, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{Registry as Prometheus, TextEncoder};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tonic::transport::{Certificate, ClientTlsConfig};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

use crate::config::Env;
use crate::files;
use export::{Kind, Outage, Watched};

pub(crate) use statements::note_failure as note_failed_statement;

mod attributes;
#[cfg(test)]
pub(crate) mod captured;
mod export;
mod log_format;
mod statements;

/// The variable that turns exporting on.
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The variable that names a file of certificates (PEM) to trust besides the public ones.
pub const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
/// The variable that gives a service another name, such as one for each deployment.
pub const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// The variable that gives the process further attributes.
pub const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Libraries whose debug output drowns ours. A name stands for every target that begins with it.
const QUIET: &str = concat!(
    // `crate::bus` logs what happens to the connection, and `export` whether the collector answers:
    // the libraries repeat it at every attempt.
    "async_nats=off,opentelemetry=off,",
    // The reader of a database's address logs the values of parameters that it does not know, and
    // lines of a file of passwords (R9).
    "sqlx_postgres::options=off,",
    "h2=warn,hyper=warn,hyper_util=warn,rustls=warn,sqlx=warn,tonic=warn,tower=warn",
);

/// What the first call of [`init`] set up. The lock is held while it does, so that a second call
/// waits.
static PROVIDERS: Mutex<Option<Telemetry>> = Mutex::new(None);

/// What [`init`] set up; flush it before the process ends.
#[derive(Debug, Clone)]
pub struct Telemetry {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    prometheus: Prometheus,
    exports: bool,
}

/// Where telemetry goes, and under which name.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The collector (OTLP over gRPC); nothing is exported if absent.
    pub endpoint: Option<String>,
    /// Certificates to trust besides the public ones.
    pub certificate: Option<PathBuf>,
    /// The name of the service, in place of its own.
    pub service_name: Option<String>,
    /// Further attributes of the process.
    pub attributes: Vec<KeyValue>,
}

impl Settings {
    /// The settings of this process's environment, by OpenTelemetry's own names.
    pub fn from_env(env: &Env) -> Self {
        Self {
            endpoint: env.optional_url(ENDPOINT, &["http", "https"]),
            certificate: env.optional(CERTIFICATE).map(PathBuf::from),
            service_name: env.optional(SERVICE_NAME),
            attributes: env.parse(ATTRIBUTES, attributes::read).unwrap_or_default(),
        }
    }
}

/// Sets up logs, traces and metrics for `service` at `level` (`error warn info debug trace`),
/// with the settings of the environment. A second call in the same process changes nothing, also
/// at the same time. Call it inside the runtime and after [`crate::confine::confine`], since an
/// exporter starts threads.
///
/// # Errors
///
/// When `level` is not a level, when the exporter's address or certificates cannot be used, or when
/// another subscriber is installed already.
pub fn init(service: &'static str, level: &str) -> anyhow::Result<Telemetry> {
    init_with(service, level, || {
        let env = Env::process();
        let settings = Settings::from_env(&env);
        env.finish()?;
        Ok(settings)
    })
}

/// The same with the settings that `settings` gives.
///
/// # Errors
///
/// As [`init`].
pub fn init_with(
    service: &'static str,
    level: &str,
    settings: impl FnOnce() -> anyhow::Result<Settings>,
) -> anyhow::Result<Telemetry> {
    // A call that panicked has stored nothing, so the next may try.
    let mut providers = PROVIDERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(telemetry) = &*providers {
        return Ok(telemetry.clone());
    }

    let filter = read_level(level).map_err(|expected| anyhow!("{expected} as the log level"))?;
    let filter =
        EnvFilter::try_new(format!("{filter},{QUIET}")).context("cannot filter the log")?;
    let telemetry = Telemetry::new(service, &settings()?)?;

    // The layer that makes spans of statements asks for sqlx's own events, which are at level
    // debug, and for the spans that they are made in. It is only there when spans are exported:
    // without it, sqlx does not even make its events.
    let tracer = telemetry.traces.tracer(service);
    let statements = telemetry.exports.then(|| {
        let of_statements = filter_fn(|metadata: &Metadata<'_>| {
            let is_span = metadata.is_span() && *metadata.level() <= Level::INFO;
            is_span || metadata.target() == "sqlx::query"
        });
        let of_statements = of_statements.with_max_level_hint(LevelFilter::DEBUG);
        statements::StatementSpans::new(tracer.clone()).with_filter(of_statements)
    });
    // A span has the attributes that its place in the code gives it, and no further ones.
    let traces = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false);
    Registry::default()
        .with(traces.with_filter(LevelFilter::INFO))
        .with(statements)
        .with(log_layer().with_filter(filter))
        .try_init()
        .context("a tracing subscriber is already installed in this process")?;
    global::set_meter_provider(telemetry.metrics.clone());
    Ok(providers.insert(telemetry).clone())
}

/// Reads how much is logged.
///
/// # Errors
///
/// What was expected.
pub fn read_level(text: &str) -> Result<LevelFilter, &'static str> {
    // The library's own reader also takes numbers and `off`, with which a service would fail
    // without a word.
    match text.to_ascii_lowercase().as_str() {
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err("expected error, warn, info, debug or trace"),
    }
}

/// The current span as W3C `traceparent`. Where there is none, a fresh one: a fact without a trace
/// could not be followed.
pub fn traceparent() -> String {
    traceparent_of(&Span::current()).unwrap_or_else(|| fresh(true))
}

/// `span` as W3C `traceparent`; `None` if it has no place in a trace.
pub fn traceparent_of(span: &Span) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove("traceparent")
}

/// The same work inside of the current span, for another thread, which would be in none: what is
/// logged there belongs to the same trace. For tasks, `tracing::Instrument` does it.
pub fn in_current_span<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let span = Span::current();
    move || span.in_scope(work)
}

/// Makes `span`, which was not entered yet, part of the trace that `traceparent` names. A text
/// that is not a traceparent changes nothing: it came from outside and is only a hint.
pub fn continue_trace(traceparent: &str, span: &Span) {
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    if parent.span().span_context().is_valid() {
        // The only failures are a process without telemetry and a span entered before.
        let _ = span.set_parent(parent);
    }
}

/// A span that is never exported, and neither is anything in it, here or in the services that it
/// calls: for polls, which would bury the traces of work. It says so in the way that W3C Trace
/// Context has for it, by the flag "not sampled".
pub fn unsampled(name: &'static str) -> Span {
    let span = info_span!("unsampled", otel.name = name);
    continue_trace(&fresh(false), &span);
    span
}

/// The trace id in a `traceparent` (32 lower-case hex digits), if it is one.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    let trace_id = traceparent.split('-').nth(1)?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let plain = trace_id.len() == 32 && trace_id.bytes().all(hex);
    (plain && trace_id.bytes().any(|byte| byte != b'0')).then_some(trace_id)
}

impl Telemetry {
    fn new(service: &'static str, settings: &Settings) -> anyhow::Result<Self> {
        let name = settings.service_name.clone().unwrap_or_else(|| service.into());
        let resource = resource(name, settings.attributes.clone());
        let prometheus = Prometheus::new();
        let reader = opentelemetry_prometheus::exporter().with_registry(prometheus.clone());
        let mut traces = SdkTracerProvider::builder().with_resource(resource.clone());
        let mut metrics = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(reader.build().context("cannot collect metrics for Prometheus")?);

        if let Some(endpoint) = &settings.endpoint {
            let encrypted = endpoint.starts_with("https://");
            let tls = encrypted.then(|| tls(settings.certificate.as_deref())).transpose()?;
            let refused = || format!("{ENDPOINT}: cannot export there");
            let outage = Arc::<Outage>::default();

            let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
            if let Some(tls) = tls.clone() {
                exporter = exporter.with_tls_config(tls);
            }
            let exporter = exporter.build().with_context(refused)?;
            traces = traces.with_batch_exporter(Watched::new(
                Kind::Spans,
                exporter,
                Arc::clone(&outage),
            ));

            let mut exporter = MetricExporter::builder().with_tonic().with_endpoint(endpoint);
            if let Some(tls) = tls {
                exporter = exporter.with_tls_config(tls);
            }
            let exporter = exporter.build().with_context(refused)?;
            metrics = metrics.with_periodic_exporter(Watched::new(Kind::Metrics, exporter, outage));
        }

        let exports = settings.endpoint.is_some();
        Ok(Self { traces: traces.build(), metrics: metrics.build(), prometheus, exports })
    }

    /// All metrics as Prometheus reads them (text format 0.0.4).
    pub fn prometheus(&self) -> String {
        // A metric that cannot be written is left out; the others count.
        let mut families = self.prometheus.gather();
        attributes::name_labels(&mut families);
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }

    /// Sends what is still waiting to be exported. Waits a few seconds at most.
    pub fn flush(&self) {
        // An exporter that does not answer must not keep a process from ending.
        let _ = self.traces.force_flush();
        let _ = self.metrics.force_flush();
    }
}

/// Who reports: the service, its version, and this process of it. `further` attributes are read by
/// the settings and not by the library, which would leave out what it cannot read without a word.
fn resource(service: String, further: Vec<KeyValue>) -> Resource {
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(further)
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.version", crate::version()),
            KeyValue::new("service.instance.id", crate::clock::new_uuid().to_string()),
        ])
        .build()
}

/// Trusts the public certificate authorities, and those in the file `certificate`.
fn tls(certificate: Option<&Path>) -> anyhow::Result<ClientTlsConfig> {
    // Several crates bring rustls, each with another implementation of its cryptography, and then
    // rustls does not choose. The only failure is that the process has chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = ClientTlsConfig::new().with_webpki_roots();
    let Some(path) = certificate else { return Ok(tls) };
    let pem = files::read(path)
        .with_context(|| format!("{CERTIFICATE}: cannot read {}", path.display()))?;
    check_certificates(&pem).map_err(|expected| anyhow!("{CERTIFICATE}: {expected}"))?;
    Ok(tls.ca_certificate(Certificate::from_pem(pem)))
}

/// Whether `pem` holds certificates: the exporter accepts a file without any, and then trusts no
/// server.
///
/// # Errors
///
/// What was expected.
pub fn check_certificates(pem: &[u8]) -> Result<(), &'static str> {
    let mut found = CertificateDer::pem_slice_iter(pem).peekable();
    if found.peek().is_some() && found.all(|certificate| certificate.is_ok()) {
        return Ok(());
    }
    Err("expected a file of certificates (PEM)")
}

fn log_layer<S>() -> Box<dyn tracing_subscriber::Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        layer.with_target(false).compact().boxed()
    } else {
        let layer = layer.json().flatten_event(true).with_current_span(true).with_span_list(false);
        layer.map_event_format(log_format::WithTrace).boxed()
    }
}

/// A `traceparent` of a trace that nothing else belongs to.
fn fresh(sampled: bool) -> String {
    // The low half of a UUID of version 7 is random but for the two bits of its variant.
    let (trace, span) = (crate::clock::new_uuid(), crate::clock::new_uuid());
    let (_, span) = span.as_u64_pair();
    format!("00-{}-{span:016x}-{:02x}", trace.simple(), u8::from(sampled))
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

    #[test]
    fn the_settings_are_those_of_opentelemetry_and_mistakes_are_named() {
        let env = Env::from_map([
            (ENDPOINT, "https://collector:4317"),
            (SERVICE_NAME, "lumio-runner-eu"),
            (CERTIFICATE, "/etc/ca.pem"),
            (ATTRIBUTES, "deployment.environment.name=a%20b"),
        ]);
        let settings = Settings::from_env(&env);
        assert_eq!(settings.endpoint.as_deref(), Some("https://collector:4317"));
        assert_eq!(settings.service_name.as_deref(), Some("lumio-runner-eu"));
        assert_eq!(settings.attributes[0].value.as_str(), "a b");

        let env = Env::from_map([(ENDPOINT, "collector:4317")]);
        assert_eq!(Settings::from_env(&env).endpoint, None);
        assert!(env.finish().unwrap_err().to_string().starts_with(ENDPOINT));
        let env = Env::from_map([(ATTRIBUTES, "a=1,b")]);
        assert!(Settings::from_env(&env).attributes.is_empty(), "all of it, or nothing");
        assert!(env.finish().unwrap_err().to_string().starts_with(ATTRIBUTES));
    }

    #[test]
    fn only_the_documented_levels_are_read() {
        assert_eq!(read_level("warn"), Ok(LevelFilter::WARN));
        assert_eq!(read_level("TRACE"), Ok(LevelFilter::TRACE));
        for wrong in ["", "0", "1", "5", "off", "loud", "warning", "info,sqlx=debug"] {
            assert!(read_level(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_libraries_say_of_secrets_and_at_every_attempt_is_not_logged() {
        let filter = EnvFilter::try_new(format!("trace,{QUIET}")).unwrap();
        tracing::subscriber::with_default(Registry::default().with(filter), || {
            use tracing::{Level, enabled};
            assert!(!enabled!(target: "sqlx_postgres::options::parse", Level::ERROR));
            assert!(!enabled!(target: "sqlx_postgres::options::pgpass", Level::ERROR));
            assert!(!enabled!(target: "opentelemetry_sdk", Level::ERROR));
            assert!(!enabled!(target: "opentelemetry-otlp", Level::ERROR));
            assert!(enabled!(target: "sqlx::query", Level::WARN));
            assert!(enabled!(target: "sqlx_postgres::connection", Level::WARN));
        });
    }

    #[test]
    fn prometheus_can_read_the_name_of_every_attribute() {
        let attributes = attributes::read("2x=1,a-b=2,é=3").unwrap();
        let settings = Settings { attributes, ..Settings::default() };
        let telemetry = Telemetry::new("test", &settings).unwrap();
        let text = telemetry.prometheus();
        let line = text.lines().find(|line| line.starts_with("target_info{")).unwrap();
        for label in ["key_2x=\"1\"", "a_b=\"2\"", "_=\"3\"", "service_name=\"test\""] {
            assert!(line.contains(label), "{label} in {line}");
        }
    }

    #[test]
    fn certificates_that_cannot_be_read_are_named() {
        let error = tls(Some(Path::new("/absent.pem"))).unwrap_err();
        assert!(format!("{error:#}").starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read"));
        let broken = "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n";
        for text in ["", "no certificate", broken] {
            assert!(check_certificates(text.as_bytes()).is_err(), "{text}");
        }
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        assert_eq!(check_certificates(made.cert.pem().as_bytes()), Ok(()));
    }
}
