//! Postgres and the vault are compared, and only what the vault's state proves is repaired.

use serde_json::Value;
use testkit::eventually;

use crate::fixture::{DEPOSIT, Fixture, PRICE, Running};
use crate::retention::{command, command_with, said};

pub const OPEN: [(&str, &str); 3] = [
    ("RUNNER_FINALIZE_ON_ERROR", "false"),
    ("RUNNER_DEADLINE_SECS", "700"),
    ("RUNNER_WALL_LIMIT_MS", "1000"),
];

/// No worker goes on with the run until a person has looked.
pub const INTO_AN_OPERATORS_HANDS: &str = "UPDATE runs SET operator_reason = 'the outcome is unknown', \
    lease_until = NULL, lease_owner = NULL, lease_token = lease_token + 1";

/// Events that the node had forgotten before they were read, up to now.
const A_GAP: &str = "INSERT INTO contract_event_gaps (network_id, first_ledger, last_ledger, \
    found_at) SELECT network_id, next_ledger - 2, next_ledger - 1, now() FROM contract_cursors";

impl Fixture {
    /// A run whose escrow stays open.
    pub async fn open_run(&self, runner: &Running) -> (String, Value) {
        let id = runner.gateway.accepted(&self.body()).await;
        let run = runner.gateway.until(&id, |run| run["phase"] == "escrow_open").await;
        (id, run)
    }

    /// Gives a run's escrow back after its deadline, as anybody may.
    pub async fn reclaim_elsewhere(&self, run: &Value) {
        self.localnet.advance_time(800);
        self.localnet.close_ledger().await.unwrap();
        let vault_run_id = run["runId"].as_str().unwrap().parse().unwrap();
        let call = self.vault.reclaim_run(&vault_run_id).unwrap();
        self.submit(&self.developer, call.into()).await;
    }

    pub async fn sql(&self, text: &'static str) -> u64 {
        sqlx::query(text).execute(&self.db.pool).await.unwrap().rows_affected()
    }

    /// Waits until the events of the vault were read as far as this one.
    pub async fn until_seen(&self, name: &str) {
        let seen = || async {
            let text = "SELECT EXISTS (SELECT 1 FROM contract_events WHERE name = $1)";
            let found = sqlx::query_scalar::<_, bool>(text).bind(name);
            found.fetch_one(&self.db.pool).await.unwrap()
        };
        eventually(seen).await;
    }

    /// A run in an operator's hands, past its deadline, whose record in the vault has ended.
    async fn held_without_a_record(&self, runner: &Running) -> String {
        let (id, _) = self.open_run(runner).await;
        self.until_seen("run_opened").await;
        self.sql(INTO_AN_OPERATORS_HANDS).await;
        // Its deadline passes, and another id takes the place of one whose record has ended.
        self.sql("UPDATE attempts SET vault_run_id = sha256(vault_run_id)").await;
        self.sql("UPDATE contract_events SET run_id = sha256(run_id) WHERE run_id IS NOT NULL")
            .await;
        self.localnet.advance_time(800);
        let passed = || async {
            let text = "SELECT c.read_until > to_timestamp(a.deadline) \
                        FROM contract_cursors c, attempts a";
            sqlx::query_scalar::<_, bool>(text).fetch_one(&self.db.pool).await.unwrap()
        };
        eventually(passed).await;
        id
    }

    fn reconciled(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut all = vec!["reconcile", "--output", "json"];
        all.extend(arguments);
        let done = command(self, &all);
        let json = serde_json::from_slice(&done.stdout);
        (done.status.code(), json.unwrap_or_else(|_| panic!("{}", said(&done))))
    }
}

