//! What a collector gets, over TLS. Alone in its process, since a process has one telemetry.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use chassis::telemetry::{self, Settings};
use chassis::{Health, Service, outbox, trace};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use testkit::Collector;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tower::ServiceExt as _;
use tracing::{Instrument as _, info_span};

#[path = "it/echo.rs"]
mod echo;
#[path = "it/fixture.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod fixture;

/// The status `STATUS_CODE_ERROR` of a span.
const ERROR: i32 = 2;

/// A span with its attributes as text.
#[derive(Debug, Clone)]
struct Span {
    name: String,
    trace: String,
    id: Vec<u8>,
    parent: Vec<u8>,
    failed: bool,
    attributes: BTreeMap<String, String>,
}

/// Serves TLS with a certificate of its own; answers the address and the certificate's PEM.
async fn serve_tls(collector: &Collector) -> (String, String) {
    // As the exporter does; the other end of this test needs it before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(&certificate, key));
    let port = collector.serve(Server::builder().tls_config(tls).unwrap()).await;
    (format!("https://localhost:{port}"), certificate)
}

fn spans(collector: &Collector) -> Vec<Span> {
    let mut spans = Vec::new();
    for request in collector.traces() {
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        for span in scopes.flat_map(|scope| &scope.spans) {
            spans.push(Span {
                name: span.name.clone(),
                trace: span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect(),
                id: span.span_id.clone(),
                parent: span.parent_span_id.clone(),
                failed: span.status.as_ref().is_some_and(|status| status.code == ERROR),
                attributes: attributes(&span.attributes),
            });
        }
    }
    spans
}

fn resource(collector: &Collector) -> BTreeMap<String, String> {
    let requests = collector.traces();
    attributes(&requests[0].resource_spans[0].resource.as_ref().unwrap().attributes)
}

fn attributes(found: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &KeyValue| match value.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    };
    found.iter().filter_map(|one| Some((one.key.clone(), text(one)?))).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Option<&'a Span> {
    spans.iter().find(|span| span.name == name)
}

/// The names of a span's attributes.
fn keys(span: &Span) -> BTreeSet<&str> {
    span.attributes.keys().map(String::as_str).collect()
}

