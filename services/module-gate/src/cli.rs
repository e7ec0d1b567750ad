//! The command line: one binary that serves, and judges modules in folders without any service.

mod authors;
mod gates;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chassis::{output, process};
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use seal::tree::Limits as TreeLimits;
use serde::Serialize;
use wire::statement::{Code, Verdict};

use self::authors::{Advise, Document, New, RunEntry};
use self::gates::{EventsCommand, Gates};
use crate::local::doctor::{self, Doctor};
use crate::local::guarded::{self, Guard, Run};
use crate::local::interrupt;
use crate::local::modules::{self, Discovery, Local, Reporter};
use crate::local::output::{FAILED, Misused, OutputFormat, UNKNOWN, USAGE, say};
use crate::local::report::{self, Report};
use crate::module::document::Invalid;
use crate::module::variation::Variations;
use crate::sandbox::{LIMITS, Sandbox};

/// The program's name, which begins each of its messages.
pub const NAME: &str = "module-gate";

/// Runs untrusted module code in the guard and states what the kernel saw.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version = chassis::version(),
    after_help = "\
Examples:
  module-gate serve
  module-gate new word.count && module-gate run --module word.count
  module-gate gates shipping --module examples/modules/csv-profile
  module-gate gates shipping --compose examples/compose.json --modules-root examples/modules \
  --with-oracles
  module-gate oracles run --modules-root examples/modules
  module-gate oracles run --modules-root modules --spec 'oracles/specs/**/*.json' --output json
  module-gate guard run --root . --declare Process:shell -- npm test
  module-gate doctor

Exit codes: 0 pass · 1 the module is bad · 2 could not decide · 3 wrong usage or configuration"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const RUN_HELP: &str = "\
Examples:
  module-gate run --module word.count
  module-gate run --module word.count --input order.json --seed 7 --out left
  module-gate run --module weather --upstreams upstreams.json \
  --record weather/oracles/fixtures/first.http.jsonl";

const ORACLES_HELP: &str = "\
Examples:
  module-gate oracles run --modules-root examples/modules
  module-gate oracles run --modules-root modules --spec 'oracles/specs/**/*.json' --output json
  module-gate oracles run --modules-root modules --variations timezone,path --fail-fast";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve lumio.module.v1 (settings come from the environment, see
    /// docs/operations/module-gate.md)
    #[command(after_help = "Example:\n  module-gate serve")]
    Serve,
    /// Bring the schema in the database of DATABASE_URL up to date, and end: for a job before the
    /// service starts; `serve` does it as well, unless it is done
    #[command(after_help = "Example:\n  DATABASE_URL=postgres://… module-gate migrate")]
    Migrate,
    /// Determinism oracles
    #[command(subcommand)]
    Oracles(Oracles),
    /// Gates over modules
    #[command(subcommand)]
    Gates(Gates),
    /// The events of a gate, read again; or those of the service, published again
    #[command(subcommand)]
    Events(EventsCommand),
    /// Make the folder of a new module that ships
    #[command(after_help = "Examples:\n  module-gate new word.count\n  \
                            module-gate new word.count --into modules")]
    New(New),
    /// Run a module's entry once with an input, as a paid run would, and show what it leaves
    #[command(after_help = RUN_HELP)]
    Run(Box<RunEntry>),
    /// Say the smallest `side_effects` that would pass, and what is declared and never seen
    #[command(after_help = "Examples:\n  module-gate advise --module word.count\n  \
                            module-gate advise --module word.count --output json")]
    Advise(Box<Advise>),
    /// Print the JSON Schema of a document, for editors
    #[command(after_help = "Example:\n  module-gate schema module > module.schema.json")]
    Schema {
        /// Which document
        document: Document,
    },
    /// Any command under the guard
    #[command(subcommand)]
    Guard(Guard),
    /// What this host gives the guard and why, with a few runs that show it
    #[command(after_help = "Examples:\n  module-gate doctor\n  \
            module-gate doctor --no-self-tests --output json\n\n\
            Exit codes: 0 the guard can be relied on · 1 something is missing or came out wrong · \
            2 could not decide")]
    Doctor {
        /// How to print the result
        #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
        output: OutputFormat,
        /// What to examine
        #[command(flatten)]
        doctor: Doctor,
    },
    /// Print the completion script of a shell
    #[command(after_help = "Example:\n  module-gate completions bash > \
                            /etc/bash_completion.d/module-gate")]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Commands over oracles.
#[derive(Debug, Subcommand)]
pub enum Oracles {
    /// Run every case of the matching specs and compare its attempts
    #[command(after_help = ORACLES_HELP)]
    Run {
        /// Folder that holds one folder for each module
        #[arg(long)]
        modules_root: PathBuf,
        /// Pattern of specs; may be repeated. Default: oracles/specs/**/*.json here and in each
        /// module
        #[arg(long = "spec", value_name = "GLOB")]
        specs: Vec<String>,
        /// Fail if no spec matches
        #[arg(long)]
        require_oracles: bool,
        /// Stop at the first case that fails instead of running all
        #[arg(long)]
        fail_fast: bool,
        /// Deny and charge reads outside the module instead of listing them
        #[arg(long)]
        strict_reads: bool,
        /// What all local commands share
        #[command(flatten)]
        common: Common,
    },
}

