//! The record of the SQL that the compiler checks is what the database says.

#[tokio::test]
async fn the_record_of_checked_statements_is_current() {
    let db = testkit::postgres().await;
    chassis::postgres::migrate(&db.pool, &runner::MIGRATIONS).await.unwrap();
    testkit::assert_sql_metadata_is_current(&db.pool, env!("CARGO_MANIFEST_DIR")).await;
}
