//! The command line: `serve`, and the commands that need no running service.

mod audit;
mod check;
mod collect;
mod events;
mod govern;
mod journal;
mod policy;
mod probe;
mod progress;
mod seal;
mod serve;

use std::io::Write;
use std::process::ExitCode;

use ::seal::facts::MAX_VIEW_BYTES;
use bytes::Bytes;
use chassis::{output, process};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use ed25519_dalek::VerifyingKey;
use serde_json::Value;
use wire::escape;

use crate::config::variable_of;
use crate::crash;
use crate::locator::Contained;
use crate::objects::{Credentials, Objects, StoreError, StoreLocation};
use crate::profile::Profile;
use crate::reasons::Reason;

/// The program's name, which begins each of its messages.
const NAME: &str = "oracle-gate";

/// A wrong call or configuration (C1).
pub(crate) const USAGE: u8 = 3;
/// Nothing is known about the subject (C1).
pub(crate) const UNKNOWN: u8 = 2;

/// Seals what runs leave behind, and checks what is claimed of it.
#[derive(Debug, Parser)]
#[command(name = NAME, version = chassis::version(), after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  oracle-gate check --profile prod --run-facts-ref sr/run_facts_view/<run>.1.json
  oracle-gate check --profile local --run-facts-ref view.json --output json
  oracle-gate check --profile local --run-facts-ref view.json --depth presence
  oracle-gate check --profile dev --run-facts-ref view.json --output sarif > check.sarif
  oracle-gate seal --profile ./profile.yaml --run-facts-ref view.json --pack-root run-5
  oracle-gate audit --profile prod --pack-roots-from packs.txt --output sarif > audit.sarif
  oracle-gate tombstone --profile prod --pack-root packs/<id> --reason superseded \\
      --authority 'data owner' --replacement <pack id>
  oracle-gate hold --profile prod --pack-root packs/<id> --authority legal --matter 'case 7'
  oracle-gate collect --profile prod
  oracle-gate policy --profile prod --document role --role packer
  oracle-gate probe --profile ./profile.yaml
  oracle-gate serve

Exit codes: 0 pass, 1 the subject is bad, 2 nothing is known (the output says whether to repeat),
3 usage or configuration.";

const CHECK_EXAMPLES: &str = "Examples:
  oracle-gate check --profile prod --run-facts-ref sr/run_facts_view/<run>.1.json
  oracle-gate check --profile local --run-facts-ref view.json --depth presence --output json
  oracle-gate check --profile dev --run-facts-ref view.json --output sarif > check.sarif";

const SEAL_EXAMPLES: &str = "Examples:
  oracle-gate seal --profile ./profile.yaml --run-facts-ref view.json --pack-root run-5
  oracle-gate seal --profile dev --run-facts-ref view.json --journal run-5.journal --ensure";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve gRPC, with the settings of the environment (ORACLE_GATE_*, DATABASE_URL, NATS_URL).
    #[command(after_help = "Example:\n  oracle-gate serve")]
    Serve,
    /// Bring the schema in the database of DATABASE_URL up to date, and end: for a job before the
    /// service starts. `serve` does it as well, unless it is done.
    #[command(after_help = "Example:\n  DATABASE_URL=postgres://… oracle-gate migrate")]
    Migrate,
    /// Look after the events that were published.
    #[command(subcommand)]
    Events(EventsCommand),
    #[command(flatten)]
    Alone(CommandAlone),
}

