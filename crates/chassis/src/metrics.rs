//! Every metric of the chassis, with its unit and meaning. A service names its own in a file like
//! this one, made from [`meter`]. Label values come from closed lists, never from callers.

use std::sync::LazyLock;

use opentelemetry::global;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

/// Where instruments are made. Make them after [`crate::telemetry::init`], as a `LazyLock` does.
pub fn meter() -> Meter {
    global::meter("lumio")
}

/// `lumio.outbox.published` (events): confirmed by the bus and marked.
pub fn events_published() -> &'static Counter<u64> {
    static COUNTER: LazyLock<Counter<u64>> = LazyLock::new(|| {
        meter()
            .u64_counter("lumio.outbox.published")
            .with_unit("{event}")
            .with_description("events the bus confirmed")
            .build()
    });
    &COUNTER
}

/// `lumio.outbox.failures` (attempts): not confirmed by the bus; each is tried again.
pub fn publish_failures() -> &'static Counter<u64> {
    static COUNTER: LazyLock<Counter<u64>> = LazyLock::new(|| {
        meter()
            .u64_counter("lumio.outbox.failures")
            .with_unit("{attempt}")
            .with_description("publishes the bus did not confirm")
            .build()
    });
    &COUNTER
}

/// `lumio.outbox.aside` (events): wait although the bus is there, as no stream keeps their subject.
pub fn events_aside() -> &'static Gauge<u64> {
    static GAUGE: LazyLock<Gauge<u64>> = LazyLock::new(|| {
        meter()
            .u64_gauge("lumio.outbox.aside")
            .with_unit("{event}")
            .with_description("events whose subject no stream keeps")
            .build()
    });
    &GAUGE
}

/// `lumio.database.errors` (errors): statements whose failure reached a caller, by `kind`
/// (see [`crate::postgres::Kind`]).
pub fn database_errors() -> &'static Counter<u64> {
    static COUNTER: LazyLock<Counter<u64>> = LazyLock::new(|| {
        meter()
            .u64_counter("lumio.database.errors")
            .with_unit("{error}")
            .with_description("statements that failed, by kind")
            .build()
    });
    &COUNTER
}

/// `lumio.health.check` (1 or 0): whether what a service needs or wants answered last time, by
/// `check` (see [`crate::Health`]).
pub fn health_check() -> &'static Gauge<u64> {
    static GAUGE: LazyLock<Gauge<u64>> = LazyLock::new(|| {
        meter()
            .u64_gauge("lumio.health.check")
            .with_description("whether what the service needs or wants answers")
            .build()
    });
    &GAUGE
}

/// The buckets that OpenTelemetry's conventions advise for durations, in seconds.
const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// `http.server.request.duration` (seconds): by `http.request.method`, `http.route`,
/// `http.response.status_code` and `url.scheme`.
pub fn http_server_duration() -> &'static Histogram<f64> {
    static HISTOGRAM: LazyLock<Histogram<f64>> = LazyLock::new(|| {
        meter()
            .f64_histogram("http.server.request.duration")
            .with_unit("s")
            .with_description("from a request's head to its answer's head")
            .with_boundaries(SECONDS.to_vec())
            .build()
    });
    &HISTOGRAM
}

/// `rpc.server.call.duration` (seconds): by `rpc.system.name`, `rpc.method` and
/// `rpc.response.status_code`.
pub fn rpc_server_duration() -> &'static Histogram<f64> {
    static HISTOGRAM: LazyLock<Histogram<f64>> = LazyLock::new(|| {
        meter()
            .f64_histogram("rpc.server.call.duration")
            .with_unit("s")
            .with_description("from a call's head to its answer's head")
            .with_boundaries(SECONDS.to_vec())
            .build()
    });
    &HISTOGRAM
}

/// `rpc.client.call.duration` (seconds): calls to other services, with the same attributes.
pub fn rpc_client_duration() -> &'static Histogram<f64> {
    static HISTOGRAM: LazyLock<Histogram<f64>> = LazyLock::new(|| {
        meter()
            .f64_histogram("rpc.client.call.duration")
            .with_unit("s")
            .with_description("from a call's head to its answer's head")
            .with_boundaries(SECONDS.to_vec())
            .build()
    });
    &HISTOGRAM
}