/// What all local commands share.
#[derive(Debug, Args)]
pub struct Common {
    /// How to print the result
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
    /// What the last attempt of a case is varied in: all, none, or a list such as timezone,path
    #[arg(long, value_name = "LIST", default_value = "all")]
    variations: Variations,
    /// Longest time of all attempts of one case together, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 600_000,
        value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    case_limit_ms: u64,
    /// Most bytes of standard output, and as many of standard error, of one program, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 8,
        value_parser = clap::value_parser!(u64).range(1..=1_024))]
    max_output_mib: u64,
    /// Largest file that a program writes, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64,
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    max_file_mib: u64,
    /// By how much a program's folders may grow together, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1_024,
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    max_growth_mib: u64,
    /// Most files, links included, of a module; the store takes 4096
    #[arg(long, value_name = "N", default_value_t = 4_096,
        value_parser = clap::value_parser!(u64).range(1..=200_000))]
    max_files: u64,
    /// Most bytes of a module, in MiB; the store takes 64
    #[arg(long, value_name = "MIB", default_value_t = 64,
        value_parser = clap::value_parser!(u64).range(1..=4_096))]
    max_module_mib: u64,
    /// The Node program
    #[arg(long, env = "MODULE_GATE_NODE", default_value = "node")]
    node: PathBuf,
    /// The programs' search path
    #[arg(long, env = "PATH", hide = true, default_value = "")]
    path: String,
    /// Hold every run on one processor, which makes the guard's stops cheaper: true or false
    #[arg(long, env = "MODULE_GATE_PIN_PROCESSORS", value_name = "BOOL", default_value = "true",
        action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    pin_processors: bool,
    /// Where to make private folders; default: a fresh one under the system's temporary folder
    #[arg(long, env = "MODULE_GATE_SCRATCH")]
    scratch: Option<PathBuf>,
}

/// Reads the command line.
///
/// # Errors
/// The exit code where there is nothing to carry out: 0 after help and version, 3 after a mistake
/// (C1).
pub fn parse() -> Result<Cli, ExitCode> {
    process::arguments()
}

