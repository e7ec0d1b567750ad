//! The command line. Exit codes: 0 done, 1 the service failed or the subject is bad, 2 nothing is
//! known, try again, 3 usage or configuration (C1).

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chassis::process::{self, Process};
use chassis::service::Signals;
use chassis::{Bus, Env, output, postgres, print_line, refill};
use clap::{CommandFactory as _, Parser, Subcommand};
use serde::Serialize;
use wire::{RunId, escape};

use self::table::table;
use crate::auth::caller::Scope;
use crate::auth::session;
use crate::config::{Config, FILE, Role, TOKEN_PATHS};
use crate::gateway::page::Page;
use crate::model::run::Snapshot;
use crate::operations::by_hand::Ending;
use crate::operations::{account, prune};
use crate::view::RunView;
use crate::{crash, runs, sight};

mod backup;
mod dead_letters;
mod channels;
mod doctor;
mod import;
mod intake;
mod proof;
mod table;

/// The program's name, which begins each of its messages.
const NAME: &str = "runner";

/// How long open requests and steps may take after a signal. The servers give their clients less.
const GRACE: Duration = Duration::from_secs(9);

const EXAMPLES: &str = "\
Examples:
  runner serve                     with RUNNER_* from the environment or .env.runner
  runner serve --role gateway      answer callers only; another process works on runs
  runner migrate                   bring the schema of DATABASE_URL up to date
  runner sessions revoke G…        end every login of an account
  runner intake pause --reason 'upgrade'   refuse new runs; runs under way go on
  runner runs list                 what the database holds, newest last
  runner runs show 0199f…          one run
  runner runs resume 0199f…        let workers take a run again that waits for an operator
  runner runs void 0199f… --reason 'module-gate is lost'
  runner dead-letters list         runs that no worker can go on with, and what can be done
  runner doctor                    look at everything that a runner needs, and what to do about it
  runner reconcile --repair        compare Postgres with the vault's state, and repair what it proves
  runner prune --older-than 90d --export old.jsonl --confirm
  runner events refill --since 2026-01-31T00:00:00Z
  runner events gaps --acknowledge take note of ledgers whose contract events were lost
  runner channels add --count 3    more accounts that send transactions at one time
  runner export --to runner.jsonl  everything of runs in one file
  runner restore --from runner.jsonl
                                   a fresh database from it, with proofs of what became of its runs
  runner import .runner-state.json --confirm   the runs of an earlier runner, as history
  runner account                   compare Postgres, vault, NATS and module-gate
  runner completions bash > /etc/bash_completion.d/runner";

