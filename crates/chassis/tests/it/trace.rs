//! One trace goes from a caller over gRPC into a fact on the bus.

use chassis::{Health, Service, outbox, telemetry};
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
