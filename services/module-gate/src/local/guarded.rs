//! `guard run`: any command under the guard, without a module, a manifest or a service.

mod relay;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use guard::{
    Capability, Charge, Effect, GuardError, Identity, OutputStream, Policy, Reads, Report, Stdin,
    Tier,
};

use self::relay::Relay;
use crate::judging::finding;
use crate::local::interrupt;
use crate::local::output::{self, OutputFormat};
use crate::sandbox::{PROGRAMS, look_up, repository};

/// Effects shown as text; JSON has all that were kept.
const MAX_SHOWN: usize = 40;

/// The group that owns nothing.
const NO_GROUP: u32 = 65_534;

const RUN_HELP: &str = "\
Examples:
  module-gate guard run --root . -- node build.mjs
  module-gate guard run --root . --declare FS:write --declare Process:shell -- npm test
  module-gate guard run --root . --copy --declare FS:write -- ./configure
  module-gate guard run --root module --strict-reads --output json -- python3 main.py

Codes: E_SIDEEFFECTS_FORBIDDEN something outside the root · E_SIDEEFFECTS_DECLARATION something \
undeclared ·
E_ORACLE_EXEC another end than exit code 0 · E_GUARD_INCOMPLETE the host could not run or watch it.
Exit codes: 0 pass · 1 fail · 2 could not decide · 3 wrong usage. The command's own exit code is \
in the result.";

/// Commands over commands.
#[derive(Debug, Subcommand)]
pub enum Guard {
    /// Run a command under the guard: pass its output through, then say what it did and whether it
    /// may
    #[command(after_help = RUN_HELP)]
    Run {
        /// How to print the result: text on standard error after the command's output, or one JSON
        /// document with it
        #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
        output: OutputFormat,
        /// What to run
        #[command(flatten)]
        run: Box<Run>,
    },
}

/// The command line of `guard run`.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Run {
    /// The only folder the command may change, and only with --declare FS:write
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Working directory, inside the root; default: the root
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// What the command may do: FS:read, FS:write, Process:shell, Process:git, Network; may be
    /// repeated
    #[arg(long = "declare", value_name = "CAPABILITY")]
    declared: Vec<Capability>,
    /// Deny and charge reads outside the root instead of listing them
    #[arg(long)]
    strict_reads: bool,
    /// With --strict-reads: a file or folder that may be read anyway; may be repeated
    #[arg(long = "allow-read", value_name = "PATH", requires = "strict_reads")]
    allow_read: Vec<PathBuf>,
    /// A variable for the command, which inherits none but PATH; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Give the command this program's standard input instead of an empty one
    #[arg(long)]
    stdin: bool,
    /// Run on a copy of the root that is thrown away afterwards
    #[arg(long)]
    copy: bool,
    /// Longest wall time in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 60_000,
        value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    timeout_ms: u64,
    /// Most processes at once
    #[arg(long, value_name = "N", default_value_t = 64,
        value_parser = clap::value_parser!(u64).range(1..=4_096))]
    processes: u64,
    /// Most resident memory of all its processes, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1_024,
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    memory_mib: u64,
    /// Most bytes of standard output, and as many of standard error, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 8,
        value_parser = clap::value_parser!(u64).range(1..=1_024))]
    max_output_mib: u64,
    /// Largest file that is written, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256,
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    max_file_mib: u64,
    /// By how much root and private folders may grow together, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1_024,
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    max_growth_mib: u64,
    /// By how many names they may grow together
    #[arg(long, value_name = "N", default_value_t = 500_000,
        value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    max_new_names: u64,
    /// The command's search path
    #[arg(long, env = "PATH", hide = true, default_value = "")]
    path: String,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a variable is NAME=VALUE".to_owned()),
    }
}

/// Runs the command to its end.
///
/// # Errors
/// What made it impossible to start anything: a wrong path, a user who cannot get there.
pub fn run(run: &Run) -> anyhow::Result<Report> {
    start(run, |_, _| {})
}

/// [`run`], with the command's output passed through as it comes.
///
/// # Errors
/// As there, and where it cannot be passed on. Who stops reading is no error.
pub fn run_through(run: &Run) -> anyhow::Result<Report> {
    let relay = Relay::default();
    thread::scope(|scope| {
        let writer = scope.spawn(|| relay.write());

        // Dropped however the run ends, or the writer would wait for ever.
        let end = relay.end();
        let report = start(run, |stream, bytes| relay.push(stream, bytes));
        drop(end);
        let written = writer.join().map_err(|_| anyhow!("the command's output was lost"))?;
        let report = report?;
        written.context("cannot pass on the command's output")?;
        Ok(report)
    })
}

