//! `lumio escrow`: money that runs hold, by hand and on chain, where the gateway is no help.

use clap::Subcommand;
use serde_json::json;
use stellar::Address;
use stellar::vault::{Lifecycle, RunRecord};
use wire::VaultRunId;

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::output::Report;
use crate::times;

/// How long a void may wait for its ledger, in seconds of ledger time.
const VALID: u64 = 120;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Escrow {
    /// A run as the vault has it, while its record lives
    #[command(after_help = "Example:\n  lumio escrow show 5f0c…")]
    Show {
        /// The run's id on chain, 64 hex digits
        #[arg(value_name = "RUN", value_parser = crate::parse::vault_run_id)]
        run: VaultRunId,
    },
    /// Give a run up before its deadline: all of its escrow goes back
    #[command(after_help = "Example:\n  lumio escrow void 5f0c… --as runner --reason 7")]
    Void {
        /// The run's id on chain, 64 hex digits
        #[arg(value_name = "RUN", value_parser = crate::parse::vault_run_id)]
        run: VaultRunId,
        /// The key of the runner that opened it
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
        /// A number of the runner's own; the service uses 1 for a run called off and 2 for one
        /// given up
        #[arg(long, default_value_t = 2)]
        reason: u32,
    },
    /// Return the escrow of a run whose deadline has passed; anybody may
    #[command(after_help = "Example:\n  lumio escrow reclaim 5f0c… --as alice")]
    Reclaim {
        /// The run's id on chain, 64 hex digits
        #[arg(value_name = "RUN", value_parser = crate::parse::vault_run_id)]
        run: VaultRunId,
        /// Whose key pays for the transaction
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
    },
    /// Return all escrow of an account that fell due on past days; anybody may
    #[command(after_help = "Example:\n  lumio escrow sweep alice --as bob")]
    Sweep {
        /// Name of a key, or address
        account: String,
        /// Whose key pays for the transaction
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
    },
}

pub(super) async fn run(context: &Context, command: Escrow) -> Result<Report> {
    context.connect().await?;
    let vault = context.vault()?;
    match command {
        Escrow::Show { run } => show(context, &run).await,
        Escrow::Void { run, signer, reason } => {
            let key = context.keys.load(&signer)?;

            // Ledger time, which the vault compares it with.
            let until = context.rpc.clock().await?.latest_close.saturating_add(VALID);
            context.submit(&key, vault.void_run(&run, key.address(), reason, until)?).await?;
            show(context, &run).await
        }
        Escrow::Reclaim { run, signer } => {
            let key = context.keys.load(&signer)?;
            context.submit(&key, vault.reclaim_run(&run)?).await?;
            show(context, &run).await
        }
        Escrow::Sweep { account, signer } => {
            let key = context.keys.load(&signer)?;
            sweep(context, context.keys.resolve(&account)?, &key).await
        }
    }
}

async fn sweep(context: &Context, user: Address, key: &stellar::Keypair) -> Result<Report> {
    let applied = context.submit(key, context.vault()?.sweep(user)).await?;
    let value = applied.value.ok_or_else(|| {
        CliError::Unknown("the sweep was applied, but its amount cannot be read".to_owned())
    })?;
    let returned = stellar::scval::Reader::new("swept amount", &value).i128()?;
    let unit = context.shown_unit().await;
    let text = format!("{} went back to {user}", unit.show(returned));
    Ok(Report::new(text, json!({ "user": user, "returned": returned.to_string() })))
}

async fn show(context: &Context, run: &VaultRunId) -> Result<Report> {
    let state = context.vault()?.read_run(&context.rpc, run).await?;
    let (record, live_until) = state.record.ok_or_else(|| {
        CliError::Unknown(format!(
            "the vault has no record of run {run}: it was never opened, or ended more than a day \
                ago; its escrow is not at risk (V3)"
        ))
    })?;
    let now = context.rpc.clock().await?.latest_close;
    let is_over = record.deadline <= now;
    let RunRecord { user, opened_by, agent_id, escrowed, runner_fee, deadline, .. } = record;
    let (state, charge) = match record.lifecycle {
        Lifecycle::Open if is_over => {
            ("past its deadline: it can no longer be settled, only reclaimed", None)
        }
        Lifecycle::Open => ("open", None),
        Lifecycle::Finalized { charge, .. } => ("finalized", Some(charge)),
        Lifecycle::Voided(_) => ("voided", None),
        Lifecycle::Reclaimed => ("reclaimed", None),
    };
    let unit = context.shown_unit().await;
    let mut text = format!(
        "run       {run}\nstate     {state}\nuser      {user}\nrunner    {opened_by}\nagent     {agent_id}\nescrow    {}\n\
         fee       {}\ndeadline  {}",
        unit.show(escrowed),
        unit.show(runner_fee),
        times::show(deadline, now),
    );
    if let Some(charge) = charge {
        text.push_str(&format!("\ncharged   {}", unit.show(charge)));
    }
    let json = json!({
        "runId": run,
        "state": state.split(':').next(),
        "user": user,
        "openedBy": opened_by,
        "agentId": agent_id,
        "escrowed": escrowed.to_string(),
        "runnerFee": runner_fee.to_string(),
        "deadline": deadline,
        "now": now,
        "charge": charge.map(|charge| charge.to_string()),
        "recordLivesUntilLedger": live_until,
    });
    Ok(Report::new(text, json))
}
