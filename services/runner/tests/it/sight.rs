//! What happens on chain is known within a ledger, published once, and never lost silently.

use std::time::Duration;

use serde_json::Value;
use soroban_localnet::Fault;
use sqlx::Row as _;
use stellar::vault::GrantLimits;
use testkit::eventually;
use wire::event::{ChainData, CloudEvent, Fact, Family};

use crate::fixture::{DEPOSIT, Fixture};
use crate::retention::{command, said};

impl Fixture {
    /// The names of the contracts' events that were kept, in their order.
    async fn kept(&self) -> Vec<String> {
        let names = "SELECT coalesce(name, 'unreadable') FROM contract_events ORDER BY id";
        sqlx::query_scalar(names).fetch_all(&self.db.pool).await.unwrap()
    }

    /// The names of the contracts' events in the outbox, in the order of their positions.
    async fn published(&self) -> Vec<String> {
        let subjects = "SELECT subject FROM outbox WHERE starts_with(subject, $1) \
                        AND published_at IS NOT NULL ORDER BY position";
        let family = Family::Chain.filter(&self.bus.prefix).trim_end_matches('>').to_owned();
        let found: Vec<String> =
            sqlx::query_scalar(subjects).bind(family).fetch_all(&self.db.pool).await.unwrap();
        found.iter().map(|subject| subject.split('.').nth(3).unwrap().to_owned()).collect()
    }

    /// Waits until this many events named `name` were published.
    async fn until_published(&self, name: &str, count: usize) {
        let there = || async {
            self.published().await.iter().filter(|found| *found == name).count() >= count
        };
        eventually(there).await;
    }

    async fn revoke(&self) {
        let call =
            self.vault.revoke_runner(self.user.address(), self.runner.address(), self.agent_id);
        self.submit(&self.user, call.into()).await;
    }
}

