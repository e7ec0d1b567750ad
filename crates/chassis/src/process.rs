//! The entry of a service's process: confinement, runtime, telemetry, service, orderly stop, exit
//! code.
//!
//! The order matters. Landlock binds a thread and what it starts, so the process is confined
//! before the runtime starts threads; an exporter starts threads too, and needs the runtime.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::header;
use axum::routing::get;
use clap::{Arg, Command, Parser};
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use sqlx::migrate::MigrateError;
use tracing::info;
use wire::escape;

use crate::config::Env;
use crate::confine::{self, ConfineError, confine};
use crate::service::{ListenSettings, Service, Signals, listen};
use crate::telemetry::{self, Telemetry};
use crate::{bus, clock, files, http, output, postgres, print_line, refill};

/// The port on which Prometheus may read metrics; not set, they are not served.
pub const METRICS_PORT: &str = "OTEL_EXPORTER_PROMETHEUS_PORT";
/// The address to listen on for it; this machine alone if not set.
pub const METRICS_HOST: &str = "OTEL_EXPORTER_PROMETHEUS_HOST";

/// Connections to it at one time; a few readers keep one each.
const METRICS_CONNECTIONS: usize = 64;

/// How long blocking calls, such as a look-up of a name, may delay the exit once all tasks have
/// ended.
const LAST_CALLS: Duration = Duration::from_millis(500);

/// A start that failed: a setting is wrong (C1).
const EXIT_USAGE: u8 = 3;
/// The service ended by a failure (C1).
const EXIT_FAILED: u8 = 1;
/// Nothing is known; another attempt may succeed (C1).
const EXIT_UNKNOWN: u8 = 2;

/// What a shell adds to the number of the signal that ended a process.
const EXIT_SIGNAL: i32 = 128;

/// The version of the JSON that commands print, answers and failures. It changes when a member is
/// removed or changes its meaning; new members may come at any time.
const SCHEMA_VERSION: u32 = 1;

/// What every process reads from its environment, beside the settings of its service.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `error warn info debug trace`.
    pub log_level: String,
    /// Where telemetry goes, and under which name.
    pub telemetry: telemetry::Settings,
    /// Where Prometheus may read metrics; they are not served without it.
    pub metrics: Option<SocketAddr>,
}

impl Settings {
    /// Reads them; what is wrong is noted in `env`. `log_setting` is the variable that sets how
    /// much is logged.
    pub fn read(env: &Env, log_setting: &str) -> Self {
        let log_level = env.with_default(log_setting, "info");
        if let Err(expected) = telemetry::read_level(&log_level) {
            env.mistake(log_setting, expected);
        }
        confine::check_switch(env);
        Self { log_level, telemetry: exports(env), metrics: metrics_address(env) }
    }

    /// Notes a mistake in `env` for each of a service's `listeners`, and for that of the metrics,
    /// whose port another one before it has. Each has the name of the variable that sets its port.
    pub fn check_ports(&self, env: &Env, listeners: &[(&'static str, SocketAddr)]) {
        let metrics = self.metrics.map(|address| (METRICS_PORT, address));
        let all: Vec<_> = listeners.iter().copied().chain(metrics).collect();
        for (place, (name, address)) in all.iter().enumerate() {
            if let Some((other, _)) = all[..place].iter().find(|(_, other)| clash(*other, *address))
            {
                env.mistake(name, &format!("is the port of {other}, too; choose another"));
            }
        }
    }
}

/// What a process is and may do.
#[derive(Debug, Clone)]
pub struct Process {
    /// The service's name, as people and telemetry know it.
    pub name: &'static str,
    /// What it read from its environment.
    pub settings: Settings,
    /// Folders that it reads besides the system's.
    pub read: Vec<PathBuf>,
    /// Folders that it writes, each after the setting that named it. They have to be there.
    pub write: Vec<(&'static str, PathBuf)>,
    /// How long open work may take after a signal.
    pub grace: Duration,
}

/// Runs a service until one of `signals` or a failure. `start` begins its tasks; what it refuses is
/// printed on one line of standard error, and the process exits with 3, or with 2 if nothing is
/// known because something does not answer (C1). A service that fails later exits with 1. One that
/// is asked to stop while it starts has done no work, and exits with 0.
pub fn run(
    process: Process,
    signals: Signals,
    start: impl AsyncFnOnce(&Service) -> anyhow::Result<()>,
) -> ExitCode {
    let name = process.name;
    match enter(process, signals, start) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => report(name, &error, EXIT_FAILED),
        Err(error) if postgres::is_away(&error) => report(name, &error, EXIT_UNKNOWN),
        Err(error) => report(name, &error, EXIT_USAGE),
    }
}

/// Lets SIGTERM and SIGINT end this process, for commands that are no service. Every process but
/// the first one of a container or of a machine ends by them anyway; that one would ignore them. It
/// exits with 128 and the signal's number added, as shells report it. What a command has begun in a
/// database is rolled back, as after any crash.
pub fn end_by_signals() {
    if std::process::id() != 1 {
        return;
    }
    // Without them the command works, and there is nothing better to report.
    let Ok(mut signals) = Signals::listen() else { return };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        let code = match runtime.block_on(signals.next()) {
            "SIGINT" => EXIT_SIGNAL + 2,
            _ => EXIT_SIGNAL + 15,
        };
        std::process::exit(code);
    });
}

