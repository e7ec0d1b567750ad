//! An HTTP server that no client can hold up: every wait for a client has an end.
//!
//! A client may send its head or its body slowly, keep a connection without using it, take an
//! answer slowly, or open as many connections as it can. Each of these ends by a limit of
//! [`Limits`], and a stop waits for none of them longer than [`Limits::grace`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, warn};

pub mod held;

/// What a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the head of a request, and between two requests on one connection.
    pub head: Duration,
    /// Between two pieces of a request's body.
    pub body_pause: Duration,
    /// For a request's body as a whole, unless its route allows another time ([`BodyDeadline`]).
    pub body: Duration,
    /// For taking any byte of an answer.
    pub write_pause: Duration,
    /// Connections at one time; further ones wait to be accepted.
    pub connections: usize,
    /// For open requests after a stop; what is still open then is cut off.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(20),
            body_pause: Duration::from_secs(10),
            body: Duration::from_secs(60),
            write_pause: Duration::from_secs(30),
            connections: 1_024,
            grace: Duration::from_secs(5),
        }
    }
}

/// Serves `router` on `listener` until `stop`, then lets open requests end within the grace.
///
/// # Errors
///
/// None now: a connection that fails ends alone, and one that cannot be accepted is waited for.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let router = router.layer(axum::middleware::from_fn(move |request, next| {
        with_bounded_body(limits, request, next)
    }));
    let places = Arc::new(Semaphore::new(limits.connections));
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());

    loop {
        // The place first: a connection that is accepted must be served.
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place.context("no places any more")?,
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly too many open files: others have to be closed first.
                warn!("a connection could not be accepted: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let serving = connection((stream, peer), router.clone(), limits, stop.clone());
        let cut = cut.clone();
        connections.spawn(async move {
            tokio::select! {
                () = serving => {}
                () = cut.cancelled() => {}
            }
            drop(place);
        });
    }

    // At once, so that new connections are refused and do not wait for a server that stops.
    drop(listener);
    connections.close();
    if timeout(limits.grace, connections.wait()).await.is_err() {
        warn!("{} connections are cut off: their clients did not end in time", connections.len());
        cut.cancel();
        connections.wait().await;
    }
    Ok(())
}

async fn connection(
    (stream, peer): (TcpStream, SocketAddr),
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    // Answers are small and sent at once.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    // Only writes: between the head and the answer nothing is read, for as long as the answer
    // takes.
    stream.set_write_timeout(Some(limits.write_pause));

    let service = router.map_request(move |mut request: http::Request<Incoming>| {
        // Who calls, for handlers that ask.
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(Body::new)
    });
    let mut server = http1::Builder::new();
    let serving = server
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(service));
    tokio::pin!(serving);

    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            // Answers the request that has begun, and takes no other on this connection.
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!("a connection ended: {error}");
    }
}

/// How long a request's body may take as a whole. It is among the request's extensions: a route that
/// takes large bodies allows more time before it reads one.
#[derive(Debug, Clone)]
pub struct BodyDeadline(Arc<AtomicU64>);

impl BodyDeadline {
    fn new(time: Duration) -> Self {
        let body_time = Self(Arc::default());
        body_time.allow(time);
        body_time
    }

    /// Allows this time, from the first poll for a piece of the body.
    pub fn allow(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.0.store(ms, Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Whether an error means that a body did not arrive in time.
pub fn is_body_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_io = error.downcast_ref::<io::Error>();
    if of_io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
        return true;
    }
    error.source().is_some_and(is_body_timeout)
}

/// Gives the request a body that fails when it does not come in time.
async fn with_bounded_body(limits: Limits, mut request: Request, next: Next) -> Response {
    let time = BodyDeadline::new(limits.body);
    request.extensions_mut().insert(time.clone());
    let request = request.map(|body| {
        let pieces = bounded(body.into_data_stream(), limits.body_pause, time);
        Body::from_stream(pieces)
    });
    next.run(request).await
}

/// The pieces of `body`, with an end to each wait and to all of them together.
fn bounded<S, E>(
    body: S,
    pause: Duration,
    whole: BodyDeadline,
) -> impl Stream<Item = io::Result<Bytes>> + Send
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the body did not arrive in time");
    stream::unfold((body, whole, None::<Instant>), move |(mut body, whole, begun)| async move {
        let begun = begun.unwrap_or_else(Instant::now);
        // Whichever is shorter: the pause, or what is left for the body as a whole.
        let left = whole.get().saturating_sub(begun.elapsed());
        let piece = match timeout(pause.min(left), body.next()).await {
            Ok(piece) => piece?.map_err(io::Error::other),
            Err(_) => Err(late()),
        };
        Some((piece, (body, whole, Some(begun))))
    })
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;

    /// A body of one piece a second, for so many seconds.
    fn slow(secs: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin {
        Box::pin(stream::unfold(0, move |sent| async move {
            sleep(Duration::from_secs(1)).await;
            (sent < secs).then(|| (Ok(Bytes::from_static(b"x")), sent + 1))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_route_may_allow_a_body_more_time_and_no_pause_is_longer_for_it() {
        let pause = Duration::from_secs(10);
        let of = async |secs, allowed: Option<u64>| {
            let time = BodyDeadline::new(Duration::from_secs(60));
            if let Some(secs) = allowed {
                time.allow(Duration::from_secs(secs));
            }
            bounded(slow(secs), pause, time).try_collect::<Vec<_>>().await
        };
        assert_eq!(of(50, None).await.unwrap().len(), 50);
        let late = of(90, None).await.unwrap_err();
        assert!(is_body_timeout(&late), "{late}");
        assert_eq!(of(90, Some(120)).await.unwrap().len(), 90);
        assert!(of(130, Some(120)).await.is_err());

        let time = BodyDeadline::new(Duration::from_secs(3_600));
        let silent = stream::pending::<io::Result<Bytes>>();
        let begun = Instant::now();
        let late = bounded(silent, pause, time).try_collect::<Vec<_>>().await.unwrap_err();
        assert!(is_body_timeout(&io::Error::other(axum::Error::new(late))), "however deep it is");
        assert_eq!(begun.elapsed(), pause);
    }
}
