//! Events and timelines: what a client sees of runs as they go on, and afterwards.

use std::net::TcpListener;

use futures::StreamExt as _;
use serde_json::Value;
use stellar::Keypair;

use crate::fixture::{Fixture, Gateway, PATIENCE};
use crate::hostile::{raw, request};
use crate::login::{log_in_at, script, start as start_with_login};

/// The data of the next events of a stream, as a reader of lines sees them.
pub struct Reader {
    answer: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

/// One event of a stream.
#[derive(Debug)]
struct Received {
    id: i64,
    event: Value,
}

impl Reader {
    async fn open(gateway: &Gateway, path: &str) -> Self {
        let answer = gateway.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer: answer.bytes_stream().boxed(), text: String::new() }
    }

    /// The next piece up to an empty line; `None` when the stream has ended.
    async fn piece(&mut self) -> Option<String> {
        loop {
            if let Some((piece, rest)) = self.text.split_once("\n\n") {
                let piece = piece.to_owned();
                self.text = rest.to_owned();
                return Some(piece);
            }
            let read = tokio::time::timeout(PATIENCE, self.answer.next()).await;
            let bytes = read.expect("the stream is silent")?;
            self.text.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
        }
    }

    async fn next(&mut self) -> Option<Received> {
        loop {
            let piece = self.piece().await?;
            let field = |name: &str| piece.lines().find_map(|line| line.strip_prefix(name));
            if let Some(data) = field("data: ") {
                let id = field("id: ").unwrap().parse().unwrap();
                return Some(Received { id, event: serde_json::from_str(data).unwrap() });
            }
        }
    }
}

