//! No setting gives its secret away (R9): not by an answer, a log line, a metric, a span, an event
//! or the process list.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use stellar::Keypair;
use testkit::eventually;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use wire::pb::runner::v1::runner_client::RunnerClient;
use wire::pb::runner::v1::{
    CancelRunRequest, CreateRunRequest, GetAgentRequest, GetRunRequest, GetSummaryRequest,
    ListAgentsRequest, ListGrantsRequest, ListRunsRequest, QuoteRequest, RetryRunRequest,
    WatchRunRequest, WatchRunsRequest,
};

use crate::crashing::{Process, free_port};
use crate::fixture::{Fixture, Gateway};
use crate::login::log_in_at;

/// Part of every secret that is a free text.
const CANARY: &str = "canary7f3a";

/// Keeps all spans and metrics that it is sent, as text.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<String>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push_str(&format!("{:?}\n", request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.lock().unwrap().push_str(&format!("{:?}\n", request.into_inner()));
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

impl Collector {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(self.clone()))
            .add_service(MetricsServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        url
    }
}

/// The same address with a user and a password that the server does not ask for.
fn with_secret(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let rest = rest.rsplit('@').next().unwrap();
    format!("{scheme}://{CANARY}user:{CANARY}password@{rest}")
}

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
    let fixture = Fixture::new().await;
    let (login, token_key) = (Keypair::from_seed(&[51; 32]), "c5".repeat(32));
    fixture.localnet.fund(&login.address().to_string()).await.unwrap();
    let [port, grpc_port, metrics_port] = [free_port().await, free_port().await, free_port().await];
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let mut database = url::Url::parse(&fixture.db.url).unwrap();
    // A server that asks for a password has one that nobody may see; one that asks for none takes
    // any.
    let password = match database.password() {
        Some(password) => password.to_owned(),
        None => format!("{CANARY}password"),
    };
    database.set_password(Some(&password)).unwrap();
    let (nats, database) = (with_secret(&fixture.bus.url), database.to_string());
    let gate = format!("http://{CANARY}u:{CANARY}p@127.0.0.1:9");
    let token = format!("{CANARY}token0123456789");
    let tokens = format!("test:{token}");
    let login_secret = login.secret().to_string();
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let node = with_secret(&fixture.localnet.url());
    let fallback = format!("http://{CANARY}u:{CANARY}p@127.0.0.1:9/{CANARY}path?apikey={CANARY}");
    let exporter = with_secret(&endpoint);
    // Shown what only operators are shown as well.
    let operator = fixture.user.address().to_string();

    // A node that answers, so that a run gets as far as the gates; and one that does not.
    for path in ["/", &format!("/{CANARY}path")] {
        let rpc = format!("{node}{path}?apikey={CANARY}key#{CANARY}");
        let more = [
            ("RUNNER_PORT", port.as_str()),
            ("RUNNER_RPC_URL", &rpc),
            ("RUNNER_RPC_FALLBACK_URLS", &fallback),
            ("RUNNER_OPERATORS", &operator),
            ("DATABASE_URL", &database),
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
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &exporter),
            ("OTEL_EXPORTER_PROMETHEUS_PORT", &metrics_port),
        ];
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command.arg("serve").env_clear().envs(fixture.settings(&more)).current_dir("/");
        command
            .stdout(Stdio::from(log.reopen().unwrap()))
            .stderr(Stdio::from(log.reopen().unwrap()));
        let mut process = Process(command.spawn().unwrap());
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
        let metrics = Gateway::at(format!("http://127.0.0.1:{metrics_port}"));
        let metrics = metrics.get("/metrics").await.text().await.unwrap();
        assert!(metrics.contains("lumio_runner_runs"), "{metrics}");
        shown.push_str(&metrics);
        let listing = std::fs::read(format!("/proc/{}/cmdline", process.0.id())).unwrap();
        shown.push_str(&String::from_utf8_lossy(&listing));

        // An orderly stop sends the last spans.
        let pid = process.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        eventually(|| {
            let ended = process.0.try_wait().unwrap();
            async move { ended }
        })
        .await;
        let events: Vec<String> = sqlx::query_scalar("SELECT body FROM outbox")
            .fetch_all(&fixture.db.pool)
            .await
            .unwrap();
        shown.push_str(&events.concat());
        shown.push_str(&std::fs::read_to_string(log.path()).unwrap());
        let exported = std::mem::take(&mut *collector.0.lock().unwrap());
        assert!(exported.contains("ResourceSpans") && exported.contains("ResourceMetrics"));
        shown.push_str(&exported);

        let keys = [&fixture.runner, &fixture.source, &login].map(|key| key.secret().to_string());
        let secrets = keys.into_iter().chain(given).chain([CANARY.to_owned(), token_key.clone()]);
        for secret in secrets {
            let found = shown.lines().find(|line| line.contains(&secret));
            let line: String = found.unwrap_or_default().chars().take(2_000).collect();
            assert!(found.is_none(), "{secret} is in: {line}");
        }
    }
}
