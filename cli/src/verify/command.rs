//! `lumio verify` and `lumio export`.

use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use serde_json::json;
use stellar::Address;
use stellar::amount::Unit;
use tempfile::TempDir;
use wire::{Digest, RunId};

use super::archive;
use super::bundle::{self, Bundle};
use super::facts::{self, ChainFacts, Lists, Own};
use super::judge::{Asked, judge};
use super::link::{Proof, Tombstone};
use super::rerun;
use super::signed;
use super::stored;
use crate::context::Context;
use crate::error::{CliError, Result};
use crate::escape::escape;
use crate::files;
use crate::gateway::{Gateway, unexpected};
use crate::output::Report;

/// Prove a run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lumio verify 0197e4a0-…
  lumio verify 0197e4a0-… --input input.json --seed 7
  lumio verify 0197e4a0-… --attempt 1
  lumio verify 0197e4a0-… --bundle lumio-0197e4a0.tar
  lumio verify 0197e4a0-… --bundle lumio-0197e4a0 --offline --trust G…

Network, vault and registry are those of your own configuration, never what the gateway says.
Exit codes: 0 proven, 1 a link is broken, 2 could not tell, 3 wrong usage or configuration")]
pub struct Verify {
    /// The run's id
    run: String,
    /// Folder or archive with the run's bundle [default: fetched from the gateway]
    #[arg(long, value_name = "DIR|FILE")]
    bundle: Option<PathBuf>,
    /// Prove what this attempt was charged for [default: the newest]
    #[arg(long, value_name = "N", conflicts_with = "bundle",
          value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Ask no RPC: take the chain's facts from the exported bundle
    #[arg(long, requires = "bundle")]
    offline: bool,
    /// Accept the facts of the bundle if this key signed them: G…, 64 hex digits, or a key's name
    #[arg(long, value_name = "KEY", requires = "offline")]
    trust: Option<String>,
    /// Compare with the input that you asked for: a file of JSON; - is standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Compare with the seed that you asked for
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u64).range(..=crate::parse::LARGEST_NUMBER))]
    seed: Option<u64>,
    /// Compare with the workflow that you asked for
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// A list of your receipts, from `lumio receipts export` [default: the one kept on this
    /// machine]
    #[arg(long, value_name = "FILE")]
    receipts: Option<PathBuf>,
    /// Execute the module again under the guard, and compare its outputs byte for byte
    #[arg(long)]
    rerun: bool,
    /// The program that executes it again [default: module-gate beside lumio, or on the PATH]
    #[arg(long, value_name = "PROGRAM", requires = "rerun")]
    module_gate: Option<PathBuf>,
}

/// Write a run's bundle.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lumio export 0197e4a0-…
  lumio export 0197e4a0-… --out evidence.tar
  lumio export 0197e4a0-… --sign auditor")]
pub struct Export {
    /// The run's id
    run: String,
    /// A new folder, or a new archive if it ends in .tar [default: lumio-RUN]
    #[arg(long, value_name = "DIR|FILE")]
    out: Option<PathBuf>,
    /// Which attempt [default: the newest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Sign what you read from the chain with this key, so that others may rely on you
    #[arg(long, value_name = "KEY")]
    sign: Option<String>,
    /// A list of your receipts, from `lumio receipts export` [default: the one kept on this
    /// machine]
    #[arg(long, value_name = "FILE")]
    receipts: Option<PathBuf>,
}

/// A bundle, and the temporary folder that it may live in.
struct Opened {
    bundle: Bundle,
    /// Why the gateway gave no bundle, where what it shows of the run is used in its place.
    refused: Option<Refused>,
    _folder: Option<TempDir>,
}

/// A gateway's refusal of a bundle.
struct Refused {
    reason: String,
    /// Whether it says that there is none, as of a run that was not sealed.
    is_not_found: bool,
}

/// Where the facts of an offline verification come from.
enum Source {
    /// The author of the bundle.
    Unsigned,
    /// The holder of this key.
    Signed(VerifyingKey),
}

