//! A database of the release before, with transactions under way, is carried over.

use std::path::Path;

use sqlx::{PgPool, Row as _};

/// The migrations of this service whose numbers are in this range, in their order.
async fn migrate(db: &PgPool, numbers: std::ops::RangeInclusive<u32>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if name
            .get(..4)
            .and_then(|digits| digits.parse().ok())
            .is_some_and(|at| numbers.contains(&at))
        {
            let text = std::fs::read_to_string(&file).unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(db).await.unwrap();
        }
    }
}

/// A run in `phase`, whose newest transaction of `kind` is in `state`.
async fn add(db: &PgPool, number: u8, phase: &str, kind: &str, state: &str) {
    let (id, hash) = (uuid::Uuid::from_bytes([number; 16]), [number; 32]);
    let status = if phase == "done" { "failed" } else { "opening" };
    let run = "INSERT INTO runs (id, user_account, agent_id, budgets, input, input_digest, seed, \
            status, phase, attempt, traceparent, created_at, updated_at) \
         VALUES ($1, 'G', 1, '{}', '', $2, 1, $3, $4, 1, '', now(), now())";
    sqlx::query(run).bind(id).bind(hash).bind(status).bind(phase).execute(db).await.unwrap();
    let attempt = "INSERT INTO attempts (run_id, number, nonce, vault_run_id, deadline, created_at) \
         VALUES ($1, 1, $2, $2, 1800000000, now())";
    sqlx::query(attempt).bind(id).bind(hash).execute(db).await.unwrap();
    let transaction = "INSERT INTO chain_transactions (hash, run_id, attempt, kind, source, \
            sequence, max_time, signed_ledger, envelope, state, result, created_at, updated_at) \
         VALUES ($1, $2, 1, $3, $4, 1, 1, 1, '', $5, $6, now(), now())";
    let result = (state == "succeeded").then(|| vec![number]);
    let made = sqlx::query(transaction).bind(hash).bind(id).bind(kind);
    made.bind(format!("source {number}")).bind(state).bind(result).execute(db).await.unwrap();
}

#[tokio::test]
async fn what_was_under_way_in_the_release_before_is_carried_over() {
    let db = testkit::postgres().await;
    migrate(&db.pool, 0..=11).await;
    sqlx::query("INSERT INTO sources (account) VALUES ('source 1')")
        .execute(&db.pool)
        .await
        .unwrap();
    let cases = [
        // The run's phase, the call, its transaction; the call's state from now on, and whether its
        // transaction is still to be judged.
        ("opening", "open", "prepared", "signed", true),
        ("opening", "open", "unknown", "signed", true),
        ("settling", "finalize", "sent", "signed", true),
        ("opening", "open", "succeeded", "done", false),
        ("executing", "open", "succeeded", "done", false),
        // It ended without effect, and the run had not yet drawn the conclusion.
        ("settling", "finalize", "failed", "signed", true),
        ("voiding", "void", "rejected", "signed", true),
        ("reclaiming", "reclaim", "expired", "signed", true),
        // It ended without effect, and the run has long gone on.
        ("done", "open", "rejected", "withdrawn", false),
        ("reclaiming", "void", "failed", "withdrawn", false),
    ];
    for ((phase, kind, state, ..), number) in cases.iter().zip(1..) {
        add(&db.pool, number, phase, kind, state).await;
    }
    migrate(&db.pool, 12..=9999).await;

    for ((phase, kind, state, expected, live), number) in cases.iter().zip(1_u8..) {
        let text = "SELECT c.state, c.deadline, m.live, m.code, m.result, m.vault_run_id \
             FROM calls c JOIN transaction_calls m ON m.call_id = c.id \
             WHERE c.run_id = $1 AND c.kind = $2";
        let row = sqlx::query(text).bind(uuid::Uuid::from_bytes([number; 16])).bind(kind);
        let row = row.fetch_one(&db.pool).await.unwrap();
        let case = format!("{phase} {kind} {state}");
        assert_eq!(row.get::<&str, _>("state"), *expected, "{case}");
        assert_eq!(row.get::<bool, _>("live"), *live, "{case}");
        assert_eq!(row.get::<i64, _>("deadline"), 1_800_000_000, "{case}");
        assert_eq!(row.get::<Vec<u8>, _>("vault_run_id"), [number; 32], "{case}");
        let done = (*state == "succeeded").then_some((0, vec![number]));
        let code = row.get::<Option<i64>, _>("code");
        assert_eq!(code.zip(row.get::<Option<Vec<u8>>, _>("result")), done, "{case}");
    }
    // The release before finds no source that it might sign with any more.
    let free = "SELECT count(*) FROM sources WHERE lease_until IS NULL OR lease_until < now()";
    assert_eq!(sqlx::query_scalar::<_, i64>(free).fetch_one(&db.pool).await.unwrap(), 0);
    let channels = "SELECT count(*) FROM channels";
    assert_eq!(sqlx::query_scalar::<_, i64>(channels).fetch_one(&db.pool).await.unwrap(), 1);

    // The schema keeps what must never happen from happening, whatever a program does.
    let second = "INSERT INTO transaction_calls (transaction_id, call_id, position, live) \
         SELECT (SELECT max(id) FROM chain_transactions), call_id, 9, true \
         FROM transaction_calls WHERE live ORDER BY call_id LIMIT 1";
    let refused = sqlx::query(second).execute(&db.pool).await.unwrap_err().to_string();
    assert!(refused.contains("transaction_calls_one_live"), "{refused}");
}
