//! Runs that are asked for at one time are accepted in one transaction, and each caller hears of
//! its own.

use futures::future::join_all;
use runner::error::Error;
use runner::gateway::accept::{Accepting, Acceptor, Offer};
use runner::gateway::commands::{Created, Key};
use runner::gateway::create_request::{self, NewRun};
use runner::gateway::intake::Intake;
use runner::operations::intake::{self, Scope};
use runner::runs::signal::WorkSignal;
use serde_json::{Value, json};
use stellar::Keypair;
use testkit::{TestDb, eventually};
use time::format_description::well_known::Rfc3339;
use wire::Problem;

use crate::fixture::Fixture;
use crate::queueing::gateway_alone;

/// A database of a runner, and somewhere to hand requests over.
struct AcceptorFixture {
    db: TestDb,
    intake: Intake,
    acceptor: Acceptor,
}

impl AcceptorFixture {
    /// What is handed over is stored once the second is served.
    async fn new() -> (Self, Accepting) {
        let db = testkit::postgres().await;
        chassis::postgres::migrate(&db.pool, &runner::MIGRATIONS).await.unwrap();
        let (acceptor, accepting) = Acceptor::new(db.pool.clone(), WorkSignal::default());
        (Self { db, intake: Intake::new(Some(100), 3_600), acceptor }, accepting)
    }

    fn offer(&self, new: NewRun, key: Option<&str>) -> Offer {
        let key = key.map(|key| Key::read(key).unwrap());
        let place = self.intake.reserve(false);
        Offer::new((new, None, key), place, "test", chassis::clock::now()).unwrap()
    }

    async fn number(&self, text: &'static str) -> i64 {
        sqlx::query_scalar(text).fetch_one(&self.db.pool).await.unwrap()
    }

    /// Hands all of them over before any is stored, and then has them stored.
    async fn together(
        &self,
        accepting: Accepting,
        offers: Vec<Offer>,
    ) -> Vec<Result<Created, Error>> {
        let mut answers: Vec<_> =
            offers.into_iter().map(|offer| Box::pin(self.acceptor.accept(offer))).collect();
        for answer in &mut answers {
            assert!(futures::poll!(answer).is_pending());
        }
        tokio::spawn(accepting.serve());
        join_all(answers).await
    }
}

fn user(seed: u8) -> String {
    Keypair::from_seed(&[seed; 32]).address().to_string()
}

/// A request of this user; `label` distinguishes it from others.
fn asked(user: &str, label: &str) -> NewRun {
    let body = json!({ "user": user, "agentId": 1, "budgets": { "runtimeMs": 5 }, "label": label });
    create_request::read(body.to_string().as_bytes(), || 7).unwrap()
}

