//! The record in a crate's folder `.sqlx`, by which the compiler checks its SQL, against a
//! database.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _, PgPool, SqlSafeStr as _};

/// Asks `db`, which has the tables of the crate in `crate_folder` (`env!("CARGO_MANIFEST_DIR")`),
/// about every statement that its `.sqlx` records and compares the answer with the record: types of
/// parameters and columns, and which columns may be null.
///
/// # Panics
///
/// When a record is missing, is not readable, or says something else than the database.
pub async fn assert_sql_metadata_is_current(db: &PgPool, crate_folder: &str) {
    let folder = Path::new(crate_folder).join(".sqlx");
    let mut conn = db.acquire().await.unwrap_or_else(|error| panic!("{error}"));
    // As sqlx's macros do: which columns an outer join leaves null is read from the plan, and a plan
    // for these very parameters, which are NULL, has no joins.
    conn.execute("SET SESSION plan_cache_mode = 'force_generic_plan'")
        .await
        .unwrap_or_else(|error| panic!("{error}"));

    let mut recorded = 0_usize;
    for entry in
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.unwrap_or_else(|error| panic!("{error}")).path();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}"));
        let record: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        let statement = record["query"].as_str().unwrap_or_default().to_owned();

        let described = conn
            .describe(AssertSqlSafe(statement.clone()).into_sql_str())
            .await
            .unwrap_or_else(|error| panic!("{statement}\n{error}"));
        let described = serde_json::to_value(described).unwrap_or_else(|error| panic!("{error}"));

        assert_eq!(described, record["describe"], "run ./dev sqlx: {statement}");
        recorded += 1;
    }
    assert!(recorded > 0, "{} holds no record", folder.display());
}
