//! What workers claim and senders reserve together, whose turn it is, and what workers keep alive
//! together.

use runner::chain::store::calls;
use runner::chain::transaction::Kind;
use runner::gateway::store::transaction_ms;
use runner::model::policy::{Lookahead, Places};
use runner::model::run::RunLease;
use runner::model::state::{Lane, Phase, Status};
use runner::runs::store::{self, Failures};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use testkit::TestDb;
use wire::RunId;

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

async fn change(db: &PgPool, text: &'static str) {
    sqlx::query(text).execute(db).await.unwrap();
}

async fn count(db: &PgPool, text: &'static str) -> i64 {
    sqlx::query_scalar(text).fetch_one(db).await.unwrap()
}

/// A database with runs that all want to be opened, as [`queue`] makes them.
async fn openings(users: &[&str]) -> TestDb {
    let db = queue(users).await;
    let text = "INSERT INTO attempts (run_id, number, nonce, created_at) \
         SELECT id, 1, sha256(id::text::bytea), now() FROM runs";
    change(&db.pool, text).await;
    let text = "INSERT INTO calls (run_id, attempt, kind, user_account, state) \
         SELECT id, 1, 'open', user_account, 'wanted' FROM runs ORDER BY turn_at";
    change(&db.pool, text).await;
    db
}

/// Reserves openings, as a sender does; the users of their runs.
async fn reserve(db: &PgPool, most: usize, lookahead: Option<Lookahead>) -> Vec<String> {
    let (kind, by) = (Kind::Open, ("GRUNNER", LEASE_MS));
    let (calls, unreadable) = calls::reserve(db, kind, most, by, lookahead).await.unwrap();
    assert!(calls.is_empty(), "these have no arguments");
    let ids: Vec<_> = unreadable.iter().map(|call| *call.run.as_uuid()).collect();
    let text = "SELECT user_account FROM runs WHERE id = ANY($1) ORDER BY turn_at";
    sqlx::query_scalar(text).bind(ids).fetch_all(db).await.unwrap()
}

/// What is reserved is opened, and its module is started.
async fn open_reserved(db: &PgPool) {
    let text = "WITH opened AS (UPDATE calls SET state = 'done', reserved_until = NULL \
            WHERE reserved_until IS NOT NULL RETURNING run_id) \
         UPDATE runs SET phase = 'executing', status = 'running', admitted_at = now() \
         FROM opened o WHERE id = o.run_id";
    change(db, text).await;
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
    // No worker keeps it alive any more, or writes as its owner.
    assert_eq!(store::heartbeat(&db.pool, &[lease], LEASE_MS).await.unwrap(), [lease]);
}

#[tokio::test]
async fn one_user_who_asks_for_many_runs_keeps_no_other_user_waiting() {
    let mut users = vec!["flood"; 500];
    users.push("other");
    let db = queue(&users).await;
    let first = claim(&db.pool, "one", Places::default(), 4).await;
    assert_eq!(users_of(&db.pool, &first).await, ["flood", "flood", "flood", "other"]);

    // So it is where only one worker is free at a time.
    let db = queue(&users).await;
    let first = claim(&db.pool, "one", Places::default(), 1).await;
    let second = claim(&db.pool, "one", Places::default(), 1).await;
    assert_eq!(users_of(&db.pool, &first).await, ["flood"]);
    assert_eq!(users_of(&db.pool, &second).await, ["other"]);

    // And so it is with modules.
    let db = queue(&users[480..]).await;
    change(&db.pool, "UPDATE runs SET phase = 'executing', status = 'running'").await;
    let by = ("one", "GRUNNER");
    let claimed = store::claim(&db.pool, by, LEASE_MS, Lane::Gates, Places::default(), 2).await;
    assert_eq!(users_of(&db.pool, &claimed.unwrap()).await, ["flood", "other"]);
}

/// How often `claim` looks at the table of runs or at an index of it.
async fn looks_at_runs(db: &PgPool, claim: impl AsyncFnOnce(&PgPool)) -> i64 {
    // A session tells what it has counted when it is asked to.
    let options = (*db.connect_options()).clone();
    let session = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let looks = "SELECT seq_scan + idx_scan FROM pg_stat_user_tables WHERE relname = 'runs'";
    change(&session, "SELECT pg_stat_force_next_flush()").await;
    let before = count(&session, looks).await;
    claim(&session).await;
    change(&session, "SELECT pg_stat_force_next_flush()").await;
    count(&session, looks).await - before
}

