//! One request, from its head to the end of its answer.
//!
//! What happens at the service happens on a task of its own: a module that goes away in the middle
//! of an answer does not keep the service's record from being read, by which it is charged.

use std::io;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use url::Url;
use wire::Hasher;
use wire::egress::{Call, CallOutcome, MAX_PATH, answer_hasher, request_digest};

use crate::body::Body;
use crate::bound::{self, Bound};
use crate::decode::{DecodeError, Decoder};
use crate::evidence::Bodies;
use crate::meter::{Asked, Refused, Reservation};
use crate::proxy::{Shared, Source};
use crate::record::{Reader, Tokens, Usage};
use crate::refusal::Refusal;
use crate::replay::{Recorded, identity};
use crate::route::{Endpoint, Route};
use crate::secret::Scrubber;
use crate::sse::{Event, Parser};

/// A body on its way to the module.
pub type Out = BoxBody<Bytes, io::Error>;

/// Pieces of an answer that wait for a module that reads slowly.
const PIECES: usize = 16;
/// Bytes of JSON from which on reading them takes milliseconds.
const LARGE: usize = 1 << 20;
/// Longest `retry-after` and other heads are passed on as they are; these are not, since they name
/// the operator's account, belong to one connection, or are no longer true.
const NOT_PASSED: &[&str] = &[
    "set-cookie",
    "set-cookie2",
    "alt-svc",
    "strict-transport-security",
    "openai-organization",
    "openai-project",
    "anthropic-organization-id",
    "content-encoding",
    "content-length",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "location",
    "www-authenticate",
    "content-md5",
    "digest",
];
/// What a module sends in place of a credential, and what would speak for somebody else.
const NOT_SENT: &[&str] = &[
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "host",
    "content-length",
    "accept-encoding",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "http2-settings",
    "openai-organization",
    "openai-project",
    "via",
    // Some frameworks answer another method or path than the one asked for by these.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-forwarded-uri",
    "x-rewrite-url",
];

/// A body that is there whole.
pub fn whole(bytes: Bytes) -> Out {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// What is known of a request before it leaves.
struct Asking {
    route: usize,
    endpoint: Endpoint,
    method: Method,
    /// Below the service's address, with the query.
    path: String,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
    /// Of the body as the module sent it.
    identity: wire::Digest,
    streamed: bool,
    /// The record of a stream was not asked for by the module.
    hides: bool,
}

/// Answers one request of the module.
pub(crate) async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Out> {
    let (head, body) = request.into_parts();
    let Some((index, path)) = find(&shared, &head.uri) else {
        let names: Vec<&str> = shared.routes.iter().map(|route| route.name.as_str()).collect();
        let text = format!("no service has this path; they are: /{}", names.join("/, /"));
        let status = StatusCode::NOT_FOUND;
        return Refusal { status, code: "no_such_service", message: text }.response();
    };
    let route = &shared.routes[index];
    let shown = match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.clone(),
    };
    // Until more is known, for the case that it is refused.
    let mut call = Call {
        index: 0,
        upstream: route.name.clone(),
        method: head.method.to_string(),
        path: shown.chars().take(MAX_PATH).collect(),
        outcome: CallOutcome::Refused,
        status: None,
        request_bytes: 0,
        response_bytes: 0,
        request: request_digest(head.method.as_str(), &shown, b""),
        answer: None,
        llm_in: 0,
        llm_out: 0,
        unbilled: 0,
        reason: None,
        wall_ms: 0,
    };
    let leaving = match admit(&shared, (index, &path), &shown, &head, body).await {
        // From here on nothing waits until the request is on its own task: a module that goes away
        // takes no reservation along.
        Ok(leaving) => leaving,
        Err(refusal) => {
            if refusal.code == "budget_exhausted" {
                shared.evidence.budget(&refusal.message);
            }
            call.reason = Some(refusal.message.clone());
            shared.evidence.refuse(call);
            return refusal.response();
        }
    };
    let (asking, reservation, turn) = leaving;
    call.request_bytes = asking.body.len() as u64;
    call.request = request_digest(asking.method.as_str(), &asking.path, &asking.body);
    call.outcome = if asking.endpoint.is_metered() {
        CallOutcome::Inconclusive
    } else {
        CallOutcome::Complete
    };
    let place = match shared.evidence.begin(call.clone(), reservation) {
        Ok(place) => place,
        Err(why) => {
            shared.meter.release(reservation);
            call.reason = Some(why.clone());
            (call.request_bytes, call.llm_in) = (0, 0);
            shared.evidence.refuse(call);
            return Refusal::limit(why).response();
        }
    };

    let (head, answered) = oneshot::channel();
    let at_service = AtService { shared, asking, place, reservation, begun: Instant::now() };
    tokio::spawn(async move {
        let _turn = turn;
        at_service.carry_out(head).await;
    });
    match answered.await {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => refusal.response(),
        Err(_) => Refusal::upstream("the request was given up").response(),
    }
}

