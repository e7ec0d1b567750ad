//! Answers that are made and sent at one time, counted in bytes: clients that do not read theirs
//! cannot fill the process's memory.
//!
//! What may become large has its bytes set aside before it is made. They are given back when the
//! last of them is written or thrown away, however long its client takes. An address has a share of
//! them and no more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use chassis::http::held::GuardedBody;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use wire::Problem;

use crate::error::{Error, Result};
use crate::gateway::create_request::MAX_STORED_BYTES;
use crate::gateway::limits::ClientAddress;
use crate::gateway::pieces::MOST_RETAINED;
use crate::gateway::rules::take_rest;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes of a list's page, about: the next row goes to the next page.
pub const PAGE_BYTES: usize = MIB;
/// Bytes of all answers at one time.
const MOST_BYTES: usize = 64 * MIB;
/// Of these, at most so many of one address: a bundle, and some pages beside it.
pub const MOST_OF_ONE: usize = 24 * MIB;
/// What is set aside for a page: its rows, and the text that is made of them.
pub const PAGE_SET_ASIDE: usize = 2 * PAGE_BYTES;
/// What is set aside for a bundle: the input, the run's document, which has it once more, and the
/// pieces of files that wait for their reader.
const BUNDLE_SET_ASIDE: usize = 2 * MAX_STORED_BYTES + MOST_RETAINED;
// More than an address may have is never set aside.
const _: () = assert!(BUNDLE_SET_ASIDE + PAGE_SET_ASIDE <= MOST_OF_ONE);
/// What is set aside for the answer to a `POST`: a run with its metadata of at most 16 KiB, or a
/// refusal with every mistake, and room.
const POST_SET_ASIDE: usize = 32 * KIB;
/// Responses up to this size are not counted: for 1,024 connections they are 4 MiB.
const SMALL: usize = 4 * KIB;
/// How long a request waits for bytes.
const PATIENCE: Duration = Duration::from_secs(2);
/// When bytes may be free again, in seconds: much sooner than the slowest client reads.
const RETRY_AFTER_SECS: u64 = 5;
/// Addresses of which a share is kept without being used.
const MOST_KEPT: usize = 1_024;

/// What is set aside for the answer of a route before the answer is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SetAside {
    /// Nothing: it is small, or it is counted as soon as its length is known.
    Nothing,
    /// That of a list.
    Page,
    /// That of a bundle, of which nothing is made for `HEAD`.
    Bundle,
}

/// Every route behind the login that answers `GET`. A unit test compares them with the router, so
/// that no new route is left out.
const ROUTES: [(&str, SetAside); 23] = [
    ("/runs", SetAside::Page),
    ("/runs/{id}", SetAside::Nothing),
    ("/runs/{id}/bundle", SetAside::Bundle),
    ("/runs/{id}/outputs", SetAside::Page),
    ("/runs/{id}/outputs/{*path}", SetAside::Page),
    ("/runs/{id}/attempts", SetAside::Page),
    ("/runs/{id}/timeline", SetAside::Page),
    // Streams of events have places of their own.
    ("/runs/{id}/events", SetAside::Nothing),
    ("/events", SetAside::Nothing),
    ("/inputs/{digest}", SetAside::Nothing),
    ("/summary", SetAside::Nothing),
    ("/agents", SetAside::Page),
    ("/agents/{id}", SetAside::Nothing),
    ("/grants/{user}", SetAside::Page),
    ("/receipts/{user}", SetAside::Page),
    ("/operator/queue", SetAside::Page),
    ("/operator/dead-letters", SetAside::Page),
    ("/operator/dead-letters/{id}", SetAside::Nothing),
    ("/operator/intake", SetAside::Page),
    ("/operator/packs", SetAside::Page),
    ("/operator/packs/{id}/check", SetAside::Nothing),
    ("/operator/verdicts", SetAside::Page),
    ("/operator/reconciliation", SetAside::Page),
];