#[tokio::test]
async fn a_claim_counts_the_runs_of_users_and_not_for_each_of_their_runs() {
    // As many as make a look for each of them stand out from what other sessions count meanwhile.
    let users: Vec<_> = ["a", "b", "c"].into_iter().cycle().take(300).collect();
    let db = queue(&users).await;
    let waiting = "UPDATE runs SET phase = 'executing', status = 'running', admitted_at = now()";
    change(&db.pool, waiting).await;
    let looks = looks_at_runs(&db.pool, async |session| {
        let by = ("one", "GRUNNER");
        let claimed =
            store::claim(session, by, LEASE_MS, Lane::Gates, Places::default(), 1).await.unwrap();
        assert_eq!(claimed.len(), 1);
    });
    assert!(looks.await < 60, "a claim looks for the user of each run that waits");

    let db = queue(&["a"; 300]).await;
    let both = Places { per_user: Some(1), per_agent: Some(400) };
    assert_eq!(claim(&db.pool, "one", both, 1).await.len(), 1);
    let looks = looks_at_runs(&db.pool, async |session| {
        assert!(claim(session, "one", both, 1).await.is_empty(), "the user has one place");
    });
    assert!(looks.await < 60, "a claim looks whether each run of the queue has a place");
}

#[tokio::test]
async fn what_has_waited_for_long_goes_first_whoever_asked_for_it() {
    let db = queue(&["a", "a", "a", "b"]).await;
    // Minutes since it was each run's turn.
    let text = "WITH placed AS (SELECT id, row_number() OVER (ORDER BY turn_at)::integer AS place \
            FROM runs) \
         UPDATE runs r SET turn_at = now() - (ARRAY[25, 15, 1, 0])[p.place] * interval '1 minute' \
         FROM placed p WHERE p.id = r.id";
    change(&db.pool, text).await;
    let first = claim(&db.pool, "one", Places::default(), 2).await;
    assert_eq!(users_of(&db.pool, &first).await, ["a", "a"], "the second is ten minutes later");
    let third = claim(&db.pool, "one", Places::default(), 1).await;
    assert_eq!(users_of(&db.pool, &third).await, ["b"]);
}

#[tokio::test]
async fn openings_are_reserved_in_turn_of_the_users() {
    let mut users = vec!["flood"; 20];
    users.extend(["other"; 2]);
    let db = openings(&users).await;
    assert_eq!(reserve(&db.pool, 4, None).await, ["flood", "flood", "other", "other"]);
    assert_eq!(reserve(&db.pool, 4, None).await, ["flood"; 4]);

    // One at a time: runs that are opened already are turns that their user has had.
    let db = openings(&["flood", "flood", "other"]).await;
    assert_eq!(reserve(&db.pool, 1, None).await, ["flood"]);
    open_reserved(&db.pool).await;
    assert_eq!(reserve(&db.pool, 1, None).await, ["other"]);
}

/// Two executors, and modules that may take ten minutes. A run may wait for 15.
const AHEAD: Lookahead = Lookahead { executions: 2, patience_ms: 900_000, unmeasured_ms: 600_000 };

#[tokio::test]
async fn runs_to_which_no_executor_comes_in_time_are_not_opened_until_one_does() {
    let db = openings(&["a"; 30]).await;
    change(&db.pool, "UPDATE runs SET waiting_for = 'a place in a transaction'").await;
    // The fourth waits for three executions of ten minutes on two executors.
    assert_eq!(reserve(&db.pool, 17, Some(AHEAD)).await.len(), 4);
    assert!(reserve(&db.pool, 17, Some(AHEAD)).await.is_empty(), "reserved is as good as opened");
    open_reserved(&db.pool).await;
    assert!(reserve(&db.pool, 17, Some(AHEAD)).await.is_empty());
    assert!(!calls::has_executor(&db.pool, AHEAD).await.unwrap());
    // They stay in the queue, and say what for.
    store::note_executors(&db.pool, AHEAD).await.unwrap();
    let waiting = "SELECT count(*) FROM runs \
         WHERE status = 'pending' AND waiting_for = 'an executor'";
    assert_eq!(count(&db.pool, waiting).await, 26);

    // An execution ends.
    let text = "UPDATE runs SET phase = 'settling', status = 'finalizing' WHERE id = \
         (SELECT id FROM runs WHERE phase = 'executing' LIMIT 1)";
    change(&db.pool, text).await;
    assert!(calls::has_executor(&db.pool, AHEAD).await.unwrap());
    assert_eq!(reserve(&db.pool, 17, Some(AHEAD)).await.len(), 1);
    open_reserved(&db.pool).await;
    // What an operator has to look at waits for no executor.
    let text = "UPDATE runs SET operator_reason = 'a test' WHERE phase = 'executing'";
    change(&db.pool, text).await;
    assert_eq!(reserve(&db.pool, 17, Some(AHEAD)).await.len(), 4);
    open_reserved(&db.pool).await;
    // With another engine there are four executors.
    store::serve_executions(&db.pool, "other", 4).await.unwrap();
    assert_eq!(reserve(&db.pool, 17, Some(AHEAD)).await.len(), 3, "seven on four executors");
    store::end_executions(&db.pool, "other").await.unwrap();
    assert!(!calls::has_executor(&db.pool, AHEAD).await.unwrap());
}

