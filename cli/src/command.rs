//! The commands, one file each.

pub mod agent;
pub mod balance;
pub mod contract;
pub mod deploy;
pub mod escrow;
pub mod fund;
pub mod grant;
pub mod keys;
pub mod login;
pub mod module;
pub mod network;
pub mod policy;
pub mod receipts;
pub mod run;
mod issuer;

use crate::args::{Cli, Command};
use crate::context::Context;
use crate::error::Result;
use crate::output::Report;

/// Carries out one command.
///
/// # Errors
///
/// [`crate::error::CliError`], which carries the exit code.
pub async fn run(context: &Context, command: Command) -> Result<Report> {
    match command {
        Command::Keys(command) => keys::run(context, command),
        Command::Network(command) => network::run(context, command),
        Command::Login(command) => login::log_in(context, &command).await,
        Command::Logout(command) => login::log_out(context, &command).await,
        Command::Whoami(command) => login::who_am_i(context, &command).await,
        Command::Deploy(command) => deploy::run(context, command).await,
        Command::Contract(command) => contract::run(context, command).await,
        Command::Escrow(command) => escrow::run(context, command).await,
        Command::Fund(command) => fund::run(context, command).await,
        Command::Agent(command) => agent::run(context, command).await,
        Command::Grant(command) => grant::run(context, command).await,
        Command::Policy(command) => policy::run(context, command).await,
        Command::Balance(command) => balance::run(context, command).await,
        Command::Receipts(command) => receipts::run(context, command).await,
        Command::Run(command) => run::run(context, command).await,
        Command::Watch(command) => run::watch(context, &command).await,
        Command::Module(command) => module::run(context, command).await,
        Command::Verify(command) => crate::verify::command::verify(context, &command).await,
        Command::Export(command) => crate::verify::command::export(context, &command).await,
        Command::Completions { shell } => Ok(completions(shell)),
    }
}

fn completions(shell: clap_complete::Shell) -> Report {
    use clap::CommandFactory as _;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lumio", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let json = serde_json::json!({ "script": script });
    Report::new(script, json)
}