/// Proves a run.
///
/// # Errors
///
/// [`CliError::Unknown`] if the gateway or the RPC is unreachable. A broken link is reported in the
/// result, not as an error.
pub async fn verify(context: &Context, command: &Verify) -> Result<Report> {
    let run = run_id(&command.run)?;
    let mut own = own(context)?;
    let asked = asked(command)?;
    let trusted = command.trust.as_deref().map(|key| signed::key(context, key)).transpose()?;
    let opened = open(context, run, command.bundle.as_deref(), command.attempt).await?;
    let bundle = &opened.bundle;

    // From the verifier's own node; from the bundle only where that is asked for.
    let mut offline = None;
    let facts = if command.offline {
        let (facts, source) = exported(bundle, trusted)?;
        offline = Some((source, facts.ledger, facts.ledger_time));
        facts
    } else {
        let facts = gather(context, &own, run, bundle, command.receipts.as_deref()).await?;
        own.unit = context.shown_unit().await;
        facts
    };

    let mut proof = judge(bundle, &facts, &own, &asked)?;
    if command.rerun {
        proof.add(rerun::link(bundle, &proof, command.module_gate.as_deref()).await?);
    }

    let mut report = match offline {
        None => proof.report(),
        Some((Source::Signed(key), ledger, time)) => {
            // The judge names first what the chain's facts rest on: here a signer, not a node.
            proof.conclusion.rests_on[0] = signed::rests_on(&key, ledger, time);
            proof.report()
        }
        Some((Source::Unsigned, ledger, _)) => consistent(&proof, ledger),
    };
    note_refusal(&mut report, &opened);
    Ok(report)
}

/// Writes a run's bundle with the chain's facts, and proves it once.
///
/// # Errors
///
/// As [`verify`]; also when the place is taken.
pub async fn export(context: &Context, command: &Export) -> Result<Report> {
    let run = run_id(&command.run)?;
    let mut own = own(context)?;
    let out = command.out.clone().unwrap_or_else(|| PathBuf::from(format!("lumio-{run}")));
    if out.symlink_metadata().is_ok() {
        return Err(CliError::usage(format!(
            "{} exists; choose another place with --out",
            out.display()
        )));
    }

    // Before anything is fetched: a name that is no key's must not cost a download.
    let signer = command.sign.as_deref().map(|name| context.keys.load(name)).transpose()?;

    let opened = open(context, run, None, command.attempt).await?;
    let bundle = &opened.bundle;
    let facts = gather(context, &own, run, bundle, command.receipts.as_deref()).await?;
    own.unit = context.shown_unit().await;

    write(bundle, facts::FILE, &signed::facts_text(&facts)?)?;
    if let Some(signer) = &signer {
        write(bundle, facts::SIGNED_FILE, &signed::sign(&facts, signer)?)?;
    }

    // Exported whatever the proof says: evidence of a broken link is what somebody else has to see.
    let proof = judge(bundle, &facts, &own, &Asked::default())?;
    place(bundle.root(), &out)?;

    let mut report = proof.report();
    note_refusal(&mut report, &opened);
    report.text.push_str(&format!("\nexported to {}", out.display()));
    report.json["exported"] = out.display().to_string().into();
    if let Some(signer) = &signer {
        let signer = signer.address();
        report.text.push_str(&format!(
            "\nthe chain's facts are signed by {signer}; others verify them with: lumio verify \
             {run} --bundle … --offline --trust {signer}"
        ));
        report.json["signedBy"] = signer.to_string().into();
    }
    Ok(report)
}

/// The facts came with the bundle and have no signature that is accepted: the author of the files
/// may have written them too. What is broken stays broken; what holds is only consistent.
fn consistent(proof: &Proof, ledger: u32) -> Report {
    let note = format!(
        "the chain was not seen: its facts came with the bundle, as of ledger {ledger}, and no key \
         that you trust signed them; verify without --offline, or name a signer with --trust"
    );
    let mut report = proof.report();
    if report.exit_code == 1 {
        report.text.push_str(&format!("\n{note}"));
    } else {
        let tombstone = proof.tombstone.as_ref().map(Tombstone::sentence);
        let all = report.exit_code == 0;
        report.exit_code = 2;

        // The links alone: attempts and conclusion would say of the chain what was not read there.
        let links = report.text.split("\n\n").next().unwrap_or_default().to_owned();
        let verdict = if all { "CONSISTENT, NOT PROVEN" } else { "COULD NOT TELL" };
        report.text = format!("{links}\n\n{verdict}: {note}");
        if let Some(sentence) = &tombstone {
            report.text.push_str(&format!("\n{}", escape(sentence)));
        }
        let conclusion: Vec<_> = std::iter::once(note.clone()).chain(tombstone).collect();
        report.json["proven"] = false.into();
        report.json["provenSentences"] = json!([]);
        report.json["conclusion"] = json!(conclusion);
        report.json["sum"]["complete"] = false.into();
    }
    report.json["consistent"] = (report.exit_code == 2).into();
    report.json["note"] = note.into();
    report
}