/// Checks that files can be created in `folder`, which the operator set by `setting`, by creating
/// one and removing it again: permissions alone do not show a disk that is read-only or full.
///
/// # Errors
///
/// When that cannot be done; the text names the setting.
pub fn check_writable(setting: &str, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join(format!(".lumio-start-{}", clock::new_uuid().simple()));
    let tried = std::fs::File::create_new(&file).and_then(|mut made| {
        let written = made.write_all(b"written to see whether it can be");
        // On a disk, and not only in memory.
        let written = written.and_then(|()| made.sync_all());
        let removed = std::fs::remove_file(&file);
        written.and(removed)
    });
    tried.with_context(|| format!("{setting}: no file can be made in {}", folder.display()))
}

/// Brings the schema of `DATABASE_URL` up to date and ends: for a job that runs before the service
/// starts, with a role that may change tables.
///
/// Exit code 0: the schema is up to date. 1: it cannot be brought there, as when it is newer than
/// this program. 2: the database does not answer, or refuses the login; try again. 3: a setting is
/// wrong (C1).
pub fn migrate(
    name: &'static str,
    env: Env,
    migrate: impl AsyncFnOnce(&PgPool) -> Result<(), MigrateError>,
) -> ExitCode {
    end_by_signals();
    let url = env.database_url();
    let exports = exports(&env);
    if let Err(error) = env.finish() {
        return report(name, &error.into(), EXIT_USAGE);
    }
    let runtime = match tokio::runtime::Runtime::new().context("cannot start the runtime") {
        Ok(runtime) => runtime,
        Err(error) => return report(name, &error, EXIT_UNKNOWN),
    };
    runtime.block_on(async {
        // For what is said while the database is waited for.
        if let Err(error) = telemetry::init_with(name, "info", || Ok(exports)) {
            return report(name, &error, EXIT_USAGE);
        }
        let db = match postgres::connect(&url).await {
            Ok(db) => db,
            Err(error) => return report(name, &error, EXIT_UNKNOWN),
        };
        match migrate(&db).await {
            Ok(()) => {
                print_line!("the schema of {name} is up to date");
                ExitCode::SUCCESS
            }
            Err(error) => {
                let context = "DATABASE_URL: cannot bring the schema up to date";
                report(name, &anyhow::Error::new(error).context(context), EXIT_FAILED)
            }
        }
    })
}

