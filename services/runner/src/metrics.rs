//! The runner's metrics, with their units and meanings. Label values come from closed lists.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use chassis::metrics::meter;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram};
use time::OffsetDateTime;

use crate::model::state::Status;

/// `lumio.runner.runs` (runs): unfinished runs by `state`: `queued`, `scheduled`, `limited`,
/// `running`, `stuck`, `overdue`, `escrow_open`. A run may be counted in several.
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

/// Records how much there is to do: runs by state, and since when the oldest one waits.
pub fn record_load(runs_by_state: &[(&'static str, u64)], oldest_at: Option<OffsetDateTime>) {
    for (state, count) in runs_by_state {
        runs().record(*count, &[KeyValue::new("state", *state)]);
    }
    let age = oldest_at.map(|at| (chassis::clock::now() - at).as_seconds_f64().max(0.0));
    oldest_age().record(age.unwrap_or_default(), &[]);
}

/// `lumio.runner.intake.pauses` (pauses): what an operator has paused, by `scope`: `all`, `agent`,
/// `user`.
fn intake_pauses() -> &'static Gauge<u64> {
    static GAUGE: LazyLock<Gauge<u64>> = LazyLock::new(|| {
        meter()
            .u64_gauge("lumio.runner.intake.pauses")
            .with_unit("{pause}")
            .with_description("pauses of the intake of new runs, by scope")
            .build()
    });
    &GAUGE
}

/// Records what is paused: the scope of each pause.
pub fn record_pauses(scopes: &[&str]) {
    for scope in ["all", "agent", "user"] {
        let count = scopes.iter().filter(|paused| **paused == scope).count();
        let labels = [KeyValue::new("scope", scope)];
        intake_pauses().record(u64::try_from(count).unwrap_or(u64::MAX), &labels);
    }
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

/// Records whether transactions lack something of this kind.
pub fn record_shortage(kind: &'static str, is_met: bool) {
    shortages().record(u64::from(is_met), &[KeyValue::new("kind", kind)]);
}

/// `lumio.runner.nodes`: 1 for the `state` that each `node` is in, else 0. Nodes are named by
/// their number: 1 is that of `RUNNER_RPC_URL`, those of `RUNNER_RPC_FALLBACK_URLS` follow.
fn nodes() -> &'static Gauge<u64> {
    static GAUGE: LazyLock<Gauge<u64>> = LazyLock::new(|| {
        meter()
            .u64_gauge("lumio.runner.nodes")
            .with_description("how each node of the network is, by its number")
            .build()
    });
    &GAUGE
}

/// Records how a node is: of each state, whether it is the node's.
pub fn record_node(number: usize, states: &[(&'static str, bool)]) {
    for (state, holds) in states {
        let labels = [
            KeyValue::new("node", i64::try_from(number).unwrap_or(i64::MAX)),
            KeyValue::new("state", *state),
        ];
        nodes().record(u64::from(*holds), &labels);
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

/// Records where the reader of the contracts' events is: gaps that no operator took note of, and
/// ledgers that are not read yet.
pub fn record_read_position(gaps: u64, ledgers_behind: u64) {
    open_gaps().record(gaps, &[]);
    behind().record(ledgers_behind, &[]);
}

/// `lumio.runner.queue.depth` (runs): unfinished runs by `status`; each is counted once.
fn queue_depth() -> &'static Gauge<u64> {
    static GAUGE: LazyLock<Gauge<u64>> = LazyLock::new(|| {
        meter()
            .u64_gauge("lumio.runner.queue.depth")
            .with_unit("{run}")
            .with_description("unfinished runs by status")
            .build()
    });
    &GAUGE
}

/// `lumio.runner.outcomes.unknown` (runs): those that were handed to an operator, because it
/// is not known what became of a call (R13).
fn unknown_outcomes() -> &'static Gauge<u64> {
    static GAUGE: LazyLock<Gauge<u64>> = LazyLock::new(|| {
        meter()
            .u64_gauge("lumio.runner.outcomes.unknown")
            .with_unit("{run}")
            .with_description("runs that only an operator can go on with")
            .build()
    });
    &GAUGE
}

/// `lumio.runner.escrows.overdue` (runs): past their deadline with their escrow open.
fn overdue_escrows() -> &'static Gauge<u64> {
    static GAUGE: LazyLock<Gauge<u64>> = LazyLock::new(|| {
        meter()
            .u64_gauge("lumio.runner.escrows.overdue")
            .with_unit("{run}")
            .with_description("runs past their deadline whose escrow is open")
            .build()
    });
    &GAUGE
}

/// Records what waits: unfinished runs by status, those that only an operator can go on with, and
/// escrows that are open past their deadline.
pub fn record_waiting(by_status: &BTreeMap<String, u64>, unknown: u64, overdue: u64) {
    for status in Status::ALL {
        let count = by_status.get(status.name()).copied().unwrap_or_default();
        queue_depth().record(count, &[KeyValue::new("status", status.name())]);
    }
    unknown_outcomes().record(unknown, &[]);
    overdue_escrows().record(overdue, &[]);
}

/// `lumio.runner.channel.balance` (stroops): what a source account has, by `account`. The accounts
/// are the operator's own few.
fn channel_balance() -> &'static Gauge<i64> {
    static GAUGE: LazyLock<Gauge<i64>> = LazyLock::new(|| {
        meter()
            .i64_gauge("lumio.runner.channel.balance")
            .with_unit("{stroop}")
            .with_description("what a channel's account has for fees")
            .build()
    });
    &GAUGE
}

/// Records what a channel's account has.
pub fn record_channel(account: &str, balance: i64) {
    channel_balance().record(balance, &[KeyValue::new("account", account.to_owned())]);
}

/// `lumio.runner.calls` (calls): those that ended, by `kind` and `outcome`.
fn calls() -> &'static Counter<u64> {
    static COUNTER: LazyLock<Counter<u64>> = LazyLock::new(|| {
        meter()
            .u64_counter("lumio.runner.calls")
            .with_unit("{call}")
            .with_description("calls of the vault that ended, by kind and outcome")
            .build()
    });
    &COUNTER
}

