//! `lumio balance`.

use clap::Subcommand;
use serde_json::json;
use stellar::amount::Amount;
use stellar::{Address, ChainError, token};

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::escape::escape;
use crate::output::Report;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Balance {
    /// What an account has in the vault and outside
    #[command(after_help = "Example:\n  lumio balance show alice")]
    Show {
        /// Name of a key, or address
        account: String,
    },
    /// Put money into the vault
    #[command(
        after_help = "Examples:\n  lumio balance deposit 50 --as alice\n  lumio balance deposit \
            15000000stroops --as alice"
    )]
    Deposit {
        /// How much of the vault's token, such as 1.5 or 15000000stroops
        #[arg(value_parser = crate::parse::amount)]
        amount: Amount,
        /// Whose key signs and pays
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
    },
    /// Take money out of the vault
    #[command(after_help = "Example:\n  lumio balance withdraw 12.5 --as alice")]
    Withdraw {
        /// How much of the vault's token, such as 1.5 or 15000000stroops
        #[arg(value_parser = crate::parse::amount)]
        amount: Amount,
        /// Whose key signs and receives
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
    },
    /// What an account has earned, as an agent's developer and in runner fees
    #[command(after_help = "Example:\n  lumio balance earned dev")]
    Earned {
        /// Name of a key, or address
        account: String,
    },
    /// Pay out what a developer or a runner has earned
    #[command(
        after_help = "Examples:\n  lumio balance claim 3 --as dev\n  lumio balance claim 0.5 --as \
            runner --role runner"
    )]
    Claim {
        /// How much of the vault's token, such as 1.5 or 15000000stroops
        #[arg(value_parser = crate::parse::amount)]
        amount: Amount,
        /// Whose key signs and receives
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
        /// What it was earned as
        #[arg(long, value_enum, default_value_t)]
        role: Role,
    },
}

/// What somebody is paid for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Runs of their agents.
    #[default]
    Developer,
    /// Flat fees of runs that it opened and settled.
    Runner,
}

pub(super) async fn run(context: &Context, command: Balance) -> Result<Report> {
    context.connect().await?;
    let vault = context.vault()?;
    match command {
        Balance::Show { account } => show(context, context.keys.resolve(&account)?).await,
        Balance::Deposit { amount, signer } => {
            let key = context.keys.load(&signer)?;
            let amount = context.stroops(&amount).await?;

            // The user also signs the transfer, so that the token has to be the vault's own.
            let token = context.vault_config().await?.token;
            context.submit(&key, vault.deposit(key.address(), amount, token)?).await?;
            show(context, key.address()).await
        }
        Balance::Withdraw { amount, signer } => {
            let key = context.keys.load(&signer)?;
            let amount = context.stroops(&amount).await?;
            context.submit(&key, vault.withdraw(key.address(), amount)).await?;
            show(context, key.address()).await
        }
        Balance::Earned { account } => earned(context, context.keys.resolve(&account)?).await,
        Balance::Claim { amount, signer, role } => {
            let key = context.keys.load(&signer)?;
            let amount = context.stroops(&amount).await?;
            let call = match role {
                Role::Developer => vault.claim_developer(key.address(), amount),
                Role::Runner => vault.claim_runner(key.address(), amount),
            };
            context.submit(&key, call).await?;
            earned(context, key.address()).await
        }
    }
}

async fn show(context: &Context, address: Address) -> Result<Report> {
    let vault = context.vault()?;
    let token = context.vault_config().await?.token;
    let account = vault.account_now(&context.rpc, address).await?;
    let unit = context.shown_unit().await;

    // What the vault holds is shown whatever the token says of the account.
    let (outside, outside_text) = match token::held(&context.rpc, token, address).await {
        Ok(Some(held)) => (Some(held), unit.show(held)),
        Ok(None) => (None, "none".to_owned()),
        Err(error @ (ChainError::Contract { .. } | ChainError::Simulation { .. })) => {
            (None, format!("not known: {}", escape(&error.to_string())))
        }
        Err(error) => return Err(error.into()),
    };

    // An escrow is due by the end of the next day at the latest, so that these are all (V3).
    let escrowed = account.due_today.saturating_add(account.due_tomorrow);

    let text = format!(
        "{address}\n  in the vault  {}\n  in escrow     {}\n  outside       {outside_text}\n  \
         receipts      {}",
        unit.show(account.balance),
        unit.show(escrowed),
        account.receipts,
    );
    let json = json!({
        "address": address,
        "balance": account.balance.to_string(),
        "escrowed": escrowed.to_string(),
        "outside": outside.map(|held| held.to_string()),
        "receipts": account.receipts,
        "receiptsHash": account.receipts_hash,
    });
    Ok(Report::new(text, json))
}

async fn earned(context: &Context, account: Address) -> Result<Report> {
    let vault = context.vault()?;

    // By simulation: nothing is sent, and nothing is paid.
    let view = async |call| {
        let value = stellar::tx::view(&context.rpc, &call).await?;
        Ok::<_, CliError>(stellar::scval::Reader::new("claimable balance", &value).i128()?)
    };
    let developer = view(vault.developer_balance(account)).await?;
    let runner = view(vault.runner_balance(account)).await?;
    let unit = context.shown_unit().await;
    let text = format!(
        "{account} can claim\n  as developer  {}\n  as runner     {}",
        unit.show(developer),
        unit.show(runner)
    );
    let json = json!({
        "account": account,
        "claimable": developer.to_string(),
        "claimableAsRunner": runner.to_string(),
    });
    Ok(Report::new(text, json))
}
