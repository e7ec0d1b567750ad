//! Whose limit a failure counts against: the user's, the developer's, or none (V13).

use runner::model::policy::WorthLimits;
use runner::runs::worth;
use sqlx::PgPool;
use stellar::{Address, Keypair};

/// A run of this user on an agent of this developer that was opened, and failed with this code.
async fn add(db: &PgPool, user: Address, developer: Address, code: &str) {
    let id = chassis::clock::new_uuid();
    let run = "INSERT INTO runs (id, user_account, agent_id, budgets, input, input_digest, seed, \
            status, phase, attempt, traceparent, created_at, updated_at) \
         VALUES ($1, $2, 1, '{}', '', decode(repeat('00', 32), 'hex'), 1, 'failed', 'done', 1, '', \
            now(), now())";
    sqlx::query(run).bind(id).bind(user.to_string()).execute(db).await.unwrap();
    let attempt = "INSERT INTO attempts (run_id, number, nonce, error_code, created_at, ended_at) \
         VALUES ($1, 1, $2, $3, now(), now())";
    let nonce = [*id.as_bytes(); 2].concat();
    sqlx::query(attempt).bind(id).bind(nonce).bind(code).execute(db).await.unwrap();
    let call = "INSERT INTO calls (run_id, attempt, kind, user_account, state, arguments) \
         VALUES ($1, 1, 'open', $2, 'done', jsonb_build_object('open', \
            jsonb_build_object('terms', jsonb_build_object('developer', $3::text))))";
    let call = sqlx::query(call).bind(id).bind(user.to_string()).bind(developer.to_string());
    call.execute(db).await.unwrap();
}

#[tokio::test]
async fn a_failure_counts_only_against_those_who_can_have_caused_it() {
    let db = testkit::postgres().await;
    chassis::postgres::migrate(&db.pool, &runner::MIGRATIONS).await.unwrap();
    let none = WorthLimits { window_secs: 3_600, ..WorthLimits::default() };
    let per_user = WorthLimits { failures_per_user: Some(1), ..none };
    let per_developer = WorthLimits { failures_per_developer: Some(1), ..none };
    let cases = [
        // The code; whether it counts against the user, and against the developer.
        ("E_ORACLE_EXEC", true, true),
        ("ATTESTER_CHANGED", false, true),
        ("SETTLEMENT_REFUSED", false, true),
        ("CHECK_FAILED", false, false),
        ("ESCROW_LEFT_OPEN", false, false),
        ("CANCELLED", false, false),
    ];
    let mut conn = db.pool.acquire().await.unwrap();
    for ((code, of_user, of_developer), number) in cases.into_iter().zip(1_u8..) {
        let [user, developer] =
            [number, number + 100].map(|seed| Keypair::from_seed(&[seed; 32]).address());
        add(&db.pool, user, developer, code).await;
        for (limits, is_counted) in [(&per_user, of_user), (&per_developer, of_developer)] {
            let judged = worth::within(&mut conn, user, developer, limits).await.unwrap();
            let refused = judged.err().map(|failure| failure.code);
            let expected = is_counted.then(|| "PREFLIGHT_TOO_MANY_FAILURES".to_owned());
            assert_eq!(refused, expected, "{code}");
        }
    }
}