fn kinds(done: &Value) -> Vec<&str> {
    let findings = done["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_record_that_no_run_owns_is_found_and_given_back() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&OPEN).await;
    let (_, _) = fixture.open_run(&runner).await;
    fixture.until_seen("run_opened").await;
    let (code, clean) = fixture.reconciled(&[]);
    assert_eq!((code, kinds(&clean).len()), (Some(0), 0), "{clean:#}");

    // The database loses the run; the vault still has its escrow.
    fixture.sql("DELETE FROM transaction_calls").await;
    fixture.sql("DELETE FROM calls").await;
    fixture.sql("DELETE FROM chain_transactions").await;
    fixture.sql("DELETE FROM attempts").await;
    fixture.sql("DELETE FROM runs").await;
    let (code, found) = fixture.reconciled(&[]);
    assert_eq!((code, kinds(&found)), (Some(1), vec!["record_without_run"]), "{found:#}");
    assert_eq!(fixture.account().await.balance, DEPOSIT - PRICE, "nothing is done unasked");

    let (code, repaired) = fixture.reconciled(&["--repair"]);
    assert_eq!(code, Some(0), "{repaired:#}");
    let id = repaired["findings"][0]["run"].as_str().unwrap().to_owned();
    let run = runner.gateway.ended(&id, "failed").await;
    assert_eq!((&run["escrow"], &run["errorCode"]), (&"returned".into(), &"ADOPTED".into()));
    assert_eq!(fixture.account().await.balance, DEPOSIT);
    let (code, clean) = fixture.reconciled(&[]);
    assert_eq!((code, kinds(&clean).len()), (Some(0), 0), "{clean:#}");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ended_while_its_escrow_is_open_is_given_back() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&OPEN).await;
    let (id, _) = fixture.open_run(&runner).await;
    fixture
        .sql(
            "UPDATE runs SET phase = 'done', lease_until = NULL, lease_owner = NULL, \
                lease_token = lease_token + 1",
        )
        .await;
    fixture.sql("UPDATE attempts SET escrow = 'returned', ended_at = now()").await;
    let (code, found) = fixture.reconciled(&[]);
    assert_eq!((code, kinds(&found)), (Some(1), vec!["ended_but_open"]), "{found:#}");
    let (code, repaired) = fixture.reconciled(&["--repair"]);
    assert_eq!(code, Some(0), "{repaired:#}");
    runner.gateway.ended(&id, "failed").await;
    assert_eq!(fixture.account().await.balance, DEPOSIT);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_an_operators_hands_is_ended_by_the_proof_of_contract_state() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&OPEN).await;
    let (id, run) = fixture.open_run(&runner).await;
    fixture.sql(INTO_AN_OPERATORS_HANDS).await;
    fixture.reclaim_elsewhere(&run).await;
    fixture.until_seen("run_reclaimed").await;

    let (code, found) = fixture.reconciled(&[]);
    assert_eq!((code, kinds(&found)), (Some(1), vec!["operator_held"]), "{found:#}");
    assert_eq!(found["findings"][0]["proof"], "returned");
    let resumed = command(&fixture, &["runs", "resume", &id]);
    assert!(resumed.status.success() && said(&resumed).contains("reclaimed"), "{}", said(&resumed));
    let run = runner.gateway.ended(&id, "failed").await;
    assert_eq!(run["escrow"], "returned");
    let again = command(&fixture, &["runs", "resume", &id]);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_has_ended_is_judged_by_the_events_that_were_read() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&OPEN).await;
    let id = fixture.held_without_a_record(&runner).await;

    // A gap among the ledgers in which it could have been settled: nothing is concluded.
    fixture.sql(A_GAP).await;
    let (code, found) = fixture.reconciled(&["--repair"]);
    assert_eq!((code, &found["findings"][0]["proof"]), (Some(2), &"unknown".into()), "{found:#}");
    fixture.sql("DELETE FROM contract_event_gaps").await;
    let (code, found) = fixture.reconciled(&["--repair"]);
    assert_eq!((code, &found["findings"][0]["proof"]), (Some(0), &"returned".into()), "{found:#}");
    runner.gateway.ended(&id, "failed").await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_nothing_was_signed_for_is_judged_by_the_event_that_opened_it() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&OPEN).await;
    let id = fixture.held_without_a_record(&runner).await;
    // As a run is that was made for an open record, until its escrow is asked back.
    fixture.sql("DELETE FROM transaction_calls").await;
    fixture.sql("DELETE FROM calls").await;
    fixture.sql("DELETE FROM chain_transactions").await;

    fixture.sql(A_GAP).await;
    let (code, found) = fixture.reconciled(&["--repair"]);
    assert_eq!((code, &found["findings"][0]["proof"]), (Some(2), &"unknown".into()), "{found:#}");
    fixture.sql("DELETE FROM contract_event_gaps").await;

    // Without its event nothing says that it was opened, nor that it never was.
    fixture.sql("UPDATE contract_events SET name = 'hidden' WHERE name = 'run_opened'").await;
    let (code, found) = fixture.reconciled(&["--repair"]);
    assert_eq!((code, &found["findings"][0]["proof"]), (Some(2), &"unknown".into()), "{found:#}");
    fixture.sql("UPDATE contract_events SET name = 'run_opened' WHERE name = 'hidden'").await;

    let (code, found) = fixture.reconciled(&["--repair"]);
    assert_eq!((code, &found["findings"][0]["proof"]), (Some(0), &"returned".into()), "{found:#}");
    runner.gateway.ended(&id, "failed").await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_is_wrong_and_what_to_do() {
    let fixture = Fixture::new().await;
    let before = command(&fixture, &["doctor", "--output", "json"]);
    assert_eq!(before.status.code(), Some(1), "no tables yet: {}", said(&before));
    let migrated = command(&fixture, &["migrate"]);
    assert!(migrated.status.success(), "{}", said(&migrated));
    let well = command(&fixture, &["doctor", "--output", "json"]);
    assert_eq!(well.status.code(), Some(0), "{}", said(&well));
    let checks: Value = serde_json::from_slice(&well.stdout).unwrap();
    let state = |name: &str| {
        let found = checks.as_array().unwrap().iter().find(|check| check["name"] == name);
        found.unwrap()["state"].as_str().unwrap().to_owned()
    };
    for name in ["postgres", "schema", "nats", "node", "contracts", "runner", "channels"] {
        assert_eq!(state(name), "ok", "{name}");
    }
    assert_eq!(state("gates"), "warning");

    let poor = [("RUNNER_CHANNEL_LEAST_STROOPS", "9000000000000000000")];
    let low = command_with(&fixture, &poor, &["doctor"]);
    assert_eq!(low.status.code(), Some(1), "{}", said(&low));
    assert!(said(&low).contains("pay XLM"), "{}", said(&low));
    let away = command_with(&fixture, &[("RUNNER_RPC_URL", "http://127.0.0.1:1")], &["doctor"]);
    assert_eq!(away.status.code(), Some(2), "{}", said(&away));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ends_an_open_run_by_hand() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&OPEN).await;

    let (id, _) = fixture.open_run(&runner).await;
    let early = command(&fixture, &["runs", "reclaim", &id]);
    assert_eq!(early.status.code(), Some(1), "{}", said(&early));
    let voided = command(&fixture, &["runs", "void", &id, "--reason", "tidying up"]);
    assert!(voided.status.success(), "{}", said(&voided));
    let run = runner.gateway.ended(&id, "failed").await;
    assert_eq!((&run["escrow"], fixture.succeeded(&id, "void").await), (&"returned".into(), 1));
    let again = command(&fixture, &["runs", "void", &id]);
    assert!(again.status.success() && said(&again).contains("voided"), "{}", said(&again));

    let (id, _) = fixture.open_run(&runner).await;
    let settled = command(&fixture, &["runs", "finalize", &id, "--output", "json"]);
    assert!(settled.status.success(), "{}", said(&settled));
    let run = runner.gateway.ended(&id, "failed").await;
    assert_eq!(run["receipt"]["actualCharge"], "0");
    assert_eq!(fixture.succeeded(&id, "finalize").await, 1);

    let (id, _) = fixture.open_run(&runner).await;
    fixture.localnet.advance_time(800);
    fixture.localnet.close_ledger().await.unwrap();
    let late = command(&fixture, &["runs", "finalize", &id]);
    assert_ne!(late.status.code(), Some(3), "{}", said(&late));
    let reclaimed = command(&fixture, &["runs", "reclaim", &id]);
    assert!(reclaimed.status.success(), "{}", said(&reclaimed));
    assert_eq!(fixture.account().await.balance, DEPOSIT);

    let unknown = command(&fixture, &["runs", "void", "0199f2d0-0000-7000-8000-000000000000"]);
    assert_eq!(unknown.status.code(), Some(1), "{}", said(&unknown));
    let wrong = command(&fixture, &["runs", "void", "seven"]);
    assert_eq!(wrong.status.code(), Some(3), "{}", said(&wrong));
    runner.stop().await;
}
