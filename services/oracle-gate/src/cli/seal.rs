//! `oracle-gate seal`: closes a pack that an engine left, in its place.

mod inventory;
mod plan;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::pin;

use clap::ValueEnum;
use futures::future::{Either, select};
use rand::random;
use seal::facts::RunFactsView;
use seal::manifest::{MAX_RELEASE_BYTES, MAX_SEED};
use seal::{Manifest, ManifestV1, SealStatus, Sharding, Tree, pack_id};
use serde_json::json;
use time::OffsetDateTime;

use inventory::Journal;

use super::{
    CommandError, Jobs, OutputFormat, answer, block_on, escape, named_root, print, progress,
    read_view, store, usage,
};
use crate::locator::{Contained, path_reason};
use crate::objects::Objects;
use crate::probe;
use crate::profile::Profile;
use crate::reasons::Reason;
use crate::sealing::{Closed, Order, SealingError, close, fits, probe_text};

/// Options of `seal`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Profile: local, dev, prod, or the path of a YAML file.
    #[arg(long)]
    profile: String,
    /// The facts view whose pins name the world and the run.
    #[arg(long)]
    run_facts_ref: String,
    /// The pack's folder below the oracle root; else it follows from the view's locators.
    #[arg(long)]
    pack_root: Option<String>,
    /// What made the files.
    #[arg(long, default_value = "unknown")]
    engine_release: String,
    /// How the pack is closed.
    #[arg(long, value_enum, default_value_t = Status::Ok)]
    seal_status: Status,
    /// The run's attempt.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    attempt: u32,
    /// Accept a seal that is there already, if it is equal.
    #[arg(long)]
    ensure: bool,
    /// A file outside the pack that remembers what was hashed: given again after an interruption,
    /// only the rest is hashed. It is removed once the pack is sealed.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = OutputFormat::Json)]
    output: OutputFormat,
    #[command(flatten)]
    jobs: Jobs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    #[value(name = "SEALED_OK")]
    Ok,
    #[value(name = "SEALED_FAILED")]
    Failed,
}

/// Seals, prints, and answers the exit code of C1.
pub(super) fn run(args: Args) -> Result<u8, CommandError> {
    let release = args.engine_release.as_str();
    if release.is_empty() || release.len() > MAX_RELEASE_BYTES {
        return Err(usage("--engine-release needs 1 to 256 bytes"));
    }
    let (profile, objects) = store(&args.profile)?;
    let named = args.pack_root.as_deref().map(|named| named_root(&objects, named)).transpose()?;
    let now = chassis::clock::now();
    let (objects, meter) = progress::metered(&args.jobs.apply(&objects));
    let work = async {
        let view = facts(&objects, &args.run_facts_ref).await.map_err(|error| failure(&error))?;
        let root = match named {
            Some(named) => named,
            None => derived_root(&objects, &view).map_err(|error| failure(&error))?,
        };
        let journal = args.journal.as_deref();
        let mut journal = journal.map(|path| Journal::open(path, &objects, &root)).transpose()?;
        let sealed = seal(&objects, &profile, &args, &view, &root, journal.as_mut(), now).await;
        let sealed = sealed.map_err(|error| failure(&error))?;
        // Only now: until there is a seal, an interrupted call needs it.
        if let Some(journal) = journal {
            journal.remove();
        }
        Ok((root, sealed))
    };
    let (root, sealed) = block_on(progress::shown(&meter, work))??;
    let status = sealed.status.as_str();
    print(&match args.output {
        OutputFormat::Json => answer(&json!({
            "pack_root": root,
            "oracle_pack_id": sealed.pack_id,
            "seal_digest": sealed.seal_digest,
            "manifest_digest": sealed.manifest_digest,
            "seal_status": status,
            "existed": sealed.existed,
        }))?,
        OutputFormat::Text => {
            let known = if sealed.existed { " (it was there already)" } else { "" };
            format!(
                "pack {} in {}: {status}{known}\nseal {}\n",
                sealed.pack_id,
                escape::line(&root),
                sealed.seal_digest
            )
        }
    })
}

pub(super) fn failure(error: &SealingError) -> CommandError {
    let row = error.reason().row();
    let repeat = if row.retryable { "repeat" } else { "do not repeat" };
    let text = match error {
        SealingError::Refused { .. } => error.to_string(),
        _ => format!("{}: {error}", row.code),
    };
    CommandError { exit: row.class.exit(), text: format!("{text} ({}; {repeat})", row.action) }
}

async fn facts(objects: &Objects, reference: &str) -> Result<RunFactsView, SealingError> {
    let absent =
        || SealingError::refused(Reason::RunFactsUnreadable, format!("{reference} is not there"));
    let bytes = read_view(objects, reference).await?.ok_or_else(absent)?;
    let parsed = RunFactsView::parse(&bytes);
    parsed.map_err(|mistakes| {
        let text: Vec<_> =
            mistakes.iter().map(|mistake| format!("{}: {}", mistake.at, mistake.what)).collect();
        SealingError::refused(Reason::RunFactsInvalid, text.join("; "))
    })
}