fn problem(answer: &Result<Created, Error>) -> Problem {
    match answer {
        Err(Error::Refused { problem, .. }) => *problem,
        Err(Error::IntakePaused { .. }) => Problem::IntakePaused,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_of_the_requests_of_one_transaction_has_its_own_outcome() {
    let (fixture, accepting) = AcceptorFixture::new().await;
    let (alice, bob) = (user(1), user(2));
    let (first, serving) = Acceptor::new(fixture.db.pool.clone(), WorkSignal::default());
    tokio::spawn(serving.serve());
    let earlier = first.accept(fixture.offer(asked(&alice, "earlier"), Some("old"))).await.unwrap();
    let pause = Scope::read(None, Some(&bob)).unwrap();
    intake::pause(&fixture.db.pool, &pause, "they asked for it", "test").await.unwrap();

    let mut no_place = fixture.offer(asked(&alice, "refused"), Some("unknown"));
    no_place.place = Err(Error::QueueFull { waiting: 100, retry_after_secs: 7 });
    let mut answered_without_place = fixture.offer(asked(&alice, "earlier"), Some("old"));
    answered_without_place.place = Err(Error::QueueFull { waiting: 100, retry_after_secs: 7 });
    let answers = fixture
        .together(
            accepting,
            vec![
                fixture.offer(asked(&alice, "one"), None),
                fixture.offer(asked(&alice, "earlier"), Some("old")),
                fixture.offer(asked(&alice, "something else"), Some("old")),
                fixture.offer(asked(&bob, "paused"), None),
                fixture.offer(asked(&alice, "two"), Some("new")),
                fixture.offer(asked(&alice, "two"), Some("new")),
                no_place,
                fixture.offer(asked(&alice, "one"), None),
                answered_without_place,
            ],
        )
        .await;

    for accepted in [&answers[0], &answers[4], &answers[7]] {
        let created = accepted.as_ref().unwrap();
        assert_eq!((created.status, created.replayed), (202, false));
        let body: Value = serde_json::from_str(&created.body).unwrap();
        assert_eq!(body["id"], created.id.to_string());
        assert_eq!((&body["status"], &body["attempt"]), (&json!("pending"), &json!(1)));
    }
    for repeated in [&answers[1], &answers[8]] {
        let repeated = repeated.as_ref().unwrap();
        assert_eq!((repeated.id, repeated.replayed), (earlier.id, true));
        assert_eq!(repeated.body, earlier.body, "byte for byte");
    }
    assert_eq!(problem(&answers[2]), Problem::IdempotencyMismatch);
    assert_eq!(problem(&answers[3]), Problem::IntakePaused);
    assert!(answers[3].as_ref().unwrap_err().to_string().contains("they asked for it"));
    assert_eq!(problem(&answers[5]), Problem::IdempotencyConflict);
    assert!(matches!(answers[6], Err(Error::QueueFull { retry_after_secs: 7, .. })));

    let labels: Vec<String> = sqlx::query_scalar("SELECT label FROM runs ORDER BY label")
        .fetch_all(&fixture.db.pool)
        .await
        .unwrap();
    assert_eq!(labels, ["earlier", "one", "one", "two"]);
    // There are two writers.
    let transactions = "SELECT count(DISTINCT xmin::text) FROM runs WHERE label <> 'earlier'";
    assert!(fixture.number(transactions).await <= 2);
    assert_eq!(fixture.number("SELECT count(*) FROM attempts").await, 4);
    let keys = "SELECT count(*) FROM idempotency_keys WHERE key IN ('old', 'new')";
    assert_eq!(fixture.number(keys).await, 2);
    assert_eq!(fixture.number("SELECT count(*) FROM idempotency_keys").await, 2);
    let events = "SELECT count(*) FROM outbox o JOIN runs r ON o.event_id = r.id || ':1' \
         JOIN outbox_sequences s ON s.key = r.id::text AND s.last = 1 \
         WHERE o.body::json #>> '{data,status}' = 'pending' \
            AND o.subject LIKE 'test.run.v1.queued.%'";
    assert_eq!(fixture.number(events).await, 4);
    assert_eq!(fixture.number("SELECT count(*) FROM outbox").await, 4);
}

#[tokio::test]
async fn what_the_database_refuses_of_one_request_fails_no_other() {
    let (fixture, accepting) = AcceptorFixture::new().await;
    let alice = user(1);
    // No request that was read has such a seed; the table refuses it.
    let mut wrong = asked(&alice, "wrong");
    wrong.request.seed = u64::MAX;
    // So many that each writer has others beside it.
    let mut offers: Vec<_> =
        (0..20).map(|n| fixture.offer(asked(&alice, "right"), Some(&format!("key {n}")))).collect();
    offers.insert(10, fixture.offer(wrong, Some("b")));
    let mut answers = fixture.together(accepting, offers).await;
    let refused = answers.remove(10);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(matches!(refused, Err(Error::Database(_))), "{refused:?}");
    assert_eq!(fixture.number("SELECT count(*) FROM runs").await, 20);
    assert_eq!(fixture.number("SELECT count(*) FROM outbox").await, 20);
    assert_eq!(fixture.number("SELECT count(*) FROM idempotency_keys WHERE key = 'b'").await, 0);
    // What was refused gave its place back: twenty of a hundred are taken.
    for _ in 0..80 {
        fixture.intake.reserve(false).unwrap().keep();
    }
    assert!(fixture.intake.reserve(false).is_err());
}

#[tokio::test]
async fn a_caller_that_hangs_up_neither_loses_nor_doubles_its_run() {
    let (fixture, accepting) = AcceptorFixture::new().await;
    let alice = user(1);
    let mut answer =
        Box::pin(fixture.acceptor.accept(fixture.offer(asked(&alice, "left"), Some("mine"))));
    assert!(futures::poll!(&mut answer).is_pending());
    drop(answer);
    let repeated = fixture.offer(asked(&alice, "left"), Some("other"));
    let answers = fixture.together(accepting, vec![repeated]).await;
    assert!(answers[0].is_ok());
    eventually(|| async { fixture.number("SELECT count(*) FROM runs").await == 2 }).await;

    let again = fixture.acceptor.accept(fixture.offer(asked(&alice, "left"), Some("mine"))).await;
    let again = again.unwrap();
    assert!(again.replayed);
    assert_eq!(fixture.number("SELECT count(*) FROM runs").await, 2);
    let kept: Value = serde_json::from_str(&again.body).unwrap();
    assert_eq!(kept["id"], again.id.to_string());
}

#[tokio::test]
async fn a_transaction_of_which_nobody_heard_is_repeated_and_its_runs_are_not_doubled() {
    let (fixture, accepting) = AcceptorFixture::new().await;
    let alice = user(1);
    let offer = || fixture.offer(asked(&alice, "once"), Some("once"));
    let (first, mut same) = (offer(), offer());
    (same.id, same.nonce) = (first.id, first.nonce);
    (same.event, same.body) = (first.event.clone(), first.body.clone());
    let (plain, mut same_plain) =
        (fixture.offer(asked(&alice, "plain"), None), fixture.offer(asked(&alice, "plain"), None));
    (same_plain.id, same_plain.nonce) = (plain.id, plain.nonce);
    same_plain.event = plain.event.clone();
    let id = first.id;
    let answers = fixture.together(accepting, vec![first, plain]).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");

    // The connection that was kept is gone: what is handed over goes by another one.
    let gone = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert!(fixture.number(gone).await > 0);
    let (again, again_plain) =
        tokio::join!(fixture.acceptor.accept(same), fixture.acceptor.accept(same_plain));
    let again = again.unwrap();
    assert_eq!((again.id, again.replayed), (id, false), "it is this request's own run");
    assert!(!again_plain.unwrap().replayed);
    for text in [
        "SELECT count(*) FROM runs",
        "SELECT count(*) FROM attempts",
        "SELECT count(*) FROM outbox",
    ] {
        assert_eq!(fixture.number(text).await, 2, "{text}");
    }
}

#[tokio::test]
async fn accepting_reads_no_table_from_end_to_end() {
    let (fixture, accepting) = AcceptorFixture::new().await;
    tokio::spawn(accepting.serve());
    let alice = user(1);
    let numbers = "SELECT sum(seq_scan)::bigint, min(idx_scan) FROM pg_stat_user_tables \
                   WHERE relname IN ('runs', 'idempotency_keys')";
    // Postgres counts what was read up to a second late. The plans are made while the tables are
    // empty, which is when it would take reading the whole table for the cheapest way.
    let scans_once_read = async |least: i64| {
        eventually(|| async {
            let asked = fixture.offer(asked(&alice, "one"), Some("key"));
            fixture.acceptor.accept(asked).await.unwrap();
            let (whole, by_index): (i64, i64) =
                sqlx::query_as(numbers).fetch_one(&fixture.db.pool).await.unwrap();
            (by_index >= least).then_some((whole, by_index))
        })
        .await
    };
    // What the migrations read is counted by then.
    let (before, by_index) = scans_once_read(2).await;
    let (after, _) = scans_once_read(by_index + 2).await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_repetition_waits_for_the_answer_to_its_key() {
    let (fixture, accepting) = AcceptorFixture::new().await;
    tokio::spawn(accepting.serve());
    let alice = user(1);
    for key in ["a", "b", "c", "d"] {
        // The lock that a pause takes, and that every process that accepts runs waits for.
        let mut pausing = chassis::postgres::begin(&fixture.db.pool).await.unwrap();
        let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(0x6c75_6d69_6f5f_696e_i64);
        lock.execute(&mut *pausing).await.unwrap();
        let ask = || fixture.acceptor.accept(fixture.offer(asked(&alice, "one"), Some(key)));
        let mut first = Box::pin(ask());
        assert!(futures::poll!(&mut first).is_pending());
        let waits = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
             WHERE d.datname = current_database() AND locktype = 'advisory' AND NOT granted";
        eventually(|| async { fixture.number(waits).await == 1 }).await;
        let mut second = Box::pin(ask());
        assert!(futures::poll!(&mut second).is_pending());
        pausing.rollback().await.unwrap();
        let (first, second) = tokio::join!(first, second);
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!((first.replayed, second.replayed, second.id), (false, true, first.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_answered_before_the_commit() {
    let fixture = Fixture::new().await;
    let running = gateway_alone(&fixture).await;
    // The lock that a pause takes, and that every process that accepts runs waits for.
    let mut pausing = chassis::postgres::begin(&fixture.db.pool).await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(0x6c75_6d69_6f5f_696e_i64)
        .execute(&mut *pausing)
        .await
        .unwrap();
    let ask = || {
        let (gateway, body) = (running.gateway.clone(), fixture.body());
        tokio::spawn(async move { gateway.accepted(&body).await })
    };
    let mut asking = vec![ask()];
    let waits = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
         WHERE d.datname = current_database() AND locktype = 'advisory' AND NOT granted";
    let count = async |text: &'static str| -> i64 {
        sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap()
    };
    eventually(|| async { count(waits).await == 1 }).await;
    asking.extend(std::iter::repeat_with(ask).take(20));
    assert_eq!(count("SELECT count(*) FROM runs").await, 0);
    assert!(asking.iter().all(|asking| !asking.is_finished()));
    pausing.rollback().await.unwrap();
    for asking in asking {
        asking.await.unwrap();
    }
    assert_eq!(count("SELECT count(*) FROM runs").await, 21);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_what_is_stored() {
    let fixture = Fixture::new().await;
    let running = gateway_alone(&fixture).await;
    let mut body = fixture.body();
    let start = chassis::clock::now() + time::Duration::hours(1);
    // More digits than Postgres keeps.
    let start = start.replace_nanosecond(123_456_789).unwrap();
    body["startAt"] = json!(start.format(&Rfc3339).unwrap());
    body["priority"] = json!("low");
    body["label"] = json!("é");
    body["metadata"] = json!({ "b": 1, "a": [1.50, null] });
    body["rateVersion"] = json!(3);
    let posted: Value = running.gateway.post("/runs", &body).await.json().await.unwrap();
    let path = format!("/runs/{}", posted["id"].as_str().unwrap());
    let mut found: Value = running.gateway.get(&path).await.json().await.unwrap();
    // Only the answer about one run lists its attempts.
    found.as_object_mut().unwrap().remove("attempts");
    assert_eq!(posted, found);
    running.stop().await;
}
