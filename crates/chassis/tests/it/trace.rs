//! One trace goes from a caller over gRPC into a fact on the bus; a caller over HTTP learns which
//! one it is.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::routing::get;
use chassis::{Health, Service, outbox, telemetry, trace};
use tower::ServiceExt as _;
use tracing::{Instrument as _, info_span};

use crate::echo;
use crate::fixture::{bus, database, fact, relay};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_trace_continues_over_grpc_and_into_an_event() {
    telemetry::init("chassis-test", "warn").unwrap();
    let (db, nats, service) = (database().await, testkit::nats().await, Service::default());
    let (bus, mut heard) = (bus(&nats).await, nats.listen().await);
    let address = echo::serve(&service, &Health::new()).await;
    let (_stop, _ended) = relay(&db.pool, &bus);

    let span = info_span!("work");
    telemetry::continue_trace(CALLER, &span);
    let work = async {
        let (_, in_answer) = echo::ask(address, Some(echo::TOKEN)).await.unwrap();
        let (event, subject) = fact(&nats.prefix, 1);
        let mut conn = db.pool.acquire().await.unwrap();
        outbox::put(&mut conn, &event, &subject).await.unwrap();
        in_answer
    };
    let in_answer = work.instrument(span).await;
    let in_handler = heard.next().await.1.traceparent.unwrap();

    let trace = |text| telemetry::trace_id(text).map(str::to_owned);
    assert_eq!(trace(&in_answer), trace(CALLER));
    assert_eq!(trace(&in_handler), trace(CALLER));
    // The same trace, and in it two other spans than the caller's.
    assert_ne!(in_answer, CALLER);
    assert_ne!(in_handler, in_answer);
}

#[tokio::test]
async fn a_span_without_a_caller_has_a_trace_of_its_own() {
    telemetry::init("chassis-test", "warn").unwrap();
    let (one, other) = (info_span!("one"), info_span!("other"));
    telemetry::continue_trace("not a traceparent", &one);
    let [one, other] = [one, other].map(|span| span.in_scope(telemetry::traceparent));
    assert!(telemetry::trace_id(&one).is_some());
    assert_ne!(telemetry::trace_id(&one), telemetry::trace_id(&other));
}

#[tokio::test]
async fn work_on_another_thread_stays_in_the_span_that_it_came_from() {
    telemetry::init("chassis-test", "warn").unwrap();
    let span = info_span!("work");
    let work = span.in_scope(|| telemetry::in_current_span(telemetry::traceparent));
    let on_thread = tokio::task::spawn_blocking(work).await.unwrap();
    assert_eq!(Some(on_thread), telemetry::traceparent_of(&span));
}

#[tokio::test]
async fn an_answer_names_the_span_of_its_request() {
    telemetry::init("chassis-test", "warn").unwrap();
    let router = Router::new()
        .route("/runs", get(async || telemetry::traceparent()))
        .route("/live", get(async || "live"))
        .layer(trace::http());
    // The header of the answer, and its body.
    let ask = async |path: &str, caller: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(caller) = caller {
            request = request.header("traceparent", caller);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let header = answer.headers().get("traceparent");
        let header = header.map(|value| value.to_str().unwrap().to_owned());
        let body = to_bytes(answer.into_body(), 1_000).await.unwrap();
        (header, String::from_utf8(body.to_vec()).unwrap())
    };

    let (header, in_handler) = ask("/runs", Some(CALLER)).await;
    let header = header.unwrap();
    assert_eq!(header, in_handler, "the span is the one of the request");
    assert_eq!(telemetry::trace_id(&header), telemetry::trace_id(CALLER));
    assert_ne!(header, CALLER, "and not that of its caller");

    let (header, in_handler) = ask("/runs", None).await;
    let header = header.unwrap();
    assert_eq!(header, in_handler);
    assert_ne!(telemetry::trace_id(&header), telemetry::trace_id(CALLER));

    let refused = ask("/nowhere", Some(CALLER)).await.0.unwrap();
    assert_eq!(telemetry::trace_id(&refused), telemetry::trace_id(CALLER));
    assert_eq!(ask("/live", Some(CALLER)).await.0, None, "a poll is in no trace");
}
