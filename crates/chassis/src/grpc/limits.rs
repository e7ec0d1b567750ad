//! What a client may take of a gRPC server: connections, and the time of its own part of a call.
//!
//! HTTP/2 asks an open connection whether it still lives. That begins only after the client has
//! begun HTTP/2 itself, and a client that answers may still never send the message of its call.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::warn;

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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            preface: Duration::from_secs(10),
            request_pause: Duration::from_secs(30),
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
        Some((Ok(Connection { stream, preface, _place: place }), (listener, places)))
    };
    stream::unfold((listener, places), next).boxed()
}

/// A connection that has a place, and has to begin HTTP/2 in time.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    preface: Option<Preface>,
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
        let Some(preface) = &mut self.preface else { return read };
        match read {
            Poll::Ready(_) => {
                preface.missing = preface.missing.saturating_sub(buf.filled().len() - before);
                if preface.missing == 0 {
                    self.preface = None;
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
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
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
