//! What a single request may take of the runner: memory, connections to Postgres.

use runner::gateway::answers::MOST_OF_ONE;
use serde_json::{Value, json};
use testkit::eventually;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::crashing::{free_port, spawn};
use crate::fixture::{Fixture, Gateway};
use crate::hostile::{JSON, peak, raw, refused, request};
use crate::login::{log_in_at, start};
use crate::retention::command;

/// More than any of these requests takes, and a fraction of what each took once, in MiB.
const MOST_MEMORY: u64 = 64;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_that_is_refused_takes_much_memory() {
    let fixture = Fixture::new().await;
    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let away = "http://127.0.0.1:9";
    let settings = [
        ("RUNNER_PORT", port.as_str()),
        ("RUNNER_MODULE_GATE_URL", away),
        ("RUNNER_MODULE_GATE_TOKEN", "0123456789abcdef"),
        ("RUNNER_ORACLE_GATE_URL", away),
        ("RUNNER_ORACLE_GATE_TOKEN", "0123456789abcdef"),
    ];
    let process = spawn(&fixture, &settings);
    gateway.up().await;
    let before = peak(&process);
    let refuse = async |path: &str, body: &str| {
        let answer = raw(&gateway, &request("POST", path, JSON, body)).await;
        assert_eq!(refused(&answer).0, 400, "{path} {}", &body[..body.len().min(60)]);
        assert!(answer.len() < 32 * 1024, "{path} was answered with {} bytes", answer.len());
        let taken = (peak(&process) - before) / 1024;
        assert!(taken < MOST_MEMORY, "{path} {}: {taken} MiB", &body[..body.len().min(60)]);
    };

    // Many mistakes below a long name.
    let rounded = vec!["9007199254740992"; 20].join(",");
    refuse("/inputs", &format!("{{\"{}\":[{rounded}]}}", "k".repeat(8_200_000))).await;
    // Many small members, one of them twice.
    let members: String = (0..700_000).map(|at| format!("\"{at:x}\":0,")).collect();
    refuse("/inputs", &format!("{{{members}\"0\":0}}")).await;

    let long = format!("{{\"{}\":[{rounded}]}}", "k".repeat(1_000_000));
    let body = fixture.body().to_string();
    refuse("/runs", &body.replace("{\"rows\":3}", &long)).await;
    let large = format!("[{}0]", "{\"\":0},".repeat(140_000));
    for name in [
        "user",
        "agentId",
        "rateVersion",
        "budgets",
        "workflowId",
        "label",
        "seed",
        "startAt",
        "priority",
        "inputRef",
        "metadata",
    ] {
        refuse("/runs", &format!("{{\"{name}\":{large}}}")).await;
    }
    for name in ["user", "agentId", "rateVersion", "budgets"] {
        refuse("/quote", &format!("{{\"{name}\":{large}}}")).await;
    }
    let members: String = (0..90_000).map(|at| format!("\"{at:x}\":0,")).collect();
    let members = members.trim_end_matches(',');
    refuse("/runs", &format!("{{\"budgets\":{{{members}}}}}")).await;
    refuse("/runs", &format!("{{{members},{}", &body[1..])).await;
    refuse("/quote", &format!("{{{members}}}")).await;
    refuse("/operator/intake/pause", &format!("{{{members}}}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_answer_finds_no_room_does_nothing() {
    let fixture = Fixture::new().await;
    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let _process = spawn(&fixture, &[("RUNNER_PORT", &port)]);
    gateway.up().await;
    let text = "INSERT INTO runs (id, user_account, agent_id, budgets, input, input_digest, \
            seed, status, phase, attempt, traceparent, created_at, updated_at) \
         VALUES (gen_random_uuid(), $1, 1, \
            '{\"llm_in\":0,\"llm_out\":0,\"http_calls\":0,\"runtime_ms\":1}', \
            '{}', decode(repeat('00', 32), 'hex'), 1, 'failed', 'done', 1, '', now(), now()) \
         RETURNING id";
    let user = fixture.user.address().to_string();
    let inserted = sqlx::query_scalar::<_, uuid::Uuid>(text).bind(user);
    let id = inserted.fetch_one(&fixture.db.pool).await.unwrap();
    let text = "INSERT INTO attempts (run_id, number, nonce, error_code, created_at) \
         VALUES ($1, 1, decode(repeat('07', 32), 'hex'), 'E_TEST', now())";
    sqlx::query(text).bind(id).execute(&fixture.db.pool).await.unwrap();
    let path = format!("/runs/{id}");
    let length_with = async |reason: usize| {
        let text = "UPDATE attempts SET error = repeat('x', $2) WHERE run_id = $1";
        let update = sqlx::query(text).bind(id).bind(i32::try_from(reason).unwrap());
        update.execute(&fixture.db.pool).await.unwrap();
        gateway.get(&path).await.bytes().await.unwrap().len()
    };
    // A run shows its reason and that of its attempt. Three such answers take the whole share of an
    // address but for less than the answer below has.
    let third = MOST_OF_ONE / 3 - 1_024;
    let shown = length_with(1_000).await;
    let length = length_with(1_000 + (third - shown) / 2).await;
    assert!((third - 1..=third).contains(&length), "{length} is not {third}");

    let mut unread = Vec::new();
    for _ in 0..3 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(gateway.address().parse().unwrap()).await.unwrap();
        stream.write_all(request("GET", &path, "", "").as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        unread.push(stream);
    }
    let stored = async || {
        let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM runs");
        count.fetch_one(&fixture.db.pool).await.unwrap()
    };
    let mut body = fixture.body();
    body["metadata"] = json!({ "note": "x".repeat(8_000) });
    let refused = gateway.post("/runs", &body).await;
    assert_eq!((refused.status().as_u16(), stored().await), (503, 1));
    assert_eq!(refused.headers()["retry-after"], "5");

    // Whatever was refused until there is room again has left nothing behind either.
    drop(unread);
    eventually(|| async { gateway.post("/runs", &body).await.status() == 202 }).await;
    assert_eq!(stored().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_comparison_is_of_few_runs_and_the_commands_of_all() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let text = "INSERT INTO runs (id, user_account, agent_id, budgets, metadata, input, \
                input_digest, \
            seed, status, phase, attempt, traceparent, created_at, updated_at) \
         SELECT gen_random_uuid(), $1, 1, \
            '{\"llm_in\":0,\"llm_out\":0,\"http_calls\":0,\"runtime_ms\":1}', \
            '{}', '{}', decode(repeat('00', 32), 'hex'), 1, \
            'failed', 'done', 1, '', now() - number * interval '1 second', now() \
         FROM generate_series(1, 2500) AS series (number)";
    let user = fixture.user.address().to_string();
    sqlx::query(text).bind(&user).execute(&fixture.db.pool).await.unwrap();
    let text = "INSERT INTO attempts (run_id, number, nonce, created_at) \
         SELECT id, 1, decode(md5(id::text) || md5(id::text), 'hex'), now() FROM runs";
    sqlx::query(text).execute(&fixture.db.pool).await.unwrap();

    let answer = runner.gateway.get("/operator/reconciliation").await;
    let view: Value = answer.json().await.unwrap();
    let command = command(&fixture, &["account", "--output", "json"]);
    let all: Value = serde_json::from_slice(&command.stdout).unwrap();
    let compared = |account: &Value| account["compared"]["postgres"].as_u64().unwrap();
    assert_eq!(compared(&view) * 5, compared(&all) * 2, "{view} {all}");
    assert!(compared(&all) >= 2_500, "{all}");
    assert_eq!((&view["broken"], &view["findings"]), (&json!(false), &json!([])));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_metrics_who_sends_half_a_request_does_not_hold_up_a_stop() {
    let fixture = Fixture::new().await;
    let (port, metrics_port) = (free_port().await, free_port().await);
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let settings =
        [("RUNNER_PORT", port.as_str()), ("OTEL_EXPORTER_PROMETHEUS_PORT", metrics_port.as_str())];
    let mut process = spawn(&fixture, &settings);
    gateway.up().await;
    let metrics = Gateway::at(format!("http://127.0.0.1:{metrics_port}"));
    let mut half = TcpStream::connect(metrics.address()).await.unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    // It is being served, not only waiting to be accepted.
    assert_eq!(metrics.get("/metrics").await.status(), 200);

    let pid = process.0.id().to_string();
    std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    let ended = process.has_ended().await;
    assert!(ended.success(), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_for_sessions_keep_no_run_from_its_end() {
    let fixture = Fixture::new().await;
    // What waits for the lock waits longer than this test.
    let mut url = url::Url::parse(&fixture.db.url).unwrap();
    for name in ["lock_timeout", "statement_timeout"] {
        url.query_pairs_mut().append_pair(&format!("options[{name}]"), "600s");
    }
    let running = start(&fixture, &[("DATABASE_URL", url.as_str())]).await;
    let login = log_in_at(&running.gateway, &fixture.user).await;
    let gateway = running.gateway.as_user(login["token"].as_str().unwrap());
    let mut body = fixture.body();
    let later = chassis::clock::now() + time::Duration::DAY;
    body["startAt"] = Value::from(later.format(&Rfc3339).unwrap());
    let id: uuid::Uuid = gateway.accepted(&body).await.parse().unwrap();

    let mut other = fixture.db.pool.acquire().await.unwrap().detach();
    let lock = "BEGIN; LOCK TABLE auth_sessions IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    let waiting: Vec<_> = (0..30)
        .map(|_| {
            let gateway = gateway.clone();
            tokio::spawn(async move { gateway.get("/runs").await.status() })
        })
        .collect();
    let text = "SELECT count(*) FROM pg_stat_activity \
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually(|| async {
        let found: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
        // Some of its connections the gateway keeps for itself.
        found >= 4
    })
    .await;

    let now = "UPDATE runs SET start_at = now(), wake_at = now() WHERE id = $1";
    sqlx::query(now).bind(id).execute(&fixture.db.pool).await.unwrap();
    eventually(|| async {
        let text = "SELECT phase = 'done' FROM runs WHERE id = $1";
        let query = sqlx::query_scalar::<_, bool>(text).bind(id);
        query.fetch_one(&fixture.db.pool).await.unwrap()
    })
    .await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    for answer in waiting {
        let status = answer.await.unwrap();
        assert!(status == 200 || status == 503, "{status}");
    }
    running.stop().await;
}
