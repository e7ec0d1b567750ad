//! What a process shows of itself while its settings hold secrets (R9): answers, log, metrics,
//! spans, and its line in the list of processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tonic::transport::Server;

use crate::{Collector, eventually};

/// Part of every secret that is a free text.
pub const CANARY: &str = "canary7f3a";

/// The same address with a user and a password that the server does not ask for.
pub fn with_secret(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let rest = rest.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{CANARY}user:{CANARY}password@{rest}")
}

/// The database's address with a password that must not be seen, and that password. A server that
/// asks for one has one that must not be shown; one that asks for none takes any.
pub fn with_password(url: &str) -> (String, String) {
    let mut url = url::Url::parse(url).expect("a URL");
    let password = url.password().map_or_else(|| format!("{CANARY}password"), str::to_owned);
    url.set_password(Some(&password)).expect("a URL with a host");
    (url.into(), password)
}

/// Every setting of `.env.example` in the sections "all services" and `section`, so that a new one
/// has to be considered: a test fills it with a `secret`, or it is one of the `open` ones.
///
/// # Panics
///
/// When one is in neither list or in both, or a list names one that there is not.
pub fn assert_all_are_considered(section: &str, secret: &[&str], open: &[&str]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.env.example");
    let text = fs::read_to_string(file).expect(".env.example");
    let (mut here, mut settings) = (false, BTreeSet::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("# --- ") {
            here = ["all services", section].contains(&title);
        } else if let Some((name, _)) = line.split_once('=').filter(|_| here)
            && !line.starts_with('#')
        {
            settings.insert(name);
        }
    }
    assert!(settings.len() > 5, "{section}: {settings:?}");
    let listed: Vec<_> = secret.iter().chain(open).copied().collect();
    let set: BTreeSet<_> = listed.iter().copied().collect();
    assert_eq!(set.len(), listed.len(), "a setting is named twice");
    let new: Vec<_> = settings.difference(&set).collect();
    assert!(new.is_empty(), "say of these settings whether they may hold a secret: {new:?}");
    let gone: Vec<_> = set.difference(&settings).collect();
    assert!(gone.is_empty(), "{section} has no such settings: {gone:?}");
}

/// Fails with the first line of `shown` that holds one of `secrets`.
///
/// # Panics
///
/// When there is one.
pub fn assert_none_is_shown<'a>(shown: &str, secrets: impl IntoIterator<Item = &'a str>) {
    for secret in secrets {
        let found = shown.lines().find(|line| line.contains(secret));
        let line: String = found.unwrap_or_default().chars().take(2_000).collect();
        assert!(found.is_none(), "{secret} is in: {line}");
    }
}

/// A port that was free just now.
pub async fn free_port() -> u16 {
    let listener = TcpListener::bind(crate::ANY_PORT).await.expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A service as a process whose every word is kept.
#[derive(Debug)]
pub struct RecordedProcess {
    child: Child,
    log: NamedTempFile,
    collector: Collector,
    metrics_port: u16,
}

impl RecordedProcess {
    /// Runs `program serve` with these settings and none of the test's own. It exports its spans
    /// and metrics to a collector whose address and headers hold secrets.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub async fn start(program: &str, settings: &[(String, String)]) -> Self {
        let collector = Collector::default();
        let exporter = format!("http://127.0.0.1:{}", collector.serve(Server::builder()).await);
        let (exporter, metrics_port) = (with_secret(&exporter), free_port().await);
        let log = NamedTempFile::new().expect("a file for the log");
        let output = || Stdio::from(log.reopen().expect("the log"));
        let mut command = Command::new(program);
        command.arg("serve").env_clear().current_dir("/").stdout(output()).stderr(output());
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", exporter);
        command.env("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer {CANARY}header"));
        command.env("OTEL_EXPORTER_PROMETHEUS_PORT", metrics_port.to_string());
        let child = command.spawn().expect("the program starts");
        Self { child, log, collector, metrics_port }
    }

    /// What it has logged so far.
    ///
    /// # Panics
    ///
    /// When the log cannot be read.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).expect("the log")
    }

    /// Waits until it has logged `text`.
    ///
    /// # Panics
    ///
    /// When it ends before, or does not.
    pub async fn says(&mut self, text: &str) {
        eventually(|| {
            let (log, ended) = (self.log(), self.child.try_wait().expect("its state"));
            assert!(ended.is_none() || log.contains(text), "{ended:?}: {log}");
            std::future::ready(log.contains(text))
        })
        .await;
    }

    /// Waits until it ends on its own; returns how, and what it printed.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let status = eventually(|| {
            let ended = self.child.try_wait().expect("its state");
            std::future::ready(ended)
        })
        .await;
        (status, self.log())
    }

    /// Stops it, and answers its metrics, its line in the list of processes, its log, and all that
    /// it exported.
    ///
    /// # Panics
    ///
    /// When one of these is empty.
    pub async fn stop(mut self) -> String {
        let id = self.child.id();
        let mut shown = metrics(self.metrics_port).await;
        let line = fs::read(format!("/proc/{id}/cmdline")).expect("its line");
        shown.push_str(&String::from_utf8_lossy(&line));
        // An orderly stop sends the last spans.
        let pid = nix::unistd::Pid::from_raw(id.try_into().expect("a process id"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        eventually(|| std::future::ready(self.child.try_wait().expect("its state"))).await;
        shown.push_str(&self.log());
        let exported = format!("{:?}\n{:?}", self.collector.traces(), self.collector.metrics());
        assert!(exported.contains("ResourceSpans") && exported.contains("ResourceMetrics"));
        shown + &exported
    }
}

impl Drop for RecordedProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn metrics(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("metrics are served");
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("metrics are served");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("metrics are text");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("lumio_"), "{answer}");
    answer
}