fn run_id(text: &str) -> Result<RunId> {
    text.parse()
        .map_err(|error: wire::id::InvalidRunId| CliError::usage(format!("'{text}': {error}")))
}

/// The verifier's own configuration. Amounts are in stroops until the node is asked for the token.
///
/// # Errors
///
/// [`CliError::Usage`] naming the setting that is missing.
pub fn own(context: &Context) -> Result<Own> {
    Ok(Own {
        network: context.network.clone(),
        vault: context.vault()?,
        registry: context.registry()?,
        unit: Unit::default(),
    })
}

fn asked(command: &Verify) -> Result<Asked> {
    let input = command.input.as_deref().map(input_digest).transpose()?;
    Ok(Asked { input, seed: command.seed, workflow: command.workflow.clone() })
}

/// The digest of a file of JSON, exact: no number is rounded on the way.
fn input_digest(file: &Path) -> Result<Digest> {
    let failed = |error: String| CliError::usage(format!("--input {}: {error}", file.display()));
    let bytes =
        files::read(file, files::LARGEST_INPUT).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
    let exact = wire::json::exact::canonical(&text)
        .map_err(|flaw| failed(format!("{}: {}", flaw.pointer(), flaw.message)))?;
    Ok(Digest::of(exact.text.as_bytes()))
}

async fn open(
    context: &Context,
    run: RunId,
    given: Option<&Path>,
    attempt: Option<u32>,
) -> Result<Opened> {
    let opened = match given {
        Some(path) if path.is_dir() => {
            Opened { bundle: Bundle::open(path.to_owned())?, refused: None, _folder: None }
        }
        Some(path) => unpacked(path)?,
        None => fetched(context, run, attempt).await?,
    };
    let claim = &opened.bundle.claim;
    if claim.id() != run {
        return Err(CliError::bad(format!("the bundle is of run {}, not {run}", claim.id())));
    }
    match attempt {
        Some(attempt) if claim.attempt() != attempt => Err(CliError::bad(format!(
            "the gateway answered with attempt {}, not {attempt}",
            claim.attempt()
        ))),
        _ => Ok(opened),
    }
}

/// A gateway that refuses the bundle does not keep the user from asking the chain: what it shows of
/// the run is taken in its place.
async fn fetched(context: &Context, run: RunId, attempt: Option<u32>) -> Result<Opened> {
    let folder = temporary()?;
    let archive = folder.path().join("bundle.tar");
    let gateway = Gateway::new(context)?;
    let query = attempt.map(|attempt| format!("?attempt={attempt}")).unwrap_or_default();
    let refusal = match gateway.fetch(&format!("/runs/{run}/bundle{query}"), &archive).await? {
        // Nothing follows about the run from an answer that says nothing.
        Ok(()) if archive.metadata().is_ok_and(|found| found.len() == 0) => {
            return Err(unexpected("the bundle is empty"));
        }
        Ok(()) => return unpacked(&archive),
        Err(refusal) => refusal,
    };
    let reason = match refusal.error() {
        CliError::Bad(reason) => reason,
        failure => return Err(failure),
    };

    // Where it shows no run either, its word about the run says more than that about files.
    let view = gateway.text(&format!("/runs/{run}")).await?;
    let shown = bundle::Claim::read(&view).map_err(|error| unexpected(&error.to_string()))?.run;

    // The newest attempt is shown; what is said of an older one is in the list of attempts.
    let older = attempt.filter(|attempt| *attempt != shown.attempt);
    let view = match older.and_then(|attempt| bundle::as_of(&shown, attempt)) {
        Some(older) => serde_json::to_vec(&older)
            .map_err(|error| CliError::unknown("the run has no JSON form", error))?,
        None => view,
    };
    let folder = temporary()?;
    let write = |name: &str, content: &[u8]| {
        std::fs::write(folder.path().join(name), content)
            .map_err(|error| CliError::unknown(&format!("{name} cannot be written"), error))
    };
    write("run.json", &view)?;
    if let Some(says) = refusal.tombstone() {
        write(bundle::TOMBSTONE_FILE, says.as_bytes())?;
    }
    let bundle = Bundle::open(folder.path().to_owned())?;
    let refused = Refused { reason, is_not_found: refusal.is_not_found() };
    Ok(Opened { bundle, refused: Some(refused), _folder: Some(folder) })
}

