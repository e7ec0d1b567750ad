//! `new`, `run`, `advise` and `schema`: what an author needs while a module is written.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use wire::statement::Verdict;

use super::{Common, Judged, json, print, with_local};
use crate::local::authors::{self, Entry};
use crate::local::gates::events;
use crate::local::output::{FAILED, Misused, Output, UNKNOWN};
use crate::module::{compose, manifest, spec};

/// The command line of `new`.
#[derive(Debug, Args)]
pub struct New {
    /// The module's id, such as word.count
    id: String,
    /// Folder to make the module's folder in
    #[arg(long, value_name = "DIR", default_value = ".")]
    into: PathBuf,
}

/// The command line of `run`.
#[derive(Debug, Args)]
pub struct RunEntry {
    /// The module's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    module: PathBuf,
    /// The run's input: a file of JSON; default: the empty object
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// What LUMIO_SEED says, from 0 to 2^53 − 1
    #[arg(long, default_value_t = 0,
        value_parser = clap::value_parser!(u64).range(0..=9_007_199_254_740_991))]
    seed: u64,
    /// Folder for what the module leaves; it must be empty or not there yet
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Longest wall time, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 60_000,
        value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    timeout_ms: u64,
    /// What all local commands share
    #[command(flatten)]
    common: Common,
}

/// The command line of `advise`.
#[derive(Debug, Args)]
pub struct Advise {
    /// The module's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    module: PathBuf,
    /// What all local commands share
    #[command(flatten)]
    common: Common,
}

/// Documents with a JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// module.json
    Module,
    /// Oracle specs
    Oracle,
    /// Compose plans
    Compose,
    /// Events of a gate
    Events,
}

pub(super) fn new(new: &New) -> anyhow::Result<ExitCode> {
    let folder =
        authors::scaffold(&new.id, &new.into).map_err(|error| Misused(format!("{error:#}")))?;
    let at = folder.display();
    print(&format!(
        "{at} is a module that ships. Next:\n  module-gate run --module {at}\n  module-gate gates \
         shipping --module {at}\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn run(args: &RunEntry) -> anyhow::Result<ExitCode> {
    let input = match &args.input {
        Some(path) => std::fs::read(path)
            .map_err(|error| Misused(format!("--input {}: {error}", path.display())))?,
        None => b"{}".to_vec(),
    };
    let entry = Entry {
        folder: &args.module,
        input: &input,
        seed: args.seed,
        out: args.out.as_deref(),
        timeout_ms: args.timeout_ms,
    };
    let judged = Judged { strict_reads: true, fail_fast: false };
    let ran = with_local(&args.common, judged, |local| authors::run_entry(local, &entry))?;
    match args.common.output {
        Output::Json => json(&ran)?,
        Output::Text => print(&authors::run_text(&ran))?,
    }
    Ok(match ran.verdict {
        Verdict::Pass => ExitCode::SUCCESS,
        Verdict::Fail => ExitCode::from(FAILED),
        Verdict::Inconclusive => ExitCode::from(UNKNOWN),
    })
}

pub(super) fn advise(args: &Advise) -> anyhow::Result<ExitCode> {
    let judged = Judged { strict_reads: true, fail_fast: false };
    let advice = with_local(&args.common, judged, |local| authors::advise(local, &args.module))?;
    match args.common.output {
        Output::Json => json(&advice)?,
        Output::Text => print(&authors::advice_text(&advice))?,
    }
    Ok(if advice.is_right() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

pub(super) fn schema(document: Document) -> anyhow::Result<ExitCode> {
    print(match document {
        Document::Module => manifest::SCHEMA_TEXT,
        Document::Oracle => spec::SCHEMA_TEXT,
        Document::Compose => compose::SCHEMA_TEXT,
        Document::Events => events::SCHEMA_TEXT,
    })?;
    Ok(ExitCode::SUCCESS)
}
