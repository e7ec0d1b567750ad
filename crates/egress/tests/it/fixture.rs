//! A proxy over one service, and requests as a module would make them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use egress::{Credential, Engine, Limits, Plan, Proxy, Report, Route, Source};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use testkit::Upstream;
pub use testkit::openai::{completion, delta, usage};
use wire::Usage;
use wire::egress::{Call, UpstreamKind, recompute};

pub const KEY: &str = "sk-test-0123456789abcdef";
pub const PLENTY: Usage =
    Usage { llm_in: 1_000_000, llm_out: 1_000_000, http_calls: 10_000, runtime_ms: 0 };

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::start().unwrap());

pub struct Fixture {
    proxy: Option<Proxy>,
    client: Client,
    base: String,
}

/// Limits that no service reaches by being slow, however busy the machine is.
pub fn limits() -> Limits {
    Limits {
        idle: Duration::from_secs(60),
        total: Duration::from_secs(120),
        response_bytes: 1 << 20,
        ..Limits::default()
    }
}

/// Limits for tests of services that are too slow.
pub fn impatient() -> Limits {
    let (idle, total) = (Duration::from_millis(400), Duration::from_millis(1_500));
    Limits { idle, total, ..limits() }
}

pub fn route(kind: UpstreamKind, url: &str) -> Route {
    let (header, prefix) = match kind {
        UpstreamKind::Anthropic => ("x-api-key", ""),
        _ => ("authorization", "Bearer "),
    };
    Route {
        name: "model".to_owned(),
        kind,
        url: url.parse().unwrap(),
        models: Vec::new(),
        methods: Vec::new(),
        paths: Vec::new(),
        keeps_bodies: true,
        credential: Some(Credential::new(header, prefix, KEY.to_owned().into()).unwrap()),
        limits: limits(),
    }
}

impl Fixture {
    pub fn of(kind: UpstreamKind, upstream: &Upstream) -> Self {
        Self::with(route(kind, &upstream.url()), PLENTY)
    }

    pub fn with(route: Route, budgets: Usage) -> Self {
        let client = egress::proxy::client(&route, &[]).unwrap();
        let source = Source::Live(vec![client]);
        Self::plan(Plan { routes: vec![route], budgets, source, records: true, open: true })
    }

    pub fn plan(plan: Plan) -> Self {
        let proxy = Proxy::start(&ENGINE, plan).unwrap();
        let base = format!("http://{}", proxy.listener());
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        Self { proxy: Some(proxy), client: client.build().unwrap(), base }
    }

    pub fn address(&self) -> std::net::SocketAddrV4 {
        self.proxy.as_ref().unwrap().listener()
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}/model{path}", self.base))
    }

    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}/model{path}", self.base)).json(body)
    }

    /// Status and body; nothing where the answer broke off.
    pub async fn chat(&self, more: Value) -> Option<(u16, String)> {
        fetch(self.post("/chat/completions", &chat(more))).await
    }

    /// What was done, after it was recomputed from the list as a verifier does.
    pub async fn finish(mut self) -> (Report, Vec<Call>) {
        let proxy = self.proxy.take().unwrap();
        let report = tokio::task::spawn_blocking(|| proxy.finish()).await.unwrap();
        let calls = recompute(&report.list, &report.egress).unwrap();
        let listed = String::from_utf8_lossy(&report.list);
        let bodies = String::from_utf8_lossy(&report.bodies);
        assert!(!listed.contains(KEY) && !bodies.contains(KEY), "the credential is not recorded");
        (report, calls)
    }
}

pub async fn fetch(request: RequestBuilder) -> Option<(u16, String)> {
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.text().await.ok()?))
}

/// Sends a request byte by byte on a connection of its own, and reads its answer in the same way.
pub fn raw(fixture: &Fixture, line: &str, headers: &[&str], body: &[u8]) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    // Only one header of a name is heeded by everybody.
    let close = if headers.contains("connection:") { "" } else { "connection: close\r\n" };
    let length = body.len();
    let head = format!("{line}\r\nhost: x\r\n{close}{headers}content-length: {length}\r\n\r\n");
    let mut stream = TcpStream::connect(fixture.address()).unwrap();
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    // The answer ends with its connection: nothing more is asked.
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn chat(more: Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hello" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}
