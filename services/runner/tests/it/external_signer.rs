//! Keys that a token keeps, by the library that an operator would load: SoftHSM.

use std::process::Output;

use serde_json::Value;
use stellar::Keypair;
use testkit::eventually;
use testkit::softhsm::{PIN, SoftHsm};

use crate::crashing::{Process, free_port, spawn};
use crate::fixture::{DEPOSIT, Fixture, Gateway, PRICE};
use crate::lacking::degraded_by;
use crate::reconciling::OPEN;
use crate::retention::{command, command_with, said};

const TOKEN: &str = "lumio";
const RUNNER: [u8; 32] = [61; 32];
const SOURCE: [u8; 32] = [62; 32];

/// A token with a runner's key and a source's.
struct TokenKeys {
    hsm: SoftHsm,
    runner: Keypair,
    source: Keypair,
}

impl TokenKeys {
    /// Both accounts exist, and the agent lists the runner.
    async fn new(fixture: &Fixture) -> Self {
        let hsm = SoftHsm::new();
        hsm.make_token(TOKEN);
        hsm.import(TOKEN, "runner", &RUNNER);
        hsm.import(TOKEN, "fees", &SOURCE);
        let [runner, source] = [RUNNER, SOURCE].map(|seed| Keypair::from_seed(&seed));
        for key in [&runner, &source] {
            fixture.localnet.fund(&key.address().to_string()).await.unwrap();
        }
        let listed = fixture.registry.add_runner(fixture.agent_id, runner.address());
        fixture.submit(&fixture.developer, listed.into()).await;
        Self { hsm, runner, source }
    }

    async fn is_granted(&self, fixture: &Fixture) {
        let (user, key) = (fixture.user.address(), self.runner.address());
        let grant = fixture.vault.grant_runner(user, key, fixture.agent_id, None);
        fixture.submit(&fixture.user, grant.into()).await;
    }

    /// The settings of a runner that has no key of its own; `more` go before them.
    fn settings(&self, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let mut settings = self.hsm.settings(TOKEN);
        settings.extend([
            ("RUNNER_SECRET", String::new()),
            ("RUNNER_SOURCE_SECRET", String::new()),
            ("RUNNER_PUBLIC_KEY", self.runner.address().to_string()),
            ("RUNNER_PKCS11_KEY", "runner".to_owned()),
            ("RUNNER_PKCS11_SOURCE_KEYS", format!("fees:{}", self.source.address())),
        ]);
        settings.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        settings
    }

