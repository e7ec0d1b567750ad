//! The server on loopback: one for each execution.
//!
//! Any process of the machine could connect to it, so it serves only connections that the guard has
//! made for the module and named by their address.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use reqwest::{Certificate, Client, redirect, retry};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tracing::Instrument as _;
use wire::Usage;
use wire::egress::Egress;

use crate::call;
use crate::evidence::Evidence;
use crate::meter::Meter;
use crate::record::Tokens;
use crate::replay::{Recorded, Recording};
use crate::route::Route;

/// The placeholder address of the proxy in a module's environment: the same in every run, so that
/// nothing a module does depends on a port that was free.
pub const SHOWN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4280);

/// How long a connection may wait to be named by the guard.
const ADMISSION: Duration = Duration::from_secs(2);
/// Connections at once.
const MAX_CONNECTIONS: usize = 256;
/// How long answers that are still coming are waited for when the execution has ended.
const DRAIN: Duration = Duration::from_secs(10);

/// Where the proxies' work is done. One serves many executions, one after the other or at once.
///
/// It has some threads with a scheduler of their own, and each proxy stays on one of them. A call
/// passes through several tasks; between two threads each hand-over would wake a sleeping one,
/// which costs more than everything else that a proxy does.
pub struct Engine {
    threads: Vec<Thread>,
    next: AtomicUsize,
}

/// One thread of an engine. It ends when this is dropped.
struct Thread {
    runtime: Handle,
    _ends: oneshot::Sender<()>,
}

/// Threads of an engine: executions at once wait for each other less with more of them.
const THREADS: RangeInclusive<usize> = 2..=8;

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (ends, ended) = oneshot::channel();

        // It is not waited for when the engine is dropped, which may be where nothing may wait.
        std::thread::Builder::new().name("egress".to_owned()).spawn(move || {
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, _ends: ends })
    }
}

impl Engine {
    /// Starts its threads.
    ///
    /// # Errors
    /// The host's own.
    pub fn start() -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let count = processors.clamp(*THREADS.start(), *THREADS.end());
        let threads = (0..count).map(|_| Thread::start()).collect::<io::Result<_>>()?;
        Ok(Self { threads, next: AtomicUsize::new(0) })
    }

    /// The scheduler of the thread whose turn it is.
    fn runtime(&self) -> &Handle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.threads[turn % self.threads.len()].runtime
    }
}

/// Makes the client of one service. Its connections are shared by executions.
///
/// # Errors
/// Its settings cannot be used.
pub fn client(route: &Route, authorities: &[Certificate]) -> Result<Client, String> {
    let mut builder = Client::builder()
        // Each of these would be a request that is not counted, or leaves the service.
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(route.limits.connect)
        .tcp_nodelay(true)
        .pool_max_idle_per_host(route.limits.concurrency);
    if !authorities.is_empty() {
        builder = builder.tls_certs_only(authorities.iter().cloned());
    }
    builder.build().map_err(|error| format!("cannot make a client: {error}"))
}

/// Where answers come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The services, by a client for each route.
    Live(Vec<Client>),
    /// A recording.
    Recorded(Arc<Recording>),
}

/// What one execution may do.
#[derive(Debug)]
pub struct Plan {
    /// The services.
    pub routes: Vec<Route>,
    /// What may be used at most.
    pub budgets: Usage,
    /// Where answers come from.
    pub source: Source,
    /// Answers are kept for a recording.
    pub records: bool,
    /// Serve every process of the machine: for measurements and tests that run no guard.
    pub open: bool,
}

/// What all requests of one execution share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) routes: Vec<Route>,
    pub(crate) places: Vec<Arc<Semaphore>>,
    pub(crate) source: Source,
    pub(crate) records: bool,
    pub(crate) meter: Meter,
    pub(crate) evidence: Evidence,
    pub(crate) recorded: Mutex<Vec<Recorded>>,
    admission: Admission,
}

/// Connections that the guard has made.
#[derive(Debug, Default)]
struct Admission {
    named: Mutex<HashSet<SocketAddr>>,
    changed: Notify,
    everybody: bool,
}

impl Admission {
    fn admit(&self, address: SocketAddr) {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
        self.changed.notify_waiters();
    }

    /// Waits until the connection from this address is named. Each name counts once: the port may
    /// be another process's when the connection has ended.
    async fn named(&self, address: SocketAddr) {
        if self.everybody {
            return;
        }
        loop {
            let changed = self.changed.notified();
            if self.named.lock().unwrap_or_else(PoisonError::into_inner).remove(&address) {
                return;
            }
            changed.await;
        }
    }
}

