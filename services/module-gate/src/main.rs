//! The binary: settings, confinement, then the service; or one local command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chassis::confine::SWITCH;
use chassis::process::{self, Process};
use chassis::service::Signals;
use chassis::{Env, output};
use module_gate::cli::{self, Command, NAME};
use module_gate::config::{Config, SCRATCH, STORE};
use module_gate::local::output::{UNKNOWN, USAGE};
use module_gate::sandbox::Sandbox;
use module_gate::sandbox::memory::MemoryFolder;

/// How long running modules and open calls may take to end on a stop: the process that asked for it
/// waits ten seconds at most.
const GRACE: Duration = Duration::from_secs(9);

fn main() -> ExitCode {
    output::final_exit_code(NAME, run())
}

fn run() -> ExitCode {
    let command = match cli::parse() {
        Ok(cli) => cli.command,
        Err(code) => return code,
    };
    if !matches!(command, Command::Serve) {
        return cli::run(command);
    }
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return process::report(NAME, &error, UNKNOWN),
    };
    match prepare() {
        Ok((config, sandbox, staging)) => serve(config, sandbox, staging, signals),
        Err(error) => process::report(NAME, &error, USAGE),
    }
}

/// What is needed before the process is confined: its settings, and the folders that it writes.
fn prepare() -> anyhow::Result<(Config, Sandbox, PathBuf)> {
    let config = Config::read(Env::process())?;
    let sandbox = module_gate::prepare_sandbox(&config)?;
    let staging = config.store.join("staging");

    // The rules that confine the process name folders that exist.
    std::fs::create_dir_all(&staging)
        .with_context(|| format!("{STORE}: cannot make {}", staging.display()))?;
    process::check_writable(STORE, &staging)?;
    Ok((config, sandbox, staging))
}

/// This service's row of privileges: it reads the store, and writes scratch and staging only.
fn serve(config: Config, sandbox: Sandbox, staging: PathBuf, signals: Signals) -> ExitCode {
    let mut write = vec![(SCRATCH, sandbox.scratch.clone()), (STORE, staging)];
    // Not named by a setting: it was found, and is there.
    let memory = sandbox.memory.as_deref().map(MemoryFolder::path).map(Path::to_path_buf);
    write.extend(memory.map(|path| (SWITCH, path)));
    let process = Process {
        name: NAME,
        settings: config.process.clone(),
        read: vec![config.store.clone(), sandbox.node.clone()],
        write,
        grace: GRACE,
    };
    process::run(process, signals, async |service| {
        let address = module_gate::start(&config, sandbox, service).await?;
        tracing::info!("module-gate listens on {address}");
        Ok(())
    })
}
