//! A runner's key is replaced while its runs are under way.

use serde_json::Value;
use stellar::Keypair;

use crate::fixture::{DEPOSIT, Fixture, PRICE, Running};
use crate::reconciling::OPEN;
use crate::retention::{command, said};

/// The key that replaces the runner's, and the account that pays for its transactions.
struct NewKey {
    runner: Keypair,
    source: Keypair,
}

impl NewKey {
    async fn funded(fixture: &Fixture) -> Self {
        let [runner, source] = [51, 52].map(|seed| Keypair::from_seed(&[seed; 32]));
        for key in [&runner, &source] {
            fixture.localnet.fund(&key.address().to_string()).await.unwrap();
        }
        Self { runner, source }
    }

    /// An engine with the new key, on the same database.
    async fn start(&self, fixture: &Fixture) -> Running {
        let (runner, source) = (self.runner.secret(), self.source.secret());
        let mut settings = OPEN.to_vec();
        settings.push(("RUNNER_SECRET", &runner));
        settings.push(("RUNNER_SOURCE_SECRET", &source));
        fixture.start(&settings).await
    }

    async fn is_granted(&self, fixture: &Fixture) {
        let (user, key) = (fixture.user.address(), self.runner.address());
        let grant = fixture.vault.grant_runner(user, key, fixture.agent_id, None);
        fixture.submit(&fixture.user, grant.into()).await;
    }
}

async fn opened_by(fixture: &Fixture, run: &Value) -> String {
    fixture.record(run).await.record.unwrap().0.opened_by.to_string()
}

/// Asks for a run, and waits until its escrow is open.
async fn open_at(fixture: &Fixture, running: &Running) -> (String, Value) {
    let id = running.gateway.accepted(&fixture.body()).await;
    let run = running.gateway.until(&id, |run| run["phase"] == "escrow_open").await;
    (id, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_five_steps_of_a_rotation_leave_every_run_to_the_key_that_opened_it() {
    let fixture = Fixture::new().await;
    let old = fixture.start(&OPEN).await;
    let (first, run) = open_at(&fixture, &old).await;
    let old_address = fixture.runner.address().to_string();
    assert_eq!(opened_by(&fixture, &run).await, old_address);

    // 1. The registry lists the new runner.
    let new_key = NewKey::funded(&fixture).await;
    let new_address = new_key.runner.address().to_string();
    let listed = fixture.registry.add_runner(fixture.agent_id, new_key.runner.address());
    fixture.submit(&fixture.developer, listed.into()).await;

    // 2. and 3. The service has the new key. The old one is kept beside it while it has runs: a user
    // who has granted only the old runner is served by it, whichever process takes the request.
    let new = new_key.start(&fixture).await;
    let (second, run) = open_at(&fixture, &new).await;
    assert_eq!(opened_by(&fixture, &run).await, old_address, "only the old one is granted");
    let asked = new.gateway.post(&format!("/runs/{second}/retry"), &Value::Null).await;
    assert_eq!(asked.status(), 200);
    // It is settled by its own key, and the next attempt is opened.
    let again = |run: &Value| run["attempt"] == 2 && run["phase"] == "escrow_open";
    new.gateway.until(&second, again).await;

    // Without the old engine nothing of its runs is touched, and nothing is lost.
    old.stop().await;
    let asked = new.gateway.post(&format!("/runs/{first}/retry"), &Value::Null).await;
    assert_eq!(asked.status(), 200);

    // 4. The user grants the new runner.
    new_key.is_granted(&fixture).await;
    let (third, run) = open_at(&fixture, &new).await;
    assert_eq!(opened_by(&fixture, &run).await, new_address);
    let asked = "SELECT attempt FROM runs WHERE id = $1";
    let uuid: uuid::Uuid = first.parse().unwrap();
    let attempt: i32 =
        sqlx::query_scalar(asked).bind(uuid).fetch_one(&fixture.db.pool).await.unwrap();
    assert_eq!(attempt, 1, "the new key cannot settle what the old one opened");
    assert_eq!(fixture.succeeded(&first, "finalize").await, 0);
    let old = fixture.start(&OPEN).await;
    old.gateway.until(&first, |run| run["attempt"] == 2 && run["phase"] == "escrow_open").await;
    for id in [&first, &second, &third] {
        let voided = command(&fixture, &["runs", "void", id]);
        assert!(voided.status.success(), "{}", said(&voided));
        old.gateway.ended(id, "failed").await;
    }
    old.stop().await;

    // 5. All grants to the old runner are revoked, and it is removed from the registry.
    let revoke = fixture.vault.revoke_runner(
        fixture.user.address(),
        fixture.runner.address(),
        fixture.agent_id,
    );
    fixture.submit(&fixture.user, revoke.into()).await;
    let removed = fixture.registry.remove_runner(fixture.agent_id, fixture.runner.address());
    fixture.submit(&fixture.developer, removed.into()).await;
    let (_, run) = open_at(&fixture, &new).await;
    assert_eq!(opened_by(&fixture, &run).await, new_address);
    let account = fixture.account().await;
    assert_eq!(account.balance, DEPOSIT - PRICE, "everything but the open one is back");
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_key_has_open_is_reclaimed_by_the_new_one_after_the_deadline() {
    let fixture = Fixture::new().await;
    let old = fixture.start(&OPEN).await;
    let (id, _) = open_at(&fixture, &old).await;
    old.stop().await;
    // As if it had not been seen for long.
    let text = "UPDATE identities SET seen_at = now() - interval '1 hour'";
    sqlx::query(text).execute(&fixture.db.pool).await.unwrap();

    let new_key = NewKey::funded(&fixture).await;
    let listed = fixture.registry.add_runner(fixture.agent_id, new_key.runner.address());
    fixture.submit(&fixture.developer, listed.into()).await;
    new_key.is_granted(&fixture).await;
    let new = new_key.start(&fixture).await;
    let own = new.gateway.accepted(&fixture.body()).await;
    new.gateway.until(&own, |run| run["phase"] == "escrow_open").await;
    let run = new.gateway.until(&id, |run| run["phase"] == "escrow_open").await;
    assert_eq!(run["escrow"], "open", "before its deadline it is left alone: {run:#}");

    fixture.localnet.advance_time(800);
    fixture.localnet.close_ledger().await.unwrap();
    let run = new.gateway.ended(&id, "failed").await;
    assert_eq!(run["escrow"], "returned", "{run:#}");
    new.gateway.ended(&own, "failed").await;
    assert_eq!(fixture.account().await.balance, DEPOSIT);
    new.stop().await;
}
