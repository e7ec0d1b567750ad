//! The local network as a program.

use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use soroban_localnet::{LocalnetError, Network, STANDALONE_PASSPHRASE};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Exit code of a usage or configuration error.
const CONFIGURATION: u8 = 3;

/// Contracts recurse in the host, so its threads get more stack than usual, in bytes.
const STACK: usize = 8 * 1024 * 1024;

/// A local Soroban network: the JSON-RPC of stellar-rpc on the network's own host.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  lumio-localnet
      JSON-RPC at http://127.0.0.1:8000, a ledger each second, nothing kept
  lumio-localnet --port 0 --ledger-interval-ms 200
      a free port, which the first line names, and faster ledgers
  lumio-localnet --state-dir ./chain
      keeps the chain across restarts
  curl 'http://127.0.0.1:8000/friendbot?addr=G…'
      funds an account with 10,000 XLM

Exit codes: 0 stopped by SIGTERM or SIGINT, 2 the network broke off, 3 wrong option or port taken."
)]
struct Options {
    /// Address to listen on.
    #[arg(long, env = "LOCALNET_BIND", default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, env = "LOCALNET_PORT", default_value_t = 8000)]
    port: u16,
    /// Milliseconds from one ledger to the next.
    #[arg(long, env = "LOCALNET_LEDGER_INTERVAL_MS", default_value_t = 1000,
          value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    ledger_interval_ms: u64,
    /// Passphrase of the network; its root account follows from it.
    #[arg(long, env = "LOCALNET_NETWORK_PASSPHRASE", default_value = STANDALONE_PASSPHRASE)]
    network_passphrase: String,
    /// Directory to keep the chain in; without it the chain ends with the process.
    #[arg(long, env = "LOCALNET_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// What to log to standard error: error, warn, info, debug, trace, or a filter of tracing.
    #[arg(long, env = "LOCALNET_LOG_LEVEL", default_value = "info")]
    log_level: String,
}

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            // Nothing to do if even this can't be printed.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(CONFIGURATION),
            };
        }
    };
    let Ok(filter) = EnvFilter::try_new(&options.log_level) else {
        eprintln!("lumio-localnet: --log-level {:?} is no level or filter", options.log_level);
        return ExitCode::from(CONFIGURATION);
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(options)),
        Err(error) => {
            eprintln!("lumio-localnet: cannot start: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(options: Options) -> ExitCode {
    let mut builder = Network::builder()
        .bind(SocketAddr::new(options.bind, options.port))
        .ledger_interval(Duration::from_millis(options.ledger_interval_ms))
        .passphrase(&options.network_passphrase);
    if let Some(directory) = &options.state_dir {
        builder = builder.state_dir(directory);
    }
    let network = match builder.start().await {
        Ok(network) => network,
        Err(error) => return refuse(&options, &error),
    };
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        eprintln!("lumio-localnet: cannot listen for signals");
        return ExitCode::from(2);
    };
    println!("listening on {}", network.url());
    tracing::info!(
        url = network.url(),
        passphrase = network.passphrase(),
        native_contract = network.native_contract(),
        ledger = network.latest_ledger(),
        "the network is up"
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(ledger = network.latest_ledger(), "stopping");
    network.shutdown().await;
    ExitCode::SUCCESS
}

/// One line that names the option to change.
fn refuse(options: &Options, error: &LocalnetError) -> ExitCode {
    match error {
        LocalnetError::Bind { address, reason } => {
            let option = format!("--port {} / --bind {}", options.port, options.bind);
            eprintln!("lumio-localnet: {option}: cannot listen on {address}: {reason}");
            ExitCode::from(CONFIGURATION)
        }
        LocalnetError::State { .. } => {
            eprintln!("lumio-localnet: --state-dir: {error}");
            ExitCode::from(CONFIGURATION)
        }
        _ => {
            eprintln!("lumio-localnet: {error}");
            ExitCode::from(2)
        }
    }
}
