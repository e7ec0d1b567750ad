//! An S3 service in the test itself, over real sockets: it keeps objects in memory, remembers what
//! it was asked, and goes wrong where a test asks for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use wire::digest::Digest;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done; this is the answer.
    Status(u16, &'static str),
    /// The call is carried out, and this is the answer anyway.
    Done(u16, &'static str),
    /// No answer ever comes.
    Hang,
    /// The answer breaks off in the middle of the object.
    Truncated,
    /// The answer stops in the middle of the object, and the connection stays.
    Stalled,
    /// The object's bytes are others, as many of them.
    WrongBytes,
    /// This is the answer, after nothing else was done.
    Body(&'static str),
    /// The answer comes once [`Server::release`] was called.
    Held,
}

/// How the service treats checksums that it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksums {
    /// It keeps them without looking at the bytes.
    Echoed,
    /// It refuses a wrong one.
    Verified,
    /// It refuses a wrong one, and keeps the object.
    RefusedButKept,
}

/// A call as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub method: Method,
    /// Key of an object; empty for a listing.
    pub key: String,
    /// Prefix of a listing.
    pub prefix: Option<String>,
    /// Whether it is a listing of versions.
    pub versions: bool,
    pub conditional: bool,
    /// The algorithm of the checksum that a write names.
    pub algorithm: Option<String>,
}

type Judge = Box<dyn FnMut(usize, &Call) -> Option<Fault> + Send>;

struct Inner {
    objects: BTreeMap<String, (Bytes, Option<String>)>,
    calls: Vec<Call>,
    judge: Judge,
    released: Arc<tokio::sync::Semaphore>,
    honours_conditions: bool,
    checksums: Checksums,
}

type Shared = Arc<Mutex<Inner>>;

/// The running service; it ends with the value.
pub struct Server {
    pub url: String,
    inner: Shared,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// A service that does everything right.
    pub async fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner {
            objects: BTreeMap::new(),
            calls: Vec::new(),
            judge: Box::new(|_, _| None),
            released: Arc::new(tokio::sync::Semaphore::new(0)),
            honours_conditions: true,
            checksums: Checksums::Verified,
        }));
        let listener = tokio::net::TcpListener::bind(testkit::ANY_PORT).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, inner, task }
    }

    /// From now on `judge` decides what goes wrong, by the number of the call (from 0) and the
    /// call.
    pub fn fail(&self, judge: impl FnMut(usize, &Call) -> Option<Fault> + Send + 'static) {
        let mut inner = self.inner.lock().unwrap();
        inner.calls.clear();
        inner.judge = Box::new(judge);
    }

    pub fn heal(&self) {
        self.fail(|_, _| None);
    }

    /// Lets every answer go that is held, and those to come.
    pub fn release(&self) {
        self.inner.lock().unwrap().released.close();
    }

    pub fn ignore_conditions(&self) {
        self.inner.lock().unwrap().honours_conditions = false;
    }

    pub fn checksums(&self, how: Checksums) {
        self.inner.lock().unwrap().checksums = how;
    }

    /// Calls since the last [`Server::fail`].
    pub fn calls(&self) -> Vec<Call> {
        self.inner.lock().unwrap().calls.clone()
    }

    /// Holds the files of a folder from now on, and nothing else, with the checksums they have.
    pub fn hold(&self, folder: &std::path::Path) {
        let object = |path: std::path::PathBuf| {
            let key = path.strip_prefix(folder).unwrap().to_str().unwrap();
            let content = Bytes::from(std::fs::read(&path).unwrap());
            let kept = STANDARD.encode(Digest::of(&content).as_bytes());
            (format!("lab/{key}"), (content, Some(kept)))
        };
        self.inner.lock().unwrap().objects = super::walk(folder).into_iter().map(object).collect();
    }

    pub fn insert(&self, key: &str, content: &'static [u8]) {
        let kept = STANDARD.encode(Digest::of(content).as_bytes());
        let object = (Bytes::from_static(content), Some(kept));
        self.inner.lock().unwrap().objects.insert(format!("lab/{key}"), object);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 64 << 20).await.unwrap();
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let path = parts.uri.path().trim_start_matches('/');
    let key = decoded(path.split_once('/').map_or("", |(_, key)| key));
    let call = Call {
        method: parts.method.clone(),
        key: key.clone(),
        prefix: query.get("prefix").cloned(),
        versions: query.contains_key("versions"),
        conditional: parts.headers.contains_key("if-none-match"),
        algorithm: parts
            .headers
            .get("x-amz-sdk-checksum-algorithm")
            .map(|name| name.to_str().unwrap().to_owned()),
    };
    let fault = {
        let mut inner = shared.lock().unwrap();
        let number = inner.calls.len();
        inner.calls.push(call.clone());
        (inner.judge)(number, &call)
    };
    if fault == Some(Fault::Held) {
        let released = Arc::clone(&shared.lock().unwrap().released);
        drop(released.acquire().await);
    }
    match fault {
        Some(Fault::Hang) => futures::future::pending().await,
        Some(Fault::Body(body)) => body.into_response(),
        Some(Fault::Status(status, code)) => refusal(status, code, &parts.headers),
        fault => {
            let answer = serve(&shared, &call, &query, &parts.headers, body);
            match fault {
                Some(Fault::Done(status, code)) => refusal(status, code, &parts.headers),
                Some(Fault::Truncated) => half(answer, futures::stream::iter([Err(cut())])).await,
                Some(Fault::Stalled) => half(answer, futures::stream::pending()).await,
                Some(Fault::WrongBytes) => wrong_bytes(answer).await,
                _ => answer,
            }
        }
    }
}

