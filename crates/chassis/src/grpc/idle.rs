//! How long a connection has been without a call.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

/// The calls of a connection; every request carries those of its own.
#[derive(Debug)]
pub(super) struct Calls(Mutex<Count>);

#[derive(Debug, Clone, Copy)]
struct Count {
    /// How many are open.
    open: usize,
    /// When the last one ended; when the connection was made if none has.
    ended: Instant,
}

impl Calls {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Count { open: 0, ended: now }))
    }

    /// Since when none is open, unless one is.
    fn none_since(&self) -> Option<Instant> {
        let Count { open, ended } = *self.lock();
        (open == 0).then_some(ended)
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        // It is whole also after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is open until this is dropped.
struct OpenCall(Arc<Calls>);

impl OpenCall {
    fn new(calls: &Arc<Calls>) -> Self {
        calls.lock().open += 1;
        Self(Arc::clone(calls))
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut calls = self.0.lock();
        *calls = Count { open: calls.open - 1, ended: Instant::now() };
    }
}

/// Whether a connection has been without a call for too long.
#[derive(Debug)]
pub(super) struct Idle {
    most: Duration,
    look_again: Pin<Box<Sleep>>,
}

impl Idle {
    pub(super) fn new(most: Duration) -> Self {
        Self { most, look_again: Box::pin(sleep(most)) }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, calls: &Calls) -> Poll<()> {
        loop {
            ready!(self.look_again.as_mut().poll(cx));
            let now = Instant::now();
            let end = calls.none_since().unwrap_or(now) + self.most;
            if end <= now {
                return Poll::Ready(());
            }
            self.look_again.as_mut().reset(end);
        }
    }
}

/// Counts the calls of a connection: one is open from its head to the end of its answer.
#[derive(Debug, Clone)]
pub(super) struct Counted<S>(pub(super) S);

impl<S> Service<http::Request<Body>> for Counted<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let call = request.extensions().get::<Arc<Calls>>().map(OpenCall::new);
        let answering = self.0.call(request);
        Box::pin(async move {
            let answer = answering.await?;
            Ok(answer.map(|body| Body::new(Answer { body, _call: call })))
        })
    }
}

/// What a call answers.
struct Answer {
    body: Body,
    _call: Option<OpenCall>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_while_no_call_is_open() {
        let most = Duration::from_secs(10);
        let (calls, mut idle) = (Arc::new(Calls::new(Instant::now())), Idle::new(most));
        let (first, second) = (OpenCall::new(&calls), OpenCall::new(&calls));
        tokio::time::advance(3 * most).await;
        assert!(futures::poll!(std::future::poll_fn(|cx| idle.poll(cx, &calls))).is_pending());
        drop(first);
        tokio::time::advance(3 * most).await;
        assert!(futures::poll!(std::future::poll_fn(|cx| idle.poll(cx, &calls))).is_pending());
        drop(second);
        let ended = Instant::now();
        std::future::poll_fn(|cx| idle.poll(cx, &calls)).await;
        let took = ended.elapsed();
        assert!(most <= took && took <= 2 * most, "{took:?}");
    }
}
