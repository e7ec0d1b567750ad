//! `lumio receipts`: the list of everything that an account was ever charged.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use stellar::Address;
use stellar::amount::Unit;
use wire::receipts::ReceiptsDocument;

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::files;
use crate::output::{Report, table};
use crate::times;
use crate::verify::archive::{self, Kept};
use crate::verify::command::own;
use crate::verify::facts::{self, Lists, Own, Receipts};
use crate::verify::stored;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum ReceiptsCommand {
    /// Add what the node still knows to this machine's list, and check it against the chain
    #[command(after_help = "\
Examples:
  lumio receipts export alice
  lumio receipts export G… --out receipts.json

A node forgets events after days; the list does not: it is never replaced by one that lacks any of its
receipts. `lumio verify` uses it to find every attempt of a run. Exit codes: 0 the list is whole, 2 older receipts are missing from it, 1 it is not the chain's")]
    Export {
        /// Whose receipts: name of a key, or address
        user: String,
        /// Also write the list into this new file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Continue this list [default: the one kept on this machine]
        #[arg(long, value_name = "FILE")]
        receipts: Option<PathBuf>,
    },
    /// Check a list: recompute its hashes and compare the last with the chain
    #[command(after_help = "\
Examples:
  lumio receipts verify alice
  lumio receipts verify G… --receipts receipts.json

Exit codes: 0 the list is whole and the chain's, 1 it is not, 2 receipts are missing from it")]
    Verify {
        /// Whose receipts: name of a key, or address
        user: String,
        /// The list [default: the one kept on this machine]
        #[arg(long, value_name = "FILE")]
        receipts: Option<PathBuf>,
    },
}

/// Carries out a command.
///
/// # Errors
///
/// [`CliError`].
pub async fn run(context: &Context, command: ReceiptsCommand) -> Result<Report> {
    match command {
        ReceiptsCommand::Export { user, out, receipts } => {
            let (user, mut own) = (context.keys.resolve(&user)?, own(context)?);
            if let Some(out) = out.as_ref().filter(|out| out.symlink_metadata().is_ok()) {
                let text = format!("{} exists; choose another place with --out", out.display());
                return Err(CliError::usage(text));
            }
            let lists = Lists {
                own: archive::load(context, &own, &user, receipts.as_deref())?,
                stored: stored::list(context, &own, &user).await,
            };
            let now = facts::account_receipts(&context.rpc, &own, &user, lists).await?;
            let (Some(account), Some(list)) = now else { return Ok(never(&user)) };

            own.unit = context.shown_unit().await;

            // What is not the chain's must not become the list that the next run goes on from.
            let mut report = judged(&own, &user, account, &list);
            if report.exit_code == 1 {
                return Ok(report);
            }
            note_kept(&mut report, archive::keep(context, &own, &user, &list)?);
            if let Some(out) = out {
                write(&out, &list)?;
                report.text.push_str(&format!("\nwritten to {}", out.display()));
                report.json["written"] = out.display().to_string().into();
            }
            Ok(report)
        }
        ReceiptsCommand::Verify { user, receipts } => {
            let (user, mut own) = (context.keys.resolve(&user)?, own(context)?);

            // Looked for before the node is asked: without a list there is nothing to compare.
            let list = archive::load(context, &own, &user, receipts.as_deref())?;
            let list = list.ok_or_else(|| {
                CliError::usage(format!(
                    "this machine has no list of {user}'s receipts; make one with: lumio receipts \
                     export {user}"
                ))
            })?;
            context.connect().await?;
            let account = own.vault.read_account(&context.rpc, &user).await?;
            let Some(account) = account else { return Ok(never(&user)) };
            own.unit = context.shown_unit().await;
            let now = Receipts { count: account.receipts, hash: account.receipts_hash };
            Ok(judged(&own, &user, now, &list))
        }
    }
}

/// Says which list this machine keeps from now on.
fn note_kept(report: &mut Report, kept: Kept) {
    match kept {
        Kept::This(path) => {
            report.text.push_str(&format!("\nkept in {}", path.display()));
            report.json["kept"] = path.display().to_string().into();
        }
        Kept::Older { path, first, last } => {
            let note = format!(
                "{} stays as it was: it has receipts {first} to {last}, which this list lacks. \
                 Write this one to a file of its own with --out; if the network was reset and \
                 counts anew, move the kept file away and export again",
                path.display()
            );
            report.text.push_str(&format!("\n{note}"));
            report.json["notKept"] = note.into();
        }
    }
}

