//! What tests start from (a dev-dependency only): a fresh database, a fresh bus, and waiting for a
//! state instead of sleeping.
//!
//! [`postgres`] and [`nats`] use the servers named by `DATABASE_URL` and `NATS_URL`; where those
//! are not set, each test process starts private ones and nothing of them outlives it, however it
//! ends. Programs come from the workspace's `.dev/`, from `PATH`, or from where Debian keeps
//! Postgres.

pub use collector::Collector;
pub use database::{PostgresServer, TestDb, postgres};
pub use examples::assert_every_command_shows_an_example;
pub use full_disk::assert_full_disk_is_no_success;
pub use hanging::{SilentWay, hanging};
pub use message_bus::{Listener, NatsServer, TestBus, nats};
pub use moto::moto;
pub use programs::{install, program};
pub use refill::check_refill;
pub use sql_metadata::assert_sql_metadata_is_current;
pub use upstream::{Arrived, Step, Upstream, upstream};
pub use wait::{State, eventually};

mod collector;
mod database;
mod examples;
pub mod faulty_model;
mod full_disk;
mod hanging;
mod message_bus;
mod moto;
pub mod openai;
mod programs;
mod refill;
pub mod secrets;
pub mod softhsm;
mod sql_metadata;
mod supervised;
pub mod upstream;
mod wait;

/// Where a test's own server listens: the system picks a free port.
pub const ANY_PORT: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A name no other test has, of letters and digits, usable for databases and subjects.
fn fresh_name(what: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "tests must not meet each other")]
    let id = uuid::Uuid::now_v7();
    format!("{what}{}", id.simple())
}

/// Runs async clean-up where nothing can wait for it: in a thread of its own, to its end.
fn in_own_runtime<F>(work: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            let limit = std::time::Duration::from_secs(10);
            runtime.block_on(async { drop(tokio::time::timeout(limit, work).await) });
        }
    });
    drop(thread.join());
}