/// A key as it is, from a path in which anything but letters and digits may be percent-encoded.
fn decoded(path: &str) -> String {
    let (mut key, mut rest) = (Vec::new(), path.bytes());
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex: String = rest.by_ref().take(2).map(char::from).collect();
            key.push(u8::from_str_radix(&hex, 16).unwrap());
        } else {
            key.push(byte);
        }
    }
    String::from_utf8(key).unwrap()
}

/// Refusals repeat what they were sent, as real ones do.
fn refusal(status: u16, code: &str, sent: &HeaderMap) -> Response {
    let body = format!("<Error><Code>{code}</Code><Request>{sent:?}</Request></Error>");
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

fn serve(
    shared: &Shared,
    call: &Call,
    query: &BTreeMap<String, String>,
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    let mut inner = shared.lock().unwrap();
    match call.method {
        Method::GET if call.key.is_empty() => list(&inner, query),
        Method::GET | Method::HEAD => match inner.objects.get(&call.key) {
            None => refusal(404, "NoSuchKey", headers),
            Some((content, kept)) => found(content, kept.as_deref(), headers),
        },
        Method::PUT => {
            if call.conditional && inner.honours_conditions && inner.objects.contains_key(&call.key)
            {
                return refusal(412, "PreconditionFailed", headers);
            }
            let stated = headers.get("x-amz-checksum-sha256");
            let stated = stated.map(|value| value.to_str().unwrap().to_owned());
            let right = STANDARD.encode(Digest::of(&body).as_bytes());
            let wrong = stated.as_ref().is_some_and(|stated| *stated != right);
            if wrong && inner.checksums == Checksums::Verified {
                return refusal(400, "BadDigest", headers);
            }
            inner.objects.insert(call.key.clone(), (body, stated));
            if wrong && inner.checksums == Checksums::RefusedButKept {
                return refusal(400, "BadDigest", headers);
            }
            ([("etag", "\"x\"")], "").into_response()
        }
        Method::DELETE => {
            inner.objects.remove(&call.key);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => refusal(405, "MethodNotAllowed", headers),
    }
}

fn found(content: &Bytes, kept: Option<&str>, headers: &HeaderMap) -> Response {
    let from = headers.get("range").and_then(|range| {
        range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?.0.parse::<usize>().ok()
    });
    let mut answer = Response::builder()
        .header("etag", "\"x\"")
        .header("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT");
    if let Some(kept) = kept.filter(|_| headers.contains_key("x-amz-checksum-mode")) {
        answer = answer.header("x-amz-checksum-sha256", kept);
    }
    let length = content.len();
    if let Some(from) = from {
        let range = format!("bytes {from}-{}/{length}", length - 1);
        answer = answer.status(206).header("content-range", range);
    }
    let content = content.slice(from.unwrap_or_default()..);
    answer.header("content-length", content.len()).body(Body::from(content)).unwrap()
}

fn list(inner: &Inner, query: &BTreeMap<String, String>) -> Response {
    let prefix = query.get("prefix").map_or("", String::as_str);
    let after = query.get("continuation-token").cloned().unwrap_or_default();
    let most = query.get("max-keys").map_or(1000, |most| most.parse().unwrap());
    let flat = query.contains_key("delimiter");
    let fits = |key: &&String| {
        key.starts_with(prefix)
            && key.as_str() > after.as_str()
            && !(flat && key[prefix.len()..].contains('/'))
    };
    let mut keys: Vec<&String> = inner.objects.keys().filter(fits).take(most + 1).collect();
    let token = if keys.len() > most {
        keys.truncate(most);
        let next = keys[most - 1];
        format!(
            "<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>"
        )
    } else {
        "<IsTruncated>false</IsTruncated>".to_owned()
    };
    let entry = |key: &&String| {
        format!(
            "<Contents><Key>{key}</Key><Size>{}</Size>\
             <LastModified>1970-01-01T00:00:00.000Z</LastModified></Contents>",
            inner.objects[*key].0.len()
        )
    };
    let entries: String = keys.iter().map(entry).collect();
    format!("<ListBucketResult>{token}{entries}</ListBucketResult>").into_response()
}

fn cut() -> std::io::Error {
    std::io::Error::other("cut")
}

/// As many bytes are announced as there are; half of them come, then what `then` says.
async fn half(
    answer: Response,
    then: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Response {
    let (parts, body) = answer.into_parts();
    let content = to_bytes(body, 64 << 20).await.unwrap();
    let half = content.slice(..content.len() / 2);
    // The half has to be on its way before the connection breaks.
    let slowly = futures::stream::iter([Ok(half)]).chain(then).then(|item| async {
        tokio::task::yield_now().await;
        item
    });
    Response::from_parts(parts, Body::from_stream(slowly))
}

async fn wrong_bytes(answer: Response) -> Response {
    let (parts, body) = answer.into_parts();
    let content = to_bytes(body, 64 << 20).await.unwrap();
    let other: Vec<u8> = content.iter().map(|byte| byte ^ 1).collect();
    Response::from_parts(parts, Body::from(other))
}
