//! What a transaction may cost, and what is done when the network asks for more (V13, R16).

use std::time::Duration;

use serde_json::Value;
use soroban_localnet::Fault;
use stellar::tx::{self, PrepareRequest};
use stellar::{Keypair, scval, token};
use stellar_xdr::{TransactionEnvelope, TransactionExt};
use testkit::eventually;

use crate::crashing::{free_port, spawn};
use crate::fixture::{DEPOSIT, Fixture, Gateway, PATIENCE, Running};
use crate::lacking::{degraded_by, is_settled, unsettled};
use crate::retention::{command, said};

/// What the others bid for inclusion.
const BID: u32 = 50_000;
/// Three of these fill a ledger: it takes 1,160 million instructions.
const INSTRUCTIONS: u32 = 386_000_000;
/// Pays for so many instructions.
const RESOURCE_FEE: i64 = 10_000_000;
/// A bump comes after this many ledgers.
const SOON: (&str, &str) = ("RUNNER_BUMP_AFTER_LEDGERS", "2");

/// Others who fill every ledger.
struct Surge<'a> {
    fixture: &'a Fixture,
    payers: [Keypair; 3],
}

impl<'a> Surge<'a> {
    async fn new(fixture: &'a Fixture) -> Self {
        let payers = [61, 62, 63].map(|seed| Keypair::from_seed(&[seed; 32]));
        for payer in &payers {
            fixture.localnet.fund(&payer.address().to_string()).await.unwrap();
        }
        Self { fixture, payers }
    }

    /// Closes a ledger that is full of what others pay dearly for.
    async fn ledger(&self, bid: u32) {
        let network = stellar::Network::standalone();
        let native = stellar::local::token_id().unwrap();
        for payer in &self.payers {
            let (from, to) = (payer.address(), self.fixture.user.address());
            let request = PrepareRequest {
                network: &network,
                source: payer,
                call: &token::transfer(native, from, to, 1).into(),
                signers: &[payer],
                max_time_unix: self.fixture.localnet.close_time() + 120,
                auth_valid_ledgers: 1_000,
                fee_ceiling: u64::from(u32::MAX),
            };
            let prepared = tx::prepare(&self.fixture.rpc, &request).await.unwrap();
            let read = scval::from_xdr("envelope", &prepared.envelope).unwrap();
            let TransactionEnvelope::Tx(mut envelope) = read else { panic!("{read:?}") };
            let TransactionExt::V1(data) = &mut envelope.tx.ext else { panic!("no resources") };
            data.resources.instructions = INSTRUCTIONS;
            data.resource_fee = RESOURCE_FEE;
            envelope.tx.fee = u32::try_from(RESOURCE_FEE).unwrap() + bid;

            let hash = TransactionEnvelope::Tx(envelope.clone());
            let hash = hash.hash(*network.id().as_bytes()).unwrap();
            envelope.signatures = vec![payer.sign_decorated(&hash).unwrap()].try_into().unwrap();
            let envelope = scval::to_xdr(&TransactionEnvelope::Tx(envelope)).unwrap();
            // One that waits from the ledger before is as good.
            self.fixture.rpc.send(&network, &envelope).await.unwrap();
        }
        self.fixture.localnet.close_ledger().await.unwrap();
    }
}

async fn number(fixture: &Fixture, text: &'static str) -> i64 {
    sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap()
}

/// Waits until the opening was sent to a network that closes no ledger.
async fn is_sent(fixture: &Fixture) {
    let sent = "SELECT count(*) FROM chain_transactions WHERE state IN ('sent', 'unknown')";
    eventually(|| async { number(fixture, sent).await == 1 }).await;
}

