//! `oracle-gate serve`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chassis::Env;
use chassis::process::{self, Process};
use chassis::service::Signals;

use super::{NAME, UNKNOWN, USAGE, escape};
use crate::config::{Config, EXCHANGE, ROOT};

/// How long open calls may take to end: the process that asked for a stop waits ten seconds at
/// most.
const GRACE: Duration = Duration::from_secs(9);

/// Serves until a signal. A failed start is one line and exit code 3, in the form that all services
/// have.
pub(super) fn run() -> ExitCode {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return process::report(NAME, &error, UNKNOWN),
    };
    match prepare() {
        Ok(config) => serve(config, signals),
        // Names and values of a profile may be foreign text (R18).
        Err(error) => {
            process::report_text(NAME, &escape::line(&wire::causes(error.as_ref())), USAGE)
        }
    }
}

/// What is needed before the process is confined: its settings, and the folders that it writes.
fn prepare() -> anyhow::Result<Config> {
    let config = Config::read(Env::process())?;
    // The rules that confine the process name folders that exist.
    for (name, folder) in folders(&config) {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{name}: cannot make {}", folder.display()))?;
        process::check_writable(name, folder)?;
    }
    Ok(config)
}

fn serve(config: Config, signals: Signals) -> ExitCode {
    let process = Process {
        name: NAME,
        settings: config.process.clone(),
        read: Vec::new(),
        write: folders(&config).map(|(name, folder)| (name, folder.to_owned())).collect(),
        grace: GRACE,
    };
    process::run(process, signals, async |service| crate::start(service, config).await.map(drop))
}

fn folders(config: &Config) -> impl Iterator<Item = (&'static str, &Path)> {
    let folders = [(ROOT, config.location.folder()), (EXCHANGE, config.exchange.as_deref())];
    folders.into_iter().filter_map(|(name, folder)| Some((name, folder?)))
}
