//! Clients that hang up, ask for too much, or send what must not be taken.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use wire::pb::runner::v1::runner_client::RunnerClient;
use wire::pb::runner::v1::{
    CreateRunRequest, GetRunRequest, GetSummaryRequest, ListRunsRequest, RetryRunRequest,
};

use crate::crashing::{Process, dead_at, free_port, spawn};
use crate::fixture::{DEPOSIT, Fixture, Gateway, PATIENCE};

/// Sends a request as it is; what is answered until the connection closes.
pub async fn raw(gateway: &Gateway, request: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The text of a request, the answer to which ends its connection.
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// `GET path`, as no library would send it.
pub async fn raw_get(gateway: &Gateway, path: &str) -> String {
    raw(gateway, &request("GET", path, "", "")).await
}

/// The status and the problem's code.
pub fn refused(answer: &str) -> (u16, String) {
    let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
    assert!(answer.contains("content-type: application/problem+json"), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    assert_eq!(body["error"], body["detail"]);
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

/// A service that may call gRPC.
const SERVICE_TOKEN: &str = "0123456789abcdef";
/// The header of a body that is JSON.
pub const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_up_on_any_route_stop_nothing() {
    let fixture = Fixture::new().await;
    let tokens = format!("test:{SERVICE_TOKEN}");
    let settings = [("RUNNER_GRPC_PORT", "0"), ("RUNNER_GRPC_TOKENS", tokens.as_str())];
    let runner = fixture.start(&settings).await;
    let url = format!("http://{}", runner.grpc.unwrap());
    let gateway = &runner.gateway;
    let first = gateway.accepted(&fixture.body()).await;
    let body = fixture.body().to_string();
    let routes = [
        request("POST", "/runs", JSON, &body),
        request("POST", "/runs", &format!("{JSON}Idempotency-Key: k\r\n"), &body),
        request("POST", &format!("/runs/{first}/cancel"), JSON, "{}"),
        request("POST", &format!("/runs/{first}/retry"), JSON, "{}"),
        request("GET", "/runs", "", ""),
        request("GET", &format!("/runs/{first}"), "", ""),
        request("GET", &format!("/runs/{first}/bundle"), "", ""),
        request("GET", "/summary", "", ""),
        request("GET", "/health", "", ""),
    ];
    // Each route is left after another time, from at once to about when it answers.
    for turn in 0..120_u64 {
        for route in &routes {
            let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
            stream.write_all(route.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_micros(turn * 67 % 5_000)).await;
            // A reset, not an orderly end: what was sent is not waited for.
            stream.set_zero_linger().unwrap();
            drop(stream);
        }
        leave_every_method(&fixture, &url, &first, Duration::from_micros(turn * 97 % 5_000)).await;
        // Not more runs than the network can settle in the time of a test.
        if gateway.summary().await["status"]["queueDepth"].as_i64().unwrap() > 15 {
            break;
        }
    }

    let text = "SELECT count(*) FROM runs WHERE phase <> 'done'";
    let all_end = || async {
        let left: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
        left == 0
    };
    eventually(all_end).await;
    fixture.db.has_no_open_transaction().await;
    assert_eq!(fixture.account().await.balance, DEPOSIT);
    runner.stop().await;
}

/// Calls every method of gRPC, and gives each up after this time: the stream is reset.
async fn leave_every_method(fixture: &Fixture, url: &str, id: &str, after: Duration) {
    let channel = chassis::grpc::client(url, Some(&SERVICE_TOKEN.into())).unwrap();
    let (client, id) = (RunnerClient::new(channel), id.to_owned());
    let create = CreateRunRequest {
        user: fixture.user.address().to_string(),
        agent_id: fixture.agent_id,
        budgets: Some(wire::Usage { runtime_ms: 10, ..wire::Usage::default() }.into()),
        ..CreateRunRequest::default()
    };
    let keyed = CreateRunRequest { idempotency_key: Some("g".to_owned()), ..create.clone() };
    let (get, retry) = (GetRunRequest { id: id.clone() }, RetryRunRequest { id });
    let [mut a, mut b, mut c, mut d, mut e, mut f] = std::array::from_fn(|_| client.clone());
    let calls = (
        timeout(after, a.create_run(create)),
        timeout(after, b.create_run(keyed)),
        timeout(after, c.get_run(get)),
        timeout(after, d.list_runs(ListRunsRequest::default())),
        timeout(after, e.retry_run(retry)),
        timeout(after, f.get_summary(GetSummaryRequest {})),
    );
    let _ = tokio::join!(calls.0, calls.1, calls.2, calls.3, calls.4, calls.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_no_worker_takes_is_named_by_health() {
    let fixture = Fixture::new().await;
    let key = fixture.runner.address().to_string();
    // A gateway whose engine is gone: runs are accepted, and nothing moves.
    let settings = [
        ("RUNNER_ROLE", "gateway"),
        ("RUNNER_SECRET", ""),
        ("RUNNER_SOURCE_SECRET", ""),
        ("RUNNER_PUBLIC_KEY", key.as_str()),
    ];
    let gateway = fixture.start(&settings).await;
    let id = gateway.gateway.accepted(&fixture.body()).await;
    let health = async || -> Value { gateway.gateway.get("/health").await.json().await.unwrap() };
    // A gateway that has just started has asked nothing yet.
    eventually(|| async { health().await["ok"] == true }).await;
    let work = async || -> Value {
        let health = health().await;
        assert_eq!(health["ok"], true, "{health}");
        health["checks"]["work"].clone()
    };
    eventually(|| async { work().await["ok"] == true }).await;
    let text = "UPDATE runs SET wake_at = now() - interval '2 minutes'";
    sqlx::query(text).execute(&fixture.db.pool).await.unwrap();
    eventually(|| async { work().await.to_string().contains("no worker takes them") }).await;
    assert_eq!(gateway.gateway.summary().await["status"]["overdue"], 1);

    let engine = fixture.start(&[("RUNNER_ROLE", "engine")]).await;
    gateway.gateway.ended(&id, "failed").await;
    eventually(|| async { work().await["ok"] == true }).await;
    engine.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_keeps_locks_on_runs_is_named_by_health() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let work = async || -> Value {
        let health: Value = runner.gateway.get("/health").await.json().await.unwrap();
        health["checks"]["work"].clone()
    };
    eventually(|| async { work().await["ok"] == true }).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.ended(&id, "failed").await;

    // Somebody forgets a transaction that has the whole table.
    let mut other = fixture.db.pool.acquire().await.unwrap().detach();
    let lock = "BEGIN; LOCK TABLE runs IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    let pid: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut other).await.unwrap();
    let named = format!("session {pid} of Postgres");
    eventually(|| async { work().await.to_string().contains(&named) }).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    eventually(|| async { work().await["ok"] == true }).await;

    // Or one that has a row: no worker waits for it, and nothing takes the run.
    let pool = &fixture.db.pool;
    let gateway = crate::queueing::gateway_alone(&fixture).await;
    runner.stop().await;
    let id = gateway.gateway.accepted(&fixture.body()).await;
    let uuid: uuid::Uuid = id.parse().unwrap();
    let text = "UPDATE runs SET wake_at = now() - interval '2 minutes' WHERE id = $1";
    sqlx::query(text).bind(uuid).execute(pool).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut other).await.unwrap();
    let held = sqlx::query("SELECT 1 FROM runs WHERE id = $1 FOR UPDATE").bind(uuid);
    held.execute(&mut other).await.unwrap();
    let engine = fixture.start(&[("RUNNER_ROLE", "engine")]).await;
    let work = async || -> Value {
        let health: Value = gateway.gateway.get("/health").await.json().await.unwrap();
        health["checks"]["work"].clone()
    };
    eventually(|| async { work().await.to_string().contains(&named) }).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    gateway.gateway.ended(&id, "failed").await;
    eventually(|| async { work().await["ok"] == true }).await;
    engine.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_route_does_not_take_is_refused_by_name() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let gateway = &runner.gateway;
    let body = fixture.body().to_string();
    let id = "00000000-0000-4000-8000-000000000000";

    for (method, path, allow) in [
        ("DELETE", "/runs".to_owned(), "POST"),
        ("PUT", "/summary".to_owned(), "GET"),
        ("GET", format!("/runs/{id}/retry"), "POST"),
        ("PATCH", format!("/runs/{id}"), "GET"),
        ("TRACE", "/agents?limit=1".to_owned(), "GET"),
        ("POST", "/operator/queue?limit=1".to_owned(), "GET"),
        ("GET", format!("/runs/{id}/cancel?now=1"), "POST"),
    ] {
        let answer = raw(gateway, &request(method, &path, "", "")).await;
        assert_eq!(refused(&answer), (405, "METHOD_NOT_ALLOWED".to_owned()), "{method} {path}");
        let header = answer.lines().find(|line| line.starts_with("allow:"));
        assert!(header.is_some_and(|line| line.contains(allow)), "{answer}");
    }

    for (headers, body, code) in [
        ("", body.as_str(), "UNSUPPORTED_MEDIA_TYPE"),
        ("Content-Type: text/plain\r\n", body.as_str(), "UNSUPPORTED_MEDIA_TYPE"),
        ("Content-Type: application/x-www-form-urlencoded\r\n", "a=b", "UNSUPPORTED_MEDIA_TYPE"),
        (JSON, "", "INVALID_REQUEST"),
        (JSON, "[]", "INVALID_REQUEST"),
        (JSON, "{\"user\":1,\"user\":2}", "INVALID_REQUEST"),
    ] {
        let answer = raw(gateway, &request("POST", "/runs", headers, body)).await;
        assert_eq!(refused(&answer).1, code, "{headers} {body}");
    }
    let keys = format!("{JSON}Idempotency-Key: a\r\nIdempotency-Key: a\r\n");
    let twice = raw(gateway, &request("POST", "/runs", &keys, &body)).await;
    assert_eq!(refused(&twice).0, 400);

    for path in [
        "/runs?page=2",
        "/runs?limit=1&limit=2",
        "/runs?limit=a",
        "/runs?user=%00",
        "/runs?user=%ff",
        "/runs?cursor=%00",
        "/runs?status=%00",
        "/summary?verbose=1",
        // The year -9999, as a cursor spells it.
        concat!(
            "/runs?cursor=2d3337373730353131363830303030303030302030303030303030303",
            "03030303430303038303030303030303030303030303030",
        ),
    ] {
        let answer = raw(gateway, &request("GET", path, "", "")).await;
        assert_eq!(refused(&answer), (400, "INVALID_REQUEST".to_owned()), "{path}");
        assert!(!answer.contains("\nretry-after:"), "{answer}");
    }
    for path in ["/runs/%ff", "/runs/%00", "/elsewhere", "/problems/none"] {
        let answer = raw(gateway, &request("GET", path, "", "")).await;
        assert_eq!(refused(&answer).0, 404, "{path}");
    }
    let foreign =
        raw(gateway, "GET /runs HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(refused(&foreign.await), (421, "MISDIRECTED_REQUEST".to_owned()));
    // A target that names its server goes before the header.
    for (target, host, status) in
        [("evil.example", "localhost", "421"), ("localhost", "evil.example", "200")]
    {
        let head = format!(
            "GET http://{target}/runs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        );
        let answer = raw(gateway, &head).await;
        assert_eq!(answer.get(9..12), Some(status), "{target}, {host}: {answer}");
    }

    // Too large, and said so before it is sent.
    let head = format!(
        "POST /runs HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 99999999\r\n\
         Expect: 100-continue\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(gateway, &head).await;
    assert_eq!(refused(&answer), (413, "PAYLOAD_TOO_LARGE".to_owned()), "{answer}");

    let page = gateway.get("/problems/method-not-allowed").await;
    assert!(page.text().await.unwrap().contains("METHOD_NOT_ALLOWED"));
    let runs: Vec<Value> = gateway.get("/runs").await.json().await.unwrap();
    assert!(runs.is_empty(), "none of them made a run");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_answers_the_methods_of_a_route_and_a_public_name_is_known() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[("RUNNER_PUBLIC_URL", "http://runner.example:4000")]).await;
    let ask = async |method: &str, path: &str, host: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        raw(&runner.gateway, &head).await
    };
    let id = "00000000-0000-4000-8000-000000000000";
    for (path, allow) in [
        ("/runs".to_owned(), "allow: GET,HEAD,POST"),
        (format!("/runs/{id}"), "allow: GET,HEAD"),
        (format!("/runs/{id}/cancel"), "allow: POST"),
        ("/summary".to_owned(), "allow: GET,HEAD"),
    ] {
        let answer = ask("OPTIONS", &path, "localhost").await;
        assert!(answer.starts_with("HTTP/1.1 204") && answer.contains(allow), "{path}: {answer}");
    }
    assert!(ask("OPTIONS", "/elsewhere", "localhost").await.starts_with("HTTP/1.1 404"));
    assert_eq!(refused(&ask("OPTIONS", "/runs", "evil.example").await).0, 421);
    assert!(ask("GET", "/runs", "runner.example").await.starts_with("HTTP/1.1 200"));
    assert!(ask("GET", "/runs", "Runner.Example:4000").await.starts_with("HTTP/1.1 200"));
    assert_eq!(refused(&ask("GET", "/runs", "evil.example").await).0, 421);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_told_what_it_may_send() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let preflight = "OPTIONS /runs HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\n\
                     Access-Control-Request-Method: POST\r\n\
                     Access-Control-Request-Headers: authorization\r\nConnection: close\r\n\r\n";
    let answer = raw(&runner.gateway, preflight).await.to_lowercase();
    for expected in
        ["access-control-allow-origin: *", "authorization", "if-none-match", "max-age: 3600"]
    {
        assert!(answer.contains(expected), "{answer}");
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_keep_their_text_on_both_ways_in() {
    let fixture = Fixture::new().await;
    let token = "0123456789abcdef";
    let tokens = format!("test:{token}");
    let settings = [("RUNNER_GRPC_PORT", "0"), ("RUNNER_GRPC_TOKENS", tokens.as_str())];
    let (service, started) = fixture.try_start(&settings).await;
    let started = started.unwrap();
    let gateway = Gateway::at(format!("http://{}", started.http));
    let user = fixture.user.address();
    let with = |members: &str| {
        format!(
            r#"{{"user":"{user}","agentId":{},"budgets":{{"runtimeMs":10}}{members}}}"#,
            fixture.agent_id
        )
    };
    let post = async |key: &str, body: String| {
        let headers = format!("{JSON}Idempotency-Key: {key}\r\n");
        raw(&gateway, &request("POST", "/runs", &headers, &body)).await
    };

    for (input, pointer) in [
        (r#"{"rows":[18446744073709551616]}"#, "/input/rows/0"),
        (r#"{"rows":9007199254740992}"#, "/input/rows"),
        ("[0.10000000000000000001]", "/input/0"),
        (r#"{"a":{"b":1,"b":1}}"#, "/input/a/b"),
    ] {
        let answer = post("n", with(&format!(r#","input":{input}"#))).await;
        assert_eq!(refused(&answer).0, 400);
        assert!(answer.contains(&format!(r#""pointer":"{pointer}""#)), "{answer}");
    }
    let answer = post("n", with(r#","metadata":{"a":"\u0000"}"#)).await;
    assert!(answer.contains(r#""pointer":"/metadata/a""#), "{answer}");

    // Metadata is the caller's own text, with a key and without.
    let metadata = r#"{"id":18446744073709551617,"small":1e-999}"#;
    let members = format!(r#","metadata":{metadata},"input":{{"b":1.0,"a":0.1}}"#);
    let first = post("k", with(&members)).await;
    assert!(first.starts_with("HTTP/1.1 202") && first.contains(metadata), "{first}");
    let again = post("k", with(&members)).await;
    assert!(again.contains("idempotency-replayed: true") && again.contains(metadata), "{again}");
    let other = with(&members.replace("617", "616"));
    assert_eq!(refused(&post("k", other).await), (422, "IDEMPOTENCY_MISMATCH".to_owned()));

    // The same request by gRPC is the same run.
    let channel =
        chassis::grpc::client(&format!("http://{}", started.grpc.unwrap()), Some(&token.into()));
    let mut client = RunnerClient::new(channel.unwrap());
    let request = CreateRunRequest {
        user: user.to_string(),
        agent_id: fixture.agent_id,
        budgets: Some(wire::Usage { runtime_ms: 10, ..wire::Usage::default() }.into()),
        metadata_json: Some(metadata.as_bytes().to_vec()),
        input_json: Some(br#"{ "a": 0.1, "b": 1 }"#.to_vec()),
        idempotency_key: Some("k".to_owned()),
        ..CreateRunRequest::default()
    };
    let run = client.create_run(request).await.unwrap().into_inner();
    assert!(first.contains(&run.id), "{first} is not {}", run.id);
    assert_eq!(run.metadata_json.as_deref(), Some(metadata.as_bytes()));
    service.finish(Duration::from_secs(20)).await.unwrap();
}

/// The most memory that a process ever had, in KiB.
pub fn peak(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_takes_much_memory() {
    let fixture = Fixture::new().await;
    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let process = spawn(&fixture, &[("RUNNER_PORT", &port)]);
    gateway.up().await;
    let text = "INSERT INTO runs (id, user_account, agent_id, budgets, metadata, input, \
                input_digest, \
            seed, status, phase, attempt, traceparent, created_at, updated_at) \
         SELECT gen_random_uuid(), $1, 1, \
            '{\"llm_in\":0,\"llm_out\":0,\"http_calls\":0,\"runtime_ms\":1}', \
            '{}', convert_to(repeat('x', 1048576), 'UTF8'), decode(repeat('00', 32), 'hex'), 1, \
            'failed', 'done', 1, '', now(), now() FROM generate_series(1, 300)";
    let user = fixture.user.address().to_string();
    sqlx::query(text).bind(&user).execute(&fixture.db.pool).await.unwrap();
    let text = "INSERT INTO attempts (run_id, number, nonce, statement, shipping, created_at) \
         SELECT id, 1, decode(md5(id::text) || md5(id::text), 'hex'), \
            convert_to(repeat('s', 65536), 'UTF8'), convert_to(repeat('v', 65536), 'UTF8'), now() \
         FROM runs";
    sqlx::query(text).execute(&fixture.db.pool).await.unwrap();

    let before = peak(&process);
    let paths = ["/runs", "/runs?status=failed", "/runs", "/summary"];
    let answers = futures::future::join_all(paths.map(|path| gateway.get(path))).await;
    let runs: Vec<Value> = answers.into_iter().next().unwrap().json().await.unwrap();
    assert_eq!(runs.len(), 300);

    // A request of small values, each of which would be large in a tree.
    let mut body = fixture.body();
    body["input"] = json!([]);
    let input = format!("[{}0]", "{\"\":0},".repeat(145_000));
    let body = body.to_string().replace("\"input\":[]", &format!("\"input\":{input}"));
    let answer = raw(&gateway, &request("POST", "/runs", JSON, &body)).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");

    let taken = (peak(&process) - before) / 1024;
    assert!(taken < 64, "{taken} MiB were taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_their_lists_take_little_memory_however_many_they_are() {
    let fixture = Fixture::new().await;
    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let process = spawn(&fixture, &[("RUNNER_PORT", &port)]);
    gateway.up().await;
    let text = "INSERT INTO runs (id, user_account, agent_id, budgets, metadata, input, \
                input_digest, \
            seed, status, phase, attempt, traceparent, created_at, updated_at) \
         SELECT gen_random_uuid(), $1, 1, \
            '{\"llm_in\":0,\"llm_out\":0,\"http_calls\":0,\"runtime_ms\":1}', \
            ('{\"a\":\"' || repeat('x', 16000) || '\"}')::json, '', \
            decode(repeat('00', 32), 'hex'), 1, \
            'failed', 'done', 1, '', now(), now() FROM generate_series(1, 300)";
    let user = fixture.user.address().to_string();
    sqlx::query(text).bind(&user).execute(&fixture.db.pool).await.unwrap();
    let text = "INSERT INTO attempts (run_id, number, nonce, created_at) \
         SELECT id, 1, decode(md5(id::text) || md5(id::text), 'hex'), now() FROM runs";
    sqlx::query(text).execute(&fixture.db.pool).await.unwrap();

    // A page ends by its size, and the list goes on.
    let (mut path, mut seen) = ("/runs".to_owned(), 0);
    loop {
        let answer = gateway.get(&path).await;
        let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let body = answer.text().await.unwrap();
        assert!(body.len() < 1_100_000, "{} bytes", body.len());
        seen += serde_json::from_str::<Vec<Value>>(&body).unwrap().len();
        let Some(link) = link else { break };
        link.trim_start_matches('<').split('>').next().unwrap().clone_into(&mut path);
    }
    assert_eq!(seen, 300);

    let before = peak(&process);
    let mut unread = Vec::new();
    for _ in 0..150 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(gateway.address().parse().unwrap()).await.unwrap();
        stream.write_all(request("GET", "/runs", "", "").as_bytes()).await.unwrap();
        unread.push(stream);
    }
    // The head says that an answer was made; the rest stays where it is.
    let heads = unread.iter_mut().map(|stream| async move {
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        String::from_utf8_lossy(&head[9..]).into_owned()
    });
    let statuses = futures::future::join_all(heads).await;
    let count = |wanted: &str| statuses.iter().filter(|status| *status == wanted).count();
    let (served, refused) = (count("200"), count("503"));
    assert_eq!(served + refused, statuses.len(), "{statuses:?}");
    assert!((8..=32).contains(&served), "{served} of one address have an answer");
    let taken = (peak(&process) - before) / 1024;
    assert!(taken < 128, "{taken} MiB were taken");

    // What is small is answered meanwhile, and the others when those are gone.
    assert_eq!(gateway.get("/summary").await.status(), 200);
    drop(unread);
    eventually(|| async { gateway.get("/runs").await.status() == 200 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calling_off_a_run_for_which_nothing_was_signed_costs_nothing() {
    let fixture = Fixture::new().await;
    let (port, gateway, id) = dead_at(&fixture, "open.before_persist", &[]).await;

    // The node is away: the run stays where it is.
    let away = [("RUNNER_PORT", port.as_str()), ("RUNNER_RPC_URL", "http://127.0.0.1:9")];
    let waiting = spawn(&fixture, &away);
    gateway.up().await;
    let run: Value = gateway.get(&format!("/runs/{id}")).await.json().await.unwrap();
    assert_eq!(run["phase"], "queued", "nothing is pinned before it is signed and stored");
    let first = gateway.post(&format!("/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!(first.status(), 200);
    let first: Value = first.json().await.unwrap();
    assert_eq!((&first["status"], &first["escrow"]), (&json!("cancelled"), &json!("none")));
    let again = gateway.post(&format!("/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!((again.status().as_u16(), again.json::<Value>().await.unwrap()), (200, first));
    drop(waiting);

    let runner = fixture.start(&[]).await;
    let other = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.ended(&other, "failed").await;
    assert_eq!(fixture.succeeded(&id, "open").await, 0);
    let signed: i64 =
        sqlx::query_scalar("SELECT count(*) FROM calls WHERE run_id = $1 AND state <> 'withdrawn'")
            .bind(id.parse::<uuid::Uuid>().unwrap())
            .fetch_one(&fixture.db.pool)
            .await
            .unwrap();
    assert_eq!(signed, 0);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_an_operators_hands_says_so() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.ended(&id, "failed").await;
    let late = runner.gateway.post(&format!("/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!(late.status(), 409);
    assert_eq!(late.json::<Value>().await.unwrap()["code"], "RUN_NOT_CANCELLABLE");
    let text = "UPDATE runs SET operator_reason = 'nothing is known', phase = 'executing', \
                status = 'running' WHERE id = $1";
    let uuid: uuid::Uuid = id.parse().unwrap();
    sqlx::query(text).bind(uuid).execute(&fixture.db.pool).await.unwrap();
    for what in ["cancel", "retry"] {
        let answer = runner.gateway.post(&format!("/runs/{id}/{what}"), &Value::Null).await;
        assert_eq!(answer.status(), 409);
        let body: Value = answer.json().await.unwrap();
        assert!(body["detail"].as_str().unwrap().contains("operator"), "{body}");
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_ten_seconds_at_most_whatever_clients_do() {
    let fixture = Fixture::new().await;
    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let mut process = spawn(&fixture, &[("RUNNER_PORT", &port)]);
    gateway.up().await;
    let mut half = TcpStream::connect(gateway.address()).await.unwrap();
    let head =
        format!("POST /runs HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 99\r\n\r\n");
    half.write_all(head.as_bytes()).await.unwrap();
    let mut silent = TcpStream::connect(gateway.address()).await.unwrap();
    silent.write_all(b"GET /ru").await.unwrap();
    // Both are being served, not only waiting to be accepted.
    gateway.get("/live").await;

    let pid = process.0.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    let asked_at = tokio::time::Instant::now();
    let ended = process.has_ended().await;
    assert!(ended.success(), "{ended}");
    assert!(asked_at.elapsed() < Duration::from_secs(10), "{:?}", asked_at.elapsed());
}
