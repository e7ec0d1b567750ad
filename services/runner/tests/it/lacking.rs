//! What the network or the operator lacks is waited for, and only the vault ends a settlement.

use std::time::Duration;

use runner::runs::worker::MOST_DEFECTS;
use serde_json::{Value, json};
use soroban_localnet::Fault;
use stellar::tx::{self, PrepareRequest};
use stellar::{Keypair, token};
use testkit::eventually;

use crate::crashing::dead_at;
use crate::fixture::{DEPOSIT, Fixture, Gateway, PATIENCE, Running};
use crate::queueing::{gateway_alone, gateway_alone_with};
use crate::retention::{command, said};

/// What an account must keep, in stroops: two base reserves.
const RESERVE: i128 = 10_000_000;

/// Waits until `/health` names what is lacking.
pub async fn degraded_by(gateway: &Gateway, kind: &str) {
    let give_up_at = tokio::time::Instant::now() + PATIENCE;
    loop {
        let health: Value = gateway.get("/health").await.json().await.unwrap();
        let chain = health["checks"]["chain"].to_string();
        if health["ok"] == true && health["degraded"] == true && chain.contains(kind) {
            return;
        }
        assert!(tokio::time::Instant::now() < give_up_at, "not degraded by {kind}: {health:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything but the reserve leaves the source's account.
async fn empty_source(fixture: &Fixture) {
    let native = stellar::local::token_id().unwrap();
    let (source, user) = (fixture.source.address(), fixture.user.address());
    let held = token::balance(&fixture.rpc, native, source).await.unwrap();
    let out = token::transfer(native, source, user, held - RESERVE).into();
    let network = stellar::Network::standalone();
    // The user pays for it, so that nothing but the reserve is left.
    let request = PrepareRequest {
        network: &network,
        source: &fixture.user,
        call: &out,
        signers: &[&fixture.source],
        max_time_unix: fixture.localnet.close_time() + 120,
        auth_valid_ledgers: 1_000,
        fee_ceiling: u64::from(u32::MAX),
    };
    tx::submit_and_wait(&fixture.rpc, &request).await.unwrap();
}

/// Has a process die when its settlement is signed: the run is executed and unpaid.
pub async fn unsettled(fixture: &Fixture) -> String {
    let (_, _, id) = dead_at(fixture, "finalize.before_persist", &[]).await;
    id
}

pub async fn is_settled(fixture: &Fixture, running: &Running, id: &str) {
    let run = running.gateway.ended(id, "failed").await;
    assert_eq!(run["errorCode"], "EXECUTOR_MISSING", "{run:#}");
    assert!(run["receipt"].is_object(), "{run:#}");
    assert_eq!(
        (fixture.succeeded(id, "open").await, fixture.succeeded(id, "finalize").await),
        (1, 1)
    );
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts), (DEPOSIT, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn fees_above_the_ceiling_are_waited_out_before_and_after_the_execution() {
    let fixture = Fixture::new().await;
    let low = [("RUNNER_MAX_FEE_STROOPS", "1000")];
    let running = fixture.start(&low).await;
    let id = running.gateway.accepted(&fixture.body()).await;
    degraded_by(&running.gateway, "fee").await;
    let run: Value = running.gateway.get(&format!("/runs/{id}")).await.json().await.unwrap();
    assert_eq!((run["status"].as_str(), run["escrow"].as_str()), (Some("pending"), Some("none")));
    assert_eq!(run["deadline"], Value::Null, "no deadline runs before the opening is signed");
    assert!(run["waitingFor"].as_str().unwrap().contains("ceiling"), "{run:#}");
    running.stop().await;
    let running = fixture.start(&[]).await;
    is_settled(&fixture, &running, &id).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_outlives_an_empty_fee_account() {
    let fixture = Fixture::new().await;
    let id = unsettled(&fixture).await;
    empty_source(&fixture).await;

    let running = fixture.start(&[]).await;
    degraded_by(&running.gateway, "money").await;
    let run: Value = running.gateway.get(&format!("/runs/{id}")).await.json().await.unwrap();
    assert_eq!((run["phase"].as_str(), run["escrow"].as_str()), (Some("settling"), Some("open")));
    let native = stellar::local::token_id().unwrap();
    let (source, user) = (fixture.source.address(), fixture.user.address());
    let back = token::transfer(native, user, source, 500_000_000);
    fixture.submit(&fixture.user, back.into()).await;
    is_settled(&fixture, &running, &id).await;
    // What was lacking is forgotten when a transaction lands.
    eventually(|| async {
        let health: Value = running.gateway.get("/health").await.json().await.unwrap();
        health["degraded"] == false
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_waits_for_money_can_be_called_off() {
    let fixture = Fixture::new().await;
    empty_source(&fixture).await;
    let running = fixture.start(&[]).await;
    let id = running.gateway.accepted(&fixture.body()).await;
    running.gateway.until(&id, |run| run["phase"] == "opening").await;
    // What was signed for it came to nothing: it waits for a place in another transaction.
    eventually(|| async { running.gateway.summary().await["status"]["queueDepth"] == 1 }).await;
    let cancelled = running.gateway.post(&format!("/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!(cancelled.status(), 200);
    let run = running.gateway.ended(&id, "cancelled").await;
    assert_eq!((&run["errorCode"], &run["escrow"]), (&"CANCELLED".into(), &"none".into()));
    assert_eq!(fixture.succeeded(&id, "open").await, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_fail_for_the_networks_reasons_are_tried_again() {
    let fixture = Fixture::new().await;
    let id = unsettled(&fixture).await;
    // Each failure is followed by a longer pause.
    let failures = if std::env::var_os("LUMIO_LONG").is_some() { 8 } else { 4 };
    fixture.localnet.fault(Fault::FailTransactions(failures));
    let running = fixture.start(&[]).await;
    is_settled(&fixture, &running, &id).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_a_node_behind_end_nothing() {
    let fixture = Fixture::new().await;
    let running = fixture.start(&[]).await;
    for _ in 0..3 {
        let id = running.gateway.accepted(&fixture.body()).await;
        running.gateway.until(&id, |run| run["escrow"] == "open").await;
        // In the ledger before, there is no such run: `RunNotFound`.
        fixture.localnet.fault(Fault::StaleReads(12));
        let run = running.gateway.ended(&id, "failed").await;
        assert_eq!(run["errorCode"], "EXECUTOR_MISSING", "{run:#}");
        assert!(run["receipt"].is_object(), "{run:#}");
    }
    assert_eq!(fixture.account().await.receipts, 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_sequence_number_is_noticed_before_the_transactions_time_is_over() {
    let fixture = Fixture::new().await;
    let running = fixture.start(&[]).await;
    // The first send is lost; a transaction that was signed before takes its sequence number.
    let native = stellar::local::token_id().unwrap();
    let (source, user) = (fixture.source.address(), fixture.user.address());
    let network = stellar::Network::standalone();
    let request = PrepareRequest {
        network: &network,
        source: &fixture.source,
        call: &token::transfer(native, source, user, 1).into(),
        signers: &[&fixture.source],
        max_time_unix: fixture.localnet.close_time() + 120,
        auth_valid_ledgers: 1_000,
        fee_ceiling: u64::from(u32::MAX),
    };
    let foreign = tx::prepare(&fixture.rpc, &request).await.unwrap();
    fixture.localnet.fault(Fault::LoseSendRequests(1));
    let id = running.gateway.accepted(&fixture.body()).await;
    let text = "SELECT count(*) FROM chain_transactions WHERE state = 'unknown'";
    eventually(|| async {
        let lost: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
        lost == 1
    })
    .await;
    fixture.rpc.send(&network, &foreign.envelope).await.unwrap();
    let text = "SELECT max_time FROM chain_transactions WHERE kind = 'open' AND state = 'expired'";
    let dead = eventually(|| async {
        let found = sqlx::query_scalar::<_, i64>(text).fetch_optional(&fixture.db.pool);
        found.await.unwrap()
    })
    .await;
    let now = i64::try_from(fixture.localnet.close_time()).unwrap();
    assert!(now < dead, "known at {now}, before it could not land any more at {dead}");
    is_settled(&fixture, &running, &id).await;
    running.stop().await;
}

/// Waits until so many runs wait for nothing but what becomes of their call.
async fn all_parked(fixture: &Fixture, runs: i64) {
    let text = "SELECT count(*) FROM runs WHERE status = 'pending' AND wake_at = '9000-01-01'";
    eventually(|| async {
        let parked: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
        parked == runs
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_runs_are_left_alone_and_settlements_go_first() {
    let fixture = Fixture::new().await;
    let id = unsettled(&fixture).await;
    let running = fixture.start(&[("RUNNER_MAX_FEE_STROOPS", "1000")]).await;
    let waiting = [
        running.gateway.accepted(&fixture.body()).await,
        running.gateway.accepted(&fixture.body()).await,
    ];
    all_parked(&fixture, 2).await;
    running.stop().await;
    // The network closes no ledger while the settlement is under way: nothing else touches it.
    fixture.localnet.fault(Fault::Freeze(true));
    let running = fixture.start(&[]).await;
    let text = "SELECT count(*) FROM chain_transactions WHERE state IN ('sent', 'unknown')";
    eventually(|| async {
        let sent: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
        sent == 1
    })
    .await;
    let text = "SELECT kind FROM chain_transactions WHERE state IN ('sent', 'unknown')";
    let kind: String = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
    assert_eq!(kind, "finalize", "a settlement comes before every opening");
    all_parked(&fixture, 2).await;
    let text = "SELECT coalesce(sum(lease_token), 0)::bigint FROM runs WHERE status = 'pending'";
    let claims =
        || async { sqlx::query_scalar::<_, i64>(text).fetch_one(&fixture.db.pool).await.unwrap() };
    let before = claims().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(claims().await, before, "no worker claims a run that cannot go on");
    fixture.localnet.fault(Fault::Freeze(false));
    for id in waiting.iter().chain([&id]) {
        running.gateway.ended(id, "failed").await;
    }
    assert_eq!(fixture.account().await.receipts, 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_longer_than_deadlines_allow_takes_no_more() {
    let fixture = Fixture::new().await;
    let settings = [("RUNNER_MAX_QUEUE", "2"), ("RUNNER_MAX_FEE_STROOPS", "1000")];
    let running = fixture.start(&settings).await;
    running.gateway.accepted(&fixture.body()).await;
    let first = running.gateway.post_with_key("k", &fixture.body()).await;
    assert_eq!(first.status(), 202);
    let refused = running.gateway.post("/runs", &fixture.body()).await;
    assert_eq!(refused.status(), 429);
    let secs: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=600).contains(&secs), "{secs}");
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "RATE_LIMITED", "{body}");
    // What was accepted before is answered again.
    assert_eq!(running.gateway.post_with_key("k", &fixture.body()).await.status(), 202);
    let runs: Vec<Value> = running.gateway.get("/runs").await.json().await.unwrap();
    assert_eq!(runs.len(), 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_whose_opening_came_to_nothing_fill_the_queue() {
    let fixture = Fixture::new().await;
    let waiting = gateway_alone(&fixture).await;
    waiting.gateway.accepted(&fixture.body()).await;
    waiting.stop().await;
    // As a rejected transaction leaves it.
    let text = "INSERT INTO calls (run_id, attempt, kind, user_account, state) \
         SELECT id, 1, 'open', user_account, 'wanted' FROM runs";
    sqlx::query(text).execute(&fixture.db.pool).await.unwrap();
    let text = "UPDATE runs SET phase = 'opening', status = 'opening', wake_at = '9000-01-01'";
    sqlx::query(text).execute(&fixture.db.pool).await.unwrap();

    let running = gateway_alone_with(&fixture, &[("RUNNER_MAX_QUEUE", "1")]).await;
    let counted = || async {
        let summary = running.gateway.summary().await;
        let status = &summary["status"];
        (status["queueDepth"].clone(), status["running"].clone())
    };
    assert_eq!(counted().await, (json!(1), json!(0)));
    // From then on it has counted them.
    eventually(|| async {
        let health: Value = running.gateway.get("/health").await.json().await.unwrap();
        health["checks"]["work"]["ok"] == true
    })
    .await;
    assert_eq!(running.gateway.post("/runs", &fixture.body()).await.status(), 429);
    // The transaction is signed.
    let text = "UPDATE calls SET state = 'signed'";
    sqlx::query(text).execute(&fixture.db.pool).await.unwrap();
    assert_eq!(counted().await, (json!(0), json!(1)));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defect_goes_to_an_operator_after_a_while_and_what_is_away_does_not_count() {
    let fixture = Fixture::new().await;
    let waiting = gateway_alone(&fixture).await;
    let id = waiting.gateway.accepted(&fixture.body()).await;
    // No release leaves such a call behind: it was done, and nothing is known of it. The run has
    // waited often before.
    let text = "INSERT INTO calls (run_id, attempt, kind, user_account, state) \
         SELECT id, 1, 'open', user_account, 'done' FROM runs";
    sqlx::query(text).execute(&fixture.db.pool).await.unwrap();
    sqlx::query("UPDATE runs SET failures = 100").execute(&fixture.db.pool).await.unwrap();
    let running = fixture.start(&[("RUNNER_ROLE", "engine")]).await;
    let met = "SELECT count(*) FROM runs WHERE failures = 101 AND defects = 1 \
         AND operator_reason IS NULL AND wake_at > now() + interval '5 seconds'";
    eventually(|| async {
        sqlx::query_scalar::<_, i64>(met).fetch_one(&fixture.db.pool).await.unwrap() == 1
    })
    .await;

    let text = "UPDATE runs SET defects = $1, wake_at = now()";
    let last = i32::try_from(MOST_DEFECTS - 1).unwrap();
    sqlx::query(text).bind(last).execute(&fixture.db.pool).await.unwrap();
    let run = waiting.gateway.until(&id, |run| run["phase"] == "operator").await;
    let reason = run["error"].as_str().unwrap();
    assert!(reason.contains("20 times in a row: open was done"), "{run:#}");
    assert_eq!((&run["status"], &run["escrow"]), (&json!("pending"), &json!("none")), "{run:#}");
    let listed = said(&command(&fixture, &["dead-letters", "list"]));
    assert!(listed.contains(&id) && listed.contains("20 times in a row"), "{listed}");
    assert!(said(&command(&fixture, &["runs", "list"])).contains("operator"));

    // Mended, it goes on.
    sqlx::query("DELETE FROM calls").execute(&fixture.db.pool).await.unwrap();
    let resumed = command(&fixture, &["runs", "resume", &id]);
    assert!(resumed.status.success(), "{}", said(&resumed));
    waiting.gateway.ended(&id, "failed").await;
    assert_eq!(fixture.succeeded(&id, "open").await, 1);
    running.stop().await;
    waiting.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_process_holds_one_source_and_the_others_go_on() {
    let fixture = Fixture::new().await;
    let other = Keypair::from_seed(&[42; 32]);
    fixture.localnet.fund(&other.address().to_string()).await.unwrap();
    // A process dies with a transaction of the first source under way, and its lease runs on.
    let lease = [("RUNNER_LEASE_MS", "30000")];
    let (_, _, dead) = dead_at(&fixture, "open.after_persist", &lease).await;

    let secrets = format!("{},{}", fixture.source.secret().as_str(), other.secret().as_str());
    let running = fixture.start(&[("RUNNER_SOURCE_SECRET", &secrets)]).await;
    let id = running.gateway.accepted(&fixture.body()).await;
    running.gateway.ended(&id, "failed").await;
    let text = "SELECT lease_until > now() FROM channels WHERE account = $1";
    let held = sqlx::query_scalar::<_, bool>(text).bind(fixture.source.address().to_string());
    assert!(held.fetch_one(&fixture.db.pool).await.unwrap(), "it ended before the lease did");
    let text = "SELECT count(*) FROM chain_transactions WHERE source = $1";
    let used = sqlx::query_scalar::<_, i64>(text).bind(other.address().to_string());
    assert_eq!(used.fetch_one(&fixture.db.pool).await.unwrap(), 2);
    // What the dead process held is free from here on, as when its leases end.
    let text = "UPDATE channels SET lease_until = now() WHERE account = $1";
    let channel = sqlx::query(text).bind(fixture.source.address().to_string());
    channel.execute(&fixture.db.pool).await.unwrap();
    let text = "UPDATE runs SET lease_until = now() WHERE id = $1 AND lease_until > now()";
    let uuid: uuid::Uuid = dead.parse().unwrap();
    sqlx::query(text).bind(uuid).execute(&fixture.db.pool).await.unwrap();
    running.gateway.ended(&dead, "failed").await;
    assert_eq!(fixture.account().await.receipts, 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runners_in_one_ledger_draw_nonces_of_their_own() {
    let fixture = Fixture::new().await;
    let other_source = Keypair::from_seed(&[41; 32]);
    fixture.localnet.fund(&other_source.address().to_string()).await.unwrap();
    let secret = other_source.secret();
    // One call a transaction, so that there is enough to do for both.
    let alone = ("RUNNER_BATCH_MAX_CALLS", "1");
    let (one, other) = (
        fixture.start(&[alone]).await,
        fixture.start(&[alone, ("RUNNER_SOURCE_SECRET", &secret)]).await,
    );
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(one.gateway.accepted(&fixture.body()).await);
    }
    for id in &ids {
        one.gateway.ended(id, "failed").await;
    }
    let text = "SELECT count(*) FROM chain_transactions WHERE state = 'failed'";
    let failed: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
    assert_eq!(failed, 0);
    let text = "SELECT count(DISTINCT source) FROM chain_transactions";
    let sources: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
    assert_eq!(sources, 2, "both took part");
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fails_or_lags_loses_its_turn_and_money_moves_once() {
    let fixture = Fixture::new().await;
    let second = fixture.localnet.other_node(0, None).await.unwrap();
    let running = fixture.start(&[("RUNNER_RPC_FALLBACK_URLS", &second.url())]).await;
    let first = running.gateway.accepted(&fixture.body()).await;
    running.gateway.ended(&first, "failed").await;

    // The first node fails for as long as the test lasts, in the middle of a run.
    let failing = running.gateway.accepted(&fixture.body()).await;
    running.gateway.until(&failing, |run| run["phase"] != "queued").await;
    fixture.localnet.fault(Fault::Unavailable(1_000_000));
    running.gateway.ended(&failing, "failed").await;

    // It comes back, and the second is far behind: what it says is not believed.
    fixture.localnet.fault(Fault::Unavailable(0));
    second.fault(Fault::Lag(30));
    let lagging = running.gateway.accepted(&fixture.body()).await;
    running.gateway.ended(&lagging, "failed").await;

    for id in [&first, &failing, &lagging] {
        let done = (fixture.succeeded(id, "open").await, fixture.succeeded(id, "finalize").await);
        assert_eq!(done, (1, 1));
    }
    assert_eq!(fixture.account().await.receipts, 3);
    running.stop().await;
}
