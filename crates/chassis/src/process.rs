//! The entry of a service's process: confinement, runtime, telemetry, service, orderly stop, exit
//! code.
//!
//! The order matters. Landlock binds a thread and what it starts, so the process is confined
//! before the runtime starts threads; an exporter starts threads too, and needs the runtime.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::header;
use axum::routing::get;
use sqlx::PgPool;
use sqlx::migrate::MigrateError;
use tracing::info;

use crate::config::Env;
use crate::confine::{self, confine};
use crate::service::{Service, listen};
use crate::telemetry::{self, Telemetry};
use crate::{http, postgres, refill};

/// The port on which Prometheus may read metrics; not set, they are not served.
pub const METRICS_PORT: &str = "OTEL_EXPORTER_PROMETHEUS_PORT";
/// The address to listen on for it; this machine alone if not set.
pub const METRICS_HOST: &str = "OTEL_EXPORTER_PROMETHEUS_HOST";

/// Connections to it at one time; a few readers keep one each.
const METRICS_CONNECTIONS: usize = 64;

/// A start that failed: a setting is wrong (C1).
const EXIT_USAGE: u8 = 3;
/// The service ended by a failure (C1).
const EXIT_FAILED: u8 = 1;
/// Nothing is known; another attempt may succeed (C1).
const EXIT_UNKNOWN: u8 = 2;

/// What a process is and may do.
#[derive(Debug, Clone)]
pub struct Process {
    /// The service's name, as people and telemetry know it.
    pub name: &'static str,
    /// `error warn info debug trace`.
    pub log_level: String,
    /// The variable that sets it.
    pub log_setting: &'static str,
    /// Folders that it reads besides the system's.
    pub read: Vec<PathBuf>,
    /// Folders that it writes. They have to be there.
    pub write: Vec<PathBuf>,
    /// How long open work may take after a signal.
    pub grace: Duration,
}

/// Runs a service until a signal or a failure. `start` begins its tasks; what it refuses is
/// printed on one line of standard error, and the process exits with 3. A service that fails
/// later exits with 1.
pub fn run(process: Process, start: impl AsyncFnOnce(&Service) -> anyhow::Result<()>) -> ExitCode {
    let name = process.name;
    match enter(process, start) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => report(name, &error, EXIT_FAILED),
        Err(error) => report(name, &error, EXIT_USAGE),
    }
}

/// Brings the schema of `DATABASE_URL` up to date and ends: for a job that runs before the service
/// starts, with a role that may change tables.
///
/// Exit code 0: the schema is up to date. 1: it cannot be brought there, as when it is newer than
/// this program. 2: the database does not answer, or refuses the login; try again. 3: a setting is
/// wrong (C1).
pub fn migrate(
    name: &'static str,
    env: Env,
    migrate: impl AsyncFnOnce(&PgPool) -> Result<(), MigrateError>,
) -> ExitCode {
    let url = env.required_url("DATABASE_URL", &["postgres", "postgresql"]);
    if let Err(error) = env.finish() {
        return report(name, &error.into(), EXIT_USAGE);
    }
    let runtime = match tokio::runtime::Runtime::new().context("cannot start the runtime") {
        Ok(runtime) => runtime,
        Err(error) => return report(name, &error, EXIT_UNKNOWN),
    };
    runtime.block_on(async {
        // For what is said while the database is waited for.
        if let Err(error) = telemetry::init(name, "info") {
            return report(name, &error, EXIT_USAGE);
        }
        let db = match postgres::connect(&url).await {
            Ok(db) => db,
            Err(error) => return report(name, &error, EXIT_UNKNOWN),
        };
        match migrate(&db).await {
            Ok(()) => {
                println!("the schema of {name} is up to date");
                ExitCode::SUCCESS
            }
            Err(error) => {
                let context = "DATABASE_URL: cannot bring the schema up to date";
                report(name, &anyhow::Error::new(error).context(context), EXIT_FAILED)
            }
        }
    })
}