/// An engine, and a run whose opening was sent to a network that closes no ledger.
async fn opening_sent(fixture: &Fixture) -> (Running, String) {
    let running = fixture.start(&[SOON]).await;
    fixture.localnet.fault(Fault::Freeze(true));
    let id = running.gateway.accepted(&fixture.body()).await;
    is_sent(fixture).await;
    (running, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_a_surge_keeps_out_is_offered_for_more_and_lands_once() {
    let fixture = Fixture::new().await;
    let surge = Surge::new(&fixture).await;
    let (running, id) = opening_sent(&fixture).await;

    // The surge goes on until the opening has got in anyway.
    let landed = "SELECT count(*) FROM chain_transactions WHERE state = 'succeeded'";
    let give_up_at = tokio::time::Instant::now() + PATIENCE;
    while number(&fixture, landed).await == 0 {
        assert!(tokio::time::Instant::now() < give_up_at, "the opening stays out");
        surge.ledger(BID).await;
        // The poll of the runner notices each ledger.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    fixture.localnet.fault(Fault::Freeze(false));
    is_settled(&fixture, &running, &id).await;
    running.stop().await;

    let paid = "SELECT t.fee_charged FROM chain_transactions t JOIN fee_bumps b \
        ON b.transaction_id = t.id WHERE t.kind = 'open' AND t.fee_charged >= $1";
    let paid = sqlx::query_scalar::<_, i64>(paid).bind(i64::from(BID));
    let paid = paid.fetch_all(&fixture.db.pool).await.unwrap();
    assert_eq!(paid.len(), 1, "it landed by its bump, for what the surge asks");
    assert!(paid[0] <= 50_000_000, "{paid:?}");
    assert_eq!(number(&fixture, "SELECT count(*) FROM fee_bumps WHERE sends = 0").await, 0);
    let compared = command(&fixture, &["account"]);
    assert!(compared.status.success(), "{}", said(&compared));
}

/// A process dies at this point of a fee bump, and another one goes on from there.
///
/// Each point needs a network of its own: the first bid follows what was charged of late, so that a
/// second surge of the same height would keep nothing out.
async fn dies_and_comes_back(point: &str) {
    let fixture = Fixture::new().await;
    let surge = Surge::new(&fixture).await;
    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let dies = [("RUNNER_PORT", port.as_str()), ("RUNNER_CRASH_AT", point), SOON];
    let mut process = spawn(&fixture, &dies);
    gateway.up().await;
    fixture.localnet.fault(Fault::Freeze(true));
    let id = gateway.accepted(&fixture.body()).await;
    is_sent(&fixture).await;
    let give_up_at = tokio::time::Instant::now() + PATIENCE;
    while process.0.try_wait().unwrap().is_none() {
        assert!(tokio::time::Instant::now() < give_up_at, "{point} is not reached");
        surge.ledger(BID).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let stored = number(&fixture, "SELECT count(*) FROM fee_bumps").await;
    assert_eq!(stored, i64::from(point != "bump.before_persist"), "{point}");

    let _again = spawn(&fixture, &[("RUNNER_PORT", &port), SOON]);
    gateway.up().await;
    fixture.localnet.fault(Fault::Freeze(false));
    gateway.ended(&id, "failed").await;
    let done = (fixture.succeeded(&id, "open").await, fixture.succeeded(&id, "finalize").await);
    assert_eq!(done, (1, 1), "{point}");
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts, account.reserved), (DEPOSIT, 1, 0), "{point}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_at_any_point_of_a_fee_bump_ends_in_one_receipt() {
    // Side by side, since each waits for ledgers most of its time.
    let points = ["bump.before_persist", "bump.after_persist", "bump.after_send"];
    futures::future::join_all(points.map(dies_and_comes_back)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bump_that_would_pass_a_ceiling_is_not_signed() {
    let fixture = Fixture::new().await;
    let surge = Surge::new(&fixture).await;
    let (running, id) = opening_sent(&fixture).await;
    running.stop().await;
    // The runner notes a transaction as sent before it sends it, and may have stopped in between:
    // then nothing would wait in the node's queue that the surge could keep out.
    let envelope = "SELECT envelope FROM chain_transactions";
    let envelope: Vec<u8> = sqlx::query_scalar(envelope).fetch_one(&fixture.db.pool).await.unwrap();
    fixture.rpc.send(&stellar::Network::standalone(), &envelope).await.unwrap();
    let reserved = number(&fixture, "SELECT max_fee FROM chain_transactions").await;
    for _ in 0..3 {
        surge.ledger(BID).await;
    }

    // What was signed fits each of them, and nothing beside it. Of a day three quarters are for
    // openings.
    let bumps = "SELECT count(*) FROM fee_bumps";
    for (name, ceiling) in [
        ("RUNNER_MAX_FEE_STROOPS", reserved + 1),
        ("RUNNER_MAX_RUN_FEE_STROOPS", reserved + 1),
        ("RUNNER_MAX_DAY_FEE_STROOPS", reserved * 4 / 3 + 4),
    ] {
        let running = fixture.start(&[SOON, (name, &ceiling.to_string())]).await;
        degraded_by(&running.gateway, name).await;
        running.stop().await;
        assert_eq!(number(&fixture, bumps).await, 0, "{name}");
        is_sent(&fixture).await;
    }

    let running = fixture.start(&[SOON]).await;
    eventually(|| async { number(&fixture, bumps).await == 1 }).await;
    // What it may cost by its bump is what counts from now on.
    let raised = number(&fixture, "SELECT max_fee FROM chain_transactions").await;
    assert!(raised > reserved + i64::from(BID), "{raised}");
    fixture.localnet.fault(Fault::Freeze(false));
    is_settled(&fixture, &running, &id).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceiling_of_a_run_or_a_day_waits_and_gives_no_settlement_up() {
    let fixture = Fixture::new().await;
    let id = unsettled(&fixture).await;
    for name in ["RUNNER_MAX_RUN_FEE_STROOPS", "RUNNER_MAX_DAY_FEE_STROOPS"] {
        let running = fixture.start(&[(name, "1000")]).await;
        degraded_by(&running.gateway, "ceiling").await;
        let run: Value = running.gateway.get(&format!("/runs/{id}")).await.json().await.unwrap();
        assert_eq!(
            (run["phase"].as_str(), run["escrow"].as_str()),
            (Some("settling"), Some("open")),
            "{run:#}"
        );
        assert!(run["waitingFor"].as_str().unwrap().contains(name), "{run:#}");
        running.stop().await;
    }
    let running = fixture.start(&[]).await;
    is_settled(&fixture, &running, &id).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_quarter_of_a_day_is_kept_for_what_ends_escrows() {
    let fixture = Fixture::new().await;
    let id = unsettled(&fixture).await;
    // What the settlement reserves is known by the opening's: both are less than half an XLM.
    let spent = number(&fixture, "SELECT sum(fee_charged)::bigint FROM chain_transactions").await;
    let day = (spent * 4 / 3).max(spent + 6_000_000).to_string();
    // The settlement has room in the whole, the next opening none in three quarters of it.
    let running = fixture.start(&[("RUNNER_MAX_DAY_FEE_STROOPS", &day)]).await;
    is_settled(&fixture, &running, &id).await;
    running.stop().await;

    let spent = number(&fixture, "SELECT sum(fee_charged)::bigint FROM chain_transactions").await;
    let day = (spent * 4 / 3).to_string();
    let running = fixture.start(&[("RUNNER_MAX_DAY_FEE_STROOPS", &day)]).await;
    let next = running.gateway.accepted(&fixture.body()).await;
    degraded_by(&running.gateway, "ceiling").await;
    let run: Value = running.gateway.get(&format!("/runs/{next}")).await.json().await.unwrap();
    assert_eq!((run["status"].as_str(), run["escrow"].as_str()), (Some("pending"), Some("none")));
    running.stop().await;
}
