//! What every service does the same way. No business word: a sentence that needs "run", "module" or
//! "verdict" belongs in a service.
//!
//! Reading order: [`config`] (the only reader of the environment), [`files`] (which it names) and
//! [`clock`] (the only reader of the clock), [`process`] and [`service`] (start, signals, stop),
//! [`output`] (what commands print), [`postgres`], [`bus`] and
//! [`outbox`] (facts leave in the order in which they became true), [`retention`] (and are counted
//! as long as their entity is there), [`http`] (no client holds a server up), [`grpc`] (who may
//! call, and the trace that goes along), [`trace`] (spans and durations of calls), [`telemetry`],
//! [`metrics`], [`health`], [`confine`] (what the process may still touch), and [`crash`] (where a
//! test can make it die).

pub mod config;
pub mod files;
pub mod clock;
pub mod process;
pub mod output;
pub mod service;
pub mod postgres;
pub mod bus;
pub mod outbox;
pub mod refill;
pub mod retention;
pub mod http;
pub mod grpc;
pub mod trace;
pub mod telemetry;
pub mod metrics;
pub mod health;
pub mod confine;
pub mod crash;

pub use bus::Bus;
pub use config::{Env, Secret};
pub use health::Health;
pub use service::Service;

use std::sync::LazyLock;

/// The version of this build, for `--version` and telemetry: the package's, and behind `+` the
/// commit where the build names it in `LUMIO_COMMIT`.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("LUMIO_COMMIT") {
        Some(commit) if !commit.is_empty() => format!("{}+{commit}", env!("CARGO_PKG_VERSION")),
        _ => env!("CARGO_PKG_VERSION").to_owned(),
    });
    &VERSION
}
