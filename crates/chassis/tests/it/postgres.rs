//! No wait for the database is without an end.

use std::borrow::Cow;
use std::time::Duration;

use chassis::postgres::{
    Kind, Listener, begin, commit, connect, in_time, kind_in, migrate, probe, with_limit,
};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, PgPool};
use testkit::{SilentWay, TestDb, eventually};
use tokio::time::Instant;

use crate::fixture::SOON;

/// Long enough for the other statements of a test on a busy machine.
const BRIEF: (&str, &str) = ("statement_timeout", "2s");

/// A pool over the test's database; `options` as a URL names them.
async fn pool(db: &TestDb, options: &[(&str, &str)]) -> PgPool {
    let mut url = url::Url::parse(&db.url).unwrap();
    for (name, value) in options {
        url.query_pairs_mut().append_pair(&format!("options[{name}]"), value);
    }
    connect(url.as_str()).await.unwrap()
}

async fn shown(db: &PgPool, name: &str) -> String {
    let show = sqlx::query_scalar(AssertSqlSafe(format!("SHOW {name}")));
    show.fetch_one(db).await.unwrap()
}

fn code(error: &sqlx::Error) -> Cow<'_, str> {
    error.as_database_error().and_then(|error| error.code()).unwrap_or_default()
}

#[tokio::test]
async fn every_connection_has_bounds_and_the_url_may_set_others() {
    let db = testkit::postgres().await;
    let usual = pool(&db, &[]).await;
    assert_eq!(shown(&usual, "statement_timeout").await, "30s");
    assert_eq!(shown(&usual, "lock_timeout").await, "10s");
    let longer = pool(&db, &[("statement_timeout", "60s")]).await;
    assert_eq!(shown(&longer, "statement_timeout").await, "1min");
    assert_eq!(shown(&longer, "lock_timeout").await, "10s");
}

#[tokio::test]
async fn a_statement_that_does_not_end_is_ended_and_its_connection_goes_on() {
    let db = testkit::postgres().await;
    let hasty = pool(&db, &[BRIEF]).await;
    let mut conn = hasty.acquire().await.unwrap();
    // Far longer than any test may take.
    let slept = sqlx::query("SELECT pg_sleep(86400)").execute(&mut *conn).await;
    assert_eq!(code(&slept.unwrap_err()), "57014");
    sqlx::query("SELECT 1").execute(&mut *conn).await.unwrap();
}

#[tokio::test]
async fn a_lock_that_another_keeps_is_not_waited_for_without_end() {
    let db = testkit::postgres().await;
    let hasty = pool(&db, &[("lock_timeout", "100ms")]).await;
    sqlx::query("CREATE TABLE kept (id int)").execute(&hasty).await.unwrap();
    let mut holder = chassis::postgres::begin(&hasty).await.unwrap();
    sqlx::query("LOCK TABLE kept").execute(&mut *holder).await.unwrap();
    let waited = sqlx::query("SELECT * FROM kept").execute(&hasty).await;
    assert_eq!(code(&waited.unwrap_err()), "55P03");
}

#[tokio::test]
async fn a_migration_takes_the_time_it_takes_and_leaves_the_bounds_to_others() {
    let db = testkit::postgres().await;
    let hasty = pool(&db, &[BRIEF]).await;
    let folder = tempfile::tempdir().unwrap();
    let slow = "SELECT pg_sleep(2.5); CREATE TABLE made (id int)";
    std::fs::write(folder.path().join("0001_slow.sql"), slow).unwrap();
    migrate(&hasty, &Migrator::new(folder.path()).await.unwrap()).await.unwrap();
    sqlx::query("SELECT * FROM made").execute(&hasty).await.unwrap();
    assert_eq!(shown(&hasty, "statement_timeout").await, BRIEF.1);
}

#[tokio::test]
async fn a_role_that_may_only_read_starts_on_a_schema_that_a_job_migrated() {
    let db = testkit::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let step = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    step("0001_made.sql", "CREATE TABLE made (id int)");
    let first = Migrator::new(folder.path()).await.unwrap();
    // A role of Postgres's own, so that nothing outlives the test's database.
    let reader = pool(&db, &[("role", "pg_read_all_data")]).await;
    assert!(migrate(&reader, &first).await.is_err(), "nothing is there, and it may make nothing");
    migrate(&db.pool, &first).await.unwrap();
    migrate(&reader, &first).await.unwrap();

    step("0002_more.sql", "CREATE TABLE more (id int)");
    let second = Migrator::new(folder.path()).await.unwrap();
    assert!(migrate(&reader, &second).await.is_err(), "a step is missing");
    migrate(&db.pool, &second).await.unwrap();
    migrate(&reader, &second).await.unwrap();
    assert!(migrate(&db.pool, &first).await.is_err(), "the schema is newer than the program");
}

