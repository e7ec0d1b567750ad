//! A stream that lost its events is filled again by command.

use std::process::{Command, Output};

use chassis::{Bus, Service};
use testkit::eventually;
use wire::event::Family;

const FAMILY: Family = Family::Seal;

fn said(output: &Output) -> String {
    [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lost_its_events_is_filled_again_by_command() {
    let (db, bus) = (testkit::postgres().await, testkit::nats().await);
    let run = |arguments: &[&str], nats: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oracle-gate"));
        command.args(arguments).env_clear().env("DATABASE_URL", &db.url);
        command.env("NATS_URL", nats).env("NATS_PREFIX", &bus.prefix).output().unwrap()
    };
    assert!(run(&["migrate"], "").status.success());
    let subject = FAMILY.filter(&bus.prefix).replace('>', "sealed.a");
    for number in 1..=3_i64 {
        let event = serde_json::json!({
            "specversion": "1.0", "id": format!("a:{number}"), "source": "/lumio/test",
            "type": "dev.lumio.test.v1", "subject": "a", "time": "2026-01-02T03:04:05Z",
            "datacontenttype": "application/json", "data": {},
        });
        let put = sqlx::query(
            "INSERT INTO outbox (event_id, subject, body, position, published_at) \
             VALUES ($1, $2, $3, $4, now())",
        );
        let put = put.bind(format!("a:{number}")).bind(&subject).bind(event.to_string());
        put.bind(number).execute(&db.pool).await.unwrap();
    }
    let service = Service::default();
    let stream = Bus::connect(&bus.url, &bus.prefix).await.unwrap();
    service.spawn("stream", stream.provide(FAMILY, service.stop()));
    eventually(|| async { bus.stored(FAMILY).await.is_ok() }).await;
    service.finish(std::time::Duration::from_secs(20)).await.unwrap();

    let count = ["events", "refill", "--from-position", "2", "--dry-run"];
    let counted = run(&count, &bus.url);
    assert!(said(&counted).contains("2 events would be published again, positions 2 to 3"));
    assert!(bus.stored(FAMILY).await.unwrap().is_empty());
    let filled = run(&["events", "refill", "--since", "2020-01-01T00:00:00Z"], &bus.url);
    assert!(filled.status.success(), "{}", said(&filled));
    let stored = bus.stored(FAMILY).await.unwrap();
    let ids: Vec<&str> = stored.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["a:1", "a:2", "a:3"]);

    for (arguments, nats) in [
        (&["events", "refill"][..], bus.url.as_str()),
        (&["events", "refill", "--since", "yesterday"], bus.url.as_str()),
        (&["events", "refill", "--from-position", "0"], ""),
    ] {
        let refused = run(arguments, nats);
        assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    }
}
