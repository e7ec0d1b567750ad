//! A proxy that records honest answers, and answers from memory with one of them changed.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// What the proxy is in front of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Node,
    Gateway,
}

/// A question with its honest answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    question: Question,
    /// The method of JSON-RPC.
    pub method: Option<String>,
    status: StatusCode,
    content_type: String,
    body: Bytes,
}

/// What makes two questions the same: the id of a call does not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    is_node: bool,
    path: String,
    call: Value,
}

/// What is answered instead.
#[derive(Debug, Clone)]
pub enum Lie {
    /// One field of one answer is this.
    Field { exchange: usize, pointer: String, value: Value },
    /// One field is this in every answer to a method.
    Everywhere { method: String, pointer: String, value: Value },
    /// An answer has a member twice: first as it is, and again like this.
    Twice { exchange: usize, member: String, value: Value },
    /// An answer ends in its middle.
    Truncated { exchange: usize },
    /// An answer is what was answered to another question of the same method.
    Swapped { exchange: usize, with: usize },
}

pub struct Proxy {
    ports: [u16; 2],
    shared: Arc<Mutex<Shared>>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// The honest answers: the first verification's, and of the questions that only a lie leads to.
    exchanges: Vec<Exchange>,
    lie: Option<Lie>,
    /// Paths that end so are refused by the gateway.
    refused: Option<String>,
}

#[derive(Clone)]
struct Before {
    is_node: bool,
    upstream: String,
    http: reqwest::Client,
    shared: Arc<Mutex<Shared>>,
}

impl Proxy {
    /// Is between the command and both. A path of the gateway that ends with `refused` is "not found";
    /// `exchanges` are known already.
    pub async fn start(
        node: &str,
        gateway: &str,
        refused: Option<&str>,
        exchanges: Vec<Exchange>,
    ) -> Self {
        let refused = refused.map(ToOwned::to_owned);
        let shared = Arc::new(Mutex::new(Shared { exchanges, lie: None, refused }));
        let (mut ports, mut servers) = ([0; 2], Vec::new());
        for (place, (is_node, upstream)) in [(true, node), (false, gateway)].iter().enumerate() {
            let before = Before {
                is_node: *is_node,
                upstream: (*upstream).to_owned(),
                http: reqwest::Client::new(),
                shared: shared.clone(),
            };
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            ports[place] = listener.local_addr().unwrap().port();
            let app = Router::new().fallback(answer).with_state(before);
            servers.push(tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }));
        }
        Self { ports, shared, servers }
    }

    pub fn url(&self, side: Side) -> String {
        format!("http://127.0.0.1:{}", self.ports[usize::from(side == Side::Gateway)])
    }

    /// From now on answers are changed in this way, and in no other.
    pub fn set_lie(&self, lie: Lie) {
        self.shared.lock().unwrap().lie = Some(lie);
    }

    pub fn recorded(&self) -> Vec<Exchange> {
        self.shared.lock().unwrap().exchanges.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.servers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Exchange {
    /// The answer as a document whose fields can be changed: of an archive, its `run.json`.
    pub fn document(&self) -> Option<Value> {
        match self.content_type.as_str() {
            "application/x-tar" => {
                let text = entries(&self.body).into_iter().find(|(path, _, _)| path == "run.json");
                serde_json::from_slice(&text?.1).ok()
            }
            _ => serde_json::from_slice(&self.body).ok(),
        }
    }

    fn with_document(&self, document: &str) -> Bytes {
        if self.content_type != "application/x-tar" {
            return document.to_owned().into();
        }
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content, mode) in entries(&self.body) {
            let content = match path.as_str() {
                "run.json" => document.as_bytes().to_vec(),
                _ => content,
            };
            let mut head = tar::Header::new_gnu();
            head.set_size(content.len() as u64);
            head.set_mode(mode);
            archive.append_data(&mut head, path, content.as_slice()).unwrap();
        }
        archive.into_inner().unwrap().into()
    }
}

