//! Says when this process's telemetry no longer reaches its collector, and when it does again.
//!
//! The library logs a line at every attempt, which is every few seconds, and does not know by which
//! setting the operator named the collector. Its own lines are filtered out of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tracing::{info, warn};

use super::ENDPOINT;

/// What is exported: each kind is one bit of [`Outage`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Spans = 1,
    Metrics = 2,
}

/// The kinds that were not exported at the last attempt. Both go to one collector, so an outage is
/// logged once for both.
#[derive(Debug, Default)]
pub(super) struct Outage(AtomicU8);

/// An exporter whose outages are logged.
#[derive(Debug)]
pub(super) struct Watched<E> {
    exporter: E,
    kind: Kind,
    outage: Arc<Outage>,
}

impl Outage {
    /// Logs when the first kind fails, and when none fails any more.
    fn note(&self, kind: Kind, outcome: &OTelSdkResult) {
        // No other memory is ordered by these bits.
        let bit = kind as u8;
        match outcome {
            Err(error) => {
                if self.0.fetch_or(bit, Ordering::Relaxed) == 0 {
                    let what = kind.words();
                    warn!("{ENDPOINT}: {what} cannot be exported: {error}");
                }
            }
            Ok(()) => {
                if self.0.fetch_and(!bit, Ordering::Relaxed) == bit {
                    info!("{ENDPOINT}: telemetry is exported again");
                }
            }
        }
    }
}

impl Kind {
    const fn words(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Metrics => "metrics",
        }
    }
}

impl<E> Watched<E> {
    pub(super) const fn new(kind: Kind, exporter: E, outage: Arc<Outage>) -> Self {
        Self { exporter, kind, outage }
    }

    fn note(&self, outcome: OTelSdkResult) -> OTelSdkResult {
        self.outage.note(self.kind, &outcome);
        outcome
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.note(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.note(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;
    use crate::telemetry::captured::Log;

    #[test]
    fn a_collector_that_is_away_is_logged_once_and_once_when_it_is_back() {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().json().with_writer(log.writer()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let outage = Arc::<Outage>::default();
            let spans = Watched::new(Kind::Spans, (), Arc::clone(&outage));
            let metrics = Watched::new(Kind::Metrics, (), outage);
            let failed = || Err(OTelSdkError::InternalFailure("away".to_owned()));
            assert!(spans.note(Ok(())).is_ok());
            for _ in 0..3 {
                assert!(spans.note(failed()).is_err(), "the library gets the result");
                assert!(metrics.note(failed()).is_err());
            }
            assert!(spans.note(Ok(())).is_ok(), "metrics are still not exported");
            assert!(metrics.note(Ok(())).is_ok());
            assert!(spans.note(Ok(())).is_ok());
            assert!(metrics.note(failed()).is_err());
        });
        let lines = log.lines();
        let said: Vec<_> =
            lines.iter().map(|line| line["fields"]["message"].as_str().unwrap()).collect();
        let away = |what: &str| {
            let setting = "OTEL_EXPORTER_OTLP_ENDPOINT";
            format!("{setting}: {what} cannot be exported: Operation failed: away")
        };
        let back = "OTEL_EXPORTER_OTLP_ENDPOINT: telemetry is exported again".to_owned();
        assert_eq!(said, [away("spans"), back, away("metrics")]);
    }
}