fn start(run: &Run, output: impl FnMut(OutputStream, &[u8])) -> anyhow::Result<Report> {
    let private = tempfile::Builder::new().prefix("module-gate-").tempdir()?;

    // As root the command runs as another user, who has to pass through.
    fs::set_permissions(private.path(), fs::Permissions::from_mode(0o711))?;
    let given =
        run.root.canonicalize().with_context(|| format!("--root {}", run.root.display()))?;
    if !given.is_dir() {
        bail!("--root {} is no folder", run.root.display());
    }
    let (root, identity) = if run.copy {
        let copy = private.path().join("root");
        guard::copy_tree(&given, &copy, Identity::Auto)?;
        (copy, Identity::Auto)
    } else {
        (given.clone(), identity(&given, run)?)
    };
    let scratch = private.path().join("home");
    fs::create_dir_all(scratch.join("tmp"))?;
    guard::prepare_ownership(&scratch, identity)?;
    let mut policy = Policy::new(&root);
    policy.scratch = Some(scratch.clone());
    policy.declared = run.declared.iter().copied().collect();
    policy.identity = identity;
    policy.reads = if run.strict_reads {
        let own = run.allow_read.iter().cloned();
        Reads::Deny { allow: own.chain(PROGRAMS.map(PathBuf::from)).collect() }
    } else {
        Reads::List
    };
    policy.cancel = Some(interrupt::flag(output::UNKNOWN)?);
    policy.limits.wall_ms = run.timeout_ms;

    // Room for 64 processors in use all the time: the limit that is meant is the wall time.
    policy.limits.cpu_ms = run.timeout_ms.saturating_mul(64);
    policy.limits.processes = run.processes;
    policy.limits.memory_bytes = run.memory_mib << 20;
    policy.limits.stdout_bytes = run.max_output_mib << 20;
    policy.limits.stderr_bytes = run.max_output_mib << 20;
    policy.limits.file_bytes = run.max_file_mib << 20;
    policy.limits.tree_bytes = run.max_growth_mib << 20;
    policy.limits.tree_entries = run.max_new_names;
    let mut command = command(run, &given, &root, &scratch)?;
    if let Some(git_dir) = repository_above(run, &given) {
        read_repository(&git_dir, &private.path().join("git"), &mut command, &mut policy)?;
    } else if may_ask_git(run) {
        // As root the root may belong to another user than the repository that the command makes
        // in it.
        let variables = repository::environment(None).into_iter();
        command.env.extend(variables.map(|(name, value)| (name.into(), value.into())));
    }

    // The caller's own come last and replace ours.
    for (name, value) in &run.env {
        command.env.retain(|(known, _)| known != name.as_str());
        command = command.env(name, value);
    }
    guard::run_live(&command, &policy, output).map_err(|error| advised(error, &given))
}

/// The error, with what a user at a command line can do about it.
fn advised(error: GuardError, root: &Path) -> anyhow::Error {
    let GuardError::Unreachable { path, .. } = &error else { return error.into() };
    if path.starts_with(root) {
        anyhow!("{error} as --root; with --copy the command runs on a copy that user may reach")
    } else {
        anyhow!("{error}; as root a command runs as that user, which has to reach its program too")
    }
}

fn command(run: &Run, given: &Path, root: &Path, scratch: &Path) -> anyhow::Result<guard::Command> {
    let cwd = match &run.cwd {
        None => root.to_owned(),
        // A folder of the original means the same folder of the copy.
        Some(cwd) => match given.join(cwd).strip_prefix(given) {
            Ok(inside) => root.join(inside),
            Err(_) => bail!("--cwd {} is not in the root", cwd.display()),
        },
    };
    let (program, arguments) = run.command.split_first().context("no command after --")?;
    let program = PathBuf::from(program);
    let found = if program.components().count() > 1 {
        cwd.join(&program)
    } else {
        look_up(&program, &run.path)
            .with_context(|| format!("{} is no program on the search path", program.display()))?
    };
    let mut command = guard::Command::new(found, cwd)
        .args(arguments.iter().cloned())
        .env("PATH", &run.path)
        .env("HOME", scratch)
        .env("TMPDIR", scratch.join("tmp"))
        // In a fresh home npm asks its registry for a newer npm at every start.
        .env("npm_config_update_notifier", "false");
    if run.stdin {
        command = command.stdin(Stdin::File(PathBuf::from("/dev/stdin")));
    }
    Ok(command)
}

fn may_ask_git(run: &Run) -> bool {
    [Capability::ProcessGit, Capability::ProcessShell]
        .iter()
        .any(|capability| run.declared.contains(capability))
}

/// The repository that the root lies in, if the command may ask git about it. A copy lies in none.
fn repository_above(run: &Run, root: &Path) -> Option<PathBuf> {
    (may_ask_git(run) && !run.copy).then(|| repository::git_dir_above(root)).flatten()
}

