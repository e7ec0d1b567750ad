//! The runner's metrics, with their units and meanings. Label values come from closed lists.

use std::sync::LazyLock;

use chassis::metrics::meter;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge};

use crate::chain::outcomes::Shortage;
use crate::chain::shortages::Shortages;
use crate::gateway::store::Load;
use crate::sight::Place;

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

/// `lumio.runner.contract.events` (events): of vault and registry, by `event`; `unreadable` are those
/// that this release cannot read.
fn contract_events() -> &'static Counter<u64> {
    static COUNTER: LazyLock<Counter<u64>> = LazyLock::new(|| {
        meter()
            .u64_counter("lumio.runner.contract.events")
            .with_unit("{event}")
            .with_description("events of the contracts that were read and published")
            .build()
    });
    &COUNTER
}

/// Counts an event of a contract. The names are a closed list.
pub fn contract_event(name: &'static str) {
    contract_events().add(1, &[KeyValue::new("event", name)]);
}

/// `lumio.runner.contract.gaps` (gaps): stretches of ledgers that every node forgot before they were
/// read.
pub fn event_gaps() -> &'static Counter<u64> {
    static COUNTER: LazyLock<Counter<u64>> = LazyLock::new(|| {
        meter()
            .u64_counter("lumio.runner.contract.gaps")
            .with_unit("{gap}")
            .with_description("stretches of ledgers whose events were lost")
            .build()
    });
    &COUNTER
}

/// `lumio.runner.contract.gaps.open` (gaps): those that no operator took note of.
fn open_gaps() -> &'static Gauge<u64> {
    static GAUGE: LazyLock<Gauge<u64>> = LazyLock::new(|| {
        meter()
            .u64_gauge("lumio.runner.contract.gaps.open")
            .with_unit("{gap}")
            .with_description("gaps in the contracts' events that no operator took note of")
            .build()
    });
    &GAUGE
}

/// `lumio.runner.contract.behind` (ledgers): seen of the network, and their events not read.
fn behind() -> &'static Gauge<u64> {
    static GAUGE: LazyLock<Gauge<u64>> = LazyLock::new(|| {
        meter()
            .u64_gauge("lumio.runner.contract.behind")
            .with_unit("{ledger}")
            .with_description("ledgers whose events are not read yet")
            .build()
    });
    &GAUGE
}

/// Records where the reader of the contracts' events is.
pub fn record_place(place: &Place) {
    open_gaps().record(place.gaps, &[]);
    behind().record(place.behind, &[]);
}
