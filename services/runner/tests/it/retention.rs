//! Questions about a million runs are answered by indexes, old runs leave by command, and a stream
//! that lost its messages is filled again.

use std::process::{Command, Output};
use std::time::Duration;

use runner::gateway::store::{self, Filter, OVERDUE_SECS};
use runner::model::state::Status;
use runner::operations::prune;
use serde_json::Value;
use sqlx::{Execute as _, PgPool, Row as _};
use testkit::eventually;

use crate::fixture::Fixture;

/// Finished runs; a million with `LUMIO_LONG=1`.
fn many() -> i64 {
    if std::env::var_os("LUMIO_LONG").is_some() { 1_000_000 } else { 20_000 }
}

/// Rows that the longest page reads: it shows one less.
const MOST_LISTED: i64 = 501;

/// Puts that many finished runs into the database, of a hundred users.
pub async fn fill(db: &PgPool, count: i64) {
    let text = "INSERT INTO runs (id, user_account, agent_id, budgets, input, input_digest, seed, \
            status, phase, attempt, traceparent, created_at, updated_at) \
         SELECT gen_random_uuid(), 'G' || n % 100, 1, \
            '{\"llm_in\":0,\"llm_out\":0,\"http_calls\":0,\"runtime_ms\":1}', '{}', \
            decode(repeat('00', 32), 'hex'), 1, \
            CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'finalized' END, 'done', 1, '', \
            now() - n * interval '1 second', now() - n * interval '1 second' \
         FROM generate_series(1, $1) AS n";
    let mut conn = db.acquire().await.unwrap();
    sqlx::raw_sql("SET statement_timeout = 0").execute(&mut *conn).await.unwrap();
    sqlx::query(text).bind(count).execute(&mut *conn).await.unwrap();
    let text = "INSERT INTO attempts (run_id, number, nonce, created_at, ended_at) \
         SELECT id, 1, sha256(id::text::bytea), now(), now() FROM runs \
         ON CONFLICT (run_id, number) DO NOTHING";
    sqlx::query(text).execute(&mut *conn).await.unwrap();
    sqlx::raw_sql("VACUUM ANALYZE runs, attempts").execute(&mut *conn).await.unwrap();
}