/// Work of every kind that has spans: HTTP, gRPC out and in, Postgres, NATS; calls that fail; and a
/// poll, whose trace id it answers.
async fn work(service: &Service) -> String {
    let (db, nats) = (fixture::database().await, testkit::nats().await);
    let (bus, mut heard) = (fixture::bus(&nats).await, nats.listen().await);
    let address = echo::serve(service, &Health::new()).await;
    let stop = CancellationToken::new();
    let relay = tokio::spawn(outbox::relay(db.pool.clone(), bus, stop.clone()));

    let router = Router::new()
        .route("/runs/{id}", get(async || "a run"))
        .route("/live", get(async || "live"))
        .layer(trace::http());
    for path in ["/runs/0199f", "/runs/0199e", "/live"] {
        let request = axum::extract::Request::get(path).body(axum::body::Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap();
    }

    let task = async {
        echo::ask(address, Some(echo::TOKEN)).await.unwrap();
        fixture::put(&db.pool, &nats.prefix, [1]).await;
    };
    task.instrument(info_span!("work")).await;
    heard.next().await;

    let failing = async {
        echo::ask(address, None).await.unwrap_err();
        let error = sqlx::query("SELECT 1 / 0").execute(&db.pool).await.unwrap_err();
        chassis::postgres::note(&error);
        // Not one of a statement.
        chassis::postgres::note(&sqlx::Error::PoolTimedOut);
        sqlx::query("SELECT 2").execute(&db.pool).await.unwrap();
    };
    failing.instrument(info_span!("failing")).await;

    // A poll, and a call that it makes.
    let poll = async {
        let (_, answered_in) = echo::ask(address, Some(echo::TOKEN)).await.unwrap();
        assert!(answered_in.ends_with("-00"), "the other side must not sample: {answered_in}");
        telemetry::trace_id(&answered_in).unwrap().to_owned()
    };
    let polled = poll.instrument(telemetry::unsampled("poll")).await;
    stop.cancel();
    relay.await.unwrap().unwrap();
    polled
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_spans_and_metrics_over_tls_under_the_names_of_the_conventions() {
    let collector = Collector::default();
    let (endpoint, certificate) = serve_tls(&collector).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, certificate).unwrap();
    let settings = Settings {
        endpoint: Some(endpoint),
        certificate: Some(path),
        service_name: Some("lumio-test".to_owned()),
        ..Settings::default()
    };
    let telemetry = telemetry::init_with("chassis", "warn", || Ok(settings)).unwrap();

    let service = Service::default();
    let polled = work(&service).await;
    service.finish(Duration::from_secs(10)).await.unwrap();
    let flushing = telemetry.clone();
    tokio::task::spawn_blocking(move || flushing.flush()).await.unwrap();
    testkit::eventually(async || named(&spans(&collector), "failing").is_some()).await;

    let resource = resource(&collector);
    assert_eq!(resource["service.name"], "lumio-test");
    assert_eq!(resource["service.version"], chassis::version());
    assert!(chassis::version().starts_with(env!("CARGO_PKG_VERSION")));
    assert_eq!(resource["service.instance.id"].len(), 36);

    let spans = spans(&collector);
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert!(!names.iter().any(|name| name.contains("0199")), "no id in a name: {names:?}");
    assert!(
        !names.iter().any(|name| name.contains("live") || name.contains("grpc.health")),
        "a poll is no trace: {names:?}"
    );

    let request = named(&spans, "GET /runs/{id}").unwrap();
    assert_eq!(request.attributes["http.route"], "/runs/{id}");
    assert_eq!(request.attributes["http.request.method"], "GET");
    assert_eq!(request.attributes["http.response.status_code"], "200");

    assert!(spans.iter().all(|span| span.trace != polled), "neither is what a poll calls");

    // One trace through the client, the server, the database and the bus.
    let root = named(&spans, "work").unwrap();
    let method = "lumio.module.v1.ModuleGate/GetVerdict";
    let calls: Vec<_> =
        spans.iter().filter(|span| span.name == method && span.trace == root.trace).collect();
    assert_eq!(calls.len(), 2, "one as the client, one as the server: {names:?}");
    let client = calls.iter().find(|span| span.parent == root.id).unwrap();
    assert!(calls.iter().any(|span| span.parent == client.id));
    assert!(calls.iter().all(|span| span.attributes["rpc.system.name"] == "grpc"));
    let statement = spans.iter().find(|span| span.parent == root.id && span.name == "WITH");
    assert_eq!(statement.unwrap().attributes["db.system.name"], "postgresql");
    let published = spans.iter().find(|span| span.name.starts_with("publish ")).unwrap();
    assert_eq!(published.attributes["messaging.system"], "nats");
    assert_eq!(published.trace, root.trace);

    // Exactly the attributes that `docs/operations/telemetry.md` has, but for those of a failure.
    let expected = BTreeSet::from([
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "url.path",
        "url.scheme",
    ]);
    assert_eq!(keys(request), expected);
    let server = calls.iter().find(|span| span.parent == client.id).unwrap();
    let mut expected =
        BTreeSet::from(["rpc.method", "rpc.response.status_code", "rpc.system.name"]);
    assert_eq!(keys(server), expected);
    expected.extend(["server.address", "server.port"]);
    assert_eq!(keys(client), expected);
    assert_eq!(client.attributes["server.address"], "127.0.0.1");
    let expected = BTreeSet::from(["db.operation.name", "db.query.text", "db.system.name"]);
    assert_eq!(keys(statement.unwrap()), expected);
    let expected = BTreeSet::from([
        "messaging.destination.template",
        "messaging.message.id",
        "messaging.operation.name",
        "messaging.operation.type",
        "messaging.system",
    ]);
    assert_eq!(keys(published), expected);

    // What failed has the status error, and nothing else has.
    let failing = named(&spans, "failing").unwrap();
    let failed: Vec<_> = spans.iter().filter(|span| span.failed).collect();
    let [call, statement] = &failed[..] else { panic!("{failed:#?}") };
    let (call, statement) = if call.name == method { (call, statement) } else { (statement, call) };
    assert_eq!((&call.name[..], &call.parent), (method, &failing.id));
    assert_eq!(call.attributes["rpc.response.status_code"], "UNAUTHENTICATED");
    assert_eq!((&statement.name[..], &statement.parent), ("SELECT", &failing.id));
    assert_eq!(statement.attributes["db.query.text"], "SELECT 1 / 0");
    assert_eq!(statement.attributes["db.response.status_code"], "22012");
    assert_eq!(statement.attributes["error.type"], "other");

    let metrics = collector.metrics();
    let scopes = metrics
        .iter()
        .flat_map(|request| &request.resource_metrics)
        .flat_map(|resource| &resource.scope_metrics);
    let exported: Vec<_> =
        scopes.flat_map(|scope| &scope.metrics).map(|metric| metric.name.as_str()).collect();
    for name in
        ["http.server.request.duration", "rpc.server.call.duration", "rpc.client.call.duration"]
    {
        assert!(exported.contains(&name), "{name} is not among {exported:?}");
    }

    // The same for Prometheus, which has its own spelling.
    let text = telemetry.prometheus();
    let line = text.lines().find(|line| line.starts_with("http_server_request_duration_seconds_"));
    assert!(line.unwrap().contains(r#"http_route="/runs/{id}""#), "{text}");
}