/// Counts a call that has ended. The caller has committed that it has: an end that was rolled back
/// does not count.
pub fn call_ended(kind: &'static str, outcome: &'static str) {
    calls().add(1, &[KeyValue::new("kind", kind), KeyValue::new("outcome", outcome)]);
}

/// `lumio.runner.confirmation` (ledgers): from the newest ledger known when a transaction was signed
/// to the one that it is in, by `kind`.
fn confirmation() -> &'static Histogram<u64> {
    static HISTOGRAM: LazyLock<Histogram<u64>> = LazyLock::new(|| {
        meter()
            .u64_histogram("lumio.runner.confirmation")
            .with_unit("{ledger}")
            .with_description("ledgers from a transaction's signature to its ledger")
            .with_boundaries(vec![1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 40.0])
            .build()
    });
    &HISTOGRAM
}

/// `lumio.runner.fee` (stroops): what a transaction was charged for each call in it, by `kind`.
fn fee() -> &'static Histogram<u64> {
    static HISTOGRAM: LazyLock<Histogram<u64>> = LazyLock::new(|| {
        meter()
            .u64_histogram("lumio.runner.fee")
            .with_unit("{stroop}")
            .with_description("what the network charged for a call")
            .with_boundaries(vec![1e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8])
            .build()
    });
    &HISTOGRAM
}

/// Records a transaction that landed: after how many ledgers, and what each call of it cost if that
/// is known.
pub fn transaction_landed(kind: &'static str, ledgers: u32, fee_per_call: Option<u64>) {
    let labels = [KeyValue::new("kind", kind)];
    confirmation().record(u64::from(ledgers), &labels);
    if let Some(charged) = fee_per_call {
        fee().record(charged, &labels);
    }
}

/// `lumio.runner.run.fee` (stroops): what one attempt of a run was charged from its opening to the
/// call that closed its escrow: its share of each transaction that carried a call of it.
fn run_fee() -> &'static Histogram<u64> {
    static HISTOGRAM: LazyLock<Histogram<u64>> = LazyLock::new(|| {
        meter()
            .u64_histogram("lumio.runner.run.fee")
            .with_unit("{stroop}")
            .with_description("what the network charged for a run, from its opening to its end")
            .with_boundaries(vec![1e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8])
            .build()
    });
    &HISTOGRAM
}

/// Records what a run cost whose escrow was closed.
pub fn run_closed(fee: u64) {
    run_fee().record(fee, &[]);
}

/// `lumio.runner.claim.duration` (seconds): from the moment a run could be taken until a worker took
/// it.
fn claim_duration() -> &'static Histogram<f64> {
    static HISTOGRAM: LazyLock<Histogram<f64>> = LazyLock::new(|| {
        meter()
            .f64_histogram("lumio.runner.claim.duration")
            .with_unit("s")
            .with_description("from when a run could be taken until a worker took it")
            .with_boundaries(vec![0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0])
            .build()
    });
    &HISTOGRAM
}

/// Records how long a run was there to be taken.
pub fn claimed(waited: Duration) {
    claim_duration().record(waited.as_secs_f64(), &[]);
}

/// `lumio.runner.delistings` (runs): those whose runner was delisted by the agent's developer while
/// they were open, so that they were executed and not paid (V6, V13).
fn delistings() -> &'static Counter<u64> {
    static COUNTER: LazyLock<Counter<u64>> = LazyLock::new(|| {
        meter()
            .u64_counter("lumio.runner.delistings")
            .with_unit("{run}")
            .with_description("open runs whose runner was delisted before they were settled")
            .build()
    });
    &COUNTER
}

/// Counts a run whose runner was delisted while it was open.
pub fn delisted() {
    delistings().add(1, &[]);
}

/// `lumio.runner.leases.lost` (leases): runs that another worker took while this one held them.
fn leases_lost() -> &'static Counter<u64> {
    static COUNTER: LazyLock<Counter<u64>> = LazyLock::new(|| {
        meter()
            .u64_counter("lumio.runner.leases.lost")
            .with_unit("{lease}")
            .with_description("runs that another worker took over")
            .build()
    });
    &COUNTER
}

/// Counts a lease that was lost.
pub fn lease_lost() {
    leases_lost().add(1, &[]);
}
