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
use chassis::http::held::Held;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use wire::Problem;

use crate::error::{Error, Result};
use crate::gateway::limits::ClientAddress;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes of a list's page, about: the next row goes to the next page.
pub const PAGE_BYTES: usize = MIB;
/// Bytes of all answers at one time.
const MOST_BYTES: usize = 64 * MIB;
/// Of these, at most so many of one address.
const MOST_OF_ONE: usize = MOST_BYTES / 4;
/// What is set aside for a page: its rows, and the text that is made of them.
pub const PAGE_SET_ASIDE: usize = 2 * PAGE_BYTES;
/// What is set aside for a bundle: the input and the run's document, which has it once more.
const BUNDLE_SET_ASIDE: usize = 8 * MIB;
/// An answer up to this is not counted: as many of them as there can be are little.
const SMALL: usize = 4 * KIB;
/// How long a request waits for bytes.
const PATIENCE: Duration = Duration::from_secs(2);
/// When bytes may be free again, in seconds: much sooner than the slowest client reads.
const RETRY_AFTER_SECS: u64 = 5;
/// Addresses of which a share is kept without being used.
const MOST_KEPT: usize = 1_024;

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
    /// Sets bytes aside for an answer to this address, and of no address's share if there is none. More than an
    /// address may have is taken for all that it may have.
    ///
    /// # Errors
    ///
    /// [`Problem::Unavailable`], when too many answers are on their way for too long.
    pub async fn reserve(&self, address: Option<IpAddr>, bytes: usize) -> Result<Reserved> {
        let taken = timeout(PATIENCE, self.take(address, bytes)).await.ok().flatten();
        taken.ok_or_else(|| {
            let text = format!(
                "too many answers are on their way and were not read yet; try again in \
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

    /// The answer, which gives its bytes back when they are gone.
    async fn hold(
        &self,
        answer: Response,
        reserved: Option<Reserved>,
        address: Option<IpAddr>,
    ) -> Result<Response> {
        let retained = answer.extensions().get::<Retains>().map(|Retains(bytes)| *bytes);
        let length = answer.body().size_hint().exact();
        let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        // A stream that says nothing of itself has places of its own.
        let bytes = retained.or(length).unwrap_or(0);
        if bytes <= SMALL {
            return Ok(answer);
        }
        let reserved = match reserved {
            Some(reserved) if reserved.bytes() >= bytes.min(MOST_OF_ONE) => reserved.cut(bytes),
            // Given back first: who keeps some while it waits for more may wait for itself.
            less => {
                drop(less);
                self.reserve(address, bytes).await?
            }
        };
        Ok(answer.map(|body| Body::new(Held::new(body, Arc::new(reserved)))))
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

/// Counts the bytes of answers. This layer lies within those that limit requests.
pub async fn bound(
    State(answers): State<Answers>,
    ClientAddress(address): ClientAddress,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let bytes = set_aside(request.method(), route);
    let reserved = match bytes {
        0 => None,
        _ => match answers.reserve(address, bytes).await {
            Ok(reserved) => Some(reserved),
            Err(refusal) => return refusal.into_response(),
        },
    };
    let answer = next.run(request).await;
    let held = answers.hold(answer, reserved, address).await;
    held.unwrap_or_else(Error::into_response)
}

/// What is set aside before the answer of a route is made. The others are small, or bounded
/// otherwise.
fn set_aside(method: &Method, route: &str) -> usize {
    if *method == Method::POST {
        return 0;
    }
    match route {
        "/runs"
        | "/runs/{id}/outputs"
        | "/runs/{id}/outputs/{*path}"
        | "/runs/{id}/attempts"
        | "/runs/{id}/timeline"
        | "/receipts/{user}"
        | "/agents"
        | "/grants/{user}"
        | "/operator/queue"
        | "/operator/dead-letters"
        | "/operator/packs"
        | "/operator/verdicts"
        | "/operator/reconciliation" => PAGE_SET_ASIDE,
        "/runs/{id}/bundle" => BUNDLE_SET_ASIDE,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

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
}
