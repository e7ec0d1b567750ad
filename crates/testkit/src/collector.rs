//! A collector of spans and metrics (OTLP over gRPC).

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Keeps what it is sent. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct Collector {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
}

impl Collector {
    /// Is reached by `server`, which may bring TLS, on the port of loopback that this answers.
    ///
    /// # Panics
    ///
    /// When there is no free port.
    pub async fn serve(&self, mut server: Server) -> u16 {
        let listener = TcpListener::bind(crate::ANY_PORT).await.expect("a port for the collector");
        let port = listener.local_addr().expect("its address").port();
        let server = server
            .add_service(TraceServiceServer::new(self.clone()))
            .add_service(MetricsServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        port
    }

    /// The spans that it was sent so far.
    ///
    /// # Panics
    ///
    /// Never: no holder of the lock panics.
    pub fn traces(&self) -> Vec<ExportTraceServiceRequest> {
        self.traces.lock().expect("what was exported").clone()
    }

    /// The metrics that it was sent so far.
    ///
    /// # Panics
    ///
    /// Never: no holder of the lock panics.
    pub fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        self.metrics.lock().expect("what was exported").clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.traces.lock().expect("what was exported").push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.metrics.lock().expect("what was exported").push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
