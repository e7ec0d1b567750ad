//! What the metrics say after known events: each call is counted once, whether it ended in a
//! transaction or before anything was signed.

use serde_json::Value;
use testkit::eventually;

use crate::crashing::{Process, dead_at, free_port, gates_at, held, silent_gates, spawn};
use crate::fixture::{Fixture, Gateway};

/// A process whose metrics are read; it ends when this is dropped.
struct Measured {
    gateway: Gateway,
    metrics: Gateway,
    _process: Process,
}

impl Measured {
    async fn start(fixture: &Fixture, more: &[(&str, &str)]) -> Self {
        let (port, metrics_port) = (free_port().await, free_port().await);
        let own = [
            ("RUNNER_PORT", port.as_str()),
            ("OTEL_EXPORTER_PROMETHEUS_PORT", metrics_port.as_str()),
        ];
        let process = spawn(fixture, &[own.as_slice(), more].concat());
        let [gateway, metrics] =
            [port, metrics_port].map(|port| Gateway::at(format!("http://127.0.0.1:{port}")));
        gateway.up().await;
        Self { gateway, metrics, _process: process }
    }

    /// The value of a metric with these labels; 0 of one that was never counted.
    async fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.metrics.get("/metrics").await.text().await.unwrap();
        let mut of_name = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let has_labels = |line: &&str| {
            labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
        };
        let value = of_name.find(has_labels).and_then(|line| line.rsplit(' ').next());
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// How many calls of this kind ended in this way.
    async fn calls(&self, kind: &str, outcome: &str) -> f64 {
        self.value("lumio_runner_calls_total", &[("kind", kind), ("outcome", outcome)]).await
    }

    /// All calls that ended.
    async fn all_calls(&self) -> f64 {
        let mut sum = 0.0;
        for kind in ["open", "finalize", "void", "reclaim"] {
            for outcome in ["done", "refused", "expired", "withdrawn", "unknown"] {
                sum += self.calls(kind, outcome).await;
            }
        }
        sum
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delisting_in_the_middle_of_a_run_a_refusal_and_what_the_run_cost_are_counted_once() {
    let fixture = Fixture::new().await;
    let open = [("RUNNER_FINALIZE_ON_ERROR", "false")];
    let runner = Measured::start(&fixture, &open).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.until(&id, |run| run["phase"] == "escrow_open").await;
    assert_eq!(runner.calls("open", "done").await, 1.0);

    // The vault refuses to settle it, in simulation: nothing is signed.
    let delist = fixture.registry.remove_runner(fixture.agent_id, fixture.runner.address());
    fixture.submit(&fixture.developer, delist.into()).await;
    let retried = runner.gateway.post(&format!("/runs/{id}/retry"), &Value::Null).await;
    assert_eq!(retried.status(), 200);
    let over = |run: &Value| run["attempt"] == 2 && run["phase"] == "done";
    let run = runner.gateway.until(&id, over).await;
    assert_eq!(run["errorCode"], "PREFLIGHT_UNAUTHORIZED_RUNNER", "{run:#}");
    let done = (fixture.succeeded(&id, "finalize").await, fixture.succeeded(&id, "void").await);
    assert_eq!(done, (0, 1));

    eventually(|| async { runner.calls("void", "done").await == 1.0 }).await;
    assert_eq!(runner.calls("finalize", "refused").await, 1.0);
    assert_eq!(runner.all_calls().await, 3.0);
    assert_eq!(runner.value("lumio_runner_delistings_total", &[]).await, 1.0);
    // The first attempt has cost its opening and its void; the second was never opened.
    let text = "SELECT sum(fee_charged)::double precision FROM chain_transactions";
    let cost: f64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
    eventually(|| async { runner.value("lumio_runner_run_fee_count", &[]).await == 1.0 }).await;
    assert_eq!(runner.value("lumio_runner_run_fee_sum", &[]).await, cost);
    assert!(cost > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_too_late_or_called_off_before_they_were_signed_are_counted_once() {
    let fixture = Fixture::new().await;
    // Its settlement comes after its deadline.
    let (_, _, late) = dead_at(&fixture, "finalize.before_persist", &[]).await;
    fixture.localnet.advance_time(4_000);
    let runner = Measured::start(&fixture, &[]).await;
    let run = runner.gateway.ended(&late, "failed").await;
    assert_eq!(run["escrow"], "returned", "{run:#}");
    eventually(|| async { runner.calls("reclaim", "done").await == 1.0 }).await;
    assert_eq!(runner.calls("finalize", "expired").await, 1.0);
    assert_eq!(runner.all_calls().await, 2.0);
    drop(runner);

    // Its opening waits, as every transaction costs more than it may.
    let runner = Measured::start(&fixture, &[("RUNNER_MAX_FEE_STROOPS", "1000")]).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    let waits =
        |run: &Value| run["waitingFor"].as_str().is_some_and(|text| text.contains("ceiling"));
    runner.gateway.until(&id, waits).await;
    let answer = runner.gateway.post(&format!("/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!(answer.status(), 200);
    runner.gateway.ended(&id, "cancelled").await;
    assert_eq!(runner.calls("open", "withdrawn").await, 1.0);
    assert_eq!(runner.all_calls().await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_another_worker_took_is_counted_once() {
    let fixture = Fixture::new().await;
    let (_silent, url) = silent_gates().await;
    let runner = Measured::start(&fixture, &gates_at(&url)).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    let token = held(&fixture, &id).await;
    let text = "UPDATE runs SET lease_token = lease_token + 1, lease_owner = 'another', \
            lease_until = now() + interval '1 hour' WHERE id = $1 AND lease_token = $2";
    let uuid: uuid::Uuid = id.parse().unwrap();
    let taken = sqlx::query(text).bind(uuid).bind(token).execute(&fixture.db.pool).await.unwrap();
    assert_eq!(taken.rows_affected(), 1);
    let lost = || async { runner.value("lumio_runner_leases_lost_total", &[]).await == 1.0 };
    eventually(lost).await;
}