/// The plan of a statement, executed, with the pages that it touched.
async fn pages(db: &PgPool, plan: &str) -> (String, i64) {
    let lines = sqlx::raw_sql(sqlx::AssertSqlSafe(plan.to_owned())).fetch_all(db).await.unwrap();
    let plan: Value = lines[0].try_get(0).unwrap();
    let touched = ["Shared Hit Blocks", "Shared Read Blocks"]
        .map(|name| plan[0]["Plan"][name].as_i64().unwrap_or_default());
    (plan.to_string(), touched.iter().sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_about_many_runs_touch_few_pages() {
    let db = testkit::postgres().await;
    runner::MIGRATIONS.run(&db.pool).await.unwrap();
    fill(&db.pool, many()).await;

    // One user is a part of an account.
    sqlx::raw_sql("UPDATE runs SET subject = 'M7' WHERE user_account = 'G7'; ANALYZE runs")
        .execute(&db.pool)
        .await
        .unwrap();
    let middle: (time::OffsetDateTime, uuid::Uuid) =
        sqlx::query_as("SELECT created_at, id FROM runs ORDER BY created_at OFFSET $1 LIMIT 1")
            .bind(many() / 2)
            .fetch_one(&db.pool)
            .await
            .unwrap();
    let load = store::load_query().sql().as_str().replace("$1", &OVERDUE_SECS.to_string());
    let filter = |user: Option<&str>, status: Option<Status>| Filter {
        user: user.map(str::to_owned),
        subject: None,
        status,
        before: None,
        limit: 51,
    };
    let lists = [
        filter(None, None),
        filter(Some("G7"), None),
        filter(None, Some(Status::Failed)),
        filter(None, Some(Status::Pending)),
        filter(Some("G7"), Some(Status::Cancelled)),
        filter(Some("G7"), Some(Status::Finalized)),
        Filter { subject: Some("M7".to_owned()), ..filter(Some("G7"), None) },
        Filter { before: Some(middle), ..filter(None, None) },
        Filter { before: Some(middle), ..filter(Some("G7"), Some(Status::Failed)) },
        Filter { limit: MOST_LISTED, ..filter(None, None) },
        Filter { limit: MOST_LISTED, before: Some(middle), ..filter(None, None) },
    ];
    let mut questions = vec![(load, 51)];
    for filter in &lists {
        let mut query = store::list_query(filter);
        // Values in place of parameters, in the order in which they are bound.
        let mut text = query.build().sql().as_str().to_owned();
        let values = [
            filter.user.as_ref().map(|user| format!("'{user}'")),
            filter.subject.as_ref().map(|subject| format!("'{subject}'")),
            filter.status.map(|status| format!("'{status}'")),
            filter.before.map(|(at, _)| format!("'{at}'::timestamptz")),
            filter.before.map(|(_, id)| format!("'{id}'::uuid")),
            Some(filter.limit.to_string()),
        ];
        for (at, value) in values.into_iter().flatten().enumerate() {
            text = text.replace(&format!("${}", at + 1), &value);
        }
        questions.push((text, filter.limit));
    }

    for (question, limit) in questions {
        let plan = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {question}");
        let (plan, touched) = pages(&db.pool, &plan).await;
        assert!(!plan.contains("Seq Scan"), "{question}\n{plan}");
        // About ten pages a run that is shown, whatever there is in the table.
        assert!(touched < limit * 20, "{touched} pages for {question}\n{plan}");
    }
    store::load(&db.pool).await.unwrap();
}

/// Runs a command line of the runner with the settings of this fixture.
pub fn command(fixture: &Fixture, arguments: &[&str]) -> Output {
    command_with(fixture, &[], arguments)
}

/// The same, with `more` settings that go before them.
pub fn command_with(fixture: &Fixture, more: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
    command.args(arguments).env_clear().envs(fixture.settings(more)).current_dir("/");
    command.output().unwrap()
}

/// What a command printed.
pub fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn old_runs_leave_by_command_and_unfinished_ones_stay() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.ended(&id, "failed").await;
    let kept = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.ended(&kept, "failed").await;
    let seen = "SELECT count(*) FROM contract_events WHERE name = 'run_finalized'";
    eventually(|| async {
        sqlx::query_scalar::<_, i64>(seen).fetch_one(&fixture.db.pool).await.unwrap() == 2
    })
    .await;
    runner.stop().await;
    let text = "UPDATE runs SET updated_at = now() - interval '100 days' WHERE id = $1";
    let uuid: uuid::Uuid = id.parse().unwrap();
    sqlx::query(text).bind(uuid).execute(&fixture.db.pool).await.unwrap();

    for text in [
        "UPDATE contract_events SET closed_at = now() - interval '100 days'",
        "INSERT INTO reconciliations (started_at, ended_at, repaired, compared, findings) \
         SELECT now() - interval '100 days', now() - interval '100 days', false, '{}', '[]' \
         FROM generate_series(1, 3)",
    ] {
        sqlx::query(text).execute(&fixture.db.pool).await.unwrap();
    }

    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("old.jsonl");
    let export = export.to_str().unwrap();
    let counted = command(&fixture, &["runs", "prune", "--older-than", "90d"]);
    assert!(said(&counted).contains("1 runs") && counted.status.success(), "{}", said(&counted));
    let arguments = ["runs", "prune", "--older-than", "90d", "--export", export, "--confirm"];
    let pruned = command(&fixture, &arguments);
    assert!(said(&pruned).contains("1 runs"), "{}", said(&pruned));
    let lines = std::fs::read_to_string(export).unwrap();
    let line: Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!(line["id"], id.as_str());
    let left: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT id FROM runs").fetch_all(&fixture.db.pool).await.unwrap();
    assert_eq!(left.iter().map(ToString::to_string).collect::<Vec<_>>(), [kept.as_str()]);
    // So does the number of its last event; that of the other is still counted on.
    let numbered = "SELECT key FROM outbox_sequences WHERE key = ANY($1)";
    let both = vec![id.clone(), kept.clone()];
    let numbered = sqlx::query_scalar::<_, String>(numbered).bind(both);
    assert_eq!(numbered.fetch_all(&fixture.db.pool).await.unwrap(), [kept]);
    // What proofs about the run that is kept rest on stays, and that the rest is gone is known.
    let others = "SELECT count(*) FROM contract_events e WHERE NOT EXISTS \
         (SELECT 1 FROM attempts a WHERE a.vault_run_id = e.run_id) \
         AND e.name NOT IN ('run_opened', 'run_finalized')";
    // Opened and finalized, of both runs: receipts are proven from them when a run is gone.
    let own = "SELECT count(*) FROM contract_events WHERE name IN ('run_opened', 'run_finalized')";
    let known = "SELECT first_ledger FROM contract_cursors";
    let newest = "SELECT max(ledger) FROM contract_events";
    let mut found = Vec::new();
    for text in [others, own, "SELECT count(*) FROM reconciliations", known, newest] {
        let number: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
        found.push(number);
    }
    assert_eq!((found[0], found[2]), (0, 1), "{found:?}");
    assert!(found[1] == 4 && found[3] > found[4], "{found:?}");
    let wrong = command(&fixture, &["runs", "prune", "--older-than", "soon"]);
    assert_eq!(wrong.status.code(), Some(3), "{}", said(&wrong));
}

#[tokio::test]
async fn a_run_that_an_import_can_bring_back_keeps_the_number_of_its_last_event() {
    let db = testkit::postgres().await;
    chassis::postgres::migrate(&db.pool, &runner::MIGRATIONS).await.unwrap();
    fill(&db.pool, 3).await;
    let user = stellar::Keypair::from_seed(&[1; 32]).address().to_string();
    let old = "UPDATE runs SET user_account = $1, updated_at = now() - interval '100 days'";
    sqlx::query(old).bind(&user).execute(&db.pool).await.unwrap();
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT id FROM runs").fetch_all(&db.pool).await.unwrap();
    let [_, imported, kept] = ids[..] else { panic!("{ids:?}") };
    let text = "UPDATE attempts SET error_code = 'IMPORTED' WHERE run_id = $1";
    sqlx::query(text).bind(imported).execute(&db.pool).await.unwrap();
    let text = "UPDATE runs SET updated_at = now() WHERE id = $1";
    sqlx::query(text).bind(kept).execute(&db.pool).await.unwrap();
    // Of each run, and of an account.
    let text = "INSERT INTO outbox_sequences (key, last) SELECT id::text, 5 FROM runs \
         UNION SELECT user_account, 7 FROM runs";
    sqlx::query(text).execute(&db.pool).await.unwrap();

    let before = chassis::clock::now() - time::Duration::days(90);
    let pruned = prune::prune(&db.pool, before, &mut std::io::sink()).await.unwrap();
    assert_eq!(pruned.runs, 2);
    let text = "SELECT key FROM outbox_sequences";
    let mut left: Vec<String> = sqlx::query_scalar(text).fetch_all(&db.pool).await.unwrap();
    left.sort_unstable();
    let mut expected = [imported.to_string(), kept.to_string(), user];
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lost_its_messages_is_filled_again_and_everything_agrees() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let ids = [
        runner.gateway.accepted(&fixture.body()).await,
        runner.gateway.accepted(&fixture.body()).await,
    ];
    for id in &ids {
        runner.gateway.ended(id, "failed").await;
    }
    let text = "SELECT count(*) FROM outbox WHERE published_at IS NULL";
    let published = || async {
        let left: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
        left == 0
    };
    eventually(published).await;
    let agrees = command(&fixture, &["account"]);
    assert_eq!(agrees.status.code(), Some(0), "{}", said(&agrees));

    // The messages go, and the server still remembers their ids.
    let jetstream = async_nats::jetstream::new(fixture.bus.client.clone());
    let name = wire::event::Family::Run.stream(&fixture.bus.prefix);
    let stream = jetstream.get_stream(&name).await.unwrap();
    stream.purge().await.unwrap();
    let broken = command(&fixture, &["account", "--output", "json"]);
    assert_eq!(broken.status.code(), Some(1), "{}", said(&broken));
    assert!(said(&broken).contains("is not in the stream"), "{}", said(&broken));

    let counted = command(&fixture, &["events", "refill", "--from-position", "0", "--dry-run"]);
    assert!(said(&counted).contains("would be published again"), "{}", said(&counted));
    // By time: everything since long ago, and nothing of what is still to come.
    let events = |output: &Output| said(output).split(' ').next().unwrap().to_owned();
    for (since, expected) in
        [("2020-01-01T00:00:00Z", events(&counted)), ("2099-01-01T00:00:00Z", "0".to_owned())]
    {
        let by_time = command(&fixture, &["events", "refill", "--since", since, "--dry-run"]);
        assert_eq!(events(&by_time), expected, "{}", said(&by_time));
    }
    let wrong = command(&fixture, &["events", "refill", "--since", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(3), "{}", said(&wrong));
    let filled = command(&fixture, &["events", "refill", "--since", "2020-01-01T00:00:00Z"]);
    assert!(filled.status.success(), "{}", said(&filled));
    let agrees = command(&fixture, &["account"]);
    assert_eq!(agrees.status.code(), Some(0), "{}", said(&agrees));

    // What Postgres does not know of is found as well.
    let text = "UPDATE attempts SET escrow = 'open' WHERE run_id = $1";
    let uuid: uuid::Uuid = ids[0].parse().unwrap();
    sqlx::query(text).bind(uuid).execute(&fixture.db.pool).await.unwrap();
    let broken = command(&fixture, &["account"]);
    assert_eq!(broken.status.code(), Some(1), "{}", said(&broken));
    assert!(said(&broken).contains(&ids[0]), "{}", said(&broken));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_there_before_the_first_event() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let jetstream = async_nats::jetstream::new(fixture.bus.client.clone());
    let name = wire::event::Family::Run.stream(&fixture.bus.prefix);
    let there = || async { jetstream.get_stream(&name).await.ok() };
    let stream = eventually(there).await;
    assert_eq!(stream.cached_info().state.messages, 0);
    assert!(stream.cached_info().config.max_age > Duration::ZERO);
    runner.stop().await;
}
