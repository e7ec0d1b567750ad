//! The runner's metrics, with their units and meanings. Label values come from closed lists.

use std::sync::LazyLock;
use std::time::Duration;

use chassis::metrics::meter;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram};

use crate::chain::call::CallState;
use crate::chain::outcomes::Shortage;
use crate::chain::shortages::Shortages;
use crate::chain::store::Ended;
use crate::chain::store::calls::CallUpdate;
use crate::chain::transaction::{Kind, Transaction};
use crate::gateway::store::Load;
use crate::model::state::Status;
use crate::operations::intake::PauseView;
use crate::operations::watch::Waiting;
use crate::sight::ReadPosition;

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

/// Records how much there is to do.
pub fn record(load: &Load) {
    let states = [
        ("queued", load.queued),
        ("scheduled", load.scheduled),
        ("limited", load.limited),
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

/// Records what is paused.
pub fn record_pauses(pauses: &[PauseView]) {
    for scope in ["all", "agent", "user"] {
        let count = pauses.iter().filter(|pause| pause.scope == scope).count();
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
pub fn record_read_position(position: &ReadPosition) {
    open_gaps().record(position.gaps, &[]);
    behind().record(position.behind, &[]);
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

/// `lumio.runner.outcomes.unknown` (runs): those that were handed to an operator, because nobody
/// knows what became of a call (R13).
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

/// Records what waits, by status and by what it waits for.
pub fn record_waiting(waiting: &Waiting) {
    for status in Status::ALL {
        let count = waiting.by_status.get(status.name()).copied().unwrap_or_default();
        queue_depth().record(count, &[KeyValue::new("status", status.name())]);
    }
    unknown_outcomes().record(waiting.unknown, &[]);
    overdue_escrows().record(waiting.overdue_escrows, &[]);
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

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallOutcome {
    /// It landed and did what it says.
    Done,
    /// The vault refused it.
    Refused,
    /// It can never land, or came too late.
    Expired,
    /// It was called off before anything was signed.
    Withdrawn,
    /// Nobody can say: an operator has to look (R13).
    Unknown,
}

impl CallOutcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Unknown => "unknown",
        }
    }
}

/// Counts a call that ended.
fn call_ended(kind: Kind, outcome: CallOutcome) {
    let labels = [KeyValue::new("kind", kind.name()), KeyValue::new("outcome", outcome.name())];
    calls().add(1, &labels);
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

/// Records a transaction that ended: what became of its calls, after how many ledgers it landed, and
/// what each call of it cost.
pub fn transaction_ended(transaction: &Transaction, ended: &Ended, updates: &[CallUpdate]) {
    for update in updates {
        let outcome = match update.state {
            CallState::Done => CallOutcome::Done,
            CallState::Refused => CallOutcome::Refused,
            CallState::Late => CallOutcome::Expired,
            CallState::Withdrawn => CallOutcome::Withdrawn,
            CallState::Unknown => CallOutcome::Unknown,
            // They go on in another transaction.
            CallState::Wanted | CallState::Signed => continue,
        };
        call_ended(transaction.kind, outcome);
    }
    let Some(landed) = &ended.landed else { return };
    let labels = [KeyValue::new("kind", transaction.kind.name())];
    let ledgers = landed.ledger.saturating_sub(transaction.signed_ledger);
    confirmation().record(u64::from(ledgers), &labels);
    let charged = landed.fee_charged.and_then(|charged| u64::try_from(charged).ok());
    if let Some(charged) = charged {
        let calls = u64::try_from(updates.len()).unwrap_or(1).max(1);
        fee().record(charged / calls, &labels);
    }
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
