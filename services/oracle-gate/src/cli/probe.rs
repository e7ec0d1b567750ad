//! `oracle-gate probe`: whether a store may hold seals, and whether its checksums count (O10, O11).

use seal::StoreProbe;
use serde_json::json;

use super::{CommandError, OutputFormat, answer, block_on, escape, print, say, store};
use crate::probe;
use crate::reasons::Reason;
use crate::sealing::SealingError;

/// Options of `probe`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Profile: local, dev, prod, or the path of a YAML file.
    #[arg(long)]
    profile: String,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

/// Probes, prints, and answers the exit code of C1.
pub(super) fn run(args: &Args) -> Result<u8, CommandError> {
    let (_, objects) = store(&args.profile)?;
    let scratch = hex::encode(rand::random::<[u8; 16]>());
    let now = chassis::clock::now();
    let probed = block_on(probe::run(&objects, &scratch, now))?;
    let probe = probed.map_err(|error| super::seal::failure(&SealingError::Store(error)))?;
    let root = objects.names().first().cloned().unwrap_or_default();
    print(&match args.output {
        OutputFormat::Json => {
            answer(&json!({"store": root, "write_once": probe.write_once(), "store_probe": probe}))?
        }
        _ => text(&escape::line(&root), &probe),
    })?;
    if probe.write_once() {
        return Ok(0);
    }
    let row = Reason::StoreNotWriteOnce.row();
    say(&format!("{}: {} ({}; do not repeat)", row.code, row.meaning, row.action));
    Ok(row.class.exit())
}

fn text(root: &str, probe: &StoreProbe) -> String {
    let second = if probe.second_create_refused { "refused" } else { "NOT refused" };
    let checksums = match probe.wrong_checksum_refused {
        Some(true) => "a wrong one is refused: they may count as evidence",
        Some(false) => "a wrong one is not refused: they never count, bytes are read",
        None => "the store keeps none: bytes are read",
    };
    format!(
        "{root}\nsecond create: {second}\nraces with one winner: {} of {}, {} writers each\n\
         checksums: {checksums}\nwrite-once: {}\n",
        probe.races_with_one_winner,
        probe.races,
        probe.writers,
        if probe.write_once() { "yes" } else { "no" }
    )
}