/// A port that nothing listens on now.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browsers_stream_goes_on_over_a_restart_of_the_gateway_without_loss() {
    let fixture = Fixture::new().await;
    let port = free_port();
    let settings = [("RUNNER_PORT", port.as_str())];
    let first = fixture.start(&settings).await;

    let url = format!("{}/events?after=0", first.gateway.url);
    let browser =
        tokio::spawn(
            async move { script("events.mjs", &[url.as_str(), "15"], "eventsource").await },
        );

    let mut watched = Reader::open(&first.gateway, "/events?after=0").await;
    let run = first.gateway.accepted(&fixture.body()).await;
    first.gateway.ended(&run, "failed").await;
    for _ in 0..5 {
        watched.next().await.unwrap();
    }

    // A stream that is open does not hold up a stop, and sees an end that is no error.
    first.stop().await;
    while watched.next().await.is_some() {}

    // What happens while that gateway is away is seen afterwards.
    let other = fixture.start(&[]).await;
    let run = other.gateway.accepted(&fixture.body()).await;
    other.gateway.ended(&run, "failed").await;
    let again = fixture.start(&settings).await;
    let run = again.gateway.accepted(&fixture.body()).await;
    again.gateway.ended(&run, "failed").await;

    let seen = tokio::time::timeout(PATIENCE, browser).await.unwrap().unwrap();
    // Beside those about runs there are events of the contracts.
    let text = "SELECT event_id FROM outbox WHERE subject LIKE '%.run.v1.%' ORDER BY position";
    let stored: Vec<String> = sqlx::query_scalar(text).fetch_all(&fixture.db.pool).await.unwrap();
    if let Some(seen) = seen {
        assert_eq!(seen, serde_json::json!(stored));
    }
    other.stop().await;
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_gives_what_comes_after_it_for_one_run_and_for_all() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let gateway = &runner.gateway;
    let mut live = Reader::open(gateway, "/events").await;
    let run = gateway.accepted(&fixture.body()).await;
    let other = gateway.accepted(&fixture.body()).await;
    gateway.ended(&run, "failed").await;
    gateway.ended(&other, "failed").await;
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.push(live.next().await.unwrap());
    }
    assert!(seen.windows(2).all(|pair| pair[0].id < pair[1].id), "{seen:?}");

    let mut rest = Reader::open(gateway, &format!("/events?after={}", seen[6].id)).await;
    for expected in &seen[7..] {
        assert_eq!(rest.next().await.unwrap().event["id"], expected.event["id"]);
    }
    let mut one = Reader::open(gateway, &format!("/runs/{run}/events")).await;
    for number in 1..=5 {
        let next = one.next().await.unwrap();
        assert_eq!((next.id, &next.event["subject"]), (number, &Value::from(run.as_str())));
    }
    let mut end = Reader::open(gateway, &format!("/runs/{run}/events?after=4")).await;
    assert_eq!(end.next().await.unwrap().event["type"], "dev.lumio.run.failed.v1");

    for wrong in ["/events?after=x", "/events?after=-1", "/events?since=1", "/events?user=G"] {
        assert_eq!(gateway.get(wrong).await.status(), 400, "{wrong}");
    }
    let missing = format!("/runs/{}/events", uuid::Uuid::nil());
    assert_eq!(gateway.get(&missing).await.status(), 404);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shown_what_becomes_of_the_runs_of_another() {
    let fixture = Fixture::new().await;
    let runner = start_with_login(&fixture, &[]).await;
    let token = |body: Value| body["token"].as_str().unwrap().to_owned();
    let other = Keypair::from_seed(&[53; 32]);
    let theirs = runner.gateway.as_user(&token(log_in_at(&runner.gateway, &other).await));
    let ours = runner.gateway.as_user(&token(log_in_at(&runner.gateway, &fixture.user).await));
    let operator = Keypair::from_seed(&[52; 32]);
    let all = runner.gateway.as_user(&token(log_in_at(&runner.gateway, &operator).await));

    let run = ours.accepted(&fixture.body()).await;
    for path in ["events", "timeline", "attempts"] {
        let path = format!("/runs/{run}/{path}");
        assert_eq!(runner.gateway.get(&path).await.status(), 401, "{path}");
        assert_eq!(theirs.get(&path).await.status(), 404, "{path}");
    }
    assert_eq!(runner.gateway.get("/events").await.status(), 401);
    let of_user = format!("/events?after=0&user={}", fixture.user.address());
    assert_eq!(theirs.get(&of_user).await.status(), 403);

    ours.ended(&run, "failed").await;
    for gateway in [&ours, &all] {
        let mut events = Reader::open(gateway, "/events?after=0").await;
        assert_eq!(events.next().await.unwrap().event["subject"], run);
    }
    let mut narrowed = Reader::open(&all, &of_user).await;
    assert_eq!(narrowed.next().await.unwrap().event["subject"], run);

    // The other account sees its own run, and nothing before it.
    let mut body = fixture.body();
    body["user"] = other.address().to_string().into();
    let mut events = Reader::open(&theirs, "/events?after=0").await;
    let their_run = theirs.accepted(&body).await;
    assert_eq!(events.next().await.unwrap().event["subject"], their_run);

    // An account has a share of the streams, and gives back what it closes.
    let mut open = Vec::new();
    for _ in 1..runner::gateway::streams::MOST_OF_ONE {
        open.push(Reader::open(&theirs, "/events").await);
    }
    let refused = theirs.get("/events").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    // Its headers alone take no place.
    let bearer = format!("Authorization: Bearer {}\r\n", theirs.token());
    let head = raw(&theirs, &request("HEAD", "/events", &bearer, "")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(ours.get("/events").await.status(), 200);
    drop(open);
    let reopened = || async { theirs.get("/events").await.status() == 200 };
    testkit::eventually(reopened).await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_shows_events_and_transactions_and_attempts_have_theirs() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let run = runner.gateway.accepted(&fixture.body()).await;
    let ended = runner.gateway.ended(&run, "failed").await;

    let path = format!("/runs/{run}/timeline");
    let timeline: Value = runner.gateway.get(&path).await.json().await.unwrap();
    let entries = timeline["entries"].as_array().unwrap();
    let of = |kind: &str, member: &str| -> Vec<String> {
        let entries = entries.iter().filter(|entry| entry["kind"] == kind);
        entries.map(|entry| entry.pointer(member).unwrap().as_str().unwrap().to_owned()).collect()
    };
    let events = ["queued", "opening", "running", "finalizing", "failed"];
    assert_eq!(of("event", "/event"), events);
    assert_eq!(of("transaction", "/transaction/purpose"), ["open", "finalize"]);
    assert_eq!(of("transaction", "/transaction/state"), ["succeeded", "succeeded"]);
    let times: Vec<_> = entries.iter().map(|entry| entry["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(entries.last().unwrap()["errorCode"], "EXECUTOR_MISSING");

    let path = format!("/runs/{run}/attempts");
    let attempts: Value = runner.gateway.get(&path).await.json().await.unwrap();
    let transactions = attempts[0]["transactions"].as_array().unwrap();
    let hashes: Vec<_> = transactions.iter().map(|sent| &sent["hash"]).collect();
    let known = &ended["transactionHashes"];
    assert_eq!(hashes, [&known["open"], &known["finalize"]]);
    for sent in transactions {
        assert!(sent["ledger"].as_u64().unwrap() > 1 && sent["closedAt"].is_string(), "{sent}");
    }
    runner.stop().await;
}
