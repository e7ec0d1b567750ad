//! Many runs share a transaction, and each has its own result (V9, R17).

use serde_json::{Value, json};
use soroban_localnet::Fault;
use stellar::Keypair;

use crate::crashing::free_port;
use crate::fixture::{DEPOSIT, Fixture, Running};
use crate::queueing::gateway_alone;
use crate::retention::{command, said};

/// Longer than it takes to look at the chances of all runs of a test: as long as there is a run to
/// be looked at, the others' openings wait for it.
const TOGETHER: (&str, &str) = ("RUNNER_BATCH_MAX_DELAY_MS", "30000");
/// The longest that can be set.
const LONG: (&str, &str) = ("RUNNER_BATCH_MAX_DELAY_MS", "60000");

async fn number(fixture: &Fixture, text: &'static str) -> i64 {
    sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap()
}

async fn accepted(fixture: &Fixture, running: &Running, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(running.gateway.accepted(&fixture.body()).await);
    }
    ids
}

/// Accepts these runs without an engine: the one that starts next finds all of them in the queue,
/// and opens them together.
pub async fn queue(fixture: &Fixture, bodies: &[Value]) -> Vec<String> {
    let alone = gateway_alone(fixture).await;
    let mut ids = Vec::new();
    for body in bodies {
        ids.push(alone.gateway.accepted(body).await);
    }
    alone.stop().await;
    ids
}

