//! `oracle-gate seal`: closes a pack that an engine left, in its place.

mod inventory;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::ValueEnum;
use rand::random;
use seal::facts::RunFactsView;
use seal::manifest::{MAX_RELEASE_BYTES, MAX_SEED};
use seal::{Manifest, ManifestV1, SealStatus, Tree, pack_id};
use serde_json::json;
use time::OffsetDateTime;

use inventory::Journal;

use super::{Failure, Output, block_on, print, read_view, store};
use crate::locator::Contained;
use crate::objects::Objects;
use crate::probe;
use crate::profile::Profile;
use crate::reasons::Reason;
use crate::sealing::{Closed, Order, SealingError, close};

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
    /// A file outside the pack that remembers what was hashed: given again after an interruption, only
    /// the rest is hashed. It is removed once the pack is sealed.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Output::Json)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    #[value(name = "SEALED_OK")]
    Ok,
    #[value(name = "SEALED_FAILED")]
    Failed,
}

/// Seals, prints, and answers the exit code of C1.
pub(super) fn run(args: Args) -> Result<u8, Failure> {
    let (profile, objects) = store(&args.profile)?;
    let now = chassis::clock::now();
    let (root, sealed) = block_on(async {
        let view = facts(&objects, &args.run_facts_ref).await.map_err(|error| failure(&error))?;
        let root = pack_root(&objects, &args, &view).map_err(|error| failure(&error))?;
        let journal = args.journal.as_deref();
        let journal = journal.map(|path| Journal::open(path, &objects, &root)).transpose()?;
        let sealed = seal(&objects, &profile, &args, &view, &root, journal, now).await;
        sealed.map(|closed| (root, closed)).map_err(|error| failure(&error))
    })??;
    if let Some(journal) = &args.journal {
        // What is left of it is only of use for a pack that is not sealed yet.
        drop(std::fs::remove_file(journal));
    }
    let status = sealed.status.as_str();
    print(&match args.output {
        Output::Json => format!(
            "{}\n",
            json!({
                "pack_root": root,
                "oracle_pack_id": sealed.pack_id,
                "seal_digest": sealed.seal_digest,
                "manifest_digest": sealed.manifest_digest,
                "seal_status": status,
                "existed": sealed.existed,
            })
        ),
        Output::Text => {
            let known = if sealed.existed { " (it was there already)" } else { "" };
            format!(
                "pack {} in {root}: {status}{known}\nseal {}\n",
                sealed.pack_id, sealed.seal_digest
            )
        }
    })
}

pub(super) fn failure(error: &SealingError) -> Failure {
    let row = error.reason().row();
    let repeat = if row.retryable { "repeat" } else { "do not repeat" };
    let text = match error {
        SealingError::Refused { .. } => error.to_string(),
        _ => format!("{}: {error}", row.code),
    };
    Failure { exit: row.class.exit(), text: format!("{text} ({}; {repeat})", row.action) }
}

async fn facts(objects: &Objects, reference: &str) -> Result<RunFactsView, SealingError> {
    let absent =
        || SealingError::refused(Reason::RunFactsUnreadable, format!("{reference} is not there"));
    let bytes = read_view(objects, reference).await?.ok_or_else(absent)?;
    let parsed = RunFactsView::parse(&bytes);
    parsed.map_err(|mistakes| {
        let text: Vec<_> = mistakes.iter().map(|it| format!("{}: {}", it.at, it.what)).collect();
        SealingError::refused(Reason::RunFactsInvalid, text.join("; "))
    })
}

/// The folder named, or the one that all locators lie in.
fn pack_root(objects: &Objects, args: &Args, view: &RunFactsView) -> Result<String, SealingError> {
    let outside = |error: seal::path::PathError| {
        SealingError::refused(Reason::LocatorOutsideRoot, error.to_string())
    };
    let contained = |path: &str| Contained::parse(path, objects.names()).map_err(outside);
    if let Some(named) = &args.pack_root {
        let named = named.trim_end_matches('/');
        let itself = objects.root().is_some_and(|root| std::path::Path::new(named) == root);
        return match named {
            "." => Ok(String::new()),
            _ if itself => Ok(String::new()),
            _ => contained(named).map(|path| path.as_str().to_owned()),
        };
    }
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
    journal: Option<Journal>,
    now: OffsetDateTime,
) -> Result<Closed, SealingError> {
    let inventory = inventory::inventory(objects, root, journal).await?;
    let manifest = manifest(profile, args, view, inventory, now)?;
    let nonce = hex::encode(random::<[u8; 16]>());
    let scratch = hex::encode(random::<[u8; 16]>());
    let order = Order {
        root,
        manifest: Manifest::V1(manifest),
        status: if args.seal_status == Status::Ok { SealStatus::Ok } else { SealStatus::Failed },
        nonce: &nonce,
        probe: probe::run(objects, &scratch, now).await?,
        now,
    };
    let closed = close(objects, &order).await;
    if args.ensure {
        return closed;
    }
    let sealed = |text: &str| SealingError::refused(Reason::PackAlreadySealed, text);
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
    if args.engine_release.is_empty() || args.engine_release.len() > MAX_RELEASE_BYTES {
        return Err(invalid("--engine-release has 1 to 256 bytes"));
    }
    let mut manifest = ManifestV1 {
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
