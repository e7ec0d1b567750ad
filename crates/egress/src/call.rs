//! One request, from its head to the end of its answer.
//!
//! What happens at the service happens on a task of its own: a module that goes away in the middle
//! of an answer does not keep the service's record from being read, by which it is charged.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use reqwest::Client;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use wire::Hasher;
use wire::egress::{Call, CallOutcome, MAX_PATH, answer_hasher, request_digest};

use crate::admit::{Admitted, AdmittedRequest, LimitedBy, admit};
use crate::decode::{DecodeError, Decoder};
use crate::evidence::Bodies;
use crate::headers;
use crate::meter::Reservation;
use crate::proxy::{Shared, Source};
use crate::record::{Reader, Tokens, Usage};
use crate::refusal::Refusal;
use crate::replay::Recorded;
use crate::route::Route;
use crate::scrub::Scrubber;
use crate::sse::{Event, Parser};

/// A body on its way to the module.
pub type Out = BoxBody<Bytes, io::Error>;

/// Pieces of an answer that wait for a module that reads slowly.
const PIECES: usize = 16;
/// Bytes of JSON from which on reading them takes milliseconds.
const LARGE: usize = 1 << 20;

/// A body that is there whole.
pub fn whole(bytes: Bytes) -> Out {
    Full::new(bytes).map_err(|never| match never {}).boxed()
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
    let shown = match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.clone(),
    };
    let mut call = refused(&shared.routes[index], &head.method, &shown);
    match admit(&shared, (index, &path), &shown, &head, body).await {
        Ok(admitted) => send(shared, admitted, call).await,
        Err(refusal) => {
            if refusal.code == "budget_exhausted" {
                shared.evidence.budget(&refusal.message);
            }
            call.reason = Some(refusal.message.clone());
            shared.evidence.refuse(call);
            refusal.response()
        }
    }
}

/// The line of a request of which no more is known, for the case that it is refused.
fn refused(route: &Route, method: &Method, shown: &str) -> Call {
    Call {
        index: 0,
        upstream: route.name.clone(),
        method: method.to_string(),
        path: shown.chars().take(MAX_PATH).collect(),
        outcome: CallOutcome::Refused,
        status: None,
        request_bytes: 0,
        response_bytes: 0,
        request: request_digest(method.as_str(), shown, b""),
        answer: None,
        llm_in: 0,
        llm_out: 0,
        unbilled: 0,
        reason: None,
        wall_ms: 0,
    }
}

