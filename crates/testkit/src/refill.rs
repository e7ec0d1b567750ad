//! The command `events refill`, which every service has for its own stream.

use std::process::{Command, Output};

use serde_json::json;
use wire::event::Family;

use crate::{nats, postgres};

/// What a program printed, on both streams.
fn printed(output: &Output) -> String {
    [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat()
}

/// Checks that `program` fills the stream of `family` again from its outbox, and refuses a refill
/// that does not say from where.
///
/// # Panics
///
/// When it does not.
pub async fn check_refill(program: &str, family: Family) {
    let (db, bus) = (postgres().await, nats().await);
    let run = |arguments: &[&str], nats: &str| {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("DATABASE_URL", &db.url);
        command.env("NATS_URL", nats).env("NATS_PREFIX", &bus.prefix);
        command.output().expect("the program starts")
    };
    assert!(run(&["migrate"], "").status.success(), "the tables are made");

    // Published once, and lost by the bus since then.
    let subject = family.filter(&bus.prefix).replace('>', "done.a");
    for number in 1..=3_i64 {
        let event = json!({
            "specversion": "1.0", "id": format!("a:{number}"), "source": "/lumio/test",
            "type": "dev.lumio.test.v1", "subject": "a", "time": "2026-01-02T03:04:05Z",
            "datacontenttype": "application/json", "data": {},
        });
        let put = sqlx::query(
            "INSERT INTO outbox (event_id, subject, body, position, published_at) \
             VALUES ($1, $2, $3, $4, now())",
        );
        let put = put.bind(format!("a:{number}")).bind(&subject).bind(event.to_string());
        put.bind(number).execute(&db.pool).await.expect("the outbox takes an event");
    }

    let count = ["events", "refill", "--from-position", "2", "--dry-run"];
    let counted = printed(&run(&count, &bus.url));
    let would = "2 events would be published again, positions 2 to 3";
    assert!(counted.contains(would), "{counted}");
    let stored = bus.stored(family).await.expect("the stream can be read");
    assert!(stored.is_empty(), "a dry run publishes nothing");

    let filled = run(&["events", "refill", "--since", "2020-01-01T00:00:00Z"], &bus.url);
    assert!(filled.status.success(), "{}", printed(&filled));
    let stored = bus.stored(family).await.expect("the stream can be read");
    let ids: Vec<&str> = stored.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["a:1", "a:2", "a:3"]);

    for (arguments, nats) in [
        (&["events", "refill"][..], bus.url.as_str()),
        (&["events", "refill", "--since", "yesterday"], bus.url.as_str()),
        (&["events", "refill", "--from-position", "0"], ""),
    ] {
        let refused = run(arguments, nats);
        assert_eq!(refused.status.code(), Some(3), "{}", printed(&refused));
    }
}
