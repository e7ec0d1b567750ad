//! The command line. Exit codes: 0 done, 1 the service failed or the subject is bad, 2 nothing is known,
//! try again, 3 usage or configuration (C1).

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chassis::confine::confine;
use chassis::{Env, Service, postgres, telemetry};
use clap::{CommandFactory as _, Parser, Subcommand};
use wire::RunId;

use crate::auth::session;
use crate::config::{Config, FILE, Role};
use crate::gateway::page::Page;
use crate::gateway::store;
use crate::gateway::view::RunView;
use crate::{crash, runs};

/// How long open requests and steps may take after a signal.
const GRACE: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  runner serve                     with RUNNER_* from the environment or .env.runner
  runner serve --role gateway      answer callers only; another process works on runs
  runner sessions revoke G…        end every login of an account
  runner runs list                 what the database holds, newest last
  runner runs show 0199f…          one run
  runner runs resume 0199f…        let workers take a run again that waits for an operator
  runner completions bash > /etc/bash_completion.d/runner";

/// Takes runs from the queue to a receipt on chain.
#[derive(Debug, Parser)]
#[command(name = "runner", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gateway and work on runs, until a signal.
    Serve {
        /// Which part of the service this process is [default: RUNNER_ROLE, or all]. A gateway alone
        /// holds no key of the chain.
        #[arg(long, value_enum)]
        role: Option<Role>,
    },
    /// Look at runs in the database of DATABASE_URL.
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Logins, in the database of DATABASE_URL.
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// List the points at which a test can make the process die (RUNNER_CRASH_AT).
    CrashPoints,
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum RunsCommand {
    /// List the newest runs as JSON.
    List,
    /// Show one run as JSON.
    Show {
        /// Its id.
        id: RunId,
    },
    /// Let workers take a run again that waits for an operator; they look before they act.
    Resume {
        /// Its id.
        id: RunId,
    },
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// End every session of an account at once; its tokens are refused from then on.
    Revoke {
        /// Who logged in, as its tokens name it: G…, M…, G…:memo or C….
        subject: String,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let usage = error.use_stderr();
            // Nothing helps if even this can't be printed.
            let _ = error.print();
            return if usage { ExitCode::from(3) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Serve { role } => serve(role),
        Command::Runs(command) => block_on(runs(command)),
        Command::Sessions(SessionsCommand::Revoke { subject }) => block_on(revoke(&subject)),
        Command::CrashPoints => {
            for (name, what) in crash::POINTS {
                println!("{name:<26} {what}");
            }
            ExitCode::SUCCESS
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "runner", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

fn serve(role: Option<Role>) -> ExitCode {
    let config = match Config::load(role) {
        Ok(config) => config,
        Err(error) => return refused(&error.into(), 3),
    };
    // Before any thread starts. It writes nothing, and reads what resolves names.
    let confinement = match confine(&[std::path::Path::new("/run")], &[]) {
        Ok(confinement) => confinement,
        Err(error) => return refused(&anyhow::Error::from(error).context("LUMIO_CONFINE"), 3),
    };
    block_on(async move {
        let telemetry = match telemetry::init("runner", &config.log_level) {
            Ok(telemetry) => telemetry,
            Err(error) => return refused(&error.context("RUNNER_LOG_LEVEL"), 3),
        };
        confinement.log();
        let service = Service::default();
        if let Err(error) = crate::start(&service, config).await {
            return refused(&error, 3);
        }
        let ended = service.run(GRACE).await;
        telemetry.flush();
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refused(&error, 1),
        }
    })
}

/// The database's address, or the exit code when it is not configured.
fn database_url() -> Result<String, ExitCode> {
    let mut env = Env::process();
    if let Err(error) = env.add_file(std::path::Path::new(FILE)) {
        return Err(refused(&error.into(), 3));
    }
    let url = env.required_url("DATABASE_URL", &["postgres", "postgresql"]);
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
            println!("{count} sessions were ended");
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
    match told(command, &url).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => refused(
            &anyhow::anyhow!("there is no such run, or it does not wait for an operator"),
            1,
        ),
        Err(error) => refused(&error.context("nothing is known; try again"), 2),
    }
}

/// `false` if there is no such run.
async fn told(command: RunsCommand, url: &str) -> anyhow::Result<bool> {
    let db = postgres::connect(url).await?;
    match command {
        RunsCommand::List => {
            let (runs, _) = Page::read(None, None)?.fetch(&db, None, None).await?;
            let views: Vec<_> = runs.iter().map(RunView::from).collect();
            println!("{}", serde_json::to_string_pretty(&views)?);
        }
        RunsCommand::Show { id } => {
            let it = runs::store::load(&mut *db.acquire().await?, id).await?;
            let Some(it) = it else { return Ok(false) };
            println!("{}", serde_json::to_string_pretty(&RunView::from(&it))?);
        }
        RunsCommand::Resume { id } => return Ok(store::resume(&db, id).await?),
    }
    Ok(true)
}

fn block_on(work: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.context("the runtime can't start") {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => refused(&error, 1),
    }
}

/// One line on standard error.
fn refused(error: &anyhow::Error, code: u8) -> ExitCode {
    let text = format!("{error:#}").replace('\n', " ");
    eprintln!("runner: {text}");
    ExitCode::from(code)
}
