//! Every command, in the words of `--help`.

use clap::{Parser, Subcommand};

use crate::command::{
    agent, balance, contract, deploy, escrow, fund, grant, keys, module, policy, run,
};
use crate::context::Settings;
use crate::verify::command as verify;

/// Drive and prove paid agent runs on Stellar: deposit, cap, grant, run, verify
#[derive(Debug, Parser)]
#[command(
    name = "lumio",
    version,
    after_help = "Examples:\n  lumio keys generate alice && lumio fund alice\n  lumio balance deposit 50 --as alice\n  \
                  lumio grant add --as alice --runner G… --agent 1 --expires-in 30d\n  \
                  lumio run start --user alice --agent 1 --budgets runtime_ms=60000 --input input.json --watch\n  \
                  lumio verify 0197…\n\nExit codes: 0 done or proven, 1 the subject is bad, 2 nothing is known, 3 wrong usage or configuration"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Where things are.
    #[command(flatten)]
    pub settings: Settings,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// This machine's keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Put the contracts on a network; what exists already stays
    Deploy(deploy::Deploy),
    /// The deployed contracts: their code, their administration, their errors
    #[command(subcommand)]
    Contract(contract::Contract),
    /// Create and fund an account by the network's friendbot
    Fund(fund::Fund),
    /// Agents: who develops and runs them, prices, accepted statements
    #[command(subcommand)]
    Agent(agent::Agent),
    /// Which runner may open runs for you
    #[command(subcommand)]
    Grant(grant::Grant),
    /// Your caps
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Your money in the vault
    #[command(subcommand)]
    Balance(balance::Balance),
    /// Money that runs hold, on chain and by hand
    #[command(subcommand)]
    Escrow(escrow::Escrow),
    /// Runs, through the runner's gateway
    #[command(subcommand)]
    Run(run::Run),
    /// Follow a run to its end, printing each step
    Watch(run::Watch),
    /// Modules: store, gate and publish
    #[command(subcommand)]
    Module(module::Module),
    /// Prove a run: every link from the charge on chain to the module's bytes
    Verify(verify::Verify),
    /// Write a run's bundle, which verifies offline
    Export(verify::Export),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  lumio completions bash > ~/.local/share/bash-completion/completions/lumio"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn visit(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            if command.has_subcommands() {
                command
                    .get_subcommands()
                    .filter(|inner| inner.get_name() != "help")
                    .for_each(|inner| visit(inner, &path));
            } else {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{path} shows no example");
            }
        }
        visit(&Cli::command(), "");
    }
}
