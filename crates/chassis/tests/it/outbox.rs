//! Facts leave once, in order, and only if they became true.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chassis::{Bus, outbox};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgListener;
use wire::event::{Family, GateEvent};

use crate::fixture::{bus, data, database, fact, published, put, relay};

/// How many messages the stream of the facts holds.
async fn stored(bus: &Bus) -> u64 {
    let stream = Family::Gate.stream(bus.prefix());
    bus.jetstream().get_stream(stream).await.unwrap().info().await.unwrap().state.messages
}

#[tokio::test]
async fn the_record_of_checked_statements_is_current() {
    let db = database().await;
    testkit::assert_sql_metadata_is_current(&db.pool, env!("CARGO_MANIFEST_DIR")).await;
}

#[tokio::test]
async fn facts_are_heard_in_the_order_of_their_positions() {
    let (db, nats) = (database().await, testkit::nats().await);
    let (bus, mut heard) = (bus(&nats).await, nats.listen().await);
    // More than one batch, and half of it waiting before anybody relays.
    put(&db.pool, &nats.prefix, 1..=100).await;
    let (stop, ended) = relay(&db.pool, &bus);
    put(&db.pool, &nats.prefix, 101..=150).await;

    let mut ids = Vec::new();
    for _ in 0..150 {
        ids.push(heard.next().await.1.id);
    }

    let order = "SELECT event_id FROM outbox ORDER BY position";
    let positioned: Vec<String> = sqlx::query_scalar(order).fetch_all(&db.pool).await.unwrap();
    assert_eq!(ids, positioned);
    assert_eq!(ids[0], fact(&nats.prefix, 1).0.id);
    assert_eq!(ids[149], fact(&nats.prefix, 150).0.id);
    testkit::eventually(async || published(&db.pool).await == 150).await;
    stop.cancel();
    ended.await.unwrap();
}

#[tokio::test]
async fn the_relay_reads_what_waits_by_index() {
    let (db, nats) = (database().await, testkit::nats().await);
    let bus = bus(&nats).await;
    let (stop, ended) = relay(&db.pool, &bus);
    let numbers = "SELECT t.seq_scan, min(i.idx_scan) FROM pg_stat_user_tables t \
                   JOIN pg_stat_user_indexes i USING (relid) \
                   WHERE indexrelname IN ('outbox_waiting', 'outbox_drawn') GROUP BY t.seq_scan";
    let next = AtomicU64::new(1);
    // Postgres counts what was read up to a second late.
    let scans_once_read = async |least: i64| {
        testkit::eventually(async || {
            put(&db.pool, &nats.prefix, [next.fetch_add(1, Ordering::Relaxed)]).await;
            let (whole, by_index): (i64, i64) =
                sqlx::query_as(numbers).fetch_one(&db.pool).await.unwrap();
            (by_index >= least).then_some((whole, by_index))
        })
        .await
    };
    // What the migrations read is counted by then.
    let (before, by_index) = scans_once_read(2).await;
    let (after, _) = scans_once_read(by_index + 2).await;
    assert_eq!(before, after);
    stop.cancel();
    ended.await.unwrap();
}

#[tokio::test]
async fn a_fact_published_but_not_marked_is_published_again_and_stored_once() {
    let (db, nats) = (database().await, testkit::nats().await);
    let bus = bus(&nats).await;
    put(&db.pool, &nats.prefix, [1]).await;
    // What a relay does before it dies: position, publish, and no mark.
    sqlx::query("UPDATE outbox SET position = nextval('outbox_position')")
        .execute(&db.pool)
        .await
        .unwrap();
    let (event, subject) = fact(&nats.prefix, 1);
    bus.publish(&subject, &event.id, Bytes::from(serde_json::to_vec(&event).unwrap()))
        .await
        .unwrap();
    assert_eq!((stored(&bus).await, published(&db.pool).await), (1, 0));

    let mut heard = nats.listen().await;
    let (_stop, _ended) = relay(&db.pool, &bus);

    testkit::eventually(async || published(&db.pool).await == 1).await;
    assert_eq!(heard.next().await.1.id, event.id);
    assert_eq!(stored(&bus).await, 1);
}

#[tokio::test]
async fn what_was_rolled_back_is_never_published() {
    let (db, nats) = (database().await, testkit::nats().await);
    let (bus, mut heard) = (bus(&nats).await, nats.listen().await);
    let (event, subject) = fact(&nats.prefix, 1);
    let mut tx = chassis::postgres::begin(&db.pool).await.unwrap();
    outbox::put(&mut tx, &event, &subject).await.unwrap();
    tx.rollback().await.unwrap();
    let (_stop, _ended) = relay(&db.pool, &bus);
    put(&db.pool, &nats.prefix, [2]).await;

    assert_eq!(heard.next().await.1.id, fact(&nats.prefix, 2).0.id);
}

