//! The life of a process: tasks, signals, an orderly stop, and the truth about how it ended.
//!
//! The first SIGTERM or SIGINT asks every task to stop, a second one ends the process at once. They
//! are heard from the first moment of a process on ([`Signals::listen`]), also while it starts: the
//! first process of a container has no default for them, and would not notice them. A
//! task that fails stops the others too, and the process then ends with an error: a restart is
//! better than a service that does half its work, and an orchestrator must not see a clean stop.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures::FutureExt as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// The tasks of a process, or of one service in a process that holds several.
#[derive(Debug, Clone, Default)]
pub struct Service {
    stop: CancellationToken,
    tasks: Arc<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    next: AtomicU64,
    running: Mutex<BTreeMap<u64, (String, AbortHandle)>>,
    failure: Mutex<Option<anyhow::Error>>,
    changed: Notify,
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;
/// `SO_SNDBUF` of accepted connections, in bytes; Linux reserves twice as much. Automatic tuning
/// would use megabytes of a container's memory for each client that does not read.
const SEND_BUFFER: u32 = 128 * 1024;

/// The settings that say where a service listens.
#[derive(Debug, Clone, Copy)]
pub struct ListenSettings {
    /// The variable that names the address.
    pub host: &'static str,
    /// The variable that names the port.
    pub port: &'static str,
}

impl From<&'static str> for ListenSettings {
    /// One variable names both.
    fn from(setting: &'static str) -> Self {
        Self { host: setting, port: setting }
    }
}

/// An address that is reserved, on which connections are still refused: a client that waits for the
/// port to open finds a service that has started.
#[derive(Debug)]
pub struct Bound {
    socket: TcpSocket,
    address: SocketAddr,
    settings: ListenSettings,
}

/// Takes `address`, which the operator set by `settings`.
///
/// # Errors
///
/// When the address cannot be had; the text names the setting.
pub fn bind(address: SocketAddr, settings: impl Into<ListenSettings>) -> anyhow::Result<Bound> {
    let settings = settings.into();
    let bind = || -> io::Result<_> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Or a restart would have to wait for the connections of the process before.
        socket.set_reuseaddr(true)?;
        // Accepted sockets inherit this.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(address)?;
        Ok((socket.local_addr()?, socket))
    };
    let (address, socket) = bind().map_err(|error| refused(error, settings, address))?;
    Ok(Bound { socket, address, settings })
}

impl Bound {
    /// The address, with the port that the system chose if it was to choose one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections from now on.
    ///
    /// # Errors
    ///
    /// When another process came first; the text names the setting.
    pub fn listen(self) -> anyhow::Result<TcpListener> {
        let (settings, address) = (self.settings, self.address);
        self.socket.listen(BACKLOG).map_err(|error| refused(error, settings, address))
    }
}

/// A listener on `address`, which the operator set by `settings`.
///
/// # Errors
///
/// When the address cannot be had; the text names the setting.
pub fn listen(
    address: SocketAddr,
    settings: impl Into<ListenSettings>,
) -> anyhow::Result<TcpListener> {
    bind(address, settings)?.listen()
}

/// Which setting is wrong, and what to do about it.
fn refused(error: io::Error, settings: ListenSettings, address: SocketAddr) -> anyhow::Error {
    let ListenSettings { host, port } = settings;
    let text = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{port}: cannot listen on {address}; stop what holds it or choose another")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{port}: this user may not listen on {address}; choose a port from 1024 on")
        }
        // Such as one of another machine, or of another family than the system has.
        _ => format!("{host}: cannot listen on {address}; name an address of this machine"),
    };
    anyhow::Error::new(error).context(text)
}

