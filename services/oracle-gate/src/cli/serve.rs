//! `oracle-gate serve`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use chassis::Env;
use chassis::process::{self, Process};

use super::{CommandError, usage};
use crate::config::{Config, EXCHANGE, LOG_LEVEL, ROOT};

/// How long open calls may take to end: whoever asked for a stop waits ten seconds at most.
const GRACE: Duration = Duration::from_secs(9);

/// Serves until a signal. A failed start is one line and exit code 3.
pub(super) fn run() -> Result<ExitCode, CommandError> {
    let config = Config::read(Env::process()).map_err(|error| usage(error.to_string()))?;
    let folders = [(ROOT, config.location.folder()), (EXCHANGE, config.exchange.as_deref())];
    let folders: Vec<_> =
        folders.into_iter().filter_map(|(name, folder)| Some((name, folder?))).collect();
    // The folders have to be there before the process is confined to them.
    for (name, folder) in &folders {
        std::fs::create_dir_all(folder)
            .map_err(|error| usage(format!("{name}: cannot make {}: {error}", folder.display())))?;
    }

    let process = Process {
        name: "oracle-gate",
        log_level: config.log_level.clone(),
        log_setting: LOG_LEVEL,
        read: Vec::new(),
        write: folders.iter().map(|(_, folder)| Path::to_path_buf(folder)).collect(),
        grace: GRACE,
    };
    Ok(process::run(process, async |service| crate::start(service, config).await.map(drop)))
}
