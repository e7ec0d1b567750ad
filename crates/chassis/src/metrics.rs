//! Every metric of the chassis, with its unit and meaning. A service names its own in a file like this
//! one, made from [`meter`]. Label values come from closed lists, never from callers.

use std::sync::LazyLock;

use opentelemetry::global;
use opentelemetry::metrics::{Counter, Histogram, Meter};

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

/// `lumio.database.errors` (errors): statements that failed where a caller is told, by `kind`
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

/// `lumio.server.duration` (seconds): from a request's head to its answer's head, by `protocol`
/// (`grpc`, `http`).
pub fn server_duration() -> &'static Histogram<f64> {
    static HISTOGRAM: LazyLock<Histogram<f64>> = LazyLock::new(|| {
        meter()
            .f64_histogram("lumio.server.duration")
            .with_unit("s")
            .with_description("from a request's head to its answer's head")
            .build()
    });
    &HISTOGRAM
}
