//! Facts to publish, and a database to put them in.

use std::time::Duration;

use chassis::{Bus, clock, outbox, telemetry};
use sqlx::PgPool;
use testkit::{TestBus, TestDb};
use tokio_util::sync::CancellationToken;
use wire::Digest;
use wire::event::{CloudEvent, Data as _, GateData, GateEvent};
use wire::statement::Verdict;

/// Long enough for a machine under load; reached only by what is broken.
pub const SOON: Duration = Duration::from_secs(20);

/// A database with an outbox.
pub async fn database() -> TestDb {
    chassis::telemetry::init("chassis-test", "warn").unwrap();
    let db = testkit::postgres().await;
    outbox::migrate(&mut db.pool.acquire().await.unwrap()).await.unwrap();
    db
}

/// A bus that is connected.
pub async fn bus(nats: &TestBus) -> Bus {
    let bus = Bus::connect(&nats.url, &nats.prefix).await.unwrap();
    testkit::eventually(async || bus.probe()).await;
    bus
}

/// What is known about one module.
pub fn data() -> GateData {
    GateData {
        run_id: None,
        attempt: None,
        module_digest: Digest::of(b"module"),
        verdict: Verdict::Pass,
        code: None,
    }
}

/// The `seq`-th fact about one module, and its subject under `prefix`.
pub fn fact(prefix: &str, seq: u64) -> (CloudEvent, String) {
    let data = data();
    let trace = Some(telemetry::traceparent());
    let event = CloudEvent::new(GateEvent::Shipped, &data, seq, clock::now(), trace).unwrap();
    (event, data.subject(prefix, GateEvent::Shipped))
}

/// Puts and commits the facts `seqs`, each in a transaction of its own.
pub async fn put(db: &PgPool, prefix: &str, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        let (event, subject) = fact(prefix, seq);
        let mut tx = chassis::postgres::begin(db).await.unwrap();
        outbox::put(&mut tx, &event, &subject).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// A relay in the background, and how to end it.
pub fn relay(db: &PgPool, bus: &Bus) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let stop = CancellationToken::new();
    let relay = outbox::relay(db.clone(), bus.clone(), stop.clone());
    (stop, tokio::spawn(async move { relay.await.unwrap() }))
}

/// How many facts are marked as published.
pub async fn published(db: &PgPool) -> i64 {
    let text = "SELECT count(*) FROM outbox WHERE published_at IS NOT NULL";
    sqlx::query_scalar(text).fetch_one(db).await.unwrap()
}