/// The service that a path begins with, and the rest of the path.
fn find(shared: &Shared, uri: &Uri) -> Option<(usize, String)> {
    let (name, rest) = match uri.path().strip_prefix('/')?.split_once('/') {
        Some((name, rest)) => (name, format!("/{rest}")),
        None => (uri.path().strip_prefix('/')?, "/".to_owned()),
    };
    let index = shared.routes.iter().position(|route| route.name == name)?;
    Some((index, rest))
}

/// Everything that has to hold before a request leaves.
async fn admit(
    shared: &Shared,
    (index, path): (usize, &str),
    shown: &str,
    head: &http::request::Parts,
    body: Incoming,
) -> Result<(Asking, Reservation, OwnedSemaphorePermit), Refusal> {
    let route = &shared.routes[index];
    if head.method == Method::CONNECT || head.headers.contains_key(header::UPGRADE) {
        return Err(Refusal::forbidden("tunnels and other protocols do not leave"));
    }
    if head.method == Method::TRACE {
        // The service would answer with what it was sent, credential and all.
        return Err(Refusal::forbidden("TRACE does not leave"));
    }
    let endpoint = route.endpoint(&head.method, path).map_err(Refusal::forbidden)?;
    let url = route.target(path, head.uri.query()).map_err(Refusal::forbidden)?;
    let compressed = head.headers.get(header::CONTENT_ENCODING);
    if route.kind != wire::egress::UpstreamKind::Http
        && compressed.is_some_and(|encoding| encoding != "identity")
    {
        return Err(Refusal::forbidden("a compressed request cannot be bounded"));
    }
    // More than the operator allows at once wait for their turn. They wait before their bodies are
    // read, so that no more of these are in memory than may be under way.
    let turn = Arc::clone(&shared.places[index]).acquire_owned().await;
    let turn = turn.map_err(|_| Refusal::limit("the proxy has ended"))?;
    let bytes = read(body, &route.limits).await?;

    let mut asking = Asking {
        route: index,
        endpoint,
        method: head.method.clone(),
        path: shown.to_owned(),
        url,
        headers: headers(&head.headers, route)?,
        identity: identity(&bytes),
        body: bytes,
        streamed: false,
        hides: false,
    };
    let bounded = bounded(route, endpoint, &asking.body)?;
    let Some((mut parsed, bound)) = bounded else {
        let asked = Asked { llm_in: 0, llm_out: 0, writes: false };
        let reservation = reserve(shared, index, asked).await?;
        return Ok((asking, reservation, turn));
    };
    let asked = Asked {
        llm_in: bound.input,
        llm_out: bound.output.unwrap_or(route.limits.output_tokens),
        writes: bound.writes,
    };
    let reservation = reserve(shared, index, asked).await?;
    match bound::limit(endpoint, &mut parsed, &bound, reservation.llm_out) {
        Ok(hides) => asking.hides = hides,
        Err(why) => {
            shared.meter.release(reservation);
            return Err(Refusal::budget(why));
        }
    }
    asking.streamed = bound.streamed;
    asking.body = parsed.to_bytes().into();
    Ok((asking, reservation, turn))
}