/// Publishes events again from the outbox of `DATABASE_URL`, for a stream that lost them. The
/// service may be running.
///
/// Exit code 0: they were published, or counted. 2: the database or the bus did not answer; what
/// was published until then stays, and beginning again is harmless. 3: a setting is wrong (C1).
pub fn refill(name: &'static str, env: Env, order: &refill::Order) -> ExitCode {
    end_by_signals();
    let database_url = env.database_url();
    let nats_url = env.required_url("NATS_URL", &["nats", "tls"]);
    let nats_prefix = env.parse("NATS_PREFIX", bus::read_prefix);
    if let Err(error) = env.finish() {
        return report(name, &error.into(), EXIT_USAGE);
    }
    let runtime = match tokio::runtime::Runtime::new().context("cannot start the runtime") {
        Ok(runtime) => runtime,
        Err(error) => return report(name, &error, EXIT_UNKNOWN),
    };
    let nats_prefix = nats_prefix.as_deref().unwrap_or(wire::event::DEFAULT_PREFIX);
    match runtime.block_on(order.carry_out(&database_url, &nats_url, nats_prefix)) {
        Ok(done) => {
            print_line!("{done}");
            ExitCode::SUCCESS
        }
        Err(error) => report(name, &error, EXIT_UNKNOWN),
    }
}

/// Reads the command line of this process, and prints what there is to print in place of an answer:
/// help, the version, or a mistake.
///
/// # Errors
///
/// The exit code where there is nothing to carry out: 0 after help and version, 3 after a mistake
/// (C1).
pub fn arguments<C: Parser>() -> Result<C, ExitCode> {
    let given: Vec<OsString> = std::env::args_os().collect();
    let error = match read_arguments(&given) {
        Ok(arguments) => return Ok(arguments),
        Err(error) => error,
    };
    if !error.use_stderr() {
        output::record_error(error.print());
        return Err(ExitCode::SUCCESS);
    }
    // Nothing can be done if even this cannot be printed.
    let _ = error.print();
    if wants_json(&given) {
        // The library's words come with a prefix and the usage, which the document has no place for.
        let text = error.render().to_string();
        let words = text.trim_start_matches("error: ").split("\n\nUsage").next();
        print_failure(words.unwrap_or_default().trim(), EXIT_USAGE);
    }
    Err(ExitCode::from(EXIT_USAGE))
}

/// Prints `error` with its causes on one line of standard error, after the program's name. Where
/// the command line asks for JSON, standard output gets one document that says the same.
pub fn report(name: &str, error: &anyhow::Error, exit: u8) -> ExitCode {
    report_text(name, &wire::causes(error.as_ref()), exit)
}

/// The same for what a command failed by in its own words, which are one line. Foreign text in them
/// can do nothing to a terminal (R18).
pub fn report_text(name: &str, text: &str, exit: u8) -> ExitCode {
    // A reader that has gone away changes no exit code.
    let _ = writeln!(std::io::stderr(), "{name}: {}", escape::line(text));
    if wants_json(&std::env::args_os().collect::<Vec<_>>()) {
        print_failure(text, exit);
    }
    ExitCode::from(exit)
}

