//! The local network as a program.

use std::io::{self, IsTerminal, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};
use soroban_localnet::{Lifetimes, LocalnetError, Network, Profile, STANDALONE_PASSPHRASE};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Exit code of a usage or configuration error.
const CONFIGURATION: u8 = 3;

/// Contracts recurse in the host, so its threads get more stack than usual, in bytes.
const STACK: usize = 8 * 1024 * 1024;

/// What `--version` says.
static VERSION: LazyLock<String> = LazyLock::new(|| version(option_env!("LUMIO_COMMIT")));

/// A local Soroban network: the JSON-RPC of stellar-rpc on the network's own host.
#[derive(Debug, Parser)]
#[command(
    version = VERSION.as_str(),
    after_help = "Examples:
  lumio-localnet
      JSON-RPC at http://127.0.0.1:8000, a ledger each second, nothing kept
  lumio-localnet --port 0 --ledger-interval-ms 200
      a free port, which the first line names, and faster ledgers
  lumio-localnet --state-dir ./chain
      keeps the chain across restarts
  lumio-localnet --ledger-snapshot ledger.json
      begins with entries that 'stellar snapshot create --output json' wrote
  lumio-localnet --profile unlimited --control
      no limits that a test runs into; POST /control/close closes a ledger
  curl 'http://127.0.0.1:8000/friendbot?addr=G…'
      funds an account with 10,000 XLM

Exit codes: 0 stopped by SIGTERM or SIGINT, 2 the network broke off or standard output cannot be
written, 3 wrong option, port taken, or a file or directory that cannot be used."
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
    /// File of a ledger snapshot whose entries a new chain begins with.
    #[arg(long, env = "LOCALNET_LEDGER_SNAPSHOT")]
    ledger_snapshot: Option<PathBuf>,
    /// Whose limits and prices a new chain has.
    #[arg(long, env = "LOCALNET_PROFILE", value_enum, default_value_t = ProfileName::PublicNetwork)]
    profile: ProfileName,
    /// How many closed ledgers are kept for reading.
    #[arg(long, env = "LOCALNET_RETENTION", default_value_t = 120_960,
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    retention: u32,
    /// Ledgers that a persistent entry of a new chain lives at the least; the profile's otherwise.
    #[arg(long, env = "LOCALNET_MIN_PERSISTENT_TTL",
          value_parser = clap::value_parser!(u32).range(2..=3_110_400))]
    min_persistent_ttl: Option<u32>,
    /// Ledgers that a temporary entry of a new chain lives at the least; the profile's otherwise.
    #[arg(long, env = "LOCALNET_MIN_TEMPORARY_TTL",
          value_parser = clap::value_parser!(u32).range(1..=3_110_400))]
    min_temporary_ttl: Option<u32>,
    /// Seed of the order in which a ledger applies its transactions.
    #[arg(long, env = "LOCALNET_ORDER_SEED", default_value_t = 0)]
    order_seed: u64,
    /// Take requests of any content type and up to 8 MiB.
    #[arg(long, env = "LOCALNET_LENIENT_HTTP")]
    lenient_http: bool,
    /// Serve /control: closing ledgers, moving the clock, snapshots, faults. For tests only: it
    /// lets any client that reaches the port do all of that.
    #[arg(long, env = "LOCALNET_CONTROL")]
    control: bool,
    /// Close no ledger automatically; only /control/close does. Needs --control.
    #[arg(long, env = "LOCALNET_MANUAL", requires = "control")]
    manual: bool,
    /// What to log to standard error: error, warn, info, debug, trace, or a filter of tracing.
    #[arg(long, env = "LOCALNET_LOG_LEVEL", default_value = "info")]
    log_level: String,
}

/// The profiles by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProfileName {
    /// Limits and prices of the public network.
    PublicNetwork,
    /// Those of the test network: lower prices, shorter lives.
    TestNetwork,
    /// No limits that a test runs into.
    Unlimited,
}

impl ProfileName {
    fn profile(self) -> Profile {
        match self {
            Self::PublicNetwork => Profile::PublicNetwork,
            Self::TestNetwork => Profile::TestNetwork,
            Self::Unlimited => Profile::Unlimited,
        }
    }

    /// The lives of entries in the profile, with what the options say instead.
    fn lifetimes(self, options: &Options) -> Option<Lifetimes> {
        if options.min_persistent_ttl.is_none() && options.min_temporary_ttl.is_none() {
            return None;
        }
        let usual = match self {
            Self::TestNetwork => Lifetimes::test_network(),
            Self::PublicNetwork | Self::Unlimited => Lifetimes::default(),
        };
        Some(Lifetimes {
            min_persistent: options.min_persistent_ttl.unwrap_or(usual.min_persistent),
            min_temporary: options.min_temporary_ttl.unwrap_or(usual.min_temporary),
            max: usual.max,
        })
    }
}

/// The package's version, and behind `+` the commit where the build names one.
fn version(commit: Option<&str>) -> String {
    let package = env!("CARGO_PKG_VERSION");
    match commit {
        Some(commit) if !commit.is_empty() => format!("{package}+{commit}"),
        _ => package.to_owned(),
    }
}

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let printed = error.print().and_then(|()| io::stdout().flush());
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => printed_all(printed),
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
        .passphrase(&options.network_passphrase)
        .profile(options.profile.profile())
        .retention(options.retention)
        .order_seed(options.order_seed)
        .lenient_http(options.lenient_http)
        .control(options.control);
    if !options.manual {
        builder = builder.ledger_interval(Duration::from_millis(options.ledger_interval_ms));
    }
    if let Some(lifetimes) = options.profile.lifetimes(&options) {
        builder = builder.lifetimes(lifetimes);
    }
    if let Some(directory) = &options.state_dir {
        builder = builder.state_dir(directory);
    }
    if let Some(file) = &options.ledger_snapshot {
        builder = builder.ledger_snapshot(file);
    }
    let network = match builder.start().await {
        Ok(network) => network,
        Err(error) => return refuse(&options, &error),
    };

    // Listened for before the first line is printed: its reader may stop the process at once.
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        eprintln!("lumio-localnet: cannot listen for signals");
        return ExitCode::from(2);
    };

    // The first line on standard output: a script that asked for port 0 reads the address from it.
    let first = format!("listening on {}\n", network.url());
    let printed = printed_all(io::stdout().write_all(first.as_bytes()));
    if printed != ExitCode::SUCCESS {
        // The process that started it would wait for that line without end.
        network.shutdown().await;
        return printed;
    }
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

/// Whether standard output took all that was to be printed. A reader that has gone away wanted no more.
fn printed_all(printed: io::Result<()>) -> ExitCode {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("lumio-localnet: cannot write standard output: {error}");
            ExitCode::from(2)
        }
        _ => ExitCode::SUCCESS,
    }
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
        LocalnetError::LedgerSnapshot(_) => {
            eprintln!("lumio-localnet: --ledger-snapshot: {error}");
            ExitCode::from(CONFIGURATION)
        }
        _ => {
            eprintln!("lumio-localnet: {error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_version_names_the_commit_of_a_build_that_has_one() {
        let package = env!("CARGO_PKG_VERSION");
        assert_eq!(version(Some("0a1b2c3d4e5f")), format!("{package}+0a1b2c3d4e5f"));
        for none in [None, Some("")] {
            assert_eq!(version(none), package);
        }
        assert_eq!(Options::command().get_version(), Some(VERSION.as_str()));
    }
}
