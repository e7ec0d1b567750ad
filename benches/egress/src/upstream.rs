//! A service that answers after a fixed time.
//!
//! Tokio's timers have a grain of a millisecond, which is more than what is measured. So a thread
//! of its own wakes the answers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Tokens read that each answer reports.
pub const READ: u64 = 250;
/// Events of a streamed answer, beside the record of its tokens.
const EVENTS: u64 = 20;

/// Time between two events of a stream.
const GAP: Duration = Duration::from_millis(1);

type Body = BoxBody<Bytes, Infallible>;

/// A running service.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    delay_us: Arc<AtomicU64>,
}

impl Upstream {
    /// Begins to serve, on a thread of its own: no client waits on the thread of a service, and
    /// so each message between the two wakes one.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn start(address: SocketAddr, delay: Duration) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let delay_us = Arc::new(AtomicU64::new(0));
        let upstream = Self { address, delay_us: Arc::clone(&delay_us) };
        upstream.set_delay(delay);

        let clock = Arc::new(Clock::default());
        let waker = Arc::clone(&clock);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Both end with the process.
        thread::spawn(move || waker.run());
        thread::Builder::new().name("service".to_owned()).spawn(move || {
            runtime.block_on(accept(listener, &clock, &delay_us));
        })?;
        Ok(upstream)
    }

    /// Changes the time after which it answers.
    pub fn set_delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.delay_us.store(micros, Ordering::Relaxed);
    }
}

async fn accept(listener: std::net::TcpListener, clock: &Arc<Clock>, delay_us: &Arc<AtomicU64>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let (clock, delay) = (Arc::clone(clock), Arc::clone(delay_us));
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let delay = Duration::from_micros(delay.load(Ordering::Relaxed));
                serve(request, Arc::clone(&clock), delay)
            });
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn serve(
    request: Request<Incoming>,
    clock: Arc<Clock>,
    delay: Duration,
) -> Result<Response<Body>, hyper::Error> {
    let begun = Instant::now();
    let body = request.into_body().collect().await?.to_bytes();
    let streamed =
        serde_json::from_slice::<serde_json::Value>(&body).is_ok_and(|body| body["stream"] == true);
    if !delay.is_zero() {
        clock.wait_until(begun + delay).await;
    }

    let usage = json!({ "prompt_tokens": READ, "completion_tokens": EVENTS,
        "total_tokens": READ + EVENTS });
    let (kind, body) = if streamed {
        let event = |data: String| Ok(Frame::data(Bytes::from(format!("data: {data}\n\n"))));
        let delta = json!({ "choices": [{ "index": 0, "delta": { "content": "word " } }] });
        let last = json!({ "choices": [], "usage": usage });
        let events = (0..EVENTS)
            .map(|_| delta.to_string())
            .chain([last.to_string(), "[DONE]".to_owned()])
            .map(event)
            .collect::<Vec<_>>();
        // Each event is a piece of its own, and comes when a model would have written it: what is
        // measured is how long the first one takes, and not how many fit through at once.
        let first = Instant::now();
        let events = futures::stream::iter(events).enumerate().then(move |(number, event)| {
            let clock = Arc::clone(&clock);
            async move {
                match u32::try_from(number) {
                    Ok(number) if number > 0 => clock.wait_until(first + GAP * number).await,
                    _ => tokio::task::yield_now().await,
                }
                event
            }
        });
        ("text/event-stream", BodyExt::boxed(StreamBody::new(events)))
    } else {
        let text = "word ".repeat(20);
        let body = json!({ "id": "1", "choices": [{ "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": text } }], "usage": usage });
        ("application/json", Full::new(Bytes::from(body.to_string())).boxed())
    };
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    Ok(response)
}

/// Wakes tasks at their time, to some ten microseconds.
#[derive(Default)]
struct Clock {
    waiting: Mutex<BinaryHeap<Reverse<Waiting>>>,
    changed: Condvar,
}

struct Waiting {
    due: Instant,
    wake: oneshot::Sender<()>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

impl Clock {
    async fn wait_until(&self, due: Instant) {
        let (wake, woken) = oneshot::channel();
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Reverse(Waiting { due, wake }));
        self.changed.notify_one();
        let _ = woken.await;
    }

    fn run(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            let next = waiting.peek().map(|Reverse(first)| first.due);
            waiting = match next {
                Some(due) if due <= now => {
                    if let Some(Reverse(first)) = waiting.pop() {
                        let _ = first.wake.send(());
                    }
                    waiting
                }
                Some(due) => {
                    let waited = self.changed.wait_timeout(waiting, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