/// Publishes events again from the outbox of `DATABASE_URL`, for a stream that lost them. The
/// service may be running.
///
/// Exit code 0: they were published, or counted. 2: the database or the bus did not answer; what
/// was published until then stays, and beginning again is harmless. 3: a setting is wrong (C1).
pub fn refill(name: &'static str, env: Env, order: &refill::Order) -> ExitCode {
    let database_url = env.required_url("DATABASE_URL", &["postgres", "postgresql"]);
    let nats_url = env.required_url("NATS_URL", &["nats", "tls"]);
    let nats_prefix = env.with_default("NATS_PREFIX", wire::event::DEFAULT_PREFIX);
    if let Err(error) = env.finish() {
        return report(name, &error.into(), EXIT_USAGE);
    }
    let runtime = match tokio::runtime::Runtime::new().context("cannot start the runtime") {
        Ok(runtime) => runtime,
        Err(error) => return report(name, &error, EXIT_UNKNOWN),
    };
    match runtime.block_on(order.carry_out(&database_url, &nats_url, &nats_prefix)) {
        Ok(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        Err(error) => report(name, &error, EXIT_UNKNOWN),
    }
}

/// Prints `error` with its causes on one line of standard error, after the program's name.
pub fn report(name: &str, error: &anyhow::Error, exit: u8) -> ExitCode {
    eprintln!("{name}: {}", wire::causes(error.as_ref()));
    ExitCode::from(exit)
}

/// The outer error is one of the start, the inner one of the service.
fn enter(
    process: Process,
    start: impl AsyncFnOnce(&Service) -> anyhow::Result<()>,
) -> anyhow::Result<anyhow::Result<()>> {
    // /run holds what resolves names on many systems.
    let read = [Path::new("/run")].into_iter().chain(process.read.iter().map(PathBuf::as_path));
    let write = process.write.iter().map(PathBuf::as_path);
    let (read, write): (Vec<_>, Vec<_>) = (read.collect(), write.collect());
    let confinement = confine(&read, &write)
        .with_context(|| format!("{}: cannot confine this process", confine::SWITCH))?;

    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let telemetry =
            telemetry::init(process.name, &process.log_level).context(process.log_setting)?;
        confinement.log();

        let service = Service::default();
        let started = async {
            serve_metrics(&service, &telemetry).await?;
            start(&service).await
        };
        if let Err(error) = started.await {
            // What has begun ends in order, and what it logged is exported.
            service.stop().cancel();
            let _ = service.finish(process.grace).await;
            telemetry.flush();
            return Err(error);
        }

        let ended = service.run(process.grace).await;
        telemetry.flush();
        Ok(ended)
    })
}

/// Serves `/metrics` on an address of its own, which is not the one that callers reach.
async fn serve_metrics(service: &Service, telemetry: &Telemetry) -> anyhow::Result<()> {
    let env = Env::process();
    let port = env.parse(METRICS_PORT, |text| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("expected a whole number from 1 to 65535"),
    });
    let host = env.parse(METRICS_HOST, |text| {
        text.parse().map_err(|_| "expected an IP address, such as 127.0.0.1 or 0.0.0.0")
    });
    env.finish()?;
    let Some(port) = port else { return Ok(()) };

    let address = SocketAddr::new(host.unwrap_or([127, 0, 0, 1].into()), port);
    let listener = listen(address, METRICS_PORT)?;
    info!("metrics are served on http://{address}/metrics");
    let telemetry = telemetry.clone();
    let metrics = move || async move {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], telemetry.prometheus())
    };
    let router = Router::new().route("/metrics", get(metrics));
    // Whoever reads metrics is a client as any other.
    let limits = http::Limits { connections: METRICS_CONNECTIONS, ..http::Limits::default() };
    service.spawn("metrics", http::serve(listener, router, limits, service.stop()));
    Ok(())
}