#[tokio::test]
async fn a_caller_may_be_dropped_at_any_moment_of_begin() {
    let db = testkit::postgres().await;
    let usual = pool(&db, &[]).await;
    sqlx::query("CREATE TABLE kept (id int)").execute(&usual).await.unwrap();
    for micros in 0..400 {
        let patience = std::time::Duration::from_micros(micros * 5);
        // Dropped before, while or after `BEGIN` is on its way.
        let begun = tokio::time::timeout(patience, chassis::postgres::begin(&usual)).await;
        drop(begun);
        // What the next borrower writes is committed: it is seen from outside of the pool.
        let id = i32::try_from(micros).unwrap();
        sqlx::query("INSERT INTO kept VALUES ($1)").bind(id).execute(&usual).await.unwrap();
    }
    let seen: i64 =
        sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&db.pool).await.unwrap();
    assert_eq!(seen, 400);
    db.has_no_open_transaction().await;
}

#[tokio::test]
async fn a_connection_inside_a_transaction_is_never_lent_to_another() {
    let db = testkit::postgres().await;
    let usual = pool(&db, &[]).await;
    sqlx::query("CREATE TABLE kept (id int)").execute(&usual).await.unwrap();
    // The driver does not know of this transaction, as after a `begin` that was dropped.
    sqlx::raw_sql("BEGIN").execute(&usual).await.unwrap();
    sqlx::query("INSERT INTO kept VALUES (1)").execute(&usual).await.unwrap();
    let seen: i64 =
        sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&db.pool).await.unwrap();
    assert_eq!(seen, 1);
    db.has_no_open_transaction().await;

    // A transaction in which a statement failed is no better.
    sqlx::raw_sql("BEGIN; SELECT 1").execute(&usual).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT 1 / 0").execute(&usual).await.unwrap_err();
    sqlx::query("INSERT INTO kept VALUES (2)").execute(&usual).await.unwrap();
    db.has_no_open_transaction().await;
}

#[tokio::test]
async fn a_transaction_without_statements_does_not_keep_its_locks_for_ever() {
    let db = testkit::postgres().await;
    let hasty = pool(&db, &[("idle_in_transaction_session_timeout", "100ms")]).await;
    assert_eq!(shown(&pool(&db, &[]).await, "idle_in_transaction_session_timeout").await, "30s");
    sqlx::query("CREATE TABLE kept (id int)").execute(&hasty).await.unwrap();
    let mut holder = chassis::postgres::begin(&hasty).await.unwrap();
    sqlx::query("LOCK TABLE kept").execute(&mut *holder).await.unwrap();
    db.has_no_open_transaction().await;
    sqlx::query("INSERT INTO kept VALUES (1)").execute(&db.pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_keeps_nobody_waiting_and_is_used_again_when_it_is_back() {
    let db = testkit::postgres().await;
    let way = SilentWay::to(&db).await;
    let usual = connect(&way.url).await.unwrap();
    sqlx::query("CREATE TABLE kept (id int)").execute(&usual).await.unwrap();
    let mut lent = usual.acquire().await.unwrap();
    let mut open = begin(&usual).await.unwrap();
    sqlx::query("INSERT INTO kept VALUES (1)").execute(in_time(&mut *open)).await.unwrap();
    let mut listener = Listener::connect(&usual, "kept").await.unwrap();
    probe(&usual).await.unwrap();

    way.fall_silent();
    let began = Instant::now();
    let (asked, committed, begun, probed) = with_limit(Duration::from_secs(1), async {
        tokio::join!(
            sqlx::query("SELECT 1").execute(in_time(&mut *lent)),
            commit(open),
            begin(&usual),
            probe(&usual),
        )
    })
    .await;
    for error in [asked.unwrap_err(), committed.unwrap_err(), begun.unwrap_err()] {
        assert_eq!(kind_in(&usual, &error), Kind::Outage, "{error:?}");
    }
    probed.unwrap_err();
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
    // Nothing is announced, and nobody says that nothing ever will be.
    listener.recv().await.unwrap_err();

    way.come_back();
    drop(lent);
    eventually(async || probe(&usual).await).await;
    // No place of the pool is lost.
    eventually(async || usual.size() == 0 || usual.num_idle() == usual.size() as usize).await;
    let mut all = Vec::new();
    for _ in 0..chassis::postgres::MAX_CONNECTIONS {
        all.push(usual.acquire().await.unwrap());
    }
    let mut listener = Listener::connect(&usual, "kept").await.unwrap();
    sqlx::query("NOTIFY kept").execute(&db.pool).await.unwrap();
    listener.recv().await.unwrap();
}