#[tokio::test]
async fn a_fact_is_published_under_one_id_only_once() {
    let db = database().await;
    let (event, subject) = fact("lumio", 1);
    let mut conn = db.pool.acquire().await.unwrap();
    outbox::put(&mut conn, &event, &subject).await.unwrap();
    assert!(outbox::put(&mut conn, &event, &subject).await.is_err());
}

#[tokio::test]
async fn facts_about_one_entity_are_numbered_without_a_gap() {
    let db = database().await;
    let number = async |commit: bool| {
        let mut tx = chassis::postgres::begin(&db.pool).await.unwrap();
        let (data, now) = (data(), chassis::clock::now());
        outbox::publish(&mut tx, "lumio", GateEvent::Shipped, &data, now, None).await.unwrap();
        match commit {
            true => tx.commit().await.unwrap(),
            false => tx.rollback().await.unwrap(),
        }
    };
    number(true).await;
    number(false).await;
    number(true).await;

    let text = "SELECT event_id FROM outbox ORDER BY id";
    let ids: Vec<String> = sqlx::query_scalar(text).fetch_all(&db.pool).await.unwrap();
    assert_eq!(ids, [1, 2].map(|seq| fact("lumio", seq).0.id));
}

#[tokio::test]
async fn a_commit_wakes_the_relay_of_another_pool() {
    let (db, nats) = (database().await, testkit::nats().await);
    let (bus, mut heard) = (bus(&nats).await, nats.listen().await);
    let (_stop, _ended) = relay(&db.pool, &bus);
    put(&db.pool, &nats.prefix, [1]).await;
    heard.next().await;

    // The relay polls once a second, so a fact that follows the one before it waits for a second.
    // When each commit wakes it, at least one of twenty takes far less, however busy the machine is.
    let mut quickest = Duration::MAX;
    for seq in 2..=21 {
        let put_at = tokio::time::Instant::now();
        put(&db.pool, &nats.prefix, [seq]).await;
        heard.next().await;
        quickest = quickest.min(put_at.elapsed());
    }
    assert!(quickest < Duration::from_millis(500), "{quickest:?}");
}

/// The lock that a relay holds while it sleeps.
const SLEEP: &str = "hashtextextended('sleep of the relay of ' || current_schema(), 0)";

#[tokio::test]
async fn a_commit_notifies_only_a_relay_that_sleeps() {
    let (db, other) = (database().await, "lumio");
    let mut commits = PgListener::connect_with(&db.pool).await.unwrap();
    commits.listen("lumio_outbox").await.unwrap();
    commits.listen("end").await.unwrap();
    let mut heard = async || {
        sqlx::query("NOTIFY \"end\"").execute(&db.pool).await.unwrap();
        let mut count = 0;
        while commits.recv().await.unwrap().channel() != "end" {
            count += 1;
        }
        count
    };
    put(&db.pool, other, [1]).await;
    assert_eq!(heard().await, 0);

    let mut sleeping = db.pool.acquire().await.unwrap();
    let lock = format!("SELECT pg_advisory_lock({SLEEP})");
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *sleeping).await.unwrap();
    put(&db.pool, other, [2, 3]).await;
    assert_eq!(heard().await, 2);

    sqlx::raw_sql("SELECT pg_advisory_unlock_all()").execute(&mut *sleeping).await.unwrap();
    put(&db.pool, other, [4]).await;
    assert_eq!(heard().await, 0);
}

#[tokio::test]
async fn a_relay_does_not_sleep_while_a_fact_is_put_that_would_not_wake_it() {
    let (db, nats) = (database().await, testkit::nats().await);
    let (bus, mut heard) = (bus(&nats).await, nats.listen().await);
    let sleeps = async || {
        let text = format!(
            "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND granted
                AND mode = 'ExclusiveLock' AND objid::bigint = {SLEEP} & x'ffffffff'::bigint
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        );
        sqlx::query_scalar::<_, bool>(AssertSqlSafe(text)).fetch_one(&db.pool).await.unwrap()
    };
    let (first, subject) = fact(&nats.prefix, 1);
    let mut open = chassis::postgres::begin(&db.pool).await.unwrap();
    outbox::put(&mut open, &first, &subject).await.unwrap();

    let (_stop, _ended) = relay(&db.pool, &bus);
    // Facts that are committed meanwhile are published as ever.
    for seq in 2..=5 {
        put(&db.pool, &nats.prefix, [seq]).await;
        assert_eq!(heard.next().await.1.id, fact(&nats.prefix, seq).0.id);
        assert!(!sleeps().await);
    }
    open.commit().await.unwrap();
    assert_eq!(heard.next().await.1.id, first.id);
    testkit::eventually(sleeps).await;
}