/// The commands that need no service.
#[derive(Debug, Subcommand)]
enum CommandAlone {
    /// Check whether what a facts view names may be read.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(check::Args),
    /// Close a pack: write its manifest and its seal, once.
    #[command(after_help = SEAL_EXAMPLES)]
    Seal(seal::Args),
    /// Find out whether the store of a profile may hold seals; leaves nothing behind.
    #[command(after_help = "Examples:\n  oracle-gate probe --profile ./profile.yaml\n  \
                            oracle-gate probe --profile prod --output json")]
    Probe(probe::Args),
    /// Verify sealed packs again: every link, every file, and that nothing was added or sealed
    /// twice.
    Audit(audit::Args),
    /// Record that a sealed pack must not be read any more.
    Tombstone(govern::TombstoneArgs),
    /// Keep a sealed pack for a matter: while it is held it gets no tombstone.
    Hold(govern::HoldArgs),
    /// End a hold.
    Release(govern::ReleaseArgs),
    /// Record that a sealed pack's files moved to where they are read rarely.
    #[command(
        after_help = "Example:\n  oracle-gate archive --profile prod --pack-root packs/<id> \
                            --authority storage --location 'tape 9'"
    )]
    Archive(govern::ArchiveArgs),
    /// Print where a pack is in its life, and what was decided about it.
    #[command(after_help = "Example:\n  oracle-gate state --profile prod --pack-root packs/<id>")]
    State(govern::Pack),
    /// Find, and with `--apply` remove, staging folders of attempts that are sealed.
    Collect(collect::Args),
    /// Print the policies by which a bucket and its roles are set up.
    Policy(policy::Args),
    /// Print the table of reasons.
    #[command(after_help = "Examples:\n  oracle-gate reasons\n  \
                            oracle-gate reasons --output json")]
    Reasons {
        /// Markdown, as in the documentation, or JSON.
        #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
        output: OutputFormat,
    },
    /// Print completions for a shell.
    #[command(after_help = "Example:\n  oracle-gate completions bash > \
                            /etc/bash_completion.d/oracle-gate")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// Publish events again, in their order, for a stream that lost them: DATABASE_URL, NATS_URL
    /// and NATS_PREFIX are needed. Consumers know repeats by the event's id. One of --from-position
    /// and --since is needed.
    #[command(after_help = "Examples:\n  \
                            oracle-gate events refill --since 2026-01-31T00:00:00Z --dry-run\n  \
                            oracle-gate events refill --from-position 1")]
    Refill(chassis::refill::Order),
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Text,
    /// One line of JSON with the same facts.
    Json,
}

/// A command ended early: one line and an exit code.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) exit: u8,
    pub(crate) text: String,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    output::final_exit_code(NAME, carry_out())
}

fn carry_out() -> ExitCode {
    let cli: Cli = match process::arguments() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    if let Err(text) = crash::arm(chassis::Env::process().optional(crash::VARIABLE)) {
        return process::report_text(NAME, &text, USAGE);
    }
    match cli.command {
        Command::Serve => serve::run(),
        Command::Migrate => {
            let env = chassis::Env::process();
            let migrate = async |db: &sqlx::PgPool| crate::store::migrate(db).await;
            process::migrate(NAME, env, migrate)
        }
        Command::Events(EventsCommand::Refill(order)) => {
            process::refill(NAME, chassis::Env::process(), &order)
        }
        Command::Alone(command) => {
            process::end_by_signals();
            command.run().map_or_else(CommandError::report, ExitCode::from)
        }
    }
}

impl CommandAlone {
    /// Answers the exit code.
    fn run(self) -> Result<u8, CommandError> {
        match self {
            Self::Check(args) => check::run(args),
            Self::Seal(args) => seal::run(args),
            Self::Probe(args) => probe::run(&args),
            Self::Audit(args) => audit::run(&args),
            Self::Tombstone(args) => govern::tombstone(&args),
            Self::Hold(args) => govern::hold(&args),
            Self::Release(args) => govern::release(&args),
            Self::Archive(args) => govern::archive(&args),
            Self::State(args) => govern::state(&args),
            Self::Collect(args) => collect::run(&args),
            Self::Policy(args) => policy::run(&args),
            Self::Reasons { output: OutputFormat::Text } => print(&crate::reasons::guide()),
            Self::Reasons { output: OutputFormat::Json } => {
                answer(&crate::reasons::table()).and_then(|line| print(&line))
            }
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
                print(&String::from_utf8_lossy(&script))
            }
        }
    }
}

impl CommandError {
    /// Prints it on one line, and as JSON too where the call asks for JSON. A closed standard error
    /// leaves only the exit code.
    fn report(self) -> ExitCode {
        process::report_text(NAME, &escape::line(&self.text), self.exit)
    }
}

/// Says on standard error what is wrong beside an answer that is printed already.
pub(crate) fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{NAME}: {}", escape::line(text)));
}

/// Prints a result. Whether it was written counts for the exit code of the process.
pub(crate) fn print(text: &str) -> Result<u8, CommandError> {
    output::print(text);
    Ok(0)
}