fn unpacked(archive: &Path) -> Result<Opened> {
    let folder = temporary()?;
    bundle::unpack(archive, folder.path())?;
    let bundle = Bundle::open(folder.path().to_owned())?;
    Ok(Opened { bundle, refused: None, _folder: Some(folder) })
}

/// Says in the report that there are no sealed files, so that no reader takes a missing file for an
/// error of the network.
fn note_refusal(report: &mut Report, opened: &Opened) {
    let Some(Refused { reason, is_not_found }) = &opened.refused else { return };
    let attempt = opened.bundle.claim.attempt();
    let why = match (&opened.bundle.withheld, is_not_found) {
        (Some(_), _) => " (they are withheld: the pack has a tombstone)",
        (None, true) => " (a run is sealed once its module was executed)",
        (None, false) => "",
    };
    let note = format!(
        "attempt {attempt} has no sealed files at the gateway: {reason}; what it shows of the run \
         was taken in their place{why}"
    );
    report.text.push_str(&format!("\n{}", escape(&note)));
    report.json["noBundle"] = note.into();
}

fn temporary() -> Result<TempDir> {
    tempfile::tempdir().map_err(|error| CliError::unknown("no temporary folder can be made", error))
}

async fn gather(
    context: &Context,
    own: &Own,
    run: RunId,
    bundle: &Bundle,
    receipts: Option<&Path>,
) -> Result<ChainFacts> {
    let hints = bundle.claim.hints();
    let stored = match &hints.user {
        Some(user) => stored::list(context, own, user).await,
        None => None,
    };

    // The chain may name another user than the gateway did: a list is taken for its own user alone.
    let lists = |user: &Address| {
        let stored = stored.clone().filter(|list| own.owns(list, user));
        Ok(Lists { own: archive::load_beside(context, own, user, receipts)?, stored })
    };
    facts::gather(&context.rpc, own, run, &hints, lists).await
}

/// The facts that came with the bundle: those that a trusted key signed, or any.
fn exported(bundle: &Bundle, trusted: Option<VerifyingKey>) -> Result<(ChainFacts, Source)> {
    if let Some(key) = trusted {
        let envelope = bundle.read(facts::SIGNED_FILE)?.ok_or_else(|| {
            CliError::usage(format!(
                "the bundle has no {}; its exporter makes one with: lumio export RUN --sign KEY",
                facts::SIGNED_FILE
            ))
        })?;
        return Ok((signed::open(&envelope, key)?, Source::Signed(key)));
    }
    let text = bundle.read(facts::FILE)?.ok_or_else(|| {
        CliError::usage(format!("the bundle has no {}; export it with: lumio export", facts::FILE))
    })?;
    Ok((ChainFacts::parse(&text)?, Source::Unsigned))
}

fn write(bundle: &Bundle, name: &str, text: &[u8]) -> Result<()> {
    let file = bundle.root().join(name);
    let folder = file.parent().unwrap_or(bundle.root());
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, text))
        .map_err(|error| CliError::unknown(&format!("{name} cannot be written"), error))
}

/// Brings the finished bundle to its place, which may be on another file system.
fn place(from: &Path, out: &Path) -> Result<()> {
    if out.extension().is_some_and(|extension| extension == "tar") {
        return bundle::pack(from, out);
    }
    let failed =
        |error: std::io::Error| CliError::usage(format!("cannot write {}: {error}", out.display()));
    files::copy_folder(from, out).map_err(failed)
}