#[tokio::test]
async fn a_database_from_before_keeps_its_facts_and_goes_on_counting() {
    let db = testkit::postgres().await;
    let mut conn = db.pool.acquire().await.unwrap();
    let before = "
        CREATE TABLE _sqlx_migrations (
            version bigint PRIMARY KEY, description text NOT NULL,
            installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL,
            checksum bytea NOT NULL, execution_time bigint NOT NULL);
        INSERT INTO _sqlx_migrations VALUES (1, 'outbox', now(), true, '', 0);
        CREATE TABLE outbox (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id text NOT NULL UNIQUE,
            subject text NOT NULL, body text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
            position bigint UNIQUE, published_at timestamptz);
        CREATE SEQUENCE outbox_position;";
    sqlx::raw_sql(before).execute(&mut *conn).await.unwrap();
    let (event, subject) = fact("lumio", 7);
    // As the program from before did.
    sqlx::query("INSERT INTO outbox (event_id, subject, body) VALUES ($1, $2, $3)")
        .bind(&event.id)
        .bind(&subject)
        .bind(serde_json::to_string(&event).unwrap())
        .execute(&mut *conn)
        .await
        .unwrap();

    outbox::migrate(&mut conn).await.unwrap();
    outbox::migrate(&mut conn).await.unwrap();
    let (data, now) = (data(), chassis::clock::now());
    outbox::publish(&mut conn, "lumio", GateEvent::Shipped, &data, now, None).await.unwrap();

    let text = "SELECT event_id FROM outbox ORDER BY id";
    let ids: Vec<String> = sqlx::query_scalar(text).fetch_all(&mut *conn).await.unwrap();
    assert_eq!(ids, [7, 8].map(|seq| fact("lumio", seq).0.id));
}

#[tokio::test]
async fn one_relay_leads_and_the_next_takes_over() {
    let (db, nats) = (database().await, testkit::nats().await);
    let bus = bus(&nats).await;
    // Each connection of a relay that leads holds a lock, and another one while it sleeps.
    let leaders = async || {
        let text =
            "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        sqlx::query_scalar::<_, i64>(text).fetch_one(&db.pool).await.unwrap()
    };
    let (stop_one, one) = relay(&db.pool, &bus);
    testkit::eventually(async || leaders().await == 1).await;
    let (_stop_two, _two) = relay(&db.pool, &bus);
    put(&db.pool, &nats.prefix, [1]).await;
    testkit::eventually(async || published(&db.pool).await == 1).await;
    assert_eq!(leaders().await, 1);

    stop_one.cancel();
    one.await.unwrap();
    put(&db.pool, &nats.prefix, [2]).await;

    testkit::eventually(async || published(&db.pool).await == 2).await;
}

#[tokio::test]
async fn a_leader_whose_connection_dies_leads_again() {
    let (db, nats) = (database().await, testkit::nats().await);
    let bus = bus(&nats).await;
    let (_stop, _ended) = relay(&db.pool, &bus);
    put(&db.pool, &nats.prefix, [1]).await;
    testkit::eventually(async || published(&db.pool).await == 1).await;

    let text =
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    sqlx::query(text).execute(&db.pool).await.unwrap();
    put(&db.pool, &nats.prefix, [2]).await;

    testkit::eventually(async || published(&db.pool).await == 2).await;
}

#[tokio::test]
async fn an_event_that_no_stream_keeps_holds_up_no_other_and_waits_for_its_stream() {
    let (db, nats) = (database().await, testkit::nats().await);
    let (bus, mut heard) = (bus(&nats).await, nats.listen().await);
    // As after a change of NATS_PREFIX.
    let former = format!("{}former", nats.prefix);
    put(&db.pool, &former, [1]).await;
    put(&db.pool, &nats.prefix, [2]).await;
    let (stop, ended) = relay(&db.pool, &bus);
    assert_eq!(heard.next().await.1.id, fact(&nats.prefix, 2).0.id);
    testkit::eventually(async || published(&db.pool).await == 1).await;
    stop.cancel();
    ended.await.unwrap();

    let config = async_nats::jetstream::stream::Config {
        name: Family::Gate.stream(&former),
        subjects: vec![Family::Gate.filter(&former)],
        ..Default::default()
    };
    let stream = bus.jetstream().create_stream(config).await.unwrap();
    // A relay that starts tries everything at once.
    let (_stop, _ended) = relay(&db.pool, &bus);
    testkit::eventually(async || published(&db.pool).await == 2).await;
    assert_eq!(stream.get_info().await.unwrap().state.messages, 1);
    bus.jetstream().delete_stream(Family::Gate.stream(&former)).await.unwrap();
}
