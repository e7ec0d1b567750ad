//! `runner-bench`: what the runner accepts, moves and settles, beside graphile-worker and beside
//! what the network's limits allow.

mod figures;
mod load;
mod peer;
mod gateway;
mod accept;
mod queue;
mod processors;
mod paid;
mod ledgers;
mod chain;
mod kept;
mod latency;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// Print what the runner accepts, moves and settles
///
/// Everything that is started ends with it. Tables go to standard output, progress to standard
/// error.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  cargo run --release -p runner-bench
      all parts, one after the other
  cargo run --release -p runner-bench -- accept queue --rounds 10
      two parts, with more rounds
  cargo run -p runner-bench -- --quick
      all parts with small numbers, to see that they work
  runner-bench chain --programs target/release --ledger-ms 25000 --users 8 --channels 16
      programs from another folder, and another network

Exit codes: 0 done, also where a target is missed; 2 it could not be measured, 3 wrong usage")]
pub struct Options {
    /// What is measured: all of it unless parts are named
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// The folder of runner, oracle-gate, module-gate, lumio and lumio-localnet [default: that of
    /// this program]
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Small numbers in place of those of the other options, to see that it works: the figures mean
    /// little
    #[arg(long)]
    quick: bool,
    /// accept, queue: rounds of each way
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    /// accept: seconds of a round
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// queue: runs or jobs of a round
    #[arg(long, default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    jobs: u64,
    /// chain: length of a ledger where its limits are to bind, in milliseconds; a transaction lives
    /// for 60 seconds
    #[arg(long, default_value_t = 50_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1_000..=58_000))]
    ledger_ms: u64,
    /// chain: ledgers that are counted
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    ledgers: u32,
    /// chain: users that pay for runs
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=50))]
    users: u32,
    /// chain: source accounts that send transactions
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=49))]
    channels: u32,
    /// chain: runs that are under way or wait at one time
    #[arg(long, default_value_t = 1_400, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    under_way: u64,
    /// chain: modules that run at one time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    executions: u32,
    /// chain: how long a call waits for others to share a transaction with, in milliseconds
    #[arg(long, default_value_t = 1_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(0..=60_000))]
    batch_ms: u64,
    /// kept: kept runs at which accepting and moving is measured
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000],
        value_parser = clap::value_parser!(i64).range(1..=900_000))]
    kept: Vec<i64>,
    /// kept: runs that are accepted and moved at each of these numbers, one after the other
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=100_000))]
    measured: u64,
    /// latency: runs, one after the other
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// latency: length of a ledger, in milliseconds
    #[arg(long, default_value_t = 1_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(100..=58_000))]
    latency_ledger_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Durable accept over HTTP by 16 and 128 clients, beside graphile-worker
    Accept,
    /// Claim, phase change, event and wake-up on the product's own tables, beside graphile-worker
    Queue,
    /// Paid runs a ledger, beside what the network's limits allow
    Chain,
    /// What accepting, moving and asking cost while more and more runs are kept
    Kept,
    /// How long one run takes without load
    Latency,
}

fn main() -> ExitCode {
    let mut options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 3 } else { 0 });
        }
    };
    if options.quick {
        options.make_quick();
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runner-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(folder) = &options.programs {
        e2e::use_programs(folder.canonicalize()?)?;
    }
    // Commands are waited for on its threads.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    runtime.block_on(async {
        let named = options.parts.as_slice();
        for part in if named.is_empty() { Part::value_variants() } else { named } {
            match part {
                Part::Accept => accept::measure(options).await?,
                Part::Queue => queue::measure(options).await?,
                Part::Chain => chain::measure(options).await?,
                Part::Kept => kept::measure(options).await?,
                Part::Latency => latency::measure(options).await?,
            }
        }
        Ok(())
    })
}

impl Options {
    fn make_quick(&mut self) {
        self.rounds = 1;
        self.seconds = 2;
        self.jobs = 1_000;
        self.ledger_ms = 8_000;
        self.ledgers = 2;
        self.users = 2;
        self.channels = 4;
        self.under_way = 60;
        self.kept = vec![100, 1_000];
        self.measured = 30;
        self.runs = 5;
    }
}
