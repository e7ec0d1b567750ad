//! What a client may take of a gRPC server: connections, and the time of its own part of a call.
//!
//! HTTP/2 asks an open connection whether it still lives. That begins only after the client has
//! begun HTTP/2 itself, and a client that answers may still never send the message of its call, or
//! never call at all. So a connection without an open call is closed after a time; clients connect
//! anew when they call. A call that needs no token ends after a time, as anybody can make one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::HeaderMap;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::Connected;
use tracing::warn;

use super::idle::{Calls, Idle};

/// How long the text is with which a client begins HTTP/2 (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// What a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at one time; further ones wait to be accepted.
    pub connections: usize,
    /// For the beginning of HTTP/2 on a new connection.
    pub preface: Duration,
    /// Between two pieces of what a call sends, while they are waited for.
    pub request_pause: Duration,
    /// Without an open call on a connection.
    pub idle: Duration,
    /// Of a call that needs no token.
    pub open_call: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            preface: Duration::from_secs(10),
            request_pause: Duration::from_secs(30),
            // A client that calls every five, ten or fifteen minutes keeps its connection.
            idle: Duration::from_secs(1_000),
            open_call: Duration::from_secs(600),
        }
    }
}

/// The connections of `listener`, at most as many at a time as there are places.
pub(super) fn incoming(
    listener: TcpListener,
    limits: Limits,
) -> impl Stream<Item = io::Result<Connection>> + Send + Unpin + 'static {
    let places = Arc::new(Semaphore::new(limits.connections));
    let next = move |(listener, places): (TcpListener, Arc<Semaphore>)| async move {
        // The place first: a connection that is accepted must be served.
        let place = Arc::clone(&places).acquire_owned().await.ok()?;
        let stream = loop {
            match listener.accept().await {
                Ok((stream, _)) => break stream,
                Err(error) => {
                    // Mostly too many open files: others have to be closed first.
                    warn!("a connection could not be accepted: {error}");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        };
        // An answer is several small writes: held back until the client acknowledges the one
        // before, each call would take the 40 ms by which Linux delays that.
        let _ = stream.set_nodelay(true);
        let preface =
            Some(Preface { missing: PREFACE_BYTES, late: Box::pin(sleep(limits.preface)) });
        let (calls, idle) = (Arc::new(Calls::new(Instant::now())), Idle::new(limits.idle));
        let connection = Connection { stream, preface, calls, idle, _place: place };
        Some((Ok(connection), (listener, places)))
    };
    stream::unfold((listener, places), next).boxed()
}

/// A connection that has a place, has to begin HTTP/2 in time, and is closed when nothing calls.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    preface: Option<Preface>,
    calls: Arc<Calls>,
    idle: Idle,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Preface {
    missing: usize,
    late: Pin<Box<Sleep>>,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let this = &mut *self;
        let Some(preface) = &mut this.preface else {
            // What has arrived is served first.
            if read.is_pending() && this.idle.poll(cx, &this.calls).is_ready() {
                // The end of what the client sends: the server closes the connection.
                return Poll::Ready(Ok(()));
            }
            return read;
        };
        match read {
            Poll::Ready(_) => {
                preface.missing = preface.missing.saturating_sub(buf.filled().len() - before);
                if preface.missing == 0 {
                    this.preface = None;
                }
                read
            }
            Poll::Pending => {
                ready!(preface.late.as_mut().poll(cx));
                let text = "the client did not begin HTTP/2 in time";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Calls>;

    fn connect_info(&self) -> Arc<Calls> {
        Arc::clone(&self.calls)
    }
}

/// `request` with an end to each wait for a piece of its messages.
pub(super) fn bounded(request: http::Request<Body>, pause: Duration) -> http::Request<Body> {
    request.map(|body| Body::new(Bounded { body, pause, late: None }))
}

/// The messages of a call.
struct Bounded {
    body: Body,
    pause: Duration,
    /// While a piece is waited for: the server itself may take its time between two pieces.
    late: Option<Pin<Box<Sleep>>>,
}

impl hyper::body::Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let piece = Pin::new(&mut self.body).poll_frame(cx);
        if piece.is_ready() {
            self.late = None;
            return piece;
        }
        let pause = self.pause;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(pause)));
        ready!(late.as_mut().poll(cx));
        let text = "the call's message did not arrive in time";
        Poll::Ready(Some(Err(Status::deadline_exceeded(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// `response`, which ends after `most` if it has not ended by then.
pub(super) fn brief(response: http::Response<Body>, most: Duration) -> http::Response<Body> {
    response.map(|body| Body::new(Brief { body, late: Box::pin(sleep(most)), ended: false }))
}

/// The answers of a call that anybody can make.
struct Brief {
    body: Body,
    late: Pin<Box<Sleep>>,
    ended: bool,
}

impl hyper::body::Body for Brief {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.late.as_mut().poll(cx).is_pending() {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        self.ended = true;
        let mut trailers = HeaderMap::new();
        let status = Status::unavailable("the call was open for long enough; call again");
        status.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }
}
