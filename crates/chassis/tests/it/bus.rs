//! The bus may be away at any time.

use std::time::Duration;

use bytes::Bytes;
use chassis::bus::{BusError, MAX_EVENT_BYTES};
use chassis::{Bus, telemetry};
use futures::StreamExt as _;
use testkit::NatsServer;
use tokio::time::Instant;
use tracing::{Instrument as _, info_span};
use wire::event::Family;

use crate::fixture::{SOON, database, published, put, relay};

#[tokio::test]
async fn a_bus_that_is_away_at_start_is_found_later() {
    let mut server = NatsServer::start().await;
    server.stop();
    let bus = Bus::connect(&server.url, "away").await.unwrap();
    let subject = wire::event::subject("away", Family::Run, "queued", "1");
    let said = bus.publish(&subject, "1:1", Bytes::from_static(b"{}")).await;
    assert!(matches!(said, Err(BusError::Away)), "{said:?}");

    server.restart().await;

    let say = async || bus.publish(&subject, "1:1", Bytes::from_static(b"{}")).await;
    testkit::eventually(say).await;
}

#[tokio::test]
async fn facts_put_while_the_bus_is_away_are_published_when_it_is_back() {
    let (db, mut server) = (database().await, NatsServer::start().await);
    let bus = Bus::connect(&server.url, "away").await.unwrap();
    let (_stop, _ended) = relay(&db.pool, &bus);
    put(&db.pool, "away", [1]).await;
    testkit::eventually(async || published(&db.pool).await == 1).await;

    server.stop();
    testkit::eventually(async || bus.probe().is_err()).await;
    put(&db.pool, "away", [2]).await;
    assert_eq!(published(&db.pool).await, 1);
    server.restart().await;

    testkit::eventually(async || published(&db.pool).await == 2).await;
}

#[tokio::test]
async fn a_bus_that_hangs_counts_as_away_within_seconds_and_holds_no_stop_up() {
    let (db, server) = (database().await, NatsServer::start().await);
    let upstream: url::Url = server.url.parse().unwrap();
    let upstream = format!("127.0.0.1:{}", upstream.port().unwrap());
    let (address, hangs) = testkit::hanging(&upstream).await;
    let url = format!("nats://{address}");
    let bus = Bus::connect(&url, "hangs").await.unwrap();
    bus.probe_settled().await.unwrap();

    hangs.cancel();
    let since = Instant::now();
    put(&db.pool, "hangs", [1]).await;
    let (stop, relaying) = relay(&db.pool, &bus);
    let providing = tokio::spawn(bus.clone().provide(Family::Run, stop.clone()));
    // Both wait for an answer, or will.
    tokio::task::yield_now().await;
    stop.cancel();
    relaying.await.unwrap();
    providing.await.unwrap().unwrap();
    assert!(since.elapsed() < Duration::from_secs(4), "a stop waited for the bus");

    testkit::eventually(async || bus.probe().is_err()).await;
    assert!(since.elapsed() < Duration::from_secs(60), "it took {:?}", since.elapsed());
    let said = bus.probe().unwrap_err();
    assert!(said.starts_with("NATS is not connected: "), "{said}");
}

#[tokio::test]
async fn an_address_that_cannot_be_used_names_its_variable_and_hides_its_password() {
    for url in ["http://user:hunter2@host", "nats://", "user:hunter2@host:4222"] {
        let error = format!("{:#}", Bus::connect(url, "lumio").await.unwrap_err());
        assert!(error.contains("NATS_URL") && !error.contains("hunter2"), "{error}");
    }
    let error = Bus::connect("nats://127.0.0.1:1", "a.b").await.unwrap_err().to_string();
    assert!(error.contains("NATS_PREFIX"), "{error}");
}

#[tokio::test]
async fn an_event_that_carries_too_much_is_refused() {
    let nats = testkit::nats().await;
    let bus = crate::fixture::bus(&nats).await;
    let body = Bytes::from(vec![b' '; MAX_EVENT_BYTES + 1]);
    let said = bus.publish("any.run.v1.queued.1", "1:1", body).await;
    assert!(matches!(said, Err(BusError::TooLarge(_))));
}

#[tokio::test]
async fn a_stream_that_was_lost_is_made_again_while_somebody_listens() {
    let (db, nats) = (database().await, testkit::nats().await);
    let bus = crate::fixture::bus(&nats).await;
    let _heard = nats.listen().await;
    let (_stop, _ended) = relay(&db.pool, &bus);
    put(&db.pool, &nats.prefix, [1]).await;
    testkit::eventually(async || published(&db.pool).await == 1).await;

    bus.jetstream().delete_stream(Family::Gate.stream(&nats.prefix)).await.unwrap();
    put(&db.pool, &nats.prefix, [2]).await;

    testkit::eventually(async || published(&db.pool).await == 2).await;
    bus.jetstream().get_stream(Family::Gate.stream(&nats.prefix)).await.unwrap();
}

#[tokio::test]
async fn a_message_carries_the_trace_it_was_published_in() {
    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    telemetry::init("chassis-test", "warn").unwrap();
    let nats = testkit::nats().await;
    let bus = crate::fixture::bus(&nats).await;
    let subject = wire::event::subject(&nats.prefix, Family::Run, "queued", "1");
    let mut messages = bus.client().subscribe(subject.clone()).await.unwrap();
    // Only once the server knows of the subscription is what is published heard.
    bus.client().flush().await.unwrap();

    let span = info_span!("publishing");
    telemetry::continue_trace(CALLER, &span);
    let body = Bytes::from_static(b"{}");
    bus.publish(&subject, "1:1", body).instrument(span).await.unwrap();
    let message = tokio::time::timeout(SOON, messages.next()).await.unwrap().unwrap();
    let header = message.headers.unwrap().get("traceparent").unwrap().to_string();
    assert_eq!(telemetry::trace_id(&header), telemetry::trace_id(CALLER));
    assert_ne!(header, CALLER, "the publishing is a span of its own");
}