/// Makes git read a repository whose index lies outside the root. Where git itself is the command
/// it gets an index of its own in `folder`, which it may bring up to date as it does without a
/// guard; where something else starts git, this could be meant for another repository, so that it
/// leaves the index as it is.
fn read_repository(
    git_dir: &Path,
    folder: &Path,
    command: &mut guard::Command,
    policy: &mut Policy,
) -> anyhow::Result<()> {
    let index = git_dir.join("index");
    let is_git = command.program.file_name().is_some_and(|name| name == "git");
    let mut variables = repository::read_only_environment();
    if is_git && index.is_file() {
        fs::create_dir(folder)?;
        let own = folder.join("index");

        // An index that may not be read is git's to complain of.
        if repository::copy_index(&index, &own).is_ok() {
            guard::prepare_ownership(folder, policy.identity)?;
            policy.free_writes.push(folder.to_owned());
            variables = repository::environment(None);
            variables.push(("GIT_INDEX_FILE".to_owned(), own.display().to_string()));
        }
    }
    command.env.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
    Ok(())
}

/// As root: the root's owner, so that what the command makes belongs to that user; user 65534 where
/// the owner is root.
fn identity(root: &Path, run: &Run) -> anyhow::Result<Identity> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Identity::Auto);
    }
    let owner = fs::metadata(root)?;
    if owner.uid() != 0 {
        // A user's folder may be of root's group, to which the command must not belong.
        let gid = if owner.gid() == 0 { NO_GROUP } else { owner.gid() };
        return Ok(Identity::User { uid: owner.uid(), gid });
    }
    if run.declared.contains(&Capability::FsWrite) && owner.mode() & 0o002 == 0 {
        bail!(
            "--root {} belongs to root, and as root the command runs as user 65534, which may not \
             write there: give the folder to another user, or add --copy",
            root.display()
        );
    }
    Ok(Identity::Auto)
}

/// Whether the report is a pass that counts (M11).
pub fn passed(report: &Report) -> bool {
    report.verdict == guard::Verdict::Pass && report.tier != Tier::Degraded
}

/// Prints the verdict on standard error, where the command's own output has been passed through.
///
/// # Errors
/// It cannot be written, though there is a reader.
pub fn print_verdict(report: &Report) -> io::Result<()> {
    let mut out = io::stderr().lock();
    if report.stderr.bytes.last().is_some_and(|byte| *byte != b'\n') {
        // The next write says whether there is a reader.
        let _ = writeln!(out);
    }
    match out.write_all(render(report).as_bytes()) {
        // A reader that has gone away changes no verdict.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn render(report: &Report) -> String {
    let code = report.code.map_or_else(String::new, |code| format!(" {code}"));
    let verdict = match report.verdict {
        guard::Verdict::Pass => "PASS",
        guard::Verdict::Fail => "FAIL",
        guard::Verdict::Inconclusive => "INCONCLUSIVE",
    };
    let mut lines = vec![format!("{verdict}{code}")];
    if !report.reason.is_empty() {
        lines.push(format!("  reason   {}", report.reason));
    }
    lines.push(format!(
        "  ended    {} after {} ms, {} ms of processor time",
        finding::exit_text(&report.exit),
        report.wall_ms,
        report.cpu_ms
    ));
    if report.killed_at_end > 0 {
        lines.push(format!("  killed   {}", killed(report.killed_at_end)));
    }
    lines.push(format!("  guard    {}, Landlock ABI {}", report.tier, report.landlock_abi));
    for (category, count) in &report.counts {
        lines.push(format!("  seen     {} × {count}", finding::name(*category)));
    }

    // What is charged is shown first.
    let mut effects: Vec<&Effect> = report.effects.iter().collect();
    effects.sort_by_key(|effect| matches!(effect.charge, Charge::Declared | Charge::Listed));
    lines.extend(effects.iter().take(MAX_SHOWN).map(|effect| line(effect)));
    if effects.len() > MAX_SHOWN {
        lines.push(format!("  … and {} more with --output json", effects.len() - MAX_SHOWN));
    }
    if report.verdict == guard::Verdict::Inconclusive {
        lines.push(
            "  nothing is known about the command: repair what the reason names, then try again; \
             `module-gate doctor` says what this host lacks"
                .to_owned(),
        );
    }
    lines.join("\n") + "\n"
}

/// What is said of processes that outlived the program that started them.
pub(crate) fn killed(count: u64) -> String {
    let (processes, were) = if count == 1 { ("process", "was") } else { ("processes", "were") };
    format!("{count} {processes} that {were} still alive when the program ended")
}

fn line(effect: &Effect) -> String {
    let done = match (effect.charge, effect.allowed) {
        (Charge::Undeclared, _) => "undeclared",
        (Charge::Outside, _) => "outside",
        (_, true) => "allowed",
        (_, false) => "denied",
    };
    let other = effect.other.as_ref().map_or_else(String::new, |other| format!(" ({other})"));
    format!(
        "  effect   {done} {} {} {}{other}, process {} {}: {}",
        finding::name(effect.category),
        effect.operation,
        effect.target,
        effect.pid,
        effect.executable,
        effect.argv.join(" ")
    )
}
