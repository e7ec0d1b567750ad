//! `contract-costs`: prints the cost table, or writes it into `contracts/README.md`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use contract_costs::{measure, replaced, table};

/// Print what every call of the contracts costs under the public network's limits and prices
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  cargo run -p contract-costs\n  cargo run -p contract-costs -- --write\n\n\
                        Exit codes: 0 done, 1 the page is old, 2 it could not be measured or written, \
                        3 wrong usage"
)]
struct Options {
    /// Write the table into contracts/README.md
    #[arg(long, conflicts_with = "check")]
    write: bool,
    /// Exit 1 if contracts/README.md has another table
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 3 } else { 0 });
        }
    };
    match run(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("contract-costs: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> anyhow::Result<u8> {
    let table = table::markdown(&measure::all()?);
    if !options.write && !options.check {
        print!("{table}");
        return Ok(0);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/README.md");
    let page = fs::read_to_string(&path)?;
    let new = replaced(&page, &table)
        .ok_or_else(|| anyhow::anyhow!("contracts/README.md has no marks for the table"))?;
    if new == page {
        return Ok(0);
    }
    if options.check {
        eprintln!("contract-costs: the table is old; run: cargo run -p contract-costs -- --write");
        return Ok(1);
    }
    fs::write(&path, new)?;
    Ok(0)
}