/// The request as it is understood, and its bound; nothing where no token is counted.
fn bounded(
    route: &Route,
    endpoint: Endpoint,
    bytes: &[u8],
) -> Result<Option<(Body, Bound)>, Refusal> {
    if !endpoint.is_metered() {
        return Ok(None);
    }
    let invalid = |message: String| Refusal {
        status: StatusCode::BAD_REQUEST,
        code: "invalid_request",
        message,
    };
    let body = Body::parse(bytes)
        .map_err(|error| invalid(format!("the request cannot be read in one way: {error}")))?;
    let model = body.get("model").and_then(serde_json::Value::as_str);
    let Some(model) = model else {
        return Err(invalid("the request names no \"model\"".to_owned()));
    };
    if !route.models.is_empty() && !route.models.iter().any(|allowed| allowed == model) {
        let allowed = route.models.join(", ");
        return Err(Refusal::forbidden(format!(
            "the model {model:?} is not one that the module declares: {allowed}"
        )));
    }
    let bound =
        bound::bound(endpoint, &body, &route.limits.allowance).map_err(Refusal::forbidden)?;
    Ok(Some((body, bound)))
}

async fn reserve(shared: &Shared, route: usize, asked: Asked) -> Result<Reservation, Refusal> {
    shared.meter.reserve(route, asked).await.map_err(|refused| match refused {
        Refused::Budget(why) => Refusal::budget(why),
        Refused::Limit(why) => Refusal::limit(why),
    })
}

async fn read(body: Incoming, limits: &crate::route::Limits) -> Result<Bytes, Refusal> {
    let limited = Limited::new(body, limits.request_bytes);
    let read = tokio::time::timeout(limits.total, limited.collect()).await;
    let read = read.map_err(|_| Refusal {
        status: StatusCode::REQUEST_TIMEOUT,
        code: "request_timeout",
        message: "the request did not come to its end".to_owned(),
    })?;
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let text = format!("a request has at most {} bytes", limits.request_bytes);
            Err(Refusal::too_large(text))
        }
        Err(error) => Err(Refusal {
            status: StatusCode::BAD_REQUEST,
            code: "invalid_request",
            message: format!("the request broke off: {error}"),
        }),
    }
}