/// What a command answers a program: the members of `facts`, which is an object, and the version of
/// their form. A list has no place for the version, and is printed as it is; the command `lumio`
/// does the same.
///
/// `facts` are written as they are and not read into a tree first: that would change how numbers of
/// foreign JSON are spelled, and refuse those that need more than 64 bits.
pub fn answer<T: Serialize>(facts: &T) -> impl Serialize {
    Answer { schema_version: SCHEMA_VERSION, facts }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a, T> {
    schema_version: u32,
    #[serde(flatten)]
    facts: &'a T,
}

fn print_failure(text: &str, exit: u8) {
    let _ = writeln!(std::io::stdout(), "{}", escape::json(&failure(text, exit).to_string()));
}

/// A failure for programs, in the form in which the command `lumio` has it.
fn failure(text: &str, exit: u8) -> serde_json::Value {
    let kind = match exit {
        EXIT_USAGE => "usage",
        EXIT_UNKNOWN => "unknown",
        _ => "bad",
    };
    let failure = json!({ "error": { "kind": kind, "exitCode": exit, "message": text } });
    // Words and a number can always be written as JSON.
    serde_json::to_value(answer(&failure)).unwrap_or_default()
}

/// Whether a command line asks for JSON; also one that cannot be read as a whole. What follows `--`
/// is of another program.
fn wants_json(arguments: &[OsString]) -> bool {
    let own = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let own = &arguments[..own];
    let pairs = own.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json");
    pairs || own.iter().any(|argument| argument == "--output=json")
}

fn read_arguments<C: Parser>(given: &[OsString]) -> Result<C, clap::Error> {
    C::try_parse_from(given).map_err(|error| {
        let again = without_environment(C::command()).try_get_matches_from(given);
        again.err().unwrap_or(error)
    })
}

/// The same command, whose usage omits what the environment gives: otherwise a message about a
/// missing argument lists every option that has a value and is not hidden.
fn without_environment(command: Command) -> Command {
    let is_given = |argument: &Arg| {
        argument.get_env().is_some_and(|variable| std::env::var_os(variable).is_some())
    };
    command
        .mut_args(|argument| {
            let hidden = argument.is_hide_set() || is_given(&argument);
            argument.hide(hidden)
        })
        .mut_subcommands(without_environment)
}

/// Where telemetry goes. A certificate that cannot be read is noted here, although the exporter
/// reads it: every wrong setting is named at once.
fn exports(env: &Env) -> telemetry::Settings {
    let settings = telemetry::Settings::from_env(env);
    let is_encrypted = settings.endpoint.as_deref().is_some_and(|url| url.starts_with("https://"));
    if let Some(path) = settings.certificate.as_deref().filter(|_| is_encrypted) {
        match files::read(path) {
            Err(error) => {
                env.mistake(telemetry::CERTIFICATE, &format!("the file cannot be read: {error}"));
            }
            Ok(pem) => {
                if let Err(expected) = telemetry::check_certificates(&pem) {
                    env.mistake(telemetry::CERTIFICATE, expected);
                }
            }
        }
    }
    settings
}

fn metrics_address(env: &Env) -> Option<SocketAddr> {
    let port = env.parse(METRICS_PORT, |text| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("expected a whole number from 1 to 65535"),
    });
    let host = env.parse(METRICS_HOST, |text| {
        text.parse().map_err(|_| "expected an IP address, such as 127.0.0.1 or 0.0.0.0")
    });
    Some(SocketAddr::new(host.unwrap_or([127, 0, 0, 1].into()), port?))
}

/// Whether only one of two listeners can have its address. Port 0 is any free one, and an
/// unspecified address is every address of this machine.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let is_every = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (is_every || one.ip() == other.ip())
}

/// The outer error is one of the start, the inner one of the service.
fn enter(
    process: Process,
    mut signals: Signals,
    start: impl AsyncFnOnce(&Service) -> anyhow::Result<()>,
) -> anyhow::Result<anyhow::Result<()>> {
    let Settings { log_level, telemetry: exports, metrics } = process.settings;
    // /run holds what resolves names on many systems. The certificate is read once confined.
    let read = [Path::new("/run")].into_iter().chain(exports.certificate.as_deref());
    let read = read.chain(process.read.iter().map(PathBuf::as_path));
    let write = process.write.iter().map(|(_, path)| path.as_path());
    let (read, write): (Vec<_>, Vec<_>) = (read.collect(), write.collect());
    let confinement = confine(&read, &write).map_err(|error| {
        let setting = blamed(&error, &process.write);
        anyhow::Error::new(error).context(format!("{setting}: cannot confine this process"))
    })?;

    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let telemetry = telemetry::init_with(process.name, &log_level, || Ok(exports))?;

        let service = Service::default();
        let starting = async {
            serve_metrics(&service, &telemetry, metrics)?;
            start(&service).await?;
            // Now, since a start that fails is reported in one line if nothing else was to be said.
            confinement.log();
            if let Some(address) = metrics {
                info!("metrics are served on http://{address}/metrics");
            }
            Ok(())
        };
        let started = service.start(&mut signals, process.grace, starting).await;
        let ended = match started {
            Ok(true) => Ok(service.run_until(&mut signals, process.grace).await),
            Ok(false) => Ok(Ok(())),
            Err(refusal) => Err(refusal),
        };
        // What was logged until the end is exported, too.
        telemetry.flush();
        ended
    });
    // All tasks have ended; a blocking call, such as a look-up of a name, may still wait.
    runtime.shutdown_timeout(LAST_CALLS);
    ended
}

