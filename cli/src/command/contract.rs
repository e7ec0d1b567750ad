//! `lumio contract`: the deployed contracts themselves, and what their administrator may do (V2).

mod admin;
mod code;

use clap::Subcommand;
use serde_json::{Value, json};
use stellar::Address;
use stellar::administration::Administered;
use stellar::vault::Vault;

use crate::context::Context;
use crate::contracts::Contract;
use crate::error::Result;
use crate::output::Report;
use crate::times;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum ContractCommand {
    /// Who administers a contract, what waits, and whether its books add up
    #[command(
        after_help = "Examples:\n  lumio contract show vault\n  lumio contract show registry \
            --output json"
    )]
    Show {
        /// Which contract
        contract: Contract,
    },
    /// Check that a deployed contract runs the code of this release, or that of a file
    Verify(code::Verify),
    /// Print every contract error with its meaning and what to do
    #[command(after_help = "Example:\n  lumio contract errors > docs/contract-errors.md")]
    Errors,
    /// Stop new runs; withdrawals, settlements, voids and reclaims go on
    #[command(after_help = "Example:\n  lumio contract pause --as ops")]
    Pause(admin::Signer),
    /// Let runs open again
    #[command(after_help = "Example:\n  lumio contract resume --as ops")]
    Resume(admin::Signer),
    /// Name who may take over administration; naming yourself takes that back
    #[command(after_help = "Example:\n  lumio contract propose-admin vault G… --as ops")]
    ProposeAdmin {
        /// Which contract
        contract: Contract,
        /// Name of a key, or address
        proposed: String,
        /// The administrator
        #[command(flatten)]
        signer: admin::Signer,
    },
    /// Take over administration, as the one who was named
    #[command(after_help = "Example:\n  lumio contract accept-admin vault --as new-ops")]
    AcceptAdmin {
        /// Which contract
        contract: Contract,
        /// The proposed administrator
        #[command(flatten)]
        signer: admin::Signer,
    },
    /// Announce new code, which may be put in place seven days later
    #[command(
        after_help = "Example:\n  lumio contract schedule-upgrade vault --wasm prepaid_vault.wasm \
            --as ops\n\n\
                      The code is uploaded if the network does not have it. What was scheduled \
                          before is replaced."
    )]
    ScheduleUpgrade {
        /// Which contract
        contract: Contract,
        /// File with the new code
        #[arg(long, value_name = "FILE")]
        wasm: std::path::PathBuf,
        /// The administrator
        #[command(flatten)]
        signer: admin::Signer,
    },
    /// Take back what was announced
    #[command(after_help = "Example:\n  lumio contract cancel-upgrade vault --as ops")]
    CancelUpgrade {
        /// Which contract
        contract: Contract,
        /// The administrator
        #[command(flatten)]
        signer: admin::Signer,
    },
    /// Put the announced code in place, and migrate the data
    #[command(
        after_help = "Example:\n  lumio contract upgrade vault --wasm prepaid_vault.wasm --as \
            ops\n\n\
                      The file must be the code that was announced: nothing is put in place unseen."
    )]
    Upgrade {
        /// Which contract
        contract: Contract,
        /// File with the code that was announced
        #[arg(long, value_name = "FILE")]
        wasm: std::path::PathBuf,
        /// The administrator
        #[command(flatten)]
        signer: admin::Signer,
    },
}

pub(super) async fn run(context: &Context, command: ContractCommand) -> Result<Report> {
    // The table is built in: no network is needed to read it.
    if !matches!(command, ContractCommand::Errors) {
        context.connect().await?;
    }
    match command {
        ContractCommand::Errors => {
            Ok(Report::new(stellar::contract_error::guide().trim_end(), errors()))
        }
        ContractCommand::Show { contract } => show(context, contract).await,
        ContractCommand::Verify(verify) => code::verify(context, &verify).await,
        ContractCommand::Pause(signer) => admin::set_paused(context, &signer, true).await,
        ContractCommand::Resume(signer) => admin::set_paused(context, &signer, false).await,
        ContractCommand::ProposeAdmin { contract, proposed, signer } => {
            let proposed = context.keys.resolve(&proposed)?;
            let call = administered(context, contract)?.propose_admin(proposed);
            admin::submit(context, contract, &signer, call).await
        }
        ContractCommand::AcceptAdmin { contract, signer } => {
            let call = administered(context, contract)?.accept_admin();
            admin::submit(context, contract, &signer, call).await
        }
        ContractCommand::ScheduleUpgrade { contract, wasm, signer } => {
            admin::schedule(context, contract, &wasm, &signer).await
        }
        ContractCommand::CancelUpgrade { contract, signer } => {
            let call = administered(context, contract)?.cancel_upgrade();
            admin::submit(context, contract, &signer, call).await
        }
        ContractCommand::Upgrade { contract, wasm, signer } => {
            admin::upgrade(context, contract, &wasm, &signer).await
        }
    }
}