    /// A runner as a process: a library is the process's, with everything that it knows.
    async fn start(&self, fixture: &Fixture, more: &[(&'static str, &str)]) -> (Process, Gateway) {
        let port = free_port().await;
        let mut more = more.to_vec();
        more.push(("RUNNER_PORT", port.as_str()));
        more.extend(OPEN);
        let settings = self.settings(&more);
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let process = spawn(fixture, &settings);
        let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
        gateway.up().await;
        (process, gateway)
    }

    /// A command with these settings.
    fn command(&self, fixture: &Fixture, arguments: &[&str]) -> Output {
        let settings = self.settings(&[]);
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        command_with(fixture, &settings, arguments)
    }
}

/// Waits until `/health` says this of the signer: the service is ready, and degraded.
async fn signer_says(gateway: &Gateway, words: &str) {
    eventually(|| async {
        let health: Value = gateway.get("/health").await.json().await.unwrap();
        let check = &health["checks"]["signer"];
        let is_told = check["detail"].to_string().contains(words);
        health["ok"] == true && health["degraded"] == true && check["ok"] == false && is_told
    })
    .await;
}

async fn transactions(fixture: &Fixture) -> i64 {
    let text = "SELECT count(*) FROM chain_transactions";
    sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_away_is_waited_for_and_nothing_is_signed_twice() {
    let fixture = Fixture::new().await;
    let token = TokenKeys::new(&fixture).await;
    token.is_granted(&fixture).await;

    // Away at the start: the run waits, and nothing of it is stored as a transaction.
    token.hsm.take_away();
    let (_process, gateway) = token.start(&fixture, &[]).await;
    signer_says(&gateway, "RUNNER_PKCS11_TOKEN: there is no token").await;
    let id = gateway.accepted(&fixture.body()).await;
    degraded_by(&gateway, "signer").await;
    let run: Value = gateway.get(&format!("/runs/{id}")).await.json().await.unwrap();
    assert_eq!((&run["status"], &run["escrow"]), (&"pending".into(), &"none".into()), "{run:#}");
    assert_eq!((transactions(&fixture).await, fixture.account().await.balance), (0, DEPOSIT));
    token.hsm.bring_back();
    gateway.until(&id, |run| run["phase"] == "escrow_open").await;

    // Away in the middle: what is open stays open until the token is back, and is settled once.
    token.hsm.take_away();
    let asked = gateway.post(&format!("/runs/{id}/retry"), &Value::Null).await;
    assert_eq!(asked.status(), 200);
    signer_says(&gateway, "RUNNER_PKCS11_TOKEN").await;
    degraded_by(&gateway, "signer").await;
    let run: Value = gateway.get(&format!("/runs/{id}")).await.json().await.unwrap();
    assert_eq!((&run["attempt"], &run["escrow"]), (&1.into(), &"open".into()), "{run:#}");
    assert_eq!(fixture.succeeded(&id, "finalize").await, 0);
    token.hsm.bring_back();
    gateway.until(&id, |run| run["attempt"] == 2 && run["phase"] == "escrow_open").await;
    assert_eq!(
        (fixture.succeeded(&id, "open").await, fixture.succeeded(&id, "finalize").await),
        (2, 1)
    );
    let account = fixture.account().await;
    assert_eq!((account.balance, account.receipts), (DEPOSIT - PRICE, 1));

    let voided = token.command(&fixture, &["runs", "void", &id]);
    assert!(voided.status.success(), "{}", said(&voided));
    gateway.ended(&id, "failed").await;
    assert_eq!(fixture.account().await.balance, DEPOSIT);
    eventually(|| async {
        let health: Value = gateway.get("/health").await.json().await.unwrap();
        health["degraded"] == false
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_key_is_replaced_by_one_in_a_token_while_runs_are_under_way() {
    let fixture = Fixture::new().await;
    let old = fixture.start(&OPEN).await;
    let first = old.gateway.accepted(&fixture.body()).await;
    old.gateway.until(&first, |run| run["phase"] == "escrow_open").await;
    let opened_by = async |id: &str| {
        let run: Value = old.gateway.get(&format!("/runs/{id}")).await.json().await.unwrap();
        fixture.record(&run).await.record.unwrap().0.opened_by.to_string()
    };
    let local = fixture.runner.address().to_string();
    assert_eq!(opened_by(&first).await, local);

    // The registry lists the new key, its engine starts, and only then users grant it.
    let token = TokenKeys::new(&fixture).await;
    let (_process, gateway) = token.start(&fixture, &[]).await;
    let second = gateway.accepted(&fixture.body()).await;
    gateway.until(&second, |run| run["phase"] == "escrow_open").await;
    assert_eq!(opened_by(&second).await, local, "only the old key is granted");
    token.is_granted(&fixture).await;
    let user = fixture.user.address();
    let revoke = fixture.vault.revoke_runner(user, fixture.runner.address(), fixture.agent_id);
    fixture.submit(&fixture.user, revoke.into()).await;
    let third = old.gateway.accepted(&fixture.body()).await;
    old.gateway.until(&third, |run| run["phase"] == "escrow_open").await;
    assert_eq!(opened_by(&third).await, token.runner.address().to_string());

    // Each key ends what it opened.
    for id in [&first, &second, &third] {
        let voided = command(&fixture, &["runs", "void", id]);
        assert!(voided.status.success(), "{}", said(&voided));
        gateway.ended(id, "failed").await;
    }
    assert_eq!(fixture.account().await.balance, DEPOSIT);
    old.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_another_key_is_never_used_and_a_refused_pin_is_offered_once() {
    let fixture = Fixture::new().await;
    let token = TokenKeys::new(&fixture).await;
    token.is_granted(&fixture).await;
    token.hsm.import(TOKEN, "other", &[63; 32]);
    let (process, gateway) = token.start(&fixture, &[("RUNNER_PKCS11_KEY", "other")]).await;
    let id = gateway.accepted(&fixture.body()).await;
    degraded_by(&gateway, "RUNNER_PKCS11_KEY: the key `other`").await;
    let run: Value = gateway.get(&format!("/runs/{id}")).await.json().await.unwrap();
    assert_eq!((&run["status"], &run["escrow"]), (&"pending".into(), &"none".into()), "{run:#}");
    assert_eq!(transactions(&fixture).await, 0);
    drop(process);

    let (process, gateway) =
        token.start(&fixture, &[("RUNNER_PKCS11_PIN", "canary7f3a-wrong")]).await;
    signer_says(&gateway, "RUNNER_PKCS11_PIN: the token `lumio` refuses the PIN").await;
    let health = gateway.get("/health").await.text().await.unwrap();
    assert!(health.contains("not offered again") && !health.contains("canary7f3a"), "{health}");
    drop(process);

    // With the right ones it goes on without any action.
    let (_process, gateway) = token.start(&fixture, &[]).await;
    gateway.until(&id, |run| run["phase"] == "escrow_open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_which_keys_the_token_has_and_whether_it_is_there() {
    let fixture = Fixture::new().await;
    let token = TokenKeys::new(&fixture).await;
    let listed = token.command(&fixture, &["signer-keys"]);
    assert!(listed.status.success(), "{}", said(&listed));
    let [runner, source] = [&token.runner, &token.source].map(Keypair::address);
    assert_eq!(
        String::from_utf8_lossy(&listed.stdout),
        format!("{:<56}  label\n{source}  fees\n{runner}  runner\n", "account")
    );
    let listed = token.command(&fixture, &["signer-keys", "--output", "json"]);
    let keys: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(keys[1]["account"], runner.to_string());

    assert!(token.command(&fixture, &["migrate"]).status.success());
    let signer = |output: &Output| {
        let checks: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut checks = checks.as_array().unwrap().iter();
        checks.find(|check| check["name"] == "signer").unwrap()["state"].clone()
    };
    let doctor = ["doctor", "--output", "json"];
    assert_eq!(signer(&token.command(&fixture, &doctor)), "ok");
    // A channel needs a key that others follow from.
    let refused = token.command(&fixture, &["channels", "add"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("RUNNER_PKCS11_SOURCE_KEYS"), "{}", said(&refused));

    token.hsm.take_away();
    assert_eq!(signer(&token.command(&fixture, &doctor)), "unknown");
    let away = token.command(&fixture, &["signer-keys"]);
    assert_eq!(away.status.code(), Some(2), "{}", said(&away));
    assert!(!said(&away).contains(PIN), "{}", said(&away));
}
