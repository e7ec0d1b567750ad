//! The runner's metrics, with their units and meanings. Label values come from closed lists.

use std::sync::LazyLock;

use chassis::metrics::meter;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Gauge;

use crate::chain::outcomes::Shortage;
use crate::chain::shortages::Shortages;
use crate::gateway::store::Load;

/// `lumio.runner.runs` (runs): unfinished runs by `state`: `queued`, `running`, `stuck`, `overdue`,
/// `escrow_open`. A run may be counted in several.
fn runs() -> &'static Gauge<u64> {
    static GAUGE: LazyLock<Gauge<u64>> = LazyLock::new(|| {
        meter()
            .u64_gauge("lumio.runner.runs")
            .with_unit("{run}")
            .with_description("unfinished runs by state")
            .build()
    });
    &GAUGE
}

/// `lumio.runner.oldest.age` (seconds): since the run that has waited longest to be opened was
/// accepted.
fn oldest_age() -> &'static Gauge<f64> {
    static GAUGE: LazyLock<Gauge<f64>> = LazyLock::new(|| {
        meter()
            .f64_gauge("lumio.runner.oldest.age")
            .with_unit("s")
            .with_description("age of the run that has waited longest to be opened")
            .build()
    });
    &GAUGE
}

/// Records how much there is to do.
pub fn record(load: &Load) {
    let states = [
        ("queued", load.queued),
        ("running", load.running),
        ("stuck", load.stuck),
        ("overdue", load.overdue),
        ("escrow_open", load.escrows_open),
    ];
    for (state, count) in states {
        let labels = [KeyValue::new("state", state)];
        runs().record(u64::try_from(count).unwrap_or_default(), &labels);
    }
    let age = load.oldest_at.map(|at| (chassis::clock::now() - at).as_seconds_f64().max(0.0));
    oldest_age().record(age.unwrap_or_default(), &[]);
}

/// `lumio.runner.shortages`: 1 for each `kind` of thing that transactions lack, else 0.
fn shortages() -> &'static Gauge<u64> {
    static GAUGE: LazyLock<Gauge<u64>> = LazyLock::new(|| {
        meter()
            .u64_gauge("lumio.runner.shortages")
            .with_description("whether transactions lack something that the operator has to give")
            .build()
    });
    &GAUGE
}

/// Records what transactions lack.
pub fn record_shortages(met: &Shortages) {
    for shortage in Shortage::ALL {
        let labels = [KeyValue::new("kind", shortage.name())];
        shortages().record(u64::from(met.holds(shortage)), &labels);
    }
}