/// Records an execution of the first run that has taken this long, in milliseconds.
async fn executed(db: &PgPool, took: i64) {
    let text = "UPDATE attempts SET execute_started_at = now() - $1::bigint * interval '1 ms' \
         WHERE run_id = (SELECT id FROM runs ORDER BY turn_at LIMIT 1) RETURNING run_id";
    let run: uuid::Uuid = sqlx::query_scalar(text).bind(took).fetch_one(db).await.unwrap();
    let mut conn = db.acquire().await.unwrap();
    let key = (RunId::from(run), 1);
    store::measure_execution(&mut conn, key, AHEAD.unmeasured_ms).await.unwrap();
}

#[tokio::test]
async fn executions_that_were_measured_say_how_many_runs_are_opened() {
    let db = openings(&["a"; 60]).await;
    let cautious = "SELECT cautious_ms FROM execution_times";
    let mean = "SELECT mean_ms FROM execution_times";
    // A short execution says little of the next one.
    executed(&db.pool, 1_000).await;
    assert!(count(&db.pool, cautious).await > 500_000);
    assert!(count(&db.pool, mean).await < 30_000);
    for _ in 0..60 {
        executed(&db.pool, 1_000).await;
    }
    assert!(count(&db.pool, cautious).await < 30_000);
    assert_eq!(reserve(&db.pool, 17, Some(AHEAD)).await.len(), 17);
    open_reserved(&db.pool).await;
    // A long one counts at once.
    executed(&db.pool, 600_000).await;
    assert!(count(&db.pool, cautious).await >= 600_000);
    assert!(count(&db.pool, mean).await < 200_000);
    assert!(reserve(&db.pool, 17, Some(AHEAD)).await.is_empty());

    // So does one that has not ended yet.
    change(&db.pool, "UPDATE execution_times SET cautious_ms = 1000, mean_ms = 1000").await;
    change(&db.pool, "UPDATE attempts SET execute_started_at = NULL").await;
    assert!(calls::has_executor(&db.pool, AHEAD).await.unwrap());
    let text = "UPDATE attempts SET execute_started_at = now() - interval '10 minutes' \
         WHERE run_id = (SELECT id FROM runs WHERE phase = 'executing' LIMIT 1)";
    change(&db.pool, text).await;
    assert!(!calls::has_executor(&db.pool, AHEAD).await.unwrap());
}

#[tokio::test]
async fn only_defects_that_follow_one_another_are_counted_together() {
    let db = queue(&["a"]).await;
    let lease = claim(&db.pool, "one", Places::default(), 1).await[0];
    let failures = async || {
        let Failures { all, defects } = store::failures(&db.pool, lease).await.unwrap();
        (all, defects)
    };
    for met in 1..=2 {
        store::release_defective(&db.pool, lease, 0, "a test").await.unwrap();
        assert_eq!(failures().await, (met, met));
    }
    // A stop says nothing about the run; what is away is no defect.
    store::release(&db.pool, lease, 0, "").await.unwrap();
    assert_eq!(failures().await, (2, 2));
    store::release(&db.pool, lease, 0, "a gate").await.unwrap();
    assert_eq!(failures().await, (3, 0));
    store::release_defective(&db.pool, lease, 0, "a test").await.unwrap();
    assert_eq!(failures().await, (4, 1));
    // What resumes a run, or takes it ahead, knows of `failures` only.
    change(&db.pool, "UPDATE runs SET failures = 0").await;
    assert_eq!(failures().await, (0, 0));
    store::release_defective(&db.pool, lease, 0, "a test").await.unwrap();
    assert_eq!(failures().await, (1, 1));
}

#[tokio::test]
async fn the_network_takes_as_many_runs_at_once_as_the_smaller_of_its_transactions() {
    let db = openings(&["a"; 6]).await;
    assert_eq!(transaction_ms(&db.pool).await.unwrap(), None);
    // Both took eight seconds: an opening of two calls, and a settlement of four.
    let text = "INSERT INTO chain_transactions (hash, kind, source, sequence, max_time, \
            signed_ledger, envelope, state, created_at, updated_at) \
         SELECT sha256(kind::bytea), kind, 'a', 1, 1, 1, '', 'succeeded', \
            now() - interval '8 seconds', now() FROM UNNEST(ARRAY['open', 'finalize']) AS kind";
    change(&db.pool, text).await;
    let text = "INSERT INTO transaction_calls (transaction_id, call_id, position, live) \
         SELECT t.id, c.id, c.place, false FROM chain_transactions t, \
            (SELECT id, (row_number() OVER (ORDER BY id))::integer AS place FROM calls) c \
         WHERE (t.kind = 'open') = (c.place <= 2)";
    change(&db.pool, text).await;
    assert_eq!(transaction_ms(&db.pool).await.unwrap(), Some(4_000));
}
