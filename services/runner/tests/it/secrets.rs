//! No setting gives its secret away (R9): not by an answer, a log line, a metric, a span, an event
//! or the process list.

use stellar::Keypair;
use testkit::eventually;
use testkit::secrets::{
    CANARY, RecordedProcess, assert_all_are_considered, assert_none_is_shown, free_port,
    with_password, with_secret,
};
use testkit::softhsm::SoftHsm;
use tonic::Request;
use wire::pb::runner::v1::runner_client::RunnerClient;
use wire::pb::runner::v1::{
    CancelRunRequest, CreateRunRequest, GetAgentRequest, GetRunRequest, GetSummaryRequest,
    ListAgentsRequest, ListGrantsRequest, ListRunsRequest, QuoteRequest, RetryRunRequest,
    WatchRunRequest, WatchRunsRequest,
};

use crate::fixture::{Fixture, Gateway};
use crate::login::log_in_at;

/// Settings that may hold a secret; each is filled by a test of this file.
const SECRET: [&str; 18] = [
    "DATABASE_URL",
    "NATS_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "RUNNER_SECRET",
    "RUNNER_SOURCE_SECRET",
    "RUNNER_PKCS11_PIN",
    "RUNNER_PKCS11_PIN_FILE",
    "RUNNER_RPC_URL",
    "RUNNER_RPC_FALLBACK_URLS",
    "RUNNER_GRPC_TOKENS",
    "RUNNER_AUTH_SECRET",
    "RUNNER_TOKEN_SECRET",
    "RUNNER_PUBLIC_URL",
    "RUNNER_BROWSER_RPC_URL",
    "RUNNER_MODULE_GATE_URL",
    "RUNNER_MODULE_GATE_TOKEN",
    "RUNNER_ORACLE_GATE_URL",
    "RUNNER_ORACLE_GATE_TOKEN",
];

/// Settings that hold none.
const OPEN: [&str; 64] = [
    "NATS_PREFIX",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_EXPORTER_PROMETHEUS_HOST",
    "OTEL_EXPORTER_PROMETHEUS_PORT",
    "LUMIO_CONFINE",
    "RUNNER_PUBLIC_KEY",
    "RUNNER_SIGNER",
    "RUNNER_PKCS11_MODULE",
    "RUNNER_PKCS11_TOKEN",
    "RUNNER_PKCS11_KEY",
    "RUNNER_PKCS11_SOURCE_KEYS",
    "RUNNER_PKCS11_TIMEOUT_MS",
    "RUNNER_PKCS11_PATHS",
    "RUNNER_NETWORK_PASSPHRASE",
    "RUNNER_CONTRACT_ID",
    "RUNNER_AGENT_REGISTRY_ID",
    "RUNNER_BIND",
    "RUNNER_PORT",
    "RUNNER_GRPC_PORT",
    "RUNNER_AUTH",
    "RUNNER_HOME_DOMAIN",
    "RUNNER_WEB_AUTH_CONTRACT_ID",
    "RUNNER_OPERATORS",
    "RUNNER_TOKEN_SECS",
    "RUNNER_SESSION_SECS",
    "RUNNER_ROLE",
    "RUNNER_ALLOW_INSECURE_BIND",
    "RUNNER_CORS_ORIGIN",
    "RUNNER_CONSOLE_DIR",
    "RUNNER_PASSKEY_WASM_HASH",
    "RUNNER_CONSOLE_CONNECT",
    "RUNNER_RATE_LIMIT",
    "RUNNER_ADDRESS_RATE_LIMIT",
    "RUNNER_PROXIES",
    "RUNNER_POLL_INTERVAL_MS",
    "RUNNER_FINALIZE_ON_ERROR",
    "RUNNER_LOG_LEVEL",
    "RUNNER_STATE_PATH",
    "RUNNER_WORKERS",
    "RUNNER_BATCH_MAX_DELAY_MS",
    "RUNNER_BATCH_MAX_CALLS",
    "RUNNER_EXECUTIONS",
    "RUNNER_MAX_QUEUE",
    "RUNNER_MAX_RUNS_PER_USER",
    "RUNNER_MAX_RUNS_PER_AGENT",
    "RUNNER_LEAST_WORTH_STROOPS",
    "RUNNER_WORTH_WINDOW_SECS",
    "RUNNER_MAX_OPENS_PER_USER",
    "RUNNER_MAX_OPENS_PER_DEVELOPER",
    "RUNNER_MAX_FAILURES_PER_USER",
    "RUNNER_MAX_FAILURES_PER_DEVELOPER",
    "RUNNER_CHANNEL_LEAST_STROOPS",
    "RUNNER_LEASE_MS",
    "RUNNER_DEADLINE_SECS",
    "RUNNER_DEADLINE_MARGIN_SECS",
    "RUNNER_WALL_LIMIT_MS",
    "RUNNER_MAX_FEE_STROOPS",
    "RUNNER_MAX_RUN_FEE_STROOPS",
    "RUNNER_MAX_DAY_FEE_STROOPS",
    "RUNNER_BUMP_AFTER_LEDGERS",
    "RUNNER_FEE_STROOPS",
    "RUNNER_ATTESTATION_KEYS",
];