/// The setting that is wrong where the process could not be confined.
fn blamed(error: &ConfineError, write: &[(&'static str, PathBuf)]) -> &'static str {
    let ConfineError::Missing(missing) = error else { return confine::SWITCH };
    let named = write.iter().find(|(_, path)| path == missing);
    named.map_or(confine::SWITCH, |(setting, _)| *setting)
}

/// Serves `/metrics` on an address of its own, which is not the one that callers reach.
fn serve_metrics(
    service: &Service,
    telemetry: &Telemetry,
    address: Option<SocketAddr>,
) -> anyhow::Result<()> {
    let Some(address) = address else { return Ok(()) };
    let listener = listen(address, ListenSettings { host: METRICS_HOST, port: METRICS_PORT })?;
    let telemetry = telemetry.clone();
    let metrics = move || async move {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], telemetry.prometheus())
    };
    let router = Router::new().route("/metrics", get(metrics));
    // A reader of metrics is a client like any other.
    let limits = http::Limits { connections: METRICS_CONNECTIONS, ..http::Limits::default() };
    service.spawn("metrics", http::serve(listener, router, limits, service.stop()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_that_all_services_can_have_is_noted_at_once() {
        let mistakes = |variables: &[(&str, &str)]| {
            let env = Env::from_map(variables.iter().copied());
            Settings::read(&env, "ECHO_LOG_LEVEL");
            env.finish().map_err(|mistakes| mistakes.to_string())
        };
        let error = mistakes(&[
            ("ECHO_LOG_LEVEL", "loud"),
            (telemetry::ENDPOINT, "collector:4317"),
            (METRICS_PORT, "0"),
            (METRICS_HOST, "here"),
            (confine::SWITCH, "maybe"),
        ]);
        let error = error.unwrap_err();
        let names = [telemetry::ENDPOINT, METRICS_PORT, METRICS_HOST, confine::SWITCH];
        for name in names.into_iter().chain(["ECHO_LOG_LEVEL"]) {
            assert!(error.contains(&format!("{name}: ")), "{name} is missing in {error}");
        }
        let absent = (telemetry::CERTIFICATE, "/absent.pem");
        let encrypted = (telemetry::ENDPOINT, "https://collector:4317");
        let error = mistakes(&[absent, encrypted]).unwrap_err();
        assert!(error.starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE: the file cannot be"), "{error}");
        let none = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let error = mistakes(&[(telemetry::CERTIFICATE, none), encrypted]).unwrap_err();
        assert!(error.starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE: expected a file of"), "{error}");
        assert_eq!(mistakes(&[absent]), Ok(()), "nothing is exported, so that nothing reads it");
        assert_eq!(mistakes(&[]), Ok(()));
        for wrong in ["0", "off", "5", "warning"] {
            let error = mistakes(&[("ECHO_LOG_LEVEL", wrong)]).unwrap_err();
            let told = "ECHO_LOG_LEVEL: expected error, warn, info, debug or trace";
            assert_eq!(error, told, "{wrong}");
        }
        for wrong in ["maybe", "false", "0", "no", "true"] {
            let error = mistakes(&[(confine::SWITCH, wrong)]).unwrap_err();
            assert_eq!(error, "LUMIO_CONFINE: expected on or off", "{wrong}");
        }
        for right in ["on", "OFF", ""] {
            assert_eq!(mistakes(&[(confine::SWITCH, right)]), Ok(()), "{right}");
        }
    }

    #[test]
    fn of_two_listeners_at_one_address_the_second_is_named() {
        let mistakes = |metrics: &[(&str, &str)], listeners: &[(&'static str, &str)]| {
            let env = Env::from_map(metrics.iter().copied());
            let settings = Settings::read(&env, "ECHO_LOG_LEVEL");
            let listeners: Vec<(&str, SocketAddr)> =
                listeners.iter().map(|(name, text)| (*name, text.parse().unwrap())).collect();
            settings.check_ports(&env, &listeners);
            env.finish().err().map(|mistakes| mistakes.to_string())
        };
        let same = [("PORT", "127.0.0.1:4000"), ("GRPC_PORT", "127.0.0.1:4000")];
        let told = Some("GRPC_PORT: is the port of PORT, too; choose another".to_owned());
        assert_eq!(mistakes(&[], &same), told);
        let told = format!("{METRICS_PORT}: is the port of PORT, too; choose another");
        for host in ["0.0.0.0:4000", "[::]:4000", "127.0.0.1:4000"] {
            let error = mistakes(&[(METRICS_PORT, "4000")], &[("PORT", host)]);
            assert_eq!(error.as_ref(), Some(&told), "{host}");
        }
        let others = [("PORT", "127.0.0.1:4000"), ("GRPC_PORT", "127.0.0.2:4000")];
        assert_eq!(mistakes(&[(METRICS_PORT, "4001")], &others), None);
        let any = [("PORT", "127.0.0.1:0"), ("GRPC_PORT", "127.0.0.1:0")];
        assert_eq!(mistakes(&[], &any), None);
    }

    #[test]
    fn a_folder_that_is_not_there_is_refused_by_the_setting_that_named_it() {
        let write = [("STORE", PathBuf::from("/store")), ("PATHS", PathBuf::from("/absent"))];
        let missing = ConfineError::Missing(PathBuf::from("/absent"));
        assert_eq!(blamed(&missing, &write), "PATHS");
        assert_eq!(blamed(&ConfineError::Threads(2), &write), confine::SWITCH);
    }

    /// The environment of a test always has a path.
    #[derive(Debug, Parser)]
    struct Example {
        #[arg(long, env = "PATH")]
        given: Option<String>,
        #[arg(long)]
        missing: String,
    }

    fn words(arguments: &[&str]) -> Vec<OsString> {
        arguments.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_folder_in_which_no_file_can_be_made_is_refused_by_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        check_writable("SCRATCH", folder.path()).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing is left");
        for folder in ["/proc", "/no/such/folder"] {
            let error = check_writable("SCRATCH", Path::new(folder)).unwrap_err().to_string();
            assert!(error.starts_with("SCRATCH: no file can be made in /"), "{error}");
        }
    }

    #[test]
    fn a_usage_lists_nothing_that_the_environment_gives() {
        let error = read_arguments::<Example>(&words(&["example"])).unwrap_err();
        let (text, code) = (error.to_string(), error.kind());
        assert_eq!(code, clap::error::ErrorKind::MissingRequiredArgument);
        assert!(text.contains("Usage: ") && text.contains("--missing <MISSING>"), "{text}");
        assert!(!text.contains("--given"), "{text}");
        let read: Example = read_arguments(&words(&["example", "--missing", "1"])).unwrap();
        assert!(read.missing == "1" && read.given.is_some());
    }

    #[test]
    fn a_failure_is_printed_as_json_where_the_program_itself_was_asked_for_it() {
        for asked in [&["x", "list", "--output", "json"][..], &["x", "--output=json", "list"]] {
            assert!(wants_json(&words(asked)), "{asked:?}");
        }
        for other in [&["x", "list"][..], &["x", "run", "--", "y", "--output", "json"]] {
            assert!(!wants_json(&words(other)), "{other:?}");
        }
        let printed = failure("RUNNER_PORT: is taken", 3);
        let expected = json!({
            "schemaVersion": 1,
            "error": { "kind": "usage", "exitCode": 3, "message": "RUNNER_PORT: is taken" },
        });
        assert_eq!(printed, expected);
        assert_eq!(failure("away", 2)["error"]["kind"], "unknown");
        assert_eq!(failure("it differs", 1)["error"]["kind"], "bad");
    }

    #[test]
    fn an_answer_names_its_version_and_keeps_numbers_that_a_tree_would_not() {
        #[derive(Serialize)]
        struct Facts {
            name: &'static str,
            largest: u128,
        }
        let facts = Facts { name: "x", largest: u128::MAX };
        let expected = format!(r#"{{"schemaVersion":1,"name":"x","largest":{}}}"#, facts.largest);
        assert_eq!(serde_json::to_string(&answer(&facts)).unwrap(), expected);
        let value = json!({ "name": "x" });
        let text = serde_json::to_string(&answer(&value)).unwrap();
        assert_eq!(text, r#"{"schemaVersion":1,"name":"x"}"#);
        assert!(serde_json::to_string(&answer(&[1, 2])).is_err(), "a list has no place for it");
    }
}
