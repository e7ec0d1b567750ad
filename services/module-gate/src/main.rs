//! The binary: settings, confinement, then the service; or one local command.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chassis::confine::{Confinement, confine};
use chassis::{Env, Service, telemetry};
use module_gate::cli::{self, Command};
use module_gate::config::Config;
use module_gate::local::output::USAGE;
use module_gate::sandbox::Sandbox;
use module_gate::sandbox::memory::MemoryFolder;

/// How long running modules may take to be ended on a stop.
const GRACE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let command = cli::parse().command;
    if !matches!(command, Command::Serve) {
        return cli::run(command);
    }
    match serve() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("module-gate: {error:#}");
            ExitCode::from(USAGE)
        }
    }
}

/// Errors are those of a start that failed: one line, naming the setting.
fn serve() -> anyhow::Result<ExitCode> {
    let config = Config::read(Env::process())?;
    let sandbox = module_gate::prepare_sandbox(&config)?;
    // Before any thread is started: Landlock binds a thread and what it starts.
    let confined = confine_process(&config, &sandbox)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let telemetry =
            telemetry::init("module-gate", &config.log_level).context("MODULE_GATE_LOG_LEVEL")?;
        confined.log();
        let service = Service::default();
        let address = module_gate::start(&config, sandbox, &service).await?;
        tracing::info!("module-gate listens on {address}");
        let ended = service.run(GRACE).await;
        telemetry.flush();
        Ok(match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("module-gate: {error:#}");
                ExitCode::FAILURE
            }
        })
    })
}

/// This service's row of privileges: it reads the store, and writes scratch and staging only.
fn confine_process(config: &Config, sandbox: &Sandbox) -> anyhow::Result<Confinement> {
    let staging = config.store.join("staging");
    std::fs::create_dir_all(&staging)
        .with_context(|| format!("MODULE_GATE_STORE: cannot make {}", staging.display()))?;
    let read = [config.store.as_path(), sandbox.node.as_path()];
    let mut write = vec![sandbox.scratch.as_path(), &staging];
    write.extend(sandbox.memory.as_deref().map(MemoryFolder::path));
    confine(&read, &write).context("cannot confine this process (LUMIO_CONFINE=off does without)")
}
