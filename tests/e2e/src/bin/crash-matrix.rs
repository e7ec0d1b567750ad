//! `./dev crash-matrix`: runs the whole crash matrix and writes its page, or single cases of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use e2e::matrix::{self, Case, Options};

/// Runs the crash matrix whole and writes its table, or runs single cases. Exit codes: 0 clean,
/// 1 something is broken, 2 it could not be run, 3 wrong usage.
#[derive(Debug, Parser)]
struct Arguments {
    /// Prints the name of every case, and runs none
    #[arg(long)]
    list: bool,
    /// Runs this case alone, by its name in `--list`; may be given several times
    #[arg(long = "case", value_name = "NAME", value_parser = case,
        conflicts_with_all = ["cases", "write"])]
    named: Vec<Case>,
    /// How long three runners are killed at random under load; 0 leaves it out [default: 10, with
    /// `--case` 0]
    #[arg(long)]
    minutes: Option<u64>,
    /// Decides the order of the cases and everything that is random
    #[arg(long)]
    seed: Option<u64>,
    /// How many cases, of all
    #[arg(long)]
    cases: Option<usize>,
    /// How many stacks work on cases at one time
    #[arg(long, default_value_t = 3)]
    lanes: usize,
    /// After how many minutes no further case is begun
    #[arg(long)]
    within: Option<u64>,
    /// The commit that the page names
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Where the page goes
    #[arg(long)]
    write: Option<PathBuf>,
}

fn case(name: &str) -> Result<Case, &'static str> {
    let found = Case::all().into_iter().find(|case| case.name() == name);
    found.ok_or("there is no case of this name; `--list` prints all of them")
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 3 } else { 0 });
        }
    };
    if arguments.list {
        Case::all().iter().for_each(|case| println!("{}", case.name()));
        return ExitCode::SUCCESS;
    }
    let minutes = arguments.minutes.unwrap_or(if arguments.named.is_empty() { 10 } else { 0 });
    let options = Options {
        seed: arguments.seed.unwrap_or_else(rand::random),
        cases: arguments.cases,
        named: arguments.named,
        random: Duration::from_secs(minutes.saturating_mul(60)),
        lanes: arguments.lanes.max(1),
        within: arguments.within.map(|minutes| Duration::from_secs(minutes.saturating_mul(60))),
    };
    let outcome = matrix::run(options).await;
    if outcome.cases.is_empty() && outcome.random.is_none() {
        eprintln!("the crash matrix could not be run: no stack has started; try again");
        return ExitCode::from(2);
    }
    if let Some(path) = arguments.write
        && let Err(error) = std::fs::write(&path, outcome.page(&arguments.commit))
    {
        eprintln!("the page could not be written to {}: {error}", path.display());
        return ExitCode::from(2);
    }
    let broken = outcome.broken();
    for text in &broken {
        println!("BROKEN {text}");
    }
    println!("{} cases, {} broken, {:.0?}", outcome.cases.len(), broken.len(), outcome.took);
    ExitCode::from(u8::from(!broken.is_empty()))
}