/// What every method of gRPC answers, refusals included, without a user's token and with one.
async fn grpc_answers(
    url: &str,
    token: &str,
    user_token: &str,
    fixture: &Fixture,
    id: &str,
) -> String {
    let channel = chassis::grpc::client(url, Some(&token.into())).unwrap();
    let mut client = RunnerClient::new(channel);
    let create = CreateRunRequest {
        user: fixture.user.address().to_string(),
        agent_id: fixture.agent_id,
        budgets: Some(wire::Usage { runtime_ms: 10, ..wire::Usage::default() }.into()),
        ..CreateRunRequest::default()
    };
    let mut shown = String::new();
    for user in ["", user_token, "forged"] {
        macro_rules! call {
            ($method:ident, $request:expr) => {{
                let mut request = Request::new($request);
                if !user.is_empty() {
                    request.metadata_mut().insert("lumio-user-token", user.parse().unwrap());
                }
                shown.push_str(&format!("{:?}\n", client.$method(request).await));
            }};
        }
        call!(create_run, create.clone());
        call!(create_run, CreateRunRequest::default());
        call!(get_run, GetRunRequest { id: id.to_owned() });
        call!(list_runs, ListRunsRequest::default());
        call!(retry_run, RetryRunRequest { id: id.to_owned() });
        call!(get_summary, GetSummaryRequest {});
        call!(watch_run, WatchRunRequest { id: id.to_owned(), ..WatchRunRequest::default() });
        call!(watch_runs, WatchRunsRequest::default());
        call!(list_agents, ListAgentsRequest::default());
        call!(get_agent, GetAgentRequest { agent_id: fixture.agent_id });
        call!(list_grants, ListGrantsRequest { user: fixture.user.address().to_string() });
        let (budgets, agent_id) = (create.budgets, fixture.agent_id);
        call!(quote, QuoteRequest { budgets, agent_id, ..QuoteRequest::default() });
        // Last: the run that the others ask for goes on until then.
        call!(cancel_run, CancelRunRequest { id: id.to_owned() });
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_gives_its_secret_away() {
    assert_all_are_considered("runner", &SECRET, &OPEN);
    let fixture = Fixture::new().await;
    let (login, token_key) = (Keypair::from_seed(&[51; 32]), "c5".repeat(32));
    fixture.localnet.fund(&login.address().to_string()).await.unwrap();
    let [port, grpc_port] = [free_port().await, free_port().await].map(|port| port.to_string());
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let (database, password) = with_password(&fixture.db.url);
    let gate = format!("http://{CANARY}u:{CANARY}p@127.0.0.1:9");
    let token = format!("{CANARY}token0123456789");
    let tokens = format!("test:{token}");
    let login_secret = login.secret().to_string();
    let node = with_secret(&fixture.localnet.url());
    let fallback = format!("http://{CANARY}u:{CANARY}p@127.0.0.1:9/{CANARY}path?apikey={CANARY}");
    let hsm = SoftHsm::new();
    hsm.make_token("lumio");
    let pin = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(pin.path(), format!("{CANARY}wrongpin\n")).unwrap();
    let account = fixture.runner.address().to_string();
    let pin = pin.path().to_str().unwrap();
    // Shown what only operators are shown as well.
    let operator = fixture.user.address().to_string();

    // A node and a bus that answer, so that a run gets as far as the gates, and keys of the process
    // itself; then a node and a bus that do not, and a token that refuses its PIN.
    for path in ["/", &format!("/{CANARY}path")] {
        let is_away = path != "/";
        let nats = with_secret(if is_away { "nats://127.0.0.1:9" } else { &fixture.bus.url });
        let rpc = format!("{node}{path}?apikey={CANARY}key#{CANARY}");
        let mut more = vec![
            ("RUNNER_PORT", port.as_str()),
            ("RUNNER_RPC_URL", &rpc),
            ("RUNNER_RPC_FALLBACK_URLS", &fallback),
            ("RUNNER_OPERATORS", &operator),
            ("DATABASE_URL", database.as_str()),
            ("NATS_URL", &nats),
            ("RUNNER_AUTH", "login"),
            ("RUNNER_AUTH_SECRET", &login_secret),
            ("RUNNER_TOKEN_SECRET", &token_key),
            ("RUNNER_GRPC_PORT", &grpc_port),
            ("RUNNER_GRPC_TOKENS", &tokens),
            ("RUNNER_MODULE_GATE_URL", &gate),
            ("RUNNER_MODULE_GATE_TOKEN", &token),
            ("RUNNER_ORACLE_GATE_URL", &gate),
            ("RUNNER_ORACLE_GATE_TOKEN", &token),
            ("RUNNER_LOG_LEVEL", "trace"),
        ];
        let token_settings = hsm.settings("lumio");
        if is_away {
            more.extend(token_settings.iter().map(|(name, value)| (*name, value.as_str())));
            more.retain(|(name, _)| *name != "RUNNER_PKCS11_PIN");
            more.extend([
                ("RUNNER_SECRET", ""),
                ("RUNNER_PUBLIC_KEY", account.as_str()),
                ("RUNNER_PKCS11_KEY", "runner"),
                ("RUNNER_PKCS11_PIN_FILE", pin),
            ]);
        }
        let process =
            RecordedProcess::start(env!("CARGO_BIN_EXE_runner"), &fixture.settings(&more)).await;
        gateway.up().await;
        eventually(|| async {
            let health = gateway.get("/health").await.text().await.unwrap();
            !health.contains("not asked yet")
        })
        .await;

        let mut shown = String::new();
        let mut given = vec![password.clone()];
        let (mut caller, mut id) = (gateway.clone(), "none".to_owned());
        if path == "/" {
            let session = log_in_at(&gateway, &fixture.user).await;
            for name in ["token", "refresh_token"] {
                given.push(session[name].as_str().unwrap().to_owned());
            }
            caller = gateway.as_user(&given[1]);
            id = caller.accepted(&fixture.body()).await;
            caller.until(&id, |run| run["waitingFor"].is_string()).await;
        }
        let paths = ["/summary", "/health", "/ready", "/runs", "/runs?cursor=zz", "/auth/session"];
        for path in paths.map(str::to_owned).into_iter().chain([
            format!("/runs/{id}"),
            format!("/auth?account={}", fixture.user.address()),
            "/.well-known/stellar.toml".to_owned(),
            "/auth?account=x".to_owned(),
            "/config.json".to_owned(),
            "/agents".to_owned(),
            format!("/agents/{}", fixture.agent_id),
            format!("/grants/{}", fixture.user.address()),
            format!("/receipts/{}", fixture.user.address()),
            format!("/runs/{id}/timeline"),
            format!("/runs/{id}/attempts"),
            format!("/runs/{id}/outputs"),
            format!("/runs/{id}/bundle"),
            "/operator/queue".to_owned(),
            "/operator/dead-letters".to_owned(),
            format!("/operator/dead-letters/{id}"),
            "/operator/packs".to_owned(),
            format!("/operator/packs/{id}/check"),
            "/operator/verdicts".to_owned(),
            "/operator/reconciliation".to_owned(),
            "/operator/intake".to_owned(),
        ]) {
            shown.push_str(&caller.get(&path).await.text().await.unwrap());
        }
        // These go on: their beginning is enough.
        for path in ["/events".to_owned(), format!("/runs/{id}/events")] {
            let piece = caller.get(&path).await.chunk().await.unwrap().unwrap_or_default();
            shown.push_str(&String::from_utf8_lossy(&piece));
        }
        let quote = serde_json::json!({ "agentId": fixture.agent_id, "budgets": { "llmIn": 1 } });
        shown.push_str(&caller.post("/quote", &quote).await.text().await.unwrap());
        let forged = serde_json::json!({ "refresh_token": "x" });
        let refused = gateway.post("/auth/refresh", &forged).await;
        shown.push_str(&refused.text().await.unwrap());
        let url = format!("http://127.0.0.1:{grpc_port}");
        let user_token = given.get(1).map_or("x", String::as_str);
        shown.push_str(&grpc_answers(&url, &token, user_token, &fixture, &id).await);
        let said = process.stop().await;
        assert!(said.contains("lumio_runner_runs"));
        shown.push_str(&said);
        let events: Vec<String> = sqlx::query_scalar("SELECT body FROM outbox")
            .fetch_all(&fixture.db.pool)
            .await
            .unwrap();
        shown.push_str(&events.concat());
        let keys = [&fixture.runner, &fixture.source, &login].map(|key| key.secret().to_string());
        let secrets = keys.iter().chain(&given).map(String::as_str);
        assert_none_is_shown(&shown, secrets.chain([CANARY, &token_key]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_named_without_its_value() {
    let fixture = Fixture::new().await;
    let wrong = format!("{CANARY} \\ {CANARY}://");
    let [database, node, public] =
        ["postgres://127.0.0.1:9/db", "https://node.example", "https://runner.example"]
            .map(with_secret);
    let signing = fixture.runner.secret().to_string();
    let cases = [
        ("DATABASE_URL", wrong.as_str()),
        ("DATABASE_URL", database.as_str()),
        ("NATS_URL", &wrong),
        ("RUNNER_SECRET", &wrong),
        ("RUNNER_SOURCE_SECRET", &wrong),
        ("RUNNER_SOURCE_SECRET", &signing),
        ("RUNNER_RPC_URL", &wrong),
        ("RUNNER_RPC_FALLBACK_URLS", &wrong),
        ("RUNNER_GRPC_TOKENS", &wrong),
        ("RUNNER_AUTH_SECRET", &wrong),
        ("RUNNER_AUTH_SECRET", &signing),
        ("RUNNER_TOKEN_SECRET", &wrong),
        ("RUNNER_PUBLIC_URL", &public),
        ("RUNNER_BROWSER_RPC_URL", &node),
        ("RUNNER_MODULE_GATE_URL", &wrong),
        ("RUNNER_ORACLE_GATE_URL", &wrong),
        // Beside the file.
        ("RUNNER_PKCS11_PIN", &wrong),
    ];
    let starts = cases.map(async |(name, value)| {
        let token_key = "a7".repeat(32);
        let login = Keypair::from_seed(&[51; 32]).secret().to_string();
        let mut more = vec![
            ("RUNNER_AUTH", "login"),
            ("RUNNER_AUTH_SECRET", &login),
            ("RUNNER_TOKEN_SECRET", &token_key),
            ("RUNNER_MODULE_GATE_URL", "http://127.0.0.1:9"),
            ("RUNNER_MODULE_GATE_TOKEN", "0123456789abcdef"),
            ("RUNNER_ORACLE_GATE_URL", "http://127.0.0.1:9"),
            ("RUNNER_ORACLE_GATE_TOKEN", "0123456789abcdef"),
        ];
        if name.contains("PKCS11") {
            more.push(("RUNNER_SIGNER", "pkcs11"));
            more.push(("RUNNER_PKCS11_PIN_FILE", "/"));
        }
        more.retain(|(other, _)| *other != name);
        more.push((name, value));
        let process =
            RecordedProcess::start(env!("CARGO_BIN_EXE_runner"), &fixture.settings(&more)).await;
        let (status, said) = process.ended().await;
        // A database that is away may be there later; all else is a wrong setting (C1).
        let code = if value == database { 2 } else { 3 };
        assert_eq!(status.code(), Some(code), "{name}: {said}");
        assert!(said.contains(name) || name == "RUNNER_PKCS11_PIN", "{name}: {said}");
        assert_none_is_shown(&said, [CANARY, &signing, &login, &token_key]);
    });
    futures::future::join_all(starts).await;
}
