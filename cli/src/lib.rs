//! `lumio`: what a person does with Lumio by hand.
//!
//! Keys, logins, deployment, funding, agents, grants, caps, balances, runs, modules, and above all
//! `verify`: the proof of a run that trusts neither the runner nor its gateway. Reading order:
//! [`args`] (every command), [`context`] (where things are), then [`command`] and [`verify`].
//!
//! Exit codes (C1): 0 done or proven, 1 the subject is bad, 2 nothing is known, 3 wrong usage or
//! configuration, or standard output that cannot be written. `--output json` gives the same facts as
//! the text.

pub mod args;
pub mod calls;
pub mod command;
pub mod config;
pub mod context;
pub mod contracts;
pub mod escape;
pub mod error;
pub mod files;
pub mod gateway;
pub mod keys;
pub mod output;
pub mod parse;
pub mod session;
pub mod times;
pub mod verify;

use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory as _, Parser as _};

use crate::args::Cli;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Format, Report};

/// Runs the command line. Answers the exit code.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let exit_code = match read(&arguments) {
        Ok(cli) => carry_out(cli).await,
        Err(error) => refused(&error, &arguments),
    };
    output::final_exit_code(exit_code)
}

async fn carry_out(cli: Cli) -> u8 {
    let format = cli.settings.output;
    match answer(cli).await {
        Ok(report) => {
            output::print(&report.render(format));
            report.exit_code
        }
        Err(failure) => {
            show(&failure, format);
            failure.exit_code()
        }
    }
}

fn read(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments).map_err(|error| {
        let again = without_environment(Cli::command()).try_get_matches_from(arguments);
        again.err().unwrap_or(error)
    })
}

/// The same command, whose usage omits what the environment gives: otherwise a message about a
/// missing argument lists every option that has a value and is not hidden.
fn without_environment(command: Command) -> Command {
    let is_given = |argument: &Arg| {
        argument.get_env().is_some_and(|variable| std::env::var_os(variable).is_some())
    };
    command
        .mut_args(|argument| {
            let hidden = argument.is_hide_set() || is_given(&argument);
            argument.hide(hidden)
        })
        .mut_subcommands(without_environment)
}

async fn answer(cli: Cli) -> Result<Report, CliError> {
    let context = Context::new(cli.settings)?;
    let done = command::run(&context, cli.command).await;
    done.map_err(|failure| failure.at_node(&context.node()))
}

/// A failure is one line for a person, and the one document of standard output for a program.
fn show(failure: &CliError, format: Format) {
    match format {
        Format::Text => eprintln!("lumio: {}", escape::escape(&failure.to_string())),
        Format::Json => output::print(&output::failure_json(failure)),
    }
}

/// Clap's help and version are answers; its errors are wrong usage, which C1 numbers 3.
fn refused(error: &clap::Error, arguments: &[OsString]) -> u8 {
    if !error.use_stderr() {
        output::record_error(error.print());
        return 0;
    }
    if wants_json(arguments) {
        // The words of clap come with a prefix and the usage, for which the document has no place.
        let text = error.render().to_string();
        let text = text.trim_start_matches("error: ").split("\n\nUsage").next();
        show(&CliError::usage(text.unwrap_or_default().trim()), Format::Json);
    } else {
        // The reader may have gone away; the exit code still says how it went.
        let _ = error.print();
    }
    3
}

/// Whether `--output json` was asked for, in arguments that could not be read as a whole.
fn wants_json(arguments: &[OsString]) -> bool {
    let pairs = arguments.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json");
    pairs || arguments.iter().any(|argument| argument == "--output=json")
}
