//! Postgres is lost, and made again from an older export, contract state and events.

use serde_json::Value;

use crate::fixture::{DEPOSIT, Fixture, PRICE};
use crate::queueing::gateway_alone;
use crate::reconciling::OPEN;
use crate::retention::{command, command_with, fill, said};

/// Runs that had ended before the export: three batches of a restore, and of an import.
const FINISHED: i64 = 1_200;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_is_restored_and_every_open_run_is_found() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&OPEN).await;
    // At the export: one is open, one has ended, one waits.
    let (open, _) = fixture.open_run(&runner).await;
    let ended = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.until(&ended, |run| run["phase"] == "escrow_open").await;
    let voided = command(&fixture, &["runs", "void", &ended]);
    assert!(voided.status.success(), "{}", said(&voided));
    runner.gateway.ended(&ended, "failed").await;
    fixture.until_seen("run_voided").await;
    runner.stop().await;
    let gateway = gateway_alone(&fixture).await;
    let waiting = gateway.gateway.accepted(&fixture.body()).await;
    gateway.stop().await;
    // No engine here serves its source, so that it is still wanted in the file.
    let channel = "INSERT INTO channels (account, payer, number, state) \
         VALUES ('GSOURCE', 'GPAYER', 1, 'active')";
    sqlx::query(channel).execute(&fixture.db.pool).await.unwrap();
    let order = "INSERT INTO channel_orders (kind, source, destination, stroops, state) \
         VALUES ('pay', 'GSOURCE', 'GDESTINATION', 1, 'wanted')";
    sqlx::query(order).execute(&fixture.db.pool).await.unwrap();

    // And more of the past than one statement of a restore takes.
    fill(&fixture.db.pool, FINISHED).await;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runner.jsonl");
    let file = file.to_str().unwrap();
    let exported = command(&fixture, &["export", "--to", file]);
    assert!(exported.status.success(), "{}", said(&exported));
    let again = command(&fixture, &["export", "--to", file]);
    assert_eq!(again.status.code(), Some(3), "an export is never overwritten: {}", said(&again));

    // After it: the waiting one is opened, the open one is given back, and a new one comes.
    let runner = fixture.start(&OPEN).await;
    runner.gateway.until(&waiting, |run| run["phase"] == "escrow_open").await;
    let (_, _) = fixture.open_run(&runner).await;
    let voided = command(&fixture, &["runs", "void", &open]);
    assert!(voided.status.success(), "{}", said(&voided));
    runner.gateway.ended(&open, "failed").await;
    runner.stop().await;
    assert_eq!(fixture.account().await.balance, DEPOSIT - 2 * PRICE);

    // The database is gone.
    let fresh = testkit::postgres().await;
    let there = [("DATABASE_URL", fresh.url.as_str())];
    let text = std::fs::read_to_string(file).unwrap();
    let cut = folder.path().join("cut.jsonl");
    std::fs::write(&cut, &text[..text.trim_end().rfind('\n').unwrap()]).unwrap();
    let refused = command_with(&fixture, &there, &["restore", "--from", cut.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("not whole"), "{}", said(&refused));
    let count = "SELECT count(*) FROM runs WHERE user_account ~ '^G[0-9]+$'";
    let counted = || async { sqlx::query_scalar::<_, i64>(count).fetch_one(&fresh.pool).await };
    assert_eq!(counted().await.unwrap(), 0, "no batch stays of what is not whole");
    let arguments = ["restore", "--from", file, "--output", "json"];
    let restored = command_with(&fixture, &there, &arguments);
    assert_eq!(restored.status.code(), Some(0), "{}", said(&restored));
    let judged: Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!((&judged["openedSince"], &judged["unknown"]), (&1.into(), &0.into()), "{judged:#}");
    assert_eq!(judged["schemaVersion"], 1, "{judged:#}");
    assert_eq!(counted().await.unwrap(), FINISHED);
    // Its lumens may have moved since the export.
    let order: String = sqlx::query_scalar("SELECT state FROM channel_orders")
        .fetch_one(&fresh.pool)
        .await
        .unwrap();
    assert_eq!(order, "unknown");
    let twice = command_with(&fixture, &there, &arguments);
    assert_eq!(twice.status.code(), Some(1), "{}", said(&twice));

    // Workers end what was open, once, and all money is back.
    let runner = fixture.start(&there).await;
    let run = runner.gateway.ended(&waiting, "failed").await;
    assert_eq!((&run["errorCode"], &run["attempt"]), (&"EXECUTOR_MISSING".into(), &1.into()));
    assert!(run["receipt"].is_object(), "{run:#}");
    let run = runner.gateway.ended(&open, "failed").await;
    assert_eq!(run["escrow"], "returned", "{run:#}");
    let unfinished = "SELECT count(*) FROM runs WHERE phase <> 'done'";
    testkit::eventually(|| async {
        sqlx::query_scalar::<_, i64>(unfinished).fetch_one(&fresh.pool).await.unwrap() == 0
    })
    .await;
    let adopted = "SELECT count(*) FROM attempts WHERE error_code = 'ADOPTED'";
    let adopted: i64 = sqlx::query_scalar(adopted).fetch_one(&fresh.pool).await.unwrap();
    assert_eq!(adopted, 1, "the run that only the lost database knew");
    let account = fixture.account().await;
    assert_eq!((account.balance, account.reserved), (DEPOSIT, 0));
    // It goes on as any other.
    let next = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.ended(&next, "failed").await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_an_earlier_runner_is_imported_as_history_and_can_be_retried() {
    let fixture = Fixture::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".runner-state.json");
    let run = |id: u8, status: &str| {
        serde_json::json!({
            "id": format!("0b9f4a52-6c3e-4f57-9d2b-3f6b6d1f0a{id:02}"),
            "user": fixture.user.address(), "agentId": fixture.agent_id, "rateVersion": null,
            "budgets": { "llmIn": 100, "llmOut": 0, "httpCalls": 0, "runtimeMs": 1_000 },
            "status": status, "retries": 0, "runId": 12, "metadata": { "note": "mine" },
            "createdAt": "2025-11-02T10:00:00.000Z", "updatedAt": "2025-11-02T10:00:03.250Z",
        })
    };
    let state = serde_json::json!([run(1, "finalized"), run(2, "running")]);
    std::fs::write(&file, serde_json::to_string_pretty(&state).unwrap()).unwrap();
    let file = file.to_str().unwrap();
    let counted = command(&fixture, &["import", file]);
    assert!(said(&counted).contains("2 runs would be"), "{}", said(&counted));
    for (finalized, known) in [(1, 0), (0, 2)] {
        let done = command(&fixture, &["import", file, "--confirm", "--output", "json"]);
        let done: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!((&done["finalized"], &done["known"]), (&finalized.into(), &known.into()));
    }
    let runner = fixture.start(&[]).await;
    let id = "0b9f4a52-6c3e-4f57-9d2b-3f6b6d1f0a02";
    let run = runner.gateway.ended(id, "failed").await;
    assert_eq!((&run["errorCode"], &run["escrow"]), (&"IMPORTED".into(), &"none".into()));
    assert_eq!(run["metadata"]["metadata"]["note"], "mine", "{run:#}");
    let retried = runner.gateway.post(&format!("/runs/{id}/retry"), &Value::Null).await;
    assert_eq!(retried.status(), 200);
    let again = |run: &Value| run["attempt"] == 2 && run["phase"] == "done";
    let run = runner.gateway.until(id, again).await;
    assert_eq!(run["errorCode"], "EXECUTOR_MISSING", "{run:#}");
    let agrees = command(&fixture, &["account"]);
    assert_ne!(agrees.status.code(), Some(1), "{}", said(&agrees));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_interrupted_goes_on_with_what_is_left() {
    let fixture = Fixture::new().await;
    assert!(command(&fixture, &["migrate"]).status.success());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".runner-state.json");
    let run = |number: i64| {
        serde_json::json!({
            "id": uuid::Uuid::from_u128(u128::try_from(number).unwrap() + (4 << 76) + (8 << 60)),
            "user": fixture.user.address(), "agentId": 1, "budgets": {}, "status": "finalized",
            "label": if number == 700 { "stop" } else { "go" },
            "createdAt": "2025-11-02T10:00:00.000Z", "updatedAt": "2025-11-02T10:00:03.250Z",
        })
    };
    let state: Vec<Value> = (0..FINISHED).map(run).collect();
    std::fs::write(&file, serde_json::to_string(&state).unwrap()).unwrap();
    let arguments = ["import", file.to_str().unwrap(), "--confirm"];

    // The database refuses one row of the second batch.
    let stop = "ALTER TABLE runs ADD CONSTRAINT stopped CHECK (label IS DISTINCT FROM 'stop')";
    sqlx::query(stop).execute(&fixture.db.pool).await.unwrap();
    let stopped = command(&fixture, &arguments);
    assert_eq!(stopped.status.code(), Some(2), "{}", said(&stopped));
    assert!(said(&stopped).contains("500 runs were imported"), "{}", said(&stopped));
    sqlx::query("ALTER TABLE runs DROP CONSTRAINT stopped")
        .execute(&fixture.db.pool)
        .await
        .unwrap();

    let done = command(&fixture, &arguments);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let words = "700 finalized and 0 failed runs were imported; 500 were here";
    assert!(said(&done).contains(words), "{}", said(&done));
    let whole = "SELECT count(*) FROM runs JOIN attempts ON run_id = id AND number = attempt";
    let whole: i64 = sqlx::query_scalar(whole).fetch_one(&fixture.db.pool).await.unwrap();
    assert_eq!(whole, FINISHED);
}
