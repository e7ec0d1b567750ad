//! `lumio verify` and `lumio export`.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use wire::RunId;

use super::bundle::{self, Bundle};
use super::facts::{self, ChainFacts, Hints, Own};
use super::judge::judge;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::gateway::Gateway;
use crate::output::Report;

/// Prove a run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lumio verify 0197e4a0-…\n  lumio verify 0197e4a0-… --bundle \
        lumio-0197e4a0.tar\n  \
                        lumio verify 0197e4a0-… --bundle lumio-0197e4a0 --offline\n\n\
                        Network, vault and registry are those of your own configuration, never \
                            what the gateway says.\n\
                        Exit codes: 0 proven, 1 a link is broken, 2 could not tell (always with \
                            --offline), 3 wrong usage or configuration")]
pub struct Verify {
    /// The run's id
    run: String,
    /// Folder or archive with the run's bundle [default: fetched from the gateway]
    #[arg(long, value_name = "DIR|FILE")]
    bundle: Option<PathBuf>,
    /// Ask no RPC: compare with the chain's facts in the exported bundle, which proves nothing by
    /// itself
    #[arg(long, requires = "bundle")]
    offline: bool,
}

/// Write a run's bundle.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lumio export 0197e4a0-…\n  lumio export 0197e4a0-… --out \
        evidence.tar")]
pub struct Export {
    /// The run's id
    run: String,
    /// A new folder, or a new archive if it ends in .tar [default: lumio-RUN]
    #[arg(long, value_name = "DIR|FILE")]
    out: Option<PathBuf>,
}

/// A bundle, and the temporary folder that it may live in.
struct Opened {
    bundle: Bundle,
    _folder: Option<TempDir>,
}

/// Proves a run.
///
/// # Errors
///
/// [`Failure::Unknown`] if the gateway or the RPC is unreachable. A broken link is reported in the
/// result, not as an error.
pub async fn verify(context: &Context, command: &Verify) -> Result<Report> {
    let run = run_id(&command.run)?;
    let own = own(context)?;
    let opened = open(context, run, command.bundle.as_deref()).await?;
    let facts = match command.offline {
        true => exported(&opened.bundle)?,
        false => gather(context, &own, &opened.bundle).await?,
    };
    let proof = judge(&opened.bundle, &facts, &own)?;
    let mut report = proof.report();
    if command.offline {
        seen_by_others(&mut report, facts.ledger);
    }
    Ok(report)
}

/// Writes a run's bundle with the chain's facts, and proves it once.
///
/// # Errors
///
/// As [`verify`]; also when the place is taken.
pub async fn export(context: &Context, command: &Export) -> Result<Report> {
    let run = run_id(&command.run)?;
    let own = own(context)?;
    let out = command.out.clone().unwrap_or_else(|| PathBuf::from(format!("lumio-{run}")));
    if out.symlink_metadata().is_ok() {
        return Err(Failure::usage(format!(
            "{} exists; choose another place with --out",
            out.display()
        )));
    }
    let opened = open(context, run, None).await?;
    let facts = gather(context, &own, &opened.bundle).await?;
    let text = serde_json::to_vec_pretty(&facts)
        .map_err(|error| Failure::unknown("the chain's facts have no JSON form", error))?;
    let file = opened.bundle.root().join(facts::FILE);
    let unwritable =
        |error: std::io::Error| Failure::unknown("the chain's facts cannot be written", error);
    let folder = file.parent().unwrap_or(opened.bundle.root());
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, text))
        .map_err(unwritable)?;
    let proof = judge(&opened.bundle, &facts, &own)?;
    place(opened.bundle.root(), &out)?;
    let mut report = proof.report();
    report.text.push_str(&format!("\nexported to {}", out.display()));
    report.json["exported"] = out.display().to_string().into();
    Ok(report)
}