fn never(user: &Address) -> Report {
    let json = json!({ "user": user, "whole": true, "receipts": [] });
    Report::new(format!("{user} never used the vault; there are no receipts"), json)
}

/// The list compared with the chain.
fn judged(own: &Own, user: &Address, now: Receipts, list: &ReceiptsDocument) -> Report {
    let (end, hash) = list.end().unwrap_or((now.count, list.before));

    // An empty list begins behind the last receipt, so that all of them are missing from it.
    let first = list.receipts.first().map_or(now.count + 1, |receipt| receipt.number);
    let fault = match list.check() {
        Err(error) => Some(error.to_string()),
        Ok(()) if end > now.count || (end == now.count && hash != now.hash) => Some(format!(
            "the vault counts {} receipts with running hash {}, the list ends at {end} with {hash}",
            now.count, now.hash
        )),
        Ok(()) => None,
    };

    let rows: Vec<_> = list.receipts.iter().map(|receipt| row(receipt, &own.unit)).collect();
    let (mut charge, mut fee) = (0_i128, 0_i128);
    for (_, receipt) in list.receipts.iter().filter_map(facts::settled) {
        charge = charge.saturating_add(receipt.actual_charge);
        fee = fee.saturating_add(receipt.runner_fee);
    }
    let total = charge.saturating_add(fee);

    // A list that is wrong is missing nothing that could be named.
    let missing = match (first, end) {
        _ if fault.is_some() => None,
        (first, _) if first > 1 => Some(format!("receipts 1 to {} are not in the list", first - 1)),
        (_, end) if end < now.count => {
            Some(format!("receipts {} to {} are not in the list", end + 1, now.count))
        }
        _ => None,
    };
    let verdict = match (&fault, &missing) {
        (Some(fault), _) => format!("BROKEN: {fault}"),
        (None, Some(missing)) => {
            format!("{user} was charged at least {}; {missing}", own.unit.show(total))
        }
        (None, None) => format!(
            "proven: {user} was charged {} in all, {} of it fees, in {} receipts; their running \
             hash is the chain's",
            own.unit.show(total),
            own.unit.show(fee),
            now.count
        ),
    };

    let heading = ["RECEIPT", "SETTLED", "CHARGE", "FEE", "RUN ON CHAIN"];
    let text = if rows.is_empty() {
        verdict.clone()
    } else {
        format!("{}\n\n{verdict}", table(heading, &rows))
    };

    // C1, as for a proof: 1 is wrong, 2 is not known.
    let exit_code = if fault.is_some() { 1 } else { u8::from(missing.is_some()) * 2 };
    let described: Vec<_> =
        list.receipts.iter().filter_map(facts::settled).map(described).collect();
    let json = json!({
        "user": user,
        "vault": own.vault.0,
        "whole": exit_code == 0,
        "count": now.count,
        "runningHash": now.hash,
        "charge": charge.to_string(),
        "fee": fee.to_string(),
        "total": total.to_string(),
        "verdict": verdict,
        "receipts": described,
    });
    Report { exit_code, ..Report::new(text, json) }
}

fn row(receipt: &wire::receipts::ReceiptText, unit: &Unit) -> [String; 5] {
    let number = receipt.number.to_string();
    let Some((_, settled)) = facts::settled(receipt) else {
        return [number, "unreadable".to_owned(), String::new(), String::new(), String::new()];
    };
    let at = settled.finalized_at;
    [
        number,
        times::date(at).unwrap_or_else(|| at.to_string()),
        unit.show(settled.actual_charge),
        unit.show(settled.runner_fee),
        settled.run_id.to_string(),
    ]
}

fn described((number, settled): (u64, stellar::vault::SettledRun)) -> Value {
    json!({
        "number": number,
        "runId": settled.run_id,
        "charge": settled.actual_charge.to_string(),
        "fee": settled.runner_fee.to_string(),
        "refund": settled.refund.to_string(),
        "usage": settled.usage,
        "outputHash": settled.output_hash,
        "settledBy": settled.settled_by,
        "finalizedAt": settled.finalized_at,
        "terms": settled.terms,
    })
}

fn write(out: &std::path::Path, list: &ReceiptsDocument) -> Result<()> {
    let failed =
        |error: std::io::Error| CliError::usage(format!("cannot write {}: {error}", out.display()));
    let fill = |file: &mut std::fs::File| {
        let mut file = std::io::BufWriter::new(file);
        serde_json::to_writer_pretty(&mut file, list).map_err(std::io::Error::other)?;
        std::io::Write::flush(&mut file)
    };
    files::make(out, fill).map_err(failed)
}