fn facts(events: &[CloudEvent]) -> Vec<ChainData> {
    let chain = events.iter().filter(|event| event.r#type.starts_with("dev.lumio.chain."));
    chain.map(|event| event.read::<ChainData>().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn contract_events_are_published_once_and_in_the_order_of_the_chain() {
    let fixture = Fixture::new().await;
    let mut listener = fixture.bus.listen().await;
    let runner = fixture.start(&[]).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.ended(&id, "failed").await;
    let is_last = |event: &CloudEvent| event.r#type == "dev.lumio.chain.run_finalized.v1";
    let events = listener.until(is_last).await;

    let facts = facts(&events);
    let names: Vec<_> = facts.iter().map(|data| data.fact.name()).collect();
    let expected = [
        "agent_registered",
        "rates_published",
        "account_deposited",
        "runner_granted",
        "run_opened",
        "run_finalized",
    ];
    assert_eq!(names, expected);
    let user = fixture.user.address().to_string();
    let Fact::AccountDeposited { amount, .. } = &facts[2].fact else { panic!("{:?}", facts[2]) };
    assert_eq!(*amount, DEPOSIT);
    let Fact::RunnerGranted { user: who, serial, .. } = &facts[3].fact else {
        panic!("{:?}", facts[3])
    };
    assert_eq!((who, *serial), (&user, 1));

    // One subject filter is the whole history of an account, numbered without a gap.
    let own: Vec<_> = events
        .iter()
        .filter(|event| event.r#type.starts_with("dev.lumio.chain.") && event.subject == user)
        .collect();
    for (event, number) in own.iter().zip(1..) {
        assert_eq!(event.id, format!("{user}:{number}"));
    }
    assert_eq!(own.len(), 4);
    let subject = format!("{}.chain.v1.runner_granted.{user}", fixture.bus.prefix);
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox WHERE subject = $1")
        .bind(subject)
        .fetch_one(&fixture.db.pool)
        .await
        .unwrap();
    assert_eq!(there, 1);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_and_grants_are_kept_as_the_chain_has_them() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    fixture.until_published("runner_granted", 1).await;
    let limits = GrantLimits { per_run_cap: 5, total_cap: i128::MAX, max_runner_fee: 0 };
    let (user, operator) = (fixture.user.address(), fixture.runner.address());
    let call = fixture.vault.set_grant_limits(user, operator, fixture.agent_id, limits).unwrap();
    fixture.submit(&fixture.user, call.into()).await;
    let other = fixture.stranger();
    let call = fixture.registry.add_runner(fixture.agent_id, other);
    fixture.submit(&fixture.developer, call.into()).await;
    fixture.revoke().await;
    fixture.until_published("runner_revoked", 1).await;

    let agent = sqlx::query("SELECT *, rates::text AS prices FROM agents")
        .fetch_one(&fixture.db.pool)
        .await
        .unwrap();
    let runners: Vec<String> = agent.get("runners");
    assert_eq!(runners, [operator.to_string(), other.to_string()]);
    assert_eq!(agent.get::<String, _>("developer"), fixture.developer.address().to_string());
    assert_eq!(agent.get::<i64, _>("rate_version"), 1);
    assert!(agent.get::<String, _>("prices").contains(r#""llm_out": "20000""#));
    let grant = sqlx::query("SELECT *, total_cap::text AS total FROM grants")
        .fetch_one(&fixture.db.pool)
        .await
        .unwrap();
    assert_eq!(grant.get::<String, _>("user_account"), user.to_string());
    assert_eq!(grant.get::<String, _>("total"), i128::MAX.to_string());
    assert!(grant.get::<Option<i64>, _>("revoked_at").is_some());
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_ends_when_its_grant_is_revoked() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    fixture.until_published("runner_granted", 1).await;
    // The only channel is another's, so that the run has to wait.
    let text = "UPDATE channels SET lease_until = now() + interval '1 hour', \
        lease_token = lease_token + 1";
    let busy = || async {
        sqlx::query(text).execute(&fixture.db.pool).await.unwrap().rows_affected() == 1
    };
    eventually(busy).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    fixture.revoke().await;
    let run = runner.gateway.ended(&id, "failed").await;
    // The first to notice reports it: the reader of events, or the simulation of the opening.
    let code = run["errorCode"].as_str().unwrap();
    assert!(
        ["PREFLIGHT_UNAUTHORIZED_RUNNER", "OPEN_UNAUTHORIZED_RUNNER"].contains(&code),
        "{code}"
    );
    assert_eq!((&run["escrow"], fixture.succeeded(&id, "open").await), (&"none".into(), 0));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_given_again_withdraws_nothing() {
    let fixture = Fixture::new().await;
    // Both are seen at once, by a runner that starts after them.
    fixture.revoke().await;
    let (user, operator) = (fixture.user.address(), fixture.runner.address());
    let call = fixture.vault.grant_runner(user, operator, fixture.agent_id, None);
    fixture.submit(&fixture.user, call.into()).await;
    let runner = fixture.start(&[]).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    let run = runner.gateway.ended(&id, "failed").await;
    assert_eq!(run["errorCode"], "EXECUTOR_MISSING");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_reclaimed_by_somebody_else_is_known_at_once() {
    let fixture = Fixture::new().await;
    let more = [
        ("RUNNER_FINALIZE_ON_ERROR", "false"),
        ("RUNNER_DEADLINE_SECS", "700"),
        ("RUNNER_WALL_LIMIT_MS", "1000"),
    ];
    let runner = fixture.start(&more).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    let run = runner.gateway.until(&id, |run| run["phase"] == "escrow_open").await;
    // The runner's own way is slow: it sleeps in its table for an hour.
    let text = "UPDATE runs SET wake_at = now() + interval '1 hour', lease_until = NULL, \
                lease_owner = NULL, lease_token = lease_token + 1";
    sqlx::query(text).execute(&fixture.db.pool).await.unwrap();
    fixture.reclaim_elsewhere(&run).await;
    let run = runner.gateway.ended(&id, "failed").await;
    assert_eq!(run["escrow"], "returned");
    assert_eq!(fixture.account().await.balance, DEPOSIT);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_readers_a_bad_node_and_a_restart_neither_lose_nor_double_an_event() {
    let fixture = Fixture::new().await;
    // The node that the runners ask; the test itself asks another one.
    let node = fixture.localnet.other_node(0, None).await.unwrap();
    let more = [("RUNNER_RPC_URL", node.url())];
    let more = more.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (one, other) = (fixture.start(&more).await, fixture.start(&more).await);
    fixture.until_published("runner_granted", 1).await;
    let faults = [
        Fault::DuplicateEvents(20),
        Fault::ReorderAnswers(20),
        Fault::StaleReads(20),
        Fault::ServerError(3),
        Fault::RateLimited(3),
        Fault::Lag(5),
    ];
    for (fault, number) in faults.into_iter().zip(1_i128..) {
        node.fault(fault);
        let deposit = fixture.vault.deposit(
            fixture.user.address(),
            number,
            stellar::local::token_id().unwrap(),
        );
        fixture.submit(&fixture.user, deposit.unwrap().into()).await;
    }
    node.fault(Fault::None);
    one.stop().await;
    let deposit =
        fixture.vault.deposit(fixture.user.address(), 7, stellar::local::token_id().unwrap());
    fixture.submit(&fixture.user, deposit.unwrap().into()).await;
    fixture.until_published("account_deposited", 8).await;
    other.stop().await;

    let amounts: Vec<String> = sqlx::query_scalar(
        "SELECT data->>'amount' FROM contract_events WHERE name = 'account_deposited' ORDER BY id",
    )
    .fetch_all(&fixture.db.pool)
    .await
    .unwrap();
    let expected: Vec<_> =
        std::iter::once(DEPOSIT).chain(1..=7).map(|amount| amount.to_string()).collect();
    assert_eq!(amounts, expected);
    assert_eq!(fixture.kept().await, fixture.published().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn ledgers_that_the_node_forgot_are_named_until_an_operator_takes_note() {
    // Enough ledgers that the grant is still known when the runner has started, and so long ones
    // that none is forgotten while the runner reads those that are left, on a busy machine too.
    let ledger = Duration::from_secs(2);
    let fixture = Fixture::with(|network| network.retention(600).ledger_interval(ledger)).await;
    let runner = fixture.start(&[]).await;
    fixture.until_published("runner_granted", 1).await;
    runner.stop().await;

    // No process reads while the grant ends and its ledger is forgotten.
    fixture.revoke().await;
    fixture.localnet.close_ledgers(900).await.unwrap();
    let runner = fixture.start(&[]).await;
    let names_it = || async {
        let health: Value = runner.gateway.get("/health").await.json().await.unwrap();
        health["checks"]["events"]["detail"].as_str().is_some_and(|text| text.contains("forgotten"))
    };
    eventually(names_it).await;
    let listed = command(&fixture, &["events", "gaps", "--output", "json"]);
    assert_eq!(listed.status.code(), Some(1), "{}", said(&listed));
    let gaps: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(gaps[0]["firstLedger"].as_i64() < gaps[0]["lastLedger"].as_i64(), "{gaps}");

    // What follows from state is right anyway.
    let revoked: Option<i64> = sqlx::query_scalar("SELECT revoked_at FROM grants")
        .fetch_one(&fixture.db.pool)
        .await
        .unwrap();
    assert!(revoked.is_some());
    let noted = command(&fixture, &["events", "gaps", "--acknowledge"]);
    assert!(noted.status.success(), "{}", said(&noted));
    assert!(said(&noted).starts_with("state  first ledger"), "{}", said(&noted));
    let is_fine = || async {
        let health: Value = runner.gateway.get("/health").await.json().await.unwrap();
        health["checks"]["events"]["ok"] == true
    };
    eventually(is_fine).await;
    runner.stop().await;
}
