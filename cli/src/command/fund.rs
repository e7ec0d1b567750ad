//! `lumio fund`.

use serde_json::json;
use stellar::amount::Unit;

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::output::Report;

/// Create and fund accounts by the network's friendbot.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lumio fund alice bob G…")]
pub struct Fund {
    /// Names of keys, or addresses; an account that exists is left as it is
    #[arg(required = true)]
    accounts: Vec<String>,
}

pub(super) async fn run(context: &Context, command: Fund) -> Result<Report> {
    context.connect().await?;
    let mut lines = Vec::new();
    let mut json = Vec::new();
    for name in &command.accounts {
        let address = context.keys.resolve(name)?;
        let existed = context.rpc.account(&address).await?.is_some();
        if !existed {
            context.rpc.fund(&address).await?;
        }
        let account = context.rpc.account(&address).await?;
        let balance = account
            .ok_or_else(|| {
                CliError::Unknown(format!(
                    "friendbot answered, but {address} is not on the ledger yet; try again"
                ))
            })?
            .balance;
        let did = if existed { "exists with" } else { "funded with" };
        lines.push(format!("{address} {did} {}", Unit::lumens().show(balance.into())));
        json.push(
            json!({ "address": address, "existed": existed, "balance": balance.to_string() }),
        );
    }
    Ok(Report::new(lines.join("\n"), json!(json)))
}