/// Sends a request that was admitted, and waits for the head of its answer. Until the request is on
/// a task of its own nothing waits, so that a module that goes away takes no reservation along.
async fn send(
    shared: Arc<Shared>,
    (admitted, reservation, permit): Admitted,
    mut call: Call,
) -> Response<Out> {
    call.request_bytes = admitted.body.len() as u64;
    call.request = request_digest(admitted.method.as_str(), &admitted.path, &admitted.body);
    call.outcome = if admitted.endpoint.is_metered() {
        CallOutcome::Inconclusive
    } else {
        CallOutcome::Complete
    };
    let place = match shared.evidence.begin(call.clone(), reservation) {
        Ok(place) => place,
        Err(why) => {
            shared.meter.release(reservation);
            call.reason = Some(why.clone());
            call.request_bytes = 0;
            shared.evidence.refuse(call);
            return Refusal::limit(why).response();
        }
    };

    let (head, answered) = oneshot::channel();
    let at_service = AtService { shared, admitted, place, reservation, begun: Instant::now() };
    tokio::spawn(async move {
        let _permit = permit;
        at_service.carry_out(head).await;
    });
    match answered.await {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => refusal.response(),
        Err(_) => Refusal::upstream("the proxy dropped the request (internal error)").response(),
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

/// A request that leaves, or is about to.
struct AtService {
    shared: Arc<Shared>,
    admitted: AdmittedRequest,
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
    /// The request was not sent.
    NotSent(String),
    Failed(String),
    TimedOut(String),
}

/// What came of an answer's body.
struct Received {
    status: StatusCode,
    hasher: Hasher,
    bytes: u64,
    kept: Vec<u8>,
    /// Why it did not come to its end.
    lost: Option<String>,
    /// It passed its limit of tokens.
    is_cut: bool,
}

/// An answer whose head is understood.
struct Passing {
    answer: Answer,
    scrubber: Scrubber,
    /// Its head, as the module gets it.
    response: Response<Out>,
    kept_headers: HeaderMap,
}

/// Where the head of an answer is waited for.
type Head = oneshot::Sender<Result<Response<Out>, Refusal>>;

/// Where the pieces of an answer go, while the module listens.
struct Outlet<'a> {
    pieces: Option<&'a mpsc::Sender<io::Result<Bytes>>>,
    deadline: Instant,
    begun: bool,
    listening: bool,
}

impl Outlet<'_> {
    async fn send(&mut self, piece: Vec<u8>) {
        let (Some(pieces), true) = (self.pieces, self.listening && !piece.is_empty()) else {
            return;
        };
        let sent = pieces.send(Ok(Bytes::from(piece)));
        let patience = self.deadline.saturating_duration_since(Instant::now());
        self.listening = matches!(tokio::time::timeout(patience, sent).await, Ok(Ok(())));

        // Head and first piece leave together, before more pieces are understood that may be there
        // already: this task and the connection's share a thread.
        if !self.begun {
            self.begun = true;
            tokio::task::yield_now().await;
        }
    }
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

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
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
        &self.shared.routes[self.admitted.route]
    }

    async fn carry_out(self, head: Head) {
        match self.ask().await {
            Ok(answer) => self.answered(answer, head).await,
            Err(none) => self.without_answer(none, head),
        }
    }

    async fn ask(&self) -> Result<Answer, NoAnswer> {
        let AdmittedRequest { method, path, .. } = &self.admitted;
        let route = self.route();
        match &self.shared.source {
            Source::Recorded(recording) => {
                let recorded = recording
                    .answer_by(&route.name, method.as_str(), path, self.admitted.identity)
                    .map_err(NoAnswer::NotSent)?;
                let bytes = recorded.bytes().map_err(NoAnswer::Failed)?;
                let mut headers = HeaderMap::new();
                let kind = recorded.content_type.as_deref().and_then(|kind| kind.parse().ok());
                if let Some(kind) = kind {
                    headers.insert(header::CONTENT_TYPE, kind);
                }
                let status = StatusCode::from_u16(recorded.status)
                    .map_err(|_| NoAnswer::Failed("its recorded status is invalid".to_owned()))?;
                Ok(Answer::Recorded(status, headers, Some(Bytes::from(bytes))))
            }
            Source::Live(clients) => {
                let client = clients.get(self.admitted.route);
                let client = client.ok_or_else(|| {
                    NoAnswer::NotSent("there is no client for the service".to_owned())
                })?;
                self.ask_service(client).await
            }
        }
    }

    async fn ask_service(&self, client: &Client) -> Result<Answer, NoAnswer> {
        let AdmittedRequest { method, url, headers, body, .. } = &self.admitted;
        let route = self.route();
        let mut request = client.request(method.clone(), url.clone());
        request = request.headers(headers.clone());
        // A request without a body says so by having no length.
        let has_body = !body.is_empty() || *method == Method::POST || *method == Method::PUT;
        if has_body {
            request = request.body(body.clone());
        }
        let patience = route.limits.idle.min(route.limits.total);
        match tokio::time::timeout(patience, request.send()).await {
            // An unexpected 1xx (101): the bytes that follow are not HTTP and cannot be metered.
            Ok(Ok(response)) if response.status().is_informational() => {
                let status = response.status().as_u16();
                let text = format!("{:?} answered {status}, which nothing asked for", route.name);
                Err(NoAnswer::Failed(text))
            }
            Ok(Ok(response)) => Ok(Answer::Live(response)),
            Ok(Err(error)) if error.is_connect() || error.is_builder() => {
                let text = format!("{:?} cannot be reached: {}", route.name, cause(&error));
                Err(NoAnswer::NotSent(text))
            }
            Ok(Err(error)) => {
                let text = format!("{:?} gave no answer: {}", route.name, cause(&error));
                Err(NoAnswer::Failed(text))
            }
            Err(_) => Err(NoAnswer::TimedOut(format!(
                "{:?} gave no answer within {} ms",
                route.name,
                patience.as_millis()
            ))),
        }
    }

    /// Whether an answer with this status has a body (RFC 9112, 6.3).
    fn has_body(&self, status: StatusCode) -> bool {
        let without = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        self.admitted.method != Method::HEAD && !without.contains(&status)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn without_answer(self, none: NoAnswer, head: Head) {
        let scrubber = Scrubber::new(self.route().credential.as_ref());
        let (left, refusal) = match none {
            NoAnswer::NotSent(why) => (false, Refusal::upstream(scrubber.text(&why))),
            NoAnswer::Failed(why) => (true, Refusal::upstream(scrubber.text(&why))),
            NoAnswer::TimedOut(why) => (true, Refusal::late(scrubber.text(&why))),
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
        // The receiver is gone where the module has closed its connection.
        let _ = head.send(Err(refusal));
    }

    /// Passes an answer on, and reads from it what it used.
    async fn answered(self, answer: Answer, head: Head) {
        let route = self.route();
        let status = answer.status();
        let scrubber = Scrubber::new(route.credential.as_ref());
        let response = match self.head(&answer, &scrubber) {
            Ok(response) => response,
            Err(refusal) => {
                let why = refusal.message.clone();
                let _ = head.send(Err(refusal));
                let received = Received::none(status, why);
                return self.settle(None, received, &HeaderMap::new());
            }
        };
        let mut kept_headers = answer.headers().clone();
        // A recording goes with the module, and so it has no credential either.
        if kept_headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| scrubber.finds(kind.as_bytes()))
        {
            kept_headers.remove(header::CONTENT_TYPE);
        }
        let passing = Passing { answer, scrubber, response, kept_headers };
        let reads = self.admitted.endpoint.is_metered() && status.is_success();
        let reader = reads.then(|| Reader::new(self.admitted.endpoint));
        match reader {
            Some(reader) if !is_stream(passing.answer.headers()) => {
                self.pass_whole(passing, reader, head).await;
            }
            reader => self.pass_pieces(passing, reader, head).await,
        }
    }

    /// Buffers an answer whose usage record may be anywhere in its JSON, then passes it on whole.
    async fn pass_whole(self, passing: Passing, mut reader: Reader, head: Head) {
        let Passing { mut answer, scrubber, mut response, kept_headers } = passing;
        let mut received = self.receive(&mut answer, scrubber, None, &mut None).await;
        let answer = match received.lost.clone() {
            Some(why) => Err(Refusal::upstream(why)),
            None => {
                match parsed(&received.kept).await {
                    Ok(value) => reader.whole(&value),
                    // The module gets it as it came.
                    Err(error) => {
                        received.lost = Some(format!("the answer is no JSON: {error}"));
                    }
                }
                *response.body_mut() = whole(Bytes::from(received.kept.clone()));
                Ok(response)
            }
        };
        // Settled before the answer is delivered, so that the module's next request finds the
        // updated budget.
        self.settle(Some(reader), received, &kept_headers);
        let _ = head.send(answer);
    }

    /// Passes an answer on as it comes.
    async fn pass_pieces(self, passing: Passing, mut reader: Option<Reader>, head: Head) {
        let Passing { mut answer, scrubber, mut response, kept_headers } = passing;
        let (pieces, passed) = mpsc::channel(PIECES);
        let frames = ReceiverStream::new(passed);
        let frames = frames.map(|piece: io::Result<Bytes>| piece.map(Frame::data));
        *response.body_mut() = BodyExt::boxed(StreamBody::new(frames));
        let _ = head.send(Ok(response));
        let received = self.receive(&mut answer, scrubber, Some(&pieces), &mut reader).await;
        let lost = received.lost.clone();
        self.settle(reader, received, &kept_headers);
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
        *response.headers_mut() = headers::passed(answer.headers(), scrubber);
        if self.admitted.method == Method::HEAD
            && let Some(length) = headers::length(answer.headers())
        {
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        if answer.status().is_redirection()
            && let Some(location) = answer.headers().get(header::LOCATION)
        {
            let location = location.to_str().unwrap_or_default();
            if scrubber.finds(location.as_bytes()) {
                let why = format!("{:?} redirects with its credential in the address", route.name);
                return Err(Refusal::upstream(why));
            }
            let local = route.redirect(&self.admitted.url, location);
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
    ///
    /// A compressed answer is handed on at its end alone: how much of it comes at once depends on
    /// what repeats in it, the credential among it.
    async fn receive(
        &self,
        answer: &mut Answer,
        mut scrubber: Scrubber,
        pieces: Option<&mpsc::Sender<io::Result<Bytes>>>,
        reader: &mut Option<Reader>,
    ) -> Received {
        let limits = &self.route().limits;
        let mut received = Received::begin(answer.status());
        // Without a body, the headers are about the one that the service did not send.
        let coding = if self.has_body(answer.status()) {
            scrubber.text(&headers::coding(answer.headers()))
        } else {
            String::new()
        };
        let mut decoder = match Decoder::new(&coding, limits.response_bytes) {
            Ok(decoder) => decoder,
            Err(why) => return received.lose(why),
        };
        let mut parser = reader.is_some().then(Parser::default);
        let keeps = pieces.is_none() || self.route().keeps_bodies || self.shared.records;
        let deadline = self.begun + limits.total;
        let mut outlet = Outlet { pieces, deadline, begun: false, listening: pieces.is_some() };
        let mut waiting = Vec::new();
        loop {
            let patience = limits.idle.min(deadline.saturating_duration_since(Instant::now()));
            let piece = self.next(answer, &mut decoder, &mut scrubber, patience).await;
            let (bytes, ended) = match piece {
                Ok(piece) => piece,
                Err(why) => return received.lose(scrubber.text(&why)),
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
                    Err(why) => return received.lose(why),
                },
                _ => bytes,
            };
            if waiting.is_empty() {
                waiting = out;
            } else {
                waiting.extend(out);
            }
            let is_last = ended || received.is_cut;
            if decoder.is_plain() || is_last {
                outlet.send(std::mem::take(&mut waiting)).await;
            }
            if is_last {
                return received;
            }
            if !outlet.listening && pieces.is_some() && reader.is_none() {
                // Nothing in the rest of it would be counted.
                return received.lose("the module did not read it to its end".to_owned());
            }
        }
    }

    /// The next piece of a body, and whether it is the last.
    async fn next(
        &self,
        answer: &mut Answer,
        decoder: &mut Decoder,
        scrubber: &mut Scrubber,
        patience: Duration,
    ) -> Result<(Vec<u8>, bool), String> {
        let limits = &self.route().limits;
        match tokio::time::timeout(patience, answer.chunk()).await {
            Ok(Ok(Some(bytes))) => match decoder.feed(&bytes) {
                Ok(plain) => Ok((scrubber.feed(plain), false)),
                Err(DecodeError::TooLarge) => {
                    Err(format!("the answer is larger than {} bytes", limits.response_bytes))
                }
                Err(DecodeError::Broken) => {
                    Err("the answer is not compressed as it says".to_owned())
                }
            },
            Ok(Ok(None)) if decoder.ended() => Ok((scrubber.finish(), true)),
            Ok(Ok(None)) => Err("the compressed answer has no end".to_owned()),
            Ok(Err(why)) => Err(format!("the answer broke off: {why}")),
            Err(_) => Err(format!(
                "nothing came for {} ms, or {} ms were over",
                limits.idle.as_millis(),
                limits.total.as_millis()
            )),
        }
    }

    /// Reads events, and returns the bytes of those that the module gets.
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
            if !(alone && self.admitted.hide_usage_event) {
                out.extend(event.raw);
            }
            if reader.exceeds(self.reservation.llm_out) {
                received.lost = Some(self.cut());
                received.is_cut = true;
                break;
            }
        }
        out
    }

    /// Why a stream is cut. Where the request's own limit or the operator's was passed, no budget
    /// was short.
    fn cut(&self) -> String {
        let limit = self.reservation.llm_out;
        let whose = match self.admitted.limited_by {
            LimitedBy::Budget => "which were all that the run's budget left",
            LimitedBy::Module => "the limit that the request states",
            LimitedBy::Operator => "the operator's limit",
        };
        let why = format!("the stream was cut at {limit} tokens, {whose}");
        if self.admitted.limited_by == LimitedBy::Budget {
            self.shared.evidence.budget(&why);
        }
        why
    }

    /// Charges what is certain, and completes the call's line.
    fn settle(&self, reader: Option<Reader>, received: Received, headers: &HeaderMap) {
        let status = received.status;
        let reads = self.admitted.endpoint.is_metered() && status.is_success();
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
        let bodies =
            keeps.then_some(Bodies { request: &self.admitted.body, answer: &received.kept });
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
            method: self.admitted.method.to_string(),
            path: self.admitted.path.clone(),
            request: self.admitted.identity,
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
            status,
            hasher: answer_hasher(status.as_u16()),
            bytes: 0,
            kept: Vec::new(),
            lost: None,
            is_cut: false,
        }
    }

    fn none(status: StatusCode, why: String) -> Self {
        Self { lost: Some(why), ..Self::begin(status) }
    }

    fn lose(mut self, why: String) -> Self {
        self.lost = Some(why);
        self
    }

    fn take(&mut self, bytes: &[u8], keeps: bool) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        if keeps {
            self.kept.extend_from_slice(bytes);
        }
    }
}
