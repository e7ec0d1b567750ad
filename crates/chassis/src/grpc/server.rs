//! A gRPC server: services behind tokens, health and reflection open, every call in a span.
//!
//! grpc.health.v1 answers two questions (R15). The empty name and the names of the services say
//! whether work may come. [`LIVE`] says only that the process serves: an orchestrator that restarts
//! what is not alive must not restart a service whose database is away.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::interceptor::InterceptedService;
use tonic::service::{LayerExt as _, Routes};
use tonic::transport;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::util::{MapRequestLayer, MapResponseLayer};
use tower::{Service, layer::layer_fn};
use tracing::warn;

use super::idle;
use super::limits::{self, Limits};
use super::{Auth, Tokens};
use crate::health::Health;
use crate::trace;

/// The name under which grpc.health.v1 says that the process serves, whether or not it is ready.
pub const LIVE: &str = "live";
/// How often a connection that says nothing is asked whether it still lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long open calls may take after a stop. Clients call again (R11); a stop must not wait for
/// them.
const GRACE: Duration = Duration::from_secs(6);
/// Calls open on one connection, at most.
const MAX_STREAMS: u32 = 256;

/// Services on their way to a listener.
pub struct Server {
    auth: Auth,
    health: Health,
    routes: Routes,
    names: Vec<&'static str>,
    limits: Limits,
}

impl Server {
    /// A server that lets in the callers in `tokens` and reports `health` by grpc.health.v1.
    pub fn new(tokens: &Tokens, health: &Health) -> Self {
        let (auth, health) = (tokens.auth(), health.clone());
        let (routes, names, limits) = (Routes::default(), Vec::new(), Limits::default());
        Self { auth, health, routes, names, limits }
    }

    /// The same with other limits.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds a generated service; its callers need a token.
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        // Each service separately, so that health and reflection, added later, stay open.
        self.routes = self.routes.add_service(InterceptedService::new(service, self.auth.clone()));
        self
    }

    /// Serves on `listener` until `stop`, then lets open calls end within a few seconds.
    ///
    /// # Errors
    ///
    /// When the transport fails.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
        let (reporter, health_service) = tonic_health::server::health_reporter();
        reporter.set_service_status(LIVE, ServingStatus::Serving).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .context("cannot describe the services")?;
        let Limits { request_pause: pause, open_call, .. } = self.limits;
        let brief = MapResponseLayer::new(move |answer| limits::brief(answer, open_call));
        let routes = self
            .routes
            .add_service(brief.named_layer(health_service))
            .add_service(brief.named_layer(reflection));
        let mirror = mirror(self.health, reporter, self.names);
        let incoming = limits::incoming(listener, self.limits);
        let serving = transport::Server::builder()
            .layer(trace::grpc())
            .layer(layer_fn(idle::Counted))
            .layer(MapRequestLayer::new(move |request: http::Request<Body>| {
                limits::bounded(request, pause)
            }))
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .max_concurrent_streams(MAX_STREAMS)
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        tokio::select! {
            ended = serving => ended.context("the gRPC server failed"),
            // Never ends before the server does.
            () = mirror => Ok(()),
            () = after(stop, GRACE) => {
                warn!("gRPC connections are cut off: their clients did not end in time");
                Ok(())
            }
        }
    }
}

/// Ends some time after `stop`.
async fn after(stop: CancellationToken, time: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(time).await;
}

/// Keeps grpc.health.v1 equal to `health`, for the server as a whole (the empty name) and each
/// service.
async fn mirror(health: Health, reporter: HealthReporter, names: Vec<&'static str>) {
    let mut changes = health.subscribe();
    loop {
        let ready = changes.borrow_and_update().ready;
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in names.iter().copied().chain([""]) {
            reporter.set_service_status(name, status).await;
        }
        // Health is gone with its service; ending here would end the server before its calls.
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