/// Takes runs from the queue to a receipt on chain.
#[derive(Debug, Parser)]
#[command(name = NAME, version = chassis::version(), after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gateway and work on runs, until a signal.
    #[command(after_help = "Examples:\n  runner serve\n  runner serve --role gateway")]
    Serve {
        /// Which part of the service this process is [default: RUNNER_ROLE, or all]. A gateway
        /// alone holds no key of the chain.
        #[arg(long, value_enum)]
        role: Option<Role>,
    },
    /// Bring the schema in the database of DATABASE_URL up to date, and end: for a job before the
    /// service starts. `serve` does it as well, unless it is done.
    #[command(after_help = "Example:\n  runner migrate")]
    Migrate,
    /// Look at runs in the database of DATABASE_URL.
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Pause new runs and resume them, in the database of DATABASE_URL: of everybody, of one agent or
    /// of one user. It holds for every process as soon as the command has ended. Runs that were
    /// accepted go on; `POST /runs` and retries answer 503 `INTAKE_PAUSED`.
    #[command(subcommand, after_help = INTAKE)]
    Intake(IntakeCommand),
    /// Remove what ended long ago from the database of DATABASE_URL: runs with their attempts,
    /// transactions and keys, published events, the contracts' events, comparisons and logins.
    /// Without --confirm it only counts. Runs that are not finished, or whose escrow is open, stay,
    /// and so do events that proofs about what is kept may need.
    #[command(after_help = PRUNE)]
    Prune(PruneArguments),
    /// Write everything that the database of DATABASE_URL holds of runs to a file, as it is at one
    /// moment; engines may go on meanwhile. Logins are not in it.
    #[command(after_help = "Example:\n  runner export --to runner.jsonl")]
    Export {
        /// Where to; the file must not exist. It holds inputs of users.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Fill a fresh database from a file of `runner export`, and prove what became of its runs since:
    /// by the vault's state and the contracts' events. Until then no worker touches them; escrows of
    /// runs that are not in the file are given back. Stop all engines of the lost database first.
    /// However large the file is, all of it is restored or nothing.
    /// Exit code 0: everything is known; 1: nothing was restored; 2: something is not known.
    #[command(after_help = "Examples:\n  runner restore --from runner.jsonl\n  \
                            runner restore --judge --output json")]
    Restore {
        /// The file.
        #[arg(long, value_name = "FILE", required_unless_present = "judge")]
        from: Option<PathBuf>,
        /// Only prove what became of the runs that were restored before.
        #[arg(long, conflicts_with = "from")]
        judge: bool,
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
    /// Take the runs of an earlier runner's `.runner-state.json` over, as history: settled ones are
    /// finalized, all others failed with IMPORTED, to be retried by their users. Nothing is opened
    /// or charged. Without --confirm it only reads the file, which is refused whole if one of its runs
    /// cannot be kept. Runs are kept in batches: an import that was interrupted goes on when the
    /// command is repeated.
    #[command(after_help = "Examples:\n  runner import .runner-state.json\n  \
                            runner import .runner-state.json --confirm")]
    Import {
        /// The file.
        file: PathBuf,
        /// Import them.
        #[arg(long)]
        confirm: bool,
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
    /// Runs that no worker can go on with: a person has to decide about their outcome, or their
    /// escrow stays open until a retry or the deadline. Contract state is asked before anything is
    /// done.
    #[command(subcommand, after_help = DEAD_LETTERS)]
    DeadLetters(DeadLettersCommand),
    /// Logins, in the database of DATABASE_URL.
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Look after the events that were published.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Compare what Postgres, the vault, the transactions, the balances, NATS and module-gate say
    /// about every run. Exit code 1: something does not agree; 2: something is unknown.
    #[command(after_help = "Examples:\n  runner account\n  runner account --output json")]
    Account {
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
    /// Look at everything that a runner needs: Postgres and its schema, NATS and its streams, node,
    /// contracts, accounts, gates, events, queue. Exit code 0: all is well (warnings are named); 1:
    /// something is wrong; 2: something does not answer.
    #[command(after_help = "Examples:\n  runner doctor\n  runner doctor --output json")]
    Doctor {
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
    /// Compare Postgres with the vault's state: open records without a run, runs that were closed
    /// otherwise, escrows past their deadline, runs in an operator's hands, sums of accounts. Exit
    /// code 0: nothing differs, or all was repaired; 1: something differs; 2: something is unknown.
    #[command(after_help = "Examples:\n  runner reconcile\n  runner reconcile --repair")]
    Reconcile {
        /// Repair what contract state proves, and nothing else. Money is moved by the workers of a
        /// running engine.
        #[arg(long)]
        repair: bool,
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
    /// Add, list, top up and drain the accounts that send transactions.
    Channels(channels::ChannelsArgs),
    /// List the Ed25519 keys of the token of RUNNER_PKCS11_TOKEN: account and label. Only the
    /// RUNNER_PKCS11_ settings of module, token and PIN are needed.
    #[command(after_help = "Examples:\n  runner signer-keys\n  \
                            runner signer-keys --output json")]
    SignerKeys {
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
    /// List the points at which a test can make the process die (RUNNER_CRASH_AT).
    #[command(after_help = "Example:\n  runner crash-points")]
    CrashPoints,
    /// Print completions for a shell.
    #[command(after_help = "Example:\n  runner completions bash > \
                            /etc/bash_completion.d/runner")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

const PRUNE: &str = "\
Examples:
  runner prune --older-than 90d
  runner prune --older-than 90d --export old.jsonl --confirm
  runner runs prune --older-than 90d     the same";

#[derive(Debug, clap::Args)]
struct PruneArguments {
    /// Only what ended longer ago than this: a number with d, h, m or s. Events stay for at least 31
    /// days.
    #[arg(long, value_name = "AGE", value_parser = prune::parse_age)]
    older_than: time::Duration,
    /// Write each run as a line of JSON to this file before it goes; the file must not exist. Only
    /// its owner can read it: it holds inputs of users.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Remove them.
    #[arg(long)]
    confirm: bool,
}

#[derive(Debug, Subcommand)]
enum RunsCommand {
    /// List the newest runs as JSON.
    #[command(after_help = "Example:\n  runner runs list")]
    List,
    /// Show one run as JSON.
    #[command(after_help = "Example:\n  runner runs show 0199f2d0-…")]
    Show {
        /// Its id.
        id: RunId,
    },
    /// The same as `runner prune`.
    #[command(after_help = PRUNE)]
    Prune(PruneArguments),
    /// Let workers take a run again that waits for an operator. The vault's state and events are
    /// asked first: a run whose escrow is proven closed, or never taken, ends at once.
    #[command(after_help = "Example:\n  runner runs resume 0199f2d0-…")]
    Resume {
        /// Its id.
        id: RunId,
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
    /// Settle an open run by hand, before its deadline: as it was frozen, or with zero usage if
    /// nothing was. The vault's state is asked first.
    #[command(after_help = BY_HAND)]
    Finalize(ByHand),
    /// Give an open run's escrow back by hand, before its deadline. The vault's state is asked first.
    #[command(after_help = BY_HAND)]
    Void(ByHand),
    /// Give an open run's escrow back by hand, after its deadline. The vault's state is asked first.
    #[command(after_help = BY_HAND)]
    Reclaim(ByHand),
}

const BY_HAND: &str = "\
The workers of a running engine carry it out. Exit codes: 0 the run has ended, 1 it cannot be done (and
why), 2 nothing is known or it has not ended yet, 3 usage.

Examples:
  runner runs finalize 0199f2d0-…
  runner runs void 0199f2d0-… --reason 'module-gate is lost' --wait 120
  runner runs reclaim 0199f2d0-… --output json";

#[derive(Debug, clap::Args)]
struct ByHand {
    /// The run's id.
    id: RunId,
    /// Why; kept with the run.
    #[arg(long, default_value = "ended by an operator")]
    reason: String,
    /// How many seconds to wait for its end.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,
    /// `text` or `json`; both say the same.
    #[arg(long, default_value = "text")]
    output: OutputFormat,
}

const INTAKE: &str = "\
Examples:
  runner intake pause --reason 'upgrade at 12:00 UTC'
  runner intake pause --agent 7 --reason 'its module loops'
  runner intake resume
  runner intake list --output json";

#[derive(Debug, Subcommand)]
enum IntakeCommand {
    /// Refuse new runs from now on.
    #[command(after_help = INTAKE)]
    Pause {
        #[command(flatten)]
        whose: Whose,
        /// Why; callers who are refused are shown it.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Accept new runs again. Exit code 1: they were not paused.
    #[command(after_help = INTAKE)]
    Resume {
        #[command(flatten)]
        whose: Whose,
    },
    /// List what is paused.
    #[command(after_help = INTAKE)]
    List {
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
}

const DEAD_LETTERS: &str = "\
The workers of a running engine carry out what is started. Exit codes: 0 done or started, 1 it cannot be done
(and why), 2 nothing is known, 3 usage; of several runs, the worst.

Examples:
  runner dead-letters list
  runner dead-letters show 0199f2d0-…
  runner dead-letters replay --all
  runner dead-letters discard 0199f2d0-… --reason 'the module was withdrawn'";

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    /// List them, the longest unchanged first: at most 500.
    #[command(after_help = DEAD_LETTERS)]
    List {
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
    /// Show one as JSON: the run, its attempts and transactions, what contract state proves about
    /// it, and what can be done.
    #[command(after_help = DEAD_LETTERS)]
    Show {
        /// Its id.
        id: RunId,
    },
    /// Let workers go on with them. What is proven to have ended ends; an escrow that stayed open is
    /// settled with zero before the next attempt. Nothing is charged twice.
    #[command(after_help = DEAD_LETTERS)]
    Replay {
        /// Their ids.
        #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
        ids: Vec<RunId>,
        /// All of them.
        #[arg(long)]
        all: bool,
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
    /// Give them up: what the vault holds of them goes back to their users, and they end.
    #[command(after_help = DEAD_LETTERS)]
    Discard {
        /// Their ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<RunId>,
        /// Why; kept with the run.
        #[arg(long, default_value = "given up by an operator")]
        reason: String,
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
}

#[derive(Debug, clap::Args)]
struct Whose {
    /// Only those of this agent.
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    agent: Option<u32>,
    /// Only those that this account (G… or C…) pays for.
    #[arg(long, value_name = "ADDRESS")]
    user: Option<String>,
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// End every session of an account at once; its tokens are refused from then on.
    #[command(after_help = "Example:\n  runner sessions revoke G…")]
    Revoke {
        /// Who logged in, as its tokens name it: G…, M…, G…:memo or C….
        subject: String,
    },
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// Publish events again, in their order, for a stream that lost them. Consumers know repeats by
    /// the event's id. One of --from-position and --since is needed.
    #[command(after_help = "Examples:\n  \
                            runner events refill --since 2026-01-31T00:00:00Z --dry-run\n  \
                            runner events refill --from-position 1")]
    Refill(refill::Order),
    /// List ledgers whose contract events were lost: every node had forgotten them before they were
    /// read. Exit code 1: there are some that no operator has acknowledged.
    #[command(after_help = "Examples:\n  runner events gaps\n  \
                            runner events gaps --acknowledge")]
    Gaps {
        /// Take note of them, so that the health stops naming them.
        #[arg(long)]
        acknowledge: bool,
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OutputFormat {
    Text,
    Json,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    output::final_exit_code(NAME, carry_out())
}

fn carry_out() -> ExitCode {
    let cli: Cli = match process::arguments() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.command {
        Command::Serve { role } => serve(role),
        Command::Migrate => migrate(),
        Command::Runs(RunsCommand::Resume { id, output }) => block_on(proof::resume(id, output)),
        Command::Runs(RunsCommand::Finalize(by_hand)) => {
            block_on(ended_by_hand(by_hand, Ending::Finalize))
        }
        Command::Runs(RunsCommand::Void(by_hand)) => block_on(ended_by_hand(by_hand, Ending::Void)),
        Command::Runs(RunsCommand::Reclaim(by_hand)) => {
            block_on(ended_by_hand(by_hand, Ending::Reclaim))
        }
        Command::Runs(command) => block_on(runs(command)),
        Command::Doctor { output } => block_on(doctor::run(output)),
        Command::Reconcile { repair, output } => block_on(proof::reconcile(repair, output)),
        Command::Export { to } => block_on(backup::export(&to)),
        // Without a file, what was restored before is judged.
        Command::Restore { from, judge: _, output } => {
            block_on(backup::restore(from.as_deref(), output))
        }
        Command::Import { file, confirm, output } => block_on(import::run(&file, confirm, output)),
        Command::Prune(arguments) => block_on(runs(RunsCommand::Prune(arguments))),
        Command::DeadLetters(command) => block_on(dead_letters::run(command)),
        Command::Intake(command) => block_on(intake::run(command)),
        Command::Sessions(SessionsCommand::Revoke { subject }) => block_on(revoke(&subject)),
        Command::Events(command) => block_on(events(command)),
        Command::Account { output } => block_on(account(output)),
        Command::Channels(arguments) => block_on(channels::run(arguments)),
        Command::SignerKeys { output } => block_on(signer_keys(output)),
        Command::CrashPoints => {
            for (name, what) in crash::POINTS {
                print_line!("{name:<26} {what}");
            }
            ExitCode::SUCCESS
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
            output::print(&String::from_utf8_lossy(&script));
            ExitCode::SUCCESS
        }
    }
}

fn migrate() -> ExitCode {
    let mut env = Env::process();
    if let Err(error) = env.add_file(Path::new(FILE)) {
        return refused(&error.into(), 3);
    }
    process::migrate(NAME, env, async |db| postgres::migrate(db, &crate::MIGRATIONS).await)
}

fn serve(role: Option<Role>) -> ExitCode {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return refused(&error, 2),
    };
    let config = match Config::load(role) {
        Ok(config) => config,
        Err(error) => return refused(&error.into(), 3),
    };
    // Of its own it writes no file.
    let process = Process {
        name: NAME,
        settings: config.process.clone(),
        // The built console, which is read once at the start, and what a token's library needs.
        read: config.console_dir.iter().chain(&config.signer_module).cloned().collect(),
        write: config.signer_paths.iter().map(|path| (TOKEN_PATHS, path.clone())).collect(),
        grace: GRACE,
    };
    process::run(process, signals, async |service| crate::start(service, config).await.map(drop))
}

/// Lists the token's keys.
async fn signer_keys(output: OutputFormat) -> ExitCode {
    let token = match Config::token() {
        Ok(token) => token,
        Err(error) => return refused(&error.into(), 3),
    };
    if let Err(error) = token.load() {
        return refused(&error, 3);
    }
    match token.keys().await {
        Ok(keys) if output == OutputFormat::Json => {
            print_list(&keys).map_or_else(|code| code, |()| ExitCode::SUCCESS)
        }
        Ok(keys) if keys.is_empty() => {
            print_line!("the token has no Ed25519 key");
            ExitCode::SUCCESS
        }
        Ok(keys) => {
            let rows: Vec<_> =
                keys.iter().map(|key| [key.account.clone(), escape::line(&key.label)]).collect();
            print_line!("{}", table(["account", "label"], &rows));
            ExitCode::SUCCESS
        }
        Err(words) => refused(&anyhow::anyhow!(words).context("nothing is known"), 2),
    }
}

async fn events(command: EventsCommand) -> ExitCode {
    match command {
        EventsCommand::Refill(order) => refill_stream(&order).await,
        EventsCommand::Gaps { acknowledge, output } => gaps(acknowledge, output).await,
    }
}

/// Lists the gaps in the contracts' events, and takes note of them.
async fn gaps(acknowledge: bool, output: OutputFormat) -> ExitCode {
    let url = match database_url() {
        Ok(url) => url,
        Err(code) => return code,
    };
    let listed = async {
        let db = postgres::connect(&url).await?;
        let gaps = sight::store::gaps(&db).await?;
        if acknowledge {
            sight::store::acknowledge_gaps(&db).await?;
        }
        anyhow::Ok(gaps)
    };
    let gaps = match listed.await {
        Ok(gaps) => gaps,
        Err(error) => return refused(&error.context("nothing is known; try again"), 2),
    };
    if output == OutputFormat::Json {
        if let Err(code) = print_list(&gaps) {
            return code;
        }
    } else if gaps.is_empty() {
        print_line!("no ledger's events were lost");
    } else {
        let row = |gap: &sight::store::Gap| {
            let state = if gap.acknowledged { "noted" } else { "open" };
            let (first, last) = (gap.first_ledger.to_string(), gap.last_ledger.to_string());
            [state.to_owned(), first, last, gap.found_at.clone()]
        };
        let rows: Vec<_> = gaps.iter().map(row).collect();
        print_line!("{}", table(["state", "first ledger", "last ledger", "found"], &rows));
    }
    let is_open = gaps.iter().any(|gap| !gap.acknowledged) && !acknowledge;
    if is_open { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

/// Fills the stream again.
async fn refill_stream(order: &refill::Order) -> ExitCode {
    let config = match Config::load(None) {
        Ok(config) => config,
        Err(error) => return refused(&error.into(), 3),
    };
    let Config { database_url, nats_url, policy, .. } = &config;
    match order.carry_out(database_url, nats_url, &policy.nats_prefix).await {
        Ok(done) => {
            print_line!("{done}");
            ExitCode::SUCCESS
        }
        Err(error) => refused(&error, 2),
    }
}

/// Compares what several places say about every run.
async fn account(output: OutputFormat) -> ExitCode {
    let config = match Config::load(None) {
        Ok(config) => config,
        Err(error) => return refused(&error.into(), 3),
    };
    let account = match compared(&config).await {
        Ok(account) => account,
        Err(error) => return refused(&error.context("nothing is known; try again"), 2),
    };
    match output {
        OutputFormat::Json => {
            if let Err(code) = print_json(&account) {
                return code;
            }
        }
        OutputFormat::Text => print_account(&account),
    }
    match (account.is_broken(), account.findings.is_empty()) {
        (true, _) => ExitCode::from(1),
        (false, false) => ExitCode::from(2),
        (false, true) => ExitCode::SUCCESS,
    }
}

async fn compared(config: &Config) -> anyhow::Result<account::Account> {
    let db = postgres::connect(&config.database_url).await?;
    let rpc = stellar::Rpc::new(&config.rpc_url).context("RUNNER_RPC_URL")?;
    let bus = Bus::connect(&config.nats_url, &config.policy.nats_prefix).await?;
    let gates = config.gates.as_ref().map(crate::connect).transpose()?;
    let sources = account::Sources {
        db: &db,
        rpc: &rpc,
        vault: config.vault,
        runner: config.runner,
        bus: Some(&bus),
        gates: gates.as_ref(),
        extent: account::Extent::Everything,
    };
    account::compare(&sources).await
}

fn print_account(account: &account::Account) {
    for (place, compared) in &account.compared {
        let here = |verdict| {
            let of =
                |finding: &&account::Finding| (finding.place, finding.verdict) == (*place, verdict);
            account.findings.iter().filter(of).count()
        };
        let (broken, unknown) =
            (here(account::FindingKind::Broken), here(account::FindingKind::Unknown));
        print_line!("{place:?}: {compared} compared, {broken} broken, {unknown} unknown");
    }
    for finding in &account.findings {
        let run = finding.run.map(|run| format!(" run {run}:")).unwrap_or_default();
        print_line!("{:?} ({:?}):{run} {}", finding.verdict, finding.place, finding.text);
    }
    if account.findings.is_empty() {
        print_line!("everything agrees");
    }
}

/// Removes old runs, or counts them.
async fn prune_runs(
    db: &sqlx::PgPool,
    older_than: time::Duration,
    export: Option<&Path>,
    confirm: bool,
) -> anyhow::Result<()> {
    let before = chassis::clock::now() - older_than;
    if !confirm {
        let would = prune::count(db, before).await?;
        print_line!("{would} would be removed; --confirm removes them");
        return Ok(());
    }
    let mut export: Box<dyn std::io::Write + Send> = match export {
        None => Box::new(std::io::sink()),
        Some(path) => {
            let file = new_file(path);
            let file = file.with_context(|| format!("--export: cannot make {}", path.display()))?;
            Box::new(std::io::BufWriter::new(file))
        }
    };
    let done = prune::prune(db, before, &mut *export).await?;
    print_line!("{done} were removed");
    Ok(())
}

/// A file for what is exported. An older export is never overwritten, and only its owner may read
/// it: it holds inputs of users.
fn new_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The database's address, or the exit code when it is not configured.
fn database_url() -> Result<String, ExitCode> {
    let mut env = Env::process();
    if let Err(error) = env.add_file(std::path::Path::new(FILE)) {
        return Err(refused(&error.into(), 3));
    }
    let url = env.database_url();
    match env.finish() {
        Ok(()) => Ok(url),
        Err(error) => Err(refused(&error.into(), 3)),
    }
}

async fn revoke(subject: &str) -> ExitCode {
    let url = match database_url() {
        Ok(url) => url,
        Err(code) => return code,
    };
    let revoked = async {
        let db = postgres::connect(&url).await?;
        anyhow::Ok(session::revoke_all(&db, subject).await?)
    };
    match revoked.await {
        Ok(count) => {
            print_line!("{count} sessions were ended");
            ExitCode::SUCCESS
        }
        Err(error) => refused(&error.context("nothing is known; try again"), 2),
    }
}

async fn runs(command: RunsCommand) -> ExitCode {
    let url = match database_url() {
        Ok(url) => url,
        Err(code) => return code,
    };
    match run_command(command, &url).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => refused(&anyhow::anyhow!("there is no such run"), 1),
        Err(error) => refused(&error.context("nothing is known; try again"), 2),
    }
}

/// `false` if there is no such run.
async fn run_command(command: RunsCommand, url: &str) -> anyhow::Result<bool> {
    let db = postgres::connect(url).await?;
    match command {
        RunsCommand::List => {
            // Somebody reads what a command prints: the page is whole, however large it is.
            let show = |run: &Snapshot| Ok((RunView::from(run), 0));
            let page = Page::read(None, None)?;
            let (views, _) = page.fetch(&db, &Scope::default(), None, show).await?;
            print_line!("{}", serde_json::to_string_pretty(&views)?);
        }
        RunsCommand::Show { id } => {
            let snapshot = runs::store::load(&mut *db.acquire().await?, id).await?;
            let Some(snapshot) = snapshot else { return Ok(false) };
            let view = RunView::from(&snapshot);
            print_line!("{}", serde_json::to_string_pretty(&process::answer(&view))?);
        }
        RunsCommand::Prune(PruneArguments { older_than, export, confirm }) => {
            prune_runs(&db, older_than, export.as_deref(), confirm).await?;
        }
        // Handled before: these ask the network.
        RunsCommand::Resume { .. }
        | RunsCommand::Finalize(_)
        | RunsCommand::Void(_)
        | RunsCommand::Reclaim(_) => return Ok(false),
    }
    Ok(true)
}

async fn ended_by_hand(by_hand: ByHand, ending: Ending) -> ExitCode {
    let ByHand { id, reason, wait, output } = by_hand;
    proof::end(id, ending, &reason, wait, output).await
}

/// Prints an answer, which is an object, as JSON.
fn print_json(facts: &impl Serialize) -> Result<(), ExitCode> {
    print_document(&process::answer(facts))
}

/// Prints a list as JSON. It has no place for the version that [`process::answer`] gives an object.
fn print_list<T: Serialize>(list: &[T]) -> Result<(), ExitCode> {
    print_document(&list)
}

fn print_document(document: &impl Serialize) -> Result<(), ExitCode> {
    match serde_json::to_string_pretty(document) {
        Ok(text) => {
            print_line!("{text}");
            Ok(())
        }
        Err(error) => Err(refused(&error.into(), 1)),
    }
}

fn block_on(work: impl Future<Output = ExitCode>) -> ExitCode {
    process::end_by_signals();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.context("the runtime can't start") {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => refused(&error, 1),
    }
}

/// One line on standard error.
fn refused(error: &anyhow::Error, code: u8) -> ExitCode {
    process::report(NAME, error, code)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn every_command_shows_an_example() {
        testkit::assert_every_command_shows_an_example(&Cli::command(), NAME);
    }

    #[test]
    fn what_is_exported_is_its_owners_and_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.jsonl");
        let file = new_file(&path).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(new_file(&path).is_err());
    }
}