/// The one folder that all locators lie in.
fn derived_root(objects: &Objects, view: &RunFactsView) -> Result<String, SealingError> {
    let contained = |path: &str| {
        Contained::parse(path, objects.names())
            .map_err(|error| SealingError::refused(path_reason(&error), error.to_string()))
    };
    let roots = view.locators.iter().map(|locator| contained(&locator.path));
    let roots: BTreeSet<String> =
        roots.map(|path| path.map(|path| path.pack_root())).collect::<Result<_, _>>()?;
    let mut roots = roots.into_iter();
    match (roots.next(), roots.next()) {
        (None, _) => Err(SealingError::refused(Reason::PackRootUnderived, "no locators")),
        (Some(root), None) => Ok(root),
        (Some(one), Some(two)) => {
            Err(SealingError::refused(Reason::PackRootAmbiguous, format!("{one}, {two}")))
        }
    }
}

async fn seal(
    objects: &Objects,
    profile: &Profile,
    args: &Args,
    view: &RunFactsView,
    root: &str,
    journal: Option<&mut Journal>,
    now: OffsetDateTime,
) -> Result<Closed, SealingError> {
    let status = if args.seal_status == Status::Ok { SealStatus::Ok } else { SealStatus::Failed };
    // Everything that can refuse the pack without its bytes comes first.
    let listed = plan::files(objects, root).await?;
    let outlined = plan::outline(root, &listed.files)?;
    plan::outputs(objects, view, root, &outlined, status)?;
    let shards = plan::outline_shards(Sharding::PACK, &outlined)?;
    let outlined = Manifest::new(manifest(profile, args, view, outlined, now)?, shards);
    fits(outlined.to_bytes()?.len() as u64)?;
    let differs = plan::differs(objects, root, &listed, &outlined).await?;
    let is_sealed = differs.is_some();
    let sealed = |text: &str| SealingError::refused(Reason::PackAlreadySealed, text);
    if differs == Some(true) && !args.ensure {
        return Err(sealed("its identity or files differ"));
    }
    let scratch = hex::encode(random::<[u8; 16]>());
    let probe = async {
        if is_sealed {
            // Nothing will be written.
            return Ok(None);
        }
        let probe = probe::run(objects, &scratch, now).await?;
        if !probe.write_once() {
            return Err(SealingError::refused(Reason::StoreNotWriteOnce, probe_text(&probe)));
        }
        Ok(Some(probe))
    };
    // What is said of a pack that is sealed is said of bytes that were read for it: nothing counts
    // as known, whatever an earlier call noted.
    let journal = journal.filter(|_| !is_sealed);
    let rule = Sharding::PACK;
    let inventory = inventory::inventory(objects, root, &listed.files, rule, journal);
    // The probe waits for the store, and hashing for the processor. A store that fails the probe
    // ends the hashing; a probe is never ended, since it removes at its end what it made.
    let (probe, inventory) = match select(pin!(probe), pin!(inventory)).await {
        Either::Left((probe, inventory)) => (probe?, inventory.await?),
        Either::Right((inventory, probe)) => (probe.await?, inventory?),
    };
    let (inventory, shards) = inventory;
    let manifest = Manifest::new(manifest(profile, args, view, inventory, now)?, shards);
    let nonce = hex::encode(random::<[u8; 16]>());
    let order = Order {
        root,
        manifest,
        status,
        nonce: &nonce,
        probe: match probe {
            Some(probe) => probe,
            None => probe::run(objects, &scratch, now).await?,
        },
        now,
        seen: Some(listed.files),
    };
    let closed = close(objects, &order).await;
    if args.ensure {
        return closed;
    }
    match closed {
        Ok(closed) if closed.existed => Err(sealed("its identity and files are equal")),
        Err(error) if error.reason() == Reason::SealMismatch => {
            Err(sealed(&format!("its identity or files differ: {error}")))
        }
        other => other,
    }
}

fn manifest(
    profile: &Profile,
    args: &Args,
    view: &RunFactsView,
    inventory: Tree,
    now: OffsetDateTime,
) -> Result<ManifestV1, SealingError> {
    let invalid = |text: &str| SealingError::refused(Reason::RunFactsInvalid, text);
    if view.run_id != view.pins.run_id {
        return Err(SealingError::refused(Reason::RunPinsMismatch, "run_id is not pins.run_id"));
    }
    if view.pins.seed > MAX_SEED || view.pins.scenario_id.len() > 256 {
        return Err(invalid("the seed is above 2^53 - 1 or the scenario id longer than 256 bytes"));
    }
    let mut manifest = ManifestV1 {
        // A placeholder: the id follows from all the other fields.
        oracle_pack_id: inventory.digest(),
        world_key: view.world_key(),
        run_id: view.run_id,
        attempt: args.attempt,
        engine_release: args.engine_release.clone(),
        catalogue_digest: profile.catalogue.digest(),
        gate_map_digest: profile.gate_map.digest(),
        inventory,
        created_at_utc: now,
    };
    manifest.oracle_pack_id = pack_id::v1(&manifest);
    Ok(manifest)
}
