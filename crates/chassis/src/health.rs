//! What a service knows of itself: alive, ready, degraded (R15).
//!
//! Ready means that what it *needs* answers and it is not draining. What it only *wants* (the
//! bus, the chain, another service) makes it degraded while away: its queue and its outbox ride
//! that out.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use opentelemetry::KeyValue;
use serde::{Serialize, Serializer};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, warn};

use crate::{Bus, Service, clock, metrics, postgres, telemetry};

/// How often NATS is asked.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// How often Postgres is asked: with the time that it has for an answer, a service is not ready 3 s
/// after its database fell silent.
const PROBE_POSTGRES_EVERY: Duration = Duration::from_secs(1);
/// How long a probe may take before it counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The named checks of a service. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Health(Arc<watch::Sender<HealthReport>>);

/// The state of a service at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// Everything needed answers, and the service is not draining.
    pub ready: bool,
    /// Something needed or wanted does not answer.
    pub degraded: bool,
    /// The service was asked to stop.
    pub draining: bool,
    /// Each check by its name.
    pub checks: BTreeMap<String, Check>,
}

/// One thing a service needs or wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Whether it answered last time; `false` before the first time.
    pub ok: bool,
    /// Whether readiness depends on it.
    pub needed: bool,
    /// Why not, if it did not. Operators see it: no secret (R9).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Since when it has been so.
    #[serde(serialize_with = "with_milliseconds")]
    pub since: OffsetDateTime,
    /// The variable that says where it is.
    #[serde(skip)]
    pub setting: Option<&'static str>,
    /// Whether it was ever asked.
    #[serde(skip)]
    pub asked: bool,
}

fn with_milliseconds<S: Serializer>(at: &OffsetDateTime, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&clock::rfc3339(*at))
}

fn not_asked(needed: bool) -> Check {
    let detail = Some("not asked yet".to_owned());
    Check { ok: false, needed, detail, since: clock::now(), setting: None, asked: false }
}

impl Default for Health {
    fn default() -> Self {
        let checks = BTreeMap::new();
        Self(Arc::new(watch::Sender::new(HealthReport {
            ready: true,
            degraded: false,
            draining: false,
            checks,
        })))
    }
}

impl Health {
    /// Health without any check: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds something without which the service is not ready; it does not answer until
    /// [`Health::set`] says so.
    pub fn need(&self, name: &str) -> &Self {
        self.add(name, true)
    }

    /// Adds something without which the service is only degraded.
    pub fn want(&self, name: &str) -> &Self {
        self.add(name, false)
    }

    /// Names the variable that says where `name` is. What a failure says begins with it.
    pub fn set_by(&self, name: &str, setting: &'static str) -> &Self {
        self.change(|snapshot| {
            let check = snapshot.checks.entry(name.to_owned()).or_insert_with(|| not_asked(false));
            check.setting = Some(setting);
        });
        self
    }

    /// Notes how `name` answered. A name that was never added counts as wanted.
    pub fn set(&self, name: &str, answer: Result<(), String>) {
        // The names are those that the service's own code gives.
        let labels = [KeyValue::new("check", name.to_owned())];
        metrics::health_check().record(u64::from(answer.is_ok()), &labels);
        self.change(|snapshot| {
            let check = snapshot.checks.entry(name.to_owned()).or_insert_with(|| not_asked(false));
            let (ok, detail) = (answer.is_ok(), answer.err());
            let detail = detail.map(|detail| match check.setting {
                Some(setting) => format!("{setting}: {detail}"),
                None => detail,
            });
            // After the first answer only a change is logged: the same one comes every few seconds.
            if check.ok != ok || !check.asked {
                check.since = clock::now();
                match &detail {
                    None => info!(check = name, "{name} answers"),
                    Some(detail) => warn!(check = name, "{name} does not answer: {detail}"),
                }
            }
            (check.ok, check.detail, check.asked) = (ok, detail, true);
        });
    }

    /// From now on not ready: no new work should come.
    pub fn drain(&self) {
        self.change(|snapshot| snapshot.draining = true);
    }

    /// The state of the service now.
    pub fn snapshot(&self) -> HealthReport {
        self.0.borrow().clone()
    }

    /// Every change from now on.
    pub fn subscribe(&self) -> watch::Receiver<HealthReport> {
        self.0.subscribe()
    }