/// The facts came with the bundle and are signed by nobody: whoever wrote the files may have
/// written them too. What is broken stays broken; what holds is only consistent.
fn seen_by_others(report: &mut Report, ledger: u32) {
    let note = format!(
        "the chain was not asked: its facts came with the bundle, as of ledger {ledger}, and \
            nobody signed them; verify without --offline to read them yourself"
    );
    if report.exit_code == 0 {
        report.exit_code = 2;
        let links = report.text.split("\n\n").next().unwrap_or_default().to_owned();
        report.text = format!("{links}\n\nCONSISTENT, NOT PROVEN: {note}");
        report.json["proven"] = false.into();
        report.json["conclusion"] = json!([note]);
    } else {
        report.text.push_str(&format!("\n{note}"));
    }
    report.json["consistent"] = (report.exit_code == 2).into();
    report.json["note"] = note.into();
}

fn run_id(text: &str) -> Result<RunId> {
    text.parse()
        .map_err(|error: wire::id::InvalidRunId| Failure::usage(format!("'{text}': {error}")))
}

fn own(context: &Context) -> Result<Own> {
    Ok(Own {
        network: context.network.clone(),
        vault: context.vault()?,
        registry: context.registry()?,
    })
}

async fn open(context: &Context, run: RunId, given: Option<&Path>) -> Result<Opened> {
    let opened = match given {
        Some(path) if path.is_dir() => {
            Opened { bundle: Bundle::open(path.to_owned())?, _folder: None }
        }
        Some(path) => unpacked(path)?,
        None => fetched(context, run).await?,
    };
    match opened.bundle.claim.id {
        id if id == run => Ok(opened),
        id => Err(Failure::bad(format!("the bundle is of run {id}, not {run}"))),
    }
}

/// A run that was never sealed has no archive; what the gateway tells of it is all there is.
async fn fetched(context: &Context, run: RunId) -> Result<Opened> {
    let folder = temporary()?;
    let archive = folder.path().join("bundle.tar");
    let gateway = Gateway::new(context)?;
    match gateway.download(&format!("/runs/{run}/bundle"), &archive).await {
        Ok(()) => return unpacked(&archive),
        Err(Failure::Bad(reason)) => {
            let run_view = gateway.get(&format!("/runs/{run}")).await?;
            if run_view.get("pack").is_some_and(|pack| !pack.is_null()) {
                return Err(Failure::Bad(reason));
            }
            let written = std::fs::write(folder.path().join("run.json"), run_view.to_string());
            written.map_err(|error| Failure::unknown("run.json cannot be written", error))?;
        }
        Err(failure) => return Err(failure),
    }
    Ok(Opened { bundle: Bundle::open(folder.path().to_owned())?, _folder: Some(folder) })
}

fn unpacked(archive: &Path) -> Result<Opened> {
    let folder = temporary()?;
    bundle::unpack(archive, folder.path())?;
    Ok(Opened { bundle: Bundle::open(folder.path().to_owned())?, _folder: Some(folder) })
}

fn temporary() -> Result<TempDir> {
    tempfile::tempdir().map_err(|error| Failure::unknown("no temporary folder can be made", error))
}

async fn gather(context: &Context, own: &Own, bundle: &Bundle) -> Result<ChainFacts> {
    let claim = &bundle.claim;
    let run_id = claim.run_id.ok_or_else(|| {
        Failure::bad(
            "the gateway tells no run id on chain: the run was never opened, and there \
            is nothing to prove",
        )
    })?;
    let hint = |name| claim.inner("transactionHashes", name).and_then(|hash| hash.parse().ok());
    let hints = Hints { open: hint("open"), finalize: hint("finalize") };
    facts::gather(&context.rpc, own, &run_id, &hints).await
}

fn exported(bundle: &Bundle) -> Result<ChainFacts> {
    let text = bundle.read(facts::FILE)?;
    ChainFacts::parse(&text.ok_or_else(|| {
        Failure::usage(format!("the bundle has no {}; export it with: lumio export", facts::FILE))
    })?)
}

/// Brings the finished bundle to its place at once, so that no half of one is ever found there.
fn place(from: &Path, out: &Path) -> Result<()> {
    if out.extension().is_some_and(|extension| extension == "tar") {
        return bundle::pack(from, out);
    }
    let failed =
        |error: std::io::Error| Failure::usage(format!("cannot write {}: {error}", out.display()));
    copy(from, out).map_err(failed)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in walkdir::WalkDir::new(from).follow_links(false).min_depth(1) {
        let entry = entry?;
        let target = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        if entry.file_type().is_dir() {
            std::fs::create_dir(&target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