/// The headers that belong to one connection alone, by its `Connection` header (RFC 9110, 7.6.1).
fn of_connection(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

/// The headers that leave: what the module sent, without what belongs to its connection or takes a
/// credential's place, and the credential itself.
fn headers(sent: &HeaderMap, route: &Route) -> Result<HeaderMap, Refusal> {
    let of_connection = of_connection(sent);
    let own = route.credential.as_ref().map(|credential| credential.header().as_str());
    let mut headers = HeaderMap::new();
    for (name, value) in sent {
        let word = name.as_str();
        let dropped = NOT_SENT.contains(&word)
            || own == Some(word)
            || of_connection.iter().any(|named| named == word);
        if !dropped {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(credential) = &route.credential {
        headers.insert(credential.header().clone(), credential.value().clone());
    }
    Ok(headers)
}

/// A request that leaves, or is about to.
struct AtService {
    shared: Arc<Shared>,
    asking: Asking,
    place: usize,
    reservation: Reservation,
    begun: Instant,
}

/// An answer as it comes.
enum Answer {
    Live(reqwest::Response),
    Recorded(StatusCode, HeaderMap, Option<Bytes>),
}

/// Why there is no answer.
enum NoAnswer {
    /// Nothing left.
    Unreached(String),
    Failed(String),
    Late(String),
}

/// What came of an answer's body.
struct Received {
    hasher: Hasher,
    bytes: u64,
    kept: Vec<u8>,
    /// Why it did not come to its end.
    lost: Option<String>,
    cut_at_budget: bool,
}

impl Answer {
    fn status(&self) -> StatusCode {
        match self {
            Self::Live(response) => response.status(),
            Self::Recorded(status, ..) => *status,
        }
    }

    fn headers(&self) -> &HeaderMap {
        match self {
            Self::Live(response) => response.headers(),
            Self::Recorded(_, headers, _) => headers,
        }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        match self {
            Self::Live(response) => response.chunk().await.map_err(|error| cause(&error)),
            Self::Recorded(_, _, body) => Ok(body.take()),
        }
    }
}

/// Reads JSON; what takes long does not hold up other calls of the thread.
async fn parsed(bytes: &[u8]) -> Result<serde_json::Value, String> {
    let parse = |bytes: &[u8]| wire::json::parse(bytes).map_err(|error| error.to_string());
    if bytes.len() < LARGE {
        return parse(bytes);
    }
    let bytes = bytes.to_vec();
    let done = tokio::task::spawn_blocking(move || parse(&bytes)).await;
    done.unwrap_or_else(|error| Err(error.to_string()))
}

/// What went wrong, without the address and without anything that was sent.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

impl AtService {
    fn route(&self) -> &Route {
        &self.shared.routes[self.asking.route]
    }

    async fn carry_out(self, head: oneshot::Sender<Result<Response<Out>, Refusal>>) {
        match self.ask().await {
            Ok(answer) => self.answered(answer, head).await,
            Err(none) => self.without_answer(none, head),
        }
    }

    async fn ask(&self) -> Result<Answer, NoAnswer> {
        let Asking { method, path, url, headers, body, .. } = &self.asking;
        let route = self.route();
        match &self.shared.source {
            Source::Recorded(recording) => {
                let recorded = recording
                    .answer_by(&route.name, method.as_str(), path, self.asking.identity)
                    .map_err(NoAnswer::Unreached)?;
                let bytes = recorded.bytes().map_err(NoAnswer::Failed)?;
                let mut headers = HeaderMap::new();
                let kind = recorded.content_type.as_deref().and_then(|kind| kind.parse().ok());
                if let Some(kind) = kind {
                    headers.insert(header::CONTENT_TYPE, kind);
                }
                let status = StatusCode::from_u16(recorded.status)
                    .map_err(|_| NoAnswer::Failed("its recorded status is none".to_owned()))?;
                Ok(Answer::Recorded(status, headers, Some(Bytes::from(bytes))))
            }
            Source::Live(clients) => {
                let client = clients.get(self.asking.route);
                let client = client.ok_or_else(|| {
                    NoAnswer::Unreached("there is no client for the service".to_owned())
                })?;
                let mut request = client.request(method.clone(), url.clone());
                request = request.headers(headers.clone());
                // A request without a body says so by having no length.
                let has_body =
                    !body.is_empty() || *method == Method::POST || *method == Method::PUT;
                if has_body {
                    request = request.body(body.clone());
                }
                let patience = route.limits.idle.min(route.limits.total);
                match tokio::time::timeout(patience, request.send()).await {
                    Ok(Ok(response)) => Ok(Answer::Live(response)),
                    Ok(Err(error)) if error.is_connect() || error.is_builder() => {
                        let text = format!("{:?} cannot be reached: {}", route.name, cause(&error));
                        Err(NoAnswer::Unreached(text))
                    }
                    Ok(Err(error)) => {
                        let text = format!("{:?} gave no answer: {}", route.name, cause(&error));
                        Err(NoAnswer::Failed(text))
                    }
                    Err(_) => Err(NoAnswer::Late(format!(
                        "{:?} gave no answer within {} ms",
                        route.name,
                        patience.as_millis()
                    ))),
                }
            }
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn without_answer(self, none: NoAnswer, head: oneshot::Sender<Result<Response<Out>, Refusal>>) {
        let scrubber = Scrubber::new(self.route().credential.as_ref());
        let (left, refusal) = match none {
            NoAnswer::Unreached(why) => (false, Refusal::upstream(scrubber.text(&why))),
            NoAnswer::Failed(why) => (true, Refusal::upstream(scrubber.text(&why))),
            NoAnswer::Late(why) => (true, Refusal::late(scrubber.text(&why))),
        };
        let meter = &self.shared.meter;
        self.shared.evidence.end(self.place, None, |call, reservation| {
            call.wall_ms = self.elapsed_ms();
            call.reason = Some(refusal.message.clone());
            if left {
                meter.settle(reservation, Tokens::default());
            } else {
                meter.release(reservation);
                call.outcome = CallOutcome::Refused;
                call.request_bytes = 0;
            }
        });
        // Nobody waits any more where the module has gone.
        let _ = head.send(Err(refusal));
    }

    /// Passes an answer on, and reads from it what it used.
    async fn answered(
        self,
        mut answer: Answer,
        head: oneshot::Sender<Result<Response<Out>, Refusal>>,
    ) {
        let route = self.route();
        let status = answer.status();
        let scrubber = Scrubber::new(route.credential.as_ref());
        let mut response = match self.head(&answer, &scrubber) {
            Ok(response) => response,
            Err(refusal) => {
                let why = refusal.message.clone();
                let _ = head.send(Err(refusal));
                let received = Received::none(status, why);
                return self.settle(status, None, received, &HeaderMap::new());
            }
        };
        let reads = self.asking.endpoint.is_metered() && status.is_success();
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_stream = kind.is_some_and(|kind| {
            kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream")
        });
        let mut reader = reads.then(|| Reader::new(self.asking.endpoint));
        let mut kept_headers = answer.headers().clone();
        // A recording goes with the module, and so it has no credential either.
        if kept_headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| scrubber.finds(kind.as_bytes()))
        {
            kept_headers.remove(header::CONTENT_TYPE);
        }

        if reads && !is_stream {
            // Its record is somewhere in it: nothing is passed on before it is there whole.
            let mut received = self.receive(&mut answer, scrubber, None, &mut None).await;
            if let (None, Some(reader)) = (&received.lost, &mut reader) {
                match parsed(&received.kept).await {
                    Ok(value) => reader.whole(&value),
                    Err(error) => {
                        received.lost = Some(format!("the answer is no JSON: {error}"));
                    }
                }
            }
            let whole_answer = Bytes::from(received.kept.clone());
            let unreadable = received.lost.as_deref().is_some_and(|why| why.contains("no JSON"));
            let answer = match &received.lost {
                Some(why) if !unreadable => Err(Refusal::upstream(why.clone())),
                _ => {
                    *response.body_mut() = whole(whole_answer);
                    Ok(response)
                }
            };
            // Settled before the module can know of it, so that what it asks next finds the budget
            // as it is.
            self.settle(status, reader, received, &kept_headers);
            let _ = head.send(answer);
            return;
        }

        let (pieces, passed) = mpsc::channel(PIECES);
        let frames = ReceiverStream::new(passed);
        let frames = frames.map(|piece: io::Result<Bytes>| piece.map(Frame::data));
        *response.body_mut() = BodyExt::boxed(StreamBody::new(frames));
        let _ = head.send(Ok(response));
        let mut reader = if is_stream { reader } else { None };
        let received = self.receive(&mut answer, scrubber, Some(&pieces), &mut reader).await;
        let lost = received.lost.clone();
        self.settle(status, reader, received, &kept_headers);
        if let Some(why) = lost {
            // The module must not take it for whole.
            let _ = pieces.send(Err(io::Error::other(why))).await;
        }
    }

    /// The head of the answer as the module gets it.
    fn head(&self, answer: &Answer, scrubber: &Scrubber) -> Result<Response<Out>, Refusal> {
        let route = self.route();
        let mut response = Response::new(whole(Bytes::new()));
        *response.status_mut() = answer.status();
        let of_connection = of_connection(answer.headers());
        for (name, value) in answer.headers() {
            let word = name.as_str();
            let kept = !NOT_PASSED.contains(&word)
                && !of_connection.iter().any(|named| named == word)
                && !scrubber.finds(value.as_bytes())
                && !scrubber.finds(word.as_bytes());
            if kept {
                response.headers_mut().append(name.clone(), value.clone());
            }
        }
        if answer.status().is_redirection()
            && let Some(location) = answer.headers().get(header::LOCATION)
        {
            let location = location.to_str().unwrap_or_default();
            if scrubber.finds(location.as_bytes()) {
                let why = format!("{:?} redirects with its credential in the address", route.name);
                return Err(Refusal::upstream(why));
            }
            let local = route.redirect(&self.asking.url, location);
            let local =
                local.and_then(|path| HeaderValue::from_str(&path).ok()).ok_or_else(|| {
                    Refusal::upstream(format!("{:?} redirects to somewhere else", route.name))
                })?;
            response.headers_mut().insert(header::LOCATION, local);
        }
        Ok(response)
    }

    /// Reads a body to its end: decompressed, without credentials, within all bounds. Each piece is
    /// handed on as soon as it is understood.
    async fn receive(
        &self,
        answer: &mut Answer,
        mut scrubber: Scrubber,
        pieces: Option<&mpsc::Sender<io::Result<Bytes>>>,
        reader: &mut Option<Reader>,
    ) -> Received {
        let limits = &self.route().limits;
        let mut received = Received::begin(answer.status());
        let encoding = answer.headers().get(header::CONTENT_ENCODING);
        let encoding = encoding.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut decoder = match Decoder::new(encoding, limits.response_bytes) {
            Ok(decoder) => decoder,
            Err(why) => {
                received.lost = Some(why);
                return received;
            }
        };
        let mut parser = reader.is_some().then(Parser::default);
        let keeps = pieces.is_none() || self.route().keeps_bodies || self.shared.records;
        let deadline = self.begun + limits.total;
        let mut listening = pieces.is_some();
        let mut begun = false;
        loop {
            let patience = limits.idle.min(deadline.saturating_duration_since(Instant::now()));
            let (bytes, ended) = match tokio::time::timeout(patience, answer.chunk()).await {
                Ok(Ok(Some(bytes))) => match decoder.feed(&bytes) {
                    Ok(plain) => (scrubber.feed(plain), false),
                    Err(error) => {
                        received.lost = Some(match error {
                            DecodeError::TooLarge => {
                                format!("the answer is larger than {} bytes", limits.response_bytes)
                            }
                            DecodeError::Broken => {
                                "the answer is not compressed as it says".to_owned()
                            }
                        });
                        return received;
                    }
                },
                Ok(Ok(None)) if decoder.ended() => (scrubber.finish(), true),
                Ok(Ok(None)) => {
                    received.lost = Some("the compressed answer has no end".to_owned());
                    return received;
                }
                Ok(Err(why)) => {
                    received.lost = Some(format!("the answer broke off: {why}"));
                    return received;
                }
                Err(_) => {
                    received.lost = Some(format!(
                        "nothing came for {} ms, or {} ms were over",
                        limits.idle.as_millis(),
                        limits.total.as_millis()
                    ));
                    return received;
                }
            };
            received.take(&bytes, keeps);
            let out = match (&mut parser, &mut *reader) {
                (Some(parser), Some(reader)) => match parser.feed(&bytes) {
                    Ok(mut events) => {
                        if ended {
                            events.extend(parser.finish());
                        }
                        self.read_events(events, reader, &mut received)
                    }
                    Err(why) => {
                        received.lost = Some(why);
                        return received;
                    }
                },
                _ => bytes,
            };
            if let (Some(pieces), true) = (pieces, listening && !out.is_empty()) {
                let sent = pieces.send(Ok(Bytes::from(out)));
                let patience = deadline.saturating_duration_since(Instant::now());
                listening = matches!(tokio::time::timeout(patience, sent).await, Ok(Ok(())));

                // Head and first piece leave together, before more pieces are understood that may
                // be there already: this task and the connection's share a thread.
                if !begun {
                    begun = true;
                    tokio::task::yield_now().await;
                }
            }
            if ended || received.cut_at_budget {
                return received;
            }
            if !listening && pieces.is_some() && reader.is_none() {
                // Nothing in the rest of it would be counted.
                received.lost = Some("the module did not read it to its end".to_owned());
                return received;
            }
        }
    }

    /// Reads events, and answers the bytes of those that the module gets.
    fn read_events(
        &self,
        events: Vec<Event>,
        reader: &mut Reader,
        received: &mut Received,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        for event in events {
            let data = event.data.as_deref();
            let alone = data.is_some_and(|data| reader.event(event.name.as_deref(), data));
            if !(alone && self.asking.hides) {
                out.extend(event.raw);
            }
            if reader.exceeds(self.reservation.llm_out) {
                let limit = self.reservation.llm_out;
                let why = format!("the stream was cut at {limit} tokens, which was its limit");
                self.shared.evidence.budget(&why);
                received.lost = Some(why);
                received.cut_at_budget = true;
                break;
            }
        }
        out
    }

    /// Charges what is certain, and completes the call's line.
    fn settle(
        &self,
        status: StatusCode,
        reader: Option<Reader>,
        received: Received,
        headers: &HeaderMap,
    ) {
        let reads = self.asking.endpoint.is_metered() && status.is_success();
        let usage = match reader {
            Some(reader) => reader.finish(received.lost.clone()),
            // An answer that could not be passed on, of a kind that has a record.
            None if reads => {
                let why = received.lost.clone().unwrap_or_default();
                Usage::AtLeast(Tokens::default(), why)
            }
            // What a service refuses uses no tokens, and other services have none.
            None => Usage::Certain(Tokens::default()),
        };
        let answer = received.hasher.clone().finish();
        if self.shared.records && received.lost.is_none() {
            self.record(status, headers, &received.kept);
        }
        let keeps = self.route().keeps_bodies;
        let bodies = keeps.then_some(Bodies { request: &self.asking.body, answer: &received.kept });
        let meter = &self.shared.meter;
        self.shared.evidence.end(self.place, bodies, |call, reservation| {
            let charged = meter.settle(reservation, usage.tokens());
            call.outcome = match &usage {
                Usage::Certain(_) => CallOutcome::Complete,
                Usage::AtLeast(..) => CallOutcome::Inconclusive,
            };
            call.reason = match &usage {
                Usage::AtLeast(_, why) => Some(why.clone()),
                Usage::Certain(_) => received.lost.clone(),
            };
            call.status = Some(status.as_u16());
            call.answer = Some(answer);
            call.response_bytes = received.bytes;
            (call.llm_in, call.llm_out) = (charged.tokens.llm_in, charged.tokens.llm_out);
            call.unbilled = charged.unbilled;
            call.wall_ms = self.elapsed_ms();
        });
    }

    fn record(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
        let text = |name: HeaderName| {
            headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let recorded = Recorded {
            upstream: self.route().name.clone(),
            method: self.asking.method.to_string(),
            path: self.asking.path.clone(),
            request: self.asking.identity,
            status: status.as_u16(),
            content_type: text(header::CONTENT_TYPE),
            body: None,
            body_base64: None,
        };
        let recorded = recorded.with_body(body);
        self.shared.recorded.lock().unwrap_or_else(PoisonError::into_inner).push(recorded);
    }
}

impl Received {
    fn begin(status: StatusCode) -> Self {
        Self {
            hasher: answer_hasher(status.as_u16()),
            bytes: 0,
            kept: Vec::new(),
            lost: None,
            cut_at_budget: false,
        }
    }

    fn none(status: StatusCode, why: String) -> Self {
        Self { lost: Some(why), ..Self::begin(status) }
    }

    fn take(&mut self, bytes: &[u8], keeps: bool) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        if keeps {
            self.kept.extend_from_slice(bytes);
        }
    }
}