/// Each run was opened and settled once, with all money back where it was.
async fn are_settled(fixture: &Fixture, running: &Running, ids: &[String]) {
    for id in ids {
        let run = running.gateway.ended(id, "failed").await;
        assert_eq!(run["errorCode"], "EXECUTOR_MISSING", "{run:#}");
        assert_eq!(run["receipt"]["runId"], run["runId"], "{run:#}");
        let done = (fixture.succeeded(id, "open").await, fixture.succeeded(id, "finalize").await);
        assert_eq!(done, (1, 1), "{run:#}");
    }
    let account = fixture.account().await;
    let receipts = u64::try_from(ids.len()).unwrap();
    assert_eq!((account.balance, account.receipts, account.reserved), (DEPOSIT, receipts, 0));
    let twice = "SELECT count(*) FROM (SELECT call_id FROM transaction_calls WHERE code = 0 \
         GROUP BY call_id HAVING count(*) > 1) AS repeated";
    assert_eq!(number(fixture, twice).await, 0, "a call was done twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_come_together_share_transactions_and_each_has_its_own_receipt() {
    let fixture = Fixture::new().await;
    // More than there are workers.
    let ids = queue(&fixture, &vec![fixture.body(); 8]).await;
    let running = fixture.start(&[TOGETHER]).await;
    are_settled(&fixture, &running, &ids).await;
    let openings = "SELECT count(*) FROM chain_transactions WHERE kind = 'open'";
    assert_eq!(number(&fixture, openings).await, 1);
    let transactions = number(&fixture, "SELECT count(*) FROM chain_transactions").await;
    assert!(transactions <= 8, "{transactions} transactions for 16 calls");
    let failed = "SELECT count(*) FROM chain_transactions WHERE state <> 'succeeded'";
    assert_eq!(number(&fixture, failed).await, 0);
    // Vault, node, balances and stream say the same of each.
    testkit::eventually(|| async {
        let compared = command(&fixture, &["account"]);
        assert_ne!(compared.status.code(), Some(2), "{}", said(&compared));
        compared.status.success()
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_alone_waits_for_no_others_before_its_calls_are_signed() {
    let fixture = Fixture::new().await;
    let running = fixture.start(&[LONG]).await;
    let id = running.gateway.accepted(&fixture.body()).await;
    running.gateway.ended(&id, "failed").await;
    // From when a call was wanted until its envelope was stored.
    let text = "SELECT (1000 * extract(epoch FROM max(t.created_at - c.wanted_at)))::bigint \
         FROM calls c JOIN transaction_calls m ON m.call_id = c.id \
         JOIN chain_transactions t ON t.id = m.transaction_id HAVING count(*) = 2";
    let waited = number(&fixture, text).await;
    // Each would have waited for all of the 60 seconds.
    assert!(waited < 30_000, "{waited} ms");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_as_a_whole_is_split_and_every_call_is_done() {
    let fixture = Fixture::new().await;
    let ids = queue(&fixture, &vec![fixture.body(); 4]).await;
    fixture.localnet.fault(Fault::FailTransactions(2));
    let running = fixture.start(&[TOGETHER]).await;
    are_settled(&fixture, &running, &ids).await;
    let failed = "SELECT count(*) FROM chain_transactions WHERE state = 'failed'";
    assert_eq!(number(&fixture, failed).await, 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_vault_refuses_stops_no_other_of_its_batch() {
    let fixture = Fixture::new().await;
    // Each fits the balance alone, and two do not.
    let mut large = fixture.body();
    large["budgets"] = json!({ "llmIn": 60_000 });
    let bodies = [large.clone(), large, fixture.body(), fixture.body()];
    let ids = queue(&fixture, &bodies).await;
    let running = fixture.start(&[TOGETHER]).await;
    let mut codes = Vec::new();
    for id in &ids {
        let run: Value = running.gateway.ended(id, "failed").await;
        codes.push(run["errorCode"].as_str().unwrap().to_owned());
    }
    codes[..2].sort();
    assert_eq!(codes[0], "EXECUTOR_MISSING");
    assert!(codes[1].ends_with("INSUFFICIENT_BALANCE"), "{codes:?}");
    assert_eq!(codes[2..], ["EXECUTOR_MISSING", "EXECUTOR_MISSING"]);
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts), (DEPOSIT, 3));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_channels_send_at_once() {
    let fixture = Fixture::new().await;
    let mut secrets = vec![fixture.source.secret().to_string()];
    for seed in [51, 52] {
        let key = Keypair::from_seed(&[seed; 32]);
        fixture.localnet.fund(&key.address().to_string()).await.unwrap();
        secrets.push(key.secret().to_string());
    }
    let (secrets, workers) = (secrets.join(","), ("RUNNER_WORKERS", "8"));
    let alone = ("RUNNER_BATCH_MAX_CALLS", "1");
    let running = fixture.start(&[alone, workers, ("RUNNER_SOURCE_SECRET", &secrets)]).await;
    let ids = accepted(&fixture, &running, 9).await;
    are_settled(&fixture, &running, &ids).await;
    let used = "SELECT count(DISTINCT source) FROM chain_transactions";
    assert_eq!(number(&fixture, used).await, 3);
    // Two transactions were under way at one time.
    let overlapping = "SELECT count(*) FROM chain_transactions a JOIN chain_transactions b \
         ON a.id < b.id AND a.source <> b.source AND b.created_at < a.updated_at";
    assert!(number(&fixture, overlapping).await > 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_the_chain_is_held_by_nobody() {
    let fixture = Fixture::new().await;
    let running =
        fixture.start(&[("RUNNER_WORKERS", "1"), ("RUNNER_PORT", &free_port().await)]).await;
    fixture.localnet.fault(Fault::Freeze(true));
    // One worker, and every opening hangs in a ledger that does not close.
    let ids = accepted(&fixture, &running, 5).await;
    let wanted = "SELECT count(*) FROM calls WHERE kind = 'open'";
    testkit::eventually(|| async { number(&fixture, wanted).await == 5 }).await;
    let held = "SELECT count(*) FROM runs WHERE lease_until > now()";
    testkit::eventually(|| async { number(&fixture, held).await == 0 }).await;
    let claims = "SELECT sum(lease_token)::bigint FROM runs";
    let before = number(&fixture, claims).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(number(&fixture, claims).await, before, "nothing polls what waits for the chain");
    fixture.localnet.fault(Fault::Freeze(false));
    are_settled(&fixture, &running, &ids).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_outlives_what_changes_between_its_simulation_and_its_ledger() {
    let fixture = Fixture::new().await;
    let ids = queue(&fixture, &vec![fixture.body(); 4]).await;
    fixture.localnet.fault(Fault::Freeze(true));
    // The batch is signed and on its way, and reaches the queue only when the user has acted.
    let late = std::time::Duration::from_secs(6);
    fixture.localnet.fault(Fault::LateSends { count: 1, delay: late });
    let running = fixture.start(&[TOGETHER]).await;
    let sent = "SELECT count(*) FROM chain_transactions WHERE state IN ('sent', 'unknown')";
    testkit::eventually(|| async { number(&fixture, sent).await == 1 }).await;
    let carried = "SELECT count(*) FROM transaction_calls WHERE live";
    assert_eq!(number(&fixture, carried).await, 4);

    // What is left is enough for two of the four, and the user's own entry is written anew.
    let left = 2 * crate::fixture::PRICE;
    let user = fixture.user.address();
    let out = fixture.vault.withdraw(user, DEPOSIT - left);
    let network = stellar::Network::standalone();
    let request = stellar::tx::PrepareRequest {
        network: &network,
        source: &fixture.user,
        call: &out.into(),
        signers: &[&fixture.user],
        max_time_unix: fixture.localnet.close_time() + 120,
        auth_valid_ledgers: 1_000,
        fee_ceiling: u64::from(u32::MAX),
    };
    let out = stellar::tx::prepare(&fixture.rpc, &request).await.unwrap();
    fixture.rpc.send(&network, &out.envelope).await.unwrap();
    fixture.localnet.close_ledger().await.unwrap();
    fixture.localnet.fault(Fault::Freeze(false));

    let judged = "SELECT count(*) FROM transaction_calls m JOIN chain_transactions t \
         ON t.id = m.transaction_id WHERE t.kind = 'open' AND NOT m.live";
    testkit::eventually(|| async { number(&fixture, judged).await >= 4 }).await;
    let failed = "SELECT count(*) FROM chain_transactions WHERE state = 'failed'";
    assert_eq!(number(&fixture, failed).await, 0, "it had declared whatever it might touch");
    let opened = "SELECT count(*) FROM transaction_calls m WHERE m.code = 0 AND m.transaction_id = \
         (SELECT min(id) FROM chain_transactions)";
    let refused = "SELECT count(*) FROM transaction_calls m WHERE m.code <> 0 \
         AND m.transaction_id = (SELECT min(id) FROM chain_transactions)";
    assert_eq!((number(&fixture, opened).await, number(&fixture, refused).await), (2, 2));
    for id in &ids {
        running.gateway.until(id, |run| run["phase"] == "done").await;
    }
    running.stop().await;
}