/// What every method of the service in a file of `proto/` answers to an empty message and to one
/// that does not exist, without a token, with each of `tokens`, and with a wrong one; then what
/// health and reflection answer.
///
/// # Panics
///
/// When the server is away.
pub async fn grpc_answers(url: &str, file: &str, tokens: &[&str]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto").join(file);
    let text = fs::read_to_string(file).expect("the service's file");
    let word = |line: &str, before: &str| {
        let rest = line.trim().strip_prefix(before)?;
        rest.split(|c: char| !c.is_alphanumeric() && c != '.').next().map(str::to_owned)
    };
    let one = |before| text.lines().find_map(|line| word(line, before)).expect("a name");
    let service = format!("{}.{}", one("package "), one("service "));
    let methods = text.lines().filter_map(|line| word(line, "rpc "));
    let mut calls: Vec<(String, Vec<u8>)> = Vec::new();
    for method in methods {
        for message in [vec![], vec![0xff; 8]] {
            calls.push((format!("/{service}/{method}"), message));
        }
    }
    assert!(calls.len() > 4, "{service} has methods");
    // Reflection: all services; the file of this one; one that there is not.
    let reflect = |field: u8, name: &str| {
        let length = u8::try_from(name.len()).expect("a short name");
        [&[field << 3 | 2, length], name.as_bytes()].concat()
    };
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    for (field, name) in [(7, ""), (4, service.as_str()), (4, "no.such.Service"), (3, "no.file")] {
        calls.push((reflection.to_owned(), reflect(field, name)));
    }
    for (method, message) in [("Check", vec![]), ("Watch", vec![]), ("Check", reflect(1, "none"))] {
        calls.push((format!("/grpc.health.v1.Health/{method}"), message));
    }

    let channel = tonic::transport::Endpoint::from_shared(url.to_owned()).expect("an address");
    let channel = channel.connect().await.expect("the server answers");
    let mut shown = String::new();
    let wrong = [None, Some("a-token-that-is-not-known")];
    for token in wrong.into_iter().chain(tokens.iter().copied().map(Some)) {
        for (path, message) in &calls {
            let answer = raw::call(channel.clone(), path, message.clone(), token);
            // Some streams go on: their beginning is enough.
            let answer = timeout(Duration::from_secs(20), answer).await;
            shown.push_str(&format!("{path}: {}\n", answer.unwrap_or_default()));
        }
    }
    shown
}

mod raw {
    //! Calls of any method with any bytes.

    use bytes::{Buf as _, BufMut as _};
    use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
    use tonic::codegen::http::uri::PathAndQuery;
    use tonic::transport::Channel;
    use tonic::{Request, Status};

    use super::{Duration, timeout};

    /// How many messages of an answer are read, and how long each is waited for.
    const MESSAGES: (usize, Duration) = (3, Duration::from_secs(1));

    /// Everything that a call answers, as text.
    pub(super) async fn call(
        channel: Channel,
        path: &str,
        message: Vec<u8>,
        token: Option<&str>,
    ) -> String {
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.expect("the server answers");
        let mut request = Request::new(futures::stream::iter([message]));
        if let Some(token) = token {
            let token = format!("Bearer {token}").parse().expect("a token");
            request.metadata_mut().insert("authorization", token);
        }
        let path = PathAndQuery::try_from(path).expect("a path");
        let mut answer = match client.streaming(request, path, Bytes).await {
            Ok(answer) => answer,
            Err(refused) => return format!("{refused:?}"),
        };
        let mut shown = format!("{:?}", answer.metadata());
        for _ in 0..MESSAGES.0 {
            match timeout(MESSAGES.1, answer.get_mut().message()).await {
                Ok(Ok(Some(message))) => shown.push_str(&String::from_utf8_lossy(&message)),
                Ok(Err(refused)) => return format!("{shown} {refused:?}"),
                Ok(Ok(None)) | Err(_) => break,
            }
        }
        shown
    }

    /// Messages as their bytes.
    struct Bytes;

    impl Codec for Bytes {
        type Encode = Vec<u8>;
        type Decode = Vec<u8>;
        type Encoder = Self;
        type Decoder = Self;

        fn encoder(&mut self) -> Self {
            Self
        }

        fn decoder(&mut self) -> Self {
            Self
        }
    }

    impl Encoder for Bytes {
        type Item = Vec<u8>;
        type Error = Status;

        fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
            to.put_slice(&item);
            Ok(())
        }
    }

    impl Decoder for Bytes {
        type Item = Vec<u8>;
        type Error = Status;

        fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
            let mut item = vec![0; from.remaining()];
            from.copy_to_slice(&mut item);
            Ok(Some(item))
        }
    }
}
