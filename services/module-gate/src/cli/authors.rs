//! `new`, `run`, `advise` and `schema`: what an author needs while a module is written.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use wire::statement::Verdict;
use wire::usage::Usage;
use zeroize::Zeroizing;

use super::{Common, Judged, json, print, with_local};
use crate::local::authors::{self, Entry};
use crate::local::gates::events;
use crate::local::output::{FAILED, Misused, OutputFormat, UNKNOWN};
use crate::module::{compose, manifest, spec};
use crate::sandbox::outlet::Way;
use crate::upstreams::{self, Allowed, Asker};

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
        value_parser = clap::value_parser!(u64).range(0..=wire::json::MAX_INTEGER))]
    seed: u64,
    /// Folder for what the module leaves; it must be empty or not there yet
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Longest wall time, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 60_000,
        value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    timeout_ms: u64,
    /// File of services that may be used, with credentials and limits; without it a module that
    /// names services gets the recorded answers of its own oracles/fixtures/*.http.jsonl
    #[arg(long, value_name = "FILE", env = "MODULE_GATE_UPSTREAMS")]
    upstreams: Option<PathBuf>,
    /// Write the services' answers to this file, such as
    /// oracles/fixtures/first.http.jsonl in the module's folder; needs --upstreams
    #[arg(long, value_name = "FILE", requires = "upstreams")]
    record: Option<PathBuf>,
    /// Most tokens read
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    llm_in: u64,
    /// Most tokens written
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    llm_out: u64,
    /// Most requests to services
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    http_calls: u64,
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
    /// The operator's file of services
    Upstreams,
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
        Some(path) => chassis::files::read(path)
            .map_err(|error| Misused(format!("--input {}: {error}", path.display())))?,
        None => b"{}".to_vec(),
    };
    let env = chassis::Env::process();

    // The file names its credentials; their values come from the environment.
    let variable = |name: &str| env.optional(name).map(Zeroizing::new);
    let allowed =
        args.upstreams.as_deref().map(|path| Allowed::read(path, &variable)).transpose()?;
    let way = match &allowed {
        Some(_) => Way::Live { asker: Asker::Local, records: args.record.is_some() },
        None => Way::Recorded,
    };
    let entry = Entry {
        allowed: Arc::new(allowed.unwrap_or_default()),
        way,
        record: args.record.as_deref(),
        budgets: Usage {
            llm_in: args.llm_in,
            llm_out: args.llm_out,
            http_calls: args.http_calls,
            runtime_ms: args.timeout_ms,
        },
        folder: &args.module,
        input: &input,
        seed: args.seed,
        out: args.out.as_deref(),
        timeout_ms: args.timeout_ms,
    };

    // As strict as the service, so that a run fails here where a paid one would.
    let judged = Judged { strict_reads: true, fail_fast: false };
    let ran = with_local(&args.common, judged, |local| authors::run_entry(local, &entry))?;
    match args.common.output {
        OutputFormat::Json => json(&ran)?,
        OutputFormat::Text => print(&authors::run_text(&ran))?,
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
        OutputFormat::Json => json(&advice)?,
        OutputFormat::Text => print(&authors::advice_text(&advice))?,
    }
    Ok(if advice.is_right() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

pub(super) fn schema(document: Document) -> anyhow::Result<ExitCode> {
    print(match document {
        Document::Module => manifest::SCHEMA_TEXT,
        Document::Oracle => spec::SCHEMA_TEXT,
        Document::Compose => compose::SCHEMA_TEXT,
        Document::Events => events::SCHEMA_TEXT,
        Document::Upstreams => upstreams::SCHEMA_TEXT,
    })?;
    Ok(ExitCode::SUCCESS)
}