impl Service {
    /// Starts a task. It should end soon after [`Service::stop`] is cancelled; ending earlier
    /// without an error is fine, ending with an error or a panic stops the whole service.
    pub fn spawn<F>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (name, tasks, stop) = (name.into(), Arc::clone(&self.tasks), self.stop.clone());
        let id = tasks.next.fetch_add(1, Ordering::Relaxed);
        // Held while spawning, so that the task cannot end before it is listed.
        let mut running = self.tasks.running.lock().unwrap_or_else(PoisonError::into_inner);
        let label = name.clone();
        let handle = tokio::spawn(async move {
            // Nothing waits for the handle, so an uncaught panic would end the task without a word.
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            let ended = ended.unwrap_or_else(|_| Err(anyhow!("it panicked")));
            if let Err(cause) = ended {
                error!(task = %label, "task {label} failed: {cause:#}");
                // Kept before the others are stopped: what they say then is mostly an echo of it.
                tasks.fail(cause.context(format!("task {label} failed")));
                stop.cancel();
            }
            tasks.remove(id);
        });
        running.insert(id, (name, handle.abort_handle()));
    }

    /// Cancelled when the service should stop; tasks wait for it, and anybody may cancel it.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits for a signal, a failure or a cancelled [`Service::stop`], then for the tasks, at most
    /// `grace`.
    ///
    /// # Errors
    ///
    /// The first failure of a task; or that tasks were still running after `grace`; or that a
    /// second signal cut the stop short.
    pub async fn run(self, grace: Duration) -> anyhow::Result<()> {
        self.run_until(&mut Signals::new()?, grace).await
    }

    /// The same with signals that were listened for before.
    ///
    /// # Errors
    ///
    /// As [`Service::run`].
    pub async fn run_until(self, signals: &mut Signals, grace: Duration) -> anyhow::Result<()> {
        tokio::select! {
            name = signals.next() => info!("{name}: stopping, at most {} s", grace.as_secs()),
            () = self.stop.cancelled() => {}
            () = self.tasks.all_gone() => {}
        }
        self.end(signals, grace).await
    }

    /// Begins the service by `start`, and stops it again if a signal comes meanwhile. Whether it has
    /// started.
    ///
    /// # Errors
    ///
    /// What `start` refused; its tasks are stopped then.
    pub async fn start(
        &self,
        signals: &mut Signals,
        grace: Duration,
        start: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<bool> {
        let refused = tokio::select! {
            // Signals come first: after a request to stop, the start is not begun.
            biased;
            name = signals.next() => {
                info!("{name}: stopping before the start has ended");
                None
            }
            started = start => match started {
                Ok(()) => return Ok(true),
                Err(refusal) => Some(refusal),
            },
        };
        // What has begun ends in order.
        let ended = self.clone().end(signals, grace).await;
        match refused {
            Some(refusal) => Err(refusal),
            None => ended.map(|()| false),
        }
    }

    /// Stops the tasks and waits for them, unless a signal says not to.
    async fn end(self, signals: &mut Signals, grace: Duration) -> anyhow::Result<()> {
        tokio::select! {
            ended = self.clone().finish(grace) => ended,
            name = signals.next() => {
                self.tasks.abort();
                Err(anyhow!("{name} again: stopped without waiting for {}", self.tasks.names()))
            }
        }
    }

    /// Stops the tasks and waits for them, at most `grace`: the end of [`Service::run`] without
    /// signals, for processes that hold several services.
    ///
    /// # Errors
    ///
    /// As [`Service::run`].
    pub async fn finish(self, grace: Duration) -> anyhow::Result<()> {
        self.stop.cancel();
        let in_time = tokio::time::timeout(grace, self.tasks.all_gone()).await.is_ok();
        let late = self.tasks.names();
        if !in_time {
            warn!("still running after {} s: {late}", grace.as_secs());
            self.tasks.abort();
        }
        match self.tasks.take_failure() {
            Some(failure) => Err(failure),
            None if in_time => Ok(()),
            None => Err(anyhow!("did not stop within {} s: {late}", grace.as_secs())),
        }
    }
}

impl Tasks {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, (String, AbortHandle)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, id: u64) {
        self.lock().remove(&id);
        self.changed.notify_waiters();
    }

    /// Keeps the first failure: the ones after it are mostly its echo.
    fn fail(&self, cause: anyhow::Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
    }

    fn take_failure(&self) -> Option<anyhow::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn abort(&self) {
        self.lock().values().for_each(|(_, handle)| handle.abort());
    }

    fn names(&self) -> String {
        self.lock().values().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    async fn all_gone(&self) {
        loop {
            // Registered before the look: a task that ends between look and wait is not missed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.lock().is_empty() {
                return;
            }
            changed.await;
        }
    }
}

/// The signals that ask a process to end.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on, outside of any runtime and without starting a thread: the first thing
    /// that a process does. A signal that comes before somebody waits for it is kept.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn listen() -> anyhow::Result<Self> {
        // Signals are registered with a runtime, and whichever one runs later hands them on.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot listen for signals")?;
        let _entered = runtime.enter();
        Self::new()
    }

    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let (terminate, interrupt) =
            (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    /// The name of the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
