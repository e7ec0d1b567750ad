//! What workers claim together, and what they keep alive together.

use runner::model::policy::Places;
use runner::model::run::RunLease;
use runner::model::state::{Lane, Phase, Status};
use runner::runs::store;
use sqlx::PgPool;
use testkit::TestDb;

const LEASE_MS: i64 = 60_000;

/// A database with runs in the queue: of each of these users one for each time it is named.
async fn queue(users: &[&str]) -> TestDb {
    let db = testkit::postgres().await;
    chassis::postgres::migrate(&db.pool, &runner::MIGRATIONS).await.unwrap();
    let text = "INSERT INTO runs (id, user_account, agent_id, budgets, input, input_digest, seed, \
            status, phase, attempt, traceparent, created_at, updated_at, turn_at) \
         SELECT gen_random_uuid(), u.account, 1, '{}', '{}', decode(repeat('00', 32), 'hex'), 1, \
            'pending', 'queued', 1, '', now(), now(), now() + u.place * interval '1 ms' \
         FROM UNNEST($1::text[]) WITH ORDINALITY AS u (account, place)";
    sqlx::query(text).bind(users).execute(&db.pool).await.unwrap();
    db
}

async fn claim(db: &PgPool, owner: &str, places: Places, most: usize) -> Vec<RunLease> {
    store::claim(db, (owner, "GRUNNER"), LEASE_MS, Lane::Chain, places, most).await.unwrap()
}

async fn users_of(db: &PgPool, leases: &[RunLease]) -> Vec<String> {
    let ids: Vec<_> = leases.iter().map(|lease| *lease.id.as_uuid()).collect();
    let text = "SELECT user_account FROM runs WHERE id = ANY($1) ORDER BY turn_at";
    sqlx::query_scalar(text).bind(ids).fetch_all(db).await.unwrap()
}

#[tokio::test]
async fn one_claim_takes_the_next_runs_in_their_order_and_no_run_twice() {
    let db = queue(&["a", "b", "c", "d", "e"]).await;
    let first = claim(&db.pool, "one", Places::default(), 3).await;
    let second = claim(&db.pool, "other", Places::default(), 3).await;
    assert_eq!(users_of(&db.pool, &first).await, ["a", "b", "c"]);
    assert_eq!(users_of(&db.pool, &second).await, ["d", "e"]);
    assert!(claim(&db.pool, "one", Places::default(), 3).await.is_empty());
}

#[tokio::test]
async fn one_claim_gives_a_user_and_an_agent_no_more_places_than_they_have() {
    let db = queue(&["a", "a", "a", "b", "b", "c"]).await;
    let two_of_a_user = Places { per_user: Some(2), per_agent: None };
    let first = claim(&db.pool, "one", two_of_a_user, 6).await;
    assert_eq!(users_of(&db.pool, &first).await, ["a", "a", "b", "b", "c"]);
    assert!(claim(&db.pool, "one", two_of_a_user, 6).await.is_empty());

    let db = queue(&["a", "a", "b", "c"]).await;
    let both = Places { per_user: Some(1), per_agent: Some(2) };
    let mut claimed = Vec::new();
    loop {
        let more = claim(&db.pool, "one", both, 4).await;
        if more.is_empty() {
            break;
        }
        claimed.extend(more);
    }
    assert_eq!(users_of(&db.pool, &claimed).await, ["a", "b"]);
}

#[tokio::test]
async fn one_heartbeat_keeps_all_claims_and_names_those_that_are_lost() {
    let db = queue(&["a", "b", "c", "d"]).await;
    let leases = claim(&db.pool, "one", Places::default(), 4).await;
    let until = async |lease: RunLease| -> Option<f64> {
        let text =
            "SELECT extract(epoch FROM lease_until)::double precision FROM runs WHERE id = $1";
        sqlx::query_scalar(text).bind(lease.id.as_uuid()).fetch_one(&db.pool).await.unwrap()
    };
    let [kept, taken, given_back, locked] = leases[..] else { panic!("{leases:?}") };
    sqlx::query("UPDATE runs SET lease_token = lease_token + 1 WHERE id = $1")
        .bind(taken.id.as_uuid())
        .execute(&db.pool)
        .await
        .unwrap();
    store::release(&db.pool, given_back, 0, "").await.unwrap();
    let mut step = chassis::postgres::begin(&db.pool).await.unwrap();
    store::fence(&mut step, locked, Phase::Queued).await.unwrap();
    let before = (until(kept).await, until(taken).await, until(locked).await);

    let mut lost = store::heartbeat(&db.pool, &leases, 2 * LEASE_MS).await.unwrap();

    lost.sort_by_key(|lease| lease.id != taken.id);
    assert_eq!(lost, [taken, given_back]);
    assert!(until(kept).await > before.0);
    assert_eq!(until(taken).await, before.1);
    assert_eq!(until(given_back).await, None);
    // It is neither waited for nor lost: its step holds it.
    assert_eq!(until(locked).await, before.2);
    step.rollback().await.unwrap();
    let lost = store::heartbeat(&db.pool, &[kept, locked], 2 * LEASE_MS).await.unwrap();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(until(locked).await > before.2);
}

#[tokio::test]
async fn a_run_that_ends_is_let_go_of_in_the_same_transaction() {
    let db = queue(&["a"]).await;
    let lease = claim(&db.pool, "one", Places::default(), 1).await[0];
    let mut tx = chassis::postgres::begin(&db.pool).await.unwrap();
    let (phases, now) = ((Phase::Queued, Phase::Done), chassis::clock::now());
    store::advance(&mut tx, lease, phases, Status::Cancelled, now).await.unwrap();
    tx.commit().await.unwrap();
    let text = "SELECT lease_owner IS NULL AND lease_until IS NULL FROM runs";
    assert!(sqlx::query_scalar::<_, bool>(text).fetch_one(&db.pool).await.unwrap());
    // Nobody keeps it alive any more, or writes as its owner.
    assert_eq!(store::heartbeat(&db.pool, &[lease], LEASE_MS).await.unwrap(), [lease]);
}
