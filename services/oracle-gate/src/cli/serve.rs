//! `oracle-gate serve`.

use std::path::Path;
use std::time::Duration;

use chassis::{Env, Service, confine, telemetry};

use super::{Failure, UNKNOWN, usage};
use crate::config::{Config, EXCHANGE, ROOT};

/// How long open calls may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until a signal. A failed start is one line and exit code 3.
pub(super) fn run() -> Result<u8, Failure> {
    let config = Config::read(Env::process()).map_err(|error| usage(error.to_string()))?;
    let folders = [(ROOT, config.place.folder()), (EXCHANGE, config.exchange.as_deref())];
    let folders: Vec<_> =
        folders.into_iter().filter_map(|(name, folder)| Some((name, folder?))).collect();
    for (name, folder) in &folders {
        std::fs::create_dir_all(folder)
            .map_err(|error| usage(format!("{name}: cannot make {}: {error}", folder.display())))?;
    }
    let written: Vec<&Path> = folders.iter().map(|(_, folder)| *folder).collect();
    // Before the runtime starts threads, which would stay free.
    let confinement = confine::confine(&[Path::new("/run")], &written)
        .map_err(|error| usage(format!("{}: {error}", confine::SWITCH)))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| usage(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        let telemetry = telemetry::init("oracle-gate", &config.log_level)
            .map_err(|error| usage(format!("{error:#}")))?;
        confinement.log();
        let service = Service::default();
        crate::start(&service, config).await.map_err(|error| usage(format!("{error:#}")))?;
        let ended = service.run(GRACE).await;
        telemetry.flush();
        let failed = |error| Failure { exit: UNKNOWN, text: format!("{error:#}") };
        ended.map(|()| 0).map_err(failed)
    })
}