fn entries(archive: &[u8]) -> Vec<(String, Vec<u8>, u32)> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mode = entry.header().mode().unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (path, content, mode)
    });
    entries.collect()
}

async fn answer(
    State(before): State<Before>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let call: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let question = Question {
        is_node: before.is_node,
        path,
        call: json!([call.get("method"), call.get("params")]),
    };
    let known = {
        let shared = before.shared.lock().unwrap();
        shared.exchanges.iter().position(|exchange| exchange.question == question)
    };
    let index = match known {
        Some(index) => index,
        None => record(&before, method, question, &headers, body).await,
    };
    let shared = before.shared.lock().unwrap();
    let mut answered = index;
    if let Some(Lie::Swapped { exchange, with }) = shared.lie
        && exchange == index
    {
        answered = with;
    }
    let exchange = &shared.exchanges[answered];
    let body = changed(exchange, index, shared.lie.as_ref(), call.get("id"));
    let head = [(header::CONTENT_TYPE, exchange.content_type.clone())];
    (exchange.status, head, body).into_response()
}

/// The answer, with the lie if it is about this one, under the id of the call.
fn changed(exchange: &Exchange, index: usize, lie: Option<&Lie>, id: Option<&Value>) -> Bytes {
    let mut twice = None;
    let replaced = match lie {
        Some(Lie::Truncated { exchange: of }) if *of == index => {
            return exchange.body.slice(..exchange.body.len() / 2);
        }
        Some(Lie::Field { exchange: of, pointer, value }) if *of == index => Some((pointer, value)),
        Some(Lie::Everywhere { method, pointer, value }) => {
            (exchange.method.as_ref() == Some(method)).then_some((pointer, value))
        }
        Some(Lie::Twice { exchange: of, member, value }) if *of == index => {
            twice = Some((member, value));
            None
        }
        _ => None,
    };
    if replaced.is_none() && twice.is_none() && id.is_none() {
        return exchange.body.clone();
    }
    let Some(mut document) = exchange.document() else { return exchange.body.clone() };
    if let (Some(id), Some(place)) = (id, document.get_mut("id")) {
        *place = id.clone();
    }
    if let Some((pointer, value)) = replaced
        && let Some(place) = document.pointer_mut(pointer)
    {
        *place = value.clone();
    }
    let mut text = document.to_string();
    if let Some((member, value)) = twice {
        text.truncate(text.len() - 1);
        text.push_str(&format!(",{}:{value}}}", json!(member)));
    }
    exchange.with_document(&text)
}

async fn record(
    before: &Before,
    method: Method,
    question: Question,
    headers: &HeaderMap,
    body: Bytes,
) -> usize {
    let named = question.call[0].as_str().map(ToOwned::to_owned);
    let path = question.path.split('?').next().unwrap_or_default();
    let is_refused = {
        let shared = before.shared.lock().unwrap();
        !before.is_node && shared.refused.as_ref().is_some_and(|end| path.ends_with(end))
    };
    let exchange = if is_refused {
        let problem = json!({ "title": "Not found", "status": 404, "detail": "not sealed" });
        Exchange {
            question,
            method: named,
            status: StatusCode::NOT_FOUND,
            content_type: "application/problem+json".to_owned(),
            body: problem.to_string().into(),
        }
    } else {
        let url = format!("{}{}", before.upstream, question.path);
        let mut request = before.http.request(method, url).body(body);
        for name in [header::CONTENT_TYPE, header::AUTHORIZATION, header::ACCEPT] {
            if let Some(value) = headers.get(&name) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.unwrap();
        let (status, head) = (answer.status(), answer.headers().clone());
        let content_type = head.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Exchange {
            question,
            method: named,
            status,
            content_type: content_type.unwrap_or("application/json").to_owned(),
            body: answer.bytes().await.unwrap(),
        }
    };
    let mut shared = before.shared.lock().unwrap();
    shared.exchanges.push(exchange);
    shared.exchanges.len() - 1
}
