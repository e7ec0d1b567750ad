//! Clients in a closed loop: each has one connection, and sends its next request when the last one
//! was answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::figures::Times;

/// A request.
pub type Call = Request<Full<Bytes>>;

/// When the clients stop.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After this time.
    Time(Duration),
    /// After this many requests of all of them.
    Count(u64),
}

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// How long each answer took.
    pub times: Vec<Duration>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Seen {
    /// Adds another round.
    pub fn add(&mut self, round: Self) {
        self.times.extend(round.times);
        self.elapsed += round.elapsed;
    }

    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The times, sorted.
    pub fn sorted(&self) -> Times {
        self.times.iter().copied().collect()
    }
}

/// Lets this many clients send what `call` makes of the number of each request, on a thread of
/// their own.
///
/// # Errors
///
/// When an answer does not have the status `expected`, or a connection fails.
pub async fn closed_loop(
    address: SocketAddr,
    clients: usize,
    until: Until,
    expected: u16,
    call: impl Fn(u64) -> anyhow::Result<Call> + Send + Sync + 'static,
) -> anyhow::Result<Seen> {
    let work = move || -> anyhow::Result<Seen> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Shared { address, until, expected, call, sent: AtomicU64::new(0) };
        let shared = Arc::new(shared);
        runtime.block_on(async {
            let connections = (0..clients).map(|_| connect(address));
            let connections = try_join_all(connections).await?;
            let begun = Instant::now();
            let clients = connections.into_iter().map(|sender| client(&shared, sender, begun));
            let times = try_join_all(clients).await?.concat();
            Ok(Seen { times, elapsed: begun.elapsed() })
        })
    };
    tokio::task::spawn_blocking(work).await?
}

struct Shared<F> {
    address: SocketAddr,
    until: Until,
    expected: u16,
    call: F,
    sent: AtomicU64,
}

async fn connect(address: SocketAddr) -> anyhow::Result<http1::SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // What ends it is seen by the request that it ends.
    tokio::spawn(connection);
    Ok(sender)
}

async fn client<F: Fn(u64) -> anyhow::Result<Call>>(
    shared: &Shared<F>,
    mut sender: http1::SendRequest<Full<Bytes>>,
    begun: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    loop {
        let number = shared.sent.fetch_add(1, Ordering::Relaxed);
        let is_over = match shared.until {
            Until::Time(limit) => begun.elapsed() >= limit,
            Until::Count(limit) => number >= limit,
        };
        if is_over {
            return Ok(times);
        }
        let request = (shared.call)(number)?;
        let sent = Instant::now();
        sender.ready().await?;
        let answer = sender.send_request(request).await;
        let answer = answer.with_context(|| format!("{} does not answer", shared.address))?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        times.push(sent.elapsed());
        ensure!(status == shared.expected, "answered {status}: {}", String::from_utf8_lossy(&body));
    }
}
