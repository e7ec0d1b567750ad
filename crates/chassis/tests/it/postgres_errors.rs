//! An outage, a lock that another keeps and a mistake of ours are told apart.

use chassis::postgres::{Kind, connect_at_most, describe, kind, kind_in};
use sqlx::{AssertSqlSafe, PgPool};
use testkit::PostgresServer;

async fn failing(db: &PgPool, statement: &str) -> sqlx::Error {
    let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
    statement.execute(db).await.unwrap_err()
}

#[tokio::test]
async fn each_refusal_of_a_statement_keeps_its_kind() {
    let db = testkit::postgres().await;
    let pool = connect_at_most(&db.url, 2).await.unwrap();
    let made = "CREATE TABLE kept (id int PRIMARY KEY); INSERT INTO kept VALUES (1)";
    sqlx::raw_sql(made).execute(&db.pool).await.unwrap();
    let mut holder = chassis::postgres::begin(&db.pool).await.unwrap();
    sqlx::raw_sql("SELECT * FROM kept FOR UPDATE").execute(&mut *holder).await.unwrap();

    for (statement, code, expected) in [
        ("INSERT INTO kept VALUES (1)", "23505", Kind::Duplicate),
        ("BEGIN; SET LOCAL lock_timeout = '50ms'; LOCK TABLE kept", "55P03", Kind::Lock),
        (
            "BEGIN; SET LOCAL statement_timeout = '50ms'; SELECT pg_sleep(600)",
            "57014",
            Kind::Timeout,
        ),
        ("BEGIN READ ONLY; INSERT INTO kept VALUES (2)", "25006", Kind::Unwritable),
        ("SELECT 'x'::uuid", "22P02", Kind::InvalidText),
        (r#"SELECT '"\u0000"'::jsonb->>0, ('"\u0000"'::jsonb)::text"#, "22P05", Kind::InvalidText),
        (r"SELECT convert_from('\xff', 'UTF8')", "22021", Kind::InvalidText),
        // Of our own arithmetic, and none of a caller's.
        ("SELECT 1 / 0", "22012", Kind::Other),
        ("SELECT 2147483647 + 1", "22003", Kind::Other),
        ("SELECT timestamptz '2000-01-01' + interval '1000000 years'", "22008", Kind::Other),
        ("SELECT * FROM nothing", "42P01", Kind::Other),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "57P01", Kind::Outage),
    ] {
        let error = failing(&pool, statement).await;
        assert_eq!(kind(&error), expected, "{statement}: {error:?}");
        assert_eq!(kind_in(&pool, &error), expected);
        let described = describe(&error);
        assert!(described.contains(&format!("({} {code})", expected.name())), "{described}");
    }
}

#[tokio::test]
async fn a_pool_without_a_free_connection_is_not_taken_for_an_outage() {
    let db = testkit::postgres().await;
    let pool = connect_at_most(&db.url, 1).await.unwrap();
    let _kept = pool.acquire().await.unwrap();
    let error = failing(&pool, "SELECT 1").await;
    assert!(matches!(error, sqlx::Error::PoolTimedOut), "{error:?}");
    assert_eq!(kind_in(&pool, &error), Kind::Exhausted);
}

#[tokio::test]
async fn a_server_that_is_stopped_is_an_outage() {
    let mut server = PostgresServer::start().await.unwrap();
    let db = server.database().await.unwrap();
    let pool = connect_at_most(&db.url, 2).await.unwrap();
    server.stop();
    let error = failing(&pool, "SELECT 1").await;
    assert_eq!(kind_in(&pool, &error), Kind::Outage, "{error:?}");

    // Two try to connect, so that the pool has as many connections as it may, and a third only
    // waits: that its wait takes too long is the server's doing, too.
    let connecting = [pool.clone(), pool.clone()]
        .map(|pool| tokio::spawn(async move { failing(&pool, "SELECT 1").await }));
    testkit::eventually(async || pool.size() == 2).await;
    assert_eq!(kind_in(&pool, &sqlx::Error::PoolTimedOut), Kind::Outage);
    for connecting in connecting {
        let error = connecting.await.unwrap();
        assert_eq!(kind_in(&pool, &error), Kind::Outage, "{error:?}");
    }
}

#[test]
fn a_key_that_is_in_use_is_not_answered_as_one_that_may_be_free_later() {
    let problem = Kind::Duplicate.problem();
    assert!(!problem.row().retryable, "{problem:?}");
}