    /// Asks `probe` about `name` at once and then at every `interval`, until `stop`; on stop the
    /// service is draining. For [`crate::Service::spawn`].
    ///
    /// # Errors
    ///
    /// None.
    pub async fn watch<F, Fut>(
        self,
        name: &'static str,
        interval: Duration,
        stop: CancellationToken,
        probe: F,
    ) -> anyhow::Result<()>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<(), String>>,
    {
        let mut ticks = tokio::time::interval(interval);
        loop {
            tokio::select! {
                // The first tick is at once.
                _ = ticks.tick() => {}
                () = stop.cancelled() => break,
            }
            // Polls are no traces: they would outnumber and hide the work.
            let probing = probe().instrument(telemetry::unsampled("probe"));
            let answer = tokio::select! {
                answer = tokio::time::timeout(PROBE_TIMEOUT, probing) => answer,
                // What is asked may be silent: a stop does not wait for it.
                () = stop.cancelled() => break,
            };
            self.set(name, answer.unwrap_or_else(|_| Err("it took too long to answer".to_owned())));
        }
        self.drain();
        Ok(())
    }

    /// Watches the database as `postgres`, without which the service is not ready.
    pub fn watch_postgres(&self, service: &Service, db: &PgPool) {
        self.need("postgres").set_by("postgres", "DATABASE_URL");
        postgres::explain(service, db);
        let db = db.clone();
        let probe = move || {
            let db = db.clone();
            async move { postgres::probe(&db).await }
        };
        let watch = self.clone().watch("postgres", PROBE_POSTGRES_EVERY, service.stop(), probe);
        service.spawn("probe postgres", watch);
    }

    /// Watches the bus as `nats`, without which the service is only degraded: facts wait in the
    /// outbox.
    pub fn watch_nats(&self, service: &Service, bus: &Bus) {
        self.want("nats").set_by("nats", "NATS_URL");
        let bus = bus.clone();
        let probe = move || {
            let bus = bus.clone();
            async move { bus.probe_settled().await }
        };
        let watch = self.clone().watch("nats", PROBE_EVERY, service.stop(), probe);
        service.spawn("probe nats", watch);
    }

    /// `/live` (the process answers) and `/ready` (503 if not), for an HTTP server.
    pub fn router(&self) -> Router {
        let health = self.clone();
        let ready = move || async move {
            let snapshot = health.snapshot();
            let status =
                if snapshot.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, Json(snapshot))
        };
        Router::new().route("/live", get(async || "live\n")).route("/ready", get(ready))
    }

    fn add(&self, name: &str, needed: bool) -> &Self {
        let check = not_asked(needed);
        self.change(|snapshot| drop(snapshot.checks.insert(name.to_owned(), check)));
        self
    }

    fn change(&self, change: impl FnOnce(&mut HealthReport)) {
        // Subscribers wake by a change alone, not by every probe.
        self.0.send_if_modified(|snapshot| {
            let before = snapshot.clone();
            change(snapshot);
            let missing =
                |needed| snapshot.checks.values().any(|check| !check.ok && check.needed == needed);
            let (needs, wants) = (missing(true), missing(false));
            snapshot.ready = !needs && !snapshot.draining;
            snapshot.degraded = needs || wants;
            *snapshot != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_decides_readiness_and_what_is_wanted_does_not() {
        let health = Health::new();
        health.need("postgres").want("nats");
        assert!(!health.snapshot().ready);

        health.set("postgres", Ok(()));
        let snapshot = health.snapshot();
        assert!(snapshot.ready && snapshot.degraded);

        health.set("nats", Ok(()));
        assert!(!health.snapshot().degraded);

        health.set("postgres", Err("away".to_owned()));
        let snapshot = health.snapshot();
        assert!(!snapshot.ready);
        assert_eq!(snapshot.checks["postgres"].detail.as_deref(), Some("away"));
        health.set_by("postgres", "DATABASE_URL").set("postgres", Err("away".to_owned()));
        let named = health.snapshot().checks["postgres"].detail.clone();
        assert_eq!(named.as_deref(), Some("DATABASE_URL: away"));
    }

    #[test]
    fn a_check_is_said_at_its_first_answer_and_at_every_change() {
        let log = crate::telemetry::captured::Log::default();
        let subscriber = tracing_subscriber::fmt().json().with_writer(log.writer()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let health = Health::new();
            health.want("nats").set_by("nats", "NATS_URL");
            // Whatever the words of an answer are.
            health.want("friend");
            for _ in 0..2 {
                health.set("friend", Err("not asked yet".to_owned()));
            }
            for answer in [Err("away"), Err("away"), Ok(()), Ok(()), Err("refused"), Err("away")] {
                health.set("nats", answer.map_err(str::to_owned));
            }
        });
        let said: Vec<_> = log
            .lines()
            .iter()
            .map(|line| line["fields"]["message"].as_str().unwrap().to_owned())
            .collect();
        let expected = [
            "friend does not answer: not asked yet",
            "nats does not answer: NATS_URL: away",
            "nats answers",
            "nats does not answer: NATS_URL: refused",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_draining_service_is_not_ready() {
        let health = Health::new();
        assert!(health.snapshot().ready);
        health.drain();
        assert!(!health.snapshot().ready && !health.snapshot().degraded);
    }
}
