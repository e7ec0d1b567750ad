//! `gates` and `events`: a compose plan, or one module, through a gate; and the events of a gate
//! read again.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use ed25519_dalek::SigningKey;
use wire::statement::Verdict;

use super::{Common, Judged, document, json, print, with_local, with_sandbox};
use crate::attest;
use crate::config;
use crate::local::gates::events::{self, Options};
use crate::local::gates::{self, GateRun, GateSummary, Mode, formats};
use crate::local::output::{FAILED, Misused, OutputFormat, UNKNOWN, USAGE, say};

const GATE_HELP: &str = "\
Examples:
  module-gate gates shipping --module examples/modules/csv-profile
  module-gate gates shipping --compose examples/compose.json --modules-root examples/modules \
  --with-oracles
  module-gate gates conceptual --compose examples/compose.json --modules-root examples/modules
  module-gate gates shipping --compose c.json --modules-root m --with-oracles --oracle-spec \
  'oracles/specs/**/*.json' \\
      --emit-events --events-out events.ndjson --strict-events --hook-cmd 'jq .verdict' --form junit

Exit codes: 0 pass · 1 a module or the plan is bad · 2 could not decide, or reads were let through \
· 3 wrong usage or an
unusable plan or spec";

const EVENTS_HELP: &str = "\
Examples:
  module-gate events validate events.ndjson --strict
  module-gate events replay events.ndjson
  module-gate events summary events.ndjson
  module-gate events refill --since 2026-01-31T00:00:00Z --dry-run
  module-gate events refill --from-position 1";

/// Commands over gates.
#[derive(Debug, Subcommand)]
pub enum Gates {
    /// Judge whether modules may be shipped: manifest, lint, tests, ports, oracles
    #[command(after_help = GATE_HELP)]
    Shipping(Box<GateArgs>),
    /// Check the plan, the manifests and the imports, without starting anything
    #[command(after_help = GATE_HELP)]
    Conceptual(Box<GateArgs>),
}

/// The command line of a gate.
#[derive(Debug, Args)]
pub struct GateArgs {
    /// One module's folder, judged as the service judges a stored one
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "compose",
        required_unless_present = "compose"
    )]
    module: Option<PathBuf>,
    /// The plan: which modules ship together
    #[arg(long, value_name = "FILE", requires = "modules_root")]
    compose: Option<PathBuf>,
    /// Folder that holds one folder for each module
    #[arg(long, value_name = "DIR")]
    modules_root: Option<PathBuf>,
    /// Changes to the plan
    #[arg(long, value_name = "FILE", requires = "compose")]
    overrides: Option<PathBuf>,
    /// Run the oracle cases of the plan's modules
    #[arg(long, requires = "compose")]
    with_oracles: bool,
    /// Pattern of specs; may be repeated. Default: oracles/specs/**/*.json here and in each module
    #[arg(long = "oracle-spec", value_name = "GLOB", requires = "with_oracles")]
    oracle_specs: Vec<String>,
    /// Fail if no spec matches a module of the plan
    #[arg(long, requires = "with_oracles")]
    require_oracles: bool,
    /// Print every event as a line of JSON; the result then goes to standard error
    #[arg(long, requires = "compose")]
    emit_events: bool,
    /// Append every event to this file
    #[arg(long, value_name = "FILE", requires = "compose")]
    events_out: Option<PathBuf>,
    /// Empty the file of events first
    #[arg(long, requires = "events_out")]
    events_truncate: bool,
    /// Fail with E_EVENT_SCHEMA if an event does not hold to its schema
    #[arg(long, requires = "compose")]
    strict_events: bool,
    /// Append signed in-toto statements about every module to this file, one envelope a line; needs
    /// MODULE_GATE_ATTESTATION_SECRET
    #[arg(long, value_name = "FILE", requires = "compose")]
    attest_out: Option<PathBuf>,
    /// The key that signs them: 64 hex digits
    #[arg(long, env = "MODULE_GATE_ATTESTATION_SECRET", hide = true, hide_env_values = true)]
    attestation_secret: Option<String>,
    /// A shell command that gets the summary as JSON on its standard input, after failures too
    #[arg(long, value_name = "COMMAND", requires = "compose")]
    hook_cmd: Option<String>,
    /// Longest wall time of one test, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 60_000,
        value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    timeout_ms: u64,
    /// Pack modules that are npm packages, without running their scripts
    #[arg(long, requires = "compose")]
    npm_pack: bool,
    /// List reads outside the module instead of denying them. The result is then a report and no
    /// verdict: exit code 2
    #[arg(long)]
    lenient_reads: bool,
    /// Another form of the result of a plan
    #[arg(long, value_enum, requires = "compose")]
    form: Option<ReportFormat>,
    /// What all local commands share
    #[command(flatten)]
    common: Common,
}

/// Forms for other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// JUnit XML
    Junit,
    /// SARIF 2.1.0
    Sarif,
    /// TAP version 14
    Tap,
    /// Annotations of GitHub Actions
    Github,
}

/// Commands over the events of a gate.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Check every event against the schema, and all against each other
    #[command(after_help = EVENTS_HELP)]
    Validate {
        /// The file of events, one a line
        file: PathBuf,
        /// Sequence numbers rise by one each
        #[arg(long)]
        strict: bool,
    },
    /// Print the events in their order, one line each
    #[command(after_help = EVENTS_HELP)]
    Replay {
        /// The file of events, one a line
        file: PathBuf,
    },
    /// Add up times, codes and results
    #[command(after_help = EVENTS_HELP)]
    Summary {
        /// The file of events, one a line
        file: PathBuf,
    },
    /// Publish the events of this service again, in their order, for a stream that lost them:
    /// DATABASE_URL, NATS_URL and NATS_PREFIX are needed. Consumers know repeats by the event's id.
    /// One of --from-position and --since is needed
    #[command(after_help = EVENTS_HELP)]
    Refill(chassis::refill::Order),
}

