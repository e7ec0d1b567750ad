//! No wait for the database is without an end.

use std::borrow::Cow;

use chassis::postgres::{connect, migrate};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, PgPool};
use testkit::TestDb;

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
    error.as_database_error().and_then(|it| it.code()).unwrap_or_default()
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
    let mut holder = hasty.begin().await.unwrap();
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
