//! `lumio`: what a person does with Lumio by hand.
//!
//! Keys, deployment, funding, agents, grants, caps, balances, runs, modules, and above all `verify`: the
//! proof of a run that trusts neither the runner nor its gateway. Reading order: [`args`] (every command),
//! [`context`] (where things are), then [`command`] and [`verify`].
//!
//! Exit codes (C1): 0 done or proven, 1 the subject is bad, 2 nothing is known, 3 wrong usage or
//! configuration. `--output json` gives the same facts as the text.

pub mod args;
pub mod command;
pub mod context;
pub mod failure;
pub mod gateway;
pub mod keys;
pub mod output;
pub mod parse;
pub mod verify;

use clap::Parser as _;

use crate::args::Cli;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Report;

/// Runs the command line. Answers the exit code.
pub async fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return told(&error),
    };
    let format = cli.settings.output;
    match answer(cli).await {
        Ok(report) => {
            print(&report.render(format));
            report.exit_code
        }
        Err(failure) => {
            eprintln!("lumio: {failure}");
            failure.exit_code()
        }
    }
}

async fn answer(cli: Cli) -> Result<Report, Failure> {
    let context = Context::new(cli.settings)?;
    command::run(&context, cli.command).await
}

/// Clap's help and version are answers; its errors are wrong usage, which C1 numbers 3.
fn told(error: &clap::Error) -> u8 {
    // Whoever reads may have gone away; the exit code still tells.
    let _ = error.print();
    if error.use_stderr() { 3 } else { 0 }
}

fn print(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}