impl Gates {
    /// Whether standard output belongs to events.
    pub(super) fn streams_events(&self) -> bool {
        let (Self::Shipping(args) | Self::Conceptual(args)) = self;
        args.emit_events
    }
}

pub(super) fn run(command: Gates) -> anyhow::Result<ExitCode> {
    let (mode, args) = match command {
        Gates::Shipping(args) => (Mode::Shipping, args),
        Gates::Conceptual(args) => (Mode::Conceptual, args),
    };
    let judged = Judged { strict_reads: !args.lenient_reads, fail_fast: false };
    if let Some(module) = &args.module {
        if !module.is_dir() {
            return Err(Misused(format!("--module {}: expected a folder", module.display())).into());
        }
        if mode == Mode::Conceptual {
            return Err(
                Misused("gates conceptual takes --compose and --modules-root".to_owned()).into()
            );
        }
        let code = with_sandbox(&args.common, judged, |local| Ok(vec![local.ship(module)?]))?;
        if args.lenient_reads && code == ExitCode::SUCCESS {
            say(format_args!(
                "reads were let through (--lenient-reads): this is a report, not a verdict"
            ));
            return Ok(ExitCode::from(UNKNOWN));
        }
        return Ok(code);
    }
    let (Some(compose), Some(modules_root)) = (&args.compose, &args.modules_root) else {
        return Err(
            Misused("expected --compose with --modules-root, or --module".to_owned()).into()
        );
    };
    let run = GateRun {
        mode,
        compose,
        overrides: args.overrides.as_deref(),
        modules_root,
        with_oracles: args.with_oracles,
        specs: &args.oracle_specs,
        own_specs_only: false,
        require_oracles: args.require_oracles,
        events: Options {
            stdout: args.emit_events,
            file: args.events_out.as_deref(),
            truncate: args.events_truncate,
            strict: args.strict_events,
            sink: None,
        },
        hook: args.hook_cmd.as_deref(),
        npm_pack: args.npm_pack,
        timeout_ms: args.timeout_ms,
        path: &args.common.path,
    };

    // Read before anything runs, so that a missing key is found at once.
    let key = args.attest_out.as_ref().map(|_| attestation_key(&args)).transpose()?;
    let summary = with_local(&args.common, judged, |local| gates::run(local, &run))?;
    if let (Some(file), Some(key)) = (&args.attest_out, &key) {
        write_statements(file, &summary, key)?;
    }
    show(&summary, &args)?;
    Ok(match summary.verdict {
        Some(Verdict::Pass) => ExitCode::SUCCESS,
        Some(Verdict::Fail) => ExitCode::from(FAILED),
        Some(Verdict::Inconclusive) | None => ExitCode::from(UNKNOWN),
    })
}

/// The key that statements are signed with.
fn attestation_key(args: &GateArgs) -> anyhow::Result<SigningKey> {
    let secret = args.attestation_secret.as_deref().unwrap_or_default();
    config::seed(secret).map_err(|error| {
        Misused(format!("--attest-out: MODULE_GATE_ATTESTATION_SECRET: {error}")).into()
    })
}

/// Appends the statements about what a gate found, one envelope a line. Reads that were let through
/// make no verdict, and so no statement.
fn write_statements(file: &Path, summary: &GateSummary, key: &SigningKey) -> anyhow::Result<()> {
    if summary.verdict.is_none() {
        say(format_args!("--attest-out: there is no verdict to state"));
        return Ok(());
    }
    let mut lines = String::new();
    for statement in attest::of_gate(summary, chassis::clock::now()) {
        lines.push_str(&attest::sign(&statement, key)?.to_string());
        lines.push('\n');
    }
    let mut out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .with_context(|| format!("--attest-out {}", file.display()))?;
    Ok(out.write_all(lines.as_bytes())?)
}

fn show(summary: &GateSummary, args: &GateArgs) -> anyhow::Result<()> {
    let text = match (args.form, args.common.output) {
        (Some(ReportFormat::Junit), _) => formats::junit(summary),
        (Some(ReportFormat::Sarif), _) => format!("{:#}\n", formats::sarif(summary)),
        (Some(ReportFormat::Tap), _) => formats::tap(summary),
        (Some(ReportFormat::Github), _) => formats::github(summary),
        (None, OutputFormat::Json) => document(summary)?,
        (None, OutputFormat::Text) => formats::text(summary),
    };
    if args.emit_events {
        // Standard output belongs to the events.
        std::io::stderr().lock().write_all(text.as_bytes())?;
        return Ok(());
    }
    print(&text)
}

pub(super) fn run_events(command: EventsCommand) -> anyhow::Result<ExitCode> {
    match command {
        EventsCommand::Validate { file, strict } => {
            let recorded = events::read(&file, strict)?;
            for mistake in &recorded.mistakes {
                say(format_args!("E_EVENT_SCHEMA: {mistake}"));
            }
            print(&format!(
                "{} events, {} mistakes\n",
                recorded.events.len(),
                recorded.mistakes.len()
            ))?;
            Ok(if recorded.mistakes.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(FAILED)
            })
        }
        EventsCommand::Replay { file } => {
            print(&events::timeline(&events::read(&file, false)?.events))?;
            Ok(ExitCode::SUCCESS)
        }
        EventsCommand::Summary { file } => {
            json(&events::summary(&events::read(&file, false)?.events))?;
            Ok(ExitCode::SUCCESS)
        }
        // It needs the bus, and no file: `cli::run` carries it out.
        EventsCommand::Refill(_) => Ok(ExitCode::from(USAGE)),
    }
}
