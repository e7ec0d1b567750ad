//! Every command, in the words of `--help`.

use std::sync::LazyLock;

use clap::{Parser, Subcommand};

use crate::command::{
    agent, balance, contract, deploy, escrow, fund, grant, keys, login, module, network, policy,
    receipts, run,
};
use crate::context::{SETTINGS_HELP, Settings};
use crate::verify::command as verify;

/// The release with the commit that it was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("LUMIO_COMMIT"), ")");

/// What is below the list of commands.
static AFTER_HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{SETTINGS_HELP}\n\nExamples:\n  lumio keys generate alice && lumio fund alice\n  \
         lumio balance deposit 50 --as alice\n  \
         lumio grant add --as alice --runner G… --agent 1 --expires-in 30d\n  \
         lumio login --as alice\n  \
         lumio run start --user alice --agent 1 --budgets runtime_ms=60000 --input input.json \
             --watch\n  \
         lumio verify 0197…\n\n\
         Exit codes: 0 done or proven, 1 the subject is bad, 2 nothing is known, 3 wrong usage or \
             configuration"
    )
});

/// Drive and prove paid agent runs on Stellar: deposit, cap, grant, run, verify
#[derive(Debug, Parser)]
#[command(
    name = "lumio",
    version = VERSION,
    after_help = AFTER_HELP.as_str()
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
    /// Networks by name
    #[command(subcommand)]
    Network(network::Network),
    /// Prove an account to the runner's gateway
    Login(login::Login),
    /// End a login
    Logout(login::Logout),
    /// Who is logged in at the gateway
    Whoami(login::WhoAmI),
    /// Put the contracts on a network; what exists already stays
    Deploy(deploy::Deploy),
    /// The deployed contracts: their code, their administration, their errors
    #[command(subcommand)]
    Contract(contract::ContractCommand),
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
    /// Everything that you were ever charged, as a list that the chain vouches for
    #[command(subcommand)]
    Receipts(receipts::ReceiptsCommand),
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
    #[command(after_help = "Example:\n  lumio completions bash > \
            ~/.local/share/bash-completion/completions/lumio")]
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

    #[test]
    fn no_page_repeats_the_options_of_every_command() {
        fn visit(command: &mut clap::Command) {
            let help = command.render_long_help().to_string();
            assert!(!help.contains("--network-passphrase <"), "{help}");
            let usage = command.render_usage().to_string();
            assert!(!usage.contains("--rpc-url"), "{usage}");
            command.get_subcommands_mut().for_each(visit);
        }
        let mut cli = Cli::command();
        cli.build();
        visit(&mut cli);
        let first = cli.render_long_help().to_string();
        assert!(first.contains("LUMIO_NETWORK_PASSPHRASE"), "{first}");
    }

    #[test]
    fn every_option_of_every_command_is_on_the_first_page() {
        let cli = Cli::command();
        for argument in cli.get_arguments().filter(|argument| argument.is_global_set()) {
            let Some(long) = argument.get_long() else { continue };
            assert!(SETTINGS_HELP.contains(&format!("--{long} ")), "{long} is missing");
        }
    }

    #[test]
    fn the_version_names_the_commit() {
        assert!(VERSION.contains(" (") && VERSION.ends_with(')'), "{VERSION}");
    }
}
