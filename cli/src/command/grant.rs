//! `lumio grant`.

use chain::{Address, amount};
use clap::Subcommand;
use serde_json::json;

use crate::{context::Context, failure::Result, output::Report};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Grant {
    /// Let a runner open runs of an agent for you
    #[command(
        after_help = "Example:\n  lumio grant add --as alice --runner G… --agent 1 --expires-in 30d"
    )]
    Add {
        /// Whose key signs
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
        /// The runner: name of a key, or address
        #[arg(long)]
        runner: String,
        /// The agent's number
        #[arg(long)]
        agent: u32,
        /// How long it holds, such as 12h or 30d, counted from ledger time
        #[arg(long, value_name = "SPAN", value_parser = crate::parse::seconds, conflicts_with = "expires_at")]
        expires_in: Option<u64>,
        /// Until when it holds, Unix seconds
        #[arg(long, value_name = "SECONDS")]
        expires_at: Option<u64>,
    },
    /// End that at once for new runs
    #[command(after_help = "Example:\n  lumio grant revoke --as alice --runner G… --agent 1")]
    Revoke {
        /// Whose key signs
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
        /// The runner: name of a key, or address
        #[arg(long)]
        runner: String,
        /// The agent's number
        #[arg(long)]
        agent: u32,
    },
    /// All live grants of an account
    #[command(after_help = "Example:\n  lumio grant list alice")]
    List {
        /// Name of a key, or address
        account: String,
    },
}

pub(super) async fn run(context: &Context, command: Grant) -> Result<Report> {
    context.connect().await?;
    let vault = context.vault()?;
    match command {
        Grant::Add { signer, runner, agent, expires_in, expires_at } => {
            let key = context.keys.load(&signer)?;
            let runner = context.keys.resolve(&runner)?;
            let expires_at = match expires_in {
                Some(span) => Some(context.rpc.clock().await?.latest_close.saturating_add(span)),
                None => expires_at,
            };
            context
                .submit(&key, vault.grant_runner(key.address(), runner, agent, expires_at))
                .await?;
            list(context, key.address()).await
        }
        Grant::Revoke { signer, runner, agent } => {
            let key = context.keys.load(&signer)?;
            let runner = context.keys.resolve(&runner)?;
            context.submit(&key, vault.revoke_runner(key.address(), runner, agent)).await?;
            list(context, key.address()).await
        }
        Grant::List { account } => list(context, context.keys.resolve(&account)?).await,
    }
}

async fn list(context: &Context, user: Address) -> Result<Report> {
    let grants = context.vault()?.grants_now(&context.rpc, user).await?;
    let mut lines = vec![format!("{user} grants {} of at most 32:", grants.len())];
    let mut json = Vec::new();
    for grant in &grants {
        let until =
            grant.expires_at.map_or_else(|| "for ever".to_owned(), |at| format!("until {at}"));
        let used = amount::show(grant.used);
        lines.push(format!("  agent {} to {} {until}, used {used}", grant.agent_id, grant.runner));
        json.push(json!({
            "runner": grant.runner,
            "agentId": grant.agent_id,
            "issuedAt": grant.issued_at,
            "expiresAt": grant.expires_at,
            "serial": grant.serial,
            "used": grant.used.to_string(),
        }));
    }
    Ok(Report::new(lines.join("\n"), json!({ "user": user, "grants": json })))
}