/// The bytes of one gateway's answers. Copies share them.
#[derive(Debug, Clone)]
pub struct Answers(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    all: Arc<Semaphore>,
    of_one: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// Bytes that are set aside, until they are dropped.
#[derive(Debug)]
pub struct Reserved {
    all: OwnedSemaphorePermit,
    of_one: Option<OwnedSemaphorePermit>,
}

/// Among an answer's extensions: how many bytes a body of unknown length keeps in memory at most.
#[derive(Debug, Clone, Copy)]
pub struct Retains(pub usize);

impl Default for Answers {
    fn default() -> Self {
        let all = Arc::new(Semaphore::new(MOST_BYTES));
        Self(Arc::new(Budget { all, of_one: Mutex::default() }))
    }
}

impl Answers {
    /// Reserves memory for a response to `address`; without an address it counts against the total
    /// only. A request above the share of an address reserves the whole share.
    ///
    /// # Errors
    ///
    /// [`Problem::Unavailable`], when too many answers are on their way for too long.
    pub async fn reserve(&self, address: Option<IpAddr>, bytes: usize) -> Result<Reserved> {
        let taken = timeout(PATIENCE, self.take(address, bytes)).await.ok().flatten();
        taken.ok_or_else(|| {
            let text = format!(
                "too many responses are waiting to be read by their clients; retry in \
                 {RETRY_AFTER_SECS} seconds"
            );
            Error::later(Problem::Unavailable, text, RETRY_AFTER_SECS)
        })
    }

    async fn take(&self, address: Option<IpAddr>, bytes: usize) -> Option<Reserved> {
        let count = u32::try_from(bytes.min(MOST_OF_ONE)).unwrap_or(u32::MAX);
        // The address's own first: what waits for them keeps nothing from others.
        let of_one = match address {
            Some(address) => Some(self.share(address).acquire_many_owned(count).await.ok()?),
            None => None,
        };
        let all = Arc::clone(&self.0.all).acquire_many_owned(count).await.ok()?;
        Some(Reserved { all, of_one })
    }

    fn share(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut shares = self.0.of_one.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.len() >= MOST_KEPT {
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let share = shares.entry(address).or_insert_with(|| Arc::new(Semaphore::new(MOST_OF_ONE)));
        Arc::clone(share)
    }

    /// The answer to a read, which gives its bytes back when they are gone. One that finds no room
    /// is thrown away and refused: nothing was changed by making it.
    async fn hold(
        &self,
        answer: Response,
        reserved: Option<Reserved>,
        address: Option<IpAddr>,
    ) -> Result<Response> {
        let bytes = bytes_of(&answer);
        if bytes <= SMALL {
            return Ok(answer);
        }
        let reserved = match reserved {
            Some(reserved) if reserved.bytes() >= bytes.min(MOST_OF_ONE) => reserved.cut(bytes),
            // Released first: holding one reservation while waiting for a larger one can deadlock.
            less => {
                drop(less);
                self.reserve(address, bytes).await?
            }
        };
        Ok(guarded(answer, reserved))
    }
}

/// How many bytes of an answer are in memory at most.
fn bytes_of(answer: &Response) -> usize {
    let retained = answer.extensions().get::<Retains>().map(|Retains(bytes)| *bytes);
    let length = answer.body().size_hint().exact();
    let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    // Streams of events are limited by their number, not by bytes.
    retained.or(length).unwrap_or(0)
}

fn guarded(answer: Response, reserved: Reserved) -> Response {
    answer.map(|body| Body::new(GuardedBody::new(body, Arc::new(reserved))))
}

/// The answer to a request that may have changed something. What was done is done, so that the
/// answer is never refused: bytes beyond those that were set aside for it are not counted.
fn deliver(answer: Response, reserved: Option<Reserved>) -> Response {
    match (bytes_of(&answer), reserved) {
        (bytes, Some(reserved)) if bytes > SMALL => guarded(answer, reserved.cut(bytes)),
        _ => answer,
    }
}

impl Reserved {
    fn bytes(&self) -> usize {
        self.all.num_permits()
    }

    /// The same, with what is more than `bytes` given back.
    fn cut(mut self, bytes: usize) -> Self {
        let over = self.bytes().saturating_sub(bytes);
        drop(self.all.split(over));
        drop(self.of_one.as_mut().and_then(|of_one| of_one.split(over)));
        self
    }
}

/// Counts the bytes of answers. A request that may change something is refused before anything is
/// done, or answered with what was done. This layer lies within those that limit requests.
pub async fn bound(
    State(answers): State<Answers>,
    ClientAddress(address): ClientAddress,
    request: Request,
    next: Next,
) -> Response {
    let only_reads = matches!(*request.method(), Method::GET | Method::HEAD);
    // What no route answers is refused in a few words.
    let route = request.extensions().get::<MatchedPath>();
    let bytes = route.map_or(0, |route| set_aside(request.method(), route.as_str()));
    let reserved = match bytes {
        0 => None,
        _ => match answers.reserve(address, bytes).await {
            Ok(reserved) => Some(reserved),
            Err(refusal) => {
                take_rest(request).await;
                return refusal.into_response();
            }
        },
    };
    let answer = next.run(request).await;
    if !only_reads {
        return deliver(answer, reserved);
    }
    let held = answers.hold(answer, reserved, address).await;
    held.unwrap_or_else(Error::into_response)
}

/// What is set aside before the answer of a route is made.
fn set_aside(method: &Method, route: &str) -> usize {
    match *method {
        Method::POST => return POST_SET_ASIDE,
        Method::GET | Method::HEAD => {}
        // No route takes it: the refusal is a few words.
        _ => return 0,
    }
    let found = ROUTES.iter().find(|(known, _)| *known == route);
    match found.map(|(_, set_aside)| *set_aside) {
        Some(SetAside::Bundle) if *method == Method::HEAD => 0,
        Some(SetAside::Bundle) => BUNDLE_SET_ASIDE,
        Some(SetAside::Nothing) => 0,
        Some(SetAside::Page) | None => PAGE_SET_ASIDE,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::ready;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::Uri;
    use futures::FutureExt as _;
    use tonic::codegen::Service as _;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn left(answers: &Answers) -> usize {
        answers.0.all.available_permits()
    }

    #[tokio::test]
    async fn an_answer_counts_until_it_is_written_and_an_address_has_a_share() {
        let answers = Answers::default();
        let mut unread = Vec::new();
        // Then there is room for one more answer, and not for making it.
        for _ in 1..MOST_OF_ONE / PAGE_BYTES {
            let reserved = answers.reserve(Some(HERE), PAGE_SET_ASIDE).await.unwrap();
            let page = Response::new(Body::from(vec![b'x'; PAGE_BYTES]));
            unread.push(answers.hold(page, Some(reserved), Some(HERE)).await.unwrap());
        }
        let is_free = |address| {
            let taken = answers.take(Some(address), PAGE_SET_ASIDE).now_or_never();
            taken.flatten().is_some()
        };
        assert!(!is_free(HERE));
        assert_eq!(left(&answers), MOST_BYTES - MOST_OF_ONE + PAGE_BYTES);
        let elsewhere = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
        assert!(is_free(elsewhere));

        // What a server has taken out of a body and has not written counts as well.
        let pieces = unread.pop().unwrap().into_body().into_data_stream();
        let read: Vec<_> = futures::StreamExt::collect(pieces).await;
        assert!(!is_free(HERE));
        drop(read);
        assert!(is_free(HERE));
        drop(unread);
        assert_eq!(left(&answers), MOST_BYTES);
    }

    #[tokio::test]
    async fn small_answers_are_free_and_one_that_is_too_large_takes_a_whole_share() {
        let answers = Answers::default();
        let small = Response::new(Body::from(vec![b'x'; SMALL]));
        let small = answers.hold(small, None, Some(HERE)).await.unwrap();
        assert_eq!(left(&answers), MOST_BYTES);
        drop(small);
        let large = Response::new(Body::from(vec![b'x'; MOST_OF_ONE + 1]));
        let large = answers.hold(large, None, Some(HERE)).await.unwrap();
        assert_eq!(left(&answers), MOST_BYTES - MOST_OF_ONE);
        assert_eq!(large.body().size_hint().exact(), u64::try_from(MOST_OF_ONE + 1).ok());
        let mut stream = Response::new(Body::from_stream(futures::stream::pending::<Chunk>()));
        stream.extensions_mut().insert(Retains(MIB));
        let stream = answers.hold(stream, None, None).await.unwrap();
        assert_eq!(left(&answers), MOST_BYTES - MOST_OF_ONE - MIB);
        drop((large, stream));
        assert_eq!(left(&answers), MOST_BYTES);
    }

    type Chunk = std::io::Result<bytes::Bytes>;

    /// A router with the layer, of which `POST /runs` answers `length` bytes and counts its calls.
    fn posting(answers: &Answers, length: usize) -> (Router, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let post = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            ready(vec![b'x'; length])
        };
        let layer = axum::middleware::from_fn_with_state(answers.clone(), bound);
        (Router::new().route("/runs", axum::routing::post(post)).layer(layer), calls)
    }

    async fn post(router: &mut Router) -> Response {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/runs");
        request.extensions_mut().insert(ClientAddress(Some(HERE)));
        let answer: std::result::Result<_, Infallible> = router.call(request).await;
        answer.unwrap()
    }

    #[tokio::test]
    async fn a_post_is_refused_before_anything_is_done_or_answered_with_what_was_done() {
        let answers = Answers::default();
        let whole = answers.reserve(Some(HERE), MOST_OF_ONE).await.unwrap();
        let (mut router, calls) = posting(&answers, 2 * SMALL);
        assert_eq!(post(&mut router).await.status(), 503);
        assert_eq!(calls.load(Ordering::Relaxed), 0, "nothing was done");

        // There is room for what such answers have, and not for all that this one has.
        let rest = whole.cut(MOST_OF_ONE - POST_SET_ASIDE);
        let (mut router, calls) = posting(&answers, 4 * POST_SET_ASIDE);
        let large = post(&mut router).await;
        assert_eq!((large.status().as_u16(), calls.load(Ordering::Relaxed)), (200, 1));
        assert_eq!(left(&answers), MOST_BYTES - MOST_OF_ONE);
        assert_eq!(large.body().size_hint().exact(), u64::try_from(4 * POST_SET_ASIDE).ok());
        drop(large);

        // What an answer does not need is free for others at once.
        let (mut router, _) = posting(&answers, 2 * SMALL);
        let held = post(&mut router).await;
        assert_eq!(left(&answers), MOST_BYTES - MOST_OF_ONE + POST_SET_ASIDE - 2 * SMALL);
        drop((rest, held));
        assert_eq!(left(&answers), MOST_BYTES);
    }

    #[test]
    fn every_route_says_what_is_set_aside_for_its_answer() {
        let document = crate::gateway::behind_login().into_openapi();
        let read = document.paths.paths.iter().filter(|(_, item)| item.get.is_some());
        let mut read: Vec<_> = read.map(|(path, _)| path.as_str()).collect();
        let mut listed: Vec<_> = ROUTES.iter().map(|(route, _)| *route).collect();
        read.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, read, "ROUTES in gateway/answers.rs has every route with a GET");

        let described = serde_json::to_value(&document).unwrap();
        for (route, set_aside) in ROUTES {
            let answer = &described["paths"][route]["get"]["responses"]["200"]["content"];
            if answer["application/json"]["schema"]["type"] == "array" {
                assert_eq!(set_aside, SetAside::Page, "{route} answers a list");
            }
        }
    }

    #[test]
    fn a_bundle_has_room_for_what_is_made_of_it_and_its_headers_take_none() {
        let route = "/runs/{id}/bundle";
        assert_eq!(set_aside(&Method::GET, route), 2 * MAX_STORED_BYTES + MOST_RETAINED);
        assert_eq!(set_aside(&Method::HEAD, route), 0);
    }
}