/// Runs a command that needs no service.
pub fn run(command: Command) -> ExitCode {
    let streams_events = matches!(&command, Command::Gates(gates) if gates.streams_events());
    let result = match command {
        Command::Oracles(Oracles::Run {
            modules_root,
            specs,
            require_oracles,
            fail_fast,
            strict_reads,
            common,
        }) => {
            let judged = Judged { strict_reads, fail_fast };
            oracles(&modules_root, &specs, require_oracles, judged, &common)
        }
        Command::Gates(command) => gates::run(command),
        Command::Events(EventsCommand::Refill(order)) => {
            return process::refill(NAME, chassis::Env::process(), &order);
        }
        Command::Events(command) => gates::run_events(command),
        Command::New(args) => authors::new(&args),
        Command::Run(args) => authors::run(&args),
        Command::Advise(args) => authors::advise(&args),
        Command::Schema { document } => authors::schema(document),
        Command::Guard(Guard::Run { output, run }) => guarded(&run, output),
        Command::Doctor { output, doctor } => examine(&doctor, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
            output::print(&String::from_utf8_lossy(&script));
            return ExitCode::SUCCESS;
        }
        // `main` serves; this is never reached.
        Command::Serve => return ExitCode::from(USAGE),
        Command::Migrate => {
            let env = chassis::Env::process();
            let migrate = async |db: &sqlx::PgPool| crate::store::migrate(db).await;
            return process::migrate(NAME, env, migrate);
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => complain(&error, streams_events),
    }
}

/// What is wrong before anything ran is the caller's to mend.
fn guarded(run: &Run, output: OutputFormat) -> anyhow::Result<ExitCode> {
    // With JSON on standard output, the command's own output cannot go there too.
    let ran =
        if output == OutputFormat::Json { guarded::run(run) } else { guarded::run_through(run) };
    let report = ran.map_err(|error| Misused(format!("{error:#}")))?;
    if output == OutputFormat::Json {
        json(&report)?;
    } else {
        guarded::print_verdict(&report)?;
    }
    Ok(match report.verdict {
        _ if guarded::passed(&report) => ExitCode::SUCCESS,
        guard::Verdict::Fail => ExitCode::from(FAILED),
        guard::Verdict::Pass | guard::Verdict::Inconclusive => ExitCode::from(UNKNOWN),
    })
}

fn examine(doctor: &Doctor, output: OutputFormat) -> anyhow::Result<ExitCode> {
    let diagnosis = doctor::examine(doctor)?;
    if output == OutputFormat::Json {
        json(&diagnosis)?;
    } else {
        print(&doctor::text(&diagnosis))?;
    }
    Ok(if diagnosis.healthy { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Prints an answer, which is an object, as JSON.
fn json(facts: &impl Serialize) -> anyhow::Result<()> {
    print(&document(facts)?)
}

/// The text of an answer as JSON.
fn document(facts: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(&process::answer(facts))? + "\n")
}

fn oracles(
    root: &Path,
    specs: &[String],
    require: bool,
    judged: Judged,
    common: &Common,
) -> anyhow::Result<ExitCode> {
    let Discovery { found, notices, .. } = modules::find(root, specs, None, false)?;
    for notice in notices {
        say(format_args!("{notice}"));
    }
    if found.is_empty() {
        let _ = writeln!(std::io::stderr(), "no oracle spec matches: nothing was run");
        return Ok(if require { ExitCode::from(FAILED) } else { ExitCode::SUCCESS });
    }
    with_sandbox(common, judged, |local| found.iter().map(|one| local.oracles(one)).collect())
}

/// How modules are judged, beside what all commands share.
#[derive(Debug, Clone, Copy)]
struct Judged {
    strict_reads: bool,
    fail_fast: bool,
}

fn with_sandbox(
    common: &Common,
    judged: Judged,
    work: impl FnOnce(&Local<'_>) -> anyhow::Result<Vec<Report>>,
) -> anyhow::Result<ExitCode> {
    let reports = with_local(common, judged, work)?;
    match common.output {
        // A list has no place for the version that other answers name.
        OutputFormat::Json => print(&(serde_json::to_string_pretty(&reports)? + "\n"))?,
        OutputFormat::Text => print(&reports.iter().map(report::text).collect::<String>())?,
    }
    let any = |verdict| reports.iter().any(|one| one.verdict == verdict);
    let is_specified = |one: &Report| one.code != Some(Code::OracleSpec);

    // One bad module decides, whatever else could not be decided. Nothing was judged where the
    // specification is wrong (C1).
    Ok(if reports.iter().any(|one| one.verdict == Verdict::Fail && is_specified(one)) {
        ExitCode::from(FAILED)
    } else if any(Verdict::Fail) {
        ExitCode::from(USAGE)
    } else if any(Verdict::Inconclusive) {
        ExitCode::from(UNKNOWN)
    } else {
        ExitCode::SUCCESS
    })
}

/// Makes the sandbox as the command line asks, and does the work in it.
fn with_local<T>(
    common: &Common,
    judged: Judged,
    work: impl FnOnce(&Local<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    // Removed when this function returns, and so after the work.
    let own = tempfile::tempdir()?;

    // As root, modules run as another user, which has to pass through.
    std::fs::set_permissions(own.path(), std::fs::Permissions::from_mode(0o711))?;
    let scratch = common.scratch.clone().unwrap_or_else(|| own.path().to_owned());
    let mut sandbox = Sandbox::new(&scratch, &common.node, &common.path, common.pin_processors)
        .map_err(Misused)?;
    sandbox.limits.stdout_bytes = common.max_output_mib << 20;
    sandbox.limits.stderr_bytes = common.max_output_mib << 20;
    sandbox.limits.file_bytes = common.max_file_mib << 20;
    sandbox.limits.tree_bytes = common.max_growth_mib << 20;
    sandbox.tree_limits.files = usize::try_from(common.max_files)?;
    sandbox.tree_limits.bytes = common.max_module_mib << 20;
    if sandbox.limits != LIMITS || sandbox.tree_limits != TreeLimits::MODULE {
        say(format_args!(
            "limits were changed: the service, which has its own, may judge otherwise"
        ));
    }
    let cancel = interrupt::flag(UNKNOWN)?;
    work(&Local {
        sandbox: &sandbox,
        strict_reads: judged.strict_reads,
        variations: common.variations.clone(),
        case_limit: Duration::from_millis(common.case_limit_ms),
        fail_fast: judged.fail_fast,
        cancel,
        job: format!("local.{}", std::process::id()),
        reporter: Reporter(&|sentence| say(format_args!("{sentence}"))),
    })
}

/// Prints a result. A reader that has gone away changes no verdict.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write standard output"),
    }
}

/// Says why there is no result. Where standard output belongs to events, it gets no document.
fn complain(error: &anyhow::Error, streams_events: bool) -> ExitCode {
    let (retry, code) = if error.is::<Invalid>() || error.is::<Misused>() {
        ("", USAGE)
    } else {
        (" (nothing is known about the module; try again once this is repaired)", UNKNOWN)
    };
    let text = wire::causes(error.as_ref()) + retry;
    if !streams_events {
        return process::report_text(NAME, &text, code);
    }
    say(format_args!("{NAME}: {text}"));
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_shows_an_example() {
        testkit::assert_every_command_shows_an_example(&Cli::command(), NAME);
    }
}