/// An answer for programs: one line of JSON, which names the version of its form.
pub(crate) fn answer(facts: &Value) -> Result<String, CommandError> {
    let answer = serde_json::to_value(process::answer(facts)).map_err(|error| CommandError {
        exit: UNKNOWN,
        text: format!("the answer cannot be printed: {error}"),
    })?;
    Ok(escape::json(&answer.to_string()) + "\n")
}

pub(crate) fn usage(text: impl Into<String>) -> CommandError {
    CommandError { exit: USAGE, text: format!("{}: {}", Reason::ConfigInvalid.code(), text.into()) }
}

/// How many files are read at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Jobs {
    /// Files read at once; by default one for each processor, or 8 of a bucket.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
}

impl Jobs {
    /// The store, read by so many.
    pub(crate) fn apply(&self, objects: &Objects) -> Objects {
        self.jobs.map_or_else(|| objects.clone(), |jobs| objects.with_jobs(jobs.into()))
    }
}

/// The profile, and where its store is.
pub(crate) fn profile(name: &str) -> Result<(Profile, StoreLocation), CommandError> {
    let env = chassis::Env::process();
    let root = env.optional(crate::config::ROOT);
    let profile = Profile::load(name, root, |name| env.optional(name))
        .map_err(|error| usage(error.to_string()))?;
    let location = StoreLocation::parse(&profile.oracle_root, &profile.object_store)
        .map_err(|wrong| usage(format!("{}: {wrong}", variable_of(&env, &wrong))))?;
    Ok((profile, location))
}

/// The profile and its store, for commands that need no service.
pub(crate) fn store(name: &str) -> Result<(Profile, Objects), CommandError> {
    let (profile, location) = profile(name)?;
    let env = chassis::Env::process();
    let objects = Objects::open(&location, || Credentials::read(|name| env.optional(name)))
        .map_err(|error| usage(format!("{}: {error}", crate::config::ROOT)))?;
    Ok((profile, objects))
}

/// The folder of a pack that a call names.
pub(crate) fn named_root(objects: &Objects, named: &str) -> Result<String, CommandError> {
    let trimmed = named.trim_end_matches('/');
    let itself = objects.root().is_some_and(|root| std::path::Path::new(trimmed) == root);
    if named == "." || named == "./" || itself {
        return Ok(String::new());
    }
    match Contained::parse(trimmed, objects.names()) {
        Ok(path) if path.has_wildcard() => Err(usage("--pack-root is one folder, not a pattern")),
        Ok(path) => Ok(path.as_str().to_owned()),
        Err(error) => Err(usage(format!("--pack-root: {error}"))),
    }
}

/// Attestation keys from an option or the environment.
pub(crate) fn keys(texts: &[String]) -> Result<Vec<VerifyingKey>, CommandError> {
    let key = |text: &String| {
        wire::dsse::parse_key(text)
            .ok_or_else(|| usage("an attestation key is a public key of 64 hex digits"))
    };
    texts.iter().filter(|text| !text.is_empty()).map(key).collect()
}

/// A view named by an operator: below the oracle root, or else any file of this machine; `None` if
/// it is neither. What the view itself names is held to the root anyway (O8).
pub(crate) async fn read_view(
    objects: &Objects,
    reference: &str,
) -> Result<Option<Bytes>, StoreError> {
    if let Ok(path) = Contained::parse(reference, objects.names())
        && let Some(bytes) = objects.read(path.as_str(), MAX_VIEW_BYTES).await?
    {
        return Ok(Some(bytes));
    }
    let unreadable = |error: std::io::Error| StoreError::Unavailable {
        path: reference.to_owned(),
        cause: error.to_string(),
    };
    match tokio::fs::metadata(reference).await {
        Ok(file) if file.is_file() && file.len() <= MAX_VIEW_BYTES => {
            tokio::fs::read(reference).await.map(|bytes| Some(bytes.into())).map_err(unreadable)
        }
        _ => Ok(None),
    }
}

/// A runtime for commands without a service.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError {
        exit: UNKNOWN,
        text: format!("cannot start the runtime: {error}"),
    })?;
    Ok(runtime.block_on(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_shows_an_example() {
        testkit::assert_every_command_shows_an_example(&Cli::command(), NAME);
    }
}
