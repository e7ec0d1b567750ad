//! `lumio policy`.

use clap::Subcommand;
use serde_json::json;
use stellar::amount::Amount;
use stellar::{Address, vault};

use crate::context::Context;
use crate::error::Result;
use crate::output::Report;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Set your caps; what is not named stays as it is
    #[command(
        after_help = "Examples:\n  lumio policy set --as alice --per-run-cap 5 --daily-cap 20\n  \
                            lumio policy set --as alice --paused true"
    )]
    Set {
        /// Whose key signs
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
        /// Most that one run may escrow; 0 is no cap
        #[arg(long, value_name = "AMOUNT", value_parser = crate::parse::amount)]
        per_run_cap: Option<Amount>,
        /// Most that may be spent and reserved in one UTC day; 0 is no cap
        #[arg(long, value_name = "AMOUNT", value_parser = crate::parse::amount)]
        daily_cap: Option<Amount>,
        /// Whether new runs are refused
        #[arg(long, value_name = "BOOL")]
        paused: Option<bool>,
    },
    /// The caps and what of today's is used
    #[command(after_help = "Example:\n  lumio policy show alice")]
    Show {
        /// Name of a key, or address
        account: String,
    },
}

pub(super) async fn run(context: &Context, command: Policy) -> Result<Report> {
    context.connect().await?;
    let vault = context.vault()?;
    match command {
        Policy::Show { account } => show(context, context.keys.resolve(&account)?).await,
        Policy::Set { signer, per_run_cap, daily_cap, paused } => {
            let key = context.keys.load(&signer)?;
            let now = vault.policy_now(&context.rpc, key.address()).await?.policy;
            let policy = vault::Policy {
                per_run_cap: context.stroops_or(per_run_cap.as_ref(), now.per_run_cap).await?,
                daily_cap: context.stroops_or(daily_cap.as_ref(), now.daily_cap).await?,
                paused: paused.unwrap_or(now.paused),
            };
            context.submit(&key, vault.set_policy(key.address(), policy)?).await?;
            show(context, key.address()).await
        }
    }
}

async fn show(context: &Context, address: Address) -> Result<Report> {
    let state = context.vault()?.policy_now(&context.rpc, address).await?;
    let unit = context.shown_unit().await;
    let cap = |cap: i128| if cap == 0 { "no cap".to_owned() } else { unit.show(cap) };
    let text = format!(
        "{address}\n  per run   {}\n  per day   {}\n  spent     {}\n  reserved  {}\n  new runs  {}",
        cap(state.policy.per_run_cap),
        cap(state.policy.daily_cap),
        unit.show(state.spent_today),
        unit.show(state.reserved_today),
        if state.policy.paused { "refused" } else { "allowed" },
    );
    let json = json!({
        "address": address,
        "perRunCap": state.policy.per_run_cap.to_string(),
        "dailyCap": state.policy.daily_cap.to_string(),
        "paused": state.policy.paused,
        "spentToday": state.spent_today.to_string(),
        "reservedToday": state.reserved_today.to_string(),
    });
    Ok(Report::new(text, json))
}
