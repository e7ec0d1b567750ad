//! Who may come in, and whose turn it is: pauses of the intake, places of users and agents, starts
//! in the future and priorities.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use soroban_localnet::Fault;
use testkit::eventually;
use time::format_description::well_known::Rfc3339;

use crate::crashing::gates_at;
use crate::fixture::{Fixture, Gateway, PRICE, Running};
use crate::retention::{command, said};

/// A refusal by a pause, with the time to wait.
async fn paused(gateway: &Gateway, body: &Value) -> String {
    let answer = gateway.post("/runs", body).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "30");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "INTAKE_PAUSED", "{problem:#}");
    assert_eq!(problem["type"], "/problems/intake-paused");
    problem["detail"].as_str().unwrap().to_owned()
}

async fn count(fixture: &Fixture, text: &'static str) -> i64 {
    sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap()
}

/// A gateway without an engine, so that what is accepted stays in the queue.
pub async fn gateway_alone(fixture: &Fixture) -> Running {
    // Without an engine the queue only grows, and requests come as fast as they are answered.
    let settings = [("RUNNER_MAX_QUEUE", "1000000"), ("RUNNER_ADDRESS_RATE_LIMIT", "0")];
    gateway_alone_with(fixture, &settings).await
}

/// The same with these settings, and no limit raised.
pub async fn gateway_alone_with(fixture: &Fixture, more: &[(&str, &str)]) -> Running {
    let runner = fixture.runner.address().to_string();
    fixture.start(&[gateway_role(&runner).as_slice(), more].concat()).await
}