fn administered(context: &Context, contract: Contract) -> Result<Administered> {
    Ok(match contract {
        Contract::Vault => context.vault()?.into(),
        Contract::Registry => context.registry()?.into(),
    })
}

/// Everything that can be said of a contract beside its code.
async fn show(context: &Context, contract: Contract) -> Result<Report> {
    let administered = administered(context, contract)?;
    let state = administered.read(&context.rpc).await?;
    let life = stellar::state::lifetime(&context.rpc, &administered.id()).await?;
    let mut lines = vec![
        format!("{} {}", contract.name(), administered.id()),
        format!("  administrator {}", state.admin),
    ];

    // Users who want to leave before an upgrade have to be able to read what comes (V20).
    let announced_code = match &state.upgrade {
        Some(upgrade) => Some(stellar::state::has_code(&context.rpc, &upgrade.code).await?),
        None => None,
    };
    if let Some(proposed) = state.proposed {
        lines.push(format!("  proposed      {proposed}"));
    }
    if let Some(upgrade) = state.upgrade {
        let now = context.rpc.clock().await?.latest_close;
        let (ready, lapses) =
            (times::show(upgrade.ready_at, now), times::show(upgrade.lapses_at, now));
        let readable = match announced_code {
            Some(true) => "can be read on the ledger",
            _ => "is not on the ledger, so users cannot read it yet",
        };
        lines.push(format!("  upgrade       to {}, ready {ready}, lapses {lapses}", upgrade.code));
        lines.push(format!("                its code {readable}"));
    }
    if let Some(paused) = state.opens_paused {
        lines.push(format!("  new runs      {}", if paused { "paused" } else { "open" }));
    }
    let ledgers = |end: Option<u32>| {
        end.map_or_else(|| "-".to_owned(), |end| end.saturating_sub(life.ledger).to_string())
    };
    lines.push(format!(
        "  lives         {} ledgers more, its code {}",
        ledgers(life.instance),
        ledgers(life.code)
    ));
    let mut json = json!({
        "ledger": life.ledger,
        "liveUntilLedger": life.instance,
        "codeLiveUntilLedger": life.code,
        "contract": contract.name(),
        "id": administered.id(),
        "administrator": state.admin,
        "proposed": state.proposed,
        "upgrade": state.upgrade.map(|upgrade| json!({
            "code": upgrade.code,
            "readyAt": upgrade.ready_at,
            "lapsesAt": upgrade.lapses_at,
            "codeOnLedger": announced_code,
        })),
        "opensPaused": state.opens_paused,
        "layout": state.layout,
    });
    if contract == Contract::Vault {
        let books = books(context, &mut lines).await?;
        json["books"] = books;
    }
    Ok(Report::new(lines.join("\n"), json))
}

/// What the vault was set up with, and whether it holds what it owes (V1).
async fn books(context: &Context, lines: &mut Vec<String>) -> Result<Value> {
    let vault: Vault = context.vault()?;
    let config = context.vault_config().await?;
    let unit = context.shown_unit().await;
    let sum = async |call| -> Result<i128> {
        let value = stellar::tx::view(&context.rpc, &call).await?;
        Ok(stellar::scval::Reader::new("sum", &value).i128()?)
    };
    let (surplus, deficit) = (sum(vault.surplus()).await?, sum(vault.deficit()).await?);
    lines.push(format!("  registry      {}", config.registry));
    lines.push(format!("  token         {}", config.token));
    lines.push(format!("  surplus       {}", unit.show(surplus)));
    let alarm = if deficit == 0 { "" } else { "  ALARM: it owes more than it holds" };
    lines.push(format!("  deficit       {}{alarm}", unit.show(deficit)));
    Ok(json!({
        "registry": config.registry,
        "token": config.token,
        "surplus": surplus.to_string(),
        "deficit": deficit.to_string(),
    }))
}

fn id(context: &Context, contract: Contract) -> Result<Address> {
    administered(context, contract).map(|contract| contract.id())
}

/// The table of errors for a program.
fn errors() -> Value {
    use stellar::contract_error::{REGISTRY, Row, TOKEN, VAULT};
    let rows = |rows: &[Row]| -> Value {
        rows.iter()
            .map(|row| {
                json!({
                    "number": row.number,
                    "name": row.name,
                    "meaning": row.meaning,
                    "action": row.action,
                    "retryable": row.retryable,
                })
            })
            .collect()
    };
    json!({ "vault": rows(VAULT), "registry": rows(REGISTRY), "token": rows(TOKEN) })
}