/// The proxy of one execution.
#[derive(Debug)]
pub struct Proxy {
    listener: SocketAddrV4,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What was done by way of a proxy.
#[derive(Debug)]
pub struct Report {
    /// What the statement says.
    pub egress: Egress,
    /// The list of calls.
    pub list: Vec<u8>,
    /// Their bodies, where a service's are kept.
    pub bodies: Vec<u8>,
    /// What is charged: calls and tokens.
    pub usage: Usage,
    /// The first thing that the run's budget stood against: a request that was refused, a stream
    /// that was cut.
    pub budget: Option<String>,
    /// Answers for a recording.
    pub recorded: Vec<Recorded>,
    /// Requests that a recording has no answer for.
    pub missing: Vec<String>,
}

impl Proxy {
    /// Begins to listen.
    ///
    /// # Errors
    /// The host's own.
    pub fn start(engine: &Engine, plan: Plan) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(io::Error::other("a listener of IPv4 has another address"));
        };
        let Plan { routes, budgets, source, records, open } = plan;
        if let Source::Recorded(recording) = &source {
            recording.rewind();
        }
        let shared = Arc::new(Shared {
            places: routes
                .iter()
                .map(|route| Arc::new(Semaphore::new(route.limits.concurrency)))
                .collect(),
            meter: Meter::new(budgets, routes.iter().map(|route| &route.limits)),
            routes,
            source,
            records,
            evidence: Evidence::default(),
            recorded: Mutex::default(),
            admission: Admission { everybody: open, ..Admission::default() },
        });
        let served = Arc::clone(&shared);
        let accepting = async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => accept(listener, served).await,
                Err(error) => tracing::error!(%error, "the proxy cannot listen"),
            }
        };
        let accepting = engine.runtime().spawn(accepting.in_current_span());
        Ok(Self { listener: address, shared, accepting })
    }

    /// Where it listens.
    pub fn listener(&self) -> SocketAddrV4 {
        self.listener
    }

    /// How the guard names a connection that it has made for the module.
    pub fn admit(&self) -> Arc<dyn Fn(SocketAddr) + Send + Sync> {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |address| shared.admission.admit(address))
    }

    /// The execution has ended: nothing leaves any more. Waits some seconds for answers that are
    /// still coming, since their records decide what is charged. Blocking.
    pub fn finish(self) -> Report {
        let Self { shared, accepting, .. } = self;
        accepting.abort();
        let kept = shared.evidence.close(&shared.routes, DRAIN, |call, reservation| {
            // It left, and nothing more is known of it.
            shared.meter.settle(reservation, Tokens::default());
            call.reason = Some("the execution ended before its answer".to_owned());
        });
        let mut recorded = shared.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = match &shared.source {
            Source::Recorded(recording) => recording.missing(),
            Source::Live(_) => Vec::new(),
        };
        for one in &kept.egress.upstreams {
            if one.unbilled > 0 || one.inconclusive > 0 {
                // The operator pays the service for these, and no run pays the operator.
                tracing::warn!(
                    upstream = one.name,
                    unbilled = one.unbilled,
                    inconclusive = one.inconclusive,
                    "tokens of a service are not charged"
                );
            }
        }
        Report {
            egress: kept.egress,
            list: kept.list,
            bodies: kept.bodies,
            usage: shared.meter.spent(),
            budget: kept.budget,
            recorded: std::mem::take(&mut recorded),
            missing,
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Such as too many open files; others may close some.
                tracing::warn!(%error, "the proxy cannot take a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        let serving = async move {
            let _place = place;
            if tokio::time::timeout(ADMISSION, shared.admission.named(peer)).await.is_err() {
                tracing::warn!(%peer, "a process other than the module connected to its proxy");
                return;
            }
            let _ = stream.set_nodelay(true);
            let answer = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(call::serve(shared, request).await) }
            });
            let mut server = auto::Builder::new(TokioExecutor::new());
            server
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(Some(Duration::from_secs(60)))
                // A client may close its half when its request is whole.
                .half_close(true)
                .max_buf_size(128 << 10);
            server.http2().timer(TokioTimer::new()).max_concurrent_streams(64);
            // What a module's connection fails of is the module's own.
            let _ = server.serve_connection(TokioIo::new(stream), answer).await;
        };
        tokio::spawn(serving.in_current_span());
    }
}