/// The settings of a gateway without an engine, which has the address of the runner's key alone.
pub fn gateway_role(runner: &str) -> [(&str, &str); 4] {
    [
        ("RUNNER_ROLE", "gateway"),
        ("RUNNER_SECRET", ""),
        ("RUNNER_SOURCE_SECRET", ""),
        ("RUNNER_PUBLIC_KEY", runner),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_for_every_process_and_runs_under_way_go_on() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.start(&[]).await, fixture.start(&[]).await);
    fixture.localnet.fault(Fault::Freeze(true));
    let before = one.gateway.post_with_key("before", &fixture.body()).await;
    assert_eq!(before.status(), 202);
    let before: Value = before.json().await.unwrap();

    let done = command(&fixture, &["intake", "pause", "--reason", "an upgrade"]);
    assert!(done.status.success(), "{}", said(&done));
    for gateway in [&one.gateway, &other.gateway] {
        assert!(paused(gateway, &fixture.body()).await.contains("an upgrade"));
        let summary = gateway.summary().await;
        assert_eq!(summary["status"]["intakePaused"], true, "{summary:#}");
        assert_eq!(summary["status"]["pauses"][0]["scope"], "all");
    }
    // What was accepted is answered again, and goes on.
    let again = other.gateway.post_with_key("before", &fixture.body()).await;
    assert_eq!(again.status(), 202);
    assert_eq!(again.json::<Value>().await.unwrap()["id"], before["id"]);
    fixture.localnet.fault(Fault::Freeze(false));
    let id = before["id"].as_str().unwrap();
    one.gateway.ended(id, "failed").await;
    // Another attempt would be another opening.
    let retry = one.gateway.post(&format!("/runs/{id}/retry"), &json!({})).await;
    assert_eq!(retry.status(), 503);
    let doctor = said(&command(&fixture, &["doctor"]));
    assert!(doctor.contains("intake") && doctor.contains("an upgrade"), "{doctor}");

    let listed = said(&command(&fixture, &["intake", "list"]));
    assert!(listed.starts_with("whose") && listed.contains("\neverybody"), "{listed}");
    let listed = command(&fixture, &["intake", "list", "--output", "json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed[0]["scope"], &listed[0]["reason"]), (&json!("all"), &json!("an upgrade")));
    assert!(command(&fixture, &["intake", "resume"]).status.success());
    assert_eq!(command(&fixture, &["intake", "resume"]).status.code(), Some(1));
    other.gateway.accepted(&fixture.body()).await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_or_a_user_is_paused_apart_and_by_http_as_well() {
    let fixture = Fixture::new().await;
    let running = gateway_alone(&fixture).await;
    let gateway = &running.gateway;
    let order = |path: &str, body: Value| {
        let path = format!("/operator/intake/{path}");
        async move {
            let answer = gateway.post(&path, &body).await;
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        }
    };
    let agent = json!({ "agent": fixture.agent_id, "reason": "it loops" });
    let (status, pauses) = order("pause", agent).await;
    assert_eq!((status, &pauses[0]["subject"]), (200, &json!(fixture.agent_id.to_string())));
    assert!(paused(gateway, &fixture.body()).await.contains("of agent"));
    let mut other = fixture.body();
    other["agentId"] = json!(fixture.agent_id + 1);
    gateway.accepted(&other).await;

    let user = json!({ "user": fixture.user.address() });
    assert_eq!(order("pause", user.clone()).await.0, 200);
    assert!(paused(gateway, &other).await.contains("this account"));
    assert_eq!(order("resume", json!({ "agent": fixture.agent_id })).await.0, 200);
    assert!(paused(gateway, &fixture.body()).await.contains("this account"));
    assert_eq!(order("resume", user.clone()).await, (200, json!([])));
    gateway.accepted(&fixture.body()).await;

    assert_eq!(order("resume", user).await.0, 404);
    for wrong in [
        json!({ "agent": 1, "user": fixture.user.address() }),
        json!({ "user": "somebody" }),
        json!({ "agents": 1 }),
        json!({ "agent": -1 }),
        json!({ "reason": "" }),
    ] {
        assert_eq!(order("pause", wrong.clone()).await.0, 400, "{wrong}");
    }
    assert_eq!(command(&fixture, &["intake", "pause", "--user", "x"]).status.code(), Some(3));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_is_accepted_once_a_pause_was_answered() {
    let fixture = Fixture::new().await;
    let running = gateway_alone(&fixture).await;
    // The order's connection to Postgres is there before the requests take the processors: where
    // nothing is optimised, the exchange of a password takes many turns.
    running.gateway.accepted(&fixture.body()).await;
    let views = (0..3).map(|_| running.gateway.get("/operator/intake"));
    futures::future::join_all(views).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut askers = Vec::new();
    for _ in 0..8 {
        let (gateway, body, stop) = (running.gateway.clone(), fixture.body(), stop.clone());
        askers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let status = gateway.post("/runs", &body).await.status().as_u16();
                assert!(matches!(status, 202 | 503 | 429), "{status}");
            }
        }));
    }
    let all = "SELECT count(*) FROM runs";
    eventually(|| async { count(&fixture, all).await > 20 }).await;
    let answer = running.gateway.post("/operator/intake/pause", &json!({})).await;
    assert_eq!(answer.status(), 200);
    let then = count(&fixture, all).await;
    // Each asker is refused several times meanwhile.
    let mut refused = 0;
    while refused < 20 {
        paused(&running.gateway, &fixture.body()).await;
        refused += 1;
    }
    assert_eq!(count(&fixture, all).await, then, "a run came in after the pause");
    stop.store(true, Ordering::Relaxed);
    for asker in askers {
        asker.await.unwrap();
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_as_many_runs_under_way_as_places_and_the_rest_waits_and_says_so() {
    let fixture = Fixture::new().await;
    let places = ("RUNNER_MAX_RUNS_PER_USER", "1");
    let (one, other) = (fixture.start(&[places]).await, fixture.start(&[places]).await);
    fixture.localnet.fault(Fault::Freeze(true));
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(one.gateway.accepted(&fixture.body()).await);
    }
    let limited = || async { one.gateway.summary().await["status"]["limited"] == 3 };
    eventually(limited).await;
    let under_way = "SELECT count(*) FROM runs WHERE under_way";
    assert_eq!(count(&fixture, under_way).await, 1);
    // Its call follows once the run was looked at.
    let calls = "SELECT count(*) FROM calls";
    eventually(|| async { count(&fixture, calls).await > 0 }).await;
    assert_eq!(count(&fixture, calls).await, 1);
    let waits =
        |run: &Value| run["waitingFor"].as_str().is_some_and(|text| text.contains("1 at one time"));
    let last = one.gateway.until(&ids[3], waits).await;
    assert_eq!(last["status"], "pending", "{last:#}");
    // One that waits for a place can be called off.
    let answer = one.gateway.post(&format!("/runs/{}/cancel", ids[3]), &json!({})).await;
    assert_eq!(answer.json::<Value>().await.unwrap()["status"], "cancelled");
    fixture.localnet.fault(Fault::Freeze(false));
    for id in &ids[..3] {
        other.gateway.ended(id, "failed").await;
    }
    let overlapping = "SELECT count(*) FROM runs a JOIN runs b ON a.id <> b.id \
         AND a.admitted_at IS NOT NULL AND b.admitted_at IS NOT NULL \
         AND a.admitted_at < b.updated_at AND b.admitted_at < a.updated_at";
    assert_eq!(count(&fixture, overlapping).await, 0, "two runs were under way at one time");
    // They came in their order.
    let order: Vec<uuid::Uuid> = sqlx::query_scalar(
        "SELECT id FROM runs WHERE admitted_at IS NOT NULL ORDER BY admitted_at",
    )
    .fetch_all(&fixture.db.pool)
    .await
    .unwrap();
    let order: Vec<_> = order.iter().map(ToString::to_string).collect();
    assert_eq!(order, ids[..3]);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_has_places_too_and_other_agents_do_not_wait_for_them() {
    let fixture = Fixture::new().await;
    let running = fixture.start(&[("RUNNER_MAX_RUNS_PER_AGENT", "1")]).await;
    fixture.localnet.fault(Fault::Freeze(true));
    let first = running.gateway.accepted(&fixture.body()).await;
    let second = running.gateway.accepted(&fixture.body()).await;
    running.gateway.until(&first, |run| run["waitingFor"] == "the network").await;
    // There is no such agent: it is refused by a worker that did not wait for the places of another.
    let mut other = fixture.body();
    other["agentId"] = json!(fixture.agent_id + 1);
    let other = running.gateway.accepted(&other).await;
    let refused = running.gateway.ended(&other, "failed").await;
    assert_eq!(refused["errorCode"], "PREFLIGHT_AGENT_NOT_FOUND");
    let waits =
        |run: &Value| run["waitingFor"].as_str().is_some_and(|text| text.contains("of this agent"));
    running.gateway.until(&second, waits).await;
    fixture.localnet.fault(Fault::Freeze(false));
    running.gateway.ended(&first, "failed").await;
    running.gateway.ended(&second, "failed").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_starts_not_before_its_time_and_can_be_called_off_until_then() {
    let fixture = Fixture::new().await;
    let running = fixture.start(&[]).await;
    let starting = |secs: i64| {
        let at = chassis::clock::now() + time::Duration::seconds(secs);
        let mut body = fixture.body();
        body["startAt"] = json!(at.format(&Rfc3339).unwrap());
        body
    };
    let soon = running.gateway.accepted(&starting(3)).await;
    let far = running.gateway.accepted(&starting(3_600)).await;
    let run = running.gateway.until(&far, |_| true).await;
    assert!(run["waitingFor"].as_str().unwrap().starts_with("its start at "), "{run:#}");
    let summary = running.gateway.summary().await;
    assert_eq!(summary["status"]["scheduled"], 2, "{summary:#}");
    assert_eq!(summary["status"]["queueDepth"], 0, "{summary:#}");
    let answer = running.gateway.post(&format!("/runs/{far}/cancel"), &json!({})).await;
    assert_eq!(answer.json::<Value>().await.unwrap()["status"], "cancelled");

    running.gateway.ended(&soon, "failed").await;
    let early = "SELECT count(*) FROM runs r JOIN calls c ON c.run_id = r.id \
         WHERE r.start_at IS NOT NULL AND c.wanted_at < r.start_at";
    assert_eq!(count(&fixture, early).await, 0);
    let late = running.gateway.post("/runs", &starting(31 * 86_400)).await;
    assert_eq!(late.status(), 400);
    let problem: Value = late.json().await.unwrap();
    assert_eq!(problem["issues"][0]["pointer"], "/startAt", "{problem:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priorities_are_a_head_start_that_ends() {
    let fixture = Fixture::new().await;
    let gateway = gateway_alone(&fixture).await;
    let asked = |priority: &str| {
        let mut body = fixture.body();
        body["priority"] = json!(priority);
        let gateway = gateway.gateway.clone();
        async move { gateway.accepted(&body).await }
    };
    let mut ids = Vec::new();
    for priority in ["low", "low", "normal", "high"] {
        ids.push(asked(priority).await);
    }
    // The first has waited for longer than all head starts.
    let aged: uuid::Uuid = ids[0].parse().unwrap();
    sqlx::query("UPDATE runs SET turn_at = turn_at - interval '11 minutes' WHERE id = $1")
        .bind(aged)
        .execute(&fixture.db.pool)
        .await
        .unwrap();
    let queue: Value = gateway.gateway.get("/operator/queue").await.json().await.unwrap();
    let shown: Vec<_> = queue["runs"].as_array().unwrap().iter().map(|run| &run["id"]).collect();
    let expected = [&ids[0], &ids[3], &ids[2], &ids[1]];
    assert_eq!(shown, expected);
    // Workers take them in the order that is shown.
    let engine = fixture.start(&[("RUNNER_ROLE", "engine"), ("RUNNER_WORKERS", "1")]).await;
    for id in &ids {
        gateway.gateway.ended(id, "failed").await;
    }
    let order: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT id FROM runs ORDER BY admitted_at")
        .fetch_all(&fixture.db.pool)
        .await
        .unwrap();
    let order: Vec<_> = order.iter().map(ToString::to_string).collect();
    assert_eq!(order.iter().collect::<Vec<_>>(), expected);
    engine.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_below_the_configured_worth_is_refused_before_it_is_opened() {
    let fixture = Fixture::new().await;
    let least = (PRICE + 1).to_string();
    let running = fixture.start(&[("RUNNER_LEAST_WORTH_STROOPS", &least)]).await;
    let id = running.gateway.accepted(&fixture.body()).await;
    let run = running.gateway.ended(&id, "failed").await;
    assert_eq!(run["errorCode"], "PREFLIGHT_BELOW_WORTH", "{run:#}");
    assert_eq!(count(&fixture, "SELECT count(*) FROM calls").await, 0);
    let mut quote = fixture.body();
    let members = quote.as_object_mut().unwrap();
    members.retain(|name, _| ["user", "agentId", "budgets"].contains(&name.as_str()));
    let quoted: Value = running.gateway.post("/quote", &quote).await.json().await.unwrap();
    assert_eq!(quoted["refusal"]["code"], "PREFLIGHT_BELOW_WORTH", "{quoted:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openings_and_failures_of_a_user_and_a_developer_are_bounded() {
    let fixture = Fixture::new().await;
    let migrated = command(&fixture, &["migrate"]);
    assert!(migrated.status.success(), "{}", said(&migrated));
    for most in ["RUNNER_MAX_OPENS_PER_USER", "RUNNER_MAX_OPENS_PER_DEVELOPER"] {
        let opened = "SELECT count(*) FROM calls WHERE kind = 'open' AND state = 'done'";
        let before = count(&fixture, opened).await;
        let running = fixture.start(&[(most, &(before + 2).to_string())]).await;
        let mut codes = Vec::new();
        for _ in 0..3 {
            let id = running.gateway.accepted(&fixture.body()).await;
            let run = running.gateway.ended(&id, "failed").await;
            codes.push(run["errorCode"].as_str().unwrap().to_owned());
        }
        let expected = ["EXECUTOR_MISSING", "EXECUTOR_MISSING", "PREFLIGHT_TOO_MANY_OPENS"];
        assert_eq!(codes, expected, "{most}");
        assert_eq!(count(&fixture, opened).await, before + 2);
        running.stop().await;
    }
    // That there was no executor is the operator's own fault, and is not counted.
    for most in ["RUNNER_MAX_FAILURES_PER_USER", "RUNNER_MAX_FAILURES_PER_DEVELOPER"] {
        let running = fixture.start(&[(most, "1")]).await;
        let id = running.gateway.accepted(&fixture.body()).await;
        let run = running.gateway.ended(&id, "failed").await;
        assert_eq!(run["errorCode"], "EXECUTOR_MISSING", "{run:#}");
        let text = "UPDATE attempts SET error_code = 'E_ORACLE_EXEC' WHERE run_id = $1";
        let uuid: uuid::Uuid = id.parse().unwrap();
        sqlx::query(text).bind(uuid).execute(&fixture.db.pool).await.unwrap();
        let id = running.gateway.accepted(&fixture.body()).await;
        let run = running.gateway.ended(&id, "failed").await;
        assert_eq!(run["errorCode"], "PREFLIGHT_TOO_MANY_FAILURES", "{run:#}");
        let text = "UPDATE attempts SET error_code = 'EXECUTOR_MISSING' WHERE run_id = $1";
        sqlx::query(text).bind(uuid).execute(&fixture.db.pool).await.unwrap();
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_slow_runs_than_executors_come_to_in_time_are_refused() {
    let fixture = Fixture::new().await;
    let migrated = command(&fixture, &["migrate"]);
    assert!(migrated.status.success(), "{}", said(&migrated));
    // One executor, and modules of ten minutes: it does six of them before their deadline.
    let text = "INSERT INTO executors (owner, places, seen_at) \
         VALUES ('a test', 1, now() + interval '1 hour')";
    sqlx::query(text).execute(&fixture.db.pool).await.unwrap();
    let text = "INSERT INTO execution_times (agent_id, mean_ms, cautious_ms, measured_at) \
         VALUES ($1, 600000, 600000, now())";
    let agent = i64::from(fixture.agent_id);
    sqlx::query(text).bind(agent).execute(&fixture.db.pool).await.unwrap();
    let running = gateway_alone_with(&fixture, &[("RUNNER_ADDRESS_RATE_LIMIT", "0")]).await;
    // From then on it knows of them.
    eventually(|| async {
        let health: Value = running.gateway.get("/health").await.json().await.unwrap();
        health["checks"]["work"]["ok"] == true
    })
    .await;
    let mut accepted = 0;
    let refused = loop {
        let answer = running.gateway.post("/runs", &fixture.body()).await;
        if answer.status() != 202 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 100, "the network alone would take 360");
    };
    // So many may wait however slow the modules are.
    assert_eq!((refused.status().as_u16(), accepted), (429, 16));
    assert_eq!(refused.headers()["retry-after"], "600");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_says_how_many_modules_it_runs_at_one_time_while_it_does() {
    let fixture = Fixture::new().await;
    let away = gates_at("http://127.0.0.1:9");
    let settings = [away.as_slice(), &[("RUNNER_EXECUTIONS", "3")]].concat();
    let executors = "SELECT coalesce((SELECT places FROM working_executors), 0)";
    let one = fixture.start(&settings).await;
    eventually(|| async { count(&fixture, executors).await == 3 }).await;
    let other = fixture.start(&settings).await;
    eventually(|| async { count(&fixture, executors).await == 6 }).await;
    one.stop().await;
    assert_eq!(count(&fixture, executors).await, 3);
    other.stop().await;
    assert_eq!(count(&fixture, executors).await, 0);
}
